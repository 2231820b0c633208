//! What can be done to a host, and what came of it.

use super::bytes::Content;
use super::probe::ExecResult;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A change to a host. Ops of a batch run in order; the first that fails stops the rest of the batch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Op {
    /// Replaces or creates a file atomically: temporary in the same directory, owner, mode, SELinux context and
    /// extended attributes of the old file kept where not given, fsync of file and directory, rename. A path that
    /// is a symlink is resolved first (the target is replaced). A bind-mounted file (EBUSY) is written in place.
    /// `mode`, `owner`, `group` unset: as the old file's, for a new file `0644` less the umask 022 and the acting user.
    Write {
        path: String,
        content: Content,
        #[serde(default)]
        mode: Option<u32>,
        #[serde(default)]
        owner: Option<String>,
        #[serde(default)]
        group: Option<String>,
        #[serde(default)]
        guard: Option<Guard>,
        /// Copy the old file to this path first (mode and owner kept).
        #[serde(default)]
        backup: Option<String>,
        /// A command to check the temporary file with, `%s` is its path; a failure refuses the write.
        #[serde(default)]
        validate: Option<Vec<String>>,
    },
    /// Writes into an existing file without replacing it: `/proc`, `/sys`.
    Put {
        path: String,
        content: Content,
    },
    /// Makes a directory (and, with `parents`, those above it, mode 0755 less umask). Exists already: no failure.
    MakeDir {
        path: String,
        #[serde(default)]
        mode: Option<u32>,
        #[serde(default)]
        owner: Option<String>,
        #[serde(default)]
        group: Option<String>,
        #[serde(default)]
        parents: bool,
    },
    /// Makes a symbolic or hard link, replacing what is there only if `force`.
    Link {
        path: String,
        target: String,
        #[serde(default)]
        hard: bool,
        #[serde(default)]
        force: bool,
    },
    /// Removes a path; `recursive` also a directory with what is in it. Absent already: no failure.
    Remove {
        path: String,
        #[serde(default)]
        recursive: bool,
    },
    Chmod {
        path: String,
        mode: u32,
    },
    /// Symlinks are followed if `follow`.
    Chown {
        path: String,
        #[serde(default)]
        owner: Option<String>,
        #[serde(default)]
        group: Option<String>,
        #[serde(default)]
        follow: bool,
    },
    /// Sets times; seconds since the epoch, `None`: now. Creates an empty file where there is none.
    Touch {
        path: String,
        #[serde(default)]
        atime: Option<i64>,
        #[serde(default)]
        mtime: Option<i64>,
    },
    /// Copies the content of a file on the host, atomically: owner and mode stay as they are, or are those of a new file.
    Copy {
        source: String,
        path: String,
        #[serde(default)]
        guard: Option<Guard>,
    },
    Exec(Exec),
}

/// A command that acts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exec {
    pub argv: Vec<String>,
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    #[serde(default)]
    pub stdin: Option<Content>,
    #[serde(default)]
    pub cwd: Option<String>,
    /// Seconds; the process group is killed then. `None`: the request's limit.
    #[serde(default)]
    pub timeout_s: Option<u32>,
    /// Exit statuses that are no failure of the op; empty: every one is accepted and the module judges.
    #[serde(default)]
    pub ok: Vec<i32>,
    /// What the dry run may assume afterwards, see `engine::overlay`.
    #[serde(default)]
    pub effect: Effect,
    /// Argument vector and streams are secret: never shown.
    #[serde(default)]
    pub secret: bool,
}

/// What a dry run may assume of a command it does not run. Never used to apply.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// It may have changed anything on the host.
    #[default]
    Anything,
    /// It changes nothing a probe could see (a sync, a daemon-reload, a wait).
    Nothing,
    /// What is absent may come to be (packages: files, units, users); what exists stays.
    Creates,
    /// Only answers of probes that mention one of these words change (a unit's name, a path prefix).
    Mentions(Vec<String>),
}

/// What must still hold when the op runs; otherwise it does nothing and says so.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Guard {
    /// The file's SHA-256, hex, is still this.
    Sha256(String),
    /// There is still nothing at the path.
    Absent,
}

/// What came of an op.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Outcome {
    pub status: Status,
    /// For [`Op::Exec`], and for a `validate` that refused.
    #[serde(default)]
    pub exec: Option<ExecResult>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    Done,
    /// The host's own words.
    Failed(String),
    /// The guard did not hold; what was found (a SHA-256 or `absent`).
    Refused(String),
    /// An earlier op of the batch failed.
    NotRun,
    /// The connection was lost while it ran: done or not, nobody knows.
    Unknown,
}

/// What a file of the kernel reads after a [`Op::Put`]: where it offered choices, `none [mq-deadline] kyber`, the brackets
/// move; all else is the value, with a newline at the end.
pub fn kernel_file(old: Option<&Content>, put: &Content) -> Content {
    let value = put.text().trim().to_owned();
    let old = old.map(|c| c.text().into_owned()).unwrap_or_default();
    let bare = |word: &str| word.trim_matches(['[', ']']).to_owned();
    let choices: Vec<String> = old.split_whitespace().map(bare).collect();
    if !old.contains('[') || !choices.contains(&value) {
        return Content::from(value + "\n");
    }
    let words: Vec<String> = choices
        .into_iter()
        .map(|word| if word == value { format!("[{word}]") } else { word })
        .collect();
    Content::from(words.join(" ") + "\n")
}

impl Outcome {
    pub fn done() -> Self {
        Outcome {
            status: Status::Done,
            exec: None,
        }
    }
    pub fn failed(text: impl Into<String>) -> Self {
        Outcome {
            status: Status::Failed(text.into()),
            exec: None,
        }
    }
    pub fn is_done(&self) -> bool {
        self.status == Status::Done
    }
}

impl Op {
    pub fn exec<S: Into<String>>(argv: impl IntoIterator<Item = S>, effect: Effect) -> Op {
        Op::Exec(Exec {
            argv: argv.into_iter().map(Into::into).collect(),
            ok: vec![0],
            effect,
            ..Exec::default()
        })
    }

    /// The paths in it.
    pub fn paths_mut(&mut self) -> Vec<&mut String> {
        match self {
            Op::Write { path, backup, .. } => std::iter::once(path).chain(backup).collect(),
            Op::Put { path, .. }
            | Op::MakeDir { path, .. }
            | Op::Remove { path, .. }
            | Op::Chmod { path, .. }
            | Op::Chown { path, .. }
            | Op::Touch { path, .. } => vec![path],
            // The text of a symbolic link is not a path to follow here; that of a hard one is.
            Op::Link { path, target, hard, .. } => {
                if *hard {
                    vec![path, target]
                } else {
                    vec![path]
                }
            }
            Op::Copy { source, path, .. } => vec![source, path],
            Op::Exec(exec) => exec.cwd.iter_mut().collect(),
        }
    }
}
