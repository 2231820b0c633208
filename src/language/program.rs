//! The checked program: plays, blocks and tasks with spans, includes resolved where they are static, keywords
//! inherited where Ansible inherits them. Values that may be templates stay [`Node`]s.

use super::node::Node;
use crate::diagnostic::Span;
use std::sync::Arc;

#[derive(Clone, Debug, Default)]
pub struct Program {
    pub plays: Vec<Arc<Play>>,
    /// Where each file of the command line begins among `plays`.
    pub starts: Vec<usize>,
}

#[derive(Clone, Debug)]
pub struct Play {
    pub span: Span,
    pub name: Option<Node>,
    /// String or list of strings, maybe templates.
    pub hosts: Node,
    /// Path of the playbook file as given, for `playbook_dir` and searching.
    pub path: String,
    pub gather_facts: Option<Node>,
    pub gather_subset: Option<Node>,
    /// `become`, `remote_user`, `environment`, `vars`, `tags`, ... : what tasks inherit.
    pub common: Arc<Common>,
    pub vars_files: Vec<Node>,
    pub serial: Option<Node>,
    pub rolling: Option<Rolling>,
    pub order: Option<Node>,
    pub max_fail_percentage: Option<Node>,
    pub strategy: Option<Node>,
    pub force_handlers: Option<Node>,
    /// The roles of `roles:` in the order in which they run, dependencies before those who need them, for
    /// variables. Their tasks stand at the head of `tasks`, their handlers at the head of `handlers`.
    pub roles: Vec<Arc<Role>>,
    pub pre_checks: Vec<Item>,
    pub pre_tasks: Vec<Item>,
    /// Tasks of the roles, then `tasks`.
    pub tasks: Vec<Item>,
    pub post_tasks: Vec<Item>,
    pub post_checks: Vec<Item>,
    /// Roles' handlers and the play's, in the order in which they run.
    pub handlers: Vec<Item>,
}

impl Play {
    /// Everything it may do, in the order in which it is done.
    pub fn sections(&self) -> [&Vec<Item>; 6] {
        [
            &self.pre_checks,
            &self.pre_tasks,
            &self.tasks,
            &self.post_tasks,
            &self.post_checks,
            &self.handlers,
        ]
    }
}

/// `rolling:` of a play: nodes of a running cluster are changed a few at a time. Unset: see `engine::rolling`.
#[derive(Clone, Debug)]
pub struct Rolling {
    pub span: Span,
    /// Of `rolling: true`; a mapping has none and means yes.
    pub on: Option<Node>,
    /// Nodes at a time.
    pub width: Option<Node>,
    /// Host pattern, or a list: the hosts of the cluster.
    pub members: Option<Node>,
    pub drain: Option<Node>,
    pub rebalance: Option<Node>,
    /// Seconds.
    pub gate_timeout: Option<Node>,
    pub drain_timeout: Option<Node>,
    pub start_timeout: Option<Node>,
}

/// Keywords that plays, roles, blocks and tasks share; a task is governed by the chain of them.
#[derive(Clone, Debug, Default)]
pub struct Common {
    /// Each an expression (a string, a boolean); all must hold.
    pub when: Vec<Node>,
    pub vars: Vec<(String, Arc<Node>)>,
    /// `vars` are parameters of an `include_tasks`: precedence 21 instead of 17.
    pub params: bool,
    pub tags: Vec<Node>,
    pub environment: Vec<Node>,
    pub become_: Option<Node>,
    pub become_user: Option<Node>,
    pub become_method: Option<Node>,
    pub become_flags: Option<Node>,
    pub remote_user: Option<Node>,
    pub port: Option<Node>,
    pub connection: Option<Node>,
    pub no_log: Option<Node>,
    pub check_mode: Option<Node>,
    pub diff: Option<Node>,
    pub ignore_errors: Option<Node>,
    pub ignore_unreachable: Option<Node>,
    pub any_errors_fatal: Option<Node>,
    pub run_once: Option<Node>,
    pub timeout: Option<Node>,
}

#[derive(Clone, Debug)]
pub enum Item {
    Task(Arc<Task>),
    Block(Arc<Block>),
    /// Where the tasks of one use of a role end.
    RoleEnd(Arc<Role>),
}

#[derive(Clone, Debug)]
pub struct Block {
    pub span: Span,
    pub name: Option<Node>,
    pub block: Vec<Item>,
    pub rescue: Vec<Item>,
    pub always: Vec<Item>,
    /// For handlers that are blocks.
    pub listen: Vec<String>,
}

#[derive(Clone, Debug)]
pub struct Task {
    pub span: Span,
    pub name: Option<Node>,
    /// The registered name of the module (`sysctl`, never an alias or FQCN), see `modules::registry`.
    pub module: &'static str,
    pub module_span: Span,
    /// A mapping node; short forms are already taken apart, free form is under the argument that the module's
    /// `free_form` names (`cmd`).
    pub args: Node,
    /// Outermost (the play) first, the task's own last. Includes what `import_tasks`, roles and blocks hand down.
    pub chain: Vec<Arc<Common>>,
    pub loop_: Option<Loop>,
    pub register: Option<String>,
    pub changed_when: Option<Vec<Node>>,
    pub failed_when: Option<Vec<Node>>,
    /// Names, maybe templates.
    pub notify: Vec<Node>,
    /// For handlers.
    pub listen: Vec<Node>,
    pub until: Option<Vec<Node>>,
    pub retries: Option<Node>,
    pub delay: Option<Node>,
    pub role: Option<Arc<Role>>,
    /// The file the task stands in, for relative paths of includes and of `copy` and `template`.
    pub file: String,
}

impl Task {
    pub fn own(&self) -> &Common {
        // The loader always pushes the task's own keywords last.
        static EMPTY: std::sync::OnceLock<Common> = std::sync::OnceLock::new();
        match self.chain.last() {
            Some(common) => common,
            None => EMPTY.get_or_init(Common::default),
        }
    }

    /// The innermost value of an inherited keyword.
    pub fn inherited<'a>(&'a self, field: impl Fn(&'a Common) -> Option<&'a Node>) -> Option<&'a Node> {
        self.chain.iter().rev().find_map(|c| field(c))
    }
}

#[derive(Clone, Debug)]
pub struct Loop {
    pub kind: LoopKind,
    pub span: Span,
    pub expr: Node,
    pub loop_var: Option<String>,
    pub index_var: Option<String>,
    pub label: Option<Node>,
    pub pause: Option<Node>,
    pub extended: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoopKind {
    /// `loop:` — the list as it is.
    Loop,
    /// `with_items:` — flattened by one level.
    Items,
}

#[derive(Clone, Debug)]
pub struct Role {
    pub name: String,
    /// Directory of the role as found.
    pub path: String,
    pub defaults: Vec<(String, Arc<Node>)>,
    pub vars: Vec<(String, Arc<Node>)>,
    /// `vars` of the entry that uses the role.
    pub given: Vec<(String, Arc<Node>)>,
    /// Parameters given where the role is used (precedence 20).
    pub params: Vec<(String, Arc<Node>)>,
    /// Roles this one depends on, whose variables it sees.
    pub dependencies: Vec<Arc<Role>>,
    /// The role that depends on this one here, whose variables it sees too.
    pub user: Option<Arc<Role>>,
    /// Equal for the uses of a play that Ansible takes for one: the same role with the same parameters, `vars`, `when`
    /// and `tags`, whatever is around it.
    pub identity: usize,
    /// `allow_duplicates`: each use runs.
    pub duplicates: bool,
}
