//! PURE. Looking ahead: which probes the tasks after the current one will want, so that they travel in the same
//! message. A guess that turns out wrong costs a look, never correctness: decisions are made from fresh
//! observations only, whatever was guessed here.

#![deny(clippy::disallowed_methods)]

use crate::engine::evaluate::{Evaluation, Trouble, item_scope};
use crate::engine::event::Mode;
use crate::engine::host_run::{HostRun, World, scope};
use crate::engine::trace::Holds;
use crate::engine::vars::{Produced, TaskScope};
use crate::engine::walk::Pos;
use crate::host::{Observation, Probe, Scope};
use crate::language::Task;
use crate::modules::{self, Action, Decision, Kind, ModuleSpec, Seen, Stop};
use indexmap::IndexSet;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::sync::Arc;

/// At most so many tasks are looked at ahead, and so many probes sent in one message.
const MOST_TASKS: usize = 500;
const MOST_PROBES: usize = 2000;

/// What is left of the current task's loop.
pub struct Rest<'a> {
    pub scope: &'a Arc<TaskScope>,
    pub items: &'a [Value],
    pub next: usize,
}

/// Tasks that were made ready while looking ahead, by position: their turn mostly comes with nothing new known.
#[derive(Default)]
pub struct Ready(BTreeMap<Pos, Prepared>);

struct Prepared {
    task: Arc<Task>,
    produced: Produced,
    action: Box<dyn Action>,
    holds: Holds,
}

impl Ready {
    /// The task at this position, if it was made ready from the same variables and that holds in its turn. (What is not
    /// `local` may hang on what other hosts do, and items of a loop may be drawn at random: those are not kept.)
    pub fn take(
        &mut self,
        pos: &Pos,
        task: &Arc<Task>,
        produced: &Produced,
        evaluation: &Evaluation<'_>,
    ) -> Option<Box<dyn Action>> {
        let ready = self.made(pos, task, produced)?;
        evaluation.still(task, &ready.holds).then_some(ready.action)
    }

    /// The same for looking ahead once more.
    fn made(&mut self, pos: &Pos, task: &Arc<Task>, produced: &Produced) -> Option<Prepared> {
        let ready = self.0.remove(pos)?;
        (Arc::ptr_eq(&ready.task, task) && ready.produced.is_same(produced)).then_some(ready)
    }
}

/// The looks of a message, once each.
pub type Wanted = IndexSet<Probe, foldhash::fast::RandomState>;

/// Adds to `wanted` what following tasks will look at: up to the first that is predicted to act, that runs as
/// somebody else, or that nothing can be said about.
///
/// `ready` is what was made ready for the message before; most of it still holds.
pub fn extend(
    run: &HostRun,
    rest: Option<Rest<'_>>,
    world: &World<'_>,
    wanted: &mut Wanted,
    mut ready: Ready,
) -> Ready {
    let first = world.first;
    let mut walk = run.walk.clone();
    let mut produced = run.produced.clone();
    // The current item's own probes are in `wanted` already; its result is not there yet.
    if let Some(task) = walk.current().filter(|_| !run.facts_are_pending()) {
        if let Some(rest) = rest
            && let Some(spec) = modules::find(task.module)
        {
            let scope_ahead = Arc::new((**rest.scope).clone().ahead());
            for index in rest.next..rest.items.len() {
                let scope = item_scope(&scope_ahead, &task, rest.items, index);
                if matches!(foresee_item(run, &task, spec, scope, first, wanted, None).0, Sight::Act) {
                    return ready;
                }
            }
        }
        if let Some(name) = &task.register {
            produced.set(name, Err(format!("`{name}` is not there yet").into()));
        }
        walk.advance();
    }
    for _ in 0..MOST_TASKS {
        let Some(task) = walk.current() else { break };
        let Some(spec) = modules::find(task.module) else { break };
        let pos = walk.pos();
        let scope = scope(&run.layers, &run.play, produced.clone(), &pos, Some(&task), world.board);
        let scope = Arc::new(scope.ahead());
        if !crate::engine::select::by_tags(&run.evaluation(scope.clone()), &task) {
            walk.advance();
            continue;
        }
        let (made, held) = match ready.made(&pos, &task, &produced) {
            Some(ready) => (Some(ready.action), Some(ready.holds)),
            None => (None, None),
        };
        let (sight, action) = foresee(run, &task, spec, &scope, first, wanted, made);
        if let Some(action) = action.filter(|_| spec.local) {
            let prepared = Prepared {
                task: task.clone(),
                produced: produced.clone(),
                action,
                holds: held.unwrap_or_else(|| scope.trace.holds()),
            };
            ready.0.insert(pos, prepared);
        }
        let result = match sight {
            Sight::Keep(value) => Some(value),
            Sight::Nothing => None,
            Sight::Act => break,
        };
        if wanted.len() > MOST_PROBES {
            break;
        }
        if let Some(name) = &task.register {
            produced.set(
                name,
                result
                    .map(kept)
                    .ok_or_else(|| format!("`{name}` is not there yet").into()),
            );
        }
        walk.advance();
    }
    ready
}

/// What a task ahead would look at. Beside what can be said of it the task made ready, where it could be.
fn foresee(
    run: &HostRun,
    task: &Arc<Task>,
    spec: &'static ModuleSpec,
    scope: &Arc<TaskScope>,
    first: bool,
    wanted: &mut Wanted,
    made: Option<Box<dyn Action>>,
) -> (Sight, Option<Box<dyn Action>>) {
    let evaluation = run.evaluation(scope.clone());
    if matches!(spec.kind, Kind::Control) {
        // What an assert or a set_fact does to the play cannot be told; most do nothing to what is looked at.
        return match task.module {
            "include_tasks" | "meta" => (Sight::Act, None),
            _ => (Sight::Nothing, None),
        };
    }
    match evaluation.run_as(Some(task)) {
        Ok(who) if who == run.cache.who => {}
        _ => return (Sight::Act, None),
    }
    let items = match evaluation.items(task) {
        Ok(Some(items)) => items,
        Ok(None) => return foresee_item(run, task, spec, scope.clone(), first, wanted, made),
        Err(_) => return (Sight::Nothing, None),
    };
    for index in 0..items.len() {
        let scope = item_scope(scope, task, &items, index);
        if matches!(foresee_item(run, task, spec, scope, first, wanted, None).0, Sight::Act) {
            return (Sight::Act, None);
        }
    }
    (Sight::Nothing, None)
}

/// What can be said of a task or an item ahead.
enum Sight {
    /// It will keep things as they are, with this result.
    Keep(Map<String, Value>),
    /// It will act, or nobody can tell what it does: what comes after must be looked at again then.
    Act,
    Nothing,
}

/// What a task that kept things as they are registers.
fn kept(mut values: Map<String, Value>) -> Arc<Value> {
    for key in ["changed", "failed"] {
        values.insert(key.to_owned(), Value::Bool(false));
    }
    Arc::new(Value::Object(values))
}

fn foresee_item(
    run: &HostRun,
    task: &Task,
    spec: &'static ModuleSpec,
    scope: Arc<TaskScope>,
    first: bool,
    wanted: &mut Wanted,
    made: Option<Box<dyn Action>>,
) -> (Sight, Option<Box<dyn Action>>) {
    let evaluation = run.evaluation(scope);
    match evaluation.when(task) {
        // Not known yet: looking does no harm.
        Ok(None) | Err(Trouble::NotYet(_)) => {}
        Ok(Some(_)) | Err(Trouble::Wrong(_)) => return (Sight::Nothing, None),
    }
    let action = match made.map_or_else(|| evaluation.action(task, spec), Ok) {
        Ok(action) => action,
        Err(Trouble::NotYet(_)) => {
            add(run, evaluation.guess(task, spec), wanted);
            return (Sight::Nothing, None);
        }
        Err(Trouble::Wrong(_)) => return (Sight::Nothing, None),
    };
    // What hosts share the first of them looks at; here nobody knows yet who does, nor whether that is the first.
    if !first {
        let fresh = |probe: &Probe| run.cache.fresh(probe).cloned();
        match action.shared(&Seen::new(&fresh)) {
            Ok(None) => {}
            Err(Stop::NeedMore(more)) => {
                add(run, more, wanted);
                return (Sight::Nothing, Some(action));
            }
            _ => return (Sight::Nothing, Some(action)),
        }
    }
    add(run, action.probes(), wanted);
    let dry = run.play.shared.mode == Mode::Diff;
    let look = |probe: &Probe| -> Option<Observation> {
        let found = run.cache.last(probe)?.clone();
        Some(if dry { run.overlay.view(probe, found) } else { found })
    };
    let eyes = Seen::new(&look);
    let decision = action.decide(&eyes);
    add(run, eyes.take_used(), wanted);
    let sight = match decision {
        Ok(Decision::Keep(report)) if report.skipped.is_none() => Sight::Keep(report.values),
        Ok(Decision::Change(_)) if !dry => Sight::Act,
        Err(Stop::NeedMore(more)) => {
            add(run, more, wanted);
            Sight::Nothing
        }
        _ => Sight::Nothing,
    };
    (sight, Some(action))
}

fn add(run: &HostRun, probes: Vec<Probe>, wanted: &mut Wanted) {
    for probe in probes {
        // What depends on other hosts is looked at when its turn comes, not before; what is fresh (no ops are sent)
        // need not be looked at again.
        if probe.scope() == Scope::Host && !run.cache.is_fresh(&probe) {
            wanted.insert(probe);
        }
    }
}
