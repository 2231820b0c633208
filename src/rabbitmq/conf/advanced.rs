//! advanced.config: one list of applications with their settings, in Erlang's terms. What stands there wins over
//! rabbitmq.conf, and no schema looks at it when the node starts: a name that nobody knows is silently not used.

use super::terms::{self, Term};
use super::{schema, stranger};
use crate::diagnostic::{Code, Diagnostic, FileId, Span, similar_name};
use std::collections::HashMap;

/// Applications of a node that have settings, beside the plugins of [`schema`].
const APPLICATIONS: &[&str] = &[
    "amqp10_client",
    "amqp_client",
    "aten",
    "cowboy",
    "credentials_obfuscation",
    "crypto",
    "eldap",
    "erlang_cookie",
    "inets",
    "kernel",
    "khepri",
    "lager",
    "mnesia",
    "oauth2_client",
    "observer_cli",
    "os_mon",
    "osiris",
    "prometheus",
    "public_key",
    "ra",
    "rabbit",
    "rabbit_common",
    "rabbitmq_auth_mechanism_ssl",
    "rabbitmq_consistent_hash_exchange",
    "rabbitmq_delayed_message_exchange",
    "rabbitmq_event_exchange",
    "rabbitmq_prelaunch",
    "rabbitmq_random_exchange",
    "rabbitmq_recent_history_exchange",
    "rabbitmq_sharding",
    "rabbitmq_shovel_management",
    "rabbitmq_federation_management",
    "rabbitmq_federation_prometheus",
    "rabbitmq_shovel_prometheus",
    "rabbitmq_stream_management",
    "rabbitmq_top",
    "ranch",
    "recon",
    "sasl",
    "ssl",
    "stdlib",
    "sysmon_handler",
    "syslog",
    "systemd",
    "tools",
];

/// Checks one advanced.config (or rabbitmq.config, of the same format).
pub fn check(file: FileId, text: &str) -> Vec<Diagnostic> {
    let mut out = Vec::new();
    match terms::read(file, text) {
        Err(error) => {
            let mut found = Diagnostic::error(Code::CONF_SYNTAX, error.message)
                .at(error.span, "the node does not start with this file");
            if let Some((open, at)) = error.open {
                found = found.context(at, format!("this `{open}` is open"));
            }
            out.push(found);
        }
        Ok(terms) => match terms.as_slice() {
            [] => {}
            [one] => applications(one, &mut out),
            [_, second, ..] => out.push(
                Diagnostic::error(Code::CONF_SYNTAX, "more than one list")
                    .at(second.span, "only one is read")
                    .help("put its applications into the first"),
            ),
        },
    }
    out
}

fn applications(term: &Term, out: &mut Vec<Diagnostic>) {
    let Some(items) = term.list() else {
        out.push(shape(
            term,
            "a list of applications",
            "`[{rabbit, [...]}, {kernel, [...]}].`",
        ));
        return;
    };
    let mut seen: HashMap<&str, Span> = HashMap::new();
    for item in items {
        let named = item.pair().and_then(|(name, value)| Some((name, name.atom()?, value)));
        let Some((name, application, value)) = named else {
            out.push(shape(
                item,
                "an application with its settings",
                "`{rabbit, [{SETTING, VALUE}]}`",
            ));
            continue;
        };
        if let Some(first) = seen.insert(application, name.span) {
            out.push(twice(&format!("the application `{application}`"), first, name.span));
        }
        known(application, name.span, out);
        let Some(entries) = value.list() else {
            out.push(shape(value, "a list of settings", "`[{SETTING, VALUE}]`"));
            continue;
        };
        settings(application, entries, out);
    }
}

fn settings(application: &str, entries: &[Term], out: &mut Vec<Diagnostic>) {
    let mut seen: HashMap<&str, Span> = HashMap::new();
    for entry in entries {
        let named = entry.pair().and_then(|(name, _)| Some((name, name.atom()?)));
        let Some((name, setting)) = named else {
            // An atom alone is `{atom, true}` to Erlang's lists of properties, and nothing to applications.
            out.push(shape(entry, "a setting with its value", "`{SETTING, VALUE}`"));
            continue;
        };
        if let Some(first) = seen.insert(setting, name.span) {
            out.push(twice(&format!("`{setting}`"), first, name.span));
        }
        if let Some(near) = typing_error(application, setting) {
            out.push(
                Diagnostic::warning(
                    Code::CONF_ADVICE,
                    format!("`{application}` is not known to have the setting `{setting}`"),
                )
                .at(name.span, "a name nobody knows is silently not used")
                .fix("there is a similar name", name.span, near),
            );
        }
    }
}

fn known(application: &str, span: Span, out: &mut Vec<Diagnostic>) {
    let plugin = |name: &str| {
        schema::keys()
            .iter()
            .any(|k| k.plugin == name || k.setting.split('.').next() == Some(name))
    };
    if APPLICATIONS.contains(&application) || plugin(application) {
        return;
    }
    let names = APPLICATIONS
        .iter()
        .copied()
        .chain(schema::keys().iter().map(|k| k.plugin));
    let found = Diagnostic::warning(
        Code::CONF_ADVICE,
        format!("no application `{application}` is known to a node"),
    )
    .at(span, "what stands below is silently not used");
    out.push(match similar_name(application, names) {
        Some(near) => found.fix("there is a similar name", span, near),
        None if application == "rabbitmq" => found.fix("the broker is", span, "rabbit"),
        None => found,
    });
}

/// The name that was meant; the list of names is not complete, so only near ones are told.
fn typing_error(application: &str, setting: &str) -> Option<&'static str> {
    let prefix = format!("{application}.");
    let names: Vec<&str> = schema::keys()
        .iter()
        .filter_map(|k| k.setting.strip_prefix(&prefix)?.split('.').next())
        .chain(
            stranger::ERLANG_ONLY
                .iter()
                .copied()
                .filter(|_| application == "rabbit"),
        )
        .collect();
    if names.contains(&setting) {
        return None;
    }
    let near = similar_name(setting, names)?;
    // Two letters at most: real names that we do not know are near each other too.
    (strsim::damerau_levenshtein(setting, near) <= 2).then_some(near)
}

fn shape(term: &Term, what: &str, example: &str) -> Diagnostic {
    Diagnostic::error(Code::CONF_SYNTAX, format!("this is not {what}"))
        .at(term.span, "")
        .help(format!("it is written {example}"))
}

fn twice(what: &str, first: Span, again: Span) -> Diagnostic {
    Diagnostic::error(Code::CONF_TWICE, format!("{what} stands twice"))
        .at(again, "again here")
        .context(first, "first here")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnostic::SourceMap;

    fn told(text: &str) -> Vec<String> {
        let map = SourceMap::default();
        let file = map.add("advanced.config", text);
        let shown = |d: &Diagnostic| {
            let at = d
                .position()
                .map(|s| text.get(s.start as usize..s.end as usize).unwrap_or("?"));
            format!("{} {} at {:?}", d.code, d.message, at.unwrap_or_default())
        };
        check(file, text).iter().map(shown).collect()
    }

    #[test]
    fn what_works_is_left_alone() {
        for text in [
            "",
            "%% nothing\n",
            "[].",
            "[{rabbit, [{default_consumer_prefetch, {false, 250}}]}].",
            "[\n  {rabbit, [{tcp_listeners, [5672]}, {credit_flow_default_credit, {400, 200}}]}, % comment, with ]\n  {kernel, \
             [{net_ticktime, 60}]},\n  {'rabbitmq_shovel', [{shovels, [{my, [{sources, [{brokers, [\"amqp://\"]}]}]}]}]},\n  \
             {ssl, [{versions, ['tlsv1.3', 'tlsv1.2']}]},\n  {rabbitmq_auth_backend_ldap, [{tag_queries, [{administrator, \
             {constant, true}}]}, {password, <<\"a]}\">>}]},\n  {ra, [{x, #{a => 1, b => [$a | c]}}, {y, -1.5e-3}, {z, 16#ff}]}\n].\n",
        ] {
            assert_eq!(told(text), Vec::<String>::new(), "{text}");
        }
    }

    #[test]
    fn mistakes_are_told_with_their_places() {
        for (text, expected) in [
            (
                "[{rabbit, []}]",
                "E601 expected `.` at the end, not the end of the file at \"\"",
            ),
            (
                "[{rabbit, [{a, 1} {b, 2}]}].",
                "E601 expected `,` or `]`, not `{` at \"{\"",
            ),
            ("[{rabbit, [{a, 1}]].", "E601 expected `,` or `}`, not `]` at \"]\""),
            ("[{rabbit, [{a, 1},]}].", "E601 expected a term, not `]` at \"]\""),
            ("[{rabbit, [{a, Value}]}].", "E601 expected a term, not `V` at \"V\""),
            ("[{rabbit, [{a, \"x}]}].", "E601 a `\"` that is not ended at \"\\\"\""),
            ("# comment\n[].", "E601 expected a term, not `#` at \"#\""),
            (
                "{rabbit, []}.",
                "E601 this is not a list of applications at \"{rabbit, []}\"",
            ),
            (
                "[rabbit].",
                "E601 this is not an application with its settings at \"rabbit\"",
            ),
            (
                "[{rabbit, [heartbeat, 20]}].",
                "E601 this is not a setting with its value at \"heartbeat\"",
            ),
            ("[].\n[{rabbit, []}].", "E601 more than one list at \"[{rabbit, []}]\""),
            (
                "[{rabbit, []}, {rabbit, []}].",
                "E605 the application `rabbit` stands twice at \"rabbit\"",
            ),
            (
                "[{rabbit, [{heartbeat, 1}, {heartbeat, 2}]}].",
                "E605 `heartbeat` stands twice at \"heartbeat\"",
            ),
            (
                "[{rabit, []}].",
                "W602 no application `rabit` is known to a node at \"rabit\"",
            ),
            (
                "[{rabbit, [{hearbeat, 1}]}].",
                "W602 `rabbit` is not known to have the setting `hearbeat` at \"hearbeat\"",
            ),
        ] {
            assert_eq!(told(text).first().map(String::as_str), Some(expected), "{text}");
        }
    }
}
