//! High args: what the command line asks for, with only valid states and the defaults of `rmqplay.toml` filled in.

use super::{
    ApplyArgs, BecomeArgs, BecomeMethod, ConnectionArgs, DiffArgs, Format, InventoryOptions, OutputArgs, PlayArgs,
    ReportFile, RunArgs, VerifyArgs, Via,
};
use crate::commands::config::Config;
use crate::diagnostic::{Code, Diagnostic};
use crate::engine::event::Mode;
use crate::transport::Method;
use std::num::NonZeroU32;

/// What `apply`, `diff`, `verify` and `run` are asked to do.
#[derive(Clone, Debug)]
pub struct PlayOptions {
    pub mode: Mode,
    pub work: Work,
    pub inventory: Vec<String>,
    pub extra_vars: Vec<ExtraVars>,
    pub limit: Option<String>,
    pub allow_empty: bool,
    pub selection: Selection,
    /// Directories of roles, after `roles/` beside the playbook.
    pub roles_path: Vec<String>,
    /// `Some`: tell this and run nothing.
    pub listing: Option<Listing>,
    pub force_handlers: bool,
    pub step: bool,
    /// Verify: also every task.
    pub drift: bool,
    /// Exit with [`Exit::Pending`] when changes are pending.
    pub detailed_exitcode: bool,
    pub connection: ConnectionOptions,
    pub become_: BecomeOptions,
    pub output: OutputOptions,
}

/// What is run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Work {
    Playbooks(Vec<String>),
    /// One module on the hosts of a pattern.
    Module {
        pattern: String,
        module: String,
        args: String,
    },
}

/// Which tasks. Empty lists: no restriction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    pub tags: Vec<String>,
    pub skip_tags: Vec<String>,
    pub start_at_task: Option<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    pub hosts: bool,
    pub tasks: bool,
    pub tags: bool,
}

/// One `-e`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExtraVars {
    /// `k=v k2='v 2'`, values are strings.
    Pairs(String),
    /// A file of YAML or JSON.
    File(String),
    /// YAML or JSON itself.
    Document(String),
}

impl ExtraVars {
    pub fn parse(text: &str) -> Result<ExtraVars, Diagnostic> {
        let trimmed = text.trim();
        if let Some(path) = trimmed.strip_prefix('@') {
            Ok(ExtraVars::File(path.to_owned()))
        } else if trimmed.starts_with(['{', '[']) {
            Ok(ExtraVars::Document(trimmed.to_owned()))
        } else if trimmed.contains('=') {
            Ok(ExtraVars::Pairs(trimmed.to_owned()))
        } else {
            Err(Diagnostic::error(Code::USAGE, format!("`-e {text}` sets no variable"))
                .help("write `-e name=value`, `-e @file.yml` or `-e '{\"name\": [1, 2]}'`"))
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionOptions {
    pub forks: u32,
    pub via: Via,
    pub remote_user: Option<String>,
    pub private_key: Option<String>,
    /// Seconds.
    pub connect_timeout_s: u32,
    /// Seconds; `None`: no limit.
    pub task_timeout_s: Option<u32>,
    pub ssh_common_args: Option<String>,
    /// Seconds a connection stays after the run; 0: it ends with it.
    pub persist_s: u32,
    pub accept_any_host_key: bool,
    pub simulate: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BecomeOptions {
    pub become_: bool,
    pub user: Option<String>,
    pub method: Option<Method>,
    pub password: PasswordSource,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PasswordSource {
    None,
    Ask,
    /// `-`: standard input.
    File(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutputOptions {
    pub format: Format,
    pub reports: Vec<ReportFile>,
    pub verbosity: u8,
    pub show_diff: bool,
    pub show_results: bool,
}

/// Forks where nobody says otherwise.
pub const FORKS: u32 = 50;
/// Seconds for a connection where nobody says otherwise (Ansible's default).
pub const CONNECT_TIMEOUT_S: u32 = 10;
/// Seconds a connection stays warm where nobody says otherwise.
pub const PERSIST_S: u32 = 60;

impl ApplyArgs {
    pub fn options(&self, config: &Config) -> Result<PlayOptions, Vec<Diagnostic>> {
        let mode = if self.check { Mode::Diff } else { Mode::Apply };
        let mut options = self.play.options(mode, config)?;
        options.force_handlers = self.force_handlers;
        options.step = self.step;
        options.output.show_diff = self.diff || self.check;
        Ok(options)
    }
}

impl DiffArgs {
    pub fn options(&self, config: &Config) -> Result<PlayOptions, Vec<Diagnostic>> {
        let mut options = self.play.options(Mode::Diff, config)?;
        options.detailed_exitcode = self.detailed_exitcode;
        Ok(options)
    }
}

impl VerifyArgs {
    pub fn options(&self, config: &Config) -> Result<PlayOptions, Vec<Diagnostic>> {
        let mut options = self.play.options(Mode::Verify, config)?;
        options.drift = self.drift;
        Ok(options)
    }
}

impl RunArgs {
    pub fn options(&self, config: &Config) -> Result<PlayOptions, Vec<Diagnostic>> {
        let mode = if self.check { Mode::Diff } else { Mode::Apply };
        let mut output = self.output.options(self.diff || self.check);
        output.show_results = true;
        Ok(PlayOptions {
            mode,
            work: Work::Module {
                pattern: self.pattern.clone(),
                module: self.module_name.clone(),
                args: self.args.clone(),
            },
            inventory: self.hosts.inventory.sources(config),
            extra_vars: self.hosts.inventory.extra_vars()?,
            limit: self.hosts.limit.clone(),
            allow_empty: self.hosts.allow_empty,
            selection: Selection::default(),
            roles_path: config.roles_path.clone(),
            listing: None,
            force_handlers: false,
            step: false,
            drift: false,
            detailed_exitcode: false,
            connection: self.connection.options(config),
            become_: self.become_.options(),
            output,
        })
    }
}

impl PlayArgs {
    fn options(&self, mode: Mode, config: &Config) -> Result<PlayOptions, Vec<Diagnostic>> {
        let words = |list: &[String]| -> Vec<String> {
            let words = list.iter().map(|t| t.trim().to_owned());
            words.filter(|t| !t.is_empty()).collect()
        };
        let listing = Listing {
            hosts: self.list_hosts,
            tasks: self.list_tasks,
            tags: self.list_tags,
        };
        Ok(PlayOptions {
            mode,
            work: Work::Playbooks(self.playbooks.clone()),
            inventory: self.hosts.inventory.sources(config),
            extra_vars: self.hosts.inventory.extra_vars()?,
            limit: self.hosts.limit.clone(),
            allow_empty: self.hosts.allow_empty,
            selection: Selection {
                tags: words(&self.tags),
                skip_tags: words(&self.skip_tags),
                start_at_task: self.start_at_task.clone(),
            },
            roles_path: config.roles_path.clone(),
            listing: (self.syntax_check || listing != Listing::default()).then_some(listing),
            force_handlers: false,
            step: false,
            drift: false,
            detailed_exitcode: false,
            connection: self.connection.options(config),
            become_: self.become_.options(),
            output: self.output.options(mode != Mode::Apply),
        })
    }
}

impl InventoryOptions {
    /// Inventories as given, else those of the configuration.
    pub fn sources(&self, config: &Config) -> Vec<String> {
        if self.inventory.is_empty() {
            config.inventory.clone()
        } else {
            self.inventory.clone()
        }
    }

    pub fn extra_vars(&self) -> Result<Vec<ExtraVars>, Vec<Diagnostic>> {
        let mut vars = Vec::new();
        let mut errors = Vec::new();
        for text in &self.extra_vars {
            match ExtraVars::parse(text) {
                Ok(v) => vars.push(v),
                Err(e) => errors.push(e),
            }
        }
        if errors.is_empty() { Ok(vars) } else { Err(errors) }
    }
}

impl ConnectionArgs {
    pub fn options(&self, config: &Config) -> ConnectionOptions {
        ConnectionOptions {
            forks: self.forks.or(config.forks).map_or(FORKS, NonZeroU32::get),
            via: self.connection.unwrap_or_default(),
            remote_user: self.remote_user.clone().or_else(|| config.remote_user.clone()),
            private_key: self.private_key.clone().or_else(|| config.private_key.clone()),
            connect_timeout_s: self.timeout.map_or(CONNECT_TIMEOUT_S, NonZeroU32::get),
            task_timeout_s: self.task_timeout.map(NonZeroU32::get),
            ssh_common_args: self.ssh_common_args.clone(),
            persist_s: if self.no_persist {
                0
            } else {
                self.persist.or(config.persist).unwrap_or(PERSIST_S)
            },
            accept_any_host_key: self.accept_any_host_key || config.host_key_checking == Some(false),
            simulate: self.simulate,
        }
    }
}

impl BecomeArgs {
    pub fn options(&self) -> BecomeOptions {
        BecomeOptions {
            become_: self.become_,
            user: self.become_user.clone(),
            method: self.become_method.map(|m| match m {
                BecomeMethod::Sudo => Method::Sudo,
                BecomeMethod::Su => Method::Su,
            }),
            password: match &self.become_password_file {
                Some(file) => PasswordSource::File(file.clone()),
                None if self.ask_become_pass => PasswordSource::Ask,
                None => PasswordSource::None,
            },
        }
    }
}

impl OutputArgs {
    fn options(&self, show_diff: bool) -> OutputOptions {
        OutputOptions {
            format: self.format,
            reports: self.reports.clone(),
            verbosity: self.verbose,
            show_diff,
            show_results: false,
        }
    }
}
