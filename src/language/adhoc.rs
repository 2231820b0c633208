//! One module without a playbook: `run PATTERN -m MODULE -a ARGS`.

use super::load::{Loader, Modules, REGISTERED};
use super::{Entry, Files, Mapping, Node, Program, Yaml, yaml};
use crate::diagnostic::{Diagnostic, SourceMap, Span};
use std::sync::Arc;

/// A play with one task, made of the words of a command line. `args`: `k=v` pairs, free form, or a mapping that
/// begins with `{`.
pub fn adhoc(
    pattern: &str,
    module: &str,
    args: &str,
    files: &dyn Files,
    sources: &SourceMap,
) -> (Program, Vec<Diagnostic>) {
    adhoc_with(REGISTERED, pattern, module, args, files, sources)
}

pub(super) fn adhoc_with(
    modules: Modules,
    pattern: &str,
    module: &str,
    args: &str,
    files: &dyn Files,
    sources: &SourceMap,
) -> (Program, Vec<Diagnostic>) {
    let mut loader = Loader::new(modules, files, sources, &[]);
    let word = |name: &str, text: &str| {
        let file = sources.add(format!("<{name}>"), text);
        Node::str(Span::new(file, 0, text.len()), text)
    };
    let hosts = word("pattern", pattern);
    let module = word("module", module);
    let mut args = word("arguments", args);
    if args.as_str().is_some_and(|text| text.trim_start().starts_with('{')) {
        let (mut documents, diagnostics) = yaml::parse(sources, args.span.file);
        loader.out.extend(diagnostics);
        // `{{ x }}` is a template after all.
        if let Some(mapping) = documents.pop().filter(|n| n.as_map().is_some()) {
            args = mapping;
        }
    } else if args.as_str().is_some_and(|text| text.trim().is_empty()) {
        args.yaml = Yaml::Null;
    }
    let key = module.as_str().unwrap_or_default().to_owned();
    let task = mapping(module.span, [entry(&key, module.span, args)]);
    let tasks = Node::new(module.span, Yaml::Seq(vec![task]));
    let facts = Node::new(hosts.span, Yaml::Bool(false));
    let at = hosts.span;
    let play = Mapping {
        entries: vec![
            entry("hosts", at, hosts),
            entry("gather_facts", at, facts),
            entry("tasks", at, tasks),
        ],
    };
    let node = Node::new(at, Yaml::Map(play.clone()));
    let mut program = Program::default();
    program.plays.extend(loader.play("", &node, &play, &[]).map(Arc::new));
    let mut diagnostics = loader.out;
    crate::diagnostic::tidy(sources, &mut diagnostics);
    (program, diagnostics)
}

fn entry(key: &str, key_span: Span, value: Node) -> Entry {
    Entry {
        key: key.to_owned(),
        key_span,
        value,
    }
}

fn mapping<const N: usize>(span: Span, entries: [Entry; N]) -> Node {
    Node::new(
        span,
        Yaml::Map(Mapping {
            entries: entries.into(),
        }),
    )
}
