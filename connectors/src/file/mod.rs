//! Files: CSV, JSON lines and Parquet in, bounded or (lines) followed; JSON lines out, exactly once.
//!
//! ```text
//! source ── merges files by watermark ─▶ content ─┬─ lines: bytes ─▶ format     plain, gzip, zstd
//!                                                 └─ rows: Parquet
//! ```

mod bytes;
mod content;
mod format;
mod lines;
mod rows;
mod sink;
mod source;

pub use format::{Compression, Format, by_extension};
pub use sink::{FileSink, FileWriter};
pub use source::{FileReader, FileSource};
