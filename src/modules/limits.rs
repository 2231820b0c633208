//! `pam_limits`, alias `limits`: resource limits of login sessions (PAM) and of systemd services (a drop-in).

use super::knob::Edits;
use super::unit::{self, DropIn, Process, Unit};
use super::{
    Action, ArgError, ArgKind, ArgSpec, Args, Decision, Failure, Kind, ModuleSpec, Prepare, Report, Seen, Stop,
};
use crate::host::{Layer, Observation, Op, Probe};
use serde_json::{Map, Value};

const DEFAULT_DEST: &str = "/etc/security/limits.conf";
const DROP_IN: &str = "60-rmqplay-limits.conf";
const ENV_CONF: &str = "/etc/rabbitmq/rabbitmq-env.conf";
const NR_OPEN: &str = "/proc/sys/fs/nr_open";
/// What RabbitMQ's start script sets `ERL_MAX_PORTS` to if nobody has: more descriptors than this are not used.
const ERL_MAX_PORTS: u64 = 65536;

pub static SPEC: ModuleSpec = ModuleSpec {
    name: "pam_limits",
    aliases: &["limits", "community.general.pam_limits"],
    summary: "Resource limits of login sessions, or of a systemd service",
    description: "\
With `domain:` it takes the arguments of `community.general.pam_limits` and keeps one line of `limits.conf`. Such lines count for \
login sessions from the next login on. **They never reach a service that systemd starts.**

With `service:` the limit is written to a drop-in of the unit (`/etc/systemd/system/UNIT.d/60-rmqplay-limits.conf`, `LimitNOFILE=` \
and so on) and systemd reads it. The service is not restarted: notify a handler. Values are in the units of limits.conf (KiB for \
sizes, minutes for `cpu`). The report shows what the running process has. More than 65536 files need `ERL_MAX_PORTS` too for \
RabbitMQ; the task warns where it does not find it.

Only the line that is meant is changed; comments, other lines and their order stay. Where a line stands twice, the last one \
counts. Another file under `limits.d` that wins is told.

Differences from Ansible: `state: absent`; comments of other lines are not copied; a file that is right is not written; \
foreign lines that make no sense are left alone.",
    args: &[
        ArgSpec::new("domain", ArgKind::Str, "User, `@group`, `*`, `%group`, a range of ids: whose sessions."),
        ArgSpec::new("service", ArgKind::Str, "systemd unit, instead of `domain`.").aliases(&["unit"]),
        ArgSpec::new("limit_type", ArgKind::Str, "Which limit; `-` is both, as one line. Default for a service: `-`.")
            .choices(&["hard", "soft", "-"]),
        ArgSpec::new("limit_item", ArgKind::Str, "What is limited.").required().choices(&[
            "core", "data", "fsize", "memlock", "nofile", "rss", "stack", "cpu", "nproc", "as", "maxlogins", "maxsyslogins",
            "priority", "locks", "sigpending", "msgqueue", "nice", "rtprio", "chroot",
        ]),
        ArgSpec::new("value", ArgKind::Str, "A number, `unlimited`, `infinity` or `-1`; not needed with `state: absent`."),
        ArgSpec::new("state", ArgKind::Str, "`absent` takes the line out.").default("present").choices(&["present", "absent"]),
        ArgSpec::new("use_max", ArgKind::Bool, "Keep the value that is there if it is higher.").default("false"),
        ArgSpec::new("use_min", ArgKind::Bool, "Keep the value that is there if it is lower.").default("false"),
        ArgSpec::new("backup", ArgKind::Bool, "Keep a copy of the file before it is changed.").default("false"),
        ArgSpec::new("dest", ArgKind::Path, "The file, for sessions.").default(DEFAULT_DEST),
        ArgSpec::new("comment", ArgKind::Str, "Comment at the end of the line.").default(""),
    ],
    free_form: None,
    open: false,
    returns: &[
        ("msg", "The line as it stands in the file"),
        ("backup_file", "Path of the copy, with `backup`"),
    ],
    examples: "\
- name: the broker may open 300000 files
  limits:
    service: rabbitmq-server
    limit_item: nofile
    value: 300000
  notify: restart rabbitmq

- name: login sessions of the broker's user
  community.general.pam_limits:
    domain: rabbitmq
    limit_type: soft
    limit_item: nofile
    value: 65536
    dest: /etc/security/limits.d/60-rabbitmq.conf

- name: an old line goes
  pam_limits: {domain: '*', limit_type: hard, limit_item: nproc, state: absent}
",
    local: true,
    kind: Kind::Host(prepare),
    ahead,
};

/// A limit; `None` is unlimited.
type Limit = Option<u64>;

fn prepare(args: &Args, host: &dyn Prepare) -> Result<Box<dyn Action>, ArgError> {
    let item = args.need("limit_item")?.to_owned();
    let absent = args.str("state") == Some("absent");
    let pick = match (args.bool("use_max"), args.bool("use_min")) {
        (true, true) => return Err(ArgError::new("use_min", "`use_max` and `use_min` exclude each other")),
        (true, false) => Pick::Max,
        (false, true) => Pick::Min,
        (false, false) => Pick::Wanted,
    };
    let value = match args.str("value") {
        _ if absent => None,
        None => return Err(ArgError::task("module `pam_limits` needs the argument `value`")),
        Some(text) => Some(value(&item, text)?),
    };
    match (args.str("domain"), args.str("service")) {
        (Some(_), Some(_)) => Err(ArgError::new("service", "`domain` and `service` exclude each other")),
        (None, None) => Err(ArgError::task("module `pam_limits` needs the argument `domain`")
            .help("or `service`, for a unit of systemd: limits.conf never reaches it")),
        (Some(domain), None) => {
            let dest = args.need("dest")?.to_owned();
            Ok(Box::new(Session {
                domain: domain.to_owned(),
                kind: match args.str("limit_type") {
                    Some(kind) => kind.to_owned(),
                    None => return Err(ArgError::task("module `pam_limits` needs the argument `limit_type`")),
                },
                item,
                value,
                pick,
                comment: args.str("comment").unwrap_or_default().to_owned(),
                backup: args
                    .bool("backup")
                    .then(|| format!("{dest}.{}~", host.now().replace('T', "@").trim_end_matches('Z'))),
                dest,
            }))
        }
        (None, Some(service)) => {
            for name in ["dest", "comment", "backup"] {
                if args.given(name) {
                    return Err(ArgError::new(
                        name,
                        format!("`{name}` belongs to `domain`, not to `service`"),
                    ));
                }
            }
            let Some(kind) = DIRECTIVES.iter().find(|d| d.item == item) else {
                return Err(ArgError::new("limit_item", format!("systemd has no limit `{item}`")));
            };
            Ok(Box::new(Service {
                unit: service.to_owned(),
                directive: kind,
                kind: args.str("limit_type").unwrap_or("-").to_owned(),
                value: match value.as_deref() {
                    Some(text) => {
                        Some(kind.raw(text).ok_or_else(|| {
                            ArgError::new("value", format!("`{item}` of a service cannot be `{text}`"))
                        })?)
                    }
                    None => None,
                },
                pick,
            }))
        }
    }
}

/// As limits.conf writes it.
fn value(item: &str, text: &str) -> Result<String, ArgError> {
    let text = text.trim();
    let number = text.parse::<i64>();
    let good = match item {
        "chroot" => text.starts_with('/'),
        "nice" | "priority" => number.is_ok_and(|n| (-20..=19).contains(&n)),
        _ => matches!(text, "unlimited" | "infinity" | "-1") || number.is_ok_and(|n| n >= 0),
    };
    if good {
        return Ok(text.to_owned());
    }
    Err(ArgError::new(
        "value",
        match item {
            "chroot" => format!("`chroot` needs an absolute path, not `{text}`"),
            "nice" | "priority" => format!("`{item}` needs a number from -20 to 19, not `{text}`"),
            _ => format!("module `pam_limits` needs an integer or `unlimited` here, not `{text}`"),
        },
    )
    .help("write the number in full: `65536`"))
}

#[derive(Clone, Copy, PartialEq)]
enum Pick {
    Wanted,
    Max,
    Min,
}

impl Pick {
    /// Which of two to keep; `true`: the one that is there.
    fn keeps<T: Ord>(self, there: &T, wanted: &T) -> bool {
        match self {
            Pick::Wanted => false,
            Pick::Max => there > wanted,
            Pick::Min => there < wanted,
        }
    }
}

/// Unlimited is higher than any number.
fn order(limit: &str) -> i128 {
    match limit {
        "unlimited" | "infinity" | "-1" => i128::MAX,
        number => number.parse().unwrap_or(i128::MIN),
    }
}

// --- login sessions -------------------------------------------------------------------------------------------

struct Session {
    domain: String,
    kind: String,
    item: String,
    value: Option<String>,
    pick: Pick,
    comment: String,
    dest: String,
    backup: Option<String>,
}

/// A line of limits.conf, number from 0.
struct Entry<'a> {
    at: usize,
    domain: &'a str,
    kind: &'a str,
    item: &'a str,
    value: &'a str,
    comment: Option<&'a str>,
}

fn entry(at: usize, text: &str) -> Option<Entry<'_>> {
    let (body, comment) = match text.split_once('#') {
        Some((body, comment)) => (body, Some(comment.trim())),
        None => (text, None),
    };
    let mut words = body.split_whitespace();
    let entry = Entry {
        at,
        domain: words.next()?,
        kind: words.next()?,
        item: words.next()?,
        value: words.next()?,
        comment,
    };
    words.next().is_none().then_some(entry)
}

/// All lines that PAM reads, in its order: limits.conf, then `limits.d` by name (pam_limits(8)).
const PAM_FILES: &str =
    "exec grep -HsnE '^[[:space:]]*[^#[:space:]]' /etc/security/limits.conf /etc/security/limits.d/*.conf /dev/null";

fn pam_probe() -> Probe {
    Probe::exec(["sh", "-c", PAM_FILES])
}

impl Session {
    fn is_mine(&self, entry: &Entry<'_>) -> bool {
        entry.domain == self.domain && entry.kind == self.kind && entry.item == self.item
    }

    /// The file and value that count at login: the last line of all, ours as it is in `text`.
    fn winner(&self, listing: &str, text: &str) -> Option<(String, String)> {
        let ours = text
            .lines()
            .enumerate()
            .map(|(n, line)| (self.dest.clone(), n + 1, line));
        let others = listing.lines().filter_map(|row| {
            let (file, rest) = row.split_once(':')?;
            let (number, line) = rest.split_once(':')?;
            (file != self.dest).then_some((file.to_owned(), number.parse().ok()?, line))
        });
        let mut all: Vec<(String, usize, &str)> = others.chain(ours).collect();
        // limits.conf sorts first, `limits.d/...` after it, as PAM reads them.
        all.sort_by(|a, b| (a.0 != DEFAULT_DEST, &a.0, a.1).cmp(&(b.0 != DEFAULT_DEST, &b.0, b.1)));
        all.iter().rev().find_map(|(file, number, line)| {
            let entry = entry(*number, line)?;
            let kind = entry.kind == self.kind || entry.kind == "-" || self.kind == "-";
            (kind && entry.domain == self.domain && entry.item == self.item)
                .then(|| (format!("{file}:{number}"), entry.value.to_owned()))
        })
    }
}

impl Action for Session {
    fn probes(&self) -> Vec<Probe> {
        vec![Probe::read(&self.dest), pam_probe()]
    }

    fn decide(&self, seen: &Seen<'_>) -> Result<Decision, Stop> {
        seen.want(&self.probes())?;
        let content = seen.read(&self.dest)?;
        let before = content.as_ref().map(|c| c.text().into_owned()).unwrap_or_default();
        let listing = match seen.get(&pam_probe())? {
            Observation::Exec(result) => result.stdout.text().into_owned(),
            _ => String::new(),
        };
        let mine: Vec<Entry<'_>> = before
            .lines()
            .enumerate()
            .filter_map(|(n, l)| entry(n, l))
            .filter(|e| self.is_mine(e))
            .collect();
        let last = mine.last();

        let mut edits = Edits::default();
        let mut report = Report::new();
        let Some(wanted) = &self.value else {
            let gone: Vec<usize> = mine.iter().map(|e| e.at).collect();
            let after = keep_lines(&before, |n| !gone.contains(&n));
            edits.file(&self.dest, content.as_ref(), content.is_some().then_some(after));
            return Ok(self.done(
                edits,
                report.msg(format!("no {} {} for {}", self.kind, self.item, self.domain)),
            ));
        };
        let target = match last {
            Some(there) if self.pick.keeps(&order(there.value), &order(wanted)) => there.value.to_owned(),
            Some(there) if order(there.value) == order(wanted) && self.item != "chroot" => there.value.to_owned(),
            _ => wanted.clone(),
        };
        let mut line = format!("{}\t{}\t{}\t{target}", self.domain, self.kind, self.item);
        let comment = if self.comment.is_empty() {
            last.and_then(|e| e.comment)
        } else {
            Some(self.comment.as_str())
        };
        if let Some(comment) = comment {
            line.push_str(&format!("\t# {comment}"));
        }
        let right =
            last.is_some_and(|e| e.value == target && (self.comment.is_empty() || e.comment == Some(&self.comment)));
        let after = match last {
            _ if right => before.clone(),
            Some(last) => before
                .split_inclusive('\n')
                .enumerate()
                .map(|(n, old)| {
                    if n == last.at {
                        format!("{line}\n")
                    } else {
                        old.to_owned()
                    }
                })
                .collect(),
            None => {
                let gap = if before.is_empty() || before.ends_with('\n') {
                    ""
                } else {
                    "\n"
                };
                format!("{before}{gap}{line}\n")
            }
        };
        if let Some((place, value)) = self.winner(&listing, &after)
            && order(&value) != order(&target)
        {
            report = report.warn(format!("{place} wins at login: {value}, not {target}"));
        }
        if !right && self.domain == "rabbitmq" {
            report = report.warn(
                "limits of PAM count for login sessions only; they never reach the service (`service: rabbitmq-server` does)",
            );
        }
        let now = self.winner(&listing, &before);
        report.layers.push(Layer {
            knob: format!("{} {} of sessions of {}", self.kind, self.item, self.domain)
                .trim_start_matches("- ")
                .to_owned(),
            desired: target,
            file: Some(
                now.as_ref()
                    .map_or_else(|| "not set".to_owned(), |(_, value)| value.clone()),
            ),
            live: None,
            process: None,
            source: now.map(|(place, _)| place),
        });
        let shown = if right {
            last.and_then(|e| before.lines().nth(e.at)).unwrap_or(&line).to_owned()
        } else {
            line
        };
        edits.file(&self.dest, content.as_ref(), Some(after));
        Ok(self.done(edits, report.msg(shown)))
    }
}

impl Session {
    fn done(&self, edits: Edits, report: Report) -> Decision {
        let mut decision = edits.decision(report);
        if let (Decision::Change(change), Some(copy)) = (&mut decision, &self.backup) {
            for op in &mut change.ops {
                if let Op::Write { backup, guard, .. } = op
                    && *guard != Some(crate::host::Guard::Absent)
                {
                    *backup = Some(copy.clone());
                    change
                        .report
                        .values
                        .insert("backup_file".to_owned(), Value::String(copy.clone()));
                }
            }
        }
        decision
    }
}

fn keep_lines(text: &str, keep: impl Fn(usize) -> bool) -> String {
    text.split_inclusive('\n')
        .enumerate()
        .filter(|(n, _)| keep(*n))
        .map(|(_, l)| l)
        .collect()
}

// --- services ---------------------------------------------------------------------------------------------------

/// A limit in PAM's, systemd's and the kernel's words.
struct Directive {
    item: &'static str,
    directive: &'static str,
    /// In `/proc/PID/limits`.
    kernel: &'static str,
    unit: Scale,
}

#[derive(Clone, Copy, PartialEq)]
enum Scale {
    Plain,
    Kib,
    Minutes,
    /// `nice` -20..19 is the resource limit 40..1.
    Nice,
}

const fn directive(item: &'static str, directive: &'static str, kernel: &'static str, unit: Scale) -> Directive {
    Directive {
        item,
        directive,
        kernel,
        unit,
    }
}

static DIRECTIVES: &[Directive] = &[
    directive("nofile", "LimitNOFILE", "Max open files", Scale::Plain),
    directive("nproc", "LimitNPROC", "Max processes", Scale::Plain),
    directive("core", "LimitCORE", "Max core file size", Scale::Kib),
    directive("data", "LimitDATA", "Max data size", Scale::Kib),
    directive("fsize", "LimitFSIZE", "Max file size", Scale::Kib),
    directive("memlock", "LimitMEMLOCK", "Max locked memory", Scale::Kib),
    directive("rss", "LimitRSS", "Max resident set", Scale::Kib),
    directive("stack", "LimitSTACK", "Max stack size", Scale::Kib),
    directive("as", "LimitAS", "Max address space", Scale::Kib),
    directive("cpu", "LimitCPU", "Max cpu time", Scale::Minutes),
    directive("locks", "LimitLOCKS", "Max file locks", Scale::Plain),
    directive("sigpending", "LimitSIGPENDING", "Max pending signals", Scale::Plain),
    directive("msgqueue", "LimitMSGQUEUE", "Max msgqueue size", Scale::Plain),
    directive("nice", "LimitNICE", "Max nice priority", Scale::Nice),
    directive("rtprio", "LimitRTPRIO", "Max realtime priority", Scale::Plain),
];

/// Items that a process has, for `check`.
pub const SERVICE_ITEMS: [&str; 15] = [
    "nofile",
    "nproc",
    "core",
    "data",
    "fsize",
    "memlock",
    "rss",
    "stack",
    "as",
    "cpu",
    "locks",
    "sigpending",
    "msgqueue",
    "nice",
    "rtprio",
];

/// The kernel's name of a limit (as in `/proc/PID/limits`) and its number for a value in PAM's units (`None`: unlimited).
pub fn kernel(item: &str, value: &str) -> Option<(&'static str, Option<u64>)> {
    let directive = DIRECTIVES.iter().find(|d| d.item == item)?;
    Some((directive.kernel, directive.raw(value)?))
}

impl Directive {
    /// PAM's value → the kernel's number.
    fn raw(&self, text: &str) -> Option<Limit> {
        if matches!(text, "unlimited" | "infinity") || (text == "-1" && self.unit != Scale::Nice) {
            return Some(None);
        }
        let number: i64 = text.parse().ok()?;
        let raw = match self.unit {
            Scale::Plain => u64::try_from(number).ok()?,
            Scale::Kib => u64::try_from(number).ok()?.checked_mul(1024)?,
            Scale::Minutes => u64::try_from(number).ok()?.checked_mul(60)?,
            Scale::Nice => u64::try_from(20 - number).ok()?,
        };
        Some(Some(raw))
    }

    /// As a unit file says it.
    fn text(&self, limit: Limit) -> String {
        match (limit, self.unit) {
            (None, _) => "infinity".to_owned(),
            (Some(n), Scale::Kib) if n % 1024 == 0 && n > 0 => format!("{}K", n / 1024),
            (Some(n), Scale::Minutes) if n > 0 => format!("{n}s"),
            (Some(n), Scale::Nice) => format!("{:+}", 20_i128 - i128::from(n)),
            (Some(n), _) => n.to_string(),
        }
    }

    /// What a unit file says → the kernel's number; `None` where it is not understood.
    fn parse(&self, text: &str) -> Option<Limit> {
        let text = text.trim();
        if text == "infinity" {
            return Some(None);
        }
        let (number, suffix) = text.split_at(
            text.find(|c: char| !c.is_ascii_digit() && !"+-".contains(c))
                .unwrap_or(text.len()),
        );
        if self.unit == Scale::Nice && number.starts_with(['+', '-']) {
            return Some(u64::try_from(20 - number.parse::<i64>().ok()?).ok());
        }
        let factor = match (self.unit, suffix.trim()) {
            (_, "") => 1,
            (Scale::Minutes, "s" | "sec") => 1,
            (Scale::Minutes, "m" | "min") => 60,
            (Scale::Minutes, "h") => 3600,
            (Scale::Minutes, _) => return None,
            (_, "K") => 1 << 10,
            (_, "M") => 1 << 20,
            (_, "G") => 1 << 30,
            (_, "T") => 1 << 40,
            _ => return None,
        };
        Some(Some(number.parse::<u64>().ok()?.checked_mul(factor)?))
    }

    /// `soft:hard` or one number for both.
    fn pair(&self, text: &str) -> Option<(Limit, Limit)> {
        match text.split_once(':') {
            Some((soft, hard)) => Some((self.parse(soft)?, self.parse(hard)?)),
            None => self.parse(text).map(|both| (both, both)),
        }
    }

    fn pair_text(&self, (soft, hard): (Limit, Limit)) -> String {
        if soft == hard {
            self.text(hard)
        } else {
            format!("{}:{}", self.text(soft), self.text(hard))
        }
    }
}

struct Service {
    unit: String,
    directive: &'static Directive,
    kind: String,
    value: Option<Limit>,
    pick: Pick,
}

impl Service {
    fn is_rabbitmq(&self) -> bool {
        self.unit.contains("rabbitmq")
    }

    /// What of a pair this task is about.
    fn part(&self, (soft, hard): (Limit, Limit)) -> String {
        let shown = |l: Limit| l.map_or_else(|| "unlimited".to_owned(), |n| n.to_string());
        match self.kind.as_str() {
            "soft" => shown(soft),
            "hard" => shown(hard),
            _ if soft == hard => shown(hard),
            _ => format!("{}:{}", shown(soft), shown(hard)),
        }
    }

    /// The pair with the wanted part in it.
    fn merged(&self, (soft, hard): (Limit, Limit), value: Limit) -> Result<(Limit, Limit), Failure> {
        let higher = |a: Limit, b: Limit| a.is_none_or(|a| b.is_some_and(|b| a > b)) && a != b;
        let pick = |there: Limit| {
            let rank = |l: Limit| l.map_or(i128::MAX, i128::from);
            if self.pick.keeps(&rank(there), &rank(value)) {
                there
            } else {
                value
            }
        };
        match self.kind.as_str() {
            "soft" if higher(pick(soft), hard) => {
                let failure = Failure::new(format!(
                    "soft {} of {} would be above hard, which is {}",
                    self.directive.item,
                    unit::full_name(&self.unit),
                    self.directive.text(hard)
                ));
                Err(failure.help("set both with `limit_type: '-'`"))
            }
            "soft" => Ok((pick(soft), hard)),
            "hard" => {
                let hard = pick(hard);
                Ok((if higher(soft, hard) { hard } else { soft }, hard))
            }
            _ => Ok((pick(soft), pick(hard))),
        }
    }

    /// systemd's loaded values.
    fn loaded(&self, unit: &Unit) -> Option<(Limit, Limit)> {
        let read = |property: &str| match unit.get(property)? {
            "infinity" => Some(None),
            number => number.parse().ok().map(Some),
        };
        let hard = read(self.directive.directive)?;
        Some((read(&format!("{}Soft", self.directive.directive)).unwrap_or(hard), hard))
    }
}

impl Action for Service {
    fn probes(&self) -> Vec<Probe> {
        let mut probes = vec![
            Probe::read(unit::drop_in_path(&self.unit, DROP_IN)),
            unit::show(&self.unit),
            unit::process(&self.unit),
        ];
        if self.directive.item == "nofile" && self.value.is_some() {
            probes.push(Probe::read(NR_OPEN));
            if self.is_rabbitmq() {
                probes.push(Probe::read(ENV_CONF));
            }
        }
        probes
    }

    fn decide(&self, seen: &Seen<'_>) -> Result<Decision, Stop> {
        seen.want(&self.probes())?;
        let mut file = DropIn::seen(seen, &self.unit, DROP_IN)?;
        let path = file.path.clone();
        let unit = Unit::seen(seen, &self.unit)?;
        let process = Process::seen(seen, &self.unit)?;
        let directive = self.directive;
        let knob = format!("{} of {}", directive.item, unit.name);
        let own = file.now(directive.directive).last().and_then(|v| directive.pair(v));
        let loaded = self.loaded(&unit);

        let mut report = Report::new();
        let (assignments, target) = match self.value {
            None => (Vec::new(), None),
            Some(value) => {
                let pair = self.merged(own.or(loaded).unwrap_or((value, value)), value)?;
                let pair = if self.kind == "-" && self.pick == Pick::Wanted {
                    (value, value)
                } else {
                    pair
                };
                report = self.check(seen, &unit, report, pair)?;
                (vec![directive.pair_text(pair)], Some(pair))
            }
        };
        if own.is_none() || own != target {
            file.set(directive.directive, &assignments);
        }
        let mut edits = Edits::default();
        report = file.settle(&unit, &mut edits, report);
        let Some(target) = target else {
            return Ok(edits.decision(report.msg(format!("{path} sets no {}", directive.directive))));
        };
        let running = process.as_ref().and_then(|p| {
            let (soft, hard) = p.limits.get(directive.kernel)?;
            let read = |v: &str| {
                if v == "unlimited" {
                    Some(None)
                } else {
                    v.parse().ok().map(Some)
                }
            };
            Some((p.pid, (read(soft)?, read(hard)?)))
        });
        let wanted = self.part(target);
        if edits.is_empty() {
            match loaded {
                Some(loaded) if unit.exists() && self.part(loaded) != wanted => {
                    report = report.warn(unit.overridden(
                        &path,
                        &format!("{}={}", directive.directive, directive.pair_text(loaded)),
                    ));
                }
                _ => {}
            }
            if let Some((pid, now)) = running
                && self.part(now) != wanted
                && loaded.is_none_or(|loaded| self.part(loaded) == wanted)
            {
                report = report.warn(format!(
                    "process {pid} of {} still has {} {}: it started before the change; restart it",
                    unit.name,
                    directive.item,
                    self.part(now)
                ));
            }
        }
        let (in_file, source) = match (own, loaded) {
            (_, Some(loaded)) if unit.exists() && !unit.needs_reload() => (
                Some(self.part(loaded)),
                if own.is_some_and(|own| own == loaded) {
                    Some(path.clone())
                } else {
                    unit.last_file(&path)
                },
            ),
            (Some(own), _) => (Some(self.part(own)), Some(path.clone())),
            (None, _) => (Some("not set".to_owned()), None),
        };
        report.layers.push(Layer {
            knob,
            desired: wanted,
            file: in_file,
            live: loaded.filter(|_| unit.exists()).map(|l| self.part(l)),
            process: running.map(|(_, now)| self.part(now)),
            source,
        });
        Ok(edits.decision(report.msg(format!("{}={}", directive.directive, directive.pair_text(target)))))
    }
}

impl Service {
    /// What else must be true for the limit to be had.
    fn check(
        &self,
        seen: &Seen<'_>,
        unit: &Unit,
        mut report: Report,
        (_, hard): (Limit, Limit),
    ) -> Result<Report, Stop> {
        if self.directive.item != "nofile" {
            return Ok(report);
        }
        let nr_open: Limit = seen.read_line(NR_OPEN)?.and_then(|v| v.trim().parse().ok());
        match (hard, nr_open) {
            (Some(hard), Some(nr_open)) if hard > nr_open => {
                return Err(Failure::new(format!(
                    "{} cannot have {hard} open files: the kernel allows a process {nr_open} (fs.nr_open), the service would not start",
                    unit.name
                ))
                .help(format!("raise it first: sysctl: {{name: fs.nr_open, value: {hard}, only_raise: true}}"))
                .into());
            }
            _ => {}
        }
        if !self.is_rabbitmq() {
            return Ok(report);
        }
        let ports = match unit.environment("ERL_MAX_PORTS") {
            Some(value) => Some(value),
            None => seen.read(ENV_CONF)?.and_then(|c| env_value(&c.text(), "ERL_MAX_PORTS")),
        };
        let enough = |hard: u64| {
            ports
                .as_ref()
                .is_some_and(|p| p.parse::<u64>().is_ok_and(|p| p >= hard))
        };
        match hard {
            None => {
                report = report.warn("without a limit of open files the Erlang VM reserves memory for all it could ever open; name a number");
            }
            Some(hard) if hard > ERL_MAX_PORTS && !enough(hard) => {
                report = report.warn(format!(
                    "the Erlang VM uses {} of {hard} files: RabbitMQ needs ERL_MAX_PORTS={hard} in the unit's environment too",
                    ports.as_deref().unwrap_or("65536")
                ));
            }
            _ => {}
        }
        Ok(report)
    }
}

/// The value of an assignment in a file of shell assignments.
fn env_value(text: &str, name: &str) -> Option<String> {
    text.lines().rev().find_map(|line| {
        let line = line.trim();
        let value = line
            .strip_prefix("export ")
            .unwrap_or(line)
            .trim_start()
            .strip_prefix(name)?
            .strip_prefix('=')?;
        Some(value.trim().trim_matches(['"', '\'']).to_owned())
    })
}

fn ahead(args: &Map<String, Value>) -> Vec<Probe> {
    let text = |names: [&str; 2]| names.iter().find_map(|n| args.get(*n)).and_then(Value::as_str);
    match text(["service", "unit"]) {
        Some(service) => vec![
            Probe::read(unit::drop_in_path(service, DROP_IN)),
            unit::show(service),
            unit::process(service),
            Probe::read(NR_OPEN),
        ],
        None => vec![Probe::read(text(["dest", "dest"]).unwrap_or(DEFAULT_DEST)), pam_probe()],
    }
}
