//! Lookups of the controller's files: `file`, `template`, `fileglob`, `first_found`.

use super::*;
use crate::template::{python, render_value};

impl Lookup<'_> {
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

    pub(super) fn file(&self, mut args: Args) -> Res<Vec<Value>> {
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

    pub(super) fn template(&self, mut args: Args) -> Res<Vec<Value>> {
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
            let rendered = render_value(&self.ctx.inner, &text, Place::File(file, 0), &options, search, &scope)?;
            out.push(rendered);
            Ok(())
        })
    }

    pub(super) fn fileglob(&self, args: Args) -> Res<Vec<Value>> {
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

    pub(super) fn first_found(&self, mut args: Args) -> Res<Vec<Value>> {
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
                            Value::Str(s) => python::boolean(s).unwrap_or(false),
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
