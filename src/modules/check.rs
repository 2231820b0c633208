//! `check`: what must be true of a running host. Changes nothing.

mod file;
mod form;
mod queue;
mod rabbitmq;
mod room;
mod service;

use self::file::FileCheck;
use self::form::{numbers, prepare};
use self::queue::{Queue, queues};
use self::room::{MEMINFO, Size, free_disk, free_memory};
use self::service::{limit_of, process_of, service_is};
use super::disk;
use super::knob::{self, Choices, cpu_text, squeeze};
use super::unit;
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

enum Bound {
    Is(String),
    Min(Vec<i128>),
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
