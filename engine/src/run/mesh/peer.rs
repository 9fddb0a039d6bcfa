//! A connection to another process of the job, from its `Hello` until timely takes it over.

use std::io::{ErrorKind, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use super::wire::{Frame, Reader, encode};
use crate::error::JobError;

/// How long sending an answer may take.
const SEND: Duration = Duration::from_secs(10);

/// A connection to another process whose identity is known.
pub(super) struct Peer {
    stream: TcpStream,
    pub(super) from: Option<SocketAddr>,
    reader: Reader,
    /// In process 0: whether that process has connections to all others.
    pub(super) connected: bool,
}

impl Peer {
    pub(super) fn new(stream: TcpStream, from: Option<SocketAddr>) -> std::io::Result<Self> {
        stream.set_nonblocking(true)?;
        Ok(Self { stream, from, reader: Reader::default(), connected: false })
    }

    /// Returns the next frame that has arrived, if there is one. An error is the reason why the process is lost.
    pub(super) fn heard(&mut self) -> Result<Option<Frame>, String> {
        self.reader.read(&mut self.stream).map_err(|fault| fault.to_string())
    }

    /// Returns whether the connection is still open. Bytes that have arrived are left for timely.
    pub(super) fn is_there(&self) -> bool {
        match self.stream.peek(&mut [0]) {
            Ok(read) => read > 0,
            Err(error) => matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted),
        }
    }

    pub(super) fn say(&mut self, frame: &Frame) -> Result<(), String> {
        let send = || -> std::io::Result<()> {
            self.stream.set_nonblocking(false)?;
            self.stream.set_write_timeout(Some(SEND))?;
            (&self.stream).write_all(&encode(frame))?;
            self.stream.set_nonblocking(true)
        };
        send().map_err(|error| error.to_string())
    }

    /// Returns the socket with the options that timely needs.
    pub(super) fn into_socket(self) -> std::io::Result<TcpStream> {
        let Self { stream, .. } = self;
        stream.set_nonblocking(false)?;
        stream.set_read_timeout(None)?;
        stream.set_write_timeout(None)?;
        stream.set_nodelay(true)?;
        keep_alive(&stream)?;
        Ok(stream)
    }
}

/// Enables keepalive: a machine or a network that disappears is noticed within half a minute. A process that is
/// stopped is not.
fn keep_alive(stream: &TcpStream) -> std::io::Result<()> {
    use rustix::net::sockopt;
    sockopt::set_socket_keepalive(stream, true)?;
    sockopt::set_tcp_keepidle(stream, Duration::from_secs(15))?;
    sockopt::set_tcp_keepintvl(stream, Duration::from_secs(5))?;
    sockopt::set_tcp_keepcnt(stream, 3)?;
    Ok(())
}

pub(super) type Peers = Vec<Option<Peer>>;

pub(super) fn present(peers: &mut Peers) -> impl Iterator<Item = (usize, &mut Peer)> {
    peers.iter_mut().enumerate().filter_map(|(index, peer)| Some((index, peer.as_mut()?)))
}

/// Has the other processes stop, with the same reason.
pub(super) fn stop_all(peers: &mut Peers, error: &JobError) {
    let reason = error.report();
    for (_, peer) in present(peers) {
        // A process that cannot be reached has stopped already.
        drop(peer.say(&Frame::Stop { reason: reason.clone() }));
    }
}
