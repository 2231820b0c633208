//! Whether a value is one of its key's type: the same answer as the node's own datatypes and validators give
//! (`tests/rabbitmq_conf/verdicts.tsv` has what nodes said).

use super::schema::{Format, Shape, Type};
use std::net::IpAddr;

/// Why `value` does not fit, in words that end a sentence: "must be ...". `None`: it fits.
pub fn mismatch(shape: &Shape, value: &str) -> Option<String> {
    let reasons: Vec<String> = shape.types.iter().map_while(|t| one(t, value)).collect();
    if reasons.len() == shape.types.len() {
        return Some(reasons.join(" or "));
    }
    // A number fits whatever is asked of texts.
    if shape.types.iter().any(|t| matches!(t, Type::Int { .. })) && integer(value).is_some() {
        return None;
    }
    shape.format.and_then(|format| text(format, value))
}

fn one(wanted: &Type, value: &str) -> Option<String> {
    let says = |fits: bool, what: &str| (!fits).then(|| what.to_owned());
    match wanted {
        Type::Text | Type::Atom | Type::List | Type::File => None,
        Type::Int { min, max } => says(
            integer(value).is_some_and(|n| within(n, *min, *max)),
            &format!("a whole number{}", limits(*min, *max)),
        ),
        Type::Float { unit } => {
            let what = if *unit {
                "a number with a dot, above 0 and below 1"
            } else {
                "a number with a dot, such as `0.6`"
            };
            says(float(value).is_some_and(|n| !unit || (n > 0.0 && n < 1.0)), what)
        }
        Type::Bool => says(matches!(value, "true" | "false"), "`true` or `false`"),
        Type::Flag => says(matches!(value, "on" | "off"), "`on` or `off`"),
        Type::Enum(words) => {
            let list: Vec<String> = words.iter().map(|w| format!("`{w}`")).collect();
            says(words.contains(&value), &any_of(&list))
        }
        Type::Word(word) => says(value == *word, &format!("`{word}`")),
        Type::Ip => says(address_and_port(value), "`ADDRESS:PORT` with a literal address"),
        Type::Socket => says(
            ["local:", "unix:"].iter().any(|p| value.starts_with(p)),
            "`local:PATH:0`",
        ),
        Type::Bytes { min, max } => says(
            bytes(value).is_some_and(|n| within(n, *min, *max)),
            &format!(
                "a number of bytes, or one with `KB`, `MB` or `GB`{}",
                limits(*min, *max)
            ),
        ),
        Type::Duration => says(duration(value), "a duration such as `500ms`, `30s` or `2h`"),
    }
}

fn text(format: Format, value: &str) -> Option<String> {
    let says = |fits: bool, what: &str| (!fits).then(|| what.to_owned());
    match format {
        // Whether they are there, only their node can tell; that they are given, anyone can.
        Format::File | Format::Dir => None,
        Format::Address => says(is_address(value), "a literal IPv4 or IPv6 address"),
        Format::Regex => says(!value.is_empty(), "a regular expression"),
        Format::Https => says(value.starts_with("https://"), "a URL that begins with `https://`"),
        // What the schema takes; what the node can use of it is another matter (`advice.rs`).
        Format::Unit => says(
            looks_like_a_size(value),
            "a number of bytes, or one with a unit such as `MB` or `GiB`",
        ),
    }
}

fn any_of(words: &[String]) -> String {
    match words {
        [] => String::new(),
        [one] => one.clone(),
        [first @ .., last] => format!("{} or {last}", first.join(", ")),
    }
}

fn limits(min: Option<i64>, max: Option<i64>) -> String {
    match (min, max) {
        (Some(min), Some(max)) => format!(" from {min} to {max}"),
        (Some(min), None) => format!(", {min} or more"),
        (None, Some(max)) => format!(", {max} at most"),
        (None, None) => String::new(),
    }
}

fn within(n: i64, min: Option<i64>, max: Option<i64>) -> bool {
    min.is_none_or(|min| n >= min) && max.is_none_or(|max| n <= max)
}

fn digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

/// As Erlang's `list_to_integer`: a sign, then digits. One too large for 64 bits is the largest.
pub fn integer(text: &str) -> Option<i64> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    digits(unsigned).then(|| {
        let n = unsigned.parse().unwrap_or(i64::MAX);
        if text.starts_with('-') { -n } else { n }
    })
}

/// As Erlang's `list_to_float`: digits on both sides of a dot.
pub fn float(text: &str) -> Option<f64> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let (whole, rest) = unsigned.split_once('.')?;
    let (fraction, exponent) = match rest.split_once(['e', 'E']) {
        Some((fraction, exponent)) => (fraction, Some(exponent)),
        None => (rest, None),
    };
    let fits = digits(whole) && digits(fraction) && exponent.is_none_or(|e| integer(e).is_some());
    fits.then(|| text.parse().ok()).flatten()
}

/// cuttlefish's byte sizes: powers of 1024, both letters in one case.
pub fn bytes(text: &str) -> Option<i64> {
    let units = [("kb", 10), ("KB", 10), ("mb", 20), ("MB", 20), ("gb", 30), ("GB", 30)];
    let (number, shift) = units
        .iter()
        .find_map(|(unit, shift)| Some((text.strip_suffix(unit)?, *shift)))
        .unwrap_or((text, 0));
    integer(number)?.checked_mul(1 << shift)
}

fn is_address(text: &str) -> bool {
    // Erlang's reader takes the short forms of IPv4 too: `127.1`, `0`.
    let short = || {
        let parts: Vec<&str> = text.split('.').collect();
        parts.len() <= 4 && parts.iter().all(|p| digits(p))
    };
    text.parse::<IpAddr>().is_ok() || short()
}

/// Ends with a unit, in any case, and has something of a number before it (asked on 4.0.5).
fn looks_like_a_size(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    let front = lower.strip_suffix('b').unwrap_or(&lower);
    let front = front.strip_suffix('i').unwrap_or(front);
    let number = front.strip_suffix(['k', 'm', 'g', 't', 'p']);
    number.is_some_and(|n| n.bytes().any(|b| b.is_ascii_digit()) && !n.contains(' '))
}

fn address_and_port(text: &str) -> bool {
    text.rsplit_once(':')
        .is_some_and(|(address, port)| digits(port) && is_address(address))
}

fn duration(text: &str) -> bool {
    let mut rest = text;
    while !rest.is_empty() {
        let number = rest.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
        let unit = ["ms", "s", "m", "h", "d", "w", "f"]
            .iter()
            .find(|u| number.starts_with(**u));
        let Some(unit) = unit.filter(|_| number.len() < rest.len()) else {
            return false;
        };
        rest = number.get(unit.len()..).unwrap_or_default();
    }
    !text.is_empty()
}
