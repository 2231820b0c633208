//! A host of a play: its variables, and how it is reached.

use super::plan::directory;
use super::*;

/// Hosts of a batch with their variables and targets.
pub(super) fn prepare(
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
    let at_controller = targets
        .values()
        .any(|target| matches!(target.connection, Connection::Local));
    for host in &mut runs {
        host.at_controller = at_controller;
    }
    if refused.is_empty() {
        Ok((runs, targets))
    } else {
        Err(refused)
    }
}

pub(super) fn layers(
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
        told: Default::default(),
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
pub(super) fn vars_file(
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
