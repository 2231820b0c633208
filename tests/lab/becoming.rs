//! Becoming another user, by each way there is.

use crate::booted::lab;
use crate::desk::Desk;
use rmqplay::lab::{PASSWORD, Wanted};
use serde_json::json;

pub fn each_way() {
    let lab = lab(Wanted::default());
    let inventory = lab.inventory_dir().to_string();
    let desk = Desk::new();
    let password = desk.file("password", &format!("{PASSWORD}\n"));
    let given = ["--become-password-file", &password];
    // The inventory logs in as root: a variable wins over `-u`.
    for (user, become_user, method, more) in [
        ("deploy", "root", "sudo", &given[..]),
        ("ops", "root", "sudo", &[]),
        ("deploy", "root", "su", &given),
        ("root", "deploy", "su", &[]),
        ("ops", "rabbitmq", "sudo", &[]),
        ("deploy", "rabbitmq", "sudo", &given),
        ("root", "rabbitmq", "su", &[]),
    ] {
        let login = format!("ansible_user={user}");
        let mut arguments = vec![
            "run", "all", "-i", &inventory, "-e", &login, "-m", "shell", "--format", "json",
        ];
        arguments.extend(["-a", "id -un; id -un >\"$(mktemp)\" && pwd", "-b"]);
        arguments.extend(["--become-user", become_user, "--become-method", method]);
        arguments.extend(more);
        let ran = desk.run(&arguments).ended(0);
        assert!(!ran.stdout.contains(PASSWORD) && !ran.stderr.contains(PASSWORD));
        let report = ran.report();
        for (_, _, host, result) in report.results() {
            let who = &result["stdout_lines"][0];
            assert_eq!(*who, json!(become_user), "{user} by {method} on {host}: {result}");
        }
        assert_eq!(report.results().len(), 3);
    }
}

/// A play may change who it is from task to task; files are owned by whom they were made.
pub fn within_a_play() {
    let lab = lab(Wanted::default());
    let inventory = lab.inventory_dir().to_string();
    let desk = Desk::new();
    let play = desk.file(
        "play.yml",
        "
- hosts: all
  remote_user: root
  become: true
  tasks:
    - {name: as root, copy: {content: a, dest: /tmp/by-root}}
    - {name: as rabbitmq, copy: {content: a, dest: /tmp/by-rabbitmq}, become_user: rabbitmq}
    - {name: as the one who logged in, copy: {content: a, dest: /tmp/by-deploy}, become: false}
    - {name: look, shell: stat -c %U /tmp/by-*, changed_when: false, register: owners}
    - {name: they differ, assert: {that: \"owners.stdout_lines == ['deploy', 'rabbitmq', 'root']\"}}
    - {name: away, file: {path: '{{ item }}', state: absent}, loop: [/tmp/by-root, /tmp/by-rabbitmq, /tmp/by-deploy]}
",
    );
    let password = format!("ansible_become_password={PASSWORD}");
    let arguments = [
        "apply",
        &play,
        "-i",
        &inventory,
        "-e",
        "ansible_user=deploy",
        "-e",
        &password,
    ];
    let ran = desk.run(&arguments).ended(0);
    assert!(!ran.stdout.contains(PASSWORD), "{}", ran.stdout);
}
