//! What has been seen of a host, as `decide` asks for it.

use super::Failure;
use crate::host::{Content, ExecResult, Observation, Probe, Stat};
use std::sync::{Arc, Mutex};

/// Why `decide` cannot answer yet. Made by the accessors of [`Seen`], passed on with `?`.
#[derive(Clone, Debug, PartialEq)]
pub enum Stop {
    /// These must be looked at first.
    NeedMore(Vec<Probe>),
    /// Dry run: depends on what an earlier task will have done; the text says which.
    CannotKnow(String),
    /// The task fails (a look was refused...).
    Fail(Failure),
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Stop::Fail(failure)
    }
}

/// Observations by probe, with a record of which ones were used (the engine takes those again after acting).
pub struct Seen<'a> {
    source: &'a dyn Fn(&Probe) -> Option<Observation>,
    used: Mutex<Vec<Probe>>,
}

impl<'a> Seen<'a> {
    pub fn new(source: &'a dyn Fn(&Probe) -> Option<Observation>) -> Self {
        Seen {
            source,
            used: Mutex::new(Vec::new()),
        }
    }

    /// Every probe asked for since the last call of this, in order, once each.
    pub fn take_used(&self) -> Vec<Probe> {
        std::mem::take(&mut self.used.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }

    /// The observation as it is, [`Observation::Failed`] and [`Observation::Unknown`] included.
    pub fn raw(&self, probe: &Probe) -> Result<Observation, Stop> {
        {
            let mut used = self.used.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            if !used.contains(probe) {
                used.push(probe.clone());
            }
        }
        (self.source)(probe).ok_or_else(|| Stop::NeedMore(vec![probe.clone()]))
    }

    /// The observation if it is there anyway; never asks for it. For what a dry run predicts of a file that `decide` knows
    /// from another look.
    pub fn peek(&self, probe: &Probe) -> Option<Observation> {
        (self.source)(probe)
    }

    /// Asks for all of them at once, so that what is missing comes back with one look instead of one each.
    pub fn want(&self, probes: &[Probe]) -> Result<(), Stop> {
        let missing: Vec<Probe> = probes.iter().filter(|p| self.raw(p).is_err()).cloned().collect();
        if missing.is_empty() {
            Ok(())
        } else {
            Err(Stop::NeedMore(missing))
        }
    }

    /// The observation; a failed look fails the task, an unknown one is [`Stop::CannotKnow`].
    pub fn get(&self, probe: &Probe) -> Result<Observation, Stop> {
        match self.raw(probe)? {
            Observation::Failed(text) => Err(Stop::Fail(Failure::new(text))),
            Observation::Unknown(text) => Err(Stop::CannotKnow(text)),
            observation => Ok(observation),
        }
    }

    /// `lstat`; `None`: nothing there.
    pub fn stat(&self, path: &str) -> Result<Option<Stat>, Stop> {
        match self.get(&Probe::stat(path))? {
            Observation::Stat(stat) => Ok(stat.map(Arc::unwrap_or_clone)),
            other => Err(mismatch(&other)),
        }
    }

    /// `stat` through symlinks; `None`: nothing there.
    pub fn stat_follow(&self, path: &str) -> Result<Option<Stat>, Stop> {
        match self.get(&Probe::stat_follow(path))? {
            Observation::Stat(stat) => Ok(stat.map(Arc::unwrap_or_clone)),
            other => Err(mismatch(&other)),
        }
    }

    /// The bytes of a file; `None`: nothing there.
    pub fn read(&self, path: &str) -> Result<Option<Content>, Stop> {
        match self.get(&Probe::read(path))? {
            Observation::Content(content) => Ok(content),
            other => Err(mismatch(&other)),
        }
    }

    /// The text of a file of one value (`/proc`, `/sys`), without the newline at its end; `None`: nothing there.
    pub fn read_line(&self, path: &str) -> Result<Option<String>, Stop> {
        Ok(self.read(path)?.map(|c| c.text().trim_end_matches('\n').to_owned()))
    }

    pub fn glob(&self, pattern: &str) -> Result<Vec<String>, Stop> {
        match self.get(&Probe::glob(pattern))? {
            Observation::List(list) => Ok(list),
            other => Err(mismatch(&other)),
        }
    }

    /// A finished read-only command, whatever its exit status.
    pub fn exec(&self, argv: &[&str]) -> Result<ExecResult, Stop> {
        match self.get(&Probe::exec(argv.iter().copied()))? {
            Observation::Exec(result) => Ok(result),
            other => Err(mismatch(&other)),
        }
    }
}

fn mismatch(observation: &Observation) -> Stop {
    Stop::Fail(Failure::new(format!(
        "the host answered something else than was asked: {observation:?}"
    )))
}
