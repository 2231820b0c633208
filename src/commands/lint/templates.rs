//! The templates and conditions a program is full of, looked at without any variable: syntax, unknown filters,
//! tests and lookups.

use crate::diagnostic::Diagnostic;
use crate::language::{Block, Common, Item, Node, Play, Program, Task};
use crate::template::Templar;

pub fn check(program: &Program, templar: &Templar) -> Vec<Diagnostic> {
    let mut checker = Checker {
        templar,
        found: Vec::new(),
    };
    for play in &program.plays {
        checker.play(play);
    }
    checker.found
}

struct Checker<'a> {
    templar: &'a Templar,
    found: Vec<Diagnostic>,
}

impl Checker<'_> {
    fn values<'n>(&mut self, nodes: impl IntoIterator<Item = &'n Node>) {
        for node in nodes {
            self.found.extend(self.templar.check(node));
        }
    }

    fn conditions<'n>(&mut self, nodes: impl IntoIterator<Item = &'n Node>) {
        for node in nodes {
            self.found.extend(self.templar.check_condition(node));
        }
    }

    fn play(&mut self, play: &Play) {
        self.values([&play.hosts]);
        self.values(&play.name);
        self.values(&play.vars_files);
        let scalars = [
            &play.gather_facts,
            &play.gather_subset,
            &play.serial,
            &play.order,
            &play.max_fail_percentage,
            &play.strategy,
            &play.force_handlers,
        ];
        self.values(scalars.into_iter().flatten());
        self.common(&play.common);
        for role in &play.roles {
            let layers = [&role.defaults, &role.vars, &role.params];
            self.values(layers.into_iter().flatten().map(|(_, node)| &**node));
        }
        let sections = [
            &play.pre_checks,
            &play.pre_tasks,
            &play.tasks,
            &play.post_tasks,
            &play.post_checks,
            &play.handlers,
        ];
        for items in sections {
            self.items(items);
        }
    }

    fn common(&mut self, common: &Common) {
        self.conditions(&common.when);
        self.values(common.vars.iter().map(|(_, node)| &**node));
        self.values(common.tags.iter().chain(&common.environment));
        let scalars = [
            &common.become_,
            &common.become_user,
            &common.become_method,
            &common.become_flags,
            &common.remote_user,
            &common.port,
            &common.connection,
            &common.no_log,
            &common.check_mode,
            &common.diff,
            &common.ignore_errors,
            &common.ignore_unreachable,
            &common.any_errors_fatal,
            &common.run_once,
            &common.timeout,
        ];
        self.values(scalars.into_iter().flatten());
    }

    fn items(&mut self, items: &[Item]) {
        for item in items {
            match item {
                Item::Task(task) => self.task(task),
                Item::Block(block) => self.block(block),
            }
        }
    }

    fn block(&mut self, block: &Block) {
        self.values(&block.name);
        for items in [&block.block, &block.rescue, &block.always] {
            self.items(items);
        }
    }

    fn task(&mut self, task: &Task) {
        self.values(&task.name);
        // The chain holds what blocks, roles and imports hand down, too; a mistake told twice is tidied away.
        for common in &task.chain {
            self.common(common);
        }
        match task.module {
            "assert" => self.assert(&task.args),
            _ => self.values([&task.args]),
        }
        for conditions in [&task.changed_when, &task.failed_when, &task.until]
            .into_iter()
            .flatten()
        {
            self.conditions(conditions);
        }
        if let Some(each) = &task.loop_ {
            self.values([&each.expr]);
            self.values(each.label.iter().chain(&each.pause));
        }
        self.values(task.notify.iter().chain(&task.listen));
        self.values(task.retries.iter().chain(&task.delay));
    }

    /// `that` is a list of conditions, or one.
    fn assert(&mut self, args: &Node) {
        let Some(mapping) = args.as_map() else { return };
        for entry in &mapping.entries {
            match (entry.key.as_str(), entry.value.as_seq()) {
                ("that", Some(list)) => self.conditions(list),
                ("that", None) => self.conditions([&entry.value]),
                _ => self.values([&entry.value]),
            }
        }
    }
}
