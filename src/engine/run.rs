//! Plays × hosts: patterns, batches, variables and targets; hands each batch to the dispatcher.

use crate::diagnostic::{Code, Diagnostic};
use crate::engine::dispatcher::{Dispatcher, Last, Limits};
use crate::engine::evaluate::{Evaluation, Trouble};
use crate::engine::event::{Event, Mode, PlayInfo, Stats, Timing};
use crate::engine::host_run::{HostRun, State, scope};
use crate::engine::overlay::Overlay;
use crate::engine::rolling::{Around, Rolling};
use crate::engine::schedule;
use crate::engine::shared::{PlayRun, Shared, Strategy};
use crate::engine::vars::{Blackboard, HostLayers, Layer, Produced, TaskScope};
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
    /// Interrupts the run as Ctrl-C does, from within the program.
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

/// A play with its hosts, before anything runs.
struct Planned {
    play: Arc<PlayRun>,
    hosts: Vec<String>,
    /// As the inventory has them, whatever `order` says.
    unordered: Vec<String>,
    serial: Option<Value>,
    max_fail_percentage: Option<f64>,
    adjacent: Arc<Adjacent>,
    vars_files: Vec<Node>,
    rolling: Option<Arc<Rolling>>,
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

/// A play for `--list-*`.
pub struct Outline {
    pub path: String,
    pub name: String,
    /// Joined by commas; as a Python list.
    pub pattern: String,
    pub pattern_list: String,
    pub hosts: Vec<String>,
    pub tags: Vec<String>,
    pub tasks: Vec<(String, Vec<String>)>,
}

/// The plays with their hosts and the tasks that the tags select. Dynamic includes show as themselves.
pub fn outline(run: &Run) -> Result<Vec<Outline>, Vec<Diagnostic>> {
    let planned = plan(run)?;
    Ok(planned
        .iter()
        .map(|planned| {
            let play = &planned.play.play;
            let evaluation = Evaluation {
                play: &planned.play,
                scope: play_scope(run, &planned.play),
                handler: false,
            };
            let patterns: Vec<String> = match evaluation.resolve(&play.hosts) {
                Ok(Some(Value::Array(list))) => list.iter().map(modules::plain).collect(),
                Ok(Some(value)) => vec![modules::plain(&value)],
                _ => Vec::new(),
            };
            let mut tasks = Vec::new();
            let sections = [
                &play.pre_checks,
                &play.pre_tasks,
                &play.tasks,
                &play.post_tasks,
                &play.post_checks,
            ];
            for items in sections {
                collect(items, &evaluation, &mut tasks);
            }
            Outline {
                path: play.path.clone(),
                name: play
                    .name
                    .as_ref()
                    .map(|n| modules::plain(&n.to_value()))
                    .unwrap_or_else(|| patterns.join(",")),
                pattern: patterns.join(","),
                pattern_list: patterns.iter().map(|p| format!("'{p}'")).collect::<Vec<_>>().join(", "),
                hosts: planned.hosts.clone(),
                tags: play.common.tags.iter().flat_map(|n| evaluation.text(n).ok()).collect(),
                tasks,
            }
        })
        .collect())
}

fn collect(items: &[Item], evaluation: &Evaluation<'_>, tasks: &mut Vec<(String, Vec<String>)>) {
    for item in items {
        match item {
            Item::Task(task) => {
                if crate::engine::select::by_tags(evaluation, task) {
                    let own = task.name.as_ref().and_then(|n| n.as_str()).unwrap_or(task.module);
                    let name = match &task.role {
                        Some(role) => format!("{} : {own}", role.name),
                        None => own.to_owned(),
                    };
                    tasks.push((name, crate::engine::select::tags(evaluation, task)));
                }
            }
            Item::Block(block) => {
                for part in [&block.block, &block.rescue, &block.always] {
                    collect(part, evaluation, tasks);
                }
            }
        }
    }
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

/// The scope of a play's own keywords: `-e` and the play's variables.
fn play_scope(run: &Run, play: &Arc<PlayRun>) -> Arc<TaskScope> {
    let layers = HostLayers {
        name: String::new(),
        defaults: Vec::new(),
        low: Vec::new(),
        high: vec![Arc::new(play.play.common.vars.clone())],
        extra: run.extra.clone(),
        magic: HashMap::new(),
        play_magic: Arc::new(play_magic(run, &play.play, [&[], &[], &[]])),
        facts_expected: false,
    };
    Arc::new(scope(
        &Arc::new(layers),
        play,
        Produced::default(),
        &Pos::default(),
        None,
        &Arc::default(),
    ))
}

/// Evaluates what must be known before the first host is touched; all mistakes at once.
fn plan(run: &Run) -> Result<Vec<Planned>, Vec<Diagnostic>> {
    let mut planned = Vec::new();
    let mut refused = Vec::new();
    let mut beside: HashMap<String, Arc<Adjacent>> = HashMap::new();
    for play in &run.program.plays {
        let directory = directory(&play.path);
        let adjacent = beside
            .entry(directory.clone())
            .or_insert_with(|| {
                let (adjacent, problems) =
                    Adjacent::load(&run.inventory, &[directory], &*run.shared.files, &run.shared.sources);
                refused.extend(problems.into_iter().filter(Diagnostic::is_error));
                Arc::new(adjacent)
            })
            .clone();
        match plan_play(run, play, adjacent) {
            Ok(play) => planned.push(play),
            Err(trouble) => refused.push(*trouble),
        }
    }
    if refused.is_empty() { Ok(planned) } else { Err(refused) }
}

fn plan_play(run: &Run, play: &Arc<Play>, adjacent: Arc<Adjacent>) -> Result<Planned, Box<Diagnostic>> {
    let wrong = |trouble: Trouble, node: &Node| match trouble {
        Trouble::Wrong(diagnostic) => diagnostic,
        Trouble::NotYet(what) => {
            Box::new(Diagnostic::error(Code::VALUE, what).at(node.span, "needed before the play starts"))
        }
    };
    let mut prepared = PlayRun {
        shared: run.shared.clone(),
        play: play.clone(),
        strategy: Strategy::Linear,
        strict: false,
        force_handlers: run.shared.options.force_handlers,
        gather_facts: true,
        rolling: None,
    };
    let base = Arc::new(PlayRun { ..copy(&prepared) });
    let evaluation = Evaluation {
        play: &base,
        scope: play_scope(run, &base),
        handler: false,
    };
    let boolean = |node: &Option<Node>, what: &str, default: bool| match node {
        Some(node) => evaluation.boolean(node, what).map_err(|t| wrong(t, node)),
        None => Ok(default),
    };
    prepared.gather_facts = boolean(&play.gather_facts, "gather_facts", true)?;
    prepared.force_handlers |= boolean(&play.force_handlers, "force_handlers", false)?;
    if let (Some(node), Some(setup)) = (&play.gather_subset, modules::find("setup")) {
        // Facts come in one look whatever is asked for, so that a subset is checked and takes nothing away.
        let subset = evaluation.resolve(node).map_err(|t| wrong(t, node))?;
        let arguments = subset.map(|s| ("gather_subset".to_owned(), s)).into_iter().collect();
        let checked =
            modules::coerce(setup, &arguments).map_err(|errors| errors.into_iter().next().unwrap_or_default());
        if let Err(error) = checked.and_then(|args| modules::setup::subsets(&args)) {
            let mut diagnostic = Diagnostic::error(Code::VALUE, error.message).at(node.span, "");
            diagnostic.helps.extend(error.help);
            return Err(Box::new(diagnostic));
        }
    }
    if let Some(node) = &play.strategy {
        let text = evaluation.text(node).map_err(|t| wrong(t, node))?;
        prepared.strategy = match text.rsplit('.').next() {
            Some("linear") => Strategy::Linear,
            Some("free" | "host_pinned") => Strategy::Free,
            _ => {
                return Err(Box::new(
                    Diagnostic::error(Code::NOT_SUPPORTED, format!("strategy `{text}` is not supported yet"))
                        .at(node.span, "")
                        .help("use `linear`, `free` or `host_pinned`"),
                ));
            }
        };
    }
    let max_fail_percentage = match &play.max_fail_percentage {
        Some(node) => {
            let value = evaluation
                .resolve(node)
                .map_err(|t| wrong(t, node))?
                .unwrap_or(Value::Null);
            let text = modules::plain(&value);
            let number = text.trim().trim_end_matches('%').parse::<f64>();
            Some(number.map_err(|_| {
                Box::new(
                    Diagnostic::error(Code::VALUE, "`max_fail_percentage` must be a number")
                        .at(node.span, format!("is `{text}`")),
                )
            })?)
        }
        None => None,
    };
    prepared.strict = max_fail_percentage.is_some() || any_fatal(play) || run.shared.gate.is_some();
    let serial = match &play.serial {
        Some(node) => evaluation.resolve(node).map_err(|t| wrong(t, node))?,
        None => None,
    };
    if let (Some(value), Some(node)) = (&serial, &play.serial) {
        schedule::batches(Some(value), Vec::new())
            .map_err(|text| Box::new(Diagnostic::error(Code::VALUE, text).at(node.span, "")))?;
    }
    let hosts = evaluation
        .resolve(&play.hosts)
        .map_err(|t| wrong(t, &play.hosts))?
        .unwrap_or(Value::Null);
    let patterns = patterns(&hosts, &play.hosts);
    let mut selected = run
        .inventory
        .select(&patterns, run.limit.as_ref(), run.allow_empty)
        .map_err(Box::new)?;
    let unordered = selected.iter().map(|h| h.to_string()).collect();
    if let Some(node) = &play.order {
        let text = evaluation.text(node).map_err(|t| wrong(t, node))?;
        let order = Order::parse(&text).ok_or_else(|| {
            Box::new(
                Diagnostic::error(Code::VALUE, format!("`order` cannot be `{text}`"))
                    .at(node.span, "")
                    .help(format!(
                        "choose one of {}",
                        Order::NAMES.map(|n| format!("`{n}`")).join(", ")
                    )),
            )
        })?;
        order.apply(&mut selected, run.seed);
    }
    let hosts: Vec<String> = selected.iter().map(|h| h.to_string()).collect();
    let mut serial = serial;
    let rolling = match &play.rolling {
        None => None,
        Some(written) => {
            let select = |members: Option<&Node>| {
                let patterns = match members {
                    None => patterns,
                    Some(node) => {
                        let value = evaluation.resolve(node).map_err(|t| wrong(t, node))?;
                        self::patterns(&value.unwrap_or(Value::Null), node)
                    }
                };
                let members = run.inventory.select(&patterns, None, true).map_err(Box::new)?;
                Ok(members.iter().map(|h| h.to_string()).collect())
            };
            Rolling::plan(written, &evaluation, play.serial.as_ref(), select)?.map(Arc::new)
        }
    };
    if let (Some(rolling), Some(written)) = (&rolling, &play.rolling) {
        serial = rolling.serial().or(serial);
        let batches = schedule::batches(serial.as_ref(), rolling.members.clone()).unwrap_or_default();
        let widest = batches.iter().map(Vec::len).max().unwrap_or_default();
        if let Some(why) = rolling.too_wide(widest) {
            let node = written.width.as_ref().or(play.serial.as_ref());
            return Err(Box::new(
                Diagnostic::error(Code::MAJORITY, "too many nodes at a time")
                    .at(node.map_or(written.span, |n| n.span), why),
            ));
        }
    }
    // Only what is changed is taken down.
    prepared.rolling = rolling.clone().filter(|_| run.shared.mode == Mode::Apply);
    Ok(Planned {
        play: Arc::new(prepared),
        hosts,
        unordered,
        serial,
        max_fail_percentage,
        adjacent,
        vars_files: play.vars_files.clone(),
        rolling,
    })
}

/// Host patterns, with their places where they are written one by one.
fn patterns(value: &Value, node: &Node) -> Vec<Pattern> {
    let one = |value: &Value, span| Pattern {
        text: modules::plain(value),
        span: Some(span),
    };
    match (value, node.as_seq()) {
        (Value::Array(list), Some(nodes)) if nodes.len() == list.len() => {
            list.iter().zip(nodes).map(|(v, n)| one(v, n.span)).collect()
        }
        (Value::Array(list), _) => list.iter().map(|v| one(v, node.span)).collect(),
        (value, _) => vec![one(value, node.span)],
    }
}

fn copy(play: &PlayRun) -> PlayRun {
    PlayRun {
        shared: play.shared.clone(),
        play: play.play.clone(),
        rolling: play.rolling.clone(),
        ..*play
    }
}

/// Whether some task may fail everybody.
fn any_fatal(play: &Play) -> bool {
    fn within(items: &[Item]) -> bool {
        items.iter().any(|item| match item {
            Item::Task(task) => task.chain.iter().any(|c| c.any_errors_fatal.is_some()),
            Item::Block(block) => within(&block.block) || within(&block.rescue) || within(&block.always),
        })
    }
    play.common.any_errors_fatal.is_some()
        || [
            &play.pre_checks,
            &play.pre_tasks,
            &play.tasks,
            &play.post_tasks,
            &play.post_checks,
            &play.handlers,
        ]
        .into_iter()
        .any(|items| within(items))
}

fn directory(path: &str) -> String {
    match path.rsplit_once('/') {
        Some(("", _)) => "/".to_owned(),
        Some((directory, _)) => directory.to_owned(),
        None => ".".to_owned(),
    }
}

/// Variables that are the same for all hosts of a play. Hosts: all of the play, those not lost in earlier batches,
/// those of the batch; whoever is lost while the batch runs is taken away where a task looks.
fn play_magic(run: &Run, play: &Play, [all, left, batch]: [&[String]; 3]) -> HashMap<String, Arc<Value>> {
    let options = &run.shared.options;
    let groups: serde_json::Map<String, Value> = run
        .inventory
        .groups()
        .iter()
        .map(|(name, hosts)| {
            (
                name.clone(),
                Value::from(hosts.iter().map(|h| h.to_string()).collect::<Vec<_>>()),
            )
        })
        .collect();
    let playbook_dir = run.shared.files.absolute(&directory(&play.path));
    let tags = if options.tags.is_empty() {
        vec!["all".to_owned()]
    } else {
        options.tags.clone()
    };
    let name = match (&play.name, play.hosts.as_seq()) {
        (Some(name), _) => modules::plain(&name.to_value()),
        (None, Some(hosts)) => hosts
            .iter()
            .map(|h| modules::plain(&h.to_value()))
            .collect::<Vec<_>>()
            .join(","),
        (None, None) => modules::plain(&play.hosts.to_value()),
    };
    let mut roles: Vec<&str> = play.roles.iter().map(|r| &*r.name).collect();
    roles.sort_unstable();
    roles.dedup();
    let limit = run
        .limit
        .as_ref()
        .map(|limit| ("ansible_limit", Value::from(limit.text())));
    [
        ("groups", Value::Object(groups)),
        ("playbook_dir", Value::from(playbook_dir)),
        ("ansible_check_mode", Value::Bool(run.shared.mode == Mode::Diff)),
        ("ansible_diff_mode", Value::Bool(run.shared.mode == Mode::Diff)),
        ("ansible_verbosity", Value::from(options.verbosity)),
        ("ansible_forks", Value::from(run.forks)),
        ("ansible_run_tags", Value::from(tags)),
        ("ansible_skip_tags", Value::from(options.skip_tags.clone())),
        ("ansible_play_name", Value::from(name)),
        ("ansible_play_hosts", Value::from(left.to_vec())),
        ("ansible_play_hosts_all", Value::from(all.to_vec())),
        ("ansible_play_batch", Value::from(batch.to_vec())),
        ("play_hosts", Value::from(batch.to_vec())),
        ("ansible_role_names", Value::from(roles.clone())),
        ("ansible_play_role_names", Value::from(roles.clone())),
        ("role_names", Value::from(roles)),
        (
            "ansible_version",
            serde_json::json!({"full": "2.19.14", "major": 2, "minor": 19, "revision": 14, "string": "2.19.14"}),
        ),
        ("rmqplay_version", Value::from(env!("CARGO_PKG_VERSION"))),
    ]
    .into_iter()
    .chain(limit)
    .map(|(name, value)| (name.to_owned(), Arc::new(value)))
    .collect()
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
        for host in &mut runs {
            fleet.produced.insert(host.name.clone(), host.produced.clone());
            fleet
                .overlays
                .insert(host.name.clone(), std::mem::take(&mut host.overlay));
            let lost = matches!(host.state, State::Failed | State::Unreachable);
            if lost && (!end.clear_errors || host.state == State::Unreachable) {
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

/// Hosts of a batch with their variables and targets.
fn prepare(
    run: &Run,
    planned: &Planned,
    batch: &[String],
    magic: &Arc<HashMap<String, Arc<Value>>>,
    fleet: &Fleet,
) -> Result<Prepared, Vec<Diagnostic>> {
    let play = &planned.play;
    let mut refused = Vec::new();
    let mut runs = Vec::new();
    let mut targets = HashMap::new();
    let roles = &play.play.roles;
    let defaults: Vec<Layer> = roles.iter().map(|r| Arc::new(r.defaults.clone())).collect();
    let role_vars: Vec<Layer> = roles.iter().map(|r| Arc::new(r.vars.clone())).collect();
    let play_vars: Layer = Arc::new(play.play.common.vars.clone());
    let mut files: HashMap<String, Layer> = HashMap::new();
    // Hosts outside the play are seen through `hostvars` too.
    let inside: BTreeSet<&str> = batch.iter().map(String::as_str).collect();
    for host in run.inventory.hosts() {
        if !inside.contains(&**host) {
            let layers = layers(run, planned, host, magic, Vec::new(), Vec::new(), false);
            fleet.board.enter(Arc::new(layers), None);
        }
    }
    for name in batch {
        let produced = fleet.produced.get(name).cloned().unwrap_or_default();
        let mut high = vec![play_vars.clone()];
        let base = Arc::new(layers(run, planned, name, magic, defaults.clone(), high.clone(), false));
        let scope_of = |layers: &Arc<HostLayers>| {
            Arc::new(scope(
                layers,
                play,
                produced.clone(),
                &Pos::default(),
                None,
                &fleet.board,
            ))
        };
        let evaluation = Evaluation {
            play,
            scope: scope_of(&base),
            handler: false,
        };
        for node in &planned.vars_files {
            match vars_file(run, &play.play, &evaluation, node, &mut files) {
                Ok(layer) => high.push(layer),
                Err(diagnostic) => refused.push(*diagnostic),
            }
        }
        high.extend(role_vars.iter().cloned());
        let layers = Arc::new(layers(
            run,
            planned,
            name,
            magic,
            defaults.clone(),
            high,
            play.gather_facts,
        ));
        fleet.board.enter(layers.clone(), Some(Pos::default()));
        let evaluation = Evaluation {
            play,
            scope: scope_of(&layers),
            handler: false,
        };
        match target(run, name, &evaluation) {
            Ok(target) => {
                targets.insert(name.clone(), target);
            }
            Err(diagnostics) => refused.extend(diagnostics),
        }
        let mut host = HostRun::new(name.clone(), play.clone(), layers, produced, fleet.skipping);
        host.overlay = fleet.overlays.get(name).cloned().unwrap_or_default();
        runs.push(host);
    }
    if refused.is_empty() {
        Ok((runs, targets))
    } else {
        Err(refused)
    }
}

/// A play with its hosts and their variables, as they are before the first task.
pub struct Preview {
    pub play: Arc<PlayRun>,
    /// One without a name where the play has no hosts.
    pub hosts: Vec<Arc<HostLayers>>,
    pub board: Arc<Blackboard>,
}

/// The plays that are `wanted`, for what looks at a program without running it. A play that cannot be planned, or whose
/// files of variables cannot be read, is told and left out.
pub fn preview(run: &Run, wanted: &[bool]) -> (Vec<Preview>, Vec<Diagnostic>) {
    let mut previews = Vec::new();
    let mut refused = Vec::new();
    let mut beside: HashMap<String, Arc<Adjacent>> = HashMap::new();
    for (play, _) in run.program.plays.iter().zip(wanted).filter(|(_, wanted)| **wanted) {
        let directory = directory(&play.path);
        let load = || {
            Arc::new(
                Adjacent::load(
                    &run.inventory,
                    std::slice::from_ref(&directory),
                    &*run.shared.files,
                    &run.shared.sources,
                )
                .0,
            )
        };
        let adjacent = beside.entry(directory.clone()).or_insert_with(load).clone();
        match plan_play(run, play, adjacent)
            .map_err(|d| vec![*d])
            .and_then(|planned| preview_play(run, &planned))
        {
            Ok(preview) => previews.push(preview),
            Err(diagnostics) => refused.extend(diagnostics),
        }
    }
    (previews, refused)
}

fn preview_play(run: &Run, planned: &Planned) -> Result<Preview, Vec<Diagnostic>> {
    let play = &planned.play;
    let board: Arc<Blackboard> = Arc::default();
    let hosts = &planned.unordered;
    let mut magic = play_magic(run, &play.play, [hosts, hosts, hosts]);
    let nobody = [String::new()];
    let names = if hosts.is_empty() {
        [
            "groups",
            "ansible_play_hosts",
            "ansible_play_hosts_all",
            "ansible_play_batch",
            "play_hosts",
        ]
        .iter()
        .for_each(|name| drop(magic.remove(*name)));
        &nobody
    } else {
        hosts.as_slice()
    };
    let magic = Arc::new(magic);
    let roles = &play.play.roles;
    let defaults: Vec<Layer> = roles.iter().map(|r| Arc::new(r.defaults.clone())).collect();
    let role_vars: Vec<Layer> = roles.iter().map(|r| Arc::new(r.vars.clone())).collect();
    let play_vars: Layer = Arc::new(play.play.common.vars.clone());
    for host in run.inventory.hosts() {
        board.enter(
            Arc::new(layers(run, planned, host, &magic, Vec::new(), Vec::new(), true)),
            None,
        );
    }
    let mut files: HashMap<String, Layer> = HashMap::new();
    let mut out = Vec::new();
    let mut refused = Vec::new();
    for name in names {
        let mut host = layers(
            run,
            planned,
            name,
            &magic,
            defaults.clone(),
            vec![play_vars.clone()],
            true,
        );
        if name.is_empty() {
            host.magic.clear();
        }
        let base = Arc::new(host.clone());
        let evaluation = Evaluation {
            play,
            scope: Arc::new(scope(&base, play, Produced::default(), &Pos::default(), None, &board)),
            handler: false,
        };
        for node in &planned.vars_files {
            match vars_file(run, &play.play, &evaluation, node, &mut files) {
                Ok(layer) => host.high.push(layer),
                Err(diagnostic) => refused.push(*diagnostic),
            }
        }
        host.high.extend(role_vars.iter().cloned());
        out.push(Arc::new(host));
    }
    if refused.is_empty() {
        Ok(Preview {
            play: play.clone(),
            hosts: out,
            board,
        })
    } else {
        Err(refused)
    }
}

fn layers(
    run: &Run,
    planned: &Planned,
    host: &str,
    magic: &Arc<HashMap<String, Arc<Value>>>,
    defaults: Vec<Layer>,
    high: Vec<Layer>,
    facts_expected: bool,
) -> HostLayers {
    let inventory = &run.inventory;
    HostLayers {
        name: host.to_owned(),
        defaults,
        low: inventory
            .host_layers(host, &planned.adjacent)
            .into_iter()
            .map(|l| l.vars)
            .collect(),
        high,
        extra: run.extra.clone(),
        magic: host_magic(inventory, host),
        play_magic: magic.clone(),
        facts_expected,
    }
}

/// Variables of a host that nothing overrides.
pub(crate) fn host_magic(inventory: &Inventory, host: &str) -> HashMap<String, Arc<Value>> {
    let group_names: Vec<&str> = inventory.group_names(host);
    [
        ("inventory_hostname", Value::from(host)),
        ("inventory_hostname_short", Value::from(Inventory::short_name(host))),
        ("group_names", Value::from(group_names)),
        (
            "inventory_file",
            inventory.inventory_file(host).map_or(Value::Null, Value::from),
        ),
        (
            "inventory_dir",
            inventory.inventory_dir(host).map_or(Value::Null, Value::from),
        ),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), Arc::new(value)))
    .collect()
}

/// A `vars_files` entry: a file, or a list of which the first that exists is taken.
fn vars_file(
    run: &Run,
    play: &Play,
    evaluation: &Evaluation<'_>,
    node: &Node,
    cache: &mut HashMap<String, Layer>,
) -> Result<Layer, Box<Diagnostic>> {
    let single = std::slice::from_ref(node);
    let mut tried = Vec::new();
    for candidate in node.as_seq().unwrap_or(single) {
        let text = evaluation.text(candidate).map_err(|trouble| match trouble {
            Trouble::Wrong(diagnostic) => diagnostic,
            Trouble::NotYet(what) => {
                Box::new(Diagnostic::error(Code::VALUE, "`vars_files` cannot depend on facts").at(candidate.span, what))
            }
        })?;
        let path = if text.starts_with('/') {
            text
        } else {
            format!("{}/{text}", directory(&play.path))
        };
        let path = path.strip_prefix("./").map_or(path.clone(), str::to_owned);
        if let Some(layer) = cache.get(&path) {
            return Ok(layer.clone());
        }
        if run.shared.files.exists(&path) {
            let mut problems = Vec::new();
            let vars = crate::inventory::read_vars(&path, &*run.shared.files, &run.shared.sources, &mut problems);
            if let Some(error) = problems.into_iter().find(Diagnostic::is_error) {
                return Err(Box::new(error));
            }
            let layer: Layer = Arc::new(vars.unwrap_or_default());
            cache.insert(path, layer.clone());
            return Ok(layer);
        }
        tried.push(path);
    }
    Err(Box::new(
        Diagnostic::error(Code::FILE, "no such file of variables")
            .at(node.span, "")
            .note(format!(
                "looked for {}",
                tried.iter().map(|p| format!("`{p}`")).collect::<Vec<_>>().join(", ")
            )),
    ))
}

/// Where the address and the user of a host were written, in words.
fn origin(address: Option<String>, user: Option<String>) -> Option<String> {
    match (address, user) {
        (Some(address), Some(user)) if address == user => Some(format!("address and user come from {address}")),
        (Some(address), Some(user)) => Some(format!("the address comes from {address}, the user from {user}")),
        (Some(address), None) => Some(format!("the address comes from {address}")),
        (None, Some(user)) => Some(format!("the user comes from {user}")),
        (None, None) => None,
    }
}

/// How to reach a host: variables, then keywords, then options, then ssh_config.
fn target(run: &Run, host: &str, evaluation: &Evaluation<'_>) -> Result<Target, Vec<Diagnostic>> {
    let mut troubles = Vec::new();
    let mut spans: HashMap<String, crate::diagnostic::Span> = HashMap::new();
    let vars = ConnectionVars::read(|name| match evaluation.scope.lookup(name) {
        Found::Trusted(node) => {
            spans.insert(name.to_owned(), node.span);
            match evaluation.resolve(&node) {
                Ok(value) => value,
                Err(Trouble::Wrong(diagnostic)) => {
                    troubles.push(*diagnostic);
                    None
                }
                Err(Trouble::NotYet(what)) => {
                    troubles.push(
                        Diagnostic::error(Code::VALUE, format!("`{name}` cannot depend on facts")).at(node.span, what),
                    );
                    None
                }
            }
        }
        Found::Data(value) => Some((*value).clone()),
        _ => None,
    });
    let vars = match vars {
        Ok(vars) if troubles.is_empty() => vars,
        Ok(_) => return Err(troubles),
        Err(bad) => {
            troubles.extend(bad.into_iter().map(|bad| {
                let diagnostic = Diagnostic::error(Code::VALUE, format!("variable `{}`: {}", bad.name, bad.message));
                match spans.get(bad.name) {
                    Some(span) => diagnostic.at(*span, format!("for host `{host}`")),
                    None => diagnostic.note(format!("for host `{host}`")),
                }
            }));
            return Err(troubles);
        }
    };
    let common = &evaluation.play.play.common;
    let keyword = |node: &Option<Node>| node.as_ref().map(|n| evaluation.text(n)).transpose();
    let words = (|| {
        Ok((
            keyword(&common.connection)?,
            keyword(&common.remote_user)?,
            keyword(&common.port)?,
        ))
    })();
    let (connection, remote_user, port) = match words {
        Ok(words) => words,
        Err(Trouble::Wrong(diagnostic)) => return Err(vec![*diagnostic]),
        Err(Trouble::NotYet(what)) => return Err(vec![Diagnostic::error(Code::VALUE, what)]),
    };
    let local = match (
        vars.local,
        connection.as_deref().map(|c| c.rsplit('.').next().unwrap_or(c)),
    ) {
        (Some(local), _) => local,
        (None, Some("local")) => true,
        (None, Some("ssh" | "smart")) => false,
        (None, Some(other)) => {
            let span = common.connection.as_ref().map_or(evaluation.play.play.span, |n| n.span);
            return Err(vec![
                Diagnostic::error(
                    Code::NOT_SUPPORTED,
                    format!("connection `{other}` is not supported yet"),
                )
                .at(span, "")
                .help("use `ssh` or `local`"),
            ]);
        }
        (None, None) => run.reach.local || run.inventory.is_implicit(host),
    };
    let connect_timeout_s = vars.connect_timeout_s.unwrap_or(run.reach.connect_timeout_s);
    if local {
        return Ok(Target {
            name: host.to_owned(),
            connection: Connection::Local,
            connect_timeout_s,
            origin: None,
        });
    }
    let place = |names: &[&str]| {
        let span = names.iter().find_map(|name| spans.get(*name))?;
        run.shared.sources.locate(*span).map(|location| location.to_string())
    };
    let origin = origin(
        place(&["ansible_ssh_host", "ansible_host"]),
        place(&["ansible_ssh_user", "ansible_user"]),
    );
    let mut args = if vars.common_args.is_empty() {
        run.reach.common_args.clone()
    } else {
        vars.common_args
    };
    args.extend(vars.extra_args);
    let ssh = SshTarget {
        address: vars.host.unwrap_or_else(|| host.to_owned()),
        port: vars.port.or_else(|| port.and_then(|p| p.trim().parse().ok())),
        user: vars.user.or(remote_user).or_else(|| run.reach.user.clone()),
        private_key_file: vars.private_key_file.or_else(|| run.reach.private_key.clone()),
        args,
        accept_any_host_key: vars
            .host_key_checking
            .map_or(run.reach.accept_any_host_key, |checking| !checking),
        persist_s: run.reach.persist_s,
    };
    Ok(Target {
        name: host.to_owned(),
        connection: Connection::Ssh(ssh),
        connect_timeout_s,
        origin,
    })
}
