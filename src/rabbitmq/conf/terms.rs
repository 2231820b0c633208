//! Erlang terms as `file:consult/1` reads them, with places: enough for advanced.config and `enabled_plugins`.

use crate::diagnostic::{FileId, Span};

#[derive(Clone, Debug, PartialEq)]
pub struct Term {
    pub kind: Kind,
    pub span: Span,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    Atom(String),
    Number(String),
    Text(String),
    Binary,
    List(Vec<Term>),
    Tuple(Vec<Term>),
    Map(Vec<(Term, Term)>),
}

/// What was found instead of what was expected.
#[derive(Clone, Debug, PartialEq)]
pub struct SyntaxError {
    pub message: String,
    pub span: Span,
    /// The bracket that is open there.
    pub open: Option<(char, Span)>,
}

/// The terms of a file, each ended by a dot.
pub fn read(file: FileId, text: &str) -> Result<Vec<Term>, SyntaxError> {
    let mut reader = Reader {
        file,
        text,
        at: 0,
        open: Vec::new(),
    };
    let mut terms = Vec::new();
    loop {
        reader.skip();
        if reader.rest().is_empty() {
            return Ok(terms);
        }
        let term = reader.term()?;
        reader.skip();
        let rest = reader.rest();
        let after = rest.strip_prefix('.').map(|r| r.chars().next());
        match after {
            Some(None) => reader.at += 1,
            Some(Some(c)) if c.is_whitespace() || c == '%' => reader.at += 1,
            _ => return Err(reader.expected("`.` at the end")),
        }
        terms.push(term);
    }
}

struct Reader<'a> {
    file: FileId,
    text: &'a str,
    at: usize,
    open: Vec<(char, usize)>,
}

impl<'a> Reader<'a> {
    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn span(&self, from: usize) -> Span {
        Span::new(self.file, from, self.at)
    }

    /// White space and comments.
    fn skip(&mut self) {
        loop {
            let rest = self.rest();
            let trimmed = rest.trim_start();
            self.at += rest.len() - trimmed.len();
            if !trimmed.starts_with('%') {
                return;
            }
            self.at += trimmed.find('\n').unwrap_or(trimmed.len());
        }
    }

    fn take(&mut self, token: &str) -> bool {
        let found = self.rest().starts_with(token);
        if found {
            self.at += token.len();
        }
        found
    }

    fn expected(&self, what: &str) -> SyntaxError {
        let (found, len) = match self.peek() {
            Some(c) => (format!("`{c}`"), c.len_utf8()),
            None => ("the end of the file".to_owned(), 0),
        };
        SyntaxError {
            message: format!("expected {what}, not {found}"),
            span: Span::new(self.file, self.at, self.at + len),
            open: self.open.last().map(|(c, at)| (*c, Span::new(self.file, *at, at + 1))),
        }
    }

    fn term(&mut self) -> Result<Term, SyntaxError> {
        let start = self.at;
        let kind = match self.peek() {
            Some('[') => Kind::List(self.items('[', ']')?),
            Some('{') => Kind::Tuple(self.items('{', '}')?),
            Some('#') => self.map()?,
            Some('"') => Kind::Text(self.quoted('"')?),
            Some('\'') => Kind::Atom(self.quoted('\'')?),
            Some('<') if self.rest().starts_with("<<") => self.binary()?,
            Some(c) if c.is_lowercase() => Kind::Atom(self.word()),
            Some(c) if c.is_ascii_digit() || "+-$".contains(c) => self.number()?,
            _ => return Err(self.expected("a term")),
        };
        Ok(Term {
            kind,
            span: self.span(start),
        })
    }

    fn items(&mut self, open: char, close: char) -> Result<Vec<Term>, SyntaxError> {
        self.open.push((open, self.at));
        self.at += 1;
        let mut items = Vec::new();
        self.skip();
        if self.peek() != Some(close) {
            loop {
                self.skip();
                items.push(self.term()?);
                self.skip();
                match self.peek() {
                    Some(',') => self.at += 1,
                    // An improper list: `[a | b]`.
                    Some('|') if open == '[' => self.at += 1,
                    Some(c) if c == close => break,
                    _ => return Err(self.expected(&format!("`,` or `{close}`"))),
                }
            }
        }
        self.at += 1;
        self.open.pop();
        Ok(items)
    }

    fn map(&mut self) -> Result<Kind, SyntaxError> {
        if !self.take("#{") {
            return Err(self.expected("a term"));
        }
        self.open.push(('{', self.at - 1));
        let mut entries = Vec::new();
        self.skip();
        while self.peek() != Some('}') {
            let key = self.term()?;
            self.skip();
            if !self.take("=>") {
                return Err(self.expected("`=>`"));
            }
            self.skip();
            entries.push((key, self.term()?));
            self.skip();
            if self.peek() == Some(',') {
                self.at += 1;
                self.skip();
            } else if self.peek() != Some('}') {
                return Err(self.expected("`,` or `}`"));
            }
        }
        self.at += 1;
        self.open.pop();
        Ok(Kind::Map(entries))
    }

    fn binary(&mut self) -> Result<Kind, SyntaxError> {
        let start = self.at;
        self.at += 2;
        loop {
            self.skip();
            if self.take(">>") {
                return Ok(Kind::Binary);
            }
            match self.peek() {
                Some('"') => {
                    self.quoted('"')?;
                }
                Some(c) if c.is_ascii_alphanumeric() || ",/:-_$".contains(c) => self.at += 1,
                _ => {
                    self.open.push(('<', start));
                    return Err(self.expected("`>>`"));
                }
            }
        }
    }

    fn quoted(&mut self, quote: char) -> Result<String, SyntaxError> {
        let start = self.at;
        self.at += 1;
        let mut out = String::new();
        let mut chars = self.rest().char_indices();
        while let Some((i, c)) = chars.next() {
            if c == quote {
                self.at += i + 1;
                return Ok(out);
            }
            out.push(c);
            if c == '\\'
                && let Some((_, escaped)) = chars.next()
            {
                out.push(escaped);
            }
        }
        Err(SyntaxError {
            message: format!("a `{quote}` that is not ended"),
            span: Span::new(self.file, start, start + 1),
            open: None,
        })
    }

    fn word(&mut self) -> String {
        let rest = self.rest();
        let end = rest
            .find(|c: char| !(c.is_alphanumeric() || c == '_' || c == '@'))
            .unwrap_or(rest.len());
        self.at += end;
        rest.get(..end).unwrap_or_default().to_owned()
    }

    /// `20`, `-1`, `0.6`, `1.0e3`, `16#ff`, `$a`.
    fn number(&mut self) -> Result<Kind, SyntaxError> {
        let start = self.at;
        if self.take("$") {
            self.at += self.peek().map_or(0, char::len_utf8);
            return Ok(Kind::Number(
                self.text.get(start..self.at).unwrap_or_default().to_owned(),
            ));
        }
        if matches!(self.peek(), Some('+' | '-')) {
            self.at += 1;
        }
        let rest = self.rest();
        let mut end = 0;
        let mut before = ' ';
        for (i, c) in rest.char_indices() {
            let next = rest.get(i + 1..).and_then(|r| r.chars().next());
            let part = c.is_ascii_alphanumeric()
                || c == '_'
                || c == '#'
                || (c == '.' && next.is_some_and(|n| n.is_ascii_digit()))
                || ("+-".contains(c) && matches!(before, 'e' | 'E'));
            if !part {
                break;
            }
            before = c;
            end = i + c.len_utf8();
        }
        if !rest.starts_with(|c: char| c.is_ascii_digit()) {
            return Err(self.expected("a number"));
        }
        self.at += end;
        Ok(Kind::Number(
            self.text.get(start..self.at).unwrap_or_default().to_owned(),
        ))
    }
}

impl Term {
    pub fn atom(&self) -> Option<&str> {
        match &self.kind {
            Kind::Atom(name) => Some(name),
            _ => None,
        }
    }

    pub fn list(&self) -> Option<&[Term]> {
        match &self.kind {
            Kind::List(items) => Some(items),
            _ => None,
        }
    }

    /// `{name, value}`.
    pub fn pair(&self) -> Option<(&Term, &Term)> {
        match &self.kind {
            Kind::Tuple(items) => match items.as_slice() {
                [name, value] => Some((name, value)),
                _ => None,
            },
            _ => None,
        }
    }
}
