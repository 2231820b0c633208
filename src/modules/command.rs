//! `command` and `shell`: run something on the host.

use super::args::plain;
use super::{Action, ArgError, ArgKind, ArgSpec, Args, Change, Decision, Failure, Kind, ModuleSpec, Prepare, Report};
use super::{Seen, Stop};
use crate::host::{Content, Effect, Exec, ExecResult, Observation, Op, Outcome, Probe, Status, Undo};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

const RETURNS: &[(&str, &str)] = &[
    ("cmd", "the command: a list for `command`, a string for `shell`"),
    (
        "rc",
        "exit status; 128 + n after signal n; of `command`: 2 where there is no such program, 13 where it may not be run",
    ),
    ("stdout", "standard output"),
    ("stderr", "standard error"),
    ("stdout_lines", "standard output by lines"),
    ("stderr_lines", "standard error by lines"),
    ("start", "when it began, UTC by the host's clock"),
    ("end", "when it ended"),
    ("delta", "how long it took, `0:00:01.234567`"),
];

const CMD: ArgSpec = ArgSpec::new("cmd", ArgKind::Str, "The command.");
const CHDIR: ArgSpec = ArgSpec::new("chdir", ArgKind::Path, "Directory to run it in.");
const CREATES: ArgSpec = ArgSpec::new("creates", ArgKind::Path, "Do not run it if this path (a glob) exists.");
const REMOVES: ArgSpec = ArgSpec::new(
    "removes",
    ArgKind::Path,
    "Do not run it if this path (a glob) does not exist.",
);
const EXECUTABLE: ArgSpec = ArgSpec::new("executable", ArgKind::Path, "The shell; `/bin/sh` if unset.");
const STDIN: ArgSpec = ArgSpec::new(
    "stdin",
    ArgKind::Str,
    "Text for standard input; without it, input is empty.",
);
const STDIN_ADD_NEWLINE: ArgSpec =
    ArgSpec::new("stdin_add_newline", ArgKind::Bool, "Put a newline after `stdin`.").default("true");
const STRIP_EMPTY_ENDS: ArgSpec = ArgSpec::new(
    "strip_empty_ends",
    ArgKind::Bool,
    "Take newlines off the ends of stdout and stderr.",
)
.default("true");

pub static COMMAND: ModuleSpec = ModuleSpec {
    name: "command",
    aliases: &[],
    summary: "Run a command without a shell",
    description: "Runs a command: free form, `cmd` or `argv`. No pipes and redirections; `$NAME`, `${NAME}` and `~` are \
                  replaced on the host unless `expand_argument_vars: false`. It is `changed` each time it runs; `creates`, \
                  `removes`, `changed_when` say otherwise.\n\n\
                  Unlike Ansible's: a dry run reports that the command would run and that what depends on its result cannot \
                  be known, instead of an exit status of 0; times are UTC.",
    args: &[
        CMD,
        ArgSpec::new("argv", ArgKind::List, "The command as a list."),
        CHDIR,
        CREATES,
        REMOVES,
        STDIN,
        STDIN_ADD_NEWLINE,
        STRIP_EMPTY_ENDS,
        ArgSpec::new(
            "expand_argument_vars",
            ArgKind::Bool,
            "Replace variables and `~` in the arguments.",
        )
        .default("true"),
    ],
    free_form: Some("cmd"),
    open: false,
    returns: RETURNS,
    examples: "- name: which Erlang
  command: erl -noshell -eval 'io:format(\"~s\", [erlang:system_info(otp_release)]), halt().'
  register: otp
  changed_when: false
- name: unpack once
  ansible.builtin.command:
    argv: [tar, -xf, /var/tmp/app.tar, -C, /opt/app]
    creates: /opt/app/bin
",
    local: false,
    kind: Kind::Host(command),
    ahead,
};

pub static SHELL: ModuleSpec = ModuleSpec {
    name: "shell",
    aliases: &[],
    summary: "Run a command in a shell",
    description: "Runs `cmd` (or the free form) with `/bin/sh -c`, or with another `executable`. It is `changed` each time it \
                  runs; `creates`, `removes`, `changed_when` say otherwise.\n\n\
                  Unlike Ansible's: a dry run reports that the command would run and that what depends on its result cannot \
                  be known, instead of an exit status of 0; times are UTC.",
    args: &[
        CMD,
        CHDIR,
        CREATES,
        REMOVES,
        EXECUTABLE,
        STDIN,
        STDIN_ADD_NEWLINE,
        STRIP_EMPTY_ENDS,
    ],
    free_form: Some("cmd"),
    open: false,
    returns: RETURNS,
    examples: "- name: nodes that run
  shell: rabbitmqctl -q cluster_status --formatter json | tail -n 1
  register: status
  changed_when: false
- name: dump once
  ansible.builtin.shell:
    cmd: rabbitmqctl export_definitions - > definitions.json
    chdir: /var/backups
    creates: definitions.json
",
    local: false,
    kind: Kind::Host(shell),
    ahead,
};

/// A path that decides whether the command runs.
struct Condition {
    /// As the user wrote it.
    written: String,
    /// Seen from `chdir`.
    path: String,
}

struct Run {
    /// As the return value shows it.
    cmd: Value,
    exec: Exec,
    creates: Option<Condition>,
    removes: Option<Condition>,
    strip: bool,
    check_mode: bool,
}

fn command(args: &Args, controller: &dyn Prepare) -> Result<Box<dyn Action>, ArgError> {
    let words = match (args.str("cmd").filter(|c| !c.trim().is_empty()), args.raw("argv")) {
        (Some(_), Some(_)) => return Err(ArgError::new("argv", "`cmd` and `argv` exclude each other")),
        (Some(text), None) => split(text).ok_or_else(|| {
            ArgError::new("cmd", "the command cannot be split into words: a quote is not closed")
                .help("use `argv` where quoting gets in the way")
        })?,
        (None, Some(Value::Array(list))) => list.iter().map(plain).collect(),
        _ => return Err(ArgError::task("`command` needs a command")),
    };
    if words.is_empty() {
        return Err(ArgError::task("`command` needs a command"));
    }
    let cmd = Value::from(words.clone());
    let argv = if args.bool("expand_argument_vars") {
        expanded(words)
    } else {
        words
    };
    run(args, controller, cmd, argv)
}

/// Words as Python's `shlex.split` finds them (which, unlike a shell, knows no comments, and where a backslash in double
/// quotes escapes only itself and the quote); `None`: a quote or an escape is not finished.
pub fn split(text: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            ' ' | '\t' | '\r' | '\n' => words.extend(word.take()),
            '\'' => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next()? {
                        '\'' => break,
                        c => word.push(c),
                    }
                }
            }
            '"' => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next()? {
                        '"' => break,
                        '\\' => match chars.next()? {
                            c @ ('"' | '\\') => word.push(c),
                            c => word.extend(['\\', c]),
                        },
                        c => word.push(c),
                    }
                }
            }
            '\\' => word.get_or_insert_default().push(chars.next()?),
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    Some(words)
}

fn shell(args: &Args, controller: &dyn Prepare) -> Result<Box<dyn Action>, ArgError> {
    let cmd = args
        .str("cmd")
        .filter(|c| !c.trim().is_empty())
        .ok_or_else(|| ArgError::task("`shell` needs a command"))?;
    let shell = args.str("executable").unwrap_or("/bin/sh");
    let argv = vec![shell.to_owned(), "-c".to_owned(), cmd.to_owned()];
    run(args, controller, Value::from(cmd), argv)
}

fn run(args: &Args, controller: &dyn Prepare, cmd: Value, argv: Vec<String>) -> Result<Box<dyn Action>, ArgError> {
    let chdir = args.str("chdir").map(str::to_owned);
    let inside = |name: &str| {
        let written = args.str(name)?;
        let path = match &chdir {
            Some(dir) if !written.starts_with(['/', '~']) => format!("{}/{written}", dir.trim_end_matches('/')),
            _ => written.to_owned(),
        };
        Some(Condition {
            written: written.to_owned(),
            path,
        })
    };
    let stdin = args.str("stdin").map(|text| {
        let newline = if args.bool("stdin_add_newline") { "\n" } else { "" };
        Content::from(format!("{text}{newline}"))
    });
    Ok(Box::new(Run {
        cmd,
        creates: inside("creates"),
        removes: inside("removes"),
        strip: args.bool("strip_empty_ends"),
        check_mode: controller.check_mode(),
        exec: Exec {
            argv,
            env: controller.environment(),
            stdin,
            cwd: chdir,
            effect: Effect::Anything,
            ..Exec::default()
        },
    }))
}

fn ahead(args: &Map<String, Value>) -> Vec<Probe> {
    let path = |name: &str| args.get(name)?.as_str().filter(|p| p.starts_with('/'));
    ["creates", "removes"]
        .into_iter()
        .filter_map(path)
        .map(exists)
        .collect()
}

fn exists(path: &str) -> Probe {
    if path.contains(['*', '?', '[']) {
        Probe::glob(path)
    } else {
        Probe::stat(path)
    }
}

/// Words with variables or a `~` are put together by a shell on the host, where their values are known. An unset
/// variable stays as it is written (Python's `os.path.expandvars`).
fn expanded(words: Vec<String>) -> Vec<String> {
    if !words.iter().any(|w| w.contains('$') || w.starts_with('~')) {
        return words;
    }
    let line: Vec<String> = words.iter().map(|w| shell_word(w)).collect();
    vec![
        "/bin/sh".to_owned(),
        "-c".to_owned(),
        format!("exec {}", line.join(" ")),
    ]
}

fn shell_word(word: &str) -> String {
    let quote = |text: &str| {
        if text.is_empty() {
            String::new()
        } else {
            format!("'{}'", text.replace('\'', r"'\''"))
        }
    };
    let mut out = String::new();
    let mut rest = word;
    if let Some(after) = word.strip_prefix('~') {
        let user = after.split('/').next().unwrap_or_default();
        if user.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c)) {
            out.push('~');
            out.push_str(user);
            rest = &after[user.len()..];
            // A quoted slash would end the expansion of the home directory.
            if let Some(after) = rest.strip_prefix('/') {
                out.push('/');
                rest = after;
            }
        }
    }
    while let Some(at) = rest.find('$') {
        out.push_str(&quote(&rest[..at]));
        let after = &rest[at + 1..];
        let (name, length) = match after.strip_prefix('{') {
            Some(braced) => match braced.split_once('}') {
                Some((name, _)) => (name, name.len() + 2),
                None => ("", 0),
            },
            None => {
                let end = after
                    .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
                    .unwrap_or(after.len());
                (&after[..end], end)
            }
        };
        let is_name = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        if is_name {
            let written = &rest[at..=at + length];
            out.push_str(&format!(
                "\"${{{name}-{}}}\"",
                written.replace('$', r"\$").replace('}', r"\}")
            ));
            rest = &after[length..];
        } else {
            out.push_str("'$'");
            rest = after;
        }
    }
    out.push_str(&quote(rest));
    if out.is_empty() { "''".to_owned() } else { out }
}

impl Action for Run {
    fn probes(&self) -> Vec<Probe> {
        let conditions = self.creates.iter().chain(&self.removes);
        conditions.map(|c| exists(&c.path)).collect()
    }

    fn decide(&self, seen: &Seen<'_>) -> Result<Decision, Stop> {
        let verb = if self.check_mode { "Would" } else { "Did" };
        let there = |condition: &Condition| {
            Ok::<_, Stop>(match seen.get(&exists(&condition.path))? {
                Observation::Stat(stat) => stat.is_some(),
                Observation::List(list) => !list.is_empty(),
                _ => false,
            })
        };
        let mut reason = None;
        if let Some(condition) = &self.creates
            && there(condition)?
        {
            reason = Some((&condition.written, "exists"));
        }
        if reason.is_none()
            && let Some(condition) = &self.removes
            && !there(condition)?
        {
            reason = Some((&condition.written, "does not exist"));
        }
        if let Some((path, state)) = reason {
            let stdout = format!("skipped, since {path} {state}");
            let report = Report::new()
                .with("cmd", self.cmd.clone())
                .with("rc", 0)
                .with("stdout_lines", vec![stdout.clone()])
                .with("stdout", stdout)
                .with("stderr", "")
                .with("stderr_lines", Vec::<String>::new())
                .with("start", Value::Null)
                .with("end", Value::Null)
                .with("delta", Value::Null)
                .msg(format!("{verb} not run command since '{path}' {state}"));
            return Ok(Decision::Keep(report));
        }
        let change = Change::new(
            Vec::new(),
            vec![Op::Exec(self.exec.clone())],
            Report::new().with("cmd", self.cmd.clone()),
        );
        Ok(Decision::Change(
            change
                .undo(Undo::Impossible("what a command did cannot be taken back".to_owned()))
                .judged_by_outcome(),
        ))
    }

    fn finish(&self, change: &Change, outcomes: &[Outcome]) -> Result<Report, Failure> {
        let Some(outcome) = outcomes.first() else {
            return Err(Failure::new("the command was not run"));
        };
        let Some(result) = &outcome.exec else {
            let said = match &outcome.status {
                Status::Failed(text) => text.clone(),
                Status::Unknown => "the connection was lost while the command ran".to_owned(),
                _ => "the command was not run".to_owned(),
            };
            let mut failure = Failure::new(said);
            failure.values = change.report.values.clone();
            return Err(failure);
        };
        let mut report = change.report.clone();
        report.values.extend(values(result, self.strip));
        if result.truncated {
            report = report.warn("the output was longer than the limit, its end is missing");
        }
        if let Some((errno, msg)) = self.not_begun(result) {
            report.values.insert("rc".to_owned(), Value::from(errno));
            return Err(Failure {
                values: report.msg(msg.as_str()).values,
                msg,
                not_begun: true,
                ..Failure::default()
            });
        }
        let msg = match (&outcome.status, result.rc) {
            (Status::Failed(text), 0) => text.clone(),
            (_, 0) => return Ok(report.msg("")),
            (Status::Failed(_), 124) => "the command took longer than its time limit".to_owned(),
            _ => "non-zero return code".to_owned(),
        };
        Err(Failure {
            values: report.msg(msg.as_str()).values,
            msg,
            ..Failure::default()
        })
    }
}

impl Run {
    /// Why the program was not begun, where the shell that was to become it says so: errno(3), which is what Ansible
    /// gives for an exit status, and a message.
    fn not_begun(&self, result: &ExecResult) -> Option<(i32, String)> {
        let program = self.cmd.as_array()?.first()?.as_str()?;
        let text = result.stderr.text();
        let said = Some(text.trim_end()).filter(|said| said.lines().count() == 1)?;
        let ends = |why: &str| said.ends_with(&format!("{program}: {why}"));
        match result.rc {
            127 if ends("not found") || ends("No such file or directory") => {
                Some((2, format!("there is no command `{program}` on the host")))
            }
            126 if ends("Permission denied") => Some((13, format!("`{program}` may not be run"))),
            _ => None,
        }
    }
}

/// `rc stdout stderr stdout_lines stderr_lines start end delta`.
pub fn values(result: &ExecResult, strip: bool) -> BTreeMap<String, Value> {
    let text = |content: &Content| {
        let text = content.text();
        if strip {
            text.trim_end_matches(['\r', '\n']).to_owned()
        } else {
            text.into_owned()
        }
    };
    let (stdout, stderr) = (text(&result.stdout), text(&result.stderr));
    let (start, end) = (moment(&result.start), moment(&result.end));
    let delta = match (start, end) {
        (Some(start), Some(end)) => Value::from(duration(end.as_microsecond() - start.as_microsecond())),
        _ => Value::Null,
    };
    let shown = |t: Option<jiff::Timestamp>| {
        t.map_or(Value::Null, |t| {
            Value::from(t.strftime("%Y-%m-%d %H:%M:%S.%6f").to_string())
        })
    };
    BTreeMap::from([
        ("rc".to_owned(), Value::from(result.rc)),
        ("stdout_lines".to_owned(), Value::from(split_lines(&stdout))),
        ("stderr_lines".to_owned(), Value::from(split_lines(&stderr))),
        ("stdout".to_owned(), Value::from(stdout)),
        ("stderr".to_owned(), Value::from(stderr)),
        ("start".to_owned(), shown(start)),
        ("end".to_owned(), shown(end)),
        ("delta".to_owned(), delta),
    ])
}

/// `1763820131.123456` as the host's `date` writes it.
fn moment(text: &str) -> Option<jiff::Timestamp> {
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let micros: i64 = format!("{fraction:0<6}").get(..6)?.parse().ok()?;
    jiff::Timestamp::from_microsecond(seconds.parse::<i64>().ok()?.checked_mul(1_000_000)? + micros).ok()
}

/// As Python writes a `timedelta`.
fn duration(micros: i64) -> String {
    let seconds = micros.max(0) / 1_000_000;
    format!(
        "{}:{:02}:{:02}.{:06}",
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60,
        micros.max(0) % 1_000_000
    )
}

/// Python's `splitlines`.
fn split_lines(text: &str) -> Vec<String> {
    let breaks = [
        '\n', '\r', '\u{b}', '\u{c}', '\u{1c}', '\u{1d}', '\u{1e}', '\u{85}', '\u{2028}', '\u{2029}',
    ];
    let text = text.replace("\r\n", "\n");
    let mut lines: Vec<String> = text.split(breaks).map(str::to_owned).collect();
    if lines.last().is_some_and(String::is_empty) {
        lines.pop();
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_for_the_shell() {
        let words = |w: &[&str]| expanded(w.iter().map(|w| (*w).to_owned()).collect());
        assert_eq!(words(&["echo", "a b"]), ["echo", "a b"]);
        assert_eq!(
            words(&["~/bin/x", "$HOME/it's", "${A}b", "5$", "$(id)", "~root/y z", ""]),
            [
                "/bin/sh",
                "-c",
                r#"exec ~/'bin/x' "${HOME-\$HOME}"'/it'\''s' "${A-\${A\}}"'b' '5''$' '$''(id)' ~root/'y z' ''"#
            ]
        );
    }

    #[test]
    fn words_as_python_splits_them() {
        let words = |text: &str| split(text).unwrap();
        assert_eq!(
            words(r#"a  'b c'"d\e\"f" g\ h '' #x"#),
            ["a", r#"b cd\e"f"#, "g h", "", "#x"]
        );
        assert_eq!(split("a 'b"), None);
        assert_eq!(split("a \\"), None);
    }

    #[test]
    fn lines_and_times_as_python_has_them() {
        assert_eq!(split_lines("a\r\nb\n\nc\n"), ["a", "b", "", "c"]);
        assert_eq!(split_lines(""), Vec::<String>::new());
        assert_eq!(duration(3_661_000_042), "1:01:01.000042");
        assert_eq!(moment("1763820131.5").unwrap().as_microsecond(), 1_763_820_131_500_000);
        assert_eq!(moment("0"), jiff::Timestamp::from_second(0).ok());
    }
}
