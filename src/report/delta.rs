//! One [`Delta`] as lines of text: values on one line, files as unified diffs.

use super::style::{Palette, one_line, paint, printable};
use crate::host::{Content, Delta, Facet};
use similar::{ChangeTag, DiffOp, DiffTag, TextDiff};
use std::fmt::Write as _;
use std::time::Duration;

/// Lines longer than this many characters are shown around what differs.
const LONG_LINE: usize = 400;
/// What stays in sight before the first difference of a long line.
const LEAD: usize = 80;

/// How much of a content change is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// `~ /etc/x: 3 lines added, 1 removed`.
    Summary,
    /// A unified diff.
    Full,
}

/// Lines without indentation, each with its newline.
pub fn render(delta: &Delta, detail: Detail, palette: &Palette) -> String {
    match contents(delta) {
        Some((before, after)) => content(delta, before, after, detail, palette),
        None => value(delta, palette),
    }
}

/// Both sides as content, if it is content that changes (`None` inside: absent).
fn contents(delta: &Delta) -> Option<(Option<&Content>, Option<&Content>)> {
    match (&delta.before, &delta.after) {
        (Facet::Text(b), Facet::Text(a)) => Some((Some(b), Some(a))),
        (Facet::Absent, Facet::Text(a)) => Some((None, Some(a))),
        (Facet::Text(b), Facet::Absent) => Some((Some(b), None)),
        _ => None,
    }
}

fn value(delta: &Delta, palette: &Palette) -> String {
    let subject = one_line(&delta.subject);
    let (sign, style, text) = match (&delta.before, &delta.after) {
        (Facet::Unknown(reason), Facet::Unknown(other)) if reason == other => {
            ("?", palette.unknown, format!("cannot know yet: {}", one_line(reason)))
        }
        (before, after @ Facet::Unknown(_)) => ("?", palette.unknown, format!("{} → {}", facet(before), facet(after))),
        (Facet::Absent, after) => ("+", palette.added, facet(after)),
        (before, Facet::Absent) => ("-", palette.removed, facet(before)),
        (before, after) => ("~", palette.changed, format!("{} → {}", facet(before), facet(after))),
    };
    format!("{} {subject}: {text}\n", paint(style, sign))
}

fn facet(facet: &Facet) -> String {
    match facet {
        Facet::Absent => "absent".to_owned(),
        Facet::Value(v) if v.is_empty() => "\"\"".to_owned(),
        Facet::Value(v) => one_line(v),
        Facet::Text(content) => describe(content),
        Facet::Unknown(reason) => format!("cannot know yet ({})", one_line(reason)),
        Facet::Secret(tag) => format!("«secret:{}»", one_line(tag)),
    }
}

fn describe(content: &Content) -> String {
    let hash: String = content.sha256().chars().take(12).collect();
    format!("{} bytes, sha256 {hash}…", content.as_bytes().len())
}

/// UTF-8 without NUL.
fn as_text(content: Option<&Content>) -> Option<&str> {
    match content {
        None => Some(""),
        Some(c) => std::str::from_utf8(c.as_bytes()).ok().filter(|t| !t.contains('\0')),
    }
}

fn content(
    delta: &Delta,
    before: Option<&Content>,
    after: Option<&Content>,
    detail: Detail,
    palette: &Palette,
) -> String {
    let subject = one_line(&delta.subject);
    let (sign, style) = match (before, after) {
        (None, _) => ("+", palette.added),
        (_, None) => ("-", palette.removed),
        _ => ("~", palette.changed),
    };
    let (Some(old), Some(new)) = (as_text(before), as_text(after)) else {
        let text = match (before, after) {
            (Some(b), Some(a)) => format!("{} → {}", describe(b), describe(a)),
            (Some(one), None) | (None, Some(one)) => describe(one),
            (None, None) => String::new(),
        };
        return format!("{} {subject}: binary, {text}\n", paint(style, sign));
    };
    let diff = TextDiff::configure()
        .timeout(Duration::from_secs(2))
        .diff_lines(old, new);
    if detail == Detail::Summary || old == new {
        let (added, removed) = diff.ops().iter().fold((0, 0), |(a, r), op| match op.tag() {
            DiffTag::Equal => (a, r),
            _ => (a + op.new_range().len(), r + op.old_range().len()),
        });
        let lines = |n: usize| {
            if n == 1 {
                "1 line".to_owned()
            } else {
                format!("{n} lines")
            }
        };
        let text = match (before, after) {
            (None, _) => lines(added),
            (_, None) => lines(removed),
            _ => format!("{} added, {removed} removed", lines(added)),
        };
        return format!("{} {subject}: {text}\n", paint(style, sign));
    }
    let side = |content: Option<&Content>, name: &'static str| if content.is_none() { "absent" } else { name };
    let mut out = String::new();
    let header = format!("--- {subject} ({})", side(before, "before"));
    let _ = writeln!(out, "{}", paint(palette.removed, &header));
    let header = format!("+++ {subject} ({})", side(after, "after"));
    let _ = writeln!(out, "{}", paint(palette.added, &header));
    for hunk in diff.unified_diff().context_radius(3).iter_hunks() {
        let _ = writeln!(out, "{}", paint(palette.hunk, &hunk.header().to_string()));
        for op in hunk.ops() {
            hunk_lines(&diff, op, palette, &mut out);
        }
    }
    out
}

fn hunk_lines(diff: &TextDiff<'_, '_, str>, op: &DiffOp, palette: &Palette, out: &mut String) {
    for change in diff.iter_inline_changes(op) {
        let (sign, style) = match change.tag() {
            ChangeTag::Equal => (" ", anstyle::Style::new()),
            ChangeTag::Delete => ("-", palette.removed),
            ChangeTag::Insert => ("+", palette.added),
        };
        let mut parts: Vec<(bool, String)> = change
            .iter_strings_lossy()
            .map(|(emphasis, text)| (emphasis, text.trim_end_matches('\n').to_owned()))
            .collect();
        shorten(&mut parts);
        let mut line = paint(style, sign).into_owned();
        for (emphasis, text) in &parts {
            let style = if *emphasis && palette.emphasis != anstyle::Style::new() {
                style.underline()
            } else {
                style
            };
            line.push_str(&paint(style, &printable(text)));
        }
        let _ = writeln!(out, "{line}");
        if change.missing_newline() {
            let _ = writeln!(out, "{}", paint(palette.dim, "\\ no newline at the end"));
        }
    }
}

/// Cuts a long line to what surrounds its first difference, and says how much is out of sight.
fn shorten(parts: &mut Vec<(bool, String)>) {
    let total: usize = parts.iter().map(|(_, t)| t.chars().count()).sum();
    if total <= LONG_LINE {
        return;
    }
    let before: usize = parts
        .iter()
        .take_while(|(emphasis, _)| !emphasis)
        .map(|(_, t)| t.chars().count())
        .sum();
    let start = if before == total {
        0
    } else {
        before.saturating_sub(LEAD)
    };
    let end = (start + LONG_LINE).min(total);
    let mut at = 0;
    let mut kept = Vec::new();
    if start > 0 {
        kept.push((false, format!("… {start} characters … ")));
    }
    for (emphasis, text) in parts.iter() {
        let len = text.chars().count();
        let (from, to) = (start.max(at), end.min(at + len));
        if from < to {
            kept.push((*emphasis, text.chars().skip(from - at).take(to - from).collect()));
        }
        at += len;
    }
    if end < total {
        kept.push((false, format!(" … {} characters", total - end)));
    }
    *parts = kept;
}

#[cfg(test)]
mod tests {
    use super::*;
    use insta::assert_snapshot;

    fn full(delta: &Delta) -> String {
        render(delta, Detail::Full, &Palette::default())
    }

    fn text(before: Option<&str>, after: Option<&str>) -> Delta {
        Delta::text("/etc/x", before.map(Content::from), after.map(Content::from))
    }

    #[test]
    fn a_changed_file_is_a_unified_diff_with_stable_headers() {
        let delta = text(Some("a\nb\nc\nd\ne\nf\ng\n"), Some("a\nb\nc\nD\ne\nf\ng"));
        assert_snapshot!(full(&delta), @r"
        --- /etc/x (before)
        +++ /etc/x (after)
        @@ -1,7 +1,7 @@
         a
         b
         c
        -d
        +D
         e
         f
        -g
        +g
        \ no newline at the end
        ");
    }

    #[test]
    fn a_new_file_and_a_removed_one_say_so() {
        assert_snapshot!(full(&text(None, Some("a\n"))), @r"
        --- /etc/x (absent)
        +++ /etc/x (after)
        @@ -0,0 +1 @@
        +a
        ");
        assert_snapshot!(full(&text(Some("a\n"), None)), @r"
        --- /etc/x (before)
        +++ /etc/x (absent)
        @@ -1 +0,0 @@
        -a
        ");
        assert_snapshot!(full(&text(None, Some(""))), @"+ /etc/x: 0 lines");
    }

    #[test]
    fn values_stand_on_one_line() {
        let delta = Delta::value("sysctl vm.swappiness (live)", "60", "10");
        assert_snapshot!(full(&delta), @"~ sysctl vm.swappiness (live): 60 → 10");
        let delta = |before, after| Delta {
            subject: "x".into(),
            before,
            after,
        };
        let value = |v: &str| Facet::Value(v.into());
        assert_snapshot!(full(&delta(Facet::Absent, value("10"))), @"+ x: 10");
        assert_snapshot!(full(&delta(value("10"), Facet::Absent)), @"- x: 10");
        assert_snapshot!(full(&delta(value(""), value("a\nb"))), @r#"~ x: "" → a\nb"#);
        assert_snapshot!(
            full(&delta(Facet::Secret("3f2a".into()), Facet::Secret("77ab".into()))),
            @"~ x: «secret:3f2a» → «secret:77ab»"
        );
        assert_snapshot!(
            full(&delta(value("1"), Facet::Unknown("depends on `make it`".into()))),
            @"? x: 1 → cannot know yet (depends on `make it`)"
        );
    }

    #[test]
    fn binary_content_is_described() {
        let delta = Delta::text("/x", Some(Content::from([0xff_u8, 0])), Some(Content::from("a\n")));
        assert_snapshot!(full(&delta), @"~ /x: binary, 2 bytes, sha256 ea5dbf9596d1… → 2 bytes, sha256 87428fc52280…");
    }

    #[test]
    fn a_long_line_is_shown_around_its_difference() {
        let line = |c: &str| format!("{} {c} {}\n", "a".repeat(1000), "b".repeat(1000));
        let delta = text(Some(&line("old")), Some(&line("new")));
        let shown = full(&delta);
        let lines: Vec<&str> = shown.lines().skip(3).collect();
        assert!(lines.iter().all(|l| l.chars().count() < 480), "{shown}");
        assert!(lines[0].starts_with("-… 921 characters … aaa"), "{shown}");
        assert!(lines[0].contains(" old "), "{shown}");
        assert!(lines[1].contains(" new "), "{shown}");
        assert!(lines[1].ends_with("characters"), "{shown}");
    }

    #[test]
    fn a_summary_counts_lines() {
        let delta = text(Some("a\nb\n"), Some("a\nc\nd\n"));
        let shown = render(&delta, Detail::Summary, &Palette::default());
        assert_snapshot!(shown, @"~ /etc/x: 2 lines added, 1 removed");
    }

    #[test]
    fn colour_marks_lines_and_what_differs_inside() {
        let delta = text(Some("key = one two\n"), Some("key = one three\n"));
        let shown = render(&delta, Detail::Full, &Palette::new(true));
        assert!(shown.contains("\u{1b}[31m-\u{1b}[0m"), "{shown:?}");
        assert!(
            shown.contains("\u{1b}[4m\u{1b}[32mthree") || shown.contains("\u{1b}[32;4mthree"),
            "{shown:?}"
        );
    }
}
