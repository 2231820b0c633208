//! PyYAML's dumper (libyaml's, which Ansible uses), and reading YAML for `from_yaml`.

use crate::diagnostic::SourceMap;
use crate::template::eval::Ctx;
use crate::template::fault::{Res, fail};
use crate::template::value::{Value, float_text};

pub(crate) struct Style {
    pub indent: usize,
    pub width: usize,
    pub sort_keys: bool,
    pub unicode: bool,
    /// `None`: collections that hold no other collection are written in flow style.
    pub flow: Option<bool>,
    pub explicit_start: bool,
    pub explicit_end: bool,
    /// Quote or block style forced on every scalar.
    pub scalar: Option<char>,
}

pub(crate) fn load(text: &str) -> Res<serde_json::Value> {
    let sources = SourceMap::default();
    let file = sources.add("<from_yaml>", text);
    let (documents, errors) = crate::language::yaml::parse(&sources, file);
    if let Some(error) = errors.first() {
        return Err(fail(format!("this is not YAML: {}", error.message)));
    }
    Ok(documents.first().map_or(serde_json::Value::Null, |n| n.to_value()))
}

enum Tree {
    Scalar { text: String, plain: bool },
    Seq(Vec<Tree>),
    Map(Vec<(Tree, Tree)>),
}

pub(crate) fn dump(ctx: &Ctx, value: &Value, style: &Style) -> Res<String> {
    let tree = represent(ctx, value, style)?;
    let mut emitter = Emitter {
        style,
        out: String::new(),
        column: 0,
        indent: None,
        flow_level: 0,
        whitespace: true,
        indention: true,
    };
    if style.explicit_start {
        emitter.write_indent();
        emitter.indicator("---", true, false, false);
    }
    emitter.node(&tree, Place::Root);
    emitter.write_indent();
    if style.explicit_end {
        emitter.out.push_str("...\n");
    }
    Ok(emitter.out)
}

fn represent(ctx: &Ctx, value: &Value, style: &Style) -> Res<Tree> {
    let scalar = |text: &str| Tree::Scalar {
        text: text.to_owned(),
        plain: true,
    };
    Ok(match value {
        Value::Marker(fault) => return Err(fault.clone()),
        Value::None => scalar("null"),
        Value::Bool(b) => scalar(if *b { "true" } else { "false" }),
        Value::Int(i) => scalar(&i.to_string()),
        Value::Float(f) if f.is_nan() => scalar(".nan"),
        Value::Float(f) if f.is_infinite() => scalar(if *f > 0.0 { ".inf" } else { "-.inf" }),
        Value::Float(f) => {
            let text = float_text(*f);
            // YAML 1.1 wants a dot before an exponent.
            match text.split_once('e') {
                Some((mantissa, e)) if !mantissa.contains('.') => scalar(&format!("{mantissa}.0e{e}")),
                _ => scalar(&text),
            }
        }
        Value::Str(s) => Tree::Scalar {
            text: s.to_string(),
            plain: !reads_as_other(s),
        },
        Value::List(_) | Value::Tuple(_) => {
            let _deeper = ctx.deeper()?;
            Tree::Seq(
                value
                    .iterate(ctx)?
                    .iter()
                    .map(|v| represent(ctx, v, style))
                    .collect::<Res<_>>()?,
            )
        }
        Value::Dict(d) => {
            let _deeper = ctx.deeper()?;
            let mut items = d.items(ctx);
            if style.sort_keys {
                items = super::json::sorted(ctx, items)?;
            }
            let pair = |(k, v): &(crate::template::value::Key, Value)| {
                Ok((represent(ctx, &k.to_value(), style)?, represent(ctx, v, style)?))
            };
            Tree::Map(items.iter().map(pair).collect::<Res<_>>()?)
        }
        other => return Err(fail(format!("a {} cannot be written as YAML", other.type_name()))),
    })
}

/// Whether a plain scalar of this text would be read as something else than a string (YAML 1.1).
fn reads_as_other(s: &str) -> bool {
    let words = [
        "", "~", "null", "Null", "NULL", "yes", "Yes", "YES", "no", "No", "NO", "true", "True", "TRUE", "false",
        "False", "FALSE", "on", "On", "ON", "off", "Off", "OFF", "=", "<<", ".nan", ".NaN", ".NAN",
    ];
    words.contains(&s) || is_int(s) || is_float(s) || is_timestamp(s)
}

fn is_int(s: &str) -> bool {
    let t = s.strip_prefix(['-', '+']).unwrap_or(s);
    let all = |t: &str, f: fn(char) -> bool| !t.is_empty() && t.chars().all(|c| c == '_' || f(c));
    if let Some(b) = t.strip_prefix("0b") {
        return all(b, |c| matches!(c, '0' | '1'));
    }
    if let Some(h) = t.strip_prefix("0x") {
        return all(h, |c| c.is_ascii_hexdigit());
    }
    if t == "0" {
        return true;
    }
    if let Some(o) = t.strip_prefix('0') {
        return all(o, |c| matches!(c, '0'..='7'));
    }
    let first = t.starts_with(|c: char| matches!(c, '1'..='9'));
    first && (all(t, |c| c.is_ascii_digit()) || is_sexagesimal(t, false))
}

/// `1:30`, `1:30.5`.
fn is_sexagesimal(t: &str, float: bool) -> bool {
    let (whole, fraction) = t.split_once('.').map_or((t, None), |(w, f)| (w, Some(f)));
    if float != fraction.is_some() || fraction.is_some_and(|f| !f.chars().all(|c| c == '_' || c.is_ascii_digit())) {
        return false;
    }
    let mut parts = whole.split(':');
    let first = parts.next().unwrap_or("");
    let rest: Vec<&str> = parts.collect();
    let digits = |p: &str| !p.is_empty() && p.chars().all(|c| c == '_' || c.is_ascii_digit());
    let sixty = |p: &&str| match p.as_bytes() {
        [b] => b.is_ascii_digit(),
        [a, b] => (b'0'..=b'5').contains(a) && b.is_ascii_digit(),
        _ => false,
    };
    !rest.is_empty() && digits(first) && rest.iter().all(sixty)
}

fn is_float(s: &str) -> bool {
    let t = s.strip_prefix(['-', '+']).unwrap_or(s);
    if matches!(t, ".inf" | ".Inf" | ".INF") {
        return true;
    }
    let digits = |p: &str| p.chars().all(|c| c == '_' || c.is_ascii_digit());
    if t.starts_with(|c: char| c.is_ascii_digit()) && is_sexagesimal(t, true) {
        return true;
    }
    let Some((whole, rest)) = t.split_once('.') else {
        return false;
    };
    let (fraction, exponent) = rest.split_once(['e', 'E']).map_or((rest, None), |(f, e)| (f, Some(e)));
    let signed = |e: &str| {
        e.strip_prefix(['-', '+'])
            .is_some_and(|d| !d.is_empty() && d.chars().all(|c| c.is_ascii_digit()))
    };
    if exponent.is_some_and(|e| !signed(e)) {
        return false;
    }
    match whole {
        "" => s == t && !fraction.is_empty() && digits(fraction),
        w => w.starts_with(|c: char| c.is_ascii_digit()) && digits(w) && digits(fraction),
    }
}

fn is_timestamp(s: &str) -> bool {
    let b = s.as_bytes();
    let digit = |i: usize| b.get(i).is_some_and(u8::is_ascii_digit);
    if !(0..4).all(digit) || b.get(4) != Some(&b'-') {
        return false;
    }
    if b.len() == 10 {
        return digit(5) && digit(6) && b[7] == b'-' && digit(8) && digit(9);
    }
    // Date and time: `2001-1-2 3:04:05`, with `T`, a fraction and a zone.
    let Some((date, time)) = s.split_once(['T', 't', ' ', '\t']) else {
        return false;
    };
    let parts: Vec<&str> = date.split('-').collect();
    let short = |p: &str| (1..=2).contains(&p.len()) && p.chars().all(|c| c.is_ascii_digit());
    let time = time.trim_start();
    let clock: Vec<&str> = time.splitn(3, ':').collect();
    let two = |p: &str| p.len() == 2 && p.chars().all(|c| c.is_ascii_digit());
    parts.len() == 3
        && short(parts[1])
        && short(parts[2])
        && clock.len() == 3
        && short(clock[0])
        && two(clock[1])
        && clock[2].get(..2).is_some_and(two)
        && clock[2][2..]
            .chars()
            .all(|c| c.is_ascii_digit() || ".:+- Zz\t".contains(c))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Root,
    Sequence,
    MappingKey,
    MappingValue,
}

#[derive(Default)]
struct Analysis {
    multiline: bool,
    flow_plain: bool,
    block_plain: bool,
    single_quoted: bool,
    block: bool,
}

const BREAKS: [char; 4] = ['\n', '\u{85}', '\u{2028}', '\u{2029}'];

/// Beyond ASCII, as libyaml sees it: not the next line (U+0085), not what is beyond the basic plane.
fn printable(c: char) -> bool {
    ('\u{a0}'..='\u{d7ff}').contains(&c) || (('\u{e000}'..='\u{fffd}').contains(&c) && c != '\u{feff}')
}

fn is_break(c: char) -> bool {
    BREAKS.contains(&c)
}

fn is_space(c: Option<char>) -> bool {
    c.is_none_or(|c| "\0 \t\r".contains(c) || is_break(c))
}

fn analyze(s: &str, unicode: bool) -> Analysis {
    if s.is_empty() {
        return Analysis {
            block_plain: true,
            single_quoted: true,
            ..Analysis::default()
        };
    }
    let chars: Vec<char> = s.chars().collect();
    let (mut block_indicators, mut flow_indicators) = (false, false);
    let (mut line_breaks, mut special) = (false, false);
    let (mut break_space, mut space_break) = (false, false);
    if s.starts_with("---") || s.starts_with("...") {
        (block_indicators, flow_indicators) = (true, true);
    }
    let (mut previous_space, mut previous_break) = (false, false);
    for (i, c) in chars.iter().copied().enumerate() {
        let before = if i == 0 { None } else { Some(chars[i - 1]) };
        let after_space = is_space(chars.get(i + 1).copied());
        if i == 0 {
            if "#,[]{}&*!|>'\"%@`".contains(c) {
                (block_indicators, flow_indicators) = (true, true);
            }
            if "?:".contains(c) {
                flow_indicators = true;
                block_indicators |= after_space;
            }
            if c == '-' && after_space {
                (block_indicators, flow_indicators) = (true, true);
            }
        } else {
            flow_indicators |= ",?[]{}:".contains(c);
            block_indicators |= c == ':' && after_space;
            if c == '#' && is_space(before) {
                (block_indicators, flow_indicators) = (true, true);
            }
        }
        line_breaks |= is_break(c);
        if c != '\n' && !(' '..='~').contains(&c) {
            special |= !printable(c) || !unicode;
        }
        if c == ' ' {
            break_space |= previous_break;
            (previous_space, previous_break) = (true, false);
        } else if is_break(c) {
            space_break |= previous_space;
            (previous_space, previous_break) = (false, true);
        } else {
            (previous_space, previous_break) = (false, false);
        }
    }
    let edge = |c: Option<&char>| c.is_some_and(|c| *c == ' ' || is_break(*c));
    let edges = edge(chars.first()) || edge(chars.last());
    let plain = !edges && !break_space && !space_break && !special && !line_breaks;
    Analysis {
        multiline: line_breaks,
        flow_plain: plain && !flow_indicators,
        block_plain: plain && !block_indicators,
        single_quoted: !break_space && !space_break && !special,
        block: chars.last() != Some(&' ') && !space_break && !special,
    }
}

struct Emitter<'a> {
    style: &'a Style,
    out: String,
    column: usize,
    indent: Option<usize>,
    flow_level: usize,
    whitespace: bool,
    indention: bool,
}

impl Emitter<'_> {
    fn push(&mut self, text: &str) {
        self.column += text.chars().count();
        self.out.push_str(text);
    }

    fn indicator(&mut self, text: &str, need_whitespace: bool, whitespace: bool, indention: bool) {
        if !self.whitespace && need_whitespace {
            self.push(" ");
        }
        self.push(text);
        self.whitespace = whitespace;
        self.indention = self.indention && indention;
    }

    fn line_break(&mut self) {
        self.out.push('\n');
        self.whitespace = true;
        self.indention = true;
        self.column = 0;
    }

    fn write_indent(&mut self) {
        let indent = self.indent.unwrap_or(0);
        if !self.indention || self.column > indent || (self.column == indent && !self.whitespace) {
            self.line_break();
        }
        if self.column < indent {
            self.whitespace = true;
            let missing = indent - self.column;
            self.push(&" ".repeat(missing));
        }
    }

    fn deeper(&mut self, flow: bool, indentless: bool) -> Option<usize> {
        let before = self.indent;
        self.indent = match before {
            None => Some(if flow { self.style.indent } else { 0 }),
            Some(n) if !indentless => Some(n + self.style.indent),
            same => same,
        };
        before
    }

    fn is_flow(&self, tree: &Tree) -> bool {
        let empty = match tree {
            Tree::Seq(v) => v.is_empty(),
            Tree::Map(m) => m.is_empty(),
            Tree::Scalar { .. } => return false,
        };
        // "Simple" is what PyYAML calls plain or unstyled scalars only.
        let simple = |t: &Tree| matches!(t, Tree::Scalar { .. });
        empty
            || self.flow_level > 0
            || self.style.flow.unwrap_or_else(|| match tree {
                Tree::Seq(v) => v.iter().all(simple),
                Tree::Map(m) => m.iter().all(|(k, v)| simple(k) && simple(v)),
                Tree::Scalar { .. } => false,
            })
    }

    fn node(&mut self, tree: &Tree, place: Place) {
        match tree {
            Tree::Scalar { text, plain } => {
                let before = self.deeper(true, false);
                self.scalar(text, *plain, place);
                self.indent = before;
            }
            Tree::Seq(items) if self.is_flow(tree) => {
                self.flow("[", "]", items.len(), |e, i| e.node(&items[i], Place::Sequence))
            }
            Tree::Map(pairs) if self.is_flow(tree) => self.flow("{", "}", pairs.len(), |e, i| e.pair(&pairs[i])),
            Tree::Seq(items) => {
                let indentless = place == Place::MappingValue && !self.indention;
                let before = self.deeper(false, indentless);
                for item in items {
                    self.write_indent();
                    self.indicator("-", true, false, true);
                    self.node(item, Place::Sequence);
                }
                self.indent = before;
            }
            Tree::Map(pairs) => {
                let before = self.deeper(false, false);
                for pair in pairs {
                    self.write_indent();
                    self.pair(pair);
                }
                self.indent = before;
            }
        }
    }

    fn pair(&mut self, (key, value): &(Tree, Tree)) {
        let simple = match key {
            Tree::Scalar { text, .. } => {
                !text.is_empty() && text.chars().count() < 128 && !analyze(text, self.style.unicode).multiline
            }
            _ => false,
        };
        if simple {
            self.node(key, Place::MappingKey);
            self.indicator(":", false, false, false);
        } else {
            self.indicator("?", true, false, true);
            self.node(key, Place::MappingValue);
            self.write_indent();
            self.indicator(":", true, false, true);
        }
        self.node(value, Place::MappingValue);
    }

    fn flow(&mut self, open: &str, close: &str, n: usize, mut item: impl FnMut(&mut Self, usize)) {
        self.indicator(open, true, true, false);
        self.flow_level += 1;
        let before = self.deeper(true, false);
        for i in 0..n {
            if i > 0 {
                self.indicator(",", false, false, false);
            }
            if self.column > self.style.width {
                self.write_indent();
            }
            item(self, i);
        }
        self.indent = before;
        self.flow_level -= 1;
        self.indicator(close, false, false, false);
    }

    fn scalar(&mut self, text: &str, plain: bool, place: Place) {
        let a = analyze(text, self.style.unicode);
        let key = place == Place::MappingKey;
        let forced = self.style.scalar;
        let fits_plain = plain
            && !(key && (text.is_empty() || a.multiline))
            && if self.flow_level > 0 {
                a.flow_plain
            } else {
                a.block_plain
            };
        match forced {
            None if fits_plain => self.plain(text, !key),
            Some('|') if self.flow_level == 0 && !key && a.block => self.literal(text),
            None | Some('\'') if a.single_quoted && !(key && a.multiline) => self.single_quoted(text, !key),
            _ => self.double_quoted(text, !key),
        }
    }

    fn plain(&mut self, text: &str, split: bool) {
        if text.is_empty() {
            return;
        }
        if !self.whitespace {
            self.push(" ");
        }
        self.whitespace = false;
        self.indention = false;
        self.folded_words(text, split, |e| {
            e.whitespace = false;
            e.indention = false;
        });
    }

    /// Text whose single spaces may become line breaks beyond the width.
    fn folded_words(&mut self, text: &str, split: bool, after_break: impl Fn(&mut Self)) {
        let chars: Vec<char> = text.chars().collect();
        let mut i = 0;
        while i < chars.len() {
            let run_end = |f: &dyn Fn(char) -> bool| (i..chars.len()).find(|j| !f(chars[*j])).unwrap_or(chars.len());
            if chars[i] == ' ' {
                let end = run_end(&|c| c == ' ');
                if end - i == 1 && self.column > self.style.width && split && i != 0 && end != chars.len() {
                    self.write_indent();
                    after_break(self);
                } else {
                    self.push(&" ".repeat(end - i));
                }
                i = end;
            } else if is_break(chars[i]) {
                let end = run_end(&is_break);
                if chars[i] == '\n' {
                    self.line_break();
                }
                for c in &chars[i..end] {
                    if *c == '\n' {
                        self.line_break();
                    } else {
                        self.out.push(*c);
                        self.column = 0;
                    }
                }
                self.write_indent();
                i = end;
            } else {
                let end = run_end(&|c| c != ' ' && !is_break(c));
                let word: String = chars[i..end].iter().collect();
                self.push(&word);
                i = end;
            }
        }
    }

    fn single_quoted(&mut self, text: &str, split: bool) {
        self.indicator("'", true, false, false);
        self.folded_words(&text.replace('\'', "''"), split, |_| {});
        self.indicator("'", false, false, false);
    }

    fn double_quoted(&mut self, text: &str, split: bool) {
        self.indicator("\"", true, false, false);
        let mut after_space = false;
        let mut chars = text.chars().peekable();
        let mut first = true;
        while let Some(c) = chars.next() {
            let plain = !"\"\\\u{2028}\u{2029}".contains(c)
                && ((' '..='~').contains(&c) || (self.style.unicode && printable(c)));
            let fold = c == ' ' && split && !after_space && !first && self.column > self.style.width;
            match chars.peek() {
                _ if !plain => self.push(&escaped(c)),
                Some(next) if fold => {
                    self.write_indent();
                    self.whitespace = false;
                    self.indention = false;
                    if *next == ' ' {
                        self.push("\\");
                    }
                }
                _ => self.push(c.encode_utf8(&mut [0; 4])),
            }
            after_space = c == ' ';
            first = false;
        }
        self.indicator("\"", false, false, false);
    }

    fn literal(&mut self, text: &str) {
        let mut hints = String::new();
        if text.starts_with(|c| c == ' ' || is_break(c)) {
            hints.push_str(&self.style.indent.to_string());
        }
        if !text.ends_with(is_break) {
            hints.push('-');
        } else if text.ends_with("\n\n") || text == "\n" {
            hints.push('+');
        }
        self.indicator(&format!("|{hints}"), true, false, false);
        self.line_break();
        for line in text.split_inclusive('\n') {
            let content = line.strip_suffix('\n').unwrap_or(line);
            if !content.is_empty() {
                self.write_indent();
                self.push(content);
            }
            self.line_break();
        }
    }
}

fn escaped(c: char) -> String {
    let short = match c {
        '\0' => '0',
        '\u{7}' => 'a',
        '\u{8}' => 'b',
        '\t' => 't',
        '\n' => 'n',
        '\u{b}' => 'v',
        '\u{c}' => 'f',
        '\r' => 'r',
        '\u{1b}' => 'e',
        '"' => '"',
        '\\' => '\\',
        '\u{85}' => 'N',
        '\u{a0}' => '_',
        '\u{2028}' => 'L',
        '\u{2029}' => 'P',
        c if c as u32 <= 0xff => return format!("\\x{:02X}", c as u32),
        c if c as u32 <= 0xffff => return format!("\\u{:04X}", c as u32),
        c => return format!("\\U{:08X}", c as u32),
    };
    format!("\\{short}")
}
