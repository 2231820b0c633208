//! PURE. What `systemctl show` would say of a unit after drop-ins that a dry run has not written.

use super::File;
use crate::host::{Content, ExecResult};
use crate::modules::unit::reloaded;
use std::collections::BTreeMap;

/// Drop-ins as systemd would have read them at the last `daemon-reload`: path, text (`None`: removed).
#[derive(Clone, Debug, Default)]
pub struct Units(BTreeMap<String, Option<String>>);

impl Units {
    /// systemd reads its files as they would be by now.
    pub fn reload(&mut self, files: &BTreeMap<String, Option<File>>) {
        let is_drop_in = |path: &str| path.starts_with("/etc/systemd/system/") && path.ends_with(".conf");
        for (path, file) in files.iter().filter(|(path, _)| is_drop_in(path)) {
            let text = file.as_ref().map(|f| f.text().unwrap_or_default());
            self.0.insert(path.clone(), text);
        }
    }

    /// The answer of a command, with what the drop-ins change in it if it is `systemctl show ... UNIT`.
    pub fn view(&self, argv: &[String], seen: ExecResult) -> ExecResult {
        match argv {
            [program, verb, .., unit] if program == "systemctl" && verb == "show" && !self.0.is_empty() => ExecResult {
                stdout: Content::from(reloaded(&seen.stdout.text(), unit, &self.0)),
                ..seen
            },
            _ => seen,
        }
    }
}
