//! What a broker holds of users, virtual hosts, permissions, policies, queues and the like, as `rabbitmqctl
//! export_definitions` tells it: read, compared property by property, and what is to be sent to change it.

mod changes;
mod kind;
mod password;
mod value;

pub use changes::{Differences, deletions, import};
pub use kind::Kind;
pub use password::{Algorithm, hash, matches};
pub use value::{canonical, same, shown};

use crate::rabbitmq::Version;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The name of an object among those of its kind: what [`Kind::keys`] lists, in that order.
pub type Key = Vec<String>;

/// An object's properties, without those that name it.
pub type Properties = Map<String, Value>;

/// Everything an export holds, by kind and name. Cheap to clone, and clones to compare: what was not touched is the same.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Definitions {
    /// The broker that was asked.
    pub version: Option<Version>,
    objects: BTreeMap<Kind, Arc<BTreeMap<Key, Arc<Properties>>>>,
}

impl Definitions {
    /// Reads an export. `Err`: what is wrong with it.
    pub fn parse(text: &str) -> Result<Definitions, String> {
        let value: Value = serde_json::from_str(text).map_err(|e| format!("it is not JSON: {e}"))?;
        let Value::Object(map) = value else {
            return Err("it is not a JSON object".to_owned());
        };
        Definitions::from_map(&map)
    }

    /// From the sections of an export, or of what a user wrote in its shape.
    pub fn from_map(map: &Map<String, Value>) -> Result<Definitions, String> {
        let version = map.get("rabbitmq_version").and_then(Value::as_str);
        let mut definitions = Definitions {
            version: version.and_then(|v| v.parse().ok()),
            objects: BTreeMap::new(),
        };
        for (section, list) in map {
            if matches!(
                section.as_str(),
                "rabbitmq_version"
                    | "rabbit_version"
                    | "product_name"
                    | "product_version"
                    | "rabbitmq_definition_format"
            ) || section == "original_vhost_name"
                || section == "original_cluster_name"
                || section == "explanation"
                || section == "metadata"
            {
                continue;
            }
            let kinds = Kind::of_section(section);
            let (Some(list), false) = (list.as_array(), kinds.is_empty()) else {
                return Err(if kinds.is_empty() {
                    format!("`{section}` is no section of definitions")
                } else {
                    format!("`{section}` is not a list")
                });
            };
            for (index, entry) in list.iter().enumerate() {
                let Value::Object(entry) = entry else {
                    return Err(format!("`{section}[{index}]` is not a mapping"));
                };
                let (kind, key, properties) =
                    Kind::read(section, entry).map_err(|what| format!("`{section}[{index}]` needs `{what}`"))?;
                definitions.put(kind, key, properties);
            }
        }
        Ok(definitions)
    }

    /// As an export, for [`Definitions::parse`].
    pub fn text(&self) -> String {
        let mut map: Map<String, Value> = Map::new();
        if let Some(version) = self.version {
            map.insert("rabbitmq_version".to_owned(), json!(version.to_string()));
        }
        for (kind, key, properties) in self.all() {
            let list = map.entry(kind.section()).or_insert_with(|| json!([]));
            if let Value::Array(list) = list {
                list.push(Value::Object(kind.write(key, properties)));
            }
        }
        Value::Object(map).to_string()
    }

    pub fn get(&self, kind: Kind, key: &[&str]) -> Option<&Properties> {
        let objects = self.objects.get(&kind)?;
        let key: Key = key.iter().map(|part| (*part).to_owned()).collect();
        objects.get(&key).map(|properties| &**properties)
    }

    /// What is not the very same in both, of this one: all that can differ.
    fn unlike<'a>(&'a self, other: &'a Definitions) -> impl Iterator<Item = (Kind, &'a Key, &'a Properties)> {
        let kinds = self
            .objects
            .iter()
            .map(|(kind, mine)| (kind, mine, other.objects.get(kind)));
        let touched = kinds.filter(|(_, mine, theirs)| !theirs.is_some_and(|theirs| Arc::ptr_eq(mine, theirs)));
        touched.flat_map(|(kind, mine, theirs)| {
            let same = move |key: &Key, properties: &Arc<Properties>| {
                let theirs = theirs.and_then(|theirs| theirs.get(key));
                theirs.is_some_and(|theirs| Arc::ptr_eq(properties, theirs))
            };
            let objects = mine.iter().filter(move |(key, properties)| !same(key, properties));
            objects.map(move |(key, properties)| (*kind, key, &**properties))
        })
    }

    pub fn has(&self, kind: Kind, key: &[&str]) -> bool {
        self.get(kind, key).is_some()
    }

    pub fn of(&self, kind: Kind) -> impl Iterator<Item = (&Key, &Properties)> {
        let objects = self.objects.get(&kind).into_iter().flat_map(|objects| objects.iter());
        objects.map(|(key, properties)| (key, &**properties))
    }

    pub fn all(&self) -> impl Iterator<Item = (Kind, &Key, &Properties)> {
        let objects = self.objects.iter();
        objects.flat_map(|(kind, objects)| objects.iter().map(move |(key, properties)| (*kind, key, &**properties)))
    }

    /// Creates or replaces an object.
    pub fn put(&mut self, kind: Kind, key: Key, properties: Properties) {
        Arc::make_mut(self.objects.entry(kind).or_default()).insert(key, Arc::new(properties));
    }

    /// Creates an object, or gives these properties to the one that is there and leaves its others.
    pub fn set(&mut self, kind: Kind, key: &[&str], properties: Properties) {
        let key: Key = key.iter().map(|part| (*part).to_owned()).collect();
        // What means the same is left as it is written: nothing is a change that changes nothing.
        let old = self.get(kind, &key.iter().map(String::as_str).collect::<Vec<_>>());
        let other =
            |name: &String, value: &Value| old.and_then(|old| old.get(name)).is_none_or(|old| !same(old, value));
        let mut properties = properties;
        properties.retain(|name, value| other(name, value));
        if old.is_some() && properties.is_empty() {
            return;
        }
        let object = Arc::make_mut(self.objects.entry(kind).or_default())
            .entry(key)
            .or_default();
        Arc::make_mut(object).extend(properties);
    }

    /// Removes an object and, as the broker does, what cannot be without it.
    pub fn remove(&mut self, kind: Kind, key: &[&str]) {
        let key: Key = key.iter().map(|part| (*part).to_owned()).collect();
        let Some(objects) = self.objects.get_mut(&kind).filter(|objects| objects.contains_key(&key)) else {
            return;
        };
        Arc::make_mut(objects).remove(&key);
        for (other, objects) in &mut self.objects {
            if objects.keys().any(|name| other.falls_with(name, kind, &key)) {
                Arc::make_mut(objects).retain(|name, _| !other.falls_with(name, kind, &key));
            }
        }
    }
}

#[cfg(test)]
mod tests;
