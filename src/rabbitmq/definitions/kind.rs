//! Kinds of objects: how an export lists each, and what it is called.

use super::{Key, Properties};
use serde_json::{Map, Value, json};

/// In the order in which a broker can take them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    User,
    Vhost,
    /// Limits of a virtual host; listed among the parameters.
    VhostLimits,
    Permission,
    TopicPermission,
    Parameter,
    GlobalParameter,
    Policy,
    /// Listed among the parameters.
    OperatorPolicy,
    Exchange,
    Queue,
    Binding,
}

const ALL: [Kind; 12] = [
    Kind::User,
    Kind::Vhost,
    Kind::VhostLimits,
    Kind::Permission,
    Kind::TopicPermission,
    Kind::Parameter,
    Kind::GlobalParameter,
    Kind::Policy,
    Kind::OperatorPolicy,
    Kind::Exchange,
    Kind::Queue,
    Kind::Binding,
];

impl Kind {
    /// The kinds that a section of an export lists.
    pub fn of_section(section: &str) -> Vec<Kind> {
        ALL.into_iter().filter(|kind| kind.section() == section).collect()
    }

    /// The section of an export that lists it.
    pub fn section(self) -> &'static str {
        match self {
            Kind::User => "users",
            Kind::Vhost => "vhosts",
            Kind::Permission => "permissions",
            Kind::TopicPermission => "topic_permissions",
            Kind::Parameter | Kind::VhostLimits | Kind::OperatorPolicy => "parameters",
            Kind::GlobalParameter => "global_parameters",
            Kind::Policy => "policies",
            Kind::Exchange => "exchanges",
            Kind::Queue => "queues",
            Kind::Binding => "bindings",
        }
    }

    /// The properties that name an object.
    pub fn keys(self) -> &'static [&'static str] {
        match self {
            Kind::User | Kind::Vhost | Kind::GlobalParameter => &["name"],
            Kind::VhostLimits => &["vhost"],
            Kind::Permission => &["vhost", "user"],
            Kind::TopicPermission => &["vhost", "user", "exchange"],
            Kind::Parameter => &["vhost", "component", "name"],
            Kind::Policy | Kind::OperatorPolicy | Kind::Queue | Kind::Exchange => &["vhost", "name"],
            Kind::Binding => &[
                "vhost",
                "source",
                "destination_type",
                "destination",
                "routing_key",
                "arguments",
            ],
        }
    }

    /// How a reader finds an object of this kind.
    pub fn name(self, key: &[String]) -> String {
        let part = |index: usize| key.get(index).map(String::as_str).unwrap_or_default();
        match self {
            Kind::User => format!("user {}", part(0)),
            Kind::Vhost => format!("vhost {}", part(0)),
            Kind::VhostLimits => format!("limits of vhost {}", part(0)),
            Kind::Permission => format!("permissions of {} on vhost {}", part(1), part(0)),
            Kind::TopicPermission => {
                format!("topic permissions of {} on {} in vhost {}", part(1), part(2), part(0))
            }
            Kind::Parameter => format!("parameter {} {} in vhost {}", part(1), part(2), part(0)),
            Kind::GlobalParameter => format!("global parameter {}", part(0)),
            Kind::Policy => format!("policy {} in vhost {}", part(1), part(0)),
            Kind::OperatorPolicy => format!("operator policy {} in vhost {}", part(1), part(0)),
            Kind::Queue => format!("queue {} in vhost {}", part(1), part(0)),
            Kind::Exchange => format!("exchange {} in vhost {}", part(1), part(0)),
            Kind::Binding => {
                let arguments = if part(5) == "{}" {
                    String::new()
                } else {
                    format!(" {}", part(5))
                };
                format!(
                    "binding {} -> {} {} ({}{arguments}) in vhost {}",
                    part(1),
                    part(2),
                    part(3),
                    part(4),
                    part(0)
                )
            }
        }
    }

    /// An entry of a section: what it is, its name, its properties. `Err`: the property that is missing.
    pub fn read(section: &str, entry: &Map<String, Value>) -> Result<(Kind, Key, Properties), &'static str> {
        let component = entry.get("component").and_then(Value::as_str);
        let kind = match (section, component) {
            ("parameters", Some("operator_policy")) => Kind::OperatorPolicy,
            ("parameters", Some("vhost-limits")) => Kind::VhostLimits,
            ("parameters", _) => Kind::Parameter,
            _ => *Kind::of_section(section).first().ok_or("a known section")?,
        };
        let mut rest = entry.clone();
        let mut key = Vec::new();
        for name in kind.keys() {
            let part = rest.shift_remove(*name);
            key.push(match (*name, part) {
                ("arguments", arguments) => super::canonical(&arguments.unwrap_or_else(|| json!({}))).to_string(),
                ("routing_key", None) => String::new(),
                (_, Some(Value::String(part))) => part,
                (name, _) => return Err(name),
            });
        }
        let properties = match kind {
            Kind::VhostLimits | Kind::OperatorPolicy => match rest.shift_remove("value") {
                Some(value) => super::value::object(&value).ok_or("value")?,
                None => return Err("value"),
            },
            Kind::User => user(rest),
            Kind::Vhost => vhost(rest),
            // The type is told by `x-queue-type`, too.
            Kind::Queue => {
                rest.shift_remove("type");
                rest
            }
            // Those that an export lists are not.
            Kind::Exchange => {
                rest.entry("internal").or_insert(Value::Bool(false));
                rest
            }
            Kind::Binding => Map::new(),
            _ => rest,
        };
        Ok((kind, key, properties))
    }

    /// The entry of a section that [`Kind::read`] reads and a broker takes.
    pub fn write(self, key: &[String], properties: &Properties) -> Map<String, Value> {
        let mut entry = Map::new();
        for (name, part) in self.keys().iter().zip(key) {
            let part = match *name {
                "arguments" => serde_json::from_str(part).unwrap_or_else(|_| json!({})),
                _ => Value::from(part.clone()),
            };
            entry.insert((*name).to_owned(), part);
        }
        let parameter = match self {
            Kind::VhostLimits => Some(("vhost-limits", "limits")),
            Kind::OperatorPolicy => Some(("operator_policy", "")),
            _ => None,
        };
        if let Some((component, name)) = parameter {
            entry.insert("component".to_owned(), json!(component));
            entry.entry("name").or_insert_with(|| json!(name));
            entry.insert("value".to_owned(), Value::Object(properties.clone()));
        } else if self == Kind::Vhost {
            // Old brokers read the description beside `metadata`, new ones within it.
            for name in ["description", "tags"] {
                entry.extend(properties.get(name).map(|v| (name.to_owned(), v.clone())));
            }
            let mut metadata = properties.clone();
            entry.extend(metadata.shift_remove("tracing").map(|on| ("tracing".to_owned(), on)));
            entry.insert("metadata".to_owned(), Value::Object(metadata));
        } else {
            entry.extend(properties.clone());
        }
        entry
    }

    /// Whether an object of this kind goes when that one is deleted.
    pub fn falls_with(self, name: &[String], kind: Kind, key: &[String]) -> bool {
        let part = |index: usize| name.get(index).map(String::as_str);
        let gone = |index: usize| key.get(index).map(String::as_str);
        match (kind, self) {
            (Kind::Vhost, Kind::User | Kind::Vhost | Kind::GlobalParameter) => false,
            (Kind::Vhost, _) => part(0) == gone(0),
            (Kind::User, Kind::Permission | Kind::TopicPermission) => part(1) == gone(0),
            (Kind::Exchange, Kind::Binding) => {
                part(0) == gone(0) && (part(1) == gone(1) || part(2) == Some("exchange") && part(3) == gone(1))
            }
            (Kind::Queue, Kind::Binding) => part(0) == gone(0) && part(2) == Some("queue") && part(3) == gone(1),
            _ => false,
        }
    }
}

/// Tags are a set; before 3.9 they are one string with commas.
fn tags(value: Option<Value>) -> Value {
    let mut tags: Vec<String> = match value {
        Some(Value::Array(list)) => list.iter().filter_map(|t| t.as_str().map(str::to_owned)).collect(),
        Some(Value::String(text)) => text.split(',').map(|t| t.trim().to_owned()).collect(),
        _ => Vec::new(),
    };
    tags.retain(|tag| !tag.is_empty());
    tags.sort();
    tags.dedup();
    json!(tags)
}

fn user(mut rest: Properties) -> Properties {
    let given = rest.contains_key("tags");
    let sorted = tags(rest.shift_remove("tags"));
    if given {
        rest.insert("tags".to_owned(), sorted);
    }
    if let Some(limits) = rest.shift_remove("limits") {
        rest.insert(
            "limits".to_owned(),
            json!(super::value::object(&limits).unwrap_or_default()),
        );
    }
    rest
}

/// Description, tags and default queue type, wherever they are written. (`limits` are parameters.) `tracing`, which no broker
/// exports and all of them import, is of the node that is asked.
fn vhost(mut rest: Properties) -> Properties {
    let mut metadata = rest
        .shift_remove("metadata")
        .and_then(|m| super::value::object(&m))
        .unwrap_or_default();
    for name in ["description", "tags", "default_queue_type"] {
        if let Some(value) = rest.shift_remove(name)
            && !metadata.contains_key(name)
        {
            // A broker that was never told a type says `classic` here and nothing in `metadata`.
            if name != "default_queue_type" || value != json!("classic") && value != json!("undefined") {
                metadata.insert(name.to_owned(), value);
            }
        }
    }
    if metadata.contains_key("tags") {
        let sorted = tags(metadata.shift_remove("tags"));
        metadata.insert("tags".to_owned(), sorted);
    }
    if let Some(on) = rest.shift_remove("tracing").filter(Value::is_boolean) {
        metadata.insert("tracing".to_owned(), on);
    }
    metadata
}
