//! Diagnostics as text, in the manner of rustc, and as JSON.

use super::{Diagnostic, Label, Severity, SourceFile, SourceMap, Span};
use annotate_snippets::{AnnotationKind, Group, Level, Patch, Renderer, Snippet};
use serde_json::{Value, json};
use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;

/// How many diagnostics [`render_all`] shows in full.
const SHOWN: usize = 20;

#[derive(Clone, Copy, Debug)]
pub struct RenderOptions {
    pub color: bool,
    /// Terminal width in columns.
    pub width: usize,
}

/// One diagnostic, ending in a newline. Columns are display columns: wide characters and tabs keep the carets
/// in place.
pub fn render_human(sources: &SourceMap, diagnostic: &Diagnostic, options: RenderOptions) -> String {
    let related: Vec<_> = diagnostic
        .related
        .iter()
        .map(|r| (r, sources.get(r.span.file)))
        .collect();
    let fixes: Vec<_> = diagnostic.fixes.iter().map(|f| (f, sources.get(f.span.file))).collect();
    let files = labels_by_file(sources, diagnostic);

    let level = match diagnostic.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let mut main = level
        .primary_title(diagnostic.message.as_str())
        .id(diagnostic.code.0)
        .elements(files.iter().map(|(file, labels)| {
            Snippet::source(file.text.as_str())
                .path(file.name.as_str())
                .annotations(labels.iter().map(|label| {
                    let kind = match label.primary {
                        true => AnnotationKind::Primary,
                        false => AnnotationKind::Context,
                    };
                    kind.span(range(file, label.span)).label(label.text.as_str())
                }))
        }));
    for note in &diagnostic.notes {
        main = main.element(Level::NOTE.message(note.as_str()));
    }
    let mut report = vec![main];
    for (related, file) in &related {
        let title = Level::NOTE.secondary_title(related.message.as_str());
        report.push(match file {
            Some(file) => title.element(
                Snippet::source(file.text.as_str()).path(file.name.as_str()).annotation(
                    AnnotationKind::Context
                        .span(range(file, related.span))
                        .label(related.label.as_str()),
                ),
            ),
            None => Group::with_title(title),
        });
    }
    for (fix, file) in &fixes {
        let title = Level::HELP.secondary_title(fix.message.as_str());
        report.push(match file {
            Some(file) => title.element(
                Snippet::source(file.text.as_str())
                    .path(file.name.as_str())
                    .patch(Patch::new(range(file, fix.span), fix.replacement.as_str())),
            ),
            None => Group::with_title(title),
        });
    }
    for help in &diagnostic.helps {
        report.push(Group::with_title(Level::HELP.secondary_title(help.as_str())));
    }
    let renderer = match options.color {
        true => Renderer::styled(),
        false => Renderer::plain(),
    };
    let mut text = renderer.term_width(options.width).render(&report);
    text.push('\n');
    text
}

/// The labels of each file, the file of the primary label first.
fn labels_by_file<'a>(sources: &SourceMap, diagnostic: &'a Diagnostic) -> Vec<(Arc<SourceFile>, Vec<&'a Label>)> {
    let mut files: Vec<(super::FileId, Vec<&Label>)> = Vec::new();
    if let Some(place) = diagnostic.position() {
        files.push((place.file, Vec::new()));
    }
    for label in &diagnostic.labels {
        match files.iter_mut().find(|(id, _)| *id == label.span.file) {
            Some((_, labels)) => labels.push(label),
            None => files.push((label.span.file, vec![label])),
        }
    }
    files
        .into_iter()
        .filter_map(|(id, labels)| Some((sources.get(id)?, labels)))
        .collect()
}

/// The bytes of a span, made to lie on characters of the text.
fn range(file: &SourceFile, span: Span) -> Range<usize> {
    let snap = |mut at: usize| {
        at = at.min(file.text.len());
        while !file.text.is_char_boundary(at) {
            at -= 1;
        }
        at
    };
    let start = snap(span.start as usize);
    start..snap(span.end as usize).max(start)
}

/// Sorts by file and place, drops repetitions (a role read twice), shows the first twenty and counts the rest.
/// Empty for an empty list.
pub fn render_all(sources: &SourceMap, diagnostics: &mut Vec<Diagnostic>, options: RenderOptions) -> String {
    tidy(sources, diagnostics);
    if diagnostics.is_empty() {
        return String::new();
    }
    let mut out = String::new();
    for diagnostic in diagnostics.iter().take(SHOWN) {
        out.push_str(&render_human(sources, diagnostic, options));
        out.push('\n');
    }
    if diagnostics.len() > SHOWN {
        out.push_str(&format!("and {} more\n\n", diagnostics.len() - SHOWN));
    }
    let errors = diagnostics.iter().filter(|d| d.is_error()).count();
    let warnings = diagnostics.len() - errors;
    let count = |n: usize, what: &str| match n {
        0 => None,
        1 => Some(format!("1 {what}")),
        n => Some(format!("{n} {what}s")),
    };
    let counts: Vec<_> = [count(errors, "error"), count(warnings, "warning")]
        .into_iter()
        .flatten()
        .collect();
    let level = match errors {
        0 => Level::WARNING,
        _ => Level::ERROR,
    };
    let renderer = match options.color {
        true => Renderer::styled(),
        false => Renderer::plain(),
    };
    out.push_str(&renderer.render(&[Group::with_title(level.primary_title(counts.join(", ")))]));
    out.push('\n');
    out
}

/// Sorts by file and place and drops repetitions: what [`render_all`] does first, for other formats.
pub fn tidy(sources: &SourceMap, diagnostics: &mut Vec<Diagnostic>) {
    // By name, not by identity: a file that is read twice has two.
    let name = |d: &Diagnostic| d.position().and_then(|s| sources.get(s.file)).map(|f| f.name.clone());
    let place = |d: &Diagnostic| d.position().map(|s| (s.start, s.end));
    diagnostics.sort_by_cached_key(|d| (name(d), place(d), d.code));
    let mut seen = HashSet::new();
    diagnostics.retain(|d| seen.insert((name(d), place(d), d.code, d.message.clone())));
}

/// The same diagnostic for programs: places as bytes and as lines and columns (from 1, in characters; the end is
/// exclusive).
pub fn render_json(sources: &SourceMap, diagnostic: &Diagnostic) -> Value {
    let span = |span: Span| {
        let start = sources.locate(span);
        let end = sources.locate(Span {
            start: span.end,
            ..span
        });
        json!({
            "file": start.as_ref().map(|l| l.file.clone()),
            "byte_start": span.start,
            "byte_end": span.end,
            "line_start": start.as_ref().map(|l| l.line),
            "column_start": start.as_ref().map(|l| l.column),
            "line_end": end.as_ref().map(|l| l.line),
            "column_end": end.as_ref().map(|l| l.column),
        })
    };
    let labels: Vec<Value> = diagnostic
        .labels
        .iter()
        .map(|l| json!({"span": span(l.span), "text": l.text, "primary": l.primary}))
        .collect();
    let related: Vec<Value> = diagnostic
        .related
        .iter()
        .map(|r| json!({"message": r.message, "span": span(r.span), "label": r.label}))
        .collect();
    let fixes: Vec<Value> = diagnostic
        .fixes
        .iter()
        .map(|f| json!({"message": f.message, "span": span(f.span), "replacement": f.replacement}))
        .collect();
    json!({
        "severity": match diagnostic.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        },
        "code": diagnostic.code.0,
        "message": diagnostic.message,
        "span": diagnostic.position().map(span),
        "labels": labels,
        "related": related,
        "notes": diagnostic.notes,
        "helps": diagnostic.helps,
        "fixes": fixes,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnostic::Code;
    use insta::assert_snapshot;

    const PLAIN: RenderOptions = RenderOptions {
        color: false,
        width: 120,
    };

    /// The place of the `nth` occurrence of a text.
    fn find(sources: &SourceMap, file: crate::diagnostic::FileId, text: &str, nth: usize) -> Span {
        let source = sources.get(file).unwrap();
        let (start, _) = source.text.match_indices(text).nth(nth).unwrap();
        Span::new(file, start, start + text.len())
    }

    #[test]
    fn everything_at_once() {
        let sources = SourceMap::default();
        let file = sources.add(
            "playbooks/site.yml",
            "- hosts: all\n  tasks:\n    - name: one\n      sysctl:\n        valeu: 65536\n",
        );
        let vars = sources.add("group_vars/all.yml", "a: 1\nnofile: 64k\n");
        let at = find(&sources, file, "valeu", 0);
        let diagnostic = Diagnostic::error(Code::UNKNOWN_ARGUMENT, "unknown argument `valeu` for module `sysctl`")
            .at(at, "not an argument of `sysctl`")
            .context(find(&sources, file, "sysctl", 0), "in this task")
            .note("`sysctl` takes `name`, `value`")
            .related("`nofile` comes from here", find(&sources, vars, "64k", 0), "")
            .fix("there is an argument with a similar name", at, "value")
            .help("write the number in full: `65536`");
        assert_snapshot!(render_human(&sources, &diagnostic, PLAIN), @r#"
        error[E012]: unknown argument `valeu` for module `sysctl`
         --> playbooks/site.yml:5:9
          |
        4 |       sysctl:
          |       ------ in this task
        5 |         valeu: 65536
          |         ^^^^^ not an argument of `sysctl`
          |
          = note: `sysctl` takes `name`, `value`
        note: `nofile` comes from here
         --> group_vars/all.yml:2:9
          |
        2 | nofile: 64k
          |         ---
        help: there is an argument with a similar name
          |
        5 -         valeu: 65536
        5 +         value: 65536
          |
        help: write the number in full: `65536`
        "#);
    }

    #[test]
    fn no_place_and_other_files() {
        let sources = SourceMap::default();
        let bare = Diagnostic::warning(Code::USAGE, "nothing to do").note("the list is empty");
        assert_snapshot!(render_human(&sources, &bare, PLAIN), @r#"
        warning[E900]: nothing to do
         |
         = note: the list is empty
        "#);
        let a = sources.add("a.yml", "one: 1\n");
        let b = sources.add("b.yml", "two: 2\n");
        let two = Diagnostic::error(Code::CONFLICT, "both are set")
            .context(find(&sources, b, "two", 0), "and here")
            .at(find(&sources, a, "one", 0), "here");
        assert_snapshot!(render_human(&sources, &two, PLAIN), @r#"
        error[E014]: both are set
         --> a.yml:1:1
          |
        1 | one: 1
          | ^^^ here
          |
         ::: b.yml:1:1
          |
        1 | two: 2
          | --- and here
        "#);
    }

    #[test]
    fn carets_stand_under_wide_characters() {
        let sources = SourceMap::default();
        let mut out = String::new();
        for (name, text) in [
            ("cyrillic.yml", "ключ: значение ошибка # комментарий\n"),
            ("cjk.yml", "日本: 値 ошибка # コメント\n"),
            ("emoji.yml", "🐰: 👩\u{200d}💻 ошибка\n"),
            ("tab.yml", "a:\tb\tошибка\n"),
            ("crlf.yml", "x: 1\r\ny: ошибка\r\n"),
        ] {
            let file = sources.add(name, text);
            let at = find(&sources, file, "ошибка", 0);
            out += &render_human(&sources, &Diagnostic::error(Code::VALUE, name).at(at, "here"), PLAIN);
        }
        assert_snapshot!(out, @r#"
        error[E021]: cyrillic.yml
         --> cyrillic.yml:1:16
          |
        1 | ключ: значение ошибка # комментарий
          |                ^^^^^^ here
        error[E021]: cjk.yml
         --> cjk.yml:1:7
          |
        1 | 日本: 値 ошибка # コメント
          |          ^^^^^^ here
        error[E021]: emoji.yml
         --> emoji.yml:1:8
          |
        1 | 🐰: 👩💻 ошибка
          |          ^^^^^^ here
        error[E021]: tab.yml
         --> tab.yml:1:6
          |
        1 | a:    b    ошибка
          |            ^^^^^^ here
        error[E021]: crlf.yml
         --> crlf.yml:2:4
          |
        2 | y: ошибка
          |    ^^^^^^ here
        "#);
    }

    #[test]
    fn a_place_beyond_the_text_is_survived() {
        let sources = SourceMap::default();
        let file = sources.add("a.yml", "é\n");
        for (start, end) in [(1, 1), (0, 1), (900, 901), (2, 2), (3, 3)] {
            let text = render_human(
                &sources,
                &Diagnostic::error(Code::VALUE, "x").at(Span::new(file, start, end), "y"),
                PLAIN,
            );
            assert!(text.contains("a.yml:"), "{text}");
        }
    }

    #[test]
    fn long_lines_are_cut_to_the_width() {
        let sources = SourceMap::default();
        let file = sources.add("a.yml", format!("{}: here\n", "k".repeat(300)));
        let at = find(&sources, file, "here", 0);
        let diagnostic = Diagnostic::error(Code::VALUE, "far right").at(at, "this");
        let narrow = RenderOptions { width: 60, ..PLAIN };
        assert_snapshot!(render_human(&sources, &diagnostic, narrow), @r#"
        error[E021]: far right
         --> a.yml:1:303
          |
        1 | ...kkkkkkkkkkkkkkkkkk: here
          |                        ^^^^ this
        "#);
    }

    #[test]
    fn colour_only_where_asked() {
        let sources = SourceMap::default();
        let file = sources.add("a.yml", "x: 1\n");
        let mut all = vec![
            Diagnostic::error(Code::VALUE, "x")
                .at(Span::new(file, 0, 1), "y")
                .help("z"),
        ];
        assert!(!render_all(&sources, &mut all, PLAIN).contains('\u{1b}'));
        let styled = render_all(&sources, &mut all, RenderOptions { color: true, ..PLAIN });
        assert!(styled.contains('\u{1b}'));
    }

    #[test]
    fn many_are_sorted_counted_and_cut() {
        let sources = SourceMap::default();
        let file = sources.add("a.yml", "0123456789012345678901234567890123456789\n");
        let again = sources.add("a.yml", "0123456789012345678901234567890123456789\n");
        let mut all: Vec<_> = (0..23)
            .rev()
            .map(|n| Diagnostic::error(Code::VALUE, format!("number {n}")).at(Span::new(file, n, n + 1), ""))
            .collect();
        all.push(Diagnostic::error(Code::VALUE, "number 3").at(Span::new(again, 3, 4), ""));
        all.push(Diagnostic::warning(Code::VALUE, "careful").at(Span::new(file, 30, 31), ""));
        let text = render_all(&sources, &mut all, PLAIN);
        assert_eq!(text.matches("error[E021]").count(), 20);
        assert_eq!(text.matches("number 3\n").count(), 1);
        assert!(text.find("number 1\n").unwrap() < text.find("number 2\n").unwrap());
        assert!(
            text.ends_with("\nand 4 more\n\nerror: 23 errors, 1 warning\n"),
            "{text}"
        );
        let mut one = vec![Diagnostic::warning(Code::VALUE, "careful")];
        assert_snapshot!(render_all(&sources, &mut one, PLAIN), @r#"
        warning[E021]: careful

        warning: 1 warning
        "#);
        assert_eq!(render_all(&sources, &mut Vec::new(), PLAIN), "");
    }

    #[test]
    fn json_has_bytes_lines_and_columns() {
        let sources = SourceMap::default();
        let file = sources.add("a.yml", "a: 1\nключ: значение\n");
        let at = find(&sources, file, "значение", 0);
        let diagnostic = Diagnostic::error(Code::VALUE, "bad value")
            .at(at, "here")
            .note("n")
            .help("h")
            .related("r", Span::new(file, 0, 1), "l")
            .fix("f", at, "x");
        insta::assert_json_snapshot!(render_json(&sources, &diagnostic), @r#"
        {
          "severity": "error",
          "code": "E021",
          "message": "bad value",
          "span": {
            "file": "a.yml",
            "byte_start": 15,
            "byte_end": 31,
            "line_start": 2,
            "column_start": 7,
            "line_end": 2,
            "column_end": 15
          },
          "labels": [
            {
              "span": {
                "file": "a.yml",
                "byte_start": 15,
                "byte_end": 31,
                "line_start": 2,
                "column_start": 7,
                "line_end": 2,
                "column_end": 15
              },
              "text": "here",
              "primary": true
            }
          ],
          "related": [
            {
              "message": "r",
              "span": {
                "file": "a.yml",
                "byte_start": 0,
                "byte_end": 1,
                "line_start": 1,
                "column_start": 1,
                "line_end": 1,
                "column_end": 2
              },
              "label": "l"
            }
          ],
          "notes": [
            "n"
          ],
          "helps": [
            "h"
          ],
          "fixes": [
            {
              "message": "f",
              "span": {
                "file": "a.yml",
                "byte_start": 15,
                "byte_end": 31,
                "line_start": 2,
                "column_start": 7,
                "line_end": 2,
                "column_end": 15
              },
              "replacement": "x"
            }
          ]
        }
        "#);
    }
}
