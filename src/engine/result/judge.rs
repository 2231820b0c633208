//! `failed_when`, `changed_when`, `until`.

use super::ItemOutcome;
use crate::engine::evaluate::{Evaluation, Trouble};
use crate::engine::shared::PlayRun;
use crate::engine::vars::TaskScope;
use crate::language::Task;
use crate::modules::Failure;
use serde_json::Value;
use std::collections::HashMap;
use std::sync::Arc;

/// A scope in which an item's result stands under the name that registers it.
pub fn with_result(scope: &Arc<TaskScope>, task: &Task, outcome: &ItemOutcome) -> Arc<TaskScope> {
    let Some(name) = &task.register else {
        return scope.clone();
    };
    let mut local: HashMap<String, Arc<Value>> = (*scope.local).clone();
    local.insert(name.clone(), Arc::new(Value::Object(outcome.value())));
    Arc::new(TaskScope {
        local: Arc::new(local),
        ..(**scope).clone()
    })
}

pub enum Verdict {
    Final,
    Retry { left: u32, delay: f64 },
}

/// `failed_when`, `changed_when` and `until`, on every attempt as Ansible does.
pub fn judge(
    play: &PlayRun,
    scope: &Arc<TaskScope>,
    task: &Task,
    outcome: &mut ItemOutcome,
    attempt: u32,
) -> Result<Verdict, Trouble> {
    let evaluation = |scope: Arc<TaskScope>| Evaluation {
        play,
        scope,
        handler: false,
    };
    let with_result = |outcome: &ItemOutcome| evaluation(with_result(scope, task, outcome));
    let retries = match &task.retries {
        Some(node) => {
            let retries = evaluation(scope.clone()).integer(node, "retries")?;
            u32::try_from(retries.max(0)).unwrap_or(u32::MAX)
        }
        None if task.until.is_some() => 3,
        None => 0,
    };
    if retries > 0 {
        outcome.values.insert("attempts".to_owned(), Value::from(attempt + 1));
    }
    let dry = outcome.foretold;
    if let Some(conditions) = &task.changed_when {
        match with_result(outcome).all(conditions) {
            Ok(failing) => outcome.changed = failing.is_none(),
            // A dry run has no result to judge by.
            Err(_) if dry => {
                outcome.unknown = Some("cannot know until it has run".to_owned());
                outcome.changed = false;
            }
            Err(trouble) => return Err(trouble),
        }
    }
    if dry {
        return Ok(Verdict::Final);
    }
    if let Some(conditions) = &task.failed_when {
        let fails = with_result(outcome).all(conditions)?.is_none();
        outcome
            .values
            .insert("failed_when_result".to_owned(), Value::Bool(fails));
        if !fails {
            outcome.failure = None;
        } else if outcome.failure.is_none() {
            let values = outcome.values.clone();
            let text = conditions
                .iter()
                .map(|c| crate::modules::plain(&c.to_value()))
                .collect::<Vec<_>>()
                .join(" and ");
            let msg = values
                .get("msg")
                .and_then(Value::as_str)
                .filter(|m| !m.is_empty())
                .map(str::to_owned);
            let failed = ItemOutcome::failed(Failure {
                msg: msg.unwrap_or_else(|| format!("`failed_when` says so: {text}")),
                values,
                ..Failure::default()
            });
            outcome.failure = failed.failure;
        }
    }
    if retries == 0 {
        return Ok(Verdict::Final);
    }
    let evaluation = with_result(outcome);
    let reached = match &task.until {
        Some(conditions) => evaluation.all(conditions)?.is_none(),
        None => outcome.failure.is_none(),
    };
    if reached {
        return Ok(Verdict::Final);
    }
    if attempt < retries {
        let delay = match &task.delay {
            Some(node) => {
                let value = evaluation.resolve(node)?.unwrap_or(Value::Null);
                let seconds = crate::modules::plain(&value).parse::<f64>().unwrap_or(5.0);
                if seconds < 0.0 { 1.0 } else { seconds }
            }
            None => 5.0,
        };
        return Ok(Verdict::Retry {
            left: retries - attempt,
            delay,
        });
    }
    drop(evaluation);
    outcome.values.insert("attempts".to_owned(), Value::from(retries));
    if task.failed_when.is_some() {
        // That has the last word on what the task came to; the result tells of the other.
        outcome.gave_up = true;
    } else if outcome.failure.is_none() {
        let text = task
            .until
            .iter()
            .flatten()
            .map(|c| crate::modules::plain(&c.to_value()))
            .collect::<Vec<_>>()
            .join(" and ");
        let failed = ItemOutcome::failed(Failure {
            msg: format!("`until` did not come true in {} attempts: {text}", retries + 1),
            values: outcome.values.clone(),
            ..Failure::default()
        });
        outcome.failure = failed.failure;
    }
    Ok(Verdict::Final)
}
