//! What a task came to: `until`, `register`, handlers, rescue, the way on.

#![deny(clippy::disallowed_methods)]

use super::*;

impl HostRun {
    /// An item has come to something: `failed_when`, `changed_when`, `until`, then the next item or the end.
    pub(super) fn settle(&mut self, outcome: ItemOutcome, world: &mut World<'_>) -> Flow {
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
            let judges = task.changed_when.is_some() || task.failed_when.is_some() || task.until.is_some();
            let unjudged = judges.then(|| outcome.clone());
            let verdict = result::judge(&self.play, &scope, &task, &mut outcome, attempt);
            // A command that a dry run does run, since it changes nothing; an earlier task may bring what it needs.
            let open = !run.predicted
                && self.play.shared.mode == Mode::Diff
                && self.overlay.touched
                && never_changes(&task)
                && outcome.values.contains_key("rc");
            match verdict {
                Ok(result::Verdict::Final) if open && outcome.failure.is_some() => outcome = not_before_the_changes(),
                Ok(result::Verdict::Final) => {}
                Ok(result::Verdict::Retry { .. }) if open => outcome = not_before_the_changes(),
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
                    let waits = self.waits(&scope, &self.walk.pos());
                    if let (Trouble::NotYet(_), Some(condition), Some(run)) = (&trouble, waits, &mut self.current) {
                        run.item.unjudged = unjudged.map(Box::new);
                        return Flow::Leave(Next::Wait(condition));
                    }
                    // What the module returned stands.
                    let failed = self.trouble_text(&trouble);
                    outcome.values.insert("msg".to_owned(), Value::from(failed.msg.clone()));
                    outcome.failure = Some(failed);
                }
            }
        }
        self.settle_final(outcome, world)
    }

    pub(super) fn settle_final(&mut self, outcome: ItemOutcome, world: &mut World<'_>) -> Flow {
        let enough = self.breaks(&outcome);
        self.push(outcome);
        if let Err(trouble) = &enough {
            // Ansible loses the items' results, too.
            let outcome = self.outcome_of(trouble);
            return self.finish_as(outcome, world);
        }
        let Some(run) = &mut self.current else {
            return Flow::Again;
        };
        run.item = ItemRun::default();
        run.index += 1;
        let more = run.items.as_ref().is_some_and(|items| run.index < items.len());
        if more && !enough.unwrap_or(false) {
            return self.pause();
        }
        self.finish_task(world)
    }

    /// `loop_control: break_when`, after an item.
    fn breaks(&self, outcome: &ItemOutcome) -> Result<bool, Trouble> {
        let Some(run) = &self.current else { return Ok(false) };
        let (Some(items), Some(looping)) = (&run.items, &run.task.loop_) else {
            return Ok(false);
        };
        if looping.break_when.is_empty() {
            return Ok(false);
        }
        let scope = item_scope(&run.scope, &run.task, items, run.index);
        let scope = result::with_result(&scope, &run.task, outcome);
        let failing = self.evaluation(scope).all(&looping.break_when)?;
        Ok(failing.is_none())
    }

    /// `loop_control: pause`, between items.
    pub(super) fn pause(&self) -> Flow {
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

    pub(super) fn push(&mut self, mut outcome: ItemOutcome) {
        let Some(run) = &self.current else { return };
        if self.play.shared.mode == Mode::Diff {
            let perhaps = outcome.unknown.is_some() && !only_looks(&run.task);
            self.overlay.touched |= outcome.changed || perhaps;
            if perhaps {
                for path in self.writes(run) {
                    self.overlay.lose(&path, &self.label(&run.task));
                }
            }
        }
        self.name_item(run, &mut outcome);
        // The next item of a loop of `set_fact` sees what this one set.
        let hidden = run.no_log || run.scope.trace.is_secret();
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
            // An outcome is large, and most tasks have one.
            run.results.reserve_exact(usize::from(run.results.is_empty()));
            run.results.push(outcome);
        }
    }

    /// The files that a task is about, where it is known which: its own words for one are `path` and `dest`, and it
    /// looks at what it writes.
    fn writes(&self, run: &TaskRun) -> Vec<String> {
        let Some(spec) = modules::find(run.task.module).filter(|spec| matches!(spec.kind, Kind::Host(_))) else {
            return Vec::new();
        };
        let scope = match run.items.as_deref() {
            Some(items) if run.index < items.len() => item_scope(&run.scope, &run.task, items, run.index),
            _ => run.scope.clone(),
        };
        let arguments = self
            .evaluation(Arc::new((*scope).clone().ahead()))
            .known_arguments(&run.task);
        let looks = (spec.ahead)(&arguments);
        let named = ["path", "dest"]
            .iter()
            .filter_map(|name| arguments.get(*name)?.as_str());
        let looked = |path: &&str| {
            looks.iter().any(
                |probe| matches!(probe, Probe::Stat { path: p, .. } | Probe::Read { path: p, .. } if **p == **path),
            )
        };
        named.filter(looked).map(str::to_owned).collect()
    }

    /// What the whole task came to, whatever its items.
    pub(super) fn finish_as(&mut self, outcome: ItemOutcome, world: &mut World<'_>) -> Flow {
        if let Some(run) = &mut self.current {
            run.items = None;
            run.results.clear();
        }
        self.push(outcome);
        self.finish_task(world)
    }

    /// What is told of an item, and whether its failure counts: both may hang on the item.
    fn name_item(&self, run: &TaskRun, outcome: &mut ItemOutcome) {
        let task = &run.task;
        let items = run.items.as_deref().unwrap_or_default();
        let scope = match items.get(run.index) {
            Some(_) => item_scope(&run.scope, task, items, run.index),
            None => run.scope.clone(),
        };
        if let (Some(item), Some(looping)) = (items.get(run.index), &task.loop_) {
            let label = looping.label.as_ref().map(|label| {
                let scope = result::with_result(&scope, task, outcome);
                scope.trace.at_any_time(|| self.evaluation(scope.clone()).text(label))
            });
            if let Some(Err(trouble @ Trouble::Wrong(_))) = &label {
                let mut failed = self.trouble_text(trouble);
                failed.msg = format!("the label of the item: {}", failed.msg);
                outcome.failure = Some(failed.clone());
                outcome.say(failed.msg);
            }
            if let Some(extended) = scope.local.get("ansible_loop") {
                outcome.values.insert("ansible_loop".to_owned(), (**extended).clone());
            }
            // What the controller is asked for anew is not in the item.
            let again = Arc::new((*scope).clone().ahead());
            outcome.secrets = self.evaluation(again).secrets(task);
            let mut shown = item.clone();
            mask::given(&mut shown, &outcome.secrets, &self.play.shared.options.mask_key);
            outcome.set_label(item, &shown, looping, run.index, label.and_then(Result::ok));
        }
        if outcome.failure.is_some() {
            let evaluation = self.evaluation(scope);
            let ignores = evaluation.flag(task, "ignore_errors", |c| c.ignore_errors.as_ref());
            outcome.forgiven = outcome.unreachable() || ignores.ok().flatten().unwrap_or(false);
        }
    }

    /// All items are done: register, notify, tell, go on.
    pub(super) fn finish_task(&mut self, world: &mut World<'_>) -> Flow {
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
            share,
            ..
        } = run;
        let no_log = no_log || results.iter().any(|r| r.secret);
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
        if share == share::Share::Held {
            self.tell_sharers(&pos, &summary, world);
        }
        let notify = self.notifies(&task, &scope);
        let nobody = notify.iter().find(|n| self.handlers_for(n, world.board).is_empty());
        if let Some(name) = nobody.filter(|_| summary.status == TaskStatus::Changed) {
            // What it was to bring about would never happen, and the next run would find nothing changed.
            summary.fail(self.nobody_answers(&task, name));
        }
        let evaluation = self.evaluation(scope.clone());
        let ignore = summary.status == TaskStatus::Failed && summary.forgiven;
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

        let no_log = no_log || scope.trace.is_secret();
        let mut registered = None;
        if let Some(name) = &task.register {
            let stored = match &summary.unknown {
                Some(why) => Err(Missing {
                    why: format!("`{name}`: {why}"),
                    known: never_changes(&task)
                        .then(|| ("changed".to_owned(), Value::Bool(false)))
                        .into_iter()
                        .collect(),
                }),
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
                None => Ok(Arc::new(Value::Object(summary.value.clone()))),
            };
            world.board.publish(&self.name, &pos, name, &stored);
            registered = Some(stored.clone());
            self.produced.set(name, stored);
            if no_log {
                Arc::make_mut(&mut self.produced.secret).insert(name.clone());
            } else if self.produced.secret.contains(name) {
                Arc::make_mut(&mut self.produced.secret).remove(name);
            }
        }
        if !summary.facts.is_empty() {
            self.produced.add_facts(&summary.facts);
            if let Some(facts) = &self.produced.facts {
                world.board.publish_facts(&self.name, &pos, facts);
            }
        }
        for (name, set) in &summary.set {
            let set = Ok(Arc::new(set.clone()));
            if no_log {
                Arc::make_mut(&mut self.produced.secret).insert(name.clone());
            } else if self.produced.secret.contains(name) {
                Arc::make_mut(&mut self.produced.secret).remove(name);
            }
            self.produced.set(name, set.clone());
            if no_log {
                Arc::make_mut(&mut self.produced.secret).insert(name.clone());
            }
            world.board.publish(&self.name, &pos, name, &set);
        }
        if no_log {
            world.board.hide(&self.name, &self.produced.secret);
        }
        if summary.status == TaskStatus::Changed
            || (summary.unknown.is_some() && !notify.is_empty() && !never_changes(&task))
        {
            for name in &notify {
                let handlers = self.handlers_for(name, world.board);
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
                    register: registered,
                    facts: (!summary.facts.is_empty())
                        .then(|| self.produced.facts.clone())
                        .flatten(),
                    values: summary
                        .set
                        .iter()
                        .map(|(k, v)| (k.clone(), Ok(Arc::new(v.clone()))))
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
        if !meta && !summary.unreachable && summary.status != TaskStatus::Skipped {
            self.walk.has_run(&task);
        }
        let failed = matches!(summary.status, TaskStatus::Failed | TaskStatus::Rescued);
        let failed = failed.then(|| Value::Object(summary.value.clone()));
        let mut result = result::told(&mut summary, no_log, hide_diff);
        let key = &self.play.shared.options.mask_key;
        result
            .value
            .values_mut()
            .for_each(|value| mask::given(value, &summary.secrets, key));
        mask::uris(&mut result, key);
        let check = matches!(self.walk.section(), Section::PreCheck | Section::PostCheck);
        if !summary.quiet && !meta {
            world.out.push(Out::Result {
                pos: pos.clone(),
                result: Arc::new(result),
            });
        }
        match failed {
            Some(value) => {
                self.check_failed |= check && summary.status == TaskStatus::Failed;
                if fatal {
                    self.make_fatal(&pos, world);
                }
                self.produced.set("ansible_failed_result", Ok(Arc::new(value)));
                let name = task.name.as_ref().and_then(|n| n.as_str()).unwrap_or_default();
                self.produced.set(
                    "ansible_failed_task",
                    Ok(Arc::new(serde_json::json!({"name": name, "action": task.module}))),
                );
                self.after_failure(fatal);
            }
            None => {
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

    fn nobody_answers(&self, task: &Task, name: &str) -> Failed {
        let span = task.notify.first().map_or(task.module_span, |n| n.span);
        let diagnostic = Diagnostic::error(Code::UNKNOWN_REFERENCE, format!("no handler is called `{name}`"))
            .at(span, "neither the name of a handler nor what one listens to");
        self.trouble_text(&Trouble::Wrong(Box::new(diagnostic)))
    }

    pub(super) fn take_effect(&mut self, effect: Effect, world: &mut World<'_>) {
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
                world.out.push(Out::ClearErrors(self.walk.pos()));
                self.walk.advance();
            }
            Effect::ResetConnection => {
                self.cache.expire();
                self.walk.advance();
            }
        }
    }

    /// `fatal`: the failure is everybody's.
    pub(super) fn after_failure(&mut self, fatal: bool) {
        self.current = None;
        let at = self.walk.pos();
        let after = self.walk.fail();
        self.failed_with_all |= fatal && after != AfterFailure::Rescued;
        if after == AfterFailure::Failed && (!self.play.force_handlers || !self.walk.force_handlers()) {
            self.state = State::Failed;
        }
        if self.walk.has_failed() {
            self.lost_at.get_or_insert(at);
        } else if after == AfterFailure::Always {
            self.fails_from = Some(at);
        }
    }

    /// `changed`: also where the task failed and that was ignored.
    pub(super) fn count(&mut self, status: TaskStatus, changed: bool) {
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
}
