//! PURE. What a task came to: per item, then as a whole, in the shape `register` and reports know from Ansible.

#![deny(clippy::disallowed_methods)]

mod judge;
mod summary;

pub use self::judge::{Verdict, judge, with_result};
pub use self::summary::{Summary, simple, summarise, told};

use crate::diagnostic::Code;
use crate::engine::control::Effect;
use crate::engine::event::{Failed, TaskStatus};
use crate::host::{Delta, Facet, Layer, Outcome, Status};
use crate::language::Loop;
use crate::modules::{Change, Failure, Report, Settle};
use serde_json::{Map, Value};
use std::mem::take;

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
