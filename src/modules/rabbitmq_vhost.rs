//! `rabbitmq_vhost` and `rabbitmq_vhost_metadata`: virtual hosts, and what they are described by.

use super::rabbitmq::{Look, Objects, STATE, args, need_vhost};
use super::{
    Action, ArgError, ArgKind, ArgSpec, Args, Failure, Kind as ModuleKind, ModuleSpec, Prepare, Report, Stop, no_guess,
};
use crate::host::Probe;
use crate::rabbitmq::Version;
use crate::rabbitmq::definitions::{Definitions, Kind, Properties};
use serde_json::json;

const DESCRIPTION: ArgSpec = ArgSpec::new("description", ArgKind::Str, "What it is for; not given: left alone.");
const TAGS: ArgSpec = ArgSpec::new("tags", ArgKind::List, "Its tags, all there are; not given: left alone.");
const QUEUE_TYPE: ArgSpec = ArgSpec::new(
    "default_queue_type",
    ArgKind::Str,
    "Type of queues that are declared without one; not given: left alone.",
)
.choices(&["classic", "quorum", "stream"]);

pub static VHOST: ModuleSpec = ModuleSpec {
    name: "rabbitmq_vhost",
    aliases: &["community.rabbitmq.rabbitmq_vhost"],
    summary: "Virtual hosts of RabbitMQ",
    description: "\
Creates and deletes virtual hosts. Deleting one deletes all that is in it; the difference lists it.

Unlike community.rabbitmq's: description, tags and default queue type; `tracing` is only seen about where given. It costs a look \
of its own, and as each node of a cluster traces for itself, such a task acts on every node; a node that restarts traces no more.",
    args: args![
        ArgSpec::new("name", ArgKind::Str, "Name.").required().aliases(&["vhost"]),
        DESCRIPTION,
        TAGS,
        QUEUE_TYPE,
        ArgSpec::new("tracing", ArgKind::Bool, "Whether this node traces messages; not given: left alone.").aliases(&["trace"]),
        STATE,
    ],
    free_form: None,
    open: false,
    returns: &[("name", "The name"), ("state", "`present` or `absent`")],
    examples: "\
- name: a place for the shop, with replicated queues
  rabbitmq_vhost:
    name: shop
    default_queue_type: quorum
",
    local: false,
    kind: ModuleKind::Host(prepare),
    ahead: no_guess,
};

pub static METADATA: ModuleSpec = ModuleSpec {
    name: "rabbitmq_vhost_metadata",
    aliases: &[],
    summary: "Description, tags and default queue type of a virtual host",
    description: "\
Of a virtual host that exists, as `rabbitmqctl update_vhost_metadata`. Ansible has no such module.",
    args: args![
        ArgSpec::new("vhost", ArgKind::Str, "Name.")
            .required()
            .aliases(&["name"]),
        DESCRIPTION,
        TAGS,
        QUEUE_TYPE,
    ],
    free_form: None,
    open: false,
    returns: &[("vhost", "The name")],
    examples: "\
- rabbitmq_vhost_metadata:
    vhost: /
    description: what everybody uses
    tags: [production]
",
    local: false,
    kind: ModuleKind::Host(prepare_metadata),
    ahead: no_guess,
};

/// Since when the default queue type of an existing virtual host can be changed.
const CHANGES_TYPE: Version = Version::new(3, 11, 14);

fn metadata(args: &Args) -> Properties {
    let mut wanted = Properties::new();
    if let Some(text) = args.str("description") {
        wanted.insert("description".to_owned(), json!(text));
    }
    if args.given("tags") {
        let mut tags = args.list("tags");
        tags.retain(|tag| !tag.is_empty());
        tags.sort();
        wanted.insert("tags".to_owned(), json!(tags));
    }
    if let Some(kind) = args.str("default_queue_type") {
        wanted.insert("default_queue_type".to_owned(), json!(kind));
    }
    wanted
}

/// Gives an existing virtual host what is wanted of it.
fn update(all: &mut Definitions, name: &str, wanted: &Properties) -> Result<(), Stop> {
    let mut wanted = wanted.clone();
    if let (Some(old), Some(kind)) = (all.get(Kind::Vhost, &[name]), wanted.get("default_queue_type")) {
        let now = old.get("default_queue_type");
        if now.is_none() && *kind == json!("classic") {
            // What it is anyway.
            wanted.shift_remove("default_queue_type");
        } else if now != Some(kind) && all.version.is_some_and(|v| v < CHANGES_TYPE) {
            let version = all.version.map(|v| v.to_string()).unwrap_or_default();
            return Err(Failure::new(format!(
                "vhost `{name}` exists with another default queue type, and RabbitMQ {version} cannot change it"
            ))
            .help(format!(
                "it can from {CHANGES_TYPE} on; here only a new vhost can have another one"
            ))
            .into());
        }
    }
    if !all.has(Kind::Vhost, &[name]) {
        // What a broker gives a new one.
        wanted.entry("description").or_insert_with(|| json!(""));
        wanted.entry("tags").or_insert_with(|| json!([]));
    }
    all.set(Kind::Vhost, &[name], wanted);
    Ok(())
}

fn prepare(args: &Args, context: &dyn Prepare) -> Result<Box<dyn Action>, ArgError> {
    let name = args.need("name")?.to_owned();
    let report = Report::new()
        .with("name", name.as_str())
        .with("state", args.need("state")?);
    if args.str("state") == Some("absent") {
        return Objects::action(
            args,
            context,
            Box::new(move |all, _| {
                all.remove(Kind::Vhost, &[&name]);
                Ok(report.clone())
            }),
        );
    }
    let wanted = metadata(args);
    let tracing = args.opt_bool("tracing");
    let traced = name.clone();
    let objects = Objects::new(
        args,
        context,
        Box::new(move |all, _| {
            update(all, &name, &wanted)?;
            if let Some(on) = tracing {
                all.set(Kind::Vhost, &[&name], tracing_is(on));
            }
            Ok(report.clone())
        }),
    )?;
    Ok(match tracing {
        Some(_) => Box::new(
            objects
                .of_each_node()
                .completed(Box::new(move |all, look| trace(all, look, &traced))),
        ),
        None => Box::new(objects),
    })
}

/// Exports do not tell of tracing.
fn trace(all: &mut Definitions, look: &Look<'_, '_>, name: &str) -> Result<Option<Probe>, Stop> {
    match all.get(Kind::Vhost, &[name]) {
        // One that is not there, or that a task before this one makes.
        None => Ok(None),
        Some(vhost) if vhost.contains_key("tracing") => Ok(None),
        Some(_) => {
            let (on, probe) = look.traces(name)?;
            all.set(Kind::Vhost, &[name], tracing_is(on));
            Ok(Some(probe))
        }
    }
}

fn tracing_is(on: bool) -> Properties {
    Properties::from_iter([("tracing".to_owned(), json!(on))])
}

fn prepare_metadata(args: &Args, context: &dyn Prepare) -> Result<Box<dyn Action>, ArgError> {
    let name = args.need("vhost")?.to_owned();
    let wanted = metadata(args);
    if wanted.is_empty() {
        return Err(ArgError::task("nothing is wanted of the virtual host")
            .help("give `description`, `tags` or `default_queue_type`"));
    }
    let report = Report::new().with("vhost", name.as_str());
    Objects::action(
        args,
        context,
        Box::new(move |all, _| {
            need_vhost(all, &name)?;
            update(all, &name, &wanted)?;
            Ok(report.clone())
        }),
    )
}
