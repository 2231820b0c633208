//! `rabbitmq.conf`, `advanced.config` and `rabbitmq-env.conf`: read with places, and checked against what the release that
//! will read them knows. No broker is asked.
//!
//! | file | holds |
//! | --- | --- |
//! | `parse.rs` | the format of rabbitmq.conf |
//! | `schema.rs`, `keys.tsv` | every key of every release; its head says how to add one |
//! | `value.rs` | whether a value is one of its key's type |
//! | `stranger.rs` | what a key really is that is none of rabbitmq.conf |
//! | `advice.rs` | values that are accepted and do harm, do nothing, or want thought |
//! | `check.rs` | all of it together, as diagnostics |
//! | `write.rs`, `profile.rs` | rabbitmq.conf from values, and the profiles |
//! | `node.rs` | what the node itself says: its verdict, and what it runs with; `pending.rs`: what is to be done about that |
//! | `advanced.rs`, `env.rs`, `plugins.rs` | the three other files; `terms.rs`: Erlang's terms |

pub mod advanced;
mod advice;
mod check;
pub mod env;
pub mod node;
mod parse;
pub mod pending;
pub mod plugins;
pub mod profile;
pub mod schema;
mod stranger;
pub mod terms;
mod value;
pub mod write;

pub use advice::{name_in, new_name};
pub use check::{check, check_each, check_part};
pub use parse::{HOLE, Line, Setting, parse, static_part};

use super::Version;

/// A release as people name it: `4.0` is the last of its series, `4.0.5` that one.
pub fn release(text: &str) -> Result<Version, super::version::NotAVersion> {
    let version: Version = text.parse()?;
    let series = text.matches('.').count() == 1;
    Ok(if series {
        Version {
            patch: u16::MAX,
            ..version
        }
    } else {
        version
    })
}

/// `4.0.5`, or `4.0` of a series.
pub fn shown(version: Version) -> String {
    match version.patch {
        u16::MAX => format!("{}.{}", version.major, version.minor),
        _ => version.to_string(),
    }
}

/// What a configuration is for.
#[derive(Clone, Debug, Default)]
pub struct Target {
    /// `None`: not known; a finding is what is wrong for every release.
    pub version: Option<Version>,
    /// The plugins that are enabled there, with those they bring along. `None`: not known.
    pub plugins: Option<Vec<String>>,
    /// Keys (or with `.*` at the end, all below) that plugins from elsewhere add.
    pub extra_keys: Vec<String>,
}

impl Target {
    pub fn new(version: Option<Version>) -> Target {
        Target {
            version,
            ..Target::default()
        }
    }

    /// It is known to be older than `version`.
    pub fn before(&self, version: Version) -> bool {
        self.version.is_some_and(|v| v < version)
    }

    /// It is known to be `version` or newer.
    pub fn since(&self, version: Version) -> bool {
        self.version.is_some_and(|v| v >= version)
    }
}

/// `text` with a star for each byte of the values that are not to be shown: what a reader gets to see of it.
pub fn masked(text: &str) -> String {
    let lines = parse(crate::diagnostic::FileId(0), text, &Target::default(), &mut Vec::new());
    let mut out = text.as_bytes().to_vec();
    for line in lines {
        let Line::Setting(setting) = line else { continue };
        if schema::is_secret(&setting.key) {
            let start = setting.value_span.start as usize;
            // To the end of its line: behind a `#` stands what was meant to be part of it.
            let end = text
                .get(start..)
                .and_then(|t| t.find('\n'))
                .map_or(text.len(), |n| start + n);
            let end = end.max(setting.value_span.end as usize);
            for byte in out
                .iter_mut()
                .take(end)
                .skip(start)
                .filter(|b| **b != b'\n' && **b != b'\r')
            {
                *byte = b'*';
            }
        }
    }
    String::from_utf8(out).unwrap_or_default()
}
