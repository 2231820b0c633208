//! Clusters of real nodes: begun, grown, mended; and what is refused.

use crate::booted::{fresh, on};
use crate::desk::{Desk, Report, says};
use rmqplay::lab::{Lab, Release, Wanted};
use serde_json::Value;

const JSON: [&str; 2] = ["--format", "json"];

/// One node at a time joins the first.
const JOIN: &str = "
- hosts: rabbitmq
  serial: 1
  max_fail_percentage: 0
  tasks:
    - name: in the cluster
      rabbitmq_cluster:
        join: rabbit@mq-1
        forget: '{{ forget | default([]) }}'
        reset: '{{ reset | default(false) }}'
        timeout: 120
";

/// A play on the lab.
struct Play<'a> {
    desk: &'a Desk,
    file: String,
}

impl Play<'_> {
    fn new<'a>(desk: &'a Desk, name: &str, text: &str) -> Play<'a> {
        let file = desk.file(name, text);
        Play { desk, file }
    }

    fn run(&self, command: &str, more: &[&str], code: i32) -> Report {
        let arguments = [&[command, &self.file, "-i", "inventories/lab"], more, &JSON].concat();
        self.desk.run(&arguments).ended(code).report()
    }
}

/// The members that a node says run, sorted.
fn running(lab: &Lab, node: &str) -> Vec<String> {
    let node = lab.node(node).unwrap();
    let status = on(lab, &node, "root", "rabbitmqctl -q cluster_status --formatter json");
    let status: Value = serde_json::from_str(&status).unwrap();
    let mut names: Vec<String> = serde_json::from_value(status["running_nodes"].clone()).unwrap();
    names.sort();
    names
}

fn nodes(numbers: &[u8]) -> Vec<String> {
    numbers.iter().map(|n| format!("rabbit@mq-{n}")).collect()
}

pub fn begun_grown_and_mended() {
    let lab = fresh(Wanted::default());
    let (desk, task) = (Desk::new(), "in the cluster");
    let play = Play::new(&desk, "join.yml", JOIN);
    let root = |node: &str, command: &str| on(&lab, &lab.node(node).unwrap(), "root", command);

    // A cluster of one.
    assert_eq!(play.run("apply", &["-l", "mq-1"], 0).status(task, "mq-1"), "ok");
    // Two.
    let two = ["-l", "mq-1,mq-2"];
    assert_eq!(
        play.run("diff", &two, 0).statuses(task, &["mq-1", "mq-2"]),
        ["ok", "changed"]
    );
    assert_eq!(running(&lab, "mq-2"), nodes(&[2]));
    assert_eq!(
        play.run("apply", &two, 0).statuses(task, &["mq-1", "mq-2"]),
        ["ok", "changed"]
    );
    for node in ["mq-1", "mq-2"] {
        assert_eq!(running(&lab, node), nodes(&[1, 2]));
    }

    // A node that has something to lose is not taken in, and keeps it.
    root("mq-3", "rabbitmqctl -q add_user app not-a-secret");
    let refused = play.run("apply", &[], 2);
    assert_eq!(
        refused.statuses(task, &["mq-1", "mq-2", "mq-3"]),
        ["ok", "ok", "failed"]
    );
    says(
        &refused.result(task, "mq-3").to_string(),
        &["has data of its own (2 users)"],
    );
    says(&root("mq-3", "rabbitmqctl -q list_users"), &["app"]);
    // With consent it joins what runs.
    let reset = ["-e", "reset=true"];
    assert_eq!(play.run("apply", &reset, 0).status(task, "mq-3"), "changed");
    assert!(!root("mq-3", "rabbitmqctl -q list_users").contains("app"));
    for node in ["mq-1", "mq-2", "mq-3"] {
        assert_eq!(running(&lab, node), nodes(&[1, 2, 3]));
    }
    // Whoever is in stays in, with or without consent.
    let again = play.run("apply", &reset, 0);
    assert_eq!(again.changes(), Default::default());
    assert_eq!(again.stat("mq-2", "ok"), 2);

    // What runs is not forgotten, whoever says so.
    let forget = ["-e", r#"{"forget": ["rabbit@mq-3"]}"#];
    says(
        &play.run("apply", &forget, 2).result(task, "mq-1").to_string(),
        &["`rabbit@mq-3` runs, and only a dead member is forgotten"],
    );
    // The machine burns down, and a blank one of the same name takes its place.
    root(
        "mq-3",
        "systemctl stop rabbitmq-server && rm -rf /var/lib/rabbitmq/mnesia/*",
    );
    let both = ["-e", r#"{"forget": ["rabbit@mq-3"]}"#, "-l", "mq-1,mq-2"];
    assert_eq!(play.run("diff", &both, 0).status(task, "mq-1"), "changed");
    assert_eq!(
        play.run("apply", &both, 0).statuses(task, &["mq-1", "mq-2"]),
        ["changed", "ok"]
    );
    root("mq-3", "systemctl start rabbitmq-server");
    assert_eq!(
        play.run("apply", &[], 0).statuses(task, &["mq-1", "mq-2", "mq-3"]),
        ["ok", "ok", "changed"]
    );
    for node in ["mq-1", "mq-2", "mq-3"] {
        assert_eq!(running(&lab, node), nodes(&[1, 2, 3]));
    }

    maintained(&lab, &desk);
}

/// Drained and revived, stopped and started, by state and not by the tool's word.
fn maintained(lab: &Lab, desk: &Desk) {
    let play = Play::new(
        desk,
        "node.yml",
        "
- hosts: mq-2
  gather_facts: false
  tasks:
    - name: the node
      rabbitmq_node: {state: '{{ state }}', timeout: 120}
",
    );
    let to = |state: &str| {
        play.run("apply", &["-e", &format!("state={state}")], 0)
            .status("the node", "mq-2")
    };
    let node = lab.node("mq-2").unwrap();
    let listens = "timeout 2 bash -c '</dev/tcp/127.0.0.1/5672' 2>/dev/null && echo yes || echo no";
    assert_eq!((to("drained"), to("drained")), ("changed", "ok"));
    assert_eq!(on(lab, &node, "root", listens), "no");
    assert_eq!((to("revived"), to("revived")), ("changed", "ok"));
    assert_eq!(on(lab, &node, "root", listens), "yes");
    assert_eq!((to("stopped"), to("stopped")), ("changed", "ok"));
    assert_eq!(running(lab, "mq-1"), nodes(&[1, 3]));
    assert_eq!((to("started"), to("started")), ("changed", "ok"));
    assert_eq!(to("restarted"), "changed");
    // It is up when the task is done, not some time later.
    on(lab, &node, "root", "rabbitmq-diagnostics -q check_running");
}

/// A cookie that is not the others': nobody joins, and the message says why; then it is made the same, without showing it.
pub fn a_cookie_of_its_own() {
    let lab = fresh(Wanted {
        nodes: 2,
        ..Wanted::default()
    });
    let desk = Desk::new();
    let node = lab.node("mq-2").unwrap();
    let cookie = Play::new(
        &desk,
        "cookie.yml",
        "
- hosts: mq-1
  gather_facts: false
  tasks:
    - name: of the first node
      erlang_cookie: {fetch: true}
      register: first
- hosts: mq-2
  gather_facts: false
  tasks:
    - name: the same
      erlang_cookie: {cookie: \"{{ hostvars['mq-1'].first.cookie }}\"}
",
    );
    let first = on(
        &lab,
        &lab.node("mq-1").unwrap(),
        "root",
        "cat /var/lib/rabbitmq/.erlang.cookie",
    );
    let own = "QWERTZUIOPASDFGHJKLYXCVBNM";
    let other = Play::new(
        &desk,
        "own.yml",
        "
- hosts: mq-2
  gather_facts: false
  tasks:
    - name: the same
      erlang_cookie: {cookie: '{{ own }}'}
",
    );
    let told = other.run("apply", &["-e", &format!("own={own}"), "--diff"], 0);
    assert_eq!(told.status("the same", "mq-2"), "changed");
    assert!(!told.0.to_string().contains(own) && !told.0.to_string().contains(&first));
    says(&told.0.to_string(), &["«secret:", "service rabbitmq-server"]);
    assert_eq!(on(&lab, &node, "root", "cat /var/lib/rabbitmq/.erlang.cookie"), own);
    on(&lab, &node, "root", "rabbitmqctl -q await_startup -t 60");

    let join = Play::new(&desk, "join.yml", JOIN);
    let two = ["-l", "mq-1,mq-2"];
    let refused = join.run("apply", &two, 2);
    says(
        &refused.0.to_string(),
        &[
            "the node cannot join `rabbit@mq-1`",
            "the Erlang cookie may be another (module `erlang_cookie`)",
        ],
    );
    // It is what it was.
    on(&lab, &node, "root", "rabbitmq-diagnostics -q check_running");

    let told = cookie.run("apply", &["--diff"], 0);
    assert_eq!(told.status("the same", "mq-2"), "changed");
    assert!(!told.0.to_string().contains(&first), "{:#}", told.0);
    assert_eq!(cookie.run("apply", &[], 0).status("the same", "mq-2"), "ok");
    assert_eq!(
        on(
            &lab,
            &node,
            "root",
            "stat -c '%a %U %G' /var/lib/rabbitmq/.erlang.cookie"
        ),
        "400 rabbitmq rabbitmq"
    );
    assert_eq!(join.run("apply", &two, 0).status("in the cluster", "mq-2"), "changed");
    assert_eq!(running(&lab, "mq-1"), nodes(&[1, 2]));
}

/// The generation before: `join_cluster` wants the application stopped.
pub fn on_3_10() {
    let lab = fresh(Wanted {
        nodes: 2,
        release: Release::Bookworm,
        ..Wanted::default()
    });
    let desk = Desk::new();
    let play = Play::new(&desk, "join.yml", JOIN);
    let two = ["-l", "mq-1,mq-2"];
    assert_eq!(
        play.run("apply", &two, 0).statuses("in the cluster", &["mq-1", "mq-2"]),
        ["ok", "changed"]
    );
    for node in ["mq-1", "mq-2"] {
        assert_eq!(running(&lab, node), nodes(&[1, 2]));
    }
    assert_eq!(play.run("apply", &two, 0).changes(), Default::default());
}
