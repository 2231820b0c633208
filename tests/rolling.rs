//! Rolling plays on a cluster in memory: who is asked, drained and touched, when, and when not.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test that cannot go on fails"
)]

mod support;

use proptest::prelude::*;
use rmqplay::cli::Exit;
use rmqplay::engine::event::{Event, Mode, RollingState, RollingStep};
use rmqplay::host::{Exec, ExecResult};
use rmqplay::report::{Reporter as _, Tally};
use rmqplay::transport::fake::{FakeConnector, FakeHost, Loss, Node, Program};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use support::{Story, Told};
use tokio::sync::Notify;

/// A node of the cluster in memory.
#[derive(Clone, Debug)]
struct Broker {
    running: bool,
    drained: bool,
    /// A restart leaves it down.
    broken: bool,
    /// A drain does not take.
    stubborn: bool,
    /// No broker was ever installed.
    bare: bool,
}

const NOTE: &str = "/var/lib/rmqplay/in-maintenance";

/// What happens to another node when the log says this.
type Trap = (&'static str, &'static str);

#[derive(Default)]
struct Cluster {
    nodes: BTreeMap<String, Broker>,
    alarms: Vec<serde_json::Value>,
    /// Queues that need this node.
    critical: BTreeSet<String>,
    /// What was done to whom, in order.
    log: Vec<String>,
    /// The most that were away at a time.
    away: usize,
    /// The node that goes down when the entry is logged.
    trap: Option<Trap>,
    /// Each node is a cluster of its own.
    apart: bool,
    rebalance_fails: bool,
    /// Ctrl-C when the log says this.
    stop: Option<(String, Arc<Notify>)>,
}

#[derive(Clone, Default)]
struct World(Arc<Mutex<Cluster>>);

impl World {
    fn of(names: &[&str]) -> World {
        let world = World::default();
        for name in names {
            world.with(|c| {
                c.nodes.insert(
                    (*name).to_owned(),
                    Broker {
                        running: true,
                        drained: false,
                        broken: false,
                        stubborn: false,
                        bare: false,
                    },
                )
            });
        }
        world
    }

    fn with<T>(&self, f: impl FnOnce(&mut Cluster) -> T) -> T {
        f(&mut self.0.lock().unwrap())
    }

    fn node(&self, name: &str, f: impl FnOnce(&mut Broker)) {
        self.with(|c| f(c.nodes.get_mut(name).unwrap()));
    }

    fn log(&self) -> Vec<String> {
        self.with(|c| c.log.clone())
    }

    /// What was done to this node.
    fn done_to(&self, name: &str) -> Vec<String> {
        let log = self.log();
        let own = log.iter().filter_map(|l| l.strip_prefix(name)?.strip_prefix(' '));
        own.map(str::to_owned).collect()
    }

    /// Hosts that all have the old configuration, but these.
    fn fleet(&self, converged: &[&str]) -> Arc<FakeConnector> {
        let converged: BTreeSet<String> = converged.iter().map(|n| (*n).to_owned()).collect();
        let make = move |name: &str| {
            let text = if converged.contains(name) { "new" } else { "old" };
            let mut host = FakeHost::default();
            host.put("/conf", Node::file(text));
            host.state.insert("name".to_owned(), json!(name));
            host
        };
        Arc::new(FakeConnector::new(make, Arc::new(self.clone())))
    }
}

impl Cluster {
    fn note(&mut self, name: &str, what: &str) {
        let entry = format!("{name} {what}");
        if let Some((on, node)) = self.trap
            && on == entry
        {
            self.nodes.get_mut(node).unwrap().running = false;
        }
        if let Some((_, stop)) = self.stop.as_ref().filter(|(on, _)| *on == entry) {
            stop.notify_one();
        }
        self.log.push(entry);
        let away = self.nodes.values().filter(|n| !n.running || n.drained).count();
        self.away = self.away.max(away);
    }

    /// As `rmqplay`'s look prints it.
    fn view(&self, own: &str) -> (i32, String) {
        if self.nodes[own].bare {
            return (3, String::new());
        }
        let known = |name: &str| !self.nodes[name].bare && (!self.apart || name == own);
        let members: Vec<&String> = self.nodes.keys().filter(|n| known(n)).collect();
        let asked = members.iter().filter(|n| **n != own && self.nodes[**n].running);
        let asked = asked.chain(members.iter().filter(|n| **n == own && self.nodes[**n].running));
        let Some(from) = asked.copied().next() else {
            if members.len() == 1 {
                return (4, String::new());
            }
            return (1, "Error: unable to perform an operation".to_owned());
        };
        let node = |name: &String| format!("rabbit@{name}");
        let running: Vec<String> = members
            .iter()
            .filter(|n| self.nodes[**n].running)
            .map(|n| node(n))
            .collect();
        let maintenance: BTreeMap<String, &str> = members
            .iter()
            .map(|n| {
                let drained = self.nodes[*n].drained;
                (
                    node(n),
                    if drained {
                        "marked for maintenance"
                    } else {
                        "not under maintenance"
                    },
                )
            })
            .collect();
        let status = json!({
            "alarms": self.alarms, "partitions": {}, "ram_nodes": [],
            "disk_nodes": members.iter().map(|n| node(n)).collect::<Vec<_>>(),
            "running_nodes": running, "maintenance_status": maintenance,
        });
        (0, format!("rabbit@{own}\nrabbit@{from}\n{status}\n"))
    }
}

impl Program for World {
    fn run(&self, host: &mut FakeHost, command: &Exec, act: bool) -> ExecResult {
        let name = host.state["name"].as_str().unwrap().to_owned();
        let words: Vec<&str> = command.argv.iter().map(String::as_str).collect();
        // What the host remembers of a drain.
        if let ["sh", "-c", script] = words[..]
            && script.contains("in-maintenance")
        {
            match (act, script.contains("rm -f")) {
                (true, true) => drop(host.files.remove(NOTE)),
                (true, false) => host.put(NOTE, Node::file("")),
                _ => {}
            }
            let there = host.files.contains_key(NOTE);
            return ExecResult {
                stdout: if there { "yes\n" } else { "" }.into(),
                ..ExecResult::default()
            };
        }
        let (rc, said) = self.with(|cluster| {
            let broker = cluster.nodes[&name].clone();
            match (words.as_slice(), act) {
                ([_, _, _, "rabbitmq-view", ..], false) => cluster.view(&name),
                ([_, _, _, "rabbitmq-critical", ..], false) if cluster.critical.contains(&name) => (
                    69,
                    format!("queue 'orders' in vhost '/' will become unavailable if node rabbit@{name} stops"),
                ),
                ([_, _, _, "rabbitmq-critical", ..], false) => (if broker.running { 0 } else { 69 }, String::new()),
                ([_, _, _, "rabbitmq-cli", _, "-q", "drain"], true) => {
                    cluster.nodes.get_mut(&name).unwrap().drained = !broker.stubborn;
                    cluster.note(&name, "drain");
                    // It says so, and has drained (rabbitmq-server#3369).
                    (69, "Error: some channel did not answer".to_owned())
                }
                ([_, _, _, "rabbitmq-cli", _, "-q", "revive"], true) => {
                    cluster.nodes.get_mut(&name).unwrap().drained = false;
                    cluster.note(&name, "revive");
                    (0, String::new())
                }
                ([_, _, _, "rabbitmq-cli", _, "-q", "rebalance", "all"], true) => {
                    cluster.note(&name, "rebalance");
                    if cluster.rebalance_fails {
                        (70, "Error: {:badrpc, :noproc}".to_owned())
                    } else {
                        (0, String::new())
                    }
                }
                ([_, _, _, "rabbitmq-cli", _, "-q", what, ..], _) => {
                    if act {
                        cluster.note(&name, what);
                    }
                    let ports = *what != "check_port_connectivity" || !broker.drained;
                    (if broker.running && ports { 0 } else { 69 }, String::new())
                }
                (["restart"], true) => {
                    let node = cluster.nodes.get_mut(&name).unwrap();
                    node.running = false;
                    node.drained = false;
                    // While it is away.
                    cluster.note(&name, "restart");
                    let node = cluster.nodes.get_mut(&name).unwrap();
                    node.running = !node.broken;
                    node.bare = false;
                    (0, String::new())
                }
                (["fail"], true) => {
                    cluster.note(&name, "fail");
                    (1, String::new())
                }
                (["before" | "after" | "good"], true) => {
                    cluster.note(&name, words[0]);
                    (0, String::new())
                }
                (["check"], true) => {
                    cluster.note(&name, if broker.drained { "check drained" } else { "check" });
                    (0, String::new())
                }
                _ => (0, String::new()),
            }
        });
        let (stdout, stderr) = if rc == 0 {
            (said, String::new())
        } else {
            (String::new(), said)
        };
        ExecResult {
            rc,
            stdout: stdout.as_str().into(),
            stderr: stderr.as_str().into(),
            ..ExecResult::default()
        }
    }
}

const CONFIGURE: &str = "
  tasks:
    - {name: conf, copy: {dest: /conf, content: new}, notify: restart}
  handlers:
    - {name: restart, command: {argv: [restart]}}
";

fn play(rolling: &str, rest: &str) -> String {
    format!("- hosts: all\n  gather_facts: false\n  rolling: {rolling}{rest}")
}

fn hosts(names: &[&str]) -> String {
    names.join("\n") + "\n"
}

const ABC: [&str; 3] = ["mq-1", "mq-2", "mq-3"];

fn configure(world: &World) -> Told {
    Story::new(&play("true", CONFIGURE), &hosts(&ABC)).run(world.fleet(&[]))
}

fn exit(told: &Told) -> Exit {
    let mut tally = Tally::default();
    told.events.iter().for_each(|event| tally.event(event));
    tally.exit(false, false)
}

fn stopped(told: &Told) -> &str {
    let stop = told.events.iter().find_map(|event| match event {
        Event::Stopped { reason } => Some(reason.as_str()),
        _ => None,
    });
    stop.unwrap_or("did not stop")
}

fn resume(told: &Told) -> &str {
    let command = told.events.iter().find_map(|event| match event {
        Event::Resume { command } => Some(command.as_str()),
        _ => None,
    });
    command.unwrap_or("no command")
}

fn told(told: &Told, host: &str) -> Vec<String> {
    let own = told.events.iter().filter_map(|event| match event {
        Event::Rolling {
            host: h,
            step,
            state,
            text,
        } if h == host => Some(format!("{step:?} {state:?}: {text}")),
        _ => None,
    });
    own.collect()
}

const WHOLE: [&str; 4] = ["drain", "restart", "await_startup", "await_online_quorum_plus_one"];

#[test]
fn where_nothing_changes_nobody_is_asked() {
    let world = World::of(&ABC);
    let story = Story::new(&play("true", CONFIGURE), &hosts(&ABC)).run(world.fleet(&ABC));
    assert_eq!(world.log(), Vec::<String>::new());
    for host in ABC {
        assert_eq!(story.statuses(host), ["conf=Ok"]);
        assert_eq!(story.ended.timing[host].round_trips, 1);
    }
    assert_eq!(told(&story, "mq-1"), Vec::<String>::new());
}

#[test]
fn one_after_the_other_each_whole() {
    let world = World::of(&ABC);
    let story = configure(&world);
    let mut expected: Vec<String> = ABC.iter().flat_map(|n| WHOLE.map(|w| format!("{n} {w}"))).collect();
    expected.push("mq-3 rebalance".to_owned());
    assert_eq!(world.log(), expected);
    assert_eq!(world.with(|c| c.away), 1);
    assert_eq!(
        told(&story, "mq-1"),
        [
            "Gate Passed: rabbit@mq-2 sees all 3 nodes running, no alarms, no partitions; no queue needs rabbit@mq-1",
            "Drain Passed: rabbit@mq-1 serves no clients and leads no queues",
            "Return Passed: all 3 nodes run, quorum plus one is online, health checks hold",
        ]
    );
    assert_eq!(story.statuses("mq-2"), ["conf=Changed", "restart=Changed"]);
    assert_eq!(exit(&story), Exit::Done);
}

/// Only what is to be changed is taken down, whatever stands before and behind it.
#[test]
fn only_who_is_changed_has_a_turn() {
    let world = World::of(&ABC);
    Story::new(&play("true", CONFIGURE), &hosts(&ABC)).run(world.fleet(&["mq-1", "mq-3"]));
    assert_eq!(world.done_to("mq-1"), Vec::<String>::new());
    assert_eq!(world.done_to("mq-2"), [&WHOLE[..], &["rebalance"]].concat());
    assert_eq!(world.done_to("mq-3"), Vec::<String>::new());
}

#[test]
fn a_dry_run_asks_nobody() {
    let world = World::of(&ABC);
    let story = Story::new(&play("true", CONFIGURE), &hosts(&ABC)).mode(Mode::Diff);
    let story = story.run(world.fleet(&[]));
    assert_eq!(world.log(), Vec::<String>::new());
    assert_eq!(story.statuses("mq-1"), ["conf=Changed", "restart=Changed"]);
    assert_eq!(story.ended.timing["mq-1"].round_trips, 1);
}

/// A look that says it changes nothing takes nobody down.
#[test]
fn a_command_that_only_looks_has_no_turn() {
    let world = World::of(&ABC);
    let tasks = "\n  tasks:\n    - {command: {argv: [look]}, changed_when: false}\n";
    Story::new(&play("true", tasks), &hosts(&ABC)).run(world.fleet(&[]));
    assert_eq!(world.log(), Vec::<String>::new());
}

#[test]
fn too_wide_is_refused_before_anything_is_touched() {
    let world = World::of(&ABC);
    let fleet = world.fleet(&[]);
    let story = Story::new(&play("{width: 2}", CONFIGURE), &hosts(&ABC)).attempt(fleet.clone());
    insta::assert_snapshot!(story.refused(), @r"
    error[E401]: too many nodes at a time
     --> site.yml:3:20
      |
    3 |   rolling: {width: 2}
      |                    ^ 2 of 3 nodes at a time would leave no majority: at most 1 may be down
    ");
    assert_eq!(fleet.host("mq-1").lock().unwrap().calls, 0);

    // By `serial`, too; and what is left of the hosts by `--limit` makes the cluster no smaller.
    let serial = Story::new(&play("true\n  serial: '50%'", CONFIGURE), "mq-1\nmq-2\nmq-3\nmq-4\n");
    let refused = serial.limit("mq-1").attempt(fleet.clone()).refused();
    assert!(refused.contains("2 of 4 nodes at a time"), "{refused}");
    let both = Story::new(&play("{width: 1}\n  serial: 1", CONFIGURE), &hosts(&ABC)).attempt(fleet);
    assert!(
        both.refused().contains("both `serial` and `width`"),
        "{}",
        both.refused()
    );
}

#[test]
fn a_gate_that_stays_closed_stops_before_anybody_is_touched() {
    let alarm = |c: &mut Cluster| {
        c.alarms = vec![json!({"node": "rabbit@mq-2", "type": "resource_limit", "resource": "memory"})];
    };
    let critical = |c: &mut Cluster| {
        c.critical.insert("mq-1".to_owned());
    };
    let down = |c: &mut Cluster| c.nodes.get_mut("mq-3").unwrap().running = false;
    let drained = |c: &mut Cluster| c.nodes.get_mut("mq-3").unwrap().drained = true;
    type Case<'a> = (&'a dyn Fn(&mut Cluster), &'a str);
    let cases: [Case<'_>; 4] = [
        (&alarm, "alarm: memory on rabbit@mq-2"),
        (
            &critical,
            "queue 'orders' in vhost '/' will become unavailable if node rabbit@mq-1 stops",
        ),
        (&down, "rabbit@mq-3 does not run, as rabbit@mq-2 sees it"),
        (
            &drained,
            "rabbit@mq-3 is in maintenance mode, which `rabbitmq-upgrade -n rabbit@mq-3 revive` on its host ends",
        ),
    ];
    for (case, why) in cases {
        let world = World::of(&ABC);
        world.with(case);
        let story = configure(&world);
        assert_eq!(world.log(), Vec::<String>::new());
        assert_eq!(
            stopped(&story),
            format!("mq-1: the gate did not open within 600 s: {why}")
        );
        assert_eq!(resume(&story), "rmqplay apply site.yml --limit mq-1,mq-2,mq-3");
        assert_eq!(exit(&story), Exit::Refused);
        // Why it waits is told once.
        assert_eq!(told(&story, "mq-1").len(), 2, "{:?}", told(&story, "mq-1"));
        assert_eq!(story.statuses("mq-2"), Vec::<String>::new());
    }
}

#[test]
fn a_node_that_does_not_come_back_is_the_last_that_was_touched() {
    let world = World::of(&ABC);
    world.node("mq-2", |n| n.broken = true);
    let story = configure(&world);
    assert_eq!(world.done_to("mq-1"), WHOLE);
    assert_eq!(world.done_to("mq-2")[..2], ["drain", "restart"]);
    assert_eq!(world.done_to("mq-3"), Vec::<String>::new());
    assert_eq!(
        stopped(&story),
        "mq-2: the node is not back within 600 s: rabbit@mq-2 does not run, as rabbit@mq-1 sees it"
    );
    assert_eq!(resume(&story), "rmqplay apply site.yml --limit mq-2,mq-3");
    assert_eq!(exit(&story), Exit::Refused);
    assert!(!world.log().contains(&"mq-2 rebalance".to_owned()));
}

/// While one is away, another dies: at the worst moment, nobody else is touched.
#[test]
fn another_node_dies_while_one_is_away() {
    for moment in ["mq-1 drain", "mq-1 restart", "mq-1 await_startup"] {
        let world = World::of(&ABC);
        world.with(|c| c.trap = Some((moment, "mq-2")));
        let story = configure(&world);
        assert_eq!(world.done_to("mq-2"), Vec::<String>::new(), "{moment}");
        assert_eq!(world.done_to("mq-3"), Vec::<String>::new(), "{moment}");
        assert!(
            stopped(&story).contains("rabbit@mq-2 does not run"),
            "{moment}: {}",
            stopped(&story)
        );
        assert_eq!(exit(&story), Exit::Refused, "{moment}");
    }
    // Between two turns: the one that is next is the one that died, and it is not mended in passing.
    let world = World::of(&ABC);
    world.with(|c| c.trap = Some(("mq-1 await_online_quorum_plus_one", "mq-2")));
    let story = configure(&world);
    assert_eq!(world.done_to("mq-2"), Vec::<String>::new());
    assert_eq!(exit(&story), Exit::Refused);
    assert_eq!(resume(&story), "rmqplay apply site.yml --limit mq-2,mq-3");
}

#[test]
fn a_node_that_is_down_may_be_mended_first() {
    let world = World::of(&ABC);
    world.node("mq-3", |n| n.running = false);
    let story = Story::new(&play("true", CONFIGURE), &hosts(&ABC)).limit("mq-3");
    let story = story.run(world.fleet(&[]));
    assert_eq!(
        told(&story, "mq-3")[0],
        "Gate Passed: rabbit@mq-3 does not run, all others do: it may be mended"
    );
    // There is nothing to drain.
    assert_eq!(world.done_to("mq-3"), [&WHOLE[1..], &["rebalance"]].concat());
    assert_eq!(exit(&story), Exit::Done);
}

#[test]
fn a_task_that_fails_stops_before_the_next_node() {
    let world = World::of(&ABC);
    let tasks = "\n  tasks:\n    - {name: bad, command: {argv: [fail]}}\n";
    let story = Story::new(&play("true", tasks), &hosts(&ABC)).run(world.fleet(&[]));
    assert_eq!(world.log(), ["mq-1 drain", "mq-1 fail"]);
    assert_eq!(stopped(&story), "mq-1 failed: no other node is touched");
    assert_eq!(resume(&story), "rmqplay apply site.yml --limit mq-1,mq-2,mq-3");
    assert_eq!(exit(&story), Exit::Failed);
    let warned = story.events.iter().any(|event| {
        matches!(event, Event::Warning { text, .. }
            if text.starts_with("rabbit@mq-1 may still be in maintenance mode: `rabbitmq-upgrade -n rabbit@mq-1 revive` on mq-1 ends it"))
    });
    assert!(warned);

    // Mended, it goes on with this node, which is in maintenance, and ends that.
    let tasks = "\n  tasks:\n    - {name: good, command: {argv: [good]}}\n";
    let story = Story::new(&play("true", tasks), &hosts(&ABC)).limit("mq-1,mq-2,mq-3");
    let story = story.run(world.fleet(&[]));
    assert_eq!(exit(&story), Exit::Done, "{}", stopped(&story));
    world.with(|c| assert!(c.nodes.values().all(|n| n.running && !n.drained)));
}

/// Whatever was mended by hand, so that nothing is left to change: the node that the first run drained comes back in the
/// next one, before its checks, and only then the others have their turn.
#[test]
fn who_was_left_in_maintenance_comes_back() {
    let tasks = |good: bool| {
        format!(
            "
  tasks:
    - {{name: conf, copy: {{dest: /conf, content: new}}}}
    - {{name: bad, command: {{argv: [{}]}}, changed_when: false}}
  post_checks:
    - {{name: check, command: {{argv: [check]}}, changed_when: false}}
",
            if good { "good" } else { "fail" }
        )
    };
    let world = World::of(&ABC);
    let fleet = world.fleet(&[]);
    let first = Story::new(&play("true", &tasks(false)), &hosts(&ABC)).run(fleet.clone());
    assert_eq!(world.log(), ["mq-1 drain", "mq-1 fail"]);
    assert_eq!(resume(&first), "rmqplay apply site.yml --limit mq-1,mq-2,mq-3");
    world.with(|c| c.log.clear());

    let next = || Story::new(&play("{rebalance: false}", &tasks(true)), &hosts(&ABC)).run(fleet.clone());
    let story = next();
    assert_eq!(exit(&story), Exit::Done, "{}", stopped(&story));
    let own = world.done_to("mq-1");
    assert_eq!(
        own,
        [
            "good",
            "await_startup",
            "revive",
            "await_online_quorum_plus_one",
            "check"
        ]
    );
    let told = |what: &str| {
        story
            .events
            .iter()
            .any(|e| matches!(e, Event::Warning { text, .. } if text.contains(what)))
    };
    assert!(told("an earlier run left the node in maintenance"));
    assert_eq!(world.done_to("mq-2")[0], "drain");
    world.with(|c| assert!(c.nodes.values().all(|n| n.running && !n.drained)));
    assert!(
        ABC.iter()
            .all(|n| !fleet.host(n).lock().unwrap().files.contains_key(NOTE))
    );

    // And then there is nothing more to do, and nobody is asked.
    world.with(|c| c.log.clear());
    let story = next();
    assert!(!told("drain") && exit(&story) == Exit::Done);
    for host in ABC {
        assert_eq!(world.done_to(host), ["good", "check"]);
    }
}

/// Whenever Ctrl-C comes: a node that was drained and waits for no restart is revived, one that does is left where it is
/// and told; nobody else is touched, and the run can be gone on with.
#[test]
fn interrupted_once() {
    let tasks = "
  tasks:
    - {name: before, command: {argv: [before]}}
    - {name: conf, copy: {dest: /conf, content: new}, notify: restart}
    - {name: after, command: {argv: [after]}}
  handlers:
    - {name: restart, command: {argv: [restart]}}
";
    let whole = World::of(&ABC);
    Story::new(&play("true", tasks), &hosts(&ABC)).run(whole.fleet(&[]));
    let (mut revived, mut left) = (0, 0);
    for moment in whole.log() {
        let world = World::of(&ABC);
        let story = Story::new(&play("true", tasks), &hosts(&ABC));
        world.with(|c| c.stop = Some((moment.clone(), story.stop.clone())));
        let fleet = world.fleet(&[]);
        let told = story.run(fleet.clone());
        let Some(host) = world.log().last().and_then(|l| l.split(' ').next().map(str::to_owned)) else {
            panic!("{moment}: nothing was done");
        };
        if moment.ends_with("rebalance") {
            continue;
        }
        assert_eq!(exit(&told), Exit::Interrupted, "{moment}");
        assert!(moment.starts_with(&host), "{moment}: {:?}", world.log());
        let back = world
            .done_to(&host)
            .contains(&"await_online_quorum_plus_one".to_owned());
        assert!(back || resume(&told).contains(&host), "{moment}: {}", resume(&told));
        let drained = world.with(|c| c.nodes[&host].drained);
        let written = fleet.host(&host).lock().unwrap().files.get("/conf") == Some(&Node::file("new"));
        let warned = told
            .events
            .iter()
            .any(|e| matches!(e, Event::Warning { text, .. } if text.contains("maintenance")));
        assert_eq!(warned, drained, "{moment}");
        let noted = fleet.host(&host).lock().unwrap().files.contains_key(NOTE);
        assert_eq!(noted, drained, "{moment}");
        if drained {
            assert!(written, "{moment}: {:?}", world.log());
            left += 1;
        } else if world.done_to(&host).contains(&"revive".to_owned()) {
            revived += 1;
        }
        assert!(world.with(|c| c.away) <= 1, "{moment}");
    }
    assert!(revived > 0 && left > 0, "{revived} {left}");
}

/// What does not restart the node leaves it in maintenance: it is taken out before the checks look at it.
#[test]
fn who_was_not_restarted_is_revived_before_the_checks() {
    let world = World::of(&ABC);
    let tasks = "
  tasks:
    - {name: conf, copy: {dest: /conf, content: new}}
  post_checks:
    - {name: check, command: {argv: [check]}}
";
    let story = Story::new(&play("{rebalance: false}", tasks), &hosts(&ABC)).run(world.fleet(&["mq-2", "mq-3"]));
    assert_eq!(
        world.done_to("mq-1"),
        [
            "drain",
            "await_startup",
            "revive",
            "await_online_quorum_plus_one",
            "check"
        ]
    );
    assert_eq!(story.statuses("mq-1"), ["conf=Changed", "check=Changed"]);
}

#[test]
fn a_drain_that_does_not_take_is_undone() {
    let world = World::of(&ABC);
    world.node("mq-1", |n| n.stubborn = true);
    let story = configure(&world);
    assert_eq!(world.log(), ["mq-1 drain", "mq-1 revive"]);
    assert_eq!(
        stopped(&story),
        "mq-1: the node did not drain within 120 s: rabbit@mq-1 is not in maintenance mode"
    );
    assert_eq!(exit(&story), Exit::Refused);
}

#[test]
fn without_drain_and_rebalance() {
    let world = World::of(&ABC);
    let play = play("{drain: false, rebalance: false}", CONFIGURE);
    Story::new(&play, &hosts(&ABC)).run(world.fleet(&["mq-2", "mq-3"]));
    assert_eq!(
        world.log(),
        ["restart", "await_startup", "await_online_quorum_plus_one"].map(|w| format!("mq-1 {w}"))
    );
}

/// A queue whose member is gone answers `noproc`: a finding, not a failure.
#[test]
fn a_rebalance_that_fails_is_told() {
    let world = World::of(&ABC);
    world.with(|c| c.rebalance_fails = true);
    let story = configure(&world);
    let last = told(&story, "mq-3").pop().unwrap();
    assert_eq!(
        last,
        "Rebalance Failed: queue leaders could not all be spread again: {:badrpc, :noproc}"
    );
    assert_eq!(exit(&story), Exit::Done);
}

/// Neither drained nor waited for: there is nobody to take over.
#[test]
fn a_cluster_of_one() {
    let world = World::of(&["mq-1"]);
    let story = Story::new(&play("true", CONFIGURE), "mq-1\n").run(world.fleet(&[]));
    assert_eq!(world.log(), ["mq-1 restart", "mq-1 await_startup"]);
    assert_eq!(
        told(&story, "mq-1"),
        [
            "Gate Passed: a cluster of one",
            "Return Passed: runs; health checks hold"
        ]
    );

    // It is mended where it is down, whenever its turn comes.
    let world = World::of(&ABC);
    world.with(|c| c.apart = true);
    world.node("mq-2", |n| n.running = false);
    let story = configure(&world);
    assert_eq!(
        told(&story, "mq-2")[0],
        "Gate Passed: a cluster of one, and down: it may be mended"
    );
    assert_eq!(exit(&story), Exit::Done);

    // Three of them are three times one; but not if they are said to be one cluster.
    let world = World::of(&ABC);
    world.with(|c| c.apart = true);
    assert_eq!(exit(&configure(&world)), Exit::Done);
    let world = World::of(&ABC);
    world.with(|c| c.apart = true);
    let story = Story::new(&play("{members: all}", CONFIGURE), &hosts(&ABC)).run(world.fleet(&[]));
    assert_eq!(
        stopped(&story),
        "mq-1: the gate did not open within 600 s: the cluster of rabbit@mq-1 has 1 nodes instead of 3: none on mq-2, mq-3"
    );
}

/// A host that cannot be reached counts as down, before anybody is touched; who is in order is touched by nobody anyway.
#[test]
fn unreachable_is_down() {
    let world = World::of(&ABC);
    let fleet = world.fleet(&["mq-1"]);
    fleet.host("mq-3").lock().unwrap().refuse = true;
    let story = Story::new(&play("true", CONFIGURE), &hosts(&ABC)).run(fleet);
    assert_eq!(world.log(), Vec::<String>::new());
    assert_eq!(story.statuses("mq-1"), ["conf=Ok"]);
    assert_eq!(
        stopped(&story),
        "mq-2: the gate stays closed: mq-3 cannot be reached, which counts as down"
    );
    assert_eq!(resume(&story), "rmqplay apply site.yml --limit mq-2,mq-3");
    assert_eq!(exit(&story), Exit::Refused);
}

/// A play that installs brokers can be rolling, too.
#[test]
fn where_no_broker_has_run_there_is_nothing_to_protect() {
    let world = World::of(&ABC);
    for name in ABC {
        world.node(name, |n| {
            n.bare = true;
            n.running = false;
        });
    }
    let story = configure(&world);
    assert_eq!(
        told(&story, "mq-1"),
        [
            "Gate Passed: no broker has run here yet: nothing to protect",
            "Return Passed: runs; health checks hold"
        ]
    );
    assert_eq!(exit(&story), Exit::Done);
}

#[test]
fn a_lost_call_is_made_again() {
    for at in 1..6 {
        let world = World::of(&ABC);
        let inner = world.clone();
        let make = move |name: &str| {
            let mut host = FakeHost::default();
            host.put("/conf", Node::file(if name == "mq-1" { "old" } else { "new" }));
            host.state.insert("name".to_owned(), json!(name));
            if name == "mq-1" {
                host.lose.insert(at, Loss::After);
            }
            host
        };
        let tasks = "\n  tasks:\n    - {name: conf, copy: {dest: /conf, content: new}}\n";
        let fleet = Arc::new(FakeConnector::new(make, Arc::new(inner)));
        let story = Story::new(&play("true", tasks), &hosts(&ABC)).run(fleet);
        assert_eq!(exit(&story), Exit::Done, "call {at}: {}", stopped(&story));
        world.with(|c| assert!(!c.nodes["mq-1"].drained, "call {at}"));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    /// Whoever is to be changed, however wide, whatever fails: a majority is up at every moment, nobody is touched
    /// after a failure but those already begun, and who was touched and is fine is out of maintenance.
    #[test]
    fn a_majority_is_always_up(
        nodes in 3usize..8,
        width in 1usize..4,
        converged in proptest::collection::btree_set(0usize..8, 0..4),
        broken in proptest::option::of(0usize..8),
    ) {
        let names: Vec<String> = (0..nodes).map(|n| format!("mq-{n}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let most = (nodes - 1) / 2;
        let world = World::of(&names);
        if let Some(n) = broken.filter(|n| *n < nodes) {
            world.node(names[n], |node| node.broken = true);
        }
        let converged: Vec<&str> = converged.iter().filter_map(|n| names.get(*n).copied()).collect();
        let story = Story::new(&play(&format!("{{width: {width}}}"), CONFIGURE), &hosts(&names));
        let story = story.attempt(world.fleet(&converged));
        if width > most {
            prop_assert!(!story.ended.refused.is_empty());
            prop_assert_eq!(world.log(), Vec::<String>::new());
            return Ok(());
        }
        let (away, log) = world.with(|c| (c.away, c.log.clone()));
        prop_assert!(away <= most, "{} of {} away: {:?}", away, nodes, log);
        let victim = broken.filter(|n| *n < nodes).map(|n| names[n]).filter(|n| !converged.contains(n));
        for (n, name) in names.iter().enumerate() {
            let touched = !world.done_to(name).is_empty();
            match victim.and_then(|v| names.iter().position(|o| *o == v)) {
                // Batches behind that of the broken one are not begun.
                Some(v) if n / width > v / width => prop_assert!(!touched, "{}: {:?}", name, world.log()),
                None => {
                    prop_assert_eq!(touched, !converged.contains(name));
                    world.node(name, |node| assert!(node.running && !node.drained));
                }
                _ => {}
            }
        }
        let expected = if victim.is_some() { Exit::Refused } else { Exit::Done };
        prop_assert_eq!(exit(&story), expected);
        let failed = story.events.iter().any(|e| matches!(e, Event::Rolling { step, state, .. }
            if *state == RollingState::Failed && *step != RollingStep::Rebalance));
        prop_assert_eq!(failed, victim.is_some());
    }
}
