//! A file that is to have a content: the common part of `copy`, `template`, `lineinfile`.

use super::broker_file;
use super::file_attributes::{Attributes, Mode, describe};
use super::{ArgError, Args, Change, Decision, Failure, Report, Seen, Stop};
use crate::host::{Content, Delta, Facet, FileKind, Guard, Observation, Op, Probe, Stat, Undo};
use std::sync::Arc;

/// Up to this size (bytes) the old content travels, for diff and way back; above, hashes are compared.
pub const READ_LIMIT: u64 = 512 * 1024;

/// What a task will do to one or several paths.
#[derive(Debug, Default)]
pub struct Step {
    pub deltas: Vec<Delta>,
    pub ops: Vec<Op>,
    pub undo: Vec<Op>,
    /// Why it cannot be taken back.
    pub no_undo: Option<String>,
    pub report: Report,
}

impl Step {
    /// Takes another step after this one; the report stays this one's.
    pub fn then(&mut self, other: Step) {
        self.deltas.extend(other.deltas);
        self.ops.extend(other.ops);
        // The way back goes backwards.
        self.undo.splice(0..0, other.undo);
        self.no_undo = self.no_undo.take().or(other.no_undo);
        self.report.warnings.extend(other.report.warnings);
    }

    pub fn attributes(&mut self, difference: super::file_attributes::Difference) {
        self.deltas.extend(difference.deltas);
        self.ops.extend(difference.ops);
        self.undo.splice(0..0, difference.undo);
    }

    pub fn into_decision(self) -> Decision {
        if self.ops.is_empty() {
            return Decision::Keep(self.report);
        }
        let undo = match self.no_undo {
            Some(why) => Undo::Impossible(why),
            None => Undo::Ops(self.undo),
        };
        Decision::Change(Change::new(self.deltas, self.ops, self.report).undo(undo))
    }
}

/// How a file is written.
#[derive(Clone, Debug, Default)]
pub struct Writing {
    pub attributes: Attributes,
    pub backup: bool,
    /// Split, with `%s` in it.
    pub validate: Option<Vec<String>>,
    /// The start of the run, for the names of backups.
    pub now: String,
}

impl Writing {
    pub fn new(args: &Args, attributes: Attributes, now: &str) -> Result<Self, ArgError> {
        let validate = match args.str("validate") {
            None => None,
            Some(text) if !text.contains("%s") => {
                return Err(ArgError::new("validate", format!("`{text}` has no `%s`"))
                    .help("`%s` stands for the path of the new file, before it takes its place"));
            }
            Some(text) => Some(
                super::command::split(text)
                    .ok_or_else(|| ArgError::new("validate", format!("`{text}` cannot be split into words")))?,
            ),
        };
        Ok(Writing {
            attributes,
            backup: args.bool("backup"),
            validate,
            now: now.to_owned(),
        })
    }

    /// Writes `content` where `before` was, with the attributes.
    pub fn write(&self, path: &str, before: Before, content: &Content, seen: &Seen<'_>) -> Result<Step, Stop> {
        let mut step = Step::default();
        let existing = match &before {
            Before::Absent => None,
            Before::Content(stat, _) | Before::Hash(stat, _) => Some(stat),
            Before::Unknown(_) => None,
        };
        let mode = match existing {
            Some(stat) => self.attributes.mode_from(stat),
            None => self.attributes.mode_new(false),
        };
        step.deltas.push(content_delta(path, &before, content));
        match existing {
            Some(stat) => step.deltas.extend(self.attributes.difference(path, stat).deltas),
            None if matches!(before, Before::Absent) => step.deltas.extend(self.attributes.deltas_new(path, false)),
            None => {}
        }
        let old_hash = before.sha256();
        let backup = self
            .backup
            .then_some(old_hash.as_deref())
            .flatten()
            .map(|hash| backup_path(path, hash, &self.now));
        if !matches!(before, Before::Unknown(_)) {
            step.report = self.attributes.describe_after(Report::new(), existing);
        }
        if let Some(backup) = &backup {
            step.report = std::mem::take(&mut step.report).with("backup_file", backup.as_str());
        }
        step.ops.push(Op::Write {
            path: path.to_owned(),
            content: content.clone(),
            mode,
            owner: self.attributes.owner.clone(),
            group: self.attributes.group.clone(),
            guard: match &before {
                Before::Unknown(_) => None,
                Before::Absent => Some(Guard::Absent),
                _ => old_hash.map(Guard::Sha256),
            },
            backup,
            validate: self.validate.clone(),
        });
        match &before {
            Before::Absent => step.undo.push(Op::Remove {
                path: path.to_owned(),
                recursive: false,
            }),
            Before::Content(stat, old) => step.undo.push(Op::Write {
                path: path.to_owned(),
                content: old.clone(),
                mode: Some(stat.mode),
                owner: Some(stat.uid.to_string()),
                group: Some(stat.gid.to_string()),
                guard: Some(Guard::Sha256(content.sha256())),
                backup: None,
                validate: None,
            }),
            Before::Hash(..) => step.no_undo = Some(format!("`{path}` was too large to keep what was in it")),
            Before::Unknown(why) => step.no_undo = Some(why.clone()),
        }
        step.attributes(self.attributes.extra(path, existing.is_some(), seen)?);
        Ok(step)
    }

    /// The content is right: only attributes.
    pub fn keep(&self, path: &str, stat: &Stat, seen: &Seen<'_>) -> Result<Step, Stop> {
        let mut step = Step {
            report: self
                .attributes
                .describe_after(describe(Report::new(), stat), Some(stat)),
            ..Step::default()
        };
        step.attributes(self.attributes.difference(path, stat));
        step.attributes(self.attributes.extra(path, true, seen)?);
        Ok(step)
    }
}

/// What is at the path that will be written.
#[derive(Clone, Debug)]
pub enum Before {
    Absent,
    Content(Stat, Content),
    /// Too large to be read; SHA-256.
    Hash(Stat, String),
    /// Dry run: an earlier task may change it.
    Unknown(String),
}

impl Before {
    fn sha256(&self) -> Option<String> {
        match self {
            Before::Content(_, content) => Some(content.sha256()),
            Before::Hash(_, hash) => Some(hash.clone()),
            _ => None,
        }
    }

    /// Looks at `path`, whose `stat` (symlinks followed) is known; `large`: do not read.
    pub fn of(path: &str, stat: Stat, large: bool, seen: &Seen<'_>) -> Result<Before, Stop> {
        if large || stat.size > READ_LIMIT {
            return match seen.raw(&hash(path))? {
                Observation::Text(Some(hash)) => Ok(Before::Hash(stat, hash)),
                Observation::Unknown(why) => Ok(Before::Unknown(why)),
                Observation::Failed(text) => Err(Stop::Fail(Failure::new(text))),
                _ => Err(Stop::Fail(Failure::new(format!("`{path}` is not a regular file")))),
            };
        }
        match seen.raw(&Probe::read(path))? {
            Observation::Content(Some(content)) => Ok(Before::Content(stat, content)),
            Observation::Unknown(why) => Ok(Before::Unknown(why)),
            Observation::Failed(text) => Err(Stop::Fail(Failure::new(text))),
            _ => Err(Stop::Fail(Failure::new(format!("`{path}` is not a regular file")))),
        }
    }
}

fn hash(path: &str) -> Probe {
    Probe::Hash {
        path: path.into(),
        algorithm: "sha256".to_owned(),
    }
}

fn content_delta(path: &str, before: &Before, after: &Content) -> Delta {
    let text = |c: &Content| {
        (c.as_bytes().len() as u64 <= READ_LIMIT && std::str::from_utf8(c.as_bytes()).is_ok()).then(|| c.clone())
    };
    let size =
        |bytes: u64, hash: &str| Facet::Value(format!("{bytes} bytes, sha256 {}", hash.get(..12).unwrap_or(hash)));
    let summary = |c: &Content| size(c.as_bytes().len() as u64, &c.sha256());
    // Passwords of a broker's configuration are starred on both sides.
    let text = |c: &Content| text(c).map(|c| broker_file::shown(path, &c));
    let (before, after) = match (before, text(after)) {
        (Before::Absent, Some(after)) => (Facet::Absent, Facet::Text(after)),
        (Before::Absent, None) => (Facet::Absent, summary(after)),
        (Before::Unknown(why), Some(after)) => (Facet::Unknown(why.clone()), Facet::Text(after)),
        (Before::Unknown(why), None) => (Facet::Unknown(why.clone()), summary(after)),
        (Before::Content(_, old), Some(new)) if text(old).is_some() => {
            (Facet::Text(text(old).unwrap_or_default()), Facet::Text(new))
        }
        (Before::Content(_, old), _) => (summary(old), summary(after)),
        (Before::Hash(stat, hash), _) => (size(stat.size, hash), summary(after)),
    };
    let (before, after) = if before == after {
        let only = |text: &str| Facet::Value(text.to_owned());
        (only("values that are not shown"), only("other values"))
    } else {
        (before, after)
    };
    Delta {
        subject: path.to_owned(),
        before,
        after,
    }
}

/// `PATH.HASH.2026-11-22@14:02:11~`: Ansible's form with the start of the old content's SHA-256 where Ansible has a
/// process id, so that two backups of one run do not take each other's place.
pub fn backup_path(path: &str, sha256: &str, now: &str) -> String {
    let time = now.trim_end_matches('Z').replace('T', "@");
    format!("{path}.{}.{time}~", sha256.get(..8).unwrap_or(sha256))
}

/// A file with a content known before the host is looked at.
#[derive(Clone, Debug, Default)]
pub struct FileContent {
    /// As the user gave it: a file, or a directory to put [`FileContent::basename`] in.
    pub dest: String,
    /// Name inside a directory; `None`: `dest` must not be one.
    pub basename: Option<String>,
    pub content: Content,
    pub writing: Writing,
    /// Write even if something is there.
    pub force: bool,
    /// Write to what a symlink points to; otherwise the link gives way to a file.
    pub follow: bool,
    pub directory_mode: Option<Mode>,
    /// The directory is made by the same task.
    pub parent_is_made: bool,
    /// `src` of the return values.
    pub source: Option<String>,
}

impl FileContent {
    /// The path with the name in it, where the user's slash at the end says that it is a directory.
    fn path(&self) -> String {
        match &self.basename {
            Some(name) if self.dest.ends_with('/') => format!("{}{name}", self.dest),
            _ => self.dest.clone(),
        }
    }

    fn is_large(&self) -> bool {
        self.content.as_bytes().len() as u64 > READ_LIMIT
    }

    pub fn probes(&self) -> Vec<Probe> {
        let mut probes = probes_of(&self.path(), self.is_large(), self.follow);
        probes.extend(self.writing.attributes.probes(&self.path()));
        probes.extend(broker_file::probes(&self.path()));
        // `dest` without a slash may be a directory all the same; names without a dot often are.
        let last = self.dest.rsplit('/').next().unwrap_or_default();
        if let Some(name) = &self.basename
            && !last.is_empty()
            && name != last
            && (!last.contains('.') || last.ends_with(".d"))
        {
            probes.extend(probes_of(
                &format!("{}/{name}", self.dest),
                self.is_large(),
                self.follow,
            ));
        }
        probes
    }

    /// What RabbitMQ reads is checked first: a file it could not start with is not written.
    pub fn decide(&self, seen: &Seen<'_>) -> Result<Step, Stop> {
        let (path, mut step) = self.decide_unchecked(seen)?;
        if broker_file::is_one(&path) {
            step.report
                .warnings
                .extend(broker_file::check(&path, &self.content, seen)?);
        }
        Ok(step)
    }

    /// The path it comes to, and what is to be done.
    pub fn decide_unchecked(&self, seen: &Seen<'_>) -> Result<(String, Step), Stop> {
        let mut path = self.path();
        let mut found = look(&path, seen)?;
        if matches!(&found, Found::Some { target, .. } if target.as_ref().is_some_and(|t| t.kind == FileKind::Directory))
        {
            let Some(name) = self.basename.as_ref().filter(|_| !self.dest.ends_with('/')) else {
                return Err(Stop::Fail(Failure::new(format!("`{path}` is a directory"))));
            };
            path = format!("{path}/{name}");
            found = look(&path, seen)?;
        }
        let mut step = self.bring(&path, found, seen)?;
        let mut report = Report::new()
            .with("dest", path.as_str())
            .with("path", path.as_str())
            .with("checksum", self.content.sha1())
            .with("md5sum", md5(&self.content))
            .with("size", self.content.as_bytes().len() as u64)
            .with("state", "file");
        if let Some(source) = &self.source {
            report = report.with("src", source.as_str());
        }
        report.values.extend(std::mem::take(&mut step.report.values));
        report.warnings = std::mem::take(&mut step.report.warnings);
        step.report = report;
        Ok((path, step))
    }

    fn bring(&self, path: &str, found: Found, seen: &Seen<'_>) -> Result<Step, Stop> {
        let (stat, target) = match found {
            Found::Unknown(why) => return self.writing.write(path, Before::Unknown(why), &self.content, seen),
            Found::None => {
                let mut step = self.parent(path, seen)?;
                step.then_report(self.writing.write(path, Before::Absent, &self.content, seen)?);
                return Ok(step);
            }
            Found::Some { stat, target } => (stat, target),
        };
        if !self.force {
            return Ok(Step {
                report: describe(Report::new(), &stat),
                ..Step::default()
            });
        }
        if stat.kind == FileKind::Link && !self.follow {
            return self.replace_link(path, &stat, seen);
        }
        let Some(stat) = target else {
            // A link that leads nowhere, to be followed: its target is made.
            return self
                .writing
                .write(path, Before::Absent, &self.content, seen)
                .map(|mut step| {
                    for op in &mut step.ops {
                        if let Op::Write { guard, .. } = op {
                            *guard = None;
                        }
                    }
                    step
                });
        };
        if stat.kind == FileKind::Directory {
            return Err(Stop::Fail(Failure::new(format!("`{path}` is a directory"))));
        }
        let before = Before::of(path, Stat::clone(&stat), self.is_large(), seen)?;
        let same = match &before {
            Before::Content(_, old) => *old == self.content,
            Before::Hash(_, hash) => *hash == self.content.sha256(),
            _ => false,
        };
        if same {
            self.writing.keep(path, &stat, seen)
        } else {
            self.writing.write(path, before, &self.content, seen)
        }
    }

    /// The directory of a file that is not there: made if the user's slash asked for it, else it must exist.
    fn parent(&self, path: &str, seen: &Seen<'_>) -> Result<Step, Stop> {
        let parent = parent_of(path);
        if self.parent_is_made {
            return Ok(Step::default());
        }
        match seen.raw(&Probe::stat_follow(parent))? {
            Observation::Stat(None) if self.dest.ends_with('/') => Ok(make_directories(
                parent,
                self.directory_mode.as_ref(),
                &self.writing.attributes,
            )),
            Observation::Stat(None) => Err(Stop::Fail(
                Failure::new(format!("the directory `{parent}` does not exist")).help(format!(
                    "make it before with `file: {{path: {parent}, state: directory}}`"
                )),
            )),
            Observation::Stat(Some(stat)) if stat.kind != FileKind::Directory => {
                Err(Stop::Fail(Failure::new(format!("`{parent}` is not a directory"))))
            }
            Observation::Failed(text) => Err(Stop::Fail(Failure::new(text))),
            _ => Ok(Step::default()),
        }
    }

    fn replace_link(&self, path: &str, link: &Stat, seen: &Seen<'_>) -> Result<Step, Stop> {
        let mut step = self.writing.write(path, Before::Absent, &self.content, seen)?;
        let target = link.target.clone().unwrap_or_default();
        step.deltas
            .insert(0, Delta::value(path, format!("link to {target}"), "file"));
        step.ops.insert(
            0,
            Op::Remove {
                path: path.to_owned(),
                recursive: false,
            },
        );
        step.undo = vec![Op::Link {
            path: path.to_owned(),
            target,
            hard: false,
            force: true,
        }];
        Ok(step)
    }
}

impl Step {
    /// Like [`Step::then`], with the report of the second.
    fn then_report(&mut self, mut other: Step) {
        let mut report = std::mem::take(&mut other.report);
        report.warnings.extend(std::mem::take(&mut self.report.warnings));
        self.then(other);
        self.report = report;
    }
}

/// `mkdir -p`, with owner, group and `mode` for the last.
pub fn make_directories(path: &str, mode: Option<&Mode>, attributes: &Attributes) -> Step {
    let path = path.trim_end_matches('/');
    Step {
        deltas: vec![Delta {
            subject: path.to_owned(),
            before: Facet::Absent,
            after: Facet::Value("directory".to_owned()),
        }],
        ops: vec![Op::MakeDir {
            path: path.to_owned(),
            mode: mode.map(|m| m.apply(0o755, true)),
            owner: attributes.owner.clone(),
            group: attributes.group.clone(),
            parents: true,
        }],
        undo: vec![Op::Exec(crate::host::Exec {
            argv: vec!["rmdir".to_owned(), "--".to_owned(), path.to_owned()],
            ok: vec![0],
            effect: crate::host::Effect::Mentions(vec![path.to_owned()]),
            ..crate::host::Exec::default()
        })],
        ..Step::default()
    }
}

enum Found {
    None,
    Unknown(String),
    Some {
        /// Of the path itself.
        stat: Arc<Stat>,
        /// Symlinks followed; `None`: leads nowhere.
        target: Option<Arc<Stat>>,
    },
}

fn look(path: &str, seen: &Seen<'_>) -> Result<Found, Stop> {
    let path = path.strip_suffix('/').filter(|p| !p.is_empty()).unwrap_or(path);
    match seen.raw(&Probe::stat(path))? {
        Observation::Stat(None) => Ok(Found::None),
        Observation::Unknown(why) => Ok(Found::Unknown(why)),
        Observation::Failed(text) => Err(Stop::Fail(Failure::new(text))),
        Observation::Stat(Some(stat)) if stat.kind == FileKind::Link => match seen.raw(&Probe::stat_follow(path))? {
            Observation::Unknown(why) => Ok(Found::Unknown(why)),
            Observation::Stat(target) => Ok(Found::Some { stat, target }),
            Observation::Failed(text) => Err(Stop::Fail(Failure::new(text))),
            _ => Ok(Found::Some { stat, target: None }),
        },
        Observation::Stat(Some(stat)) => Ok(Found::Some {
            target: Some(stat.clone()),
            stat,
        }),
        other => Err(Stop::Fail(Failure::new(format!(
            "unexpected answer for `{path}`: {other:?}"
        )))),
    }
}

fn probes_of(path: &str, large: bool, follow: bool) -> Vec<Probe> {
    let mut probes = vec![
        Probe::stat(path),
        if large { hash(path) } else { Probe::read(path) },
        Probe::stat_follow(parent_of(path)),
    ];
    if follow {
        probes.push(Probe::stat_follow(path));
    }
    probes
}

/// The directory a path is in; `.` for a bare name.
pub fn parent_of(path: &str) -> &str {
    match path.trim_end_matches('/').rsplit_once('/') {
        Some(("", _)) => "/",
        Some((parent, _)) => parent.trim_end_matches('/'),
        None => ".",
    }
}

pub fn basename(path: &str) -> &str {
    path.trim_end_matches('/').rsplit('/').next().unwrap_or(path)
}

/// Lowercase hex of the MD5 of the bytes (Ansible's `md5sum`; no protection).
pub fn md5(content: &Content) -> String {
    use md5::Digest as _;
    crate::host::bytes::hex(&md5::Md5::digest(content.as_bytes()))
}
