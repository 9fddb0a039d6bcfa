//! The thread of the server: it accepts connections until the reader is dropped.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use tidemill_engine::{ConnectorError, ErrorKind, threads};
use tokio::runtime::Builder;
use tokio::sync::{oneshot, watch};

use super::connection;
use super::service::Service;

/// Number of connections that may wait to be accepted, as far as the system lets them.
const BACKLOG: i32 = 4096;
/// Number of threads that unpack and decode; they are started when they are needed.
const DECODERS: usize = 4;
/// Time between two tries to accept, when the process has no file descriptor left.
const OUT_OF_FILES: Duration = Duration::from_millis(100);
/// Time that answers have to be written when the job has ended.
const LAST_ANSWERS: Duration = Duration::from_millis(500);

/// The running server; it ends when this is dropped.
pub(super) struct Server {
    service: Arc<Service>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<threads::Handle<()>>,
}

/// Listens at an address. Returns the socket and the address, in which the system has chosen port 0.
pub(super) fn listen(address: SocketAddr) -> Result<(TcpListener, SocketAddr), ConnectorError> {
    let unusable = |e: io::Error| {
        let kind = if e.kind() == io::ErrorKind::AddrInUse { ErrorKind::Unavailable } else { ErrorKind::Invalid };
        ConnectorError::caused(kind, format!("could not listen at {address}"), e)
    };
    let listener = TcpListener::bind(address).map_err(unusable)?;
    rustix::net::listen(&listener, BACKLOG).map_err(|e| unusable(e.into()))?;
    listener.set_nonblocking(true).map_err(unusable)?;
    let address = listener.local_addr().map_err(unusable)?;
    Ok((listener, address))
}

impl Server {
    /// Serves up to `max_connections` connections, and says on a few more that there is no room.
    pub(super) fn start(
        listener: TcpListener,
        service: Service,
        max_connections: usize,
    ) -> Result<Self, ConnectorError> {
        let failed =
            |e| ConnectorError::caused(ErrorKind::Internal, "could not start the thread of the HTTP source", e);
        let service = Arc::new(service);
        let mut runtime = Builder::new_current_thread();
        let runtime = runtime.enable_all().max_blocking_threads(DECODERS).build().map_err(failed)?;
        let (stop, stopped) = oneshot::channel();
        let of_thread = Arc::clone(&service);
        let work = move || runtime.block_on(run(listener, of_thread, max_connections, stopped));
        let thread = threads::spawn("ingest".to_owned(), work).map_err(failed)?;
        Ok(Self { service, stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.service.intake.end();
        self.stop = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread of the HTTP source panicked");
        }
    }
}

async fn run(listener: TcpListener, service: Arc<Service>, max_connections: usize, mut stopped: oneshot::Receiver<()>) {
    let listener = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!(%error, "the HTTP source cannot be served"),
    };
    let ending = watch::Sender::new(false);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = &mut stopped => break,
        };
        // Each connection has a receiver.
        let open = ending.receiver_count();
        match accepted {
            // Beyond that it is cheaper to say nothing.
            Ok(_) if open >= 2 * max_connections => {}
            Ok((socket, _)) => {
                let (service, ending) = (Arc::clone(&service), ending.subscribe());
                let has_room = open < max_connections;
                tokio::spawn(async move { connection::serve(socket, &service, has_room, ending).await });
            }
            Err(error) => {
                tracing::debug!(%error, "the HTTP source could not accept a connection");
                tokio::time::sleep(OUT_OF_FILES).await;
            }
        }
    }
    drop(listener);
    ending.send_replace(true);
    // It ends when the last receiver is dropped; what remains is cut off with the runtime.
    drop(tokio::time::timeout(LAST_ANSWERS, ending.closed()).await);
}
