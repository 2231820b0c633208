//! Files of sysctl.d(5): their lines, and which of them wins at boot.

use crate::host::Probe;
use crate::modules::knob::squeeze;

/// Name → path below `/proc/sys`, after sysctl.d(5): if the first separator is a slash all is as written, if it is a dot
/// dots are slashes and slashes are dots.
pub fn key_path(name: &str) -> String {
    let name = name.trim();
    match name.find(['.', '/']) {
        Some(at) if name[at..].starts_with('.') => {
            let mut path = String::with_capacity(name.len());
            path.extend(name.chars().map(|c| match c {
                '.' => '/',
                '/' => '.',
                c => c,
            }));
            path
        }
        _ => name.trim_start_matches("/proc/sys/").to_owned(),
    }
}

/// Everything `systemd-sysctl` reads at boot: names of files (they mask each other even when empty), a blank line, then
/// their lines that are no comments, as `FILE:LINE:TEXT`.
const BOOT: &str = r#"set -- /etc/sysctl.d/*.conf /run/sysctl.d/*.conf /usr/local/lib/sysctl.d/*.conf /usr/lib/sysctl.d/*.conf
for f; do if [ -e "$f" ] || [ -L "$f" ]; then echo "$f"; fi; done
echo
exec grep -HsnE '^[[:space:]]*[^#;[:space:]]' "$@" /dev/null"#;

pub fn boot_probe() -> Probe {
    Probe::script(BOOT, &[])
}

/// A line that says something: number from 0, path or pattern, value (`None`: a bare `-key`).
pub struct Line<'a> {
    at: usize,
    path: String,
    value: Option<&'a str>,
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
    let path = key_path(key.trim().trim_start_matches('-'));
    Some(Line { at, path, value })
}

/// The lines that say something.
pub fn lines(text: &str) -> impl Iterator<Item = Line<'_>> {
    text.lines().enumerate().filter_map(|(at, l)| line(at, l))
}

/// The value the file gives the key: that of the last line.
pub fn assignment(text: &str, path: &str) -> Option<String> {
    lines(text)
        .filter(|l| l.path == path)
        .filter_map(|l| l.value)
        .last()
        .map(squeeze)
}

/// The file with the last line of the key changed, or one added at the end (as `name`).
pub fn with(text: &str, path: &str, name: &str, value: &str) -> String {
    let Some(at) = lines(text)
        .filter(|l| l.path == path && l.value.is_some())
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
    let gone: Vec<usize> = lines(text).filter(|l| l.path == path).map(|l| l.at).collect();
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
    file: String,
    line: usize,
    pattern: String,
    value: Option<String>,
}

/// What will be set, and where that is said.
pub struct Winner {
    pub file: String,
    pub line: usize,
    pub value: String,
}

/// All assignments in the order in which they are read at boot.
pub struct Boot(Vec<Assignment>);

impl Boot {
    /// From what [`BOOT`] printed, with the text of `own` (a path in the directories) as given instead.
    pub fn new(listing: &str, own: Option<&str>, text: Option<&str>) -> Boot {
        let (names, found) = listing.split_once("\n\n").unwrap_or((listing.trim_end(), ""));
        let names = if listing.starts_with('\n') { "" } else { names };
        let mut files: Vec<&str> = names.lines().collect();
        if let (Some(own), Some(_)) = (own, text)
            && !files.contains(&own)
        {
            files.push(own);
        }
        let rank = |file: &str| {
            DIRS.iter()
                .position(|d| file.starts_with(&format!("{d}/")))
                .unwrap_or(DIRS.len())
        };
        let name = |file: &str| file.rsplit('/').next().unwrap_or_default().to_owned();
        files.sort_by_key(|f| (name(f), rank(f)));
        files.dedup_by_key(|f| name(f));

        let mut all = Vec::new();
        for file in files {
            let mut add = |number: usize, content: &str| {
                if let Some(line) = line(number, content) {
                    all.push(Assignment {
                        file: file.to_owned(),
                        line: number,
                        pattern: line.path,
                        value: line.value.map(squeeze),
                    });
                }
            };
            if Some(file) == own {
                for (n, content) in text.unwrap_or_default().lines().enumerate() {
                    add(n + 1, content);
                }
                continue;
            }
            for row in found.lines().filter_map(|r| r.strip_prefix(file)?.strip_prefix(':')) {
                if let Some((number, content)) = row.split_once(':')
                    && let Ok(number) = number.parse()
                {
                    add(number, content);
                }
            }
        }
        Boot(all)
    }

    /// What the key will be: the last line that names it; else, unless a bare `-key` excludes it, the last pattern that
    /// matches it (sysctl.d(5): explicit keys win over patterns).
    pub fn winner(&self, path: &str) -> Option<Winner> {
        let exact: Vec<&Assignment> = self.0.iter().filter(|a| a.pattern == path).collect();
        let found = if exact.is_empty() {
            self.0.iter().rev().find(|a| matches(&a.pattern, path))
        } else {
            exact.iter().rev().find(|a| a.value.is_some()).copied()
        }?;
        Some(Winner {
            file: found.file.clone(),
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
