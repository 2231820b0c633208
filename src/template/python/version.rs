//! Comparing versions as the `version` test does: loosely (distutils), strictly, or as semantic versions.

use crate::template::fault::{Res, fail};
use std::cmp::Ordering;

#[derive(PartialEq, Eq)]
enum Part {
    Number(u128),
    Word(String),
}

/// Digits and lower-case letters each make a part, dots separate, everything else stands as it is.
fn loose(text: &str) -> Vec<Part> {
    #[derive(PartialEq, Clone, Copy)]
    enum Class {
        Digit,
        Letter,
        Dot,
        Other,
    }
    let class = |c: char| match c {
        '0'..='9' => Class::Digit,
        'a'..='z' => Class::Letter,
        '.' => Class::Dot,
        _ => Class::Other,
    };
    let mut parts = Vec::new();
    let mut current: Option<(Class, String)> = None;
    let mut push = |part: Option<(Class, String)>| match part {
        Some((Class::Digit, s)) => parts.push(s.parse().map_or(Part::Word(s), Part::Number)),
        Some((Class::Letter | Class::Other, s)) => parts.push(Part::Word(s)),
        Some((Class::Dot, _)) | None => {}
    };
    for c in text.chars() {
        match &mut current {
            Some((k, s)) if *k == class(c) && *k != Class::Dot => s.push(c),
            _ => push(current.replace((class(c), c.to_string()))),
        }
    }
    push(current);
    parts
}

fn compare_loose(a: &str, b: &str) -> Res<Ordering> {
    let (a, b) = (loose(a), loose(b));
    for (x, y) in a.iter().zip(&b) {
        let order = match (x, y) {
            (Part::Number(x), Part::Number(y)) => x.cmp(y),
            (Part::Word(x), Part::Word(y)) => x.cmp(y),
            _ => {
                return Err(fail(
                    "the versions cannot be compared: a number in one meets a word in the other",
                ));
            }
        };
        if order != Ordering::Equal {
            return Ok(order);
        }
    }
    Ok(a.len().cmp(&b.len()))
}

/// Three numbers, and `a1` or `b2` after them.
type Strict = (Vec<u64>, Option<(char, u64)>);

fn strict(text: &str) -> Res<Strict> {
    let bad = || fail(format!("invalid version number '{text}'"));
    let cut = text.find(['a', 'b']);
    let (numbers, pre) = cut.map_or((text, None), |i| (&text[..i], Some(&text[i..])));
    let mut parts = numbers
        .split('.')
        .map(|n| n.parse::<u64>().map_err(|_| bad()))
        .collect::<Res<Vec<_>>>()?;
    if !(2..=3).contains(&parts.len()) {
        return Err(bad());
    }
    parts.resize(3, 0);
    let pre = match pre {
        Some(p) => Some((p.chars().next().unwrap_or('a'), p[1..].parse().map_err(|_| bad())?)),
        None => None,
    };
    Ok((parts, pre))
}

/// The numbers of a semantic version and its pre-release parts.
fn semantic(text: &str) -> Res<(Vec<u64>, Vec<String>)> {
    let bad = || fail(format!("invalid semantic version '{text}'"));
    let (text, _build) = text.split_once('+').unwrap_or((text, ""));
    let (core, pre) = text.split_once('-').map_or((text, None), |(c, p)| (c, Some(p)));
    let numbers = core
        .split('.')
        .map(|n| n.parse::<u64>().map_err(|_| bad()))
        .collect::<Res<Vec<_>>>()?;
    if numbers.len() != 3 {
        return Err(bad());
    }
    Ok((
        numbers,
        pre.map_or(Vec::new(), |p| p.split('.').map(str::to_owned).collect()),
    ))
}

fn compare_semantic(a: &str, b: &str) -> Res<Ordering> {
    let ((a, pa), (b, pb)) = (semantic(a)?, semantic(b)?);
    let order = a.cmp(&b);
    if order != Ordering::Equal || (pa.is_empty() && pb.is_empty()) {
        return Ok(order);
    }
    if pa.is_empty() || pb.is_empty() {
        return Ok(pa.is_empty().cmp(&pb.is_empty()));
    }
    for (x, y) in pa.iter().zip(&pb) {
        let order = match (x.parse::<u64>(), y.parse::<u64>()) {
            (Ok(x), Ok(y)) => x.cmp(&y),
            (Ok(_), Err(_)) => Ordering::Less,
            (Err(_), Ok(_)) => Ordering::Greater,
            _ => x.cmp(y),
        };
        if order != Ordering::Equal {
            return Ok(order);
        }
    }
    Ok(pa.len().cmp(&pb.len()))
}

pub(crate) fn compare(value: &str, other: &str, operator: &str, kind: &str) -> Res<bool> {
    let order = match kind {
        "loose" => compare_loose(value, other)?,
        "strict" => {
            let ((a, pa), (b, pb)) = (strict(value)?, strict(other)?);
            a.cmp(&b).then_with(|| match (pa, pb) {
                (None, None) => Ordering::Equal,
                (None, Some(_)) => Ordering::Greater,
                (Some(_), None) => Ordering::Less,
                (Some(x), Some(y)) => x.cmp(&y),
            })
        }
        "semver" | "semantic" => compare_semantic(value, other)?,
        "pep440" => return Err(fail("version type `pep440` is not supported yet")),
        other => {
            return Err(fail(format!(
                "invalid version type `{other}`; known are `loose`, `strict`, `semver`, `semantic`"
            )));
        }
    };
    Ok(match operator {
        "==" | "=" | "eq" => order == Ordering::Equal,
        "<" | "lt" => order == Ordering::Less,
        "<=" | "le" => order != Ordering::Greater,
        ">" | "gt" => order == Ordering::Greater,
        ">=" | "ge" => order != Ordering::Less,
        "!=" | "<>" | "ne" => order != Ordering::Equal,
        other => {
            return Err(fail(format!(
                "`{other}` is not a comparison; known are `==`, `<`, `<=`, `>`, `>=`, `!=`"
            )));
        }
    })
}
