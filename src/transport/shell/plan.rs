//! A request as units: consecutive probes of one kind become one, so that one process serves them all.

use crate::host::{Hidden, Op, Probe};
use crate::transport::{Request, Step};
use sha2::Digest as _;

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

    pub(super) fn tool(self) -> &'static str {
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
    pub(super) fn of_nothing(self) -> String {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probes_of_one_kind_are_one_unit_between_ops() {
        let op = Step::Op(Op::exec(["true"], Default::default()));
        let stat = |path: &str| Step::Probe(Probe::stat(path));
        let steps = vec![
            stat("/a"),
            Step::Probe(Probe::read("/a")),
            stat("/b"),
            stat("/a"),
            op,
            stat("/a"),
        ];
        let request = Request {
            steps,
            ..Request::default()
        };
        let plan = Plan::of(&request);
        assert_eq!(plan.units.len(), 4);
        assert_eq!(plan.places, [(0, 0), (1, 0), (0, 1), (0, 0), (2, 0), (3, 0)]);
    }
}
