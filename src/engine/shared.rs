//! What all hosts of a run, and of a play, share. Immutable while it runs.

#![deny(clippy::disallowed_methods)]

use crate::diagnostic::SourceMap;
use crate::engine::event::Mode;
use crate::engine::rolling::Rolling;
use crate::language::{Files, Play};
use crate::template::Templar;
use crate::transport::Secret;
use std::sync::Arc;

/// For the whole run.
pub struct Shared {
    pub templar: Templar,
    pub files: Arc<dyn Files>,
    pub sources: SourceMap,
    pub mode: Mode,
    /// The start of the run, UTC, RFC 3339 to the second.
    pub now: String,
    pub options: RunOptions,
    pub roles_path: Vec<String>,
    /// `--step`.
    pub gate: Option<Arc<dyn Gate>>,
}

/// Asks the user whether a task may run.
pub trait Gate: Send + Sync {
    /// `key` tells the task from others of the same name; it is asked about once.
    fn allows(&self, key: &str, task: &str) -> bool;
}

/// Options of the command line that tasks feel.
#[derive(Clone, Debug, Default)]
pub struct RunOptions {
    pub become_: bool,
    pub become_user: Option<String>,
    pub become_method: Option<String>,
    pub become_password: Option<Secret>,
    pub tags: Vec<String>,
    pub skip_tags: Vec<String>,
    /// A glob over task names.
    pub start_at_task: Option<String>,
    pub force_handlers: bool,
    /// Seconds for each op that says nothing itself.
    pub task_timeout_s: Option<u32>,
    pub verbosity: u8,
    /// Chance of the run: what masks stand for cannot be guessed by hashing.
    pub mask_key: String,
    /// `verify --drift`: a dry run in which the checks run all the same.
    pub drift: bool,
}

/// For one play.
pub struct PlayRun {
    pub shared: Arc<Shared>,
    pub play: Arc<Play>,
    pub strategy: Strategy,
    /// Some failure of one host stops others (`any_errors_fatal`, `max_fail_percentage`), so nobody may run ahead.
    pub strict: bool,
    pub force_handlers: bool,
    pub gather_facts: bool,
    /// Where changes are made: a host has to have its turn.
    pub rolling: Option<Arc<Rolling>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strategy {
    Linear,
    Free,
}
