//! One file per subcommand: they alone read and write the user's files, and know the environment.

mod completions;
pub mod config;
pub mod disk;
mod doc;
mod extra_vars;
mod inventory;
mod lab;
mod lint;
mod play;
mod process;
mod scope;
mod template;
mod vars;

pub use disk::Disk;
pub use lint::BrokerFile;

use crate::cli::{Cli, ColorWhen, Command, Exit, ExtraVars, FileFormat, Format, OutputOptions};
use crate::diagnostic::{Code, Diagnostic, RenderOptions, SourceMap, Span};
use crate::inventory::{Adjacent, HostName, Inventory, Limit, Pattern};
use crate::language::{Files, Node};
use crate::report::style::Palette;
use crate::report::{
    Diagnostics, FanOut, Human, HumanOptions, Json, JsonLines, MessageFormat, Progress, Reporter, Sink,
};
use clap::Parser as _;
use config::Config;
use std::ffi::OsString;
use std::io::{IsTerminal as _, Write as _};
use std::sync::Arc;

/// The inventory where none is named: this machine, without SSH.
const DEFAULT_INVENTORY: &str = "inventories/local.yml";

/// Runs the command line `args` (the program's name first).
pub fn main(args: impl IntoIterator<Item = OsString>) -> Exit {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are answers, not mistakes. A reader that went away is no mistake either.
            let exit = if error.use_stderr() { Exit::Usage } else { Exit::Done };
            let _ = error.print();
            return exit;
        }
    };
    let session = Session::new(&cli);
    match cli.command {
        Command::Apply(args) => play::with(&session, |config| args.options(config)),
        Command::Diff(args) => play::with(&session, |config| args.options(config)),
        Command::Verify(args) => play::with(&session, |config| args.options(config)),
        Command::Run(args) => play::with(&session, |config| args.options(config)),
        Command::Facts(args) => play::facts(&session, &args),
        Command::Lint(args) => lint::run(&session, &args),
        Command::Inventory(args) => inventory::run(&session, &args),
        Command::Template(args) => template::run(&session, &args),
        Command::Vars(args) => vars::run(&session, &args),
        Command::Lab(args) => lab::run(&session, args.command),
        Command::Doc(args) => doc::run(&session, &args),
        Command::Completions(args) => completions::run(&session, &args),
    }
}

/// What every command has at hand.
pub struct Session {
    pub files: Disk,
    pub sources: SourceMap,
    pub console: Console,
}

/// The terminal, or what stands in for it.
#[derive(Clone, Copy, Debug)]
pub struct Console {
    pub out_color: bool,
    pub err_color: bool,
    /// Columns of standard output; 100 where it is no terminal.
    pub width: usize,
    /// A progress line may be drawn on standard error.
    pub progress: bool,
    pub message_format: MessageFormat,
}

impl Console {
    fn new(color: ColorWhen, message_format: MessageFormat, files: &dyn Files) -> Self {
        use anstream::{AutoStream, ColorChoice};
        let color = |auto: ColorChoice| match color {
            ColorWhen::Always => true,
            ColorWhen::Never => false,
            ColorWhen::Auto => auto != ColorChoice::Never,
        };
        let columns = files.env("COLUMNS").and_then(|c| c.parse().ok());
        let terminal = console::Term::stdout()
            .size_checked()
            .map(|(_, columns)| usize::from(columns));
        Console {
            out_color: color(AutoStream::choice(&std::io::stdout())),
            err_color: color(AutoStream::choice(&std::io::stderr())),
            width: columns.or(terminal).unwrap_or(100).clamp(40, 240),
            progress: std::io::stderr().is_terminal()
                && files.env("CI").is_none()
                && files.env("TERM").is_none_or(|t| t != "dumb"),
            message_format,
        }
    }

    pub fn out(&self) -> Sink {
        Box::new(std::io::stdout())
    }

    /// Writes a word beside the matter to standard output; what a command was asked for is a [`Session::answer`].
    pub fn print(&self, text: &str) {
        let _ = std::io::stdout().write_all(text.as_bytes());
    }

    pub fn diagnostics(&self) -> Diagnostics {
        let options = RenderOptions {
            color: self.err_color,
            width: self.width,
        };
        Diagnostics::new(Box::new(std::io::stderr()), self.message_format, options)
    }
}

impl Session {
    fn new(cli: &Cli) -> Self {
        Session {
            files: Disk,
            sources: SourceMap::default(),
            console: Console::new(cli.console.color, cli.console.message_format, &Disk),
        }
    }

    /// The configuration that holds here.
    pub fn config(&self) -> Result<Config, Vec<Diagnostic>> {
        let mut config = Config::find(&self.files, &self.sources)?;
        if config.inventory.is_empty() && self.files.exists(DEFAULT_INVENTORY) {
            config.inventory.push(DEFAULT_INVENTORY.to_owned());
        }
        Ok(config)
    }

    /// Writes what a command was asked for to standard output. Half of it with exit status 0 would be taken for the
    /// whole; only a reader that went away (`| head`) has enough.
    pub fn answer(&self, text: &str) -> Exit {
        let mut out = std::io::stdout().lock();
        match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
            Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
                self.tell(&[
                    Diagnostic::error(Code::FILE, "standard output could not be written").note(error.to_string())
                ])
            }
            _ => Exit::Done,
        }
    }

    /// Writes diagnostics to standard error. [`Exit::Usage`] if an error is among them, or
    /// [`Exit::NothingMatched`] if all errors are of that kind.
    pub fn tell(&self, diagnostics: &[Diagnostic]) -> Exit {
        self.console.diagnostics().write(&self.sources, diagnostics);
        let mut errors = diagnostics.iter().filter(|d| d.is_error()).peekable();
        if errors.peek().is_none() {
            Exit::Done
        } else if errors.all(|d| d.code == Code::NO_MATCH) {
            Exit::NothingMatched
        } else {
            Exit::Usage
        }
    }

    /// Reads inventories; mistakes are told, warnings too.
    pub fn inventory(&self, sources: &[String]) -> Result<Inventory, Exit> {
        let (inventory, diagnostics) = Inventory::load(sources, &self.files, &self.sources);
        match self.tell(&diagnostics) {
            Exit::Done => Ok(inventory),
            exit => Err(exit),
        }
    }

    /// `group_vars` and `host_vars` of a directory (`.`: beside a playbook that would stand here, as
    /// `ansible-inventory` has it).
    pub fn adjacent(&self, inventory: &Inventory, directories: &[String]) -> Result<Adjacent, Exit> {
        let (adjacent, diagnostics) = Adjacent::load(inventory, directories, &self.files, &self.sources);
        match self.tell(&diagnostics) {
            Exit::Done => Ok(adjacent),
            exit => Err(exit),
        }
    }

    /// The hosts of `pattern` within `limit`, in the order of a play. None at all is [`Exit::NothingMatched`],
    /// unless `allow_empty`.
    pub fn select(
        &self,
        inventory: &Inventory,
        pattern: &str,
        limit: Option<&str>,
        allow_empty: bool,
    ) -> Result<Vec<HostName>, Exit> {
        let limit = match limit
            .map(|text| Limit::parse(text, &self.files, &self.sources))
            .transpose()
        {
            Ok(limit) => limit,
            Err(diagnostic) => return Err(self.tell(&[diagnostic])),
        };
        let file = self.sources.add("<command line>", pattern);
        let whole = Pattern {
            text: pattern.to_owned(),
            span: Some(Span::new(file, 0, pattern.len())),
        };
        match inventory.select(&[whole], limit.as_ref(), allow_empty) {
            Ok(hosts) if hosts.is_empty() && !allow_empty => {
                let nothing = match limit {
                    Some(_) => format!("no host of `{pattern}` is within the limit"),
                    None => format!("`{pattern}` matches no host"),
                };
                Err(self.tell(&[Diagnostic::error(Code::NO_MATCH, nothing)]))
            }
            Ok(hosts) => Ok(hosts),
            Err(diagnostic) => Err(self.tell(&[diagnostic])),
        }
    }

    /// The names and values of `-e`, a later one replacing an earlier.
    pub fn extra_vars(&self, given: &[ExtraVars]) -> Result<Vec<(String, Arc<Node>)>, Exit> {
        let mut diagnostics = Vec::new();
        let vars = extra_vars::read(given, &self.files, &self.sources, &mut diagnostics);
        match self.tell(&diagnostics) {
            Exit::Done => Ok(vars),
            exit => Err(exit),
        }
    }

    /// The reporters a run was asked to have: standard output, files, progress. Files are made at once, so that
    /// one that cannot be written is known before a host is touched. `asking`: the terminal's last line belongs to questions.
    pub fn reporters(&self, output: &OutputOptions, asking: bool) -> Result<FanOut, Vec<Diagnostic>> {
        let mut all: Vec<Box<dyn Reporter>> = Vec::new();
        let progress = Progress::new(self.console.progress && !asking);
        match output.format {
            Format::Human => {
                let options = HumanOptions {
                    palette: Palette::new(self.console.out_color),
                    width: self.console.width,
                    verbosity: output.verbosity,
                    show_diff: output.show_diff,
                    show_results: output.show_results,
                };
                all.push(Box::new(Human::new(self.console.out(), options).beside(progress.bar())));
            }
            Format::Json => all.push(Box::new(Json::new(self.console.out()))),
            Format::Jsonl => all.push(Box::new(JsonLines::new(self.console.out()))),
        }
        let mut errors = Vec::new();
        for report in &output.reports {
            match std::fs::File::create(&report.path) {
                Ok(file) => {
                    let sink: Sink = Box::new(fs_err::File::from_parts(file, &report.path));
                    all.push(match report.format {
                        FileFormat::Json => Box::new(Json::new(sink)),
                        FileFormat::Jsonl => Box::new(JsonLines::new(sink)),
                    });
                }
                Err(error) => errors.push(
                    Diagnostic::error(Code::FILE, format!("cannot write `{}`", report.path)).note(error.to_string()),
                ),
            }
        }
        all.push(Box::new(progress));
        if errors.is_empty() {
            Ok(FanOut(all))
        } else {
            Err(errors)
        }
    }
}
