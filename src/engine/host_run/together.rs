//! Items of a loop that act together: each is decided on what the ones before it foretold; then all ops go in one
//! message, and each is decided again on what is seen after it.

#![deny(clippy::disallowed_methods)]

use super::*;
use std::collections::BTreeMap;

/// The items of a loop from the first that wants a change on.
#[derive(Default)]
pub(super) struct Unit {
    /// The module wants them one by one.
    off: bool,
    /// Those that want a change.
    later: Vec<Later>,
    /// What those came to that want none or are done, by their place.
    done: BTreeMap<usize, ItemOutcome>,
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
    Acting,
    Looking {
        /// Not all ops were done.
        failed: bool,
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
        self.done.insert(index, outcome);
    }

    /// What an item came to, in its turn.
    pub(super) fn outcome(&mut self, index: usize) -> Option<ItemOutcome> {
        if self.is_begun() {
            None
        } else {
            self.done.remove(&index)
        }
    }

    /// The answer to a message is here, or will never be: then nobody knows what was done. Whether it was about this.
    pub(super) fn answered(&mut self, all_done: bool) -> bool {
        if !matches!(self.stage, UnitStage::Acting) {
            return false;
        }
        self.stage = UnitStage::Looking { failed: !all_done };
        true
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
        let paused = |l: &crate::language::Loop| l.pause.is_some() || !l.break_when.is_empty();
        let paused = run.task.loop_.as_ref().is_some_and(paused);
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
            self.send_together(&mut run, world)
        };
        self.current = Some(run);
        flow
    }

    fn send_together(&mut self, run: &mut TaskRun, world: &mut World<'_>) -> Flow {
        if !self.aligned(&run.pos, world) {
            return Flow::Leave(Next::Wait(Condition::Aligned(run.pos.clone())));
        }
        let look = |probe: &Probe| self.cache.fresh(probe).cloned();
        let changes: Vec<&Change> = run.unit.later.iter().map(|l| &l.change).collect();
        let Some(first) = run.unit.later.first() else {
            return Flow::Again;
        };
        // One item may take back what another wants: that takes one after the other.
        let after = |probe: &Probe| run.unit.foretold(probe).cloned().or_else(|| look(probe));
        let keeps = |l: &Later| matches!(l.action.decide(&Seen::new(&after)), Ok(Decision::Keep(_)));
        let agree = run.unit.later.iter().all(keeps);
        let together = || first.action.together(&Seen::new(&look), &changes);
        let Some(ops) = agree.then(together).flatten() else {
            // Begun anew, one by one.
            run.index = first.index;
            run.unit = Unit {
                off: true,
                ..Unit::default()
            };
            return Flow::Again;
        };
        let probes = run.unit.probes();
        run.unit.stage = UnitStage::Acting;
        Flow::Leave(self.call(ops, probes, Some(run), world))
    }

    /// After the look that follows: what is as wanted was changed; if the ops were not all done, the others have their turn
    /// one by one.
    fn judge_together(&mut self, run: &mut TaskRun, world: &mut World<'_>) -> Flow {
        run.unit.foretold.clear();
        let look = |probe: &Probe| self.cache.fresh(probe).cloned();
        let seen = Seen::new(&look);
        let mut missing: Vec<Probe> = run.unit.probes();
        missing.retain(|probe| !self.cache.is_fresh(probe));
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
            return Flow::Leave(self.call(Vec::new(), missing, Some(run), world));
        }
        let unit = std::mem::take(&mut run.unit);
        let failed = matches!(unit.stage, UnitStage::Looking { failed: true });
        run.index = unit
            .later
            .iter()
            .map(|l| l.index)
            .chain(unit.done.keys().copied())
            .min()
            .unwrap_or(run.index);
        run.unit.off = failed;
        run.unit.done = unit.done;
        for (Later { index, change, .. }, decision) in unit.later.into_iter().zip(decisions) {
            let outcome = match decision {
                Ok(Decision::Keep(report)) => ItemOutcome::changed(change, report),
                _ if failed => continue,
                Ok(Decision::Change(again)) => result::not_converged(&change, &again),
                Ok(Decision::Fail(failure)) | Err(Stop::Fail(failure)) => ItemOutcome::failed(failure),
                Err(Stop::CannotKnow(why)) => ItemOutcome::unknown(&why),
                Err(Stop::NeedMore(_)) => continue,
            };
            run.unit.done.insert(index, outcome);
        }
        Flow::Again
    }
}
