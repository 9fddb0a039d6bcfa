//! Asks the other processes of the job, all at once and each within a second.

use std::time::Duration;

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use tokio::task::JoinSet;

use super::peer::Peer;
use crate::http::shown::Shown;

/// Time in which a process has to answer. A page waits for it.
const TIME: Duration = Duration::from_secs(1);

/// Another process, and what it says.
pub(super) struct Other<T> {
    pub(super) process: usize,
    /// Absent while it is not known where it serves, or when it serves nothing.
    pub(super) address: Option<String>,
    /// The error is why it says nothing.
    pub(super) answer: Result<T, String>,
}

/// Asks each of the other processes with the token of the request that is being answered. They come in their order.
pub(super) async fn others<T, F>(shown: &Shown, headers: &HeaderMap, ask: impl Fn(Peer) -> F) -> Vec<Other<T>>
where
    T: Send + 'static,
    F: Future<Output = Result<T, String>> + Send + 'static,
{
    let watched = &shown.watched;
    let (mut all, mut asked) = (Vec::new(), JoinSet::new());
    for process in (0..watched.processes).filter(|process| *process != watched.index) {
        let mesh = watched.hosts.get(process).map_or("", String::as_str);
        let Some(address) = watched.process.pages.of(process) else {
            let answer = Err("it has not said where it serves HTTP: it starts, or was started without".to_owned());
            all.push(Other { process, address: None, answer });
            continue;
        };
        let peer = Peer::new(address, mesh, headers.get(AUTHORIZATION).cloned());
        let address = Some(peer.to_string());
        let answer = tokio::time::timeout(TIME, ask(peer));
        asked.spawn(async move {
            let late = |_| Err(format!("it did not answer within {} s", TIME.as_secs()));
            Other { process, address, answer: answer.await.unwrap_or_else(late) }
        });
    }
    while let Some(other) = asked.join_next().await {
        all.extend(other);
    }
    all.sort_by_key(|other| other.process);
    all
}
