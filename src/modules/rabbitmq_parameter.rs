//! `rabbitmq_parameter` and `rabbitmq_global_parameter`.

use super::rabbitmq::{Objects, STATE, VHOST, args, need_vhost};
use super::{Action, ArgError, ArgKind, ArgSpec, Args, Kind as ModuleKind, ModuleSpec, Prepare, Report, no_guess};
use crate::rabbitmq::definitions::{Kind, Properties};
use serde_json::Value;

const VALUE: ArgSpec = ArgSpec::new(
    "value",
    ArgKind::Raw,
    "Value, as text of JSON or as it is; needed unless `absent`.",
);
const DIFFERS: &str = "\
A value that is text is read as JSON, as with community.rabbitmq; a mapping or list can be written as such. Passwords in URIs are masked \
in what is shown.";

pub static PARAMETER: ModuleSpec = ModuleSpec {
    name: "rabbitmq_parameter",
    aliases: &["community.rabbitmq.rabbitmq_parameter"],
    summary: "Runtime parameters of RabbitMQ: shovels, federation upstreams",
    description: DIFFERS,
    args: args![
        ArgSpec::new(
            "component",
            ArgKind::Str,
            "What it is a parameter of, such as `federation-upstream`."
        )
        .required(),
        ArgSpec::new("name", ArgKind::Str, "Name.").required(),
        VALUE,
        VHOST,
        STATE,
    ],
    free_form: None,
    open: false,
    returns: &[
        ("component", "The component"),
        ("name", "The name"),
        ("vhost", "The virtual host"),
        ("state", "`present` or `absent`"),
    ],
    examples: "\
- rabbitmq_parameter:
    component: federation-upstream
    name: east
    vhost: shop
    value: {uri: 'amqps://east.example.com', expires: 3600000}
",
    local: false,
    kind: ModuleKind::Host(prepare_parameter),
    ahead: no_guess,
};

pub static GLOBAL: ModuleSpec = ModuleSpec {
    name: "rabbitmq_global_parameter",
    aliases: &["community.rabbitmq.rabbitmq_global_parameter"],
    summary: "Runtime parameters of the whole cluster",
    description: DIFFERS,
    args: args![ArgSpec::new("name", ArgKind::Str, "Name.").required(), VALUE, STATE],
    free_form: None,
    open: false,
    returns: &[
        ("name", "The name"),
        ("value", "The value"),
        ("state", "`present` or `absent`"),
    ],
    examples: "\
- rabbitmq_global_parameter:
    name: cluster_name
    value: '\"shop-east\"'
",
    local: false,
    kind: ModuleKind::Host(prepare_global),
    ahead: no_guess,
};

fn prepare_parameter(args: &Args, context: &dyn Prepare) -> Result<Box<dyn Action>, ArgError> {
    let words = ["vhost", "component", "name"].map(|name| args.need(name).map(str::to_owned));
    let [vhost, component, name] = words;
    let (vhost, component, name) = (vhost?, component?, name?);
    if let Some(module) = match component.as_str() {
        "operator_policy" => Some("rabbitmq_operator_policy"),
        "vhost-limits" => Some("rabbitmq_vhost_limits"),
        "policy" => Some("rabbitmq_policy"),
        _ => None,
    } {
        return Err(
            ArgError::new("component", format!("`{component}` has a module of its own"))
                .help(format!("use `{module}`")),
        );
    }
    let report = Report::new()
        .with("component", component.as_str())
        .with("name", name.as_str())
        .with("vhost", vhost.as_str())
        .with("state", args.need("state")?);
    let wanted = wanted(args)?;
    Objects::action(
        args,
        context,
        Box::new(move |all, _| {
            let key = [vhost.as_str(), component.as_str(), name.as_str()];
            match &wanted {
                None => all.remove(Kind::Parameter, &key),
                Some(wanted) => {
                    need_vhost(all, &vhost)?;
                    all.set(Kind::Parameter, &key, wanted.clone());
                }
            }
            Ok(report.clone())
        }),
    )
}

fn prepare_global(args: &Args, context: &dyn Prepare) -> Result<Box<dyn Action>, ArgError> {
    let name = args.need("name")?.to_owned();
    let wanted = wanted(args)?;
    let mut report = Report::new()
        .with("name", name.as_str())
        .with("state", args.need("state")?);
    if let Some(value) = wanted.as_ref().and_then(|w| w.get("value")) {
        report = report.with("value", value.clone());
    }
    Objects::action(
        args,
        context,
        Box::new(move |all, _| {
            match &wanted {
                None => all.remove(Kind::GlobalParameter, &[&name]),
                Some(wanted) => all.set(Kind::GlobalParameter, &[&name], wanted.clone()),
            }
            Ok(report.clone())
        }),
    )
}

/// `None`: absent.
fn wanted(args: &Args) -> Result<Option<Properties>, ArgError> {
    if args.str("state") == Some("absent") {
        return Ok(None);
    }
    let value = match args.raw("value") {
        None => return Err(ArgError::new("value", "`value` is needed")),
        Some(Value::String(text)) => serde_json::from_str(text).map_err(|e| {
            ArgError::new("value", format!("`value` is not JSON: {e}"))
                .help("a string is written with its own quotes: `'\"text\"'`")
        })?,
        Some(other) => other.clone(),
    };
    Ok(Some(Properties::from_iter([("value".to_owned(), value)])))
}
