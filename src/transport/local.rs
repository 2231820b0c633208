//! This machine: the same script, as a child's standard input.

use super::exchange::{Call, Heard};
use super::{BoxFuture, CallError, CallErrorKind, Connector, Peer, Request, Response, Target};
use std::path::PathBuf;
use std::process::Stdio;
use tokio::process::Command;

/// Makes peers that are this machine.
#[derive(Clone, Debug)]
pub struct LocalConnector {
    /// The shell and its first arguments: `["/bin/sh"]`; tests take others.
    pub shell: Vec<String>,
    /// `PATH` of the shell where it is not ours.
    pub path: Option<PathBuf>,
}

impl Default for LocalConnector {
    fn default() -> Self {
        LocalConnector {
            shell: vec!["/bin/sh".to_owned()],
            path: None,
        }
    }
}

impl Connector for LocalConnector {
    fn connect<'a>(&'a self, _: &'a Target) -> BoxFuture<'a, Result<Box<dyn Peer>, CallError>> {
        let peer: Box<dyn Peer> = Box::new(LocalPeer(self.clone()));
        Box::pin(async { Ok(peer) })
    }
}

struct LocalPeer(LocalConnector);

impl LocalPeer {
    fn command(&self) -> Command {
        let mut shell = self.0.shell.iter();
        let mut command = Command::new(shell.next().map_or("/bin/sh", String::as_str));
        command.args(shell).envs(self.0.path.iter().map(|path| ("PATH", path)));
        // Ctrl-C on the terminal is ours to handle: what is in flight runs to its end.
        command.process_group(0);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command
    }
}

impl Peer for LocalPeer {
    fn call<'a>(&'a mut self, request: &'a Request) -> BoxFuture<'a, Result<Response, CallError>> {
        Box::pin(async move {
            let call = Call::new(request)?;
            let mut child = self
                .command()
                .spawn()
                .map_err(|error| no_shell(&error.to_string(), String::new()))?;
            let (Some(stdin), Some(stdout), Some(stderr)) =
                (child.stdin.take(), child.stdout.take(), child.stderr.take())
            else {
                return Err(no_shell("its streams are not there", String::new()));
            };
            let heard = call.run(stdin, stdout, stderr).await;
            let status = if heard.silent { None } else { child.wait().await.ok() };
            call.response(heard, |heard| match call.began(heard) {
                true => ended(heard),
                false => {
                    let status = status.map_or("no answer".to_owned(), |status| status.to_string());
                    no_shell(&status, heard.said.clone())
                }
            })
        })
    }

    fn close<'a>(&'a mut self) -> BoxFuture<'a, ()> {
        Box::pin(async {})
    }
}

fn no_shell(why: &str, said: String) -> CallError {
    CallError {
        kind: CallErrorKind::Shell,
        message: format!("cannot run `sh` on this machine: {why}"),
        said,
        help: None,
        origin: None,
    }
}

fn ended(heard: &Heard) -> CallError {
    CallError {
        kind: CallErrorKind::Lost,
        message: "`sh` ended before its answer was complete".to_owned(),
        said: heard.said.clone(),
        help: None,
        origin: None,
    }
}
