//! The list of modules: one line each.

use super::ModuleSpec;
use super::{command, copy, file, lineinfile, ping, service, stat, systemd, template};

/// In the order of `doc`'s list: tuning, files, packages and services, checks, control.
pub static REGISTRY: &[&ModuleSpec] = &[&template::SPEC, &copy::SPEC, &file::SPEC, &lineinfile::SPEC, &stat::SPEC, &service::SPEC, &systemd::SPEC, &command::COMMAND, &command::SHELL, &ping::SPEC];

/// A module by name, alias or FQCN.
pub fn find(name: &str) -> Option<&'static ModuleSpec> {
    let short = name
        .strip_prefix("ansible.builtin.")
        .or_else(|| name.strip_prefix("ansible.legacy."))
        .unwrap_or(name);
    REGISTRY
        .iter()
        .find(|m| m.name == short || m.aliases.contains(&short) || m.aliases.contains(&name))
        .copied()
}
