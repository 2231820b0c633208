//! systemd units as modules see them: what systemd has loaded, what the running main process has, and the text
//! of unit files and drop-ins.

mod loaded;

pub use self::loaded::reloaded;
use super::knob::Edits;
use super::{Failure, Report, Seen, Stop};
use crate::host::{Content, Delta, Effect, ExecResult, Observation, Op, Probe};
use std::collections::BTreeMap;

/// What [`show`] asks for. One list for all modules, so that equal looks are made once.
const PROPERTIES: &str = "Id,Names,Description,Type,LoadState,LoadError,ActiveState,SubState,Result,UnitFileState,\
UnitFilePreset,MainPID,NRestarts,NeedDaemonReload,FragmentPath,DropInPaths,ExecMainStartTimestamp,\
ActiveEnterTimestamp,CanReload,Environment,CPUAffinity,IOSchedulingClass,IOSchedulingPriority,OOMScoreAdjust,\
TimeoutStopUSec,LimitCPU,LimitCPUSoft,LimitFSIZE,LimitFSIZESoft,LimitDATA,LimitDATASoft,LimitSTACK,LimitSTACKSoft,\
LimitCORE,LimitCORESoft,LimitRSS,LimitRSSSoft,LimitNOFILE,LimitNOFILESoft,LimitAS,LimitASSoft,LimitNPROC,\
LimitNPROCSoft,LimitMEMLOCK,LimitMEMLOCKSoft,LimitLOCKS,LimitLOCKSSoft,LimitSIGPENDING,LimitSIGPENDINGSoft,\
LimitMSGQUEUE,LimitMSGQUEUESoft,LimitNICE,LimitNICESoft,LimitRTPRIO,LimitRTPRIOSoft";

/// Our drop-in for settings that no module of their own writes.
pub const SETTINGS: &str = "60-rmqplay.conf";

/// Limits and CPU affinity of a unit's main process and its threads, found on the host in one go because the
/// process id is not known before.
const PROCESS: &str = r#"case $1 in *[!0-9]*) pid=$(systemctl show -p MainPID --value -- "$1" 2>/dev/null);; *) pid=$1;; esac
case $pid in ''|0|*[!0-9]*) echo 'pid 0'; exit 0;; esac
[ -r "/proc/$pid/limits" ] || { echo 'pid 0'; exit 0; }
echo "pid $pid"
cat "/proc/$pid/limits"
cat /proc/"$pid"/task/*/status 2>/dev/null | grep '^Cpus_allowed_list:' | sort | uniq -c"#;

/// `rabbitmq-server` → `rabbitmq-server.service`; a name with a unit suffix stays.
pub fn full_name(name: &str) -> String {
    const SUFFIXES: [&str; 11] = [
        ".service",
        ".socket",
        ".timer",
        ".mount",
        ".automount",
        ".target",
        ".path",
        ".slice",
        ".scope",
        ".swap",
        ".device",
    ];
    if SUFFIXES.iter().any(|s| name.ends_with(s)) {
        name.to_owned()
    } else {
        format!("{name}.service")
    }
}

/// `systemctl show` of a unit (a name as the user wrote it).
pub fn show(unit: &str) -> Probe {
    Probe::exec([
        "systemctl",
        "show",
        &format!("--property={PROPERTIES}"),
        "--",
        &full_name(unit),
    ])
}

/// The running main process of a unit: limits and CPU affinity.
pub fn process(unit: &str) -> Probe {
    Probe::exec(["sh", "-c", PROCESS, "sh", &full_name(unit)])
}

/// The same of a process by its number.
pub fn process_of(pid: u32) -> Probe {
    Probe::exec(["sh", "-c", PROCESS, "sh", &pid.to_string()])
}

/// Makes systemd read unit files again; changes nothing a look could see but `NeedDaemonReload`.
pub fn daemon_reload() -> Op {
    Op::exec(["systemctl", "daemon-reload"], Effect::Nothing)
}

/// A unit as systemd has it loaded.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Unit {
    /// With suffix.
    pub name: String,
    /// systemd answers on this host; if not, nothing else is known.
    pub managed: bool,
    /// Dry run: why nothing is known of it yet.
    pub unknown: Option<String>,
    /// Properties as `systemctl show` writes them.
    pub properties: BTreeMap<String, String>,
}

impl Unit {
    /// From the answer to [`show`]; a host without (running) systemd is no failure here, nor is what a dry run cannot know.
    pub fn seen(seen: &Seen<'_>, unit: &str) -> Result<Unit, Stop> {
        match seen.raw(&show(unit))? {
            Observation::Exec(result) => Ok(Unit::parse(unit, &result)),
            Observation::Unknown(why) => Ok(Unit {
                name: full_name(unit),
                unknown: Some(why),
                ..Unit::default()
            }),
            Observation::Failed(text) => Err(Failure::new(text).into()),
            other => Err(Failure::new(format!("systemctl cannot have answered {other:?}")).into()),
        }
    }

    pub fn parse(unit: &str, result: &ExecResult) -> Unit {
        let properties: BTreeMap<String, String> = result
            .stdout
            .text()
            .lines()
            .filter_map(|line| line.split_once('='))
            .map(|(k, v)| (k.to_owned(), v.to_owned()))
            .collect();
        Unit {
            name: full_name(unit),
            unknown: None,
            managed: result.ok() && properties.contains_key("LoadState"),
            properties,
        }
    }

    /// A property, `None` where it is empty or systemd does not have it.
    pub fn get(&self, property: &str) -> Option<&str> {
        self.properties
            .get(property)
            .map(String::as_str)
            .filter(|v| !v.is_empty())
    }

    /// The name as it is said: without `.service`.
    pub fn short(&self) -> &str {
        self.name.strip_suffix(".service").unwrap_or(&self.name)
    }

    /// systemd knows a file for it (or it is masked).
    pub fn exists(&self) -> bool {
        self.managed && self.get("LoadState") != Some("not-found")
    }

    /// `active`, and not only on its way there.
    pub fn is_active(&self) -> bool {
        self.get("ActiveState") == Some("active")
    }

    /// Files on disk differ from what is loaded.
    pub fn needs_reload(&self) -> bool {
        self.get("NeedDaemonReload") == Some("yes")
    }

    /// systemd has not read a drop-in as it is on disk. `NeedDaemonReload` alone does not tell: systemd 252 says `no` of
    /// a drop-in in a directory that was not there when it last read the unit.
    pub fn is_outdated(&self, drop_in: &str, on_disk: bool) -> bool {
        let listed = self.drop_ins().contains(&drop_in);
        self.needs_reload()
            || (self.get("LoadState") == Some("loaded")
                && self.properties.contains_key("DropInPaths")
                && listed != on_disk)
    }

    pub fn main_pid(&self) -> Option<u32> {
        self.get("MainPID").and_then(|v| v.parse().ok()).filter(|pid| *pid != 0)
    }

    /// Loaded drop-ins, in the order in which they apply.
    pub fn drop_ins(&self) -> Vec<&str> {
        self.get("DropInPaths")
            .map(|v| v.split_whitespace().collect())
            .unwrap_or_default()
    }

    /// The file that counts where `own` does not: the last drop-in but ours, else the unit's own file.
    pub fn last_file(&self, own: &str) -> Option<String> {
        let ours = |path: &str| path == own || path.ends_with(&format!("/{SETTINGS}"));
        let other = self.drop_ins().into_iter().rev().find(|p| !ours(p));
        other.or(self.get("FragmentPath")).map(str::to_owned)
    }

    /// Our drop-in is right and loaded, and yet another value counts: says so, and where to look.
    pub fn overridden(&self, own: &str, value: &str) -> String {
        let later: Vec<&str> = self.drop_ins().into_iter().skip_while(|p| *p != own).skip(1).collect();
        if later.is_empty() {
            format!("{} has {value} although {own} says otherwise", self.name)
        } else {
            format!("{} has {value}: {} wins over {own}", self.name, later.join(" or "))
        }
    }

    /// What systemd has loaded for a setting of `[Service]`, as [`canonical`] writes it; of `Environment` the variable that
    /// `wanted` names. `None` where [`show`] does not ask for it.
    pub fn effective(&self, key: &str, wanted: &str) -> Option<String> {
        let property = match key {
            "Environment" => {
                let name = wanted.split_once('=')?.0;
                return Some(
                    self.environment(name)
                        .map_or_else(|| "not set".to_owned(), |v| format!("{name}={v}")),
                );
            }
            "TimeoutStopSec" => "TimeoutStopUSec",
            "CPUAffinity" | "OOMScoreAdjust" | "IOSchedulingPriority" | "Type" => key,
            limit if limit.starts_with("Limit") && !wanted.contains(':') => limit,
            _ => return None,
        };
        Some(
            self.get(property)
                .map_or_else(|| "not set".to_owned(), |v| canonical(key, v)),
        )
    }

    /// A variable of `Environment=` (environment files are not in it).
    pub fn environment(&self, name: &str) -> Option<String> {
        shlex::split(self.get("Environment")?)?
            .into_iter()
            .rev()
            .find_map(|pair| pair.strip_prefix(name)?.strip_prefix('=').map(str::to_owned))
    }
}

/// A running process as `/proc` shows it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Process {
    pub pid: u32,
    /// By the kernel's name (`Max open files`): soft, hard; numbers or `unlimited`.
    pub limits: BTreeMap<String, (String, String)>,
    /// Numbers of threads by the list of CPUs they may use (`0-3,8`).
    pub cpus: Vec<(u32, String)>,
}

impl Process {
    /// From the answer to [`process`]; `None` where nothing runs.
    pub fn seen(seen: &Seen<'_>, unit: &str) -> Result<Option<Process>, Stop> {
        Process::at(seen, &process(unit))
    }

    /// From the answer to `probe`, [`process`] or [`process_of`]. What a dry run cannot know is `None` too.
    pub fn at(seen: &Seen<'_>, probe: &Probe) -> Result<Option<Process>, Stop> {
        Ok(Process::parse(&super::knob::aside(seen, probe)?))
    }

    pub fn parse(text: &str) -> Option<Process> {
        let mut lines = text.lines();
        let pid = lines
            .next()?
            .strip_prefix("pid ")?
            .trim()
            .parse()
            .ok()
            .filter(|p| *p != 0)?;
        let mut found = Process {
            pid,
            ..Process::default()
        };
        for line in lines {
            if let Some((count, list)) = line.split_once("Cpus_allowed_list:") {
                if let Ok(count) = count.trim().parse() {
                    found.cpus.push((count, list.trim().to_owned()));
                }
            } else if let Some((name, soft, hard)) = limit_line(line) {
                found.limits.insert(name, (soft, hard));
            }
        }
        Some(found)
    }
}

/// A line of `/proc/PID/limits`: columns at 0, 26, 47 and 68 (kernel `fs/proc/base.c`, `%-25s %-20s %-20s %-10s`).
fn limit_line(line: &str) -> Option<(String, String, String)> {
    let name = line.get(..25)?.trim();
    let mut rest = line.get(25..)?.split_whitespace();
    let (soft, hard) = (rest.next()?, rest.next()?);
    let value = |v: &str| v == "unlimited" || v.bytes().all(|b| b.is_ascii_digit());
    (name.starts_with("Max ") && value(soft) && value(hard))
        .then(|| (name.to_owned(), soft.to_owned(), hard.to_owned()))
}

/// Path of a drop-in of ours: `/etc/systemd/system/UNIT.d/NAME`.
pub fn drop_in_path(unit: &str, name: &str) -> String {
    format!("/etc/systemd/system/{}.d/{name}", full_name(unit))
}

/// A drop-in of ours: what it is, and what it shall be.
pub struct DropIn {
    pub path: String,
    content: Option<Content>,
    before: String,
    after: String,
    /// The file is not kept line by line but is this (`None`: absent).
    whole: Option<Option<String>>,
}

impl DropIn {
    pub fn seen(seen: &Seen<'_>, unit: &str, name: &str) -> Result<DropIn, Stop> {
        let path = drop_in_path(unit, name);
        let content = seen.read(&path)?;
        let before = content.as_ref().map(|c| c.text().into_owned()).unwrap_or_default();
        Ok(DropIn {
            path,
            content,
            after: before.clone(),
            before,
            whole: None,
        })
    }

    /// The file exists.
    pub fn is_there(&self) -> bool {
        self.content.is_some()
    }

    /// Values of a key of `[Service]` in the file as it is.
    pub fn now(&self, key: &str) -> Vec<String> {
        values(&self.before, "Service", key)
    }

    /// Sets a key of `[Service]`; no values: takes it out.
    pub fn set(&mut self, key: &str, values: &[String]) {
        self.after = with_values(&self.after, "Service", key, values);
    }

    /// All of the file; `None`: it goes.
    pub fn replace(&mut self, text: Option<String>) {
        self.whole = Some(text);
    }

    /// Adds what is to be done: the file (removed when nothing is set in it any more), and systemd's reading of it.
    ///
    /// A dry run that cannot know the unit still knows that a file will change; where it does not, it cannot know whether
    /// systemd has read it.
    pub fn settle(self, unit: &Unit, edits: &mut Edits, mut report: Report) -> Result<Report, Stop> {
        let after = self.whole.unwrap_or_else(|| {
            let mut text = self.after;
            if self.content.is_none() && !text.is_empty() {
                text.insert_str(0, super::knob::HEADER);
            }
            let untouched = text == self.before && self.content.is_some();
            (untouched || has_settings(&text)).then_some(text)
        });
        let was = edits.len();
        edits.file(&self.path, self.content.as_ref(), after);
        let changes = edits.len() > was;
        if let Some(why) = &unit.unknown {
            if !changes {
                return Err(Stop::CannotKnow(why.clone()));
            }
            edits.daemon_reload(None);
            return Ok(report);
        }
        if !unit.managed {
            report = report.warn(format!(
                "systemd does not answer here; {} counts once it runs",
                self.path
            ));
        } else if changes || unit.is_outdated(&self.path, self.content.is_some()) {
            let outdated = unit.is_outdated(&self.path, self.content.is_some()).then(|| {
                Delta::value(
                    format!("unit files of {} as systemd knows them", unit.name),
                    "outdated",
                    "current",
                )
            });
            edits.daemon_reload(outdated);
        }
        if unit.managed && !unit.exists() {
            report = report.pending(format!("there is no unit {} yet", unit.name));
        }
        Ok(report)
    }
}

/// The values of a key in a section, in order, the effect of an empty assignment (which takes away what stood
/// before) applied. Continued lines are joined.
pub fn values(text: &str, section: &str, key: &str) -> Vec<String> {
    let mut found = Vec::new();
    for line in logical(text) {
        if line.section == section && line.key == Some(key) {
            match line.value.as_str() {
                "" => found.clear(),
                value => found.push(value.to_owned()),
            }
        }
    }
    found
}

/// The keys of a section, once each, in order.
pub fn keys(text: &str, section: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for key in logical(text).filter(|l| l.section == section).filter_map(|l| l.key) {
        if !found.iter().any(|k| k == key) {
            found.push(key.to_owned());
        }
    }
    found
}

/// A value as it is compared: time spans in seconds, sizes in bytes, lists of CPUs in the kernel's form.
pub fn canonical(key: &str, value: &str) -> String {
    let value = value.trim();
    if key.ends_with("Sec") {
        return span(value).unwrap_or_else(|| value.to_owned());
    }
    if key == "CPUAffinity" {
        return super::knob::cpu_list(value).map_or_else(|| value.to_owned(), |c| super::knob::cpu_text(&c));
    }
    if key.starts_with("Limit")
        && let Some((number, suffix)) = value.split_at_checked(value.len().saturating_sub(1))
        && let (Ok(number), Some(power)) = (number.parse::<u64>(), "KMGT".find(suffix))
        && !suffix.is_empty()
    {
        return (number << (10 * (power + 1))).to_string();
    }
    value.to_owned()
}

/// A time span of systemd (`10min 30s`, `600`) in seconds; `None` where it is not one (systemd.time(7)).
fn span(text: &str) -> Option<String> {
    if text == "infinity" {
        return Some(text.to_owned());
    }
    let mut total = 0.0;
    let mut rest = text.trim();
    while !rest.is_empty() {
        let digits = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(rest.len());
        let number: f64 = rest[..digits].parse().ok()?;
        rest = rest[digits..].trim_start();
        let letters = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
        total += number
            * match &rest[..letters] {
                "" | "s" | "sec" | "second" | "seconds" => 1.0,
                "ms" | "msec" => 0.001,
                "us" | "usec" => 0.000_001,
                "m" | "min" | "minute" | "minutes" => 60.0,
                "h" | "hr" | "hour" | "hours" => 3600.0,
                "d" | "day" | "days" => 86400.0,
                "w" | "week" | "weeks" => 604_800.0,
                _ => return None,
            };
        rest = rest[letters..].trim_start();
    }
    Some(format!("{total}"))
}

/// The text with exactly these assignments of `key` in `section` (none: the key is taken out), all else as it is.
/// They stand where the first one stood, or at the end of the section. A section left empty goes.
pub fn with_values(text: &str, section: &str, key: &str, values: &[String]) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let mut out: Vec<String> = Vec::new();
    let mut pending: Option<&[String]> = Some(values);
    let mut end_of_section = None;
    for line in logical(text) {
        let raw = &lines[line.first..=line.last];
        if line.section == section && line.key == Some(key) {
            if let Some(values) = pending.take() {
                out.extend(values.iter().map(|v| format!("{key}={v}")));
                end_of_section = Some(out.len());
            }
            continue;
        }
        out.extend(raw.iter().map(|l| (*l).to_owned()));
        if line.section == section && !raw.iter().all(|l| l.trim().is_empty()) {
            end_of_section = Some(out.len());
        }
    }
    if let Some(values) = pending.filter(|v| !v.is_empty()) {
        let new = values.iter().map(|v| format!("{key}={v}"));
        match end_of_section {
            Some(at) => {
                out.splice(at..at, new);
            }
            None => {
                if out.last().is_some_and(|l| !l.trim().is_empty()) {
                    out.push(String::new());
                }
                out.push(format!("[{section}]"));
                out.extend(new);
            }
        }
    }
    let mut text = out.join("\n");
    if !text.is_empty() {
        text.push('\n');
    }
    text
}

/// Whether anything but comments and section headings is left.
pub fn has_settings(text: &str) -> bool {
    logical(text).any(|line| line.key.is_some())
}

struct Logical<'a> {
    first: usize,
    last: usize,
    section: &'a str,
    key: Option<&'a str>,
    value: String,
}

/// Lines of a unit file with `\` continuations joined (comments inside a continued line are skipped, as
/// systemd.syntax(7) says).
fn logical(text: &str) -> impl Iterator<Item = Logical<'_>> {
    let lines: Vec<&str> = text.lines().collect();
    let mut section = "";
    let mut at = 0;
    std::iter::from_fn(move || {
        let line = *lines.get(at)?;
        let first = at;
        at += 1;
        let trimmed = line.trim();
        let mut found = Logical {
            first,
            last: first,
            section,
            key: None,
            value: String::new(),
        };
        if trimmed.is_empty() || trimmed.starts_with(['#', ';']) {
            return Some(found);
        }
        if let Some(name) = trimmed.strip_prefix('[').and_then(|t| t.strip_suffix(']')) {
            section = name;
            found.section = name;
            return Some(found);
        }
        let Some((key, value)) = trimmed.split_once('=') else {
            return Some(found);
        };
        found.key = Some(key.trim());
        let mut value = value.trim().to_owned();
        while let Some(head) = value.strip_suffix('\\') {
            let Some(next) = lines.get(at) else { break };
            at += 1;
            if next.trim_start().starts_with(['#', ';']) {
                continue;
            }
            value = format!("{} {}", head.trim_end(), next.trim());
        }
        found.last = at - 1;
        found.value = value;
        Some(found)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_taken_back_by_an_empty_assignment() {
        let text = "[Service]\nEnvironment=A=1\nEnvironment=\nEnvironment=B=2 \\\n  # a comment\n  C=3\n[Install]\nEnvironment=D=4\n";
        assert_eq!(values(text, "Service", "Environment"), ["B=2 C=3"]);
    }

    #[test]
    fn only_the_named_key_changes() {
        let text = "# mine\n[Service]\nLimitNOFILE=1 # no comment in systemd\nNice=5\n\n[Install]\nAlias=x\n";
        assert_eq!(
            with_values(text, "Service", "LimitNOFILE", &["2".into()]),
            "# mine\n[Service]\nLimitNOFILE=2\nNice=5\n\n[Install]\nAlias=x\n"
        );
        assert_eq!(
            with_values(text, "Service", "LimitNPROC", &["2".into()]),
            "# mine\n[Service]\nLimitNOFILE=1 # no comment in systemd\nNice=5\nLimitNPROC=2\n\n[Install]\nAlias=x\n"
        );
        assert_eq!(with_values("", "Service", "Nice", &["1".into()]), "[Service]\nNice=1\n");
        assert!(!has_settings(&with_values(
            "[Service]\nNice=1\n",
            "Service",
            "Nice",
            &[]
        )));
    }

    #[test]
    fn values_are_compared_by_meaning() {
        assert_eq!(canonical("TimeoutStopSec", "10min"), canonical("TimeoutStopSec", "600"));
        assert_eq!(canonical("TimeoutStopSec", "1min 30.5s"), "90.5");
        assert_eq!(canonical("LimitMEMLOCK", "8M"), "8388608");
        assert_eq!(canonical("LimitNOFILE", "infinity"), "infinity");
        assert_eq!(canonical("CPUAffinity", "2 3 4,9"), "2-4,9");
    }

    #[test]
    fn limits_of_a_process() {
        let text = "pid 812\nLimit                     Soft Limit           Hard Limit           Units     \n\
                    Max cpu time              unlimited            unlimited            seconds   \n\
                    Max open files            65536                524288               files     \n     19 Cpus_allowed_list:\t2-3\n      1 Cpus_allowed_list:\t0-3\n";
        let process = Process::parse(text).unwrap();
        assert_eq!(process.pid, 812);
        assert_eq!(
            process.limits["Max open files"],
            ("65536".to_owned(), "524288".to_owned())
        );
        assert_eq!(process.cpus, [(19, "2-3".to_owned()), (1, "0-3".to_owned())]);
        assert_eq!(Process::parse("pid 0\n"), None);
    }
}
