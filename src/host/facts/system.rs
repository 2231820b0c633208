//! Distribution, kernel, user, time, managers, virtualisation, firmware, local facts.

use super::{Facts, Parts, assignments};
use serde_json::{Map, Value, json};

/// `ID` of os-release → Ansible's name of the distribution and of its family.
const DISTRIBUTIONS: &[(&str, &str, &str)] = &[
    ("debian", "Debian", "Debian"),
    ("ubuntu", "Ubuntu", "Debian"),
    ("raspbian", "Raspbian", "Debian"),
    ("linuxmint", "Linux Mint", "Debian"),
    ("kali", "Kali", "Debian"),
    ("devuan", "Devuan", "Debian"),
    ("pop", "Pop!_OS", "Debian"),
    ("rhel", "RedHat", "RedHat"),
    ("centos", "CentOS", "RedHat"),
    ("rocky", "Rocky", "RedHat"),
    ("almalinux", "AlmaLinux", "RedHat"),
    ("fedora", "Fedora", "RedHat"),
    ("ol", "OracleLinux", "RedHat"),
    ("amzn", "Amazon", "RedHat"),
    ("alpine", "Alpine", "Alpine"),
    ("sles", "SLES", "Suse"),
    ("opensuse-leap", "openSUSE Leap", "Suse"),
    ("opensuse-tumbleweed", "openSUSE Tumbleweed", "Suse"),
    ("arch", "Archlinux", "Archlinux"),
    ("gentoo", "Gentoo", "Gentoo"),
];

pub fn distribution(parts: &Parts, facts: &mut Facts) {
    let release = parts
        .some("/etc/os-release")
        .unwrap_or_else(|| parts.text("/usr/lib/os-release"));
    let release = assignments(release);
    let get = |key: &str| release.get(key).map(String::as_str).unwrap_or_default();
    let id = get("ID");
    let known = DISTRIBUTIONS.iter().find(|(known, _, _)| *known == id);
    let (name, family) = match known {
        Some((_, name, family)) => (*name, *family),
        None if get("NAME").is_empty() => return,
        None => (get("NAME"), get("NAME")),
    };
    // The names in brackets: `Debian GNU/Linux 12 (bookworm)`, `Rocky Linux release 9.4 (Blue Onyx)`.
    let bracketed = |text: &str| {
        text.split_once('(')
            .and_then(|(_, rest)| rest.split_once(')'))
            .map(|(name, _)| name.to_owned())
    };
    let red_hat = parts.text("/etc/redhat-release");
    let version_file = match id {
        "debian" => parts.text("/etc/debian_version"),
        "alpine" => parts.text("/etc/alpine-release"),
        _ => red_hat
            .split(' ')
            .find(|word| word.starts_with(|c: char| c.is_ascii_digit()))
            .unwrap_or_default(),
    };
    let version = match version_file.starts_with(|c: char| c.is_ascii_digit()) {
        true => version_file,
        false => get("VERSION_ID"),
    };
    // Of `7.9.2009` Ansible tells two numbers.
    let version = match version.match_indices('.').nth(1) {
        Some((second, _)) if id == "centos" => &version[..second],
        _ => version,
    };
    let codename = match (family, get("VERSION_CODENAME")) {
        ("RedHat", _) if red_hat.contains("Stream") => "Stream".to_owned(),
        ("RedHat", _) => bracketed(red_hat)
            .or_else(|| bracketed(get("VERSION")))
            .unwrap_or_else(|| "NA".to_owned()),
        (_, "") => bracketed(get("VERSION")).unwrap_or_else(|| "NA".to_owned()),
        (_, codename) => codename.to_owned(),
    };
    let numbers: Vec<&str> = version.split('.').collect();
    facts.insert("distribution".into(), json!(name));
    facts.insert("distribution_version".into(), json!(version));
    facts.insert("distribution_release".into(), json!(codename));
    facts.insert("distribution_major_version".into(), json!(numbers[0]));
    if let Some(minor) = numbers.get(1) {
        facts.insert("distribution_minor_version".into(), json!(minor));
    }
    facts.insert("os_family".into(), json!(family));
    let id = if id == "debian" { name } else { get("NAME") };
    facts.insert("lsb".into(), lsb(parts, id, get));
}

/// What `lsb_release` says, where it is, or /etc/lsb-release; else nothing. It says what these files say.
fn lsb<'a>(parts: &Parts, id: &str, get: impl Fn(&str) -> &'a str) -> Value {
    let own = assignments(parts.text("/etc/lsb-release"));
    let from = |key: &str| own.get(key).map_or("", String::as_str);
    let [id, description, release, codename] = match from("DISTRIB_ID") {
        "" if !parts.exists("/usr/bin/lsb_release") => return json!({}),
        "" => [id, get("PRETTY_NAME"), get("VERSION_ID"), get("VERSION_CODENAME")],
        id => [
            id,
            from("DISTRIB_DESCRIPTION"),
            from("DISTRIB_RELEASE"),
            from("DISTRIB_CODENAME"),
        ],
    };
    json!({
        "id": id, "description": description, "release": release, "codename": codename,
        "major_release": release.split('.').next(),
    })
}

pub fn kernel(parts: &Parts, facts: &mut Facts) {
    let machine = parts
        .some("/proc/sys/kernel/arch")
        .unwrap_or_else(|| parts.text("machine"));
    let architecture = match machine {
        "i386" | "i486" | "i586" | "i686" => "i386",
        other => other,
    };
    let nodename = parts.text("/proc/sys/kernel/hostname");
    let hostname = nodename.split('.').next().unwrap_or_default();
    let fqdn = fqdn(parts, nodename);
    let domain = fqdn.split_once('.').map_or("", |(_, domain)| domain);
    for (name, value) in [
        ("system", parts.text("/proc/sys/kernel/ostype")),
        ("kernel", parts.text("/proc/sys/kernel/osrelease")),
        ("kernel_version", parts.text("/proc/sys/kernel/version")),
        ("machine", machine),
        ("architecture", architecture),
        ("nodename", nodename),
        ("hostname", hostname),
        ("fqdn", fqdn),
        ("domain", domain),
        ("machine_id", parts.text("/etc/machine-id")),
    ] {
        facts.insert(name.into(), json!(value));
    }
    let words = shlex::split(parts.text("/proc/cmdline")).unwrap_or_default();
    let cmdline = words.iter().map(|word| match word.split_once('=') {
        Some((key, value)) => (key.to_owned(), json!(value)),
        None => (word.clone(), json!(true)),
    });
    facts.insert("cmdline".into(), Value::Object(cmdline.collect()));
    // The same, with all values of what is given more than once.
    let mut every = Map::new();
    for word in &words {
        let (key, value) = match word.split_once('=') {
            Some((key, value)) => (key, json!(value)),
            None => (word.as_str(), json!(true)),
        };
        match every.get_mut(key) {
            Some(Value::Array(values)) => values.push(value),
            Some(first) => *first = json!([first.take(), value]),
            None => {
                every.insert(key.to_owned(), value);
            }
        }
    }
    facts.insert("proc_cmdline".into(), Value::Object(every));
    let mut averages = parts
        .text("/proc/loadavg")
        .split(' ')
        .map_while(|word| word.parse::<f64>().ok());
    if let (Some(one), Some(five), Some(fifteen)) = (averages.next(), averages.next(), averages.next()) {
        facts.insert("loadavg".into(), json!({"1m": one, "5m": five, "15m": fifteen}));
    }
    if let Some(uptime) = parts
        .text("/proc/uptime")
        .split('.')
        .next()
        .and_then(|s| s.parse::<u64>().ok())
    {
        facts.insert("uptime_seconds".into(), json!(uptime));
    }
}

/// As Python's `getfqdn`: a full name if there is one, else the first name of the address that the host's name has.
fn fqdn<'a>(parts: &'a Parts, nodename: &'a str) -> &'a str {
    let resolved = parts.some("fqdn").unwrap_or(nodename);
    if resolved.contains('.') {
        return resolved;
    }
    let lines = || {
        let lines = parts
            .text("/etc/hosts")
            .lines()
            .map(|line| line.split('#').next().unwrap_or_default());
        lines.map(|line| line.split_whitespace().collect::<Vec<_>>())
    };
    let address = lines()
        .find(|words| words.iter().skip(1).any(|name| *name == nodename))
        .map(|words| words[0]);
    let named = address.and_then(|address| lines().find(|words| words.first() == Some(&address)));
    let named = named.unwrap_or_default();
    let full = named.iter().skip(1).find(|name| name.contains('.'));
    full.or(named.get(1)).copied().unwrap_or(resolved)
}

pub fn user(parts: &Parts, facts: &mut Facts) {
    // uid=0(root) gid=0(root) groups=...
    let mut ids = parts.text("id").split(' ').filter_map(|word| {
        let (number, rest) = word.split_once('=')?.1.split_once('(')?;
        Some((number.parse::<u32>().ok()?, rest.trim_end_matches(')')))
    });
    if let (Some((uid, name)), Some((gid, _))) = (ids.next(), ids.next()) {
        facts.insert("user_id".into(), json!(name));
        facts.insert("user_uid".into(), json!(uid));
        facts.insert("user_gid".into(), json!(gid));
        // `sudo` and `su` change both.
        for kind in ["real", "effective"] {
            facts.insert(format!("{kind}_user_id"), json!(uid));
            facts.insert(format!("{kind}_group_id"), json!(gid));
        }
        let line = parts
            .text("/etc/passwd")
            .lines()
            .find(|line| line.split(':').next() == Some(name));
        let fields: Vec<&str> = line.unwrap_or_default().split(':').collect();
        if let [_, _, _, _, gecos, dir, shell] = fields[..] {
            facts.insert("user_gecos".into(), json!(gecos));
            facts.insert("user_dir".into(), json!(dir));
            facts.insert("user_shell".into(), json!(shell));
        }
    }
    let env: Map<String, Value> = parts
        .own("environ")
        .split(|&b| b == 0)
        .map(String::from_utf8_lossy)
        .filter_map(|pair| pair.split_once('=').map(|(key, value)| (key.to_owned(), json!(value))))
        .collect();
    for (fact, key) in [("user_dir", "HOME"), ("user_shell", "SHELL")] {
        if let Some(value) = env.get(key)
            && !facts.contains_key(fact)
        {
            facts.insert(fact.into(), value.clone());
        }
    }
    facts.insert("env".into(), Value::Object(env));
}

pub fn date_time(parts: &Parts, facts: &mut Facts) {
    let fields: Vec<&str> = parts.text("date").split('|').collect();
    let [
        moment,
        zone,
        offset,
        date,
        hour,
        minute,
        second,
        weekday,
        number,
        _,
        week,
        _,
        _,
    ] = fields[..]
    else {
        return;
    };
    let (epoch, fraction) = moment.split_once('.').unwrap_or((moment, ""));
    let micros = fraction
        .get(..6)
        .filter(|f| f.bytes().all(|b| b.is_ascii_digit()))
        .unwrap_or("000000");
    let Some(utc) = epoch
        .parse()
        .ok()
        .and_then(|seconds| jiff::Timestamp::from_second(seconds).ok())
    else {
        return;
    };
    let utc = utc.strftime("%Y-%m-%dT%H:%M:%S").to_string();
    let ymd: Vec<&str> = date.split('-').collect();
    let [year, month, day] = ymd[..] else { return };
    // `TZ` wins over the file.
    let elsewhere = facts.get("env").is_some_and(|env| env.get("TZ").is_some());
    let rules = parts.0.get("/etc/localtime").filter(|_| !elsewhere);
    let summer = rules.and_then(|rules| summer_name(rules, year.parse().ok()?));
    let basic = format!("{year}{month}{day}T{hour}{minute}{second}");
    let value = json!({
        "date": date, "day": day, "month": month, "year": year, "hour": hour, "minute": minute, "second": second,
        "time": format!("{hour}:{minute}:{second}"), "epoch": epoch, "epoch_int": epoch,
        "iso8601": format!("{utc}Z"), "iso8601_micro": format!("{utc}.{micros}Z"),
        "iso8601_basic": format!("{basic}{micros}"), "iso8601_basic_short": basic,
        "tz": zone, "tz_dst": summer.as_deref().unwrap_or(zone), "tz_offset": offset,
        "weekday": weekday, "weekday_number": number, "weeknumber": week,
    });
    facts.insert("date_time".into(), value);
}

/// The zone's name in summer, as Python's `tzname[1]`: of January's and July's the one further ahead.
fn summer_name(rules: &[u8], year: i16) -> Option<String> {
    let zone = jiff::tz::TimeZone::tzif("local", rules).ok()?;
    let at = |month| {
        let date = jiff::civil::Date::new(year, month, 1).ok()?;
        let moment = date.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp();
        let info = zone.to_offset_info(moment);
        Some((info.offset(), info.abbreviation().to_owned()))
    };
    let (january, july) = (at(1)?, at(7)?);
    Some(if january.0 > july.0 { january.1 } else { july.1 })
}

/// Path → package manager, in the order they are looked for within a family.
const PACKAGE_MANAGERS: &[(&str, &str, &str)] = &[
    ("Debian", "/usr/bin/apt-get", "apt"),
    ("RedHat", "/usr/bin/dnf-3", "dnf"),
    ("RedHat", "/usr/bin/dnf5", "dnf5"),
    ("RedHat", "/usr/bin/dnf", "dnf"),
    ("RedHat", "/usr/bin/yum", "yum"),
    ("Suse", "/usr/bin/zypper", "zypper"),
    ("Alpine", "/sbin/apk", "apk"),
    ("Alpine", "/usr/bin/apk", "apk"),
    ("Archlinux", "/usr/bin/pacman", "pacman"),
    ("Gentoo", "/usr/bin/emerge", "portage"),
];

pub fn managers(parts: &Parts, facts: &mut Facts) {
    let family = facts.get("os_family").and_then(Value::as_str).unwrap_or_default();
    let own = PACKAGE_MANAGERS
        .iter()
        .find(|(of, path, _)| *of == family && parts.exists(path));
    let any = || PACKAGE_MANAGERS.iter().find(|(_, path, _)| parts.exists(path));
    let packages = own.or_else(any).map_or("unknown", |(_, _, name)| *name);

    let first = parts.text("/proc/1/comm");
    let first = first.rsplit('/').next().unwrap_or_default();
    let services = match first {
        "procd" => "openwrt_init",
        "runit-init" => "runit",
        "svscan" => "svc",
        "openrc-init" => "openrc",
        // Says nothing: a shell in a container, or some init.
        name if name.is_empty() || name == "init" || name.ends_with("sh") => by_traces(parts),
        name => name,
    };
    let services = services.to_owned();
    facts.insert("pkg_mgr".into(), json!(packages));
    facts.insert("service_mgr".into(), json!(services));

    let selinux = match parts.some("/sys/fs/selinux/enforce") {
        None => json!({"status": "disabled"}),
        Some(enforce) => {
            let config = assignments(parts.text("/etc/selinux/config"));
            json!({
                "status": "enabled",
                "mode": if enforce == "1" { "enforcing" } else { "permissive" },
                "config_mode": config.get("SELINUX"),
                "type": config.get("SELINUXTYPE"),
                "policyvers": parts.text("/sys/fs/selinux/policyvers").parse::<u32>().ok(),
            })
        }
    };
    facts.insert("selinux".into(), selinux);
}

fn by_traces(parts: &Parts) -> &'static str {
    let any = |paths: &[&str]| paths.iter().any(|path| parts.exists(path));
    if any(&["/run/systemd/system", "/dev/.run/systemd", "/dev/.systemd"]) {
        "systemd"
    } else if any(&["/sbin/upstart"]) {
        "upstart"
    } else if any(&["/sbin/openrc"]) {
        "openrc"
    } else if any(&["/etc/init.d"]) {
        "sysvinit"
    } else {
        "service"
    }
}

/// A guest by what its firmware says, a host by the modules it has loaded.
pub fn virtualization(parts: &Parts, facts: &mut Facts) {
    let dmi = |name: &str| parts.text(&format!("/sys/class/dmi/id/{name}"));
    let (product, vendor, bios) = (dmi("product_name"), dmi("sys_vendor"), dmi("bios_vendor"));
    let init = parts.0.get("/proc/1/environ").map_or(&[][..], Vec::as_slice);
    let container = init
        .split(|&b| b == 0)
        .find_map(|pair| pair.strip_prefix(b"container="));
    let cgroup = parts.text("/proc/1/cgroup");
    let container = container.map(String::from_utf8_lossy).unwrap_or_default();
    let named = parts.text("/run/systemd/container");
    // In the order in which one names the type; all of them are told.
    let kinds = [
        (
            "docker",
            parts.exists("/.dockerenv") || parts.exists("/.dockerinit") || cgroup.contains("/docker"),
        ),
        ("podman", parts.exists("/run/.containerenv") || container == "podman"),
        ("lxc", container == "lxc" || cgroup.contains("/lxc/")),
        ("openvz", parts.exists("/proc/vz") && !parts.exists("/proc/bc")),
        ("container", !container.is_empty()),
        (named, !named.is_empty()),
        ("xen", parts.exists("/proc/xen") || bios == "Xen"),
        (
            "kvm",
            ["KVM", "KVM Server", "Bochs", "AHV"].contains(&product)
                || ["QEMU", "Amazon EC2", "DigitalOcean", "Hetzner", "Google"].contains(&vendor)
                || bios == "Amazon EC2",
        ),
        ("VMware", product.starts_with("VMware") || vendor.starts_with("VMware")),
        ("openstack", ["OpenStack Compute", "OpenStack Nova"].contains(&product)),
        ("virtualbox", bios == "innotek GmbH" || product == "VirtualBox"),
        (
            "VirtualPC",
            vendor == "Microsoft Corporation" && product == "Virtual Machine",
        ),
        ("parallels", vendor.starts_with("Parallels")),
    ];
    let mut guest: Vec<&str> = kinds.iter().filter(|(_, is)| *is).map(|(kind, _)| *kind).collect();
    let kind = guest.first().copied();
    let contained = ["docker", "podman", "lxc", "openvz", named];
    if guest.iter().any(|kind| contained.contains(kind)) {
        guest.push("container");
    }
    guest.sort_unstable();
    guest.dedup();
    let module = |name: &str| {
        parts
            .text("/proc/modules")
            .lines()
            .any(|line| line.split(' ').next() == Some(name))
    };
    let hosts = [
        ("kvm", module("kvm") || parts.exists("/dev/kvm")),
        ("virtualbox", module("vboxdrv")),
    ];
    let host: Vec<&str> = hosts.iter().filter(|(_, is)| *is).map(|(kind, _)| *kind).collect();
    let (kind, role) = match (kind, host.first()) {
        (Some(kind), _) => (kind, "guest"),
        (None, Some(kind)) => (*kind, "host"),
        (None, None) => ("NA", "NA"),
    };
    facts.insert("virtualization_tech_guest".into(), json!(guest));
    facts.insert("virtualization_tech_host".into(), json!(host));
    facts.insert("virtualization_type".into(), json!(kind));
    facts.insert("virtualization_role".into(), json!(role));
}

pub fn firmware(parts: &Parts, facts: &mut Facts) {
    for (fact, file) in [
        ("bios_date", "bios_date"),
        ("bios_vendor", "bios_vendor"),
        ("bios_version", "bios_version"),
        ("board_asset_tag", "board_asset_tag"),
        ("board_name", "board_name"),
        ("board_serial", "board_serial"),
        ("board_vendor", "board_vendor"),
        ("board_version", "board_version"),
        ("chassis_asset_tag", "chassis_asset_tag"),
        ("chassis_serial", "chassis_serial"),
        ("chassis_vendor", "chassis_vendor"),
        ("chassis_version", "chassis_version"),
        ("product_name", "product_name"),
        ("product_serial", "product_serial"),
        ("product_uuid", "product_uuid"),
        ("product_version", "product_version"),
        ("system_vendor", "sys_vendor"),
    ] {
        let value = parts.some(&format!("/sys/class/dmi/id/{file}")).unwrap_or("NA");
        facts.insert(fact.into(), json!(value));
    }
}

/// What guards the host, and what it shows of itself to others.
pub fn security(parts: &Parts, facts: &mut Facts) {
    let apparmor = match parts.exists("/sys/kernel/security/apparmor") {
        true => "enabled",
        false => "disabled",
    };
    facts.insert("apparmor".into(), json!({ "status": apparmor }));
    facts.insert("fips".into(), json!(parts.text("/proc/sys/crypto/fips_enabled") == "1"));
    for kind in ["dsa", "rsa", "ecdsa", "ed25519"] {
        let mut words = parts
            .text(&format!("/etc/ssh/ssh_host_{kind}_key.pub"))
            .split_whitespace();
        if let (Some(format), Some(key)) = (words.next(), words.next()) {
            facts.insert(format!("ssh_host_key_{kind}_public"), json!(key));
            facts.insert(format!("ssh_host_key_{kind}_public_keytype"), json!(format));
        }
    }
}
