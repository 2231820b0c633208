//! PURE. Ansible's inventories: which hosts there are, the groups they are in, the variables of both, and the
//! patterns that choose among them. Reading files is a [`Files`] given by the caller.
//!
//! ```text
//! -i SOURCE ... → ini | yaml | list → Draft (graph) → Inventory → select (pattern), host_layers (layers), list_json (export)
//!                                      group_vars, host_vars (vars_files) ↗
//! ```
//!
//! Everything is as ansible-core 2.19 does it, save that what Ansible only warns of (a source that is missing or
//! cannot be read, a pattern that matches nothing) is an error.

#![deny(clippy::disallowed_methods)]

mod address;
mod connection;
mod export;
mod graph;
mod ini;
mod layers;
mod literal;
mod paths;
mod pattern;
mod vars_files;
mod words;
mod yaml;

pub use connection::{BadVariable, ConnectionVars};
pub use layers::{Layer, Level, Vars};
pub use pattern::{Limit, Order, Pattern};
pub use vars_files::{Adjacent, read_vars};

use crate::diagnostic::{Code, Diagnostic, SourceMap, Span};
use crate::language::{Files, Node, Yaml};
use graph::{Draft, Group, Host, LOCALHOST, Origin};
use indexmap::IndexMap;
use std::sync::Arc;

/// `inventory_hostname`.
pub type HostName = Arc<str>;

/// The hosts and groups of all sources, and what is defined beside them.
#[derive(Debug)]
pub struct Inventory {
    groups: IndexMap<String, Group>,
    hosts: IndexMap<HostName, Host>,
    /// Ansible's magic variable `groups`.
    members: Arc<IndexMap<String, Vec<HostName>>>,
    adjacent: Adjacent,
    /// Where the variables of the implicit localhost come from, for `--explain`.
    implicit: Option<Span>,
}

/// Names in a directory that are not inventories: hidden ones, these, and those that end in one of these.
const IGNORED_NAMES: [&str; 3] = ["host_vars", "group_vars", "vars_plugins"];
const IGNORED_ENDINGS: [&str; 12] = [
    ".pyc", ".pyo", ".swp", ".bak", "~", ".rpm", ".md", ".txt", ".rst", ".orig", ".cfg", ".retry",
];

impl Inventory {
    /// Reads the sources (each the argument of an `-i`: a file, a directory, or a list of hosts with a comma), the
    /// later ones winning, then `group_vars` and `host_vars` beside them. What could be read is returned even if
    /// there are errors; all of them are.
    pub fn load(sources: &[String], files: &dyn Files, map: &SourceMap) -> (Inventory, Vec<Diagnostic>) {
        let mut loader = Loader {
            draft: Draft::new(),
            files,
            map,
            read: 0,
            diagnostics: Vec::new(),
        };
        let mut dirs = Vec::new();
        for source in sources {
            if source.contains(',') && !files.exists(source) {
                loader.list(source);
                continue;
            }
            if !files.exists(source) {
                let missing = Diagnostic::error(Code::NO_MATCH, format!("there is no inventory `{source}`"));
                loader.diagnostics.push(missing.help(format!(
                    "to give a host by name, write a comma behind it: `-i {source},`"
                )));
                continue;
            }
            let dir = if files.is_dir(source) {
                source
            } else {
                paths::parent(source)
            };
            dirs.push(dir.to_owned());
            let before = loader.read;
            loader.path(source);
            if loader.read == before && files.is_dir(source) {
                let message = format!("there is no inventory in the directory `{source}`");
                loader.diagnostics.push(Diagnostic::error(Code::NO_MATCH, message));
            }
        }
        let Loader {
            draft, mut diagnostics, ..
        } = loader;
        let mut inventory = draft.finish();
        inventory.implicit = Some(implicit_span(map));
        let (adjacent, problems) = Adjacent::load(&inventory, &dirs, files, map);
        inventory.adjacent = adjacent;
        diagnostics.extend(problems);
        (inventory, diagnostics)
    }

    fn assemble(
        groups: IndexMap<String, Group>,
        hosts: IndexMap<HostName, Host>,
        members: IndexMap<String, Vec<HostName>>,
    ) -> Inventory {
        Inventory {
            groups,
            hosts,
            members: Arc::new(members),
            adjacent: Adjacent::default(),
            implicit: None,
        }
    }

    /// All hosts, in the order of the magic variable `groups['all']`: the order of `hosts: all`.
    pub fn hosts(&self) -> &[HostName] {
        self.members.get("all").map_or(&[], Vec::as_slice)
    }

    pub fn contains(&self, host: &str) -> bool {
        self.hosts.contains_key(host)
    }

    /// Whether it is the controller that stands in no inventory: see [`Self::host_layers`].
    pub fn is_implicit(&self, host: &str) -> bool {
        !self.contains(host) && LOCALHOST.contains(&host)
    }

    /// The magic variable `groups`: every group, in the order first seen, with its hosts and those of the groups
    /// below it.
    pub fn groups(&self) -> &Arc<IndexMap<String, Vec<HostName>>> {
        &self.members
    }

    /// The magic variable `group_names`: sorted, with all groups above, without `all`. Empty for an unknown host.
    pub fn group_names(&self, host: &str) -> Vec<&str> {
        let chain = self.hosts.get(host).map(|h| &*h.chain).unwrap_or_default();
        let mut names: Vec<&str> = chain
            .iter()
            .filter_map(|g| Some(self.groups.get_index(*g)?.0.as_str()))
            .collect();
        names.sort_unstable();
        names
    }

    /// The magic variable `inventory_file`: the absolute path of the source the host was first seen in.
    pub fn inventory_file(&self, host: &str) -> Option<&str> {
        self.hosts.get(host).map(|h| h.origin.file.as_str())
    }

    /// The magic variable `inventory_dir`: none for a list of hosts.
    pub fn inventory_dir(&self, host: &str) -> Option<&str> {
        self.hosts.get(host).and_then(|h| h.origin.dir.as_deref())
    }

    /// The magic variable `inventory_hostname_short`.
    pub fn short_name(host: &str) -> &str {
        if address::is_ip(host) {
            host
        } else {
            host.split_once('.').map_or(host, |(short, _)| short)
        }
    }

    fn names_of_hosts_and_localhost(&self) -> impl Iterator<Item = &str> {
        let implicit = LOCALHOST.into_iter().filter(|name| !self.contains(name));
        self.hosts.keys().map(|name| &**name).chain(implicit)
    }

    /// What Ansible gives the implicit localhost; its Python interpreter has no meaning here.
    fn implicit_layer(&self, host: &str) -> Option<Layer> {
        let span = self.implicit.filter(|_| LOCALHOST.contains(&host))?;
        let local = Arc::new(Node::str(span, "local"));
        let vars = Arc::new(vec![("ansible_connection".to_owned(), local)]);
        Some(Layer::new(Level::InventoryHost, "implicit localhost", vars))
    }
}

fn implicit_span(map: &SourceMap) -> Span {
    let text = "ansible_connection: local";
    let file = map.add("<implicit localhost>", text);
    Span::new(file, text.len() - "local".len(), text.len())
}

struct Loader<'a> {
    draft: Draft,
    files: &'a dyn Files,
    map: &'a SourceMap,
    /// How many files were taken for inventories.
    read: usize,
    diagnostics: Vec<Diagnostic>,
}

impl Loader<'_> {
    /// `-i host1,host2:2222,`: names are taken as they are, without ranges.
    fn list(&mut self, source: &str) {
        let file = self.map.add("<list of hosts>", source);
        let origin = Arc::new(Origin {
            file: source.to_owned(),
            dir: None,
        });
        let mut start = 0;
        for item in source.split(',') {
            let name = item.trim();
            let at = start + (item.len() - item.trim_start().len());
            start += item.len() + 1;
            if name.is_empty() {
                continue;
            }
            let (host, port) = match address::parse(name).filter(|a| !a.host.contains('[')) {
                Some(address) => (address.host, address.port),
                None => (name, None),
            };
            // A host that is known already stays in its groups only.
            if !self.draft.hosts.contains_key(host) {
                let span = Span::new(file, at, at + name.len());
                self.draft
                    .host(host, graph::UNGROUPED, port.map(|p| (p, span)), &origin);
            }
        }
    }

    fn path(&mut self, path: &str) {
        if !self.files.is_dir(path) {
            return self.file(path);
        }
        let mut names = match self.files.list(path) {
            Ok(names) => names,
            Err(e) => {
                let error = Diagnostic::error(Code::FILE, format!("cannot read directory `{path}`"));
                return self.diagnostics.push(error.note(e.to_string()));
            }
        };
        names.sort();
        for name in names {
            let ignored = name.starts_with('.')
                || IGNORED_NAMES.contains(&name.as_str())
                || IGNORED_ENDINGS.iter().any(|ending| name.ends_with(ending));
            if !ignored {
                self.path(&paths::join(path, &name));
            }
        }
    }

    fn file(&mut self, path: &str) {
        self.read += 1;
        let text = match paths::read_text(self.files, path) {
            Ok(text) => text,
            Err(diagnostic) => return self.diagnostics.push(*diagnostic),
        };
        let full = paths::absolute(self.files, path);
        let origin = Arc::new(Origin {
            dir: Some(paths::parent(&full).to_owned()),
            file: full,
        });
        let name = path.rsplit('/').next().unwrap_or(path);
        let extension = name.rfind('.').filter(|at| *at > 0).map_or("", |at| &name[at..]);
        let file = self.map.add(path, text);
        let Some(source) = self.map.get(file) else { return };
        let text = &source.text;
        let whole = Span::new(file, 0, text.lines().next().unwrap_or_default().len());
        if text.starts_with("#!") {
            return self.unsupported("inventory scripts are", whole);
        }
        if text.starts_with("$ANSIBLE_VAULT;") {
            return self.unsupported("vault-encrypted inventories are", whole);
        }
        match extension {
            ".toml" => return self.unsupported("TOML inventories are", whole),
            ".yml" | ".yaml" | ".json" | "" => {}
            _ => return ini::read(&mut self.draft, file, text, &origin, &mut self.diagnostics),
        }
        let (documents, problems) = crate::language::yaml::parse(self.map, file);
        let broken = problems.iter().any(Diagnostic::is_error);
        // Without an extension it may be either; Ansible tries YAML first.
        let mapping = matches!(documents.as_slice(), [one] if one.as_map().is_some());
        if extension.is_empty() && (broken || !mapping) && !looks_like_yaml(text) {
            return ini::read(&mut self.draft, file, text, &origin, &mut self.diagnostics);
        }
        self.diagnostics.extend(problems);
        if let Some(second) = documents.get(1) {
            let error = Diagnostic::error(Code::INVENTORY, "an inventory must be a single YAML document");
            return self.diagnostics.push(error.at(second.span, "a second document"));
        }
        let Some(top) = documents.first() else { return };
        match &top.yaml {
            Yaml::Map(mapping) => {
                if let Some(plugin) = mapping.entry("plugin").filter(|e| !e.value.is_null()) {
                    let name = plugin.value.as_str().unwrap_or_default().to_owned();
                    return self.unsupported(
                        &format!("inventory plugins such as `{name}` are"),
                        plugin.key_span.to(plugin.value.span),
                    );
                }
                yaml::read(&mut self.draft, mapping, &origin, &mut self.diagnostics);
            }
            Yaml::Null => {}
            _ if broken => {}
            _ => {
                let error = Diagnostic::error(Code::INVENTORY, "a YAML inventory must be a mapping of groups");
                let error = error.at(top.span, format!("this is {}", top.kind()));
                self.diagnostics.push(match &top.yaml {
                    Yaml::Str(_) | Yaml::Seq(_) => error.note(format!(
                        "files ending in `{extension}` are read as YAML; an INI inventory needs another name"
                    )),
                    _ => error,
                });
            }
        }
    }

    fn unsupported(&mut self, what: &str, span: Span) {
        let error = Diagnostic::error(Code::NOT_SUPPORTED, format!("{what} not supported yet")).at(span, "");
        self.diagnostics
            .push(error.note("supported are INI, YAML and JSON files, directories of them, and lists of hosts"));
    }
}

/// No line of an INI inventory can be `---` or end in `:`.
fn looks_like_yaml(text: &str) -> bool {
    let mut lines = text
        .lines()
        .map(str::trim)
        .filter(|l| !l.is_empty() && !l.starts_with('#'));
    lines.next().is_some_and(|line| line == "---" || line.ends_with(':'))
}
