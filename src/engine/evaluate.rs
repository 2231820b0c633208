//! PURE. From a task as written to something that can run on a host: conditions, loops, keywords, arguments.

#![deny(clippy::disallowed_methods)]

mod prepare;

pub use self::prepare::template_variables;

use self::prepare::Context;
use crate::diagnostic::{Code, Diagnostic, SourceMap, Span};
use crate::engine::search;
use crate::engine::shared::{PlayRun, Shared};
use crate::engine::trace::{Holds, Source};
use crate::engine::vars::TaskScope;
use crate::language::{LoopKind, Node, Task, Yaml};
use crate::modules::{self, Action, ArgError, Args, Kind, ModuleSpec};
use crate::template::{ErrorKind, Scope, TemplateError};
use crate::transport::{Method, RunAs, Secret};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// Why something could not be evaluated.
#[derive(Clone, Debug)]
pub enum Trouble {
    /// It depends on something that is not there yet; what.
    NotYet(String),
    Wrong(Box<Diagnostic>),
}

impl From<TemplateError> for Trouble {
    fn from(error: TemplateError) -> Self {
        match error.kind {
            ErrorKind::Unknown(what) => Trouble::NotYet(what),
            _ => Trouble::Wrong(error.diagnostic),
        }
    }
}

fn wrong(span: Span, code: Code, message: impl Into<String>, label: impl Into<String>) -> Trouble {
    Trouble::Wrong(Box::new(Diagnostic::error(code, message).at(span, label)))
}

/// One evaluation context: a host at a task (and an item of its loop).
pub struct Evaluation<'a> {
    pub play: &'a PlayRun,
    pub scope: Arc<TaskScope>,
    /// The task is a handler.
    pub handler: bool,
}

impl Evaluation<'_> {
    fn shared(&self) -> &Shared {
        &self.play.shared
    }

    fn dyn_scope(&self) -> Arc<dyn Scope> {
        self.scope.clone()
    }

    pub fn resolve(&self, node: &Node) -> Result<Option<Value>, Trouble> {
        // Literals need no scope, and most arguments are literals.
        if !node.contains_template() {
            return Ok(Some(node.to_value()));
        }
        Ok(self.shared().templar.resolve(node, &self.dyn_scope())?)
    }

    /// A string, after templating; other scalars as Ansible writes them.
    pub fn text(&self, node: &Node) -> Result<String, Trouble> {
        Ok(self.resolve(node)?.as_ref().map(modules::plain).unwrap_or_default())
    }

    pub fn boolean(&self, node: &Node, what: &str) -> Result<bool, Trouble> {
        let value = self.resolve(node)?.unwrap_or(Value::Null);
        modules::boolean(&value).ok_or_else(|| {
            wrong(
                node.span,
                Code::VALUE,
                format!("`{what}` must be a boolean"),
                format!("is `{}`", modules::plain(&value)),
            )
        })
    }

    pub fn integer(&self, node: &Node, what: &str) -> Result<i64, Trouble> {
        let value = self.resolve(node)?.unwrap_or(Value::Null);
        let number = match &value {
            Value::Number(n) => n.as_i64().or_else(|| n.as_f64().map(|f| f as i64)),
            Value::String(s) => s.trim().parse().ok(),
            _ => None,
        };
        number.ok_or_else(|| {
            wrong(
                node.span,
                Code::VALUE,
                format!("`{what}` must be an integer"),
                format!("is `{}`", modules::plain(&value)),
            )
        })
    }

    pub fn expression(&self, node: &Node) -> Result<Value, Trouble> {
        Ok(self.shared().templar.expression(node, &self.dyn_scope())?)
    }

    pub fn condition(&self, node: &Node) -> Result<bool, Trouble> {
        if let Yaml::Bool(value) = node.yaml {
            return Ok(value);
        }
        Ok(self
            .scope
            .trace
            .telling_nothing(|| self.shared().templar.condition(node, &self.dyn_scope()))?)
    }

    /// All must hold; the first that does not is returned.
    pub fn all<'n>(&self, nodes: impl IntoIterator<Item = &'n Node>) -> Result<Option<&'n Node>, Trouble> {
        for node in nodes {
            if !self.condition(node)? {
                return Ok(Some(node));
            }
        }
        Ok(None)
    }

    /// The first `when` around the task that does not hold.
    pub fn when<'t>(&self, task: &'t Task) -> Result<Option<&'t Node>, Trouble> {
        self.all(task.chain.iter().flat_map(|c| &c.when))
    }

    /// An inherited boolean keyword.
    pub fn flag<'t>(
        &self,
        task: &'t Task,
        what: &str,
        field: fn(&'t crate::language::Common) -> Option<&'t Node>,
    ) -> Result<Option<bool>, Trouble> {
        task.inherited(field).map(|node| self.boolean(node, what)).transpose()
    }

    /// The items of the task's loop; `None`: no loop.
    pub fn items(&self, task: &Task) -> Result<Option<Vec<Value>>, Trouble> {
        let Some(looping) = &task.loop_ else { return Ok(None) };
        let value = self.resolve(&looping.expr)?.unwrap_or(Value::Null);
        if let LoopKind::Lookup(name) = &looping.kind {
            let terms = match value {
                Value::Array(terms) => terms,
                one => vec![one],
            };
            let templar = &self.shared().templar;
            return Ok(Some(templar.lookup(name, terms, &looping.expr, &self.dyn_scope())?));
        }
        let Value::Array(items) = value else {
            if looping.kind == LoopKind::Items && !value.is_null() {
                return Ok(Some(vec![value]));
            }
            let kind = Node::from_value(looping.span, &value).kind();
            return Err(wrong(
                looping.expr.span,
                Code::VALUE,
                "`loop` needs a list",
                format!("is {kind}"),
            ));
        };
        Ok(Some(match looping.kind {
            LoopKind::Loop | LoopKind::Lookup(_) => items,
            LoopKind::Items => items
                .into_iter()
                .flat_map(|item| match item {
                    Value::Array(inner) => inner,
                    other => vec![other],
                })
                .collect(),
        }))
    }

    /// Whom to become, from variables, keywords and options (in that order of strength).
    pub fn run_as(&self, task: Option<&Task>) -> Result<Option<RunAs>, Trouble> {
        // Whom a task runs as shows nothing of the password.
        let trace = &self.scope.trace;
        trace.telling_nothing(|| trace.at_any_time(|| self.run_as_(task)))
    }

    fn run_as_(&self, task: Option<&Task>) -> Result<Option<RunAs>, Trouble> {
        let options = &self.shared().options;
        let variable = |names: &[&str]| -> Result<Option<Value>, Trouble> {
            for name in names {
                match self.scope.lookup(name) {
                    crate::template::Found::Trusted(node) => {
                        let told = &self.scope.host.told;
                        return told.once(&node, &self.scope.trace, || self.resolve(&node));
                    }
                    crate::template::Found::Data(value) => return Ok(Some((*value).clone())),
                    _ => {}
                }
            }
            Ok(None)
        };
        let keyword = |field: fn(&crate::language::Common) -> Option<&Node>| -> Option<&Node> {
            match task {
                Some(task) => task.inherited(field),
                None => field(&self.play.play.common),
            }
        };
        let wanted = match variable(&["ansible_become"])? {
            Some(value) => modules::boolean(&value).unwrap_or(false),
            None => match keyword(|c| c.become_.as_ref()) {
                Some(node) => self.boolean(node, "become")?,
                None => options.become_,
            },
        };
        if !wanted {
            return Ok(None);
        }
        let method_text = match variable(&["ansible_become_method"])? {
            Some(value) => modules::plain(&value),
            None => match keyword(|c| c.become_method.as_ref()) {
                Some(node) => self.text(node)?,
                None => options.become_method.clone().unwrap_or_else(|| "sudo".to_owned()),
            },
        };
        let method = match method_text.as_str() {
            "sudo" | "ansible.builtin.sudo" => Method::Sudo,
            "su" | "ansible.builtin.su" => Method::Su,
            other => {
                let span = task.map_or(self.play.play.span, |t| t.span);
                return Err(Trouble::Wrong(Box::new(
                    Diagnostic::error(
                        Code::NOT_SUPPORTED,
                        format!("become method `{other}` is not supported yet"),
                    )
                    .at(span, "asked for here")
                    .help("use `sudo` or `su`"),
                )));
            }
        };
        let user = match variable(&["ansible_become_user"])? {
            Some(value) => modules::plain(&value),
            None => match keyword(|c| c.become_user.as_ref()) {
                Some(node) => self.text(node)?,
                None => options.become_user.clone().unwrap_or_else(|| "root".to_owned()),
            },
        };
        let password = match variable(&[
            "ansible_become_password",
            "ansible_become_pass",
            "ansible_sudo_pass",
            "ansible_su_pass",
        ])? {
            Some(value) => Some(Secret(modules::plain(&value))),
            None => options.become_password.clone(),
        };
        let flags = match variable(&["ansible_become_flags"])? {
            Some(value) => Some(modules::plain(&value)),
            None => keyword(|c| c.become_flags.as_ref())
                .map(|node| self.text(node))
                .transpose()?,
        };
        let flags = flags.and_then(|f| shlex::split(&f));
        Ok(Some(RunAs {
            method,
            user,
            password,
            flags,
        }))
    }

    pub fn environment(&self, task: &Task) -> Result<BTreeMap<String, String>, Trouble> {
        let mut environment = BTreeMap::new();
        for node in task.chain.iter().flat_map(|c| &c.environment) {
            let value = self.resolve(node)?.unwrap_or(Value::Null);
            let maps = match value {
                Value::Array(list) => list,
                other => vec![other],
            };
            for map in maps {
                match map {
                    Value::Object(map) => environment.extend(map.iter().map(|(k, v)| (k.clone(), modules::plain(v)))),
                    Value::Null => {}
                    other => {
                        let kind = Node::from_value(node.span, &other).kind();
                        return Err(wrong(
                            node.span,
                            Code::VALUE,
                            "`environment` needs a mapping",
                            format!("is {kind}"),
                        ));
                    }
                }
            }
        }
        Ok(environment)
    }

    /// The arguments with templates evaluated; omitted ones are gone.
    pub fn arguments(&self, task: &Task) -> Result<Map<String, Value>, Trouble> {
        let mut arguments = Map::new();
        if let Some(map) = task.args.as_map() {
            for entry in &map.entries {
                if let Some(value) = self.resolve(&entry.value)? {
                    arguments.insert(entry.key.clone(), value);
                }
            }
        }
        Ok(arguments)
    }

    /// The texts that are given to secret arguments, as far as they can be evaluated.
    pub fn secrets(&self, task: &Task) -> Vec<String> {
        let args = modules::find(task.module).map(|spec| spec.args).unwrap_or_default();
        let given = task.args.as_map();
        args.iter()
            .filter(|arg| arg.secret)
            .flat_map(|arg| std::iter::once(&arg.name).chain(arg.aliases))
            .filter_map(|name| match self.resolve(given?.get(name)?) {
                Ok(Some(Value::String(text))) if !text.is_empty() => Some(text),
                _ => None,
            })
            .collect()
    }

    /// The arguments that can be known already, for guessing what will be looked at.
    pub fn known_arguments(&self, task: &Task) -> Map<String, Value> {
        let entries = task.args.as_map().map(|m| m.entries.as_slice()).unwrap_or_default();
        entries
            .iter()
            .filter_map(|e| self.resolve(&e.value).ok().flatten().map(|v| (e.key.clone(), v)))
            .collect()
    }

    pub fn coerce(&self, task: &Task, spec: &ModuleSpec, arguments: &Map<String, Value>) -> Result<Args, Trouble> {
        modules::coerce(spec, arguments).map_err(|errors| {
            errors.into_iter().next().map_or_else(
                || wrong(task.span, Code::VALUE, "wrong arguments", ""),
                |first| self.argument_error(task, first),
            )
        })
    }

    pub fn argument_error(&self, task: &Task, error: ArgError) -> Trouble {
        if let Some(what) = error.unknown {
            return Trouble::NotYet(what);
        }
        if let Some(diagnostic) = error.diagnostic {
            return Trouble::Wrong(diagnostic);
        }
        let node = error
            .arg
            .as_deref()
            .and_then(|a| task.args.as_map().and_then(|m| m.get(a)));
        let span = node.map_or(task.module_span, |n| n.span);
        let label = match node {
            Some(node) if node.is_template() => match self.resolve(node) {
                Ok(Some(value)) => format!("is `{}`", modules::plain(&value)),
                _ => String::new(),
            },
            _ => String::new(),
        };
        let mut diagnostic = Diagnostic::error(Code::VALUE, error.message).at(span, label);
        if let Some((name, origin)) = node.and_then(|n| self.origin(n)) {
            diagnostic = diagnostic.related(format!("`{name}` comes from here"), origin, "");
        }
        if let Some(help) = error.help {
            diagnostic = diagnostic.help(help);
        }
        Trouble::Wrong(Box::new(diagnostic))
    }

    /// The variable that a template begins with, and where that is written.
    fn origin(&self, node: &Node) -> Option<(String, Span)> {
        let text = node.as_str()?.split_once("{{")?.1.trim_start();
        let end = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        let name = &text[..end.unwrap_or(text.len())];
        Some((name.to_owned(), self.scope.defined_at(name)?))
    }

    /// The task on this host, ready to look and decide.
    pub fn action(&self, task: &Task, spec: &ModuleSpec) -> Result<Box<dyn Action>, Trouble> {
        let Kind::Host(prepare) = spec.kind else {
            return Err(wrong(
                task.module_span,
                Code::TASK_MODULE,
                format!("`{}` does not run on hosts", spec.name),
                "",
            ));
        };
        let arguments = self.arguments(task)?;
        let args = self.coerce(task, spec, &arguments)?;
        let context = Context {
            evaluation: self,
            task,
            environment: self.environment(task)?,
        };
        prepare(&args, &context).map_err(|e| self.argument_error(task, e))
    }

    /// The file on the controller that a task means; `kind` is `files` or `templates`.
    pub fn find(&self, task: &Task, kind: &str, src: &str) -> Result<String, ArgError> {
        search::find(&*self.shared().files, task, &self.play.play.path, kind, src)
    }

    /// The file of a task's template as it is now.
    fn template_source(&self, task: &Task, src: &str) -> Result<Source, ArgError> {
        let path = self.find(task, "templates", src)?;
        let text = String::from_utf8(search::read(&*self.shared().files, &path)?)
            .map_err(|_| ArgError::new("src", format!("`{path}` is not UTF-8")))?;
        Ok(Source {
            src: src.to_owned(),
            text: self.shared().templar.text_of(&path, &text),
            path,
        })
    }

    /// Whether what was made of the task before its turn holds now.
    pub fn still(&self, task: &Task, holds: &Holds) -> bool {
        match holds {
            Holds::Always => true,
            Holds::Never => false,
            Holds::While(then) => self
                .template_source(task, &then.src)
                .is_ok_and(|now| now.path == then.path && Arc::ptr_eq(&now.text, &then.text)),
        }
    }

    /// Probes that a task will want, as far as they can be told when not all is known yet.
    pub fn guess(&self, task: &Task, spec: &ModuleSpec) -> Vec<crate::host::Probe> {
        match self.action(task, spec) {
            Ok(action) => action.probes(),
            Err(Trouble::NotYet(_)) => (spec.ahead)(&self.known_arguments(task)),
            Err(Trouble::Wrong(_)) => Vec::new(),
        }
    }
}

/// The scope of an item: the task's with `item`, index and `ansible_loop` on top.
pub fn item_scope(scope: &Arc<TaskScope>, task: &Task, items: &[Value], index: usize) -> Arc<TaskScope> {
    let Some(looping) = &task.loop_ else {
        return scope.clone();
    };
    let mut local: HashMap<String, Arc<Value>> = (*scope.local).clone();
    let name = looping.loop_var.clone().unwrap_or_else(|| "item".to_owned());
    local.insert("ansible_loop_var".to_owned(), Arc::new(Value::String(name.clone())));
    if let Some(index_var) = &looping.index_var {
        local.insert(index_var.clone(), Arc::new(Value::from(index)));
        local.insert(
            "ansible_index_var".to_owned(),
            Arc::new(Value::String(index_var.clone())),
        );
    }
    if looping.extended {
        let length = items.len();
        let mut info = Map::new();
        if looping.allitems {
            info.insert("allitems".to_owned(), Value::Array(items.to_vec()));
        }
        info.insert("index".to_owned(), Value::from(index + 1));
        info.insert("index0".to_owned(), Value::from(index));
        info.insert("revindex".to_owned(), Value::from(length - index));
        info.insert("revindex0".to_owned(), Value::from(length - index - 1));
        info.insert("first".to_owned(), Value::Bool(index == 0));
        info.insert("last".to_owned(), Value::Bool(index + 1 == length));
        info.insert("length".to_owned(), Value::from(length));
        if index > 0 {
            info.insert("previtem".to_owned(), items[index - 1].clone());
        }
        if let Some(next) = items.get(index + 1) {
            info.insert("nextitem".to_owned(), next.clone());
        }
        local.insert("ansible_loop".to_owned(), Arc::new(Value::Object(info)));
    }
    local.insert(name, Arc::new(items[index].clone()));
    Arc::new(TaskScope {
        local: Arc::new(local),
        ..(**scope).clone()
    })
}

/// A diagnostic as plain text, for events.
pub fn rendered(sources: &SourceMap, diagnostic: &Diagnostic) -> String {
    crate::diagnostic::render_human(
        sources,
        diagnostic,
        crate::diagnostic::RenderOptions {
            color: false,
            width: 120,
        },
    )
}
