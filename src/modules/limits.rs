//! `pam_limits`, alias `limits`: resource limits of login sessions (PAM) and of systemd services (a drop-in).

mod service;

pub use self::service::{SERVICE_ITEMS, kernel};

use self::service::{DIRECTIVES, DROP_IN, NR_OPEN, Service};
use super::knob::{self, Edits};
use super::unit;
use super::{Action, ArgError, ArgKind, ArgSpec, Args, Decision, Kind, ModuleSpec, Prepare, Report, Seen, Stop};
use crate::host::{Files, Layer, Op, Probe};
use serde_json::{Map, Value};
use std::sync::{Arc, LazyLock};

const DEFAULT_DEST: &str = "/etc/security/limits.conf";

pub static SPEC: ModuleSpec = ModuleSpec {
    name: "pam_limits",
    aliases: &["limits", "community.general.pam_limits"],
    summary: "Resource limits of login sessions, or of a systemd service",
    description: "\
With `domain:` it takes the arguments of `community.general.pam_limits` and keeps one line of `limits.conf`. Such lines count for \
login sessions from the next login on. **They never reach a service that systemd starts.**

With `service:` the limit is written to a drop-in of the unit (`/etc/systemd/system/UNIT.d/60-rmqplay-limits.conf`, `LimitNOFILE=` \
and so on) and systemd reads it. The service is not restarted: notify a handler. Values are in the units of limits.conf (KiB for \
sizes, minutes for `cpu`). The report shows what the running process has. More than 65536 files need `ERL_MAX_PORTS` too for \
RabbitMQ; the task warns where it does not find it.

Only the line that is meant is changed; comments, other lines and their order stay. Where a line stands twice, the last one \
counts. Another file under `limits.d` that wins is told.

Differences from Ansible: `state: absent`; comments of other lines are not copied; a file that is right is not written; \
foreign lines that make no sense are left alone.",
    args: &[
        ArgSpec::new("domain", ArgKind::Str, "User, `@group`, `*`, `%group`, a range of ids: whose sessions."),
        ArgSpec::new("service", ArgKind::Str, "systemd unit, instead of `domain`.").aliases(&["unit"]),
        ArgSpec::new("limit_type", ArgKind::Str, "Which limit; `-` is both, as one line. Default for a service: `-`.")
            .choices(&["hard", "soft", "-"]),
        ArgSpec::new("limit_item", ArgKind::Str, "What is limited.").required().choices(&[
            "core", "data", "fsize", "memlock", "nofile", "rss", "stack", "cpu", "nproc", "as", "maxlogins", "maxsyslogins",
            "priority", "locks", "sigpending", "msgqueue", "nice", "rtprio", "chroot",
        ]),
        ArgSpec::new("value", ArgKind::Str, "A number, `unlimited`, `infinity` or `-1`; not needed with `state: absent`."),
        ArgSpec::new("state", ArgKind::Str, "`absent` takes the line out.").default("present").choices(&["present", "absent"]),
        ArgSpec::new("use_max", ArgKind::Bool, "Keep the value that is there if it is higher.").default("false"),
        ArgSpec::new("use_min", ArgKind::Bool, "Keep the value that is there if it is lower.").default("false"),
        ArgSpec::new("backup", ArgKind::Bool, "Keep a copy of the file before it is changed.").default("false"),
        ArgSpec::new("dest", ArgKind::Path, "The file, for sessions.").default(DEFAULT_DEST),
        ArgSpec::new("comment", ArgKind::Str, "Comment at the end of the line.").default(""),
    ],
    free_form: None,
    open: false,
    returns: &[
        ("msg", "The line as it stands in the file"),
        ("backup_file", "Path of the copy, with `backup`"),
    ],
    examples: "\
- name: the broker may open 300000 files
  limits:
    service: rabbitmq-server
    limit_item: nofile
    value: 300000
  notify: restart rabbitmq

- name: login sessions of the broker's user
  community.general.pam_limits:
    domain: rabbitmq
    limit_type: soft
    limit_item: nofile
    value: 65536
    dest: /etc/security/limits.d/60-rabbitmq.conf

- name: an old line goes
  pam_limits: {domain: '*', limit_type: hard, limit_item: nproc, state: absent}
",
    local: true,
    kind: Kind::Host(prepare),
    ahead,
};

fn prepare(args: &Args, host: &dyn Prepare) -> Result<Box<dyn Action>, ArgError> {
    let item = args.need("limit_item")?.to_owned();
    let absent = args.str("state") == Some("absent");
    let pick = match (args.bool("use_max"), args.bool("use_min")) {
        (true, true) => return Err(ArgError::new("use_min", "`use_max` and `use_min` exclude each other")),
        (true, false) => Pick::Max,
        (false, true) => Pick::Min,
        (false, false) => Pick::Wanted,
    };
    let value = match args.str("value") {
        _ if absent => None,
        None => return Err(ArgError::task("module `pam_limits` needs the argument `value`")),
        Some(text) => Some(value(&item, text)?),
    };
    match (args.str("domain"), args.str("service")) {
        (Some(_), Some(_)) => Err(ArgError::new("service", "`domain` and `service` exclude each other")),
        (None, None) => Err(ArgError::task("module `pam_limits` needs the argument `domain`")
            .help("or `service`, for a unit of systemd: limits.conf never reaches it")),
        (Some(domain), None) => {
            let dest = args.need("dest")?.to_owned();
            Ok(Box::new(Session {
                domain: domain.to_owned(),
                kind: match args.str("limit_type") {
                    Some(kind) => kind.to_owned(),
                    None => return Err(ArgError::task("module `pam_limits` needs the argument `limit_type`")),
                },
                item,
                value,
                pick,
                comment: args.str("comment").unwrap_or_default().to_owned(),
                backup: args
                    .bool("backup")
                    .then(|| format!("{dest}.{}~", host.now().replace('T', "@").trim_end_matches('Z'))),
                dest,
            }))
        }
        (None, Some(service)) => {
            for name in ["dest", "comment", "backup"] {
                if args.given(name) {
                    return Err(ArgError::new(
                        name,
                        format!("`{name}` belongs to `domain`, not to `service`"),
                    ));
                }
            }
            let Some(kind) = DIRECTIVES.iter().find(|d| d.item == item) else {
                return Err(ArgError::new("limit_item", format!("systemd has no limit `{item}`")));
            };
            Ok(Box::new(Service {
                unit: service.to_owned(),
                directive: kind,
                kind: args.str("limit_type").unwrap_or("-").to_owned(),
                value: match value.as_deref() {
                    Some(text) => {
                        Some(kind.raw(text).ok_or_else(|| {
                            ArgError::new("value", format!("`{item}` of a service cannot be `{text}`"))
                        })?)
                    }
                    None => None,
                },
                pick,
            }))
        }
    }
}

/// As limits.conf writes it.
fn value(item: &str, text: &str) -> Result<String, ArgError> {
    let text = text.trim();
    let number = text.parse::<i64>();
    let good = match item {
        "chroot" => text.starts_with('/'),
        "nice" | "priority" => number.is_ok_and(|n| (-20..=19).contains(&n)),
        _ => matches!(text, "unlimited" | "infinity" | "-1") || number.is_ok_and(|n| n >= 0),
    };
    if good {
        return Ok(text.to_owned());
    }
    Err(ArgError::new(
        "value",
        match item {
            "chroot" => format!("`chroot` needs an absolute path, not `{text}`"),
            "nice" | "priority" => format!("`{item}` needs a number from -20 to 19, not `{text}`"),
            _ => format!("module `pam_limits` needs an integer or `unlimited` here, not `{text}`"),
        },
    )
    .help("write the number in full: `65536`"))
}

#[derive(Clone, Copy, PartialEq)]
enum Pick {
    Wanted,
    Max,
    Min,
}

impl Pick {
    /// Which of two to keep; `true`: the one that is there.
    fn keeps<T: Ord>(self, there: &T, wanted: &T) -> bool {
        match self {
            Pick::Wanted => false,
            Pick::Max => there > wanted,
            Pick::Min => there < wanted,
        }
    }
}

/// Unlimited is higher than any number.
fn order(item: &str, limit: &str) -> i128 {
    match limit {
        "unlimited" | "infinity" => i128::MAX,
        // A niceness of -1 is just that.
        "-1" if !matches!(item, "nice" | "priority") => i128::MAX,
        number => number.parse().unwrap_or(i128::MIN),
    }
}

// --- login sessions -------------------------------------------------------------------------------------------

struct Session {
    domain: String,
    kind: String,
    item: String,
    value: Option<String>,
    pick: Pick,
    comment: String,
    dest: String,
    backup: Option<String>,
}

/// A line of limits.conf, number from 0.
struct Entry<'a> {
    at: usize,
    domain: &'a str,
    kind: &'a str,
    item: &'a str,
    value: &'a str,
    comment: Option<&'a str>,
}

fn entry(at: usize, text: &str) -> Option<Entry<'_>> {
    let (body, comment) = match text.split_once('#') {
        Some((body, comment)) => (body, Some(comment.trim())),
        None => (text, None),
    };
    let mut words = body.split_whitespace();
    let entry = Entry {
        at,
        domain: words.next()?,
        kind: words.next()?,
        item: words.next()?,
        value: words.next()?,
        comment,
    };
    words.next().is_none().then_some(entry)
}

/// All files that PAM reads, in its order: limits.conf, then `limits.d` by name (pam_limits(8)).
fn pam_probes() -> &'static [Probe] {
    const PATTERNS: [&str; 2] = [DEFAULT_DEST, "/etc/security/limits.d/*.conf"];
    static PROBES: LazyLock<[Probe; 2]> = LazyLock::new(|| PATTERNS.map(Probe::read_glob));
    &*PROBES
}

impl Session {
    fn is_mine(&self, entry: &Entry<'_>) -> bool {
        entry.domain == self.domain && entry.kind == self.kind && entry.item == self.item
    }

    /// The file and value that count at login: the last line of all, ours as it is in `text`.
    fn winner(&self, files: &[Arc<Files>], text: &str) -> Option<(String, String)> {
        let others = files
            .iter()
            .flat_map(|files| files.iter())
            .filter(|(path, _)| **path != self.dest);
        let others = others.filter_map(|(path, content)| Some((path, content.as_ref()?.text())));
        let mut all: Vec<_> = others.chain([(&self.dest, text.into())]).collect();
        // limits.conf sorts first, `limits.d/...` after it, as PAM reads them.
        all.sort_by_key(|(path, _)| (*path != DEFAULT_DEST, *path));
        all.iter().rev().find_map(|(path, text)| {
            let entries = text.lines().enumerate().filter_map(|(n, line)| entry(n, line));
            let last = entries.filter(|entry| self.counts(entry)).last()?;
            Some((format!("{path}:{}", last.at + 1), last.value.to_owned()))
        })
    }

    fn counts(&self, entry: &Entry<'_>) -> bool {
        let kind = entry.kind == self.kind || entry.kind == "-" || self.kind == "-";
        kind && entry.domain == self.domain && entry.item == self.item
    }
}

impl Action for Session {
    fn probes(&self) -> Vec<Probe> {
        let mut probes = vec![Probe::read(&self.dest)];
        probes.extend_from_slice(pam_probes());
        probes
    }

    fn decide(&self, seen: &Seen<'_>) -> Result<Decision, Stop> {
        seen.want(&self.probes())?;
        let content = seen.read(&self.dest)?;
        let before = content.as_ref().map(|c| c.text().into_owned()).unwrap_or_default();
        let files = knob::files(seen, pam_probes())?;
        let mine: Vec<Entry<'_>> = before
            .lines()
            .enumerate()
            .filter_map(|(n, l)| entry(n, l))
            .filter(|e| self.is_mine(e))
            .collect();
        let last = mine.last();

        let mut edits = Edits::default();
        let mut report = Report::new();
        let Some(wanted) = &self.value else {
            let gone: Vec<usize> = mine.iter().map(|e| e.at).collect();
            let after = keep_lines(&before, |n| !gone.contains(&n));
            edits.file(&self.dest, content.as_ref(), content.is_some().then_some(after));
            return Ok(self.done(
                edits,
                report.msg(format!("no {} {} for {}", self.kind, self.item, self.domain)),
            ));
        };
        let target = match last {
            Some(there)
                if self
                    .pick
                    .keeps(&order(&self.item, there.value), &order(&self.item, wanted)) =>
            {
                there.value.to_owned()
            }
            Some(there) if order(&self.item, there.value) == order(&self.item, wanted) && self.item != "chroot" => {
                there.value.to_owned()
            }
            _ => wanted.clone(),
        };
        let mut line = format!("{}\t{}\t{}\t{target}", self.domain, self.kind, self.item);
        let comment = if self.comment.is_empty() {
            last.and_then(|e| e.comment)
        } else {
            Some(self.comment.as_str())
        };
        if let Some(comment) = comment {
            line.push_str(&format!("\t# {comment}"));
        }
        let right =
            last.is_some_and(|e| e.value == target && (self.comment.is_empty() || e.comment == Some(&self.comment)));
        let after = match last {
            _ if right => before.clone(),
            Some(last) => before
                .split_inclusive('\n')
                .enumerate()
                .map(|(n, old)| {
                    if n == last.at {
                        format!("{line}\n")
                    } else {
                        old.to_owned()
                    }
                })
                .collect(),
            None => {
                let gap = if before.is_empty() || before.ends_with('\n') {
                    ""
                } else {
                    "\n"
                };
                format!("{before}{gap}{line}\n")
            }
        };
        if let Some((place, value)) = self.winner(&files, &after)
            && order(&self.item, &value) != order(&self.item, &target)
        {
            report = report.warn(format!("{place} wins at login: {value}, not {target}"));
        }
        if !right && self.domain == "rabbitmq" {
            report = report.warn(
                "limits of PAM count for login sessions only; they never reach the service (`service: rabbitmq-server` does)",
            );
        }
        let now = self.winner(&files, &before);
        report.layers.push(Layer {
            knob: format!("{} {} of sessions of {}", self.kind, self.item, self.domain)
                .trim_start_matches("- ")
                .to_owned(),
            desired: target,
            file: Some(
                now.as_ref()
                    .map_or_else(|| "not set".to_owned(), |(_, value)| value.clone()),
            ),
            live: None,
            read_only: false,
            process: None,
            source: now.map(|(place, _)| place),
        });
        let shown = if right {
            last.and_then(|e| before.lines().nth(e.at)).unwrap_or(&line).to_owned()
        } else {
            line
        };
        edits.file(&self.dest, content.as_ref(), Some(after));
        Ok(self.done(edits, report.msg(shown)))
    }
}

impl Session {
    fn done(&self, edits: Edits, report: Report) -> Decision {
        let mut decision = edits.decision(report);
        if let (Decision::Change(change), Some(copy)) = (&mut decision, &self.backup) {
            for op in &mut change.ops {
                if let Op::Write { backup, guard, .. } = op
                    && *guard != Some(crate::host::Guard::Absent)
                {
                    *backup = Some(copy.clone());
                    change
                        .report
                        .values
                        .insert("backup_file".to_owned(), Value::String(copy.clone()));
                }
            }
        }
        decision
    }
}

fn keep_lines(text: &str, keep: impl Fn(usize) -> bool) -> String {
    text.split_inclusive('\n')
        .enumerate()
        .filter(|(n, _)| keep(*n))
        .map(|(_, l)| l)
        .collect()
}

fn ahead(args: &Map<String, Value>) -> Vec<Probe> {
    let text = |names: [&str; 2]| names.iter().find_map(|n| args.get(*n)).and_then(Value::as_str);
    match text(["service", "unit"]) {
        Some(service) => vec![
            Probe::read(unit::drop_in_path(service, DROP_IN)),
            unit::show(service),
            unit::process(service),
            Probe::read(NR_OPEN),
        ],
        None => {
            let dest = text(["dest", "dest"]).unwrap_or(DEFAULT_DEST);
            let mut probes = vec![Probe::read(dest)];
            probes.extend_from_slice(pam_probes());
            probes
        }
    }
}
