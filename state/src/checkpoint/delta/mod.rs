//! Deltas: the changes of one worker in one epoch, in memory and as a file.
//!
//! ```text
//! file     "TMDELTA2" [len of body u64 LE] [body] [crc32 of body u32 LE]
//! body     [epoch][worker]
//!          [blobs]    { [name] [value] } …
//!          [sections] { [state] [ops] } …
//! (numbers as in `../../lengths.rs`; texts and bytes with their length in front; ops as in `ops.rs`)
//! ```
//! Decoding never panics and allocates no more memory than the file has bytes: the checksum is verified before anything
//! is read, and every length is compared with the bytes that are there. Files of the old format ("TMDELTA1", with
//! lengths of 32 bits) are read as well: `old.rs`.

mod content;
mod file;
mod old;
mod ops;
mod stored;

pub use content::Delta;
pub use ops::{EncodedElements, Op, Ops};
pub use stored::{DeltaEntry, blobs_of};
