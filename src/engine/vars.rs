//! PURE. The variables of a host while it runs: layers in Ansible's order of precedence, and what tasks have produced.

#![deny(clippy::disallowed_methods)]

use crate::engine::blackboard::HostVars;
use crate::engine::search;
use crate::engine::trace::{Told, Trace};
use crate::language::{Common, Node, Play, Role, Task};
use crate::template::{Found, Outside, Scope};
use serde_json::{Map, Value};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// A layer of variables written by the user, shared between hosts.
pub type Layer = Arc<Vec<(String, Arc<Node>)>>;

/// What tasks of a host have produced so far. Copied on write: looking ahead works on a clone.
#[derive(Clone, Debug, Default)]
pub struct Produced {
    /// Facts without the `ansible_` prefix; `None` until gathered.
    pub facts: Option<Arc<Value>>,
    /// Registered results and `set_fact`s; `None`: not there yet (looking ahead, dry run), and why.
    pub values: Arc<HashMap<String, Result<Arc<Value>, Missing>>>,
    /// Names whose values came from `no_log` tasks.
    pub secret: Arc<HashSet<String>>,
}

/// A result that is not there yet (looking ahead, dry run).
#[derive(Clone, Debug)]
pub struct Missing {
    pub why: String,
    /// What is known of it all the same (`changed`).
    pub known: Map<String, Value>,
}

/// What a task produced, or why it cannot be known yet.
pub type Stored = Result<Arc<Value>, Missing>;

impl From<String> for Missing {
    fn from(why: String) -> Self {
        Missing { why, known: Map::new() }
    }
}

/// A result of which some is known.
impl Scope for Missing {
    fn lookup(&self, name: &str) -> Found {
        match self.known.get(name) {
            Some(value) => Found::Data(Arc::new(value.clone())),
            None => Found::Unknown(self.why.clone()),
        }
    }

    fn names(&self) -> Vec<String> {
        self.known.keys().cloned().collect()
    }
}

impl Produced {
    /// Whether nothing was produced between the two, one being a copy of the other.
    pub fn is_same(&self, other: &Produced) -> bool {
        let facts = match (&self.facts, &other.facts) {
            (Some(mine), Some(theirs)) => Arc::ptr_eq(mine, theirs),
            (None, None) => true,
            _ => false,
        };
        facts && Arc::ptr_eq(&self.values, &other.values) && Arc::ptr_eq(&self.secret, &other.secret)
    }

    pub fn set(&mut self, name: &str, value: Stored) {
        Arc::make_mut(&mut self.values).insert(name.to_owned(), value);
    }

    /// Facts as they were gathered.
    pub fn begin_facts(&mut self, gathered: Arc<Value>) {
        match gathered.as_object() {
            // Nothing to merge or to name otherwise: they are shared with the look that found them.
            Some(facts) if self.facts.is_none() && !facts.keys().any(|k| k.starts_with("ansible_")) => {
                self.facts = Some(gathered);
            }
            facts => self.add_facts(facts.unwrap_or(&Map::new())),
        }
    }

    pub fn add_facts(&mut self, new: &Map<String, Value>) {
        let mut facts = self
            .facts
            .as_ref()
            .and_then(|f| f.as_object().cloned())
            .unwrap_or_default();
        facts.extend(
            new.iter()
                .map(|(k, v)| (k.strip_prefix("ansible_").unwrap_or(k).to_owned(), v.clone())),
        );
        self.facts = Some(Arc::new(Value::Object(facts)));
    }
}

/// What does not change for a host during a play.
#[derive(Clone, Debug)]
pub struct HostLayers {
    pub name: String,
    /// Defaults of all roles of the play: level 2.
    pub defaults: Vec<Layer>,
    /// The inventory's layers, lowest first: levels 3 to 10.
    pub low: Vec<Layer>,
    /// Play `vars`, `vars_files`, role `vars`: levels 12 to 15.
    pub high: Vec<Layer>,
    /// `-e`.
    pub extra: Layer,
    /// `inventory_hostname`, `group_names`, `groups`...: cannot be overridden.
    pub magic: HashMap<String, Arc<Value>>,
    /// The same for all hosts of the play.
    pub play_magic: Arc<HashMap<String, Arc<Value>>>,
    /// Facts are expected but not there yet, so that an unknown `ansible_*` is "not yet", not undefined.
    pub facts_expected: bool,
    /// Connection variables that a command of the controller told.
    pub told: Told,
}

/// Variables as one task sees them.
#[derive(Clone, Debug)]
pub struct TaskScope {
    pub host: Arc<HostLayers>,
    pub produced: Produced,
    /// The task whose variables these are, and its play.
    pub task: Option<(Arc<Task>, Arc<Play>)>,
    /// `item`, `ansible_loop`, `index_var`..., `ansible_failed_task`: data.
    pub local: Arc<HashMap<String, Arc<Value>>>,
    pub hostvars: Option<HostVars>,
    pub trace: Arc<Trace>,
}

/// Passwords among the connection variables.
const SECRET_NAMES: [&str; 7] = [
    "ansible_become_password",
    "ansible_become_pass",
    "ansible_sudo_pass",
    "ansible_su_pass",
    "ansible_password",
    "ansible_ssh_pass",
    "ansible_ssh_password",
];

/// Where a host is reached: under its name, if nothing else is said.
const ADDRESS: &str = "ansible_host";

impl TaskScope {
    /// Keywords around the task, outermost first, without the play's own (they are in `host.high`).
    fn chain(&self) -> impl DoubleEndedIterator<Item = &Arc<Common>> {
        self.task.iter().flat_map(|(task, play)| {
            let chain = task.chain.iter();
            chain.filter(|common| !Arc::ptr_eq(common, &play.common))
        })
    }

    fn role(&self) -> Option<&Arc<Role>> {
        self.task.as_ref().and_then(|(task, _)| task.role.as_ref())
    }

    /// Where relative paths start from, first to last: `ansible_search_path`.
    pub fn search(&self) -> Vec<String> {
        let directories = |(task, play): &(Arc<Task>, Arc<Play>)| search::directories(task, &play.path);
        self.task.as_ref().map(directories).unwrap_or_default()
    }

    /// The same before its turn.
    pub fn ahead(mut self) -> TaskScope {
        self.trace = Arc::new(Trace::ahead());
        if let Some(hostvars) = &mut self.hostvars {
            hostvars.trace = self.trace.clone();
        }
        self
    }

    fn in_layers(layers: &[Layer], name: &str) -> Option<Arc<Node>> {
        layers.iter().rev().find_map(|layer| find(layer, name))
    }

    /// The variable as it was given: what a task knows beside that is added by `lookup`.
    pub(super) fn find(&self, name: &str) -> Found {
        if self.produced.secret.contains(name) || SECRET_NAMES.contains(&name) {
            self.trace.mark_secret();
        }
        if let Some(value) = self.local.get(name) {
            return Found::Data(value.clone());
        }
        if let ("ansible_play_hosts" | "ansible_play_batch" | "play_hosts", Some(hostvars)) = (name, &self.hostvars)
            && let Some(Value::Array(all)) = self.host.play_magic.get(name).map(|v| &**v)
        {
            return match hostvars.board.survivors(all, &hostvars.pos, hostvars.free) {
                Ok(names) => Found::Data(Arc::new(Value::Array(names))),
                Err(behind) => {
                    let text = format!("host `{}` has not come to this task yet", behind.join("`, `"));
                    self.trace.wait_for(behind);
                    Found::Unknown(text)
                }
            };
        }
        if let Some(value) = self.host.magic.get(name).or_else(|| self.host.play_magic.get(name)) {
            return Found::Data(value.clone());
        }
        match name {
            "hostvars" => {
                if let Some(hostvars) = &self.hostvars {
                    return Found::Scope(Arc::new(hostvars.clone()));
                }
            }
            "ansible_search_path" => {
                return Found::Data(Arc::new(Value::from(self.search())));
            }
            "role_path" | "role_name" | "ansible_role_name" => {
                if let Some(role) = self.role() {
                    let text = if name == "role_path" { &role.path } else { &role.name };
                    return Found::Data(Arc::new(Value::String(text.clone())));
                }
            }
            "ansible_facts" => {
                return match &self.produced.facts {
                    Some(facts) => Found::Data(facts.clone()),
                    None if self.host.facts_expected => Found::Unknown("facts are not gathered yet".to_owned()),
                    None => Found::Data(Arc::new(Value::Object(Map::new()))),
                };
            }
            _ => {}
        }
        if let Some(node) = find(&self.host.extra, name) {
            return Found::Trusted(node);
        }
        // Parameters of includes (21) and of roles (20) win over registered values (19), which win over task and
        // block variables (17, 16).
        let mut params = self.chain().rev().filter(|c| c.params);
        if let Some(node) = params.find_map(|c| find(&c.vars, name)) {
            return Found::Trusted(node);
        }
        if let Some(node) = self.role().and_then(|r| find(&r.params, name)) {
            return Found::Trusted(node);
        }
        match self.produced.values.get(name) {
            Some(Ok(value)) => return Found::Data(value.clone()),
            Some(Err(missing)) if missing.known.is_empty() => return Found::Unknown(missing.why.clone()),
            Some(Err(missing)) => return Found::Scope(Arc::new(missing.clone())),
            None => {}
        }
        if let Some(node) = self.chain().rev().find_map(|c| find(&c.vars, name)) {
            return Found::Trusted(node);
        }
        if let Some(node) = self.role().and_then(|r| role_var(r, name)) {
            return Found::Trusted(node);
        }
        if let Some(node) = Self::in_layers(&self.host.high, name) {
            return Found::Trusted(node);
        }
        if let Some(fact) = name.strip_prefix("ansible_").filter(|_| name != ADDRESS) {
            match &self.produced.facts {
                Some(facts) => {
                    if let Some(value) = facts.get(fact) {
                        return Found::Data(Arc::new(value.clone()));
                    }
                }
                None if self.host.facts_expected && Self::in_layers(&self.host.low, name).is_none() => {
                    return Found::Unknown("facts are not gathered yet".to_owned());
                }
                None => {}
            }
        }
        // A role's own defaults win over other roles' for its tasks; both lose to the inventory.
        Self::in_layers(&self.host.low, name)
            .or_else(|| self.role().and_then(|r| role_default(r, name)))
            .or_else(|| Self::in_layers(&self.host.defaults, name))
            .map_or(Found::Missing, Found::Trusted)
    }
}

fn find(layer: &[(String, Arc<Node>)], name: &str) -> Option<Arc<Node>> {
    layer
        .iter()
        .rev()
        .find(|(n, _)| n == name)
        .map(|(_, node)| node.clone())
}

impl Scope for TaskScope {
    fn outside(&self, what: Outside) -> Result<(), String> {
        let behind = || {
            let hostvars = self.hostvars.as_ref().filter(|h| !h.free);
            hostvars.is_some_and(|h| h.board.is_behind(&h.pos))
        };
        self.trace.outside(what, behind)
    }

    fn lookup(&self, name: &str) -> Found {
        match self.find(name) {
            // Tasks always have it, `hostvars` only where the inventory says so.
            Found::Missing if name == ADDRESS => Found::Data(Arc::new(Value::from(self.host.name.clone()))),
            found => found,
        }
    }

    fn defined_at(&self, name: &str) -> Option<crate::diagnostic::Span> {
        match self.lookup(name) {
            Found::Trusted(node) => Some(node.span),
            _ => None,
        }
    }

    fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        names.extend(self.local.keys().cloned());
        names.extend(self.host.magic.keys().chain(self.host.play_magic.keys()).cloned());
        names.extend(self.produced.values.keys().cloned());
        let layers = self
            .host
            .defaults
            .iter()
            .chain(&self.host.low)
            .chain(&self.host.high)
            .chain(std::iter::once(&self.host.extra));
        names.extend(layers.flat_map(|l| l.iter().map(|(n, _)| n.clone())));
        names.extend(self.chain().flat_map(|c| c.vars.iter().map(|(n, _)| n.clone())));
        if let Some(role) = self.role() {
            names.extend(
                role.defaults
                    .iter()
                    .chain(&role.vars)
                    .chain(&role.given)
                    .chain(&role.params)
                    .map(|(n, _)| n.clone()),
            );
        }
        if let Some(facts) = &self.produced.facts {
            names.extend(
                facts
                    .as_object()
                    .into_iter()
                    .flat_map(|f| f.keys())
                    .map(|k| format!("ansible_{k}")),
            );
        }
        names.extend(["hostvars", "ansible_facts"].map(str::to_owned));
        names.sort();
        names.dedup();
        names
    }
}

/// A variable as the tasks of a role see it: where the role is used, its own, those of the roles it depends on (the
/// last first), then those of the roles that brought it here.
fn role_var(role: &Role, name: &str) -> Option<Arc<Node>> {
    fn exported(role: &Role, name: &str) -> Option<Arc<Node>> {
        let dependencies = || role.dependencies.iter().rev().find_map(|d| exported(d, name));
        find(&role.vars, name).or_else(dependencies)
    }
    find(&role.given, name)
        .or_else(|| exported(role, name))
        .or_else(|| users(role).find_map(|u| find(&u.vars, name).or_else(|| find(&u.given, name))))
}

fn role_default(role: &Role, name: &str) -> Option<Arc<Node>> {
    fn needed(role: &Role, name: &str) -> Option<Arc<Node>> {
        let of = |d: &Arc<Role>| find(&d.defaults, name).or_else(|| needed(d, name));
        role.dependencies.iter().rev().find_map(of)
    }
    find(&role.defaults, name)
        .or_else(|| users(role).find_map(|u| find(&u.defaults, name)))
        .or_else(|| needed(role, name))
}

/// The roles that depend on this one, the nearest first.
fn users(role: &Role) -> impl Iterator<Item = &Role> {
    std::iter::successors(role.user.as_deref(), |r| r.user.as_deref())
}
