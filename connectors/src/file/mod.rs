//! Files: CSV, JSON lines and Parquet in, bounded or (lines) followed; JSON lines out, exactly once.
//!
//! ```text
//! source ── merges files by watermark ─▶ content ─┬─ lines: bytes ─▶ quotes ─▶ format     plain, gzip, zstd
//!                                                 └─ rows: Parquet
//! reference ── a file that is replaced as a whole, read again when it has changed: what differs, by key
//! ```

mod bytes;
mod content;
mod csv;
mod format;
mod gzip;
mod lines;
mod quotes;
mod reference;
mod rows;
mod sink;
mod source;
mod starts;

pub use format::{Compression, Format, by_extension};
pub use reference::{ReferenceExt, ReferenceFile, Version};
pub use sink::{FileSink, FileWriter};
pub use source::{FileReader, FileSource};
