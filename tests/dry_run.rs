//! What a dry run names is what an apply then changes: the shipped playbooks and single tasks on simulated nodes, with
//! RabbitMQ and without.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test that cannot go on fails"
)]

mod support;

use rmqplay::engine::event::{Event, HostResult, Mode, Section, TaskStatus};
use rmqplay::host::Delta;
use rmqplay::transport::fake::FakeConnector;
use rmqplay::transport::simulate::{bare, fleet};
use std::path::Path;
use std::sync::Arc;
use support::{Story, Told};

/// A playbook in the place of `site.yml`, with the shipped playbooks, roles and templates beside it.
fn story(playbook: &str) -> Story {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    read(&root.join("playbooks"), ".", &mut files);
    read(&root.join("templates"), "templates", &mut files);
    for file in &mut files {
        if let Some(path) = file.0.strip_prefix("./") {
            file.0 = path.to_owned();
        }
    }
    files.push(("site.yml".to_owned(), playbook.to_owned()));
    files.push(("hosts".to_owned(), "[rabbitmq]\nmq-1\n".to_owned()));
    let files: Vec<(&str, &str)> = files.iter().map(|(p, t)| (p.as_str(), t.as_str())).collect();
    Story::with(&files)
}

fn read(dir: &Path, name: &str, files: &mut Vec<(String, String)>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        let name = format!("{name}/{}", entry.file_name().to_str().unwrap());
        if entry.path().is_dir() {
            read(&entry.path(), &name, files);
        } else {
            files.push((name, std::fs::read_to_string(entry.path()).unwrap()));
        }
    }
}

fn shipped(name: &str) -> Story {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("playbooks").join(name);
    story(&std::fs::read_to_string(path).unwrap())
}

fn tasks(tasks: &str) -> Story {
    story(&format!("- hosts: all\n  gather_facts: false\n  tasks:\n{tasks}"))
}

/// Name, status and deltas of everything but checks, which a dry run cannot know beforehand.
fn changes(told: &Told) -> Vec<(String, TaskStatus, Vec<Delta>)> {
    let of = |(name, result): (String, HostResult)| (name, result.status, result.deltas);
    let checks = checks(told);
    let all = told.results("mq-1").into_iter().filter(|(n, _)| !checks.contains(n));
    all.map(of).collect()
}

/// Names of pre-checks and post-checks.
fn checks(told: &Told) -> Vec<String> {
    let name = |event: &Event| match event {
        Event::TaskStarted { task } if matches!(task.section, Section::PreCheck | Section::PostCheck) => {
            Some(task.name.clone())
        }
        _ => None,
    };
    told.events.iter().filter_map(name).collect()
}

/// Diff, apply, apply again; the dry run is given back.
fn predicted(story: Story, nodes: FakeConnector) -> Told {
    let nodes = Arc::new(nodes);
    let mut story = story.mode(Mode::Diff);
    let dry = story.run(nodes.clone());
    story.mode = Mode::Apply;
    let first = story.run(nodes.clone());
    assert_eq!(changes(&dry), changes(&first));
    let second = story.run(nodes);
    for told in [&dry, &first, &second] {
        let bad = told.results("mq-1").into_iter().find(|(_, r)| r.failure.is_some());
        assert!(bad.is_none(), "{bad:#?}");
    }
    let again = second.results("mq-1");
    let changed = again.iter().find(|(_, r)| r.status == TaskStatus::Changed);
    assert!(changed.is_none(), "{changed:#?}");
    dry
}

fn statuses(told: &Told) -> Vec<TaskStatus> {
    told.results("mq-1").into_iter().map(|(_, r)| r.status).collect()
}

#[test]
fn shipped_playbooks() {
    predicted(shipped("tune.yml"), fleet());
    predicted(shipped("site.yml"), fleet());
}

#[test]
fn a_later_play_sees_what_an_earlier_one_would_have_done() {
    let play = "- hosts: all\n  gather_facts: false\n  vars: {tuning_io_scheduler: bfq, tuning_io_class: ''}\n  roles: [tuning]\n";
    let dry = story(&format!("{play}{play}")).mode(Mode::Diff).run(Arc::new(fleet()));
    let statuses = statuses(&dry);
    let (first, second) = statuses.split_at(statuses.len() / 2 + 1);
    assert!(first.contains(&TaskStatus::Changed));
    assert!(
        !second.contains(&TaskStatus::Changed) && second.contains(&TaskStatus::Ok),
        "{:#?}",
        dry.statuses("mq-1")
    );
}

#[test]
fn a_knob_twice() {
    let dry = predicted(
        tasks(
            "
    - {io_scheduler: {device: vda, scheduler: bfq}}
    - {io_scheduler: {path: /var/lib/rabbitmq, scheduler: bfq}}
    - {thp: {enabled: never}}
    - {thp: {enabled: never}}
    - {sysfs: {path: /sys/kernel/mm/transparent_hugepage/enabled, value: never, persist: false}}
    - {limits: {service: rabbitmq-server, limit_item: nofile, value: 70000}}
    - {limits: {service: rabbitmq-server, limit_item: nofile, value: 70000}}
    - {limits: {service: rabbitmq-server, limit_item: nproc, value: 70000}}
    - {systemd_dropin: {unit: rabbitmq-server, settings: {Service: {TimeoutStopSec: 600}}}}
    - {systemd_dropin: {unit: rabbitmq-server, settings: {Service: {TimeoutStopSec: 600}}}}
",
        ),
        fleet(),
    );
    use TaskStatus::{Changed, Ok};
    assert_eq!(
        statuses(&dry),
        [Changed, Ok, Changed, Ok, Ok, Changed, Ok, Changed, Changed, Ok]
    );
    // The second limit is one more line, and nothing else.
    let (_, nproc) = dry.results("mq-1").remove(7);
    assert_eq!(nproc.deltas.len(), 1, "{:#?}", nproc.deltas);
    let warnings: Vec<String> = dry.results("mq-1").into_iter().flat_map(|(_, r)| r.warnings).collect();
    assert!(
        warnings
            .iter()
            .all(|w| w.contains("ERL_MAX_PORTS") || w.contains("a restart gives")),
        "{warnings:#?}"
    );
}

#[test]
fn items_on_one_file() {
    predicted(
        tasks(
            "
    - sysctl: {name: '{{ item }}', value: 4096}
      loop: [net.core.somaxconn, net.ipv4.tcp_max_syn_backlog, net.core.netdev_max_backlog]
    - limits: {service: rabbitmq-server, limit_item: '{{ item }}', value: 60000}
      loop: [nofile, nproc, nofile]
    - pam_limits: {domain: rabbitmq, limit_type: '{{ item }}', limit_item: nofile, value: 60000}
      loop: [soft, hard]
    - sysfs: {path: '/sys/block/vda/queue/{{ item.key }}', value: '{{ item.value }}'}
      loop: [{key: scheduler, value: bfq}, {key: read_ahead_kb, value: 256}]
",
        ),
        fleet(),
    );
}

#[test]
fn a_bare_node() {
    let dry = shipped("site.yml").mode(Mode::Diff).run(Arc::new(bare()));
    let told: Vec<String> = dry.statuses("mq-1");
    let failed = dry.results("mq-1").into_iter().find(|(_, r)| r.failure.is_some());
    assert!(failed.is_none(), "{failed:#?}");
    for known in [
        "kernel settings=Changed",
        "the Erlang VM's ports follow the open files, and time to stop=Changed",
        "open files of the broker=Changed",
        "the page cache is not reclaimed for NUMA locality=Changed",
        "RabbitMQ is installed, and not started yet=Changed",
        "rabbitmq.conf=Changed",
    ] {
        assert!(told.iter().any(|t| t.ends_with(known)), "no `{known}` in {told:#?}");
    }
}

#[test]
fn a_bare_node_is_set_up_by_one_apply() {
    let nodes = Arc::new(bare());
    let first = shipped("site.yml").run(nodes.clone());
    let failed = first.results("mq-1").into_iter().find(|(_, r)| r.failure.is_some());
    assert!(failed.is_none(), "{failed:#?}");
    let second = shipped("site.yml").run(nodes);
    let changed = second
        .results("mq-1")
        .into_iter()
        .find(|(_, r)| r.failure.is_some() || r.status == TaskStatus::Changed);
    assert!(changed.is_none(), "{changed:#?}");
}

/// What a command would say after the changes, nobody knows before: neither where it is not run, nor where it is run and fails
/// for want of what an earlier task brings. Where nothing changes, it is as good as unchanged.
#[test]
fn a_look_is_not_known_before_the_changes_are_made() {
    let look = "command: rabbitmqctl -q cluster_status\n      changed_when: false";
    let play = format!(
        "- hosts: all
  gather_facts: false
  tasks:
    - {look}
    - apt: {{name: rabbitmq-server}}
    - {look}
      register: look
      notify: restart
    - {look}
      check_mode: false
      register: ran
    - {look}
      check_mode: false
      register: again
      until: again.rc == 0
      retries: 1000
    - command: rabbitmqctl -q cluster_status
      check_mode: false
      changed_when: false
      failed_when: false
      register: forgiven
    - debug: {{msg: 'it changed'}}
      when: look is changed or ran is changed
    - assert: {{that: look.rc == 0 and ran.rc == 0}}
    - debug: {{msg: '{{{{ forgiven.rc }}}}'}}
  handlers:
    - name: restart
      debug: {{msg: restarted}}
- hosts: all
  gather_facts: false
  tasks:
    - {look}
  post_checks:
    - {look}
"
    );
    let dry = story(&play).mode(Mode::Diff).run(Arc::new(bare()));
    use TaskStatus::{Changed, Ok, Skipped, Unknown};
    assert_eq!(
        statuses(&dry),
        [
            Ok, Changed, Unknown, Unknown, Unknown, Ok, Skipped, Unknown, Ok, Unknown, Unknown
        ],
        "{:#?}",
        dry.statuses("mq-1")
    );
    // With RabbitMQ there, nothing changes: the looks are what they are.
    let dry = story(&play).mode(Mode::Diff).run(Arc::new(fleet()));
    assert!(!statuses(&dry).contains(&Changed), "{:#?}", dry.statuses("mq-1"));
    assert_eq!(statuses(&dry).first(), Some(&Ok));
    assert_eq!(statuses(&dry).last(), Some(&Ok));
}

/// Whether a package starts what it brings is not known beforehand, and so neither is whether the broker must be restarted for
/// its configuration then. Of a broker that runs, it is known.
#[test]
fn a_restart_is_foretold_only_of_a_broker_that_is_there() {
    let play = "- hosts: all
  gather_facts: false
  tasks:
    - apt: {name: rabbitmq-server}
    - rabbitmq_conf: {values: {heartbeat: 30}}
      register: written
      notify: restart
  handlers:
    - name: restart
      service: {name: rabbitmq-server, state: restarted}
      when: written.restart_needed | default(true)
";
    use TaskStatus::{Changed, Ok, Unknown};
    let dry = story(play).mode(Mode::Diff).run(Arc::new(bare()));
    assert_eq!(statuses(&dry), [Changed, Changed, Unknown]);
    let dry = story(play).mode(Mode::Diff).run(Arc::new(fleet()));
    assert_eq!(statuses(&dry), [Ok, Changed, Changed]);
}

#[test]
fn what_was_in_a_directory_that_is_removed_is_gone() {
    let mut story = tasks(
        "
    - {file: {path: /etc/rabbitmq, state: absent}}
    - {file: {path: /etc/rabbitmq, state: directory}}
    - {copy: {dest: /etc/rabbitmq/rabbitmq-env.conf, content: \"# Defaults to rabbit.\\n\"}}
    - {file: {path: /etc/security/limits.conf, state: absent}}
    - {file: {path: /etc/security/limits.conf, state: touch, modification_time: preserve, access_time: preserve}}
    - {copy: {dest: /etc/security/limits.conf, content: a}}
    - {pam_limits: {domain: a, limit_type: soft, limit_item: nofile, value: 1}}
    - {copy: {dest: /etc/sysctl.d/99-a.conf, content: \"vm.swappiness=1\\n\"}}
    - {file: {path: /etc/sysctl.d, state: absent}}
    - {sysctl: {name: vm.swappiness, value: 10}}
",
    );
    let nodes = Arc::new(fleet());
    story.mode = Mode::Diff;
    let dry = story.run(nodes.clone());
    story.mode = Mode::Apply;
    let applied = story.run(nodes);
    assert!(statuses(&applied).iter().all(|status| *status == TaskStatus::Changed));
    assert_eq!(changes(&dry), changes(&applied));
}

#[test]
fn what_a_command_puts_in_the_place_of_what_was_removed_is_not_known() {
    let mut story = tasks(
        "
    - {file: {path: /etc/rabbitmq, state: absent}}
    - {file: {path: /etc/rabbitmq, state: directory}}
    - {command: tar -xf /root/conf.tar -C /etc/rabbitmq}
    - {file: {path: /etc/rabbitmq/rabbitmq-env.conf, mode: '0600'}}
",
    );
    story.mode = Mode::Diff;
    let dry = story.run(Arc::new(fleet()));
    assert_eq!(statuses(&dry).last(), Some(&TaskStatus::Unknown));
}

#[test]
fn a_file_that_is_removed_wins_no_more() {
    let nodes = Arc::new(fleet());
    let mut before = tasks("    - {copy: {dest: /etc/sysctl.d/99-a.conf, content: \"vm.swappiness=1\\n\"}}\n");
    before.mode = Mode::Apply;
    before.run(nodes.clone());
    let warnings = |cleared: &str| {
        let sysctl = "    - {sysctl: {name: vm.swappiness, value: 10}}\n";
        let mut story = tasks(&format!("{cleared}{sysctl}"));
        story.mode = Mode::Diff;
        let told = story.run(nodes.clone()).results("mq-1");
        told.last().unwrap().1.warnings.clone()
    };
    assert_eq!(warnings("").len(), 1);
    let removed = "    - {file: {path: /etc/sysctl.d, state: absent}}\n";
    assert_eq!(warnings(removed), [""; 0]);
}
