//! The process: arguments in, exit status out.

fn main() -> std::process::ExitCode {
    rmqplay::commands::main(std::env::args_os()).into()
}
