//! `json.dumps`.

use crate::template::eval::Ctx;
use crate::template::fault::{Res, fail};
use crate::template::value::{Key, Value, float_text};
use std::fmt::Write;

pub(crate) struct Style {
    pub indent: Option<String>,
    pub sort_keys: bool,
    pub ascii: bool,
    pub separators: (String, String),
}

impl Default for Style {
    fn default() -> Self {
        Style {
            indent: None,
            sort_keys: false,
            ascii: true,
            separators: (", ".into(), ": ".into()),
        }
    }
}

pub(crate) fn dumps(ctx: &Ctx, value: &Value, style: &Style) -> Res<String> {
    let mut out = String::new();
    write(ctx, value, style, 0, &mut out)?;
    Ok(out)
}

fn break_line(style: &Style, level: usize, out: &mut String) {
    if let Some(indent) = &style.indent {
        out.push('\n');
        for _ in 0..level {
            out.push_str(indent);
        }
    }
}

pub(crate) fn float(f: f64) -> String {
    if f.is_nan() {
        "NaN".into()
    } else if f.is_infinite() {
        if f > 0.0 { "Infinity".into() } else { "-Infinity".into() }
    } else {
        float_text(f)
    }
}

fn write(ctx: &Ctx, value: &Value, style: &Style, level: usize, out: &mut String) -> Res<()> {
    match value {
        Value::Marker(fault) => return Err(fault.clone()),
        Value::None => out.push_str("null"),
        Value::Bool(b) => out.push_str(if *b { "true" } else { "false" }),
        Value::Int(i) => {
            let _ = write!(out, "{i}");
        }
        Value::Float(f) => out.push_str(&float(*f)),
        Value::Str(s) => quote(s, style.ascii, out),
        Value::List(_) | Value::Tuple(_) => {
            let items = value.iterate(ctx)?;
            if items.is_empty() {
                out.push_str("[]");
                return Ok(());
            }
            let _deeper = ctx.deeper()?;
            out.push('[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push_str(&style.separators.0);
                }
                break_line(style, level + 1, out);
                write(ctx, item, style, level + 1, out)?;
            }
            break_line(style, level, out);
            out.push(']');
        }
        Value::Dict(d) => {
            let mut items = d.items(ctx);
            if items.is_empty() {
                out.push_str("{}");
                return Ok(());
            }
            let _deeper = ctx.deeper()?;
            if style.sort_keys {
                items = sorted(ctx, items)?;
            }
            out.push('{');
            for (i, (k, v)) in items.iter().enumerate() {
                if i > 0 {
                    out.push_str(&style.separators.0);
                }
                break_line(style, level + 1, out);
                quote(&k.json_name(), style.ascii, out);
                out.push_str(&style.separators.1);
                write(ctx, v, style, level + 1, out)?;
            }
            break_line(style, level, out);
            out.push('}');
        }
        other => {
            return Err(fail(format!(
                "object of type {} is not JSON serializable",
                other.type_name()
            )));
        }
    }
    Ok(())
}

/// Entries by key, as Python orders the keys.
pub(crate) fn sorted(ctx: &Ctx, items: Vec<(Key, Value)>) -> Res<Vec<(Key, Value)>> {
    let mut pairs: Vec<Value> = (items.iter().enumerate())
        .map(|(i, (k, _))| Value::tuple(vec![k.to_value(), i.into()]))
        .collect();
    crate::template::methods::sort_values(ctx, &mut pairs, |pair| match pair {
        Value::Tuple(t) => Ok(t[0].clone()),
        other => Ok(other.clone()),
    })?;
    let order = pairs.iter().filter_map(|p| match p {
        Value::Tuple(t) => usize::try_from(t[1].as_int()?).ok(),
        _ => None,
    });
    Ok(order.map(|i| items[i].clone()).collect())
}

fn quote(text: &str, ascii: bool, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            c if (c as u32) < 0x20 || (ascii && (c as u32) > 0x7e) => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    let _ = write!(out, "\\u{unit:04x}");
                }
            }
            c => out.push(c),
        }
    }
    out.push('"');
}
