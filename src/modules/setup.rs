//! `setup`: the facts of a host.

use super::{
    Action, ArgError, ArgKind, ArgSpec, Args, Decision, Failure, Kind, ModuleSpec, Prepare, Report, Seen, Stop,
};
use crate::host::{Observation, Probe};
use globset::{Glob, GlobSet, GlobSetBuilder};
use serde_json::{Map, Value};

pub static SPEC: ModuleSpec = ModuleSpec {
    name: "setup",
    aliases: &[],
    summary: "Gather facts",
    description: "Gathers what is known of a host (`ansible_facts.distribution`, also as `ansible_distribution`), as \
                  `gather_facts` does. Files `NAME.fact` in `/etc/ansible/facts.d` are `ansible_local.NAME`: JSON or INI, or programs \
                  that print such and end within 10 s.\n\n\
                  Unlike Ansible's: all facts come in one look, so `gather_subset` is checked and takes nothing away, and \
                  `gather_timeout` is that of a look. What needs Python or further commands on the host is not there: \
                  `python`, `systemd`, `lvm`, `system_capabilities`, identifiers of file systems. Not supported yet: `fact_path`.",
    args: &[
        ArgSpec::new("gather_subset", ArgKind::List, "Groups of facts.").default("all"),
        ArgSpec::new(
            "filter",
            ArgKind::List,
            "Only facts whose name matches one of these shell patterns.",
        ),
        ArgSpec::new(
            "gather_timeout",
            ArgKind::Int,
            "Accepted for Ansible's sake, in seconds.",
        )
        .default("10"),
        ArgSpec::new("fact_path", ArgKind::Path, "Directory of facts of one's own.").default(FACT_PATH),
    ],
    free_form: None,
    open: false,
    returns: &[("ansible_facts", "the facts, each with `ansible_` before its name")],
    examples: "- name: facts again, after the disk was added
  setup:
- name: only memory
  ansible.builtin.setup:
    gather_subset: [\"!all\", hardware]
    filter: [ansible_mem*]
",
    local: true,
    kind: Kind::Host(prepare),
    ahead: |_| vec![Probe::Facts],
};

const FACT_PATH: &str = "/etc/ansible/facts.d";

/// Ansible's groups and collectors.
const SUBSETS: &str = "all all_ipv4_addresses all_ipv6_addresses apparmor architecture caps chroot cmdline date_time default_ipv4 \
    default_ipv6 devices distribution distribution_major_version distribution_release distribution_version dns \
    effective_group_ids effective_user_id env facter fibre_channel_wwn fips hardware interfaces is_chroot iscsi \
    kernel kernel_version loadavg local lsb machine machine_id min mounts network nvme ohai os_family pkg_mgr \
    platform processor processor_cores processor_count python python_version real_user_id selinux service_mgr \
    ssh_host_key_dsa_public ssh_host_key_ecdsa_public ssh_host_key_ed25519_public ssh_host_key_rsa_public \
    ssh_host_pub_keys ssh_pub_keys system system_capabilities system_capabilities_enforced systemd user user_dir \
    user_gecos user_gid user_id user_shell user_uid virtual virtualization_role virtualization_tech_guest \
    virtualization_tech_host virtualization_type";

struct Setup {
    /// `None`: everything.
    filter: Option<GlobSet>,
}

/// Checks `gather_subset`.
pub fn subsets(args: &Args) -> Result<(), ArgError> {
    for subset in args.list("gather_subset") {
        let name = subset.trim_start_matches('!');
        if !SUBSETS.split_whitespace().any(|s| s == name) {
            return Err(
                ArgError::new("gather_subset", format!("there is no group of facts `{name}`"))
                    .help("`all`, `min`, `hardware`, `network`, `virtual`, or the name of a collector"),
            );
        }
        if matches!(name, "facter" | "ohai") && !subset.starts_with('!') {
            return Err(ArgError::new(
                "gather_subset",
                format!("not supported yet: facts of `{name}`"),
            ));
        }
    }
    Ok(())
}

fn prepare(args: &Args, _: &dyn Prepare) -> Result<Box<dyn Action>, ArgError> {
    subsets(args)?;
    if args.str("fact_path").is_some_and(|p| p != FACT_PATH) {
        return Err(ArgError::new(
            "fact_path",
            format!("not supported yet: a `fact_path` other than `{FACT_PATH}`"),
        ));
    }
    let patterns: Vec<String> = args.list("filter").into_iter().filter(|f| !f.is_empty()).collect();
    let mut set = GlobSetBuilder::new();
    for pattern in &patterns {
        let wrong = |e: globset::Error| ArgError::new("filter", format!("`{pattern}` is no pattern: {e}"));
        // Braces mean nothing in a shell pattern of Python's.
        let literal = |c: char| match c {
            '{' | '}' => format!("[{c}]"),
            _ => c.to_string(),
        };
        let plain: String = pattern.chars().map(literal).collect();
        set.add(Glob::new(&plain).map_err(wrong)?);
    }
    let filter = if patterns.is_empty() { None } else { set.build().ok() };
    Ok(Box::new(Setup { filter }))
}

impl Action for Setup {
    fn probes(&self) -> Vec<Probe> {
        vec![Probe::Facts]
    }

    fn decide(&self, seen: &Seen<'_>) -> Result<Decision, Stop> {
        let told = seen.get(&Probe::Facts)?;
        let facts = match &told {
            Observation::Facts(facts) => facts.as_object(),
            _ => None,
        };
        let Some(facts) = facts else {
            return Err(Stop::Fail(Failure::new("the host told no facts")));
        };
        // Ansible's own name goes with the long form in results and filters, with the short one in `ansible_facts`.
        let long = |name: &str| format!("ansible_{}", name.strip_prefix("ansible_").unwrap_or(name));
        let wanted = |name: &str| match &self.filter {
            None => true,
            Some(set) => {
                let long = long(name);
                set.is_match(&long) || set.is_match(long.trim_start_matches("ansible_"))
            }
        };
        let kept: Map<String, Value> = facts
            .iter()
            .filter(|(name, _)| wanted(name))
            .map(|(name, value)| (long(name), value.clone()))
            .collect();
        let mut report = Report::new().with("ansible_facts", kept.clone());
        report.facts = kept;
        Ok(Decision::Keep(report))
    }
}
