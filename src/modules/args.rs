//! Arguments: the check while linting (with spans) and the coercion when values are known.

use super::{ArgKind, ArgSpec, Kind, ModuleSpec, Prepare};
use crate::diagnostic::{Code, Diagnostic, Span, similar_name};
use crate::language::{Entry, Mapping, Node};
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::cell::Cell;
use std::collections::BTreeMap;

/// A wrong argument, found when its value was known. The engine adds the place.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ArgError {
    /// The argument, where one is to blame.
    pub arg: Option<String>,
    pub message: String,
    pub help: Option<String>,
    /// The value depends on something not known yet (a result, a fact): what.
    pub unknown: Option<String>,
    /// A diagnostic already made elsewhere (a template that failed, with its own spans).
    pub diagnostic: Option<Box<Diagnostic>>,
}

impl ArgError {
    pub fn new(arg: impl Into<String>, message: impl Into<String>) -> Self {
        ArgError {
            arg: Some(arg.into()),
            message: message.into(),
            ..ArgError::default()
        }
    }
    pub fn task(message: impl Into<String>) -> Self {
        ArgError {
            message: message.into(),
            ..ArgError::default()
        }
    }
    #[must_use]
    pub fn help(mut self, text: impl Into<String>) -> Self {
        self.help = Some(text.into());
        self
    }
}

/// Arguments after coercion, under the names of the spec, defaults filled in.
#[derive(Clone, Debug, Default)]
pub struct Args {
    values: Vec<(Cow<'static, str>, Value)>,
    /// How many of them, the first ones, the user wrote.
    given: usize,
}

impl Args {
    /// The value or its default, `None` where neither is.
    pub fn raw(&self, name: &str) -> Option<&Value> {
        self.at(name).filter(|v| !v.is_null())
    }
    pub fn str(&self, name: &str) -> Option<&str> {
        self.raw(name).and_then(Value::as_str)
    }
    /// A required or defaulted string.
    pub fn need(&self, name: &str) -> Result<&str, ArgError> {
        self.str(name)
            .ok_or_else(|| ArgError::new(name, format!("`{name}` is needed")))
    }
    /// `false` where unset.
    pub fn bool(&self, name: &str) -> bool {
        self.raw(name).and_then(Value::as_bool).unwrap_or(false)
    }
    pub fn opt_bool(&self, name: &str) -> Option<bool> {
        self.raw(name).and_then(Value::as_bool)
    }
    pub fn int(&self, name: &str) -> Option<i64> {
        self.raw(name).and_then(Value::as_i64)
    }
    pub fn float(&self, name: &str) -> Option<f64> {
        self.raw(name).and_then(Value::as_f64)
    }
    pub fn list(&self, name: &str) -> Vec<String> {
        match self.raw(name) {
            Some(Value::Array(items)) => items.iter().map(plain).collect(),
            _ => Vec::new(),
        }
    }
    pub fn dict(&self, name: &str) -> Option<&Map<String, Value>> {
        self.raw(name).and_then(Value::as_object)
    }
    /// Whether the user wrote it (a default does not count).
    pub fn given(&self, name: &str) -> bool {
        self.values.iter().take(self.given).any(|(n, _)| n == name)
    }
    fn at(&self, name: &str) -> Option<&Value> {
        self.values.iter().find(|(n, _)| n == name).map(|(_, v)| v)
    }
    fn set(&mut self, name: Cow<'static, str>, value: Value) {
        match self.values.iter_mut().find(|(n, _)| *n == name) {
            Some((_, old)) => *old = value,
            None => self.values.push((name, value)),
        }
    }
    /// Names and values beyond the spec's (for `open` modules) and all others, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        let mut values: Vec<(&str, &Value)> = self.values.iter().map(|(k, v)| (k.as_ref(), v)).collect();
        values.sort_by_key(|(name, _)| *name);
        values.into_iter()
    }
}

/// A scalar as Python's `str` would write it where Ansible wants a string (`True`, `5`), JSON for the rest.
pub fn plain(value: &Value) -> String {
    match value {
        Value::String(s) => s.clone(),
        Value::Bool(true) => "True".to_owned(),
        Value::Bool(false) => "False".to_owned(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

/// Checks and converts resolved arguments. All mistakes are reported.
pub fn coerce(spec: &ModuleSpec, given: &Map<String, Value>) -> Result<Args, Vec<ArgError>> {
    let mut args = Args {
        values: Vec::with_capacity(spec.args.len()),
        given: 0,
    };
    let mut errors = Vec::new();
    for (key, value) in given {
        let Some(arg) = spec
            .args
            .iter()
            .find(|a| a.name == key || a.aliases.contains(&key.as_str()))
        else {
            if spec.open {
                args.set(Cow::Owned(key.clone()), value.clone());
            } else {
                let allowed: Vec<_> = spec.args.iter().map(|a| format!("`{}`", a.name)).collect();
                errors.push(
                    ArgError::new(key, format!("unknown argument `{key}` for module `{}`", spec.name)).help(format!(
                        "`{}` takes {}",
                        spec.name,
                        allowed.join(", ")
                    )),
                );
            }
            continue;
        };
        if value.is_null() {
            continue;
        }
        match convert(arg.kind, value) {
            Some(value) => {
                if !arg.choices.is_empty()
                    && let Some(text) = value.as_str()
                    && !arg.choices.contains(&text)
                {
                    errors.push(
                        ArgError::new(arg.name, format!("`{}` cannot be `{text}`", arg.name))
                            .help(format!("choose one of {}", choices(arg.choices))),
                    );
                }
                args.set(Cow::Borrowed(arg.name), value);
            }
            None => errors.push(ArgError::new(
                arg.name,
                format!(
                    "module `{}` needs {} for `{}`, not {}",
                    spec.name,
                    expected(arg.kind),
                    arg.name,
                    shown(value, arg.secret)
                ),
            )),
        }
    }
    args.given = args.values.len();
    for arg in spec.args {
        if args.at(arg.name).is_some() {
            continue;
        }
        if let Some(default) = arg.default {
            let value = default_value(arg.kind, default);
            args.set(Cow::Borrowed(arg.name), value);
        } else if arg.required {
            errors.push(ArgError::new(
                arg.name,
                format!("module `{}` needs the argument `{}`", spec.name, arg.name),
            ));
        }
    }
    if errors.is_empty() { Ok(args) } else { Err(errors) }
}

fn choices(choices: &[&str]) -> String {
    choices.iter().map(|c| format!("`{c}`")).collect::<Vec<_>>().join(", ")
}

fn shown(value: &Value, secret: bool) -> String {
    if secret {
        "what is given (secret)".to_owned()
    } else {
        format!("`{}`", plain(value))
    }
}

fn expected(kind: ArgKind) -> &'static str {
    match kind {
        ArgKind::Str => "a string",
        ArgKind::Bool => "a boolean",
        ArgKind::Int => "an integer",
        ArgKind::Float => "a number",
        ArgKind::Path => "a path",
        ArgKind::List | ArgKind::ListRaw => "a list",
        ArgKind::Dict => "a mapping",
        ArgKind::Mode => "a file mode such as `\"0644\"` or `u=rw,g=r`",
        ArgKind::Raw => "a value",
    }
}

fn default_value(kind: ArgKind, text: &str) -> Value {
    convert(kind, &Value::String(text.to_owned())).unwrap_or(Value::Null)
}

/// `yes no on off true false 1 0 y n t f` in any case, as Ansible's `boolean`.
pub fn boolean(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(b) => Some(*b),
        Value::Number(n) => match n.as_f64() {
            Some(1.0) => Some(true),
            Some(0.0) => Some(false),
            _ => None,
        },
        Value::String(s) => {
            let word = s.trim();
            let is_one_of = |words: &[&str]| words.iter().any(|w| w.eq_ignore_ascii_case(word));
            if is_one_of(&["yes", "on", "1", "true", "y", "t", "1.0"]) {
                Some(true)
            } else {
                is_one_of(&["no", "off", "0", "false", "n", "f", "0.0"]).then_some(false)
            }
        }
        _ => None,
    }
}

fn convert(kind: ArgKind, value: &Value) -> Option<Value> {
    let scalar = !matches!(value, Value::Array(_) | Value::Object(_) | Value::Null);
    match kind {
        ArgKind::Raw => Some(value.clone()),
        ArgKind::Str => Some(Value::String(if scalar { plain(value) } else { value.to_string() })),
        ArgKind::Path => scalar.then(|| Value::String(plain(value))),
        ArgKind::Bool => boolean(value).map(Value::Bool),
        ArgKind::Int => match value {
            Value::Number(n) => n
                .as_i64()
                .or_else(|| n.as_f64().filter(|f| f.fract() == 0.0).map(|f| f as i64))
                .map(Value::from),
            Value::String(s) => s.trim().parse::<i64>().ok().map(Value::from),
            _ => None,
        },
        ArgKind::Float => match value {
            Value::Number(_) => Some(value.clone()),
            Value::String(s) => s.trim().parse::<f64>().ok().map(Value::from),
            _ => None,
        },
        ArgKind::List => match value {
            Value::Array(items) => Some(Value::Array(items.iter().map(|v| Value::String(plain(v))).collect())),
            Value::String(s) => Some(Value::Array(
                s.split(',').map(|p| Value::String(p.trim().to_owned())).collect(),
            )),
            Value::Number(_) | Value::Bool(_) => Some(Value::Array(vec![Value::String(plain(value))])),
            _ => None,
        },
        ArgKind::ListRaw => match value {
            Value::Array(_) => Some(value.clone()),
            Value::Null => None,
            other => Some(Value::Array(vec![other.clone()])),
        },
        ArgKind::Dict => match value {
            Value::Object(_) => Some(value.clone()),
            Value::String(s) if s.trim_start().starts_with('{') => {
                serde_json::from_str(s).ok().filter(Value::is_object)
            }
            _ => None,
        },
        ArgKind::Mode => match value {
            Value::String(_) => Some(value.clone()),
            // YAML 1.1 reads 0644 as octal, so the integer is the mode itself.
            Value::Number(n) => n.as_u64().map(|n| Value::String(format!("{n:04o}"))),
            _ => None,
        },
    }
}

/// The lint of a task's arguments: names, and values that are not templates. `task`: what to point at for the
/// task itself, the key that names its module.
pub fn check_node(spec: &ModuleSpec, task: &Node, args: &Node, out: &mut Vec<Diagnostic>) {
    let Some(mapping) = args.as_map() else {
        return;
    };
    let before = out.len();
    let mut given: Vec<(&str, Span)> = Vec::new();
    // What an unknown argument was probably meant to be: not to be missed a second time.
    let mut meant: Vec<&str> = Vec::new();
    for entry in &mapping.entries {
        let Some(arg) = find(spec, &entry.key) else {
            if !spec.open {
                let near = similar_name(&entry.key, names(spec));
                meant.extend(near.and_then(|name| find(spec, name)).map(|a| a.name));
                out.push(unknown_argument(spec, task, entry, near));
            }
            continue;
        };
        if let Some((_, first)) = given.iter().find(|(name, _)| *name == arg.name) {
            out.push(
                Diagnostic::error(Code::CONFLICT, format!("`{}` is given twice under two names", arg.name))
                    .at(entry.key_span, "and again here")
                    .context(*first, "first here"),
            );
        }
        if !entry.value.is_null() {
            given.push((arg.name, entry.key_span));
            check_value(spec, arg, task, &entry.value, out);
        }
    }
    for arg in spec.args.iter().filter(|a| a.required && a.default.is_none()) {
        if !given.iter().any(|(name, _)| *name == arg.name) && !meant.contains(&arg.name) {
            out.push(
                Diagnostic::error(
                    Code::MISSING_ARGUMENT,
                    format!("module `{}` needs the argument `{}`", spec.name, arg.name),
                )
                .at(task.span, format!("`{}` is missing", arg.name))
                .note(format!("`{}`: {}", arg.name, arg.doc)),
            );
        }
    }
    if out.len() == before && !args.contains_template() {
        out.extend(refused(spec, task, mapping));
    }
}

/// What the module itself says against arguments that are all literal: nobody has to be connected to know it.
fn refused(spec: &ModuleSpec, task: &Node, given: &Mapping) -> Option<Diagnostic> {
    let Kind::Host(prepare) = spec.kind else { return None };
    let values = given.entries.iter().map(|e| (e.key.clone(), e.value.to_value()));
    let args = coerce(spec, &values.collect()).ok()?;
    let nobody = Nobody::default();
    let error = prepare(&args, &nobody).err()?;
    if nobody.asked.get() || error.diagnostic.is_some() || error.unknown.is_some() {
        return None;
    }
    let blamed = error.arg.as_deref().and_then(|name| {
        let mut entries = given.entries.iter();
        entries.find(|e| find(spec, &e.key).map_or(e.key == name, |arg| arg.name == name))
    });
    let mut diagnostic = Diagnostic::error(Code::VALUE, error.message);
    diagnostic = match blamed {
        Some(entry) => diagnostic.at(entry.value.span, "").context(task.span, "in this task"),
        None => diagnostic.at(task.span, ""),
    };
    Some(match error.help {
        Some(help) => diagnostic.help(help),
        None => diagnostic,
    })
}

/// A controller that knows nothing, and remembers that it was asked: what was said after that does not count.
#[derive(Default)]
struct Nobody {
    asked: Cell<bool>,
}

impl Nobody {
    fn ask<T>(&self) -> Result<T, ArgError> {
        self.asked.set(true);
        Err(ArgError::task("nobody to ask"))
    }
}

impl Prepare for Nobody {
    fn file(&self, _: &str) -> Result<(String, Vec<u8>), ArgError> {
        self.ask()
    }
    fn tree(&self, _: &str) -> Result<(String, Vec<String>), ArgError> {
        self.ask()
    }
    fn template(&self, _: &str, _: &crate::template::FileOptions, _: &str) -> Result<Vec<u8>, ArgError> {
        self.ask()
    }
    /// Only names of backups come of it.
    fn now(&self) -> &str {
        "2000-01-01T00:00:00Z"
    }
    fn check_mode(&self) -> bool {
        false
    }
    fn environment(&self) -> BTreeMap<String, String> {
        BTreeMap::new()
    }
    fn variable(&self, _: &str) -> Result<Option<Value>, ArgError> {
        self.ask()
    }
}

fn find<'a>(spec: &'a ModuleSpec, name: &str) -> Option<&'a ArgSpec> {
    spec.args.iter().find(|a| a.name == name || a.aliases.contains(&name))
}

/// All names an argument may be given under.
fn names(spec: &ModuleSpec) -> impl Iterator<Item = &'static str> + use<> {
    spec.args
        .iter()
        .flat_map(|a| std::iter::once(a.name).chain(a.aliases.iter().copied()))
}

fn unknown_argument(spec: &ModuleSpec, task: &Node, entry: &Entry, near: Option<&str>) -> Diagnostic {
    let diagnostic = Diagnostic::error(
        Code::UNKNOWN_ARGUMENT,
        format!("unknown argument `{}` for module `{}`", entry.key, spec.name),
    )
    .at(entry.key_span, format!("not an argument of `{}`", spec.name))
    .context(task.span, "in this task");
    let diagnostic = match spec.args {
        [] => diagnostic.note(format!("`{}` takes no arguments", spec.name)),
        args => {
            let names: Vec<_> = args.iter().map(|a| a.name).collect();
            diagnostic.note(format!("`{}` takes {}", spec.name, choices(&names)))
        }
    };
    match near {
        Some(near) => diagnostic.fix("there is an argument with a similar name", entry.key_span, near),
        None => diagnostic,
    }
}

fn check_value(spec: &ModuleSpec, arg: &ArgSpec, task: &Node, node: &Node, out: &mut Vec<Diagnostic>) {
    if node.contains_template() {
        return;
    }
    let value = node.to_value();
    let Some(value) = convert(arg.kind, &value) else {
        let mut diagnostic = Diagnostic::error(
            Code::VALUE,
            format!("module `{}` needs {} for `{}`", spec.name, expected(arg.kind), arg.name),
        )
        .at(node.span, format!("this is {}", node.kind()))
        .context(task.span, "in this task");
        if arg.kind == ArgKind::Bool {
            diagnostic = diagnostic.help("write `true` or `false`");
        }
        out.push(diagnostic);
        return;
    };
    let wrong = value
        .as_str()
        .filter(|text| !arg.choices.is_empty() && !arg.choices.contains(text));
    if let Some(text) = wrong {
        let diagnostic = Diagnostic::error(
            Code::VALUE,
            format!(
                "`{}` of module `{}` cannot be {}",
                arg.name,
                spec.name,
                shown(&value, arg.secret)
            ),
        )
        .at(node.span, "not one of the choices")
        .context(task.span, "in this task")
        .note(format!("choices are {}", choices(arg.choices)));
        out.push(match similar_name(text, arg.choices.iter().copied()) {
            Some(near) => diagnostic.fix("there is a choice with a similar name", node.span, near),
            None => diagnostic,
        });
    }
}
