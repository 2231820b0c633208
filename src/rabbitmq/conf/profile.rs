//! The profiles: what a node is tuned for. Advice to begin with, not magic; `playbooks/roles/rabbitmq/vars/main.yml` has the
//! same numbers for playbooks (a test compares them).

use super::write::Settings;
use crate::rabbitmq::Version;

pub const NAMES: [&str; 4] = ["balanced", "high_throughput", "low_latency", "production"];

struct Profile {
    /// Share of memory from which on publishers wait; so much disk must be free too (docs: production-checklist).
    watermark: &'static str,
    acceptors: u32,
    /// Seconds.
    heartbeat: u32,
    channel_max: u32,
    stats_ms: u32,
    consumer_timeout_ms: u32,
}

fn profile(name: &str) -> Profile {
    let balanced = Profile {
        watermark: "0.6",
        acceptors: 10,
        heartbeat: 20,
        channel_max: 128,
        stats_ms: 5000,
        consumer_timeout_ms: 1_800_000,
    };
    match name {
        "high_throughput" => Profile {
            watermark: "0.7",
            acceptors: 32,
            heartbeat: 30,
            channel_max: 256,
            stats_ms: 30_000,
            ..balanced
        },
        "low_latency" => Profile {
            watermark: "0.4",
            heartbeat: 10,
            stats_ms: 10_000,
            ..balanced
        },
        "production" => Profile {
            stats_ms: 15_000,
            consumer_timeout_ms: 3_600_000,
            ..balanced
        },
        _ => balanced,
    }
}

/// The settings of a profile as `version` names them (not known: as every release up to 4.3 does).
pub fn settings(name: &str, version: Option<Version>) -> Settings {
    let p = profile(name);
    let since = |first: Version| version.is_some_and(|v| v >= first);
    let channels = super::name_in("channel_max", version);
    let mut out: Vec<(&str, String)> = vec![
        ("listeners.tcp.default", "5672".to_owned()),
        ("num_acceptors.tcp", p.acceptors.to_string()),
        ("handshake_timeout", "10000".to_owned()),
        // docs: networking; the kernel's `net.core.somaxconn` caps it.
        ("tcp_listen_options.backlog", "4096".to_owned()),
        ("tcp_listen_options.nodelay", "true".to_owned()),
        ("tcp_listen_options.keepalive", "true".to_owned()),
        ("vm_memory_high_watermark.relative", p.watermark.to_owned()),
        ("disk_free_limit.relative", p.watermark.to_owned()),
        ("heartbeat", p.heartbeat.to_string()),
        (channels, p.channel_max.to_string()),
        ("consumer_timeout", p.consumer_timeout_ms.to_string()),
        // The default since 4.0; 128 MiB before (docs: configure).
        ("max_message_size", "16777216".to_owned()),
        ("collect_statistics_interval", p.stats_ms.to_string()),
        ("queue_leader_locator", "balanced".to_owned()),
        ("loopback_users.guest", "true".to_owned()),
        ("log.file.level", "info".to_owned()),
    ];
    if since(Version::new(4, 0, 0)) {
        out.push(("anonymous_login_user", "none".to_owned()));
    }
    out.into_iter().map(|(k, v)| (k.to_owned(), v)).collect()
}

#[cfg(test)]
mod tests {
    use super::super::{Target, check, parse, write};
    use super::*;
    use crate::diagnostic::FileId;

    #[test]
    fn every_profile_is_without_a_finding_on_every_release() {
        for name in NAMES {
            for version in
                [(3, 10, 8), (3, 13, 7), (4, 0, 5), (4, 2, 9), (4, 3, 5)].map(|(a, b, c)| Version::new(a, b, c))
            {
                let target = Target::new(Some(version));
                let text = write::render(&settings(name, Some(version)), "x", &target).unwrap();
                let mut found = Vec::new();
                found.extend(check(&parse(FileId(0), &text, &target, &mut Vec::new()), &target));
                let messages: Vec<&str> = found.iter().map(|d| d.message.as_str()).collect();
                assert!(messages.is_empty(), "{name} {version}: {messages:?}");
            }
        }
    }
}
