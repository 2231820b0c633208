//! What a task does: the one key of it that is a module.

use super::keywords::{self, Place, Standing};
use super::load::{Loader, Scope, short};
use crate::diagnostic::{Code, Diagnostic, similar_name};
use crate::language::{Entry, Mapping, Node};
use crate::modules::ModuleSpec;

/// The key of a task that says what it does.
pub(super) enum Action<'a> {
    Module(&'a Entry, &'static ModuleSpec),
    Import(&'a Entry),
}

impl Loader<'_> {
    /// Finds the one key that is a module; the others must be keywords.
    pub(super) fn action<'m>(&mut self, node: &Node, mapping: &'m Mapping, scope: &Scope) -> Option<Action<'m>> {
        let place = if scope.handlers { Place::Handler } else { Place::Task };
        let mut found: Vec<Action<'m>> = Vec::new();
        let mut not_yet: Vec<&Entry> = Vec::new();
        let mut unknown: Vec<&Entry> = Vec::new();
        for entry in &mapping.entries {
            let key = entry.key.as_str();
            if keywords::known(key, place) {
                continue;
            }
            let name = short(key);
            if name == "import_tasks" {
                found.push(Action::Import(entry));
            } else if let Some(spec) = (self.modules.find)(key) {
                found.push(Action::Module(entry, spec));
            } else if super::known_modules::exists(key) {
                not_yet.push(entry);
            } else if keywords::standing(key, place) == Standing::Unknown {
                unknown.push(entry);
            }
        }
        // Of several unknown keys the one that is least like a keyword was meant to be the module.
        if found.is_empty() && not_yet.is_empty() {
            let like_keyword = |e: &&Entry| similar_name(&e.key, keywords::supported(place)).is_some();
            let at = unknown.iter().position(|e| !like_keyword(e));
            let old_form = ["action", "local_action"].iter().any(|k| mapping.get(k).is_some());
            match at {
                Some(at) => {
                    let entry = unknown.remove(at);
                    self.out.push(self.unknown_module(entry));
                }
                // The keyword is refused as such.
                None if old_form => {
                    for entry in mapping.entries.iter().filter(|e| !unknown.contains(e)) {
                        keywords::check(entry, place, &mut self.out);
                    }
                }
                None => self
                    .out
                    .push(Diagnostic::error(Code::TASK_MODULE, "this task has no module").at(
                        mapping.entries.first().map_or(node.span, |e| e.key_span),
                        "says nothing to do",
                    )),
            }
        }
        for entry in &unknown {
            let modules = (self.modules.all)().iter().map(|m| m.name);
            self.out.push(keywords::unknown(entry, place, modules));
        }
        for entry in &not_yet {
            self.out.push(self.module_not_yet(entry));
        }
        let key_of = |action: &Action<'m>| match action {
            Action::Module(entry, _) | Action::Import(entry) => *entry,
        };
        let mut all: Vec<&Entry> = found.iter().map(key_of).chain(not_yet.iter().copied()).collect();
        all.sort_by_key(|e| e.key_span.start);
        if let [first, second, ..] = all.as_slice() {
            self.out.push(
                Diagnostic::error(
                    Code::TASK_MODULE,
                    format!("this task has two modules, `{}` and `{}`", first.key, second.key),
                )
                .at(second.key_span, "and a second here")
                .context(first.key_span, "a module here")
                .help("make it two tasks"),
            );
            return None;
        }
        found.pop()
    }

    fn module_not_yet(&self, entry: &Entry) -> Diagnostic {
        let diagnostic = keywords::not_supported(entry, &format!("module `{}`", entry.key));
        match similar_name(&entry.key, self.module_names()) {
            Some(near) => diagnostic.fix("there is a module with a similar name", entry.key_span, near),
            None => diagnostic,
        }
    }

    fn module_names(&self) -> impl Iterator<Item = &'static str> + use<> {
        (self.modules.all)()
            .iter()
            .flat_map(|m| std::iter::once(m.name).chain(m.aliases.iter().copied()))
            .chain(["import_tasks"])
    }

    fn unknown_module(&self, entry: &Entry) -> Diagnostic {
        let name = entry.key.as_str();
        let diagnostic = Diagnostic::error(Code::UNKNOWN_MODULE, format!("unknown module `{name}`"))
            .at(entry.key_span, "no such module");
        match similar_name(name, self.module_names()) {
            Some(near) => diagnostic.fix("there is a module with a similar name", entry.key_span, near),
            None => diagnostic.note("neither a module nor a keyword; `rmqplay doc` lists the modules"),
        }
    }
}
