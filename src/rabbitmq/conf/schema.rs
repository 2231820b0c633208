//! Every key of every release: `keys.tsv`, read once.

use crate::rabbitmq::Version;
use std::collections::HashMap;
use std::sync::OnceLock;

const DATA: &str = include_str!("keys.tsv");

/// A key of rabbitmq.conf.
#[derive(Debug)]
pub struct Key {
    /// `listeners.tcp.$name`: a `$` segment is any one segment.
    pub name: &'static str,
    /// Whose schema it is; `rabbit` is the broker.
    pub plugin: &'static str,
    pub versions: Vec<Range>,
    /// By the version it begins with; never empty.
    pub shapes: Vec<(Version, Shape)>,
    /// `rabbit.heartbeat`: the application's setting.
    pub setting: &'static str,
    /// The setting is made of it (and of others), not equal to it.
    pub translated: bool,
}

/// Both ends included; `to` `None`: the newest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    pub from: Version,
    pub to: Option<Version>,
}

/// What a value may be.
#[derive(Clone, Debug, PartialEq)]
pub struct Shape {
    /// One of these.
    pub types: Vec<Type>,
    pub format: Option<Format>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Type {
    Int {
        min: Option<i64>,
        max: Option<i64>,
    },
    /// With a dot in it; `unit`: above 0 and below 1.
    Float {
        unit: bool,
    },
    Bool,
    /// `on`, `off`.
    Flag,
    Enum(Vec<&'static str>),
    /// This word.
    Word(&'static str),
    Text,
    Atom,
    /// `ADDRESS:PORT`.
    Ip,
    Socket,
    /// A number, then perhaps `kb`, `mb`, `gb` in one case.
    Bytes {
        min: Option<i64>,
        max: Option<i64>,
    },
    Duration,
    File,
    List,
}

/// What is asked of a text beyond its type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// The node must be able to read it when it starts.
    File,
    Dir,
    Address,
    Regex,
    Https,
    /// A number of bytes with a unit.
    Unit,
}

impl Key {
    pub fn is_in(&self, version: Version) -> bool {
        self.versions
            .iter()
            .any(|r| version >= r.from && r.to.is_none_or(|to| version <= to))
    }

    /// What its value may be in `version`; of a version not known, the newest.
    pub fn shape(&self, version: Option<Version>) -> Option<&Shape> {
        let newest = self.shapes.last();
        let Some(version) = version else {
            return newest.map(|s| &s.1);
        };
        let current = self.shapes.iter().rev().find(|(from, _)| *from <= version);
        current.or(self.shapes.first()).map(|s| &s.1)
    }

    /// Whether `segments` is this key.
    fn matches(&self, segments: &[&str]) -> bool {
        let mut own = self.name.split('.');
        segments
            .iter()
            .all(|s| own.next().is_some_and(|o| o.starts_with('$') || o == *s))
            && own.next().is_none()
    }
}

/// All keys, sorted by name.
pub fn keys() -> &'static [Key] {
    &table().keys
}

/// The key that `written` is, of whatever release.
pub fn find(written: &str) -> Option<&'static Key> {
    let table = table();
    if let Some(at) = table.exact.get(written) {
        return table.keys.get(*at);
    }
    let segments = segments(written);
    table
        .patterns
        .iter()
        .filter_map(|at| table.keys.get(*at))
        .find(|k| k.matches(&segments))
}

/// `a.b\.c` is `a` and `b\.c`.
pub fn segments(key: &str) -> Vec<&str> {
    let mut out = Vec::new();
    let (mut start, mut escaped) = (0, false);
    for (i, c) in key.char_indices() {
        if c == '.' && !escaped {
            out.push(key.get(start..i).unwrap_or_default());
            start = i + 1;
        }
        escaped = c == '\\' && !escaped;
    }
    out.push(key.get(start..).unwrap_or_default());
    out
}

/// Whether the key's value is not to be shown.
pub fn is_secret(key: &str) -> bool {
    let last = segments(key).last().copied().unwrap_or_default();
    let words = [
        "password",
        "pass",
        "secret",
        "secret_key",
        "passphrase",
        "private_key",
        "psk",
        "token",
        "cookie",
    ];
    words
        .iter()
        .any(|w| last == *w || last.strip_suffix(w).is_some_and(|front| front.ends_with('_')))
        || key.contains(".key.")
}

struct Table {
    keys: Vec<Key>,
    exact: HashMap<&'static str, usize>,
    patterns: Vec<usize>,
}

fn table() -> &'static Table {
    static TABLE: OnceLock<Table> = OnceLock::new();
    TABLE.get_or_init(|| {
        let keys: Vec<Key> = DATA.lines().filter(|l| !l.starts_with('#')).filter_map(key).collect();
        let (patterns, exact): (Vec<usize>, Vec<usize>) =
            (0..keys.len()).partition(|at| keys.get(*at).is_some_and(|k| k.name.contains('$')));
        Table {
            exact: exact
                .into_iter()
                .filter_map(|at| Some((keys.get(at)?.name, at)))
                .collect(),
            patterns,
            keys,
        }
    })
}

/// `None` for a line of another form: a test reads every line.
fn key(line: &'static str) -> Option<Key> {
    let mut columns = line.split('\t');
    let mut column = || columns.next();
    let (name, plugin, versions, types, setting) = (column()?, column()?, column()?, column()?, column()?);
    let versions: Option<Vec<Range>> = versions.split(' ').map(range).collect();
    let shapes: Option<Vec<(Version, Shape)>> = types.split(" ; ").map(dated_shape).collect();
    Some(Key {
        name,
        plugin,
        versions: versions?,
        shapes: shapes?,
        setting: setting.trim_end_matches('*'),
        translated: setting.ends_with('*'),
    })
}

fn range(text: &str) -> Option<Range> {
    let (from, to) = text.split_once('-')?;
    // A series as the end is its last release.
    let end = |to: &str| {
        let v: Version = to.parse().ok()?;
        Some(if to.matches('.').count() == 1 {
            Version { patch: u16::MAX, ..v }
        } else {
            v
        })
    };
    Some(Range {
        from: from.parse().ok()?,
        to: if to.is_empty() { None } else { Some(end(to)?) },
    })
}

fn dated_shape(text: &'static str) -> Option<(Version, Shape)> {
    let (version, text) = match text.split_once(": ") {
        Some((version, text)) => (version.parse().ok()?, text),
        None => (Version::new(0, 0, 0), text),
    };
    let (types, format) = match text.split_once(" & ") {
        Some((types, format)) => (types, Some(self::format(format)?)),
        None => (text, None),
    };
    let types: Option<Vec<Type>> = types.split(" / ").map(one_type).collect();
    Some((version, Shape { types: types?, format }))
}

fn format(text: &str) -> Option<Format> {
    Some(match text {
        "file" => Format::File,
        "dir" => Format::Dir,
        "address" => Format::Address,
        "regex" => Format::Regex,
        "https" => Format::Https,
        "unit" => Format::Unit,
        _ => return None,
    })
}

fn one_type(text: &'static str) -> Option<Type> {
    if let Some(word) = text.strip_prefix('=') {
        return Some(Type::Word(word));
    }
    let (name, rest) = text.split_once(' ').unwrap_or((text, ""));
    let limits = || -> Option<(Option<i64>, Option<i64>)> {
        let Some((min, max)) = rest.split_once("..") else {
            return Some((None, None));
        };
        let limit = |t: &str| {
            if t.is_empty() {
                Some(None)
            } else {
                t.parse().ok().map(Some)
            }
        };
        Some((limit(min)?, limit(max)?))
    };
    Some(match name {
        "int" => {
            let (min, max) = limits()?;
            Type::Int { min, max }
        }
        "bytes" => {
            let (min, max) = limits()?;
            Type::Bytes { min, max }
        }
        "float" => Type::Float { unit: !rest.is_empty() },
        "enum" => Type::Enum(rest.split('|').collect()),
        "bool" => Type::Bool,
        "flag" => Type::Flag,
        "string" => Type::Text,
        "atom" => Type::Atom,
        "ip" => Type::Ip,
        "socket" => Type::Socket,
        "duration" => Type::Duration,
        "file" => Type::File,
        "list" => Type::List,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_read() {
        let lines = DATA.lines().filter(|l| !l.starts_with('#')).count();
        assert_eq!(keys().len(), lines);
        assert!(lines > 1100);
        for (a, b) in keys().iter().zip(keys().iter().skip(1)) {
            assert!(a.name < b.name, "{} is not in its place", b.name);
        }
    }

    #[test]
    fn keys_are_found_by_their_segments() {
        let name = |key: &str| find(key).map(|k| k.name);
        assert_eq!(name("heartbeat"), Some("heartbeat"));
        assert_eq!(name("listeners.tcp"), Some("listeners.tcp"));
        assert_eq!(name("listeners.tcp.default"), Some("listeners.tcp.$name"));
        assert_eq!(name("listeners.tcp.a\\.b"), Some("listeners.tcp.$name"));
        assert_eq!(name("listeners.tcp.a.b"), None);
        assert_eq!(name("Heartbeat"), None);
    }

    #[test]
    fn releases_know_their_keys() {
        let knows = |key: &str, version: Version| find(key).is_some_and(|k| k.is_in(version));
        let v = Version::new;
        for (key, version, expected) in [
            ("default_queue_type", v(3, 10, 8), false),
            ("default_queue_type", v(3, 12, 13), false),
            ("default_queue_type", v(3, 12, 14), true),
            ("default_queue_type", v(3, 13, 2), false),
            ("default_queue_type", v(4, 0, 5), true),
            ("max_channels_per_connection", v(4, 2, 6), false),
            ("max_channels_per_connection", v(4, 2, 7), true),
            ("max_channels_per_connection", v(4, 3, 0), false),
            ("max_channels_per_connection", v(4, 3, 1), true),
            // Renamed, and still accepted.
            ("channel_max", v(4, 3, 5), true),
            ("mqtt.default_user", v(3, 13, 7), true),
            ("mqtt.default_user", v(4, 0, 0), false),
            ("management.tcp.port", v(3, 8, 0), true),
        ] {
            assert_eq!(knows(key, version), expected, "{key} in {version}");
        }
    }

    #[test]
    fn secrets_are_known_by_name() {
        for key in [
            "default_pass",
            "ssl_options.password",
            "default_users.x.password",
            "management.oauth_client_secret",
        ] {
            assert!(is_secret(key), "{key}");
        }
        for key in [
            "password_hashing_module",
            "heartbeat",
            "auth_oauth2.default_key",
            "loopback_users.pass.x",
        ] {
            assert!(!is_secret(key), "{key}");
        }
    }
}
