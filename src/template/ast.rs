//! The syntax tree that is evaluated: minijinja's parser's, owned, with names of filters and tests resolved.

mod lower;
mod syntax;

use self::lower::Lower;
use self::syntax::{Doubled, syntax_of, syntax_problem};
use super::fault::Fault;
use super::filters::Filter;
use super::tests::Test;
use super::{ErrorKind, FileOptions};
use minijinja::machinery::ast as mj;
use minijinja::machinery::parse;
use std::rc::Rc;
use std::sync::Arc;

/// Byte range of a piece of a template's text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Range {
    pub start: u32,
    pub end: u32,
}

pub(crate) struct Expr {
    pub kind: ExprKind,
    pub range: Range,
}

pub(crate) enum Const {
    None,
    Bool(bool),
    Int(i128),
    Float(f64),
    Str(Arc<str>),
    /// A string literal with template delimiters where Ansible evaluates such: in a lookup's terms and in conditions.
    Template(Arc<str>),
}

pub(crate) enum ExprKind {
    Const(Const),
    Name(Arc<str>),
    Attr(Box<Expr>, Arc<str>),
    Item(Box<Expr>, Box<Expr>),
    Slice(Box<Expr>, [Option<Box<Expr>>; 3]),
    Call(Box<Expr>, Vec<Arg>),
    /// No input expression inside `{% filter %}` and `{% set %}` blocks.
    Filter(Option<Box<Expr>>, &'static Filter, Vec<Arg>),
    Test(Box<Expr>, &'static Test, Vec<Arg>),
    Not(Box<Expr>),
    Neg(Box<Expr>),
    And(Box<Expr>, Box<Expr>),
    Or(Box<Expr>, Box<Expr>),
    Binary(Binary, Box<Expr>, Box<Expr>),
    Compare(Box<Expr>, Vec<(Compare, Expr)>),
    If(Box<Expr>, Box<Expr>, Option<Box<Expr>>),
    List(Vec<Expr>),
    Tuple(Vec<Expr>),
    Dict(Vec<(Expr, Expr)>),
}

pub(crate) enum Arg {
    Pos(Expr),
    Keyword(Arc<str>, Expr),
    Splat(Expr),
    KeywordSplat(Expr),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Binary {
    Add,
    Sub,
    Mul,
    Div,
    FloorDiv,
    Rem,
    Pow,
    Concat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Compare {
    Eq,
    Ne,
    Lt,
    Lte,
    Gt,
    Gte,
    In,
    NotIn,
}

pub(crate) enum Target {
    Name(Arc<str>),
    Attr(Expr, Arc<str>),
    Many(Vec<Target>),
}

pub(crate) struct Macro {
    pub name: Arc<str>,
    pub args: Vec<Arc<str>>,
    /// Of the last arguments.
    pub defaults: Vec<Expr>,
    pub body: Vec<Stmt>,
}

pub(crate) struct ForLoop {
    pub target: Target,
    pub iter: Expr,
    pub filter: Option<Expr>,
    pub recursive: bool,
    pub body: Vec<Stmt>,
    pub otherwise: Vec<Stmt>,
}

pub(crate) enum Stmt {
    Raw(Arc<str>, Range),
    Emit(Expr),
    For(Arc<ForLoop>),
    If(Expr, Vec<Stmt>, Vec<Stmt>),
    With(Vec<(Target, Expr)>, Vec<Stmt>),
    Set(Target, Expr),
    SetBlock(Target, Option<Expr>, Vec<Stmt>),
    FilterBlock(Expr, Vec<Stmt>),
    Plain(Vec<Stmt>),
    /// The place of a block; `scoped`: the names in reach there are in reach inside, too.
    Block {
        name: Arc<str>,
        scoped: bool,
    },
    Extends(Expr),
    Include {
        name: Expr,
        ignore_missing: bool,
        with_context: bool,
    },
    Import {
        name: Expr,
        target: Target,
        with_context: bool,
    },
    FromImport {
        name: Expr,
        names: Vec<(Arc<str>, Arc<str>)>,
        with_context: bool,
    },
    Macro(Arc<Macro>),
    CallBlock(Expr, Arc<Macro>),
    Continue,
    Break,
    Do(Expr),
}

/// How backslashes in string literals are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Backslashes {
    /// As Jinja reads them: template files, conditions.
    Jinja,
    /// Literally inside `{{ }}`: YAML values, where YAML has read the escapes already.
    Literal,
}

/// A template or expression ready to be evaluated. `text` is what ranges refer to.
pub(crate) struct Compiled {
    pub text: Arc<str>,
    pub body: Body,
    /// Newlines in literal text were replaced by this.
    pub blocks: Vec<(Arc<str>, Arc<Vec<Stmt>>)>,
}

pub(crate) enum Body {
    Template(Arc<Vec<Stmt>>),
    Expression(Expr),
}

/// Names that a filter or test has in another tool, or nothing we can do: found while lowering.
pub(crate) struct Problem {
    pub message: String,
    pub range: Range,
    pub help: Option<String>,
    pub note: Option<String>,
}

impl Problem {
    pub fn into_fault(self, text: Arc<str>, place: super::fault::Place) -> Rc<Fault> {
        let mut fault = Fault::new(ErrorKind::Syntax, self.message);
        fault.helps.extend(self.help);
        fault.notes.extend(self.note);
        fault.at = Some(super::fault::At {
            origin: Rc::new(super::fault::Origin { text, place }),
            start: self.range.start,
            end: self.range.end,
        });
        Rc::new(fault)
    }
}

pub(crate) fn compile_template(
    text: &Arc<str>,
    options: &FileOptions,
    backslashes: Backslashes,
) -> Result<Compiled, Problem> {
    let doubled = match backslashes {
        Backslashes::Literal => Doubled::of(text, options),
        Backslashes::Jinja => Doubled::none(text),
    };
    let syntax = syntax_of(options)?;
    let tree = parse(&doubled.text, "template", syntax).map_err(|e| syntax_problem(&e, &doubled, options))?;
    let mut lower = Lower {
        doubled: &doubled,
        newline: &options.newline,
        block: (&options.block.0, &options.block.1),
        templates_in_strings: false,
        blocks: Vec::new(),
        problems: Vec::new(),
    };
    let body = match &tree {
        mj::Stmt::Template(t) => lower.stmts(&t.children),
        _ => Vec::new(),
    };
    let Lower { blocks, problems, .. } = lower;
    match problems.into_iter().next() {
        Some(problem) => Err(problem),
        None => Ok(Compiled {
            text: text.clone(),
            body: Body::Template(Arc::new(body)),
            blocks,
        }),
    }
}

/// All problems of a template, for lint.
pub(crate) fn problems(text: &Arc<str>, options: &FileOptions, backslashes: Backslashes) -> Vec<Problem> {
    let doubled = match backslashes {
        Backslashes::Literal => Doubled::of(text, options),
        Backslashes::Jinja => Doubled::none(text),
    };
    let tree = match syntax_of(options)
        .and_then(|s| parse(&doubled.text, "template", s).map_err(|e| syntax_problem(&e, &doubled, options)))
    {
        Ok(tree) => tree,
        Err(problem) => return vec![problem],
    };
    let mut lower = Lower {
        doubled: &doubled,
        newline: "\n",
        block: ("{%", "%}"),
        templates_in_strings: false,
        blocks: Vec::new(),
        problems: Vec::new(),
    };
    if let mj::Stmt::Template(t) = &tree {
        lower.stmts(&t.children);
    }
    lower.problems
}

/// `conditional`: string literals with delimiters are evaluated, as Ansible still does there.
pub(crate) fn compile_expression(text: &Arc<str>, conditional: bool) -> Result<Compiled, Problem> {
    let problem = |e: minijinja::Error| syntax_problem(&e, &Doubled::none(text), &FileOptions::default());
    let tree = minijinja::machinery::parse_expr(text).map_err(problem)?;
    let doubled = Doubled::none(text);
    let mut lower = Lower {
        doubled: &doubled,
        newline: "\n",
        block: ("{%", "%}"),
        templates_in_strings: conditional,
        blocks: Vec::new(),
        problems: Vec::new(),
    };
    let expr = lower.expr(&tree);
    match lower.problems.into_iter().next() {
        Some(problem) => Err(problem),
        None => Ok(Compiled {
            text: text.clone(),
            body: Body::Expression(expr),
            blocks: Vec::new(),
        }),
    }
}

pub(crate) fn quoted(names: &[&str]) -> String {
    names.iter().map(|n| format!("`{n}`")).collect::<Vec<_>>().join(", ")
}
