//! rabbitmq.conf from values: a tree or flat, with a profile below.

use super::schema::{self, Type};
use super::{Target, profile};
use crate::rabbitmq::Version;
use serde_json::{Map, Value};

/// Keys with their values, in order.
pub type Settings = Vec<(String, String)>;

/// A value that cannot be written: its key, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CannotWrite {
    pub key: String,
    pub why: String,
}

/// The settings of `values`: `{ssl_options: {verify: verify_none}}` and `{ssl_options.verify: verify_none}` are the same; a
/// list counts from 1; a null takes a key out.
pub fn flatten(values: &Map<String, Value>) -> Result<Vec<(String, Option<String>)>, CannotWrite> {
    let mut out = Vec::new();
    for (key, value) in values {
        below(key, value, &mut out)?;
    }
    Ok(out)
}

fn below(key: &str, value: &Value, out: &mut Vec<(String, Option<String>)>) -> Result<(), CannotWrite> {
    match value {
        Value::Object(map) => {
            for (name, value) in map {
                below(&format!("{key}.{name}"), value, out)?;
            }
        }
        Value::Array(items) => {
            for (i, value) in items.iter().enumerate() {
                below(&format!("{key}.{}", i + 1), value, out)?;
            }
        }
        Value::Null => out.push((key.to_owned(), None)),
        value => out.push((key.to_owned(), Some(scalar(key, value)?))),
    }
    Ok(())
}

fn scalar(key: &str, value: &Value) -> Result<String, CannotWrite> {
    let why = |why: &str| CannotWrite {
        key: key.to_owned(),
        why: why.to_owned(),
    };
    let wants = |wanted: fn(&Type) -> bool| {
        schema::find(key)
            .and_then(|k| k.shape(None))
            .is_some_and(|s| s.types.iter().any(wanted))
    };
    Ok(match value {
        // A number where the schema wants one with a dot.
        Value::Number(n) if n.is_i64() && wants(|t| matches!(t, Type::Float { .. })) => format!("{n}.0"),
        Value::Bool(b) if wants(|t| matches!(t, Type::Flag)) => if *b { "on" } else { "off" }.to_owned(),
        Value::String(text) if text.is_empty() => return Err(why("it is empty, and a node cannot read that")),
        Value::String(text) if text.contains(['\n', '\r']) => return Err(why("a value has one line")),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    })
}

/// Puts `values` over the profile's settings: a key that stands for the same as one of the profile's takes its place.
pub fn settings(profile: Option<&str>, values: Vec<(String, Option<String>)>, version: Option<Version>) -> Settings {
    let mut out = profile.map(|name| profile::settings(name, version)).unwrap_or_default();
    out.retain(|(own, _)| !values.iter().any(|(key, _)| same_thing(own, key)));
    out.extend(values.into_iter().filter_map(|(key, value)| Some((key, value?))));
    out
}

/// `.absolute` and `.relative` of one limit, the old and the new name of a key, a listener and no listeners.
fn same_thing(own: &str, key: &str) -> bool {
    let base = |key: &str| {
        key.strip_suffix(".absolute")
            .or_else(|| key.strip_suffix(".relative"))
            .map(str::to_owned)
    };
    let new_name = |key: &str| super::new_name(key).unwrap_or(key).to_owned();
    own == key
        || (base(own).is_some() && base(own) == base(key))
        || new_name(own) == new_name(key)
        || (key == "listeners.tcp" && own.starts_with("listeners.tcp."))
}

/// The text of a file with these settings.
pub fn render(settings: &Settings, heading: &str, target: &Target) -> Result<String, CannotWrite> {
    let mut out = format!("# {heading}\n");
    for (key, value) in settings {
        // What the reader would take for something else.
        let plain = !value.contains('#') && !value.starts_with(['\'', ' ', '\t']) && !value.ends_with([' ', '\t']);
        if plain {
            out.push_str(&format!("{key} = {value}\n"));
        } else if value.contains('\'') || target.before(Version::new(3, 13, 0)) {
            return Err(CannotWrite {
                key: key.clone(),
                why: "RabbitMQ would read another value: it ends at a `#`, and quotes protect one since 3.13 only"
                    .to_owned(),
            });
        } else {
            out.push_str(&format!("{key} = '{value}'\n"));
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn written(profile: Option<&str>, values: Value, version: Version) -> Result<String, CannotWrite> {
        let values = flatten(values.as_object().unwrap())?;
        let version = Some(version);
        render(&settings(profile, values, version), "x", &Target::new(version))
    }

    const OLD: Version = Version::new(3, 10, 8);
    const NEW: Version = Version::new(4, 0, 5);

    #[test]
    fn trees_and_flat_keys_are_the_same() {
        let tree = json!({"listeners": {"tcp": {"default": 5672}}, "ssl_options": {"versions": ["tlsv1.3", "tlsv1.2"]}, "x": null});
        let flat = json!({"listeners.tcp.default": "5672", "ssl_options.versions.1": "tlsv1.3", "ssl_options.versions.2": "tlsv1.2"});
        let expected =
            "# x\nlisteners.tcp.default = 5672\nssl_options.versions.1 = tlsv1.3\nssl_options.versions.2 = tlsv1.2\n";
        assert_eq!(written(None, tree, NEW).unwrap(), expected);
        assert_eq!(written(None, flat, NEW).unwrap(), expected);
    }

    #[test]
    fn values_are_written_as_they_are_read() {
        let values = json!({"vm_memory_high_watermark.relative": 0.5, "disk_free_limit.relative": 1, "tcp_listen_options.nodelay": true,
            "default_pass": "a#b"});
        let expected = "# x\nvm_memory_high_watermark.relative = 0.5\ndisk_free_limit.relative = 1.0\ntcp_listen_options.nodelay = true\n\
                        default_pass = 'a#b'\n";
        assert_eq!(written(None, values.clone(), NEW).unwrap(), expected);
        assert_eq!(written(None, values, OLD).unwrap_err().key, "default_pass");
        assert_eq!(
            written(None, json!({"default_pass": "a'#b"}), NEW).unwrap_err().key,
            "default_pass"
        );
        assert!(written(None, json!({"default_pass": ""}), NEW).is_err());
    }

    #[test]
    fn values_take_the_place_of_the_profiles() {
        let values =
            json!({"disk_free_limit.absolute": 1000, "channel_max": 64, "listeners.tcp": "none", "heartbeat": null});
        let text = written(Some("balanced"), values, Version::new(4, 3, 5)).unwrap();
        for gone in [
            "disk_free_limit.relative",
            "max_channels_per_connection",
            "listeners.tcp.default",
            "heartbeat",
        ] {
            assert!(!text.contains(gone), "{gone} in {text}");
        }
        for there in [
            "disk_free_limit.absolute = 1000\n",
            "channel_max = 64\n",
            "listeners.tcp = none\n",
        ] {
            assert!(text.contains(there), "{there} in {text}");
        }
    }
}
