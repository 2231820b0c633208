//! Delimiters, backslashes, and what minijinja's parser has to say.

use super::{Problem, Range};
use crate::diagnostic::similar_name;
use crate::template::FileOptions;
use minijinja::syntax::SyntaxConfig;

pub(super) fn syntax_of(options: &FileOptions) -> Result<SyntaxConfig, Problem> {
    SyntaxConfig::builder()
        .block_delimiters(options.block.0.clone(), options.block.1.clone())
        .variable_delimiters(options.variable.0.clone(), options.variable.1.clone())
        .comment_delimiters(options.comment.0.clone(), options.comment.1.clone())
        .trim_blocks(options.trim_blocks)
        .lstrip_blocks(options.lstrip_blocks)
        .keep_trailing_newline(options.keep_trailing_newline)
        .build()
        .map_err(|e| Problem {
            message: format!(
                "these delimiters cannot be used together: {}",
                e.detail().unwrap_or("they clash")
            ),
            range: Range::default(),
            help: None,
            note: None,
        })
}

pub(super) fn syntax_problem(error: &minijinja::Error, doubled: &Doubled, options: &FileOptions) -> Problem {
    let range = error.range().map_or(Range::default(), |r| Range {
        start: doubled.original(r.start),
        end: doubled.original(r.end),
    });
    let detail = error.detail().map_or_else(|| error.to_string(), str::to_owned);
    if let Some(word) = detail.strip_prefix("unknown statement ") {
        let word = word.trim_matches('`');
        if STATEMENTS.contains(&word) {
            return Problem {
                message: format!("`{word}` belongs to no statement that is open here"),
                help: None,
                range,
                note: None,
            };
        }
        return Problem {
            message: format!("unknown statement `{word}`"),
            help: similar_name(word, STATEMENTS).map(|s| format!("a statement with a similar name exists: `{s}`")),
            range,
            note: None,
        };
    }
    let closed = doubled.text.rfind(&options.comment.1).unwrap_or(0);
    if detail.contains("end of comment")
        && let Some(start) = doubled.text[closed..].find(&options.comment.0).map(|at| closed + at)
    {
        return Problem {
            message: "this comment has no end".into(),
            range: Range {
                start: doubled.original(start),
                end: doubled.original(start + options.comment.0.len()),
            },
            help: None,
            note: None,
        };
    }
    if detail.contains("end of input")
        && let Some((word, start, end)) = unclosed(&doubled.text, options)
    {
        return Problem {
            message: format!("this `{word}` has no `end{word}`"),
            range: Range {
                start: doubled.original(start),
                end: doubled.original(end),
            },
            help: None,
            note: None,
        };
    }
    Problem {
        message: format!("the template cannot be parsed: {detail}"),
        range,
        help: None,
        note: None,
    }
}

/// The innermost statement that is opened and never ended.
fn unclosed(text: &str, options: &FileOptions) -> Option<(String, usize, usize)> {
    let mut open: Vec<(String, usize, usize)> = Vec::new();
    let mut position = 0;
    while let Some(i) = text.get(position..)?.find(&options.block.0) {
        let start = position + i + options.block.0.len();
        let end = start + text[start..].find(&options.block.1)?;
        let inside = text[start..end].trim_matches(['-', '+']);
        let word_start = start + text[start..end].find(|c: char| c.is_ascii_alphabetic()).unwrap_or(0);
        let word: String = inside
            .trim_start()
            .chars()
            .take_while(char::is_ascii_alphabetic)
            .collect();
        position = end;
        match word.strip_prefix("end") {
            Some(ended) if open.last().is_some_and(|o| o.0 == ended) => {
                open.pop();
            }
            _ if word == "set" && inside.contains('=') => {}
            _ if ENDED.contains(&word.as_str()) => open.push((word.clone(), word_start, word_start + word.len())),
            _ => {}
        }
    }
    open.pop()
}

/// Statements with an end tag.
const ENDED: [&str; 10] = [
    "for",
    "if",
    "set",
    "block",
    "macro",
    "call",
    "filter",
    "with",
    "raw",
    "autoescape",
];

const STATEMENTS: [&str; 28] = [
    "for",
    "endfor",
    "if",
    "elif",
    "else",
    "endif",
    "set",
    "endset",
    "block",
    "endblock",
    "macro",
    "endmacro",
    "call",
    "endcall",
    "filter",
    "endfilter",
    "with",
    "endwith",
    "include",
    "import",
    "from",
    "extends",
    "raw",
    "endraw",
    "break",
    "continue",
    "do",
    "autoescape",
];

/// A text with the backslashes of string literals inside `{{ }}` doubled, and the way back to the original's offsets.
pub(super) struct Doubled {
    pub(super) text: String,
    /// Offsets in `text` of the added bytes, ascending.
    added: Vec<usize>,
}

impl Doubled {
    pub(super) fn none(text: &str) -> Self {
        Doubled {
            text: text.to_owned(),
            added: Vec::new(),
        }
    }

    pub(super) fn of(text: &str, options: &FileOptions) -> Self {
        if !text.contains('\\') {
            return Doubled::none(text);
        }
        let mut out = String::with_capacity(text.len() + 8);
        let mut added = Vec::new();
        let mut rest = text;
        let emit = |out: &mut String, n: usize, rest: &mut &str| {
            let (head, tail) = rest.split_at(n);
            out.push_str(head);
            *rest = tail;
        };
        while !rest.is_empty() {
            if rest.starts_with(&options.comment.0) {
                let n = rest
                    .find(&options.comment.1)
                    .map_or(rest.len(), |i| i + options.comment.1.len());
                emit(&mut out, n, &mut rest);
            } else if rest.starts_with(&options.block.0) {
                let n = rest
                    .find(&options.block.1)
                    .map_or(rest.len(), |i| i + options.block.1.len());
                let inside = rest[options.block.0.len()..n].trim_start_matches(['-', '+', ' ']);
                let raw = inside.starts_with("raw");
                emit(&mut out, n, &mut rest);
                if raw {
                    let n = rest.find("endraw").unwrap_or(rest.len());
                    emit(&mut out, n, &mut rest);
                }
            } else if rest.starts_with(&options.variable.0) {
                let mut quote = None;
                let opening = options.variable.0.len();
                emit(&mut out, opening, &mut rest);
                while let Some(c) = rest.chars().next() {
                    if quote.is_none() && rest.starts_with(&options.variable.1) {
                        break;
                    }
                    out.push(c);
                    rest = &rest[c.len_utf8()..];
                    match quote {
                        None if c == '"' || c == '\'' => quote = Some(c),
                        Some(q) if c == q => quote = None,
                        Some(_) if c == '\\' => {
                            added.push(out.len());
                            out.push('\\');
                            // Jinja ends a literal at a quote that no backslash stands before; the pair goes together.
                            if let Some(next) = rest.chars().next()
                                && (next == '\\' || Some(next) == quote)
                            {
                                if next == '\\' {
                                    out.push('\\');
                                    added.push(out.len());
                                } else {
                                    added.push(out.len());
                                    out.push('\\');
                                }
                                out.push(next);
                                rest = &rest[next.len_utf8()..];
                            }
                        }
                        _ => {}
                    }
                }
            } else {
                let n = rest.chars().next().map_or(1, char::len_utf8);
                emit(&mut out, n, &mut rest);
            }
        }
        Doubled { text: out, added }
    }

    pub(super) fn original(&self, offset: usize) -> u32 {
        let before = self.added.partition_point(|a| *a < offset);
        u32::try_from(offset - before).unwrap_or(u32::MAX)
    }
}
