//! Rolling plays: between a host's tasks, its [`Turn`] holds the conversation with it.

use super::{Batch, Dispatcher, Message};
use crate::engine::event::{Event, RollingState, RollingStep};
use crate::engine::host_run::{HostRun, Standing, State};
use crate::engine::rolling::{Around, Move, Turn};
use crate::engine::walk::Pos;
use crate::host::{Op, Outcome, Probe};
use crate::rabbitmq::{cli, health};
use crate::transport::{CallError, Reply, Request, Response, RunAs, Step, Target};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;
use tokio::time::Instant;

/// The turns of a batch.
pub struct Turns {
    /// Of every host that asked to be changed, by index.
    of: BTreeMap<usize, Turn>,
    /// Those that hold the conversation now.
    active: BTreeSet<usize>,
    /// Hosts of later batches that were called and have not answered.
    called: BTreeSet<String>,
    /// Nobody else is to be touched: a gate stayed closed or a host failed.
    closed: bool,
    /// Hosts that were stopped before they were done.
    pub unfinished: BTreeSet<usize>,
    /// Hosts that were changed.
    pub touched: Vec<usize>,
    began: Instant,
}

impl Turns {
    pub fn new() -> Turns {
        Turns {
            of: BTreeMap::new(),
            active: BTreeSet::new(),
            called: BTreeSet::new(),
            closed: false,
            unfinished: BTreeSet::new(),
            touched: Vec::new(),
            began: Instant::now(),
        }
    }

    pub fn is_active(&self, index: usize) -> bool {
        self.active.contains(&index)
    }

    pub fn close(&mut self) {
        self.closed = true;
    }

    pub fn answer(&mut self, index: usize, answer: Result<Response, CallError>) {
        if let Some(turn) = self.of.get_mut(&index) {
            turn.answer(answer);
        }
    }

    fn now_s(&self) -> f64 {
        self.began.elapsed().as_secs_f64()
    }
}

/// A host that was changed and shares its queues with others: it can be asked to rebalance them.
#[derive(Debug)]
pub struct Last {
    pub host: String,
    who: Option<RunAs>,
}

impl Dispatcher<'_> {
    /// A host wants its turn. False: it has none any more.
    pub(super) fn take_turn(&mut self, batch: &mut Batch, run: &HostRun, index: usize) -> bool {
        let Some(rolling) = run.play.rolling.clone().filter(|_| !batch.turns.closed) else {
            return false;
        };
        let now_s = batch.turns.now_s();
        let new = if run.returns { Turn::back } else { Turn::new };
        let turn = new(rolling, &run.name, run.cache.who.clone(), now_s);
        batch.turns.of.insert(index, turn);
        batch.turns.active.insert(index);
        batch.ready.push_back(index);
        let later = std::mem::take(&mut self.later);
        for host in later.keys() {
            let request = Request {
                steps: vec![Step::Probe(Probe::stat("/"))],
                ..Request::default()
            };
            batch.busy += 1;
            batch.turns.called.insert(host.clone());
            self.send(host, &later, request);
        }
        true
    }

    /// A host of a later batch has answered, or cannot be reached.
    pub(super) fn called(&mut self, batch: &mut Batch, host: &str, error: Option<CallError>) {
        if !batch.turns.called.remove(host) {
            return;
        }
        if error.is_some() {
            self.around.unreachable.insert(host.to_owned());
        }
        if batch.turns.called.is_empty() {
            let waiting = batch.turns.active.iter().filter(|i| !batch.ready.contains(i));
            let waiting: Vec<usize> = waiting.copied().collect();
            batch.ready.extend(waiting);
        }
    }

    /// The tasks of a host are done. False: it was not touched, or it is back already.
    pub(super) fn give_back(&mut self, batch: &mut Batch, run: &HostRun, index: usize) -> bool {
        let now_s = batch.turns.now_s();
        let done = run.standing == Standing::Admitted && !matches!(run.state, State::Failed | State::Unreachable);
        let left = batch.turns.unfinished.contains(&index);
        if self.interrupts > 0 {
            batch.turns.unfinished.insert(index);
        }
        if !done || left {
            return false;
        }
        let Some(turn) = batch.turns.of.get_mut(&index) else {
            return false;
        };
        if self.interrupts > 0 {
            // What waits for a restart is not handed back to its clients.
            if run.is_half_done() || !turn.leave(now_s) {
                return false;
            }
        } else {
            turn.come_back(now_s);
        }
        // What the tasks did is told before what follows it.
        let least = batch.least().unwrap_or_else(Pos::end);
        batch.finish_tasks(Some(&least), self.sink);
        batch.turns.active.insert(index);
        batch.ready.push_back(index);
        true
    }

    /// Goes on with the turn of a host. True: the conversation is the tasks' again.
    pub(super) fn turn(
        &mut self,
        batch: &mut Batch,
        runs: &mut [HostRun],
        index: usize,
        targets: &HashMap<String, Target>,
    ) -> bool {
        if !batch.turns.called.is_empty() && self.interrupts == 0 {
            return false;
        }
        let now_s = batch.turns.now_s();
        let run = &mut runs[index];
        let working = batch.turns.touched.iter().filter(|i| **i != index);
        let working = working.filter_map(|i| batch.turns.of.get(i)?.node().map(str::to_owned));
        let around = Around {
            first: self.around.first && batch.turns.touched.is_empty(),
            working: working.collect(),
            unreachable: self.around.unreachable.clone(),
        };
        let Some(turn) = batch.turns.of.get_mut(&index) else {
            return true;
        };
        // What this turn took down is put up again first.
        if self.interrupts > 0 && !turn.leave(now_s) {
            batch.turns.active.remove(&index);
            batch.turns.unfinished.insert(index);
            return true;
        }
        let mut told = Vec::new();
        let next = turn.step(now_s, &around, &mut told);
        let who = turn.who.clone();
        for (step, state, text) in told {
            self.tell(Event::Rolling {
                host: run.name.clone(),
                step,
                state,
                text,
            });
        }
        match next {
            Move::Send(steps) => {
                let vms = steps.iter().filter(|step| match step {
                    Step::Op(Op::Exec(exec)) => cli::starts_vm(&exec.argv),
                    Step::Probe(Probe::Exec { argv, .. }) => cli::starts_vm(argv),
                    _ => false,
                });
                run.vm_starts += vms.count() as u64;
                let request = Request {
                    run_as: who,
                    steps,
                    op_limit_s: None,
                };
                batch.busy += 1;
                self.send(&run.name.clone(), targets, request);
                false
            }
            Move::Sleep(seconds) => {
                self.sleep(batch, run.name.clone(), index, seconds);
                false
            }
            Move::Pass => {
                batch.turns.active.remove(&index);
                if run.standing == Standing::Untouched && !turn.returns() {
                    run.admit(Standing::Admitted);
                    batch.turns.touched.push(index);
                } else {
                    run.admit(Standing::Back);
                }
                true
            }
            Move::Left => {
                batch.turns.active.remove(&index);
                batch.turns.unfinished.insert(index);
                true
            }
            Move::Refuse(reason) => {
                batch.turns.active.remove(&index);
                batch.turns.close();
                batch.turns.unfinished.insert(index);
                batch.end.stop.get_or_insert(reason);
                // It is through with this play.
                run.admit(Standing::Back);
                true
            }
        }
    }

    pub(super) fn sleep(&mut self, batch: &mut Batch, host: String, index: usize, seconds: f64) {
        batch.busy += 1;
        batch.asleep.insert(index);
        let address = self.address.clone();
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_secs_f64(seconds.clamp(0.0, 1e6))).await;
            let _ = address.send(Message::Wake { host });
        });
    }

    /// What the batch's turns came to: warnings about what is left, and who can be asked to rebalance.
    pub(super) fn end_turns(&mut self, batch: &Batch, runs: &[HostRun]) -> Option<Last> {
        let mut last = None;
        for (index, turn) in &batch.turns.of {
            let run = &runs[*index];
            let back = run.standing == Standing::Back && !batch.turns.unfinished.contains(index);
            if turn.is_drained() && !back {
                let (node, flag) = match turn.node() {
                    Some(node) => (node, format!(" -n {node}")),
                    None => ("the node", String::new()),
                };
                self.tell(Event::Warning {
                    host: Some(run.name.clone()),
                    task: None,
                    text: format!(
                        "{node} may still be in maintenance mode: `rabbitmq-upgrade{flag} revive` on {} ends it, and so does \
                         the next run of the play",
                        run.name
                    ),
                });
            }
            if turn.is_clustered() && back {
                last = Some(Last {
                    host: run.name.clone(),
                    who: turn.who.clone(),
                });
            }
        }
        last
    }

    /// Spreads the leaders of queues over the nodes again. That it fails is told and stops nothing: a queue whose
    /// member was stopped hard may answer `noproc`, and the others are spread all the same.
    pub async fn rebalance(&mut self, last: &Last) {
        let request = Request {
            run_as: last.who.clone(),
            steps: vec![Step::Op(health::rebalance())],
            op_limit_s: None,
        };
        self.send(&last.host, &HashMap::new(), request);
        let answer = loop {
            match self.inbox.recv().await {
                None => return,
                Some(Message::Answer { host, answer, .. }) if host == last.host => break answer,
                Some(Message::Interrupt) => {
                    self.interrupts += 1;
                    self.tell(Event::Interrupted);
                    if self.interrupts > 1 {
                        return;
                    }
                }
                Some(_) => {}
            }
        };
        self.count(&last.host, &answer, None);
        let failed = match answer {
            Err(error) => Some(error.message),
            Ok(response) => match response.replies.first() {
                Some(Reply::Did(Outcome { exec: Some(exec), .. })) if exec.ok() => None,
                Some(Reply::Did(Outcome { exec: Some(exec), .. })) => Some(health::said(exec)),
                _ => Some("no answer".to_owned()),
            },
        };
        let (state, text) = match failed {
            None => (
                RollingState::Passed,
                "queue leaders are spread over the nodes again".to_owned(),
            ),
            Some(why) => (
                RollingState::Failed,
                format!("queue leaders could not all be spread again: {why}"),
            ),
        };
        self.tell(Event::Rolling {
            host: last.host.clone(),
            step: RollingStep::Rebalance,
            state,
            text,
        });
    }
}
