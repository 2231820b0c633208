//! Back ends of the conformance suite, and what its cases need of this machine.

use rmqplay::host::{Observation, Op, Outcome, Probe, Stat};
use rmqplay::transport::{CallError, Connection, Connector, LocalConnector, Reply, Request, Response, Step, Target};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

pub struct Backend {
    connector: Box<dyn Connector>,
    target: Target,
    busybox: bool,
}

pub fn shell(shell: &[&str]) -> Backend {
    local(LocalConnector {
        shell: shell.iter().map(|word| (*word).to_owned()).collect(),
        path: None,
    })
}

pub fn with_path(path: &Path) -> Backend {
    local(LocalConnector {
        path: Some(path.to_owned()),
        ..LocalConnector::default()
    })
}

fn local(connector: LocalConnector) -> Backend {
    Backend {
        connector: Box::new(connector),
        target: Target {
            name: "here".to_owned(),
            connection: Connection::Local,
            connect_timeout_s: 10,
            origin: None,
        },
        busybox: false,
    }
}

pub fn dash() -> Backend {
    shell(&["dash"])
}

pub fn bash() -> Backend {
    shell(&["bash"])
}

/// busybox's shell, and its tools before all others.
pub fn busybox() -> Backend {
    static TOOLS: std::sync::LazyLock<PathBuf> = std::sync::LazyLock::new(|| {
        let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("busybox");
        std::fs::create_dir_all(&dir).unwrap();
        let busybox = PathBuf::from("/bin/busybox");
        let list = Command::new(&busybox)
            .arg("--list")
            .output()
            .expect("busybox is installed")
            .stdout;
        for applet in String::from_utf8(list).unwrap().lines().chain(["busybox"]) {
            match std::os::unix::fs::symlink(&busybox, dir.join(applet)) {
                Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => panic!("{applet}: {error}"),
                _ => {}
            }
        }
        dir
    });
    Backend {
        busybox: true,
        ..local(LocalConnector {
            shell: vec!["/bin/busybox".to_owned(), "sh".to_owned()],
            path: Some(TOOLS.clone()),
        })
    }
}

/// A real sshd on loopback, one for the whole suite.
pub fn ssh() -> Backend {
    static SERVER: std::sync::LazyLock<crate::sshd::Sshd> = std::sync::LazyLock::new(crate::sshd::Sshd::start);
    let (connector, target) = SERVER.reach();
    Backend {
        connector: Box::new(connector),
        target,
        busybox: false,
    }
}

impl Backend {
    pub fn call(&self, request: Request) -> Result<Response, CallError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let mut peer = self.connector.connect(&self.target).await?;
            let response = peer.call(&request).await;
            peer.close().await;
            response
        })
    }

    pub fn look(&self, probes: impl IntoIterator<Item = Probe>) -> Vec<Observation> {
        let steps = probes.into_iter().map(Step::Probe).collect();
        let response = self
            .call(Request {
                steps,
                ..Request::default()
            })
            .unwrap();
        let seen = |reply| match reply {
            Reply::Seen(observation) => observation,
            Reply::Did(outcome) => panic!("{outcome:?} for a probe"),
        };
        response.replies.into_iter().map(seen).collect()
    }

    pub fn act(&self, ops: impl IntoIterator<Item = Op>) -> Vec<Outcome> {
        let steps = ops.into_iter().map(Step::Op).collect();
        let response = self
            .call(Request {
                steps,
                ..Request::default()
            })
            .unwrap();
        let did = |reply| match reply {
            Reply::Did(outcome) => outcome,
            Reply::Seen(observation) => panic!("{observation:?} for an op"),
        };
        response.replies.into_iter().map(did).collect()
    }

    pub fn stat(&self, path: &str) -> Option<Stat> {
        match &self.look([Probe::stat(path)])[0] {
            Observation::Stat(stat) => stat.as_deref().cloned(),
            other => panic!("{path}: {other:?}"),
        }
    }

    pub fn read(&self, path: &str) -> Observation {
        self.look([Probe::read(path)]).remove(0)
    }

    pub fn is_busybox(&self) -> bool {
        self.busybox
    }
}

/// A directory of a case, gone after it.
pub struct Scratch(tempfile::TempDir);

impl Scratch {
    pub fn new(_: &Backend) -> Scratch {
        Scratch(tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap())
    }

    /// As the host sees it.
    pub fn at(&self, name: &str) -> String {
        format!("{}/{name}", self.0.path().display())
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn file(&self, name: &str, content: &[u8], mode: u32) {
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::write(self.path(name), content).unwrap();
        std::fs::set_permissions(self.path(name), std::fs::Permissions::from_mode(mode)).unwrap();
    }

    pub fn list(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.0.path()).unwrap();
        let mut names: Vec<_> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

/// A mount that goes with its value. Needs root.
pub struct Mount(PathBuf);

impl Mount {
    pub fn bind(from: &Path, to: &Path) -> Mount {
        Mount::new(Command::new("mount").arg("--bind").arg(from).arg(to), to)
    }

    #[allow(dead_code, reason = "each suite uses its part")]
    pub fn tmpfs(to: &Path, size: &str) -> Mount {
        Mount::new(
            Command::new("mount")
                .args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"])
                .arg(to),
            to,
        )
    }

    fn new(mount: &mut Command, to: &Path) -> Mount {
        assert!(mount.status().unwrap().success(), "this test mounts: run it as root");
        Mount(to.to_owned())
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

pub fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !holds() {
        assert!(begin.elapsed() < Duration::from_secs(30), "{what}: not within 30 s");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A process that is not a zombie.
pub fn is_alive(pid: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(')')
        .next()
        .is_some_and(|rest| !rest.is_empty() && !rest.trim_start().starts_with('Z'))
}

pub fn end(pid: &str) {
    assert!(Command::new("kill").arg(pid).status().unwrap().success());
}

/// Sets an extended attribute; what [`xattr`] then gives.
pub fn set_xattr(path: &Path) -> String {
    python("import os, sys; os.setxattr(sys.argv[1], 'user.kept', b'yes')", path);
    xattr(path)
}

pub fn xattr(path: &Path) -> String {
    python("import os, sys; print(os.getxattr(sys.argv[1], 'user.kept'))", path)
}

fn python(program: &str, path: &Path) -> String {
    let output = Command::new("python3")
        .args(["-c", program])
        .arg(path)
        .output()
        .expect("python3 is installed");
    String::from_utf8_lossy(if output.status.success() {
        &output.stdout
    } else {
        &output.stderr
    })
    .into_owned()
}
