//! What playbooks write into RabbitMQ's files is found wrong without a host: rendered with the variables of plays, roles and
//! inventories, and with both answers where only a host has one.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "cli/environment.rs"]
mod environment;

use environment::{Environment, Output};
use insta::assert_snapshot;
use serde_json::Value;
use std::path::Path;

/// A playbook `site.yml` for `rabbitmq`, with its templates beside it and an inventory of two hosts.
fn play(tasks: &str) -> Environment {
    let env = Environment::new();
    env.write("site.yml", &format!("- hosts: rabbitmq\n  tasks:\n{tasks}"));
    env.write("inventory/hosts.ini", "[rabbitmq]\nmq-1\nmq-2\n");
    env
}

const TEMPLATE: &str = "    - template: {src: rabbitmq.j2, dest: /etc/rabbitmq/rabbitmq.conf}\n";

fn lint(env: &Environment, more: &[&str]) -> Output {
    let args: Vec<&str> = ["lint", "site.yml"].iter().chain(more).copied().collect();
    env.run(&args)
}

/// Codes and messages, sorted.
fn told(output: &Output) -> Vec<String> {
    let document: Value = serde_json::from_str(&output.stdout).unwrap();
    let mut told: Vec<String> = document["diagnostics"]
        .as_array()
        .unwrap()
        .iter()
        .map(|d| format!("{} {}", d["code"].as_str().unwrap(), d["message"].as_str().unwrap()))
        .collect();
    told.sort();
    told
}

fn copy(from: &Path, env: &Environment, to: &str) {
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let name = format!("{to}/{}", path.file_name().unwrap().to_str().unwrap());
        if path.is_dir() {
            copy(&path, env, &name);
        } else {
            env.write(&name, &std::fs::read_to_string(path).unwrap());
        }
    }
}

fn shipped() -> Environment {
    let env = Environment::new();
    for name in ["playbooks", "templates", "inventories"] {
        copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join(name), &env, name);
    }
    env
}

#[test]
fn the_shipped_playbooks_are_clean_with_every_profile() {
    let env = shipped();
    let base = ["lint", "playbooks", "templates", "inventories"];
    for profile in ["balanced", "high_throughput", "low_latency", "production"] {
        let profile = format!("rabbitmq_profile={profile}");
        for more in [
            &[][..],
            &["-i", "inventories/example"],
            &["-i", "inventories/lab", "--rabbitmq-version", "4.0"],
            &["-i", "inventories/example", "--rabbitmq-version", "3.10"],
            &["-i", "inventories/example", "--rabbitmq-version", "4.3"],
        ] {
            let args: Vec<&str> = base
                .iter()
                .chain(&["-e", profile.as_str()])
                .chain(more)
                .copied()
                .collect();
            let output = env.run(&args);
            assert_eq!((output.code, output.stderr.as_str()), (0, ""), "{args:?}");
        }
    }
}

#[test]
fn mistakes_in_the_inventory_of_the_shipped_playbooks_are_found() {
    let env = shipped();
    env.write(
        "inventories/example/group_vars/rabbitmq.yml",
        "rabbitmq_profile: production\nrabbitmq_disk_free_limit_bytes: 2Gigs\nrabbitmq_settings:\n  \
         vm_memory_high_watermark:\n    relative: 0.4\n  heartbeat: '{{ site_heartbeat }}'\nsite_heartbeat: 30\n",
    );
    env.write(
        "inventories/example/host_vars/mq-2.example.org.yml",
        "site_heartbeat: -5\n",
    );
    let output = env.run(&["lint", "playbooks/rabbitmq.yml", "-i", "inventories/example"]);
    assert_eq!((output.code, output.stdout.as_str()), (1, ""));
    assert_snapshot!(output.stderr);
}

/// The three blocks this project began with, each line behind a variable: everything that is said of the file is said of
/// what is rendered.
#[test]
fn the_first_blocks_behind_variables() {
    for block in ["block1", "block2", "block3"] {
        let text = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/rabbitmq_conf/{block}.conf"));
        let text = std::fs::read_to_string(text).unwrap();
        let env = play(TEMPLATE);
        env.write("rabbitmq.j2", "{% for line in lines %}\n{{ line }}\n{% endfor %}\n");
        let lines: Vec<&str> = text.lines().collect();
        let lines = serde_json::json!({"lines": lines}).to_string();
        env.write("inventory/group_vars/rabbitmq.json", &lines);
        env.write("plain/rabbitmq.conf", &text);
        for version in [&[][..], &["--rabbitmq-version", "3.10"], &["--rabbitmq-version", "4.0"]] {
            let plain: Vec<&str> = ["lint", "plain", "--format", "json"]
                .iter()
                .chain(version)
                .copied()
                .collect();
            let plain = told(&env.run(&plain));
            let args: Vec<&str> = ["-i", "inventory", "--format", "json"]
                .iter()
                .chain(version)
                .copied()
                .collect();
            assert!(plain.len() > 3, "{plain:#?}");
            let mut once = plain.clone();
            once.dedup();
            assert_eq!(told(&lint(&env, &args)), once, "{block} {version:?}");
        }
    }
}

#[test]
fn every_way_of_writing_a_file_is_judged() {
    let env = play(
        "    - template: {src: own.conf.j2, dest: /etc/rabbitmq/conf.d/10-own.conf}
    - copy: {src: plain.conf, dest: /etc/rabbitmq/conf.d/20-plain.conf}
    - copy:
        dest: /etc/rabbitmq/rabbitmq-env.conf
        content: |
          NODENAME=rabbit@{{ inventory_hostname }}
          NODE_PROT={{ port | default(5672) }}
          LOG_BASE={{ ansible_facts.logs }}
    - copy: {content: '[{rabbit, [{heartbeet, {{ beat }}}]}].', dest: /etc/rabbitmq/advanced.config}
    - rabbitmq_conf:
        conf_d: 30-values.conf
        profile: balanced
        values: '{{ settings }}'
    - rabbitmq_conf: {conf_d: 40-content.conf, content: 'max_message_size = {{ size }}'}
    - include_tasks: more.yml
  vars:
    beat: 20
    size: 16MB
    settings: {ssl_options.verify: none, channel_max: '{{ ansible_facts.channels }}'}
    limits: [{name: a, limit: 10GB}, {name: b, limit: 1000000000}]
",
    );
    env.write(
        "more.yml",
        "- template: {src: limit.j2, dest: '/etc/rabbitmq/conf.d/{{ item.name }}.conf'}\n  loop: '{{ limits }}'\n",
    );
    env.write("limit.j2", "disk_free_limit.absolute = {{ item.limit }}X\n");
    env.write(
        "own.conf.j2",
        "{% include 'inner.j2' %}\nframe_max = {{ [1, 2] | sum }}\n",
    );
    env.write(
        "inner.j2",
        "{{ 'hear' ~ 'beat' }} = 20\ndefault_pass = {{ 'to#psecret' }}\n",
    );
    env.write("files/plain.conf", "heartbeat = ten\n");
    let output = lint(&env, &["-i", "inventory", "-v"]);
    assert!(!output.stderr.contains("psecret"));
    assert_snapshot!(output.transcript());
}

#[test]
fn what_only_a_host_knows_is_no_false_alarm() {
    let env = play(&format!(
        "    - command: hostname\n      register: result\n{TEMPLATE}      when: ansible_facts.a == 1\n"
    ));
    for text in [
        // One of two ways each time, never both.
        "{% if ansible_facts.a == 1 %}\nheartbeat = 10\n{% endif %}\n{% if ansible_facts.a != 1 %}\nheartbeat = 20\n{% endif %}\n",
        "{% set old = ansible_facts.a is version('4.0', '<') %}\n{% if old %}\nheartbeat = 10\n{% else %}\nheartbeat = 20\n{% endif %}\n",
        // The way is the release's.
        "{% if ansible_facts.release == 'trixie' %}\ndefault_queue_type = quorum\n{% endif %}\n",
        // Values, keys, whole lines, numbers of lines.
        "heartbeat = {{ ansible_facts.a }}\n",
        "{{ ansible_facts.a }} = 20\n{{ ansible_facts.b }}\n",
        "heartbeat = {{ result.stdout | int + 3 }}\nchannel_max = {{ result.rc | default(5) }}\n",
        "{% for name, value in result.stdout | from_json | dictsort %}\n{{ name }} = {{ value }}\n{% endfor %}\n",
        "{% for node in ansible_facts.nodes %}\ncluster_formation.classic_config.nodes.{{ loop.index }} = {{ node }}\n{% endfor %}\n",
        // What is missing may be among what is not known.
        "log.syslog.ip = 10.0.0.1\n{{ ansible_facts.more }}\n",
        "{% set keys = {'log.syslog.ip': '10.0.0.1'} %}\n{% set _ = keys.update(ansible_facts.keys) %}\n{% for k in keys %}\n{{ k }} = {{ keys[k] }}\n{% endfor %}\n",
        // A macro, a captured block, a filter of a block.
        "{% macro m(x) %}{{ x }}{% endmacro %}\nheartbeat = {{ m(ansible_facts.a) }}\n",
        "{% set x %}{{ ansible_facts.a }}0{% endset %}\nheartbeat = {{ x }}\n{% filter upper %}{{ ansible_facts.a }}{% endfilter %}\n",
        // Not even that is defined: a run would say so.
        "heartbeat = {{ no_such_variable }}\n{% if no_such_variable %}\nheartbeat = 7\n{% endif %}\n",
        "heartbeat = {{ hostvars['mq-2'].result.stdout }}\n",
    ] {
        env.write("rabbitmq.j2", text);
        for more in [
            &[][..],
            &["-i", "inventory"],
            &["-i", "inventory", "--rabbitmq-version", "3.10"],
        ] {
            let output = lint(&env, more);
            assert_eq!((output.code, output.stderr.as_str()), (0, ""), "{text}\n{more:?}");
        }
    }
}

#[test]
fn the_rest_of_such_a_file_is_judged() {
    for (text, expected) in [
        (
            "heartbeat = {{ ansible_facts.a }}\nheartbeat = 30\n",
            "E605 `heartbeat` is set twice",
        ),
        (
            "{% if ansible_facts.a %}\nframe_max = {{ word }}\n{% endif %}\n",
            "E604 `frame_max` must be a number of bytes, or one with `KB`, `MB` or `GB`, not `many`",
        ),
        (
            "{% if not ansible_facts.a %}\n{% else %}\nframe_max = {{ word }}\n{% endif %}\n",
            "E604 `frame_max` must be a number of bytes, or one with `KB`, `MB` or `GB`, not `many`",
        ),
        (
            "{% for x in ansible_facts.a %}\n{{ key }} = {{ x }}\n{% endfor %}\n",
            "E602 `hearbeat` is no setting of RabbitMQ",
        ),
        (
            "{% set keys = {key: ansible_facts.a} %}\n{% for k, v in keys.items() %}\n{{ k }} = {{ v }}\n{% endfor %}\n",
            "E602 `hearbeat` is no setting of RabbitMQ",
        ),
        (
            "x = {{ 'a' if ansible_facts.a else word }}\n",
            "E602 `x` is no setting of RabbitMQ",
        ),
        (
            "frame_max = {{ 1 if ansible_facts.a else word }}\n",
            "E604 `frame_max` must be a number of bytes, or one with `KB`, `MB` or `GB`, not `many`",
        ),
        (
            "log.syslog.ip = {{ ansible_facts.a }}\n",
            "E604 `log.syslog.ip` needs `log.syslog = true`",
        ),
        (
            "heartbeat = {{ item | default('x') }}y{{ word }}\n",
            "E604 `heartbeat` must be a whole number, not `xymany`",
        ),
    ] {
        let env = play(TEMPLATE);
        env.write("inventory/group_vars/rabbitmq.yml", "word: many\nkey: hearbeat\n");
        env.write("rabbitmq.j2", text);
        let output = lint(&env, &["-i", "inventory", "--format", "json"]);
        assert_eq!(told(&output), [expected], "{text}");
    }
}

#[test]
fn a_variable_of_the_play_says_which_release_it_is_for() {
    let env = play(TEMPLATE);
    env.write("rabbitmq.j2", "{{ 'default_queue_type' }} = quorum\n");
    let found = |more: &[&str]| {
        let args: Vec<&str> = ["-i", "inventory", "--format", "json"]
            .iter()
            .chain(more)
            .copied()
            .collect();
        told(&lint(&env, &args))
    };
    let old = ["E603 RabbitMQ 3.10 does not know `default_queue_type`"];
    assert!(found(&[]).is_empty());
    assert_eq!(found(&["-e", "rabbitmq_version=3.10"]), old);
    assert_eq!(found(&["-e", "rabbitmq_series=3.10"]), old);
    // A number, and no release that anybody means; and not where facts say it.
    assert!(found(&["-e", "{rabbitmq_series: 3.10}"]).is_empty());
    // The command line has the last word, and is what a variable says that only facts would tell.
    assert!(found(&["-e", "rabbitmq_version=3.10", "--rabbitmq-version", "4.0"]).is_empty());
    env.write(
        "rabbitmq.j2",
        "{% if rabbitmq_series is version('4.0', '<') %}\n{{ 'default_queue_type' }} = quorum\n{% endif %}\n",
    );
    env.write(
        "inventory/group_vars/rabbitmq.yml",
        "rabbitmq_series: '{{ ansible_facts.x }}'\n",
    );
    assert!(found(&[]).is_empty());
    assert!(found(&["--rabbitmq-version", "4.0"]).is_empty());
    assert_eq!(found(&["--rabbitmq-version", "3.10"]), old);
}

#[test]
fn a_task_that_is_not_for_a_host_is_not_judged_there() {
    let env = play(&format!("{TEMPLATE}      when: inventory_hostname == 'mq-2'\n"));
    env.write("rabbitmq.j2", "heartbeat = {{ beat }}\n");
    env.write("inventory/host_vars/mq-1.yml", "beat: often\n");
    env.write("inventory/host_vars/mq-2.yml", "beat: 20\n");
    assert_eq!(lint(&env, &["-i", "inventory"]).code, 0);
    env.write("inventory/host_vars/mq-2.yml", "beat: often\n");
    let output = lint(&env, &["-i", "inventory"]);
    assert!(
        output.stderr.contains("of mq-2, line 1: `heartbeat = often`"),
        "{}",
        output.stderr
    );
    // Which host that is, no inventory says: it stays open.
    assert_eq!(lint(&env, &[]).code, 0);
}

#[test]
fn what_is_not_judged_is_told_when_asked() {
    let env = play(TEMPLATE);
    env.write("rabbitmq.j2", "{{ key }} = {{ ansible_facts.a }}\n");
    let output = lint(&env, &["-i", "inventory", "-v"]);
    assert_snapshot!(output.transcript());
    let output = lint(&env, &["-i", "inventory", "--format", "json"]);
    let document: Value = serde_json::from_str(&output.stdout).unwrap();
    assert_eq!(document["not_judged"][0]["hosts"], serde_json::json!(["mq-1", "mq-2"]));
    assert_eq!(document["not_judged"][0]["at"], "site.yml:3:7");
}

#[test]
fn templates_and_values_that_no_host_could_mend_are_told() {
    let env = play(
        "    - template: {src: broken.j2, dest: /etc/rabbitmq/rabbitmq.conf}
    - rabbitmq_conf: {conf_d: 10-empty.conf, values: {heartbeat: '{{ nothing }}'}}
    - template: {src: boom.j2, dest: /etc/rabbitmq/conf.d/20-boom.conf}
    - include_tasks: again.yml
  vars: {nothing: ''}
",
    );
    env.write("broken.j2", "{% if %}\n");
    env.write("boom.j2", "heartbeat = {{ 1 // 0 }}\n");
    env.write("again.yml", "- include_tasks: again.yml\n");
    let output = lint(&env, &["-i", "inventory", "--format", "json"]);
    assert_eq!(
        told(&output),
        [
            "E100 the template cannot be parsed: unexpected end of block",
            "E604 `heartbeat` cannot be written: it is empty, and a node cannot read that",
        ]
    );
    let document: Value = serde_json::from_str(&output.stdout).unwrap();
    let open: Vec<&str> = (document["not_judged"].as_array().unwrap().iter())
        .map(|o| o["why"].as_str().unwrap())
        .collect();
    assert_eq!(open, ["integer division or modulo by zero", "includes nest too deep"]);
}

/// Twelve conditions are 4096 files: not all are made, and yet every branch is come to.
#[test]
fn many_branches_are_all_looked_into() {
    let env = play(TEMPLATE);
    let branch =
        |i: usize| format!("{{% if ansible_facts.a{i} %}}\nfirst{i} = 1\n{{% else %}}\nother{i} = 1\n{{% endif %}}\n");
    env.write("rabbitmq.j2", &(0..12).map(branch).collect::<String>());
    let output = lint(&env, &["-i", "inventory", "--format", "json"]);
    assert_eq!(told(&output).len(), 24, "{}", output.stdout);
}

#[test]
fn what_a_task_does_not_log_is_not_shown() {
    let env = play(
        "    - template: {src: rabbitmq.j2, dest: /etc/rabbitmq/rabbitmq.conf}
      no_log: true
    - rabbitmq_conf: {conf_d: 10-more.conf, values: {frame_max: '{{ hidden }}'}}
      no_log: true
    - copy: {content: '[{rabbit, [{default_pass, <<\"{{ hidden }}\">>}, {heartbeet, 1}]}].', dest: /etc/rabbitmq/advanced.config}
    - copy: {content: 'default_pass = {{ hidden }}#', dest: /etc/rabbitmq/conf.d/20.conf}
",
    );
    env.write("inventory/group_vars/rabbitmq.yml", "hidden: psecret\n");
    env.write(
        "rabbitmq.j2",
        "heartbeat = {{ hidden }}\nlog.dir = {{ hidden }}#x\n{{ hidden }} = 1\n",
    );
    for more in [&["-i", "inventory"][..], &["-i", "inventory", "--format", "json"]] {
        let output = lint(&env, more);
        assert_eq!(output.code, 1);
        for text in [&output.stdout, &output.stderr] {
            assert!(!text.contains("psecret"), "{text}");
        }
    }
    let told = told(&lint(&env, &["-i", "inventory", "--format", "json"]));
    let hidden = told
        .iter()
        .filter(|t| t.ends_with("RabbitMQ cannot use what is put together here"));
    assert_eq!((told.len(), hidden.count()), (6, 4), "{told:#?}");
}

/// A variable that is in itself ends somewhere.
#[test]
fn endless_variables_end() {
    let env = play("    - rabbitmq_conf: {values: '{{ settings }}'}\n");
    env.write(
        "inventory/group_vars/rabbitmq.yml",
        "settings: {a: '{{ settings }}', heartbeat: ten}\n",
    );
    let output = lint(&env, &["-i", "inventory"]);
    assert!(output.code == 0 || output.code == 1, "{output:?}");
}

/// `lint` looks, and that is all.
#[test]
fn nothing_is_run_and_nothing_is_written() {
    let env = play(TEMPLATE);
    env.write(
        "rabbitmq.j2",
        "heartbeat = {{ lookup('pipe', 'touch ran; echo often') }}\ndefault_pass = {{ lookup('password', 'made') }}\n",
    );
    let output = lint(&env, &["-i", "inventory", "-v"]);
    assert_eq!((output.code, output.stderr.as_str()), (0, ""));
    assert!(
        output.stdout.contains("nothing is run or written here"),
        "{}",
        output.stdout
    );
    assert!(!env.path().join("ran").exists() && !env.path().join("made").exists());
}
