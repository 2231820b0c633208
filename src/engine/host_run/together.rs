//! Items of a loop that act together: each is decided on what the ones before it foretold; then all ops go in one
//! message, and each is decided again on what is seen after it.

#![deny(clippy::disallowed_methods)]

use super::*;
use crate::host::Undo;

/// The items of a loop from the first that wants a change on.
#[derive(Default)]
pub(super) struct Unit {
    /// The module wants them one by one.
    off: bool,
    /// Those that want a change.
    later: Vec<Later>,
    /// What the others came to, by their place.
    others: Vec<(usize, ItemOutcome)>,
    /// What looks will see when `later` is done.
    foretold: HashMap<Probe, Observation>,
    stage: UnitStage,
}

struct Later {
    index: usize,
    action: Box<dyn Action>,
    change: Change,
}

#[derive(Default)]
enum UnitStage {
    #[default]
    Deciding,
    Acting(Vec<Op>),
    Looking {
        ops: Vec<Op>,
        /// What the ops came to, if not all were done; none where the connection was lost.
        failed: Option<Vec<Outcome>>,
    },
}

impl Unit {
    pub(super) fn foretold(&self, probe: &Probe) -> Option<&Observation> {
        self.foretold.get(probe)
    }

    pub(super) fn is_begun(&self) -> bool {
        !self.later.is_empty()
    }

    pub(super) fn is_looking(&self) -> bool {
        matches!(self.stage, UnitStage::Looking { .. })
    }

    pub(super) fn add(&mut self, index: usize, action: Box<dyn Action>, change: Change) {
        self.foretold.extend(change.foretold.iter().cloned());
        self.later.push(Later { index, action, change });
    }

    pub(super) fn aside(&mut self, index: usize, outcome: ItemOutcome) {
        self.others.push((index, outcome));
    }

    /// The answer to a message is here. Whether it was about this.
    pub(super) fn answered(&mut self, outcomes: Vec<Outcome>) -> bool {
        let UnitStage::Acting(ops) = &mut self.stage else {
            return false;
        };
        let ops = std::mem::take(ops);
        let failed = (!outcomes.iter().all(Outcome::is_done)).then_some(outcomes);
        self.stage = UnitStage::Looking { ops, failed };
        true
    }

    /// The connection was lost while they acted: the ops may be sent again, as each says what shall be.
    pub(super) fn lost(&mut self) -> bool {
        self.answered(Vec::new()) && {
            if let UnitStage::Looking { failed, .. } = &mut self.stage {
                *failed = Some(Vec::new());
            }
            true
        }
    }

    fn probes(&self) -> Vec<Probe> {
        let mut probes: Vec<Probe> = Vec::new();
        for probe in self.later.iter().flat_map(|l| l.action.probes()) {
            if !probes.contains(&probe) {
                probes.push(probe);
            }
        }
        probes
    }
}

impl HostRun {
    /// Whether this change may wait for those of the following items.
    pub(super) fn joins(&self, run: &TaskRun, action: &dyn Action, seen: &Seen<'_>, change: &Change) -> bool {
        let looped = run.items.as_ref().is_some_and(|items| items.len() > 1);
        let paused = run.task.loop_.as_ref().is_some_and(|l| l.pause.is_some());
        looped
            && !run.unit.off
            && !paused
            && run.task.until.is_none()
            && run.item.lost.is_none()
            && change.settle == Settle::LookAgain
            && (run.unit.is_begun() || action.together(seen, &[change]).is_some())
    }

    /// After an item of a unit: the next one, or all together.
    pub(super) fn next_of_unit(&mut self, world: &mut World<'_>) -> Flow {
        let Some(run) = &mut self.current else {
            return Flow::Again;
        };
        run.item = ItemRun::default();
        run.index += 1;
        if run.items.as_ref().is_some_and(|items| run.index < items.len()) {
            return Flow::Again;
        }
        self.act_together(world)
    }

    /// What the items decided so far came to, or their ops on their way.
    pub(super) fn act_together(&mut self, world: &mut World<'_>) -> Flow {
        let Some(mut run) = self.current.take() else {
            return Flow::Again;
        };
        let flow = if run.unit.is_looking() {
            self.judge_together(&mut run, world)
        } else {
            self.send_together(&mut run, world).map_err(Flow::Leave)
        };
        self.current = Some(run);
        match flow {
            Err(flow) => flow,
            Ok(outcomes) => self.settle_together(outcomes, world),
        }
    }

    /// `Ok`: they are not to be done together, and are begun anew.
    fn send_together(&mut self, run: &mut TaskRun, world: &mut World<'_>) -> Result<Vec<(usize, ItemOutcome)>, Next> {
        if !self.aligned(&run.pos, world) {
            return Err(Next::Wait(Condition::Aligned(run.pos.clone())));
        }
        let look = |probe: &Probe| self.cache.fresh.get(probe).cloned();
        let changes: Vec<&Change> = run.unit.later.iter().map(|l| &l.change).collect();
        let first = run.unit.later.first();
        let Some(ops) = first.and_then(|l| l.action.together(&Seen::new(&look), &changes)) else {
            run.index = first.map_or(0, |l| l.index);
            run.unit = Unit {
                off: true,
                ..Unit::default()
            };
            return Ok(Vec::new());
        };
        let probes = run.unit.probes();
        if ops.is_empty() {
            // What one item wanted, another took back.
            run.unit.foretold.clear();
            run.unit.stage = UnitStage::Looking { ops, failed: None };
            return Err(self.call(Vec::new(), probes, Some(run), world));
        }
        run.unit.stage = UnitStage::Acting(ops.clone());
        Err(self.call(ops, probes, Some(run), world))
    }

    fn judge_together(&mut self, run: &mut TaskRun, world: &mut World<'_>) -> Result<Vec<(usize, ItemOutcome)>, Flow> {
        run.unit.foretold.clear();
        let look = |probe: &Probe| self.cache.fresh.get(probe).cloned();
        let seen = Seen::new(&look);
        let mut missing: Vec<Probe> = run.unit.probes();
        missing.retain(|probe| !self.cache.fresh.contains_key(probe));
        let mut decisions = Vec::new();
        if missing.is_empty() {
            for later in &run.unit.later {
                match later.action.decide(&seen) {
                    Err(Stop::NeedMore(more)) => missing.extend(more),
                    decision => decisions.push(decision),
                }
            }
        }
        if !missing.is_empty() {
            return Err(Flow::Leave(self.call(Vec::new(), missing, Some(run), world)));
        }
        let UnitStage::Looking { ops, failed } = std::mem::take(&mut run.unit.stage) else {
            return Err(Flow::Again);
        };
        let lost = failed.as_ref().is_some_and(Vec::is_empty);
        if lost && decisions.iter().any(|d| matches!(d, Ok(Decision::Change(_)))) {
            let probes = run.unit.probes();
            run.unit.stage = UnitStage::Acting(ops.clone());
            return Err(Flow::Leave(self.call(ops, probes, Some(run), world)));
        }
        let failed = failed.filter(|outcomes| !outcomes.is_empty());
        let unit = std::mem::take(&mut run.unit);
        let mut outcomes = unit.others;
        for (later, decision) in unit.later.into_iter().zip(decisions) {
            let Later { index, action, change } = later;
            let outcome = match decision {
                Ok(Decision::Keep(report)) => ItemOutcome::changed(change, report),
                Ok(Decision::Change(again)) => match &failed {
                    Some(failed) => refused(&*action, &ops, failed),
                    None => result::not_converged(&change, &again),
                },
                Ok(Decision::Fail(failure)) | Err(Stop::Fail(failure)) => ItemOutcome::failed(failure),
                Err(Stop::CannotKnow(why)) => ItemOutcome::unknown(&why),
                Err(Stop::NeedMore(_)) => ItemOutcome::failed(Failure::new("not looked at")),
            };
            outcomes.push((index, outcome));
        }
        outcomes.sort_by_key(|(index, _)| *index);
        Ok(outcomes)
    }

    fn settle_together(&mut self, outcomes: Vec<(usize, ItemOutcome)>, world: &mut World<'_>) -> Flow {
        let mut flow = Flow::Again;
        for (index, outcome) in outcomes {
            if let Some(run) = &mut self.current {
                run.index = index;
            }
            flow = self.settle(outcome, world);
        }
        flow
    }
}

/// An item that still wants its change after ops that were not all done.
fn refused(action: &dyn Action, ops: &[Op], outcomes: &[Outcome]) -> ItemOutcome {
    let change = Change {
        undo: Undo::Ops(Vec::new()),
        ..Change::new(Vec::new(), ops.to_vec(), Report::new())
    };
    let own = action.finish(&change, outcomes).err();
    let mut outcome = result::failed_op(&change, outcomes, own)
        .unwrap_or_else(|| ItemOutcome::failed(Failure::new("it was not done")));
    // Others of the loop may have been; this one was not.
    outcome.changed = false;
    if let Some(failed) = &mut outcome.failure {
        failed.notes.push("all items of the loop were sent together".to_owned());
    }
    outcome
}
