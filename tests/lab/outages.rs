//! Things that go wrong during a run: the host fails alone, with a clear message, and the others finish.

use crate::booted::{BARE, eventually, lab, ssh};
use crate::desk::{Desk, Ran, Started, says};
use rmqplay::lab::fault::{self, HungHost};
use rmqplay::lab::{Lab, Node};

const ALL: [&str; 3] = ["mq-1", "mq-2", "mq-3"];

/// Changes something and notifies a handler; then is busy until it is let go on; then changes something more.
const BUSY: &str = "
- hosts: all
  gather_facts: false
  tasks:
    - name: change
      copy: {content: \"{{ text | default('one') }}\\n\", dest: /root/changed}
      notify: restart it
    - name: hold
      command: sh -c 'touch /run/holding; until [ -e /run/let-go ]; do sleep 0.1; done'
      when: inventory_hostname in holding
    - name: more
      copy: {content: more, dest: /root/more}
  handlers:
    - name: restart it
      shell: echo restarted >>/root/restarts
";
const CLEAN: &str = "rm -rf /root/changed /root/more /root/restarts /run/holding /run/let-go";
const LEDGER: &str = "/var/lib/rmqplay/pending-handlers";

struct Stage {
    lab: Lab,
    nodes: Vec<Node>,
    desk: Desk,
    inventory: String,
    /// Where a run writes its events as they happen.
    events: String,
}

impl Stage {
    fn set() -> Stage {
        let lab = lab(BARE);
        let desk = Desk::new();
        let stage = Stage {
            nodes: lab.nodes().unwrap(),
            events: desk.file("events", ""),
            desk,
            inventory: lab.inventory_dir().to_string(),
            lab,
        };
        for node in &stage.nodes {
            node.exec(&["sh", "-c", CLEAN]).unwrap();
        }
        stage
    }

    fn arguments<'a>(&'a self, playbook: &'a str, more: &[&'a str]) -> Vec<&'a str> {
        let mut arguments = vec!["apply", playbook, "-i", &self.inventory, "--format", "json"];
        arguments.extend(more);
        arguments
    }

    fn apply(&self, playbook: &str, more: &[&str]) -> Ran {
        self.desk.run(&self.arguments(playbook, more))
    }

    /// A run that tells its events, to be interrupted.
    fn start(&self, playbook: &str, more: &[&str]) -> Started {
        let report = format!("jsonl={}", self.events);
        let more = [more, &["--report", &report]].concat();
        self.desk.start(&self.arguments(playbook, &more))
    }

    /// Ctrl-C, and the run knows it.
    fn interrupt(&self, run: &Started) {
        run.interrupt();
        eventually("the run knows", || {
            std::fs::read_to_string(&self.events).unwrap().contains("interrupted")
        });
    }

    fn wait_until_holding(&self, nodes: &[&str]) {
        for node in self.nodes.iter().filter(|n| nodes.contains(&n.name.as_str())) {
            eventually("the task holds", || node.exec(&["test", "-e", "/run/holding"]).is_ok());
        }
    }

    fn read(&self, node: &Node, path: &str) -> Option<String> {
        node.exec(&["cat", path]).ok()
    }

    fn let_go(&self, node: &Node) {
        node.exec(&["touch", "/run/let-go"]).unwrap();
    }

    /// The handler that was not run is remembered on this node, and run by the next apply.
    #[track_caller]
    fn handler_is_not_lost(&self, playbook: &str, node: &Node) {
        let host = node.name.as_str();
        assert_eq!(self.read(node, LEDGER).as_deref(), Some("restart it\n"), "on {host}");
        assert_eq!(self.read(node, "/root/restarts"), None, "on {host}");
        let report = self
            .apply(playbook, &["-e", "holding=[]", "-l", host])
            .ended(0)
            .report();
        assert_eq!(report.status("change", host), "ok");
        assert_eq!(report.status("restart it", host), "changed");
        says(
            &report.warnings().into_iter().collect::<String>(),
            &["handler `restart it` was notified by an earlier run that did not get to it; it runs now"],
        );
        assert_eq!(self.read(node, "/root/restarts").as_deref(), Some("restarted\n"));
        assert_eq!(self.read(node, LEDGER), None);
        // And once only.
        let report = self
            .apply(playbook, &["-e", "holding=[]", "-l", host])
            .ended(0)
            .report();
        assert_eq!(report.status("restart it", host), "none");
    }
}

pub fn power_lost_in_mid_task() {
    let stage = Stage::set();
    let play = stage.desk.file("play.yml", BUSY);
    let run = stage
        .desk
        .start(&stage.arguments(&play, &["-e", "holding=['mq-2']", "-T", "3"]));
    stage.wait_until_holding(&["mq-2"]);
    fault::power_off(&stage.nodes[1]).unwrap();
    let report = run.end().ended(2).report();
    assert_eq!(report.statuses("change", &ALL), ["changed"; 3]);
    assert_eq!(report.statuses("hold", &ALL), ["skipped", "failed", "skipped"]);
    let lost = report.result("hold", "mq-2");
    assert_eq!(lost["code"], "E203", "{lost}");
    says(
        lost["msg"].as_str().unwrap(),
        &["lost while it ran: it may or may not have been done"],
    );
    assert_eq!(report.statuses("more", &ALL), ["changed", "none", "changed"]);
    assert_eq!(report.statuses("restart it", &ALL), ["changed", "none", "changed"]);

    fault::power_on(&stage.lab, &stage.nodes[1]).unwrap();
    stage.handler_is_not_lost(&play, &stage.nodes[1]);
    assert_eq!(stage.read(&stage.nodes[0], LEDGER), None);
}

pub fn power_lost_between_tasks() {
    let stage = Stage::set();
    let play = stage.desk.file("play.yml", BUSY);
    let run = stage
        .desk
        .start(&stage.arguments(&play, &["-e", "holding=['mq-1']", "-T", "3"]));
    stage.wait_until_holding(&["mq-1"]);
    eventually("the first task is done", || {
        stage.read(&stage.nodes[1], LEDGER).is_some()
    });
    fault::power_off(&stage.nodes[1]).unwrap();
    stage.let_go(&stage.nodes[0]);
    let ran = run.end().ended(4);
    let report = ran.report();
    assert_eq!(report.stat("mq-2", "unreachable"), 1);
    assert_eq!(report.statuses("change", &ALL), ["changed"; 3]);
    // Where it stood: files need not wait for other hosts, commands do.
    assert_eq!(
        report.statuses("restart it", &ALL),
        ["changed", "unreachable", "changed"]
    );
    let failed = report.result("restart it", "mq-2");
    assert!(["E201", "E203"].contains(&failed["code"].as_str().unwrap()), "{failed}");

    fault::power_on(&stage.lab, &stage.nodes[1]).unwrap();
    stage.handler_is_not_lost(&play, &stage.nodes[1]);
}

pub fn link_cut_in_mid_task() {
    let stage = Stage::set();
    let play = stage.desk.file("play.yml", BUSY);
    let run = stage
        .desk
        .start(&stage.arguments(&play, &["-e", "holding=['mq-3']", "-T", "3"]));
    stage.wait_until_holding(&["mq-3"]);
    fault::cut_link(&stage.nodes[2]).unwrap();
    // Nobody says that it is gone: it is noticed because nothing is heard for 15 to 20 seconds.
    let report = run.end().ended(2).report();
    fault::restore_link(&stage.nodes[2]).unwrap();
    assert_eq!(report.result("hold", "mq-3")["code"], "E203");
    assert!(report.0["elapsed_ms"].as_u64().unwrap() < 40_000, "{:#}", report.0);
    assert_eq!(report.statuses("more", &ALL), ["changed", "changed", "none"]);
    stage.let_go(&stage.nodes[2]);
    eventually("the link is back", || {
        ssh(&stage.lab, "root", "mq-3", "true").status().unwrap().success()
    });
}

pub fn full_disk() {
    let stage = Stage::set();
    let play = stage.desk.file(
        "play.yml",
        "
- hosts: all
  gather_facts: false
  tasks:
    - name: a large file
      copy: {content: \"{{ 'much ' * 20000 }}\", dest: /etc/full/file}
    - name: a small file
      copy: {content: small, dest: /root/more}
",
    );
    for node in &stage.nodes {
        node.exec(&["mkdir", "-p", "/etc/full"]).unwrap();
    }
    fault::fill_disk(&stage.nodes[1], "/etc/full").unwrap();
    let report = stage.apply(&play, &[]).ended(2).report();
    assert_eq!(report.statuses("a large file", &ALL), ["changed", "failed", "changed"]);
    assert_eq!(report.statuses("a small file", &ALL), ["changed", "none", "changed"]);
    let failed = report.result("a large file", "mq-2");
    says(
        failed["msg"].as_str().unwrap(),
        &["/etc/full/file", "No space left on device"],
    );
    assert_eq!(failed["code"], "E301");
    // Nothing half-written stays behind.
    assert_eq!(stage.nodes[1].exec(&["ls", "-A", "/etc/full"]).unwrap(), ".full\n");

    fault::free_disk(&stage.nodes[1], "/etc/full").unwrap();
    let report = stage.apply(&play, &[]).ended(0).report();
    assert_eq!(report.statuses("a large file", &ALL), ["ok", "changed", "ok"]);
    for node in &stage.nodes {
        node.exec(&["rm", "-r", "/etc/full"]).unwrap();
    }
}

/// A host that hangs, one that refuses, one that is not who it says it is, and one that is well.
pub fn unreachable_hosts() {
    let stage = Stage::set();
    let hung = HungHost::start().unwrap();
    let config = stage.lab.ssh_config();
    let inventory = stage.desk.file(
        "hosts.yml",
        &format!(
            "
all:
  vars: {{ansible_user: root, ansible_ssh_common_args: -F {config}}}
  hosts:
    well: {{ansible_host: 10.231.0.21}}
    hung: {{ansible_host: {}, ansible_port: {}}}
    refusing: {{ansible_host: 10.231.0.22, ansible_port: 9}}
    other: {{ansible_host: 10.231.0.23, ansible_ssh_extra_args: -o HostKeyAlias=mq-1}}
    unknown: {{ansible_host: 10.231.0.23, ansible_ssh_extra_args: -o HostKeyAlias=nobody}}
    nameless: {{ansible_host: nowhere.invalid}}
",
            hung.address().ip(),
            hung.address().port()
        ),
    );
    let play = stage.desk.file(
        "play.yml",
        "
- hosts: all
  gather_facts: false
  tasks:
    - {name: first, command: 'true'}
    - {name: second, command: 'true'}
",
    );
    let arguments = ["apply", &play, "-i", &inventory, "-T", "3", "--format", "json"];
    let report = stage.desk.run(&arguments).ended(4).report();
    assert_eq!(report.status("second", "well"), "changed");
    // Three seconds, and what a busy machine needs; without a limit it would be for ever.
    assert!(report.0["elapsed_ms"].as_u64().unwrap() < 15_000);
    let expected: [(&str, &str, &[&str]); 5] = [
        ("hung", "E201", &["timed out", "--timeout"]),
        ("refusing", "E201", &["connection refused", "is sshd running there"]),
        (
            "other",
            "E202",
            &["the host key has changed", "ssh-keygen -f", "-R \\\"mq-1\\\""],
        ),
        (
            "unknown",
            "E202",
            &["the host key is not known", "ssh-keyscan", "ansible_host_key_checking"],
        ),
        (
            "nameless",
            "E201",
            &["the host name cannot be resolved", "ansible_host"],
        ),
    ];
    for (host, code, parts) in expected {
        assert_eq!(report.stat(host, "unreachable"), 1, "{host}");
        let said = match report.find("first", host) {
            Some(result) => result.clone(),
            None => report.0["unreachable"][host].clone(),
        };
        assert_eq!(said["code"], code, "{host}: {said}");
        says(&said.to_string(), parts);
    }
}

pub fn interrupted_once() {
    let stage = Stage::set();
    let play = stage.desk.file("play.yml", BUSY);
    let mut run = stage.start(&play, &["-e", "holding=['mq-1','mq-2','mq-3']"]);
    stage.wait_until_holding(&ALL);
    stage.interrupt(&run);
    // What runs is waited for.
    for (node, rest) in stage.nodes.iter().zip([true, true, false]) {
        assert!(run.is_running());
        stage.let_go(node);
        if rest {
            eventually("the task is over", || node.exec(&["pgrep", "-f", "let-go"]).is_err());
        }
    }
    let report = run.end().ended(130).report();
    assert_eq!(report.0["interrupted"], true);
    assert_eq!(report.statuses("change", &ALL), ["changed"; 3]);
    assert_eq!(report.statuses("hold", &ALL), ["changed"; 3]);
    // Nothing further was begun, handlers neither.
    assert_eq!(report.statuses("more", &ALL), ["none"; 3]);
    for node in &stage.nodes {
        assert_eq!(stage.read(node, "/root/more"), None);
    }
    for node in &stage.nodes {
        stage.handler_is_not_lost(&play, node);
    }
}

pub fn interrupted_twice() {
    let stage = Stage::set();
    let play = stage.desk.file("play.yml", BUSY);
    let run = stage.start(&play, &["-e", "holding=['mq-1','mq-2','mq-3']"]);
    stage.wait_until_holding(&ALL);
    // Two signals at once would be one.
    stage.interrupt(&run);
    run.interrupt();
    // Nobody lets the tasks go on.
    let report = run.end().ended(130).report();
    assert_eq!(report.0["interrupted"], true);
    says(
        &report.warnings().into_iter().collect::<String>(),
        &["`hold` was not waited for: it may or may not have been done"],
    );
    assert_eq!(report.statuses("change", &ALL), ["changed"; 3]);
    for node in &stage.nodes {
        stage.let_go(node);
        eventually("the task is over", || node.exec(&["pgrep", "-f", "let-go"]).is_err());
        stage.handler_is_not_lost(&play, node);
    }
}

/// A change that is looked at again: the answer is there when the run stops, and what was done is told as done.
pub fn interrupted_while_writing() {
    let stage = Stage::set();
    let play = stage.desk.file(
        "play.yml",
        "
- hosts: mq-1
  gather_facts: false
  tasks:
    - name: hold
      copy:
        content: text
        dest: /root/changed
        validate: sh -c 'touch /run/holding; until [ -e /run/let-go ]; do sleep 0.1; done; test -s %s'
    - name: more
      copy: {content: more, dest: /root/more}
",
    );
    let run = stage.start(&play, &[]);
    stage.wait_until_holding(&["mq-1"]);
    stage.interrupt(&run);
    stage.let_go(&stage.nodes[0]);
    let report = run.end().ended(130).report();
    assert_eq!(report.status("hold", "mq-1"), "changed");
    assert_eq!(report.stat("mq-1", "changed"), 1);
    assert_eq!(report.status("more", "mq-1"), "none");
    assert_eq!(stage.read(&stage.nodes[0], "/root/changed").as_deref(), Some("text"));
}

/// Between two attempts nothing is in flight: no need to wait for the next one.
pub fn interrupted_between_attempts() {
    let stage = Stage::set();
    let play = stage.desk.file(
        "play.yml",
        "
- hosts: mq-1
  gather_facts: false
  tasks:
    - name: patient
      command: sh -c 'touch /run/holding; false'
      register: tried
      until: tried.rc == 0
      retries: 3
      delay: 3600
",
    );
    let run = stage.start(&play, &[]);
    stage.wait_until_holding(&["mq-1"]);
    stage.interrupt(&run);
    run.end().ended(130);
}

/// Wrong password, no password, not allowed: each says what it is; who may, goes on.
pub fn become_refused() {
    let stage = Stage::set();
    let add = "id guest 2>/dev/null || { useradd --create-home --shell /bin/bash guest && \
               cp -a /home/ops/.ssh /home/guest/ && chown -R guest:guest /home/guest/.ssh; }; echo guest:any | chpasswd";
    stage.nodes[2].exec(&["sh", "-c", add]).unwrap();
    let inventory = |deploy: &str| {
        let config = stage.lab.ssh_config();
        let text = format!(
            "
all:
  vars: {{ansible_ssh_common_args: -F {config}, ansible_become: true}}
  hosts:
    mq-1: {{ansible_host: 10.231.0.21, ansible_user: ops}}
    mq-2: {{ansible_host: 10.231.0.22, ansible_user: deploy{deploy}}}
    mq-3: {{ansible_host: 10.231.0.23, ansible_user: guest, ansible_become_password: any}}
"
        );
        stage.desk.file("hosts.yml", &text)
    };
    let play = stage.desk.file(
        "play.yml",
        "
- hosts: all
  tasks:
    - {name: who, command: id -un}
    - {name: more, copy: {content: more, dest: /root/more}}
",
    );
    let apply = |inventory: &str| {
        let arguments = ["apply", &play, "-i", inventory, "--format", "json"];
        stage.desk.run(&arguments).ended(2).report()
    };
    for (password, said) in [
        (
            ", ansible_become_password: wrong",
            "wrong password for sudo to become `root`",
        ),
        ("", "sudo wants a password to become `root`, and none was given"),
    ] {
        let report = apply(&inventory(password));
        assert_eq!(report.result("who", "mq-1")["stdout"], "root");
        assert_ne!(report.status("more", "mq-1"), "none");
        for (host, said) in [("mq-2", said), ("mq-3", "the user may not become `root` by sudo")] {
            let results = report.results();
            let (.., failed) = results
                .iter()
                .find(|(_, _, h, r)| *h == host && r["failed"] == true)
                .unwrap();
            assert_eq!(failed["code"], "E204", "{failed}");
            assert_eq!(failed["msg"], said);
            assert_eq!(report.status("who", host), "none");
        }
        assert!(!report.0.to_string().contains("wrong\""), "a password is shown");
    }
    stage.nodes[2]
        .exec(&["userdel", "--force", "--remove", "guest"])
        .unwrap();
}
