//! The broker's command line tools, run so that every argument arrives as it is.

/// `$1` is the tool, the rest its arguments. For scripts that run several: `sh -c "$SCRIPT" rabbitmq-cli TOOL ARGUMENTS...`.
///
/// Debian's wrapper in `/usr/sbin`, when root runs it, pastes the arguments into another shell's command line, where
/// `$`, backquotes and backslashes are expanded (rabbitmq-server#66): permissions and patterns are full of them. So the
/// tool itself is run, as the broker's user, from a directory that user may read (the VM loads code relative to it).
/// Elixir wants a UTF-8 locale.
pub(super) const SCRIPT: &str = r#"tool=$1
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
