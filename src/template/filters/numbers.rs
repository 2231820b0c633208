//! Filters on numbers, sizes and truth.

use super::{Filter, filter, flag, required, text_of, with_markers};
use crate::template::eval::Ctx;
use crate::template::fault::{Res, fail};
use crate::template::python::random::Random;
use crate::template::python::{parse_float, parse_int};
use crate::template::value::{Args, Value};
use crate::template::{ErrorKind, Outside, globals};
use std::sync::atomic::Ordering;

pub(super) const FILTERS: &[Filter] = &[
    with_markers("default", |_, v, args| {
        let [default, boolean] = args.bind("default", ["default_value", "boolean"])?;
        let default = default.unwrap_or_else(|| "".into());
        match &v {
            Value::Marker(fault) if fault.is_undefined() => Ok(default),
            Value::Marker(_) => Ok(v),
            _ if flag(boolean)? && !v.truthy()? => Ok(default),
            _ => Ok(v),
        }
    }),
    with_markers("mandatory", |ctx, v, args| {
        let [message] = args.bind("mandatory", ["msg"])?;
        match &v {
            Value::Marker(fault) if fault.is_undefined() => Err(match (message, &fault.kind) {
                (Some(message), _) => fail(message.text(ctx)?.to_string()),
                (None, ErrorKind::Undefined(name)) => {
                    let mut fault = (**fault).clone();
                    fault.message = format!("mandatory variable `{name}` is not defined");
                    std::rc::Rc::new(fault)
                }
                (None, _) => fault.clone(),
            }),
            _ => Ok(v),
        }
    }),
    with_markers("ternary", |_, v, args| {
        let [yes, no, none] = args.bind("ternary", ["true_val", "false_val", "none_val"])?;
        let (yes, no) = (required(yes, "true_val")?, required(no, "false_val")?);
        match (&v, none) {
            (Value::None, Some(none)) if !matches!(none, Value::None) => Ok(none),
            _ => Ok(if v.truthy()? { yes } else { no }),
        }
    }),
    filter("bool", |_, v, _| {
        Ok(Value::Bool(match &v {
            Value::Bool(b) => *b,
            Value::Str(s) => matches!(s.to_lowercase().as_str(), "yes" | "on" | "true" | "1"),
            other => other.as_f64() == Some(1.0),
        }))
    }),
    with_markers("type_debug", |_, v, _| {
        Ok(match &v {
            Value::Marker(_) => "UndefinedMarker".into(),
            other => other.type_name().into(),
        })
    }),
    filter("int", |_, v, args| {
        let [default, base] = args.bind("int", ["default", "base"])?;
        let default = default.unwrap_or(Value::Int(0));
        let base = base
            .and_then(|b| b.as_int())
            .and_then(|b| u32::try_from(b).ok())
            .unwrap_or(10);
        #[allow(clippy::cast_possible_truncation)]
        let whole = |f: f64| f.is_finite().then_some(Value::Int(f as i128));
        Ok(match &v {
            Value::Str(s) => match parse_int(s, base) {
                Some(i) => Value::Int(i),
                None => parse_float(s).and_then(whole).unwrap_or(default),
            },
            Value::Float(f) => whole(*f).unwrap_or(default),
            other => other.as_int().map_or(default, Value::Int),
        })
    }),
    filter("float", |_, v, args| {
        let [default] = args.bind("float", ["default"])?;
        let number = match &v {
            Value::Str(s) => parse_float(s),
            other => other.as_f64(),
        };
        Ok(number.map_or_else(|| default.unwrap_or(Value::Float(0.0)), Value::Float))
    }),
    filter("abs", |_, v, _| match (&v, v.as_int()) {
        (Value::Float(f), _) => Ok(Value::Float(f.abs())),
        (_, Some(i)) => Ok(Value::Int(i.abs())),
        _ => Err(fail(format!("bad operand type for abs(): '{}'", v.type_name()))),
    }),
    filter("round", round),
    filter("log", |_, v, args| {
        let [base] = args.bind("log", ["base"])?;
        let (x, base) = (number(&v)?, base.map(|b| number(&b)).transpose()?);
        if x <= 0.0 {
            return Err(fail("math domain error"));
        }
        Ok(Value::Float(match base {
            None => x.ln(),
            Some(10.0) => x.log10(),
            Some(b) => x.ln() / b.ln(),
        }))
    }),
    filter("pow", |_, v, args| {
        let [y] = args.bind("pow", ["y"])?;
        Ok(Value::Float(number(&v)?.powf(number(&required(y, "y")?)?)))
    }),
    filter("root", |_, v, args| {
        let [base] = args.bind("root", ["base"])?;
        let (x, base) = (number(&v)?, base.map_or(Ok(2.0), |b| number(&b))?);
        #[allow(clippy::float_cmp)]
        let root = if base == 2.0 { x.sqrt() } else { x.powf(1.0 / base) };
        if root.is_nan() {
            Err(fail("math domain error"))
        } else {
            Ok(Value::Float(root))
        }
    }),
    filter("human_readable", human_readable),
    filter("human_to_bytes", human_to_bytes),
    filter("filesizeformat", |_, v, args| {
        let [binary] = args.bind("filesizeformat", ["binary"])?;
        let bytes = number(&v)?;
        let binary = flag(binary)?;
        let base: f64 = if binary { 1024.0 } else { 1000.0 };
        if bytes == 1.0 {
            return Ok("1 Byte".into());
        }
        if bytes < base {
            return Ok(format!("{bytes:.0} Bytes").into());
        }
        let mut unit = base;
        let mut name = 'k';
        for prefix in ['k', 'M', 'G', 'T', 'P', 'E', 'Z', 'Y'] {
            name = prefix;
            unit *= base;
            if bytes < unit {
                break;
            }
        }
        let name = if binary {
            format!("{}iB", name.to_ascii_uppercase())
        } else {
            format!("{name}B")
        };
        Ok(format!("{:.1} {name}", base * bytes / unit).into())
    }),
    filter("random", random),
    filter("shuffle", |ctx, v, args| {
        let [seed] = args.bind("shuffle", ["seed"])?;
        let mut items = v.iterate(ctx)?;
        generator(ctx, seed)?.shuffle(&mut items);
        Ok(Value::list(items))
    }),
    filter("strftime", |ctx, v, args| {
        let [second, utc] = args.bind("strftime", ["second", "utc"])?;
        let second = second.filter(|s| !matches!(s, Value::None));
        if second.is_none() {
            ctx.outside(Outside::Look)?;
        }
        let mut when = (ctx.inner.settings.clock)();
        if let Some(second) = second {
            let seconds = match &second {
                Value::Str(s) => parse_float(s),
                other => other.as_f64(),
            };
            let seconds = seconds.ok_or_else(|| fail("invalid value for epoch value"))?;
            #[allow(clippy::cast_possible_truncation)]
            let stamp = jiff::Timestamp::from_second(seconds.floor() as i64).map_err(|e| fail(e.to_string()))?;
            when = stamp.to_zoned(when.time_zone().clone());
        }
        if flag(utc)? {
            when = when.with_time_zone(jiff::tz::TimeZone::UTC);
        }
        Ok(globals::strftime(&when, &v.text(ctx)?)?.into())
    }),
];

pub(super) fn number(v: &Value) -> Res<f64> {
    v.as_f64()
        .ok_or_else(|| fail(format!("needs a number, not a value of type {}", v.type_name())))
}

/// Python's `round`, `math.ceil` or `math.floor` to a number of digits.
#[allow(clippy::cast_possible_truncation)]
fn round(ctx: &Ctx, v: Value, args: Args) -> Res<Value> {
    let [precision, method] = args.bind("round", ["precision", "method"])?;
    let precision = precision
        .map_or(Some(0), |p| p.as_int())
        .and_then(|p| i32::try_from(p).ok());
    let precision = precision.ok_or_else(|| fail("`precision` must be an integer"))?;
    let x = number(&v)?;
    match &*text_of(ctx, method, "common")? {
        "common" => {
            if let Some(i) = v.as_int() {
                let unit = 10i128
                    .checked_pow(u32::try_from(-precision).unwrap_or(0))
                    .unwrap_or(i128::MAX);
                let down = i.div_euclid(unit) * unit;
                let rest = i - down;
                // Half goes to the even neighbour.
                let up = rest * 2 > unit || (rest * 2 == unit && (down / unit) % 2 != 0);
                return Ok(Value::Int(if precision >= 0 {
                    i
                } else if up {
                    down + unit
                } else {
                    down
                }));
            }
            let digits = usize::try_from(precision).unwrap_or(0);
            if precision >= 0 {
                Ok(Value::Float(format!("{x:.digits$}").parse().unwrap_or(x)))
            } else {
                let unit = 10f64.powi(-precision);
                Ok(Value::Float((x / unit).round_ties_even() * unit))
            }
        }
        "ceil" => Ok(Value::Float((x * 10f64.powi(precision)).ceil() / 10f64.powi(precision))),
        "floor" => Ok(Value::Float(
            (x * 10f64.powi(precision)).floor() / 10f64.powi(precision),
        )),
        _ => Err(fail("method must be common, ceil or floor")),
    }
}

const UNITS: [(char, f64); 8] = [
    ('Y', 1_208_925_819_614_629_174_706_176.0),
    ('Z', 1_180_591_620_717_411_303_424.0),
    ('E', 1_152_921_504_606_846_976.0),
    ('P', 1_125_899_906_842_624.0),
    ('T', 1_099_511_627_776.0),
    ('G', 1_073_741_824.0),
    ('M', 1_048_576.0),
    ('K', 1024.0),
];

fn human_readable(ctx: &Ctx, v: Value, args: Args) -> Res<Value> {
    let [bits, unit] = args.bind("human_readable", ["isbits", "unit"])?;
    let size = number(&v).map_err(|_| fail("human_readable() failed on bad input"))?;
    let base = if flag(bits)? { "bits" } else { "Bytes" };
    let unit = match unit {
        Some(Value::Str(u)) => Some(u.to_string()),
        _ => None,
    };
    let _ = ctx;
    let found = UNITS.iter().find(|(name, limit)| match &unit {
        None => size >= *limit,
        Some(u) => u.chars().next().is_some_and(|c| c.to_ascii_uppercase() == *name),
    });
    let (suffix, limit) = match found {
        Some((name, limit)) => (format!("{name}{}", &base[..1]), *limit),
        None => (base.to_owned(), 1.0),
    };
    Ok(format!("{:.2} {suffix}", size / limit).into())
}

fn human_to_bytes(ctx: &Ctx, v: Value, args: Args) -> Res<Value> {
    let [default_unit, bits] = args.bind("human_to_bytes", ["default_unit", "isbits"])?;
    let bits = flag(bits)?;
    let text = v.text(ctx)?;
    let bad = || fail("this is no size in bytes or bits; write a number and a unit, such as `10G`");
    let trimmed = text.trim_start();
    let end = trimmed
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(trimmed.len());
    let (digits, unit) = trimmed.split_at(end);
    let number: f64 = digits.parse().map_err(|_| bad())?;
    let unit = match unit.trim() {
        "" => text_of(ctx, default_unit, "")?.to_string(),
        u => u.to_owned(),
    };
    #[allow(clippy::cast_possible_truncation)]
    let whole = |f: f64| Value::Int(f.round_ties_even() as i128);
    if unit.is_empty() {
        return Ok(whole(number));
    }
    let letter = unit.chars().next().unwrap_or(' ').to_ascii_uppercase();
    let word = unit.to_ascii_lowercase();
    let plain = if bits {
        ["b", "bit", "bits"]
    } else {
        ["b", "byte", "bytes"]
    };
    if letter == 'B' {
        // `b` alone says bits, `B` bytes.
        let fits = plain.contains(&word.as_str()) && (word != "b" || (unit == "b") == bits);
        return if fits { Ok(whole(number)) } else { Err(bad()) };
    }
    let (_, limit) = UNITS.iter().find(|(name, _)| *name == letter).ok_or_else(bad)?;
    let rest = &unit[1..];
    let fits = match rest.to_ascii_lowercase().as_str() {
        "" => true,
        "b" => (rest == "b") == bits,
        // `Megabyte`, `gigabits`: any word that ends in the right unit.
        long => {
            long.ends_with(if bits { "bit" } else { "byte" }) || long.ends_with(if bits { "bits" } else { "bytes" })
        }
    };
    if fits { Ok(whole(number * limit)) } else { Err(bad()) }
}

/// The generator of an explicit seed, or the next one of the run.
fn generator(ctx: &Ctx, seed: Option<Value>) -> Res<Random> {
    Ok(match seed {
        None | Some(Value::None) => {
            let n = ctx.inner.draws.fetch_add(1, Ordering::Relaxed);
            Random::from_text(&format!("{}/{n}", ctx.inner.settings.seed))
        }
        Some(seed) => match seed.as_int() {
            Some(i) => Random::from_int(i),
            None => Random::from_text(&seed.text(ctx)?),
        },
    })
}

fn random(ctx: &Ctx, v: Value, args: Args) -> Res<Value> {
    let [start, step, seed] = args.bind("random", ["start", "step", "seed"])?;
    let mut generator = generator(ctx, seed)?;
    let int = |v: Option<Value>, default: i128| v.and_then(|v| v.as_int()).filter(|i| *i != 0).unwrap_or(default);
    if let Some(end) = v.as_int() {
        let (start, step) = (int(start, 0), int(step, 1));
        let width = end - start;
        let count = if step > 0 {
            (width + step - 1) / step
        } else {
            (width + step + 1) / step
        };
        let count = u64::try_from(count).ok().filter(|c| *c > 0);
        let count = count.ok_or_else(|| fail("empty range for random"))?;
        return Ok(Value::Int(start + step * i128::from(generator.below(count))));
    }
    if start.is_some() || step.is_some() {
        return Err(fail("start and step can only be used with integer values"));
    }
    let items = v
        .iterate(ctx)
        .map_err(|_| fail("random can only be used on sequences and integers"))?;
    if items.is_empty() {
        return Err(fail("cannot choose from an empty sequence"));
    }
    let i = usize::try_from(generator.below(items.len() as u64)).unwrap_or(0);
    Ok(items[i].clone())
}
