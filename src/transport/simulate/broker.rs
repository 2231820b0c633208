//! The broker of a simulated node: its name, its cookie, the cluster it is in. Hosts know nothing of each other here, so a
//! node that joins is believed to have been accepted.

use super::debian::{failed, said};
use crate::host::{Content, ExecResult};
use crate::rabbitmq::{cli, cluster};
use crate::transport::fake::{FakeHost, Node};
use base64::Engine as _;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

/// Key of [`FakeHost::state`]: the node is in maintenance mode.
const DRAINED: &str = "drained";
/// The text of rabbitmq.conf that the node runs with.
const RUNNING: &str = "running conf";

const CONF: &str = "/etc/rabbitmq/rabbitmq.conf";

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
    let conf = conf(host);
    host.state.insert(RUNNING.to_owned(), conf.into());
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
        "rabbitmqctl" if arguments.iter().any(|a| a.contains("Stale =")) => compare(host),
        "rabbitmqctl" if act && has("set_vm_memory_high_watermark") => set(host, "vm_memory_high_watermark"),
        "rabbitmqctl" if act && has("set_disk_free_limit") => set(host, "disk_free_limit"),
        "rabbitmqctl" if act && has("set_log_level") => set(host, "log.file.level"),
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

fn conf(host: &FakeHost) -> String {
    host.files
        .get(CONF)
        .map(|n| n.content.text().into_owned())
        .unwrap_or_default()
}

fn settings(text: &str) -> BTreeMap<&str, &str> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .filter_map(|line| line.split_once('='))
        .map(|(key, value)| (key.trim(), value.trim()))
        .collect()
}

/// rabbitmq.conf against what the node started with, as [`crate::rabbitmq::conf`] asks for it.
fn compare(host: &FakeHost) -> ExecResult {
    let Some(started) = host.state.get(RUNNING).and_then(Value::as_str) else {
        return failed(69);
    };
    let text = conf(host);
    let (wanted, running) = (settings(&text), settings(started));
    let mut lines = String::from("rmqplay\n");
    if text != started {
        lines.push_str("stale\n");
    }
    let keys: BTreeSet<&str> = wanted.keys().chain(running.keys()).copied().collect();
    for key in keys {
        let value = |of: &BTreeMap<&str, &str>| of.get(key).copied().unwrap_or("undefined").to_owned();
        let what = if wanted.contains_key(key) { "set" } else { "unset" };
        if value(&wanted) != value(&running) {
            let _ = writeln!(lines, "{what}\t{key}\t{}\t{}", value(&wanted), value(&running));
        }
    }
    let encoded = base64::engine::general_purpose::STANDARD.encode(lines);
    said(&format!("<<\"{encoded}\">>\n"))
}

/// Settings whose names begin so are those of the file from now on.
fn set(host: &mut FakeHost, front: &str) -> ExecResult {
    let text = conf(host);
    let started = host
        .state
        .get(RUNNING)
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned();
    let is = |line: &&str| line.starts_with(front);
    let lines = started.lines().filter(|line| !is(line)).chain(text.lines().filter(is));
    let lines: Vec<&str> = lines.collect();
    host.state.insert(RUNNING.to_owned(), lines.join("\n").into());
    ExecResult::default()
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
