//! Files that RabbitMQ reads: each rabbitmq.conf with its conf.d, and what can be told of templates that become one.

use super::kind::{BrokerFile, Found, Kind, join, last, parent};
use super::text;
use crate::commands::Session;
use crate::diagnostic::{Diagnostic, Span};
use crate::language::{Files, Item, Node, Program, Yaml};
use crate::rabbitmq::Version;
use crate::rabbitmq::conf::{self, Line, Setting, Target, plugins};
use serde_json::Value;
use std::collections::BTreeMap;

pub fn check(session: &Session, found: &[Found], version: Option<Version>, out: &mut Vec<Diagnostic>) {
    let mut nodes: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for one in found {
        let path = one.path.as_str();
        match one.kind {
            Kind::Broker(BrokerFile::Conf) => nodes.entry(base(path)).or_default().push(path),
            Kind::Broker(kind) => {
                if let Some(text) = text(session, path, out) {
                    out.extend(match kind {
                        BrokerFile::Env => conf::env::check(session.sources.add(path, conf::env::masked(&text)), &text),
                        _ => conf::advanced::check(session.sources.add(path, text.as_str()), &text),
                    });
                }
            }
            Kind::Template => template(session, path, version, out),
            _ => {}
        }
    }
    for (directory, mut paths) in nodes {
        // As the node reads them: the main file, then those of conf.d by name.
        paths.sort_by_key(|path| (last(parent(path)) == "conf.d", *path));
        let enabled = session.files.read(&join(directory, "enabled_plugins")).ok();
        let target = Target {
            version,
            plugins: enabled.and_then(|bytes| plugins::enabled(&String::from_utf8_lossy(&bytes))),
            ..Target::default()
        };
        let mut reader = Reader {
            session,
            target: &target,
            open: Vec::new(),
            lines: Vec::new(),
        };
        for path in paths {
            reader.file(path, out);
        }
        out.extend(conf::check(&reader.lines, &target));
    }
}

/// The directory a node's files are in.
fn base(path: &str) -> &str {
    let directory = parent(path);
    if last(directory) == "conf.d" {
        parent(directory)
    } else {
        directory
    }
}

/// The lines of a template that no expression makes: names of keys, and values that are written out.
fn template(session: &Session, path: &str, version: Option<Version>, out: &mut Vec<Diagnostic>) {
    let name = last(path).trim_end_matches(".j2");
    let ours = name == "rabbitmq.conf"
        || (name.ends_with(".conf") && last(parent(path)) == "conf.d" && path.contains("rabbitmq"));
    if !ours {
        return;
    }
    // That it cannot be read was told with the template itself.
    let Some(text) = text(session, path, &mut Vec::new()) else {
        return;
    };
    let written = conf::static_part(&text);
    let file = session.sources.add(path, conf::masked(&text));
    let target = Target::new(version);
    let lines = conf::parse(file, &written, &target, out);
    // What lines are to each other, branches and loops decide.
    out.extend(conf::check_each(&lines, &target));
}

/// What tasks of `rabbitmq_conf` write out in their `values`.
pub fn tasks(program: &Program, version: Option<Version>, out: &mut Vec<Diagnostic>) {
    for play in &program.plays {
        let lists = play.sections();
        for list in lists {
            items(list, version, out);
        }
    }
}

fn items(list: &[Item], version: Option<Version>, out: &mut Vec<Diagnostic>) {
    for item in list {
        match item {
            Item::Block(block) => {
                for list in [&block.block, &block.rescue, &block.always] {
                    items(list, version, out);
                }
            }
            Item::Task(task) if task.module == "rabbitmq_conf" => {
                let get = |name: &str| task.args.as_map().and_then(|m| m.get(name));
                let extra = get("extra_keys").map(Node::to_value);
                let extra_keys = match extra {
                    Some(Value::Array(items)) => items.iter().filter_map(|v| v.as_str().map(str::to_owned)).collect(),
                    Some(Value::String(text)) => text.split(',').map(|t| t.trim().to_owned()).collect(),
                    _ => Vec::new(),
                };
                let named = get("version")
                    .and_then(Node::as_str)
                    .and_then(|v| conf::release(v).ok());
                let target = Target {
                    version: version.or(named),
                    extra_keys,
                    ..Target::default()
                };
                let mut lines = Vec::new();
                if let Some(values) = get("values") {
                    written(values, String::new(), values.span, &mut lines);
                }
                out.extend(conf::check_each(&lines, &target).into_iter().map(in_a_tree));
            }
            Item::Task(_) | Item::RoleEnd(_) => {}
        }
    }
}

/// The settings of a tree of values, each at its place; an expression's value is not known.
fn written(node: &Node, key: String, key_span: Span, out: &mut Vec<Line>) {
    let below = |name: &str| {
        if key.is_empty() {
            name.to_owned()
        } else {
            format!("{key}.{name}")
        }
    };
    match &node.yaml {
        Yaml::Map(map) => {
            for entry in map.entries.iter().filter(|e| !e.key.contains("{{")) {
                written(&entry.value, below(&entry.key), entry.key_span, out);
            }
        }
        Yaml::Seq(items) => {
            for (i, item) in items.iter().enumerate() {
                written(item, below(&(i + 1).to_string()), item.span, out);
            }
        }
        _ if key.is_empty() || matches!(node.yaml, Yaml::Null) => {}
        _ => {
            let known = !node.as_str().is_some_and(|t| t.contains("{{") || t.contains("{%"));
            let value = known
                .then(|| conf::write::scalar(&key, &node.to_value()).ok())
                .flatten();
            out.push(Line::Setting(Setting {
                key,
                key_span,
                value,
                value_span: node.span,
            }));
        }
    }
}

/// A key's place is that of its last part: what to write instead is said, not patched.
pub fn in_a_tree(mut found: Diagnostic) -> Diagnostic {
    for fix in std::mem::take(&mut found.fixes) {
        found.helps.push(format!("{}: `{}`", fix.message, fix.replacement));
    }
    found
}

struct Reader<'a> {
    session: &'a Session,
    target: &'a Target,
    /// Files that are being read, for those that include each other.
    open: Vec<String>,
    lines: Vec<Line>,
}

impl Reader<'_> {
    fn file(&mut self, path: &str, out: &mut Vec<Diagnostic>) {
        if self.open.iter().any(|p| p == path) {
            return;
        }
        let Some(text) = text(self.session, path, out) else {
            return;
        };
        let file = self.session.sources.add(path, conf::masked(&text));
        self.open.push(path.to_owned());
        for line in conf::parse(file, &text, self.target, out) {
            match &line {
                Line::Include { pattern, .. } => {
                    for path in self.included(path, pattern) {
                        self.file(&path, out);
                    }
                }
                Line::Setting(_) => self.lines.push(line),
            }
        }
        self.open.pop();
    }

    /// Files that `pattern` names, seen from `path`: a `*` in the last part only; none is no mistake.
    fn included(&self, path: &str, pattern: &str) -> Vec<String> {
        let whole = if pattern.starts_with('/') {
            pattern.to_owned()
        } else {
            join(parent(path), pattern)
        };
        let Some((front, back)) = last(&whole).split_once('*') else {
            return if self.session.files.exists(&whole) {
                vec![whole]
            } else {
                Vec::new()
            };
        };
        let directory = parent(&whole);
        let names = self.session.files.list(directory).unwrap_or_default();
        let fits = |n: &&String| n.len() >= front.len() + back.len() && n.starts_with(front) && n.ends_with(back);
        names.iter().filter(fits).map(|n| join(directory, n)).collect()
    }
}
