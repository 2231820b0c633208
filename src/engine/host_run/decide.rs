//! Working on one item: evaluate, look, decide, act or wait.

#![deny(clippy::disallowed_methods)]

use super::*;

impl HostRun {
    /// Works on the current item.
    pub(super) fn work(&mut self, world: &mut World<'_>) -> Flow {
        let Some(mut run) = self.current.take() else {
            return Flow::Again;
        };
        if let Some(outcome) = run.item.unjudged.take() {
            self.current = Some(run);
            return self.settle(*outcome, world);
        }
        if let Some(outcome) = run.unit.outcome(run.index) {
            self.current = Some(run);
            return self.settle(outcome, world);
        }
        if run.unit.is_begun() && run.items.as_ref().is_some_and(|items| run.index >= items.len()) {
            self.current = Some(run);
            return self.act_together(world);
        }
        let done = self.work_on(&mut run, world);
        self.current = Some(run);
        match done {
            Work::Leave(next) => Flow::Leave(next),
            Work::Item(outcome) => match &mut self.current {
                Some(run) if run.unit.is_begun() => {
                    run.unit.aside(run.index, *outcome);
                    self.next_of_unit(world)
                }
                _ => self.settle(*outcome, world),
            },
            Work::Later(change) => {
                if let Some(run) = &mut self.current
                    && let Some(action) = run.item.action.take()
                {
                    run.unit.add(run.index, action, *change);
                }
                self.next_of_unit(world)
            }
            Work::All(outcome) => self.finish_as(*outcome, world),
        }
    }

    pub(super) fn work_on(&mut self, run: &mut TaskRun, world: &mut World<'_>) -> Work {
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
            let hides = self.hides(&evaluation, &task);
            // If it cannot be told, nothing is shown.
            run.no_log |= *hides.as_ref().unwrap_or(&true);
            match evaluation.when(&task) {
                Ok(None) => {}
                Ok(Some(condition)) => return Work::Item(Box::new(ItemOutcome::skipped(condition.to_value()))),
                Err(trouble) => return self.stuck(run, &scope, &trouble),
            }
            if let Err(trouble) = hides.and_then(|_| self.keywords(run, &evaluation)) {
                return self.stuck(run, &scope, &trouble);
            }
            if matches!(spec.kind, Kind::Control) {
                return self.control(run, &evaluation, world);
            }
            match evaluation.run_as(Some(&task)) {
                Ok(who) => self.become_(who),
                Err(trouble) => return self.stuck(run, &scope, &trouble),
            }
            let ready = self.ready.take(&run.pos, &task, &scope.produced, &evaluation);
            match ready.map_or_else(|| evaluation.action(&task, spec), Ok) {
                Ok(action) => run.item.action = Some(action),
                Err(trouble) => return self.stuck(run, &scope, &trouble),
            }
        }
        let Some(action) = run.item.action.take() else {
            return Work::failed(Failure::new("no action"));
        };
        let first = matches!(run.item.stage, Stage::Deciding);
        let shared = if first { self.shares(run, &*action, world) } else { None };
        let work = shared.unwrap_or_else(|| self.decide(run, &*action, spec.local, world));
        if matches!(work, Work::Leave(_) | Work::Later(_)) {
            run.item.action = Some(action);
        }
        work
    }

    /// `no_log`.
    pub(super) fn hides(&self, evaluation: &Evaluation<'_>, task: &Task) -> Result<bool, Trouble> {
        let flag = evaluation.flag(task, "no_log", |c| c.no_log.as_ref())?;
        Ok(flag.unwrap_or(false))
    }

    /// Keywords that may hang on the item.
    fn keywords(&self, run: &mut TaskRun, evaluation: &Evaluation<'_>) -> Result<(), Trouble> {
        let task = run.task.clone();
        let check = evaluation.flag(&task, "check_mode", |c| c.check_mode.as_ref())?;
        run.predicted = check.unwrap_or(self.play.shared.mode == Mode::Diff);
        run.timeout_s = match task.inherited(|c| c.timeout.as_ref()) {
            Some(node) => u32::try_from(evaluation.integer(node, "timeout")?)
                .ok()
                .filter(|t| *t > 0),
            None => None,
        };
        // Who is to be told of a change has to be known before it.
        for name in &task.notify {
            evaluation.resolve(name)?;
        }
        run.hide_diff |= !evaluation.flag(&task, "diff", |c| c.diff.as_ref())?.unwrap_or(true);
        Ok(())
    }

    pub(super) fn decide(
        &mut self,
        run: &mut TaskRun,
        action: &dyn Action,
        local: bool,
        world: &mut World<'_>,
    ) -> Work {
        let overlay = if run.predicted || self.play.shared.mode == Mode::Diff {
            Some(&self.overlay)
        } else {
            None
        };
        let look = |probe: &Probe| {
            if let Some(foretold) = run.unit.foretold(probe) {
                return Some(foretold.clone());
            }
            let Some(seen) = self.cache.fresh(probe).cloned() else {
                return overlay?.known(probe);
            };
            Some(match overlay {
                Some(overlay) => overlay.view(probe, seen),
                None => seen,
            })
        };
        let seen = Seen::new(&look);
        let decision = action.decide(&seen);
        let used = seen.take_used();
        let decision = match decision {
            Ok(decision) => decision,
            Err(Stop::NeedMore(more)) => {
                let mut missing = action.probes();
                missing.extend(more);
                missing.retain(|probe| !self.cache.is_fresh(probe));
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
            // Its own work is done; what is left is a handler's (a restart).
            (Stage::Looking(mut change), Decision::Change(again)) if again.ops.is_empty() => {
                change
                    .report
                    .values
                    .retain(|name, _| !again.report.values.contains_key(name));
                change.deltas.extend(again.deltas);
                Work::Item(Box::new(ItemOutcome::changed(change, again.report)))
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
            // It is not run, and what it would say now is not what it will say then.
            (_, Decision::Change(change))
                if run.predicted
                    && self.overlay.touched
                    && change.settle == Settle::Outcome
                    && never_changes(&run.task) =>
            {
                Work::Item(Box::new(not_before_the_changes()))
            }
            (_, Decision::Change(change)) if run.predicted => {
                let quiet = self.says_unchanged(run, &change);
                if !quiet {
                    self.overlay.apply(&change.ops, &self.label(&run.task));
                    self.overlay.foretell(&change.foretold);
                }
                Work::Item(Box::new(result::predicted(change)))
            }
            (_, Decision::Change(change)) if self.joins(run, action, &seen, &change) => Work::Later(Box::new(change)),
            (_, Decision::Change(change)) => {
                if !local && !self.aligned(&run.pos, world) {
                    return Work::Leave(Next::Wait(Condition::Aligned(run.pos.clone())));
                }
                if change.ops.is_empty() {
                    let report = change.report.clone();
                    return Work::Item(Box::new(ItemOutcome::changed(change, report)));
                }
                if self.play.rolling.is_some()
                    && self.standing == Standing::Untouched
                    && !self.says_unchanged(run, &change)
                {
                    return Work::Leave(Next::Turn);
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
    pub(super) fn says_unchanged(&self, run: &TaskRun, change: &Change) -> bool {
        never_changes(&run.task) || !change.changed
    }

    pub(super) fn control(&mut self, run: &TaskRun, evaluation: &Evaluation<'_>, world: &mut World<'_>) -> Work {
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
    pub(super) fn stuck(&self, run: &TaskRun, scope: &TaskScope, trouble: &Trouble) -> Work {
        if let (Trouble::NotYet(_), Some(condition)) = (trouble, self.waits(scope, &run.pos)) {
            return Work::Leave(Next::Wait(condition));
        }
        Work::Item(Box::new(self.outcome_of(trouble)))
    }

    pub(super) fn outcome_of(&self, trouble: &Trouble) -> ItemOutcome {
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

    pub(super) fn trouble_text(&self, trouble: &Trouble) -> Failed {
        match trouble {
            Trouble::NotYet(what) => Failed {
                code: Code::TEMPLATE.0.to_owned(),
                msg: what.clone(),
                ..Failed::default()
            },
            Trouble::Wrong(diagnostic) => {
                let sources = &self.play.shared.sources;
                let diagnostic = self.on_this_host(diagnostic);
                Failed {
                    code: diagnostic.code.0.to_owned(),
                    location: diagnostic.position().and_then(|s| sources.locate(s)),
                    rendered: Some(rendered(sources, &diagnostic)),
                    msg: diagnostic.message,
                    notes: Vec::new(),
                    helps: diagnostic.helps,
                }
            }
        }
    }

    /// What is undefined here may be defined on other hosts.
    fn on_this_host(&self, diagnostic: &Diagnostic) -> Diagnostic {
        let mut diagnostic = diagnostic.clone();
        let label = diagnostic.labels.iter_mut().find(|l| l.primary && l.text.is_empty());
        if let Some(label) = label.filter(|_| diagnostic.code == Code::UNDEFINED) {
            label.text = event::undefined_on(&format!("host `{}`", self.name));
        }
        diagnostic
    }

    /// The hosts an evaluation turned out to depend on, if any.
    pub(super) fn waits(&self, scope: &TaskScope, pos: &Pos) -> Option<Condition> {
        let wait = scope
            .trace
            .take_wait()
            .filter(|_| self.play.strategy != Strategy::Free)?;
        Some(match wait.everybody {
            true => Condition::Aligned(pos.clone()),
            false => Condition::Hosts(wait.hosts, pos.clone()),
        })
    }
}

/// `changed_when: false`: what it runs is a look.
pub(super) fn never_changes(task: &Task) -> bool {
    task.changed_when.as_ref().is_some_and(|conditions| {
        conditions
            .iter()
            .any(|n| matches!(n.yaml, crate::language::Yaml::Bool(false)) || n.as_str() == Some("false"))
    })
}

/// Whatever it comes to, the host is as before.
pub(super) fn only_looks(task: &Task) -> bool {
    const LOOKS: [&str; 8] = ["assert", "check", "debug", "fail", "ping", "set_fact", "setup", "stat"];
    never_changes(task) || LOOKS.contains(&task.module)
}

/// A dry run's answer for what earlier tasks would have changed.
pub(super) fn not_before_the_changes() -> ItemOutcome {
    ItemOutcome::unknown("cannot know until the changes are made")
}
