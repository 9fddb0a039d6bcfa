//! The messages between processes before timely takes over the sockets: frames of a fixed head and a little JSON.
//!
//! ```text
//! "TDML" · u16 version · u32 length · JSON        (numbers big-endian; the head is the same in all versions)
//! ```
//! A reader takes exactly the bytes of its frame: what follows belongs to timely.

use std::io::{self, ErrorKind, Read};

use serde::{Deserialize, Serialize};

use super::identity::Identity;
use crate::checkpoint::restore::Agreement;

const MAGIC: [u8; 4] = *b"TDML";
/// The version of the protocol.
pub(super) const VERSION: u16 = 1;
const HEAD: usize = 10;
/// Maximum length of a frame's JSON: enough for settings, and for reasons that are errors with their causes.
const MAX_LEN: usize = 64 * 1024;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Frame {
    /// From the client that connects.
    Hello(Box<Hello>),
    /// To the client: it is admitted.
    Welcome { identity: Identity, index: usize, round: Round, nonce: String, proof: String },
    /// To the client: it is refused; `again` says whether it may try again, and `settings` names the settings that may
    /// be wrong.
    Refused {
        reason: String,
        again: bool,
        #[serde(default)]
        settings: Vec<String>,
    },
    /// To process 0: the sender has connections to all others.
    Connected,
    /// From process 0: the agreement on what is restored.
    Start(Agreement),
    /// To process 0: the sender has found the same, and is ready to start.
    Ready,
    /// To process 0: the sender has not found the same, or cannot start for another reason.
    Unable { reason: String },
    /// From process 0: the job begins.
    Go,
    /// From process 0: the job does not begin.
    Stop { reason: String },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Hello {
    pub(super) identity: Identity,
    /// Index of the sender; `to` is the index that the sender expects the receiver to have.
    pub(super) index: usize,
    pub(super) to: usize,
    /// The round that the sender has joined; `None` before process 0 has welcomed it.
    pub(super) round: Option<Round>,
    /// Reserved for a proof by a secret that all processes share; empty.
    pub(super) nonce: String,
    pub(super) proof: String,
}

/// One attempt to form the mesh: the start of process 0 that it belongs to, and its number within that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Round {
    pub(super) run: u64,
    pub(super) number: u64,
}

/// The reason why no frame could be read.
#[derive(Debug)]
pub(super) enum Fault {
    /// The other side closed the connection, after this many bytes of a frame.
    Closed(usize),
    Garbage(String),
    Version(u16),
    TooLong(u32),
    Undecodable(String),
    Io(io::Error),
}

impl Fault {
    /// Returns the name under which refusals for this reason are counted.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Closed(_) | Self::Io(_) => "closed",
            Self::Version(_) => "version",
            Self::Garbage(_) | Self::TooLong(_) | Self::Undecodable(_) => "garbage",
        }
    }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Closed(0) => f.write_str("it closed the connection without a word"),
            Self::Closed(had) => write!(f, "it closed the connection after {had} bytes of a message"),
            Self::Garbage(bytes) => write!(f, "it is no process of a job: it said \"{bytes}\""),
            Self::Version(found) => write!(f, "it speaks version {found} of the mesh, this build speaks {VERSION}"),
            Self::TooLong(len) => write!(f, "it announced a message of {len} bytes, {MAX_LEN} are the most"),
            Self::Undecodable(why) => write!(f, "its message cannot be read: {why}"),
            Self::Io(error) => write!(f, "the connection failed: {error}"),
        }
    }
}

pub(super) fn encode(frame: &Frame) -> Vec<u8> {
    let mut body = serde_json::to_vec(frame).unwrap_or_default();
    if body.len() > MAX_LEN {
        // Only reasons can be that long.
        let reason = "its reason is too long to be sent: see its own log".to_owned();
        let short = match frame {
            Frame::Refused { again, settings, .. } => {
                Frame::Refused { reason, again: *again, settings: settings.clone() }
            }
            Frame::Unable { .. } => Frame::Unable { reason },
            _ => Frame::Stop { reason },
        };
        body = serde_json::to_vec(&short).unwrap_or_default();
    }
    let mut bytes = Vec::with_capacity(HEAD + body.len());
    bytes.extend(MAGIC);
    bytes.extend(VERSION.to_be_bytes());
    bytes.extend((body.len() as u32).to_be_bytes());
    bytes.extend(body);
    bytes
}

/// A reader of one frame after the other, which keeps the bytes of an incomplete frame.
#[derive(Debug, Default)]
pub(super) struct Reader {
    bytes: Vec<u8>,
}

impl Reader {
    /// Reads the bytes that have arrived. Returns `None` while the frame is incomplete.
    pub(super) fn read(&mut self, from: &mut impl Read) -> Result<Option<Frame>, Fault> {
        let mut chunk = [0; 4096];
        loop {
            let missing = self.missing()?;
            if missing == 0 {
                let bytes = std::mem::take(&mut self.bytes);
                let body = bytes.get(HEAD..).unwrap_or_default();
                return serde_json::from_slice(body).map(Some).map_err(|e| Fault::Undecodable(e.to_string()));
            }
            let room = missing.min(chunk.len());
            match chunk.get_mut(..room).map_or(Ok(0), |room| from.read(room)) {
                Ok(0) => return Err(Fault::Closed(self.bytes.len())),
                Ok(read) => self.bytes.extend(chunk.iter().take(read)),
                Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => return Ok(None),
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(Fault::Io(e)),
            }
        }
    }

    /// Returns how many bytes are missing from the frame, as far as that is known. Fails as soon as the bytes
    /// cannot be a frame.
    fn missing(&self) -> Result<usize, Fault> {
        let bytes = &self.bytes;
        if bytes.iter().zip(MAGIC).any(|(found, magic)| *found != magic) {
            return Err(Fault::Garbage(bytes.escape_ascii().to_string()));
        }
        let [_, _, _, _, v0, v1, l0, l1, l2, l3, ..] = bytes[..] else { return Ok(HEAD - bytes.len()) };
        match u16::from_be_bytes([v0, v1]) {
            VERSION => {}
            other => return Err(Fault::Version(other)),
        }
        let len = u32::from_be_bytes([l0, l1, l2, l3]);
        if len as usize > MAX_LEN {
            return Err(Fault::TooLong(len));
        }
        Ok(HEAD + len as usize - bytes.len())
    }
}
