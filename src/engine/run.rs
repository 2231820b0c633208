//! Plays × hosts: hands each batch to the dispatcher.

mod host;
mod outline;
mod plan;

pub(crate) use self::host::host_magic;
use self::host::prepare;
pub use self::outline::{Outline, Preview, outline, preview};
use self::plan::{Planned, plan, play_magic};

use crate::diagnostic::{Code, Diagnostic};
use crate::engine::blackboard::Blackboard;
use crate::engine::dispatcher::{Dispatcher, Last, Limits};
use crate::engine::evaluate::{Evaluation, Trouble};
use crate::engine::event::{Event, Mode, PlayInfo, Stats, Timing};
use crate::engine::host_run::{HostRun, State, scope};
use crate::engine::overlay::Overlay;
use crate::engine::rolling::{Around, Rolling};
use crate::engine::schedule;
use crate::engine::shared::{PlayRun, Shared, Strategy};
use crate::engine::vars::{HostLayers, Layer, Produced, TaskScope};
use crate::engine::walk::Pos;
use crate::inventory::{Adjacent, ConnectionVars, Inventory, Limit, Order, Pattern};
use crate::language::{Item, Node, Play, Program};
use crate::modules;
use crate::template::{Found, Scope};
use crate::transport::{Connection, Connector, SshTarget, Target};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use tokio::sync::Notify;

/// Everything a run needs.
pub struct Run {
    pub id: String,
    pub shared: Arc<Shared>,
    pub program: Program,
    pub inventory: Arc<Inventory>,
    /// `-e`.
    pub extra: Layer,
    pub limit: Option<Limit>,
    /// A pattern that matches nothing is no error.
    pub allow_empty: bool,
    pub connector: Arc<dyn Connector>,
    pub forks: usize,
    pub reach: Reach,
    pub playbooks: Vec<String>,
    /// For `order: shuffle`.
    pub seed: u64,
    /// The command line that began this, without `--limit`, for the one that goes on where a rolling play stopped.
    pub command: Vec<String>,
    /// Interrupts the run: who owns the process says so when it gets a signal.
    pub stop: Arc<Notify>,
}

/// Options of the command line about connections; variables and keywords win over them.
#[derive(Clone, Debug, Default)]
pub struct Reach {
    pub user: Option<String>,
    pub private_key: Option<String>,
    pub common_args: Vec<String>,
    pub connect_timeout_s: u32,
    pub persist_s: u32,
    pub accept_any_host_key: bool,
    pub local: bool,
}

/// How a run ended.
#[derive(Debug, Default)]
pub struct Ended {
    pub stats: BTreeMap<String, Stats>,
    pub timing: BTreeMap<String, Timing>,
    pub interrupted: bool,
    /// Some play had hosts.
    pub matched: bool,
    /// Mistakes found before anything was touched; nothing ran then.
    pub refused: Vec<Diagnostic>,
}

/// Runs the program; events go to `sink` as they happen.
pub async fn run(run: &Run, sink: &mut dyn FnMut(Event)) -> Ended {
    let planned = match plan(run) {
        Ok(planned) => planned,
        Err(refused) => {
            return Ended {
                refused,
                ..Ended::default()
            };
        }
    };
    let matched = planned.iter().any(|p| !p.hosts.is_empty());
    let mut dispatcher = Dispatcher::new(run.connector.clone(), run.forks, run.stop.clone(), sink);
    dispatcher.tell(Event::RunStarted {
        run: run.id.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        mode: run.shared.mode,
        playbooks: run.playbooks.clone(),
        time: run.shared.now.clone(),
    });
    let mut fleet = Fleet {
        produced: HashMap::new(),
        overlays: HashMap::new(),
        skipping: run.shared.options.start_at_task.is_some(),
        lost: BTreeSet::new(),
        unreachable: BTreeSet::new(),
        board: Arc::default(),
    };
    for (number, planned) in planned.iter().enumerate() {
        // As with Ansible, a file that lost hosts is the last of the command line.
        let next_file = number > 0 && run.program.starts.contains(&number);
        if dispatcher.interrupted() || (next_file && !fleet.lost.is_empty()) {
            break;
        }
        match play(run, planned, number as u64 + 1, &mut dispatcher, &mut fleet).await {
            Ok(true) => {}
            Ok(false) => break,
            Err(refused) => {
                let interrupted = dispatcher.interrupted();
                let (stats, timing) = dispatcher.close().await;
                return Ended {
                    stats,
                    timing,
                    interrupted,
                    matched,
                    refused,
                };
            }
        }
    }
    let interrupted = dispatcher.interrupted();
    let elapsed_ms = dispatcher.elapsed_ms();
    let (stats, timing) = (dispatcher.stats.clone(), dispatcher.timing.clone());
    dispatcher.tell(Event::RunFinished {
        stats: stats.clone(),
        timing: timing.clone(),
        elapsed_ms,
    });
    dispatcher.close().await;
    Ended {
        stats,
        timing,
        interrupted,
        matched,
        refused: Vec::new(),
    }
}

/// Everything that can be found wrong before the first host is touched.
pub fn check(run: &Run) -> Result<(), Vec<Diagnostic>> {
    plan(run).map(|_| ())
}

/// What lives from play to play.
struct Fleet {
    produced: HashMap<String, Produced>,
    /// What a dry run has predicted so far.
    overlays: HashMap<String, Overlay>,
    /// `--start-at-task` and the task has not come yet.
    skipping: bool,
    /// Failed and unreachable hosts: out for the rest of the run.
    lost: BTreeSet<String>,
    unreachable: BTreeSet<String>,
    board: Arc<Blackboard>,
}

/// Runs one play; false: no further play.
async fn play(
    run: &Run,
    planned: &Planned,
    id: u64,
    dispatcher: &mut Dispatcher<'_>,
    fleet: &mut Fleet,
) -> Result<bool, Vec<Diagnostic>> {
    let play = &planned.play.play;
    let hosts: Vec<String> = planned
        .hosts
        .iter()
        .filter(|h| !fleet.lost.contains(*h))
        .cloned()
        .collect();
    let shown = play.name.as_ref().unwrap_or(&play.hosts);
    let info = PlayInfo {
        id,
        name: modules::plain(&shown.to_value()),
        hosts: hosts.clone(),
        location: run.shared.sources.locate(play.span),
    };
    if hosts.is_empty() {
        let reason = if planned.hosts.is_empty() {
            "no hosts matched"
        } else {
            "no hosts left"
        };
        dispatcher.tell(Event::PlaySkipped {
            play: info,
            reason: reason.to_owned(),
        });
        return Ok(true);
    }
    dispatcher.tell(Event::PlayStarted { play: info });
    let batches = schedule::batches(planned.serial.as_ref(), hosts.clone()).unwrap_or_else(|_| vec![hosts.clone()]);
    let of = batches.len();
    let mut course = Course::default();
    for (number, batch) in batches.into_iter().enumerate() {
        let batch: Vec<String> = batch.into_iter().filter(|h| !fleet.lost.contains(h)).collect();
        if of > 1 {
            dispatcher.tell(Event::BatchStarted {
                number: number + 1,
                of,
                hosts: batch.clone(),
            });
        }
        let left: Vec<String> = hosts.iter().filter(|h| !fleet.lost.contains(*h)).cloned().collect();
        let magic = Arc::new(play_magic(run, play, [&planned.unordered, &left, &batch]));
        dispatcher.later = match planned.play.rolling {
            Some(_) if number == 0 => {
                let later: Vec<String> = left.iter().filter(|h| !batch.contains(h)).cloned().collect();
                prepare(run, planned, &later, &magic, fleet)?.1
            }
            // They have been called when the first host was touched; and if none was yet, they are still to come.
            Some(_) => std::mem::take(&mut dispatcher.later),
            None => HashMap::new(),
        };
        dispatcher.later.retain(|host, _| !batch.contains(host));
        let (mut runs, targets) = prepare(run, planned, &batch, &magic, fleet)?;
        let limits = Limits {
            max_fail_percentage: planned.max_fail_percentage,
        };
        dispatcher.around = course.around(planned, fleet);
        let mut end = dispatcher.batch(&mut runs, &targets, &fleet.board, limits).await;
        fleet.skipping &= runs.iter().all(|r| r.skipping);
        if end.cleared.is_some() {
            let gone = &fleet.unreachable;
            fleet
                .lost
                .retain(|h| gone.contains(h) || !planned.unordered.contains(h));
        }
        for host in &mut runs {
            fleet.produced.insert(host.name.clone(), host.produced.clone());
            fleet
                .overlays
                .insert(host.name.clone(), std::mem::take(&mut host.overlay));
            let lost = matches!(host.state, State::Failed | State::Unreachable);
            let forgotten = host
                .lost_at
                .as_ref()
                .is_some_and(|at| end.cleared.as_ref().is_some_and(|c| at < c));
            if lost && (!forgotten || host.state == State::Unreachable) {
                fleet.lost.insert(host.name.clone());
            }
            if host.state == State::Unreachable {
                fleet.unreachable.insert(host.name.clone());
            }
            if !lost && !end.unfinished.contains(&host.name) {
                course.done.insert(host.name.clone());
            }
        }
        course.touched |= end.touched;
        course.last = end.last.take().or(course.last);
        let failed = batch
            .iter()
            .find(|h| planned.rolling.is_some() && fleet.lost.contains(*h));
        let failed = failed.map(|host| format!("{host} failed: no other node is touched"));
        if let Some(reason) = end.stop.or(failed) {
            dispatcher.tell(Event::Stopped { reason });
            course.resume(run, planned, &hosts, dispatcher);
            return Ok(false);
        }
        if dispatcher.interrupted() {
            course.resume(run, planned, &hosts, dispatcher);
            return Ok(false);
        }
        if end.end_play {
            break;
        }
        let left = batch.iter().any(|h| !fleet.lost.contains(h));
        if !left {
            if of > 1 || id < run.program.plays.len() as u64 {
                let what = if of > 1 {
                    "every host of the batch is lost"
                } else {
                    "every host of the play is lost"
                };
                dispatcher.tell(Event::Stopped {
                    reason: what.to_owned(),
                });
            }
            return Ok(false);
        }
    }
    if let (Some(rolling), Some(last)) = (&planned.rolling, &course.last)
        && rolling.rebalance
    {
        dispatcher.rebalance(last).await;
    }
    Ok(true)
}

/// How far a rolling play has come.
#[derive(Default)]
struct Course {
    /// Hosts that are as the play wants them, and back where they were touched.
    done: BTreeSet<String>,
    touched: bool,
    last: Option<Last>,
}

impl Course {
    fn around(&self, planned: &Planned, fleet: &Fleet) -> Around {
        let members = planned.rolling.iter().flat_map(|r| r.members.iter());
        Around {
            first: !self.touched,
            working: BTreeSet::new(),
            unreachable: members.filter(|h| fleet.unreachable.contains(*h)).cloned().collect(),
        }
    }

    /// Tells how to go on with what is left of the play.
    fn resume(&self, run: &Run, planned: &Planned, hosts: &[String], dispatcher: &mut Dispatcher<'_>) {
        if planned.rolling.is_none() || run.command.is_empty() {
            return;
        }
        let left = hosts.iter().filter(|h| !self.done.contains(*h));
        let left: Vec<_> = left.filter_map(|host| shlex::try_quote(host).ok()).collect();
        let command = shlex::try_join(run.command.iter().map(String::as_str)).unwrap_or_default();
        dispatcher.tell(Event::Resume {
            command: format!("{command} --limit {}", left.join(",")),
        });
    }
}

/// Hosts of a batch, and how to reach each.
type Prepared = (Vec<HostRun>, HashMap<String, Target>);
