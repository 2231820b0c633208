//! The broker of a simulated node: its name, its cookie, the cluster it is in. Hosts know nothing of each other here, so a
//! node that joins is believed to have been accepted.

use super::debian::{failed, said};
use crate::host::{Content, ExecResult};
use crate::rabbitmq::{cli, cluster};
use crate::transport::fake::{FakeHost, Node};
use serde_json::json;

/// Key of [`FakeHost::state`]: the node is in maintenance mode.
const DRAINED: &str = "drained";

const COOKIE: &str = "/var/lib/rabbitmq/.erlang.cookie";

fn name(host: &FakeHost) -> String {
    let hostname = host
        .files
        .get("/proc/sys/kernel/hostname")
        .map(|n| n.content.text().into_owned());
    format!("rabbit@{}", hostname.unwrap_or_default().trim())
}

fn members(host: &FakeHost) -> Vec<String> {
    let file = host.files.get(&cluster::members_file(&name(host)));
    file.and_then(|node| cluster::members(&node.content.text()))
        .unwrap_or_default()
}

/// A node that starts for the first time makes itself a cookie and a cluster of one.
pub fn start(host: &mut FakeHost) {
    host.state.remove(DRAINED);
    let own = name(host);
    if !host.files.contains_key(COOKIE) {
        cookie(host, COOKIE);
    }
    if members(host).is_empty() {
        host.put(cluster::DATA, Node::directory());
        let data = format!("{}/{own}", cluster::DATA);
        host.put(&data, Node::directory());
        remember(host, &[own]);
    }
}

/// A new cookie.
pub fn cookie(host: &mut FakeHost, path: &str) {
    let cookie = Node {
        mode: 0o400,
        owner: "rabbitmq".to_owned(),
        group: "rabbitmq".to_owned(),
        ..Node::file("SIMULATEDSIMULATEDSIMULATED")
    };
    host.put(path, cookie);
}

fn remember(host: &mut FakeHost, members: &[String]) {
    let quoted: Vec<String> = members.iter().map(|member| format!("'{member}'")).collect();
    let list = quoted.join(",");
    let file = cluster::members_file(&name(host));
    host.put(&file, Node::file(format!("{{[{list}],[{list}]}}.\n")));
}

fn status(host: &FakeHost) -> String {
    let nodes = members(host);
    let maintenance = match host.state.contains_key(DRAINED) {
        true => "under maintenance",
        false => "not under maintenance",
    };
    json!({
        "disk_nodes": nodes, "ram_nodes": [], "running_nodes": nodes, "partitions": {}, "alarms": [],
        "maintenance_status": {name(host): maintenance},
    })
    .to_string()
}

/// What a script about nodes does; its arguments come after [`cli::SCRIPT`].
pub fn script(host: &mut FakeHost, text: &str, arguments: &[&str], act: bool) -> ExecResult {
    match arguments {
        [_, first, ..] if act && text.contains("join_cluster") => {
            let both = [(*first).to_owned(), name(host)];
            remember(host, &both);
            ExecResult::default()
        }
        // The look at the cluster: this node, who was asked, the answer.
        [] if text.contains("cluster_status") => match members(host)[..] {
            [] => failed(3),
            _ => said(&format!("{own}\n{own}\n{}\n", status(host), own = name(host))),
        },
        _ => ExecResult::default(),
    }
}

/// What one of the broker's tools says.
pub fn tool(host: &mut FakeHost, tool: &str, arguments: &[&str], act: bool) -> ExecResult {
    let has = |word: &str| arguments.contains(&word);
    match tool {
        "rabbitmqctl" if has("cluster_status") => said(&status(host)),
        "rabbitmq-upgrade" if act && has("drain") => {
            host.state.insert(DRAINED.to_owned(), true.into());
            ExecResult::default()
        }
        "rabbitmq-upgrade" if act && has("revive") => {
            host.state.remove(DRAINED);
            ExecResult::default()
        }
        "rabbitmqctl" if has("export_definitions") => said(&definitions().text()),
        "rabbitmqctl" | "rabbitmq-diagnostics" | "rabbitmq-plugins" | "rabbitmq-queues" | "rabbitmq-upgrade" => {
            ExecResult::default()
        }
        _ => failed(127),
    }
}

/// What a new broker has.
fn definitions() -> Content {
    let all = json!({
        "rabbit_version": "4.0.5", "rabbitmq_version": "4.0.5",
        "users": [{"name": "guest", "tags": ["administrator"], "limits": {}, "hashing_algorithm": "rabbit_password_hashing_sha256",
                   "password_hash": "NBrj/yOPMO6hK9gDQp4VwBzgUA6c8NAuAbh7pCGaA7v2fyWE"}],
        "vhosts": [{"name": "/", "limits": [], "metadata": {"description": "Default virtual host", "tags": []}}],
        "permissions": [{"user": "guest", "vhost": "/", "configure": ".*", "write": ".*", "read": ".*"}],
        "topic_permissions": [], "parameters": [], "global_parameters": [], "policies": [], "queues": [], "exchanges": [],
        "bindings": [],
    });
    Content::from(all.to_string())
}

/// The tool and its arguments, where a command is one of the broker's.
pub fn is_tool<'a>(argv: &'a [&'a str]) -> Option<(&'a str, &'a [&'a str])> {
    match argv {
        ["sh", "-c", cli::SCRIPT, _, tool, rest @ ..] => Some((tool, rest)),
        [tool, rest @ ..] if tool.starts_with("rabbitmq") => Some((tool, rest)),
        _ => None,
    }
}
