//! The evaluator: statements and expressions over [`Value`]s, with Jinja's scoping and Ansible's laziness.
//!
//! A failure inside a filter, a call or a variable's template becomes a [`Value::Marker`] and only fails what uses it, as
//! in Ansible 2.19: `default` looks at undefined ones, everything else hands them on.

mod expressions;
mod frame;
mod objects;
mod statements;

pub(crate) use self::expressions::compare;
pub(crate) use self::frame::Frame;
use super::ast::{Body, Compiled, Range, Stmt};
use super::fault::{At, Fault, Origin, Place, Res};
use super::imagine::Guess;
use super::value::{Dict, Lazy, NodeRef, Path, Value};
use super::{ErrorKind, FileOptions, Found, Inner, Outside, Scope};
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
}
