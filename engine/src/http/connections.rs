//! The open connections: how many there may be, which one has to go for another, and how each is served.
//!
//! A client costs a seat, never the server: when all seats are taken, the connection that has been silent for the
//! longest time is closed in favour of the new one. So a thousand clients that connect and say nothing, or half of a
//! request, cannot keep anybody out.

use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::header::CONTENT_TYPE;
use axum::response::Response;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpStream;
use tokio::sync::watch;

use super::answering::Answering;
use super::seat::{Seat, victim};
use super::stall::Stall;
use crate::locks::lock;

/// Number of connections that may be open.
const MOST: usize = 256;
/// Time in which a client has to send the head of a request, and after which a connection without one is closed.
const HEAD: Duration = Duration::from_secs(10);
/// Bytes that are buffered for a connection; the head of a request must fit in.
const BUFFER: usize = 64 << 10;

/// The open connections.
pub(super) struct Connections {
    open: Arc<Mutex<Vec<Arc<Seat>>>>,
    /// Says to all connections whether the server ends. Each of them holds a receiver.
    ending: watch::Sender<bool>,
}

impl Connections {
    pub(super) fn new() -> Self {
        Self { open: Arc::default(), ending: watch::Sender::new(false) }
    }

    /// Serves a connection in a task of its own.
    pub(super) fn serve(&self, socket: TcpStream, router: Router) {
        let seat = Arc::new(Seat::new());
        {
            let mut open = lock(&self.open);
            if open.len() >= MOST {
                let stages: Vec<_> = open.iter().map(|seat| seat.stage()).collect();
                // Its task ends later, but its seat is free now.
                victim(&stages).map(|at| open.swap_remove(at)).iter().for_each(|given_up| given_up.give_up());
            }
            open.push(Arc::clone(&seat));
        }
        let (open, ending) = (Arc::clone(&self.open), self.ending.subscribe());
        tokio::spawn(async move {
            serve_one(socket, router, &seat, ending).await;
            lock(&open).retain(|other| !Arc::ptr_eq(other, &seat));
        });
    }

    /// Has all connections end once their answers are complete, and waits for that at most for `time`.
    pub(super) async fn end_within(self, time: Duration) {
        self.ending.send_replace(true);
        // It ends when the last receiver is dropped; what remains is cut off with the runtime.
        drop(tokio::time::timeout(time, self.ending.closed()).await);
    }
}

async fn serve_one(socket: TcpStream, router: Router, seat: &Arc<Seat>, mut ending: watch::Receiver<bool>) {
    let router = TowerToHyperService::new(router);
    let answer = service_fn(|request: hyper::Request<Incoming>| {
        let answering = Answering::begin(Arc::clone(seat));
        let answer = router.call(request);
        async move {
            let response: Response = answer.await?;
            if response.headers().get(CONTENT_TYPE).is_some_and(|kind| kind == "text/event-stream") {
                answering.listens();
            }
            Ok::<_, std::convert::Infallible>(response.map(|body: Body| answering.with(body)))
        }
    });
    // Answers are small and wanted at once.
    drop(socket.set_nodelay(true));
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD).max_buf_size(BUFFER);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(Stall::new(socket)), answer));
    let result = tokio::select! {
        result = connection.as_mut() => result,
        () = seat.given_up() => return,
        () = async { drop(ending.wait_for(|ends| *ends).await) } => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = result {
        tracing::debug!(%error, "a connection to the HTTP server has failed");
    }
}
