//! A piece of a file, and the result of reading it.

use std::ops::Range;

/// Lines to parse, and the text around them.
pub(crate) struct Piece<'a> {
    pub(crate) bytes: &'a [u8],
    /// The range of the lines to parse.
    pub(crate) own: Range<usize>,
    /// Maximum length of a record of several lines, in bytes.
    pub(crate) record: usize,
    /// Whether a record may have several lines. In a followed file it may not, because its next lines are not written
    /// yet.
    pub(crate) joins: bool,
}

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
