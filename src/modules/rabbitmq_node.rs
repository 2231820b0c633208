//! `rabbitmq_node`: a node is started, stopped, drained or revived, and the task waits until it is really so.

use super::unit::{self, Unit};
use super::{
    Action, ArgError, ArgKind, ArgSpec, Args, Change, Decision, Failure, Kind, ModuleSpec, Prepare, Report, Seen, Stop,
    rabbitmq_cli as tool,
};
use crate::host::{Delta, Effect, Facet, Op, Outcome, Probe, Undo};
use serde_json::{Map, Value};

pub static SPEC: ModuleSpec = ModuleSpec {
    name: "rabbitmq_node",
    aliases: &[],
    summary: "A node runs, is stopped, drained or revived",
    description: "\
Like `service`, but what is waited for is the node: `started` and `restarted` end when RabbitMQ has booted (`await_startup`), and \
begin only when epmd has forgotten the node that was (a start too soon after a stop fails with `duplicate_node_name`); `stopped` \
ends when epmd has forgotten it. A node that runs already is not waited for: systemd calls it active when it has booted.

`drained` puts the node into maintenance mode: clients are closed, leaders move away, listeners are suspended. `revived` is the way \
back; a restart revives too. `rabbitmq-upgrade drain` may complain although it did its work (rabbitmq-server#3369), so it is the \
state of the node that counts.

Whether the cluster can spare the node is not asked: a play with `rolling` does that.",
    args: &[
        ArgSpec::new("state", ArgKind::Str, "`restarted` always acts, the others if it is not so.")
            .required()
            .choices(&["started", "stopped", "restarted", "drained", "revived"]),
        ArgSpec::new("node", ArgKind::Str, "This host's node; unset: as `rabbitmq-env.conf` and the host's name make it."),
        ArgSpec::new("service", ArgKind::Str, "Its systemd unit.").default(tool::SERVICE),
        ArgSpec::new("timeout", ArgKind::Int, "Seconds to wait at most.").default("600"),
    ],
    free_form: None,
    open: false,
    returns: &[("node", "This host's node"), ("state", "As given")],
    examples: "\
- name: the configuration is read at a start
  rabbitmq_node: {state: restarted, timeout: 300}

- name: nobody works on the node
  rabbitmq_node:
    state: drained
",
    local: false,
    kind: Kind::Host(prepare),
    ahead,
};

/// `$1` is what to do. A start comes only when epmd has forgotten the node that was, and is over when RabbitMQ has booted;
/// a stop is over when epmd has forgotten it.
const RUN: &str = r#"cli=$1 what=$2 node=$3 unit=$4 limit=$5
end=$(($(date +%s) + limit))
left() { l=$((end - $(date +%s))); [ "$l" -gt 0 ] || l=1; echo "$l"; }
late() { [ "$(date +%s)" -ge "$end" ]; }
systemd() {
  timeout "$(left)" systemctl "$1" -- "$unit" && return
  rc=$?
  journalctl -u "$unit" -n 5 --no-pager -o cat >&2 2>/dev/null
  exit "$rc"
}
known() { command -v epmd >/dev/null && epmd -names 2>/dev/null | grep -q "^name ${node%%@*} at "; }
gone() {
  while known; do
    ! late || { echo "epmd still knows $node" >&2; exit 75; }
    sleep 1
  done
}
up() {
  until said=$(sh -c "$cli" rabbitmq-cli rabbitmqctl -q await_startup -t "$(left)" 2>&1 </dev/null); do
    ! late || { echo "$said" >&2; exit 75; }
    sleep 1
  done
}
case $what in
  start) gone; systemd start; up;;
  stop) systemd stop; gone;;
  restart) systemd stop; gone; systemd start; up;;
  wait) up;;
esac"#;

/// `rabbitmq-upgrade` may fail and yet have done it: the node's own word counts.
const MAINTAIN: &str = r#"cli=$1 what=$2 wanted=$3 node=$4
said=$(timeout "$5" sh -c "$cli" rabbitmq-cli rabbitmq-upgrade -q ${node:+-n "$node"} "$what" 2>&1 </dev/null) && exit
rc=$?
sh -c "$cli" rabbitmq-cli rabbitmq-diagnostics -q ${node:+-n "$node"} status --formatter json </dev/null |
  tr -d ' ' | grep -q "\"is_under_maintenance\":$wanted" && exit
echo "$said" >&2
exit "$rc""#;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Started,
    Stopped,
    Restarted,
    Drained,
    Revived,
}

struct Node {
    state: State,
    node: Option<String>,
    service: String,
    limit_s: u32,
}

fn prepare(args: &Args, _: &dyn Prepare) -> Result<Box<dyn Action>, ArgError> {
    Ok(Box::new(Node {
        state: match args.need("state")? {
            "started" => State::Started,
            "stopped" => State::Stopped,
            "restarted" => State::Restarted,
            "drained" => State::Drained,
            _ => State::Revived,
        },
        node: args.str("node").map(str::to_owned),
        service: args.need("service")?.to_owned(),
        limit_s: tool::limit(args)?,
    }))
}

fn ahead(args: &Map<String, Value>) -> Vec<Probe> {
    let service = args.get("service").and_then(Value::as_str).unwrap_or(tool::SERVICE);
    vec![unit::show(service)]
}

impl Action for Node {
    fn probes(&self) -> Vec<Probe> {
        let mut probes = vec![unit::show(&self.service)];
        if self.node.is_none() {
            probes.extend(tool::identity(None));
        }
        probes
    }

    fn decide(&self, seen: &Seen<'_>) -> Result<Decision, Stop> {
        seen.want(&self.probes())?;
        let node = tool::own_node(self.node.as_deref(), seen)?;
        let unit = Unit::seen(seen, &self.service)?;
        let word = match self.state {
            State::Started => "started",
            State::Stopped => "stopped",
            State::Restarted => "restarted",
            State::Drained => "drained",
            State::Revived => "revived",
        };
        let report = Report::new().with("node", node.as_str()).with("state", word);
        // A dry run does not know what earlier tasks leave behind; a restart comes whatever that is.
        let active = match &unit.unknown {
            Some(why) if self.state == State::Restarted => Facet::Unknown(why.clone()),
            Some(why) => return Err(Stop::CannotKnow(why.clone())),
            None if !unit.exists() => {
                return Ok(Decision::Fail(
                    Failure::new(format!("the unit `{}` does not exist on the host", unit.name))
                        .help("is the package installed?"),
                ));
            }
            None => Facet::Value(unit.get("ActiveState").unwrap_or("unknown").to_owned()),
        };
        let is = |state: &str| active == Facet::Value(state.to_owned());
        let running = is("active") || is("reloading");
        let run = |what: &str, after: &str| {
            let delta = Delta {
                subject: format!("node {node}"),
                before: active.clone(),
                after: Facet::Value(after.to_owned()),
            };
            let arguments = [what, &node, &unit.name, &self.limit_s.to_string()].map(str::to_owned);
            let mut op = tool::script(RUN, arguments, self.limit_s);
            if let Op::Exec(exec) = &mut op
                && let Effect::Mentions(words) = &mut exec.effect
            {
                words.push(unit.name.clone());
            }
            Change::new(vec![delta], vec![op], report.clone()).undo(Undo::Impossible("a node was stopped".to_owned()))
        };
        Ok(match self.state {
            State::Started if running => Decision::Keep(report),
            // Somebody is starting it.
            State::Started if is("activating") => {
                let mut change = run("wait", "active").judged_by_outcome();
                change.deltas.clear();
                change.changed = false;
                Decision::Change(change)
            }
            State::Started => Decision::Change(run("start", "active")),
            State::Stopped if is("inactive") || is("failed") => Decision::Keep(report),
            State::Stopped => Decision::Change(run("stop", "inactive").judged_by_outcome()),
            State::Restarted => Decision::Change(run("restart", "restarted").judged_by_outcome()),
            State::Drained | State::Revived if !running => {
                Decision::Fail(Failure::new(format!("`{node}` does not run, so it cannot be {word}")))
            }
            State::Drained => maintenance(true, self.node.as_deref(), self.limit_s, report, seen)?,
            State::Revived => maintenance(false, self.node.as_deref(), self.limit_s, report, seen)?,
        })
    }

    fn finish(&self, change: &Change, outcomes: &[Outcome]) -> Result<Report, Failure> {
        let what = match self.state {
            State::Started | State::Restarted => "the node did not come up",
            State::Stopped => "the node did not stop",
            State::Drained => "the node cannot be drained",
            State::Revived => "the node cannot be revived",
        };
        tool::judge(what, change, outcomes)
    }
}

/// Brings a node into maintenance mode, or out of it. `node`: another than this host's, or `None`.
pub fn maintenance(
    wanted: bool,
    node: Option<&str>,
    limit_s: u32,
    report: Report,
    seen: &Seen<'_>,
) -> Result<Decision, Stop> {
    let select: &[&str] = match &node {
        Some(node) => &["-n", node],
        None => &[],
    };
    let probe = tool::probe(
        "rabbitmq-diagnostics",
        &[select, &["status", "--formatter", "json"]].concat(),
    );
    let status = tool::look(seen, &probe, "the node cannot be asked for its state")?;
    let status: Value = serde_json::from_str(&status).unwrap_or_default();
    let Some(now) = status.get("is_under_maintenance").and_then(Value::as_bool) else {
        return Ok(Decision::Fail(Failure::new(
            "the node does not say whether it is under maintenance",
        )));
    };
    if now == wanted {
        return Ok(Decision::Keep(report));
    }
    let word = |drained: bool| if drained { "under maintenance" } else { "in service" };
    let subject = node.map_or_else(|| "node".to_owned(), |node| format!("node {node}"));
    let step = |wanted: bool| {
        let what = if wanted { "drain" } else { "revive" };
        let arguments = [
            what,
            &wanted.to_string(),
            node.unwrap_or_default(),
            &limit_s.to_string(),
        ];
        tool::script(MAINTAIN, arguments.map(str::to_owned), limit_s)
    };
    Ok(Decision::Change(
        Change::new(
            vec![Delta::value(subject, word(now), word(wanted))],
            vec![step(wanted)],
            report,
        )
        .undo(Undo::Ops(vec![step(now)])),
    ))
}
