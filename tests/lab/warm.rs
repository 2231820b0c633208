//! The connection that a run leaves behind for the next one.

use crate::booted::{BARE, eventually, lab};
use crate::desk::Desk;
use rmqplay::lab::Node;

/// How often root's key was let in, by the node's own journal. Asked without ssh, so that asking does not count.
fn logins(node: &Node) -> usize {
    node.exec(&["journalctl", "--sync"]).unwrap();
    let journal = node.exec(&["journalctl", "--output=cat", "--grep=Accepted publickey for root"]);
    journal.map_or(0, |lines| lines.lines().count())
}

pub fn second_run_logs_in_no_more() {
    let lab = lab(BARE);
    let node = lab.node("mq-1").unwrap();
    let inventory = lab.inventory_dir().to_string();
    let desk = Desk::new();
    let ping = |more: &[&str]| {
        let mut arguments = vec!["run", "mq-1", "-m", "ping", "-i", &inventory];
        arguments.extend(more);
        let before = logins(&node);
        desk.run(&arguments).ended(0);
        logins(&node) - before
    };
    assert_eq!(ping(&[]), 1);
    assert_eq!(ping(&[]), 0);
    assert_eq!(ping(&[]), 0);

    // A run that is to leave nothing behind: the next one of its kind logs in again.
    assert_eq!(ping(&["--no-persist"]), 1);
    assert_eq!(ping(&["--no-persist"]), 1);
    assert_eq!(ping(&[]), 0);

    // As long as it was told to.
    assert_eq!(ping(&["--persist", "1"]), 1);
    let sessions = || {
        node.exec(&["pgrep", "--count", "--full", "sshd.*root"])
            .map_or(0, |n| n.trim().parse().unwrap())
    };
    let now: usize = sessions();
    eventually("the connection has ended", || sessions() < now);
}
