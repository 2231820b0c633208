//! What a run came to, for the exit status.

use super::Reporter;
use crate::cli::Exit;
use crate::engine::event::{Event, RollingState, RollingStep, Section, TaskStatus};
use std::collections::BTreeSet;

/// Counts what decides the exit status.
#[derive(Debug, Default)]
pub struct Tally {
    /// Some play found a host.
    pub matched: bool,
    /// Some task was there to run, beside the gathering of facts.
    pub ran: bool,
    pub changed: u64,
    /// Dry run: what cannot be known yet.
    pub unknown: u64,
    pub failed: u64,
    pub unreachable: u64,
    pub interrupted: bool,
    pub stopped: bool,
    /// A gate of a rolling play stayed closed.
    pub refused: bool,
    checks: BTreeSet<u64>,
}

impl Tally {
    /// The contract of the exit statuses. `pending`: `--detailed-exitcode` was given to a dry run.
    /// `allow_empty`: that nothing matched is no error.
    pub fn exit(&self, pending: bool, allow_empty: bool) -> Exit {
        if self.interrupted {
            Exit::Interrupted
        } else if self.refused {
            Exit::Refused
        } else if self.unreachable > 0 {
            Exit::Unreachable
        } else if self.failed > 0 {
            Exit::Failed
        } else if !self.matched && !allow_empty {
            Exit::NothingMatched
        } else if pending && self.changed + self.unknown > 0 {
            Exit::Pending
        } else {
            Exit::Done
        }
    }
}

impl Reporter for Tally {
    fn event(&mut self, event: &Event) {
        match event {
            Event::PlayStarted { play } => self.matched |= !play.hosts.is_empty(),
            Event::TaskStarted { task } => {
                self.ran |= task.section != Section::Facts;
                if matches!(task.section, Section::PreCheck | Section::PostCheck) {
                    self.checks.insert(task.id);
                }
            }
            Event::HostResult { task, result, .. } => match result.status {
                TaskStatus::Changed if !self.checks.contains(task) => self.changed += 1,
                TaskStatus::Unknown if !self.checks.contains(task) => self.unknown += 1,
                TaskStatus::Failed => self.failed += 1,
                TaskStatus::Unreachable => self.unreachable += 1,
                _ => {}
            },
            Event::Unreachable { .. } => self.unreachable += 1,
            // The engine's own account is the last word (`ignore_unreachable`).
            Event::RunFinished { stats, .. } => {
                self.failed = stats.values().map(|s| s.failures).sum();
                self.unreachable = stats.values().map(|s| s.unreachable).sum();
            }
            Event::Interrupted => self.interrupted = true,
            Event::Stopped { .. } => self.stopped = true,
            Event::Rolling { step, state, .. } => {
                self.refused |= *state == RollingState::Failed && *step != RollingStep::Rebalance;
            }
            _ => {}
        }
    }
}
