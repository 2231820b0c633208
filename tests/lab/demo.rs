//! README's first command.

use crate::booted::{BARE, adopt, down, on};
use crate::desk::{Desk, says};

pub fn from_nothing_and_again() {
    let lab = down();
    let desk = Desk::new();
    adopt(BARE);
    let shown = desk.run(&["lab", "demo"]).ended(0).stdout;
    says(
        &shown,
        &[
            "# Three bare machines: no RabbitMQ, no Python\n$ rmqplay lab up --bare --release trixie",
            "up: mq-1, mq-2, mq-3",
            "$ rmqplay diff playbooks/site.yml -i inventories/lab\n",
            "dry run: nothing is changed",
            "will change  bootstrap : RabbitMQ is installed, and not started yet  (3 hosts)",
            "will change  rabbitmq : rabbitmq.conf",
            "+vm.swappiness=10",
            "$ rmqplay apply playbooks/site.yml -i inventories/lab --diff\n",
            "changed      handler: rabbitmq : restart RabbitMQ",
            "passed       post-check: the broker says that it is running",
            "passed       post-check: every node of the inventory runs in the cluster, and no other  (3 hosts)",
            "# Again: nothing to do",
            "# What to try next",
            "rmqplay lab down",
        ],
    );
    let again = &shown[shown.find("# Again").unwrap()..];
    says(again, &["0 changed"]);
    assert!(!again.contains("\nchanged "), "{again}");
    for node in lab.nodes().unwrap() {
        assert_eq!(on(&lab, &node, "root", "cat /proc/sys/net/ipv4/tcp_fin_timeout"), "30");
        assert_eq!(on(&lab, &node, "root", "systemctl is-active rabbitmq-server"), "active");
    }

    // With nodes that are up, and right already.
    let shown = desk.run(&["lab", "demo"]).ended(0).stdout;
    says(
        &shown,
        &[
            "up: mq-1, mq-2, mq-3\n",
            "0 will change",
            "0 changed",
            "# What to try next",
        ],
    );
}
