//! PURE. One file per module, one line per module in [`REGISTRY`]; documentation, lint, completion and schema
//! are derived from the [`ModuleSpec`].
//!
//! **A module is two pure functions: `prepare` (arguments → [`Action`]) and [`Action::decide`] (what was seen →
//! what to do).** It never prints, diffs, sleeps, connects or reads the clock.

#![deny(clippy::disallowed_methods)]

mod apt;
mod args;
pub mod broker_file;
mod check;
mod command;
mod control;
mod copy;
mod cpu_affinity;
mod cpu_online;
mod deb822_repository;
mod debian;
pub mod disk;
mod erlang_cookie;
mod file;
mod file_attributes;
mod file_content;
mod hostname;
mod io_scheduler;
mod ionice;
pub mod knob;
mod limits;
mod lineinfile;
mod openssl;
mod openssl_csr;
mod openssl_privatekey;
mod package;
mod ping;
mod python_regex;
mod rabbitmq;
mod rabbitmq_binding;
mod rabbitmq_cli;
mod rabbitmq_cluster;
mod rabbitmq_conf;
mod rabbitmq_definitions;
mod rabbitmq_exchange;
mod rabbitmq_feature_flag;
mod rabbitmq_limits;
mod rabbitmq_node;
mod rabbitmq_parameter;
mod rabbitmq_permissions;
mod rabbitmq_plugin;
mod rabbitmq_policy;
mod rabbitmq_publish;
mod rabbitmq_queue;
mod rabbitmq_upgrade;
mod rabbitmq_upgrade_guard;
mod rabbitmq_user;
mod rabbitmq_vhost;
mod registry;
mod seen;
mod service;
pub(crate) mod setup;
mod stat;
mod sysctl;
mod sysfs;
mod systemd;
mod systemd_dropin;
pub mod template;
mod tmpfiles;
mod transparent_hugepage;
pub mod unit;
mod wait_for;
mod x509_certificate;

pub use args::{ArgError, Args, boolean, check_node, coerce, plain};
pub use registry::{HEADINGS, REGISTRY, find};
pub use seen::{Seen, Stop};

use crate::host::{Delta, Layer, Observation, Op, Outcome, Probe, Undo};
use serde_json::{Map, Value};

/// Everything there is to know about a module without running it.
pub struct ModuleSpec {
    /// The name in messages, events and reports.
    pub name: &'static str,
    /// Other names, with every FQCN (`ansible.posix.sysctl`).
    pub aliases: &'static [&'static str],
    /// One line, for lists.
    pub summary: &'static str,
    /// Paragraphs of Markdown: what it does, how it decides, how it differs from Ansible's.
    pub description: &'static str,
    pub args: &'static [ArgSpec],
    /// Which argument a free-form string is (`cmd` for `command`); `None`: free form is `k=v` pairs only.
    pub free_form: Option<&'static str>,
    /// Further arguments with any name are allowed (`set_fact`).
    pub open: bool,
    /// Documented return values besides `changed failed msg`: name and meaning.
    pub returns: &'static [(&'static str, &'static str)],
    /// Tasks in YAML; linted by a test.
    pub examples: &'static str,
    /// Nobody outside the host can see it act (files, kernel settings), so hosts need not wait for each other.
    pub local: bool,
    pub kind: Kind,
    /// Probes that will be wanted, from arguments of which some may still be missing (they depend on facts or
    /// on results not there yet). A wrong guess costs a look, nothing else.
    pub ahead: fn(&Map<String, Value>) -> Vec<Probe>,
}

/// For modules that cannot guess.
pub fn no_guess(_: &Map<String, Value>) -> Vec<Probe> {
    Vec::new()
}

/// Arguments → a task that is ready to look and decide.
pub type PrepareFn = fn(&Args, &dyn Prepare) -> Result<Box<dyn Action>, ArgError>;

#[derive(Clone, Copy)]
pub enum Kind {
    /// Looks at and changes a host.
    Host(PrepareFn),
    /// Done by the engine on the controller: `debug`, `assert`, `set_fact`, `include_tasks`...
    Control,
}

pub struct ArgSpec {
    pub name: &'static str,
    pub aliases: &'static [&'static str],
    pub kind: ArgKind,
    pub required: bool,
    /// As it would be written in YAML.
    pub default: Option<&'static str>,
    /// Allowed strings; empty: any.
    pub choices: &'static [&'static str],
    /// Never shown.
    pub secret: bool,
    pub doc: &'static str,
}

/// How a written value is understood; lenient where Ansible is (`"yes"` is true, `5` is `"5"`, `a,b` is a list).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArgKind {
    Str,
    Bool,
    Int,
    Float,
    /// A path on the host; `~` is left to the host.
    Path,
    /// A list of strings; a string is split at commas.
    List,
    /// A list of anything.
    ListRaw,
    Dict,
    /// File mode: octal string, integer (YAML's `0644` is octal already), or symbolic.
    Mode,
    /// Anything.
    Raw,
}

impl ArgSpec {
    pub const fn new(name: &'static str, kind: ArgKind, doc: &'static str) -> Self {
        ArgSpec {
            name,
            aliases: &[],
            kind,
            required: false,
            default: None,
            choices: &[],
            secret: false,
            doc,
        }
    }
    #[must_use]
    pub const fn required(mut self) -> Self {
        self.required = true;
        self
    }
    #[must_use]
    pub const fn default(mut self, text: &'static str) -> Self {
        self.default = Some(text);
        self
    }
    #[must_use]
    pub const fn choices(mut self, choices: &'static [&'static str]) -> Self {
        self.choices = choices;
        self
    }
    #[must_use]
    pub const fn aliases(mut self, aliases: &'static [&'static str]) -> Self {
        self.aliases = aliases;
        self
    }
    #[must_use]
    pub const fn secret(mut self) -> Self {
        self.secret = true;
        self
    }
}

/// What `prepare` may ask of the controller.
pub trait Prepare {
    /// A file of the controller, searched for as Ansible searches (`files/` of the role, of the play...).
    /// Returns the path found and the bytes.
    fn file(&self, src: &str) -> Result<(String, Vec<u8>), ArgError>;
    /// All files below a directory of the controller (searched for like [`Prepare::file`]): relative paths, and with
    /// a slash at the end the directories that are empty.
    fn tree(&self, src: &str) -> Result<(String, Vec<String>), ArgError>;
    /// The permission bits (0o7777) of the controller's file that [`Prepare::file`] finds for `src`, or with
    /// `template` [`Prepare::template`]: for `mode: preserve`. Where there is no real disk, those of a new file.
    fn mode(&self, src: &str, template: bool) -> Result<u32, ArgError> {
        let _ = (src, template);
        Ok(0o644)
    }
    /// A template of the controller (`templates/` ...), rendered for this host.
    fn template(&self, src: &str, options: &crate::template::FileOptions, dest: &str) -> Result<Vec<u8>, ArgError>;
    /// The start of the run, UTC, `2026-11-22T14:02:11Z`.
    fn now(&self) -> &str;
    /// A dry run.
    fn check_mode(&self) -> bool;
    /// `environment:` of the task, for commands.
    fn environment(&self) -> std::collections::BTreeMap<String, String>;
    /// Four bytes that nobody can foresee, the same in a run for the same text: the salt of a password.
    fn salt(&self, of: &str) -> [u8; 4] {
        let _ = of;
        [0x5e, 0xed, 0x5a, 0x17]
    }
    /// A variable of the host, for modules that look at facts (`package` → `ansible_pkg_mgr`).
    fn variable(&self, name: &str) -> Result<Option<Value>, ArgError>;
}

/// A task on a host with its arguments in hand.
pub trait Action: Send + Sync {
    /// What will be needed at least; `decide` may ask for more.
    fn probes(&self) -> Vec<Probe>;

    /// A pure function of what was seen. An observation that is not there yet is asked for by itself: the
    /// accessors of [`Seen`] return [`Stop::NeedMore`], to be passed on with `?`.
    fn decide(&self, seen: &Seen<'_>) -> Result<Decision, Stop>;

    /// The result of ops that are judged by their outcome ([`Settle::Outcome`]); and, whatever the change settles by,
    /// what a failed op means in the module's words (`Ok`: the engine says it).
    fn finish(&self, change: &Change, outcomes: &[Outcome]) -> Result<Report, Failure> {
        let _ = outcomes;
        Ok(change.report.clone())
    }

    /// The ops that make all these changes at once. Each was decided on what the one before foretold, the first on
    /// `seen`. `None`: the items of a loop look and act one after the other.
    fn together(&self, seen: &Seen<'_>, changes: &[&Change]) -> Option<Vec<Op>> {
        let _ = (seen, changes);
        None
    }

    /// What this task is about, if other hosts share it: of those that do and whose tasks say the same, one looks and
    /// acts, and the others take over what came of it. May ask for looks, but only for such as cost nothing.
    fn shared(&self, seen: &Seen<'_>) -> Result<Option<Shared>, Stop> {
        let _ = seen;
        Ok(None)
    }
}

/// What to do, decided from what was seen.
#[derive(Debug)]
pub enum Decision {
    /// Nothing to change.
    Keep(Report),
    Change(Change),
    /// The task fails.
    Fail(Failure),
}

/// A change to make.
#[derive(Clone, Debug)]
pub struct Change {
    pub deltas: Vec<Delta>,
    /// None: nothing is left for the task itself, and a handler is to be notified (a restart). After ops, that is no lack of
    /// convergence.
    pub ops: Vec<Op>,
    pub undo: Undo,
    /// Return values, as they will be when done.
    pub report: Report,
    pub settle: Settle,
    /// What the task reports; `false` for ops that wait or read.
    pub changed: bool,
    /// What these looks will see when it is done, where ops alone do not tell: for a dry run, and for the items of a
    /// loop that act together. Never used to report.
    pub foretold: Vec<(Probe, Observation)>,
}

/// What hosts have in common: a change to it is made by one of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shared {
    /// Equal for all that share it (the nodes of a cluster).
    pub what: String,
    /// Which part of it this host is; if two hosts are the same part, they share nothing.
    pub part: String,
}

/// How it is known that a change took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settle {
    /// `decide` on fresh observations must say Keep, else the task "did not converge".
    LookAgain,
    /// By the outcome of the ops ([`Action::finish`]): commands, restarts, waits.
    Outcome,
}

/// Return values of a task, and what else its reader should know.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Report {
    /// Documented return values (`msg` too).
    pub values: Map<String, Value>,
    pub warnings: Vec<String>,
    /// Warnings for a task that had nothing to change and yet is not in force (a restart is due, a unit is not there
    /// yet): what has just been changed is on its way there.
    pub pending: Vec<String>,
    pub layers: Vec<Layer>,
    /// New `ansible_facts`.
    pub facts: Map<String, Value>,
    /// The values are secret: the task is told as with `no_log`, and so is what is made of its result.
    pub secret: bool,
    /// Not run, and why (`creates` exists...): Ansible's `skipped`.
    pub skipped: Option<String>,
    /// Of [`Action::finish`]: whether something changed, where only the outcome tells (`apt-get update`). Wins over
    /// [`Change::changed`].
    pub changed: Option<bool>,
}

impl Report {
    pub fn new() -> Self {
        Report::default()
    }
    #[must_use]
    pub fn with(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.values.insert(key.to_owned(), value.into());
        self
    }
    #[must_use]
    pub fn msg(self, text: impl Into<String>) -> Self {
        self.with("msg", text.into())
    }
    #[must_use]
    pub fn warn(mut self, text: impl Into<String>) -> Self {
        self.warnings.push(text.into());
        self
    }
    #[must_use]
    pub fn pending(mut self, text: impl Into<String>) -> Self {
        self.pending.push(text.into());
        self
    }
}

/// Why a task failed on a host.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Failure {
    pub msg: String,
    /// Further return values (`rc`, `stderr`...).
    pub values: Map<String, Value>,
    /// What the user can do.
    pub help: Option<String>,
    pub layers: Vec<Layer>,
    /// What was to run could not even be started, so nothing was changed.
    pub not_begun: bool,
}

impl Failure {
    pub fn new(msg: impl Into<String>) -> Self {
        Failure {
            msg: msg.into(),
            ..Failure::default()
        }
    }
    #[must_use]
    pub fn help(mut self, text: impl Into<String>) -> Self {
        self.help = Some(text.into());
        self
    }
}

impl Change {
    /// A change that is looked at again.
    pub fn new(deltas: Vec<Delta>, ops: Vec<Op>, report: Report) -> Self {
        Change {
            deltas,
            ops,
            undo: Undo::Impossible("not recorded".to_owned()),
            report,
            settle: Settle::LookAgain,
            changed: true,
            foretold: Vec::new(),
        }
    }
    #[must_use]
    pub fn foretells(mut self, probe: Probe, observation: Observation) -> Self {
        self.foretold.push((probe, observation));
        self
    }
    #[must_use]
    pub fn undo(mut self, undo: Undo) -> Self {
        self.undo = undo;
        self
    }
    #[must_use]
    pub fn judged_by_outcome(mut self) -> Self {
        self.settle = Settle::Outcome;
        self
    }
}
