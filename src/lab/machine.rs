//! This machine: who we are, what is installed, running its tools, its mounts.

use super::{Progress, Say, error};
use crate::diagnostic::Diagnostic;
use camino::Utf8Path;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::MetadataExt;
use std::process::{Command, Output, Stdio};

/// What the lab runs or reads, and the package it comes with on Debian and Ubuntu.
const NEEDED: &[(&str, &str)] = &[
    ("systemd-nspawn", "systemd-container"),
    ("mmdebstrap", "mmdebstrap"),
    (super::image::KEYRING, "debian-archive-keyring"),
    ("ip", "iproute2"),
    ("nft", "nftables"),
    ("ssh", "openssh-client"),
    ("ssh-keygen", "openssh-client"),
    ("mkfs.ext4", "e2fsprogs"),
    ("losetup", "mount"),
    ("nsenter", "util-linux"),
];

const SYSTEM_PATH: &str = "/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin";

pub(super) fn require_root() -> Result<(), Diagnostic> {
    let uid = fs_err::metadata("/proc/self").map(|m| m.uid()).unwrap_or(u32::MAX);
    if uid == 0 {
        return Ok(());
    }
    Err(error("the lab needs root")
        .note("it makes mounts, network namespaces and a bridge on this machine, and boots nodes in them")
        .help("run it with sudo")
        .help("without root, `rmqplay diff playbooks/tune.yml` looks at this machine and changes nothing"))
}

/// Installs the packages whose tools are missing, after saying so.
pub(super) fn install_missing(say: Say<'_>) -> Result<(), Diagnostic> {
    let missing = missing_packages();
    if missing.is_empty() {
        return Ok(());
    }
    let list = missing.join(" ");
    if find("apt-get").is_none() {
        return Err(error("the lab needs Debian or Ubuntu")
            .note(format!(
                "these packages are missing and there is no `apt-get` to install them: {list}"
            ))
            .help("`rmqplay diff playbooks/tune.yml` looks at this machine and changes nothing"));
    }
    say(Progress::Done(&format!("installing with apt: {list}")));
    let install = || {
        let mut arguments = vec!["install", "--yes", "--no-install-recommends"];
        arguments.extend(&missing);
        run("apt-get", &arguments)
    };
    // Fresh machines and containers have no package lists, old ones have lists of packages that are gone.
    if install().is_err() {
        run("apt-get", &["update"])?;
        install()?;
    }
    let missing = missing_packages();
    if missing.is_empty() {
        return Ok(());
    }
    Err(error(format!(
        "still missing after the installation: {}",
        missing.join(" ")
    )))
}

fn missing_packages() -> Vec<&'static str> {
    let mut packages: Vec<_> = NEEDED
        .iter()
        .filter(|(tool, _)| {
            if tool.starts_with('/') {
                !Utf8Path::new(tool).exists()
            } else {
                find(tool).is_none()
            }
        })
        .map(|(_, package)| *package)
        .collect();
    packages.dedup();
    packages
}

fn path() -> String {
    // Where root's own PATH has no sbin (`su` without `-`).
    std::env::var("PATH").map_or(SYSTEM_PATH.to_owned(), |path| format!("{path}:{SYSTEM_PATH}"))
}

fn find(tool: &str) -> Option<std::path::PathBuf> {
    std::env::split_paths(&path())
        .map(|dir| dir.join(tool))
        .find(|file| file.is_file())
}

/// A tool of this machine, with a plain environment and nothing on its standard input.
pub(super) fn command(program: &str) -> Command {
    let mut command = Command::new(program);
    command
        .env("PATH", path())
        .env("LC_ALL", "C")
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdin(Stdio::null());
    command
}

/// Runs a tool to its end; what it wrote to standard output.
pub(super) fn run(program: &str, arguments: &[&str]) -> Result<String, Diagnostic> {
    finish(command(program).args(arguments).output(), program, arguments)
}

/// The same, with `input` on its standard input.
pub(super) fn run_with(program: &str, arguments: &[&str], input: &str) -> Result<String, Diagnostic> {
    let output = command(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .and_then(|mut child| {
            if let Some(mut stdin) = child.stdin.take() {
                stdin.write_all(input.as_bytes())?;
            }
            child.wait_with_output()
        });
    finish(output, program, arguments)
}

/// Runs `nsenter` to its end. When what it runs is stopped, it stops itself and waits to be continued; and a node that goes
/// down stops all its processes for a moment before it ends them (systemd-shutdown(8)).
pub(super) fn run_inside(arguments: &[&str]) -> Result<String, Diagnostic> {
    const PROGRAM: &str = "nsenter";
    let child = command(PROGRAM)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let output = child.and_then(|child| {
        let pid = Pid::from_child(&child);
        let next = WaitIdOptions::STOPPED | WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        std::thread::scope(|scope| {
            scope.spawn(move || {
                while let Ok(Some(status)) = waitid(WaitId::Pid(pid), next)
                    && status.stopped()
                {
                    // It may have ended since.
                    let _ = kill_process(pid, Signal::CONT);
                }
            });
            child.wait_with_output()
        })
    });
    finish(output, PROGRAM, arguments)
}

/// Whether a tool ends well; what it says is not kept.
pub(super) fn succeeds(program: &str, arguments: &[&str]) -> bool {
    command(program)
        .args(arguments)
        .output()
        .is_ok_and(|output| output.status.success())
}

/// Runs a long step: every line of its standard error goes to `log` and, as what is going on, to `say`.
pub(super) fn run_long(
    program: &str,
    arguments: &[&str],
    log: &Utf8Path,
    say: &dyn Fn(&str),
) -> Result<(), Diagnostic> {
    let mut file = fs_err::File::create(log).map_err(io)?;
    let mut child = command(program)
        .args(arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|e| not_run(program, &e))?;
    let mut all = String::new();
    if let Some(stderr) = child.stderr.take() {
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            writeln!(file, "{line}").map_err(io)?;
            say(&line);
            let _ = writeln!(all, "{line}");
        }
    }
    let status = child.wait().map_err(io)?;
    if status.success() {
        return Ok(());
    }
    Err(failed(program, arguments, &status, &all).note(format!("all it said is in `{log}`")))
}

fn finish(output: std::io::Result<Output>, program: &str, arguments: &[&str]) -> Result<String, Diagnostic> {
    let output = output.map_err(|e| not_run(program, &e))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(failed(program, arguments, &output.status, &said))
}

fn not_run(program: &str, cause: &std::io::Error) -> Diagnostic {
    error(format!("cannot run `{program}`")).note(cause.to_string())
}

fn failed(program: &str, arguments: &[&str], status: &std::process::ExitStatus, said: &str) -> Diagnostic {
    let mut failed = error(format!("`{program}` failed ({status})"))
        .note(format!("it was run as: {program} {}", arguments.join(" ")));
    let tail = tail(said, 15);
    if !tail.is_empty() {
        failed = failed.note(format!("it said:\n{tail}"));
    }
    failed
}

/// The last lines, without what a terminal would act on.
pub(super) fn tail(text: &str, lines: usize) -> String {
    let clean: Vec<String> = text
        .lines()
        .map(|line| console_text(line).trim_end().to_owned())
        .filter(|line| !line.is_empty())
        .collect();
    clean[clean.len().saturating_sub(lines)..].join("\n")
}

/// A line of a console without escape sequences (CSI, OSC, charset...) and control characters.
fn console_text(line: &str) -> String {
    let mut text = String::new();
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\u{1b}' => match chars.next() {
                Some('[') => while chars.next().is_some_and(|c| !('@'..='~').contains(&c)) {},
                Some(']') => while chars.next().is_some_and(|c| c != '\u{7}' && c != '\\') {},
                _ => {}
            },
            '\t' => text.push(' '),
            c if c.is_control() => {}
            c => text.push(c),
        }
    }
    text
}

pub(super) fn io(cause: std::io::Error) -> Diagnostic {
    // fs-err names the file and what was tried.
    error(cause.to_string())
}

/// The mount points below a directory (or on it), the deepest first.
fn mounts_below(dir: &Utf8Path) -> Result<Vec<String>, Diagnostic> {
    let table = fs_err::read_to_string("/proc/self/mountinfo").map_err(io)?;
    let mut mounts: Vec<String> = table
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .map(|point| point.replace("\\040", " "))
        .filter(|point| Utf8Path::new(point).starts_with(dir))
        .collect();
    mounts.sort_by_key(|point| std::cmp::Reverse(point.len()));
    Ok(mounts)
}

pub(super) fn is_mounted(point: &Utf8Path) -> Result<bool, Diagnostic> {
    Ok(mounts_below(point)?.iter().any(|mounted| mounted == point))
}

pub(super) fn unmount_below(dir: &Utf8Path) -> Result<(), Diagnostic> {
    for point in mounts_below(dir)? {
        run("umount", &[&point])?;
    }
    Ok(())
}

/// Removes a file or directory if it is there, after unmounting what is mounted in it: a mounted file system is never
/// emptied by mistake.
pub(super) fn remove_tree(path: &Utf8Path) -> Result<(), Diagnostic> {
    unmount_below(path)?;
    run("rm", &["-rf", "--one-file-system", "--", path.as_str()]).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn consoles_are_cleaned() {
        let raw = "\u{1b}[0;1;31mFailed to\u{1b}[0m start\r\n\u{1b}]3008;start=x\u{1b}\\\n\n  ok\u{7}\n";
        assert_eq!(tail(raw, 15), "Failed to start\n  ok");
        assert_eq!(tail("a\nb\nc\n", 2), "b\nc");
        assert_eq!(tail("", 2), "");
    }

    #[test]
    fn failures_tell_the_command_and_its_words() {
        let failure = run("sh", &["-c", "echo no space >&2; exit 3"]).unwrap_err();
        assert_eq!(failure.message, "`sh` failed (exit status: 3)");
        assert_eq!(failure.notes[1], "it said:\nno space");
        let failure = run("rmqplay-no-such-tool", &[]).unwrap_err();
        assert_eq!(failure.message, "cannot run `rmqplay-no-such-tool`");
    }

    #[test]
    fn input_reaches_the_tool() {
        assert_eq!(run_with("cat", &[], "a\nb").unwrap(), "a\nb");
    }
}
