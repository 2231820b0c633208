//! Commands that read files and touch no host.

use crate::environment::Environment;
use insta::assert_snapshot;
use serde_json::{Value, json};

#[test]
fn the_demo_wants_the_playbooks() {
    assert_snapshot!(Environment::new().run(&["lab", "demo"]).transcript(), @r"
    exit 1
    --- stderr
    error[E500]: there is no `playbooks/site.yml` here
     |
     = note: the demo applies the playbooks that come with the source of rmqplay
    help: run it in a checkout of the repository
    ");
}

/// Three hosts, a group, variables on several levels.
fn fleet() -> Environment {
    let env = Environment::new();
    env.write(
        "inventories/prod/hosts.ini",
        "[rabbitmq]\nmq-[1:3]\n\n[rabbitmq:vars]\nprofile=balanced\n",
    );
    env.write(
        "inventories/prod/group_vars/rabbitmq.yml",
        "profile: production\nnofile: 65536\n",
    );
    env.write("inventories/prod/host_vars/mq-2.yml", "nofile: 131072\n");
    env.write("rmqplay.toml", "inventory = \"inventories/prod\"\n");
    env
}

#[test]
fn the_inventory_is_listed_as_ansible_lists_it() {
    let env = fleet();
    let list = env.run(&["inventory", "--list"]);
    assert_eq!((list.code, list.stderr.as_str()), (0, ""));
    let list: Value = serde_json::from_str(&list.stdout).unwrap();
    assert_eq!(list["rabbitmq"]["hosts"], json!(["mq-1", "mq-2", "mq-3"]));
    assert_eq!(
        list["_meta"]["hostvars"]["mq-2"],
        json!({"profile": "production", "nofile": 131072})
    );

    let list = env.run(&[
        "inventory",
        "--list",
        "-l",
        "mq-1",
        "-e",
        "extra=1",
        "-e",
        "{\"more\": [1]}",
    ]);
    let list: Value = serde_json::from_str(&list.stdout).unwrap();
    let vars = json!({"profile": "production", "nofile": 65536, "extra": "1", "more": [1]});
    assert_eq!(list["_meta"]["hostvars"], json!({"mq-1": vars}));

    let host = env.run(&["inventory", "--host", "mq-3"]);
    assert_eq!(
        host.stdout,
        "{\n    \"nofile\": 65536,\n    \"profile\": \"production\"\n}\n"
    );
    assert_snapshot!(env.run(&["inventory", "--graph"]).stdout, @r"
    @all:
      |--@ungrouped:
      |--@rabbitmq:
      |  |--mq-1
      |  |--mq-2
      |  |--mq-3
    ");
}

#[test]
fn hosts_are_one_a_line_in_play_order() {
    let env = fleet();
    assert_eq!(
        env.run(&["inventory", "--hosts", "mq-3:rabbitmq:!mq-1"]).stdout,
        "mq-3\nmq-2\n"
    );
    env.write("some", "mq-2\nmq-3\n");
    assert_eq!(
        env.run(&["inventory", "--hosts", "all", "-l", "@some"]).stdout,
        "mq-2\nmq-3\n"
    );
}

#[test]
fn nothing_matched_is_five_and_a_malformed_pattern_is_one() {
    let env = fleet();
    for args in [
        ["inventory", "--hosts", "mq-9", "-l", "all"],
        ["inventory", "--hosts", "mq-1", "-l", "mq-2"],
        ["inventory", "--hosts", "mq-1", "-i", "no/such"],
        ["inventory", "--host", "mq-9", "-l", "all"],
    ] {
        let output = env.run(&args);
        assert_eq!(
            (output.code, output.stdout.as_str()),
            (5, ""),
            "{args:?}: {}",
            output.stderr
        );
        assert!(output.stderr.starts_with("error[E032]: "), "{}", output.stderr);
    }
    assert_eq!(
        env.run(&["inventory", "--hosts", "mq-9", "--allow-empty"]).transcript(),
        "exit 0\n"
    );
    assert_snapshot!(env.run(&["inventory", "--hosts", "mq-1:~mq-("]).transcript(), @r"
    exit 1
    --- stderr
    error[E031]: malformed host pattern `~mq-(`
     --> <command line>:1:6
      |
    1 | mq-1:~mq-(
      |      ^^^^^ Opening parenthesis without closing parenthesis
    ");
    assert_snapshot!(env.run(&["inventory", "--hosts", "rabitmq"]).transcript(), @r"
    exit 5
    --- stderr
    error[E032]: `rabitmq` matches no host and no group
     --> <command line>:1:1
      |
    1 | rabitmq
      | ^^^^^^^ matches nothing
      |
    help: there is a group with a similar name: `rabbitmq`
    ");
}

#[test]
fn a_variable_is_explained_by_layer_file_and_line() {
    let env = fleet();
    assert_eq!(
        env.run(&["vars", "mq-2", "nofile"]).transcript(),
        "exit 0\n--- stdout\n131072\n"
    );
    assert_snapshot!(
        env.run(&["vars", "mq-2", "--explain", "-e", "extra='a b'"])
            .transcript()
    );
    let output = env.run(&["vars", "mq-2", "nofiles"]);
    assert_eq!(output.code, 1);
    assert!(output.stderr.contains("`nofile`"), "{}", output.stderr);
}

#[test]
fn what_no_file_says_is_explained_too() {
    let env = fleet();
    env.write(
        "inventories/prod/host_vars/mq-2.yml",
        "inventory_hostname: mine\ntls: {port: 5671}\n",
    );
    assert_snapshot!(
        env.run(&["vars", "mq-2", "inventory_hostname", "--explain"]).transcript(),
        @r"
    exit 0
    --- stdout
    inventory_hostname: mq-2
      from rmqplay itself; no other variable replaces it
    "
    );
    env.write(
        "inventories/prod/group_vars/all.yml",
        "certs: \"{{ playbook_dir | basename == '' }}\"\n",
    );
    assert_eq!(env.run(&["vars", "mq-2", "certs"]).stdout, "false\n");
    assert_eq!(env.run(&["vars", "mq-2", "group_names"]).stdout, "[\"rabbitmq\"]\n");
    for (name, help) in [
        ("ansible_os_family", "`rmqplay facts mq-2` asks it"),
        ("tls.port", "`tls` is a variable"),
        ("hostvars", "`rmqplay inventory --list`"),
    ] {
        let output = env.run(&["vars", "mq-2", name]);
        assert_eq!(output.code, 1);
        assert!(output.stderr.contains(help), "{name}: {}", output.stderr);
    }
}

#[test]
fn the_configuration_of_a_directory_above_holds() {
    let env = fleet();
    env.write("playbooks/deep/x", "");
    assert_eq!(
        env.run_in("playbooks/deep", &["inventory", "--hosts", "mq-1"])
            .transcript(),
        "exit 0\n--- stdout\nmq-1\n"
    );
    // The nearest wins.
    env.write("playbooks/rmqplay.toml", "inventory = ['other,']\n");
    assert_eq!(
        env.run_in("playbooks/deep", &["inventory", "--hosts", "all"])
            .transcript(),
        "exit 0\n--- stdout\nother\n"
    );
}

#[test]
fn mistakes_in_the_configuration_are_all_told_in_place() {
    let env = Environment::new();
    env.write(
        "rmqplay.toml",
        "forks = \"many\"\ninventry = 'x'\npersist = -1\nhost_key_checking = 'no'\n",
    );
    assert_snapshot!(env.run(&["inventory", "--list"]).transcript());
    env.write("rmqplay.toml", "forks = \n");
    let output = env.run(&["inventory", "--list"]);
    assert_eq!(output.code, 1);
    assert!(
        output.stderr.starts_with("error[E901]: `rmqplay.toml` is not TOML"),
        "{}",
        output.stderr
    );
}

#[test]
fn lint_tells_all_mistakes_of_all_files() {
    let env = Environment::new();
    env.write(
        "playbooks/site.yml",
        "- hosts: all\n  roles: [mq]\n  tasks:\n    - sysctl: {name: a.b, valeu: 1}\n",
    );
    env.write("roles/mq/tasks/main.yml", "- sysctl: name=a.b value=1\n  wehn: x\n");
    env.write("roles/mq/tasks/more.yml", "- sysctl: name=a.b value=1\n  loop_: x\n");
    env.write("inventories/prod/hosts", "[rabbitmq\n");
    env.write("rmqplay.toml", "roles_path = 'roles'\nfork = 1\n");
    let output = env.run(&["lint", "playbooks", "roles", "inventories"]);
    assert_eq!(output.code, 1, "{}", output.stderr);
    env.write("rmqplay.toml", "roles_path = 'roles'\n");
    let output = env.run(&["lint", "."]);
    assert_eq!((output.code, output.stdout.as_str()), (1, ""));
    assert_snapshot!(output.stderr);

    let output = env.run(&["lint", "playbooks", "--format", "json"]);
    assert_eq!((output.code, output.stderr.as_str()), (1, ""));
    let document: Value = serde_json::from_str(&output.stdout).unwrap();
    assert_eq!(
        document["checked"],
        json!([{"path": "playbooks/site.yml", "kind": "playbook"}])
    );
    assert_eq!(document["errors"], json!(2));
    assert_eq!(document["diagnostics"][0]["code"], json!("E012"));
    assert_eq!(document["diagnostics"][0]["span"]["line_start"], json!(4));
}

#[test]
fn lint_says_what_it_checked() {
    let env = fleet();
    env.write("playbooks/site.yml", "- hosts: all\n  roles: [mq]\n");
    env.write(
        "roles/mq/tasks/main.yml",
        "- sysctl: name=vm.swappiness value=1\n  notify: somewhere else\n",
    );
    env.write(
        "roles/mq/handlers/main.yml",
        "- name: somewhere else\n  sysctl: name=a.b value=1\n",
    );
    env.write("roles/mq/templates/x.j2", "{{ x }}\n");
    env.write("rmqplay.toml", "roles_path = 'roles'\n");
    let output = env.run(&["lint", "."]);
    assert_eq!(
        output.transcript(),
        "exit 0\n--- stdout\nchecked 1 playbook, 1 role, 1 inventory, 1 template, 1 configuration\n"
    );
    let output = env.run(&["lint", "nowhere"]);
    assert_eq!(output.code, 1);
    env.write("empty/README.md", "");
    assert!(env.run(&["lint", "empty"]).stderr.contains("nothing to check"));
}

#[test]
fn messages_are_json_lines_when_asked() {
    let env = fleet();
    let output = env.run(&["inventory", "--hosts", "mq-9", "--message-format", "json"]);
    assert_eq!((output.code, output.stdout.as_str()), (5, ""));
    let message: Value = serde_json::from_str(&output.stderr).unwrap();
    assert_eq!(message["code"], json!("E032"));
}

#[test]
fn a_template_is_rendered_as_the_module_would_write_it() {
    let env = fleet();
    env.write(
        "templates/rabbitmq.conf.j2",
        "# {{ inventory_hostname }}\n{% for h in groups.rabbitmq %}\n{{ h }} = {{ hostvars[h].nofile }}\n{% endfor %}\n{{ mine }}",
    );
    let output = env.run(&[
        "template",
        "templates/rabbitmq.conf.j2",
        "--host",
        "mq-2",
        "-e",
        "mine='{{ nofile }}'",
    ]);
    assert_eq!(
        output.transcript(),
        "exit 0\n--- stdout\n# mq-2\nmq-1 = 65536\nmq-2 = 131072\nmq-3 = 65536\n131072"
    );
    // Without a host there is nothing but what is given.
    env.write("vars.yml", "mine: [1, 2]\n");
    env.write("managed.j2", "# {{ ansible_managed }}\n");
    assert_eq!(
        env.run(&["template", "managed.j2", "--host", "mq-2"]).stdout,
        "# Ansible managed\n"
    );
    env.write("list.j2", "{{ mine | join(' ') }}\n");
    assert_eq!(
        env.run(&["template", "list.j2", "-e", "@vars.yml"]).transcript(),
        "exit 0\n--- stdout\n1 2\n"
    );
    assert_snapshot!(env.run(&["template", "list.j2", "-e", "mime=1"]).transcript());
    assert_eq!(env.run(&["template", "none.j2"]).code, 1);
    assert_eq!(env.run(&["template", "list.j2", "--host", "mq-9"]).code, 5);
}

#[test]
fn variables_are_evaluated_where_they_can_be() {
    let env = fleet();
    env.write(
        "inventories/prod/group_vars/all.yml",
        "sum: '{{ nofile + 1 }}'\nfact: '{{ ansible_hostname }}'\nbad: '{{ nope }}'\n",
    );
    assert_eq!(env.run(&["vars", "mq-1", "sum"]).stdout, "65537\n");
    let all: Value = serde_json::from_str(&env.run(&["vars", "mq-1"]).stdout).unwrap();
    let expected = json!({
        "bad": "{{ nope }}", "fact": "{{ ansible_hostname }}", "nofile": 65536, "profile": "production", "sum": 65537,
    });
    assert_eq!(all, expected);
    assert_snapshot!(env.run(&["vars", "mq-1", "--explain"]).stdout);
    let output = env.run(&["vars", "mq-1", "bad"]);
    assert_eq!((output.code, output.stdout.as_str()), (1, ""));
    assert!(
        output.stderr.contains("inventories/prod/group_vars/all.yml:3:"),
        "{}",
        output.stderr
    );
}

#[test]
fn lint_reads_templates_and_conditions() {
    let env = Environment::new();
    env.write("templates/a.j2", "{{ x | no_such_filter }}\n{% if x %}\n");
    env.write(
        "playbooks/site.yml",
        "- hosts: all\n  tasks:\n    - command: echo {{ x | no_such_filter }}\n      when: x ==\n",
    );
    let output = env.run(&["lint", "templates", "playbooks"]);
    assert_eq!((output.code, output.stdout.as_str()), (1, ""));
    assert_snapshot!(output.stderr);
}

/// What a node reads is judged together: conf.d and included files with rabbitmq.conf, plugins with keys. No secret is shown.
#[test]
fn lint_reads_what_a_broker_reads() {
    let env = Environment::new();
    env.write(
        "rabbitmq/rabbitmq.conf",
        "hearbeat = 20\nchannel_max = 100\ndefault_pass = to#psecret\ninclude more/*.inc\n",
    );
    env.write("rabbitmq/more/a.inc", "frame_max = x\n");
    env.write(
        "rabbitmq/conf.d/10-site.conf",
        "channel_max = 200\nprometheus.tcp.port = 15692\n",
    );
    env.write("rabbitmq/enabled_plugins", "[rabbitmq_management].\n");
    env.write("rabbitmq/advanced.config", "[{rabbit, []}]\n");
    env.write("rabbitmq/rabbitmq-env.conf", "NODENAME = rabbit@a\n");
    env.write("nginx/conf.d/site.conf", "server {\n}\n");
    env.write(
        "templates/rabbitmq.conf.j2",
        "{% for x in y %}\nhearbeat = {{ x }}\n{% endfor %}\nheartbeat = 20\n",
    );
    let output = env.run(&["lint", ".", "--rabbitmq-version", "4.0"]);
    assert_eq!((output.code, output.stdout.as_str()), (1, ""));
    assert!(!output.stderr.contains("psecret"));
    assert_snapshot!(output.stderr);

    env.write("broker.txt", "heartbeat = 20\n");
    let output = env.run(&["lint", "broker.txt", "--kind", "rabbitmq.conf"]);
    assert_eq!((output.code, output.stdout.as_str()), (0, "checked 1 rabbitmq.conf\n"));
    assert_eq!(env.run(&["lint", "broker.txt"]).code, 1);
}

/// Values that a playbook writes out are judged where they stand.
#[test]
fn lint_reads_values_of_rabbitmq_conf() {
    let env = Environment::new();
    env.write(
        "site.yml",
        "- hosts: all\n  tasks:\n  - block:\n    - rabbitmq_conf:\n        values:\n          hearbeat: 20\n          \
         ssl_options: {verify: verify_all, versions: [tlsv1.3, TLSv1.2]}\n          vm_memory_high_watermark: {relative: '{{ x \
         }}'}\n          default_queue_type: quorum\n          ours.key: 1\n        extra_keys: [ours.*]\n",
    );
    let output = env.run(&["lint", "site.yml", "--rabbitmq-version", "3.10"]);
    assert_eq!((output.code, output.stdout.as_str()), (1, ""));
    assert_snapshot!(output.stderr);
}

/// A template may come to `omit`, and a file may be missing where the task does not run: these are looked at on the host.
#[test]
fn what_a_module_says_of_literal_arguments_is_known_beforehand() {
    let env = Environment::new();
    env.write(
        "site.yml",
        "- hosts: all\n  tasks:\n    - wait_for: {port: 1, path: /y}\n    - sysctl: {key: vm.swappiness}\n    \
         - wait_for: {port: 1, path: \"{{ y }}\"}\n    - copy: {src: nosuch, dest: /x}\n    - file: {dest: /x, mode: rwx}\n",
    );
    assert_snapshot!(env.run(&["lint", "site.yml"]).transcript(), @r#"
    exit 1
    --- stderr
    error[E021]: `port` and `path` exclude each other
     --> site.yml:3:33
      |
    3 |     - wait_for: {port: 1, path: /y}
      |       -------- in this task     ^^

    error[E021]: `vm.swappiness` needs a value
     --> site.yml:4:7
      |
    4 |     - sysctl: {key: vm.swappiness}
      |       ^^^^^^

    error[E021]: `rwx` is no file mode
     --> site.yml:7:30
      |
    7 |     - file: {dest: /x, mode: rwx}
      |       ---- in this task      ^^^
      |
    help: write it octal and in quotes, `"0644"`, or symbolic, `u=rw,g=r,o=r`

    error: 3 errors
    "#);
}

/// What is no YAML is nothing else either: it is not passed over.
#[test]
fn lint_tells_what_cannot_be_read_in_a_directory() {
    let env = Environment::new();
    env.write("broken.yml", "- hosts: all\n  tasks: [\n");
    env.write("whole.yml", "- hosts: all\n");
    env.write("nothing.yml", "# later\n");
    let output = env.run(&["lint", "."]);
    assert_eq!(output.code, 1, "{}", output.transcript());
    assert!(output.stderr.contains("--> broken.yml:2:10"), "{}", output.transcript());
    assert!(!output.stderr.contains("nothing.yml"), "{}", output.transcript());
}
