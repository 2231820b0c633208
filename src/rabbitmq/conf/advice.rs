//! Values that the schema takes and that do harm, do nothing, or want thought. Each rule names where it comes from; the pages
//! are those of RabbitMQ's documentation.

use super::schema::Key;
use super::value::{float, integer};
use super::{Setting, Target};
use crate::diagnostic::{Code, Diagnostic, similar_name};
use crate::rabbitmq::Version;

/// Accepted without effect: key (`.*`: all below), since when (`None`: always), why.
const NO_EFFECT: &[(&str, Option<Version>, &str)] = &[
    (
        "vm_memory_high_watermark_paging_ratio",
        Some(Version::new(4, 0, 0)),
        "queues no longer write to disk because memory runs short",
    ),
    (
        "memory_monitor_interval",
        Some(Version::new(4, 0, 0)),
        "its interval is fixed",
    ),
    (
        "mirroring_sync_batch_size",
        Some(Version::new(4, 0, 0)),
        "mirrored queues were removed",
    ),
    (
        "mirroring_sync_max_throughput",
        Some(Version::new(4, 0, 0)),
        "mirrored queues were removed",
    ),
    (
        "classic_queue.default_version",
        Some(Version::new(4, 0, 0)),
        "there is only version 2",
    ),
    (
        "cluster_partition_handling.*",
        Some(Version::new(4, 3, 0)),
        "its metadata store, Khepri, handles partitions by itself",
    ),
    ("hipe_compile", Some(Version::new(3, 9, 0)), "Erlang no longer has HiPE"),
];

/// Still accepted, and logged as a mistake: old name, new name, the first releases with the new one.
pub const RENAMED: &[(&str, &str, &[Version])] = &[
    (
        "channel_max",
        "max_channels_per_connection",
        &[Version::new(4, 2, 7), Version::new(4, 3, 1)],
    ),
    (
        "connection_max",
        "max_connections",
        &[Version::new(4, 2, 7), Version::new(4, 3, 1)],
    ),
    (
        "queue_master_locator",
        "queue_leader_locator",
        &[Version::new(3, 10, 0)],
    ),
];

/// The new name of `key`, whatever the release.
pub fn new_name(key: &str) -> Option<&'static str> {
    RENAMED.iter().find(|(old, ..)| *old == key).map(|(_, new, _)| *new)
}

/// What the key with the old name `key` is called in `version` (not known: so).
pub fn name_in(key: &'static str, version: Option<Version>) -> &'static str {
    renamed(key, version).unwrap_or(key)
}

/// The new name of `key`, where `version` is known to have it.
fn renamed(key: &str, version: Option<Version>) -> Option<&'static str> {
    let (_, new, since) = RENAMED.iter().find(|(old, ..)| *old == key)?;
    let version = version?;
    // In its own series from its patch on, in every later series from the start.
    let newest = since.iter().max()?;
    let has = since
        .iter()
        .any(|first| version >= *first && (version.series() == first.series() || first == newest));
    has.then_some(*new)
}

/// What there is to say of one setting whose value is of the right type.
pub fn advise(key: &Key, setting: &Setting, value: &str, target: &Target, out: &mut Vec<Diagnostic>) {
    if let Some(new) = renamed(key.name, target.version) {
        out.push(
            Diagnostic::warning(Code::CONF_RENAMED, format!("`{}` is the old name of `{new}`", key.name))
                .at(setting.key_span, "")
                .fix("the node says so in its log each time it starts", setting.key_span, new),
        );
    }
    if let Some(found) = without_effect(setting, target) {
        out.push(found);
    }
    let finding = trap(key, value, target).or_else(|| thought(key, value));
    if let Some(finding) = finding {
        out.push(finding.on(setting));
    }
}

fn without_effect(setting: &Setting, target: &Target) -> Option<Diagnostic> {
    let of = |name: &str| match name.strip_suffix(".*") {
        Some(front) => setting
            .key
            .strip_prefix(front)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('.')),
        None => setting.key == name,
    };
    let (_, since, why) = NO_EFFECT.iter().find(|(name, ..)| of(name))?;
    let (since, now) = match since {
        Some(since) if target.since(*since) => (format!(" since RabbitMQ {}.{}", since.major, since.minor), true),
        Some(_) => (String::new(), false),
        None => (String::new(), true),
    };
    now.then(|| {
        Diagnostic::warning(Code::CONF_NO_EFFECT, format!("`{}` has no effect{since}", setting.key))
            .at(setting.key_span, "")
            .note(*why)
            .help("leave it out")
    })
}

/// What is found out about a value.
struct Finding {
    code: Code,
    message: String,
    notes: Vec<String>,
    help: Option<String>,
    replacement: Option<String>,
}

impl Finding {
    /// The node takes it, and fails later or does something else.
    fn trap(message: impl Into<String>) -> Finding {
        Finding {
            code: Code::CONF_TRAP,
            message: message.into(),
            notes: Vec::new(),
            help: None,
            replacement: None,
        }
    }
    fn thought(message: impl Into<String>) -> Finding {
        Finding {
            code: Code::CONF_ADVICE,
            ..Finding::trap(message)
        }
    }
    fn note(mut self, text: impl Into<String>) -> Finding {
        self.notes.push(text.into());
        self
    }
    fn help(mut self, text: impl Into<String>) -> Finding {
        self.help = Some(text.into());
        self
    }
    fn instead(mut self, value: impl Into<String>) -> Finding {
        self.replacement = Some(value.into());
        self
    }
    fn on(self, setting: &Setting) -> Diagnostic {
        let mut found = match self.code {
            Code::CONF_TRAP => Diagnostic::error(self.code, self.message),
            _ => Diagnostic::warning(self.code, self.message),
        }
        .at(setting.value_span, "");
        found.notes = self.notes;
        match (self.help, self.replacement) {
            (help, Some(new)) => found.fix(
                help.unwrap_or_else(|| "this is one".to_owned()),
                setting.value_span,
                new,
            ),
            (Some(help), None) => found.help(help),
            (None, None) => found,
        }
    }
}

const QUEUE_TYPES: [&str; 3] = ["classic", "quorum", "stream"];
const LOCATORS: [&str; 5] = ["client-local", "balanced", "min-masters", "random", "least-leaders"];
const TLS_VERSIONS: [&str; 4] = ["tlsv1.3", "tlsv1.2", "tlsv1.1", "tlsv1"];
const DISCOVERY: [&str; 8] = [
    "classic_config",
    "classic",
    "dns",
    "aws",
    "k8s",
    "kubernetes",
    "consul",
    "etcd",
];

/// Accepted by the schema, wrong all the same.
fn trap(key: &Key, value: &str, target: &Target) -> Option<Finding> {
    let number = integer(value);
    let last = key.name.rsplit('.').next().unwrap_or(key.name);
    match key.name {
        "vm_memory_high_watermark.relative" => {
            let share = float(value)?;
            let text = if share >= 1.0 {
                "a watermark of all memory or more never stops a publisher, and the node is killed instead"
            } else if share <= 0.0 {
                "a watermark of no memory stops every publisher at once"
            } else {
                return None;
            };
            return Some(Finding::trap(text).help("0.4 to 0.7 leaves room for the operating system (docs: memory)"));
        }
        "vm_memory_high_watermark.absolute" | "disk_free_limit.absolute" | "total_memory_available_override_value" => {
            return size(key.name, value, target);
        }
        // docs: consumers, "acknowledgement timeout": values below a minute are not supported.
        "consumer_timeout" if number.is_some_and(|n| n < 60_000) => {
            return Some(
                Finding::trap("a consumer timeout below one minute is not supported")
                    .note("it is in milliseconds, and consumers are looked at once a minute"),
            );
        }
        "default_queue_type" if !QUEUE_TYPES.contains(&value) => {
            let finding = Finding::trap(format!("there is no queue type `{value}`"))
                .note("the schema takes any word; declaring a queue fails then");
            return Some(match similar_name(value, QUEUE_TYPES) {
                Some(near) => finding.help("there is a similar name").instead(near),
                None => finding.help("`classic`, `quorum` or `stream`"),
            });
        }
        "queue_leader_locator" | "queue_master_locator" if !LOCATORS.contains(&value) => {
            return Some(
                Finding::trap(format!("there is no locator `{value}`"))
                    .note("the node takes `client-local` instead")
                    .help("`client-local` or `balanced`"),
            );
        }
        _ if key.name.ends_with(".versions.$version") && !TLS_VERSIONS.contains(&value) => {
            let finding = Finding::trap(format!("there is no TLS version `{value}`"))
                .note("the schema takes any word; the listener does not start then");
            let near = value.to_ascii_lowercase().replace('_', ".");
            return Some(
                match TLS_VERSIONS
                    .iter()
                    .find(|v| **v == near)
                    .copied()
                    .or_else(|| similar_name(&near, TLS_VERSIONS))
                {
                    Some(near) => finding.help("there is a similar name").instead(near),
                    None => finding.help("`tlsv1.3` or `tlsv1.2`"),
                },
            );
        }
        _ => {}
    }
    let port = if key.name.contains("listeners.") {
        value.rsplit(':').next().and_then(integer)
    } else if last == "port" {
        number
    } else {
        None
    };
    if let Some(port) = port.filter(|p| !(0..=65535).contains(p) || (*p == 0 && key.name.contains("listeners."))) {
        return Some(
            Finding::trap(format!("{port} is no port"))
                .note("the schema takes it, and the node fails when it starts to listen"),
        );
    }
    let positive = ["num_acceptors.tcp", "num_acceptors.ssl", "num_acceptors.$name"];
    if positive.contains(&key.name) && number.is_some_and(|n| n < 1) {
        return Some(Finding::trap("nobody would accept connections").help("10 is the default, and enough for most"));
    }
    let counts = [
        "heartbeat",
        "channel_max",
        "max_channels_per_connection",
        "frame_max",
        "handshake_timeout",
        "connection_max",
    ];
    if counts.contains(&key.name) && number.is_some_and(|n| n < 0) {
        return Some(
            Finding::trap(format!("`{}` cannot be negative", key.name)).note("the schema takes it, clients do not"),
        );
    }
    None
}

/// A number of bytes with a unit, which is read a second time when the node starts: what that cannot read is dropped there
/// (`rabbit_resource_monitor_misc:parse_information_unit`, asked on 3.10.8 and 4.0.5).
fn size(key: &str, value: &str, target: &Target) -> Option<Finding> {
    let consequence = match key {
        "disk_free_limit.absolute" => {
            "the node says nothing and stops publishers only at 50 MB of free disk, its default"
        }
        "vm_memory_high_watermark.absolute" => "the node says nothing and has no usable watermark",
        _ => "the node cannot read it when it starts",
    };
    let old = information_unit(value, true);
    let new = information_unit(value, false);
    let modern = Version::new(3, 13, 0);
    let (now, other) = match target.version {
        Some(v) if v < modern => (old, None),
        Some(_) => (new, None),
        None => (new, Some(old)),
    };
    let Some(now) = now else {
        let finding = Finding::trap(format!("`{value}` is no size")).note(consequence);
        let larger = information_unit(value, false).or_else(|| larger_unit(value));
        return Some(match larger {
            Some(bytes) => finding.help("in bytes").instead(bytes.to_string()),
            None => finding.help("write the number of bytes"),
        });
    };
    // docs: disk-alarms; 50 MB is for development.
    if key == "disk_free_limit.absolute" && now <= 52_428_800 {
        return Some(
            Finding::thought("50 MB of free disk, or less, is for development")
                .note("a node that cannot write to its disk fails")
                .help("at least as much as memory may be used: the memory watermark (docs: production-checklist)"),
        );
    }
    match other {
        Some(other) if other != Some(now) => Some(
            Finding::thought(format!("`{value}` is not the same in all releases"))
                .note(match other {
                    Some(old) => format!("{old} bytes up to RabbitMQ 3.12, {now} since 3.13"),
                    None => format!("{now} bytes since RabbitMQ 3.13; older releases cannot read it"),
                })
                .help("in bytes it is")
                .instead(now.to_string()),
        ),
        _ => None,
    }
}

fn split_unit(value: &str) -> Option<(i64, &str)> {
    let at = value.find(|c: char| !c.is_ascii_digit()).unwrap_or(value.len());
    let (number, unit) = value.split_at(at);
    Some((number.parse().ok()?, unit))
}

/// `old`: before 3.13, where a letter alone is a power of 1024, and `Ki`, `T` and larger do not exist.
fn information_unit(value: &str, old: bool) -> Option<i64> {
    let (number, unit) = split_unit(value)?;
    let power = |base: i64, exponent: u32| base.checked_pow(exponent).and_then(|f| number.checked_mul(f));
    let letter = if old { 1024 } else { 1000 };
    match unit {
        "" => Some(number),
        "k" | "K" => power(letter, 1),
        "m" | "M" => power(letter, 2),
        "g" | "G" => power(letter, 3),
        "kb" | "kB" | "KB" | "Kb" => power(1000, 1),
        "mb" | "MB" | "Mb" => power(1000, 2),
        "gb" | "GB" | "Gb" => power(1000, 3),
        "kib" | "kiB" | "KIB" => power(1024, 1),
        "mib" | "MiB" | "MIB" => power(1024, 2),
        "gib" | "GiB" | "GIB" => power(1024, 3),
        _ if old => None,
        "ki" | "Ki" => power(1024, 1),
        "mi" | "Mi" => power(1024, 2),
        "Gi" => power(1024, 3),
        "tb" | "TB" | "Tb" => power(1000, 4),
        "tib" | "TiB" | "TIB" | "Ti" => power(1024, 4),
        "p" | "P" | "pb" | "PB" => power(1000, 5),
        _ => None,
    }
}

/// What somebody means who writes `2T`, `1gi` or `4 GB`, for a proposal.
fn larger_unit(value: &str) -> Option<i64> {
    let (number, unit) = split_unit(value)?;
    let unit = unit.trim().to_ascii_lowercase();
    let exponent = 1 + u32::try_from("kmgtp".find(unit.chars().next()?)?).ok()?;
    let base: i64 = match unit.get(1..)? {
        "" | "b" => 1000,
        "i" | "ib" => 1024,
        _ => return None,
    };
    number.checked_mul(base.checked_pow(exponent)?)
}

/// Accepted and obeyed; advice of the documentation, or a cost to know of.
fn thought(key: &Key, value: &str) -> Option<Finding> {
    let number = integer(value);
    let below = |limit: i64| number.is_some_and(|n| n < limit);
    let above = |limit: i64| number.is_some_and(|n| n > limit);
    Some(match key.name {
        "vm_memory_high_watermark.relative" => {
            let share = float(value)?;
            if share > 0.7 {
                Finding::thought("more than 0.7 of the memory leaves too little for the operating system")
                    .note("its page cache serves quorum queues and streams; 0.4 to 0.7 is advised (docs: memory)")
            } else if share < 0.4 {
                Finding::thought("less than 0.4 of the memory stops publishers early")
                    .note("0.4 to 0.7 is advised (docs: memory)")
            } else {
                return None;
            }
        }
        "disk_free_limit.relative" if float(value)? < 0.4 => Finding::thought("so little free disk is for development")
            .note("at least the share that may be used of memory: the memory watermark (docs: production-checklist)"),
        "heartbeat" if number == Some(0) => {
            Finding::thought("without heartbeats, peers that are gone stay connected for hours")
                .help("10 to 60 seconds (docs: heartbeats)")
        }
        "heartbeat" if below(5) => Finding::thought("heartbeats below 5 s give false alarms")
            .note("a busy network or a pause of garbage collection looks like a dead peer (docs: heartbeats)"),
        "channel_max" | "max_channels_per_connection" if number == Some(0) => {
            Finding::thought("0 channels means as many as a client opens: a leak ends in all memory used")
                .help("what applications need, usually 16 to 128; 2047 is the default (docs: channels)")
        }
        "handshake_timeout" if above(20_000) => {
            Finding::thought("whoever connects and says nothing holds a socket for that long")
                .note(format!("{} s; the default is 10 s", number? / 1000))
        }
        "consumer_timeout" if below(300_000) => {
            Finding::thought("a consumer timeout below five minutes is not recommended")
                .note("docs: consumers; the default is 1800000, half an hour")
        }
        "num_acceptors.tcp" | "num_acceptors.ssl" if above(128) => {
            Finding::thought("more than 128 acceptors have not been seen to help").note("10 is the default")
        }
        "collect_statistics_interval" if below(5_000) => {
            Finding::thought("statistics more often than every 5 s cost CPU time with every connection and queue")
                .note("it is in milliseconds; 5000 is the default")
        }
        "net_ticktime" if below(5) => Finding::thought("peers are taken for dead after a pause of a few seconds")
            .note("60 is the default, and all nodes of a cluster need the same (docs: nettick)"),
        "tcp_listen_options.sndbuf" | "tcp_listen_options.recbuf" if below(8192) => {
            Finding::thought("buffers below 8192 bytes cost throughput").note("docs: networking")
        }
        "loopback_users" if value == "none" => {
            Finding::thought("`guest`, whose password everybody knows, may connect from anywhere")
                .note("docs: access-control")
        }
        "loopback_users.$user" if value == "false" => {
            Finding::thought("this user may connect from anywhere").note("of `guest`, everybody knows the password")
        }
        "cluster_formation.peer_discovery_backend"
            if !DISCOVERY.contains(&value) && !value.starts_with("rabbit_peer_discovery_") =>
        {
            let finding = Finding::thought(format!("no plugin of RabbitMQ's is the backend `{value}`"));
            match similar_name(value, DISCOVERY) {
                Some(near) => finding.help("there is a similar name").instead(near),
                None => finding,
            }
        }
        "cluster_formation.classic_config.nodes.$node" if !value.contains('@') => {
            Finding::thought(format!("`{value}` is no name of a node"))
                .note("names of nodes have a host")
                .help("write")
                .instead(format!("rabbit@{value}"))
        }
        _ if key.name.ends_with(".versions.$version") && matches!(value, "tlsv1" | "tlsv1.1") => {
            Finding::thought(format!("`{value}` is no longer safe")).help("`tlsv1.3` and `tlsv1.2` (docs: ssl)")
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_what_nodes_make_of_them() {
        // Asked on nodes of 3.10.8 and 4.0.5.
        for (text, old, new) in [
            ("1000", Some(1000), Some(1000)),
            ("1k", Some(1024), Some(1000)),
            ("1G", Some(1 << 30), Some(1_000_000_000)),
            ("1GB", Some(1_000_000_000), Some(1_000_000_000)),
            ("1gB", None, None),
            ("1GiB", Some(1 << 30), Some(1 << 30)),
            ("1giB", None, None),
            ("1Gi", None, Some(1 << 30)),
            ("1gi", None, None),
            ("1T", None, None),
            ("1TB", None, Some(1_000_000_000_000)),
            ("1P", None, Some(1_000_000_000_000_000)),
            ("1.5GB", None, None),
            ("-1", None, None),
            ("abc", None, None),
        ] {
            assert_eq!(
                (information_unit(text, true), information_unit(text, false)),
                (old, new),
                "{text}"
            );
        }
    }

    #[test]
    fn old_names_are_told_where_there_is_a_new_one() {
        let of = |v| renamed("channel_max", Some(v));
        assert_eq!(of(Version::new(4, 2, 6)), None);
        assert_eq!(of(Version::new(4, 2, 7)), Some("max_channels_per_connection"));
        assert_eq!(of(Version::new(4, 3, 0)), None);
        assert_eq!(of(Version::new(4, 4, 0)), Some("max_channels_per_connection"));
        assert_eq!(renamed("channel_max", None), None);
    }
}
