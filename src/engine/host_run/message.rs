//! Messages: what is sent, what is made of the answer, and of none.

#![deny(clippy::disallowed_methods)]

use super::*;
use crate::rabbitmq::cli;

impl HostRun {
    /// The names of the handlers that are to run.
    pub(super) fn pending(&self) -> BTreeSet<String> {
        let own = self.walk.notified.iter().filter_map(|i| self.walk.handler_name(*i));
        own.chain(self.ledger.foreign.iter().cloned()).collect()
    }

    /// Takes up what an earlier run left behind, once the host has told.
    pub(super) fn read_ledger(&mut self, world: &mut World<'_>) {
        if !self.ledger.unread {
            return;
        }
        let Some(observation) = self.cache.fresh(&ledger::probe()) else {
            return;
        };
        self.ledger.unread = false;
        self.ledger.written = ledger::parse(observation);
        for name in self.ledger.written.clone() {
            let handlers = self.handlers_for(&name, world.board);
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

    /// Whether the look for a node left in maintenance is still to be made.
    fn wants_drained(&self) -> bool {
        self.play.rolling.is_some() && self.left_drained.is_none()
    }

    pub(super) fn read_drained(&mut self) {
        if self.wants_drained()
            && let Some(observation) = self.cache.fresh(&ledger::drained())
        {
            self.left_drained = Some(!ledger::parse(observation).is_empty());
        }
    }

    /// A node that an earlier run drained has its turn though nothing is to be changed, so that it comes back.
    pub(super) fn is_to_come_back(&mut self, world: &mut World<'_>) -> bool {
        self.returns = self.standing == Standing::Untouched && self.left_drained == Some(true);
        if self.returns {
            let text = "an earlier run left the node in maintenance: it is taken out of it".to_owned();
            world.out.push(Out::Warning { pos: None, text });
        }
        self.returns
    }

    /// The answer to the last [`Next::Call`].
    pub fn answer(&mut self, request: Request, answer: Result<Response, CallError>, world: &mut World<'_>) {
        let Some(flight) = self.in_flight.take() else { return };
        let response = match answer {
            Ok(response) => response,
            Err(error) => return self.call_failed(error, &flight, world),
        };
        let ran = |reply: &Reply| !matches!(reply, Reply::Did(outcome) if outcome.status == Status::NotRun);
        let started = flight
            .vms
            .iter()
            .zip(&response.replies)
            .filter(|(vm, reply)| **vm && ran(reply));
        self.vm_starts += started.count() as u64;
        self.acts.count(flight.outward);
        let mut seen = Vec::with_capacity(response.replies.len());
        let mut did = Vec::new();
        for reply in response.replies {
            match reply {
                Reply::Did(outcome) => did.push(outcome),
                Reply::Seen(observation) => seen.push(observation),
            }
        }
        let noted = usize::from(flight.noted);
        let outcomes: Vec<Outcome> = did.into_iter().skip(noted).take(flight.ops).collect();
        self.executions += outcomes.iter().filter(|o| o.status != Status::NotRun).count() as u64;
        let all_done = outcomes.iter().all(Outcome::is_done);
        if all_done {
            let probes = request.steps.into_iter().filter_map(|step| match step {
                Step::Probe(probe) => Some(probe),
                Step::Op(_) => None,
            });
            self.cache.extend(probes, seen);
        }
        if flight.ops == 0 {
            return;
        }
        let Some(mut run) = self.current.take() else { return };
        if run.unit.answered(all_done) {
            self.current = Some(run);
            return;
        }
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
                    changed: change.changed && !failure.not_begun,
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

    pub(super) fn call_failed(&mut self, error: CallError, flight: &InFlight, world: &mut World<'_>) {
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
                    failed.notes.extend(said("it", &error.said));
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
                if run.unit.answered(false) {
                    return;
                }
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
                    notes: said("ssh", &error.said).into_iter().chain(error.origin).collect(),
                    helps: error.help.into_iter().collect(),
                    location: None,
                    rendered: None,
                };
                if error.kind == CallErrorKind::Become && self.facts_pending {
                    // The host was reached; it is the first task that fails, as with Ansible.
                    self.facts_pending = false;
                    self.fail_facts(world, Pos::facts(), failure);
                    return;
                }
                if self.ignores_unreachable(world) {
                    return self.go_on_unreachable(failure, world);
                }
                let at = pos.clone().unwrap_or_else(Pos::facts);
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
    pub(super) fn go_on(&mut self, flow: Flow) {
        if let Flow::Leave(next) = flow {
            self.pending = Some(next);
        }
    }

    /// A keyword of the task under way, or of the play while facts are gathered.
    pub(super) fn says(
        &self,
        what: &str,
        field: fn(&crate::language::Common) -> Option<&Node>,
        world: &World<'_>,
    ) -> bool {
        let flag = match &self.current {
            Some(run) => self.evaluation(run.scope.clone()).flag(&run.task, what, field),
            None => {
                let evaluation = self.evaluation(self.scope_for(&Pos::facts(), None, world));
                let node = field(&self.play.play.common);
                node.map(|n| evaluation.boolean(n, what)).transpose()
            }
        };
        flag.ok().flatten().unwrap_or(false)
    }

    /// Whether a failure here is everybody's.
    pub(super) fn is_fatal(&self, world: &World<'_>) -> bool {
        let once = self.current.as_ref().is_some_and(|r| self.once(&r.task, &r.scope));
        once || self.says("any_errors_fatal", |c| c.any_errors_fatal.as_ref(), world)
    }

    pub(super) fn make_fatal(&mut self, pos: &Pos, world: &mut World<'_>) {
        if world.fatal.as_ref().is_none_or(|f| f < pos) {
            world.fatal = Some(pos.clone());
        }
        self.fatal_done = Some(pos.clone());
    }

    pub(super) fn ignores_unreachable(&self, world: &World<'_>) -> bool {
        self.says("ignore_unreachable", |c| c.ignore_unreachable.as_ref(), world)
    }

    /// `ignore_unreachable`: the task or item is over, the host goes on, and the next tries the connection again.
    pub(super) fn go_on_unreachable(&mut self, failure: Failed, world: &mut World<'_>) {
        self.losses = 0;
        self.cache.expire();
        let mut outcome = ItemOutcome::failed(Failure::new(failure.msg.clone()));
        outcome.values.insert("unreachable".to_owned(), Value::Bool(true));
        outcome.failure = Some(failure);
        if let Some(run) = &mut self.current {
            run.item.action = None;
            run.item.stage = Stage::Deciding;
            let flow = self.settle_final(outcome, world);
            return self.go_on(flow);
        }
        self.facts_pending = false;
        self.count(TaskStatus::Ignored, false);
        let mut summary = result::summarise(false, vec![outcome]);
        let mut told = result::told(&mut summary, false, false);
        told.status = TaskStatus::Ignored;
        world.out.push(Out::Result {
            pos: Pos::facts(),
            result: Arc::new(told),
        });
    }

    /// A message with ops and probes; the probes that following tasks will want go along.
    pub(super) fn call(&mut self, ops: Vec<Op>, probes: Vec<Probe>, run: Option<&TaskRun>, world: &World<'_>) -> Next {
        let mut wanted: ahead::Wanted = probes.into_iter().collect();
        if self.ledger.unread && !self.cache.is_fresh(&ledger::probe()) {
            wanted.insert(ledger::probe());
        }
        if self.wants_drained() {
            wanted.insert(ledger::drained());
        }
        let (before, after) = self.ledger_ops(run.filter(|_| !ops.is_empty()), world.board);
        let count = ops.len();
        let ops: Vec<Op> = before.iter().cloned().chain(ops).chain(after).collect();
        let local = run.is_none_or(|r| modules::find(r.task.module).is_none_or(|spec| spec.local));
        let shared = run.is_some_and(|r| r.share == share::Share::Held);
        let outward = (count > 0 && !local).then_some(shared);
        self.acts.count(outward);
        if !ops.is_empty() {
            self.cache.expire();
        }
        if self.cache.has_nothing_fresh() {
            self.others_acted = world.others_acts;
        }
        let ready = std::mem::take(&mut self.ready);
        self.ready = ahead::extend(self, run.map(TaskRun::rest), world, &mut wanted, ready);
        let steps: Vec<Step> = ops
            .into_iter()
            .map(Step::Op)
            .chain(wanted.into_iter().map(Step::Probe))
            .collect();
        let vms = steps.iter().map(|step| match step {
            Step::Op(Op::Exec(exec)) => cli::starts_vm(&exec.argv),
            Step::Probe(Probe::Exec { argv, .. }) => cli::starts_vm(argv),
            _ => false,
        });
        let vms = vms.collect();
        self.in_flight = Some(InFlight {
            noted: before.is_some(),
            ops: count,
            vms,
            outward,
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
    pub(super) fn ledger_ops(&mut self, acting: Option<&TaskRun>, board: &Arc<Blackboard>) -> (Option<Op>, Option<Op>) {
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
        let handlers = notified.iter().flat_map(|n| self.handlers_for(n, board));
        let names = pending
            .into_iter()
            .chain(handlers.filter_map(|i| self.walk.handler_name(i)))
            .collect();
        (self.ledger.note(names), None)
    }

    /// Handlers that answer to a name, by their places in the play's list.
    pub(super) fn handlers_for(&self, name: &str, board: &Arc<Blackboard>) -> Vec<usize> {
        let text = |handler: &Arc<Task>| {
            let produced = self.produced.clone();
            let scope = scope(
                &self.layers,
                &self.play,
                produced,
                &self.walk.pos(),
                Some(handler),
                board,
            );
            self.evaluation(Arc::new(scope)).text(handler.name.as_ref()?).ok()
        };
        self.walk.handlers_for(name, &text)
    }

    /// The names a task notifies.
    pub(super) fn notifies(&self, task: &Task, scope: &Arc<TaskScope>) -> Vec<String> {
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
    pub(super) fn become_(&mut self, who: Option<RunAs>) {
        if self.cache.who != who {
            self.cache = Cache {
                who,
                ..Cache::default()
            };
        }
    }
}
