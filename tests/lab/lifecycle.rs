//! Up and down, whatever state the lab is in.

use crate::booted::{BARE, down, eventually, lab, on, rmqplay};
use rmqplay::lab::{Lab, Release, Wanted, fault};
use std::path::Path;
use std::process::Stdio;

/// When each node was booted: no two boots are alike.
fn boots(lab: &Lab) -> Vec<String> {
    let boot = |node| {
        on(
            lab,
            &node,
            "root",
            "stat -c %z /proc/1 && systemctl show -p UserspaceTimestampMonotonic",
        )
    };
    lab.nodes().unwrap().into_iter().map(boot).collect()
}

pub fn up_again_keeps_what_runs() {
    let lab = lab(BARE);
    let before = boots(&lab);
    let up = lab.up(BARE, &|_| {}).unwrap();
    assert_eq!((up.nodes.len(), up.ssh.is_zero()), (3, true));
    assert_eq!(boots(&lab), before);
}

pub fn up_grows_and_shrinks() {
    let lab = lab(BARE);
    let before = boots(&lab);
    let wanted = |nodes| Wanted { nodes, ..BARE };
    lab.up(wanted(4), &|_| {}).unwrap();
    assert_eq!(boots(&lab)[..3], before);
    let first = lab.node("1").unwrap();
    assert!(on(&lab, &first, "root", "getent hosts mq-4").starts_with("10.231.0.24"));
    let inventory = std::fs::read_to_string(lab.inventory_dir().join("hosts.yml")).unwrap();
    assert!(inventory.contains("mq-4: { ansible_host: 10.231.0.24 }"));

    lab.up(wanted(3), &|_| {}).unwrap();
    assert_eq!(boots(&lab), before);
    assert!(!Path::new("/run/netns/rmqlab-mq-4").exists());
    assert!(lab.node("mq-4").unwrap_err().notes[0].contains("`mq-1`, `mq-2`, `mq-3`"));
}

pub fn up_boots_what_is_switched_off() {
    let lab = lab(BARE);
    let before = boots(&lab);
    let node = lab.node("mq-3").unwrap();
    on(&lab, &node, "root", "echo kept >/root/mark; sync");
    fault::power_off(&node).unwrap();
    let status = lab.status().unwrap().unwrap();
    assert_eq!(
        status.nodes.iter().map(|n| n.running).collect::<Vec<_>>(),
        [true, true, false]
    );
    lab.up(BARE, &|_| {}).unwrap();
    assert_eq!(on(&lab, &node, "root", "cat /root/mark; rm /root/mark"), "kept");
    let after = boots(&lab);
    assert_eq!(after[..2], before[..2]);
    assert_ne!(after[2], before[2]);
}

pub fn up_refuses_another_release() {
    let lab = lab(BARE);
    let other = Wanted {
        release: Release::Bookworm,
        ..BARE
    };
    let refused = lab.up(other, &|_| {}).unwrap_err();
    assert_eq!(
        refused.message,
        "the lab is up with other nodes (trixie, bare) than asked for (bookworm, bare)"
    );
}

/// What the kernel holds of the lab.
fn traces() -> Vec<String> {
    let mut traces = Vec::new();
    let mut look = |what: &str, text: String, mark: &str| {
        traces.extend(
            text.lines()
                .filter(|l| l.contains(mark))
                .map(|l| format!("{what}: {l}")),
        );
    };
    let read = |path: &str| std::fs::read_to_string(path).unwrap();
    let list = |path: &str| {
        let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
        entries
            .map(|e| format!("{}\n", e.file_name().to_string_lossy()))
            .collect::<String>()
    };
    look("mount", read("/proc/self/mountinfo"), " /var/lib/rmqplay-lab/");
    look("interface", list("/sys/class/net"), "rmqlab");
    look("namespace", list("/run/netns"), "rmqlab");
    look("files", list("/var/lib/rmqplay-lab"), "nodes");
    look("files", list("/var/lib/rmqplay-lab"), "state");
    look("group", list("/sys/fs/cgroup"), "rmqplay-lab");
    look("group", list("/sys/fs/cgroup/systemd"), "rmqplay-lab");
    let output = |program: &str, arguments: &[&str]| {
        let output = std::process::Command::new(program).args(arguments).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    look("loop device", output("losetup", &["--list"]), "rmqplay-lab");
    look("firewall", output("nft", &["list", "tables"]), "rmqplay");
    look(
        "process",
        output("ps", &["-e", "-o", "stat,args"]),
        "--network-namespace-path=/run/netns/rmqlab-",
    );
    traces
}

fn setting(path: &str) -> String {
    std::fs::read_to_string(path).unwrap()
}

pub fn down_leaves_nothing() {
    let lab = down();
    assert_eq!(traces(), [""; 0]);
    let settings = [
        "/proc/sys/vm/swappiness",
        "/proc/sys/net/ipv4/ip_forward",
        "/sys/kernel/mm/transparent_hugepage/enabled",
    ];
    let before = settings.map(setting);

    lab.up(BARE, &|_| {}).unwrap();
    assert!(traces().len() > 9);
    let node = lab.node("mq-1").unwrap();
    let other = if before[2].contains("[never]") {
        "madvise"
    } else {
        "never"
    };
    on(
        &lab,
        &node,
        "root",
        &format!("sysctl -qw vm.swappiness=11; echo {other} >/sys/kernel/mm/transparent_hugepage/enabled"),
    );
    assert_ne!(settings.map(setting), before);
    let down = lab.down(false, &|_| {}).unwrap();
    assert_eq!((down.nodes, down.not_restored), (3, vec![]));
    assert!(
        down.restored.iter().any(|s| s.path == settings[0] && s.was == "11"),
        "{:?}",
        down.restored
    );
    assert_eq!(settings.map(setting), before);
    assert_eq!(traces(), [""; 0]);
    assert_eq!(lab.down(false, &|_| {}).unwrap().nodes, 0);
    assert!(lab.dir().join("images").exists());
}

pub fn down_after_an_interrupted_up() {
    down();
    for moment in [
        "/run/netns/rmqlab-mq-1",
        "/var/lib/rmqplay-lab/nodes/mq-2/disk.img",
        "/run/netns/rmqlab-mq-3",
    ] {
        let mut up = rmqplay(&["lab", "up", "--bare"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        eventually(moment, || Path::new(moment).exists());
        up.kill().unwrap();
        up.wait().unwrap();
        let down = rmqplay(&["lab", "down"]).output().unwrap();
        assert!(down.status.success(), "{moment}: {down:?}");
        assert_eq!(traces(), [""; 0], "{moment}");
    }
}

/// After a reboot the files are there and nothing else; numbers and settings in them mean nothing any more.
pub fn up_after_a_reboot_of_the_machine() {
    let lab = lab(BARE);
    for node in lab.nodes().unwrap() {
        fault::power_off(&node).unwrap();
    }
    let state = lab.dir().join("state.json");
    let text = std::fs::read_to_string(&state).unwrap();
    let boot = setting("/proc/sys/kernel/random/boot_id");
    let text = text.replace(boot.trim(), "00000000-0000-0000-0000-000000000000");
    let text = text.replace("\"proc/sys/vm/swappiness\": \"", "\"proc/sys/vm/swappiness\": \"1");
    std::fs::write(&state, text).unwrap();
    let before = setting("/proc/sys/vm/swappiness");
    assert_eq!(lab.status().unwrap(), None);
    lab.up(BARE, &|_| {}).unwrap();
    assert_eq!(setting("/proc/sys/vm/swappiness"), before);
    assert_eq!(lab.status().unwrap().unwrap().nodes.iter().filter(|n| n.ssh).count(), 3);
}
