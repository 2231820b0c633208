//! `doc [MODULE]`: everything from the [`ModuleSpec`].

use super::Session;
use crate::cli::{DocArgs, DocFormat, Exit};
use crate::diagnostic::{Code, Diagnostic, similar_name};
use crate::modules::{ArgKind, ArgSpec, HEADINGS, ModuleSpec, REGISTRY, find};
use crate::report::style::{Palette, pad, paint, width};
use serde_json::{Value, json};
use std::fmt::Write as _;

pub fn run(session: &Session, args: &DocArgs) -> Exit {
    let palette = Palette::new(session.console.out_color);
    let columns = session.console.width.min(110);
    let text = match &args.module {
        None => match args.format {
            DocFormat::Human => list(REGISTRY, &palette),
            DocFormat::Json => document(&REGISTRY.iter().map(|m| module_json(m)).collect()),
        },
        Some(name) => {
            let Some(module) = find(name) else {
                return session.tell(&[unknown(name)]);
            };
            match args.format {
                DocFormat::Human => page(module, &palette, columns),
                DocFormat::Json => document(&module_json(module)),
            }
        }
    };
    session.answer(&text)
}

fn unknown(name: &str) -> Diagnostic {
    let names = REGISTRY
        .iter()
        .flat_map(|m| std::iter::once(m.name).chain(m.aliases.iter().copied()));
    let diagnostic = Diagnostic::error(Code::UNKNOWN_MODULE, format!("unknown module `{name}`"));
    match similar_name(name, names) {
        Some(similar) => diagnostic.help(format!("a module with a similar name exists: `{similar}`")),
        None => diagnostic.help("`rmqplay doc` lists all modules"),
    }
}

fn document(value: &Value) -> String {
    format!("{value:#}\n")
}

fn list(modules: &[&ModuleSpec], palette: &Palette) -> String {
    let columns = modules.iter().map(|m| width(m.name)).max().unwrap_or(0) + 2;
    let mut out = String::new();
    for module in modules {
        if let Some((_, heading)) = HEADINGS.iter().find(|(first, _)| *first == module.name) {
            let gap = if out.is_empty() { "" } else { "\n" };
            let _ = writeln!(out, "{gap}{}", paint(palette.title, heading));
        }
        let name = pad(module.name, columns);
        let _ = writeln!(out, "  {}{}", paint(palette.ok, &name), module.summary);
    }
    let _ = writeln!(out, "\n`rmqplay doc MODULE` tells more about one.");
    out
}

fn page(module: &ModuleSpec, palette: &Palette, columns: usize) -> String {
    let title = |text: &str| paint(palette.title, text).into_owned();
    let mut out = format!("{}: {}\n", title(module.name), module.summary);
    if !module.aliases.is_empty() {
        let _ = writeln!(out, "also called {}", module.aliases.join(", "));
    }
    for paragraph in paragraphs(module.description) {
        let _ = write!(out, "\n{}", fill(&paragraph, 0, columns));
    }
    if !module.args.is_empty() {
        let _ = writeln!(out, "\n{}", title("Arguments"));
        for arg in module.args {
            let _ = writeln!(
                out,
                "  {}  {}",
                paint(palette.ok, arg.name),
                paint(palette.dim, &facts(arg))
            );
            let _ = write!(out, "{}", fill(arg.doc, 6, columns));
        }
    }
    if module.open {
        let _ = writeln!(out, "\nAny other argument is taken too.");
    }
    if let Some(free) = module.free_form {
        let _ = writeln!(
            out,
            "\nFree form: `{}: TEXT` is `{}: {{ {free}: TEXT }}`.",
            module.name, module.name
        );
    }
    let _ = writeln!(out, "\n{}", title("Returns, besides changed, failed and msg"));
    if module.returns.is_empty() {
        let _ = writeln!(out, "  nothing");
    }
    let names = module.returns.iter().map(|(n, _)| width(n)).max().unwrap_or(0) + 2;
    for (name, meaning) in module.returns {
        let text = fill(meaning, 2 + names, columns);
        let _ = writeln!(out, "  {}{}", paint(palette.ok, &pad(name, names)), text.trim());
    }
    if !module.examples.trim().is_empty() {
        let _ = writeln!(out, "\n{}", title("Examples"));
        for line in module.examples.trim_matches('\n').lines() {
            let _ = writeln!(out, "{}", format!("  {line}").trim_end());
        }
    }
    out
}

/// Type, default, choices and aliases of an argument.
fn facts(arg: &ArgSpec) -> String {
    let mut facts = vec![kind(arg.kind).to_owned()];
    if arg.required {
        facts.push("required".to_owned());
    }
    if let Some(default) = arg.default {
        let plain = !default.is_empty() && !default.contains(|c: char| c.is_whitespace() || c.is_control());
        facts.push(if plain {
            format!("default {default}")
        } else {
            format!("default {default:?}")
        });
    }
    if !arg.choices.is_empty() {
        facts.push(format!("one of {}", arg.choices.join(", ")));
    }
    if !arg.aliases.is_empty() {
        facts.push(format!("also {}", arg.aliases.join(", ")));
    }
    if arg.secret {
        facts.push("secret, never shown".to_owned());
    }
    facts.join("; ")
}

fn kind(kind: ArgKind) -> &'static str {
    match kind {
        ArgKind::Str => "string",
        ArgKind::Bool => "boolean",
        ArgKind::Int => "integer",
        ArgKind::Float => "number",
        ArgKind::Path => "path on the host",
        ArgKind::List => "list of strings",
        ArgKind::ListRaw => "list",
        ArgKind::Dict => "mapping",
        ArgKind::Mode => "file mode",
        ArgKind::Raw => "any value",
    }
}

fn module_json(module: &ModuleSpec) -> Value {
    let args: serde_json::Map<String, Value> = module
        .args
        .iter()
        .map(|arg| {
            let value = json!({
                "type": kind(arg.kind), "required": arg.required, "default": arg.default, "choices": arg.choices,
                "aliases": arg.aliases, "secret": arg.secret, "description": arg.doc,
            });
            (arg.name.to_owned(), value)
        })
        .collect();
    let returns: serde_json::Map<String, Value> = module
        .returns
        .iter()
        .map(|(name, meaning)| ((*name).to_owned(), json!(meaning)))
        .collect();
    json!({
        "module": module.name, "aliases": module.aliases, "summary": module.summary,
        "description": module.description, "arguments": args, "any_argument": module.open,
        "free_form": module.free_form, "returns": returns, "examples": module.examples,
    })
}

/// Paragraphs of Markdown: joined lines, except where a line begins a list item or a table row. Lines of fenced code stay
/// as they are, after [`CODE`].
fn paragraphs(text: &str) -> Vec<String> {
    let mut out: Vec<String> = Vec::new();
    let (mut fresh, mut code) = (true, false);
    for whole in text.lines() {
        let line = whole.trim();
        if line.starts_with("```") {
            (fresh, code) = (true, !code);
            continue;
        }
        if code {
            let whole = format!("{CODE}{whole}");
            match out.last_mut() {
                Some(last) if !fresh => {
                    last.push('\n');
                    last.push_str(&whole);
                }
                _ => out.push(whole),
            }
            fresh = false;
            continue;
        }
        if line.is_empty() {
            fresh = true;
            continue;
        }
        let item = line.starts_with("- ") || line.starts_with("* ") || line.starts_with('|');
        match out.last_mut() {
            Some(last) if !fresh && item => {
                last.push('\n');
                last.push_str(line);
            }
            Some(last) if !fresh => {
                last.push(' ');
                last.push_str(line);
            }
            _ => out.push(line.to_owned()),
        }
        fresh = false;
    }
    out
}

/// What a line of code begins with on a page.
const CODE: &str = "    ";

/// Lines of at most `columns`, each after `indent` blanks; a line break in `text` is kept, and code is as it is.
fn fill(text: &str, indent: usize, columns: usize) -> String {
    let mut out = String::new();
    for part in text.lines() {
        if part.starts_with(CODE) {
            let _ = writeln!(out, "{}{part}", " ".repeat(indent));
            continue;
        }
        let hang = if part.starts_with("- ") || part.starts_with("* ") {
            2
        } else {
            0
        };
        let mut line = " ".repeat(indent);
        let mut empty = true;
        for word in part.split_whitespace() {
            if !empty && width(&line) + 1 + width(word) > columns {
                let _ = writeln!(out, "{line}");
                line = " ".repeat(indent + hang);
                empty = true;
            }
            if !empty {
                line.push(' ');
            }
            line.push_str(word);
            empty = false;
        }
        let _ = writeln!(out, "{}", line.trim_end());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use insta::assert_snapshot;

    static SPEC: ModuleSpec = ModuleSpec {
        name: "knob",
        aliases: &["acme.tools.knob", "dial"],
        summary: "Turns a knob",
        description: "Turns a knob of the host, which takes a while to describe, so that this paragraph needs two \
                      lines.\n\nIt\ndecides:\n- by what is live\n- by what is in the file, and this item is long \
                      enough to be broken too, with a hanging indent\n\nAnd so:\n\n```yaml\n- knob:\n    name: volume\n```\n\nThat is \
                      all.\n",
        args: &[
            ArgSpec::new("name", ArgKind::Str, "Which knob.")
                .required()
                .aliases(&["key"]),
            ArgSpec::new("state", ArgKind::Str, "Whether it is there.")
                .default("present")
                .choices(&["present", "absent"]),
            ArgSpec::new("password", ArgKind::Str, "Never shown.").secret(),
        ],
        free_form: Some("name"),
        open: false,
        returns: &[("value", "What the knob says"), ("previous", "What it said")],
        examples: "- name: turn it\n  knob:\n    name: volume\n\n- knob: balance\n",
        local: true,
        kind: crate::modules::Kind::Control,
        ahead: crate::modules::no_guess,
    };

    #[test]
    fn a_page_has_everything_the_specification_has() {
        assert_snapshot!(page(&SPEC, &Palette::default(), 80), @r"
        knob: Turns a knob
        also called acme.tools.knob, dial

        Turns a knob of the host, which takes a while to describe, so that this
        paragraph needs two lines.

        It decides:
        - by what is live
        - by what is in the file, and this item is long enough to be broken too, with a
          hanging indent

        And so:

            - knob:
                name: volume

        That is all.

        Arguments
          name  string; required; also key
              Which knob.
          state  string; default present; one of present, absent
              Whether it is there.
          password  string; secret, never shown
              Never shown.

        Free form: `knob: TEXT` is `knob: { name: TEXT }`.

        Returns, besides changed, failed and msg
          value     What the knob says
          previous  What it said

        Examples
          - name: turn it
            knob:
              name: volume

          - knob: balance
        ");
    }

    #[test]
    fn json_has_the_same() {
        let json = module_json(&SPEC);
        assert_eq!(json["aliases"], json!(["acme.tools.knob", "dial"]));
        let state = json!({
            "type": "string", "required": false, "default": "present", "choices": ["present", "absent"],
            "aliases": [], "secret": false, "description": "Whether it is there.",
        });
        assert_eq!(json["arguments"]["state"], state);
        assert_eq!(
            json["returns"],
            json!({"value": "What the knob says", "previous": "What it said"})
        );
        for key in ["module", "summary", "description", "free_form", "examples"] {
            assert!(json[key].is_string(), "{key}");
        }
    }

    #[test]
    fn the_list_is_grouped_and_complete() {
        let all = list(REGISTRY, &Palette::default());
        for (first, heading) in HEADINGS {
            let name = format!("\n  {first} ");
            assert!(all.contains(&format!("{heading}{name}")), "{heading}: {all}");
        }
        assert!(all.starts_with(HEADINGS[0].1));
        for module in REGISTRY {
            assert_eq!(
                all.lines()
                    .filter(|l| l.starts_with(&format!("  {} ", module.name)))
                    .count(),
                1,
                "{}",
                module.name
            );
        }
    }

    #[test]
    fn every_page_fits_the_terminal() {
        for module in REGISTRY {
            let text = page(module, &Palette::default(), 100);
            let examples = text.find("\nExamples\n").unwrap_or(text.len());
            // What arguments are (their choices) stays on one line, and words are never broken.
            for line in text[..examples]
                .lines()
                .filter(|l| !l.contains("; ") && l.trim().contains(' '))
            {
                assert!(
                    width(line) <= 100 || line.starts_with("also called"),
                    "{}: {line}",
                    module.name
                );
            }
        }
    }

    #[test]
    fn unknown_modules_are_guessed_at() {
        assert_eq!(
            unknown("sysctll").helps,
            ["a module with a similar name exists: `sysctl`"]
        );
        assert_eq!(unknown("nothing_like_it").helps, ["`rmqplay doc` lists all modules"]);
    }
}
