//! The evaluator: statements and expressions over [`Value`]s, with Jinja's scoping and Ansible's laziness.
//!
//! A failure inside a filter, a call or a variable's template becomes a [`Value::Marker`] and only fails what uses it, as
//! in Ansible 2.19: `default` looks at undefined ones, everything else hands them on.

use super::ast::{Arg, Binary, Body, Compare, Compiled, Const, Expr, ExprKind, ForLoop, Macro, Range, Stmt, Target};
use super::fault::{At, Fault, Origin, Place, Res, fail, undefined};
use super::filters::Filter;
use super::imagine::{Guess, is_unknown};
use super::tests::Test;
use super::value::{Args, Dict, Key, Lazy, NodeRef, Object, Path, Value};
use super::{ErrorKind, FileOptions, Found, Inner, Outside, Scope, methods, ops};
use crate::diagnostic::similar_name;
use crate::language::Yaml;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

/// How deep an evaluation may nest before it is taken for endless, chosen so that the stack of a thread (2 MiB) is
/// enough: a variable, macro or container in another weighs [`NESTED`], an expression in another [`INNER`].
const MAX_DEPTH: usize = 1200;
const NESTED: usize = 10;
const INNER: usize = 3;

/// One evaluation: what it may reach, and where it is.
pub(crate) struct Ctx {
    pub inner: Arc<Inner>,
    /// Directories in which `include`, `import` and lookups search.
    pub search: Vec<String>,
    /// How included templates are read; `None`: as is usual.
    pub options: Option<FileOptions>,
    /// Variables in evaluation: node and scope by address, and the name.
    active: RefCell<Vec<(usize, usize, Rc<str>)>>,
    depth: Cell<usize>,
    /// Whose variables are evaluated.
    scope: Arc<dyn Scope>,
    /// What is not known is no failure: see [`super::imagine`].
    guess: Option<Rc<Guess>>,
}

pub(crate) struct Deeper<'a>(&'a Cell<usize>, usize);

impl Drop for Deeper<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get().saturating_sub(self.1));
    }
}

fn address<T: ?Sized>(arc: &Arc<T>) -> usize {
    Arc::as_ptr(arc).cast::<()>() as usize
}

impl Ctx {
    pub fn new(inner: Arc<Inner>, scope: Arc<dyn Scope>, search: Vec<String>, options: Option<FileOptions>) -> Self {
        Ctx {
            inner,
            scope,
            search,
            options,
            active: RefCell::default(),
            depth: Cell::new(0),
            guess: None,
        }
    }

    pub fn guessing(self, guess: Rc<Guess>) -> Self {
        Ctx {
            guess: Some(guess),
            ..self
        }
    }

    /// Before the machine is asked for anything but its environment.
    pub fn outside(&self, what: Outside) -> Res<()> {
        let not_yet = |why: String| Rc::new(Fault::new(ErrorKind::Unknown(why.clone()), why));
        self.scope.outside(what).map_err(not_yet)
    }

    pub fn deeper(&self) -> Res<Deeper<'_>> {
        self.nest(NESTED)
    }

    fn nest(&self, weight: usize) -> Res<Deeper<'_>> {
        if self.depth.get() + weight > MAX_DEPTH {
            return Err(Rc::new(Fault::new(
                ErrorKind::Recursion,
                "this nests too deep; something contains itself",
            )));
        }
        self.depth.set(self.depth.get() + weight);
        Ok(Deeper(&self.depth, weight))
    }

    pub fn variable_in(&self, scope: &Arc<dyn Scope>, name: &str) -> Option<Value> {
        match scope.lookup(name) {
            Found::Missing if name == "vars" => Some(Dict::scope(scope.clone()).into()),
            Found::Missing => None,
            Found::Trusted(root) => {
                let node = NodeRef {
                    root,
                    path: Path::root(),
                    scope: scope.clone(),
                    name: name.into(),
                };
                Some(self.force(node.value()))
            }
            Found::Data(data) => Some(Value::from_data(data)),
            Found::Scope(scope) => Some(Dict::scope(scope).into()),
            Found::Unknown(what) => {
                let message = format!("`{name}` is not known yet: {what}");
                Some(Value::Marker(Rc::new(Fault::new(ErrorKind::Unknown(what), message))))
            }
        }
    }

    /// Evaluates what was put off. A failure comes back as a marker.
    pub fn force(&self, value: Value) -> Value {
        let Value::Lazy(lazy) = value else { return value };
        match &*lazy {
            Lazy::Variable(scope, name) => self.variable_in(scope, name).unwrap_or(Value::None),
            Lazy::Text(node) => self.force_text(node).unwrap_or_else(Value::Marker),
        }
    }

    fn force_text(&self, node: &NodeRef) -> Res<Value> {
        let Some(target) = node.node() else {
            return Ok(Value::None);
        };
        let Yaml::Str(text) = &target.yaml else {
            return Ok(Value::None);
        };
        let key = (std::ptr::from_ref(target) as usize, address(&node.scope));
        let cycle = {
            let active = self.active.borrow();
            active.iter().position(|a| (a.0, a.1) == key).map(|i| {
                let mut names: Vec<&str> = active[i..].iter().map(|a| &*a.2).collect();
                names.push(&node.name);
                names.iter().map(|n| format!("`{n}`")).collect::<Vec<_>>().join(" → ")
            })
        };
        if let Some(cycle) = cycle {
            let message = format!("variable `{}` refers to itself: {cycle}", node.name);
            return Err(Rc::new(Fault::new(ErrorKind::Recursion, message)));
        }
        let _deeper = self.deeper().map_err(|fault| {
            // Scopes of other hosts are made anew each time: only the depth tells.
            let active = self.active.borrow();
            let again = active.iter().filter(|a| a.0 == key.0).count() > 2;
            if !again {
                return fault;
            }
            let message = format!("variable `{}` refers to itself through other variables", node.name);
            Rc::new(Fault::new(ErrorKind::Recursion, message))
        })?;
        self.active.borrow_mut().push((key.0, key.1, node.name.clone()));
        let result = self.text(&text.value, Place::Node(target.span), &node.scope);
        self.active.borrow_mut().pop();
        result
    }

    /// Evaluates a string that may be a template, as Ansible evaluates a YAML value.
    pub fn text(&self, text: &str, place: Place, scope: &Arc<dyn Scope>) -> Res<Value> {
        let compiled = self.inner.template(text, place)?;
        let value = run_template(self, &compiled, place, &Frame::root(Some(scope.clone())))?;
        Ok(keep_newlines(&compiled.text, value, "\n"))
    }

    /// Evaluates a compiled expression.
    pub fn expression(&self, compiled: &Compiled, place: Place, scope: &Arc<dyn Scope>) -> Res<Value> {
        let Body::Expression(expr) = &compiled.body else {
            return Ok(Value::None);
        };
        let run = Run::new(self, compiled, place, Frame::root(Some(scope.clone())));
        run.eval(expr)
    }
}

/// Jinja drops one newline at the end of a template; Ansible gives back as many as the source has.
pub(crate) fn keep_newlines(source: &str, value: Value, newline: &str) -> Value {
    let count = |s: &str| s.len() - s.trim_end_matches('\n').len();
    match &value {
        Value::Str(s) if count(source) > count(s) => format!("{s}{}", newline.repeat(count(source) - count(s))).into(),
        _ => value,
    }
}

/// Evaluates a whole template to its (native) value.
pub(crate) fn run_template(ctx: &Ctx, compiled: &Compiled, place: Place, frame: &Rc<Frame>) -> Res<Value> {
    let mut nodes = Vec::new();
    run_into(ctx, compiled, place, frame, &mut nodes)?;
    concat(ctx, nodes)
}

/// The same, each part that is put out for itself.
pub(crate) fn run_into(
    ctx: &Ctx,
    compiled: &Compiled,
    place: Place,
    frame: &Rc<Frame>,
    out: &mut Vec<Value>,
) -> Res<()> {
    Run::new(ctx, compiled, place, frame.clone()).whole(compiled, out)
}

/// Joins what a template put out: one value stays what it is, `None` is nothing.
fn concat(ctx: &Ctx, nodes: Vec<Value>) -> Res<Value> {
    let mut nodes: Vec<Value> = nodes.into_iter().filter(|n| !matches!(n, Value::None)).collect();
    if nodes.len() <= 1 {
        return Ok(nodes.pop().unwrap_or(Value::None));
    }
    let mut out = String::new();
    for node in nodes {
        match &node {
            Value::Str(s) => out.push_str(s),
            Value::Omit | Value::Blank => {}
            other => out.push_str(&other.finalize(ctx)?.text(ctx)?),
        }
    }
    Ok(out.into())
}

/// Names that statements bind; the outermost frame reaches the variables.
pub(crate) struct Frame {
    names: RefCell<HashMap<Arc<str>, Value>>,
    parent: Option<Rc<Frame>>,
    scope: Option<Arc<dyn Scope>>,
    /// Lists and dicts of the scope this template has used: what `append` did to one stays for the rest of it.
    reached: RefCell<HashMap<Arc<str>, Value>>,
}

impl Frame {
    pub fn root(scope: Option<Arc<dyn Scope>>) -> Rc<Frame> {
        Rc::new(Frame {
            names: RefCell::default(),
            parent: None,
            scope,
            reached: RefCell::default(),
        })
    }

    fn child(parent: &Rc<Frame>) -> Rc<Frame> {
        Rc::new(Frame {
            names: RefCell::default(),
            parent: Some(parent.clone()),
            scope: None,
            reached: RefCell::default(),
        })
    }

    pub fn set(&self, name: Arc<str>, value: Value) {
        self.names.borrow_mut().insert(name, value);
    }

    fn outermost(self: &Rc<Self>) -> Rc<Frame> {
        let mut frame = self.clone();
        while let Some(parent) = frame.parent.clone() {
            frame = parent;
        }
        frame
    }

    fn local(self: &Rc<Self>, name: &str) -> Option<Value> {
        let mut frame = Some(self);
        while let Some(f) = frame {
            if let Some(v) = f.names.borrow().get(name) {
                return Some(v.clone());
            }
            frame = f.parent.as_ref();
        }
        None
    }

    fn scope(self: &Rc<Self>) -> Option<Arc<dyn Scope>> {
        self.outermost().scope.clone()
    }
}

type BlockBody = (Arc<Vec<Stmt>>, Rc<Origin>);

/// Where statements run: their text, names, and the blocks of the template and those that extend it.
#[derive(Clone)]
struct Env {
    origin: Rc<Origin>,
    frame: Rc<Frame>,
    /// Versions of each block, the innermost child's first.
    blocks: Rc<RefCell<HashMap<Arc<str>, Vec<BlockBody>>>>,
}

struct Run<'c> {
    ctx: &'c Ctx,
    env: Env,
}

enum Flow {
    Next,
    Break,
    Continue,
}

impl<'c> Run<'c> {
    fn new(ctx: &'c Ctx, compiled: &Compiled, place: Place, frame: Rc<Frame>) -> Self {
        Run {
            ctx,
            env: Env {
                origin: Rc::new(Origin {
                    text: compiled.text.clone(),
                    place,
                }),
                frame,
                blocks: Rc::default(),
            },
        }
    }

    fn with_frame(&self, frame: Rc<Frame>) -> Run<'c> {
        Run {
            ctx: self.ctx,
            env: Env {
                frame,
                ..self.env.clone()
            },
        }
    }

    fn at(&self, range: Range) -> At {
        At {
            origin: self.env.origin.clone(),
            start: range.start,
            end: range.end,
        }
    }

    fn slice(&self, range: Range) -> &str {
        let text = &self.env.origin.text;
        text.get(range.start as usize..range.end as usize).unwrap_or("")
    }

    /// A template with the parents it extends.
    fn whole(&self, compiled: &Compiled, out: &mut Vec<Value>) -> Res<()> {
        let Body::Template(body) = &compiled.body else {
            return Ok(());
        };
        for (name, body) in &compiled.blocks {
            let mut blocks = self.env.blocks.borrow_mut();
            blocks
                .entry(name.clone())
                .or_default()
                .push((body.clone(), self.env.origin.clone()));
        }
        let mut parent = None;
        self.statements(body, out, &mut parent)?;
        if let Some((name, range)) = parent {
            let _deeper = self.ctx.deeper()?;
            let (compiled, place) = self.load(&name).map_err(|fault| fault.located(|| self.at(range)))?;
            let mut run = self.with_frame(self.env.frame.clone());
            run.env.origin = Rc::new(Origin {
                text: compiled.text.clone(),
                place,
            });
            out.clear();
            run.whole(&compiled, out)?;
        }
        Ok(())
    }

    fn load(&self, name: &str) -> Res<(Arc<Compiled>, Place)> {
        self.ctx.outside(Outside::Look)?;
        let options = self.ctx.options.clone().unwrap_or_default();
        self.ctx.inner.load(name, &self.ctx.search, &options)
    }

    fn statements(&self, body: &[Stmt], out: &mut Vec<Value>, parent: &mut Option<(Rc<str>, Range)>) -> Res<Flow> {
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

    fn capture(&self, body: &[Stmt]) -> Res<Value> {
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
    fn decided(&self, range: Range, fault: Rc<Fault>) -> Res<bool> {
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
    fn block(&self, name: &Arc<str>, level: usize, around: &Rc<Frame>, out: &mut Vec<Value>) -> Res<()> {
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

    fn for_loop(&self, for_loop: &Arc<ForLoop>, mut items: Vec<Value>, depth: usize, out: &mut Vec<Value>) -> Res<()> {
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

    fn test(&self, expr: &Expr) -> Res<bool> {
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
    fn eval(&self, expr: &Expr) -> Res<Value> {
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
        if let Some(value) = super::globals::find(name) {
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
                        .push(format!("`{parent}` has {}", super::ast::quoted(&keys)));
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

    fn args(&self, args: &[Arg]) -> Res<Args> {
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

    fn filter(&self, filter: &Filter, input: Value, args: Args, range: Range) -> Res<Value> {
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

    fn call(&self, callee: &Expr, args: Args, range: Range) -> Res<Value> {
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
                    if let Some(similar) = similar_name(name, super::globals::NAMES.iter().copied()) {
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

struct MacroObject {
    definition: Arc<Macro>,
    env: Env,
}

impl Object for MacroObject {
    fn type_name(&self) -> &'static str {
        "Macro"
    }

    fn takes_markers(&self) -> bool {
        true
    }

    fn attr(&self, _ctx: &Ctx, name: &str) -> Option<Value> {
        match name {
            "name" => Some(Value::str(&self.definition.name)),
            "arguments" => Some(Value::tuple(
                self.definition.args.iter().map(|a| Value::str(a)).collect(),
            )),
            _ => None,
        }
    }

    fn call(&self, ctx: &Ctx, mut args: Args) -> Res<Value> {
        let _deeper = ctx.deeper()?;
        let m = &self.definition;
        let frame = Frame::child(&self.env.frame);
        let run = Run {
            ctx,
            env: Env {
                frame: frame.clone(),
                ..self.env.clone()
            },
        };
        let mut positional = args.pos.into_iter();
        let first_default = m.args.len() - m.defaults.len();
        for (i, name) in m.args.iter().enumerate() {
            let given = match positional.next() {
                Some(value) => Some(value),
                None => (args.kw.iter().position(|(n, _)| **n == **name)).map(|k| args.kw.remove(k).1),
            };
            let value = match given {
                Some(value) => value,
                None if i >= first_default => run.eval(&m.defaults[i - first_default])?,
                None => Value::Marker(undefined(format!(
                    "parameter `{name}` of macro `{}` was not given",
                    m.name
                ))),
            };
            frame.set(name.clone(), value);
        }
        if let Some(i) = args.kw.iter().position(|(n, _)| &**n == "caller") {
            frame.set("caller".into(), args.kw.remove(i).1);
        }
        frame.set("varargs".into(), Value::tuple(positional.collect()));
        let kwargs = args.kw.into_iter().map(|(n, v)| (Key::Str(n), v)).collect();
        frame.set("kwargs".into(), Dict::of(kwargs).into());
        run.capture(&m.body)
    }
}

struct Super {
    env: Env,
    block: Arc<str>,
    level: usize,
    around: Rc<Frame>,
}

impl Object for Super {
    fn type_name(&self) -> &'static str {
        "BlockReference"
    }

    fn call(&self, ctx: &Ctx, _args: Args) -> Res<Value> {
        let run = Run {
            ctx,
            env: self.env.clone(),
        };
        let mut out = Vec::new();
        run.block(&self.block, self.level, &self.around, &mut out)?;
        concat(ctx, out)
    }
}

struct Module {
    frame: Rc<Frame>,
    body: Value,
}

impl Object for Module {
    fn type_name(&self) -> &'static str {
        "TemplateModule"
    }

    fn attr(&self, _ctx: &Ctx, name: &str) -> Option<Value> {
        match name {
            "__body__" => Some(self.body.clone()),
            _ => self.frame.names.borrow().get(name).cloned(),
        }
    }
}

struct LoopState {
    items: Vec<Value>,
    index: Cell<usize>,
    depth: usize,
    last: RefCell<Option<Vec<Value>>>,
    again: Option<(Arc<ForLoop>, Env)>,
}

impl Object for LoopState {
    fn type_name(&self) -> &'static str {
        "LoopContext"
    }

    fn attr(&self, _ctx: &Ctx, name: &str) -> Option<Value> {
        let (i, n) = (self.index.get(), self.items.len());
        let neighbour = |i: Option<usize>, which: &str| {
            let item = i.and_then(|i| self.items.get(i)).cloned();
            item.unwrap_or_else(|| Value::Marker(undefined(format!("there is no {which} item"))))
        };
        Some(match name {
            "index" => (i + 1).into(),
            "index0" => i.into(),
            "revindex" => (n - i).into(),
            "revindex0" => (n - i - 1).into(),
            "first" => (i == 0).into(),
            "last" => (i + 1 == n).into(),
            "length" => n.into(),
            "depth" => (self.depth + 1).into(),
            "depth0" => self.depth.into(),
            "previtem" => neighbour(i.checked_sub(1), "previous"),
            "nextitem" => neighbour(i.checked_add(1), "next"),
            _ => return None,
        })
    }

    fn method(&self, ctx: &Ctx, name: &str, args: &Args) -> Option<Res<Value>> {
        match name {
            "cycle" if args.pos.is_empty() => Some(Err(fail("no items for cycling given"))),
            "cycle" => Some(Ok(args.pos[self.index.get() % args.pos.len()].clone())),
            "changed" => {
                let before = self.last.replace(Some(args.pos.clone()));
                let same = match before {
                    Some(before) => Value::tuple(before).equals(ctx, &Value::tuple(args.pos.clone())),
                    None => Ok(false),
                };
                Some(same.map(|same| Value::Bool(!same)))
            }
            _ => None,
        }
    }

    fn call(&self, ctx: &Ctx, args: Args) -> Res<Value> {
        let Some((for_loop, env)) = &self.again else {
            return Err(fail("only a `for` that says `recursive` can be called with `loop()`"));
        };
        let [items] = args.bind("loop", ["items"])?;
        let items = items.unwrap_or(Value::None).iterate(ctx)?;
        let run = Run { ctx, env: env.clone() };
        let mut out = Vec::new();
        run.for_loop(for_loop, items, self.depth + 1, &mut out)?;
        concat(ctx, out)
    }
}
