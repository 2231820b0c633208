//! PURE. The dry run's memory of what earlier tasks would have done: predicted effects of ops laid over what was
//! seen. Derived from the ops; what ops alone do not tell (objects of a broker) modules foretell. Never used to apply,
//! but for the items of a loop that act together: each is decided on what the ones before it foretold.

#![deny(clippy::disallowed_methods)]

mod units;

use self::units::Units;
use crate::host::{Content, Effect, FileKind, Observation, Op, Probe, Stat, kernel_file};
use std::collections::BTreeMap;
use std::sync::Arc;

#[derive(Clone, Debug, Default)]
pub struct Overlay {
    /// Files as they would be. `None`: removed.
    files: BTreeMap<String, Option<File>>,
    /// What was removed, with all below it, each with how many commands had run by then; something else may be there by now.
    removed: BTreeMap<String, usize>,
    /// Commands that would have run, in order, with what they may have changed and the task that runs them.
    ran: Vec<(Effect, String)>,
    /// What modules foretold (`Change::foretold`), each with how many commands had run by then.
    foretold: BTreeMap<Probe, (Observation, usize)>,
    units: Units,
    /// A task would have changed something, or nobody knows whether.
    pub touched: bool,
}

#[derive(Clone, Debug)]
struct File {
    /// `None`: as it was, or not known.
    content: Option<Content>,
    /// A value put into a file of the kernel: what it reads then follows from what it read before.
    put: Option<Content>,
    /// Empty, unless it was there before.
    touched: bool,
    stat: PartialStat,
}

#[derive(Clone, Debug, Default)]
struct PartialStat {
    kind: Option<FileKind>,
    mode: Option<u32>,
    owner: Option<String>,
    group: Option<String>,
    target: Option<String>,
}

impl Overlay {
    pub fn is_empty(&self) -> bool {
        self.files.is_empty() && self.ran.is_empty() && self.foretold.is_empty()
    }

    /// Takes note of what looks would see after a task.
    pub fn foretell(&mut self, foretold: &[(Probe, Observation)]) {
        for (probe, observation) in foretold {
            let told = (observation.clone(), self.ran.len());
            self.foretold.insert(probe.clone(), told);
        }
    }

    /// All that was foretold and still holds.
    pub fn told(&self) -> Vec<(Probe, Observation)> {
        let told = self.foretold.iter();
        told.map(|(probe, (observation, since))| (probe.clone(), self.doubt(probe, observation.clone(), *since)))
            .collect()
    }

    /// Takes note of a path of which nobody knows what `task` will have made of it.
    pub fn lose(&mut self, path: &str, task: &str) {
        self.files.retain(|p, _| p != path && !is_below(p, path));
        self.ran
            .push((Effect::Mentions(vec![path.to_owned()]), task.to_owned()));
    }

    /// Takes note of ops that `task` would run.
    pub fn apply(&mut self, ops: &[Op], task: &str) {
        for op in ops {
            match op {
                Op::Write {
                    path,
                    content,
                    mode,
                    owner,
                    group,
                    backup,
                    ..
                } => {
                    if let Some(backup) = backup {
                        self.change(backup, |f| f.stat.kind = Some(FileKind::File));
                    }
                    self.change(path, |f| {
                        f.content = Some(content.clone());
                        f.put = None;
                        f.stat.set(Some(FileKind::File), *mode, owner, group);
                    });
                }
                Op::Put { path, content } => self.change(path, |f| f.put = Some(content.clone())),
                Op::MakeDir {
                    path,
                    mode,
                    owner,
                    group,
                    parents,
                } => {
                    if *parents {
                        let mut parent = path.as_str();
                        while let Some((above, _)) = parent.rsplit_once('/').filter(|(a, _)| !a.is_empty()) {
                            self.change(above, |f| f.stat.kind = f.stat.kind.or(Some(FileKind::Directory)));
                            parent = above;
                        }
                    }
                    self.change(path, |f| f.stat.set(Some(FileKind::Directory), *mode, owner, group));
                }
                Op::Link { path, target, hard, .. } => self.change(path, |f| {
                    if *hard {
                        f.stat.kind = Some(FileKind::File);
                    } else {
                        f.stat.kind = Some(FileKind::Link);
                        f.stat.target = Some(target.clone());
                    }
                }),
                Op::Remove { path, .. } => {
                    self.files.retain(|p, _| !is_below(p, path));
                    self.files.insert(path.clone(), None);
                    self.removed.insert(path.clone(), self.ran.len());
                }
                Op::Chmod { path, mode } => self.change(path, |f| f.stat.mode = Some(*mode)),
                Op::Chown { path, owner, group, .. } => self.change(path, |f| f.stat.set(None, None, owner, group)),
                Op::Touch { path, .. } => self.change(path, |f| {
                    f.stat.kind = f.stat.kind.or(Some(FileKind::File));
                    f.touched |= f.stat.kind == Some(FileKind::File);
                }),
                Op::Copy { path, .. } => {
                    self.ran.push((Effect::Mentions(vec![path.clone()]), task.to_owned()));
                }
                Op::Exec(exec) => {
                    if exec.argv.iter().map(String::as_str).eq(["systemctl", "daemon-reload"]) {
                        self.units.reload(&self.files);
                    }
                    if exec.effect != Effect::Nothing {
                        self.ran.push((exec.effect.clone(), task.to_owned()));
                    }
                }
            }
        }
    }

    fn change(&mut self, path: &str, edit: impl FnOnce(&mut File)) {
        let entry = self.files.entry(path.to_owned()).or_default();
        edit(entry.get_or_insert_with(|| File {
            content: None,
            put: None,
            touched: false,
            stat: PartialStat::default(),
        }));
    }

    /// What a probe would see that nobody has looked at, where the tasks noted so far leave no doubt.
    pub fn known(&self, probe: &Probe) -> Option<Observation> {
        match probe {
            Probe::Read { path, .. } => {
                let file = self.files.get(&**path)?.as_ref()?;
                Some(Observation::Content(Some(file.read(None)?)))
            }
            _ => None,
        }
    }

    /// What a probe would see after the tasks noted so far, if it saw `seen` now.
    pub fn view(&self, probe: &Probe, seen: Observation) -> Observation {
        if self.is_empty() {
            return seen;
        }
        if let Some((observation, since)) = self.foretold.get(probe) {
            return self.doubt(probe, observation.clone(), *since);
        }
        let path = match probe {
            Probe::Stat { path, .. } | Probe::Read { path, .. } | Probe::Hash { path, .. } => Some(&**path),
            _ => None,
        };
        if let Some(path) = path {
            match (self.files.get(path), self.removed_since(path)) {
                (Some(None), _) => return absent(probe),
                (Some(Some(file)), Some(_)) => return file.answer(probe, absent(probe)),
                (Some(Some(file)), None) => return file.answer(probe, seen),
                (None, Some(since)) => return self.doubt(probe, absent(probe), since),
                (None, None) => {}
            }
        }
        let seen = match (probe, seen) {
            (Probe::Exec { argv, .. }, Observation::Exec(result)) => Observation::Exec(self.units.view(argv, result)),
            (_, seen) => seen,
        };
        let seen = match (probe, seen) {
            (Probe::Glob { pattern }, Observation::List(mut list)) => {
                list.retain(|path| self.removed_since(path).is_none());
                for (path, file) in self.matching(pattern) {
                    list.retain(|p| p != path);
                    list.extend(file.is_some().then(|| path.clone()));
                }
                list.sort();
                Observation::List(list)
            }
            (Probe::ReadGlob { pattern }, Observation::Files(mut seen)) => {
                if seen.keys().any(|path| self.removed_since(path).is_some()) {
                    Arc::make_mut(&mut seen).retain(|path, _| self.removed_since(path).is_none());
                }
                for (path, file) in self.matching(pattern) {
                    let files = Arc::make_mut(&mut seen);
                    match file {
                        Some(file) => {
                            let old = files.remove(path).flatten();
                            files.insert(path.clone(), file.read(old.as_ref()));
                        }
                        None => _ = files.remove(path),
                    }
                }
                Observation::Files(seen)
            }
            (_, seen) => seen,
        };
        self.doubt(probe, seen, 0)
    }

    /// Whether what is there today, if anything, is gone, and how many commands had run when it went.
    fn removed_since(&self, path: &str) -> Option<usize> {
        let gone = self
            .removed
            .iter()
            .filter(|(gone, _)| path == *gone || is_below(path, gone));
        gone.map(|(_, since)| *since).max()
    }

    /// The files that tasks touched and that match a glob of sh.
    fn matching(&self, pattern: &str) -> impl Iterator<Item = (&String, &Option<File>)> {
        let glob = globset::GlobBuilder::new(pattern).literal_separator(true).build();
        let glob = glob.map(|glob| glob.compile_matcher()).ok();
        let matches = move |path: &str| glob.as_ref().is_some_and(|glob| glob.is_match(path));
        self.files.iter().filter(move |(path, _)| matches(path))
    }

    /// What commands that would have run, all but the first `since`, leave of an answer.
    fn doubt(&self, probe: &Probe, seen: Observation, since: usize) -> Observation {
        // Facts are what the play knows of the host, not what a command may be about to change.
        if matches!(probe, Probe::Facts) {
            return seen;
        }
        let text = || serde_json::to_string(probe).unwrap_or_default();
        for (effect, task) in &self.ran[since..] {
            let touched = match effect {
                Effect::Nothing => false,
                Effect::Anything => true,
                Effect::Creates => says_absent(probe, &seen),
                Effect::Mentions(words) => {
                    let text = text();
                    words.iter().any(|w| text.contains(w.as_str()))
                }
            };
            // Kernel settings are not what commands usually change behind our back, but nobody can know.
            if touched {
                return Observation::Unknown(format!("cannot know until `{task}` has run"));
            }
        }
        seen
    }
}

/// Whether an answer says that something does not exist, so that a package may bring it.
fn says_absent(probe: &Probe, seen: &Observation) -> bool {
    // No package brings the files that only we write.
    if let Probe::Read { path, .. } | Probe::Stat { path, .. } = probe
        && path.contains("/60-rmqplay")
    {
        return false;
    }
    match (probe, seen) {
        (Probe::Glob { pattern }, Observation::List(list)) => list.is_empty() && !pattern.starts_with("/proc/"),
        // One more may appear.
        (Probe::ReadGlob { .. }, Observation::Files(_)) => true,
        (_, Observation::Stat(None) | Observation::Content(None) | Observation::Text(None)) => {
            !matches!(probe, Probe::Read { path, .. } | Probe::Stat { path, .. } | Probe::Hash { path, .. } if path.starts_with("/proc/") || path.starts_with("/sys/"))
        }
        // Package lists, units, users: what a command reports may be about to appear; not what the kernel makes.
        (Probe::Exec { argv, .. }, _) => {
            let mut paths = argv.iter().skip(1).filter(|word| word.starts_with('/')).peekable();
            paths.peek().is_none() || !paths.all(|path| path.starts_with("/proc/") || path.starts_with("/sys/"))
        }
        (_, Observation::Failed(_)) => true,
        _ => false,
    }
}

fn absent(probe: &Probe) -> Observation {
    match probe {
        Probe::Stat { .. } => Observation::Stat(None),
        Probe::Read { .. } => Observation::Content(None),
        _ => Observation::Text(None),
    }
}

fn is_below(path: &str, above: &str) -> bool {
    path.strip_prefix(above).is_some_and(|rest| rest.starts_with('/'))
}

impl PartialStat {
    fn set(&mut self, kind: Option<FileKind>, mode: Option<u32>, owner: &Option<String>, group: &Option<String>) {
        self.kind = kind.or(self.kind);
        self.mode = mode.or(self.mode);
        self.owner = owner.clone().or(self.owner.take());
        self.group = group.clone().or(self.group.take());
    }
}

impl File {
    /// Its text, where that is known.
    fn text(&self) -> Option<String> {
        self.content.as_ref().map(|c| c.text().into_owned())
    }

    /// What it would read, if it reads `old` now.
    fn read(&self, old: Option<&Content>) -> Option<Content> {
        match (&self.content, &self.put) {
            (content, Some(put)) => Some(kernel_file(content.as_ref().or(old), put)),
            (content, None) => content.clone(),
        }
    }

    fn answer(&self, probe: &Probe, seen: Observation) -> Observation {
        match probe {
            Probe::Stat { follow, .. } => {
                let old = match seen {
                    Observation::Stat(old) => old,
                    _ => None,
                };
                let mut stat = old.map(Arc::unwrap_or_clone).unwrap_or(Stat {
                    kind: FileKind::File,
                    mode: 0o644,
                    uid: 0,
                    gid: 0,
                    owner: "root".to_owned(),
                    group: "root".to_owned(),
                    size: 0,
                    mtime: 0,
                    atime: 0,
                    ctime: 0,
                    inode: 0,
                    dev: 0,
                    nlink: 1,
                    blocks: 0,
                    block_size: 4096,
                    rdev: 0,
                    target: None,
                });
                if let Some(kind) = self.stat.kind {
                    if kind != stat.kind && kind == FileKind::Directory {
                        stat.mode = 0o755;
                    }
                    stat.kind = kind;
                }
                if *follow && stat.kind == FileKind::Link {
                    return Observation::Unknown("the link is made by an earlier task".to_owned());
                }
                if let Some(mode) = self.stat.mode {
                    stat.mode = mode;
                }
                // Names and numbers go together: a numeric owner is its own id.
                if let Some(owner) = &self.stat.owner {
                    match owner.parse() {
                        Ok(uid) => stat.uid = uid,
                        Err(_) => stat.owner.clone_from(owner),
                    }
                }
                if let Some(group) = &self.stat.group {
                    match group.parse() {
                        Ok(gid) => stat.gid = gid,
                        Err(_) => stat.group.clone_from(group),
                    }
                }
                if let Some(content) = self.content.as_ref().filter(|_| self.put.is_none()) {
                    stat.size = content.as_bytes().len() as u64;
                }
                stat.target = self.stat.target.clone().or(stat.target);
                Observation::Stat(Some(Arc::new(stat)))
            }
            Probe::Read { .. } => {
                let old = match &seen {
                    Observation::Content(old) => old.as_ref(),
                    _ => None,
                };
                let new = (self.touched && old.is_none()).then(Content::default);
                let content = self.read(old).or(new);
                content.map_or(seen, |content| Observation::Content(Some(content)))
            }
            Probe::Hash { algorithm, .. } => {
                let new = self.touched && matches!(seen, Observation::Text(None));
                let content = self.read(None).or(new.then(Content::default));
                match (content, algorithm.as_str()) {
                    (None, _) => seen,
                    (Some(content), "sha1") => Observation::Text(Some(content.sha1())),
                    (Some(content), "sha256") => Observation::Text(Some(content.sha256())),
                    _ => Observation::Unknown("the file is written by an earlier task".to_owned()),
                }
            }
            _ => seen,
        }
    }
}
