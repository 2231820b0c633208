//! The broker of a simulated node: its name, its cookie, the cluster it is in. Hosts know nothing of each other here, so a
//! node that joins is believed to have been accepted.

use super::debian::{failed, said};
use crate::host::{Content, ExecResult};
use crate::rabbitmq::{cli, cluster};
use crate::transport::fake::{FakeHost, Node};
use serde_json::json;

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
    let own = name(host);
    if !host.files.contains_key(COOKIE) {
        let cookie = Node {
            mode: 0o400,
            owner: "rabbitmq".to_owned(),
            group: "rabbitmq".to_owned(),
            ..Node::file("SIMULATEDSIMULATEDSIMULATED")
        };
        host.put(COOKIE, cookie);
    }
    if members(host).is_empty() {
        host.put(cluster::DATA, Node::directory());
        let data = format!("{}/{own}", cluster::DATA);
        host.put(&data, Node::directory());
        remember(host, &[own]);
    }
}

fn remember(host: &mut FakeHost, members: &[String]) {
    let quoted: Vec<String> = members.iter().map(|member| format!("'{member}'")).collect();
    let list = quoted.join(",");
    let file = cluster::members_file(&name(host));
    host.put(&file, Node::file(format!("{{[{list}],[{list}]}}.\n")));
}

/// What a script of modules about nodes does; its arguments begin with [`cli::SCRIPT`].
pub fn script(host: &mut FakeHost, text: &str, arguments: &[&str], act: bool) -> ExecResult {
    match arguments {
        [_, first, ..] if act && text.contains("join_cluster") => {
            let both = [(*first).to_owned(), name(host)];
            remember(host, &both);
            ExecResult::default()
        }
        _ => ExecResult::default(),
    }
}

/// What one of the broker's tools says.
pub fn tool(host: &FakeHost, tool: &str, arguments: &[&str]) -> ExecResult {
    let has = |word: &str| arguments.contains(&word);
    match tool {
        "rabbitmqctl" if has("cluster_status") => {
            let nodes = members(host);
            let status = json!({"disk_nodes": nodes, "running_nodes": nodes, "partitions": {}, "alarms": []});
            said(&status.to_string())
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
