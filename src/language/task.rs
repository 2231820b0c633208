//! Tasks, blocks and static imports.

use super::action::Action;
use super::common;
use super::keywords::{self, Place, Standing};
use super::load::{Loader, Scope, no_such_tasks, static_template};
use super::shape;
use super::short_form;
use crate::diagnostic::{Code, Diagnostic};
use crate::language::{Block, Common, Entry, Item, Loop, LoopKind, Mapping, Node, Task, Yaml};
use crate::modules::{ModuleSpec, check_node};
use std::sync::Arc;

/// Modules that run a command line: in their free form an `a=b` is part of the command.
const COMMANDS: &[&str] = &["command", "shell", "script", "raw"];

impl Loader<'_> {
    /// A list of tasks, blocks and imports.
    pub(super) fn items(&mut self, node: &Node, what: &str, scope: &Scope) -> Vec<Item> {
        let mut items = Vec::new();
        for node in shape::list(node, what, &mut self.out) {
            let Yaml::Map(mapping) = &node.yaml else {
                self.out.push(shape::wrong(node, "a task", "a mapping"));
                self.lost.some |= scope.handlers;
                continue;
            };
            if ["block", "rescue", "always"]
                .iter()
                .any(|key| mapping.get(key).is_some())
            {
                items.extend(self.block(node, mapping, scope));
            } else {
                items.extend(self.task(node, mapping, scope));
            }
        }
        items
    }

    fn block(&mut self, node: &Node, mapping: &Mapping, scope: &Scope) -> Vec<Item> {
        let (own, rest) = common::split(mapping, Place::Block, &mut self.out);
        let mut inner = scope.inside(Arc::new(own));
        if let Some(notify) = mapping.get("notify") {
            inner.notify = self.notify(notify);
        }
        let mut block = Block {
            span: node.span,
            name: None,
            block: Vec::new(),
            rescue: Vec::new(),
            always: Vec::new(),
            listen: Vec::new(),
        };
        for entry in rest {
            let what = format!("`{}`", entry.key);
            match entry.key.as_str() {
                "name" => block.name = shape::string(&entry.value, &what, &mut self.out),
                "block" => block.block = self.items(&entry.value, &what, &inner),
                "rescue" => block.rescue = self.items(&entry.value, &what, &inner),
                "always" => block.always = self.items(&entry.value, &what, &inner),
                _ => {}
            }
            if entry.key != "block" && matches!(entry.key.as_str(), "rescue" | "always") {
                if mapping.get("block").is_none() {
                    self.out.push(
                        Diagnostic::error(Code::SHAPE, format!("`{}` needs a `block`", entry.key))
                            .at(entry.key_span, "there is no `block` beside it"),
                    );
                }
                if scope.handlers {
                    self.out.push(
                        Diagnostic::error(
                            Code::NOT_SUPPORTED,
                            format!("`{}` among handlers is not supported yet", entry.key),
                        )
                        .at(entry.key_span, "Ansible would not run it"),
                    );
                }
            }
        }
        // Ansible takes a block of handlers for the handlers in it.
        if scope.handlers {
            block.block
        } else {
            vec![Item::Block(Arc::new(block))]
        }
    }

    fn task(&mut self, node: &Node, mapping: &Mapping, scope: &Scope) -> Vec<Item> {
        let Some(action) = self.action(node, mapping, scope) else {
            if scope.handlers {
                let names = ["name", "listen"].into_iter().filter_map(|key| mapping.get(key));
                self.lost
                    .names
                    .extend(names.flat_map(shape::one_or_many).map(|n| shape::plain(&n)));
            }
            return Vec::new();
        };
        let entry = match action {
            Action::Module(entry, _) | Action::Import(entry) => entry,
        };
        let include = match &action {
            Action::Module(_, spec) => spec.name == "include_tasks",
            // It is gone once its tasks stand in its place, and they inherit any keyword.
            Action::Import(_) => false,
        };
        let place = match (include, scope.handlers) {
            (true, _) => Place::Include,
            (false, true) => Place::Handler,
            (false, false) => Place::Task,
        };
        let mut own = Common {
            params: include,
            ..Common::default()
        };
        let mut keywords_of = Vec::new();
        for other in mapping.entries.iter().filter(|e| e.key != entry.key) {
            // The one keyword of handlers that an include among them may have.
            let place = match (other.key.as_str(), scope.handlers) {
                ("listen", true) => Place::Handler,
                _ => place,
            };
            if keywords::standing(&other.key, place) == Standing::Unknown {
                // Modules were looked at by `action`.
                continue;
            }
            if keywords::check(other, place, &mut self.out) && !common::take(other, &mut own, &mut self.out) {
                keywords_of.push(other);
            }
        }
        match action {
            Action::Import(entry) => self.import_tasks(entry, own, &keywords_of, scope),
            Action::Module(entry, spec) => {
                let task = self.plain_task(node, entry, spec, own, &keywords_of, scope);
                vec![Item::Task(Arc::new(task))]
            }
        }
    }

    fn plain_task(
        &mut self,
        node: &Node,
        entry: &Entry,
        spec: &'static ModuleSpec,
        own: Common,
        keywords_of: &[&Entry],
        scope: &Scope,
    ) -> Task {
        let args = self.arguments(entry, Some(spec), keywords_of);
        check_node(spec, &Node::new(entry.key_span, Yaml::Null), &args, &mut self.out);
        let mut chain = scope.chain.clone();
        chain.push(Arc::new(own));
        let mut task = Task {
            span: node.span,
            name: None,
            module: spec.name,
            module_span: entry.key_span,
            args,
            chain,
            loop_: self.loop_of(keywords_of),
            register: None,
            changed_when: None,
            failed_when: None,
            notify: scope.notify.clone(),
            listen: Vec::new(),
            until: None,
            retries: None,
            delay: None,
            role: scope.role.clone(),
            file: scope.file.clone(),
        };
        for keyword in keywords_of {
            let node = &keyword.value;
            let what = format!("`{}`", keyword.key);
            let what = what.as_str();
            let out = &mut self.out;
            match keyword.key.as_str() {
                "name" => task.name = shape::string(node, what, out),
                "register" => task.register = shape::name(node, what, out),
                "changed_when" => task.changed_when = Some(shape::conditions(node, what, out)),
                "failed_when" => task.failed_when = Some(shape::conditions(node, what, out)),
                "until" => task.until = Some(shape::conditions(node, what, out)),
                "retries" => task.retries = shape::number(node, what, out),
                "delay" => task.delay = shape::number(node, what, out),
                "notify" => task.notify = self.notify(node),
                "listen" => task.listen = self.notify(node),
                _ => {}
            }
        }
        task
    }

    /// Names: one or a list.
    fn notify(&mut self, node: &Node) -> Vec<Node> {
        let names = shape::one_or_many(node);
        names
            .into_iter()
            .filter(|name| {
                let fine = name.as_str().is_some();
                if !fine {
                    self.out.push(shape::wrong(name, "the name of a handler", "a string"));
                }
                fine
            })
            .collect()
    }

    /// The arguments as one mapping: short form and free form taken apart, `args:` below them.
    fn arguments(&mut self, entry: &Entry, spec: Option<&ModuleSpec>, keywords_of: &[&Entry]) -> Node {
        let mut mapping = Mapping::default();
        if let Some(args) = keywords_of.iter().find(|e| e.key == "args")
            && !args.value.is_null()
        {
            if args.value.is_template() {
                self.out.push(whole_template(&args.value));
            } else if let Some(more) = shape::mapping(&args.value, "`args`", &mut self.out) {
                mapping = more.clone();
            }
        }
        let name = spec.map_or("import_tasks", |s| s.name);
        match &entry.value.yaml {
            Yaml::Null => {}
            Yaml::Map(own) => own.entries.iter().for_each(|e| put(&mut mapping, e.clone())),
            Yaml::Str(text) => {
                let command = COMMANDS.contains(&name);
                match short_form::parse(self.sources, &entry.value, &text.value, command) {
                    Ok(form) => {
                        form.pairs.entries.into_iter().for_each(|e| put(&mut mapping, e));
                        if let Some(free) = form.free {
                            let mut value = entry.value.clone();
                            value.yaml = Yaml::Str(crate::language::Text {
                                value: free,
                                ..text.clone()
                            });
                            self.free_form(spec, entry, value, &mut mapping);
                        }
                    }
                    Err(diagnostic) => self.out.push(*diagnostic),
                }
            }
            _ => self.out.push(shape::wrong(
                &entry.value,
                &format!("what `{}` is given", entry.key),
                "a mapping of arguments",
            )),
        }
        Node::new(entry.value.span, Yaml::Map(mapping))
    }

    fn free_form(&mut self, spec: Option<&ModuleSpec>, entry: &Entry, value: Node, mapping: &mut Mapping) {
        let argument = match spec {
            Some(spec) => spec.free_form,
            None => Some("file"),
        };
        match argument {
            Some(argument) => put(
                mapping,
                Entry {
                    key: argument.to_owned(),
                    key_span: entry.key_span,
                    value,
                },
            ),
            None if value.is_template() => self.out.push(whole_template(&value)),
            None => self.out.push(
                Diagnostic::error(Code::SHAPE, format!("module `{}` takes no free text", entry.key))
                    .at(value.span, "expected `key=value` or a mapping"),
            ),
        }
    }

    fn loop_of(&mut self, keywords_of: &[&Entry]) -> Option<Loop> {
        let get = |key: &str| keywords_of.iter().find(|e| e.key == key);
        let (entry, kind) = match (get("loop"), get("with_items")) {
            (Some(one), Some(other)) => {
                self.out.push(
                    Diagnostic::error(Code::CONFLICT, "a task loops once")
                        .at(other.key_span, "and a second loop here")
                        .context(one.key_span, "a loop here"),
                );
                (one, LoopKind::Loop)
            }
            (Some(entry), None) => (entry, LoopKind::Loop),
            (None, Some(entry)) => (entry, LoopKind::Items),
            (None, None) => {
                if let Some(control) = get("loop_control") {
                    self.loop_control(control, None);
                }
                return None;
            }
        };
        let fine = match (&entry.value.yaml, kind) {
            (Yaml::Seq(_), _) => true,
            (Yaml::Null, _) => false,
            (Yaml::Str(_), LoopKind::Loop) => entry.value.is_template(),
            (Yaml::Map(_), LoopKind::Loop) => false,
            (_, LoopKind::Loop) => false,
            (_, LoopKind::Items) => true,
        };
        if !fine {
            let diagnostic = shape::wrong(&entry.value, &format!("`{}`", entry.key), "a list");
            self.out.push(match entry.value.yaml {
                Yaml::Str(_) => diagnostic.help("an expression must stand in `{{ }}` here"),
                Yaml::Map(_) => diagnostic.help("`{{ mapping | dict2items }}` makes a list of a mapping"),
                _ => diagnostic,
            });
        }
        let mut looped = Loop {
            kind,
            span: entry.key_span,
            expr: entry.value.clone(),
            loop_var: None,
            index_var: None,
            label: None,
            pause: None,
            extended: false,
        };
        if let Some(control) = get("loop_control") {
            self.loop_control(control, Some(&mut looped));
        }
        Some(looped)
    }

    fn loop_control(&mut self, control: &Entry, looped: Option<&mut Loop>) {
        let Some(mapping) = shape::mapping(&control.value, "`loop_control`", &mut self.out) else {
            return;
        };
        let mut ignored = Loop {
            kind: LoopKind::Loop,
            span: control.key_span,
            expr: control.value.clone(),
            loop_var: None,
            index_var: None,
            label: None,
            pause: None,
            extended: false,
        };
        // Without a loop Ansible takes it and does nothing with it.
        let looped = looped.unwrap_or(&mut ignored);
        for entry in &mapping.entries {
            let out = &mut self.out;
            if !keywords::check(entry, Place::LoopControl, out) {
                continue;
            }
            let node = &entry.value;
            match entry.key.as_str() {
                "loop_var" => looped.loop_var = shape::name(node, "`loop_var`", out),
                "index_var" => looped.index_var = shape::name(node, "`index_var`", out),
                "label" => looped.label = Some(node.clone()),
                "pause" => looped.pause = shape::number(node, "`pause`", out),
                "extended" => {
                    let value = shape::boolean(node, "`extended`", out);
                    if let Some(value) = &value {
                        static_template(value, "`extended`", out);
                    }
                    looped.extended = value.is_some_and(|v| crate::modules::boolean(&v.to_value()) == Some(true));
                }
                _ => {}
            }
        }
    }

    fn import_tasks(&mut self, entry: &Entry, own: Common, keywords_of: &[&Entry], scope: &Scope) -> Vec<Item> {
        let mut inner = scope.inside(Arc::new(own));
        for keyword in keywords_of {
            let name = keyword.key.as_str();
            if name == "notify" {
                inner.notify = self.notify(&keyword.value);
            } else if matches!(name, "loop" | "with_items") {
                self.out.push(
                    Diagnostic::error(Code::CONFLICT, "`import_tasks` cannot loop")
                        .at(keyword.key_span, "an import is read once, before the run")
                        .context(entry.key_span, "in this import")
                        .help("`include_tasks` can"),
                );
            } else if !matches!(name, "name" | "args") {
                self.out.push(
                    Diagnostic::warning(Code::CONFLICT, format!("`{name}` does nothing on `import_tasks`"))
                        .at(keyword.key_span, "an import is read once, before the run")
                        .context(entry.key_span, "in this import"),
                );
            }
        }
        let args = self.arguments(entry, None, keywords_of);
        let Some(file) = args
            .as_map()
            .and_then(|a| a.get("file"))
            .filter(|f| f.as_str().is_some())
        else {
            self.out.push(
                Diagnostic::error(Code::MISSING_ARGUMENT, "`import_tasks` needs a file")
                    .at(entry.key_span, "names none"),
            );
            return Vec::new();
        };
        for other in args
            .as_map()
            .iter()
            .flat_map(|a| &a.entries)
            .filter(|e| e.key != "file")
        {
            self.out.push(
                Diagnostic::error(
                    Code::UNKNOWN_ARGUMENT,
                    format!("unknown argument `{}` for `import_tasks`", other.key),
                )
                .at(other.key_span, "`import_tasks` takes `file`"),
            );
        }
        if static_template(file, "`import_tasks`", &mut self.out) {
            return Vec::new();
        }
        let name = shape::plain(file);
        let Some(path) = self.find_tasks(&name, scope) else {
            self.out.push(no_such_tasks(&name, scope, file.span));
            self.lost.some |= scope.handlers;
            return Vec::new();
        };
        if scope.includes.contains(&self.files.absolute(&path)) {
            self.out.push(
                Diagnostic::error(Code::CONFLICT, format!("`{name}` imports itself"))
                    .at(file.span, "goes round in a circle"),
            );
            return Vec::new();
        }
        self.task_file(&path, &inner, file.span)
    }
}

/// A key given twice in different forms: the last has the say.
fn put(mapping: &mut Mapping, entry: Entry) {
    match mapping.entries.iter_mut().find(|e| e.key == entry.key) {
        Some(old) => *old = entry,
        None => mapping.entries.push(entry),
    }
}

fn whole_template(node: &Node) -> Diagnostic {
    Diagnostic::error(
        Code::NOT_SUPPORTED,
        "arguments given as one template are not supported yet",
    )
    .at(node.span, "cannot be checked before the run")
    .help("write the keys, and templates as their values")
}
