//! Files of sysctl.d(5): their lines, and which of them wins at boot.

use crate::host::{Files, Probe};
use crate::modules::knob::squeeze;
use std::sync::{Arc, LazyLock};

/// Name → path below `/proc/sys`, after sysctl.d(5): if the first separator is a slash all is as written, if it is a dot
/// dots are slashes and slashes are dots.
pub fn key_path(name: &str) -> String {
    let mut path = String::with_capacity(name.len());
    path.extend(path_of(name));
    path
}

fn path_of(name: &str) -> impl Iterator<Item = char> {
    let name = name.trim();
    let dotted = name.find(['.', '/']).is_some_and(|at| name[at..].starts_with('.'));
    let name = if dotted {
        name
    } else {
        name.trim_start_matches("/proc/sys/")
    };
    name.chars().map(move |c| match c {
        '.' if dotted => '/',
        '/' if dotted => '.',
        c => c,
    })
}

/// Everything `systemd-sysctl` reads at boot. A file masks those of its name further down even if it is empty or no file.
pub fn boot_probes() -> &'static [Probe] {
    static PROBES: LazyLock<Vec<Probe>> = LazyLock::new(|| {
        let all = DIRS.iter().map(|dir| Probe::read_glob(format!("{dir}/*.conf")));
        all.collect()
    });
    &PROBES
}

/// A line that says something: number from 0, name or pattern, value (`None`: a bare `-key`).
pub struct Line<'a> {
    at: usize,
    name: &'a str,
    value: Option<&'a str>,
}

impl Line<'_> {
    /// Whether it is about the key at this path.
    fn is_of(&self, path: &str) -> bool {
        // A path is as long as its name, or that begins with `/proc/sys`.
        let may_be = self.name.len() == path.len() || self.name.starts_with('/');
        may_be && path_of(self.name).eq(path.chars())
    }
}

fn line(at: usize, text: &str) -> Option<Line<'_>> {
    let text = text.trim();
    if text.is_empty() || text.starts_with(['#', ';']) {
        return None;
    }
    let (key, value) = match text.split_once('=') {
        Some((key, value)) => (key, Some(value.trim())),
        None if text.starts_with('-') => (text, None),
        None => return None,
    };
    let name = key.trim().trim_start_matches('-').trim_start();
    Some(Line { at, name, value })
}

/// The lines that say something.
pub fn lines(text: &str) -> impl Iterator<Item = Line<'_>> {
    text.lines().enumerate().filter_map(|(at, l)| line(at, l))
}

/// The value the file gives the key: that of the last line.
pub fn assignment(text: &str, path: &str) -> Option<String> {
    lines(text)
        .filter(|l| l.is_of(path))
        .filter_map(|l| l.value)
        .last()
        .map(squeeze)
}

/// The file with the last line of the key changed, or one added at the end (as `name`).
pub fn with(text: &str, path: &str, name: &str, value: &str) -> String {
    let Some(at) = lines(text)
        .filter(|l| l.is_of(path) && l.value.is_some())
        .last()
        .map(|l| l.at)
    else {
        let gap = if text.is_empty() || text.ends_with('\n') {
            ""
        } else {
            "\n"
        };
        return format!("{text}{gap}{}={value}\n", name);
    };
    text.split_inclusive('\n')
        .enumerate()
        .map(|(n, line)| match line.split_once('=') {
            Some((key, old)) if n == at => {
                let blank = &old[..old.len() - old.trim_start_matches([' ', '\t']).len()];
                format!("{key}={blank}{value}\n")
            }
            _ => line.to_owned(),
        })
        .collect()
}

/// The file without any line of the key.
pub fn without(text: &str, path: &str) -> String {
    let gone: Vec<usize> = lines(text).filter(|l| l.is_of(path)).map(|l| l.at).collect();
    text.split_inclusive('\n')
        .enumerate()
        .filter(|(n, _)| !gone.contains(n))
        .map(|(_, line)| line)
        .collect()
}

/// Directories of `systemd-sysctl`; a file masks those of the same name further down.
pub const DIRS: [&str; 4] = [
    "/etc/sysctl.d",
    "/run/sysctl.d",
    "/usr/local/lib/sysctl.d",
    "/usr/lib/sysctl.d",
];

/// One line of one of the files.
struct Assignment {
    line: usize,
    pattern: String,
    value: Option<String>,
}

fn assignments(text: &str) -> Vec<Assignment> {
    let all = lines(text).map(|line| Assignment {
        line: line.at + 1,
        pattern: key_path(line.name),
        value: line.value.map(squeeze),
    });
    all.collect()
}

/// What will be set, and where that is said.
#[derive(Clone)]
pub struct Winner {
    pub file: String,
    pub line: usize,
    pub value: String,
}

/// The files in the order in which they are read at boot, each with its assignments.
pub struct Boot<'a>(Vec<(&'a str, Arc<Vec<Assignment>>)>);

impl<'a> Boot<'a> {
    /// From what [`boot_probes`] saw, with the text of `own` (a path in the directories) as given instead.
    pub fn new(files: &'a [Arc<Files>], own: Option<&'a str>, text: Option<&str>) -> Boot<'a> {
        let content = |path: &str| files.iter().find_map(|files| files.get(path));
        let mut paths: Vec<&str> = files
            .iter()
            .flat_map(|files| files.keys().map(String::as_str))
            .collect();
        paths.extend(own.filter(|own| text.is_some() && content(own).is_none()));
        let rank = |path: &str| {
            DIRS.iter()
                .position(|d| path.strip_prefix(d).is_some_and(|rest| rest.starts_with('/')))
                .unwrap_or(DIRS.len())
        };
        let name = |path: &'a str| path.rsplit('/').next().unwrap_or_default();
        paths.sort_by_key(|path| (name(path), rank(path)));
        paths.dedup_by_key(|path| name(path));
        let read = |path: &str| match content(path) {
            _ if Some(path) == own => Arc::new(assignments(text.unwrap_or_default())),
            Some(Some(content)) => content.reading(|content| assignments(&content.text())),
            _ => Arc::default(),
        };
        Boot(paths.into_iter().map(|path| (path, read(path))).collect())
    }

    /// What the key will be: the last line that names it; else, unless a bare `-key` excludes it, the last pattern that
    /// matches it (sysctl.d(5): explicit keys win over patterns).
    pub fn winner(&self, path: &str) -> Option<Winner> {
        let all = || {
            let files = self.0.iter();
            files
                .flat_map(|(file, assignments)| assignments.iter().map(move |a| (file, a)))
                .rev()
        };
        let exact = || all().filter(|(_, a)| a.pattern == path);
        let (file, found) = match exact().next() {
            None => all().find(|(_, a)| matches(&a.pattern, path)),
            Some(_) => exact().find(|(_, a)| a.value.is_some()),
        }?;
        Some(Winner {
            file: (*file).to_owned(),
            line: found.line,
            value: found.value.clone()?,
        })
    }
}

fn matches(pattern: &str, path: &str) -> bool {
    pattern.contains(['*', '?', '['])
        && globset::GlobBuilder::new(pattern)
            .literal_separator(true)
            .build()
            .is_ok_and(|g| g.compile_matcher().is_match(path))
}
