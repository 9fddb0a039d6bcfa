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

/// A file by what it is made of.
pub(crate) enum Content {
    Lines(LineFile),
    #[cfg(feature = "parquet")]
    Rows(RowFile),
}

impl Content {
    /// Opens what `path` holds, by its extension, to go on where `splits` and `partials` say.
    pub(crate) fn open<L: DeserializeOwned>(
        path: &Path,
        splits: &Splits,
        partials: Partials,
    ) -> Result<Self, ConnectorError> {
        let format = format_of(path)?;
        let handle = Handle::open(path).map_err(|e| cannot_read(path, e))?;
        Self::of::<L>(path, handle, format, splits, partials)
    }

    /// The content of a file that was opened.
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
            _ => LineFile::open::<L>(path, handle, format, false, splits.next(), partials).map(Self::Lines),
        }
    }

    /// The first records, or as many as could be decoded.
    pub(crate) fn first<L: DeserializeOwned>(&mut self) -> Result<Vec<L>, ConnectorError> {
        match self {
            Self::Lines(lines) => lines.first(),
            #[cfg(feature = "parquet")]
            Self::Rows(rows) => Ok(rows.first()),
        }
    }

    /// Reads `piece`, which is the one that `splits` has next.
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

    /// The piece that is read next is another one.
    pub(crate) fn begin(&mut self, piece: u64) {
        match self {
            Self::Lines(lines) => lines.begin(piece),
            #[cfg(feature = "parquet")]
            Self::Rows(_) => {}
        }
    }

    /// What shows of the piece read last that the file was cut.
    pub(crate) fn cut(&self) -> Option<&'static str> {
        match self {
            Self::Lines(lines) => lines.cut(),
            #[cfg(feature = "parquet")]
            Self::Rows(_) => None,
        }
    }

    /// How much was read of `next` and of pieces after it.
    pub(crate) fn partials(&self, next: u64) -> Partials {
        match self {
            Self::Lines(lines) => lines.partials(next),
            #[cfg(feature = "parquet")]
            Self::Rows(_) => Partials::new(),
        }
    }
}
