//! Host names as inventories write them: an optional `:port`, and ranges such as `mq[01:10]` or `[a:c]`.

use std::net::Ipv6Addr;

/// More hosts than this from one entry is a mistake in a range, not a fleet.
const MAX_EXPANSION: usize = 1_000_000;

/// A host name (maybe with ranges) and the port written after it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Address<'a> {
    pub host: &'a str,
    pub port: Option<u32>,
}

/// Takes a name and its `:port` apart, as Ansible's `parse_address(allow_ranges=True)`; `None` if what is left
/// is neither a host name nor an IP address. `[name]:port` is how an IPv6 address is given a port.
pub(super) fn parse(text: &str) -> Option<Address<'_>> {
    let mut host = text;
    let mut port = None;
    if let Some((inner, number)) = split_port(host)
        && let Some(inner) = inner.strip_prefix('[').and_then(|s| s.strip_suffix(']'))
        && !inner.is_empty()
    {
        (host, port) = (inner, Some(number));
    }
    if let Some((inner, number)) = split_port(host)
        && only_in_brackets(inner, ':')
    {
        (host, port) = (inner, Some(number));
    }
    (is_host_name(host) || is_ipv6(host)).then_some(Address { host, port })
}

fn split_port(text: &str) -> Option<(&str, u32)> {
    let (host, port) = text.rsplit_once(':')?;
    let digits = !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| Some((host, port.parse().ok()?))).flatten()
}

/// Brackets pair up, and `c` stands nowhere but inside of them.
fn only_in_brackets(text: &str, c: char) -> bool {
    let mut inside = false;
    for ch in text.chars() {
        match ch {
            '[' if !inside => inside = true,
            '[' => {}
            ']' if inside => inside = false,
            ']' => return false,
            _ if ch == c && !inside => return false,
            _ => {}
        }
    }
    !inside
}

/// Labels of letters, digits, `-` and `_`, or ranges; a label starts with no `-` and ends with neither `-` nor `_`.
fn is_host_name(text: &str) -> bool {
    text.split('.').all(|label| {
        let mut rest = label;
        let mut last = None;
        while let Some(c) = rest.chars().next() {
            if c == '[' {
                let Some(end) = rest.find(']') else { return false };
                if !is_range(&rest[1..end], false) {
                    return false;
                }
                last = Some(']');
                rest = &rest[end + 1..];
            } else {
                let word = c.is_alphanumeric() || c == '_';
                if !word && (c != '-' || last.is_none()) {
                    return false;
                }
                last = Some(c);
                rest = &rest[c.len_utf8()..];
            }
        }
        last.is_some_and(|c| c != '-' && c != '_')
    })
}

/// Each range of hexadecimal digits stands for one group of the address.
fn is_ipv6(text: &str) -> bool {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('[') {
        let Some((range, after)) = after.split_once(']') else {
            return false;
        };
        if !is_range(range, true) {
            return false;
        }
        plain.push_str(before);
        plain.push('0');
        rest = after;
    }
    plain.push_str(rest);
    plain.parse::<Ipv6Addr>().is_ok()
}

fn is_range(text: &str, hexadecimal: bool) -> bool {
    let digits = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
    let hex = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_hexdigit());
    let letter = |s: &str| s.len() == 1 && s.bytes().all(|b| b.is_ascii_alphabetic());
    let mut parts = text.split(':');
    let (Some(a), Some(b)) = (parts.next(), parts.next()) else {
        return false;
    };
    let step = parts.next().is_none_or(digits);
    let ends = (digits(a) && digits(b))
        || if hexadecimal {
            hex(a) && hex(b)
        } else {
            letter(a) && letter(b)
        };
    ends && step && parts.next().is_none()
}

/// Whether a name is an IP address, of which there is no short form.
pub(super) fn is_ip(name: &str) -> bool {
    name.parse::<std::net::IpAddr>().is_ok()
}

/// The names an inventory entry stands for, with its port. An entry that is no address is taken as it is, port and
/// all, as Ansible does; a range in it is still expanded.
///
/// # Errors
/// A range that cannot be read, in words that follow "in this host range".
pub(super) fn expand(entry: &str) -> Result<(Vec<String>, Option<u32>), String> {
    let (pattern, port) = match parse(entry) {
        Some(address) => (address.host, address.port),
        None => (entry, None),
    };
    let mut names = Vec::new();
    expand_ranges(String::new(), pattern, &mut names)?;
    Ok((names, port))
}

fn expand_ranges(head: String, text: &str, names: &mut Vec<String>) -> Result<(), String> {
    let Some((before, rest)) = text.split_once('[') else {
        if names.len() >= MAX_EXPANSION {
            return Err(format!("the range makes more than {MAX_EXPANSION} hosts"));
        }
        names.push(head + text);
        return Ok(());
    };
    let (range, tail) = rest
        .split_once(']')
        .ok_or_else(|| "the `[` of a host range is not closed".to_owned())?;
    let head = head + before;
    for item in items(range)? {
        expand_ranges(format!("{head}{item}"), tail, names)?;
    }
    Ok(())
}

/// What stands between `[` and `]`: `first:last` or `first:last:step`, both ends included.
fn items(range: &str) -> Result<Vec<String>, String> {
    if range.parse::<std::net::Ipv6Addr>().is_ok() {
        return Err(format!(
            "an IPv6 address has brackets only before a port: `{range}` or `[{range}]:22`"
        ));
    }
    let bounds: Vec<&str> = range.split(':').collect();
    let (first, last, step) = match bounds[..] {
        [first, last] => (first, last, "1"),
        [first, last, step] => (first, last, step),
        _ => return Err("a host range must be `first:last` or `first:last:step`".to_owned()),
    };
    let first = if first.is_empty() { "0" } else { first };
    if last.is_empty() {
        return Err("a host range must say where it ends".to_owned());
    }
    let step: usize = match step.parse() {
        Ok(n) if n > 0 => n,
        _ => return Err(format!("the step `{step}` of a host range must be a positive number")),
    };
    if let (Some(a), Some(b)) = (letter_index(first), letter_index(last)) {
        if a > b {
            return Err(format!(
                "a host range must not end (`{last}`) before it begins (`{first}`)"
            ));
        }
        return Ok((a..=b).step_by(step).map(|i| letter(i).to_string()).collect());
    }
    let width = if first.starts_with('0') && first.len() > 1 {
        first.len()
    } else {
        0
    };
    if width > 0 && width != last.len() {
        return Err(format!(
            "`{first}` and `{last}` must have equal length, since the first is padded with zeros"
        ));
    }
    let number = |s: &str| {
        s.parse::<usize>()
            .map_err(|_| format!("`{s}` is neither a number nor a letter"))
    };
    let (a, b) = (number(first)?, number(last)?);
    if b.saturating_sub(a) / step >= MAX_EXPANSION {
        return Err(format!("the range makes more than {MAX_EXPANSION} hosts"));
    }
    Ok((a..=b).step_by(step).map(|n| format!("{n:0width$}")).collect())
}

/// Letters count as Python's `string.ascii_letters`: small ones first.
fn letter_index(text: &str) -> Option<u8> {
    match text.as_bytes() {
        [c @ b'a'..=b'z'] => Some(c - b'a'),
        [c @ b'A'..=b'Z'] => Some(c - b'A' + 26),
        _ => None,
    }
}

fn letter(index: u8) -> char {
    char::from(if index < 26 { b'a' + index } else { b'A' + index - 26 })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Option<(&str, Option<u32>)> {
        parse(text).map(|a| (a.host, a.port))
    }

    #[test]
    fn ports_and_addresses() {
        assert_eq!(address("mq1"), Some(("mq1", None)));
        assert_eq!(address("mq1.example.org:2222"), Some(("mq1.example.org", Some(2222))));
        assert_eq!(address("10.0.0.1:22"), Some(("10.0.0.1", Some(22))));
        assert_eq!(address("::1"), Some(("::1", None)));
        assert_eq!(address("[fe80::1]:22"), Some(("fe80::1", Some(22))));
        assert_eq!(address("mq[1:3]:22"), Some(("mq[1:3]", Some(22))));
        assert_eq!(address("fe80::[1:3]"), Some(("fe80::[1:3]", None)));
        assert_eq!(address("a:b"), None);
        assert_eq!(address("mq-"), None);
        assert_eq!(address("mq[1]"), None);
        assert_eq!(address("*"), None);
        assert_eq!(address(""), None);
    }

    #[test]
    fn ranges() {
        let names = |e: &str| expand(e).unwrap().0;
        assert_eq!(names("mq[08:11]"), ["mq08", "mq09", "mq10", "mq11"]);
        assert_eq!(names("mq[1:10:3]"), ["mq1", "mq4", "mq7", "mq10"]);
        assert_eq!(names("r[a:b]-[1:2].x"), ["ra-1.x", "ra-2.x", "rb-1.x", "rb-2.x"]);
        assert_eq!(names("[y:B]"), ["y", "z", "A", "B"]);
        assert_eq!(names("mq[:2]"), ["mq0", "mq1", "mq2"]);
        assert_eq!(names("mq[3:1]"), Vec::<String>::new());
        assert_eq!(expand("mq[1:2]:2200").unwrap().1, Some(2200));
        for bad in [
            "mq[1]",
            "mq[1:2",
            "mq[01:010]",
            "mq[1:2:0]",
            "mq[c:a]",
            "mq[a:1]",
            "mq[1:]",
            "h[1:99999999]",
        ] {
            assert!(expand(bad).is_err(), "{bad}");
        }
    }
}
