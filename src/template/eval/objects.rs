//! What only templates have: macros, `super`, imported templates, `loop`.

use super::{Ctx, Env, Frame, Run, concat};
use crate::template::ast::{ForLoop, Macro};
use crate::template::fault::{Res, fail, undefined};
use crate::template::value::{Args, Dict, Key, Object, Value};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

pub(super) struct MacroObject {
    pub definition: Arc<Macro>,
    pub env: Env,
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

pub(super) struct Super {
    pub env: Env,
    pub block: Arc<str>,
    pub level: usize,
    pub around: Rc<Frame>,
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

pub(super) struct Module {
    pub frame: Rc<Frame>,
    pub body: Value,
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

pub(super) struct LoopState {
    pub items: Vec<Value>,
    pub index: Cell<usize>,
    pub depth: usize,
    pub last: RefCell<Option<Vec<Value>>>,
    pub again: Option<(Arc<ForLoop>, Env)>,
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
