//! `rabbitmq_feature_flag`.

use super::rabbitmq::{LIMIT_S, NODE, ctl, membership, refused, rows};
use super::{
    Action, ArgError, ArgKind, ArgSpec, Args, Change, Decision, Failure, Kind, ModuleSpec, Prepare, Report, Seen,
    Shared, Stop, no_guess,
};
use crate::host::{Content, Delta, Effect, Exec, ExecResult, Observation, Op, Outcome, Probe, Status, Undo};
use serde_json::{Map, Value, json};

pub static SPEC: ModuleSpec = ModuleSpec {
    name: "rabbitmq_feature_flag",
    aliases: &["community.rabbitmq.rabbitmq_feature_flag"],
    summary: "Feature flags of RabbitMQ",
    description: "\
Enables a feature flag, or with `all` every stable one, which an upgrade needs. A flag cannot be disabled. An experimental flag is \
refused: it cannot be taken back and does not belong in a playbook.

Unlike community.rabbitmq's: `all`, differences, and a suggestion for a name that is nearly right.",
    args: &[
        ArgSpec::new("name", ArgKind::Str, "Name, or `all` for every stable one.").required(),
        NODE,
    ],
    free_form: None,
    open: false,
    returns: &[("name", "The name"), ("enabled", "Flags that were enabled")],
    examples: "\
- name: fit for the next upgrade
  rabbitmq_feature_flag: {name: all}
",
    local: false,
    kind: Kind::Host(prepare),
    ahead: no_guess,
};

struct Flag {
    name: String,
    node: Option<String>,
}

fn prepare(args: &Args, _: &dyn Prepare) -> Result<Box<dyn Action>, ArgError> {
    Ok(Box::new(Flag {
        name: args.need("name")?.to_owned(),
        node: args.str("node").filter(|n| *n != "rabbit").map(str::to_owned),
    }))
}

impl Flag {
    fn listing(&self) -> Probe {
        ctl(
            self.node.as_deref(),
            &[
                "-q",
                "--formatter",
                "json",
                "list_feature_flags",
                "name",
                "state",
                "stability",
            ],
        )
    }
}

fn text<'a>(row: &'a Map<String, Value>, column: &str) -> &'a str {
    row.get(column).and_then(Value::as_str).unwrap_or_default()
}

impl Action for Flag {
    fn probes(&self) -> Vec<Probe> {
        vec![membership::probe(), self.listing()]
    }

    fn decide(&self, seen: &Seen<'_>) -> Result<Decision, Stop> {
        let mut flags = rows(seen, &self.listing())?;
        let stable = |row: &Map<String, Value>| text(row, "stability") != "experimental";
        if self.name != "all" {
            let Some(flag) = flags.iter().find(|row| text(row, "name") == self.name) else {
                let failure = Failure::new(format!("this broker has no feature flag `{}`", self.name));
                let near = crate::diagnostic::similar_name(&self.name, flags.iter().map(|row| text(row, "name")));
                return Ok(Decision::Fail(match near {
                    Some(near) => failure.help(format!("there is one called `{near}`")),
                    None => failure,
                }));
            };
            if text(flag, "state") != "enabled" && !stable(flag) {
                return Ok(Decision::Fail(Failure::new(format!(
                    "not supported: feature flag `{}` is experimental and cannot be disabled again",
                    self.name
                ))));
            }
        }
        let mut enabled = Vec::new();
        for row in &mut flags {
            let meant = if self.name == "all" {
                stable(row)
            } else {
                text(row, "name") == self.name
            };
            if meant && text(row, "state") != "enabled" {
                enabled.push(text(row, "name").to_owned());
                row.insert("state".to_owned(), json!("enabled"));
            }
        }
        let report = Report::new()
            .with("name", self.name.as_str())
            .with("enabled", enabled.clone());
        if enabled.is_empty() {
            return Ok(Decision::Keep(report));
        }
        let deltas = enabled
            .iter()
            .map(|name| Delta::value(format!("feature flag {name}"), "disabled", "enabled"));
        let Probe::Exec { argv, .. } = ctl(self.node.as_deref(), &["-q", "enable_feature_flag", &self.name]) else {
            return Ok(Decision::Keep(report));
        };
        let op = Op::Exec(Exec {
            argv,
            timeout_s: Some(LIMIT_S),
            ok: vec![0],
            effect: Effect::Nothing,
            ..Exec::default()
        });
        let after = Observation::Exec(ExecResult {
            stdout: Content::from(Value::from(flags.into_iter().map(Value::Object).collect::<Vec<_>>()).to_string()),
            ..ExecResult::default()
        });
        let change = Change::new(deltas.collect(), vec![op], report)
            .undo(Undo::Impossible("a feature flag cannot be disabled".to_owned()))
            .foretells(self.listing(), after);
        Ok(Decision::Change(change))
    }

    fn finish(&self, change: &Change, outcomes: &[Outcome]) -> Result<Report, Failure> {
        match outcomes.iter().find(|o| matches!(o.status, Status::Failed(_))) {
            Some(Outcome { exec: Some(result), .. }) => Err(refused(
                "the feature flag was not enabled",
                &result.stdout,
                &result.stderr,
            )),
            _ => Ok(change.report.clone()),
        }
    }

    fn shared(&self, seen: &Seen<'_>) -> Result<Option<Shared>, Stop> {
        if self.node.is_some() {
            return Ok(None);
        }
        membership::shared(seen)
    }
}
