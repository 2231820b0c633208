//! `module: a=b c="d e"` taken apart as Ansible does it (`parsing/splitter.py`): words end at spaces and
//! newlines, but not inside quotes or template delimiters.

use crate::diagnostic::{Code, Diagnostic, SourceMap, Span};
use crate::language::{Entry, Mapping, Node, Text, Yaml};

/// A word, and its bytes in the string it was cut from.
#[derive(Clone, Debug, PartialEq)]
struct Word {
    text: String,
    start: usize,
    end: usize,
}

/// What a command-like module takes out of its free form; any other `a=b` in there is part of the command.
const COMMAND_OPTIONS: &[&str] = &[
    "creates",
    "removes",
    "chdir",
    "executable",
    "warn",
    "stdin",
    "stdin_add_newline",
    "strip_empty_ends",
];

/// `key=value` pairs, and what is left over.
#[derive(Debug, Default, PartialEq)]
pub struct ShortForm {
    pub pairs: Mapping,
    pub free: Option<String>,
}

/// Takes the string `node` apart. `command`: the module runs a command line, so only its own options count as
/// pairs. Fails on quotes or delimiters that are not closed.
pub fn parse(sources: &SourceMap, node: &Node, text: &str, command: bool) -> Result<ShortForm, Box<Diagnostic>> {
    let Some(words) = split(text) else {
        return Err(Box::new(
            Diagnostic::error(Code::VALUE, "a quote or a template is not closed in these arguments")
                .at(node.span, "cannot be split into words"),
        ));
    };
    // Where the source shows the string as it is, every value gets a place of its own.
    let verbatim = sources
        .get(node.span.file)
        .is_some_and(|f| f.text.get(node.span.start as usize..node.span.end as usize) == Some(text));
    let place = |start: usize, end: usize| match verbatim {
        true => Span::new(
            node.span.file,
            node.span.start as usize + start,
            node.span.start as usize + end,
        ),
        false => node.span,
    };
    let mut form = ShortForm::default();
    let mut free: Vec<String> = Vec::new();
    for word in words {
        let decoded = decode_escapes(&word.text);
        let Some(at) = equals(&decoded) else {
            free.push(match decoded.contains('=') {
                // Every `=` is escaped.
                true => decoded.replace("\\=", "="),
                false => word.text,
            });
            continue;
        };
        let (key, value) = (&decoded[..at], &decoded[at + 1..]);
        if command && !COMMAND_OPTIONS.contains(&key) {
            free.push(word.text);
            continue;
        }
        let trimmed = value.trim();
        let (plain, quoted) = unquote(trimmed);
        // The decoded text has other offsets than the source wherever something was decoded.
        let (key_place, value_place) = if decoded == word.text {
            let lead = value.len() - value.trim_start().len() + usize::from(quoted);
            let start = word.start + at + 1 + lead;
            (place(word.start, word.start + at), place(start, start + plain.len()))
        } else {
            (place(word.start, word.end), place(word.start, word.end))
        };
        let entry = Entry {
            key: key.trim().to_owned(),
            key_span: key_place,
            value: Node::new(
                value_place,
                Yaml::Str(Text {
                    value: plain.to_owned(),
                    quoted: true,
                    raw: false,
                }),
            ),
        };
        match form.pairs.entries.iter_mut().find(|e| e.key == entry.key) {
            Some(old) => *old = entry,
            None => form.pairs.entries.push(entry),
        }
    }
    if !free.is_empty() {
        form.free = Some(join(&free));
    }
    Ok(form)
}

/// The first `=` that is not the first character and not escaped.
fn equals(text: &str) -> Option<usize> {
    let first = text.chars().next().map_or(0, char::len_utf8);
    text.bytes()
        .enumerate()
        .skip(first)
        .find(|(at, byte)| *byte == b'=' && text.as_bytes()[at - 1] != b'\\')
        .map(|(at, _)| at)
}

fn unquote(text: &str) -> (&str, bool) {
    let bytes = text.as_bytes();
    let n = bytes.len();
    if n > 1 && bytes[0] == bytes[n - 1] && matches!(bytes[0], b'"' | b'\'') && bytes[n - 2] != b'\\' {
        (&text[1..n - 1], true)
    } else {
        (text, false)
    }
}

fn join(words: &[String]) -> String {
    let mut out = String::new();
    for word in words {
        if !out.is_empty() && !out.ends_with('\n') {
            out.push(' ');
        }
        out.push_str(word);
    }
    out
}

/// Python's escapes, as far as Ansible decodes them.
fn decode_escapes(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        let simple = |c| Some((c, 1));
        let hex = |digits: usize| {
            let code = after
                .get(1..=digits)
                .filter(|d| d.bytes().all(|b| b.is_ascii_hexdigit()))?;
            Some((u32::from_str_radix(code, 16).ok().and_then(char::from_u32)?, digits + 1))
        };
        let decoded = match after.as_bytes().first() {
            Some(b'U') => hex(8),
            Some(b'u') => hex(4),
            Some(b'x') => hex(2),
            Some(b'\\') => simple('\\'),
            Some(b'\'') => simple('\''),
            Some(b'"') => simple('"'),
            Some(b'a') => simple('\u{7}'),
            Some(b'b') => simple('\u{8}'),
            Some(b'f') => simple('\u{c}'),
            Some(b'n') => simple('\n'),
            Some(b'r') => simple('\r'),
            Some(b't') => simple('\t'),
            Some(b'v') => simple('\u{b}'),
            _ => None,
        };
        match decoded {
            Some((c, used)) => {
                out.push(c);
                rest = &after[used..];
            }
            None => {
                out.push('\\');
                rest = after;
            }
        }
    }
    out.push_str(rest);
    out
}

/// Depth of the three template delimiters.
#[derive(Default, Clone, Copy, PartialEq)]
struct Depth([usize; 3]);

impl Depth {
    fn open(self) -> bool {
        self.0 != [0; 3]
    }

    fn after(self, token: &str) -> Depth {
        let mut depth = self;
        for (slot, (open, close)) in depth.0.iter_mut().zip([("{{", "}}"), ("{%", "%}"), ("{#", "#}")]) {
            *slot = (*slot + token.matches(open).count()).saturating_sub(token.matches(close).count());
        }
        depth
    }
}

/// Words; `None` where a quote or delimiter stays open. Spaces between words are kept at the end of the word
/// before them, newlines too, so that joining gives the text back.
fn split(text: &str) -> Option<Vec<Word>> {
    let mut words: Vec<Word> = Vec::new();
    if text.is_empty() {
        return Some(words);
    }
    let mut quote: Option<char> = None;
    let mut depth = Depth::default();
    let lines: Vec<&str> = text.split('\n').collect();
    let mut line_start = 0;
    for (number, line) in lines.iter().enumerate() {
        let mut continued = false;
        let mut at = line_start;
        for (index, token) in line.split(' ').enumerate() {
            let (start, end) = (at, at + token.len());
            at = end + 1;
            let word = || Word {
                text: token.to_owned(),
                start,
                end,
            };
            if token.is_empty() && index != 0 {
                // Several spaces in a row.
                extend(&mut words, " ", start);
                continue;
            }
            let was_quoted = quote.is_some();
            if token == "\\" && !was_quoted {
                continued = true;
                continue;
            }
            quote = quote_after(token, quote);
            let is_quoted = quote.is_some();
            let mut taken = false;
            if is_quoted && !was_quoted && !depth.open() {
                words.push(word());
                taken = true;
            } else if depth.open() || is_quoted || was_quoted {
                let spacer = match index {
                    0 => "",
                    _ => " ",
                };
                extend(&mut words, &format!("{spacer}{token}"), end);
                taken = true;
            }
            let after = depth.after(token);
            if after != depth && !taken {
                words.push(word());
                taken = true;
            }
            depth = after;
            if !depth.open() && !is_quoted && !taken && !token.is_empty() {
                words.push(word());
            }
        }
        line_start += line.len() + 1;
        if number + 1 < lines.len() && !continued {
            extend(&mut words, "\n", line_start);
        }
    }
    (!depth.open() && quote.is_none()).then_some(words)
}

fn extend(words: &mut Vec<Word>, text: &str, end: usize) {
    match words.last_mut() {
        Some(word) => {
            word.text.push_str(text);
            word.end = end;
        }
        None => words.push(Word {
            text: text.to_owned(),
            start: end,
            end,
        }),
    }
}

fn quote_after(token: &str, mut quote: Option<char>) -> Option<char> {
    let mut previous = None;
    for c in token.chars() {
        if matches!(c, '"' | '\'') && previous != Some('\\') {
            quote = match quote {
                Some(open) if open == c => None,
                Some(open) => Some(open),
                None => Some(c),
            };
        }
        previous = Some(c);
    }
    quote
}
