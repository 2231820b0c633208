//! Modules as data: one file per case, `tests/modules/MODULE/CASE.yml`: arguments and what is seen of a host in,
//! decision out. Nothing here touches a host.
//!
//! ```yaml
//! # what this case is about
//! args: {name: vm.swappiness, value: 10}
//! check_mode: true                    # a dry run; default false
//! files: {src.txt: "text"}            # files of the controller, as `copy` finds them
//! templates: {x.conf.j2: "rendered"}  # templates of the controller, already rendered
//! vars: {ansible_pkg_mgr: apt}        # variables of the host
//! environment: {HTTP_PROXY: "..."}    # `environment:` of the task
//! host: trixie                        # `tree` and `seen` of tests/modules/_hosts/trixie.yml first
//! tree:                               # files of the host; answers every stat, read, glob, read_glob and hash:
//!   /proc/sys/vm/swappiness: "60\n"   #   content (root:root, 0644)
//!   /etc/x.conf: {content: "a\n", mode: "0600", owner: rabbitmq, uid: 104}
//!   /etc/conf.d: {kind: directory}    #   or block, char, fifo, socket; parents need no entry
//!   /etc/link.conf: {link: ../x.conf}
//!   /etc/gone: null                   #   takes away what `host` has
//! seen:                               # single observations; they win over `tree`
//!   exec systemctl is-active x: {rc: 3, stdout: "inactive\n"}   # a string is stdout with rc 0
//!   tcp localhost:5672: open          # or null
//!   read /etc/secret: {failed: "permission denied"}             # any look: failed, unknown (dry run)
//!   stat /etc/x: {kind: file, mode: "0644"}                     # or null; `stat_follow`, `glob`, `read_glob`, `hash sha1`, `facts`
//! outcomes: [done, {rc: 0, stdout: "hi"}, {failed: "no"}]       # for modules judged by their ops' outcome
//! after: {seen: {...}, tree: {...}}   # what else differs at the second look (ops on files are done to `tree`)
//! expect: ...                         # last key of the file
//! ```
//!
//! Words of a command are split as a shell would; `exec* a b` is any command that has `a` and `b` in it. Without `tree` and `host`, what is not in `seen` is not known yet.
//!
//! `expect` is a mapping with one of `keep`, `change`, `fail`, `cannot_know`, `need_more`, `bad_args`. Of `change`,
//! `deltas` and `ops` must be given, `warnings` (of `keep` too) where there are any; `undo`, `values`, `layers`, `settle`,
//! `changed`, `facts`, `skipped` and `looks` are compared if given. `looks` counts the batches until there was an
//! answer, and must be given if it is not 1 for `keep`: a converged host costs one.
//! `finish` holds what the outcomes come to, `values` or `fail`.
//!
//! After a change that is to be looked at again, `decide` must say Keep on what the ops left behind, and on what the change
//! foretold; the case has to tell through `after` what commands changed. `after: skip` where that is not to be had.
//!
//! `RMQPLAY_BLESS=1 cargo test --test modules -- MODULE/CASE` writes what came out; read it before it is committed.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test that cannot go on fails"
)]

use rmqplay::host::{
    Content, Delta, ExecResult, Facet, FileKind, Files, Guard, Layer, Observation, Op, Outcome, Probe, Stat, Status,
    Undo,
};
use rmqplay::modules::{
    Action, ArgError, Change, Decision, Failure, Kind, Prepare, Report, Seen, Settle, Stop, coerce, find,
};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

datatest_stable::harness! {
    { test = case, root = "tests/modules", pattern = r"^[^_/][^/]*/[^/]+\.yml$" },
}

type Result<T> = std::result::Result<T, String>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    #[serde(default)]
    args: Map<String, Value>,
    #[serde(default)]
    check_mode: bool,
    #[serde(default)]
    files: BTreeMap<String, String>,
    #[serde(default)]
    templates: BTreeMap<String, String>,
    #[serde(default)]
    vars: BTreeMap<String, Value>,
    #[serde(default)]
    environment: BTreeMap<String, String>,
    host: Option<String>,
    tree: Option<BTreeMap<String, Value>>,
    #[serde(default)]
    seen: BTreeMap<String, Value>,
    #[serde(default)]
    outcomes: Vec<Value>,
    #[serde(default)]
    after: Option<Value>,
    expect: Value,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct HostFile {
    #[serde(default)]
    tree: BTreeMap<String, Value>,
    #[serde(default)]
    seen: BTreeMap<String, Value>,
}

fn case(path: &Path) -> datatest_stable::Result<()> {
    Ok(run(path).map_err(|text| Readable(format!("{}\n{text}", path.display())))?)
}

/// An error that the runner, which prints `Debug`, shows as it is.
struct Readable(String);

impl std::fmt::Debug for Readable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::fmt::Display for Readable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Readable {}

fn run(path: &Path) -> Result<()> {
    let text = std::fs::read_to_string(path).map_err(|e| e.to_string())?;
    let case: Case = serde_yaml::from_str(&text).map_err(|e| format!("the case is malformed: {e}"))?;
    let module = path
        .parent()
        .and_then(Path::file_name)
        .and_then(|n| n.to_str())
        .unwrap_or_default();
    let spec = find(module).ok_or_else(|| format!("there is no module `{module}`"))?;
    let Kind::Host(prepare) = spec.kind else {
        return Err(format!("`{module}` is done by the engine, it has no cases"));
    };

    let mut host = Host::default();
    if let Some(name) = &case.host {
        let file = path.with_file_name("").join("../_hosts").join(format!("{name}.yml"));
        let text = std::fs::read_to_string(&file).map_err(|e| format!("{}: {e}", file.display()))?;
        let base: HostFile = serde_yaml::from_str(&text).map_err(|e| format!("{}: {e}", file.display()))?;
        host.tree = Some(Tree::default());
        host.add(&base.tree, &base.seen)?;
    }
    if case.tree.is_some() {
        host.tree.get_or_insert_default();
    }
    host.add(&case.tree.clone().unwrap_or_default(), &case.seen)?;

    let controller = Controller(&case);
    let action = coerce(spec, &case.args).and_then(|args| prepare(&args, &controller).map_err(|e| vec![e]));
    let mut failures = Vec::new();
    let actual = match action {
        Err(errors) => json!({ "bad_args": errors.iter().map(arg_error).collect::<Vec<_>>() }),
        Ok(action) => {
            let (looks, answer) = decide(action.as_ref(), &host);
            let mut actual = describe(&answer, looks, &host);
            if let Ok(Decision::Change(change)) = &answer {
                if change.settle == Settle::Outcome && !case.outcomes.is_empty() {
                    let outcomes = case.outcomes.iter().map(outcome).collect::<Result<Vec<_>>>()?;
                    actual["change"]["finish"] = match action.finish(change, &outcomes) {
                        Ok(report) => describe_report(&report),
                        Err(failure) => json!({ "fail": describe_failure(&failure) }),
                    };
                }
                if change.settle == Settle::LookAgain
                    && let Err(text) = look_again(&case, &host, action.as_ref(), change)
                {
                    failures.push(text);
                }
            }
            actual
        }
    };
    let wanted = &case.expect;
    let shown = select(&actual, wanted);
    if shown != *wanted {
        if std::env::var_os("RMQPLAY_BLESS").is_some() {
            let head = text.find("\nexpect:").map_or(text.as_str(), |n| &text[..=n]);
            let block = yaml(&json!({ "expect": select(&actual, &Value::Null) }));
            std::fs::write(path, format!("{head}{block}")).map_err(|e| e.to_string())?;
        }
        failures.push(format!(
            "decided otherwise than expected (- expected, + decided):\n{}",
            diff(&yaml(wanted), &yaml(&shown))
        ));
    }
    if failures.is_empty() {
        Ok(())
    } else {
        Err(failures.join("\n"))
    }
}

/// The second look: the ops done to the tree, what `after` says on top.
fn look_again(case: &Case, host: &Host, action: &dyn Action, change: &Change) -> Result<()> {
    let mut host = host.clone();
    match &case.after {
        Some(Value::String(s)) if s == "skip" => return Ok(()),
        Some(value) => {
            let after: HostFile = serde_json::from_value(value.clone()).map_err(|e| format!("`after`: {e}"))?;
            host.perform(&change.ops);
            host.add(&after.tree, &after.seen)?;
        }
        None => host.perform(&change.ops),
    }
    let foretold = change.foretold.iter();
    for (probe, observation) in foretold.filter(|(_, o)| !matches!(o, Observation::Unknown(_))) {
        host.seen.insert(key(probe), observation.clone());
    }
    match decide(action, &host).1 {
        Ok(Decision::Keep(_)) => Ok(()),
        other => Err(format!(
            "the second look does not say Keep:\n{}",
            yaml(&describe(&other, 0, &host))
        )),
    }
}

type Answer = std::result::Result<Decision, Stop>;

/// As the engine does it: the first batch, then what `decide` asks for, until it answers.
fn decide(action: &dyn Action, host: &Host) -> (usize, Answer) {
    let mut known: BTreeSet<Probe> = action.probes().into_iter().collect();
    let mut looks = 1;
    loop {
        let source = |probe: &Probe| known.contains(probe).then(|| host.observe(probe)).flatten();
        let seen = Seen::new(&source);
        match action.decide(&seen) {
            Err(Stop::NeedMore(probes))
                if probes.iter().any(|p| !known.contains(p)) && probes.iter().all(|p| host.observe(p).is_some()) =>
            {
                known.extend(probes);
                looks += 1;
            }
            answer => return (looks, answer),
        }
    }
}

// --- the answer, as it is written in a case -------------------------------------------------------------------

fn describe(answer: &Answer, looks: usize, host: &Host) -> Value {
    match answer {
        Ok(Decision::Keep(report)) => {
            let mut report = report.clone();
            report.warnings.append(&mut report.pending);
            let mut value = describe_report(&report);
            value["looks"] = json!(looks);
            json!({ "keep": value })
        }
        Ok(Decision::Change(change)) => {
            let mut value = Map::new();
            value.insert("deltas".into(), change.deltas.iter().map(describe_delta).collect());
            value.insert(
                "ops".into(),
                change.ops.iter().map(|op| describe_op(op, host)).collect(),
            );
            if let Value::Object(report) = describe_report(&change.report) {
                value.extend(report);
            }
            let mut later = host.clone();
            later.perform(&change.ops);
            value.insert(
                "undo".into(),
                match &change.undo {
                    Undo::Ops(ops) => ops.iter().map(|op| describe_op(op, &later)).collect(),
                    Undo::Impossible(why) => json!(format!("impossible: {why}")),
                },
            );
            value.insert(
                "settle".into(),
                json!(if change.settle == Settle::Outcome {
                    "outcome"
                } else {
                    "look"
                }),
            );
            value.insert("changed".into(), json!(change.changed));
            value.insert("looks".into(), json!(looks));
            json!({ "change": value })
        }
        Ok(Decision::Fail(failure)) | Err(Stop::Fail(failure)) => json!({ "fail": describe_failure(failure) }),
        Err(Stop::CannotKnow(why)) => json!({ "cannot_know": why }),
        Err(Stop::NeedMore(probes)) => json!({ "need_more": probes.iter().map(key).collect::<Vec<_>>() }),
    }
}

fn describe_report(report: &Report) -> Value {
    let mut value = Map::new();
    value.insert("warnings".into(), json!(report.warnings));
    value.insert("values".into(), Value::Object(report.values.clone()));
    value.insert("layers".into(), report.layers.iter().map(describe_layer).collect());
    value.insert("facts".into(), Value::Object(report.facts.clone()));
    value.insert("skipped".into(), json!(report.skipped));
    Value::Object(value)
}

fn describe_failure(failure: &Failure) -> Value {
    let mut value = json!({ "msg": failure.msg });
    if let Some(help) = &failure.help {
        value["help"] = json!(help);
    }
    if !failure.values.is_empty() {
        value["values"] = Value::Object(failure.values.clone());
    }
    if !failure.layers.is_empty() {
        value["layers"] = failure.layers.iter().map(describe_layer).collect();
    }
    value
}

fn arg_error(error: &ArgError) -> Value {
    let mut text = error.message.clone();
    if let Some(help) = &error.help {
        text += &format!(" (help: {help})");
    }
    if let Some(what) = &error.unknown {
        text += &format!(" (unknown: {what})");
    }
    match &error.arg {
        Some(arg) => json!({ arg.as_str(): text }),
        None => json!(text),
    }
}

fn describe_layer(layer: &Layer) -> Value {
    let or_dash = |v: &Option<String>| v.clone().unwrap_or_else(|| "-".to_owned());
    let mut text = format!(
        "{}: want {}, file {}, live {}, process {}",
        layer.knob,
        layer.desired,
        or_dash(&layer.file),
        or_dash(&layer.live),
        or_dash(&layer.process)
    );
    if let Some(source) = &layer.source {
        text += &format!(" [{source}]");
    }
    if let Some(finding) = layer.finding() {
        text += &format!(" ({finding})");
    }
    json!(text)
}

/// `SUBJECT: BEFORE -> AFTER`, or for a file's text `{SUBJECT: unified diff}`.
fn describe_delta(delta: &Delta) -> Value {
    let text = |f: &Facet| match f {
        Facet::Absent => Some(String::new()),
        Facet::Text(content) => Some(content.text().into_owned()),
        _ => None,
    };
    let word = |f: &Facet| match f {
        Facet::Absent => "(absent)".to_owned(),
        Facet::Value(v) => v.clone(),
        Facet::Text(content) => format!("(text of {} bytes)", content.as_bytes().len()),
        Facet::Unknown(why) => format!("(unknown: {why})"),
        Facet::Secret(tag) => format!("(secret {tag})"),
    };
    match (text(&delta.before), text(&delta.after)) {
        (Some(before), Some(after)) if !before.is_empty() || !after.is_empty() => {
            let mut subject = delta.subject.clone();
            for (side, name) in [(&delta.before, "new"), (&delta.after, "removed")] {
                if *side == Facet::Absent {
                    subject += &format!(" ({name})");
                }
            }
            json!({ subject: diff(&before, &after) })
        }
        _ => json!(format!(
            "{}: {} -> {}",
            delta.subject,
            word(&delta.before),
            word(&delta.after)
        )),
    }
}

/// The op without what it has by default; a guard that names what was seen is `as seen`.
fn describe_op(op: &Op, host: &Host) -> Value {
    let mut value = serde_json::to_value(op).unwrap_or_default();
    if let Op::Write {
        path,
        guard: Some(Guard::Sha256(hash)),
        ..
    }
    | Op::Copy {
        path,
        guard: Some(Guard::Sha256(hash)),
        ..
    } = op
    {
        let seen = host.observe(&Probe::read(path));
        if matches!(&seen, Some(Observation::Content(Some(content))) if content.sha256() == *hash)
            && let Some(body) = value.as_object_mut().and_then(|m| m.values_mut().next())
        {
            body["guard"] = json!("as seen");
        }
    }
    if let Some(body) = value
        .as_object_mut()
        .and_then(|m| m.values_mut().next())
        .and_then(Value::as_object_mut)
    {
        if let Op::Exec(exec) = op
            && rmqplay::rabbitmq::cli::starts_vm(&exec.argv)
        {
            body.insert(
                "argv".into(),
                exec.argv[4..].iter().map(|a| json!(deletions(a))).collect(),
            );
        }
        // A program of Python is a file of its own, and tested as such.
        if let Op::Exec(exec) = op
            && let [python, dash_c, _] = &exec.argv[..]
            && (python.as_str(), dash_c.as_str()) == ("python3", "-c")
        {
            body.insert("argv".into(), json!([python, dash_c, "..."]));
        }
        if let Some(mode) = body.get("mode").and_then(Value::as_u64) {
            body.insert("mode".into(), json!(format!("{mode:04o}")));
        }
        body.retain(|key, v| {
            !(v.is_null()
                || *v == json!(false)
                || *v == json!([])
                || *v == json!({})
                || (key == "effect" && *v == json!("anything")))
        });
    }
    value
}

/// A program for `rabbitmqctl eval` is shown as the words it is given.
fn deletions(argument: &str) -> String {
    use base64::Engine as _;
    let words = argument
        .split_once("base64:decode(\"")
        .and_then(|(_, rest)| rest.split_once('"'));
    let bytes = words.and_then(|(words, _)| base64::engine::general_purpose::STANDARD.decode(words).ok());
    bytes.map_or_else(
        || argument.to_owned(),
        |b| format!("delete {}", String::from_utf8_lossy(&b)),
    )
}

/// What of `actual` the case speaks of: `wanted`'s keys and those it must not be silent about.
fn select(actual: &Value, wanted: &Value) -> Value {
    let mut result = actual.clone();
    for (kind, body) in result.as_object_mut().into_iter().flatten() {
        let given = wanted.get(kind).and_then(Value::as_object);
        let Some(body) = body.as_object_mut() else { continue };
        if kind == "keep" && wanted == "keep" {
            continue;
        }
        trim(body, given, kind);
        if let Some(Value::Object(finish)) = body.get_mut("finish") {
            trim(
                finish,
                given.and_then(|g| g.get("finish")).and_then(Value::as_object),
                "finish",
            );
        }
    }
    // `expect: keep` for a report nobody needs to read.
    if wanted == "keep"
        && result
            .get("keep")
            .is_some_and(|k| k["warnings"] == json!([]) && k["looks"] == json!(1))
    {
        return json!("keep");
    }
    result
}

fn trim(body: &mut Map<String, Value>, given: Option<&Map<String, Value>>, kind: &str) {
    body.retain(|key, value| {
        let spoken = given.is_none_or(|g| g.contains_key(key));
        let empty = matches!(value, Value::Null) || *value == json!([]) || *value == json!({});
        let plain = match key.as_str() {
            "looks" => *value == json!(1) || kind == "change",
            "settle" => *value == json!("look"),
            "changed" => *value == json!(true),
            _ => empty,
        };
        let silent_is_wrong = match key.as_str() {
            "deltas" | "ops" | "finish" | "warnings" | "fail" | "msg" | "help" => true,
            "looks" => kind == "keep",
            _ => false,
        };
        if given.is_some_and(|g| g.contains_key(key)) {
            true
        } else if plain {
            false
        } else {
            spoken || silent_is_wrong
        }
    });
}

fn yaml(value: &Value) -> String {
    serde_yaml::to_string(value).unwrap_or_else(|e| e.to_string())
}

fn diff(before: &str, after: &str) -> String {
    similar::TextDiff::from_lines(before, after)
        .unified_diff()
        .context_radius(3)
        .to_string()
}

// --- the host -------------------------------------------------------------------------------------------------

#[derive(Clone, Default)]
struct Host {
    tree: Option<Tree>,
    seen: BTreeMap<String, Observation>,
    /// `exec*`: parts of the command, answer; the last that fits counts.
    loose: Vec<(Vec<String>, Observation)>,
}

type Tree = BTreeMap<String, Entry>;

#[derive(Clone)]
struct Entry {
    stat: Stat,
    content: Content,
}

impl Host {
    fn add(&mut self, tree: &BTreeMap<String, Value>, seen: &BTreeMap<String, Value>) -> Result<()> {
        for (path, value) in tree {
            let map = self.tree.get_or_insert_default();
            if value.is_null() {
                map.remove(path);
                let below = format!("{path}/");
                map.retain(|p, _| !p.starts_with(&below));
            } else {
                map.insert(path.clone(), entry(value).map_err(|e| format!("{path}: {e}"))?);
            }
        }
        for (text, value) in seen {
            let exact = text.replacen("exec* ", "exec ", 1);
            let (key, observation) = observation(&exact, value).map_err(|e| format!("`{text}`: {e}"))?;
            if let Some(parts) = text.strip_prefix("exec* ") {
                self.loose.push((words(parts)?, observation));
                continue;
            }
            self.seen.insert(key, observation);
        }
        Ok(())
    }

    fn observe(&self, probe: &Probe) -> Option<Observation> {
        if let Some(observation) = self.seen.get(&key(probe)) {
            return Some(observation.clone());
        }
        if let Probe::Exec { argv, .. } = probe {
            let command = argv.join(" ");
            let fits = |parts: &[String]| parts.iter().all(|p| command.contains(p.as_str()));
            return self
                .loose
                .iter()
                .rev()
                .find(|(parts, _)| fits(parts))
                .map(|(_, o)| o.clone());
        }
        let tree = self.tree.as_ref()?;
        match probe {
            Probe::Stat { path, follow: false } => Some(Observation::Stat(node(tree, path).map(|e| e.stat.into()))),
            Probe::Stat { path, follow: true } => Some(Observation::Stat(
                resolve(tree, path).and_then(|p| node(tree, &p)).map(|e| e.stat.into()),
            )),
            Probe::Read { path, .. } => {
                let found = resolve(tree, path).and_then(|p| node(tree, &p));
                Some(match found {
                    Some(entry) if entry.stat.kind == FileKind::Directory => {
                        Observation::Failed(format!("{path}: is a directory"))
                    }
                    found => Observation::Content(found.map(|e| e.content)),
                })
            }
            Probe::Hash { path, algorithm } => {
                let content = resolve(tree, path).and_then(|p| node(tree, &p)).map(|e| e.content);
                match algorithm.as_str() {
                    "sha1" => Some(Observation::Text(content.map(|c| c.sha1()))),
                    "sha256" => Some(Observation::Text(content.map(|c| c.sha256()))),
                    _ => None,
                }
            }
            Probe::Glob { pattern } => Some(Observation::List(glob(tree, pattern))),
            Probe::ReadGlob { pattern } => {
                let read = |path: &String| {
                    let found = resolve(tree, path).and_then(|p| node(tree, &p));
                    found.filter(|e| e.stat.kind == FileKind::File).map(|e| e.content)
                };
                let found = glob(tree, pattern).into_iter();
                let files: Files = found.map(|path| (path.clone(), read(&path))).collect();
                Some(Observation::Files(files.into()))
            }
            Probe::Exec { .. } | Probe::Facts | Probe::Tcp { .. } => None,
        }
    }

    /// Does to the tree what the ops would do to a host.
    fn perform(&mut self, ops: &[Op]) {
        let Some(tree) = &mut self.tree else { return };
        for op in ops {
            match op {
                Op::Write {
                    path,
                    content,
                    mode,
                    owner,
                    group,
                    backup,
                    ..
                } => {
                    let path = resolve(tree, path).unwrap_or_else(|| path.clone());
                    let mut entry = tree.get(&path).cloned().unwrap_or_else(|| file(Content::default()));
                    if let Some(backup) = backup {
                        tree.insert(backup.clone(), entry.clone());
                    }
                    entry.content = content.clone();
                    entry.stat.size = content.as_bytes().len() as u64;
                    own(&mut entry, owner, group);
                    entry.stat.mode = mode.unwrap_or(entry.stat.mode);
                    tree.insert(path, entry);
                }
                Op::Put { path, content } => {
                    let path = resolve(tree, path).unwrap_or_else(|| path.clone());
                    if let Some(entry) = tree.get_mut(&path) {
                        entry.content = kernel(&entry.content, content);
                    }
                }
                Op::MakeDir {
                    path,
                    mode,
                    owner,
                    group,
                    ..
                } => {
                    let mut entry = node(tree, path).unwrap_or_else(directory);
                    own(&mut entry, owner, group);
                    entry.stat.mode = mode.unwrap_or(entry.stat.mode);
                    tree.insert(path.clone(), entry);
                }
                Op::Link { path, target, hard, .. } => {
                    let source = if *hard { node(tree, target) } else { Some(link(target)) };
                    if let Some(source) = source {
                        tree.insert(path.clone(), source);
                    }
                }
                Op::Remove { path, .. } => {
                    tree.remove(path);
                    let below = format!("{path}/");
                    tree.retain(|p, _| !p.starts_with(&below));
                }
                Op::Chmod { path, mode } => {
                    if let Some(entry) = resolve(tree, path).and_then(|p| tree.get_mut(&p)) {
                        entry.stat.mode = *mode;
                    }
                }
                Op::Chown { path, owner, group, .. } => {
                    if let Some(entry) = tree.get_mut(path) {
                        own(entry, owner, group);
                    }
                }
                Op::Touch { path, atime, mtime } => {
                    let entry = tree.entry(path.clone()).or_insert_with(|| file(Content::default()));
                    entry.stat.atime = atime.unwrap_or(entry.stat.atime);
                    entry.stat.mtime = mtime.unwrap_or(entry.stat.mtime);
                }
                Op::Copy { source, path, .. } => {
                    if let Some(entry) = resolve(tree, source).and_then(|p| node(tree, &p)) {
                        tree.insert(path.clone(), entry);
                    }
                }
                Op::Exec(_) => {}
            }
        }
    }
}

/// What a kernel file reads after a write: `[a] b` moves the brackets, all else is taken and ends in a newline.
fn kernel(old: &Content, new: &Content) -> Content {
    let new = new.text().trim().to_owned();
    let old = old.text().into_owned();
    let choices: Vec<&str> = old.split_whitespace().map(|w| w.trim_matches(['[', ']'])).collect();
    if old.contains('[') && choices.contains(&new.as_str()) {
        let words: Vec<String> = choices
            .iter()
            .map(|w| if *w == new { format!("[{w}]") } else { (*w).to_owned() })
            .collect();
        return Content::from(words.join(" ") + "\n");
    }
    Content::from(new.split_whitespace().collect::<Vec<_>>().join("\t") + "\n")
}

fn own(entry: &mut Entry, owner: &Option<String>, group: &Option<String>) {
    let id = |name: &str| name.parse().unwrap_or(if name == "root" { 0 } else { 1000 });
    if let Some(owner) = owner {
        entry.stat.uid = id(owner);
        entry.stat.owner = owner.clone();
    }
    if let Some(group) = group {
        entry.stat.gid = id(group);
        entry.stat.group = group.clone();
    }
}

fn stat(kind: FileKind, mode: u32) -> Stat {
    Stat {
        kind,
        mode,
        uid: 0,
        gid: 0,
        owner: "root".into(),
        group: "root".into(),
        size: 0,
        mtime: 1_700_000_000,
        atime: 1_700_000_000,
        ctime: 1_700_000_000,
        inode: 1,
        dev: 1,
        nlink: 1,
        blocks: 8,
        block_size: 4096,
        rdev: 0,
        target: None,
    }
}

fn file(content: Content) -> Entry {
    let mut stat = stat(FileKind::File, 0o644);
    stat.size = content.as_bytes().len() as u64;
    Entry { stat, content }
}

fn directory() -> Entry {
    Entry {
        stat: stat(FileKind::Directory, 0o755),
        content: Content::default(),
    }
}

fn link(target: &str) -> Entry {
    let mut stat = stat(FileKind::Link, 0o777);
    stat.target = Some(target.to_owned());
    Entry {
        stat,
        content: Content::default(),
    }
}

/// What is at the path itself; a directory that only exists because something is below it counts.
fn node(tree: &Tree, path: &str) -> Option<Entry> {
    let (dir, name) = path.rsplit_once('/')?;
    let path = match resolve(tree, dir) {
        Some(dir) if !dir.is_empty() => format!("{dir}/{name}"),
        _ => path.to_owned(),
    };
    let below = format!("{}/", path.trim_end_matches('/'));
    tree.get(&path)
        .cloned()
        .or_else(|| tree.keys().any(|p| p.starts_with(&below)).then(directory))
}

/// The path with symlinks taken out, as far as they stand in the tree.
fn resolve(tree: &Tree, path: &str) -> Option<String> {
    let mut current = String::new();
    let mut rest: Vec<String> = path.split('/').rev().map(str::to_owned).collect();
    let mut hops = 0;
    while let Some(part) = rest.pop() {
        match part.as_str() {
            "" | "." => continue,
            ".." => current.truncate(current.rfind('/').unwrap_or(0)),
            name => {
                let next = format!("{current}/{name}");
                match tree.get(&next).and_then(|e| e.stat.target.clone()) {
                    Some(target) => {
                        hops += 1;
                        if hops > 40 {
                            return None;
                        }
                        if target.starts_with('/') {
                            current.clear();
                        }
                        rest.extend(target.split('/').rev().map(str::to_owned));
                    }
                    None => current = next,
                }
            }
        }
    }
    Some(current)
}

/// Paths that match, through symlinked directories as a shell would find them.
fn glob(tree: &Tree, pattern: &str) -> Vec<String> {
    let mut found = vec![String::new()];
    for part in pattern.trim_start_matches('/').split('/') {
        let mut next = Vec::new();
        for base in &found {
            if !part.contains(['*', '?', '[']) {
                let path = format!("{base}/{part}");
                if node(tree, &path).is_some() {
                    next.push(path);
                }
                continue;
            }
            let Ok(wanted) = glob::Pattern::new(part) else { continue };
            let below = format!("{}/", resolve(tree, base).unwrap_or_default());
            let names: BTreeSet<&str> = tree
                .keys()
                .filter_map(|p| p.strip_prefix(&below))
                .filter_map(|p| p.split('/').next())
                .filter(|name| wanted.matches(name) && (!name.starts_with('.') || part.starts_with('.')))
                .collect();
            next.extend(names.into_iter().map(|name| format!("{base}/{name}")));
        }
        found = next;
    }
    found
}

// --- reading a case ---------------------------------------------------------------------------------------------

fn entry(value: &Value) -> Result<Entry> {
    match value {
        Value::String(text) => Ok(file(Content::from(text))),
        Value::Object(map) => {
            if let Some(target) = map.get("link").and_then(Value::as_str) {
                return Ok(link(target));
            }
            let content = match map.get("content") {
                Some(content) => serde_json::from_value(content.clone()).map_err(|e| e.to_string())?,
                None => Content::default(),
            };
            let mut stat = stat_of(map)?;
            if !map.contains_key("size") {
                stat.size = content.as_bytes().len() as u64;
            }
            Ok(Entry { stat, content })
        }
        _ => Err("expected a text or a mapping".to_owned()),
    }
}

fn stat_of(map: &Map<String, Value>) -> Result<Stat> {
    let kind: FileKind = match map.get("kind") {
        Some(kind) => serde_json::from_value(kind.clone()).map_err(|e| e.to_string())?,
        None => FileKind::File,
    };
    let mut stat = stat(kind, if kind == FileKind::Directory { 0o755 } else { 0o644 });
    for (key, value) in map {
        let text = || {
            value
                .as_str()
                .map(str::to_owned)
                .ok_or_else(|| format!("`{key}` must be a string"))
        };
        let number = || value.as_u64().ok_or_else(|| format!("`{key}` must be a number"));
        let small = || number().and_then(|n| u32::try_from(n).map_err(|e| e.to_string()));
        match key.as_str() {
            "kind" | "content" => {}
            "mode" => stat.mode = u32::from_str_radix(&text()?, 8).map_err(|e| format!("`mode`: {e}"))?,
            "owner" => stat.owner = text()?,
            "group" => stat.group = text()?,
            "uid" => stat.uid = small()?,
            "gid" => stat.gid = small()?,
            "size" => stat.size = number()?,
            "mtime" => stat.mtime = value.as_i64().unwrap_or_default(),
            "atime" => stat.atime = value.as_i64().unwrap_or_default(),
            "ctime" => stat.ctime = value.as_i64().unwrap_or_default(),
            "inode" => stat.inode = number()?,
            "dev" => stat.dev = number()?,
            "nlink" => stat.nlink = number()?,
            "target" => stat.target = Some(text()?),
            other => return Err(format!("a stat has no `{other}`")),
        }
    }
    Ok(stat)
}

fn words(text: &str) -> Result<Vec<String>> {
    shlex::split(text).ok_or_else(|| "the command cannot be split into words".to_owned())
}

fn exec_result(value: &Value) -> Result<ExecResult> {
    match value {
        Value::String(text) => Ok(ExecResult {
            stdout: Content::from(text),
            ..ExecResult::default()
        }),
        Value::Object(map) => {
            let mut map = map.clone();
            map.entry("rc").or_insert(json!(0));
            serde_json::from_value(Value::Object(map)).map_err(|e| e.to_string())
        }
        _ => Err("expected stdout or {rc, stdout, stderr}".to_owned()),
    }
}

/// A key of `seen` in its normal form, and the observation.
fn observation(text: &str, value: &Value) -> Result<(String, Observation)> {
    let (look, rest) = text.split_once(' ').unwrap_or((text, ""));
    let normal = if look == "exec" {
        format!("exec {}", join(&words(rest)?))
    } else {
        text.to_owned()
    };
    for (name, make) in [
        ("failed", Observation::Failed as fn(String) -> Observation),
        ("unknown", Observation::Unknown),
    ] {
        if let Some(why) = value.get(name).and_then(Value::as_str) {
            return Ok((normal, make(why.to_owned())));
        }
    }
    let observation = match look {
        "read" => Observation::Content(serde_json::from_value(value.clone()).map_err(|e| e.to_string())?),
        "stat" | "stat_follow" => Observation::Stat(match value {
            Value::Null => None,
            Value::Object(map) => Some(stat_of(map)?.into()),
            _ => return Err("expected a mapping or null".to_owned()),
        }),
        "glob" => Observation::List(serde_json::from_value(value.clone()).map_err(|e| e.to_string())?),
        "read_glob" => {
            let files: Files = serde_json::from_value(value.clone()).map_err(|e| e.to_string())?;
            Observation::Files(files.into())
        }
        "hash" | "tcp" => Observation::Text(serde_json::from_value(value.clone()).map_err(|e| e.to_string())?),
        "facts" => Observation::Facts(value.clone().into()),
        "exec" => Observation::Exec(exec_result(value)?),
        other => return Err(format!("there is no look `{other}`")),
    };
    Ok((normal, observation))
}

/// A probe as a key of `seen`.
fn key(probe: &Probe) -> String {
    match probe {
        Probe::Stat { path, follow: false } => format!("stat {path}"),
        Probe::Stat { path, follow: true } => format!("stat_follow {path}"),
        Probe::Read { path, .. } => format!("read {path}"),
        Probe::Hash { path, algorithm } => format!("hash {algorithm} {path}"),
        Probe::Glob { pattern } => format!("glob {pattern}"),
        Probe::ReadGlob { pattern } => format!("read_glob {pattern}"),
        Probe::Exec { argv, .. } => format!("exec {}", join(argv)),
        Probe::Facts => "facts".to_owned(),
        Probe::Tcp { host, port, .. } => format!("tcp {host}:{port}"),
    }
}

fn join(argv: &[String]) -> String {
    shlex::try_join(argv.iter().map(String::as_str)).unwrap_or_else(|_| format!("{argv:?}"))
}

fn outcome(value: &Value) -> Result<Outcome> {
    match value {
        Value::String(s) if s == "done" => Ok(Outcome::done()),
        Value::String(s) if s == "not_run" => Ok(Outcome {
            status: Status::NotRun,
            exec: None,
        }),
        Value::Object(map) if map.contains_key("failed") => {
            let mut map = map.clone();
            let text = map
                .remove("failed")
                .and_then(|v| v.as_str().map(str::to_owned))
                .unwrap_or_default();
            let exec = (!map.is_empty())
                .then(|| exec_result(&Value::Object(map)))
                .transpose()?;
            Ok(Outcome {
                status: Status::Failed(text),
                exec,
            })
        }
        other => Ok(Outcome {
            status: Status::Done,
            exec: Some(exec_result(other)?),
        }),
    }
}

/// The controller, as the case has it.
struct Controller<'a>(&'a Case);

impl Prepare for Controller<'_> {
    fn file(&self, src: &str) -> std::result::Result<(String, Vec<u8>), ArgError> {
        match self.0.files.get(src) {
            Some(text) => Ok((format!("files/{src}"), text.clone().into_bytes())),
            None => Err(ArgError::new("src", format!("there is no file `{src}`"))),
        }
    }
    fn tree(&self, src: &str) -> std::result::Result<(String, Vec<String>), ArgError> {
        let below = format!("{}/", src.trim_end_matches('/'));
        let names: Vec<String> = self
            .0
            .files
            .keys()
            .filter_map(|p| p.strip_prefix(&below))
            .map(str::to_owned)
            .collect();
        if names.is_empty() {
            return Err(ArgError::new("src", format!("there is no directory `{src}`")));
        }
        Ok((format!("files/{src}"), names))
    }
    fn mode(&self, src: &str, template: bool) -> std::result::Result<u32, ArgError> {
        let there = if template {
            self.0.templates.contains_key(src)
        } else {
            self.0.files.contains_key(src)
        };
        // Not the mode of new files, so that it shows.
        if there {
            Ok(0o640)
        } else {
            Err(ArgError::new("src", format!("there is no file `{src}`")))
        }
    }
    fn template(
        &self,
        src: &str,
        _options: &rmqplay::template::FileOptions,
        _dest: &str,
    ) -> std::result::Result<Vec<u8>, ArgError> {
        match self.0.templates.get(src) {
            Some(text) => Ok(text.clone().into_bytes()),
            None => Err(ArgError::new("src", format!("there is no template `{src}`"))),
        }
    }
    fn now(&self) -> &str {
        "2026-11-22T14:02:11Z"
    }
    fn check_mode(&self) -> bool {
        self.0.check_mode
    }
    fn environment(&self) -> BTreeMap<String, String> {
        self.0.environment.clone()
    }
    fn variable(&self, name: &str) -> std::result::Result<Option<Value>, ArgError> {
        Ok(self.0.vars.get(name).cloned())
    }
}
