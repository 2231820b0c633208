//! What a run would do, told without a host: for `--list-tasks` and the like, and for `lint`.

use super::host::{layers, vars_file};
use super::plan::{directory, plan_play, play_magic, play_scope};
use super::*;

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

pub(super) fn collect(items: &[Item], evaluation: &Evaluation<'_>, tasks: &mut Vec<(String, Vec<String>)>) {
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
            Item::RoleEnd(_) => {}
        }
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
