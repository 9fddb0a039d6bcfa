//! Files: CSV and JSON lines in, plain, gzip or zstd, bounded or followed; JSON lines out, exactly once.

mod bytes;
mod format;
mod sink;
mod source;

pub use format::{Compression, Format, by_extension};
pub use sink::{FileSink, FileWriter};
pub use source::{FileReader, FileSource};
