//! `cpu_online`: takes processors out of use and back.

use super::sysfs::{self, Wanted};
use super::{Action, ArgError, ArgKind, ArgSpec, Args, Decision, Failure, Kind, ModuleSpec, Prepare, Seen, Stop, knob};
use crate::host::Probe;

const FILE: &str = "/etc/tmpfiles.d/60-rmqplay-cpu.conf";
const ONLINE: &str = "/sys/devices/system/cpu/online";
const PRESENT: &str = "/sys/devices/system/cpu/present";

pub static SPEC: ModuleSpec = ModuleSpec {
    name: "cpu_online",
    aliases: &[],
    summary: "Takes processors offline and online",
    description: "\
Sets `/sys/devices/system/cpu/cpuN/online`; offline processors are kept so for the next boot by a line in \
`/etc/tmpfiles.d/60-rmqplay-cpu.conf`, online ones need none.

This takes capacity away from the whole host. It is not affinity: to keep a service to some processors use `cpu_affinity`. \
Processor 0 cannot go offline, nor the last one that is online.",
    args: &[
        ArgSpec::new("cpu", ArgKind::Raw, "A number, a list, or the kernel's form `2-7,9`.").required().aliases(&["cpus"]),
        ArgSpec::new("state", ArgKind::Str, "What they shall be.").default("online").choices(&["online", "offline"]),
        ArgSpec::new("persist", ArgKind::Bool, "Keep it for the next boot.").default("true"),
    ],
    free_form: None,
    open: false,
    returns: &[("file", "The file for the next boot")],
    examples: "\
- name: all processors work
  cpu_online:
    cpu: 1-3
    state: online
",
    local: true,
    kind: Kind::Host(prepare),
    ahead: super::no_guess,
};

struct CpuOnline {
    cpus: Vec<u32>,
    online: bool,
    wanted: Vec<Wanted>,
    file: Option<&'static str>,
}

fn prepare(args: &Args, _: &dyn Prepare) -> Result<Box<dyn Action>, ArgError> {
    let online = args.str("state") != Some("offline");
    let cpus = knob::cpus(args, "cpu")?;
    if cpus.contains(&0) && !online {
        return Err(ArgError::new("cpu", "CPU 0 cannot be taken offline")
            .help("the boot processor serves interrupts no other may take, and since Linux 6.5 x86 has no switch for it; `cpu_affinity` keeps a service off it"));
    }
    let wanted = cpus
        .iter()
        .filter(|cpu| **cpu != 0)
        .map(|cpu| Wanted {
            knob: format!("cpu {cpu} online"),
            path: format!("/sys/devices/system/cpu/cpu{cpu}/online"),
            value: Some(u8::from(online).to_string()),
            at_boot: !online,
        })
        .collect();
    Ok(Box::new(CpuOnline {
        cpus,
        online,
        wanted,
        file: args.bool("persist").then_some(FILE),
    }))
}

impl Action for CpuOnline {
    fn probes(&self) -> Vec<Probe> {
        let mut probes = sysfs::probes(&self.wanted, self.file);
        probes.extend([Probe::read(ONLINE), Probe::read(PRESENT)]);
        probes
    }

    fn decide(&self, seen: &Seen<'_>) -> Result<Decision, Stop> {
        seen.want(&self.probes())?;
        let list = |path: &str| -> Result<Vec<u32>, Stop> {
            Ok(seen
                .read_line(path)?
                .and_then(|t| knob::cpu_list(&t))
                .unwrap_or_default())
        };
        let (online, present) = (list(ONLINE)?, list(PRESENT)?);
        if let Some(cpu) = self.cpus.iter().find(|c| !present.contains(c)) {
            return Ok(Decision::Fail(Failure::new(format!(
                "there is no CPU {cpu}; this host has {}",
                knob::cpu_text(&present)
            ))));
        }
        if !self.online && online.iter().all(|c| self.cpus.contains(c)) {
            return Ok(Decision::Fail(Failure::new("this would take the last CPU offline")));
        }
        let (edits, mut report) = sysfs::settle(seen, &self.wanted, self.file)?;
        if !self.online && !edits.is_empty() {
            report = report.warn(
                "taking processors offline takes capacity from the whole host; to keep a service to some of them use `cpu_affinity`",
            );
        }
        Ok(edits.decision(report))
    }
}
