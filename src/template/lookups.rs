//! `lookup`, `query` and `q`: what the controller's files, environment and variables hold.

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

    /// Directories to search, nearest first.
    fn search_path(&self) -> Vec<String> {
        if !self.ctx.search.is_empty() {
            return self.ctx.search.clone();
        }
        let mut dirs = Vec::new();
        if let Some(path) = self.variable("ansible_search_path")
            && let Ok(items) = path.iterate(self.ctx)
        {
            dirs.extend(items.iter().filter_map(|d| d.as_str().map(str::to_owned)));
        }
        if let Some(Value::Str(dir)) = self.variable("playbook_dir") {
            dirs.push(dir.to_string());
        }
        if dirs.is_empty() {
            dirs.push(".".into());
        }
        dirs
    }

    /// A file as Ansible finds it: absolute, or in each directory first in `kind`, then in the directory itself.
    fn find(&self, name: &str, kind: &str) -> Option<String> {
        let name = expand_user(self.ctx, name);
        if name.starts_with('/') {
            return self.ctx.inner.files.exists(&name).then_some(name);
        }
        self.search_path()
            .iter()
            .flat_map(|d| [format!("{d}/{kind}/{name}"), format!("{d}/{name}")])
            .find(|p| self.ctx.inner.files.exists(p))
    }

    fn found(&self, name: &str, kind: &str) -> Res<String> {
        self.find(name, kind).ok_or_else(|| {
            fail(format!(
                "`{name}` was not found in {} or their `{kind}`",
                self.search_path().join(", ")
            ))
        })
    }

    fn file(&self, mut args: Args) -> Res<Vec<Value>> {
        let right = args.take_kw("rstrip").map_or(Ok(true), |v| v.truthy())?;
        let left = args.take_kw("lstrip").map_or(Ok(false), |v| v.truthy())?;
        self.each(args, |term, out| {
            let path = self.found(&term.text(self.ctx)?, "files")?;
            let mut text = self.ctx.inner.read_text(&path)?;
            if left {
                text = text.trim_start().to_owned();
            }
            if right {
                text = text.trim_end().to_owned();
            }
            out.push(text.into());
            Ok(())
        })
    }

    fn template(&self, mut args: Args) -> Res<Vec<Value>> {
        let mut options = FileOptions::default();
        let mut take = |name: &str, slot: &mut String| -> Res<()> {
            if let Some(v) = args.take_kw(name) {
                *slot = v.text(self.ctx)?.to_string();
            }
            Ok(())
        };
        take("variable_start_string", &mut options.variable.0)?;
        take("variable_end_string", &mut options.variable.1)?;
        take("comment_start_string", &mut options.comment.0)?;
        take("comment_end_string", &mut options.comment.1)?;
        if let Some(trim) = args.take_kw("trim_blocks") {
            options.trim_blocks = trim.truthy()?;
        }
        for ignored in ["convert_data", "jinja2_native"] {
            args.take_kw(ignored);
        }
        let mut values = HashMap::new();
        if let Some(Value::Dict(d)) = args.take_kw("template_vars") {
            for (k, v) in d.items(self.ctx) {
                values.insert(k.json_name(), Found::Data(Arc::new(v.to_json(self.ctx)?)));
            }
        }
        let Some(base) = self.scope.cloned() else {
            return Err(fail("there are no variables here"));
        };
        self.each(args, |term, out| {
            let name = term.text(self.ctx)?;
            let path = self.found(&name, "templates")?;
            let (file, text) = self.ctx.inner.remember(&path, &self.ctx.inner.read_text(&path)?);
            let mut values = values.clone();
            let mut set = |key: &str, value: &str| {
                values
                    .entry(key.to_owned())
                    .or_insert_with(|| Found::Data(Arc::new(value.into())));
            };
            set("template_path", &name);
            set("template_fullpath", &path);
            if self.variable("ansible_managed").is_none() {
                set("ansible_managed", "Ansible managed");
            }
            let scope: Arc<dyn Scope> = Arc::new(Overlay {
                base: base.clone(),
                values,
            });
            let mut search = vec![path.rsplit_once('/').map_or(".", |(d, _)| d).to_owned()];
            search.extend(self.search_path());
            let _deeper = self.ctx.deeper()?;
            let rendered = super::render_value(&self.ctx.inner, &text, Place::File(file, 0), &options, search, &scope)?;
            out.push(rendered);
            Ok(())
        })
    }

    fn fileglob(&self, args: Args) -> Res<Vec<Value>> {
        self.each(args, |term, out| {
            let pattern = expand_user(self.ctx, &term.text(self.ctx)?);
            let mut patterns = vec![pattern.clone()];
            if !pattern.starts_with('/') {
                let dirs = self.search_path();
                patterns = dirs
                    .iter()
                    .flat_map(|d| [format!("{d}/files/{pattern}"), format!("{d}/{pattern}")])
                    .collect();
            }
            for pattern in patterns {
                let found = glob(self.ctx, &pattern);
                if !found.is_empty() {
                    let files = &self.ctx.inner.files;
                    out.extend(found.iter().map(|p| Value::from(files.absolute(p))));
                    break;
                }
            }
            Ok(())
        })
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

    fn first_found(&self, mut args: Args) -> Res<Vec<Value>> {
        let ctx = self.ctx;
        let mut skip = args.take_kw("skip").map_or(Ok(false), |s| s.truthy())?;
        let files = args.take_kw("files");
        let paths = args.take_kw("paths");
        if let Some((name, _)) = args.kw.first() {
            return Err(fail(format!("argument `{name}` is not supported")));
        }
        let mut terms = args.pos;
        if terms.is_empty() {
            terms.extend(files);
        }
        let paths = paths.map_or(Ok(Vec::new()), |p| self.words(&p, ",:;"))?;
        let mut wanted = Vec::new();
        self.first_found_terms(&terms, &paths, &mut skip, &mut wanted)?;
        for name in &wanted {
            let name = expand_user(ctx, name);
            let candidates = if name.starts_with('/') {
                vec![name]
            } else {
                let dirs = self.search_path();
                dirs.iter()
                    .flat_map(|d| {
                        ["files", "templates", "vars", ""].map(|k| format!("{d}/{k}/{name}").replace("//", "/"))
                    })
                    .collect()
            };
            if let Some(hit) = candidates.iter().find(|p| ctx.inner.files.exists(p)) {
                return Ok(vec![ctx.inner.files.absolute(hit).into()]);
            }
        }
        if skip {
            return Ok(Vec::new());
        }
        Err(fail(format!("none of these files was found: {}", wanted.join(", "))))
    }

    fn first_found_terms(
        &self,
        terms: &[Value],
        paths: &[String],
        skip: &mut bool,
        wanted: &mut Vec<String>,
    ) -> Res<()> {
        for term in terms {
            match term {
                Value::Marker(fault) => return Err(fault.clone()),
                Value::List(_) | Value::Tuple(_) => {
                    self.first_found_terms(&term.iterate(self.ctx)?, paths, skip, wanted)?;
                }
                Value::Dict(d) => {
                    let get = |k: &str| d.get(self.ctx, &Key::Str(k.into()));
                    if let Some(s) = get("skip") {
                        *skip = match &s {
                            Value::Str(s) => super::python::boolean(s).unwrap_or(false),
                            other => other.truthy()?,
                        };
                    }
                    let files = get("files").map_or(Ok(Vec::new()), |f| self.words(&f, ",;"))?;
                    let paths = get("paths").map_or(Ok(Vec::new()), |p| self.words(&p, ",:;"))?;
                    join_all(&paths, &files, wanted);
                }
                other => join_all(paths, &self.words(other, ",;")?, wanted),
            }
        }
        Ok(())
    }

    /// A list, or one string that separators divide.
    fn words(&self, value: &Value, separators: &str) -> Res<Vec<String>> {
        Ok(match value {
            Value::Str(s) => s.split(|c| separators.contains(c)).map(str::to_owned).collect(),
            other => {
                let mut out = Vec::new();
                for item in other.iterate(self.ctx)? {
                    out.extend(self.words(&Value::Str(item.text(self.ctx)?), separators)?);
                }
                out
            }
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

    fn password(&self, mut args: Args) -> Res<Vec<Value>> {
        let mut options: HashMap<&str, Value> = HashMap::new();
        for name in ["length", "chars", "seed", "encrypt", "ident"] {
            if let Some(v) = args.take_kw(name) {
                options.insert(name, v);
            }
        }
        self.each(args, |term, out| {
            let term = term.text(self.ctx)?;
            let mut words = term.split(' ');
            let path = words.next().unwrap_or("").to_owned();
            let mut options = options.clone();
            for word in words.filter(|w| !w.is_empty()) {
                match word.split_once('=') {
                    Some((k @ ("length" | "chars" | "seed" | "encrypt" | "ident"), v)) => {
                        options.insert(
                            match k {
                                "length" => "length",
                                "chars" => "chars",
                                "seed" => "seed",
                                "encrypt" => "encrypt",
                                _ => "ident",
                            },
                            v.into(),
                        );
                    }
                    _ => return Err(fail(format!("`{word}` is not an argument of this lookup"))),
                }
            }
            if options.contains_key("encrypt") {
                return Err(fail("`encrypt` is not supported yet"));
            }
            out.push(self.one_password(&path, &options)?.into());
            Ok(())
        })
    }

    fn one_password(&self, path: &str, options: &HashMap<&str, Value>) -> Res<String> {
        let files = &self.ctx.inner.files;
        let path = expand_user(self.ctx, path);
        // Relative to the playbook.
        let path = match (path.starts_with('/'), self.variable("playbook_dir")) {
            (false, Some(Value::Str(dir))) => format!("{dir}/{path}"),
            _ => path,
        };
        if path != "/dev/null" && files.exists(&path) {
            let text = self.ctx.inner.read_text(&path)?;
            let text = text.trim_end_matches('\n');
            return Ok(text.rsplit_once(" salt=").map_or(text, |(p, _)| p).to_owned());
        }
        let length = match options.get("length") {
            None => 20,
            Some(Value::Str(s)) => s
                .parse()
                .map_err(|_| fail(format!("`length` must be a number, not `{s}`")))?,
            Some(v) => v.as_int().and_then(|i| usize::try_from(i).ok()).unwrap_or(20),
        };
        let sets = match options.get("chars") {
            None => vec!["ascii_letters".to_owned(), "digits".into(), ".,:-_".into()],
            Some(Value::Str(s)) => {
                let mut sets: Vec<String> = Vec::new();
                if s.contains(",,") {
                    sets.push(",".into());
                }
                sets.extend(
                    s.replace(",,", ",")
                        .split(',')
                        .filter(|c| !c.is_empty())
                        .map(str::to_owned),
                );
                sets
            }
            Some(list) => list
                .iterate(self.ctx)?
                .iter()
                .map(|c| Ok(c.text(self.ctx)?.to_string()))
                .collect::<Res<_>>()?,
        };
        let letters: Vec<char> = sets.iter().flat_map(|s| character_set(s)).collect();
        if letters.is_empty() {
            return Err(fail("`chars` names no characters"));
        }
        let mut random = match options.get("seed") {
            Some(seed) => Random::from_text(&seed.text(self.ctx)?),
            None => {
                let draw = self.ctx.inner.draws.fetch_add(1, Ordering::Relaxed);
                Random::from_text(&format!("{}/{draw}", self.ctx.inner.settings.seed))
            }
        };
        let pick = |_| {
            usize::try_from(random.below(letters.len() as u64))
                .ok()
                .map(|i| letters[i])
        };
        let password: String = (0..length).filter_map(pick).collect();
        if path != "/dev/null" {
            let created = files.create(&path, format!("{password}\n").as_bytes());
            created.map_err(|e| fail(format!("`{path}` cannot be created: {e}")))?;
        }
        Ok(password)
    }
}

/// A set named as in Python's `string` module, or the characters themselves.
fn character_set(name: &str) -> Vec<char> {
    let lower = 'a'..='z';
    let upper = 'A'..='Z';
    let digits = '0'..='9';
    let punctuation = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~";
    match name {
        "ascii_letters" => lower.chain(upper).collect(),
        "ascii_lowercase" => lower.collect(),
        "ascii_uppercase" => upper.collect(),
        "digits" => digits.collect(),
        "hexdigits" => digits.chain('a'..='f').chain('A'..='F').collect(),
        "octdigits" => ('0'..='7').collect(),
        "punctuation" => punctuation.chars().collect(),
        other => other.chars().collect(),
    }
}

fn join_all(paths: &[String], files: &[String], wanted: &mut Vec<String>) {
    if paths.is_empty() {
        wanted.extend(files.iter().cloned());
    }
    for path in paths {
        for file in files {
            wanted.push(if file.starts_with('/') || path.is_empty() {
                file.clone()
            } else {
                format!("{}/{file}", path.trim_end_matches('/'))
            });
        }
    }
}

pub(crate) fn expand_user(ctx: &Ctx, path: &str) -> String {
    match (path.strip_prefix('~'), ctx.inner.files.env("HOME")) {
        (Some(rest), Some(home)) if rest.is_empty() || rest.starts_with('/') => format!("{home}{rest}"),
        _ => path.to_owned(),
    }
}

/// Regular files that match a shell pattern in its last part.
pub(crate) fn glob(ctx: &Ctx, pattern: &str) -> Vec<String> {
    let files = &ctx.inner.files;
    let (dir, name) = pattern.rsplit_once('/').map_or((None, pattern), |(d, n)| (Some(d), n));
    let Ok(matcher) = glob::Pattern::new(name) else {
        return Vec::new();
    };
    let listing = files.list(match dir {
        Some("") => "/",
        Some(d) => d,
        None => ".",
    });
    let path = |n: &String| dir.map_or_else(|| n.clone(), |d| format!("{d}/{n}"));
    let mut out: Vec<String> = listing
        .unwrap_or_default()
        .iter()
        .filter(|n| matcher.matches(n) && (!n.starts_with('.') || name.starts_with('.')))
        .map(path)
        .filter(|p| !files.is_dir(p))
        .collect();
    out.sort();
    out
}
