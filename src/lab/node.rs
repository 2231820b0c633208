//! One node: its files (an overlay over the image), its data disk, its boot and its end.

use super::access::KEY;
use super::machine::{command, io, is_mounted, remove_tree, run, run_inside, succeeds, tail, unmount_below};
use super::{Lab, NodeStatus, error, network};
use crate::diagnostic::Diagnostic;
use camino::{Utf8Path, Utf8PathBuf};
use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// Of `root`, `deploy` (who needs it for sudo) and `ops` (who does not) in every node; not accepted by `sshd`.
pub const PASSWORD: &str = "rmqplay-lab";

/// The data disk: sparse, so it takes only what is written. Large enough that RabbitMQ's free disk limit, which
/// follows the machine's memory, leaves a node room.
const DISK_SIZE: &str = "64G";
const DATA: &str = "var/lib/rabbitmq";
/// Below each control group hierarchy, where no systemd runs on this machine.
const CGROUP: &str = "rmqplay-lab";
/// How long processes may take to go after SIGKILL.
const KILL_LIMIT: Duration = Duration::from_secs(20);

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// From 1.
    pub number: u8,
    /// `mq-1`
    pub name: String,
    pub address: Ipv4Addr,
}

impl Node {
    pub(super) fn new(number: u8) -> Node {
        Node {
            number,
            name: format!("mq-{number}"),
            address: Ipv4Addr::new(10, 231, 0, 20u8.saturating_add(number)),
        }
    }

    fn dir(&self, lab: &Utf8Path) -> Utf8PathBuf {
        lab.join("nodes").join(&self.name)
    }

    /// The node's file system, as this machine sees it.
    pub(super) fn root(&self, lab: &Utf8Path) -> Utf8PathBuf {
        self.dir(lab).join("root")
    }

    fn console(&self, lab: &Utf8Path) -> Utf8PathBuf {
        self.dir(lab).join("console.log")
    }

    /// Everything a boot needs but the network. What a node that is switched off had on its disks stays.
    pub(super) fn prepare(&self, lab: &Utf8Path, image: &Utf8Path, all: &[Node]) -> Result<(), Diagnostic> {
        let (dir, root) = (self.dir(lab), self.root(lab));
        for part in ["upper", "work", "root"] {
            fs_err::create_dir_all(dir.join(part)).map_err(io)?;
        }
        if !is_mounted(&root)? {
            let layers = format!("lowerdir={image},upperdir={dir}/upper,workdir={dir}/work");
            run("mount", &["-t", "overlay", "-o", &layers, "overlay", root.as_str()])?;
        }
        self.write_identity(lab)?;
        self.write_hosts(lab, all)?;
        self.mount_disk(lab)
    }

    fn write_identity(&self, lab: &Utf8Path) -> Result<(), Diagnostic> {
        let root = self.root(lab);
        let machine_id = root.join("etc/machine-id");
        if machine_id.exists() {
            return Ok(());
        }
        fs_err::write(root.join("etc/hostname"), format!("{}\n", self.name)).map_err(io)?;
        for (home, user) in [("root", "root"), ("home/deploy", "deploy"), ("home/ops", "ops")] {
            let ssh = root.join(home).join(".ssh");
            fs_err::create_dir_all(&ssh).map_err(io)?;
            fs_err::copy(lab.join(KEY).with_extension("pub"), ssh.join("authorized_keys")).map_err(io)?;
            run("chmod", &["0700", ssh.as_str()])?;
            run(
                "chroot",
                &[
                    root.as_str(),
                    "chown",
                    "-R",
                    &format!("{user}:{user}"),
                    &format!("/{home}/.ssh"),
                ],
            )?;
        }
        let host_key = root.join("etc/ssh/ssh_host_ed25519_key");
        remove_tree(&host_key)?;
        run(
            "ssh-keygen",
            &[
                "-q",
                "-t",
                "ed25519",
                "-N",
                "",
                "-C",
                &self.name,
                "-f",
                host_key.as_str(),
            ],
        )?;
        // An id of its own, there before the boot: without one systemd would take it for the first boot of a new
        // installation and enable units by its presets. Last, as it says that all this is done.
        let id = fs_err::read_to_string("/proc/sys/kernel/random/uuid").map_err(io)?;
        fs_err::write(machine_id, id.replace('-', "")).map_err(io)
    }

    /// Adds the nodes that `/etc/hosts` does not know; the other lines are whoever's wrote them.
    pub(super) fn write_hosts(&self, lab: &Utf8Path, all: &[Node]) -> Result<(), Diagnostic> {
        let path = self.root(lab).join("etc/hosts");
        let before = fs_err::read_to_string(&path).unwrap_or_default();
        let after = hosts_with(&before, all);
        if after != before {
            fs_err::write(path, after).map_err(io)?;
        }
        Ok(())
    }

    /// A disk of its own under RabbitMQ's data, as on a real node: a loop device, which has a scheduler and a
    /// read-ahead to tune.
    fn mount_disk(&self, lab: &Utf8Path) -> Result<(), Diagnostic> {
        let (file, target) = (self.dir(lab).join("disk.img"), self.root(lab).join(DATA));
        if is_mounted(&target)? {
            return Ok(());
        }
        let fresh = !file.exists();
        if fresh {
            let new = file.with_extension("new");
            run("truncate", &["-s", DISK_SIZE, new.as_str()])?;
            run("mkfs.ext4", &["-q", "-F", "-m", "0", "-J", "size=32", new.as_str()])?;
            fs_err::rename(&new, &file).map_err(io)?;
        }
        fs_err::create_dir_all(&target).map_err(io)?;
        let device = run("losetup", &["--find", "--show", file.as_str()])?;
        let mount = |point: &Utf8Path| run("mount", &["-t", "ext4", device.trim(), point.as_str()]);
        if fresh {
            // What the package put there moves to the disk, with owners and modes.
            let mount_point = self.dir(lab).join("disk");
            fs_err::create_dir_all(&mount_point).map_err(io)?;
            mount(&mount_point)?;
            run("rm", &["-rf", mount_point.join("lost+found").as_str()])?;
            run("cp", &["-a", &format!("{target}/."), &format!("{mount_point}/")])?;
            run("umount", &[mount_point.as_str()])?;
        }
        mount(&target).map(drop)
    }

    /// Starts systemd inside, in a session of its own that outlives this process.
    pub(super) fn boot(&self, lab: &Utf8Path) -> Result<(), Diagnostic> {
        self.attach()?;
        let log = fs_err::File::create(self.console(lab)).map_err(io)?.into_parts().0;
        let errors = log.try_clone().map_err(io)?;
        // A machine that runs systemd gives nspawn a control group of its own; else the script makes one.
        let systemd = Utf8Path::new("/run/systemd/system").exists();
        // A resolver on this machine's loopback (systemd-resolved) is none of the node's.
        let uplink = Utf8Path::new("/run/systemd/resolve/resolv.conf").exists();
        let mut boot = command("setsid");
        boot.args(["--fork", "sh", "-c", SUPERVISE, "rmqplay-lab"])
            .arg(if systemd { "" } else { &self.name })
            .arg("systemd-nspawn")
            .arg(format!("--directory={}", self.root(lab)))
            .arg(format!("--machine={}", self.name))
            .arg(format!("--network-namespace-path=/run/netns/{}", self.namespace()))
            .arg(format!("--resolv-conf=copy-{}", if uplink { "uplink" } else { "host" }))
            .args(["--register=no", "--boot"]);
        if !systemd {
            boot.arg("--keep-unit");
        }
        // /proc/sys and /sys can be written inside: tuning them is what nodes are for.
        let status = boot
            .env("SYSTEMD_NSPAWN_API_VFS_WRITABLE", "yes")
            .current_dir("/")
            .stdout(log)
            .stderr(errors)
            .status()
            .map_err(io)?;
        if !status.success() {
            return Err(error(format!("cannot start {}", self.name)));
        }
        // From here on `is_running` must be true, or the boot failed.
        let start = Instant::now();
        while !self.is_running() {
            if start.elapsed() > KILL_LIMIT {
                return Err(self.console_note(lab, error(format!("{} does not start", self.name))));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    pub fn is_running(&self) -> bool {
        self.leader().is_some()
    }

    /// The node's PID 1, as this machine numbers it.
    pub(super) fn leader(&self) -> Option<u32> {
        let is_first = |pid: &u32| {
            let status = fs_err::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
            // `NSpid: 4711 1`; a zombie counts as gone.
            status
                .lines()
                .any(|l| l.starts_with("NSpid:") && l.split_whitespace().nth(2) == Some("1"))
                && !status.lines().any(|l| l.starts_with("State:") && l.contains('Z'))
        };
        self.processes().unwrap_or_default().into_iter().find(is_first)
    }

    /// Runs a command inside without `ssh` (as root, in all of the node's namespaces); what it wrote.
    pub fn exec(&self, arguments: &[&str]) -> Result<String, Diagnostic> {
        let Some(leader) = self.leader() else {
            return Err(error(format!("{} is switched off", self.name)));
        };
        let leader = leader.to_string();
        let mut all = vec!["--target", leader.as_str(), "--all", "--"];
        all.extend(arguments);
        run_inside(&all)
    }

    /// As when the power goes: nothing inside gets to write or close anything.
    pub(super) fn kill(&self) -> Result<(), Diagnostic> {
        let start = Instant::now();
        loop {
            // Its PID 1 takes every process inside with it; the container manager then ends by itself. The others
            // are named too for the moment in which a boot has no PID 1 yet, or an end has none any more.
            let mut pids = self.processes()?;
            let managers = self.managers()?;
            if pids.is_empty() {
                if managers.is_empty() {
                    return Ok(());
                }
                if start.elapsed() > KILL_LIMIT / 4 {
                    pids = managers;
                }
            }
            for pid in pids {
                // It may be gone by now.
                succeeds("kill", &["-KILL", &pid.to_string()]);
            }
            if start.elapsed() > KILL_LIMIT {
                return Err(error(format!("{} has processes that do not end", self.name)));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The processes of this machine that run the node: found by their arguments, so that no number kept from
    /// before a reboot can hit another process.
    fn managers(&self) -> Result<Vec<u32>, Diagnostic> {
        let marker = format!("--network-namespace-path=/run/netns/{}", self.namespace());
        let mut found = Vec::new();
        for entry in Utf8Path::new("/proc").read_dir_utf8().map_err(io)?.flatten() {
            let Ok(pid) = entry.file_name().parse::<u32>() else {
                continue;
            };
            // Gone by now, or a zombie: no arguments.
            let arguments = fs_err::read(entry.path().join("cmdline")).unwrap_or_default();
            if arguments
                .split(|b| *b == 0)
                .any(|argument| argument == marker.as_bytes())
            {
                found.push(pid);
            }
        }
        Ok(found)
    }

    /// Switches off and takes away files, disk and network.
    pub(super) fn remove(&self, lab: &Utf8Path) -> Result<(), Diagnostic> {
        self.kill()?;
        let dir = self.dir(lab);
        unmount_below(&dir)?;
        let file = dir.join("disk.img");
        let devices = run(
            "losetup",
            &["--noheadings", "--output", "NAME", "--associated", file.as_str()],
        )?;
        for device in devices.split_whitespace() {
            run("losetup", &["--detach", device])?;
        }
        self.detach()?;
        remove_tree(&dir)
    }

    pub(super) fn answers_ssh(&self, lab: &Lab) -> bool {
        // Until `nologin` goes, only root is let in.
        self.port_open(22)
            && lab
                .ssh()
                .args(["-o", "BatchMode=yes", "-o", "ConnectTimeout=2", "--", &self.name])
                .arg("test ! -e /run/nologin")
                .output()
                .is_ok_and(|output| output.status.success())
    }

    fn port_open(&self, port: u16) -> bool {
        let address = SocketAddr::from((self.address, port));
        TcpStream::connect_timeout(&address, Duration::from_millis(200)).is_ok()
    }

    /// Its unit is of type `notify`: active means that the broker has booted.
    pub(super) fn runs_rabbitmq(&self, _: &Lab) -> bool {
        self.rabbitmq().is_some_and(|state| state == "active")
    }

    fn rabbitmq(&self) -> Option<String> {
        let shown = self.exec(&[
            "systemctl",
            "show",
            "--property=ActiveState",
            "--value",
            "rabbitmq-server",
        ]);
        shown.ok().map(|state| state.trim().to_owned())
    }

    pub(super) fn status(self) -> NodeStatus {
        let pids = self.processes().unwrap_or_default();
        NodeStatus {
            running: self.is_running(),
            ssh: self.port_open(22),
            rabbitmq: self.rabbitmq(),
            memory: pids.into_iter().map(resident).sum(),
            node: self,
        }
    }

    /// What the node's console last said, for a failure to start.
    pub(super) fn console_note(&self, lab: &Utf8Path, mut failure: Diagnostic) -> Diagnostic {
        let path = self.console(lab);
        let console = fs_err::read(&path).unwrap_or_default();
        let last = tail(&String::from_utf8_lossy(&console), 15);
        if !last.is_empty() {
            let mut note = String::from("the end of its console:");
            for line in last.lines() {
                let _ = write!(note, "\n{line}");
            }
            failure = failure.note(note);
        }
        failure.note(format!("all of its console is in `{path}`"))
    }
}

/// Runs the container manager again when the node reboots (it ends with 133 then). `$1` is the name of a control
/// group to make and enter, or empty: nodes that shared one would see, and stop, each other's services.
const SUPERVISE: &str = r#"
group=$1
shift
while :; do
  (
    if [ -n "$group" ]; then
      hierarchies=/sys/fs/cgroup
      [ -e /sys/fs/cgroup/cgroup.controllers ] || hierarchies='/sys/fs/cgroup/systemd /sys/fs/cgroup/unified'
      for hierarchy in $hierarchies; do
        [ -d "$hierarchy" ] || continue
        mkdir -p "$hierarchy/rmqplay-lab/$group" && echo 0 >"$hierarchy/rmqplay-lab/$group/cgroup.procs"
      done
    fi
    exec "$@"
  )
  [ $? -eq 133 ] || exit
done
"#;

/// The nodes that have files or a network, in order.
pub(super) fn existing(lab: &Utf8Path) -> Result<Vec<Node>, Diagnostic> {
    let mut names = Vec::new();
    for (dir, prefix) in [
        (lab.join("nodes"), ""),
        ("/run/netns".into(), network::NAMESPACE_PREFIX),
    ] {
        if dir.exists() {
            let entries = dir.read_dir_utf8().map_err(io)?.flatten();
            names.extend(entries.filter_map(|e| e.file_name().strip_prefix(prefix).map(str::to_owned)));
        }
    }
    let mut numbers: Vec<u8> = names
        .iter()
        .filter_map(|name| name.strip_prefix("mq-")?.parse().ok())
        .collect();
    numbers.sort_unstable();
    numbers.dedup();
    Ok(numbers.into_iter().map(Node::new).collect())
}

/// Control groups go from the leaves; the ones that systemd of this machine made are its own business.
pub(super) fn remove_cgroups() -> Result<(), Diagnostic> {
    for hierarchy in ["/sys/fs/cgroup", "/sys/fs/cgroup/systemd", "/sys/fs/cgroup/unified"] {
        let group = Utf8Path::new(hierarchy).join(CGROUP);
        if group.exists() {
            run(
                "find",
                &[group.as_str(), "-depth", "-type", "d", "-exec", "rmdir", "{}", ";"],
            )?;
        }
    }
    Ok(())
}

fn hosts_with(before: &str, nodes: &[Node]) -> String {
    let mut text = if before.trim().is_empty() {
        "127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n".to_owned()
    } else {
        before.to_owned()
    };
    for node in nodes {
        let known = text
            .lines()
            .any(|line| line.split_whitespace().skip(1).any(|name| name == node.name));
        if !known {
            if !text.ends_with('\n') {
                text.push('\n');
            }
            let _ = writeln!(text, "{} {}", node.address, node.name);
        }
    }
    text
}

/// Resident memory of a process in bytes; 0 when it is gone.
fn resident(pid: u32) -> u64 {
    let status = fs_err::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let kib = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:")?.split_whitespace().next()?.parse().ok());
    kib.unwrap_or(0u64) * 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_get_the_nodes_they_lack() {
        let nodes: Vec<_> = (1..=2).map(Node::new).collect();
        let fresh = hosts_with("", &nodes[..1]);
        assert_eq!(
            fresh,
            "127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n10.231.0.21 mq-1\n"
        );
        let changed = format!("{fresh}10.0.0.9 proxy # mine");
        let grown = hosts_with(&changed, &nodes);
        assert_eq!(grown, format!("{changed}\n10.231.0.22 mq-2\n"));
        assert_eq!(hosts_with(&grown, &nodes), grown);
    }

    #[test]
    fn this_process_has_memory_and_a_gone_one_has_none() {
        assert!(resident(std::process::id()) > 100_000);
        assert_eq!(resident(u32::MAX), 0);
    }
}
