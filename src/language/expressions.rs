//! Everything in a program that the template engine will read, so that its syntax can be checked before a run.

use super::{Common, Item, Node, Program, Task, Yaml};
use std::collections::HashSet;
use std::sync::Arc;

#[derive(Clone, Copy, Debug)]
pub enum Expression<'a> {
    /// `when` and its like: an expression without delimiters.
    Condition(&'a Node),
    /// A value with templates in it or below it.
    Value(&'a Node),
}

/// The expressions of all plays, each once.
pub fn expressions(program: &Program) -> Vec<Expression<'_>> {
    let mut walk = Walk::default();
    for play in &program.plays {
        walk.common(&play.common);
        walk.values(play.name.iter().chain([&play.hosts]).chain(&play.vars_files));
        let settings = [
            &play.gather_facts,
            &play.gather_subset,
            &play.serial,
            &play.order,
            &play.max_fail_percentage,
            &play.strategy,
            &play.force_handlers,
        ];
        walk.values(settings.into_iter().flatten());
        for role in &play.roles {
            for variables in [&role.defaults, &role.vars, &role.given, &role.params] {
                walk.values(variables.iter().map(|(_, value)| value.as_ref()));
            }
        }
        for items in play.sections() {
            walk.items(items);
        }
    }
    walk.out
}

/// The expressions of tasks that were included.
pub fn expressions_of(items: &[Item]) -> Vec<Expression<'_>> {
    let mut walk = Walk::default();
    walk.items(items);
    walk.out
}

#[derive(Default)]
struct Walk<'a> {
    out: Vec<Expression<'a>>,
    /// Keywords of plays and blocks, which many tasks share.
    seen: HashSet<*const Common>,
}

impl<'a> Walk<'a> {
    fn values(&mut self, nodes: impl Iterator<Item = &'a Node>) {
        self.out
            .extend(nodes.filter(|n| n.contains_template()).map(Expression::Value));
    }

    fn conditions(&mut self, nodes: impl IntoIterator<Item = &'a Node>) {
        let text = nodes.into_iter().filter(|n| n.as_str().is_some());
        self.out.extend(text.map(Expression::Condition));
    }

    fn common(&mut self, common: &'a Arc<Common>) {
        if !self.seen.insert(Arc::as_ptr(common)) {
            return;
        }
        self.conditions(&common.when);
        self.values(common.vars.iter().map(|(_, value)| value.as_ref()));
        self.values(common.tags.iter().chain(&common.environment));
        let settings = [
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
        self.values(settings.into_iter().flatten());
    }

    fn items(&mut self, items: &'a [Item]) {
        for item in items {
            match item {
                Item::Task(task) => self.task(task),
                Item::Block(block) => {
                    self.values(block.name.iter());
                    for part in [&block.block, &block.rescue, &block.always] {
                        self.items(part);
                    }
                }
                Item::RoleEnd(_) => {}
            }
        }
    }

    fn task(&mut self, task: &'a Task) {
        for common in &task.chain {
            self.common(common);
        }
        // Modules whose argument is an expression.
        let argument = |name: &str| task.args.as_map().and_then(|args| args.get(name));
        let written = match task.module {
            "assert" => argument("that"),
            "debug" => argument("var"),
            _ => None,
        };
        let written = match written.map(|node| (node, &node.yaml)) {
            Some((_, Yaml::Seq(all))) => all.as_slice(),
            Some((one, _)) => std::slice::from_ref(one),
            None => &[],
        };
        self.conditions(written.iter().filter(|n| !n.is_template()));
        self.values(
            task.name
                .iter()
                .chain([&task.args])
                .chain(&task.notify)
                .chain(&task.listen),
        );
        self.values(task.retries.iter().chain(&task.delay));
        if let Some(looped) = &task.loop_ {
            self.values([&looped.expr].into_iter().chain(&looped.label).chain(&looped.pause));
        }
        for conditions in [&task.changed_when, &task.failed_when, &task.until]
            .into_iter()
            .flatten()
        {
            self.conditions(conditions);
        }
    }
}
