//! How the controller reaches the nodes: one key, host keys that are known beforehand, an `ssh_config`, an inventory.

use super::Node;
use super::machine::{io, run};
use super::state::replace_file;
use crate::diagnostic::Diagnostic;
use camino::Utf8Path;
use std::fmt::Write as _;

pub(super) const KEY: &str = "key";

/// One key for all nodes of all labs of this machine.
pub(super) fn ensure_key(lab: &Utf8Path) -> Result<(), Diagnostic> {
    let key = lab.join(KEY);
    if !key.exists() {
        run(
            "ssh-keygen",
            &["-q", "-t", "ed25519", "-N", "", "-C", "rmqplay-lab", "-f", key.as_str()],
        )?;
    }
    Ok(())
}

pub(super) fn write(lab: &Utf8Path, nodes: &[Node]) -> Result<(), Diagnostic> {
    let mut known = String::new();
    for node in nodes {
        let key = fs_err::read_to_string(node.root(lab).join("etc/ssh/ssh_host_ed25519_key.pub")).map_err(io)?;
        let _ = writeln!(known, "{},{} {}", node.name, node.address, key.trim_end());
    }
    replace_file(&lab.join("known_hosts"), &known)?;
    replace_file(&lab.join("ssh_config"), &ssh_config(lab, nodes))?;
    fs_err::create_dir_all(lab.join("inventory")).map_err(io)?;
    replace_file(&lab.join("inventory/hosts.yml"), &inventory(lab, nodes))
}

/// Host keys stay strict: they are known, read from the nodes' own files.
fn ssh_config(lab: &Utf8Path, nodes: &[Node]) -> String {
    let mut text = String::from("# Written by `rmqplay lab up`.\n");
    for node in nodes {
        let _ = writeln!(text, "Host {}\n  HostName {}", node.name, node.address);
    }
    let names: Vec<_> = nodes.iter().map(|node| node.name.as_str()).collect();
    let _ = write!(
        text,
        "Host {} 10.231.0.*\n  User root\n  IdentityFile {lab}/{KEY}\n  IdentitiesOnly yes\n  \
         UserKnownHostsFile {lab}/known_hosts\n  GlobalKnownHostsFile none\n  StrictHostKeyChecking yes\n  \
         ConnectTimeout 10\n  ServerAliveInterval 5\n  ServerAliveCountMax 3\n",
        names.join(" ")
    );
    text
}

/// The inventory of these nodes. For three it is, but for comments, the one that is shipped as `inventories/lab`.
pub fn inventory(lab: &Utf8Path, nodes: &[Node]) -> String {
    let mut text = format!(
        "# Written by `rmqplay lab up`.\nall:\n  vars:\n    ansible_user: root\n    \
         ansible_ssh_common_args: -F {lab}/ssh_config\n  children:\n    rabbitmq:\n      hosts:\n"
    );
    for node in nodes {
        let _ = writeln!(text, "        {}: {{ ansible_host: {} }}", node.name, node.address);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn three() -> Vec<Node> {
        (1..=3).map(Node::new).collect()
    }

    #[test]
    fn ssh_config_reaches_nodes_by_name_and_address() {
        insta::assert_snapshot!(ssh_config(Utf8Path::new("/lab"), &three()[..2]), @r"
        # Written by `rmqplay lab up`.
        Host mq-1
          HostName 10.231.0.21
        Host mq-2
          HostName 10.231.0.22
        Host mq-1 mq-2 10.231.0.*
          User root
          IdentityFile /lab/key
          IdentitiesOnly yes
          UserKnownHostsFile /lab/known_hosts
          GlobalKnownHostsFile none
          StrictHostKeyChecking yes
          ConnectTimeout 10
          ServerAliveInterval 5
          ServerAliveCountMax 3
        ");
    }

    /// `apply -i inventories/lab` and `apply -i /var/lib/rmqplay-lab/inventory` mean the same hosts.
    #[test]
    fn shipped_inventory_is_the_written_one() {
        let shipped =
            fs_err::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/inventories/lab/hosts.yml")).unwrap();
        let value = |text: &str| serde_yaml::from_str::<serde_json::Value>(text).unwrap();
        let lab = super::super::Lab::default();
        assert_eq!(value(&shipped), value(&inventory(lab.dir(), &three())));
    }
}
