//! `rabbitmq_publish`: one message, confirmed by the broker.

use super::{
    Action, ArgError, ArgKind, ArgSpec, Args, Change, Decision, Failure, Kind, ModuleSpec, Prepare, Report, Seen, Stop,
    no_guess,
};
use crate::host::{Content, Delta, Effect, Exec, Facet, Op, Outcome, Probe, Undo};
use serde_json::{Value, json};

/// Seconds for the connection and for each answer.
const LIMIT_S: u32 = 30;
const SCRIPT: &str = include_str!("rabbitmq/publish.py");

pub static SPEC: ModuleSpec = ModuleSpec {
    name: "rabbitmq_publish",
    aliases: &[],
    summary: "Publish one message, and wait until the broker has it",
    description: "\
Connects from the host over AMQP 0-9-1, publishes, and waits for the broker's confirm. A message that no queue takes is a failure. \
Always a change; a dry run says so and publishes nothing.

Needs Python 3 on the host, which the broker's packages of Debian bring; no further library (Ansible's module needs `pika`). \
Without `exchange` the queue is declared, and its name is the routing key; without either the broker names one. Login and message \
travel on standard input.",
    args: &[
        ArgSpec::new("url", ArgKind::Str, "`amqp://user:password@host:port/vhost`, instead of the single arguments.").secret(),
        ArgSpec::new("proto", ArgKind::Str, "`amqps`: with TLS.").choices(&["amqp", "amqps"]),
        ArgSpec::new("host", ArgKind::Str, "The broker."),
        ArgSpec::new("port", ArgKind::Int, "Its port; 5672, with TLS 5671."),
        ArgSpec::new("username", ArgKind::Str, "Who publishes."),
        ArgSpec::new("password", ArgKind::Str, "The password.").secret(),
        ArgSpec::new("vhost", ArgKind::Str, "Virtual host; default `/`."),
        ArgSpec::new("exchange", ArgKind::Str, "Where to; must exist."),
        ArgSpec::new("routing_key", ArgKind::Str, "For the exchange."),
        ArgSpec::new("queue", ArgKind::Str, "Instead of `exchange`: declared, then published to."),
        ArgSpec::new("body", ArgKind::Str, "The message."),
        ArgSpec::new("src", ArgKind::Path, "A file on the host that is the message.").aliases(&["file"]),
        ArgSpec::new("content_type", ArgKind::Str, "Its type.").default("text/plain"),
        ArgSpec::new("headers", ArgKind::Dict, "Its headers."),
        ArgSpec::new("durable", ArgKind::Bool, "The queue survives a restart.").default("false"),
        ArgSpec::new("exclusive", ArgKind::Bool, "The queue is this connection's alone, and gone after it.").default("false"),
        ArgSpec::new("auto_delete", ArgKind::Bool, "The queue goes with its last consumer.").default("false"),
        ArgSpec::new("cafile", ArgKind::Path, "TLS: who signed the broker's certificate, on the host; default: whom the host trusts."),
        ArgSpec::new("certfile", ArgKind::Path, "TLS: a certificate of our own, on the host."),
        ArgSpec::new("keyfile", ArgKind::Path, "TLS: its key."),
    ],
    free_form: None,
    open: false,
    returns: &[("result", "`msg`, `content_type` and `queue` (the routing key)")],
    examples: "\
- name: a message gets through
  rabbitmq_publish:
    url: amqp://probe:{{ probe_password }}@localhost:5672/%2F
    queue: probe
    body: still here
",
    // Others see the message.
    local: false,
    kind: Kind::Host(prepare),
    ahead: no_guess,
};

struct Publish {
    /// To the script, as JSON.
    wanted: Value,
    place: String,
}

fn prepare(args: &Args, _: &dyn Prepare) -> Result<Box<dyn Action>, ArgError> {
    let mut wanted = match args.str("url") {
        Some(url) => from_url(url, args)?,
        None => single(args)?,
    };
    match (args.given("exchange"), args.given("queue")) {
        (true, true) => return Err(ArgError::new("queue", "`exchange` and `queue` exclude each other")),
        (false, _) if args.given("routing_key") => {
            return Err(ArgError::new(
                "routing_key",
                "`routing_key` needs `exchange`; a queue's own name is its key",
            ));
        }
        _ => {}
    }
    if args.given("body") == args.given("src") {
        return Err(ArgError::task(
            "module `rabbitmq_publish` needs one of `body` and `src`",
        ));
    }
    if args.given("certfile") != args.given("keyfile") {
        return Err(ArgError::task("`certfile` and `keyfile` go together"));
    }
    let place = match (args.str("exchange"), args.str("queue")) {
        (Some(exchange), _) => format!("exchange {exchange}"),
        (None, Some(queue)) => format!("queue {queue}"),
        (None, None) => "a new queue".to_owned(),
    };
    let more = json!({
        "exchange": args.str("exchange"), "routing_key": args.str("routing_key"), "queue": args.str("queue"),
        "body": args.str("body").unwrap_or_default(), "src": args.str("src"),
        "content_type": args.str("content_type"), "headers": args.raw("headers").cloned().unwrap_or_else(|| json!({})),
        "durable": args.bool("durable"), "exclusive": args.bool("exclusive"), "auto_delete": args.bool("auto_delete"),
        "cafile": args.str("cafile"), "certfile": args.str("certfile"), "keyfile": args.str("keyfile"),
        "timeout": LIMIT_S,
    });
    if let (Value::Object(wanted), Value::Object(more)) = (&mut wanted, more) {
        wanted.extend(more);
    }
    Ok(Box::new(Publish { wanted, place }))
}

/// Where and as whom, from single arguments; Ansible's module asks for the same four.
fn single(args: &Args) -> Result<Value, ArgError> {
    for needed in ["host", "username", "password"] {
        if !args.given(needed) {
            return Err(ArgError::task(format!("`{needed}` is needed where there is no `url`")));
        }
    }
    let tls = args.str("proto") == Some("amqps");
    let port = match args.int("port") {
        Some(port) => u16::try_from(port).map_err(|_| ArgError::new("port", format!("`{port}` is no port")))?,
        None => standard(tls),
    };
    Ok(json!({
        "host": args.str("host"), "port": port, "tls": tls, "username": args.str("username"),
        "password": args.str("password"), "vhost": args.str("vhost").unwrap_or("/"),
    }))
}

fn standard(tls: bool) -> u16 {
    if tls { 5671 } else { 5672 }
}

fn from_url(url: &str, args: &Args) -> Result<Value, ArgError> {
    if let Some(other) = ["proto", "host", "port", "username", "password", "vhost"]
        .iter()
        .find(|a| args.given(a))
    {
        return Err(ArgError::new(
            *other,
            format!("`url` says it all: `{other}` cannot be given beside it"),
        ));
    }
    // The text is secret: it is not in the message.
    let bad = || ArgError::new("url", "this is no `amqp://user:password@host:port/vhost`");
    let (tls, rest) = match url.split_once("://") {
        Some(("amqp", rest)) => (false, rest),
        Some(("amqps", rest)) => (true, rest),
        _ => return Err(bad()),
    };
    let (login, rest) = rest.rsplit_once('@').ok_or_else(bad)?;
    let (username, password) = login.split_once(':').ok_or_else(bad)?;
    let (place, vhost) = rest.split_once('/').unwrap_or((rest, "%2F"));
    let vhost = vhost.split('?').next().filter(|v| !v.is_empty()).unwrap_or("%2F");
    let (host, port) = match place.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, port.parse().map_err(|_| bad())?),
        _ => (place, standard(tls)),
    };
    let host = host.trim_matches(['[', ']']);
    if host.is_empty() {
        return Err(bad());
    }
    let plain = |text: &str| decoded(text).ok_or_else(bad);
    Ok(json!({
        "host": host, "port": port, "tls": tls, "username": plain(username)?, "password": plain(password)?,
        "vhost": plain(vhost)?,
    }))
}

/// Percent-decoded, with a `%` that no hexadecimal number follows as it is, as Python's `unquote`; `None` where that is no
/// UTF-8.
fn decoded(text: &str) -> Option<String> {
    let text = percent_encoding::percent_decode_str(text).decode_utf8();
    text.ok().map(Into::into)
}

impl Action for Publish {
    fn probes(&self) -> Vec<Probe> {
        Vec::new()
    }

    fn decide(&self, _: &Seen<'_>) -> Result<Decision, Stop> {
        let delta = Delta {
            subject: self.place.clone(),
            before: Facet::Absent,
            after: Facet::Value("one message more".to_owned()),
        };
        let op = Op::Exec(Exec {
            argv: ["python3", "-c", SCRIPT].map(str::to_owned).to_vec(),
            stdin: Some(Content::from(self.wanted.to_string())),
            ok: vec![0],
            // Queues that are declared are seen by the broker's tools.
            effect: Effect::Mentions(vec!["rabbitmq".to_owned()]),
            timeout_s: Some(LIMIT_S * 4),
            ..Exec::default()
        });
        let undo = Undo::Impossible("a message that is published may have been consumed".to_owned());
        Ok(Decision::Change(
            Change::new(vec![delta], vec![op], Report::new())
                .undo(undo)
                .judged_by_outcome(),
        ))
    }

    fn finish(&self, change: &Change, outcomes: &[Outcome]) -> Result<Report, Failure> {
        let Some(exec) = outcomes.first().and_then(|o| o.exec.as_ref()) else {
            return Ok(change.report.clone());
        };
        if exec.rc == 127 {
            return Err(Failure::new(
                "there is no `python3` on this host, which publishing needs",
            ));
        }
        if !exec.ok() {
            let stderr = exec.stderr.text();
            let said = stderr.trim().lines().last().unwrap_or("no reason was given");
            return Err(Failure::new(format!(
                "the message was not published to {}: {said}",
                self.place
            )));
        }
        let result: Value = serde_json::from_str(exec.stdout.text().trim()).unwrap_or_default();
        Ok(change.report.clone().with("result", result))
    }
}

#[cfg(test)]
mod tests {
    use super::decoded;

    #[test]
    fn urls_are_decoded() {
        assert_eq!(decoded("a%2Fb%C3%A9").as_deref(), Some("a/bé"));
        assert_eq!(decoded("100%").as_deref(), Some("100%"));
        assert_eq!(decoded("%ff"), None);
    }
}
