//! Expressions: what comes of names, attributes, calls, filters, tests and operators.

use super::{Ctx, INNER, Run, concat};
use crate::diagnostic::similar_name;
use crate::template::ast::{Arg, Binary, Compare, Const, Expr, ExprKind, Range};
use crate::template::fault::{Fault, Place, Res, fail};
use crate::template::filters::Filter;
use crate::template::tests::Test;
use crate::template::value::{Args, Dict, Key, Value};
use crate::template::{ErrorKind, methods, ops};
use std::rc::Rc;
use std::sync::Arc;

impl Run<'_> {
    pub(super) fn test(&self, expr: &Expr) -> Res<bool> {
        if self.ctx.guess.is_some() {
            // Each condition is decided once, however it is put together with others.
            match &expr.kind {
                ExprKind::And(a, b) => return Ok(self.test(a)? && self.test(b)?),
                ExprKind::Or(a, b) => return Ok(self.test(a)? || self.test(b)?),
                ExprKind::Not(e) => return Ok(!self.test(e)?),
                _ => {}
            }
        }
        let truth = self.eval(expr).and_then(|value| value.truthy());
        truth.or_else(|fault| self.decided(expr.range, fault))
    }

    /// Evaluates to a value that may be used.
    fn value(&self, expr: &Expr) -> Res<Value> {
        self.eval(expr)?.usable().map_err(|e| e.located(|| self.at(expr.range)))
    }

    /// Evaluates; an undefined result is a marker, not an error.
    pub(super) fn eval(&self, expr: &Expr) -> Res<Value> {
        let range = expr.range;
        let _deeper = self.ctx.nest(INNER).map_err(|e| e.located(|| self.at(range)))?;
        // Each kind in a function of its own: their stack frames add up in nested expressions.
        let result = match &expr.kind {
            ExprKind::Const(c) => self.constant(c),
            ExprKind::Name(name) => Ok(self.name(name, range)),
            ExprKind::Attr(base, name) => self.attr_of(base, name, range),
            ExprKind::Item(base, index) => self.item_of(base, index, range),
            ExprKind::Slice(base, parts) => self.slice_of(base, parts),
            ExprKind::Call(callee, args) => self.call_of(callee, args, range),
            ExprKind::Filter(input, filter, args) => self.filter_of(input.as_deref(), filter, args, range),
            ExprKind::Test(input, test, args) => self.test_of(input, test, args, range),
            ExprKind::Not(e) => self.test(e).map(|b| Value::Bool(!b)),
            ExprKind::Neg(e) => self.value(e).and_then(|v| ops::negate(&v)),
            ExprKind::And(a, b) => self.either(a, b, true),
            ExprKind::Or(a, b) => self.either(a, b, false),
            ExprKind::Binary(op, a, b) => self.binary_of(*op, a, b),
            ExprKind::Compare(first, steps) => {
                let compared = self.compare_of(first, steps);
                compared.or_else(|fault| self.decided(range, fault)).map(Value::Bool)
            }
            ExprKind::If(test, then, otherwise) => self.if_of(test, then, otherwise.as_deref()),
            ExprKind::List(items) => self.many(items).map(Value::list),
            ExprKind::Tuple(items) => self.many(items).map(Value::tuple),
            ExprKind::Dict(pairs) => self.dict_of(pairs),
        };
        result.map_err(|e| e.located(|| self.at(range)))
    }

    fn constant(&self, c: &Const) -> Res<Value> {
        Ok(match c {
            Const::None => Value::None,
            Const::Bool(b) => Value::Bool(*b),
            Const::Int(i) => Value::Int(*i),
            Const::Float(f) => Value::Float(*f),
            Const::Str(s) => Value::str(s),
            Const::Template(s) => match self.env.frame.scope() {
                Some(scope) => self.ctx.text(s, Place::Nowhere, &scope)?,
                None => Value::str(s),
            },
        })
    }

    fn attr_of(&self, base: &Expr, name: &Arc<str>, range: Range) -> Res<Value> {
        let base_value = self.eval(base)?;
        Ok(self.attr(&base_value, name, base, range))
    }

    fn item_of(&self, base: &Expr, index: &Expr, range: Range) -> Res<Value> {
        let base_value = self.eval(base)?;
        if let Value::Marker(_) = &base_value {
            // Undefined things have undefined items; anything else that went wrong stays what it is.
            return Ok(base_value);
        }
        let key = self.value(index)?;
        Ok(match self.item(&base_value, &key)? {
            Some(value) => self.arrived(value, range),
            None => Value::Marker(self.missing_item(&base_value, &key, base, range)),
        })
    }

    fn slice_of(&self, base: &Expr, parts: &[Option<Box<Expr>>; 3]) -> Res<Value> {
        let base_value = self.value(base)?;
        let mut bounds = [None; 3];
        for (bound, part) in bounds.iter_mut().zip(parts) {
            if let Some(part) = part {
                let value = self.value(part)?;
                *bound = match (&value, value.as_int()) {
                    (Value::None, _) => None,
                    (_, Some(i)) => Some(i),
                    _ => return Err(fail("slice indices must be integers or none")),
                };
            }
        }
        ops::slice(self.ctx, &base_value, bounds)
    }

    fn call_of(&self, callee: &Expr, args: &[Arg], range: Range) -> Res<Value> {
        let args = self.args(args)?;
        self.call(callee, args, range)
    }

    fn filter_of(&self, input: Option<&Expr>, filter: &Filter, args: &[Arg], range: Range) -> Res<Value> {
        let input = match input {
            Some(input) => self.eval(input)?,
            None => Value::None,
        };
        self.filter(filter, input, self.args(args)?, range)
    }

    fn test_of(&self, input: &Expr, test: &Test, args: &[Arg], range: Range) -> Res<Value> {
        let input = self.eval(input)?;
        let args = self.args(args)?;
        if !test.markers
            && let Some(marker) = first_marker(&input, &args)
        {
            return match marker {
                Value::Marker(fault) if self.ctx.guess.is_some() => self.decided(range, fault).map(Value::Bool),
                marker => Ok(marker),
            };
        }
        Ok(match (test.run)(self.ctx, input, args) {
            Ok(b) => Value::Bool(b),
            Err(fault) if self.ctx.guess.is_some() => self.decided(range, fault).map(Value::Bool)?,
            Err(fault) => Value::Marker(named(fault, "test", test.name).located(|| self.at(range))),
        })
    }

    /// `and` goes on when the left side is true, `or` when it is false.
    fn either(&self, a: &Expr, b: &Expr, go_on: bool) -> Res<Value> {
        let left = self.eval(a)?;
        let truth = left.truthy().or_else(|fault| self.decided(a.range, fault))?;
        if truth == go_on { self.eval(b) } else { Ok(left) }
    }

    fn binary_of(&self, op: Binary, a: &Expr, b: &Expr) -> Res<Value> {
        let (a, b) = (self.value(a)?, self.value(b)?);
        binary(self.ctx, op, &a, &b)
    }

    fn compare_of(&self, first: &Expr, steps: &[(Compare, Expr)]) -> Res<bool> {
        let mut left = self.value(first)?;
        for (op, expr) in steps {
            let right = self.value(expr)?;
            if !compare(self.ctx, *op, &left, &right)? {
                return Ok(false);
            }
            left = right;
        }
        Ok(true)
    }

    fn if_of(&self, test: &Expr, then: &Expr, otherwise: Option<&Expr>) -> Res<Value> {
        match (self.test(test)?, otherwise) {
            (true, _) => self.eval(then),
            (false, Some(otherwise)) => self.eval(otherwise),
            // Jinja's own undefined value, which Ansible does not make strict: it is empty text.
            (false, None) => Ok(Value::Blank),
        }
    }

    fn many(&self, items: &[Expr]) -> Res<Vec<Value>> {
        let mut values = Vec::with_capacity(items.len());
        for item in items {
            values.push(self.eval(item)?);
        }
        Ok(values)
    }

    fn dict_of(&self, pairs: &[(Expr, Expr)]) -> Res<Value> {
        let mut map = indexmap::IndexMap::with_capacity(pairs.len());
        for (k, v) in pairs {
            let key = self.value(k)?.to_key()?;
            map.insert(key, self.eval(v)?);
        }
        Ok(Dict::of(map).into())
    }

    /// What evaluating a variable's own template found wrong gets the step that led there.
    fn arrived(&self, value: Value, range: Range) -> Value {
        match value {
            Value::Marker(fault) if fault.at.is_some() && fault.trail.len() < 8 => {
                let mut fault = Rc::unwrap_or_clone(fault);
                fault
                    .trail
                    .push((format!("needed by `{}` here", self.slice(range)), self.at(range)));
                Value::Marker(Rc::new(fault))
            }
            Value::Marker(fault) => Value::Marker(fault.located(|| self.at(range))),
            value => value,
        }
    }

    fn name(&self, name: &Arc<str>, range: Range) -> Value {
        if let Some(value) = self.env.frame.local(name) {
            return value;
        }
        let outermost = self.env.frame.outermost();
        if let Some(value) = outermost.reached.borrow().get(name) {
            return value.clone();
        }
        let scope = &outermost.scope;
        if let Some(value) = scope.as_ref().and_then(|s| self.ctx.variable_in(s, name)) {
            if matches!(value, Value::List(_) | Value::Dict(_)) {
                outermost.reached.borrow_mut().insert(name.clone(), value.clone());
            }
            return self.arrived(value, range);
        }
        if let Some(value) = crate::template::globals::find(name) {
            return value;
        }
        let mut fault = Fault::new(
            ErrorKind::Undefined(name.to_string()),
            format!("undefined variable `{name}`"),
        );
        fault.at = Some(self.at(range));
        fault.unknown_name = scope.clone().map(|scope| (name.clone(), scope));
        Value::Marker(Rc::new(fault))
    }

    fn attr(&self, base_value: &Value, name: &Arc<str>, base: &Expr, range: Range) -> Value {
        let found = match base_value {
            Value::Marker(fault) => return Value::Marker(fault.clone()),
            Value::Dict(d) => d.get(self.ctx, &Key::Str((&**name).into())),
            Value::Object(o) => o.attr(self.ctx, name),
            // What `groupby` gives is a pair whose halves have names.
            Value::Tuple(t) if t.len() == 2 && &**name == "grouper" => Some(t[0].clone()),
            Value::Tuple(t) if t.len() == 2 && &**name == "list" => Some(t[1].clone()),
            // `list.0` is written where `list[0]` is meant; Jinja reads it so too.
            other => name
                .parse::<i128>()
                .ok()
                .and_then(|i| self.item(other, &Value::Int(i)).ok().flatten()),
        };
        if let Some(value) = found {
            return self.arrived(value, range);
        }
        if methods::has(base_value, name) {
            return Value::Object(Rc::new(methods::Bound {
                receiver: base_value.clone(),
                name: (&**name).into(),
            }));
        }
        Value::Marker(self.missing_item(base_value, &Value::str(name), base, range))
    }

    fn item(&self, base: &Value, key: &Value) -> Res<Option<Value>> {
        let at = |len: usize, i: i128| usize::try_from(if i < 0 { i + len as i128 } else { i }).ok();
        Ok(match (base, key.as_int()) {
            (Value::Dict(d), _) => d.get(self.ctx, &key.to_key()?),
            (Value::List(l), Some(i)) => at(l.len(), i).and_then(|i| l.get(self.ctx, i)),
            (Value::Tuple(t), Some(i)) => at(t.len(), i).and_then(|i| t.get(i).cloned()),
            (Value::Str(s), Some(i)) => at(s.chars().count(), i)
                .and_then(|i| s.chars().nth(i))
                .map(|c| Value::from(c.to_string())),
            (Value::Object(o), _) => key.as_str().and_then(|k| o.attr(self.ctx, k)),
            _ => None,
        })
    }

    fn missing_item(&self, base: &Value, key: &Value, base_expr: &Expr, range: Range) -> Rc<Fault> {
        let parent = self.slice(base_expr.range);
        let whole = self.slice(range);
        let key_text = key.text(self.ctx).unwrap_or_else(|_| "?".into());
        let kind = ErrorKind::Undefined(whole.to_owned());
        let mut fault = match base {
            Value::Dict(_) => Fault::new(kind, format!("undefined variable `{whole}`")),
            Value::List(l) if key.as_int().is_some() => Fault::new(
                kind,
                format!("undefined variable `{whole}`: the list has {} items", l.len()),
            ),
            other => Fault::new(
                kind,
                format!("`{parent}` is of type {} and has no `{key_text}`", other.type_name()),
            ),
        };
        fault.at = Some(self.at(range));
        if let Value::Dict(d) = base {
            let keys: Vec<String> = d.keys().iter().map(Key::json_name).collect();
            match similar_name(&key_text, keys.iter().map(String::as_str)) {
                Some(similar) => fault
                    .helps
                    .push(format!("a key with a similar name exists: `{similar}`")),
                None if keys.len() <= 12 && !keys.is_empty() => {
                    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
                    fault
                        .notes
                        .push(format!("`{parent}` has {}", crate::template::ast::quoted(&keys)));
                }
                None => {}
            }
            if let Some(span) = d.written().and_then(|n| n.defined_at()) {
                fault
                    .related
                    .push((format!("`{parent}` is defined here, without `{key_text}`"), span));
            }
        }
        Rc::new(fault)
    }

    pub(super) fn args(&self, args: &[Arg]) -> Res<Args> {
        let mut out = Args::default();
        for arg in args {
            match arg {
                Arg::Pos(e) => out.pos.push(self.eval(e)?),
                Arg::Keyword(name, e) => out.kw.push(((&**name).into(), self.eval(e)?)),
                Arg::Splat(e) => out.pos.extend(self.value(e)?.iterate(self.ctx)?),
                Arg::KeywordSplat(e) => match self.value(e)? {
                    Value::Dict(d) => {
                        for (k, v) in d.items(self.ctx) {
                            out.kw.push((k.to_value().text(self.ctx)?, v));
                        }
                    }
                    other => {
                        let message = format!("argument after `**` must be a dict, not {}", other.type_name());
                        return Err(fail(message).located(|| self.at(e.range)));
                    }
                },
            }
        }
        Ok(out)
    }

    pub(super) fn filter(&self, filter: &Filter, input: Value, args: Args, range: Range) -> Res<Value> {
        if !filter.markers
            && let Some(marker) = first_marker(&input, &args)
        {
            return Ok(marker);
        }
        let result = (filter.run)(self.ctx, input, args);
        if let (Ok(Value::List(list)), "map") = (&result, filter.name) {
            list.locate(|| self.at(range));
        }
        Ok(
            result
                .unwrap_or_else(|fault| Value::Marker(named(fault, "filter", filter.name).located(|| self.at(range)))),
        )
    }

    pub(super) fn call(&self, callee: &Expr, args: Args, range: Range) -> Res<Value> {
        let here = |e: Rc<Fault>| Value::Marker(e.located(|| self.at(range)));
        if let ExprKind::Attr(base, name) = &callee.kind {
            let receiver = self.eval(base)?;
            if let ExprKind::Name(n) = &base.kind
                && &**n == "self"
                && receiver.check().is_err()
            {
                let mut out = Vec::new();
                self.block(name, 0, &self.env.frame.outermost(), &mut out)?;
                return concat(self.ctx, out);
            }
            if let Value::Object(o) = &receiver
                && let Some(result) = o.method(self.ctx, name, &args)
            {
                return Ok(result.unwrap_or_else(here));
            }
            if methods::has(&receiver, name) {
                if let Some(marker) = first_marker(&Value::None, &args) {
                    return Ok(marker);
                }
                let result = methods::call(self.ctx, &receiver, name, args);
                return Ok(result.unwrap_or_else(here));
            }
            let target = self.attr(&receiver, name, base, callee.range);
            return self.call_value(&target, args, callee).map(|r| r.unwrap_or_else(here));
        }
        let target = self.eval(callee)?;
        self.call_value(&target, args, callee).map(|r| r.unwrap_or_else(here))
    }

    fn call_value(&self, target: &Value, args: Args, callee: &Expr) -> Res<Res<Value>> {
        Ok(match target {
            Value::Marker(fault) => {
                let mut fault = (**fault).clone();
                if let (ExprKind::Name(name), ErrorKind::Undefined(_)) = (&callee.kind, &fault.kind) {
                    fault.message = format!("undefined function `{name}`");
                    if let Some(similar) = similar_name(name, crate::template::globals::NAMES.iter().copied()) {
                        fault.helps = vec![format!("a function with a similar name exists: `{similar}`")];
                        fault.unknown_name = None;
                    }
                }
                Ok(Value::Marker(Rc::new(fault)))
            }
            Value::Object(o) => {
                if !o.takes_markers()
                    && let Some(marker) = first_marker(&Value::None, &args)
                {
                    return Ok(Ok(marker));
                }
                let scope = self.env.frame.scope();
                o.call_in(self.ctx, args, scope.as_ref())
            }
            other => Err(fail(format!("'{}' object is not callable", other.type_name()))),
        })
    }
}

fn named(fault: Rc<Fault>, what: &str, name: &str) -> Rc<Fault> {
    if fault.at.is_some() || fault.kind != ErrorKind::Other {
        return fault;
    }
    let mut fault = Rc::unwrap_or_clone(fault);
    fault.message = format!("{what} `{name}`: {}", fault.message);
    Rc::new(fault)
}

fn first_marker(input: &Value, args: &Args) -> Option<Value> {
    std::iter::once(input)
        .chain(args.values())
        .find(|v| matches!(v, Value::Marker(_)))
        .cloned()
}

pub(crate) fn binary(ctx: &Ctx, op: Binary, a: &Value, b: &Value) -> Res<Value> {
    match op {
        Binary::Add => ops::add(ctx, a, b),
        Binary::Sub => ops::arithmetic(op, a, b),
        Binary::Mul => ops::multiply(ctx, a, b),
        Binary::Div | Binary::FloorDiv | Binary::Pow => ops::arithmetic(op, a, b),
        Binary::Rem => match a {
            Value::Str(format) => Ok(ops::percent_format(ctx, format, b)?.into()),
            _ => ops::arithmetic(op, a, b),
        },
        Binary::Concat => Ok(format!("{}{}", a.text(ctx)?, b.text(ctx)?).into()),
    }
}

pub(crate) fn compare(ctx: &Ctx, op: Compare, a: &Value, b: &Value) -> Res<bool> {
    use std::cmp::Ordering::{Equal, Greater, Less};
    Ok(match op {
        Compare::Eq => a.equals(ctx, b)?,
        Compare::Ne => !a.equals(ctx, b)?,
        Compare::Lt => a.compare(ctx, b, "<")? == Some(Less),
        Compare::Lte => matches!(a.compare(ctx, b, "<=")?, Some(Less | Equal)),
        Compare::Gt => a.compare(ctx, b, ">")? == Some(Greater),
        Compare::Gte => matches!(a.compare(ctx, b, ">=")?, Some(Greater | Equal)),
        Compare::In => a.is_in(ctx, b)?,
        Compare::NotIn => !a.is_in(ctx, b)?,
    })
}
