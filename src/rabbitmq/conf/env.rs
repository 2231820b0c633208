//! rabbitmq-env.conf: variables for the node, read by a shell. Only what a shell would not forgive, and names that are nearly
//! right, are told; the rest of the shell's language is left alone.

use crate::diagnostic::{Code, Diagnostic, FileId, Span, similar_name};

/// Names that RabbitMQ's scripts and `rabbit_env` know, without their `RABBITMQ_`.
const NAMES: &[&str] = &[
    "ADVANCED_CONFIG_FILE",
    "ALLOW_INPUT",
    "BASE",
    "BOOT_MODULE",
    "CONFIG_FILE",
    "CONFIG_FILES",
    "CONF_ENV_FILE",
    "CTL_DIST_PORT_MAX",
    "CTL_DIST_PORT_MIN",
    "CTL_ERL_ARGS",
    "DBG",
    "DEFAULT_PASS",
    "DEFAULT_USER",
    "DEFAULT_VHOST",
    "DISTRIBUTION_BUFFER_SIZE",
    "DIST_PORT",
    "ENABLED_PLUGINS",
    "ENABLED_PLUGINS_FILE",
    "ERLANG_COOKIE",
    "ERL_COOKIE",
    "FEATURE_FLAGS",
    "FEATURE_FLAGS_FILE",
    "GENERATED_CONFIG_DIR",
    "HOME",
    "IGNORE_SIGINT",
    "IO_THREAD_POOL_SIZE",
    "KEEP_PID_FILE_ON_EXIT",
    "LOADED_PLUGINS",
    "LOG",
    "LOGS",
    "LOG_BASE",
    "LOG_FF_REGISTRY",
    "MAX_NUMBER_OF_ATOMS",
    "MAX_NUMBER_OF_PROCESSES",
    "MAX_OPEN_FILES",
    "MNESIA_BASE",
    "MNESIA_DIR",
    "MOTD_FILE",
    "NODENAME",
    "NODE_IP_ADDRESS",
    "NODE_PORT",
    "PID_FILE",
    "PLUGINS_DIR",
    "PLUGINS_EXPAND_DIR",
    "PRODUCT_NAME",
    "PRODUCT_VERSION",
    "QUORUM_DIR",
    "SCHEDULER_BIND_TYPE",
    "SCHEMA_DIR",
    "SERVER_ADDITIONAL_ERL_ARGS",
    "SERVER_CODE_PATH",
    "SERVER_ERL_ARGS",
    "SERVER_START_ARGS",
    "STREAM_DIR",
    "STREAM_QUEUE_DIR",
    "UPGRADE_LOG",
    "USE_LOCALHOST",
    "USE_LONGNAME",
    "UNICODE",
];

/// Those of the Erlang VM and the system that people set there.
const OTHERS: &[&str] = &[
    "ERL_EPMD_ADDRESS",
    "ERL_EPMD_PORT",
    "ERL_MAX_PORTS",
    "ERL_MAX_ETS_TABLES",
    "ERL_CRASH_DUMP",
    "ERL_CRASH_DUMP_SECONDS",
    "ERL_INETRC",
    "ERL_AFLAGS",
    "ERL_FLAGS",
    "ERL_LIBS",
    "HOSTNAME",
    "LANG",
    "LC_ALL",
    "PATH",
    "TZ",
    "SYS_PREFIX",
    "CONFIG_ARG_FILE",
];

/// Checks one rabbitmq-env.conf.
pub fn check(file: FileId, text: &str) -> Vec<Diagnostic> {
    let mut out = Vec::new();
    let mut start = 0;
    while start < text.len() {
        let rest = text.get(start..).unwrap_or_default();
        let (len, open) = logical_line(rest);
        let line = rest.get(..len).unwrap_or_default();
        if let Some((quote, at)) = open {
            let span = Span::new(file, start + at, start + at + 1);
            out.push(
                Diagnostic::error(Code::CONF_SYNTAX, format!("a `{quote}` that is not ended"))
                    .at(span, "the shell that reads this file stops here"),
            );
        }
        one(file, start, line, &mut out);
        start += len + 1;
    }
    out
}

/// Up to the end of the line that is not within quotes or behind a backslash; and the quote that is never ended.
fn logical_line(text: &str) -> (usize, Option<(char, usize)>) {
    let mut quote: Option<(char, usize)> = None;
    let mut escaped = false;
    let mut before = ' ';
    let mut comment = false;
    for (i, c) in text.char_indices() {
        match (quote, c) {
            (None, '\n') if !escaped || comment => return (i, None),
            _ if comment => {}
            (None, '#') if before.is_whitespace() => comment = true,
            (None, '"' | '\'') if !escaped => quote = Some((c, i)),
            (Some((q, _)), c) if c == q && !(escaped && q == '"') => quote = None,
            _ => {}
        }
        escaped = c == '\\' && !escaped && quote.is_none_or(|(q, _)| q == '"');
        before = c;
    }
    (text.len(), quote)
}

fn one(file: FileId, start: usize, line: &str, out: &mut Vec<Diagnostic>) {
    let content = line.trim_start();
    let at = start + (line.len() - content.len());
    if content.is_empty() || content.starts_with('#') {
        return;
    }
    let (content, at) = match content.strip_prefix("export ") {
        Some(rest) => (rest.trim_start(), at + content.len() - rest.trim_start().len()),
        None => (content, at),
    };
    let end = content
        .find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
        .unwrap_or(content.len());
    let (name, rest) = content.split_at(end);
    let span = Span::new(file, at, at + name.len());
    let spaced = rest.trim_start_matches([' ', '\t']);
    if name.is_empty() {
        if content.starts_with(['%', ';']) {
            out.push(
                Diagnostic::error(Code::CONF_SYNTAX, "this does not begin a comment")
                    .at(Span::new(file, at, at + 1), "a shell reads this file")
                    .fix("comments begin with `#`", Span::new(file, at, at + 1), "#"),
            );
        }
    } else if name == "ulimit" {
        out.push(
            Diagnostic::warning(
                Code::CONF_NO_EFFECT,
                "`ulimit` cannot raise what systemd gives the service",
            )
            .at(span, "")
            .help("`LimitNOFILE=` in a drop-in of its unit"),
        );
    } else if rest.starts_with('=') {
        let value = rest.get(1..).unwrap_or_default();
        if value.starts_with([' ', '\t']) && !value.trim().is_empty() && !value.trim_start().starts_with('#') {
            out.push(blanks(Span::new(file, at, at + content.trim_end().len()), name, value));
        } else {
            named(name, span, out);
        }
    } else if let Some(value) = spaced.strip_prefix('=').filter(|v| !v.starts_with('=')) {
        out.push(blanks(Span::new(file, at, at + content.trim_end().len()), name, value));
    } else if rest.starts_with('.') && spaced.contains('=') {
        out.push(
            Diagnostic::error(Code::CONF_SYNTAX, "this is no variable")
                .at(
                    Span::new(file, at, at + content.trim_end().len()),
                    "a shell reads this file",
                )
                .note("`key = value` belongs in rabbitmq.conf"),
        );
    }
}

/// Whether a variable's value is not to be shown.
fn is_secret(name: &str) -> bool {
    ["PASS", "PASSWORD", "COOKIE", "SECRET"]
        .iter()
        .any(|w| name.ends_with(w))
}

/// `text` with a star for each byte of the values that are not to be shown.
pub fn masked(text: &str) -> String {
    let line = |line: &str| {
        let (name, value) = line.split_once('=').unwrap_or((line, ""));
        if is_secret(name.trim()) && !value.is_empty() {
            format!("{name}={}", "*".repeat(value.len()))
        } else {
            line.to_owned()
        }
    };
    text.split('\n').map(line).collect::<Vec<_>>().join("\n")
}

fn blanks(span: Span, name: &str, value: &str) -> Diagnostic {
    let label = format!("to the shell that reads this file, a command `{name}`");
    let found = Diagnostic::error(Code::CONF_SYNTAX, "blanks around `=`").at(span, label);
    let help = "without them it is a variable";
    if is_secret(name) {
        return found.help(help);
    }
    found.fix(help, span, format!("{name}={}", value.trim()))
}

fn named(name: &str, span: Span, out: &mut Vec<Diagnostic>) {
    let bare = name.strip_prefix("RABBITMQ_").unwrap_or(name);
    if NAMES.contains(&bare) || OTHERS.contains(&name) {
        return;
    }
    let prefixed = bare.len() < name.len();
    let near =
        similar_name(bare, NAMES.iter().copied()).filter(|n| prefixed || strsim::damerau_levenshtein(bare, n) <= 2);
    if near.is_none() && !prefixed {
        // A variable of one's own.
        return;
    }
    let found = Diagnostic::warning(Code::CONF_ADVICE, format!("RabbitMQ does not read `{name}`")).at(span, "");
    out.push(match near {
        Some(near) if prefixed => found.fix("there is a similar name", span, format!("RABBITMQ_{near}")),
        Some(near) => found.fix("there is a similar name", span, near),
        None => found,
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnostic::SourceMap;

    fn told(text: &str) -> Vec<String> {
        let map = SourceMap::default();
        let file = map.add("rabbitmq-env.conf", text);
        check(file, text)
            .iter()
            .map(|d| format!("{} {}", d.code, d.message))
            .collect()
    }

    #[test]
    fn what_works_is_left_alone() {
        let text = "# Defaults\nNODENAME=rabbit@mq-1\nRABBITMQ_USE_LONGNAME=true\nexport ERL_MAX_PORTS=300000\n\n\
                    SERVER_ADDITIONAL_ERL_ARGS=\"-rabbit foo \\\"x\\\" \\\n  +S 4:4 # no comment\n\" # comment's end\n\
                    if [ -e /etc/x ]; then\n  LOG_BASE='/var/log/it'\"'\"'s'\nfi\nMY_OWN=1\nLOGS=\n. /etc/default/common\n";
        assert_eq!(told(text), Vec::<String>::new());
    }

    #[test]
    fn passwords_are_starred() {
        assert_eq!(
            masked("A=1\nDEFAULT_PASS = x\nRABBITMQ_ERLANG_COOKIE=abc\n"),
            "A=1\nDEFAULT_PASS =**\nRABBITMQ_ERLANG_COOKIE=***\n"
        );
    }

    #[test]
    fn mistakes_are_told() {
        for (text, expected) in [
            ("NODENAME = rabbit@a\n", "E601 blanks around `=`"),
            ("NODENAME= rabbit@a\n", "E601 blanks around `=`"),
            ("NODENAME=\"rabbit\nX=1\n", "E601 a `\"` that is not ended"),
            ("% x\n", "E601 this does not begin a comment"),
            ("vm_memory_high_watermark.relative = 0.6\n", "E601 this is no variable"),
            ("NODNAME=rabbit@a\n", "W602 RabbitMQ does not read `NODNAME`"),
            (
                "RABBITMQ_WHATEVER=1\n",
                "W602 RabbitMQ does not read `RABBITMQ_WHATEVER`",
            ),
            (
                "ulimit -n 65536\n",
                "W601 `ulimit` cannot raise what systemd gives the service",
            ),
        ] {
            assert_eq!(told(text).first().map(String::as_str), Some(expected), "{text}");
        }
    }
}
