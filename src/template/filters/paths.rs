//! Filters on paths, as `os.path` on Linux has them.

use super::{Filter, filter, text_of};
use crate::template::fault::{Res, fail};
use crate::template::lookups::expand_user;
use crate::template::value::Value;

pub(super) const FILTERS: &[Filter] = &[
    filter("basename", |ctx, v, _| Ok(split(&v.text(ctx)?).1.into())),
    filter("dirname", |ctx, v, _| Ok(split(&v.text(ctx)?).0.into())),
    filter("splitext", |ctx, v, _| {
        let path = v.text(ctx)?;
        let start = path.rfind('/').map_or(0, |i| i + 1);
        // Leading dots belong to the name.
        let dots = path[start..].len() - path[start..].trim_start_matches('.').len();
        let cut = path[start + dots..].rfind('.').map_or(path.len(), |i| i + start + dots);
        Ok(Value::tuple(vec![path[..cut].into(), path[cut..].into()]))
    }),
    filter("path_join", |ctx, v, _| {
        if let Value::Str(_) = v {
            return Ok(v);
        }
        let mut out = String::new();
        for part in v.iterate(ctx)? {
            let part = part.text(ctx)?;
            if part.starts_with('/') {
                out = part.to_string();
            } else {
                if !out.is_empty() && !out.ends_with('/') {
                    out.push('/');
                }
                out.push_str(&part);
            }
        }
        Ok(out.into())
    }),
    filter("normpath", |ctx, v, _| Ok(normal(&v.text(ctx)?).into())),
    filter("expanduser", |ctx, v, _| Ok(expand_user(ctx, &v.text(ctx)?).into())),
    filter("realpath", |ctx, v, _| {
        Ok(ctx.inner.files.absolute(&v.text(ctx)?).into())
    }),
    filter("relpath", |ctx, v, args| {
        let [start] = args.bind("relpath", ["start"])?;
        let absolute = |p: &str| ctx.inner.files.absolute(p);
        let (path, start) = (absolute(&v.text(ctx)?), absolute(&text_of(ctx, start, ".")?));
        let parts = |p: &str| -> Vec<String> { p.split('/').filter(|s| !s.is_empty()).map(str::to_owned).collect() };
        let (path, start) = (parts(&path), parts(&start));
        let common = path.iter().zip(&start).take_while(|(a, b)| a == b).count();
        let up = std::iter::repeat_n("..".to_owned(), start.len() - common);
        let relative: Vec<String> = up.chain(path[common..].iter().cloned()).collect();
        Ok(if relative.is_empty() {
            ".".into()
        } else {
            relative.join("/").into()
        })
    }),
    filter("commonpath", |ctx, v, _| {
        let paths = v.iterate(ctx)?.iter().map(|p| p.text(ctx)).collect::<Res<Vec<_>>>()?;
        let Some(first) = paths.first() else {
            return Err(fail("the list is empty"));
        };
        let parts = |p: &str| -> Vec<String> {
            p.split('/')
                .filter(|s| !s.is_empty() && *s != ".")
                .map(str::to_owned)
                .collect()
        };
        let mut common = parts(first);
        for p in &paths[1..] {
            if p.starts_with('/') != first.starts_with('/') {
                return Err(fail("can't mix absolute and relative paths"));
            }
            let n = common.iter().zip(parts(p)).take_while(|(a, b)| *a == b).count();
            common.truncate(n);
        }
        let root = if first.starts_with('/') { "/" } else { "" };
        Ok(format!("{root}{}", common.join("/")).into())
    }),
    filter("fileglob", |ctx, v, _| {
        let found = crate::template::lookups::glob(ctx, &v.text(ctx)?);
        Ok(Value::list(found.into_iter().map(Value::from).collect()))
    }),
];

fn split(path: &str) -> (&str, &str) {
    let cut = path.rfind('/').map_or(0, |i| i + 1);
    let (head, tail) = path.split_at(cut);
    let trimmed = head.trim_end_matches('/');
    (if trimmed.is_empty() { head } else { trimmed }, tail)
}

fn normal(path: &str) -> String {
    let root = if path.starts_with("//") && !path.starts_with("///") {
        "//"
    } else if path.starts_with('/') {
        "/"
    } else {
        ""
    };
    let mut out: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if out.last().is_some_and(|l| *l != "..") => {
                out.pop();
            }
            ".." if !root.is_empty() => {}
            part => out.push(part),
        }
    }
    let joined = format!("{root}{}", out.join("/"));
    if joined.is_empty() { ".".into() } else { joined }
}
