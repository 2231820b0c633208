//! The order of variables. Ansible's manual counts 22 levels of precedence; a [`Layer`] is one place that defines
//! variables, on one of these levels.

use super::vars_files::Adjacent;
use super::{Inventory, graph::ALL};
use crate::language::Node;
use indexmap::IndexMap;
use std::sync::Arc;

/// Names and values as they are written, templates unevaluated; no name stands twice.
pub type Vars = Arc<Vec<(String, Arc<Node>)>>;

/// The 22 levels, low to high: [Ansible's manual, "Understanding variable
/// precedence"](https://docs.ansible.com/ansible/latest/playbook_guide/playbooks_variables.html).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// 1
    CommandLineValues,
    /// 2
    RoleDefaults,
    /// 3
    InventoryGroup,
    /// 4
    InventoryGroupVarsAll,
    /// 5
    PlaybookGroupVarsAll,
    /// 6
    InventoryGroupVars,
    /// 7
    PlaybookGroupVars,
    /// 8
    InventoryHost,
    /// 9
    InventoryHostVars,
    /// 10
    PlaybookHostVars,
    /// 11
    Facts,
    /// 12
    PlayVars,
    /// 13
    VarsPrompt,
    /// 14
    VarsFiles,
    /// 15
    RoleVars,
    /// 16
    BlockVars,
    /// 17
    TaskVars,
    /// 18
    IncludeVars,
    /// 19
    SetFacts,
    /// 20
    RoleParams,
    /// 21
    IncludeParams,
    /// 22
    ExtraVars,
}

impl Level {
    /// 1 to 22, as the manual counts.
    pub fn number(self) -> u8 {
        self as u8 + 1
    }

    /// What the manual calls it, shortened.
    pub fn name(self) -> &'static str {
        match self {
            Level::CommandLineValues => "command line values",
            Level::RoleDefaults => "role defaults",
            Level::InventoryGroup => "inventory group vars",
            Level::InventoryGroupVarsAll => "inventory group_vars/all",
            Level::PlaybookGroupVarsAll => "playbook group_vars/all",
            Level::InventoryGroupVars => "inventory group_vars",
            Level::PlaybookGroupVars => "playbook group_vars",
            Level::InventoryHost => "inventory host vars",
            Level::InventoryHostVars => "inventory host_vars",
            Level::PlaybookHostVars => "playbook host_vars",
            Level::Facts => "host facts",
            Level::PlayVars => "play vars",
            Level::VarsPrompt => "play vars_prompt",
            Level::VarsFiles => "play vars_files",
            Level::RoleVars => "role vars",
            Level::BlockVars => "block vars",
            Level::TaskVars => "task vars",
            Level::IncludeVars => "include_vars",
            Level::SetFacts => "set_fact and registered vars",
            Level::RoleParams => "role params",
            Level::IncludeParams => "include params",
            Level::ExtraVars => "extra vars",
        }
    }
}

/// One place that defines variables. Cheap to clone; hosts of a group share the group's.
#[derive(Clone, Debug)]
pub struct Layer {
    pub level: Level,
    /// Which place: ``group `mq` ``, ``host `mq1` ``, or the path of a file.
    pub label: Arc<str>,
    pub vars: Vars,
}

impl Layer {
    pub fn new(level: Level, label: impl Into<Arc<str>>, vars: Vars) -> Self {
        let label = label.into();
        Layer { level, label, vars }
    }

    pub fn get(&self, key: &str) -> Option<&Arc<Node>> {
        self.vars.iter().find(|(name, _)| name == key).map(|(_, node)| node)
    }
}

impl Inventory {
    /// Everything that the inventory and the files beside it and beside the playbook define for a host, low to
    /// high; layers that define nothing are left out. An unknown host has what the implicit localhost has, if
    /// its name is one of that, else nothing.
    ///
    /// Among groups: by depth below `all`, then `ansible_group_priority`, then name, the last wins. Among
    /// sources of files: the last `-i` wins, whatever the group.
    pub fn host_layers(&self, host: &str, playbook: &Adjacent) -> Vec<Layer> {
        let implicit;
        let (chain, own): (&[usize], &Layer) = match self.hosts.get(host) {
            Some(host) => (&host.chain, &host.vars),
            None => match self.implicit_layer(host) {
                Some(layer) => {
                    implicit = layer;
                    (&[], &implicit)
                }
                None => return Vec::new(),
            },
        };
        let names = self.groups.keys();
        let mut layers = vec![self.groups[ALL].vars.clone()];
        layers.extend(chain.iter().map(|g| self.groups[*g].vars.clone()));
        layers.extend(
            self.adjacent
                .groups([names[ALL].as_str()], Level::InventoryGroupVarsAll),
        );
        layers.extend(playbook.groups([names[ALL].as_str()], Level::PlaybookGroupVarsAll));
        let chain_names = || chain.iter().map(|g| names[*g].as_str());
        layers.extend(self.adjacent.groups(chain_names(), Level::InventoryGroupVars));
        layers.extend(playbook.groups(chain_names(), Level::PlaybookGroupVars));
        layers.push(own.clone());
        layers.extend(self.adjacent.host(host, Level::InventoryHostVars));
        layers.extend(playbook.host(host, Level::PlaybookHostVars));
        layers.retain(|layer| !layer.vars.is_empty());
        layers
    }

    /// What is left when higher layers have replaced the values of lower ones, key by key.
    pub fn host_vars(&self, host: &str, playbook: &Adjacent) -> IndexMap<String, Arc<Node>> {
        let mut merged = IndexMap::new();
        for layer in self.host_layers(host, playbook) {
            for (key, value) in layer.vars.iter() {
                merged.insert(key.clone(), Arc::clone(value));
            }
        }
        merged
    }
}
