//! rabbitmq.conf against brokers of both releases: our verdict is the node's, what is foreseen of a restart is what happens.

use crate::booted::{lab, on};
use crate::desk::{Desk, Report, says};
use base64::Engine as _;
use rmqplay::lab::{Lab, Node, Release, Wanted};
use rmqplay::rabbitmq::cli;
use rmqplay::rabbitmq::conf::node;
use serde_json::{Value, json};
use std::fmt::Write as _;

pub fn on_trixie() {
    with(Release::Trixie, 1);
}

pub fn on_bookworm() {
    with(Release::Bookworm, 0);
}

fn with(release: Release, column: usize) {
    let lab = lab(Wanted {
        release,
        ..Wanted::default()
    });
    let node = lab.nodes().unwrap().into_iter().next().unwrap();
    verdicts(&lab, &node, column);
    restarts(&lab, &node);
    on(
        &lab,
        &node,
        "root",
        "rm -rf /etc/rabbitmq/rabbitmq.conf /etc/rabbitmq/conf.d; systemctl restart rabbitmq-server",
    );
}

/// What the node says to every line of the table; `tests/rabbitmq_conf.rs` compares ours with the table.
fn verdicts(lab: &Lab, node: &Node, column: usize) {
    let data = include_str!("../rabbitmq_conf/verdicts.tsv");
    let lines: Vec<Vec<&str>> = data
        .lines()
        .filter(|l| !l.starts_with("# "))
        .map(|l| l.splitn(3, '\t').collect())
        .collect();
    let texts = lines.iter().map(|l| {
        let text = l[2]
            .replace("\\\\", "\u{0}")
            .replace("\\n", "\n")
            .replace("\\r", "\r")
            .replace("\\t", "\t");
        let text = text.replace('\u{0}', "\\");
        format!("<<\"{}\">>", base64::engine::general_purpose::STANDARD.encode(text))
    });
    let ask = format!(
        "{}[begin F = \"/tmp/\" ++ os:getpid() ++ \".conf\", ok = file:write_file(F, base64:decode(B)), \
         R = case Read([F]) of {{ok, _, _}} -> \"ok\"; _ -> \"no\" end, file:delete(F), list_to_binary(R) end || B <- [{}]].",
        node::READ,
        texts.collect::<Vec<_>>().join(",")
    );
    let quoted = cli::command("rabbitmqctl", ["-q", "eval", &ask]);
    let quoted: Vec<String> = quoted
        .iter()
        .map(|a| format!("'{}'", a.replace('\'', "'\\''")))
        .collect();
    let said = on(lab, node, "root", &quoted.join(" "));
    // Behind what the node logs of its own.
    let answers = said.get(said.rfind("[<<").unwrap()..).unwrap();
    let answers: Vec<&str> = answers.split("<<\"").skip(1).map(|a| &a[..2]).collect();
    assert_eq!(answers.len(), lines.len(), "{said}");
    let mut wrong = String::new();
    for (line, answer) in lines.iter().zip(&answers) {
        if line[column] != *answer {
            let _ = writeln!(wrong, "{}: the table says {}, the node {answer}", line[2], line[column]);
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

/// Restarted for what only a restart changes, and for nothing else.
fn restarts(lab: &Lab, node: &Node) {
    let desk = Desk::new();
    let started = || on(lab, node, "root", "systemctl show -p MainPID --value rabbitmq-server");
    let run = |command: &str, values: Value| -> Report {
        let play = format!(
            "- hosts: mq-1\n  become: true\n  tasks:\n  - name: conf\n    rabbitmq_conf: {{values: {values}, validate: node}}\n    \
             register: conf\n    notify: restart\n  handlers:\n  - name: restart\n    service: {{name: rabbitmq-server, state: \
             restarted}}\n    when: conf.restart_needed | default(true)\n"
        );
        let play = desk.file("conf.yml", &play);
        desk.run(&[command, &play, "-i", "inventories/lab", "--format", "json"])
            .ended(0)
            .report()
    };
    let eval = |expression: &str| on(lab, node, "root", &format!("rabbitmqctl -q eval '{expression}'"));

    let mut values =
        json!({"heartbeat": 20, "vm_memory_high_watermark.relative": 0.5, "disk_free_limit.absolute": 100_000_000});
    let before = started();
    let first = run("apply", values.clone());
    assert_eq!(
        (first.status("conf", "mq-1"), first.status("restart", "mq-1")),
        ("changed", "changed")
    );
    assert_ne!(started(), before);
    assert_eq!(run("apply", values.clone()).status("conf", "mq-1"), "ok");

    // What can be set while it runs.
    let before = started();
    values["vm_memory_high_watermark.relative"] = json!(0.6);
    values["disk_free_limit.absolute"] = json!(200_000_000);
    let predicted = run("diff", values.clone());
    let live = run("apply", values.clone());
    for report in [&predicted, &live] {
        assert_eq!(
            (report.status("conf", "mq-1"), report.status("restart", "mq-1")),
            ("changed", "skipped")
        );
    }
    assert_eq!(
        eval("{vm_memory_monitor:get_vm_memory_high_watermark(), rabbit_disk_monitor:get_disk_free_limit()}."),
        "{0.6,200000000}"
    );

    // Set by hand, and back.
    on(lab, node, "root", "rabbitmqctl -q set_vm_memory_high_watermark 0.3");
    assert_eq!(run("apply", values.clone()).status("conf", "mq-1"), "changed");
    assert_eq!(eval("vm_memory_monitor:get_vm_memory_high_watermark()."), "0.6");

    // A comment, and the user of a first start.
    on(lab, node, "root", "echo '# by hand' >>/etc/rabbitmq/rabbitmq.conf");
    values["default_pass"] = json!("psecret");
    let comment = run("apply", values.clone());
    assert_eq!(
        (comment.status("conf", "mq-1"), comment.status("restart", "mq-1")),
        ("changed", "skipped")
    );
    assert_eq!(started(), before, "restarted for nothing");

    // The file is right, and the process has older values.
    on(
        lab,
        node,
        "root",
        "cd /etc/rabbitmq && sed -i 's/heartbeat = .*/heartbeat = 30/' rabbitmq.conf",
    );
    values["heartbeat"] = json!(30);
    let stale = run("apply", values.clone());
    assert_eq!(
        (stale.status("conf", "mq-1"), stale.status("restart", "mq-1")),
        ("changed", "changed")
    );
    assert_eq!(eval("application:get_env(rabbit, heartbeat)."), "{ok,30}");
    assert_eq!(run("apply", values).status("conf", "mq-1"), "ok");

    // What the node itself refuses is not written.
    let play = "- hosts: mq-1\n  become: true\n  tasks:\n  - rabbitmq_conf: {conf_d: 30-x.conf, values: {ssl_options.certfile: /nope}, \
                validate: node}\n";
    let refused = desk
        .run(&["apply", &desk.file("refused.yml", play), "-i", "inventories/lab"])
        .ended(2);
    says(&refused.stdout, &["does not exist or cannot be read by the node"]);
    assert_eq!(on(lab, node, "root", "ls -A /etc/rabbitmq/conf.d"), "");
}
