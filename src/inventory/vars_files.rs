//! `group_vars` and `host_vars` beside the sources of the inventory and beside the playbook.

use super::layers::{Layer, Level, Vars};
use super::{Inventory, paths};
use crate::diagnostic::{Code, Diagnostic, SourceMap, Span, similar_name};
use crate::language::{Files, Node, yaml};
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

/// What may follow the name of a group or host, in the order of preference: only the first that exists is read.
const EXTENSIONS: [&str; 4] = ["", ".yml", ".yaml", ".json"];

/// The variables in `group_vars` and `host_vars` of some directories, the later of which win.
#[derive(Debug, Default)]
pub struct Adjacent {
    dirs: Vec<Arc<DirVars>>,
}

#[derive(Debug)]
struct DirVars {
    /// As an absolute path.
    dir: String,
    groups: HashMap<String, Vec<FileVars>>,
    hosts: HashMap<String, Vec<FileVars>>,
}

#[derive(Debug)]
struct FileVars {
    path: Arc<str>,
    vars: Vars,
}

impl Adjacent {
    /// Reads what is there for the groups and hosts of `inventory` in each of `dirs`, of which one that stands
    /// twice counts where it stands last. What was read beside the inventory is not read again: one mistake, one
    /// diagnostic.
    pub fn load(
        inventory: &Inventory,
        dirs: &[String],
        files: &dyn Files,
        map: &SourceMap,
    ) -> (Adjacent, Vec<Diagnostic>) {
        let mut reader = Reader {
            files,
            map,
            listings: HashMap::new(),
            diagnostics: Vec::new(),
        };
        let mut read: Vec<Arc<DirVars>> = Vec::new();
        for path in dirs.iter().rev() {
            let dir = files.absolute(if path.is_empty() { "." } else { path });
            if read.iter().any(|d| d.dir == dir) {
                continue;
            }
            let known = inventory.adjacent.dirs.iter().find(|d| d.dir == dir);
            read.push(
                known
                    .cloned()
                    .unwrap_or_else(|| Arc::new(reader.dir(path, dir, inventory))),
            );
        }
        read.reverse();
        (Adjacent { dirs: read }, reader.diagnostics)
    }

    /// Directory by directory, in each the groups in the order given.
    pub(super) fn groups<'a>(
        &'a self,
        names: impl IntoIterator<Item = &'a str> + Clone,
        level: Level,
    ) -> impl Iterator<Item = Layer> {
        self.dirs.iter().flat_map(move |dir| {
            let files = names.clone().into_iter().filter_map(|name| dir.groups.get(name));
            files.flatten().map(move |file| file.layer(level))
        })
    }

    pub(super) fn host<'a>(&'a self, name: &'a str, level: Level) -> impl Iterator<Item = Layer> {
        let files = self.dirs.iter().filter_map(move |dir| dir.hosts.get(name));
        files.flatten().map(move |file| file.layer(level))
    }
}

impl FileVars {
    fn layer(&self, level: Level) -> Layer {
        Layer::new(level, Arc::clone(&self.path), Arc::clone(&self.vars))
    }
}

struct Reader<'a> {
    files: &'a dyn Files,
    map: &'a SourceMap,
    /// Names in each directory looked into: thousands of hosts must not be as many questions to the disk.
    listings: HashMap<String, BTreeSet<String>>,
    diagnostics: Vec<Diagnostic>,
}

impl Reader<'_> {
    fn dir(&mut self, path: &str, dir: String, inventory: &Inventory) -> DirVars {
        let names: Vec<&str> = inventory.groups.keys().map(String::as_str).collect();
        let group_vars = paths::join(path, "group_vars");
        let groups = self.all(&group_vars, names.iter().copied());
        self.misnamed(&group_vars, &names);
        let hosts = self.all(
            &paths::join(path, "host_vars"),
            inventory.names_of_hosts_and_localhost(),
        );
        DirVars { dir, groups, hosts }
    }

    /// A file for no group may be for the group of another inventory, but hardly if it is called almost as a group
    /// that has none.
    fn misnamed(&mut self, dir: &str, groups: &[&str]) {
        let Some(listing) = self.listings.get(dir) else { return };
        let stem = |name: &str| {
            EXTENSIONS
                .iter()
                .rev()
                .find_map(|ext| Some(name.strip_suffix(ext)?.to_owned()))
        };
        let stems: BTreeSet<String> = listing.iter().filter_map(|name| stem(name)).collect();
        for name in listing
            .iter()
            .filter(|name| !name.starts_with('.') && !name.ends_with('~'))
        {
            let Some(own) = stem(name).filter(|own| !groups.contains(&own.as_str())) else {
                continue;
            };
            let without = groups.iter().copied().filter(|group| !stems.contains(*group));
            if let Some(similar) = similar_name(&own, without) {
                self.diagnostics.push(
                    Diagnostic::warning(Code::INVENTORY, format!("`{}` is not read", paths::join(dir, name)))
                        .note(format!("there is no group `{own}`"))
                        .help(format!("there is a group with a similar name: `{similar}`")),
                );
            }
        }
    }

    fn all<'n>(&mut self, dir: &str, names: impl Iterator<Item = &'n str>) -> HashMap<String, Vec<FileVars>> {
        let mut found = HashMap::new();
        if !self.files.is_dir(dir) {
            return found;
        }
        // A host may be called `/path/to/chroot`, which has no variables here.
        for name in names.filter(|name| !name.starts_with('/')) {
            let vars: Vec<FileVars> = self
                .paths(dir, name)
                .into_iter()
                .filter_map(|path| {
                    let vars = read_vars(&path, self.files, self.map, &mut self.diagnostics)?;
                    let (path, vars) = (path.into(), Arc::new(vars));
                    Some(FileVars { path, vars })
                })
                .collect();
            if !vars.is_empty() {
                found.insert(name.to_owned(), vars);
            }
        }
        found
    }

    fn paths(&mut self, dir: &str, name: &str) -> Vec<String> {
        let path = paths::join(dir, name);
        let (parent, base) = path.rsplit_once('/').unwrap_or(("", &path));
        let files = self.files;
        let listing = self
            .listings
            .entry(parent.to_owned())
            .or_insert_with(|| files.list(parent).unwrap_or_default().into_iter().collect());
        let mut found = EXTENSIONS
            .iter()
            .filter(|ext| listing.contains(&format!("{base}{ext}")));
        let Some(first) = found.next() else {
            return Vec::new();
        };
        let chosen = format!("{path}{first}");
        if let Some(other) = found.next() {
            self.diagnostics.push(
                Diagnostic::warning(Code::INVENTORY, format!("`{path}{other}` is not read")).note(format!(
                    "only the first of several is read, and there is `{chosen}` too"
                )),
            );
        }
        if files.is_dir(&chosen) {
            let mut found = Vec::new();
            self.walk(&chosen, &mut found);
            found
        } else {
            vec![chosen]
        }
    }

    /// Files of a directory and those below it, sorted by name: no hidden ones, no backups, no other extensions.
    fn walk(&self, dir: &str, found: &mut Vec<String>) {
        let mut names = self.files.list(dir).unwrap_or_default();
        names.sort();
        for name in names {
            if name.starts_with('.') || name.ends_with('~') {
                continue;
            }
            let extension = name.rfind('.').map_or("", |at| &name[at..]);
            let path = paths::join(dir, &name);
            if self.files.is_dir(&path) {
                if extension.is_empty() {
                    self.walk(&path, found);
                }
            } else if EXTENSIONS.contains(&extension) {
                found.push(path);
            }
        }
    }
}

/// The variables of a YAML or JSON file (of `group_vars`, of `vars_files`, of `-e @FILE`...), none if it is empty.
/// `None`, with a diagnostic, if it cannot be read.
pub fn read_vars(
    path: &str,
    files: &dyn Files,
    map: &SourceMap,
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<Vec<(String, Arc<Node>)>> {
    let text = match paths::read_text(files, path) {
        Ok(text) => text,
        Err(diagnostic) => {
            diagnostics.push(*diagnostic);
            return None;
        }
    };
    let file = map.add(path, text);
    let text = map.get(file)?;
    if text.text.starts_with("$ANSIBLE_VAULT;") {
        let first_line = Span::new(file, 0, text.text.find('\n').unwrap_or(text.text.len()));
        diagnostics.push(
            Diagnostic::error(Code::NOT_SUPPORTED, "vault-encrypted files are not supported yet")
                .at(first_line, "this file is encrypted"),
        );
        return None;
    }
    let (documents, problems) = yaml::parse(map, file);
    let broken = problems.iter().any(Diagnostic::is_error);
    diagnostics.extend(problems);
    if let Some(second) = documents.get(1) {
        diagnostics.push(
            Diagnostic::error(Code::SHAPE, "a file of variables must be a single YAML document")
                .at(second.span, "a second document"),
        );
        return None;
    }
    let document = match documents.into_iter().next() {
        Some(document) => document,
        None if broken => return None,
        None => return Some(Vec::new()),
    };
    match document.yaml {
        crate::language::Yaml::Map(mapping) => {
            let vars = mapping.entries.into_iter().map(|e| (e.key, Arc::new(e.value)));
            Some(vars.collect())
        }
        crate::language::Yaml::Null => Some(Vec::new()),
        _ if broken => None,
        _ => {
            diagnostics.push(
                Diagnostic::error(Code::SHAPE, "a file of variables must be a mapping of names to values")
                    .at(document.span, format!("this is {}", document.kind())),
            );
            None
        }
    }
}
