//! Small questions about a node, each with its complaint: is it a list, a boolean, a name?

use crate::diagnostic::{Code, Diagnostic};
use crate::language::{Mapping, Node, Yaml};
use std::sync::Arc;

pub type Out<'a> = &'a mut Vec<Diagnostic>;

pub fn wrong(node: &Node, what: &str, expected: &str) -> Diagnostic {
    Diagnostic::error(Code::SHAPE, format!("{what} must be {expected}, not {}", node.kind()))
        .at(node.span, format!("expected {expected}"))
}

pub fn list<'a>(node: &'a Node, what: &str, out: Out<'_>) -> &'a [Node] {
    match &node.yaml {
        Yaml::Seq(items) => items,
        // `tasks:` with nothing below it.
        Yaml::Null => &[],
        _ => {
            out.push(wrong(node, what, "a list"));
            &[]
        }
    }
}

pub fn mapping<'a>(node: &'a Node, what: &str, out: Out<'_>) -> Option<&'a Mapping> {
    let mapping = node.as_map();
    if mapping.is_none() {
        out.push(wrong(node, what, "a mapping"));
    }
    mapping
}

/// A boolean, as written in any of Ansible's ways, or a template for one.
pub fn boolean(node: &Node, what: &str, out: Out<'_>) -> Option<Node> {
    if node.is_null() {
        return None;
    }
    if !node.is_template() && crate::modules::boolean(&node.to_value()).is_none() {
        let mut diagnostic = Diagnostic::error(Code::VALUE, format!("{what} must be a boolean, not {}", shown(node)))
            .at(node.span, "expected `true` or `false`");
        if node.as_str().is_some() {
            diagnostic = diagnostic.help("an expression must stand in `{{ }}` here");
        }
        out.push(diagnostic);
        return None;
    }
    Some(node.clone())
}

/// A string (or a number, which becomes one), or a template.
pub fn string(node: &Node, what: &str, out: Out<'_>) -> Option<Node> {
    match node.yaml {
        Yaml::Null => None,
        Yaml::Seq(_) | Yaml::Map(_) => {
            out.push(wrong(node, what, "a string"));
            None
        }
        _ => Some(node.clone()),
    }
}

/// A number (integer or not), or a template.
pub fn number(node: &Node, what: &str, out: Out<'_>) -> Option<Node> {
    let fine = match &node.yaml {
        Yaml::Null => return None,
        Yaml::Int(_) | Yaml::Float(_) => true,
        Yaml::Str(text) => node.is_template() || text.value.trim().parse::<f64>().is_ok(),
        _ => false,
    };
    if !fine {
        out.push(
            Diagnostic::error(Code::VALUE, format!("{what} must be a number, not {}", shown(node)))
                .at(node.span, "expected a number"),
        );
        return None;
    }
    Some(node.clone())
}

/// One of the words, or a template.
pub fn choice(node: &Node, what: &str, words: &[&str], not_yet: &[&str], out: Out<'_>) -> Option<Node> {
    let node = string(node, what, out)?;
    let Some(word) = node.as_str() else {
        out.push(wrong(&node, what, "a string"));
        return None;
    };
    let short = word.strip_prefix("ansible.builtin.").unwrap_or(word);
    if node.is_template() {
        return Some(node);
    }
    if words.contains(&short) {
        // Under its short name: nobody else needs to know the long one.
        return Some(match short == word {
            true => node,
            false => Node::str(node.span, short),
        });
    }
    let all: Vec<_> = words.iter().map(|w| format!("`{w}`")).collect();
    out.push(if not_yet.contains(&short) {
        Diagnostic::error(Code::NOT_SUPPORTED, format!("{what} `{word}` is not supported yet"))
            .at(node.span, "Ansible knows it, rmqplay does not")
            .note(format!("supported are {}", all.join(", ")))
    } else {
        let diagnostic = Diagnostic::error(Code::VALUE, format!("{what} cannot be `{word}`"))
            .at(node.span, "not one of the choices");
        match crate::diagnostic::similar_name(word, words.iter().copied()) {
            Some(near) => diagnostic.fix("there is a choice with a similar name", node.span, near),
            None => diagnostic.note(format!("choose one of {}", all.join(", "))),
        }
    });
    None
}

/// A list, or one thing that stands for a list of one.
pub fn one_or_many(node: &Node) -> Vec<Node> {
    match &node.yaml {
        Yaml::Null => Vec::new(),
        Yaml::Seq(items) => items.clone(),
        _ => vec![node.clone()],
    }
}

/// Conditions: an expression or a list of them, all of which must hold.
pub fn conditions(node: &Node, what: &str, out: Out<'_>) -> Vec<Node> {
    let all = one_or_many(node);
    for one in &all {
        if matches!(one.yaml, Yaml::Seq(_) | Yaml::Map(_)) {
            out.push(wrong(one, what, "an expression"));
        }
    }
    all.into_iter()
        .filter(|n| !matches!(n.yaml, Yaml::Seq(_) | Yaml::Map(_)))
        .collect()
}

/// Variables: a mapping whose keys are names.
pub fn variables(node: &Node, what: &str, out: Out<'_>) -> Vec<(String, Arc<Node>)> {
    if node.is_null() {
        return Vec::new();
    }
    let Some(mapping) = mapping(node, what, out) else {
        return Vec::new();
    };
    mapping
        .entries
        .iter()
        .filter(|e| is_name(&e.key, e.key_span, out))
        .map(|e| (e.key.clone(), Arc::new(e.value.clone())))
        .collect()
}

/// The variables of a whole file, where Ansible does not look at the names.
pub fn variables_of_file(node: &Node, out: Out<'_>) -> Vec<(String, Arc<Node>)> {
    if node.is_null() {
        return Vec::new();
    }
    match mapping(node, "a file of variables", out) {
        Some(mapping) => mapping
            .entries
            .iter()
            .map(|e| (e.key.clone(), Arc::new(e.value.clone())))
            .collect(),
        None => Vec::new(),
    }
}

/// The name of a variable: what Ansible's `validate_variable_name` takes.
pub fn name(node: &Node, what: &str, out: Out<'_>) -> Option<String> {
    let Some(name) = node.as_str() else {
        out.push(wrong(node, what, "the name of a variable"));
        return None;
    };
    is_name(name, node.span, out).then(|| name.to_owned())
}

fn is_name(name: &str, span: crate::diagnostic::Span, out: Out<'_>) -> bool {
    let wrong = not_a_variable(name, span);
    let fine = wrong.is_none();
    out.extend(wrong);
    fine
}

/// What is wrong with a name for a variable, if anything.
pub fn not_a_variable(name: &str, span: crate::diagnostic::Span) -> Option<Diagnostic> {
    // What Ansible keeps back of Jinja's words; `if` and the like are allowed.
    const RESERVED: &[&str] = &["False", "None", "True", "false", "none", "not", "true"];
    let letter = |c: char| c.is_ascii_alphabetic() || c == '_';
    let shaped = name.starts_with(letter) && name.chars().all(|c| letter(c) || c.is_ascii_digit());
    let reserved = RESERVED.contains(&name);
    if shaped && !reserved {
        return None;
    }
    let diagnostic = Diagnostic::error(Code::VALUE, format!("`{name}` cannot be the name of a variable")).at(span, "");
    Some(if reserved {
        diagnostic.note("the word has a meaning of its own in expressions")
    } else {
        diagnostic.note("names begin with a letter or `_` and hold only letters, digits and `_`")
    })
}

/// How a value is shown in a message.
pub fn shown(node: &Node) -> String {
    match &node.yaml {
        Yaml::Str(text) => format!("`{}`", text.value),
        Yaml::Bool(_) | Yaml::Int(_) | Yaml::Float(_) => format!("`{}`", node.to_value()),
        _ => node.kind().to_owned(),
    }
}

/// A scalar as text.
pub fn plain(node: &Node) -> String {
    match &node.yaml {
        Yaml::Str(text) => text.value.clone(),
        _ => node.to_value().to_string(),
    }
}
