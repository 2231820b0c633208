//! Whole runs through the real binary, on the fake fleet of `--simulate`: golden transcripts.

use crate::environment::{Environment, Output};
use insta::assert_snapshot;
use serde_json::{Value, json};

const SITE: &str = "\
- name: tune RabbitMQ nodes
  hosts: rabbitmq
  gather_facts: false
  pre_checks:
    - name: the host answers
      ping:
  tasks:
    - name: prefer memory to swap
      sysctl: { name: vm.swappiness, value: '{{ swappiness }}' }
    - name: configuration
      template: { src: x.conf.j2, dest: /etc/x.conf }
      notify: restart x
    - name: never here
      command: /bin/false
      when: false
    - name: say
      debug: { msg: 'this is {{ inventory_hostname }}' }
    - name: only where it is wanted
      fail: { msg: 'refused by {{ inventory_hostname }}' }
      when: breaks is defined and inventory_hostname == breaks
  handlers:
    - name: restart x
      debug: { msg: x restarts }
  post_checks:
    - name: swap is right
      assert: { that: ['swappiness == 10'] }
";

fn site() -> Environment {
    let env = Environment::new();
    env.write("site.yml", SITE);
    env.write(
        "templates/x.conf.j2",
        "# {{ ansible_managed }}\nswap = {{ swappiness }}\n",
    );
    env.write("hosts.ini", "[rabbitmq]\nmq-[1:3]\n\n[rabbitmq:vars]\nswappiness=10\n");
    env.write("rmqplay.toml", "inventory = 'hosts.ini'\n");
    env
}

/// What differs from run to run is replaced.
fn transcript(output: &Output) -> String {
    let mut text = output.transcript();
    for (mark, end) in [(" (run ", ")"), ("round trips, ", " (run"), ("round trip, ", " (run")] {
        if let Some(at) = text.rfind(mark) {
            let from = at + mark.len();
            let to = from + text[from..].find(end).unwrap();
            text.replace_range(from..to, "[..]");
        }
    }
    text
}

#[test]
fn a_dry_run() {
    let output = site().run(&["diff", "site.yml", "--simulate", "--detailed-exitcode"]);
    assert_snapshot!(transcript(&output));
}

#[test]
fn an_apply() {
    assert_snapshot!(transcript(&site().run(&["apply", "site.yml", "--simulate", "--diff"])));
}

#[test]
fn an_undefined_variable_is_shown_with_whom_it_befell() {
    let env = Environment::new();
    let tasks = "\
- hosts: all
  gather_facts: false
  tasks:
    - debug: { msg: '{{ mine }}' }
      when: inventory_hostname == 'mq-3'
    - template: { src: x.conf.j2, dest: /etc/x.conf }
";
    env.write("site.yml", tasks);
    env.write("templates/x.conf.j2", "limit = {{ rabbitmq.memory_limt }}\n");
    env.write("group_vars/all.yml", "rabbitmq:\n  memory_limit: 4G\n  port: 5672\n");
    env.write("hosts.ini", "mq-1\nmq-2\nmq-3\nmq-4 rabbitmq={}\n");
    let output = env.run(&["apply", "site.yml", "-i", "hosts.ini", "--simulate"]);
    let text = transcript(&output);
    assert_snapshot!(&text[text.find("error[").unwrap()..]);
}

#[test]
fn an_apply_that_fails_on_one_host() {
    assert_snapshot!(transcript(&site().run(&[
        "apply",
        "site.yml",
        "--simulate",
        "-e",
        "breaks=mq-2"
    ])));
}

#[test]
fn check_is_diff() {
    let env = site();
    let check = env.run(&["apply", "site.yml", "--simulate", "--check"]);
    let diff = env.run(&["diff", "site.yml", "--simulate"]);
    assert_eq!(transcript(&check), transcript(&diff));
}

#[test]
fn checks_alone() {
    let env = site();
    assert_snapshot!(transcript(&env.run(&["verify", "site.yml", "--simulate"])));
    let failing = env.run(&["verify", "site.yml", "--simulate", "-e", "swappiness=60"]);
    assert_eq!(failing.code, 2, "{}", failing.stdout);
}

#[test]
fn one_module() {
    assert_snapshot!(transcript(&site().run(&[
        "run",
        "mq-1:mq-3",
        "-m",
        "ping",
        "--simulate"
    ])));
}

#[test]
fn listings_run_nothing() {
    let env = site();
    assert_snapshot!(
        env.run(&["apply", "site.yml", "--list-hosts", "--list-tasks"])
            .transcript()
    );
    assert_eq!(env.run(&["apply", "site.yml", "--syntax-check"]).code, 0);
}

#[test]
fn the_report_is_a_document_on_stdout_and_in_files() {
    let env = site();
    let output = env.run(&[
        "apply",
        "site.yml",
        "--simulate",
        "--format",
        "json",
        "--report",
        "json=run.json",
        "--report",
        "jsonl=run.jsonl",
    ]);
    assert_eq!((output.code, output.stderr.as_str()), (0, ""));
    let document: Value = serde_json::from_str(&output.stdout).unwrap();
    assert_eq!(
        std::fs::read_to_string(env.path().join("run.json")).unwrap(),
        output.stdout
    );
    let task = &document["plays"][0]["tasks"][1];
    assert_eq!(task["task"]["name"], json!("prefer memory to swap"));
    assert_eq!(task["hosts"]["mq-3"]["changed"], json!(true));
    assert_eq!(document["stats"]["mq-1"]["failures"], json!(0));
    assert!(document["timing"]["mq-1"]["round_trips"].as_u64().unwrap() > 0);
    let lines = std::fs::read_to_string(env.path().join("run.jsonl")).unwrap();
    assert!(
        lines
            .lines()
            .all(|l| serde_json::from_str::<Value>(l).unwrap()["event"].is_string())
    );
    assert!(lines.lines().last().unwrap().contains("run_finished"));
}

#[test]
fn a_report_that_cannot_be_written_stops_before_anything_is_touched() {
    let output = site().run(&[
        "apply",
        "site.yml",
        "--simulate",
        "--report",
        "json=no/such/directory/run.json",
    ]);
    assert_eq!((output.code, output.stdout.as_str()), (1, ""));
    assert!(
        output
            .stderr
            .starts_with("error[E002]: cannot write `no/such/directory/run.json`"),
        "{}",
        output.stderr
    );
}

#[test]
fn nothing_matched_is_five() {
    let env = site();
    for args in [
        ["apply", "site.yml", "--simulate", "-l", "mq-9"],
        ["diff", "site.yml", "--simulate", "-i", "other,"],
    ] {
        let output = env.run(&args);
        assert_eq!(output.code, 5, "{args:?}: {}{}", output.stdout, output.stderr);
    }
    assert_eq!(
        env.run(&["diff", "site.yml", "--simulate", "-i", "other,", "--allow-empty"])
            .code,
        0
    );
}

/// The shipped playbooks, as the README tells to try them.
fn playbook(name: &str) -> String {
    format!("{}/playbooks/{name}", env!("CARGO_MANIFEST_DIR"))
}

fn node() -> Environment {
    let env = Environment::new();
    env.write("hosts.ini", "[rabbitmq]\nmq-1\n");
    env.write("rmqplay.toml", "inventory = 'hosts.ini'\n");
    env
}

#[test]
fn a_dry_run_of_the_shipped_tuning() {
    assert_snapshot!(transcript(&node().run(&["diff", &playbook("tune.yml"), "--simulate"])));
}

#[test]
fn an_apply_of_everything_shipped() {
    let output = node().run(&["apply", &playbook("site.yml"), "--simulate"]);
    assert_eq!(output.code, 0, "{}{}", output.stdout, output.stderr);
    assert_snapshot!(transcript(&output));
}

/// A slip in the name of a tag is no success without a word.
#[test]
fn a_run_that_does_nothing_says_so() {
    let env = site();
    let output = env.run(&["apply", "site.yml", "--simulate", "-t", "kernle", "--skip-tags", "x"]);
    let told = "nothing ran: `--tags kernle` with `--skip-tags x` leaves no task";
    assert!(
        output.code == 0 && output.stderr.contains(told),
        "{}",
        output.transcript()
    );
    let output = env.run(&["apply", "site.yml", "--simulate", "--start-at-task", "nothing like it"]);
    assert_snapshot!(output.stderr, @r"
    warning[W001]: nothing ran: no task has the name `nothing like it`
     |
    help: `--list-tasks` lists the names; tasks that are included while a play runs are not among them
    ");
    env.write("bare.yml", "- hosts: all\n  tasks: [{ping: }]\n");
    let output = env.run(&["verify", "bare.yml", "--simulate"]);
    assert_snapshot!(transcript(&output), @r"
    exit 0
    --- stdout
    verify: nothing is changed

    play: all (3 hosts)

    mq-1 : ok=1    changed=0    unreachable=0    failed=0    skipped=0    rescued=0    ignored=0    round_trips=1
    mq-2 : ok=1    changed=0    unreachable=0    failed=0    skipped=0    rescued=0    ignored=0    round_trips=1
    mq-3 : ok=1    changed=0    unreachable=0    failed=0    skipped=0    rescued=0    ignored=0    round_trips=1

    recap: 3 hosts, 0 tasks; 3 round trips, [..] (run [..])
    --- stderr
    warning[W001]: nothing was checked: no play has `pre_checks` or `post_checks`
     |
    help: `diff` shows where hosts differ from what the tasks say
    ");
}
