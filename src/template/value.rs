//! Values while a template is evaluated: Python's types, with containers that are templated lazily.

mod containers;

pub(crate) use containers::{DataRef, Dict, Key, Lazy, List, NodeRef, Path};
use containers::{Map, Seq};

use super::Scope;
use super::eval::Ctx;
use super::fault::{Fault, Res, fail};
use crate::diagnostic::Span;
use crate::language::{Node, Yaml};
use indexmap::IndexMap;
use serde_json::Value as Json;
use std::cell::RefCell;
use std::cmp::Ordering;
use std::rc::Rc;
use std::sync::Arc;

#[derive(Clone)]
pub(crate) enum Value {
    /// A failure that has not been looked at yet (Ansible's `Marker`): undefined, unknown, or an error.
    Marker(Rc<Fault>),
    None,
    Bool(bool),
    Int(i128),
    Float(f64),
    Str(Rc<str>),
    List(List),
    Tuple(Rc<Vec<Value>>),
    Dict(Dict),
    /// `omit`: drops the entry it is the value of.
    Omit,
    /// What `a if false` gives: empty text, false, and no value for a variable.
    Blank,
    Object(Rc<dyn Object>),
    /// Only inside containers: their accessors force it.
    Lazy(Rc<Lazy>),
}

/// A callable or a thing with attributes: macro, `loop`, bound method, imported template, namespace.
pub(crate) trait Object {
    fn type_name(&self) -> &'static str;
    fn attr(&self, _ctx: &Ctx, _name: &str) -> Option<Value> {
        None
    }
    fn set_attr(&self, _name: &str, _value: Value) -> bool {
        false
    }
    fn call(&self, _ctx: &Ctx, _args: Args) -> Res<Value> {
        Err(fail(format!("'{}' object is not callable", self.type_name())))
    }
    /// A call that needs to know whose variables are in reach.
    fn call_in(&self, ctx: &Ctx, args: Args, _scope: Option<&Arc<dyn Scope>>) -> Res<Value> {
        self.call(ctx, args)
    }
    fn method(&self, _ctx: &Ctx, _name: &str, _args: &Args) -> Option<Res<Value>> {
        None
    }
    /// Whether it looks at undefined arguments itself.
    fn takes_markers(&self) -> bool {
        false
    }
    /// What printing it writes.
    fn text(&self) -> String {
        format!("<{}>", self.type_name())
    }
}

/// Arguments of a call.
#[derive(Default)]
pub(crate) struct Args {
    pub pos: Vec<Value>,
    pub kw: Vec<(Rc<str>, Value)>,
}

impl Args {
    /// Assigns the arguments to parameter names as Python does.
    pub fn bind<const N: usize>(self, function: &str, names: [&str; N]) -> Res<[Option<Value>; N]> {
        let mut bound: [Option<Value>; N] = [const { None }; N];
        if self.pos.len() > N {
            return Err(fail(format!(
                "`{function}` takes at most {N} argument{}, got {}",
                if N == 1 { "" } else { "s" },
                self.pos.len()
            )));
        }
        for (slot, value) in bound.iter_mut().zip(self.pos) {
            *slot = Some(value);
        }
        for (name, value) in self.kw {
            match names.iter().position(|n| *n == &*name) {
                Some(i) if bound[i].is_none() => bound[i] = Some(value),
                Some(_) => return Err(fail(format!("`{function}` got two values for `{name}`"))),
                None => return Err(fail(format!("`{function}` has no argument `{name}`"))),
            }
        }
        Ok(bound)
    }

    pub fn values(&self) -> impl Iterator<Item = &Value> {
        self.pos.iter().chain(self.kw.iter().map(|(_, v)| v))
    }

    pub fn take_kw(&mut self, name: &str) -> Option<Value> {
        let i = self.kw.iter().position(|(n, _)| &**n == name)?;
        Some(self.kw.remove(i).1)
    }
}

impl From<List> for Value {
    fn from(list: List) -> Self {
        Value::List(list)
    }
}

impl From<Dict> for Value {
    fn from(dict: Dict) -> Self {
        Value::Dict(dict)
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Value::Str(text.into())
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Value::Str(text.into())
    }
}

impl From<bool> for Value {
    fn from(b: bool) -> Self {
        Value::Bool(b)
    }
}

impl From<usize> for Value {
    fn from(n: usize) -> Self {
        Value::Int(n as i128)
    }
}

impl Value {
    pub fn str(text: &str) -> Self {
        Value::Str(text.into())
    }

    pub fn list(items: Vec<Value>) -> Self {
        Value::List(List::of(items))
    }

    pub fn tuple(items: Vec<Value>) -> Self {
        Value::Tuple(Rc::new(items))
    }

    /// A dict with string keys.
    pub fn dict<'a>(items: impl IntoIterator<Item = (&'a str, Value)>) -> Self {
        Value::Dict(Dict::of(
            items.into_iter().map(|(k, v)| (Key::Str(k.into()), v)).collect(),
        ))
    }

    fn from_scalar(data: &Json) -> Self {
        match data {
            Json::Bool(b) => Value::Bool(*b),
            Json::Number(n) => match (n.as_i64(), n.as_u64()) {
                (Some(i), _) => Value::Int(i128::from(i)),
                (None, Some(u)) => Value::Int(i128::from(u)),
                (None, None) => Value::Float(n.as_f64().unwrap_or(f64::NAN)),
            },
            Json::String(s) => Value::str(s),
            Json::Null | Json::Array(_) | Json::Object(_) => Value::None,
        }
    }

    /// Plain data; nothing in it is a template.
    pub fn from_data(data: Arc<Json>) -> Self {
        match &*data {
            Json::Array(_) => List::new(Seq::Data(DataRef::whole(data))).into(),
            Json::Object(_) => Dict::new(Map::Data(DataRef::whole(data))).into(),
            scalar => Value::from_scalar(scalar),
        }
    }

    /// The value as it is now: a list or dict is copied (not what is in it), since it may change later.
    pub fn snapshot(self) -> Value {
        match self {
            Value::List(l) => List::new(l.0.borrow().clone()).into(),
            Value::Dict(d) => Dict::new(d.0.borrow().clone()).into(),
            other => other,
        }
    }

    /// Python's name of the type.
    pub fn type_name(&self) -> &'static str {
        match self {
            Value::Marker(_) | Value::Blank => "Undefined",
            Value::None => "NoneType",
            Value::Bool(_) => "bool",
            Value::Int(_) => "int",
            Value::Float(_) => "float",
            Value::Str(_) => "str",
            Value::List(_) => "list",
            Value::Tuple(_) => "tuple",
            Value::Dict(_) => "dict",
            Value::Omit => "Omit",
            Value::Object(o) => o.type_name(),
            Value::Lazy(_) => "template",
        }
    }

    /// A value that may be used: a marker turns into its failure here.
    pub fn usable(self) -> Res<Value> {
        match self {
            Value::Marker(fault) => Err(fault),
            value => Ok(value),
        }
    }

    pub fn check(&self) -> Res<()> {
        match self {
            Value::Marker(fault) => Err(fault.clone()),
            _ => Ok(()),
        }
    }

    pub fn truthy(&self) -> Res<bool> {
        Ok(match self {
            Value::Marker(fault) => return Err(fault.clone()),
            Value::None | Value::Blank => false,
            Value::Bool(b) => *b,
            Value::Int(i) => *i != 0,
            Value::Float(f) => *f != 0.0,
            Value::Str(s) => !s.is_empty(),
            Value::List(l) => l.len() != 0,
            Value::Tuple(t) => !t.is_empty(),
            Value::Dict(d) => d.len() != 0,
            Value::Omit | Value::Object(_) | Value::Lazy(_) => true,
        })
    }

    pub fn as_str(&self) -> Option<&str> {
        match self {
            Value::Str(s) => Some(s),
            _ => None,
        }
    }

    /// The whole number, `True` being 1.
    pub fn as_int(&self) -> Option<i128> {
        match self {
            Value::Int(i) => Some(*i),
            Value::Bool(b) => Some(i128::from(*b)),
            _ => None,
        }
    }

    pub fn as_f64(&self) -> Option<f64> {
        match self {
            Value::Float(f) => Some(*f),
            #[allow(clippy::cast_precision_loss)]
            _ => self.as_int().map(|i| i as f64),
        }
    }

    pub fn to_key(&self) -> Res<Key> {
        Ok(match self {
            Value::Marker(fault) => return Err(fault.clone()),
            Value::None => Key::None,
            Value::Bool(b) => Key::Bool(*b),
            Value::Int(i) => Key::Int(*i),
            Value::Float(f) => Key::Float(*f),
            Value::Str(s) => Key::Str(s.clone()),
            Value::Tuple(t) => Key::Tuple(Rc::new(t.iter().map(Value::to_key).collect::<Res<_>>()?)),
            other => return Err(fail(format!("unhashable type: '{}'", other.type_name()))),
        })
    }

    /// What a `for` goes over; an error for what Python cannot iterate.
    pub fn iterate(&self, ctx: &Ctx) -> Res<Vec<Value>> {
        Ok(match self {
            Value::Marker(fault) => return Err(fault.clone()),
            Value::List(l) => l.items(ctx),
            Value::Tuple(t) => t.to_vec(),
            Value::Dict(d) => d.keys().iter().map(Key::to_value).collect(),
            Value::Str(s) => s.chars().map(|c| Value::str(c.encode_utf8(&mut [0; 4]))).collect(),
            Value::Blank => Vec::new(),
            other => return Err(fail(format!("'{}' object is not iterable", other.type_name()))),
        })
    }

    pub fn length(&self) -> Res<usize> {
        Ok(match self {
            Value::Marker(fault) => return Err(fault.clone()),
            Value::List(l) => l.len(),
            Value::Tuple(t) => t.len(),
            Value::Dict(d) => d.len(),
            Value::Str(s) => s.chars().count(),
            Value::Blank => 0,
            other => return Err(fail(format!("object of type '{}' has no len()", other.type_name()))),
        })
    }

    /// Python's `==`.
    pub fn equals(&self, ctx: &Ctx, other: &Value) -> Res<bool> {
        Ok(match (self, other) {
            (Value::Marker(fault), _) | (_, Value::Marker(fault)) => return Err(fault.clone()),
            (Value::None, Value::None) | (Value::Omit, Value::Omit) | (Value::Blank, Value::Blank) => true,
            (Value::Str(a), Value::Str(b)) => a == b,
            (Value::Float(_), _) | (_, Value::Float(_)) => match (self.as_f64(), other.as_f64()) {
                (Some(a), Some(b)) => a == b,
                _ => false,
            },
            (Value::Int(_) | Value::Bool(_), Value::Int(_) | Value::Bool(_)) => self.as_int() == other.as_int(),
            (Value::List(a), Value::List(b)) => {
                a.same(b) || (a.len() == b.len() && seq_eq(ctx, &a.items(ctx), &b.items(ctx))?)
            }
            (Value::Tuple(a), Value::Tuple(b)) => a.len() == b.len() && seq_eq(ctx, a, b)?,
            (Value::Dict(a), Value::Dict(b)) => {
                if a.same(b) {
                    return Ok(true);
                }
                if a.len() != b.len() {
                    return Ok(false);
                }
                for (k, v) in a.items(ctx) {
                    match b.get(ctx, &k) {
                        Some(w) if v.equals(ctx, &w)? => {}
                        _ => return Ok(false),
                    }
                }
                true
            }
            (Value::Object(a), Value::Object(b)) => Rc::ptr_eq(a, b),
            _ => false,
        })
    }

    /// Python's ordering; an error for types that have none between them.
    pub fn compare(&self, ctx: &Ctx, other: &Value, operator: &str) -> Res<Option<Ordering>> {
        self.check()?;
        other.check()?;
        if let (Some(a), Some(b)) = (self.as_int(), other.as_int()) {
            return Ok(Some(a.cmp(&b)));
        }
        if let (Some(a), Some(b)) = (self.as_f64(), other.as_f64()) {
            return Ok(a.partial_cmp(&b));
        }
        let (a, b) = match (self, other) {
            (Value::Str(a), Value::Str(b)) => return Ok(Some(a.cmp(b))),
            (Value::List(a), Value::List(b)) => (a.items(ctx), b.items(ctx)),
            (Value::Tuple(a), Value::Tuple(b)) => (a.to_vec(), b.to_vec()),
            _ => {
                return Err(fail(format!(
                    "'{operator}' not supported between instances of '{}' and '{}'",
                    self.type_name(),
                    other.type_name()
                )));
            }
        };
        for (x, y) in a.iter().zip(&b) {
            if !x.equals(ctx, y)? {
                return x.compare(ctx, y, operator);
            }
        }
        Ok(Some(a.len().cmp(&b.len())))
    }

    /// `self in container`.
    pub fn is_in(&self, ctx: &Ctx, container: &Value) -> Res<bool> {
        self.check()?;
        match container {
            Value::Marker(fault) => Err(fault.clone()),
            Value::Str(s) => match self {
                Value::Str(part) => Ok(s.contains(&**part)),
                other => Err(fail(format!(
                    "'in <string>' requires string as left operand, not {}",
                    other.type_name()
                ))),
            },
            Value::Dict(d) => {
                let key = self.to_key()?;
                d.has(&key)
            }
            Value::List(_) | Value::Tuple(_) => {
                for item in container.iterate(ctx)? {
                    if item.equals(ctx, self)? {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
            other => Err(fail(format!(
                "argument of type '{}' is not iterable",
                other.type_name()
            ))),
        }
    }

    /// Python's `str()`.
    pub fn text(&self, ctx: &Ctx) -> Res<Rc<str>> {
        match self {
            Value::Str(s) => Ok(s.clone()),
            Value::Blank => Ok("".into()),
            other => {
                let mut out = String::new();
                other.write_repr(ctx, &mut out)?;
                Ok(out.into())
            }
        }
    }

    /// Python's `repr()`.
    pub fn repr(&self, ctx: &Ctx) -> Res<String> {
        let mut out = String::new();
        self.write_repr(ctx, &mut out)?;
        Ok(out)
    }

    pub fn write_repr(&self, ctx: &Ctx, out: &mut String) -> Res<()> {
        let many = |items: &[Value], out: &mut String| -> Res<()> {
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push_str(", ");
                }
                item.write_repr(ctx, out)?;
            }
            Ok(())
        };
        match self {
            Value::Marker(fault) => return Err(fault.clone()),
            Value::None => out.push_str("None"),
            Value::Bool(true) => out.push_str("True"),
            Value::Bool(false) => out.push_str("False"),
            Value::Int(i) => out.push_str(&i.to_string()),
            Value::Float(f) => out.push_str(&float_text(*f)),
            Value::Str(s) => write_quoted(s, out),
            Value::List(l) => {
                let _deeper = ctx.deeper()?;
                out.push('[');
                many(&l.items(ctx), out)?;
                out.push(']');
            }
            Value::Tuple(t) => {
                let _deeper = ctx.deeper()?;
                out.push('(');
                many(t, out)?;
                out.push_str(if t.len() == 1 { ",)" } else { ")" });
            }
            Value::Dict(d) => {
                let _deeper = ctx.deeper()?;
                out.push('{');
                for (i, (k, v)) in d.items(ctx).into_iter().enumerate() {
                    if i > 0 {
                        out.push_str(", ");
                    }
                    k.to_value().write_repr(ctx, out)?;
                    out.push_str(": ");
                    v.write_repr(ctx, out)?;
                }
                out.push('}');
            }
            Value::Omit => out.push_str("<Omit>"),
            Value::Blank => out.push_str("Undefined"),
            Value::Object(o) => out.push_str(&o.text()),
            Value::Lazy(_) => return ctx.force(self.clone()).write_repr(ctx, out),
        }
        Ok(())
    }

    /// What leaves a template: containers evaluated in full, `omit` dropped, tuples turned into lists.
    pub fn finalize(&self, ctx: &Ctx) -> Res<Value> {
        Ok(match self {
            Value::Marker(fault) => return Err(fault.clone()),
            Value::List(_) | Value::Tuple(_) => {
                let _deeper = ctx.deeper()?;
                let items = self.iterate(ctx)?;
                let kept = items.iter().filter(|v| !matches!(v, Value::Omit));
                Value::list(kept.map(|v| v.finalize(ctx)).collect::<Res<_>>()?)
            }
            Value::Dict(d) => {
                let _deeper = ctx.deeper()?;
                let mut map = IndexMap::new();
                for (k, v) in d.items(ctx) {
                    if !matches!(v, Value::Omit) {
                        map.insert(k, v.finalize(ctx)?);
                    }
                }
                Dict::of(map).into()
            }
            Value::Blank => return Err(blank()),
            Value::Lazy(_) => ctx.force(self.clone()).finalize(ctx)?,
            other => other.clone(),
        })
    }

    /// As plain data; an error for what is none (a macro, a method).
    pub fn to_json(&self, ctx: &Ctx) -> Res<Json> {
        Ok(match self {
            Value::Marker(fault) => return Err(fault.clone()),
            Value::None => Json::Null,
            Value::Bool(b) => Json::Bool(*b),
            Value::Int(i) => match (i64::try_from(*i), u64::try_from(*i)) {
                (Ok(n), _) => n.into(),
                (_, Ok(n)) => n.into(),
                #[allow(clippy::cast_precision_loss)]
                _ => (*i as f64).into(),
            },
            Value::Float(f) => {
                serde_json::Number::from_f64(*f).map_or_else(|| Json::String(float_text(*f)), Json::Number)
            }
            Value::Str(s) => Json::String(s.to_string()),
            Value::List(_) | Value::Tuple(_) => {
                let _deeper = ctx.deeper()?;
                let items = self.iterate(ctx)?;
                let kept = items.iter().filter(|v| !matches!(v, Value::Omit));
                Json::Array(kept.map(|v| v.to_json(ctx)).collect::<Res<_>>()?)
            }
            Value::Dict(d) => {
                let _deeper = ctx.deeper()?;
                let mut map = serde_json::Map::new();
                for (k, v) in d.items(ctx) {
                    if !matches!(v, Value::Omit) {
                        map.insert(k.json_name(), v.to_json(ctx)?);
                    }
                }
                Json::Object(map)
            }
            Value::Lazy(_) => ctx.force(self.clone()).to_json(ctx)?,
            Value::Omit => Json::Null,
            Value::Blank => return Err(blank()),
            Value::Object(o) => {
                return Err(fail(format!(
                    "a {} is not data that can leave a template",
                    o.type_name()
                )));
            }
        })
    }
}

fn blank() -> Rc<Fault> {
    fail("an inline `if` without `else` was false; it has no value here")
}

fn seq_eq(ctx: &Ctx, a: &[Value], b: &[Value]) -> Res<bool> {
    for (x, y) in a.iter().zip(b) {
        if !x.equals(ctx, y)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Python's `repr` of a float: shortest digits, `1e+16`, `1e-05`, `inf`, `nan`.
pub(crate) fn float_text(f: f64) -> String {
    if f.is_nan() {
        return "nan".into();
    }
    if f.is_infinite() {
        return if f > 0.0 { "inf".into() } else { "-inf".into() };
    }
    let science = format!("{f:e}");
    let (digits, exponent) = science.split_once('e').unwrap_or((&science, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..16).contains(&exponent) {
        let plain = format!("{f}");
        return if plain.contains('.') { plain } else { plain + ".0" };
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.abs())
}

/// Python's `repr` of a string.
fn write_quoted(text: &str, out: &mut String) {
    use std::fmt::Write;
    let quote = if text.contains('\'') && !text.contains('"') {
        '"'
    } else {
        '\''
    };
    out.push(quote);
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c == quote => {
                out.push('\\');
                out.push(c);
            }
            c if (c as u32) < 0x20 || (0x7f..0xa1).contains(&(c as u32)) || c as u32 == 0xad => {
                let _ = write!(out, "\\x{:02x}", c as u32);
            }
            '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{200b}'..='\u{200f}' => {
                let _ = write!(out, "\\u{:04x}", c as u32);
            }
            c => out.push(c),
        }
    }
    out.push(quote);
}
