//! `rabbitmq_user_limits` and `rabbitmq_vhost_limits`.

use super::rabbitmq::{Objects, STATE, args, need_user, need_vhost};
use super::{Action, ArgError, ArgKind, ArgSpec, Args, Kind as ModuleKind, ModuleSpec, Prepare, Report, no_guess};
use crate::rabbitmq::definitions::{Kind, Properties};
use serde_json::{Value, json};

const DIFFERS: &str = "As with community.rabbitmq, -1 is no limit, and a limit that is not given is taken away.";

const CONNECTIONS: ArgSpec =
    ArgSpec::new("max_connections", ArgKind::Int, "Most connections; -1: any number.").default("-1");

pub static USER: ModuleSpec = ModuleSpec {
    name: "rabbitmq_user_limits",
    aliases: &["community.rabbitmq.rabbitmq_user_limits"],
    summary: "Limits of a user: connections, channels",
    description: DIFFERS,
    args: args![
        ArgSpec::new("user", ArgKind::Str, "Name.")
            .required()
            .aliases(&["username", "name"]),
        CONNECTIONS,
        ArgSpec::new("max_channels", ArgKind::Int, "Most channels; -1: any number.").default("-1"),
        STATE,
    ],
    free_form: None,
    open: false,
    returns: &[("user", "The user"), ("state", "`present` or `absent`")],
    examples: "- rabbitmq_user_limits: {user: app, max_connections: 100, max_channels: 1000}\n",
    local: false,
    kind: ModuleKind::Host(prepare_user),
    ahead: no_guess,
};

pub static VHOST: ModuleSpec = ModuleSpec {
    name: "rabbitmq_vhost_limits",
    aliases: &["community.rabbitmq.rabbitmq_vhost_limits"],
    summary: "Limits of a virtual host: connections, queues",
    description: DIFFERS,
    args: args![
        super::rabbitmq::VHOST,
        CONNECTIONS,
        ArgSpec::new("max_queues", ArgKind::Int, "Most queues; -1: any number.").default("-1"),
        STATE,
    ],
    free_form: None,
    open: false,
    returns: &[("vhost", "The virtual host"), ("state", "`present` or `absent`")],
    examples: "- rabbitmq_vhost_limits: {vhost: shop, max_queues: 500}\n",
    local: false,
    kind: ModuleKind::Host(prepare_vhost),
    ahead: no_guess,
};

fn limits(args: &Args, names: [&str; 2]) -> Properties {
    let given = names
        .into_iter()
        .filter_map(|name| Some((name.replace('_', "-"), args.int(name)?)));
    let set = given.filter(|(_, limit)| *limit >= 0 && args.str("state") != Some("absent"));
    set.map(|(name, limit)| (name, json!(limit))).collect()
}

fn prepare_user(args: &Args, context: &dyn Prepare) -> Result<Box<dyn Action>, ArgError> {
    let user = args.need("user")?.to_owned();
    let report = Report::new()
        .with("user", user.as_str())
        .with("state", args.need("state")?);
    let wanted = Value::Object(limits(args, ["max_connections", "max_channels"]));
    Objects::action(
        args,
        context,
        Box::new(move |all, _| {
            let none = wanted == json!({});
            // A user who does not exist has no limits.
            if !none || all.has(Kind::User, &[&user]) {
                need_user(all, &user)?;
                all.set(
                    Kind::User,
                    &[&user],
                    Properties::from_iter([("limits".to_owned(), wanted.clone())]),
                );
            }
            Ok(report.clone())
        }),
    )
}

fn prepare_vhost(args: &Args, context: &dyn Prepare) -> Result<Box<dyn Action>, ArgError> {
    let vhost = args.need("vhost")?.to_owned();
    let report = Report::new()
        .with("vhost", vhost.as_str())
        .with("state", args.need("state")?);
    let wanted = limits(args, ["max_connections", "max_queues"]);
    Objects::action(
        args,
        context,
        Box::new(move |all, _| {
            let now = all.get(Kind::VhostLimits, &[&vhost]);
            if !wanted.is_empty() {
                need_vhost(all, &vhost)?;
                all.put(Kind::VhostLimits, vec![vhost.clone()], wanted.clone());
            } else if now.is_some_and(|limits| !limits.is_empty()) {
                all.remove(Kind::VhostLimits, &[&vhost]);
            }
            Ok(report.clone())
        }),
    )
}
