//! One call over three streams, however they were come by.

use super::wire;
use super::{CallError, Request, Response, become_user, shell};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

/// Longest wait for the first word of the script, which runs nothing before it; sudo may ask a directory service.
const BEGIN_LIMIT: Duration = Duration::from_secs(120);
/// What is kept of standard error, in bytes.
const SAID_CAP: usize = 32 * 1024;

/// A request on its way.
pub struct Call<'a> {
    request: &'a Request,
    marker: String,
    script: Vec<u8>,
}

/// What came over the streams.
pub struct Heard {
    pub answer: Vec<u8>,
    pub said: String,
    /// No first word came in time.
    pub silent: bool,
}

impl<'a> Call<'a> {
    pub fn new(request: &'a Request) -> Result<Call<'a>, CallError> {
        let marker = format!("rmqplay{}", token());
        let mut script = shell::encode(request, &marker);
        if let Some(run_as) = &request.run_as {
            script = become_user::wrap(run_as, &script, &token())?;
        }
        Ok(Call {
            request,
            marker,
            script,
        })
    }

    /// Sends the script and hears until the answer is complete or the stream ends.
    pub async fn run(
        &self,
        mut stdin: impl AsyncWrite + Unpin,
        mut stdout: impl AsyncRead + Unpin,
        mut stderr: impl AsyncRead + Unpin,
    ) -> Heard {
        let mut heard = Heard {
            answer: Vec::new(),
            said: String::new(),
            silent: false,
        };
        let mut said = Vec::new();
        let send = async {
            // A host that goes away shows itself on the other stream.
            let _ = stdin.write_all(&self.script).await;
            let _ = stdin.shutdown().await;
            drop(stdin);
        };
        let beside = async {
            tokio::join!(send, drain(&mut stderr, &mut said));
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = beside => {}
            silent = self.hear(&mut stdout, &mut heard.answer) => heard.silent = silent,
        }
        if !wire::is_complete(&heard.answer, &self.marker) {
            // The words that tell why may still be on their way.
            let _ = tokio::time::timeout(Duration::from_secs(1), drain(&mut stderr, &mut said)).await;
        }
        heard.said = clean(&said);
        heard
    }

    /// The replies, or why there are none. `lost` says what the end of the stream means to the transport.
    pub fn response(&self, heard: Heard, lost: impl FnOnce(&Heard) -> CallError) -> Result<Response, CallError> {
        if !self.is_complete(&heard) {
            if !self.began(&heard)
                && !heard.said.is_empty()
                && let Some(run_as) = &self.request.run_as
            {
                return Err(become_user::classify(run_as, &heard.said));
            }
            return Err(lost(&heard));
        }
        let replies = wire::decode(self.request, &self.marker, &heard.answer).map_err(|mut error| {
            error.said = heard.said;
            error
        })?;
        Ok(Response {
            replies,
            bytes_out: self.script.len() as u64,
            bytes_in: heard.answer.len() as u64,
        })
    }

    pub fn is_complete(&self, heard: &Heard) -> bool {
        wire::is_complete(&heard.answer, &self.marker)
    }

    /// Whether the script began at all.
    pub fn began(&self, heard: &Heard) -> bool {
        wire::has_begun(&heard.answer, &self.marker)
    }

    /// Reads to the last record or the end of the stream; true if nothing came in time.
    async fn hear(&self, stdout: &mut (impl AsyncRead + Unpin), answer: &mut Vec<u8>) -> bool {
        let mut begun = false;
        loop {
            let read = stdout.read_buf(answer);
            let count = if begun {
                read.await
            } else {
                match tokio::time::timeout(BEGIN_LIMIT, read).await {
                    Ok(count) => count,
                    Err(_) => return true,
                }
            };
            if !matches!(count, Ok(1..)) || wire::is_complete(answer, &self.marker) {
                return false;
            }
            begun = begun || wire::has_begun(answer, &self.marker);
        }
    }
}

/// Reads to the end, keeps the first [`SAID_CAP`] bytes.
async fn drain(stream: &mut (impl AsyncRead + Unpin), said: &mut Vec<u8>) {
    let mut rest = [0; 4096];
    while let Ok(count @ 1..) = stream.read(&mut rest).await {
        let room = SAID_CAP.saturating_sub(said.len());
        said.extend_from_slice(&rest[..count.min(room)]);
    }
}

/// Text a terminal can be shown: no control characters but line breaks.
fn clean(said: &[u8]) -> String {
    let text = String::from_utf8_lossy(said);
    text.chars()
        .filter(|c| !c.is_control() || *c == '\n')
        .collect::<String>()
        .trim()
        .to_owned()
}

/// 128 random bits.
fn token() -> String {
    format!("{:032x}", rand::random::<u128>())
}
