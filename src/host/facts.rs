//! PURE. What a host said of itself, as facts under Ansible's names without the `ansible_` prefix. Which file says what
//! follows ansible-core's `setup` module; a test compares the two on a real machine.

mod hardware;
mod local;
mod network;
mod system;

use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// Files by path and commands' answers by name, as `transport/facts.sh` sends them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Parts(pub BTreeMap<String, Vec<u8>>);

type Facts = Map<String, Value>;

/// A JSON object. A part that is missing or makes no sense leaves its facts out, or `NA` where Ansible says so.
pub fn parse(parts: &Parts) -> Value {
    let mut facts = Facts::new();
    system::distribution(parts, &mut facts);
    system::kernel(parts, &mut facts);
    system::user(parts, &mut facts);
    system::date_time(parts, &mut facts);
    system::managers(parts, &mut facts);
    system::virtualization(parts, &mut facts);
    system::firmware(parts, &mut facts);
    system::security(parts, &mut facts);
    local::all(parts, &mut facts);
    hardware::memory(parts, &mut facts);
    hardware::processors(parts, &mut facts);
    hardware::mounts(parts, &mut facts);
    hardware::devices(parts, &mut facts);
    network::all(parts, &mut facts);
    network::dns(parts, &mut facts);
    Value::Object(facts)
}

impl Parts {
    /// Text of a part without white space around it; empty where there is none.
    fn text(&self, name: &str) -> &str {
        let bytes = self.0.get(name).map_or(&[][..], Vec::as_slice);
        std::str::from_utf8(bytes).unwrap_or_default().trim()
    }

    fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// Text, or `None` for a part that is missing or empty.
    fn some(&self, name: &str) -> Option<&str> {
        Some(self.text(name)).filter(|text| !text.is_empty())
    }

    fn exists(&self, path: &str) -> bool {
        self.text("exists").lines().any(|line| line == path)
    }

    /// Names in one directory: what stands between `before` and the next `/` in the parts' names and the paths that exist.
    fn names_below(&self, before: &str) -> Vec<&str> {
        let paths = self.0.keys().map(String::as_str).chain(self.text("exists").lines());
        let mut names: Vec<&str> = paths
            .filter_map(|path| path.strip_prefix(before)?.split('/').next())
            .filter(|name| !name.is_empty())
            .collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// A file of the asking process itself.
    fn own(&self, file: &str) -> &[u8] {
        let is_own = |path: &str| {
            path.strip_prefix("/proc/")
                .and_then(|rest| rest.split_once('/'))
                .is_some_and(|(pid, rest)| rest == file && pid != "1" && pid.bytes().all(|b| b.is_ascii_digit()))
        };
        self.0
            .iter()
            .find(|(path, _)| is_own(path))
            .map_or(&[], |(_, bytes)| bytes)
    }
}

/// The values of `key=value` lines, unquoted.
fn assignments(text: &str) -> BTreeMap<&str, String> {
    text.lines()
        .filter_map(|line| line.trim().split_once('='))
        .map(|(key, value)| {
            let unquoted = shlex::split(value).map(|words| words.join(" "));
            (key.trim(), unquoted.unwrap_or_else(|| value.to_owned()))
        })
        .collect()
}

#[cfg(test)]
mod tests;
