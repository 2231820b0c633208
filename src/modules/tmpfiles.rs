//! `tmpfiles.d(5)` lines that write a value to a kernel file at boot (`w PATH - - - - VALUE`).

use crate::host::Probe;

/// Where systemd-tmpfiles looks; a file masks those of the same name further down.
const DIRS: [&str; 4] = [
    "/etc/tmpfiles.d",
    "/run/tmpfiles.d",
    "/usr/local/lib/tmpfiles.d",
    "/usr/lib/tmpfiles.d",
];

const LINES: &str = "exec grep -HsnE '^w' /etc/tmpfiles.d/*.conf /run/tmpfiles.d/*.conf /usr/local/lib/tmpfiles.d/*.conf \
/usr/lib/tmpfiles.d/*.conf /dev/null";

/// All `w` lines that are read at boot, as `FILE:LINE:TEXT`.
pub fn probe() -> Probe {
    Probe::script(LINES, &[])
}

/// Path and value of a `w` line.
fn line(text: &str) -> Option<(&str, String)> {
    let mut words = text.split_whitespace();
    if !words.next()?.starts_with('w') {
        return None;
    }
    let path = words.next()?.trim_matches('"');
    // Mode, user, group, age.
    let value: Vec<&str> = words.skip(4).collect();
    Some((path, value.join(" ").replace("%%", "%")))
}

/// The value the text gives a path; the first line counts, systemd-tmpfiles warns of others.
pub fn value(text: &str, path: &str) -> Option<String> {
    text.lines()
        .filter_map(line)
        .find(|(p, _)| *p == path)
        .map(|(_, value)| value)
}

/// The text with one line for the path (`None`: with none), in the place of the first that was there.
pub fn with(text: &str, path: &str, value: Option<&str>) -> String {
    let mut wanted = value.map(|v| format!("w {path} - - - - {}\n", v.replace('%', "%%")));
    let mut out = String::with_capacity(text.len() + 80);
    for old in text.split_inclusive('\n') {
        if line(old).is_some_and(|(p, _)| p == path) {
            out.push_str(&wanted.take().unwrap_or_default());
        } else {
            out.push_str(old);
        }
    }
    if let Some(new) = wanted {
        if !out.is_empty() && !out.ends_with('\n') {
            out.push('\n');
        }
        out.push_str(&new);
    }
    out
}

/// Whether anything but comments is left.
pub fn has_lines(text: &str) -> bool {
    text.lines()
        .any(|l| !l.trim().is_empty() && !l.trim_start().starts_with('#'))
}

/// Who sets the path at boot: place and value. Files are read by name, and the first to name a path counts (tmpfiles.d(5));
/// `own` is as it stands in `text`.
pub fn winner(listing: &str, own: &str, text: &str, path: &str) -> Option<(String, String)> {
    let ours = text.lines().enumerate().map(|(n, line)| (own, n + 1, line));
    let others = listing.lines().filter_map(|row| {
        let (file, rest) = row.split_once(':')?;
        let (number, line) = rest.split_once(':')?;
        (file != own).then_some((file, number.parse().ok()?, line))
    });
    let rank = |file: &str| {
        DIRS.iter()
            .position(|d| file.starts_with(&format!("{d}/")))
            .unwrap_or(DIRS.len())
    };
    let name = |file: &str| file.rsplit('/').next().unwrap_or_default().to_owned();
    let mut all: Vec<(&str, usize, &str)> = ours.chain(others).collect();
    all.sort_by_key(|(file, number, _)| (name(file), rank(file), *number));
    let mut first: Option<(String, &str)> = None;
    for (file, number, text) in all {
        // A file of the same name in a directory further up masks this one.
        match &first {
            Some((seen, kept)) if *seen == name(file) && *kept != file => continue,
            Some((seen, _)) if *seen == name(file) => {}
            _ => first = Some((name(file), file)),
        }
        if let Some((_, value)) = line(text).filter(|(p, _)| *p == path) {
            return Some((format!("{file}:{number}"), value));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_by_name_counts() {
        let listing =
            "/etc/tmpfiles.d/90-a.conf:1:w /sys/x - - - - 1\n/usr/lib/tmpfiles.d/10-b.conf:7:w! /sys/x - - - - 2\n";
        assert_eq!(
            winner(listing, "/etc/tmpfiles.d/60-o.conf", "w /sys/x - - - - 3\n", "/sys/x"),
            Some(("/usr/lib/tmpfiles.d/10-b.conf:7".to_owned(), "2".to_owned()))
        );
        let masked = listing.replace("10-b", "60-o");
        assert_eq!(
            winner(&masked, "/etc/tmpfiles.d/60-o.conf", "w /sys/x - - - - 3\n", "/sys/x"),
            Some(("/etc/tmpfiles.d/60-o.conf:1".to_owned(), "3".to_owned()))
        );
    }

    #[test]
    fn lines_of_others_stay() {
        let text = "# a\nw /sys/y - - - - 1\nw /sys/x - - - - a b\nd /run/z";
        assert_eq!(value(text, "/sys/x").as_deref(), Some("a b"));
        assert_eq!(
            with(text, "/sys/x", Some("50%")),
            "# a\nw /sys/y - - - - 1\nw /sys/x - - - - 50%%\nd /run/z"
        );
        assert_eq!(with(text, "/sys/z", Some("1")), format!("{text}\nw /sys/z - - - - 1\n"));
        assert_eq!(with("w /sys/x - - - - 1\n", "/sys/x", None), "");
    }
}
