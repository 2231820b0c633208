//! Filters on lists and dicts.

use super::{Filter, apply, filter, flag, required, size_of, text_of, with_markers};
use crate::template::eval::Ctx;
use crate::template::fault::{Res, fail, undefined};
use crate::template::methods::sort_values;
use crate::template::value::{Args, Dict, Key, Value};
use crate::template::{ops, tests};
use indexmap::IndexMap;
use std::cmp::Ordering;
use std::rc::Rc;

pub(super) const FILTERS: &[Filter] = &[
    filter("length", |_, v, _| Ok(v.length()?.into())),
    filter("list", |ctx, v, _| Ok(Value::list(v.iterate(ctx)?))),
    filter("first", |ctx, v, _| Ok(end_item(v.iterate(ctx)?.first(), "first"))),
    filter("last", |ctx, v, _| Ok(end_item(v.iterate(ctx)?.last(), "last"))),
    filter("reverse", |ctx, v, _| {
        if let Value::Str(s) = &v {
            return Ok(s.chars().rev().collect::<String>().into());
        }
        let mut items = v.iterate(ctx)?;
        items.reverse();
        Ok(Value::list(items))
    }),
    filter("join", |ctx, v, args| {
        let [separator, attribute] = args.bind("join", ["d", "attribute"])?;
        let separator = text_of(ctx, separator, "")?;
        let attribute = Attribute::of(ctx, attribute)?;
        let parts = v
            .iterate(ctx)?
            .iter()
            .map(|i| attribute.get(ctx, i)?.text(ctx))
            .collect::<Res<Vec<_>>>()?;
        Ok(parts.join(&separator).into())
    }),
    filter("sort", |ctx, v, args| {
        let [reverse, case, attribute] = args.bind("sort", ["reverse", "case_sensitive", "attribute"])?;
        let reverse = flag(reverse)?;
        let key = Attribute::sort_keys(ctx, attribute, flag(case)?)?;
        let mut items = v.iterate(ctx)?;
        // Python's `reverse` keeps equal items in order.
        if reverse {
            items.reverse();
        }
        sort_values(ctx, &mut items, |item| key(ctx, item))?;
        if reverse {
            items.reverse();
        }
        Ok(Value::list(items))
    }),
    filter("dictsort", |ctx, v, args| {
        let [case, by, reverse] = args.bind("dictsort", ["case_sensitive", "by", "reverse"])?;
        let Value::Dict(d) = &v else {
            return Err(wrong(&v, "a dict"));
        };
        let position = match &*text_of(ctx, by, "key")? {
            "key" => 0,
            "value" => 1,
            _ => return Err(fail("you can only sort by either `key` or `value`")),
        };
        let (case, reverse) = (flag(case)?, flag(reverse)?);
        let pairs = d
            .items(ctx)
            .into_iter()
            .map(|(k, v)| Value::tuple(vec![k.to_value(), v]));
        let mut pairs: Vec<Value> = pairs.collect();
        if reverse {
            pairs.reverse();
        }
        sort_values(ctx, &mut pairs, |pair| match pair {
            Value::Tuple(t) => Ok(fold_case(&t[position], case)),
            other => Ok(other.clone()),
        })?;
        if reverse {
            pairs.reverse();
        }
        Ok(Value::list(pairs))
    }),
    filter("min", |ctx, v, args| extreme(ctx, &v, args, Ordering::Less)),
    filter("max", |ctx, v, args| extreme(ctx, &v, args, Ordering::Greater)),
    filter("sum", |ctx, v, args| {
        let [attribute, start] = args.bind("sum", ["attribute", "start"])?;
        let attribute = Attribute::of(ctx, attribute)?;
        let mut total = start.unwrap_or(Value::Int(0));
        for item in v.iterate(ctx)? {
            total = ops::add(ctx, &total, &attribute.get(ctx, &item)?.usable()?)?;
        }
        Ok(total)
    }),
    filter("unique", |ctx, v, args| {
        let [case, attribute] = args.bind("unique", ["case_sensitive", "attribute"])?;
        let attribute = Attribute::of(ctx, attribute)?;
        unique(ctx, v.iterate(ctx)?, flag(case)?, &attribute)
    }),
    filter("union", |ctx, v, args| {
        let [other] = args.bind("union", ["b"])?;
        let mut items = v.iterate(ctx)?;
        items.extend(required(other, "b")?.iterate(ctx)?);
        distinct(ctx, items)
    }),
    filter("intersect", |ctx, v, args| set_filter(ctx, &v, args, "intersect", true)),
    filter("difference", |ctx, v, args| {
        set_filter(ctx, &v, args, "difference", false)
    }),
    filter("symmetric_difference", |ctx, v, args| {
        let [other] = args.bind("symmetric_difference", ["b"])?;
        let other = required(other, "b")?;
        let mut out = Vec::new();
        for (from, without) in [(&v, &other), (&other, &v)] {
            for item in from.iterate(ctx)? {
                if !item.is_in(ctx, without)? {
                    out.push(item);
                }
            }
        }
        distinct(ctx, out)
    }),
    filter("flatten", |ctx, v, args| {
        let [levels, skip] = args.bind("flatten", ["levels", "skip_nulls"])?;
        let levels = levels
            .filter(|l| !matches!(l, Value::None))
            .map(|l| size_of(Some(l), "levels", 0))
            .transpose()?;
        let skip = skip.map_or(Ok(true), |s| s.truthy())?;
        let mut out = Vec::new();
        flatten(ctx, &v, levels, skip, &mut out)?;
        Ok(Value::list(out))
    }),
    filter("product", |ctx, v, mut args| {
        let repeat = size_of(args.take_kw("repeat"), "repeat", 1)?;
        let mut pools = vec![v.iterate(ctx)?];
        for other in &args.pos {
            pools.push(other.iterate(ctx)?);
        }
        let pools: Vec<Vec<Value>> = std::iter::repeat_n(pools, repeat).flatten().collect();
        let mut rows: Vec<Vec<Value>> = vec![Vec::new()];
        for pool in pools {
            rows = rows
                .iter()
                .flat_map(|row| {
                    pool.iter()
                        .map(move |v| row.iter().cloned().chain([v.clone()]).collect())
                })
                .collect();
        }
        Ok(Value::list(rows.into_iter().map(Value::tuple).collect()))
    }),
    filter("permutations", |ctx, v, args| {
        let [r] = args.bind("permutations", ["r"])?;
        let items = v.iterate(ctx)?;
        let r = size_of(r, "r", items.len())?;
        choose(&items, r, |picked, i| !picked.contains(&i))
    }),
    filter("combinations", |ctx, v, args| {
        let [r] = args.bind("combinations", ["r"])?;
        let items = v.iterate(ctx)?;
        let r = size_of(Some(required(r, "r")?), "r", 0)?;
        choose(&items, r, |picked, i| picked.last().is_none_or(|last| *last < i))
    }),
    filter("zip", |ctx, v, args| zip(ctx, &v, &args, None)),
    filter("zip_longest", |ctx, v, mut args| {
        let fill = args.take_kw("fillvalue").unwrap_or(Value::None);
        zip(ctx, &v, &args, Some(&fill))
    }),
    filter("batch", |ctx, v, args| {
        let [count, fill] = args.bind("batch", ["linecount", "fill_with"])?;
        let count = size_of(Some(required(count, "linecount")?), "linecount", 1)?.max(1);
        let items = v.iterate(ctx)?;
        let mut rows: Vec<Vec<Value>> = items.chunks(count).map(<[Value]>::to_vec).collect();
        if let (Some(fill), Some(last)) = (fill.filter(|f| !matches!(f, Value::None)), rows.last_mut()) {
            last.resize(count, fill);
        }
        Ok(Value::list(rows.into_iter().map(Value::list).collect()))
    }),
    filter("slice", |ctx, v, args| {
        let [slices, fill] = args.bind("slice", ["slices", "fill_with"])?;
        let slices = size_of(Some(required(slices, "slices")?), "slices", 1)?.max(1);
        let items = v.iterate(ctx)?;
        let (each, extra) = (items.len() / slices, items.len() % slices);
        let fill = fill.filter(|f| !matches!(f, Value::None));
        let mut rest = items.as_slice();
        let mut rows = Vec::new();
        for i in 0..slices {
            let (head, tail) = rest.split_at(each + usize::from(i < extra));
            rest = tail;
            let mut row = head.to_vec();
            if let Some(fill) = fill.as_ref().filter(|_| i >= extra && extra > 0) {
                row.push(fill.clone());
            }
            rows.push(Value::list(row));
        }
        Ok(Value::list(rows))
    }),
    filter("groupby", groupby),
    filter("map", map),
    filter("select", |ctx, v, args| select(ctx, &v, args, false, true)),
    filter("reject", |ctx, v, args| select(ctx, &v, args, false, false)),
    filter("selectattr", |ctx, v, args| select(ctx, &v, args, true, true)),
    filter("rejectattr", |ctx, v, args| select(ctx, &v, args, true, false)),
    filter("attr", |ctx, v, args| {
        let [name] = args.bind("attr", ["name"])?;
        Attribute::of(ctx, name)?.get(ctx, &v)
    }),
    filter("items", |ctx, v, _| match &v {
        Value::Dict(d) => {
            let pair = |(k, v): (Key, Value)| Value::tuple(vec![k.to_value(), v]);
            Ok(Value::list(d.items(ctx).into_iter().map(pair).collect()))
        }
        other => Err(wrong(other, "a dict")),
    }),
    filter("dict2items", |ctx, v, args| {
        let [key_name, value_name] = args.bind("dict2items", ["key_name", "value_name"])?;
        let (key_name, value_name) = (text_of(ctx, key_name, "key")?, text_of(ctx, value_name, "value")?);
        let Value::Dict(d) = &v else {
            return Err(wrong(&v, "a dict"));
        };
        let entry = |(k, v): (Key, Value)| Value::dict([(&*key_name, k.to_value()), (&*value_name, v)]);
        Ok(Value::list(d.items(ctx).into_iter().map(entry).collect()))
    }),
    filter("items2dict", |ctx, v, args| {
        let [key_name, value_name] = args.bind("items2dict", ["key_name", "value_name"])?;
        let (key_name, value_name) = (text_of(ctx, key_name, "key")?, text_of(ctx, value_name, "value")?);
        if !matches!(v, Value::List(_) | Value::Tuple(_)) {
            return Err(wrong(&v, "a list"));
        }
        let mut out = IndexMap::new();
        for item in v.iterate(ctx)? {
            let Value::Dict(d) = &item else {
                return Err(fail("needs a list of dicts"));
            };
            let part = |name: &Rc<str>| {
                let found = d.get(ctx, &Key::Str(name.clone()));
                found.ok_or_else(|| {
                    fail(format!(
                        "an item has no `{name}`; needed are `{key_name}` and `{value_name}`"
                    ))
                })
            };
            out.insert(part(&key_name)?.to_key()?, part(&value_name)?);
        }
        Ok(Dict::of(out).into())
    }),
    filter("combine", combine),
    with_markers("extract", |ctx, v, args| {
        let [container, more] = args.bind("extract", ["container", "morekeys"])?;
        let mut value = required(container, "container")?;
        let more = match more {
            None | Some(Value::None) => Vec::new(),
            Some(list @ (Value::List(_) | Value::Tuple(_))) => list.iterate(ctx)?,
            Some(one) => vec![one],
        };
        for key in std::iter::once(v.usable()?).chain(more) {
            value = item_of(ctx, &value, &key.usable()?)?;
        }
        Ok(value)
    }),
    filter("subelements", |ctx, v, args| {
        let [path, skip] = args.bind("subelements", ["subelements", "skip_missing"])?;
        let skip = flag(skip)?;
        let elements = match &v {
            Value::Dict(d) => d.items(ctx).into_iter().map(|(_, v)| v).collect(),
            Value::List(l) => l.items(ctx),
            other => return Err(wrong(other, "a list of dicts or a dict of dicts")),
        };
        let steps: Vec<Value> = match required(path, "subelements")? {
            Value::Str(s) => s.split('.').map(Value::from).collect(),
            list => list.iterate(ctx)?,
        };
        let mut out = Vec::new();
        for element in elements {
            let mut value = element.clone();
            for step in &steps {
                let Value::Dict(d) = &value else {
                    return Err(wrong(&value, "a dict"));
                };
                match d.get(ctx, &step.to_key()?) {
                    Some(next) => value = next,
                    None if skip => {
                        value = Value::list(Vec::new());
                        break;
                    }
                    None => return Err(fail(format!("could not find key {} in an item", step.repr(ctx)?))),
                }
            }
            let Value::List(l) = &value else {
                return Err(wrong(&value, "a list under that key"));
            };
            for inner in l.items(ctx) {
                out.push(Value::tuple(vec![element.clone(), inner]));
            }
        }
        Ok(Value::list(out))
    }),
    filter("rekey_on_member", |ctx, v, args| {
        let [key, duplicates] = args.bind("rekey_on_member", ["key", "duplicates"])?;
        let key = required(key, "key")?;
        let overwrite = match &*text_of(ctx, duplicates, "error")? {
            "error" => false,
            "overwrite" => true,
            other => {
                return Err(fail(format!(
                    "`duplicates` must be `error` or `overwrite`, not `{other}`"
                )));
            }
        };
        let items = match &v {
            Value::Dict(d) => d.items(ctx).into_iter().map(|(_, v)| v).collect(),
            other => other.iterate(ctx)?,
        };
        let mut out = IndexMap::new();
        for item in items {
            let Value::Dict(d) = &item else {
                return Err(wrong(&item, "dicts"));
            };
            let found = d.get(ctx, &key.to_key()?);
            let name = found.ok_or_else(|| {
                fail(format!(
                    "key {} was not found",
                    key.to_key().map_or_else(|_| String::new(), |k| k.json_name())
                ))
            })?;
            if out.insert(name.to_key()?, item.clone()).is_some() && !overwrite {
                return Err(fail(format!(
                    "key {} is not unique, cannot convert to dict",
                    name.repr(ctx)?
                )));
            }
        }
        Ok(Dict::of(out).into())
    }),
];

fn wrong(v: &Value, wanted: &str) -> Rc<crate::template::fault::Fault> {
    fail(format!("needs {wanted}, not a value of type {}", v.type_name()))
}

fn end_item(item: Option<&Value>, which: &str) -> Value {
    item.cloned()
        .unwrap_or_else(|| Value::Marker(undefined(format!("an empty sequence has no {which} item"))))
}

/// Lower case for comparing, unless case matters.
fn fold_case(v: &Value, case_sensitive: bool) -> Value {
    match v {
        Value::Str(s) if !case_sensitive => s.to_lowercase().into(),
        other => other.clone(),
    }
}

/// One step into a value, by key or index.
fn item_of(ctx: &Ctx, value: &Value, key: &Value) -> Res<Value> {
    let found = match (value, key.as_int()) {
        (Value::Marker(_), _) => return Ok(value.clone()),
        (Value::Dict(d), _) => d.get(ctx, &key.to_key()?),
        (Value::List(_) | Value::Tuple(_), Some(i)) => {
            let items = value.iterate(ctx)?;
            let i = if i < 0 { i + items.len() as i128 } else { i };
            usize::try_from(i).ok().and_then(|i| items.get(i).cloned())
        }
        (Value::Object(o), _) => key.as_str().and_then(|k| o.attr(ctx, k)),
        _ => None,
    };
    Ok(match found {
        Some(value) => value,
        None => {
            let name = key.repr(ctx)?;
            Value::Marker(undefined(format!(
                "a value of type {} has no {name}",
                value.type_name()
            )))
        }
    })
}

/// Jinja's `attribute=`: `a.b.0`, or a number.
struct Attribute {
    path: Vec<Value>,
    default: Option<Value>,
}

impl Attribute {
    fn of(ctx: &Ctx, attribute: Option<Value>) -> Res<Attribute> {
        let path = match attribute {
            None | Some(Value::None) => Vec::new(),
            Some(Value::Str(s)) => s
                .split('.')
                .map(|part| part.parse::<i128>().map_or_else(|_| part.into(), Value::Int))
                .collect(),
            Some(other) => {
                other.text(ctx)?;
                vec![other]
            }
        };
        Ok(Attribute { path, default: None })
    }

    fn get(&self, ctx: &Ctx, item: &Value) -> Res<Value> {
        let mut value = item.clone();
        for step in &self.path {
            value = item_of(ctx, &value, step)?;
            if let (Value::Marker(fault), Some(default)) = (&value, &self.default)
                && fault.is_undefined()
            {
                value = default.clone();
            }
        }
        Ok(value)
    }

    /// `sort`'s key: several attributes with commas make a list.
    fn sort_keys(ctx: &Ctx, attribute: Option<Value>, case: bool) -> Res<impl Fn(&Ctx, &Value) -> Res<Value> + use<>> {
        let attributes = match attribute {
            Some(Value::Str(s)) => s
                .split(',')
                .map(|a| Attribute::of(ctx, Some(a.into())))
                .collect::<Res<Vec<_>>>()?,
            other => vec![Attribute::of(ctx, other)?],
        };
        Ok(move |ctx: &Ctx, item: &Value| {
            let mut keys = Vec::new();
            for attribute in &attributes {
                keys.push(fold_case(&attribute.get(ctx, item)?.usable()?, case));
            }
            Ok(if keys.len() == 1 {
                keys.remove(0)
            } else {
                Value::list(keys)
            })
        })
    }
}

fn extreme(ctx: &Ctx, v: &Value, args: Args, wanted: Ordering) -> Res<Value> {
    let [case, attribute] = args.bind("min", ["case_sensitive", "attribute"])?;
    let case = flag(case)?;
    let attribute = Attribute::of(ctx, attribute)?;
    let mut best: Option<(Value, Value)> = None;
    for item in v.iterate(ctx)? {
        let key = fold_case(&attribute.get(ctx, &item)?.usable()?, case);
        let better = match &best {
            None => true,
            Some((best, _)) => {
                key.compare(ctx, best, if wanted == Ordering::Less { "<" } else { ">" })? == Some(wanted)
            }
        };
        if better {
            best = Some((key, item));
        }
    }
    Ok(best.map_or_else(|| end_item(None, "smallest or largest"), |(_, item)| item))
}

/// Drops items whose key came before; unhashable keys are compared one by one.
fn unique(ctx: &Ctx, items: Vec<Value>, case: bool, attribute: &Attribute) -> Res<Value> {
    let mut seen = IndexMap::new();
    let mut kept = Vec::new();
    for item in &items {
        let Ok(key) = fold_case(&attribute.get(ctx, item)?.usable()?, case).to_key() else {
            return slow_unique(ctx, items.clone());
        };
        if seen.insert(key, ()).is_none() {
            kept.push(item.clone());
        }
    }
    Ok(Value::list(kept))
}

fn slow_unique(ctx: &Ctx, items: Vec<Value>) -> Res<Value> {
    let mut kept: Vec<Value> = Vec::new();
    'items: for item in items {
        for other in &kept {
            if other.equals(ctx, &item)? {
                continue 'items;
            }
        }
        kept.push(item);
    }
    Ok(Value::list(kept))
}

fn distinct(ctx: &Ctx, items: Vec<Value>) -> Res<Value> {
    unique(
        ctx,
        items,
        true,
        &Attribute {
            path: Vec::new(),
            default: None,
        },
    )
}

/// `intersect` and `difference`. Python's sets give an arbitrary order; here it is the first list's.
fn set_filter(ctx: &Ctx, v: &Value, args: Args, name: &str, keep: bool) -> Res<Value> {
    let [other] = args.bind(name, ["b"])?;
    let other = required(other, "b")?;
    // Keys make it linear; what cannot be one is compared.
    let keys: Option<std::collections::HashSet<Key>> = other.iterate(ctx)?.iter().map(|i| i.to_key().ok()).collect();
    let mut out = Vec::new();
    for item in v.iterate(ctx)? {
        let inside = match (&keys, item.to_key()) {
            (Some(keys), Ok(key)) => keys.contains(&key),
            _ => item.is_in(ctx, &other)?,
        };
        if inside == keep {
            out.push(item);
        }
    }
    distinct(ctx, out)
}

fn flatten(ctx: &Ctx, v: &Value, levels: Option<usize>, skip: bool, out: &mut Vec<Value>) -> Res<()> {
    let _deeper = ctx.deeper()?;
    for item in v.iterate(ctx)? {
        item.check()?;
        match &item {
            Value::None if skip => {}
            Value::Str(s) if skip && matches!(&**s, "None" | "null") => {}
            Value::List(_) | Value::Tuple(_) if levels != Some(0) => {
                flatten(ctx, &item, levels.map(|l| l - 1), skip, out)?;
            }
            _ => out.push(item),
        }
    }
    Ok(())
}

fn choose(items: &[Value], r: usize, allowed: impl Fn(&[usize], usize) -> bool) -> Res<Value> {
    let mut rows: Vec<Vec<usize>> = vec![Vec::new()];
    for _ in 0..r {
        let mut next = Vec::new();
        for row in &rows {
            for i in 0..items.len() {
                if allowed(row, i) {
                    next.push(row.iter().copied().chain([i]).collect());
                }
            }
        }
        rows = next;
        if rows.len() > 1_000_000 {
            return Err(fail("that is more than a million combinations"));
        }
    }
    let row = |r: Vec<usize>| Value::tuple(r.into_iter().map(|i| items[i].clone()).collect());
    Ok(Value::list(rows.into_iter().map(row).collect()))
}

fn zip(ctx: &Ctx, v: &Value, args: &Args, fill: Option<&Value>) -> Res<Value> {
    let mut columns = vec![v.iterate(ctx)?];
    for other in &args.pos {
        columns.push(other.iterate(ctx)?);
    }
    let lengths = columns.iter().map(Vec::len);
    let n = if fill.is_some() { lengths.max() } else { lengths.min() }.unwrap_or(0);
    let cell = |c: &Vec<Value>, i: usize| c.get(i).or(fill).cloned().unwrap_or(Value::None);
    let rows = (0..n).map(|i| Value::tuple(columns.iter().map(|c| cell(c, i)).collect()));
    Ok(Value::list(rows.collect()))
}

fn groupby(ctx: &Ctx, v: Value, args: Args) -> Res<Value> {
    let [attribute, default, case] = args.bind("groupby", ["attribute", "default", "case_sensitive"])?;
    let case = flag(case)?;
    let mut attribute = Attribute::of(ctx, Some(required(attribute, "attribute")?))?;
    attribute.default = default;
    let mut items = v.iterate(ctx)?;
    let key = |item: &Value| Ok(fold_case(&attribute.get(ctx, item)?.usable()?, case));
    sort_values(ctx, &mut items, key)?;
    let mut groups: Vec<(Value, Vec<Value>)> = Vec::new();
    for item in items {
        let k = key(&item)?;
        match groups.last_mut() {
            Some((last, members)) if last.equals(ctx, &k)? => members.push(item),
            _ => groups.push((k, vec![item])),
        }
    }
    let mut out = Vec::new();
    for (_, members) in groups {
        let name = attribute.get(ctx, &members[0])?;
        out.push(Value::tuple(vec![name, Value::list(members)]));
    }
    Ok(Value::list(out))
}

fn map(ctx: &Ctx, v: Value, mut args: Args) -> Res<Value> {
    let mut out = Vec::new();
    if args.pos.is_empty() {
        let attribute = args.take_kw("attribute");
        let mut attribute = Attribute::of(ctx, Some(required(attribute, "attribute")?))?;
        attribute.default = args.take_kw("default");
        if let Some((name, _)) = args.kw.first() {
            return Err(fail(format!("unexpected keyword argument `{name}`")));
        }
        for item in v.iterate(ctx)? {
            out.push(attribute.get(ctx, &item)?);
        }
        return Ok(Value::list(out));
    }
    let name = args.pos.remove(0).text(ctx)?;
    for item in v.iterate(ctx)? {
        let args = Args {
            pos: args.pos.clone(),
            kw: args.kw.clone(),
        };
        out.push(apply(ctx, &name, item, args).unwrap_or_else(Value::Marker));
    }
    Ok(Value::list(out))
}

fn select(ctx: &Ctx, v: &Value, mut args: Args, with_attribute: bool, keep: bool) -> Res<Value> {
    let attribute = if with_attribute {
        if args.pos.is_empty() {
            return Err(fail("missing parameter for attribute name"));
        }
        Attribute::of(ctx, Some(args.pos.remove(0)))?
    } else {
        Attribute::of(ctx, None)?
    };
    let test = if args.pos.is_empty() {
        None
    } else {
        let name = args.pos.remove(0).text(ctx)?;
        Some(tests::find(&name).ok_or_else(|| fail(format!("unknown test `{name}`")))?)
    };
    let mut out = Vec::new();
    for item in v.iterate(ctx)? {
        let subject = attribute.get(ctx, &item)?;
        let hit = match test {
            None => subject.truthy()?,
            Some(test) => {
                if !test.markers {
                    subject.check()?;
                }
                let args = Args {
                    pos: args.pos.clone(),
                    kw: args.kw.clone(),
                };
                (test.run)(ctx, subject, args)?
            }
        };
        if hit == keep {
            out.push(item);
        }
    }
    Ok(Value::list(out))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum ListMerge {
    Replace,
    Keep,
    Append,
    Prepend,
    AppendUnique,
    PrependUnique,
}

fn combine(ctx: &Ctx, v: Value, mut args: Args) -> Res<Value> {
    let recursive = flag(args.take_kw("recursive"))?;
    let lists = match &*text_of(ctx, args.take_kw("list_merge"), "replace")? {
        "replace" => ListMerge::Replace,
        "keep" => ListMerge::Keep,
        "append" => ListMerge::Append,
        "prepend" => ListMerge::Prepend,
        "append_rp" => ListMerge::AppendUnique,
        "prepend_rp" => ListMerge::PrependUnique,
        other => {
            return Err(fail(format!(
                "`list_merge` must be `replace`, `keep`, `append`, `prepend`, `append_rp` or `prepend_rp`, not `{other}`"
            )));
        }
    };
    if let Some((name, _)) = args.kw.first() {
        return Err(fail(format!(
            "`{name}` is not an argument; `recursive` and `list_merge` are"
        )));
    }
    let mut all = Vec::new();
    flatten(
        ctx,
        &Value::list(std::iter::once(v).chain(args.pos).collect()),
        Some(1),
        true,
        &mut all,
    )?;
    let mut dicts = all.into_iter().map(|v| match v {
        Value::Dict(d) => Ok(d),
        other => Err(wrong(&other, "dicts")),
    });
    let Some(first) = dicts.next() else {
        return Ok(Dict::of(IndexMap::new()).into());
    };
    let first = first?;
    let mut result: IndexMap<Key, Value> = first.items(ctx).into_iter().collect();
    for dict in dicts {
        result = merge(ctx, result, dict?.items(ctx), recursive, lists)?;
    }
    Ok(Dict::of(result).into())
}

/// The second wins; with `recursive` dicts are merged, and lists as `lists` says.
fn merge(
    ctx: &Ctx,
    mut base: IndexMap<Key, Value>,
    over: Vec<(Key, Value)>,
    recursive: bool,
    lists: ListMerge,
) -> Res<IndexMap<Key, Value>> {
    let _deeper = ctx.deeper()?;
    for (key, value) in over {
        let merged = match (base.get(&key), &value) {
            (Some(Value::Dict(a)), Value::Dict(b)) if recursive => {
                let a = a.items(ctx).into_iter().collect();
                Dict::of(merge(ctx, a, b.items(ctx), true, lists)?).into()
            }
            (Some(Value::List(a)), Value::List(b)) if lists != ListMerge::Replace => {
                let (a, b) = (a.items(ctx), b.items(ctx));
                let without = |from: &[Value], other: &[Value]| -> Res<Vec<Value>> {
                    let other = Value::list(other.to_vec());
                    let mut kept = Vec::new();
                    for v in from {
                        if !v.is_in(ctx, &other)? {
                            kept.push(v.clone());
                        }
                    }
                    Ok(kept)
                };
                Value::list(match lists {
                    ListMerge::Append => [a, b].concat(),
                    ListMerge::Prepend => [b, a].concat(),
                    ListMerge::AppendUnique => [without(&a, &b)?, b].concat(),
                    ListMerge::PrependUnique => [b.clone(), without(&a, &b)?].concat(),
                    ListMerge::Keep | ListMerge::Replace => a,
                })
            }
            _ => value,
        };
        base.insert(key, merged);
    }
    Ok(base)
}
