//! The broker's command line tools, run so that every argument arrives as it is.

/// `$1` is the tool, the rest its arguments. For scripts that run several: `sh -c "$SCRIPT" rabbitmq-cli TOOL ARGUMENTS...`.
///
/// Debian's wrapper in `/usr/sbin`, when root runs it, pastes the arguments into another shell's command line, where
/// `$`, backquotes and backslashes are expanded (rabbitmq-server#66): permissions and patterns are full of them. So the
/// tool itself is run, as the broker's user, from a directory that user may read (the VM loads code relative to it).
/// Elixir wants a UTF-8 locale.
pub const SCRIPT: &str = r#"tool=$1
shift
LC_ALL=C.UTF-8
export LC_ALL
if [ "$(id -u)" -eq 0 ] && [ -x "/usr/lib/rabbitmq/bin/$tool" ] && command -v runuser >/dev/null && cd /var/lib/rabbitmq; then
  HOME=/var/lib/rabbitmq
  exec runuser -u rabbitmq -- "/usr/lib/rabbitmq/bin/$tool" "$@"
fi
exec "$tool" "$@""#;

/// The argument vector of `tool ARGUMENTS...`; each run starts an Erlang VM (0.5 to 3 s of CPU), so runs are few.
/// `tool` is `rabbitmqctl`, `rabbitmq-diagnostics`, `rabbitmq-plugins`, `rabbitmq-queues` or `rabbitmq-upgrade`.
/// Secrets do not belong in arguments: the tools read passwords from standard input.
pub fn command<S: Into<String>>(tool: &str, arguments: impl IntoIterator<Item = S>) -> Vec<String> {
    ["sh", "-c", SCRIPT, "rabbitmq-cli", tool]
        .into_iter()
        .map(str::to_owned)
        .chain(arguments.into_iter().map(Into::into))
        .collect()
}

/// `$1` is the tool, the rest its arguments, the last of them `/dev/fd/3`: what comes on standard input. (The tools of
/// RabbitMQ 4 wait for ever where they shall read standard input themselves; and the broker's user may not open
/// root's pipe, hence `cat`.)
const FED: &str = r#"tool=$1
shift
LC_ALL=C.UTF-8
export LC_ALL
if [ "$(id -u)" -eq 0 ] && [ -x "/usr/lib/rabbitmq/bin/$tool" ] && command -v runuser >/dev/null && cd /var/lib/rabbitmq; then
  HOME=/var/lib/rabbitmq
  exec runuser -u rabbitmq -- sh -c 'cat | "$0" "$@" 3<&0 </dev/null' "/usr/lib/rabbitmq/bin/$tool" "$@"
fi
cat | "$tool" "$@" 3<&0 </dev/null"#;

/// As [`command`], with a file as last argument whose content comes on standard input: nothing of it is seen in a list
/// of processes or left on a disk.
pub fn fed<S: Into<String>>(tool: &str, arguments: impl IntoIterator<Item = S>) -> Vec<String> {
    ["sh", "-c", FED, "rabbitmq-cli", tool]
        .into_iter()
        .map(str::to_owned)
        .chain(arguments.into_iter().map(Into::into))
        .chain(["/dev/fd/3".to_owned()])
        .collect()
}

/// Whether a command starts an Erlang VM: whether it was made here, or is a script of [`super::health`].
pub fn starts_vm(argv: &[String]) -> bool {
    let scripts = ["rabbitmq-cli", "rabbitmq-view", "rabbitmq-critical"];
    argv.get(3).is_some_and(|name| scripts.contains(&name.as_str()))
}
