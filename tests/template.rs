//! Templates against real Ansible: every case of `tests/template/*.yml` is evaluated by both, and must come out equal.
//! Where we differ on purpose the case says `differs: why`, and then it must differ. What no case can say:
//!
//! - `union`, `intersect`, `difference` and `symmetric_difference` keep the order of their lists; Python's sets have none.
//! - A key written `1` in YAML is the text `1` here; `d[1]` and `d['1']` both find it.
//! - `d.items` without a call is the entry `items` where there is one, not the method.
//! - `random`, `shuffle` and new passwords without a seed draw from the run's seed; with a seed they draw as Python does.
//! - `password_hash`, `wordwrap`, version type `pep440`, `encrypt=` of the `password` lookup are not supported yet.
//! - Integers beyond 127 bits are an error, not a longer integer; bytes (`encode()`) do not exist.
//! - A tuple without parentheses (`{{ 1, 2 }}`) and a unary `+` do not parse; `{% do %}`, `{% break %}`, `{% continue %}` do.
//! - Functions of collections (`json_query`, `ipaddr`...) are unknown filters; `lookup('flattened')` is there.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test that cannot go on fails"
)]

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
        if name == "TZ" {
            Some("UTC".into())
        } else {
            std::env::var(name).ok()
        }
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
            templar
                .resolve(node, &scope)
                .map(|v| v.unwrap_or_else(|| "<omitted>".into()))
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
                println!(
                    "{}: {}\n     ours: {ours}\n  ansible: {theirs}\n",
                    case.file, case.shown
                );
            }
            let equal = match (&case.ours, theirs.get("ok")) {
                // As text, so that 1 and 1.0 differ and the order of keys counts.
                (Ok(ours), Some(theirs)) => format!("{ours}") == format!("{theirs}"),
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
    assert!(
        wrong.is_empty(),
        "{} of {count} cases differ:\n\n{}",
        wrong.len(),
        wrong.join("\n\n")
    );
}

/// Variables with the places of their keys, as the engine's scopes know them.
#[derive(Debug)]
struct Written(BTreeMap<String, (Found, Option<rmqplay::diagnostic::Span>)>);

impl Scope for Written {
    fn lookup(&self, name: &str) -> Found {
        self.0.get(name).map_or(Found::Missing, |f| f.0.clone())
    }
    fn names(&self) -> Vec<String> {
        self.0.keys().cloned().collect()
    }
    fn defined_at(&self, name: &str) -> Option<rmqplay::diagnostic::Span> {
        self.0.get(name).and_then(|f| f.1)
    }
}

struct World {
    sources: SourceMap,
    templar: Templar,
    scope: Arc<dyn Scope>,
}

impl World {
    /// Variables from YAML; `later` is not known yet, `result` is data that looks like a template.
    fn new(vars: &str) -> World {
        let sources = SourceMap::default();
        let file = sources.add("vars.yml", vars);
        let (documents, errors) = yaml::parse(&sources, file);
        assert!(errors.is_empty(), "{errors:?}");
        let mut variables = BTreeMap::new();
        for entry in documents.first().and_then(Node::as_map).map_or(&[][..], |m| &m.entries) {
            let found = Found::Trusted(Arc::new(entry.value.clone()));
            variables.insert(entry.key.clone(), (found, Some(entry.key_span)));
        }
        variables.insert("later".into(), (Found::Unknown("`stat` has not run".into()), None));
        let result = json!({"stdout": "{{ evil }}", "expression": "1 == 1"});
        variables.insert("result".into(), (Found::Data(Arc::new(result)), None));
        World {
            templar: templar(&sources),
            sources,
            scope: Arc::new(Written(variables)),
        }
    }

    fn node(&self, text: &str) -> Node {
        let file = self.sources.add("play.yml", text);
        let (documents, errors) = yaml::parse(&self.sources, file);
        assert!(errors.is_empty(), "{errors:?}");
        documents[0].clone()
    }

    fn value(&self, text: &str) -> Result<Option<Value>, rmqplay::template::TemplateError> {
        self.templar.resolve(&self.node(text), &self.scope)
    }

    fn shown(&self, diagnostic: &rmqplay::diagnostic::Diagnostic) -> String {
        let options = rmqplay::diagnostic::RenderOptions {
            color: false,
            width: 120,
        };
        rmqplay::diagnostic::render_human(&self.sources, diagnostic, options)
    }

    /// The message for a YAML text whose template fails.
    fn failure(&self, text: &str) -> String {
        self.shown(&self.value(text).expect_err(text).diagnostic)
    }

    fn condition_failure(&self, text: &str) -> String {
        let error = self.templar.condition(&self.node(text), &self.scope).expect_err(text);
        self.shown(&error.diagnostic)
    }

    fn checked(&self, text: &str) -> String {
        let found = self.templar.check(&self.node(text));
        found.iter().map(|d| self.shown(d)).collect()
    }
}

const VARS: &str = "\
rabbitmq:
  memory_limit: 4G
  port: 5672
listen: '{{ rabbitmq.prot }}'
address: \"host:{{ listen }}\"
round: '{{ trip }}'
trip: '{{ round }}'
words: [a, b]
";

#[test]
fn an_undefined_name_is_shown_where_it_stands() {
    let w = World::new(VARS);
    insta::assert_snapshot!(w.failure("a: 1\nlimit: 'x {{ rabbitmq.memory_limt }}'\n"), @r#"
    error[E101]: undefined variable `rabbitmq.memory_limt`
     --> play.yml:2:14
      |
    2 | limit: 'x {{ rabbitmq.memory_limt }}'
      |              ^^^^^^^^^^^^^^^^^^^^
      |
    note: `rabbitmq` is defined here, without `memory_limt`
     --> vars.yml:1:1
      |
    1 | rabbitmq:
      | --------
    help: a key with a similar name exists: `memory_limit`
    "#);
    insta::assert_snapshot!(w.failure("text: |\n  first\n  second {{ rabitmq }}\n"), @r#"
    error[E101]: undefined variable `rabitmq`
     --> play.yml:3:13
      |
    3 |   second {{ rabitmq }}
      |             ^^^^^^^
      |
    help: a variable with a similar name exists: `rabbitmq`
    "#);
    insta::assert_snapshot!(w.failure("text: '{{ words[5] }}'\n"), @r#"
    error[E101]: undefined variable `words[5]`: the list has 2 items
     --> play.yml:1:11
      |
    1 | text: '{{ words[5] }}'
      |           ^^^^^^^^
    "#);
    insta::assert_snapshot!(w.failure("text: \"tab\\t{{ nope }}\"\n"), @r#"
    error[E101]: undefined variable `nope`
     --> play.yml:1:8
      |
    1 | text: "tab\t{{ nope }}"
      |        ^^^^^^^^^^^^^^^
    "#);
}

#[test]
fn an_undefined_name_in_a_variable_shows_the_way_to_it() {
    insta::assert_snapshot!(World::new(VARS).failure("bind: '{{ address }}'\n"), @r#"
    error[E101]: undefined variable `rabbitmq.prot`
     --> vars.yml:4:13
      |
    4 | listen: '{{ rabbitmq.prot }}'
      |             ^^^^^^^^^^^^^
      |
    note: `rabbitmq` is defined here, without `prot`
     --> vars.yml:1:1
      |
    1 | rabbitmq:
      | --------
    note: needed by `listen` here
     --> vars.yml:5:19
      |
    5 | address: "host:{{ listen }}"
      |                   ------
    note: needed by `address` here
     --> play.yml:1:11
      |
    1 | bind: '{{ address }}'
      |           -------
    help: a key with a similar name exists: `port`
    "#);
}

#[test]
fn a_variable_that_refers_to_itself_names_the_cycle() {
    insta::assert_snapshot!(World::new(VARS).failure("bind: '{{ trip }}'\n"), @r#"
    error[E103]: variable `trip` refers to itself: `trip` → `round` → `trip`
     --> vars.yml:6:12
      |
    6 | round: '{{ trip }}'
      |            ^^^^
      |
    note: needed by `round` here
     --> vars.yml:7:11
      |
    7 | trip: '{{ round }}'
      |           -----
    note: needed by `trip` here
     --> play.yml:1:11
      |
    1 | bind: '{{ trip }}'
      |           ----
    "#);
}

#[test]
fn a_filter_that_fails_is_shown_with_what_it_needs() {
    let w = World::new(VARS);
    insta::assert_snapshot!(w.failure("x: \"{{ words | dict2items }}\"\n"), @r#"
    error[E102]: filter `dict2items`: needs a dict, not a value of type list
     --> play.yml:1:16
      |
    1 | x: "{{ words | dict2items }}"
      |                ^^^^^^^^^^
    "#);
    insta::assert_snapshot!(w.failure("x: \"{{ rabbitmq.port + 'a' }}\"\n"), @r#"
    error[E102]: unsupported operand type(s) for +: 'int' and 'str'
     --> play.yml:1:8
      |
    1 | x: "{{ rabbitmq.port + 'a' }}"
      |        ^^^^^^^^^^^^^^^^^^^
    "#);
}

#[test]
fn conditions_must_be_boolean() {
    let w = World::new(VARS);
    insta::assert_snapshot!(w.condition_failure("rabbitmq.memory_limit\n"), @r#"
    error[E102]: a condition must be true or false, this is a value of type str
     --> play.yml:1:1
      |
    1 | rabbitmq.memory_limit
      | ^^^^^^^^^^^^^^^^^^^^^
      |
      = note: Ansible 2.19 refuses conditions without a boolean result, too
    help: compare it, or turn it into a boolean with `| bool`
    "#);
    insta::assert_snapshot!(w.condition_failure("words\n"), @r#"
    error[E102]: a condition must be true or false, this is a value of type list
     --> play.yml:1:1
      |
    1 | words
      | ^^^^^
      |
      = note: Ansible 2.19 refuses conditions without a boolean result, too
    help: ask for what is meant: `x is defined`, `x | length > 0`, `x | bool`
    "#);
    insta::assert_snapshot!(w.condition_failure("rabbitmq.port == 5672 and nope\n"), @r#"
    error[E101]: undefined variable `nope`
     --> play.yml:1:27
      |
    1 | rabbitmq.port == 5672 and nope
      |                           ^^^^
    "#);
}

#[test]
fn lint_finds_what_needs_no_variable() {
    let w = World::new(VARS);
    insta::assert_snapshot!(w.checked("- '{{ a | uper }}'\n- '{{ a is definde }}'\n- \"{{ lookup('fil', 'x') }}\"\n- '{{ a | b64encod | nope }}'\n"), @r#"
    error[E100]: unknown filter `uper`
     --> play.yml:1:11
      |
    1 | - '{{ a | uper }}'
      |           ^^^^
      |
    help: a filter with a similar name exists: `upper`
    error[E100]: unknown test `definde`
     --> play.yml:2:12
      |
    2 | - '{{ a is definde }}'
      |            ^^^^^^^
      |
    help: a test with a similar name exists: `defined`
    error[E100]: unknown lookup `fil`
     --> play.yml:3:14
      |
    3 | - "{{ lookup('fil', 'x') }}"
      |              ^^^^^
      |
    help: a lookup with a similar name exists: `file`
    error[E100]: unknown filter `b64encod`
     --> play.yml:4:11
      |
    4 | - '{{ a | b64encod | nope }}'
      |           ^^^^^^^^
      |
    help: a filter with a similar name exists: `b64encode`
    error[E100]: unknown filter `nope`
     --> play.yml:4:22
      |
    4 | - '{{ a | b64encod | nope }}'
      |                      ^^^^
    "#);
    insta::assert_snapshot!(w.checked("- '{% if a %}x'\n- '{% fro i in a %}'\n- '{{ a b }}'\n- '{{ a'\n- ok {{ a | upper }}\n"), @r#"
    error[E100]: this `if` has no `endif`
     --> play.yml:1:7
      |
    1 | - '{% if a %}x'
      |       ^^
    error[E100]: unknown statement `fro`
     --> play.yml:2:7
      |
    2 | - '{% fro i in a %}'
      |       ^^^
      |
    help: a statement with a similar name exists: `from`
    error[E100]: the template cannot be parsed: unexpected identifier, expected end of variable block
     --> play.yml:3:9
      |
    3 | - '{{ a b }}'
      |         ^
    error[E100]: the template cannot be parsed: unexpected end of input, expected end of variable block
     --> play.yml:4:7
      |
    4 | - '{{ a'
      |       ^
    "#);
}

#[test]
fn an_end_without_a_beginning_is_told_as_such() {
    let w = World::new(VARS);
    let error = w
        .templar
        .file("x.j2", "a\n{% else %}\n", &FileOptions::default(), &[], &w.scope);
    insta::assert_snapshot!(w.shown(&error.unwrap_err().diagnostic), @r"
    error[E100]: `else` belongs to no statement that is open here
     --> x.j2:2:4
      |
    2 | {% else %}
      |    ^^^^
    ");
}

/// Of what fails inside a filter, before the first statement, or for want of a file.
#[test]
fn every_error_of_a_file_has_a_place() {
    let w = World::new(VARS);
    let place = |text: &str| {
        let error = w.templar.file("x.j2", text, &FileOptions::default(), &[], &w.scope);
        let shown = w.shown(&error.unwrap_err().diagnostic);
        shown.lines().nth(1).unwrap_or_default().trim().to_owned()
    };
    assert_eq!(place("a\n{{ ['b'] | map(attribute='c') | join }}\n"), "--> x.j2:2:12");
    assert_eq!(place("\n{% extends 'nowhere.j2' %}\n"), "--> x.j2:2:12");
    assert_eq!(place("#jinja2: nope: True\na\n"), "--> x.j2:1:1");
    assert_eq!(
        place("#jinja2: lstrip_blocks: True\r\na\r\n\r\né {{ nowhere }}\r\n"),
        "--> x.j2:4:6"
    );
    assert_eq!(place("{# a #}\n b {# c {{ d }}\n"), "--> x.j2:2:4");
    assert_eq!(place("a\r\n\r\nb\r\n{% endif %}\r\n"), "--> x.j2:4:4");
}

#[test]
fn a_template_file_is_shown_with_its_own_lines() {
    let w = World::new(VARS);
    let text = "#jinja2: lstrip_blocks: True\na = {{ rabbitmq.port }}\nb = {{ rabbitmq.memory_limt }}\n";
    let error = w
        .templar
        .file("templates/x.j2", text, &FileOptions::default(), &[], &w.scope)
        .unwrap_err();
    insta::assert_snapshot!(w.shown(&error.diagnostic), @r#"
    error[E101]: undefined variable `rabbitmq.memory_limt`
     --> templates/x.j2:3:8
      |
    3 | b = {{ rabbitmq.memory_limt }}
      |        ^^^^^^^^^^^^^^^^^^^^
      |
    note: `rabbitmq` is defined here, without `memory_limt`
     --> vars.yml:1:1
      |
    1 | rabbitmq:
      | --------
    help: a key with a similar name exists: `memory_limit`
    "#);
}

#[test]
fn what_is_not_known_yet_cannot_be_hidden() {
    use rmqplay::template::ErrorKind::Unknown;
    let w = World::new("copy: '{{ later.stat }}'\ndeep: {a: '{{ later }}', b: 1}\n");
    for text in [
        "'{{ later }}'",
        "'{{ later.stat.exists | default(false) }}'",
        "'{{ later is defined }}'",
        "'{{ later is not defined }}'",
        "'{{ copy | default(1) }}'",
        "'x{{ later | string | default(2) }}'",
        "'{{ [later] }}'",
        "'{{ (later | default([])) | length }}'",
        "'{% for x in later %}{% endfor %}'",
        "'{{ deep }}'",
        "'{{ deep.a | mandatory }}'",
    ] {
        let kind = w.value(text).map_err(|e| e.kind);
        assert_eq!(kind, Err(Unknown("`stat` has not run".into())), "{text}");
    }
    assert_eq!(w.value("'{{ deep.b }}'").unwrap(), Some(json!(1)));
    assert_eq!(w.value("'{{ true or later }}'").unwrap(), Some(json!(true)));
}

#[test]
fn data_is_never_a_template() {
    let w = World::new("again: '{{ result.stdout }}'\n");
    assert_eq!(w.value("'{{ again }}'").unwrap(), Some(json!("{{ evil }}")));
    assert_eq!(
        w.value("'x {{ result }}'").unwrap(),
        Some(json!("x {'stdout': '{{ evil }}', 'expression': '1 == 1'}"))
    );
    assert_eq!(w.value("!unsafe '{{ evil }}'").unwrap(), Some(json!("{{ evil }}")));
    // A result's text is no condition, either.
    w.templar
        .condition(&w.node("'{{ result.expression }}'"), &w.scope)
        .unwrap_err();
}

#[test]
fn all_variables_are_in_vars() {
    let w = World::new("a: 1\nb: '{{ a + 1 }}'\n");
    assert_eq!(
        w.value("\"{{ vars.b }} {{ vars['a'] }} {{ 'a' in vars }}\"").unwrap(),
        Some(json!("2 1 True"))
    );
}

#[test]
fn other_hosts_variables_are_evaluated_in_their_own_scope() {
    let host = |name: &str| -> Arc<dyn Scope> {
        let w = World::new("address: '{{ name }}.example'\n");
        let mut variables = BTreeMap::new();
        variables.insert("name".to_owned(), (Found::Data(Arc::new(name.into())), None));
        variables.insert("address".to_owned(), (w.scope.lookup("address"), None));
        Arc::new(Written(variables))
    };
    let mut w = World::new("name: here\n");
    let hosts = ["mq-1", "mq-2"].map(|n| (n.to_owned(), (Found::Scope(host(n)), None)));
    let hostvars: Arc<dyn Scope> = Arc::new(Written(hosts.into_iter().collect()));
    w.scope = Arc::new(Written(
        [("hostvars".to_owned(), (Found::Scope(hostvars), None))]
            .into_iter()
            .collect(),
    ));
    assert_eq!(
        w.value("\"{{ hostvars['mq-2'].address }} {{ hostvars | list }} {{ hostvars['mq-9'].x | default('none') }}\"")
            .unwrap(),
        Some(json!("mq-2.example ['mq-1', 'mq-2'] none"))
    );
    assert_eq!(
        w.value("\"{{ hostvars.values() | map(attribute='address') | join(' ') }}\"")
            .unwrap(),
        Some(json!("mq-1.example mq-2.example"))
    );
}

#[test]
fn nesting_ends_with_a_message_not_with_the_stack() {
    let deep = "[".repeat(100) + &"]".repeat(100);
    let mut chain = String::from("v0: end\n");
    for i in 1..200 {
        chain += &format!("v{i}: '{{{{ v{} }}}}'\n", i - 1);
    }
    // Threads of the runtime have 2 MiB.
    let run = move || {
        let w = World::new(&chain);
        assert_eq!(w.value("'{{ v50 }}'").unwrap(), Some(json!("end")));
        w.value("'{{ v199 }}'").unwrap_err();
        w.value("'{% macro m(x) %}{{ m(x) }}{% endmacro %}{{ m(1) }}'")
            .unwrap_err();
        let lists = "[".repeat(60) + "m(x)" + &"]".repeat(60);
        w.value(&format!(
            "'{{% macro m(x) %}}{{{{ {lists} }}}}{{% endmacro %}}{{{{ m(1) }}}}'"
        ))
        .unwrap_err();
        w.value("'{% macro m(x) %}{% for i in [1] %}{% if i %}{{ m(x) | upper }}{% endif %}{% endfor %}{% endmacro %}{{ m(1) }}'").unwrap_err();
        w.value("'{% set l = [] %}{{ l.append(l) }}{{ l }}'").unwrap_err();
        w.value(&format!("'{{{{ {deep} }}}}'")).unwrap_err();
        w.templar.file(
            "x.j2",
            &format!("{{{{ {}1{} }}}}", "(".repeat(149), ")".repeat(149)),
            &FileOptions::default(),
            &[],
            &w.scope,
        )
    };
    std::thread::Builder::new()
        .stack_size(2 << 20)
        .spawn(run)
        .unwrap()
        .join()
        .unwrap()
        .ok();
}
