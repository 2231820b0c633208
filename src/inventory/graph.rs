//! Groups and hosts while sources are read, in the order in which they are first seen; Ansible's rules for what
//! belongs where once all is read.

use super::layers::{Layer, Vars};
use super::{HostName, Inventory, Level};
use crate::diagnostic::Span;
use crate::language::Node;
use indexmap::{IndexMap, IndexSet};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

pub(super) type GroupId = usize;
pub(super) type HostId = usize;

pub(super) const ALL: GroupId = 0;
pub(super) const UNGROUPED: GroupId = 1;

/// Names that mean the controller itself.
pub(super) const LOCALHOST: [&str; 3] = ["127.0.0.1", "localhost", "::1"];

/// The groups and hosts of all sources read so far.
#[derive(Debug)]
pub(super) struct Draft {
    pub groups: IndexMap<String, DraftGroup>,
    pub hosts: IndexMap<HostName, DraftHost>,
}

#[derive(Debug, Default)]
pub(super) struct DraftGroup {
    pub hosts: IndexSet<HostId>,
    pub children: IndexSet<GroupId>,
    pub parents: IndexSet<GroupId>,
    pub vars: IndexMap<String, Arc<Node>>,
    /// `ansible_group_priority`; Ansible's default is 1.
    pub priority: Option<i64>,
}

#[derive(Debug)]
pub(super) struct DraftHost {
    pub vars: IndexMap<String, Arc<Node>>,
    pub origin: Arc<Origin>,
}

/// The source a host was first seen in.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Origin {
    /// `inventory_file`: an absolute path, or the list of hosts as given.
    pub file: String,
    /// `inventory_dir`: none for a list of hosts.
    pub dir: Option<String>,
}

/// A group cannot hold itself, not even through others.
#[derive(Debug)]
pub(super) struct Loop;

impl Draft {
    pub fn new() -> Self {
        let mut draft = Draft {
            groups: IndexMap::new(),
            hosts: IndexMap::new(),
        };
        let all = draft.group("all");
        let ungrouped = draft.group("ungrouped");
        draft.link(all, ungrouped);
        draft
    }

    /// The group of that name, made if there is none.
    pub fn group(&mut self, name: &str) -> GroupId {
        match self.groups.get_index_of(name) {
            Some(id) => id,
            None => self.groups.insert_full(name.to_owned(), DraftGroup::default()).0,
        }
    }

    /// The host of that name in `group`. A port counts only where the host is first seen, as in Ansible.
    pub fn host(&mut self, name: &str, group: GroupId, port: Option<(u32, Span)>, origin: &Arc<Origin>) -> HostId {
        let id = match self.hosts.get_index_of(name) {
            Some(id) => id,
            None => {
                let mut vars = IndexMap::new();
                if let Some((port, span)) = port.filter(|(port, _)| *port != 0) {
                    let node = Node::new(span, crate::language::Yaml::Int(port.into()));
                    vars.insert("ansible_port".to_owned(), Arc::new(node));
                }
                let host = DraftHost {
                    vars,
                    origin: Arc::clone(origin),
                };
                self.hosts.insert_full(name.into(), host).0
            }
        };
        self.groups[group].hosts.insert(id);
        id
    }

    pub fn child(&mut self, parent: GroupId, child: GroupId) -> Result<(), Loop> {
        // Every group comes to be below `all`, so that nothing can be above it.
        if child == ALL || parent == child || self.ancestors(&[parent]).contains(&child) {
            return Err(Loop);
        }
        self.link(parent, child);
        Ok(())
    }

    fn link(&mut self, parent: GroupId, child: GroupId) {
        self.groups[parent].children.insert(child);
        self.groups[child].parents.insert(parent);
    }

    /// Sets a variable of the group or host of that name. Where both exist Ansible means the group.
    pub fn set(&mut self, entity: &str, key: &str, value: Arc<Node>) -> Result<(), String> {
        match self.groups.get_index_of(entity) {
            Some(group) => self.set_of_group(group, key, value),
            None => {
                if let Some(host) = self.hosts.get_mut(entity) {
                    host.vars.insert(key.to_owned(), value);
                }
                Ok(())
            }
        }
    }

    /// # Errors
    /// An `ansible_group_priority` that is not an integer.
    pub fn set_of_group(&mut self, group: GroupId, key: &str, value: Arc<Node>) -> Result<(), String> {
        let group = &mut self.groups[group];
        if key == "ansible_group_priority" {
            group.priority = Some(priority(&value)?);
        } else {
            group.vars.insert(key.to_owned(), value);
        }
        Ok(())
    }

    /// All groups above those given, without them.
    fn ancestors(&self, groups: &[GroupId]) -> HashSet<GroupId> {
        let mut seen = HashSet::new();
        let mut todo: Vec<GroupId> = groups.to_vec();
        while let Some(group) = todo.pop() {
            todo.extend(self.groups[group].parents.iter().filter(|p| seen.insert(**p)));
        }
        seen
    }

    /// What holds after all sources are read: every group is below `all`; a host of no other group is in
    /// `ungrouped`, and only such a host.
    pub fn finish(mut self) -> Inventory {
        for group in 1..self.groups.len() {
            if self.groups[group].parents.is_empty() {
                self.link(ALL, group);
            }
        }
        self.settle_ungrouped();
        let depths = self.depths();
        let members: Vec<Vec<HostId>> = (0..self.groups.len()).map(|g| self.members(g)).collect();
        self.build(&depths, members)
    }

    fn settle_ungrouped(&mut self) {
        let mut grouped = vec![false; self.hosts.len()];
        for (id, group) in self.groups.values().enumerate() {
            if id != ALL && id != UNGROUPED {
                group.hosts.iter().for_each(|h| grouped[*h] = true);
            }
        }
        self.groups[UNGROUPED].hosts.retain(|h| !grouped[*h]);
        for (host, grouped) in grouped.iter().enumerate() {
            if *grouped || self.groups[UNGROUPED].hosts.contains(&host) {
                continue;
            }
            // By name, as Ansible does it: a host that shares a group's name drags the group there.
            match self.groups.get_index_of(&*self.hosts.keys()[host].clone()) {
                Some(group) if group > UNGROUPED => drop(self.child(UNGROUPED, group)),
                _ => drop(self.groups[UNGROUPED].hosts.insert(host)),
            }
        }
    }

    /// The longest way from `all` to each group.
    fn depths(&self) -> Vec<usize> {
        let mut waiting: Vec<usize> = self.groups.values().map(|g| g.parents.len()).collect();
        let mut depths = vec![0; self.groups.len()];
        let mut ready: Vec<GroupId> = (0..waiting.len()).filter(|g| waiting[*g] == 0).collect();
        while let Some(group) = ready.pop() {
            for &child in &self.groups[group].children {
                depths[child] = depths[child].max(depths[group] + 1);
                waiting[child] -= 1;
                if waiting[child] == 0 {
                    ready.push(child);
                }
            }
        }
        depths
    }

    /// Hosts of a group and of all below it: its own, those of its children, of theirs...
    fn members(&self, group: GroupId) -> Vec<HostId> {
        let mut groups = IndexSet::from([group]);
        let mut next = 0;
        while let Some(&group) = groups.get_index(next) {
            groups.extend(self.groups[group].children.iter().copied());
            next += 1;
        }
        let hosts: IndexSet<HostId> = groups.iter().flat_map(|g| &self.groups[*g].hosts).copied().collect();
        hosts.into_iter().collect()
    }

    fn build(self, depths: &[usize], members: Vec<Vec<HostId>>) -> Inventory {
        let mut direct: Vec<Vec<GroupId>> = vec![Vec::new(); self.hosts.len()];
        for (id, group) in self.groups.values().enumerate() {
            group.hosts.iter().for_each(|h| direct[*h].push(id));
        }
        // Hosts of the same groups share one list.
        let mut chains: HashMap<Vec<GroupId>, Arc<[GroupId]>> = HashMap::new();
        let hosts: Vec<(HostName, Host)> = self
            .hosts
            .iter()
            .zip(direct)
            .map(|((name, host), direct)| {
                let chain = chains.entry(direct).or_insert_with_key(|direct| {
                    let mut chain: Vec<GroupId> = self
                        .ancestors(direct)
                        .into_iter()
                        .chain(direct.iter().copied())
                        .collect();
                    chain.retain(|g| *g != ALL);
                    let names = self.groups.keys();
                    chain.sort_by_key(|g| (depths[*g], self.groups[*g].priority.unwrap_or(1), &names[*g]));
                    chain.dedup();
                    chain.into()
                });
                let host = Host {
                    chain: Arc::clone(chain),
                    vars: Layer::new(Level::InventoryHost, format!("host `{name}`"), shared(&host.vars)),
                    origin: Arc::clone(&host.origin),
                };
                (Arc::clone(name), host)
            })
            .collect();
        let names: Vec<HostName> = hosts.iter().map(|(name, _)| Arc::clone(name)).collect();
        let name = |id: &HostId| Arc::clone(&names[*id]);
        let magic = self
            .groups
            .keys()
            .zip(&members)
            .map(|(group, members)| (group.clone(), members.iter().map(name).collect()))
            .collect();
        let groups = self
            .groups
            .into_iter()
            .map(|(name, group)| {
                let vars = Layer::new(Level::InventoryGroup, format!("group `{name}`"), shared(&group.vars));
                let group = Group {
                    hosts: group.hosts.iter().map(|h| Arc::clone(&names[*h])).collect(),
                    children: group.children.into_iter().collect(),
                    vars,
                };
                (name, group)
            })
            .collect();
        Inventory::assemble(groups, hosts.into_iter().collect(), magic)
    }
}

fn shared(vars: &IndexMap<String, Arc<Node>>) -> Vars {
    Arc::new(vars.iter().map(|(k, v)| (k.clone(), Arc::clone(v))).collect())
}

/// Python's `int()` of what an inventory may give here.
fn priority(value: &Node) -> Result<i64, String> {
    use crate::language::Yaml;
    let number = match &value.yaml {
        Yaml::Int(n) => Some(*n),
        Yaml::Bool(b) => Some(i64::from(*b)),
        Yaml::Str(t) => t.value.trim().parse().ok(),
        // Towards zero, as Python's `int` does.
        Yaml::Float(f) => format!("{:.0}", f.trunc()).parse().ok(),
        _ => None,
    };
    number.ok_or_else(|| format!("`ansible_group_priority` must be an integer, not {}", value.kind()))
}

/// A group as it is once all is read.
#[derive(Debug)]
pub(super) struct Group {
    pub hosts: Vec<HostName>,
    pub children: Vec<GroupId>,
    pub vars: Layer,
}

/// A host as it is once all is read.
#[derive(Debug)]
pub(super) struct Host {
    /// Its groups and all above them but `all`, in the order in which their variables are merged.
    pub chain: Arc<[GroupId]>,
    pub vars: Layer,
    pub origin: Arc<Origin>,
}
