//! Objects of brokers through the engine, on fake hosts that are nodes of one cluster: loops act together, of a cluster one
//! node acts, and it comes to what a naive executor comes to.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test that cannot go on fails"
)]

mod support;

use base64::Engine as _;
use proptest::prelude::*;
use rmqplay::engine::event::{Mode, TaskStatus};
use rmqplay::host::{Content, Exec, ExecResult, Op};
use rmqplay::rabbitmq::cli;
use rmqplay::rabbitmq::definitions::{Definitions, Kind};
use rmqplay::transport::fake::{FakeConnector, FakeHost, Loss, Program};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use support::Story;

const NEW: &str = r#"{"rabbitmq_version":"4.0.5",
    "users":[{"name":"guest","tags":["administrator"],"limits":{},"hashing_algorithm":"rabbit_password_hashing_sha256","password_hash":"x"},
        {"name":"other","tags":["administrator"],"limits":{},"hashing_algorithm":"rabbit_password_hashing_sha256","password_hash":"x"}],
    "vhosts":[{"name":"/","limits":[],"metadata":{"description":"","tags":[]}}],
    "permissions":[{"user":"guest","vhost":"/","configure":".*","write":".*","read":".*"}]}"#;

/// Brokers by the name of their cluster; a host that is in none has its own.
struct Brokers {
    clusters: BTreeMap<String, Vec<String>>,
    hold: Mutex<BTreeMap<String, Definitions>>,
    /// Whether the management API is there. It lets in whoever is a user, with the password `s3cret`.
    api: bool,
}

impl Brokers {
    fn new(clusters: &[&[&str]]) -> Arc<Brokers> {
        let cluster = |hosts: &&[&str]| (hosts[0].to_owned(), hosts.iter().map(|h| (*h).to_owned()).collect());
        Arc::new(Brokers {
            clusters: clusters.iter().map(cluster).collect(),
            hold: Mutex::default(),
            api: true,
        })
    }

    /// What comes of a question to the API, asked as the module does.
    fn ask(&self, host: &FakeHost, command: &Exec) -> ExecResult {
        let said = |text: String| ExecResult {
            stdout: Content::from(text),
            ..ExecResult::default()
        };
        if !self.api {
            return ExecResult {
                rc: 7,
                stderr: Content::from("bash: connect: Connection refused\n"),
                ..ExecResult::default()
            };
        }
        let header = command.stdin.as_ref().unwrap().text().into_owned();
        let login = header.trim_end().strip_prefix("Authorization: Basic ").unwrap();
        let login = base64::engine::general_purpose::STANDARD.decode(login).unwrap();
        let login = String::from_utf8(login).unwrap();
        let (user, password) = login.split_once(':').unwrap();
        let all = self.of(host.state["name"].as_str().unwrap());
        if password != "s3cret" || !all.has(Kind::User, &[user]) {
            return said("HTTP/1.1 401 Unauthorized\r\n\r\n{}".to_owned());
        }
        let has = |word: &str| command.argv.iter().any(|a| a.starts_with(word));
        let body = if has("/api/definitions") {
            all.text()
        } else {
            assert!(has("/api/vhosts?"), "{:?}", command.argv);
            self.rows(host).to_string()
        };
        said(format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n{body}"
        ))
    }

    /// Virtual hosts as a node lists them.
    fn rows(&self, host: &FakeHost) -> Value {
        let all = self.of(host.state["name"].as_str().unwrap());
        let row = |(key, properties): (&Vec<String>, &Map<String, Value>)| {
            let mut row = Kind::Vhost.write(key, properties);
            let tracing = host.state.get(&format!("tracing {}", key[0]));
            row.insert("tracing".to_owned(), tracing.cloned().unwrap_or(json!(false)));
            row
        };
        json!(all.of(Kind::Vhost).map(row).collect::<Vec<_>>())
    }

    fn cluster(&self, host: &str) -> (String, Vec<String>) {
        let found = self.clusters.iter().find(|(_, hosts)| hosts.iter().any(|h| h == host));
        found.map_or_else(
            || (host.to_owned(), vec![host.to_owned()]),
            |(n, h)| (n.clone(), h.clone()),
        )
    }

    fn of(&self, host: &str) -> Definitions {
        let mut hold = self.hold.lock().unwrap();
        hold.entry(self.cluster(host).0)
            .or_insert_with(|| Definitions::parse(NEW).unwrap())
            .clone()
    }

    fn set(&self, host: &str, all: Definitions) {
        self.hold.lock().unwrap().insert(self.cluster(host).0, all);
    }

    /// One after the other, as `import_definitions` does: what is refused ends it.
    fn import(&self, host: &mut FakeHost, document: &str) -> Result<(), String> {
        let document: Map<String, Value> = serde_json::from_str(document).unwrap();
        let name = host.state["name"].as_str().unwrap().to_owned();
        let mut all = self.of(&name);
        let mut refused = Ok(());
        'sections: for (section, list) in &document {
            for entry in list.as_array().unwrap() {
                let (kind, key, mut properties) = Kind::read(section, entry.as_object().unwrap()).unwrap();
                // Of the node alone.
                if let Some(tracing) = properties.shift_remove("tracing") {
                    host.state.insert(format!("tracing {}", key[0]), tracing);
                }
                if kind == Kind::Policy && properties["definition"].get("max-lenght").is_some() {
                    refused = Err(format!(
                        "Validation failed\n\nmax-lenght is not recognised ({})",
                        key[1]
                    ));
                    break 'sections;
                }
                let key: Vec<&str> = key.iter().map(String::as_str).collect();
                all.set(kind, &key, properties);
            }
        }
        self.set(&name, all);
        refused
    }

    fn delete(&self, host: &str, program: &str) {
        let words = program
            .split("base64:decode(\"")
            .nth(1)
            .unwrap()
            .split('"')
            .next()
            .unwrap();
        let words = base64::engine::general_purpose::STANDARD.decode(words).unwrap();
        let words: Vec<Vec<String>> = serde_json::from_slice(&words).unwrap();
        let mut all = self.of(host);
        for word in &words {
            let kind = match word[0].as_str() {
                "user" => Kind::User,
                "vhost" => Kind::Vhost,
                "permission" => Kind::Permission,
                "policy" => Kind::Policy,
                other => panic!("{other}"),
            };
            let key: Vec<&str> = word[1..].iter().map(String::as_str).collect();
            all.remove(kind, &key);
        }
        self.set(host, all);
    }
}

struct Nodes(Arc<Brokers>);

impl Program for Nodes {
    fn run(&self, host: &mut FakeHost, command: &Exec, act: bool) -> ExecResult {
        let name = host.state["name"].as_str().unwrap().to_owned();
        let said = |text: &str| ExecResult {
            stdout: Content::from(text),
            ..ExecResult::default()
        };
        if command.argv.iter().any(|a| a.contains("cluster_nodes.config")) {
            let (_, hosts) = self.0.cluster(&name);
            let nodes: Vec<String> = hosts.iter().map(|h| format!("'rabbit@{h}'")).collect();
            let nodes = nodes.join(",");
            return said(&format!("node rabbit@{name}\n{{[{nodes}],[{nodes}]}}.\n"));
        }
        if command.argv.iter().any(|a| a == "rabbitmq-api") {
            return self.0.ask(host, command);
        }
        if !cli::starts_vm(&command.argv) {
            return ExecResult::default();
        }
        let has = |word: &str| command.argv.iter().any(|a| a == word);
        if has("export_definitions") {
            return said(&self.0.of(&name).text());
        }
        if has("list_vhosts") {
            return said(&self.0.rows(host).to_string());
        }
        assert!(act);
        if has("eval") {
            self.0.delete(&name, command.argv.last().unwrap());
            return ExecResult::default();
        }
        match self.0.import(host, &command.stdin.as_ref().unwrap().text()) {
            Ok(()) => ExecResult::default(),
            Err(text) => ExecResult {
                rc: 69,
                stderr: Content::from(text),
                ..ExecResult::default()
            },
        }
    }

    fn after(&self, _: &mut FakeHost, _: &Op) {}
}

fn fleet(brokers: &Arc<Brokers>) -> Arc<FakeConnector> {
    let make = |name: &str| {
        let mut host = FakeHost::default();
        host.state.insert("name".to_owned(), json!(name));
        host
    };
    Arc::new(FakeConnector::new(make, Arc::new(Nodes(brokers.clone()))))
}

fn vms(told: &support::Told) -> Vec<u64> {
    told.ended.timing.values().map(|t| t.vm_starts).collect()
}

fn trips(told: &support::Told) -> Vec<u64> {
    told.ended.timing.values().map(|t| t.round_trips).collect()
}

const INVENTORY: &str = "a\nb\nc\n";

const MANY: &str = "
- hosts: all
  gather_facts: false
  tasks:
    - {name: vhosts, rabbitmq_vhost: {name: 'v{{ item }}'}, loop: '{{ range(10) | list }}'}
    - name: users
      rabbitmq_user:
        user: 'u{{ item }}'
        password: 'p{{ item }}'
        update_password: always
        vhost: 'v{{ item % 10 }}'
        read_priv: '.*'
      loop: '{{ range(50) | list }}'
    - {name: policies, rabbitmq_policy: {name: 'p{{ item }}', vhost: v0, pattern: x, tags: {max-length: 5}}, loop: '{{ range(30) | list }}'}
    - {name: one, rabbitmq_vhost_limits: {vhost: v0, max_queues: 3}, register: limits}
    - {name: seen by all, assert: {that: limits.vhost == 'v0'}}
";

#[test]
fn a_loop_is_one_look_and_one_message_and_a_cluster_one_node_s() {
    let brokers = Brokers::new(&[&["a", "b", "c"]]);
    let dry = Story::new(MANY, INVENTORY).mode(Mode::Diff).run(fleet(&brokers));
    assert_eq!((vms(&dry), trips(&dry)), (vec![1, 0, 0], vec![1, 1, 1]));
    assert_eq!(brokers.of("a"), Definitions::parse(NEW).unwrap());

    let first = Story::new(MANY, INVENTORY).run(fleet(&brokers));
    let all = [
        "vhosts=Changed",
        "users=Changed",
        "policies=Changed",
        "one=Changed",
        "seen by all=Ok",
    ];
    assert_eq!(first.statuses("a"), all);
    assert_eq!(dry.statuses("a"), all);
    let others = ["vhosts=Ok", "users=Ok", "policies=Ok", "one=Ok", "seen by all=Ok"];
    assert_eq!(first.statuses("b"), others);
    assert_eq!(first.statuses("c"), others);
    // A look, and an import with a look for each of the four tasks.
    assert_eq!((vms(&first), trips(&first)), (vec![1 + 4 * 2, 0, 0], vec![1 + 4, 1, 1]));
    assert_eq!(brokers.of("a").of(Kind::User).count(), 52);

    let second = Story::new(MANY, INVENTORY).run(fleet(&brokers));
    for host in ["a", "b", "c"] {
        assert_eq!(second.statuses(host), others);
    }
    assert_eq!((vms(&second), trips(&second)), (vec![1, 0, 0], vec![1, 1, 1]));
}

/// A play whose tasks about objects all have this login.
fn with_login(play: &str, user: &str) -> String {
    let mut play: Value = serde_yaml::from_str(play).unwrap();
    for task in play[0]["tasks"].as_array_mut().unwrap() {
        for (module, args) in task.as_object_mut().unwrap() {
            if module.starts_with("rabbitmq_") {
                args["login_user"] = json!(user);
                args["login_password"] = json!("s3cret");
            }
        }
    }
    play.to_string()
}

#[test]
fn with_a_login_nothing_to_change_starts_no_vm() {
    let many = with_login(MANY, "guest");
    let brokers = Brokers::new(&[&["a", "b", "c"]]);
    let dry = Story::new(&many, INVENTORY).mode(Mode::Diff).run(fleet(&brokers));
    assert_eq!((vms(&dry), trips(&dry)), (vec![0, 0, 0], vec![1, 1, 1]));
    let first = Story::new(&many, INVENTORY).run(fleet(&brokers));
    assert_eq!(first.statuses("a"), dry.statuses("a"));
    // A look; an import with a look for each of the four tasks.
    assert_eq!((vms(&first), trips(&first)), (vec![4, 0, 0], vec![1 + 4, 1, 1]));
    let without = Brokers::new(&[&["a", "b", "c"]]);
    Story::new(MANY, INVENTORY).run(fleet(&without));
    assert_eq!(unsalted(brokers.of("a")), unsalted(without.of("a")));
    let second = Story::new(&many, INVENTORY).run(fleet(&brokers));
    assert_eq!((vms(&second), trips(&second)), (vec![0, 0, 0], vec![1, 1, 1]));
    assert!(second.statuses("a").iter().all(|s| s.ends_with("=Ok")));
}

#[test]
fn without_the_api_the_tool_looks_and_the_result_says_so() {
    let many = with_login(MANY, "guest");
    let mut brokers = Brokers::new(&[&["a", "b"]]);
    Arc::get_mut(&mut brokers).unwrap().api = false;
    let dry = Story::new(&many, "a\nb\n").mode(Mode::Diff).run(fleet(&brokers));
    let first = Story::new(&many, "a\nb\n").run(fleet(&brokers));
    assert_eq!(first.statuses("a"), dry.statuses("a"));
    let second = Story::new(&many, "a\nb\n").run(fleet(&brokers));
    assert!(second.statuses("a").iter().all(|s| s.ends_with("=Ok")));
    assert_eq!((vms(&second), trips(&second)), (vec![1, 0], vec![2, 1]));
    let results = second.results("a");
    let (_, limits) = results.iter().find(|(name, _)| name == "one").unwrap();
    let looked = limits.value["looked"].as_str().unwrap();
    assert!(
        looked.contains("no answer from http://localhost:15672: connection refused"),
        "{looked}"
    );
}

/// A first task without a login makes the user whom the others log in as; a dry run knows.
#[test]
fn the_login_may_be_made_on_the_way() {
    let play = "
- hosts: all
  gather_facts: false
  tasks:
    - {name: admin, rabbitmq_user: {user: admin, password: s3cret, tags: administrator}}
    - {name: vhost, rabbitmq_vhost: {name: v, login_user: admin, login_password: s3cret}}
    - {name: policy, rabbitmq_policy: {name: p, vhost: v, pattern: x, tags: {max-length: 1}, login_user: guest, login_password: s3cret}}
    - {name: gone, rabbitmq_user: {user: guest, state: absent, login_user: guest, login_password: s3cret}}
    - {name: nobody, rabbitmq_vhost: {name: w, login_user: guest, login_password: s3cret}, ignore_errors: true}
";
    let brokers = Brokers::new(&[&["a", "b"]]);
    let dry = Story::new(play, "a\nb\n").mode(Mode::Diff).run(fleet(&brokers));
    let told = Story::new(play, "a\nb\n").run(fleet(&brokers));
    let wanted = ["admin=Changed", "vhost=Changed", "policy=Changed", "gone=Changed"];
    assert_eq!(dry.statuses("a")[..4], wanted);
    assert_eq!(told.statuses("a")[..4], wanted);
    assert_eq!(told.statuses("a")[4], "nobody=Ignored");
    let results = told.results("a");
    let msg = results[4].1.value["msg"].as_str().unwrap();
    assert!(
        msg.ends_with("refuses the login of `guest`: the broker has no such user"),
        "{msg}"
    );
}

#[test]
fn each_node_traces_for_itself() {
    let play = "
- hosts: all
  gather_facts: false
  tasks:
    - {name: vhost, rabbitmq_vhost: {name: v}}
    - {name: tracing, rabbitmq_vhost: {name: v, tracing: true}}
";
    for play in [play.to_owned(), with_login(play, "guest")] {
        let brokers = Brokers::new(&[&["a", "b"]]);
        let fleet = fleet(&brokers);
        let dry = Story::new(&play, "a\nb\n").mode(Mode::Diff).run(fleet.clone());
        let first = Story::new(&play, "a\nb\n").run(fleet.clone());
        let second = Story::new(&play, "a\nb\n").run(fleet);
        for told in [&dry, &first] {
            assert_eq!(told.statuses("a"), ["vhost=Changed", "tracing=Changed"]);
            assert_eq!(told.statuses("b"), ["vhost=Ok", "tracing=Changed"]);
            for host in ["a", "b"] {
                let results = told.results(host);
                let subjects: Vec<&str> = results[1].1.deltas.iter().map(|d| d.subject.as_str()).collect();
                assert_eq!(subjects, ["vhost v: tracing"], "{host}");
            }
        }
        assert_eq!(second.statuses("b"), ["vhost=Ok", "tracing=Ok"]);
    }
}

#[test]
fn two_clusters_are_two() {
    let brokers = Brokers::new(&[&["a", "b"], &["c", "d"]]);
    let told = Story::new(MANY, "a\nb\nc\nd\ne\n").run(fleet(&brokers));
    let changed = ["a", "b", "c", "d", "e"].map(|h| told.statuses(h)[0] == "vhosts=Changed");
    assert_eq!(changed, [true, false, true, false, true]);
    assert_eq!(
        brokers.of("a").of(Kind::Policy).count(),
        brokers.of("c").of(Kind::Policy).count()
    );
    let again = Story::new(MANY, "a\nb\nc\nd\ne\n").run(fleet(&brokers));
    assert_eq!(vms(&again), [1, 0, 1, 0, 1]);
}

#[test]
fn two_clusters_with_the_same_names_are_not_taken_for_one() {
    // The same members, and both hosts say that they are the same of them.
    struct Twins(Arc<Brokers>);
    impl Program for Twins {
        fn run(&self, host: &mut FakeHost, command: &Exec, act: bool) -> ExecResult {
            if command.argv.iter().any(|a| a.contains("cluster_nodes.config")) {
                let stdout = Content::from("node rabbit@x\n{['rabbit@x','rabbit@y'],['rabbit@x']}.\n");
                return ExecResult {
                    stdout,
                    ..ExecResult::default()
                };
            }
            Nodes(self.0.clone()).run(host, command, act)
        }
    }
    let brokers = Brokers::new(&[]);
    let make = |name: &str| {
        let mut host = FakeHost::default();
        host.state.insert("name".to_owned(), json!(name));
        host
    };
    let fleet = Arc::new(FakeConnector::new(make, Arc::new(Twins(brokers.clone()))));
    let told = Story::new(MANY, "a\nb\n").run(fleet);
    assert_eq!(told.statuses("a"), told.statuses("b"));
    assert_eq!(brokers.of("b").of(Kind::User).count(), 52);
}

#[test]
fn hosts_whose_tasks_say_something_else_do_them_themselves() {
    let brokers = Brokers::new(&[&["a", "b", "c"]]);
    let told = Story::new(
        "
- hosts: all
  gather_facts: false
  tasks:
    - {name: own, rabbitmq_vhost: {name: '{{ inventory_hostname }}'}}
    - {name: not a, rabbitmq_vhost: {name: common}, when: inventory_hostname != 'a'}
",
        INVENTORY,
    )
    .run(fleet(&brokers));
    assert_eq!(told.statuses("a"), ["own=Changed", "not a=Skipped"]);
    assert_eq!(told.statuses("b"), ["own=Changed", "not a=Changed"]);
    assert_eq!(told.statuses("c"), ["own=Changed", "not a=Ok"]);
    let vhosts: Vec<String> = brokers.of("a").of(Kind::Vhost).map(|(key, _)| key[0].clone()).collect();
    assert_eq!(vhosts, ["/", "a", "b", "c", "common"]);
}

#[test]
fn what_another_node_did_in_between_is_looked_at_again() {
    /// `spoil` on any node takes a vhost away.
    struct Spoiling(Arc<Brokers>);
    impl Program for Spoiling {
        fn run(&self, host: &mut FakeHost, command: &Exec, act: bool) -> ExecResult {
            if command.argv.first().is_some_and(|a| a == "spoil") && act {
                let mut all = self.0.of("a");
                all.remove(Kind::Vhost, &["v"]);
                self.0.set("a", all);
            }
            Nodes(self.0.clone()).run(host, command, act)
        }
    }
    let brokers = Brokers::new(&[&["a", "b", "c"]]);
    let make = |name: &str| {
        let mut host = FakeHost::default();
        host.state.insert("name".to_owned(), json!(name));
        host
    };
    let fleet = Arc::new(FakeConnector::new(make, Arc::new(Spoiling(brokers.clone()))));
    let told = Story::new(
        "
- hosts: all
  gather_facts: false
  tasks:
    - {name: first, rabbitmq_vhost: {name: v}}
    - {name: spoilt, command: {argv: [spoil]}, when: inventory_hostname == 'c'}
    - {name: again, rabbitmq_vhost: {name: v}}
",
        INVENTORY,
    )
    .run(fleet);
    assert_eq!(told.statuses("a"), ["first=Changed", "spoilt=Skipped", "again=Changed"]);
    assert!(brokers.of("a").has(Kind::Vhost, &["v"]));
}

#[test]
fn who_joins_in_mid_play_shares_from_then_on() {
    /// `join` on any node makes one cluster of all.
    struct Joining(Arc<Brokers>, std::sync::atomic::AtomicBool);
    impl Program for Joining {
        fn run(&self, host: &mut FakeHost, command: &Exec, act: bool) -> ExecResult {
            use std::sync::atomic::Ordering::SeqCst;
            if command.argv.first().is_some_and(|a| a == "join") && act {
                self.1.store(true, SeqCst);
            }
            let name = host.state["name"].as_str().unwrap().to_owned();
            if command.argv.iter().any(|a| a.contains("cluster_nodes.config")) && !self.1.load(SeqCst) {
                return ExecResult {
                    stdout: Content::from(format!(
                        "node rabbit@{name}\n{{['rabbit@{name}'],['rabbit@{name}']}}.\n"
                    )),
                    ..ExecResult::default()
                };
            }
            Nodes(self.0.clone()).run(host, command, act)
        }
    }
    let brokers = Brokers::new(&[&["a", "b"]]);
    let make = |name: &str| {
        let mut host = FakeHost::default();
        host.state.insert("name".to_owned(), json!(name));
        host
    };
    let fleet = Arc::new(FakeConnector::new(make, Arc::new(Joining(brokers, false.into()))));
    let told = Story::new(
        "
- hosts: all
  gather_facts: false
  tasks:
    - {name: alone, rabbitmq_vhost: {name: v}}
    - {name: join, command: {argv: [join]}, when: inventory_hostname == 'b'}
    - {name: one, rabbitmq_vhost: {name: w}}
",
        "a\nb\n",
    )
    .run(fleet);
    assert_eq!(told.statuses("a"), ["alone=Changed", "join=Skipped", "one=Changed"]);
    assert_eq!(told.statuses("b")[1..], ["join=Changed", "one=Ok"]);
}

#[test]
fn a_failure_is_that_of_all_and_of_the_item_it_belongs_to() {
    let brokers = Brokers::new(&[&["a", "b", "c"]]);
    let told = Story::new(
        "
- hosts: all
  gather_facts: false
  tasks:
    - name: policies
      rabbitmq_policy: {name: 'p{{ item }}', pattern: x, tags: \"{{ {'max-lenght' if item == 2 else 'max-length': 5} }}\"}
      loop: [1, 2, 3]
      register: all
      ignore_errors: true
    - name: as Ansible has it
      assert:
        that: all.results | map(attribute='failed') | list == [false, true, false]
      when: inventory_hostname == 'a'
    - {name: for all, rabbitmq_policy: {name: p, vhost: nowhere, pattern: x, tags: {max-length: 1}}}
",
        INVENTORY,
    )
    .run(fleet(&brokers));
    assert_eq!(
        told.statuses("a"),
        ["policies=Ignored", "as Ansible has it=Ok", "for all=Failed"]
    );
    assert_eq!(
        told.statuses("b"),
        ["policies=Ignored", "as Ansible has it=Skipped", "for all=Failed"]
    );
    let policies: Vec<String> = brokers
        .of("a")
        .of(Kind::Policy)
        .map(|(key, _)| key[1].clone())
        .collect();
    assert_eq!(policies, ["p1", "p3"]);
}

#[test]
fn a_lost_call_in_a_loop_loses_nothing() {
    for loss in [Loss::Before, Loss::After] {
        let brokers = Brokers::new(&[&["a", "b"]]);
        let make = move |name: &str| {
            let mut host = FakeHost::default();
            host.state.insert("name".to_owned(), json!(name));
            if name == "a" {
                // The message with the ops.
                host.lose.insert(2, loss);
            }
            host
        };
        let fleet = Arc::new(FakeConnector::new(make, Arc::new(Nodes(brokers.clone()))));
        let told = Story::new(MANY, "a\nb\n").run(fleet);
        assert_eq!(
            told.statuses("a")[..3],
            ["vhosts=Changed", "users=Changed", "policies=Changed"]
        );
        assert_eq!(brokers.of("a").of(Kind::User).count(), 52);
    }
}

/// A loop: module, and the arguments of its items.
type Loop = (&'static str, Vec<Value>);

/// Of a loop: no login; one; two that take turns.
fn login() -> impl Strategy<Value = Vec<&'static str>> {
    prop_oneof![Just(vec![]), Just(vec!["guest"]), Just(vec!["guest", "other"])]
}

fn logged_in((module, mut items): Loop, logins: &[&str]) -> Loop {
    for (item, user) in items.iter_mut().zip(logins.iter().cycle()) {
        item["login_user"] = json!(user);
        item["login_password"] = json!("s3cret");
    }
    (module, items)
}

fn one_loop() -> impl Strategy<Value = Loop> {
    let name = || prop_oneof![Just("x"), Just("y"), Just("z")];
    let state = || prop_oneof![3 => Just("present"), 2 => Just("absent")];
    let vhost = (name(), state()).prop_map(|(n, s)| json!({"name": n, "state": s}));
    let user = (name(), state(), any::<bool>(), 0u8..2).prop_map(|(n, s, always, p)| {
        json!({"user": n, "state": s, "password": format!("p{p}"), "update_password": if always {"always"} else {"on_create"}})
    });
    let policy = (name(), name(), state(), 0u8..2)
        .prop_map(|(n, v, s, d)| json!({"name": n, "vhost": v, "state": s, "pattern": "x", "tags": {"max-length": d}}));
    let one = prop_oneof![
        prop::collection::vec(vhost, 1..5).prop_map(|items| ("rabbitmq_vhost", items)),
        prop::collection::vec(user, 1..5).prop_map(|items| ("rabbitmq_user", items)),
        prop::collection::vec(policy, 1..5).prop_map(|items| ("rabbitmq_policy", items)),
    ];
    (one, login()).prop_map(|(one, logins)| logged_in(one, &logins))
}

/// As loops on a cluster, or each item a task of its own on a node that is alone.
fn play(loops: &[Loop], alone: bool) -> String {
    let mut tasks = Vec::new();
    for (n, (module, items)) in loops.iter().enumerate() {
        if alone {
            for item in items {
                tasks.push(json!({"name": format!("t{n}"), *module: item, "ignore_errors": true}));
            }
        } else {
            let keys: std::collections::BTreeSet<&String> =
                items.iter().flat_map(|i| i.as_object().unwrap().keys()).collect();
            let args: Map<String, Value> = keys
                .into_iter()
                .map(|k| (k.clone(), json!(format!("{{{{ item.{k} }}}}"))))
                .collect();
            tasks.push(json!({"name": format!("t{n}"), *module: args, "loop": items, "ignore_errors": true}));
        }
    }
    json!([{"hosts": "all", "gather_facts": false, "tasks": tasks}]).to_string()
}

/// Whether each task changed something, and whether it failed.
fn came_to(told: &support::Told, loops: &[Loop]) -> Vec<(bool, bool)> {
    let mut results: Vec<(bool, bool)> = vec![(false, false); loops.len()];
    for (name, result) in told.results("a") {
        let n: usize = name[1..].parse().unwrap();
        results[n].0 |= result.value["changed"] == true;
        results[n].1 |= matches!(result.status, TaskStatus::Failed | TaskStatus::Ignored);
    }
    results
}

/// Password hashes are salted with what is drawn for the run.
fn unsalted(mut all: Definitions) -> Definitions {
    let users: Vec<_> = all.of(Kind::User).map(|(k, p)| (k.clone(), p.clone())).collect();
    for (key, mut properties) in users {
        properties.shift_remove("password_hash");
        all.put(Kind::User, key, properties);
    }
    all
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    #[test]
    fn loops_on_a_cluster_come_to_what_single_tasks_come_to(loops in prop::collection::vec(one_loop(), 1..5)) {
        let (alone, together) = (Brokers::new(&[]), Brokers::new(&[&["a", "b", "c"]]));
        let one = Story::new(&play(&loops, true), "a\n").run(fleet(&alone));
        let dry = Story::new(&play(&loops, false), INVENTORY).mode(Mode::Diff).run(fleet(&together));
        let all = Story::new(&play(&loops, false), INVENTORY).run(fleet(&together));
        prop_assert_eq!(unsalted(alone.of("a")).text(), unsalted(together.of("a")).text());
        prop_assert_eq!(came_to(&one, &loops), came_to(&all, &loops));
        prop_assert_eq!(came_to(&dry, &loops), came_to(&all, &loops));
    }
}
