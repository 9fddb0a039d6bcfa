//! Sources and sinks of files. Input is CSV, JSON lines or Parquet; a source reads files to their end or follows
//! files of lines as they grow. Output is JSON lines or Parquet, exactly once.
//!
//! ```text
//! source ─┬─ bounded ─▶ content ─┬─ lines: bytes ─▶ quotes ─▶ format     plain, gzip, zstd
//!         │                      └─ rows: Parquet ─▶ times, as fields ask for them (asked); chunks of the file
//!         └─ follow: the file that has the name, as files come and go ─▶ generation: one file ─▶ lines
//!              siblings: the files it was rotated to       identity (its content), position
//! leaves: piece, error, stamp (attributes of a file), folder (the files beside it), handle (opens and closes it)
//! reference ── a file that is replaced as a whole and read again when it has changed: its changes by key
//! ```

#[cfg(feature = "parquet")]
mod asked;
mod bounded;
mod bytes;
#[cfg(feature = "parquet")]
mod chunks;
#[cfg(feature = "parquet")]
mod columns;
#[cfg(test)]
mod compared;
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
mod json;
#[cfg(feature = "parquet")]
mod kinds;
mod lines;
mod part;
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
pub use sink::{FileSink, FileWriter, RollSettings};
pub use source::{FileReader, FileSource};
