//! PURE. Where on the controller a task's relative paths are looked for.

#![deny(clippy::disallowed_methods)]

use crate::language::{Files, Task};
use crate::modules::ArgError;

/// The directories a task's relative paths start from, first to last: its role, that role's tasks, the directory
/// of its file, the playbook's.
pub fn directories(task: &Task, playbook: &str) -> Vec<String> {
    let directory = |path: &str| match path.rsplit_once('/') {
        Some(("", _)) => "/".to_owned(),
        Some((directory, _)) => directory.to_owned(),
        None => ".".to_owned(),
    };
    let mut bases = Vec::new();
    if let Some(role) = &task.role {
        bases.extend([role.path.clone(), format!("{}/tasks", role.path)]);
    }
    bases.extend([directory(&task.file), directory(playbook)]);
    bases.dedup();
    bases
}

/// Where a relative path of a task is looked for, first to last; `kind` is `files` or `templates`.
fn paths(task: &Task, playbook: &str, kind: &str, src: &str) -> Vec<String> {
    if src.starts_with('/') {
        return vec![src.to_owned()];
    }
    let bases = directories(task, playbook);
    bases
        .iter()
        .flat_map(|base| [format!("{base}/{kind}/{src}"), format!("{base}/{src}")])
        .collect()
}

/// Ansible's search: role's directory of the kind (`files`, `templates`), role, directory of the task file, playbook's
/// likewise.
pub fn find(files: &dyn Files, task: &Task, playbook: &str, kind: &str, src: &str) -> Result<String, ArgError> {
    let candidates = paths(task, playbook, kind, src);
    let found = candidates.iter().find(|path| files.exists(path)).cloned();
    found.ok_or_else(|| {
        let candidates: Vec<String> = candidates.iter().map(|c| format!("`{c}`")).collect();
        ArgError::new("src", format!("`{src}` does not exist on this machine"))
            .help(format!("looked for {}", candidates.join(", ")))
    })
}

/// A file of the controller.
pub fn read(files: &dyn Files, path: &str) -> Result<Vec<u8>, ArgError> {
    files
        .read(path)
        .map_err(|e| ArgError::new("src", format!("`{path}` cannot be read: {e}")))
}
