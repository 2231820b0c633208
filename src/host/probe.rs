//! What can be looked at on a host, and what is seen.

use super::bytes::{Content, Hidden};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A look at a host that changes nothing. Equal probes in a batch are made once.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Probe {
    /// → [`Observation::Stat`]. `follow` resolves a symlink at the end of the path.
    Stat {
        path: Arc<str>,
        #[serde(default)]
        follow: bool,
    },
    /// → [`Observation::Content`]; symlinks are followed. More than `max` bytes is [`Observation::Failed`].
    Read {
        path: Arc<str>,
        #[serde(default = "read_max")]
        max: u64,
    },
    /// → [`Observation::Text`], hex, of a regular file; `None` where there is none. Algorithm: `md5 sha1 sha224 sha256 sha384 sha512`.
    Hash { path: Arc<str>, algorithm: String },
    /// → [`Observation::List`], the paths that match a shell glob (`*`, `?`, `[..]`), sorted; none is no failure.
    Glob { pattern: Arc<str> },
    /// → [`Observation::Files`]: what matches a shell glob, and what is in it.
    ReadGlob { pattern: Arc<str> },
    /// → [`Observation::Exec`] of a command that only reads.
    Exec {
        argv: Vec<String>,
        /// What it reads; `None`: nothing. The place for a login: arguments are seen by everybody on the host.
        #[serde(skip)]
        stdin: Option<Hidden>,
        #[serde(default = "exec_limit")]
        timeout_s: u32,
    },
    /// → [`Observation::Facts`]: everything `template`'s facts need, in one go.
    Facts,
    /// → [`Observation::Text`] `open`, or `None`: does a TCP connection from the host succeed?
    Tcp {
        host: String,
        port: u16,
        #[serde(default = "tcp_limit")]
        timeout_s: u32,
    },
}

fn read_max() -> u64 {
    Probe::READ_MAX
}
fn exec_limit() -> u32 {
    Probe::EXEC_LIMIT_S
}
fn tcp_limit() -> u32 {
    5
}

/// How far a look's answer depends on others: a host's own files change only by what runs on the host, a
/// connection to a peer changes with the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    Host,
    World,
}

impl Probe {
    /// Default cap of [`Probe::Read`], in bytes.
    pub const READ_MAX: u64 = 16 * 1024 * 1024;
    /// Default time limit of [`Probe::Exec`], in seconds.
    pub const EXEC_LIMIT_S: u32 = 30;

    pub fn stat(path: impl AsRef<str>) -> Probe {
        Probe::Stat {
            path: path.as_ref().into(),
            follow: false,
        }
    }
    pub fn stat_follow(path: impl AsRef<str>) -> Probe {
        Probe::Stat {
            path: path.as_ref().into(),
            follow: true,
        }
    }
    pub fn read(path: impl AsRef<str>) -> Probe {
        Probe::Read {
            path: path.as_ref().into(),
            max: Probe::READ_MAX,
        }
    }
    pub fn glob(pattern: impl AsRef<str>) -> Probe {
        Probe::Glob {
            pattern: pattern.as_ref().into(),
        }
    }
    pub fn read_glob(pattern: impl AsRef<str>) -> Probe {
        Probe::ReadGlob {
            pattern: pattern.as_ref().into(),
        }
    }
    pub fn exec<S: Into<String>>(argv: impl IntoIterator<Item = S>) -> Probe {
        Probe::Exec {
            argv: argv.into_iter().map(Into::into).collect(),
            stdin: None,
            timeout_s: Probe::EXEC_LIMIT_S,
        }
    }
    /// A script of ours that only reads files, with its `$1`, `$2`...: nothing in it can hang, so no limit, and the host's
    /// shell runs it itself, so it costs no process of its own. Its times are not taken, and what it says on standard error
    /// comes without its last line breaks.
    pub fn script(text: &str, arguments: &[&str]) -> Probe {
        let zeroth = (!arguments.is_empty()).then_some("sh");
        let argv = ["sh", "-c", text].into_iter().chain(zeroth);
        Probe::Exec {
            argv: argv.chain(arguments.iter().copied()).map(str::to_owned).collect(),
            stdin: None,
            timeout_s: 0,
        }
    }

    /// The path in it.
    pub fn path_mut(&mut self) -> Option<&mut Arc<str>> {
        match self {
            Probe::Stat { path, .. } | Probe::Read { path, .. } | Probe::Hash { path, .. } => Some(path),
            Probe::Glob { pattern } | Probe::ReadGlob { pattern } => Some(pattern),
            Probe::Exec { .. } | Probe::Facts | Probe::Tcp { .. } => None,
        }
    }

    pub fn scope(&self) -> Scope {
        match self {
            // A connection to the host itself depends on nobody else.
            Probe::Tcp { host, .. } if host == "localhost" || host == "::1" || host.starts_with("127.") => Scope::Host,
            Probe::Tcp { .. } => Scope::World,
            _ => Scope::Host,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FileKind {
    File,
    Directory,
    Link,
    Block,
    Char,
    Fifo,
    Socket,
}

/// What `stat` tells of a path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stat {
    pub kind: FileKind,
    /// The lowest twelve bits: permissions, setuid, setgid, sticky.
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    /// User name, empty where the id has none.
    #[serde(default)]
    pub owner: String,
    #[serde(default)]
    pub group: String,
    #[serde(default)]
    pub size: u64,
    /// Seconds since the epoch.
    #[serde(default)]
    pub mtime: i64,
    #[serde(default)]
    pub atime: i64,
    #[serde(default)]
    pub ctime: i64,
    #[serde(default)]
    pub inode: u64,
    #[serde(default)]
    pub dev: u64,
    #[serde(default)]
    pub nlink: u64,
    /// What it takes up, in units of 512 bytes.
    #[serde(default)]
    pub blocks: u64,
    /// What to read and write at once, bytes.
    #[serde(default)]
    pub block_size: u64,
    /// The device that a device file stands for.
    #[serde(default)]
    pub rdev: u64,
    /// Target of a symlink as written in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
}

/// Path → content.
pub type Files = BTreeMap<String, Option<Content>>;

/// What came back for a probe.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Observation {
    /// `None`: nothing is there.
    Stat(Option<Arc<Stat>>),
    /// `None`: nothing is there.
    Content(Option<Content>),
    Text(Option<String>),
    List(Vec<String>),
    /// `None`: no regular file, not to be read, or more than [`Probe::READ_MAX`] bytes.
    Files(Arc<Files>),
    Exec(ExecResult),
    Facts(Arc<serde_json::Value>),
    /// The look itself failed (no permission, time limit, not a directory...): an answer, not an error of the run.
    Failed(String),
    /// Dry run only: an earlier task may change it; the text says which.
    Unknown(String),
}

/// A finished command.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExecResult {
    /// Exit status; 128 + n for a signal; 124 when the time limit ended it; 127 not found.
    pub rc: i32,
    #[serde(default)]
    pub stdout: Content,
    #[serde(default)]
    pub stderr: Content,
    /// Output was longer than the cap and was cut.
    #[serde(default)]
    pub truncated: bool,
    /// Start and end, seconds since the epoch with fraction, by the host's clock (0 where not told).
    #[serde(default)]
    pub start: String,
    #[serde(default)]
    pub end: String,
}

impl ExecResult {
    pub fn ok(&self) -> bool {
        self.rc == 0
    }
}
