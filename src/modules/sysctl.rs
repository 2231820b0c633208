//! `sysctl`: kernel settings, in a file for the next boot and live, key by key.

mod boot;

use self::boot::{Boot, DIRS, assignment, boot_probes, key_path, lines, with, without};
use super::args::plain;
use super::knob::{self, Edits, quoted, squeeze};
use super::{Action, ArgError, ArgKind, ArgSpec, Args, Decision, Kind, ModuleSpec, Prepare, Report, Seen, Stop, args};
use crate::diagnostic::similar_name;
use crate::host::{Layer, Probe};
use serde_json::{Map, Value};
use std::sync::LazyLock;

const DEFAULT_FILE: &str = "/etc/sysctl.d/60-rmqplay.conf";

pub static SPEC: ModuleSpec = ModuleSpec {
    name: "sysctl",
    aliases: &["ansible.posix.sysctl"],
    summary: "Sets kernel settings, live and for the next boot",
    description: "\
Takes the arguments of `ansible.posix.sysctl`, and one more form: `values:`, a mapping of names to values.

Each setting is written to `sysctl_file` and set live through `/proc/sys`, then read back. Only lines of the named keys are \
touched; where a key stands twice the last one counts, as it does for the kernel. Values are compared with white space \
normalised. No other key of the file is loaded, so a foreign line cannot make the task fail.

The task looks at every file that `systemd-sysctl` reads at boot (`/etc`, `/run`, `/usr/local/lib` and `/usr/lib`, each \
`sysctl.d/*.conf`, by file name) and warns if another one wins.

A key that this kernel does not have (a module not loaded) or that cannot be set on this host (read-only in the network \
namespace of a container) is a warning: the file is written, nothing is set live.

Differences from Ansible: the default file is rmqplay's own; `reload: true` sets the named keys instead of loading the whole \
file; `state: absent` takes out the line and leaves the live value alone.",
    args: &[
        ArgSpec::new("name", ArgKind::Str, "Key, `vm.swappiness` or `vm/swappiness`.").aliases(&["key"]),
        ArgSpec::new("value", ArgKind::Str, "Wanted value; `yes` and `no` are 1 and 0.").aliases(&["val"]),
        ArgSpec::new("values", ArgKind::Dict, "Several keys and their values, instead of `name` and `value`."),
        ArgSpec::new("state", ArgKind::Str, "`absent` takes the key out of the file.")
            .default("present")
            .choices(&["present", "absent"]),
        ArgSpec::new("sysctl_file", ArgKind::Path, "File for the next boot.").default(DEFAULT_FILE),
        ArgSpec::new("reload", ArgKind::Bool, "Set the value live too.").default("true"),
        ArgSpec::new("sysctl_set", ArgKind::Bool, "Set the value live too, even with `reload: false`.").default("false"),
        ArgSpec::new("ignoreerrors", ArgKind::Bool, "Say nothing of keys this host does not have, or does not let anyone set.").default("false"),
        ArgSpec::new(
            "only_raise",
            ArgKind::Bool,
            "Leave higher values alone, number by number; for limits that the distribution may have set higher.",
        )
        .default("false"),
    ],
    free_form: None,
    open: false,
    returns: &[("file", "The file for the next boot"), ("values", "The wanted values by name, after `only_raise`")],
    examples: "\
- name: prefer memory to swap
  sysctl:
    name: vm.swappiness
    value: 10

- name: network buffers and queues
  sysctl:
    values:
      net.core.somaxconn: 4096
      net.ipv4.tcp_rmem: 4096 131072 16777216

- name: enough file descriptors, never fewer than there are
  sysctl:
    values: {fs.file-max: 2097152, fs.nr_open: 2097152}
    only_raise: true

- name: a setting of old goes
  ansible.posix.sysctl:
    name: net.ipv4.tcp_tw_reuse
    state: absent
    sysctl_file: /etc/sysctl.conf
",
    local: true,
    kind: Kind::Host(prepare),
    ahead,
};

/// Settings whose range the kernel checks, or that should not be lowered. Ranges: kernel `Documentation/admin-guide/sysctl`
/// and the tables in `kernel/sysctl.c`, `net/ipv4/sysctl_net_ipv4.c`; upper ends as of Linux 6.12.
struct Known {
    name: &'static str,
    numbers: usize,
    min: i64,
    max: i64,
    /// Why lowering it hurts.
    lower: Option<&'static str>,
}

const fn known(name: &'static str, numbers: usize, min: i64, max: i64) -> Known {
    Known {
        name,
        numbers,
        min,
        max,
        lower: None,
    }
}

const INT: i64 = i32::MAX as i64;

static KNOWN: &[Known] = &[
    known("vm.swappiness", 1, 0, 200),
    known("vm.overcommit_memory", 1, 0, 2),
    known("vm.dirty_ratio", 1, 0, 100),
    known("vm.dirty_background_ratio", 1, 0, 100),
    known("vm.zone_reclaim_mode", 1, 0, 7),
    known("vm.max_map_count", 1, 0, INT),
    known("vm.min_free_kbytes", 1, 0, INT),
    Known {
        lower: Some("the kernel as a whole can then open fewer files"),
        ..known("fs.file-max", 1, 0, i64::MAX)
    },
    Known {
        lower: Some("units whose `LimitNOFILE` is above it no longer start"),
        ..known("fs.nr_open", 1, 8, INT)
    },
    known("net.core.somaxconn", 1, 0, INT),
    known("net.core.netdev_max_backlog", 1, 0, INT),
    known("net.core.rmem_max", 1, 0, INT),
    known("net.core.wmem_max", 1, 0, INT),
    known("net.core.rmem_default", 1, 0, INT),
    known("net.core.wmem_default", 1, 0, INT),
    known("net.ipv4.tcp_rmem", 3, 1, INT),
    known("net.ipv4.tcp_wmem", 3, 1, INT),
    known("net.ipv4.tcp_fin_timeout", 1, 0, INT),
    known("net.ipv4.tcp_keepalive_time", 1, 1, 32767),
    known("net.ipv4.tcp_keepalive_intvl", 1, 1, 32767),
    known("net.ipv4.tcp_keepalive_probes", 1, 1, 127),
    known("net.ipv4.tcp_max_syn_backlog", 1, 0, INT),
    Known {
        lower: Some("the kernel's documentation says it must not be lowered artificially"),
        ..known("net.ipv4.tcp_max_tw_buckets", 1, 0, INT)
    },
    known("net.ipv4.tcp_syncookies", 1, 0, 2),
    known("net.ipv4.tcp_tw_reuse", 1, 0, 2),
    known("net.ipv4.ip_local_port_range", 2, 1, 65535),
    known("kernel.pid_max", 1, 301, 4_194_304),
    known("kernel.panic", 1, -1, INT),
];

/// One wanted key.
struct Setting {
    /// As the user wrote it, for messages.
    name: String,
    /// Below `/proc/sys`: `vm/swappiness`.
    path: String,
    /// Where it is live: `/proc/sys/vm/swappiness`.
    live: String,
    /// White space normalised; `None` with `state: absent`.
    value: Option<String>,
}

struct Sysctl {
    settings: Vec<Setting>,
    file: String,
    live: bool,
    ignore_missing: bool,
    only_raise: bool,
}

fn prepare(args: &Args, _: &dyn Prepare) -> Result<Box<dyn Action>, ArgError> {
    let absent = args.str("state") == Some("absent");
    let mut wanted: Vec<(String, Option<String>)> = Vec::new();
    match (args.str("name"), args.dict("values")) {
        (Some(_), Some(_)) => return Err(ArgError::new("values", "`name` and `values` exclude each other")),
        (None, None) => {
            return Err(ArgError::task("module `sysctl` needs the argument `name`")
                .help("or `values`, a mapping of names to values"));
        }
        (Some(name), None) => wanted.push((name.to_owned(), args.str("value").map(str::to_owned))),
        (None, Some(values)) => {
            if args.given("value") {
                return Err(ArgError::new("value", "`value` and `values` exclude each other"));
            }
            wanted.extend(
                values
                    .iter()
                    .map(|(k, v)| (k.clone(), (!v.is_null()).then(|| plain(v)))),
            );
        }
    }
    let file = args.need("sysctl_file")?.to_owned();
    if !file.starts_with('/') {
        return Err(ArgError::new(
            "sysctl_file",
            format!("`{file}` is not an absolute path"),
        ));
    }
    let only_raise = args.bool("only_raise");
    let settings = wanted
        .into_iter()
        .map(|(name, value)| setting(name, if absent { None } else { value }, absent, only_raise))
        .collect::<Result<_, _>>()?;
    Ok(Box::new(Sysctl {
        settings,
        file,
        live: args.bool("reload") || args.bool("sysctl_set"),
        ignore_missing: args.bool("ignoreerrors"),
        only_raise,
    }))
}

fn setting(name: String, value: Option<String>, absent: bool, only_raise: bool) -> Result<Setting, ArgError> {
    let path = key_path(&name);
    if path.is_empty()
        || path.split('/').any(|p| p.is_empty() || p == "." || p == "..")
        || path.contains(['*', '?', '['])
    {
        return Err(ArgError::new(
            "name",
            format!("`{name}` is not the name of a kernel setting"),
        ));
    }
    if path == "net/ipv4/tcp_tw_recycle" && !absent {
        return Err(
            ArgError::new("name", "`net.ipv4.tcp_tw_recycle` is gone since Linux 4.12")
                .help("it broke clients behind NAT and has no successor; leave it out"),
        );
    }
    let value = value
        .map(|v| squeeze(&v))
        .map(|v| match args::boolean(&Value::String(v.clone())) {
            // `1.0` and the like are the user's own business.
            Some(on) if v.chars().all(char::is_alphabetic) => u8::from(on).to_string(),
            _ => v,
        });
    match &value {
        None if !absent => return Err(ArgError::new("value", format!("`{name}` needs a value"))),
        Some(v) if v.is_empty() => return Err(ArgError::new("value", format!("the value of `{name}` is empty"))),
        Some(v) => check(&name, &path, v, only_raise)?,
        None => {}
    }
    let live = live_path(&path);
    Ok(Setting {
        name,
        path,
        live,
        value,
    })
}

/// What is known of the setting at this path; the table's names have dots only.
fn known_at(path: &str) -> Option<&'static Known> {
    KNOWN.iter().find(|known| known.name.split('.').eq(path.split('/')))
}

/// What the kernel would refuse, as far as that is known here.
fn check(name: &str, path: &str, value: &str, only_raise: bool) -> Result<(), ArgError> {
    let parsed = numbers(value);
    if only_raise && parsed.is_none() {
        return Err(ArgError::new(
            "only_raise",
            format!("`only_raise` needs numbers, `{name}` is `{value}`"),
        ));
    }
    let Some(known) = known_at(path) else {
        return Ok(());
    };
    let Some(parsed) = parsed else {
        return Err(ArgError::new("value", format!("`{name}` is a number, not `{value}`")));
    };
    if parsed.len() != known.numbers {
        let what = knob::count(known.numbers, "number");
        return Err(ArgError::new(
            "value",
            format!("`{name}` takes {what}, `{value}` has {}", parsed.len()),
        ));
    }
    if let Some(wrong) = parsed.iter().find(|n| **n < known.min || **n > known.max) {
        return Err(ArgError::new("value", format!("`{name}` cannot be `{wrong}`"))
            .help(format!("the kernel takes {} to {}", known.min, known.max)));
    }
    Ok(())
}

fn numbers(value: &str) -> Option<Vec<i64>> {
    value.split_whitespace().map(|w| w.parse().ok()).collect()
}

static LINK: LazyLock<Probe> = LazyLock::new(|| Probe::stat("/etc/sysctl.d/99-sysctl.conf"));

impl Sysctl {
    fn link_probe(&self) -> Option<Probe> {
        // `/etc/sysctl.conf` counts at boot only where a distribution links to it.
        let inside = |dir: &&str| self.file.strip_prefix(*dir).is_some_and(|rest| rest.starts_with('/'));
        (!DIRS.iter().any(inside)).then(|| LINK.clone())
    }

    /// Whether nobody can set the key here: a network namespace shows some keys of the kernel as a whole read-only
    /// (`sysctl_core_net_init` in `net/core/sysctl_net_core.c`), and mode 0444 under `/proc/sys` binds root too.
    fn fixed(&self, setting: &Setting, seen: &Seen<'_>) -> Result<bool, Stop> {
        let stat = seen.stat(&setting.live)?;
        Ok(stat.is_some_and(|s| s.mode & 0o222 == 0))
    }
}

impl Action for Sysctl {
    fn probes(&self) -> Vec<Probe> {
        let mut probes = Vec::with_capacity(6 + 2 * self.settings.len());
        probes.push(Probe::read(&self.file));
        probes.extend_from_slice(boot_probes());
        probes.extend(self.link_probe());
        for setting in &self.settings {
            // Whether it can be set is told by its mode, even to root.
            probes.extend((self.live && setting.value.is_some()).then(|| Probe::stat(&setting.live)));
            probes.push(Probe::read(&setting.live));
        }
        probes
    }

    fn decide(&self, seen: &Seen<'_>) -> Result<Decision, Stop> {
        seen.want(&self.probes())?;
        let content = seen.read(&self.file)?;
        let before = content.as_ref().map(|c| c.text().into_owned());
        let mut text = before.clone().unwrap_or_default();
        let files = knob::files(seen, boot_probes())?;
        // The name under which boot reads our file.
        let boot_name = match self.link_probe() {
            None => Some(self.file.clone()),
            Some(_) => seen
                .stat("/etc/sysctl.d/99-sysctl.conf")?
                .and_then(|s| s.target)
                .and_then(|target| {
                    let target = target
                        .strip_prefix("..")
                        .map_or(target.clone(), |rest| format!("/etc{rest}"));
                    (target == self.file).then(|| "/etc/sysctl.d/99-sysctl.conf".to_owned())
                }),
        };

        let mut report = Report::new().with("file", self.file.clone());
        let mut edits = Edits::default();
        let mut values = Map::new();
        let (mut missing, mut fixed) = (Vec::new(), Vec::new());
        let boot_now = Boot::new(&files, boot_name.as_deref(), before.as_deref());
        for setting in &self.settings {
            let live = seen.read_line(&setting.live)?.map(|v| squeeze(&v));
            let Some(wanted) = &setting.value else {
                text = without(&text, &setting.path);
                continue;
            };
            let own = assignment(&text, &setting.path);
            let boot = boot_now.winner(&setting.path);
            let (target, in_file) = if self.only_raise {
                raise(
                    wanted,
                    own.as_deref(),
                    boot.as_ref().map(|b| b.value.as_str()),
                    live.as_deref(),
                )
            } else {
                (wanted.clone(), Some(wanted.clone()))
            };
            if let Some(value) = &in_file
                && own.as_ref() != Some(value)
            {
                if text.is_empty() && self.file == DEFAULT_FILE {
                    text.push_str(knob::HEADER);
                }
                text = with(&text, &setting.path, &setting.name, value);
            }
            let mut read_only = false;
            match &live {
                None => missing.push(setting),
                Some(live) if self.live && *live != target && self.fixed(setting, seen)? => {
                    read_only = true;
                    fixed.push(setting);
                }
                Some(live) if self.live && *live != target => {
                    if let Some(why) = lowers(&setting.path, live, &target) {
                        report = report.warn(format!(
                            "`{}` is lowered from {live} to {target}: {why}; `only_raise: true` leaves higher values alone",
                            setting.name
                        ));
                    }
                    edits.put(format!("sysctl {} (live)", setting.name), &setting.live, live, &target);
                }
                _ => {}
            }
            // Who wins once the file is as it shall be.
            let changed = before.as_deref().unwrap_or_default() != text;
            let after = match changed.then(|| Boot::new(&files, boot_name.as_deref(), Some(&text))) {
                Some(boot) => boot.winner(&setting.path),
                None => boot.clone(),
            };
            if let Some(winner) = &after
                && Some(winner.file.as_str()) != boot_name.as_deref()
                && !satisfies(&winner.value, &target, self.only_raise)
            {
                report = report.warn(format!(
                    "at boot `{}` will be {}, not {target}: {}:{} wins over {}",
                    setting.name, winner.value, winner.file, winner.line, self.file
                ));
            }
            report.layers.push(Layer {
                knob: setting.name.clone(),
                desired: target.clone(),
                file: if in_file.is_none() && boot.is_none() {
                    // `only_raise` found more than was asked for and leaves boot alone.
                    None
                } else {
                    Some(boot.as_ref().map_or_else(|| "not set".to_owned(), |b| b.value.clone()))
                },
                live,
                read_only,
                process: None,
                source: boot.map(|b| format!("{}:{}", b.file, b.line)),
            });
            values.insert(setting.name.clone(), Value::String(target));
        }
        if !self.ignore_missing {
            report.warnings.extend(not_live(&missing, &fixed));
        }
        if boot_name.is_none() && self.settings.iter().any(|s| s.value.is_some()) {
            report = report.warn(format!("{} is not read at boot; files in /etc/sysctl.d are", self.file));
        }
        let gone = self.file == DEFAULT_FILE && lines(&text).next().is_none();
        let after = match (before.is_none() && text.is_empty()) || gone {
            true => None,
            false => Some(text),
        };
        edits.file(&self.file, content.as_ref(), after);
        Ok(edits.decision(report.with("values", values)))
    }
}

/// Where the kernel shows a setting, by its name.
pub fn live_path_of(name: &str) -> String {
    live_path(&key_path(name))
}

fn live_path(path: &str) -> String {
    format!("/proc/sys/{path}")
}

/// What is said of keys that this kernel does not have, and of keys that it does not let anyone set.
fn not_live(missing: &[&Setting], fixed: &[&Setting]) -> Vec<String> {
    let mut said = Vec::new();
    if !missing.is_empty() {
        let names: Vec<String> = missing
            .iter()
            .map(|s| match similar(&s.path) {
                Some(other) => format!("`{}` (did you mean `{other}`?)", s.name),
                None => format!("`{}`", s.name),
            })
            .collect();
        said.push(format!("not in this kernel and not set live: {}", names.join(", ")));
    }
    if !fixed.is_empty() {
        let names: Vec<&str> = fixed.iter().map(|s| s.name.as_str()).collect();
        said.push(format!(
            "read-only on this host, as in a container, and not set live: {}",
            quoted(&names)
        ));
    }
    said
}

fn similar(path: &str) -> Option<&'static str> {
    let dotted = path.replace('/', ".");
    similar_name(&dotted, KNOWN.iter().map(|k| k.name)).filter(|known| *known != dotted)
}

fn lowers(path: &str, live: &str, target: &str) -> Option<&'static str> {
    let why = known_at(path)?.lower?;
    let (live, target) = (numbers(live)?, numbers(target)?);
    (target < live).then_some(why)
}

/// `only_raise`: the value wanted live, and the one wanted in the file (`None`: nothing has to stand there).
fn raise(wanted: &str, own: Option<&str>, boot: Option<&str>, live: Option<&str>) -> (String, Option<String>) {
    let target = live.map_or_else(|| wanted.to_owned(), |live| higher(wanted, live));
    let in_file = match (own, boot) {
        (Some(own), _) if satisfies(own, wanted, true) => Some(own.to_owned()),
        (None, Some(boot)) if satisfies(boot, wanted, true) => None,
        (None, None) if live.is_some_and(|live| satisfies(live, wanted, true)) => None,
        // All numbers of a key are set together: one that is higher now must not fall at the next boot.
        _ => Some(own.map_or_else(|| target.clone(), |own| higher(&target, own))),
    };
    (target, in_file)
}

/// The higher of each number; `wanted` where they cannot be compared.
fn higher(wanted: &str, other: &str) -> String {
    match (numbers(wanted), numbers(other)) {
        (Some(a), Some(b)) if a.len() == b.len() => {
            let max: Vec<String> = a.iter().zip(&b).map(|(a, b)| a.max(b).to_string()).collect();
            max.join(" ")
        }
        _ => wanted.to_owned(),
    }
}

fn satisfies(value: &str, wanted: &str, only_raise: bool) -> bool {
    if only_raise {
        higher(wanted, value) == squeeze(value)
    } else {
        squeeze(value) == wanted
    }
}

/// The looks that are wanted whatever the values are.
fn ahead(args: &Map<String, Value>) -> Vec<Probe> {
    let names = match (args.get("name").or(args.get("key")), args.get("values")) {
        (Some(Value::String(name)), _) => vec![name.clone()],
        (_, Some(Value::Object(values))) => values.keys().cloned().collect(),
        _ => Vec::new(),
    };
    let file = args.get("sysctl_file").and_then(Value::as_str).unwrap_or(DEFAULT_FILE);
    let mut probes = vec![Probe::read(file)];
    probes.extend_from_slice(boot_probes());
    for name in &names {
        let live = live_path(&key_path(name));
        probes.extend([Probe::stat(&live), Probe::read(live)]);
    }
    probes
}
