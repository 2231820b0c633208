//! A [`Diagnostic`] is a value: a code, a message, spans with labels, notes and helps. It is made where the
//! mistake is found and rendered elsewhere (`render`), as text in the manner of rustc or as JSON.
//!
//! Rules for messages (ARCHITECTURE.md, "Errors"): lowercase, no full stop, backticks around literals; the
//! message says what is wrong, `note` explains, only `help` proposes.

mod code;
mod render;

pub use code::Code;
pub use render::{RenderOptions, render_all, render_human, render_json, tidy};

use std::sync::{Arc, RwLock};

/// Identifies a text in a [`SourceMap`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FileId(pub u32);

/// A half-open range of **bytes** of one source text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Span {
    pub file: FileId,
    pub start: u32,
    pub end: u32,
}

impl Span {
    pub fn new(file: FileId, start: usize, end: usize) -> Self {
        let clamp = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        Span {
            file,
            start: clamp(start),
            end: clamp(end.max(start)),
        }
    }

    /// The smallest span that covers both (which must be of one file; otherwise `self`).
    pub fn to(self, other: Span) -> Span {
        if self.file != other.file {
            return self;
        }
        Span {
            file: self.file,
            start: self.start.min(other.start),
            end: self.end.max(other.end),
        }
    }
}

/// One source text: what the user calls it, and what stands in it.
#[derive(Debug)]
pub struct SourceFile {
    /// The path as the user gave it (relative where he gave it relative), or `<command line>` and the like.
    pub name: String,
    pub text: String,
    /// Where its lines begin.
    lines: Vec<usize>,
}

/// All texts of a run. Cheap to clone; files are only ever added.
#[derive(Clone, Debug, Default)]
pub struct SourceMap {
    files: Arc<RwLock<Vec<Arc<SourceFile>>>>,
}

impl SourceMap {
    pub fn add(&self, name: impl Into<String>, text: impl Into<String>) -> FileId {
        let mut files = self.files.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        let text = text.into();
        let breaks = text.match_indices('\n').map(|(at, _)| at + 1);
        files.push(Arc::new(SourceFile {
            name: name.into(),
            lines: std::iter::once(0).chain(breaks).collect(),
            text,
        }));
        FileId(u32::try_from(files.len() - 1).unwrap_or(u32::MAX))
    }

    pub fn get(&self, id: FileId) -> Option<Arc<SourceFile>> {
        let files = self.files.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        files.get(id.0 as usize).cloned()
    }

    /// `name:line:column`, both from 1, the column in characters.
    pub fn locate(&self, span: Span) -> Option<Location> {
        let file = self.get(span.file)?;
        let start = (span.start as usize).min(file.text.len());
        let line = file.lines.partition_point(|begin| *begin <= start);
        let line_start = file.lines.get(line.saturating_sub(1)).copied().unwrap_or(0);
        let column = file.text.get(line_start..start).map_or(0, |s| s.chars().count()) + 1;
        Some(Location {
            file: file.name.clone(),
            line,
            column,
        })
    }
}

/// A place a person can go to.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Location {
    pub file: String,
    pub line: usize,
    pub column: usize,
}

impl std::fmt::Display for Location {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    Error,
    Warning,
}

/// A marked place with a few words. The first primary label's place is the place of the diagnostic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    pub span: Span,
    pub text: String,
    pub primary: bool,
}

/// A further place with an explanation of its own, shown as a `note:` with its own snippet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Related {
    pub message: String,
    pub span: Span,
    pub label: String,
}

/// A replacement that would mend the mistake, shown as a patch under `help:`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fix {
    pub message: String,
    pub span: Span,
    pub replacement: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    pub severity: Severity,
    pub code: Code,
    pub message: String,
    pub labels: Vec<Label>,
    pub related: Vec<Related>,
    pub notes: Vec<String>,
    pub helps: Vec<String>,
    pub fixes: Vec<Fix>,
}

impl Diagnostic {
    pub fn error(code: Code, message: impl Into<String>) -> Self {
        Diagnostic {
            severity: Severity::Error,
            code,
            message: message.into(),
            labels: Vec::new(),
            related: Vec::new(),
            notes: Vec::new(),
            helps: Vec::new(),
            fixes: Vec::new(),
        }
    }

    pub fn warning(code: Code, message: impl Into<String>) -> Self {
        Diagnostic {
            severity: Severity::Warning,
            ..Diagnostic::error(code, message)
        }
    }

    /// Adds the place of the mistake; `text` may be empty.
    #[must_use]
    pub fn at(mut self, span: Span, text: impl Into<String>) -> Self {
        self.labels.push(Label {
            span,
            text: text.into(),
            primary: true,
        });
        self
    }

    /// Adds a second place in the same snippet ("in this task", "first here").
    #[must_use]
    pub fn context(mut self, span: Span, text: impl Into<String>) -> Self {
        self.labels.push(Label {
            span,
            text: text.into(),
            primary: false,
        });
        self
    }

    #[must_use]
    pub fn related(mut self, message: impl Into<String>, span: Span, label: impl Into<String>) -> Self {
        self.related.push(Related {
            message: message.into(),
            span,
            label: label.into(),
        });
        self
    }

    #[must_use]
    pub fn note(mut self, text: impl Into<String>) -> Self {
        self.notes.push(text.into());
        self
    }

    #[must_use]
    pub fn help(mut self, text: impl Into<String>) -> Self {
        self.helps.push(text.into());
        self
    }

    #[must_use]
    pub fn fix(mut self, message: impl Into<String>, span: Span, replacement: impl Into<String>) -> Self {
        self.fixes.push(Fix {
            message: message.into(),
            span,
            replacement: replacement.into(),
        });
        self
    }

    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }

    /// Where a list of diagnostics is sorted by: file, then place.
    pub fn position(&self) -> Option<Span> {
        self.labels
            .iter()
            .find(|l| l.primary)
            .or(self.labels.first())
            .map(|l| l.span)
    }
}

/// The candidate most like `name`, if one is near enough to be meant (for "did you mean").
pub fn similar_name<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let limit = (name.chars().count() / 3).max(1);
    candidates
        .into_iter()
        // The distance is at least the difference in length, which costs nothing to know.
        .filter(|c| c.chars().count().abs_diff(name.chars().count()) <= limit)
        .map(|c| (strsim::damerau_levenshtein(name, c), c))
        .filter(|(distance, _)| *distance <= limit)
        // Of equally near ones the one that shares more letters: `taks` is `tasks`, not `tags`.
        .min_by(|(a, x), (b, y)| {
            a.cmp(b)
                .then_with(|| strsim::jaro(name, y).total_cmp(&strsim::jaro(name, x)))
        })
        .map(|(_, c)| c)
}
