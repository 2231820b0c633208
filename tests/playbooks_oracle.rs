//! The same playbook, run by real Ansible and by us: counts, exit code, files, and the order of commands are equal.
//!
//! A case is `tests/oracle/NAME/play.yml` with what it needs beside it. It runs on `h1`, `h2`, `h3` (and `h4` in group
//! `other`; nobody answers at `h5`, group `gone`), all on this machine, in a directory of its own; `out/` in it is
//! compared file by file, and `log`, to which commands append, line by line: lines of one task on several hosts have no
//! order. Comments at the head of the playbook steer it: `#args: ...` (options of both), `#ours: LINE` (what differs on
//! purpose, and how; the reason follows on the next lines). `ORACLE_CASE=one,two` runs these alone.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test that cannot go on fails"
)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const INVENTORY: &str = "\
[fleet]
h1
h2
h3

[other]
h4

[gone]
h5 ansible_host=127.0.0.1 ansible_port=1

[fleet:vars]
ansible_connection=local

[other:vars]
ansible_connection=local

[all:vars]
out={{ playbook_dir }}/out/{{ inventory_hostname }}
log={{ playbook_dir }}/log
";

/// What a run left behind.
#[derive(Debug, PartialEq, Eq, Default)]
struct Seen {
    exit: i32,
    stats: BTreeMap<String, String>,
    files: BTreeMap<String, String>,
    log: Vec<String>,
}

fn ansible() -> PathBuf {
    let bin = std::env::var_os("RMQPLAY_ANSIBLE").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/oracle/bin"),
        PathBuf::from,
    );
    let bin = bin.canonicalize().unwrap_or(bin);
    assert!(
        bin.join("ansible-playbook").exists(),
        "{} has no ansible-playbook: these tests compare with ansible-core 2.19; set RMQPLAY_ANSIBLE to the `bin` \
         directory of a virtual environment that has it",
        bin.display()
    );
    bin
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

fn collect(below: &Path, root: &Path, into: &mut BTreeMap<String, String>) {
    for entry in std::fs::read_dir(below).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, root, into);
        } else {
            let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
            let text = String::from_utf8_lossy(&std::fs::read(&path).unwrap()).into_owned();
            into.insert(name, text);
        }
    }
}

/// Prepares a directory, runs `program` in it, and looks at what came of it.
fn play(case: &Path, mut program: Command, stats: fn(&str) -> BTreeMap<String, String>) -> (Seen, String) {
    let root = tempfile::tempdir().unwrap();
    copy(case, root.path());
    std::fs::write(root.path().join("hosts"), INVENTORY).unwrap();
    for host in ["h1", "h2", "h3", "h4"] {
        std::fs::create_dir_all(root.path().join("out").join(host)).unwrap();
    }
    let output = program
        .current_dir(root.path())
        .env_clear()
        .env("HOME", root.path())
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .env("TZ", "UTC")
        .env("LC_ALL", "C.UTF-8")
        .env("ANSIBLE_NOCOLOR", "1")
        .env("ANSIBLE_PIPELINING", "1")
        .env("ANSIBLE_HOST_PATTERN_MISMATCH", "ignore")
        .env("ANSIBLE_PYTHON_INTERPRETER", "/usr/bin/python3")
        .env("ANSIBLE_DEPRECATION_WARNINGS", "0")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    let told = format!("{stdout}{}", String::from_utf8_lossy(&output.stderr));
    let mut seen = Seen {
        exit: output.status.code().unwrap_or(-1),
        stats: stats(&stdout),
        ..Seen::default()
    };
    let place = root.path().canonicalize().unwrap();
    collect(&root.path().join("out"), &root.path().join("out"), &mut seen.files);
    for text in seen.files.values_mut() {
        *text = text.replace(place.to_str().unwrap(), "[DIR]");
    }
    let log = std::fs::read_to_string(root.path().join("log")).unwrap_or_default();
    seen.log = ordered(
        log.lines()
            .map(|l| l.replace(place.to_str().unwrap(), "[DIR]"))
            .collect(),
    );
    (seen, told)
}

/// Lines are `WHAT HOST`: hosts of one task (one WHAT in a row) come in any order.
fn ordered(lines: Vec<String>) -> Vec<String> {
    let what = |line: &String| line.split(' ').next().unwrap_or_default().to_owned();
    let mut lines = lines;
    let mut start = 0;
    while start < lines.len() {
        let end = (start..lines.len())
            .find(|i| what(&lines[*i]) != what(&lines[start]))
            .unwrap_or(lines.len());
        lines[start..end].sort();
        start = end;
    }
    lines
}

/// `h1 : ok=1 changed=0 unreachable=0 failed=0 skipped=1 rescued=0 ignored=0`
fn recap(stdout: &str) -> BTreeMap<String, String> {
    let recap = stdout.rsplit_once("PLAY RECAP").map_or("", |(_, recap)| recap);
    recap
        .lines()
        .filter_map(|line| line.split_once(" : "))
        .map(|(host, counts)| {
            (
                host.trim().to_owned(),
                counts.split_whitespace().collect::<Vec<_>>().join(" "),
            )
        })
        .collect()
}

fn report(stdout: &str) -> BTreeMap<String, String> {
    let report: serde_json::Value = serde_json::from_str(stdout).unwrap_or_default();
    let hosts = report["stats"].as_object().cloned().unwrap_or_default();
    hosts
        .into_iter()
        .map(|(host, s)| {
            let names = [
                ("ok", "ok"),
                ("changed", "changed"),
                ("unreachable", "unreachable"),
                ("failed", "failures"),
                ("skipped", "skipped"),
                ("rescued", "rescued"),
                ("ignored", "ignored"),
            ];
            (host, names.map(|(n, k)| format!("{n}={}", s[k])).join(" "))
        })
        .filter(|(_, text)| text.split(' ').any(|n| !n.ends_with("=0")))
        .collect()
}

/// A command whose list of handlers still to run (in /var/lib for root, in `HOME` for others) no other run sees.
fn alone(program: &str) -> Command {
    let mut isolated = Command::new("unshare");
    let mount = "mkdir -p /var/lib/rmqplay && mount -t tmpfs none /var/lib/rmqplay && exec \"$@\"";
    isolated.args(["-m", "sh", "-c", mount, "sh"]);
    let works = Command::new(isolated.get_program())
        .args(isolated.get_args())
        .arg("true")
        .output()
        .is_ok_and(|o| o.status.success());
    if !works {
        return Command::new(program);
    }
    isolated.arg(program);
    isolated
}

/// The differences between the two, in words.
fn compare(case: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(case.join("play.yml")).unwrap();
    let steer = |key: &str| -> Vec<String> {
        let lines = text.lines().take_while(|l| l.starts_with('#'));
        lines
            .filter_map(|l| l.strip_prefix(key))
            .map(|l| l.trim().to_owned())
            .collect()
    };
    let args: Vec<String> = steer("#args:")
        .iter()
        .flat_map(|l| l.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
        .collect();
    let mut theirs = Command::new(ansible().join("ansible-playbook"));
    theirs.args(["-i", "hosts", "play.yml"]).args(&args);
    let (their, their_words) = play(case, theirs, recap);
    let mut ours = alone(env!("CARGO_BIN_EXE_rmqplay"));
    ours.args(["apply", "-i", "hosts", "--format", "json", "play.yml"])
        .args(&args);
    let (our, our_words) = play(case, ours, report);
    let deliberate = steer("#ours:");
    let mut found = Vec::new();
    let mut differ = |what: &str, theirs: &str, ours: &str| {
        let line = format!("{what}: {ours}").trim().to_owned();
        if theirs != ours && !deliberate.contains(&line) {
            found.push(format!("{what}\n    Ansible: {theirs}\n    ours:    {ours}"));
        }
    };
    differ("exit", &their.exit.to_string(), &our.exit.to_string());
    for host in their
        .stats
        .keys()
        .chain(our.stats.keys())
        .collect::<std::collections::BTreeSet<_>>()
    {
        let of = |s: &Seen| s.stats.get(host).cloned().unwrap_or_default();
        differ(host, &of(&their), &of(&our));
    }
    for file in their
        .files
        .keys()
        .chain(our.files.keys())
        .collect::<std::collections::BTreeSet<_>>()
    {
        let of = |s: &Seen| s.files.get(file).map_or("none".to_owned(), |t| format!("{t:?}"));
        differ(file, &of(&their), &of(&our));
    }
    differ("log", &their.log.join(", "), &our.log.join(", "));
    if !found.is_empty() {
        let tail = |t: &str| {
            t.chars()
                .rev()
                .take(6000)
                .collect::<Vec<_>>()
                .into_iter()
                .rev()
                .collect::<String>()
        };
        found.push(format!(
            "--- Ansible said\n{}\n--- ours said\n{}",
            their_words,
            tail(&our_words)
        ));
    }
    found
}

#[test]
fn playbooks_do_what_ansible_does() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/oracle");
    let only = std::env::var("ORACLE_CASE").ok();
    let mut cases: Vec<PathBuf> = std::fs::read_dir(root)
        .unwrap()
        .map(|e| e.unwrap().path())
        .filter(|p| p.join("play.yml").exists())
        .filter(|p| {
            only.as_deref()
                .is_none_or(|o| o.split(',').any(|o| p.file_name().unwrap() == o))
        })
        .collect();
    cases.sort();
    assert!(!cases.is_empty());
    let queue = std::sync::Mutex::new(cases.into_iter());
    let differences = std::sync::Mutex::new(BTreeMap::new());
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                loop {
                    let next = queue.lock().unwrap().next();
                    let Some(case) = next else { break };
                    let found = compare(&case);
                    if !found.is_empty() {
                        let name = case.file_name().unwrap().to_str().unwrap().to_owned();
                        differences.lock().unwrap().insert(name, found);
                    }
                }
            });
        }
    });
    let differences = differences.into_inner().unwrap();
    let text: Vec<String> = differences
        .iter()
        .map(|(name, found)| format!("== {name}\n{}", found.join("\n")))
        .collect();
    assert!(text.is_empty(), "\n{}", text.join("\n"));
}
