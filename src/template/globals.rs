//! Functions and names every template has.

use super::eval::Ctx;
use super::fault::{Res, fail, undefined};
use super::value::{Args, Dict, Key, Object, Value};
use super::{Outside, Scope, lookups, methods};
use indexmap::IndexMap;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

pub(crate) const NAMES: &[&str] = &[
    "cycler",
    "dict",
    "joiner",
    "lookup",
    "namespace",
    "now",
    "omit",
    "q",
    "query",
    "range",
    "undef",
];

pub(crate) fn find(name: &str) -> Option<Value> {
    if name == "omit" {
        return Some(Value::Omit);
    }
    let name = NAMES.iter().find(|n| **n == name)?;
    Some(Value::Object(Rc::new(Function(name))))
}

struct Function(&'static str);

impl Object for Function {
    fn type_name(&self) -> &'static str {
        "function"
    }

    fn takes_markers(&self) -> bool {
        matches!(self.0, "lookup" | "query" | "q" | "namespace")
    }

    fn text(&self) -> String {
        format!("<function {}>", self.0)
    }

    fn call_in(&self, ctx: &Ctx, args: Args, scope: Option<&Arc<dyn Scope>>) -> Res<Value> {
        match self.0 {
            "lookup" => lookups::call(ctx, args, scope, false),
            "query" | "q" => lookups::call(ctx, args, scope, true),
            _ => self.call(ctx, args),
        }
    }

    fn call(&self, ctx: &Ctx, args: Args) -> Res<Value> {
        match self.0 {
            "range" => range(args),
            "dict" => Ok(Dict::of(methods::dict_items(ctx, args)?.into_iter().collect()).into()),
            "namespace" => {
                let names = methods::dict_items(ctx, args)?.into_iter().collect();
                Ok(Value::Object(Rc::new(Namespace(RefCell::new(names)))))
            }
            "now" => now(ctx, args),
            "undef" => {
                let [hint] = args.bind("undef", ["hint"])?;
                let message = match hint {
                    Some(hint) => hint.text(ctx)?.to_string(),
                    None => "a mandatory variable has not been overridden".into(),
                };
                Ok(Value::Marker(undefined(message)))
            }
            "cycler" => Ok(Value::Object(Rc::new(Cycler(args.pos, Cell::new(0))))),
            "joiner" => {
                let [separator] = args.bind("joiner", ["sep"])?;
                let separator = separator.map_or(Ok(", ".into()), |s| s.text(ctx))?;
                Ok(Value::Object(Rc::new(Joiner(separator, Cell::new(false)))))
            }
            other => Err(fail(format!("`{other}` cannot be called here"))),
        }
    }
}

fn range(args: Args) -> Res<Value> {
    let [a, b, step] = args.bind("range", ["start", "stop", "step"])?;
    let int = |v: &Value| {
        v.as_int().ok_or_else(|| {
            fail(format!(
                "'{}' object cannot be interpreted as an integer",
                v.type_name()
            ))
        })
    };
    let (start, stop) = match (&a, &b) {
        (Some(stop), None) => (0, int(stop)?),
        (Some(start), Some(stop)) => (int(start)?, int(stop)?),
        _ => return Err(fail("range expected at least 1 argument, got 0")),
    };
    let step = step.map_or(Ok(1), |s| int(&s))?;
    if step == 0 {
        return Err(fail("range() arg 3 must not be zero"));
    }
    if (stop - start) / step > 10_000_000 {
        return Err(fail("the range is too large"));
    }
    let mut items = Vec::new();
    let mut i = start;
    while if step > 0 { i < stop } else { i > stop } {
        items.push(Value::Int(i));
        i += step;
    }
    Ok(Value::list(items))
}

fn now(ctx: &Ctx, args: Args) -> Res<Value> {
    let [utc, format] = args.bind("now", ["utc", "fmt"])?;
    ctx.outside(Outside::Look)?;
    let mut now = (ctx.inner.settings.clock)();
    if utc.map_or(Ok(false), |u| u.truthy())? {
        now = now.with_time_zone(jiff::tz::TimeZone::UTC);
    }
    let format = match format {
        Some(Value::Str(s)) if !s.is_empty() => s,
        _ => "%Y-%m-%d %H:%M:%S.%6f".into(),
    };
    strftime(&now, &format).map(Value::from)
}

pub(crate) fn strftime(when: &jiff::Zoned, format: &str) -> Res<String> {
    jiff::fmt::strtime::format(format, when).map_err(|e| fail(format!("`{format}` is not a time format: {e}")))
}

/// `namespace()`: attributes that inner blocks can set.
struct Namespace(RefCell<IndexMap<Key, Value>>);

impl Object for Namespace {
    fn type_name(&self) -> &'static str {
        "Namespace"
    }

    fn attr(&self, _ctx: &Ctx, name: &str) -> Option<Value> {
        self.0.borrow().get(&Key::Str(name.into())).cloned()
    }

    fn set_attr(&self, name: &str, value: Value) -> bool {
        self.0.borrow_mut().insert(Key::Str(name.into()), value);
        true
    }
}

struct Cycler(Vec<Value>, Cell<usize>);

impl Object for Cycler {
    fn type_name(&self) -> &'static str {
        "Cycler"
    }

    fn attr(&self, _ctx: &Ctx, name: &str) -> Option<Value> {
        (name == "current").then(|| self.0.get(self.1.get()).cloned()).flatten()
    }

    fn method(&self, _ctx: &Ctx, name: &str, _args: &Args) -> Option<Res<Value>> {
        let i = self.1.get();
        match name {
            "next" => {
                let item = self.0.get(i).cloned();
                self.1.set((i + 1) % self.0.len().max(1));
                Some(item.ok_or_else(|| fail("at least one item has to be provided")))
            }
            "reset" => {
                self.1.set(0);
                Some(Ok(Value::None))
            }
            _ => None,
        }
    }
}

struct Joiner(Rc<str>, Cell<bool>);

impl Object for Joiner {
    fn type_name(&self) -> &'static str {
        "Joiner"
    }

    fn call(&self, _ctx: &Ctx, _args: Args) -> Res<Value> {
        Ok(if self.1.replace(true) {
            Value::Str(self.0.clone())
        } else {
            "".into()
        })
    }
}
