//! The broker's own health checks, as its command line tools and its management API have them, by version
//! (`rabbitmq-diagnostics help`, `rabbitmq-queues help`; the API's `health/checks`).

use super::Version;

/// What a check has to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takes {
    Nothing,
    /// One value: a port, a protocol.
    One,
    /// How long ahead: a number and a unit.
    Within,
}

/// A check that a command makes.
#[derive(Debug)]
pub struct Check {
    /// The command is `check_` and this.
    pub name: &'static str,
    pub tool: &'static str,
    pub since: Version,
    /// The first version in which there is nothing to check: the command does nothing there, or is gone.
    pub until: Option<Version>,
    pub takes: Takes,
    /// Arguments that are always given.
    pub fixed: &'static [&'static str],
}

/// A check that `GET /api/health/checks/...` makes.
#[derive(Debug)]
pub struct ApiCheck {
    /// The path below `/api/health/checks/`, without what it takes.
    pub name: &'static str,
    pub since: Version,
    pub until: Option<Version>,
    pub takes: Takes,
}

const EVER: Version = Version::new(3, 8, 10);
const V4: Version = Version::new(4, 0, 0);

const fn check(name: &'static str, tool: &'static str, since: Version, takes: Takes) -> Check {
    Check {
        name,
        tool,
        since,
        until: None,
        takes,
        fixed: &[],
    }
}

const DIAGNOSTICS: &str = "rabbitmq-diagnostics";
const QUEUES: &str = "rabbitmq-queues";

pub static CHECKS: &[Check] = &[
    check("alarms", DIAGNOSTICS, EVER, Takes::Nothing),
    check("certificate_expiration", DIAGNOSTICS, EVER, Takes::Within),
    Check {
        fixed: &["--across-all-vhosts", ".*"],
        ..check(
            "for_quorum_queues_without_an_elected_leader",
            DIAGNOSTICS,
            Version::new(4, 0, 8),
            Takes::Nothing,
        )
    },
    check(
        "if_any_deprecated_features_are_used",
        DIAGNOSTICS,
        Version::new(3, 13, 0),
        Takes::Nothing,
    ),
    check(
        "if_cluster_has_classic_queue_mirroring_policy",
        DIAGNOSTICS,
        Version::new(3, 13, 0),
        Takes::Nothing,
    ),
    check(
        "if_metadata_store_is_initialized",
        DIAGNOSTICS,
        Version::new(4, 0, 6),
        Takes::Nothing,
    ),
    check(
        "if_metadata_store_is_initialized_with_data",
        DIAGNOSTICS,
        Version::new(4, 0, 6),
        Takes::Nothing,
    ),
    check(
        "if_new_quorum_queue_replicas_have_finished_initial_sync",
        QUEUES,
        Version::new(3, 13, 0),
        Takes::Nothing,
    ),
    Check {
        until: Some(V4),
        ..check("if_node_is_mirror_sync_critical", QUEUES, EVER, Takes::Nothing)
    },
    check("if_node_is_quorum_critical", QUEUES, EVER, Takes::Nothing),
    check("local_alarms", DIAGNOSTICS, EVER, Takes::Nothing),
    check("port_connectivity", DIAGNOSTICS, EVER, Takes::Nothing),
    check("port_listener", DIAGNOSTICS, EVER, Takes::One),
    check("protocol_listener", DIAGNOSTICS, EVER, Takes::One),
    check("running", DIAGNOSTICS, EVER, Takes::Nothing),
    check("virtual_hosts", DIAGNOSTICS, EVER, Takes::Nothing),
];

const fn api(name: &'static str, since: Version, takes: Takes) -> ApiCheck {
    ApiCheck {
        name,
        since,
        until: None,
        takes,
    }
}

const V4_1_1: Version = Version::new(4, 1, 1);

pub static API_CHECKS: &[ApiCheck] = &[
    api("alarms", EVER, Takes::Nothing),
    api("below-node-connection-limit", V4_1_1, Takes::Nothing),
    api("certificate-expiration", EVER, Takes::Within),
    api("is-in-service", V4_1_1, Takes::Nothing),
    api("local-alarms", EVER, Takes::Nothing),
    api("metadata-store/initialized", Version::new(4, 0, 6), Takes::Nothing),
    api(
        "metadata-store/initialized/with-data",
        Version::new(4, 0, 6),
        Takes::Nothing,
    ),
    ApiCheck {
        until: Some(V4),
        ..api("node-is-mirror-sync-critical", EVER, Takes::Nothing)
    },
    api("node-is-quorum-critical", EVER, Takes::Nothing),
    api("port-listener", EVER, Takes::One),
    api("protocol-listener", EVER, Takes::One),
    api(
        "quorum-queues-without-elected-leaders/all-vhosts/",
        Version::new(4, 1, 0),
        Takes::Nothing,
    ),
    api("reached-target-cluster-size", Version::new(4, 2, 4), Takes::Nothing),
    api("ready-to-serve-clients", V4_1_1, Takes::Nothing),
    api("virtual-hosts", EVER, Takes::Nothing),
];

/// Units of [`Takes::Within`].
pub const UNITS: [&str; 4] = ["days", "weeks", "months", "years"];

/// Why a check cannot be made with this version; `None`: it can.
pub fn missing(since: Version, until: Option<Version>, version: Version) -> Option<String> {
    if version < since {
        return Some(format!("RabbitMQ has it since {since}, this is {version}"));
    }
    let until = until.filter(|until| version >= *until)?;
    Some(format!(
        "there is nothing like it since RabbitMQ {until}, this is {version}"
    ))
}
