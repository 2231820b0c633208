//! `rmqplay lab`: real nodes on this machine, to try things on.

use crate::diagnostic::{Code, Diagnostic};
use crate::lab::{Lab, MAX_NODES, Release, Restored, Say, Status, Wanted};
use clap::{Args, Subcommand};
use std::io::Write;
use std::time::Duration;

/// Real nodes on this machine: up in seconds, gone without a trace
///
/// Each node is a Debian with systemd, sshd, RabbitMQ and a data disk of its own, in a network of its own. Needs root
/// on Debian or Ubuntu; installs what it needs.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  rmqplay lab demo                                      the whole story in a minute or two
  rmqplay lab up --nodes 5 --release bookworm
  rmqplay diff playbooks/site.yml -i inventories/lab    for the three nodes of a plain `lab up`
  rmqplay diff playbooks/site.yml -i /var/lib/rmqplay-lab/inventory    for whatever nodes there are
  rmqplay lab ssh mq-1 systemctl status rabbitmq-server
  rmqplay lab down

Besides root, nodes have two users to try --become with: `deploy` (sudo asks for the password) and `ops`
(it does not). The password of all three is `rmqplay-lab`; ssh takes only the lab's key.

net.* settings are each node's own. vm.*, fs.*, kernel.*, transparent huge pages and I/O schedulers are this
machine's kernel's: `up` notes them, `down` puts them back.")]
pub struct LabArgs {
    #[command(subcommand)]
    pub command: LabCommand,
}

#[derive(Debug, Subcommand)]
pub enum LabCommand {
    /// Start the nodes, or those that are missing
    Up(UpArgs),
    /// Stop and remove all nodes; put the kernel's settings back
    Down {
        /// Remove the cached images and the lab's key, too
        #[arg(long)]
        purge: bool,
    },
    /// Show the nodes
    Status,
    /// Run a command on a node, or a shell
    Ssh {
        /// Name (mq-1) or number (1)
        node: String,
        /// Log in as this user
        #[arg(short = 'l', long, value_name = "USER")]
        login: Option<String>,
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "COMMAND")]
        command: Vec<String>,
    },
    /// Three nodes, a dry run, an apply with post-checks, and an apply that changes nothing
    Demo {
        #[arg(long, value_enum, default_value_t, value_name = "RELEASE")]
        release: Release,
    },
}

#[derive(Clone, Copy, Debug, Args)]
pub struct UpArgs {
    /// How many
    #[arg(long, default_value_t = 3, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=i64::from(MAX_NODES)))]
    pub nodes: u8,
    /// Debian 13 with RabbitMQ 4.0, or Debian 12 with RabbitMQ 3.10
    #[arg(long, value_enum, default_value_t, value_name = "RELEASE")]
    pub release: Release,
    /// Without RabbitMQ (and without Python): nodes to be bootstrapped
    #[arg(long)]
    pub bare: bool,
}

/// What the command needs from the one who calls it.
pub struct LabIo<'a> {
    pub out: &'a mut dyn Write,
    pub say: Say<'a>,
    /// Runs `rmqplay` with these arguments on the same terminal; its exit status.
    pub rmqplay: &'a mut dyn FnMut(&[&str]) -> std::io::Result<i32>,
}

/// The exit status: 0, of `ssh` that of the command, of `demo` that of the first step that failed.
pub fn run(args: LabArgs, lab: &Lab, io: &mut LabIo<'_>) -> Result<i32, Diagnostic> {
    match args.command {
        LabCommand::Up(args) => {
            let wanted = Wanted {
                nodes: args.nodes,
                release: args.release,
                bare: args.bare,
            };
            up(wanted, lab, io)?;
        }
        LabCommand::Down { purge } => {
            let down = lab.down(purge, io.say)?;
            let nodes = match down.nodes {
                0 => "no nodes were there".to_owned(),
                1 => "1 node removed".to_owned(),
                n => format!("{n} nodes removed"),
            };
            write(
                io.out,
                &format!("{nodes}\n{}", restored(&down.restored, &down.not_restored)),
            )?;
        }
        LabCommand::Status => {
            let text = lab
                .status()?
                .map_or_else(|| "there is no lab; `rmqplay lab up` starts one\n".to_owned(), status);
            write(io.out, &text)?;
        }
        LabCommand::Ssh { node, login, command } => {
            let node = lab.node(&node)?;
            let ended = lab
                .ssh(&node, login.as_deref())
                .args(["-o", "LogLevel=ERROR"])
                .args(command)
                .stdin(std::process::Stdio::inherit())
                .status()
                .map_err(|e| Diagnostic::error(Code::LAB, "cannot run `ssh`").note(e.to_string()))?;
            return Ok(ended.code().unwrap_or(255));
        }
        LabCommand::Demo { release } => return demo(release, lab, io),
    }
    Ok(0)
}

fn up(wanted: Wanted, lab: &Lab, io: &mut LabIo<'_>) -> Result<(), Diagnostic> {
    let up = lab.up(wanted, io.say)?;
    let names: Vec<_> = up.nodes.iter().map(|n| n.name.as_str()).collect();
    let mut text = format!("up: {}", names.join(", "));
    if !up.ssh.is_zero() {
        text += &format!(" (sshd after {}", seconds(up.ssh));
        if let Some(rabbitmq) = up.rabbitmq {
            text += &format!(", RabbitMQ after {}", seconds(rabbitmq));
        }
        text.push(')');
    }
    text += &format!("\ninventory: {}\n", lab.inventory_dir());
    write(io.out, &text)
}

fn demo(release: Release, lab: &Lab, io: &mut LabIo<'_>) -> Result<i32, Diagnostic> {
    let wanted = Wanted {
        release,
        ..Wanted::default()
    };
    title(io, "Three nodes", &["lab", "up", "--release", &release.to_string()])?;
    up(wanted, lab, io)?;
    let apply = ["apply", "playbooks/site.yml", "-i", "inventories/lab", "--diff"];
    let steps: [(&str, &[&str]); 3] = [
        (
            "What would change? (nothing is changed)",
            &["diff", "playbooks/site.yml", "-i", "inventories/lab"],
        ),
        ("Make it so, and check the running system", &apply),
        ("Again: nothing to do, one round trip a node", &apply),
    ];
    for (heading, arguments) in steps {
        title(io, heading, arguments)?;
        let status = (io.rmqplay)(arguments)
            .map_err(|e| Diagnostic::error(Code::LAB, "cannot run `rmqplay`").note(e.to_string()))?;
        if status != 0 {
            write(
                io.out,
                &format!("\nThis step failed (exit status {status}). {NODES_STAY}"),
            )?;
            return Ok(status);
        }
    }
    write(io.out, &format!("\n{NODES_STAY}\n{WHAT_NEXT}"))?;
    Ok(0)
}

const NODES_STAY: &str = "The nodes stay up until `rmqplay lab down`.\n";

const WHAT_NEXT: &str = "What to try next:
  rmqplay lab ssh mq-1                                               have a look around
  rmqplay lab ssh mq-2 sysctl -w net.ipv4.tcp_fin_timeout=90         break something...
  rmqplay diff playbooks/site.yml -i inventories/lab                 ...see it found...
  rmqplay apply playbooks/site.yml -i inventories/lab                ...and mended
  rmqplay verify playbooks/site.yml -i inventories/lab               the checks alone
  rmqplay facts all -i inventories/lab                               what the nodes are
  $EDITOR playbooks/tune.yml                                         make it your own
";

fn title(io: &mut LabIo<'_>, heading: &str, arguments: &[&str]) -> Result<(), Diagnostic> {
    write(io.out, &format!("\n# {heading}\n$ rmqplay {}\n", arguments.join(" ")))
}

fn status(status: Status) -> String {
    let mut text = format!("{}{}\n", status.release, if status.bare { ", bare" } else { "" });
    for node in status.nodes {
        let state = match (node.running, node.ssh) {
            (true, true) => "up",
            (true, false) => "up, sshd does not answer",
            (false, _) => "switched off (`rmqplay lab up` boots it)",
        };
        text += &format!("{:<6} {:<13} {state}", node.node.name, node.node.address.to_string());
        if !status.bare
            && let Some(rabbitmq) = node.rabbitmq
        {
            text += &format!(", RabbitMQ {rabbitmq}");
        }
        if node.running {
            text += &format!(", {} MiB", node.memory / 1024 / 1024);
        }
        text.push('\n');
    }
    text
}

fn restored(restored: &[Restored], left: &[Restored]) -> String {
    let mut text = String::new();
    for setting in restored {
        text += &format!(
            "put back: {} {} -> {}\n",
            setting.path,
            one_line(&setting.was),
            one_line(&setting.now)
        );
    }
    for setting in left {
        text += &format!(
            "the kernel did not take back: {} is {}, was {}\n",
            setting.path,
            one_line(&setting.was),
            one_line(&setting.now)
        );
    }
    text
}

/// Values of several numbers are separated by tabs.
fn one_line(value: &str) -> String {
    value.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}

fn write(out: &mut dyn Write, text: &str) -> Result<(), Diagnostic> {
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .map_err(|e| Diagnostic::error(Code::LAB, "cannot write to standard output").note(e.to_string()))
}
