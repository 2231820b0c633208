//! What may stand after `is`.

use super::eval::{Ctx, compare};
use super::fault::{Res, fail};
use super::python::{regex, version};
use super::value::{Args, Value};
use super::{ErrorKind, Outside, ast};
use std::collections::HashMap;
use std::sync::LazyLock;

pub(crate) struct Test {
    pub name: &'static str,
    pub run: fn(&Ctx, Value, Args) -> Res<bool>,
    /// Looks at undefined values itself.
    pub markers: bool,
}

static TABLE: LazyLock<HashMap<&'static str, &'static Test>> =
    LazyLock::new(|| TESTS.iter().map(|t| (t.name, t)).collect());

pub(crate) fn find(name: &str) -> Option<&'static Test> {
    let short = super::filters::short_name(name);
    let short = ALIASES.iter().find(|(a, _)| *a == short).map_or(short, |(_, n)| n);
    TABLE.get(short).copied()
}

pub(crate) fn names() -> Vec<&'static str> {
    TESTS
        .iter()
        .map(|t| t.name)
        .chain(ALIASES.iter().map(|a| a.0))
        .collect()
}

const ALIASES: &[(&str, &str)] = &[
    ("failure", "failed"),
    ("success", "succeeded"),
    ("successful", "succeeded"),
    ("change", "changed"),
    ("skip", "skipped"),
    ("version_compare", "version"),
    ("==", "eq"),
    ("equalto", "eq"),
    ("!=", "ne"),
    (">", "gt"),
    ("greaterthan", "gt"),
    (">=", "ge"),
    ("<", "lt"),
    ("lessthan", "lt"),
    ("<=", "le"),
    ("is_file", "file"),
    ("is_dir", "directory"),
    ("is_link", "link"),
    ("is_abs", "abs"),
    ("issubset", "subset"),
    ("issuperset", "superset"),
    ("is_same_file", "same_file"),
    ("isnan", "nan"),
];

const fn test(name: &'static str, run: fn(&Ctx, Value, Args) -> Res<bool>) -> Test {
    Test {
        name,
        run,
        markers: false,
    }
}

fn one(args: Args, test: &str) -> Res<Value> {
    let [value] = args.bind(test, ["value"])?;
    value.ok_or_else(|| fail(format!("test `{test}` needs a value to compare with")))
}

/// A flag of a task's result.
fn flag(ctx: &Ctx, value: &Value, test: &str, key: &str) -> Res<bool> {
    let Value::Dict(d) = value else {
        return Err(fail(format!(
            "test `{test}` needs the result of a task, not a value of type {}",
            value.type_name()
        )));
    };
    d.get(ctx, &super::value::Key::Str(key.into()))
        .map_or(Ok(false), |v| v.truthy())
}

fn changed(ctx: &Ctx, value: &Value) -> Res<bool> {
    let key = |k: &str| super::value::Key::Str(k.into());
    if let Value::Dict(d) = value
        && d.get(ctx, &key("changed")).is_none()
        && let Some(Value::List(results)) = d.get(ctx, &key("results"))
    {
        for result in results.items(ctx) {
            if let Value::Dict(r) = result
                && r.get(ctx, &key("changed")).map_or(Ok(false), |v| v.truthy())?
            {
                return Ok(true);
            }
        }
        return Ok(false);
    }
    flag(ctx, value, "changed", "changed")
}

fn integer(v: &Value, test: &str) -> Res<i128> {
    v.as_int().ok_or_else(|| {
        fail(format!(
            "test `{test}` needs an integer, not a value of type {}",
            v.type_name()
        ))
    })
}

fn relation(ctx: &Ctx, op: ast::Compare, value: &Value, args: Args, name: &str) -> Res<bool> {
    compare(ctx, op, value, &one(args, name)?)
}

fn subset(ctx: &Ctx, part: &Value, whole: &Value) -> Res<bool> {
    for item in part.iterate(ctx)? {
        if !item.is_in(ctx, whole)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// A path on this machine, to be looked at.
fn path(ctx: &Ctx, value: &Value) -> Res<String> {
    ctx.outside(Outside::Look)?;
    Ok(super::lookups::expand_user(ctx, &value.text(ctx)?))
}

fn defined(value: &Value) -> Res<bool> {
    match value {
        Value::Marker(fault) if matches!(fault.kind, ErrorKind::Undefined(_)) => Ok(false),
        Value::Marker(fault) => Err(fault.clone()),
        Value::Blank => Ok(false),
        _ => Ok(true),
    }
}

fn matches(ctx: &Ctx, value: &Value, args: Args, kind: &str) -> Res<bool> {
    let [pattern, ignore_case, multiline, match_type] =
        args.bind(kind, ["pattern", "ignorecase", "multiline", "match_type"])?;
    let pattern = pattern.map_or(Ok("".into()), |p| p.text(ctx))?;
    let flag = |v: Option<Value>| v.map_or(Ok(false), |v| v.truthy());
    let regex = ctx
        .inner
        .regexes
        .compile(&pattern, flag(ignore_case)?, flag(multiline)?)?;
    let text = value.text(ctx)?;
    let kind = match &match_type {
        Some(t) => t.text(ctx)?,
        None => kind.into(),
    };
    Ok(match regex::find(&regex, &text)? {
        None => false,
        Some((start, end)) => match &*kind {
            "match" => start == 0 || regex::matches_at_start(&regex, &text)?,
            "fullmatch" => start == 0 && end == text.len(),
            _ => true,
        },
    })
}

const TESTS: &[Test] = &[
    Test {
        name: "defined",
        run: |_, v, _| defined(&v),
        markers: true,
    },
    Test {
        name: "undefined",
        run: |_, v, _| defined(&v).map(|d| !d),
        markers: true,
    },
    test("none", |_, v, _| Ok(matches!(v, Value::None))),
    test("string", |_, v, _| Ok(matches!(v, Value::Str(_)))),
    test("number", |_, v, _| Ok(v.as_f64().is_some())),
    test("integer", |_, v, _| Ok(matches!(v, Value::Int(_)))),
    test("float", |_, v, _| Ok(matches!(v, Value::Float(_)))),
    test("boolean", |_, v, _| Ok(matches!(v, Value::Bool(_)))),
    test("true", |_, v, _| Ok(matches!(v, Value::Bool(true)))),
    test("false", |_, v, _| Ok(matches!(v, Value::Bool(false)))),
    test("mapping", |_, v, _| Ok(matches!(v, Value::Dict(_)))),
    test("sequence", |_, v, _| Ok(v.length().is_ok())),
    test("iterable", |ctx, v, _| Ok(v.iterate(ctx).is_ok())),
    test("callable", |_, v, _| Ok(matches!(v, Value::Object(_)))),
    test("escaped", |_, _, _| Ok(false)),
    test("lower", |ctx, v, _| {
        let s = v.text(ctx)?;
        Ok(s.chars().any(char::is_lowercase) && !s.chars().any(char::is_uppercase))
    }),
    test("upper", |ctx, v, _| {
        let s = v.text(ctx)?;
        Ok(s.chars().any(char::is_uppercase) && !s.chars().any(char::is_lowercase))
    }),
    test("odd", |_, v, _| Ok(integer(&v, "odd")?.rem_euclid(2) == 1)),
    test("even", |_, v, _| Ok(integer(&v, "even")?.rem_euclid(2) == 0)),
    test("divisibleby", |_, v, args| {
        let [by] = args.bind("divisibleby", ["num"])?;
        let by = integer(&by.unwrap_or(Value::None), "divisibleby")?;
        if by == 0 {
            return Err(fail("integer modulo by zero"));
        }
        Ok(integer(&v, "divisibleby")? % by == 0)
    }),
    test("eq", |ctx, v, args| relation(ctx, ast::Compare::Eq, &v, args, "eq")),
    test("ne", |ctx, v, args| relation(ctx, ast::Compare::Ne, &v, args, "ne")),
    test("lt", |ctx, v, args| relation(ctx, ast::Compare::Lt, &v, args, "lt")),
    test("le", |ctx, v, args| relation(ctx, ast::Compare::Lte, &v, args, "le")),
    test("gt", |ctx, v, args| relation(ctx, ast::Compare::Gt, &v, args, "gt")),
    test("ge", |ctx, v, args| relation(ctx, ast::Compare::Gte, &v, args, "ge")),
    test("in", |ctx, v, args| v.is_in(ctx, &one(args, "in")?)),
    test("contains", |ctx, v, args| one(args, "contains")?.is_in(ctx, &v)),
    test("sameas", |ctx, v, args| {
        let other = one(args, "sameas")?;
        Ok(match (&v, &other) {
            (Value::List(a), Value::List(b)) => a.same(b),
            (Value::Dict(a), Value::Dict(b)) => a.same(b),
            (a, b) => a.type_name() == b.type_name() && a.equals(ctx, b)?,
        })
    }),
    test("subset", |ctx, v, args| subset(ctx, &v, &one(args, "subset")?)),
    test("superset", |ctx, v, args| subset(ctx, &one(args, "superset")?, &v)),
    test("any", |ctx, v, _| {
        let mut any = false;
        for item in v.iterate(ctx)? {
            any |= item.truthy()?;
        }
        Ok(any)
    }),
    test("all", |ctx, v, _| {
        let mut all = true;
        for item in v.iterate(ctx)? {
            all &= item.truthy()?;
        }
        Ok(all)
    }),
    test("nan", |_, v, _| Ok(v.as_f64().is_some_and(f64::is_nan))),
    test("truthy", |ctx, v, args| truthy(ctx, &v, args)),
    test("falsy", |ctx, v, args| truthy(ctx, &v, args).map(|t| !t)),
    test("filter", |ctx, v, _| Ok(super::filters::find(&v.text(ctx)?).is_some())),
    test("test", |ctx, v, _| Ok(find(&v.text(ctx)?).is_some())),
    test("match", |ctx, v, args| matches(ctx, &v, args, "match")),
    test("search", |ctx, v, args| matches(ctx, &v, args, "search")),
    test("regex", |ctx, v, args| matches(ctx, &v, args, "regex")),
    test("version", |ctx, v, args| {
        let [other, operator, strict, kind] =
            args.bind("version", ["version", "operator", "strict", "version_type"])?;
        let text = |v: Option<Value>| v.map(|v| v.text(ctx)).transpose();
        let operator = text(operator)?.unwrap_or_else(|| "eq".into());
        let strict = strict.map_or(Ok(false), |s| s.truthy())?;
        let kind = match text(kind)? {
            Some(kind) => kind,
            None if strict => "strict".into(),
            None => "loose".into(),
        };
        if !v.truthy()? {
            return Err(fail("input version value cannot be empty"));
        }
        let other = text(other)?.filter(|o| !o.is_empty());
        let other = other.ok_or_else(|| fail("version parameter to compare against cannot be empty"))?;
        version::compare(&v.text(ctx)?, &other, &operator, &kind)
    }),
    test("failed", |ctx, v, _| flag(ctx, &v, "failed", "failed")),
    test("succeeded", |ctx, v, _| {
        flag(ctx, &v, "succeeded", "failed").map(|f| !f)
    }),
    test("changed", |ctx, v, _| changed(ctx, &v)),
    test("skipped", |ctx, v, _| flag(ctx, &v, "skipped", "skipped")),
    test("unreachable", |ctx, v, _| flag(ctx, &v, "unreachable", "unreachable")),
    test("reachable", |ctx, v, _| {
        flag(ctx, &v, "reachable", "unreachable").map(|f| !f)
    }),
    test("finished", |ctx, v, _| flag(ctx, &v, "finished", "finished")),
    test("started", |ctx, v, _| flag(ctx, &v, "started", "started")),
    test("exists", |ctx, v, _| Ok(ctx.inner.files.exists(&path(ctx, &v)?))),
    test("file", |ctx, v, _| {
        let p = path(ctx, &v)?;
        Ok(ctx.inner.files.exists(&p) && !ctx.inner.files.is_dir(&p))
    }),
    test("directory", |ctx, v, _| Ok(ctx.inner.files.is_dir(&path(ctx, &v)?))),
    test("abs", |ctx, v, _| Ok(v.text(ctx)?.starts_with('/'))),
];

fn truthy(ctx: &Ctx, value: &Value, args: Args) -> Res<bool> {
    let [convert] = args.bind("truthy", ["convert_bool"])?;
    if convert.map_or(Ok(false), |c| c.truthy())?
        && let Some(b) = super::python::boolean(&value.text(ctx)?)
    {
        return Ok(b);
    }
    value.truthy()
}
