//! Commands on a simulated node: systemd with the one unit `rabbitmq-server`, its process, the disk, the package. What is
//! not known here succeeds and says nothing.

use super::broker;
use crate::host::{Content, Exec, ExecResult};
use crate::modules::unit::reloaded;
use crate::rabbitmq::cli;
use crate::transport::fake::{FakeHost, Node, Program};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

pub struct Debian;

const UNIT: &str = "rabbitmq-server.service";
const PID: &str = "812";
const THREADS: u32 = 24;

/// Keys of [`FakeHost::state`]: the drop-ins systemd has read; what the running process has.
const DROP_INS: &str = "drop-ins";
const FILES: &str = "open files";
const CPUS: &str = "cpus";
const IO: &str = "i/o priority";
const INSTALLED: &str = "installed";
const RUNS: &str = "runs";

const VERSION: &str = "4.0.5-8";
const CONF: &str = "/etc/rabbitmq/rabbitmq.conf";

/// What the package brings; its service is started, as on every Debian that is not told otherwise.
pub fn install(host: &mut FakeHost) {
    unpack(host);
    restart(host);
}

pub fn unpack(host: &mut FakeHost) {
    host.state.insert(INSTALLED.to_owned(), Value::Bool(true));
    host.put("/usr/lib/rabbitmq/bin/rabbitmq-server", Node::file("#!/bin/sh\n"));
    host.put("/etc/rabbitmq/rabbitmq-env.conf", Node::file("# Defaults to rabbit.\n"));
    host.put("/var/lib/rabbitmq", Node::directory());
    host.put("/usr/lib/rabbitmq/lib/rabbitmq_server-4.0.5", Node::directory());
}

fn runs(host: &FakeHost) -> bool {
    host.state.contains_key(RUNS)
}

fn is_installed(host: &FakeHost) -> bool {
    host.state.contains_key(INSTALLED)
}

/// The unit as Debian's package brings it (systemd 257), as far as modules look at it.
const SHOWN: &str = "\
Id=rabbitmq-server.service
Names=rabbitmq-server.service
Description=RabbitMQ Messaging Server
Type=notify
LoadState=loaded
ActiveState=active
SubState=running
Result=success
UnitFileState=enabled
UnitFilePreset=enabled
MainPID=812
NRestarts=0
NeedDaemonReload=no
FragmentPath=/usr/lib/systemd/system/rabbitmq-server.service
DropInPaths=
CanReload=no
Environment=
CPUAffinity=
IOSchedulingClass=2
IOSchedulingPriority=4
OOMScoreAdjust=0
TimeoutStopUSec=1min 30s
LimitNOFILE=65536
LimitNOFILESoft=65536
LimitNPROC=31411
LimitNPROCSoft=31411
";

impl Program for Debian {
    fn facts(&self, host: &FakeHost) -> Arc<Value> {
        let name = host.files.get("/etc/hostname").map(|file| file.content.text());
        let name = name.as_deref().unwrap_or_default().trim();
        Arc::new(json!({
            "architecture": "x86_64", "distribution": "Debian", "distribution_version": "13",
            "distribution_major_version": "13", "distribution_release": "trixie", "os_family": "Debian",
            "kernel": "6.12.0", "system": "Linux", "hostname": name, "nodename": name, "fqdn": name, "domain": "",
            "memtotal_mb": 8192, "memfree_mb": 6144, "swaptotal_mb": 1024, "swapfree_mb": 1024,
            "processor_vcpus": 4, "processor_count": 1, "processor_cores": 4, "processor_nproc": 4,
            "service_mgr": "systemd", "pkg_mgr": "apt", "virtualization_type": "kvm", "virtualization_role": "guest",
            "interfaces": ["lo", "eth0"], "all_ipv4_addresses": ["192.0.2.10"], "all_ipv6_addresses": [],
            "default_ipv4": {"address": "192.0.2.10", "interface": "eth0", "gateway": "192.0.2.1"}, "default_ipv6": {},
            "mounts": [], "devices": {}, "env": {}, "user_id": "root", "user_uid": 0, "user_gid": 0, "user_dir": "/root",
        }))
    }

    fn run(&self, host: &mut FakeHost, command: &Exec, act: bool) -> ExecResult {
        let argv: Vec<&str> = command.argv.iter().map(String::as_str).collect();
        match argv[..] {
            ["false", ..] => failed(1),
            ["touch", path] if act => {
                host.put(path, Node::file(""));
                ExecResult::default()
            }
            ["systemctl", "show", .., unit] => said(&show(host, unit)),
            ["systemctl", "daemon-reload"] if act => reload(host),
            ["systemctl", "is-enabled", .., unit] if unit == UNIT => said("enabled\n"),
            ["taskset", "-acp", cpus, _] if act => keep(host, CPUS, cpus),
            ["dpkg-query", .., "--", "rabbitmq-server"] if is_installed(host) => {
                said(&format!("rabbitmq-server\tii \t{VERSION}\n"))
            }
            ["dpkg-query", ..] => failed(1),
            ["apt-cache", "policy", .., package] => said(&format!(
                "{package}:\n  Installed: (none)\n  Candidate: {VERSION}\n  Version table:\n     {VERSION} 500\n        \
                 500 http://mirror.example.org/debian trixie/main amd64 Packages\n"
            )),
            ["apt-get", .., "install", "--", "rabbitmq-server"] if act => {
                install(host);
                ExecResult::default()
            }
            // Not started: that is what `policy-rc.d` is for.
            [
                "sh",
                "-c",
                _,
                "sh",
                "101",
                "apt-get",
                ..,
                "install",
                "--",
                "rabbitmq-server",
            ] if act => {
                unpack(host);
                ExecResult::default()
            }
            ["df", ..] => said(
                "Filesystem 1024-blocks Used Available Capacity Mounted on\n/dev/vda1 41152736 3154320 35868816 9% /\n",
            ),
            ["rabbitmq-diagnostics", .., "environment", "--formatter", "json"] => said(&environment(host)),
            ["sh", "-c", script, _, cli::SCRIPT, ref rest @ ..] => broker::script(host, script, rest, act),
            _ => match (broker::is_tool(&argv), &argv[..]) {
                (Some(_), _) if !is_installed(host) => failed(127),
                (Some((tool, arguments)), _) => broker::tool(host, tool, arguments, act),
                (None, ["sh", "-c", script, rest @ ..]) => shell(host, script, rest, act),
                _ => ExecResult::default(),
            },
        }
    }
}

/// The modules' own scripts, known by what they read.
fn shell(host: &mut FakeHost, script: &str, rest: &[&str], act: bool) -> ExecResult {
    let about = rest.iter().any(|word| *word == UNIT || *word == PID);
    match rest {
        [_, path] if script.contains("cd /sys/block") => said(&disks(host, path)),
        _ if script.contains("/limits") && about && runs(host) => said(&process(host)),
        _ if script.contains("/limits") => said("pid 0\n"),
        [_, class, level, PID] if act && script.contains("ionice -c") => {
            let class = match *class {
                "1" => "realtime",
                "2" => "best-effort",
                _ => "idle",
            };
            let prio = if level.is_empty() {
                String::new()
            } else {
                format!(": prio {level}")
            };
            keep(host, IO, &format!("{class}{prio}"))
        }
        _ if script.contains("ionice -p") && about && runs(host) => said(&format!(
            "pid {PID}\n     {THREADS} {}\n",
            kept(host, IO, "none: prio 0")
        )),
        [_, path, _, _] if act && script.contains("/dev/urandom") => {
            broker::cookie(host, path);
            ExecResult::default()
        }
        _ if act && about && rest.iter().any(|word| ["restart", "start"].contains(word)) => {
            restart(host);
            ExecResult::default()
        }
        _ => ExecResult::default(),
    }
}

fn show(host: &FakeHost, unit: &str) -> String {
    if unit != UNIT || !is_installed(host) {
        return format!(
            "Id={unit}\nNames={unit}\nLoadState=not-found\nActiveState=inactive\nSubState=dead\nUnitFileState=\nMainPID=0\n\
             NeedDaemonReload=no\n"
        );
    }
    let read: BTreeMap<String, Option<String>> = host
        .state
        .get(DROP_INS)
        .and_then(|v| serde_json::from_value(v.clone()).ok())
        .unwrap_or_default();
    let shown = reloaded(SHOWN, unit, &read);
    if runs(host) {
        return shown;
    }
    let dead = [
        ("ActiveState=active", "ActiveState=inactive"),
        ("SubState=running", "SubState=dead"),
        ("MainPID=812", "MainPID=0"),
    ];
    dead.iter().fold(shown, |text, (runs, dead)| text.replace(runs, dead))
}

fn reload(host: &mut FakeHost) -> ExecResult {
    let is_drop_in = |path: &str| path.starts_with("/etc/systemd/system/") && path.ends_with(".conf");
    let read: Map<String, Value> = host
        .files
        .iter()
        .filter(|(path, _)| is_drop_in(path))
        .map(|(path, node)| (path.clone(), Value::from(node.content.text().into_owned())))
        .collect();
    host.state.insert(DROP_INS.to_owned(), Value::Object(read));
    ExecResult::default()
}

/// The process that starts has what systemd has loaded.
pub fn restart(host: &mut FakeHost) {
    if !runs(host) {
        host.state.insert(RUNS.to_owned(), Value::Bool(true));
        host.ports.push(5672);
    }
    let shown = show(host, UNIT);
    let value = |key: &str| {
        shown
            .lines()
            .find_map(|l| l.strip_prefix(key)?.strip_prefix('='))
            .unwrap_or_default()
    };
    let cpus = Some(value("CPUAffinity")).filter(|c| !c.is_empty()).unwrap_or(ALL_CPUS);
    let priority = match (value("IOSchedulingClass"), value("IOSchedulingPriority")) {
        ("2", "4") => "none: prio 0".to_owned(),
        ("idle", _) => "idle".to_owned(),
        (class, level) => format!("{class}: prio {level}"),
    };
    keep(host, FILES, value("LimitNOFILE"));
    keep(host, CPUS, cpus);
    keep(host, IO, &priority);
    broker::start(host);
}

const ALL_CPUS: &str = "0-3";

fn process(host: &FakeHost) -> String {
    let files = kept(host, FILES, "65536");
    let line =
        |name: &str, soft: &str, hard: &str, unit: &str| format!("{name:<25} {soft:<20} {hard:<20} {unit:<10}\n");
    format!(
        "pid {PID}\n{}{}{}     {THREADS} Cpus_allowed_list:\t{}\n",
        line("Limit", "Soft Limit", "Hard Limit", "Units"),
        line("Max processes", "31411", "31411", "processes"),
        line("Max open files", files, files, "files"),
        kept(host, CPUS, ALL_CPUS),
    )
}

/// Numbers of rabbitmq.conf as the running broker shows them.
fn environment(host: &FakeHost) -> String {
    let text = host
        .files
        .get(CONF)
        .map(|n| n.content.text().into_owned())
        .unwrap_or_default();
    let numbers: Map<String, Value> = text
        .lines()
        .filter_map(|line| line.split_once('='))
        .filter_map(|(key, value)| Some((key.trim().to_owned(), value.trim().parse::<i64>().ok()?.into())))
        .collect();
    json!({ "rabbit": numbers }).to_string()
}

/// One virtual disk with one partition, which holds everything.
fn disks(host: &FakeHost, path: &str) -> String {
    let queue = |name: &str| {
        host.files
            .get(&format!("/sys/block/vda/queue/{name}"))
            .map(|node| node.content.text().trim().to_owned())
            .unwrap_or_default()
    };
    let mut text = format!(
        "disk|vda|254:0|{}|{}|-|\npart|vda1|254:1|vda\n",
        queue("read_ahead_kb"),
        queue("scheduler")
    );
    if !path.is_empty() {
        text += &format!("path|{path}\nmount|22 1 254:1 / / rw,relatime shared:1 - ext4 /dev/vda1 rw\n");
    }
    text
}

fn kept<'a>(host: &'a FakeHost, key: &str, default: &'a str) -> &'a str {
    host.state.get(key).and_then(Value::as_str).unwrap_or(default)
}

fn keep(host: &mut FakeHost, key: &str, value: &str) -> ExecResult {
    host.state.insert(key.to_owned(), Value::from(value));
    ExecResult::default()
}

pub(super) fn said(stdout: &str) -> ExecResult {
    ExecResult {
        stdout: Content::from(stdout),
        ..ExecResult::default()
    }
}

pub(super) fn failed(rc: i32) -> ExecResult {
    ExecResult {
        rc,
        ..ExecResult::default()
    }
}
