//! The image all nodes share: a small Debian made by `mmdebstrap` from Debian's own packages, cached by release.

use super::machine::{io, remove_tree, run, run_long, run_with};
use super::{PASSWORD, Progress, Say};
use crate::diagnostic::Diagnostic;
use camino::{Utf8Path, Utf8PathBuf};
use serde::{Deserialize, Serialize};

pub(super) const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// Counts changes of the recipe below: an image of another recipe is not used.
const RECIPE: u32 = 1;

/// What a target of rmqplay has, and what makes it a machine. No Python: none is needed (`rabbitmq-server` itself
/// depends on it, so only bare nodes are without).
const PACKAGES: &str = "systemd,systemd-sysv,dbus,openssh-server,iproute2,procps,udev,util-linux,sudo,ca-certificates";

/// A Debian release, and with it a generation of RabbitMQ.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Release {
    /// Debian 12, RabbitMQ 3.10
    Bookworm,
    /// Debian 13, RabbitMQ 4.0
    #[default]
    Trixie,
}

impl std::fmt::Display for Release {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Release::Bookworm => "bookworm",
            Release::Trixie => "trixie",
        })
    }
}

/// The image's directory, built if it is not there.
pub(super) fn ensure(lab: &Utf8Path, release: Release, bare: bool, say: Say<'_>) -> Result<Utf8PathBuf, Diagnostic> {
    let images = lab.join("images");
    let kind = format!("{release}{}", if bare { "-bare" } else { "" });
    let name = format!("{kind}.{RECIPE}");
    let image = images.join(&name);
    if image.exists() {
        return Ok(image);
    }
    fs_err::create_dir_all(&images).map_err(io)?;
    say(Progress::Done(&format!(
        "building the image `{kind}` from Debian's packages (once; it stays for the next `lab up`)"
    )));
    // Left by a build that was interrupted, or by an older recipe.
    for entry in images.read_dir_utf8().map_err(io)?.flatten() {
        if entry.file_name().starts_with(&format!(".{kind}.")) || entry.file_name().starts_with(&format!("{kind}.")) {
            remove_tree(entry.path())?;
        }
    }
    let start = std::time::Instant::now();
    let new = images.join(format!(".{name}"));
    build(&new, &images.join(format!("{name}.log")), release, bare, say)?;
    customize(&new)?;
    fs_err::rename(&new, &image).map_err(io)?;
    say(Progress::Done(&format!(
        "image `{kind}` built in {} s",
        start.elapsed().as_secs()
    )));
    Ok(image)
}

fn build(image: &Utf8Path, log: &Utf8Path, release: Release, bare: bool, say: Say<'_>) -> Result<(), Diagnostic> {
    // Without package lists or apt-get (not Debian, but everything is installed) the defaults do.
    let targets = run("apt-get", &["indextargets", "--format", "$(REPO_URI)"]).unwrap_or_default();
    let mirrors = Mirrors::from_index_targets(&targets);
    let packages = format!("{PACKAGES}{}", if bare { "" } else { ",rabbitmq-server" });
    let include = format!("--include={packages}");
    let release_name = release.to_string();
    let mut arguments = vec![
        "--variant=minbase",
        "--format=directory",
        &include,
        &release_name,
        image.as_str(),
    ];
    let sources = mirrors.map(|m| m.sources(release));
    arguments.extend(sources.iter().flatten().map(String::as_str));
    run_long("mmdebstrap", &arguments, log, &|line| {
        let step = line.strip_prefix("I: ").unwrap_or(line);
        say(Progress::Doing(&format!("mmdebstrap: {step}")));
    })
    .map_err(|e| e.help("the mirror is read from this machine's apt sources; check that `apt-get update` works here"))
}

/// What makes a Debian a node of the lab.
fn customize(image: &Utf8Path) -> Result<(), Diagnostic> {
    let inside = |arguments: &[&str], input: &str| {
        let mut all = vec![image.as_str()];
        all.extend(arguments);
        run_with("chroot", &all, input)
    };
    // Two users to become root from: with sudo's password, and without.
    for user in ["deploy", "ops"] {
        inside(&["useradd", "--create-home", "--shell", "/bin/bash", user], "")?;
    }
    inside(
        &["chpasswd"],
        &format!("root:{PASSWORD}\ndeploy:{PASSWORD}\nops:{PASSWORD}\n"),
    )?;
    let sudoers = image.join("etc/sudoers.d/rmqplay-lab");
    fs_err::write(&sudoers, "deploy ALL=(ALL:ALL) ALL\nops ALL=(ALL:ALL) NOPASSWD: ALL\n").map_err(io)?;
    run("chmod", &["0440", sudoers.as_str()])?;
    // The passwords are for sudo and su only.
    fs_err::write(
        image.join("etc/ssh/sshd_config.d/rmqplay-lab.conf"),
        "PasswordAuthentication no\nKbdInteractiveAuthentication no\nUseDNS no\n",
    )
    .map_err(io)?;
    // Coldplug would ask the kernel to announce this machine's devices anew; apt's timers would hold dpkg's lock.
    inside(
        &[
            "systemctl",
            "mask",
            "systemd-udev-trigger.service",
            "apt-daily.timer",
            "apt-daily-upgrade.timer",
        ],
        "",
    )?;
    // Each node has its own.
    for entry in image.join("etc/ssh").read_dir_utf8().map_err(io)?.flatten() {
        if entry.file_name().starts_with("ssh_host_") {
            fs_err::remove_file(entry.path()).map_err(io)?;
        }
    }
    remove_tree(&image.join("etc/machine-id"))
}

/// Where this machine gets Debian's packages from.
#[derive(Debug, PartialEq, Eq)]
struct Mirrors {
    main: String,
    security: String,
}

impl Mirrors {
    /// From the lines `apt-get indextargets --format '$(REPO_URI)'` prints. `None` where this machine has another
    /// distribution's sources: mmdebstrap then takes Debian's own.
    fn from_index_targets(uris: &str) -> Option<Mirrors> {
        let find = |archive: &str| {
            uris.lines()
                .map(|uri| uri.trim().trim_end_matches('/'))
                .find(|uri| uri.starts_with("http") && uri.ends_with(&format!("/{archive}")))
                .map(str::to_owned)
        };
        Some(Mirrors {
            main: find("debian")?,
            security: find("debian-security")?,
        })
    }

    fn sources(&self, release: Release) -> [String; 3] {
        let line = |uri: &str, suite: &str| format!("deb [signed-by={KEYRING}] {uri} {release}{suite} main");
        [
            line(&self.main, ""),
            line(&self.main, "-updates"),
            line(&self.security, "-security"),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mirrors_are_this_machines_own() {
        let debian =
            "http://mirror.example/debian/\nhttp://mirror.example/debian/\nhttps://sec.example/debian-security/\n";
        assert_eq!(
            Mirrors::from_index_targets(debian).unwrap().sources(Release::Bookworm),
            [
                format!("deb [signed-by={KEYRING}] http://mirror.example/debian bookworm main"),
                format!("deb [signed-by={KEYRING}] http://mirror.example/debian bookworm-updates main"),
                format!("deb [signed-by={KEYRING}] https://sec.example/debian-security bookworm-security main"),
            ]
        );
    }

    #[test]
    fn other_distributions_leave_it_to_mmdebstrap() {
        assert_eq!(
            Mirrors::from_index_targets("http://ubuntu.example/ubuntu/\ncdrom:[Debian]/debian/\n"),
            None
        );
    }
}
