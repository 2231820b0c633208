//! Words of a host line, taken apart as Python's `shlex.split(line, comments=True)` does: both kinds of quotes,
//! backslashes, and `#` starting a comment **anywhere** outside of quotes, even inside a word.

use std::ops::Range;

/// A word without its quotes, and the bytes of the line it was written in.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Word {
    pub text: String,
    pub range: Range<usize>,
}

/// # Errors
/// What is not closed, with the byte it begins at.
pub(super) fn split(line: &str) -> Result<Vec<Word>, (usize, &'static str)> {
    let mut words = Vec::new();
    let mut current: Option<Word> = None;
    let mut chars = line.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        let end = at + c.len_utf8();
        match c {
            '#' => break,
            ' ' | '\t' | '\r' | '\n' => words.extend(current.take()),
            '\\' => {
                let (next_at, next) = chars.next().ok_or((at, "nothing follows this backslash"))?;
                extend(&mut current, at, next_at + next.len_utf8()).push(next);
            }
            '\'' | '"' => {
                extend(&mut current, at, end);
                loop {
                    let (inner_at, inner) = chars.next().ok_or((at, "this quotation is not closed"))?;
                    let text = extend(&mut current, at, inner_at + inner.len_utf8());
                    match inner {
                        _ if inner == c => break,
                        // Inside double quotes a backslash only escapes a quote and itself.
                        '\\' if c == '"' => match chars.next() {
                            Some((_, escaped @ ('"' | '\\'))) => text.push(escaped),
                            Some((_, other)) => text.extend(['\\', other]),
                            None => return Err((at, "this quotation is not closed")),
                        },
                        _ => text.push(inner),
                    }
                }
            }
            _ => extend(&mut current, at, end).push(c),
        }
    }
    words.extend(current);
    Ok(words)
}

fn extend(current: &mut Option<Word>, start: usize, end: usize) -> &mut String {
    let word = current.get_or_insert_with(|| Word {
        text: String::new(),
        range: start..end,
    });
    word.range.end = end;
    &mut word.text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(line: &str) -> Vec<String> {
        split(line).unwrap().into_iter().map(|w| w.text).collect()
    }

    #[test]
    fn as_python_splits() {
        assert_eq!(texts("a b=c"), ["a", "b=c"]);
        assert_eq!(texts(r#"a b="c d"'e f'\ g"#), ["a", "b=c de f g"]);
        assert_eq!(texts(r#"x="a\"b\\c\d" y='a\b'"#), [r#"x=a"b\c\d"#, r"y=a\b"]);
        assert_eq!(texts("a b=c#d e"), ["a", "b=c"]);
        assert_eq!(texts("a b='c#d' # e"), ["a", "b=c#d"]);
        assert_eq!(texts("a '' b="), ["a", "", "b="]);
        assert_eq!(split("a 'b").unwrap_err().0, 2);
        assert_eq!(split("a b\\").unwrap_err().0, 3);
        assert_eq!(split(r#"a b="c d" e"#).unwrap()[1].range, 2..9);
    }
}
