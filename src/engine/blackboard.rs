//! PURE. What hosts see of each other: their variables, and what their tasks have produced so far.

#![deny(clippy::disallowed_methods)]

use crate::engine::trace::Trace;
use crate::engine::vars::{HostLayers, Produced, Stored, TaskScope};
use crate::engine::walk::Pos;
use crate::template::{Found, Outside, Scope};
use serde_json::Value;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, PoisonError, RwLock};

/// What hosts see of each other: the variables of each, and what its tasks produced with the position at which
/// they did, so that a host that ran ahead shows a slower one only what linear order would show.
#[derive(Debug, Default)]
pub struct Blackboard {
    hosts: RwLock<BTreeMap<String, Entry>>,
}

#[derive(Debug)]
struct Entry {
    layers: Arc<HostLayers>,
    /// The position up to which everything is done; `None`: done with the play, or not in it.
    reached: Option<Pos>,
    /// The position at which it failed or was lost in this play.
    lost: Option<Pos>,
    facts: Vec<(Pos, Arc<Value>)>,
    secret: Arc<HashSet<String>>,
    values: HashMap<String, Vec<(Pos, Stored)>>,
}

impl Blackboard {
    fn write<T>(&self, host: &str, change: impl FnOnce(&mut Entry) -> T) -> Option<T> {
        let mut hosts = self.hosts.write().unwrap_or_else(PoisonError::into_inner);
        hosts.get_mut(host).map(change)
    }

    /// Makes a host known; what it produced in earlier plays stays (at the very beginning of this one).
    pub fn enter(&self, layers: Arc<HostLayers>, reached: Option<Pos>) {
        let mut hosts = self.hosts.write().unwrap_or_else(PoisonError::into_inner);
        let old = hosts.remove(&layers.name);
        let start = Pos::default();
        let (facts, secret, values) = old.map_or_else(Default::default, |e| {
            (
                e.facts
                    .last()
                    .map(|(_, f)| (start.clone(), f.clone()))
                    .into_iter()
                    .collect(),
                e.secret,
                e.values
                    .into_iter()
                    .filter_map(|(k, v)| v.last().map(|(_, x)| (k, vec![(start.clone(), x.clone())])))
                    .collect(),
            )
        });
        // Others see what the inventory says of a host, not what the play or its roles add.
        let layers = Arc::new(HostLayers {
            defaults: Vec::new(),
            high: Vec::new(),
            ..(*layers).clone()
        });
        hosts.insert(
            layers.name.clone(),
            Entry {
                layers,
                reached,
                lost: None,
                facts,
                secret,
                values,
            },
        );
    }

    pub fn reach(&self, host: &str, pos: Option<Pos>) {
        self.write(host, |e| e.reached = pos);
    }

    pub fn lose(&self, host: &str, at: &Pos) {
        self.write(host, |e| e.lost.get_or_insert_with(|| at.clone()).clone());
    }

    /// Those of `names` that have not failed before `pos`; the others' names where that cannot be told yet.
    pub fn survivors(&self, names: &[Value], pos: &Pos, free: bool) -> Result<Vec<Value>, Vec<String>> {
        let hosts = self.hosts.read().unwrap_or_else(PoisonError::into_inner);
        let entry = |name: &Value| name.as_str().and_then(|n| hosts.get(n));
        let behind = |e: &&Entry| !free && e.lost.is_none() && e.reached.as_ref().is_some_and(|r| r < pos);
        let wait: Vec<String> = names
            .iter()
            .filter_map(entry)
            .filter(behind)
            .map(|e| e.layers.name.clone())
            .collect();
        if !wait.is_empty() {
            return Err(wait);
        }
        let lives = |name: &&Value| entry(name).is_none_or(|e| e.lost.as_ref().is_none_or(|at| !free && at >= pos));
        Ok(names.iter().filter(lives).cloned().collect())
    }

    pub fn publish(&self, host: &str, at: &Pos, name: &str, value: &Stored) {
        self.write(host, |e| {
            e.values
                .entry(name.to_owned())
                .or_default()
                .push((at.clone(), value.clone()));
        });
    }

    /// Names whose values are secret.
    pub fn hide(&self, host: &str, names: &Arc<HashSet<String>>) {
        self.write(host, |e| e.secret = names.clone());
    }

    pub fn publish_facts(&self, host: &str, at: &Pos, facts: &Arc<Value>) {
        self.write(host, |e| e.facts.push((at.clone(), facts.clone())));
    }

    /// Whether a host that goes on has not done everything before `pos`.
    pub fn is_behind(&self, pos: &Pos) -> bool {
        let hosts = self.hosts.read().unwrap_or_else(PoisonError::into_inner);
        let mut left = hosts.values().filter(|e| e.lost.is_none());
        left.any(|e| e.reached.as_ref().is_some_and(|reached| reached < pos))
    }

    /// Whether `host` has done everything before `pos`.
    pub fn has_reached(&self, host: &str, pos: &Pos) -> bool {
        let hosts = self.hosts.read().unwrap_or_else(PoisonError::into_inner);
        hosts
            .get(host)
            .and_then(|e| e.reached.as_ref())
            .is_none_or(|reached| reached >= pos)
    }

    fn names(&self) -> Vec<String> {
        self.hosts
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .keys()
            .cloned()
            .collect()
    }

    /// The variables of `host` as linear order shows them to a task at `pos`.
    fn scope(&self, host: &str, seer: &HostVars) -> Option<RemoteScope> {
        let HostVars { pos, free, .. } = seer;
        let hosts = self.hosts.read().unwrap_or_else(PoisonError::into_inner);
        let entry = hosts.get(host)?;
        let before = |at: &Pos| *free || at < pos || *at == Pos::default();
        let mut produced = Produced {
            facts: entry
                .facts
                .iter()
                .rev()
                .find(|(at, _)| before(at))
                .map(|(_, f)| f.clone()),
            secret: entry.secret.clone(),
            ..Produced::default()
        };
        for (name, versions) in &entry.values {
            if let Some((_, value)) = versions.iter().rev().find(|(at, _)| before(at)) {
                produced.set(name, value.clone());
            }
        }
        let reached = *free || entry.reached.as_ref().is_none_or(|r| r >= pos);
        let scope = TaskScope {
            host: entry.layers.clone(),
            produced,
            task: None,
            local: Arc::default(),
            trace: seer.trace.clone(),
            hostvars: Some(seer.clone()),
        };
        Some(RemoteScope { scope, reached })
    }
}

/// The `hostvars` variable, as seen from a task at `pos`.
#[derive(Clone, Debug)]
pub struct HostVars {
    pub board: Arc<Blackboard>,
    pub pos: Pos,
    pub trace: Arc<Trace>,
    /// `strategy: free`: what is there is seen, nothing is waited for.
    pub free: bool,
}

/// Another host's variables; a name that its tasks may still produce is "not yet" until it has come far enough.
#[derive(Debug)]
struct RemoteScope {
    scope: TaskScope,
    reached: bool,
}

impl Scope for RemoteScope {
    fn lookup(&self, name: &str) -> Found {
        if self.reached {
            return self.scope.find(name);
        }
        // Written in the inventory: no task changes it, unless one of the same name is produced later, which
        // linear order would not show us yet either.
        match self.scope.find(name) {
            found @ (Found::Trusted(_) | Found::Scope(_)) => found,
            found @ Found::Data(_)
                if self.scope.host.magic.contains_key(name) || self.scope.host.play_magic.contains_key(name) =>
            {
                found
            }
            _ => {
                self.scope.trace.wait_for([self.scope.host.name.clone()]);
                Found::Unknown(format!("host `{}` has not come to this task yet", self.scope.host.name))
            }
        }
    }

    fn names(&self) -> Vec<String> {
        self.scope.names()
    }

    fn outside(&self, what: Outside) -> Result<(), String> {
        self.scope.outside(what)
    }
}

/// `hostvars` itself: its names are hosts, its values their variables.
impl Scope for HostVars {
    fn lookup(&self, name: &str) -> Found {
        match self.board.scope(name, self) {
            Some(scope) => Found::Scope(Arc::new(scope)),
            None => Found::Missing,
        }
    }

    fn names(&self) -> Vec<String> {
        self.board.names()
    }
}
