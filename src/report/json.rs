//! Events for programs: one document when the run is over, or a line for each event as it happens.

use super::{Kept, Reporter, Sink};
use crate::engine::event::{Event, Failed, HostResult, TaskStatus};
use crate::host::{Content, Delta, Facet};
use indexmap::IndexSet;
use serde_json::{Map, Value, json};
use std::io;

/// Each event as it is, one line each; [`super::replay`] reads them back.
pub struct JsonLines {
    out: Kept,
}

impl JsonLines {
    pub fn new(sink: Sink) -> Self {
        JsonLines { out: Kept::new(sink) }
    }
}

impl Reporter for JsonLines {
    fn event(&mut self, event: &Event) {
        if matches!(event, Event::Progress { .. }) {
            return;
        }
        // An event is a tree of strings and numbers: writing it cannot fail.
        if let Ok(line) = serde_json::to_string(event) {
            self.out.write(&(line + "\n"));
        }
    }

    fn finish(&mut self) -> io::Result<()> {
        self.out.result()
    }
}

/// One document in the shape of Ansible's `json` callback, with `run`, `mode`, `timing` and the like beside it.
pub struct Json {
    out: Kept,
    plays: Vec<Play>,
    head: Map<String, Value>,
    tail: Map<String, Value>,
    warnings: IndexSet<Value>,
    written: bool,
}

struct Play {
    info: Value,
    tasks: Vec<Task>,
    /// What a rolling play did beside its tasks, in order.
    rolling: Vec<Value>,
}

struct Task {
    id: u64,
    info: Value,
    hosts: Map<String, Value>,
}

impl Json {
    pub fn new(sink: Sink) -> Self {
        Json {
            out: Kept::new(sink),
            plays: Vec::new(),
            head: Map::new(),
            tail: Map::new(),
            warnings: IndexSet::new(),
            written: false,
        }
    }

    fn task(&mut self, id: u64) -> Option<&mut Task> {
        self.plays
            .iter_mut()
            .rev()
            .flat_map(|p| p.tasks.iter_mut().rev())
            .find(|t| t.id == id)
    }

    fn write(&mut self) {
        if std::mem::replace(&mut self.written, true) {
            return;
        }
        // `json!` would copy all of it, twice.
        let pair = |first: (&str, Value), second: (&str, Value)| {
            Value::from_iter([first, second].map(|(key, value)| (key.to_owned(), value)))
        };
        let plays: Vec<Value> = std::mem::take(&mut self.plays)
            .into_iter()
            .map(|play| {
                let tasks = play.tasks.into_iter();
                let tasks = tasks.map(|t| pair(("task", t.info), ("hosts", Value::Object(t.hosts))));
                let mut told = pair(("play", play.info), ("tasks", tasks.collect()));
                if !play.rolling.is_empty() {
                    told["rolling"] = Value::Array(play.rolling);
                }
                told
            })
            .collect();
        let mut document = std::mem::take(&mut self.head);
        document.insert("plays".to_owned(), Value::Array(plays));
        if !self.warnings.is_empty() {
            document.insert(
                "warnings".to_owned(),
                std::mem::take(&mut self.warnings).into_iter().collect(),
            );
        }
        for key in ["stats", "timing"] {
            document.insert(key.to_owned(), json!({}));
        }
        document.append(&mut self.tail);
        if let Ok(mut text) = serde_json::to_string_pretty(&document) {
            text.push('\n');
            self.out.write(&text);
        }
    }
}

impl Reporter for Json {
    fn event(&mut self, event: &Event) {
        match event {
            Event::RunStarted {
                run,
                version,
                mode,
                playbooks,
                time,
            } => {
                self.head.insert("run".to_owned(), json!(run));
                self.head.insert("version".to_owned(), json!(version));
                self.head.insert("mode".to_owned(), json!(mode));
                self.head.insert("playbooks".to_owned(), json!(playbooks));
                self.head.insert("time".to_owned(), json!(time));
            }
            Event::PlayStarted { play } | Event::PlaySkipped { play, .. } => {
                let mut info = json!({"id": play.id, "name": play.name, "hosts": play.hosts});
                if let Some(place) = &play.location {
                    info["path"] = json!(format!("{}:{}", place.file, place.line));
                }
                if let Event::PlaySkipped { reason, .. } = event {
                    info["skipped"] = json!(reason);
                }
                self.plays.push(Play {
                    info,
                    tasks: Vec::new(),
                    rolling: Vec::new(),
                });
            }
            Event::TaskStarted { task } => {
                let mut info = json!({
                    "id": task.id, "name": task.name, "action": task.module, "section": task.section,
                    "tags": task.tags,
                });
                if let Some(place) = &task.location {
                    info["path"] = json!(format!("{}:{}", place.file, place.line));
                }
                if let Some(play) = self.plays.last_mut() {
                    play.tasks.push(Task {
                        id: task.id,
                        info,
                        hosts: Map::new(),
                    });
                }
            }
            Event::HostResult { task, host, result } => {
                if let Some(task) = self.task(*task) {
                    task.hosts.insert(host.clone(), host_result(result));
                }
            }
            Event::Unreachable {
                host,
                task: Some(task),
                failure,
            } => {
                if let Some(task) = self.task(*task) {
                    let mut value = Map::from_iter([("unreachable".to_owned(), json!(true))]);
                    add_failure(&mut value, failure);
                    task.hosts.insert(host.clone(), Value::Object(value));
                }
            }
            Event::Unreachable { host, failure, .. } => {
                let mut value = Map::from_iter([("unreachable".to_owned(), json!(true))]);
                add_failure(&mut value, failure);
                let hosts = self.head.entry("unreachable").or_insert_with(|| json!({}));
                hosts[host] = Value::Object(value);
            }
            Event::Warning { host, text, .. } => {
                let mut warning = json!({"text": text});
                if let Some(host) = host {
                    warning["host"] = json!(host);
                }
                self.warnings.insert(warning);
            }
            Event::Interrupted => {
                self.tail.insert("interrupted".to_owned(), json!(true));
            }
            Event::Stopped { reason } => {
                self.tail.insert("stopped".to_owned(), json!(reason));
            }
            Event::Rolling {
                host,
                step,
                state,
                text,
            } => {
                if let Some(play) = self.plays.last_mut() {
                    play.rolling
                        .push(json!({"host": host, "step": step, "state": state, "text": text}));
                }
            }
            Event::Resume { command } => {
                self.tail.insert("resume".to_owned(), json!(command));
            }
            Event::RunFinished {
                stats,
                timing,
                elapsed_ms,
            } => {
                self.tail.insert("stats".to_owned(), json!(stats));
                self.tail.insert("timing".to_owned(), json!(timing));
                self.tail.insert("elapsed_ms".to_owned(), json!(elapsed_ms));
                self.write();
            }
            Event::BatchStarted { .. }
            | Event::Retrying { .. }
            | Event::TaskFinished { .. }
            | Event::Progress { .. } => {}
        }
    }

    fn finish(&mut self) -> io::Result<()> {
        self.write();
        self.out.result()
    }
}

/// Ansible's result: the module's return values with `changed`, `failed`, `msg`, `diff`.
fn host_result(result: &HostResult) -> Value {
    let mut value = result.value.clone();
    value.insert(
        "changed".to_owned(),
        json!(result.status == TaskStatus::Changed || value.get("changed") == Some(&json!(true))),
    );
    match result.status {
        TaskStatus::Failed | TaskStatus::Ignored | TaskStatus::Rescued => {
            value.insert("failed".to_owned(), json!(true));
        }
        TaskStatus::Skipped => {
            value.insert("skipped".to_owned(), json!(true));
        }
        TaskStatus::Unreachable => {
            value.insert("unreachable".to_owned(), json!(true));
        }
        TaskStatus::Unknown => {
            value.insert("unknown".to_owned(), json!(true));
        }
        TaskStatus::Ok | TaskStatus::Changed => {}
    }
    if let Some(failure) = &result.failure {
        add_failure(&mut value, failure);
    }
    if !result.hide_diff && !result.deltas.is_empty() {
        value.insert("diff".to_owned(), result.deltas.iter().map(diff).collect());
    }
    if !result.layers.is_empty() {
        let layers = result.layers.iter().map(|layer| {
            let mut value = json!(layer);
            value["finding"] = json!(layer.finding());
            value
        });
        value.insert("layers".to_owned(), layers.collect());
    }
    if !result.warnings.is_empty() {
        value.insert("warnings".to_owned(), json!(result.warnings));
    }
    if result.status == TaskStatus::Ignored {
        value.insert("ignored".to_owned(), json!(true));
    }
    if result.status == TaskStatus::Rescued {
        value.insert("rescued".to_owned(), json!(true));
    }
    Value::Object(value)
}

fn add_failure(value: &mut Map<String, Value>, failure: &Failed) {
    value.entry("msg").or_insert_with(|| json!(failure.msg));
    value.insert("code".to_owned(), json!(failure.code));
    for (key, lines) in [("notes", &failure.notes), ("helps", &failure.helps)] {
        if !lines.is_empty() {
            value.insert(key.to_owned(), json!(lines));
        }
    }
}

/// `before`, `after` and their headers, as Ansible names them; an absent side is empty and says so in its header.
fn diff(delta: &Delta) -> Value {
    let mut value = Map::new();
    for (side, facet) in [("before", &delta.before), ("after", &delta.after)] {
        let (text, word) = match facet {
            Facet::Absent => (json!(""), "absent"),
            Facet::Value(v) => (json!(v), side),
            Facet::Text(content) => (body(content), side),
            Facet::Unknown(reason) => {
                value.insert(format!("{side}_unknown"), json!(reason));
                (Value::Null, "cannot know yet")
            }
            Facet::Secret(tag) => (json!(format!("«secret:{tag}»")), side),
        };
        value.insert(side.to_owned(), text);
        value.insert(format!("{side}_header"), json!(format!("{} ({word})", delta.subject)));
    }
    Value::Object(value)
}

/// A string, or `{"base64": ...}` for what is not UTF-8.
fn body(content: &Content) -> Value {
    serde_json::to_value(content).unwrap_or(Value::Null)
}
