//! PURE. The variables of a host while it runs: layers in Ansible's order of precedence, what tasks have
//! produced, and what other hosts may see of it.

#![deny(clippy::disallowed_methods)]

use crate::engine::walk::Pos;
use crate::language::{Common, Node, Role};
use crate::template::{Found, Outside, Scope};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

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
    pub told: Told,
}

/// What commands of the controller told of how to become somebody (`pass`, a vault's client): each is asked once a play
/// and host, not before each task.
#[derive(Clone, Debug, Default)]
pub struct Told(Arc<Mutex<Vec<Answer>>>);

/// The value of a variable as it is written.
type Answer = (Arc<Node>, Option<Value>);

impl Told {
    /// The value of `node`. What is evaluated without a command is evaluated each time: it may hang on results.
    pub fn once<E>(
        &self,
        node: &Arc<Node>,
        trace: &Trace,
        evaluate: impl FnOnce() -> Result<Option<Value>, E>,
    ) -> Result<Option<Value>, E> {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, value)) = told.iter().find(|(known, _)| Arc::ptr_eq(known, node)) {
            return Ok(value.clone());
        }
        trace.ran.store(false, Ordering::Relaxed);
        let value = evaluate()?;
        if trace.ran.load(Ordering::Relaxed) {
            told.push((node.clone(), value.clone()));
        }
        Ok(value)
    }
}

/// Variables as one task sees them.
#[derive(Clone, Debug)]
pub struct TaskScope {
    pub host: Arc<HostLayers>,
    pub produced: Produced,
    /// Keywords around the task, outermost first; the play's own is left out (it is in `host.high`).
    pub chain: Vec<Arc<Common>>,
    pub role: Option<Arc<Role>>,
    /// Where relative paths start from, first to last: `ansible_search_path`.
    pub search: Arc<Vec<String>>,
    /// `item`, `ansible_loop`, `index_var`..., `ansible_failed_task`: data.
    pub local: Arc<HashMap<String, Arc<Value>>>,
    pub hostvars: Option<HostVars>,
    pub trace: Arc<Trace>,
}

/// What evaluations for a task on a host come upon; shared by all its scopes.
#[derive(Debug, Default)]
pub struct Trace {
    /// It is not the task's turn yet.
    ahead: bool,
    /// What is evaluated is not the task's: it has no turn.
    at_any_time: AtomicBool,
    secret: AtomicBool,
    looked_outside: AtomicBool,
    /// A command of the controller, for what has no turn.
    ran: AtomicBool,
    source: Mutex<Option<Source>>,
    wait: Mutex<Wait>,
}

/// A template's file as a task found it.
#[derive(Clone, Debug)]
pub struct Source {
    /// As the task names it.
    pub src: String,
    pub path: String,
    pub text: Arc<str>,
}

/// What was made of evaluations before the task's turn holds in its turn...
#[derive(Clone, Debug)]
pub enum Holds {
    Always,
    /// ...if this is still what is found.
    While(Source),
    /// ...never: the controller was asked, or it must be seen that a secret was read.
    Never,
}

/// Hosts whose progress evaluations turned out to depend on.
#[derive(Debug, Default)]
pub struct Wait {
    pub hosts: Vec<String>,
    /// All hosts of the batch.
    pub everybody: bool,
}

impl Trace {
    /// A secret was read: what is made of it must not be shown.
    pub fn is_secret(&self) -> bool {
        self.secret.load(Ordering::Relaxed)
    }

    /// The task's own template was read.
    pub fn read(&self, source: Source) {
        *self.source.lock().unwrap_or_else(PoisonError::into_inner) = Some(source);
    }

    /// How long what was evaluated holds.
    pub fn holds(&self) -> Holds {
        if self.is_secret() || self.looked_outside.load(Ordering::Relaxed) {
            return Holds::Never;
        }
        let source = self.source.lock().unwrap_or_else(PoisonError::into_inner);
        source.clone().map_or(Holds::Always, Holds::While)
    }

    /// Evaluates something whose outcome tells nothing of the secrets it reads (a condition).
    pub fn telling_nothing<T>(&self, evaluate: impl FnOnce() -> T) -> T {
        let before = self.is_secret();
        let value = evaluate();
        self.secret.store(before, Ordering::Relaxed);
        value
    }

    /// Evaluates something that is no part of what the task does, and so has no turn (whom to become, its name).
    pub fn at_any_time<T>(&self, evaluate: impl FnOnce() -> T) -> T {
        let before = self.at_any_time.swap(true, Ordering::Relaxed);
        let value = evaluate();
        self.at_any_time.store(before, Ordering::Relaxed);
        value
    }

    /// Takes the hosts that are to be waited for, if any.
    pub fn take_wait(&self) -> Option<Wait> {
        let wait = std::mem::take(&mut *self.wait());
        (wait.everybody || !wait.hosts.is_empty()).then_some(wait)
    }

    fn wait(&self) -> MutexGuard<'_, Wait> {
        self.wait.lock().unwrap_or_else(PoisonError::into_inner)
    }
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
    /// The same before its turn.
    pub fn ahead(mut self) -> TaskScope {
        self.trace = Arc::new(Trace {
            ahead: true,
            ..Trace::default()
        });
        if let Some(hostvars) = &mut self.hostvars {
            hostvars.trace = self.trace.clone();
        }
        self
    }

    fn in_layers(layers: &[Layer], name: &str) -> Option<Arc<Node>> {
        layers.iter().rev().find_map(|layer| find(layer, name))
    }

    /// The variable as it was given: what a task knows beside that is added by `lookup`.
    fn find(&self, name: &str) -> Found {
        if self.produced.secret.contains(name) || SECRET_NAMES.contains(&name) {
            self.trace.secret.store(true, Ordering::Relaxed);
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
                    self.trace.wait().hosts.extend(behind);
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
                return Found::Data(Arc::new(Value::from(self.search.to_vec())));
            }
            "role_path" | "role_name" | "ansible_role_name" => {
                if let Some(role) = &self.role {
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
        if let Some(node) = self
            .chain
            .iter()
            .rev()
            .filter(|c| c.params)
            .find_map(|c| find(&c.vars, name))
        {
            return Found::Trusted(node);
        }
        if let Some(node) = self.role.as_ref().and_then(|r| find(&r.params, name)) {
            return Found::Trusted(node);
        }
        match self.produced.values.get(name) {
            Some(Ok(value)) => return Found::Data(value.clone()),
            Some(Err(missing)) if missing.known.is_empty() => return Found::Unknown(missing.why.clone()),
            Some(Err(missing)) => return Found::Scope(Arc::new(missing.clone())),
            None => {}
        }
        if let Some(node) = self.chain.iter().rev().find_map(|c| find(&c.vars, name)) {
            return Found::Trusted(node);
        }
        if let Some(node) = self.role.as_ref().and_then(|r| role_var(r, name)) {
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
            .or_else(|| self.role.as_ref().and_then(|r| role_default(r, name)))
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
        let trace = &self.trace;
        if trace.at_any_time.load(Ordering::Relaxed) {
            trace.ran.fetch_or(what == Outside::Act, Ordering::Relaxed);
            return Ok(());
        }
        if what == Outside::Look {
            trace.looked_outside.store(true, Ordering::Relaxed);
            return Ok(());
        }
        if trace.ahead {
            return Err("it is asked for when the task's turn comes".to_owned());
        }
        match &self.hostvars {
            // What tasks before this one do on other hosts may be what it asks about.
            Some(HostVars { board, pos, free, .. }) if !*free && board.is_behind(pos) => {
                trace.wait().everybody = true;
                Err("other hosts have not come to this task yet".to_owned())
            }
            _ => Ok(()),
        }
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
        names.extend(self.chain.iter().flat_map(|c| c.vars.iter().map(|(n, _)| n.clone())));
        if let Some(role) = &self.role {
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

/// What hosts see of each other: the variables of each, and what its tasks produced with the position at which
/// they did, so that a host that ran ahead shows a slower one only what linear order would show.
#[derive(Debug, Default)]
pub struct Blackboard {
    hosts: RwLock<BTreeMap<String, Entry>>,
}

#[derive(Debug)]
struct Entry {
    layers: Arc<HostLayers>,
    /// The position up to which everything is done; `None`: done with the play, or not in it.
    reached: Option<Pos>,
    /// The position at which it failed or was lost in this play.
    lost: Option<Pos>,
    facts: Vec<(Pos, Arc<Value>)>,
    secret: Arc<HashSet<String>>,
    values: HashMap<String, Vec<(Pos, Stored)>>,
}

impl Blackboard {
    fn write<T>(&self, host: &str, change: impl FnOnce(&mut Entry) -> T) -> Option<T> {
        let mut hosts = self.hosts.write().unwrap_or_else(PoisonError::into_inner);
        hosts.get_mut(host).map(change)
    }

    /// Makes a host known; what it produced in earlier plays stays (at the very beginning of this one).
    pub fn enter(&self, layers: Arc<HostLayers>, reached: Option<Pos>) {
        let mut hosts = self.hosts.write().unwrap_or_else(PoisonError::into_inner);
        let old = hosts.remove(&layers.name);
        let start = Pos::default();
        let (facts, secret, values) = old.map_or_else(Default::default, |e| {
            (
                e.facts
                    .last()
                    .map(|(_, f)| (start.clone(), f.clone()))
                    .into_iter()
                    .collect(),
                e.secret,
                e.values
                    .into_iter()
                    .filter_map(|(k, v)| v.last().map(|(_, x)| (k, vec![(start.clone(), x.clone())])))
                    .collect(),
            )
        });
        // Others see what the inventory says of a host, not what the play or its roles add.
        let layers = Arc::new(HostLayers {
            defaults: Vec::new(),
            high: Vec::new(),
            ..(*layers).clone()
        });
        hosts.insert(
            layers.name.clone(),
            Entry {
                layers,
                reached,
                lost: None,
                facts,
                secret,
                values,
            },
        );
    }

    pub fn reach(&self, host: &str, pos: Option<Pos>) {
        self.write(host, |e| e.reached = pos);
    }

    pub fn lose(&self, host: &str, at: &Pos) {
        self.write(host, |e| e.lost.get_or_insert_with(|| at.clone()).clone());
    }

    /// Those of `names` that have not failed before `pos`; the others' names where that cannot be told yet.
    fn survivors(&self, names: &[Value], pos: &Pos, free: bool) -> Result<Vec<Value>, Vec<String>> {
        let hosts = self.hosts.read().unwrap_or_else(PoisonError::into_inner);
        let entry = |name: &Value| name.as_str().and_then(|n| hosts.get(n));
        let behind = |e: &&Entry| !free && e.lost.is_none() && e.reached.as_ref().is_some_and(|r| r < pos);
        let wait: Vec<String> = names
            .iter()
            .filter_map(entry)
            .filter(behind)
            .map(|e| e.layers.name.clone())
            .collect();
        if !wait.is_empty() {
            return Err(wait);
        }
        let lives = |name: &&Value| entry(name).is_none_or(|e| e.lost.as_ref().is_none_or(|at| !free && at >= pos));
        Ok(names.iter().filter(lives).cloned().collect())
    }

    pub fn publish(&self, host: &str, at: &Pos, name: &str, value: &Stored) {
        self.write(host, |e| {
            e.values
                .entry(name.to_owned())
                .or_default()
                .push((at.clone(), value.clone()));
        });
    }

    /// Names whose values are secret.
    pub fn hide(&self, host: &str, names: &Arc<HashSet<String>>) {
        self.write(host, |e| e.secret = names.clone());
    }

    pub fn publish_facts(&self, host: &str, at: &Pos, facts: &Arc<Value>) {
        self.write(host, |e| e.facts.push((at.clone(), facts.clone())));
    }

    /// Whether a host that goes on has not done everything before `pos`.
    fn is_behind(&self, pos: &Pos) -> bool {
        let hosts = self.hosts.read().unwrap_or_else(PoisonError::into_inner);
        let mut left = hosts.values().filter(|e| e.lost.is_none());
        left.any(|e| e.reached.as_ref().is_some_and(|reached| reached < pos))
    }

    /// Whether `host` has done everything before `pos`.
    pub fn has_reached(&self, host: &str, pos: &Pos) -> bool {
        let hosts = self.hosts.read().unwrap_or_else(PoisonError::into_inner);
        hosts
            .get(host)
            .and_then(|e| e.reached.as_ref())
            .is_none_or(|reached| reached >= pos)
    }

    fn names(&self) -> Vec<String> {
        self.hosts
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .keys()
            .cloned()
            .collect()
    }

    /// The variables of `host` as linear order shows them to a task at `pos`.
    fn scope(&self, host: &str, seer: &HostVars) -> Option<RemoteScope> {
        let HostVars { pos, free, .. } = seer;
        let hosts = self.hosts.read().unwrap_or_else(PoisonError::into_inner);
        let entry = hosts.get(host)?;
        let before = |at: &Pos| *free || at < pos || *at == Pos::default();
        let mut produced = Produced {
            facts: entry
                .facts
                .iter()
                .rev()
                .find(|(at, _)| before(at))
                .map(|(_, f)| f.clone()),
            secret: entry.secret.clone(),
            ..Produced::default()
        };
        for (name, versions) in &entry.values {
            if let Some((_, value)) = versions.iter().rev().find(|(at, _)| before(at)) {
                produced.set(name, value.clone());
            }
        }
        let reached = *free || entry.reached.as_ref().is_none_or(|r| r >= pos);
        let scope = TaskScope {
            host: entry.layers.clone(),
            produced,
            chain: Vec::new(),
            role: None,
            search: Arc::default(),
            local: Arc::default(),
            trace: seer.trace.clone(),
            hostvars: Some(seer.clone()),
        };
        Some(RemoteScope { scope, reached })
    }
}

/// The `hostvars` variable, as seen from a task at `pos`.
#[derive(Clone, Debug)]
pub struct HostVars {
    pub board: Arc<Blackboard>,
    pub pos: Pos,
    pub trace: Arc<Trace>,
    /// `strategy: free`: what is there is seen, nothing is waited for.
    pub free: bool,
}

/// Another host's variables; a name that its tasks may still produce is "not yet" until it has come far enough.
#[derive(Debug)]
struct RemoteScope {
    scope: TaskScope,
    reached: bool,
}

impl Scope for RemoteScope {
    fn lookup(&self, name: &str) -> Found {
        if self.reached {
            return self.scope.find(name);
        }
        // Written in the inventory: no task changes it, unless one of the same name is produced later, which
        // linear order would not show us yet either.
        match self.scope.find(name) {
            found @ (Found::Trusted(_) | Found::Scope(_)) => found,
            found @ Found::Data(_)
                if self.scope.host.magic.contains_key(name) || self.scope.host.play_magic.contains_key(name) =>
            {
                found
            }
            _ => {
                self.scope.trace.wait().hosts.push(self.scope.host.name.clone());
                Found::Unknown(format!("host `{}` has not come to this task yet", self.scope.host.name))
            }
        }
    }

    fn names(&self) -> Vec<String> {
        self.scope.names()
    }

    fn outside(&self, what: Outside) -> Result<(), String> {
        self.scope.outside(what)
    }
}

/// `hostvars` itself: its names are hosts, its values their variables.
impl Scope for HostVars {
    fn lookup(&self, name: &str) -> Found {
        match self.board.scope(name, self) {
            Some(scope) => Found::Scope(Arc::new(scope)),
            None => Found::Missing,
        }
    }

    fn names(&self) -> Vec<String> {
        self.board.names()
    }
}
