//! PURE. Serial batches, and when a rollout stops.

#![deny(clippy::disallowed_methods)]

use serde_json::Value;

/// Splits hosts into batches as `serial` says: a number, a percentage of all hosts (rounded down, at least one),
/// or a list of these of which the last repeats. No `serial`: one batch. Errors are in words.
pub fn batches(serial: Option<&Value>, hosts: Vec<String>) -> Result<Vec<Vec<String>>, String> {
    let sizes: Vec<usize> = match serial {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::Array(list)) => list.iter().map(|v| size(v, hosts.len())).collect::<Result<_, _>>()?,
        Some(value) => vec![size(value, hosts.len())?],
    };
    let Some(last) = sizes.last().copied() else {
        return Ok(if hosts.is_empty() { Vec::new() } else { vec![hosts] });
    };
    let mut batches = Vec::new();
    let mut rest = hosts;
    let mut sizes = sizes.into_iter();
    while !rest.is_empty() {
        let size = match sizes.next().unwrap_or(last) {
            // Zero and below mean everything, as in Ansible.
            0 => rest.len(),
            n => n.min(rest.len()),
        };
        let tail = rest.split_off(size);
        batches.push(rest);
        rest = tail;
    }
    Ok(batches)
}

fn size(value: &Value, total: usize) -> Result<usize, String> {
    let bad = || {
        format!(
            "`serial` must be a number or a percentage, not `{}`",
            crate::modules::plain(value)
        )
    };
    match value {
        Value::Number(n) => Ok(usize::try_from(n.as_i64().ok_or_else(bad)?.max(0)).unwrap_or(0)),
        Value::String(text) => match text.trim().strip_suffix('%') {
            Some(percent) => {
                let percent: f64 = percent.trim().parse().map_err(|_| bad())?;
                // Ansible rounds down and takes at least one.
                Ok(((total as f64 * percent / 100.0).floor() as usize).max(1))
            }
            None => Ok(usize::try_from(text.trim().parse::<i64>().map_err(|_| bad())?.max(0)).unwrap_or(0)),
        },
        _ => Err(bad()),
    }
}

/// Whether so many lost hosts of a batch (failed and unreachable) are more than allowed.
pub fn too_many(lost: usize, batch: usize, max_fail_percentage: f64) -> bool {
    batch > 0 && lost as f64 / batch as f64 * 100.0 > max_fail_percentage
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn sizes(serial: Value, hosts: usize) -> Vec<usize> {
        let hosts = (0..hosts).map(|n| n.to_string()).collect();
        batches(Some(&serial), hosts).unwrap().iter().map(Vec::len).collect()
    }

    #[test]
    fn as_ansible_batches() {
        assert_eq!(sizes(json!([1, "50%"]), 6), [1, 3, 2]);
        assert_eq!(sizes(json!(4), 6), [4, 2]);
        assert_eq!(sizes(json!("30%"), 10), [3, 3, 3, 1]);
        assert_eq!(sizes(json!("1%"), 3), [1, 1, 1]);
        assert_eq!(sizes(json!(0), 3), [3]);
        assert_eq!(sizes(json!(null), 3), [3]);
        assert!(batches(Some(&json!("many")), vec!["a".to_owned()]).is_err());
    }

    #[test]
    fn the_limit_is_strict() {
        assert!(!too_many(1, 2, 50.0));
        assert!(too_many(1, 2, 49.0));
        assert!(too_many(1, 3, 0.0));
    }
}
