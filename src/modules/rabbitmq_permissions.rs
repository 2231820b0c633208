//! `rabbitmq_permissions` and `rabbitmq_topic_permissions`: what one user may do in one virtual host.

use super::rabbitmq::{Objects, STATE, VHOST, args, need_user, need_vhost};
use super::{Action, ArgError, ArgKind, ArgSpec, Args, Kind as ModuleKind, ModuleSpec, Prepare, Report, no_guess};
use crate::rabbitmq::definitions::{Kind, Properties};
use serde_json::json;

const USER: ArgSpec = ArgSpec::new("user", ArgKind::Str, "Name of the user.")
    .required()
    .aliases(&["username", "name"]);
const WRITE: ArgSpec = ArgSpec::new("write_priv", ArgKind::Str, "Pattern of what it may publish to.").default("^$");
const READ: ArgSpec = ArgSpec::new("read_priv", ArgKind::Str, "Pattern of what it may consume from.").default("^$");

pub static PERMISSIONS: ModuleSpec = ModuleSpec {
    name: "rabbitmq_permissions",
    aliases: &[],
    summary: "Permissions of one user in one virtual host",
    description: "Others are left alone, unlike with `permissions` of `rabbitmq_user`. Ansible has no such module.",
    args: args![
        USER,
        VHOST,
        ArgSpec::new("configure_priv", ArgKind::Str, "Pattern of what it may declare.").default("^$"),
        WRITE,
        READ,
        STATE,
    ],
    free_form: None,
    open: false,
    returns: &[
        ("user", "The user"),
        ("vhost", "The virtual host"),
        ("state", "`present` or `absent`"),
    ],
    examples: "\
- rabbitmq_permissions: {user: app, vhost: shop, configure_priv: '^app', write_priv: '.*', read_priv: '.*'}
",
    local: false,
    kind: ModuleKind::Host(prepare_permissions),
    ahead: no_guess,
};

pub static TOPIC: ModuleSpec = ModuleSpec {
    name: "rabbitmq_topic_permissions",
    aliases: &[],
    summary: "Permissions of one user on one topic exchange",
    description: "Others are left alone, unlike with `topic_permissions` of `rabbitmq_user`. Ansible has no such module.",
    args: args![
        USER,
        VHOST,
        ArgSpec::new("exchange", ArgKind::Str, "Name of the exchange.").required(),
        WRITE,
        READ,
        STATE,
    ],
    free_form: None,
    open: false,
    returns: &[
        ("user", "The user"),
        ("vhost", "The virtual host"),
        ("exchange", "The exchange"),
        ("state", "`present` or `absent`"),
    ],
    examples: "\
- rabbitmq_topic_permissions: {user: app, vhost: shop, exchange: amq.topic, write_priv: '^orders', read_priv: '.*'}
",
    local: false,
    kind: ModuleKind::Host(prepare_topic),
    ahead: no_guess,
};

fn prepare_permissions(args: &Args, context: &dyn Prepare) -> Result<Box<dyn Action>, ArgError> {
    prepare(args, context, Kind::Permission)
}

fn prepare_topic(args: &Args, context: &dyn Prepare) -> Result<Box<dyn Action>, ArgError> {
    prepare(args, context, Kind::TopicPermission)
}

fn prepare(args: &Args, context: &dyn Prepare, kind: Kind) -> Result<Box<dyn Action>, ArgError> {
    let key = kind
        .keys()
        .iter()
        .map(|name| args.need(name).map(str::to_owned))
        .collect::<Result<Vec<String>, _>>()?;
    let absent = args.str("state") == Some("absent");
    let mut report = Report::new().with("state", args.need("state")?);
    for (name, part) in kind.keys().iter().zip(&key) {
        report = report.with(name, part.as_str());
    }
    let patterns = [
        ("configure", "configure_priv"),
        ("write", "write_priv"),
        ("read", "read_priv"),
    ];
    let patterns = patterns
        .into_iter()
        .filter(|(name, _)| kind == Kind::Permission || *name != "configure");
    let wanted: Properties = patterns
        .map(|(name, arg)| (name.to_owned(), json!(args.str(arg))))
        .collect();
    Objects::action(
        args,
        context,
        Box::new(move |all, _| {
            let words: Vec<&str> = key.iter().map(String::as_str).collect();
            if absent {
                all.remove(kind, &words);
            } else {
                need_vhost(all, &key[0])?;
                need_user(all, &key[1])?;
                all.set(kind, &words, wanted.clone());
            }
            Ok(report.clone())
        }),
    )
}
