//! Regular expressions as Python's `re` reads them, over bytes: what Ansible's modules do with patterns.
//!
//! The pattern is rewritten where Python and `fancy-regex` differ (Python's `re` documentation): `$` also matches
//! before a newline at the end, `\Z` is the very end, `\<` and an unfinished `{` are literal, `[` inside a class
//! needs no escape.

use fancy_regex::{BytesMode, Regex, RegexBuilder};

/// A compiled pattern. `\w`, `\d`, `\s` and `.` mean bytes, as for Python's bytes patterns.
#[derive(Clone, Debug)]
pub struct PythonRegex {
    regex: Regex,
}

/// The groups of a match; `None`: took no part.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Groups {
    /// Group 0 is the whole match.
    pub numbered: Vec<Option<Vec<u8>>>,
    pub named: Vec<(String, usize)>,
}

impl PythonRegex {
    /// An error is the engine's own words.
    pub fn new(pattern: &str) -> Result<Self, String> {
        Self::build(pattern, false)
    }

    /// `re.MULTILINE`.
    pub fn multiline(pattern: &str) -> Result<Self, String> {
        Self::build(pattern, true)
    }

    fn build(pattern: &str, multiline: bool) -> Result<Self, String> {
        let multiline = multiline || leading_flags(pattern).contains('m');
        RegexBuilder::new(&translate(pattern, multiline))
            .bytes_mode(BytesMode::Ascii)
            .multi_line(multiline)
            .build()
            .map(|regex| PythonRegex { regex })
            .map_err(|e| e.to_string())
    }

    /// The first match anywhere in `text`; an error when matching takes too many steps.
    pub fn search(&self, text: &[u8]) -> Result<Option<Groups>, String> {
        let Some(captures) = self.regex.captures(text).map_err(|e| e.to_string())? else {
            return Ok(None);
        };
        Ok(Some(Groups {
            numbered: (0..captures.len())
                .map(|n| captures.get(n).map(|m| m.as_bytes().to_vec()))
                .collect(),
            named: self
                .regex
                .capture_names()
                .enumerate()
                .filter_map(|(n, name)| name.map(|name| (name.to_owned(), n)))
                .collect(),
        }))
    }
}

impl Groups {
    /// Python's `Match.expand`: `\1`, `\g<1>`, `\g<name>` and the escapes of letters.
    pub fn expand(&self, template: &str) -> Result<Vec<u8>, String> {
        let mut out = Vec::new();
        let bytes = template.as_bytes();
        let mut at = 0;
        while let Some(&byte) = bytes.get(at) {
            at += 1;
            if byte != b'\\' {
                out.push(byte);
                continue;
            }
            let Some(&next) = bytes.get(at) else {
                return Err("bad escape (end of pattern)".to_owned());
            };
            at += 1;
            match next {
                b'g' => {
                    let name = template
                        .get(at..)
                        .and_then(|rest| rest.strip_prefix('<'))
                        .and_then(|rest| rest.split_once('>'))
                        .map(|(name, _)| name)
                        .ok_or("missing group name after `\\g`")?;
                    at += name.len() + 2;
                    let group = match name.parse::<usize>() {
                        Ok(number) => number,
                        Err(_) => self
                            .named
                            .iter()
                            .find(|(n, _)| n == name)
                            .map(|(_, number)| *number)
                            .ok_or_else(|| format!("unknown group name `{name}`"))?,
                    };
                    out.extend(self.group(group)?);
                }
                b'0' => {
                    // `\0`, `\07`: octal, at most two more digits.
                    let digits = octal(bytes, at, 2);
                    at += digits.len();
                    out.push(u8::from_str_radix(&format!("0{digits}"), 8).unwrap_or(0));
                }
                b'1'..=b'9' => {
                    let three = octal(bytes, at - 1, 3);
                    if three.len() == 3 {
                        at += 2;
                        let value = u8::from_str_radix(&three, 8)
                            .map_err(|_| format!("octal escape value `\\{three}` outside of range 0-0o377"))?;
                        out.push(value);
                        continue;
                    }
                    let mut number = usize::from(next - b'0');
                    if let Some(digit @ b'0'..=b'9') = bytes.get(at).copied() {
                        number = number * 10 + usize::from(digit - b'0');
                        at += 1;
                    }
                    out.extend(self.group(number)?);
                }
                b'n' => out.push(b'\n'),
                b't' => out.push(b'\t'),
                b'r' => out.push(b'\r'),
                b'a' => out.push(7),
                b'b' => out.push(8),
                b'f' => out.push(12),
                b'v' => out.push(11),
                b'\\' => out.push(b'\\'),
                letter if letter.is_ascii_alphabetic() => {
                    return Err(format!("bad escape `\\{}`", char::from(letter)));
                }
                other => out.extend([b'\\', other]),
            }
        }
        Ok(out)
    }

    fn group(&self, number: usize) -> Result<&[u8], String> {
        self.numbered
            .get(number)
            .map(|group| group.as_deref().unwrap_or_default())
            .ok_or_else(|| format!("invalid group reference {number}"))
    }
}

fn octal(bytes: &[u8], from: usize, most: usize) -> String {
    bytes
        .iter()
        .skip(from)
        .take(most)
        .take_while(|b| (b'0'..=b'7').contains(b))
        .map(|b| char::from(*b))
        .collect()
}

/// The letters of `(?im)` at the start of a pattern.
fn leading_flags(pattern: &str) -> &str {
    pattern
        .strip_prefix("(?")
        .and_then(|rest| rest.split_once(')'))
        .map(|(flags, _)| flags)
        .filter(|flags| flags.bytes().all(|b| b.is_ascii_alphabetic()))
        .unwrap_or_default()
}

fn translate(pattern: &str, multiline: bool) -> String {
    let chars: Vec<char> = pattern.chars().collect();
    let mut out = String::with_capacity(pattern.len() + 16);
    let mut at = 0;
    // `(?a)` and `(?L)` say what bytes patterns are anyway.
    let flags = leading_flags(pattern);
    if !flags.is_empty() {
        at = flags.len() + 3;
        let kept: String = flags.chars().filter(|c| "imsx".contains(*c)).collect();
        if !kept.is_empty() {
            out.push_str(&format!("(?{kept})"));
        }
    }
    while let Some(&c) = chars.get(at) {
        at += 1;
        match c {
            '$' if multiline => out.push_str(r"(?=\n|\z)"),
            '$' => out.push_str(r"(?=\n?\z)"),
            '\\' => {
                let Some(&next) = chars.get(at) else {
                    out.push('\\');
                    break;
                };
                at += 1;
                match next {
                    'Z' => out.push_str(r"\z"),
                    _ if next.is_ascii_alphanumeric() => out.extend(['\\', next]),
                    _ => literal(next, &mut out),
                }
            }
            '{' => match repetition(&chars[at..]) {
                Some((text, length)) => {
                    out.push_str(&text);
                    at += length;
                }
                None => out.push_str(r"\{"),
            },
            '}' => out.push_str(r"\}"),
            '[' => at = class(&chars, at, &mut out),
            _ => out.push(c),
        }
    }
    out
}

/// `{2}`, `{2,}`, `{,3}` after the brace: how it is written for the engine, and how long it was.
fn repetition(rest: &[char]) -> Option<(String, usize)> {
    let end = rest.iter().position(|c| *c == '}')?;
    let inner: String = rest[..end].iter().collect();
    let number = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
    let text = match inner.split_once(',') {
        Some(("", "")) | None if inner.is_empty() => return None,
        Some((low, high)) if number(low) && number(high) => {
            format!("{{{},{high}}}", if low.is_empty() { "0" } else { low })
        }
        None if number(&inner) => format!("{{{inner}}}"),
        _ => return None,
    };
    Some((text, end + 1))
}

/// A class from after its `[`; returns where it ends.
fn class(chars: &[char], mut at: usize, out: &mut String) -> usize {
    out.push('[');
    if chars.get(at) == Some(&'^') {
        out.push('^');
        at += 1;
    }
    let mut first = true;
    while let Some(&c) = chars.get(at) {
        at += 1;
        match c {
            ']' if !first => {
                out.push(']');
                return at;
            }
            '\\' => {
                if let Some(&next) = chars.get(at) {
                    at += 1;
                    match next {
                        // In a class `\b` is a backspace.
                        'b' => out.push_str(r"\x08"),
                        _ if next.is_ascii_alphanumeric() => out.extend(['\\', next]),
                        _ => out.extend(['\\', next]),
                    }
                }
            }
            '[' | ']' | '&' | '~' => out.extend(['\\', c]),
            '-' if chars.get(at) == Some(&'-') => out.push_str(r"\-"),
            _ => out.push(c),
        }
        first = false;
    }
    at
}

fn literal(c: char, out: &mut String) {
    out.push_str(&fancy_regex::escape(c.encode_utf8(&mut [0; 4])));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(pattern: &str, text: &str) -> Option<String> {
        PythonRegex::new(pattern)
            .unwrap_or_else(|e| panic!("{pattern}: {e}"))
            .search(text.as_bytes())
            .unwrap()
            .map(|g| String::from_utf8_lossy(g.numbered[0].as_deref().unwrap()).into_owned())
    }

    #[test]
    fn an_end_is_also_before_the_last_newline() {
        assert_eq!(found("b$", "a b\n").as_deref(), Some("b"));
        assert_eq!(found(r"b\Z", "a b\n"), None);
        assert_eq!(found("a$", "a\nb\n"), None);
        assert_eq!(found("(?m)a$", "a\nb\n").as_deref(), Some("a"));
    }

    #[test]
    fn what_python_reads_as_literal() {
        assert_eq!(found(r"\<a\>", "<a>").as_deref(), Some("<a>"));
        assert_eq!(found("a{b", "a{b").as_deref(), Some("a{b"));
        assert_eq!(found("{{ x }}", "{{ x }}").as_deref(), Some("{{ x }}"));
        assert_eq!(found("a{,2}$", "aaa").as_deref(), Some("aa"));
        assert_eq!(found("[[x]", "[").as_deref(), Some("["));
        assert_eq!(found("[]x]+", "x]").as_deref(), Some("x]"));
        assert_eq!(found("[a&&b]+", "&b").as_deref(), Some("&b"));
        assert_eq!(found(r"^\#?\s*Port\b", "#  Port 22\n").as_deref(), Some("#  Port"));
        assert_eq!(found(r"[^\s#]+", " # x").as_deref(), Some("x"));
    }

    #[test]
    fn bytes_not_characters() {
        assert_eq!(found(r"^.{4}$", "éé\n").as_deref(), Some("éé"));
        assert_eq!(found(r"\w+", "é"), None);
        assert!(PythonRegex::new("x").unwrap().search(b"\xff x").unwrap().is_some());
    }

    #[test]
    fn groups_in_a_replacement() {
        let groups = PythonRegex::new(r"(?P<key>\w+) = (\d)?")
            .unwrap()
            .search(b"port = \n")
            .unwrap()
            .unwrap();
        let expand = |t: &str| groups.expand(t).map(|b| String::from_utf8(b).unwrap());
        assert_eq!(expand(r"\g<key>=\2.\g<1>\t\.").unwrap(), "port=.port\t\\.");
        assert_eq!(expand(r"\101").unwrap(), "A");
        assert!(expand(r"\3").is_err());
        assert!(expand(r"\q").is_err());
    }
}
