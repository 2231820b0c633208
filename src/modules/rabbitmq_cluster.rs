//! `rabbitmq_cluster`: this host's node is in the cluster of another; dead members are forgotten, by name.

use super::{
    Action, ArgError, ArgKind, ArgSpec, Args, Change, Decision, Failure, Kind, ModuleSpec, Prepare, Report, Seen, Stop,
    rabbitmq_cli as tool, unit,
};
use crate::host::{Delta, Observation, Outcome, Probe, Undo};
use crate::rabbitmq::cluster::{self, ClusterStatus};
use serde_json::{Map, Value};

pub static SPEC: ModuleSpec = ModuleSpec {
    name: "rabbitmq_cluster",
    aliases: &[],
    summary: "A node is in a cluster; dead members are forgotten by name",
    description: "\
Joins this host's node to the cluster of `join`, a node that runs, and waits until every member that runs sees it run. The node \
that `join` names itself has nothing to do; so has a cluster of one.

A converged node costs no start of an Erlang VM: the node's own `cluster_nodes.config` tells the members.

Joining deletes what a node has. So a node with data of its own (queues, exchanges, policies, more than one user or vhost), or in \
another cluster, is an error, unless `reset: true` says that it may go.

`forget` names members that are dead and shall be members no more: to be replaced under the same name, say. What is not a \
member is passed over; a member that runs is an error; a node does not forget itself, so the list may be the same for all hosts.

Use it with `serial: 1`, the first node first: nodes then join one at a time.",
    args: &[
        ArgSpec::new("join", ArgKind::Str, "A node of the cluster, `rabbit@mq-1`; the first node names itself.").aliases(&["first"]),
        ArgSpec::new("state", ArgKind::Str, "`joined` is all there is.").default("joined").choices(&["joined"]),
        ArgSpec::new("forget", ArgKind::List, "Dead members that are to go."),
        ArgSpec::new("reset", ArgKind::Bool, "The node may leave its cluster and lose its data to join.").default("false"),
        ArgSpec::new("node", ArgKind::Str, "This host's node; unset: as `rabbitmq-env.conf` and the host's name make it."),
        ArgSpec::new("timeout", ArgKind::Int, "Seconds to wait at most until the members agree.").default("300"),
    ],
    free_form: None,
    open: false,
    returns: &[
        ("node", "This host's node"),
        ("members", "The members of its cluster before the change, sorted"),
    ],
    examples: "\
- name: one cluster, beginning with the first node of the inventory
  rabbitmq_cluster:
    join: rabbit@{{ groups['rabbitmq'][0] }}

- name: a machine that burnt down is a member no more
  rabbitmq_cluster:
    forget: [rabbit@mq-3]
  run_once: true
",
    // Other nodes see it.
    local: false,
    kind: Kind::Host(prepare),
    ahead,
};

/// Joins; `$4` says that the node is reset first. If it does not come to be a member, it runs again as what it was.
const JOIN: &str = r#"cli=$1 node=$2 first=$3 reset=$4 file=$5 limit=$6
ctl() { sh -c "$cli" rabbitmq-cli rabbitmqctl -q "$@" </dev/null; }
give_up() { rc=$?; ctl start_app; exit "$rc"; }
end=$(($(date +%s) + limit))
ctl stop_app || exit
[ -z "$reset" ] || ctl reset || give_up
ctl join_cluster "$first" || give_up
ctl start_app || exit
sees() {
  running=$(ctl -n "$1" cluster_status --formatter json | tr -d ' \n' | sed 's/.*"running_nodes":\[//; s/\].*//')
  case ",$running," in *",\"$2\","*) return 0;; *) return 1;; esac
}
for member in $(tr -s "[]{}', \n" '\n' <"$file" | grep @ | sort -u); do
  until sees "$member" "$node" || { [ "$member" != "$first" ] && ! sees "$node" "$member"; }; do
    [ "$(date +%s)" -lt "$end" ] || { echo "$member does not see $node run" >&2; exit 75; }
    sleep 1
  done
done"#;

/// Forgets members, and waits until the node has written it down. Another host may have been first.
const FORGET: &str = r#"cli=$1 file=$2 limit=$3
shift 3
ctl() { sh -c "$cli" rabbitmq-cli rabbitmqctl -q "$@" </dev/null; }
member() { tr -s "[]{}', \n" '\n' <"$file" | grep -qxF -e "$1"; }
end=$(($(date +%s) + limit))
for dead; do
  ctl forget_cluster_node "$dead" || { rc=$?; member "$dead" && exit "$rc"; }
  while member "$dead"; do
    [ "$(date +%s)" -lt "$end" ] || { echo "$dead is still a member" >&2; exit 75; }
    sleep 1
  done
done"#;

struct Cluster {
    node: Option<String>,
    /// What the node is called if nothing special is set up, so that one look may do.
    guess: Option<String>,
    join: Option<String>,
    forget: Vec<String>,
    reset: bool,
    limit_s: u32,
}

fn prepare(args: &Args, controller: &dyn Prepare) -> Result<Box<dyn Action>, ArgError> {
    let forget: Vec<String> = args.list("forget").into_iter().filter(|n| !n.is_empty()).collect();
    if args.str("join").is_none() && !args.given("forget") {
        return Err(ArgError::task("module `rabbitmq_cluster` needs `join` or `forget`")
            .help("`join` names a node of the cluster, and the first node itself: `join: rabbit@mq-1`"));
    }
    for (argument, names) in [
        ("join", args.str("join").map(str::to_owned).into_iter().collect()),
        ("node", args.str("node").map(str::to_owned).into_iter().collect()),
        ("forget", forget.clone()),
    ] {
        let names: Vec<String> = names;
        if let Some(name) = names.iter().find(|name| !cluster::is_node_name(name)) {
            return Err(ArgError::new(
                argument,
                format!("`{name}` is not the name of a node, such as `rabbit@mq-1`"),
            ));
        }
    }
    Ok(Box::new(Cluster {
        node: args.str("node").map(str::to_owned),
        guess: match controller.variable("ansible_hostname") {
            Ok(Some(Value::String(host))) => Some(format!("rabbit@{host}")),
            _ => None,
        },
        join: args.str("join").map(str::to_owned),
        forget,
        reset: args.bool("reset"),
        limit_s: tool::limit(args)?,
    }))
}

fn ahead(args: &Map<String, Value>) -> Vec<Probe> {
    let node = args.get("node").and_then(Value::as_str);
    node.map(|node| vec![Probe::read(cluster::members_file(node))])
        .unwrap_or_default()
}

impl Action for Cluster {
    fn probes(&self) -> Vec<Probe> {
        let file = self.node.as_ref().or(self.guess.as_ref());
        let file = file.map(|node| Probe::read(cluster::members_file(node)));
        tool::identity(self.node.as_deref()).into_iter().chain(file).collect()
    }

    fn decide(&self, seen: &Seen<'_>) -> Result<Decision, Stop> {
        seen.want(&self.probes())?;
        let node = tool::own_node(self.node.as_deref(), seen)?;
        let file = cluster::members_file(&node);
        let Some(text) = seen.read(&file)? else {
            return never_started(&node, seen);
        };
        let mut members = cluster::members(&text.text())
            .ok_or_else(|| Failure::new(format!("`{file}` is not what a node of RabbitMQ writes")))?;
        members.sort();
        let report = Report::new()
            .with("node", node.as_str())
            .with("members", members.clone());

        let dead: Vec<&String> = self
            .forget
            .iter()
            .filter(|n| **n != node && members.contains(n))
            .collect();
        if !dead.is_empty() {
            return forget(&dead, &node, self.limit_s, report, seen);
        }
        match &self.join {
            Some(first) if *first != node && !members.contains(first) => {
                self.join(first, &node, &members, report, seen)
            }
            _ => Ok(Decision::Keep(report)),
        }
    }

    fn finish(&self, change: &Change, outcomes: &[Outcome]) -> Result<Report, Failure> {
        let what = match &self.join {
            Some(first) if change.deltas.iter().any(|d| d.subject.starts_with("cluster of ")) => {
                format!("the node cannot join `{first}`")
            }
            _ => "the members cannot be forgotten".to_owned(),
        };
        tool::judge(&what, change, outcomes)
    }
}

/// No members are known: the node has not run yet, or has another name.
fn never_started(node: &str, seen: &Seen<'_>) -> Result<Decision, Stop> {
    if let Observation::Unknown(why) = seen.raw(&unit::show(tool::SERVICE))? {
        return Err(Stop::CannotKnow(why));
    }
    Ok(Decision::Fail(
        Failure::new(format!("the node `{node}` has never run on this host")).help(
            "start the service first; if the node has another name, say so with `node` (its data is in \
             /var/lib/rabbitmq/mnesia)",
        ),
    ))
}

fn forget(dead: &[&String], node: &str, limit_s: u32, report: Report, seen: &Seen<'_>) -> Result<Decision, Stop> {
    let probe = tool::probe("rabbitmqctl", &["cluster_status", "--formatter", "json"]);
    let status = tool::look(seen, &probe, "the members cannot be asked for")?;
    let status = ClusterStatus::parse(&status)
        .ok_or_else(|| Failure::new("`rabbitmqctl cluster_status` did not say what it says elsewhere"))?;
    if let Some(alive) = dead.iter().find(|name| status.runs(name)) {
        return Ok(Decision::Fail(
            Failure::new(format!("`{alive}` runs, and only a dead member is forgotten"))
                .help("take it out of `forget`, or stop it for good first"),
        ));
    }
    let deltas = dead
        .iter()
        .map(|name| Delta::value(format!("member {name}"), "down", "forgotten"))
        .collect();
    let arguments = [cluster::members_file(node), limit_s.to_string()]
        .into_iter()
        .chain(dead.iter().map(|name| (*name).clone()));
    let undo = Undo::Impossible("what is forgotten joins again only as a blank node".to_owned());
    let ops = vec![tool::script(FORGET, arguments, limit_s)];
    Ok(Decision::Change(Change::new(deltas, ops, report).undo(undo)))
}

impl Cluster {
    fn join(
        &self,
        first: &str,
        node: &str,
        members: &[String],
        report: Report,
        seen: &Seen<'_>,
    ) -> Result<Decision, Stop> {
        let others: Vec<&str> = members.iter().map(String::as_str).filter(|m| *m != node).collect();
        let elsewhere = !others.is_empty();
        if elsewhere && !self.reset {
            return Ok(Decision::Fail(
                Failure::new(format!(
                    "`{node}` is in another cluster, with {}",
                    super::knob::quoted(&others)
                ))
                .help("`reset: true` takes it out of there and deletes the data it has"),
            ));
        }
        let probe = tool::probe("rabbitmqctl", &["export_definitions", "-", "--format", "json"]);
        let definitions = tool::look(seen, &probe, "what the node has cannot be asked for")?;
        let definitions: Value = serde_json::from_str(&definitions)
            .map_err(|_| Failure::new("`rabbitmqctl export_definitions` did not say what it says elsewhere"))?;
        let own = cluster::own_data(&definitions);
        if !own.is_empty() && !self.reset {
            return Ok(Decision::Fail(
                Failure::new(format!(
                    "`{node}` has data of its own ({}), which joining deletes",
                    own.join(", ")
                ))
                .help("`reset: true` lets it go; `rabbitmqctl export_definitions FILE` saves all but the messages"),
            ));
        }
        let before = match (elsewhere, own.as_slice()) {
            (true, _) => format!("with {}", others.join(", ")),
            (false, []) => "alone".to_owned(),
            (false, own) => format!("alone, {}", own.join(", ")),
        };
        let reset = if elsewhere { "reset" } else { "" };
        let limit = self.limit_s.to_string();
        let arguments = [node, first, reset, &cluster::members_file(node), &limit].map(str::to_owned);
        let ops = vec![tool::script(JOIN, arguments, self.limit_s)];
        let deltas = vec![Delta::value(
            format!("cluster of {node}"),
            before,
            format!("with {first}"),
        )];
        let undo = Undo::Impossible("what the node had is gone".to_owned());
        Ok(Decision::Change(Change::new(deltas, ops, report).undo(undo)))
    }
}
