//! `vars HOST [KEY] --explain`: what a host's variables are, and where each comes from.

use super::inventory::known;
use super::{Session, scope};
use crate::cli::{Exit, VarsArgs};
use crate::diagnostic::{Code, Diagnostic, similar_name};
use crate::inventory::{Layer, Level};
use crate::language::{Files as _, Node};
use crate::template::{Found, Scope, Templar};
use indexmap::IndexMap;
use serde_json::Value;
use std::fmt::Write as _;
use std::sync::Arc;

pub fn run(session: &Session, args: &VarsArgs) -> Exit {
    answer(session, args).unwrap_or_else(|exit| exit)
}

/// Evaluates templates in values.
struct Values {
    templar: Templar,
    scope: Arc<dyn Scope>,
}

impl Values {
    fn of(&self, node: &Node) -> Result<Value, Box<Diagnostic>> {
        match self.templar.resolve(node, &self.scope) {
            Ok(value) => Ok(value.unwrap_or(Value::Null)),
            Err(error) => Err(error.diagnostic),
        }
    }
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
    let extra = Arc::new(session.extra_vars(&given)?);
    let here = session.files.absolute(".");
    let local = [("playbook_dir", here.as_str())];
    let values = Values {
        templar: scope::templar(session),
        scope: scope::of(&inventory, &adjacent, &extra, Some(&args.host), &local),
    };
    layers.push(Layer::new(Level::ExtraVars, "command line", extra));
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
            // What is not written anywhere wins over what is: nobody can set `inventory_hostname`.
            let found = values.scope.lookup(key);
            if let Found::Data(value) = &found {
                let from = "  from rmqplay itself; no other variable replaces it\n";
                let text = format!("{}\n", plain(value));
                let text = if args.explain {
                    format!("{key}: {text}{from}")
                } else {
                    text
                };
                session.console.print(&text);
                return Ok(Exit::Done);
            }
            let Some(definitions) = all.get(key) else {
                let names = all.keys().map(String::as_str);
                return Err(session.tell(&[undefined(key, &args.host, &found, names)]));
            };
            if args.explain {
                explain(session, &values, key, definitions)
            } else {
                let Some((.., node)) = definitions.first() else {
                    return Ok(Exit::Done);
                };
                match values.of(node) {
                    Ok(value) => plain(&value) + "\n",
                    Err(diagnostic) => return Err(session.tell(&[*diagnostic])),
                }
            }
        }
        None if args.explain => all.iter().map(|(key, d)| explain(session, &values, key, d)).collect(),
        None => {
            // What cannot be evaluated yet (it needs facts) stays as it is written.
            let value = |node: &Arc<Node>| values.of(node).unwrap_or_else(|_| node.to_value());
            let values = all
                .iter()
                .filter_map(|(key, d)| Some((key.clone(), value(&d.first()?.2))));
            format!("{:#}\n", Value::Object(values.collect()))
        }
    };
    Ok(session.answer(&text))
}

fn undefined<'a>(key: &str, host: &str, found: &Found, mut names: impl Iterator<Item = &'a str> + Clone) -> Diagnostic {
    let error = Diagnostic::error(Code::UNDEFINED, format!("undefined variable `{key}` on host `{host}`"));
    if let Some(similar) = similar_name(key, names.clone()) {
        return error.help(format!("a variable with a similar name exists: `{similar}`"));
    }
    if let Found::Scope(_) = found {
        return error.help("`rmqplay inventory --list` shows the variables of all hosts");
    }
    if let Found::Unknown(_) = found {
        let error = error.note("it may be a fact: only the host knows those");
        return error.help(format!("`rmqplay facts {host}` asks it"));
    }
    match key.split_once(['.', '[']) {
        Some((whole, _)) if names.any(|name| name == whole) => {
            error.help(format!("`{whole}` is a variable; it is shown with all that is in it"))
        }
        _ => error,
    }
}

/// A string as it is, anything else as JSON on one line.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// ```text
/// nofile: 65536
///   from inventory host_vars (9), inventories/prod/host_vars/mq-1.yml:2:9
///   over inventory group_vars (6), inventories/prod/group_vars/rabbitmq.yml:3:9: 1024
/// ```
fn explain(session: &Session, values: &Values, key: &str, definitions: &Definitions) -> String {
    let mut out = String::new();
    for (number, (level, label, node)) in definitions.iter().enumerate() {
        let place = match session.sources.locate(node.span) {
            Some(place) => place.to_string(),
            None => label.to_string(),
        };
        let origin = format!("{} ({}), {place}", level.name(), level.number());
        let written = plain(&node.to_value());
        if number > 0 {
            let _ = writeln!(out, "  over {origin}: {written}");
            continue;
        }
        let shown = values.of(node).map_or_else(|_| written.clone(), |value| plain(&value));
        let _ = writeln!(out, "{key}: {shown}\n  from {origin}");
        if node.contains_template() {
            let why = match values.of(node) {
                Ok(_) => String::new(),
                Err(diagnostic) => format!(" ({})", diagnostic.message),
            };
            let _ = writeln!(out, "  written as {written}{why}");
        }
    }
    out
}
