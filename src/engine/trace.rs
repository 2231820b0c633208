//! PURE. What evaluations for a task on a host come upon: secrets, other hosts, the controller.

#![deny(clippy::disallowed_methods)]

use crate::language::Node;
use crate::template::Outside;
use serde_json::Value;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What evaluations for a task on a host come upon; shared by all its scopes.
#[derive(Debug, Default)]
pub struct Trace {
    /// It is not the task's turn yet.
    ahead: bool,
    /// What is evaluated is not the task's: it has no turn.
    at_any_time: AtomicBool,
    secret: AtomicBool,
    looked_outside: AtomicBool,
    /// A command of the controller, for what has no turn.
    ran: AtomicBool,
    source: Mutex<Option<Source>>,
    wait: Mutex<Wait>,
}

/// A template's file as a task found it.
#[derive(Clone, Debug)]
pub struct Source {
    /// As the task names it.
    pub src: String,
    pub path: String,
    pub text: Arc<str>,
}

/// What was made of evaluations before the task's turn holds in its turn...
#[derive(Clone, Debug)]
pub enum Holds {
    Always,
    /// ...if this is still what is found.
    While(Source),
    /// ...never: the controller was asked, or it must be seen that a secret was read.
    Never,
}

/// Hosts whose progress evaluations turned out to depend on.
#[derive(Debug, Default)]
pub struct Wait {
    pub hosts: Vec<String>,
    /// All hosts of the batch.
    pub everybody: bool,
}

impl Trace {
    /// For looking at a task before its turn.
    pub fn ahead() -> Self {
        Trace {
            ahead: true,
            ..Trace::default()
        }
    }

    /// A secret was read: what is made of it must not be shown.
    pub fn is_secret(&self) -> bool {
        self.secret.load(Ordering::Relaxed)
    }

    pub fn mark_secret(&self) {
        self.secret.store(true, Ordering::Relaxed);
    }

    /// The task's own template was read.
    pub fn mark_source(&self, source: Source) {
        *self.source.lock().unwrap_or_else(PoisonError::into_inner) = Some(source);
    }

    /// How long what was evaluated holds.
    pub fn holds(&self) -> Holds {
        if self.is_secret() || self.looked_outside.load(Ordering::Relaxed) {
            return Holds::Never;
        }
        let source = self.source.lock().unwrap_or_else(PoisonError::into_inner);
        source.clone().map_or(Holds::Always, Holds::While)
    }

    /// Evaluates something whose outcome tells nothing of the secrets it reads (a condition).
    pub fn telling_nothing<T>(&self, evaluate: impl FnOnce() -> T) -> T {
        let before = self.is_secret();
        let value = evaluate();
        self.secret.store(before, Ordering::Relaxed);
        value
    }

    /// Evaluates something that is no part of what the task does, and so has no turn (whom to become, its name).
    pub fn at_any_time<T>(&self, evaluate: impl FnOnce() -> T) -> T {
        let before = self.at_any_time.swap(true, Ordering::Relaxed);
        let value = evaluate();
        self.at_any_time.store(before, Ordering::Relaxed);
        value
    }

    /// Before the controller is asked; `behind`: another host has not come to the task yet.
    pub fn outside(&self, what: Outside, behind: impl FnOnce() -> bool) -> Result<(), String> {
        if self.at_any_time.load(Ordering::Relaxed) {
            self.ran.fetch_or(what == Outside::Act, Ordering::Relaxed);
            return Ok(());
        }
        if what == Outside::Look {
            self.looked_outside.store(true, Ordering::Relaxed);
            return Ok(());
        }
        if self.ahead {
            return Err("it is asked for when the task's turn comes".to_owned());
        }
        // What tasks before this one do on other hosts may be what it asks about.
        if behind() {
            self.wait().everybody = true;
            return Err("other hosts have not come to this task yet".to_owned());
        }
        Ok(())
    }

    /// The evaluation hangs on what these hosts have yet to do.
    pub fn wait_for(&self, hosts: impl IntoIterator<Item = String>) {
        self.wait().hosts.extend(hosts);
    }

    /// Takes the hosts that are to be waited for, if any.
    pub fn take_wait(&self) -> Option<Wait> {
        let wait = std::mem::take(&mut *self.wait());
        (wait.everybody || !wait.hosts.is_empty()).then_some(wait)
    }

    fn wait(&self) -> MutexGuard<'_, Wait> {
        self.wait.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What commands of the controller told of how to become somebody (`pass`, a vault's client): each is asked once a play
/// and host, not before each task.
#[derive(Clone, Debug, Default)]
pub struct Told(Arc<Mutex<Vec<Answer>>>);

/// The value of a variable as it is written.
type Answer = (Arc<Node>, Option<Value>);

impl Told {
    /// The value of `node`. What is evaluated without a command is evaluated each time: it may hang on results.
    pub fn once<E>(
        &self,
        node: &Arc<Node>,
        trace: &Trace,
        evaluate: impl FnOnce() -> Result<Option<Value>, E>,
    ) -> Result<Option<Value>, E> {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, value)) = told.iter().find(|(known, _)| Arc::ptr_eq(known, node)) {
            return Ok(value.clone());
        }
        trace.ran.store(false, Ordering::Relaxed);
        let value = evaluate()?;
        if trace.ran.load(Ordering::Relaxed) {
            told.push((node.clone(), value.clone()));
        }
        Ok(value)
    }
}
