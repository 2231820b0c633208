//! Where a test writes its plays and runs them from, with the real binary.

use crate::booted::rmqplay;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Longest a run may take; all of them are far below, on a slow machine too.
const LIMIT: Duration = Duration::from_secs(600);

/// A directory for a test's files. Connections made from it are its own: nothing is warm that it did not warm.
pub struct Desk(tempfile::TempDir);

impl Desk {
    pub fn new() -> Desk {
        Desk(tempfile::tempdir().unwrap())
    }

    pub fn file(&self, name: &str, text: &str) -> String {
        let path = self.0.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// The binary with these arguments; as a terminal would, in a process group of its own.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = rmqplay(arguments);
        command
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .env("XDG_RUNTIME_DIR", self.0.path())
            .env("NO_COLOR", "1")
            .env_remove("RMQPLAY_CONFIG")
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    pub fn start(&self, arguments: &[&str]) -> Started {
        let mut child = self.command(arguments).spawn().unwrap();
        fn collect(mut pipe: impl Read + Send + 'static) -> JoinHandle<String> {
            std::thread::spawn(move || {
                let mut bytes = Vec::new();
                pipe.read_to_end(&mut bytes).unwrap();
                String::from_utf8(bytes).unwrap()
            })
        }
        Started {
            stdout: collect(child.stdout.take().unwrap()),
            stderr: collect(child.stderr.take().unwrap()),
            child,
        }
    }

    pub fn run(&self, arguments: &[&str]) -> Ran {
        self.start(arguments).end()
    }
}

/// A run under way.
pub struct Started {
    pub child: Child,
    stdout: JoinHandle<String>,
    stderr: JoinHandle<String>,
}

impl Started {
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Ctrl-C: the terminal sends it to the whole process group.
    pub fn interrupt(&self) {
        let group = format!("-{}", self.child.id());
        let status = Command::new("kill").args(["-INT", "--", &group]).status().unwrap();
        assert!(status.success());
    }

    pub fn end(mut self) -> Ran {
        let start = Instant::now();
        let mut late = false;
        while self.is_running() {
            if start.elapsed() > LIMIT {
                late = true;
                self.child.kill().unwrap();
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let status = self.child.wait().unwrap();
        let ran = Ran {
            code: status.code(),
            stdout: self.stdout.join().unwrap(),
            stderr: self.stderr.join().unwrap(),
        };
        assert!(!late, "not done after {LIMIT:?}: {ran:#?}");
        ran
    }
}

/// How a run ended.
#[derive(Debug)]
pub struct Ran {
    /// `None`: by a signal.
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Ran {
    #[track_caller]
    pub fn ended(self, code: i32) -> Ran {
        assert_eq!(self.code, Some(code), "{}\n{}", self.stdout, self.stderr);
        self
    }

    /// Of a run with `--format json`.
    #[track_caller]
    pub fn report(&self) -> Report {
        match serde_json::from_str(&self.stdout) {
            Ok(report) => Report(report),
            Err(e) => panic!("no report ({e}): {self:#?}"),
        }
    }
}

/// The JSON report.
#[derive(Debug)]
pub struct Report(pub Value);

impl Report {
    /// Every result, by task and host, in order.
    pub fn results(&self) -> Vec<(&str, &str, &str, &Value)> {
        let mut results = Vec::new();
        for play in self.0["plays"].as_array().unwrap() {
            for task in play["tasks"].as_array().unwrap() {
                let name = task["task"]["name"].as_str().unwrap();
                let section = task["task"]["section"].as_str().unwrap();
                for (host, result) in task["hosts"].as_object().unwrap() {
                    results.push((section, name, host.as_str(), result));
                }
            }
        }
        results
    }

    pub fn find(&self, task: &str, host: &str) -> Option<&Value> {
        let mut results = self.results().into_iter();
        results
            .find(|(_, t, h, _)| *t == task && *h == host)
            .map(|(.., result)| result)
    }

    #[track_caller]
    pub fn result(&self, task: &str, host: &str) -> &Value {
        match self.find(task, host) {
            Some(result) => result,
            None => panic!("no result of `{task}` on {host}: {:#}", self.0),
        }
    }

    /// What became of a task on a host, in a word; `none` where it did not run.
    pub fn status(&self, task: &str, host: &str) -> &'static str {
        self.find(task, host).map_or("none", status)
    }

    /// The statuses of a task on these hosts.
    pub fn statuses(&self, task: &str, hosts: &[&str]) -> Vec<&'static str> {
        hosts.iter().map(|host| self.status(task, host)).collect()
    }

    pub fn stat(&self, host: &str, what: &str) -> u64 {
        self.0["stats"][host][what]
            .as_u64()
            .unwrap_or_else(|| panic!("{:#}", self.0))
    }

    pub fn warnings(&self) -> BTreeSet<&str> {
        let warnings = self.0["warnings"].as_array().map_or(&[][..], Vec::as_slice);
        warnings.iter().map(|w| w["text"].as_str().unwrap()).collect()
    }

    /// What was changed, or would be: the diffs of each task on each host, without what is empty.
    pub fn changes(&self) -> BTreeMap<(String, String), Vec<Value>> {
        let changed = |(_, task, host, result): (_, &str, &str, &Value)| {
            let diff = result["diff"].as_array().cloned().unwrap_or_default();
            (result["changed"] == true).then(|| ((host.to_owned(), task.to_owned()), diff))
        };
        self.results().into_iter().filter_map(changed).collect()
    }
}

fn status(result: &Value) -> &'static str {
    let is = |key: &str| result[key] == true;
    match () {
        () if is("unreachable") => "unreachable",
        () if is("failed") => "failed",
        () if is("skipped") => "skipped",
        () if is("unknown") => "unknown",
        () if is("changed") => "changed",
        () => "ok",
    }
}

/// Fails unless the text has all of these parts.
#[track_caller]
pub fn says(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "no `{part}` in:\n{text}");
    }
}
