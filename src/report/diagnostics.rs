//! Diagnostics on their way to the user: all of them, sorted by place, each once, counted at the end.

use super::style::count;
use super::{Kept, Sink};
use crate::diagnostic::{Diagnostic, RenderOptions, SourceMap, render_human, render_json};
use std::io;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum MessageFormat {
    /// Text with the source it is about.
    #[default]
    Human,
    /// One JSON object a line.
    Json,
}

/// Writes diagnostics.
pub struct Diagnostics {
    out: Kept,
    format: MessageFormat,
    options: RenderOptions,
}

impl Diagnostics {
    pub fn new(sink: Sink, format: MessageFormat, options: RenderOptions) -> Self {
        Diagnostics {
            out: Kept::new(sink),
            format,
            options,
        }
    }

    /// Returns the number of errors among them.
    pub fn write(&mut self, sources: &SourceMap, diagnostics: &[Diagnostic]) -> usize {
        let mut sorted: Vec<&Diagnostic> = Vec::new();
        for diagnostic in diagnostics {
            if !sorted.contains(&diagnostic) {
                sorted.push(diagnostic);
            }
        }
        sorted.sort_by_key(|d| d.position().map(|s| (s.file, s.start)));
        for diagnostic in &sorted {
            match self.format {
                MessageFormat::Human => {
                    let text = render_human(sources, diagnostic, self.options);
                    self.out.write(&format!("{}\n\n", text.trim_end()));
                }
                MessageFormat::Json => {
                    self.out.write(&format!("{}\n", render_json(sources, diagnostic)));
                }
            }
        }
        let errors = sorted.iter().filter(|d| d.is_error()).count();
        let warnings = sorted.len() - errors;
        if self.format == MessageFormat::Human && sorted.len() > 1 {
            let mut parts = Vec::new();
            if errors > 0 {
                parts.push(count(errors, "error"));
            }
            if warnings > 0 {
                parts.push(count(warnings, "warning"));
            }
            self.out.write(&format!("{}\n", parts.join(", ")));
        }
        errors
    }

    /// A plain line, as the report's other messages: `error: ...`.
    pub fn line(&mut self, text: &str) {
        self.out.write(&format!("{text}\n"));
    }

    pub fn finish(&mut self) -> io::Result<()> {
        self.out.result()
    }
}
