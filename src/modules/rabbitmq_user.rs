//! `rabbitmq_user`: a user with password, tags and permissions.

use super::rabbitmq::{Objects, STATE, VHOST, args, need_vhost};
use super::{
    Action, ArgError, ArgKind, ArgSpec, Args, Failure, Kind as ModuleKind, ModuleSpec, Prepare, Report, no_guess, plain,
};
use crate::rabbitmq::definitions::{Algorithm, Definitions, Kind, Properties, hash, matches};
use serde_json::{Value, json};

pub static SPEC: ModuleSpec = ModuleSpec {
    name: "rabbitmq_user",
    aliases: &["community.rabbitmq.rabbitmq_user"],
    summary: "Users of RabbitMQ: password, tags, permissions",
    description: "\
Passwords are compared through their salted hash and sent as one: neither an argument of a process nor a line of a diff holds them.

As with community.rabbitmq: without `tags` the user has none; `permissions` lists all there are, others are taken away; without \
it, `configure_priv`, `write_priv` and `read_priv` are set for `vhost` (`^$`, nothing, where not given).

Unlike it: dry run and differences; `topic_permissions` not given leaves them alone; a virtual host `/` that does not exist is no error \
where none was asked for; an empty password means that none is set.

A trap, as with community.rabbitmq: `force` deletes the user and makes it anew, each time: connections are closed, limits and all \
permissions that are not written are gone. `update_password: always` does what it is mostly used for.",
    args: args![
        ArgSpec::new("user", ArgKind::Str, "Name.").required().aliases(&["username", "name"]),
        ArgSpec::new("password", ArgKind::Str, "Password; without one a new user cannot log in with one.").secret(),
        ArgSpec::new("update_password", ArgKind::Str, "Whether an existing user's password is seen about.")
            .default("on_create")
            .choices(&["on_create", "always"]),
        ArgSpec::new("tags", ArgKind::List, "Tags, such as `administrator`; all there are."),
        ArgSpec::new("permissions", ArgKind::ListRaw, "All permissions: `vhost`, `configure_priv`, `write_priv`, `read_priv` of each."),
        ArgSpec::new("topic_permissions", ArgKind::ListRaw, "All topic permissions: `vhost`, `exchange`, `write_priv`, `read_priv` of each."),
        VHOST,
        ArgSpec::new("configure_priv", ArgKind::Str, "Pattern of what it may declare in `vhost`.").default("^$"),
        ArgSpec::new("write_priv", ArgKind::Str, "Pattern of what it may publish to.").default("^$"),
        ArgSpec::new("read_priv", ArgKind::Str, "Pattern of what it may consume from.").default("^$"),
        ArgSpec::new("force", ArgKind::Bool, "Delete an existing user and make it anew, each time.").default("false"),
        STATE,
    ],
    free_form: None,
    open: false,
    returns: &[("user", "The name"), ("state", "`present` or `absent`")],
    examples: "\
- name: the application's user
  rabbitmq_user:
    user: app
    password: '{{ app_password }}'
    update_password: always
    permissions:
      - {vhost: /, configure_priv: '^app', write_priv: '.*', read_priv: '.*'}

- name: nobody knows guest
  community.rabbitmq.rabbitmq_user:
    user: guest
    state: absent
",
    local: false,
    kind: ModuleKind::Host(prepare),
    ahead: no_guess,
};

fn prepare(args: &Args, context: &dyn Prepare) -> Result<Box<dyn Action>, ArgError> {
    let user = args.need("user")?.to_owned();
    let report = Report::new()
        .with("user", user.as_str())
        .with("state", args.need("state")?);
    if args.str("state") == Some("absent") {
        return Objects::action(
            args,
            context,
            Box::new(move |all, _| {
                all.remove(Kind::User, &[&user]);
                Ok(report.clone())
            }),
        );
    }
    let password = args.str("password").filter(|p| !p.is_empty()).map(str::to_owned);
    let always = args.str("update_password") == Some("always");
    let salt = context.salt(&format!("{user}\0{}", password.as_deref().unwrap_or_default()));
    let mut tags = args.list("tags");
    tags.retain(|tag| !tag.is_empty());
    tags.sort();
    tags.dedup();
    let own = json!({ "vhost": args.need("vhost")?, "configure_priv": args.need("configure_priv")?,
        "write_priv": args.need("write_priv")?, "read_priv": args.need("read_priv")? });
    let listed = args.given("permissions");
    let permissions = if listed {
        entries(args, "permissions")?
    } else {
        vec![permission(&own)]
    };
    let topics = args
        .given("topic_permissions")
        .then(|| entries(args, "topic_permissions"))
        .transpose()?;
    let asked =
        args.given("vhost") || args.given("configure_priv") || args.given("write_priv") || args.given("read_priv");
    let (force, name) = (args.bool("force"), user.clone());
    let objects = Objects::new(
        args,
        context,
        Box::new(move |all, _| {
            let mut wanted = Properties::from_iter([("tags".to_owned(), json!(tags))]);
            match (all.get(Kind::User, &[&user]), &password) {
                (None, None) => wanted.extend(login(Algorithm::default(), String::new())),
                (None, Some(password)) => {
                    let algorithm = Algorithm::default();
                    wanted.extend(login(algorithm, hash(algorithm, salt, password)));
                }
                (Some(old), Some(password)) if always => {
                    let text = |name: &str| old.get(name).and_then(Value::as_str).unwrap_or_default();
                    let algorithm = Algorithm::parse(text("hashing_algorithm"));
                    if !algorithm.is_some_and(|a| matches(a, text("password_hash"), password)) {
                        let algorithm = algorithm.unwrap_or_default();
                        wanted.extend(login(algorithm, hash(algorithm, salt, password)));
                    }
                }
                _ => {}
            }
            all.set(Kind::User, &[&user], wanted);
            if listed {
                keep_only(all, Kind::Permission, &user, &permissions);
            }
            for Granted {
                vhost,
                exchange: _,
                patterns,
            } in &permissions
            {
                if !listed && !asked && !all.has(Kind::Vhost, &[vhost]) {
                    continue;
                }
                need_vhost(all, vhost)?;
                all.set(Kind::Permission, &[vhost, &user], patterns.clone());
            }
            if let Some(topics) = &topics {
                keep_only(all, Kind::TopicPermission, &user, topics);
                for Granted {
                    vhost,
                    exchange,
                    patterns,
                } in topics
                {
                    need_vhost(all, vhost)?;
                    let exchange = exchange
                        .as_deref()
                        .ok_or_else(|| Failure::new("a topic permission needs an `exchange`"))?;
                    all.set(Kind::TopicPermission, &[vhost, &user, exchange], patterns.clone());
                }
            }
            Ok(report.clone())
        }),
    )?;
    Ok(Box::new(if force { objects.anew(&name) } else { objects }))
}

fn login(algorithm: Algorithm, hash: String) -> [(String, Value); 2] {
    [
        ("hashing_algorithm".to_owned(), json!(algorithm.name())),
        ("password_hash".to_owned(), json!(hash)),
    ]
}

/// What is granted on one virtual host.
struct Granted {
    vhost: String,
    exchange: Option<String>,
    patterns: Properties,
}

fn permission(entry: &Value) -> Granted {
    let text = |name: &str, default: &str| {
        entry
            .get(name)
            .filter(|v| !v.is_null())
            .map_or_else(|| default.to_owned(), plain)
    };
    let exchange = entry.get("exchange").map(plain);
    let mut patterns = Properties::new();
    if exchange.is_none() {
        patterns.insert("configure".to_owned(), json!(text("configure_priv", "^$")));
    }
    patterns.insert("write".to_owned(), json!(text("write_priv", "^$")));
    patterns.insert("read".to_owned(), json!(text("read_priv", "^$")));
    Granted {
        vhost: text("vhost", "/"),
        exchange,
        patterns,
    }
}

/// The entries of a list of permissions, each with names that exist.
fn entries(args: &Args, name: &str) -> Result<Vec<Granted>, ArgError> {
    let topics = name == "topic_permissions";
    let allowed: &[&str] = if topics {
        &["vhost", "exchange", "write_priv", "read_priv"]
    } else {
        &["vhost", "configure_priv", "write_priv", "read_priv"]
    };
    let list = args.raw(name).and_then(Value::as_array).cloned().unwrap_or_default();
    list.iter()
        .map(|entry| {
            let map = entry
                .as_object()
                .ok_or_else(|| ArgError::new(name, format!("an entry of `{name}` is a mapping")))?;
            if let Some(other) = map.keys().find(|k| !allowed.contains(&k.as_str())) {
                return Err(
                    ArgError::new(name, format!("`{other}` is nothing of an entry of `{name}`"))
                        .help(format!("an entry has `{}`", allowed.join("`, `"))),
                );
            }
            if topics && !map.contains_key("exchange") {
                return Err(ArgError::new(name, "a topic permission needs an `exchange`"));
            }
            Ok(permission(entry))
        })
        .collect()
}

fn keep_only(all: &mut Definitions, kind: Kind, user: &str, granted: &[Granted]) {
    let others: Vec<Vec<String>> = all
        .of(kind)
        .map(|(key, _)| key.clone())
        .filter(|key| key[1] == user)
        .filter(|key| {
            !granted
                .iter()
                .any(|g| g.vhost == key[0] && g.exchange.as_ref() == key.get(2))
        })
        .collect();
    for key in others {
        let key: Vec<&str> = key.iter().map(String::as_str).collect();
        all.remove(kind, &key);
    }
}
