//! The report for a person: by task, in the order of the play, only what asks for attention in full.

use super::end::End;
use super::style::{Palette, count, host_list, one_line, paint};
use super::task::{self, NAME_COLUMN, OpenTask};
use super::{Kept, Reporter, Sink};
use crate::engine::event::{Event, Mode, RollingState, RollingStep};
use indicatif::ProgressBar;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;

/// How the report looks; nothing here changes what it is about.
#[derive(Clone, Copy, Debug)]
pub struct HumanOptions {
    pub palette: Palette,
    /// Columns to wrap lists at.
    pub width: usize,
    /// Number of `-v`: 1 results, 2 places, 3 everything.
    pub verbosity: u8,
    /// Unified diffs instead of counts of lines.
    pub show_diff: bool,
    /// Show every result as with `-v` (`run`, where the result is what was asked for).
    pub show_results: bool,
}

impl HumanOptions {
    pub fn plain() -> Self {
        HumanOptions {
            palette: Palette::default(),
            width: 100,
            verbosity: 0,
            show_diff: true,
            show_results: false,
        }
    }
}

pub struct Human {
    out: Kept,
    options: HumanOptions,
    bar: ProgressBar,
    mode: Mode,
    /// Hosts of the play, for their order.
    hosts: HashMap<String, usize>,
    /// How many hosts a task can run on: those of the play, or of the serial batch.
    present: usize,
    open: BTreeMap<u64, OpenTask>,
    /// Warnings that belong to no task and are not told yet, with their hosts.
    apart: BTreeMap<String, Vec<String>>,
    warned: HashSet<String>,
    begun: bool,
    end: End,
}

impl Human {
    pub fn new(sink: Sink, options: HumanOptions) -> Self {
        Human {
            out: Kept::new(sink),
            options,
            bar: ProgressBar::hidden(),
            mode: Mode::Apply,
            hosts: HashMap::new(),
            present: 0,
            open: BTreeMap::new(),
            apart: BTreeMap::new(),
            warned: HashSet::new(),
            begun: false,
            end: End::default(),
        }
    }

    /// The line at the foot of the terminal that must make room while text is written.
    #[must_use]
    pub fn beside(mut self, bar: ProgressBar) -> Self {
        self.bar = bar;
        self
    }

    fn print(&mut self, text: &str) {
        if text.is_empty() {
            return;
        }
        self.begun = true;
        let Human { out, bar, .. } = self;
        bar.suspend(|| out.write(text));
    }

    fn paragraph(&mut self, text: &str) {
        let text = if self.begun {
            format!("\n{text}")
        } else {
            text.to_owned()
        };
        self.print(&text);
    }

    /// Tells the warnings that belong to no task, each once, with the hosts it came from so far.
    fn warn(&mut self) {
        for (text, mut hosts) in std::mem::take(&mut self.apart) {
            if self.warned.insert(text.clone()) {
                hosts.sort_by_key(|host| self.hosts.get(host).copied().unwrap_or(usize::MAX));
                hosts.dedup();
                let hosts: Vec<&str> = hosts.iter().map(String::as_str).collect();
                let line = task::warning(&text, &hosts, self.present, &self.options);
                self.print(line.trim_start());
            }
        }
    }

    fn close(&mut self, id: u64) {
        self.warn();
        let Some(mut task) = self.open.remove(&id) else {
            return;
        };
        let order = |host: &String| self.hosts.get(host).copied().unwrap_or(usize::MAX);
        task.results.sort_by_key(|(host, _)| order(host));
        task.unreachable.sort_by_key(|(host, _)| order(host));
        for (host, result) in &task.results {
            for text in &result.warnings {
                task.warnings.entry(text.clone()).or_default().insert(host.clone());
            }
        }
        let warned = &mut self.warned;
        task.warnings.retain(|text, _| warned.insert(text.clone()));
        let text = task::render(&task, self.mode, self.present, &self.options);
        self.print(&text);
        self.end.task(&task);
    }

    fn line(&self, head: &str, style: anstyle::Style, text: &str) -> String {
        let head = super::style::pad(head, NAME_COLUMN);
        format!("{}{text}\n", paint(style, &head))
    }
}

impl Reporter for Human {
    fn event(&mut self, event: &Event) {
        let palette = self.options.palette;
        match event {
            Event::RunStarted { run, mode, .. } => {
                self.mode = *mode;
                self.end.started(run, *mode);
                match mode {
                    Mode::Diff => self.print("dry run: nothing is changed\n"),
                    Mode::Verify => self.print("verify: nothing is changed\n"),
                    Mode::Apply => {}
                }
            }
            Event::PlayStarted { play } => {
                self.warn();
                self.hosts = play.hosts.iter().cloned().zip(0..).collect();
                self.present = play.hosts.len();
                self.end.play(play);
                let name = paint(palette.title, &format!("play: {}", one_line(&play.name))).into_owned();
                let hosts = match play.hosts.as_slice() {
                    [host] => one_line(host),
                    hosts => count(hosts.len(), "host"),
                };
                self.paragraph(&format!("{name} ({hosts})\n"));
            }
            Event::PlaySkipped { play, reason } => {
                let name = paint(palette.title, &format!("play: {}", one_line(&play.name))).into_owned();
                self.paragraph(&format!("{name} (skipped: {})\n", one_line(reason)));
            }
            Event::BatchStarted { number, of, hosts } => {
                self.present = hosts.len();
                let hosts: Vec<&str> = hosts.iter().map(String::as_str).collect();
                let list = host_list(&hosts, NAME_COLUMN, self.options.width, 20);
                self.paragraph(&format!("batch {number} of {of}: {list}\n"));
            }
            Event::TaskStarted { task } => {
                self.open.insert(task.id, OpenTask::new(task.clone()));
            }
            Event::HostResult { task, host, result } => {
                if let Some(open) = self.open.get_mut(task) {
                    open.hear(host, result);
                }
            }
            Event::Retrying { task, host, left } => {
                let Some(open) = self.open.get_mut(task) else {
                    return;
                };
                let first = open.retries.is_empty();
                *open.retries.entry(host.clone()).or_default() += 1;
                if first || self.options.verbosity >= 1 {
                    let text = format!("{} on {}, {left} left", open.title(), one_line(host));
                    let line = self.line("retrying", palette.dim, &text);
                    self.print(&line);
                }
            }
            Event::TaskFinished { task } => self.close(*task),
            Event::Unreachable { host, task, failure } => {
                let open = task.and_then(|id| self.open.get_mut(&id));
                self.end.unreachable(host, open.as_ref().map(|t| t.title()), failure);
                match open {
                    Some(open) => open.unreachable.push((host.clone(), failure.clone())),
                    None => {
                        let text = format!("{}: {}", one_line(host), one_line(&failure.msg));
                        let line = self.line("unreachable", palette.failed, &text);
                        self.print(&line);
                    }
                }
            }
            Event::Warning { host, task, text } => match task.and_then(|id| self.open.get_mut(&id)) {
                Some(open) => {
                    open.warnings
                        .entry(text.clone())
                        .or_default()
                        .extend(host.iter().cloned());
                }
                None => self.apart.entry(text.clone()).or_default().extend(host.clone()),
            },
            Event::Interrupted => {
                let text = "what is in flight is finished first; Ctrl-C again stops now";
                let line = self.line("interrupted", palette.failed, text);
                self.end.interrupted();
                self.print(&line);
            }
            Event::Stopped { reason } => {
                let line = self.line("stopped", palette.failed, &one_line(reason));
                self.print(&line);
            }
            Event::Rolling {
                host,
                step,
                state,
                text,
            } => {
                let (head, style) = match (step, state) {
                    (_, RollingState::Waiting) => ("waiting", palette.dim),
                    (RollingStep::Rebalance, RollingState::Failed) => ("not rebalanced", palette.changed),
                    // The run stops, and that says why.
                    (_, RollingState::Failed) => return,
                    (RollingStep::Gate, RollingState::Passed) => ("gate open", palette.ok),
                    (RollingStep::Drain, RollingState::Passed) => ("drained", palette.ok),
                    (RollingStep::Return, RollingState::Passed) => ("back", palette.ok),
                    (RollingStep::Rebalance, RollingState::Passed) => ("rebalanced", palette.ok),
                };
                let line = self.line(head, style, &format!("{}: {}", one_line(host), one_line(text)));
                self.print(&line);
            }
            Event::Resume { command } => {
                let line = self.line("go on with", palette.title, &one_line(command));
                self.print(&line);
            }
            Event::Progress { .. } => {}
            Event::RunFinished {
                stats,
                timing,
                elapsed_ms,
            } => {
                // After an interrupt some tasks were never finished; what is known of them is told.
                while let Some(id) = self.open.keys().next().copied() {
                    self.close(id);
                }
                self.warn();
                let text = self.end.render(stats, timing, *elapsed_ms, &self.options);
                self.paragraph(&text);
            }
        }
    }

    fn finish(&mut self) -> io::Result<()> {
        self.out.result()
    }
}
