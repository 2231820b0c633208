//! A directory of its own and nothing of the caller's environment.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

pub struct Environment {
    root: tempfile::TempDir,
}

#[derive(Debug)]
pub struct Output {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Output {
    /// Everything that can be observed, as one text.
    pub fn transcript(&self) -> String {
        let part = |name: &str, text: &str| {
            if text.is_empty() {
                String::new()
            } else {
                format!("--- {name}\n{text}")
            }
        };
        format!(
            "exit {}\n{}{}",
            self.code,
            part("stdout", &self.stdout),
            part("stderr", &self.stderr)
        )
    }
}

impl Environment {
    pub fn new() -> Self {
        Environment {
            root: tempfile::tempdir().unwrap(),
        }
    }

    /// Where commands run.
    pub fn path(&self) -> &Path {
        self.root.path()
    }

    /// Writes a file below [`Environment::path`], directories made.
    pub fn write(&self, path: &str, text: &str) -> PathBuf {
        let path = self.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path
    }

    pub fn run(&self, args: &[&str]) -> Output {
        self.run_in(".", args)
    }

    pub fn run_in(&self, directory: &str, args: &[&str]) -> Output {
        let output = Command::new(env!("CARGO_BIN_EXE_rmqplay"))
            .args(args)
            .current_dir(self.path().join(directory))
            .env_clear()
            .env("HOME", self.path())
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("TZ", "UTC")
            .env("LC_ALL", "C.UTF-8")
            .env("COLUMNS", "100")
            .env("TERM", "dumb")
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let text = |bytes: Vec<u8>| {
            let text = String::from_utf8(bytes).unwrap();
            text.replace(self.path().to_str().unwrap(), "[ROOT]")
        };
        Output {
            code: output.status.code().unwrap(),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        }
    }
}
