//! Python's regular expressions on top of `fancy_regex`.

use crate::template::fault::{Res, fail};
use fancy_regex::{Captures, Regex};
use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

/// Compiled patterns, by text and flags: a `map('regex_replace', ...)` has one for all its items.
#[derive(Default)]
pub(crate) struct Compiled(RwLock<HashMap<(String, bool, bool), Arc<Regex>>>);

/// So many are kept; who makes more out of data has each for once.
const KEPT: usize = 256;

impl Compiled {
    /// A pattern in Python's dialect.
    pub fn compile(&self, pattern: &str, ignore_case: bool, multiline: bool) -> Res<Arc<Regex>> {
        let key = (pattern.to_owned(), ignore_case, multiline);
        if let Some(known) = self.0.read().unwrap_or_else(PoisonError::into_inner).get(&key) {
            return Ok(known.clone());
        }
        let regex = Arc::new(compile(pattern, ignore_case, multiline)?);
        let mut kept = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= KEPT {
            kept.clear();
        }
        kept.insert(key, regex.clone());
        Ok(regex)
    }
}

fn compile(pattern: &str, ignore_case: bool, multiline: bool) -> Res<Regex> {
    let mut flags = String::new();
    if ignore_case {
        flags.push('i');
    }
    if multiline {
        flags.push('m');
    }
    let translated = translate(pattern, multiline);
    let full = if flags.is_empty() {
        translated
    } else {
        format!("(?{flags}){translated}")
    };
    Regex::new(&full).map_err(|e| fail(format!("`{pattern}` is not a regular expression: {e}")))
}

/// What Python reads otherwise: `\Z`, `$` before a last newline, `[` inside a class, escaped letters without a meaning.
fn translate(pattern: &str, multiline: bool) -> String {
    let mut out = String::with_capacity(pattern.len() + 8);
    let mut chars = pattern.chars().peekable();
    let mut class = false;
    let mut class_start = false;
    // Flags inside the pattern count, too.
    let multiline = multiline
        || pattern
            .strip_prefix("(?")
            .and_then(|p| p.split_once(')'))
            .is_some_and(|(f, _)| f.chars().all(|c| c.is_ascii_alphabetic()) && f.contains('m'));
    while let Some(c) = chars.next() {
        let first = std::mem::take(&mut class_start);
        match c {
            '\\' => match chars.next() {
                Some('Z') if !class => out.push_str("\\z"),
                Some(
                    e @ ('<' | '>' | ' ' | '"' | '\'' | '/' | ':' | ';' | ',' | '=' | '@' | '!' | '%' | '`' | '_'),
                ) => {
                    out.push_str(if matches!(e, '<' | '>') || !class { "" } else { "\\" });
                    out.push(e);
                }
                Some(e) => {
                    out.push('\\');
                    out.push(e);
                }
                None => out.push('\\'),
            },
            '[' if !class => {
                class = true;
                class_start = true;
                out.push('[');
                if let Some(caret) = chars.next_if_eq(&'^') {
                    out.push(caret);
                }
            }
            ']' if class && first => out.push_str("\\]"),
            ']' if class => {
                class = false;
                out.push(']');
            }
            '[' => out.push_str("\\["),
            '&' | '~' if class => {
                out.push('\\');
                out.push(c);
            }
            '-' if class && chars.peek() == Some(&'-') => out.push_str("\\-"),
            '$' if !class && !multiline => out.push_str("(?=\\n?\\z)"),
            c => out.push(c),
        }
    }
    out
}

fn failed(e: &fancy_regex::Error) -> std::rc::Rc<crate::template::fault::Fault> {
    fail(format!("the regular expression gave up: {e}"))
}

/// The place of the first match, in bytes.
pub(crate) fn find(regex: &Regex, text: &str) -> Res<Option<(usize, usize)>> {
    let found = regex.find(text).map_err(|e| failed(&e))?;
    Ok(found.map(|m| (m.start(), m.end())))
}

pub(crate) fn matches_at_start(regex: &Regex, text: &str) -> Res<bool> {
    let anchored = Regex::new(&format!("\\A(?:{})", regex.as_str())).map_err(|e| failed(&e))?;
    anchored.is_match(text).map_err(|e| failed(&e))
}

pub(crate) fn captures<'t>(regex: &Regex, text: &'t str) -> Res<Option<Captures<'t, str>>> {
    regex.captures(text).map_err(|e| failed(&e))
}

/// All matches that do not overlap, as `re.finditer` gives them.
pub(crate) fn all<'t>(regex: &Regex, text: &'t str) -> Res<Vec<Captures<'t, str>>> {
    let mut out = Vec::new();
    let mut position = 0;
    while position <= text.len() {
        let Some(found) = regex.captures_from_pos(text, position).map_err(|e| failed(&e))? else {
            break;
        };
        let Some(whole) = found.get(0) else { break };
        let (start, end) = (whole.start(), whole.end());
        out.push(found);
        position = if end > start {
            end
        } else {
            end + text[end..].chars().next().map_or(1, char::len_utf8)
        };
    }
    Ok(out)
}

/// `re.subn`: the new text and how often it matched. `count` 0 is all.
pub(crate) fn replace(regex: &Regex, text: &str, template: &str, count: usize) -> Res<(String, usize)> {
    let mut out = String::with_capacity(text.len());
    let mut last = 0;
    let mut n = 0;
    for found in all(regex, text)? {
        if count > 0 && n == count {
            break;
        }
        let Some(whole) = found.get(0) else { continue };
        out.push_str(&text[last..whole.start()]);
        expand(template, &found, &mut out)?;
        last = whole.end();
        n += 1;
    }
    out.push_str(&text[last..]);
    Ok((out, n))
}

/// `\1`, `\g<1>`, `\g<name>` and the usual escapes.
fn expand(template: &str, found: &Captures<'_, str>, out: &mut String) -> Res<()> {
    let mut rest = template;
    while let Some(i) = rest.find('\\') {
        out.push_str(&rest[..i]);
        rest = &rest[i + 1..];
        let Some(c) = rest.chars().next() else {
            return Err(fail("bad escape (end of pattern)"));
        };
        if let Some(named) = rest.strip_prefix("g<") {
            let Some((name, tail)) = named.split_once('>') else {
                return Err(fail("missing >, unterminated name"));
            };
            let group = match name.parse::<usize>() {
                Ok(i) if i < found.len() => found.get(i),
                Err(_) if found.name(name).is_some() => found.name(name),
                Err(_) => None,
                Ok(_) => return Err(fail(format!("invalid group reference {name}"))),
            };
            out.push_str(group.map_or("", |m| m.as_str()));
            rest = tail;
            continue;
        }
        if c.is_ascii_digit() && c != '0' {
            let two = rest.get(1..2).is_some_and(|d| d.as_bytes()[0].is_ascii_digit());
            let (number, tail) = rest.split_at(if two { 2 } else { 1 });
            let i: usize = number.parse().unwrap_or(0);
            if i >= found.len() {
                return Err(fail(format!("invalid group reference {i}")));
            }
            out.push_str(found.get(i).map_or("", |m| m.as_str()));
            rest = tail;
            continue;
        }
        match c {
            'n' => out.push('\n'),
            't' => out.push('\t'),
            'r' => out.push('\r'),
            'f' => out.push('\u{c}'),
            'v' => out.push('\u{b}'),
            'a' => out.push('\u{7}'),
            'b' => out.push('\u{8}'),
            '0' => out.push('\0'),
            '\\' => out.push('\\'),
            c if c.is_ascii_alphabetic() => return Err(fail(format!("bad escape \\{c}"))),
            c => {
                out.push('\\');
                out.push(c);
            }
        }
        rest = &rest[c.len_utf8()..];
    }
    out.push_str(rest);
    Ok(())
}

/// `re.escape`.
pub(crate) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if "()[]{}?*+-|^$\\.&~# \t\n\r\u{b}\u{c}".contains(c) {
            out.push('\\');
        }
        out.push(c);
    }
    out
}
