//! The result of reading a piece of a file.

/// What reading a piece came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Read {
    /// It was read; whether the file ends with it.
    Whole { last: bool },
    /// A part was read; the rest of it is not written yet.
    Part,
    /// There is nothing of it.
    Nothing,
}

/// A line or row that could not be decoded.
pub(crate) struct Malformed {
    /// Its number in the file, from 1.
    pub(crate) number: u64,
    pub(crate) reason: String,
    pub(crate) content: Vec<u8>,
}

/// How much of a piece was read, by piece.
pub(crate) type Partials = Vec<(u64, u64)>;
