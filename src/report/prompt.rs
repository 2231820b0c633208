//! Questions to the person at the terminal. Asked on standard error, so that standard output stays the report.

use crate::transport::Secret;
use console::Term;
use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};
use std::io::{self, BufRead, IsTerminal, Write};
use tokio::signal::unix::{SignalKind, signal};

/// Asks for a value that is not echoed. Where standard input is no terminal its next line is taken.
pub fn secret(question: &str) -> io::Result<Secret> {
    let stdin = io::stdin();
    if !stdin.is_terminal() {
        let mut line = String::new();
        if stdin.lock().read_line(&mut line)? == 0 {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "standard input has no line",
            ));
        }
        return Ok(Secret(line.trim_end_matches(['\n', '\r']).to_owned()));
    }
    let shown = tcgetattr(&stdin)?;
    let question = question.to_owned();
    let answer = unless_interrupted(move || {
        let term = Term::stderr();
        write!(&term, "{question}: ")?;
        term.read_secure_line()
    });
    if answer.is_err() {
        // Whoever did not answer wants to see what is typed next.
        tcsetattr(&stdin, OptionalActions::Now, &shown)?;
        writeln!(io::stderr())?;
    }
    Ok(Secret(answer?))
}

/// The answer to a question, or [`io::ErrorKind::Interrupted`] after Ctrl-C. A read from a terminal does not end for a
/// signal that has a handler, so it is left behind, in a thread that ends with the process.
fn unless_interrupted<T: Send + 'static>(ask: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    let interrupted = || io::Error::from(io::ErrorKind::Interrupted);
    // In a thread of its own: whoever asks may be inside a runtime.
    let waited = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let mut signal = signal(SignalKind::interrupt())?;
            let (answered, answer) = tokio::sync::oneshot::channel();
            std::thread::spawn(move || answered.send(ask()));
            tokio::select! {
                answer = answer => answer.unwrap_or_else(|_| Err(interrupted())),
                _ = signal.recv() => Err(interrupted()),
            }
        })
    });
    waited.join().unwrap_or_else(|_| Err(interrupted()))
}

/// An answer to `--step`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    Yes,
    No,
    /// This and all that follow without asking.
    Continue,
}

/// Asks whether a task should run, as `ansible-playbook --step` does. An end of input means no, Ctrl-C is an error.
pub fn step(task: &str) -> io::Result<Step> {
    let question = format!(
        "perform task `{}` ((N)o/(y)es/(c)ontinue): ",
        super::style::one_line(task)
    );
    let line = unless_interrupted(move || {
        let mut stderr = io::stderr();
        stderr.write_all(question.as_bytes())?;
        stderr.flush()?;
        let mut line = String::new();
        io::stdin().lock().read_line(&mut line).map(|_| line)
    });
    if !matches!(&line, Ok(line) if line.ends_with('\n')) {
        writeln!(io::stderr())?;
    }
    Ok(answer(&line?))
}

fn answer(line: &str) -> Step {
    match line.trim().to_ascii_lowercase().as_str() {
        "y" | "yes" => Step::Yes,
        "c" | "continue" => Step::Continue,
        _ => Step::No,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_is_the_answer_unless_said_otherwise() {
        assert_eq!(answer("y\n"), Step::Yes);
        assert_eq!(answer("Continue\n"), Step::Continue);
        assert_eq!(answer("\n"), Step::No);
        assert_eq!(answer("what\n"), Step::No);
    }
}
