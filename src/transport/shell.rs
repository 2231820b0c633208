//! PURE. The only place that turns probes and ops into sh: a [`Plan`] of a request, and its text.
//!
//! The functions called are in `peer.sh`, `ops.sh` and `facts.sh`; what they answer is read by [`super::wire`], unit by
//! unit, along the same plan. Consecutive probes of one kind become one unit, so that one process serves them all.

#![deny(clippy::disallowed_methods)]

mod plan;
mod words;

pub use self::plan::{Look, Plan, Source, Unit};
pub(super) use self::words::quote;

use self::words::{at_home, encoded, glob_word, guard_word, is_identifier, octal, owner_word, rooted, yes};
use super::Request;
use crate::host::{Exec, Op};
use sha2::Digest as _;

const PEER: &str = include_str!("peer.sh");
const OPS: &str = include_str!("ops.sh");
const FACTS: &str = include_str!("facts.sh");

/// The script of a request, for the standard input of `sh`. `marker` is random for each call, letters and digits only.
pub fn encode(request: &Request, marker: &str) -> Vec<u8> {
    let request = &at_home(request);
    let plan = Plan::of(request);
    let has = |wanted: fn(&Unit<'_>) -> bool| plan.units.iter().any(wanted);
    let ops = has(|unit| matches!(unit, Unit::Op(_)));
    let facts = has(|unit| matches!(unit, Unit::Facts));
    let executes = has(|unit| matches!(unit, Unit::Op(Op::Exec(_) | Op::Write { validate: Some(_), .. })));

    let mut script = Script {
        text: Vec::new(),
        marker,
    };
    script.text.extend_from_slice(b"{\n");
    for (name, functions) in sections(PEER) {
        let wanted = match name {
            "stat" => has(|unit| matches!(unit, Unit::Stat { .. })),
            "read" => has(|unit| matches!(unit, Unit::Read { .. } | Unit::Facts)),
            "hash" => has(|unit| matches!(unit, Unit::Hash { .. })),
            "glob" => has(|unit| matches!(unit, Unit::Glob(_))),
            "exec" => ops || plan.units.iter().any(Unit::runs),
            "script" => has(|unit| matches!(unit, Unit::Script(..))),
            _ => true,
        };
        if wanted {
            script.functions(functions);
        }
    }
    if ops {
        script.functions(OPS);
    }
    if facts {
        script.functions(FACTS);
    }
    script.call("begin", [marker, &detour(marker)]);
    script.call("need", needs(&plan));
    if executes {
        script.call("clock", [""; 0]);
    }
    script.call("umask", ["077"]);
    if plan.units.iter().any(Unit::uses_files) {
        script.call("temporaries", [""; 0]);
    }
    if plan.units.iter().any(Unit::limits_time) {
        script.call("limits", [""; 0]);
    }
    if plan.units.iter().any(Unit::decodes) {
        script.call("can_decode", [""; 0]);
    }
    let limit = request.op_limit_s.unwrap_or(0);
    if ops {
        script.line(&format!("op_limit={limit}"));
    }
    for unit in &plan.units {
        if !script.unit(unit, limit) {
            break;
        }
    }
    script.line("finish");
    script.text.extend_from_slice(b"exit\n}\n");
    script.text
}

/// Slashes and dots that change nothing in the middle of a path (between `/` or `./` and the rest), 64 bits of the
/// marker's randomness: `$P` in `peer.sh`. Nobody who wrote a file on the host can have foreseen them.
pub(super) fn detour(marker: &str) -> String {
    let hash = sha2::Sha256::digest(marker);
    let bits = hash
        .iter()
        .take(8)
        .flat_map(|byte| (0..8).map(move |bit| byte >> bit & 1));
    // Two slashes at the head of a path may mean something else.
    let steps = bits.map(|bit| if bit == 0 { "/" } else { "./" });
    std::iter::once("./").chain(steps).collect()
}

/// `peer.sh` by its headings `# ---- NAME`; what comes before the first has no name.
fn sections(source: &str) -> impl Iterator<Item = (&str, &str)> {
    const HEADING: &str = "\n# ---- ";
    let (core, rest) = source.split_once(HEADING).unwrap_or((source, ""));
    let named = rest.split(HEADING).filter_map(|section| section.split_once('\n'));
    std::iter::once(("", core)).chain(named)
}

impl Unit<'_> {
    fn uses_files(&self) -> bool {
        match self {
            Unit::Execs(_) => true,
            Unit::Op(op) => matches!(op, Op::Exec(_) | Op::Put { .. } | Op::Write { validate: Some(_), .. }),
            _ => false,
        }
    }

    fn runs(&self) -> bool {
        matches!(self, Unit::Execs(_)) || self.limits_time()
    }

    fn limits_time(&self) -> bool {
        match self {
            Unit::Execs(looks) => looks.iter().any(|look| look.timeout_s > 0),
            Unit::Facts | Unit::Tcp { .. } => true,
            Unit::Op(op) => matches!(op, Op::Exec(_) | Op::Write { validate: Some(_), .. }),
            _ => false,
        }
    }

    fn decodes(&self) -> bool {
        matches!(
            self,
            Unit::Op(Op::Write { .. } | Op::Put { .. } | Op::Exec(Exec { stdin: Some(_), .. }))
        )
    }
}

/// The tools a plan cannot do without, once each.
fn needs(plan: &Plan) -> Vec<&'static str> {
    let mut all: Vec<&str> = plan
        .units
        .iter()
        .flat_map(|unit| -> &[&str] {
            match unit {
                Unit::Stat(_) => &["stat", "readlink"],
                Unit::Read { .. } => &["cat", "head", "rm"],
                Unit::Execs(looks) if looks.iter().any(|look| look.stdin.is_some()) => {
                    &["timeout", "head", "rm", "base64"]
                }
                Unit::Execs(_) | Unit::Tcp { .. } => &["timeout", "head", "rm"],
                Unit::Facts => &["timeout", "head", "stat", "date", "rm"],
                Unit::Op(Op::Exec(_)) => &["timeout", "head", "rm", "date", "base64"],
                Unit::Op(Op::Write { .. } | Op::Copy { .. }) => &[
                    "base64",
                    "cat",
                    "chmod",
                    "chown",
                    "cp",
                    "date",
                    "head",
                    "mv",
                    "readlink",
                    "rm",
                    "sha256sum",
                    "sync",
                    "timeout",
                ],
                Unit::Op(Op::Put { .. }) => &["base64", "cat", "rm"],
                Unit::Op(Op::MakeDir { .. }) => &["mkdir", "chmod", "chown"],
                Unit::Op(Op::Link { .. }) => &["ln", "mv", "rm", "rmdir"],
                Unit::Op(Op::Remove { .. }) => &["rm", "rmdir"],
                Unit::Op(Op::Chmod { .. }) => &["chmod"],
                Unit::Op(Op::Chown { .. }) => &["chown"],
                Unit::Op(Op::Touch { .. }) => &["touch"],
                Unit::Hash { .. } | Unit::Glob(_) | Unit::Script(..) | Unit::Refused { .. } => &[],
            }
        })
        .copied()
        .collect();
    all.sort_unstable();
    all.dedup();
    all
}

struct Script<'a> {
    text: Vec<u8>,
    marker: &'a str,
}

impl Script<'_> {
    fn line(&mut self, text: &str) {
        self.text.extend_from_slice(text.as_bytes());
        self.text.push(b'\n');
    }

    /// The functions of a file, without what only a reader needs.
    fn functions(&mut self, source: &str) {
        let lines = source.lines().map(str::trim_start);
        for line in lines.filter(|line| !line.is_empty() && !line.starts_with('#')) {
            self.line(line);
        }
    }

    fn words<W: AsRef<str>>(&mut self, words: impl IntoIterator<Item = W>) {
        for word in words {
            self.text.push(b' ');
            self.text.extend_from_slice(&quote(word.as_ref()));
        }
    }

    fn call<W: AsRef<str>>(&mut self, function: &str, words: impl IntoIterator<Item = W>) {
        self.text.extend_from_slice(function.as_bytes());
        self.words(words);
        self.text.push(b'\n');
    }

    /// A call that ends the script if it fails.
    fn op<W: AsRef<str>>(&mut self, function: &str, words: impl IntoIterator<Item = W>, input: Option<&[u8]>) {
        self.text.extend_from_slice(function.as_bytes());
        self.words(words);
        if let Some(input) = input {
            self.text.extend_from_slice(format!(" <<'{}'", self.marker).as_bytes());
            self.text.extend_from_slice(b" || finish\n");
            self.line(&encoded(input));
            self.line(self.marker);
        } else {
            self.text.extend_from_slice(b" || finish\n");
        }
    }

    /// Whether the script goes on after it.
    fn unit(&mut self, unit: &Unit, limit: u32) -> bool {
        match unit {
            Unit::Stat(paths) => {
                let how: String = paths
                    .iter()
                    .map(|(_, follow)| if *follow { 'L' } else { '-' })
                    .collect();
                self.call("stats", [&*how].into_iter().chain(paths.iter().map(|(path, _)| *path)));
            }
            Unit::Read { max, sources } => {
                self.text.extend_from_slice(format!("reads {max}").as_bytes());
                for source in sources {
                    match source {
                        Source::Path(path) => self.words([path]),
                        // What it becomes stands between empty words.
                        Source::Glob(pattern) => {
                            self.words([""]);
                            self.text.push(b' ');
                            self.text.extend_from_slice(&glob_word(pattern));
                            self.words([""]);
                        }
                    }
                }
                self.text.push(b'\n');
            }
            Unit::Hash { algorithm, paths } => {
                self.call(
                    "hashes",
                    [algorithm.tool(), &algorithm.of_nothing()].iter().chain(paths),
                );
            }
            Unit::Glob(pattern) => {
                self.text.extend_from_slice(b"globbed ");
                self.text.extend_from_slice(&glob_word(pattern));
                self.text.push(b'\n');
            }
            Unit::Execs(looks) => {
                for Look { argv, stdin, timeout_s } in looks {
                    self.text.extend_from_slice(b"probe");
                    if let Some(input) = stdin {
                        self.words(["fed", &encoded(input.as_bytes())]);
                    }
                    let argv = argv.iter().map(String::as_str);
                    self.call("", ["run", &timeout_s.to_string()].into_iter().chain(argv));
                }
                self.line("probed");
            }
            Unit::Script(text, arguments) => {
                self.call(
                    "script",
                    [*text].into_iter().chain(arguments.iter().map(String::as_str)),
                );
            }
            Unit::Facts => self.line("facts"),
            Unit::Tcp { host, port, timeout_s } => {
                self.call("tcp", [&timeout_s.max(&1).to_string(), *host, &port.to_string()]);
            }
            Unit::Op(op) => self.one_op(op, limit),
            Unit::Refused { op, .. } => return !op,
        }
        true
    }

    fn one_op(&mut self, op: &Op, limit: u32) {
        match op {
            Op::Write {
                path,
                content,
                mode,
                owner,
                group,
                guard,
                backup,
                validate,
            } => {
                let guard = guard_word(guard);
                let (mode, owner) = (octal(*mode), owner_word(owner, group));
                let backup = backup.as_deref().unwrap_or_default();
                let fixed = [path, &*mode, &owner, guard, backup];
                let validate = validate.iter().flatten().map(String::as_str);
                self.op("op_write", fixed.into_iter().chain(validate), Some(content.as_bytes()));
            }
            Op::Put { path, content } => self.op("op_put", [path], Some(content.as_bytes())),
            Op::MakeDir {
                path,
                mode,
                owner,
                group,
                parents,
            } => {
                let (mode, owner) = (octal(*mode), owner_word(owner, group));
                self.op("op_mkdir", [path, &*mode, &owner, yes(*parents)], None);
            }
            Op::Link {
                path,
                target,
                hard,
                force,
            } => self.op("op_link", [path, &**target, yes(*hard), yes(*force)], None),
            Op::Remove { path, recursive } => self.op("op_remove", [path, yes(*recursive)], None),
            Op::Chmod { path, mode } => self.op("op_chmod", [path, &*octal(Some(*mode))], None),
            Op::Chown {
                path,
                owner,
                group,
                follow,
            } => self.op("op_chown", [path, &*owner_word(owner, group), yes(*follow)], None),
            Op::Touch { path, atime, mtime } => {
                let time = |time: &Option<i64>| time.map(|t| t.to_string()).unwrap_or_default();
                self.op("op_touch", [path, &*time(atime), &time(mtime)], None);
            }
            Op::Copy { source, path, guard } => self.op("op_copy", [source, &**path, guard_word(guard)], None),
            Op::Exec(exec) => self.exec(exec, limit),
        }
    }

    fn exec(&mut self, exec: &Exec, limit: u32) {
        // A shell cannot export every name; `env` can pass any.
        let (plain, odd): (Vec<_>, Vec<_>) = exec.env.iter().partition(|(name, _)| is_identifier(name));
        let ok: Vec<String> = exec.ok.iter().map(i32::to_string).collect();
        let mut words = vec![
            exec.timeout_s.unwrap_or(limit).to_string(),
            exec.cwd.as_deref().map(rooted).unwrap_or_default(),
            ok.join(" "),
            yes(exec.stdin.is_some()).to_owned(),
            plain.len().to_string(),
        ];
        words.extend(plain.into_iter().map(|(name, value)| format!("{name}={value}")));
        if !odd.is_empty() {
            words.push("env".to_owned());
            words.extend(odd.into_iter().map(|(name, value)| format!("{name}={value}")));
        }
        words.extend(exec.argv.iter().cloned());
        self.op("op_exec", words, exec.stdin.as_ref().map(|content| content.as_bytes()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::{Content, Hidden, Probe};
    use crate::transport::Step;

    fn request(steps: Vec<Step>) -> Request {
        Request {
            steps,
            ..Request::default()
        }
    }

    #[test]
    fn a_script_holds_only_what_it_calls() {
        let stat = encode(&request(vec![Step::Probe(Probe::stat("/"))]), "m");
        let stat = String::from_utf8(stat).unwrap();
        assert!(
            stat.contains("stats() {") && !stat.contains("hashes() {") && !stat.contains("op_write() {"),
            "{stat}"
        );
        assert!(stat.starts_with("{\n") && stat.ends_with("finish\nexit\n}\n"));
    }

    /// Secrets travel as base64 in a here-document, so that no argument vector on the host shows them.
    #[test]
    fn content_is_never_a_word() {
        let write = Op::Put {
            path: "/p".to_owned(),
            content: Content::from("hunter2"),
        };
        let script = String::from_utf8(encode(&request(vec![Step::Op(write)]), "m")).unwrap();
        assert!(!script.contains("hunter2"));
        assert!(
            script.contains("op_put /p <<'m' || finish\naHVudGVyMg==\nm\n"),
            "{script}"
        );
        let look = Probe::Exec {
            argv: vec!["cat".to_owned()],
            stdin: Some(Hidden::new("hunter2")),
            timeout_s: 5,
        };
        assert!(!format!("{look:?}").contains("hunter2"));
        let script = String::from_utf8(encode(&request(vec![Step::Probe(look)]), "m")).unwrap();
        assert!(!script.contains("hunter2"));
        assert!(script.contains("probe fed 'aHVudGVyMg==' run 5 cat\n"), "{script}");
    }
}
