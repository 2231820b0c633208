//! `deb822_repository` against Ansible's own module: the same file, byte for byte.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "support/controller.rs"]
mod controller;

use controller::Controller;
use rmqplay::host::{Content, ExecResult, Observation, Op, Probe};
use rmqplay::modules::{Decision, Kind, Seen, coerce, find};
use serde_json::{Value, json};
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

const KEY: &str = "-----BEGIN PGP PUBLIC KEY BLOCK-----\nComment: https://example.org/about\n\n  mDMEYCQjIxYJKwYBBAHaRw8B\n=IE0r\n\
                   -----END PGP PUBLIC KEY BLOCK-----\n";

/// `armored` and `binary`: URLs of keys.
fn cases(armored: &str, binary: &str) -> Vec<Value> {
    let base = |more: Value| {
        let mut args = json!({"name": "rabbitmq", "uris": "http://x.example.org/debian", "suites": "trixie", "components": "main"});
        let Value::Object(more) = more else { unreachable!() };
        args.as_object_mut().unwrap().extend(more);
        args
    };
    vec![
        base(json!({})),
        json!({"name": "flat", "uris": ["file:///srv/a", "file:///srv/b"], "suites": "./"}),
        json!({"name": "  Team_RabbitMQ  (4.x) É ", "uris": "http://x"}),
        json!({"name": "a__b - c", "uris": "http://x", "suites": []}),
        base(
            json!({"types": ["deb", "deb-src"], "components": "main,contrib,non-free", "architectures": ["amd64", "arm64"]}),
        ),
        base(json!({"types": "deb-src", "languages": ["de", "en"], "targets": "Packages"})),
        base(
            json!({"enabled": false, "pdiffs": true, "by_hash": "no", "allow_insecure": "yes", "allow_weak": 1, "trusted": "on"}),
        ),
        base(
            json!({"allow_downgrade_to_insecure": false, "check_valid_until": "off", "check_date": true, "date_max_future": "600"}),
        ),
        base(json!({"inrelease_path": "some/where", "date_max_future": 0})),
        base(json!({"signed_by": KEY})),
        base(json!({"signed_by": format!("\n\n{}", KEY.trim_end())})),
        base(json!({"signed_by": KEY.replace('\n', "\r\n")})),
        base(json!({"signed_by": "0A9AF2115F4687BD29803A206B73A36E6026DFCA"})),
        base(json!({"signed_by": "/etc/passwd"})),
        base(json!({"signed_by": armored})),
        base(json!({"signed_by": binary, "trusted": true})),
        base(json!({"signed_by": format!("{armored}.not-there")})),
        base(json!({"state": "absent"})),
        base(json!({"components": null, "uris": null, "mode": "0600"})),
        base(json!({"types": "rpm"})),
        base(json!({"trusted": "perhaps"})),
        base(json!({"unheard_of": 1})),
        json!({"uris": "http://x"}),
    ]
}

fn oracle(cases: &[Value]) -> Vec<Value> {
    let bin = std::env::var_os("RMQPLAY_ANSIBLE").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/oracle/bin"),
        PathBuf::from,
    );
    // Python finds its packages from where it lies, so a link to the directory must be followed.
    let python = bin.canonicalize().unwrap_or(bin).join("python");
    assert!(
        python.exists(),
        "{} is missing: this test compares with ansible-core, see CONTRIBUTING.md",
        python.display()
    );
    let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/deb822/oracle.py");
    let mut child = Command::new(python)
        .arg(script)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin
        .write_all(serde_json::to_string(cases).unwrap().as_bytes())
        .unwrap();
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "the oracle fails, see above");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// What a fresh host sees: nothing is there, and URLs are fetched from this machine's disk.
fn look(probe: &Probe) -> Option<Observation> {
    Some(match probe {
        Probe::Stat { .. } => Observation::Stat(None),
        Probe::Exec { argv, .. } => {
            let path = argv.last().unwrap().strip_prefix("file://").unwrap();
            Observation::Exec(match std::fs::read(path) {
                Ok(bytes) => ExecResult {
                    stdout: Content::from(bytes),
                    ..ExecResult::default()
                },
                Err(error) => ExecResult {
                    rc: 100,
                    stderr: Content::from(format!("E: {error}\n")),
                    ..ExecResult::default()
                },
            })
        }
        _ => Observation::Content(None),
    })
}

fn ours(args: &Value) -> Value {
    let failed = |msg: String| json!({"failed": true, "msg": msg});
    let spec = find("deb822_repository").unwrap();
    let Kind::Host(prepare) = spec.kind else { unreachable!() };
    let action = match coerce(spec, args.as_object().unwrap()).map(|args| prepare(&args, &Controller)) {
        Ok(Ok(action)) => action,
        Ok(Err(error)) => return failed(error.message),
        Err(errors) => return failed(format!("{errors:?}")),
    };
    let (ops, report) = match action.decide(&Seen::new(&look)) {
        Ok(Decision::Keep(report)) => (Vec::new(), report),
        Ok(Decision::Change(change)) => (change.ops, change.report),
        Ok(Decision::Fail(failure)) => return failed(failure.msg),
        Err(stop) => return failed(format!("{stop:?}")),
    };
    let dest = report.values["dest"].as_str().unwrap();
    let slug = dest.strip_prefix("/etc/apt/sources.list.d/").unwrap();
    let text = ops.iter().find_map(|op| match op {
        Op::Write { path, content, .. } if path == dest => Some(content.text().into_owned()),
        _ => None,
    });
    json!({
        "slug": slug.strip_suffix(".sources").unwrap(),
        "text": text,
        "repo": report.values["repo"],
        "key": report.values["key_filename"],
    })
}

#[test]
fn as_ansible_writes_repositories() {
    let keys = tempfile::tempdir().unwrap();
    let key = |name: &str, bytes: &[u8]| {
        let path = keys.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        format!("file://{}", path.display())
    };
    let cases = cases(
        &key("armored", KEY.as_bytes()),
        &key("binary", b"\x99\x01\x0d\xff\x00binary"),
    );
    let theirs = oracle(&cases);
    let mut different = Vec::new();
    let mut failed = 0;
    for (case, theirs) in cases.iter().zip(&theirs) {
        let mut ours = ours(case);
        if ours["failed"] == true && theirs["failed"] == true {
            failed += 1;
            continue;
        }
        if case["state"] == "absent" {
            // Ansible names a key that may never have been there.
            ours["key"] = theirs["key"].clone();
        }
        if ours != *theirs {
            different.push(format!("{case}\n  Ansible {theirs}\n  rmqplay {ours}"));
        }
    }
    assert!(
        different.is_empty(),
        "{} differ:\n{}",
        different.len(),
        different.join("\n")
    );
    assert_eq!((cases.len(), failed), (23, 5));
}
