//! Files: CSV, JSON lines and Parquet in, bounded or (lines) followed; JSON lines out, exactly once.
//!
//! ```text
//! source ── merges files by watermark ─▶ content ─┬─ lines: bytes ─▶ format     plain, gzip, zstd
//!                                                 └─ rows: Parquet ─▶ times, as fields ask for them (asked)
//! reference ── a file that is replaced as a whole, read again when it has changed: what differs, by key
//! ```

mod asked;
mod bytes;
mod content;
mod format;
mod lines;
mod reference;
mod rows;
mod sink;
mod source;
mod times;

pub use format::{Compression, Format, by_extension};
pub use reference::{ReferenceExt, ReferenceFile, Version};
pub use sink::{FileSink, FileWriter};
pub use source::{FileReader, FileSource};
