//! The scripts of modules on this machine, under each shell and with busybox's tools alone: what they print must be
//! what the modules read.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use base64::Engine as _;
use rmqplay::host::{Content, ExecResult, FileKind, Observation, Op, Outcome, Probe, Stat, Status};
use rmqplay::modules::{Action, ArgError, Change, Decision, Failure, Kind, Prepare, Report, Seen, coerce, find};
use rmqplay::template::FileOptions;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

struct Shell {
    name: &'static str,
    /// In place of `sh`.
    argv: &'static [&'static str],
    path: String,
    _applets: Option<tempfile::TempDir>,
}

fn shells() -> Vec<Shell> {
    let path = std::env::var("PATH").unwrap();
    let plain = |name, argv| Shell {
        name,
        argv,
        path: path.clone(),
        _applets: None,
    };
    let applets = tempfile::tempdir().unwrap();
    let done = Command::new("busybox")
        .args(["--install", "-s"])
        .arg(applets.path())
        .status()
        .expect("busybox is needed");
    assert!(done.success());
    vec![
        plain("dash", &["dash"]),
        plain("bash", &["bash"]),
        Shell {
            name: "busybox",
            argv: &["busybox", "sh"],
            path: applets.path().to_string_lossy().into_owned(),
            _applets: Some(applets),
        },
    ]
}

impl Shell {
    fn run(&self, argv: &[String]) -> ExecResult {
        let (program, rest) = argv.split_first().unwrap();
        let argv: Vec<&str> = match program.as_str() {
            "sh" => self
                .argv
                .iter()
                .copied()
                .chain(rest.iter().map(String::as_str))
                .collect(),
            _ => argv.iter().map(String::as_str).collect(),
        };
        let program = if self.name == "busybox" && argv[0] == "busybox" {
            "/usr/bin/busybox"
        } else {
            argv[0]
        };
        let output = Command::new(program)
            .args(&argv[1..])
            .env("PATH", &self.path)
            .env("LC_ALL", "C")
            .stdin(Stdio::null())
            .output()
            .unwrap_or_else(|e| panic!("{argv:?}: {e}"));
        ExecResult {
            rc: output.status.code().unwrap_or(128),
            stdout: Content::from(output.stdout),
            stderr: Content::from(output.stderr),
            ..ExecResult::default()
        }
    }

    fn observe(&self, probe: &Probe) -> Observation {
        match probe {
            Probe::Stat { path, follow } => Observation::Stat(stat(Path::new(path), *follow)),
            Probe::Read { path, .. } => Observation::Content(std::fs::read(path).ok().map(Content::from)),
            Probe::Hash { path, .. } => {
                Observation::Text(std::fs::read(path).ok().map(|bytes| Content::from(bytes).sha1()))
            }
            Probe::Exec { argv, .. } => Observation::Exec(self.run(argv)),
            other => panic!("not needed here: {other:?}"),
        }
    }

    fn decide(&self, action: &dyn Action) -> Decision {
        let source = |probe: &Probe| Some(self.observe(probe));
        action
            .decide(&Seen::new(&source))
            .unwrap_or_else(|stop| panic!("{}: {stop:?}", self.name))
    }

    fn wait(&self, args: Value) -> Result<Report, Failure> {
        let action = action("wait_for", args);
        let change = Change::new(Vec::new(), Vec::new(), Report::new());
        // A port is not looked at here: what is wanted is the loop.
        let source = |probe: &Probe| {
            Some(match probe {
                Probe::Tcp { .. } => Observation::Failed("not looked at".to_owned()),
                Probe::Stat { .. } => Observation::Failed("not looked at".to_owned()),
                _ => Observation::Content(None),
            })
        };
        let Ok(Decision::Change(wait)) = action.decide(&Seen::new(&source)) else {
            panic!("no wait")
        };
        let [Op::Exec(exec)] = &wait.ops[..] else {
            panic!("not one command: {:?}", wait.ops)
        };
        let outcome = Outcome {
            status: Status::Done,
            exec: Some(self.run(&exec.argv)),
        };
        action.finish(&change, &[outcome])
    }
}

fn stat(path: &Path, follow: bool) -> Option<Stat> {
    let meta = if follow {
        std::fs::metadata(path)
    } else {
        std::fs::symlink_metadata(path)
    }
    .ok()?;
    let kind = match meta.file_type() {
        t if t.is_dir() => FileKind::Directory,
        t if t.is_symlink() => FileKind::Link,
        _ => FileKind::File,
    };
    Some(Stat {
        kind,
        mode: meta.mode() & 0o7777,
        uid: meta.uid(),
        gid: meta.gid(),
        owner: "root".to_owned(),
        group: "root".to_owned(),
        size: meta.size(),
        mtime: meta.mtime(),
        atime: meta.atime(),
        ctime: meta.ctime(),
        inode: meta.ino(),
        dev: meta.dev(),
        nlink: meta.nlink(),
        target: std::fs::read_link(path).ok().map(|t| t.to_string_lossy().into_owned()),
    })
}

struct Controller;

impl Prepare for Controller {
    fn file(&self, _: &str) -> Result<(String, Vec<u8>), ArgError> {
        Err(ArgError::task("no file is needed"))
    }
    fn tree(&self, _: &str) -> Result<(String, Vec<String>), ArgError> {
        Err(ArgError::task("no tree is needed"))
    }
    fn template(&self, _: &str, _: &FileOptions, _: &str) -> Result<Vec<u8>, ArgError> {
        Err(ArgError::task("no template is needed"))
    }
    fn now(&self) -> &str {
        "2026-11-22T14:02:11Z"
    }
    fn check_mode(&self) -> bool {
        false
    }
    fn environment(&self) -> BTreeMap<String, String> {
        BTreeMap::new()
    }
    fn variable(&self, _: &str) -> Result<Option<Value>, ArgError> {
        Ok(None)
    }
}

fn action(module: &str, args: Value) -> Box<dyn Action> {
    let spec = find(module).unwrap();
    let Kind::Host(prepare) = spec.kind else {
        panic!("`{module}` is done by the engine")
    };
    let args = coerce(spec, args.as_object().unwrap()).unwrap();
    prepare(&args, &Controller).unwrap_or_else(|e| panic!("{}", e.message))
}

fn file(directory: &Path, name: &str, text: &str, mode: u32) -> PathBuf {
    let path = directory.join(name);
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
    path
}

#[test]
fn stat_tells_of_access_and_links() {
    for shell in shells() {
        let directory = tempfile::tempdir().unwrap();
        let target = file(directory.path(), "it's a file", "x\n", 0o755);
        let link = directory.path().join("link");
        symlink("it's a file", &link).unwrap();
        let Decision::Keep(report) = shell.decide(&*action("stat", json!({ "path": link }))) else {
            panic!()
        };
        let stat = &report.values["stat"];
        let canonical = target.canonicalize().unwrap();
        assert_eq!(stat["lnk_source"], json!(canonical), "{}", shell.name);
        assert_eq!(stat["lnk_target"], json!("it's a file"), "{}", shell.name);
        let Decision::Keep(report) = shell.decide(&*action("stat", json!({ "path": target }))) else {
            panic!()
        };
        let stat = &report.values["stat"];
        for key in ["readable", "writeable", "executable"] {
            assert_eq!(stat[key], json!(true), "{}: {key}", shell.name);
        }
        assert_eq!(stat["mode"], json!("0755"));
    }
}

#[test]
fn recurse_finds_what_differs() {
    for shell in shells() {
        for (mode, file_after, directory_after) in [("0700", 0o700, 0o700), ("u=rwX,go=", 0o600, 0o700)] {
            let directory = tempfile::tempdir().unwrap();
            let below = directory.path().join("sub dir");
            std::fs::create_dir(&below).unwrap();
            std::fs::set_permissions(&below, std::fs::Permissions::from_mode(0o755)).unwrap();
            let path = file(&below, "it's one", "x", 0o640);
            let right = file(&below, "right", "x", file_after);
            symlink("nowhere", below.join("dangling")).unwrap();
            let args = json!({ "path": directory.path(), "state": "directory", "recurse": true, "mode": mode });
            let task = action("file", args);
            let Decision::Change(change) = shell.decide(&*task) else {
                panic!("{}: nothing to do", shell.name)
            };
            let mut touched = Vec::new();
            for op in &change.ops {
                let Op::Chmod { path, mode } = op else { panic!("{op:?}") };
                touched.push(path.clone());
                std::fs::set_permissions(path, std::fs::Permissions::from_mode(*mode)).unwrap();
            }
            assert!(!touched.contains(&right.to_string_lossy().into_owned()), "{touched:?}");
            assert_eq!(stat(&path, true).unwrap().mode, file_after, "{}", shell.name);
            assert_eq!(stat(&below, true).unwrap().mode, directory_after, "{}", shell.name);
            assert!(matches!(shell.decide(&*task), Decision::Keep(_)), "{}", shell.name);
        }
    }
}

#[test]
fn waiting_for_files() {
    for shell in shells() {
        let directory = tempfile::tempdir().unwrap();
        let log = file(
            directory.path(),
            "a log",
            "start\nready in 12 s\nready in 13 s\n",
            0o644,
        );
        let report = shell
            .wait(json!({ "path": log, "search_regex": r"^ready in (\d+) s$" }))
            .unwrap();
        assert_eq!(report.values["match_groups"], json!(["12"]), "{}", shell.name);
        shell.wait(json!({ "path": log })).unwrap();
        let never = json!({ "path": log, "state": "absent", "timeout": 0 });
        assert!(shell.wait(never).unwrap_err().msg.contains("in vain"), "{}", shell.name);
        let never = json!({ "path": log, "search_regex": "stopped", "timeout": 0, "msg": "own words" });
        assert_eq!(shell.wait(never).unwrap_err().msg, "own words", "{}", shell.name);
    }
}

#[test]
fn waiting_for_ports() {
    // busybox comes without bash here, and its nc may lack what is needed: hosts like that are told so by the module.
    for shell in shells().into_iter().filter(|s| s.name != "busybox") {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        shell.wait(json!({ "port": port })).unwrap();
        let never = json!({ "port": port, "state": "stopped", "timeout": 0 });
        assert!(shell.wait(never).is_err(), "{}", shell.name);
        drop(listener);
        shell.wait(json!({ "port": port, "state": "stopped" })).unwrap();
        let never = json!({ "port": port, "timeout": 0 });
        assert!(shell.wait(never).is_err(), "{}", shell.name);

        // A server that says who it is, and keeps the connection.
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.write_all(b"220 ready\r\nSSH-2.0-OpenSSH_9.2\r\n").unwrap();
            let mut rest = Vec::new();
            let _ = std::io::Read::read_to_end(&mut stream, &mut rest);
        });
        let report = shell
            .wait(json!({ "port": port, "search_regex": r"(Open\w+)_9" }))
            .unwrap();
        assert_eq!(report.values["match_groups"], json!(["OpenSSH"]), "{}", shell.name);
        server.join().unwrap();
    }
}

/// The node's verdict on a file comes as the last binary it prints, in several lines, behind what it logs.
#[test]
fn the_nodes_verdict_is_read() {
    let validate = rmqplay::rabbitmq::conf::node::validate("/etc/rabbitmq/rabbitmq.conf");
    let encode = |text: &str| base64::engine::general_purpose::STANDARD.encode(text);
    let bad = encode("rmqplay\nbad\tno such key: x\nbad\tno such file\n");
    let (front, back) = bad.split_at(20);
    for shell in shells() {
        for (rc, printed, expected) in [
            (0, format!("<<\"{}\">>\n", encode("rmqplay\n")), Ok(())),
            (
                0,
                format!("12:00 [error] <<\"a\">>\n<<\"{front}\"\n  \"{back}\">>\n"),
                Err("no such key: x\nno such file\n"),
            ),
            (0, "{something, else}\n".to_owned(), Err("{something, else}\n")),
            (69, "Error: no node\n".to_owned(), Err("Error: no node\n")),
        ] {
            let mut argv = validate[..4].to_vec();
            argv.extend(
                [
                    "sh",
                    "-c",
                    "printf %s \"$1\"; exit \"$2\"",
                    "x",
                    &printed,
                    &rc.to_string(),
                ]
                .map(str::to_owned),
            );
            let result = shell.run(&argv);
            let said = (result.rc == 0).then_some(()).ok_or(result.stderr.text().into_owned());
            assert_eq!(said, expected.map_err(str::to_owned), "{} {printed}", shell.name);
        }
    }
}
