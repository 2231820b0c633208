//! PURE. What `systemctl show` would say of a unit after drop-ins that a dry run has not written.

use super::File;
use crate::host::{Content, ExecResult};
use crate::modules::unit::{keys, values};
use std::collections::BTreeMap;

/// Drop-ins as systemd would have read them at the last `daemon-reload`: path, text (`None`: removed).
#[derive(Clone, Debug, Default)]
pub struct Units(BTreeMap<String, Option<String>>);

impl Units {
    /// systemd reads its files as they would be by now.
    pub fn reload(&mut self, files: &BTreeMap<String, Option<File>>) {
        let is_drop_in = |path: &str| path.starts_with("/etc/systemd/system/") && path.ends_with(".conf");
        for (path, file) in files.iter().filter(|(path, _)| is_drop_in(path)) {
            let text = file.as_ref().map(|f| f.text().unwrap_or_default());
            self.0.insert(path.clone(), text);
        }
    }

    /// The answer of `systemctl show ... UNIT`, with what the drop-ins change in it.
    pub fn view(&self, argv: &[String], seen: ExecResult) -> ExecResult {
        let [program, verb, .., unit] = argv else { return seen };
        let dir = format!("/etc/systemd/system/{unit}.d/");
        let ours: Vec<(&String, &Option<String>)> = self.0.iter().filter(|(p, _)| p.starts_with(&dir)).collect();
        let text = seen.stdout.text().into_owned();
        if program != "systemctl" || verb != "show" || ours.is_empty() || !text.contains("LoadState=loaded") {
            return seen;
        }
        let mut lines: Vec<(String, String)> = text
            .lines()
            .filter_map(|l| l.split_once('='))
            .map(|(k, v)| (k.to_owned(), v.to_owned()))
            .collect();
        let mut all: Vec<String> = get(&lines, "DropInPaths")
            .split_whitespace()
            .map(str::to_owned)
            .collect();
        all.retain(|p| !self.0.contains_key(p));
        let foreign = all.iter().map(|p| name(p)).max().unwrap_or_default().to_owned();
        all.extend(ours.iter().filter(|(_, t)| t.is_some()).map(|(p, _)| (*p).clone()));
        all.sort_by(|a, b| name(a).cmp(name(b)));
        set(&mut lines, "DropInPaths", all.join(" "));
        set(&mut lines, "NeedDaemonReload", "no".to_owned());
        for (path, text) in ours {
            // What comes after it and is not known here may say otherwise.
            let Some(text) = text.as_ref().filter(|_| name(path) > foreign.as_str()) else {
                continue;
            };
            for key in keys(text, "Service") {
                settle(&mut lines, &key, &values(text, "Service", &key));
            }
        }
        let text: String = lines.iter().map(|(k, v)| format!("{k}={v}\n")).collect();
        ExecResult {
            stdout: Content::from(text),
            ..seen
        }
    }
}

fn name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

fn get<'a>(lines: &'a [(String, String)], key: &str) -> &'a str {
    lines.iter().find(|(k, _)| k == key).map_or("", |(_, v)| v)
}

fn set(lines: &mut Vec<(String, String)>, key: &str, value: String) {
    match lines.iter_mut().find(|(k, _)| k == key) {
        Some((_, old)) => *old = value,
        None => lines.push((key.to_owned(), value)),
    }
}

/// A setting of `[Service]` in the words of `systemctl show`.
fn settle(lines: &mut Vec<(String, String)>, key: &str, values: &[String]) {
    let Some(last) = values.last().cloned() else { return };
    match key {
        "Environment" => {
            let all = format!("{} {}", get(lines, key), values.join(" "));
            set(lines, key, all.trim().to_owned());
        }
        "TimeoutStopSec" => set(lines, "TimeoutStopUSec", last),
        limit if limit.starts_with("Limit") => {
            let (soft, hard) = last.split_once(':').unwrap_or((&last, &last));
            set(lines, &format!("{limit}Soft"), soft.to_owned());
            set(lines, limit, hard.to_owned());
        }
        "CPUAffinity" => set(lines, key, values.join(" ")),
        key => {
            // Only what is asked for.
            if lines.iter().any(|(k, _)| k == key) {
                set(lines, key, last);
            }
        }
    }
}
