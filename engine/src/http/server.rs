//! The thread of the server: it accepts connections, looks at the job once a second, and ends with the job.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tokio::runtime::Builder;
use tokio::sync::oneshot;
use tokio::time::MissedTickBehavior;

use super::access;
use super::connections::Connections;
use super::publisher::Publisher;
use super::routes;
use super::shown::Shown;
use super::watched::Watched;
use crate::error::{JobError, Remedy};
use crate::metrics::JobState;
use crate::threads;

/// Number of connections that may wait to be accepted, as far as the system lets them. The standard library's 128 are too
/// few for a thousand clients that come at once: one beyond them is not heard, and tries again after a second.
const BACKLOG: i32 = 4096;
/// Number of threads for calls that block; tokio starts them only when there are any.
const BLOCKING_THREADS: usize = 2;
/// Time between two tries to accept, when the process has no file descriptor left.
const OUT_OF_FILES: Duration = Duration::from_millis(100);
/// Time that answers have to be completed when the job has ended. A page that stays open does not keep the process.
const LAST_ANSWERS: Duration = Duration::from_millis(250);
/// Time between two looks at the job.
const LOOK: Duration = Duration::from_secs(1);

/// How a job has ended: its state, and its error if it has failed.
type End = (JobState, Option<String>);

/// The running server; it ends when this is dropped.
pub(crate) struct Server {
    stop: Option<oneshot::Sender<End>>,
    thread: Option<threads::Handle<()>>,
}

impl Server {
    /// Shows how the job has ended to the pages that are open, and ends the server.
    pub(crate) fn end(mut self, state: JobState, error: Option<&JobError>) {
        // The receiver is gone when the thread has panicked: then there is nobody to tell.
        self.stop.take().map(|stop| stop.send((state, error.map(JobError::report))));
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Without a word the job has not even begun; the thread ends all the same.
        self.stop = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread of the HTTP server panicked");
        }
    }
}

/// Serves `watched` at `address` until the returned value is dropped.
pub(crate) fn serve(address: SocketAddr, watched: Watched) -> Result<Server, JobError> {
    let unusable = |source: io::Error| {
        let reason = format!("cannot serve the status page at {address}: {source}");
        JobError::setting(reason, [Remedy::Setting("http")])
    };
    let listener = TcpListener::bind(address).map_err(unusable)?;
    rustix::net::listen(&listener, BACKLOG).map_err(|e| unusable(e.into()))?;
    listener.set_nonblocking(true).map_err(unusable)?;
    // With port 0 the system has chosen one.
    let address = listener.local_addr().map_err(unusable)?;
    watched.process.pages.begin(address);
    let failed = |source| JobError::Io { what: "start the thread of the status page".to_owned(), source };
    let mut runtime = Builder::new_current_thread();
    let runtime = runtime.enable_all().max_blocking_threads(BLOCKING_THREADS).build().map_err(failed)?;
    let shown = Arc::new(Shown::new(watched));
    let access = access::open(address, &shown.watched)?;
    let router = routes::router(Arc::clone(&shown), Arc::new(access));
    let (stop, stopped) = oneshot::channel();
    let work = move || runtime.block_on(run(listener, &shown, &router, stopped));
    let thread = threads::spawn("http".to_owned(), work).map_err(failed)?;
    tracing::info!("the status page is at http://{address}/, metrics are at http://{address}/metrics");
    Ok(Server { stop: Some(stop), thread: Some(thread) })
}

/// Accepts connections and looks at the job until it has ended.
async fn run(listener: TcpListener, shown: &Shown, router: &Router, mut stopped: oneshot::Receiver<End>) {
    let listener = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!(%error, "the status page cannot be served"),
    };
    let (connections, mut publisher) = (Connections::new(), Publisher::new());
    let mut looks = tokio::time::interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let end = loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((socket, _)) => connections.serve(socket, router.clone()),
                Err(error) => {
                    tracing::debug!(%error, "the HTTP server could not accept a connection");
                    tokio::time::sleep(OUT_OF_FILES).await;
                }
            },
            _ = looks.tick() => publisher.publish(shown, false),
            end = &mut stopped => break end,
        }
    };
    // Without a word the job has ended before it could run.
    let has_run = end.is_ok();
    if let Ok((state, error)) = end {
        shown.end(state, error);
    }
    publisher.publish(shown, true);
    connections.end_within(LAST_ANSWERS).await;
    if has_run {
        // Somebody has asked for it, and may have stopped the job because of it.
        shown.savepoints.settle().await;
    }
}
