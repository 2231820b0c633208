//! `rmqplay.toml`: defaults for a directory and those below it. Lowered by hand from the spanned tree, so that
//! every mistake has its place.

use crate::cli::FORKS;
use crate::diagnostic::{Code, Diagnostic, FileId, SourceMap, Span, similar_name};
use crate::language::Files;
use std::num::NonZeroU32;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// The file that is looked for.
pub const FILE_NAME: &str = "rmqplay.toml";

const KEYS: &[&str] = &[
    "inventory",
    "forks",
    "roles_path",
    "remote_user",
    "private_key",
    "host_key_checking",
    "persist",
];

/// Defaults; paths are joined to the directory of the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    pub inventory: Vec<String>,
    pub forks: Option<NonZeroU32>,
    pub roles_path: Vec<String>,
    pub remote_user: Option<String>,
    pub private_key: Option<String>,
    pub host_key_checking: Option<bool>,
    /// Seconds.
    pub persist: Option<u32>,
}

impl Config {
    /// The configuration that holds in `directory`: of the nearest `rmqplay.toml` there or above.
    pub fn find(files: &dyn Files, sources: &SourceMap) -> Result<Config, Vec<Diagnostic>> {
        let absolute = files.absolute(".");
        let mut directory = absolute.as_str();
        // The shortest way to say it: `rmqplay.toml`, `../rmqplay.toml`...
        let mut prefix = String::new();
        loop {
            let path = format!("{prefix}{FILE_NAME}");
            if files.exists(&path) {
                return match files.read(&path) {
                    Ok(bytes) => match String::from_utf8(bytes) {
                        Ok(text) => Config::parse(&path, text, sources),
                        Err(_) => Err(vec![Diagnostic::error(Code::CONFIG, format!("`{path}` is not UTF-8"))]),
                    },
                    Err(error) => Err(vec![
                        Diagnostic::error(Code::FILE, format!("cannot read `{path}`")).note(error.to_string()),
                    ]),
                };
            }
            match directory.rsplit_once('/') {
                Some((above, name)) if !name.is_empty() => directory = above,
                _ => return Ok(Config::default()),
            }
            prefix.push_str("../");
        }
    }

    /// `path` is how the file is called in messages and what paths inside are relative to.
    pub fn parse(path: &str, text: String, sources: &SourceMap) -> Result<Config, Vec<Diagnostic>> {
        let file = sources.add(path, text.clone());
        let table = match DeTable::parse(&text) {
            Ok(table) => table.into_inner(),
            Err(error) => {
                let span = error.span().unwrap_or(0..0);
                let message = error.message().lines().next().unwrap_or("not TOML").to_owned();
                return Err(vec![
                    Diagnostic::error(Code::CONFIG, format!("`{FILE_NAME}` is not TOML: {message}"))
                        .at(Span::new(file, span.start, span.end), ""),
                ]);
            }
        };
        let base = path.strip_suffix(FILE_NAME).unwrap_or("");
        let mut reader = Reader {
            file,
            base,
            errors: Vec::new(),
        };
        let mut config = Config::default();
        for (key, value) in &table {
            match key.get_ref().as_ref() {
                "inventory" => config.inventory = reader.paths("inventory", value, true),
                "roles_path" => config.roles_path = reader.paths("roles_path", value, false),
                "forks" => {
                    let number = reader.number("forks", value, 1);
                    config.forks = number.and_then(NonZeroU32::new);
                }
                "persist" => config.persist = reader.number("persist", value, 0),
                "remote_user" => config.remote_user = reader.string("remote_user", value),
                "private_key" => {
                    config.private_key = reader.string("private_key", value).map(|p| reader.join(&p));
                }
                "host_key_checking" => match value.get_ref() {
                    DeValue::Boolean(b) => config.host_key_checking = Some(*b),
                    _ => reader.wrong("host_key_checking", "`true` or `false`", value),
                },
                other => reader.unknown(other, key),
            }
        }
        if reader.errors.is_empty() {
            Ok(config)
        } else {
            Err(reader.errors)
        }
    }
}

struct Reader<'a> {
    file: FileId,
    /// Ends with `/`, or is empty.
    base: &'a str,
    errors: Vec<Diagnostic>,
}

impl Reader<'_> {
    fn span<T>(&self, of: &Spanned<T>) -> Span {
        let range = of.span();
        Span::new(self.file, range.start, range.end)
    }

    fn join(&self, path: &str) -> String {
        if path.starts_with('/') || path.starts_with('~') {
            path.to_owned()
        } else {
            format!("{}{path}", self.base)
        }
    }

    fn wrong(&mut self, key: &str, wanted: &str, value: &Spanned<DeValue<'_>>) {
        let kind = value.get_ref().type_str();
        let span = self.span(value);
        self.errors.push(
            Diagnostic::error(Code::CONFIG, format!("`{key}` needs {wanted}"))
                .at(span, format!("this is of type {kind}")),
        );
    }

    fn unknown(&mut self, key: &str, at: &Spanned<std::borrow::Cow<'_, str>>) {
        let span = self.span(at);
        let keys: Vec<String> = KEYS.iter().map(|k| format!("`{k}`")).collect();
        let mut diagnostic = Diagnostic::error(Code::CONFIG, format!("unknown key `{key}` in `{FILE_NAME}`"))
            .at(span, "not a setting")
            .note(format!("the settings are {}", keys.join(", ")));
        if let Some(similar) = similar_name(key, KEYS.iter().copied()) {
            diagnostic = diagnostic.fix("a setting with a similar name exists", span, similar);
        }
        self.errors.push(diagnostic);
    }

    fn string(&mut self, key: &str, value: &Spanned<DeValue<'_>>) -> Option<String> {
        match value.get_ref() {
            DeValue::String(text) => Some(text.as_ref().to_owned()),
            _ => {
                self.wrong(key, "a string", value);
                None
            }
        }
    }

    /// A whole number of at least `least`.
    fn number(&mut self, key: &str, value: &Spanned<DeValue<'_>>, least: u32) -> Option<u32> {
        let number = match value.get_ref() {
            DeValue::Integer(n) => u32::from_str_radix(&n.as_str().replace('_', ""), n.radix()).ok(),
            _ => None,
        };
        let number = number.filter(|n| *n >= least);
        if number.is_none() {
            let example = if key == "forks" { FORKS } else { crate::cli::PERSIST_S };
            self.wrong(key, &format!("a whole number from {least}, such as {example}"), value);
        }
        number
    }

    /// A string or a list of strings. `hosts`: a string with a comma is a list of hosts, not a path.
    fn paths(&mut self, key: &str, value: &Spanned<DeValue<'_>>, hosts: bool) -> Vec<String> {
        let items: Vec<&Spanned<DeValue<'_>>> = match value.get_ref() {
            DeValue::Array(items) => items.iter().collect(),
            _ => vec![value],
        };
        let mut paths = Vec::new();
        for item in items {
            match item.get_ref() {
                DeValue::String(text) if hosts && text.contains(',') => paths.push(text.as_ref().to_owned()),
                DeValue::String(text) => paths.push(self.join(text)),
                _ => self.wrong(key, "a string or a list of strings", item),
            }
        }
        paths
    }
}
