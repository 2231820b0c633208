//! The one async loop. It owns every host's state; connections, timers and signals talk to it by messages.

mod batch;
mod line;
mod turns;

pub use turns::Last;

use self::batch::Batch;
use self::line::Line;
use crate::engine::blackboard::Blackboard;
use crate::engine::event::{Event, Stats, TaskInfo, Timing};
use crate::engine::host_run::{HostRun, Next, Out, Standing, State, World};
use crate::engine::rolling::Around;
use crate::engine::schedule;
use crate::engine::walk::Pos;
use crate::transport::{CallError, Connector, Request, Response, Target};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{Notify, Semaphore, mpsc};

/// Longest wait for the connections to close at the end.
const CLOSE_LIMIT: Duration = Duration::from_secs(5);

/// A message to the loop.
enum Message {
    Answer {
        host: String,
        request: Box<Request>,
        answer: Result<Response, CallError>,
        connect_ms: Option<u64>,
    },
    Wake {
        host: String,
    },
    /// After an interrupt: the host had not been reached yet, and nothing was sent.
    NotReached {
        host: String,
    },
    Interrupt,
}

/// Connections, timers and counters of a run; outlives plays and batches.
pub struct Dispatcher<'s> {
    connector: Arc<dyn Connector>,
    /// So many calls at a time; the batch begins with no more hosts than that.
    forks: usize,
    /// The same for those who do not queue: hosts that wake from a timer, and whom a rolling play asks.
    permits: Arc<Semaphore>,
    lines: HashMap<String, Line>,
    inbox: mpsc::UnboundedReceiver<Message>,
    address: mpsc::UnboundedSender<Message>,
    sink: &'s mut dyn FnMut(Event),
    pub stats: BTreeMap<String, Stats>,
    pub timing: BTreeMap<String, Timing>,
    /// For a rolling play: what is known beyond the batch.
    pub around: Around,
    /// For a rolling play: hosts of later batches. Who of them cannot be reached counts as down, so they are called
    /// before the first host is touched.
    pub later: HashMap<String, Target>,
    next_task: u64,
    interrupts: u32,
    started: Instant,
}

/// How a batch ended.
#[derive(Debug, Default)]
pub struct BatchEnd {
    /// No further batch of this play.
    pub end_play: bool,
    /// Neither a further batch nor a further play (`any_errors_fatal`, too many failures, a failed check).
    pub stop: Option<String>,
    /// Where `meta: clear_host_errors` stood, the last of them.
    pub cleared: Option<Pos>,
    /// Rolling: hosts that were changed.
    pub touched: bool,
    /// Rolling: hosts that are not done, lost ones aside.
    pub unfinished: Vec<String>,
    /// Rolling: who can be asked to rebalance.
    pub last: Option<Last>,
}

/// When a play gives up.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub max_fail_percentage: Option<f64>,
}

impl<'s> Dispatcher<'s> {
    /// `stop` interrupts: once, what is in flight is finished; twice, nothing is waited for.
    pub fn new(connector: Arc<dyn Connector>, forks: usize, stop: Arc<Notify>, sink: &'s mut dyn FnMut(Event)) -> Self {
        let (address, inbox) = mpsc::unbounded_channel();
        let signals = address.clone();
        tokio::spawn(async move {
            loop {
                stop.notified().await;
                if signals.send(Message::Interrupt).is_err() {
                    break;
                }
            }
        });
        Dispatcher {
            connector,
            forks: forks.max(1),
            permits: Arc::new(Semaphore::new(forks.max(1))),
            lines: HashMap::new(),
            inbox,
            address,
            sink,
            stats: BTreeMap::new(),
            timing: BTreeMap::new(),
            around: Around::default(),
            later: HashMap::new(),
            next_task: 1,
            interrupts: 0,
            started: Instant::now(),
        }
    }

    pub fn tell(&mut self, event: Event) {
        (self.sink)(event);
    }

    pub fn interrupted(&self) -> bool {
        self.interrupts > 0
    }

    pub fn elapsed_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Runs a batch to its end. Runs keep their final state for the caller to read.
    pub async fn batch(
        &mut self,
        runs: &mut [HostRun],
        targets: &HashMap<String, Target>,
        board: &Arc<Blackboard>,
        limits: Limits,
    ) -> BatchEnd {
        let mut batch = Batch::new(runs);
        for (index, run) in runs.iter_mut().enumerate() {
            self.stats.entry(run.name.clone()).or_default();
            self.timing.entry(run.name.clone()).or_default();
            batch.place(index, run);
            board.reach(&run.name, batch.at[index].clone());
        }
        loop {
            // After an interrupt nobody has anything to send: who is queued only stops.
            let most = if self.interrupted() { usize::MAX } else { self.forks };
            while let Some(index) = batch.next(most) {
                self.step(&mut batch, runs, index, board, targets, limits);
                if batch.ready.is_empty() {
                    batch.wake(board);
                }
            }
            if batch.busy == 0 {
                if batch.waiting.is_empty() {
                    break;
                }
                // Everybody waits for somebody: nothing can be awaited that would come; go on in order.
                let (index, _) = batch.waiting.remove(0);
                batch.still.0 = 0;
                batch.released.insert(index);
                batch.ready.push_back(index);
                continue;
            }
            (self.sink)(Event::Progress {
                done: batch.done as u64,
                total: runs.len() as u64,
                busy: batch.busy,
            });
            match self.inbox.recv().await {
                None => break,
                Some(Message::Interrupt) => {
                    self.interrupts += 1;
                    if self.interrupts > 1 {
                        break;
                    }
                    (self.sink)(Event::Interrupted);
                    // Between two attempts nothing is in flight.
                    for index in std::mem::take(&mut batch.asleep) {
                        batch.busy -= 1;
                        batch.ready.push_back(index);
                    }
                    // Nor is it where no connection is made yet.
                    for (host, line) in &self.lines {
                        if batch.index_of(host).is_some_and(|index| !batch.turns.is_active(index)) {
                            line.give_up.notify_waiters();
                        }
                    }
                }
                Some(Message::NotReached { host }) => {
                    batch.busy -= 1;
                    batch.ready.extend(batch.index_of(&host));
                }
                Some(Message::Wake { host }) => {
                    if let Some(index) = batch.index_of(&host).filter(|i| batch.asleep.remove(i)) {
                        batch.busy -= 1;
                        batch.ready.push_back(index);
                    }
                }
                Some(Message::Answer {
                    host,
                    request,
                    answer,
                    connect_ms,
                }) => {
                    batch.busy -= 1;
                    self.count(&host, &answer, connect_ms);
                    let Some(index) = batch.index_of(&host) else {
                        self.called(&mut batch, &host, answer.err());
                        continue;
                    };
                    if batch.turns.is_active(index) {
                        batch.turns.answer(index, answer);
                        batch.ready.push_back(index);
                        continue;
                    }
                    let mut out = Vec::new();
                    let first = batch.first() == Some(index);
                    let before = batch.fatal.clone();
                    let mut world = World {
                        least: batch.least(),
                        board,
                        told: &batch.tasks,
                        once: &mut batch.once,
                        at: &batch.at,
                        first,
                        index,
                        shares: &mut batch.shares,
                        others_acts: batch.acts.less(runs[index].acts),
                        fatal: before,
                        out: &mut out,
                    };
                    let acts = runs[index].acts;
                    runs[index].answer(*request, answer, &mut world);
                    batch.fatal = world.fatal;
                    batch.acts.add(runs[index].acts.less(acts));
                    self.relay(&mut batch, runs, index, out);
                    batch.ready.push_back(index);
                }
            }
        }
        if self.interrupts > 1 {
            for (index, run) in runs.iter().enumerate() {
                self.relay(&mut batch, runs, index, run.abandoned().into_iter().collect());
            }
        }
        let everything = Pos::end();
        batch.finish_tasks(Some(&everything), self.sink);
        for run in runs.iter() {
            board.reach(&run.name, None);
            let stats = self.stats.entry(run.name.clone()).or_default();
            add(stats, &run.stats);
            let timing = self.timing.entry(run.name.clone()).or_default();
            timing.executions += run.executions;
            timing.vm_starts += run.vm_starts;
        }
        let last = self.end_turns(&batch, runs);
        let mut end = batch.end;
        end.last = last;
        end.touched = !batch.turns.touched.is_empty();
        end.unfinished = batch.turns.unfinished.iter().map(|i| runs[*i].name.clone()).collect();
        // Where every host was rescued, nothing was fatal after all.
        let fatal = |run: &HostRun| run.state == State::Failed && run.failed_with_all;
        if let Some(host) = batch.fatal_on.filter(|_| runs.iter().any(fatal)) {
            let why = format!("what fails on {host} fails everywhere (`any_errors_fatal` or `run_once`)");
            end.stop.get_or_insert(why);
        }
        if runs.iter().any(|r| r.check_failed) {
            end.stop.get_or_insert_with(|| "a check failed".to_owned());
        }
        end
    }

    fn step(
        &mut self,
        batch: &mut Batch,
        runs: &mut [HostRun],
        index: usize,
        board: &Arc<Blackboard>,
        targets: &HashMap<String, Target>,
        limits: Limits,
    ) {
        if batch.turns.is_active(index) && !self.turn(batch, runs, index, targets) {
            return;
        }
        let over = match (&batch.end_after, runs[index].pos()) {
            (Some(end), Some(pos)) => pos > *end,
            _ => false,
        };
        let mut out = Vec::new();
        let first = batch.first() == Some(index);
        let least = if batch.released.remove(&index) {
            None
        } else {
            batch.least()
        };
        let mut world = World {
            least,
            board,
            told: &batch.tasks,
            once: &mut batch.once,
            at: &batch.at,
            first,
            index,
            shares: &mut batch.shares,
            others_acts: batch.acts.less(runs[index].acts),
            fatal: batch.fatal.clone(),
            out: &mut out,
        };
        if over || self.interrupts > 0 || batch.turns.unfinished.contains(&index) {
            runs[index].stop(&mut world);
        }
        let acts = runs[index].acts;
        let next = runs[index].step(&mut world);
        batch.fatal = world.fatal;
        batch.acts.add(runs[index].acts.less(acts));
        self.relay(batch, runs, index, out);
        batch.place(index, &mut runs[index]);
        if let Some(at) = &runs[index].lost_at {
            board.lose(&runs[index].name, at);
        }
        board.reach(&runs[index].name, batch.at[index].clone());
        match next {
            Next::Call(request) => {
                let name = runs[index].name.clone();
                batch.busy += 1;
                self.send(&name, targets, request);
            }
            Next::Sleep(seconds) => self.sleep(batch, runs[index].name.clone(), index, seconds),
            Next::Wait(condition) => batch.waiting.push((index, condition)),
            Next::Turn => {
                let begun = match runs[index].standing {
                    Standing::Untouched => self.take_turn(batch, &runs[index], index),
                    _ => self.give_back(batch, &runs[index], index),
                };
                if !begun {
                    batch.turns.unfinished.insert(index);
                    batch.ready.push_back(index);
                }
            }
            Next::Done => {
                self.give_back(batch, &runs[index], index);
            }
        }
        if batch.settle(index, &runs[index]) {
            batch.turns.close();
            let lost = batch.lost;
            if let Some(most) = limits.max_fail_percentage
                && schedule::too_many(lost, runs.len(), most)
                && batch.end.stop.is_none()
            {
                let reason = format!(
                    "{} of {} hosts are lost, more than `max_fail_percentage: {most}` allows",
                    lost,
                    runs.len()
                );
                batch.end_after = batch.last_failure.clone().or_else(|| batch.least());
                batch.end.stop = Some(reason);
                batch.wake_all();
            }
        }
        batch.finish_tasks(batch.least().as_ref(), self.sink);
        batch.wake(board);
    }

    fn relay(&mut self, batch: &mut Batch, runs: &[HostRun], index: usize, out: Vec<Out>) {
        let host = runs[index].name.clone();
        for item in out {
            match item {
                Out::Started { pos, info } => {
                    let next = &mut self.next_task;
                    let sink = &mut self.sink;
                    batch.tasks.entry(pos).or_insert_with(|| {
                        let id = *next;
                        *next += 1;
                        sink(Event::TaskStarted {
                            task: TaskInfo { id, ..info },
                        });
                        id
                    });
                }
                Out::Result { pos, result } => {
                    use crate::engine::event::TaskStatus;
                    if result.status == TaskStatus::Failed {
                        batch.last_failure = Some(pos.clone());
                    }
                    if let Some(id) = batch.tasks.get(&pos) {
                        (self.sink)(Event::HostResult {
                            task: *id,
                            host: host.clone(),
                            result,
                        });
                    }
                }
                Out::Retrying { pos, left } => {
                    if let Some(id) = batch.tasks.get(&pos) {
                        (self.sink)(Event::Retrying {
                            task: *id,
                            host: host.clone(),
                            left,
                        });
                    }
                }
                Out::Warning { pos, text } => {
                    let task = pos.and_then(|p| batch.tasks.get(&p).copied());
                    (self.sink)(Event::Warning {
                        host: Some(host.clone()),
                        task,
                        text,
                    });
                }
                Out::Unreachable { pos, failure } => {
                    batch.last_failure = pos.clone().or_else(|| batch.at[index].clone());
                    let task = pos.and_then(|p| batch.tasks.get(&p).copied());
                    (self.sink)(Event::Unreachable {
                        host: host.clone(),
                        task,
                        failure,
                    });
                }
                Out::EndPlay => {
                    batch.end.end_play = true;
                    batch.end_after = batch.at[index].clone();
                }
                Out::EndBatch => batch.end_after = batch.at[index].clone(),
                Out::ClearErrors(at) => batch.end.cleared = batch.end.cleared.take().max(Some(at)),
            }
        }
        if batch.fatal.is_some() && batch.fatal_on.is_none() {
            batch.fatal_on = Some(host);
        }
    }

    /// Hands a message to the host's connection, which is made when there is none.
    fn send(&mut self, host: &str, targets: &HashMap<String, Target>, request: Request) {
        let line = self.lines.entry(host.to_owned()).or_insert_with(|| {
            let target = targets.get(host).cloned();
            Line::new(
                host,
                target,
                self.connector.clone(),
                self.permits.clone(),
                self.address.clone(),
            )
        });
        // The line ends only with the dispatcher.
        let _ = line.orders.send(request);
    }

    fn count(&mut self, host: &str, answer: &Result<Response, CallError>, connect_ms: Option<u64>) {
        let timing = self.timing.entry(host.to_owned()).or_default();
        timing.connect_ms += connect_ms.unwrap_or(0);
        if let Ok(response) = answer {
            timing.round_trips += 1;
            timing.bytes_out += response.bytes_out;
            timing.bytes_in += response.bytes_in;
        }
    }

    /// Closes all connections (masters stay as their targets say); after a second Ctrl-C without waiting for them.
    pub async fn close(self) -> (BTreeMap<String, Stats>, BTreeMap<String, Timing>) {
        // Their orders end here, all at once.
        let holders: Vec<_> = self.lines.into_values().map(|line| line.holder).collect();
        if self.interrupts < 2 {
            let all = async {
                for holder in holders {
                    let _ = holder.await;
                }
            };
            let _ = tokio::time::timeout(CLOSE_LIMIT, all).await;
        }
        (self.stats, self.timing)
    }
}

fn add(total: &mut Stats, stats: &Stats) {
    total.ok += stats.ok;
    total.changed += stats.changed;
    total.unreachable += stats.unreachable;
    total.failures += stats.failures;
    total.skipped += stats.skipped;
    total.rescued += stats.rescued;
    total.ignored += stats.ignored;
    total.unknown += stats.unknown;
}
