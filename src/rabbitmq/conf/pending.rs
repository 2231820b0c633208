//! What a change of configuration asks of a running node: nothing, a command while it runs, or a restart.

use super::node::{Difference, Running};
use super::value::integer;
use super::{Line, schema};
use crate::rabbitmq::Version;
use std::collections::{BTreeMap, BTreeSet};

/// What is to be done to the running node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pending {
    pub live: Vec<Live>,
    /// What only a restart changes.
    pub restart: Vec<Changed>,
}

/// Arguments of a `rabbitmqctl` that brings a setting into force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Live {
    pub changed: Changed,
    pub arguments: Vec<String>,
}

/// A key, with what is asked for and what there is, as far as known; nothing of secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changed {
    pub key: String,
    pub from: String,
    pub to: String,
}

/// Read only when a node starts for the first time, or joins: later they change nothing (docs: access-control, cluster-formation).
const FIRST_START: &[&str] = &[
    "default_user",
    "default_pass",
    "default_user_tags.",
    "default_permissions.",
    "default_vhost",
    "default_users.",
    "cluster_formation.classic_config.nodes.",
    "cluster_formation.discovery_retry_",
    "cluster_formation.randomized_startup_delay_range.",
];

const MEMORY: &str = "vm_memory_high_watermark";
const DISK: &str = "disk_free_limit";
const LOG: &str = "log.file.level";

/// From the files as the node would read them `before` and `after` a change, and what it said of those before (`None`: it was
/// not asked).
pub fn pending(before: &[Line], after: &[Line], running: Option<&Running>, version: Option<Version>) -> Pending {
    let (differences, stale): (&[Difference], bool) = match running {
        // What stands in the files is what it will start with.
        Some(Running::No) => return Pending::default(),
        Some(Running::Yes { differences, stale }) => (differences, *stale),
        None | Some(Running::Unreadable(_)) => (&[], true),
    };
    let live = |key: &str| [MEMORY, DISK, LOG].iter().any(|base| is_below(key, base));
    let (old, new) = (effective(before), effective(after));
    let mut changed: BTreeMap<String, Changed> = BTreeMap::new();
    for difference in differences.iter().filter(|d| stale || live(&d.key)) {
        // `ssl_options` for a key below that is no longer set.
        changed.insert(
            difference.key.clone(),
            Changed {
                key: difference.key.clone(),
                from: difference.running.clone(),
                to: difference.wanted.clone(),
            },
        );
    }
    let keys: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    for key in keys {
        let (from, to) = (old.get(key), new.get(key));
        if from != to {
            let shown = |value: Option<&String>| match value {
                Some(_) if schema::is_secret(key) => "(secret)".to_owned(),
                Some(value) => value.clone(),
                None => "(default)".to_owned(),
            };
            let running = changed.remove(key).map(|c| c.from);
            // Back to what it still runs with.
            if running.is_some() && running.as_ref() == to {
                continue;
            }
            changed.insert(
                key.clone(),
                Changed {
                    key: key.clone(),
                    from: running.unwrap_or_else(|| shown(from)),
                    to: shown(to),
                },
            );
        }
    }
    changed.retain(|key, _| {
        !FIRST_START
            .iter()
            .any(|f| key == f || (!f.ends_with(|c: char| c.is_alphanumeric()) && key.starts_with(f)))
    });
    let mut out = Pending::default();
    for base in [MEMORY, DISK, LOG] {
        let Some(first) = changed.values().find(|c| is_below(&c.key, base)).cloned() else {
            continue;
        };
        if let Some((to, arguments)) = command(base, &new, version) {
            changed.retain(|key, _| !is_below(key, base));
            out.live.push(Live {
                changed: Changed {
                    key: base.to_owned(),
                    from: first.from,
                    to,
                },
                arguments,
            });
        }
    }
    out.restart = changed.into_values().collect();
    if !stale && old == new {
        // It has read these files: a restart would change nothing.
        out.restart.clear();
    }
    out
}

fn is_below(key: &str, base: &str) -> bool {
    key.strip_prefix(base)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// Of a key that is set twice, the last.
fn effective(lines: &[Line]) -> BTreeMap<String, String> {
    let settings = lines.iter().filter_map(|line| match line {
        Line::Setting(s) => Some((s.key.clone(), s.value.clone()?)),
        Line::Include { .. } => None,
    });
    settings.collect()
}

/// The value to be in force, and the command for it; `None`: not while it runs.
fn command(base: &str, wanted: &BTreeMap<String, String>, version: Option<Version>) -> Option<(String, Vec<String>)> {
    let get = |suffix: &str| wanted.get(&format!("{base}{suffix}")).map(String::as_str);
    let words = |words: &[&str]| words.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>();
    match base {
        MEMORY => {
            if let Some(bytes) = get(".absolute") {
                return Some((
                    bytes.to_owned(),
                    words(&["set_vm_memory_high_watermark", "absolute", bytes]),
                ));
            }
            // Without a file: PROJECT_ENV of the releases.
            let default = if version? < Version::new(4, 0, 0) { "0.4" } else { "0.6" };
            let share = get(".relative").unwrap_or(default);
            Some((share.to_owned(), words(&["set_vm_memory_high_watermark", share])))
        }
        DISK => {
            if let Some(share) = get(".relative").filter(|_| get(".absolute").is_none()) {
                return Some((share.to_owned(), words(&["set_disk_free_limit", "mem_relative", share])));
            }
            let bytes = get(".absolute").unwrap_or("50000000");
            Some((bytes.to_owned(), words(&["set_disk_free_limit", bytes])))
        }
        _ => {
            // The command sets the level of every output and category.
            let others = wanted
                .keys()
                .any(|k| k != LOG && k.starts_with("log.") && k.ends_with(".level"));
            let level = get("").unwrap_or("info");
            (!others && integer(level).is_none()).then(|| (level.to_owned(), words(&["set_log_level", level])))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Target, parse};
    use super::*;
    use crate::diagnostic::FileId;

    const V4: Option<Version> = Some(Version::new(4, 0, 5));

    fn of(before: &str, after: &str, differences: &[Difference]) -> (Vec<String>, Vec<String>) {
        let lines = |text: &str| parse(FileId(0), text, &Target::new(V4), &mut Vec::new());
        let running = Running::Yes {
            differences: differences.to_vec(),
            stale: true,
        };
        let found = pending(&lines(before), &lines(after), Some(&running), V4);
        let live = found.live.iter().map(|l| l.arguments.join(" ")).collect();
        let shown = |c: &Changed| format!("{}: {} -> {}", c.key, c.from, c.to);
        (live, found.restart.iter().map(shown).collect())
    }

    fn differs(key: &str, wanted: &str, running: &str) -> Difference {
        Difference {
            key: key.to_owned(),
            is_set: true,
            wanted: wanted.to_owned(),
            running: running.to_owned(),
        }
    }

    #[test]
    fn comments_order_and_first_users_ask_nothing() {
        let before = "a = 1\nheartbeat = 20\n";
        assert_eq!(of(before, "# x\nheartbeat=20 # y\na = 1\n", &[]), (vec![], vec![]));
        assert_eq!(
            of(
                before,
                &format!("{before}default_pass = x\ndefault_user_tags.a = true\n"),
                &[]
            ),
            (vec![], vec![])
        );
    }

    #[test]
    fn what_can_be_set_is_set_and_the_rest_wants_a_restart() {
        let (live, restart) = of(
            "vm_memory_high_watermark.relative = 0.4\nheartbeat = 60\ndisk_free_limit.absolute = 100\nssl_options.password = a\n",
            "vm_memory_high_watermark.absolute = 1000\nheartbeat = 20\nlog.file.level = warning\nssl_options.password = b\n",
            &[],
        );
        assert_eq!(
            live,
            [
                "set_vm_memory_high_watermark absolute 1000",
                "set_disk_free_limit 50000000",
                "set_log_level warning"
            ]
        );
        assert_eq!(
            restart,
            ["heartbeat: 60 -> 20", "ssl_options.password: (secret) -> (secret)"]
        );
    }

    #[test]
    fn a_level_among_others_wants_a_restart() {
        let before = "log.connection.level = error\n";
        let (live, restart) = of(before, &format!("{before}log.file.level = debug\n"), &[]);
        assert_eq!(
            (live.len(), restart.as_slice()),
            (0, &["log.file.level: (default) -> debug".to_owned()][..])
        );
    }

    #[test]
    fn what_the_node_runs_with_counts() {
        let text = "heartbeat = 20\nvm_memory_high_watermark.relative = 0.6\n";
        let differences = [
            differs("heartbeat", "20", "60"),
            differs("vm_memory_high_watermark.relative", "0.6", "0.3"),
        ];
        let (live, restart) = of(text, text, &differences);
        assert_eq!(live, ["set_vm_memory_high_watermark 0.6"]);
        assert_eq!(restart, ["heartbeat: 60 -> 20"]);
        // Back to what it runs with.
        let after = text.replace("20", "60");
        assert_eq!(of(text, &after, &differences).1, Vec::<String>::new());
    }

    #[test]
    fn a_node_that_has_read_its_files_wants_no_restart() {
        let lines = parse(FileId(0), "heartbeat = 20\n", &Target::new(V4), &mut Vec::new());
        let running = |stale| Running::Yes {
            differences: vec![
                differs("heartbeat", "20", "60"),
                differs("disk_free_limit.relative", "50000000", "1"),
            ],
            stale,
        };
        let of = |running| pending(&lines, &lines, Some(&running), V4);
        assert_eq!((of(running(true)).restart.len(), of(running(true)).live.len()), (1, 1));
        assert_eq!(
            (of(running(false)).restart.len(), of(running(false)).live.len()),
            (0, 1)
        );
        assert_eq!(of(Running::No), Pending::default());
    }
}
