//! `rmqplay lab`: real nodes on this machine, to try things on.

use super::Session;
use crate::cli::{Exit, LabCommand};
use crate::diagnostic::{Code, Diagnostic};
use crate::lab::{Lab, Progress, Release, Restored, Say, Status, Wanted};
use crate::language::Files as _;
use crate::report::Steps;
use crate::report::style::count;
use std::os::unix::process::CommandExt as _;
use std::process::Stdio;
use std::time::Duration;

pub fn run(session: &Session, command: LabCommand) -> Exit {
    let lab = Lab::default();
    let done = match command {
        LabCommand::Up(args) => {
            let wanted = Wanted {
                nodes: args.nodes,
                release: args.release,
                bare: args.bare,
            };
            up(session, &lab, wanted).map(|()| Exit::Done)
        }
        LabCommand::Down { purge } => down(session, &lab, purge).map(|()| Exit::Done),
        LabCommand::Status => lab.status().map(|found| {
            let none = || "there is no lab; `rmqplay lab up` starts one\n".to_owned();
            session.console.print(&found.map_or_else(none, status));
            Exit::Done
        }),
        LabCommand::Ssh { node, login, command } => ssh(&lab, &node, &login, &command),
        LabCommand::Demo { release } => demo(session, &lab, release),
    };
    done.unwrap_or_else(|failure| session.tell(&[failure]))
}

/// Shows what the lab is doing while it does it.
fn watched<T>(session: &Session, work: impl FnOnce(Say<'_>) -> T) -> T {
    let steps = Steps::new(session.console.progress);
    let result = work(&|progress| match progress {
        Progress::Doing(text) => steps.doing(text),
        Progress::Done(text) => steps.done(text),
    });
    steps.clear();
    result
}

fn up(session: &Session, lab: &Lab, wanted: Wanted) -> Result<(), Diagnostic> {
    let up = watched(session, |say| lab.up(wanted, say))?;
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
    session.console.print(&text);
    Ok(())
}

fn down(session: &Session, lab: &Lab, purge: bool) -> Result<(), Diagnostic> {
    let down = watched(session, |say| lab.down(purge, say))?;
    let nodes = match down.nodes {
        0 => "no nodes were there".to_owned(),
        nodes => format!("{} removed", count(nodes, "node")),
    };
    let settings = settings(&down.restored, &down.not_restored);
    session.console.print(&format!("{nodes}\n{settings}"));
    Ok(())
}

/// Becomes `ssh`: its terminal, its signals and its exit status are the command's.
fn ssh(lab: &Lab, node: &str, login: &str, command: &[String]) -> Result<Exit, Diagnostic> {
    let node = lab.node(node)?;
    let cause = lab
        .ssh()
        .args(["-l", login, "--"])
        .arg(&node.name)
        .args(command)
        .stdin(Stdio::inherit())
        .exec();
    Err(Diagnostic::error(Code::LAB, "cannot run `ssh`").note(cause.to_string()))
}

fn demo(session: &Session, lab: &Lab, release: Release) -> Result<Exit, Diagnostic> {
    let site = "playbooks/site.yml";
    if !session.files.exists(site) {
        return Err(Diagnostic::error(Code::LAB, format!("there is no `{site}` here"))
            .note("the demo applies the playbooks that come with the source of rmqplay")
            .help("run it in a checkout of the repository"));
    }
    let wanted = Wanted {
        release,
        bare: true,
        ..Wanted::default()
    };
    title(
        session,
        "Three bare machines: no RabbitMQ, no Python",
        &["lab", "up", "--bare", "--release", &release.to_string()],
    );
    up(session, lab, wanted)?;
    let diff = ["diff", site, "-i", "inventories/lab"];
    let apply = ["apply", site, "-i", "inventories/lab", "--diff"];
    for (heading, arguments) in [
        ("What would change? (Nothing is changed.)", diff.as_slice()),
        ("Make it so: a tuned cluster, and checks of it", &apply),
        ("Again: nothing to do", &apply),
    ] {
        title(session, heading, arguments);
        let exit = own(arguments)?;
        if exit != Exit::Done {
            session
                .console
                .print("\nThe nodes stay up, to have a look: `rmqplay lab ssh mq-1`; then `rmqplay lab down`.\n");
            return Ok(exit);
        }
    }
    session.console.print(WHAT_NEXT);
    Ok(Exit::Done)
}

const WHAT_NEXT: &str = "
# What to try next
rmqplay lab ssh mq-1                                          have a look around
rmqplay lab ssh mq-2 sysctl -w net.ipv4.tcp_fin_timeout=90    break something...
rmqplay diff playbooks/site.yml -i inventories/lab            ...see it found...
rmqplay apply playbooks/site.yml -i inventories/lab           ...and mended
rmqplay verify playbooks/site.yml -i inventories/lab          the checks alone
rmqplay facts all -i inventories/lab                          what the nodes are
rmqplay lab down                                              remove the nodes; until then they stay up
";

fn title(session: &Session, heading: &str, arguments: &[&str]) {
    let text = format!("\n# {heading}\n$ rmqplay {}\n", arguments.join(" "));
    session.console.print(&text);
}

/// Runs this program with other arguments, on the same terminal.
fn own(arguments: &[&str]) -> Result<Exit, Diagnostic> {
    let cannot = |cause: std::io::Error| Diagnostic::error(Code::LAB, "cannot run `rmqplay`").note(cause.to_string());
    let program = std::env::current_exe().map_err(cannot)?;
    let status = std::process::Command::new(program)
        .args(arguments)
        .status()
        .map_err(cannot)?;
    Ok(match status.code() {
        Some(0) => Exit::Done,
        Some(1) => Exit::Usage,
        Some(4) => Exit::Unreachable,
        Some(5) => Exit::NothingMatched,
        Some(6) => Exit::Refused,
        Some(130) | None => Exit::Interrupted,
        Some(_) => Exit::Failed,
    })
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

/// What `down` found changed. That forwarding was on is the lab's own doing and goes without saying.
fn settings(restored: &[Restored], left: &[Restored]) -> String {
    let mut text = String::new();
    for setting in restored.iter().filter(|s| !s.path.starts_with("/proc/sys/net/")) {
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
