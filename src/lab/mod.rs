//! Disposable real nodes on this machine: Debian with systemd, `sshd` and RabbitMQ, each with a hostname, a network
//! and a data disk of its own, booted in seconds by `systemd-nspawn` over one shared, cached image.
//!
//! ```text
//! Lab::up ─► machine (root, packages) ─► image (cached) ─► network (bridge, NAT) ─► node (files, disk, boot)
//!        └─► kernel: settings of the one shared kernel, remembered by `up`, put back by `down`
//! ```
//!
//! Everything lives in one directory; what the kernel holds besides (mounts, network namespaces, loop devices,
//! control groups) is found again by name, so that `down` cleans up after an interrupted `up` and after a reboot.
//! A leaf: it uses nothing of the core but [`Diagnostic`], and the core does not know it.

mod access;
pub mod fault;
mod image;
mod kernel;
mod machine;
mod network;
mod node;
mod state;

pub use access::inventory;
pub use image::Release;
pub use kernel::Restored;
pub use node::{Node, PASSWORD};

use crate::diagnostic::{Code, Diagnostic};
use camino::{Utf8Path, Utf8PathBuf};
use state::State;
use std::time::{Duration, Instant};

/// Most nodes a lab may have (their addresses are `10.231.0.21` and up).
pub const MAX_NODES: u8 = 50;

/// How long a node may take until its `sshd` answers.
const SSH_LIMIT: Duration = Duration::from_secs(90);
/// How long a node may take until RabbitMQ is up (several nodes boot an Erlang VM at once, on few cores).
const RABBITMQ_LIMIT: Duration = Duration::from_secs(240);

/// What the lab tells while it works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress<'a> {
    /// Something is done; worth a line that stays.
    Done(&'a str),
    /// What is going on now; replaces what was going on before.
    Doing(&'a str),
}

/// Where progress goes: the lab itself prints nothing.
pub type Say<'a> = &'a dyn Fn(Progress<'_>);

/// What a lab should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// 1 to [`MAX_NODES`].
    pub nodes: u8,
    pub release: Release,
    /// Without RabbitMQ: nodes to be bootstrapped.
    pub bare: bool,
}

impl Default for Wanted {
    fn default() -> Self {
        Wanted {
            nodes: 3,
            release: Release::Trixie,
            bare: false,
        }
    }
}

/// A lab that is up, and how long that took.
#[derive(Clone, Debug)]
pub struct Up {
    pub nodes: Vec<Node>,
    /// From the first boot until every `sshd` answered; zero when all nodes ran already.
    pub ssh: Duration,
    /// From the first boot until RabbitMQ was up everywhere; `None` for bare nodes.
    pub rabbitmq: Option<Duration>,
}

/// What [`Lab::down`] found to put back in the kernel, and what it could not put back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Down {
    pub nodes: usize,
    pub restored: Vec<Restored>,
    pub not_restored: Vec<Restored>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    pub release: Release,
    pub bare: bool,
    pub nodes: Vec<NodeStatus>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeStatus {
    pub node: Node,
    pub running: bool,
    /// The port of `sshd` can be connected to.
    pub ssh: bool,
    /// What systemd says of `rabbitmq-server` (`active`, `inactive`, `failed`...); `None` where nothing runs.
    pub rabbitmq: Option<String>,
    /// Resident memory of all its processes, in bytes.
    pub memory: u64,
}

/// The lab of this machine. There is one: bridge, addresses and directory are fixed.
#[derive(Clone, Debug)]
pub struct Lab {
    dir: Utf8PathBuf,
}

impl Default for Lab {
    fn default() -> Self {
        Lab {
            dir: "/var/lib/rmqplay-lab".into(),
        }
    }
}

impl Lab {
    pub fn dir(&self) -> &Utf8Path {
        &self.dir
    }

    /// The `ssh_config` that reaches the nodes by name or address, with strict host keys.
    pub fn ssh_config(&self) -> Utf8PathBuf {
        self.dir.join("ssh_config")
    }

    /// The directory with the inventory of exactly the nodes that were started.
    pub fn inventory_dir(&self) -> Utf8PathBuf {
        self.dir.join("inventory")
    }

    /// Makes the lab what is wanted: starts what is missing, removes nodes that are too many, leaves the others alone.
    ///
    /// # Errors
    /// Not root, not Debian or Ubuntu, a running lab of another release, a node that does not come up (with the end
    /// of its console).
    pub fn up(&self, wanted: Wanted, say: Say<'_>) -> Result<Up, Diagnostic> {
        if wanted.nodes == 0 || wanted.nodes > MAX_NODES {
            return Err(error(format!("a lab has 1 to {MAX_NODES} nodes, not {}", wanted.nodes)));
        }
        machine::require_root()?;
        machine::install_missing(say)?;
        let _lock = state::lock(&self.dir, say)?;
        self.settle(wanted, say)?;

        let image = image::ensure(&self.dir, wanted.release, wanted.bare, say)?;
        access::ensure_key(&self.dir)?;
        say(Progress::Doing("network"));
        network::up()?;
        let nodes: Vec<Node> = (1..=wanted.nodes).map(Node::new).collect();
        for extra in node::existing(&self.dir)?.into_iter().filter(|n| !nodes.contains(n)) {
            extra.remove(&self.dir)?;
            say(Progress::Done(&format!("{} removed", extra.name)));
        }

        let start = Instant::now();
        let mut booted = Vec::new();
        for node in &nodes {
            say(Progress::Doing(&format!("starting {}", node.name)));
            if node.is_running() {
                node.write_hosts(&self.dir, &nodes)?;
                continue;
            }
            node.prepare(&self.dir, &image, &nodes)?;
            node.boot(&self.dir)?;
            booted.push(node.clone());
        }
        access::write(&self.dir, &nodes)?;
        let mut up = Up {
            nodes,
            ssh: Duration::ZERO,
            rabbitmq: None,
        };
        self.wait_for("sshd", &up.nodes, SSH_LIMIT, say, Node::answers_ssh)?;
        if !booted.is_empty() {
            up.ssh = start.elapsed();
        }
        if !wanted.bare {
            self.wait_for("RabbitMQ", &booted, RABBITMQ_LIMIT, say, Node::runs_rabbitmq)?;
            up.rabbitmq = Some(if booted.is_empty() {
                Duration::ZERO
            } else {
                start.elapsed()
            });
        }
        Ok(up)
    }

    /// Takes everything away that `up` made, and puts the kernel's settings back; images stay unless `purge`.
    /// Does the same whatever state the lab is in, and nothing where there is none.
    pub fn down(&self, purge: bool, say: Say<'_>) -> Result<Down, Diagnostic> {
        machine::require_root()?;
        if !self.dir.exists() {
            return Ok(Down::default());
        }
        let lock = state::lock(&self.dir, say)?;
        let down = self.clear(say)?;
        if purge {
            say(Progress::Doing("removing images"));
            machine::remove_tree(&self.dir)?;
        }
        drop(lock);
        Ok(down)
    }

    /// `None`: there is no lab.
    pub fn status(&self) -> Result<Option<Status>, Diagnostic> {
        machine::require_root()?;
        let Some(state) = State::load(&self.dir)?.filter(State::is_of_this_boot) else {
            return Ok(None);
        };
        Ok(Some(Status {
            release: state.release,
            bare: state.bare,
            nodes: self.nodes()?.into_iter().map(Node::status).collect(),
        }))
    }

    /// The nodes there are, running or not, in order.
    pub fn nodes(&self) -> Result<Vec<Node>, Diagnostic> {
        node::existing(&self.dir)
    }

    /// The node with this name (`mq-2`) or number (`2`).
    pub fn node(&self, name: &str) -> Result<Node, Diagnostic> {
        let nodes = self.nodes()?;
        if let Some(node) = nodes.iter().find(|n| n.name == name || n.number.to_string() == name) {
            return Ok(node.clone());
        }
        let unknown = error(format!("there is no node `{name}` in the lab"));
        Err(if nodes.is_empty() {
            unknown.help("start one with `rmqplay lab up`")
        } else {
            let names: Vec<_> = nodes.iter().map(|n| format!("`{}`", n.name)).collect();
            unknown.note(format!("there are {}", names.join(", ")))
        })
    }

    /// `ssh` that knows the nodes by name and address, to be given the rest: options, `--`, a node, a command.
    pub fn ssh(&self) -> std::process::Command {
        let mut command = machine::command("ssh");
        command.args(["-F", self.ssh_config().as_str()]);
        command
    }

    /// Leaves a state in which `up` may go on: none of another boot, release or kind, and the kernel's settings noted.
    fn settle(&self, wanted: Wanted, say: Say<'_>) -> Result<(), Diagnostic> {
        if let Some(state) = State::load(&self.dir)?.filter(State::is_of_this_boot) {
            if (state.release, state.bare) == (wanted.release, wanted.bare) {
                return Ok(());
            }
            let kind = |release: Release, bare| format!("{release}{}", if bare { ", bare" } else { "" });
            return Err(error(format!(
                "the lab is up with other nodes ({}) than asked for ({})",
                kind(state.release, state.bare),
                kind(wanted.release, wanted.bare)
            ))
            .help("take it down first: `rmqplay lab down`"));
        }
        self.clear(say)?;
        State::new(wanted.release, wanted.bare)?.save(&self.dir)
    }

    fn clear(&self, say: Say<'_>) -> Result<Down, Diagnostic> {
        let mut down = Down::default();
        let state = State::load(&self.dir)?;
        for node in node::existing(&self.dir)? {
            say(Progress::Doing(&format!("stopping {}", node.name)));
            node.remove(&self.dir)?;
            down.nodes += 1;
        }
        network::down()?;
        node::remove_cgroups()?;
        for leftover in ["nodes", "inventory", "known_hosts", "ssh_config"] {
            machine::remove_tree(&self.dir.join(leftover))?;
        }
        if let Some(state) = state.filter(State::is_of_this_boot) {
            (down.restored, down.not_restored) = state.kernel.restore();
        }
        State::remove(&self.dir)?;
        Ok(down)
    }

    /// Polls until `ready` holds of every node.
    fn wait_for(
        &self,
        what: &str,
        nodes: &[Node],
        limit: Duration,
        say: Say<'_>,
        ready: impl Fn(&Node, &Lab) -> bool,
    ) -> Result<(), Diagnostic> {
        let start = Instant::now();
        let mut waiting: Vec<&Node> = nodes.iter().collect();
        loop {
            waiting.retain(|node| !ready(node, self));
            let Some(first) = waiting.first() else { return Ok(()) };
            if let Some(dead) = waiting.iter().find(|node| !node.is_running()) {
                return Err(dead.console_note(
                    &self.dir,
                    error(format!("{} stopped before its {what} was up", dead.name)),
                ));
            }
            if start.elapsed() > limit {
                return Err(first.console_note(
                    &self.dir,
                    error(format!("no {what} on {} after {} s", first.name, limit.as_secs())),
                ));
            }
            let names: Vec<_> = waiting.iter().map(|n| n.name.as_str()).collect();
            say(Progress::Doing(&format!("waiting for {what} on {}", names.join(", "))));
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

fn error(message: impl Into<String>) -> Diagnostic {
    Diagnostic::error(Code::LAB, message)
}
