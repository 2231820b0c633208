//! The controller's disk and environment behind [`Files`]: the only place where the pure parts' reading is done.

use crate::language::Files;
use camino::{Utf8Component, Utf8Path, Utf8PathBuf};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::process::{Command, Stdio};

/// The real thing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Disk;

impl Disk {
    /// The user's home for a path that begins with `~/`.
    fn expand(path: &str) -> std::borrow::Cow<'_, str> {
        match (path.strip_prefix("~/"), std::env::var("HOME")) {
            (Some(rest), Ok(home)) => format!("{home}/{rest}").into(),
            _ => path.into(),
        }
    }
}

impl Files for Disk {
    fn read(&self, path: &str) -> io::Result<Vec<u8>> {
        // Plain `std::fs`: whoever reports the error names the path himself.
        std::fs::read(Disk::expand(path).as_ref())
    }

    fn exists(&self, path: &str) -> bool {
        Utf8Path::new(Disk::expand(path).as_ref()).exists()
    }

    fn is_dir(&self, path: &str) -> bool {
        Utf8Path::new(Disk::expand(path).as_ref()).is_dir()
    }

    fn mode(&self, path: &str) -> io::Result<u32> {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = std::fs::metadata(Disk::expand(path).as_ref())?.permissions().mode();
        Ok(mode & 0o7777)
    }

    fn list(&self, path: &str) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(Disk::expand(path).as_ref())? {
            let name = entry?.file_name();
            match name.into_string() {
                Ok(name) => names.push(name),
                Err(name) => {
                    let text = format!("the name {name:?} is not UTF-8");
                    return Err(io::Error::new(io::ErrorKind::InvalidData, text));
                }
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    fn absolute(&self, path: &str) -> String {
        let path = Disk::expand(path);
        let path = Utf8Path::new(path.as_ref());
        if let Ok(found) = path.canonicalize_utf8() {
            return found.into_string();
        }
        let here = std::env::current_dir()
            .ok()
            .and_then(|d| Utf8PathBuf::from_path_buf(d).ok());
        let joined = here.unwrap_or_else(|| "/".into()).join(path);
        let mut clean = Utf8PathBuf::new();
        for part in joined.components() {
            match part {
                Utf8Component::CurDir => {}
                Utf8Component::ParentDir => {
                    clean.pop();
                }
                other => clean.push(other),
            }
        }
        clean.into_string()
    }

    fn env(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }

    fn pipe(&self, command: &str) -> io::Result<Vec<u8>> {
        let output = Command::new("/bin/sh")
            .arg("-c")
            .arg(command)
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .output()?;
        if output.status.success() {
            return Ok(output.stdout);
        }
        let said = String::from_utf8_lossy(&output.stderr);
        let said = said.trim_end();
        let colon = if said.is_empty() { "" } else { ": " };
        Err(io::Error::other(format!("{}{colon}{said}", output.status)))
    }

    fn create(&self, path: &str, content: &[u8]) -> io::Result<()> {
        let path = Disk::expand(path);
        if let Some(parent) = Utf8Path::new(path.as_ref()).parent() {
            std::fs::create_dir_all(parent)?;
        }
        let mut options = std::fs::OpenOptions::new();
        let mut file = options.write(true).create_new(true).mode(0o600).open(path.as_ref())?;
        file.write_all(content)?;
        file.sync_all()
    }
}

/// The disk, and one file that is not on it: a playbook made of the command line.
pub struct WithText {
    pub path: String,
    pub text: String,
}

impl Files for WithText {
    fn read(&self, path: &str) -> io::Result<Vec<u8>> {
        if path == self.path {
            Ok(self.text.clone().into_bytes())
        } else {
            Disk.read(path)
        }
    }
    fn exists(&self, path: &str) -> bool {
        path == self.path || Disk.exists(path)
    }
    fn is_dir(&self, path: &str) -> bool {
        path != self.path && Disk.is_dir(path)
    }
    fn mode(&self, path: &str) -> io::Result<u32> {
        Disk.mode(path)
    }
    fn list(&self, path: &str) -> io::Result<Vec<String>> {
        Disk.list(path)
    }
    fn absolute(&self, path: &str) -> String {
        Disk.absolute(path)
    }
    fn env(&self, name: &str) -> Option<String> {
        Disk.env(name)
    }
    fn pipe(&self, command: &str) -> io::Result<Vec<u8>> {
        Disk.pipe(command)
    }
    fn create(&self, path: &str, content: &[u8]) -> io::Result<()> {
        Disk.create(path, content)
    }
}

/// The disk for what must change nothing: no command is run, no file made.
pub struct ReadOnly;

impl ReadOnly {
    fn refused<T>() -> io::Result<T> {
        Err(io::Error::other("nothing is run or written here"))
    }
}

impl Files for ReadOnly {
    fn read(&self, path: &str) -> io::Result<Vec<u8>> {
        Disk.read(path)
    }
    fn exists(&self, path: &str) -> bool {
        Disk.exists(path)
    }
    fn is_dir(&self, path: &str) -> bool {
        Disk.is_dir(path)
    }
    fn mode(&self, path: &str) -> io::Result<u32> {
        Disk.mode(path)
    }
    fn list(&self, path: &str) -> io::Result<Vec<String>> {
        Disk.list(path)
    }
    fn absolute(&self, path: &str) -> String {
        Disk.absolute(path)
    }
    fn env(&self, name: &str) -> Option<String> {
        Disk.env(name)
    }
    fn pipe(&self, _command: &str) -> io::Result<Vec<u8>> {
        ReadOnly::refused()
    }
    fn create(&self, _path: &str, _content: &[u8]) -> io::Result<()> {
        ReadOnly::refused()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn creates_once_with_parents_for_its_owner_only() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b/secret");
        let path = path.to_str().unwrap();
        Disk.create(path, b"x").unwrap();
        assert_eq!(std::fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(
            Disk.create(path, b"y").unwrap_err().kind(),
            io::ErrorKind::AlreadyExists
        );
        assert_eq!(Disk.read(path).unwrap(), b"x");
    }

    #[test]
    fn absolute_cleans_what_is_not_there() {
        assert_eq!(Disk.absolute("/no/./such/../thing"), "/no/thing");
    }

    #[test]
    fn pipe_tells_what_the_command_said() {
        assert_eq!(Disk.pipe("printf hi").unwrap(), b"hi");
        let error = Disk.pipe("echo no >&2; exit 3").unwrap_err().to_string();
        assert_eq!(error, "exit status: 3: no");
    }
}
