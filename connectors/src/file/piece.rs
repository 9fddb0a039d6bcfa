//! The result of reading a piece of a file.

/// The result of reading a piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Read {
    /// The whole piece was read. `last` says whether the file ends with it.
    Whole { last: bool },
    /// A part of the piece was read; the rest is not written yet.
    Part,
    /// The file has nothing of the piece.
    Nothing,
}

/// A line or row that could not be decoded.
pub(crate) struct Malformed {
    /// The number of the line or row in the file, from 1.
    pub(crate) number: u64,
    pub(crate) reason: String,
    pub(crate) content: Vec<u8>,
}

/// The pieces that were read in part, each with the number of bytes read.
pub(crate) type Partials = Vec<(u64, u64)>;
