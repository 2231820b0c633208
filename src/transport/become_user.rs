//! Becoming another user by sudo or su: the script around the script, and what the tools' words mean.

use super::shell::quote;
use super::{CallError, CallErrorKind, Method, RunAs};

const BECOME: &str = include_str!("become.sh");

/// Wraps a script so that it runs as another user. `token` is random, other than the script's marker: it is seen in `ps`.
/// The password goes to the target on standard input only.
pub fn wrap(run_as: &RunAs, script: &[u8], token: &str) -> Result<Vec<u8>, CallError> {
    let given = [Some(&run_as.user), run_as.password.as_ref().map(|secret| &secret.0)];
    if given.into_iter().flatten().any(|text| text.contains(['\0', '\n'])) {
        return Err(refused("a user name or become password holds a line break or NUL", ""));
    }
    let mut text = b"{\n".to_vec();
    let argv = match &run_as.password {
        Some(password) => {
            text.extend_from_slice(BECOME.as_bytes());
            text.extend_from_slice(b"password=");
            text.extend(quote(&password.0));
            text.extend_from_slice(format!("\nbecome {token}").as_bytes());
            let skip = format!("while IFS= read -r line; do case $line in '{token} go') exec /bin/sh ;; esac; done");
            argv(run_as, &format!("echo '{token} hello' >&2; {skip}"), token)
        }
        None => {
            text.extend_from_slice(b"exec");
            argv(run_as, "exec /bin/sh", token)
        }
    };
    for word in argv {
        text.push(b' ');
        text.extend(quote(&word));
    }
    text.extend_from_slice(format!(" <<'{token}'\n").as_bytes());
    text.extend_from_slice(script);
    text.extend_from_slice(format!("{token}\nexit\n}}\n").as_bytes());
    Ok(text)
}

fn argv(run_as: &RunAs, command: &str, token: &str) -> Vec<String> {
    let flags = |default: &[&str]| match &run_as.flags {
        Some(flags) => flags.clone(),
        None => default.iter().map(|flag| (*flag).to_owned()).collect(),
    };
    let mut argv = Vec::new();
    let mut add = |words: &[&str]| argv.extend(words.iter().map(|word| (*word).to_owned()));
    match run_as.method {
        Method::Sudo => {
            add(&["sudo"]);
            // We say how it asks.
            let flags = flags(&["-H"]);
            let kept: Vec<&str> = flags
                .iter()
                .map(String::as_str)
                .filter(|f| !matches!(*f, "-n" | "-S"))
                .collect();
            add(&kept);
            match run_as.password {
                Some(_) => add(&["-S", "-p", &format!("\n{token} prompt\n")]),
                None => add(&["-n"]),
            }
            add(&["-u", &run_as.user, "--", "/bin/sh", "-c", command]);
        }
        Method::Su => {
            add(&["su"]);
            let flags = flags(&["-s", "/bin/sh"]);
            add(&flags.iter().map(String::as_str).collect::<Vec<_>>());
            add(&["-c", command, "--", &run_as.user]);
        }
    }
    argv
}

/// What sudo's or su's words mean; called when the script did not begin.
pub fn classify(run_as: &RunAs, said: &str) -> CallError {
    let has = |words: &[&str]| words.iter().any(|word| said.contains(word));
    let user = &run_as.user;
    let tool = match run_as.method {
        Method::Sudo => "sudo",
        Method::Su => "su",
    };
    let give = "give it with `--ask-become-pass`, `--become-password-file` or `ansible_become_password`";
    let mut error = if has(&[
        "unknown user",
        "does not exist",
        "No passwd entry",
        "unknown uid",
        "no such user",
    ]) {
        refused(
            format!("{tool}: there is no user `{user}` on the host"),
            "check `become_user`",
        )
    } else if has(&["not found", "No such file or directory"]) && said.contains(tool) {
        let other = "install it, or set `become_method` to `su` or `sudo`, whichever the host has";
        refused(format!("{tool} is not installed on the host"), other)
    } else if has(&[
        "must have a tty",
        "no tty present",
        "must be run from a terminal",
        "a terminal is required",
    ]) {
        let help = "take `requiretty` out of sudoers (`Defaults:USER !requiretty`)";
        refused(format!("{tool} wants a terminal (`requiretty`)"), help)
    } else if has(&[
        "not in the sudoers file",
        "is not allowed to",
        "may not run sudo",
        "not permitted",
    ]) {
        let help = "allow it in sudoers, or use another `remote_user` or `become_user`";
        refused(format!("the user may not become `{user}` by {tool}"), help)
    } else if has(&[
        "account is currently not available",
        "account has expired",
        "account is locked",
    ]) {
        let help = "the account has no shell or is locked; `become_method: sudo` needs no shell of it";
        refused(format!("{tool}: the account `{user}` cannot be used"), help)
    } else if has(&["a password is required"])
        || run_as.password.is_none() && has(&["Authentication failure", "incorrect password", "Permission denied"])
    {
        refused(
            format!("{tool} wants a password to become `{user}`, and none was given"),
            give,
        )
    } else if has(&[
        "incorrect password",
        "Sorry, try again",
        "Authentication failure",
        "no password was provided",
    ]) {
        refused(format!("wrong password for {tool} to become `{user}`"), give)
    } else if has(&["Permission denied"]) {
        refused(
            format!("the user may not become `{user}` by {tool}"),
            "see which group the host wants for `su`",
        )
    } else {
        refused(format!("cannot become `{user}` by {tool}"), "")
    };
    error.said = said.trim().to_owned();
    error
}

fn refused(message: impl Into<String>, help: &str) -> CallError {
    CallError {
        kind: CallErrorKind::Become,
        message: message.into(),
        said: String::new(),
        help: (!help.is_empty()).then(|| help.to_owned()),
        origin: None,
    }
}
