//! Drives `rmqplay lab` until the command line is wired.
#![allow(clippy::print_stderr, clippy::exit)]
use clap::Parser;
use rmqplay::commands::lab::{LabArgs, LabIo, run};
use rmqplay::lab::{Lab, Progress};
#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    lab: LabArgs,
}
fn main() {
    let mut io = LabIo {
        out: &mut std::io::stdout(),
        say: &|p| match p {
            Progress::Done(t) => eprintln!("{t}"),
            Progress::Doing(t) => eprintln!("... {t}"),
        },
        rmqplay: &mut |_| Ok(0),
    };
    match run(Cli::parse().lab, &Lab::default(), &mut io) {
        Ok(code) => std::process::exit(code),
        Err(d) => {
            eprintln!("{d:#?}");
            std::process::exit(1)
        }
    }
}
