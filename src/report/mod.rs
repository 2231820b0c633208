//! The only mouth: what a run does arrives as [`Event`]s, and reporters turn them into text for a person, JSON
//! documents or JSON lines. A reporter writes where it is told and keeps all its state to itself, so that a
//! replay of the same events prints the same.

mod delta;
mod diagnostics;
mod end;
mod human;
mod json;
mod progress;
pub mod prompt;
pub mod style;
mod tally;
mod task;

pub use diagnostics::{Diagnostics, MessageFormat};
pub use human::{Human, HumanOptions};
pub use json::{Json, JsonLines};
pub use progress::{Progress, Steps};
pub use tally::Tally;

use crate::engine::event::Event;
use std::io::{self, BufRead, Write};

/// Where a reporter writes.
pub type Sink = Box<dyn Write + Send>;

/// A consumer of events.
pub trait Reporter: Send {
    /// Takes the next event. A sink that fails never stops a run: the error is kept for [`Reporter::finish`].
    fn event(&mut self, event: &Event);

    /// Writes what is still to be written and tells the first error of the sink.
    fn finish(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Every event to each of several reporters, in their order.
#[derive(Default)]
pub struct FanOut(pub Vec<Box<dyn Reporter>>);

impl Reporter for FanOut {
    fn event(&mut self, event: &Event) {
        for reporter in &mut self.0 {
            reporter.event(event);
        }
    }

    fn finish(&mut self) -> io::Result<()> {
        let results: Vec<_> = self.0.iter_mut().map(|r| r.finish()).collect();
        results.into_iter().collect()
    }
}

/// A shared reporter, for those whose result is read afterwards ([`Tally`]).
impl<R: Reporter> Reporter for std::sync::Arc<std::sync::Mutex<R>> {
    fn event(&mut self, event: &Event) {
        self.lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .event(event);
    }

    fn finish(&mut self) -> io::Result<()> {
        self.lock().unwrap_or_else(std::sync::PoisonError::into_inner).finish()
    }
}

/// Feeds the events of a JSON lines journal to a reporter. Ends at the first line that is not an event, with its
/// number in the error.
pub fn replay(journal: impl BufRead, reporter: &mut dyn Reporter) -> io::Result<()> {
    for (number, line) in journal.lines().enumerate() {
        let line = line?;
        let event = serde_json::from_str(&line)
            .map_err(|e| io::Error::new(io::ErrorKind::InvalidData, format!("line {}: {e}", number + 1)))?;
        reporter.event(&event);
    }
    reporter.finish()
}

/// A sink that remembers its first error; later writes are dropped (a closed pipe stays closed).
struct Kept {
    sink: Sink,
    error: Option<io::Error>,
}

impl Kept {
    fn new(sink: Sink) -> Self {
        Kept { sink, error: None }
    }

    fn write(&mut self, text: &str) {
        if self.error.is_some() {
            return;
        }
        if let Err(error) = self.sink.write_all(text.as_bytes()).and_then(|()| self.sink.flush()) {
            self.error = Some(error);
        }
    }

    /// The first error, once. A reader that went away (`| head`) is none.
    fn result(&mut self) -> io::Result<()> {
        match self.error.take() {
            Some(e) if e.kind() != io::ErrorKind::BrokenPipe => Err(e),
            _ => Ok(()),
        }
    }
}
