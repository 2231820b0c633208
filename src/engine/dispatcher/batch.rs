//! What is known of a batch: where its hosts stand, who is to go on, who waits for what.

use super::BatchEnd;
use super::turns::Turns;
use crate::engine::blackboard::Blackboard;
use crate::engine::event::Event;
use crate::engine::host_run::{Acts, Condition, HostRun, Once, State};
use crate::engine::share::{Shares, Whose};
use crate::engine::walk::Pos;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};

/// One batch under way.
pub struct Batch {
    index: HashMap<String, usize>,
    /// Hosts to go on with, after an answer.
    pub ready: VecDeque<usize>,
    /// Hosts to begin with, at first or after they have waited, when there is a call to spare.
    queued: VecDeque<usize>,
    pub waiting: Vec<(usize, Condition)>,
    /// So many of them, from the first, wait for [`Condition::Aligned`] alone, and did not find it when the least
    /// position was this.
    pub still: (usize, Option<Pos>),
    /// Calls and timers under way.
    pub busy: usize,
    /// Hosts with a timer.
    pub asleep: BTreeSet<usize>,
    /// Where each host stands, and how many stand at each place.
    pub at: Vec<Option<Pos>>,
    crowd: BTreeMap<Pos, usize>,
    pub once: HashMap<Pos, Once>,
    pub shares: Shares,
    /// What the hosts began and ended that others can see, in all.
    pub acts: Acts,
    pub fatal: Option<Pos>,
    pub fatal_on: Option<String>,
    pub end_after: Option<Pos>,
    pub last_failure: Option<Pos>,
    /// Hosts that are through, and those of them that failed or cannot be reached.
    pub done: usize,
    pub lost: usize,
    states: Vec<State>,
    /// The first host that is not lost; only ever moves on.
    first: usize,
    pub tasks: BTreeMap<Pos, u64>,
    pub released: HashSet<usize>,
    pub turns: Turns,
    pub end: BatchEnd,
}

impl Batch {
    pub fn new(runs: &[HostRun]) -> Self {
        Batch {
            index: runs.iter().enumerate().map(|(i, r)| (r.name.clone(), i)).collect(),
            ready: VecDeque::new(),
            queued: (0..runs.len()).collect(),
            waiting: Vec::new(),
            still: (0, None),
            busy: 0,
            asleep: BTreeSet::new(),
            at: vec![None; runs.len()],
            crowd: BTreeMap::new(),
            once: HashMap::new(),
            shares: Shares::default(),
            acts: Acts::default(),
            fatal: None,
            fatal_on: None,
            end_after: None,
            last_failure: None,
            done: 0,
            lost: 0,
            states: vec![State::Running; runs.len()],
            first: 0,
            tasks: BTreeMap::new(),
            released: HashSet::new(),
            turns: Turns::new(),
            end: BatchEnd::default(),
        }
    }

    /// The host to go on with. One is begun only when those that are under way leave a call to spare, so that hosts
    /// are done one after the other: an interrupt or a failure finds few of them half done.
    pub fn next(&mut self, forks: usize) -> Option<usize> {
        let calls = self.busy - self.asleep.len();
        let next = self.ready.pop_front();
        next.or_else(|| if calls < forks { self.queued.pop_front() } else { None })
    }

    pub fn index_of(&self, host: &str) -> Option<usize> {
        self.index.get(host).copied()
    }

    pub fn first(&mut self) -> Option<usize> {
        while matches!(self.states.get(self.first), Some(State::Failed | State::Unreachable)) {
            self.first += 1;
        }
        (self.first < self.states.len()).then_some(self.first)
    }

    /// Takes note of how a host stands; whether it is newly lost.
    pub fn settle(&mut self, index: usize, run: &HostRun) -> bool {
        let Some(old) = self.states.get_mut(index).filter(|old| **old != run.state) else {
            return false;
        };
        *old = run.state;
        self.done += 1;
        let lost = matches!(run.state, State::Failed | State::Unreachable);
        self.lost += usize::from(lost);
        lost
    }

    pub fn least(&self) -> Option<Pos> {
        self.crowd.keys().next().cloned()
    }

    pub fn place(&mut self, index: usize, run: &mut HostRun) {
        let pos = run.pos();
        if self.at[index] == pos {
            return;
        }
        if let Some(old) = self.at[index].take() {
            self.shares.leaves(index, &old);
            if let Some(count) = self.crowd.get_mut(&old) {
                *count -= 1;
                if *count == 0 {
                    self.crowd.remove(&old);
                }
            }
        }
        if let Some(pos) = &pos {
            *self.crowd.entry(pos.clone()).or_default() += 1;
        }
        self.at[index] = pos;
    }

    /// Tells the end of every task that all hosts are past.
    pub fn finish_tasks(&mut self, least: Option<&Pos>, sink: &mut dyn FnMut(Event)) {
        let Some(least) = least else { return };
        while let Some(entry) = self.tasks.first_entry() {
            if entry.key() >= least {
                return;
            }
            let id = entry.remove();
            sink(Event::TaskFinished { task: id });
        }
    }

    /// Moves hosts whose condition holds now to the ready ones.
    pub fn wake(&mut self, board: &Blackboard) {
        if self.waiting.is_empty() {
            return;
        }
        let least = self.least();
        let mut known = if self.still.1 == least { self.still.0 } else { 0 };
        for (index, condition) in self.waiting.split_off(known) {
            let holds = match &condition {
                Condition::Aligned(pos) => least.as_ref().is_none_or(|l| l >= pos),
                Condition::Hosts(hosts, pos) => hosts.iter().all(|h| board.has_reached(h, pos)),
                Condition::Once(pos) => {
                    self.once.contains_key(pos) || self.at[..index].iter().flatten().all(|before| before > pos)
                }
                Condition::Said(pos) => (0..index).all(|before| {
                    self.at[before].as_ref().is_none_or(|at| at > pos) || self.shares.has_said(before, pos)
                }),
                Condition::Shared(pos) => self.shares.whose(index, pos) != Whose::Awaited,
            };
            if holds {
                self.queued.push_back(index);
                continue;
            }
            known += usize::from(known == self.waiting.len() && matches!(condition, Condition::Aligned(_)));
            self.waiting.push((index, condition));
        }
        self.still = (known, least);
    }

    pub fn wake_all(&mut self) {
        self.still.0 = 0;
        self.ready.extend(self.waiting.drain(..).map(|(index, _)| index));
    }
}
