//! The same inventory, the same question, the same answer.

use crate::cases::{self, Case, Loaded};
use crate::oracle;
use rmqplay::inventory::{HostName, Inventory, Limit, Order, Pattern};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

#[derive(Serialize)]
pub struct Job {
    pub cwd: String,
    pub argv: Vec<String>,
}

#[derive(Debug, Deserialize)]
pub struct Answer {
    pub out: String,
    pub err: String,
}

impl Job {
    fn new(case: &Case, program: &str, arguments: &[&str]) -> Job {
        let arguments = arguments.iter().map(|a| (*a).to_owned());
        Job {
            cwd: case.dir.to_str().unwrap().to_owned(),
            argv: [program.to_owned()]
                .into_iter()
                .chain(case.options())
                .chain(arguments)
                .collect(),
        }
    }
}

fn ask(jobs: &[Job]) -> Vec<Answer> {
    let out = oracle::python(include_str!("commands.py"), &serde_json::to_string(jobs).unwrap());
    serde_json::from_str(&out).unwrap()
}

/// What Ansible is asked of a case, and how our answer is compared with its own.
pub type Check<'a> = (Job, Compare<'a>);
pub type Compare<'a> = Box<dyn Fn(&Answer) -> Result<(), String> + 'a>;

/// All differences of all cases, at once.
pub fn check(checks: Vec<Check>) {
    let (jobs, compare): (Vec<Job>, Vec<_>) = checks.into_iter().unzip();
    let answers = ask(&jobs);
    let differences: Vec<String> = jobs
        .iter()
        .zip(&answers)
        .zip(compare)
        .filter_map(|((job, answer), compare)| {
            let place = format!("{} $ {}", job.cwd.rsplit('/').next().unwrap(), job.argv.join(" "));
            compare(answer).err().map(|why| format!("{place}\n{why}\n"))
        })
        .collect();
    assert!(
        differences.is_empty(),
        "{} differences\n\n{}",
        differences.len(),
        differences.join("\n")
    );
}

pub fn same<T: PartialEq + std::fmt::Debug>(ansible: &T, ours: &T) -> Result<(), String> {
    if ansible == ours {
        Ok(())
    } else {
        Err(format!("ansible: {ansible:#?}\nours: {ours:#?}"))
    }
}

fn parsed(answer: &Answer) -> Result<Value, String> {
    serde_json::from_str(&answer.out).map_err(|e| format!("{e}: {answer:?}"))
}

fn good_cases() -> Vec<(Case, Loaded)> {
    let load = |case: Case| {
        let loaded = case.load();
        (case, loaded)
    };
    let cases: Vec<_> = cases::all()
        .into_iter()
        .filter(|c| c.errors.is_empty())
        .map(load)
        .collect();
    assert!(cases.len() >= 25, "the corpus is gone");
    for (case, loaded) in &cases {
        let errors: Vec<_> = loaded.diagnostics.iter().filter(|d| d.is_error()).collect();
        assert!(errors.is_empty(), "{}: {errors:#?}", case.name);
    }
    cases
}

#[test]
fn lists_graphs_and_hosts() {
    let cases = good_cases();
    let mut checks: Vec<Check> = Vec::new();
    for (case, loaded) in &cases {
        let Loaded {
            inventory, playbook, ..
        } = loaded;
        checks.push((
            Job::new(case, "ansible-inventory", &["--list"]),
            Box::new(|answer| same(&parsed(answer)?, &inventory.list_json(playbook, None))),
        ));
        checks.push((
            Job::new(case, "ansible-inventory", &["--graph"]),
            Box::new(|answer| {
                same(
                    &answer.out.as_str(),
                    &format!("{}\n", inventory.graph("all").unwrap()).as_str(),
                )
            }),
        ));
        for host in &case.hosts {
            checks.push((
                Job::new(case, "ansible-inventory", &["--host", host]),
                Box::new(|answer| {
                    let mut theirs = parsed(answer)?;
                    // We need none on the implicit localhost.
                    theirs.as_object_mut().unwrap().remove("ansible_python_interpreter");
                    same(&theirs, &inventory.host_json(host, playbook))
                }),
            ));
        }
    }
    check(checks);
}

#[test]
fn limited_lists() {
    let cases = good_cases();
    let (case, loaded) = cases.iter().find(|(c, _)| c.name == "ini_forward").unwrap();
    let Loaded {
        inventory, playbook, ..
    } = loaded;
    let hosts = inventory.select(&["leaf_b".into()], None, false).unwrap();
    check(vec![
        (
            Job::new(case, "ansible-inventory", &["--list", "--limit", "leaf_b"]),
            Box::new(|answer| same(&parsed(answer)?, &inventory.list_json(playbook, Some(&hosts)))),
        ),
        (
            Job::new(case, "ansible-inventory", &["--graph", "mid_b"]),
            Box::new(|answer| {
                same(
                    &answer.out.as_str(),
                    &format!("{}\n", inventory.graph("mid_b").unwrap()).as_str(),
                )
            }),
        ),
    ]);
}

/// What Ansible answers to one pattern.
#[derive(Debug, Deserialize)]
pub struct Selected {
    pub hosts: Option<Vec<String>>,
    pub said: Vec<String>,
}

fn compare_pattern(loaded: &Loaded, case: &cases::PatternCase, theirs: &Selected, ordered: bool) -> Result<(), String> {
    let (pattern, limit, error) = case.parts();
    let select = |allow_empty| {
        let limit = limit.map(|l| Limit::parse(l, &loaded.files, &loaded.map)).transpose()?;
        loaded
            .inventory
            .select(&[Pattern::from(pattern)], limit.as_ref(), allow_empty)
    };
    let sort = |mut names: Vec<String>| {
        if !ordered {
            names.sort();
        }
        Some(names)
    };
    let names = |hosts: Vec<HostName>| sort(hosts.iter().map(|h| h.to_string()).collect());
    let theirs_hosts = theirs.hosts.clone().and_then(sort);
    match (select(false), error) {
        // To choose no host at all is an error to the command lines, with these very hosts.
        (Ok(ours), None) => same(&theirs_hosts.unwrap_or_default(), &names(ours).unwrap_or_default()),
        (Err(ours), Some(expected)) => {
            same(&expected, &ours.message.as_str())?;
            same(&true, &!theirs.said.is_empty())?;
            // Where Ansible goes on, it goes on with what we have when we are told to.
            match (select(true), &theirs_hosts) {
                (Ok(ours), Some(_)) => same(&theirs_hosts, &names(ours)),
                (Ok(ours), None) => same(&Some(Vec::new()), &names(ours)),
                (Err(_), _) => same(&theirs_hosts, &None),
            }
        }
        (ours, expected) => Err(format!(
            "ours: {ours:?}\nexpected error: {expected:?}\nansible: {theirs:?}"
        )),
    }
}

#[test]
fn patterns() {
    let cases: Vec<_> = good_cases()
        .into_iter()
        .filter(|(c, _)| !c.patterns.is_empty())
        .collect();
    let count: usize = cases.iter().map(|(c, _)| c.patterns.len()).sum();
    assert!(count >= 100, "the corpus is gone");
    let checks = cases.iter().map(|(case, loaded)| {
        let questions: Vec<_> = case.patterns.iter().map(|p| (p.parts().0, p.parts().1)).collect();
        let questions = serde_json::to_string(&questions).unwrap();
        let argv = ["select".to_owned(), questions]
            .into_iter()
            .chain(case.sources.iter().cloned());
        let job = Job {
            cwd: case.dir.to_str().unwrap().to_owned(),
            argv: argv.collect(),
        };
        let compare = move |answer: &Answer| {
            let theirs: Vec<Selected> = serde_json::from_str(&answer.out).map_err(|e| format!("{e}: {answer:?}"))?;
            let differences: Vec<String> = case
                .patterns
                .iter()
                .zip(&theirs)
                .filter_map(|(pattern, theirs)| {
                    let why = compare_pattern(loaded, pattern, theirs, !case.order_is_chance).err()?;
                    Some(format!("{:?}\n{why}", pattern.parts()))
                })
                .collect();
            if differences.is_empty() {
                Ok(())
            } else {
                Err(differences.join("\n"))
            }
        };
        let compare: Compare = Box::new(compare);
        (job, compare)
    });
    check(checks.collect());
}

#[test]
fn what_ansible_refuses_is_refused() {
    let cases: Vec<Case> = cases::all().into_iter().filter(|c| !c.errors.is_empty()).collect();
    assert!(cases.len() >= 15, "the corpus is gone");
    let checks = cases.iter().map(|case| {
        let errors: Vec<String> = case
            .load()
            .diagnostics
            .into_iter()
            .filter(|d| d.is_error())
            .map(|d| d.message)
            .collect();
        let compare = move |answer: &Answer| {
            same(&case.errors, &errors)?;
            let refused = ["Failed to parse", "Unable to parse", "ERROR"]
                .iter()
                .any(|word| answer.err.contains(word));
            if refused == case.ansible_accepts {
                Err(format!("{answer:?}"))
            } else {
                Ok(())
            }
        };
        let compare: Compare = Box::new(compare);
        (Job::new(case, "ansible-inventory", &["--list"]), compare)
    });
    check(checks.collect());
}

#[test]
fn warnings() {
    for case in cases::all() {
        let warnings = case.load().diagnostics.into_iter().filter(|d| !d.is_error());
        let warnings: Vec<String> = warnings.map(|d| d.message).collect();
        assert_eq!(case.warnings, warnings, "{}", case.name);
    }
}

/// `groups`, `group_names`, `inventory_file`, `inventory_dir`, `inventory_hostname_short` as templates see them.
#[test]
fn magic_variables() {
    let cases: Vec<_> = good_cases()
        .into_iter()
        .filter(|(c, _)| {
            ["ini_ranges", "yaml_full", "directory", "list_and_file", "deep_graph"].contains(&c.name.as_str())
        })
        .collect();
    let values = "['', groups | dict2items, group_names, inventory_file, inventory_dir, inventory_hostname_short]";
    let message = format!("msg={{{{ {values} | to_json }}}}");
    let checks = cases.iter().map(|(case, Loaded { inventory, .. })| {
        let compare = move |answer: &Answer| {
            for line in answer.out.lines() {
                let (host, result) = line.split_once(" | SUCCESS => ").ok_or(line)?;
                let result: Value = serde_json::from_str(result).map_err(|e| e.to_string())?;
                let theirs: Value =
                    serde_json::from_str(result["msg"].as_str().ok_or(line)?).map_err(|e| e.to_string())?;
                let group = |(name, hosts): (&String, &Vec<HostName>)| {
                    let hosts: Vec<&str> = hosts.iter().map(|h| &**h).collect();
                    json!({"key": name, "value": hosts})
                };
                let ours = json!([
                    "",
                    inventory.groups().iter().map(group).collect::<Vec<_>>(),
                    inventory.group_names(host),
                    inventory.inventory_file(host),
                    // Ansible makes a string of Python's `None`.
                    inventory.inventory_dir(host).unwrap_or("None"),
                    Inventory::short_name(host),
                ]);
                same(&theirs, &ours)?;
            }
            same(&answer.out.lines().count(), &inventory.hosts().len())
        };
        let compare: Compare = Box::new(compare);
        (
            Job::new(case, "ansible", &["all", "-o", "-m", "debug", "-a", &message]),
            compare,
        )
    });
    check(checks.collect());
}

/// Levels 3 to 10 as a play sees them.
#[test]
fn precedence_in_a_play() {
    let cases = good_cases();
    let (case, loaded) = cases.iter().find(|(c, _)| c.name == "playbook_vars").unwrap();
    let answers = ask(&[Job {
        cwd: case.dir.to_str().unwrap().to_owned(),
        argv: ["ansible-playbook", "-i", "inv/hosts", "play/site.yml"]
            .map(str::to_owned)
            .to_vec(),
    }]);
    let line = answers[0]
        .out
        .lines()
        .find_map(|l| l.trim().strip_prefix("\"msg\": "))
        .unwrap();
    let message: String = serde_json::from_str(line).unwrap();
    let theirs: Value = serde_json::from_str(message.strip_prefix("result ").unwrap()).unwrap();
    let ours = loaded.inventory.host_vars("w1", &loaded.playbook);
    assert_eq!(theirs.as_object().unwrap().len(), 8);
    for (key, value) in theirs.as_object().unwrap() {
        assert_eq!(*value, ours[key].to_value(), "{key}");
    }
    // Each level wins somewhere.
    let layers = loaded.inventory.host_layers("w1", &loaded.playbook);
    for (key, level) in [
        ("l3", 3),
        ("l4", 4),
        ("l5", 6),
        ("l6", 6),
        ("l7", 7),
        ("l8", 8),
        ("l9", 9),
        ("l10", 10),
    ] {
        let winner = layers.iter().rev().find(|l| l.get(key).is_some()).unwrap();
        assert!(winner.level.number() >= level, "{key}: {winner:?}");
    }
}

#[test]
fn orders() {
    let cases = good_cases();
    let (_, loaded) = cases.iter().find(|(c, _)| c.name == "ini_basic").unwrap();
    let select = |name: &str| -> Vec<HostName> {
        let mut hosts = loaded.inventory.select(&["mq3:db:mq1".into()], None, false).unwrap();
        Order::parse(name).unwrap().apply(&mut hosts, 0);
        hosts
    };
    let names = |names: &[&str]| -> Vec<HostName> { names.iter().map(|n| (*n).into()).collect() };
    assert_eq!(select("inventory"), names(&["mq3", "db1", "db2", "mq1"]));
    assert_eq!(select("reverse_inventory"), names(&["mq1", "db2", "db1", "mq3"]));
    assert_eq!(select("sorted"), names(&["db1", "db2", "mq1", "mq3"]));
    assert_eq!(select("reverse_sorted"), names(&["mq3", "mq1", "db2", "db1"]));
}
