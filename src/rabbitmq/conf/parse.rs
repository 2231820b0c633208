//! The format of `rabbitmq.conf`, as cuttlefish reads it, with the place of everything.
//!
//! Its grammar (cuttlefish's `conf_parse.peg`, and what nodes of 3.10 and 4.0 say to each line of
//! `tests/rabbitmq_conf/verdicts.tsv`): a line is `key = value`, `include PATTERN`, a comment or empty. A value ends at a
//! `#` or at the end of the line, white space before either not counted.

use super::Target;
use crate::diagnostic::{Code, Diagnostic, FileId, Span};
use crate::rabbitmq::Version;

/// What a line says.
#[derive(Clone, Debug, PartialEq)]
pub enum Line {
    Setting(Setting),
    /// `include PATTERN`: files read in its place; none is no mistake.
    Include {
        pattern: String,
        span: Span,
    },
}

/// `key = value`.
#[derive(Clone, Debug, PartialEq)]
pub struct Setting {
    /// As it is written: segments with dots between, `\.` for a dot in a segment.
    pub key: String,
    pub key_span: Span,
    /// `None`: a template's expression, not known before it is rendered.
    pub value: Option<String>,
    pub value_span: Span,
}

/// Stands for what is not known of a text: each byte of what a template puts there ([`static_part`]).
pub const HOLE: char = '\u{1}';

/// Single quotes protect a `#` since cuttlefish 3.3.
const QUOTES: Version = Version::new(3, 13, 0);
/// `'''` over several lines, and a byte order mark, since cuttlefish 3.6.
const MULTILINE: Version = Version::new(4, 2, 0);

/// Reads `text`. A line that cannot be read is told in `out` and passed over, so that the rest is checked too; a node stops
/// there and does not start.
pub fn parse(file: FileId, text: &str, target: &Target, out: &mut Vec<Diagnostic>) -> Vec<Line> {
    let mut reader = Reader {
        file,
        text,
        target,
        out,
        lines: Vec::new(),
    };
    let mut at = 0;
    if text.starts_with('\u{feff}') {
        if target.before(MULTILINE) {
            let span = Span::new(file, 0, '\u{feff}'.len_utf8());
            reader.syntax(
                "the file begins with a byte order mark",
                span,
                "RabbitMQ reads it since 4.2",
            );
        }
        at = '\u{feff}'.len_utf8();
    }
    while at < text.len() {
        at = reader.line(at);
    }
    reader.lines
}

/// The text of a template with its comments and statements blanked, and each expression a hole, every byte at its place.
pub fn static_part(template: &str) -> String {
    let mut out = String::with_capacity(template.len());
    let mut rest = template;
    while let Some(start) = rest.find('{') {
        let (before, tail) = rest.split_at(start);
        out.push_str(before);
        let (close, filler) = match tail.as_bytes().get(1) {
            Some(b'{') => ("}}", HOLE),
            Some(b'%') => ("%}", ' '),
            Some(b'#') => ("#}", ' '),
            _ => {
                out.push('{');
                rest = tail.get(1..).unwrap_or_default();
                continue;
            }
        };
        let end = tail.find(close).map_or(tail.len(), |n| n + close.len());
        let (inside, tail) = tail.split_at(end);
        out.extend(inside.bytes().map(|b| if b == b'\n' { '\n' } else { filler }));
        rest = tail;
    }
    out.push_str(rest);
    out
}

struct Reader<'a> {
    file: FileId,
    text: &'a str,
    target: &'a Target,
    out: &'a mut Vec<Diagnostic>,
    lines: Vec<Line>,
}

fn is_blank(c: char) -> bool {
    c == ' ' || c == '\t'
}

impl Reader<'_> {
    /// Reads the line that begins at `start`; returns where the next one does.
    fn line(&mut self, start: usize) -> usize {
        let rest = self.text.get(start..).unwrap_or_default();
        let (line, ended) = match rest.find('\n') {
            Some(end) => (rest.get(..end).unwrap_or_default(), true),
            None => (rest, false),
        };
        let next = start + line.len() + usize::from(ended);
        // A carriage return is part of the line's end, and only there.
        let line = if ended {
            line.strip_suffix('\r').unwrap_or(line)
        } else {
            line
        };
        let content = line.trim_start_matches(is_blank);
        let at = start + (line.len() - content.len());
        let shown = content.trim_end();
        let whole = Span::new(self.file, at, at + shown.len());
        if shown.is_empty() || content.starts_with('#') {
            return next;
        }
        let key_len = content
            .find(|c: char| !(c.is_ascii_alphanumeric() || "_-.\\".contains(c) || c == HOLE))
            .unwrap_or(content.len());
        let (key, tail) = content.split_at(key_len);
        let after = tail.trim_start_matches(is_blank);
        let Some(value) = after.strip_prefix('=').filter(|_| !key.is_empty()) else {
            if key == "include" && tail.starts_with(is_blank) && !after.is_empty() {
                let pattern = after.split('#').next().unwrap_or_default().trim_end_matches(is_blank);
                self.lines.push(Line::Include {
                    pattern: pattern.to_owned(),
                    span: whole,
                });
            } else if !shown.contains(HOLE) {
                self.unreadable(shown, whole);
            }
            return next;
        };
        if !well_formed(key) {
            let span = Span::new(self.file, at, at + key.len());
            self.syntax(
                &format!("`{key}` is no key"),
                span,
                "segments of letters, digits, `_` and `-`, with one dot between",
            );
            return next;
        }
        let key_span = Span::new(self.file, at, at + key.len());
        let blanks = value.len() - value.trim_start_matches(is_blank).len();
        let value_at = at + content.len() - value.len() + blanks;
        let value = value.get(blanks..).unwrap_or_default();
        if key.contains(HOLE) {
            return next;
        }
        if value.starts_with("'''") && !self.target.before(MULTILINE) {
            return self.multiline(key, key_span, value_at, next);
        }
        if let Some((value, value_span)) = self.value(key, value, value_at, ended) {
            let known = !value.contains(HOLE);
            self.lines.push(Line::Setting(Setting {
                key: key.to_owned(),
                key_span,
                value: known.then_some(value),
                value_span,
            }));
        }
        next
    }

    fn value(&mut self, key: &str, text: &str, at: usize, ended: bool) -> Option<(String, Span)> {
        let place = |start: usize, end: usize| Span::new(self.file, at + start, at + end);
        if text.trim_end().is_empty() || text.starts_with('#') {
            let span = Span::new(self.file, at, at + text.trim_end().len());
            self.syntax(
                &format!("`{key}` has no value"),
                span,
                "RabbitMQ cannot read a line with nothing after its `=`",
            );
            return None;
        }
        let quoted = text.strip_prefix('\'').and_then(|t| Some((t, t.find('\'')?)));
        if let (Some((inner, end)), false) = (quoted, self.target.before(QUOTES)) {
            let tail = inner.get(end + 1..).unwrap_or_default();
            let trimmed = tail.trim_start_matches(is_blank);
            if !trimmed.is_empty() && !trimmed.starts_with('#') {
                let from = text.len() - trimmed.len();
                let span = place(from, from + trimmed.trim_end().len());
                if self.target.version.is_some() {
                    self.syntax("text after a quoted value", span, "the value ends at the second `'`");
                    return None;
                }
                let message = "since RabbitMQ 3.13 no text may follow a quoted value";
                self.out
                    .push(Diagnostic::warning(Code::CONF_ADVICE, message).at(span, ""));
                return Some((
                    text.trim_end_matches(is_blank).to_owned(),
                    place(0, text.trim_end_matches(is_blank).len()),
                ));
            }
            return Some((inner.get(..end).unwrap_or_default().to_owned(), place(0, end + 2)));
        }
        let cut = text.find('#');
        let raw = text.get(..cut.unwrap_or(text.len())).unwrap_or(text);
        // At the end of a file without a newline, blanks stay in the value.
        let value = if cut.is_some() || ended {
            raw.trim_end_matches(is_blank)
        } else {
            raw
        };
        let span = place(0, value.len());
        if let Some(cut) = cut.filter(|cut| *cut == value.len()) {
            self.cut_short(key, text, cut, at, quoted.is_some());
        } else if quoted.is_some() {
            self.out.push(
                Diagnostic::warning(Code::CONF_ADVICE, "the quotes are part of the value")
                    .at(span, "")
                    .note("RabbitMQ takes single quotes off since 3.13"),
            );
        } else if value.len() > 1 && value.starts_with('"') && value.ends_with('"') {
            self.out.push(
                Diagnostic::warning(Code::CONF_ADVICE, "the quotes are part of the value")
                    .at(span, "")
                    .note("double quotes mean nothing in rabbitmq.conf; single quotes do since 3.13"),
            );
        }
        Some((value.to_owned(), span))
    }

    /// `password = ab#cd` is `ab`, without a word from the node.
    fn cut_short(&mut self, key: &str, text: &str, cut: usize, at: usize, quoted: bool) {
        let end = text.trim_end().len();
        let span = Span::new(self.file, at + cut, at + end);
        let value = if super::schema::is_secret(key) {
            "what stands before it".to_owned()
        } else {
            format!("`{}`", text.get(..cut).unwrap_or_default())
        };
        let mut found = Diagnostic::error(Code::CONF_TRAP, format!("the value of `{key}` ends at the `#`"))
            .at(span, "a comment, to RabbitMQ")
            .note(format!("the node takes {value} and says nothing"));
        found = if quoted {
            found.note("quotes protect a `#` since RabbitMQ 3.13")
        } else if self.target.before(QUOTES) {
            found.help("before RabbitMQ 3.13 no value can hold a `#`; choose another, or set it with `rabbitmqctl`")
        } else {
            found.help(
                "single quotes protect it: `'...'` (RabbitMQ 3.13 and later); a comment wants a blank before its `#`",
            )
        };
        self.out.push(found);
    }

    /// From `'''` to the next one; returns where the line after it begins.
    fn multiline(&mut self, key: &str, key_span: Span, at: usize, next: usize) -> usize {
        let inner = self.text.get(at + 3..).unwrap_or_default();
        let Some(end) = inner.find("'''") else {
            let span = Span::new(self.file, at, at + 3);
            self.syntax(
                "a value that is not ended",
                span,
                "begins here, and needs `'''` at its end",
            );
            return next;
        };
        let close = at + 3 + end + 3;
        let value = inner.get(..end).unwrap_or_default();
        let known = !value.contains(HOLE);
        self.lines.push(Line::Setting(Setting {
            key: key.to_owned(),
            key_span,
            value: known.then(|| value.to_owned()),
            value_span: Span::new(self.file, at, close),
        }));
        let tail = self.text.get(close..).unwrap_or_default();
        tail.find('\n').map_or(self.text.len(), |n| close + n + 1)
    }

    fn unreadable(&mut self, line: &str, span: Span) {
        let first = line.chars().next().unwrap_or(' ');
        let start = span.start as usize;
        let mark = Span::new(self.file, start, start + first.len_utf8());
        let found = match first {
            '%' | ';' => Diagnostic::error(Code::CONF_SYNTAX, format!("`{first}` does not begin a comment"))
                .at(mark, "RabbitMQ does not start with this line")
                .fix("comments begin with `#`", mark, "#"),
            '[' if line.ends_with(']') => Diagnostic::error(Code::CONF_SYNTAX, "rabbitmq.conf has no sections")
                .at(span, "a section of another format"),
            '[' | '{' | ']' | '}' => Diagnostic::error(Code::CONF_SYNTAX, "this is not `key = value`")
                .at(span, "an Erlang term")
                .note("Erlang terms belong in advanced.config"),
            _ => {
                let found = Diagnostic::error(Code::CONF_SYNTAX, "this is not `key = value`")
                    .at(span, "RabbitMQ does not start with this line");
                match line.split_once([':', ' ']) {
                    Some((key, _)) if super::schema::find(key).is_some() => {
                        found.help(format!("write `{key} = VALUE`"))
                    }
                    _ => found.help("a line of words is a comment when it begins with `#`"),
                }
            }
        };
        self.out.push(found);
    }

    fn syntax(&mut self, message: &str, span: Span, label: &str) {
        self.out
            .push(Diagnostic::error(Code::CONF_SYNTAX, message).at(span, label));
    }
}

/// Segments of `[A-Za-z0-9_-]` and `\.`, with single dots between.
fn well_formed(key: &str) -> bool {
    if key.contains(HOLE) {
        return true;
    }
    let plain = key.replace("\\.", "_");
    !plain.contains('\\') && plain.split('.').all(|segment| !segment.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnostic::SourceMap;

    fn read(text: &str, version: Option<Version>) -> (Vec<(String, Option<String>)>, Vec<String>) {
        let map = SourceMap::default();
        let file = map.add("rabbitmq.conf", text);
        let mut out = Vec::new();
        let lines = parse(file, text, &Target::new(version), &mut out);
        let settings = lines
            .into_iter()
            .filter_map(|line| match line {
                Line::Setting(s) => {
                    let at = |span: Span| text.get(span.start as usize..span.end as usize).unwrap_or_default();
                    assert_eq!(at(s.key_span), s.key);
                    if let Some(value) = &s.value {
                        assert!(at(s.value_span).contains(value.as_str()), "{s:?}");
                    }
                    Some((s.key, s.value))
                }
                Line::Include { .. } => None,
            })
            .collect();
        (
            settings,
            out.into_iter().map(|d| format!("{} {}", d.code, d.message)).collect(),
        )
    }

    fn one(text: &str, version: Option<Version>) -> Option<String> {
        let (settings, _) = read(text, version);
        settings.into_iter().next().and_then(|s| s.1)
    }

    const OLD: Option<Version> = Some(Version::new(3, 10, 8));
    const NEW: Option<Version> = Some(Version::new(4, 0, 5));

    #[test]
    fn values_end_where_cuttlefish_ends_them() {
        for version in [OLD, NEW, None] {
            assert_eq!(one("a=1", version).as_deref(), Some("1"));
            assert_eq!(one("\ta\t=\t1 2 \t# c\r\n", version).as_deref(), Some("1 2"));
            assert_eq!(one("a = 1#2\n", version).as_deref(), Some("1"));
            assert_eq!(one("a = b'c\n", version).as_deref(), Some("b'c"));
            assert_eq!(one("a = 'b\n", version).as_deref(), Some("'b"));
            // Without a newline at the end of the file the blanks stay.
            assert_eq!(one("a = 1  ", version).as_deref(), Some("1  "));
            assert_eq!(one("a = 1\rb = 2\n", version).as_deref(), Some("1\rb = 2"));
        }
        assert_eq!(one("a = 'b#c'\n", OLD).as_deref(), Some("'b"));
        assert_eq!(one("a = 'b#c' # d\n", NEW).as_deref(), Some("b#c"));
        assert_eq!(one("a = ''\n", NEW).as_deref(), Some(""));
        assert_eq!(
            one("a = '''b\n#c'''\nd = e", Some(Version::new(4, 2, 0))).as_deref(),
            Some("b\n#c")
        );
    }

    #[test]
    fn what_a_node_cannot_read_is_told_by_line() {
        for (text, message) in [
            ("% x", "`%` does not begin a comment"),
            ("; x", "`;` does not begin a comment"),
            ("[rabbit]", "rabbitmq.conf has no sections"),
            ("[{rabbit, []}].", "this is not `key = value`"),
            ("heartbeat 20", "this is not `key = value`"),
            ("a =", "`a` has no value"),
            ("a = # b", "`a` has no value"),
            ("a..b = 1", "`a..b` is no key"),
            ("a. = 1", "`a.` is no key"),
            ("镜像队列", "this is not `key = value`"),
        ] {
            assert_eq!(read(text, None).1, [format!("E601 {message}")], "{text}");
        }
        assert_eq!(read("a = 'b' c", NEW).1, ["E601 text after a quoted value"]);
        assert_eq!(
            read("\u{feff}a = 1", NEW).1,
            ["E601 the file begins with a byte order mark"]
        );
        assert!(
            read("a\\.b.c-d_e = 1\n\n  \n# x\ninclude x/*.conf # y\n", None)
                .1
                .is_empty()
        );
    }

    #[test]
    fn a_templates_static_lines_keep_their_places() {
        let text = "{# é #}\n{% if x %}\na = {{ b }}\nc.{{ d }} = 1\n{% endif %}\ne = 2 {{ f }}\ng = 3\n";
        let masked = static_part(text);
        assert_eq!(masked.len(), text.len());
        let found = read(&masked, None);
        assert_eq!(found.1, Vec::<String>::new());
        let expected = [("a", None), ("e", None), ("g", Some("3"))];
        let expected = expected.map(|(k, v): (&str, Option<&str>)| (k.to_owned(), v.map(str::to_owned)));
        assert_eq!(found.0, expected);
    }
}
