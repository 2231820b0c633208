//! What `name` asks for, and which version of a package answers it.

use super::*;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) name: String,
    pub(super) version: Option<(Relation, String)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Relation {
    /// A version, or a pattern of one.
    Is,
    AtLeast,
}

pub(super) fn wanted(text: &str, state: State) -> Result<Wanted, ArgError> {
    let (name, version) = if let Some((name, version)) = text.split_once(">=") {
        (name, Some((Relation::AtLeast, version)))
    } else if let Some((name, version)) = text.split_once('=') {
        (name, Some((Relation::Is, version)))
    } else {
        (text, None)
    };
    if name.contains(['*', '?', '[']) && state != State::Absent {
        return Err(ArgError::new(
            "name",
            format!("not supported yet: the pattern `{name}` with this state"),
        )
        .help("patterns are for `state: absent`"));
    }
    let good = |c: char| c.is_ascii_alphanumeric() || "+-.:*?[]".contains(c);
    if name.is_empty()
        || name.starts_with('-')
        || !name.chars().all(good)
        || version.is_some_and(|(_, v)| v.is_empty() || v.contains('='))
    {
        return Err(ArgError::new("name", format!("`{text}` is no package name")));
    }
    Ok(Wanted {
        name: name.to_owned(),
        version: version.map(|(relation, version)| (relation, version.to_owned())),
    })
}

/// Without `:amd64`.
pub(super) fn bare(name: &str) -> &str {
    name.split(':').next().unwrap_or(name)
}

pub(super) fn is_named(wanted: &Wanted, installed: &Installed) -> bool {
    let name = if wanted.name.contains(':') {
        installed.name.as_str()
    } else {
        bare(&installed.name)
    };
    if wanted.name.contains(['*', '?', '[']) {
        matches_glob(&wanted.name, name)
    } else {
        wanted.name == name
    }
}

pub(super) fn satisfies(wanted: &Wanted, version: &str) -> bool {
    match &wanted.version {
        None => true,
        Some((Relation::Is, pattern)) => pattern == version || matches_glob(pattern, version),
        Some((Relation::AtLeast, least)) => debian::compare_versions(version, least) != Ordering::Less,
    }
}

/// The version an install would bring; `None`: none that fits.
pub(super) fn choose(wanted: &Wanted, policy: &Policy) -> Option<String> {
    match &wanted.version {
        None => policy.candidate.clone(),
        Some((Relation::Is, _)) => policy.versions.iter().find(|v| satisfies(wanted, v)).cloned(),
        Some((Relation::AtLeast, _)) => policy
            .candidate
            .iter()
            .chain(&policy.versions)
            .find(|v| satisfies(wanted, v))
            .cloned(),
    }
}

fn matches_glob(pattern: &str, text: &str) -> bool {
    globset::Glob::new(pattern).is_ok_and(|glob| glob.compile_matcher().is_match(text))
}
