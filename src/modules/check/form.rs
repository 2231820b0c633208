//! The forms of `check`'s arguments.

use super::{Bound, Check, FileCheck, Queue, SPEC, Size, rabbitmq};
use crate::diagnostic::similar_name;
use crate::modules::args::{boolean, plain};
use crate::modules::knob::{self, cpu_list, squeeze};
use crate::modules::{Action, ArgError, ArgKind, Args, Prepare, limits};
use serde_json::{Map, Value};

/// Arguments → checks.
pub fn prepare(args: &Args, controller: &dyn Prepare) -> Result<Box<dyn Action>, ArgError> {
    let mut checks = Vec::new();
    let mut api = None;
    let settable_only = args.bool("settable_only");
    for (kind, value) in args.iter() {
        let before = checks.len();
        match kind {
            "settable_only" | "api_url" | "api_user" | "api_password" => continue,
            "rabbitmq" => rabbitmq::commands(value, &mut checks)?,
            "rabbitmq_api" => {
                api = Some(rabbitmq::api(args, value)?);
                continue;
            }
            "sysctl" => sysctl(value, settable_only, &mut checks)?,
            "sysctl_min" => sysctl_min(value, settable_only, &mut checks)?,
            "limit" => limit(value, &mut checks)?,
            "scheduler" => checks.push(queue("scheduler", Queue::Scheduler, value)?),
            "read_ahead_kb" => checks.push(queue("read_ahead_kb", Queue::ReadAhead, value)?),
            "thp" => thp(value, &mut checks)?,
            "port" => ports(value, &mut checks)?,
            "service" => checks.push(service(value)?),
            "file" => checks.push(file(value)?),
            "free_disk" => {
                let fields = Fields::new("free_disk", value, &["path", "min"])?;
                checks.push(Check::FreeDisk {
                    path: fields.need("path")?,
                    min: size("free_disk", &fields.need("min")?)?,
                });
            }
            "free_memory" => {
                let min = if value.is_object() {
                    Fields::new("free_memory", value, &["min"])?.need("min")?
                } else {
                    plain(value)
                };
                checks.push(Check::FreeMemory {
                    min: size("free_memory", &min)?,
                });
            }
            "process" => checks.push(process(value)?),
            _ => {}
        }
        if checks.len() == before {
            return Err(ArgError::new(kind, format!("`{kind}` names nothing to check")));
        }
    }
    if checks.is_empty() && api.is_none() {
        let kinds = SPEC
            .args
            .iter()
            .filter(|a| a.kind != ArgKind::Bool && a.kind != ArgKind::Str);
        let all: Vec<&str> = kinds.map(|a| a.name).collect();
        return Err(
            ArgError::task("module `check` has nothing to check").help(format!("it takes {}", knob::quoted(&all)))
        );
    }
    Ok(Box::new(super::Checks {
        checks,
        api,
        check_mode: controller.check_mode(),
    }))
}

/// The mapping of one argument, with only the keys it may have.
struct Fields<'a> {
    arg: &'static str,
    map: &'a Map<String, Value>,
}

impl<'a> Fields<'a> {
    fn new(arg: &'static str, value: &'a Value, allowed: &[&str]) -> Result<Fields<'a>, ArgError> {
        let Some(map) = value.as_object() else {
            return Err(
                ArgError::new(arg, format!("`{arg}` needs a mapping, not `{}`", plain(value)))
                    .help(format!("it takes {}", knob::quoted(allowed))),
            );
        };
        match map.keys().find(|k| !allowed.contains(&k.as_str())) {
            None => Ok(Fields { arg, map }),
            Some(key) => {
                let error = ArgError::new(arg, format!("`{arg}` has no `{key}`"));
                Err(match similar_name(key, allowed.iter().copied()) {
                    Some(other) => error.help(format!("did you mean `{other}`?")),
                    None => error.help(format!("it takes {}", knob::quoted(allowed))),
                })
            }
        }
    }

    fn get(&self, key: &str) -> Option<&'a Value> {
        self.map.get(key).filter(|v| !v.is_null())
    }

    fn text(&self, key: &str) -> Option<String> {
        self.get(key).map(plain)
    }

    fn need(&self, key: &str) -> Result<String, ArgError> {
        self.text(key)
            .ok_or_else(|| ArgError::new(self.arg, format!("`{}` needs `{key}`", self.arg)))
    }

    fn bool(&self, key: &str) -> Result<Option<bool>, ArgError> {
        match self.get(key) {
            None => Ok(None),
            Some(value) => match boolean(value) {
                Some(b) => Ok(Some(b)),
                None => Err(ArgError::new(
                    self.arg,
                    format!("`{key}` needs a boolean, not `{}`", plain(value)),
                )),
            },
        }
    }

    /// A value or a list of them.
    fn list(&self, key: &str) -> Vec<String> {
        match self.get(key) {
            Some(Value::Array(items)) => items.iter().map(plain).collect(),
            Some(value) => vec![plain(value)],
            None => Vec::new(),
        }
    }
}

fn sysctl(value: &Value, settable_only: bool, checks: &mut Vec<Check>) -> Result<(), ArgError> {
    for (name, wanted) in value.as_object().into_iter().flatten() {
        let wanted = if wanted.is_object() {
            least("sysctl", &Fields::new("sysctl", wanted, &["min"])?.need("min")?)?
        } else {
            Bound::Is(match wanted {
                Value::Bool(on) => u8::from(*on).to_string(),
                wanted => squeeze(&plain(wanted)),
            })
        };
        checks.push(Check::Sysctl {
            name: name.clone(),
            wanted,
            settable_only,
        });
    }
    Ok(())
}

fn sysctl_min(value: &Value, settable_only: bool, checks: &mut Vec<Check>) -> Result<(), ArgError> {
    for (name, wanted) in value.as_object().into_iter().flatten() {
        checks.push(Check::Sysctl {
            name: name.clone(),
            wanted: least("sysctl_min", &plain(wanted))?,
            settable_only,
        });
    }
    Ok(())
}

fn least(arg: &'static str, min: &str) -> Result<Bound, ArgError> {
    let min = squeeze(min);
    match numbers(&min) {
        Some(numbers) => Ok(Bound::Min(numbers)),
        None => Err(ArgError::new(arg, format!("`min` needs numbers, not `{min}`"))),
    }
}

fn limit(value: &Value, checks: &mut Vec<Check>) -> Result<(), ArgError> {
    let mut allowed: Vec<&str> = limits::SERVICE_ITEMS.to_vec();
    allowed.insert(0, "service");
    let fields = Fields::new("limit", value, &allowed)?;
    let unit = fields.need("service")?;
    for (item, min) in fields.map.iter().filter(|(k, _)| *k != "service") {
        let min = plain(min);
        if limits::kernel(item, &min).is_none() {
            return Err(ArgError::new("limit", format!("`{item}` cannot be `{min}`")));
        }
        checks.push(Check::Limit {
            unit: unit.clone(),
            item: item.clone(),
            min,
        });
    }
    Ok(())
}

fn queue(arg: &'static str, knob: Queue, value: &Value) -> Result<Check, ArgError> {
    let fields = Fields::new(arg, value, &["device", "path", "is"])?;
    let good = fields.list("is");
    if good.is_empty() {
        return Err(ArgError::new(arg, format!("`{arg}` needs `is`")));
    }
    let device = match (fields.text("device"), fields.text("path")) {
        (Some(device), None) => Ok(device.strip_prefix("/dev/").unwrap_or(&device).to_owned()),
        (None, Some(path)) => Err(path),
        _ => return Err(ArgError::new(arg, format!("`{arg}` needs either `device` or `path`"))),
    };
    Ok(Check::Queue { knob, device, good })
}

fn thp(value: &Value, checks: &mut Vec<Check>) -> Result<(), ArgError> {
    let fields = Fields::new("thp", value, &["enabled", "defrag"])?;
    for name in fields.map.keys() {
        checks.push(Check::Thp {
            name: name.clone(),
            good: fields.list(name),
        });
    }
    Ok(())
}

fn ports(value: &Value, checks: &mut Vec<Check>) -> Result<(), ArgError> {
    let number = |text: &str| match text.trim().parse::<u16>() {
        Ok(port) if port > 0 => Ok(port),
        _ => Err(ArgError::new("port", format!("`{text}` is not a TCP port"))),
    };
    match value {
        Value::Array(items) => items.iter().try_for_each(|v| ports(v, checks)),
        Value::Object(_) => {
            let fields = Fields::new("port", value, &["port", "host", "is", "timeout"])?;
            let state = fields.text("is").unwrap_or_else(|| "open".to_owned());
            if !["open", "closed"].contains(&state.as_str()) {
                return Err(ArgError::new(
                    "port",
                    format!("a port is `open` or `closed`, not `{state}`"),
                ));
            }
            let timeout = fields.text("timeout").unwrap_or_else(|| "5".to_owned());
            checks.push(Check::Port {
                host: fields.text("host").unwrap_or_else(|| "127.0.0.1".to_owned()),
                port: number(&fields.need("port")?)?,
                open: state == "open",
                timeout_s: timeout
                    .parse()
                    .map_err(|_| ArgError::new("port", format!("`timeout` needs seconds, not `{timeout}`")))?,
            });
            Ok(())
        }
        value => {
            checks.push(Check::Port {
                host: "127.0.0.1".to_owned(),
                port: number(&plain(value))?,
                open: true,
                timeout_s: 5,
            });
            Ok(())
        }
    }
}

fn service(value: &Value) -> Result<Check, ArgError> {
    if !value.is_object() {
        return Ok(Check::Service {
            name: plain(value),
            state: Some("active".to_owned()),
            enabled: None,
        });
    }
    let fields = Fields::new("service", value, &["name", "is", "enabled"])?;
    let enabled = fields.bool("enabled")?;
    let state = fields
        .text("is")
        .or_else(|| enabled.is_none().then(|| "active".to_owned()));
    Ok(Check::Service {
        name: fields.need("name")?,
        state,
        enabled,
    })
}

fn file(value: &Value) -> Result<Check, ArgError> {
    let allowed = [
        "path", "exists", "contains", "matches", "sha256", "mode", "owner", "group",
    ];
    let as_map;
    let value = if value.is_object() {
        value
    } else {
        as_map = Value::Object(Map::from_iter([("path".to_owned(), value.clone())]));
        &as_map
    };
    let fields = Fields::new("file", value, &allowed)?;
    let mut matches = Vec::new();
    for pattern in fields.list("matches") {
        let regex = fancy_regex::RegexBuilder::new(&pattern)
            .multi_line(true)
            .build()
            .map_err(|e| ArgError::new("file", format!("`{pattern}` is not a pattern: {e}")))?;
        matches.push((pattern, regex));
    }
    let mode = match fields.get("mode") {
        None => None,
        // YAML 1.1 reads 0644 as octal, so the integer is the mode itself.
        Some(Value::Number(n)) => n.as_u64().and_then(|n| u32::try_from(n).ok()),
        Some(text) => Some(
            u32::from_str_radix(&plain(text), 8)
                .map_err(|_| ArgError::new("file", format!("`mode` is octal, `\"0644\"`, not `{}`", plain(text))))?,
        ),
    };
    Ok(Check::File(FileCheck {
        path: fields.need("path")?,
        exists: fields.bool("exists")?.unwrap_or(true),
        contains: fields.list("contains"),
        matches,
        sha256: fields.text("sha256").map(|s| s.to_ascii_lowercase()),
        mode,
        owner: fields.text("owner"),
        group: fields.text("group"),
    }))
}

fn process(value: &Value) -> Result<Check, ArgError> {
    if !value.is_object() {
        return Ok(Check::Process {
            unit: plain(value),
            cpus: None,
        });
    }
    let fields = Fields::new("process", value, &["service", "cpus"])?;
    let list = fields.list("cpus").join(",");
    let cpus = match cpu_list(&list) {
        _ if list.is_empty() => None,
        Some(cpus) => Some(cpus),
        None => return Err(ArgError::new("process", format!("`{list}` is not a list of CPUs"))),
    };
    Ok(Check::Process {
        unit: fields.need("service")?,
        cpus,
    })
}

fn size(arg: &'static str, text: &str) -> Result<Size, ArgError> {
    let text = text.trim();
    let at = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(at);
    let number: f64 = number
        .parse()
        .map_err(|_| ArgError::new(arg, format!("`{text}` is not a size")).help("write `1GiB`, `500MB` or `10%`"))?;
    let factor: f64 = match unit.trim() {
        "%" if number <= 100.0 => return Ok(Size::Percent(number as u64)),
        "" | "B" => 1.0,
        "K" | "KiB" => 1024.0,
        "M" | "MiB" => 1024.0 * 1024.0,
        "G" | "GiB" => 1024.0 * 1024.0 * 1024.0,
        "T" | "TiB" => 1024.0 * 1024.0 * 1024.0 * 1024.0,
        "kB" | "KB" => 1e3,
        "MB" => 1e6,
        "GB" => 1e9,
        "TB" => 1e12,
        _ => return Err(ArgError::new(arg, format!("`{text}` is not a size")).help("write `1GiB`, `500MB` or `10%`")),
    };
    Ok(Size::Bytes((number * factor) as u64))
}

/// Blank-separated whole numbers; `None` where one is not.
pub fn numbers(text: &str) -> Option<Vec<i128>> {
    text.split_whitespace().map(|w| w.parse().ok()).collect()
}
