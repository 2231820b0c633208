//! `enabled_plugins`: the plugins a node starts with, and those they bring along.

use super::terms;
use crate::diagnostic::FileId;

/// Where the packages have it.
pub const ENABLED_PLUGINS: &str = "/etc/rabbitmq/enabled_plugins";

/// Plugins that come with another (their `applications` in 3.10 and 4.0), where keys of rabbitmq.conf are theirs.
const BRINGS: &[(&str, &[&str])] = &[
    (
        "rabbitmq_management",
        &["rabbitmq_management_agent", "rabbitmq_web_dispatch"],
    ),
    (
        "rabbitmq_prometheus",
        &["rabbitmq_management_agent", "rabbitmq_web_dispatch"],
    ),
    (
        "rabbitmq_tracing",
        &[
            "rabbitmq_management",
            "rabbitmq_management_agent",
            "rabbitmq_web_dispatch",
        ],
    ),
    ("rabbitmq_web_stomp", &["rabbitmq_stomp"]),
    ("rabbitmq_web_mqtt", &["rabbitmq_mqtt"]),
    (
        "rabbitmq_federation",
        &["rabbitmq_exchange_federation", "rabbitmq_queue_federation"],
    ),
    (
        "rabbitmq_stream_management",
        &[
            "rabbitmq_stream",
            "rabbitmq_management",
            "rabbitmq_management_agent",
            "rabbitmq_web_dispatch",
        ],
    ),
    (
        "rabbitmq_shovel_management",
        &[
            "rabbitmq_shovel",
            "rabbitmq_management",
            "rabbitmq_management_agent",
            "rabbitmq_web_dispatch",
        ],
    ),
    (
        "rabbitmq_federation_management",
        &[
            "rabbitmq_federation",
            "rabbitmq_management",
            "rabbitmq_management_agent",
            "rabbitmq_web_dispatch",
        ],
    ),
    (
        "rabbitmq_top",
        &[
            "rabbitmq_management",
            "rabbitmq_management_agent",
            "rabbitmq_web_dispatch",
        ],
    ),
    ("rabbitmq_peer_discovery_aws", &["rabbitmq_peer_discovery_common"]),
    ("rabbitmq_peer_discovery_consul", &["rabbitmq_peer_discovery_common"]),
    ("rabbitmq_peer_discovery_etcd", &["rabbitmq_peer_discovery_common"]),
    ("rabbitmq_peer_discovery_k8s", &["rabbitmq_peer_discovery_common"]),
];

/// Every plugin that `text` (`[rabbitmq_management].`) enables; `None`: it cannot be read.
pub fn enabled(text: &str) -> Option<Vec<String>> {
    let terms = terms::read(FileId(0), text).ok()?;
    let named = terms.first().map_or(Some(&[][..]), |t| t.list())?;
    let mut plugins: Vec<String> = named.iter().filter_map(|t| t.atom().map(str::to_owned)).collect();
    for (plugin, brings) in BRINGS {
        if plugins.iter().any(|p| p == plugin) {
            plugins.extend(brings.iter().map(|b| (*b).to_owned()));
        }
    }
    Some(plugins)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plugins_bring_others() {
        let plugins = enabled("[rabbitmq_prometheus,\n rabbitmq_shovel].\n").unwrap();
        for plugin in ["rabbitmq_prometheus", "rabbitmq_shovel", "rabbitmq_management_agent"] {
            assert!(plugins.iter().any(|p| p == plugin), "{plugin}");
        }
        assert!(!plugins.iter().any(|p| p == "rabbitmq_management"));
        assert_eq!(enabled(""), Some(Vec::new()));
        assert_eq!(enabled("rabbitmq_management"), None);
    }
}
