//! What `systemctl show` says of a unit once systemd has read its drop-ins again.

use super::{keys, values};
use std::collections::BTreeMap;

/// The answer `shown` of `systemctl show ... UNIT` (its full name), with what drop-ins change in it: path and text (`None`:
/// removed). What a foreign drop-in further on may say otherwise stays as it was.
pub fn reloaded(shown: &str, unit: &str, drop_ins: &BTreeMap<String, Option<String>>) -> String {
    let dir = format!("/etc/systemd/system/{unit}.d/");
    let ours: Vec<(&String, &Option<String>)> = drop_ins.iter().filter(|(p, _)| p.starts_with(&dir)).collect();
    if ours.is_empty() || !shown.lines().any(|l| l == "LoadState=loaded") {
        return shown.to_owned();
    }
    let mut lines: Vec<(String, String)> = shown
        .lines()
        .filter_map(|l| l.split_once('='))
        .map(|(k, v)| (k.to_owned(), v.to_owned()))
        .collect();
    let mut all: Vec<String> = get(&lines, "DropInPaths")
        .split_whitespace()
        .map(str::to_owned)
        .collect();
    all.retain(|p| !drop_ins.contains_key(p));
    let foreign = all.iter().map(|p| name(p)).max().unwrap_or_default().to_owned();
    all.extend(ours.iter().filter(|(_, t)| t.is_some()).map(|(p, _)| (*p).clone()));
    all.sort_by(|a, b| name(a).cmp(name(b)));
    set(&mut lines, "DropInPaths", all.join(" "));
    set(&mut lines, "NeedDaemonReload", "no".to_owned());
    for (path, text) in ours {
        let Some(text) = text.as_ref().filter(|_| name(path) > foreign.as_str()) else {
            continue;
        };
        for key in keys(text, "Service") {
            settle(&mut lines, &key, &values(text, "Service", &key));
        }
    }
    lines.iter().map(|(k, v)| format!("{k}={v}\n")).collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    const SHOWN: &str = "LoadState=loaded\nDropInPaths=/etc/systemd/system/x.service.d/50-a.conf\nNeedDaemonReload=yes\n\
        Environment=A=1\nLimitNOFILE=1024\nLimitNOFILESoft=1024\nTimeoutStopUSec=1min 30s\n";

    fn after(name: &str, text: Option<&str>) -> String {
        let path = format!("/etc/systemd/system/x.service.d/{name}");
        reloaded(SHOWN, "x.service", &BTreeMap::from([(path, text.map(str::to_owned))]))
    }

    #[test]
    fn settings_of_a_drop_in_are_loaded() {
        let text = after(
            "60-b.conf",
            Some("[Service]\nLimitNOFILE=9:10\nEnvironment=B=2\nTimeoutStopSec=600\n"),
        );
        let dir = "/etc/systemd/system/x.service.d";
        assert_eq!(
            text,
            format!(
                "LoadState=loaded\nDropInPaths={dir}/50-a.conf {dir}/60-b.conf\nNeedDaemonReload=no\n\
                 Environment=A=1 B=2\nLimitNOFILE=10\nLimitNOFILESoft=9\nTimeoutStopUSec=600\n"
            )
        );
    }

    #[test]
    fn what_a_later_file_says_is_not_known() {
        let text = after("40-b.conf", Some("[Service]\nLimitNOFILE=10\n"));
        assert!(
            text.contains("LimitNOFILE=1024\n") && text.contains("40-b.conf"),
            "{text}"
        );
    }

    #[test]
    fn a_drop_in_that_is_gone_is_not_listed() {
        let text = after("50-a.conf", None);
        assert!(text.contains("DropInPaths=\n"), "{text}");
    }
}
