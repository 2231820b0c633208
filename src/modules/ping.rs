//! `ping`: is the host there, and does its shell work?

use super::no_guess;
use super::{
    Action, ArgError, ArgKind, ArgSpec, Args, Decision, Failure, Kind, ModuleSpec, Prepare, Report, Seen, Stop,
};
use crate::host::{Observation, Probe};

pub static SPEC: ModuleSpec = ModuleSpec {
    name: "ping",
    aliases: &[],
    summary: "See whether the host answers",
    description: "Connects, becomes the user that is asked for, and runs the shell. No ICMP. \n\n\
                  Unlike Ansible's: `data: crash` is a failed task, not a stack trace.",
    args: &[ArgSpec::new("data", ArgKind::Str, "What to return; `crash` fails.").default("pong")],
    free_form: None,
    open: false,
    returns: &[("ping", "`data`")],
    examples: "- name: who is there
  ping:
",
    local: true,
    kind: Kind::Host(prepare),
    ahead: no_guess,
};

struct Ping(String);

fn prepare(args: &Args, _: &dyn Prepare) -> Result<Box<dyn Action>, ArgError> {
    Ok(Box::new(Ping(args.need("data")?.to_owned())))
}

impl Action for Ping {
    fn probes(&self) -> Vec<Probe> {
        vec![Probe::exec(["true"])]
    }

    fn decide(&self, seen: &Seen<'_>) -> Result<Decision, Stop> {
        if self.0 == "crash" {
            return Ok(Decision::Fail(Failure::new("boom")));
        }
        match seen.raw(&Probe::exec(["true"]))? {
            // Dry run: whatever earlier tasks may do, the host answers now.
            Observation::Unknown(_) => Ok(Decision::Keep(Report::new().with("ping", self.0.as_str()))),
            Observation::Exec(result) if result.ok() => Ok(Decision::Keep(Report::new().with("ping", self.0.as_str()))),
            _ => Ok(Decision::Fail(Failure::new("the host's shell does not run commands"))),
        }
    }
}
