//! `rabbitmq_binding`.

use super::rabbitmq::{Look, Objects, STATE, VHOST, args, need_vhost};
use super::{
    Action, ArgError, ArgKind, ArgSpec, Args, Failure, Kind as ModuleKind, ModuleSpec, Prepare, Report, Stop, no_guess,
};
use crate::rabbitmq::definitions::{Definitions, Kind, Properties, canonical};
use serde_json::Value;

pub static SPEC: ModuleSpec = ModuleSpec {
    name: "rabbitmq_binding",
    aliases: &["community.rabbitmq.rabbitmq_binding"],
    summary: "Bindings of exchanges to queues and exchanges",
    description: "\
A binding is its source, destination, routing key and arguments: one that differs in any is another. It works through the node's own \
tools.",
    args: args![
        ArgSpec::new("name", ArgKind::Str, "The source, an exchange.")
            .required()
            .aliases(&["src", "source"]),
        ArgSpec::new("destination", ArgKind::Str, "The destination.")
            .required()
            .aliases(&["dst", "dest"]),
        ArgSpec::new("destination_type", ArgKind::Str, "What the destination is.")
            .required()
            .aliases(&["type", "dest_type"])
            .choices(&["queue", "exchange"]),
        ArgSpec::new("routing_key", ArgKind::Str, "Routing key.").default("#"),
        ArgSpec::new("arguments", ArgKind::Dict, "Arguments."),
        VHOST,
        STATE,
    ],
    free_form: None,
    open: false,
    returns: &[
        ("name", "The source"),
        ("destination", "The destination"),
        ("state", "`present` or `absent`"),
    ],
    examples: "\
- rabbitmq_binding: {source: events, destination: orders, type: queue, routing_key: 'order.*', vhost: shop}
",
    local: false,
    kind: ModuleKind::Host(prepare),
    ahead: no_guess,
};

fn prepare(args: &Args, context: &dyn Prepare) -> Result<Box<dyn Action>, ArgError> {
    let arguments = canonical(&Value::Object(args.dict("arguments").cloned().unwrap_or_default())).to_string();
    let vhost = args.need("vhost")?.to_owned();
    let source = args.need("name")?.to_owned();
    if source.is_empty() {
        return Err(ArgError::new(
            "name",
            "the default exchange is bound to every queue by itself",
        ));
    }
    let words = [
        vhost.clone(),
        source.clone(),
        args.need("destination_type")?.to_owned(),
        args.need("destination")?.to_owned(),
        args.need("routing_key")?.to_owned(),
        arguments,
    ];
    let report = Report::new()
        .with("name", source.as_str())
        .with("destination", words[3].as_str())
        .with("state", args.need("state")?);
    let absent = args.str("state") == Some("absent");
    Objects::action(
        args,
        context,
        Box::new(move |all, look| {
            let key = words.each_ref().map(String::as_str);
            if absent {
                all.remove(Kind::Binding, &key);
                return Ok(report.clone());
            }
            need_vhost(all, &vhost)?;
            if !all.has(Kind::Binding, &key) {
                need(all, look, Kind::Exchange, key[0], key[1])?;
                let kind = if key[2] == "queue" { Kind::Queue } else { Kind::Exchange };
                need(all, look, kind, key[0], key[3])?;
                all.put(Kind::Binding, words.to_vec(), Properties::new());
            }
            Ok(report.clone())
        }),
    )
}

/// What is to be bound must be there; what exports do not list costs a look.
fn need(all: &Definitions, look: &Look<'_, '_>, kind: Kind, vhost: &str, name: &str) -> Result<(), Stop> {
    let listed = all.has(kind, &[vhost, name]) || kind == Kind::Exchange && name.starts_with("amq.");
    if listed || look.declared(kind, vhost, name)?.0.is_some() {
        return Ok(());
    }
    let what = if kind == Kind::Queue { "queue" } else { "exchange" };
    Err(
        Failure::new(format!("{what} `{name}` does not exist in vhost `{vhost}`"))
            .help(format!("declare it first, with `rabbitmq_{what}`"))
            .into(),
    )
}
