//! PURE. One host on its way through one play: what to send next, what to make of the answer.
//!
//! **Fresh: a decision is acted on, or reported `ok`, only if every observation it used was taken after the last
//! op that ran on the host.** It holds by construction: [`Cache::fresh`] tells nothing that was seen
//! before ops were sent; what was is the *prediction* that bounds how far ahead is looked ([`Cache::last`]).
//!
//! The order of one step: settle on a task → evaluate → decide from fresh observations → if some are missing,
//! ask for them *and* for what the following tasks will want; if there is something to do, send the ops, the
//! same probes again (look again) and what the following tasks will want, in one message.

#![deny(clippy::disallowed_methods)]

mod begin;
mod decide;
mod finish;
mod message;
mod share;
mod together;

use self::decide::{never_changes, not_before_the_changes, only_looks};
use crate::diagnostic::{Code, Diagnostic};
use crate::engine::ahead;
use crate::engine::blackboard::{Blackboard, HostVars};
use crate::engine::control::{self, Effect};
use crate::engine::evaluate::{Evaluation, Trouble, item_scope, rendered};
use crate::engine::event::{self, Failed, HostResult, Mode, Section, Stats, TaskInfo, TaskStatus};
use crate::engine::ledger;
use crate::engine::mask;
use crate::engine::overlay::Overlay;
use crate::engine::result::{self, ItemOutcome};
use crate::engine::share::Shares;
use crate::engine::shared::{PlayRun, Strategy};
use crate::engine::trace::Trace;
use crate::engine::vars::{HostLayers, Missing, Produced, Stored, TaskScope};
use crate::engine::walk::{AfterFailure, Pos, Walk};
use crate::host::{Observation, Op, Outcome, Probe, Scope as ProbeScope, Status};
use crate::language::{Node, Task};
use crate::modules::{self, Action, Change, Decision, Failure, Kind, Report, Seen, Settle, Stop};
use crate::transport::{CallError, CallErrorKind, Reply, Request, Response, RunAs, Step};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

/// What a host wants next.
#[derive(Debug)]
pub enum Next {
    /// Send this and give the answer to [`HostRun::answer`].
    Call(Request),
    /// Step again when this holds.
    Wait(Condition),
    /// Step again after so many seconds.
    Sleep(f64),
    /// Something is about to change, and in a rolling play the host has to have its turn first ([`HostRun::admit`]);
    /// or the tasks are done, and the node is to be back before the checks.
    Turn,
    /// The play is over for this host.
    Done,
}

/// What a host waits for.
#[derive(Clone, Debug, PartialEq)]
pub enum Condition {
    /// Every other host of the batch has done everything before this position.
    Aligned(Pos),
    /// These hosts have done everything before this position.
    Hosts(Vec<String>, Pos),
    /// The one host that runs a `run_once` task has done so.
    Once(Pos),
    /// All hosts before this one have said what they share at this position, or are past it.
    Said(Pos),
    /// The host whose task it is has done it.
    Shared(Pos),
}

/// What the rest of the batch looks like while a host steps.
pub struct World<'a> {
    /// The least position of the hosts of the batch that are still on their way, this one included.
    pub least: Option<Pos>,
    pub board: &'a Arc<Blackboard>,
    /// The tasks whose beginning has been told, by any host.
    pub told: &'a BTreeMap<Pos, u64>,
    /// Results of `run_once` tasks by position; the first host that comes by runs the task.
    pub once: &'a mut HashMap<Pos, Once>,
    /// Where the hosts of the batch stand; `None` for who is through or lost.
    pub at: &'a [Option<Pos>],
    /// This host is the first of the batch that has not failed.
    pub first: bool,
    /// This host's place in the batch.
    pub index: usize,
    /// What hosts have in common.
    pub shares: &'a mut Shares,
    /// How often other hosts have begun or ended something that others can see.
    pub others_acts: Acts,
    /// A failure at this position fails everybody behind it.
    pub fatal: Option<Pos>,
    /// What happened, for the dispatcher to tell.
    pub out: &'a mut Vec<Out>,
}

/// A `run_once` task's outcome for the hosts that did not run it.
#[derive(Clone, Debug)]
pub struct Once {
    pub register: Option<Stored>,
    pub facts: Option<Arc<Value>>,
    pub values: HashMap<String, Stored>,
    pub failed: bool,
    /// `no_log`.
    pub secret: bool,
}

/// Something to tell.
#[derive(Debug)]
pub enum Out {
    Started {
        pos: Pos,
        info: TaskInfo,
    },
    Result {
        pos: Pos,
        result: Arc<HostResult>,
    },
    Retrying {
        pos: Pos,
        left: u32,
    },
    Warning {
        pos: Option<Pos>,
        text: String,
    },
    Unreachable {
        pos: Option<Pos>,
        failure: Failed,
    },
    /// `meta: end_play` and `end_batch`: all hosts stop.
    EndPlay,
    EndBatch,
    /// `meta: clear_host_errors` at this place.
    ClearErrors(Pos),
}

/// How often something was begun or ended that other hosts can see.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Acts {
    /// By tasks about what hosts share.
    pub shared: u64,
    /// By all others.
    pub alone: u64,
}

impl Acts {
    fn count(&mut self, outward: Option<bool>) {
        self.shared += u64::from(outward == Some(true));
        self.alone += u64::from(outward == Some(false));
    }

    pub fn less(self, other: Acts) -> Acts {
        Acts {
            shared: self.shared - other.shared,
            alone: self.alone - other.alone,
        }
    }

    pub fn add(&mut self, other: Acts) {
        self.shared += other.shared;
        self.alone += other.alone;
    }
}

/// Observations of a host, as the user they were made as.
#[derive(Clone, Debug, Default)]
pub struct Cache {
    pub who: Option<RunAs>,
    /// Each with the number of [`Cache::expire`]s before it.
    seen: HashMap<Probe, (u32, Observation), foldhash::fast::RandomState>,
    expired: u32,
    /// How many of them are fresh.
    fresh: usize,
}

impl Cache {
    /// An op was sent: nothing seen before it counts any more.
    pub fn expire(&mut self) {
        self.expired += 1;
        self.fresh = 0;
    }

    /// What was seen after the last op: fit to decide from.
    pub fn fresh(&self, probe: &Probe) -> Option<&Observation> {
        let (taken, observation) = self.seen.get(probe)?;
        (*taken == self.expired).then_some(observation)
    }

    /// What was seen at any time: fit to predict from.
    pub fn last(&self, probe: &Probe) -> Option<&Observation> {
        self.seen.get(probe).map(|(_, observation)| observation)
    }

    pub fn is_fresh(&self, probe: &Probe) -> bool {
        self.fresh(probe).is_some()
    }

    pub fn has_nothing_fresh(&self) -> bool {
        self.fresh == 0
    }

    /// Takes in what was just seen.
    pub fn extend(&mut self, probes: impl Iterator<Item = Probe>, seen: Vec<Observation>) {
        if self.seen.is_empty() {
            self.seen.reserve(seen.len());
        }
        for (probe, observation) in probes.zip(seen) {
            let old = self.seen.insert(probe, (self.expired, observation));
            self.fresh += usize::from(old.is_none_or(|(taken, _)| taken != self.expired));
        }
    }
}

/// How a host came out of a play.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Running,
    Done,
    Failed,
    Unreachable,
}

/// Where a host of a rolling play stands; in any other play nobody asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Nothing was changed yet.
    Untouched,
    /// It may be changed.
    Admitted,
    /// It was changed, and is back.
    Back,
}

pub struct HostRun {
    pub name: String,
    pub play: Arc<PlayRun>,
    pub layers: Arc<HostLayers>,
    pub produced: Produced,
    pub walk: Walk,
    pub cache: Cache,
    ready: ahead::Ready,
    pub overlay: Overlay,
    /// A host of the batch is the controller itself: what it does may change the files that tasks read there, so nobody
    /// runs ahead.
    pub at_controller: bool,
    pub state: State,
    pub stats: Stats,
    /// Ops that ran.
    pub executions: u64,
    /// Erlang VMs that were started on the host to look or to act.
    pub vm_starts: u64,
    /// How often something that others can see was begun or ended.
    pub acts: Acts,
    /// What `World::others_acts` was when the oldest fresh look was taken.
    others_acted: Acts,
    /// A check failed: no further batch may start.
    pub check_failed: bool,
    /// `--start-at-task` and the task has not come yet.
    pub skipping: bool,
    facts_pending: bool,
    started: bool,
    current: Option<TaskRun>,
    in_flight: Option<InFlight>,
    /// How often the connection was lost.
    losses: u32,
    ledger: Ledger,
    fatal_done: Option<Pos>,
    /// It failed of what is everybody's failure, and nothing rescued it.
    pub failed_with_all: bool,
    /// What an answer led to; the next step begins with it.
    pending: Option<Next>,
    /// Where nobody runs ahead: the walk as it stood at the last task that was done, should another host's failure
    /// there be everybody's.
    before: Option<Walk>,
    /// Where the host failed or was lost.
    pub lost_at: Option<Pos>,
    /// Where it failed, if nothing rescues it after the `always` it is in.
    fails_from: Option<Pos>,
    pub standing: Standing,
    /// Rolling: whether an earlier run left the node in maintenance, once the host has told.
    left_drained: Option<bool>,
    /// Nothing is to be changed, and the node is to come back from where that run left it.
    pub returns: bool,
}

/// What the host has written down of handlers to run, see `ledger`.
#[derive(Default)]
struct Ledger {
    /// The play has handlers and the host has not been asked yet.
    unread: bool,
    /// What stands there.
    written: BTreeSet<String>,
    /// Of that, what this play has no handler for: left for the play that has.
    foreign: BTreeSet<String>,
}

impl Ledger {
    /// The op that writes these names down, if that is not what stands there.
    fn note(&mut self, names: BTreeSet<String>) -> Option<Op> {
        if self.written == names {
            return None;
        }
        self.written = names;
        Some(ledger::write(&self.written))
    }
}

struct InFlight {
    /// An op of the ledger goes before the task's.
    noted: bool,
    /// The task's ops. One of the ledger may follow: what it came to does not matter.
    ops: usize,
    /// Which steps start an Erlang VM.
    vms: Vec<bool>,
    /// Others can see what the ops do; whether they are about what hosts share.
    outward: Option<bool>,
}

/// A task under way on this host.
struct TaskRun {
    task: Arc<Task>,
    pos: Pos,
    scope: Arc<TaskScope>,
    items: Option<Vec<Value>>,
    index: usize,
    results: Vec<ItemOutcome>,
    predicted: bool,
    no_log: bool,
    hide_diff: bool,
    /// The keyword `timeout`, seconds.
    timeout_s: Option<u32>,
    item: ItemRun,
    unit: together::Unit,
    share: share::Share,
}

impl TaskRun {
    /// The items that come after the current one.
    fn rest(&self) -> ahead::Rest<'_> {
        ahead::Rest {
            scope: &self.scope,
            items: self.items.as_deref().unwrap_or_default(),
            next: self.index + 1,
        }
    }
}

/// One item of it (a task without a loop has one).
#[derive(Default)]
struct ItemRun {
    attempt: u32,
    action: Option<Box<dyn Action>>,
    stage: Stage,
    /// A change whose ops were sent when the connection was lost.
    lost: Option<Change>,
    /// What it came to, while other hosts are waited for to judge it by.
    unjudged: Option<Box<ItemOutcome>>,
}

#[derive(Default)]
enum Stage {
    #[default]
    Deciding,
    /// Ops are on their way; then what they were decided from is looked at again.
    Acting(Change),
    Looking(Change),
}

/// What came of working on the current task without the host's help.
enum Flow {
    Again,
    Leave(Next),
}

impl HostRun {
    pub fn new(name: String, play: Arc<PlayRun>, layers: Arc<HostLayers>, produced: Produced, skipping: bool) -> Self {
        let only_checks = play.shared.mode == Mode::Verify;
        let facts_pending = play.gather_facts;
        let ledger = Ledger {
            unread: !only_checks && !play.play.handlers.is_empty(),
            ..Ledger::default()
        };
        let mut produced = produced;
        if facts_pending {
            produced.facts = None;
        }
        HostRun {
            walk: Walk::new(play.play.clone(), only_checks),
            name,
            play,
            layers,
            produced,
            cache: Cache::default(),
            ready: ahead::Ready::default(),
            overlay: Overlay::default(),
            at_controller: false,
            state: State::Running,
            stats: Stats::default(),
            executions: 0,
            vm_starts: 0,
            acts: Acts::default(),
            others_acted: Acts::default(),
            check_failed: false,
            skipping,
            facts_pending,
            started: false,
            current: None,
            in_flight: None,
            losses: 0,
            ledger,
            fatal_done: None,
            failed_with_all: false,
            pending: None,
            before: None,
            lost_at: None,
            fails_from: None,
            standing: Standing::Untouched,
            left_drained: None,
            returns: false,
        }
    }

    /// The host has its turn: what was seen before it does not count any more.
    pub fn admit(&mut self, standing: Standing) {
        self.standing = standing;
        self.cache.expire();
    }

    /// Something was changed that a handler has not been run for yet.
    pub fn is_half_done(&self) -> bool {
        !self.walk.notified.is_empty()
    }

    pub fn facts_are_pending(&self) -> bool {
        self.facts_pending
    }

    /// Stops here: nothing further is begun on this host in this play, and what was done is told.
    pub fn stop(&mut self, world: &mut World<'_>) {
        if self.state != State::Running {
            return;
        }
        if let Some(outcome) = self.current.as_mut().and_then(|r| r.item.unjudged.take()) {
            self.settle_final(*outcome, world);
        } else if self.current.as_ref().is_some_and(|r| r.item.lost.is_some()) {
            let outcome = lost_outcome(None);
            self.settle_final(outcome, world);
        } else if self
            .current
            .as_ref()
            .is_some_and(|r| matches!(r.item.stage, Stage::Looking(_)) || r.unit.is_looking())
        {
            // The answer is here, with what is to be looked at again.
            self.work(world);
        }
        if self.current.as_ref().is_some_and(|r| !r.results.is_empty()) {
            self.finish_task(world);
        }
        self.current = None;
        if self.state == State::Running {
            self.walk.end();
            self.state = State::Done;
        }
    }

    /// What to tell when nobody waits for the answer any more.
    pub fn abandoned(&self) -> Option<Out> {
        self.in_flight
            .as_ref()
            .filter(|f| f.ops > 0 && self.state == State::Running)?;
        let run = self.current.as_ref()?;
        let name = run.task.name.as_ref().and_then(|n| n.as_str());
        Some(Out::Warning {
            pos: None,
            text: format!(
                "`{}` was not waited for: it may or may not have been done",
                name.unwrap_or(run.task.module)
            ),
        })
    }

    /// Where the host stands; `None` when it is through.
    pub fn pos(&mut self) -> Option<Pos> {
        if self.state != State::Running {
            return None;
        }
        if self.facts_pending {
            return Some(Pos::facts());
        }
        self.walk.current().map(|_| self.walk.pos())
    }

    /// Goes as far as it can without an answer from the host or from others.
    pub fn step(&mut self, world: &mut World<'_>) -> Next {
        loop {
            if self.state != State::Running {
                // Nobody asks again; other hosts may have use for the memory.
                self.cache = Cache::default();
                self.ready = ahead::Ready::default();
                return Next::Done;
            }
            if let Some(next) = self.pending.take() {
                return next;
            }
            let flow = if self.facts_pending {
                self.step_facts(world)
            } else {
                self.step_task(world)
            };
            match flow {
                Flow::Again => {}
                Flow::Leave(next) => return next,
            }
        }
    }

    fn aligned(&self, pos: &Pos, world: &World<'_>) -> bool {
        self.play.strategy == Strategy::Free || world.least.as_ref().is_none_or(|least| least >= pos)
    }

    pub fn evaluation(&self, scope: Arc<TaskScope>) -> Evaluation<'_> {
        Evaluation {
            play: &self.play,
            scope,
            handler: self.walk.section() == Section::Handler,
        }
    }

    fn scope_for(&self, pos: &Pos, task: Option<&Arc<Task>>, world: &World<'_>) -> Arc<TaskScope> {
        Arc::new(scope(
            &self.layers,
            &self.play,
            self.produced.clone(),
            pos,
            task,
            world.board,
        ))
    }

    /// What the task is called in reports.
    pub fn label(&self, task: &Task) -> String {
        let own = task.name.as_ref().and_then(|n| n.as_str()).unwrap_or(task.module);
        match &task.role {
            Some(role) => format!("{} : {own}", role.name),
            None => own.to_owned(),
        }
    }
}

enum Work {
    Leave(Next),
    Item(Box<ItemOutcome>),
    /// A change that waits for those of the following items.
    Later(Box<Change>),
    /// What the whole task came to, whatever its items.
    All(Box<ItemOutcome>),
}

impl Work {
    fn failed(failure: Failure) -> Work {
        Work::Item(Box::new(ItemOutcome::failed(failure)))
    }
}

/// An op was sent, and nobody knows what came of it.
fn lost_outcome(error: Option<&CallError>) -> ItemOutcome {
    let failure = Failure::new("the connection was lost while it ran: it may or may not have been done")
        .help("look at the host before running it again");
    let mut outcome = ItemOutcome::failed(failure);
    if let Some(failed) = &mut outcome.failure {
        failed.code = Code::LOST.0.to_owned();
        failed.notes.extend(error.iter().flat_map(|e| said("ssh", &e.said)));
    }
    outcome
}

/// The words of `who` (ssh, or what ran), for the notes of a failure.
fn said(who: &str, text: &str) -> Vec<String> {
    text.lines()
        .filter(|l| !l.trim().is_empty())
        .take(5)
        .map(|l| format!("{who} said: {l}"))
        .collect()
}

/// The variables of a task at a position.
pub fn scope(
    layers: &Arc<HostLayers>,
    play: &PlayRun,
    produced: Produced,
    pos: &Pos,
    task: Option<&Arc<Task>>,
    board: &Arc<Blackboard>,
) -> TaskScope {
    let trace: Arc<Trace> = Arc::default();
    TaskScope {
        host: layers.clone(),
        produced,
        task: task.map(|task| (task.clone(), play.play.clone())),
        local: Arc::default(),
        hostvars: Some(HostVars {
            board: board.clone(),
            pos: pos.clone(),
            trace: trace.clone(),
            free: play.strategy == Strategy::Free,
        }),
        trace,
    }
}

impl Report {
    /// Whether a kept task is reported as skipped.
    pub fn is_skipped(&self) -> bool {
        self.skipped.is_some()
    }
}
