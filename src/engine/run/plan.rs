//! Plays, with their hosts and what is said of them before any host is reached.

use super::*;

/// A play with its hosts, before anything runs.
pub(super) struct Planned {
    pub(super) play: Arc<PlayRun>,
    pub(super) hosts: Vec<String>,
    /// As the inventory has them, whatever `order` says.
    pub(super) unordered: Vec<String>,
    pub(super) serial: Option<Value>,
    pub(super) max_fail_percentage: Option<f64>,
    pub(super) adjacent: Arc<Adjacent>,
    pub(super) vars_files: Vec<Node>,
    pub(super) rolling: Option<Arc<Rolling>>,
}

/// Evaluates what must be known before the first host is touched; all mistakes at once.
pub(super) fn plan(run: &Run) -> Result<Vec<Planned>, Vec<Diagnostic>> {
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

pub(super) fn plan_play(run: &Run, play: &Arc<Play>, adjacent: Arc<Adjacent>) -> Result<Planned, Box<Diagnostic>> {
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

/// The scope of a play's own keywords: `-e` and the play's variables.
pub(super) fn play_scope(run: &Run, play: &Arc<PlayRun>) -> Arc<TaskScope> {
    let layers = HostLayers {
        name: String::new(),
        defaults: Vec::new(),
        low: Vec::new(),
        high: vec![Arc::new(play.play.common.vars.clone())],
        extra: run.extra.clone(),
        magic: HashMap::new(),
        play_magic: Arc::new(play_magic(run, &play.play, [&[], &[], &[]])),
        facts_expected: false,
        told: Default::default(),
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

/// Variables that are the same for all hosts of a play. Hosts: all of the play, those not lost in earlier batches,
/// those of the batch; whoever is lost while the batch runs is taken away where a task looks.
pub(super) fn play_magic(run: &Run, play: &Play, [all, left, batch]: [&[String]; 3]) -> HashMap<String, Arc<Value>> {
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
    let direct = play.roles.iter().filter(|r| r.user.is_none());
    let direct: Vec<&str> = direct.map(|r| &*r.name).collect();
    let needed = play.roles.iter().filter(|r| r.user.is_some());
    let mut needed: Vec<&str> = needed.map(|r| &*r.name).collect();
    needed.sort_unstable();
    needed.dedup();
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
        ("ansible_role_names", Value::from(roles)),
        ("ansible_play_role_names", Value::from(direct.clone())),
        ("ansible_dependent_role_names", Value::from(needed)),
        ("role_names", Value::from(direct)),
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

/// Host patterns, with their places where they are written one by one.
pub(super) fn patterns(value: &Value, node: &Node) -> Vec<Pattern> {
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
            Item::RoleEnd(_) => false,
        })
    }
    play.common.any_errors_fatal.is_some() || play.sections().into_iter().any(|items| within(items))
}

pub(super) fn directory(path: &str) -> String {
    match path.rsplit_once('/') {
        Some(("", _)) => "/".to_owned(),
        Some((directory, _)) => directory.to_owned(),
        None => ".".to_owned(),
    }
}
