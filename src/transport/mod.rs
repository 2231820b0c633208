//! The only part that touches a host. A [`Peer`] is data in, data out: a [`Request`] of probes and ops, a
//! [`Response`] of observations and outcomes.

mod become_user;
mod exchange;
pub mod fake;
mod local;
pub mod shell;
pub mod simulate;
mod ssh;
pub mod wire;

pub use local::LocalConnector;
pub use ssh::{SshConnector, SshSettings};

use crate::host::{Observation, Op, Outcome, Probe};
use serde::{Deserialize, Serialize};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A value that is never shown: `Debug` hides it, nothing serialises it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Secret(pub String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("«secret»")
    }
}

/// How to reach a host; the merge of `ansible_*` variables, keywords and options.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// `inventory_hostname`.
    pub name: String,
    pub connection: Connection,
    /// Seconds for connecting.
    pub connect_timeout_s: u32,
    /// Where address, port and user were written (`address and user come from hosts.yml:12:7`), for who cannot connect.
    pub origin: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Connection {
    Local,
    Ssh(SshTarget),
}

/// What is unset is left to the user's ssh_config.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct SshTarget {
    pub address: String,
    pub port: Option<u16>,
    pub user: Option<String>,
    pub private_key_file: Option<String>,
    /// `ansible_ssh_common_args` + `ansible_ssh_extra_args` + `--ssh-common-args`, split as a shell would.
    pub args: Vec<String>,
    /// `ansible_ssh_executable` is not supported; `host_key_checking: false` is.
    pub accept_any_host_key: bool,
    /// Seconds the master stays after the run; 0: it ends with it.
    pub persist_s: u32,
}

/// Another user to run as.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RunAs {
    pub method: Method,
    pub user: String,
    pub password: Option<Secret>,
    /// `become_flags`, split as a shell would; `None`: the method's default (`-H -S` for sudo).
    pub flags: Option<Vec<String>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    Sudo,
    Su,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    Probe(Probe),
    Op(Op),
}

/// One message to a host: steps in order, as one user. The first op that does not end `Done` stops what follows.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Request {
    pub run_as: Option<RunAs>,
    pub steps: Vec<Step>,
    /// Seconds for each op that has no limit of its own; `None`: no limit.
    pub op_limit_s: Option<u32>,
}

/// The answer of one step.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    Seen(Observation),
    Did(Outcome),
}

#[derive(Clone, Debug, PartialEq, Default)]
pub struct Response {
    /// One per step; after an op that failed, [`crate::host::Status::NotRun`] and [`Observation::Failed`].
    pub replies: Vec<Reply>,
    pub bytes_out: u64,
    pub bytes_in: u64,
}

/// Why a call did not answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallError {
    pub kind: CallErrorKind,
    /// In our words, one line.
    pub message: String,
    /// What ssh, sudo or the shell said, as it is.
    pub said: String,
    pub help: Option<String>,
    /// Where address and user come from, when it is the connection that failed.
    pub origin: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallErrorKind {
    /// The connection could not be made.
    Connect,
    /// Unknown or changed host key.
    HostKey,
    /// The connection was lost or the answer made no sense: ops sent may or may not have run.
    Lost,
    /// sudo or su refused: nothing ran.
    Become,
    /// No `sh` with the needed tools: nothing ran.
    Shell,
}

/// A host at the other end.
pub trait Peer: Send {
    /// Sends one message and waits for the answer. Cancel-safe only in that dropping the future abandons the call.
    fn call<'a>(&'a mut self, request: &'a Request) -> BoxFuture<'a, Result<Response, CallError>>;
    /// Ends the connection (a persistent master stays as the target says).
    fn close<'a>(&'a mut self) -> BoxFuture<'a, ()>;
}

/// Makes peers.
pub trait Connector: Send + Sync {
    fn connect<'a>(&'a self, target: &'a Target) -> BoxFuture<'a, Result<Box<dyn Peer>, CallError>>;
}

/// Reaches this machine and, through OpenSSH with the user's own settings, all others.
pub fn connector() -> Arc<dyn Connector> {
    Arc::new(Peers {
        local: LocalConnector::default(),
        ssh: SshConnector::new(SshSettings::from_env()),
    })
}

struct Peers {
    local: LocalConnector,
    ssh: SshConnector,
}

impl Connector for Peers {
    fn connect<'a>(&'a self, target: &'a Target) -> BoxFuture<'a, Result<Box<dyn Peer>, CallError>> {
        match target.connection {
            Connection::Local => self.local.connect(target),
            Connection::Ssh(_) => self.ssh.connect(target),
        }
    }
}
