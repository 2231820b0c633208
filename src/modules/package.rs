//! `package`: packages by whatever package manager the host has.

use super::{Action, ArgError, ArgKind, ArgSpec, Args, Change, Decision, Failure, Kind, ModuleSpec, Prepare, Report};
use super::{Seen, Stop, apt, coerce};
use crate::host::{Observation, Outcome, Probe};
use serde_json::{Map, Value};

pub static SPEC: ModuleSpec = ModuleSpec {
    name: "package",
    aliases: &[],
    summary: "Install, upgrade and remove packages",
    description: "Uses the package manager of the host: the fact `ansible_pkg_mgr` if it is known, else what is found. Further \
                  arguments are those of that manager's module.\n\n\
                  Unlike Ansible's: facts need not be gathered before. Only `apt` is supported yet.",
    args: &[
        ArgSpec::new("name", ArgKind::List, "The packages.").required(),
        ArgSpec::new("state", ArgKind::Str, "`present`, `latest` or `absent`.").required(),
        ArgSpec::new("use", ArgKind::Str, "The package manager.").default("auto"),
    ],
    free_form: None,
    open: true,
    returns: apt::RETURNS,
    examples: "- name: tools for a look at disks
  package: {name: [sysstat, nvme-cli], state: present}
- name: no balancing of interrupts
  ansible.builtin.package:
    name: irqbalance
    state: absent
",
    local: true,
    kind: Kind::Host(prepare),
    ahead,
};

/// Managers and where their program is, in the order in which they are looked for.
const MANAGERS: &[(&str, &str)] = &[
    ("apt", "/usr/bin/apt-get"),
    ("dnf", "/usr/bin/dnf"),
    ("yum", "/usr/bin/yum"),
    ("zypper", "/usr/bin/zypper"),
    ("apk", "/sbin/apk"),
    ("pacman", "/usr/bin/pacman"),
];

/// The manager is found by looking.
struct Found(Box<dyn Action>);

fn prepare(args: &Args, controller: &dyn Prepare) -> Result<Box<dyn Action>, ArgError> {
    let mut manager = args.str("use").unwrap_or("auto").to_owned();
    if manager == "auto"
        && let Ok(Some(Value::String(fact))) = controller.variable("ansible_pkg_mgr")
    {
        manager = fact;
    }
    let short = manager.strip_prefix("ansible.builtin.").unwrap_or(&manager);
    if !matches!(short, "auto" | "apt") {
        return Err(ArgError::new(
            "use",
            format!("not supported yet: packages by `{short}`"),
        ));
    }
    let given: Map<String, Value> = args
        .iter()
        .filter(|(name, _)| *name != "use")
        .map(|(name, value)| (name.to_owned(), value.clone()))
        .collect();
    let args = coerce(&apt::SPEC, &given).map_err(|errors| {
        errors
            .into_iter()
            .next()
            .unwrap_or_else(|| ArgError::task("the arguments are wrong"))
    })?;
    let apt = apt::prepare(&args, controller)?;
    Ok(if short == "apt" { apt } else { Box::new(Found(apt)) })
}

fn ahead(args: &Map<String, Value>) -> Vec<Probe> {
    (apt::SPEC.ahead)(args)
}

impl Action for Found {
    fn probes(&self) -> Vec<Probe> {
        let mut probes = vec![Probe::stat_follow(MANAGERS[0].1)];
        probes.extend(self.0.probes());
        probes
    }

    fn decide(&self, seen: &Seen<'_>) -> Result<Decision, Stop> {
        for (manager, program) in MANAGERS {
            let there = match seen.raw(&Probe::stat_follow(*program))? {
                Observation::Unknown(why) => return Err(Stop::CannotKnow(why)),
                seen => matches!(seen, Observation::Stat(Some(_))),
            };
            match (there, *manager) {
                (true, "apt") => return self.0.decide(seen),
                (true, other) => {
                    return Err(Stop::Fail(Failure::new(format!(
                        "not supported yet: packages by `{other}`"
                    ))));
                }
                (false, _) => {}
            }
        }
        let known: Vec<_> = MANAGERS.iter().map(|(name, _)| format!("`{name}`")).collect();
        Err(Stop::Fail(Failure::new(format!(
            "the host has no package manager that is known here ({})",
            known.join(", ")
        ))))
    }

    fn finish(&self, change: &Change, outcomes: &[Outcome]) -> Result<Report, Failure> {
        self.0.finish(change, outcomes)
    }
}
