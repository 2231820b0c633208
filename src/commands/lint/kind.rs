//! What a file is: its place tells, then its name, then its content.

use crate::diagnostic::{Code, Diagnostic, Severity, SourceMap};
use crate::language::{Files, Node, Yaml, yaml};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Playbook,
    Role,
    Tasks,
    Inventory,
    Variables,
    Template,
    Configuration,
    Broker(BrokerFile),
}

/// Files that RabbitMQ reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum BrokerFile {
    /// Keys and values: rabbitmq.conf and what stands in conf.d
    #[value(name = "rabbitmq.conf")]
    Conf,
    /// Erlang's terms
    #[value(name = "advanced.config")]
    Advanced,
    /// Variables
    #[value(name = "rabbitmq-env.conf")]
    Env,
}

impl Kind {
    pub const ALL: [Kind; 10] = [
        Kind::Playbook,
        Kind::Role,
        Kind::Tasks,
        Kind::Inventory,
        Kind::Variables,
        Kind::Template,
        Kind::Configuration,
        Kind::Broker(BrokerFile::Conf),
        Kind::Broker(BrokerFile::Advanced),
        Kind::Broker(BrokerFile::Env),
    ];

    pub fn name(self) -> &'static str {
        match self {
            Kind::Playbook => "playbook",
            Kind::Role => "role",
            Kind::Tasks => "tasks file",
            Kind::Inventory => "inventory",
            Kind::Variables => "variables file",
            Kind::Template => "template",
            Kind::Configuration => "configuration",
            Kind::Broker(BrokerFile::Conf) => "rabbitmq.conf",
            Kind::Broker(BrokerFile::Advanced) => "advanced.config",
            Kind::Broker(BrokerFile::Env) => "rabbitmq-env.conf",
        }
    }
}

/// Something to check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    pub path: String,
    pub kind: Kind,
}

/// Everything below `paths` that can be checked, in the order given and then by name. `as_kind`: what the files named in
/// `paths` are, whatever their names.
pub fn find(paths: &[String], as_kind: Option<Kind>, files: &dyn Files, out: &mut Vec<Diagnostic>) -> Vec<Found> {
    let mut walk = Walk {
        files,
        found: Vec::new(),
    };
    for path in paths {
        let path = match path.trim_end_matches('/') {
            "" => "/",
            path => path,
        };
        if !files.exists(path) {
            out.push(Diagnostic::error(Code::FILE, format!("there is no `{path}`")));
        } else if files.is_dir(path) {
            walk.directory(path);
        } else {
            match as_kind.or_else(|| walk.file(path)) {
                Some(kind) => walk.add(path, kind),
                None => out.push(
                    Diagnostic::error(Code::USAGE, format!("it cannot be told what `{path}` is"))
                        .note("playbooks and files of tasks are lists, inventories stand below `inventories/`, templates end in `.j2`")
                        .help("of a file of RabbitMQ's with another name, `--kind` tells what it is"),
                ),
            }
        }
    }
    walk.found
}

struct Walk<'a> {
    files: &'a dyn Files,
    found: Vec<Found>,
}

/// The parts of a role that hold a `main.yml`.
const ROLE_PARTS: [&str; 5] = ["tasks", "handlers", "defaults", "vars", "meta"];
/// Directories that hold nothing to check.
const PASSED_OVER: [&str; 5] = ["target", "node_modules", "__pycache__", "files", "molecule"];

impl Walk<'_> {
    fn add(&mut self, path: &str, kind: Kind) {
        let found = Found {
            path: path.to_owned(),
            kind,
        };
        if !self.found.contains(&found) {
            self.found.push(found);
        }
    }

    fn directory(&mut self, path: &str) {
        if self.is_role(path) {
            self.add(path, Kind::Role);
            // What is included while a play runs is not read with the role.
            let tasks = join(path, "tasks");
            for name in self.names(&tasks) {
                let main = name == "main.yml" || name == "main.yaml";
                if !main && [".yml", ".yaml"].iter().any(|end| name.ends_with(end)) {
                    self.add(&join(&tasks, &name), Kind::Tasks);
                }
            }
            self.broker_files(&join(path, "files"));
            return self.templates(path);
        }
        let names = self.names(path);
        // A directory of inventory sources is read as one, with its variables; one that only holds such is not.
        let hosts = |n: &String| !self.files.is_dir(&join(path, n)) && is_source(n);
        if below_inventories(path) && last(path) != "inventories" && names.iter().any(hosts) {
            return self.add(path, Kind::Inventory);
        }
        for name in names {
            let inner = join(path, &name);
            if self.files.is_dir(&inner) {
                if name == "files" {
                    self.broker_files(&inner);
                } else if !PASSED_OVER.contains(&name.as_str()) {
                    self.directory(&inner);
                }
            } else if let Some(kind) = self.file(&inner) {
                self.add(&inner, kind);
            }
        }
    }

    /// Entries that are not hidden.
    fn names(&self, path: &str) -> Vec<String> {
        let names = self.files.list(path).unwrap_or_default();
        names.into_iter().filter(|n| !n.starts_with('.')).collect()
    }

    /// The templates below a role.
    fn templates(&mut self, path: &str) {
        for name in self.names(path) {
            let inner = join(path, &name);
            if self.files.is_dir(&inner) {
                self.templates(&inner);
            } else if name.ends_with(".j2") {
                self.add(&inner, Kind::Template);
            }
        }
    }

    /// Among files to be copied, what is known by its name.
    fn broker_files(&mut self, path: &str) {
        for name in self.names(path) {
            let inner = join(path, &name);
            if self.files.is_dir(&inner) {
                self.broker_files(&inner);
            } else if let Some(kind) = self.broker_file(&inner) {
                self.add(&inner, kind);
            }
        }
    }

    fn broker_file(&self, path: &str) -> Option<Kind> {
        let kind = match last(path) {
            "rabbitmq.conf" => BrokerFile::Conf,
            // The classic format of everything, still read.
            "advanced.config" | "rabbitmq.config" => BrokerFile::Advanced,
            "rabbitmq-env.conf" => BrokerFile::Env,
            name => {
                // Other programs have a conf.d too.
                let (directory, above) = (parent(path), parent(parent(path)));
                let ours = last(above) == "rabbitmq" || self.files.exists(&join(above, "rabbitmq.conf"));
                if !(name.ends_with(".conf") && last(directory) == "conf.d" && ours) {
                    return None;
                }
                BrokerFile::Conf
            }
        };
        Some(Kind::Broker(kind))
    }

    fn is_role(&self, path: &str) -> bool {
        ROLE_PARTS.iter().any(|part| {
            ["main.yml", "main.yaml"]
                .iter()
                .any(|main| self.files.exists(&format!("{path}/{part}/{main}")))
        })
    }

    fn file(&self, path: &str) -> Option<Kind> {
        let name = last(path);
        let yaml = [".yml", ".yaml", ".json"].iter().any(|end| name.ends_with(end));
        if name == super::super::config::FILE_NAME {
            return Some(Kind::Configuration);
        }
        if name.ends_with(".j2") {
            return Some(Kind::Template);
        }
        if let Some(kind) = self.broker_file(path) {
            return Some(kind);
        }
        let parts: Vec<&str> = path.split('/').collect();
        if parts.iter().any(|p| *p == "group_vars" || *p == "host_vars") {
            return (yaml || !name.contains('.')).then_some(Kind::Variables);
        }
        if yaml {
            return self.content(path);
        }
        let inventory = name.ends_with(".ini") || name == "hosts" || (below_inventories(path) && is_source(name));
        inventory.then_some(Kind::Inventory)
    }

    /// A YAML file by its shape. One that cannot be read is taken for a playbook, so that its mistakes are told.
    fn content(&self, path: &str) -> Option<Kind> {
        let text = self.files.read(path).ok().and_then(|b| String::from_utf8(b).ok());
        let node = text.map(|text| {
            // A map of its own: whoever checks the file reads it again.
            let map = SourceMap::default();
            let file = map.add(path, text);
            let (documents, mistakes) = yaml::parse(&map, file);
            let broken = mistakes.iter().any(|d| d.severity == Severity::Error);
            match documents.into_iter().next() {
                None if broken => None,
                first => Some(first),
            }
        });
        let node = node.flatten();
        match node {
            _ if below_inventories(path) => Some(Kind::Inventory),
            Some(Some(Node {
                yaml: Yaml::Seq(items), ..
            })) => {
                let is_play = |n: &Node| {
                    let has = |key: &str| n.as_map().is_some_and(|m| m.get(key).is_some());
                    has("hosts") || has("import_playbook") || has("ansible.builtin.import_playbook")
                };
                Some(if items.is_empty() || items.iter().any(is_play) {
                    Kind::Playbook
                } else {
                    Kind::Tasks
                })
            }
            Some(Some(Node {
                yaml: Yaml::Map(mapping),
                ..
            })) => {
                let group = |n: &Node| {
                    n.as_map()
                        .is_some_and(|m| ["hosts", "children"].iter().any(|key| m.get(key).is_some()))
                };
                Some(if mapping.entries.iter().any(|e| group(&e.value)) {
                    Kind::Inventory
                } else {
                    Kind::Variables
                })
            }
            Some(None | Some(Node { yaml: Yaml::Null, .. })) => None,
            _ => Some(Kind::Playbook),
        }
    }
}

pub fn join(directory: &str, name: &str) -> String {
    match directory {
        "." => name.to_owned(),
        _ => format!("{}/{name}", directory.trim_end_matches('/')),
    }
}

/// The directory a path is in; `.` for a bare name.
pub fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or(".", |(parent, _)| parent)
}

pub fn last(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

fn below_inventories(path: &str) -> bool {
    path.split('/').any(|part| part == "inventories" || part == "inventory")
}

/// Whether a file in an inventory's directory is a source of hosts.
fn is_source(name: &str) -> bool {
    match name.rsplit_once('.') {
        None => !name.eq_ignore_ascii_case("readme"),
        Some((stem, extension)) => !stem.is_empty() && ["ini", "yml", "yaml", "json"].contains(&extension),
    }
}
