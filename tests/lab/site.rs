//! `playbooks/site.yml` on three nodes of each release, read back on the nodes.

use crate::booted::{lab, on};
use crate::desk::{Desk, Report, says};
use rmqplay::lab::{Lab, Node, Release, Wanted};
use serde_json::Value;
use std::collections::BTreeSet;

const SITE: &str = "playbooks/site.yml";
/// `tuning_nofile` in inventories/lab.
const NOFILE: &str = "16384";

pub fn on_trixie() {
    site(Release::Trixie, &[]);
}

/// With a scheduler for the disks, too; as shipped, site.yml leaves that one alone.
pub fn on_bookworm() {
    site(Release::Bookworm, &["-e", "tuning_io_scheduler=mq-deadline"]);
}

fn site(release: Release, variables: &[&str]) {
    let lab = lab(Wanted {
        release,
        ..Wanted::default()
    });
    let desk = Desk::new();
    let run = |command: &str, more: &[&str]| {
        let mut arguments = vec![command, SITE, "-i", "inventories/lab"];
        arguments.extend(variables);
        arguments.extend(more);
        desk.run(&arguments)
    };
    let json = ["--format", "json"];
    let dry = [&json[..], &["--detailed-exitcode"]].concat();

    let predicted = run("diff", &dry).ended(3).report();
    let applied = run("apply", &json).ended(0).report();
    compare(&predicted, &applied);
    for node in lab.nodes().unwrap() {
        read_back(&lab, &node, release, variables);
    }

    let again = run("apply", &json).ended(0).report();
    assert_eq!(again.changes(), Default::default());
    for host in ["mq-1", "mq-2", "mq-3"] {
        assert_eq!(again.stat(host, "changed"), 0);
    }
    run("diff", &dry).ended(0);
    if release == Release::Trixie {
        let verified = run("verify", &json).ended(0).report();
        assert!(
            verified
                .results()
                .iter()
                .all(|(section, ..)| section != &"task" && section != &"handler")
        );
        broken(&lab, &run);
    }
}

/// What diff named is what apply changed, task by task and host by host.
///
/// The nodes are one kernel and site.yml goes from node to node: what is the whole kernel's (`vm.*`, `fs.*`, huge
/// pages) the first node changes for all, and the others find it done. Their files are still to be written.
fn compare(predicted: &Report, applied: &Report) {
    for (section, task, host, result) in predicted.results() {
        let (before, after) = (predicted.status(task, host), applied.status(task, host));
        match (section, before) {
            // It can be known when the changes are made, and then it holds.
            ("post_check", "unknown") => assert!(["ok", "skipped"].contains(&after), "{task} on {host}: {after}"),
            _ => assert_eq!(before, after, "{task} on {host}: {result:#}"),
        }
    }
    for (_, task, host, result) in applied.results() {
        assert_ne!(predicted.status(task, host), "none", "{task} on {host}: {result:#}");
    }
    let whole_kernel = |delta: &Value| {
        let subject = delta["before_header"].as_str().unwrap();
        ["sysctl vm.", "sysctl fs.", "transparent_hugepage"]
            .iter()
            .any(|k| subject.starts_with(k))
    };
    let changes = |report: &Report| {
        let mut changes = report.changes();
        for ((host, _), deltas) in &mut changes {
            if host != "mq-1" {
                deltas.retain(|d| !whole_kernel(d));
            }
        }
        changes
    };
    // Only a node that has read the new file tells which of its keys are more than the default: a dry run names them all.
    let running = |delta: &Value| delta["before_header"].as_str().unwrap().contains("(running node");
    let key = |delta: &Value| delta["before_header"].as_str().unwrap().to_owned();
    let (predicted, applied) = (changes(predicted), changes(applied));
    for (place, deltas) in &predicted {
        let done = applied.get(place).unwrap_or_else(|| panic!("{place:?}"));
        let but_running = |of: &[Value]| -> Vec<Value> { of.iter().filter(|d| !running(d)).cloned().collect() };
        assert_eq!(but_running(deltas), but_running(done), "{place:?}");
        let named: BTreeSet<String> = deltas.iter().filter(|d| running(d)).map(key).collect();
        let found: BTreeSet<String> = done.iter().filter(|d| running(d)).map(key).collect();
        assert!(found.is_subset(&named), "{place:?}: {found:?} {named:?}");
    }
    assert_eq!(predicted.len(), applied.len());
    assert!(predicted.len() >= 3 * 9, "{}", predicted.len());
}

fn read_back(lab: &Lab, node: &Node, release: Release, variables: &[&str]) {
    let root = |command: &str| on(lab, node, "root", command);
    let all = |command: &str, lines: &[&str]| {
        let found = root(command);
        for line in lines {
            assert!(
                found.lines().any(|l| l == *line),
                "{}: no `{line}` in\n{found}",
                node.name
            );
        }
    };
    // Live, and after something else set them otherwise and the system's own tools read their files again.
    let live = "cd /proc/sys && for k in net.ipv4.tcp_keepalive_time net.ipv4.tcp_keepalive_intvl \
                net.ipv4.tcp_keepalive_probes net.ipv4.tcp_fin_timeout vm.swappiness vm.zone_reclaim_mode \
                net.core.somaxconn net.ipv4.tcp_max_syn_backlog net.ipv4.tcp_max_tw_buckets net.ipv4.tcp_wmem; \
                do echo $k $(cat $(echo $k | tr . /) 2>&1); done";
    let expected = [
        "net.ipv4.tcp_keepalive_time 60",
        "net.ipv4.tcp_keepalive_intvl 10",
        "net.ipv4.tcp_keepalive_probes 5",
        "net.ipv4.tcp_fin_timeout 30",
        "vm.swappiness 10",
        "net.core.somaxconn 4096",
        "net.ipv4.tcp_max_syn_backlog 4096",
        "net.ipv4.tcp_max_tw_buckets 400000",
        "net.ipv4.tcp_wmem 4096 16384 16777216",
    ];
    all(live, &expected);
    // It cannot set what a network namespace only sees, and says so by its exit status.
    root(
        "sysctl -qw net.ipv4.tcp_fin_timeout=99 net.ipv4.tcp_keepalive_time=99; /usr/lib/systemd/systemd-sysctl || true",
    );
    all(live, &expected);
    all(
        "cat /etc/sysctl.d/60-rmqplay.conf",
        &[
            "net.core.rmem_max=16777216",
            "net.ipv4.tcp_fin_timeout=30",
            "vm.swappiness=10",
        ],
    );

    // The unit, and the process that runs.
    // Only where the disks' scheduler looks at it.
    let (level, priority) = if variables.is_empty() {
        ("4", "none: prio 0")
    } else {
        ("0", "best-effort: prio 0")
    };
    all(
        "systemctl show rabbitmq-server -p LimitNOFILE -p TimeoutStopUSec -p IOSchedulingPriority -p ActiveState \
         -p UnitFileState -p NeedDaemonReload",
        &[
            &format!("LimitNOFILE={NOFILE}"),
            "TimeoutStopUSec=10min",
            &format!("IOSchedulingPriority={level}"),
            "ActiveState=active",
            "UnitFileState=enabled",
            "NeedDaemonReload=no",
        ],
    );
    // Each minute the broker starts a VM for a moment, to see that there is an epmd.
    let beam = root("pgrep --exact --oldest beam.smp");
    let limits = root(&format!("grep '^Max open files' /proc/{beam}/limits"));
    assert_eq!(limits.split_whitespace().collect::<Vec<_>>()[3..5], [NOFILE, NOFILE]);
    all(
        &format!("tr '\\0' '\\n' </proc/{beam}/environ"),
        &[&format!("ERL_MAX_PORTS={NOFILE}")],
    );
    assert_eq!(root(&format!("ionice -p {beam}")), priority);

    for file in ["enabled", "defrag"] {
        let shown = root(&format!("cat /sys/kernel/mm/transparent_hugepage/{file}"));
        assert!(shown.contains("[madvise]"), "{file}: {shown}");
    }
    all(
        "cat /etc/tmpfiles.d/60-rmqplay-thp.conf",
        &["w /sys/kernel/mm/transparent_hugepage/enabled - - - - madvise"],
    );
    let disk = root("findmnt --noheadings --output SOURCE --target /var/lib/rabbitmq");
    let disk = disk.strip_prefix("/dev/").unwrap();
    let queue = |file: &str| root(&format!("cat /sys/block/{disk}/queue/{file}"));
    assert_eq!(queue("read_ahead_kb"), "1024");
    let rules = root("cat /etc/udev/rules.d/60-rmqplay-io.rules");
    says(&rules, &[disk, "ATTR{queue/read_ahead_kb}=\"1024\""]);
    if !variables.is_empty() {
        assert!(queue("scheduler").contains("[mq-deadline]"));
        says(&rules, &["ATTR{queue/scheduler}=\"mq-deadline\""]);
    }

    // The configuration, as a file and as what the broker says it runs with.
    assert_eq!(
        root("stat -c '%a %U %G' /etc/rabbitmq/rabbitmq.conf"),
        "640 root rabbitmq"
    );
    let v4 = release == Release::Trixie;
    let conf = root("cat /etc/rabbitmq/rabbitmq.conf");
    assert_eq!(conf.contains("default_queue_type = quorum"), v4);
    says(
        &conf,
        &[
            "channel_max = 128\n",
            "vm_memory_high_watermark.relative = 0.4\n",
            "heartbeat = 20\n",
        ],
    );
    let environment = root("rabbitmq-diagnostics -q environment --formatter json");
    let environment: Value = serde_json::from_str(&environment).unwrap();
    let rabbit = &environment["rabbit"];
    for (key, value) in [
        ("heartbeat", 20),
        ("channel_max", 128),
        ("collect_statistics_interval", 5000),
    ] {
        assert_eq!(rabbit[key], value, "{key}");
    }
    assert_eq!(rabbit["tcp_listen_options"]["backlog"], 4096);
    // As the VM counts: sockets and files it can have at once, and what memory it sees.
    let vm = root(
        "rabbitmqctl -q eval '{erlang:system_info(port_limit), vm_memory_monitor:get_vm_memory_high_watermark()}.'",
    );
    let (ports, watermark) = vm.trim_matches(['{', '}']).split_once(',').unwrap();
    assert!(ports.parse::<u64>().unwrap() >= NOFILE.parse().unwrap(), "{vm}");
    assert_eq!(watermark, "0.4");
    assert_eq!(
        root("cat /proc/sys/kernel/hostname; rabbitmq-diagnostics -q check_running >/dev/null && echo runs"),
        format!("{}\nruns", node.name)
    );
}

/// `verify` finds what somebody broke, says what it is, and changes nothing.
fn broken(lab: &Lab, run: &dyn Fn(&str, &[&str]) -> crate::desk::Ran) {
    let (first, last) = (lab.node("mq-1").unwrap(), lab.node("mq-3").unwrap());
    on(lab, &last, "root", "sysctl -qw net.ipv4.tcp_fin_timeout=61");
    let ran = run("verify", &[]).ended(2);
    says(
        &ran.stdout,
        &[
            "post-check: kernel settings are in force",
            "mq-3",
            "net.ipv4.tcp_fin_timeout: expected 30, found 61",
        ],
    );
    assert_eq!(on(lab, &last, "root", "cat /proc/sys/net/ipv4/tcp_fin_timeout"), "61");

    on(lab, &first, "root", "systemctl stop rabbitmq-server");
    let ran = run("verify", &["-e", "rabbitmq_patience_s=0", "--format", "json"]).ended(2);
    let report = ran.report();
    assert_eq!(report.status("the service is active", "mq-1"), "failed");
    says(
        &report.result("the service is active", "mq-1").to_string(),
        &["expected active, found inactive"],
    );
    // One node at a time: the next ones are not looked at.
    assert_eq!(report.status("the service is active", "mq-3"), "none");
    assert_eq!(
        on(lab, &first, "root", "systemctl is-active rabbitmq-server || true"),
        "inactive"
    );

    // Apply mends both, and names what it does.
    let mended = run("apply", &["--format", "json"]).ended(0).report();
    let changes: Vec<_> = mended.changes().into_keys().collect();
    let expected = [
        ("mq-1", "rabbitmq : RabbitMQ runs, now and after a boot"),
        ("mq-3", "tuning : kernel settings"),
    ];
    assert_eq!(changes, expected.map(|(host, task)| (host.to_owned(), task.to_owned())));
}
