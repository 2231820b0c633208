//! `rabbitmq_definitions`: a whole set of objects at once.

use super::rabbitmq::{Objects, args};
use super::{Action, ArgError, ArgKind, ArgSpec, Args, Kind as ModuleKind, ModuleSpec, Prepare, Report, no_guess};
use crate::rabbitmq::definitions::{Algorithm, Definitions, Key, Kind, Properties, hash, matches};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

pub static SPEC: ModuleSpec = ModuleSpec {
    name: "rabbitmq_definitions",
    aliases: &[],
    summary: "A whole set of objects: users, virtual hosts, permissions, policies, queues...",
    description: "\
What shall be, in the shape of `rabbitmqctl export_definitions`, as data or as a file of JSON on this machine. Each object is created, \
or its properties that are written are set; those that are not written are left alone.

A user may have `password` instead of `password_hash`: it is compared and sent as a salted hash.

`purge` says what of the rest goes: `none`; `listed_vhosts`, what is in a virtual host that is listed; `all`, also users, virtual hosts and \
global parameters. Only sections that are there are purged: a set without `queues` deletes no queue (unless it is in a virtual host that \
goes). The broker's own global parameters (`cluster_name`, `cluster_tags`, `internal_cluster_id`...) stay.

A queue or an exchange that was declared otherwise fails the task unless `recreate` is given. Ansible has no such module.",
    args: args![
        ArgSpec::new("definitions", ArgKind::Dict, "What shall be; passwords are not shown.").secret(),
        ArgSpec::new("src", ArgKind::Path, "A file of JSON on this machine, instead of `definitions`."),
        ArgSpec::new("purge", ArgKind::Str, "What of the rest goes.").default("none").choices(&["none", "listed_vhosts", "all"]),
        ArgSpec::new("recreate", ArgKind::Bool, "Delete queues and exchanges that were declared otherwise, and declare them anew.")
            .default("false"),
    ],
    free_form: None,
    open: false,
    returns: &[("purge", "What of the rest goes")],
    examples: "\
- rabbitmq_definitions:
    purge: listed_vhosts
    definitions:
      vhosts: [{name: shop}]
      users: [{name: app, password: '{{ app_password }}', tags: []}]
      permissions: [{user: app, vhost: shop, configure: '', write: '.*', read: '.*'}]
      policies: []
",
    local: false,
    kind: ModuleKind::Host(prepare),
    ahead: no_guess,
};

/// Global parameters that brokers keep for themselves.
const OWN: [&str; 5] = [
    "cluster_name",
    "cluster_tags",
    "internal_cluster_id",
    "imported_definition_hash_value",
    "mqtt_port_to_vhost_mapping",
];

fn prepare(args: &Args, context: &dyn Prepare) -> Result<Box<dyn Action>, ArgError> {
    let (arg, map) = match (args.dict("definitions"), args.str("src")) {
        (Some(map), None) => ("definitions", map.clone()),
        (None, Some(src)) => {
            let (path, bytes) = context.file(src)?;
            let value: Result<Map<String, Value>, _> = serde_json::from_slice(&bytes);
            (
                "src",
                value.map_err(|e| ArgError::new("src", format!("`{path}` is not a JSON object: {e}")))?,
            )
        }
        (Some(_), Some(_)) => return Err(ArgError::new("src", "`definitions` and `src` exclude each other")),
        (None, None) => {
            return Err(
                ArgError::task("module `rabbitmq_definitions` needs the argument `definitions`").help("or `src`"),
            );
        }
    };
    let mut wanted = Definitions::from_map(&map).map_err(|e| ArgError::new(arg, e))?;
    if let Some((key, _)) = wanted.of(Kind::Vhost).find(|(_, vhost)| vhost.contains_key("tracing")) {
        let error = ArgError::new(
            arg,
            format!("`tracing` of vhost `{}` is not a matter of definitions", key[0]),
        );
        return Err(error.help("`rabbitmq_vhost` sees about it, on each node"));
    }
    let passwords = take_passwords(&mut wanted);
    let salts: BTreeMap<String, [u8; 4]> = passwords
        .iter()
        .map(|(user, password)| (user.clone(), context.salt(&format!("{user}\0{password}"))))
        .collect();
    let kinds: Vec<Kind> = map.keys().flat_map(|section| Kind::of_section(section)).collect();
    let purge = args.need("purge")?.to_owned();
    let recreate = args.bool("recreate");
    let report = Report::new().with("purge", purge.as_str());
    Objects::action(
        args,
        context,
        Box::new(move |all, _| {
            purge_rest(all, &wanted, &kinds, &purge);
            for (kind, key, properties) in wanted.all() {
                let words: Vec<&str> = key.iter().map(String::as_str).collect();
                let mut properties = properties.clone();
                if let (Kind::User, Some(password)) = (kind, passwords.get(&key[0])) {
                    let salt = salts.get(&key[0]).copied().unwrap_or_default();
                    properties.extend(login(all.get(kind, &words), password, salt));
                }
                match (kind, all.get(kind, &words)) {
                    (Kind::Queue | Kind::Exchange, Some(now)) => {
                        let other = super::rabbitmq_queue::conflicts(now, &properties);
                        if !other.is_empty() && !recreate {
                            return Err(super::Failure::new(format!(
                                "{} was declared otherwise, which cannot be changed: {}",
                                kind.name(key),
                                other.join("; ")
                            ))
                            .help("`recreate: true` deletes it, with what is in it, and declares it anew")
                            .into());
                        }
                        if !other.is_empty() {
                            all.put(kind, key.clone(), properties);
                        }
                    }
                    (Kind::Binding, Some(_)) => {}
                    (_, None) => {
                        all.set(kind, &words, defaults(kind));
                        all.set(kind, &words, properties);
                    }
                    _ => all.set(kind, &words, properties),
                }
            }
            Ok(report.clone())
        }),
    )
}

/// Passwords in clear, by user; what stays is fit for a broker.
fn take_passwords(wanted: &mut Definitions) -> BTreeMap<String, String> {
    let users: Vec<(Key, Properties)> = wanted.of(Kind::User).map(|(k, p)| (k.clone(), p.clone())).collect();
    let mut passwords = BTreeMap::new();
    for (key, mut properties) in users {
        if let Some(password) = properties.shift_remove("password") {
            passwords.insert(key[0].clone(), super::plain(&password));
            wanted.put(Kind::User, key, properties);
        }
    }
    passwords
}

fn login(now: Option<&Properties>, password: &str, salt: [u8; 4]) -> Vec<(String, Value)> {
    let text = |name: &str| {
        now.and_then(|p| p.get(name))
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    let algorithm = Algorithm::parse(text("hashing_algorithm"));
    if algorithm.is_some_and(|a| matches(a, text("password_hash"), password)) {
        return Vec::new();
    }
    let algorithm = algorithm.unwrap_or_default();
    vec![
        ("hashing_algorithm".to_owned(), json!(algorithm.name())),
        ("password_hash".to_owned(), json!(hash(algorithm, salt, password))),
    ]
}

/// What a new object has where nothing is written.
fn defaults(kind: Kind) -> Properties {
    let value = match kind {
        Kind::User => json!({ "hashing_algorithm": Algorithm::default().name(), "password_hash": "", "tags": [] }),
        Kind::Vhost => json!({ "description": "", "tags": [] }),
        Kind::Policy => json!({ "apply-to": "all", "priority": 0 }),
        Kind::OperatorPolicy => json!({ "apply-to": "queues", "priority": 0 }),
        Kind::Queue => json!({ "durable": true, "auto_delete": false, "arguments": {} }),
        Kind::Exchange => {
            json!({ "type": "direct", "durable": true, "auto_delete": false, "internal": false, "arguments": {} })
        }
        _ => json!({}),
    };
    value.as_object().cloned().unwrap_or_default()
}

fn purge_rest(all: &mut Definitions, wanted: &Definitions, kinds: &[Kind], purge: &str) {
    if purge == "none" {
        return;
    }
    let rest: Vec<(Kind, Key)> = all
        .all()
        .filter(|(kind, key, properties)| {
            let words: Vec<&str> = key.iter().map(String::as_str).collect();
            let covered = match kind {
                Kind::User | Kind::Vhost => purge == "all",
                Kind::GlobalParameter => purge == "all" && !OWN.contains(&words[0]),
                // Exports do not list them, so that nobody has them in a set.
                Kind::Exchange if properties.get("internal") == Some(&json!(true)) => false,
                _ => purge == "all" || wanted.has(Kind::Vhost, &[words[0]]),
            };
            covered && kinds.contains(kind) && !wanted.has(*kind, &words)
        })
        .map(|(kind, key, _)| (kind, key.clone()))
        .collect();
    for (kind, key) in rest {
        let words: Vec<&str> = key.iter().map(String::as_str).collect();
        all.remove(kind, &words);
    }
}
