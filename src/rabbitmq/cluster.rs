//! Clusters: the names of nodes, who is a member, and what a node says of its cluster.

use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// Where Debian's and Team RabbitMQ's packages keep the data of nodes, each below its name.
pub const DATA: &str = "/var/lib/rabbitmq/mnesia";

/// The shell file in which a node's name may be set.
pub const ENV_CONF: &str = "/etc/rabbitmq/rabbitmq-env.conf";

/// The name of this host's node, as `rabbitmq-env` makes it: `rabbit@` and the host's name up to the first dot, unless
/// `rabbitmq-env.conf` says otherwise. `None`: the file computes it, which only a shell could follow.
pub fn own_name(hostname: &str, env_conf: &str) -> Option<String> {
    let mut name = "rabbit".to_owned();
    let mut long = false;
    for line in env_conf.lines() {
        let line = line.trim();
        let line = line.strip_prefix("export ").unwrap_or(line);
        let Some((key, value)) = line.split_once('=') else {
            continue;
        };
        // A comment or a test is no assignment.
        match key.strip_prefix("RABBITMQ_").unwrap_or(key) {
            "NODENAME" if value.contains(['$', '`']) => return None,
            "NODENAME" => name = shlex::split(value)?.into_iter().next()?,
            "USE_LONGNAME" => long = value.trim_matches(['"', '\'']) == "true",
            _ => {}
        }
    }
    if name.contains('@') {
        return Some(name);
    }
    let host = if long {
        hostname
    } else {
        hostname.split('.').next().unwrap_or(hostname)
    };
    Some(format!("{name}@{host}"))
}

/// Whether it can be the name of a node, `rabbit@mq-1`.
pub fn is_node_name(name: &str) -> bool {
    let part = |text: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
    matches!(name.split_once('@'), Some((name, host)) if part(name) && part(host))
}

/// The file in which a node remembers the members of its cluster, itself among them. It is there from the first start
/// on, is kept up to date with Mnesia as with Khepri, and is read without starting a VM.
pub fn members_file(node: &str) -> String {
    format!("{DATA}/{node}/cluster_nodes.config")
}

/// The members in a `cluster_nodes.config`: `{[AllNodes],[DiscNodes]}.`; `None` where it is something else.
pub fn members(text: &str) -> Option<Vec<String>> {
    let (all, _) = text.trim_start().strip_prefix("{[")?.split_once(']')?;
    let names = all.split(',').map(|name| name.trim().trim_matches('\''));
    let names: Vec<String> = names.filter(|name| !name.is_empty()).map(str::to_owned).collect();
    names.iter().all(|name| is_node_name(name)).then_some(names)
}

/// What `rabbitmqctl cluster_status --formatter json` says, of 3.10 to 4.x; what is not here is not looked at.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub struct ClusterStatus {
    #[serde(default)]
    pub disk_nodes: Vec<String>,
    #[serde(default)]
    pub ram_nodes: Vec<String>,
    #[serde(default)]
    pub running_nodes: Vec<String>,
    /// By node, the nodes it lost sight of.
    #[serde(default)]
    pub partitions: BTreeMap<String, Vec<String>>,
    #[serde(default)]
    pub alarms: Vec<Value>,
    /// By node: `not under maintenance`, or another state.
    #[serde(default)]
    pub maintenance_status: BTreeMap<String, String>,
}

impl ClusterStatus {
    /// `None` where it is not what a node says.
    pub fn parse(text: &str) -> Option<ClusterStatus> {
        let status: ClusterStatus = serde_json::from_str(text.trim()).ok()?;
        (!status.disk_nodes.is_empty()).then_some(status)
    }

    /// All members, those that are down too, sorted.
    pub fn members(&self) -> Vec<&str> {
        let mut all: Vec<&str> = self
            .disk_nodes
            .iter()
            .chain(&self.ram_nodes)
            .map(String::as_str)
            .collect();
        all.sort_unstable();
        all
    }

    pub fn runs(&self, node: &str) -> bool {
        self.running_nodes.iter().any(|n| n == node)
    }
}

/// What would be lost if a node with these definitions (`export_definitions`, parsed) were reset: `3 queues`... A node
/// as it came from its package has one vhost and one user, and nothing else that is its own.
pub fn own_data(definitions: &Value) -> Vec<String> {
    let kinds = [
        ("queues", "queue", 0),
        ("exchanges", "exchange", 0),
        ("bindings", "binding", 0),
        ("policies", "policy", 0),
        ("parameters", "parameter", 0),
        ("users", "user", 1),
        ("vhosts", "vhost", 1),
    ];
    kinds
        .into_iter()
        .filter_map(|(kind, one, usual)| {
            let found = definitions.get(kind)?.as_array()?.len();
            (found > usual).then(|| format!("{found} {}", if found == 1 { one } else { kind }))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn names_are_the_environments() {
        let name = |text| own_name("mq-1.example.org", text);
        assert_eq!(name("").as_deref(), Some("rabbit@mq-1"));
        assert_eq!(name("#NODENAME=hare\n").as_deref(), Some("rabbit@mq-1"));
        assert_eq!(name("NODENAME=\"hare\" # ours\n").as_deref(), Some("hare@mq-1"));
        assert_eq!(name("export RABBITMQ_NODENAME=hare@box\n").as_deref(), Some("hare@box"));
        assert_eq!(name("USE_LONGNAME=true\n").as_deref(), Some("rabbit@mq-1.example.org"));
        assert_eq!(name("NODENAME=hare@$(hostname -f)\n"), None);
    }

    /// As 3.10.8 and 4.0.5 write it; a long one goes over several lines.
    #[test]
    fn members_are_read_from_the_nodes_own_file() {
        let three =
            "{['rabbit@mq-1','rabbit@mq-2',\n  'rabbit@mq-3'],\n ['rabbit@mq-1','rabbit@mq-2','rabbit@mq-3']}.\n";
        assert_eq!(members(three).unwrap(), ["rabbit@mq-1", "rabbit@mq-2", "rabbit@mq-3"]);
        assert_eq!(members("{[rabbit@mq1],[rabbit@mq1]}.\n").unwrap(), ["rabbit@mq1"]);
        assert_eq!(members(""), None);
        assert_eq!(members("[a,b]."), None);
    }

    #[test]
    fn a_status_of_either_generation() {
        for (text, nodes) in [
            (include_str!("testdata/cluster_status-3.10.json"), &["rabbit@mq-1"][..]),
            (
                include_str!("testdata/cluster_status-4.0.json"),
                &["rabbit@mq-1", "rabbit@mq-2", "rabbit@mq-3"],
            ),
        ] {
            let status = ClusterStatus::parse(text).unwrap();
            assert_eq!(status.members(), nodes);
            assert!(nodes.iter().all(|node| status.runs(node)) && !status.runs("rabbit@mq-9"));
            assert!(status.partitions.is_empty() && status.alarms.is_empty());
            assert_eq!(status.maintenance_status.len(), nodes.len());
        }
        assert_eq!(ClusterStatus::parse("Error: unable to perform an operation"), None);
    }

    #[test]
    fn a_node_as_the_package_left_it_has_nothing_to_lose() {
        let fresh =
            json!({"users": [{}], "vhosts": [{}], "permissions": [{}], "queues": [], "global_parameters": [{}]});
        assert!(own_data(&fresh).is_empty());
        let used = json!({"users": [{}, {}], "vhosts": [{}], "queues": [{}, {}, {}]});
        assert_eq!(own_data(&used), ["3 queues", "2 users"]);
    }
}
