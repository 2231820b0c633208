//! Real Ansible, as an answer to "what does it mean?".

use std::path::PathBuf;
use std::process::{Command, Output};

/// A program beside real Ansible: `$RMQPLAY_ANSIBLE`, or `target/oracle/bin` where the test command puts it.
pub fn program(name: &str) -> Command {
    let bin = std::env::var_os("RMQPLAY_ANSIBLE").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/oracle/bin"),
        PathBuf::from,
    );
    // The directory itself, not a link to it: Python looks beside it for what belongs to the environment.
    let path = bin.canonicalize().unwrap_or(bin).join(name);
    assert!(
        path.exists(),
        "{} is missing: these tests compare with ansible-core 2.19; set RMQPLAY_ANSIBLE to the `bin` directory of \
         a virtual environment that has it",
        path.display()
    );
    let mut command = Command::new(path);
    command.env("LC_ALL", "C.UTF-8").env("ANSIBLE_NOCOLOR", "1");
    command
}

/// Standard output of a Python script that is given `input`.
pub fn python(script: &str, input: &str) -> String {
    use std::io::Write;
    use std::process::Stdio;
    let mut child = program("python3")
        .args(["-c", script])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
    assert!(status.success(), "{}", String::from_utf8_lossy(&stderr));
    String::from_utf8(stdout).unwrap()
}
