//! The command line. **Low args** are what was written ([`Cli`], by clap); **high args** ([`PlayOptions`] and its
//! parts) have only valid states, with the defaults of `rmqplay.toml` filled in.
//!
//! Commands, options and exit statuses are a contract with scripts.

use crate::lab::{MAX_NODES, Release};
mod options;

pub use options::{
    BecomeOptions, CONNECT_TIMEOUT_S, ConnectionOptions, ExtraVars, FORKS, Listing, OutputOptions, PERSIST_S,
    PasswordSource, PlayOptions, Selection, Work,
};

use crate::report::MessageFormat;
use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};
use std::num::NonZeroU32;

/// The help of a command ends with examples, and with the exit codes where it is run on hosts.
macro_rules! examples {
    ($($line:literal),+ $(,)?) => { concat!("Examples:\n", $($line),+) };
}
macro_rules! examples_and_exits {
    ($($line:literal),+ $(,)?) => { format!("{}\n{EXIT_CODES}", examples!($($line),+)) };
}

/// What the process says to its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Done, or nothing to do.
    Done = 0,
    /// Command line, playbook, inventory or template cannot be understood: nothing was touched.
    Usage = 1,
    /// A task or check failed on some host.
    Failed = 2,
    /// Changes are pending (`diff --detailed-exitcode`).
    Pending = 3,
    /// A host was unreachable; wins over `Failed`.
    Unreachable = 4,
    /// No host matched.
    NothingMatched = 5,
    /// A guard refused.
    Refused = 6,
    Interrupted = 130,
}

impl From<Exit> for std::process::ExitCode {
    fn from(exit: Exit) -> Self {
        std::process::ExitCode::from(exit as u8)
    }
}

const EXIT_CODES: &str = "Exit codes:
  0  done, or nothing to do
  1  the command line, a playbook, an inventory or a template is wrong; nothing was touched
  2  a task or check failed on some host, or a report could not be written
  3  changes are pending (only with --detailed-exitcode)
  4  a host was unreachable (wins over 2)
  5  no host matched
  6  refused by a guard
130  interrupted";

/// Provisions and tunes RabbitMQ nodes over SSH, from Ansible playbooks and inventories.
///
/// Hosts need `sshd` and a POSIX `sh`, nothing else. `diff` shows what would change and changes nothing;
/// `apply` makes it so; `verify` checks the running system.
#[derive(Debug, Parser)]
#[command(
    name = "rmqplay",
    version,
    max_term_width = 110,
    after_long_help = examples!(
        "  rmqplay diff playbooks/tune.yml                       what would change, here\n",
        "  rmqplay apply playbooks/site.yml -i inventories/prod  make it so, there\n",
        "  rmqplay doc sysctl                                    what a module takes\n",
        "\n",
        "Defaults are read from `rmqplay.toml` in the current directory or the nearest one above:\n",
        "inventory, forks, roles_path, remote_user, private_key, host_key_checking, persist.\n",
        "\n",
        "`rmqplay help COMMAND` tells more about a command.",
    )
)]
pub struct Cli {
    #[command(flatten)]
    pub console: ConsoleArgs,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    Apply(Box<ApplyArgs>),
    Diff(Box<DiffArgs>),
    Verify(Box<VerifyArgs>),
    Run(Box<RunArgs>),
    Lint(LintArgs),
    Inventory(InventoryArgs),
    Template(TemplateArgs),
    Vars(VarsArgs),
    Facts(Box<FactsArgs>),
    Lab(LabArgs),
    Doc(DocArgs),
    Completions(CompletionsArgs),
}

/// Of every command.
#[derive(Clone, Debug, Args)]
pub struct ConsoleArgs {
    /// Colour: auto (on a terminal, unless NO_COLOR is set), always or never
    #[arg(
        long,
        global = true,
        value_enum,
        value_name = "WHEN",
        default_value_t,
        hide_possible_values = true
    )]
    #[arg(help_heading = "Output")]
    pub color: ColorWhen,

    /// How errors in files are written to standard error: human or json (one object a line)
    #[arg(
        long,
        global = true,
        value_enum,
        value_name = "FORMAT",
        default_value_t,
        hide_possible_values = true
    )]
    #[arg(help_heading = "Output")]
    pub message_format: MessageFormat,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum ColorWhen {
    #[default]
    Auto,
    Always,
    Never,
}

/// Make hosts what playbooks say
///
/// Looks at every host first, changes only what differs, looks again, and runs the post-checks. A host that is
/// already right costs one round trip.
#[derive(Debug, Args)]
#[command(after_long_help = examples_and_exits!(
    "  rmqplay apply playbooks/site.yml -i inventories/prod\n",
    "  rmqplay apply playbooks/site.yml -i mq-1,mq-2, -u deploy -b -K --diff\n",
    "  rmqplay apply playbooks/tune.yml -l 'rabbitmq:!mq-3' -t kernel --report json=run.json\n",
))]
pub struct ApplyArgs {
    /// Change nothing, show what would change (the same as `rmqplay diff`)
    #[arg(short = 'C', long)]
    pub check: bool,

    /// Show changes of files as unified diffs
    #[arg(short = 'D', long)]
    pub diff: bool,

    /// Run notified handlers even on hosts where a task failed
    #[arg(long)]
    pub force_handlers: bool,

    /// Ask before each task: no, yes, or continue without asking
    #[arg(long)]
    pub step: bool,

    #[command(flatten)]
    pub play: PlayArgs,
}

/// Show what `apply` would change; change nothing
///
/// Predicts with the effects of earlier tasks taken into account. Three answers: unchanged, will change, cannot
/// know yet (a later task depends on what an earlier one would do).
#[derive(Debug, Args)]
#[command(after_long_help = examples_and_exits!(
    "  rmqplay diff playbooks/tune.yml                            this machine\n",
    "  rmqplay diff playbooks/site.yml -i inventories/prod -l mq-1\n",
    "  rmqplay diff playbooks/site.yml --detailed-exitcode        3 when something would change, for CI\n",
))]
pub struct DiffArgs {
    /// Exit with 3 when changes are pending
    #[arg(long)]
    pub detailed_exitcode: bool,

    /// What `diff` does anyway; for hands that are used to `--check --diff`
    #[arg(short = 'D', long, hide = true)]
    pub diff: bool,

    /// As `--diff`
    #[arg(short = 'C', long, hide = true)]
    pub check: bool,

    #[command(flatten)]
    pub play: PlayArgs,
}

/// Run the checks of playbooks; change nothing
///
/// Runs `pre_checks` and `post_checks` only. With `--drift` also tells which tasks would not be `ok`.
#[derive(Debug, Args)]
#[command(after_long_help = examples_and_exits!(
    "  rmqplay verify playbooks/site.yml -i inventories/prod\n",
    "  rmqplay verify playbooks/site.yml -i inventories/prod --drift\n",
))]
pub struct VerifyArgs {
    /// Also tell whether every task would be ok
    #[arg(long)]
    pub drift: bool,

    #[command(flatten)]
    pub play: PlayArgs,
}

/// Of `apply`, `diff` and `verify`.
#[derive(Debug, Args)]
pub struct PlayArgs {
    /// Playbooks, run in this order
    #[arg(required = true, value_name = "PLAYBOOK")]
    pub playbooks: Vec<String>,

    #[command(flatten)]
    pub hosts: HostArgs,

    /// Only tasks with these tags, and those tagged `always`
    #[arg(short, long, value_name = "TAGS", action = ArgAction::Append, value_delimiter = ',')]
    pub tags: Vec<String>,

    /// Not the tasks with these tags
    #[arg(long, value_name = "TAGS", action = ArgAction::Append, value_delimiter = ',')]
    pub skip_tags: Vec<String>,

    /// Start at the task whose name matches (`*` stands for anything)
    #[arg(long, value_name = "NAME")]
    pub start_at_task: Option<String>,

    /// List the hosts that match; run nothing
    #[arg(long)]
    pub list_hosts: bool,

    /// List the tasks that would run; run nothing
    #[arg(long)]
    pub list_tasks: bool,

    /// List the tags there are; run nothing
    #[arg(long)]
    pub list_tags: bool,

    /// Check the playbooks; run nothing
    #[arg(long)]
    pub syntax_check: bool,

    #[command(flatten)]
    pub connection: ConnectionArgs,
    #[command(flatten)]
    pub become_: BecomeArgs,
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Which hosts, and what is known of them.
#[derive(Clone, Debug, Default, Args)]
pub struct InventoryOptions {
    /// An inventory: a file, a directory, or hosts separated by commas (`mq-1,mq-2` or `mq-1,`); repeatable
    /// [default: that of `rmqplay.toml`, else inventories/local.yml]
    #[arg(short, long, value_name = "INVENTORY", action = ArgAction::Append)]
    pub inventory: Vec<String>,

    /// A variable, which wins over all others: K=V, @FILE (YAML or JSON), or YAML or JSON itself; repeatable
    #[arg(short, long, value_name = "VARS", action = ArgAction::Append)]
    pub extra_vars: Vec<String>,
}

#[derive(Clone, Debug, Default, Args)]
pub struct HostArgs {
    #[command(flatten)]
    pub inventory: InventoryOptions,

    /// Only the hosts that also match this pattern (or those in @FILE)
    #[arg(short, long, value_name = "PATTERN")]
    pub limit: Option<String>,

    /// That no host matches is no error
    #[arg(long)]
    pub allow_empty: bool,
}

/// `--connection`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Via {
    /// OpenSSH
    #[default]
    Ssh,
    /// This machine, as the user who runs it
    Local,
}

fn at_least_one(text: &str) -> Result<NonZeroU32, String> {
    text.parse()
        .map_err(|_| "a whole number, 1 or more, is needed".to_owned())
}

#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Connection")]
pub struct ConnectionArgs {
    /// Hosts worked on at the same time [default: 50]
    #[arg(short, long, value_name = "N", value_parser = at_least_one)]
    pub forks: Option<NonZeroU32>,

    /// How hosts are reached whose variables and plays do not say [default: ssh]
    #[arg(short, long, value_name = "HOW")]
    pub connection: Option<Via>,

    /// User to log in as
    #[arg(short = 'u', long = "user", value_name = "USER")]
    pub remote_user: Option<String>,

    /// Private key to log in with
    #[arg(long, visible_alias = "key-file", value_name = "FILE")]
    pub private_key: Option<String>,

    /// Seconds a connection may take [default: 10]
    #[arg(short = 'T', long, value_name = "SECONDS", value_parser = at_least_one)]
    pub timeout: Option<NonZeroU32>,

    /// Seconds one task may act on a host; by default there is no limit
    #[arg(long, value_name = "SECONDS", value_parser = at_least_one)]
    pub task_timeout: Option<NonZeroU32>,

    /// Further arguments for ssh, as one string
    #[arg(long, value_name = "ARGS", allow_hyphen_values = true)]
    pub ssh_common_args: Option<String>,

    /// Seconds connections stay open for the next run [default: 60]
    #[arg(long, value_name = "SECONDS", conflicts_with = "no_persist")]
    pub persist: Option<u32>,

    /// Close connections at the end of the run
    #[arg(long)]
    pub no_persist: bool,

    /// Accept any host key, even a changed one (hosts that are made and thrown away)
    #[arg(long)]
    pub accept_any_host_key: bool,

    /// Pretend: every host is a fake in memory, none is connected to
    #[arg(long)]
    pub simulate: bool,
}

#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Becoming another user")]
pub struct BecomeArgs {
    /// Act as another user (root, unless said otherwise)
    #[arg(short, long = "become")]
    pub become_: bool,

    /// The user to become [default: root]
    #[arg(long, value_name = "USER")]
    pub become_user: Option<String>,

    /// How: sudo or su [default: sudo]
    #[arg(long, value_name = "METHOD", value_enum, hide_possible_values = true)]
    pub become_method: Option<BecomeMethod>,

    /// Ask for the password
    #[arg(short = 'K', long, conflicts_with = "become_password_file")]
    pub ask_become_pass: bool,

    /// Read the password from the first line of a file, or from standard input (-)
    #[arg(long, visible_alias = "become-pass-file", value_name = "FILE")]
    pub become_password_file: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum BecomeMethod {
    Sudo,
    Su,
}

#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Output")]
pub struct OutputArgs {
    /// Standard output: human, json (one document at the end) or jsonl (an event a line, as it happens)
    #[arg(
        long,
        value_enum,
        value_name = "FORMAT",
        default_value_t,
        hide_possible_values = true
    )]
    pub format: Format,

    /// Also write json or jsonl to a file; repeatable
    #[arg(long = "report", value_name = "FORMAT=FILE", action = ArgAction::Append, value_parser = report_file)]
    pub reports: Vec<ReportFile>,

    /// More: -v results, -vv places of tasks, -vvv everything
    #[arg(short, long, action = ArgAction::Count)]
    pub verbose: u8,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    #[default]
    Human,
    Json,
    Jsonl,
}

/// `json=run.json`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReportFile {
    pub format: FileFormat,
    pub path: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileFormat {
    Json,
    Jsonl,
}

fn report_file(text: &str) -> Result<ReportFile, String> {
    let Some((format, path)) = text.split_once('=') else {
        return Err("write FORMAT=FILE, as in `json=run.json`".to_owned());
    };
    let format = match format {
        "json" => FileFormat::Json,
        "jsonl" => FileFormat::Jsonl,
        other => return Err(format!("the format is `json` or `jsonl`, not `{other}`")),
    };
    if path.is_empty() {
        return Err("the name of the file is missing".to_owned());
    }
    Ok(ReportFile {
        format,
        path: path.to_owned(),
    })
}

/// Run one module on hosts
#[derive(Debug, Args)]
#[command(after_long_help = examples_and_exits!(
    "  rmqplay run all -i inventories/prod -m ping\n",
    "  rmqplay run mq-1 -i inventories/prod -b -m sysctl -a 'name=vm.swappiness value=1' --check --diff\n",
    "  rmqplay run rabbitmq -i inventories/prod -a 'uptime'          `command` is the default module\n",
))]
pub struct RunArgs {
    /// Which hosts: names, groups, globs, `a:&b:!c`
    #[arg(value_name = "PATTERN")]
    pub pattern: String,

    /// The module
    #[arg(short, long, value_name = "MODULE", default_value = "command")]
    pub module_name: String,

    /// Its arguments: `k=v k=v`, a JSON object, or the free form of modules that have one
    #[arg(short, long, value_name = "ARGS", default_value = "", allow_hyphen_values = true)]
    pub args: String,

    #[command(flatten)]
    pub hosts: HostArgs,

    /// Change nothing, show what would change
    #[arg(short = 'C', long)]
    pub check: bool,

    /// Show changes of files as unified diffs
    #[arg(short = 'D', long)]
    pub diff: bool,

    #[command(flatten)]
    pub connection: ConnectionArgs,
    #[command(flatten)]
    pub become_: BecomeArgs,
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Check playbooks, roles, inventories, templates and RabbitMQ's files; touch no host
///
/// What a file is, its place and content tell: a list of plays, a list of tasks, a role's directory, an
/// inventory (below `inventories/`, or `hosts` and `*.ini`), a template (`*.j2`), a file that RabbitMQ reads
/// (`rabbitmq.conf` with `conf.d/*.conf`, `advanced.config`, `rabbitmq-env.conf`). All mistakes of all files are
/// told in one run.
#[derive(Debug, Args)]
#[command(after_long_help = examples!(
    "  rmqplay lint playbooks roles inventories templates\n",
    "  rmqplay lint playbooks/site.yml --format json\n",
    "  rmqplay lint playbooks/site.yml -i inventories/prod --rabbitmq-version 4.0\n",
    "  rmqplay lint /etc/rabbitmq --rabbitmq-version 4.0\n",
))]
pub struct LintArgs {
    /// Files and directories
    #[arg(required = true, value_name = "PATH")]
    pub paths: Vec<String>,

    /// An inventory, as for `apply`; repeatable. RabbitMQ's files that playbooks write are rendered with its variables and
    /// checked for each of its hosts; without it, with the variables of plays and roles alone
    #[arg(short, long, value_name = "INVENTORY", action = ArgAction::Append)]
    pub inventory: Vec<String>,

    /// A variable, as for `apply`: K=V, @FILE (YAML or JSON), or YAML or JSON itself; repeatable
    #[arg(short, long, value_name = "VARS", action = ArgAction::Append)]
    pub extra_vars: Vec<String>,

    /// The release that will read RabbitMQ's files, such as 4.0 or 3.10.8; without it, a file that a playbook writes is
    /// for the release its variables `rabbitmq_version` or `rabbitmq_series` name, and of any other only what is wrong
    /// for every release is told
    #[arg(long, value_name = "VERSION", value_parser = crate::rabbitmq::conf::release)]
    pub rabbitmq_version: Option<crate::rabbitmq::Version>,

    /// What the files named are, where their names do not tell: rabbitmq.conf, advanced.config or rabbitmq-env.conf
    #[arg(long, value_enum, value_name = "KIND", hide_possible_values = true)]
    pub kind: Option<crate::commands::BrokerFile>,

    /// Standard output: human or json (one document)
    #[arg(
        long,
        value_enum,
        value_name = "FORMAT",
        default_value_t,
        hide_possible_values = true
    )]
    #[arg(help_heading = "Output")]
    pub format: DocFormat,

    /// Tell what could not be checked, and why
    #[arg(short, long, action = ArgAction::Count)]
    #[arg(help_heading = "Output")]
    pub verbose: u8,
}

/// Show hosts, groups and variables of inventories
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("what").required(true))]
#[command(after_long_help = examples!(
    "  rmqplay inventory -i inventories/prod --graph\n",
    "  rmqplay inventory -i inventories/prod --hosts 'rabbitmq:!mq-3'\n",
    "  rmqplay inventory -i inventories/prod --list                  as `ansible-inventory --list`\n",
))]
pub struct InventoryArgs {
    /// Everything as JSON, as `ansible-inventory --list` prints it
    #[arg(long, group = "what")]
    pub list: bool,

    /// The variables of one host as JSON
    #[arg(long, value_name = "HOST", group = "what")]
    pub host: Option<String>,

    /// The tree of groups and hosts
    #[arg(long, group = "what")]
    pub graph: bool,

    /// The hosts that match a pattern, one a line, in the order of a play
    #[arg(long, value_name = "PATTERN", group = "what")]
    pub hosts: Option<String>,

    #[command(flatten)]
    pub inventory: HostArgs,
}

/// Render a template as the `template` module would write it
#[derive(Debug, Args)]
#[command(after_long_help = examples!(
    "  rmqplay template templates/motd.j2 -i inventories/prod --host mq-1\n",
    "  rmqplay template templates/app.conf.j2 -e @roles/app/defaults/main.yml -e port=5672\n",
))]
pub struct TemplateArgs {
    /// The template
    pub file: String,

    /// Render with this host's variables (none is connected to; facts are not there)
    #[arg(long, value_name = "HOST")]
    pub host: Option<String>,

    #[command(flatten)]
    pub inventory: InventoryOptions,
}

/// Show a host's variables, and where each comes from
#[derive(Debug, Args)]
#[command(after_long_help = examples!(
    "  rmqplay vars mq-1 -i inventories/prod\n",
    "  rmqplay vars mq-1 rabbitmq_profile -i inventories/prod --explain\n",
))]
pub struct VarsArgs {
    /// The host
    pub host: String,

    /// Only this variable
    pub key: Option<String>,

    /// Tell which layer, file and line won, and what it won over
    #[arg(long)]
    pub explain: bool,

    #[command(flatten)]
    pub inventory: InventoryOptions,
}

/// Gather the facts of hosts and print them as JSON
#[derive(Debug, Args)]
#[command(after_long_help = examples_and_exits!(
    "  rmqplay facts all -i inventories/prod\n",
    "  rmqplay facts localhost\n",
))]
pub struct FactsArgs {
    /// Which hosts: names, groups, globs, `a:&b:!c`
    #[arg(value_name = "PATTERN")]
    pub pattern: String,

    #[command(flatten)]
    pub hosts: HostArgs,
    #[command(flatten)]
    pub connection: ConnectionArgs,
    #[command(flatten)]
    pub become_: BecomeArgs,
}

/// Real nodes on this machine: up in seconds, gone without a trace
///
/// Each node is a Debian with systemd, sshd, RabbitMQ and a data disk of its own, in a network of its own. Needs root
/// on Debian or Ubuntu, and installs what it needs.
///
/// Besides root, nodes have two users to try --become with: `deploy` (sudo asks for a password) and `ops` (it does
/// not), as in `-e ansible_user=deploy -b -K`. All passwords are `rmqplay-lab`; ssh takes only the lab's key.
///
/// net.* settings are each node's own. vm.*, fs.*, kernel.*, transparent huge pages, CPUs and I/O schedulers are of
/// this machine's one kernel: `up` notes them, `down` puts them back.
#[derive(Debug, Args)]
#[command(after_long_help = examples!(
    "  rmqplay lab demo                                    the whole story, on three machines\n",
    "  rmqplay lab up --nodes 5 --release bookworm\n",
    "  rmqplay diff playbooks/site.yml -i inventories/lab  the three nodes of a plain `lab up`\n",
    "  rmqplay diff playbooks/site.yml -i /var/lib/rmqplay-lab/inventory  whatever nodes there are\n",
    "  rmqplay lab ssh mq-1 systemctl status rabbitmq-server\n",
    "  rmqplay lab down\n",
))]
pub struct LabArgs {
    #[command(subcommand)]
    pub command: LabCommand,
}

#[derive(Debug, Subcommand)]
pub enum LabCommand {
    /// Start the nodes, or those that are missing; remove those that are too many
    Up(LabUpArgs),
    /// Stop and remove all nodes, and put the kernel's settings back
    Down {
        /// Remove the cached images and the lab's key, too
        #[arg(long)]
        purge: bool,
    },
    /// Show the nodes
    Status,
    /// Run a command on a node, or a shell
    Ssh {
        /// Name (mq-1) or number (1)
        node: String,
        /// Log in as this user (root, deploy, ops)
        #[arg(short, long, value_name = "USER", default_value = "root")]
        login: String,
        /// As of ssh: joined by spaces and run by the node's shell
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "COMMAND")]
        command: Vec<String>,
    },
    /// Three bare machines become a cluster: a dry run, an apply with post-checks, and an apply that changes nothing
    Demo {
        /// trixie (Debian 13, RabbitMQ 4.0) or bookworm (Debian 12, RabbitMQ 3.10)
        #[arg(
            long,
            value_enum,
            default_value_t,
            value_name = "RELEASE",
            hide_possible_values = true
        )]
        release: Release,
    },
}

#[derive(Clone, Copy, Debug, Args)]
pub struct LabUpArgs {
    /// How many
    #[arg(long, default_value_t = 3, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=i64::from(MAX_NODES)))]
    pub nodes: u8,
    /// trixie (Debian 13, RabbitMQ 4.0) or bookworm (Debian 12, RabbitMQ 3.10)
    #[arg(
        long,
        value_enum,
        default_value_t,
        value_name = "RELEASE",
        hide_possible_values = true
    )]
    pub release: Release,
    /// Without RabbitMQ (and without Python): nodes to be bootstrapped
    #[arg(long)]
    pub bare: bool,
}

/// Tell what modules do and take
#[derive(Debug, Args)]
#[command(after_long_help = examples!(
    "  rmqplay doc                  the list of modules\n",
    "  rmqplay doc sysctl\n",
    "  rmqplay doc sysctl --format json\n",
))]
pub struct DocArgs {
    /// The module (also by alias or as `ansible.posix.sysctl`); without it, all are listed
    pub module: Option<String>,

    /// Standard output: human or json
    #[arg(
        long,
        value_enum,
        value_name = "FORMAT",
        default_value_t,
        hide_possible_values = true
    )]
    #[arg(help_heading = "Output")]
    pub format: DocFormat,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum DocFormat {
    #[default]
    Human,
    Json,
}

/// Write a completion script for a shell
#[derive(Debug, Args)]
#[command(after_long_help = examples!(
    "  rmqplay completions bash > ~/.local/share/bash-completion/completions/rmqplay\n",
    "  rmqplay completions fish > ~/.config/fish/completions/rmqplay.fish\n",
    "  rmqplay completions zsh > ~/.zfunc/_rmqplay\n",
))]
pub struct CompletionsArgs {
    /// bash, elvish, fish, powershell or zsh
    #[arg(value_enum, hide_possible_values = true)]
    pub shell: clap_complete::Shell,
}
