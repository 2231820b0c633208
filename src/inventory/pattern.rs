//! Host patterns: `web:&prod:!db1`, globs, `~regular expressions`, subscripts; `--limit`; `order:`.
//!
//! The order of evaluation is Ansible's, not that of the text: first all plain patterns (united in their order), then
//! every `&` (both), then every `!` (without). Where there is no plain one, `all` is meant.

use super::graph::LOCALHOST;
use super::{HostName, Inventory, address, paths};
use crate::diagnostic::{Code, Diagnostic, SourceMap, Span, similar_name};
use crate::language::Files;
use indexmap::IndexSet;
use rand::SeedableRng;
use rand::seq::SliceRandom;
use std::collections::HashSet;

/// A host pattern as `hosts:` or the command line gives it, maybe of several parts, and where it stands.
#[derive(Clone, Debug)]
pub struct Pattern {
    pub text: String,
    pub span: Option<Span>,
}

impl From<&str> for Pattern {
    fn from(text: &str) -> Self {
        Pattern {
            text: text.to_owned(),
            span: None,
        }
    }
}

/// A `--limit`: among the hosts a play selects, only these.
#[derive(Clone, Debug)]
pub struct Limit {
    parts: Vec<Pattern>,
}

impl Limit {
    /// As one pattern: `ansible_limit`.
    pub fn text(&self) -> String {
        self.parts.iter().map(|p| p.text.as_str()).collect::<Vec<_>>().join(",")
    }

    /// Takes the argument of `--limit` apart; a part `@FILE` stands for the lines of that file.
    ///
    /// # Errors
    /// A file that cannot be read, or no part at all (to Ansible, an empty file means all hosts).
    pub fn parse(text: &str, files: &dyn Files, map: &SourceMap) -> Result<Limit, Diagnostic> {
        let id = map.add("--limit", text);
        let whole = Pattern {
            text: text.to_owned(),
            span: Some(Span::new(id, 0, text.len())),
        };
        let mut parts = Vec::new();
        for part in split(&whole) {
            let Some(path) = part.text.strip_prefix('@') else {
                parts.push(part);
                continue;
            };
            let content = paths::read_text(files, path).map_err(|d| match part.span {
                Some(span) => d.at(span, "named here"),
                None => *d,
            })?;
            let id = map.add(path, content.as_str());
            let mut start = 0;
            for line in content.split_inclusive('\n') {
                let at = start + (line.len() - line.trim_start().len());
                start += line.len();
                let line = line.trim();
                if !line.is_empty() {
                    parts.push(Pattern {
                        text: line.to_owned(),
                        span: Some(Span::new(id, at, at + line.len())),
                    });
                }
            }
        }
        if parts.is_empty() {
            let error = Diagnostic::error(Code::NO_MATCH, "the limit names no host");
            return Err(match whole.span {
                Some(span) if !text.is_empty() => error.at(span, ""),
                _ => error,
            });
        }
        Ok(Limit { parts })
    }
}

/// In which order a play goes through its hosts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    Inventory,
    ReverseInventory,
    Sorted,
    ReverseSorted,
    Shuffle,
}

impl Order {
    pub const NAMES: [&str; 5] = ["inventory", "reverse_inventory", "sorted", "reverse_sorted", "shuffle"];

    /// The value of the keyword `order`.
    pub fn parse(name: &str) -> Option<Order> {
        Some(match name {
            "inventory" => Order::Inventory,
            "reverse_inventory" => Order::ReverseInventory,
            "sorted" => Order::Sorted,
            "reverse_sorted" => Order::ReverseSorted,
            "shuffle" => Order::Shuffle,
            _ => return None,
        })
    }

    /// Puts hosts that stand in the order of the inventory in this order; `seed` is for [`Order::Shuffle`].
    pub fn apply(self, hosts: &mut [HostName], seed: u64) {
        match self {
            Order::Inventory => {}
            Order::ReverseInventory => hosts.reverse(),
            Order::Sorted => hosts.sort(),
            Order::ReverseSorted => hosts.sort_by(|a, b| b.cmp(a)),
            Order::Shuffle => hosts.shuffle(&mut rand::rngs::StdRng::seed_from_u64(seed)),
        }
    }
}

impl Inventory {
    /// The hosts that the patterns select, in the order of the inventory (of the first plain pattern that selects
    /// them), and within the limit. `localhost` selects the implicit localhost where no host has that name.
    ///
    /// # Errors
    /// A part that is malformed; unless `allow_empty`, one that matches nothing (Ansible only warns) or whose
    /// subscript lies outside. That all parts together leave no host is no error here.
    pub fn select(
        &self,
        patterns: &[Pattern],
        limit: Option<&Limit>,
        allow_empty: bool,
    ) -> Result<Vec<HostName>, Diagnostic> {
        let matcher = Matcher {
            inventory: self,
            allow_empty,
        };
        let mut hosts = matcher.evaluate(&patterns.iter().flat_map(split).collect::<Vec<_>>())?;
        if let Some(limit) = limit {
            let within = matcher.evaluate(&limit.parts)?;
            hosts.retain(|host| within.contains(host));
        }
        Ok(hosts.into_iter().collect())
    }
}

/// The parts of a pattern: split at commas if there are any, not at all if it is an address (`::1`, `a:22`), else at
/// white space and colons outside of brackets.
fn split(pattern: &Pattern) -> Vec<Pattern> {
    let text = pattern.text.as_str();
    let mut ranges = Vec::new();
    if text.contains(',') {
        let mut start = 0;
        for part in text.split(',') {
            ranges.push(start..start + part.len());
            start += part.len() + 1;
        }
    } else if address::parse(text).is_some() {
        ranges.push(0..text.len());
    } else {
        let mut start = None;
        let mut at = 0;
        while let Some(c) = text[at..].chars().next() {
            let closed = if c == '[' { text[at..].find(']') } else { None };
            let len = match closed {
                Some(close) => close + 1,
                None => c.len_utf8(),
            };
            if closed.is_some() || !(c.is_whitespace() || matches!(c, ':' | '[' | ']')) {
                start.get_or_insert(at);
            } else if let Some(start) = start.take() {
                ranges.push(start..at);
            }
            at += len;
        }
        ranges.extend(start.map(|start| start..text.len()));
    }
    // A span of other length belongs to a text before it was templated.
    let exact = pattern
        .span
        .filter(|s| s.end.saturating_sub(s.start) as usize == text.len());
    ranges
        .into_iter()
        .filter_map(|range| {
            let part = &text[range.clone()];
            let start = range.start + (part.len() - part.trim_start().len());
            let part = part.trim();
            let sub = exact.map(|s| {
                let base = s.start as usize;
                Span::new(s.file, base + start, base + start + part.len())
            });
            (!part.is_empty()).then(|| Pattern {
                text: part.to_owned(),
                span: sub.or(pattern.span),
            })
        })
        .collect()
}

struct Matcher<'a> {
    inventory: &'a Inventory,
    allow_empty: bool,
}

type Hosts = IndexSet<HostName>;

impl Matcher<'_> {
    fn evaluate(&self, parts: &[Pattern]) -> Result<Hosts, Diagnostic> {
        let starting = |c: char| parts.iter().filter(move |p| p.text.starts_with(c));
        let mut plain = parts.iter().filter(|p| !p.text.starts_with(['&', '!'])).peekable();
        let mut hosts = Hosts::new();
        if plain.peek().is_none() {
            hosts.extend(self.inventory.hosts().iter().cloned());
        }
        for part in plain {
            match self.inventory.hosts.get_key_value(part.text.as_str()) {
                Some((name, _)) => drop(hosts.insert(name.clone())),
                None => hosts.extend(self.matches(part, &part.text)?),
            }
        }
        for part in starting('&') {
            let both: HashSet<HostName> = self.matches(part, &part.text[1..])?.into_iter().collect();
            hosts.retain(|host| both.contains(host));
        }
        for part in starting('!') {
            let without: HashSet<HostName> = self.matches(part, &part.text[1..])?.into_iter().collect();
            hosts.retain(|host| !without.contains(host));
        }
        Ok(hosts)
    }

    fn matches(&self, part: &Pattern, text: &str) -> Result<Vec<HostName>, Diagnostic> {
        let (expr, subscript) = if text.starts_with('~') {
            (text, None)
        } else {
            subscript(text)
        };
        let Some(hosts) = self.enumerate(part, expr)? else {
            return if self.allow_empty {
                Ok(Vec::new())
            } else {
                Err(self.unknown(part, text, expr))
            };
        };
        let Some(subscript) = subscript.filter(|_| !hosts.is_empty()) else {
            return Ok(hosts);
        };
        let chosen = subscript.apply(&hosts);
        if chosen.is_empty() && !self.allow_empty {
            let count = hosts.len();
            let message = format!("the subscript of `{text}` is outside of what `{expr}` matches");
            return Err(diagnostic(
                part,
                message,
                format!("`{expr}` matches {count} host{}", if count == 1 { "" } else { "s" }),
            ));
        }
        Ok(chosen)
    }

    /// The hosts of groups that match, then, if there is no such group or the pattern is no mere name, the hosts that
    /// match; a host may come twice, which subscripts count. `None`: neither a group nor a host matches.
    fn enumerate(&self, part: &Pattern, expr: &str) -> Result<Option<Vec<HostName>>, Diagnostic> {
        let test = Test::new(expr).map_err(|why| Diagnostic {
            code: Code::PATTERN,
            ..diagnostic(part, format!("malformed host pattern `{expr}`"), why)
        })?;
        let mut found = Vec::new();
        let mut any_group = false;
        for (name, hosts) in self.inventory.members.iter() {
            if test.is_match(name) {
                any_group = true;
                found.extend(hosts.iter().cloned());
            }
        }
        if !any_group || expr.starts_with('~') || expr.contains(['.', '?', '*', '[']) {
            match &test {
                Test::Name(name) => {
                    found.extend(self.inventory.hosts.get_key_value(*name).map(|(name, _)| name.clone()))
                }
                _ => found.extend(self.inventory.hosts.keys().filter(|name| test.is_match(name)).cloned()),
            }
        }
        if found.is_empty() && LOCALHOST.contains(&expr) {
            // Another name of the same machine that stands in the inventory is meant too.
            let listed = self.inventory.hosts.keys().find(|name| LOCALHOST.contains(&&***name));
            found.push(listed.cloned().unwrap_or_else(|| expr.into()));
        }
        Ok((!found.is_empty() || any_group).then_some(found))
    }

    fn unknown(&self, part: &Pattern, text: &str, expr: &str) -> Diagnostic {
        let mut error = diagnostic(
            part,
            format!("`{expr}` matches no host and no group"),
            "matches nothing",
        );
        let inventory = self.inventory;
        if inventory.hosts.is_empty() {
            return error.note("the inventory has no hosts");
        }
        let names = inventory
            .groups
            .keys()
            .map(String::as_str)
            .chain(inventory.hosts.keys().map(|n| &**n));
        if let Some(similar) = similar_name(expr, names) {
            let what = if inventory.groups.contains_key(similar) {
                "group"
            } else {
                "host"
            };
            error = error.help(format!("there is a {what} with a similar name: `{similar}`"));
        }
        if text != expr {
            error = error.note(format!(
                "brackets at the end of a pattern choose among the hosts that `{expr}` matches; ranges are for inventories only"
            ));
        }
        error
    }
}

fn diagnostic(part: &Pattern, message: impl Into<String>, label: impl Into<String>) -> Diagnostic {
    let error = Diagnostic::error(Code::NO_MATCH, message);
    match part.span {
        Some(span) => error.at(span, label),
        None => error.note(label),
    }
}

enum Test<'a> {
    Name(&'a str),
    Glob(glob::Pattern),
    Regex(Box<fancy_regex::Regex>),
}

impl<'a> Test<'a> {
    fn new(expr: &'a str) -> Result<Self, String> {
        if expr.is_empty() {
            return Err("the pattern is empty".to_owned());
        }
        if let Some(regex) = expr.strip_prefix('~') {
            // As Python's `re.match`: from the start, not to the end.
            let regex = fancy_regex::Regex::new(&format!("^(?:{regex})")).map_err(|error| match error {
                // Its position counts what stands around the user's text.
                fancy_regex::Error::ParseError(_, what) => what.to_string(),
                other => other.to_string(),
            })?;
            return Ok(Test::Regex(Box::new(regex)));
        }
        if !expr.contains(['*', '?', '[']) {
            return Ok(Test::Name(expr));
        }
        let mut single = expr.to_owned();
        while single.contains("**") {
            single = single.replace("**", "*");
        }
        Ok(Test::Glob(glob::Pattern::new(&single).map_err(|e| e.msg.to_owned())?))
    }

    fn is_match(&self, name: &str) -> bool {
        match self {
            Test::Name(own) => *own == name,
            Test::Glob(glob) => glob.matches(name),
            Test::Regex(regex) => regex.is_match(name).unwrap_or(false),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Subscript {
    /// From the end if negative.
    One(i64),
    /// Both ends included; to the last if there is no end.
    Slice(usize, Option<usize>),
}

impl Subscript {
    fn apply(self, hosts: &[HostName]) -> Vec<HostName> {
        let slice = match self {
            Subscript::One(n) => {
                let len = i64::try_from(hosts.len()).unwrap_or(i64::MAX);
                let at = usize::try_from(if n < 0 { len.saturating_add(n) } else { n }).ok();
                at.and_then(|at| hosts.get(at..=at))
            }
            // Ansible takes an end of 0 for none given, and then the start for an index.
            Subscript::Slice(start, Some(0)) => hosts.get(start..=start),
            Subscript::Slice(start, end) => {
                let end = end.map_or(hosts.len(), |end| end.saturating_add(1).min(hosts.len()));
                hosts.get(start..end)
            }
        };
        slice.unwrap_or_default().to_vec()
    }
}

/// Takes `[n]`, `[-n]`, `[a:b]`, `[a:]` (or, as of old, with `-` for the `:`) off the end of a pattern.
fn subscript(text: &str) -> (&str, Option<Subscript>) {
    let whole = (text, None);
    let Some((expr, inside)) = text.strip_suffix(']').and_then(|t| t.rsplit_once('[')) else {
        return whole;
    };
    if expr.is_empty() {
        return whole;
    }
    let digits = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
    if digits(inside.strip_prefix('-').unwrap_or(inside)) {
        return (expr, Some(Subscript::One(inside.parse().unwrap_or(i64::MAX))));
    }
    match inside.split_once([':', '-']) {
        Some((start, end)) if digits(start) && (end.is_empty() || digits(end)) => {
            let number = |s: &str| s.parse().unwrap_or(usize::MAX);
            (
                expr,
                Some(Subscript::Slice(number(start), (!end.is_empty()).then(|| number(end)))),
            )
        }
        _ => whole,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(text: &str) -> Vec<String> {
        split(&text.into()).into_iter().map(|p| p.text).collect()
    }

    #[test]
    fn parts_of_patterns() {
        assert_eq!(parts("a:&b:!c"), ["a", "&b", "!c"]);
        assert_eq!(parts("a, b[1:2] ,,c"), ["a", "b[1:2]", "c"]);
        assert_eq!(parts("a[1:2]:b"), ["a[1:2]", "b"]);
        assert_eq!(parts("::1"), ["::1"]);
        assert_eq!(parts("a:22"), ["a:22"]);
        assert_eq!(parts("a b:c*"), ["a", "b", "c*"]);
        assert_eq!(parts("a[0:c"), ["a", "0", "c"]);
        assert_eq!(parts(""), Vec::<String>::new());
    }

    #[test]
    fn subscripts() {
        assert_eq!(subscript("g[0]"), ("g", Some(Subscript::One(0))));
        assert_eq!(subscript("g[-1]"), ("g", Some(Subscript::One(-1))));
        assert_eq!(subscript("g*[1:]"), ("g*", Some(Subscript::Slice(1, None))));
        assert_eq!(subscript("g[1-3]"), ("g", Some(Subscript::Slice(1, Some(3)))));
        assert_eq!(subscript("g[a-c]"), ("g[a-c]", None));
        assert_eq!(subscript("g[::2]"), ("g[::2]", None));
        assert_eq!(subscript("[0]"), ("[0]", None));
    }

    #[test]
    fn parts_keep_their_place() {
        let file = crate::diagnostic::FileId(3);
        let span = Some(Span::new(file, 10, 20));
        let split = |text: &str| -> Vec<Option<Span>> {
            let text = text.to_owned();
            split(&Pattern { text, span }).into_iter().map(|p| p.span).collect()
        };
        assert_eq!(
            split("ab : &cde "),
            [Some(Span::new(file, 10, 12)), Some(Span::new(file, 15, 19))]
        );
        assert_eq!(split("templated"), [span]);
    }

    #[test]
    fn shuffling_is_the_seed_s() {
        let names: Vec<HostName> = (0..50).map(|n| format!("h{n:02}").into()).collect();
        let shuffled = |seed| {
            let mut hosts = names.clone();
            Order::Shuffle.apply(&mut hosts, seed);
            hosts
        };
        assert_eq!(shuffled(7), shuffled(7));
        assert_ne!(shuffled(7), shuffled(8));
        assert_ne!(shuffled(7), names);
        let mut sorted = shuffled(7);
        Order::Sorted.apply(&mut sorted, 0);
        assert_eq!(sorted, names);
    }
}
