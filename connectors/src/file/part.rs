//! How the records of a part are written.

use std::fs::File;
use std::io;
use std::marker::PhantomData;
use std::path::PathBuf;

use tidemill_engine::{ConnectorError, Data, ErrorKind};

/// A format of parts.
pub(super) trait Format<T>: Send + Sync {
    /// Returns how the names of parts end.
    fn extension(&self) -> &'static str;

    /// Begins a part.
    fn begin(&self) -> Result<Box<dyn Rows<T>>, ConnectorError>;

    /// Writes the records of these files into one, in their order.
    fn put_together(&self, pieces: &[PathBuf], part: &mut File) -> Result<(), ConnectorError>;
}

/// The records of a part that is being written.
pub(super) trait Rows<T>: Send {
    /// Writes a record. Its bytes may come in `out` later.
    fn write(&mut self, record: &T, out: &mut Vec<u8>) -> Result<(), ConnectorError>;

    /// Writes what is left.
    fn finish(self: Box<Self>, out: &mut Vec<u8>) -> Result<(), ConnectorError>;
}

/// Each record is a line of JSON.
pub(super) struct JsonLines<T>(PhantomData<fn(T)>);

impl<T> Default for JsonLines<T> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T: Data> Format<T> for JsonLines<T> {
    fn extension(&self) -> &'static str {
        ".jsonl"
    }

    fn begin(&self) -> Result<Box<dyn Rows<T>>, ConnectorError> {
        Ok(Box::new(Self::default()))
    }

    fn put_together(&self, pieces: &[PathBuf], part: &mut File) -> Result<(), ConnectorError> {
        pieces.iter().try_for_each(|piece| {
            let copied = File::open(piece).and_then(|mut piece| io::copy(&mut piece, part));
            let failed = |e| {
                let message = format!("could not copy \"{}\" into its part", piece.display());
                ConnectorError::caused(ErrorKind::Unavailable, message, e)
            };
            copied.map(drop).map_err(failed)
        })
    }
}

impl<T: Data> Rows<T> for JsonLines<T> {
    fn write(&mut self, record: &T, out: &mut Vec<u8>) -> Result<(), ConnectorError> {
        let before = out.len();
        if let Err(e) = serde_json::to_writer(&mut *out, record) {
            out.truncate(before);
            let message = format!("a record cannot be written as JSON: {record:?}");
            return Err(ConnectorError::caused(ErrorKind::Invalid, message, e));
        }
        out.push(b'\n');
        Ok(())
    }

    fn finish(self: Box<Self>, _: &mut Vec<u8>) -> Result<(), ConnectorError> {
        Ok(())
    }
}
