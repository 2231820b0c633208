//! Filters on text.

use super::{Filter, filter, flag, required, size_of, text_of};
use crate::template::eval::Ctx;
use crate::template::fault::{Res, fail};
use crate::template::python::regex;
use crate::template::value::{Args, Value};
use crate::template::{methods, ops};

pub(super) const FILTERS: &[Filter] = &[
    filter("lower", |ctx, v, _| Ok(v.text(ctx)?.to_lowercase().into())),
    filter("upper", |ctx, v, _| Ok(v.text(ctx)?.to_uppercase().into())),
    filter("capitalize", |ctx, v, _| Ok(methods::capitalize(&v.text(ctx)?).into())),
    filter("title", title),
    filter("trim", |ctx, v, args| {
        let [chars] = args.bind("trim", ["chars"])?;
        let text = v.text(ctx)?;
        Ok(match chars {
            Some(Value::Str(set)) => text.trim_matches(|c| set.contains(c)).into(),
            _ => text.trim().into(),
        })
    }),
    filter("replace", |ctx, v, args| {
        let [old, new, count] = args.bind("replace", ["old", "new", "count"])?;
        let text = v.text(ctx)?;
        let (old, new) = (required(old, "old")?.text(ctx)?, required(new, "new")?.text(ctx)?);
        Ok(
            match count.and_then(|c| c.as_int()).and_then(|c| usize::try_from(c).ok()) {
                Some(n) => text.replacen(&*old, &new, n).into(),
                None => text.replace(&*old, &new).into(),
            },
        )
    }),
    filter("string", |ctx, v, _| Ok(Value::Str(v.text(ctx)?))),
    filter("format", |ctx, v, args| {
        if !args.pos.is_empty() && !args.kw.is_empty() {
            return Err(fail("can't handle positional and keyword arguments at the same time"));
        }
        let text = v.text(ctx)?;
        let values = if args.kw.is_empty() {
            Value::tuple(args.pos)
        } else {
            let kw: Vec<(String, Value)> = args.kw.into_iter().map(|(k, v)| (k.to_string(), v)).collect();
            Value::dict(kw.iter().map(|(k, v)| (k.as_str(), v.clone())))
        };
        Ok(ops::percent_format(ctx, &text, &values)?.into())
    }),
    filter("center", |ctx, v, args| {
        let [width] = args.bind("center", ["width"])?;
        let width = Value::from(size_of(width, "width", 80)?);
        let args = Args {
            pos: vec![width],
            kw: Vec::new(),
        };
        methods::call(ctx, &Value::Str(v.text(ctx)?), "center", args)
    }),
    filter("indent", indent),
    filter("truncate", truncate),
    filter("wordcount", |ctx, v, _| {
        let word = |c: char| c.is_alphanumeric() || c == '_';
        Ok(v.text(ctx)?
            .split(|c| !word(c))
            .filter(|w| !w.is_empty())
            .count()
            .into())
    }),
    filter("wordwrap", |_, _, _| Err(fail("`wordwrap` is not supported yet"))),
    filter("comment", comment),
    filter("quote", |ctx, v, _| {
        let text = if matches!(v, Value::None) {
            "".into()
        } else {
            v.text(ctx)?
        };
        let safe = |c: char| c.is_ascii_alphanumeric() || "_@%+=:,./-".contains(c);
        Ok(if text.is_empty() {
            "''".into()
        } else if text.chars().all(safe) {
            Value::Str(text)
        } else {
            format!("'{}'", text.replace('\'', "'\"'\"'")).into()
        })
    }),
    filter("split", |ctx, v, args| match v {
        Value::Str(_) => methods::call(ctx, &v, "split", args),
        other => Err(fail(format!(
            "needs a string, not a value of type {}",
            other.type_name()
        ))),
    }),
    filter("escape", |ctx, v, _| {
        let mut out = String::new();
        for c in v.text(ctx)?.chars() {
            match c {
                '&' => out.push_str("&amp;"),
                '<' => out.push_str("&lt;"),
                '>' => out.push_str("&gt;"),
                '\'' => out.push_str("&#39;"),
                '"' => out.push_str("&#34;"),
                c => out.push(c),
            }
        }
        Ok(out.into())
    }),
    filter("safe", |_, v, _| Ok(v)),
    filter("regex_replace", |ctx, v, args| {
        let [pattern, replacement, ignore_case, multiline, count, mandatory] = args.bind(
            "regex_replace",
            [
                "pattern",
                "replacement",
                "ignorecase",
                "multiline",
                "count",
                "mandatory_count",
            ],
        )?;
        let pattern = text_of(ctx, pattern, "")?;
        let regex = ctx
            .inner
            .regexes
            .compile(&pattern, flag(ignore_case)?, flag(multiline)?)?;
        let text = v.text(ctx)?;
        let replacement = text_of(ctx, replacement, "")?;
        let (out, n) = regex::replace(&regex, &text, &replacement, size_of(count, "count", 0)?)?;
        let wanted = size_of(mandatory, "mandatory_count", 0)?;
        if wanted != 0 && wanted != n {
            return Err(fail(format!(
                "`{pattern}` should match {wanted} times, but matches {n} times"
            )));
        }
        Ok(out.into())
    }),
    filter("regex_search", regex_search),
    filter("regex_findall", |ctx, v, args| {
        let [pattern, multiline, ignore_case] = args.bind("regex_findall", ["regex", "multiline", "ignorecase"])?;
        let regex = ctx
            .inner
            .regexes
            .compile(&text_of(ctx, pattern, "")?, flag(ignore_case)?, flag(multiline)?)?;
        let text = v.text(ctx)?;
        let mut out = Vec::new();
        for found in regex::all(&regex, &text)? {
            let group = |i: usize| Value::from(found.get(i).map_or("", |m| m.as_str()));
            out.push(match found.len() {
                1 => group(0),
                2 => group(1),
                n => Value::tuple((1..n).map(group).collect()),
            });
        }
        Ok(Value::list(out))
    }),
    filter("regex_escape", |ctx, v, args| {
        let [kind] = args.bind("regex_escape", ["re_type"])?;
        let text = v.text(ctx)?;
        match &*text_of(ctx, kind, "python")? {
            "python" => Ok(regex::escape(&text).into()),
            "posix_basic" => {
                let escape = |c: char| {
                    if "].[^$*\\".contains(c) {
                        format!("\\{c}")
                    } else {
                        c.to_string()
                    }
                };
                Ok(text.chars().map(escape).collect::<String>().into())
            }
            other => Err(fail(format!("invalid regex type `{other}`"))),
        }
    }),
    filter("urlencode", urlencode),
    filter("urldecode", |ctx, v, _| {
        Ok(percent_decode(&v.text(ctx)?.replace('+', " ")).into())
    }),
    filter("urlsplit", urlsplit),
];

/// Words begin after white space and opening brackets.
fn title(ctx: &Ctx, v: Value, _: Args) -> Res<Value> {
    let mut out = String::new();
    let mut start = true;
    for c in v.text(ctx)?.chars() {
        if start {
            out.extend(c.to_uppercase());
        } else {
            out.extend(c.to_lowercase());
        }
        start = c.is_whitespace() || "-([{<".contains(c);
    }
    Ok(out.into())
}

fn indent(ctx: &Ctx, v: Value, args: Args) -> Res<Value> {
    let [width, first, blank] = args.bind("indent", ["width", "first", "blank"])?;
    let prefix = match width {
        Some(Value::Str(s)) => s.to_string(),
        other => " ".repeat(size_of(other, "width", 4)?),
    };
    let (first, blank) = (flag(first)?, flag(blank)?);
    // Jinja indents with a newline put at the end, so that the last line counts as one.
    let text = v.text(ctx)?.to_string() + "\n";
    let lines = methods::split_lines(&text, false);
    let mut out = String::new();
    for (i, line) in lines.iter().enumerate() {
        if i > 0 {
            out.push('\n');
            if blank || !line.is_empty() {
                out.push_str(&prefix);
            }
        }
        out.push_str(line);
    }
    Ok(if first {
        format!("{prefix}{out}").into()
    } else {
        out.into()
    })
}

fn truncate(ctx: &Ctx, v: Value, args: Args) -> Res<Value> {
    let [length, killwords, end, leeway] = args.bind("truncate", ["length", "killwords", "end", "leeway"])?;
    let text: Vec<char> = v.text(ctx)?.chars().collect();
    let length = size_of(length, "length", 255)?;
    let end = text_of(ctx, end, "...")?;
    let leeway = size_of(leeway, "leeway", 5)?;
    let end_length = end.chars().count();
    if length < end_length {
        return Err(fail(format!("expected length >= {end_length}, got {length}")));
    }
    if text.len() <= length + leeway {
        return Ok(text.into_iter().collect::<String>().into());
    }
    let cut: String = text[..length - end_length].iter().collect();
    let cut = if flag(killwords)? {
        &cut
    } else {
        cut.rsplit_once(' ').map_or(cut.as_str(), |(head, _)| head)
    };
    Ok(format!("{cut}{end}").into())
}

fn comment(ctx: &Ctx, v: Value, args: Args) -> Res<Value> {
    let [
        style,
        newline,
        beginning,
        prefix,
        prefix_count,
        decoration,
        postfix,
        postfix_count,
        end,
    ] = args.bind(
        "comment",
        [
            "style",
            "newline",
            "beginning",
            "prefix",
            "prefix_count",
            "decoration",
            "postfix",
            "postfix_count",
            "end",
        ],
    )?;
    let style = text_of(ctx, style, "plain")?;
    let (default_beginning, default_decoration, default_end) = match &*style {
        "plain" => ("", "# ", ""),
        "erlang" => ("", "% ", ""),
        "c" => ("", "// ", ""),
        "cblock" => ("/*", " * ", " */"),
        "xml" => ("<!--", " - ", "-->"),
        other => {
            return Err(fail(format!(
                "invalid style `{other}`; known are `plain`, `erlang`, `c`, `cblock`, `xml`"
            )));
        }
    };
    let decoration = text_of(ctx, decoration, default_decoration)?;
    let newline = text_of(ctx, newline, "\n")?;
    let beginning = text_of(ctx, beginning, default_beginning)?;
    let prefix = text_of(ctx, prefix, decoration.trim_end())?;
    let postfix = text_of(ctx, postfix, decoration.trim_end())?;
    let end = text_of(ctx, end, default_end)?;
    let Value::Str(text) = &v else {
        return Err(fail(format!("needs a string, not a value of type {}", v.type_name())));
    };
    let mut out = String::new();
    if !beginning.is_empty() {
        out += &format!("{beginning}{newline}");
    }
    let times = size_of(prefix_count, "prefix_count", 1)?;
    if !prefix.is_empty() {
        let line = if prefix == newline {
            newline.to_string()
        } else {
            format!("{prefix}{newline}")
        };
        out += &line.repeat(times);
    }
    let body = format!(
        "{decoration}{}",
        text.replace(&*newline, &format!("{newline}{decoration}"))
    );
    // Only the decoration on a line loses the space at its end.
    out += &body.replace(
        &format!("{decoration}{newline}"),
        &format!("{}{newline}", decoration.trim_end()),
    );
    for _ in 0..size_of(postfix_count, "postfix_count", 1)? {
        out += &format!("{newline}{postfix}");
    }
    if !end.is_empty() {
        out += &format!("{newline}{end}");
    }
    Ok(out.into())
}

fn regex_search(ctx: &Ctx, v: Value, mut args: Args) -> Res<Value> {
    let ignore_case = flag(args.take_kw("ignorecase"))?;
    let multiline = flag(args.take_kw("multiline"))?;
    let pattern = args.take_kw("regex");
    if let Some((name, _)) = args.kw.first() {
        return Err(fail(format!("`regex_search` has no argument `{name}`")));
    }
    let mut rest = args.pos.into_iter();
    let pattern = match pattern {
        Some(p) => p,
        None => required(rest.next(), "regex")?,
    };
    let regex = ctx.inner.regexes.compile(&pattern.text(ctx)?, ignore_case, multiline)?;
    let text = v.text(ctx)?;
    let groups: Vec<_> = rest.map(|g| g.text(ctx)).collect::<Res<_>>()?;
    let Some(found) = regex::captures(&regex, &text)? else {
        return Ok(Value::None);
    };
    let value = |m: Option<fancy_regex::Match<'_>>| m.map_or(Value::None, |m| m.as_str().into());
    if groups.is_empty() {
        return Ok(value(found.get(0)));
    }
    let mut out = Vec::new();
    for group in groups {
        let name = group
            .strip_prefix("\\g<")
            .and_then(|g| g.strip_suffix('>'))
            .or_else(|| group.strip_prefix('\\'));
        let Some(name) = name else {
            return Err(fail(format!(
                "`{group}` is not a group; write `\\\\1` or `\\\\g<name>`"
            )));
        };
        out.push(match name.parse::<usize>() {
            Ok(i) if i < found.len() => value(found.get(i)),
            Ok(_) => return Err(fail("no such group")),
            Err(_) => value(found.name(name)),
        });
    }
    Ok(Value::list(out))
}

fn percent_encode(text: &str, safe: &str) -> String {
    let mut out = String::new();
    for b in text.bytes() {
        if b.is_ascii_alphanumeric() || b"_.-~".contains(&b) || safe.as_bytes().contains(&b) {
            out.push(char::from(b));
        } else {
            out.push_str(&format!("%{b:02X}"));
        }
    }
    out
}

fn percent_decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut i = 0;
    while i < bytes.len() {
        let decoded = (bytes[i] == b'%')
            .then(|| text.get(i + 1..i + 3).and_then(|h| u8::from_str_radix(h, 16).ok()))
            .flatten();
        out.push(decoded.unwrap_or(bytes[i]));
        i += if decoded.is_some() { 3 } else { 1 };
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn urlencode(ctx: &Ctx, v: Value, _: Args) -> Res<Value> {
    let pairs: Vec<(Value, Value)> = match &v {
        Value::Dict(d) => d.items(ctx).into_iter().map(|(k, v)| (k.to_value(), v)).collect(),
        Value::List(_) | Value::Tuple(_) => v
            .iterate(ctx)?
            .iter()
            .map(|pair| match pair.iterate(ctx)?.as_slice() {
                [k, v] => Ok((k.clone(), v.clone())),
                _ => Err(fail("needs a string, a dict or a list of pairs")),
            })
            .collect::<Res<_>>()?,
        other => return Ok(percent_encode(&other.text(ctx)?, "/").into()),
    };
    let quoted = |v: &Value| -> Res<String> { Ok(percent_encode(&v.text(ctx)?, " ").replace(' ', "+")) };
    let parts = pairs
        .iter()
        .map(|(k, v)| Ok(format!("{}={}", quoted(k)?, quoted(v)?)))
        .collect::<Res<Vec<_>>>()?;
    Ok(parts.join("&").into())
}

fn urlsplit(ctx: &Ctx, v: Value, args: Args) -> Res<Value> {
    let [query] = args.bind("urlsplit", ["query"])?;
    let url = v.text(ctx)?;
    let (rest, fragment) = url.split_once('#').unwrap_or((&url, ""));
    let (rest, search) = rest.split_once('?').unwrap_or((rest, ""));
    let (scheme, rest) = match rest.split_once(':') {
        Some((s, r))
            if s.starts_with(|c: char| c.is_ascii_alphabetic())
                && s.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c)) =>
        {
            (s.to_lowercase(), r)
        }
        _ => (String::new(), rest),
    };
    let (netloc, path) = match rest.strip_prefix("//") {
        Some(r) => r.split_at(r.find('/').unwrap_or(r.len())),
        None => ("", rest),
    };
    let (user, host) = netloc.rsplit_once('@').map_or((None, netloc), |(u, h)| (Some(u), h));
    let (username, password) = match user {
        Some(u) => u.split_once(':').map_or((Some(u), None), |(u, p)| (Some(u), Some(p))),
        None => (None, None),
    };
    let (hostname, port) = match host.strip_prefix('[').and_then(|h| h.split_once(']')) {
        Some((h, tail)) => (h, tail.strip_prefix(':')),
        None => host.rsplit_once(':').map_or((host, None), |(h, p)| (h, Some(p))),
    };
    let port = match port.filter(|p| !p.is_empty()) {
        Some(p) => Value::Int(p.parse().map_err(|_| fail(format!("`{p}` is not a port")))?),
        None => Value::None,
    };
    let optional = |v: Option<&str>| v.map_or(Value::None, Value::from);
    let hostname = if hostname.is_empty() {
        Value::None
    } else {
        hostname.to_lowercase().into()
    };
    let result = Value::dict([
        ("fragment", fragment.into()),
        ("hostname", hostname),
        ("netloc", netloc.into()),
        ("password", optional(password)),
        ("path", path.into()),
        ("port", port),
        ("query", search.into()),
        ("scheme", scheme.into()),
        ("username", optional(username)),
    ]);
    match (query, &result) {
        (Some(query), Value::Dict(d)) if query.truthy()? => {
            let found = d.get(ctx, &query.to_key()?);
            let name = query.repr(ctx)?;
            found.ok_or_else(|| fail(format!("a URL has no part {name}")))
        }
        _ => Ok(result),
    }
}
