//! The ssh peer against real servers on loopback, and becoming other users. Needs root: it starts sshd and makes users.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test that cannot go on fails"
)]

#[path = "peer/backend.rs"]
#[expect(dead_code, reason = "tests/peer.rs uses the rest")]
mod backend;
#[path = "peer/sshd.rs"]
mod sshd;

use backend::{Mount, wait_until};
use rmqplay::host::{Content, Observation, Op, Probe, Status};
use rmqplay::transport::{
    CallError, CallErrorKind, Connection, Connector as _, Method, Reply, Request, Response, RunAs, Secret,
    SshConnector, SshTarget, Step, Target,
};
use sshd::{Sshd, target};
use std::process::Command;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}

fn looks() -> Request {
    Request {
        steps: vec![Step::Probe(Probe::exec(["id", "-un"]))],
        ..Request::default()
    }
}

fn call(server: &Sshd, target: &Target, request: &Request) -> Result<Response, CallError> {
    runtime().block_on(async {
        let mut peer = SshConnector::new(server.settings()).connect(target).await?;
        let response = peer.call(request).await;
        peer.close().await;
        response
    })
}

fn said(response: &Response) -> String {
    match &response.replies[0] {
        Reply::Seen(Observation::Exec(result)) => result.stdout.text().trim().to_owned(),
        other => panic!("{other:?}"),
    }
}

fn failure(server: &Sshd, ssh: SshTarget) -> CallError {
    call(server, &target(ssh), &looks()).expect_err("a failure")
}

#[test]
fn an_unknown_host_key_is_refused_with_the_way_out() {
    let server = Sshd::start();
    server.know(std::path::Path::new("/dev/null"));
    let error = failure(&server, server.target());
    assert_eq!(
        (error.kind, error.message.as_str()),
        (CallErrorKind::HostKey, "the host key is not known")
    );
    assert!(error.said.contains("Host key verification failed"), "{error:?}");
    let help = error.help.unwrap();
    assert!(
        help.contains(&format!("ssh-keyscan -p {} 127.0.0.1", server.port)),
        "{help}"
    );
    let any = SshTarget {
        accept_any_host_key: true,
        ..server.target()
    };
    assert_eq!(said(&call(&server, &target(any), &looks()).unwrap()), "root");
}

#[test]
fn a_changed_host_key_is_refused() {
    let server = Sshd::start();
    server.know(&server.path("other_key.pub"));
    let error = failure(&server, server.target());
    assert_eq!(
        (error.kind, error.message.as_str()),
        (CallErrorKind::HostKey, "the host key has changed")
    );
    let known = server.path("known_hosts");
    // As ssh itself writes it, where it does.
    let help = error.help.as_deref().unwrap().replace(['"', '\''], "");
    let forget = format!("ssh-keygen -f {} -R [127.0.0.1]:{}", known.display(), server.port);
    assert!(help.contains(&forget), "{error:?}");
    // What tells most is not lost in what is said around it.
    let beginning: Vec<&str> = error.said.lines().take(3).collect();
    assert!(beginning[1].starts_with("SHA256:"), "{error:?}");
    assert_eq!(beginning[2], format!("Offending ED25519 key in {}:1", known.display()));
}

#[test]
fn refusals_are_told_apart() {
    let server = Sshd::start();
    let with = |change: fn(&mut SshTarget)| {
        let mut ssh = server.target();
        change(&mut ssh);
        failure(&server, ssh).message
    };
    let port = sshd::free_port();
    let mut closed = server.target();
    closed.port = Some(port);
    assert_eq!(failure(&server, closed).message, "connection refused");
    assert_eq!(
        with(|ssh| ssh.address = "no-such-host.invalid".to_owned()),
        "the host name cannot be resolved"
    );
    assert_eq!(
        with(|ssh| ssh.user = Some("no-such-user".to_owned())),
        "permission denied"
    );
    assert_eq!(
        with(|ssh| ssh.args.push("-oNonsense=1".to_owned())),
        "ssh does not accept its configuration"
    );
    let mut other_key = server.target();
    other_key.private_key_file = Some(server.path("other_key").display().to_string());
    let error = failure(&server, other_key);
    assert_eq!(error.message, "permission denied");
    assert!(error.said.contains("Permission denied (publickey"), "{error:?}");
    let tried = format!(
        "-p {} -i {} root@127.0.0.1 true",
        server.port,
        server.path("other_key").display()
    );
    assert!(error.help.unwrap().ends_with(&tried));
    let mut no_key = server.target();
    no_key.private_key_file = Some("/no/such/key".to_owned());
    assert_eq!(
        failure(&server, no_key).message,
        "permission denied, and the private key cannot be read"
    );
    let mut no_way = server.target();
    no_way.args.push("-oProxyCommand=false".to_owned());
    let error = failure(&server, no_way);
    assert!(error.message.starts_with("the way through the jump host"), "{error:?}");
    assert!(
        error.help.unwrap().contains(" -S none "),
        "without a master ssh lets the proxy speak"
    );
}

#[test]
fn a_host_that_never_answers_is_given_up() {
    let server = Sshd::start();
    let deaf = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut ssh = server.target();
    ssh.port = Some(deaf.local_addr().unwrap().port());
    let target = Target {
        connect_timeout_s: 1,
        ..target(ssh)
    };
    let begin = Instant::now();
    let error = call(&server, &target, &looks()).unwrap_err();
    assert_eq!(
        (error.kind, error.message.as_str()),
        (CallErrorKind::Connect, "timed out"),
        "{error:?}"
    );
    assert!(begin.elapsed() < Duration::from_secs(20));
}

#[test]
fn a_connection_dropped_in_mid_call_is_lost() {
    let server = Sshd::start();
    let dir = tempfile::tempdir().unwrap();
    let flag = dir.path().join("runs");
    let request = Request {
        steps: vec![Step::Op(Op::exec(
            ["sh", "-c", ": >\"$0\"; sleep 1000", flag.to_str().unwrap()],
            Default::default(),
        ))],
        op_limit_s: Some(20),
        ..Request::default()
    };
    let error = std::thread::scope(|scope| {
        let call = scope.spawn(|| call(&server, &target(server.target()), &request));
        wait_until("the command runs", || flag.exists());
        // The server's processes for this connection, not its listener.
        let children = std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", server.pid())).unwrap();
        for child in children.split_whitespace() {
            backend::end(child);
        }
        call.join().unwrap().unwrap_err()
    });
    assert_eq!(error.kind, CallErrorKind::Lost, "{error:?}");
    assert!(error.message.contains("mid-call"), "{error:?}");
}

#[test]
fn a_killed_master_is_lost_and_the_next_call_connects_anew() {
    let server = Sshd::start();
    let here = target(server.target());
    runtime().block_on(async {
        let connector = SshConnector::new(server.settings());
        let mut peer = connector.connect(&here).await.unwrap();
        peer.call(&looks()).await.unwrap();
        end_master(&server);
        // Its socket may still lie there, stale.
        let response = peer.call(&looks()).await.unwrap();
        assert_eq!(said(&response), "root");
        let mut again = connector.connect(&here).await.unwrap();
        again.call(&looks()).await.unwrap();
    });
    assert_eq!(server.logins(), 2);
}

/// Kills the ssh process behind the server's control directory, without a chance to tidy up.
fn end_master(server: &Sshd) {
    let dir = server.path("ctl").display().to_string();
    let masters = || {
        let processes = std::fs::read_dir("/proc")
            .unwrap()
            .filter_map(|entry| entry.unwrap().file_name().into_string().ok());
        processes
            .filter(|pid| pid.bytes().all(|b| b.is_ascii_digit()))
            .filter(|pid| {
                let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
                let line = String::from_utf8_lossy(&line).into_owned();
                line.starts_with("ssh") && line.contains(&dir)
            })
            .collect::<Vec<_>>()
    };
    let found = masters();
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(
        Command::new("kill")
            .args(["-KILL", &found[0]])
            .status()
            .unwrap()
            .success()
    );
    wait_until("the master is gone", || masters().is_empty());
}

#[test]
fn a_warm_connection_is_used_again() {
    let server = Sshd::start();
    let here = target(server.target());
    for _ in 0..3 {
        call(&server, &here, &looks()).unwrap();
    }
    assert_eq!(server.logins(), 1, "{}", server.log());
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(server.path("ctl")).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o700);
}

#[test]
fn two_at_once_share_one_connection() {
    let server = Sshd::start();
    let here = target(server.target());
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| call(&server, &here, &looks()).unwrap());
        }
    });
    assert_eq!(server.logins(), 1, "{}", server.log());
    let locks = std::fs::read_dir(server.path("ctl")).unwrap();
    assert_eq!(locks.count(), 1, "the socket, and no lock that nobody holds");
}

#[test]
fn a_connection_that_does_not_persist_ends_with_the_run() {
    let server = Sshd::start();
    let ssh = SshTarget {
        persist_s: 0,
        ..server.target()
    };
    call(&server, &target(ssh.clone()), &looks()).unwrap();
    wait_until("the connection ends", || {
        server.log().contains("Disconnected from user root") || server.log().contains("Received disconnect")
    });
    call(&server, &target(ssh), &looks()).unwrap();
    assert_eq!(server.logins(), 2);
}

#[test]
fn login_shells_and_banners_do_not_matter() {
    let banner = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&banner, "Authorised use only!\n'\"`$(\n").unwrap();
    for shell in ["/usr/bin/fish", "/usr/bin/zsh", "/bin/bash", "/bin/dash"] {
        let user = User::new("shell", "", Some(shell));
        let server = Sshd::with(&format!("Banner {}", banner.path().display()));
        std::fs::write(user.home().join(".bashrc"), "echo noise from bashrc\n").unwrap();
        std::fs::create_dir_all(user.home().join(".config/fish")).unwrap();
        std::fs::write(user.home().join(".config/fish/config.fish"), "echo noise from fish\n").unwrap();
        std::fs::write(user.home().join(".zshenv"), "echo noise from zsh\n").unwrap();
        let ssh = SshTarget {
            user: Some(user.name.clone()),
            ..server.target()
        };
        let response = call(&server, &target(ssh), &looks()).unwrap_or_else(|error| panic!("{shell}: {error:?}"));
        assert_eq!(said(&response), user.name, "{shell}");
    }
}

#[test]
fn a_login_that_runs_no_commands_is_told_so() {
    let server = Sshd::with("ForceCommand echo this account is for backups only");
    let error = failure(&server, server.target());
    assert_eq!(error.kind, CallErrorKind::Shell, "{error:?}");
    assert!(error.said.contains("backups only"), "{error:?}");
}

#[test]
fn a_full_disk_fails_the_write_and_nothing_else() {
    let server = Sshd::start();
    let dir = tempfile::tempdir().unwrap();
    let _small = Mount::tmpfs(dir.path(), "64k");
    let path = dir.path().join("f").display().to_string();
    let write = |content: Content| Op::Write {
        path: path.clone(),
        content,
        mode: None,
        owner: None,
        group: None,
        guard: None,
        backup: None,
        validate: None,
    };
    let steps = vec![
        Step::Op(write(Content::from("fits"))),
        Step::Op(write(Content::from(vec![b'x'; 200_000]))),
    ];
    let request = Request {
        steps,
        ..Request::default()
    };
    let response = call(&server, &target(server.target()), &request).unwrap();
    match &response.replies[1] {
        Reply::Did(outcome) => {
            assert!(
                matches!(&outcome.status, Status::Failed(text) if text.contains("No space left on device")),
                "{outcome:?}"
            );
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(std::fs::read(dir.path().join("f")).unwrap(), b"fits");
    assert_eq!(
        std::fs::read_dir(dir.path()).unwrap().count(),
        1,
        "no temporary file is left"
    );
}

#[test]
fn a_full_place_for_temporary_files_is_passed_over_and_left_clean() {
    let dir = tempfile::tempdir().unwrap();
    let _small = Mount::tmpfs(dir.path(), "16k");
    std::fs::write(dir.path().join("fill"), vec![b'x'; 64 * 1024]).expect_err("it is full");
    let server = Sshd::with(&format!("SetEnv TMPDIR={}", dir.path().display()));
    assert_eq!(
        said(&call(&server, &target(server.target()), &looks()).unwrap()),
        "root"
    );
    let left: Vec<_> = std::fs::read_dir(dir.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(left, ["fill"]);
}

// ---- becoming another user

/// A user of this machine, gone with the value.
struct User {
    name: String,
    sudoers: std::path::PathBuf,
}

impl User {
    fn new(what: &str, password: &str, shell: Option<&str>) -> User {
        // One at a time: useradd locks the password file.
        static TURN: std::sync::Mutex<()> = std::sync::Mutex::new(());
        let _turn = TURN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let name = format!("rmqt{}{what}", std::process::id() % 100_000);
        let user = User {
            sudoers: format!("/etc/sudoers.d/{name}").into(),
            name: name.clone(),
        };
        user.remove();
        let made = Command::new("useradd")
            .args(["-m", "-s", shell.unwrap_or("/bin/bash"), &name])
            .status()
            .unwrap();
        assert!(made.success(), "this test makes users: run it as root");
        // An unusable hash and not a locked account, which sshd would refuse.
        let set = match password {
            "" => Command::new("usermod").args(["-p", "*", &name]).status(),
            password => {
                let script = "printf '%s:%s\\n' \"$1\" \"$2\" | chpasswd";
                Command::new("sh").args(["-c", script, "sh", &name, password]).status()
            }
        };
        assert!(set.unwrap().success());
        user
    }

    fn home(&self) -> std::path::PathBuf {
        format!("/home/{}", self.name).into()
    }

    fn sudoers(&self, rule: &str) {
        std::fs::write(&self.sudoers, format!("{} {rule}\n", self.name)).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o440);
        std::fs::set_permissions(&self.sudoers, mode).unwrap();
    }

    fn remove(&self) {
        let _ = std::fs::remove_file(&self.sudoers);
        let _ = Command::new("userdel")
            .args(["-r", "-f", &self.name])
            .stderr(std::process::Stdio::null())
            .status();
    }
}

impl Drop for User {
    fn drop(&mut self) {
        self.remove();
    }
}

static SERVER: LazyLock<Sshd> = LazyLock::new(Sshd::start);

const PASSWORD: &str = "it's a $(hard) \"one\" \\ é";

fn as_user(login: &str, run_as: RunAs) -> Result<Response, CallError> {
    let ssh = SshTarget {
        user: Some(login.to_owned()),
        ..SERVER.target()
    };
    let request = Request {
        run_as: Some(run_as),
        ..looks()
    };
    call(&SERVER, &target(ssh), &request)
}

fn by(method: Method, user: &str, password: Option<&str>) -> RunAs {
    RunAs {
        method,
        user: user.to_owned(),
        password: password.map(|password| Secret(password.to_owned())),
        flags: None,
    }
}

fn why(result: Result<Response, CallError>) -> String {
    let error = result.expect_err("a refusal");
    assert_eq!(error.kind, CallErrorKind::Become, "{error:?}");
    assert!(!format!("{error:?}").contains(PASSWORD));
    error.message
}

#[test]
fn sudo_without_a_password() {
    let (user, other) = (
        User::new("free", "", None),
        User::new("other", "", Some("/usr/sbin/nologin")),
    );
    user.sudoers("ALL=(ALL) NOPASSWD: ALL");
    for password in [None, Some("not asked for")] {
        assert_eq!(
            said(&as_user(&user.name, by(Method::Sudo, "root", password)).unwrap()),
            "root",
            "{password:?}"
        );
        assert_eq!(
            said(&as_user(&user.name, by(Method::Sudo, &other.name, password)).unwrap()),
            other.name
        );
    }
    assert_eq!(
        why(as_user(&user.name, by(Method::Sudo, "no-such-user", None))),
        "sudo: there is no user `no-such-user` on the host"
    );
}

#[test]
fn sudo_with_a_password() {
    let user = User::new("pass", PASSWORD, None);
    user.sudoers("ALL=(ALL) ALL");
    assert_eq!(
        said(&as_user(&user.name, by(Method::Sudo, "root", Some(PASSWORD))).unwrap()),
        "root"
    );
    assert_eq!(
        said(&as_user(&user.name, by(Method::Sudo, "daemon", Some(PASSWORD))).unwrap()),
        "daemon"
    );
    let wrong = as_user(&user.name, by(Method::Sudo, "root", Some("wrong")));
    assert!(
        wrong
            .as_ref()
            .unwrap_err()
            .said
            .contains("1 incorrect password attempt"),
        "tried once: {wrong:?}"
    );
    assert_eq!(why(wrong), "wrong password for sudo to become `root`");
    assert_eq!(
        why(as_user(&user.name, by(Method::Sudo, "root", None))),
        "sudo wants a password to become `root`, and none was given"
    );
}

#[test]
fn sudo_refusals() {
    let user = User::new("refused", PASSWORD, None);
    assert_eq!(
        why(as_user(&user.name, by(Method::Sudo, "root", Some(PASSWORD)))),
        "the user may not become `root` by sudo"
    );
    user.sudoers("ALL=(daemon) NOPASSWD: ALL");
    assert_eq!(
        said(&as_user(&user.name, by(Method::Sudo, "daemon", None)).unwrap()),
        "daemon"
    );
    assert_eq!(
        why(as_user(&user.name, by(Method::Sudo, "root", Some(PASSWORD)))),
        "the user may not become `root` by sudo"
    );
    std::fs::write(
        &user.sudoers,
        format!("Defaults:{0} requiretty\n{0} ALL=(ALL) NOPASSWD: ALL\n", user.name),
    )
    .unwrap();
    assert_eq!(
        why(as_user(&user.name, by(Method::Sudo, "root", None))),
        "sudo wants a terminal (`requiretty`)"
    );
}

#[test]
fn su_with_and_without_a_password() {
    let (user, other) = (
        User::new("su", "", None),
        User::new("sued", PASSWORD, Some("/usr/bin/fish")),
    );
    assert_eq!(
        said(&as_user(&user.name, by(Method::Su, &other.name, Some(PASSWORD))).unwrap()),
        other.name
    );
    assert_eq!(
        said(&as_user("root", by(Method::Su, &other.name, None)).unwrap()),
        other.name
    );
    assert_eq!(
        said(&as_user("root", by(Method::Su, &other.name, Some("not asked for"))).unwrap()),
        other.name
    );
    assert_eq!(
        why(as_user(&user.name, by(Method::Su, &other.name, Some("wrong")))),
        format!("wrong password for su to become `{}`", other.name)
    );
    assert_eq!(
        why(as_user(&user.name, by(Method::Su, &other.name, None))),
        format!("su wants a password to become `{}`, and none was given", other.name)
    );
    assert_eq!(
        why(as_user("root", by(Method::Su, "no-such-user", None))),
        "su: there is no user `no-such-user` on the host"
    );
}

#[test]
fn become_flags_and_large_scripts() {
    let user = User::new("large", PASSWORD, None);
    user.sudoers("ALL=(ALL) ALL");
    let path = user.home().join("large").display().to_string();
    let content = Content::from(vec![b'\''; 1_000_000]);
    let write = Op::Write {
        path: path.clone(),
        content: content.clone(),
        mode: Some(0o600),
        owner: None,
        group: None,
        guard: None,
        backup: None,
        validate: None,
    };
    let request = Request {
        run_as: Some(RunAs {
            flags: Some(vec!["-n".to_owned(), "-H".to_owned()]),
            ..by(Method::Sudo, "root", Some(PASSWORD))
        }),
        steps: vec![Step::Op(write), Step::Probe(Probe::exec(["sh", "-c", "echo $HOME"]))],
        ..Request::default()
    };
    let ssh = SshTarget {
        user: Some(user.name.clone()),
        ..SERVER.target()
    };
    let response = call(&SERVER, &target(ssh), &request).unwrap();
    assert!(
        matches!(&response.replies[1], Reply::Seen(Observation::Exec(r)) if r.stdout.text() == "/root\n"),
        "{response:?}"
    );
    assert!(std::fs::read(path).unwrap() == content.as_bytes());
}

#[test]
fn this_machine_can_become_too() {
    let host = backend::dash();
    let request = Request {
        run_as: Some(by(Method::Sudo, "daemon", None)),
        ..looks()
    };
    assert_eq!(said(&host.call(request).unwrap()), "daemon");
}

/// An answer for a user who may not look: not `absent`.
#[test]
fn no_permission_is_not_absence() {
    let user = User::new("plain", "", None);
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("f"), "x").unwrap();
    std::fs::set_permissions(dir.path(), std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    let path = |name: &str| dir.path().join(name).display().to_string();
    let secret = user.home().join("unreadable");
    std::fs::write(&secret, "x").unwrap();
    std::fs::set_permissions(&secret, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let probes = [
        Probe::stat(path("f")),
        Probe::stat(path("none")),
        Probe::read(path("f")),
        Probe::Hash {
            path: path("f").into(),
            algorithm: "sha256".to_owned(),
        },
        Probe::read(secret.display().to_string()),
        Probe::stat(secret.display().to_string()),
        Probe::stat("/nowhere/at/all"),
    ];
    let request = Request {
        steps: probes.into_iter().map(Step::Probe).collect(),
        ..Request::default()
    };
    let ssh = SshTarget {
        user: Some(user.name.clone()),
        ..SERVER.target()
    };
    let replies = call(&SERVER, &target(ssh), &request).unwrap().replies;
    for reply in &replies[..5] {
        assert!(
            matches!(reply, Reply::Seen(Observation::Failed(text)) if text.contains("Permission denied")),
            "{replies:?}"
        );
    }
    assert!(
        matches!(&replies[5], Reply::Seen(Observation::Stat(Some(_)))),
        "{replies:?}"
    );
    assert_eq!(replies[6], Reply::Seen(Observation::Stat(None)));
}

#[test]
fn connection_local_is_not_ssh() {
    let server = Sshd::start();
    let target = Target {
        connection: Connection::Local,
        ..target(server.target())
    };
    assert!(call(&server, &target, &looks()).is_err());
}
