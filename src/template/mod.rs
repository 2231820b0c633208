//! PURE. Jinja as Ansible 2.19 has it: its filters, tests, lookups and its laziness, over Python's types.
//!
//! minijinja reads the templates (its lexer, parser and syntax tree); the evaluation is ours, because what Ansible's
//! templates rely on cannot be had from minijinja's machine: failures that are values until something uses them
//! (`a.b.c | default(x)`), variables that are templated when they are reached, lists and dicts that `append` and
//! `update` change, `%` on strings, Python's text of everything, and an exact place for each expression.
//!
//! [`Templar`] is shared by all hosts; what it compiled it keeps by source text. Differences from Ansible that are
//! meant are listed in `tests/template.rs`.

#![deny(clippy::disallowed_methods)]

mod ast;
mod eval;
mod fault;
mod filters;
mod globals;
pub mod imagine;
mod lookups;
mod methods;
mod ops;
mod python;
mod tests;
mod value;

use crate::diagnostic::{Diagnostic, FileId, SourceMap, Span};
use crate::language::{Files, Node, Yaml};
use ast::{Backslashes, Compiled};
use eval::{Ctx, Frame};
use fault::{Fault, Place, Res, fail};
use serde_json::Value;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, PoisonError, RwLock};

/// Where the names in an expression come from; the engine's layers of variables.
///
/// Lookups search for files in the directories of the variable `ansible_search_path` (a list), then `playbook_dir`.
pub trait Scope: Send + Sync + std::fmt::Debug {
    fn lookup(&self, name: &str) -> Found;
    /// All names, for `vars`, did-you-mean and `varnames`.
    fn names(&self) -> Vec<String>;
    /// Where the variable is defined (its key), for messages.
    fn defined_at(&self, name: &str) -> Option<Span> {
        let _ = name;
        None
    }
    /// Asked before a template asks the machine that it is evaluated on; the error says why it cannot be told yet.
    fn outside(&self, what: Outside) -> Result<(), String> {
        let _ = what;
        Ok(())
    }
}

/// What templates ask of the machine that they are evaluated on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outside {
    /// Its files and its clock: nothing comes of looking, but what is seen holds for that moment only.
    Look,
    /// A command, a password that is made up: done in its turn, and not for a look.
    Act,
}

/// A variable as a scope knows it.
#[derive(Clone, Debug)]
pub enum Found {
    Missing,
    /// Written by the user: strings inside are templates, evaluated when they are reached, in the same scope.
    Trusted(Arc<Node>),
    /// Data (facts, results, values already templated): never a template.
    Data(Arc<Value>),
    /// A mapping whose entries are the names of another scope, evaluated there: `hostvars` is a scope of the hosts'
    /// names, each of which is the scope of that host.
    Scope(Arc<dyn Scope>),
    /// A result that is not there yet; reaching it makes the evaluation fail with [`ErrorKind::Unknown`].
    Unknown(String),
}

/// Options of the `template` module and lookup.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FileOptions {
    pub trim_blocks: bool,
    pub lstrip_blocks: bool,
    /// Whether an included template keeps the newline at its end.
    pub keep_trailing_newline: bool,
    /// Written at line ends instead of `\n`.
    pub newline: String,
    pub block: (String, String),
    pub variable: (String, String),
    pub comment: (String, String),
}

impl Default for FileOptions {
    fn default() -> Self {
        let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        FileOptions {
            trim_blocks: true,
            lstrip_blocks: false,
            keep_trailing_newline: false,
            newline: "\n".to_owned(),
            block: pair("{%", "%}"),
            variable: pair("{{", "}}"),
            comment: pair("{#", "#}"),
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub enum ErrorKind {
    Syntax,
    /// The name (or `a.b`) that is not defined.
    Undefined(String),
    /// Something not there yet (see [`Found::Unknown`]): what.
    Unknown(String),
    Recursion,
    Other,
}

/// A template that could not be evaluated. `diagnostic` carries the spans; `kind` is for the engine.
#[derive(Clone, Debug, PartialEq)]
pub struct TemplateError {
    pub kind: ErrorKind,
    pub message: String,
    /// The place in the source: of a YAML string, or of a template file that was added to the source map.
    pub span: Option<Span>,
    pub diagnostic: Box<Diagnostic>,
}

impl std::fmt::Display for TemplateError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for TemplateError {}

/// What the pure core cannot know by itself.
#[derive(Clone)]
pub struct Settings {
    /// For `random`, `shuffle` and new passwords without a seed of their own.
    pub seed: u64,
    /// The controller's clock, for `now()` and `strftime`.
    pub clock: Arc<dyn Fn() -> jiff::Zoned + Send + Sync>,
}

/// Evaluates templates and expressions. Cheap to clone; one serves all hosts.
#[derive(Clone)]
pub struct Templar {
    inner: Arc<Inner>,
}

impl std::fmt::Debug for Templar {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Templar")
    }
}

type Cache<K> = RwLock<HashMap<K, Arc<Compiled>>>;

pub(crate) struct Inner {
    files: Arc<dyn Files>,
    sources: SourceMap,
    settings: Settings,
    /// How many random values were drawn.
    draws: AtomicU64,
    values: Cache<Arc<str>>,
    expressions: Cache<Arc<str>>,
    conditions: Cache<Arc<str>>,
    texts: Cache<(Arc<str>, FileOptions)>,
    regexes: python::regex::Compiled,
    /// Template files by path: included ones are read once.
    loaded: RwLock<HashMap<String, (FileId, Arc<str>)>>,
}

fn cached<K, Q>(cache: &Cache<K>, key: &Q, make: impl FnOnce() -> Res<(K, Compiled)>) -> Res<Arc<Compiled>>
where
    K: std::hash::Hash + Eq + Clone + std::borrow::Borrow<Q>,
    Q: ?Sized + std::hash::Hash + Eq,
{
    if let Some(hit) = cache.read().unwrap_or_else(PoisonError::into_inner).get(key) {
        return Ok(hit.clone());
    }
    let (key, compiled) = make()?;
    let compiled = Arc::new(compiled);
    cache
        .write()
        .unwrap_or_else(PoisonError::into_inner)
        .insert(key, compiled.clone());
    Ok(compiled)
}

impl Inner {
    /// A YAML value's template.
    fn template(&self, text: &str, place: Place) -> Res<Arc<Compiled>> {
        cached(&self.values, text, || {
            let text: Arc<str> = text.into();
            let compiled = ast::compile_template(&text, &FileOptions::default(), Backslashes::Literal);
            Ok((text.clone(), compiled.map_err(|p| p.into_fault(text, place))?))
        })
    }

    fn expression(&self, text: &str, place: Place, condition: bool) -> Res<Arc<Compiled>> {
        cached(
            if condition { &self.conditions } else { &self.expressions },
            text,
            || {
                let text: Arc<str> = text.into();
                let compiled = ast::compile_expression(&text, condition);
                Ok((text.clone(), compiled.map_err(|p| p.into_fault(text, place))?))
            },
        )
    }

    fn text_template(&self, text: &Arc<str>, options: &FileOptions, place: Place) -> Res<Arc<Compiled>> {
        let key = (text.clone(), options.clone());
        cached(&self.texts, &key.clone(), || {
            let compiled = ast::compile_template(text, options, Backslashes::Jinja);
            Ok((key, compiled.map_err(|p| p.into_fault(text.clone(), place))?))
        })
    }

    /// A template file for `include` and its kind.
    pub(crate) fn load(&self, name: &str, search: &[String], options: &FileOptions) -> Res<(Arc<Compiled>, Place)> {
        let relative: Vec<&str> = name.split('/').filter(|s| !s.is_empty() && *s != ".").collect();
        if relative.contains(&"..") {
            return Err(fail(format!(
                "template `{name}` was not found: `..` is not allowed in the name"
            )));
        }
        let relative = relative.join("/");
        let candidates: Vec<String> = (search.iter())
            .flat_map(|d| [format!("{d}/templates/{relative}"), format!("{d}/{relative}")])
            .collect();
        let Some(path) = candidates
            .iter()
            .find(|p| self.files.exists(p) && !self.files.is_dir(p))
        else {
            let mut fault = Fault::new(ErrorKind::Other, format!("template `{name}` was not found"));
            fault.notes.push(format!("looked in {}", search.join(", ")));
            return Err(Rc::new(fault));
        };
        let (file, text) = self.remember(path, &self.read_text(path)?);
        let place = Place::File(file, 0);
        Ok((self.text_template(&text, options, place)?, place))
    }

    /// A file of this text in the source map: one per path, as long as the text stays the same.
    fn remember(&self, path: &str, text: &str) -> (FileId, Arc<str>) {
        let mut loaded = self.loaded.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = loaded.get(path).filter(|k| &*k.1 == text) {
            return known.clone();
        }
        let entry: (FileId, Arc<str>) = (self.sources.add(path, text), text.into());
        loaded.insert(path.to_owned(), entry.clone());
        entry
    }

    fn read_text(&self, path: &str) -> Res<String> {
        let bytes = (self.files.read(path)).map_err(|e| fail(format!("`{path}` cannot be read: {e}")))?;
        String::from_utf8(bytes).map_err(|_| fail(format!("`{path}` is not UTF-8")))
    }
}

/// Variables laid over those of another scope.
#[derive(Debug)]
pub struct Overlay {
    pub base: Arc<dyn Scope>,
    pub values: HashMap<String, Found>,
}

impl Scope for Overlay {
    fn lookup(&self, name: &str) -> Found {
        self.values.get(name).cloned().unwrap_or_else(|| self.base.lookup(name))
    }

    fn names(&self) -> Vec<String> {
        let mut names = self.base.names();
        names.extend(self.values.keys().cloned());
        names.sort();
        names.dedup();
        names
    }

    fn defined_at(&self, name: &str) -> Option<Span> {
        if self.values.contains_key(name) {
            None
        } else {
            self.base.defined_at(name)
        }
    }

    fn outside(&self, what: Outside) -> Result<(), String> {
        self.base.outside(what)
    }
}

/// The scope of a template's file: `ansible_managed` is made up where there is none.
fn with_managed(scope: &Arc<dyn Scope>) -> Arc<dyn Scope> {
    // It is no fact: that facts are not there yet does not make it unknown.
    if !matches!(scope.lookup("ansible_managed"), Found::Missing | Found::Unknown(_)) {
        return scope.clone();
    }
    let managed = Found::Data(Arc::new("Ansible managed".into()));
    Arc::new(Overlay {
        base: scope.clone(),
        values: HashMap::from([("ansible_managed".to_owned(), managed)]),
    })
}

impl Templar {
    pub fn new(files: Arc<dyn Files>, sources: SourceMap, settings: Settings) -> Self {
        Templar {
            inner: Arc::new(Inner {
                files,
                sources,
                settings,
                draws: AtomicU64::new(0),
                values: RwLock::default(),
                expressions: RwLock::default(),
                conditions: RwLock::default(),
                texts: RwLock::default(),
                regexes: Default::default(),
                loaded: RwLock::default(),
            }),
        }
    }

    fn ctx(&self, scope: &Arc<dyn Scope>) -> Ctx {
        Ctx::new(self.inner.clone(), scope.clone(), Vec::new(), None)
    }

    fn error(&self, fault: Rc<Fault>, whole: Option<Span>) -> TemplateError {
        Rc::unwrap_or_clone(fault).into_error(&self.inner.sources, whole)
    }

    /// Evaluates every template in a YAML value. A string that is one `{{ expression }}` gives the expression's own
    /// value; `None` is a value that is omitted (`default(omit)`), entries of collections just disappear.
    pub fn resolve(&self, node: &Node, scope: &Arc<dyn Scope>) -> Result<Option<Value>, TemplateError> {
        match &node.yaml {
            Yaml::Str(text) if node.is_template() => {
                let ctx = self.ctx(scope);
                let value = ctx.text(&text.value, Place::Node(node.span), scope);
                let value = value.and_then(|v| match v {
                    value::Value::Omit => Ok(None),
                    v => v.to_json(&ctx).map(Some),
                });
                value.map_err(|f| self.error(f, Some(node.span)))
            }
            Yaml::Seq(items) => {
                let items = items.iter().filter_map(|n| self.resolve(n, scope).transpose());
                Ok(Some(Value::Array(items.collect::<Result<_, _>>()?)))
            }
            Yaml::Map(map) => {
                let mut out = serde_json::Map::with_capacity(map.entries.len());
                for entry in &map.entries {
                    // Keys are no templates, as in Ansible.
                    if let Some(value) = self.resolve(&entry.value, scope)? {
                        out.insert(entry.key.clone(), value);
                    }
                }
                Ok(Some(Value::Object(out)))
            }
            _ => Ok(Some(node.to_value())),
        }
    }

    /// Evaluates one condition of `when`, `failed_when`, `until`...: an expression without delimiters, or a boolean.
    /// A whole `{{ }}` is evaluated first; where that gives a string the user wrote, it is the expression.
    pub fn condition(&self, node: &Node, scope: &Arc<dyn Scope>) -> Result<bool, TemplateError> {
        let ctx = self.ctx(scope);
        let error = |fault| self.error(fault, Some(node.span));
        let text = match &node.yaml {
            Yaml::Bool(b) => return Ok(*b),
            Yaml::Str(text) => text.value.trim(),
            Yaml::Null => "",
            _ => {
                return Err(error(fail(format!(
                    "a condition must be an expression, not {}",
                    node.kind()
                ))));
            }
        };
        if text.is_empty() {
            return Err(error(fail("a condition must not be empty")));
        }
        let place = Place::Node(node.span);
        let delimiters = |t: &str| {
            ["{{", "{%", "{#"].iter().any(|d| t.starts_with(d)) && ["}}", "%}", "#}"].iter().any(|d| t.ends_with(d))
        };
        let evaluate = || -> Res<value::Value> {
            if !delimiters(text) {
                let compiled = self.inner.expression(text, place, true)?;
                return ctx.expression(&compiled, place, scope)?.usable();
            }
            let result = ctx.text(text, place, scope)?.usable()?;
            // Only what the user wrote may be an expression; never the text of a fact or of a result.
            match (&result, self.written_text(text, scope)) {
                (value::Value::Str(_), Some((expression, span))) => {
                    let place = Place::Node(span);
                    let compiled = self.inner.expression(expression.trim(), place, true)?;
                    ctx.expression(&compiled, place, scope)?.usable()
                }
                _ => Ok(result),
            }
        };
        match evaluate().map_err(error)? {
            value::Value::Bool(b) => Ok(b),
            other => {
                // The value stays untold: it may be a secret.
                let mut fault = Fault::new(
                    ErrorKind::Other,
                    format!(
                        "a condition must be true or false, this is a value of type {}",
                        other.type_name()
                    ),
                );
                fault
                    .notes
                    .push("Ansible 2.19 refuses conditions without a boolean result, too".into());
                fault.helps.push(match &other {
                    value::Value::Str(_) => "compare it, or turn it into a boolean with `| bool`".into(),
                    _ => "ask for what is meant: `x is defined`, `x | length > 0`, `x | bool`".into(),
                });
                Err(error(Rc::new(fault)))
            }
        }
    }

    /// The text of `{{ name }}`'s variable where that is a plain string the user wrote.
    fn written_text(&self, text: &str, scope: &Arc<dyn Scope>) -> Option<(String, Span)> {
        let name = text.strip_prefix("{{")?.strip_suffix("}}")?.trim();
        let Found::Trusted(node) = scope.lookup(name) else {
            return None;
        };
        match &node.yaml {
            Yaml::Str(t) if !t.raw && !node.is_template() => Some((t.value.clone(), node.span)),
            _ => None,
        }
    }

    /// Evaluates an expression without delimiters (`debug: var=`, `loop: name`); what is no string is itself.
    pub fn expression(&self, node: &Node, scope: &Arc<dyn Scope>) -> Result<Value, TemplateError> {
        let Yaml::Str(text) = &node.yaml else {
            return Ok(node.to_value());
        };
        let ctx = self.ctx(scope);
        let (text, span) = (text.value.trim(), Some(node.span));
        let place = Place::Node(node.span);
        let evaluate = || -> Res<Value> {
            let compiled = self.inner.expression(text, place, false)?;
            ctx.expression(&compiled, place, scope)?.to_json(&ctx)
        };
        evaluate().map_err(|f| self.error(f, span))
    }

    /// What a lookup makes of its terms (`with_NAME`), a list. `node`: where they are written.
    pub fn lookup(
        &self,
        name: &str,
        terms: Vec<Value>,
        node: &Node,
        scope: &Arc<dyn Scope>,
    ) -> Result<Vec<Value>, TemplateError> {
        let ctx = self.ctx(scope);
        let terms = terms.into_iter().map(|t| value::Value::from_data(Arc::new(t)));
        let args = value::Args {
            pos: std::iter::once(name.into()).chain(terms).collect(),
            kw: Vec::new(),
        };
        let found = lookups::call(&ctx, args, Some(scope), true).and_then(|v| v.to_json(&ctx));
        match found.map_err(|f| self.error(f, Some(node.span)))? {
            Value::Array(items) => Ok(items),
            one => Ok(vec![one]),
        }
    }

    /// The text of a template's file, the same one for whoever finds the same in it.
    pub fn text_of(&self, path: &str, text: &str) -> Arc<str> {
        self.inner.remember(path, text).1
    }

    /// What the `template` module writes for a file with this text. `path` names it in messages; `include`, `import`
    /// and `extends` look in the directories `search`, in each first in its `templates`. The caller's scope has the
    /// `template_*` variables; `ansible_managed` is made up where it has none.
    pub fn file(
        &self,
        path: &str,
        text: &str,
        options: &FileOptions,
        search: &[String],
        scope: &Arc<dyn Scope>,
    ) -> Result<String, TemplateError> {
        let (file, text) = self.inner.remember(path, text);
        let scope = with_managed(scope);
        render_text(
            &self.inner,
            &text,
            Place::File(file, 0),
            options,
            search.to_vec(),
            &scope,
        )
        .map_err(|f| self.error(f, None))
    }

    /// Mistakes that can be seen without any variable: syntax, unknown filters, tests and lookups.
    pub fn check(&self, node: &Node) -> Vec<Diagnostic> {
        let mut found = Vec::new();
        self.check_into(node, &mut found);
        found
    }

    fn check_into(&self, node: &Node, found: &mut Vec<Diagnostic>) {
        match &node.yaml {
            Yaml::Str(text) if node.is_template() => {
                let value: Arc<str> = text.value.as_str().into();
                let problems = ast::problems(&value, &FileOptions::default(), Backslashes::Literal);
                found.extend(self.diagnostics(problems, &value, Place::Node(node.span), Some(node.span)));
            }
            Yaml::Seq(items) => items.iter().for_each(|n| self.check_into(n, found)),
            Yaml::Map(map) => map.entries.iter().for_each(|e| self.check_into(&e.value, found)),
            _ => {}
        }
    }

    /// The same for a condition: an expression without delimiters.
    pub fn check_condition(&self, node: &Node) -> Vec<Diagnostic> {
        match &node.yaml {
            Yaml::Str(t) if node.is_template() && t.value.trim_start().starts_with(['{']) => self.check(node),
            Yaml::Str(t) if !t.value.trim().is_empty() => {
                let text: Arc<str> = t.value.trim().into();
                let problems = ast::compile_expression(&text, true).err();
                self.diagnostics(
                    problems.into_iter().collect(),
                    &text,
                    Place::Node(node.span),
                    Some(node.span),
                )
            }
            _ => Vec::new(),
        }
    }

    /// Everything a program has for the templates to read: syntax, unknown filters, tests and lookups.
    pub fn check_program(&self, program: &crate::language::Program) -> Vec<Diagnostic> {
        use crate::language::expressions::{Expression, expressions};
        let found = expressions(program)
            .into_iter()
            .flat_map(|expression| match expression {
                Expression::Condition(node) => self.check_condition(node),
                Expression::Value(node) => self.check(node),
            });
        found.collect()
    }

    /// The same for a template file that is in the source map.
    pub fn check_file(&self, file: FileId, options: &FileOptions) -> Vec<Diagnostic> {
        let Some(source) = self.inner.sources.get(file) else {
            return Vec::new();
        };
        let text: Arc<str> = source.text.as_str().into();
        match header(&text, options) {
            Ok((body, options, skipped)) => {
                let problems = ast::problems(&body, &options, Backslashes::Jinja);
                self.diagnostics(problems, &body, Place::File(file, skipped), None)
            }
            Err(fault) => {
                let fault = in_first_line(fault, &text, Place::File(file, 0));
                vec![*self.error(fault, None).diagnostic]
            }
        }
    }

    fn diagnostics(
        &self,
        problems: Vec<ast::Problem>,
        text: &Arc<str>,
        place: Place,
        whole: Option<Span>,
    ) -> Vec<Diagnostic> {
        let faults = problems.into_iter().map(|p| p.into_fault(text.clone(), place));
        faults.map(|f| *self.error(f, whole).diagnostic).collect()
    }
}

fn render_text(
    inner: &Arc<Inner>,
    text: &Arc<str>,
    place: Place,
    options: &FileOptions,
    search: Vec<String>,
    scope: &Arc<dyn Scope>,
) -> Res<String> {
    let ctx = Ctx::new(inner.clone(), scope.clone(), Vec::new(), None);
    match render_value(inner, text, place, options, search, scope)? {
        value::Value::None => Ok(String::new()),
        value::Value::Omit => Err(fail("a template cannot be omitted")),
        value => Ok(value.text(&ctx)?.to_string()),
    }
}

/// A template file's (native) value.
pub(crate) fn render_value(
    inner: &Arc<Inner>,
    text: &Arc<str>,
    place: Place,
    options: &FileOptions,
    search: Vec<String>,
    scope: &Arc<dyn Scope>,
) -> Res<value::Value> {
    let delimiters = [&options.block.0, &options.variable.0, &options.comment.0];
    if !text.starts_with("#jinja2:") && !delimiters.iter().any(|d| text.contains(d.as_str())) {
        return Ok((&**text).into());
    }
    // The newlines at the end are the task's, whatever the header says.
    let newline = options.newline.clone();
    let (body, options, skipped) = header(text, options).map_err(|fault| in_first_line(fault, text, place))?;
    let place = match place {
        Place::File(file, base) => Place::File(file, base + skipped),
        place => place,
    };
    let compiled = inner.text_template(&body, &options, place)?;
    let ctx = Ctx::new(inner.clone(), scope.clone(), search, Some(options));
    let value = eval::run_template(&ctx, &compiled, place, &Frame::root(Some(scope.clone())))?;
    Ok(eval::keep_newlines(text, value.finalize(&ctx)?, &newline))
}

fn in_first_line(fault: Rc<Fault>, text: &Arc<str>, place: Place) -> Rc<Fault> {
    fault.located(|| fault::At {
        origin: Rc::new(fault::Origin {
            text: text.clone(),
            place,
        }),
        start: 0,
        end: u32::try_from(text.lines().next().map_or(0, str::len)).unwrap_or(0),
    })
}

/// Takes the `#jinja2: key: value, ...` line off a template and tells how many bytes that were.
fn header(text: &Arc<str>, options: &FileOptions) -> Res<(Arc<str>, FileOptions, u32)> {
    let normal: Arc<str> = if text.contains('\r') {
        text.replace("\r\n", "\n").replace('\r', "\n").into()
    } else {
        text.clone()
    };
    let Some(rest) = normal.strip_prefix("#jinja2:") else {
        return Ok((normal, options.clone(), 0));
    };
    let Some((line, body)) = rest.split_once('\n') else {
        return Err(fail("a `#jinja2:` header must end with a newline"));
    };
    let mut options = options.clone();
    for pair in line.split(',') {
        let Some((key, value)) = pair.split_once(':') else {
            return Err(fail(format!(
                "`{}` in a `#jinja2:` header is not `key: value`",
                pair.trim()
            )));
        };
        let (key, value) = (key.trim(), value.trim());
        let quoted = ['\'', '"']
            .iter()
            .find_map(|q| value.strip_prefix(*q)?.strip_suffix(*q));
        let flag = || match value {
            "True" => Ok(true),
            "False" => Ok(false),
            _ => Err(fail(format!(
                "`{key}` in a `#jinja2:` header must be `True` or `False`, not `{value}`"
            ))),
        };
        let text = || -> Res<String> {
            let quoted =
                quoted.ok_or_else(|| fail(format!("`{key}` in a `#jinja2:` header must be a quoted string")))?;
            Ok(quoted.replace("\\n", "\n").replace("\\r", "\r"))
        };
        match key {
            "trim_blocks" => options.trim_blocks = flag()?,
            "lstrip_blocks" => options.lstrip_blocks = flag()?,
            "keep_trailing_newline" => options.keep_trailing_newline = flag()?,
            "newline_sequence" => options.newline = text()?,
            "block_start_string" => options.block.0 = text()?,
            "block_end_string" => options.block.1 = text()?,
            "variable_start_string" => options.variable.0 = text()?,
            "variable_end_string" => options.variable.1 = text()?,
            "comment_start_string" => options.comment.0 = text()?,
            "comment_end_string" => options.comment.1 = text()?,
            other => return Err(fail(format!("`{other}` is not known in a `#jinja2:` header"))),
        }
    }
    let skipped = u32::try_from(normal.len() - body.len()).unwrap_or(0);
    Ok((body.into(), options, skipped))
}
