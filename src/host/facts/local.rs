//! Facts an administrator put into `/etc/ansible/facts.d`.

use super::{Facts, Parts};
use serde_json::{Map, Value, json};

const DIR: &str = "/etc/ansible/facts.d/";

/// Files ending in `.fact`: JSON or INI, or programs that say such.
pub fn all(parts: &Parts, facts: &mut Facts) {
    let mut local = Map::new();
    for file in parts.names_below(DIR) {
        let Some(name) = file.strip_suffix(".fact") else {
            continue;
        };
        let path = format!("{DIR}{file}");
        let text = parts.text(&path);
        let value = match parts.some(&format!("{path} status")) {
            Some(status) => json!(format!("Failure executing fact script ({path}), rc: {status}")),
            None if !parts.has(&path) => json!(format!(
                "error loading fact - please check content: {path} cannot be read"
            )),
            None => (serde_json::from_str(text).ok().or_else(|| ini(text))).unwrap_or_else(|| {
                json!(format!(
                    "error loading facts as JSON or ini - please check content: {path}"
                ))
            }),
        };
        local.insert(name.to_owned(), value);
    }
    facts.insert("local".into(), Value::Object(local));
}

/// As Python's configparser reads it: keys in lower case, `[DEFAULT]` in every section, values go on in lines that are
/// indented further. `None`: it would not read this.
fn ini(text: &str) -> Option<Value> {
    let mut sections: Vec<(String, Vec<(String, String)>)> = Vec::new();
    let mut indent = 0;
    let mut open = false;
    for line in text.lines() {
        let content = line.trim();
        let depth = line.len() - line.trim_start().len();
        if content.starts_with(['#', ';']) {
            continue;
        }
        let last = sections.last_mut().and_then(|(_, options)| options.last_mut());
        match last {
            Some((_, value)) if open && (content.is_empty() || depth > indent) => {
                value.push('\n');
                value.push_str(content);
                continue;
            }
            _ if content.is_empty() => continue,
            _ => indent = depth,
        }
        let header = content.strip_prefix('[').and_then(|rest| rest.rsplit_once(']'));
        if let Some((section, _)) = header.filter(|(name, _)| !name.is_empty()) {
            if section != "DEFAULT" && sections.iter().any(|(known, _)| known == section) {
                return None;
            }
            sections.push((section.to_owned(), Vec::new()));
            open = false;
            continue;
        }
        let (key, value) = content.split_once(['=', ':'])?;
        let (_, options) = sections.last_mut()?;
        let key = key.trim().to_lowercase();
        if key.is_empty() || options.iter().any(|(known, _)| *known == key) {
            return None;
        }
        options.push((key, value.trim().to_owned()));
        open = true;
    }
    let as_map = |options: &[(String, String)]| -> Map<String, Value> {
        let pairs = options
            .iter()
            .map(|(key, value)| (key.clone(), json!(value.trim_end())));
        pairs.collect()
    };
    let (defaults, sections): (Vec<_>, Vec<_>) = sections.iter().partition(|(name, _)| name == "DEFAULT");
    let all = sections.into_iter().map(|(name, options)| {
        let mut values = as_map(options);
        for (key, value) in defaults.iter().flat_map(|(_, options)| as_map(options)) {
            values.entry(key).or_insert(value);
        }
        (name.clone(), Value::Object(values))
    });
    Some(Value::Object(all.collect()))
}
