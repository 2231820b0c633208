//! Statements: what a template writes, and what it binds.

use super::objects::{LoopState, MacroObject, Module, Super};
use super::{Flow, Frame, Run, concat, run_template};
use crate::template::ErrorKind;
use crate::template::ast::{Expr, ExprKind, ForLoop, Macro, Range, Stmt, Target};
use crate::template::fault::{Fault, Res, fail, undefined};
use crate::template::imagine::is_unknown;
use crate::template::value::{Object, Value};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

impl Run<'_> {
    pub(super) fn statements(
        &self,
        body: &[Stmt],
        out: &mut Vec<Value>,
        parent: &mut Option<(Rc<str>, Range)>,
    ) -> Res<Flow> {
        for stmt in body {
            match self.statement(stmt, out, parent) {
                Ok(Flow::Next) => {}
                Ok(flow) => return Ok(flow),
                Err(fault) => match &self.ctx.guess {
                    // What else is written can be told all the same.
                    Some(guess) if guess.is_top(out) && is_unknown(&fault) => guess.lose(&fault),
                    _ => return Err(fault),
                },
            }
        }
        Ok(Flow::Next)
    }

    /// Statements in a frame of their own.
    fn body(&self, body: &[Stmt], out: &mut Vec<Value>) -> Res<Flow> {
        self.statements(body, out, &mut None)
    }

    pub(super) fn capture(&self, body: &[Stmt]) -> Res<Value> {
        let mut nodes = Vec::new();
        self.body(body, &mut nodes)?;
        match concat(self.ctx, nodes) {
            Err(fault) if self.ctx.guess.is_some() && is_unknown(&fault) => Ok(Value::Marker(fault)),
            done => done,
        }
    }

    /// Notes for a guess where the last part of `out` stands.
    fn put(&self, out: &Vec<Value>, range: Range, verbatim: bool) {
        if let Some(guess) = &self.ctx.guess {
            guess.mark(out, self.at(range), verbatim);
        }
    }

    /// What a condition that fails comes to: only a guess takes one way all the same.
    pub(super) fn decided(&self, range: Range, fault: Rc<Fault>) -> Res<bool> {
        match &self.ctx.guess {
            Some(guess) if is_unknown(&fault) => Ok(guess.decide(self.slice(range), &fault)),
            _ => Err(fault.located(|| self.at(range))),
        }
    }

    fn statement(&self, stmt: &Stmt, out: &mut Vec<Value>, parent: &mut Option<(Rc<str>, Range)>) -> Res<Flow> {
        match stmt {
            Stmt::Raw(text, range) => {
                if !text.is_empty() && parent.is_none() {
                    out.push(Value::str(text));
                    self.put(out, *range, true);
                }
            }
            Stmt::Emit(expr) => {
                let value = match self.eval(expr) {
                    Err(fault) if self.ctx.guess.is_some() && is_unknown(&fault) => Value::Marker(fault),
                    value => value?,
                };
                let value = match value {
                    Value::Marker(fault) => Value::Marker(fault.located(|| self.at(expr.range))),
                    // An imported template prints what it put out.
                    Value::Object(o) if o.type_name() == "TemplateModule" => {
                        o.attr(self.ctx, "__body__").unwrap_or(Value::None)
                    }
                    value => value.snapshot(),
                };
                if parent.is_none() {
                    out.push(value);
                    self.put(out, expr.range, false);
                }
            }
            Stmt::For(for_loop) => {
                let range = for_loop.iter.range;
                let items = match self.eval(&for_loop.iter).and_then(|v| v.iterate(self.ctx)) {
                    Ok(items) => items,
                    Err(fault) if self.decided(range, fault.clone())? => vec![Value::Marker(fault)],
                    Err(_) => Vec::new(),
                };
                self.for_loop(for_loop, items, 0, out)?;
            }
            Stmt::If(test, then, otherwise) => {
                let chosen = if self.test(test)? { then } else { otherwise };
                return self.statements(chosen, out, parent);
            }
            Stmt::With(assignments, body) => {
                let inner = self.with_frame(Frame::child(&self.env.frame));
                for (target, expr) in assignments {
                    let value = self.eval(expr)?;
                    inner.assign(target, value)?;
                }
                return inner.body(body, out);
            }
            Stmt::Set(target, expr) => {
                let value = self.eval(expr).unwrap_or_else(Value::Marker);
                // `set _ = keys.update(...)` is there for what it does.
                if let (Some(guess), ExprKind::Call(..), Value::Marker(fault)) = (&self.ctx.guess, &expr.kind, &value)
                    && is_unknown(fault)
                {
                    guess.lose(fault);
                }
                self.assign(target, value)?;
            }
            Stmt::SetBlock(target, filter, body) => {
                let inner = self.with_frame(Frame::child(&self.env.frame));
                let mut value = inner.capture(body)?;
                if let Some(filter) = filter {
                    value = self.filter_block(filter, value)?;
                }
                self.assign(target, value)?;
            }
            Stmt::FilterBlock(filter, body) => {
                let inner = self.with_frame(Frame::child(&self.env.frame));
                let value = inner.capture(body)?;
                let value = self.filter_block(filter, value)?;
                out.push(value);
            }
            Stmt::Plain(body) => return self.statements(body, out, parent),
            Stmt::Block { name, scoped } => {
                if parent.is_none() {
                    let around = match scoped {
                        true => self.env.frame.clone(),
                        false => self.env.frame.outermost(),
                    };
                    self.block(name, 0, &around, out)?;
                }
            }
            Stmt::Extends(name) => {
                if parent.is_some() {
                    return Err(fail("a template can extend only one other").located(|| self.at(name.range)));
                }
                let value = self.eval(name)?.usable()?;
                *parent = Some((value.text(self.ctx)?, name.range));
            }
            Stmt::Include {
                name,
                ignore_missing,
                with_context,
            } => self.include(name, *ignore_missing, *with_context, out)?,
            Stmt::Import {
                name,
                target,
                with_context,
            } => {
                let module = self.import(name, *with_context)?;
                self.assign(target, Value::Object(Rc::new(module)))?;
            }
            Stmt::FromImport {
                name,
                names,
                with_context,
            } => {
                let module = self.import(name, *with_context)?;
                for (from, to) in names {
                    let value = module.attr(self.ctx, from).unwrap_or_else(|| {
                        let message = format!("the imported template has no `{from}`");
                        Value::Marker(undefined(message).located(|| self.at(name.range)))
                    });
                    self.env.frame.set(to.clone(), value);
                }
            }
            Stmt::Macro(m) => {
                let value = self.macro_object(m);
                self.env.frame.set(m.name.clone(), value);
            }
            Stmt::CallBlock(call, caller) => {
                let ExprKind::Call(callee, args) = &call.kind else {
                    return Ok(Flow::Next);
                };
                let mut args = self.args(args)?;
                args.kw.push(("caller".into(), self.macro_object(caller)));
                let value = self.call(callee, args, call.range)?;
                out.push(value);
            }
            Stmt::Continue => return Ok(Flow::Continue),
            Stmt::Break => return Ok(Flow::Break),
            Stmt::Do(expr) => {
                self.eval(expr)?.check()?;
            }
        }
        Ok(Flow::Next)
    }

    fn macro_object(&self, m: &Arc<Macro>) -> Value {
        Value::Object(Rc::new(MacroObject {
            definition: m.clone(),
            env: self.env.clone(),
        }))
    }

    /// Writes a block; `around` has the names it sees.
    pub(super) fn block(&self, name: &Arc<str>, level: usize, around: &Rc<Frame>, out: &mut Vec<Value>) -> Res<()> {
        let version = self.env.blocks.borrow().get(name).and_then(|v| v.get(level).cloned());
        let Some((body, origin)) = version else {
            return Err(fail(format!("block `{name}` has no parent")));
        };
        let _deeper = self.ctx.deeper()?;
        let mut run = self.with_frame(Frame::child(around));
        run.env.origin = origin;
        let parent = Value::Object(Rc::new(Super {
            env: run.env.clone(),
            block: name.clone(),
            level: level + 1,
            around: around.clone(),
        }));
        run.env.frame.set("super".into(), parent);
        run.body(&body, out)?;
        Ok(())
    }

    fn include(&self, name: &Expr, ignore_missing: bool, with_context: bool, out: &mut Vec<Value>) -> Res<()> {
        let choice = self.eval(name)?.usable()?;
        let names = match &choice {
            Value::Str(s) => vec![s.clone()],
            other => (other.iterate(self.ctx)?.iter())
                .map(|v| v.text(self.ctx))
                .collect::<Res<Vec<_>>>()?,
        };
        let mut missing = None;
        for n in &names {
            match self.load(n) {
                Ok((compiled, place)) => {
                    let _deeper = self.ctx.deeper()?;
                    let frame = if with_context {
                        Frame::child(&self.env.frame)
                    } else {
                        Frame::root(None)
                    };
                    return Run::new(self.ctx, &compiled, place, frame).whole(&compiled, out);
                }
                Err(fault) if fault.kind == ErrorKind::Other => missing = Some(fault),
                Err(fault) => return Err(fault.located(|| self.at(name.range))),
            }
        }
        match missing {
            Some(fault) if !ignore_missing => Err(fault.located(|| self.at(name.range))),
            _ => Ok(()),
        }
    }

    fn import(&self, name: &Expr, with_context: bool) -> Res<Module> {
        let file = self.eval(name)?.usable()?.text(self.ctx)?;
        let (compiled, place) = self.load(&file).map_err(|e| e.located(|| self.at(name.range)))?;
        let _deeper = self.ctx.deeper()?;
        let frame = if with_context {
            Frame::child(&self.env.frame)
        } else {
            Frame::root(None)
        };
        let body = run_template(self.ctx, &compiled, place, &frame)?;
        Ok(Module { frame, body })
    }

    fn filter_block(&self, filter: &Expr, input: Value) -> Res<Value> {
        let ExprKind::Filter(inner, f, args) = &filter.kind else {
            return Ok(input);
        };
        let input = match inner {
            Some(inner) => self.filter_block(inner, input)?,
            None => input,
        };
        self.filter(f, input, self.args(args)?, filter.range)
    }

    fn assign(&self, target: &Target, value: Value) -> Res<()> {
        match target {
            Target::Name(name) => self.env.frame.set(name.clone(), value),
            Target::Attr(object, name) => {
                let object_value = self.eval(object)?.usable()?;
                let done = match &object_value {
                    Value::Object(o) => o.set_attr(name, value),
                    _ => false,
                };
                if !done {
                    let message = format!(
                        "cannot set an attribute of a {}, only of a `namespace()`",
                        object_value.type_name()
                    );
                    return Err(fail(message).located(|| self.at(object.range)));
                }
            }
            Target::Many(targets) => {
                if let (Some(_), Value::Marker(fault)) = (&self.ctx.guess, &value)
                    && is_unknown(fault)
                {
                    return targets.iter().try_for_each(|t| self.assign(t, value.clone()));
                }
                let values = value.iterate(self.ctx)?;
                if values.len() != targets.len() {
                    return Err(fail(format!(
                        "cannot unpack {} value{} into {} names",
                        values.len(),
                        if values.len() == 1 { "" } else { "s" },
                        targets.len()
                    )));
                }
                for (t, v) in targets.iter().zip(values) {
                    self.assign(t, v)?;
                }
            }
        }
        Ok(())
    }

    pub(super) fn for_loop(
        &self,
        for_loop: &Arc<ForLoop>,
        mut items: Vec<Value>,
        depth: usize,
        out: &mut Vec<Value>,
    ) -> Res<()> {
        let _deeper = self.ctx.deeper()?;
        if let Some(filter) = &for_loop.filter {
            let mut kept = Vec::new();
            for item in items {
                let run = self.with_frame(Frame::child(&self.env.frame));
                run.assign(&for_loop.target, item.clone())?;
                if run.test(filter)? {
                    kept.push(item);
                }
            }
            items = kept;
        }
        if items.is_empty() {
            let run = self.with_frame(Frame::child(&self.env.frame));
            run.body(&for_loop.otherwise, out)?;
            return Ok(());
        }
        let state = Rc::new(LoopState {
            items: items.clone(),
            index: Cell::new(0),
            depth,
            last: RefCell::new(None),
            again: for_loop.recursive.then(|| (for_loop.clone(), self.env.clone())),
        });
        for (i, item) in items.into_iter().enumerate() {
            state.index.set(i);
            let run = self.with_frame(Frame::child(&self.env.frame));
            run.env.frame.set("loop".into(), Value::Object(state.clone()));
            run.assign(&for_loop.target, item)
                .map_err(|e| e.located(|| self.at(for_loop.iter.range)))?;
            if let Flow::Break = run.body(&for_loop.body, out)? {
                break;
            }
        }
        Ok(())
    }
}
