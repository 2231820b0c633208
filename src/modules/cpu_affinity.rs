//! `cpu_affinity`, alias `taskset`: the processors a service may use.

use super::knob::{self, Edits, cpu_list, cpu_text};
use super::unit::{self, DropIn, Process, Unit};
use super::{
    Action, ArgError, ArgKind, ArgSpec, Args, Decision, Failure, Kind, ModuleSpec, Prepare, Report, Seen, Stop,
};
use crate::host::{Delta, Layer, Probe};
use serde_json::{Map, Value};

const DROP_IN: &str = "60-rmqplay-cpu.conf";
const ONLINE: &str = "/sys/devices/system/cpu/online";
const KEY: &str = "CPUAffinity";
/// RabbitMQ's production checklist asks for at least this many.
const ENOUGH: usize = 4;

pub static SPEC: ModuleSpec = ModuleSpec {
    name: "cpu_affinity",
    aliases: &["taskset"],
    summary: "Keeps a service to some processors: its unit, and the running process with all threads",
    description: "\
Writes `CPUAffinity=` to a drop-in of the unit (`/etc/systemd/system/UNIT.d/60-rmqplay-cpu.conf`), lets systemd read it, and moves \
every thread of the running main process (`taskset -a`). Threads that the Erlang VM has bound to one of the processors are as they should be. With `pid:` only that process is moved; nothing is kept.

Processors that are not online are refused. The Erlang VM counts its processors when it starts: after a move it still has as many \
schedulers as before, so restart it. RabbitMQ's documentation advises against sharing processors at all; pin only to keep other \
work away, and leave four or more.",
    args: &[
        ArgSpec::new("service", ArgKind::Str, "systemd unit.").aliases(&["unit"]),
        ArgSpec::new("pid", ArgKind::Int, "A running process, instead of `service`."),
        ArgSpec::new("cpus", ArgKind::Raw, "The kernel's form `2-7,9`, or a list.").aliases(&["cpu", "cpu_list"]),
        ArgSpec::new("state", ArgKind::Str, "`absent` takes `CPUAffinity=` out of the drop-in; the process stays where it is.")
            .default("present")
            .choices(&["present", "absent"]),
        ArgSpec::new("live", ArgKind::Bool, "Move the running process too.").default("true"),
    ],
    free_form: None,
    open: false,
    returns: &[("cpus", "The processors, in the kernel's form")],
    examples: "\
- name: the first two processors are for others
  cpu_affinity:
    service: rabbitmq-server
    cpus: 2-7
  notify: restart rabbitmq
",
    local: true,
    kind: Kind::Host(prepare),
    ahead,
};

enum Target {
    Unit(String),
    Pid(u32),
}

struct CpuAffinity {
    target: Target,
    /// `None` with `state: absent`.
    cpus: Option<Vec<u32>>,
    live: bool,
}

fn prepare(args: &Args, _: &dyn Prepare) -> Result<Box<dyn Action>, ArgError> {
    let absent = args.str("state") == Some("absent");
    let target = match (args.str("service"), args.int("pid")) {
        (Some(_), Some(_)) => return Err(ArgError::new("pid", "`service` and `pid` exclude each other")),
        (None, None) => return Err(ArgError::task("module `cpu_affinity` needs the argument `service`")),
        (Some(unit), None) => Target::Unit(unit.to_owned()),
        (None, Some(_)) if absent => {
            return Err(ArgError::new(
                "pid",
                "nothing is kept for a process by its number, so nothing can be absent",
            ));
        }
        (None, Some(pid)) => match u32::try_from(pid) {
            Ok(pid) if pid > 0 => Target::Pid(pid),
            _ => return Err(ArgError::new("pid", format!("`{pid}` is not a process number"))),
        },
    };
    let cpus = match args.raw("cpus") {
        _ if absent => None,
        None => return Err(ArgError::task("module `cpu_affinity` needs the argument `cpus`")),
        Some(_) => Some(knob::cpus(args, "cpus")?),
    };
    Ok(Box::new(CpuAffinity {
        target,
        cpus,
        live: args.bool("live"),
    }))
}

impl CpuAffinity {
    fn process_probe(&self) -> Probe {
        match &self.target {
            Target::Unit(unit) => unit::process(unit),
            Target::Pid(pid) => unit::process_of(*pid),
        }
    }
}

impl Action for CpuAffinity {
    fn probes(&self) -> Vec<Probe> {
        let mut probes = vec![Probe::read(ONLINE), self.process_probe()];
        if let Target::Unit(unit) = &self.target {
            probes.push(unit::show(unit));
            probes.push(Probe::read(unit::drop_in_path(unit, DROP_IN)));
        }
        probes
    }

    fn decide(&self, seen: &Seen<'_>) -> Result<Decision, Stop> {
        seen.want(&self.probes())?;
        let process = Process::at(seen, &self.process_probe())?;
        let mut report = Report::new();
        let mut edits = Edits::default();
        if let Some(cpus) = &self.cpus {
            let online = seen.read_line(ONLINE)?.and_then(|t| cpu_list(&t)).unwrap_or_default();
            let missing: Vec<u32> = cpus.iter().filter(|c| !online.contains(c)).copied().collect();
            if !missing.is_empty() && !online.is_empty() {
                return Err(Failure::new(format!(
                    "CPU {} is not online; this host has {}",
                    cpu_text(&missing),
                    cpu_text(&online)
                ))
                .into());
            }
            report = report.with("cpus", cpu_text(cpus));
        }
        let mut layer = Layer {
            knob: match &self.target {
                Target::Unit(unit) => format!("CPUs of {}", unit.trim_end_matches(".service")),
                Target::Pid(pid) => format!("CPUs of process {pid}"),
            },
            desired: self.cpus.as_deref().map(cpu_text).unwrap_or_default(),
            file: None,
            live: None,
            read_only: false,
            process: None,
            source: None,
        };
        let mut rabbitmq = false;
        match &self.target {
            Target::Unit(name) => {
                rabbitmq = name.contains("rabbitmq");
                let unit = Unit::seen(seen, name)?;
                let mut file = DropIn::seen(seen, name, DROP_IN)?;
                let path = file.path.clone();
                let own = file.now(KEY);
                let own = (!own.is_empty()).then(|| cpu_list(&own.join(","))).flatten();
                let loaded = unit.get(KEY).and_then(cpu_list).filter(|c| !c.is_empty());
                match &self.cpus {
                    // Several assignments add up, an empty one starts anew (systemd.exec(5)).
                    Some(cpus) if own.as_ref() != Some(cpus) => file.set(KEY, &[String::new(), cpu_text(cpus)]),
                    Some(_) => {}
                    None => file.set(KEY, &[]),
                }
                let outdated = unit.is_outdated(&path, file.is_there());
                report = file.settle(&unit, &mut edits, report)?;
                if edits.is_empty() && self.cpus.is_some() && unit.exists() && loaded != self.cpus {
                    let value = loaded.as_deref().map(cpu_text).unwrap_or_default();
                    report = report.warn(unit.overridden(&path, &format!("{KEY}={value}")));
                }
                let text =
                    |cpus: &Option<Vec<u32>>| Some(cpus.as_deref().map_or_else(|| "not set".to_owned(), cpu_text));
                layer.live = if unit.exists() { text(&loaded) } else { None };
                (layer.file, layer.source) = match own {
                    Some(_) => (text(&own), Some(path)),
                    None if unit.exists() && loaded.is_some() && !outdated => (text(&loaded), unit.last_file(&path)),
                    None => (text(&None), None),
                };
            }
            Target::Pid(pid) if process.is_none() => {
                return Err(Failure::new(format!("there is no process {pid}")).into());
            }
            Target::Pid(_) => {}
        }
        let Some(cpus) = &self.cpus else {
            return Ok(edits.decision(report));
        };
        if let Some(process) = &process {
            let now = knob::threads(&process.cpus, cpus);
            if self.live && now != cpu_text(cpus) {
                let pid = process.pid.to_string();
                let taskset = |list: &str| knob::act(["taskset", "-acp", list, &pid]);
                // Threads that differ among themselves cannot be put back one by one.
                let back = (process.cpus.len() == 1).then(|| taskset(&now));
                edits.exec(
                    Some(Delta::value(
                        format!("CPUs of process {pid} (live)"),
                        now.clone(),
                        cpu_text(cpus),
                    )),
                    taskset(&cpu_text(cpus)),
                    back,
                );
                if rabbitmq {
                    report = report.warn(
                        "the Erlang VM keeps the number of schedulers it started with; restart it so that they fit the processors",
                    );
                }
            }
            layer.process = Some(now);
        }
        if rabbitmq && cpus.len() < ENOUGH {
            report = report.warn(format!(
                "{} for RabbitMQ: its production checklist asks for {ENOUGH} or more",
                knob::count(cpus.len(), "processor")
            ));
        }
        report.layers.push(layer);
        Ok(edits.decision(report))
    }
}

fn ahead(args: &Map<String, Value>) -> Vec<Probe> {
    match args.get("service").or(args.get("unit")).and_then(Value::as_str) {
        Some(unit) => vec![
            Probe::read(ONLINE),
            unit::process(unit),
            unit::show(unit),
            Probe::read(unit::drop_in_path(unit, DROP_IN)),
        ],
        None => Vec::new(),
    }
}
