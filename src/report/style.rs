//! How text looks: colours, widths, names of things in the plural, and nothing that could drive the terminal.

use anstyle::{AnsiColor, Style};
use std::borrow::Cow;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// The colours of the report; all empty where colour is off.
#[derive(Clone, Copy, Debug, Default)]
pub struct Palette {
    pub ok: Style,
    pub changed: Style,
    pub skipped: Style,
    pub failed: Style,
    pub unknown: Style,
    pub warning: Style,
    pub added: Style,
    pub removed: Style,
    /// Inside an added or removed line: what differs.
    pub emphasis: Style,
    pub hunk: Style,
    pub title: Style,
    pub dim: Style,
    pub help: Style,
}

impl Palette {
    pub fn new(color: bool) -> Self {
        if !color {
            return Palette::default();
        }
        let of = |color: AnsiColor| Style::new().fg_color(Some(color.into()));
        Palette {
            ok: of(AnsiColor::Green),
            changed: of(AnsiColor::Yellow),
            skipped: of(AnsiColor::Cyan),
            failed: of(AnsiColor::Red).bold(),
            unknown: of(AnsiColor::Magenta),
            warning: of(AnsiColor::Yellow).bold(),
            added: of(AnsiColor::Green),
            removed: of(AnsiColor::Red),
            emphasis: Style::new().underline(),
            hunk: of(AnsiColor::Cyan),
            title: Style::new().bold(),
            dim: Style::new().dimmed(),
            help: of(AnsiColor::Cyan).bold(),
        }
    }
}

/// `text` in `style`.
pub fn paint(style: Style, text: &str) -> Cow<'_, str> {
    if style == Style::new() || text.is_empty() {
        Cow::Borrowed(text)
    } else {
        Cow::Owned(format!("{style}{text}{style:#}"))
    }
}

/// Text of a host as it may go to a terminal: control characters and those that turn the writing direction are
/// written as escapes; newline and tab stay.
pub fn printable(text: &str) -> Cow<'_, str> {
    let bad = |c: char| {
        (c.is_control() && c != '\n' && c != '\t')
            || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    if !text.contains(bad) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        match c {
            '\r' => out.push_str("\\r"),
            c if bad(c) && u32::from(c) < 0x100 => out.push_str(&format!("\\x{:02x}", u32::from(c))),
            c if bad(c) => out.extend(c.escape_unicode()),
            c => out.push(c),
        }
    }
    Cow::Owned(out)
}

/// [`printable`], on one line.
pub fn one_line(text: &str) -> String {
    printable(text.trim_end_matches('\n'))
        .replace('\n', "\\n")
        .replace('\t', "\\t")
}

/// Columns on the terminal.
pub fn width(text: &str) -> usize {
    text.width()
}

/// `text` with blanks up to `columns`.
pub fn pad(text: &str, columns: usize) -> String {
    let missing = columns.saturating_sub(width(text));
    format!("{text}{}", " ".repeat(missing))
}

/// At most `columns` wide, `…` in place of what is cut.
pub fn cut(text: &str, columns: usize) -> Cow<'_, str> {
    if width(text) <= columns {
        return Cow::Borrowed(text);
    }
    let mut out = String::new();
    let mut used = 0;
    for c in text.chars() {
        let w = c.width().unwrap_or(0);
        if used + w + 1 > columns {
            break;
        }
        used += w;
        out.push(c);
    }
    out.push('…');
    Cow::Owned(out)
}

/// `1 host`, `3 hosts`.
pub fn count(n: usize, noun: &str) -> String {
    if n == 1 {
        format!("1 {noun}")
    } else {
        format!("{n} {noun}s")
    }
}

/// `0.4 s`, `14.2 s`, `2 min 5 s`.
pub fn duration(ms: u64) -> String {
    if ms < 60_000 {
        format!("{}.{} s", ms / 1000, ms % 1000 / 100)
    } else {
        format!("{} min {} s", ms / 60_000, ms % 60_000 / 1000)
    }
}

/// Names joined by commas, wrapped to `columns`, each line after `indent` blanks; beyond `limit` names the rest
/// is counted.
pub fn host_list(hosts: &[&str], indent: usize, columns: usize, limit: usize) -> String {
    let shown = if hosts.len() > limit { limit } else { hosts.len() };
    let mut words: Vec<String> = hosts.iter().take(shown).map(|h| one_line(h)).collect();
    if shown < hosts.len() {
        words.push(format!("and {} more", hosts.len() - shown));
    }
    let last = words.len().saturating_sub(1);
    let mut lines = vec![String::new()];
    for (i, word) in words.iter().enumerate() {
        let word = if i < last { format!("{word},") } else { word.clone() };
        let line = lines.last().map_or(0, |l| width(l));
        if line > 0 && indent + line + 1 + width(&word) > columns {
            lines.push(String::new());
        }
        if let Some(line) = lines.last_mut() {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(&word);
        }
    }
    lines.join(&format!("\n{}", " ".repeat(indent)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_of_a_host_never_reach_the_terminal() {
        assert_eq!(printable("a\u{1b}[2Jb\u{202e}c\r\n"), "a\\x1b[2Jb\\u{202e}c\\r\n");
        assert_eq!(printable("Кролик\t兎"), "Кролик\t兎");
        assert_eq!(one_line("a\nb\n"), "a\\nb");
    }

    #[test]
    fn widths_count_columns_not_characters() {
        assert_eq!(pad("兎", 4), "兎  ");
        assert_eq!(cut("兎兎兎", 5), "兎兎…");
        assert_eq!(cut("abc", 3), "abc");
    }

    #[test]
    fn host_lists_wrap_and_end_with_a_count() {
        let hosts: Vec<String> = (1..=9).map(|n| format!("mq-{n}")).collect();
        let hosts: Vec<&str> = hosts.iter().map(String::as_str).collect();
        assert_eq!(host_list(&hosts[..2], 2, 40, 8), "mq-1, mq-2");
        assert_eq!(
            host_list(&hosts, 2, 24, 8),
            "mq-1, mq-2, mq-3,\n  mq-4, mq-5, mq-6,\n  mq-7, mq-8, and 1 more"
        );
    }

    #[test]
    fn durations_read_like_clocks() {
        assert_eq!(duration(420), "0.4 s");
        assert_eq!(duration(14_250), "14.2 s");
        assert_eq!(duration(125_000), "2 min 5 s");
    }
}
