//! `check`: what must be true of a running host. Changes nothing.

mod form;
mod rabbitmq;

use self::form::{numbers, prepare};
use super::disk::{self, Disks, NoDisk};
use super::knob::{self, Choices, cpu_text, squeeze};
use super::unit::{self, Process, Unit};
use super::{Action, ArgKind, ArgSpec, Change, Decision, Failure, Kind, ModuleSpec, Report, Seen, Stop};
use crate::host::{Layer, Observation, Outcome, Probe, Undo};
use crate::rabbitmq::Version;
use serde_json::Value;

pub static SPEC: ModuleSpec = ModuleSpec {
    name: "check",
    aliases: &[],
    summary: "Checks what is true of the running host",
    description: "\
Each argument is one kind of check; all that are given must hold. Nothing is ever changed. A failure names what was expected and \
what was found. Meant for `pre_checks` and `post_checks`, where `until` and `retries` wait for a service to come up; works as any task.

Sizes are bytes, or have a unit: `KiB MiB GiB TiB` (or `K M G T`) count by 1024, `kB MB GB TB` by 1000; `10%` is of the whole.",
    args: &[
        ArgSpec::new("sysctl", ArgKind::Dict, "Names and live values; `{min: N}` instead of a value: at least."),
        ArgSpec::new("sysctl_min", ArgKind::Dict, "Names and the least the live values must be, number by number."),
        ArgSpec::new(
            "settable_only",
            ArgKind::Bool,
            "Pass over settings that this host does not have or does not let anyone set, as in a container.",
        )
        .default("false"),
        ArgSpec::new(
            "limit",
            ArgKind::Dict,
            "`service`, and items of limits.conf with the least the running process must have: `{service: rabbitmq-server, nofile: 65536}`.",
        ),
        ArgSpec::new("scheduler", ArgKind::Dict, "`device` or `path`, and `is`: a scheduler or a list of good ones."),
        ArgSpec::new("read_ahead_kb", ArgKind::Dict, "`device` or `path`, and `is`: KiB, or a list of good values."),
        ArgSpec::new("thp", ArgKind::Dict, "`enabled`, `defrag`: a value or a list of good ones."),
        ArgSpec::new("port", ArgKind::Raw, "A TCP port, a list, or `{port, host, is: open|closed, timeout}`; the host is 127.0.0.1."),
        ArgSpec::new("service", ArgKind::Raw, "A unit that must be active, or `{name, is, enabled}`."),
        ArgSpec::new(
            "file",
            ArgKind::Raw,
            "A path that must exist, or `{path, exists, contains, matches, sha256, mode, owner, group}`; `contains` and `matches` \
take a list too, a pattern may match any line.",
        ),
        ArgSpec::new("free_disk", ArgKind::Dict, "`path` and `min`: free space of the file system."),
        ArgSpec::new("free_memory", ArgKind::Raw, "The least memory available to programs, or `{min}`."),
        ArgSpec::new(
            "rabbitmq",
            ArgKind::Raw,
            "Health checks of `rabbitmq-diagnostics` and `rabbitmq-queues`, without `check_`: a name, a list, or a mapping to what a \
check takes, `{running: true, port_listener: 5672, certificate_expiration: {within: 30, unit: days}}`.",
        ),
        ArgSpec::new(
            "rabbitmq_api",
            ArgKind::Raw,
            "Health checks of the management API, asked from the host itself: paths below `/api/health/checks/`, in the same forms.",
        ),
        ArgSpec::new("api_url", ArgKind::Str, "Where the management API is.").default("http://127.0.0.1:15672"),
        ArgSpec::new("api_user", ArgKind::Str, "Who asks it; the tag `monitoring` is enough.").default("guest"),
        ArgSpec::new("api_password", ArgKind::Str, "His password; it travels on standard input.")
            .default("guest")
            .secret(),
        ArgSpec::new("process", ArgKind::Raw, "A unit whose main process must run, or `{service, cpus}`: the CPUs all its threads use."),
    ],
    free_form: None,
    open: false,
    returns: &[("checks", "What was checked: `what`, `expected`, `found`, `holds`")],
    examples: "\
- name: the kernel is tuned
  check:
    sysctl: {vm.swappiness: 10, fs.nr_open: {min: 300000}}
    thp: {enabled: [madvise, never]}
    scheduler: {path: /var/lib/rabbitmq, is: [none, mq-deadline]}
    read_ahead_kb: {path: /var/lib/rabbitmq, is: 1024}

- name: the broker runs with its limits and answers
  check:
    service: {name: rabbitmq-server, is: active, enabled: true}
    limit: {service: rabbitmq-server, nofile: 65536}
    port: 5672
  register: broker
  until: broker is succeeded
  retries: 30

- name: the node is well, and so is the cluster
  check:
    rabbitmq: [running, alarms, virtual_hosts, port_connectivity, if_node_is_quorum_critical]
    rabbitmq_api: {node-is-quorum-critical: true, port-listener: [5672, 15672]}
    api_user: monitor
    api_password: \"{{ monitor_password }}\"

- name: there is room
  check:
    free_disk: {path: /var/lib/rabbitmq, min: 10%}
    free_memory: 512MiB
    file: {path: /etc/rabbitmq/rabbitmq.conf, contains: 'listeners.tcp.default = 5672', mode: '0640'}
",
    local: false,
    kind: Kind::Host(prepare),
    ahead: super::no_guess,
};

const THP: &str = "/sys/kernel/mm/transparent_hugepage";
const MEMINFO: &str = "/proc/meminfo";

/// One thing to check.
enum Check {
    Sysctl {
        name: String,
        wanted: Bound,
        settable_only: bool,
    },
    Limit {
        unit: String,
        item: String,
        min: String,
    },
    Queue {
        knob: Queue,
        /// A disk, or the path whose disks are meant.
        device: Result<String, String>,
        good: Vec<String>,
    },
    Thp {
        name: String,
        good: Vec<String>,
    },
    Port {
        host: String,
        port: u16,
        open: bool,
        timeout_s: u32,
    },
    Service {
        name: String,
        state: Option<String>,
        enabled: Option<bool>,
    },
    File(FileCheck),
    FreeDisk {
        path: String,
        min: Size,
    },
    FreeMemory {
        min: Size,
    },
    Process {
        unit: String,
        cpus: Option<Vec<u32>>,
    },
    Rabbitmq(rabbitmq::Command),
}

/// What is checked of a disk's queue.
#[derive(Clone, Copy, PartialEq)]
enum Queue {
    Scheduler,
    ReadAhead,
}

enum Bound {
    Is(String),
    Min(Vec<i128>),
}

struct FileCheck {
    path: String,
    exists: bool,
    contains: Vec<String>,
    matches: Vec<(String, fancy_regex::Regex)>,
    sha256: Option<String>,
    mode: Option<u32>,
    owner: Option<String>,
    group: Option<String>,
}

#[derive(Clone, Copy)]
enum Size {
    Bytes(u64),
    Percent(u64),
}

/// What came of one look.
struct Verdict {
    what: String,
    expected: String,
    found: String,
    holds: bool,
    layer: Option<Layer>,
    warning: Option<String>,
}

impl Verdict {
    fn new(what: impl Into<String>, expected: impl Into<String>, found: impl Into<String>, holds: bool) -> Verdict {
        Verdict {
            what: what.into(),
            expected: expected.into(),
            found: found.into(),
            holds,
            layer: None,
            warning: None,
        }
    }

    /// With the layer view of a knob whose live value it is.
    fn live(mut self) -> Verdict {
        self.layer = Some(self.as_layer(true));
        self
    }

    /// With the layer view of a knob of a running process.
    fn process(mut self) -> Verdict {
        self.layer = Some(self.as_layer(false));
        self
    }

    fn as_layer(&self, live: bool) -> Layer {
        // A bound that holds is what was desired.
        let desired = if self.holds {
            self.found.clone()
        } else {
            self.expected.clone()
        };
        let found = Some(self.found.clone());
        Layer {
            knob: self.what.clone(),
            desired,
            file: None,
            live: if live { found.clone() } else { None },
            read_only: false,
            process: if live { None } else { found },
            source: None,
        }
    }
}

struct Checks {
    checks: Vec<Check>,
    api: Option<rabbitmq::Api>,
    check_mode: bool,
}

impl Action for Checks {
    fn probes(&self) -> Vec<Probe> {
        let mut probes: Vec<Probe> = self.checks.iter().flat_map(Check::probes).collect();
        if self.api.is_some() {
            probes.push(Version::probe());
        }
        probes
    }

    fn decide(&self, seen: &Seen<'_>) -> Result<Decision, Stop> {
        seen.want(&self.probes())?;
        let commands = self.checks.iter().filter_map(|check| match check {
            Check::Rabbitmq(command) => Some(command),
            _ => None,
        });
        let mut wanted = Vec::new();
        for command in commands {
            wanted.extend(command.wants(rabbitmq::version(seen)?));
        }
        seen.want(&wanted)?;
        let mut verdicts = Vec::new();
        for check in &self.checks {
            check.judge(seen, &mut verdicts)?;
        }
        let ask = match &self.api {
            Some(api) => api.plan(rabbitmq::version(seen)?, &mut verdicts),
            None => None,
        };
        let (report, ask) = match (conclude(verdicts), ask) {
            (Err(failure), _) => return Ok(Decision::Fail(failure)),
            (Ok(report), None) => return Ok(Decision::Keep(report)),
            (Ok(_), Some(_)) if self.check_mode => {
                return Err(Stop::CannotKnow(
                    "the management API is not asked in a dry run".to_owned(),
                ));
            }
            (Ok(report), Some(ask)) => (report, ask),
        };
        let mut change = Change::new(Vec::new(), vec![ask], report)
            .undo(Undo::Ops(Vec::new()))
            .judged_by_outcome();
        change.changed = false;
        Ok(Decision::Change(change))
    }

    fn finish(&self, change: &Change, outcomes: &[Outcome]) -> Result<Report, Failure> {
        let Some(op) = change.ops.first() else {
            return Ok(change.report.clone());
        };
        let asked = conclude(rabbitmq::Api::judge(op, outcomes)?)?;
        let mut report = change.report.clone();
        let of = |report: &Report| match report.values.get("checks") {
            Some(Value::Array(list)) => list.clone(),
            _ => Vec::new(),
        };
        let all = [of(&report), of(&asked)].concat();
        report.values.insert("checks".to_owned(), Value::Array(all));
        Ok(report)
    }
}

/// What the verdicts come to.
fn conclude(verdicts: Vec<Verdict>) -> Result<Report, Failure> {
    let list: Vec<Value> = verdicts
        .iter()
        .map(|v| serde_json::json!({"what": v.what, "expected": v.expected, "found": v.found, "holds": v.holds}))
        .collect();
    let layers: Vec<Layer> = verdicts.iter().filter_map(|v| v.layer.clone()).collect();
    let wrong: Vec<String> = verdicts
        .iter()
        .filter(|v| !v.holds)
        .map(|v| format!("{}: expected {}, found {}", v.what, v.expected, v.found))
        .collect();
    if wrong.is_empty() {
        let mut report = Report::new().with("checks", list);
        report.warnings = verdicts.into_iter().filter_map(|v| v.warning).collect();
        report.layers = layers;
        return Ok(report);
    }
    let mut failure = Failure::new(wrong.join("; "));
    failure.values.insert("checks".to_owned(), Value::Array(list));
    failure.layers = layers;
    Err(failure)
}

impl Check {
    fn probes(&self) -> Vec<Probe> {
        match self {
            Check::Sysctl {
                name, settable_only, ..
            } => {
                let path = super::sysctl::live_path_of(name);
                let mode = settable_only.then(|| Probe::stat(&path));
                mode.into_iter().chain([Probe::read(path)]).collect()
            }
            Check::Limit { unit, .. } | Check::Process { unit, .. } => vec![unit::process(unit)],
            Check::Queue { device, .. } => vec![disk::probe(device.as_ref().err().map(String::as_str))],
            Check::Thp { name, .. } => vec![Probe::read(format!("{THP}/{name}"))],
            Check::Port {
                host, port, timeout_s, ..
            } => {
                vec![Probe::Tcp {
                    host: host.clone(),
                    port: *port,
                    timeout_s: *timeout_s,
                }]
            }
            Check::Service { name, .. } => vec![unit::show(name)],
            Check::File(file) => {
                let mut probes = vec![Probe::stat_follow(&file.path)];
                if !file.contains.is_empty() || !file.matches.is_empty() {
                    probes.push(Probe::read(&file.path));
                }
                if file.sha256.is_some() {
                    probes.push(file.hash());
                }
                probes
            }
            Check::FreeDisk { path, .. } => vec![Probe::exec(["df", "-Pk", "--", path])],
            Check::FreeMemory { .. } => vec![Probe::read(MEMINFO)],
            // Which checks there are depends on the version.
            Check::Rabbitmq(_) => vec![Version::probe()],
        }
    }

    fn judge(&self, seen: &Seen<'_>, out: &mut Vec<Verdict>) -> Result<(), Stop> {
        match self {
            Check::Sysctl {
                name,
                wanted,
                settable_only,
            } => {
                let path = super::sysctl::live_path_of(name);
                let live = seen.read_line(&path)?.map(|v| squeeze(&v));
                let (expected, holds) = match wanted {
                    Bound::Is(value) => (value.clone(), live.as_ref() == Some(value)),
                    Bound::Min(min) => {
                        let words: Vec<String> = min.iter().map(i128::to_string).collect();
                        let found = live.as_deref().and_then(numbers).unwrap_or_default();
                        let holds = found.len() == min.len() && found.iter().zip(min).all(|(f, m)| f >= m);
                        (format!("at least {}", words.join(" ")), holds)
                    }
                };
                if *settable_only && !holds && seen.stat(&path)?.is_none_or(|s| s.mode & 0o222 == 0) {
                    return Ok(());
                }
                let found = live.unwrap_or_else(|| "no such setting in this kernel".to_owned());
                out.push(Verdict::new(format!("sysctl {name}"), expected, found, holds).live());
            }
            Check::Limit { unit, item, min } => out.push(limit_of(seen, unit, item, min)?),
            Check::Queue { knob, device, good } => queues(seen, *knob, device, good, out)?,
            Check::Thp { name, good } => {
                let what = format!("transparent_hugepage {name}");
                let live = seen
                    .read_line(&format!("{THP}/{name}"))?
                    .map(|text| Choices::value(&text));
                // A kernel without them is a kernel where nobody gets one.
                let holds = live
                    .as_ref()
                    .map_or_else(|| good.iter().any(|g| g == "never"), |l| good.contains(l));
                let found = live.unwrap_or_else(|| "none in this kernel".to_owned());
                out.push(Verdict::new(what, good.join(" or "), found, holds).live());
            }
            Check::Port {
                host,
                port,
                open,
                timeout_s,
            } => {
                let probe = Probe::Tcp {
                    host: host.clone(),
                    port: *port,
                    timeout_s: *timeout_s,
                };
                let is_open = match seen.raw(&probe)? {
                    Observation::Text(answer) => answer.is_some(),
                    Observation::Unknown(why) => return Err(Stop::CannotKnow(why)),
                    // A name that does not resolve, a network that is not there: nobody answers.
                    _ => false,
                };
                let word = |open: bool| if open { "open" } else { "closed" };
                out.push(Verdict::new(
                    format!("port {port} on {host}"),
                    word(*open),
                    word(is_open),
                    is_open == *open,
                ));
            }
            Check::Service { name, state, enabled } => service_is(seen, name, state.as_deref(), *enabled, out)?,
            Check::File(file) => file.judge(seen, out)?,
            Check::FreeDisk { path, min } => out.push(free_disk(seen, path, *min)?),
            Check::FreeMemory { min } => out.push(free_memory(seen, *min)?),
            Check::Rabbitmq(command) => command.judge(seen, out)?,
            Check::Process { unit, cpus } => {
                let name = unit::full_name(unit);
                let found = process_of(seen, unit)?;
                let Some(process) = found else {
                    out.push(Verdict::new(
                        format!("main process of {name}"),
                        "running",
                        "not running",
                        false,
                    ));
                    return Ok(());
                };
                out.push(Verdict::new(
                    format!("main process of {name}"),
                    "running",
                    format!("process {}", process.pid),
                    true,
                ));
                if let Some(cpus) = cpus {
                    let now = knob::threads(&process.cpus, cpus);
                    let wanted = cpu_text(cpus);
                    let holds = now == wanted;
                    out.push(Verdict::new(format!("CPUs of {name}"), wanted, now, holds).process());
                }
            }
        }
        Ok(())
    }
}

/// The main process; here a dry run that cannot know must say so.
fn process_of(seen: &Seen<'_>, unit: &str) -> Result<Option<Process>, Stop> {
    seen.get(&unit::process(unit))?;
    Process::seen(seen, unit)
}

fn limit_of(seen: &Seen<'_>, unit: &str, item: &str, min: &str) -> Result<Verdict, Stop> {
    let name = unit::full_name(unit);
    let what = format!("{item} of the running {name}");
    let Some((kernel, min)) = super::limits::kernel(item, min) else {
        return Err(Failure::new(format!("there is no limit `{item}`")).into());
    };
    let shown = |n: Option<u64>| n.map_or_else(|| "unlimited".to_owned(), |n| n.to_string());
    let expected = if min.is_none() {
        "unlimited".to_owned()
    } else {
        format!("at least {}", shown(min))
    };
    let Some(process) = process_of(seen, unit)? else {
        return Ok(Verdict::new(what, expected, "not running", false));
    };
    let Some((soft, hard)) = process.limits.get(kernel) else {
        return Ok(Verdict::new(what, expected, "unknown", false));
    };
    let enough = |text: &str| match (text, min) {
        ("unlimited", _) => true,
        (_, None) => false,
        (number, Some(min)) => number.parse::<u64>().is_ok_and(|n| n >= min),
    };
    // What binds is the soft limit.
    let found = if soft == hard {
        soft.clone()
    } else {
        format!("{soft} (soft; hard {hard})")
    };
    Ok(Verdict::new(what, expected, found, enough(soft)).process())
}

fn queues(
    seen: &Seen<'_>,
    knob: Queue,
    device: &Result<String, String>,
    good: &[String],
    out: &mut Vec<Verdict>,
) -> Result<(), Stop> {
    let disks = Disks::seen(seen, device.as_ref().err().map(String::as_str))?;
    let names = match device {
        Ok(name) => vec![name.clone()],
        Err(path) => match disks.top_of_path(path) {
            Ok(top) => disks.bottom(&top),
            Err(NoDisk::Virtual(why)) => {
                let mut verdict = Verdict::new(
                    format!("{} of the disks of {path}", knob.name()),
                    good.join(" or "),
                    "no disk",
                    true,
                );
                verdict.warning = Some(why);
                out.push(verdict);
                return Ok(());
            }
            Err(NoDisk::Other(why)) => return Err(Failure::new(why).into()),
        },
    };
    for name in names {
        let found = match disks.disks.get(&name) {
            None => "no such disk".to_owned(),
            Some(_) => disks
                .queue(seen, &name, knob.attribute())
                .unwrap_or_else(|| "none to choose".to_owned()),
        };
        let holds = good.contains(&found);
        out.push(Verdict::new(format!("{} of {name}", knob.name()), good.join(" or "), found, holds).live());
    }
    Ok(())
}

impl Queue {
    fn attribute(self) -> &'static str {
        match self {
            Queue::Scheduler => "scheduler",
            Queue::ReadAhead => "read_ahead_kb",
        }
    }

    fn name(self) -> &'static str {
        match self {
            Queue::Scheduler => "scheduler",
            Queue::ReadAhead => "read-ahead (KiB)",
        }
    }
}

fn service_is(
    seen: &Seen<'_>,
    name: &str,
    state: Option<&str>,
    enabled: Option<bool>,
    out: &mut Vec<Verdict>,
) -> Result<(), Stop> {
    let unit = Unit::seen(seen, name)?;
    if let Some(why) = unit.unknown {
        return Err(Stop::CannotKnow(why));
    }
    let missing = match (unit.managed, unit.exists()) {
        (false, _) => Some("systemd does not answer"),
        (_, false) => Some("no such unit"),
        _ => None,
    };
    if let Some(state) = state {
        let now = unit.get("ActiveState").unwrap_or("unknown");
        let sub = unit.get("SubState").unwrap_or("unknown");
        let found = missing.map_or_else(|| format!("{now} ({sub})"), str::to_owned);
        let holds = missing.is_none() && (now == state || sub == state);
        out.push(Verdict::new(unit.name.clone(), state, found, holds));
    }
    if let Some(enabled) = enabled {
        let now = unit.get("UnitFileState").unwrap_or("unknown");
        let found = missing.map_or_else(|| now.to_owned(), str::to_owned);
        let is_on = now == "enabled" || now == "enabled-runtime" || now == "alias";
        let expected = if enabled { "enabled" } else { "not enabled" };
        out.push(Verdict::new(
            format!("{} at boot", unit.name),
            expected,
            found,
            missing.is_none() && is_on == enabled,
        ));
    }
    Ok(())
}

impl FileCheck {
    fn hash(&self) -> Probe {
        Probe::Hash {
            path: self.path.as_str().into(),
            algorithm: "sha256".to_owned(),
        }
    }

    fn judge(&self, seen: &Seen<'_>, out: &mut Vec<Verdict>) -> Result<(), Stop> {
        let stat = seen.stat_follow(&self.path)?;
        let word = |there: bool| if there { "there" } else { "absent" };
        if stat.is_some() != self.exists || stat.is_none() {
            out.push(Verdict::new(
                &self.path,
                word(self.exists),
                word(stat.is_some()),
                stat.is_some() == self.exists,
            ));
            return Ok(());
        }
        let before = out.len();
        if let Some(stat) = &stat {
            let pairs = [
                (
                    "mode",
                    self.mode.map(|m| format!("{m:04o}")),
                    format!("{:04o}", stat.mode),
                ),
                ("owner", self.owner.clone(), either(&self.owner, &stat.owner, stat.uid)),
                ("group", self.group.clone(), either(&self.group, &stat.group, stat.gid)),
            ];
            for (name, wanted, found) in pairs {
                if let Some(wanted) = wanted {
                    let holds = wanted == found;
                    out.push(Verdict::new(format!("{name} of {}", self.path), wanted, found, holds));
                }
            }
        }
        if !self.contains.is_empty() || !self.matches.is_empty() {
            let text = seen
                .read(&self.path)?
                .map(|c| c.text().into_owned())
                .unwrap_or_default();
            for part in &self.contains {
                let holds = text.contains(part.as_str());
                let found = if holds { "it" } else { "no such text" };
                out.push(Verdict::new(&self.path, format!("text `{part}`"), found, holds));
            }
            for (pattern, regex) in &self.matches {
                let hit = regex
                    .find(&text)
                    .map_err(|e| Failure::new(format!("`{pattern}`: {e}")))?;
                let found = hit.map_or_else(|| "no match".to_owned(), |m| format!("`{}`", m.as_str()));
                out.push(Verdict::new(
                    &self.path,
                    format!("a match of `{pattern}`"),
                    found,
                    hit.is_some(),
                ));
            }
        }
        if let Some(wanted) = &self.sha256 {
            let found = match seen.get(&self.hash())? {
                Observation::Text(Some(hash)) => hash,
                _ => "no regular file".to_owned(),
            };
            let holds = found == *wanted;
            out.push(Verdict::new(format!("sha256 of {}", self.path), wanted, found, holds));
        }
        if out.len() == before {
            out.push(Verdict::new(&self.path, "there", "there", true));
        }
        Ok(())
    }
}

/// The name of an owner, or his number where a number was asked for.
fn either(wanted: &Option<String>, name: &str, id: u32) -> String {
    let number = id.to_string();
    if name.is_empty() || wanted.as_ref() == Some(&number) {
        number
    } else {
        name.to_owned()
    }
}

fn free_disk(seen: &Seen<'_>, path: &str, min: Size) -> Result<Verdict, Stop> {
    let what = format!("free space of {path}");
    let result = match seen.get(&Probe::exec(["df", "-Pk", "--", path]))? {
        Observation::Exec(result) => result,
        other => return Err(Failure::new(format!("{what} cannot be told: {other:?}")).into()),
    };
    // Filesystem 1024-blocks Used Available Capacity Mounted
    let text = result.stdout.text().into_owned();
    let row = text
        .lines()
        .nth(1)
        .and_then(|l| l.rsplit_once('%'))
        .map(|(head, _)| head.split_whitespace().collect::<Vec<_>>());
    let number = |at: usize| {
        let row = row.as_ref()?;
        row.get(row.len().checked_sub(at)?)?.parse::<u64>().ok()
    };
    match (number(4), number(2)) {
        (Some(all), Some(free)) => Ok(room(what, min, free * 1024, all * 1024)),
        _ => Ok(Verdict::new(
            what,
            room_text(min),
            squeeze(&result.stderr.text()),
            false,
        )),
    }
}

fn free_memory(seen: &Seen<'_>, min: Size) -> Result<Verdict, Stop> {
    let text = seen.read(MEMINFO)?.map(|c| c.text().into_owned()).unwrap_or_default();
    let field = |name: &str| {
        text.lines().find_map(|l| {
            l.strip_prefix(name)?
                .strip_prefix(':')?
                .split_whitespace()
                .next()?
                .parse::<u64>()
                .ok()
        })
    };
    match (field("MemAvailable"), field("MemTotal")) {
        (Some(free), Some(all)) => Ok(room("available memory".to_owned(), min, free * 1024, all * 1024)),
        _ => Err(Failure::new(format!("{MEMINFO} does not tell how much memory is available")).into()),
    }
}

fn room(what: String, min: Size, free: u64, all: u64) -> Verdict {
    let percent = (free * 100).checked_div(all).unwrap_or(0);
    let holds = match min {
        Size::Bytes(min) => free >= min,
        Size::Percent(min) => percent >= min,
    };
    Verdict::new(what, room_text(min), format!("{} ({percent}%)", human(free)), holds)
}

fn room_text(min: Size) -> String {
    match min {
        Size::Bytes(n) => format!("at least {}", human(n)),
        Size::Percent(n) => format!("at least {n}%"),
    }
}

/// Bytes in the largest unit that leaves a whole number before the point.
fn human(bytes: u64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let power = units
        .iter()
        .enumerate()
        .rev()
        .find(|(n, _)| bytes >> (10 * n) > 0)
        .map_or(0, |(n, _)| n);
    let value = bytes as f64 / (1_u64 << (10 * power)) as f64;
    let unit = units.get(power).copied().unwrap_or("B");
    if value.fract() == 0.0 {
        format!("{value} {unit}")
    } else {
        format!("{value:.1} {unit}")
    }
}
