//! What went wrong during an evaluation, and where in a source text that is.

use super::{ErrorKind, Scope, TemplateError};
use crate::diagnostic::{Code, Diagnostic, FileId, SourceMap, Span, similar_name};
use std::rc::Rc;
use std::sync::Arc;

pub(crate) type Res<T> = Result<T, Rc<Fault>>;

/// The text a template was compiled from and what it is a copy of.
#[derive(Clone, Debug)]
pub(crate) struct Origin {
    pub text: Arc<str>,
    pub place: Place,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// The string of a YAML node (escapes and folding may lie between).
    Node(Span),
    /// A file of the source map, byte for byte from this offset on.
    File(FileId, u32),
    /// Nowhere a person could look.
    Nowhere,
}

/// A byte range of an [`Origin`]'s text.
#[derive(Clone, Debug)]
pub(crate) struct At {
    pub origin: Rc<Origin>,
    pub start: u32,
    pub end: u32,
}

#[derive(Clone, Debug)]
pub(crate) struct Fault {
    pub kind: ErrorKind,
    pub message: String,
    pub at: Option<At>,
    /// Expressions on the way to it, innermost first.
    pub trail: Vec<(String, At)>,
    pub notes: Vec<String>,
    pub helps: Vec<String>,
    pub related: Vec<(String, Span)>,
    /// The undefined name and where it was looked for: what it may have been meant to be is found out only for a
    /// failure that is told. Most undefined names meet a `default`.
    pub unknown_name: Option<(Arc<str>, Arc<dyn Scope>)>,
}

impl Fault {
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Fault {
            kind,
            message: message.into(),
            at: None,
            trail: Vec::new(),
            notes: Vec::new(),
            helps: Vec::new(),
            related: Vec::new(),
            unknown_name: None,
        }
    }

    /// Sets the place where none is known yet.
    pub fn located(self: Rc<Self>, at: impl FnOnce() -> At) -> Rc<Self> {
        if self.at.is_some() {
            return self;
        }
        let mut fault = Rc::unwrap_or_clone(self);
        fault.at = Some(at());
        Rc::new(fault)
    }

    pub fn is_undefined(&self) -> bool {
        matches!(self.kind, ErrorKind::Undefined(_))
    }

    pub fn into_error(self, sources: &SourceMap, whole: Option<Span>) -> TemplateError {
        let code = match self.kind {
            ErrorKind::Syntax => Code::TEMPLATE_SYNTAX,
            ErrorKind::Undefined(_) => Code::UNDEFINED,
            ErrorKind::Recursion => Code::RECURSION,
            ErrorKind::Unknown(_) | ErrorKind::Other => Code::TEMPLATE,
        };
        let span = self.at.as_ref().and_then(|at| at.span(sources)).or(whole);
        let mut diagnostic = Diagnostic::error(code, self.message.clone());
        if let Some(span) = span {
            diagnostic = diagnostic.at(span, "");
        }
        for (message, at) in self.related {
            diagnostic = diagnostic.related(message, key_of(sources, at).unwrap_or(at), "");
        }
        // The inner and the outer end of a long chain say the most; three steps are enough to follow it.
        for (message, at) in self.trail.iter().take(3) {
            if let Some(span) = at.span(sources)
                && Some(span) != diagnostic.position()
            {
                diagnostic = diagnostic.related(message.clone(), span, "");
            }
        }
        diagnostic.notes = self.notes;
        if let Some((name, scope)) = self.unknown_name
            && let Some(similar) = similar_name(&name, scope.names().iter().map(String::as_str))
        {
            diagnostic = diagnostic.help(format!("a variable with a similar name exists: `{similar}`"));
        }
        diagnostic.helps.extend(self.helps);
        TemplateError {
            kind: self.kind,
            message: self.message,
            span,
            diagnostic: Box::new(diagnostic),
        }
    }
}

/// A failure of an operation on values; the evaluator adds the place.
pub(crate) fn fail(message: impl Into<String>) -> Rc<Fault> {
    Rc::new(Fault::new(ErrorKind::Other, message))
}

/// An undefined value without a name (an empty list's `first`...).
pub(crate) fn undefined(message: impl Into<String>) -> Rc<Fault> {
    let message = message.into();
    Rc::new(Fault::new(ErrorKind::Undefined(message.clone()), message))
}

impl At {
    pub fn span(&self, sources: &SourceMap) -> Option<Span> {
        let (start, end) = (self.start as usize, self.end as usize);
        match self.origin.place {
            Place::Nowhere => None,
            Place::File(file, base) => {
                let source = sources.get(file)?;
                let place = |at: usize| as_written(&source.text, at + base as usize);
                Some(Span::new(file, place(start), place(end)))
            }
            Place::Node(node) => {
                let source = sources.get(node.file)?;
                let written = source.text.get(node.start as usize..node.end as usize)?;
                let map = align(&self.origin.text, written, start, end);
                Some(map.map_or(node, |(start, end)| {
                    Span::new(node.file, node.start as usize + start, node.start as usize + end)
                }))
            }
        }
    }
}

/// Where a byte of a template stands in its file: templates are evaluated with `\n` at the end of lines.
fn as_written(text: &str, at: usize) -> usize {
    if !text.contains('\r') {
        return at;
    }
    let bytes = text.as_bytes();
    let counted = (0..bytes.len()).filter(|&i| !bytes[i..].starts_with(b"\r\n"));
    counted.chain([bytes.len()]).nth(at).unwrap_or(bytes.len())
}

/// The key of the mapping in which this value stands: less to read than the value.
fn key_of(sources: &SourceMap, value: Span) -> Option<Span> {
    let text = &sources.get(value.file)?.text;
    let (before, after) = (text.get(..value.start as usize)?, text.get(value.end as usize..)?);
    if after.trim_start().starts_with(':') {
        return None;
    }
    let before = before.trim_end().strip_suffix([':', '='])?;
    let name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let start = before.trim_end_matches(name).len();
    (start < before.len()).then(|| Span::new(value.file, start, before.len()))
}

/// Where the bytes `start..end` of a YAML string's value stand in its written form: equal text, the lines of a
/// block scalar, folded lines, doubled single quotes. `None` where escapes make it unclear.
fn align(value: &str, written: &str, start: usize, end: usize) -> Option<(usize, usize)> {
    if value.len() <= written.len() && written.starts_with(value) {
        return Some((start, end));
    }
    let (value, written) = (value.as_bytes(), written.as_bytes());
    // The header of a block scalar (`|`, `>-`) may or may not be part of the span.
    let mut w = match written.first() {
        Some(b'|' | b'>') if value.first() != written.first() => written.iter().position(|b| *b == b'\n')? + 1,
        _ => 0,
    };
    let mut v = 0;
    let mut line_start = true;
    let mut mapped_start = None;
    let blank = |b: Option<&u8>| matches!(b, Some(b' ' | b'\t' | b'\n' | b'\r'));
    while v < value.len() {
        if line_start && w < written.len() && value[v] != written[w] {
            while matches!(written.get(w), Some(b' ' | b'\t')) {
                w += 1;
            }
        }
        line_start = false;
        if v == start && mapped_start.is_none() && written.get(w) == Some(&value[v]) {
            mapped_start = Some(w);
        }
        if v >= end {
            break;
        }
        match (value[v], written.get(w)) {
            (a, Some(b)) if a == *b => {
                if a == b'\'' && written.get(w + 1) == Some(&b'\'') && value.get(v + 1) != Some(&b'\'') {
                    w += 1;
                }
                if a == b'\n' {
                    // Skip the block's indentation only as far as the value has none.
                    let indent = written[w + 1..].iter().take_while(|b| **b == b' ').count();
                    let kept = value[v + 1..].iter().take_while(|b| **b == b' ').count();
                    w += indent.saturating_sub(kept);
                }
                v += 1;
                w += 1;
            }
            // A folded line break.
            (b' ' | b'\n', Some(_)) if blank(written.get(w)) => {
                v += 1;
                while blank(written.get(w)) {
                    w += 1;
                }
            }
            (_, Some(_)) if blank(written.get(w)) => w += 1,
            _ => return None,
        }
        if v == end {
            return Some((mapped_start?, w));
        }
    }
    Some((mapped_start?, w))
}

#[cfg(test)]
mod tests {
    use super::align;

    fn slice(value: &str, written: &str, what: &str) -> String {
        let start = value.find(what).unwrap();
        let (a, b) = align(value, written, start, start + what.len()).unwrap();
        written[a..b].to_owned()
    }

    #[test]
    fn expressions_are_found_in_every_writing_of_a_scalar() {
        assert_eq!(slice("a {{ b }}", "a {{ b }}", "b"), "b");
        let block = "|\n      one {{ x }}\n        two {{ y }}\n\n      three {{ z }}\n";
        let value = "one {{ x }}\n  two {{ y }}\n\nthree {{ z }}\n";
        for name in ["x", "y", "z"] {
            assert_eq!(slice(value, block, name), name);
        }
        assert_eq!(slice("it's {{ name }}", "it''s {{ name }}", "name"), "name");
        assert_eq!(slice("one {{ long }} two", "one {{ long }}\n     two", "long"), "long");
        assert_eq!(slice("one two {{ x }}", "one\n     two {{ x }}", "x"), "x");
        assert_eq!(align("a\tb {{ x }}", "a\\tb {{ x }}", 7, 8), None);
    }
}
