//! PURE. One host on its way through one play: what to send next, what to make of the answer.
//!
//! **Fresh: a decision is acted on, or reported `ok`, only if every observation it used was taken after the last
//! op that ran on the host.** It holds by construction: observations live in [`Cache::fresh`], which is emptied
//! whenever ops are sent; what was in it becomes the *prediction* that bounds how far ahead is looked.
//!
//! The order of one step: settle on a task → evaluate → decide from fresh observations → if some are missing,
//! ask for them *and* for what the following tasks will want; if there is something to do, send the ops, the
//! same probes again (look again) and what the following tasks will want, in one message.

#![deny(clippy::disallowed_methods)]

use crate::diagnostic::{Code, Diagnostic};
use crate::engine::ahead;
use crate::engine::control::{self, Effect};
use crate::engine::evaluate::{Evaluation, Trouble, item_scope, rendered, search_directories};
use crate::engine::event::{Failed, HostResult, Mode, Section, Stats, TaskInfo, TaskStatus};
use crate::engine::ledger;
use crate::engine::mask;
use crate::engine::overlay::Overlay;
use crate::engine::result::{self, ItemOutcome};
use crate::engine::shared::{PlayRun, Strategy};
use crate::engine::vars::{Blackboard, HostLayers, HostVars, Missing, Produced, Taint, TaskScope};
use crate::engine::walk::{AfterFailure, Pos, Walk};
use crate::host::{Observation, Op, Outcome, Probe, Scope as ProbeScope, Status};
use crate::language::{Node, Task};
use crate::modules::{self, Action, Change, Decision, Failure, Kind, Report, Seen, Settle, Stop};
use crate::transport::{CallError, CallErrorKind, Reply, Request, Response, RunAs, Step};
use serde_json::Value;
use std::collections::{BTreeSet, HashMap};
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
}

/// What the rest of the batch looks like while a host steps.
pub struct World<'a> {
    /// The least position of the hosts of the batch that are still on their way, this one included.
    pub least: Option<Pos>,
    pub board: &'a Arc<Blackboard>,
    /// Results of `run_once` tasks by position; a host that finds none and is `first` runs the task.
    pub once: &'a mut HashMap<Pos, Once>,
    /// This host is the first of the batch that has not failed.
    pub first: bool,
    /// A failure at this position fails everybody behind it.
    pub fatal: Option<Pos>,
    /// What happened, for the dispatcher to tell.
    pub out: &'a mut Vec<Out>,
}

/// A `run_once` task's outcome for the hosts that did not run it.
#[derive(Clone, Debug)]
pub struct Once {
    pub register: Option<Arc<Value>>,
    pub facts: Option<Arc<Value>>,
    pub values: HashMap<String, Arc<Value>>,
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
        result: Box<HostResult>,
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
    ClearErrors,
}

/// Observations of a host, as the user they were made as.
#[derive(Clone, Debug, Default)]
pub struct Cache {
    pub who: Option<RunAs>,
    /// Taken after the last op: fit to decide from.
    pub fresh: HashMap<Probe, Observation>,
    /// Taken before: fit to predict from.
    pub stale: HashMap<Probe, Observation>,
}

impl Cache {
    /// An op was sent: nothing seen before it counts any more.
    pub fn expire(&mut self) {
        self.stale.extend(self.fresh.drain());
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

pub struct HostRun {
    pub name: String,
    pub play: Arc<PlayRun>,
    pub layers: Arc<HostLayers>,
    pub produced: Produced,
    pub walk: Walk,
    pub cache: Cache,
    ready: ahead::Ready,
    pub overlay: Overlay,
    pub state: State,
    pub stats: Stats,
    /// Ops that ran.
    pub executions: u64,
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
    /// Dry run: something would change or cannot be known.
    touched: bool,
    fatal_done: Option<Pos>,
    /// What an answer led to; the next step begins with it.
    pending: Option<Next>,
    /// Where nobody runs ahead: the walk as it stood at the last task that was done, should another host's failure
    /// there be everybody's.
    before: Option<Walk>,
    /// Where the host failed or was lost.
    pub lost_at: Option<Pos>,
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
    probes: Vec<Probe>,
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
            state: State::Running,
            stats: Stats::default(),
            executions: 0,
            check_failed: false,
            skipping,
            facts_pending,
            started: false,
            current: None,
            in_flight: None,
            losses: 0,
            ledger,
            touched: false,
            fatal_done: None,
            pending: None,
            before: None,
            lost_at: None,
        }
    }

    pub fn facts_are_pending(&self) -> bool {
        self.facts_pending
    }

    /// Stops here: nothing further is begun on this host in this play, and what was done is told.
    pub fn stop(&mut self, world: &mut World<'_>) {
        if self.state != State::Running {
            return;
        }
        if self.current.as_ref().is_some_and(|r| r.item.lost.is_some()) {
            let outcome = lost_outcome(None);
            self.settle_final(outcome, world);
        } else if self
            .current
            .as_ref()
            .is_some_and(|r| matches!(r.item.stage, Stage::Looking(_)))
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
            return Some(Pos(vec![0]));
        }
        self.walk.current().map(|_| self.walk.pos())
    }

    /// Goes as far as it can without an answer from the host or from others.
    pub fn step(&mut self, world: &mut World<'_>) -> Next {
        loop {
            if self.state != State::Running {
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

    fn step_facts(&mut self, world: &mut World<'_>) -> Flow {
        let pos = Pos(vec![0]);
        if !self.started {
            self.started = true;
            let info = TaskInfo {
                id: 0,
                name: "Gathering Facts".to_owned(),
                module: "setup".to_owned(),
                section: Section::Facts,
                location: self.play.shared.sources.locate(self.play.play.span),
                tags: Vec::new(),
            };
            world.out.push(Out::Started { pos: pos.clone(), info });
        }
        let scope = self.scope_for(&pos, None, world);
        let who = {
            let evaluation = self.evaluation(scope);
            evaluation.run_as(None)
        };
        let who = match who {
            Ok(who) => who,
            Err(trouble) => {
                self.facts_pending = false;
                return self.fail_outside_task(world, pos, &trouble);
            }
        };
        self.become_(who);
        match self.cache.fresh.get(&Probe::Facts).cloned() {
            None => Flow::Leave(self.call(Vec::new(), vec![Probe::Facts], None, world)),
            Some(Observation::Facts(facts)) => {
                let facts = facts.as_object().cloned().unwrap_or_default();
                self.facts_pending = false;
                self.produced.add_facts(&facts);
                if let Some(facts) = &self.produced.facts {
                    world.board.publish_facts(&self.name, &pos, facts);
                }
                self.stats.ok += 1;
                let result = result::simple(TaskStatus::Ok);
                world.out.push(Out::Result {
                    pos,
                    result: Box::new(result),
                });
                Flow::Again
            }
            Some(other) => {
                self.facts_pending = false;
                let diagnostic =
                    Diagnostic::error(Code::TASK_FAILED, format!("facts could not be gathered: {other:?}"))
                        .at(self.play.play.span, "in this play");
                self.fail_outside_task(world, pos, &Trouble::Wrong(Box::new(diagnostic)))
            }
        }
    }

    fn fail_outside_task(&mut self, world: &mut World<'_>, pos: Pos, trouble: &Trouble) -> Flow {
        let failed = self.trouble_text(trouble);
        self.fail_facts(world, pos, failed)
    }

    fn fail_facts(&mut self, world: &mut World<'_>, pos: Pos, failed: Failed) -> Flow {
        self.stats.failures += 1;
        self.state = State::Failed;
        self.lost_at = Some(pos.clone());
        let mut result = result::simple(TaskStatus::Failed);
        result.value.insert("msg".to_owned(), Value::from(failed.msg.clone()));
        result.value.insert("failed".to_owned(), Value::Bool(true));
        result.failure = Some(failed);
        world.out.push(Out::Result {
            pos,
            result: Box::new(result),
        });
        Flow::Leave(Next::Done)
    }

    fn step_task(&mut self, world: &mut World<'_>) -> Flow {
        self.read_ledger(world);
        let Some(task) = self.walk.current() else {
            // Handlers that needed no op (or ran as nobody expected) are still to be struck off.
            let notes = self.play.shared.mode == Mode::Apply && !self.ledger.unread && !self.walk.has_failed();
            if notes && self.ledger.written != self.pending() {
                return Flow::Leave(self.call(Vec::new(), Vec::new(), None, world));
            }
            self.state = if self.walk.has_failed() {
                State::Failed
            } else {
                State::Done
            };
            return Flow::Leave(Next::Done);
        };
        let pos = self.walk.pos();
        if let Some(fatal) = world
            .fatal
            .clone()
            .filter(|f| pos > *f && self.fatal_done.as_ref().is_none_or(|done| done < f))
        {
            // Another host's failure is everybody's: as if the task before had failed here, inside its block.
            self.fatal_done = Some(fatal);
            if let Some(before) = self.before.take() {
                self.walk = before;
            }
            self.after_failure();
            return Flow::Again;
        }
        if self.current.as_ref().is_none_or(|c| c.pos != pos) {
            match self.begin(task, pos, world) {
                Ok(flow) => return flow,
                Err(next) => return Flow::Leave(next),
            }
        }
        self.work(world)
    }

    /// The names of the handlers that are to run.
    fn pending(&self) -> BTreeSet<String> {
        let own = self.walk.notified.iter().filter_map(|i| self.walk.handler_name(*i));
        own.chain(self.ledger.foreign.iter().cloned()).collect()
    }

    /// Takes up what an earlier run left behind, once the host has told.
    fn read_ledger(&mut self, world: &mut World<'_>) {
        if !self.ledger.unread {
            return;
        }
        let Some(observation) = self.cache.fresh.get(&ledger::probe()) else {
            return;
        };
        self.ledger.unread = false;
        self.ledger.written = ledger::parse(observation);
        for name in self.ledger.written.clone() {
            let handlers = self.walk.handlers_for(&name);
            if handlers.is_empty() {
                self.ledger.foreign.insert(name);
            } else {
                let text =
                    format!("handler `{name}` was notified by an earlier run that did not get to it; it runs now");
                world.out.push(Out::Warning { pos: None, text });
                self.walk.notified.extend(handlers);
            }
        }
    }

    /// Starts a task: selection by tags, whom to become, loop items.
    fn begin(&mut self, task: Arc<Task>, pos: Pos, world: &mut World<'_>) -> Result<Flow, Next> {
        let scope = self.scope_for(&pos, Some(&task), world);
        if !self.selected(&task, &scope) {
            self.walk.advance();
            return Ok(Flow::Again);
        }
        if self.skipping {
            let wanted = self.play.shared.options.start_at_task.as_deref().unwrap_or_default();
            let own = task.name.as_ref().and_then(|n| n.as_str()).unwrap_or_default();
            let glob = globset::Glob::new(wanted).map(|g| g.compile_matcher());
            let here = |name: &str| name == wanted || glob.as_ref().is_ok_and(|g| g.is_match(name));
            if !here(own) && !here(&self.label(&task)) {
                self.walk.advance();
                return Ok(Flow::Again);
            }
            self.skipping = false;
        }
        let aligned = self.aligned(&pos, world);
        let once = self.once(&task, &scope);
        if (self.play.strict || once) && !aligned {
            return Err(Next::Wait(Condition::Aligned(pos)));
        }
        // The first host may have run it and failed, so that another is the first now.
        if once && (!world.first || world.once.contains_key(&pos)) {
            let Some(done) = world.once.get(&pos).cloned() else {
                return Err(Next::Wait(Condition::Once(pos)));
            };
            let registered = task.register.iter().zip(&done.register);
            for (name, value) in registered.chain(&done.values) {
                self.produced.set(name, Ok(value.clone()));
                if done.secret {
                    Arc::make_mut(&mut self.produced.secret).insert(name.clone());
                }
                world.board.publish(&self.name, &pos, name, value);
            }
            if done.secret {
                world.board.hide(&self.name, &self.produced.secret);
            }
            if done.facts.is_some() {
                self.produced.facts = done.facts.clone();
            }
            if done.failed {
                self.fatal_done = Some(pos);
                self.after_failure();
            } else {
                self.walk.advance();
            }
            return Ok(Flow::Again);
        }
        if let Some(gate) = self.play.shared.gate.clone()
            && !gate.allows(&format!("{:?} {pos:?}", task.span), &self.label(&task))
        {
            self.walk.advance();
            return Ok(Flow::Again);
        }
        self.announce(&task, &pos, &scope, world);
        let mut run = TaskRun {
            task: task.clone(),
            pos,
            scope: scope.clone(),
            items: None,
            index: 0,
            results: Vec::new(),
            predicted: false,
            no_log: false,
            hide_diff: false,
            timeout_s: None,
            item: ItemRun::default(),
        };
        if self.walk.is_maybe() {
            run.results.push(ItemOutcome::unknown(
                "cannot know: runs if the task that notifies it changes something",
            ));
            self.current = Some(run);
            return Ok(self.finish_task(world));
        }
        let drift = self.play.shared.options.drift;
        if self.play.shared.mode == Mode::Diff && !drift && self.walk.section() == Section::PostCheck && self.touched {
            run.results
                .push(ItemOutcome::unknown("cannot know until the changes are made"));
            self.current = Some(run);
            return Ok(self.finish_task(world));
        }
        let prepared = (|| {
            let evaluation = self.evaluation(scope.clone());
            run.no_log = evaluation
                .flag(&task, "no_log", |c| c.no_log.as_ref())?
                .unwrap_or(false);
            let check = evaluation.flag(&task, "check_mode", |c| c.check_mode.as_ref())?;
            run.predicted = check.unwrap_or(self.play.shared.mode == Mode::Diff);
            run.timeout_s = match task.inherited(|c| c.timeout.as_ref()) {
                Some(node) => u32::try_from(evaluation.integer(node, "timeout")?)
                    .ok()
                    .filter(|t| *t > 0),
                None => None,
            };
            run.hide_diff = !evaluation.flag(&task, "diff", |c| c.diff.as_ref())?.unwrap_or(true);
            let items = match evaluation.items(&task) {
                Ok(items) => items,
                // A loop over something undefined under a `when` that is false is skipped, not an error.
                Err(trouble) => match evaluation.when(&task) {
                    Ok(Some(condition)) => {
                        run.results.push(ItemOutcome::skipped(condition.to_value()));
                        None
                    }
                    _ => return Err(trouble),
                },
            };
            Ok(items)
        })();
        match prepared {
            Ok(items) => {
                let empty = items.as_ref().is_some_and(Vec::is_empty) || !run.results.is_empty();
                run.items = items;
                self.current = Some(run);
                if empty {
                    Ok(self.finish_task(world))
                } else {
                    Ok(Flow::Again)
                }
            }
            Err(trouble) => {
                let waits = self.waits(&scope, &run.pos);
                self.current = Some(run);
                if let Some(condition) = waits {
                    self.current = None;
                    return Err(Next::Wait(condition));
                }
                let outcome = self.outcome_of(&trouble);
                self.push(outcome);
                Ok(self.finish_task(world))
            }
        }
    }

    /// Works on the current item.
    fn work(&mut self, world: &mut World<'_>) -> Flow {
        let Some(mut run) = self.current.take() else {
            return Flow::Again;
        };
        let done = self.work_on(&mut run, world);
        self.current = Some(run);
        match done {
            Work::Leave(next) => Flow::Leave(next),
            Work::Item(outcome) => self.settle(*outcome, world),
        }
    }

    fn work_on(&mut self, run: &mut TaskRun, world: &mut World<'_>) -> Work {
        let task = run.task.clone();
        let Some(spec) = modules::find(task.module) else {
            return Work::failed(Failure::new(format!("module `{}` does not exist", task.module)));
        };
        let scope = match &run.items {
            Some(items) => item_scope(&run.scope, &task, items, run.index),
            None => run.scope.clone(),
        };
        let play = self.play.clone();
        let evaluation = Evaluation {
            play: &play,
            scope: scope.clone(),
            handler: self.walk.section() == Section::Handler,
        };
        if run.item.action.is_none() && matches!(run.item.stage, Stage::Deciding) {
            match evaluation.when(&task) {
                Ok(None) => {}
                Ok(Some(condition)) => return Work::Item(Box::new(ItemOutcome::skipped(condition.to_value()))),
                Err(trouble) => return self.stuck(run, &scope, &trouble),
            }
            if matches!(spec.kind, Kind::Control) {
                return self.control(run, &evaluation, world);
            }
            match evaluation.run_as(Some(&task)) {
                Ok(who) => self.become_(who),
                Err(trouble) => return self.stuck(run, &scope, &trouble),
            }
            let ready = self.ready.take(&run.pos, &task, &scope.produced);
            match ready.map_or_else(|| evaluation.action(&task, spec), Ok) {
                Ok(action) => run.item.action = Some(action),
                Err(trouble) => return self.stuck(run, &scope, &trouble),
            }
        }
        let Some(action) = run.item.action.take() else {
            return Work::failed(Failure::new("no action"));
        };
        let work = self.decide(run, &*action, spec.local, world);
        if matches!(work, Work::Leave(_)) {
            run.item.action = Some(action);
        }
        work
    }

    fn decide(&mut self, run: &mut TaskRun, action: &dyn Action, local: bool, world: &mut World<'_>) -> Work {
        let overlay = if run.predicted || self.play.shared.mode == Mode::Diff {
            Some(&self.overlay)
        } else {
            None
        };
        let look = |probe: &Probe| {
            let Some(seen) = self.cache.fresh.get(probe).cloned() else {
                return overlay?.known(probe);
            };
            Some(match overlay {
                Some(overlay) => overlay.view(probe, seen),
                None => seen,
            })
        };
        let seen = Seen::new(&look);
        let mut missing: Vec<Probe> = action
            .probes()
            .into_iter()
            .filter(|p| !self.cache.fresh.contains_key(p))
            .collect();
        let decision = if missing.is_empty() {
            action.decide(&seen)
        } else {
            Err(Stop::NeedMore(Vec::new()))
        };
        let used = seen.used();
        let decision = match decision {
            Ok(decision) => decision,
            Err(Stop::NeedMore(more)) => {
                missing.extend(more);
                let outward = missing.iter().any(|p| p.scope() == ProbeScope::World);
                if outward && !self.aligned(&run.pos, world) {
                    return Work::Leave(Next::Wait(Condition::Aligned(run.pos.clone())));
                }
                return Work::Leave(self.call(Vec::new(), missing, Some(run), world));
            }
            Err(Stop::CannotKnow(why)) => return Work::Item(Box::new(ItemOutcome::unknown(&why))),
            Err(Stop::Fail(failure)) => Decision::Fail(failure),
        };
        match (std::mem::take(&mut run.item.stage), decision) {
            (Stage::Looking(change), Decision::Keep(report)) => {
                Work::Item(Box::new(ItemOutcome::changed(change, report)))
            }
            (Stage::Looking(change), Decision::Change(again)) => {
                Work::Item(Box::new(result::not_converged(&change, &again)))
            }
            (Stage::Looking(change), Decision::Fail(failure)) => Work::Item(Box::new(ItemOutcome {
                deltas: change.deltas,
                ..ItemOutcome::failed(failure)
            })),
            (_, Decision::Keep(report)) => match run.item.lost.take() {
                // The connection went away while it acted; looking shows that it was done.
                Some(change) => Work::Item(Box::new(ItemOutcome::changed(change, report))),
                None => Work::Item(Box::new(ItemOutcome::kept(report))),
            },
            (_, Decision::Fail(failure)) => Work::failed(failure),
            (_, Decision::Change(change)) if run.predicted => {
                let quiet = self.says_unchanged(run, &change);
                if !quiet {
                    self.overlay.apply(&change.ops, &self.label(&run.task));
                }
                Work::Item(Box::new(result::predicted(change)))
            }
            (_, Decision::Change(change)) => {
                if !local && !self.aligned(&run.pos, world) {
                    return Work::Leave(Next::Wait(Condition::Aligned(run.pos.clone())));
                }
                if change.ops.is_empty() {
                    let report = change.report.clone();
                    return Work::Item(Box::new(ItemOutcome::changed(change, report)));
                }
                let again = if change.settle == Settle::LookAgain {
                    let mut again = action.probes();
                    again.extend(used);
                    again
                } else {
                    Vec::new()
                };
                let mut ops = change.ops.clone();
                if let Some(limit) = run.timeout_s {
                    for op in &mut ops {
                        if let Op::Exec(exec) = op {
                            exec.timeout_s = Some(exec.timeout_s.map_or(limit, |t| t.min(limit)));
                        }
                    }
                }
                run.item.stage = Stage::Acting(change);
                Work::Leave(self.call(ops, again, Some(run), world))
            }
        }
    }

    /// A command whose `changed_when: false` promises that it changes nothing.
    fn says_unchanged(&self, run: &TaskRun, change: &Change) -> bool {
        let never = run.task.changed_when.as_ref().is_some_and(|c| {
            c.iter()
                .any(|n| matches!(n.yaml, crate::language::Yaml::Bool(false)) || n.as_str() == Some("false"))
        });
        never || !change.changed
    }

    /// The answer to the last [`Next::Call`].
    pub fn answer(&mut self, answer: Result<Response, CallError>, world: &mut World<'_>) {
        let Some(flight) = self.in_flight.take() else { return };
        let response = match answer {
            Ok(response) => response,
            Err(error) => return self.call_failed(error, &flight, world),
        };
        let (did, seen): (Vec<Reply>, Vec<Reply>) =
            response.replies.into_iter().partition(|r| matches!(r, Reply::Did(_)));
        let outcomes: Vec<Outcome> = did
            .into_iter()
            .skip(usize::from(flight.noted))
            .take(flight.ops)
            .filter_map(|r| match r {
                Reply::Did(outcome) => Some(outcome),
                Reply::Seen(_) => None,
            })
            .collect();
        self.executions += outcomes.iter().filter(|o| o.status != Status::NotRun).count() as u64;
        let all_done = outcomes.iter().all(Outcome::is_done);
        if all_done {
            for (probe, reply) in flight.probes.into_iter().zip(seen) {
                if let Reply::Seen(observation) = reply {
                    self.cache.fresh.insert(probe, observation);
                }
            }
        }
        if flight.ops == 0 {
            return;
        }
        let Some(mut run) = self.current.take() else { return };
        let Stage::Acting(change) = std::mem::take(&mut run.item.stage) else {
            self.current = Some(run);
            return;
        };
        let own = match &run.item.action {
            Some(action) if !outcomes.iter().all(Outcome::is_done) => action.finish(&change, &outcomes).err(),
            _ => None,
        };
        let outcome = if let Some(outcome) = result::failed_op(&change, &outcomes, own) {
            Some(outcome)
        } else if change.settle == Settle::Outcome {
            match run.item.action.as_ref().map(|a| a.finish(&change, &outcomes)) {
                Some(Ok(report)) => Some(ItemOutcome::changed(change, report)),
                // What ran and failed may have done anything: Ansible calls that changed.
                Some(Err(failure)) => Some(ItemOutcome {
                    changed: change.changed,
                    ..ItemOutcome::failed(failure)
                }),
                None => Some(ItemOutcome::failed(Failure::new("no action"))),
            }
        } else {
            run.item.stage = Stage::Looking(change);
            None
        };
        if let Some(mut outcome) = outcome {
            if let Some(limit) = run
                .timeout_s
                .filter(|_| outcome.values.get("rc") == Some(&Value::from(124)))
            {
                outcome.say(format!("the time limit of {limit} s (`timeout`) ended it"));
            }
            run.item.action = None;
            self.current = Some(run);
            let flow = self.settle(outcome, world);
            self.go_on(flow);
        } else {
            self.current = Some(run);
        }
    }

    fn call_failed(&mut self, error: CallError, flight: &InFlight, world: &mut World<'_>) {
        let pos = self.current.as_ref().map(|c| c.pos.clone());
        match error.kind {
            CallErrorKind::Become | CallErrorKind::Shell if self.current.is_some() => {
                let failure = Failure {
                    msg: error.message.clone(),
                    help: error.help.clone(),
                    ..Failure::new("")
                };
                let mut outcome = ItemOutcome::failed(failure);
                if let Some(failed) = &mut outcome.failure {
                    failed.code = if error.kind == CallErrorKind::Become {
                        Code::BECOME
                    } else {
                        Code::TASK_FAILED
                    }
                    .0
                    .to_owned();
                    failed.notes.extend(said(&error.said));
                }
                if let Some(run) = &mut self.current {
                    run.item.action = None;
                    run.item.stage = Stage::Deciding;
                    run.items = None;
                }
                let flow = self.settle_final(outcome, world);
                self.go_on(flow);
            }
            CallErrorKind::Lost if self.losses < 2 => {
                self.losses += 1;
                self.cache.expire();
                world.out.push(Out::Warning {
                    pos,
                    text: format!("connection lost, connecting again: {}", error.message),
                });
                if flight.ops == 0 {
                    return;
                }
                let Some(run) = &mut self.current else { return };
                if let Stage::Acting(change) = std::mem::take(&mut run.item.stage) {
                    if change.settle == Settle::LookAgain {
                        // Unknown is not failed: look, then decide.
                        run.item.lost = Some(change);
                    } else {
                        run.item.action = None;
                        let flow = self.settle_final(lost_outcome(Some(&error)), world);
                        self.go_on(flow);
                    }
                }
            }
            _ => {
                let code = match error.kind {
                    CallErrorKind::HostKey => Code::HOST_KEY,
                    CallErrorKind::Become => Code::BECOME,
                    CallErrorKind::Lost => Code::LOST,
                    CallErrorKind::Connect | CallErrorKind::Shell => Code::CONNECT,
                };
                let failure = Failed {
                    code: code.0.to_owned(),
                    msg: error.message,
                    notes: said(&error.said),
                    helps: error.help.into_iter().collect(),
                    location: None,
                    rendered: None,
                };
                if error.kind == CallErrorKind::Become && self.facts_pending {
                    // The host was reached; it is the first task that fails, as with Ansible.
                    self.facts_pending = false;
                    self.fail_facts(world, Pos(vec![0]), failure);
                    return;
                }
                if self.ignores_unreachable(world) {
                    return self.go_on_unreachable(failure, world);
                }
                let at = pos.clone().unwrap_or_else(|| Pos(vec![0]));
                if self.is_fatal(world) {
                    self.make_fatal(&at, world);
                }
                self.lost_at = Some(at);
                self.stats.unreachable += 1;
                self.state = State::Unreachable;
                world.out.push(Out::Unreachable { pos, failure });
            }
        }
    }

    /// What a step would have returned, found while an answer was read.
    fn go_on(&mut self, flow: Flow) {
        if let Flow::Leave(next) = flow {
            self.pending = Some(next);
        }
    }

    /// A keyword of the task under way, or of the play while facts are gathered.
    fn says(&self, what: &str, field: fn(&crate::language::Common) -> Option<&Node>, world: &World<'_>) -> bool {
        let flag = match &self.current {
            Some(run) => self.evaluation(run.scope.clone()).flag(&run.task, what, field),
            None => {
                let evaluation = self.evaluation(self.scope_for(&Pos(vec![0]), None, world));
                let node = field(&self.play.play.common);
                node.map(|n| evaluation.boolean(n, what)).transpose()
            }
        };
        flag.ok().flatten().unwrap_or(false)
    }

    /// Whether a failure here is everybody's.
    fn is_fatal(&self, world: &World<'_>) -> bool {
        let once = self.current.as_ref().is_some_and(|r| self.once(&r.task, &r.scope));
        once || self.says("any_errors_fatal", |c| c.any_errors_fatal.as_ref(), world)
    }

    fn make_fatal(&mut self, pos: &Pos, world: &mut World<'_>) {
        if world.fatal.as_ref().is_none_or(|f| f < pos) {
            world.fatal = Some(pos.clone());
        }
        self.fatal_done = Some(pos.clone());
    }

    fn ignores_unreachable(&self, world: &World<'_>) -> bool {
        self.says("ignore_unreachable", |c| c.ignore_unreachable.as_ref(), world)
    }

    /// `ignore_unreachable`: the task is over, the host goes on, and the next task tries the connection again.
    fn go_on_unreachable(&mut self, failure: Failed, world: &mut World<'_>) {
        self.losses = 0;
        self.cache.expire();
        let mut outcome = ItemOutcome::failed(Failure::new(failure.msg.clone()));
        outcome.values.insert("unreachable".to_owned(), Value::Bool(true));
        outcome.failure = Some(failure);
        if let Some(run) = &mut self.current {
            run.item.action = None;
            run.item.stage = Stage::Deciding;
            // The other items would not get through either.
            run.items = None;
            let flow = self.settle_final(outcome, world);
            return self.go_on(flow);
        }
        self.facts_pending = false;
        self.count(TaskStatus::Ignored, false);
        let summary = result::summarise(false, vec![outcome]);
        let mut told = result::told(&summary, false, false);
        told.status = TaskStatus::Ignored;
        world.out.push(Out::Result {
            pos: Pos(vec![0]),
            result: Box::new(told),
        });
    }

    /// An item has come to something: `failed_when`, `changed_when`, `until`, then the next item or the end.
    fn settle(&mut self, outcome: ItemOutcome, world: &mut World<'_>) -> Flow {
        let Some(run) = &mut self.current else {
            return Flow::Again;
        };
        let mut outcome = outcome;
        if outcome.judged() {
            let scope = match &run.items {
                Some(items) => item_scope(&run.scope, &run.task, items, run.index),
                None => run.scope.clone(),
            };
            let task = run.task.clone();
            let attempt = run.item.attempt;
            let verdict = result::judge(&self.play, &scope, &task, &mut outcome, attempt);
            match verdict {
                Ok(result::Verdict::Final) => {}
                Ok(result::Verdict::Retry { left, delay }) => {
                    world.out.push(Out::Retrying {
                        pos: run.pos.clone(),
                        left,
                    });
                    run.item = ItemRun {
                        attempt: attempt + 1,
                        ..ItemRun::default()
                    };
                    self.cache.expire();
                    return Flow::Leave(Next::Sleep(delay));
                }
                Err(trouble) => {
                    // What the module returned stands.
                    let failed = self.trouble_text(&trouble);
                    outcome.values.insert("msg".to_owned(), Value::from(failed.msg.clone()));
                    outcome.failure = Some(failed);
                }
            }
        }
        self.settle_final(outcome, world)
    }

    fn settle_final(&mut self, outcome: ItemOutcome, world: &mut World<'_>) -> Flow {
        self.push(outcome);
        let Some(run) = &mut self.current else {
            return Flow::Again;
        };
        run.item = ItemRun::default();
        run.index += 1;
        let more = run.items.as_ref().is_some_and(|items| run.index < items.len());
        if more {
            return self.pause();
        }
        self.finish_task(world)
    }

    /// `loop_control: pause`, between items.
    fn pause(&self) -> Flow {
        let Some(run) = &self.current else { return Flow::Again };
        let pause = run.task.loop_.as_ref().and_then(|l| l.pause.as_ref());
        let Some(node) = pause.filter(|_| !run.predicted) else {
            return Flow::Again;
        };
        let text = self.evaluation(run.scope.clone()).text(node).unwrap_or_default();
        match text.trim().parse::<f64>() {
            Ok(seconds) if seconds > 0.0 => Flow::Leave(Next::Sleep(seconds)),
            _ => Flow::Again,
        }
    }

    fn push(&mut self, mut outcome: ItemOutcome) {
        let hidden = self.play.shared.mode == Mode::Diff && (outcome.changed || outcome.unknown.is_some());
        self.touched |= hidden;
        let Some(run) = &self.current else { return };
        if let (Some(items), Some(looping)) = (&run.items, &run.task.loop_)
            && let Some(item) = items.get(run.index)
        {
            let evaluation = self.evaluation(item_scope(&run.scope, &run.task, items, run.index));
            let label = looping.label.as_ref().and_then(|l| evaluation.text(l).ok());
            if let Some(extended) = evaluation.scope.local.get("ansible_loop") {
                outcome.values.insert("ansible_loop".to_owned(), (**extended).clone());
            }
            outcome.set_label(item, looping, run.index, label);
        }
        // The next item of a loop of `set_fact` sees what this one set.
        let hidden = run.no_log || run.scope.tainted.get();
        for (name, set) in &outcome.set {
            self.produced.set(name, Ok(Arc::new(set.clone())));
            if hidden {
                Arc::make_mut(&mut self.produced.secret).insert(name.clone());
            }
        }
        if let Some(run) = &mut self.current {
            if !outcome.set.is_empty() && run.items.is_some() {
                run.scope = Arc::new(TaskScope {
                    produced: self.produced.clone(),
                    ..(*run.scope).clone()
                });
            }
            run.results.push(outcome);
        }
    }

    /// All items are done: register, notify, tell, go on.
    fn finish_task(&mut self, world: &mut World<'_>) -> Flow {
        let Some(run) = self.current.take() else {
            return Flow::Again;
        };
        let TaskRun {
            task,
            pos,
            scope,
            items,
            results,
            no_log,
            hide_diff,
            ..
        } = run;
        let mut summary = result::summarise(items.is_some(), results);
        if let Some(failed) = &mut summary.failure
            && failed.location.is_none()
        {
            failed.location = self
                .play
                .shared
                .sources
                .locate(task.name.as_ref().map_or(task.module_span, |n| n.span));
        }
        let evaluation = self.evaluation(scope.clone());
        let unreachable = summary.value.get("unreachable") == Some(&Value::Bool(true));
        let ignore = summary.status == TaskStatus::Failed
            && (unreachable
                || evaluation
                    .flag(&task, "ignore_errors", |c| c.ignore_errors.as_ref())
                    .ok()
                    .flatten()
                    .unwrap_or(false));
        let rescue = summary.status == TaskStatus::Failed && !ignore && self.walk.would_rescue();
        let once = self.once(&task, &scope);
        let fatal = summary.status == TaskStatus::Failed
            && !ignore
            && (once
                || evaluation
                    .flag(&task, "any_errors_fatal", |c| c.any_errors_fatal.as_ref())
                    .ok()
                    .flatten()
                    .unwrap_or(false));
        drop(evaluation);
        let notify = self.notifies(&task, &scope);

        let value = Arc::new(Value::Object(summary.value.clone()));
        let no_log = no_log || scope.tainted.get();
        if let Some(name) = &task.register {
            let stored = match &summary.unknown {
                Some(why) => Err(Missing::from(format!("`{name}`: {why}"))),
                None if summary.partial => {
                    let known = summary
                        .value
                        .iter()
                        .filter(|(k, _)| ["changed", "failed"].contains(&k.as_str()));
                    Err(Missing {
                        why: format!("`{name}`: cannot know until `{}` has run", self.label(&task)),
                        known: known.map(|(k, v)| (k.clone(), v.clone())).collect(),
                    })
                }
                None => Ok(value.clone()),
            };
            self.produced.set(name, stored);
            if no_log {
                Arc::make_mut(&mut self.produced.secret).insert(name.clone());
            } else if self.produced.secret.contains(name) {
                Arc::make_mut(&mut self.produced.secret).remove(name);
            }
            if summary.unknown.is_none() && !summary.partial {
                world.board.publish(&self.name, &pos, name, &value);
            }
        }
        if !summary.facts.is_empty() {
            self.produced.add_facts(&summary.facts);
            if let Some(facts) = &self.produced.facts {
                world.board.publish_facts(&self.name, &pos, facts);
            }
        }
        for (name, set) in &summary.set {
            let set = Arc::new(set.clone());
            if no_log {
                Arc::make_mut(&mut self.produced.secret).insert(name.clone());
            } else if self.produced.secret.contains(name) {
                Arc::make_mut(&mut self.produced.secret).remove(name);
            }
            self.produced.set(name, Ok(set.clone()));
            if no_log {
                Arc::make_mut(&mut self.produced.secret).insert(name.clone());
            }
            world.board.publish(&self.name, &pos, name, &set);
        }
        if no_log {
            world.board.hide(&self.name, &self.produced.secret);
        }
        if summary.status == TaskStatus::Changed || (summary.unknown.is_some() && !notify.is_empty()) {
            for name in &notify {
                let handlers = self.walk.handlers_for(name);
                if handlers.is_empty() {
                    summary.warnings.push(format!("no handler is called `{name}`"));
                }
                if summary.unknown.is_some() {
                    self.walk.maybe_notified.extend(handlers);
                } else {
                    self.walk.notified.extend(handlers);
                }
            }
        }
        if once {
            world.once.insert(
                pos.clone(),
                Once {
                    register: task.register.as_ref().map(|_| value.clone()),
                    facts: (!summary.facts.is_empty())
                        .then(|| self.produced.facts.clone())
                        .flatten(),
                    values: summary
                        .set
                        .iter()
                        .map(|(k, v)| (k.clone(), Arc::new(v.clone())))
                        .collect(),
                    failed: summary.status == TaskStatus::Failed && !ignore,
                    secret: no_log,
                },
            );
        }
        summary.status = match summary.status {
            TaskStatus::Failed if ignore => TaskStatus::Ignored,
            TaskStatus::Failed if rescue => TaskStatus::Rescued,
            status => status,
        };
        let meta = task.module == "meta" && matches!(summary.status, TaskStatus::Ok | TaskStatus::Skipped);
        if !meta {
            let changed = summary.value.get("changed") == Some(&Value::Bool(true));
            self.count(summary.status, changed);
            // Each file that is included counts, as the task that it is included by.
            self.stats.ok += summary.included.saturating_sub(1);
        }
        let mut result = result::told(&summary, no_log, hide_diff);
        mask::uris(&mut result, &self.play.shared.options.mask_key);
        let check = matches!(self.walk.section(), Section::PreCheck | Section::PostCheck);
        if !summary.quiet && !meta {
            world.out.push(Out::Result {
                pos: pos.clone(),
                result: Box::new(result),
            });
        }
        match summary.status {
            TaskStatus::Failed | TaskStatus::Rescued => {
                self.check_failed |= check && summary.status == TaskStatus::Failed;
                if fatal {
                    self.make_fatal(&pos, world);
                }
                self.produced.set("ansible_failed_result", Ok(value));
                let name = task.name.as_ref().and_then(|n| n.as_str()).unwrap_or_default();
                self.produced.set(
                    "ansible_failed_task",
                    Ok(Arc::new(serde_json::json!({"name": name, "action": task.module}))),
                );
                self.after_failure();
            }
            _ => {
                if self.play.strict {
                    self.before = Some(self.walk.clone());
                }
                match summary.after {
                    None => self.walk.advance(),
                    Some(effect) => self.take_effect(effect, world),
                }
            }
        }
        Flow::Again
    }

    fn take_effect(&mut self, effect: Effect, world: &mut World<'_>) {
        match effect {
            Effect::Insert(items) => self.walk.insert(items),
            Effect::Flush => self.walk.flush(),
            Effect::EndHost => self.walk.end(),
            Effect::EndPlay => {
                world.out.push(Out::EndPlay);
                self.walk.end();
            }
            Effect::EndBatch => {
                world.out.push(Out::EndBatch);
                self.walk.end();
            }
            Effect::ClearFacts => {
                self.produced.facts = None;
                self.walk.advance();
            }
            Effect::ClearErrors => {
                world.out.push(Out::ClearErrors);
                self.walk.advance();
            }
            Effect::ResetConnection => {
                self.cache.expire();
                self.walk.advance();
            }
        }
    }

    fn after_failure(&mut self) {
        self.current = None;
        let at = self.walk.pos();
        if self.walk.fail() == AfterFailure::Failed && (!self.play.force_handlers || !self.walk.force_handlers()) {
            self.state = State::Failed;
        }
        if self.walk.has_failed() {
            self.lost_at.get_or_insert(at);
        }
    }

    /// `changed`: also where the task failed and that was ignored.
    fn count(&mut self, status: TaskStatus, changed: bool) {
        match status {
            TaskStatus::Ok => self.stats.ok += 1,
            TaskStatus::Changed => {
                self.stats.ok += 1;
                self.stats.changed += 1;
            }
            TaskStatus::Skipped => self.stats.skipped += 1,
            TaskStatus::Failed => self.stats.failures += 1,
            TaskStatus::Ignored => {
                self.stats.ok += 1;
                self.stats.ignored += 1;
                self.stats.changed += u64::from(changed);
            }
            TaskStatus::Rescued => self.stats.rescued += 1,
            TaskStatus::Unknown => self.stats.unknown += 1,
            TaskStatus::Unreachable => self.stats.unreachable += 1,
        }
    }

    fn control(&mut self, run: &TaskRun, evaluation: &Evaluation<'_>, world: &mut World<'_>) -> Work {
        match control::run(evaluation, &run.task) {
            Ok(outcome) => {
                for text in &outcome.warnings {
                    world.out.push(Out::Warning {
                        pos: Some(run.pos.clone()),
                        text: text.clone(),
                    });
                }
                Work::Item(Box::new(outcome))
            }
            Err(trouble) => self.stuck(run, &evaluation.scope, &trouble),
        }
    }

    /// An evaluation that did not come to an end: wait, cannot know, or a failure.
    fn stuck(&self, run: &TaskRun, scope: &TaskScope, trouble: &Trouble) -> Work {
        if let (Trouble::NotYet(_), Some(condition)) = (trouble, self.waits(scope, &run.pos)) {
            return Work::Leave(Next::Wait(condition));
        }
        Work::Item(Box::new(self.outcome_of(trouble)))
    }

    fn outcome_of(&self, trouble: &Trouble) -> ItemOutcome {
        match trouble {
            Trouble::NotYet(why) if self.play.shared.mode == Mode::Diff => ItemOutcome::unknown(why),
            _ => {
                let failed = self.trouble_text(trouble);
                let mut outcome = ItemOutcome::failed(Failure::new(failed.msg.clone()));
                outcome.failure = Some(failed);
                outcome
            }
        }
    }

    fn trouble_text(&self, trouble: &Trouble) -> Failed {
        match trouble {
            Trouble::NotYet(what) => Failed {
                code: Code::TEMPLATE.0.to_owned(),
                msg: what.clone(),
                ..Failed::default()
            },
            Trouble::Wrong(diagnostic) => Failed {
                code: diagnostic.code.0.to_owned(),
                msg: diagnostic.message.clone(),
                notes: Vec::new(),
                helps: diagnostic.helps.clone(),
                location: diagnostic.position().and_then(|s| self.play.shared.sources.locate(s)),
                rendered: Some(rendered(&self.play.shared.sources, diagnostic)),
            },
        }
    }

    /// The hosts an evaluation turned out to depend on, if any.
    fn waits(&self, scope: &TaskScope, pos: &Pos) -> Option<Condition> {
        let wait = wait_list(scope);
        let mut hosts = wait.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        if hosts.is_empty() || self.play.strategy == Strategy::Free {
            return None;
        }
        Some(Condition::Hosts(std::mem::take(&mut *hosts), pos.clone()))
    }

    /// A message with ops and probes; the probes that following tasks will want go along.
    fn call(&mut self, ops: Vec<Op>, probes: Vec<Probe>, run: Option<&TaskRun>, world: &World<'_>) -> Next {
        let mut wanted = Vec::new();
        for probe in probes {
            if !wanted.contains(&probe) {
                wanted.push(probe);
            }
        }
        if self.ledger.unread && !self.cache.fresh.contains_key(&ledger::probe()) {
            wanted.push(ledger::probe());
        }
        let (before, after) = self.ledger_ops(run.filter(|_| !ops.is_empty()));
        let count = ops.len();
        let ops: Vec<Op> = before.iter().cloned().chain(ops).chain(after).collect();
        if !ops.is_empty() {
            self.cache.expire();
        }
        self.ready = ahead::extend(self, run.map(TaskRun::rest), world.board, &mut wanted);
        let steps = ops
            .into_iter()
            .map(Step::Op)
            .chain(wanted.iter().cloned().map(Step::Probe))
            .collect();
        self.in_flight = Some(InFlight {
            noted: before.is_some(),
            ops: count,
            probes: wanted,
        });
        Next::Call(Request {
            run_as: self.cache.who.clone(),
            steps,
            op_limit_s: run
                .and_then(|r| r.timeout_s)
                .or(self.play.shared.options.task_timeout_s),
        })
    }

    /// The ledger's part of a message: before a task's ops what they will notify, after a handler's that it has
    /// run.
    fn ledger_ops(&mut self, acting: Option<&TaskRun>) -> (Option<Op>, Option<Op>) {
        if self.play.shared.mode != Mode::Apply || self.ledger.unread && acting.is_none() {
            return (None, None);
        }
        let pending = self.pending();
        let Some(run) = acting else {
            return (None, self.ledger.note(pending));
        };
        let notified = self.notifies(&run.task, &run.scope);
        if self.walk.section() == Section::Handler && notified.is_empty() {
            let mut rest = pending;
            if let Some(name) = self.walk.current_handler().and_then(|i| self.walk.handler_name(i)) {
                rest.remove(&name);
            }
            return (None, self.ledger.note(rest));
        }
        let handlers = notified.iter().flat_map(|n| self.walk.handlers_for(n));
        let names = pending
            .into_iter()
            .chain(handlers.filter_map(|i| self.walk.handler_name(i)))
            .collect();
        (self.ledger.note(names), None)
    }

    /// The names a task notifies.
    fn notifies(&self, task: &Task, scope: &Arc<TaskScope>) -> Vec<String> {
        let evaluation = self.evaluation(scope.clone());
        let values = task.notify.iter().filter_map(|n| evaluation.resolve(n).ok().flatten());
        values
            .flat_map(|value| match value {
                Value::Array(list) => list.iter().map(modules::plain).collect(),
                value => vec![modules::plain(&value)],
            })
            .collect()
    }

    /// From now on as this user; what another user saw is of no use.
    fn become_(&mut self, who: Option<RunAs>) {
        if self.cache.who != who {
            self.cache = Cache {
                who,
                ..Cache::default()
            };
        }
    }

    fn aligned(&self, pos: &Pos, world: &World<'_>) -> bool {
        self.play.strategy == Strategy::Free || world.least.as_ref().is_none_or(|least| least >= pos)
    }

    fn once(&self, task: &Task, scope: &Arc<TaskScope>) -> bool {
        self.evaluation(scope.clone())
            .flag(task, "run_once", |c| c.run_once.as_ref())
            .ok()
            .flatten()
            .unwrap_or(false)
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

    /// `-t`, `--skip-tags`, `--start-at-task`.
    fn selected(&mut self, task: &Arc<Task>, scope: &Arc<TaskScope>) -> bool {
        if self.walk.section() == Section::Handler {
            // Who is notified runs, whatever `--tags` says.
            return true;
        }
        let evaluation = self.evaluation(scope.clone());
        crate::engine::select::by_tags(&evaluation, task)
    }

    /// What the task is called in reports.
    pub fn label(&self, task: &Task) -> String {
        let own = task.name.as_ref().and_then(|n| n.as_str()).unwrap_or(task.module);
        match &task.role {
            Some(role) => format!("{} : {own}", role.name),
            None => own.to_owned(),
        }
    }

    fn announce(&self, task: &Arc<Task>, pos: &Pos, scope: &Arc<TaskScope>, world: &mut World<'_>) {
        let evaluation = self.evaluation(scope.clone());
        let own = match &task.name {
            Some(name) => {
                let raw = || name.as_str().unwrap_or_default().to_owned();
                let text = evaluation.text(name).unwrap_or_else(|_| raw());
                if scope.tainted.get() { raw() } else { text }
            }
            None => task.module.to_owned(),
        };
        let name = match &task.role {
            Some(role) => format!("{} : {own}", role.name),
            None => own,
        };
        let info = TaskInfo {
            id: 0,
            name,
            module: task.module.to_owned(),
            section: self.walk.section(),
            location: self.play.shared.sources.locate(task.span),
            tags: crate::engine::select::tags(&evaluation, task),
        };
        world.out.push(Out::Started { pos: pos.clone(), info });
    }
}

enum Work {
    Leave(Next),
    Item(Box<ItemOutcome>),
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
        failed.notes.extend(error.iter().flat_map(|e| said(&e.said)));
    }
    outcome
}

fn said(text: &str) -> Vec<String> {
    text.lines()
        .filter(|l| !l.trim().is_empty())
        .take(5)
        .map(|l| format!("said: {l}"))
        .collect()
}

fn wait_list(scope: &TaskScope) -> crate::engine::vars::WaitList {
    scope.hostvars.as_ref().map(|h| h.wait.clone()).unwrap_or_default()
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
    let chain = task.map_or_else(Vec::new, |t| {
        t.chain
            .iter()
            .filter(|c| !Arc::ptr_eq(c, &play.play.common))
            .cloned()
            .collect()
    });
    let tainted = Taint::default();
    TaskScope {
        host: layers.clone(),
        produced,
        chain,
        role: task.and_then(|t| t.role.clone()),
        search: task.map_or_else(Default::default, |t| Arc::new(search_directories(t, &play.play.path))),
        local: Arc::default(),
        hostvars: Some(HostVars {
            board: board.clone(),
            pos: pos.clone(),
            wait: Arc::default(),
            tainted: tainted.clone(),
            free: play.strategy == Strategy::Free,
        }),
        tainted,
    }
}

impl Report {
    /// Whether a kept task is reported as skipped.
    pub fn is_skipped(&self) -> bool {
        self.skipped.is_some()
    }
}
