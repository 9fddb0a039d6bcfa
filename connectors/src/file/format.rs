//! Formats of files, and how a line becomes a record.

use std::path::Path;

use csv::ByteRecord;
use serde::de::DeserializeOwned;

/// What is in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Comma-separated values with a header line. Quoted fields may contain commas and quotes, but no
    /// newlines: files are read in chunks of lines.
    Csv,
    /// One JSON object a line.
    JsonLines,
    /// Apache Parquet.
    Parquet,
}

/// How a file is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// gzip, also several members one after the other.
    Gzip,
    /// Zstandard.
    Zstd,
}

/// What the extensions of a path say: `.csv`, `.jsonl`, `.ndjson`, `.json`, `.parquet`, each perhaps
/// with `.gz` or `.zst` (Parquet compresses inside). `None` for another extension.
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

/// How the fields of a CSV line become those of a record.
pub(crate) struct CsvParser {
    /// Columns of the file.
    width: usize,
    /// The names of what is deserialised: of all columns, or of those that the record's type has.
    names: ByteRecord,
    fields: Fields,
}

enum Fields {
    /// All columns, in the order of the type's fields.
    AsTheyCome,
    /// These columns, in the order of the type's fields: no name is compared, and the others are not parsed.
    Columns(Vec<usize>),
    /// The type's fields are not known, or not all there: names are compared in each line.
    ByName,
}

/// Turns lines into records.
pub(crate) enum LineParser {
    Csv(CsvParser),
    JsonLines,
}

impl LineParser {
    /// A parser for lines under this header line.
    pub(crate) fn csv<T: DeserializeOwned>(header: &[u8]) -> Result<Self, csv::Error> {
        let mut reader = csv::ReaderBuilder::new().has_headers(false).trim(csv::Trim::All).from_reader(header);
        let mut headers = ByteRecord::new();
        reader.read_byte_record(&mut headers)?;
        let width = headers.len();
        let column = |field: &&str| headers.iter().position(|header| header == field.as_bytes());
        let columns = fields::of::<T>().and_then(|fields| fields.iter().map(column).collect::<Option<Vec<usize>>>());
        let (names, fields) = match columns {
            None => (headers, Fields::ByName),
            Some(columns) if columns.iter().copied().eq(0..width) => (headers, Fields::AsTheyCome),
            Some(columns) => (columns.iter().map(|column| &headers[*column]).collect(), Fields::Columns(columns)),
        };
        Ok(Self::Csv(CsvParser { width, names, fields }))
    }

    /// Hands each line of `lines` to `found`, parsed or with the reason why not, and its offset.
    pub(crate) fn parse<T: DeserializeOwned>(&self, lines: &[u8], mut found: impl FnMut(u64, Result<T, String>)) {
        match self {
            Self::JsonLines => {
                let mut offset = 0;
                for line in lines.split_inclusive(|b| *b == b'\n') {
                    if !line.trim_ascii().is_empty() {
                        found(offset, serde_json::from_slice(line).map_err(|e| e.to_string()));
                    }
                    offset += line.len() as u64;
                }
            }
            Self::Csv(csv) => csv.parse(lines, found),
        }
    }
}

impl CsvParser {
    fn parse<T: DeserializeOwned>(&self, lines: &[u8], mut found: impl FnMut(u64, Result<T, String>)) {
        let mut reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(lines);
        let (mut line, mut wanted) = (ByteRecord::new(), ByteRecord::new());
        loop {
            let offset = reader.position().byte();
            match reader.read_byte_record(&mut line) {
                Ok(false) => break,
                Ok(true) => {
                    let offset = line.position().map_or(offset, csv::Position::byte);
                    if line.len() != self.width {
                        found(offset, Err(format!("{} fields, the header has {}", line.len(), self.width)));
                        continue;
                    }
                    let parsed = match &self.fields {
                        Fields::AsTheyCome => line.deserialize(None),
                        Fields::ByName => line.deserialize(Some(&self.names)),
                        Fields::Columns(columns) => {
                            wanted.clear();
                            columns.iter().for_each(|column| wanted.push_field(&line[*column]));
                            wanted.deserialize(None)
                        }
                    };
                    found(offset, parsed.map_err(|e: csv::Error| csv_reason(&e, &self.names)));
                }
                Err(e) => found(offset, Err(e.to_string())),
            }
        }
    }
}

/// What is wrong with a line, with the column's name.
pub(crate) fn csv_reason(error: &csv::Error, names: &ByteRecord) -> String {
    let csv::ErrorKind::Deserialize { err, .. } = error.kind() else { return error.to_string() };
    match err.field().and_then(|field| names.get(field as usize)) {
        Some(column) => format!("column \"{}\": {}", String::from_utf8_lossy(column), err.kind()),
        None => err.kind().to_string(),
    }
}

/// Learns the field names of a struct from its `Deserialize`.
pub(crate) mod fields {
    use serde::de::{self, DeserializeOwned, Deserializer, Visitor};

    /// The field names of `T`, if it is a struct.
    pub(crate) fn of<T: DeserializeOwned>() -> Option<&'static [&'static str]> {
        let mut fields = None;
        // Always an error: only what it asks for is of interest.
        drop(T::deserialize(Probe(&mut fields)));
        fields
    }

    struct Probe<'a>(&'a mut Option<&'static [&'static str]>);

    impl<'de> Deserializer<'de> for Probe<'_> {
        type Error = de::value::Error;

        fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Self::Error> {
            Err(de::Error::custom("only probing"))
        }

        fn deserialize_struct<V: Visitor<'de>>(
            self,
            _: &'static str,
            fields: &'static [&'static str],
            _: V,
        ) -> Result<V::Value, Self::Error> {
            *self.0 = Some(fields);
            Err(de::Error::custom("only probing"))
        }

        serde::forward_to_deserialize_any! {
            bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit
            unit_struct newtype_struct seq tuple tuple_struct map enum identifier ignored_any
        }
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, PartialEq, Deserialize)]
    struct Row {
        id: u32,
        name: String,
    }

    fn parse(parser: &LineParser, lines: &str) -> Vec<(u64, Result<Row, String>)> {
        let mut rows = Vec::new();
        parser.parse(lines.as_bytes(), |offset, row| rows.push((offset, row)));
        rows
    }

    #[test]
    fn csv_columns_are_found_by_name_in_any_order() {
        let cases =
            [("id,name\n", "7,\"a, b\"\r\n"), ("name,id\n", "\"a, b\",7\n"), ("name,other,id\n", "\"a, b\",,7\n")];
        for (header, line) in cases {
            let parser = LineParser::csv::<Row>(header.as_bytes()).unwrap();
            assert_eq!(parse(&parser, line), [(0, Ok(Row { id: 7, name: "a, b".to_owned() }))]);
        }
    }

    #[test]
    fn bad_lines_say_where_and_why() {
        let parser = LineParser::csv::<Row>(b"id,name\n").unwrap();
        let rows = parse(&parser, "x,a\n1,b\n2\n");
        assert_eq!((rows[0].0, rows[1].0, rows[2].0), (0, 4, 8));
        assert!(rows[0].1.as_ref().unwrap_err().contains("column \"id\""), "{rows:?}");
        assert!(rows[2].1.as_ref().unwrap_err().contains("1 fields"), "{rows:?}");
        let parser = LineParser::csv::<Row>(b"other,name,id\n").unwrap();
        assert!(parse(&parser, "7,b,x\n")[0].1.as_ref().unwrap_err().contains("column \"id\""));
        let rows = parse(&LineParser::JsonLines, "{\"id\":1,\"name\":\"a\"}\n\n{oops\n");
        assert_eq!((rows.len(), rows[1].0), (2, 21));
    }

    #[test]
    fn extensions_tell_format_and_compression() {
        let of = |name: &str| by_extension(Path::new(name));
        assert_eq!(of("a/b.csv.gz"), Some((Format::Csv, Compression::Gzip)));
        assert_eq!(of("b.jsonl"), Some((Format::JsonLines, Compression::None)));
        assert_eq!(of("b.ndjson.zst"), Some((Format::JsonLines, Compression::Zstd)));
        assert_eq!((of("b.txt"), of("csv"), of("b.parquet.gz")), (None, None, None));
    }
}
