//! Faults do what they say, and go away again.

use crate::booted::{BARE, eventually, lab, on, ssh};
use rmqplay::lab::fault::{self, HungHost};
use rmqplay::lab::{Lab, Node};
use std::io::Read;
use std::net::TcpStream;
use std::time::Duration;

fn second_node() -> (Lab, Node) {
    let lab = lab(BARE);
    let node = lab.node("mq-2").unwrap();
    (lab, node)
}

/// What ssh says of a host that it cannot reach.
fn refusal(lab: &Lab, node: &Node) -> String {
    let output = ssh(lab, "root", &node.name, "true").output().unwrap();
    assert_eq!(output.status.code(), Some(255), "{output:?}");
    String::from_utf8(output.stderr).unwrap()
}

pub fn link() {
    let (lab, node) = second_node();
    fault::cut_link(&node).unwrap();
    let said = refusal(&lab, &node);
    assert!(
        said.contains("timed out") || said.contains("No route to host"),
        "{said}"
    );
    on(&lab, &lab.node("mq-1").unwrap(), "root", "true");
    fault::restore_link(&node).unwrap();
    eventually("the link is back", || {
        ssh(&lab, "root", &node.name, "true").status().unwrap().success()
    });
}

pub fn sshd() {
    let (lab, node) = second_node();
    fault::stop_sshd(&node).unwrap();
    assert!(refusal(&lab, &node).contains("Connection refused"));
    fault::start_sshd(&node).unwrap();
    on(&lab, &node, "root", "true");
}

pub fn power() {
    let (lab, node) = second_node();
    on(
        &lab,
        &node,
        "root",
        "echo kept >/root/mark; echo kept >/var/lib/rabbitmq/mark; sync; sysctl -qw net.core.somaxconn=777",
    );
    fault::power_off(&node).unwrap();
    assert!(!node.is_running());
    refusal(&lab, &node);
    fault::power_on(&lab, &node).unwrap();
    assert_eq!(
        on(&lab, &node, "root", "cat /root/mark /var/lib/rabbitmq/mark"),
        "kept\nkept"
    );
    assert_ne!(on(&lab, &node, "root", "cat /proc/sys/net/core/somaxconn"), "777");
    on(&lab, &node, "root", "rm /root/mark /var/lib/rabbitmq/mark");
}

pub fn reboot() {
    let (lab, node) = second_node();
    let started = || {
        node.exec(&["systemctl", "show", "-p", "UserspaceTimestampMonotonic"])
            .ok()
    };
    // As a node that goes down does with all that runs in it.
    let stopped = node.exec(&["sh", "-c", "kill -STOP $$; echo went on"]);
    assert_eq!(stopped.unwrap(), "went on\n");
    let before = started().unwrap();
    // The connection ends in the middle of it.
    ssh(&lab, "root", &node.name, "systemctl reboot").output().unwrap();
    eventually("the node has booted anew", || {
        started().is_some_and(|now| now != before)
    });
    eventually("sshd answers", || {
        ssh(&lab, "root", &node.name, "true").output().unwrap().status.success()
    });
}

pub fn disk() {
    let (lab, node) = second_node();
    let write = "mkdir -p /etc/full && echo text >/etc/full/file";
    on(&lab, &node, "root", write);
    fault::fill_disk(&node, "/etc/full").unwrap();
    let output = ssh(&lab, "root", &node.name, write).output().unwrap();
    assert!(
        String::from_utf8_lossy(&output.stderr).contains("No space left on device"),
        "{output:?}"
    );
    fault::free_disk(&node, "/etc/full").unwrap();
    assert_eq!(on(&lab, &node, "root", "cat /etc/full/file; rm -r /etc/full"), "text");
}

pub fn hung_host() {
    second_node();
    let host = HungHost::start().unwrap();
    let mut stream = TcpStream::connect(host.address()).unwrap();
    stream.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    let silence = stream.read(&mut [0; 8]).unwrap_err();
    assert!(
        matches!(
            silence.kind(),
            std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
        ),
        "{silence}"
    );
    let address = host.address();
    drop((host, stream));
    assert!(TcpStream::connect(address).is_err());
}
