//! The one stream of typed, serialisable events; the terminal, JSON and the journal are its consumers, and
//! replaying it prints what the run printed.

#![deny(clippy::disallowed_methods)]

use crate::diagnostic::Location;
use crate::host::{Delta, Layer};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::sync::Arc;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    RunStarted {
        run: String,
        version: String,
        mode: Mode,
        playbooks: Vec<String>,
        time: String,
    },
    PlayStarted {
        play: PlayInfo,
    },
    /// The play's pattern matched no host.
    PlaySkipped {
        play: PlayInfo,
        reason: String,
    },
    /// A serial batch begins (told only when there are several).
    BatchStarted {
        number: usize,
        of: usize,
        hosts: Vec<String>,
    },
    /// A task begins on some host for the first time; `task.id` is unique in the run and ascending in linear order.
    TaskStarted {
        task: TaskInfo,
    },
    /// What a task came to on one host. Hosts may run ahead of each other; [`Event::TaskFinished`] comes in order.
    HostResult {
        task: u64,
        host: String,
        result: Arc<HostResult>,
    },
    /// An attempt failed and another follows (`until`).
    Retrying {
        task: u64,
        host: String,
        left: u32,
    },
    /// Every host of the batch is past this task.
    TaskFinished {
        task: u64,
    },
    Unreachable {
        host: String,
        task: Option<u64>,
        failure: Failed,
    },
    Warning {
        host: Option<String>,
        task: Option<u64>,
        text: String,
    },
    /// The run was asked to stop: what is in flight is finished first.
    Interrupted,
    /// Why no further task is started (max_fail_percentage, any_errors_fatal, a failed check).
    Stopped {
        reason: String,
    },
    /// What a rolling play does with a host beside its tasks.
    Rolling {
        host: String,
        step: RollingStep,
        state: RollingState,
        text: String,
    },
    /// After [`Event::Stopped`]: the command that goes on where this run stopped.
    Resume {
        command: String,
    },
    /// For progress displays; not journalled.
    Progress {
        done: u64,
        total: u64,
        busy: usize,
    },
    RunFinished {
        stats: BTreeMap<String, Stats>,
        timing: BTreeMap<String, Timing>,
        elapsed_ms: u64,
    },
}

/// A step of a rolling play, see `engine::rolling`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RollingStep {
    /// May the node go?
    Gate,
    /// Its clients and leaders move to the others.
    Drain,
    /// Is it back?
    Return,
    /// Once for the play: leaders are spread again.
    Rebalance,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RollingState {
    /// Not yet, and why.
    Waiting,
    Passed,
    /// Not within its limit: the run stops (exit status 6). A rebalance that fails stops nothing.
    Failed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    Apply,
    Diff,
    Verify,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlayInfo {
    pub id: u64,
    pub name: String,
    pub hosts: Vec<String>,
    pub location: Option<Location>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskInfo {
    pub id: u64,
    /// As shown: the name with templates that could be evaluated, `role : name` in roles, else the module.
    pub name: String,
    pub module: String,
    pub section: Section,
    pub location: Option<Location>,
    /// `-t` and `--list-tags` names.
    pub tags: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Section {
    Facts,
    PreCheck,
    Task,
    Handler,
    PostCheck,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HostResult {
    pub status: TaskStatus,
    /// What `register` would hold: Ansible's shape. Already censored where `no_log` says so.
    pub value: Map<String, Value>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub deltas: Vec<Delta>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub layers: Vec<Layer>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failed>,
    /// For a loop: label and status of each item (their deltas are in `deltas`).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub items: Vec<ItemResult>,
    /// `diff: false` or `no_log`: keep deltas out of sight.
    #[serde(default)]
    pub hide_diff: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ItemResult {
    pub label: String,
    pub status: TaskStatus,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub msg: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskStatus {
    Ok,
    Changed,
    Skipped,
    Failed,
    /// Failed, and `ignore_errors` said to go on.
    Ignored,
    /// Failed, and a `rescue` takes over.
    Rescued,
    /// Dry run: cannot be known yet; `failure.msg` is not set, `value.msg` says why.
    Unknown,
    /// The connection was lost while it acted.
    Unreachable,
}

/// A failure as a reader needs it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Failed {
    /// Stable code, `E301`.
    pub code: String,
    pub msg: String,
    /// Command, exit status, last lines of stderr...: shown as `= ...` lines.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub helps: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub location: Option<Location>,
    /// The rendered diagnostic where one exists (templates): text without colour. Whom it befell it names with
    /// [`undefined_on`], if at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rendered: Option<String>,
}

/// The label under an undefined name.
pub fn undefined_on(whom: &str) -> String {
    format!("undefined on {whom}")
}

/// Ansible's counters.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stats {
    pub ok: u64,
    pub changed: u64,
    pub unreachable: u64,
    pub failures: u64,
    pub skipped: u64,
    pub rescued: u64,
    pub ignored: u64,
    /// Dry run: tasks that cannot be known yet.
    #[serde(default)]
    pub unknown: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timing {
    pub connect_ms: u64,
    /// Request-answer pairs after the connection was up.
    pub round_trips: u64,
    /// Ops run.
    pub executions: u64,
    pub bytes_out: u64,
    pub bytes_in: u64,
    /// Erlang VMs started to look or to act: runs of `rabbitmqctl` and the like.
    #[serde(default)]
    pub vm_starts: u64,
}
