//! PURE. Tasks the engine does itself: `assert debug fail set_fact meta include_tasks`.

#![deny(clippy::disallowed_methods)]

use crate::diagnostic::{Code, Diagnostic, Severity};
use crate::engine::evaluate::{Evaluation, Trouble};
use crate::engine::result::ItemOutcome;
use crate::language::{self, Include, Item, Node, Task};
use crate::modules::{self, Failure};
use serde_json::{Map, Value};
use std::sync::Arc;

/// What a control task does to the walk.
#[derive(Clone, Debug)]
pub enum Effect {
    Insert(Vec<Item>),
    Flush,
    EndHost,
    EndPlay,
    EndBatch,
    ClearFacts,
    ClearErrors,
    ResetConnection,
}

pub fn run(evaluation: &Evaluation<'_>, task: &Task) -> Result<ItemOutcome, Trouble> {
    match task.module {
        "assert" => assert(evaluation, task),
        "debug" => debug(evaluation, task),
        "fail" => {
            let arguments = evaluation.arguments(task)?;
            let msg = arguments
                .get("msg")
                .map_or_else(|| "Failed as requested from task".to_owned(), modules::plain);
            Ok(ItemOutcome::failed(Failure::new(msg)))
        }
        "set_fact" => set_fact(evaluation, task),
        "meta" => meta(evaluation, task),
        "include_tasks" => include_tasks(evaluation, task),
        other => Err(Trouble::Wrong(Box::new(
            Diagnostic::error(Code::NOT_SUPPORTED, format!("`{other}` is not supported yet")).at(task.module_span, ""),
        ))),
    }
}

fn arg<'t>(task: &'t Task, names: &[&str]) -> Option<&'t Node> {
    let map = task.args.as_map()?;
    names.iter().find_map(|n| map.get(n))
}

fn assert(evaluation: &Evaluation<'_>, task: &Task) -> Result<ItemOutcome, Trouble> {
    let Some(that) = arg(task, &["that"]) else {
        return Err(Trouble::Wrong(Box::new(
            Diagnostic::error(Code::MISSING_ARGUMENT, "module `assert` needs the argument `that`")
                .at(task.module_span, ""),
        )));
    };
    let single = std::slice::from_ref(that);
    let conditions = that.as_seq().unwrap_or(single);
    if let Some(failing) = evaluation.all(conditions)? {
        let msg = match arg(task, &["fail_msg", "msg"]) {
            Some(node) => evaluation.resolve(node)?.as_ref().map(message).unwrap_or_default(),
            None => "Assertion failed".to_owned(),
        };
        let mut failure = Failure::new(msg);
        failure.values.insert("assertion".to_owned(), failing.to_value());
        failure.values.insert("evaluated_to".to_owned(), Value::Bool(false));
        let mut outcome = ItemOutcome::failed(failure);
        if let Some(failed) = &mut outcome.failure {
            failed
                .notes
                .push(format!("assertion: {}", modules::plain(&failing.to_value())));
            failed.location = evaluation.play.shared.sources.locate(failing.span);
        }
        return Ok(outcome);
    }
    let msg = match arg(task, &["success_msg"]) {
        Some(node) => evaluation.resolve(node)?.as_ref().map(message).unwrap_or_default(),
        None => "All assertions passed".to_owned(),
    };
    Ok(said(Value::String(msg)))
}

fn message(value: &Value) -> String {
    match value {
        Value::Array(lines) => lines.iter().map(modules::plain).collect::<Vec<_>>().join("\n"),
        other => modules::plain(other),
    }
}

fn said(msg: Value) -> ItemOutcome {
    let mut outcome = ItemOutcome::default();
    outcome.values.insert("msg".to_owned(), msg);
    outcome
}

fn debug(evaluation: &Evaluation<'_>, task: &Task) -> Result<ItemOutcome, Trouble> {
    if let Some(level) = arg(task, &["verbosity"]) {
        let level = evaluation.integer(level, "verbosity")?;
        if i64::from(evaluation.play.shared.options.verbosity) < level {
            let mut outcome = ItemOutcome {
                skipped: true,
                ..ItemOutcome::default()
            };
            outcome
                .values
                .insert("skipped_reason".to_owned(), Value::from("Verbosity threshold not met."));
            return Ok(outcome);
        }
    }
    if let Some(node) = arg(task, &["var"]) {
        let (name, value) = match node.as_str() {
            // A name or expression, as Ansible reads it.
            Some(text) if !node.is_template() => {
                let value = match evaluation.expression(node) {
                    // A task that only shows something does not fail for what is not there, as Ansible's does not.
                    Err(Trouble::Wrong(wrong)) if wrong.code == Code::UNDEFINED => {
                        Value::from("VARIABLE IS NOT DEFINED!")
                    }
                    value => value?,
                };
                (text.to_owned(), value)
            }
            _ => {
                let value = evaluation.resolve(node)?.unwrap_or(Value::Null);
                (modules::plain(&node.to_value()), value)
            }
        };
        let mut outcome = ItemOutcome::default();
        outcome.values.insert(name, value);
        return Ok(outcome);
    }
    let msg = match arg(task, &["msg"]) {
        Some(node) => evaluation.resolve(node)?.unwrap_or(Value::Null),
        None => Value::from("Hello world!"),
    };
    Ok(said(msg))
}

fn set_fact(evaluation: &Evaluation<'_>, task: &Task) -> Result<ItemOutcome, Trouble> {
    let mut arguments = Map::new();
    let mut cacheable = false;
    for entry in task.args.as_map().iter().flat_map(|map| &map.entries) {
        let Some(value) = evaluation.resolve(&entry.value)? else {
            continue;
        };
        if entry.key == "cacheable" {
            cacheable = modules::boolean(&value) == Some(true);
            continue;
        }
        // The one place where the name of a variable may be a template.
        let key = Node::str(entry.key_span, &entry.key);
        let name = if key.is_template() {
            evaluation.text(&key)?
        } else {
            entry.key.clone()
        };
        if let Some(wrong) = language::not_a_variable(&name, entry.key_span) {
            return Err(Trouble::Wrong(Box::new(wrong)));
        }
        arguments.insert(name, value);
    }
    if arguments.is_empty() {
        return Err(Trouble::Wrong(Box::new(
            Diagnostic::error(Code::MISSING_ARGUMENT, "`set_fact` needs at least one variable")
                .at(task.module_span, ""),
        )));
    }
    let mut outcome = ItemOutcome::default();
    outcome
        .values
        .insert("ansible_facts".to_owned(), Value::Object(arguments.clone()));
    if cacheable {
        outcome.facts = arguments.clone();
    }
    outcome.set = arguments;
    Ok(outcome)
}

fn meta(evaluation: &Evaluation<'_>, task: &Task) -> Result<ItemOutcome, Trouble> {
    let Some(node) = arg(task, &["_raw_params", "free_form"]) else {
        return Err(Trouble::Wrong(Box::new(
            Diagnostic::error(Code::MISSING_ARGUMENT, "`meta` needs an action").at(task.module_span, ""),
        )));
    };
    let action = evaluation.text(node)?;
    let after = match action.trim() {
        "noop" => None,
        "flush_handlers" => Some(Effect::Flush),
        "end_host" => Some(Effect::EndHost),
        "end_play" => Some(Effect::EndPlay),
        "end_batch" => Some(Effect::EndBatch),
        "clear_facts" => Some(Effect::ClearFacts),
        "clear_host_errors" => Some(Effect::ClearErrors),
        "reset_connection" => Some(Effect::ResetConnection),
        other => {
            return Err(Trouble::Wrong(Box::new(
                Diagnostic::error(Code::NOT_SUPPORTED, format!("`meta: {other}` is not supported yet")).at(node.span, "").note(
                    "supported: `flush_handlers`, `end_host`, `end_play`, `end_batch`, `clear_facts`, `clear_host_errors`, `reset_connection`, `noop`",
                ),
            )));
        }
    };
    Ok(ItemOutcome {
        after,
        quiet: true,
        ..ItemOutcome::default()
    })
}

fn include_tasks(evaluation: &Evaluation<'_>, task: &Task) -> Result<ItemOutcome, Trouble> {
    let Some(node) = arg(task, &["_raw_params", "file"]) else {
        return Err(Trouble::Wrong(Box::new(
            Diagnostic::error(Code::MISSING_ARGUMENT, "`include_tasks` needs a file").at(task.module_span, ""),
        )));
    };
    let file = evaluation.text(node)?;
    let shared = &evaluation.play.shared;
    // The loop's variables live on in the included tasks.
    let vars = evaluation
        .scope
        .local
        .iter()
        .filter(|_| task.loop_.is_some())
        .map(|(name, value)| (name.clone(), Arc::new(raw(Node::from_value(node.span, value)))))
        .collect();
    let include = Include {
        path: &file,
        parent: task,
        play: &evaluation.play.play,
        handler: evaluation.handler,
        vars,
    };
    let (items, diagnostics) = language::load_included(include, &*shared.files, &shared.sources, &shared.roles_path);
    if let Some(error) = diagnostics.into_iter().find(|d| d.severity == Severity::Error) {
        return Err(Trouble::Wrong(Box::new(error)));
    }
    let mut values = Map::new();
    values.insert("include".to_owned(), Value::String(file));
    Ok(ItemOutcome {
        after: Some(Effect::Insert(items)),
        values,
        quiet: true,
        ..ItemOutcome::default()
    })
}

/// Data is not a template, even where it looks like one.
fn raw(node: Node) -> Node {
    use crate::language::{Entry, Mapping, Text, Yaml};
    let yaml = match node.yaml {
        Yaml::Str(text) => Yaml::Str(Text { raw: true, ..text }),
        Yaml::Seq(items) => Yaml::Seq(items.into_iter().map(raw).collect()),
        Yaml::Map(map) => Yaml::Map(Mapping {
            entries: map
                .entries
                .into_iter()
                .map(|e| Entry {
                    value: raw(e.value),
                    ..e
                })
                .collect(),
        }),
        other => other,
    };
    Node { span: node.span, yaml }
}
