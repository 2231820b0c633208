//! `sysfs`: values under `/sys`, live and for the next boot. Also the core of `transparent_hugepage` and `cpu_online`.

use super::args::plain;
use super::knob::{self, Choices, Edits, squeeze};
use super::{
    Action, ArgError, ArgKind, ArgSpec, Args, Decision, Failure, Kind, ModuleSpec, Prepare, Report, Seen, Stop,
    tmpfiles,
};
use crate::host::{Layer, Probe};
use serde_json::{Map, Value};

const DEFAULT_FILE: &str = "/etc/tmpfiles.d/60-rmqplay-sysfs.conf";

pub static SPEC: ModuleSpec = ModuleSpec {
    name: "sysfs",
    aliases: &[],
    summary: "Values of kernel objects under /sys, live and for the next boot",
    description: "\
Writes a value to a file under `/sys` and reads it back, and keeps a line for it in a file of `tmpfiles.d`, so that \
systemd-tmpfiles sets it at boot. Where the kernel shows a choice in brackets (`always [madvise] never`), the one in brackets is \
the value, and one that is not offered fails with what is.

`state: absent` takes out the line and leaves the live value alone.",
    args: &[
        ArgSpec::new("path", ArgKind::Path, "File under `/sys`."),
        ArgSpec::new("value", ArgKind::Str, "Wanted value."),
        ArgSpec::new("values", ArgKind::Dict, "Several paths and their values, instead of `path` and `value`."),
        ArgSpec::new("state", ArgKind::Str, "`absent` takes the line out of the file.")
            .default("present")
            .choices(&["present", "absent"]),
        ArgSpec::new("persist", ArgKind::Bool, "Keep a line in `file` for the next boot.").default("true"),
        ArgSpec::new("file", ArgKind::Path, "File of `tmpfiles.d`.").default(DEFAULT_FILE),
    ],
    free_form: None,
    open: false,
    returns: &[("file", "The file for the next boot"), ("values", "The wanted values by path")],
    examples: "\
- name: khugepaged looks less often
  sysfs:
    path: /sys/kernel/mm/transparent_hugepage/khugepaged/scan_sleep_millisecs
    value: 60000

- name: until the next boot only
  sysfs:
    values: {/sys/block/sda/queue/nr_requests: 256, /sys/block/sda/queue/rq_affinity: 2}
    persist: false
",
    local: true,
    kind: Kind::Host(prepare),
    ahead: super::no_guess,
};

/// One value under `/sys` that a task is about.
pub struct Wanted {
    /// What it is called in diffs and layers.
    pub knob: String,
    pub path: String,
    /// Live value; `None`: leave it alone.
    pub value: Option<String>,
    /// Whether boot has to set it too; `false`: a line for it goes.
    pub at_boot: bool,
}

/// What is needed to see about `wanted`.
pub fn probes(wanted: &[Wanted], file: Option<&str>) -> Vec<Probe> {
    let mut probes: Vec<Probe> = wanted.iter().map(|w| Probe::read(&w.path)).collect();
    if let Some(file) = file {
        probes.push(Probe::read(file));
        probes.push(tmpfiles::probe());
    }
    probes
}

/// What to do about `wanted`, with the lines in `file` (`None`: nothing is kept for the next boot).
pub fn settle(seen: &Seen<'_>, wanted: &[Wanted], file: Option<&str>) -> Result<(Edits, Report), Stop> {
    seen.want(&probes(wanted, file))?;
    let mut edits = Edits::default();
    let mut report = Report::new();
    let content = match file {
        Some(file) => seen.read(file)?,
        None => None,
    };
    let before = content.as_ref().map(|c| c.text().into_owned()).unwrap_or_default();
    let listing = match file {
        Some(_) => knob::aside(seen, &tmpfiles::probe())?,
        None => String::new(),
    };
    let mut text = before.clone();
    for want in wanted {
        let live = seen.read_line(&want.path)?;
        let now = live.as_deref().map(Choices::value);
        if let Some(value) = &want.value {
            let Some(now) = &now else {
                return Err(Failure::new(format!("there is no {}", want.path)).into());
            };
            if let Some(choices) = live.as_deref().and_then(Choices::parse)
                && !choices.all.contains(value)
            {
                return Err(Failure::new(format!("{} does not offer `{value}`", want.path))
                    .help(format!("choose one of {}", choices.list()))
                    .into());
            }
            if now != value {
                edits.put(format!("{} (live)", want.knob), &want.path, now, value);
            }
        }
        if file.is_some() {
            let kept = want.value.as_deref().filter(|_| want.at_boot);
            if kept.is_some() && text.is_empty() {
                text.push_str(knob::HEADER);
            }
            if tmpfiles::value(&text, &want.path).as_deref() != kept {
                text = tmpfiles::with(&text, &want.path, kept);
            }
        }
        let Some(value) = &want.value else { continue };
        let mut layer = Layer {
            knob: want.knob.clone(),
            desired: value.clone(),
            file: None,
            live: now,
            read_only: false,
            process: None,
            source: None,
        };
        if let Some(file) = file {
            if let Some((place, other)) = tmpfiles::winner(&listing, file, &text, &want.path)
                && other != *value
            {
                report = report.warn(format!(
                    "at boot {} will be {other}, not {value}: {place} wins over {file}",
                    want.path
                ));
            }
            let found = tmpfiles::winner(&listing, file, &before, &want.path);
            if want.at_boot || found.is_some() {
                layer.file = Some(found.as_ref().map_or_else(|| "not set".to_owned(), |(_, v)| v.clone()));
            }
            layer.source = found.map(|(place, _)| place);
        }
        report.layers.push(layer);
    }
    if let Some(file) = file {
        let after = tmpfiles::has_lines(&text).then_some(text);
        // A file of comments only that was there before is someone's.
        let after = if after.is_none() && !tmpfiles::has_lines(&before) && content.is_some() {
            Some(before)
        } else {
            after
        };
        edits.file(file, content.as_ref(), after);
        report = report.with("file", file);
    }
    Ok((edits, report))
}

struct Sysfs {
    wanted: Vec<Wanted>,
    file: Option<String>,
}

fn prepare(args: &Args, _: &dyn Prepare) -> Result<Box<dyn Action>, ArgError> {
    let absent = args.str("state") == Some("absent");
    let pairs: Vec<(String, Option<String>)> = match (args.str("path"), args.dict("values")) {
        (Some(_), Some(_)) => return Err(ArgError::new("values", "`path` and `values` exclude each other")),
        (None, None) => {
            return Err(ArgError::task("module `sysfs` needs the argument `path`")
                .help("or `values`, a mapping of paths to values"));
        }
        (Some(path), None) => vec![(path.to_owned(), args.str("value").map(str::to_owned))],
        (None, Some(values)) => values.iter().map(|(k, v)| (k.clone(), Some(plain(v)))).collect(),
    };
    let mut wanted = Vec::new();
    for (path, value) in pairs {
        if !path.starts_with("/sys/") || path.split('/').any(|p| p == "..") || path.contains(char::is_whitespace) {
            return Err(ArgError::new("path", format!("`{path}` is not a path under /sys")));
        }
        let value = value.map(|v| squeeze(&v)).filter(|v| !v.is_empty());
        if value.is_none() && !absent {
            return Err(ArgError::new("value", format!("`{path}` needs a value")));
        }
        wanted.push(Wanted {
            knob: path.clone(),
            path,
            value: value.filter(|_| !absent),
            at_boot: !absent,
        });
    }
    let keep = args.bool("persist") || absent;
    Ok(Box::new(Sysfs {
        wanted,
        file: keep.then(|| args.str("file").unwrap_or(DEFAULT_FILE).to_owned()),
    }))
}

impl Action for Sysfs {
    fn probes(&self) -> Vec<Probe> {
        probes(&self.wanted, self.file.as_deref())
    }

    fn decide(&self, seen: &Seen<'_>) -> Result<Decision, Stop> {
        let (edits, report) = settle(seen, &self.wanted, self.file.as_deref())?;
        let values: Map<String, Value> = self
            .wanted
            .iter()
            .filter_map(|w| Some((w.path.clone(), Value::from(w.value.clone()?))))
            .collect();
        Ok(edits.decision(report.with("values", values)))
    }
}
