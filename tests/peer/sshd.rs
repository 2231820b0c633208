//! A real sshd on loopback with keys and configuration of its own; needs root.

use rmqplay::transport::{Connection, SshConnector, SshSettings, SshTarget, Target};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

pub struct Sshd {
    dir: tempfile::TempDir,
    child: Child,
    pub port: u16,
}

impl Sshd {
    pub fn start() -> Sshd {
        Sshd::with("")
    }

    /// `config` goes before the rest, and so wins.
    pub fn with(config: &str) -> Sshd {
        // A short path: it holds control sockets.
        let dir = tempfile::Builder::new().prefix("rmq").tempdir_in("/tmp").unwrap();
        let at = |name: &str| dir.path().join(name);
        for key in ["host_key", "id", "other_key"] {
            key_pair(&at(key));
        }
        std::fs::copy(at("id.pub"), at("authorized_keys")).unwrap();
        // Privilege separation needs it; only its own service would make it.
        std::fs::create_dir_all("/run/sshd").unwrap();
        let port = free_port();
        let text = format!(
            "{config}\nListenAddress 127.0.0.1:{port}\nHostKey {host_key}\nAuthorizedKeysFile {keys}\nStrictModes no\nUsePAM no\n\
             PasswordAuthentication no\nPermitRootLogin yes\nPidFile none\nLogLevel VERBOSE\nMaxStartups 200:30:400\nMaxSessions 50\n",
            host_key = at("host_key").display(),
            keys = at("authorized_keys").display(),
        );
        std::fs::write(at("sshd_config"), text).unwrap();
        // Ends with this process, however that ends: statics are not dropped.
        let child = Command::new("sh")
            .args(["-c", "/usr/sbin/sshd -D -f \"$1/sshd_config\" -E \"$1/log\" </dev/null & echo $! >\"$1/pid\"; read -r _; kill $!; rm -rf \"$1\""])
            .arg("sh")
            .arg(dir.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("sh runs");
        let sshd = Sshd { dir, child, port };
        sshd.know(&sshd.path("host_key.pub"));
        let begin = Instant::now();
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(
                begin.elapsed() < Duration::from_secs(30),
                "sshd does not listen (is it installed, is this root?): {}",
                sshd.log()
            );
            std::thread::sleep(Duration::from_millis(10));
        }
        sshd
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    pub fn pid(&self) -> String {
        std::fs::read_to_string(self.path("pid")).unwrap().trim().to_owned()
    }

    /// Connections whose user was let in so far.
    pub fn logins(&self) -> usize {
        self.log().matches("Accepted publickey").count()
    }

    /// Makes this key the host's known one; an empty file knows none.
    pub fn know(&self, key: &Path) {
        let key = std::fs::read_to_string(key).unwrap_or_default();
        let line = match key.is_empty() {
            true => String::new(),
            false => format!("[127.0.0.1]:{} {key}", self.port),
        };
        std::fs::write(self.path("known_hosts"), line).unwrap();
    }

    pub fn settings(&self) -> SshSettings {
        SshSettings {
            control_dir: self.path("ctl"),
            ..SshSettings::from_env()
        }
    }

    pub fn target(&self) -> SshTarget {
        let known = format!("UserKnownHostsFile={}", self.path("known_hosts").display());
        let args = [
            "-F",
            "/dev/null",
            "-o",
            &known,
            "-o",
            "GlobalKnownHostsFile=/dev/null",
            "-o",
            "IdentitiesOnly=yes",
            "-o",
            "IdentityAgent=none",
        ];
        SshTarget {
            address: "127.0.0.1".to_owned(),
            port: Some(self.port),
            user: Some("root".to_owned()),
            private_key_file: Some(self.path("id").display().to_string()),
            args: args.map(str::to_owned).to_vec(),
            accept_any_host_key: false,
            persist_s: 10,
        }
    }

    pub fn reach(&self) -> (SshConnector, Target) {
        (SshConnector::new(self.settings()), target(self.target()))
    }
}

pub fn target(ssh: SshTarget) -> Target {
    Target {
        name: "there".to_owned(),
        connection: Connection::Ssh(ssh),
        connect_timeout_s: 20,
        origin: None,
    }
}

pub fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

fn key_pair(path: &Path) {
    let made = Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-f"])
        .arg(path)
        .status();
    assert!(made.expect("ssh-keygen is installed").success());
}

impl Drop for Sshd {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}
