//! Random inventories, with depth, priorities, several sources and files of variables; random patterns over them.

use crate::against_ansible::{Answer, Compare, Job, Selected, check, same};
use crate::cases::Disk;
use rmqplay::diagnostic::SourceMap;
use rmqplay::inventory::{Adjacent, Inventory};
use serde_json::Value;
use std::fmt::Write;
use std::path::Path;

/// A generator that needs no crate and gives the same everywhere.
pub struct Lcg(pub u64);

impl Lcg {
    /// 0 to `n` - 1.
    pub fn below(&mut self, n: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % n
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }
}

const GROUPS: usize = 9;
const HOSTS: usize = 7;

/// Each key in one of `rarity` places, so that no level hides all below it.
fn vars(random: &mut Lcg, rarity: usize, place: &str) -> Vec<String> {
    let keys = ["s", "t", "u", "v", "w", "x", "y", "z"];
    let chosen: Vec<&str> = keys.into_iter().filter(|_| random.one_in(rarity)).collect();
    chosen.into_iter().map(|key| format!("{key}={place}")).collect()
}

/// Groups only hold groups of higher numbers, and names do not sort as numbers do.
fn group(n: usize) -> String {
    format!("g{}{n}", ["z", "m", "a"][n % 3])
}

fn ini(random: &mut Lcg, source: &str) -> String {
    let mut text = String::new();
    for host in 0..HOSTS {
        if random.one_in(3) {
            writeln!(
                text,
                "h{host} {}",
                vars(random, 20, &format!("{source}_h{host}")).join(" ")
            )
            .unwrap();
        }
    }
    for n in 0..GROUPS {
        let name = group(n);
        writeln!(text, "[{name}]").unwrap();
        for host in 0..HOSTS {
            if random.one_in(4) {
                writeln!(
                    text,
                    "h{host} {}",
                    vars(random, 20, &format!("{source}_{name}_h{host}")).join(" ")
                )
                .unwrap();
            }
        }
        writeln!(text, "[{name}:vars]").unwrap();
        if random.one_in(4) {
            writeln!(text, "ansible_group_priority={}", random.below(4)).unwrap();
        }
        text += &(vars(random, 2, &format!("{source}_{name}")).join("\n") + "\n");
        writeln!(text, "[{name}:children]").unwrap();
        for child in n + 1..GROUPS {
            if random.one_in(4) {
                writeln!(text, "{}", group(child)).unwrap();
            }
        }
    }
    text
}

fn vars_files(random: &mut Lcg, dir: &Path, source: &str) {
    let groups = (0..GROUPS).map(group).chain(["all".to_owned(), "ungrouped".to_owned()]);
    let hosts = (0..HOSTS).map(|n| format!("h{n}"));
    for (kind, name) in groups.map(|g| ("group_vars", g)).chain(hosts.map(|h| ("host_vars", h))) {
        if random.one_in(3) {
            let text: String = vars(random, 9, &format!("{source}_file_{name}"))
                .iter()
                .map(|v| v.replacen('=', ": ", 1) + "\n")
                .collect();
            std::fs::create_dir_all(dir.join(kind)).unwrap();
            std::fs::write(dir.join(kind).join(format!("{name}.yml")), text).unwrap();
        }
    }
}

/// No subscripts: they depend on an order that is chance in Ansible. Everything named exists.
fn pattern(random: &mut Lcg) -> String {
    let parts: Vec<String> = (0..1 + random.below(4))
        .map(|_| {
            let sign = ["", "", "&", "!"][random.below(4)];
            let name = match random.below(6) {
                0 => "all".to_owned(),
                1 => "g*".to_owned(),
                2 => format!("~g[{}].*", ["z", "mz", "a-m"][random.below(3)]),
                3 => "ungrouped".to_owned(),
                _ => group(random.below(GROUPS)),
            };
            format!("{sign}{name}")
        })
        .collect();
    parts.join([":", ","][random.below(2)])
}

struct Made {
    dir: tempfile::TempDir,
    inventory: Inventory,
    playbook: Adjacent,
    patterns: Vec<String>,
}

fn make(seed: u64) -> Made {
    let random = &mut Lcg(seed);
    let dir = tempfile::tempdir().unwrap();
    for source in ["one", "two"] {
        std::fs::create_dir(dir.path().join(source)).unwrap();
        std::fs::write(dir.path().join(source).join("hosts"), ini(random, source)).unwrap();
        vars_files(random, &dir.path().join(source), source);
    }
    vars_files(random, &dir.path().join("play"), "play");
    std::fs::create_dir_all(dir.path().join("play")).unwrap();
    let (map, files) = (SourceMap::default(), Disk(dir.path().to_owned()));
    let sources = ["one/hosts".to_owned(), "two".to_owned()];
    let (inventory, diagnostics) = Inventory::load(&sources, &files, &map);
    assert!(diagnostics.is_empty(), "{diagnostics:#?}");
    let (playbook, diagnostics) = Adjacent::load(&inventory, &["play".to_owned()], &files, &map);
    assert!(diagnostics.is_empty(), "{diagnostics:#?}");
    let patterns = (0..40).map(|_| pattern(random)).collect();
    Made {
        dir,
        inventory,
        playbook,
        patterns,
    }
}

#[test]
fn random_inventories_and_patterns() {
    let made: Vec<Made> = (0..16).map(make).collect();
    let job = |made: &Made, argv: &[&str]| Job {
        cwd: made.dir.path().to_str().unwrap().to_owned(),
        argv: argv.iter().map(|a| (*a).to_owned()).collect(),
    };
    let list = [
        "ansible-inventory",
        "-i",
        "one/hosts",
        "-i",
        "two",
        "--playbook-dir",
        "play",
        "--list",
    ];
    let lists = made.iter().map(|made| {
        let compare = |answer: &Answer| {
            let theirs: Value = serde_json::from_str(&answer.out).map_err(|e| format!("{e}: {answer:?}"))?;
            same(&theirs, &made.inventory.list_json(&made.playbook, None))
        };
        let compare: Compare = Box::new(compare);
        (job(made, &list), compare)
    });
    let selections = made.iter().map(|made| {
        let questions: Vec<(&String, Option<&str>)> = made.patterns.iter().map(|p| (p, None)).collect();
        let compare = |answer: &Answer| {
            let theirs: Vec<Selected> = serde_json::from_str(&answer.out).map_err(|e| format!("{e}: {answer:?}"))?;
            let sorted = |mut names: Vec<String>| {
                names.sort();
                names
            };
            for (pattern, theirs) in made.patterns.iter().zip(theirs) {
                let ours = made
                    .inventory
                    .select(&[pattern.as_str().into()], None, true)
                    .map_err(|d| d.message)?;
                let ours = sorted(ours.iter().map(|h| h.to_string()).collect());
                same(&sorted(theirs.hosts.unwrap_or_default()), &ours).map_err(|why| format!("{pattern}\n{why}"))?;
            }
            Ok(())
        };
        let compare: Compare = Box::new(compare);
        let questions = serde_json::to_string(&questions).unwrap();
        (job(made, &["select", &questions, "one/hosts", "two"]), compare)
    });
    check(lists.chain(selections).collect());
}
