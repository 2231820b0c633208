//! Python's operators and its two ways of formatting strings.

use super::ast::Binary;
use super::eval::Ctx;
use super::fault::{Res, fail};
use super::value::{Args, Key, Value};

fn unsupported(operator: &str, a: &Value, b: &Value) -> std::rc::Rc<super::fault::Fault> {
    if let (Value::Str(_), "+", false) = (a, operator, matches!(b, Value::Str(_))) {
        return fail(format!("can only concatenate str (not \"{}\") to str", b.type_name()));
    }
    fail(format!(
        "unsupported operand type(s) for {operator}: '{}' and '{}'",
        a.type_name(),
        b.type_name()
    ))
}

pub(crate) fn add(ctx: &Ctx, a: &Value, b: &Value) -> Res<Value> {
    match (a, b) {
        (Value::Str(x), Value::Str(y)) => Ok(format!("{x}{y}").into()),
        (Value::List(x), Value::List(y)) => {
            let mut items = x.items(ctx);
            items.extend(y.items(ctx));
            Ok(Value::list(items))
        }
        (Value::Tuple(x), Value::Tuple(y)) => Ok(Value::tuple(x.iter().chain(y.iter()).cloned().collect())),
        _ => arithmetic(Binary::Add, a, b),
    }
}

pub(crate) fn multiply(ctx: &Ctx, a: &Value, b: &Value) -> Res<Value> {
    let (sequence, times) = match (a, b) {
        (Value::Str(_) | Value::List(_) | Value::Tuple(_), Value::Int(_) | Value::Bool(_)) => (a, b),
        (Value::Int(_) | Value::Bool(_), Value::Str(_) | Value::List(_) | Value::Tuple(_)) => (b, a),
        _ => return arithmetic(Binary::Mul, a, b),
    };
    let times = usize::try_from(times.as_int().unwrap_or(0).max(0)).unwrap_or(usize::MAX);
    if sequence.length()?.saturating_mul(times) > 100_000_000 {
        return Err(fail("the repeated sequence is too large"));
    }
    Ok(match sequence {
        Value::Str(s) => s.repeat(times).into(),
        other => {
            let items = other.iterate(ctx)?;
            let repeated: Vec<Value> = std::iter::repeat_n(items, times).flatten().collect();
            if matches!(other, Value::Tuple(_)) {
                Value::tuple(repeated)
            } else {
                Value::list(repeated)
            }
        }
    })
}

pub(crate) fn negate(v: &Value) -> Res<Value> {
    match (v, v.as_int()) {
        (Value::Float(f), _) => Ok(Value::Float(-f)),
        (_, Some(i)) => Ok(Value::Int(-i)),
        _ => Err(fail(format!("bad operand type for unary -: '{}'", v.type_name()))),
    }
}

/// `floor(a / b)` and the remainder with the divisor's sign.
fn floor_div(a: i128, b: i128) -> (i128, i128) {
    let (q, r) = (a.wrapping_div(b), a.wrapping_rem(b));
    if r != 0 && (r < 0) != (b < 0) {
        (q - 1, r + b)
    } else {
        (q, r)
    }
}

#[allow(clippy::cast_precision_loss)]
pub(crate) fn arithmetic(op: Binary, a: &Value, b: &Value) -> Res<Value> {
    let sign = match op {
        Binary::Add => "+",
        Binary::Sub => "-",
        Binary::Mul => "*",
        Binary::Div => "/",
        Binary::FloorDiv => "//",
        Binary::Rem => "%",
        Binary::Pow => "** or pow()",
        Binary::Concat => "~",
    };
    let overflow = || fail(format!("the result of `{}` is too large", &sign[..sign.len().min(2)]));
    let zero = |what: &str| fail(format!("{what} by zero"));
    if let (Some(x), Some(y)) = (a.as_int(), b.as_int()) {
        return match op {
            Binary::Add => x.checked_add(y).map(Value::Int).ok_or_else(overflow),
            Binary::Sub => x.checked_sub(y).map(Value::Int).ok_or_else(overflow),
            Binary::Mul => x.checked_mul(y).map(Value::Int).ok_or_else(overflow),
            Binary::Div if y == 0 => Err(zero("division")),
            Binary::Div => Ok(Value::Float(x as f64 / y as f64)),
            Binary::FloorDiv if y == 0 => Err(zero("integer division or modulo")),
            Binary::FloorDiv => Ok(Value::Int(floor_div(x, y).0)),
            Binary::Rem if y == 0 => Err(zero("integer modulo")),
            Binary::Rem => Ok(Value::Int(floor_div(x, y).1)),
            Binary::Pow if y < 0 => Ok(Value::Float((x as f64).powf(y as f64))),
            Binary::Pow => {
                let exponent = u32::try_from(y).map_err(|_| overflow())?;
                x.checked_pow(exponent).map(Value::Int).ok_or_else(overflow)
            }
            Binary::Concat => Err(unsupported(sign, a, b)),
        };
    }
    let (Some(x), Some(y)) = (a.as_f64(), b.as_f64()) else {
        return Err(unsupported(sign, a, b));
    };
    Ok(Value::Float(match op {
        Binary::Add => x + y,
        Binary::Sub => x - y,
        Binary::Mul => x * y,
        Binary::Pow => x.powf(y),
        Binary::Div | Binary::FloorDiv | Binary::Rem if y == 0.0 => return Err(zero("float division")),
        Binary::Div => x / y,
        Binary::FloorDiv => (x / y).floor(),
        Binary::Rem => {
            let r = x % y;
            if r != 0.0 && (r < 0.0) != (y < 0.0) { r + y } else { r }
        }
        Binary::Concat => return Err(unsupported(sign, a, b)),
    }))
}

/// `sequence[start:stop:step]`.
pub(crate) fn slice(ctx: &Ctx, value: &Value, [start, stop, step]: [Option<i128>; 3]) -> Res<Value> {
    // A list gives only what is asked for: `groups['all'][:3]` of a large fleet.
    let (items, length) = match value {
        Value::List(list) => (Vec::new(), list.len()),
        Value::Str(_) | Value::Tuple(_) => {
            let items = value.iterate(ctx)?;
            let length = items.len();
            (items, length)
        }
        other => return Err(fail(format!("'{}' object cannot be sliced", other.type_name()))),
    };
    let step = step.unwrap_or(1);
    if step == 0 {
        return Err(fail("slice step cannot be zero"));
    }
    let n = length as i128;
    let clamp = |i: i128, low: i128, high: i128| (if i < 0 { i + n } else { i }).clamp(low, high);
    let mut picked = Vec::new();
    let mut push = |i: i128| {
        picked.extend(usize::try_from(i).ok().and_then(|i| match value {
            Value::List(list) => list.get(ctx, i),
            _ => items.get(i).cloned(),
        }));
    };
    if step > 0 {
        let (mut i, end) = (start.map_or(0, |s| clamp(s, 0, n)), stop.map_or(n, |s| clamp(s, 0, n)));
        while i < end {
            push(i);
            i += step;
        }
    } else {
        let (mut i, end) = (
            start.map_or(n - 1, |s| clamp(s, -1, n - 1)),
            stop.map_or(-1, |s| clamp(s, -1, n - 1)),
        );
        while i > end {
            push(i);
            i += step;
        }
    }
    Ok(match value {
        Value::Str(_) => picked.iter().filter_map(Value::as_str).collect::<String>().into(),
        Value::Tuple(_) => Value::tuple(picked),
        _ => Value::list(picked),
    })
}

/// Python's presentation options of one value.
#[derive(Default)]
struct Spec {
    fill: Option<char>,
    align: Option<char>,
    sign: Option<char>,
    alternate: bool,
    zero: bool,
    width: usize,
    group: Option<char>,
    precision: Option<usize>,
    kind: Option<char>,
}

impl Spec {
    fn parse(text: &str) -> Res<Spec> {
        let mut spec = Spec::default();
        let mut chars: std::collections::VecDeque<char> = text.chars().collect();
        let is_align = |c: Option<&char>| matches!(c, Some('<' | '>' | '^' | '='));
        if is_align(chars.get(1)) {
            spec.fill = chars.pop_front();
            spec.align = chars.pop_front();
        } else if is_align(chars.front()) {
            spec.align = chars.pop_front();
        }
        if matches!(chars.front(), Some('+' | '-' | ' ')) {
            spec.sign = chars.pop_front();
        }
        if chars.front() == Some(&'#') {
            spec.alternate = chars.pop_front().is_some();
        }
        if chars.front() == Some(&'0') {
            spec.zero = chars.pop_front().is_some();
        }
        let number = |chars: &mut std::collections::VecDeque<char>| {
            let mut n: Option<usize> = None;
            while let Some(d) = chars.front().and_then(|c| c.to_digit(10)) {
                n = Some(
                    n.unwrap_or(0)
                        .saturating_mul(10)
                        .saturating_add(d as usize)
                        .min(1_000_000),
                );
                chars.pop_front();
            }
            n
        };
        spec.width = number(&mut chars).unwrap_or(0);
        if matches!(chars.front(), Some(',' | '_')) {
            spec.group = chars.pop_front();
        }
        if chars.front() == Some(&'.') {
            chars.pop_front();
            spec.precision = Some(number(&mut chars).ok_or_else(|| fail("format specifier missing precision"))?);
        }
        spec.kind = chars.pop_front();
        if chars.is_empty() {
            Ok(spec)
        } else {
            Err(fail(format!("invalid format specifier '{text}'")))
        }
    }

    fn pad(&self, text: &str, number: bool) -> String {
        let missing = self.width.saturating_sub(text.chars().count());
        if missing == 0 {
            return text.to_owned();
        }
        let fill = self.fill.unwrap_or(if self.zero && (number || self.align.is_none()) {
            '0'
        } else {
            ' '
        });
        let zeros_inside = number && (self.align == Some('=') || (self.align.is_none() && self.zero));
        let fills = |n: usize| std::iter::repeat_n(fill, n).collect::<String>();
        if zeros_inside {
            let cut = text.find(|c: char| c.is_ascii_alphanumeric()).unwrap_or(0);
            let cut = if text[cut..].starts_with("0x") || text[cut..].starts_with("0o") || text[cut..].starts_with("0b")
            {
                cut + 2
            } else {
                cut
            };
            return format!("{}{}{}", &text[..cut], fills(missing), &text[cut..]);
        }
        match self.align.unwrap_or(if number { '>' } else { '<' }) {
            '>' | '=' => format!("{}{text}", fills(missing)),
            '^' => format!("{}{text}{}", fills(missing / 2), fills(missing - missing / 2)),
            _ => format!("{text}{}", fills(missing)),
        }
    }

    fn grouped(&self, digits: &str) -> String {
        let Some(separator) = self.group else {
            return digits.to_owned();
        };
        let (whole, rest) = digits.split_once('.').map_or((digits, None), |(w, r)| (w, Some(r)));
        let mut out = String::new();
        for (i, c) in whole.chars().enumerate() {
            if i > 0 && (whole.len() - i) % 3 == 0 {
                out.push(separator);
            }
            out.push(c);
        }
        rest.map_or(out.clone(), |r| format!("{out}.{r}"))
    }

    fn signed(&self, negative: bool, digits: &str) -> String {
        let sign = match (negative, self.sign) {
            (true, _) => "-",
            (false, Some('+')) => "+",
            (false, Some(' ')) => " ",
            _ => "",
        };
        format!("{sign}{digits}")
    }

    fn float(&self, f: f64, kind: char) -> String {
        let precision = self.precision.unwrap_or(6);
        let a = f.abs();
        let digits = if a.is_nan() {
            "nan".into()
        } else if a.is_infinite() {
            "inf".into()
        } else {
            match kind.to_ascii_lowercase() {
                'e' => exponent(&format!("{a:.precision$e}")),
                'g' => general(a, precision.max(1), self.alternate),
                '%' => format!("{:.precision$}%", a * 100.0),
                _ => format!("{a:.precision$}"),
            }
        };
        let digits = if kind.is_ascii_uppercase() {
            digits.to_uppercase()
        } else {
            digits
        };
        self.signed(f.is_sign_negative() && !f.is_nan(), &self.grouped(&digits))
    }

    fn int(&self, i: i128, kind: char) -> String {
        let a = i.unsigned_abs();
        let (prefix, digits) = match kind {
            'x' => ("0x", format!("{a:x}")),
            'X' => ("0X", format!("{a:X}")),
            'o' => ("0o", format!("{a:o}")),
            'b' => ("0b", format!("{a:b}")),
            _ => ("", self.grouped(&a.to_string())),
        };
        self.signed(i < 0, &format!("{}{digits}", if self.alternate { prefix } else { "" }))
    }
}

/// Rust writes `1e5`, Python `1e+05`.
fn exponent(text: &str) -> String {
    let Some((mantissa, e)) = text.split_once('e') else {
        return text.to_owned();
    };
    let e: i32 = e.parse().unwrap_or(0);
    format!("{mantissa}e{}{:02}", if e < 0 { '-' } else { '+' }, e.abs())
}

fn general(a: f64, precision: usize, alternate: bool) -> String {
    let scientific = format!("{a:.*e}", precision - 1);
    let e: i32 = scientific
        .split_once('e')
        .and_then(|(_, e)| e.parse().ok())
        .unwrap_or(0);
    let strip = |s: &str| {
        if alternate || !s.contains('.') {
            s.to_owned()
        } else {
            s.trim_end_matches('0').trim_end_matches('.').to_owned()
        }
    };
    if e < -4 || e >= i32::try_from(precision).unwrap_or(i32::MAX) {
        let (mantissa, e) = scientific.split_once('e').unwrap_or((&scientific, "0"));
        return exponent(&format!("{}e{e}", strip(mantissa)));
    }
    let decimals = usize::try_from(i64::try_from(precision).unwrap_or(6) - 1 - i64::from(e)).unwrap_or(0);
    strip(&format!("{a:.decimals$}"))
}

/// Python's `format(value, spec)`.
pub(crate) fn format_value(ctx: &Ctx, value: &Value, spec: &str) -> Res<String> {
    value.check()?;
    if spec.is_empty() {
        return Ok(value.text(ctx)?.to_string());
    }
    let parsed = Spec::parse(spec)?;
    let unknown = |kind: char| {
        fail(format!(
            "unknown format code '{kind}' for object of type '{}'",
            value.type_name()
        ))
    };
    match (value, parsed.kind) {
        (Value::Str(s), None | Some('s')) => {
            let cut: String = s.chars().take(parsed.precision.unwrap_or(usize::MAX)).collect();
            Ok(parsed.pad(&cut, false))
        }
        (Value::Int(_) | Value::Bool(_), kind) => {
            let i = value.as_int().unwrap_or(0);
            match kind.unwrap_or('d') {
                k @ ('d' | 'n' | 'x' | 'X' | 'o' | 'b') => Ok(parsed.pad(&parsed.int(i, k), true)),
                k @ ('e' | 'E' | 'f' | 'F' | 'g' | 'G' | '%') => {
                    Ok(parsed.pad(&parsed.float(value.as_f64().unwrap_or(0.0), k), true))
                }
                'c' => Ok(parsed.pad(&character(i)?, false)),
                k => Err(unknown(k)),
            }
        }
        (Value::Float(f), kind) => match kind {
            Some(k @ ('e' | 'E' | 'f' | 'F' | 'g' | 'G' | '%')) => Ok(parsed.pad(&parsed.float(*f, k), true)),
            Some('n') => Ok(parsed.pad(&parsed.float(*f, 'g'), true)),
            None if parsed.precision.is_some() => Ok(parsed.pad(&parsed.float(*f, 'g'), true)),
            None => {
                let digits = super::value::float_text(f.abs());
                Ok(parsed.pad(&parsed.signed(*f < 0.0, &parsed.grouped(&digits)), true))
            }
            Some(k) => Err(unknown(k)),
        },
        (_, Some(kind)) if matches!(value, Value::Str(_)) => Err(unknown(kind)),
        _ => Err(fail(format!(
            "unsupported format string passed to {}.__format__",
            value.type_name()
        ))),
    }
}

fn character(i: i128) -> Res<String> {
    let c = u32::try_from(i).ok().and_then(char::from_u32);
    c.map(String::from).ok_or_else(|| fail("%c arg not in range(0x110000)"))
}

/// `'{} {name:>5}'.format(...)`.
pub(crate) fn str_format(ctx: &Ctx, template: &str, args: &Args) -> Res<String> {
    let mut automatic = Numbering::Open;
    format_fields(ctx, template, args, &mut automatic, 0)
}

/// Whether `{}` or `{0}` came first; they do not mix.
enum Numbering {
    Open,
    Automatic(usize),
    Manual,
}

fn format_fields(ctx: &Ctx, template: &str, args: &Args, automatic: &mut Numbering, depth: usize) -> Res<String> {
    if depth > 2 {
        return Err(fail("max string recursion exceeded"));
    }
    let mut out = String::new();
    let mut rest = template;
    while let Some(i) = rest.find(['{', '}']) {
        out.push_str(&rest[..i]);
        let brace = &rest[i..=i];
        rest = &rest[i + 1..];
        if rest.starts_with(brace) {
            out.push_str(brace);
            rest = &rest[1..];
            continue;
        }
        if brace == "}" {
            return Err(fail("single '}' encountered in format string"));
        }
        let mut level = 1;
        let end = rest.char_indices().find_map(|(i, c)| {
            match c {
                '{' => level += 1,
                '}' => level -= 1,
                _ => {}
            }
            (level == 0).then_some(i)
        });
        let end = end.ok_or_else(|| fail("expected '}' before end of string"))?;
        let field = &rest[..end];
        rest = &rest[end + 1..];
        let (field, spec) = field.split_once(':').unwrap_or((field, ""));
        let (path, conversion) = field.split_once('!').map_or((field, None), |(p, c)| (p, Some(c)));
        let name_end = path.find(['.', '[']).unwrap_or(path.len());
        let (name, mut steps) = path.split_at(name_end);
        let positional = |i: usize| {
            (args.pos.get(i).cloned())
                .ok_or_else(|| fail(format!("replacement index {i} out of range for positional args tuple")))
        };
        let mut value = if name.is_empty() {
            let i = match automatic {
                Numbering::Open => 0,
                Numbering::Automatic(i) => *i + 1,
                Numbering::Manual => {
                    return Err(fail(
                        "cannot switch from manual field specification to automatic field numbering",
                    ));
                }
            };
            *automatic = Numbering::Automatic(i);
            positional(i)?
        } else if let Ok(i) = name.parse::<usize>() {
            if let Numbering::Automatic(_) = automatic {
                return Err(fail(
                    "cannot switch from automatic field numbering to manual field specification",
                ));
            }
            *automatic = Numbering::Manual;
            positional(i)?
        } else {
            let found = args.kw.iter().find(|(n, _)| &**n == name);
            found
                .map(|(_, v)| v.clone())
                .ok_or_else(|| fail(format!("the format string names `{name}`, which was not given")))?
        };
        while !steps.is_empty() {
            let (key, tail) = if let Some(attr) = steps.strip_prefix('.') {
                attr.split_at(attr.find(['.', '[']).unwrap_or(attr.len()))
            } else {
                let inner = &steps[1..];
                let end = inner.find(']').ok_or_else(|| fail("missing ']' in format string"))?;
                (&inner[..end], &inner[end + 1..])
            };
            let next = match &value {
                Value::Dict(d) => d.get(ctx, &Key::Str(key.into())),
                Value::List(_) | Value::Tuple(_) => key
                    .parse::<usize>()
                    .ok()
                    .and_then(|i| value.iterate(ctx).ok()?.get(i).cloned()),
                Value::Object(o) => o.attr(ctx, key),
                _ => None,
            };
            value = next.ok_or_else(|| fail(format!("the format string asks for `{key}`, which is not there")))?;
            steps = tail;
        }
        value.check()?;
        let value = match conversion {
            None => value,
            Some("s") => Value::Str(value.text(ctx)?),
            Some("r" | "a") => value.repr(ctx)?.into(),
            Some(other) => return Err(fail(format!("unknown conversion specifier '{other}'"))),
        };
        let spec = if spec.contains('{') {
            format_fields(ctx, spec, args, automatic, depth + 1)?
        } else {
            spec.to_owned()
        };
        out.push_str(&format_value(ctx, &value, &spec)?);
    }
    out.push_str(rest);
    Ok(out)
}

/// `'%s of %d' % (...)`.
pub(crate) fn percent_format(ctx: &Ctx, template: &str, args: &Value) -> Res<String> {
    let values: Vec<Value> = match args {
        Value::Tuple(t) => t.to_vec(),
        other => vec![other.clone()],
    };
    let mut next = 0;
    let mut by_name = false;
    let mut out = String::new();
    let mut chars = template.chars().peekable();
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        let mut value = None;
        if chars.peek() == Some(&'(') {
            chars.next();
            let name: String = chars.by_ref().take_while(|c| *c != ')').collect();
            let Value::Dict(d) = args else {
                return Err(fail("format requires a mapping"));
            };
            by_name = true;
            value = Some(
                d.get(ctx, &Key::Str(name.as_str().into()))
                    .ok_or_else(|| fail(format!("the format string names `{name}`, which was not given")))?,
            );
        }
        let mut take = || {
            next += 1;
            values
                .get(next - 1)
                .cloned()
                .ok_or_else(|| fail("not enough arguments for format string"))
        };
        let mut spec = Spec::default();
        while let Some(flag) = chars.next_if(|c| "-+ 0#".contains(*c)) {
            match flag {
                '-' => spec.align = Some('<'),
                '0' => spec.zero = true,
                '#' => spec.alternate = true,
                sign => spec.sign = Some(sign),
            }
        }
        let mut number = |chars: &mut std::iter::Peekable<std::str::Chars<'_>>| -> Res<Option<i128>> {
            if chars.next_if_eq(&'*').is_some() {
                return Ok(take()?.as_int());
            }
            let mut n = None;
            while let Some(d) = chars.peek().and_then(|c| c.to_digit(10)) {
                n = Some((n.unwrap_or(0) * 10 + i128::from(d)).min(1_000_000));
                chars.next();
            }
            Ok(n)
        };
        if let Some(width) = number(&mut chars)? {
            if width < 0 {
                spec.align = Some('<');
            }
            spec.width = usize::try_from(width.abs()).unwrap_or(0);
        }
        if chars.next_if_eq(&'.').is_some() {
            spec.precision = Some(usize::try_from(number(&mut chars)?.unwrap_or(0)).unwrap_or(0));
        }
        while chars.next_if(|c| "hlL".contains(*c)).is_some() {}
        let kind = chars.next().ok_or_else(|| fail("incomplete format"))?;
        if kind == '%' {
            out.push('%');
            continue;
        }
        let value = match value {
            Some(value) => value,
            None => take()?,
        };
        value.check()?;
        let need_number = || {
            fail(format!(
                "%{kind} format: a real number is required, not {}",
                value.type_name()
            ))
        };
        let text = match kind {
            's' | 'r' | 'a' => {
                let text = if kind == 's' {
                    value.text(ctx)?.to_string()
                } else {
                    value.repr(ctx)?
                };
                spec.zero = false;
                spec.align = spec.align.or(Some('>'));
                let cut: String = text.chars().take(spec.precision.unwrap_or(usize::MAX)).collect();
                spec.pad(&cut, false)
            }
            'd' | 'i' | 'u' => {
                #[allow(clippy::cast_possible_truncation)]
                let i = match &value {
                    Value::Float(f) => *f as i128,
                    other => other.as_int().ok_or_else(need_number)?,
                };
                if spec.align == Some('<') {
                    spec.zero = false;
                }
                spec.pad(&spec.int(i, 'd'), true)
            }
            'x' | 'X' | 'o' => {
                let i = value.as_int().ok_or_else(need_number)?;
                if spec.align == Some('<') {
                    spec.zero = false;
                }
                spec.pad(&spec.int(i, kind), true)
            }
            'e' | 'E' | 'f' | 'F' | 'g' | 'G' => {
                let f = value.as_f64().ok_or_else(need_number)?;
                if spec.align == Some('<') {
                    spec.zero = false;
                }
                spec.pad(&spec.float(f, kind), true)
            }
            'c' => {
                let text = match &value {
                    Value::Str(s) => s.to_string(),
                    other => character(other.as_int().ok_or_else(need_number)?)?,
                };
                spec.align = spec.align.or(Some('>'));
                spec.pad(&text, false)
            }
            other => return Err(fail(format!("unsupported format character '{other}'"))),
        };
        out.push_str(&text);
    }
    if next < values.len() && !by_name && !matches!(args, Value::Dict(_)) {
        return Err(fail("not all arguments converted during string formatting"));
    }
    Ok(out)
}
