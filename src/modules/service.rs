//! `service`: a service by the init system of the host, which must be systemd.

use super::systemd::{ENABLED, RETURNS, STATE, Service, State, ahead};
use super::{Action, ArgError, ArgKind, ArgSpec, Args, Kind, ModuleSpec, Prepare};

pub static SPEC: ModuleSpec = ModuleSpec {
    name: "service",
    aliases: &[],
    summary: "Start, stop and enable services",
    description: "Like `systemd_service`, with the arguments all init systems have in common.\n\n\
                  Unlike Ansible's: only hosts that run systemd are supported yet; the rest as for `systemd_service`.",
    args: &[
        ArgSpec::new("name", ArgKind::Str, "The service.").required(),
        STATE,
        ENABLED,
        ArgSpec::new(
            "sleep",
            ArgKind::Int,
            "Seconds between stop and start of a restart; systemd does not need it (a warning).",
        ),
        ArgSpec::new(
            "pattern",
            ArgKind::Str,
            "What to look for among processes; systemd does not need it (a warning).",
        ),
        ArgSpec::new(
            "runlevel",
            ArgKind::Str,
            "Runlevel of OpenRC; not for systemd (a warning).",
        ),
        ArgSpec::new(
            "arguments",
            ArgKind::Str,
            "Further arguments of init scripts; not for systemd (a warning).",
        )
        .aliases(&["args"]),
        ArgSpec::new(
            "use",
            ArgKind::Str,
            "The init system: `auto` or `systemd`; others are not supported yet.",
        )
        .default("auto"),
    ],
    free_form: None,
    open: false,
    returns: RETURNS,
    examples: "- name: the broker runs, now and after a boot
  service: {name: rabbitmq-server, state: started, enabled: true}
- name: restart the broker
  ansible.builtin.service:
    name: rabbitmq-server
    state: restarted
",
    local: false,
    kind: Kind::Host(prepare),
    ahead,
};

fn prepare(args: &Args, _: &dyn Prepare) -> Result<Box<dyn Action>, ArgError> {
    match args.str("use").unwrap_or("auto") {
        "auto" | "systemd" | "service" | "ansible.builtin.systemd" => {}
        other => {
            return Err(ArgError::new(
                "use",
                format!("not supported yet: services by `{other}`"),
            ));
        }
    }
    let unused = ["sleep", "pattern", "runlevel", "arguments"];
    let service = Service {
        name: Some(args.need("name")?.to_owned()),
        state: State::parse(args.str("state")),
        enabled: args.opt_bool("enabled"),
        warnings: unused
            .into_iter()
            .filter(|name| args.given(name))
            .map(|name| format!("`{name}` means nothing to systemd"))
            .collect(),
        ..Service::default()
    };
    Ok(Box::new(service.checked()?))
}
