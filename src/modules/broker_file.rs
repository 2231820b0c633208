//! What RabbitMQ reads, checked before it is written: for whichever module writes it (`rabbitmq_conf`, `template`, `copy`).
//! The release is the one that is installed on the host; no broker needs to run.

use super::{Failure, Seen, Stop};
use crate::diagnostic::{Diagnostic, SourceMap};
use crate::host::{Content, Observation, Probe};
use crate::rabbitmq::Version;
use crate::rabbitmq::conf::{self, Line, Target, plugins};

const DIRECTORY: &str = "/etc/rabbitmq";
const MAIN: &str = "/etc/rabbitmq/rabbitmq.conf";
const CONF_D: &str = "/etc/rabbitmq/conf.d";

/// A file RabbitMQ reads when it starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Conf,
    Advanced,
    Env,
}

/// Which of them a path is.
pub fn kind(path: &str) -> Option<Kind> {
    let (directory, name) = path.rsplit_once('/')?;
    match (directory, name) {
        (DIRECTORY, "rabbitmq.conf") => Some(Kind::Conf),
        (CONF_D, name) if name.ends_with(".conf") => Some(Kind::Conf),
        (DIRECTORY, "advanced.config") => Some(Kind::Advanced),
        (DIRECTORY, "rabbitmq-env.conf") => Some(Kind::Env),
        _ => None,
    }
}

/// Whether what is written to `path` is checked here.
pub fn is_one(path: &str) -> bool {
    kind(path).is_some()
}

/// rabbitmq.conf, or a file beside it.
pub fn conf_path(conf_d: Option<&str>) -> String {
    conf_d.map_or(MAIN.to_owned(), |name| format!("{CONF_D}/{name}"))
}

/// What the check will look at.
pub fn probes(path: &str) -> Vec<Probe> {
    match kind(path) {
        Some(Kind::Conf) => {
            let mut probes = vec![
                Version::probe(),
                Probe::read(plugins::ENABLED_PLUGINS),
                Probe::glob(format!("{CONF_D}/*.conf")),
            ];
            if path != MAIN {
                probes.push(Probe::read(MAIN));
            }
            probes
        }
        _ => Vec::new(),
    }
}

/// A configuration as a whole, with one file that is about to be written.
pub struct Judged {
    /// Of all files, in the order the node reads them.
    pub lines: Vec<Line>,
    /// As they are now, without the new content.
    pub before: Vec<Line>,
    pub warnings: Vec<String>,
}

/// The release on the host; `None`: none is there (yet).
pub fn installed(seen: &Seen<'_>) -> Result<Option<Version>, Stop> {
    Ok(match seen.raw(&Version::probe())? {
        Observation::List(paths) => Version::installed(&paths),
        // A task before this one may install it: the check is that of any release then.
        _ => None,
    })
}

/// Checks `content` for `path`: the warnings. For modules that write any file.
pub fn check(path: &str, content: &Content, seen: &Seen<'_>) -> Result<Vec<String>, Stop> {
    let target = match kind(path) {
        Some(Kind::Conf) => target(installed(seen)?, Vec::new(), seen)?,
        _ => Target::default(),
    };
    Ok(judge(path, content, &target, seen)?.warnings)
}

/// Checks `content` for `path` and fails on what RabbitMQ could not start with, or would silently take for something else.
/// Other files of the host are read with it; what is wrong in those alone is not told here.
pub fn judge(path: &str, content: &Content, target: &Target, seen: &Seen<'_>) -> Result<Judged, Stop> {
    let text = content.text();
    let map = SourceMap::default();
    let mut found = Vec::new();
    let mut judged = Judged {
        lines: Vec::new(),
        before: Vec::new(),
        warnings: Vec::new(),
    };
    match kind(path) {
        None => return Ok(judged),
        Some(Kind::Advanced) => found = conf::advanced::check(map.add(path, text.as_ref()), &text),
        Some(Kind::Env) => found = conf::env::check(map.add(path, text.as_ref()), &text),
        Some(Kind::Conf) => {
            let mut paths = match seen.raw(&Probe::glob(format!("{CONF_D}/*.conf")))? {
                Observation::List(paths) => paths,
                _ => Vec::new(),
            };
            paths.push(path.to_owned());
            paths.push(MAIN.to_owned());
            paths.sort();
            paths.dedup();
            // The main file first, whatever the names.
            paths.sort_by_key(|p| p != MAIN);
            seen.want(&paths.iter().map(Probe::read).collect::<Vec<_>>())?;
            // In the order the node reads them, which is the order of their places.
            let mut file = None;
            for other in paths {
                let old = match seen.raw(&Probe::read(&other))? {
                    Observation::Content(Some(content)) => content.text().into_owned(),
                    _ => String::new(),
                };
                let id = map.add(other.as_str(), if other == path { text.as_ref() } else { old.as_str() });
                let before = conf::parse(id, &old, target, &mut Vec::new());
                if other == path {
                    file = Some(id);
                    judged.lines.extend(conf::parse(id, &text, target, &mut found));
                } else {
                    judged.lines.extend(before.iter().cloned());
                }
                judged.before.extend(before);
            }
            let about = |d: &Diagnostic| {
                d.labels.iter().any(|l| Some(l.span.file) == file)
                    || d.related.iter().any(|r| Some(r.span.file) == file)
            };
            found.extend(conf::check(&judged.lines, target).into_iter().filter(about));
        }
    }
    found.sort_by_key(Diagnostic::position);
    let (errors, warnings): (Vec<_>, Vec<_>) = found.into_iter().partition(Diagnostic::is_error);
    judged.warnings = warnings.iter().map(|d| said(path, d, &map)).collect();
    if errors.is_empty() {
        return Ok(judged);
    }
    let whom = target
        .version
        .map_or("RabbitMQ".to_owned(), |v| format!("RabbitMQ {}", conf::shown(v)));
    let told: Vec<String> = errors.iter().map(|d| said(path, d, &map)).collect();
    let findings: Vec<serde_json::Value> = told.iter().map(|t| t.as_str().into()).collect();
    let mut failure = Failure::new(format!("{whom} cannot use this `{path}`: {}", told.join("; ")));
    failure.values.insert("findings".to_owned(), findings.into());
    failure.help = errors.iter().find_map(proposal);
    Err(Stop::Fail(failure))
}

/// `rabbitmq.conf:3: the message (the note)`.
fn said(path: &str, found: &Diagnostic, map: &SourceMap) -> String {
    let at = found.position().and_then(|span| map.locate(span));
    let place = match at {
        Some(at) if at.file == path => format!("line {}: ", at.line),
        Some(at) => format!("{} line {}: ", at.file, at.line),
        None => String::new(),
    };
    let notes = if found.notes.is_empty() {
        String::new()
    } else {
        format!(" ({})", found.notes.join("; "))
    };
    format!("{place}{}{notes}", found.message)
}

fn proposal(found: &Diagnostic) -> Option<String> {
    let fix = found
        .fixes
        .first()
        .map(|f| format!("{}: `{}`", f.message, f.replacement));
    fix.or_else(|| found.helps.first().cloned())
}

/// Files of this kind hold passwords: what is shown of one.
pub fn shown(path: &str, content: &Content) -> Content {
    match kind(path) {
        Some(Kind::Conf) => Content::from(conf::masked(&content.text())),
        _ => content.clone(),
    }
}

/// What is known of the host a file is for.
pub fn target(version: Option<Version>, extra_keys: Vec<String>, seen: &Seen<'_>) -> Result<Target, Stop> {
    let enabled = match seen.raw(&Probe::read(plugins::ENABLED_PLUGINS))? {
        Observation::Content(Some(text)) => plugins::enabled(&text.text()),
        // No file: none is enabled, once the broker is there.
        Observation::Content(None) if version.is_some() => Some(Vec::new()),
        _ => None,
    };
    Ok(Target {
        version,
        plugins: enabled,
        extra_keys,
    })
}
