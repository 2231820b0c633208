//! `ionice`: the I/O priority of a service.

use super::disk::{self, Disks};
use super::knob::{self, Edits};
use super::unit::{self, DropIn, Unit};
use super::{Action, ArgError, ArgKind, ArgSpec, Args, Decision, Kind, ModuleSpec, Prepare, Report, Seen, Stop};
use crate::host::{Delta, Layer, Probe};
use serde_json::{Map, Value};

const DROP_IN: &str = "60-rmqplay-io.conf";
const DEFAULT_PATH: &str = "/var/lib/rabbitmq";

pub static SPEC: ModuleSpec = ModuleSpec {
    name: "ionice",
    aliases: &[],
    summary: "I/O priority of a service: its unit, and the running process with all threads",
    description: "\
Writes `IOSchedulingClass=` and `IOSchedulingPriority=` to a drop-in of the unit (`/etc/systemd/system/UNIT.d/60-rmqplay-io.conf`), \
lets systemd read it, and sets every thread of the running main process (`ionice -p`, since the priority belongs to the thread).

Only the schedulers `bfq` and `mq-deadline` (since Linux 5.14) honour priorities: the task warns when the disk of `path` has \
another one. The real-time class can starve the rest of the system.",
    args: &[
        ArgSpec::new("service", ArgKind::Str, "systemd unit.").required().aliases(&["unit"]),
        ArgSpec::new("class", ArgKind::Str, "Scheduling class; 1, 2 and 3 are real-time, best-effort and idle.")
            .default("best-effort")
            .choices(&["realtime", "best-effort", "idle", "1", "2", "3"]),
        ArgSpec::new("priority", ArgKind::Int, "0 (first) to 7; the idle class has none.").default("4").aliases(&["level"]),
        ArgSpec::new("path", ArgKind::Path, "Whose disk decides whether priorities count.").default(DEFAULT_PATH),
        ArgSpec::new("state", ArgKind::Str, "`absent` takes the settings out of the drop-in; the process stays as it is.")
            .default("present")
            .choices(&["present", "absent"]),
        ArgSpec::new("live", ArgKind::Bool, "Set the running process too.").default("true"),
    ],
    free_form: None,
    open: false,
    returns: &[],
    examples: "\
- name: the broker's I/O goes first among equals
  ionice:
    service: rabbitmq-server
    class: best-effort
    priority: 0
",
    local: true,
    kind: Kind::Host(prepare),
    ahead,
};

/// Priorities of all threads of a unit's main process, counted.
const THREADS: &str = r#"pid=$(systemctl show -p MainPID --value -- "$1" 2>/dev/null)
case $pid in ''|0|*[!0-9]*) exit 0;; esac
cd "/proc/$pid/task" 2>/dev/null || exit 0
echo "pid $pid"
ionice -p * 2>/dev/null | sort | uniq -c"#;

/// Sets all threads, one by one: one that has ended meanwhile is no failure.
const SET: &str = r#"cd "/proc/$3/task" || exit 1
for t in *; do ionice -c "$1" ${2:+-n "$2"} -p "$t" || [ ! -e "$t" ] || exit 1; done"#;

fn threads_probe(unit: &str) -> Probe {
    Probe::exec(["sh", "-c", THREADS, "sh", &unit::full_name(unit)])
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Priority {
    /// 0 none, 1 realtime, 2 best-effort, 3 idle.
    class: u8,
    level: u8,
}

const CLASSES: [&str; 4] = ["none", "realtime", "best-effort", "idle"];

impl Priority {
    fn class(text: &str) -> Option<u8> {
        let found = CLASSES
            .iter()
            .position(|c| *c == text)
            .and_then(|n| u8::try_from(n).ok());
        found.or_else(|| text.parse().ok().filter(|n| *n <= 3))
    }

    /// `best-effort: prio 4`, `idle`, `none: prio 0`, as `ionice` prints.
    fn printed(text: &str) -> Option<Priority> {
        let (class, level) = text.split_once(": prio ").unwrap_or((text, "0"));
        Some(Priority {
            class: Priority::class(class.trim())?,
            level: level.trim().parse().ok()?,
        })
    }

    fn text(self) -> String {
        let class = CLASSES.get(usize::from(self.class)).copied().unwrap_or("?");
        if matches!(self.class, 1 | 2) {
            format!("{class} {}", self.level)
        } else if self.class == 0 {
            // Nobody has asked for one: best-effort, at a level that follows from the nice value (ioprio_set(2)).
            "none (by nice value)".to_owned()
        } else {
            class.to_owned()
        }
    }

    fn same(self, other: Priority) -> bool {
        self.text() == other.text()
    }
}

struct IoNice {
    unit: String,
    wanted: Option<Priority>,
    path: String,
    live: bool,
}

fn prepare(args: &Args, _: &dyn Prepare) -> Result<Box<dyn Action>, ArgError> {
    let level = args
        .int("priority")
        .and_then(|n| u8::try_from(n).ok())
        .filter(|n| *n <= 7);
    let class = Priority::class(args.need("class")?);
    let (Some(class), Some(level)) = (class, level) else {
        return Err(ArgError::new("priority", "`priority` is a number from 0 to 7"));
    };
    if class == 3 && args.given("priority") {
        return Err(ArgError::new("priority", "the idle class has no priorities"));
    }
    let absent = args.str("state") == Some("absent");
    Ok(Box::new(IoNice {
        unit: args.need("service")?.to_owned(),
        wanted: (!absent).then_some(Priority { class, level }),
        path: args.need("path")?.to_owned(),
        live: args.bool("live"),
    }))
}

impl Action for IoNice {
    fn probes(&self) -> Vec<Probe> {
        vec![
            unit::show(&self.unit),
            threads_probe(&self.unit),
            Probe::read(unit::drop_in_path(&self.unit, DROP_IN)),
            disk::probe(Some(&self.path)),
        ]
    }

    fn decide(&self, seen: &Seen<'_>) -> Result<Decision, Stop> {
        seen.want(&self.probes())?;
        let unit = Unit::seen(seen, &self.unit)?;
        let mut file = DropIn::seen(seen, &self.unit, DROP_IN)?;
        let path = file.path.clone();
        let mut edits = Edits::default();
        let mut report = Report::new();

        let own = match (
            file.now("IOSchedulingClass").last(),
            file.now("IOSchedulingPriority").last(),
        ) {
            (None, None) => None,
            (class, level) => Some(Priority {
                class: class.and_then(|c| Priority::class(c)).unwrap_or(2),
                level: level.and_then(|l| l.parse().ok()).unwrap_or(4),
            }),
        };
        let loaded = unit
            .get("IOSchedulingClass")
            .and_then(Priority::class)
            .map(|class| Priority {
                class,
                level: unit
                    .get("IOSchedulingPriority")
                    .and_then(|l| l.parse().ok())
                    .unwrap_or(4),
            });
        let level = |p: Priority| {
            if p.class == 3 {
                Vec::new()
            } else {
                vec![p.level.to_string()]
            }
        };
        match self.wanted {
            Some(wanted) if own.is_none_or(|own| !own.same(wanted)) => {
                let class = CLASSES.get(usize::from(wanted.class)).copied().unwrap_or_default();
                file.set("IOSchedulingClass", &[class.to_owned()]);
                file.set("IOSchedulingPriority", &level(wanted));
            }
            Some(_) => {}
            None => {
                file.set("IOSchedulingClass", &[]);
                file.set("IOSchedulingPriority", &[]);
            }
        }
        report = file.settle(&unit, &mut edits, report)?;
        let Some(wanted) = self.wanted else {
            return Ok(edits.decision(report));
        };
        if edits.is_empty()
            && unit.exists()
            && let Some(loaded) = loaded.filter(|l| !l.same(wanted))
        {
            report = report.warn(unit.overridden(&path, &format!("I/O priority {}", loaded.text())));
        }
        let running = running(seen, &self.unit)?;
        if let Some((pid, threads)) = &running
            && self.live
            && !threads.is_empty()
            && threads.iter().any(|(_, p)| !p.same(wanted))
        {
            let set = |p: Priority| {
                let level = if matches!(p.class, 1 | 2) {
                    p.level.to_string()
                } else {
                    String::new()
                };
                knob::act(["sh", "-c", SET, "sh", &p.class.to_string(), &level, pid])
            };
            // Threads that differ among themselves cannot be put back one by one.
            let back = match threads[..] {
                [(_, only)] => Some(set(only)),
                _ => None,
            };
            let delta = Delta::value(
                format!("I/O priority of process {pid} (live)"),
                shown(threads),
                wanted.text(),
            );
            edits.exec(Some(delta), set(wanted), back);
        }
        if wanted.class == 1 {
            report = report.warn("the real-time class can starve everything else on the host, sshd too; best-effort 0 goes first without that");
        }
        report = self.scheduler(seen, report)?;
        report.layers.push(Layer {
            knob: format!("I/O priority of {}", unit.short()),
            desired: wanted.text(),
            file: Some(own.map_or_else(|| "not set".to_owned(), Priority::text)),
            live: loaded.filter(|_| unit.exists()).map(|p| match p {
                // What systemd also says of a unit that sets none.
                Priority { class: 2, level: 4 } if own.is_none() && !p.same(wanted) => {
                    "best-effort 4 (default)".to_owned()
                }
                p => p.text(),
            }),
            read_only: false,
            process: running
                .filter(|(_, t)| !t.is_empty())
                .map(|(_, threads)| shown(&threads)),
            source: own.map(|_| path),
        });
        Ok(edits.decision(report))
    }
}

impl IoNice {
    /// Warns of disks whose scheduler takes no notice.
    fn scheduler(&self, seen: &Seen<'_>, mut report: Report) -> Result<Report, Stop> {
        let disks = Disks::parse(&knob::aside(seen, &disk::probe(Some(&self.path)))?);
        let Ok(top) = disks.top_of_path(&self.path) else {
            return Ok(report);
        };
        for name in disks.bottom(&top) {
            let scheduler = disks.disks.get(&name).and_then(|d| d.scheduler.as_ref());
            if let Some(scheduler) = scheduler.filter(|s| matches!(s.on.as_str(), "none" | "noop" | "kyber")) {
                report = report.warn(format!(
                    "I/O priorities change nothing on {name}: its scheduler `{}` takes no notice of them (`bfq` and `mq-deadline` do)",
                    scheduler.on
                ));
            }
        }
        Ok(report)
    }
}

/// Process number, and threads by priority.
type Running = (String, Vec<(usize, Priority)>);

fn running(seen: &Seen<'_>, unit: &str) -> Result<Option<Running>, Stop> {
    let text = knob::aside(seen, &threads_probe(unit))?;
    let mut lines = text.lines();
    let Some(pid) = lines.next().and_then(|l| l.strip_prefix("pid ")) else {
        return Ok(None);
    };
    let threads = lines.filter_map(|line| {
        let (count, priority) = line.trim().split_once(' ')?;
        Some((count.parse().ok()?, Priority::printed(priority)?))
    });
    Ok(Some((pid.to_owned(), threads.collect())))
}

fn shown(threads: &[(usize, Priority)]) -> String {
    match threads {
        [(_, all)] => all.text(),
        some => some
            .iter()
            .map(|(n, p)| format!("{} ({})", p.text(), knob::count(*n, "thread")))
            .collect::<Vec<_>>()
            .join(", "),
    }
}

fn ahead(args: &Map<String, Value>) -> Vec<Probe> {
    match args.get("service").or(args.get("unit")).and_then(Value::as_str) {
        Some(unit) => vec![
            unit::show(unit),
            threads_probe(unit),
            Probe::read(unit::drop_in_path(unit, DROP_IN)),
            disk::probe(Some(args.get("path").and_then(Value::as_str).unwrap_or(DEFAULT_PATH))),
        ],
        None => Vec::new(),
    }
}
