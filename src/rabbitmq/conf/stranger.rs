//! Keys that are none of rabbitmq.conf: what they really are. Clients' settings, policies, Erlang's names and things that
//! were never there are what people mix up with it.

use super::schema;

/// Where something belongs, and what to do.
pub struct Stranger {
    /// Ends "`x` is ...".
    pub what: String,
    pub help: Option<String>,
}

const SPRING: &str = "a setting of Spring AMQP's `CachingConnectionFactory`, in the application";
const CLIENT: &str = "a setting of client libraries, in the application";
const PREFETCH: &str = "no setting of the broker: a consumer asks for its prefetch with `basic.qos`";
const POLICY: &str = "no setting of the broker: a policy sets it for the queues it matches";
const MIRRORS: &str = "part of a policy for mirrored queues, which RabbitMQ 4.0 removed";
const ENVIRONMENT: &str = "a variable of rabbitmq-env.conf, where it is written `NAME=value`";
const ADVANCED: &str = "an Erlang setting that only advanced.config can hold";
const UNIT: &str = "no setting of the broker: its systemd unit has it";

const ADVANCED_PREFETCH: &str = "for all consumers that ask for none, in advanced.config: `[{rabbit, [{default_consumer_prefetch, {false, 250}}]}].`";
const QUORUM: &str = "replicated queues are quorum queues: `default_queue_type = quorum`";

/// Name (`.*` at the end: and all below), what it is, what to do instead.
const TABLE: &[(&str, &str, Option<&str>)] = &[
    ("channel_cache_size", SPRING, None),
    ("connection_cache_size", SPRING, None),
    ("cache_mode", SPRING, None),
    ("channel_checkout_timeout", SPRING, None),
    ("publisher_confirms", CLIENT, None),
    ("publisher_returns", CLIENT, None),
    ("requested_heartbeat", CLIENT, Some("the broker's side is `heartbeat`")),
    (
        "connection_timeout",
        CLIENT,
        Some("the broker's side is `handshake_timeout`"),
    ),
    ("automatic_recovery", CLIENT, None),
    ("network_recovery_interval", CLIENT, None),
    ("topology_recovery", CLIENT, None),
    (
        "shutdown_timeout",
        "a setting of the Java client",
        Some("the broker's are `message_store_shutdown_timeout`, and `TimeoutStopSec=` of its systemd unit"),
    ),
    ("default_prefetch", PREFETCH, Some(ADVANCED_PREFETCH)),
    ("default_prefetch_count", PREFETCH, Some(ADVANCED_PREFETCH)),
    (
        "default_consumer_prefetch",
        ADVANCED,
        Some("there: `[{rabbit, [{default_consumer_prefetch, {false, 250}}]}].`"),
    ),
    ("prefetch.*", PREFETCH, None),
    ("prefetch_count.*", PREFETCH, None),
    ("basic_qos.*", PREFETCH, None),
    (
        "connection_max_infinity",
        "not a setting, and what it means is the default",
        Some("a limit is `connection_max = NUMBER`; none is `connection_max = infinity`"),
    ),
    (
        "memory_monitoring",
        "not a setting: memory is always watched",
        Some("`vm_memory_high_watermark.relative` says from where on publishers wait"),
    ),
    (
        "default_queue_exclusive_owners_consumers",
        "not a setting of any release",
        None,
    ),
    ("ha_mode", MIRRORS, Some(QUORUM)),
    ("ha-mode", MIRRORS, Some(QUORUM)),
    ("ha_params", MIRRORS, Some(QUORUM)),
    ("ha-params", MIRRORS, Some(QUORUM)),
    ("ha_sync_mode", MIRRORS, Some(QUORUM)),
    ("ha-sync-mode", MIRRORS, Some(QUORUM)),
    ("ha_policy", MIRRORS, Some(QUORUM)),
    ("message_ttl", POLICY, None),
    ("message-ttl", POLICY, None),
    ("queue_ttl", POLICY, None),
    ("expires", POLICY, None),
    ("max_length", POLICY, None),
    ("max-length", POLICY, None),
    ("max_length_bytes", POLICY, None),
    ("max-length-bytes", POLICY, None),
    ("overflow", POLICY, None),
    ("delivery_limit", POLICY, None),
    ("delivery-limit", POLICY, None),
    ("dead_letter_exchange", POLICY, None),
    ("dead-letter-exchange", POLICY, None),
    (
        "queue_mode",
        "part of a policy that did something up to 3.11: queues write to disk by themselves since 3.12",
        None,
    ),
    (
        "lazy_queues",
        "part of a policy that did something up to 3.11: queues write to disk by themselves since 3.12",
        None,
    ),
    ("durable", "decided by whoever declares a queue or exchange", None),
    ("auto_delete", "decided by whoever declares a queue or exchange", None),
    (
        "max_connections_per_user",
        "a limit of users, kept in the broker",
        Some("`rabbitmqctl set_user_limits`"),
    ),
    (
        "max_channels",
        "a limit of users, kept in the broker",
        Some("`rabbitmqctl set_user_limits`; for all: `channel_max`"),
    ),
    (
        "max_queues",
        "a limit of virtual hosts, kept in the broker",
        Some("`rabbitmqctl set_vhost_limits`"),
    ),
    ("erlang_cookie", "a file, /var/lib/rabbitmq/.erlang.cookie", None),
    ("cookie", "a file, /var/lib/rabbitmq/.erlang.cookie", None),
    (
        "plugins",
        "no setting: plugins are enabled with `rabbitmq-plugins enable`",
        None,
    ),
    (
        "enabled_plugins",
        "no setting: plugins are enabled with `rabbitmq-plugins enable`",
        None,
    ),
    ("nodename", ENVIRONMENT, Some("there: `NODENAME=rabbit@host`")),
    ("node_name", ENVIRONMENT, Some("there: `NODENAME=rabbit@host`")),
    (
        "node_port",
        ENVIRONMENT,
        Some("the port of clients is `listeners.tcp.default`"),
    ),
    ("mnesia_base", ENVIRONMENT, None),
    ("mnesia_dir", ENVIRONMENT, None),
    ("log_base", ENVIRONMENT, Some("the directory of logs is `log.dir` here")),
    ("use_longname", ENVIRONMENT, None),
    ("file_descriptors", UNIT, Some("`LimitNOFILE=` there")),
    (
        "max_open_files",
        UNIT,
        Some("`LimitNOFILE=` there, and `ERL_MAX_PORTS` above 65536"),
    ),
    ("ulimit", UNIT, Some("`LimitNOFILE=` there")),
    ("nofile", UNIT, Some("`LimitNOFILE=` there")),
    (
        "log_levels",
        "Erlang's older name",
        Some("levels are `log.file.level`, `log.console.level`, `log.connection.level` here"),
    ),
    (
        "log.level",
        "not a setting: every output has a level of its own",
        Some("`log.file.level`, `log.console.level`"),
    ),
    (
        "cluster_nodes.*",
        "Erlang's older name",
        Some("`cluster_formation.classic_config.nodes.1 = rabbit@host` here, one line a node"),
    ),
    (
        "peer_discovery_backend",
        "not written so",
        Some("`cluster_formation.peer_discovery_backend`"),
    ),
    (
        "max_message_size_bytes",
        "not written so",
        Some("`max_message_size`, in bytes"),
    ),
    (
        "inet_dist_listen_min",
        "Erlang's name",
        Some("`distribution.listener.port_range.min`"),
    ),
    (
        "inet_dist_listen_max",
        "Erlang's name",
        Some("`distribution.listener.port_range.max`"),
    ),
];

/// Settings of the application `rabbit` that no key of rabbitmq.conf sets.
pub const ERLANG_ONLY: &[&str] = &[
    "credit_flow_default_credit",
    "fhc_read_buffering",
    "fhc_write_buffering",
    "halt_on_upgrade_failure",
    "lazy_queue_explicit_gc_run_operation_threshold",
    "msg_store_credit_disc_bound",
    "msg_store_file_size_limit",
    "msg_store_io_batch_size",
    "queue_explicit_gc_run_operation_threshold",
    "queue_index_max_journal_entries",
    "rabbitmq_mirroring_max_throughput",
    "trace_vhosts",
    "quorum_commands_soft_limit",
    "quorum_cluster_size",
    "stream_messages_soft_limit",
];

/// What `key` is, when it is known and not rabbitmq.conf's.
pub fn of(key: &str) -> Option<Stranger> {
    let lower = key.to_ascii_lowercase();
    let matches = |name: &str| match name.strip_suffix(".*") {
        Some(front) => lower == front || lower.strip_prefix(front).is_some_and(|rest| rest.starts_with('.')),
        None => lower == name,
    };
    if let Some((_, what, help)) = TABLE.iter().find(|(name, ..)| matches(name)) {
        return Some(Stranger {
            what: (*what).to_owned(),
            help: help.map(str::to_owned),
        });
    }
    let bare = lower.strip_prefix("rabbit.").unwrap_or(&lower);
    if ERLANG_ONLY.contains(&bare) {
        return Some(Stranger {
            what: ADVANCED.to_owned(),
            help: Some(format!("there: `[{{rabbit, [{{{bare}, VALUE}}]}}].`")),
        });
    }
    if key.starts_with("RABBITMQ_") {
        return Some(Stranger {
            what: "a variable of the environment, or of rabbitmq-env.conf without `RABBITMQ_`".to_owned(),
            help: None,
        });
    }
    erlang_name(key)
}

/// `rabbit.tcp_listeners`, `tcp_listeners`: names of advanced.config for what has another one here.
fn erlang_name(key: &str) -> Option<Stranger> {
    let qualified = if key.contains('.') {
        key.to_owned()
    } else {
        format!("rabbit.{key}")
    };
    let mut names = schema::keys().iter().filter(|k| k.setting == qualified).map(|k| k.name);
    let first = names.next()?;
    let more = if names.next().is_some() { " and others" } else { "" };
    Some(Stranger {
        what: "the name it has in Erlang, and in advanced.config".to_owned(),
        help: Some(format!("here it is `{first}`{more}")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_here_is_a_key() {
        for (name, ..) in TABLE {
            let name = name.strip_suffix(".*").unwrap_or(name);
            // Two were, long ago.
            let known = schema::find(name).is_some_and(|k| k.versions.iter().any(|r| r.to.is_none()));
            assert!(!known, "{name} is a key of rabbitmq.conf");
        }
        for name in ERLANG_ONLY {
            assert!(schema::find(name).is_none(), "{name}");
        }
    }

    #[test]
    fn names_of_erlang_lead_to_ours() {
        let help = |key: &str| of(key).and_then(|s| s.help);
        assert_eq!(
            help("rabbit.tcp_listeners").as_deref(),
            Some("here it is `listeners.tcp` and others")
        );
        assert_eq!(help("rabbit.heartbeat").as_deref(), Some("here it is `heartbeat`"));
        assert_eq!(help("nothing_like_it"), None);
    }
}
