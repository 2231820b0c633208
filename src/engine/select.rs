//! PURE. Which tasks run: tags.

#![deny(clippy::disallowed_methods)]

use crate::engine::evaluate::Evaluation;
use crate::language::Task;
use serde_json::Value;

/// All tags of a task, its own and inherited, without repetition.
pub fn tags(evaluation: &Evaluation<'_>, task: &Task) -> Vec<String> {
    let mut tags = Vec::new();
    for node in task.chain.iter().flat_map(|c| &c.tags) {
        let values = match evaluation.resolve(node) {
            Ok(Some(Value::Array(list))) => list,
            Ok(Some(value)) => vec![value],
            _ => Vec::new(),
        };
        for value in values {
            for tag in crate::modules::plain(&value)
                .split(',')
                .map(str::trim)
                .filter(|t| !t.is_empty())
            {
                if !tags.iter().any(|t| t == tag) {
                    tags.push(tag.to_owned());
                }
            }
        }
    }
    tags
}

/// `--tags` and `--skip-tags`.
pub fn by_tags(evaluation: &Evaluation<'_>, task: &Task) -> bool {
    let options = &evaluation.play.shared.options;
    if options.tags.is_empty() && options.skip_tags.is_empty() && task.chain.iter().all(|c| c.tags.is_empty()) {
        return true;
    }
    matches(&tags(evaluation, task), &options.tags, &options.skip_tags)
}

/// Ansible's rules: `always` and `never`, the selectors `all`, `tagged`, `untagged`.
pub fn matches(tags: &[String], only: &[String], skip: &[String]) -> bool {
    let has = |tag: &str| tags.iter().any(|t| t == tag);
    let default = ["all".to_owned()];
    let only = if only.is_empty() { &default[..] } else { only };
    let wants = |tag: &str| only.iter().any(|t| t == tag);
    let named = only.iter().any(|o| has(o));
    let never = has("never");
    let chosen = has("always")
        || named
        || (wants("all") && !never)
        || (wants("tagged") && !tags.is_empty() && !never)
        || (wants("untagged") && tags.is_empty());
    if !chosen {
        return false;
    }
    let skips = |tag: &str| skip.iter().any(|t| t == tag);
    if skips("all") {
        return has("always") && !skips("always");
    }
    !(skip.iter().any(|s| has(s)) || skips("tagged") && !tags.is_empty() || skips("untagged") && tags.is_empty())
}

#[cfg(test)]
mod tests {
    use super::matches;

    fn check(tags: &str, only: &str, skip: &str) -> bool {
        let list = |s: &str| s.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        matches(&list(tags), &list(only), &list(skip))
    }

    #[test]
    fn as_ansible_selects() {
        assert!(check("", "", ""));
        assert!(check("a", "", ""));
        assert!(!check("never", "", ""));
        assert!(check("never a", "a", ""));
        assert!(!check("b", "a", ""));
        assert!(!check("", "a", ""));
        assert!(check("always", "a", ""));
        assert!(!check("always", "a", "always"));
        assert!(check("a", "tagged", ""));
        assert!(!check("", "tagged", ""));
        assert!(check("", "untagged", ""));
        assert!(!check("a", "untagged", ""));
        assert!(!check("a", "", "a"));
        assert!(!check("a", "", "tagged"));
        assert!(check("always b", "", "all"));
    }
}
