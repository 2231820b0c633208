//! Templates against real Ansible: every case of `tests/template/*.yml` is evaluated by both, and must come out equal.
//! Where we differ on purpose the case says `differs: why`, and then it must differ.

use rmqplay::diagnostic::SourceMap;
use rmqplay::language::{Files, Mapping, Node, yaml};
use rmqplay::template::{FileOptions, Found, Scope, Settings, Templar};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

#[derive(Debug)]
struct Disk;

impl Files for Disk {
    fn read(&self, path: &str) -> std::io::Result<Vec<u8>> {
        std::fs::read(path)
    }
    fn exists(&self, path: &str) -> bool {
        Path::new(path).exists()
    }
    fn is_dir(&self, path: &str) -> bool {
        Path::new(path).is_dir()
    }
    fn list(&self, path: &str) -> std::io::Result<Vec<String>> {
        let mut names: Vec<String> = std::fs::read_dir(path)?
            .filter_map(|e| e.ok()?.file_name().into_string().ok())
            .collect();
        names.sort();
        Ok(names)
    }
    fn absolute(&self, path: &str) -> String {
        let path = std::path::absolute(path).unwrap();
        path.canonicalize().unwrap_or(path).to_string_lossy().into_owned()
    }
    fn env(&self, name: &str) -> Option<String> {
        if name == "TZ" { Some("UTC".into()) } else { std::env::var(name).ok() }
    }
    fn pipe(&self, command: &str) -> std::io::Result<Vec<u8>> {
        Ok(Command::new("sh").arg("-c").arg(command).output()?.stdout)
    }
    fn create(&self, path: &str, content: &[u8]) -> std::io::Result<()> {
        std::fs::write(path, content)
    }
}

#[derive(Debug, Default)]
struct Variables(BTreeMap<String, Found>);

impl Scope for Variables {
    fn lookup(&self, name: &str) -> Found {
        self.0.get(name).cloned().unwrap_or(Found::Missing)
    }
    fn names(&self) -> Vec<String> {
        self.0.keys().cloned().collect()
    }
}

fn templar(sources: &SourceMap) -> Templar {
    let clock = || "2026-03-04T05:06:07Z[UTC]".parse().unwrap();
    let settings = Settings {
        seed: 1,
        clock: Arc::new(clock),
    };
    Templar::new(Arc::new(Disk), sources.clone(), settings)
}

fn scope(directory: &str, layers: &[Option<&Mapping>]) -> Arc<dyn Scope> {
    let mut variables = Variables::default();
    for entry in layers.iter().flatten().flat_map(|m| &m.entries) {
        let node = Found::Trusted(Arc::new(entry.value.clone()));
        variables.0.insert(entry.key.clone(), node);
    }
    let mut data = |name: &str, value: Value| variables.0.insert(name.into(), Found::Data(Arc::new(value)));
    data("playbook_dir", directory.into());
    data("ansible_search_path", json!([directory]));
    Arc::new(variables)
}

fn options(node: Option<&Node>) -> FileOptions {
    let mut options = FileOptions::default();
    for entry in node.and_then(Node::as_map).map_or(&[][..], |m| &m.entries) {
        let text = || entry.value.as_str().unwrap().to_owned();
        let flag = || entry.value.to_value() == json!(true);
        match entry.key.as_str() {
            "trim_blocks" => options.trim_blocks = flag(),
            "lstrip_blocks" => options.lstrip_blocks = flag(),
            "newline_sequence" => options.newline = text(),
            "block_start_string" => options.block.0 = text(),
            "block_end_string" => options.block.1 = text(),
            "variable_start_string" => options.variable.0 = text(),
            "variable_end_string" => options.variable.1 = text(),
            "comment_start_string" => options.comment.0 = text(),
            "comment_end_string" => options.comment.1 = text(),
            other => panic!("option {other}"),
        }
    }
    options
}

struct Case {
    file: String,
    shown: String,
    differs: Option<String>,
    ours: Result<Value, String>,
}

fn cases(path: &Path) -> Vec<Case> {
    let sources = SourceMap::default();
    let text = std::fs::read_to_string(path).unwrap();
    let file = sources.add(path.display().to_string(), text);
    let (documents, errors) = yaml::parse(&sources, file);
    assert!(errors.is_empty(), "{}: {errors:?}", path.display());
    let document = documents[0].as_map().unwrap();
    let directory = path.parent().unwrap().to_str().unwrap();
    let templar = templar(&sources);
    let shared = document.get("vars").and_then(Node::as_map);
    let mut out = Vec::new();
    for (i, case) in document.get("cases").unwrap().as_seq().unwrap().iter().enumerate() {
        let map = case.as_map();
        let get = |key: &str| map.and_then(|m| m.get(key));
        let scope = scope(directory, &[shared, get("vars").and_then(Node::as_map)]);
        let value = if map.is_none() { Some(case) } else { get("value") };
        let ours = if let Some(node) = value {
            templar.resolve(node, &scope).map(|v| v.unwrap_or_else(|| "<omitted>".into()))
        } else if let Some(node) = get("when") {
            templar.condition(node, &scope).map(Value::Bool)
        } else if let Some(node) = get("expression") {
            templar.expression(node, &scope)
        } else {
            let text = get("file").and_then(Node::as_str).unwrap();
            let search = [directory.to_owned()];
            let name = format!("{directory}/case-{i}.j2");
            let options = options(get("options"));
            templar.file(&name, text, &options, &search, &scope).map(Value::String)
        };
        out.push(Case {
            file: path.file_name().unwrap().to_string_lossy().into_owned(),
            shown: case.to_value().to_string(),
            differs: get("differs").map(|n| n.as_str().unwrap().to_owned()),
            ours: ours.map_err(|e| e.message),
        });
    }
    out
}

/// The directory with Ansible's commands and its Python.
fn ansible() -> PathBuf {
    let directory = std::env::var_os("RMQPLAY_ANSIBLE").map(PathBuf::from);
    let directory = directory.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("target/oracle/bin"));
    assert!(
        directory.join("ansible").exists(),
        "these tests compare with real Ansible; make a virtual environment with ansible-core==2.19.14 at target/oracle, \
         or name its bin directory in RMQPLAY_ANSIBLE"
    );
    // Python looks for its environment beside the path it was started by.
    directory.canonicalize().unwrap()
}

#[test]
fn every_case_comes_out_as_ansible_has_it() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/template");
    let mut paths: Vec<PathBuf> = std::fs::read_dir(&directory)
        .unwrap()
        .map(|e| e.unwrap().path())
        .filter(|p| p.extension().is_some_and(|e| e == "yml"))
        .collect();
    paths.sort();
    let output = Command::new(ansible().join("python3"))
        .arg(directory.join("oracle.py"))
        .args(&paths)
        .env("TZ", "UTC")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let Ok(theirs) = serde_json::from_str::<BTreeMap<String, Vec<Value>>>(&text) else {
        panic!("the oracle failed: {}\n{text}", String::from_utf8_lossy(&output.stderr));
    };
    let mut wrong = Vec::new();
    let mut count = 0;
    for path in &paths {
        let cases = cases(path);
        let theirs = &theirs[path.file_name().unwrap().to_str().unwrap()];
        assert_eq!(cases.len(), theirs.len());
        for (case, theirs) in cases.iter().zip(theirs) {
            count += 1;
            if std::env::var_os("RMQPLAY_SHOW_ERRORS").is_some()
                && let (Err(ours), None) = (&case.ours, theirs.get("ok"))
            {
                println!("{}: {}\n     ours: {ours}\n  ansible: {theirs}\n", case.file, case.shown);
            }
            let equal = match (&case.ours, theirs.get("ok")) {
                (Ok(ours), Some(theirs)) => ours.to_string() == theirs.to_string(),
                (Err(_), None) => true,
                _ => false,
            };
            if equal == case.differs.is_some() {
                let ours = match &case.ours {
                    Ok(v) => v.to_string(),
                    Err(e) => format!("error: {e}"),
                };
                let expected = if equal { " (should differ)" } else { "" };
                wrong.push(format!(
                    "{}: {}\n     ours: {ours}\n  ansible: {theirs}{expected}",
                    case.file, case.shown
                ));
            }
        }
    }
    assert!(count > 100, "only {count} cases");
    assert!(wrong.is_empty(), "{} of {count} cases differ:\n\n{}", wrong.len(), wrong.join("\n\n"));
}
