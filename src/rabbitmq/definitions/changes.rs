//! From what is to what shall be: differences for a reader, a document for `import_definitions`, a program for what
//! an import cannot do.

use super::{Definitions, Key, Kind, canonical, same, shown};
use crate::host::{Delta, Facet};
use base64::Engine as _;
use serde_json::{Map, Value, json};

/// What differs, kind by kind in the order a broker can take them.
#[derive(Debug, Default)]
pub struct Differences {
    pub deltas: Vec<Delta>,
    /// What an import creates or changes.
    puts: Vec<(Kind, Key)>,
    /// What goes, as words for [`PROGRAM`].
    deletions: Vec<Value>,
}

impl Differences {
    pub fn between(now: &Definitions, wanted: &Definitions) -> Differences {
        let mut found = Differences::default();
        for (kind, key, after) in wanted.unlike(now) {
            let words: Vec<&str> = key.iter().map(String::as_str).collect();
            match now.get(kind, &words) {
                None => {
                    found.deltas.push(Delta {
                        subject: kind.name(key),
                        before: Facet::Absent,
                        after: Facet::Value(summary(kind, after)),
                    });
                    found.puts.push((kind, key.clone()));
                }
                Some(before) => found.properties(kind, key, before, after),
            }
        }
        for (kind, key, before) in now.unlike(wanted) {
            let words: Vec<&str> = key.iter().map(String::as_str).collect();
            if !wanted.has(kind, &words) {
                found.deltas.push(Delta {
                    subject: kind.name(key),
                    before: Facet::Value(summary(kind, before)),
                    after: Facet::Absent,
                });
                found.delete(now, wanted, kind, key);
            }
        }
        found
    }

    /// These, and then those.
    pub fn and(mut self, then: Differences) -> Differences {
        self.deltas.extend(then.deltas);
        self.puts.extend(then.puts);
        self.deletions.extend(then.deletions);
        self
    }

    pub fn is_empty(&self) -> bool {
        self.puts.is_empty() && self.deletions.is_empty()
    }

    fn properties(&mut self, kind: Kind, key: &Key, before: &Map<String, Value>, after: &Map<String, Value>) {
        let mut names: Vec<&String> = before.keys().chain(after.keys()).collect();
        names.sort();
        names.dedup();
        let mut differs = false;
        for name in names {
            // A user without limits may be told with an empty set of them or with nothing.
            let none = json!({});
            let or_none = |v: Option<&'_ Value>| {
                if name == "limits" {
                    v.or(Some(&none)).cloned()
                } else {
                    v.cloned()
                }
            };
            let (old, new) = (or_none(before.get(name)), or_none(after.get(name)));
            let (old, new) = (old.as_ref(), new.as_ref());
            if old.map(canonical) == new.map(canonical) {
                continue;
            }
            differs = true;
            if name == "hashing_algorithm" {
                continue;
            }
            let secret = name == "password_hash";
            let facet = |value: Option<&Value>, tag: &str| match value {
                None => Facet::Absent,
                Some(Value::String(text)) if secret && text.is_empty() => Facet::Value("none".to_owned()),
                Some(_) if secret => Facet::Secret(tag.to_owned()),
                Some(value) => Facet::Value(shown(value)),
            };
            let property = if secret { "password" } else { name };
            self.deltas.push(Delta {
                subject: format!("{}: {property}", kind.name(key)),
                before: facet(old, "another"),
                after: facet(new, "as given"),
            });
            // An import adds limits and takes none away.
            if kind == Kind::User && name == "limits" {
                let limits = |v: Option<&Value>| v.and_then(super::value::object).unwrap_or_default();
                let kept = limits(new);
                for limit in limits(old).keys().filter(|l| !kept.contains_key(*l)) {
                    self.deletions.push(json!(["user_limit", key[0], limit]));
                }
            }
        }
        if differs {
            // Queues and exchanges are what they were declared as: a new one takes the place of the old.
            if matches!(kind, Kind::Queue | Kind::Exchange) {
                self.deletions.push(words(kind, key));
            }
            self.puts.push((kind, key.clone()));
        }
    }

    fn delete(&mut self, now: &Definitions, wanted: &Definitions, kind: Kind, key: &Key) {
        // What falls with another that goes needs no word of its own.
        let falls = now.all().any(|(other, name, _)| {
            let words: Vec<&str> = name.iter().map(String::as_str).collect();
            !wanted.has(other, &words) && kind.falls_with(key, other, name)
        });
        if !falls {
            self.deletions.push(words(kind, key));
        }
    }
}

/// What `rabbitmqctl import_definitions` is to be given; `None`: nothing.
pub fn import(differences: &Differences, wanted: &Definitions) -> Option<String> {
    let mut map: Map<String, Value> = Map::new();
    let mut add = |kind: Kind, key: &Key| {
        let words: Vec<&str> = key.iter().map(String::as_str).collect();
        let Some(properties) = wanted.get(kind, &words) else {
            return;
        };
        let mut entry = kind.write(key, properties);
        if kind == Kind::User {
            entry.entry("tags").or_insert_with(|| json!([]));
        }
        if let Value::Array(list) = map.entry(kind.section()).or_insert_with(|| json!([])) {
            list.push(Value::Object(entry));
        }
    };
    for (kind, key) in &differences.puts {
        add(*kind, key);
    }
    // With a queue or an exchange that is made anew its bindings are made anew.
    for (kind, key) in differences
        .puts
        .iter()
        .filter(|(k, _)| matches!(k, Kind::Queue | Kind::Exchange))
    {
        for (name, _) in wanted.of(Kind::Binding) {
            let put = differences.puts.iter().any(|(k, n)| *k == Kind::Binding && n == name);
            if !put && Kind::Binding.falls_with(name, *kind, key) {
                // An exchange may have gone with its last binding.
                add(Kind::Exchange, &vec![name[0].clone(), name[1].clone()]);
                add(Kind::Binding, name);
            }
        }
    }
    (!map.is_empty()).then(|| Value::Object(map).to_string())
}

/// The expressions that `rabbitmqctl eval` is to be given; each fits on a command line.
pub fn deletions(differences: &Differences) -> Vec<String> {
    // The kernel takes 128 KiB an argument; base64 adds a third.
    differences.deletions.chunks(200).map(program).collect()
}

fn program(words: &[Value]) -> String {
    let encoded = base64::engine::general_purpose::STANDARD.encode(Value::from(words).to_string());
    PROGRAM.replace("WORDS", &encoded)
}

/// The functions that `rabbitmqctl` itself calls (`delete_user`, `clear_policy`...), one after the other in one VM; for
/// exchanges and bindings, which it cannot delete, those that a channel calls. Not there any more: no failure.
const PROGRAM: &str = r#"U = <<"rmqplay">>,
R = fun(V, K, N) -> rabbit_misc:r(V, K, N) end,
J = fun(T) -> case rabbit_json:decode(rabbit_json:encode(rabbit_misc:amqp_table(T))) of [] -> #{}; X -> X end end,
D = fun
  ([<<"user">>, N]) -> rabbit_auth_backend_internal:delete_user(N, U);
  ([<<"user_limit">>, N, L]) -> rabbit_auth_backend_internal:clear_user_limits(N, L, U);
  ([<<"vhost">>, N]) -> rabbit_vhost:delete(N, U);
  ([<<"permission">>, V, N]) -> rabbit_auth_backend_internal:clear_permissions(N, V, U);
  ([<<"topic_permission">>, V, N, E]) -> rabbit_auth_backend_internal:clear_topic_permissions(N, V, E, U);
  ([<<"vhost_limits">>, V]) -> rabbit_vhost_limit:clear(V, U);
  ([<<"parameter">>, V, C, N]) -> rabbit_runtime_parameters:clear(V, C, N, U);
  ([<<"global_parameter">>, N]) -> rabbit_runtime_parameters:clear_global(binary_to_atom(N, utf8), U);
  ([<<"policy">>, V, N]) -> rabbit_policy:delete(V, N, U);
  ([<<"operator_policy">>, V, N]) -> rabbit_policy:delete_op(V, N, U);
  ([<<"queue">>, V, N]) ->
    case rabbit_amqqueue:lookup(R(V, queue, N)) of {ok, Q} -> rabbit_amqqueue:delete(Q, false, false, U); _ -> ok end;
  ([<<"exchange">>, V, N]) -> rabbit_exchange:delete(R(V, exchange, N), false, U);
  ([<<"binding">>, V, S, T, N, K, A]) ->
    To = R(V, case T of <<"queue">> -> queue; _ -> exchange end, N),
    [rabbit_binding:remove(B, U) || {binding, _, BK, BD, BA} = B <- rabbit_binding:list_for_source(R(V, exchange, S)),
      BK == K, BD == To, J(BA) == A], ok
end,
F = fun(W) -> case catch D(W) of
  ok -> []; {ok, _} -> []; {error, not_found} -> []; {error, {no_such_user, _}} -> []; {error, {no_such_vhost, _}} -> [];
  {error, {not_found, _}} -> []; {error_string, "Parameter does not exist"} -> []; {'EXIT', {noproc, _}} -> [{W, noproc}];
  {badrpc, E} -> [{W, E}]; {error, E} -> [{W, E}]; {error_string, E} -> [{W, E}]; {'EXIT', E} -> [{W, E}]; _ -> []
end end,
case lists:flatmap(F, rabbit_json:decode(base64:decode("WORDS"))) of [] -> ok; Failed -> erlang:error({rmqplay, Failed}) end."#;

fn words(kind: Kind, key: &Key) -> Value {
    let verb = match kind {
        Kind::User => "user",
        Kind::Vhost => "vhost",
        Kind::VhostLimits => "vhost_limits",
        Kind::Permission => "permission",
        Kind::TopicPermission => "topic_permission",
        Kind::Parameter => "parameter",
        Kind::GlobalParameter => "global_parameter",
        Kind::Policy => "policy",
        Kind::OperatorPolicy => "operator_policy",
        Kind::Queue => "queue",
        Kind::Exchange => "exchange",
        Kind::Binding => "binding",
    };
    let mut words = vec![json!(verb)];
    for (name, part) in kind.keys().iter().zip(key) {
        words.push(match *name {
            "arguments" => serde_json::from_str(part).unwrap_or_else(|_| json!({})),
            _ => json!(part),
        });
    }
    Value::Array(words)
}

/// A new or a lost object on one line.
fn summary(kind: Kind, properties: &Map<String, Value>) -> String {
    let empty = |v: &Value| same(v, &json!({})) || *v == json!("") || v.is_null();
    let mut parts: Vec<String> = Vec::new();
    for (name, value) in properties {
        match name.as_str() {
            "hashing_algorithm" => {}
            "tracing" if *value == json!(false) => {}
            "password_hash" if empty(value) => parts.push("no password".to_owned()),
            "password_hash" => parts.push("with a password".to_owned()),
            _ if empty(value) && !matches!(kind, Kind::Permission | Kind::TopicPermission) => {}
            _ => parts.push(format!("{name}: {}", shown(value))),
        }
    }
    if parts.is_empty() {
        "present".to_owned()
    } else {
        parts.join(", ")
    }
}
