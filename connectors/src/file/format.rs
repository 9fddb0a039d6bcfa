//! Formats of files, and how a line becomes a record.

use std::ops::Range;
use std::path::Path;

use serde::de::DeserializeOwned;
use tidemill_engine::ConnectorError;

use super::csv::CsvParser;
use super::error::invalid;
use super::json::JsonParser;
use super::piece::Piece;

/// The format of a file's content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Format {
    /// Comma-separated values with a header line. Quoted fields may contain commas, quotes and, where the file is not
    /// followed, newlines, in records of up to 64 KiB. Fields are trimmed where they are not quoted.
    Csv,
    /// JSON lines: one JSON object per line.
    JsonLines,
    /// Apache Parquet.
    Parquet,
}

/// The compression of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Compression {
    /// No compression.
    None,
    /// gzip. A file may consist of several members, one after the other.
    Gzip,
    /// Zstandard.
    Zstd,
}

/// Returns the format and compression that the extensions of a path name: `.csv`, `.jsonl`, `.ndjson`, `.json`,
/// `.parquet`, optionally followed by `.gz` or `.zst` (Parquet compresses inside). Returns `None` for another
/// extension.
#[must_use]
pub fn by_extension(path: &Path) -> Option<(Format, Compression)> {
    let name = path.file_name()?.to_str()?.to_ascii_lowercase();
    let (stem, compression) = match name.rsplit_once('.')? {
        (stem, "gz") => (stem.to_owned(), Compression::Gzip),
        (stem, "zst") => (stem.to_owned(), Compression::Zstd),
        _ => (name, Compression::None),
    };
    let format = match stem.rsplit_once('.')?.1 {
        "csv" => Format::Csv,
        "jsonl" | "ndjson" | "json" => Format::JsonLines,
        "parquet" if compression == Compression::None => Format::Parquet,
        _ => return None,
    };
    Some((format, compression))
}

/// Returns the format and compression of `path`, or an error if the extension names none.
pub(crate) fn format_of(path: &Path) -> Result<(Format, Compression), ConnectorError> {
    by_extension(path).ok_or_else(|| {
        invalid(
            path,
            "its name does not say which format it has: use .csv, .jsonl, .ndjson or .json, perhaps with .gz or .zst, or .parquet",
        )
    })
}

/// Turns lines into records.
pub(crate) enum LineParser {
    Csv(Box<CsvParser>),
    JsonLines(JsonParser),
}

impl LineParser {
    /// Passes on each record of `piece`, or the bytes that are not a record and the reason.
    pub(crate) fn parse<T: DeserializeOwned>(
        &mut self,
        piece: &Piece<'_>,
        found: impl FnMut(Range<usize>, Result<T, String>),
    ) {
        match self {
            Self::Csv(csv) => csv.parse(piece, found),
            Self::JsonLines(json) => json.parse(piece, found),
        }
    }
}

/// Returns what the first bytes of a file show it to be, if that contradicts its name and no line could be read.
pub(crate) fn not_text(first: &[u8]) -> Option<&'static str> {
    let is = |magic: &[u8]| first.starts_with(magic);
    Some(match () {
        () if is(b"\xff\xfe") || is(b"\xfe\xff") => "it is UTF-16 by its byte order mark: convert it to UTF-8",
        () if is(b"\0\0\xfe\xff") => "it is UTF-32 by its byte order mark: convert it to UTF-8",
        () if is(b"\x1f\x8b") => "it is gzip: let its name end in .gz, once for each time it was compressed",
        () if is(b"\x28\xb5\x2f\xfd") => "it is Zstandard: let its name end in .zst",
        () if is(b"PAR1") => "it is Parquet: let its name end in .parquet",
        () => return None,
    })
}

/// The byte order mark of UTF-8, which is not part of the first line.
pub(crate) const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extensions_name_format_and_compression() {
        let of = |name: &str| by_extension(Path::new(name));
        assert_eq!(of("a/b.csv.gz"), Some((Format::Csv, Compression::Gzip)));
        assert_eq!(of("b.jsonl"), Some((Format::JsonLines, Compression::None)));
        assert_eq!(of("b.ndjson.zst"), Some((Format::JsonLines, Compression::Zstd)));
        assert_eq!((of("b.txt"), of("csv"), of("b.parquet.gz")), (None, None, None));
    }
}
