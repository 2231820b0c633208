//! The YAML parser's complaints in human words: what a person did, not which state a grammar was in.

use crate::diagnostic::{Code, Diagnostic, FileId, Span};
use crate::language::Node;
use granit_parser::{ErrorKind, ScanError};

/// A key that is no scalar. Nearly always a template that was left unquoted: `{{ x }}` is YAML for a mapping
/// with a mapping as its key.
pub fn key(key: &Node, value: &Node, flow: bool, mapping: Span, text: &str) -> Diagnostic {
    let whole = text
        .get(mapping.start as usize..mapping.end as usize)
        .unwrap_or_default();
    if flow && value.is_null() && whole.starts_with("{{") && whole.ends_with("}}") {
        return unquoted_template(mapping, whole);
    }
    Diagnostic::error(Code::SHAPE, format!("{} cannot be a key", key.kind())).at(key.span, "expected a name")
}

fn unquoted_template(span: Span, written: &str) -> Diagnostic {
    let quote = if written.contains('"') { '\'' } else { '"' };
    let diagnostic = Diagnostic::error(Code::YAML_SYNTAX, "a value that begins with a template must be quoted")
        .at(span, "YAML reads `{` as the beginning of a mapping");
    if written.contains(quote) {
        diagnostic.help("put the whole value in quotes")
    } else {
        diagnostic.fix("quote the whole value", span, format!("{quote}{written}{quote}"))
    }
}

/// The first mistake of syntax, after which the parser cannot go on. `read_to`: the end of what it understood.
pub fn syntax(file: FileId, text: &str, read_to: usize, error: &ScanError) -> Diagnostic {
    let mark = error.marker();
    let offset = mark
        .byte_offset()
        .unwrap_or_else(|| text.char_indices().nth(mark.index()).map_or(text.len(), |(at, _)| at));
    let place = Place::new(file, text, offset);
    if let Some(diagnostic) = tab(&place, error.kind()) {
        return diagnostic;
    }
    if let Some(diagnostic) = template(&place) {
        return diagnostic;
    }
    let new = |message: String| Diagnostic::error(Code::YAML_SYNTAX, message);
    match error.kind() {
        // PyYAML is lenient here; the YAML standard and nearly all other readers are not.
        ErrorKind::InvalidQuotedScalarIndent if !place.begins_something() => {
            new("a quoted value goes on with less indentation than it needs".into())
                .at(place.line(), "indent this line more than the key of the value")
        }
        ErrorKind::UnclosedQuotedScalar
        | ErrorKind::DocumentIndicatorInQuotedScalar
        | ErrorKind::InvalidQuotedScalarIndent => {
            let open = text.get(read_to..).and_then(|t| t.find(['"', '\'']));
            let span = open.map_or(place.here(1), |at| place.span(read_to + at, read_to + at + 1));
            new("this quote is never closed".into()).at(span, "opened here")
        }
        ErrorKind::InvalidTrailingSingleQuotedScalar | ErrorKind::InvalidTrailingDoubleQuotedScalar => {
            new("text follows the closing quote".into())
                .at(place.here(1), "the value ended before this")
                .help("quote the whole value, or nothing of it")
        }
        ErrorKind::UnknownQuotedScalarEscape => new("unknown escape in a double-quoted string".into())
            .at(place.escape(), "not an escape of YAML")
            .help("double the backslash, or use single quotes, which take it as it is"),
        ErrorKind::UnclosedFlowCollection { open } => {
            new(format!("this `{open}` is never closed")).at(place.here(1), "opened here")
        }
        ErrorKind::MismatchedFlowCollectionEnd { open, close } => {
            new(format!("`{open}` is closed by `{close}`")).at(place.here(1), "opened here")
        }
        ErrorKind::MisplacedFlowCollectionEnd => {
            new("a bracket is closed that was never opened".into()).at(place.here(1), "")
        }
        ErrorKind::UnexpectedEofFlowSequence
        | ErrorKind::UnexpectedEofFlowMapping
        | ErrorKind::UnexpectedEofImplicitFlowMapping
        | ErrorKind::ExpectedFlowMappingSeparator
        | ErrorKind::ExpectedFlowSequenceSeparator => {
            new("a bracket is not closed, or a comma is missing".into()).at(place.here(1), "before this")
        }
        ErrorKind::MappingValueNotAllowed if place.line[..place.offset - place.line_start].contains(": ") => {
            new("a second `: ` on one line".into())
                .at(place.here(1), "a mapping cannot begin here")
                .help("if the colon belongs to the text, quote the value")
        }
        ErrorKind::MappingValueNotAllowed => new("a mapping cannot begin here".into())
            .at(place.line(), "the text above it has not ended")
            .help("look at the line above: its key may lack a `:`"),
        ErrorKind::SimpleKeyExpected | ErrorKind::InvalidSimpleKey => {
            new("expected `key: value`".into()).at(place.line(), "no `: ` follows this key")
        }
        ErrorKind::ExpectedBlockMappingKey
        | ErrorKind::ExpectedBlockSequenceEntry
        | ErrorKind::BlockSequenceEntryNotAllowed
        | ErrorKind::MappingKeyNotAllowed
        | ErrorKind::InvalidIndentation
        | ErrorKind::ExpectedDocumentStart => new("this line does not fit the lines above it".into())
            .at(
                place.here(1),
                match place.column {
                    1 => "indented by 1 space".to_owned(),
                    n => format!("indented by {n} spaces"),
                },
            )
            .note("items of one list, and keys of one mapping, begin in the same column"),
        ErrorKind::InvalidBlockScalarIndent => {
            new("a line of this block of text is indented less than its first".into()).at(place.line(), "")
        }
        ErrorKind::UnexpectedCharacter { character } => new(format!("a value cannot begin with `{character}`"))
            .at(place.here(1), "reserved by YAML")
            .help("quote the value"),
        ErrorKind::RecursionLimitExceeded => new("collections nest too deep".into()).at(place.here(1), ""),
        kind => new(kind.to_string().to_lowercase()).at(place.here(1), ""),
    }
}

/// Where the parser stopped.
struct Place<'a> {
    file: FileId,
    text: &'a str,
    offset: usize,
    line_start: usize,
    line: &'a str,
    /// Characters before the place on its line.
    column: usize,
}

impl<'a> Place<'a> {
    fn new(file: FileId, text: &'a str, offset: usize) -> Self {
        let mut offset = offset.min(text.len());
        while !text.is_char_boundary(offset) {
            offset -= 1;
        }
        // At the very end there is nothing to point at: take the last line that has something.
        if text[offset..].trim().is_empty() {
            offset = text[..offset].trim_end().len();
        }
        let line_start = text[..offset].rfind('\n').map_or(0, |n| n + 1);
        let line_end = text[offset..].find('\n').map_or(text.len(), |n| offset + n);
        let line = text[line_start..line_end].trim_end_matches('\r');
        Place {
            file,
            text,
            offset,
            line_start,
            line,
            column: text[line_start..offset].chars().count(),
        }
    }

    fn span(&self, start: usize, end: usize) -> Span {
        Span::new(self.file, start, end)
    }

    /// So many characters from the place on.
    fn here(&self, chars: usize) -> Span {
        let len: usize = self.text[self.offset..].chars().take(chars).map(char::len_utf8).sum();
        self.span(self.offset, self.offset + len)
    }

    /// The text of the line, without what indents it.
    fn line(&self) -> Span {
        let trimmed = self.line.trim();
        let start = self.line_start + (self.line.len() - self.line.trim_start().len());
        self.span(start, start + trimmed.len())
    }

    /// Whether the line looks like a new key or item, or the file ends here: what was open was forgotten.
    fn begins_something(&self) -> bool {
        let line = self.line.trim_start();
        let key = line.split(':').next().unwrap_or_default();
        let name = |c: char| c.is_alphanumeric() || "_-. ".contains(c);
        let ends = self.text[self.offset..].trim().is_empty();
        ends || line.starts_with("- ") || (key.len() < line.len() && key.chars().all(name))
    }

    /// The first escape after the place that YAML does not have.
    fn escape(&self) -> Span {
        let rest = &self.text[self.offset..];
        let mut at = 0;
        while let Some(found) = rest[at..].find('\\') {
            at += found;
            match rest[at + 1..].chars().next() {
                Some(c) if !"0abtnvfre\t\n\r \"/\\N_LPxuU".contains(c) => {
                    return self.span(self.offset + at, self.offset + at + 1 + c.len_utf8());
                }
                Some(c) => at += 1 + c.len_utf8(),
                None => break,
            }
        }
        self.here(1)
    }
}

fn tab(place: &Place<'_>, kind: &ErrorKind) -> Option<Diagnostic> {
    let indent = place.line.len() - place.line.trim_start_matches([' ', '\t']).len();
    let in_indent = place.line[..indent].find('\t');
    let about_tabs = matches!(
        kind,
        ErrorKind::TabNotAllowed
            | ErrorKind::TabInBlockIndentation
            | ErrorKind::TabInIndentation
            | ErrorKind::TabInPlainScalar
            | ErrorKind::TabAtBlockScalarStart
    );
    let at = match in_indent {
        // A token cannot start with a tab either: the scanner calls it an unexpected character.
        Some(at) if about_tabs || matches!(kind, ErrorKind::UnexpectedCharacter { character: '\t' }) => at,
        Some(at) if place.column <= indent => at,
        _ if about_tabs => {
            return Some(
                Diagnostic::error(Code::YAML_SYNTAX, "a tab cannot stand here")
                    .at(place.here(1), "a tab")
                    .help("replace it with a space"),
            );
        }
        _ => return None,
    };
    let start = place.line_start + at;
    let width = place.text[..place.line_start]
        .lines()
        .rev()
        .chain(place.text[place.line_start..].lines().skip(1))
        .find(|l| !l.trim().is_empty() && !l.trim_start().starts_with('#') && !l.starts_with('\t'))
        .map(|l| l.len() - l.trim_start_matches(' ').len());
    let help = match width {
        Some(width) => format!("replace it with spaces; the lines around it use {width}"),
        None => "replace it with spaces".to_owned(),
    };
    Some(
        Diagnostic::error(Code::YAML_SYNTAX, "tabs cannot indent YAML")
            .at(place.span(start, start + 1), "a tab")
            .help(help),
    )
}

/// `key: {{ x }}/more` or `- {{ x }} ...`: the parser trips over what follows the braces.
fn template(place: &Place<'_>) -> Option<Diagnostic> {
    let mut from = 0;
    while let Some(found) = place.line[from..].find("{{") {
        let at = from + found;
        let before = place.line[..at].trim_end();
        if (before.ends_with(':') || before.ends_with('-'))
            && before.len() < at
            && place.line_start + at <= place.offset
        {
            let value = place.line[at..].trim_end();
            let value = value.find(" #").map_or(value, |n| value[..n].trim_end());
            let start = place.line_start + at;
            return Some(unquoted_template(place.span(start, start + value.len()), value));
        }
        from = at + 2;
    }
    None
}
