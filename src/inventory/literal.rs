//! Values in INI inventories are Python literals where they can be (`ast.literal_eval`), else strings as they are
//! written: `1` is a number, `True` a boolean, `[1, 'a']` a list, `1,2` a list too, `0644`, `yes` and `true` strings,
//! `5 # five` a 5. This holds for host lines and, against what Ansible's manual says, for `:vars` sections.

use crate::diagnostic::Span;
use crate::language::{Entry, Mapping, Node, Text, Yaml};

/// Deeper nesting is not a value a person wrote.
const MAX_DEPTH: usize = 64;

/// The value of `text`; every node of it has `span`.
///
/// # Errors
/// A literal that Python reads and we cannot hold, or that Python itself trips over (a set in a set).
pub(super) fn value(text: &str, span: Span) -> Result<Node, String> {
    let mut reader = Reader {
        rest: text,
        span,
        depth: 0,
        failed: None,
    };
    match (reader.whole(), reader.failed) {
        (Ok(_), Some(why)) => Err(why),
        (Ok(node), None) => Ok(node),
        (Err(NotLiteral), _) => Ok(Node::str(span, text)),
    }
}

/// The text itself is the value.
struct NotLiteral;

struct Reader<'a> {
    rest: &'a str,
    span: Span,
    depth: usize,
    /// Why the value cannot be had, if what follows does not show that it is no literal at all.
    failed: Option<String>,
}

type Read<T> = Result<T, NotLiteral>;

impl<'a> Reader<'a> {
    fn whole(&mut self) -> Read<Node> {
        let first = self.expression()?;
        let node = if self.take(",") {
            let mut items = vec![first];
            while !self.at_end() {
                items.push(self.expression()?);
                if !self.take(",") {
                    break;
                }
            }
            self.node(Yaml::Seq(items))
        } else {
            first
        };
        if self.at_end() { Ok(node) } else { Err(NotLiteral) }
    }

    fn node(&self, yaml: Yaml) -> Node {
        Node::new(self.span, yaml)
    }

    fn text(&self, value: String, raw: bool) -> Node {
        let quoted = true;
        self.node(Yaml::Str(Text { value, quoted, raw }))
    }

    fn skip_space(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t', '\x0c']);
    }

    fn at_end(&mut self) -> bool {
        self.skip_space();
        self.rest.is_empty() || self.rest.starts_with('#')
    }

    fn take(&mut self, token: &str) -> bool {
        self.skip_space();
        match self.rest.strip_prefix(token) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn expression(&mut self) -> Read<Node> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(NotLiteral);
        }
        self.skip_space();
        let node = match self.rest.as_bytes() {
            [b'(', ..] => self.tuple()?,
            [b'[', ..] => {
                self.take("[");
                let items = self.items("]")?;
                self.node(Yaml::Seq(items))
            }
            [b'{', ..] => self.dict_or_set()?,
            [b'.', b'.', b'.', ..] => {
                self.take("...");
                self.text("...".to_owned(), false)
            }
            [b'+' | b'-' | b'.' | b'0'..=b'9', ..] => self.signed_number()?,
            _ => self.string_or_name()?,
        };
        self.depth -= 1;
        Ok(node)
    }

    /// Comma-separated expressions up to `close`, which is taken.
    fn items(&mut self, close: &str) -> Read<Vec<Node>> {
        let mut items = Vec::new();
        while !self.take(close) {
            items.push(self.expression()?);
            if !self.take(",") {
                if self.take(close) {
                    break;
                }
                return Err(NotLiteral);
            }
        }
        Ok(items)
    }

    fn tuple(&mut self) -> Read<Node> {
        self.take("(");
        if self.take(")") {
            return Ok(self.node(Yaml::Seq(Vec::new())));
        }
        let first = self.expression()?;
        if self.take(")") {
            return Ok(first);
        }
        if !self.take(",") {
            return Err(NotLiteral);
        }
        let mut items = vec![first];
        items.extend(self.items(")")?);
        Ok(self.node(Yaml::Seq(items)))
    }

    fn dict_or_set(&mut self) -> Read<Node> {
        self.take("{");
        if self.take("}") {
            return Ok(self.node(Yaml::Map(Mapping::default())));
        }
        let first = self.expression()?;
        if !self.take(":") {
            let mut members = vec![first];
            if self.take(",") {
                members.extend(self.items("}")?);
            } else if !self.take("}") {
                return Err(NotLiteral);
            }
            let mut unique: Vec<Node> = Vec::new();
            for member in members {
                self.hashable(&member, "a set cannot hold another collection");
                if !unique.contains(&member) {
                    unique.push(member);
                }
            }
            return Ok(self.node(Yaml::Seq(unique)));
        }
        let mut mapping = Mapping::default();
        let mut key = first;
        loop {
            let value = self.expression()?;
            self.insert(&mut mapping, &key, value);
            if !self.take(",") {
                if self.take("}") {
                    break;
                }
                return Err(NotLiteral);
            }
            if self.take("}") {
                break;
            }
            key = self.expression()?;
            if !self.take(":") {
                return Err(NotLiteral);
            }
        }
        Ok(self.node(Yaml::Map(mapping)))
    }

    fn string_or_name(&mut self) -> Read<Node> {
        if let Some(first) = self.string()? {
            let (mut text, bytes) = first;
            self.skip_space();
            // Neighbouring strings are one.
            while let Some((next, next_bytes)) = self.string()? {
                if bytes != next_bytes {
                    return Err(NotLiteral);
                }
                text.push_str(&next);
                self.skip_space();
            }
            // Ansible does not trust what were bytes to be a template.
            return Ok(self.text(text, bytes));
        }
        let end = self
            .rest
            .find(|c: char| !c.is_alphanumeric() && c != '_')
            .unwrap_or(self.rest.len());
        let (name, rest) = self.rest.split_at(end);
        self.rest = rest;
        match name {
            "None" => Ok(self.node(Yaml::Null)),
            "True" => Ok(self.node(Yaml::Bool(true))),
            "False" => Ok(self.node(Yaml::Bool(false))),
            "set" if self.take("(") && self.take(")") => Ok(self.node(Yaml::Seq(Vec::new()))),
            _ => Err(NotLiteral),
        }
    }

    /// A string and whether it is one of bytes; `None` if none starts here.
    fn string(&mut self) -> Read<Option<(String, bool)>> {
        let Some(quote_at) = self.rest.find(['\'', '"']).filter(|at| *at <= 2) else {
            return Ok(None);
        };
        let (raw, bytes) = match self.rest[..quote_at].to_ascii_lowercase().as_str() {
            "" | "u" => (false, false),
            "r" => (true, false),
            "b" => (false, true),
            "rb" | "br" => (true, true),
            _ => return Ok(None),
        };
        let body = &self.rest[quote_at..];
        let quote = ["'''", "\"\"\"", "'", "\""]
            .into_iter()
            .find(|q| body.starts_with(q))
            .ok_or(NotLiteral)?;
        let mut rest = &body[quote.len()..];
        let mut text = String::new();
        loop {
            if let Some(after) = rest.strip_prefix(quote) {
                self.rest = after;
                break;
            }
            let c = rest.chars().next().ok_or(NotLiteral)?;
            rest = &rest[c.len_utf8()..];
            if bytes && !c.is_ascii() {
                return Err(NotLiteral);
            }
            if c != '\\' {
                text.push(c);
            } else if raw {
                let next = rest.chars().next().ok_or(NotLiteral)?;
                rest = &rest[next.len_utf8()..];
                text.extend(['\\', next]);
            } else {
                rest = self.escape(rest, bytes, &mut text)?;
            }
        }
        Ok(Some((text, bytes)))
    }

    fn signed_number(&mut self) -> Read<Node> {
        let negative = match self.rest.as_bytes() {
            [b'-', ..] => true,
            [b'+', ..] => false,
            _ => return self.number(false),
        };
        self.rest = &self.rest[1..];
        self.skip_space();
        self.number(negative)
    }

    fn number(&mut self, negative: bool) -> Read<Node> {
        let end = number_end(self.rest);
        let (token, rest) = self.rest.split_at(end);
        self.rest = rest;
        let plain = token.replace('_', "").to_ascii_lowercase();
        let sign = if negative { "-" } else { "" };
        let radix = [("0x", 16), ("0o", 8), ("0b", 2)]
            .into_iter()
            .find_map(|(prefix, radix)| Some((plain.strip_prefix(prefix)?, radix)));
        let yaml = if let Some((digits, radix)) = radix {
            if digits.is_empty() {
                return Err(NotLiteral);
            }
            match i64::from_str_radix(&format!("{sign}{digits}"), radix) {
                Ok(n) => Yaml::Int(n),
                Err(_) => {
                    self.fail(format!("`{token}` is beyond 64 bits"));
                    Yaml::Null
                }
            }
        } else if plain.ends_with('j') {
            self.fail("complex numbers are not supported");
            Yaml::Null
        } else if plain.contains(['.', 'e']) {
            let float: f64 = plain.parse().map_err(|_| NotLiteral)?;
            Yaml::Float(if negative { -float } else { float })
        } else if plain.is_empty() || (plain.starts_with('0') && plain.bytes().any(|b| b != b'0')) {
            return Err(NotLiteral);
        } else {
            match format!("{sign}{plain}").parse() {
                Ok(n) => Yaml::Int(n),
                // Python's integers have no end; as text it is the same wherever it is written out.
                Err(_) => return Ok(self.text(format!("{sign}{plain}"), false)),
            }
        };
        Ok(self.node(yaml))
    }

    fn fail(&mut self, why: impl Into<String>) {
        self.failed.get_or_insert(why.into());
    }

    /// Reads what follows a backslash into `text`; an escape Python does not know stays as written.
    fn escape<'b>(&mut self, rest: &'b str, bytes: bool, text: &mut String) -> Read<&'b str> {
        let c = rest.chars().next().ok_or(NotLiteral)?;
        let after = &rest[c.len_utf8()..];
        let simple = match c {
            '\\' | '\'' | '"' => c,
            'a' => '\x07',
            'b' => '\x08',
            'f' => '\x0c',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'v' => '\x0b',
            'x' => return self.hex(after, 2, text),
            'u' if !bytes => return self.hex(after, 4, text),
            'U' if !bytes => return self.hex(after, 8, text),
            'N' if !bytes => {
                self.fail("`\\N{...}` is not supported, write the character");
                c
            }
            '0'..='7' => {
                let len = rest.bytes().take(3).take_while(|b| matches!(b, b'0'..=b'7')).count();
                let code = u32::from_str_radix(&rest[..len], 8).ok();
                text.push(code.and_then(char::from_u32).ok_or(NotLiteral)?);
                return Ok(&rest[len..]);
            }
            _ => {
                text.push('\\');
                c
            }
        };
        text.push(simple);
        Ok(after)
    }

    fn hex<'b>(&mut self, rest: &'b str, len: usize, text: &mut String) -> Read<&'b str> {
        let digits = rest.get(..len).filter(|d| d.bytes().all(|b| b.is_ascii_hexdigit()));
        let code = digits.and_then(|d| u32::from_str_radix(d, 16).ok()).ok_or(NotLiteral)?;
        match char::from_u32(code) {
            Some(c) => text.push(c),
            None if code > 0x10_ffff => return Err(NotLiteral),
            None => self.fail(format!("`{code:04x}` is half of a character")),
        }
        Ok(&rest[len..])
    }

    /// Python refuses lists, sets and dicts in sets and as keys, and Ansible then refuses the whole file. A tuple would
    /// be allowed; nobody has needed one.
    fn hashable(&mut self, node: &Node, why: &str) {
        if matches!(node.yaml, Yaml::Seq(_) | Yaml::Map(_)) {
            self.fail(why);
        }
    }

    fn insert(&mut self, mapping: &mut Mapping, key: &Node, value: Node) {
        self.hashable(key, "a key cannot be a collection");
        // As Python's `json` writes keys.
        let name = match &key.yaml {
            Yaml::Str(t) => t.value.clone(),
            Yaml::Float(f) if f.fract() == 0.0 => format!("{f:.1}"),
            _ => key.to_value().to_string(),
        };
        match mapping.entries.iter_mut().find(|e| e.key == name) {
            Some(entry) => entry.value = value,
            None => mapping.entries.push(Entry {
                key: name,
                key_span: key.span,
                value,
            }),
        }
    }
}

/// Where a number that starts here ends: digits with single underscores between them, a fraction, an exponent, a
/// prefix, an imaginary `j`. What makes no number in Python ends early, so that the rest is not a literal.
fn number_end(text: &str) -> usize {
    let bytes = text.as_bytes();
    let digits = |mut at: usize, is: fn(&u8) -> bool| {
        while bytes.get(at).is_some_and(is)
            || (bytes.get(at) == Some(&b'_') && at > 0 && bytes.get(at + 1).is_some_and(is))
        {
            at += 1;
        }
        at
    };
    if let [b'0', x, ..] = bytes {
        let is: Option<fn(&u8) -> bool> = match x.to_ascii_lowercase() {
            b'x' => Some(u8::is_ascii_hexdigit),
            b'o' => Some(|b| matches!(b, b'0'..=b'7')),
            b'b' => Some(|b| matches!(b, b'0' | b'1')),
            _ => None,
        };
        if let Some(is) = is {
            return digits(2, is);
        }
    }
    let mut at = digits(0, u8::is_ascii_digit);
    if bytes.get(at) == Some(&b'.') && (at > 0 || bytes.get(1).is_some_and(u8::is_ascii_digit)) {
        at += 1;
        if bytes.get(at).is_some_and(u8::is_ascii_digit) {
            at = digits(at, u8::is_ascii_digit);
        }
    }
    if at > 0 && bytes.get(at).is_some_and(|b| b.eq_ignore_ascii_case(&b'e')) {
        let sign = usize::from(matches!(bytes.get(at + 1), Some(b'+' | b'-')));
        if bytes.get(at + 1 + sign).is_some_and(u8::is_ascii_digit) {
            at = digits(at + 1 + sign, u8::is_ascii_digit);
        }
    }
    if at > 0 && bytes.get(at).is_some_and(|b| b.eq_ignore_ascii_case(&b'j')) {
        at += 1;
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnostic::FileId;
    use serde_json::{Value, json};

    fn read(text: &str) -> Value {
        value(text, Span::new(FileId(0), 0, 0)).unwrap().to_value()
    }

    #[test]
    fn literals() {
        for (text, expected) in [
            ("1", json!(1)),
            ("-7", json!(-7)),
            ("+1", json!(1)),
            ("1_000", json!(1000)),
            ("0x10", json!(16)),
            ("0b1_1", json!(3)),
            ("00", json!(0)),
            ("1e3", json!(1000.0)),
            (".5", json!(0.5)),
            ("5.", json!(5.0)),
            ("True", json!(true)),
            ("None", json!(null)),
            ("5 # five", json!(5)),
            ("1,2", json!([1, 2])),
            ("1,", json!([1])),
            ("(1)", json!(1)),
            ("()", json!([])),
            ("[1, 'a', [True]]", json!([1, "a", [true]])),
            ("{'a': 1, \"b\": [], 3: {}}", json!({"a": 1, "b": [], "3": {}})),
            ("{1, 2, 1}", json!([1, 2])),
            ("'a' \"b\"", json!("ab")),
            ("'it\\'s\\t\\x41\\101'", json!("it's\tAA")),
            ("r'\\d'", json!("\\d")),
            ("'\\d'", json!("\\d")),
            ("b'abc'", json!("abc")),
            ("'''a'''", json!("a")),
            ("...", json!("...")),
            ("123456789012345678901", json!("123456789012345678901")),
        ] {
            assert_eq!(read(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_literal_stays_text() {
        for text in [
            "0644",
            "yes",
            "true",
            "foo # five",
            "1.2.3",
            "1.2.3.4",
            "--1",
            "1__0",
            "1_",
            "_1",
            "1a",
            "0x",
            "0xfg",
            "09",
            "1+1",
            "'a",
            "[1",
            "[1 2]",
            "{{ foo }}",
            "{{ 'a' | b }}",
            "f'a'",
            "a b",
            "",
            "10.0.0.1",
            "'a'b",
            "1 if True else 2",
            "'a' b'c'",
            "[1]]",
            "-True",
            "set(1)",
            "/a/b",
            "{'a'}}",
            "{,}",
            "[,]",
            "nan",
            "inf",
            "2026-01-02",
            "é",
        ] {
            assert_eq!(read(text), json!(text), "{text}");
        }
    }

    #[test]
    fn what_neither_can_hold_is_an_error() {
        for text in ["{{ 1 }}", "{[1]: 2}", "'\\N{BULLET}'", "0xffffffffffffffffff", "1j"] {
            assert!(value(text, Span::new(FileId(0), 0, 0)).is_err(), "{text}");
        }
    }
}
