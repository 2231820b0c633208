//! From minijinja's tree to ours.

use super::*;
use crate::diagnostic::similar_name;
use crate::template::{filters, lookups, tests};
use minijinja::machinery::Span as MjSpan;

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

pub(super) struct Lower<'a> {
    pub(super) doubled: &'a Doubled,
    pub(super) newline: &'a str,
    /// The delimiters of statements.
    pub(super) block: (&'a str, &'a str),
    pub(super) templates_in_strings: bool,
    pub(super) blocks: Vec<(Arc<str>, Arc<Vec<Stmt>>)>,
    pub(super) problems: Vec<Problem>,
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

    pub(super) fn stmts(&mut self, children: &[mj::Stmt<'_>]) -> Vec<Stmt> {
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

    pub(super) fn expr(&mut self, expr: &mj::Expr<'_>) -> Expr {
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
            && !lookups::exists(name)
        {
            let help = similar_name(name, lookups::NAMES.iter().copied());
            let not_yet = not_yet("lookup", filters::short_name(name));
            self.problems.push(Problem {
                message: not_yet.unwrap_or_else(|| format!("unknown lookup `{name}`")),
                range: *range,
                help: help.map(|n| format!("a lookup with a similar name exists: `{n}`")),
                note: help
                    .is_none()
                    .then(|| format!("rmqplay has {}", quoted(lookups::NAMES))),
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
