//! The stable codes. A code is never reused for another mistake; each one's text is pinned by a test.

/// `E0xx` language and inventory, `E1xx` templates and variables, `E2xx` connections, `E3xx` tasks on hosts,
/// `E4xx` refusals of guards, `E5xx` the lab, `E60x` RabbitMQ's configuration, `W0xx` and `W60x` warnings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Code(pub &'static str);

impl Code {
    /// The file is not YAML.
    pub const YAML_SYNTAX: Code = Code("E001");
    /// A file that is named cannot be read.
    pub const FILE: Code = Code("E002");
    /// The document has another shape than the place asks for (a list where a mapping belongs...).
    pub const SHAPE: Code = Code("E003");
    /// A key stands twice in one mapping.
    pub const DUPLICATE_KEY: Code = Code("E004");
    /// A keyword nobody knows.
    pub const UNKNOWN_KEYWORD: Code = Code("E010");
    /// A module nobody knows.
    pub const UNKNOWN_MODULE: Code = Code("E011");
    /// An argument the module does not have.
    pub const UNKNOWN_ARGUMENT: Code = Code("E012");
    /// An argument the module needs is missing.
    pub const MISSING_ARGUMENT: Code = Code("E013");
    /// Two things exclude each other.
    pub const CONFLICT: Code = Code("E014");
    /// Ansible knows it, rmqplay does not (yet).
    pub const NOT_SUPPORTED: Code = Code("E015");
    /// A task has no module, or two.
    pub const TASK_MODULE: Code = Code("E016");
    /// A handler, role or file that is referred to does not exist.
    pub const UNKNOWN_REFERENCE: Code = Code("E017");
    /// A value of the wrong type or outside what is allowed.
    pub const VALUE: Code = Code("E021");
    /// An inventory that cannot be understood.
    pub const INVENTORY: Code = Code("E030");
    /// A host pattern that is malformed.
    pub const PATTERN: Code = Code("E031");
    /// A host pattern or limit that matches nothing, an inventory that is not there (exit status 5, not 1).
    pub const NO_MATCH: Code = Code("E032");
    /// A template that does not parse.
    pub const TEMPLATE_SYNTAX: Code = Code("E100");
    /// A variable or attribute that is not defined.
    pub const UNDEFINED: Code = Code("E101");
    /// A template that fails while it is evaluated.
    pub const TEMPLATE: Code = Code("E102");
    /// A variable that refers to itself.
    pub const RECURSION: Code = Code("E103");
    /// The connection could not be made.
    pub const CONNECT: Code = Code("E201");
    /// The host's key is unknown or has changed.
    pub const HOST_KEY: Code = Code("E202");
    /// The connection was lost.
    pub const LOST: Code = Code("E203");
    /// Becoming another user failed.
    pub const BECOME: Code = Code("E204");
    /// A task failed on a host.
    pub const TASK_FAILED: Code = Code("E301");
    /// A task still wants a change after its change was made.
    pub const NOT_CONVERGED: Code = Code("E302");
    /// A file changed between look and write; it was left alone.
    pub const GUARD: Code = Code("E310");
    /// A rolling play that would take a majority of the cluster down.
    pub const MAJORITY: Code = Code("E401");
    /// The lab on this machine cannot be started, reached or taken down.
    pub const LAB: Code = Code("E500");
    /// A line of RabbitMQ's configuration that cannot be read.
    pub const CONF_SYNTAX: Code = Code("E601");
    /// A key that rabbitmq.conf does not have.
    pub const CONF_KEY: Code = Code("E602");
    /// A key that the release does not know, yet or any longer.
    pub const CONF_VERSION: Code = Code("E603");
    /// A value the broker refuses.
    pub const CONF_VALUE: Code = Code("E604");
    /// Set twice, or in two ways that exclude each other (a warning where that is meant to be possible).
    pub const CONF_TWICE: Code = Code("E605");
    /// A value the broker takes, and then fails with or does something else.
    pub const CONF_TRAP: Code = Code("E606");
    /// A run that came to its end and had nothing to do.
    pub const NOTHING_RAN: Code = Code("W001");
    /// Fewer hosts at a time than was asked for, for want of open files.
    pub const FEW_FILES: Code = Code("W002");
    /// A play that restarts RabbitMQ and does not say how.
    pub const UNGUARDED_RESTART: Code = Code("W401");
    /// A setting without effect.
    pub const CONF_NO_EFFECT: Code = Code("W601");
    /// A value that is allowed and not advised.
    pub const CONF_ADVICE: Code = Code("W602");
    /// A setting under its old name.
    pub const CONF_RENAMED: Code = Code("W603");
    /// The command line cannot be understood.
    pub const USAGE: Code = Code("E900");
    /// `rmqplay.toml` cannot be understood.
    pub const CONFIG: Code = Code("E901");
}

impl std::fmt::Display for Code {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0)
    }
}
