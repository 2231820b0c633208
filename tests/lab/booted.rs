//! The lab the tests run in.

use rmqplay::diagnostic::{Diagnostic, RenderOptions, SourceMap, render_human};
use rmqplay::lab::{Lab, Node, Release, Wanted};
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Nodes without RabbitMQ, for what has nothing to do with it: they are up in a third of the time.
pub const BARE: Wanted = Wanted {
    nodes: 3,
    release: Release::Trixie,
    bare: true,
};

/// What the tests started, if anything.
static RUNNING: Mutex<Option<Wanted>> = Mutex::new(None);

/// The lab with the nodes that are wanted, all running.
pub fn lab(wanted: Wanted) -> Lab {
    let lab = Lab::default();
    let mut running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
    if running.is_none() {
        let other = lab.status().unwrap_or_else(|e| fail(&e));
        assert!(
            other.is_none(),
            "a lab is up on this machine, and not for the tests: `rmqplay lab down` first"
        );
    }
    let other_kind = |r: Wanted| (r.release, r.bare) != (wanted.release, wanted.bare);
    if running.is_some_and(other_kind) {
        lab.down(false, &|_| {}).unwrap_or_else(|e| fail(&e));
    }
    // Before the attempt: a half-made lab is to be taken down, too.
    *running = Some(wanted);
    lab.up(wanted, &|_| {}).unwrap_or_else(|e| fail(&e));
    lab
}

/// The same with nodes that nothing was done to yet.
pub fn fresh(wanted: Wanted) -> Lab {
    if RUNNING.lock().unwrap_or_else(PoisonError::into_inner).is_some() {
        Lab::default().down(false, &|_| {}).unwrap_or_else(|e| fail(&e));
    }
    lab(wanted)
}

/// For tests that start and stop the lab themselves.
pub fn down() -> Lab {
    let lab = lab(BARE);
    lab.down(false, &|_| {}).unwrap_or_else(|e| fail(&e));
    lab
}

/// The lab that a test starts by another way is the tests' own, too.
pub fn adopt(wanted: Wanted) {
    *RUNNING.lock().unwrap_or_else(PoisonError::into_inner) = Some(wanted);
}

/// After the last test; a lab that is not the tests' own stays.
pub fn take_down() {
    let running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner).take();
    if running.is_some() {
        Lab::default().down(false, &|_| {}).unwrap_or_else(|e| fail(&e));
    }
}

pub fn fail(failure: &Diagnostic) -> ! {
    let options = RenderOptions {
        color: false,
        width: 120,
    };
    panic!("{}", render_human(&SourceMap::default(), failure, options))
}

/// Runs a command on a node over ssh; what it wrote, without the last newline.
pub fn on(lab: &Lab, node: &Node, user: &str, command: &str) -> String {
    let output = ssh(lab, user, &node.name, command).output().unwrap();
    assert!(
        output.status.success(),
        "{}: `{command}`: {}: {}",
        node.name,
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
}

pub fn ssh(lab: &Lab, user: &str, host: &str, command: &str) -> Command {
    let mut ssh = lab.ssh();
    ssh.args([
        "-o",
        "BatchMode=yes",
        "-o",
        "ConnectTimeout=2",
        "-l",
        user,
        "--",
        host,
        command,
    ]);
    ssh
}

/// Waits until something holds.
pub fn eventually(what: &str, holds: impl Fn() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < Duration::from_secs(60), "not within a minute: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

pub fn rmqplay(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rmqplay"));
    command.args(arguments);
    command
}
