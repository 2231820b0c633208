//! `rabbitmq_queue`: queues, which are what they were declared as.

use super::rabbitmq::{Look, Objects, STATE, VHOST, args, need_vhost};
use super::{
    Action, ArgError, ArgKind, ArgSpec, Args, Failure, Kind as ModuleKind, ModuleSpec, Prepare, Report, Stop, no_guess,
};
use crate::rabbitmq::definitions::{Definitions, Kind, Properties, same, shown};
use serde_json::{Value, json};

pub static SPEC: ModuleSpec = ModuleSpec {
    name: "rabbitmq_queue",
    aliases: &["community.rabbitmq.rabbitmq_queue"],
    summary: "Queues of RabbitMQ",
    description: "\
Declares and deletes queues. What a queue was declared with cannot be changed: where it differs, the task fails and says how many \
messages and consumers are at stake, unless `recreate` says to delete the queue and declare it anew.

All arguments are compared (community.rabbitmq compares six of them); a queue type that is not asked for may be any. It works through \
the node's own tools, so that neither the management plugin nor a login is needed. A queue that an export does not list, such as \
a client's own, and one that is not there cost a second look.",
    args: args![
        ArgSpec::new("name", ArgKind::Str, "Name.").required(),
        VHOST,
        ArgSpec::new("durable", ArgKind::Bool, "Whether it outlives a restart.").default("true"),
        ArgSpec::new("auto_delete", ArgKind::Bool, "Whether it goes with its last consumer.").default("false"),
        ArgSpec::new("arguments", ArgKind::Dict, "Arguments, such as `x-queue-type`."),
        ArgSpec::new("message_ttl", ArgKind::Int, "`x-message-ttl`, milliseconds."),
        ArgSpec::new("auto_expires", ArgKind::Int, "`x-expires`, milliseconds."),
        ArgSpec::new("max_length", ArgKind::Int, "`x-max-length`, messages."),
        ArgSpec::new("max_priority", ArgKind::Int, "`x-max-priority`."),
        ArgSpec::new("dead_letter_exchange", ArgKind::Str, "`x-dead-letter-exchange`."),
        ArgSpec::new("dead_letter_routing_key", ArgKind::Str, "`x-dead-letter-routing-key`."),
        ArgSpec::new("recreate", ArgKind::Bool, "Delete the queue, with all messages in it, where it was declared otherwise.")
            .default("false"),
        STATE,
    ],
    free_form: None,
    open: false,
    returns: &[("name", "The name"), ("vhost", "The virtual host"), ("state", "`present` or `absent`")],
    examples: "\
- rabbitmq_queue:
    name: orders
    vhost: shop
    arguments: {x-queue-type: quorum, x-delivery-limit: 5}
",
    local: false,
    kind: ModuleKind::Host(prepare),
    ahead: no_guess,
};

/// Arguments that have a name of their own.
const NAMED: [(&str, &str); 6] = [
    ("message_ttl", "x-message-ttl"),
    ("auto_expires", "x-expires"),
    ("max_length", "x-max-length"),
    ("max_priority", "x-max-priority"),
    ("dead_letter_exchange", "x-dead-letter-exchange"),
    ("dead_letter_routing_key", "x-dead-letter-routing-key"),
];

fn prepare(args: &Args, context: &dyn Prepare) -> Result<Box<dyn Action>, ArgError> {
    let mut arguments = args.dict("arguments").cloned().unwrap_or_default();
    for (name, argument) in NAMED {
        if let Some(value) = args.raw(name) {
            arguments.insert(argument.to_owned(), value.clone());
        }
    }
    let wanted = Properties::from_iter([
        ("durable".to_owned(), json!(args.bool("durable"))),
        ("auto_delete".to_owned(), json!(args.bool("auto_delete"))),
        ("arguments".to_owned(), Value::Object(arguments)),
    ]);
    declared(args, context, Kind::Queue, wanted)
}

/// The action for what is declared once, a queue or an exchange.
pub fn declared(
    args: &Args,
    context: &dyn Prepare,
    kind: Kind,
    wanted: Properties,
) -> Result<Box<dyn Action>, ArgError> {
    let (name, vhost) = (args.need("name")?.to_owned(), args.need("vhost")?.to_owned());
    let report = Report::new()
        .with("name", name.as_str())
        .with("vhost", vhost.as_str())
        .with("state", args.need("state")?);
    let absent = args.str("state") == Some("absent");
    let recreate = args.bool("recreate");
    let (unlisted, key) = (name.clone(), vhost.clone());
    let complete = move |all: &mut Definitions, look: &Look<'_, '_>| {
        if all.has(kind, &[&key, &unlisted]) || !all.has(Kind::Vhost, &[&key]) {
            return Ok(None);
        }
        let (row, probe) = look.declared(kind, &key, &unlisted)?;
        let Some(row) = row else { return Ok(None) };
        all.put(kind, vec![key.clone(), unlisted.clone()], row);
        Ok(Some(probe))
    };
    let objects = Objects::new(
        args,
        context,
        Box::new(move |all, look| {
            let words = [vhost.as_str(), name.as_str()];
            if absent {
                all.remove(kind, &words);
                return Ok(report.clone());
            }
            need_vhost(all, &vhost)?;
            if let Some(now) = all.get(kind, &words) {
                let other = conflicts(now, &wanted);
                if other.is_empty() {
                    return Ok(report.clone());
                }
                if !recreate {
                    return Err(at_stake(kind, &vhost, &name, &other, look)?);
                }
            }
            all.put(kind, words.map(str::to_owned).to_vec(), wanted.clone());
            Ok(report.clone())
        }),
    )?;
    Ok(Box::new(objects.completed(Box::new(complete))))
}

/// What was declared otherwise: property, what it is, what is wanted.
pub fn conflicts(now: &Properties, wanted: &Properties) -> Vec<String> {
    let mut found = Vec::new();
    let mut compare = |name: &str, old: Option<&Value>, new: Option<&Value>| {
        let equal = match (old, new) {
            (Some(old), Some(new)) => same(old, new),
            (old, new) => old.is_none() && new.is_none(),
        };
        if !equal {
            let word =
                |value: Option<&Value>| value.map_or_else(|| "nothing".to_owned(), |v| format!("`{}`", shown(v)));
            found.push(format!("`{name}` is {}, wanted is {}", word(old), word(new)));
        }
    };
    for (name, new) in wanted.iter().filter(|(name, _)| *name != "arguments") {
        compare(name, now.get(name), Some(new));
    }
    let arguments = |of: &Properties| {
        of.get("arguments")
            .and_then(Value::as_object)
            .cloned()
            .unwrap_or_default()
    };
    let (old, new) = (arguments(now), arguments(wanted));
    let names = old.keys().filter(|name| !new.contains_key(*name)).chain(new.keys());
    for name in names {
        match (name.as_str(), old.get(name), new.get(name)) {
            // The virtual host's default, written down by the broker.
            ("x-queue-type", Some(_), None) => {}
            ("x-queue-type", None, Some(kind)) if *kind == json!("classic") => {}
            (name, old, new) => compare(name, old, new),
        }
    }
    found
}

fn at_stake(kind: Kind, vhost: &str, name: &str, other: &[String], look: &Look<'_, '_>) -> Result<Stop, Stop> {
    let what = if kind == Kind::Queue { "queue" } else { "exchange" };
    let stake = match kind {
        Kind::Queue => {
            let [messages, consumers] = look.load(vhost, name)?;
            format!("with its {messages} messages, which {consumers} consumers read")
        }
        _ => "with its bindings, which are made anew".to_owned(),
    };
    Ok(Failure::new(format!(
        "{what} `{name}` in vhost `{vhost}` was declared otherwise, which cannot be changed: {}",
        other.join("; ")
    ))
    .help(format!("`recreate: true` deletes it, {stake}, and declares it anew"))
    .into())
}
