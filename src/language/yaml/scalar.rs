//! Plain scalars as PyYAML's `SafeLoader` resolves them (YAML 1.1, its `resolver.py` and `constructor.py`):
//! `yes` is a boolean, `0644` octal, `1:30` ninety, `1e3` a string. Timestamps stay strings.

use crate::language::{Text, Yaml};

/// What a plain (unquoted, untagged) scalar means.
pub fn resolve(text: &str) -> Yaml {
    if let Some(value) = null(text) {
        return value;
    }
    if let Some(value) = boolean(text) {
        return Yaml::Bool(value);
    }
    if let Some(value) = float(text) {
        return Yaml::Float(value);
    }
    match integer(text) {
        Some(Integer::Small(value)) => Yaml::Int(value),
        // Python's integers have no end; ours keep the digits. As text they are the same (`kernel.shmmax`).
        Some(Integer::Large(digits)) => string(digits, false),
        None => string(text, false),
    }
}

fn string(value: impl Into<String>, quoted: bool) -> Yaml {
    Yaml::Str(Text {
        value: value.into(),
        quoted,
        raw: false,
    })
}

fn null(text: &str) -> Option<Yaml> {
    matches!(text, "" | "~" | "null" | "Null" | "NULL").then_some(Yaml::Null)
}

/// Not `y` and `n`: YAML 1.1 has them, PyYAML does not.
pub fn boolean(text: &str) -> Option<bool> {
    match text {
        "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => Some(true),
        "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => Some(false),
        _ => None,
    }
}

#[derive(Debug, PartialEq)]
pub enum Integer {
    Small(i64),
    /// Decimal digits of a number beyond 64 bits.
    Large(String),
}

pub fn integer(text: &str) -> Option<Integer> {
    let (negative, digits) = sign(text);
    let value = if let Some(rest) = digits.strip_prefix("0b") {
        radix(rest, 2)?
    } else if let Some(rest) = digits.strip_prefix("0x") {
        radix(rest, 16)?
    } else if digits == "0" {
        0
    } else if let Some(rest) = digits.strip_prefix('0') {
        radix(&format!("0{rest}"), 8).filter(|_| !rest.is_empty())?
    } else if digits.starts_with(|c: char| c.is_ascii_digit()) {
        if digits.contains(':') {
            sexagesimal_integer(digits)?
        } else {
            match radix(digits, 10) {
                Some(value) => value,
                None if digits.bytes().all(|b| b.is_ascii_digit() || b == b'_') => {
                    let plain = digits.replace('_', "");
                    return Some(Integer::Large(format!("{}{plain}", if negative { "-" } else { "" })));
                }
                None => return None,
            }
        }
    } else {
        return None;
    };
    let value = if negative { -value } else { value };
    Some(match i64::try_from(value) {
        Ok(value) => Integer::Small(value),
        Err(_) => Integer::Large(value.to_string()),
    })
}

fn sign(text: &str) -> (bool, &str) {
    match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    }
}

fn radix(digits: &str, radix: u32) -> Option<i128> {
    let plain = digits.replace('_', "");
    // `from_str_radix` would take a sign.
    if plain.starts_with(['+', '-']) {
        return None;
    }
    i128::from_str_radix(&plain, radix).ok()
}

/// `1:30` = 90: digits in base 60, each after the first below 60.
fn sexagesimal_integer(digits: &str) -> Option<i128> {
    let mut parts = digits.split(':');
    let mut value = radix(parts.next()?, 10)?;
    for part in parts {
        value = value.checked_mul(60)?.checked_add(i128::from(sixtieth(part)?))?;
    }
    Some(value)
}

fn sixtieth(part: &str) -> Option<u8> {
    let plain = matches!(part.len(), 1 | 2) && part.bytes().all(|b| b.is_ascii_digit());
    part.parse::<u8>().ok().filter(|n| plain && *n < 60)
}

pub fn float(text: &str) -> Option<f64> {
    if matches!(text, ".nan" | ".NaN" | ".NAN") {
        return Some(f64::NAN);
    }
    let (negative, rest) = sign(text);
    let signed = rest.len() != text.len();
    let value = if matches!(rest, ".inf" | ".Inf" | ".INF") {
        f64::INFINITY
    } else if rest.contains(':') {
        sexagesimal_float(rest)?
    } else {
        let (mantissa, exponent) = match rest.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, Some(exponent)),
            None => (rest, None),
        };
        let (whole, fraction) = mantissa.split_once('.')?;
        let digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit() || b == b'_');
        let starts = |s: &str| s.starts_with(|c: char| c.is_ascii_digit());
        // `.5` may not carry a sign, and wants a digit first.
        let shaped = (starts(whole) || (whole.is_empty() && starts(fraction) && !signed)) && digits(whole);
        if !shaped || !digits(fraction) || exponent.is_some_and(|e| !is_exponent(e)) {
            return None;
        }
        rest.replace('_', "").parse().ok()?
    };
    Some(if negative { -value } else { value })
}

/// PyYAML wants the sign: `1.0e3` is a string, `1.0e+3` a number.
fn is_exponent(text: &str) -> bool {
    text.strip_prefix(['+', '-'])
        .is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()))
}

fn sexagesimal_float(digits: &str) -> Option<f64> {
    let (whole, fraction) = digits.split_once('.')?;
    if !whole.starts_with(|c: char| c.is_ascii_digit()) || !fraction.bytes().all(|b| b.is_ascii_digit() || b == b'_') {
        return None;
    }
    let mut parts = whole.split(':');
    let mut value = parts.next()?.replace('_', "").parse::<f64>().ok()?;
    for part in parts {
        value = value * 60.0 + f64::from(sixtieth(part)?);
    }
    let fraction: f64 = format!("0.{}0", fraction.replace('_', "")).parse().ok()?;
    Some(value + fraction)
}
