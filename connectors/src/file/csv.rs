//! CSV: the columns that a header names, and the decoding of lines into records.

use std::ops::Range;
use std::str;

use csv::ByteRecord;
use serde::de::DeserializeOwned;

use super::fields;
use super::piece::Piece;
use super::quotes::{Extent, Quotes, extent, first_line, follow, open_line, split, without_end};
use crate::plain::csv::{Columns, Layout};
use crate::plain::{self, Tries};

/// A parser of lines, which knows the columns of the file and the fields of the record's type.
pub(crate) struct CsvParser {
    /// Number of columns of the file.
    width: usize,
    /// The names of the columns that are deserialised: all, or those that the record's type has.
    names: ByteRecord,
    fields: Fields,
    /// How the parser of plain text reads the fields.
    plain: Columns,
    tries: Tries,
    starts: Vec<usize>,
    line: ByteRecord,
    wanted: ByteRecord,
    unquoted: Vec<u8>,
}

enum Fields {
    /// All columns, in the order of the type's fields.
    AsTheyCome,
    /// These columns, in the order of the type's fields. No names are compared, and other columns are not deserialised.
    Columns(Vec<usize>),
    /// The type's fields are unknown, or some have no column: names are compared in each line.
    ByName,
}

const UNCLOSED: &str = "a quoted field does not end on its line, nor properly on one of the next: if the quote is text, write \
                        the field in quotes and the quote twice";
const UNCLOSED_FOLLOWED: &str = "a quoted field does not end on its line, and records with newlines in them are not read from \
                                 files that are followed: write them without, or as JSON. If the quote is text, write the \
                                 field in quotes and the quote twice";
const LEFT_OVER: &str = "a quoted field of a line before ends on this line, and records with newlines in them are not read \
                         from files that are followed: write them without, or as JSON";

impl CsvParser {
    /// Returns a parser for lines under this header line.
    pub(crate) fn new<T: DeserializeOwned>(header: &[u8]) -> Result<Self, String> {
        let header = without_end(header);
        if follow(header, false).0 != Quotes::Closed {
            return Err("a quoted name in its header does not end: names with newlines in them are not read".to_owned());
        }
        let (mut headers, mut unquoted) = (ByteRecord::new(), Vec::new());
        split(header, &mut headers, &mut unquoted);
        headers.trim();
        let known = fields::of::<T>();
        for (at, name) in headers.iter().enumerate() {
            let is_wanted = known.is_none_or(|fields| fields.iter().any(|field| field.as_bytes() == name));
            if is_wanted && headers.iter().skip(at + 1).any(|other| other == name) {
                return Err(format!("its header has the column \"{}\" twice", String::from_utf8_lossy(name)));
            }
        }
        let width = headers.len();
        let column = |field: &&str| headers.iter().position(|header| header == field.as_bytes());
        let columns = known.and_then(|fields| fields.iter().map(column).collect::<Option<Vec<usize>>>());
        let (names, fields) = match columns {
            None => (headers, Fields::ByName),
            Some(columns) if columns.iter().copied().eq(0..width) => (headers, Fields::AsTheyCome),
            Some(columns) => (columns.iter().map(|column| &headers[*column]).collect(), Fields::Columns(columns)),
        };
        let plain = match &fields {
            Fields::AsTheyCome => Columns::All,
            Fields::Columns(columns) => Columns::of(columns),
            Fields::ByName => Columns::ByName,
        };
        let (tries, starts) = (Tries::default(), Vec::new());
        let (line, wanted) = (ByteRecord::new(), ByteRecord::new());
        Ok(Self { width, names, fields, plain, tries, starts, line, wanted, unquoted })
    }

    /// Leaves everything to the `csv` crate's deserialiser.
    #[cfg(test)]
    pub(crate) fn never_plain(self) -> Self {
        self.tries.stop();
        self
    }

    /// Returns the number of fields of a record.
    pub(crate) fn width(&self) -> usize {
        self.width
    }

    /// Passes each record to `found`, or the range of a line that is not a record, with the reason.
    pub(crate) fn parse<T: DeserializeOwned>(
        &mut self,
        piece: &Piece<'_>,
        mut found: impl FnMut(Range<usize>, Result<T, String>),
    ) {
        let own = piece.own.clone();
        let text = str::from_utf8(&piece.bytes[own.clone()]).ok();
        let mut at = own.start;
        while at < own.end {
            if let Some((record, next)) = text.and_then(|text| self.plain_line(text, at - own.start, piece.joins)) {
                found(at..own.start + next, Ok(record));
                at = own.start + next;
                continue;
            }
            let rest = &piece.bytes[at..];
            let line = first_line(rest);
            let text = without_end(line);
            let of_line = at..at + line.len();
            at = of_line.end;
            if memchr::memchr(b'"', text).is_none() {
                // An empty line is skipped, even if the file has only one column.
                if !text.trim_ascii().is_empty() {
                    found(of_line, self.record(text));
                }
                continue;
            }
            let before = &piece.bytes[of_line.start.saturating_sub(piece.record)..of_line.start];
            let reach = match follow(text, false).0 {
                Quotes::Closed => Extent::Line,
                _ if piece.joins => extent(rest, self.width, piece.record),
                _ => Extent::Unclosed,
            };
            match reach {
                Extent::Lines(len) => {
                    at = of_line.start + len;
                    self.lines(&rest[..len], of_line.start, &mut found);
                }
                Extent::Unclosed => {
                    let reason = if piece.joins { UNCLOSED } else { UNCLOSED_FOLLOWED };
                    found(of_line, Err(reason.to_owned()));
                }
                Extent::Line if !piece.joins && ends_a_quote(before, text, piece.record) => {
                    found(of_line, Err(LEFT_OVER.to_owned()));
                }
                Extent::Line => found(of_line, self.record(text)),
            }
        }
    }

    /// Returns the record in the line of `text` that begins at `at`, and where the next line begins, if all of the line
    /// is plain. Quotes are not where lines are followed, because they may be the end of a record before.
    #[inline]
    fn plain_line<T: DeserializeOwned>(&mut self, text: &str, at: usize, has_quotes: bool) -> Option<(T, usize)> {
        let Self { width, names, plain, tries, starts, .. } = self;
        if !tries.go_on() {
            return None;
        }
        let line = plain::csv::line(&Layout { columns: plain, names, width: *width, has_quotes }, text, at, starts);
        tries.note(line.is_ok());
        line.ok()
    }

    /// Parses lines that are one record according to their quotes. If some of them are records by themselves, the
    /// quotes may be wrong. Then lines are refused, so that no record is lost silently and no text is read as a record.
    fn lines<T: DeserializeOwned>(
        &mut self,
        lines: &[u8],
        begin: usize,
        found: &mut impl FnMut(Range<usize>, Result<T, String>),
    ) {
        let record = self.record::<T>(without_end(lines));
        let first = first_line(lines).len();
        let (mut at, mut others) = (first, Vec::new());
        while at < lines.len() {
            let line = first_line(&lines[at..]);
            others.push((begin + at..begin + at + line.len(), self.record::<T>(without_end(line))));
            at += line.len();
        }
        if others.iter().all(|(_, other)| other.is_err()) {
            return found(begin..begin + lines.len(), record);
        }
        let last = others.len();
        let doubtful = || {
            format!(
                "by its quotes this line is part of a record of {} lines, but there is one among them that is a record by \
                 itself: a quote that does not end, or text that looks like data? If a quote is text, write the field in \
                 quotes and the quote twice",
                last + 1
            )
        };
        let is_record = record.is_ok();
        found(begin..begin + first, Err(if is_record { doubtful() } else { UNCLOSED.to_owned() }));
        for (number, (range, other)) in (1..).zip(others) {
            found(range, if is_record || number == last { Err(doubtful()) } else { other });
        }
    }

    fn record<T: DeserializeOwned>(&mut self, text: &[u8]) -> Result<T, String> {
        let Self { width, names, fields, line, wanted, unquoted, .. } = self;
        split(text, line, unquoted);
        if line.len() != *width {
            return Err(format!("{} fields, the header has {width}", line.len()));
        }
        let parsed = match fields {
            Fields::AsTheyCome => line.deserialize(None),
            Fields::ByName => line.deserialize(Some(names)),
            Fields::Columns(columns) => {
                wanted.clear();
                columns.iter().for_each(|column| wanted.push_field(&line[*column]));
                wanted.deserialize(None)
            }
        };
        parsed.map_err(|e: csv::Error| reason(&e, names))
    }
}

/// Returns whether a line ends a quoted field that begins in one of the lines `before`. If these are `max` bytes, the
/// first of them may be incomplete.
fn ends_a_quote(before: &[u8], line: &[u8], max: usize) -> bool {
    if follow(line, true).0 == Quotes::Broken {
        return false;
    }
    let mut end = before.len();
    while end > 0 {
        let begin = open_line(without_end(&before[..end]));
        if begin == 0 && before.len() >= max {
            return false;
        }
        let line = without_end(&before[begin..end]);
        if follow(line, false).0 == Quotes::Open {
            return true;
        }
        if follow(line, true).0 != Quotes::Open {
            return false;
        }
        end = begin;
    }
    false
}

/// Returns the reason why a line cannot be decoded, with the name of the column.
fn reason(error: &csv::Error, names: &ByteRecord) -> String {
    let csv::ErrorKind::Deserialize { err, .. } = error.kind() else { return error.to_string() };
    match err.field().and_then(|field| names.get(field as usize)) {
        Some(column) => format!("column \"{}\": {}", String::from_utf8_lossy(column), err.kind()),
        None => err.kind().to_string(),
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

    fn parse(header: &str, lines: &str, joins: bool) -> Vec<(usize, Result<Row, String>)> {
        let mut rows = Vec::new();
        let piece = Piece { bytes: lines.as_bytes(), own: 0..lines.len(), record: 100, joins };
        let mut parser = CsvParser::new::<Row>(header.as_bytes()).unwrap();
        parser.parse(&piece, |range, row| rows.push((range.start, row)));
        rows
    }

    #[test]
    fn columns_are_found_by_name_in_any_order() {
        let cases =
            [("id,name\n", "7,\"a, b\"\r\n"), ("name,id\n", "\"a, b\",7\n"), ("name,other,id\n", "\"a, b\",,7\n")];
        for (header, line) in cases {
            assert_eq!(parse(header, line, false), [(0, Ok(Row { id: 7, name: "a, b".to_owned() }))]);
        }
    }

    #[test]
    fn bad_lines_say_where_and_why() {
        let rows = parse("id,name\n", "x,a\n1,b\n2\n", true);
        assert_eq!((rows[0].0, rows[1].0, rows[2].0), (0, 4, 8));
        assert!(rows[0].1.as_ref().unwrap_err().contains("column \"id\""), "{rows:?}");
        assert!(rows[2].1.as_ref().unwrap_err().contains("1 fields"), "{rows:?}");
        let rows = parse("other,name,id\n", "7,b,x\n", false);
        assert!(rows[0].1.as_ref().unwrap_err().contains("column \"id\""));
    }

    /// Followed files may not have newlines within records: no part of such a record is read as data.
    #[test]
    fn followed_lines_refuse_both_ends_of_a_quote() {
        let of =
            |lines: &str| parse("id,name\n", lines, false).into_iter().map(|(_, row)| row.ok()).collect::<Vec<_>>();
        let row = |id, name: &str| Some(Row { id, name: name.to_owned() });
        assert_eq!(of("1,\"a\n2,b\"\n3,c\n"), [None, None, row(3, "c")]);
        assert_eq!(of("1,\"a\nx \"\"y\"\"\n2,b\"\n3,c\n"), [None, None, None, row(3, "c")]);
        // A quote within a field that is not quoted is text.
        assert_eq!(of("1,5\"\n2,b\"\n3,\"c\n4,\"d\"\n5,5\"\n")[..2], [row(1, "5\""), row(2, "b\"")]);
        assert_eq!(of("3,\"c\n4,\"d\"\n5,5\"\n"), [None, row(4, "d"), row(5, "5\"")]);
    }

    #[test]
    fn a_record_of_several_lines_with_a_bad_field_is_one_dead_letter() {
        let rows = parse("id,name\n", "x,\"a\nb\nc\"\n2,d\n", true);
        assert_eq!((rows.len(), rows[1].0), (2, 10));
        assert!(rows[0].1.as_ref().unwrap_err().contains("column \"id\""), "{rows:?}");
        // A quoted field with other records inside is not taken as one record.
        let rows = parse("id,name\n", "x,\"a\n1,b\n2,c\"\n3,d\n", true);
        assert!(matches!(&rows[..], [(0, Err(_)), (5, Ok(_)), (9, Err(_)), (14, Ok(_))]), "{rows:?}");
    }
}
