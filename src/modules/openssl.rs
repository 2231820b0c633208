//! What `openssl_privatekey`, `openssl_csr` and `x509_certificate` have in common: a file made by `openssl` on the host,
//! there as a whole or not at all, and what it holds in `openssl`'s own words. Keys stay on the host, and are never shown.

use super::{ArgError, ArgKind, ArgSpec, Args, Change, Decision, Failure, Report, Seen, Stop};
use crate::host::{Content, Delta, Effect, Observation, Op, Outcome, Probe, Undo};

pub const PATH: ArgSpec = ArgSpec::new("path", ArgKind::Path, "The file.").required();
pub const STATE: ArgSpec = ArgSpec::new("state", ArgKind::Str, "`absent` removes it.")
    .default("present")
    .choices(&["present", "absent"]);
pub const FORCE: ArgSpec = ArgSpec::new("force", ArgKind::Bool, "Make it anew, whatever is there.").default("false");
pub const OWNER: ArgSpec = ArgSpec::new("owner", ArgKind::Str, "Whose it is; unset: as it is, or root.");
pub const GROUP: ArgSpec = ArgSpec::new("group", ArgKind::Str, "Its group; unset: as it is, or root.");
pub const RETURN_CONTENT: ArgSpec =
    ArgSpec::new("return_content", ArgKind::Bool, "Return the file, for other hosts.").default("false");

/// Reads the output of `make` (a function of the script's head) into a new file that takes the place of `$1` when it is
/// whole; `$2`, `$3`: mode and `owner:group`, empty to leave them.
const PLACE: &str = r#"umask 077
path=$1 mode=$2 owner=$3
shift 3
new=$(mktemp "$path.XXXXXX") || exit
trap 'rm -f "$new"' EXIT
make "$@" >"$new" && [ -s "$new" ] || exit 1
[ -z "$owner" ] || chown "$owner" "$new" || exit
chmod "$mode" "$new" && mv "$new" "$path""#;

/// The file a task is about.
pub struct Target {
    pub path: String,
    pub absent: bool,
    pub force: bool,
    owner: Option<String>,
    group: Option<String>,
    /// `None`: as it is, for a new file the module's default.
    mode: Option<u32>,
    default_mode: u32,
    return_content: bool,
}

impl Target {
    pub fn new(args: &Args, default_mode: u32) -> Result<Target, ArgError> {
        let octal = |text: &str| {
            u32::from_str_radix(text, 8).map_err(|_| {
                ArgError::new("mode", format!("not supported here: the mode `{text}`"))
                    .help("write it in octal, `\"0640\"`")
            })
        };
        Ok(Target {
            path: args.need("path")?.to_owned(),
            absent: args.str("state") == Some("absent"),
            force: args.bool("force"),
            owner: args.str("owner").map(str::to_owned),
            group: args.str("group").map(str::to_owned),
            mode: args.str("mode").map(octal).transpose()?,
            default_mode,
            return_content: args.bool("return_content"),
        })
    }

    pub fn probes(&self) -> Vec<Probe> {
        let mut probes = vec![Probe::stat(&self.path)];
        if self.return_content {
            probes.push(Probe::read(&self.path));
        }
        probes
    }

    /// The report, with the file's text under `name` if it is to be returned.
    pub fn report(&self, name: &str, seen: &Seen<'_>) -> Result<Report, Stop> {
        let report = Report::new().with("filename", self.path.as_str());
        if !self.return_content {
            return Ok(report);
        }
        Ok(match seen.read(&self.path)? {
            Some(content) => report.with(name, content.text().into_owned()),
            None => report,
        })
    }

    /// Makes the file by `make`, the head of a script that defines a function of that name; `arguments` are its own.
    pub fn make(&self, make: &str, arguments: &[&str]) -> Op {
        let owner = match (&self.owner, &self.group) {
            (None, None) => String::new(),
            (owner, group) => format!(
                "{}:{}",
                owner.as_deref().unwrap_or("root"),
                group.as_deref().unwrap_or("root")
            ),
        };
        let mode = format!("{:04o}", self.mode.unwrap_or(self.default_mode));
        let script = format!("{make}\n{PLACE}");
        let head = ["sh", "-c", &script, "sh", &self.path, &mode, &owner];
        let argv = head.into_iter().chain(arguments.iter().copied());
        Op::exec(argv, Effect::Mentions(vec![self.path.clone()]))
    }

    /// What is to be done: remove it, make it (`anew` holds why and how), or see about owner and mode.
    pub fn decide(&self, anew: Option<(Vec<Delta>, Op)>, report: Report, seen: &Seen<'_>) -> Result<Decision, Stop> {
        let stat = seen.stat(&self.path)?;
        if let (Some((deltas, op)), false) = (anew, self.absent) {
            let undo = Undo::Impossible("what was there is not kept".to_owned());
            let mut change = Change::new(deltas, vec![op], report).undo(undo);
            if self.force {
                change = change.judged_by_outcome();
            }
            return Ok(Decision::Change(change));
        }
        let Some(stat) = stat else {
            return Ok(Decision::Keep(report));
        };
        let mut deltas = Vec::new();
        let mut ops = Vec::new();
        if self.absent {
            deltas.push(Delta::value(&self.path, "there", "absent"));
            ops.push(Op::Remove {
                path: self.path.clone(),
                recursive: false,
            });
        } else {
            let differs = |wanted: &Option<String>, is: &str| wanted.as_ref().is_some_and(|w| w != is);
            if differs(&self.owner, &stat.owner) || differs(&self.group, &stat.group) {
                let owner = self.owner.clone().unwrap_or_else(|| stat.owner.clone());
                let group = self.group.clone().unwrap_or_else(|| stat.group.clone());
                let (was, is) = (format!("{}:{}", stat.owner, stat.group), format!("{owner}:{group}"));
                deltas.push(Delta::value(format!("owner of {}", self.path), was, is));
                ops.push(Op::Chown {
                    path: self.path.clone(),
                    owner: self.owner.clone(),
                    group: self.group.clone(),
                    follow: false,
                });
            }
            if let Some(mode) = self.mode.filter(|mode| *mode != stat.mode) {
                let (was, is) = (format!("{:04o}", stat.mode), format!("{mode:04o}"));
                deltas.push(Delta::value(format!("mode of {}", self.path), was, is));
                ops.push(Op::Chmod {
                    path: self.path.clone(),
                    mode,
                });
            }
        }
        Ok(if ops.is_empty() {
            Decision::Keep(report)
        } else {
            Decision::Change(Change::new(deltas, ops, report))
        })
    }
}

/// A look by a script of `openssl`'s; what it printed, with its parts between lines of `--`.
pub fn probe(script: &str, arguments: &[&str]) -> Probe {
    let head = ["sh", "-c", script, "sh"];
    Probe::exec(head.into_iter().chain(arguments.iter().copied()))
}

/// The two parts of what a [`probe`] printed: what is there (empty: nothing, or not readable as what it should be), and
/// what is wanted.
pub fn parts(seen: &Seen<'_>, probe: &Probe, what: &str) -> Result<(String, String), Stop> {
    let Observation::Exec(result) = seen.get(probe)? else {
        return Err(Stop::Fail(Failure::new(what)));
    };
    if !result.ok() {
        return Err(Stop::Fail(said(what, &result.stderr)));
    }
    let text = result.stdout.text();
    let (there, wanted) = text.split_once("--\n").unwrap_or((&text, ""));
    Ok((there.to_owned(), wanted.to_owned()))
}

/// The difference in `openssl`'s words.
pub fn delta(path: &str, there: &str, wanted: &str) -> Delta {
    let content = |text: &str| (!text.is_empty()).then(|| Content::from(text));
    Delta::text(path, content(there), content(wanted))
}

/// What the ops came to.
pub fn judge(what: &str, change: &Change, outcomes: &[Outcome]) -> Result<Report, Failure> {
    match outcomes.iter().find(|o| !o.is_done()) {
        None => Ok(change.report.clone()),
        Some(outcome) => Err(match &outcome.exec {
            Some(result) => said(what, &result.stderr),
            None => Failure::new(what),
        }),
    }
}

fn said(what: &str, stderr: &Content) -> Failure {
    let text = stderr.text();
    let last = text.lines().map(str::trim).rfind(|l| !l.is_empty()).unwrap_or_default();
    let mut failure = Failure::new(format!("{what}: {last}"));
    failure.values.insert("stderr".to_owned(), text.trim_end().into());
    failure
}
