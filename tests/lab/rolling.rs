//! Rolling changes of a real cluster of three, with a client at work: nothing that was confirmed is lost, and a
//! majority serves at every moment; where a node dies, no second one is touched.

use crate::booted::{eventually, lab, on};
use crate::desk::{Desk, Report, says};
use rmqplay::lab::{Lab, Node, Wanted, fault};
use serde_json::Value;
use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, Command, Stdio};

/// Changes the configuration, and restarts for it.
const CONFIGURE: &str = "
- hosts: rabbitmq
  become: true
  gather_facts: false
  rolling: true
  tasks:
    - name: configuration
      copy: {content: \"heartbeat = {{ heartbeat }}\\n\", dest: /etc/rabbitmq/conf.d/60-rolling.conf}
      notify: restart
  post_checks:
    - name: it serves
      check: {port: 5672}
  handlers:
    - name: restart
      systemd_service: {name: rabbitmq-server, state: restarted}
";
const RESTART: &str = "playbooks/rolling-restart.yml";

struct Stage {
    lab: Lab,
    nodes: Vec<Node>,
    desk: Desk,
    /// Where a run writes its events as they happen.
    events: String,
}

impl Stage {
    /// The lab's nodes, as one cluster.
    fn set() -> Stage {
        let lab = lab(Wanted::default());
        let desk = Desk::new();
        let stage = Stage {
            nodes: lab.nodes().unwrap(),
            events: desk.file("events", ""),
            desk,
            lab,
        };
        let first = stage.root(0, "rabbitmqctl -q cluster_status --formatter json");
        let status: Value = serde_json::from_str(&first).unwrap();
        for n in 0..stage.nodes.len() {
            let name = format!("rabbit@{}", stage.nodes[n].name);
            if !status["disk_nodes"].as_array().unwrap().contains(&name.into()) {
                stage.join(n);
            }
            stage.root(n, "mkdir -p /etc/rabbitmq/conf.d");
        }
        stage.root(
            0,
            "rabbitmqctl -q list_users | grep -q ^client || rabbitmqctl -q add_user client client; \
             rabbitmqctl -q set_permissions client '.*' '.*' '.*'",
        );
        stage
    }

    /// Takes a node into the first one's cluster, whatever it was before.
    fn join(&self, node: usize) {
        const COOKIE: &str = "/var/lib/rabbitmq/.erlang.cookie";
        let cookie = self.root(0, &format!("cat {COOKIE}"));
        self.root(
            node,
            &format!(
                "rabbitmqctl -q stop_app && rabbitmqctl -q reset && systemctl stop rabbitmq-server && \
                 install -m 400 -o rabbitmq -g rabbitmq /dev/null {COOKIE} && printf %s {cookie} >{COOKIE} && \
                 systemctl start rabbitmq-server && rabbitmqctl -q stop_app && \
                 rabbitmqctl -q join_cluster rabbit@mq-1 && rabbitmqctl -q start_app"
            ),
        );
    }

    fn root(&self, node: usize, command: &str) -> String {
        on(&self.lab, &self.nodes[node], "root", command)
    }

    /// When each broker was started: who was not touched has the same as before.
    fn started(&self) -> Vec<String> {
        let ask = "systemctl show rabbitmq-server -p ActiveEnterTimestampMonotonic --value";
        (0..self.nodes.len()).map(|n| self.root(n, ask)).collect()
    }

    fn arguments<'a>(&self, playbook: &'a str, more: &[&'a str]) -> Vec<&'a str> {
        let mut arguments = vec!["apply", playbook, "-i", "inventories/lab", "--format", "json"];
        arguments.extend(more);
        arguments
    }

    fn apply(&self, playbook: &str, more: &[&str], code: i32) -> Report {
        self.desk.run(&self.arguments(playbook, more)).ended(code).report()
    }

    fn client(&self, queue: &str) -> Client {
        Client::start(queue, &self.nodes)
    }
}

/// `client.py` at work.
struct Client {
    child: Child,
    said: BufReader<std::process::ChildStdout>,
}

impl Client {
    fn start(queue: &str, nodes: &[Node]) -> Client {
        let python = match std::env::var_os("RMQPLAY_ANSIBLE") {
            Some(bin) => std::path::PathBuf::from(bin).join("python3"),
            None => std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("target/oracle/bin/python3"),
        };
        let mut child = Command::new(python)
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/lab/client.py"))
            .arg(queue)
            .args(nodes.iter().map(|n| n.address.to_string()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        said.read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n", "the client does not get to work");
        Client { child, said }
    }

    /// Lets it consume what is there, and asks what it came to.
    fn end(mut self) -> Value {
        drop(self.child.stdin.take());
        let mut text = String::new();
        self.said.read_to_string(&mut text).unwrap();
        assert!(self.child.wait().unwrap().success());
        let told: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(told["lost"], serde_json::json!([]), "{told}");
        // It did work, and noticed that nodes went.
        assert!(told["confirmed"].as_u64().unwrap() > 500, "{told}");
        assert!(told["reconnects"].as_u64().unwrap() > 0, "{told}");
        assert!(told["samples"].as_u64().unwrap() > 50, "{told}");
        told
    }
}

/// A test that fails leaves nobody behind.
impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.child.kill();
    }
}

/// What a rolling play did with a host, `gate passed`...
fn turns(report: &Report, host: &str) -> Vec<String> {
    let rolling = report.0["plays"][0]["rolling"]
        .as_array()
        .map_or(&[][..], Vec::as_slice);
    let own = rolling.iter().filter(|r| r["host"] == host && r["state"] != "waiting");
    own.map(|r| format!("{} {}", r["step"].as_str().unwrap(), r["state"].as_str().unwrap()))
        .collect()
}

const WHOLE: [&str; 3] = ["gate passed", "drain passed", "return passed"];

pub fn changes_and_restarts_lose_nothing() {
    let stage = Stage::set();
    let configure = stage.desk.file("configure.yml", CONFIGURE);
    let client = stage.client("changes");

    let before = stage.started();
    let report = stage.apply(&configure, &["-e", "heartbeat=21"], 0);
    for host in ["mq-1", "mq-2", "mq-3"] {
        assert_eq!(turns(&report, host)[..3], WHOLE, "{host}");
        assert_eq!(report.status("restart", host), "changed");
        assert_eq!(report.status("it serves", host), "ok");
    }
    assert_eq!(turns(&report, "mq-3").last().unwrap(), "rebalance passed");
    let after = stage.started();
    assert!(before.iter().zip(&after).all(|(b, a)| b != a), "{before:?} {after:?}");

    // Again: nobody is asked, nobody is touched.
    let report = stage.apply(&configure, &["-e", "heartbeat=21"], 0);
    assert_eq!(report.0["plays"][0].get("rolling"), None);
    assert_eq!(stage.started(), after);

    let report = stage.apply(RESTART, &[], 0);
    assert_eq!(turns(&report, "mq-2"), WHOLE);
    assert!(after.iter().zip(&stage.started()).all(|(b, a)| b != a));

    let told = client.end();
    assert_eq!(told["least_serving"], 2, "{told}");
}

/// While the first is away, the second dies.
pub fn a_node_dies_at_the_worst_moment() {
    let stage = Stage::set();
    let restart = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/playbooks/rolling-restart.yml"));
    let impatient = restart
        .unwrap()
        .replace("rolling: true", "rolling: {start_timeout: 20}");
    let play = stage.desk.file("restart.yml", &impatient);
    let client = stage.client("deaths");
    let before = stage.started();

    let events = format!("jsonl={}", stage.events);
    let run = stage.desk.start(&stage.arguments(&play, &["--report", &events]));
    eventually("the first node is drained", || {
        let events = std::fs::read_to_string(&stage.events).unwrap();
        events
            .lines()
            .any(|l| l.contains(r#""step":"drain""#) && l.contains(r#""state":"passed""#))
    });
    fault::power_off(&stage.nodes[1]).unwrap();
    let ran = run.end().ended(6);
    let report = ran.report();
    says(
        report.0["stopped"].as_str().unwrap(),
        &["mq-1: the node is not back within 20 s", "rabbit@mq-2 does not run"],
    );
    let resume = shlex::split(report.0["resume"].as_str().unwrap()).unwrap();
    let begun = stage.arguments(&play, &["--report", &events, "--limit", "mq-1,mq-2,mq-3"]);
    assert_eq!(resume[1..], begun);
    assert_eq!(turns(&report, "mq-1"), ["gate passed", "drain passed", "return failed"]);
    for host in ["mq-2", "mq-3"] {
        assert_eq!(turns(&report, host), Vec::<String>::new());
        assert_eq!(report.status("RabbitMQ is restarted", host), "none");
    }
    let third = stage.root(
        2,
        "systemctl show rabbitmq-server -p ActiveEnterTimestampMonotonic --value",
    );
    assert_eq!(third, before[2]);

    // With the dead one back, what it says goes on.
    fault::power_on(&stage.lab, &stage.nodes[1]).unwrap();
    // It fails at once where there is no VM yet.
    stage.root(
        1,
        "timeout 150 sh -c 'until rabbitmqctl -q await_startup -t 60 2>/dev/null; do sleep 1; done'",
    );
    let arguments: Vec<&str> = resume.iter().skip(1).map(String::as_str).collect();
    let ran = stage.desk.run(&arguments).ended(0);
    for host in ["mq-1", "mq-2", "mq-3"] {
        assert_eq!(turns(&ran.report(), host)[..3], WHOLE, "{host}");
    }
    client.end();
}

/// Ctrl-C while a drained node is worked on: what runs is waited for, and the node serves its clients again.
pub fn interrupted_once() {
    const HOLD: &str = "
- hosts: rabbitmq
  become: true
  gather_facts: false
  rolling: true
  tasks:
    - name: hold
      command: sh -c 'touch /run/holding; until [ -e /run/let-go ]; do sleep 0.1; done'
";
    let stage = Stage::set();
    stage.root(0, "rm -f /run/holding /run/let-go");
    let play = stage.desk.file("hold.yml", HOLD);
    let events = format!("jsonl={}", stage.events);
    let run = stage.desk.start(&stage.arguments(&play, &["--report", &events]));
    eventually("the first node is worked on", || {
        stage.nodes[0].exec(&["test", "-e", "/run/holding"]).is_ok()
    });
    let listens = "timeout 2 bash -c '</dev/tcp/127.0.0.1/5672' 2>/dev/null && echo yes || echo no";
    assert_eq!(stage.root(0, listens), "no");
    run.interrupt();
    eventually("the run knows", || {
        std::fs::read_to_string(&stage.events).unwrap().contains("interrupted")
    });
    stage.root(0, "touch /run/let-go");
    let report = run.end().ended(130).report();
    assert_eq!(report.status("hold", "mq-1"), "changed");
    assert_eq!(turns(&report, "mq-1"), WHOLE);
    assert_eq!(report.warnings(), std::collections::BTreeSet::new());
    assert_eq!(stage.root(0, listens), "yes");
    assert_eq!(stage.root(0, "ls /var/lib/rmqplay"), "");
    for host in ["mq-2", "mq-3"] {
        assert_eq!(turns(&report, host), Vec::<String>::new());
    }
    let resume = report.0["resume"].as_str().unwrap();
    assert!(resume.ends_with("--limit mq-1,mq-2,mq-3"), "{resume}");

    // A task that fails leaves it drained; what comes next brings it back, though there is nothing left to do.
    let fail = HOLD.replace(
        "touch /run/holding; until [ -e /run/let-go ]; do sleep 0.1; done",
        "false",
    );
    let play = stage.desk.file("fail.yml", &fail);
    let report = stage.apply(&play, &[], 2);
    says(
        &report.warnings().into_iter().collect::<String>(),
        &["rabbit@mq-1 may still be in maintenance mode: `rabbitmq-upgrade -n rabbit@mq-1 revive` on mq-1 ends it"],
    );
    assert_eq!(stage.root(0, listens), "no");
    let play = stage
        .desk
        .file("mended.yml", &fail.replace("command: sh -c 'false'", "stat: {path: /}"));
    let report = stage.apply(&play, &[], 0);
    assert_eq!(turns(&report, "mq-1")[0], "return passed");
    assert_eq!(stage.root(0, listens), "yes");
    assert_eq!(stage.root(0, "ls /var/lib/rmqplay"), "");
}
