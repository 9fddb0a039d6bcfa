//! One connection: HTTP/1.1 and 1.0, and when it is given up.
//!
//! Hyper limits the time of a request's head, [`body`](super::body) that of a body. A client that does not read its answers, or
//! says nothing any more, has no request under way that is being answered: it is given up after [`QUIET`].

use std::pin::pin;
use std::sync::Mutex;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tidemill_engine::locks::lock;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::service::Service;

/// Time in which a client has to send the head of a request.
const HEAD: Duration = Duration::from_secs(30);
/// Time after which a connection is closed on which no request is being answered.
const QUIET: Duration = Duration::from_secs(60);
/// Bytes that are buffered for a connection; the head of a request must fit in.
const BUFFER: usize = 64 << 10;

/// What happens on a connection.
struct Activity(Mutex<(usize, Instant)>);

/// A request that is being answered.
struct Answering<'a>(&'a Activity);

impl Activity {
    fn begin(&self) -> Answering<'_> {
        lock(&self.0).0 += 1;
        Answering(self)
    }

    /// Waits until the connection has been quiet for long.
    async fn quiet(&self) {
        loop {
            let (answering, since) = *lock(&self.0);
            let until = if answering == 0 { since + QUIET } else { Instant::now() + QUIET };
            if until <= Instant::now() {
                return;
            }
            sleep_until(until).await;
        }
    }
}

impl Drop for Answering<'_> {
    fn drop(&mut self) {
        let mut activity = lock(&self.0.0);
        *activity = (activity.0 - 1, Instant::now());
    }
}

/// Serves a connection. `has_room`: whether its requests are taken.
pub(super) async fn serve(socket: TcpStream, service: &Service, has_room: bool, mut ending: watch::Receiver<bool>) {
    let Ok(from) = socket.peer_addr() else { return };
    // Answers are small and wanted at once.
    drop(socket.set_nodelay(true));
    let activity = Activity(Mutex::new((0, Instant::now())));
    let answer = service_fn(|request| {
        let answering = activity.begin();
        async move {
            let _answering = answering;
            if has_room { service.answer(from, request).await } else { Ok(service.answer_full()) }
        }
    });
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD).max_buf_size(BUFFER);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(socket), answer));
    let result = tokio::select! {
        result = connection.as_mut() => result,
        () = activity.quiet() => return,
        () = ended(&mut ending) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = result {
        tracing::debug!(%from, %error, "a connection to the HTTP source has failed");
    }
}

async fn ended(ending: &mut watch::Receiver<bool>) {
    drop(ending.wait_for(|ends| *ends).await);
}
