//! INI inventories: `[group]`, `[group:children]`, `[group:vars]`, hosts with `key=value` variables.

use super::graph::{Draft, GroupId, Origin, UNGROUPED};
use super::{address, literal, words};
use crate::diagnostic::{Code, Diagnostic, FileId, Span, similar_name};
use crate::language::Node;
use indexmap::IndexMap;
use std::sync::Arc;

/// Reads a file into the draft. What is wrong in one line does not keep the others from being read.
pub(super) fn read(
    draft: &mut Draft,
    file: FileId,
    text: &str,
    origin: &Arc<Origin>,
    diagnostics: &mut Vec<Diagnostic>,
) {
    let mut reader = Reader {
        draft,
        file,
        origin,
        diagnostics,
        group: UNGROUPED,
        kind: Kind::Hosts,
        pending: IndexMap::new(),
    };
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        let indent = line.len() - line.trim_start().len();
        reader.line(line.trim(), start + indent);
        start += line.len();
    }
    reader.unresolved();
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Hosts,
    Children,
    Vars,
    /// Of a section that could not be read: its lines mean nothing.
    Unknown,
}

/// A group that is used before it is declared; the places that use it.
#[derive(Default)]
struct Pending {
    vars: Option<Span>,
    parents: Vec<(GroupId, Span)>,
}

struct Reader<'a> {
    draft: &'a mut Draft,
    file: FileId,
    origin: &'a Arc<Origin>,
    diagnostics: &'a mut Vec<Diagnostic>,
    group: GroupId,
    kind: Kind,
    pending: IndexMap<String, Pending>,
}

impl Reader<'_> {
    fn span(&self, start: usize, end: usize) -> Span {
        Span::new(self.file, start, end)
    }

    fn error(&mut self, message: impl Into<String>, span: Span, label: impl Into<String>) -> &mut Diagnostic {
        self.diagnostics
            .push(Diagnostic::error(Code::INVENTORY, message).at(span, label));
        let last = self.diagnostics.len() - 1;
        &mut self.diagnostics[last]
    }

    /// `start` is the byte of the file the line, without its white space, begins at.
    fn line(&mut self, line: &str, start: usize) {
        if line.is_empty() || line.starts_with([';', '#']) {
            return;
        }
        if let Some((name, kind)) = section(line) {
            return self.section(name, kind, start);
        }
        let span = self.span(start, start + line.len());
        if line.starts_with('[') && line.ends_with(']') {
            self.kind = Kind::Unknown;
            self.error("this section cannot be read", span, "not a section")
                .notes
                .push("a section is `[group]`, `[group:children]` or `[group:vars]`, without white space".to_owned());
            return;
        }
        match self.kind {
            Kind::Hosts => self.hosts(line, start),
            Kind::Children => self.child(line, span),
            Kind::Vars => self.variable(line, start),
            Kind::Unknown => {}
        }
    }

    fn section(&mut self, name: &str, kind: Option<&str>, start: usize) {
        // Behind the `[`.
        let name_span = self.span(start + 1, start + 1 + name.len());
        self.kind = match kind {
            None | Some("hosts") => Kind::Hosts,
            Some("children") => Kind::Children,
            Some("vars") => Kind::Vars,
            Some(other) => {
                let from = start + name.len() + 2;
                let span = self.span(from, from + other.len());
                self.kind = Kind::Unknown;
                let error = self.error(
                    format!("unknown kind of section `{other}`"),
                    span,
                    "not a kind of section",
                );
                error
                    .notes
                    .push("a section is `[group]`, `[group:children]` or `[group:vars]`".to_owned());
                if let Some(similar) = similar_name(other, ["children", "vars", "hosts"]) {
                    *error = error.clone().fix("there is one with a similar name", span, similar);
                }
                return;
            }
        };
        if self.kind == Kind::Vars {
            if !self.draft.groups.contains_key(name) {
                self.pending.entry(name.to_owned()).or_default().vars = Some(name_span);
            }
            self.group = self.draft.group(name);
            return;
        }
        self.group = self.draft.group(name);
        if let Some(pending) = self.pending.shift_remove(name) {
            for (parent, span) in pending.parents {
                self.add_child(parent, self.group, span);
            }
        }
    }

    fn add_child(&mut self, parent: GroupId, child: GroupId, span: Span) {
        if self.draft.child(parent, child).is_err() {
            let name = |id: GroupId| self.draft.groups.keys()[id].clone();
            let message = format!("group `{}` would contain itself", name(parent));
            let label = format!("`{}` is above `{}` already", name(child), name(parent));
            self.error(message, span, label);
        }
    }

    fn child(&mut self, line: &str, span: Span) {
        let name = line
            .split(|c: char| c.is_whitespace() || c == '#')
            .next()
            .unwrap_or_default();
        let rest = line[name.len()..].trim_start();
        if name.is_empty() || name.contains([':', ']']) || !(rest.is_empty() || rest.starts_with('#')) {
            self.error("expected the name of a group", span, "not the name of a group")
                .notes
                .push("a `:children` section has one group a line".to_owned());
            return;
        }
        let span = Span::new(self.file, span.start as usize, span.start as usize + name.len());
        match self.draft.groups.get_index_of(name) {
            Some(child) => self.add_child(self.group, child, span),
            None => self
                .pending
                .entry(name.to_owned())
                .or_default()
                .parents
                .push((self.group, span)),
        }
    }

    fn variable(&mut self, line: &str, start: usize) {
        let Some((key, value)) = line.split_once('=') else {
            let span = self.span(start, start + line.len());
            self.error("expected `key=value` in a `:vars` section", span, "not a `key=value`");
            return;
        };
        let from = start + key.len() + 1 + (value.len() - value.trim_start().len());
        let (key, value) = (key.trim(), value.trim());
        let span = self.span(from, from + value.len());
        if let Some(value) = self.value(value, span)
            && let Err(message) = self.draft.set_of_group(self.group, key, value)
        {
            self.error(message, span, "");
        }
    }

    fn value(&mut self, text: &str, span: Span) -> Option<Arc<Node>> {
        match literal::value(text, span) {
            Ok(node) => Some(Arc::new(node)),
            Err(why) => {
                let error = self.error(format!("this value cannot be read: {why}"), span, "");
                error
                    .notes
                    .push("values of INI inventories are Python literals where they look like one".to_owned());
                error.helps.push(
                    "put the value in quotation marks, on a host line in two kinds of them: `\"'...'\"`".to_owned(),
                );
                None
            }
        }
    }

    fn hosts(&mut self, line: &str, start: usize) {
        let words = match words::split(line) {
            Ok(words) => words,
            Err((at, why)) => {
                let span = self.span(start + at, start + line.len());
                self.error("this host line cannot be read", span, why);
                return;
            }
        };
        let Some((entry, rest)) = words.split_first() else {
            return;
        };
        let entry_span = self.span(start + entry.range.start, start + entry.range.end);
        let Some((names, port)) = self.names(&entry.text, entry_span) else {
            return;
        };
        let mut vars: Vec<(&str, Arc<Node>, Span)> = Vec::new();
        for (at, word) in rest.iter().enumerate() {
            let span = self.span(start + word.range.start, start + word.range.end);
            let Some((key, value)) = word.text.split_once('=') else {
                let error = self.error("expected `key=value` behind the host", span, "not a `key=value`");
                if rest.get(at + 1).is_some_and(|next| next.text.starts_with('=')) {
                    error
                        .helps
                        .push("write it without white space around the `=`".to_owned());
                } else {
                    error.helps.push(
                        "a value with white space needs quotation marks; a host needs a line of its own".to_owned(),
                    );
                }
                return;
            };
            let span = value_span(line, word, start, self.file);
            if let Some(node) = self.value(value, span) {
                vars.push((key, node, span));
            }
        }
        for name in &names {
            self.draft
                .host(name, self.group, port.map(|p| (p, entry_span)), self.origin);
            for (key, value, span) in &vars {
                if let Err(message) = self.draft.set(name, key, Arc::clone(value)) {
                    self.error(message, *span, "");
                    return;
                }
            }
        }
    }

    fn names(&mut self, entry: &str, span: Span) -> Option<(Vec<String>, Option<u32>)> {
        let (names, port) = match address::expand(entry) {
            Ok(expanded) => expanded,
            Err(why) => {
                self.error(why, span, "in this host range");
                return None;
            }
        };
        if entry.is_empty() {
            self.error("a host must have a name", span, "");
            return None;
        }
        if entry.ends_with(':') && port.is_none() {
            let error = self.error(
                format!("a host name cannot end in `:`, as `{entry}` does"),
                span,
                "a port must follow",
            );
            error
                .notes
                .push("if this is YAML, its file must end in `.yml` or `.yaml`".to_owned());
            return None;
        }
        if names.iter().any(|n| n.trim() == "---") {
            let error = self.error("`---` is not a host name", span, "");
            error
                .notes
                .push("this looks like YAML; its file must end in `.yml` or `.yaml`".to_owned());
            return None;
        }
        if names.is_empty() {
            self.diagnostics.push(
                Diagnostic::warning(Code::INVENTORY, "this host range holds no host").at(span, "ends before it begins"),
            );
        }
        Some((names, port))
    }

    fn unresolved(&mut self) {
        let pending = std::mem::take(&mut self.pending);
        for (name, uses) in &pending {
            let known = self
                .draft
                .groups
                .keys()
                .filter(|g| !pending.contains_key(*g))
                .map(String::as_str);
            let similar = similar_name(name, known).map(str::to_owned);
            let places = uses.parents.iter().map(|(parent, span)| {
                let parent = &self.draft.groups.keys()[*parent];
                (*span, format!("a child of `{parent}`, but no section `[{name}]`"))
            });
            let vars = uses
                .vars
                .map(|span| (span, format!("variables, but no section `[{name}]`")));
            for (span, label) in places.chain(vars).collect::<Vec<_>>() {
                let error = self.error(format!("group `{name}` is not defined"), span, label);
                if let Some(similar) = &similar {
                    *error = error.clone().fix("there is a group with a similar name", span, similar);
                } else {
                    error
                        .helps
                        .push(format!("add a section `[{name}]`, which may be empty"));
                }
            }
        }
    }
}

/// `[name]` or `[name:kind]`, maybe with a `#` comment behind.
fn section(line: &str) -> Option<(&str, Option<&str>)> {
    let (inside, rest) = line.strip_prefix('[')?.split_once(']')?;
    let rest = rest.trim_start();
    if !(rest.is_empty() || rest.starts_with('#')) || inside.contains(char::is_whitespace) {
        return None;
    }
    let (name, kind) = match inside.split_once(':') {
        Some((name, kind)) => (name, Some(kind)),
        None => (inside, None),
    };
    let word = |kind: &str| !kind.is_empty() && kind.chars().all(|c| c.is_alphanumeric() || c == '_');
    (!name.is_empty() && kind.is_none_or(word)).then_some((name, kind))
}

/// Where the value of a `key=value` word stands, without the quotes around it.
fn value_span(line: &str, word: &words::Word, start: usize, file: FileId) -> Span {
    let written = &line[word.range.clone()];
    let from = written.find('=').map_or(0, |at| at + 1);
    let value = &written[from..];
    let quotes = ['\'', '"']
        .iter()
        .any(|q| value.len() > 1 && value.starts_with(*q) && value.ends_with(*q));
    let (a, b) = (word.range.start + from, word.range.end);
    if quotes {
        Span::new(file, start + a + 1, start + b - 1)
    } else {
        Span::new(file, start + a, start + b)
    }
}
