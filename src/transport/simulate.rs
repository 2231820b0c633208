//! The fleet of `--simulate`: fake hosts that look like fresh Debian 13 nodes on which RabbitMQ runs as its package sets it
//! up, for trying a playbook without hosts, for golden transcripts and for measuring the engine.

mod broker;
mod debian;

use super::fake::{FakeConnector, FakeHost, Node};
use std::sync::Arc;

/// Hosts are made on first contact and are gone at the end of the run.
pub fn fleet() -> FakeConnector {
    let mut image = bare_node();
    debian::unpack(&mut image);
    let with_rabbitmq = move |image: &FakeHost, name: &str| {
        let mut host = named(image, name);
        debian::restart(&mut host);
        host
    };
    connector(image, with_rabbitmq)
}

/// The same without RabbitMQ, which can be installed.
pub fn bare() -> FakeConnector {
    connector(bare_node(), named)
}

fn connector(mut image: FakeHost, boot: impl Fn(&FakeHost, &str) -> FakeHost + Send + Sync + 'static) -> FakeConnector {
    image.files = image.files.into_image();
    FakeConnector::new(move |name| boot(&image, name), Arc::new(debian::Debian))
}

const FILES: &[(&str, &str)] = &[
    (
        "/etc/os-release",
        "PRETTY_NAME=\"Debian GNU/Linux 13 (trixie)\"\nID=debian\nVERSION_ID=\"13\"\n",
    ),
    ("/etc/security/limits.conf", "# /etc/security/limits.conf\n"),
    ("/proc/sys/fs/file-max", "9223372036854775807\n"),
    ("/proc/sys/fs/nr_open", "1073741816\n"),
    ("/proc/sys/net/core/netdev_max_backlog", "1000\n"),
    ("/proc/sys/net/core/rmem_max", "212992\n"),
    ("/proc/sys/net/core/somaxconn", "4096\n"),
    ("/proc/sys/net/core/wmem_max", "212992\n"),
    ("/proc/sys/net/ipv4/tcp_fin_timeout", "60\n"),
    ("/proc/sys/net/ipv4/tcp_keepalive_intvl", "75\n"),
    ("/proc/sys/net/ipv4/tcp_keepalive_probes", "9\n"),
    ("/proc/sys/net/ipv4/tcp_keepalive_time", "7200\n"),
    ("/proc/sys/net/ipv4/tcp_max_syn_backlog", "1024\n"),
    ("/proc/sys/net/ipv4/tcp_max_tw_buckets", "131072\n"),
    ("/proc/sys/net/ipv4/tcp_rmem", "4096\t131072\t6291456\n"),
    ("/proc/sys/net/ipv4/tcp_wmem", "4096\t16384\t4194304\n"),
    ("/proc/sys/vm/dirty_background_ratio", "10\n"),
    ("/proc/sys/vm/dirty_ratio", "20\n"),
    ("/proc/sys/vm/max_map_count", "1048576\n"),
    ("/proc/sys/vm/overcommit_memory", "0\n"),
    ("/proc/sys/vm/swappiness", "60\n"),
    ("/proc/sys/vm/zone_reclaim_mode", "0\n"),
    ("/sys/block/vda/queue/read_ahead_kb", "128\n"),
    ("/sys/block/vda/queue/scheduler", "[none] mq-deadline kyber bfq\n"),
    ("/sys/devices/system/cpu/online", "0-3\n"),
    ("/sys/devices/system/cpu/present", "0-3\n"),
    (
        "/sys/kernel/mm/transparent_hugepage/defrag",
        "always defer defer+madvise [madvise] never\n",
    ),
    (
        "/sys/kernel/mm/transparent_hugepage/enabled",
        "[always] madvise never\n",
    ),
];

const DIRECTORIES: &[&str] = &[
    "/etc/sysctl.d",
    "/etc/security/limits.d",
    "/etc/systemd/system",
    "/etc/tmpfiles.d",
    "/etc/udev/rules.d",
    "/root",
    "/tmp",
    "/usr/lib/sysctl.d",
    "/var/lib",
];

fn bare_node() -> FakeHost {
    let mut host = FakeHost::with(FILES.iter().copied());
    for directory in DIRECTORIES {
        host.put(directory, Node::directory());
    }
    host.put("/etc/hosts", Node::file("127.0.0.1 localhost\n"));
    host
}

fn named(image: &FakeHost, name: &str) -> FakeHost {
    let mut host = image.clone();
    for file in ["/etc/hostname", "/proc/sys/kernel/hostname"] {
        host.put(file, Node::file(format!("{name}\n")));
    }
    host
}
