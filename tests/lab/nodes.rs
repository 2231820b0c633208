//! What a node is.

use crate::booted::{lab, on, ssh};
use rmqplay::lab::{PASSWORD, Wanted};
use std::collections::BTreeSet;

pub fn are_machines_of_their_own() {
    let lab = lab(Wanted::default());
    let mut ids = BTreeSet::new();
    for node in lab.nodes().unwrap() {
        let root = |command: &str| on(&lab, &node, "root", command);
        assert_eq!(root("hostname"), node.name);
        assert_eq!(root("systemctl is-system-running --wait"), "running");
        assert_eq!(root("ps -o comm= -p 1"), "systemd");
        ids.insert(root("cat /etc/machine-id"));
        ids.insert(root("cat /etc/ssh/ssh_host_ed25519_key.pub"));
        // net.* is its own...
        root(&format!(
            "sysctl -qw net.core.somaxconn={}",
            5000 + u32::from(node.number)
        ));
        // ...and so are control groups: a service of one node must not be seen by the others.
        let sshd = root(
            "cat /sys/fs/cgroup/systemd/system.slice/ssh.service/cgroup.procs 2>/dev/null \
                         || cat /sys/fs/cgroup/system.slice/ssh.service/cgroup.procs",
        );
        assert!(
            sshd.lines().all(|pid| pid != "0"),
            "processes of others in {}: {sshd}",
            node.name
        );
    }
    assert_eq!(ids.len(), 6);
    for node in lab.nodes().unwrap() {
        let value = on(&lab, &node, "root", "cat /proc/sys/net/core/somaxconn");
        assert_eq!(value, (5000 + u32::from(node.number)).to_string());
        on(&lab, &node, "root", "sysctl -qw net.core.somaxconn=4096");
    }
}

pub fn reach_each_other_by_name() {
    let lab = lab(Wanted::default());
    let nodes = lab.nodes().unwrap();
    for (from, to) in nodes.iter().zip(nodes.iter().cycle().skip(1)) {
        // epmd of the other node, by name.
        let command = format!("bash -c 'exec 3<>/dev/tcp/{}/4369'", to.name);
        on(&lab, from, "root", &command);
    }
}

pub fn run_rabbitmq_on_a_disk_of_their_own() {
    let lab = lab(Wanted::default());
    let mut disks = BTreeSet::new();
    for node in lab.nodes().unwrap() {
        let root = |command: &str| on(&lab, &node, "root", command);
        assert_eq!(root("systemctl is-active rabbitmq-server"), "active");
        let disk = root("findmnt --noheadings --output SOURCE --target /var/lib/rabbitmq");
        let name = disk.strip_prefix("/dev/").unwrap();
        assert!(name.starts_with("loop"), "{disk}");
        assert!(root(&format!("cat /sys/block/{name}/queue/scheduler")).contains("mq-deadline"));
        assert_eq!(root("stat -c %U:%a /var/lib/rabbitmq"), "rabbitmq:755");
        disks.insert(disk);
    }
    assert_eq!(disks.len(), 3);
}

pub fn let_users_become_root() {
    let lab = lab(Wanted::default());
    for node in lab.nodes().unwrap() {
        assert_eq!(on(&lab, &node, "ops", "sudo -n id -un"), "root");
        let asked = ssh(&lab, "deploy", &node.name, "sudo -n true").output().unwrap();
        assert!(!asked.status.success());
        let given = format!("echo {PASSWORD} | sudo -S -p '' id -un");
        assert_eq!(on(&lab, &node, "deploy", &given), "root");
        let wrong = ssh(&lab, "deploy", &node.name, "echo wrong | sudo -S -p '' id -un")
            .output()
            .unwrap();
        assert!(!wrong.status.success());
    }
}

pub fn host_keys_are_strict() {
    let lab = lab(Wanted::default());
    // By address and by name; nothing had to be accepted.
    let nodes = lab.nodes().unwrap();
    for node in &nodes {
        for host in [node.name.clone(), node.address.to_string()] {
            assert!(ssh(&lab, "root", &host, "true").status().unwrap().success());
        }
    }
    // A node that is not who it says is refused.
    let output = lab
        .ssh()
        .args(["-o", "BatchMode=yes", "-o", "LogLevel=ERROR"])
        .args([
            "-o",
            &format!("HostKeyAlias={}", nodes[1].name),
            "--",
            &nodes[0].name,
            "true",
        ])
        .output()
        .unwrap();
    assert!(
        String::from_utf8_lossy(&output.stderr).contains("Host key verification failed"),
        "{output:?}"
    );
}
