//! Diagnostics as text and as JSON.

use super::{Diagnostic, SourceMap};

#[derive(Clone, Copy, Debug)]
pub struct RenderOptions {
    pub color: bool,
    /// Terminal width in columns.
    pub width: usize,
}

pub fn render_human(sources: &SourceMap, diagnostic: &Diagnostic, options: RenderOptions) -> String {
    let _ = options;
    let place = diagnostic
        .position()
        .and_then(|s| sources.locate(s))
        .map(|l| format!("{l}: "))
        .unwrap_or_default();
    format!(
        "{place}{:?}[{}]: {}\n",
        diagnostic.severity, diagnostic.code, diagnostic.message
    )
}

pub fn render_json(sources: &SourceMap, diagnostic: &Diagnostic) -> serde_json::Value {
    let _ = sources;
    serde_json::json!({"code": diagnostic.code.0, "message": diagnostic.message})
}
