//! A connection to another process of the job, from when it has said who it is until timely has it.

use std::io::{ErrorKind, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use super::wire::{Frame, Reader, encode};
use crate::error::JobError;

/// How long an answer may take to be sent.
const SEND: Duration = Duration::from_secs(10);

/// A connection that has said who it is.
pub(super) struct Peer {
    stream: TcpStream,
    pub(super) from: Option<SocketAddr>,
    reader: Reader,
    /// Process 0: whether it has connections to all others.
    pub(super) connected: bool,
}

impl Peer {
    pub(super) fn new(stream: TcpStream, from: Option<SocketAddr>) -> std::io::Result<Self> {
        stream.set_nonblocking(true)?;
        Ok(Self { stream, from, reader: Reader::default(), connected: false })
    }

    /// What it has said since the last call. An error: it is lost, and why.
    pub(super) fn heard(&mut self) -> Result<Option<Frame>, String> {
        self.reader.read(&mut self.stream).map_err(|fault| fault.to_string())
    }

    /// Whether it is still there. What it has said already is for timely.
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

    /// As timely wants it.
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

/// A machine or a network that is gone without a word is noticed within half a minute. One that stands still is not.
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

/// Has the others stop with the same reason.
pub(super) fn stop_all(peers: &mut Peers, error: &JobError) {
    let reason = error.report();
    for (_, peer) in present(peers) {
        // Whoever is lost has stopped.
        drop(peer.say(&Frame::Stop { reason: reason.clone() }));
    }
}
