//! The engine against its oracle, and its semantics on fake hosts.
//!
//! **The oracle is a naive executor: look, decide, act, look again, one task after the other.** Random playbooks
//! run on fake hosts whose ops have random side effects on what other tasks look at; the clever engine must come
//! to the same end state and the same statuses.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test that cannot go on fails"
)]

#[path = "support/controller.rs"]
mod controller;
mod support;

use controller::Controller;
use proptest::prelude::*;
use rmqplay::engine::event::{Event, Mode, TaskStatus};
use rmqplay::host::{Content, Exec, ExecResult, Observation, Op, Probe};
use rmqplay::modules::{self, Action, Decision, Kind, Seen, Settle, Stop};
use rmqplay::transport::fake::{FakeConnector, FakeHost, Loss, Node, Program};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use support::Story;

/// Files that tasks and side effects meet on.
const FILES: usize = 4;

fn path(n: usize) -> String {
    format!("/f/{n}")
}

/// What happens besides: after an op on file `.0`, file `.1` gets content `.2` (or goes away).
type SideEffect = (usize, usize, Option<u8>);

struct Gremlin(Vec<SideEffect>);

impl Gremlin {
    fn touch(&self, host: &mut FakeHost, path: &str) {
        for (on, file, content) in &self.0 {
            if path == format!("/f/{on}") {
                match content {
                    Some(c) => host.put(&format!("/f/{file}"), Node::file(format!("side {c}\n"))),
                    None => {
                        host.files.remove(&format!("/f/{file}"));
                    }
                }
            }
        }
    }
}

impl Program for Gremlin {
    /// `toggle N` writes file N, `noop` does nothing, `fail` fails; the ledger's scripts do what they say.
    fn run(&self, host: &mut FakeHost, command: &Exec, act: bool) -> ExecResult {
        if command
            .argv
            .last()
            .is_some_and(|script| script.contains("pending-handlers"))
        {
            let ledger = "/ledger";
            match (&command.stdin, act) {
                (Some(names), true) if names.as_bytes().is_empty() => drop(host.files.remove(ledger)),
                (Some(names), true) => host.put(ledger, Node::file(names.as_bytes())),
                _ => {}
            }
            let stdout = host.files.get(ledger).map(|n| n.content.clone()).unwrap_or_default();
            return ExecResult {
                stdout,
                ..ExecResult::default()
            };
        }
        let rc = match command.argv.first().map(String::as_str) {
            Some("toggle") if act => {
                let file = format!("/f/{}", command.argv[1]);
                host.put(&file, Node::file("toggled\n"));
                self.touch(host, &file);
                0
            }
            Some("fail") => 1,
            _ => 0,
        };
        ExecResult {
            rc,
            ..ExecResult::default()
        }
    }

    fn after(&self, host: &mut FakeHost, op: &Op) {
        match op {
            Op::Write { path, .. } | Op::Remove { path, .. } => self.touch(host, path),
            _ => {}
        }
    }
}

#[derive(Clone, Debug)]
struct T {
    module: &'static str,
    args: Value,
    /// Only if the task with this number changed something.
    when_changed: Option<usize>,
    /// Its content is what the controller says of the host's file with this number.
    asks: Option<(Asks, usize)>,
}

/// How a task asks the controller.
#[derive(Clone, Copy, Debug)]
enum Asks {
    Pipe,
    File,
    Source,
    Template,
}

/// What the controller says of a file on a host.
fn said(host: &FakeHost, file: usize) -> String {
    let content = host.files.get(&path(file)).map(|n| n.content.as_bytes().to_vec());
    content.map_or("none\n".to_owned(), |bytes| String::from_utf8(bytes).expect("text"))
}

fn task() -> impl Strategy<Value = T> {
    let file = 0..FILES;
    let body = prop_oneof![
        (file.clone(), 0u8..3).prop_map(|(f, c)| ("copy", json!({"dest": path(f), "content": format!("text {c}\n")}))),
        (file.clone(), 0u8..3).prop_map(|(f, c)| (
            "lineinfile",
            json!({"path": path(f), "line": format!("line {c}"), "create": true})
        )),
        file.clone()
            .prop_map(|f| ("file", json!({"path": path(f), "state": "absent"}))),
        file.clone().prop_map(|f| ("stat", json!({"path": path(f)}))),
        (file.clone(), file.clone()).prop_map(|(f, c)| (
            "command",
            json!({"argv": ["toggle", f.to_string()], "creates": path(c)})
        )),
        file.clone()
            .prop_map(|f| ("command", json!({"argv": ["toggle", f.to_string()]}))),
        Just(("command", json!({"argv": ["noop"]}))),
    ];
    let kinds = prop_oneof![
        Just(Asks::Pipe),
        Just(Asks::File),
        Just(Asks::Source),
        Just(Asks::Template)
    ];
    let asks = proptest::option::weighted(0.3, (kinds, 0..FILES));
    let when_changed = proptest::option::weighted(0.3, 0usize..8);
    (body, when_changed, asks).prop_map(|((module, args), when_changed, asks)| T {
        module,
        args,
        when_changed,
        asks: asks.filter(|_| module == "copy"),
    })
}

fn playbook(tasks: &[T]) -> String {
    let tasks: Vec<Value> = tasks
        .iter()
        .enumerate()
        .map(|(n, t)| {
            let mut task = Map::new();
            task.insert("name".to_owned(), json!(format!("t{n}")));
            let mut args = t.args.clone();
            match t.asks {
                None => {}
                Some((Asks::Source | Asks::Template, file)) => {
                    args = json!({"dest": args["dest"], "src": format!("/live/{{{{ inventory_hostname }}}}/{file}")});
                }
                Some((Asks::Pipe, file)) => {
                    args["content"] = json!(format!("{{{{ lookup('pipe', inventory_hostname ~ '/{file}') }}}}"));
                }
                Some((Asks::File, file)) => {
                    args["content"] = json!(format!(
                        "{{{{ lookup('file', '/live/' ~ inventory_hostname ~ '/{file}') }}}}"
                    ));
                }
            }
            let is_template = matches!(t.asks, Some((Asks::Template, _)));
            let module = if is_template { "template" } else { t.module };
            task.insert(module.to_owned(), args);
            // Where nothing new is known, what was made ready looking ahead is used.
            if tasks[n..].iter().any(|t| t.when_changed == Some(n)) {
                task.insert("register".to_owned(), json!(format!("r{n}")));
            }
            if let Some(on) = t.when_changed.filter(|on| *on < n) {
                task.insert("when".to_owned(), json!(format!("r{on}.changed")));
            }
            Value::Object(task)
        })
        .collect();
    json!([{"hosts": "all", "gather_facts": false, "tasks": tasks}]).to_string()
}

fn start(contents: &[Option<u8>]) -> FakeHost {
    let mut host = FakeHost::default();
    host.put("/f", Node::directory());
    for (n, content) in contents.iter().enumerate() {
        if let Some(c) = content {
            host.put(&path(n), Node::file(format!("text {c}\n")));
        }
    }
    host
}

/// A dry run can tell: no command, and nothing that the controller would say otherwise by then.
fn foreseeable(task: &T) -> bool {
    task.module != "command" && task.asks.is_none()
}

/// Decides from what the host looks like right now.
fn decide(action: &dyn Action, host: &mut FakeHost, program: &dyn Program) -> Result<Decision, Stop> {
    let mut seen: BTreeMap<Probe, Observation> = BTreeMap::new();
    loop {
        let look = |probe: &Probe| seen.get(probe).cloned();
        match action.decide(&Seen::new(&look)) {
            Err(Stop::NeedMore(probes)) => {
                for probe in probes {
                    let observation = host.look(&probe, program);
                    seen.insert(probe, observation);
                }
            }
            answer => return answer,
        }
    }
}

/// The oracle.
fn naive(tasks: &[T], host: &mut FakeHost, program: &dyn Program) -> Vec<String> {
    let mut statuses = Vec::new();
    let mut changed = vec![false; tasks.len()];
    for (n, task) in tasks.iter().enumerate() {
        if task.when_changed.is_some_and(|on| on < n && !changed[on]) {
            statuses.push(format!("t{n}=Skipped"));
            continue;
        }
        let spec = modules::find(task.module).expect("a module");
        let Kind::Host(prepare) = spec.kind else {
            unreachable!("a host module")
        };
        let mut args = task.args.clone();
        match task.asks {
            None => {}
            Some((Asks::Source | Asks::Template, file)) => args["content"] = json!(said(host, file)),
            Some((_, file)) => args["content"] = json!(said(host, file).trim_end()),
        }
        let args = modules::coerce(spec, args.as_object().expect("a mapping")).expect("good arguments");
        let action = prepare(&args, &Controller).expect("good arguments");
        let status = match decide(&*action, host, program).expect("a decision") {
            Decision::Keep(_) => TaskStatus::Ok,
            Decision::Fail(_) => TaskStatus::Failed,
            Decision::Change(change) => {
                let mut outcomes = Vec::new();
                for op in &change.ops {
                    let outcome = host.act(op, program);
                    let done = outcome.is_done();
                    outcomes.push(outcome);
                    if !done {
                        break;
                    }
                    program.after(host, op);
                }
                if !outcomes.iter().all(rmqplay::host::Outcome::is_done) {
                    TaskStatus::Failed
                } else if change.settle == Settle::Outcome {
                    match action.finish(&change, &outcomes) {
                        Ok(_) if change.changed => TaskStatus::Changed,
                        Ok(_) => TaskStatus::Ok,
                        Err(_) => TaskStatus::Failed,
                    }
                } else {
                    match decide(&*action, host, program).expect("a decision") {
                        Decision::Keep(_) => TaskStatus::Changed,
                        _ => TaskStatus::Failed,
                    }
                }
            }
        };
        changed[n] = status == TaskStatus::Changed;
        statuses.push(format!("t{n}={status:?}"));
        if status == TaskStatus::Failed {
            break;
        }
    }
    statuses
}

/// A run on these hosts, whose controller knows what their files hold.
fn story(tasks: &[T], hosts: &str, fleet: &Arc<FakeConnector>) -> Story {
    let hosts_of = fleet.clone();
    Story::new(&playbook(tasks), hosts).live(move |about| {
        let (host, file) = about.split_once('/').expect("HOST/FILE");
        let host = hosts_of.host(host);
        let host = host.lock().unwrap();
        said(&host, file.parse().expect("a number"))
    })
}

fn contents(host: &FakeHost) -> BTreeMap<String, Content> {
    host.files.iter().map(|(p, n)| (p.clone(), n.content.clone())).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 250, ..ProptestConfig::default() })]

    #[test]
    fn as_the_naive_executor(
        tasks in proptest::collection::vec(task(), 1..12),
        effects in proptest::collection::vec((0..FILES, 0..FILES, proptest::option::of(0u8..3)), 0..4),
        begin in proptest::collection::vec(proptest::option::of(0u8..3), FILES),
    ) {
        let program = Arc::new(Gremlin(effects));
        let mut expected_host = start(&begin);
        let expected = naive(&tasks, &mut expected_host, &*program);
        let fleet = Arc::new(FakeConnector::new(move |_| start(&begin), program));
        let told = story(&tasks, "a\nb\n", &fleet).run(fleet.clone());
        for name in ["a", "b"] {
            prop_assert_eq!(&told.statuses(name), &expected, "statuses of {}", name);
            let host = fleet.host(name);
            let host = host.lock().unwrap();
            prop_assert_eq!(&contents(&host), &contents(&expected_host), "files of {}", name);
        }
    }

    /// A dry run without side effects and commands names exactly what an apply then changes.
    #[test]
    fn a_dry_run_is_true(
        tasks in proptest::collection::vec(task().prop_filter("foreseeable", foreseeable), 1..12),
        begin in proptest::collection::vec(proptest::option::of(0u8..3), FILES),
    ) {
        let program = Arc::new(Gremlin(Vec::new()));
        let fleet = Arc::new(FakeConnector::new(move |_| start(&begin), program));
        let before = contents(&fleet.host("a").lock().unwrap());
        let foretold = story(&tasks, "a\n", &fleet).mode(Mode::Diff).run(fleet.clone()).statuses("a");
        prop_assert_eq!(&contents(&fleet.host("a").lock().unwrap()), &before, "a dry run changes nothing");
        let done = story(&tasks, "a\n", &fleet).run(fleet.clone()).statuses("a");
        prop_assert_eq!(foretold, done);
    }

    /// Whatever call is lost, before or after its ops ran, the end is the same (files only: a command that was
    /// lost is reported as such).
    #[test]
    fn a_lost_call_loses_nothing(
        tasks in proptest::collection::vec(task().prop_filter("no commands", |t| t.module != "command"), 1..8),
        begin in proptest::collection::vec(proptest::option::of(0u8..3), FILES),
        at in 0u64..6,
        after in any::<bool>(),
    ) {
        let program = Arc::new(Gremlin(Vec::new()));
        let mut expected_host = start(&begin);
        let expected = naive(&tasks, &mut expected_host, &*program);
        let loss = if after { Loss::After } else { Loss::Before };
        let fleet = Arc::new(FakeConnector::new(
            move |_| FakeHost { lose: [(at, loss)].into(), ..start(&begin) },
            program,
        ));
        let told = story(&tasks, "a\n", &fleet).run(fleet.clone());
        prop_assert_eq!(&told.statuses("a"), &expected);
        prop_assert_eq!(&contents(&fleet.host("a").lock().unwrap()), &contents(&expected_host));
    }
}

fn fleet() -> Arc<FakeConnector> {
    Arc::new(FakeConnector::new(
        |_| start(&[None; FILES]),
        Arc::new(Gremlin(Vec::new())),
    ))
}

fn round_trips(told: &support::Told, host: &str) -> u64 {
    told.ended.timing[host].round_trips
}

const MANY: &str = "
- hosts: all
  gather_facts: false
  tasks:
    - {name: one, copy: {dest: /f/0, content: a}}
    - {name: two, copy: {dest: /f/1, content: b}, when: \"'x' in 'xyz'\"}
    - {name: look, stat: {path: /f/0}, register: s}
    - {name: sure, assert: {that: s.stat.exists}}
    - {name: three, copy: {dest: '/f/{{ item }}', content: c}, loop: [2, 3]}
    - {name: made, command: {argv: [toggle, '1'], creates: /f/1}}
";

#[test]
fn converged_is_one_round_trip_and_a_first_apply_one_more_for_each_change() {
    let fleet = fleet();
    let first = Story::new(MANY, "a\n").run(fleet.clone());
    assert_eq!(
        first.statuses("a"),
        [
            "one=Changed",
            "two=Changed",
            "look=Ok",
            "sure=Ok",
            "three=Changed",
            "made=Ok"
        ]
    );
    assert_eq!(round_trips(&first, "a"), 1 + 4);
    let second = Story::new(MANY, "a\n").run(fleet);
    assert_eq!(
        second.statuses("a"),
        ["one=Ok", "two=Ok", "look=Ok", "sure=Ok", "three=Ok", "made=Ok"]
    );
    assert_eq!(round_trips(&second, "a"), 1);
    assert_eq!(second.ended.timing["a"].executions, 0);
}

/// The host of each result, in the order in which they came.
fn hosts_in_turn(told: &support::Told) -> String {
    let hosts = told.events.iter().filter_map(|event| match event {
        Event::HostResult { host, .. } => Some(host.as_str()),
        _ => None,
    });
    hosts.collect()
}

#[test]
fn with_fewer_calls_than_hosts_one_host_is_done_before_the_next_is_begun() {
    let play = |tasks: &str| {
        let files =
            "    - {name: one, copy: {dest: /f/0, content: a}}\n    - {name: two, copy: {dest: /f/1, content: b}}\n";
        let playbook = format!("- hosts: all\n  gather_facts: false\n  tasks:\n{files}{tasks}");
        let mut story = Story::new(&playbook, "a\nb\nc\n").live(|_| "said".to_owned());
        story.forks = 1;
        story.run(fleet())
    };
    assert_eq!(hosts_in_turn(&play("")), "aabbcc");
    // Where all have to wait for each other, who has not been begun with is waited for.
    let together = "    - {name: three, command: toggle 2}\n    - {name: four, copy: {dest: /f/3, content: c}}\n";
    assert_eq!(hosts_in_turn(&play(together)), "aabbccaabbcc");
    let first = "- hosts: all\n  gather_facts: false\n  tasks:\n    - {name: told, debug: {msg: \"{{ lookup('pipe', 'x') }}\"}}\n";
    let mut story = Story::new(first, "a\nb\n").live(|_| "said".to_owned());
    story.forks = 1;
    assert_eq!(hosts_in_turn(&story.run(fleet())), "ab");
}

/// Ctrl-C comes with the first op.
struct Interrupts(Arc<tokio::sync::Notify>);

impl Program for Interrupts {
    fn run(&self, _: &mut FakeHost, _: &Exec, _: bool) -> ExecResult {
        ExecResult::default()
    }
    fn after(&self, _: &mut FakeHost, _: &Op) {
        self.0.notify_one();
    }
}

#[test]
fn after_an_interrupt_no_further_host_is_begun() {
    let mut story = Story::new(
        "- hosts: all\n  gather_facts: false\n  tasks:\n    - {name: one, copy: {dest: /f/0, content: a}}\n    - {name: two, copy: {dest: /f/1, content: b}}\n",
        "a\nb\nc\n",
    );
    story.forks = 1;
    let fleet = Arc::new(FakeConnector::new(
        |_| start(&[None; FILES]),
        Arc::new(Interrupts(story.stop.clone())),
    ));
    let told = story.run(fleet.clone());
    assert_eq!(told.statuses("a")[0], "one=Changed");
    for name in ["b", "c"] {
        assert_eq!(told.statuses(name), [] as [&str; 0]);
        assert_eq!(fleet.host(name).lock().unwrap().calls, 0, "{name} was not called");
    }
}

#[test]
fn handlers_run_once_in_the_order_of_their_definition() {
    let told = Story::new(
        "
- hosts: all
  gather_facts: false
  tasks:
    - {name: x, copy: {dest: /f/0, content: a}, notify: [second, first]}
    - {name: y, copy: {dest: /f/1, content: a}, notify: topic}
    - {name: z, copy: {dest: /f/1, content: a}, notify: never}
  handlers:
    - {name: first, command: {argv: [noop]}}
    - {name: second, command: {argv: [noop]}, listen: topic}
    - {name: never, command: {argv: [noop]}}
",
        "a\n",
    )
    .run(fleet());
    assert_eq!(
        told.statuses("a"),
        ["x=Changed", "y=Changed", "z=Ok", "first=Changed", "second=Changed"]
    );
}

#[test]
fn blocks_rescue_and_always() {
    let told = Story::new(
        "
- hosts: all
  gather_facts: false
  tasks:
    - block:
        - {name: bad, command: {argv: [fail]}}
        - {name: not reached, command: {argv: [noop]}}
      rescue:
        - {name: why, assert: {that: ansible_failed_task.name == 'bad' and ansible_failed_result.rc == 1}}
      always:
        - {name: at last, command: {argv: [noop]}}
    - {name: goes on, command: {argv: [noop]}}
    - {name: ignored, command: {argv: [fail]}, ignore_errors: true}
    - block:
        - {name: worse, command: {argv: [fail]}}
      always:
        - {name: always too, command: {argv: [noop]}}
    - {name: lost, command: {argv: [noop]}}
",
        "a\n",
    )
    .run(fleet());
    assert_eq!(
        told.statuses("a"),
        [
            "bad=Rescued",
            "why=Ok",
            "at last=Changed",
            "goes on=Changed",
            "ignored=Ignored",
            "worse=Failed",
            "always too=Changed"
        ]
    );
    let stats = &told.ended.stats["a"];
    assert_eq!((stats.rescued, stats.ignored, stats.failures), (1, 1, 1));
}

/// The order in which hosts ran commands, as `host command`.
fn order(told: &support::Told) -> Vec<String> {
    let mut names = BTreeMap::new();
    let mut order = Vec::new();
    for event in &told.events {
        match event {
            Event::TaskStarted { task } => {
                names.insert(task.id, task.name.clone());
            }
            Event::HostResult { task, host, .. } => order.push(format!("{host} {}", names[task])),
            _ => {}
        }
    }
    order
}

#[test]
fn a_command_waits_for_all_hosts_to_have_done_what_comes_before() {
    let told = Story::new(
        "
- hosts: all
  gather_facts: false
  tasks:
    - {name: on a only, command: {argv: [noop]}, when: inventory_hostname == 'a'}
    - {name: two, command: {argv: [noop]}}
    - {name: three, command: {argv: [noop]}}
",
        "a\nb\nc\n",
    )
    .run(fleet());
    let order = order(&told);
    let at = |what: &str| order.iter().position(|o| o == what).unwrap();
    for host in ["a", "b", "c"] {
        assert!(at(&format!("{host} two")) > at("a on a only"), "{order:?}");
        for other in ["a", "b", "c"] {
            assert!(at(&format!("{host} three")) > at(&format!("{other} two")), "{order:?}");
        }
    }
}

#[test]
fn run_once_gives_its_result_to_all() {
    let told = Story::new(
        "
- hosts: all
  gather_facts: false
  tasks:
    - {name: once, command: {argv: [noop]}, run_once: true, register: r}
    - {name: all have it, assert: {that: r.rc == 0}}
",
        "a\nb\n",
    )
    .run(fleet());
    assert_eq!(told.statuses("a"), ["once=Changed", "all have it=Ok"]);
    assert_eq!(told.statuses("b"), ["all have it=Ok"]);
}

#[test]
fn any_errors_fatal_lets_others_finish_the_task_and_no_more() {
    let told = Story::new(
        "
- hosts: all
  gather_facts: false
  any_errors_fatal: true
  tasks:
    - {name: one, command: {argv: [\"{{ 'fail' if inventory_hostname == 'a' else 'noop' }}\"]}}
    - {name: two, command: {argv: [noop]}}
- hosts: all
  gather_facts: false
  tasks:
    - {name: next play, command: {argv: [noop]}}
",
        "a\nb\n",
    )
    .run(fleet());
    assert_eq!(told.statuses("a"), ["one=Failed"]);
    assert_eq!(told.statuses("b"), ["one=Changed"]);
}

#[test]
fn a_rollout_stops_when_too_many_are_lost_unreachable_ones_included() {
    let fleet = Arc::new(FakeConnector::new(
        |name| FakeHost {
            refuse: name == "a",
            ..start(&[None; FILES])
        },
        Arc::new(Gremlin(Vec::new())),
    ));
    let told = Story::new(
        "
- hosts: all
  gather_facts: false
  serial: 1
  max_fail_percentage: 0
  tasks:
    - {name: one, command: {argv: [noop]}}
",
        "a\nb\n",
    )
    .run(fleet);
    assert_eq!(told.ended.stats["a"].unreachable, 1);
    assert!(told.statuses("b").is_empty());
    assert!(told.events.iter().any(|e| matches!(e, Event::Stopped { .. })));
}

#[test]
fn a_failed_post_check_stops_the_rollout_before_the_next_batch() {
    let told = Story::new(
        "
- hosts: all
  gather_facts: false
  serial: 1
  tasks:
    - {name: one, copy: {dest: /f/0, content: x}, notify: restart}
  handlers:
    - {name: restart, command: {argv: [noop]}}
  post_checks:
    - {name: check, assert: {that: false}}
",
        "a\nb\n",
    )
    .run(fleet());
    assert_eq!(told.statuses("a"), ["one=Changed", "restart=Changed", "check=Failed"]);
    assert!(told.statuses("b").is_empty());
}

#[test]
fn verify_runs_the_checks_alone() {
    let told = Story::new(
        "
- hosts: all
  gather_facts: false
  pre_checks:
    - {name: before, assert: {that: true}}
  tasks:
    - {name: one, copy: {dest: /f/0, content: x}}
  post_checks:
    - {name: after, stat: {path: /f/0}}
",
        "a\n",
    )
    .mode(Mode::Verify)
    .run(fleet());
    assert_eq!(told.statuses("a"), ["before=Ok", "after=Ok"]);
}

#[test]
fn until_tries_again() {
    let told = Story::new(
        "
- hosts: all
  gather_facts: false
  tasks:
    - {name: never, command: {argv: [noop]}, register: r, until: r.rc == 7, retries: 2, delay: 1}
",
        "a\n",
    )
    .run(fleet());
    let results = told.results("a");
    assert_eq!(results[0].1.status, TaskStatus::Failed);
    assert_eq!(results[0].1.value["attempts"], 2);
    let retries = told
        .events
        .iter()
        .filter(|e| matches!(e, Event::Retrying { .. }))
        .count();
    assert_eq!(retries, 2);
}

#[test]
fn hostvars_show_what_linear_order_would_show() {
    let told = Story::new(
        "
- hosts: all
  gather_facts: false
  tasks:
    - {name: set, set_fact: {mine: 'of {{ inventory_hostname }}'}}
    - {name: slow, command: {argv: [noop]}, when: inventory_hostname == 'b'}
    - {name: see, assert: {that: \"hostvars['b'].mine == 'of b' and hostvars['b'].late is undefined\"}}
    - {name: later, set_fact: {late: yes}}
",
        "a\nb\n",
    )
    .run(fleet());
    assert_eq!(told.statuses("a"), ["set=Ok", "slow=Skipped", "see=Ok", "later=Ok"]);
}

#[test]
fn what_it_is_judged_by_is_waited_for() {
    let told = Story::new(
        "
- hosts: all
  gather_facts: false
  tasks:
    - {name: slow, command: {argv: [noop]}, until: r.attempts == 3, register: r, when: inventory_hostname == 'b'}
    - {name: late, set_fact: {late: yes}, when: inventory_hostname == 'b'}
    - {name: judged, copy: {dest: /f/0, content: x}, changed_when: \"'late' not in hostvars['b']\"}
",
        "a\nb\n",
    )
    .run(fleet());
    assert_eq!(told.statuses("a"), ["slow=Skipped", "late=Skipped", "judged=Ok"]);
}

/// Sees each host's `/f/0`, says how often it was asked before, and remembers who asked.
fn asked(playbook: &str, hosts: &str, fleet: &Arc<FakeConnector>) -> (support::Told, Vec<String>) {
    let questions = Arc::new(std::sync::Mutex::new(Vec::new()));
    let (seen, hosts_of) = (questions.clone(), fleet.clone());
    let told = Story::new(playbook, hosts)
        .live(move |question| {
            let before = seen.lock().unwrap().iter().filter(|q| *q == question).count();
            seen.lock().unwrap().push(question.to_owned());
            let holds = |host: &str| said(&hosts_of.host(host).lock().unwrap(), 0).trim_end().to_owned();
            format!("{question} {before}: {} {}\n", holds("a"), holds("b"))
        })
        .run(fleet.clone());
    let questions = questions.lock().unwrap().clone();
    (told, questions)
}

#[test]
fn a_command_of_the_controller_runs_once_in_its_turn_and_costs_no_round_trip() {
    let fleet = fleet();
    let playbook = "
- hosts: all
  gather_facts: false
  tasks:
    - {name: before, copy: {dest: /f/0, content: x}, when: inventory_hostname == 'b'}
    - {name: asks, copy: {dest: /f/1, content: \"{{ lookup('pipe', inventory_hostname) }}\"}}
    - {name: again, assert: {that: \"lookup('pipe', 'again ' ~ inventory_hostname) is match('.* 0: none x')\"}}
    - {name: after, copy: {dest: /f/2, content: y}}
";
    let (first, questions) = asked(playbook, "a\nb\n", &fleet);
    assert_eq!(
        first.statuses("a"),
        ["before=Skipped", "asks=Changed", "again=Ok", "after=Changed"]
    );
    assert_eq!(
        first.statuses("b"),
        ["before=Changed", "asks=Changed", "again=Ok", "after=Changed"]
    );
    // What the task before did on the other host is there.
    let wrote = |fleet: &FakeConnector, host| contents(&fleet.host(host).lock().unwrap())["/f/1"].clone();
    assert_eq!(wrote(&fleet, "a").as_bytes(), b"a 0: none x");
    assert_eq!(questions.len(), 4, "{questions:?}");
    let free = playbook.replace("gather_facts", "strategy: free\n  gather_facts");
    let other = self::fleet();
    let (alone, questions) = asked(&free, "b\n", &other);
    assert_eq!(wrote(&other, "b").as_bytes(), b"b 0: none x");
    assert_eq!(
        alone.statuses("b"),
        ["before=Changed", "asks=Changed", "again=Ok", "after=Changed"]
    );
    assert_eq!(questions.len(), 2, "{questions:?}");
    let (second, questions) = asked(playbook, "a\nb\n", &fleet);
    assert_eq!(second.statuses("b"), ["before=Ok", "asks=Ok", "again=Ok", "after=Ok"]);
    assert_eq!((round_trips(&second, "a"), round_trips(&second, "b")), (1, 1));
    assert_eq!(questions.len(), 4, "{questions:?}");
}

#[test]
fn a_password_manager_is_not_asked_before_each_task() {
    let asked_for = |tasks: usize| {
        let tasks = (0..tasks).map(|n| format!("    - copy: {{dest: /f/{n}, content: x}}\n"));
        let playbook = format!(
            "
- hosts: all
  gather_facts: false
  become: true
  vars: {{ansible_become_password: \"{{{{ lookup('pipe', 'pass ' ~ inventory_hostname) }}}}\"}}
  tasks:
{}",
            tasks.collect::<String>()
        );
        let (told, questions) = asked(&playbook, "a\nb\n", &fleet());
        assert_eq!(told.ended.stats["b"].failures, 0);
        questions.len()
    };
    assert!(asked_for(1) >= 2);
    assert_eq!(asked_for(1), asked_for(4));
}

#[test]
fn no_log_leaves_nothing_but_the_status() {
    let told = Story::new(
        "
- hosts: all
  gather_facts: false
  tasks:
    - {name: hidden, copy: {dest: /f/0, content: s3cr3t}, no_log: true}
    - {name: hidden too, command: {argv: [fail, s3cr3t]}, no_log: true, ignore_errors: true}
",
        "a\n",
    )
    .run(fleet());
    let text = serde_json::to_string(&told.events).unwrap();
    assert!(!text.contains("s3cr3t"), "{text}");
    assert_eq!(told.statuses("a"), ["hidden=Changed", "hidden too=Ignored"]);
}

const RESTARTING: &str = "
- hosts: all
  gather_facts: false
  tasks:
    - {name: conf, copy: {dest: /f/0, content: new}, notify: restart}
    - {name: then, command: {argv: [THEN]}}
  handlers:
    - {name: restart, command: {argv: [noop]}}
";

#[test]
fn a_restart_is_never_lost() {
    let fleet = fleet();
    let failing = Story::new(&RESTARTING.replace("THEN", "fail"), "a\n").run(fleet.clone());
    assert_eq!(failing.statuses("a"), ["conf=Changed", "then=Failed"]);
    assert!(fleet.host("a").lock().unwrap().files.contains_key("/ledger"));
    // A dry run tells, and leaves it there.
    let foretold = Story::new(&RESTARTING.replace("THEN", "noop"), "a\n")
        .mode(Mode::Diff)
        .run(fleet.clone());
    assert_eq!(foretold.statuses("a"), ["conf=Ok", "then=Changed", "restart=Changed"]);
    let next = Story::new(&RESTARTING.replace("THEN", "noop"), "a\n").run(fleet.clone());
    assert_eq!(next.statuses("a"), ["conf=Ok", "then=Changed", "restart=Changed"]);
    assert!(!fleet.host("a").lock().unwrap().files.contains_key("/ledger"));
    let after = Story::new(&RESTARTING.replace("THEN", "noop"), "a\n").run(fleet);
    assert_eq!(after.statuses("a"), ["conf=Ok", "then=Changed"]);
}

#[test]
fn a_handler_that_has_run_is_struck_off_in_the_same_message() {
    let fleet = fleet();
    let told = Story::new(&RESTARTING.replace("THEN", "noop"), "a\n").run(fleet.clone());
    assert_eq!(told.statuses("a"), ["conf=Changed", "then=Changed", "restart=Changed"]);
    assert!(!fleet.host("a").lock().unwrap().files.contains_key("/ledger"));
    // One look and three changes.
    assert_eq!(round_trips(&told, "a"), 4);
}

#[test]
fn what_is_made_of_a_no_log_result_is_hidden_too() {
    let told = Story::new(
        "
- hosts: all
  gather_facts: false
  vars: {ansible_become_password: s3cr3t-too}
  tasks:
    - {name: hidden, command: {argv: [noop, s3cr3t]}, no_log: true, register: r}
    - {name: shown by status only, debug: {var: r}}
    - {name: copied, set_fact: {again: '{{ r.cmd }}', other: 1}}
    - {name: '{{ again }}', copy: {dest: /f/0, content: '{{ again }}'}}
    - {name: of another, debug: {msg: \"{{ hostvars['a'].again }}\"}}
    - {name: password, debug: {msg: '{{ ansible_become_password }}'}}
    - {name: open, debug: {msg: '{{ inventory_hostname }}'}, when: r.rc == 0}
",
        "a\nb\n",
    )
    .run(fleet());
    let text = serde_json::to_string(&told.events).unwrap();
    assert!(!text.contains("s3cr3t"), "{text}");
    let last = told.results("a").pop().unwrap().1;
    assert_eq!(
        last.value["msg"], "a",
        "a condition on a secret hides nothing: {last:?}"
    );
}

/// Ansible shows the items of a loop whatever they hold.
#[test]
fn items_do_not_tell_what_a_secret_argument_was_given() {
    let told = Story::new(
        "
- hosts: all
  gather_facts: false
  vars: {cookies: [{node: one, cookie: S3CR3TS3CR3TS3CR3TS3CR3T}]}
  tasks:
    - {name: loop, erlang_cookie: {cookie: '{{ item.cookie }}', path: /f/0}, loop: '{{ cookies }}', register: r, ignore_errors: true}
    - {name: 'its result still has it', command: {argv: [noop]}, when: 'r.results[0].item.cookie == cookies[0].cookie'}
",
        "a\n",
    )
    .run(fleet());
    let text = serde_json::to_string(&told.events).unwrap();
    assert!(!text.contains("S3CR3T"), "{text}");
    assert!(text.contains("«secret:"), "{text}");
    assert_eq!(told.statuses("a").pop().unwrap(), "its result still has it=Changed");
}

#[test]
fn a_dry_run_knows_that_a_command_would_run_and_no_more() {
    let told = Story::new(
        "
- hosts: all
  gather_facts: false
  tasks:
    - {name: runs, command: {argv: [noop]}, register: r}
    - {name: on changed, copy: {dest: /f/0, content: x}, when: r is changed}
    - {name: on rc, copy: {dest: /f/1, content: x}, when: r.rc == 0}
    - {name: with stdout, copy: {dest: /f/2, content: '{{ r.stdout }}'}}
    - {name: judged, command: {argv: [noop]}, register: j, changed_when: j.rc == 1}
    - {name: reads only, command: {argv: [noop]}, changed_when: false}
",
        "a\n",
    )
    .mode(Mode::Diff)
    .run(fleet());
    assert_eq!(
        told.statuses("a"),
        [
            "runs=Changed",
            "on changed=Changed",
            "on rc=Unknown",
            "with stdout=Unknown",
            "judged=Unknown",
            // It would say something of the host as it is now, not as it will be.
            "reads only=Unknown"
        ]
    );
}

#[test]
fn what_a_dry_run_cannot_know_of_a_file_later_tasks_do_not_know_either() {
    let told = Story::new(
        "
- hosts: all
  gather_facts: false
  tasks:
    - {name: there, copy: {dest: /f/2, content: x}}
    - {name: runs, command: {argv: [noop]}, register: r}
    - {name: made of it, copy: {dest: '/f/{{ item }}', content: '{{ r.stdout }}'}, loop: [1, 2]}
    - {name: a line, lineinfile: {path: /f/1, line: x}}
    - {name: a mode, file: {path: /f/2, mode: '0600'}}
    - {name: another, copy: {dest: /f/3, content: z}}
",
        "a\n",
    )
    .mode(Mode::Diff)
    .run(fleet());
    assert_eq!(
        told.statuses("a"),
        [
            "there=Changed",
            "runs=Changed",
            "made of it=Unknown",
            "a line=Unknown",
            "a mode=Unknown",
            "another=Changed"
        ]
    );
}

#[test]
fn what_a_dry_run_cannot_know_no_other_host_knows() {
    let told = Story::new(
        "
- hosts: all
  gather_facts: false
  tasks:
    - {name: once, command: {argv: [noop]}, register: r, run_once: true}
    - {name: of once, copy: {dest: /f/0, content: '{{ r.stdout }}'}}
    - {name: own, command: {argv: [noop]}, register: mine, when: inventory_hostname == 'a'}
    - {name: of another, copy: {dest: /f/1, content: \"{{ hostvars['a'].mine.stdout }}\"}}
    - {name: changed, copy: {dest: /f/2, content: x}, when: \"hostvars['a'].mine is changed\"}
",
        "a\nb\n",
    )
    .mode(Mode::Diff)
    .run(fleet());
    assert_eq!(
        told.statuses("b"),
        [
            "of once=Unknown",
            "own=Skipped",
            "of another=Unknown",
            "changed=Changed"
        ]
    );
}

/// A cookie goes from one host to another, and is told nowhere.
#[test]
fn a_secret_result_is_hidden_without_no_log() {
    let cookie = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
    let fleet = Arc::new(FakeConnector::new(
        move |name| {
            let mut host = start(&[None; FILES]);
            if name == "a" {
                host.put("/f/0", Node::file(cookie));
            }
            host
        },
        Arc::new(Gremlin(Vec::new())),
    ));
    let told = Story::new(
        "
- hosts: a
  gather_facts: false
  tasks:
    - {name: fetched, erlang_cookie: {path: /f/0, owner: root, group: root, fetch: true}, register: first}
- hosts: b
  gather_facts: false
  tasks:
    - {name: given, copy: {dest: /f/1, content: \"{{ hostvars['a'].first.cookie }}\"}}
    - {name: read, erlang_cookie: {path: /f/1, owner: root, group: root, fetch: true}, register: second}
    - {name: the same, assert: {that: \"second.cookie == hostvars['a'].first.cookie\"}}
",
        "a\nb\n",
    )
    .run(fleet);
    assert_eq!(told.statuses("a"), ["fetched=Changed"]);
    assert_eq!(told.statuses("b"), ["given=Changed", "read=Changed", "the same=Ok"]);
    let text = serde_json::to_string(&told.events).unwrap();
    assert!(!text.contains(cookie), "{text}");
}

#[test]
fn a_file_that_lost_a_host_is_the_last_of_the_command_line() {
    let failing = "- {hosts: all, gather_facts: false, tasks: [{name: bad, command: {argv: [fail]}, when: inventory_hostname == 'a'}]}";
    let next = "- {hosts: all, gather_facts: false, tasks: [{name: next, command: {argv: [noop]}}]}";
    let run = |first: &str| {
        let mut story = Story::with(&[("site.yml", first), ("next.yml", next), ("hosts", "a\nb\n")]);
        story.playbooks.push("next.yml".to_owned());
        story.run(fleet()).statuses("b")
    };
    assert_eq!(run(failing), ["bad=Skipped"]);
    assert_eq!(run(next), ["next=Changed", "next=Changed"]);
}

/// A host on which somebody else is at work: what is written is overwritten, and files appear in new directories.
struct Meddler;

impl Program for Meddler {
    fn run(&self, _: &mut FakeHost, _: &Exec, _: bool) -> ExecResult {
        ExecResult::default()
    }

    fn after(&self, host: &mut FakeHost, op: &Op) {
        match op {
            Op::Write { path, .. } => host.put(path, Node::file("meddled\n")),
            Op::MakeDir { path, .. } => host.put(&format!("{path}/60-limits.conf"), Node::file("[Service]\n")),
            _ => {}
        }
    }
}

fn meddled(task: &str) -> rmqplay::engine::event::Failed {
    let playbook = format!("- {{hosts: all, gather_facts: false, tasks: [{{name: t, {task}}}]}}");
    let connector = Arc::new(FakeConnector::new(|_| start(&[None; FILES]), Arc::new(Meddler)));
    let mut told = Story::new(&playbook, "a\n").run(connector).results("a");
    told.pop().unwrap().1.failure.unwrap()
}

#[test]
fn what_does_not_converge_says_what_is_still_wanted() {
    let failed = meddled("copy: {dest: /f/0, content: new}");
    insta::assert_snapshot!(serde_yaml::to_string(&failed).unwrap(), @r"
    code: E302
    msg: 'did not converge: the change was made, and it is still wanted'
    notes:
    - '/f/0: its content is not what was written'
    helps:
    - something undoes it, or the host understands the value in another way
    location:
      file: site.yml
      line: 1
      column: 52
    ");
}

#[test]
fn a_file_that_changed_in_between_is_left_alone() {
    let failed =
        meddled("systemd_dropin: {unit: rabbitmq-server, name: 60-limits, settings: {Service: {LimitNOFILE: 65536}}}");
    insta::assert_snapshot!(serde_yaml::to_string(&failed).unwrap(), @r"
    code: E310
    msg: 'writing `/etc/systemd/system/rabbitmq-server.service.d/60-limits.conf`: the file changed on the host while rmqplay was running (found a file); it was left alone'
    notes:
    - 1 of 2 steps of this task were done before it
    helps:
    - look at the file, then run again
    location:
      file: site.yml
      line: 1
      column: 52
    ");
}

/// A broker that reads its file when it is started (`start-broker`), and says what it does not run with.
struct Broker;

impl Program for Broker {
    fn run(&self, host: &mut FakeHost, command: &Exec, act: bool) -> ExecResult {
        use base64::Engine as _;
        let file = |host: &FakeHost| {
            host.files
                .get("/etc/rabbitmq/rabbitmq.conf")
                .map(|n| n.content.text().into_owned())
        };
        if act && command.argv == ["start-broker"] {
            let read = serde_json::json!(file(host));
            host.state.insert("read".to_owned(), read);
        }
        if !command.argv.iter().any(|a| a == "eval") {
            return ExecResult::default();
        }
        let stale = host.state.get("read") != Some(&serde_json::json!(file(host)));
        let differs = if stale { "stale\nset\theartbeat\t20\t60\n" } else { "" };
        let answer = base64::engine::general_purpose::STANDARD.encode(format!("rmqplay\n{differs}"));
        ExecResult {
            stdout: Content::from(format!("<<\"{answer}\">>\n")),
            ..ExecResult::default()
        }
    }
}

/// A task that has done its own part, and leaves a restart to a handler, has converged; where only the restart is left, it
/// notifies too.
#[test]
fn what_is_left_for_a_handler_is_no_lack_of_convergence() {
    let playbook = |handlers: &str| {
        format!(
            "- hosts: all\n  gather_facts: false\n  tasks:\n  - {{name: conf, rabbitmq_conf: {{content: \"heartbeat = 20\\n\"}}, register: r, \
             notify: [{handlers}]}}\n  handlers:\n  - {{name: nothing, command: {{argv: [noop]}}}}\n  - {{name: start, command: \
             {{argv: [start-broker]}}, when: r.restart_needed | default(true)}}\n"
        )
    };
    let host = |_: &str| {
        let mut host = FakeHost::with([("/etc/rabbitmq/rabbitmq.conf", "heartbeat = 60\n")]);
        host.state
            .insert("read".to_owned(), serde_json::json!("heartbeat = 60\n"));
        host
    };
    let fleet = Arc::new(FakeConnector::new(host, Arc::new(Broker)));
    let run = |handlers: &str| Story::new(&playbook(handlers), "a\n").run(fleet.clone());
    // Written; the node has not read it yet.
    assert_eq!(run("nothing").statuses("a"), ["conf=Changed", "nothing=Changed"]);
    // Nothing to write: only the restart is left.
    assert_eq!(run("start").statuses("a"), ["conf=Changed", "start=Changed"]);
    assert_eq!(run("start").statuses("a"), ["conf=Ok"]);
}
