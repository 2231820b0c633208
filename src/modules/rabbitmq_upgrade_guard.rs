//! `rabbitmq_upgrade_guard`: refuses an upgrade that RabbitMQ does not support, before a package is touched.

use super::{
    Action, ArgError, ArgKind, ArgSpec, Args, Decision, Failure, Kind, ModuleSpec, Prepare, Report, Seen, Stop, debian,
    rabbitmq_cli as tool,
};
use crate::host::{Observation, Probe};
use crate::rabbitmq::upgrade::{Cluster, refusals};
use crate::rabbitmq::{Version, version::NotAVersion};
use serde_json::{Map, Value};

pub static SPEC: ModuleSpec = ModuleSpec {
    name: "rabbitmq_upgrade_guard",
    aliases: &[],
    summary: "Refuses an upgrade that RabbitMQ does not support",
    description: "\
Compares the version that is to come with those that run in the cluster, and fails, with the reason and what to do instead, where \
the step is not a supported one (4.3 only from 4.2, 4.x only from 3.13, no downgrade), where stable feature flags are not enabled, \
where policies mirror classic queues and RabbitMQ 4 is to come, and where 3.13 keeps its metadata in Khepri. Changes nothing, so a \
dry run refuses too.

Put it before the task that installs the package, in a play of its own over all nodes: then nothing is touched where one of them \
refuses. Where the version is installed already, the broker is not asked.",
    args: &[
        ArgSpec::new(
            "to",
            ArgKind::Str,
            "The version that is to come, `4.1.0` or a package's; unset: what apt would install.",
        ),
        ArgSpec::new("package", ArgKind::Str, "The package apt is asked about.").default("rabbitmq-server"),
    ],
    free_form: None,
    open: false,
    returns: &[
        ("from", "The version installed"),
        ("to", "The version that is to come"),
    ],
    examples: "\
- name: the cluster may become what apt would install
  rabbitmq_upgrade_guard:

- name: the cluster may become 4.2
  rabbitmq_upgrade_guard: {to: 4.2.1}
",
    local: true,
    kind: Kind::Host(prepare),
    ahead,
};

struct UpgradeGuard {
    to: Option<Version>,
    package: String,
}

fn prepare(args: &Args, _: &dyn Prepare) -> Result<Box<dyn Action>, ArgError> {
    Ok(Box::new(UpgradeGuard {
        to: args
            .str("to")
            .map(version)
            .transpose()
            .map_err(|e| ArgError::new("to", e.to_string()))?,
        package: args.need("package")?.to_owned(),
    }))
}

fn ahead(_: &Map<String, Value>) -> Vec<Probe> {
    vec![Version::probe()]
}

/// A version, or a package's with its epoch.
fn version(text: &str) -> Result<Version, NotAVersion> {
    text.split_once(':').map_or(text, |(_, version)| version).parse()
}

impl UpgradeGuard {
    fn policy(&self) -> Probe {
        Probe::exec(["env", "LC_ALL=C", "apt-cache", "policy", "--", &self.package])
    }

    /// The version that is to come.
    fn target(&self, seen: &Seen<'_>) -> Result<Version, Stop> {
        if let Some(to) = self.to {
            return Ok(to);
        }
        let candidate = match seen.get(&self.policy())? {
            Observation::Exec(answer) if answer.ok() => debian::policies(&answer.stdout.text())
                .remove(&self.package)
                .and_then(|policy| policy.candidate),
            _ => None,
        };
        let candidate = candidate.ok_or_else(|| {
            Failure::new(format!(
                "apt does not know what it would install for `{}`",
                self.package
            ))
            .help("say it with `to`")
        })?;
        version(&candidate).map_err(|e| Failure::new(e.to_string()).into())
    }
}

impl Action for UpgradeGuard {
    fn probes(&self) -> Vec<Probe> {
        let policy = self.to.is_none().then(|| self.policy());
        std::iter::once(Version::probe()).chain(policy).collect()
    }

    fn decide(&self, seen: &Seen<'_>) -> Result<Decision, Stop> {
        seen.want(&self.probes())?;
        let installed = match seen.get(&Version::probe())? {
            Observation::List(paths) => Version::installed(&paths),
            _ => None,
        };
        let to = self.target(seen)?;
        let report = Report::new().with("to", to.to_string());
        let Some(from) = installed else {
            return Ok(Decision::Keep(
                report.msg("no RabbitMQ is installed: nothing is upgraded"),
            ));
        };
        let report = report.with("from", from.to_string());
        if from == to {
            return Ok(Decision::Keep(report.msg(format!("RabbitMQ {to} is installed"))));
        }
        let status = tool::probe("rabbitmqctl", &["cluster_status", "--formatter", "json"]);
        let definitions = tool::probe("rabbitmqctl", &["export_definitions", "-", "--format", "json"]);
        seen.want(&[status.clone(), definitions.clone()])?;
        let what = "whether the cluster may be upgraded cannot be told: the node does not answer";
        let cluster = Cluster::parse(&tool::look(seen, &status, what)?);
        let definitions = serde_json::from_str(&tool::look(seen, &definitions, what)?);
        let (Some(cluster), Ok(definitions)) = (cluster, definitions) else {
            return Ok(Decision::Fail(Failure::new(what)));
        };
        let refusals = refusals(&cluster, &definitions, to);
        if refusals.is_empty() {
            return Ok(Decision::Keep(report.msg(format!("RabbitMQ {from} may become {to}"))));
        }
        let whys: Vec<&str> = refusals.iter().map(|r| r.why.as_str()).collect();
        let mut instead: Vec<&str> = refusals.iter().map(|r| r.instead.as_str()).collect();
        instead.dedup();
        let mut failure = Failure::new(whys.join("; ")).help(instead.join("; "));
        failure.values = report.values;
        Ok(Decision::Fail(failure))
    }
}
