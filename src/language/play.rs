//! Plays: keywords of a play, and the order of its parts.

use super::common;
use super::keywords::{self, Place};
use super::load::{Around, Loader, Scope, directory};
use super::shape;
use crate::diagnostic::{Code, Diagnostic, Span};
use crate::language::{Item, Mapping, Node, Play, Rolling, Yaml};
use std::sync::Arc;

impl Loader<'_> {
    /// A play of the file `path`, with what the imports `around` it (outermost first) lay over it.
    pub(super) fn play(&mut self, path: &str, node: &Node, mapping: &Mapping, around: &[Around]) -> Option<Play> {
        let Some(first) = mapping.entries.first() else {
            self.out.push(shape::wrong(node, "a play", "a mapping with `hosts`"));
            return None;
        };
        let Some(hosts) = mapping.get("hosts") else {
            self.out.push(self.no_hosts(mapping, first.key_span));
            return None;
        };
        self.check_hosts(hosts, "`hosts`");
        let (mut own, rest) = common::split(mapping, Place::Play, &mut self.out);
        // Ansible lays an import's variables over the play's, unites tags, and puts `when` before every task's.
        own.when = around.iter().flat_map(|a| a.common.when.clone()).collect();
        for import in around.iter().rev() {
            own.vars.extend(import.common.vars.iter().cloned());
            own.tags.extend(import.common.tags.iter().cloned());
        }
        let mut play = Play {
            span: node.span,
            name: None,
            hosts: hosts.clone(),
            path: path.to_owned(),
            gather_facts: None,
            gather_subset: None,
            common: Arc::new(own),
            vars_files: Vec::new(),
            serial: None,
            rolling: None,
            order: None,
            max_fail_percentage: None,
            strategy: None,
            force_handlers: None,
            roles: Vec::new(),
            pre_checks: Vec::new(),
            pre_tasks: Vec::new(),
            tasks: Vec::new(),
            post_tasks: Vec::new(),
            post_checks: Vec::new(),
            handlers: Vec::new(),
        };
        let scope = Scope {
            chain: vec![play.common.clone()],
            role: None,
            file: path.to_owned(),
            playbook_dir: directory(path).to_owned(),
            handlers: false,
            notify: Vec::new(),
            includes: Vec::new(),
        };
        let handler_scope = Scope {
            handlers: true,
            ..scope.clone()
        };
        self.lost = super::notify::Lost::default();
        let mut own_tasks = Vec::new();
        let mut own_handlers = Vec::new();
        for entry in rest {
            let value = &entry.value;
            let what = format!("`{}`", entry.key);
            let what = what.as_str();
            match entry.key.as_str() {
                "name" => play.name = shape::string(value, what, &mut self.out),
                "gather_facts" => play.gather_facts = shape::boolean(value, what, &mut self.out),
                "gather_subset" => play.gather_subset = Some(value.clone()),
                "force_handlers" => play.force_handlers = shape::boolean(value, what, &mut self.out),
                "max_fail_percentage" => play.max_fail_percentage = self.percentage(value, what),
                "serial" => play.serial = self.serial(value),
                "rolling" => play.rolling = self.rolling(value),
                "order" => {
                    let orders = ["inventory", "reverse_inventory", "sorted", "reverse_sorted", "shuffle"];
                    play.order = shape::choice(value, what, &orders, &[], &mut self.out);
                }
                "strategy" => {
                    let known = ["linear", "free", "host_pinned"];
                    play.strategy = shape::choice(value, what, &known, &["debug"], &mut self.out);
                }
                "vars_files" => play.vars_files = self.vars_files(value),
                "roles" => self.play_roles(value, &scope, &mut play),
                "tasks" => own_tasks = self.items(value, what, &scope),
                "pre_tasks" => play.pre_tasks = self.items(value, what, &scope),
                "post_tasks" => play.post_tasks = self.items(value, what, &scope),
                "pre_checks" => play.pre_checks = self.items(value, what, &scope),
                "post_checks" => play.post_checks = self.items(value, what, &scope),
                "handlers" => own_handlers = self.items(value, what, &handler_scope),
                _ => {}
            }
        }
        play.tasks.extend(own_tasks);
        play.handlers.extend(own_handlers);
        super::notify::check_play(&play, &self.lost, &mut self.out);
        Some(play)
    }

    fn no_hosts(&self, mapping: &Mapping, at: Span) -> Diagnostic {
        let diagnostic = Diagnostic::error(Code::SHAPE, "a play needs `hosts`").at(at, "this play has none");
        let near = crate::diagnostic::similar_name("hosts", mapping.keys());
        let task = mapping.keys().any(|key| (self.modules.find)(key).is_some());
        match near.and_then(|key| mapping.entry(key)) {
            Some(entry) => diagnostic.fix("there is a key with a similar name", entry.key_span, "hosts"),
            None if task => diagnostic.help("this looks like a file of tasks; a play says on which hosts they run"),
            None => diagnostic,
        }
    }

    fn check_hosts(&mut self, hosts: &Node, what: &str) {
        let empty = match &hosts.yaml {
            Yaml::Null => true,
            Yaml::Str(text) => text.value.trim().is_empty(),
            Yaml::Seq(items) => {
                for item in items.iter().filter(|i| i.as_str().is_none()) {
                    self.out.push(shape::wrong(item, "a host pattern", "a string"));
                }
                items.is_empty()
            }
            _ => {
                self.out
                    .push(shape::wrong(hosts, what, "a host pattern or a list of them"));
                return;
            }
        };
        if empty {
            self.out.push(
                Diagnostic::error(Code::SHAPE, format!("{what} is empty")).at(hosts.span, "expected a host pattern"),
            );
        }
    }

    /// A number of percent, with or without the sign.
    fn percentage(&mut self, node: &Node, what: &str) -> Option<Node> {
        let bare = node.as_str().and_then(|text| text.trim().strip_suffix('%'));
        match bare {
            Some(number) if number.trim().parse::<f64>().is_ok() => Some(node.clone()),
            _ => shape::number(node, what, &mut self.out),
        }
    }

    /// A number of hosts, a percentage, or a list of those.
    fn serial(&mut self, node: &Node) -> Option<Node> {
        if node.is_null() {
            return None;
        }
        for one in shape::one_or_many(node) {
            let fine = match &one.yaml {
                Yaml::Int(n) => *n >= 0,
                Yaml::Str(text) => {
                    let number = text.value.trim().trim_end_matches('%').trim_end();
                    one.is_template() || number.parse::<u32>().is_ok()
                }
                _ => false,
            };
            if !fine {
                self.out.push(
                    Diagnostic::error(Code::VALUE, format!("`serial` cannot be {}", shape::shown(&one)))
                        .at(one.span, "expected a number of hosts or a percentage such as `\"30%\"`"),
                );
                return None;
            }
        }
        Some(node.clone())
    }

    /// A boolean, or the mapping of how.
    fn rolling(&mut self, node: &Node) -> Option<Rolling> {
        let mut rolling = Rolling {
            span: node.span,
            on: None,
            width: None,
            members: None,
            drain: None,
            rebalance: None,
            gate_timeout: None,
            drain_timeout: None,
            start_timeout: None,
        };
        let Some(mapping) = node.as_map() else {
            if matches!(node.yaml, Yaml::Seq(_)) {
                self.out.push(shape::wrong(node, "`rolling`", "a boolean or a mapping"));
                return None;
            }
            rolling.on = Some(shape::boolean(node, "`rolling`", &mut self.out)?);
            return Some(rolling);
        };
        for entry in &mapping.entries {
            if !keywords::check(entry, Place::Rolling, &mut self.out) {
                continue;
            }
            let (value, what) = (&entry.value, format!("`{}`", entry.key));
            match entry.key.as_str() {
                "width" => rolling.width = shape::number(value, &what, &mut self.out),
                "members" => {
                    self.check_hosts(value, &what);
                    rolling.members = Some(value.clone());
                }
                "drain" => rolling.drain = shape::boolean(value, &what, &mut self.out),
                "rebalance" => rolling.rebalance = shape::boolean(value, &what, &mut self.out),
                "gate_timeout" => rolling.gate_timeout = shape::number(value, &what, &mut self.out),
                "drain_timeout" => rolling.drain_timeout = shape::number(value, &what, &mut self.out),
                "start_timeout" => rolling.start_timeout = shape::number(value, &what, &mut self.out),
                _ => {}
            }
        }
        Some(rolling)
    }

    /// Paths, or lists of paths of which the first that exists is read.
    fn vars_files(&mut self, node: &Node) -> Vec<Node> {
        let all = shape::one_or_many(node);
        all.into_iter()
            .filter(|one| {
                let fine = match &one.yaml {
                    Yaml::Str(_) => true,
                    Yaml::Seq(items) => items.iter().all(|i| i.as_str().is_some()),
                    _ => false,
                };
                if !fine {
                    self.out.push(shape::wrong(
                        one,
                        "an entry of `vars_files`",
                        "a path or a list of paths",
                    ));
                }
                fine
            })
            .collect()
    }
}

/// Every task below, handlers of blocks included.
pub(super) fn tasks_of(items: &[Item]) -> Vec<&Arc<crate::language::Task>> {
    let mut out = Vec::new();
    for item in items {
        match item {
            Item::Task(task) => out.push(task),
            Item::Block(block) => {
                for part in [&block.block, &block.rescue, &block.always] {
                    out.extend(tasks_of(part));
                }
            }
            Item::RoleEnd(_) => {}
        }
    }
    out
}
