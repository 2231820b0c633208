//! `wait_for`: waits on the host until a port or a file is as wanted.

use super::python_regex::PythonRegex;
use super::{Action, ArgError, ArgKind, ArgSpec, Args, Change, Decision, Failure, Kind, ModuleSpec, Prepare, Report};
use super::{Seen, Stop};
use crate::host::{Effect, Exec, Observation, Op, Outcome, Probe, Status, Undo};
use serde_json::{Map, Value};
use std::net::IpAddr;

pub static SPEC: ModuleSpec = ModuleSpec {
    name: "wait_for",
    aliases: &[],
    summary: "Wait for a port or a file",
    description: "Looks whether a port accepts connections or a file exists (or the opposite), and if not waits on the host \
                  until it is so. With neither, it waits for `timeout` seconds. It never changes anything.\n\n\
                  Unlike Ansible's: a first look may be enough, then nothing is run; in a dry run that first look is all \
                  there is, and what is not so yet cannot be known; the host connects with bash or nc; `search_regex` is \
                  matched line by line while waiting, and look-around, back references and newlines in it are not supported \
                  yet; `drained` takes addresses, no names.",
    args: &[
        ArgSpec::new("host", ArgKind::Str, "Where the port is, seen from the host.").default("127.0.0.1"),
        ArgSpec::new("port", ArgKind::Int, "The TCP port."),
        ArgSpec::new("path", ArgKind::Path, "The file."),
        ArgSpec::new(
            "search_regex",
            ArgKind::Str,
            "What the file, or what the port says first, must hold (Python's syntax).",
        ),
        ArgSpec::new(
            "state",
            ArgKind::Str,
            "`started` or `present`, `stopped` or `absent`; `drained`: nobody is connected to the port.",
        )
        .choices(&["absent", "drained", "present", "started", "stopped"])
        .default("started"),
        ArgSpec::new("timeout", ArgKind::Int, "Seconds to wait at most.").default("300"),
        ArgSpec::new("delay", ArgKind::Int, "Seconds before the first look.").default("0"),
        ArgSpec::new("sleep", ArgKind::Int, "Seconds between looks.").default("1"),
        ArgSpec::new("connect_timeout", ArgKind::Int, "Seconds for one connection.").default("5"),
        ArgSpec::new("msg", ArgKind::Str, "What to say if it takes too long."),
        ArgSpec::new(
            "active_connection_states",
            ArgKind::List,
            "For `drained`: states in which a connection counts.",
        )
        .default("ESTABLISHED,FIN_WAIT1,FIN_WAIT2,SYN_RECV,SYN_SENT,TIME_WAIT"),
        ArgSpec::new(
            "exclude_hosts",
            ArgKind::List,
            "For `drained`: addresses whose connections do not count.",
        ),
    ],
    free_form: None,
    open: false,
    returns: &[
        ("elapsed", "seconds it took"),
        ("match_groups", "groups of `search_regex`"),
        ("match_groupdict", "named groups of `search_regex`"),
        ("state", "as given"),
        ("port", "as given"),
        ("path", "as given"),
        ("search_regex", "as given"),
    ],
    examples: "- name: the broker listens
  wait_for: {port: 5672, timeout: 120}
- name: the lock is gone
  ansible.builtin.wait_for:
    path: /var/lib/rabbitmq/upgrade.lock
    state: absent
",
    local: false,
    kind: Kind::Host(prepare),
    ahead,
};

#[derive(Debug)]
enum Target {
    Port {
        host: String,
        port: u16,
    },
    Path(String),
    /// Connections to a port, by what `/proc/net/tcp` says of them.
    Connections(Connections),
    /// Only time.
    Nothing,
}

#[derive(Debug)]
struct Connections {
    host: String,
    port: u16,
    /// Extended regular expressions of lines: those that count, and those among them that do not.
    active: String,
    excluded: String,
}

struct Search {
    text: String,
    regex: PythonRegex,
    /// For `grep`: options and an extended regular expression.
    grep: (&'static str, String),
}

struct WaitFor {
    target: Target,
    /// To be there, or to be gone.
    there: bool,
    search: Option<Search>,
    state: String,
    timeout: u32,
    delay: u32,
    sleep: u32,
    connect_timeout: u32,
    msg: Option<String>,
    check_mode: bool,
}

/// Exit statuses of the loop.
const TOO_LONG: i32 = 75;
const NO_TOOL: i32 = 69;

/// The loop on the host, after the definition of `check`. Prints what matched, then the seconds it took.
const LOOP: &str = r#"delay=$1 limit=$2 pause=$3 connect=$4 host=$5 port=$6 path=$7 flags=$8 regex=$9
has() { command -v "$1" >/dev/null 2>&1; }
start=$(date +%s)
sleep "$delay"
until check; do
  [ $(($(date +%s) - start)) -lt "$limit" ] || { echo $(($(date +%s) - start)); exit 75; }
  sleep "$pause"
done
echo $(($(date +%s) - start))"#;

const CONNECTS: &str = r#"connects() {
  if has bash; then timeout "$connect" bash -c 'exec 3<>"/dev/tcp/$1/$2"' bash "$host" "$port" >/dev/null 2>&1
  elif has nc; then nc -z -w "$connect" "$host" "$port" >/dev/null 2>&1
  else exit 69
  fi
}
"#;

/// bash reads by lines, so that it can stop at the first that matches; what has no newline yet counts too.
const SAYS: &str = r#"check() {
  if has bash; then
    bash -c 'exec 3<>"/dev/tcp/$1/$2" || exit
      while IFS= read -r -t "$3" line <&3 || [ -n "$line" ]; do
        printf "%s\n" "$line" | grep $4 -E -e "$5" && exit
      done
      exit 1' bash "$host" "$port" "$connect" "$flags" "$regex" 2>/dev/null
  elif has nc; then nc -w "$connect" "$host" "$port" </dev/null 2>/dev/null | grep $flags -m1 -E -e "$regex"
  else exit 69
  fi
}
"#;

/// Fails while a line of the kernel's tables is one that counts.
const DRAINED: &str = r#"drained() { ! cat /proc/net/tcp /proc/net/tcp6 2>/dev/null | grep -v -E -e "$2" | grep -q -E -e "$1"; }
"#;

/// Numbers of the states in `/proc/net/tcp` (the kernel's `include/net/tcp_states.h`).
const STATES: [(&str, &str); 11] = [
    ("ESTABLISHED", "01"),
    ("SYN_SENT", "02"),
    ("SYN_RECV", "03"),
    ("FIN_WAIT1", "04"),
    ("FIN_WAIT2", "05"),
    ("TIME_WAIT", "06"),
    ("CLOSE", "07"),
    ("CLOSE_WAIT", "08"),
    ("LAST_ACK", "09"),
    ("LISTEN", "0A"),
    ("CLOSING", "0B"),
];

fn connections(host: &str, port: u16, args: &Args) -> Result<Connections, ArgError> {
    let address = |argument: &str, text: &str| {
        let text = if text == "localhost" { "127.0.0.1" } else { text };
        text.parse().map_err(|_| {
            ArgError::new(
                argument,
                format!("not supported yet: the name `{text}` with `state: drained`"),
            )
            .help("write an address")
        })
    };
    let mut states = Vec::new();
    for name in args.list("active_connection_states") {
        let number = STATES
            .iter()
            .find(|(state, _)| *state == name)
            .map(|(_, number)| *number);
        states.push(number.ok_or_else(|| {
            let names = STATES.map(|(state, _)| format!("`{state}`")).join(", ");
            ArgError::new(
                "active_connection_states",
                format!("`{name}` is no state of a TCP connection"),
            )
            .help(format!("states are {names}"))
        })?);
    }
    let local = in_proc(address("host", host)?);
    let mut excluded = Vec::new();
    for name in args.list("exclude_hosts") {
        excluded.push(in_proc(address("exclude_hosts", &name)?));
    }
    Ok(Connections {
        host: host.to_owned(),
        port,
        active: format!(
            "^ *[0-9]+: ({local}):{port:04X} [0-9A-F]+:[0-9A-F]+ ({}) ",
            states.join("|")
        ),
        // No line is empty.
        excluded: match excluded.is_empty() {
            true => "^$".to_owned(),
            false => format!("^ *[0-9]+: [0-9A-F]+:[0-9A-F]+ ({}):", excluded.join("|")),
        },
    })
}

/// An address as `/proc/net/tcp` and `tcp6` write it, words with the lowest byte first; a socket for both families has
/// IPv4's in IPv6's.
fn in_proc(address: IpAddr) -> String {
    let words = |bytes: &[u8]| -> String {
        let words = bytes.chunks(4);
        words
            .flat_map(|word| word.iter().rev().map(|byte| format!("{byte:02X}")))
            .collect()
    };
    match address {
        IpAddr::V4(any) if any.is_unspecified() => "(0000000000000000FFFF0000)?[0-9A-F]{8}".to_owned(),
        IpAddr::V4(v4) => format!("(0000000000000000FFFF0000)?{}", words(&v4.octets())),
        IpAddr::V6(any) if any.is_unspecified() => "[0-9A-F]{32}".to_owned(),
        IpAddr::V6(v6) => words(&v6.octets()),
    }
}

fn prepare(args: &Args, controller: &dyn Prepare) -> Result<Box<dyn Action>, ArgError> {
    let state = args.need("state")?;
    for name in ["active_connection_states", "exclude_hosts"] {
        if args.given(name) && state != "drained" {
            return Err(ArgError::new(name, format!("`{name}` is for `state: drained`")));
        }
    }
    let target = match (args.int("port"), args.str("path")) {
        (Some(_), Some(_)) => return Err(ArgError::new("path", "`port` and `path` exclude each other")),
        (Some(port), None) => Target::Port {
            host: args.need("host")?.to_owned(),
            port: u16::try_from(port).map_err(|_| ArgError::new("port", format!("`{port}` is no port")))?,
        },
        (None, Some(path)) => Target::Path(path.to_owned()),
        (None, None) => Target::Nothing,
    };
    if !matches!(target, Target::Port { .. }) && matches!(state, "stopped" | "drained") {
        let wrong = ArgError::new("state", format!("`{state}` is for a port"));
        return Err(if state == "stopped" {
            wrong.help("for a file write `absent`")
        } else {
            wrong
        });
    }
    let target = match target {
        Target::Port { host, port } if state == "drained" => Target::Connections(connections(&host, port, args)?),
        target => target,
    };
    let there = matches!(state, "started" | "present");
    let search = match args.str("search_regex") {
        Some(text) if there => Some(Search {
            text: text.to_owned(),
            regex: PythonRegex::multiline(text)
                .map_err(|e| ArgError::new("search_regex", format!("`{text}` is no regular expression: {e}")))?,
            grep: extended(text).ok_or_else(|| {
                ArgError::new("search_regex", format!("not supported yet: waiting for `{text}`"))
                    .help("look-around, back references and newlines are not supported")
            })?,
        }),
        _ => None,
    };
    let seconds = |name: &str| {
        let value = args.int(name).unwrap_or(0);
        u32::try_from(value).map_err(|_| ArgError::new(name, format!("`{value}` is no number of seconds")))
    };
    Ok(Box::new(WaitFor {
        target,
        there,
        search,
        state: state.to_owned(),
        timeout: seconds("timeout")?,
        delay: seconds("delay")?,
        sleep: seconds("sleep")?.max(1),
        connect_timeout: seconds("connect_timeout")?.max(1),
        msg: args.str("msg").map(str::to_owned),
        check_mode: controller.check_mode(),
    }))
}

fn ahead(args: &Map<String, Value>) -> Vec<Probe> {
    let path = args.get("path").and_then(Value::as_str);
    path.map(|p| vec![Probe::stat_follow(p)]).unwrap_or_default()
}

impl WaitFor {
    /// What a first look needs; `None`: a look cannot tell.
    fn look(&self) -> Option<Probe> {
        if self.delay > 0 {
            return None;
        }
        match (&self.target, &self.search) {
            (Target::Port { host, port }, None) => Some(Probe::Tcp {
                host: host.clone(),
                port: *port,
                timeout_s: self.connect_timeout,
            }),
            (Target::Path(path), None) => Some(Probe::stat_follow(path)),
            (Target::Path(path), Some(_)) => Some(Probe::read(path)),
            (Target::Connections(of), _) => {
                let script = format!("{DRAINED}drained \"$1\" \"$2\"");
                Some(Probe::script(&script, &[&of.active, &of.excluded]))
            }
            (Target::Port { .. }, Some(_)) | (Target::Nothing, _) => None,
        }
    }

    fn report(&self, elapsed: i64) -> Report {
        let (port, path) = match &self.target {
            Target::Port { port, .. } => (Value::from(*port), Value::Null),
            Target::Path(path) => (Value::Null, Value::from(path.as_str())),
            Target::Connections(of) => (Value::from(of.port), Value::Null),
            Target::Nothing => (Value::Null, Value::Null),
        };
        Report::new()
            .with("state", self.state.as_str())
            .with("port", port)
            .with("path", path)
            .with(
                "search_regex",
                self.search
                    .as_ref()
                    .map_or(Value::Null, |s| Value::from(s.text.as_str())),
            )
            .with("match_groups", Vec::<String>::new())
            .with("match_groupdict", Map::new())
            .with("elapsed", elapsed)
    }

    fn matched(&self, report: Report, text: &[u8]) -> Option<Report> {
        let Some(search) = &self.search else {
            return Some(report);
        };
        let groups = search.regex.search(text).ok()??;
        let value = |group: &Option<Vec<u8>>| match group {
            Some(bytes) => Value::from(String::from_utf8_lossy(bytes).into_owned()),
            None => Value::Null,
        };
        let named: Map<String, Value> = groups
            .named
            .iter()
            .filter_map(|(name, number)| Some((name.clone(), value(groups.numbered.get(*number)?))))
            .collect();
        let numbered: Vec<Value> = groups.numbered.iter().skip(1).map(value).collect();
        Some(report.with("match_groups", numbered).with("match_groupdict", named))
    }

    fn wanted(&self) -> String {
        let what = match &self.target {
            Target::Port { host, port } => format!("`{host}:{port}`"),
            Target::Path(path) => format!("`{path}`"),
            Target::Connections(of) => return format!("the connections to `{}:{}` to end", of.host, of.port),
            Target::Nothing => return "the time to pass".to_owned(),
        };
        match (&self.search, self.there, &self.target) {
            (Some(search), ..) => format!("`{}` in {what}", search.text),
            (None, true, Target::Port { .. }) => format!("{what} to accept connections"),
            (None, true, _) => format!("{what} to exist"),
            (None, false, Target::Port { .. }) => format!("{what} to accept no more connections"),
            (None, false, _) => format!("{what} to be gone"),
        }
    }

    fn waiting(&self) -> Op {
        let (host, port, path) = match &self.target {
            Target::Port { host, port } => (host.clone(), port.to_string(), String::new()),
            Target::Path(path) => (String::new(), String::new(), path.clone()),
            Target::Connections(_) => Default::default(),
            Target::Nothing => {
                return Op::Exec(Exec {
                    argv: vec!["sleep".to_owned(), (self.delay + self.timeout).to_string()],
                    timeout_s: Some(self.delay + self.timeout + 10),
                    effect: Effect::Nothing,
                    ..Exec::default()
                });
            }
        };
        let check = match (&self.target, &self.search, self.there) {
            (Target::Connections(_), ..) => format!("{DRAINED}check() {{ drained \"$regex\" \"$flags\"; }}\n"),
            (Target::Port { .. }, Some(_), _) => SAYS.to_owned(),
            (Target::Port { .. }, None, true) => format!("{CONNECTS}check() {{ connects; }}\n"),
            (Target::Port { .. }, None, false) => format!("{CONNECTS}check() {{ ! connects; }}\n"),
            (_, Some(_), _) => "check() { grep $flags -m1 -E -e \"$regex\" -- \"$path\" 2>/dev/null; }\n".to_owned(),
            (_, None, true) => "check() { [ -e \"$path\" ]; }\n".to_owned(),
            (_, None, false) => "check() { [ ! -e \"$path\" ]; }\n".to_owned(),
        };
        let (flags, regex) = match (&self.target, &self.search) {
            (Target::Connections(of), _) => (of.excluded.as_str(), of.active.clone()),
            (_, Some(search)) => (search.grep.0, search.grep.1.clone()),
            (_, None) => ("", String::new()),
        };
        let seconds = [self.delay, self.timeout, self.sleep, self.connect_timeout].map(|n| n.to_string());
        let head = [
            "sh".to_owned(),
            "-c".to_owned(),
            format!("{check}{LOOP}"),
            "sh".to_owned(),
        ];
        let tail = [host, port, path, flags.to_owned(), regex];
        Op::Exec(Exec {
            argv: head.into_iter().chain(seconds).chain(tail).collect(),
            timeout_s: Some(self.delay + self.timeout + self.sleep + self.connect_timeout + 10),
            effect: Effect::Nothing,
            ..Exec::default()
        })
    }
}

impl Action for WaitFor {
    fn probes(&self) -> Vec<Probe> {
        self.look().into_iter().collect()
    }

    fn decide(&self, seen: &Seen<'_>) -> Result<Decision, Stop> {
        if let Some(probe) = self.look() {
            let report = match seen.raw(&probe)? {
                Observation::Unknown(why) => return Err(Stop::CannotKnow(why)),
                Observation::Text(found) => (found.is_some() == self.there).then(|| self.report(0)),
                Observation::Stat(found) => (found.is_some() == self.there).then(|| self.report(0)),
                Observation::Exec(result) => result.ok().then(|| self.report(0)),
                Observation::Content(Some(content)) => self.matched(self.report(0), content.as_bytes()),
                _ => None,
            };
            if let Some(report) = report {
                return Ok(Decision::Keep(report));
            }
        }
        if self.check_mode && matches!(self.target, Target::Nothing) {
            return Ok(Decision::Keep(self.report(0)));
        }
        if self.check_mode {
            return Err(Stop::CannotKnow(format!("would wait for {}", self.wanted())));
        }
        let mut change = Change::new(Vec::new(), vec![self.waiting()], self.report(0))
            .undo(Undo::Ops(Vec::new()))
            .judged_by_outcome();
        change.changed = false;
        Ok(Decision::Change(change))
    }

    fn finish(&self, _: &Change, outcomes: &[Outcome]) -> Result<Report, Failure> {
        let exec = outcomes.first().and_then(|o| o.exec.as_ref());
        let Some(exec) = exec else {
            let said = match outcomes.first().map(|o| &o.status) {
                Some(Status::Failed(text)) => text.clone(),
                Some(Status::Unknown) => "the connection was lost while waiting".to_owned(),
                _ => "nothing was waited for".to_owned(),
            };
            return Err(Failure::new(said));
        };
        if matches!(self.target, Target::Nothing) && exec.rc == 0 {
            return Ok(self.report(i64::from(self.delay + self.timeout)));
        }
        let text = exec.stdout.text();
        let (matched, last) = text.trim_end().rsplit_once('\n').unwrap_or(("", text.trim_end()));
        let elapsed = last.parse().unwrap_or(0);
        let fail = |msg: String| {
            let mut failure = Failure::new(msg);
            failure.values.insert("elapsed".to_owned(), Value::from(elapsed));
            Err(failure)
        };
        match exec.rc {
            0 => {
                let report = self.report(elapsed);
                Ok(self.matched(report.clone(), matched.as_bytes()).unwrap_or(report))
            }
            TOO_LONG | 124 => fail(match &self.msg {
                Some(msg) => msg.clone(),
                None => format!("waited {} s for {} in vain", self.timeout, self.wanted()),
            }),
            NO_TOOL => fail("the host has neither bash nor nc to connect with".to_owned()),
            rc => fail(format!(
                "waiting failed with status {rc}: {}",
                exec.stderr.text().trim()
            )),
        }
    }
}

/// A Python pattern as `grep -E` reads it, with options; `None`: there is no way to say it.
fn extended(pattern: &str) -> Option<(&'static str, String)> {
    let (flags, pattern) = match pattern.strip_prefix("(?") {
        Some(rest) if rest.starts_with(['i', 'm', 's', 'x']) => {
            let (letters, rest) = rest.split_once(')')?;
            match letters {
                "m" => ("", rest),
                "i" | "im" | "mi" => ("-i", rest),
                _ => return None,
            }
        }
        _ => ("", pattern),
    };
    let mut out = String::new();
    let mut chars = pattern.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next()? {
                'd' => out.push_str("[0-9]"),
                'D' => out.push_str("[^0-9]"),
                'w' => out.push_str("[[:alnum:]_]"),
                'W' => out.push_str("[^[:alnum:]_]"),
                's' => out.push_str("[[:space:]]"),
                'S' => out.push_str("[^[:space:]]"),
                't' => out.push('\t'),
                c if c.is_ascii_alphanumeric() => return None,
                // An escaped angle bracket is the edge of a word for grep.
                c @ ('<' | '>' | '`' | '\'' | '"') => out.push(c),
                c => out.extend(['\\', c]),
            },
            '(' => {
                out.push('(');
                if chars.peek() == Some(&'?') {
                    chars.next();
                    match chars.next()? {
                        ':' => {}
                        'P' => {
                            if chars.next()? != '<' {
                                return None;
                            }
                            for c in chars.by_ref() {
                                if c == '>' {
                                    break;
                                }
                            }
                        }
                        _ => return None,
                    }
                }
            }
            '[' => {
                out.push('[');
                let mut first = true;
                loop {
                    match chars.next()? {
                        '^' if first => {
                            out.push('^');
                            continue;
                        }
                        ']' if !first => {
                            out.push(']');
                            break;
                        }
                        '[' => return None,
                        '\\' => match chars.next()? {
                            'd' => out.push_str("0-9"),
                            'w' => out.push_str("[:alnum:]_"),
                            's' => out.push_str("[:space:]"),
                            't' => out.push('\t'),
                            '.' => out.push('.'),
                            c if c.is_ascii_alphanumeric() || "]^-[".contains(c) => return None,
                            c => out.push(c),
                        },
                        c => out.push(c),
                    }
                    first = false;
                }
            }
            // Whether there is a match does not depend on how greedy it is.
            '?' if out.ends_with(['*', '+', '?', '}']) => {}
            '\n' => return None,
            c => out.push(c),
        }
    }
    Some((flags, out))
}

#[cfg(test)]
mod tests {
    use super::extended;

    #[test]
    fn patterns_for_grep() {
        let grep = |p: &str| extended(p).map(|(flags, text)| format!("{flags}|{text}"));
        assert_eq!(grep("OpenSSH").as_deref(), Some("|OpenSSH"));
        assert_eq!(
            grep(r"(?i)completed with (?P<n>\d+) plugins?\.$").as_deref(),
            Some(r"-i|completed with ([0-9]+) plugins?\.$")
        );
        assert_eq!(grep(r"(?:a|b).*?[\w.-]+").as_deref(), Some("|(a|b).*[[:alnum:]_.-]+"));
        for pattern in [r"(?=a)", r"(a)\1", r"a\nb", r"a\b", "(?s)a.b"] {
            assert_eq!(grep(pattern), None, "{pattern}");
        }
    }
}
