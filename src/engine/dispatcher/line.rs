//! The way to a host: a task that holds its connection and sends one message after the other.

use super::Message;
use crate::transport::{CallError, CallErrorKind, Connector, Peer, Request, Target};
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::{Notify, Semaphore, mpsc};
use tokio::task::JoinHandle;

/// The way to a host's connection, and the task that holds it.
pub struct Line {
    pub orders: mpsc::UnboundedSender<Request>,
    pub holder: JoinHandle<()>,
    /// Ends the wait for a first connection.
    pub give_up: Arc<Notify>,
}

impl Line {
    /// The connection is made with the first message; `permits` are the calls at a time, and what comes of a message goes
    /// to `address`.
    pub fn new(
        host: &str,
        target: Option<Target>,
        connector: Arc<dyn Connector>,
        permits: Arc<Semaphore>,
        address: mpsc::UnboundedSender<Message>,
    ) -> Line {
        let (sender, mut orders) = mpsc::unbounded_channel::<Request>();
        let host = host.to_owned();
        let give_up = Arc::new(Notify::new());
        let given_up = give_up.clone();
        let holder = tokio::spawn(async move {
            let mut peer: Option<Box<dyn Peer>> = None;
            let mut reached = false;
            while let Some(request) = orders.recv().await {
                let mut connect_ms = None;
                let ready = async {
                    let permit = permits.acquire().await;
                    let made = connect(&*connector, target.as_ref(), &mut peer, &mut connect_ms).await;
                    (permit, made)
                };
                let (permit, made) = tokio::select! {
                    biased;
                    () = given_up.notified(), if !reached => {
                        if address.send(Message::NotReached { host: host.clone() }).is_err() {
                            break;
                        }
                        continue;
                    }
                    ready = ready => ready,
                };
                reached |= made.is_ok();
                let answer = match (made, &mut peer) {
                    (Ok(()), Some(peer)) => {
                        debug_assert!(!request.steps.is_empty());
                        peer.call(&request).await
                    }
                    (Ok(()), None) => Err(nobody_knows()),
                    (Err(error), _) => Err(error),
                };
                if matches!(&answer, Err(e) if e.kind != CallErrorKind::Become) {
                    peer = None;
                }
                drop(permit);
                if address
                    .send(Message::Answer {
                        host: host.clone(),
                        request: Box::new(request),
                        answer,
                        connect_ms,
                    })
                    .is_err()
                {
                    break;
                }
            }
            if let Some(mut peer) = peer {
                peer.close().await;
            }
        });
        Line {
            orders: sender,
            holder,
            give_up,
        }
    }
}

/// Makes the connection if there is none.
async fn connect(
    connector: &dyn Connector,
    target: Option<&Target>,
    peer: &mut Option<Box<dyn Peer>>,
    connect_ms: &mut Option<u64>,
) -> Result<(), CallError> {
    if peer.is_some() {
        return Ok(());
    }
    let target = target.ok_or_else(nobody_knows)?;
    let start = Instant::now();
    let made = connector.connect(target).await.map_err(|mut error| {
        error.origin.clone_from(&target.origin);
        error
    })?;
    *connect_ms = Some(u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX));
    *peer = Some(made);
    Ok(())
}

fn nobody_knows() -> CallError {
    CallError {
        kind: CallErrorKind::Connect,
        message: "nobody knows how to reach this host".to_owned(),
        said: String::new(),
        help: None,
        origin: None,
    }
}
