//! `rabbitmq_exchange`: exchanges, which are what they were declared as.

use super::rabbitmq::{STATE, VHOST, args};
use super::{Action, ArgError, ArgKind, ArgSpec, Args, Kind as ModuleKind, ModuleSpec, Prepare, no_guess};
use crate::rabbitmq::definitions::{Kind, Properties};
use serde_json::{Value, json};

pub static SPEC: ModuleSpec = ModuleSpec {
    name: "rabbitmq_exchange",
    aliases: &["community.rabbitmq.rabbitmq_exchange"],
    summary: "Exchanges of RabbitMQ",
    description: "\
Declares and deletes exchanges. What an exchange was declared with cannot be changed: where it differs, the task fails, unless \
`recreate` says to delete it and declare it anew; its bindings are made anew then.

All arguments are compared (community.rabbitmq compares none). It works through the node's own tools. An internal exchange, which an \
export does not list, costs a second look.",
    args: args![
        ArgSpec::new("name", ArgKind::Str, "Name.").required(),
        VHOST,
        ArgSpec::new("exchange_type", ArgKind::Str, "Type.").default("direct").aliases(&["type"]).choices(&[
            "fanout",
            "direct",
            "headers",
            "topic",
            "x-delayed-message",
            "x-random",
            "x-consistent-hash",
            "x-recent-history",
            "x-local-random",
            "x-modulus-hash",
        ]),
        ArgSpec::new("durable", ArgKind::Bool, "Whether it outlives a restart.").default("true"),
        ArgSpec::new("auto_delete", ArgKind::Bool, "Whether it goes with its last binding.").default("false"),
        ArgSpec::new("internal", ArgKind::Bool, "Whether only other exchanges can publish to it.").default("false"),
        ArgSpec::new("arguments", ArgKind::Dict, "Arguments, such as `alternate-exchange`."),
        ArgSpec::new("recreate", ArgKind::Bool, "Delete the exchange where it was declared otherwise.").default("false"),
        STATE,
    ],
    free_form: None,
    open: false,
    returns: &[("name", "The name"), ("vhost", "The virtual host"), ("state", "`present` or `absent`")],
    examples: "- rabbitmq_exchange: {name: events, vhost: shop, type: topic}\n",
    local: false,
    kind: ModuleKind::Host(prepare),
    ahead: no_guess,
};

fn prepare(args: &Args, context: &dyn Prepare) -> Result<Box<dyn Action>, ArgError> {
    let name = args.need("name")?;
    if name.is_empty() || name.starts_with("amq.") {
        return Err(ArgError::new(
            "name",
            format!("`{name}` is one of the broker's own exchanges"),
        ));
    }
    let arguments = args.dict("arguments").cloned().unwrap_or_default();
    let wanted = Properties::from_iter([
        ("type".to_owned(), json!(args.need("exchange_type")?)),
        ("durable".to_owned(), json!(args.bool("durable"))),
        ("auto_delete".to_owned(), json!(args.bool("auto_delete"))),
        ("internal".to_owned(), json!(args.bool("internal"))),
        ("arguments".to_owned(), Value::Object(arguments)),
    ]);
    super::rabbitmq_queue::declared(args, context, Kind::Exchange, wanted)
}
