//! `lineinfile` against Ansible's own module, on many texts and arguments: same text, same words, same count.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "support/controller.rs"]
mod controller;

use controller::Controller;
use rmqplay::host::{Content, FileKind, Observation, Op, Probe, Stat};
use rmqplay::modules::{Decision, Kind, Seen, coerce, find};
use serde_json::{Map, Value, json};
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

const LINES: &[&str] = &[
    "a = 1",
    "a=1",
    "#a = 1",
    "b = 2",
    "  b = 2",
    "[section]",
    "",
    "a.b",
    "Listen 80 80",
    "GRUB=\"quiet\"",
    "x é y",
    "tab\there",
    "a = 1\r",
];
const REGEXPS: &[&str] = &[
    "^a",
    "^#?a ?=",
    r"^\s*b\s*=\s*\d+$",
    "1$",
    r"1\Z",
    "^$",
    "^",
    r"\bListen\b",
    r"(\d+) \1",
    r"^(?P<key>\w+) = (.*)$",
    r"^(\w+)\s*=\s*(\d)?",
    r"\[section\]",
    "[[]sec",
    r#"GRUB="(.*)""#,
    "x .. y",
    "x . y",
    r"\w+\t\w+",
    "(?i)^LISTEN",
    "nothing here",
    r"a\.b",
    "^a = 1\r?$",
];
const NEW: &[&str] = &["a = 1", "a = 2", "b = 2", "#a = 1", "new", "", "two\nlines", "é"];
const EXPANDED: &[&str] = &[
    r"\1",
    r"<\g<0>>",
    r"\g<key>:\2",
    r"\1\t\2",
    r"x\n",
    r"\\d \1",
    r"\3",
    r"\q",
    "plain",
];
const PLACES: &[&str] = &["BOF", "EOF", "^a", "^b", r"\[section\]", "nothing here", r"\d$", "^"];

/// Numbers that look random and are the same in every run (Knuth's MMIX generator).
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) % limit as u64) as usize
    }
    fn one<'a>(&mut self, list: &[&'a str]) -> &'a str {
        list[self.below(list.len())]
    }
}

struct Case {
    text: Vec<u8>,
    args: Map<String, Value>,
}

fn cases() -> Vec<Case> {
    let mut dice = Dice(20_261_122);
    (0..1500).map(|_| case(&mut dice)).collect()
}

fn case(dice: &mut Dice) -> Case {
    let count = dice.below(7);
    let mut text = Vec::new();
    for _ in 0..count {
        text.extend_from_slice(dice.one(LINES).as_bytes());
        text.push(b'\n');
    }
    if dice.below(20) == 0 {
        text.extend_from_slice(b"\xff\xfe raw\n");
    }
    let mut args = Map::new();
    let mut set = |name: &str, value: Value| args.insert(name.to_owned(), value);
    match dice.below(4) {
        0 | 1 => set("regexp", json!(dice.one(REGEXPS))),
        2 => set("search_string", json!(dice.one(&["a", "= ", "é", "[", "\n", "1"]))),
        _ => None,
    };
    let with_regexp = args.contains_key("regexp");
    let mut set = |name: &str, value: Value| args.insert(name.to_owned(), value);
    if dice.below(4) == 0 {
        set("state", json!("absent"));
        set("line", json!(dice.one(NEW)));
        return Case { text, args };
    }
    if with_regexp && dice.below(3) == 0 {
        set("backrefs", json!(true));
        set("line", json!(dice.one(EXPANDED)));
    } else {
        set("line", json!(dice.one(NEW)));
    }
    if dice.below(3) == 0 {
        set("firstmatch", json!(true));
    }
    let mut after = false;
    match dice.below(3) {
        0 => {
            after = true;
            set("insertafter", json!(dice.one(PLACES)))
        }
        // As a regular expression `EOF` is of no use, and of no harm.
        1 => set("insertbefore", json!(dice.one(PLACES))),
        _ => None,
    };
    // Without a newline at the end Ansible puts a line added by `insertafter` onto the last one; we do not.
    if !after && dice.below(4) == 0 {
        text.pop();
    }
    Case { text, args }
}

fn latin1(bytes: &[u8]) -> String {
    bytes.iter().map(|b| char::from(*b)).collect()
}

/// What Ansible's functions make of the cases.
fn oracle(cases: &[Case]) -> Vec<Value> {
    let bin = std::env::var_os("RMQPLAY_ANSIBLE").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/oracle/bin"),
        PathBuf::from,
    );
    // Python finds its packages from where it lies, so a link to the directory must be followed.
    let python = bin.canonicalize().unwrap_or(bin).join("python");
    assert!(
        python.exists(),
        "{} is missing: this test compares with ansible-core 2.19; set RMQPLAY_ANSIBLE to the `bin` directory of a \
         virtual environment that has it",
        python.display()
    );
    let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/lineinfile/oracle.py");
    let mut child = Command::new(python)
        .arg(script)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let input: Vec<Value> = cases
        .iter()
        .map(|c| json!({ "text": latin1(&c.text), "args": c.args }))
        .collect();
    let mut stdin = child.stdin.take().unwrap();
    let writer = std::thread::spawn(move || stdin.write_all(serde_json::to_string(&input).unwrap().as_bytes()));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    assert!(output.status.success());
    serde_json::from_slice(&output.stdout).unwrap()
}

fn ours(case: &Case) -> Value {
    let failed = |msg: String| json!({ "failed": true, "msg": msg });
    let mut args = case.args.clone();
    args.insert("path".to_owned(), json!("/etc/file"));
    let spec = find("lineinfile").unwrap();
    let Kind::Host(prepare) = spec.kind else { unreachable!() };
    let action = match coerce(spec, &args).map(|args| prepare(&args, &Controller)) {
        Ok(Ok(action)) => action,
        Ok(Err(error)) => return failed(error.message),
        Err(errors) => return failed(format!("{errors:?}")),
    };
    let stat = Stat {
        kind: FileKind::File,
        mode: 0o644,
        uid: 0,
        gid: 0,
        owner: "root".to_owned(),
        group: "root".to_owned(),
        size: case.text.len() as u64,
        mtime: 0,
        atime: 0,
        ctime: 0,
        inode: 1,
        dev: 1,
        nlink: 1,
        blocks: 0,
        block_size: 0,
        rdev: 0,
        target: None,
    };
    let source = |probe: &Probe| {
        Some(match probe {
            Probe::Stat { .. } => Observation::Stat(Some(stat.clone().into())),
            _ => Observation::Content(Some(Content::from(&case.text))),
        })
    };
    let result = |text: &[u8], changed: bool, values: &Map<String, Value>| {
        json!({
            "failed": false,
            "changed": changed,
            "msg": values.get("msg"),
            "found": values.get("found"),
            "text": latin1(text),
        })
    };
    match action.decide(&Seen::new(&source)) {
        Ok(Decision::Keep(report)) => result(&case.text, false, &report.values),
        Ok(Decision::Change(change)) => match &change.ops[..] {
            [Op::Write { content, .. }] => result(content.as_bytes(), true, &change.report.values),
            ops => panic!("not one write: {ops:?}"),
        },
        Ok(Decision::Fail(failure)) => failed(failure.msg),
        Err(stop) => failed(format!("{stop:?}")),
    }
}

#[test]
fn as_ansible_edits_lines() {
    let cases = cases();
    let theirs = oracle(&cases);
    let mut different = Vec::new();
    let (mut changed, mut failed) = (0, 0);
    for (case, theirs) in cases.iter().zip(&theirs) {
        let ours = ours(case);
        changed += usize::from(ours["changed"] == json!(true));
        let both_failed = ours["failed"] == json!(true) && theirs["failed"] == json!(true);
        failed += usize::from(both_failed);
        if ours != *theirs && !both_failed {
            different.push(format!(
                "text {:?}\nargs {}\n  Ansible {theirs}\n  rmqplay {ours}",
                latin1(&case.text),
                serde_json::to_string(&case.args).unwrap()
            ));
        }
    }
    assert!(
        different.is_empty(),
        "{} of {} cases differ:\n{}",
        different.len(),
        cases.len(),
        different.iter().take(10).cloned().collect::<Vec<_>>().join("\n")
    );
    // The cases must be about something.
    assert!(
        changed > cases.len() / 3 && failed > 10,
        "{changed} changed, {failed} failed"
    );
}
