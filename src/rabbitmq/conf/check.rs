//! A configuration as a whole: every key, every value, and what they are together.

use super::advice::{RENAMED, advise};
use super::schema::{self, Key, Range};
use super::value::mismatch;
use super::{Line, Setting, Target, shown, stranger};
use crate::diagnostic::{Code, Diagnostic, similar_name};
use crate::rabbitmq::Version;
use std::collections::HashMap;

/// Checks what a node reads, in the order it reads it (`rabbitmq.conf`, then `conf.d/*.conf` by name, an included file in its
/// place): of a key that is set twice, the later counts.
pub fn check(lines: &[Line], target: &Target) -> Vec<Diagnostic> {
    let (mut out, settings) = each_and_twice(lines, target);
    together(&settings, &mut out);
    out
}

/// Checks lines beside which others may stand: nothing is said of what is missing.
pub fn check_part(lines: &[Line], target: &Target) -> Vec<Diagnostic> {
    each_and_twice(lines, target).0
}

fn each_and_twice<'l>(lines: &'l [Line], target: &Target) -> (Vec<Diagnostic>, HashMap<&'l str, &'l Setting>) {
    let mut out = Vec::new();
    let mut settings: HashMap<&str, &Setting> = HashMap::new();
    for line in lines {
        let Line::Setting(setting) = line else { continue };
        one(setting, target, &mut out);
        if let Some(first) = settings.insert(&setting.key, setting) {
            out.push(twice(first, setting, first.key_span.file == setting.key_span.file));
        }
    }
    (out, settings)
}

/// Checks each setting for itself: all that can be told of the lines of a template.
pub fn check_each(lines: &[Line], target: &Target) -> Vec<Diagnostic> {
    let mut out = Vec::new();
    for line in lines {
        if let Line::Setting(setting) = line {
            one(setting, target, &mut out);
        }
    }
    out
}

fn one(setting: &Setting, target: &Target, out: &mut Vec<Diagnostic>) {
    let Some(key) = schema::find(&setting.key) else {
        if !is_extra(&setting.key, target) {
            out.push(unknown(setting, target));
        }
        return;
    };
    if let Some(version) = target.version.filter(|v| !key.is_in(*v)) {
        out.push(other_release(key, setting, version));
        return;
    }
    if let Some(plugins) = &target.plugins
        && key.plugin != "rabbit"
        && !plugins.iter().any(|p| p == key.plugin)
    {
        out.push(
            Diagnostic::warning(
                Code::CONF_NO_EFFECT,
                format!(
                    "`{}` has no effect: the plugin `{}` is not enabled",
                    setting.key, key.plugin
                ),
            )
            .at(setting.key_span, ""),
        );
    }
    let Some(value) = &setting.value else { return };
    match wrong(key, value, target) {
        Some(expected) => out.push(bad_value(key, setting, value, &expected)),
        None => advise(key, setting, value, target, out),
    }
}

/// Why the value is wrong; of a version not known, wrong for every release.
fn wrong(key: &Key, value: &str, target: &Target) -> Option<String> {
    if target.version.is_some() {
        return mismatch(key.shape(target.version)?, value);
    }
    let mut newest = None;
    for (_, shape) in &key.shapes {
        newest = Some(mismatch(shape, value)?);
    }
    newest
}

fn is_extra(key: &str, target: &Target) -> bool {
    target.extra_keys.iter().any(|extra| match extra.strip_suffix(".*") {
        Some(front) => key.strip_prefix(front).is_some_and(|rest| rest.starts_with('.')),
        None => extra == key,
    })
}

fn unknown(setting: &Setting, target: &Target) -> Diagnostic {
    let key = &setting.key;
    let found = Diagnostic::error(Code::CONF_KEY, format!("`{key}` is no setting of RabbitMQ"))
        .at(setting.key_span, "the node does not start with it");
    let below: Vec<&str> = candidates(target)
        .map(|k| k.name)
        .filter(|name| {
            name.strip_prefix(key.as_str())
                .is_some_and(|rest| rest.starts_with('.'))
        })
        .collect();
    match below.as_slice() {
        [] => {}
        [one] => return found.help(format!("there is `{one}`")),
        [one, two] => return found.help(format!("there are `{one}` and `{two}`")),
        [one, two, ..] => return found.help(format!("there are `{one}`, `{two}` and others")),
    }
    if let Some(stranger) = stranger::of(key) {
        let found = found.note(format!("`{key}` is {}", stranger.what));
        return match stranger.help {
            Some(help) => found.help(help),
            None => found.help("leave it out here"),
        };
    }
    match similar(key, target) {
        Some(near) => found.fix("there is a setting with a similar name", setting.key_span, near),
        None => found.note(match target.version {
            Some(version) => format!(
                "neither RabbitMQ {} nor any other release from 3.7 to 4.3 knows it",
                shown(version)
            ),
            None => "no release from 3.7 to 4.3 knows it".to_owned(),
        }),
    }
}

fn candidates(target: &Target) -> impl Iterator<Item = &'static Key> {
    let version = target.version;
    schema::keys()
        .iter()
        .filter(move |k| version.is_none_or(|v| k.is_in(v)))
}

/// The key most like `written`, with its own names in the places that are free.
fn similar(written: &str, target: &Target) -> Option<String> {
    let segments = schema::segments(written);
    let names: Vec<String> = candidates(target)
        .map(|key| {
            let own: Vec<&str> = key.name.split('.').collect();
            if own.len() != segments.len() {
                return key.name.to_owned();
            }
            let filled = own
                .iter()
                .zip(&segments)
                .map(|(o, s)| if o.starts_with('$') { *s } else { *o });
            filled.collect::<Vec<_>>().join(".")
        })
        .collect();
    // Case and the two joints are mixed up most.
    let plain = |text: &str| text.to_ascii_lowercase().replace(['-', '.'], "_");
    let same = names.iter().find(|n| plain(n) == plain(written));
    same.cloned()
        .or_else(|| similar_name(written, names.iter().map(String::as_str)).map(str::to_owned))
}

fn other_release(key: &Key, setting: &Setting, version: Version) -> Diagnostic {
    let found = Diagnostic::error(
        Code::CONF_VERSION,
        format!("RabbitMQ {} does not know `{}`", shown(version), setting.key),
    )
    .at(setting.key_span, "the node does not start with it");
    let found = found.note(format!("it is known {}", releases(&key.versions)));
    if let Some((old, ..)) = RENAMED.iter().find(|(_, new, _)| *new == key.name) {
        return found.fix("its name there is", setting.key_span, *old);
    }
    match (key.name, setting.value.as_deref()) {
        ("default_queue_type", Some(kind)) => found.help(format!(
            "give virtual hosts their default: `rabbitmqctl add_vhost NAME --default-queue-type {kind}`"
        )),
        ("mqtt.subscription_ttl", _) => {
            found.help("`mqtt.max_session_expiry_interval_seconds` took its place, in seconds instead of milliseconds")
        }
        _ => found,
    }
}

/// `since 3.12.14 in 3.12, since 3.13.3`, `from 3.8 to 3.13`.
fn releases(ranges: &[Range]) -> String {
    let short = |v: Version| {
        if v.patch == 0 {
            format!("{}.{}", v.major, v.minor)
        } else {
            shown(v)
        }
    };
    let first = Version::new(3, 7, 0);
    let words = ranges.iter().map(|r| match r.to {
        None => format!("since {}", short(r.from)),
        Some(to) if r.from <= first => format!("up to {}", short(to)),
        Some(to) if to.patch == u16::MAX && to.series() == r.from.series() => {
            format!("since {} in {}", short(r.from), short(to))
        }
        Some(to) => format!("from {} to {}", short(r.from), short(to)),
    });
    words.collect::<Vec<_>>().join(", ")
}

fn bad_value(key: &Key, setting: &Setting, value: &str, expected: &str) -> Diagnostic {
    let secret = schema::is_secret(&setting.key);
    let shown = if secret {
        "what is given".to_owned()
    } else {
        format!("`{value}`")
    };
    let found = Diagnostic::error(
        Code::CONF_VALUE,
        format!("`{}` must be {expected}, not {shown}", setting.key),
    )
    .at(setting.value_span, "the node does not start with it");
    if secret {
        return found;
    }
    match better(key, value) {
        Some(new) => found.fix("this is one", setting.value_span, new),
        None => found,
    }
}

/// What was meant, where that is plain.
fn better(key: &Key, value: &str) -> Option<String> {
    let shape = key.shape(None)?;
    let fits = |new: &str| mismatch(shape, new).is_none();
    let lower = value.to_ascii_lowercase();
    let word = match lower.as_str() {
        "yes" | "on" | "1" | "enabled" => "true",
        "no" | "off" | "0" | "disabled" => "false",
        "warn" => "warning",
        "err" => "error",
        other => other,
    };
    if let Some(new) = [word, if word == "true" { "on" } else { "off" }]
        .into_iter()
        .find(|w| fits(w))
    {
        // `off` for a number would be a guess.
        return (word == "true" || word == "false" || new == lower).then(|| new.to_owned());
    }
    if let Some(share) = value.strip_suffix('%').and_then(|p| p.trim().parse::<u32>().ok()) {
        let new = format!("0.{share:02}");
        let new = if share < 100 {
            new.trim_end_matches('0').to_owned()
        } else {
            return None;
        };
        return fits(&new).then_some(new);
    }
    if value.bytes().all(|b| b.is_ascii_digit()) && fits(&format!("{value}.0")) {
        return Some(format!("{value}.0"));
    }
    if let Some(rest) = value
        .strip_prefix("localhost")
        .filter(|r| r.is_empty() || r.starts_with(':'))
    {
        let new = format!("127.0.0.1{rest}");
        return fits(&new).then_some(new);
    }
    let digits = value.find(|c: char| !c.is_ascii_digit()).unwrap_or(value.len());
    let (number, unit) = value.split_at(digits);
    let shift = match unit.trim().to_ascii_lowercase().as_str() {
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        _ => {
            let words = shape.types.iter().filter_map(|t| match t {
                schema::Type::Enum(words) => Some(words),
                _ => None,
            });
            return similar_name(value, words.flatten().copied()).map(str::to_owned);
        }
    };
    let bytes = number.parse::<i64>().ok()?.checked_mul(1 << shift)?.to_string();
    fits(&bytes).then_some(bytes)
}

/// A key that is set again: the first is silently not in force.
fn twice(first: &Setting, again: &Setting, same_file: bool) -> Diagnostic {
    let shown = |s: &Setting| match &s.value {
        Some(value) if !schema::is_secret(&s.key) => format!("`{value}`"),
        _ => "the later value".to_owned(),
    };
    let message = format!("`{}` is set twice", again.key);
    let same_value = first.value.is_some() && first.value == again.value;
    // Later files are there to replace what earlier ones say; a line of one file is not.
    let (found, note) = match (same_file, same_value) {
        (true, false) => (
            Diagnostic::error(Code::CONF_TWICE, message),
            format!("the last one counts, without a word from the node: {}", shown(again)),
        ),
        (_, true) => (
            Diagnostic::warning(Code::CONF_TWICE, message),
            "both times with the same value".to_owned(),
        ),
        (false, false) => (
            Diagnostic::warning(Code::CONF_TWICE, message),
            format!("the later file wins: {}", shown(again)),
        ),
    };
    let found = found.at(again.key_span, "again here");
    if same_file {
        found.context(first.key_span, "first here").note(note)
    } else {
        found.related("set before", first.key_span, "here").note(note)
    }
}

/// What keys are to each other.
fn together(settings: &HashMap<&str, &Setting>, out: &mut Vec<Diagnostic>) {
    let get = |key: &str| settings.get(key).copied();
    let value = |key: &str| get(key).and_then(|s| s.value.as_deref());
    for base in ["vm_memory_high_watermark", "disk_free_limit"] {
        let (absolute, relative) = (format!("{base}.absolute"), format!("{base}.relative"));
        if let (Some(a), Some(r)) = (get(&absolute), get(&relative)) {
            let (first, last) = if a.key_span < r.key_span { (a, r) } else { (r, a) };
            out.push(
                Diagnostic::error(
                    Code::CONF_TWICE,
                    format!("`{base}` is given as `.absolute` and as `.relative`"),
                )
                .at(last.key_span, "only one of them counts")
                .context(first.key_span, "the other one")
                .note("`.absolute` wins since RabbitMQ 3.13, `.relative` before"),
            );
        }
    }
    needs_recovery(settings, out);
    let all = ["configure", "read", "write"].map(|k| format!("default_permissions.{k}"));
    let given: Vec<&Setting> = all.iter().filter_map(|k| get(k)).collect();
    if let (Some(first), true) = (given.first(), given.len() < all.len()) {
        let missing: Vec<String> = all
            .iter()
            .filter(|k| get(k).is_none())
            .map(|k| format!("`{k}`"))
            .collect();
        out.push(
            Diagnostic::error(Code::CONF_VALUE, "`default_permissions` are three, or none")
                .at(first.key_span, "the node does not start with some of them")
                .help(format!("add {}", missing.join(" and "))),
        );
    }
    for key in ["log.syslog.ip", "log.syslog.host"] {
        if let Some(setting) = get(key)
            && (get("log.syslog").is_none() || value("log.syslog") == Some("false"))
        {
            out.push(
                Diagnostic::error(Code::CONF_VALUE, format!("`{key}` needs `log.syslog = true`"))
                    .at(setting.key_span, "the node does not start without it"),
            );
        }
    }
    tls(settings, out);
}

fn needs_recovery(settings: &HashMap<&str, &Setting>, out: &mut Vec<Diagnostic>) {
    let handling = settings.get("cluster_partition_handling").copied();
    let nodes = settings
        .iter()
        .filter(|(k, _)| k.starts_with("cluster_partition_handling.pause_if_all_down.nodes."))
        .map(|(_, s)| *s)
        .min_by_key(|s| s.key_span);
    let recover = settings.contains_key("cluster_partition_handling.pause_if_all_down.recover");
    match handling.and_then(|s| Some((s, s.value.as_deref()?))) {
        Some((setting, "pause_if_all_down")) if nodes.is_none() || !recover => {
            let missing = match (nodes.is_none(), recover) {
                (true, false) => "`.nodes.1` and `.recover`",
                (true, true) => "`.nodes.1`",
                _ => "`.recover`",
            };
            out.push(
                Diagnostic::error(
                    Code::CONF_VALUE,
                    "`pause_if_all_down` must know nodes and how to recover",
                )
                .at(setting.value_span, "the node does not start without them")
                .help(format!(
                    "add `cluster_partition_handling.pause_if_all_down` with {missing}"
                )),
            );
        }
        _ => {
            if let (Some(setting), None) = (nodes, handling) {
                out.push(
                    Diagnostic::error(
                        Code::CONF_VALUE,
                        format!(
                            "`{}` needs `cluster_partition_handling = pause_if_all_down`",
                            setting.key
                        ),
                    )
                    .at(setting.key_span, "the node does not start without it"),
                );
            }
        }
    }
}

/// The plain port beside TLS, certificates that are asked for and not needed (docs: ssl).
fn tls(settings: &HashMap<&str, &Setting>, out: &mut Vec<Diagnostic>) {
    let value = |key: &str| settings.get(key).and_then(|s| s.value.as_deref());
    let listener = |kind: &str| {
        let prefix = format!("listeners.{kind}.");
        let first = settings.iter().filter(|(k, _)| k.starts_with(&prefix)).map(|(_, s)| *s);
        first.min_by_key(|s| s.key_span)
    };
    if let (Some(plain), Some(tls)) = (listener("tcp"), listener("ssl"))
        && value("listeners.tcp") != Some("none")
    {
        out.push(
            Diagnostic::warning(Code::CONF_ADVICE, "the port without TLS stays open")
                .at(plain.key_span, "plain")
                .context(tls.key_span, "TLS")
                .help("where all clients speak TLS: `listeners.tcp = none`"),
        );
    }
    if let Some(setting) = settings.get("ssl_options.fail_if_no_peer_cert")
        && setting.value.as_deref() == Some("false")
        && value("ssl_options.verify") == Some("verify_peer")
    {
        out.push(
            Diagnostic::warning(Code::CONF_ADVICE, "clients without a certificate are let in")
                .at(setting.value_span, "")
                .note("`verify_peer` looks only at the certificates that are shown")
                .help("`true` asks every client for one; `ssl_options.verify = verify_none` asks none"),
        );
    }
}
