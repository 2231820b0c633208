//! What the modules about nodes have in common: which node is this host's, what the command line tools say, and why
//! they failed.

use super::{ArgError, Args, Change, Failure, Report, Seen, Stop};
use crate::host::{Effect, Exec, ExecResult, Observation, Op, Outcome, Probe, Status};
use crate::rabbitmq::{cli, cluster};
use serde_json::Value;

/// The unit of Debian's and Team RabbitMQ's packages.
pub const SERVICE: &str = "rabbitmq-server";

const HOSTNAME: &str = "/proc/sys/kernel/hostname";
/// Seconds a look may take: each starts an Erlang VM, on a machine that may be busy.
const LOOK_LIMIT_S: u32 = 120;

/// What [`own_node`] needs to be looked at.
pub fn identity(node: Option<&str>) -> Vec<Probe> {
    match node {
        Some(_) => Vec::new(),
        None => vec![Probe::read(HOSTNAME), Probe::read(cluster::ENV_CONF)],
    }
}

/// The name of this host's node: as given, or as the node's own scripts make it.
pub fn own_node(given: Option<&str>, seen: &Seen<'_>) -> Result<String, Stop> {
    if let Some(node) = given {
        return Ok(node.to_owned());
    }
    seen.want(&identity(None))?;
    let hostname = seen.read_line(HOSTNAME)?.unwrap_or_default();
    // What a package brings there sets no name.
    let env_conf = match seen.raw(&Probe::read(cluster::ENV_CONF))? {
        Observation::Content(Some(content)) => content.text().into_owned(),
        _ => String::new(),
    };
    cluster::own_name(&hostname, &env_conf).ok_or_else(|| {
        Stop::Fail(Failure::new(format!("`{}` computes the node's name", cluster::ENV_CONF)).help("say it with `node`"))
    })
}

/// The argument `timeout`, in seconds.
pub fn limit(args: &Args) -> Result<u32, ArgError> {
    let value = args.int("timeout").unwrap_or_default();
    match u32::try_from(value) {
        Ok(seconds) if seconds > 0 => Ok(seconds),
        _ => Err(ArgError::new("timeout", format!("`{value}` is no number of seconds"))),
    }
}

/// A look by one of the tools.
pub fn probe(tool: &str, arguments: &[&str]) -> Probe {
    Probe::Exec {
        argv: cli::command(tool, ["-q"].iter().chain(arguments).copied()),
        stdin: None,
        timeout_s: LOOK_LIMIT_S,
    }
}

/// What a tool said to a [`probe`]; `what` could not be done if it failed.
pub fn look(seen: &Seen<'_>, probe: &Probe, what: &str) -> Result<String, Stop> {
    match seen.get(probe)? {
        Observation::Exec(result) if result.ok() => Ok(result.stdout.text().into_owned()),
        Observation::Exec(result) => Err(Stop::Fail(failure(what, &result))),
        _ => Err(Stop::Fail(Failure::new(what))),
    }
}

/// A script that acts on a node through the tools: `$1` is [`cli::SCRIPT`], `arguments` follow. All that the tools and
/// the data directory tell may change.
pub fn script(text: &str, arguments: impl IntoIterator<Item = String>, limit_s: u32) -> Op {
    let head = ["sh", "-c", text, "sh", cli::SCRIPT].map(str::to_owned);
    Op::Exec(Exec {
        argv: head.into_iter().chain(arguments).collect(),
        ok: vec![0],
        effect: Effect::Mentions(vec![cluster::DATA.to_owned(), "rabbitmq-cli".to_owned()]),
        // What the tools need themselves comes on top of the wait.
        timeout_s: Some(limit_s.saturating_add(300)),
        ..Exec::default()
    })
}

/// What a [`script`] came to; `what` could not be done if it failed.
pub fn judge(what: &str, change: &Change, outcomes: &[Outcome]) -> Result<Report, Failure> {
    let Some(outcome) = outcomes.iter().find(|o| !o.is_done()) else {
        return Ok(change.report.clone());
    };
    Err(match (&outcome.exec, &outcome.status) {
        (Some(result), _) => failure(what, result),
        (None, Status::Failed(text)) => Failure::new(format!("{what}: {text}")),
        _ => Failure::new(format!("{what}: it was not run, or nobody knows")),
    })
}

/// A tool's failure in few words, with all it said beside it.
fn failure(what: &str, result: &ExecResult) -> Failure {
    let stderr = result.stderr.text();
    let said = words(&stderr);
    let said = if said.is_empty() {
        format!("exit status {}", result.rc)
    } else {
        said
    };
    let mut failure = Failure::new(format!("{what}: {said}"));
    failure.values.insert("rc".to_owned(), Value::from(result.rc));
    failure
        .values
        .insert("stderr".to_owned(), Value::from(stderr.trim_end()));
    let meanings = [
        (
            "Erlang distribution failed",
            "the Erlang cookie may be another: it has to be the same on all nodes (module `erlang_cookie`)",
        ),
        (
            "noconnection",
            "the nodes cannot connect: the Erlang cookie may be another (module `erlang_cookie`), or ports 4369 and 25672 are \
             closed between them",
        ),
        ("nxdomain", "each node must be able to resolve the names of the others"),
        (
            "inconsistent_cluster",
            "one side still takes the other for a member: forget it there (`forget`)",
        ),
        (
            "Target node is not running",
            "is the node running? `systemctl status rabbitmq-server` tells",
        ),
    ];
    match meanings.iter().find(|(said, _)| stderr.contains(said)) {
        Some((_, meaning)) => failure.help(*meaning),
        None => failure,
    }
}

/// The paragraph of a tool's complaint that says what is wrong; else the last line.
fn words(stderr: &str) -> String {
    let lines: Vec<&str> = stderr.lines().map(str::trim).collect();
    let Some(start) = lines.iter().position(|l| l.starts_with("Error")) else {
        return lines
            .iter()
            .rfind(|l| !l.is_empty())
            .copied()
            .unwrap_or_default()
            .to_owned();
    };
    let paragraph: Vec<&str> = lines[start..]
        .iter()
        .skip_while(|l| **l == "Error:")
        .take_while(|l| !l.is_empty())
        .copied()
        .collect();
    let text = paragraph.join(" ");
    let text = text.strip_prefix("Error: ").unwrap_or(&text);
    let text = text
        .strip_suffix("Please see diagnostics information and suggestions below.")
        .unwrap_or(text);
    text.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As 3.10.8 and 4.0.5 complain.
    #[test]
    fn complaints_come_to_a_sentence() {
        let down = "Error: unable to perform an operation on node 'rabbit@mq-9'. Please see diagnostics information and \
                    suggestions below.\n\nMost common reasons for this are:\n\n * Target node is unreachable\n";
        assert_eq!(words(down), "unable to perform an operation on node 'rabbit@mq-9'.");
        let stopped = "Error: this command requires the 'rabbit' app to be stopped on the target node. Stop it with \
                       'rabbitmqctl stop_app'.\nArguments given:\n\t-q join_cluster\n\n\u{1b}[1mUsage\n";
        assert!(words(stopped).starts_with("this command requires the 'rabbit' app to be stopped"));
        assert_eq!(
            words("Error:\nRabbitMQ on node rabbit@mq-3 must be stopped\n"),
            "RabbitMQ on node rabbit@mq-3 must be stopped"
        );
        assert_eq!(
            words("rabbit@mq-1 does not see rabbit@mq-2 run\n"),
            "rabbit@mq-1 does not see rabbit@mq-2 run"
        );
    }
}
