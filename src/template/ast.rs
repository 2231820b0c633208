//! The syntax tree that is evaluated: minijinja's parser's, owned, with names of filters and tests resolved.

use super::fault::Fault;
use super::filters::{self, Filter};
use super::tests::{self, Test};
use super::{ErrorKind, FileOptions};
use crate::diagnostic::similar_name;
use minijinja::machinery::ast as mj;
use minijinja::machinery::{Span as MjSpan, parse};
use minijinja::syntax::SyntaxConfig;
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

/// What ansible-core 2.19 has of its own and is missing here: it is refused as such.
fn not_yet(what: &str, name: &str) -> Option<String> {
    #[rustfmt::skip]
    const FILTERS: &[&str] = &[
        "expandvars", "forceescape", "from_yaml_all", "striptags", "to_datetime", "unvault", "urlize", "vault",
        "win_basename", "win_dirname", "win_splitdrive", "xmlattr",
    ];
    #[rustfmt::skip]
    const TESTS: &[&str] = &[
        "is_link", "is_mount", "is_same_file", "link", "link_exists", "mount", "same_file", "timedout", "uri", "url",
        "urn", "vault_encrypted", "vaulted_file",
    ];
    const LOOKUPS: &[&str] = &["config", "csvfile", "ini", "inventory_hostnames", "unvault", "url"];
    let names = match what {
        "filter" => FILTERS,
        "test" => TESTS,
        _ => LOOKUPS,
    };
    let known = names.contains(&name);
    known.then(|| format!("{what} `{name}` is not supported yet"))
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

fn syntax_of(options: &FileOptions) -> Result<SyntaxConfig, Problem> {
    SyntaxConfig::builder()
        .block_delimiters(options.block.0.clone(), options.block.1.clone())
        .variable_delimiters(options.variable.0.clone(), options.variable.1.clone())
        .comment_delimiters(options.comment.0.clone(), options.comment.1.clone())
        .trim_blocks(options.trim_blocks)
        .lstrip_blocks(options.lstrip_blocks)
        .keep_trailing_newline(options.keep_trailing_newline)
        .build()
        .map_err(|e| Problem {
            message: format!(
                "these delimiters cannot be used together: {}",
                e.detail().unwrap_or("they clash")
            ),
            range: Range::default(),
            help: None,
            note: None,
        })
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

fn syntax_problem(error: &minijinja::Error, doubled: &Doubled, options: &FileOptions) -> Problem {
    let range = error.range().map_or(Range::default(), |r| Range {
        start: doubled.original(r.start),
        end: doubled.original(r.end),
    });
    let detail = error.detail().map_or_else(|| error.to_string(), str::to_owned);
    if let Some(word) = detail.strip_prefix("unknown statement ") {
        let word = word.trim_matches('`');
        if STATEMENTS.contains(&word) {
            return Problem {
                message: format!("`{word}` belongs to no statement that is open here"),
                help: None,
                range,
                note: None,
            };
        }
        return Problem {
            message: format!("unknown statement `{word}`"),
            help: similar_name(word, STATEMENTS).map(|s| format!("a statement with a similar name exists: `{s}`")),
            range,
            note: None,
        };
    }
    let closed = doubled.text.rfind(&options.comment.1).unwrap_or(0);
    if detail.contains("end of comment")
        && let Some(start) = doubled.text[closed..].find(&options.comment.0).map(|at| closed + at)
    {
        return Problem {
            message: "this comment has no end".into(),
            range: Range {
                start: doubled.original(start),
                end: doubled.original(start + options.comment.0.len()),
            },
            help: None,
            note: None,
        };
    }
    if detail.contains("end of input")
        && let Some((word, start, end)) = unclosed(&doubled.text, options)
    {
        return Problem {
            message: format!("this `{word}` has no `end{word}`"),
            range: Range {
                start: doubled.original(start),
                end: doubled.original(end),
            },
            help: None,
            note: None,
        };
    }
    Problem {
        message: format!("the template cannot be parsed: {detail}"),
        range,
        help: None,
        note: None,
    }
}

/// The innermost statement that is opened and never ended.
fn unclosed(text: &str, options: &FileOptions) -> Option<(String, usize, usize)> {
    let mut open: Vec<(String, usize, usize)> = Vec::new();
    let mut position = 0;
    while let Some(i) = text.get(position..)?.find(&options.block.0) {
        let start = position + i + options.block.0.len();
        let end = start + text[start..].find(&options.block.1)?;
        let inside = text[start..end].trim_matches(['-', '+']);
        let word_start = start + text[start..end].find(|c: char| c.is_ascii_alphabetic()).unwrap_or(0);
        let word: String = inside
            .trim_start()
            .chars()
            .take_while(char::is_ascii_alphabetic)
            .collect();
        position = end;
        match word.strip_prefix("end") {
            Some(ended) if open.last().is_some_and(|o| o.0 == ended) => {
                open.pop();
            }
            _ if word == "set" && inside.contains('=') => {}
            _ if ENDED.contains(&word.as_str()) => open.push((word.clone(), word_start, word_start + word.len())),
            _ => {}
        }
    }
    open.pop()
}

/// Statements with an end tag.
const ENDED: [&str; 10] = [
    "for",
    "if",
    "set",
    "block",
    "macro",
    "call",
    "filter",
    "with",
    "raw",
    "autoescape",
];

const STATEMENTS: [&str; 28] = [
    "for",
    "endfor",
    "if",
    "elif",
    "else",
    "endif",
    "set",
    "endset",
    "block",
    "endblock",
    "macro",
    "endmacro",
    "call",
    "endcall",
    "filter",
    "endfilter",
    "with",
    "endwith",
    "include",
    "import",
    "from",
    "extends",
    "raw",
    "endraw",
    "break",
    "continue",
    "do",
    "autoescape",
];

/// A text with the backslashes of string literals inside `{{ }}` doubled, and the way back to the original's offsets.
struct Doubled {
    text: String,
    /// Offsets in `text` of the added bytes, ascending.
    added: Vec<usize>,
}

impl Doubled {
    fn none(text: &str) -> Self {
        Doubled {
            text: text.to_owned(),
            added: Vec::new(),
        }
    }

    fn of(text: &str, options: &FileOptions) -> Self {
        if !text.contains('\\') {
            return Doubled::none(text);
        }
        let mut out = String::with_capacity(text.len() + 8);
        let mut added = Vec::new();
        let mut rest = text;
        let emit = |out: &mut String, n: usize, rest: &mut &str| {
            let (head, tail) = rest.split_at(n);
            out.push_str(head);
            *rest = tail;
        };
        while !rest.is_empty() {
            if rest.starts_with(&options.comment.0) {
                let n = rest
                    .find(&options.comment.1)
                    .map_or(rest.len(), |i| i + options.comment.1.len());
                emit(&mut out, n, &mut rest);
            } else if rest.starts_with(&options.block.0) {
                let n = rest
                    .find(&options.block.1)
                    .map_or(rest.len(), |i| i + options.block.1.len());
                let inside = rest[options.block.0.len()..n].trim_start_matches(['-', '+', ' ']);
                let raw = inside.starts_with("raw");
                emit(&mut out, n, &mut rest);
                if raw {
                    let n = rest.find("endraw").unwrap_or(rest.len());
                    emit(&mut out, n, &mut rest);
                }
            } else if rest.starts_with(&options.variable.0) {
                let mut quote = None;
                let opening = options.variable.0.len();
                emit(&mut out, opening, &mut rest);
                while let Some(c) = rest.chars().next() {
                    if quote.is_none() && rest.starts_with(&options.variable.1) {
                        break;
                    }
                    out.push(c);
                    rest = &rest[c.len_utf8()..];
                    match quote {
                        None if c == '"' || c == '\'' => quote = Some(c),
                        Some(q) if c == q => quote = None,
                        Some(_) if c == '\\' => {
                            added.push(out.len());
                            out.push('\\');
                            // Jinja ends a literal at a quote that no backslash stands before; the pair goes together.
                            if let Some(next) = rest.chars().next()
                                && (next == '\\' || Some(next) == quote)
                            {
                                if next == '\\' {
                                    out.push('\\');
                                    added.push(out.len());
                                } else {
                                    added.push(out.len());
                                    out.push('\\');
                                }
                                out.push(next);
                                rest = &rest[next.len_utf8()..];
                            }
                        }
                        _ => {}
                    }
                }
            } else {
                let n = rest.chars().next().map_or(1, char::len_utf8);
                emit(&mut out, n, &mut rest);
            }
        }
        Doubled { text: out, added }
    }

    fn original(&self, offset: usize) -> u32 {
        let before = self.added.partition_point(|a| *a < offset);
        u32::try_from(offset - before).unwrap_or(u32::MAX)
    }
}

struct Lower<'a> {
    doubled: &'a Doubled,
    newline: &'a str,
    /// The delimiters of statements.
    block: (&'a str, &'a str),
    templates_in_strings: bool,
    blocks: Vec<(Arc<str>, Arc<Vec<Stmt>>)>,
    problems: Vec<Problem>,
}

impl Lower<'_> {
    fn range(&self, span: MjSpan) -> Range {
        Range {
            start: self.doubled.original(span.start_offset as usize),
            end: self.doubled.original(span.end_offset as usize),
        }
    }

    fn source(&self, span: MjSpan) -> &str {
        let text = &self.doubled.text;
        text.get(span.start_offset as usize..(span.end_offset as usize).min(text.len()))
            .unwrap_or("")
    }

    /// Whether the parser's `trim_blocks` took a line's end between `{% raw %}` and this text. Jinja's takes it after
    /// every block but that one.
    fn cut_after_raw(&self, raw: &str) -> bool {
        let start = (raw.as_ptr() as usize).saturating_sub(self.doubled.text.as_ptr() as usize);
        let before = self.doubled.text.get(..start).and_then(|text| text.strip_suffix('\n'));
        let (begin, end) = self.block;
        let tag = before
            .and_then(|text| text.strip_suffix('\r').unwrap_or(text).strip_suffix(end))
            .and_then(|text| Some(&text[text.rfind(begin)? + begin.len()..]));
        tag.is_some_and(|tag| tag.trim_start_matches(['-', '+']).trim() == "raw")
    }

    fn problem(&mut self, span: MjSpan, message: String, help: Option<String>) {
        let range = self.range(span);
        self.problems.push(Problem {
            message,
            range,
            help,
            note: None,
        });
    }

    fn stmts(&mut self, children: &[mj::Stmt<'_>]) -> Vec<Stmt> {
        children.iter().map(|s| self.stmt(s)).collect()
    }

    fn stmt(&mut self, stmt: &mj::Stmt<'_>) -> Stmt {
        match stmt {
            mj::Stmt::Template(s) => Stmt::Plain(self.stmts(&s.children)),
            mj::Stmt::EmitExpr(s) => Stmt::Emit(self.expr(&s.expr)),
            mj::Stmt::EmitRaw(s) => {
                let newline = if self.cut_after_raw(s.raw) { self.newline } else { "" };
                let text = match self.newline {
                    "\n" if newline.is_empty() => s.raw.into(),
                    _ => format!("{newline}{}", s.raw.replace('\n', self.newline)).into(),
                };
                // A part of the source; its span covers the white space that was cut off, too.
                let start = (s.raw.as_ptr() as usize).saturating_sub(self.doubled.text.as_ptr() as usize);
                let range = Range {
                    start: self.doubled.original(start),
                    end: self.doubled.original(start + s.raw.len()),
                };
                Stmt::Raw(text, range)
            }
            mj::Stmt::ForLoop(s) => Stmt::For(Arc::new(ForLoop {
                target: self.target(&s.target),
                iter: self.expr(&s.iter),
                filter: s.filter_expr.as_ref().map(|e| self.expr(e)),
                recursive: s.recursive,
                body: self.stmts(&s.body),
                otherwise: self.stmts(&s.else_body),
            })),
            mj::Stmt::IfCond(s) => Stmt::If(self.expr(&s.expr), self.stmts(&s.true_body), self.stmts(&s.false_body)),
            mj::Stmt::WithBlock(s) => {
                let assignments = s.assignments.iter().map(|(t, e)| (self.target(t), self.expr(e)));
                Stmt::With(assignments.collect(), self.stmts(&s.body))
            }
            mj::Stmt::Set(s) => Stmt::Set(self.target(&s.target), self.expr(&s.expr)),
            mj::Stmt::SetBlock(s) => {
                let filter = s.filter.as_ref().map(|f| self.expr(f));
                Stmt::SetBlock(self.target(&s.target), filter, self.stmts(&s.body))
            }
            mj::Stmt::AutoEscape(s) => {
                self.problem(s.span(), "`autoescape` is not supported".into(), None);
                Stmt::Plain(self.stmts(&s.body))
            }
            mj::Stmt::FilterBlock(s) => Stmt::FilterBlock(self.expr(&s.filter), self.stmts(&s.body)),
            mj::Stmt::Block(s) => {
                let body = Arc::new(self.stmts(&s.body));
                self.blocks.push((s.name.into(), body));
                // The tree does not keep the word.
                let mut words = self.source(s.span()).split_whitespace().skip_while(|w| *w != s.name);
                Stmt::Block {
                    name: s.name.into(),
                    scoped: words.nth(1).is_some_and(|word| word.starts_with("scoped")),
                }
            }
            mj::Stmt::Extends(s) => Stmt::Extends(self.expr(&s.name)),
            mj::Stmt::Include(s) => Stmt::Include {
                name: self.expr(&s.name),
                ignore_missing: s.ignore_missing,
                with_context: !self.source(s.span()).contains("without context"),
            },
            mj::Stmt::Import(s) => Stmt::Import {
                name: self.expr(&s.expr),
                target: self.target(&s.name),
                with_context: self.source(s.span()).contains("with context"),
            },
            mj::Stmt::FromImport(s) => {
                let word = |e: &mj::Expr<'_>| -> Arc<str> {
                    match e {
                        mj::Expr::Var(v) => v.id.into(),
                        _ => "".into(),
                    }
                };
                Stmt::FromImport {
                    name: self.expr(&s.expr),
                    names: (s.names.iter())
                        .map(|(name, alias)| (word(name), word(alias.as_ref().unwrap_or(name))))
                        .collect(),
                    with_context: self.source(s.span()).contains("with context"),
                }
            }
            mj::Stmt::Macro(s) => Stmt::Macro(self.macro_(s)),
            mj::Stmt::CallBlock(s) => {
                let call = self.call(&s.call);
                Stmt::CallBlock(call, self.macro_(&s.macro_decl))
            }
            mj::Stmt::Continue(_) => Stmt::Continue,
            mj::Stmt::Break(_) => Stmt::Break,
            mj::Stmt::Do(s) => Stmt::Do(self.call(&s.call)),
        }
    }

    fn macro_(&mut self, m: &mj::Macro<'_>) -> Arc<Macro> {
        let args = m.args.iter().filter_map(|a| match a {
            mj::Expr::Var(v) => Some(v.id.into()),
            _ => None,
        });
        Arc::new(Macro {
            name: m.name.into(),
            args: args.collect(),
            defaults: m.defaults.iter().map(|e| self.expr(e)).collect(),
            body: self.stmts(&m.body),
        })
    }

    fn target(&mut self, expr: &mj::Expr<'_>) -> Target {
        match expr {
            mj::Expr::Var(v) => Target::Name(v.id.into()),
            mj::Expr::GetAttr(a) => Target::Attr(self.expr(&a.expr), a.name.into()),
            mj::Expr::List(l) => Target::Many(l.items.iter().map(|e| self.target(e)).collect()),
            mj::Expr::Tuple(t) => Target::Many(t.items.iter().map(|e| self.target(e)).collect()),
            other => {
                self.problem(other.span(), "cannot assign to this".into(), None);
                Target::Many(Vec::new())
            }
        }
    }

    fn boxed(&mut self, expr: &mj::Expr<'_>) -> Box<Expr> {
        Box::new(self.expr(expr))
    }

    fn expr(&mut self, expr: &mj::Expr<'_>) -> Expr {
        let kind = match expr {
            mj::Expr::Var(v) => ExprKind::Name(v.id.into()),
            mj::Expr::Const(c) => ExprKind::Const(self.constant(&c.value)),
            mj::Expr::Slice(s) => {
                let parts = [&s.start, &s.stop, &s.step].map(|p| p.as_ref().map(|e| self.boxed(e)));
                ExprKind::Slice(self.boxed(&s.expr), parts)
            }
            mj::Expr::UnaryOp(u) => match u.op {
                mj::UnaryOpKind::Not => ExprKind::Not(self.boxed(&u.expr)),
                mj::UnaryOpKind::Neg => ExprKind::Neg(self.boxed(&u.expr)),
            },
            mj::Expr::BinOp(b) => {
                let (left, right) = (self.boxed(&b.left), self.boxed(&b.right));
                match binary(b.op) {
                    Operation::And => ExprKind::And(left, right),
                    Operation::Or => ExprKind::Or(left, right),
                    Operation::Binary(op) => ExprKind::Binary(op, left, right),
                    Operation::Compare(op) => ExprKind::Compare(left, vec![(op, *right)]),
                }
            }
            mj::Expr::Compare(c) => {
                let first = self.boxed(&c.expr);
                let steps = c.ops.iter().map(|op| (compare(op.op), self.expr(&op.expr)));
                ExprKind::Compare(first, steps.collect())
            }
            mj::Expr::IfExpr(i) => ExprKind::If(
                self.boxed(&i.test_expr),
                self.boxed(&i.true_expr),
                i.false_expr.as_ref().map(|e| self.boxed(e)),
            ),
            mj::Expr::Filter(f) => {
                let input = f.expr.as_ref().map(|e| self.boxed(e));
                let args = self.args(&f.args);
                let name: String = f.name.split_whitespace().collect();
                match filters::find(&name) {
                    Some(filter) => ExprKind::Filter(input, filter, args),
                    None => {
                        let names = filters::names();
                        self.unknown(f.span(), "filter", &name, names);
                        ExprKind::Const(Const::None)
                    }
                }
            }
            mj::Expr::Test(t) => {
                let input = self.boxed(&t.expr);
                let args = self.args(&t.args);
                let name: String = t.name.split_whitespace().collect();
                match tests::find(&name) {
                    Some(test) => ExprKind::Test(input, test, args),
                    None => {
                        let names = tests::names();
                        self.unknown(t.span(), "test", &name, names);
                        ExprKind::Const(Const::None)
                    }
                }
            }
            mj::Expr::GetAttr(a) => ExprKind::Attr(self.boxed(&a.expr), a.name.into()),
            mj::Expr::GetItem(i) => ExprKind::Item(self.boxed(&i.expr), self.boxed(&i.subscript_expr)),
            mj::Expr::Call(c) => return self.call(c),
            mj::Expr::List(l) => ExprKind::List(l.items.iter().map(|e| self.expr(e)).collect()),
            mj::Expr::Tuple(t) => ExprKind::Tuple(t.items.iter().map(|e| self.expr(e)).collect()),
            mj::Expr::Map(m) => {
                let pairs = m.keys.iter().zip(&m.values);
                ExprKind::Dict(pairs.map(|(k, v)| (self.expr(k), self.expr(v))).collect())
            }
        };
        Expr {
            kind,
            range: self.range(expr.span()),
        }
    }

    fn call(&mut self, call: &mj::Spanned<mj::Call<'_>>) -> Expr {
        let callee = self.boxed(&call.expr);
        let lookup = matches!(&callee.kind, ExprKind::Name(n) if matches!(&**n, "lookup" | "query" | "q"));
        let before = self.templates_in_strings;
        self.templates_in_strings |= lookup;
        let args = self.args(&call.args);
        self.templates_in_strings = before;
        if lookup
            && let Some(Arg::Pos(Expr {
                kind: ExprKind::Const(Const::Str(name)),
                range,
            })) = args.first()
            && !super::lookups::exists(name)
        {
            let help = similar_name(name, super::lookups::NAMES.iter().copied());
            let not_yet = not_yet("lookup", super::filters::short_name(name));
            self.problems.push(Problem {
                message: not_yet.unwrap_or_else(|| format!("unknown lookup `{name}`")),
                range: *range,
                help: help.map(|n| format!("a lookup with a similar name exists: `{n}`")),
                note: help
                    .is_none()
                    .then(|| format!("rmqplay has {}", quoted(super::lookups::NAMES))),
            });
        }
        Expr {
            kind: ExprKind::Call(callee, args),
            range: self.range(call.span()),
        }
    }

    fn unknown(&mut self, span: MjSpan, what: &str, name: &str, names: Vec<&'static str>) {
        let span = MjSpan {
            end_offset: span.start_offset + u32::try_from(name.len()).unwrap_or(0),
            ..span
        };
        // A test's and a filter's span starts at its name, or at what it is applied to.
        let at = self.source(MjSpan { ..span });
        let range = if at == name { Some(self.range(span)) } else { None };
        let short = name.strip_prefix("ansible.builtin.").unwrap_or(name);
        let help = similar_name(short, names).map(|n| format!("a {what} with a similar name exists: `{n}`"));
        let range = range.unwrap_or_else(|| self.range(span));
        let not_yet = not_yet(what, short);
        self.problems.push(Problem {
            message: not_yet.clone().unwrap_or_else(|| format!("unknown {what} `{name}`")),
            range,
            help: help.filter(|_| not_yet.is_none()),
            note: not_yet.map(|_| "Ansible knows it, rmqplay does not".to_owned()),
        });
    }

    fn args(&mut self, args: &[mj::CallArg<'_>]) -> Vec<Arg> {
        args.iter()
            .map(|arg| match arg {
                mj::CallArg::Pos(e) => Arg::Pos(self.expr(e)),
                mj::CallArg::Kwarg(name, e) => Arg::Keyword((*name).into(), self.expr(e)),
                mj::CallArg::PosSplat(e) => Arg::Splat(self.expr(e)),
                mj::CallArg::KwargSplat(e) => Arg::KeywordSplat(self.expr(e)),
            })
            .collect()
    }

    fn constant(&self, value: &minijinja::Value) -> Const {
        if let Some(s) = value.as_str() {
            return if self.templates_in_strings && crate::language::node::has_template(s) {
                Const::Template(s.into())
            } else {
                Const::Str(s.into())
            };
        }
        match value.kind() {
            minijinja::value::ValueKind::Bool => Const::Bool(value.is_true()),
            minijinja::value::ValueKind::Number if value.is_integer() => {
                i128::try_from(value.clone()).map_or(Const::None, Const::Int)
            }
            minijinja::value::ValueKind::Number => f64::try_from(value.clone()).map_or(Const::None, Const::Float),
            _ => Const::None,
        }
    }
}

pub(crate) fn quoted(names: &[&str]) -> String {
    names.iter().map(|n| format!("`{n}`")).collect::<Vec<_>>().join(", ")
}

enum Operation {
    And,
    Or,
    Binary(Binary),
    Compare(Compare),
}

fn binary(op: mj::BinOpKind) -> Operation {
    match op {
        mj::BinOpKind::ScAnd => Operation::And,
        mj::BinOpKind::ScOr => Operation::Or,
        mj::BinOpKind::Add => Operation::Binary(Binary::Add),
        mj::BinOpKind::Sub => Operation::Binary(Binary::Sub),
        mj::BinOpKind::Mul => Operation::Binary(Binary::Mul),
        mj::BinOpKind::Div => Operation::Binary(Binary::Div),
        mj::BinOpKind::FloorDiv => Operation::Binary(Binary::FloorDiv),
        mj::BinOpKind::Rem => Operation::Binary(Binary::Rem),
        mj::BinOpKind::Pow => Operation::Binary(Binary::Pow),
        mj::BinOpKind::Concat => Operation::Binary(Binary::Concat),
        mj::BinOpKind::Eq => Operation::Compare(Compare::Eq),
        mj::BinOpKind::Ne => Operation::Compare(Compare::Ne),
        mj::BinOpKind::Lt => Operation::Compare(Compare::Lt),
        mj::BinOpKind::Lte => Operation::Compare(Compare::Lte),
        mj::BinOpKind::Gt => Operation::Compare(Compare::Gt),
        mj::BinOpKind::Gte => Operation::Compare(Compare::Gte),
        mj::BinOpKind::In => Operation::Compare(Compare::In),
    }
}

fn compare(op: mj::CompareOpKind) -> Compare {
    match op {
        mj::CompareOpKind::Eq => Compare::Eq,
        mj::CompareOpKind::Ne => Compare::Ne,
        mj::CompareOpKind::Lt => Compare::Lt,
        mj::CompareOpKind::Lte => Compare::Lte,
        mj::CompareOpKind::Gt => Compare::Gt,
        mj::CompareOpKind::Gte => Compare::Gte,
        mj::CompareOpKind::In => Compare::In,
        mj::CompareOpKind::NotIn => Compare::NotIn,
    }
}
