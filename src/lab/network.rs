//! One bridge with this machine at `10.231.0.1`, a network namespace and a pair of virtual cables per node, and a way
//! out for package installs (masquerading in an nftables table of our own).

use super::machine::{run, run_with, succeeds};
use super::{Node, error};
use crate::diagnostic::Diagnostic;
use camino::Utf8Path;

pub(super) const BRIDGE: &str = "rmqlab0";
const NETWORK: &str = "10.231.0.0/24";
/// This machine, as the nodes see it.
pub(super) const GATEWAY: &str = "10.231.0.1";
const TABLE: &str = "rmqplay_lab";
/// Network namespaces of nodes are called `rmqlab-NODE`.
pub(super) const NAMESPACE_PREFIX: &str = "rmqlab-";

pub(super) fn up() -> Result<(), Diagnostic> {
    if !interface_exists(BRIDGE) {
        let taken = run("ip", &["-4", "-o", "address", "show", "to", NETWORK])?;
        if let Some(interface) = taken.split_whitespace().nth(1) {
            return Err(error(format!("the lab's network {NETWORK} is in use"))
                .note(format!("interface `{interface}` of this machine has an address in it")));
        }
        run("ip", &["link", "add", BRIDGE, "type", "bridge"])?;
    }
    run("ip", &["address", "replace", &format!("{GATEWAY}/24"), "dev", BRIDGE])?;
    run("ip", &["link", "set", BRIDGE, "up"])?;
    // `clear` puts forwarding back: it is part of the snapshot of the kernel's settings.
    fs_err::write("/proc/sys/net/ipv4/ip_forward", "1").map_err(super::machine::io)?;
    // The first line makes the second one work where there is no such table yet.
    let rules = format!(
        "table ip {TABLE}\ndelete table ip {TABLE}\ntable ip {TABLE} {{\n  chain postrouting {{\n    \
         type nat hook postrouting priority 100; policy accept;\n    \
         ip saddr {NETWORK} oifname != \"{BRIDGE}\" masquerade\n  }}\n}}\n"
    );
    run_with("nft", &["-f", "-"], &rules).map(drop)
}

/// Nodes are gone already.
pub(super) fn down() -> Result<(), Diagnostic> {
    if interface_exists(BRIDGE) {
        run("ip", &["link", "delete", BRIDGE])?;
    }
    if succeeds("nft", &["list", "table", "ip", TABLE]) {
        run("nft", &["delete", "table", "ip", TABLE])?;
    }
    Ok(())
}

impl Node {
    pub(super) fn namespace(&self) -> String {
        format!("{NAMESPACE_PREFIX}{}", self.name)
    }

    /// This machine's end of the node's cable.
    fn cable(&self) -> String {
        format!("rmqlab-n{}", self.number)
    }

    /// A network as after power-on: whatever was set in an earlier one is gone.
    pub(super) fn attach(&self) -> Result<(), Diagnostic> {
        self.detach()?;
        let (namespace, cable) = (self.namespace(), self.cable());
        run("ip", &["netns", "add", &namespace])?;
        run(
            "ip",
            &[
                "link", "add", &cable, "type", "veth", "peer", "name", "eth0", "netns", &namespace,
            ],
        )?;
        run("ip", &["link", "set", &cable, "master", BRIDGE, "up"])?;
        let inside = |arguments: &[&str]| {
            let mut all = vec!["-n", namespace.as_str()];
            all.extend(arguments);
            run("ip", &all)
        };
        inside(&["link", "set", "lo", "up"])?;
        inside(&["address", "add", &format!("{}/24", self.address), "dev", "eth0"])?;
        inside(&["link", "set", "eth0", "up"])?;
        inside(&["route", "add", "default", "via", GATEWAY])?;
        Ok(())
    }

    /// The namespace takes the cable with it.
    pub(super) fn detach(&self) -> Result<(), Diagnostic> {
        let namespace = self.namespace();
        if Utf8Path::new("/run/netns").join(&namespace).exists() {
            run("ip", &["netns", "delete", &namespace])?;
        }
        // The kernel takes interfaces apart in its own time; a new cable needs the name now.
        if interface_exists(&self.cable()) {
            succeeds("ip", &["link", "delete", &self.cable()]);
        }
        Ok(())
    }

    /// Pulls the cable, or plugs it in again.
    pub(super) fn set_cable(&self, up: bool) -> Result<(), Diagnostic> {
        run("ip", &["link", "set", &self.cable(), if up { "up" } else { "down" }]).map(drop)
    }

    /// The processes inside, its PID 1 among them; none when it is switched off.
    pub(super) fn processes(&self) -> Result<Vec<u32>, Diagnostic> {
        let namespace = self.namespace();
        if !Utf8Path::new("/run/netns").join(&namespace).exists() {
            return Ok(Vec::new());
        }
        let pids = run("ip", &["netns", "pids", &namespace])?;
        Ok(pids.lines().filter_map(|pid| pid.trim().parse().ok()).collect())
    }
}

fn interface_exists(name: &str) -> bool {
    Utf8Path::new("/sys/class/net").join(name).exists()
}
