//! Files: CSV, JSON lines and Parquet in, bounded or (lines) followed; JSON lines out, exactly once.
//!
//! ```text
//! source ─┬─ bounded ─▶ content ─┬─ lines: bytes ─▶ quotes ─▶ format     plain, gzip, zstd
//!         │                      └─ rows: Parquet ─▶ times, as fields ask for them (asked); chunks of the file
//!         └─ follow: what has the name, as files come and go ─▶ generation: one file ─▶ lines
//!              siblings: what it was rotated to            identity (what is in it), position
//! leaves: piece, error, stamp (what the system says of a file), folder (what is beside it), handle (opens, and closes)
//! reference ── a file that is replaced as a whole, read again when it has changed: what differs, by key
//! ```

#[cfg(feature = "parquet")]
mod asked;
mod bounded;
mod bytes;
#[cfg(feature = "parquet")]
mod chunks;
mod content;
mod csv;
mod error;
mod fields;
mod folder;
mod follow;
mod format;
mod generation;
mod gzip;
mod handle;
mod identity;
mod lines;
mod piece;
mod position;
mod quotes;
mod reference;
#[cfg(feature = "parquet")]
mod rows;
mod siblings;
mod sink;
mod source;
mod stamp;
mod starts;
#[cfg(feature = "parquet")]
mod times;

pub use follow::LostFile;
pub use format::{Compression, Format, by_extension};
pub use reference::{ReferenceExt, ReferenceFile, Version};
pub use sink::{FileSink, FileWriter};
pub use source::{FileReader, FileSource};
