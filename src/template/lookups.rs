//! `lookup`, `query` and `q`: what the controller's files, environment and variables hold.

mod files;
mod password;

pub(crate) use self::files::{expand_user, glob};

use super::eval::Ctx;
use super::fault::{Place, Res, fail, undefined};
use super::filters;
use super::python::random::Random;
use super::python::regex;
use super::value::{Args, Key, Value};
use super::{FileOptions, Found, Outside, Overlay, Scope};
use crate::diagnostic::similar_name;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

pub(crate) const NAMES: &[&str] = &[
    "dict",
    "env",
    "file",
    "fileglob",
    "first_found",
    "flattened",
    "indexed_items",
    "items",
    "lines",
    "list",
    "nested",
    "password",
    "pipe",
    "random_choice",
    "sequence",
    "subelements",
    "template",
    "together",
    "varnames",
    "vars",
];

fn short_name(name: &str) -> &str {
    let name = filters::short_name(name);
    match name {
        "community.general.flattened" => "flattened",
        "cartesian" => "nested",
        name => name,
    }
}

pub(crate) fn exists(name: &str) -> bool {
    NAMES.contains(&short_name(name))
}

pub(crate) fn call(ctx: &Ctx, mut args: Args, scope: Option<&Arc<dyn Scope>>, query: bool) -> Res<Value> {
    if args.pos.is_empty() {
        return Err(fail("`lookup` needs the name of a lookup"));
    }
    let name = args.pos.remove(0).text(ctx)?;
    let short = short_name(&name).to_owned();
    if !exists(&short) {
        let help = similar_name(&short, NAMES.iter().copied());
        let help = help.map(|h| format!("; a similar one is `{h}`")).unwrap_or_default();
        return Err(fail(format!("unknown lookup `{name}`{help}")));
    }
    match short.as_str() {
        "lines" | "password" | "pipe" => ctx.outside(Outside::Act)?,
        "file" | "fileglob" | "first_found" | "template" => ctx.outside(Outside::Look)?,
        _ => {}
    }
    // Only these look at undefined terms themselves.
    if !matches!(short.as_str(), "first_found" | "env")
        && let Some(Value::Marker(fault)) = args.values().find(|v| matches!(v, Value::Marker(_)))
    {
        return Err(fault.clone());
    }
    let want_list = args.take_kw("wantlist").map_or(Ok(false), |w| w.truthy())? || query;
    let errors = args.take_kw("errors").map_or(Ok("strict".into()), |e| e.text(ctx))?;
    let lookup = Lookup { ctx, scope };
    let results = match lookup.run(&short, args) {
        Ok(results) => results,
        Err(fault) if fault.is_undefined() || &*errors == "strict" => {
            return Err(match &fault.kind {
                super::ErrorKind::Other if fault.at.is_none() => fail(format!("lookup `{name}`: {}", fault.message)),
                _ => fault,
            });
        }
        Err(_) => {
            return Ok(if want_list {
                Value::list(Vec::new())
            } else {
                Value::None
            });
        }
    };
    if want_list || results.is_empty() {
        return Ok(Value::list(results));
    }
    if let [one] = results.as_slice() {
        return Ok(one.clone());
    }
    let texts: Option<Vec<&str>> = results.iter().map(Value::as_str).collect();
    Ok(match texts {
        Some(texts) => texts.join(",").into(),
        None => Value::list(results),
    })
}

struct Lookup<'a> {
    ctx: &'a Ctx,
    scope: Option<&'a Arc<dyn Scope>>,
}

impl Lookup<'_> {
    fn run(&self, name: &str, args: Args) -> Res<Vec<Value>> {
        match name {
            "env" => self.env(args),
            "file" => self.file(args),
            "template" => self.template(args),
            "password" => self.password(args),
            "first_found" => self.first_found(args),
            "dict" => self.each(args, |term, out| {
                let Value::Dict(d) = term else {
                    return Err(fail(format!("needs a dict, not a value of type {}", term.type_name())));
                };
                for (k, v) in d.items(self.ctx) {
                    out.push(Value::dict([("key", k.to_value()), ("value", v)]));
                }
                Ok(())
            }),
            "fileglob" => self.fileglob(args),
            "pipe" => self.each(args, |term, out| {
                let text = self.pipe(&term)?;
                out.push(text.trim_end().into());
                Ok(())
            }),
            "lines" => self.each(args, |term, out| {
                let text = self.pipe(&term)?;
                out.extend(super::methods::split_lines(&text, false).into_iter().map(Value::from));
                Ok(())
            }),
            "vars" => self.vars(args),
            "varnames" => {
                let mut names = self.scope.map_or(Vec::new(), |s| s.names());
                names.sort();
                self.each(args, |term, out| {
                    let regex = self.ctx.inner.regexes.compile(&term.text(self.ctx)?, false, false)?;
                    for name in &names {
                        if regex::find(&regex, name)?.is_some() {
                            out.push(name.as_str().into());
                        }
                    }
                    Ok(())
                })
            }
            "flattened" => {
                let mut out = Vec::new();
                self.flatten(&Value::list(args.pos), usize::MAX, &mut out)?;
                Ok(out)
            }
            "items" => {
                let mut out = Vec::new();
                self.flatten(&Value::list(args.pos), 1, &mut out)?;
                Ok(out)
            }
            "indexed_items" => {
                let mut out = Vec::new();
                self.flatten(&Value::list(args.pos), 1, &mut out)?;
                let pair = |(i, v): (usize, Value)| Value::tuple(vec![i.into(), v]);
                Ok(out.into_iter().enumerate().map(pair).collect())
            }
            "list" => Ok(args.pos),
            "nested" => {
                let mut rows: Vec<Vec<Value>> = vec![Vec::new()];
                for pool in &args.pos {
                    let pool = pool.iterate(self.ctx)?;
                    rows = rows
                        .iter()
                        .flat_map(|row| {
                            pool.iter()
                                .map(move |v| row.iter().cloned().chain([v.clone()]).collect())
                        })
                        .collect();
                }
                Ok(rows.into_iter().map(Value::list).collect())
            }
            "together" => {
                let columns = args.pos.iter().map(|c| c.iterate(self.ctx)).collect::<Res<Vec<_>>>()?;
                let n = columns.iter().map(Vec::len).max().unwrap_or(0);
                let cell = |c: &Vec<Value>, i: usize| c.get(i).cloned().unwrap_or(Value::None);
                Ok((0..n)
                    .map(|i| Value::list(columns.iter().map(|c| cell(c, i)).collect()))
                    .collect())
            }
            "subelements" => {
                let [list, path, options] = args.bind("subelements", ["list", "path", "options"])?;
                let skip = match &options {
                    Some(Value::Dict(d)) => d
                        .get(self.ctx, &Key::Str("skip_missing".into()))
                        .unwrap_or(false.into()),
                    _ => false.into(),
                };
                let input = list.unwrap_or(Value::None);
                let args = Args {
                    pos: vec![path.unwrap_or(Value::None), skip],
                    kw: Vec::new(),
                };
                let filter = filters::find("subelements").ok_or_else(|| fail("needs the filter `subelements`"))?;
                (filter.run)(self.ctx, input, args)?.iterate(self.ctx)
            }
            "random_choice" => {
                let draw = self.ctx.inner.draws.fetch_add(1, Ordering::Relaxed);
                let mut random = Random::from_text(&format!("{}/{draw}", self.ctx.inner.settings.seed));
                let items = match args.pos.as_slice() {
                    [list] => list.iterate(self.ctx)?,
                    many => many.to_vec(),
                };
                let i = random.below((items.len() as u64).max(1));
                Ok(usize::try_from(i)
                    .ok()
                    .and_then(|i| items.get(i).cloned())
                    .into_iter()
                    .collect())
            }
            "sequence" => self.sequence(args),
            other => Err(fail(format!("unknown lookup `{other}`"))),
        }
    }

    fn each(&self, args: Args, mut f: impl FnMut(Value, &mut Vec<Value>) -> Res<()>) -> Res<Vec<Value>> {
        if let Some((name, _)) = args.kw.first() {
            return Err(fail(format!("argument `{name}` is not supported")));
        }
        let mut out = Vec::new();
        for term in args.pos {
            // Lists are not unpacked by Ansible either, but nested lists of one term are what `with_*` gives.
            f(term.usable()?, &mut out)?;
        }
        Ok(out)
    }

    fn flatten(&self, value: &Value, levels: usize, out: &mut Vec<Value>) -> Res<()> {
        let _deeper = self.ctx.deeper()?;
        for item in value.iterate(self.ctx)? {
            match &item {
                Value::None if levels > 1 => {}
                Value::List(_) | Value::Tuple(_) if levels > 0 => self.flatten(&item, levels - 1, out)?,
                _ => out.push(item.usable()?),
            }
        }
        Ok(())
    }

    fn env(&self, mut args: Args) -> Res<Vec<Value>> {
        let default = args.take_kw("default").unwrap_or_else(|| "".into());
        self.each(args, |term, out| {
            let term = term.text(self.ctx)?;
            let name = term.split_whitespace().next().unwrap_or("");
            out.push(
                self.ctx
                    .inner
                    .files
                    .env(name)
                    .map_or_else(|| default.clone(), Value::from),
            );
            Ok(())
        })
    }

    fn variable(&self, name: &str) -> Option<Value> {
        self.scope.and_then(|s| self.ctx.variable_in(s, name))
    }

    fn pipe(&self, term: &Value) -> Res<String> {
        let command = term.text(self.ctx)?;
        let output = self.ctx.inner.files.pipe(&command);
        let bytes = output.map_err(|e| fail(format!("`{command}` failed: {e}")))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    fn vars(&self, mut args: Args) -> Res<Vec<Value>> {
        let default = args.take_kw("default").filter(|d| !matches!(d, Value::None));
        self.each(args, |term, out| {
            let Value::Str(name) = &term else {
                return Err(fail(format!(
                    "a variable's name must be a string, not {}",
                    term.type_name()
                )));
            };
            let value = self.variable(name).or_else(|| default.clone());
            out.push(value.unwrap_or_else(|| Value::Marker(undefined(format!("undefined variable `{name}`")))));
            Ok(())
        })
    }

    /// `start=1 end=5 stride=2 format=web%02d`, or the same as arguments.
    fn sequence(&self, mut args: Args) -> Res<Vec<Value>> {
        let mut given: HashMap<String, Value> = HashMap::new();
        for term in &args.pos {
            let text = term.text(self.ctx)?;
            if !text.contains('=') {
                // `[START-]END[/STRIDE][:FORMAT]`
                let (range, format) = text.split_once(':').unzip();
                let range: &str = range.unwrap_or(&text);
                let (ends, stride) = range.split_once('/').unzip();
                let ends = ends.unwrap_or(range);
                let (start, end) = ends.split_once('-').unwrap_or(("1", ends));
                let parts = [
                    ("start", Some(start)),
                    ("end", Some(end)),
                    ("stride", stride),
                    ("format", format),
                ];
                for (name, part) in parts {
                    given.extend(part.map(|p| (name.to_owned(), p.trim().into())));
                }
                continue;
            }
            for word in text.split_whitespace() {
                let (k, v) = word
                    .split_once('=')
                    .ok_or_else(|| fail(format!("`{word}` is not `key=value`")))?;
                let quoted = |q: char| v.strip_prefix(q).and_then(|v| v.strip_suffix(q));
                given.insert(k.into(), quoted('"').or_else(|| quoted('\'')).unwrap_or(v).into());
            }
        }
        for name in ["start", "end", "count", "stride", "format"] {
            if let Some(v) = args.take_kw(name) {
                given.insert(name.into(), v);
            }
        }
        let int = |name: &str| -> Res<Option<i128>> {
            given
                .get(name)
                .map(|v| match v {
                    Value::Str(s) => {
                        super::python::parse_int(s, 0).ok_or_else(|| fail(format!("`{s}` is not an integer")))
                    }
                    other => other
                        .as_int()
                        .ok_or_else(|| fail(format!("`{name}` must be an integer"))),
                })
                .transpose()
        };
        let start = int("start")?.unwrap_or(1);
        let stride = int("stride")?;
        let end = match (int("count")?, int("end")?) {
            (Some(_), Some(_)) => return Err(fail("only one of `count` and `end` can be given")),
            (Some(0), None) => return Ok(Vec::new()),
            (Some(n), None) => start + (n - 1) * stride.unwrap_or(1),
            (None, Some(end)) => end,
            (None, None) => return Err(fail("needs `count` or `end`")),
        };
        let stride = stride.unwrap_or(1);
        if stride > 0 && end < start {
            return Err(fail("to count backwards, give a negative `stride`"));
        }
        if stride < 0 && end > start {
            return Err(fail("to count forward, give a positive `stride`"));
        }
        if stride == 0 || (end - start) / stride > 1_000_000 {
            return Err(fail("the sequence does not end"));
        }
        let format = given.get("format").map_or(Ok("%d".into()), |f| f.text(self.ctx))?;
        let mut out = Vec::new();
        let mut i = start;
        while if stride > 0 { i <= end } else { i >= end } {
            out.push(super::ops::percent_format(self.ctx, &format, &Value::Int(i))?.into());
            i += stride;
        }
        Ok(out)
    }
}
