//! PURE. Passwords inside URIs (`amqp://user:password@host`) and in the items of loops do not leave the engine: in what is
//! told of a task a tag stands for each, equal for equal passwords of one run.

use crate::engine::event::{Failed, HostResult};
use crate::host::{Content, Delta, Facet};
use serde_json::Value;
use sha2::Digest as _;
use std::sync::LazyLock;

static URI: LazyLock<Option<fancy_regex::Regex>> =
    LazyLock::new(|| fancy_regex::Regex::new(r"([A-Za-z][A-Za-z0-9+.-]*://[^\s/:@\x22']*:)([^\s/@\x22']+)(?=@)").ok());

/// Masks all texts of a result. `key`: of the run, so that a tag tells nothing outside of it.
pub fn uris(result: &mut HostResult, key: &str) {
    result.value.values_mut().for_each(|v| value(v, key));
    for delta in &mut result.deltas {
        facets(delta, key);
    }
    result.warnings.iter_mut().for_each(|t| text(t, key));
    if let Some(failed) = &mut result.failure {
        failure(failed, key);
    }
    for item in &mut result.items {
        text(&mut item.label, key);
        item.msg.iter_mut().for_each(|t| text(t, key));
    }
}

/// Masks each text that is, as a whole, one of the secrets a task was given: an item of its loop tells it otherwise.
pub fn given(value: &mut Value, secrets: &[String], key: &str) {
    match value {
        Value::String(text) if secrets.contains(text) => *text = format!("«secret:{}»", tagged(text, key)),
        Value::Array(list) => list.iter_mut().for_each(|v| given(v, secrets, key)),
        Value::Object(map) => map.values_mut().for_each(|v| given(v, secrets, key)),
        _ => {}
    }
}

fn failure(failed: &mut Failed, key: &str) {
    let texts = [&mut failed.msg]
        .into_iter()
        .chain(&mut failed.notes)
        .chain(&mut failed.helps);
    texts.chain(&mut failed.rendered).for_each(|t| text(t, key));
}

fn facets(delta: &mut Delta, key: &str) {
    for facet in [&mut delta.before, &mut delta.after] {
        match facet {
            Facet::Value(shown) => text(shown, key),
            Facet::Text(content) => {
                if let Ok(shown) = std::str::from_utf8(content.as_bytes())
                    && let Some(masked) = masked(shown, key)
                {
                    *content = Content::from(masked);
                }
            }
            // Modules tag a secret with its digest; outside it says no more than equal or not.
            Facet::Secret(tag) => *tag = tagged(tag, key),
            Facet::Absent | Facet::Unknown(_) => {}
        }
    }
}

fn value(value: &mut Value, key: &str) {
    match value {
        Value::String(shown) => text(shown, key),
        Value::Array(list) => list.iter_mut().for_each(|v| self::value(v, key)),
        Value::Object(map) => map.values_mut().for_each(|v| self::value(v, key)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn text(text: &mut String, key: &str) {
    if let Some(masked) = masked(text, key) {
        *text = masked;
    }
}

fn masked(text: &str, key: &str) -> Option<String> {
    if !text.contains("://") {
        return None;
    }
    let uri = URI.as_ref()?;
    let tag = |captures: &fancy_regex::Captures<'_, str>| {
        let part = |n| captures.get(n).map_or("", |m| m.as_str());
        format!("{}«secret:{}»", part(1), tagged(part(2), key))
    };
    Some(uri.replace_all(text, tag).into_owned())
}

/// Equal for what is equal, within one run.
fn tagged(secret: &str, key: &str) -> String {
    let digest = sha2::Sha256::digest(format!("{key}\0{secret}"));
    crate::host::bytes::hex(&digest[..2])
}

#[cfg(test)]
mod tests {
    use super::masked;

    #[test]
    fn a_password_gives_way_to_a_tag() {
        let one = masked("a amqp://u:hunter2@h/v, https://h:80/x@y", "k").unwrap();
        assert!(one.starts_with("a amqp://u:«secret:"), "{one}");
        assert!(one.ends_with("»@h/v, https://h:80/x@y"), "{one}");
        assert!(!one.contains("hunter2"));
        assert_eq!(
            masked("x://u:a@h x://u:a@h", "k").unwrap().matches("«secret:").count(),
            2
        );
        assert_ne!(masked("x://u:a@h", "k"), masked("x://u:b@h", "k"));
        assert_ne!(masked("x://u:a@h", "k"), masked("x://u:a@h", "other"));
        assert_eq!(masked("nothing of it", "k"), None);
    }
}
