//! Diagnostics on their way to the user.

use super::{Kept, Sink};
use crate::diagnostic::{Diagnostic, RenderOptions, SourceMap, render_all, render_human, render_json, tidy};

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

    /// Writes them sorted by place, each once, with a count where there are several.
    pub fn write(&mut self, sources: &SourceMap, diagnostics: &[Diagnostic]) {
        let mut diagnostics = diagnostics.to_vec();
        tidy(sources, &mut diagnostics);
        match (self.format, diagnostics.as_slice()) {
            (MessageFormat::Human, [one]) => self.out.write(&render_human(sources, one, self.options)),
            (MessageFormat::Human, _) => self.out.write(&render_all(sources, &mut diagnostics, self.options)),
            (MessageFormat::Json, all) => {
                for diagnostic in all {
                    self.out.write(&format!("{}\n", render_json(sources, diagnostic)));
                }
            }
        }
    }
}
