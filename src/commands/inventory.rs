//! `inventory --list | --host H | --graph | --hosts PATTERN`.

use super::Session;
use crate::cli::{Exit, HostArgs, InventoryArgs};
use crate::diagnostic::{Code, Diagnostic, similar_name};
use crate::inventory::Inventory;
use crate::language::Node;
use serde::Serialize as _;
use serde_json::{Map, Value};
use std::sync::Arc;

pub fn run(session: &Session, args: &InventoryArgs) -> Exit {
    answer(session, args).unwrap_or_else(|exit| exit)
}

fn answer(session: &Session, args: &InventoryArgs) -> Result<Exit, Exit> {
    let config = session.config().map_err(|d| session.tell(&d))?;
    let HostArgs {
        inventory: options,
        limit,
        allow_empty,
    } = &args.inventory;
    let inventory = session.inventory(&options.sources(&config))?;
    let given = options.extra_vars().map_err(|d| session.tell(&d))?;
    let extra = session.extra_vars(&given)?;
    let limit = limit.as_deref();
    let text = if let Some(pattern) = &args.hosts {
        let hosts = session.select(&inventory, pattern, limit, *allow_empty)?;
        hosts.iter().map(|host| format!("{host}\n")).collect()
    } else if args.graph {
        let graph = inventory.graph("all").unwrap_or_default();
        graph + "\n"
    } else {
        let adjacent = session.adjacent(&inventory, &[".".to_owned()])?;
        if let Some(host) = &args.host {
            known(session, &inventory, host)?;
            let mut vars = inventory.host_json(host, &adjacent);
            overlay(&mut vars, &extra);
            json(vars)
        } else {
            let only = match limit {
                Some(_) => Some(session.select(&inventory, "all", limit, *allow_empty)?),
                None => None,
            };
            let mut list = inventory.list_json(&adjacent, only.as_deref());
            if !extra.is_empty() {
                for host in only.as_deref().unwrap_or(inventory.hosts()) {
                    let vars = &mut list["_meta"]["hostvars"][&**host];
                    if vars.is_null() {
                        *vars = Value::Object(Map::new());
                    }
                    overlay(vars, &extra);
                }
            }
            json(list)
        }
    };
    Ok(session.answer(&text))
}

/// Fails where neither the inventory nor its implicit localhost has the name.
pub fn known(session: &Session, inventory: &Inventory, host: &str) -> Result<(), Exit> {
    if inventory.contains(host) || inventory.is_implicit(host) {
        return Ok(());
    }
    let mut error = Diagnostic::error(Code::NO_MATCH, format!("the inventory has no host `{host}`"));
    if let Some(similar) = similar_name(host, inventory.hosts().iter().map(|h| &**h)) {
        error = error.help(format!("there is a host with a similar name: `{similar}`"));
    }
    Err(session.tell(&[error]))
}

fn overlay(vars: &mut Value, extra: &[(String, Arc<Node>)]) {
    if let Some(vars) = vars.as_object_mut() {
        vars.extend(extra.iter().map(|(name, node)| (name.clone(), node.to_value())));
    }
}

/// Keys sorted, four blanks: as `ansible-inventory` prints it.
fn json(mut value: Value) -> String {
    value.sort_all_objects();
    let mut out = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    let mut serializer = serde_json::Serializer::with_formatter(&mut out, formatter);
    // A tree of strings and numbers, into memory: cannot fail.
    let _ = value.serialize(&mut serializer);
    out.push(b'\n');
    String::from_utf8_lossy(&out).into_owned()
}
