//! Limits of a service: systemd's words for them, and the drop-in of the unit.

use super::Pick;
use crate::host::{Layer, Probe};
use crate::modules::knob::Edits;
use crate::modules::unit::{self, DropIn, Process, Unit};
use crate::modules::{Action, Decision, Failure, Report, Seen, Stop};

pub const DROP_IN: &str = "60-rmqplay-limits.conf";
const ENV_CONF: &str = "/etc/rabbitmq/rabbitmq-env.conf";
pub const NR_OPEN: &str = "/proc/sys/fs/nr_open";
/// What RabbitMQ's start script sets `ERL_MAX_PORTS` to if nobody has: more descriptors than this are not used.
const ERL_MAX_PORTS: u64 = 65536;

/// A limit; `None` is unlimited.
pub type Limit = Option<u64>;

/// A limit in PAM's, systemd's and the kernel's words.
pub struct Directive {
    pub item: &'static str,
    pub directive: &'static str,
    /// In `/proc/PID/limits`.
    pub kernel: &'static str,
    pub unit: Scale,
}

#[derive(Clone, Copy, PartialEq)]
pub enum Scale {
    Plain,
    Kib,
    Minutes,
    /// `nice` -20..19 is the resource limit 40..1.
    Nice,
}

const fn directive(item: &'static str, directive: &'static str, kernel: &'static str, unit: Scale) -> Directive {
    Directive {
        item,
        directive,
        kernel,
        unit,
    }
}

pub static DIRECTIVES: &[Directive] = &[
    directive("nofile", "LimitNOFILE", "Max open files", Scale::Plain),
    directive("nproc", "LimitNPROC", "Max processes", Scale::Plain),
    directive("core", "LimitCORE", "Max core file size", Scale::Kib),
    directive("data", "LimitDATA", "Max data size", Scale::Kib),
    directive("fsize", "LimitFSIZE", "Max file size", Scale::Kib),
    directive("memlock", "LimitMEMLOCK", "Max locked memory", Scale::Kib),
    directive("rss", "LimitRSS", "Max resident set", Scale::Kib),
    directive("stack", "LimitSTACK", "Max stack size", Scale::Kib),
    directive("as", "LimitAS", "Max address space", Scale::Kib),
    directive("cpu", "LimitCPU", "Max cpu time", Scale::Minutes),
    directive("locks", "LimitLOCKS", "Max file locks", Scale::Plain),
    directive("sigpending", "LimitSIGPENDING", "Max pending signals", Scale::Plain),
    directive("msgqueue", "LimitMSGQUEUE", "Max msgqueue size", Scale::Plain),
    directive("nice", "LimitNICE", "Max nice priority", Scale::Nice),
    directive("rtprio", "LimitRTPRIO", "Max realtime priority", Scale::Plain),
];

/// Items that a process has, for `check`.
pub const SERVICE_ITEMS: [&str; 15] = [
    "nofile",
    "nproc",
    "core",
    "data",
    "fsize",
    "memlock",
    "rss",
    "stack",
    "as",
    "cpu",
    "locks",
    "sigpending",
    "msgqueue",
    "nice",
    "rtprio",
];

/// The kernel's name of a limit (as in `/proc/PID/limits`) and its number for a value in PAM's units (`None`: unlimited).
pub fn kernel(item: &str, value: &str) -> Option<(&'static str, Option<u64>)> {
    let directive = DIRECTIVES.iter().find(|d| d.item == item)?;
    Some((directive.kernel, directive.raw(value)?))
}

impl Directive {
    /// PAM's value → the kernel's number.
    pub fn raw(&self, text: &str) -> Option<Limit> {
        if matches!(text, "unlimited" | "infinity") || (text == "-1" && self.unit != Scale::Nice) {
            return Some(None);
        }
        let number: i64 = text.parse().ok()?;
        let raw = match self.unit {
            Scale::Plain => u64::try_from(number).ok()?,
            Scale::Kib => u64::try_from(number).ok()?.checked_mul(1024)?,
            Scale::Minutes => u64::try_from(number).ok()?.checked_mul(60)?,
            Scale::Nice => u64::try_from(20 - number).ok()?,
        };
        Some(Some(raw))
    }

    /// As a unit file says it.
    fn text(&self, limit: Limit) -> String {
        match (limit, self.unit) {
            (None, _) => "infinity".to_owned(),
            (Some(n), Scale::Kib) if n % 1024 == 0 && n > 0 => format!("{}K", n / 1024),
            (Some(n), Scale::Minutes) if n > 0 => format!("{n}s"),
            (Some(n), Scale::Nice) => format!("{:+}", 20_i128 - i128::from(n)),
            (Some(n), _) => n.to_string(),
        }
    }

    /// What a unit file says → the kernel's number; `None` where it is not understood.
    fn parse(&self, text: &str) -> Option<Limit> {
        let text = text.trim();
        if text == "infinity" {
            return Some(None);
        }
        let (number, suffix) = text.split_at(
            text.find(|c: char| !c.is_ascii_digit() && !"+-".contains(c))
                .unwrap_or(text.len()),
        );
        if self.unit == Scale::Nice && number.starts_with(['+', '-']) {
            return Some(u64::try_from(20 - number.parse::<i64>().ok()?).ok());
        }
        let factor = match (self.unit, suffix.trim()) {
            (_, "") => 1,
            (Scale::Minutes, "s" | "sec") => 1,
            (Scale::Minutes, "m" | "min") => 60,
            (Scale::Minutes, "h") => 3600,
            (Scale::Minutes, _) => return None,
            (_, "K") => 1 << 10,
            (_, "M") => 1 << 20,
            (_, "G") => 1 << 30,
            (_, "T") => 1 << 40,
            _ => return None,
        };
        Some(Some(number.parse::<u64>().ok()?.checked_mul(factor)?))
    }

    /// `soft:hard` or one number for both.
    fn pair(&self, text: &str) -> Option<(Limit, Limit)> {
        match text.split_once(':') {
            Some((soft, hard)) => Some((self.parse(soft)?, self.parse(hard)?)),
            None => self.parse(text).map(|both| (both, both)),
        }
    }

    fn pair_text(&self, (soft, hard): (Limit, Limit)) -> String {
        if soft == hard {
            self.text(hard)
        } else {
            format!("{}:{}", self.text(soft), self.text(hard))
        }
    }
}

pub struct Service {
    pub unit: String,
    pub directive: &'static Directive,
    pub kind: String,
    pub value: Option<Limit>,
    pub pick: Pick,
}

impl Service {
    /// The drop-in for settings that are no limits, as `systemd_dropin` names it.
    fn settings(&self) -> String {
        unit::drop_in_path(&self.unit, unit::SETTINGS)
    }

    fn is_rabbitmq(&self) -> bool {
        self.unit.contains("rabbitmq")
    }

    /// What of a pair this task is about.
    fn part(&self, (soft, hard): (Limit, Limit)) -> String {
        let shown = |l: Limit| l.map_or_else(|| "unlimited".to_owned(), |n| n.to_string());
        match self.kind.as_str() {
            "soft" => shown(soft),
            "hard" => shown(hard),
            _ if soft == hard => shown(hard),
            _ => format!("{}:{}", shown(soft), shown(hard)),
        }
    }

    /// The pair with the wanted part in it.
    fn merged(&self, (soft, hard): (Limit, Limit), value: Limit) -> Result<(Limit, Limit), Failure> {
        let higher = |a: Limit, b: Limit| a.is_none_or(|a| b.is_some_and(|b| a > b)) && a != b;
        let pick = |there: Limit| {
            let rank = |l: Limit| l.map_or(i128::MAX, i128::from);
            if self.pick.keeps(&rank(there), &rank(value)) {
                there
            } else {
                value
            }
        };
        match self.kind.as_str() {
            "soft" if higher(pick(soft), hard) => {
                let failure = Failure::new(format!(
                    "soft {} of {} would be above hard, which is {}",
                    self.directive.item,
                    unit::full_name(&self.unit),
                    self.directive.text(hard)
                ));
                Err(failure.help("set both with `limit_type: '-'`"))
            }
            "soft" => Ok((pick(soft), hard)),
            "hard" => {
                let hard = pick(hard);
                Ok((if higher(soft, hard) { hard } else { soft }, hard))
            }
            _ => Ok((pick(soft), pick(hard))),
        }
    }

    /// systemd's loaded values.
    fn loaded(&self, unit: &Unit) -> Option<(Limit, Limit)> {
        let read = |property: &str| match unit.get(property)? {
            "infinity" => Some(None),
            number => number.parse().ok().map(Some),
        };
        let hard = read(self.directive.directive)?;
        Some((read(&format!("{}Soft", self.directive.directive)).unwrap_or(hard), hard))
    }
}

impl Action for Service {
    fn probes(&self) -> Vec<Probe> {
        let mut probes = vec![
            Probe::read(unit::drop_in_path(&self.unit, DROP_IN)),
            unit::show(&self.unit),
            unit::process(&self.unit),
        ];
        if self.directive.item == "nofile" && self.value.is_some() {
            probes.push(Probe::read(NR_OPEN));
            if self.is_rabbitmq() {
                probes.push(Probe::read(ENV_CONF));
                probes.push(Probe::read(self.settings()));
            }
        }
        probes
    }

    fn decide(&self, seen: &Seen<'_>) -> Result<Decision, Stop> {
        seen.want(&self.probes())?;
        let mut file = DropIn::seen(seen, &self.unit, DROP_IN)?;
        let path = file.path.clone();
        let unit = Unit::seen(seen, &self.unit)?;
        let process = Process::seen(seen, &self.unit)?;
        let directive = self.directive;
        let knob = format!("{} of {}", directive.item, unit.short());
        let own = file.now(directive.directive).last().and_then(|v| directive.pair(v));
        let loaded = self.loaded(&unit);

        let mut report = Report::new();
        let (assignments, target) = match self.value {
            None => (Vec::new(), None),
            Some(value) => {
                let pair = self.merged(own.or(loaded).unwrap_or((value, value)), value)?;
                let pair = if self.kind == "-" && self.pick == Pick::Wanted {
                    (value, value)
                } else {
                    pair
                };
                report = self.check(seen, &unit, report, pair)?;
                (vec![directive.pair_text(pair)], Some(pair))
            }
        };
        // With `use_max` and `use_min` what the unit has already may do.
        let enough = own.is_none() && self.pick != Pick::Wanted && target.is_some() && target == loaded;
        if !enough && (own.is_none() || own != target) {
            file.set(directive.directive, &assignments);
        }
        let mut edits = Edits::default();
        let outdated = unit.is_outdated(&path, file.is_there());
        report = file.settle(&unit, &mut edits, report)?;
        let Some(target) = target else {
            return Ok(edits.decision(report.msg(format!("{path} sets no {}", directive.directive))));
        };
        let running = process.as_ref().and_then(|p| {
            let (soft, hard) = p.limits.get(directive.kernel)?;
            let read = |v: &str| {
                if v == "unlimited" {
                    Some(None)
                } else {
                    v.parse().ok().map(Some)
                }
            };
            Some((p.pid, (read(soft)?, read(hard)?)))
        });
        let wanted = self.part(target);
        if edits.is_empty() {
            match loaded {
                Some(loaded) if unit.exists() && self.part(loaded) != wanted => {
                    report = report.warn(unit.overridden(
                        &path,
                        &format!("{}={}", directive.directive, directive.pair_text(loaded)),
                    ));
                }
                _ => {}
            }
            if let Some((pid, now)) = running
                && self.part(now) != wanted
                && loaded.is_none_or(|loaded| self.part(loaded) == wanted)
            {
                report = report.pending(format!(
                    "process {pid} of {} has {} {}, not {wanted}: a restart gives it the new limit, unless a container allows no more",
                    unit.name,
                    directive.item,
                    self.part(now)
                ));
            }
        }
        let (in_file, source) = match (own, loaded) {
            (_, Some(loaded)) if unit.exists() && !outdated => (
                Some(self.part(loaded)),
                if own.is_some_and(|own| own == loaded) {
                    Some(path.clone())
                } else {
                    unit.last_file(&path)
                },
            ),
            (Some(own), _) => (Some(self.part(own)), Some(path.clone())),
            (None, _) => (Some("not set".to_owned()), None),
        };
        report.layers.push(Layer {
            knob,
            desired: wanted,
            file: in_file,
            live: loaded.filter(|_| unit.exists()).map(|l| self.part(l)),
            read_only: false,
            process: running.map(|(_, now)| self.part(now)),
            source,
        });
        Ok(edits.decision(report.msg(format!("{}={}", directive.directive, directive.pair_text(target)))))
    }
}

impl Service {
    /// What else must be true for the limit to be had.
    fn check(
        &self,
        seen: &Seen<'_>,
        unit: &Unit,
        mut report: Report,
        (_, hard): (Limit, Limit),
    ) -> Result<Report, Stop> {
        if self.directive.item != "nofile" {
            return Ok(report);
        }
        let nr_open: Limit = seen.read_line(NR_OPEN)?.and_then(|v| v.trim().parse().ok());
        match (hard, nr_open) {
            (Some(hard), Some(nr_open)) if hard > nr_open => {
                return Err(Failure::new(format!(
                    "{} cannot have {hard} open files: the kernel allows a process {nr_open} (fs.nr_open), the service would not start",
                    unit.name
                ))
                .help(format!("raise it first: sysctl: {{name: fs.nr_open, value: {hard}, only_raise: true}}"))
                .into());
            }
            _ => {}
        }
        if !self.is_rabbitmq() {
            return Ok(report);
        }
        // A drop-in of ours tells also what systemd has not read yet, as in a dry run.
        let own = seen
            .read(&self.settings())?
            .and_then(|c| variable(&c.text(), "ERL_MAX_PORTS"));
        let ports = match own.or_else(|| unit.environment("ERL_MAX_PORTS")) {
            Some(value) => Some(value),
            None => seen.read(ENV_CONF)?.and_then(|c| env_value(&c.text(), "ERL_MAX_PORTS")),
        };
        let enough = |hard: u64| {
            ports
                .as_ref()
                .is_some_and(|p| p.parse::<u64>().is_ok_and(|p| p >= hard))
        };
        match hard {
            None => {
                report = report.warn("without a limit of open files the Erlang VM reserves memory for all it could ever open; name a number");
            }
            Some(hard) if hard > ERL_MAX_PORTS && !enough(hard) => {
                report = report.warn(format!(
                    "the Erlang VM uses {} of {hard} files: RabbitMQ needs ERL_MAX_PORTS={hard} in the unit's environment too",
                    ports.as_deref().unwrap_or("65536")
                ));
            }
            _ => {}
        }
        Ok(report)
    }
}

/// A variable of `Environment=` in the text of a drop-in.
fn variable(text: &str, name: &str) -> Option<String> {
    unit::values(text, "Service", "Environment")
        .iter()
        .filter_map(|value| shlex::split(value))
        .flatten()
        .filter_map(|pair| pair.strip_prefix(name)?.strip_prefix('=').map(str::to_owned))
        .next_back()
}

/// The value of an assignment in a file of shell assignments.
fn env_value(text: &str, name: &str) -> Option<String> {
    text.lines().rev().find_map(|line| {
        let line = line.trim();
        let value = line
            .strip_prefix("export ")
            .unwrap_or(line)
            .trim_start()
            .strip_prefix(name)?
            .strip_prefix('=')?;
        Some(value.trim().trim_matches(['"', '\'']).to_owned())
    })
}
