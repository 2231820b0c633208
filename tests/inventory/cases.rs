//! The corpus: each directory under `tests/inventory/cases` is an inventory with a `case.yml` that says how it is used.

use rmqplay::diagnostic::{Diagnostic, SourceMap};
use rmqplay::inventory::{Adjacent, Inventory};
use rmqplay::language::Files;
use serde::Deserialize;
use std::path::{Path, PathBuf};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    #[serde(skip)]
    pub name: String,
    #[serde(skip)]
    pub dir: PathBuf,
    pub sources: Vec<String>,
    #[serde(default)]
    pub playbook_dir: Option<String>,
    /// Hosts to ask for by name, beside what `--list` shows.
    #[serde(default)]
    pub hosts: Vec<String>,
    #[serde(default)]
    pub patterns: Vec<PatternCase>,
    /// Ansible walks groups two and more levels down in the order of their addresses in memory.
    #[serde(default)]
    pub order_is_chance: bool,
    /// Messages of the errors of loading; Ansible has to complain too, unless `ansible_accepts`.
    #[serde(default)]
    pub errors: Vec<String>,
    #[serde(default)]
    pub ansible_accepts: bool,
    #[serde(default)]
    pub warnings: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub enum PatternCase {
    Plain(String),
    Full {
        pattern: String,
        limit: Option<String>,
        /// Our error; Ansible finds nothing or complains.
        error: Option<String>,
    },
}

impl PatternCase {
    pub fn parts(&self) -> (&str, Option<&str>, Option<&str>) {
        match self {
            PatternCase::Plain(pattern) => (pattern, None, None),
            PatternCase::Full { pattern, limit, error } => (pattern, limit.as_deref(), error.as_deref()),
        }
    }
}

pub fn all() -> Vec<Case> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/inventory/cases");
    let mut dirs: Vec<PathBuf> = std::fs::read_dir(root).unwrap().map(|e| e.unwrap().path()).collect();
    dirs.sort();
    let read = |dir: PathBuf| {
        let text = std::fs::read_to_string(dir.join("case.yml")).unwrap();
        let case: Case = serde_yaml::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", dir.display()));
        let name = dir.file_name().unwrap().to_string_lossy().into_owned();
        Case { name, dir, ..case }
    };
    dirs.into_iter().map(read).collect()
}

pub struct Loaded {
    pub inventory: Inventory,
    pub playbook: Adjacent,
    pub diagnostics: Vec<Diagnostic>,
    pub map: SourceMap,
    pub files: Disk,
}

impl Case {
    pub fn load(&self) -> Loaded {
        let map = SourceMap::default();
        let files = Disk(self.dir.clone());
        let (inventory, mut diagnostics) = Inventory::load(&self.sources, &files, &map);
        let dirs: Vec<String> = self.playbook_dir.iter().cloned().collect();
        let (playbook, more) = Adjacent::load(&inventory, &dirs, &files, &map);
        diagnostics.extend(more);
        Loaded {
            inventory,
            playbook,
            diagnostics,
            map,
            files,
        }
    }

    /// `-i SOURCE ...` and `--playbook-dir`.
    pub fn options(&self) -> Vec<String> {
        let mut options: Vec<String> = self.sources.iter().flat_map(|s| ["-i".to_owned(), s.clone()]).collect();
        if let Some(dir) = &self.playbook_dir {
            options.extend(["--playbook-dir".to_owned(), dir.clone()]);
        }
        options
    }
}

/// The real disk, seen from a directory.
pub struct Disk(pub PathBuf);

impl Files for Disk {
    fn read(&self, path: &str) -> std::io::Result<Vec<u8>> {
        std::fs::read(self.0.join(path))
    }
    fn exists(&self, path: &str) -> bool {
        self.0.join(path).exists()
    }
    fn is_dir(&self, path: &str) -> bool {
        self.0.join(path).is_dir()
    }
    fn list(&self, path: &str) -> std::io::Result<Vec<String>> {
        let entries = std::fs::read_dir(self.0.join(path))?;
        let mut names: Vec<String> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        Ok(names)
    }
    fn absolute(&self, path: &str) -> String {
        let path = self.0.join(path);
        path.canonicalize().unwrap_or(path).to_str().unwrap().to_owned()
    }
    fn env(&self, _: &str) -> Option<String> {
        None
    }
    fn pipe(&self, _: &str) -> std::io::Result<Vec<u8>> {
        Err(std::io::Error::other("no commands here"))
    }
    fn create(&self, _: &str, _: &[u8]) -> std::io::Result<()> {
        Err(std::io::Error::other("nothing is written here"))
    }
}

/// Files that are only here: paths and contents.
pub struct Memory(pub Vec<(String, String)>);

impl Memory {
    pub fn new(files: &[(&str, &str)]) -> Memory {
        Memory(
            files
                .iter()
                .map(|(path, text)| ((*path).to_owned(), (*text).to_owned()))
                .collect(),
        )
    }

    fn below<'a>(&'a self, dir: &str) -> impl Iterator<Item = &'a str> {
        let prefix = if dir.is_empty() {
            String::new()
        } else {
            format!("{dir}/")
        };
        self.0.iter().filter_map(move |(path, _)| path.strip_prefix(&prefix))
    }
}

impl Files for Memory {
    fn read(&self, path: &str) -> std::io::Result<Vec<u8>> {
        let found = self.0.iter().find(|(own, _)| own == path);
        found
            .map(|(_, text)| text.clone().into_bytes())
            .ok_or_else(|| std::io::ErrorKind::NotFound.into())
    }
    fn exists(&self, path: &str) -> bool {
        self.is_dir(path) || self.0.iter().any(|(own, _)| own == path)
    }
    fn is_dir(&self, path: &str) -> bool {
        self.below(path).next().is_some()
    }
    fn list(&self, path: &str) -> std::io::Result<Vec<String>> {
        let names = self.below(path).map(|rest| rest.split('/').next().unwrap().to_owned());
        Ok(names.collect::<std::collections::BTreeSet<_>>().into_iter().collect())
    }
    fn absolute(&self, path: &str) -> String {
        format!("/{path}")
    }
    fn env(&self, _: &str) -> Option<String> {
        None
    }
    fn pipe(&self, _: &str) -> std::io::Result<Vec<u8>> {
        Err(std::io::Error::other("no commands here"))
    }
    fn create(&self, _: &str, _: &[u8]) -> std::io::Result<()> {
        Err(std::io::Error::other("nothing is written here"))
    }
}
