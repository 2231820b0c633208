//! `systemd_service` (alias `systemd`): state, boot and mask of a unit; what `service` does on a systemd host.

use super::unit::{self, Unit};
use super::{Action, ArgError, ArgKind, ArgSpec, Args, Change, Decision, Failure, Kind, ModuleSpec, Prepare, Report};
use super::{Seen, Stop};
use crate::host::{Content, Delta, Effect, Exec, ExecResult, Facet, Observation, Op, Outcome, Probe, Status, Undo};
use serde_json::{Map, Value};

pub static SPEC: ModuleSpec = ModuleSpec {
    name: "systemd_service",
    aliases: &["systemd"],
    summary: "Start, stop, enable and mask systemd units",
    description: "Starts, stops, restarts or reloads a unit, and says whether it starts at boot; with a name alone it returns the `status`.\n\n\
                  Unlike Ansible's: a unit that is still starting (or restarted by systemd over and over) is waited for \
                  instead of being called started; unit files that changed on disk are loaded before the unit is acted on, \
                  and `daemon_reload` with a name only acts if systemd says the unit needs it; a unit that fails to start \
                  brings the last lines of its journal; an `indirect` unit counts as enabled and a `static` one cannot be \
                  disabled (a warning); `status` holds the properties that rmqplay's modules look at, not all of them. \
                  Not supported yet: `scope` other than `system`.",
    args: &[
        ArgSpec::new("name", ArgKind::Str, "The unit; without a suffix it is a service.").aliases(&["service", "unit"]),
        STATE,
        ENABLED,
        ArgSpec::new("masked", ArgKind::Bool, "Whether it cannot be started at all."),
        ArgSpec::new(
            "daemon_reload",
            ArgKind::Bool,
            "Read unit files again before anything else.",
        )
        .aliases(&["daemon-reload"])
        .default("false"),
        ArgSpec::new(
            "daemon_reexec",
            ArgKind::Bool,
            "Restart systemd itself before anything else; never `changed`.",
        )
        .aliases(&["daemon-reexec"])
        .default("false"),
        ArgSpec::new(
            "force",
            ArgKind::Bool,
            "`systemctl --force`: replace symlinks in the way.",
        ),
        ArgSpec::new("no_block", ArgKind::Bool, "Do not wait until it is started or stopped.").default("false"),
        ArgSpec::new("scope", ArgKind::Str, "Whose units; only `system` is supported yet.")
            .choices(&["system", "user", "global"])
            .default("system"),
    ],
    free_form: None,
    open: false,
    returns: RETURNS,
    examples: "- name: the broker runs, now and after a boot
  systemd_service:
    name: rabbitmq-server
    state: started
    enabled: true
- name: restart after new limits
  ansible.builtin.systemd:
    name: rabbitmq-server.service
    state: restarted
    daemon_reload: true
",
    local: false,
    kind: Kind::Host(prepare),
    ahead,
};

pub const STATE: ArgSpec = ArgSpec::new(
    "state",
    ArgKind::Str,
    "`started` and `stopped` act if it is not so; `restarted` and `reloaded` always (on a stopped unit: start it).",
)
.choices(&["reloaded", "restarted", "started", "stopped"]);
pub const ENABLED: ArgSpec = ArgSpec::new("enabled", ArgKind::Bool, "Whether it starts at boot.");
pub const RETURNS: &[(&str, &str)] = &[
    ("name", "the unit as it was given"),
    ("state", "`started` or `stopped`, if `state` was given"),
    ("enabled", "whether it starts at boot, if `enabled` was given"),
    ("status", "properties as `systemctl show` writes them"),
];

/// Acts, and if that fails adds the last lines of the unit's journal to its words.
const ACT: &str = r#"u=$1; shift
systemctl "$@" && exit 0
rc=$?
journalctl -u "$u" -n 5 --no-pager -o cat >&2 2>/dev/null
exit "$rc""#;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Started,
    Stopped,
    Restarted,
    Reloaded,
}

/// What is wanted of a unit.
#[derive(Debug, Default)]
pub struct Service {
    pub name: Option<String>,
    pub state: Option<State>,
    pub enabled: Option<bool>,
    pub masked: Option<bool>,
    pub daemon_reload: bool,
    pub daemon_reexec: bool,
    pub force: bool,
    pub no_block: bool,
    pub warnings: Vec<String>,
}

impl State {
    pub fn parse(text: Option<&str>) -> Option<State> {
        match text? {
            "started" => Some(State::Started),
            "stopped" => Some(State::Stopped),
            "restarted" => Some(State::Restarted),
            _ => Some(State::Reloaded),
        }
    }
}

fn prepare(args: &Args, _: &dyn Prepare) -> Result<Box<dyn Action>, ArgError> {
    if let Some(scope @ ("user" | "global")) = args.str("scope") {
        return Err(ArgError::new("scope", format!("not supported yet: `scope: {scope}`")));
    }
    let service = Service {
        name: args.str("name").map(str::to_owned),
        state: State::parse(args.str("state")),
        enabled: args.opt_bool("enabled"),
        masked: args.opt_bool("masked"),
        daemon_reload: args.bool("daemon_reload"),
        daemon_reexec: args.bool("daemon_reexec"),
        force: args.bool("force"),
        no_block: args.bool("no_block"),
        warnings: Vec::new(),
    };
    Ok(Box::new(service.checked()?))
}

pub fn ahead(args: &Map<String, Value>) -> Vec<Probe> {
    let name = ["name", "service", "unit"].iter().find_map(|n| args.get(*n)?.as_str());
    name.map(|n| vec![unit::show(n)]).unwrap_or_default()
}

impl Service {
    pub fn checked(self) -> Result<Self, ArgError> {
        let acts = self.state.is_some() || self.enabled.is_some() || self.masked.is_some();
        match &self.name {
            None if acts => Err(ArgError::new("name", "`state`, `enabled` and `masked` need `name`")),
            Some(name) if name.contains(['*', '?', '[']) => Err(ArgError::new(
                "name",
                format!("`{name}` is a pattern, and a task is about one unit"),
            )),
            None if !self.daemon_reload && !self.daemon_reexec => {
                Err(ArgError::task("`name`, `daemon_reload` or `daemon_reexec` is needed"))
            }
            _ => Ok(self),
        }
    }

    fn is_enabled(&self, name: &str) -> Probe {
        Probe::exec(["systemctl", "is-enabled", "--", &unit::full_name(name)])
    }
}

impl Action for Service {
    fn probes(&self) -> Vec<Probe> {
        self.name.iter().map(|name| unit::show(name)).collect()
    }

    fn decide(&self, seen: &Seen<'_>) -> Result<Decision, Stop> {
        let mut plan = Plan::default();
        plan.report.warnings.clone_from(&self.warnings);
        if self.daemon_reexec {
            plan.manager(Op::exec(["systemctl", "daemon-reexec"], Effect::Nothing));
        }
        let Some(name) = &self.name else {
            if self.daemon_reload {
                plan.manager(unit::daemon_reload());
            }
            return Ok(plan.decision());
        };
        plan.report = plan.report.with("name", name.as_str());
        if let Observation::Unknown(why) = seen.raw(&unit::show(name))? {
            return self.unknown(name, why, plan);
        }
        let unit = Unit::seen(seen, name)?;
        if !unit.managed {
            return Err(Stop::Fail(
                Failure::new("systemd does not answer on this host")
                    .help("services of other init systems are not supported yet"),
            ));
        }
        plan.report = plan.report.with(
            "status",
            Value::Object(
                unit.properties
                    .iter()
                    .map(|(k, v)| (k.clone(), Value::from(v.as_str())))
                    .collect(),
            ),
        );
        if unit.needs_reload() {
            plan.reload = Some(self.daemon_reload);
        }
        let masked = matches!(unit.get("LoadState"), Some("masked")) || unit.get("UnitFileState") == Some("masked");
        if let Some(wanted) = self.masked
            && wanted != masked
        {
            let word = |masked| if masked { "masked" } else { "not masked" };
            plan.act(
                Delta::value(subject(name), word(masked), word(wanted)),
                self.systemctl(name, if wanted { "mask" } else { "unmask" }),
                Some(self.systemctl(name, if wanted { "unmask" } else { "mask" })),
            );
        }
        if self.state.is_some() || self.enabled.is_some() {
            self.must_exist(name, &unit)?;
        }
        if let Some(wanted) = self.enabled {
            self.boot(name, wanted, &unit, seen, &mut plan)?;
        }
        if let Some(wanted) = self.state {
            self.run(name, wanted, &unit, &mut plan);
        }
        Ok(match plan.decision() {
            Decision::Change(change) => Decision::Change(change.foretells(unit::show(name), self.afterwards(&unit))),
            keep => keep,
        })
    }

    fn finish(&self, change: &Change, outcomes: &[Outcome]) -> Result<Report, Failure> {
        let Some((op, outcome)) = change.ops.iter().zip(outcomes).find(|(_, o)| !o.is_done()) else {
            return Ok(change.report.clone());
        };
        let verb = match op {
            Op::Exec(exec) => exec.argv.iter().find(|w| VERBS.contains(&w.as_str())),
            _ => None,
        };
        let mut failure = Failure::new(format!(
            "unable to {} `{}`",
            verb.map_or("act on", String::as_str),
            self.name.as_deref().unwrap_or("systemd"),
        ));
        failure.values = change.report.values.clone();
        match (&outcome.status, &outcome.exec) {
            (_, Some(exec)) => {
                failure.values.insert("rc".to_owned(), Value::from(exec.rc));
                failure
                    .values
                    .insert("stderr".to_owned(), Value::from(exec.stderr.text().trim_end()));
            }
            (Status::Failed(text), None) => failure.msg = format!("{}: {text}", failure.msg),
            _ => failure.msg = format!("{}: it was not run, or nobody knows", failure.msg),
        }
        Err(failure)
    }
}

const VERBS: [&str; 10] = [
    "start",
    "stop",
    "restart",
    "reload",
    "enable",
    "disable",
    "mask",
    "unmask",
    "daemon-reload",
    "daemon-reexec",
];

impl Service {
    fn must_exist(&self, name: &str, unit: &Unit) -> Result<(), Stop> {
        if !unit.exists() {
            return Err(Stop::Fail(
                Failure::new(format!("the unit `{}` does not exist on the host", unit.name)).help(format!(
                    "`systemctl list-unit-files '{name}*'` on the host tells its name; is the package installed?"
                )),
            ));
        }
        if unit.get("LoadState") == Some("error") || unit.get("LoadState") == Some("bad-setting") {
            return Err(Stop::Fail(Failure::new(format!(
                "systemd cannot load `{}`: {}",
                unit.name,
                unit.get("LoadError").unwrap_or("see `systemctl status`")
            ))));
        }
        Ok(())
    }

    /// What systemd will say once the unit is as wanted, but for the process, which nobody can know.
    fn afterwards(&self, unit: &Unit) -> Observation {
        let mut properties = unit.properties.clone();
        let mut set = |key: &str, value: &str| properties.insert(key.to_owned(), value.to_owned());
        match self.state {
            Some(State::Stopped) => {
                set("ActiveState", "inactive");
                set("SubState", "dead");
            }
            Some(_) => {
                set("ActiveState", "active");
                set("SubState", "running");
            }
            None => {}
        }
        match self.enabled {
            Some(true) => drop(set("UnitFileState", "enabled")),
            Some(false) => drop(set("UnitFileState", "disabled")),
            None => {}
        }
        match self.masked {
            Some(true) => drop(set("LoadState", "masked")),
            Some(false) => {
                set("LoadState", "loaded");
                if unit.get("UnitFileState") == Some("masked") {
                    set("UnitFileState", "disabled");
                }
            }
            None => {}
        }
        set("NeedDaemonReload", "no");
        if self.state.is_some() {
            properties.remove("MainPID");
        }
        let lines: String = properties
            .iter()
            .map(|(key, value)| format!("{key}={value}\n"))
            .collect();
        Observation::Exec(ExecResult {
            stdout: Content::from(lines),
            ..ExecResult::default()
        })
    }

    /// Dry run: an earlier task may bring the unit or act on it. A restart happens whatever it did.
    fn unknown(&self, name: &str, why: String, mut plan: Plan) -> Result<Decision, Stop> {
        let (Some(state @ (State::Restarted | State::Reloaded)), None, None) = (self.state, self.enabled, self.masked)
        else {
            return Err(Stop::CannotKnow(why));
        };
        let after = if state == State::Restarted {
            "restarted"
        } else {
            "reloaded"
        };
        let delta = Delta {
            subject: subject(name),
            before: Facet::Unknown(why),
            after: Facet::Value(after.to_owned()),
        };
        plan.act(
            delta,
            self.act(name, if state == State::Restarted { "restart" } else { "reload" }),
            None,
        );
        plan.by_outcome = true;
        Ok(plan.decision())
    }

    fn boot(&self, name: &str, wanted: bool, unit: &Unit, seen: &Seen<'_>, plan: &mut Plan) -> Result<(), Stop> {
        let file_state = unit.get("UnitFileState").unwrap_or_default();
        // What has no unit file of its own (init scripts) is asked for by systemctl's exit status.
        let enabled = match file_state {
            "enabled" | "static" | "indirect" | "transient" => true,
            "generated" | "" => {
                let probe = self.is_enabled(name);
                matches!(seen.get(&probe)?, Observation::Exec(result) if result.ok())
            }
            _ => false,
        };
        plan.report.values.insert("enabled".to_owned(), Value::from(wanted));
        if enabled == wanted {
            return Ok(());
        }
        if file_state == "static" {
            plan.report.values.insert("enabled".to_owned(), Value::from(true));
            plan.report.warnings.push(format!(
                "`{name}` is static: it is started by other units and cannot be disabled; `masked: true` keeps it from starting"
            ));
            return Ok(());
        }
        let word = |enabled| if enabled { "enabled" } else { "disabled" };
        let before = if file_state.is_empty() {
            word(enabled)
        } else {
            file_state
        };
        plan.act(
            Delta::value(format!("{} at boot", subject(name)), before, word(wanted)),
            self.systemctl(name, if wanted { "enable" } else { "disable" }),
            Some(self.systemctl(name, if wanted { "disable" } else { "enable" })),
        );
        Ok(())
    }

    fn run(&self, name: &str, wanted: State, unit: &Unit, plan: &mut Plan) {
        let active = unit.get("ActiveState").unwrap_or("unknown");
        let running = matches!(active, "active" | "reloading" | "refreshing");
        let state = if wanted == State::Stopped { "stopped" } else { "started" };
        plan.report.values.insert("state".to_owned(), Value::from(state));
        let delta = |after: &str| Delta::value(subject(name), active, after);
        match (wanted, active) {
            (State::Started, _) if running => {}
            // Somebody (or systemd itself) is starting it: joins that job and waits for its end.
            (State::Started, "activating") => plan.quiet(self.act(name, "start")),
            (State::Started, _) => plan.act(delta("active"), self.act(name, "start"), Some(self.act(name, "stop"))),
            (State::Stopped, "active" | "reloading" | "refreshing" | "activating" | "deactivating") => {
                plan.act(delta("inactive"), self.act(name, "stop"), Some(self.act(name, "start")));
            }
            (State::Stopped, _) => {}
            (State::Restarted, _) if running || active == "activating" => {
                plan.act(delta("restarted"), self.act(name, "restart"), None);
                plan.by_outcome = true;
            }
            (State::Reloaded, _) if running => {
                plan.act(delta("reloaded"), self.act(name, "reload"), None);
                plan.by_outcome = true;
            }
            (State::Restarted | State::Reloaded, _) => {
                plan.act(delta("active"), self.act(name, "start"), Some(self.act(name, "stop")));
                plan.by_outcome = true;
            }
        }
        // What is not waited for cannot be looked at right away.
        plan.by_outcome |= self.no_block;
    }

    fn options<'a>(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        let no_block = self.no_block.then_some("--no-block");
        no_block.into_iter().chain(self.force.then_some("--force"))
    }

    fn effect(name: &str) -> Effect {
        let full = unit::full_name(name);
        let short = full.strip_suffix(".service").unwrap_or(&full).to_owned();
        Effect::Mentions(vec![full, short])
    }

    /// Mask, enable and their opposites.
    fn systemctl(&self, name: &str, verb: &str) -> Op {
        let full = unit::full_name(name);
        let argv = ["systemctl"]
            .into_iter()
            .chain(self.options())
            .chain([verb, "--", &full]);
        Op::exec(argv.map(str::to_owned).collect::<Vec<_>>(), Self::effect(name))
    }

    /// Start, stop, restart, reload.
    fn act(&self, name: &str, verb: &str) -> Op {
        let full = unit::full_name(name);
        let argv = ["sh", "-c", ACT, "sh", &full].into_iter().chain(self.options());
        Op::Exec(Exec {
            argv: argv.chain([verb, "--", &full]).map(str::to_owned).collect(),
            ok: vec![0],
            effect: Self::effect(name),
            ..Exec::default()
        })
    }
}

fn subject(name: &str) -> String {
    match name.strip_suffix(".service") {
        Some(short) => format!("service {short}"),
        None if unit::full_name(name) == name => format!("unit {name}"),
        None => format!("service {name}"),
    }
}

/// What has been decided so far.
#[derive(Default)]
struct Plan {
    deltas: Vec<Delta>,
    ops: Vec<Op>,
    undo: Vec<Op>,
    report: Report,
    /// Something is to be reported as changed.
    changed: bool,
    by_outcome: bool,
    /// Files on disk are newer than what is loaded; whether the user asked to load them.
    reload: Option<bool>,
}

impl Plan {
    fn act(&mut self, delta: Delta, op: Op, undo: Option<Op>) {
        self.deltas.push(delta);
        self.ops.push(op);
        self.undo.splice(0..0, undo);
        self.changed = true;
    }

    /// A wait: must be done and is no change.
    fn quiet(&mut self, op: Op) {
        self.ops.push(op);
    }

    /// Done whenever it is asked for, and no look can tell.
    fn manager(&mut self, op: Op) {
        self.ops.push(op);
        self.by_outcome = true;
    }

    fn decision(mut self) -> Decision {
        match self.reload {
            Some(asked) if asked || !self.ops.is_empty() => self.ops.insert(0, unit::daemon_reload()),
            Some(_) => self.report.warnings.push(
                "its unit files changed since systemd read them; `daemon_reload: true` makes systemd read them again"
                    .to_owned(),
            ),
            None => {}
        }
        if self.ops.is_empty() {
            return Decision::Keep(self.report);
        }
        let mut change = Change::new(self.deltas, self.ops, self.report).undo(Undo::Ops(self.undo));
        change.changed = self.changed;
        Decision::Change(if self.by_outcome {
            change.judged_by_outcome()
        } else {
            change
        })
    }
}
