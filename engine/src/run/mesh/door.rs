//! The listening side: it admits clients that send a valid `Hello` in time, and closes the connections of all others.
//!
//! It never waits for a client: sockets are polled, so that a client that sends nothing only takes one of a
//! bounded number of places for a few seconds.

use std::collections::VecDeque;
use std::io::{ErrorKind, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::refusals::Refusals;
use super::wire::{Frame, Hello, Reader, encode};
use crate::error::{JobError, Remedy};
use crate::threads;

/// Maximum number of connections without a `Hello` so far. Beyond it the oldest one is closed.
pub(super) const MOST_STRANGERS: usize = 64;
/// Number of connections that are accepted before all connections are polled again.
const AT_ONCE: usize = 16;
/// How long each connection may take to send its `Hello`.
const PATIENCE: Duration = Duration::from_secs(5);

pub(super) struct Door {
    listeners: Vec<TcpListener>,
    strangers: VecDeque<Stranger>,
    refusals: Arc<Refusals>,
}

struct Stranger {
    stream: TcpStream,
    from: SocketAddr,
    since: Instant,
    reader: Reader,
}

/// A process that was admitted.
pub(super) struct Guest {
    pub(super) index: usize,
    pub(super) stream: TcpStream,
    pub(super) from: SocketAddr,
}

/// The reason why a client is refused.
pub(super) struct Refusal {
    pub(super) kind: &'static str,
    pub(super) reason: String,
    /// Whether the client may try again.
    pub(super) again: bool,
    /// The names of the settings that may be wrong.
    pub(super) settings: Vec<String>,
}

impl Door {
    /// Listens at `address`. The inner error means that its name cannot be resolved yet.
    pub(super) fn open(address: &str, refusals: &Arc<Refusals>) -> Result<Result<Self, String>, JobError> {
        let addresses = match address.to_socket_addrs() {
            Ok(addresses) => addresses,
            // The port is missing or not a number: trying again cannot help.
            Err(error) if error.kind() == ErrorKind::InvalidInput => {
                let reason = format!("hosts: \"{address}\" is not HOST:PORT: {error}");
                return Err(JobError::setting(reason, [Remedy::Setting("hosts")]));
            }
            Err(error) => return Ok(Err(error.to_string())),
        };
        let (mut listeners, mut refused) = (Vec::new(), None);
        for one in addresses {
            match TcpListener::bind(one).and_then(|listener| listener.set_nonblocking(true).map(|()| listener)) {
                Ok(listener) => listeners.push(listener),
                // A machine may not have all the addresses that its name resolves to.
                Err(error) if error.kind() == ErrorKind::AddrNotAvailable => refused = Some(error),
                Err(source) => return Err(cannot_listen(address, source)),
            }
        }
        match refused {
            Some(source) if listeners.is_empty() => Err(cannot_listen(address, source)),
            _ => Ok(Ok(Self { listeners, strangers: VecDeque::new(), refusals: Arc::clone(refusals) })),
        }
    }

    /// Accepts connections and reads their `Hello`s. `judge` returns the answer to each, which admits or refuses it.
    pub(super) fn look(&mut self, judge: &mut dyn FnMut(&Hello, SocketAddr) -> Result<Frame, Refusal>) -> Vec<Guest> {
        let mut guests = Vec::new();
        // A bounded number of rounds, so that the caller's other work gets its turn.
        for _ in 0..MOST_STRANGERS / AT_ONCE {
            let accepted = self.accept();
            self.listen_to_all(judge, &mut guests);
            if accepted < AT_ONCE {
                break;
            }
        }
        guests
    }

    /// Accepts connections. Returns their number.
    fn accept(&mut self) -> usize {
        let mut accepted = Vec::new();
        // The listeners take turns in being the first.
        self.listeners.rotate_left(1);
        for listener in &self.listeners {
            while accepted.len() < AT_ONCE {
                match listener.accept() {
                    Ok(connection) => accepted.push(connection),
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    Err(error) if error.kind() == ErrorKind::ConnectionAborted => {}
                    // For instance, no file descriptor is left: the next `look` tries again.
                    Err(error) => {
                        tracing::warn!(%error, "the mesh cannot accept a connection");
                        break;
                    }
                }
            }
        }
        let count = accepted.len();
        accepted.into_iter().for_each(|(stream, from)| self.take_in(stream, from));
        count
    }

    fn take_in(&mut self, stream: TcpStream, from: SocketAddr) {
        if let Err(error) = stream.set_nonblocking(true).and_then(|()| stream.set_nodelay(true)) {
            self.refusals.note(from, "closed", &error.to_string());
            return;
        }
        if self.strangers.len() >= MOST_STRANGERS
            && let Some(oldest) = self.strangers.pop_front()
        {
            let reason = format!("it has not said who it is, and more than {MOST_STRANGERS} others are there");
            self.refusals.note(oldest.from, "crowd", &reason);
        }
        self.strangers.push_back(Stranger { stream, from, since: threads::now(), reader: Reader::default() });
    }

    fn listen_to_all(
        &mut self,
        judge: &mut dyn FnMut(&Hello, SocketAddr) -> Result<Frame, Refusal>,
        guests: &mut Vec<Guest>,
    ) {
        for mut stranger in std::mem::take(&mut self.strangers) {
            match stranger.reader.read(&mut stranger.stream) {
                Ok(None) if threads::since(stranger.since) < PATIENCE => self.strangers.push_back(stranger),
                Ok(None) => {
                    let reason = format!("it has not said who it is for {} s", PATIENCE.as_secs());
                    self.refusals.note(stranger.from, "silent", &reason);
                }
                Ok(Some(Frame::Hello(hello))) => guests.extend(self.answer(stranger, &hello, judge)),
                Ok(Some(_)) => self.refusals.note(stranger.from, "garbage", "it does not say who it is"),
                Err(fault) => {
                    if fault.kind() == "version" {
                        say(
                            &mut stranger.stream,
                            &Frame::Refused { reason: fault.to_string(), again: false, settings: Vec::new() },
                        );
                    }
                    self.refusals.note(stranger.from, fault.kind(), &fault.to_string());
                }
            }
        }
    }

    fn answer(
        &self,
        mut stranger: Stranger,
        hello: &Hello,
        judge: &mut dyn FnMut(&Hello, SocketAddr) -> Result<Frame, Refusal>,
    ) -> Option<Guest> {
        match judge(hello, stranger.from) {
            Ok(welcome) => {
                let welcomed = say(&mut stranger.stream, &welcome);
                welcomed.then_some(Guest { index: hello.index, stream: stranger.stream, from: stranger.from })
            }
            Err(Refusal { kind, reason, again, settings }) => {
                // A process that came too early is not a stranger, and is not counted as one.
                if kind == "early" {
                    tracing::debug!(from = %stranger.from, reason, "a process is asked to come again");
                } else {
                    self.refusals.note(stranger.from, kind, &reason);
                }
                say(&mut stranger.stream, &Frame::Refused { reason, again, settings });
                None
            }
        }
    }
}

/// Sends a frame. A few bytes on a new connection do not block.
fn say(stream: &mut TcpStream, frame: &Frame) -> bool {
    stream.write_all(&encode(frame)).is_ok()
}

fn cannot_listen(address: &str, source: std::io::Error) -> JobError {
    let hint = match source.kind() {
        ErrorKind::AddrInUse => " (is another process there started as the same one?)",
        ErrorKind::AddrNotAvailable => " (hosts names it for this process, but it is no address of this machine)",
        _ => "",
    };
    JobError::Io { what: format!("listen for the other processes at {address}{hint}"), source }
}
