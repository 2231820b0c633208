//! What `ansible-inventory --list`, `--host` and `--graph` print.

use super::graph::{ALL, GroupId};
use super::{Adjacent, HostName, Inventory};
use crate::language::{Node, Yaml};
use serde_json::{Map, Value, json};
use std::collections::HashSet;

/// Variables Ansible makes itself and does not list, even where a user has set them.
const INTERNAL: [&str; 33] = [
    "ansible_async_path",
    "ansible_collection_name",
    "ansible_config_file",
    "ansible_dependent_role_names",
    "ansible_diff_mode",
    "ansible_facts",
    "ansible_forks",
    "ansible_inventory_sources",
    "ansible_limit",
    "ansible_play_batch",
    "ansible_play_hosts",
    "ansible_play_hosts_all",
    "ansible_play_role_names",
    "ansible_playbook_python",
    "ansible_role_name",
    "ansible_role_names",
    "ansible_run_tags",
    "ansible_skip_tags",
    "ansible_verbosity",
    "ansible_version",
    "group_names",
    "groups",
    "hostvars",
    "inventory_dir",
    "inventory_file",
    "inventory_hostname",
    "inventory_hostname_short",
    "play_hosts",
    "playbook_dir",
    "role_name",
    "role_names",
    "role_path",
    "role_uuid",
];

impl Inventory {
    /// `ansible-inventory --list`, of the hosts in `only` (`--limit`) if given. Templates are as they are written.
    pub fn list_json(&self, playbook: &Adjacent, only: Option<&[HostName]>) -> Value {
        let hosts: Vec<&HostName> = match only {
            Some(only) => {
                let only: HashSet<&HostName> = only.iter().collect();
                self.hosts().iter().filter(|host| only.contains(host)).collect()
            }
            None => self.hosts().iter().collect(),
        };
        let shown: HashSet<&HostName> = hosts.iter().copied().collect();
        let mut list = Map::new();
        if !self.groups.is_empty() {
            self.list_group(ALL, &shown, &mut HashSet::new(), &mut list);
        }
        let vars: Map<String, Value> = hosts
            .iter()
            .map(|host| (host.to_string(), self.host_json(host, playbook)))
            .filter(|(_, vars)| vars.as_object().is_some_and(|vars| !vars.is_empty()))
            .collect();
        list.insert(
            "_meta".to_owned(),
            json!({"hostvars": vars, "profile": "inventory_legacy"}),
        );
        Value::Object(list)
    }

    fn list_group(
        &self,
        id: GroupId,
        shown: &HashSet<&HostName>,
        seen: &mut HashSet<GroupId>,
        list: &mut Map<String, Value>,
    ) {
        let Some((name, group)) = self.groups.get_index(id) else {
            return;
        };
        let mut entry = Map::new();
        // To Ansible all hosts are in `all` through other groups.
        if id != ALL {
            let hosts: Vec<Value> = group
                .hosts
                .iter()
                .filter(|h| shown.contains(h))
                .map(|h| json!(&**h))
                .collect();
            if !hosts.is_empty() {
                entry.insert("hosts".to_owned(), Value::Array(hosts));
            }
        }
        if !group.children.is_empty() {
            let children = group.children.iter().map(|c| json!(self.groups.keys()[*c])).collect();
            entry.insert("children".to_owned(), Value::Array(children));
        }
        if !entry.is_empty() {
            list.insert(name.clone(), Value::Object(entry));
        }
        for child in &group.children {
            if seen.insert(*child) {
                self.list_group(*child, shown, seen, list);
            }
        }
    }

    /// `ansible-inventory --host`: the variables of a host, from everywhere, without Ansible's own.
    pub fn host_json(&self, host: &str, playbook: &Adjacent) -> Value {
        let vars = self.host_vars(host, playbook);
        let shown = vars.iter().filter(|(key, _)| !INTERNAL.contains(&key.as_str()));
        Value::Object(shown.map(|(key, value)| (key.clone(), to_json(value))).collect())
    }

    /// `ansible-inventory --graph GROUP`, without a newline at the end; `None` if there is no such group.
    pub fn graph(&self, group: &str) -> Option<String> {
        let mut lines = Vec::new();
        self.graph_group(self.groups.get_index_of(group)?, 0, &mut lines);
        Some(lines.join("\n"))
    }

    fn graph_group(&self, id: GroupId, depth: usize, lines: &mut Vec<String>) {
        let Some((name, group)) = self.groups.get_index(id) else {
            return;
        };
        let line = |depth: usize, text: &str| match depth {
            0 => text.to_owned(),
            _ => format!("{}--{text}", "  |".repeat(depth)),
        };
        lines.push(line(depth, &format!("@{name}:")));
        for child in &group.children {
            self.graph_group(*child, depth + 1, lines);
        }
        if id != ALL {
            lines.extend(group.hosts.iter().map(|host| line(depth + 1, host)));
        }
    }
}

/// The value as Ansible's JSON for inventories has it: strings that must not be templates are marked.
fn to_json(node: &Node) -> Value {
    match &node.yaml {
        Yaml::Str(text) if text.raw => json!({"__ansible_unsafe": text.value}),
        Yaml::Seq(items) => items.iter().map(to_json).collect(),
        Yaml::Map(mapping) => Value::Object(
            mapping
                .entries
                .iter()
                .map(|e| (e.key.clone(), to_json(&e.value)))
                .collect(),
        ),
        _ => node.to_value(),
    }
}
