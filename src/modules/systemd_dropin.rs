//! `systemd_dropin`: settings of a unit, in a file beside it.

use super::args::plain;
use super::knob::Edits;
use super::unit::{self, DropIn, Unit};
use super::{Action, ArgError, ArgKind, ArgSpec, Args, Decision, Kind, ModuleSpec, Prepare, Report, Seen, Stop};
use crate::host::{Layer, Probe};
use serde_json::{Map, Value};

const DEFAULT_NAME: &str = unit::SETTINGS;

pub static SPEC: ModuleSpec = ModuleSpec {
    name: "systemd_dropin",
    aliases: &[],
    summary: "Settings of a systemd unit, in a drop-in file",
    description: "\
Writes `/etc/systemd/system/UNIT.d/NAME` whole, from `settings` or `content`, and lets systemd read it where that is needed (also \
when someone else changed the unit's files and did not). The unit is not restarted: notify a handler. Another drop-in that wins \
is told, for settings whose value systemd reports.

`settings` maps sections to keys to values; a list is one line each, `true` and `false` are `yes` and `no`. Some keys of systemd \
collect values: put an empty string first to start anew.",
    args: &[
        ArgSpec::new("unit", ArgKind::Str, "systemd unit.").required().aliases(&["service"]),
        ArgSpec::new("name", ArgKind::Str, "Name of the file; `.conf` is added.").default(DEFAULT_NAME),
        ArgSpec::new("settings", ArgKind::Dict, "Sections, their keys and values."),
        ArgSpec::new("content", ArgKind::Str, "The file as it is, instead of `settings`."),
        ArgSpec::new("state", ArgKind::Str, "`absent` removes the file.").default("present").choices(&["present", "absent"]),
    ],
    free_form: None,
    open: false,
    returns: &[("path", "The file")],
    examples: "\
- name: time to stop, and ports for many connections
  systemd_dropin:
    unit: rabbitmq-server
    settings:
      Service:
        TimeoutStopSec: 600
        Environment: ERL_MAX_PORTS=300000
  notify: restart rabbitmq

- name: another command
  systemd_dropin:
    unit: app
    name: 90-command
    settings: {Service: {ExecStart: ['', /opt/app/run]}}
",
    local: true,
    kind: Kind::Host(prepare),
    ahead,
};

struct SystemdDropIn {
    unit: String,
    name: String,
    /// `None`: absent.
    text: Option<String>,
}

fn prepare(args: &Args, _: &dyn Prepare) -> Result<Box<dyn Action>, ArgError> {
    let text = match (args.str("state"), args.dict("settings"), args.str("content")) {
        (Some("absent"), ..) => None,
        (_, Some(_), Some(_)) => return Err(ArgError::new("content", "`settings` and `content` exclude each other")),
        (_, None, None) => {
            return Err(ArgError::task("module `systemd_dropin` needs the argument `settings`")
                .help("or `content`, the file as it is"));
        }
        (_, Some(settings), None) => Some(render(settings)?),
        (_, None, Some(content)) if content.ends_with('\n') => Some(content.to_owned()),
        (_, None, Some(content)) => Some(format!("{content}\n")),
    };
    Ok(Box::new(SystemdDropIn {
        unit: args.need("unit")?.to_owned(),
        name: file_name(args.need("name")?)?,
        text,
    }))
}

fn file_name(name: &str) -> Result<String, ArgError> {
    if name.is_empty() || name.contains('/') || name.starts_with('.') {
        return Err(ArgError::new("name", format!("`{name}` is not the name of a file")));
    }
    Ok(if name.ends_with(".conf") {
        name.to_owned()
    } else {
        format!("{name}.conf")
    })
}

fn render(settings: &Map<String, Value>) -> Result<String, ArgError> {
    let mut text = String::new();
    for (section, keys) in settings {
        let Some(keys) = keys.as_object() else {
            return Err(ArgError::new(
                "settings",
                format!("section `{section}` needs a mapping of keys to values"),
            )
            .help("write `Service: {LimitNOFILE: 65536}`"));
        };
        if !text.is_empty() {
            text.push('\n');
        }
        text.push_str(&format!("[{section}]\n"));
        for (key, value) in keys {
            let values = match value {
                Value::Array(items) => items.iter().map(|v| line(key, v)).collect::<Result<Vec<_>, _>>()?,
                value => vec![line(key, value)?],
            };
            text.extend(values);
        }
    }
    Ok(text)
}

fn line(key: &str, value: &Value) -> Result<String, ArgError> {
    let value = match value {
        Value::Bool(true) => "yes".to_owned(),
        Value::Bool(false) => "no".to_owned(),
        Value::Array(_) | Value::Object(_) => {
            return Err(ArgError::new(
                "settings",
                format!("`{key}` needs a value or a list of values"),
            ));
        }
        value => plain(value),
    };
    if value.contains('\n') || key.contains(['=', '\n', '[', ' ']) || key.is_empty() {
        return Err(ArgError::new(
            "settings",
            format!("`{key}` does not fit on a line of a unit file"),
        ));
    }
    Ok(format!("{key}={value}\n"))
}

impl Action for SystemdDropIn {
    fn probes(&self) -> Vec<Probe> {
        vec![
            Probe::read(unit::drop_in_path(&self.unit, &self.name)),
            unit::show(&self.unit),
        ]
    }

    fn decide(&self, seen: &Seen<'_>) -> Result<Decision, Stop> {
        seen.want(&self.probes())?;
        let unit = Unit::seen(seen, &self.unit)?;
        let mut file = DropIn::seen(seen, &self.unit, &self.name)?;
        let path = file.path.clone();
        let mut layers = Vec::new();
        for (key, wanted) in self.text.as_deref().map(settings).unwrap_or_default() {
            let now = settings_of(file.now(&key), &key, &wanted);
            let Some(live) = unit.effective(&key, &wanted) else {
                continue;
            };
            // A variable is a knob of its own.
            let variable = wanted
                .split_once('=')
                .map(|(name, _)| name)
                .filter(|_| key == "Environment");
            let value = |text: &str| match variable.and_then(|name| text.strip_prefix(name)?.strip_prefix('=')) {
                Some(value) => value.to_owned(),
                None => unit::canonical(&key, text),
            };
            let layer = Layer {
                knob: format!("{} of {}", variable.unwrap_or(&key), unit.short()),
                desired: value(&wanted),
                source: now.is_some().then(|| path.clone()),
                file: Some(now.map_or_else(|| "not set".to_owned(), |v| value(&v))),
                live: unit.exists().then(|| value(&live)),
                read_only: false,
                process: None,
            };
            layers.push((key, layer));
        }
        let mut report = Report::new().with("path", path.clone());
        let mut edits = Edits::default();
        file.replace(self.text.clone());
        report = file.settle(&unit, &mut edits, report)?;
        if edits.is_empty() && unit.exists() {
            for (key, layer) in &layers {
                if let Some(live) = layer.live.as_ref().filter(|l| **l != layer.desired) {
                    report = report.warn(unit.overridden(&path, &format!("{key}={live}")));
                }
            }
        }
        report.layers = layers.into_iter().map(|(_, layer)| layer).collect();
        Ok(edits.decision(report))
    }
}

/// Keys of `[Service]` and the value of each that counts; of `Environment` each variable.
fn settings(text: &str) -> Vec<(String, String)> {
    let mut found: Vec<(String, String)> = Vec::new();
    for key in unit::keys(text, "Service") {
        let values = unit::values(text, "Service", &key);
        if key == "Environment" {
            let all = values.iter().filter_map(|v| shlex::split(v)).flatten();
            found.extend(all.map(|v| (key.clone(), v)));
        } else if let Some(last) = values.last() {
            found.push((key, last.clone()));
        }
    }
    found
}

/// What the file says of a setting now.
fn settings_of(values: Vec<String>, key: &str, wanted: &str) -> Option<String> {
    if key != "Environment" {
        return values.last().cloned();
    }
    let name = wanted.split_once('=')?.0;
    let mut all = values
        .iter()
        .rev()
        .filter_map(|v| shlex::split(v))
        .flat_map(|v| v.into_iter().rev());
    all.find(|v| v.split_once('=').is_some_and(|(n, _)| n == name))
}

fn ahead(args: &Map<String, Value>) -> Vec<Probe> {
    let name = args
        .get("name")
        .map_or(Some(DEFAULT_NAME), Value::as_str)
        .and_then(|n| file_name(n).ok());
    match (args.get("unit").or(args.get("service")).and_then(Value::as_str), name) {
        (Some(unit), Some(name)) => vec![Probe::read(unit::drop_in_path(unit, &name)), unit::show(unit)],
        _ => Vec::new(),
    }
}
