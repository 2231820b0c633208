//! `copy` with `remote_src`: a file or a directory from one place of the host to another.

use crate::host::{Delta, Effect, Facet, FileKind, Guard, Observation, Op, Probe, Stat};
use crate::modules::file_attributes::{Attributes, Mode, describe};
use crate::modules::file_content::{FileContent, READ_LIMIT, Step, backup_path, basename, make_directories};
use crate::modules::{Action, Decision, Failure, Report, Seen, Stop};
use serde_json::Value;
use std::collections::BTreeSet;

/// What is in a directory, each with its kind: `d`, `f`, `l`, or `o` for what is none of these.
const LIST: &str = r#"cd -- "$1" || exit
for t in d f l; do find $2 . -type $t ! -name . -exec printf "$t %s\n" {} + || exit; done
find $2 . ! -type d ! -type f ! -type l -exec printf 'o %s\n' {} +"#;

/// A file, or a directory.
#[derive(Clone)]
pub struct OnHost {
    pub src: String,
    pub file: FileContent,
    /// `mode: preserve`
    pub preserve: bool,
    pub checksum: Option<String>,
    /// Links below a directory are followed; otherwise they are copied as links.
    pub local_follow: bool,
    /// In a dry run an earlier task may be about to bring what is to be copied.
    pub dry: bool,
}

impl Action for OnHost {
    fn probes(&self) -> Vec<Probe> {
        let mut probes = vec![Probe::stat_follow(&self.src), self.read_source()];
        probes.extend(self.file.probes());
        probes
    }

    fn decide(&self, seen: &Seen<'_>) -> Result<Decision, Stop> {
        let source = self.source(seen)?;
        let step = match source.kind {
            FileKind::Directory => self.tree(&source, seen)?,
            _ => self.one(&source, seen)?,
        };
        Ok(self.named(step).into_decision())
    }
}

impl OnHost {
    fn source(&self, seen: &Seen<'_>) -> Result<Stat, Stop> {
        let source = match seen.raw(&Probe::stat_follow(&self.src))? {
            Observation::Unknown(why) => return Err(Stop::CannotKnow(why)),
            _ => seen.stat_follow(&self.src)?,
        };
        source.ok_or_else(|| fail(format!("`{}` does not exist on the host", self.src)))
    }

    fn one(&self, source: &Stat, seen: &Seen<'_>) -> Result<Step, Stop> {
        let mut file = self.file.clone();
        if self.preserve {
            file.writing.attributes.mode = Some(Mode::Octal(source.mode));
        }
        if source.size > READ_LIMIT {
            return self.large(source, file, seen);
        }
        let Observation::Content(Some(content)) = seen.get(&self.read_source())? else {
            return Err(fail(format!("`{}` is not a regular file", self.src)));
        };
        self.verify(&content.sha1())?;
        file.content = content;
        file.decide(seen)
    }

    /// A directory: with a slash at its end what is in it. What is new or differs gets the mode that its source has, and
    /// owner and group hold for all of it; `mode` is that of the directory it goes to, as in Ansible.
    fn tree(&self, source: &Stat, seen: &Seen<'_>) -> Result<Step, Stop> {
        if self.checksum.is_some() || self.file.writing.validate.is_some() {
            return Err(fail(format!(
                "`checksum` and `validate` are for a file, and `{}` is a directory",
                self.src
            )));
        }
        let root = self.file.dest.trim_end_matches('/');
        let top = match self.src.ends_with('/') {
            true => root.to_owned(),
            false => format!("{root}/{}", basename(&self.src)),
        };
        let entries = self.entries(&top, seen)?;
        seen.want(&entries.iter().flat_map(Entry::probes).collect::<Vec<_>>())?;
        let mut step = Step {
            report: Report::new().with("dest", self.file.dest.as_str()),
            ..Step::default()
        };
        let mut above = self.file.writing.attributes.clone();
        if self.preserve {
            above.mode = Some(Mode::Octal(source.mode));
        }
        step.then(self.directory(&top, source, &above, seen)?);
        above.mode = None;
        for entry in &entries {
            step.then(match entry.kind {
                'd' => {
                    let stat = seen.stat_follow(&entry.one.src)?;
                    self.directory(&entry.one.file.dest, stat.as_ref().unwrap_or(source), &above, seen)?
                }
                'l' => entry.link(seen)?,
                _ => entry.file(seen)?,
            });
        }
        Ok(step)
    }

    /// What is in the directory, parents before what is in them.
    fn entries(&self, top: &str, seen: &Seen<'_>) -> Result<Vec<Entry>, Stop> {
        let follow = if self.local_follow { "-L" } else { "-P" };
        let Observation::Exec(listed) = seen.get(&Probe::script(LIST, &[&self.src, follow]))? else {
            return Err(fail(format!("`{}` cannot be listed", self.src)));
        };
        if self.dry {
            // The listing is today's; the glob tells what earlier tasks would make of it.
            let text = listed.stdout.text();
            let names = text
                .lines()
                .filter_map(|line| line.split_once(" ./").map(|(_, name)| name));
            let today: BTreeSet<&str> = names
                .filter(|name| !name.contains('/') && !name.starts_with('.'))
                .collect();
            let foretold = seen.glob(&format!("{}/*", self.src.trim_end_matches('/')))?;
            let foretold: BTreeSet<&str> = foretold.iter().filter_map(|path| path.rsplit('/').next()).collect();
            if !listed.ok() || foretold != today {
                return Err(Stop::CannotKnow(format!("cannot know what will be in `{}`", self.src)));
            }
        }
        if !listed.ok() {
            let why = listed.stderr.text();
            return Err(fail(format!("`{}` cannot be listed: {}", self.src, why.trim())));
        }
        let mut entries = Vec::new();
        for line in listed.stdout.text().lines() {
            let Some((kind, name)) = line.split_once(" ./").filter(|(kind, _)| kind.len() == 1) else {
                return Err(fail(format!("below `{}` is a name with a newline in it", self.src)));
            };
            if kind == "o" {
                return Err(fail(format!(
                    "`{name}` in `{}` is no file, directory or link",
                    self.src
                )));
            }
            let mut one = self.clone();
            one.src = format!("{}/{name}", self.src.trim_end_matches('/'));
            one.file.dest = format!("{top}/{name}");
            one.file.basename = None;
            one.file.parent_is_made = true;
            one.file.writing.attributes.mode = None;
            one.preserve = false;
            entries.push(Entry {
                kind: kind.chars().next().unwrap_or('f'),
                one,
            });
        }
        entries.sort_by(|a, b| a.one.src.cmp(&b.one.src));
        Ok(entries)
    }

    fn directory(&self, path: &str, source: &Stat, attributes: &Attributes, seen: &Seen<'_>) -> Result<Step, Stop> {
        match seen.stat_follow(path)? {
            Some(stat) if stat.kind == FileKind::Directory => {
                let mut step = Step::default();
                step.attributes(attributes.difference(path, &stat));
                Ok(step)
            }
            Some(_) => Err(fail(format!("`{path}` is not a directory"))),
            None => {
                let given = attributes.mode.clone().or_else(|| self.file.directory_mode.clone());
                let mode = given.unwrap_or(Mode::Octal(source.mode));
                Ok(make_directories(path, Some(&mode), attributes))
            }
        }
    }

    fn read_source(&self) -> Probe {
        Probe::Read {
            path: self.src.as_str().into(),
            max: READ_LIMIT,
        }
    }

    fn verify(&self, sha1: &str) -> Result<(), Stop> {
        match &self.checksum {
            Some(wanted) if !wanted.eq_ignore_ascii_case(sha1) => {
                Err(fail(format!("`{}` has the SHA-1 `{sha1}`, not `{wanted}`", self.src)))
            }
            _ => Ok(()),
        }
    }

    fn named(&self, mut step: Step) -> Step {
        step.report = std::mem::take(&mut step.report).with("src", self.src.as_str());
        step
    }

    /// Too large to travel: hashes are compared and the host copies.
    fn large(&self, source: &Stat, file: FileContent, seen: &Seen<'_>) -> Result<Step, Stop> {
        if file.writing.validate.is_some() {
            return Err(fail(format!(
                "not supported yet: `validate` with `remote_src` above {READ_LIMIT} bytes"
            )));
        }
        let hash = |path: &str, algorithm: &str| Probe::Hash {
            path: path.into(),
            algorithm: algorithm.to_owned(),
        };
        let text = |probe: Probe| match seen.get(&probe)? {
            Observation::Text(text) => Ok(text),
            _ => Err(fail(format!("`{}` is not a regular file", self.src))),
        };
        if self.checksum.is_some() {
            self.verify(&text(hash(&self.src, "sha1"))?.unwrap_or_default())?;
        }
        let mut path = file.dest.clone();
        if path.ends_with('/') || seen.stat_follow(&path)?.is_some_and(|s| s.kind == FileKind::Directory) {
            path = format!("{}/{}", path.trim_end_matches('/'), basename(&self.src));
        }
        let old = seen.stat_follow(&path)?;
        if !file.force
            && let Some(old) = &old
        {
            let report = describe(Report::new().with("dest", path.as_str()), old);
            return Ok(Step {
                report,
                ..Step::default()
            });
        }
        let wanted = text(hash(&self.src, "sha256"))?;
        let current = match &old {
            Some(_) => text(hash(&path, "sha256"))?,
            None => None,
        };
        let report = Report::new().with("dest", path.as_str()).with("size", source.size);
        if let (Some(old), true) = (&old, current == wanted) {
            let mut step = file.writing.keep(&path, old, seen)?;
            step.report.values.insert("dest".to_owned(), Value::from(path));
            return Ok(step);
        }
        let short = |h: &Option<String>| h.as_deref().and_then(|h| h.get(..12)).unwrap_or("?").to_owned();
        let mut step = Step {
            report,
            ..Step::default()
        };
        step.deltas.push(Delta {
            subject: path.clone(),
            before: match &old {
                Some(old) => Facet::Value(format!("{} bytes, sha256 {}", old.size, short(&current))),
                None => Facet::Absent,
            },
            after: Facet::Value(format!("{} bytes, sha256 {}", source.size, short(&wanted))),
        });
        if file.writing.backup
            && let Some(current) = &current
        {
            let backup = backup_path(&path, current, &file.writing.now);
            step.report
                .values
                .insert("backup_file".to_owned(), Value::from(backup.clone()));
            // Who may not read the file may not read its backup.
            step.ops.push(Op::exec(
                ["cp", "-p", "--", &path, &backup],
                Effect::Mentions(vec![backup.clone()]),
            ));
        }
        step.ops.push(Op::Copy {
            source: self.src.clone(),
            path: path.clone(),
            guard: Some(current.clone().map_or(Guard::Absent, Guard::Sha256)),
        });
        step.no_undo = Some(format!("`{path}` was too large to keep what was in it"));
        let attributes = &file.writing.attributes;
        match &old {
            Some(old) => step.attributes(attributes.difference(&path, old)),
            None => {
                let fresh = Stat {
                    mode: 0o644,
                    owner: String::new(),
                    group: String::new(),
                    uid: u32::MAX,
                    gid: u32::MAX,
                    ..source.clone()
                };
                step.ops.extend(attributes.difference(&path, &fresh).ops);
                step.deltas.extend(attributes.deltas_new(&path, false));
            }
        }
        Ok(step)
    }
}

/// Something below a directory, to be copied by itself.
struct Entry {
    kind: char,
    one: OnHost,
}

impl Entry {
    fn probes(&self) -> Vec<Probe> {
        let (from, to) = (&self.one.src, &self.one.file.dest);
        match self.kind {
            'd' => vec![Probe::stat_follow(from), Probe::stat_follow(to)],
            'l' => vec![Probe::stat(from), Probe::stat(to)],
            _ => self.one.probes(),
        }
    }

    fn file(&self, seen: &Seen<'_>) -> Result<Step, Stop> {
        let source = self.one.source(seen)?;
        let step = self.one.one(&source, seen)?;
        if !step
            .ops
            .iter()
            .any(|op| matches!(op, Op::Write { .. } | Op::Copy { .. }))
        {
            return Ok(step);
        }
        let with_mode = OnHost {
            preserve: true,
            ..self.one.clone()
        };
        with_mode.one(&source, seen)
    }

    fn link(&self, seen: &Seen<'_>) -> Result<Step, Stop> {
        let path = &self.one.file.dest;
        let target = seen.stat(&self.one.src)?.and_then(|s| s.target).unwrap_or_default();
        let old = seen.stat(path)?;
        let before = match &old {
            Some(stat) if stat.target.as_ref() == Some(&target) => return Ok(Step::default()),
            Some(Stat { target: Some(old), .. }) => Facet::Value(format!("link to {old}")),
            Some(_) => return Err(fail(format!("`{path}` is there, and is no link"))),
            None => Facet::Absent,
        };
        let link = |target: String, force: bool| Op::Link {
            path: path.clone(),
            target,
            hard: false,
            force,
        };
        let mut ops = vec![link(target.clone(), before != Facet::Absent)];
        let attributes = &self.one.file.writing.attributes;
        if attributes.owner.is_some() || attributes.group.is_some() {
            ops.push(Op::Chown {
                path: path.clone(),
                owner: attributes.owner.clone(),
                group: attributes.group.clone(),
                follow: false,
            });
        }
        Ok(Step {
            undo: vec![match old.and_then(|old| old.target) {
                Some(old) => link(old, true),
                None => Op::Remove {
                    path: path.clone(),
                    recursive: false,
                },
            }],
            deltas: vec![Delta {
                subject: path.clone(),
                before,
                after: Facet::Value(format!("link to {target}")),
            }],
            ops,
            ..Step::default()
        })
    }
}

fn fail(text: String) -> Stop {
    Stop::Fail(Failure::new(text))
}
