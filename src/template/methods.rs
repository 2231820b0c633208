//! Python's methods of strings, lists, dicts and tuples.

mod string;

pub(crate) use self::string::{capitalize, split_lines};

use self::string::{STRING, string};
use super::eval::Ctx;
use super::fault::{Res, fail};
use super::ops;
use super::value::{Args, Dict, Key, List, Object, Value};
use indexmap::IndexMap;
use std::rc::Rc;

const LIST: &[&str] = &[
    "append", "clear", "copy", "count", "extend", "index", "insert", "pop", "remove", "reverse", "sort",
];
const DICT: &[&str] = &[
    "clear",
    "copy",
    "fromkeys",
    "get",
    "has_key",
    "items",
    "iteritems",
    "iterkeys",
    "itervalues",
    "keys",
    "pop",
    "popitem",
    "setdefault",
    "update",
    "values",
];
const TUPLE: &[&str] = &["count", "index"];
const INT: &[&str] = &["bit_length", "__and__", "__or__", "__xor__", "__lshift__", "__rshift__"];
const FLOAT: &[&str] = &["is_integer"];

pub(crate) fn has(value: &Value, name: &str) -> bool {
    let names = match value {
        Value::Str(_) => STRING,
        Value::List(_) => LIST,
        Value::Dict(_) => DICT,
        Value::Tuple(_) => TUPLE,
        Value::Int(_) | Value::Bool(_) => INT,
        Value::Float(_) => FLOAT,
        _ => return false,
    };
    names.contains(&name)
}

/// A method that was looked up but not called yet.
pub(crate) struct Bound {
    pub receiver: Value,
    pub name: Rc<str>,
}

impl Object for Bound {
    fn type_name(&self) -> &'static str {
        "builtin_function_or_method"
    }

    fn call(&self, ctx: &Ctx, args: Args) -> Res<Value> {
        call(ctx, &self.receiver, &self.name, args)
    }

    fn text(&self) -> String {
        format!(
            "<built-in method {} of {} object>",
            self.name,
            self.receiver.type_name()
        )
    }
}

pub(crate) fn call(ctx: &Ctx, receiver: &Value, name: &str, args: Args) -> Res<Value> {
    match receiver {
        Value::Str(s) => string(ctx, s, name, args),
        Value::List(l) => list(ctx, l, name, args),
        Value::Dict(d) => dict(ctx, d, name, args),
        Value::Tuple(t) => {
            let [item] = args.bind(name, ["value"])?;
            position_or_count(ctx, t, name, &needed(item, name, "value")?)
        }
        Value::Int(_) | Value::Bool(_) => int(receiver.as_int().unwrap_or(0), name, args),
        Value::Float(f) => Ok(Value::Bool(f.fract() == 0.0)),
        other => Err(fail(format!("'{}' object has no method `{name}`", other.type_name()))),
    }
}

fn needed(value: Option<Value>, method: &str, argument: &str) -> Res<Value> {
    value
        .ok_or_else(|| fail(format!("`{method}` needs the argument `{argument}`")))?
        .usable()
}

fn text_arg(value: Option<Value>, method: &str, argument: &str) -> Res<Rc<str>> {
    match needed(value, method, argument)? {
        Value::Str(s) => Ok(s),
        other => Err(fail(format!(
            "`{argument}` of `{method}` must be a string, not {}",
            other.type_name()
        ))),
    }
}

/// An integer argument; `None` stands for "not given".
fn int_arg(value: Option<Value>, method: &str) -> Res<Option<i128>> {
    match value {
        None | Some(Value::None) => Ok(None),
        Some(Value::Marker(fault)) => Err(fault),
        Some(v) => v
            .as_int()
            .map(Some)
            .ok_or_else(|| fail(format!("`{method}` needs an integer, not {}", v.type_name()))),
    }
}

fn int(i: i128, name: &str, args: Args) -> Res<Value> {
    if name == "bit_length" {
        return Ok(Value::Int(i128::from(128 - i.unsigned_abs().leading_zeros())));
    }
    let [other] = args.bind(name, ["value"])?;
    let other = int_arg(other, name)?.ok_or_else(|| fail(format!("`{name}` needs an integer")))?;
    let shift = u32::try_from(other).map_err(|_| fail("negative shift count"));
    Ok(Value::Int(match name {
        "__and__" => i & other,
        "__or__" => i | other,
        "__xor__" => i ^ other,
        "__lshift__" => i
            .checked_mul(1i128.checked_shl(shift?).unwrap_or(0))
            .ok_or_else(|| fail("the result is too large"))?,
        _ => i >> shift?.min(127),
    }))
}

fn position_or_count(ctx: &Ctx, items: &[Value], name: &str, wanted: &Value) -> Res<Value> {
    let mut count = 0;
    for (i, item) in items.iter().enumerate() {
        if item.equals(ctx, wanted)? {
            if name == "index" {
                return Ok(i.into());
            }
            count += 1;
        }
    }
    if name == "index" {
        return Err(fail(format!("{} is not in list", wanted.repr(ctx)?)));
    }
    Ok(Value::Int(count))
}

fn list(ctx: &Ctx, l: &List, name: &str, mut args: Args) -> Res<Value> {
    let at = |i: i128, len: usize| {
        usize::try_from(if i < 0 { (i + len as i128).max(0) } else { i })
            .unwrap_or(0)
            .min(len)
    };
    match name {
        "append" => {
            let [item] = args.bind(name, ["object"])?;
            let item = item.ok_or_else(|| fail("`append` needs what to append"))?;
            l.edit(|v| v.push(item));
        }
        "extend" => {
            let [items] = args.bind(name, ["iterable"])?;
            let items = needed(items, name, "iterable")?.iterate(ctx)?;
            l.edit(|v| v.extend(items));
        }
        "insert" => {
            let [index, item] = args.bind(name, ["index", "object"])?;
            let index = int_arg(index, name)?.unwrap_or(0);
            let item = item.ok_or_else(|| fail("`insert` needs what to insert"))?;
            l.edit(|v| v.insert(at(index, v.len()), item));
        }
        "pop" => {
            let [index] = args.bind(name, ["index"])?;
            let index = int_arg(index, name)?.unwrap_or(-1);
            let items = l.items(ctx);
            let i = if index < 0 { index + items.len() as i128 } else { index };
            let i = usize::try_from(i).ok().filter(|i| *i < items.len());
            let i = i.ok_or_else(|| {
                fail(if items.is_empty() {
                    "pop from empty list"
                } else {
                    "pop index out of range"
                })
            })?;
            l.edit(|v| v.remove(i));
            return Ok(items[i].clone());
        }
        "remove" => {
            let [item] = args.bind(name, ["value"])?;
            let item = needed(item, name, "value")?;
            for (i, v) in l.items(ctx).iter().enumerate() {
                if v.equals(ctx, &item)? {
                    l.edit(|v| v.remove(i));
                    return Ok(Value::None);
                }
            }
            return Err(fail("list.remove(x): x not in list"));
        }
        "reverse" => l.edit(|v| v.reverse()),
        "clear" => l.edit(Vec::clear),
        "copy" => return Ok(Value::list(l.items(ctx))),
        "sort" => {
            let reverse = args.take_kw("reverse");
            let mut items = l.items(ctx);
            sort_values(ctx, &mut items, |v| Ok(v.clone()))?;
            if let Some(reverse) = reverse
                && reverse.truthy()?
            {
                items.reverse();
            }
            l.edit(|v| *v = items);
        }
        _ => {
            let [item] = args.bind(name, ["value"])?;
            return position_or_count(ctx, &l.items(ctx), name, &needed(item, name, "value")?);
        }
    }
    Ok(Value::None)
}

/// Sorts stably by a key, as Python's `sort` does; the first pair that cannot be ordered is the error.
pub(crate) fn sort_values(ctx: &Ctx, items: &mut Vec<Value>, key: impl Fn(&Value) -> Res<Value>) -> Res<()> {
    let mut keyed = items
        .drain(..)
        .map(|v| Ok((key(&v)?.usable()?, v)))
        .collect::<Res<Vec<_>>>()?;
    let mut failure = None;
    keyed.sort_by(|(a, _), (b, _)| match a.compare(ctx, b, "<") {
        Ok(order) => order.unwrap_or(std::cmp::Ordering::Equal),
        Err(fault) => {
            failure.get_or_insert(fault);
            std::cmp::Ordering::Equal
        }
    });
    items.extend(keyed.into_iter().map(|(_, v)| v));
    failure.map_or(Ok(()), Err)
}

/// The pairs of a dict, of a list of pairs, or none.
fn pairs(ctx: &Ctx, value: &Value) -> Res<Vec<(Key, Value)>> {
    match value {
        Value::Dict(d) => Ok(d.items(ctx)),
        other => other
            .iterate(ctx)?
            .iter()
            .map(|pair| {
                let parts = pair.iterate(ctx)?;
                match parts.as_slice() {
                    [k, v] => Ok((k.to_key()?, v.clone())),
                    _ => Err(fail("a sequence of pairs is needed to make a dict")),
                }
            })
            .collect(),
    }
}

/// Python's `dict(...)` and the arguments of `update`.
pub(crate) fn dict_items(ctx: &Ctx, args: Args) -> Res<Vec<(Key, Value)>> {
    let mut items = Vec::new();
    for source in &args.pos {
        items.extend(pairs(ctx, source)?);
    }
    items.extend(args.kw.into_iter().map(|(k, v)| (Key::Str(k), v)));
    Ok(items)
}

fn dict(ctx: &Ctx, d: &Dict, name: &str, args: Args) -> Res<Value> {
    let key_missing = |key: &Value| -> Res<Value> { Err(fail(format!("the dict has no key {}", key.repr(ctx)?))) };
    match name {
        "keys" | "iterkeys" => Ok(Value::list(d.keys().iter().map(Key::to_value).collect())),
        "values" | "itervalues" => Ok(Value::list(d.items(ctx).into_iter().map(|(_, v)| v).collect())),
        "items" | "iteritems" => {
            let pair = |(k, v): (Key, Value)| Value::tuple(vec![k.to_value(), v]);
            Ok(Value::list(d.items(ctx).into_iter().map(pair).collect()))
        }
        "copy" => Ok(Dict::of(d.items(ctx).into_iter().collect()).into()),
        "clear" => {
            d.edit(IndexMap::clear);
            Ok(Value::None)
        }
        "update" => {
            let items = dict_items(ctx, args)?;
            d.edit(|m| m.extend(items));
            Ok(Value::None)
        }
        "get" => {
            let [key, default] = args.bind(name, ["key", "default"])?;
            let key = needed(key, name, "key")?.to_key()?;
            Ok(d.get(ctx, &key).or(default).unwrap_or(Value::None))
        }
        "has_key" => {
            let [key] = args.bind(name, ["key"])?;
            let key = needed(key, name, "key")?.to_key()?;
            Ok(Value::Bool(d.keys().contains(&key)))
        }
        "setdefault" => {
            let [key, default] = args.bind(name, ["key", "default"])?;
            let key = needed(key, name, "key")?.to_key()?;
            if let Some(value) = d.get(ctx, &key) {
                return Ok(value);
            }
            let default = default.unwrap_or(Value::None);
            d.edit(|m| m.insert(key, default.clone()));
            Ok(default)
        }
        "pop" => {
            let [key, default] = args.bind(name, ["key", "default"])?;
            let key = needed(key, name, "key")?;
            let found = d.get(ctx, &key.to_key()?);
            let key_of = key.to_key()?;
            d.edit(|m| m.shift_remove(&key_of));
            match found.or(default) {
                Some(value) => Ok(value),
                None => key_missing(&key),
            }
        }
        "popitem" => match d.items(ctx).pop() {
            Some((k, v)) => {
                d.edit(|m| m.shift_remove(&k));
                Ok(Value::tuple(vec![k.to_value(), v]))
            }
            None => Err(fail("popitem(): dictionary is empty")),
        },
        "fromkeys" => {
            let [keys, value] = args.bind(name, ["keys", "value"])?;
            let keys = needed(keys, name, "keys")?.iterate(ctx)?;
            let value = value.unwrap_or(Value::None);
            let items = keys
                .iter()
                .map(|k| Ok((k.to_key()?, value.clone())))
                .collect::<Res<_>>()?;
            Ok(Dict::of(items).into())
        }
        _ => Err(fail(format!("'dict' object has no method `{name}`"))),
    }
}
