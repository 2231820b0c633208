//! A task's items as one result, and what of it events tell.

use super::{ItemOutcome, join};
use crate::engine::control::Effect;
use crate::engine::event::{Failed, HostResult, ItemResult, TaskStatus};
use crate::host::{Delta, Layer};
use serde_json::{Map, Value};
use std::mem::take;

/// A task as a whole.
#[derive(Debug)]
pub struct Summary {
    pub status: TaskStatus,
    pub value: Map<String, Value>,
    pub unknown: Option<String>,
    pub partial: bool,
    pub failure: Option<Failed>,
    /// All failures are passed over.
    pub forgiven: bool,
    /// It is a failure only since the host could not be reached.
    pub unreachable: bool,
    pub deltas: Vec<Delta>,
    pub layers: Vec<Layer>,
    pub warnings: Vec<String>,
    pub items: Vec<ItemResult>,
    pub facts: Map<String, Value>,
    pub set: Map<String, Value>,
    pub after: Option<Effect>,
    /// Files that were included: each counts as a task.
    pub included: u64,
    pub quiet: bool,
    pub secrets: Vec<String>,
}

impl Summary {
    /// It was done, and is a failure all the same.
    pub fn fail(&mut self, failed: Failed) {
        self.status = TaskStatus::Failed;
        self.value.insert("failed".to_owned(), Value::Bool(true));
        self.value.insert("msg".to_owned(), Value::from(failed.msg.clone()));
        self.failure = Some(failed);
        self.forgiven = false;
    }
}

pub fn summarise(looped: bool, mut outcomes: Vec<ItemOutcome>) -> Summary {
    let mut summary = Summary {
        status: TaskStatus::Ok,
        value: Map::new(),
        unknown: None,
        partial: outcomes.iter().any(|o| o.partial),
        failure: None,
        forgiven: false,
        unreachable: false,
        deltas: Vec::new(),
        layers: Vec::new(),
        warnings: Vec::new(),
        items: Vec::new(),
        facts: Map::new(),
        set: Map::new(),
        secrets: Vec::new(),
        after: None,
        included: 0,
        quiet: !outcomes.is_empty() && outcomes.iter().all(|o| o.quiet),
    };
    let changed = outcomes.iter().any(|o| o.changed);
    let failures = || outcomes.iter().filter(|o| o.failure.is_some());
    let unreachable = failures().any(ItemOutcome::unreachable);
    let failed = failures().any(|o| !o.unreachable());
    summary.forgiven = failures().all(|o| o.forgiven);
    summary.unreachable = unreachable && !failed;
    let skipped = outcomes.iter().all(|o| o.skipped);
    summary.unknown = outcomes.iter().find_map(|o| o.unknown.clone());
    summary.status = if failed || unreachable {
        TaskStatus::Failed
    } else if changed {
        TaskStatus::Changed
    } else if summary.unknown.is_some() {
        TaskStatus::Unknown
    } else if skipped {
        TaskStatus::Skipped
    } else {
        TaskStatus::Ok
    };
    if looped {
        let results: Vec<Value> = outcomes.iter().map(|o| Value::Object(o.value())).collect();
        let value = &mut summary.value;
        let failed = failed || outcomes.iter().any(|o| o.gave_up);
        if results.is_empty() {
            value.insert("skipped_reason".to_owned(), Value::from("No items in the list"));
        } else {
            let msg = if failed {
                "One or more items failed"
            } else if skipped {
                "All items skipped"
            } else {
                "All items completed"
            };
            value.insert("msg".to_owned(), Value::from(msg));
        }
        value.insert("results".to_owned(), Value::Array(results));
        value.insert("changed".to_owned(), Value::Bool(changed));
        value.insert("failed".to_owned(), Value::Bool(failed));
        value.insert("skipped".to_owned(), Value::Bool(skipped));
        if unreachable {
            value.insert("unreachable".to_owned(), Value::Bool(true));
        }
        summary.items = outcomes
            .iter()
            .map(|o| ItemResult {
                label: o.label.clone().unwrap_or_default(),
                status: o.status(),
                msg: o.failure.as_ref().map(|f| f.msg.clone()).or_else(|| o.unknown.clone()),
            })
            .collect();
    } else if let Some(only) = outcomes.first_mut() {
        summary.value = only.take_value();
    }
    let mut inserted = Vec::new();
    for outcome in &mut outcomes {
        join(&mut summary.deltas, take(&mut outcome.deltas));
        join(&mut summary.layers, take(&mut outcome.layers));
        join(&mut summary.warnings, take(&mut outcome.warnings));
        join(&mut summary.facts, take(&mut outcome.facts));
        join(&mut summary.set, take(&mut outcome.set));
        join(&mut summary.secrets, take(&mut outcome.secrets));
        if summary.failure.is_none() {
            summary.failure = outcome.failure.take();
        }
        match outcome.after.take() {
            Some(Effect::Insert(items)) => {
                summary.included += 1;
                inserted.extend(items);
            }
            Some(effect) => summary.after = Some(effect),
            None => {}
        }
    }
    if !inserted.is_empty() {
        summary.after = Some(Effect::Insert(inserted));
    }
    summary
}

/// As events tell it, which takes it out of the summary: `no_log` leaves nothing but the status.
pub fn told(summary: &mut Summary, no_log: bool, hide_diff: bool) -> HostResult {
    if no_log {
        let mut value = Map::new();
        value.insert(
            "censored".to_owned(),
            Value::from("the output has been hidden due to the fact that 'no_log: true' was specified for this result"),
        );
        for key in ["changed", "failed", "skipped"] {
            if let Some(v) = summary.value.get(key) {
                value.insert(key.to_owned(), v.clone());
            }
        }
        let failure = summary.failure.as_ref().map(|f| Failed {
            code: f.code.clone(),
            msg: "hidden by `no_log`".to_owned(),
            location: f.location.clone(),
            ..Failed::default()
        });
        return HostResult {
            failure,
            hide_diff: true,
            value,
            ..simple(summary.status)
        };
    }
    let deltas = take(&mut summary.deltas);
    HostResult {
        status: summary.status,
        value: take(&mut summary.value),
        deltas: if hide_diff { Vec::new() } else { deltas },
        layers: take(&mut summary.layers),
        warnings: take(&mut summary.warnings),
        failure: summary.failure.take(),
        items: take(&mut summary.items),
        hide_diff,
    }
}

pub fn simple(status: TaskStatus) -> HostResult {
    HostResult {
        status,
        value: Map::new(),
        deltas: Vec::new(),
        layers: Vec::new(),
        warnings: Vec::new(),
        failure: None,
        items: Vec::new(),
        hide_diff: false,
    }
}
