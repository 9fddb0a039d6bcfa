//! The content of a file, in pieces that are divided among the workers.

use std::path::Path;

use serde::de::DeserializeOwned;
use tidemill_engine::ConnectorError;

use super::error::cannot_read;
#[cfg(not(feature = "parquet"))]
use super::error::invalid;
use super::format::{Compression, Format, format_of};
use super::handle::Handle;
use super::lines::LineFile;
use super::piece::{Malformed, Partials, Read};
#[cfg(feature = "parquet")]
use super::rows::RowFile;
use crate::splits::Splits;

/// The reader of a file's content: lines, or rows of Parquet.
pub(crate) enum Content {
    Lines(Box<LineFile>),
    #[cfg(feature = "parquet")]
    Rows(RowFile),
}

impl Content {
    /// Opens the file in the format of its extension, to continue after `splits` and `partials`.
    pub(crate) fn open<L: DeserializeOwned>(
        path: &Path,
        splits: &Splits,
        partials: Partials,
    ) -> Result<Self, ConnectorError> {
        let format = format_of(path)?;
        let handle = Handle::open(path).map_err(|e| cannot_read(path, e))?;
        Self::of::<L>(path, handle, format, splits, partials)
    }

    /// Returns the content of a file that is open already.
    pub(crate) fn of<L: DeserializeOwned>(
        path: &Path,
        handle: Handle,
        format: (Format, Compression),
        splits: &Splits,
        partials: Partials,
    ) -> Result<Self, ConnectorError> {
        match format.0 {
            #[cfg(feature = "parquet")]
            Format::Parquet => RowFile::open::<L>(path, handle, splits).map(Self::Rows),
            #[cfg(not(feature = "parquet"))]
            Format::Parquet => Err(invalid(
                path,
                "it is Parquet, which this program is built without: build it with the feature \"parquet\"",
            )),
            _ => LineFile::open::<L>(path, handle, format, false, splits.next(), partials)
                .map(|lines| Self::Lines(Box::new(lines))),
        }
    }

    /// Returns those of the first records that can be decoded.
    pub(crate) fn first<L: DeserializeOwned>(&mut self) -> Result<Vec<L>, ConnectorError> {
        match self {
            Self::Lines(lines) => lines.first(),
            #[cfg(feature = "parquet")]
            Self::Rows(rows) => Ok(rows.first()),
        }
    }

    /// Reads `piece`, which is the next one of `splits`.
    pub(crate) fn read<L: DeserializeOwned>(
        &mut self,
        piece: u64,
        found: impl FnMut(Result<L, Malformed>),
    ) -> Result<Read, ConnectorError> {
        match self {
            Self::Lines(lines) => lines.read(piece, found),
            #[cfg(feature = "parquet")]
            Self::Rows(rows) => rows.read(piece, found),
        }
    }

    /// Begins with another piece.
    pub(crate) fn begin(&mut self, piece: u64) {
        match self {
            Self::Lines(lines) => lines.begin(piece),
            #[cfg(feature = "parquet")]
            Self::Rows(_) => {}
        }
    }

    /// Returns what shows, in the piece read last, that the file was cut.
    pub(crate) fn cut(&self) -> Option<&'static str> {
        match self {
            Self::Lines(lines) => lines.cut(),
            #[cfg(feature = "parquet")]
            Self::Rows(_) => None,
        }
    }

    /// Returns how much was read of `next` and of later pieces.
    pub(crate) fn partials(&self, next: u64) -> Partials {
        match self {
            Self::Lines(lines) => lines.partials(next),
            #[cfg(feature = "parquet")]
            Self::Rows(_) => Partials::new(),
        }
    }
}
