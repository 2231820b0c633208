//! The scripts of modules on this machine, under each shell and with busybox's tools alone: what they print must be
//! what the modules read.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "support/controller.rs"]
mod controller;

use base64::Engine as _;
use controller::Controller;
use rmqplay::host::Hidden;
use rmqplay::host::{Content, ExecResult, FileKind, Observation, Op, Outcome, Probe, Stat, Status};
use rmqplay::modules::{Action, Change, Decision, Failure, Kind, Report, Seen, coerce, find};
use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader, Seek as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

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
        self.run_with(argv, b"")
    }

    fn run_with(&self, argv: &[String], input: &[u8]) -> ExecResult {
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
        // A file: who does not read it does not break a pipe.
        let mut stdin = tempfile::tempfile().unwrap();
        stdin.write_all(input).unwrap();
        stdin.rewind().unwrap();
        let output = Command::new(program)
            .args(&argv[1..])
            .env("PATH", &self.path)
            .env("LC_ALL", "C")
            .stdin(stdin)
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
            Probe::Stat { path, follow } => Observation::Stat(stat(Path::new(&**path), *follow).map(Into::into)),
            Probe::Read { path, .. } => Observation::Content(std::fs::read(&**path).ok().map(Content::from)),
            Probe::Hash { path, .. } => {
                Observation::Text(std::fs::read(&**path).ok().map(|bytes| Content::from(bytes).sha1()))
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
                Probe::Exec { .. } => Observation::Exec(ExecResult {
                    rc: 1,
                    ..ExecResult::default()
                }),
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
        blocks: meta.blocks(),
        block_size: meta.blksize(),
        rdev: meta.rdev(),
        target: std::fs::read_link(path).ok().map(|t| t.to_string_lossy().into_owned()),
    })
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

#[test]
fn waiting_for_connections_to_end() {
    for shell in shells() {
        for address in ["127.0.0.1", "::1"] {
            let listener = std::net::TcpListener::bind((address, 0)).unwrap();
            let port = listener.local_addr().unwrap().port();
            let drained = |more: Value| {
                let mut args = json!({
                    "host": address, "port": port, "state": "drained", "timeout": 0,
                    "active_connection_states": ["ESTABLISHED"],
                });
                args.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
                shell.wait(args)
            };
            drained(json!({})).unwrap();
            let client = std::net::TcpStream::connect((address, port)).unwrap();
            let (server, _) = listener.accept().unwrap();
            assert!(drained(json!({})).is_err(), "{} {address}", shell.name);
            let any = if address == "::1" { "::" } else { "0.0.0.0" };
            assert!(drained(json!({ "host": any })).is_err(), "{} {any}", shell.name);
            drained(json!({ "exclude_hosts": [address] })).unwrap();
            assert!(
                drained(json!({ "exclude_hosts": ["192.0.2.1"] })).is_err(),
                "{}",
                shell.name
            );
            drop((client, server));
            drained(json!({})).unwrap();
        }
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

/// What a decision to change does here; then there is nothing left to do.
fn settle(shell: &Shell, module: &str, args: &Value) -> Change {
    let action = action(module, args.clone());
    let Decision::Change(change) = shell.decide(&*action) else {
        panic!("{}: {module} has nothing to do: {args}", shell.name)
    };
    for op in &change.ops {
        let Op::Exec(exec) = op else { panic!("{op:?}") };
        let result = shell.run(&exec.argv);
        assert!(result.ok(), "{}: {module}: {}", shell.name, result.stderr.text());
    }
    kept(shell, module, args);
    change
}

fn kept(shell: &Shell, module: &str, args: &Value) {
    match shell.decide(&*action(module, args.clone())) {
        Decision::Keep(_) => {}
        other => panic!("{}: {module} is not content: {other:?}", shell.name),
    }
}

/// A small authority, a key, its request and its certificate, made by the real `openssl`; and what makes each of them anew.
#[test]
fn keys_requests_and_certificates() {
    for shell in shells() {
        if shell.name == "busybox" {
            symlink("/usr/bin/openssl", Path::new(&shell.path).join("openssl")).unwrap();
        }
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name).to_string_lossy().into_owned();
        let key = |name: &str, kind: &str| json!({"path": at(name), "type": kind, "mode": "0600"});
        let request = |of: &str, cn: &str, more: Value| {
            let mut args = json!({"path": at(&format!("{of}.csr")), "privatekey_path": at(of), "common_name": cn});
            args.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            args
        };
        settle(&shell, "openssl_privatekey", &key("ca", "ECC"));
        let authority =
            json!({"basic_constraints": ["CA:TRUE"], "key_usage": ["keyCertSign"], "key_usage_critical": true});
        settle(&shell, "openssl_csr", &request("ca", "our $x, \"y\" \\ CA", authority));
        let own = json!({"path": at("ca.pem"), "csr_path": at("ca.csr"), "privatekey_path": at("ca"), "provider": "selfsigned"});
        settle(&shell, "x509_certificate", &own);

        settle(&shell, "openssl_privatekey", &key("k", "Ed25519"));
        let names = json!({"subject_alt_name": ["DNS:mq-1", "IP:10.0.0.1"], "extended_key_usage": ["serverAuth"]});
        settle(&shell, "openssl_csr", &request("k", "mq-1", names.clone()));
        let signed = json!({"path": at("k.pem"), "csr_path": at("k.csr"), "provider": "ownca", "ownca_path": at("ca.pem"),
            "ownca_privatekey_path": at("ca"), "ownca_not_after": "+30d"});
        settle(&shell, "x509_certificate", &signed);
        let verified = shell.run(&["openssl", "verify", "-CAfile", &at("ca.pem"), &at("k.pem")].map(str::to_owned));
        assert!(verified.ok(), "{}: {}", shell.name, verified.stderr.text());

        // Another name, another key, another authority: what depends on it is made anew, and nothing else.
        let change = settle(&shell, "openssl_csr", &request("k", "mq-9", names.clone()));
        assert!(
            format!("{:?}", change.deltas).contains("CN=mq-9") || format!("{:?}", change.deltas).contains("CN = mq-9")
        );
        settle(&shell, "x509_certificate", &signed);
        kept(&shell, "openssl_privatekey", &key("k", "Ed25519"));
        settle(&shell, "openssl_privatekey", &key("k", "ECC"));
        settle(&shell, "openssl_csr", &request("k", "mq-9", names));
        settle(&shell, "x509_certificate", &signed);
        std::fs::remove_file(at("ca")).unwrap();
        settle(&shell, "openssl_privatekey", &key("ca", "ECC"));
        settle(
            &shell,
            "openssl_csr",
            &request("ca", "another CA", json!({"basic_constraints": ["CA:TRUE"]})),
        );
        settle(&shell, "x509_certificate", &own);
        let change = settle(&shell, "x509_certificate", &signed);
        assert!(
            format!("{:?}", change.deltas).contains("signed by another"),
            "{:?}",
            change.deltas
        );
    }
}

/// A cookie is made where there is none: whole, of letters and digits, for its owner alone.
#[test]
fn a_cookie_is_made() {
    for shell in shells() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("cookie");
        let user = String::from_utf8(Command::new("id").arg("-un").output().unwrap().stdout).unwrap();
        let args = json!({"path": path, "owner": user.trim(), "group": user.trim()});
        let Decision::Change(change) = shell.decide(&*action("erlang_cookie", args)) else {
            panic!("there is none")
        };
        let [Op::Exec(exec)] = &change.ops[..] else {
            panic!("{:?}", change.ops)
        };
        let result = shell.run(&exec.argv);
        assert!(result.ok(), "{}: {}", shell.name, result.stderr.text());
        let cookie = std::fs::read_to_string(&path).unwrap();
        assert!(
            cookie.len() == 40 && cookie.chars().all(|c| c.is_ascii_alphanumeric()),
            "{}",
            shell.name
        );
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o400);
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
    }
}

/// What a server is asked until an empty line; it answers with this.
fn serve_once(listener: std::net::TcpListener, answer: &'static [u8]) -> std::thread::JoinHandle<Vec<String>> {
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let lines = BufReader::new(stream.try_clone().unwrap()).lines();
        let asked = lines
            .map_while(Result::ok)
            .take_while(|line| !line.is_empty())
            .collect();
        stream.write_all(answer).unwrap();
        asked
    })
}

/// The management API is asked with the login in the request and in no argument.
#[test]
fn the_api_is_asked() {
    use rmqplay::rabbitmq::api::{Answer, Api, Login, answer};
    for mut shell in shells() {
        // bash, or a curl that is made of it.
        let tools = tempfile::tempdir().unwrap();
        let with_curl = shell.name == "busybox";
        if with_curl {
            let curl = tools.path().join("curl");
            let script =
                "#!/bin/bash\nread -r login; echo \"$@\" >&2; printf 'HTTP/1.0 200 OK\\r\\n\\r\\n%s' \"$login\"\n";
            std::fs::write(&curl, script).unwrap();
            std::fs::set_permissions(&curl, std::fs::Permissions::from_mode(0o755)).unwrap();
            shell.path = format!("{}:{}", shell.path, tools.path().display());
        }
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let api = Api {
            scheme: "http".to_owned(),
            host: "127.0.0.1".to_owned(),
            port: listener.local_addr().unwrap().port(),
            login: Login {
                user: "admin".to_owned(),
                password: Hidden::new("s3cret $(id)"),
            },
            certificates: Vec::new(),
        };
        let ask = |api: &Api| {
            let Probe::Exec { argv, stdin, .. } = api.get("/api/definitions") else {
                panic!("no command")
            };
            shell.run_with(&argv, stdin.unwrap().as_bytes())
        };
        let header = format!(
            "Authorization: Basic {}",
            base64::engine::general_purpose::STANDARD.encode("admin:s3cret $(id)")
        );
        if with_curl {
            let seen = ask(&api);
            let url = format!("http://127.0.0.1:{}/api/definitions\n", api.port);
            assert!(seen.stderr.text().ends_with(&url), "{}", seen.stderr.text());
            assert_eq!(answer(&seen), Answer::Said(200, Content::from(&header)));
            continue;
        }
        let server = serve_once(
            listener,
            b"HTTP/1.1 200 OK\r\nserver: Cowboy\r\n\r\n{\"a\":\"\\u00e9\"}",
        );
        let seen = ask(&api);
        assert_eq!(
            answer(&seen),
            Answer::Said(200, Content::from("{\"a\":\"\\u00e9\"}")),
            "{}",
            shell.name
        );
        let asked = server.join().unwrap();
        assert_eq!(asked[0], "GET /api/definitions HTTP/1.0");
        assert!(asked.contains(&header), "{asked:?}");
        // Nobody is there any more.
        assert_eq!(answer(&ask(&api)), Answer::Nobody("connection refused".to_owned()));
        // With TLS, and no curl.
        let tls = Api {
            scheme: "https".to_owned(),
            ..api
        };
        if !Path::new("/usr/bin/curl").exists() {
            assert!(matches!(answer(&ask(&tls)), Answer::Nobody(why) if why.contains("no curl")));
        }
    }
}

/// A key's URL is fetched byte for byte; what is not there is told in apt's words.
#[test]
fn a_key_is_fetched() {
    let directory = tempfile::tempdir().unwrap();
    let key = b"\x99\x01\x0d\x04\0\nbinary\xff";
    let path = directory.path().join("a key's.gpg");
    std::fs::write(&path, key).unwrap();
    for shell in shells() {
        let fetched = |url: String| {
            let action = action("deb822_repository", json!({"name": "x", "signed_by": url}));
            let look = |probe: &Probe| matches!(probe, Probe::Exec { .. });
            match shell.observe(&action.probes().into_iter().find(look).unwrap()) {
                Observation::Exec(result) => result,
                other => panic!("{other:?}"),
            }
        };
        let url = format!("file://{}", path.display()).replace(' ', "%20");
        let result = fetched(url.clone());
        assert!(result.ok(), "{}: {}", shell.name, result.stderr.text());
        assert_eq!(result.stdout.as_bytes(), key, "{}", shell.name);
        let result = fetched(url + ".not-there");
        assert!(!result.ok() && result.stdout.as_bytes().is_empty(), "{}", shell.name);
        assert!(
            result.stderr.text().contains("E: Failed to fetch file:"),
            "{}",
            result.stderr.text()
        );
    }
}
