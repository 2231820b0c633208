//! PURE. minijinja set up as Ansible sets up Jinja2, with Ansible's filters, tests and lookups.

#![deny(clippy::disallowed_methods)]

use crate::diagnostic::{Diagnostic, Span};
use crate::language::Node;
use serde_json::Value;
use std::sync::Arc;

/// Where the names in an expression come from; the engine's layers of variables.
pub trait Scope: Send + Sync + std::fmt::Debug {
    fn lookup(&self, name: &str) -> Found;
    /// All names, for `vars`, did-you-mean and `varnames`.
    fn names(&self) -> Vec<String>;
}

/// A variable as a scope knows it.
#[derive(Clone, Debug)]
pub enum Found {
    Missing,
    /// Written by the user: strings inside are templates, evaluated when they are reached, in the same scope.
    Trusted(Arc<Node>),
    /// Data (facts, results, values already templated): never a template.
    Data(Arc<Value>),
    /// Another set of variables (`hostvars`).
    Scope(Arc<dyn Scope>),
    /// A result that is not there yet; reaching it makes the evaluation fail with [`ErrorKind::Unknown`].
    Unknown(String),
}

/// Options of the `template` module and lookup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileOptions {
    pub trim_blocks: bool,
    pub lstrip_blocks: bool,
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

pub struct Templar;
impl Templar {
    pub fn resolve(&self, _: &Node, _: &Arc<dyn Scope>) -> Result<Option<Value>, TemplateError> {
        Ok(None)
    }
    pub fn condition(&self, _: &Node, _: &Arc<dyn Scope>) -> Result<bool, TemplateError> {
        Ok(true)
    }
    pub fn expression(&self, _: &Node, _: &Arc<dyn Scope>) -> Result<Value, TemplateError> {
        Ok(Value::Null)
    }
    pub fn file(
        &self,
        _: &str,
        _: &str,
        _: &FileOptions,
        _: &[String],
        _: &Arc<dyn Scope>,
    ) -> Result<String, TemplateError> {
        Ok(String::new())
    }
}
