//! PURE. What hosts of a batch have in common (the objects of a cluster): of those that say they share something and
//! whose tasks say the same, the first looks and acts, and the others take over what came of it.
//!
//! Which host that is hangs on the order of the inventory alone: a host first says what it shares, and goes on when all
//! hosts before it have said so, too, or are past the task.

#![deny(clippy::disallowed_methods)]

use crate::engine::walk::Pos;
use crate::host::{Observation, Probe};
use crate::modules::Shared;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// What a host's task was told by the host that did it.
#[derive(Clone, Debug)]
pub struct CameTo {
    /// The host.
    pub host: String,
    /// As `register` holds it.
    pub value: Map<String, Value>,
    pub failed: Option<String>,
    pub unknown: Option<String>,
    /// Dry run: what looks would see now.
    pub foretold: Vec<(Probe, Observation)>,
}

/// What is shared, and what the task that is about it says.
pub type What = (String, [u8; 32]);

#[derive(Debug, Default)]
pub struct Shares {
    /// Hosts, by their place in the batch, that are at a task and have said what they share, if anything.
    said: BTreeMap<Pos, BTreeMap<usize, Option<(What, String)>>>,
    /// What came of a task, and which part the host that did it is.
    came_to: BTreeMap<(Pos, What), (String, CameTo)>,
}

/// Whose a task is.
#[derive(Debug, PartialEq)]
pub enum Whose {
    Mine,
    /// Somebody does it, and it is not done yet.
    Awaited,
    Done,
}

impl Shares {
    /// A host says what it shares at a task; `None`: nothing.
    pub fn say(&mut self, index: usize, pos: &Pos, shared: Option<(&Shared, [u8; 32])>) {
        let entry = shared.map(|(shared, digest)| ((shared.what.clone(), digest), shared.part.clone()));
        self.said.entry(pos.clone()).or_default().insert(index, entry);
    }

    pub fn has_said(&self, index: usize, pos: &Pos) -> bool {
        self.said.get(pos).is_some_and(|hosts| hosts.contains_key(&index))
    }

    /// The host is no longer at this task.
    pub fn leaves(&mut self, index: usize, pos: &Pos) {
        if let Some(hosts) = self.said.get_mut(pos) {
            hosts.remove(&index);
            if hosts.is_empty() {
                self.said.remove(pos);
            }
        }
    }

    /// Whose the task is that a host has said something of.
    pub fn whose(&self, index: usize, pos: &Pos) -> Whose {
        let Some(hosts) = self.said.get(pos) else {
            return Whose::Mine;
        };
        let Some(Some((what, part))) = hosts.get(&index) else {
            return Whose::Mine;
        };
        // Two hosts that are the same part of it are parts of two things of the same name.
        let others = || {
            hosts
                .iter()
                .filter(|(other, _)| **other != index)
                .filter_map(|(i, s)| Some((i, s.as_ref()?)))
        };
        if others().any(|(_, (its, its_part))| its.0 == what.0 && its_part == part) {
            return Whose::Mine;
        }
        if let Some((its_part, _)) = self.came_to.get(&(pos.clone(), what.clone())) {
            return if its_part == part { Whose::Mine } else { Whose::Done };
        }
        let first = others().filter(|(_, (its, _))| its == what).map(|(i, _)| *i).min();
        if first.is_some_and(|first| first < index) {
            Whose::Awaited
        } else {
            Whose::Mine
        }
    }

    /// What came of the task, for a host that it is not the task of.
    pub fn result(&self, index: usize, pos: &Pos) -> Option<&CameTo> {
        let (what, _) = self.said.get(pos)?.get(&index)?.as_ref()?;
        self.came_to
            .get(&(pos.clone(), what.clone()))
            .map(|(_, came_to)| came_to)
    }

    /// The host whose task it was is done.
    pub fn done(&mut self, index: usize, pos: &Pos, came_to: CameTo) {
        let said = self.said.get(pos).and_then(|hosts| hosts.get(&index));
        if let Some(Some((what, part))) = said {
            let entry = self.came_to.entry((pos.clone(), what.clone()));
            entry.or_insert((part.clone(), came_to));
        }
    }
}
