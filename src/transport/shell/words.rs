//! Words of sh: the only place that quotes.

use crate::host::Guard;
use crate::transport::{Request, Step};
use base64::Engine as _;

pub(super) fn yes(flag: bool) -> &'static str {
    if flag { "yes" } else { "" }
}

/// Five digits: with four, GNU's `chmod` leaves a directory's set-group-ID bit as it was.
pub(super) fn octal(mode: Option<u32>) -> String {
    mode.map(|mode| format!("{:05o}", mode & 0o7777)).unwrap_or_default()
}

/// `chown`'s word; empty where neither is given.
pub(super) fn owner_word(owner: &Option<String>, group: &Option<String>) -> String {
    let owner = owner.as_deref().unwrap_or_default();
    match group {
        Some(group) => format!("{owner}:{group}"),
        None => owner.to_owned(),
    }
}

pub(super) fn guard_word(guard: &Option<Guard>) -> &str {
    match guard {
        None => "",
        Some(Guard::Absent) => "absent",
        Some(Guard::Sha256(hash)) => hash,
    }
}

/// Stands for the acting user's home at the head of a path, until [`quote`] writes `"$HOME"`. No path of a user's
/// begins with it.
const HOME: &str = "\u{1}~";

/// Paths that begin with `~/` with the mark of [`HOME`] instead: only the host knows where that is.
pub(super) fn at_home(request: &Request) -> std::borrow::Cow<'_, Request> {
    let mut request = std::borrow::Cow::Borrowed(request);
    let marked = |path: &str| {
        let rest = path
            .strip_prefix('~')
            .filter(|rest| rest.is_empty() || rest.starts_with('/'))?;
        Some(format!("{HOME}{rest}"))
    };
    for index in 0..request.steps.len() {
        let mut step = request.steps[index].clone();
        let mut any = false;
        match &mut step {
            Step::Probe(probe) => {
                if let Some(path) = probe.path_mut()
                    && let Some(at_home) = marked(path)
                {
                    *path = at_home.into();
                    any = true;
                }
            }
            Step::Op(op) => {
                for path in op.paths_mut() {
                    if let Some(at_home) = marked(path) {
                        *path = at_home;
                        any = true;
                    }
                }
            }
        }
        if any {
            request.to_mut().steps[index] = step;
        }
    }
    request
}

/// A relative path that no tool takes for an option.
pub(super) fn rooted(path: &str) -> String {
    if path.starts_with('/') || path.starts_with(HOME) {
        path.to_owned()
    } else {
        format!("./{path}")
    }
}

pub(super) fn is_identifier(name: &str) -> bool {
    !name.starts_with(|c: char| c.is_ascii_digit())
        && !name.is_empty()
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// Base64 in short lines: some decoders read line by line.
pub(super) fn encoded(input: &[u8]) -> String {
    let encoded = base64::engine::general_purpose::STANDARD.encode(input);
    let lines = encoded.as_bytes().chunks(1000).map(String::from_utf8_lossy);
    lines.collect::<Vec<_>>().join("\n")
}

/// One word of sh that means these bytes. A NUL cannot come here: [`Plan::of`] refuses it.
pub(in crate::transport) fn quote(text: &str) -> Vec<u8> {
    if let Some(rest) = text.strip_prefix(HOME) {
        let mut word = b"\"$HOME\"".to_vec();
        if !rest.is_empty() {
            word.extend(quote(rest));
        }
        return word;
    }
    match shlex::bytes::try_quote(text.as_bytes()) {
        Ok(quoted) => quoted.into_owned(),
        Err(_) => b"''".to_vec(),
    }
}

/// A glob as a word: its metacharacters bare, all else quoted. A `[` that is not closed, and a backslash, mean themselves.
pub(super) fn glob_word(pattern: &str) -> Vec<u8> {
    let mut word = Vec::new();
    let mut rest = pattern;
    while let Some(at) = rest.find(['*', '?', '[']) {
        if at > 0 {
            word.extend(quote(&rest[..at]));
        }
        let class = rest[at..].starts_with('[').then(|| class_end(&rest[at..]));
        rest = match class {
            None => {
                word.push(rest.as_bytes()[at]);
                &rest[at + 1..]
            }
            Some(None) => {
                word.extend(quote("["));
                &rest[at + 1..]
            }
            Some(Some(end)) => {
                word.extend(class_word(&rest[at..at + end]));
                &rest[at + end..]
            }
        };
    }
    if !rest.is_empty() || word.is_empty() {
        word.extend(quote(rest));
    }
    word
}

/// Where the class that begins `text` ends: a `]` right after `[` or `[!` belongs to it.
fn class_end(text: &str) -> Option<usize> {
    let inner = if text.starts_with("[!") { 2 } else { 1 };
    let first = text[inner..].chars().next()?.len_utf8();
    text[inner + first..].find(']').map(|end| inner + first + end + 1)
}

fn class_word(class: &str) -> Vec<u8> {
    let mut word = Vec::new();
    for (at, c) in class.char_indices() {
        let negates = c == '!' && at == 1;
        let bare = c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | ':' | ',') || negates;
        let bracket = at == 0 || at + 1 == class.len();
        if bare || bracket {
            word.push(c as u8);
        } else {
            word.extend(quote(c.encode_utf8(&mut [0; 4])));
        }
    }
    word
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(pattern: &str) -> String {
        String::from_utf8(glob_word(pattern)).unwrap()
    }

    #[test]
    fn globs_keep_only_their_own_metacharacters() {
        assert_eq!(word("/sys/block/*/queue"), "/sys/block/*/queue");
        assert_eq!(word("a b*"), "'a b'*");
        assert_eq!(word("$(id)?"), "'$(id)'?");
        assert_eq!(word("[a-c]x"), "[a-c]x");
        assert_eq!(word("[!]a]"), "[!]a]");
        assert_eq!(word("[open"), "'['open");
        assert_eq!(word(""), "''");
    }
}
