//! What must hold of every module.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test that cannot go on fails"
)]

use rmqplay::modules::{Kind, REGISTRY, coerce, find};
use serde_json::{Map, Value};
use std::collections::BTreeSet;

/// Arguments of an example task; values that hold templates are left out, their types are not known.
fn literal(args: &Value) -> Map<String, Value> {
    let template = |v: &Value| v.to_string().contains("{{");
    args.as_object()
        .into_iter()
        .flatten()
        .filter(|(_, v)| !template(v))
        .map(|(k, v)| (k.clone(), v.clone()))
        .collect()
}

#[test]
fn examples_parse_and_use_the_module() {
    for spec in REGISTRY {
        let tasks: Vec<Value> = serde_yaml::from_str(spec.examples)
            .unwrap_or_else(|e| panic!("the examples of `{}` are no list of tasks: {e}", spec.name));
        let uses = tasks.iter().filter_map(|t| {
            t.as_object()?
                .iter()
                .find(|(key, _)| find(key).is_some_and(|found| found.name == spec.name))
        });
        let mut count = 0;
        for (_, args) in uses {
            count += 1;
            if !args.is_object() {
                continue;
            }
            if let Err(errors) = coerce(spec, &literal(args)) {
                // A required argument may be one of those left out above.
                let wrong: Vec<_> = errors
                    .iter()
                    .filter(|e| !(e.message.contains("needs the argument") && args.to_string().contains("{{")))
                    .collect();
                assert!(
                    wrong.is_empty(),
                    "an example of `{}` is wrong: {wrong:?}\n{args}",
                    spec.name
                );
            }
        }
        assert!(count > 0, "`{}` has no example", spec.name);
    }
}

#[test]
fn names_are_unique() {
    let mut seen = BTreeSet::new();
    for spec in REGISTRY {
        for name in std::iter::once(&spec.name).chain(spec.aliases) {
            assert!(seen.insert(*name), "`{name}` names two modules");
        }
    }
}

#[test]
fn documentation_is_whole() {
    for spec in REGISTRY {
        assert!(
            !spec.summary.is_empty() && !spec.description.trim().is_empty(),
            "{}",
            spec.name
        );
        for arg in spec.args {
            assert!(!arg.doc.is_empty(), "`{}` of `{}` has no text", arg.name, spec.name);
        }
    }
}

#[test]
fn modules_on_hosts_have_cases() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/modules");
    for spec in REGISTRY {
        if !matches!(spec.kind, Kind::Host(_)) {
            continue;
        }
        let count = std::fs::read_dir(root.join(spec.name)).map_or(0, Iterator::count);
        assert!(
            count >= 2,
            "`{}` has {count} cases in tests/modules/{}",
            spec.name,
            spec.name
        );
    }
}
