//! Questions to the person at the terminal. Asked on standard error, so that standard output stays the report.

use crate::transport::Secret;
use console::Term;
use std::io::{self, BufRead, IsTerminal, Write};

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
    let term = Term::stderr();
    write!(&term, "{question}: ")?;
    Ok(Secret(term.read_secure_line()?))
}

/// An answer to `--step`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    Yes,
    No,
    /// This and all that follow without asking.
    Continue,
}

/// Asks whether a task should run, as `ansible-playbook --step` does. An end of input means no.
pub fn step(task: &str) -> io::Result<Step> {
    let mut stderr = io::stderr().lock();
    write!(
        stderr,
        "perform task `{}` ((N)o/(y)es/(c)ontinue): ",
        super::style::one_line(task)
    )?;
    stderr.flush()?;
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line)?;
    Ok(answer(&line))
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
