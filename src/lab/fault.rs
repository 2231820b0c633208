//! Things that go wrong on real machines, done to a node on purpose.

use super::machine::io;
use super::{Lab, Node, SSH_LIMIT, error, network};
use crate::diagnostic::Diagnostic;
use std::net::{SocketAddr, TcpListener};

/// Pulls the node's network cable: packets vanish, nothing is refused.
pub fn cut_link(node: &Node) -> Result<(), Diagnostic> {
    node.set_cable(false)
}

pub fn restore_link(node: &Node) -> Result<(), Diagnostic> {
    node.set_cable(true)
}

/// Connections that are open stay, new ones are refused.
pub fn stop_sshd(node: &Node) -> Result<(), Diagnostic> {
    node.exec(&["systemctl", "stop", "ssh.service"]).map(drop)
}

pub fn start_sshd(node: &Node) -> Result<(), Diagnostic> {
    node.exec(&["systemctl", "start", "ssh.service"]).map(drop)
}

/// Power loss: every process ends at once, connections are never closed. What was written to disk stays.
pub fn power_off(node: &Node) -> Result<(), Diagnostic> {
    node.kill()
}

/// Boots a node that is switched off and waits for its `sshd`. Its `net.*` settings are the kernel's defaults again.
pub fn power_on(lab: &Lab, node: &Node) -> Result<(), Diagnostic> {
    if node.is_running() {
        return Err(error(format!("{} is running", node.name)));
    }
    node.boot(lab.dir())?;
    lab.wait_for(
        "sshd",
        std::slice::from_ref(node),
        SSH_LIMIT,
        &|_| {},
        Node::answers_ssh,
    )
}

/// Mounts a tiny file system over a directory of the node, with no byte left in it.
pub fn fill_disk(node: &Node, directory: &str) -> Result<(), Diagnostic> {
    node.exec(&["mount", "-t", "tmpfs", "-o", "size=64k,mode=0755", "tmpfs", directory])?;
    // dd ends with an error, as it should: the disk is full. Empty files need no space, so inodes are left.
    let fill = "dd if=/dev/zero of=\"$1/.full\" bs=4k 2>/dev/null; test $(stat -f -c %a \"$1\") -eq 0";
    node.exec(&["sh", "-c", fill, "sh", directory]).map(drop)
}

pub fn free_disk(node: &Node, directory: &str) -> Result<(), Diagnostic> {
    node.exec(&["umount", directory]).map(drop)
}

/// A host that accepts connections and never says a word, on an address of this machine the lab's bridge has.
/// It is gone when dropped.
#[derive(Debug)]
pub struct HungHost {
    address: SocketAddr,
    // The kernel accepts (into the backlog) for a listener nobody serves, which is just what is wanted.
    _listener: TcpListener,
}

impl HungHost {
    pub fn start() -> Result<HungHost, Diagnostic> {
        let listener = TcpListener::bind((network::GATEWAY, 0)).map_err(io)?;
        Ok(HungHost {
            address: listener.local_addr().map_err(io)?,
            _listener: listener,
        })
    }

    /// Its `ansible_host` and `ansible_port`.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}
