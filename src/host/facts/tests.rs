use super::*;
use serde_json::json;

/// Parts as a person can read them: `==> NAME <==`, then the bytes.
fn recorded(text: &str) -> Parts {
    let parts = text.split("==> ").skip(1).map(|part| {
        let (name, bytes) = part.split_once(" <==\n").expect("a part's head");
        (name.to_owned(), bytes.as_bytes().to_vec())
    });
    Parts(parts.collect())
}

fn keep(facts: &Value, keys: &[&str]) -> Value {
    let kept = keys
        .iter()
        .map(|key| ((*key).to_owned(), facts.get(*key).cloned().unwrap_or(Value::Null)));
    Value::Object(kept.collect())
}

const DISTRIBUTION: [&str; 5] = [
    "distribution",
    "distribution_version",
    "distribution_release",
    "distribution_major_version",
    "os_family",
];

/// os-release as these distributions ship it, and the version file that says more.
#[test]
fn distributions() {
    let cases: [(&str, [&str; 5]); 9] = [
        (
            "==> /etc/os-release <==\nPRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nNAME=\"Debian GNU/Linux\"\nVERSION_ID=\"12\"\n\
             VERSION=\"12 (bookworm)\"\nVERSION_CODENAME=bookworm\nID=debian\n==> /etc/debian_version <==\n12.11\n",
            ["Debian", "12.11", "bookworm", "12", "Debian"],
        ),
        (
            "==> /etc/os-release <==\nPRETTY_NAME=\"Debian GNU/Linux forky/sid\"\nNAME=\"Debian GNU/Linux\"\n\
             VERSION_CODENAME=forky\nID=debian\n==> /etc/debian_version <==\nforky/sid\n",
            ["Debian", "", "forky", "", "Debian"],
        ),
        (
            "==> /etc/os-release <==\nPRETTY_NAME=\"Ubuntu 24.04.1 LTS\"\nNAME=\"Ubuntu\"\nVERSION_ID=\"24.04\"\n\
             VERSION=\"24.04.1 LTS (Noble Numbat)\"\nVERSION_CODENAME=noble\nID=ubuntu\nID_LIKE=debian\n\
             ==> /etc/debian_version <==\ntrixie/sid\n",
            ["Ubuntu", "24.04", "noble", "24", "Debian"],
        ),
        (
            "==> /etc/os-release <==\nNAME=\"Rocky Linux\"\nVERSION=\"9.4 (Blue Onyx)\"\nID=\"rocky\"\nID_LIKE=\"rhel centos fedora\"\n\
             VERSION_ID=\"9.4\"\n==> /etc/redhat-release <==\nRocky Linux release 9.4 (Blue Onyx)\n",
            ["Rocky", "9.4", "Blue Onyx", "9", "RedHat"],
        ),
        (
            "==> /etc/os-release <==\nNAME=\"CentOS Stream\"\nVERSION=\"9\"\nID=\"centos\"\nVERSION_ID=\"9\"\n\
             ==> /etc/redhat-release <==\nCentOS Stream release 9\n",
            ["CentOS", "9", "Stream", "9", "RedHat"],
        ),
        (
            "==> /etc/os-release <==\nNAME=\"CentOS Linux\"\nVERSION=\"7 (Core)\"\nID=\"centos\"\nVERSION_ID=\"7\"\n\
             ==> /etc/redhat-release <==\nCentOS Linux release 7.9.2009 (Core)\n",
            ["CentOS", "7.9", "Core", "7", "RedHat"],
        ),
        (
            "==> /etc/os-release <==\nNAME=\"Red Hat Enterprise Linux\"\nVERSION=\"8.10 (Ootpa)\"\nID=\"rhel\"\nVERSION_ID=\"8.10\"\n\
             ==> /etc/redhat-release <==\nRed Hat Enterprise Linux release 8.10 (Ootpa)\n",
            ["RedHat", "8.10", "Ootpa", "8", "RedHat"],
        ),
        (
            "==> /etc/os-release <==\nNAME=\"Alpine Linux\"\nID=alpine\nVERSION_ID=3.20.3\n==> /etc/alpine-release <==\n3.20.3\n",
            ["Alpine", "3.20.3", "NA", "3", "Alpine"],
        ),
        (
            "==> /usr/lib/os-release <==\nNAME='Amazon Linux'\nVERSION='2023'\nID='amzn'\nVERSION_ID='2023'\n",
            ["Amazon", "2023", "NA", "2023", "RedHat"],
        ),
    ];
    for (text, expected) in cases {
        let facts = parse(&recorded(text));
        let expected: Facts = DISTRIBUTION
            .iter()
            .zip(expected)
            .map(|(k, v)| ((*k).to_owned(), json!(v)))
            .collect();
        assert_eq!(keep(&facts, &DISTRIBUTION), Value::Object(expected), "{text}");
    }
}

#[test]
fn nothing_said_is_no_panic() {
    let facts = parse(&Parts::default());
    assert_eq!(facts["virtualization_type"], "NA");
    assert_eq!(facts["default_ipv4"], json!({}));
    assert_eq!(facts["mounts"], json!([]));
}

/// `ip` of iproute2 6.1 on a host with two addresses on one interface, a bridge, and both families.
#[test]
fn network() {
    let facts = parse(&recorded(
        "==> /sys/class/net/eth0/address <==\n02:fc:00:00:00:01\n==> /sys/class/net/eth0/mtu <==\n1400\n\
         ==> /sys/class/net/eth0/operstate <==\nup\n==> /sys/class/net/eth0/type <==\n1\n==> /sys/class/net/eth0/flags <==\n0x1003\n\
         ==> /sys/class/net/eth0/speed <==\n-1\n==> /sys/class/net/lo/address <==\n00:00:00:00:00:00\n\
         ==> /sys/class/net/lo/type <==\n772\n==> /sys/class/net/lo/operstate <==\nunknown\n\
         ==> /sys/class/net/br-lan/address <==\n26:9a:e1:02:dd:b5\n==> /sys/class/net/br-lan/type <==\n1\n\
         ==> /sys/class/net/br-lan/operstate <==\ndown\n==> /sys/class/net/br-lan/bridge/bridge_id <==\n8000.269ae102ddb5\n\
         ==> addr <==\n\
         1: lo    inet 127.0.0.1/8 scope host lo\\       valid_lft forever preferred_lft forever\n\
         1: lo    inet6 ::1/128 scope host \\       valid_lft forever preferred_lft forever\n\
         2: eth0    inet 192.0.2.2/24 brd 192.0.2.255 scope global eth0\\       valid_lft forever preferred_lft forever\n\
         2: eth0    inet 192.0.2.3/24 brd 192.0.2.255 scope global secondary eth0\\       valid_lft forever preferred_lft forever\n\
         2: eth0    inet6 fd00::2/64 scope global \\       valid_lft forever preferred_lft forever\n\
         ==> route4 <==\n8.8.8.8 via 192.0.2.1 dev eth0 src 192.0.2.2 uid 0 \n    cache \n\
         ==> route6 <==\n",
    ));
    assert_eq!(facts["interfaces"], json!(["br-lan", "eth0", "lo"]));
    assert_eq!(facts["all_ipv4_addresses"], json!(["192.0.2.2", "192.0.2.3"]));
    assert_eq!(facts["all_ipv6_addresses"], json!(["fd00::2"]));
    assert_eq!(
        facts["default_ipv4"],
        json!({"interface": "eth0", "address": "192.0.2.2", "gateway": "192.0.2.1", "macaddress": "02:fc:00:00:00:01", "mtu": 1400,
               "type": "ether", "alias": "eth0", "prefix": "24", "netmask": "255.255.255.0", "network": "192.0.2.0",
               "broadcast": "192.0.2.255"})
    );
    assert_eq!(facts["default_ipv6"], json!({}));
    assert_eq!(
        facts["br_lan"],
        json!({"device": "br-lan", "active": false, "macaddress": "26:9a:e1:02:dd:b5", "type": "bridge"})
    );
    assert_eq!(facts["eth0"]["ipv4_secondaries"][0]["address"], "192.0.2.3");
    assert_eq!(facts["lo"]["ipv4"]["netmask"], "255.0.0.0");
    assert_eq!(facts["lo"].get("macaddress"), None);
}

#[test]
fn hardware() {
    let two_sockets: String = (0..8)
        .map(|n| {
            let socket = n / 4;
            format!(
                "processor\t: {n}\nvendor_id\t: GenuineIntel\nmodel name\t: Intel(R) Xeon(R)\nphysical id\t: {socket}\nsiblings\t: 4\n\
                 core id\t\t: {}\ncpu cores\t: 2\n\n",
                n % 2
            )
        })
        .collect();
    let text = format!(
        "==> /proc/cpuinfo <==\n{two_sockets}==> /proc/77/status <==\nName:\tsh\nCpus_allowed_list:\t0-5,7\n\
         ==> /proc/meminfo <==\nMemTotal:       24683740 kB\nMemFree:        15798952 kB\nBuffers:          102400 kB\n\
         Cached:          7000000 kB\nSwapCached:            0 kB\nSwapTotal:        204800 kB\nSwapFree:         102400 kB\n\
         ==> /proc/mounts <==\n/dev/vda / ext4 rw,relatime 0 0\nproc /proc proc rw 0 0\n/dev/vdb /mnt/with\\040blank xfs rw 0 0\n\
         nas:/data /data nfs4 rw,hard 0 0\n/dev/vdc /bound ext4 rw 0 0\n/dev/vda /bound ext4 rw 0 0\n\
         ==> /proc/77/mountinfo <==\n23 1 254:0 / / rw - ext4 /dev/vda rw\n40 23 254:0 /srv /bound rw - ext4 /dev/vda rw\n\
         ==> statfs <==\n4096 4096 1000 600 500 100 40 /\n\
         ==> exists <==\n/sys/block/vda\n/sys/block/loop0\n/sys/block/vda/holders/dm-0\n\
         ==> /sys/block/vda/size <==\n528424960\n==> /sys/block/vda/removable <==\n0\n==> /sys/block/vda/queue/rotational <==\n1\n\
         ==> /sys/block/vda/queue/scheduler <==\nnone [mq-deadline] kyber\n==> /sys/block/vda/queue/read_ahead_kb <==\n128\n\
         ==> /sys/block/vda/queue/logical_block_size <==\n512\n==> /sys/block/vda/vda1/partition <==\n1\n\
         ==> /sys/block/vda/vda1/start <==\n2048\n==> /sys/block/vda/vda1/size <==\n4096\n==> /sys/block/loop0/size <==\n0\n"
    );
    let facts = parse(&recorded(&text));
    let processors = [
        "processor_count",
        "processor_cores",
        "processor_threads_per_core",
        "processor_vcpus",
        "processor_nproc",
    ];
    assert_eq!(processors.map(|key| facts[key].as_u64().unwrap()), [2, 2, 2, 8, 7]);
    assert_eq!(facts["processor"].as_array().unwrap().len(), 24);
    assert_eq!(
        facts["memory_mb"],
        json!({"real": {"total": 24105, "used": 8677, "free": 15428}, "nocache": {"free": 22363, "used": 1742},
               "swap": {"total": 200, "free": 100, "used": 100, "cached": 0}})
    );
    let mounts = facts["mounts"].as_array().unwrap();
    let names: Vec<_> = mounts
        .iter()
        .map(|m| (m["mount"].as_str().unwrap(), m["options"].as_str().unwrap()))
        .collect();
    assert_eq!(
        names,
        [
            ("/", "rw,relatime"),
            ("/mnt/with blank", "rw"),
            ("/data", "rw,hard"),
            ("/bound", "rw,bind")
        ]
    );
    assert_eq!(
        (&mounts[0]["size_total"], &mounts[0]["size_available"]),
        (&json!(4_096_000), &json!(2_048_000))
    );
    assert_eq!(mounts[1].get("size_total"), None);
    let vda = &facts["devices"]["vda"];
    assert_eq!(
        keep(
            vda,
            &[
                "size",
                "scheduler_mode",
                "read_ahead_kb",
                "rotational",
                "holders",
                "model"
            ]
        ),
        json!({"size": "251.97 GB", "scheduler_mode": "mq-deadline", "read_ahead_kb": 128, "rotational": "1", "holders": ["dm-0"],
               "model": null})
    );
    assert_eq!(
        vda["partitions"],
        json!({"vda1": {"start": "2048", "sectors": 4096, "sectorsize": "512", "size": "2.00 MB"}})
    );
    assert_eq!(facts["devices"]["loop0"]["size"], "0.00 Bytes");
}

#[test]
fn system() {
    let facts = parse(&recorded(
        "==> id <==\nuid=1000(deploy) gid=1000(deploy) groups=1000(deploy),27(sudo)\n\
         ==> /etc/passwd <==\nroot:x:0:0:root:/root:/bin/bash\ndeploy:x:1000:1000:Deploy,,,:/home/deploy:/bin/sh\n\
         ==> /proc/77/environ <==\nHOME=/home/deploy\0A=line\nbreak=1\0\
         ==> /proc/sys/kernel/hostname <==\nmq-1\n==> fqdn <==\nmq-1.example.org\n==> machine <==\naarch64\n\
         ==> /proc/cmdline <==\nroot=/dev/vda quiet\n==> /proc/uptime <==\n3798.12 7000.00\n==> /proc/1/comm <==\ninit\n\
         ==> exists <==\n/run/systemd/system\n/usr/bin/dnf\n/usr/bin/apt-get\n/etc/ansible/facts.d/run.fact\n\
         ==> /etc/os-release <==\nID=debian\nVERSION_CODENAME=trixie\n\
         ==> /sys/class/dmi/id/sys_vendor <==\nQEMU\n\
         ==> date <==\n1795353254.964828123|CET|+0100|2026-11-22|14|14|14|Sunday|0|7|46|47|326\n\
         ==> /etc/resolv.conf <==\n# by hand\nnameserver 192.0.2.53\nnameserver 2001:db8::53\nsearch example.org example.net\n\
         options timeout:2 rotate\n==> /proc/loadavg <==\n0.50 1.25 2.00 1/200 4711\n==> /sys/class/dmi/id/product_uuid <==\n4c4c4544\n\
         ==> /etc/ssh/ssh_host_ed25519_key.pub <==\nssh-ed25519 AAAAC3Nz root@mq-1\n\
         ==> /etc/lsb-release <==\nDISTRIB_ID=Ubuntu\nDISTRIB_RELEASE=24.04\nDISTRIB_CODENAME=noble\n\
         DISTRIB_DESCRIPTION=\"Ubuntu 24.04.1 LTS\"\n\
         ==> /etc/ansible/facts.d/a.fact <==\n[general]\nRole = mq\n==> /etc/ansible/facts.d/b.fact <==\n{\"n\": [1]}\n",
    ));
    let keys = [
        "user_id",
        "user_uid",
        "user_gecos",
        "user_shell",
        "fqdn",
        "domain",
        "architecture",
        "service_mgr",
        "pkg_mgr",
    ];
    assert_eq!(
        keep(&facts, &keys),
        json!({"user_id": "deploy", "user_uid": 1000, "user_gecos": "Deploy,,,", "user_shell": "/bin/sh", "fqdn": "mq-1.example.org",
               "domain": "example.org", "architecture": "aarch64", "service_mgr": "systemd", "pkg_mgr": "apt"})
    );
    assert_eq!(facts["env"], json!({"HOME": "/home/deploy", "A": "line\nbreak=1"}));
    assert_eq!(facts["cmdline"], json!({"root": "/dev/vda", "quiet": true}));
    assert_eq!(facts["uptime_seconds"], 3798);
    assert_eq!(
        (&facts["virtualization_type"], &facts["virtualization_role"]),
        (&json!("kvm"), &json!("guest"))
    );
    let time = keep(
        &facts["date_time"],
        &["iso8601_micro", "iso8601_basic_short", "tz_offset", "weekday_number"],
    );
    assert_eq!(
        time,
        json!({"iso8601_micro": "2026-11-22T13:14:14.964828Z", "iso8601_basic_short": "20261122T141414", "tz_offset": "+0100",
               "weekday_number": "0"})
    );
    assert_eq!(facts["local"]["a"], json!({"general": {"role": "mq"}}));
    assert_eq!(facts["local"]["b"], json!({"n": [1]}));
    assert_eq!(
        facts["dns"],
        json!({"nameservers": ["192.0.2.53", "2001:db8::53"], "search": ["example.org", "example.net"],
               "options": {"timeout": "2", "rotate": true}})
    );
    assert_eq!(facts["loadavg"], json!({"1m": 0.5, "5m": 1.25, "15m": 2.0}));
    assert_eq!(facts["ssh_host_key_ed25519_public"], "AAAAC3Nz");
    assert_eq!(
        (&facts["product_uuid"], &facts["product_serial"]),
        (&json!("4c4c4544"), &json!("NA"))
    );
    assert_eq!(
        facts["lsb"],
        json!({"id": "Ubuntu", "release": "24.04", "codename": "noble", "description": "Ubuntu 24.04.1 LTS", "major_release": "24"})
    );
}

#[test]
fn virtualization_within_virtualization() {
    let keys = [
        "virtualization_type",
        "virtualization_role",
        "virtualization_tech_guest",
        "virtualization_tech_host",
    ];
    let told = |text: &str| {
        let facts = parse(&recorded(text));
        json!(keys.map(|key| facts[key].clone()))
    };
    // systemd-nspawn on a machine of QEMU, as root and as another user, who may not read the environment of process 1.
    let dmi = "==> /sys/class/dmi/id/sys_vendor <==\nQEMU\n==> /run/systemd/container <==\nsystemd-nspawn\n";
    assert_eq!(
        told(&format!("{dmi}==> /proc/1/environ <==\ncontainer=systemd-nspawn\0")),
        json!(["container", "guest", ["container", "kvm", "systemd-nspawn"], []])
    );
    assert_eq!(
        told(dmi),
        json!(["systemd-nspawn", "guest", ["container", "kvm", "systemd-nspawn"], []])
    );
    assert_eq!(
        told("==> exists <==\n/.dockerenv\n/dev/kvm\n"),
        json!(["docker", "guest", ["container", "docker"], ["kvm"]])
    );
    assert_eq!(told("==> exists <==\n/dev/kvm\n"), json!(["kvm", "host", [], ["kvm"]]));
}

/// What configparser of Python 3.11 makes of the same files.
#[test]
fn local_facts() {
    let facts = parse(&recorded(
        "==> /etc/ansible/facts.d/ini.fact <==\n[DEFAULT]\nd=5\n[a]\n; no\nX = 1\nm: l1\n  l2\n\n  l3\n\n[B c]\nd = own\nempty=\n\
         ==> /etc/ansible/facts.d/number.fact <==\n5\n==> /etc/ansible/facts.d/junk.fact <==\njunk\n\
         ==> /etc/ansible/facts.d/twice.fact <==\n[a]\nk=1\nK=2\n==> /etc/ansible/facts.d/nothing.fact <==\n\
         ==> /etc/ansible/facts.d/program.fact <==\n{\"p\": 1}\n\
         ==> /etc/ansible/facts.d/fails.fact <==\n{\"p\": 1}\n==> /etc/ansible/facts.d/fails.fact status <==\n3\n",
    ));
    let content = |name: &str| {
        json!(format!(
            "error loading facts as JSON or ini - please check content: /etc/ansible/facts.d/{name}.fact"
        ))
    };
    assert_eq!(
        facts["local"],
        json!({
            "ini": {"a": {"x": "1", "m": "l1\nl2\n\nl3", "d": "5"}, "B c": {"d": "own", "empty": ""}},
            "number": 5, "junk": content("junk"), "twice": content("twice"), "nothing": {}, "program": {"p": 1},
            "fails": "Failure executing fact script (/etc/ansible/facts.d/fails.fact), rc: 3",
        })
    );
}

/// A zone's file is read as it is; this one has only the rule at its end, as version 4 allows.
#[test]
fn the_name_of_the_zone_in_summer() {
    let header = |version: u8, types: u8, chars: u8| {
        let mut bytes = b"TZif".to_vec();
        bytes.push(version);
        bytes.extend([0; 15]);
        for count in [0, 0, 0, 0, types, chars] {
            bytes.extend([0, 0, 0, count]);
        }
        bytes
    };
    let local_type = [0, 0, 0x0e, 0x10, 0, 0];
    let mut file = [&header(b'2', 1, 4)[..], &local_type, b"CET\0"].concat();
    file = [
        &file[..],
        &header(b'2', 1, 4),
        &local_type,
        b"CET\0",
        b"\nCET-1CEST,M3.5.0,M10.5.0/3\n",
    ]
    .concat();
    let date = "==> date <==\n1795353254.964828123|CET|+0100|2026-11-22|14|14|14|Sunday|0|7|46|47|326\n";
    let mut parts = recorded(date);
    parts.0.insert("/etc/localtime".to_owned(), file);
    let time = |parts: &Parts| keep(&parse(parts)["date_time"], &["tz", "tz_dst"]);
    assert_eq!(time(&parts), json!({"tz": "CET", "tz_dst": "CEST"}));
    // `TZ` says another zone.
    parts.0.insert("/proc/77/environ".to_owned(), b"TZ=UTC\0".to_vec());
    assert_eq!(time(&parts), json!({"tz": "CET", "tz_dst": "CET"}));
}
