//! The process: arguments in, exit status out.

/// Thousands of hosts' small values of every age fragment glibc's heap: with it the time for a host grows with their
/// number (`--simulate` of 5,000 hosts: 117 µs a host-task, with this one 79).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    rmqplay::commands::main(std::env::args_os()).into()
}
