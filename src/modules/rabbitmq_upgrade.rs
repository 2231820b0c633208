//! `rabbitmq_upgrade`: the steps around a node's upgrade, as `rabbitmq-upgrade` has them.

use super::rabbitmq_node::maintenance;
use super::{
    Action, ArgError, ArgKind, ArgSpec, Args, Change, Decision, Failure, Kind, ModuleSpec, Prepare, Report, Seen, Stop,
    no_guess, rabbitmq_cli as tool,
};
use crate::host::{Outcome, Probe, Undo};
use crate::rabbitmq::Version;

pub static SPEC: ModuleSpec = ModuleSpec {
    name: "rabbitmq_upgrade",
    aliases: &["community.rabbitmq.rabbitmq_upgrade"],
    summary: "Steps around an upgrade: drain, revive, wait for quorum",
    description: "\
`drain` and `revive` put the node into maintenance mode and take it out, if it is not so; `await_online_quorum_plus_one` waits until \
the cluster can spare the node; `post_upgrade` rebalances leaders when all nodes are upgraded.

Unlike community.rabbitmq's: waiting is not `changed`; all actions take `node`; there is a `timeout`; a `drain` that complains \
although the node is drained (rabbitmq-server#3369) is no failure; `await_online_synchronized_mirror`, which RabbitMQ 4 does not \
have, fails there with the reason.",
    args: &[
        ArgSpec::new("action", ArgKind::Str, "The step.").required().choices(&[
            "await_online_quorum_plus_one",
            "await_online_synchronized_mirror",
            "post_upgrade",
            "drain",
            "revive",
        ]),
        ArgSpec::new("node", ArgKind::Str, "The node to ask; unset: this host's."),
        ArgSpec::new("timeout", ArgKind::Int, "Seconds to wait at most.").default("600"),
    ],
    free_form: None,
    open: false,
    returns: &[("action", "As given")],
    examples: "\
- name: no queue loses its majority with this node
  community.rabbitmq.rabbitmq_upgrade:
    action: await_online_quorum_plus_one
    timeout: 300

- name: nobody works on the node
  rabbitmq_upgrade: {action: drain}
",
    local: false,
    kind: Kind::Host(prepare),
    ahead: no_guess,
};

/// `-t` in these commands is a limit of the whole wait.
const STEP: &str = r#"cli=$1 what=$2 node=$3 limit=$4
case $what in await_*) wait=yes;; *) wait=;; esac
exec timeout "$((limit + 60))" sh -c "$cli" rabbitmq-cli rabbitmq-upgrade -q ${node:+-n "$node"} "$what" ${wait:+-t "$limit"} </dev/null"#;

struct Upgrade {
    action: String,
    node: Option<String>,
    limit_s: u32,
    check_mode: bool,
}

fn prepare(args: &Args, controller: &dyn Prepare) -> Result<Box<dyn Action>, ArgError> {
    Ok(Box::new(Upgrade {
        action: args.need("action")?.to_owned(),
        node: args.str("node").map(str::to_owned),
        limit_s: tool::limit(args)?,
        check_mode: controller.check_mode(),
    }))
}

impl Action for Upgrade {
    fn probes(&self) -> Vec<Probe> {
        match self.action.as_str() {
            "await_online_synchronized_mirror" => vec![Version::probe()],
            _ => Vec::new(),
        }
    }

    fn decide(&self, seen: &Seen<'_>) -> Result<Decision, Stop> {
        let report = Report::new().with("action", self.action.as_str());
        let node = self.node.as_deref();
        match self.action.as_str() {
            "drain" => return maintenance(true, node, self.limit_s, report, seen),
            "revive" => return maintenance(false, node, self.limit_s, report, seen),
            "await_online_synchronized_mirror" => {
                let version = match seen.get(&Version::probe())? {
                    crate::host::Observation::List(paths) => Version::installed(&paths),
                    _ => None,
                };
                if let Some(version) = version.filter(|v| v.major >= 4) {
                    return Ok(Decision::Fail(
                        Failure::new(format!("RabbitMQ {version} has no mirrored queues to wait for"))
                            .help("wait for quorum queues: `action: await_online_quorum_plus_one`"),
                    ));
                }
            }
            _ => {}
        }
        let waits = self.action.starts_with("await_");
        if waits && self.check_mode {
            return Err(Stop::CannotKnow(format!("would wait: `{}`", self.action)));
        }
        let arguments = [&self.action, node.unwrap_or_default(), &self.limit_s.to_string()].map(str::to_owned);
        let mut change = Change::new(Vec::new(), vec![tool::script(STEP, arguments, self.limit_s)], report)
            .undo(Undo::Ops(Vec::new()))
            .judged_by_outcome();
        change.changed = !waits;
        Ok(Decision::Change(change))
    }

    fn finish(&self, change: &Change, outcomes: &[Outcome]) -> Result<Report, Failure> {
        tool::judge(&format!("`rabbitmq-upgrade {}` failed", self.action), change, outcomes)
    }
}
