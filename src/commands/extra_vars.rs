//! `-e`: `k=v` pairs, files, and YAML or JSON on the command line.

use crate::cli::ExtraVars;
use crate::diagnostic::{Code, Diagnostic, SourceMap};
use crate::inventory::read_vars;
use crate::language::{Files, Node, Yaml, short_form, yaml};
use std::sync::Arc;

/// Later ones replace earlier ones of the same name.
pub fn read(
    given: &[ExtraVars],
    files: &dyn Files,
    sources: &SourceMap,
    diagnostics: &mut Vec<Diagnostic>,
) -> Vec<(String, Arc<Node>)> {
    let mut all: Vec<(String, Arc<Node>)> = Vec::new();
    for one in given {
        let vars = match one {
            ExtraVars::File(path) => read_vars(path, files, sources, diagnostics).unwrap_or_default(),
            ExtraVars::Document(text) => document(text, sources, diagnostics),
            ExtraVars::Pairs(text) => pairs(text, sources, diagnostics),
        };
        for (name, value) in vars {
            all.retain(|(other, _)| *other != name);
            all.push((name, value));
        }
    }
    all
}

fn document(text: &str, sources: &SourceMap, diagnostics: &mut Vec<Diagnostic>) -> Vec<(String, Arc<Node>)> {
    let file = sources.add("<command line>", text);
    let (documents, problems) = yaml::parse(sources, file);
    let broken = problems.iter().any(Diagnostic::is_error);
    diagnostics.extend(problems);
    match documents.into_iter().next() {
        Some(Node {
            yaml: Yaml::Map(mapping),
            ..
        }) => mapping
            .entries
            .into_iter()
            .map(|e| (e.key, Arc::new(e.value)))
            .collect(),
        Some(other) if !broken => {
            diagnostics.push(
                Diagnostic::error(Code::USAGE, "extra variables must be a mapping of names to values")
                    .at(other.span, format!("this is {}", other.kind())),
            );
            Vec::new()
        }
        _ => Vec::new(),
    }
}

fn pairs(text: &str, sources: &SourceMap, diagnostics: &mut Vec<Diagnostic>) -> Vec<(String, Arc<Node>)> {
    let file = sources.add("<command line>", text);
    let span = crate::diagnostic::Span::new(file, 0, text.len());
    match short_form::parse(sources, &Node::str(span, text), text, false) {
        Ok(form) => {
            if let Some(free) = form.free {
                diagnostics.push(
                    Diagnostic::error(Code::USAGE, format!("`{}` sets no variable", free.trim()))
                        .at(span, "in this argument of `-e`")
                        .help("write `name=value`; quote a value with blanks: `-e 'name=\"a b\"'`"),
                );
            }
            form.pairs
                .entries
                .into_iter()
                .map(|e| (e.key, Arc::new(e.value)))
                .collect()
        }
        Err(diagnostic) => {
            diagnostics.push(*diagnostic);
            Vec::new()
        }
    }
}
