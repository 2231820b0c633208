//! Settling on a task: facts, tags, `run_once`, whom to become, loop items.

#![deny(clippy::disallowed_methods)]

use super::*;

impl HostRun {
    pub(super) fn step_facts(&mut self, world: &mut World<'_>) -> Flow {
        let pos = Pos::facts();
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
        match self.cache.fresh(&Probe::Facts).cloned() {
            None => Flow::Leave(self.call(Vec::new(), vec![Probe::Facts], None, world)),
            Some(Observation::Facts(facts)) => {
                self.facts_pending = false;
                self.produced.begin_facts(facts);
                if let Some(facts) = &self.produced.facts {
                    world.board.publish_facts(&self.name, &pos, facts);
                }
                self.stats.ok += 1;
                let result = result::simple(TaskStatus::Ok);
                world.out.push(Out::Result {
                    pos,
                    result: Arc::new(result),
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

    pub(super) fn fail_outside_task(&mut self, world: &mut World<'_>, pos: Pos, trouble: &Trouble) -> Flow {
        let failed = self.trouble_text(trouble);
        self.fail_facts(world, pos, failed)
    }

    pub(super) fn fail_facts(&mut self, world: &mut World<'_>, pos: Pos, failed: Failed) -> Flow {
        self.stats.failures += 1;
        self.state = State::Failed;
        self.lost_at = Some(pos.clone());
        let mut result = result::simple(TaskStatus::Failed);
        result.value.insert("msg".to_owned(), Value::from(failed.msg.clone()));
        result.value.insert("failed".to_owned(), Value::Bool(true));
        result.failure = Some(failed);
        world.out.push(Out::Result {
            pos,
            result: Arc::new(result),
        });
        Flow::Leave(Next::Done)
    }

    pub(super) fn step_task(&mut self, world: &mut World<'_>) -> Flow {
        self.read_ledger(world);
        self.read_drained();
        let Some(task) = self.walk.current() else {
            // Handlers that needed no op (or ran as nobody expected) are still to be struck off.
            let notes = self.play.shared.mode == Mode::Apply && !self.ledger.unread && !self.walk.has_failed();
            if notes && self.ledger.written != self.pending() {
                return Flow::Leave(self.call(Vec::new(), Vec::new(), None, world));
            }
            if !self.walk.has_failed() && self.is_to_come_back(world) {
                return Flow::Leave(Next::Turn);
            }
            self.state = if self.walk.has_failed() {
                self.lost_at = self.lost_at.take().or(self.fails_from.take());
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
            self.after_failure(true);
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

    /// Starts a task: selection by tags, whom to become, loop items.
    pub(super) fn begin(&mut self, task: Arc<Task>, pos: Pos, world: &mut World<'_>) -> Result<Flow, Next> {
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
        if (self.play.strict || self.at_controller || once) && !aligned {
            return Err(Next::Wait(Condition::Aligned(pos)));
        }
        // Hosts before this one may be past it without having run it: they ended, or passed over its role.
        let before = world.at[..world.index].iter().flatten();
        if once && (world.once.contains_key(&pos) || before.into_iter().any(|at| *at <= pos)) {
            let Some(done) = world.once.get(&pos).cloned() else {
                return Err(Next::Wait(Condition::Once(pos)));
            };
            let registered = task.register.iter().zip(&done.register);
            for (name, value) in registered.chain(&done.values) {
                self.produced.set(name, value.clone());
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
                self.after_failure(true);
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
        if self.walk.section() == Section::PostCheck
            && (self.standing == Standing::Admitted || self.is_to_come_back(world))
        {
            return Err(Next::Turn);
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
            unit: together::Unit::default(),
            share: share::Share::default(),
        };
        if self.walk.is_maybe() {
            run.results.push(ItemOutcome::unknown(
                "cannot know: runs if the task that notifies it changes something",
            ));
            self.current = Some(run);
            return Ok(self.finish_task(world));
        }
        let drift = self.play.shared.options.drift;
        if self.play.shared.mode == Mode::Diff
            && !drift
            && self.walk.section() == Section::PostCheck
            && self.overlay.touched
        {
            run.results.push(not_before_the_changes());
            self.current = Some(run);
            return Ok(self.finish_task(world));
        }
        let prepared = (|| {
            let evaluation = self.evaluation(scope.clone());
            // What a loop's own items say of it is asked with them.
            run.no_log = self.hides(&evaluation, &task).unwrap_or(false);
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

    pub(super) fn once(&self, task: &Task, scope: &Arc<TaskScope>) -> bool {
        self.evaluation(scope.clone())
            .flag(task, "run_once", |c| c.run_once.as_ref())
            .ok()
            .flatten()
            .unwrap_or(false)
    }

    /// `-t`, `--skip-tags`, `--start-at-task`.
    pub(super) fn selected(&mut self, task: &Arc<Task>, scope: &Arc<TaskScope>) -> bool {
        if self.walk.section() == Section::Handler {
            // Who is notified runs, whatever `--tags` says.
            return true;
        }
        let evaluation = self.evaluation(scope.clone());
        crate::engine::select::by_tags(&evaluation, task)
    }

    pub(super) fn announce(&self, task: &Arc<Task>, pos: &Pos, scope: &Arc<TaskScope>, world: &mut World<'_>) {
        if world.told.contains_key(pos) {
            return;
        }
        let evaluation = self.evaluation(scope.clone());
        let own = match &task.name {
            Some(name) => {
                let raw = || name.as_str().unwrap_or_default().to_owned();
                let text = scope.trace.at_any_time(|| evaluation.text(name));
                if scope.trace.is_secret() {
                    raw()
                } else {
                    text.unwrap_or_else(|_| raw())
                }
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
