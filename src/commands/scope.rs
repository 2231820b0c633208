//! The variables of a host as they are before any play: for `template` and `vars`.

use super::Session;
use crate::engine::blackboard::{Blackboard, HostVars};
use crate::engine::run::host_magic;
use crate::engine::vars::{HostLayers, Layer, Produced, TaskScope};
use crate::engine::walk::Pos;
use crate::inventory::{Adjacent, Inventory};
use crate::template::{Scope, Settings, Templar};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::Arc;

/// The scope of `host`, or of no host: then only `-e` is there. Facts are not, and say so. `local`: what wins over
/// all of it.
pub fn of(
    inventory: &Inventory,
    adjacent: &Adjacent,
    extra: &Layer,
    host: Option<&str>,
    local: &[(&str, &str)],
) -> Arc<dyn Scope> {
    let groups: serde_json::Map<String, Value> = inventory
        .groups()
        .iter()
        .map(|(name, hosts)| (name.clone(), hosts.iter().map(|h| Value::from(&**h)).collect()))
        .collect();
    let shared = [("groups", Value::Object(groups)), ("ansible_check_mode", json!(false))];
    let shared: HashMap<String, Arc<Value>> = shared.into_iter().map(|(n, v)| (n.to_owned(), Arc::new(v))).collect();
    let shared = Arc::new(shared);
    let layers = |name: &str, low: Vec<Layer>, magic: HashMap<String, Arc<Value>>| {
        Arc::new(HostLayers {
            name: name.to_owned(),
            defaults: Vec::new(),
            low,
            high: Vec::new(),
            extra: extra.clone(),
            magic,
            play_magic: shared.clone(),
            facts_expected: true,
            told: Default::default(),
        })
    };
    let of_host = |host: &str| {
        let low = inventory.host_layers(host, adjacent);
        layers(
            host,
            low.into_iter().map(|l| l.vars).collect(),
            host_magic(inventory, host),
        )
    };
    let board = Arc::new(Blackboard::default());
    for other in inventory.hosts() {
        board.enter(of_host(other), None);
    }
    let host = match host {
        Some(host) => of_host(host),
        None => layers("", Vec::new(), HashMap::new()),
    };
    Arc::new(TaskScope {
        host,
        produced: Produced::default(),
        task: None,
        local: Arc::new(
            local
                .iter()
                .map(|(n, v)| ((*n).to_owned(), Arc::new(Value::from(*v))))
                .collect(),
        ),
        hostvars: Some(HostVars {
            board,
            pos: Pos::default(),
            trace: Arc::default(),
            free: false,
        }),
        trace: Arc::default(),
    })
}

/// Evaluates with the disk, the clock and the chance of this machine.
pub fn templar(session: &Session) -> Templar {
    let settings = Settings {
        seed: rand::random(),
        clock: Arc::new(jiff::Zoned::now),
    };
    Templar::new(Arc::new(session.files), session.sources.clone(), settings)
}
