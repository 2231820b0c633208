//! What has to be remembered between commands, and the lock that keeps two of them apart.

use super::machine::io;
use super::{Progress, Release, Say, error, kernel::Snapshot};
use crate::diagnostic::Diagnostic;
use camino::Utf8Path;
use serde::{Deserialize, Serialize};

const FILE: &str = "state.json";

/// Written before the first thing is made, removed after the last one is gone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct State {
    /// The kernel's id of the boot the lab belongs to: after a reboot nothing of it is left but files.
    boot_id: String,
    pub release: Release,
    pub bare: bool,
    pub kernel: Snapshot,
}

impl State {
    pub(super) fn new(release: Release, bare: bool) -> Result<State, Diagnostic> {
        Ok(State {
            boot_id: boot_id()?,
            release,
            bare,
            kernel: Snapshot::take(),
        })
    }

    pub(super) fn is_of_this_boot(&self) -> bool {
        boot_id().is_ok_and(|id| id == self.boot_id)
    }

    pub(super) fn load(dir: &Utf8Path) -> Result<Option<State>, Diagnostic> {
        let path = dir.join(FILE);
        let text = match fs_err::read_to_string(&path) {
            Ok(text) => text,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(io(e)),
        };
        serde_json::from_str(&text).map(Some).map_err(|cause| {
            error(format!("`{path}` is not what this version of rmqplay writes"))
                .note(cause.to_string())
                .help(format!("delete the file, then run `rmqplay lab down`: {path}"))
        })
    }

    pub(super) fn save(&self, dir: &Utf8Path) -> Result<(), Diagnostic> {
        let text = serde_json::to_string_pretty(self).map_err(|e| error(e.to_string()))?;
        replace_file(&dir.join(FILE), &text)
    }

    pub(super) fn remove(dir: &Utf8Path) -> Result<(), Diagnostic> {
        match fs_err::remove_file(dir.join(FILE)) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(io(e)),
            _ => Ok(()),
        }
    }
}

/// Writes a file so that a reader (or a crash) sees the old or the new one.
pub(super) fn replace_file(path: &Utf8Path, text: &str) -> Result<(), Diagnostic> {
    let new = path.with_extension("new");
    fs_err::write(&new, text).map_err(io)?;
    fs_err::rename(&new, path).map_err(io)
}

/// Held while the lab is changed; waits for another command that holds it.
pub(super) fn lock(dir: &Utf8Path, say: Say<'_>) -> Result<std::fs::File, Diagnostic> {
    fs_err::create_dir_all(dir).map_err(io)?;
    let file = std::fs::File::create(dir.join("lock")).map_err(io)?;
    if file.try_lock().is_err() {
        say(Progress::Doing("waiting for another `rmqplay lab` to finish"));
        file.lock().map_err(io)?;
    }
    Ok(file)
}

fn boot_id() -> Result<String, Diagnostic> {
    fs_err::read_to_string("/proc/sys/kernel/random/boot_id")
        .map(|id| id.trim().to_owned())
        .map_err(io)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn state_survives_a_round_trip_and_knows_its_boot() {
        let dir = tempfile::tempdir().unwrap();
        let dir = Utf8Path::from_path(dir.path()).unwrap();
        assert_eq!(State::load(dir).unwrap(), None);
        let mut state = State {
            boot_id: boot_id().unwrap(),
            release: Release::Bookworm,
            bare: true,
            kernel: Snapshot::default(),
        };
        state.save(dir).unwrap();
        assert_eq!(State::load(dir).unwrap(), Some(state.clone()));
        assert!(state.is_of_this_boot());
        state.boot_id = "another".to_owned();
        assert!(!state.is_of_this_boot());
        State::remove(dir).unwrap();
        State::remove(dir).unwrap();
        assert_eq!(State::load(dir).unwrap(), None);
    }

    #[test]
    fn a_state_of_another_kind_is_refused_with_the_way_out() {
        let dir = tempfile::tempdir().unwrap();
        let dir = Utf8Path::from_path(dir.path()).unwrap();
        fs_err::write(dir.join(FILE), "{}").unwrap();
        assert!(State::load(dir).unwrap_err().helps[0].contains("rmqplay lab down"));
    }
}
