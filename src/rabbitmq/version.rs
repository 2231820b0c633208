//! Versions of the broker, and how the installed one is seen without starting a VM.

use crate::host::Probe;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// `4.0.5`; a part that is not given is 0. Ordered as releases are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Version {
    pub major: u16,
    pub minor: u16,
    pub patch: u16,
}

/// Where Debian's and Team RabbitMQ's packages put a server (`/usr/lib/rabbitmq/lib/rabbitmq_server-4.0.5`).
const SERVERS: &str = "/usr/lib/rabbitmq/lib/rabbitmq_server-*";

impl Version {
    pub const fn new(major: u16, minor: u16, patch: u16) -> Version {
        Version { major, minor, patch }
    }

    /// The series, `4.0`: configuration and upgrade paths are told by it.
    pub fn series(self) -> (u16, u16) {
        (self.major, self.minor)
    }

    /// The look that finds what is installed; [`Version::installed`] reads its answer.
    pub fn probe() -> Probe {
        Probe::glob(SERVERS)
    }

    /// The highest version among the paths [`Version::probe`] found; `None` where no broker is installed.
    pub fn installed(paths: &[String]) -> Option<Version> {
        paths
            .iter()
            .filter_map(|path| path.rsplit_once("rabbitmq_server-")?.1.parse().ok())
            .max()
    }
}

/// A version that cannot be read as one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotAVersion(pub String);

impl fmt::Display for NotAVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is no version of RabbitMQ, such as `4.0` or `3.10.8`", self.0)
    }
}

impl std::error::Error for NotAVersion {}

impl FromStr for Version {
    type Err = NotAVersion;

    /// `4.1`, `4.0.5`, `3.10.8-1.1+deb12u1` (a package's), `4.3.0-rc.1`.
    fn from_str(text: &str) -> Result<Version, NotAVersion> {
        let error = || NotAVersion(text.to_owned());
        let end = text
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(text.len());
        let mut parts = text[..end].split('.').map(str::parse::<u16>);
        let mut part = || parts.next().transpose().map_err(|_| error());
        let (Some(major), Some(minor)) = (part()?, part()?) else {
            return Err(error());
        };
        let patch = part()?.unwrap_or(0);
        if part()?.is_some() {
            return Err(error());
        }
        Ok(Version { major, minor, patch })
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_and_ordered() {
        let read = |text: &str| text.parse::<Version>().map(|v| v.to_string()).ok();
        assert_eq!(read("3.10.8-1.1+deb12u1").as_deref(), Some("3.10.8"));
        assert_eq!(read("4.1").as_deref(), Some("4.1.0"));
        assert_eq!(read("4.3.0-rc.1").as_deref(), Some("4.3.0"));
        for bad in ["", "4", "four", "4.", "4.0.5.6", "4..0"] {
            assert_eq!(read(bad), None, "{bad}");
        }
        assert!(Version::new(3, 10, 8) > Version::new(3, 9, 30));
    }

    #[test]
    fn the_newest_installed_server_counts() {
        let paths = ["rabbitmq_server-3.9.1", "rabbitmq_server-3.10.8"].map(|n| format!("/usr/lib/rabbitmq/lib/{n}"));
        assert_eq!(Version::installed(&paths), Some(Version::new(3, 10, 8)));
        assert_eq!(Version::installed(&[]), None);
    }
}
