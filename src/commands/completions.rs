//! `completions SHELL`: derived from the command line's definition and the module registry.

use super::Session;
use crate::cli::{Cli, CompletionsArgs, Exit};
use crate::modules::REGISTRY;
use clap::CommandFactory as _;
use clap::builder::PossibleValuesParser;

pub fn run(session: &Session, args: &CompletionsArgs) -> Exit {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command(), "rmqplay", &mut script);
    session.answer(&String::from_utf8_lossy(&script))
}

/// The command line with the names of modules where one is asked for.
fn command() -> clap::Command {
    let names = || PossibleValuesParser::new(REGISTRY.iter().map(|m| m.name));
    Cli::command()
        .mut_subcommand("doc", |doc| doc.mut_arg("module", |arg| arg.value_parser(names())))
        .mut_subcommand("run", |run| run.mut_arg("module_name", |arg| arg.value_parser(names())))
}
