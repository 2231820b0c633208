//! One node's turn: gate, drain, the tasks, return. A machine like `HostRun`: it says what to send or how long to
//! wait and is told the answer; the time is told, too.

use super::{Rolling, most};
use crate::engine::event::{RollingState, RollingStep};
use crate::engine::ledger;
use crate::host::{Exec, ExecResult, Observation, Op};
use crate::rabbitmq::health::{self, Sight, View};
use crate::transport::{CallError, Reply, Response, RunAs, Step};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Seconds between two looks.
const PAUSE_S: f64 = 3.0;

/// What is known of the others when a node asks.
#[derive(Clone, Debug, Default)]
pub struct Around {
    /// No node has been touched in this play yet.
    pub first: bool,
    /// Nodes of the batch that are worked on.
    pub working: BTreeSet<String>,
    /// Members that could not be reached in this run.
    pub unreachable: BTreeSet<String>,
}

/// What a turn wants next.
#[derive(Debug)]
pub enum Move {
    Send(Vec<Step>),
    /// Ask again after so many seconds.
    Sleep(f64),
    /// The tasks may go on.
    Pass,
    /// The run stops here: why.
    Refuse(String),
    /// The run is interrupted, and what could be taken back is.
    Left,
}

/// Something to tell.
pub type Told = (RollingStep, RollingState, String);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Gate,
    Drain,
    /// The drain was asked for; looking whether it is done.
    Draining,
    /// It did not drain in time: out of maintenance again, then give up.
    Undo,
    Tasks,
    Start,
    Revive,
    Checks,
    /// The run is interrupted: out of maintenance again, then stop.
    Leave,
}

pub struct Turn {
    rolling: Arc<Rolling>,
    host: String,
    /// Whom commands run as.
    pub who: Option<RunAs>,
    stage: Stage,
    /// When the stage's time began, seconds of the run.
    since_s: f64,
    /// The node has been sent into maintenance and was not seen out of it.
    drained: bool,
    /// An earlier run drained it: it only comes back.
    returns: bool,
    /// This host's node, once it is known.
    own: Option<String>,
    /// Members when the gate opened; 0 where no broker had run.
    members: usize,
    /// Why the last look did not satisfy.
    reason: Option<String>,
    /// What was told last, so that it is told once.
    waiting: Option<String>,
    answer: Option<Result<Response, CallError>>,
}

impl Turn {
    pub fn new(rolling: Arc<Rolling>, host: &str, who: Option<RunAs>, now_s: f64) -> Turn {
        Turn {
            rolling,
            host: host.to_owned(),
            who,
            stage: Stage::Gate,
            since_s: now_s,
            drained: false,
            returns: false,
            own: None,
            members: 0,
            reason: None,
            waiting: None,
            answer: None,
        }
    }

    /// Of a node that an earlier run left in maintenance, and on which nothing is to be changed.
    pub fn back(rolling: Arc<Rolling>, host: &str, who: Option<RunAs>, now_s: f64) -> Turn {
        Turn {
            stage: Stage::Start,
            drained: true,
            returns: true,
            ..Turn::new(rolling, host, who, now_s)
        }
    }

    /// Whether the node only comes back.
    pub fn returns(&self) -> bool {
        self.returns
    }

    /// The tasks are done: the node is to come back.
    pub fn come_back(&mut self, now_s: f64) {
        self.enter(Stage::Start, now_s);
    }

    /// The run is interrupted, and nothing is half done on the node: whether the turn has to take it out of maintenance
    /// before it ends.
    pub fn leave(&mut self, now_s: f64) -> bool {
        if self.drained && self.stage != Stage::Leave {
            self.answer = None;
            self.enter(Stage::Leave, now_s);
        }
        self.stage == Stage::Leave
    }

    /// Whether the node may still be in maintenance.
    pub fn is_drained(&self) -> bool {
        self.drained
    }

    pub fn node(&self) -> Option<&str> {
        self.own.as_deref()
    }

    /// The node has others to share with.
    pub fn is_clustered(&self) -> bool {
        self.members > 1
    }

    pub fn answer(&mut self, answer: Result<Response, CallError>) {
        self.answer = Some(answer);
    }

    /// Goes on, by the answer that came if one did.
    pub fn step(&mut self, now_s: f64, around: &Around, told: &mut Vec<Told>) -> Move {
        let lost = around.unreachable.iter().find(|host| **host != self.host);
        if let Some(host) = lost.filter(|_| self.stage == Stage::Gate) {
            // Nobody would notice that it is back.
            let text = format!("the gate stays closed: {host} cannot be reached, which counts as down");
            told.push((self.part(), RollingState::Failed, text.clone()));
            return Move::Refuse(format!("{}: {text}", self.host));
        }
        if let Some(answer) = self.answer.take() {
            let result = match answer {
                Ok(response) => self.judge(&response, around, now_s, told),
                Err(error) => Err(format!("{} cannot be reached: {}", self.host, error.message)),
            };
            match result {
                // Where it did not go, `is_drained` tells.
                _ if self.stage == Stage::Leave => return Move::Left,
                Ok(()) if self.stage == Stage::Tasks => return Move::Pass,
                Ok(()) => {}
                Err(reason) => {
                    if self.stage == Stage::Undo || now_s - self.since_s >= f64::from(self.limit_s()) {
                        if matches!(self.stage, Stage::Drain | Stage::Draining) {
                            self.reason = Some(reason);
                            self.enter(Stage::Undo, now_s);
                            return self.send(now_s);
                        }
                        return self.refuse(reason, told);
                    }
                    // What is waited for is told once, not at every look.
                    if self.waiting.as_ref() != Some(&reason) {
                        told.push((self.part(), RollingState::Waiting, reason.clone()));
                        self.waiting = Some(reason);
                    }
                    return Move::Sleep(PAUSE_S);
                }
            }
        }
        self.send(now_s)
    }

    fn refuse(&mut self, reason: String, told: &mut Vec<Told>) -> Move {
        let (what, limit_s) = match self.part() {
            RollingStep::Gate => ("the gate did not open", self.rolling.gate_timeout_s),
            RollingStep::Drain => ("the node did not drain", self.rolling.drain_timeout_s),
            _ => ("the node is not back", self.rolling.start_timeout_s),
        };
        let text = format!("{what} within {limit_s} s: {reason}");
        told.push((self.part(), RollingState::Failed, text.clone()));
        Move::Refuse(format!("{}: {text}", self.host))
    }

    fn part(&self) -> RollingStep {
        match self.stage {
            Stage::Gate | Stage::Tasks => RollingStep::Gate,
            Stage::Drain | Stage::Draining | Stage::Undo => RollingStep::Drain,
            Stage::Start | Stage::Revive | Stage::Checks | Stage::Leave => RollingStep::Return,
        }
    }

    fn limit_s(&self) -> u32 {
        match self.part() {
            RollingStep::Gate => self.rolling.gate_timeout_s,
            RollingStep::Drain => self.rolling.drain_timeout_s,
            _ => self.rolling.start_timeout_s,
        }
    }

    fn enter(&mut self, stage: Stage, now_s: f64) {
        // The parts of the return share one limit.
        if !matches!(stage, Stage::Revive | Stage::Checks | Stage::Draining) {
            self.since_s = now_s;
        }
        self.stage = stage;
        self.waiting = None;
    }

    fn send(&mut self, now_s: f64) -> Move {
        let left = f64::from(self.limit_s()) - (now_s - self.since_s);
        let left_s = (left.max(1.0)) as u32;
        Move::Send(match self.stage {
            Stage::Gate | Stage::Tasks => vec![Step::Probe(health::view()), Step::Probe(health::critical())],
            Stage::Drain => {
                self.drained = true;
                vec![
                    Step::Op(ledger::note_drained(true)),
                    Step::Op(health::drain(self.rolling.drain_timeout_s)),
                    Step::Probe(health::view()),
                ]
            }
            Stage::Draining => vec![Step::Probe(health::view())],
            Stage::Start => vec![Step::Op(health::await_startup(left_s)), Step::Probe(health::view())],
            Stage::Revive => vec![Step::Op(health::revive(left_s)), Step::Probe(health::view())],
            // What is not revived stays written down.
            Stage::Undo | Stage::Leave => vec![
                Step::Op(or_stop(health::revive(left_s))),
                Step::Op(ledger::note_drained(false)),
                Step::Probe(health::view()),
            ],
            Stage::Checks => {
                let quorum = (self.members > 1).then(|| Step::Op(health::await_quorum_plus_one(left_s)));
                let checks = health::checks().map(|(_, probe)| Step::Probe(probe));
                let back = Step::Op(ledger::note_drained(false));
                std::iter::once(back).chain(quorum).chain(checks).collect()
            }
        })
    }

    /// Takes the answer in; an error is why the stage is not over yet.
    fn judge(&mut self, response: &Response, around: &Around, now_s: f64, told: &mut Vec<Told>) -> Result<(), String> {
        let seen: Vec<ExecResult> = response.replies.iter().filter_map(seen).collect();
        let sight = || {
            seen.first()
                .map_or_else(|| Sight::Silent("no answer".to_owned()), Sight::read)
        };
        match self.stage {
            Stage::Gate | Stage::Tasks => {
                let text = self.gate(sight(), seen.get(1), around)?;
                told.push((RollingStep::Gate, RollingState::Passed, text));
                let drain = self.rolling.drain && self.members > 1 && self.runs(&sight());
                self.enter(if drain { Stage::Drain } else { Stage::Tasks }, now_s);
                Ok(())
            }
            Stage::Drain | Stage::Draining => {
                self.stage = Stage::Draining;
                let view = self.view(sight())?;
                if !view.drained(&view.own) {
                    let why = did(response).map(|said| format!(": {said}")).unwrap_or_default();
                    return Err(format!("{} is not in maintenance mode{why}", view.own));
                }
                told.push((
                    RollingStep::Drain,
                    RollingState::Passed,
                    format!("{} serves no clients and leads no queues", view.own),
                ));
                self.enter(Stage::Tasks, now_s);
                Ok(())
            }
            Stage::Undo => {
                if let Ok(view) = self.view(sight()) {
                    self.drained = view.drained(&view.own);
                }
                Err(self.reason.take().unwrap_or_default())
            }
            Stage::Leave => {
                let view = self.view(sight())?;
                self.drained = view.drained(&view.own);
                if !self.drained && view.status.runs(&view.own) {
                    let text = format!("{} is out of maintenance, and was not waited for", view.own);
                    told.push((RollingStep::Return, RollingState::Passed, text));
                }
                Ok(())
            }
            Stage::Start | Stage::Revive => {
                if self.members == 0 && matches!(sight(), Sight::Never) {
                    // Nothing to come back: the tasks did not make it a broker.
                    return self.passed("no broker runs here", now_s, told);
                }
                let view = match self.view(sight()) {
                    Ok(view) => view,
                    Err(reason) => return Err(did(response).unwrap_or(reason)),
                };
                self.own = Some(view.own.clone());
                if self.returns {
                    self.members = view.status.members().len();
                }
                if self.members > 1 {
                    self.complete(&view)?;
                }
                self.stands(&view, around, true)?;
                if view.drained(&view.own) {
                    if self.stage == Stage::Revive {
                        return Err(format!("{} is still in maintenance mode", view.own));
                    }
                    self.enter(Stage::Revive, now_s);
                    return Ok(());
                }
                self.drained = false;
                self.enter(Stage::Checks, now_s);
                Ok(())
            }
            Stage::Checks => {
                if let Some(said) = did(response) {
                    // All of it again: what was there may have gone meanwhile.
                    self.stage = Stage::Start;
                    return Err(format!("not every queue has one replica more than its quorum: {said}"));
                }
                for ((what, _), answer) in health::checks().iter().zip(&seen) {
                    if !answer.ok() {
                        self.stage = Stage::Start;
                        return Err(format!("not true that {what}: {}", health::said(answer)));
                    }
                }
                let text = match self.members {
                    0 | 1 => "runs; health checks hold".to_owned(),
                    n => format!("all {n} nodes run, quorum plus one is online, health checks hold"),
                };
                self.passed(&text, now_s, told)
            }
        }
    }

    fn passed(&mut self, text: &str, now_s: f64, told: &mut Vec<Told>) -> Result<(), String> {
        told.push((RollingStep::Return, RollingState::Passed, text.to_owned()));
        self.enter(Stage::Tasks, now_s);
        Ok(())
    }

    /// The view, or why there is none.
    fn view(&self, sight: Sight) -> Result<Box<View>, String> {
        match sight {
            Sight::Seen(view) => Ok(view),
            Sight::Never => Err("no broker has run here yet".to_owned()),
            Sight::Alone => Err("the node does not run".to_owned()),
            Sight::Silent(said) => Err(format!("no node of the cluster answers: {said}")),
        }
    }

    fn runs(&self, sight: &Sight) -> bool {
        matches!(sight, Sight::Seen(view) if view.status.runs(&view.own))
    }

    /// Whether the node may go; the text says why it may.
    fn gate(&mut self, sight: Sight, critical: Option<&ExecResult>, around: &Around) -> Result<String, String> {
        if matches!(sight, Sight::Never) {
            self.members = 0;
            return Ok("no broker has run here yet: nothing to protect".to_owned());
        }
        if matches!(sight, Sight::Alone) && !self.rolling.explicit {
            self.members = 1;
            return Ok("a cluster of one, and down: it may be mended".to_owned());
        }
        let view = self.view(sight)?;
        self.own = Some(view.own.clone());
        self.members = view.status.members().len();
        if self.members == 1 && !(self.rolling.explicit && self.rolling.members.len() > 1) {
            return Ok("a cluster of one".to_owned());
        }
        self.complete(&view)?;
        // A node that is down when the play begins may be mended; one that goes down meanwhile stops the play.
        let down = !view.status.runs(&view.own);
        self.stands(&view, around, !(down && around.first))?;
        let others = view.status.members().into_iter().filter(|n| *n != view.own);
        for node in others.clone() {
            if view.drained(node) && !around.working.contains(node) {
                return Err(format!(
                    "{node} is in maintenance mode, which `rabbitmq-upgrade -n {node} revive` on its host ends"
                ));
            }
        }
        let left = others
            .filter(|n| view.status.runs(n) && !around.working.contains(*n))
            .count();
        let gone = self.members - left;
        if gone > most(self.members) {
            return Err(format!("only {left} of {} nodes would stay up", self.members));
        }
        if let Some(alarm) = view.status.alarms.first() {
            return Err(format!("alarm: {}", health::alarm(alarm)));
        }
        if down {
            return Ok(format!("{} does not run, all others do: it may be mended", view.own));
        }
        match critical {
            Some(answer) => match health::criticals(answer) {
                None => {}
                Some(said) => return Err(said),
            },
            None => return Err("it is not known whether queues depend on the node".to_owned()),
        }
        Ok(format!(
            "{} sees all {} nodes running, no alarms, no partitions; no queue needs {}",
            view.from, self.members, view.own
        ))
    }

    /// Whether the cluster has a node on every host it is planned to have.
    fn complete(&self, view: &View) -> Result<(), String> {
        let (planned, members) = (&self.rolling.members, view.status.members().len());
        if members >= planned.len() {
            return Ok(());
        }
        let strangers = planned.iter().filter(|host| view.node_of(host).is_none());
        let strangers: Vec<&str> = strangers.map(String::as_str).collect();
        Err(format!(
            "the cluster of {} has {members} nodes instead of {}: none on {}",
            view.from,
            planned.len(),
            strangers.join(", ")
        ))
    }

    /// Whether all members run, but those that are worked on.
    fn stands(&self, view: &View, around: &Around, own_too: bool) -> Result<(), String> {
        let wanted = |node: &str| (own_too || node != view.own) && !around.working.contains(node);
        let down = view
            .status
            .members()
            .into_iter()
            .filter(|n| wanted(n) && !view.status.runs(n));
        let down: Vec<&str> = down.collect();
        if !down.is_empty() {
            let verb = if down.len() == 1 { "does" } else { "do" };
            return Err(format!("{} {verb} not run, as {} sees it", down.join(", "), view.from));
        }
        match view.status.partitions.keys().next() {
            Some(node) => Err(format!("{node} has lost sight of others: a network partition")),
            None => Ok(()),
        }
    }
}

fn seen(reply: &Reply) -> Option<ExecResult> {
    match reply {
        Reply::Seen(Observation::Exec(answer)) => Some(answer.clone()),
        Reply::Seen(Observation::Failed(why)) => Some(ExecResult {
            rc: 1,
            stderr: why.as_str().into(),
            ..ExecResult::default()
        }),
        _ => None,
    }
}

/// The op, whose failure stops what follows it.
fn or_stop(op: Op) -> Op {
    match op {
        Op::Exec(exec) => Op::Exec(Exec { ok: vec![0], ..exec }),
        op => op,
    }
}

/// What the op of the message said, if it failed.
fn did(response: &Response) -> Option<String> {
    response.replies.iter().find_map(|reply| match reply {
        Reply::Did(outcome) => outcome.exec.as_ref().filter(|e| !e.ok()).map(health::said),
        Reply::Seen(_) => None,
    })
}
