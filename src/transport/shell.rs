//! PURE. The only place that turns probes and ops into sh: a [`Plan`] of a request, and its text.
//!
//! The functions called are in `peer.sh`, `ops.sh` and `facts.sh`; what they answer is read by [`super::wire`], unit by
//! unit, along the same plan. Consecutive probes of one kind become one unit, so that one process serves them all.

#![deny(clippy::disallowed_methods)]

use super::{Request, Step};
use crate::host::{Exec, Guard, Hidden, Op, Probe};
use base64::Engine as _;
use sha2::Digest as _;

const PEER: &str = include_str!("peer.sh");
const OPS: &str = include_str!("ops.sh");
const FACTS: &str = include_str!("facts.sh");

/// Words of one unit are the arguments of one process; Linux allows 2 MiB for them and the environment.
const UNIT_BYTES: usize = 96 * 1024;

/// A request as the units that are asked for and answered in order, and where each step finds its answer.
#[derive(Debug, PartialEq)]
pub struct Plan<'a> {
    pub units: Vec<Unit<'a>>,
    /// For each step: unit, and item in it.
    pub places: Vec<(usize, usize)>,
}

#[derive(Debug, PartialEq)]
pub enum Unit<'a> {
    /// Paths, and whether a symlink at their end is followed.
    Stat(Vec<(&'a str, bool)>),
    Read {
        max: u64,
        sources: Vec<Source<'a>>,
    },
    Hash {
        algorithm: Algorithm,
        paths: Vec<&'a str>,
    },
    Glob(&'a str),
    Execs(Vec<Look<'a>>),
    /// A look of ours that cannot hang, done by the peer's own shell: its text and its arguments.
    Script(&'a str, &'a [String]),
    Facts,
    Tcp {
        host: &'a str,
        port: u16,
        timeout_s: u32,
    },
    Op(&'a Op),
    /// Never sent: the reason is the answer. An op stops what follows.
    Refused {
        reason: String,
        op: bool,
    },
}

/// What is read: one file, or all that match a glob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source<'a> {
    Path(&'a str),
    Glob(&'a str),
}

impl<'a> Source<'a> {
    pub fn text(&self) -> &'a str {
        match self {
            Source::Path(text) | Source::Glob(text) => text,
        }
    }
}

/// A look by a command.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Look<'a> {
    pub argv: &'a [String],
    pub stdin: Option<&'a Hidden>,
    /// Seconds; 0: no limit.
    pub timeout_s: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    Md5,
    Sha1,
    Sha224,
    Sha256,
    Sha384,
    Sha512,
}

impl Algorithm {
    fn named(name: &str) -> Option<Algorithm> {
        Some(match name {
            "md5" => Algorithm::Md5,
            "sha1" => Algorithm::Sha1,
            "sha224" => Algorithm::Sha224,
            "sha256" => Algorithm::Sha256,
            "sha384" => Algorithm::Sha384,
            "sha512" => Algorithm::Sha512,
            _ => return None,
        })
    }

    fn tool(self) -> &'static str {
        match self {
            Algorithm::Md5 => "md5sum",
            Algorithm::Sha1 => "sha1sum",
            Algorithm::Sha224 => "sha224sum",
            Algorithm::Sha256 => "sha256sum",
            Algorithm::Sha384 => "sha384sum",
            Algorithm::Sha512 => "sha512sum",
        }
    }

    /// The hash of nothing, by which the target's tool is known to work.
    fn of_nothing(self) -> String {
        use crate::host::bytes::hex;
        match self {
            Algorithm::Md5 => hex(&md5::Md5::digest(b"")),
            Algorithm::Sha1 => hex(&sha1::Sha1::digest(b"")),
            Algorithm::Sha224 => hex(&sha2::Sha224::digest(b"")),
            Algorithm::Sha256 => hex(&sha2::Sha256::digest(b"")),
            Algorithm::Sha384 => hex(&sha2::Sha384::digest(b"")),
            Algorithm::Sha512 => hex(&sha2::Sha512::digest(b"")),
        }
    }
}

impl<'a> Plan<'a> {
    pub fn of(request: &'a Request) -> Plan<'a> {
        let mut plan = Plan {
            units: Vec::new(),
            places: Vec::with_capacity(request.steps.len()),
        };
        // Units before this one are closed: an op came after them.
        let mut open = 0;
        for step in &request.steps {
            let place = match step {
                Step::Probe(probe) => plan.probe(probe, open),
                Step::Op(op) => {
                    let unit = match refusal(strings_of_op(op)) {
                        None => Unit::Op(op),
                        Some(reason) => Unit::Refused { reason, op: true },
                    };
                    let place = plan.push(unit);
                    open = plan.units.len();
                    place
                }
            };
            plan.places.push(place);
        }
        plan
    }

    fn push(&mut self, unit: Unit<'a>) -> (usize, usize) {
        self.units.push(unit);
        (self.units.len() - 1, 0)
    }

    fn probe(&mut self, probe: &'a Probe, open: usize) -> (usize, usize) {
        let unit = Unit::of(probe);
        for (at, known) in self.units.iter_mut().enumerate().skip(open) {
            if let Some(item) = known.take_in(&unit) {
                return (at, item);
            }
        }
        self.push(unit)
    }
}

impl<'a> Unit<'a> {
    fn of(probe: &'a Probe) -> Unit<'a> {
        if let Some(reason) = refusal(strings_of_probe(probe)) {
            return Unit::Refused { reason, op: false };
        }
        match probe {
            Probe::Stat { path, follow } => Unit::Stat(vec![(path, *follow)]),
            Probe::Read { path, max } => Unit::Read {
                max: *max,
                sources: vec![Source::Path(path)],
            },
            Probe::ReadGlob { pattern } => Unit::Read {
                max: Probe::READ_MAX,
                sources: vec![Source::Glob(pattern)],
            },
            Probe::Hash { path, algorithm } => match Algorithm::named(algorithm) {
                Some(algorithm) => Unit::Hash {
                    algorithm,
                    paths: vec![path],
                },
                None => Unit::Refused {
                    reason: format!("unknown hash algorithm `{algorithm}`"),
                    op: false,
                },
            },
            Probe::Glob { pattern } => Unit::Glob(pattern),
            Probe::Exec {
                argv,
                stdin: None,
                timeout_s: 0,
            } if matches!(&**argv, [sh, c, _, ..] if sh == "sh" && c == "-c") => {
                // The word after the text is its $0.
                Unit::Script(&argv[2], argv.get(4..).unwrap_or_default())
            }
            Probe::Exec { argv, stdin, timeout_s } => Unit::Execs(vec![Look {
                argv,
                stdin: stdin.as_ref(),
                timeout_s: *timeout_s,
            }]),
            Probe::Facts => Unit::Facts,
            Probe::Tcp { host, port, timeout_s } => Unit::Tcp {
                host,
                port: *port,
                timeout_s: *timeout_s,
            },
        }
    }

    /// Joins a unit of one item to this one; the item's place in it, or `None` if it must stand alone.
    fn take_in(&mut self, other: &Unit<'a>) -> Option<usize> {
        match (&mut *self, other) {
            (Unit::Stat(mine), Unit::Stat(theirs)) => join(mine, theirs, |(path, _)| path.len()),
            (Unit::Read { max, sources }, Unit::Read { max: m, sources: s }) if max == m => {
                join(sources, s, |source| source.text().len())
            }
            (Unit::Hash { algorithm, paths }, Unit::Hash { algorithm: a, paths: p }) if algorithm == a => {
                join(paths, p, |path| path.len())
            }
            // Each command is a line of its own.
            (Unit::Execs(mine), Unit::Execs(theirs)) => join(mine, theirs, |_| 0),
            (same, other) => (*same == *other).then_some(0),
        }
    }
}

/// Where the only item of `theirs` is in `mine`, put there if there is room; `size` is that of its words.
fn join<T: Copy + PartialEq>(mine: &mut Vec<T>, theirs: &[T], size: impl Fn(&T) -> usize) -> Option<usize> {
    let new = theirs.first()?;
    if let Some(item) = mine.iter().position(|known| known == new) {
        return Some(item);
    }
    let used: usize = mine.iter().map(|known| size(known) + 48).sum();
    (used + size(new) < UNIT_BYTES).then(|| {
        mine.push(*new);
        mine.len() - 1
    })
}

/// Every string of a probe that goes into the script, the one it cannot do without first.
fn strings_of_probe(probe: &Probe) -> Vec<&str> {
    match probe {
        Probe::Stat { path, .. } | Probe::Read { path, .. } | Probe::Hash { path, .. } => vec![path],
        Probe::Glob { pattern } | Probe::ReadGlob { pattern } => vec![pattern],
        Probe::Exec { argv, .. } => command_strings(argv),
        Probe::Facts => vec!["facts"],
        Probe::Tcp { host, .. } => vec![host],
    }
}

/// As [`strings_of_probe`].
fn strings_of_op(op: &Op) -> Vec<&str> {
    let mut all = Vec::new();
    match op {
        Op::Put { path, .. } | Op::Remove { path, .. } | Op::Chmod { path, .. } | Op::Touch { path, .. } => {
            all.push(&**path)
        }
        Op::Link { path, target, .. } => all.extend([&**path, target]),
        Op::Copy { source, path, .. } => all.extend([&**path, source]),
        Op::MakeDir { path, owner, group, .. } | Op::Chown { path, owner, group, .. } => {
            all.push(path);
            all.extend(owner.iter().chain(group).map(String::as_str));
        }
        Op::Write {
            path,
            owner,
            group,
            backup,
            validate,
            ..
        } => {
            all.push(path);
            all.extend(owner.iter().chain(group).chain(backup).map(String::as_str));
            all.extend(validate.iter().flat_map(|argv| command_strings(argv)));
        }
        Op::Exec(exec) => {
            all.extend(command_strings(&exec.argv));
            all.extend(exec.env.iter().flat_map(|(name, value)| [&**name, value]));
            all.extend(exec.cwd.as_deref());
        }
    }
    all
}

fn command_strings(argv: &[String]) -> Vec<&str> {
    match argv {
        [] => vec![""],
        argv => argv.iter().map(String::as_str).collect(),
    }
}

/// Why a step cannot be sent: a NUL byte fits into no shell and no path.
fn refusal(strings: Vec<&str>) -> Option<String> {
    if strings.first().is_none_or(|first| first.is_empty()) {
        return Some("an empty path or command".to_owned());
    }
    let nul = strings.into_iter().find(|text| text.contains('\0'))?;
    Some(format!("`{}` holds a NUL byte", nul.escape_debug()))
}

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

fn yes(flag: bool) -> &'static str {
    if flag { "yes" } else { "" }
}

/// Five digits: with four, GNU's `chmod` leaves a directory's set-group-ID bit as it was.
fn octal(mode: Option<u32>) -> String {
    mode.map(|mode| format!("{:05o}", mode & 0o7777)).unwrap_or_default()
}

/// `chown`'s word; empty where neither is given.
fn owner_word(owner: &Option<String>, group: &Option<String>) -> String {
    let owner = owner.as_deref().unwrap_or_default();
    match group {
        Some(group) => format!("{owner}:{group}"),
        None => owner.to_owned(),
    }
}

fn guard_word(guard: &Option<Guard>) -> &str {
    match guard {
        None => "",
        Some(Guard::Absent) => "absent",
        Some(Guard::Sha256(hash)) => hash,
    }
}

/// Stands for the acting user's home at the head of a path, until [`quote`] writes `"$HOME"`. No path of a user's
/// begins with it.
const HOME: &str = "\u{1}~";

/// Paths that begin with `~/` with the mark of [`HOME`] instead: only the host knows where that is.
fn at_home(request: &Request) -> std::borrow::Cow<'_, Request> {
    let mut request = std::borrow::Cow::Borrowed(request);
    let marked = |path: &str| {
        let rest = path
            .strip_prefix('~')
            .filter(|rest| rest.is_empty() || rest.starts_with('/'))?;
        Some(format!("{HOME}{rest}"))
    };
    for index in 0..request.steps.len() {
        let mut step = request.steps[index].clone();
        let mut any = false;
        match &mut step {
            Step::Probe(probe) => {
                if let Some(path) = probe.path_mut()
                    && let Some(at_home) = marked(path)
                {
                    *path = at_home.into();
                    any = true;
                }
            }
            Step::Op(op) => {
                for path in op.paths_mut() {
                    if let Some(at_home) = marked(path) {
                        *path = at_home;
                        any = true;
                    }
                }
            }
        }
        if any {
            request.to_mut().steps[index] = step;
        }
    }
    request
}

/// A relative path that no tool takes for an option.
fn rooted(path: &str) -> String {
    if path.starts_with('/') || path.starts_with(HOME) {
        path.to_owned()
    } else {
        format!("./{path}")
    }
}

fn is_identifier(name: &str) -> bool {
    !name.starts_with(|c: char| c.is_ascii_digit())
        && !name.is_empty()
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// Base64 in short lines: some decoders read line by line.
fn encoded(input: &[u8]) -> String {
    let encoded = base64::engine::general_purpose::STANDARD.encode(input);
    let lines = encoded.as_bytes().chunks(1000).map(String::from_utf8_lossy);
    lines.collect::<Vec<_>>().join("\n")
}

/// One word of sh that means these bytes; the only place that quotes. A NUL cannot come here: [`Plan::of`] refuses it.
pub(super) fn quote(text: &str) -> Vec<u8> {
    if let Some(rest) = text.strip_prefix(HOME) {
        let mut word = b"\"$HOME\"".to_vec();
        if !rest.is_empty() {
            word.extend(quote(rest));
        }
        return word;
    }
    match shlex::bytes::try_quote(text.as_bytes()) {
        Ok(quoted) => quoted.into_owned(),
        Err(_) => b"''".to_vec(),
    }
}

/// A glob as a word: its metacharacters bare, all else quoted. A `[` that is not closed, and a backslash, mean themselves.
fn glob_word(pattern: &str) -> Vec<u8> {
    let mut word = Vec::new();
    let mut rest = pattern;
    while let Some(at) = rest.find(['*', '?', '[']) {
        if at > 0 {
            word.extend(quote(&rest[..at]));
        }
        let class = rest[at..].starts_with('[').then(|| class_end(&rest[at..]));
        rest = match class {
            None => {
                word.push(rest.as_bytes()[at]);
                &rest[at + 1..]
            }
            Some(None) => {
                word.extend(quote("["));
                &rest[at + 1..]
            }
            Some(Some(end)) => {
                word.extend(class_word(&rest[at..at + end]));
                &rest[at + end..]
            }
        };
    }
    if !rest.is_empty() || word.is_empty() {
        word.extend(quote(rest));
    }
    word
}

/// Where the class that begins `text` ends: a `]` right after `[` or `[!` belongs to it.
fn class_end(text: &str) -> Option<usize> {
    let inner = if text.starts_with("[!") { 2 } else { 1 };
    let first = text[inner..].chars().next()?.len_utf8();
    text[inner + first..].find(']').map(|end| inner + first + end + 1)
}

fn class_word(class: &str) -> Vec<u8> {
    let mut word = Vec::new();
    for (at, c) in class.char_indices() {
        let negates = c == '!' && at == 1;
        let bare = c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | ':' | ',') || negates;
        let bracket = at == 0 || at + 1 == class.len();
        if bare || bracket {
            word.push(c as u8);
        } else {
            word.extend(quote(c.encode_utf8(&mut [0; 4])));
        }
    }
    word
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::Content;

    fn request(steps: Vec<Step>) -> Request {
        Request {
            steps,
            ..Request::default()
        }
    }

    fn word(pattern: &str) -> String {
        String::from_utf8(glob_word(pattern)).unwrap()
    }

    #[test]
    fn globs_keep_only_their_own_metacharacters() {
        assert_eq!(word("/sys/block/*/queue"), "/sys/block/*/queue");
        assert_eq!(word("a b*"), "'a b'*");
        assert_eq!(word("$(id)?"), "'$(id)'?");
        assert_eq!(word("[a-c]x"), "[a-c]x");
        assert_eq!(word("[!]a]"), "[!]a]");
        assert_eq!(word("[open"), "'['open");
        assert_eq!(word(""), "''");
    }

    #[test]
    fn probes_of_one_kind_are_one_unit_between_ops() {
        let op = Step::Op(Op::exec(["true"], Default::default()));
        let stat = |path: &str| Step::Probe(Probe::stat(path));
        let request = request(vec![
            stat("/a"),
            Step::Probe(Probe::read("/a")),
            stat("/b"),
            stat("/a"),
            op,
            stat("/a"),
        ]);
        let plan = Plan::of(&request);
        assert_eq!(plan.units.len(), 4);
        assert_eq!(plan.places, [(0, 0), (1, 0), (0, 1), (0, 0), (2, 0), (3, 0)]);
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
