//! Nodes to be bootstrapped.

use crate::booted::{BARE, lab, on};

pub fn has_neither_rabbitmq_nor_python() {
    let lab = lab(BARE);
    let node = lab.node("1").unwrap();
    assert_eq!(
        on(&lab, &node, "root", "command -v rabbitmqctl python3 || echo none"),
        "none"
    );
    assert_eq!(
        on(
            &lab,
            &node,
            "root",
            "findmnt --noheadings --output FSTYPE /var/lib/rabbitmq"
        ),
        "ext4"
    );
    assert_eq!(on(&lab, &node, "root", "systemctl is-system-running --wait"), "running");
    // Its way out, for apt: names are resolved beyond this machine.
    let mirror = "sed -n 's|^deb .*://\\([^/]*\\)/.*|\\1|p' /etc/apt/sources.list | head -n 1";
    on(&lab, &node, "root", &format!("getent hosts \"$({mirror})\""));
}
