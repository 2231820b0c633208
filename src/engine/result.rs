//! PURE. What a task came to: per item, then as a whole, in the shape `register` and reports know from Ansible.

#![deny(clippy::disallowed_methods)]

use crate::diagnostic::Code;
use crate::engine::control::Effect;
use crate::engine::evaluate::{Evaluation, Trouble};
use crate::engine::event::{Failed, HostResult, ItemResult, TaskStatus};
use crate::engine::shared::PlayRun;
use crate::engine::vars::TaskScope;
use crate::host::{Delta, Facet, Layer, Outcome, Status};
use crate::language::{Loop, Task};
use crate::modules::{Change, Failure, Report, Settle};
use serde_json::{Map, Value};
use std::collections::HashMap;
use std::mem::take;
use std::sync::Arc;

/// What one item came to.
#[derive(Clone, Debug, Default)]
pub struct ItemOutcome {
    pub changed: bool,
    pub failure: Option<Failed>,
    pub skipped: bool,
    /// Dry run: why it cannot be known.
    pub unknown: Option<String>,
    /// Dry run: it will change something.
    pub foretold: bool,
    /// Dry run: only its outcome tells more than that (a command's `rc`).
    pub partial: bool,
    pub values: Map<String, Value>,
    pub deltas: Vec<Delta>,
    pub layers: Vec<Layer>,
    pub warnings: Vec<String>,
    pub facts: Map<String, Value>,
    /// Variables set for the host (`set_fact`).
    pub set: Map<String, Value>,
    /// What the walk does instead of stepping on.
    pub after: Option<Effect>,
    /// Not told on its own (an include).
    pub quiet: bool,
    /// Told as with `no_log`.
    pub secret: bool,
    /// `until` never came true, which is no failure since `failed_when` says so.
    pub gave_up: bool,
    /// A failure that `ignore_errors` or `ignore_unreachable` passes over.
    pub forgiven: bool,
    /// Shown for the item of a loop.
    pub label: Option<String>,
    /// What the item holds for secret arguments: not told where the item is.
    pub secrets: Vec<String>,
}

impl ItemOutcome {
    pub fn kept(report: Report) -> Self {
        let skipped = report.skipped.is_some();
        let mut outcome = ItemOutcome {
            skipped,
            ..ItemOutcome::default()
        };
        let pending = report.pending.clone();
        outcome.absorb(report);
        outcome.warnings.extend(pending);
        outcome
    }

    pub fn changed(change: Change, mut report: Report) -> Self {
        let mut outcome = ItemOutcome {
            changed: report.changed.unwrap_or(change.changed),
            deltas: change.deltas,
            ..ItemOutcome::default()
        };
        // What `decide` said before the change stands (`line added`, a backup's name...); the look after it adds what
        // could not be known then (an owner's number...).
        report.values.retain(|name, _| !change.report.values.contains_key(name));
        outcome.absorb(change.report);
        outcome.absorb(report);
        outcome
    }

    pub fn failed(failure: Failure) -> Self {
        let failed = Failed {
            code: Code::TASK_FAILED.0.to_owned(),
            msg: failure.msg.clone(),
            notes: notes(&failure.values),
            helps: failure.help.into_iter().collect(),
            location: None,
            rendered: None,
        };
        let mut values = failure.values;
        values.insert("msg".to_owned(), Value::String(failure.msg));
        ItemOutcome {
            failure: Some(failed),
            values,
            layers: failure.layers,
            ..ItemOutcome::default()
        }
    }

    /// Gives a failure its message.
    pub fn say(&mut self, msg: String) {
        self.values.insert("msg".to_owned(), Value::from(msg.clone()));
        if let Some(failure) = &mut self.failure {
            failure.msg = msg;
        }
    }

    pub fn skipped(condition: Value) -> Self {
        let mut values = Map::new();
        values.insert("skip_reason".to_owned(), Value::from("Conditional result was False"));
        values.insert("false_condition".to_owned(), condition);
        ItemOutcome {
            skipped: true,
            values,
            ..ItemOutcome::default()
        }
    }

    pub fn unknown(why: &str) -> Self {
        ItemOutcome {
            unknown: Some(why.to_owned()),
            ..ItemOutcome::default()
        }
    }

    fn absorb(&mut self, report: Report) {
        self.secret |= report.secret;
        join(&mut self.values, report.values);
        join(&mut self.facts, report.facts);
        for warning in report.warnings {
            if !self.warnings.contains(&warning) {
                self.warnings.push(warning);
            }
        }
        if !report.layers.is_empty() {
            self.layers = report.layers;
        }
    }

    /// Whether `failed_when` and friends have anything to judge.
    pub fn judged(&self) -> bool {
        !self.skipped && self.unknown.is_none() && !self.quiet
    }

    /// `shown`: the item without secrets.
    pub fn set_label(&mut self, item: &Value, shown: &Value, looping: &Loop, index: usize, label: Option<String>) {
        self.label = Some(label.unwrap_or_else(|| short(shown)));
        let name = looping.loop_var.clone().unwrap_or_else(|| "item".to_owned());
        self.values.insert(name.clone(), item.clone());
        self.values.insert("ansible_loop_var".to_owned(), Value::String(name));
        if let Some(index_var) = &looping.index_var {
            self.values.insert(index_var.clone(), Value::from(index));
            self.values
                .insert("ansible_index_var".to_owned(), Value::String(index_var.clone()));
        }
    }

    /// `ignore_unreachable`: the host could not be reached.
    pub fn unreachable(&self) -> bool {
        is_unreachable(&self.values)
    }

    pub fn status(&self) -> TaskStatus {
        if self.failure.is_some() {
            TaskStatus::Failed
        } else if self.unknown.is_some() {
            TaskStatus::Unknown
        } else if self.skipped {
            TaskStatus::Skipped
        } else if self.changed {
            TaskStatus::Changed
        } else {
            TaskStatus::Ok
        }
    }

    /// As `register` holds it.
    fn value(&self) -> Map<String, Value> {
        self.registered(self.values.clone())
    }

    /// The same, of an outcome whose values nobody else wants.
    fn take_value(&mut self) -> Map<String, Value> {
        let values = take(&mut self.values);
        self.registered(values)
    }

    fn registered(&self, mut value: Map<String, Value>) -> Map<String, Value> {
        let unreachable = is_unreachable(&value);
        value.insert("changed".to_owned(), Value::Bool(self.changed));
        let failed = self.gave_up || self.failure.is_some() && !unreachable;
        value.insert("failed".to_owned(), Value::Bool(failed));
        if self.skipped {
            value.insert("skipped".to_owned(), Value::Bool(true));
        }
        if let Some(why) = &self.unknown {
            value.insert("msg".to_owned(), Value::String(why.clone()));
        }
        if !self.facts.is_empty() {
            value.insert("ansible_facts".to_owned(), Value::Object(self.facts.clone()));
        }
        value
    }
}

/// What is the only one of its kind is not copied: mostly there are no more.
fn join<C: Default + PartialEq + Extend<C::Item> + IntoIterator>(all: &mut C, more: C) {
    if *all == C::default() {
        *all = more;
    } else {
        all.extend(more);
    }
}

fn is_unreachable(values: &Map<String, Value>) -> bool {
    values.get("unreachable") == Some(&Value::Bool(true))
}

fn short(item: &Value) -> String {
    match item {
        Value::Object(map) if map.contains_key("name") => {
            map.get("name").map(crate::modules::plain).unwrap_or_default()
        }
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// The lines a reader wants of a failed command.
fn notes(values: &Map<String, Value>) -> Vec<String> {
    let mut notes = Vec::new();
    let text = |key: &str| values.get(key).and_then(Value::as_str).filter(|s| !s.trim().is_empty());
    if let Some(cmd) = values.get("cmd") {
        let shown = match cmd {
            Value::Array(argv) => argv.iter().map(crate::modules::plain).collect::<Vec<_>>().join(" "),
            other => crate::modules::plain(other),
        };
        notes.push(format!("command: {shown}"));
    }
    if let Some(rc) = values.get("rc").and_then(Value::as_i64) {
        notes.push(format!("exit status {rc}"));
    }
    for (key, most) in [("stderr", 5), ("stdout", 3)] {
        if key == "stdout" && text("stderr").is_some() {
            continue;
        }
        if let Some(text) = text(key) {
            let lines: Vec<&str> = text.lines().filter(|l| !l.trim().is_empty()).collect();
            let shown = &lines[lines.len().saturating_sub(most)..];
            let which = if lines.len() > shown.len() {
                format!("last {} of {} lines of {key}:", shown.len(), lines.len())
            } else {
                format!("{key}:")
            };
            notes.push(which);
            notes.extend(shown.iter().map(|l| format!("    {l}")));
        }
    }
    notes
}

/// A dry run's "will change".
pub fn predicted(change: Change) -> ItemOutcome {
    let report = change.report.clone();
    let partial = change.settle == Settle::Outcome;
    let mut outcome = ItemOutcome::changed(change, report);
    outcome
        .values
        .entry("msg".to_owned())
        .or_insert_with(|| Value::from("would change"));
    ItemOutcome {
        foretold: true,
        partial,
        ..outcome
    }
}

/// A task that still wants a change after its change.
pub fn not_converged(change: &Change, again: &Change) -> ItemOutcome {
    let mut failure = Failure::new("did not converge: the change was made, and it is still wanted")
        .help("something undoes it, or the host understands the value in another way");
    failure.values.insert(
        "still_wanted".to_owned(),
        Value::from(again.deltas.iter().map(|d| d.subject.clone()).collect::<Vec<_>>()),
    );
    let mut outcome = ItemOutcome::failed(failure);
    if let Some(failed) = &mut outcome.failure {
        failed.code = Code::NOT_CONVERGED.0.to_owned();
        for delta in &again.deltas {
            let side = |f: &Facet| match f {
                Facet::Absent => "nothing".to_owned(),
                Facet::Value(v) => format!("`{v}`"),
                Facet::Text(_) => "other content".to_owned(),
                Facet::Unknown(_) => "unknown".to_owned(),
                Facet::Secret(_) => "a secret".to_owned(),
            };
            failed.notes.push(match (&delta.before, &delta.after) {
                (Facet::Text(_), Facet::Text(_)) => format!("{}: its content is not what was written", delta.subject),
                (before, after) => format!("{}: is {}, wanted {}", delta.subject, side(before), side(after)),
            });
        }
    }
    outcome.deltas = change.deltas.clone();
    outcome
}

/// The failure of the first op that was not done; `own`: what the module says of it.
pub fn failed_op(change: &Change, outcomes: &[Outcome], own: Option<Failure>) -> Option<ItemOutcome> {
    let (index, outcome) = outcomes.iter().enumerate().find(|(_, o)| !o.is_done())?;
    let op = change.ops.get(index);
    let what = op.map(describe).unwrap_or_default();
    let mut values = Map::new();
    if let Some(exec) = &outcome.exec {
        values.insert("rc".to_owned(), Value::from(exec.rc));
        values.insert("stdout".to_owned(), Value::from(exec.stdout.text().into_owned()));
        values.insert("stderr".to_owned(), Value::from(exec.stderr.text().into_owned()));
        if let Some(crate::host::Op::Exec(command)) = op
            && !command.secret
        {
            values.insert("cmd".to_owned(), Value::from(command.argv.clone()));
        }
    }
    let (code, msg) = match &outcome.status {
        Status::Failed(text) if text.is_empty() => (Code::TASK_FAILED, format!("{what} failed")),
        Status::Failed(text) => (Code::TASK_FAILED, format!("{what}: {text}")),
        Status::Refused(found) => (
            Code::GUARD,
            format!(
                "{what}: the file changed on the host while rmqplay was running (found {found}); it was left alone"
            ),
        ),
        Status::NotRun => (Code::TASK_FAILED, format!("{what} was not run")),
        Status::Unknown | Status::Done => (Code::LOST, format!("{what}: done or not, nobody knows")),
    };
    let own = own.filter(|_| matches!(outcome.status, Status::Failed(_)));
    let mut failed = ItemOutcome::failed(own.unwrap_or(Failure {
        msg,
        values,
        ..Failure::default()
    }));
    if let Some(failure) = &mut failed.failure {
        failure.code = code.0.to_owned();
        if code == Code::GUARD {
            failure.helps.push("look at the file, then run again".to_owned());
        }
        if let (Some(crate::host::Op::Put { .. }), Status::Failed(text)) = (op, &outcome.status) {
            failure.helps.extend(put_refused(text).map(str::to_owned));
        }
        if index > 0 {
            failure.notes.push(format!(
                "{index} of {} steps of this task were done before it",
                change.ops.len()
            ));
        }
    }
    failed.deltas = if index > 0 { change.deltas.clone() } else { Vec::new() };
    failed.changed = (index > 0 || change.settle == Settle::Outcome && outcome.exec.is_some()) && change.changed;
    Some(failed)
}

/// What the kernel means when it does not take a value.
fn put_refused(text: &str) -> Option<&'static str> {
    [
        (
            "Read-only file system",
            "it is mounted read-only, as in a container: set it on the machine that runs the container",
        ),
        (
            "Permission denied",
            "it takes root (`become: true`); in a container not even root may set what belongs to the whole machine",
        ),
        ("Invalid argument", "the kernel does not take this value"),
    ]
    .into_iter()
    .find_map(|(said, meaning)| text.contains(said).then_some(meaning))
}

fn describe(op: &crate::host::Op) -> String {
    use crate::host::Op;
    match op {
        Op::Write { path, .. } | Op::Put { path, .. } => format!("writing `{path}`"),
        Op::MakeDir { path, .. } => format!("making the directory `{path}`"),
        Op::Link { path, .. } => format!("linking `{path}`"),
        Op::Remove { path, .. } => format!("removing `{path}`"),
        Op::Chmod { path, .. } => format!("changing the mode of `{path}`"),
        Op::Chown { path, .. } => format!("changing the owner of `{path}`"),
        Op::Touch { path, .. } => format!("touching `{path}`"),
        Op::Copy { path, .. } => format!("copying to `{path}`"),
        Op::Exec(exec) if exec.secret => "a command".to_owned(),
        Op::Exec(exec) => format!("`{}`", exec.argv.join(" ")),
    }
}

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
