//! How a cluster is asked how it does, and what its answers mean: the look before and after a node of it is taken down,
//! and the commands between.

use super::cli;
use super::cluster::ClusterStatus;
use crate::host::{Exec, ExecResult, Op, Probe};
use serde_json::Value;

/// Seconds for a look: a VM start a node that is asked, and on a busy host each takes seconds.
const LOOK_LIMIT_S: u32 = 120;

/// Prints this host's node, who was asked, and the answer; `$1` is [`cli::SCRIPT`].
///
/// The members are read from the file in which a node remembers them, so that a node that is down is asked about too,
/// and no VM is started to find out whom to ask. A peer is asked first: what a node thinks of itself is not what the
/// others see. Where no peer answers, the node itself speaks. Exit status 3: no broker has ever run
/// here; 4: it is a cluster of one, and down.
const VIEW: &str = r#"cli=$1
ask() { sh -c "$cli" rabbitmq-cli rabbitmqctl -q -n "$1" cluster_status --formatter json; }
told() {
  answer=$(ask "$1") || return 1
  printf '%s\n%s\n%s\n' "$own" "$1" "$answer"
  exit 0
}
file=$(ls -t /var/lib/rabbitmq/mnesia/*/cluster_nodes.config 2>/dev/null | head -n 1)
if [ -n "$file" ]; then
  own=${file%/cluster_nodes.config}
  own=${own##*/}
  members=$(tr -s "{}[],' " '\n' <"$file" | grep @ | sort -u)
else
  own=$(sh -c "$cli" rabbitmq-cli rabbitmqctl -q eval 'node().' 2>/dev/null | tr -d "'") || own=
  [ -n "$own" ] || exit 3
  members=$(ask "$own" | tr -s '{}[],:" ' '\n' | grep @ | sort -u)
fi
for node in $members; do
  [ "$node" = "$own" ] || told "$node"
done
told "$own"
[ "$members" = "$own" ] && exit 4
exit 1"#;

/// Fails, with the queues' names, where a queue would be lost with this node; `$1` is [`cli::SCRIPT`]. Mirrored queues
/// exist up to 3.13.
const CRITICAL: &str = r#"ask() { sh -c "$cli" rabbitmq-cli rabbitmq-queues -q "$1"; }
cli=$1
ask check_if_node_is_quorum_critical || exit
case $(ls -d /usr/lib/rabbitmq/lib/rabbitmq_server-* 2>/dev/null) in
  */rabbitmq_server-3.*) ask check_if_node_is_mirror_sync_critical ;;
esac"#;

fn script(text: &str, name: &str) -> Vec<String> {
    ["sh", "-c", text, name, cli::SCRIPT].map(str::to_owned).to_vec()
}

/// The look whose answer is a [`View`].
pub fn view() -> Probe {
    Probe::Exec {
        argv: script(VIEW, "rabbitmq-view"),
        stdin: None,
        timeout_s: LOOK_LIMIT_S,
    }
}

/// The look that [`criticals`] reads.
pub fn critical() -> Probe {
    Probe::Exec {
        argv: script(CRITICAL, "rabbitmq-critical"),
        stdin: None,
        timeout_s: LOOK_LIMIT_S,
    }
}

/// What must hold of a node that is back, besides what its peers say of it. That a node listens is told by connecting:
/// a drained one is still registered as listening.
pub fn checks() -> [(&'static str, Probe); 3] {
    [
        ("check_local_alarms", "no alarm on the node"),
        ("check_virtual_hosts", "all virtual hosts run"),
        ("check_port_connectivity", "all ports answer"),
    ]
    .map(|(command, what)| {
        let probe = Probe::Exec {
            argv: cli::command("rabbitmq-diagnostics", ["-q", command]),
            stdin: None,
            timeout_s: LOOK_LIMIT_S,
        };
        (what, probe)
    })
}

fn op(tool: &str, arguments: &[&str], limit_s: u32) -> Op {
    Op::Exec(Exec {
        argv: cli::command(tool, arguments.iter().copied()),
        // What it came to is looked at.
        ok: Vec::new(),
        timeout_s: Some(limit_s),
        ..Exec::default()
    })
}

/// Puts the node into maintenance. Its exit status says little (it may fail and have drained, rabbitmq-server#3369):
/// [`View::drained`] tells.
pub fn drain(limit_s: u32) -> Op {
    op("rabbitmq-upgrade", &["-q", "drain"], limit_s)
}

pub fn revive(limit_s: u32) -> Op {
    op("rabbitmq-upgrade", &["-q", "revive"], limit_s)
}

/// Waits for the broker to have started. Fails at once where there is no VM yet.
pub fn await_startup(limit_s: u32) -> Op {
    let seconds = limit_s.to_string();
    op("rabbitmqctl", &["-q", "await_startup", "-t", &seconds], limit_s + 30)
}

/// Waits until every quorum queue and stream of the node has one replica more online than its quorum.
pub fn await_quorum_plus_one(limit_s: u32) -> Op {
    let seconds = limit_s.to_string();
    let arguments = ["-q", "await_online_quorum_plus_one", "-t", &seconds];
    op("rabbitmq-upgrade", &arguments, limit_s + 30)
}

/// Spreads the leaders of queues over the nodes again.
pub fn rebalance() -> Op {
    op("rabbitmq-queues", &["-q", "rebalance", "all"], 600)
}

/// What one node says of its cluster, asked from another.
#[derive(Clone, Debug, PartialEq)]
pub struct View {
    /// The node of the host that asked.
    pub own: String,
    /// The node that answered.
    pub from: String,
    pub status: ClusterStatus,
}

/// What came of a look at the cluster.
#[derive(Clone, Debug, PartialEq)]
pub enum Sight {
    Seen(Box<View>),
    /// No broker has ever run on the host.
    Never,
    /// A cluster of one, and it is down.
    Alone,
    /// Nobody answers; what the tools said.
    Silent(String),
}

impl Sight {
    /// Of the answer to [`view`].
    pub fn read(answer: &ExecResult) -> Sight {
        match answer.rc {
            0 => View::parse(&answer.stdout.text()).map_or_else(
                || Sight::Silent("`rabbitmqctl cluster_status` says what cannot be read".to_owned()),
                |view| Sight::Seen(Box::new(view)),
            ),
            3 => Sight::Never,
            4 => Sight::Alone,
            124 => Sight::Silent("no answer in time".to_owned()),
            _ => Sight::Silent(said(answer)),
        }
    }
}

impl View {
    fn parse(text: &str) -> Option<View> {
        let (own, rest) = text.split_once('\n')?;
        let (from, json) = rest.split_once('\n')?;
        Some(View {
            own: own.to_owned(),
            from: from.to_owned(),
            status: ClusterStatus::parse(json)?,
        })
    }

    /// Whether the node is in maintenance mode.
    pub fn drained(&self, node: &str) -> bool {
        let state = self.status.maintenance_status.get(node);
        state.is_some_and(|s| s != "not under maintenance" && s != "unknown")
    }

    /// The member that runs on this host: by the part of its name after the `@`, which may be the host's name up to
    /// the first dot.
    pub fn node_of(&self, host: &str) -> Option<&str> {
        let short = |name: &str| name.split('.').next().unwrap_or(name).to_owned();
        let of = |node: &&str| node.split_once('@').map_or("", |(_, host)| host).to_owned();
        let members = self.status.members();
        let exact = members.iter().find(|node| of(node) == host);
        exact
            .or_else(|| members.iter().find(|node| short(&of(node)) == short(host)))
            .copied()
    }
}

/// An alarm in words: `memory on rabbit@mq-1`.
pub fn alarm(alarm: &Value) -> String {
    let text = |key: &str| alarm.get(key).and_then(Value::as_str);
    match (text("resource").or_else(|| text("type")), text("node")) {
        (Some(what), Some(node)) => format!("{what} on {node}"),
        _ => alarm.to_string(),
    }
}

/// Why the node must not stop now, of the answer to [`critical`]; `None`: it may.
pub fn criticals(answer: &ExecResult) -> Option<String> {
    (answer.rc != 0).then(|| said(answer))
}

/// What a tool said that failed, in one line: its first lines, without headings and hints.
pub fn said(answer: &ExecResult) -> String {
    let (stdout, stderr) = (answer.stdout.text(), answer.stderr.text());
    let text = if stderr.trim().is_empty() { stdout } else { stderr };
    let lines: Vec<&str> = text
        .lines()
        .map(str::trim)
        .filter(|l| !l.is_empty() && *l != "Error:")
        .take_while(|l| !l.starts_with("Most common reasons"))
        .collect();
    // What is wrong, where it is among what is right (`check_port_connectivity`).
    let wrong = lines.iter().filter(|l| l.starts_with("Error connecting"));
    let wrong: Vec<&str> = wrong.copied().collect();
    let mut lines = if wrong.is_empty() { lines } else { wrong };
    lines.truncate(3);
    if lines.is_empty() {
        return format!("exit status {}", answer.rc);
    }
    lines
        .join("; ")
        .trim_start_matches("Error: ")
        .trim_end_matches(" Please see diagnostics information and suggestions below.")
        .trim_end_matches('.')
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(rc: i32, stdout: &str, stderr: &str) -> ExecResult {
        ExecResult {
            rc,
            stdout: stdout.into(),
            stderr: stderr.into(),
            ..ExecResult::default()
        }
    }

    #[test]
    fn a_view_of_either_generation() {
        for status in [
            include_str!("testdata/cluster_status-3.10.json"),
            include_str!("testdata/cluster_status-4.0.json"),
        ] {
            let text = format!("rabbit@mq-1\nrabbit@mq-2\n{status}\n");
            let Sight::Seen(view) = Sight::read(&answer(0, &text, "")) else {
                panic!("no view of {status}");
            };
            assert_eq!((view.own.as_str(), view.from.as_str()), ("rabbit@mq-1", "rabbit@mq-2"));
            assert_eq!(view.node_of("mq-1"), Some("rabbit@mq-1"));
            assert_eq!(view.node_of("mq-1.example.org"), Some("rabbit@mq-1"));
            assert_eq!(view.node_of("mq-9"), None);
            assert!(view.status.runs("rabbit@mq-1") && !view.drained("rabbit@mq-1"));
        }
        assert_eq!(Sight::read(&answer(3, "", "")), Sight::Never);
        assert_eq!(Sight::read(&answer(4, "", "")), Sight::Alone);
        assert!(matches!(
            Sight::read(&answer(0, "rabbit@mq-1\nrabbit@mq-1\n{}", "")),
            Sight::Silent(_)
        ));
    }

    /// As 4.0.5 says it while `rabbitmq-upgrade drain` is in force.
    #[test]
    fn maintenance_is_seen() {
        let status = r#"{"disk_nodes": ["rabbit@a"], "running_nodes": ["rabbit@a"],
            "maintenance_status": {"rabbit@a": "marked for maintenance"}}"#;
        let Sight::Seen(view) = Sight::read(&answer(0, &format!("rabbit@a\nrabbit@a\n{status}"), "")) else {
            panic!("no view");
        };
        assert!(view.drained("rabbit@a") && !view.drained("rabbit@b"));
    }

    #[test]
    fn what_tools_say_in_a_line() {
        let down = "Error: unable to perform an operation on node 'rabbit@mq-3'. Please see diagnostics information \
                    and suggestions below.\n\nMost common reasons for this are:\n\n * Target node is unreachable\n";
        assert_eq!(
            said(&answer(69, "", down)),
            "unable to perform an operation on node 'rabbit@mq-3'"
        );
        let ports =
            "Will connect to mq-1:25672\nWill connect to mq-1:5672\nError connecting to mq-1:5672: econnrefused\n";
        assert_eq!(
            said(&answer(69, "", ports)),
            "Error connecting to mq-1:5672: econnrefused"
        );
        let late = "Error:\ntime is up, no quorum + 1 online replicas came online for at least some quorum queues or streams\n";
        assert!(said(&answer(69, "", late)).starts_with("time is up"));
        assert_eq!(said(&answer(70, "", "")), "exit status 70");
        let memory = serde_json::json!({"node": "rabbit@mq-2", "type": "resource_limit", "resource": "memory"});
        assert_eq!(alarm(&memory), "memory on rabbit@mq-2");
    }
}
