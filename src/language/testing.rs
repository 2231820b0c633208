//! A controller's disk in memory and a few modules, for tests.

use super::load::{Include, Modules, load_included_with, load_with};
use super::{Files, Item, Play, Program, Task};
use crate::diagnostic::{Diagnostic, RenderOptions, SourceMap, render_all};
use crate::modules::{ArgKind, ArgSpec, Kind, ModuleSpec, no_guess};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{Error, ErrorKind};
use std::sync::Arc;

/// Files by path; directories are what stands before a `/`.
#[derive(Default)]
pub struct Memory(pub BTreeMap<String, Vec<u8>>);

impl Memory {
    pub fn new(files: &[(&str, &str)]) -> Self {
        Memory(
            files
                .iter()
                .map(|(path, text)| ((*path).to_owned(), text.as_bytes().to_vec()))
                .collect(),
        )
    }
}

impl Files for Memory {
    fn read(&self, path: &str) -> std::io::Result<Vec<u8>> {
        let path = self.absolute(path);
        self.0
            .get(path.as_str())
            .cloned()
            .ok_or_else(|| Error::from(ErrorKind::NotFound))
    }
    fn exists(&self, path: &str) -> bool {
        self.0.contains_key(&self.absolute(path)) || self.is_dir(path)
    }
    fn is_dir(&self, path: &str) -> bool {
        let prefix = format!("{}/", self.absolute(path));
        self.0.keys().any(|k| k.starts_with(&prefix))
    }
    fn list(&self, path: &str) -> std::io::Result<Vec<String>> {
        let prefix = format!("{}/", self.absolute(path));
        let names: BTreeSet<String> = self
            .0
            .keys()
            .filter_map(|k| k.strip_prefix(&prefix))
            .filter_map(|rest| rest.split('/').next().map(str::to_owned))
            .collect();
        if names.is_empty() {
            return Err(Error::from(ErrorKind::NotFound));
        }
        Ok(names.into_iter().collect())
    }
    fn absolute(&self, path: &str) -> String {
        let mut parts: Vec<&str> = Vec::new();
        for part in path.split('/') {
            match part {
                "" | "." => {}
                ".." => drop(parts.pop()),
                part => parts.push(part),
            }
        }
        parts.join("/")
    }
    fn env(&self, _: &str) -> Option<String> {
        None
    }
    fn pipe(&self, _: &str) -> std::io::Result<Vec<u8>> {
        Err(Error::from(ErrorKind::Unsupported))
    }
    fn create(&self, _: &str, _: &[u8]) -> std::io::Result<()> {
        Err(Error::from(ErrorKind::Unsupported))
    }
}

/// A module of tests. Not the registered ones: their arguments grow, and with them the texts of messages.
const fn module(
    name: &'static str,
    aliases: &'static [&'static str],
    args: &'static [ArgSpec],
    free_form: Option<&'static str>,
    open: bool,
) -> ModuleSpec {
    ModuleSpec {
        name,
        aliases,
        summary: "",
        description: "",
        args,
        free_form,
        open,
        returns: &[],
        examples: "",
        local: true,
        kind: Kind::Control,
        ahead: no_guess,
    }
}

static SYSCTL: ModuleSpec = module(
    "sysctl",
    &["ansible.posix.sysctl"],
    &[
        ArgSpec::new("name", ArgKind::Str, "the key")
            .required()
            .aliases(&["key"]),
        ArgSpec::new("value", ArgKind::Str, "what it shall be").aliases(&["val"]),
        ArgSpec::new("state", ArgKind::Str, "whether it is set")
            .default("present")
            .choices(&["present", "absent"]),
        ArgSpec::new("reload", ArgKind::Bool, "read the file again").default("true"),
        ArgSpec::new("retries", ArgKind::Int, "how often"),
        ArgSpec::new("mode", ArgKind::Mode, "of the file"),
    ],
    None,
    false,
);
static COMMAND: ModuleSpec = module(
    "command",
    &[],
    &[
        ArgSpec::new("cmd", ArgKind::Str, "the command line"),
        ArgSpec::new("argv", ArgKind::List, "the command as a list"),
        ArgSpec::new("chdir", ArgKind::Path, "where"),
        ArgSpec::new("creates", ArgKind::Path, "not if this exists"),
    ],
    Some("cmd"),
    false,
);
static DEBUG: ModuleSpec = module(
    "debug",
    &[],
    &[
        ArgSpec::new("msg", ArgKind::Raw, "what to say").default("Hello world!"),
        ArgSpec::new("var", ArgKind::Str, "what to show"),
    ],
    None,
    false,
);
static SET_FACT: ModuleSpec = module("set_fact", &[], &[], None, true);
static META: ModuleSpec = module(
    "meta",
    &[],
    &[ArgSpec::new("action", ArgKind::Str, "what").required()],
    Some("action"),
    false,
);
static INCLUDE_TASKS: ModuleSpec = module(
    "include_tasks",
    &[],
    &[
        ArgSpec::new("file", ArgKind::Str, "the file").required(),
        ArgSpec::new("apply", ArgKind::Dict, "keywords for its tasks"),
    ],
    Some("file"),
    false,
);
static PING: ModuleSpec = module("ping", &[], &[], None, false);

static ALL: &[&ModuleSpec] = &[&SYSCTL, &COMMAND, &DEBUG, &SET_FACT, &META, &INCLUDE_TASKS, &PING];

pub const MODULES: Modules = Modules {
    find: |name| {
        let short = super::load::short(name);
        ALL.iter()
            .find(|m| m.name == short || m.aliases.contains(&name))
            .copied()
    },
    all: || ALL,
};

pub const PLAIN: RenderOptions = RenderOptions {
    color: false,
    width: 120,
};

/// Loads `site.yml` of the files.
pub fn load(files: &[(&str, &str)]) -> (SourceMap, Program, Vec<Diagnostic>) {
    let sources = SourceMap::default();
    let memory = Memory::new(files);
    let (program, diagnostics) = load_with(
        MODULES,
        &["site.yml".to_owned()],
        &memory,
        &sources,
        &["shared/roles".to_owned()],
    );
    (sources, program, diagnostics)
}

/// What is wrong with the files, as a person sees it.
pub fn errors_of(files: &[(&str, &str)]) -> String {
    let (sources, _, mut diagnostics) = load(files);
    render_all(&sources, &mut diagnostics, PLAIN)
}

/// The same for one playbook.
pub fn errors(playbook: &str) -> String {
    errors_of(&[("site.yml", playbook)])
}

/// The same for the tasks of a play.
pub fn task_errors(tasks: &str) -> String {
    let indented: String = tasks.lines().map(|l| format!("    {l}\n")).collect();
    errors(&format!("- hosts: all\n  tasks:\n{indented}"))
}

/// The plays of files that are right.
pub fn plays(files: &[(&str, &str)]) -> Vec<Arc<Play>> {
    let (sources, program, mut diagnostics) = load(files);
    assert!(
        diagnostics.is_empty(),
        "{}",
        render_all(&sources, &mut diagnostics, PLAIN)
    );
    program.plays
}

/// The one play of files that are right.
pub fn play(files: &[(&str, &str)]) -> Arc<Play> {
    plays(files).remove(0)
}

/// The tasks of a play that is right.
pub fn tasks(tasks: &str) -> Vec<Arc<Task>> {
    let indented: String = tasks.lines().map(|l| format!("    {l}\n")).collect();
    let play = play(&[("site.yml", &format!("- hosts: all\n  tasks:\n{indented}"))]);
    all(&play.tasks)
}

pub fn all(items: &[Item]) -> Vec<Arc<Task>> {
    super::play::tasks_of(items).into_iter().cloned().collect()
}

pub fn include(files: &[(&str, &str)], sources: &SourceMap, include: Include<'_>) -> (Vec<Item>, String) {
    let (items, mut diagnostics) = load_included_with(MODULES, include, &Memory::new(files), sources, &[]);
    let text = render_all(sources, &mut diagnostics, PLAIN);
    (items, text)
}

/// A task in one line: what it is called and what it inherits.
pub fn brief(task: &Task) -> String {
    let mut parts = vec![match &task.name {
        Some(name) => format!("{} {}", task.module, super::shape::plain(name)),
        None => format!("{} {}", task.module, task.args.to_value()),
    }];
    let list = |what: &str, values: Vec<String>| (!values.is_empty()).then(|| format!("{what}={}", values.join(" & ")));
    let every = |f: fn(&super::Common) -> &Vec<super::Node>| -> Vec<String> {
        task.chain.iter().flat_map(|c| f(c)).map(super::shape::plain).collect()
    };
    parts.extend(list("when", every(|c| &c.when)));
    parts.extend(list("tags", every(|c| &c.tags)));
    let vars = task.chain.iter().flat_map(|c| &c.vars);
    parts.extend(list(
        "vars",
        vars.map(|(k, v)| format!("{k}:{}", v.to_value())).collect(),
    ));
    if let Some(node) = task.inherited(|c| c.become_.as_ref()) {
        parts.push(format!("become={}", node.to_value()));
    }
    parts.extend(list("notify", task.notify.iter().map(super::shape::plain).collect()));
    if let Some(role) = &task.role {
        parts.push(format!("role={}", role.name));
    }
    parts.push(format!("in {}", task.file));
    parts.join(" | ")
}
