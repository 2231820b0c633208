//! Tasks about what several hosts share: one of them does it.

#![deny(clippy::disallowed_methods)]

use super::*;
use crate::engine::share::{CameTo, Whose};

/// How far a task has got with finding out whose it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Share {
    #[default]
    Unasked,
    /// What is shared has been said, and who was asked is waited for.
    Said,
    /// Nobody shares it, as far as is known.
    Mine,
    /// It is shared, and this host does it: others may take over what comes of it.
    Held,
}

impl HostRun {
    /// Whose the task is that is about to decide for the first time; `None`: this host's.
    pub(super) fn shares(&mut self, run: &mut TaskRun, action: &dyn Action, world: &mut World<'_>) -> Option<Work> {
        if matches!(run.share, Share::Mine | Share::Held) {
            return None;
        }
        if run.share == Share::Unasked {
            if matches!(action.shared(&Seen::new(&|_| None)), Ok(None)) {
                run.share = Share::Mine;
                return None;
            }
            // What comes before it on other hosts may change what is shared, and with whom.
            if !self.aligned(&run.pos, world) {
                return Some(Work::Leave(Next::Wait(Condition::Aligned(run.pos.clone()))));
            }
            // Who is a member is nothing that tasks about what is shared change.
            if self.others_acted.alone != world.others_acts.alone {
                self.cache.expire();
            }
            let seen = |probe: &Probe| self.cache.fresh(probe).cloned();
            let shared = match action.shared(&Seen::new(&seen)) {
                // The first is the one that will look.
                Err(Stop::NeedMore(mut probes)) => {
                    if world.first {
                        probes.extend(action.probes());
                    }
                    return Some(Work::Leave(self.call(Vec::new(), probes, Some(run), world)));
                }
                Ok(Some(shared)) if self.play.strategy == Strategy::Linear => shared,
                // Nothing is shared, or that is not to be known.
                _ => {
                    run.share = Share::Mine;
                    return None;
                }
            };
            let digest = self.digest(run);
            world
                .shares
                .say(world.index, &run.pos, digest.map(|digest| (&shared, digest)));
            run.share = Share::Said;
            return Some(Work::Leave(Next::Wait(Condition::Said(run.pos.clone()))));
        }
        match world.shares.whose(world.index, &run.pos) {
            Whose::Mine => {
                if self.others_acted != world.others_acts {
                    self.cache.expire();
                }
                run.share = Share::Held;
                None
            }
            Whose::Awaited => Some(Work::Leave(Next::Wait(Condition::Shared(run.pos.clone())))),
            Whose::Done => {
                let came_to = world.shares.result(world.index, &run.pos)?;
                self.overlay.foretell(&came_to.foretold);
                Some(Work::All(Box::new(taken_over(came_to))))
            }
        }
    }

    /// What the task says, with all items of its loop; `None`: not all of it is known.
    fn digest(&self, run: &TaskRun) -> Option<[u8; 32]> {
        use sha2::Digest as _;
        let scopes: Vec<Arc<TaskScope>> = match &run.items {
            None => vec![run.scope.clone()],
            Some(items) => (0..items.len())
                .map(|i| item_scope(&run.scope, &run.task, items, i))
                .collect(),
        };
        let mut digest = sha2::Sha256::new();
        for scope in scopes {
            let evaluation = self.evaluation(scope);
            let says = match evaluation.when(&run.task).ok()? {
                Some(_) => Value::Null,
                None => Value::Object(evaluation.arguments(&run.task).ok()?),
            };
            digest.update(says.to_string());
            digest.update([0]);
        }
        Some(digest.finalize().into())
    }

    /// Tells those who share it what came of the task.
    pub(super) fn tell_sharers(&self, pos: &Pos, summary: &result::Summary, world: &mut World<'_>) {
        let came_to = CameTo {
            host: self.name.clone(),
            value: summary.value.clone(),
            failed: summary.failure.as_ref().map(|f| f.msg.clone()),
            unknown: summary.unknown.clone(),
            foretold: self.overlay.told(),
        };
        world.shares.done(world.index, pos, came_to);
    }
}

/// What another host did is no change of this one's.
fn taken_over(came_to: &CameTo) -> ItemOutcome {
    if let Some(msg) = &came_to.failed {
        return ItemOutcome::failed(Failure::new(format!(
            "on {}, which does it for all that share it: {msg}",
            came_to.host
        )));
    }
    if let Some(why) = &came_to.unknown {
        return ItemOutcome::unknown(why);
    }
    let mut values = came_to.value.clone();
    for name in ["changed", "failed", "ansible_facts"] {
        values.shift_remove(name);
    }
    if let Some(Value::Array(results)) = values.get_mut("results") {
        for result in results.iter_mut().filter_map(Value::as_object_mut) {
            result.insert("changed".to_owned(), Value::Bool(false));
        }
    }
    ItemOutcome {
        skipped: values.shift_remove("skipped") == Some(Value::Bool(true)),
        values,
        ..ItemOutcome::default()
    }
}
