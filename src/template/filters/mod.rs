//! What may stand after `|`, by short name; `ansible.builtin.x` is the same filter.

mod collections;
mod data;
mod numbers;
mod paths;
mod text;

use super::eval::Ctx;
use super::fault::{Res, fail};
use super::value::{Args, Value};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::LazyLock;

pub(crate) struct Filter {
    pub name: &'static str,
    pub run: fn(&Ctx, Value, Args) -> Res<Value>,
    /// Looks at undefined values itself; other filters hand on the first they are given.
    pub markers: bool,
}

const fn filter(name: &'static str, run: fn(&Ctx, Value, Args) -> Res<Value>) -> Filter {
    Filter {
        name,
        run,
        markers: false,
    }
}

const fn with_markers(name: &'static str, run: fn(&Ctx, Value, Args) -> Res<Value>) -> Filter {
    Filter {
        name,
        run,
        markers: true,
    }
}

const ALIASES: &[(&str, &str)] = &[
    ("d", "default"),
    ("count", "length"),
    ("checksum", "sha1"),
    ("e", "escape"),
    ("tojson", "to_json"),
];

static TABLE: LazyLock<HashMap<&'static str, &'static Filter>> = LazyLock::new(|| {
    [
        text::FILTERS,
        collections::FILTERS,
        data::FILTERS,
        numbers::FILTERS,
        paths::FILTERS,
    ]
    .into_iter()
    .flatten()
    .map(|f| (f.name, f))
    .collect()
});

pub(crate) fn short_name(name: &str) -> &str {
    ["ansible.builtin.", "ansible.legacy."]
        .iter()
        .find_map(|p| name.strip_prefix(p))
        .unwrap_or(name)
}

pub(crate) fn find(name: &str) -> Option<&'static Filter> {
    let short = short_name(name);
    let short = ALIASES.iter().find(|(a, _)| *a == short).map_or(short, |(_, n)| n);
    TABLE.get(short).copied()
}

pub(crate) fn names() -> Vec<&'static str> {
    TABLE.keys().copied().chain(ALIASES.iter().map(|a| a.0)).collect()
}

/// Applies a filter by name, as `map` does.
fn apply(ctx: &Ctx, name: &str, input: Value, args: Args) -> Res<Value> {
    let filter = find(name).ok_or_else(|| fail(format!("unknown filter `{name}`")))?;
    if !filter.markers
        && let Some(Value::Marker(fault)) = std::iter::once(&input)
            .chain(args.values())
            .find(|v| matches!(v, Value::Marker(_)))
    {
        return Err(fault.clone());
    }
    (filter.run)(ctx, input, args)
}

fn flag(value: Option<Value>) -> Res<bool> {
    value.map_or(Ok(false), |v| v.truthy())
}

fn text_of(ctx: &Ctx, value: Option<Value>, default: &str) -> Res<Rc<str>> {
    match value {
        None | Some(Value::None) => Ok(default.into()),
        Some(v) => v.text(ctx),
    }
}

fn size_of(value: Option<Value>, what: &str, default: usize) -> Res<usize> {
    match value {
        None | Some(Value::None) => Ok(default),
        Some(v) => {
            let i = v.as_int().and_then(|i| usize::try_from(i).ok());
            i.ok_or_else(|| fail(format!("`{what}` must be a whole number, not {}", v.type_name())))
        }
    }
}

fn required(value: Option<Value>, what: &str) -> Res<Value> {
    value.ok_or_else(|| fail(format!("needs the argument `{what}`")))
}
