//! A line at the foot of a terminal that tells how far the run is. It says nothing that the report does not say
//! later, so elsewhere it is simply hidden.

use super::Reporter;
use crate::engine::event::{Event, Section, TaskStatus};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::collections::{BTreeMap, HashSet};
use std::io::{self, Write as _};
use std::time::Duration;

/// Frames a second at most.
const HZ: u8 = 10;
/// The clock goes on while nothing else happens.
const TICK: Duration = Duration::from_millis(500);

pub struct Progress {
    bar: ProgressBar,
    tasks: BTreeMap<u64, String>,
    /// Hosts that failed or cannot be reached: whoever watches need not wait until all hosts are past the task.
    lost: HashSet<String>,
}

impl Progress {
    /// Draws on standard error; `visible` is whether that is a terminal somebody watches (not in CI).
    pub fn new(visible: bool) -> Self {
        let target = if visible {
            ProgressDrawTarget::stderr_with_hz(HZ)
        } else {
            ProgressDrawTarget::hidden()
        };
        let bar = ProgressBar::with_draw_target(None, target);
        if let Ok(style) = ProgressStyle::with_template("{bar:20} {pos}/{len} {elapsed}  {prefix}{wide_msg}") {
            bar.set_style(style);
        }
        if visible {
            bar.enable_steady_tick(TICK);
        }
        Progress {
            bar,
            tasks: BTreeMap::new(),
            lost: HashSet::new(),
        }
    }

    /// For whoever prints: [`ProgressBar::suspend`] keeps line and text apart.
    pub fn bar(&self) -> ProgressBar {
        self.bar.clone()
    }

    fn lose(&mut self, host: &str) {
        if self.lost.insert(host.to_owned()) {
            self.bar.set_prefix(format!("{} failed  ", self.lost.len()));
        }
    }

    fn show(&self) {
        // The earliest open task is the one the others wait for.
        if let Some(name) = self.tasks.values().next() {
            self.bar.set_message(super::style::one_line(name));
        }
    }
}

/// The steps of one long job that is no run: what is going on, at the foot of a terminal; what is done, as lines that
/// stay, there and elsewhere.
pub struct Steps {
    bar: ProgressBar,
}

impl Steps {
    /// Writes to standard error; `visible` as for [`Progress::new`].
    pub fn new(visible: bool) -> Self {
        let bar = if visible {
            ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(HZ))
        } else {
            ProgressBar::hidden()
        };
        if let Ok(style) = ProgressStyle::with_template("{spinner} {elapsed}  {wide_msg}") {
            bar.set_style(style);
        }
        if visible {
            bar.enable_steady_tick(TICK);
        }
        Steps { bar }
    }

    pub fn doing(&self, text: &str) {
        self.bar.set_message(super::style::one_line(text));
        self.bar.tick();
    }

    pub fn done(&self, text: &str) {
        // As with every line on standard error: a reader that went away is no mistake.
        self.bar.suspend(|| {
            let _ = writeln!(io::stderr(), "{text}");
        });
    }

    pub fn clear(&self) {
        self.bar.finish_and_clear();
    }
}

impl Reporter for Progress {
    fn event(&mut self, event: &Event) {
        match event {
            Event::TaskStarted { task } => {
                let name = match task.section {
                    Section::Handler => format!("handler: {}", task.name),
                    _ => task.name.clone(),
                };
                self.tasks.insert(task.id, name);
                self.show();
            }
            Event::TaskFinished { task } => {
                self.tasks.remove(task);
                self.show();
            }
            Event::HostResult { host, result, .. } if result.status == TaskStatus::Failed => self.lose(host),
            Event::Unreachable { host, .. } => self.lose(host),
            Event::Retrying { task, host, left } => {
                if let Some(name) = self.tasks.get(task) {
                    let text = format!("{name}: {host} tries again, {left} left");
                    self.bar.set_message(super::style::one_line(&text));
                }
            }
            Event::Progress { done, total, .. } => {
                self.bar.set_length(*total);
                self.bar.set_position(*done);
            }
            Event::RunFinished { .. } => self.bar.finish_and_clear(),
            _ => {}
        }
    }

    fn finish(&mut self) -> io::Result<()> {
        self.bar.finish_and_clear();
        Ok(())
    }
}
