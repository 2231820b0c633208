//! Values as exports write them: an Erlang proplist comes as a list of pairs where it was given as a mapping.

use serde_json::{Map, Number, Value};

/// One form of what means the same: lists of pairs are mappings, keys are sorted, `1.0` is `1`. An empty mapping and
/// an empty list cannot be told apart.
pub fn canonical(value: &Value) -> Value {
    match value {
        Value::Array(list) => match pairs(list) {
            Some(map) => sorted(&map),
            None => Value::Array(list.iter().map(canonical).collect()),
        },
        Value::Object(map) => sorted(map),
        Value::Number(number) => match number.as_f64() {
            Some(float) if number.is_f64() && float.fract() == 0.0 && float.abs() < 9e15 => {
                Value::Number(Number::from(float as i64))
            }
            _ => value.clone(),
        },
        other => other.clone(),
    }
}

/// Whether two values mean the same.
pub fn same(one: &Value, other: &Value) -> bool {
    canonical(one) == canonical(other)
}

/// A mapping, however it is written.
pub fn object(value: &Value) -> Option<Map<String, Value>> {
    match value {
        Value::Object(map) => Some(map.clone()),
        Value::Array(list) if list.is_empty() => Some(Map::new()),
        Value::Array(list) => pairs(list),
        _ => None,
    }
}

/// On one line, for a diff.
pub fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn sorted(map: &Map<String, Value>) -> Value {
    let mut entries: Vec<(String, Value)> = map.iter().map(|(k, v)| (k.clone(), canonical(v))).collect();
    entries.sort_by(|one, other| one.0.cmp(&other.0));
    Value::Object(entries.into_iter().collect())
}

fn pairs(list: &[Value]) -> Option<Map<String, Value>> {
    let pair = |entry: &Value| match entry.as_array().map(Vec::as_slice) {
        Some([Value::String(key), value]) => Some((key.clone(), value.clone())),
        _ => None,
    };
    // `[]` may be either: a mapping with nothing in it.
    let map: Option<Map<String, Value>> = list.iter().map(pair).collect();
    map.filter(|map| map.len() == list.len())
}
