//! `io_scheduler`: I/O scheduler and read-ahead of disks, live and by a udev rule.

use super::disk::{self, Disks, NoDisk};
use super::knob::{self, Edits};
use super::{
    Action, ArgError, ArgKind, ArgSpec, Args, Decision, Failure, Kind, ModuleSpec, Prepare, Report, Seen, Stop,
};
use crate::host::{Layer, Probe};
use serde_json::{Map, Value};

const FILE: &str = "/etc/udev/rules.d/60-rmqplay-io.rules";

pub static SPEC: ModuleSpec = ModuleSpec {
    name: "io_scheduler",
    aliases: &[],
    summary: "I/O scheduler and read-ahead of disks, live and for the next boot",
    description: "\
Sets the scheduler, the read-ahead or both, live through `/sys/block`, and keeps one line per disk in a udev rule file \
(`/etc/udev/rules.d/60-rmqplay-io.rules`; lines of others stay).

`path:` finds the disks that a directory lies on: its mount, then through partitions, LVM, dm and md to the disks. The scheduler \
is set on the disks, the read-ahead also on the device that holds the file system. A path on a file system without a disk \
(overlay, tmpfs, a network) is a warning and changes nothing.

Linux 5.0 has no `noop`, `deadline` and `cfq` any more: they are taken as `none`, `mq-deadline` and `bfq`, with a warning. \
`none` suits NVMe and virtual disks, `mq-deadline` SATA disks.",
    args: &[
        ArgSpec::new("device", ArgKind::List, "Disks: `sda`, `/dev/sda`, a pattern `nvme*n1`, or a list.").aliases(&["devices"]),
        ArgSpec::new("path", ArgKind::Path, "A file or directory, instead of `device`: the disks it lies on."),
        ArgSpec::new("scheduler", ArgKind::Str, "Name of the scheduler."),
        ArgSpec::new("read_ahead_kb", ArgKind::Int, "Read-ahead in KiB, a multiple of 4 (`blockdev --setra` counts half KiB)."),
        ArgSpec::new("state", ArgKind::Str, "`absent` takes the disks out of the rule file.")
            .default("present")
            .choices(&["present", "absent"]),
        ArgSpec::new("persist", ArgKind::Bool, "Keep it for the next boot.").default("true"),
    ],
    free_form: None,
    open: false,
    returns: &[
        ("devices", "The disks"),
        ("schedulers", "The scheduler of each disk, as it is then"),
        ("file", "The rule file"),
    ],
    examples: "\
- name: the disks of the broker
  io_scheduler:
    path: /var/lib/rabbitmq
    scheduler: mq-deadline
    read_ahead_kb: 1024

- name: every NVMe disk
  io_scheduler: {device: nvme*n1, scheduler: none}
",
    local: true,
    kind: Kind::Host(prepare),
    ahead,
};

struct IoScheduler {
    devices: Vec<String>,
    path: Option<String>,
    scheduler: Option<String>,
    read_ahead: Option<String>,
    absent: bool,
    persist: bool,
}

fn prepare(args: &Args, _: &dyn Prepare) -> Result<Box<dyn Action>, ArgError> {
    let devices: Vec<String> = args
        .list("device")
        .iter()
        .map(|d| d.strip_prefix("/dev/").unwrap_or(d).to_owned())
        .collect();
    let path = args.str("path").map(str::to_owned);
    match (&path, devices.is_empty()) {
        (Some(_), false) => return Err(ArgError::new("path", "`device` and `path` exclude each other")),
        (None, true) => {
            return Err(ArgError::task("module `io_scheduler` needs the argument `device`")
                .help("or `path`, a directory whose disks are meant"));
        }
        (Some(path), true) if !path.starts_with('/') => {
            return Err(ArgError::new("path", format!("`{path}` is not an absolute path")));
        }
        _ => {}
    }
    if let Some(bad) = devices.iter().find(|d| d.is_empty() || d.contains(['/', '"', ' '])) {
        return Err(ArgError::new("device", format!("`{bad}` is not the name of a disk"))
            .help("write the kernel's name, `sda`, or use `path`"));
    }
    let absent = args.str("state") == Some("absent");
    let read_ahead = args.int("read_ahead_kb");
    if let Some(kb) = read_ahead.filter(|kb| *kb < 0 || kb % 4 != 0) {
        return Err(
            ArgError::new("read_ahead_kb", format!("`read_ahead_kb` cannot be `{kb}`"))
                .help("the kernel counts whole pages: a multiple of 4"),
        );
    }
    let scheduler = args.str("scheduler").map(|s| s.trim().to_owned());
    if !absent && scheduler.is_none() && read_ahead.is_none() {
        return Err(ArgError::task(
            "module `io_scheduler` needs `scheduler` or `read_ahead_kb`",
        ));
    }
    Ok(Box::new(IoScheduler {
        devices,
        path,
        scheduler,
        read_ahead: read_ahead.map(|kb| kb.to_string()),
        absent,
        persist: args.bool("persist") || absent,
    }))
}

/// Today's name of a scheduler that is gone since Linux 5.0.
fn modern(name: &str) -> Option<&'static str> {
    match name {
        "noop" => Some("none"),
        "deadline" => Some("mq-deadline"),
        "cfq" => Some("bfq"),
        _ => None,
    }
}

impl IoScheduler {
    /// The devices to set the scheduler of, and those to set the read-ahead of.
    fn targets(&self, disks: &Disks) -> Result<(Vec<String>, Vec<String>), NoDisk> {
        if let Some(path) = &self.path {
            let top = disks.top_of_path(path)?;
            let bottom = disks.bottom(&top);
            let mut all = bottom.clone();
            if !all.contains(&top) {
                all.push(top);
            }
            return Ok((bottom, all));
        }
        let mut found = Vec::new();
        for device in &self.devices {
            if device.contains(['*', '?', '[']) {
                let glob = globset::Glob::new(device).map_err(|e| NoDisk::Other(e.to_string()))?;
                let names = disks.matching(&glob.compile_matcher());
                if names.is_empty() {
                    return Err(NoDisk::Other(format!("no disk matches `{device}`")));
                }
                found.extend(names);
            } else if let Some(disk) = disks.partition_of(device) {
                return Err(NoDisk::Other(format!(
                    "{device} is a partition: scheduler and read-ahead belong to its disk, {disk}"
                )));
            } else if !disks.disks.contains_key(device) {
                let all: Vec<&String> = disks
                    .disks
                    .keys()
                    .filter(|n| !n.starts_with("loop") && !n.starts_with("ram"))
                    .collect();
                return Err(NoDisk::Other(format!(
                    "there is no disk {device}; this host has {}",
                    knob::quoted(&all)
                )));
            } else if disks.is_layer(device) && self.scheduler.is_some() {
                return Err(NoDisk::Other(format!(
                    "{device} is made of other devices and schedules nothing itself; its disks are {}",
                    knob::quoted(&disks.bottom(device))
                )));
            } else {
                found.push(device.clone());
            }
        }
        found.dedup();
        Ok((found.clone(), found))
    }
}

impl Action for IoScheduler {
    fn probes(&self) -> Vec<Probe> {
        let mut probes = vec![disk::probe(self.path.as_deref())];
        if self.persist {
            probes.push(Probe::read(FILE));
        }
        probes
    }

    fn decide(&self, seen: &Seen<'_>) -> Result<Decision, Stop> {
        seen.want(&self.probes())?;
        let disks = Disks::seen(seen, self.path.as_deref())?;
        let (bottom, all) = match self.targets(&disks) {
            Ok(found) => found,
            Err(NoDisk::Virtual(why)) => {
                return Ok(Decision::Keep(
                    Report::new()
                        .with("devices", Vec::<String>::new())
                        .with("schedulers", Map::new())
                        .warn(why),
                ));
            }
            Err(NoDisk::Other(why)) => return Err(Failure::new(why).into()),
        };
        let content = if self.persist { seen.read(FILE)? } else { None };
        let before = content.as_ref().map(|c| c.text().into_owned()).unwrap_or_default();
        let mut text = before.clone();
        let mut report = Report::new().with("devices", all.clone());
        let mut schedulers = Map::new();
        let mut edits = Edits::default();
        for name in &all {
            let Some(disk) = disks.disks.get(name) else {
                return Err(Failure::new(format!("there is no disk {name}")).into());
            };
            let mut wanted: Vec<(&str, String)> = Vec::new();
            if let Some(asked) = self.scheduler.as_ref().filter(|_| bottom.contains(name)) {
                let Some(choices) = &disk.scheduler else {
                    return Err(Failure::new(format!("{name} has no scheduler to choose")).into());
                };
                let scheduler = match modern(asked) {
                    Some(new) if !choices.all.contains(asked) => {
                        let note = format!("there is no scheduler `{asked}` since Linux 5.0; `{new}` is taken");
                        if !report.warnings.contains(&note) {
                            report = report.warn(note);
                        }
                        new
                    }
                    _ => asked,
                };
                if !choices.all.iter().any(|c| c == scheduler) {
                    return Err(Failure::new(format!("{name} has no scheduler `{scheduler}`"))
                        .help(format!(
                            "choose one of {}; others may need a kernel module",
                            choices.list()
                        ))
                        .into());
                }
                wanted.push(("scheduler", scheduler.to_owned()));
            }
            if let Some(kb) = &self.read_ahead {
                wanted.push(("read_ahead_kb", kb.clone()));
            }
            let scheduler = wanted.iter().find(|(a, _)| *a == "scheduler").map(|(_, v)| v.clone());
            if let Some(scheduler) = scheduler.or_else(|| disks.queue(seen, name, "scheduler")) {
                schedulers.insert(name.clone(), Value::String(scheduler));
            }
            if self.absent {
                text = with_rule(&text, name, &[]);
                continue;
            }
            let mut rule = rule(&text, name);
            for (attribute, value) in &wanted {
                let Some(live) = disks.queue(seen, name, attribute) else {
                    return Err(Failure::new(format!("{name} has no {attribute}")).into());
                };
                let subject = if *attribute == "scheduler" {
                    "scheduler"
                } else {
                    "read-ahead (KiB)"
                };
                if live != *value {
                    edits.put(
                        format!("{subject} of {name} (live)"),
                        &disk::queue_path(name, attribute),
                        &live,
                        value,
                    );
                }
                let kept = rule.iter().find(|(a, _)| a == attribute).map(|(_, v)| v.clone());
                rule.retain(|(a, _)| a != attribute);
                rule.push(((*attribute).to_owned(), value.clone()));
                report.layers.push(Layer {
                    knob: format!("{subject} of {name}"),
                    desired: value.clone(),
                    source: kept.as_ref().map(|_| FILE.to_owned()),
                    file: self.persist.then(|| kept.unwrap_or_else(|| "not set".to_owned())),
                    live: Some(live),
                    read_only: false,
                    process: None,
                });
            }
            if self.persist {
                text = with_rule(&text, name, &rule);
            }
        }
        if self.persist {
            if content.is_none() && !text.is_empty() {
                text.insert_str(0, knob::HEADER);
            }
            let empty = !text.lines().any(|l| !l.trim().is_empty() && !l.starts_with('#'));
            edits.file(FILE, content.as_ref(), (!empty).then_some(text));
            report = report.with("file", FILE);
        }
        for (file, line, _) in disks
            .rules
            .iter()
            .filter(|(f, _, rule)| after_ours(f) && self.speaks_of(rule))
        {
            report = report.warn(format!("{file}:{line} is applied after {FILE} and may win at boot"));
        }
        Ok(edits.decision(report.with("schedulers", schedulers)))
    }
}

impl IoScheduler {
    fn speaks_of(&self, rule: &str) -> bool {
        !self.absent
            && self.persist
            && ((self.scheduler.is_some() && rule.contains("scheduler"))
                || (self.read_ahead.is_some() && rule.contains("read_ahead_kb")))
    }
}

/// Rule files are applied by name, whatever directory they are in (udev(7)).
fn after_ours(file: &str) -> bool {
    let name = |f: &str| f.rsplit('/').next().unwrap_or_default().to_owned();
    name(file) > name(FILE)
}

/// How our line for a disk begins.
fn head(name: &str) -> String {
    format!("ACTION==\"add|change\", SUBSYSTEM==\"block\", KERNEL==\"{name}\", ")
}

/// The attributes our line sets: `scheduler`, `read_ahead_kb` and the value.
fn rule(text: &str, name: &str) -> Vec<(String, String)> {
    let head = head(name);
    let Some(rest) = text.lines().find_map(|l| l.strip_prefix(&head)) else {
        return Vec::new();
    };
    rest.split(',')
        .filter_map(|part| {
            let (attribute, value) = part.trim().strip_prefix("ATTR{queue/")?.split_once("}=")?;
            Some((attribute.to_owned(), value.trim_matches('"').to_owned()))
        })
        .collect()
}

/// The text with our line for a disk as given (nothing: without it).
fn with_rule(text: &str, name: &str, rule: &[(String, String)]) -> String {
    let mut rule = rule.to_vec();
    // Scheduler first: a change of it may reset the queue.
    rule.sort_by_key(|(attribute, _)| attribute != "scheduler");
    let parts: Vec<String> = rule.iter().map(|(a, v)| format!("ATTR{{queue/{a}}}=\"{v}\"")).collect();
    let mut line = (!parts.is_empty()).then(|| format!("{}{}\n", head(name), parts.join(", ")));
    let head = head(name);
    let mut out = String::new();
    for old in text.split_inclusive('\n') {
        if old.starts_with(&head) {
            out.push_str(&line.take().unwrap_or_default());
        } else {
            out.push_str(old);
        }
    }
    if let Some(line) = line {
        if !out.is_empty() && !out.ends_with('\n') {
            out.push('\n');
        }
        out.push_str(&line);
    }
    out
}

fn ahead(args: &Map<String, Value>) -> Vec<Probe> {
    vec![disk::probe(args.get("path").and_then(Value::as_str)), Probe::read(FILE)]
}
