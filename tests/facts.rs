//! Facts of this machine, beside those of real Ansible.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test that cannot go on fails"
)]

use rmqplay::host::{Observation, Probe};
use rmqplay::transport::{Connection, Connector as _, LocalConnector, Reply, Request, Step, Target};
use serde_json::{Map, Value};
use std::path::PathBuf;
use std::process::Command;

fn ours() -> Map<String, Value> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let target = Target {
        name: "localhost".to_owned(),
        connection: Connection::Local,
        connect_timeout_s: 10,
        origin: None,
    };
    let request = Request {
        steps: vec![Step::Probe(Probe::Facts)],
        ..Request::default()
    };
    let response = runtime.block_on(async {
        let connector = LocalConnector::default();
        let mut peer = connector.connect(&target).await.unwrap();
        peer.call(&request).await.unwrap()
    });
    match &response.replies[0] {
        Reply::Seen(Observation::Facts(facts)) => facts.as_object().unwrap().clone(),
        other => panic!("{other:?}"),
    }
}

fn ansible() -> Map<String, Value> {
    let dir = std::env::var_os("RMQPLAY_ANSIBLE").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/oracle/bin"),
        PathBuf::from,
    );
    let ansible = dir.join("ansible");
    let output = Command::new(&ansible)
        .args(["localhost", "-m", "setup"])
        .env("ANSIBLE_NOCOLOR", "1")
        .output();
    let output = output.unwrap_or_else(|error| {
        panic!(
            "this test compares with ansible-core, and {} does not run: {error}; see CONTRIBUTING.md",
            ansible.display()
        )
    });
    let text = String::from_utf8(output.stdout).unwrap();
    let json = text
        .split_once("=> ")
        .unwrap_or_else(|| panic!("{text}\n{}", String::from_utf8_lossy(&output.stderr)))
        .1;
    let value: Value = serde_json::from_str(json).unwrap();
    let facts = value["ansible_facts"].as_object().unwrap().iter();
    facts
        .map(|(key, value)| (key.strip_prefix("ansible_").unwrap_or(key).to_owned(), value.clone()))
        .collect()
}

/// Values that differ from one moment, or one process, to the next.
const VOLATILE: &[&str] = &[
    "memfree_mb",
    "swapfree_mb",
    "memory_mb",
    "date_time",
    "env",
    "uptime_seconds",
    "loadavg",
];

type Facts = serde_json::Map<String, Value>;

fn differences(before: &Facts, theirs: &Facts, ours: &Facts) -> Vec<String> {
    let mut wrong = Vec::new();
    for (key, value) in ours {
        if VOLATILE.contains(&key.as_str()) {
            continue;
        }
        let Some(before) = before.get(key) else { continue };
        match theirs.get(key) {
            None => wrong.push(format!("{key}: Ansible has none")),
            Some(their) => compare(key, &stays(before, value), their, &mut wrong),
        }
    }
    wrong
}

#[test]
fn facts_are_those_of_ansible() {
    // The machine may change meanwhile (other tests mount, a lab makes bridges): only what stays is compared, and
    // a difference counts when it is there each time.
    let mut last = None;
    for _ in 0..3 {
        let (before, theirs, ours) = (ours(), ansible(), ours());
        let wrong = differences(&before, &theirs, &ours);
        let done = wrong.is_empty();
        last = Some((wrong, theirs, ours));
        if done {
            break;
        }
    }
    let (wrong, theirs, ours) = last.unwrap();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    for key in ["total", "free", "used"] {
        let (our, their) = (&ours["memory_mb"]["real"][key], &theirs["memory_mb"]["real"][key]);
        assert!(
            (our.as_i64().unwrap() - their.as_i64().unwrap()).abs() < 8192,
            "{key}: {our} {their}"
        );
    }
    let keys = |value: &Value| {
        value
            .as_object()
            .unwrap()
            .keys()
            .cloned()
            .collect::<std::collections::BTreeSet<_>>()
    };
    assert_eq!(keys(&ours["date_time"]), keys(&theirs["date_time"]));
    assert_eq!(ours["date_time"]["tz_offset"], theirs["date_time"]["tz_offset"]);
    assert_eq!(ours["env"]["HOME"], theirs["env"]["HOME"]);
}

/// What two looks agree on.
fn stays(before: &Value, after: &Value) -> Value {
    match (before, after) {
        (Value::Object(before), Value::Object(after)) => {
            let common = after
                .iter()
                .filter_map(|(key, value)| Some((key.clone(), stays(before.get(key)?, value))));
            Value::Object(common.collect())
        }
        (before, after) if before == after => after.clone(),
        _ => Value::Null,
    }
}

/// What we say must be what they say; they may say more.
fn compare(at: &str, our: &Value, their: &Value, wrong: &mut Vec<String>) {
    match (our, their) {
        // Did not stay, or neither knows.
        (Value::Null, _) => {}
        (Value::Object(our), Value::Object(their)) => {
            for (key, value) in our {
                // Ours alone, and sizes that move.
                if matches!(key.as_str(), "read_ahead_kb") {
                    continue;
                }
                match their.get(key) {
                    None => wrong.push(format!("{at}.{key}: Ansible has none")),
                    Some(their) => compare(&format!("{at}.{key}"), value, their, wrong),
                }
            }
        }
        (Value::Array(our), Value::Array(their)) if at == "mounts" => {
            for our in our {
                match their
                    .iter()
                    .find(|their| their["mount"] == our["mount"] && their["device"] == our["device"])
                {
                    // Other tests mount and unmount.
                    None => {}
                    Some(their) => compare(&format!("mounts of {}", our["mount"]), our, their, wrong),
                }
            }
        }
        (Value::Array(our), Value::Array(their))
            if matches!(at, "interfaces" | "all_ipv4_addresses" | "all_ipv6_addresses")
                || at.starts_with("virtualization_tech") =>
        {
            let sorted = |list: &[Value]| {
                let mut list: Vec<String> = list.iter().map(Value::to_string).collect();
                list.sort();
                list
            };
            if sorted(our) != sorted(their) {
                wrong.push(format!("{at}: {our:?} is {their:?}"));
            }
        }
        _ if at.ends_with("_available") || at.ends_with("_used") => {}
        _ if our != their => wrong.push(format!("{at}: {our} is {their}")),
        _ => {}
    }
}
