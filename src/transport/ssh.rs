//! Other machines, through OpenSSH: its own master process for each host, multiplexed by the `openssh` crate.
//!
//! The master is started here and not by the crate, for two reasons: a user's own ssh arguments must reach it, and it must
//! outlive the run (`ControlPersist`), so that the next run finds it warm. ssh reads the user's configuration, asks the
//! agent and goes through jump hosts as it does from a terminal.

use super::exchange::{Call, Heard};
use super::{BoxFuture, CallError, CallErrorKind, Connection, Connector, Peer, Request, Response, SshTarget, Target};
use openssh::{Session, Stdio};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::process::Command;

/// A Unix socket's path has room for 108 bytes, of which ssh adds 17 while it makes one.
const SOCKET_PATH_MAX: usize = 90;
/// A master that lost its run ends by itself after this many seconds.
const ORPHAN_S: u32 = 60;

#[derive(Clone, Debug)]
pub struct SshSettings {
    /// The program, `ssh`.
    pub ssh: PathBuf,
    /// Where masters' sockets live; made with mode 0700.
    pub control_dir: PathBuf,
}

impl SshSettings {
    /// Sockets under `$XDG_RUNTIME_DIR`, else under `~/.cache`, else, where those are too long, under `/tmp`.
    pub fn from_env() -> Self {
        let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(|dir| PathBuf::from(dir).join("rmqplay"));
        let cache = std::env::var_os("HOME").map(|dir| PathBuf::from(dir).join(".cache/rmqplay/ssh"));
        let fits = |dir: &PathBuf| dir.as_os_str().len() + 18 < SOCKET_PATH_MAX;
        let usable = |dir: &PathBuf| fits(dir) && private_dir(dir).is_ok();
        let shared = PathBuf::from(format!("/tmp/rmqplay-{}", own_uid()));
        SshSettings {
            ssh: PathBuf::from("ssh"),
            control_dir: runtime.filter(usable).or(cache.filter(usable)).unwrap_or(shared),
        }
    }
}

/// Makes a directory that is ours alone, or finds that it is.
fn private_dir(dir: &Path) -> std::io::Result<()> {
    if let Some(above) = dir.parent() {
        std::fs::create_dir_all(above)?;
    }
    match std::fs::DirBuilder::new().mode(0o700).create(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    let found = std::fs::symlink_metadata(dir)?;
    match found.is_dir() && found.uid() == own_uid() && found.mode() & 0o077 == 0 {
        true => Ok(()),
        false => Err(std::io::Error::other(format!(
            "{} is not a directory of ours alone",
            dir.display()
        ))),
    }
}

fn own_uid() -> u32 {
    std::fs::metadata("/proc/self").map_or(u32::MAX, |own| own.uid())
}

/// Makes peers over ssh.
#[derive(Clone, Debug)]
pub struct SshConnector(SshSettings);

impl SshConnector {
    pub fn new(settings: SshSettings) -> Self {
        SshConnector(settings)
    }
}

impl Connector for SshConnector {
    fn connect<'a>(&'a self, target: &'a Target) -> BoxFuture<'a, Result<Box<dyn Peer>, CallError>> {
        Box::pin(async move {
            let Connection::Ssh(ssh) = &target.connection else {
                return Err(unreachable("not a host reached by ssh", String::new(), None));
            };
            let master = Master {
                settings: self.0.clone(),
                target: ssh.clone(),
                timeout_s: target.connect_timeout_s.max(1),
            };
            master.ready().await?;
            let peer: Box<dyn Peer> = Box::new(SshPeer { master });
            Ok(peer)
        })
    }
}

/// A lock that is held; its file goes before the lock does.
struct Turn {
    path: PathBuf,
    _file: std::fs::File,
}

impl Drop for Turn {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

/// The ssh process that holds the connection to one target.
struct Master {
    settings: SshSettings,
    target: SshTarget,
    timeout_s: u32,
}

impl Master {
    /// One socket for each way of reaching a host.
    fn socket(&self) -> PathBuf {
        let mut hasher = DefaultHasher::new();
        self.target.hash(&mut hasher);
        self.settings.control_dir.join(format!("{:016x}", hasher.finish()))
    }

    fn session(&self) -> Session {
        Session::resume_mux(self.socket().into_boxed_path(), None)
    }

    /// Finds a live master, or starts one. Two runs, or two names of one host, do not start two.
    async fn ready(&self) -> Result<(), CallError> {
        if self.is_alive().await {
            return Ok(());
        }
        private_dir(&self.settings.control_dir)
            .map_err(|error| unreachable("no place for ssh's control socket", error.to_string(), None))?;
        let _turn = self.turn().await;
        if self.is_alive().await {
            return Ok(());
        }
        // A socket that nobody listens on would keep ssh from making its own.
        let _ = std::fs::remove_file(self.socket());
        self.start().await
    }

    async fn is_alive(&self) -> bool {
        let check = async { self.session().check().await.is_ok() };
        self.socket().exists()
            && tokio::time::timeout(Duration::from_secs(5), check)
                .await
                .unwrap_or(false)
    }

    /// The lock under which a master is started. It is a file only while somebody holds it.
    async fn turn(&self) -> Option<Turn> {
        let path = self.socket().with_extension("lock");
        tokio::task::spawn_blocking(move || {
            loop {
                let file = std::fs::File::create(&path).ok()?;
                file.lock().ok()?;
                // Whoever held it before has taken it away: a lock on it keeps out nobody.
                let (ours, named) = (file.metadata().ok()?, std::fs::metadata(&path).ok());
                if named.is_some_and(|named| (named.dev(), named.ino()) == (ours.dev(), ours.ino())) {
                    return Some(Turn { path, _file: file });
                }
            }
        })
        .await
        .ok()
        .flatten()
    }

    async fn start(&self) -> Result<(), CallError> {
        // A file and not a pipe: the master keeps it open for as long as it lives.
        let words = tempfile::tempfile().and_then(|file| Ok((file.try_clone()?, file)));
        let (stderr, mut words) =
            words.map_err(|error| unreachable("no temporary file for ssh's words", error.to_string(), None))?;
        let mut ssh = self.command();
        ssh.stdin(std::process::Stdio::null())
            .stdout(std::process::Stdio::null())
            .stderr(stderr)
            // Ctrl-C on the terminal is ours to handle.
            .process_group(0)
            .kill_on_drop(true);
        let mut child = ssh.spawn().map_err(|error| {
            unreachable(
                "cannot run `ssh`",
                error.to_string(),
                Some("install an OpenSSH client".to_owned()),
            )
        })?;
        // ssh's own limit is for each step of each hop; this one is for a server that stops in between.
        let limit = Duration::from_secs(u64::from(self.timeout_s) * 2 + 5);
        let ended = tokio::time::timeout(limit, child.wait()).await;
        let mut said = || {
            use std::io::{Read as _, Seek as _};
            let mut said = Vec::new();
            let _ = words.rewind().and_then(|()| words.read_to_end(&mut said));
            String::from_utf8_lossy(&said).trim().to_owned()
        };
        match ended {
            Ok(Ok(status)) if status.success() => Ok(()),
            Ok(_) => Err(classify(&self.target, said())),
            Err(_) => {
                let message = format!("no connection within {} s", limit.as_secs());
                let help = "raise the limit with `--timeout`, or see what `ssh -v` waits for".to_owned();
                Err(unreachable(message, said(), Some(help)))
            }
        }
    }

    fn command(&self) -> Command {
        let mut ssh = Command::new(&self.settings.ssh);
        let target = &self.target;
        ssh.args(["-M", "-N", "-f", "-T", "-S"]).arg(self.socket());
        let mut option = |option: String| {
            ssh.arg("-o").arg(option);
        };
        // The first of two settings wins for ssh: what we rely on, then the user's arguments, then our defaults.
        option("BatchMode=yes".to_owned());
        option("ClearAllForwardings=yes".to_owned());
        option(format!(
            "ControlPersist={}",
            if target.persist_s == 0 {
                ORPHAN_S
            } else {
                target.persist_s
            }
        ));
        ssh.args(&target.args);
        let mut option = |option: String| {
            ssh.arg("-o").arg(option);
        };
        let strict = if target.accept_any_host_key { "no" } else { "yes" };
        option(format!("StrictHostKeyChecking={strict}"));
        if target.accept_any_host_key {
            option("UserKnownHostsFile=/dev/null".to_owned());
        }
        option(format!("ConnectTimeout={}", self.timeout_s));
        option("ServerAliveInterval=5".to_owned());
        option("ServerAliveCountMax=3".to_owned());
        if let Some(port) = target.port {
            ssh.args(["-p", &port.to_string()]);
        }
        if let Some(user) = &target.user {
            ssh.args(["-l", user]);
        }
        if let Some(key) = &target.private_key_file {
            ssh.args(["-i", key]);
        }
        ssh.arg("--").arg(&target.address);
        ssh
    }
}

struct SshPeer {
    master: Master,
}

impl Peer for SshPeer {
    fn call<'a>(&'a mut self, request: &'a Request) -> BoxFuture<'a, Result<Response, CallError>> {
        Box::pin(async move {
            let call = Call::new(request)?;
            // Idle for longer than it persists, it has ended: nothing was sent yet, so another may be started.
            let session = self.master.session();
            let mut shell = match self.open(&session).await {
                Ok(shell) => shell,
                Err(_) => {
                    self.master.ready().await?;
                    self.open(&session).await.map_err(|error| {
                        let said = chain(&error);
                        unreachable("the connection does not take a session", said, Some(many_sessions()))
                    })?
                }
            };
            let streams = (shell.stdin().take(), shell.stdout().take(), shell.stderr().take());
            let (Some(stdin), Some(stdout), Some(stderr)) = streams else {
                return Err(unreachable("the session has no streams", String::new(), None));
            };
            let heard = call.run(stdin, stdout, stderr).await;
            // The stream ended early: with the connection, or because the login would not run a shell?
            let alive = !call.is_complete(&heard) && self.master.is_alive().await;
            call.response(heard, |heard| match (call.began(heard), alive) {
                (false, true) if !heard.silent => no_shell(heard),
                (began, _) => cut(heard, began),
            })
        })
    }

    fn close<'a>(&'a mut self) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            if self.master.target.persist_s == 0 {
                let _ = self.master.session().close().await;
            }
        })
    }
}

impl SshPeer {
    async fn open<'s>(&self, session: &'s Session) -> Result<openssh::Child<&'s Session>, openssh::Error> {
        // The login shell may be any; all understand this.
        let mut command = session.raw_command("exec /bin/sh");
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command.spawn().await
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

fn many_sessions() -> String {
    "the server's `MaxSessions` may be reached".to_owned()
}

fn unreachable(message: impl Into<String>, said: String, help: Option<String>) -> CallError {
    CallError {
        kind: CallErrorKind::Connect,
        message: message.into(),
        said,
        help,
        origin: None,
    }
}

fn no_shell(heard: &Heard) -> CallError {
    let mut said = heard.said.clone();
    if said.is_empty() {
        said = String::from_utf8_lossy(&heard.answer[..heard.answer.len().min(1000)])
            .trim()
            .to_owned();
    }
    CallError {
        kind: CallErrorKind::Shell,
        message: "the host's login does not run `/bin/sh`".to_owned(),
        said,
        help: Some(
            "the user needs a login shell that runs commands; see what `ssh HOST exec /bin/sh -c true` says".to_owned(),
        ),
        origin: None,
    }
}

fn cut(heard: &Heard, began: bool) -> CallError {
    let what = match began {
        true => "in mid-call: what was sent may or may not have been done",
        false => "before the host began to answer",
    };
    CallError {
        kind: CallErrorKind::Lost,
        message: format!("the connection was lost {what}"),
        said: heard.said.clone(),
        help: None,
        origin: None,
    }
}

/// The command line that shows what `ssh` says to a person, as close to ours as matters.
fn by_hand(target: &SshTarget, more: &[&str]) -> String {
    let mut words = vec!["ssh".to_owned()];
    words.extend(more.iter().map(|word| (*word).to_owned()));
    words.extend(target.args.iter().cloned());
    words.extend(["-o", "BatchMode=yes"].map(str::to_owned));
    if let Some(port) = target.port {
        words.extend(["-p".to_owned(), port.to_string()]);
    }
    if let Some(key) = &target.private_key_file {
        words.extend(["-i".to_owned(), key.clone()]);
    }
    words.push(match &target.user {
        Some(user) => format!("{user}@{}", target.address),
        None => target.address.clone(),
    });
    words.push("true".to_owned());
    let plain = |word: &str| {
        word.chars()
            .all(|c| c.is_ascii_alphanumeric() || "-_./=@:,+%".contains(c))
    };
    let quoted = words.iter().map(|word| match shlex::try_quote(word) {
        Ok(quoted) if !plain(word) => quoted.into_owned(),
        _ => word.clone(),
    });
    quoted.collect::<Vec<_>>().join(" ")
}

/// What ssh's own words mean; they are OpenSSH's, in English whatever the locale.
fn classify(target: &SshTarget, said: String) -> CallError {
    let has = |words: &[&str]| words.iter().any(|word| said.contains(word));
    let try_it = || format!("try it: {}", by_hand(target, &[]));
    let name = match target.port {
        Some(port) if port != 22 => format!("[{}]:{port}", target.address),
        _ => target.address.clone(),
    };
    let (kind, message, help) = if has(&["REMOTE HOST IDENTIFICATION HAS CHANGED"]) {
        // `Offending ED25519 key in FILE:LINE`
        let place = said
            .lines()
            .find_map(|line| line.split_once("Offending ").map(|(_, at)| at));
        let file = place.and_then(|at| Some(at.split_once(" key in ")?.1.rsplit_once(':')?.0));
        let forget: Vec<&str> = match file {
            Some(file) => vec!["ssh-keygen", "-f", file, "-R", &name],
            None => vec!["ssh-keygen", "-R", &name],
        };
        // Debian's ssh says how, under the name that the key has there (`HostKeyAlias`).
        let told = said
            .lines()
            .map(str::trim)
            .find(|line| line.starts_with("ssh-keygen -"));
        let forget = told.map_or_else(|| shlex::try_join(forget).unwrap_or_default(), str::to_owned);
        let help = format!("if the host was set up anew: {forget}; then make its new key known");
        (CallErrorKind::HostKey, "the host key has changed", help)
    } else if has(&[
        "Host key verification failed",
        "No matching host key",
        "host key is known for",
    ]) {
        let port = target.port.map(|port| format!("-p {port} ")).unwrap_or_default();
        let help = format!(
            "compare its fingerprint and make it known: ssh-keyscan {port}{} >> ~/.ssh/known_hosts; or trust any key: \
             `ansible_host_key_checking: false`",
            target.address
        );
        (CallErrorKind::HostKey, "the host key is not known", help)
    } else if has(&["not accessible: No such file", "not accessible: Permission denied"])
        && has(&["Permission denied ("])
    {
        let help = "check the key's path: `ansible_ssh_private_key_file`, `--private-key`".to_owned();
        (
            CallErrorKind::Connect,
            "permission denied, and the private key cannot be read",
            help,
        )
    } else if has(&["Permission denied", "Too many authentication failures"]) {
        let help = format!("check user and key: {}", by_hand(target, &[]));
        (CallErrorKind::Connect, "permission denied", help)
    } else if has(&["UNKNOWN port"]) {
        // So ssh calls the far end of a pipe. Of a master it silences the proxy, that has told why.
        let help = format!("see what it says: {}", by_hand(target, &["-S", "none"]));
        let message = "the way through the jump host (`ProxyJump`, `ProxyCommand`) ended early";
        (CallErrorKind::Connect, message, help)
    } else if has(&["Connection refused"]) {
        let help = "is sshd running there, on this port, and does a firewall let it through?".to_owned();
        (CallErrorKind::Connect, "connection refused", help)
    } else if has(&["Could not resolve hostname"]) {
        let help = "check the name, or give the address as `ansible_host`".to_owned();
        (CallErrorKind::Connect, "the host name cannot be resolved", help)
    } else if has(&["timed out", "Timeout, server"]) {
        let help = "is the host up? the limit is `--timeout`".to_owned();
        (CallErrorKind::Connect, "timed out", help)
    } else if has(&["No route to host", "Network is unreachable"]) {
        (CallErrorKind::Connect, "no route to the host", try_it())
    } else if has(&["Connection closed by", "Connection reset by"]) && !has(&["kex_exchange_identification", "banner"])
    {
        let help = "the server let nobody in: see its log, `/etc/nologin`, `AllowUsers` and PAM".to_owned();
        (CallErrorKind::Connect, "the host ended the login", help)
    } else if has(&[
        "Connection closed by",
        "Connection reset by",
        "kex_exchange_identification",
    ]) {
        let help = "the server ended it: too many connections at once (`MaxStartups`), or not an ssh port".to_owned();
        (CallErrorKind::Connect, "the host closed the connection", help)
    } else if has(&[
        "Bad configuration option",
        "unknown option",
        "Bad owner or permissions",
        "command-line line 0",
        "usage: ssh",
    ]) {
        let help = "check ~/.ssh/config and `ansible_ssh_common_args`".to_owned();
        (CallErrorKind::Connect, "ssh does not accept its configuration", help)
    } else {
        (CallErrorKind::Connect, "ssh cannot connect", try_it())
    };
    // Of its large warning what tells something: the fingerprint, and where the old key is written.
    let noise = [
        "@",
        "IT IS POSSIBLE",
        "Someone could be",
        "It is also possible",
        "Please contact",
        "Add correct",
        "remove with:",
        "ssh-keygen -",
    ];
    let telling = |line: &&str| !noise.iter().any(|words| line.trim_start().starts_with(words));
    CallError {
        kind,
        message: message.to_owned(),
        said: said.lines().filter(telling).collect::<Vec<_>>().join("\n"),
        help: Some(help),
        origin: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ends_a_connection_is_told_apart() {
        let said = |words: &str| classify(&SshTarget::default(), words.to_owned()).message;
        let cases = [
            (
                "going down for maintenance\nConnection closed by 10.0.0.1 port 22",
                "the host ended the login",
            ),
            (
                "kex_exchange_identification: read: Connection reset by peer\nConnection reset by 10.0.0.1 port 22",
                "the host closed the connection",
            ),
            (
                "kex_exchange_identification: Connection closed by remote host\nConnection closed by UNKNOWN port 65535",
                "the way through the jump host (`ProxyJump`, `ProxyCommand`) ended early",
            ),
            (
                "Connection timed out during banner exchange\nConnection to 10.0.0.1 port 22 timed out",
                "timed out",
            ),
        ];
        for (words, message) in cases {
            assert_eq!(said(words), message, "{words}");
        }
    }

    #[test]
    fn the_command_to_try_can_be_pasted() {
        let target = SshTarget {
            address: "mq-1".to_owned(),
            port: Some(2222),
            user: Some("deploy".to_owned()),
            private_key_file: Some("/home/me/my keys/id".to_owned()),
            args: vec!["-o".to_owned(), "ProxyCommand=ssh -W %h:%p jump".to_owned()],
            ..SshTarget::default()
        };
        assert_eq!(
            by_hand(&target, &[]),
            "ssh -o 'ProxyCommand=ssh -W %h:%p jump' -o BatchMode=yes -p 2222 -i '/home/me/my keys/id' deploy@mq-1 true"
        );
    }
}
