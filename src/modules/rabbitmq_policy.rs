//! `rabbitmq_policy` and `rabbitmq_operator_policy`.

use super::rabbitmq::{Objects, STATE, VHOST, args, need_vhost};
use super::{Action, ArgError, ArgKind, ArgSpec, Args, Kind as ModuleKind, ModuleSpec, Prepare, Report, no_guess};
use crate::rabbitmq::definitions::{Kind, Properties};
use serde_json::{Value, json};

const NAME: ArgSpec = ArgSpec::new("name", ArgKind::Str, "Name.").required();
const PATTERN: ArgSpec = ArgSpec::new(
    "pattern",
    ArgKind::Str,
    "Pattern of the names it applies to; needed unless `absent`.",
);
const PRIORITY: ArgSpec = ArgSpec::new(
    "priority",
    ArgKind::Int,
    "Of several that match, the one with the highest applies.",
)
.default("0");
const DEFINITION: ArgSpec = ArgSpec::new(
    "tags",
    ArgKind::Dict,
    "The definition: keys and values; needed unless `absent`.",
)
.aliases(&["definition"]);

pub static POLICY: ModuleSpec = ModuleSpec {
    name: "rabbitmq_policy",
    aliases: &["community.rabbitmq.rabbitmq_policy"],
    summary: "Policies of RabbitMQ",
    description: "\
All properties are compared and shown one by one, as values of JSON. `definition` is another name for `tags`.

Unlike community.rabbitmq's: differences, and numbers are compared as numbers.",
    args: args![
        NAME,
        VHOST,
        PATTERN,
        DEFINITION,
        PRIORITY,
        ArgSpec::new("apply_to", ArgKind::Str, "What it applies to.")
            .default("all")
            .choices(&[
                "all",
                "exchanges",
                "queues",
                "classic_queues",
                "quorum_queues",
                "streams"
            ]),
        STATE,
    ],
    free_form: None,
    open: false,
    returns: &[("name", "The name"), ("state", "`present` or `absent`")],
    examples: "\
- name: no queue of the shop grows without end
  rabbitmq_policy:
    name: limit
    vhost: shop
    pattern: '^orders'
    apply_to: queues
    tags: {max-length: 100000, overflow: reject-publish}
",
    local: false,
    kind: ModuleKind::Host(prepare_policy),
    ahead: no_guess,
};

pub static OPERATOR_POLICY: ModuleSpec = ModuleSpec {
    name: "rabbitmq_operator_policy",
    aliases: &[],
    summary: "Operator policies of RabbitMQ, which users cannot override",
    description: "As `rabbitmq_policy`. Ansible has no such module.",
    args: args![
        NAME,
        VHOST,
        PATTERN,
        DEFINITION,
        PRIORITY,
        ArgSpec::new("apply_to", ArgKind::Str, "What it applies to.")
            .default("queues")
            .choices(&["queues", "classic_queues", "quorum_queues", "streams"]),
        STATE,
    ],
    free_form: None,
    open: false,
    returns: &[("name", "The name"), ("state", "`present` or `absent`")],
    examples: "\
- rabbitmq_operator_policy:
    name: ceiling
    pattern: '.*'
    tags: {max-length-bytes: 1000000000}
",
    local: false,
    kind: ModuleKind::Host(prepare_operator),
    ahead: no_guess,
};

fn prepare_policy(args: &Args, context: &dyn Prepare) -> Result<Box<dyn Action>, ArgError> {
    prepare(args, context, Kind::Policy)
}

fn prepare_operator(args: &Args, context: &dyn Prepare) -> Result<Box<dyn Action>, ArgError> {
    prepare(args, context, Kind::OperatorPolicy)
}

fn prepare(args: &Args, context: &dyn Prepare, kind: Kind) -> Result<Box<dyn Action>, ArgError> {
    let (name, vhost) = (args.need("name")?.to_owned(), args.need("vhost")?.to_owned());
    let report = Report::new()
        .with("name", name.as_str())
        .with("state", args.need("state")?);
    if args.str("state") == Some("absent") {
        return Objects::action(
            args,
            context,
            Box::new(move |all, _| {
                all.remove(kind, &[&vhost, &name]);
                Ok(report.clone())
            }),
        );
    }
    let definition = args.dict("tags").cloned().unwrap_or_default();
    if definition.is_empty() {
        return Err(
            ArgError::new("tags", "a policy needs a definition").help("give `tags`, such as `{max-length: 1000}`")
        );
    }
    let wanted = Properties::from_iter([
        ("pattern".to_owned(), json!(args.need("pattern")?)),
        ("apply-to".to_owned(), json!(args.need("apply_to")?)),
        ("priority".to_owned(), json!(args.int("priority").unwrap_or(0))),
        ("definition".to_owned(), Value::Object(definition)),
    ]);
    Objects::action(
        args,
        context,
        Box::new(move |all, _| {
            need_vhost(all, &vhost)?;
            all.set(kind, &[&vhost, &name], wanted.clone());
            Ok(report.clone())
        }),
    )
}
