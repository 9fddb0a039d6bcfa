//! The contract of the formats.

use std::io;

use serde_json::Value;

/// What writes rows to stdout.
pub trait RowWriter {
    fn row(&mut self, row: &Value) -> io::Result<()>;

    /// Writes what is left.
    fn finish(&mut self) -> io::Result<()>;
}
