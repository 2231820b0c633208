//! `file`: what is at a path (file, directory, link, nothing) and its owner, group, mode and times.

mod links;
mod recurse;
mod times;

use self::times::{Time, times_delta};
use super::file_attributes::{Attributes, describe, state, with_file_args};
use super::file_content::{Step, parent_of};
use super::{Action, ArgError, ArgKind, ArgSpec, Args, Change, Decision, Failure, Kind, ModuleSpec, Prepare, Report};
use super::{Seen, Stop};
use crate::host::{Delta, Effect, Facet, FileKind, Observation, Op, Probe, Stat, Undo};
use serde_json::{Map, Value};
use std::sync::Arc;

pub static SPEC: ModuleSpec = ModuleSpec {
    name: "file",
    aliases: &[],
    summary: "Make, change or remove files, directories and links",
    description: "`state` says what is to be at `path`; without it, what is there is kept and only its attributes are \
                  changed. `directory` makes those above it too, with the same owner and mode; `touch` changes at every \
                  run unless `access_time` and `modification_time` are `preserve`.\n\n\
                  Unlike Ansible's: every change of mode, owner and group is in the diff, also below a directory with \
                  `recurse`; timestamps are compared in whole seconds; times are those of the host's time zone.",
    args: with_file_args![
        ArgSpec::new("path", ArgKind::Path, "The path on the host.")
            .required()
            .aliases(&["dest", "name"]),
        ArgSpec::new("state", ArgKind::Str, "What is to be there.").choices(&[
            "absent",
            "directory",
            "file",
            "hard",
            "link",
            "touch"
        ]),
        ArgSpec::new("src", ArgKind::Path, "What a `link` or `hard` link points to."),
        ArgSpec::new(
            "recurse",
            ArgKind::Bool,
            "Owner, group and mode for everything below a directory."
        )
        .default("false"),
        ArgSpec::new(
            "force",
            ArgKind::Bool,
            "Make links to what does not exist, and in the place of files."
        )
        .default("false"),
        ArgSpec::new("follow", ArgKind::Bool, "Attributes are those of a link's target.").default("true"),
        ArgSpec::new(
            "access_time",
            ArgKind::Str,
            "`preserve`, `now`, or a time in `access_time_format`."
        ),
        ArgSpec::new("access_time_format", ArgKind::Str, "How `access_time` is written.").default("%Y%m%d%H%M.%S"),
        ArgSpec::new(
            "modification_time",
            ArgKind::Str,
            "`preserve`, `now`, or a time in `modification_time_format`."
        ),
        ArgSpec::new(
            "modification_time_format",
            ArgKind::Str,
            "How `modification_time` is written."
        )
        .default("%Y%m%d%H%M.%S"),
    ],
    free_form: None,
    open: false,
    returns: &[
        ("path", "the path (all states but `link`, `hard` and `touch`)"),
        ("dest", "the path (`link`, `hard` and `touch`)"),
        ("src", "target of a link"),
        ("state", "what is there: `absent`, `directory`, `file`, `hard`, `link`"),
        ("mode", "permissions, `0644`"),
        ("owner", "user's name"),
        ("group", "group's name"),
        ("uid", "user's number"),
        ("gid", "group's number"),
        ("size", "size in bytes"),
    ],
    examples: "- name: a directory for the broker's data
  file:
    path: /srv/rabbitmq/mnesia
    state: directory
    owner: rabbitmq
    group: rabbitmq
    mode: \"0750\"
- name: no swap file
  ansible.builtin.file: {path: /swapfile, state: absent}
- name: the current release
  file: {src: releases/42, dest: /srv/app/current, state: link}
",
    local: true,
    kind: Kind::Host(prepare),
    ahead,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    /// Whatever is there.
    AsIs,
    Absent,
    Directory,
    File,
    Hard,
    Link,
    Touch,
}

struct File {
    path: String,
    wanted: Wanted,
    src: Option<String>,
    recurse: bool,
    force: bool,
    follow: bool,
    attributes: Attributes,
    atime: Time,
    mtime: Time,
}

fn prepare(args: &Args, _: &dyn Prepare) -> Result<Box<dyn Action>, ArgError> {
    let path = args.need("path")?;
    let path = match path.trim_end_matches('/') {
        "" => "/",
        trimmed => trimmed,
    };
    let recurse = args.bool("recurse");
    let src = args.str("src").map(str::to_owned);
    let wanted = match args.str("state") {
        None => Wanted::AsIs,
        Some("absent") => Wanted::Absent,
        Some("directory") => Wanted::Directory,
        Some("hard") => Wanted::Hard,
        Some("link") => Wanted::Link,
        Some("touch") => Wanted::Touch,
        Some(_) => Wanted::File,
    };
    if recurse && !matches!(wanted, Wanted::Directory | Wanted::AsIs) {
        return Err(ArgError::new("recurse", "`recurse` is for `state: directory`"));
    }
    if src.is_some() && !matches!(wanted, Wanted::Link | Wanted::Hard) {
        return Err(ArgError::new("src", "`src` is for `state: link` and `state: hard`"));
    }
    let usual = if wanted == Wanted::Touch { "now" } else { "preserve" };
    let time = |name: &str, format: &str| {
        let text = args.str(name).unwrap_or(usual);
        match text {
            "preserve" => Ok(Time::Preserve),
            "now" => Ok(Time::Now),
            _ => {
                let format = args.str(format).unwrap_or("%Y%m%d%H%M.%S");
                jiff::civil::DateTime::strptime(format, text)
                    .map(|t| Time::At(t.strftime("%Y-%m-%d %H:%M:%S").to_string()))
                    .map_err(|_| ArgError::new(name, format!("`{text}` is no time in the form `{format}`")))
            }
        }
    };
    Ok(Box::new(File {
        path: path.to_owned(),
        wanted,
        src,
        recurse,
        force: args.bool("force"),
        follow: args.bool("follow"),
        attributes: Attributes::new(args)?,
        atime: time("access_time", "access_time_format")?,
        mtime: time("modification_time", "modification_time_format")?,
    }))
}

fn ahead(args: &Map<String, Value>) -> Vec<Probe> {
    let path = ["path", "dest", "name"].iter().find_map(|n| args.get(*n)?.as_str());
    path.map(|p| vec![Probe::stat(p), Probe::stat_follow(parent_of(p))])
        .unwrap_or_default()
}

/// What is removed up to this size (bytes) is kept for the way back.
const KEEP_LIMIT: u64 = 64 * 1024;

impl Action for File {
    fn probes(&self) -> Vec<Probe> {
        let mut probes = vec![Probe::stat(&self.path)];
        probes.extend(self.attributes.probes(&self.path));
        probes.extend(self.times().filter_map(Time::probe));
        match self.wanted {
            Wanted::Absent => probes.push(self.old_content()),
            Wanted::Directory | Wanted::Touch => probes.push(Probe::stat_follow(parent_of(&self.path))),
            Wanted::Link | Wanted::Hard => {
                if let Some(src) = &self.src {
                    probes.push(Probe::stat_follow(self.resolved(src)));
                }
            }
            Wanted::AsIs | Wanted::File => {}
        }
        if self.recurse {
            probes.extend(self.below());
        }
        probes
    }

    fn decide(&self, seen: &Seen<'_>) -> Result<Decision, Stop> {
        let stat = match seen.raw(&Probe::stat(&self.path))? {
            Observation::Stat(stat) => stat.map(Arc::unwrap_or_clone),
            Observation::Failed(text) => return Err(Stop::Fail(Failure::new(text))),
            Observation::Unknown(why) => return self.unknown(&why),
            other => return Err(Stop::Fail(Failure::new(format!("unexpected answer: {other:?}")))),
        };
        match self.wanted {
            Wanted::Absent => self.absent(stat, seen),
            Wanted::Link => self.link(stat, seen),
            Wanted::Hard => self.hard(stat, seen),
            Wanted::Touch => self.touch(stat, seen),
            Wanted::Directory => self.directory(stat, seen),
            Wanted::File => self.file(stat, seen),
            Wanted::AsIs => match stat {
                None if self.recurse => self.directory(None, seen),
                None => self.file(None, seen),
                Some(stat) => self.as_is(stat, seen),
            },
        }
    }
}

impl File {
    fn fail<T>(&self, text: impl Into<String>) -> Result<T, Stop> {
        Err(Stop::Fail(Failure::new(text)))
    }

    fn times(&self) -> impl Iterator<Item = &Time> {
        [&self.atime, &self.mtime].into_iter()
    }

    fn old_content(&self) -> Probe {
        Probe::Read {
            path: self.path.as_str().into(),
            max: KEEP_LIMIT,
        }
    }

    /// A link's target, seen from the directory of the link.
    fn resolved(&self, src: &str) -> String {
        if src.starts_with('/') || src.starts_with('~') || self.wanted == Wanted::Hard {
            src.to_owned()
        } else {
            format!("{}/{src}", parent_of(&self.path).trim_end_matches('/'))
        }
    }

    /// Dry run: an earlier task may have changed what is there.
    fn unknown(&self, why: &str) -> Result<Decision, Stop> {
        let (after, ops) = match self.wanted {
            Wanted::Directory => ("directory".to_owned(), vec![self.make_directory(&self.path)]),
            Wanted::Absent => ("absent".to_owned(), vec![self.remove(true)]),
            Wanted::Link => {
                let Some(src) = &self.src else {
                    return Err(Stop::CannotKnow(why.to_owned()));
                };
                (format!("link to {src}"), vec![self.make_link(src, true)])
            }
            Wanted::Touch => ("file".to_owned(), vec![self.set_times(None, None)]),
            _ => return Err(Stop::CannotKnow(why.to_owned())),
        };
        let delta = Delta {
            subject: self.path.clone(),
            before: Facet::Unknown(why.to_owned()),
            after: Facet::Value(after),
        };
        let report = Report::new().with("path", self.path.as_str());
        Ok(Decision::Change(
            Change::new(vec![delta], ops, report).undo(Undo::Impossible(why.to_owned())),
        ))
    }

    /// Attributes and times of something that exists; `path` is where it really is.
    fn attributes_of(&self, path: &str, stat: &Stat, key: &str, seen: &Seen<'_>) -> Result<Step, Stop> {
        let mut step = Step {
            report: self
                .attributes
                .describe_after(describe(Report::new().with(key, self.path.as_str()), stat), Some(stat)),
            ..Step::default()
        };
        step.attributes(self.attributes.difference(path, stat));
        step.attributes(self.attributes.extra(path, true, seen)?);
        let atime = self.atime.seconds(stat.atime, seen)?;
        let mtime = self.mtime.seconds(stat.mtime, seen)?;
        if atime != Some(stat.atime) || mtime != Some(stat.mtime) {
            step.deltas.extend(times_delta("access", path, stat.atime, atime));
            step.deltas.extend(times_delta("modification", path, stat.mtime, mtime));
            step.ops.push(self.set_times(atime, mtime));
            step.undo.push(self.set_times(Some(stat.atime), Some(stat.mtime)));
        }
        Ok(step)
    }

    /// Times that are `now` are different at every look.
    fn finished(&self, step: Step) -> Decision {
        let now = self.times().any(|t| *t == Time::Now);
        match step.into_decision() {
            Decision::Change(change) if now => Decision::Change(change.judged_by_outcome()),
            decision => decision,
        }
    }

    /// What a link leads to, if links are to be followed; else itself.
    fn followed(&self, stat: Stat, seen: &Seen<'_>) -> Result<Option<Stat>, Stop> {
        if stat.kind == FileKind::Link && self.follow {
            seen.stat_follow(&self.path)
        } else {
            Ok(Some(stat))
        }
    }

    fn as_is(&self, stat: Stat, seen: &Seen<'_>) -> Result<Decision, Stop> {
        match stat.kind {
            FileKind::Directory => self.directory(Some(stat), seen),
            FileKind::Link => self.link(Some(stat), seen),
            _ => self.file(Some(stat), seen),
        }
    }

    fn file(&self, stat: Option<Stat>, seen: &Seen<'_>) -> Result<Decision, Stop> {
        let Some(stat) = stat else {
            let mut failure = Failure::new(format!("`{}` does not exist", self.path)).help(
                "`state: file` only changes what is there; `state: touch` makes an empty file, `copy` one with content",
            );
            // A way to ask whether something is there, with `failed_when`.
            let report = Report::new().with("path", self.path.as_str()).with("state", "absent");
            failure.values = report.values;
            return Err(Stop::Fail(failure));
        };
        match self.followed(stat, seen)? {
            Some(stat) if !matches!(stat.kind, FileKind::Directory | FileKind::Link) => {
                Ok(self.finished(self.attributes_of(&self.path, &stat, "path", seen)?))
            }
            Some(stat) => self.fail(format!("`{}` is a {}, not a file", self.path, state(&stat))),
            None => self.fail(format!("`{}` is a link to something that does not exist", self.path)),
        }
    }

    fn directory(&self, stat: Option<Stat>, seen: &Seen<'_>) -> Result<Decision, Stop> {
        let Some(stat) = stat else {
            return self.new_directory(seen);
        };
        let found = self.followed(stat, seen)?;
        match found {
            Some(stat) if stat.kind == FileKind::Directory => {
                let mut step = self.attributes_of(&self.path, &stat, "path", seen)?;
                if self.recurse {
                    self.recurse(&mut step, seen)?;
                }
                Ok(self.finished(step))
            }
            Some(stat) => self.fail(format!("`{}` exists already as a {}", self.path, state(&stat))),
            None => self.fail(format!("`{}` is a link to something that does not exist", self.path)),
        }
    }

    fn new_directory(&self, seen: &Seen<'_>) -> Result<Decision, Stop> {
        // Those above that are missing get the same attributes.
        let mut missing = vec![self.path.as_str()];
        loop {
            let parent = parent_of(missing.last().copied().unwrap_or(&self.path));
            if parent == "/" || parent == "." {
                break;
            }
            match seen.raw(&Probe::stat_follow(parent))? {
                Observation::Stat(None) => missing.push(parent),
                Observation::Stat(Some(stat)) if stat.kind != FileKind::Directory => {
                    return self.fail(format!("`{parent}` is not a directory"));
                }
                Observation::Failed(text) => return self.fail(text),
                _ => break,
            }
        }
        let mut step = Step {
            report: self.attributes.describe_after(
                Report::new()
                    .with("path", self.path.as_str())
                    .with("state", "directory"),
                None,
            ),
            ..Step::default()
        };
        for path in missing.into_iter().rev() {
            step.deltas.push(Delta {
                subject: path.to_owned(),
                before: Facet::Absent,
                after: Facet::Value("directory".to_owned()),
            });
            step.ops.push(self.make_directory(path));
            step.undo.insert(0, rmdir(path));
        }
        step.deltas.extend(self.attributes.deltas_new(&self.path, true));
        step.attributes(self.attributes.extra(&self.path, false, seen)?);
        Ok(self.finished(step))
    }

    fn make_directory(&self, path: &str) -> Op {
        Op::MakeDir {
            path: path.to_owned(),
            mode: self.attributes.mode_new(true),
            owner: self.attributes.owner.clone(),
            group: self.attributes.group.clone(),
            parents: false,
        }
    }

    fn remove(&self, recursive: bool) -> Op {
        Op::Remove {
            path: self.path.clone(),
            recursive,
        }
    }

    fn absent(&self, stat: Option<Stat>, seen: &Seen<'_>) -> Result<Decision, Stop> {
        let report = Report::new().with("path", self.path.as_str()).with("state", "absent");
        let Some(stat) = stat else {
            return Ok(Decision::Keep(report));
        };
        let before = match &stat.target {
            Some(target) => format!("link to {target}"),
            None => state(&stat).to_owned(),
        };
        let delta = Delta {
            subject: self.path.clone(),
            before: Facet::Value(before),
            after: Facet::Absent,
        };
        let undo = match (&stat.kind, &stat.target) {
            (FileKind::Link, Some(target)) => Undo::Ops(vec![Op::Link {
                path: self.path.clone(),
                target: target.clone(),
                hard: false,
                force: false,
            }]),
            (FileKind::File, _) => match seen.raw(&self.old_content())? {
                Observation::Content(Some(content)) => Undo::Ops(vec![Op::Write {
                    path: self.path.clone(),
                    content,
                    mode: Some(stat.mode),
                    owner: Some(stat.uid.to_string()),
                    group: Some(stat.gid.to_string()),
                    guard: Some(crate::host::Guard::Absent),
                    backup: None,
                    validate: None,
                }]),
                _ => Undo::Impossible(format!("`{}` was too large to keep what was in it", self.path)),
            },
            _ => Undo::Impossible(format!("what was in the {} `{}` is not kept", state(&stat), self.path)),
        };
        let ops = vec![self.remove(stat.kind == FileKind::Directory)];
        Ok(Decision::Change(Change::new(vec![delta], ops, report).undo(undo)))
    }

    fn attributes_wanted(&self) -> bool {
        self.attributes != Attributes::default()
    }
}

fn rmdir(path: &str) -> Op {
    Op::exec(["rmdir", "--", path], Effect::Mentions(vec![path.to_owned()]))
}
