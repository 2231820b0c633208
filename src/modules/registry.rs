//! The list of modules: one line each.

use super::ModuleSpec;

/// In the order of `doc`'s list: tuning, files, packages and services, checks, control.
pub static REGISTRY: &[&ModuleSpec] = &[
    // tuning
    &super::sysctl::SPEC,
    &super::limits::SPEC,
    &super::io_scheduler::SPEC,
    &super::transparent_hugepage::SPEC,
    &super::sysfs::SPEC,
    &super::cpu_affinity::SPEC,
    &super::ionice::SPEC,
    &super::cpu_online::SPEC,
    &super::systemd_dropin::SPEC,
    // files
    &super::template::SPEC,
    &super::copy::SPEC,
    &super::file::SPEC,
    &super::lineinfile::SPEC,
    &super::stat::SPEC,
    &super::hostname::SPEC,
    &super::openssl_privatekey::SPEC,
    &super::openssl_csr::SPEC,
    &super::x509_certificate::SPEC,
    // packages and services
    &super::package::SPEC,
    &super::apt::SPEC,
    &super::deb822_repository::SPEC,
    &super::service::SPEC,
    &super::systemd::SPEC,
    // RabbitMQ
    &super::rabbitmq_cluster::SPEC,
    &super::rabbitmq_node::SPEC,
    &super::rabbitmq_upgrade::SPEC,
    &super::rabbitmq_upgrade_guard::SPEC,
    &super::erlang_cookie::SPEC,
    // objects of RabbitMQ
    &super::rabbitmq_user::SPEC,
    &super::rabbitmq_permissions::PERMISSIONS,
    &super::rabbitmq_permissions::TOPIC,
    &super::rabbitmq_limits::USER,
    &super::rabbitmq_vhost::VHOST,
    &super::rabbitmq_vhost::METADATA,
    &super::rabbitmq_limits::VHOST,
    &super::rabbitmq_policy::POLICY,
    &super::rabbitmq_policy::OPERATOR_POLICY,
    &super::rabbitmq_parameter::PARAMETER,
    &super::rabbitmq_parameter::GLOBAL,
    &super::rabbitmq_exchange::SPEC,
    &super::rabbitmq_queue::SPEC,
    &super::rabbitmq_binding::SPEC,
    &super::rabbitmq_publish::SPEC,
    &super::rabbitmq_definitions::SPEC,
    &super::rabbitmq_plugin::SPEC,
    &super::rabbitmq_feature_flag::SPEC,
    // commands and checks
    &super::check::SPEC,
    &super::command::COMMAND,
    &super::command::SHELL,
    &super::wait_for::SPEC,
    &super::setup::SPEC,
    &super::ping::SPEC,
    // RabbitMQ
    &super::rabbitmq_conf::SPEC,
    // control
    &super::control::DEBUG,
    &super::control::ASSERT,
    &super::control::FAIL,
    &super::control::SET_FACT,
    &super::control::META,
    &super::control::INCLUDE_TASKS,
    &super::control::IMPORT_TASKS,
];

/// Headings of `doc`'s list: each stands before the module it names and holds until the next.
pub static HEADINGS: &[(&str, &str)] = &[
    ("sysctl", "Tuning"),
    ("template", "Files"),
    ("package", "Packages and services"),
    ("rabbitmq_cluster", "RabbitMQ"),
    ("rabbitmq_user", "Objects of RabbitMQ"),
    ("check", "Commands and checks"),
    ("rabbitmq_conf", "RabbitMQ"),
    ("debug", "Control of the play"),
];

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
