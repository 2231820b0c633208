//! `vars HOST [KEY] --explain`: what a host's variables are, and where each comes from.

use super::Session;
use super::inventory::known;
use crate::cli::{Exit, VarsArgs};
use crate::diagnostic::{Code, Diagnostic, similar_name};
use crate::inventory::{Layer, Level};
use crate::language::Node;
use indexmap::IndexMap;
use serde_json::Value;
use std::fmt::Write as _;
use std::sync::Arc;

pub fn run(session: &Session, args: &VarsArgs) -> Exit {
    answer(session, args).unwrap_or_else(|exit| exit)
}

/// A variable: what wins first, then what it wins over.
type Definitions = Vec<(Level, Arc<str>, Arc<Node>)>;

fn answer(session: &Session, args: &VarsArgs) -> Result<Exit, Exit> {
    let config = session.config().map_err(|d| session.tell(&d))?;
    let inventory = session.inventory(&args.inventory.sources(&config))?;
    known(session, &inventory, &args.host)?;
    let adjacent = session.adjacent(&inventory, &[".".to_owned()])?;
    let mut layers = inventory.host_layers(&args.host, &adjacent);
    let given = args.inventory.extra_vars().map_err(|d| session.tell(&d))?;
    let extra = session.extra_vars(&given)?;
    layers.push(Layer::new(Level::ExtraVars, "command line", Arc::new(extra)));
    let mut all: IndexMap<String, Definitions> = IndexMap::new();
    for layer in layers.iter().rev() {
        for (name, node) in layer.vars.iter() {
            let definition = (layer.level, Arc::clone(&layer.label), Arc::clone(node));
            all.entry(name.clone()).or_default().push(definition);
        }
    }
    all.sort_unstable_keys();
    let text = match &args.key {
        Some(key) => {
            let Some(definitions) = all.get(key) else {
                return Err(session.tell(&[undefined(key, &args.host, all.keys().map(String::as_str))]));
            };
            if args.explain {
                explain(session, key, definitions)
            } else {
                definitions.first().map(|(.., node)| plain(node)).unwrap_or_default() + "\n"
            }
        }
        None if args.explain => all.iter().map(|(key, d)| explain(session, key, d)).collect(),
        None => {
            let values = all
                .iter()
                .filter_map(|(key, d)| Some((key.clone(), d.first()?.2.to_value())));
            format!("{:#}\n", Value::Object(values.collect()))
        }
    };
    session.console.print(&text);
    Ok(Exit::Done)
}

fn undefined<'a>(key: &str, host: &str, names: impl Iterator<Item = &'a str>) -> Diagnostic {
    let error = Diagnostic::error(Code::UNDEFINED, format!("undefined variable `{key}` on host `{host}`"));
    match similar_name(key, names) {
        Some(similar) => error.help(format!("a variable with a similar name exists: `{similar}`")),
        None => error,
    }
}

/// A string as it is, anything else as JSON on one line.
fn plain(node: &Node) -> String {
    match node.to_value() {
        Value::String(text) => text,
        other => other.to_string(),
    }
}

/// ```text
/// nofile: 65536
///   from inventory host_vars (9), inventories/prod/host_vars/mq-1.yml:2:9
///   over inventory group_vars (6), inventories/prod/group_vars/rabbitmq.yml:3:9: 1024
/// ```
fn explain(session: &Session, key: &str, definitions: &Definitions) -> String {
    let mut out = String::new();
    for (number, (level, label, node)) in definitions.iter().enumerate() {
        let place = match session.sources.locate(node.span) {
            Some(place) => place.to_string(),
            None => label.to_string(),
        };
        let origin = format!("{} ({}), {place}", level.name(), level.number());
        let _ = match number {
            0 => writeln!(out, "{key}: {}\n  from {origin}", plain(node)),
            _ => writeln!(out, "  over {origin}: {}", plain(node)),
        };
    }
    out
}
