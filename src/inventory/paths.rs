//! Paths as text: `/` separates, and what the user wrote stays as he wrote it.

use crate::diagnostic::{Code, Diagnostic};
use crate::language::Files;

pub(super) fn join(dir: &str, name: &str) -> String {
    match dir {
        "" => name.to_owned(),
        _ if name.starts_with('/') => name.to_owned(),
        _ if dir.ends_with('/') => format!("{dir}{name}"),
        _ => format!("{dir}/{name}"),
    }
}

/// The directory a file is in; empty for the current one.
pub(super) fn parent(path: &str) -> &str {
    match path.rsplit_once('/') {
        Some(("", _)) => "/",
        Some((dir, _)) => dir,
        None => "",
    }
}

/// The absolute path without `.` and `..`, symlinks kept, as Ansible writes `inventory_file`.
pub(super) fn absolute(files: &dyn Files, path: &str) -> String {
    let full = if path.starts_with('/') {
        path.to_owned()
    } else {
        join(&files.absolute("."), path)
    };
    let mut parts: Vec<&str> = Vec::new();
    for part in full.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            _ => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

/// A text file, without a byte order mark.
///
/// # Errors
/// A diagnostic that names the file.
pub(super) fn read_text(files: &dyn Files, path: &str) -> Result<String, Box<Diagnostic>> {
    let unreadable = |why: String| Box::new(Diagnostic::error(Code::FILE, format!("cannot read `{path}`")).note(why));
    let bytes = files.read(path).map_err(|e| unreadable(e.to_string()))?;
    let text = String::from_utf8(bytes).map_err(|e| unreadable(format!("it is not UTF-8: {}", e.utf8_error())))?;
    Ok(match text.strip_prefix('\u{feff}') {
        Some(rest) => rest.to_owned(),
        None => text,
    })
}
