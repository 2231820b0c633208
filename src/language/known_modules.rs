//! Ansible's modules by name, so that one we do not have is told from one that does not exist.

/// `ansible.builtin` of ansible-core 2.19, with the names it redirects.
#[rustfmt::skip]
const BUILTIN: &[&str] = &[
    "add_host", "apt", "apt_key", "apt_repository", "assemble", "assert", "async_status", "blockinfile", "command", "copy",
    "cron", "deb822_repository", "debconf", "debug", "dnf", "dnf5", "dpkg_selections", "expect", "fail", "fetch", "file",
    "find", "gather_facts", "get_url", "getent", "git", "group", "group_by", "hostname", "import_playbook",
    "import_role", "import_tasks", "include", "include_role", "include_tasks", "include_vars", "iptables", "known_hosts", "lineinfile",
    "meta", "mount_facts", "package", "package_facts", "pause", "ping", "pip", "raw", "reboot", "replace", "rpm_key",
    "script", "service", "service_facts", "set_fact", "set_stats", "setup", "shell", "slurp", "stat", "subversion",
    "systemd", "systemd_service", "sysvinit", "tempfile", "template", "unarchive", "uri", "user",
    "validate_argument_spec", "wait_for", "wait_for_connection", "yum", "yum_repository",
];

#[rustfmt::skip]
const POSIX: &[&str] = &[
    "acl", "at", "authorized_key", "firewalld", "firewalld_info", "mount", "patch", "rhel_facts", "rhel_rpm_ostree",
    "rpm_ostree_upgrade", "seboolean", "selinux", "synchronize", "sysctl",
];

#[rustfmt::skip]
const RABBITMQ: &[&str] = &[
    "rabbitmq_binding", "rabbitmq_exchange", "rabbitmq_feature_flag", "rabbitmq_global_parameter", "rabbitmq_parameter",
    "rabbitmq_plugin", "rabbitmq_policy", "rabbitmq_publish", "rabbitmq_queue", "rabbitmq_upgrade", "rabbitmq_user",
    "rabbitmq_user_limits", "rabbitmq_vhost", "rabbitmq_vhost_limits",
];

/// The ones of `community.general` that provisioning of servers meets, by their short names.
#[rustfmt::skip]
const GENERAL: &[&str] = &[
    "alternatives", "apk", "archive", "capabilities", "composer", "cpanm", "cronvar", "cargo", "dconf", "filesystem",
    "filesize", "gem", "git_config", "github_release", "gitlab_runner", "grub2_config", "haproxy", "homebrew",
    "htpasswd", "ini_file", "interfaces_file", "iptables_state", "iso_extract", "java_cert", "java_keystore",
    "jenkins_job", "kernel_blacklist", "ldap_entry", "listen_ports_facts", "locale_gen", "lvg", "lvol", "mail", "make",
    "mattermost", "modprobe", "monit", "nagios", "nmcli", "npm", "opkg", "pacman", "pam_limits", "pamd", "parted",
    "pids", "pipx", "portage", "read_csv", "redhat_subscription", "redis", "runit", "sefcontext", "selinux_permissive",
    "seport", "slack", "snap", "ssh_config", "sudoers", "supervisorctl", "svc", "sysrc", "systemd_creds_encrypt",
    "systemd_info", "telegram", "terraform", "timezone", "ufw", "xattr", "xfs_quota", "xml", "yarn", "zfs", "zypper",
    "zypper_repository",
];

/// Collections whose modules are all known, by name.
const LISTED: &[(&str, &[&str])] = &[
    ("ansible.builtin", BUILTIN),
    ("ansible.legacy", BUILTIN),
    ("ansible.posix", POSIX),
    ("community.rabbitmq", RABBITMQ),
];

/// Whether Ansible or some collection has this module. Of a collection that is not listed here all names are
/// taken to be modules.
pub fn exists(name: &str) -> bool {
    let Some((collection, module)) = name.rsplit_once('.') else {
        return [BUILTIN, POSIX, RABBITMQ, GENERAL]
            .iter()
            .any(|list| list.contains(&name));
    };
    match LISTED.iter().find(|(listed, _)| *listed == collection) {
        Some((_, modules)) => modules.contains(&module),
        None => name.split('.').count() == 3 && name.split('.').all(|part| !part.is_empty()),
    }
}
