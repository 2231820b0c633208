//! Python's methods of strings.

use super::*;

pub(super) const STRING: &[&str] = &[
    "capitalize",
    "casefold",
    "center",
    "count",
    "encode",
    "endswith",
    "expandtabs",
    "find",
    "format",
    "format_map",
    "index",
    "isalnum",
    "isalpha",
    "isascii",
    "isdecimal",
    "isdigit",
    "isidentifier",
    "islower",
    "isnumeric",
    "isspace",
    "istitle",
    "isupper",
    "join",
    "ljust",
    "lower",
    "lstrip",
    "partition",
    "removeprefix",
    "removesuffix",
    "replace",
    "rfind",
    "rindex",
    "rjust",
    "rpartition",
    "rsplit",
    "rstrip",
    "split",
    "splitlines",
    "startswith",
    "strip",
    "swapcase",
    "title",
    "upper",
    "zfill",
];

/// Parts separated by runs of white space, at most `max` cuts; the rest keeps its inner spaces.
fn split_white(s: &str, max: Option<usize>) -> Vec<String> {
    let mut out = Vec::new();
    let mut rest = s.trim_start();
    while !rest.is_empty() {
        if max.is_some_and(|m| out.len() == m) {
            out.push(rest.trim_end().to_owned());
            return out;
        }
        let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
        out.push(rest[..end].to_owned());
        rest = rest[end..].trim_start();
    }
    out
}

fn rsplit_white(s: &str, max: Option<usize>) -> Vec<String> {
    let mut out = Vec::new();
    let mut rest = s.trim_end();
    while !rest.is_empty() {
        if max.is_some_and(|m| out.len() == m) {
            out.push(rest.trim_start().to_owned());
            break;
        }
        let start = rest
            .rfind(char::is_whitespace)
            .map_or(0, |i| i + rest[i..].chars().next().map_or(1, char::len_utf8));
        out.push(rest[start..].to_owned());
        rest = rest[..start].trim_end();
    }
    out.reverse();
    out
}

pub(crate) fn split_lines(s: &str, keep: bool) -> Vec<String> {
    let mut out = Vec::new();
    let mut rest = s;
    while !rest.is_empty() {
        let end = rest.find([
            '\n', '\r', '\u{b}', '\u{c}', '\u{85}', '\u{2028}', '\u{2029}', '\u{1c}', '\u{1d}', '\u{1e}',
        ]);
        let Some(i) = end else {
            out.push(rest.to_owned());
            break;
        };
        let ending = if rest[i..].starts_with("\r\n") {
            2
        } else {
            rest[i..].chars().next().map_or(1, char::len_utf8)
        };
        out.push(rest[..if keep { i + ending } else { i }].to_owned());
        rest = &rest[i + ending..];
    }
    out
}

pub(crate) fn capitalize(s: &str) -> String {
    let mut chars = s.chars();
    match chars.next() {
        Some(first) => first
            .to_uppercase()
            .chain(chars.as_str().to_lowercase().chars())
            .collect(),
        None => String::new(),
    }
}

/// Every letter after a non-letter in upper case.
fn title(s: &str) -> String {
    let mut out = String::with_capacity(s.len());
    let mut inside = false;
    for c in s.chars() {
        if inside {
            out.extend(c.to_lowercase());
        } else {
            out.extend(c.to_uppercase());
        }
        inside = c.is_alphabetic();
    }
    out
}

fn strings(parts: Vec<String>) -> Value {
    Value::list(parts.into_iter().map(Value::from).collect())
}

pub(super) fn string(ctx: &Ctx, s: &Rc<str>, name: &str, args: Args) -> Res<Value> {
    let all = |f: fn(char) -> bool| Value::Bool(!s.is_empty() && s.chars().all(f));
    let cased = |upper: bool| {
        let right = |c: char| if upper { c.is_uppercase() } else { c.is_lowercase() };
        let wrong = |c: char| if upper { c.is_lowercase() } else { c.is_uppercase() };
        Value::Bool(s.chars().any(right) && !s.chars().any(wrong))
    };
    let chars_of = |v: Option<Value>| -> Res<Option<Rc<str>>> {
        match v {
            None | Some(Value::None) => Ok(None),
            v => text_arg(v, name, "chars").map(Some),
        }
    };
    let trim = |chars: Option<Rc<str>>, left: bool, right: bool| -> Value {
        let matches = |c: char| chars.as_ref().map_or(c.is_whitespace(), |set| set.contains(c));
        let mut out: &str = s;
        if left {
            out = out.trim_start_matches(matches);
        }
        if right {
            out = out.trim_end_matches(matches);
        }
        out.into()
    };
    Ok(match name {
        "upper" => s.to_uppercase().into(),
        "lower" | "casefold" => s.to_lowercase().into(),
        "capitalize" => capitalize(s).into(),
        "title" => title(s).into(),
        "swapcase" => {
            let swap = |c: char| -> String {
                if c.is_uppercase() {
                    c.to_lowercase().collect()
                } else {
                    c.to_uppercase().collect()
                }
            };
            s.chars().map(swap).collect::<String>().into()
        }
        "isdigit" | "isdecimal" => all(|c| c.is_ascii_digit()),
        "isnumeric" => all(char::is_numeric),
        "isalpha" => all(char::is_alphabetic),
        "isalnum" => all(char::is_alphanumeric),
        "isspace" => all(char::is_whitespace),
        "isascii" => Value::Bool(s.is_ascii()),
        "isupper" => cased(true),
        "islower" => cased(false),
        "istitle" => Value::Bool(s.chars().any(char::is_alphabetic) && title(s) == **s),
        "isidentifier" => {
            let first = s.chars().next().is_some_and(|c| c == '_' || c.is_alphabetic());
            Value::Bool(first && s.chars().all(|c| c == '_' || c.is_alphanumeric()))
        }
        "strip" | "lstrip" | "rstrip" => {
            let [chars] = args.bind(name, ["chars"])?;
            trim(chars_of(chars)?, name != "rstrip", name != "lstrip")
        }
        "split" | "rsplit" => {
            let [separator, max] = args.bind(name, ["sep", "maxsplit"])?;
            let max = int_arg(max, name)?.and_then(|m| usize::try_from(m).ok());
            let parts = match chars_of(separator)? {
                None if name == "split" => split_white(s, max),
                None => rsplit_white(s, max),
                Some(sep) if sep.is_empty() => return Err(fail("empty separator")),
                Some(sep) => {
                    let limit = max.map_or(usize::MAX, |m| m + 1);
                    if name == "split" {
                        s.splitn(limit, &*sep).map(str::to_owned).collect()
                    } else {
                        let mut parts: Vec<String> = s.rsplitn(limit, &*sep).map(str::to_owned).collect();
                        parts.reverse();
                        parts
                    }
                }
            };
            strings(parts)
        }
        "splitlines" => {
            let [keep] = args.bind(name, ["keepends"])?;
            strings(split_lines(s, keep.map_or(Ok(false), |k| k.truthy())?))
        }
        "partition" | "rpartition" => {
            let [separator] = args.bind(name, ["sep"])?;
            let sep = text_arg(separator, name, "sep")?;
            let found = if name == "partition" {
                s.split_once(&*sep)
            } else {
                s.rsplit_once(&*sep)
            };
            let (a, b, c) = match found {
                Some((a, c)) => (a, &*sep, c),
                None if name == "partition" => (&**s, "", ""),
                None => ("", "", &**s),
            };
            Value::tuple(vec![a.into(), b.into(), c.into()])
        }
        "startswith" | "endswith" => {
            let [affix, start, end] = args.bind(name, ["prefix", "start", "end"])?;
            let part = ops::slice(
                ctx,
                &Value::Str(s.clone()),
                [int_arg(start, name)?, int_arg(end, name)?, None],
            )?;
            let part = part.as_str().unwrap_or_default();
            let choices = match needed(affix, name, "prefix")? {
                Value::Tuple(t) => t.to_vec(),
                one => vec![one],
            };
            let mut hit = false;
            for choice in choices {
                let Value::Str(affix) = choice else {
                    return Err(fail(format!(
                        "`{name}` needs a string or a tuple of strings, not {}",
                        choice.type_name()
                    )));
                };
                hit |= if name == "startswith" {
                    part.starts_with(&*affix)
                } else {
                    part.ends_with(&*affix)
                };
            }
            Value::Bool(hit)
        }
        "replace" => {
            let [old, new, count] = args.bind(name, ["old", "new", "count"])?;
            let (old, new) = (text_arg(old, name, "old")?, text_arg(new, name, "new")?);
            match int_arg(count, name)?.and_then(|c| usize::try_from(c).ok()) {
                Some(n) => s.replacen(&*old, &new, n).into(),
                None => s.replace(&*old, &new).into(),
            }
        }
        "find" | "rfind" | "index" | "rindex" | "count" => {
            let [sub, start, end] = args.bind(name, ["sub", "start", "end"])?;
            let sub = text_arg(sub, name, "sub")?;
            let start = int_arg(start, name)?;
            let part = ops::slice(ctx, &Value::Str(s.clone()), [start, int_arg(end, name)?, None])?;
            let part = part.as_str().unwrap_or_default();
            if name == "count" {
                let n = if sub.is_empty() {
                    part.chars().count() + 1
                } else {
                    part.matches(&*sub).count()
                };
                return Ok(n.into());
            }
            let found = if name.starts_with('r') {
                part.rfind(&*sub)
            } else {
                part.find(&*sub)
            };
            let length = s.chars().count() as i128;
            let offset = start.map_or(0, |s| if s < 0 { (s + length).max(0) } else { s });
            match found {
                Some(i) => Value::Int(part[..i].chars().count() as i128 + offset),
                None if name.ends_with("find") => Value::Int(-1),
                None => return Err(fail("substring not found")),
            }
        }
        "join" => {
            let [items] = args.bind(name, ["iterable"])?;
            let items = needed(items, name, "iterable")?.iterate(ctx)?;
            let mut parts = Vec::with_capacity(items.len());
            for (i, item) in items.iter().enumerate() {
                item.check()?;
                let Value::Str(part) = item else {
                    return Err(fail(format!(
                        "sequence item {i}: expected str instance, {} found",
                        item.type_name()
                    )));
                };
                parts.push(&**part);
            }
            parts.join(s).into()
        }
        "format" => ops::str_format(ctx, s, &args)?.into(),
        "format_map" => {
            let [map] = args.bind(name, ["mapping"])?;
            let kw = match needed(map, name, "mapping")? {
                Value::Dict(d) => d.items(ctx),
                other => return Err(fail(format!("`format_map` needs a dict, not {}", other.type_name()))),
            };
            let kw = kw
                .into_iter()
                .map(|(k, v)| Ok((k.to_value().text(ctx)?, v)))
                .collect::<Res<_>>()?;
            ops::str_format(ctx, s, &Args { pos: Vec::new(), kw })?.into()
        }
        "zfill" => {
            let [width] = args.bind(name, ["width"])?;
            let width = usize::try_from(int_arg(width, name)?.unwrap_or(0))
                .unwrap_or(0)
                .min(1_000_000);
            let missing = width.saturating_sub(s.chars().count());
            let (sign, digits) = match s.chars().next() {
                Some('+' | '-') => s.split_at(1),
                _ => ("", &**s),
            };
            format!("{sign}{}{digits}", "0".repeat(missing)).into()
        }
        "ljust" | "rjust" | "center" => {
            let [width, fill] = args.bind(name, ["width", "fillchar"])?;
            let width = usize::try_from(int_arg(width, name)?.unwrap_or(0))
                .unwrap_or(0)
                .min(1_000_000);
            let fill = chars_of(fill)?.unwrap_or_else(|| " ".into());
            let missing = width.saturating_sub(s.chars().count());
            let left = match name {
                "ljust" => 0,
                "rjust" => missing,
                // CPython's rounding.
                _ => missing / 2 + (missing & width & 1),
            };
            format!("{}{s}{}", fill.repeat(left), fill.repeat(missing - left)).into()
        }
        "removeprefix" | "removesuffix" => {
            let [affix] = args.bind(name, ["affix"])?;
            let affix = text_arg(affix, name, "affix")?;
            let rest = if name == "removeprefix" {
                s.strip_prefix(&*affix)
            } else {
                s.strip_suffix(&*affix)
            };
            rest.unwrap_or(s).into()
        }
        "expandtabs" => {
            let [size] = args.bind(name, ["tabsize"])?;
            let size = usize::try_from(int_arg(size, name)?.unwrap_or(8)).unwrap_or(0);
            let mut out = String::new();
            let mut column = 0;
            for c in s.chars() {
                match c {
                    '\t' => {
                        let n = if size == 0 { 0 } else { size - column % size };
                        out.push_str(&" ".repeat(n));
                        column += n;
                    }
                    c => {
                        out.push(c);
                        column = if c == '\n' || c == '\r' { 0 } else { column + 1 };
                    }
                }
            }
            out.into()
        }
        "encode" => {
            return Err(fail(
                "bytes are not supported in templates; filters take strings as they are",
            ));
        }
        _ => return Err(fail(format!("'str' object has no method `{name}`"))),
    })
}
