//! What Ansible's filters take from Python's standard library and from PyYAML.

pub(crate) mod json;
pub(crate) mod random;
pub(crate) mod regex;
pub(crate) mod version;
pub(crate) mod yaml;

/// Ansible's words for true and false.
pub(crate) fn boolean(text: &str) -> Option<bool> {
    match text.to_lowercase().as_str() {
        "yes" | "on" | "true" | "1" | "y" | "t" => Some(true),
        "no" | "off" | "false" | "0" | "n" | "f" => Some(false),
        _ => None,
    }
}

/// Python's `int(text, base)`.
pub(crate) fn parse_int(text: &str, base: u32) -> Option<i128> {
    let t = text.trim();
    let (negative, digits) = match t.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, t.strip_prefix('+').unwrap_or(t)),
    };
    let prefix = |p: &str| {
        digits
            .get(..2)
            .filter(|d| d.eq_ignore_ascii_case(p))
            .map(|_| &digits[2..])
    };
    let (base, digits) = match base {
        0 => match (prefix("0x"), prefix("0o"), prefix("0b")) {
            (Some(d), _, _) => (16, d),
            (_, Some(d), _) => (8, d),
            (_, _, Some(d)) => (2, d),
            _ => (10, digits),
        },
        16 => (16, prefix("0x").unwrap_or(digits)),
        8 => (8, prefix("0o").unwrap_or(digits)),
        2 => (2, prefix("0b").unwrap_or(digits)),
        other => (other, digits),
    };
    let digits = digits
        .strip_prefix('_')
        .filter(|_| digits.len() < t.len())
        .unwrap_or(digits);
    let fine = !digits.is_empty()
        && !digits.starts_with('_')
        && !digits.ends_with('_')
        && !digits.contains("__")
        && digits.chars().all(|c| c == '_' || c.is_digit(base));
    if !fine || !(2..=36).contains(&base) {
        return None;
    }
    let n = i128::from_str_radix(&digits.replace('_', ""), base).ok()?;
    Some(if negative { -n } else { n })
}

/// Python's `float(text)`.
pub(crate) fn parse_float(text: &str) -> Option<f64> {
    let t = text.trim();
    let plain = t.trim_start_matches(['+', '-']).to_ascii_lowercase();
    match plain.as_str() {
        "inf" | "infinity" | "nan" => {}
        _ if !plain.starts_with(|c: char| c.is_ascii_digit() || c == '.') => return None,
        _ => {}
    }
    t.replace('_', "").parse().ok()
}
