//! Lines of text and the quotes in them: finds where a line and a CSV record end, and splits a record into fields.
//!
//! A line ends at `\n`, `\r\n` or `\r`. It is a record, unless a quoted field does not end on it:
//!
//! ```text
//! 7,"one          the quote ends, properly, within `max` bytes, and    ─▶ one record of two lines
//! two",8          the record has as many fields as the header
//!
//! 7,"5 inch       one of these does not hold                           ─▶ this line is refused; the next is a record
//! 8,"3 inch",9
//! ```
//! A quote ends properly if a comma or a line end follows it. Only a record that begins at most `max` bytes before a
//! line can affect how the line is read, so that reading can begin anywhere ([`reaches_into`]).

use csv::ByteRecord;
use memchr::{memchr, memchr2, memrchr2};

/// Returns the offset after the first line end, if there is one.
pub(super) fn line_end(bytes: &[u8]) -> Option<usize> {
    let end = memchr2(b'\n', b'\r', bytes)?;
    let is_pair = bytes[end] == b'\r' && bytes.get(end + 1) == Some(&b'\n');
    Some(end + 1 + usize::from(is_pair))
}

/// Returns the bytes of the first line, with its line end.
pub(super) fn first_line(bytes: &[u8]) -> &[u8] {
    &bytes[..line_end(bytes).unwrap_or(bytes.len())]
}

/// Returns the offset at which the last line begins that has no line end: the length of `bytes` if each line has one.
pub(super) fn open_line(bytes: &[u8]) -> usize {
    memrchr2(b'\n', b'\r', bytes).map_or(0, |end| end + 1)
}

/// Returns a line without its line end.
pub(super) fn without_end(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// Returns the number of lines that end in `bytes`, which follow the byte `before`.
pub(super) fn count_ends(before: u8, bytes: &[u8]) -> u64 {
    let newlines = memchr::memchr_iter(b'\n', bytes).count() as u64;
    let is_end = |at: usize| bytes.get(at) == Some(&b'\n');
    let returns = memchr::memchr_iter(b'\r', bytes).filter(|at| !is_end(at + 1)).count() as u64;
    // If `bytes` begins in the middle of a `\r\n`, that line end was counted with its `\r`.
    newlines + returns - u64::from(before == b'\r' && is_end(0))
}

/// The state of the quotes at the end of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Quotes {
    /// The line does not end within a quoted field.
    Closed,
    /// The line ends within a quoted field.
    Open,
    /// The line begins within quotes that do not end properly on it.
    Broken,
}

/// Returns the state of the quotes at the end of a line, which is given without its line end, and the number of
/// commas outside of quotes.
pub(super) fn follow(line: &[u8], begins_quoted: bool) -> (Quotes, usize) {
    let (mut commas, mut at) = (0, 0);
    let mut is_quoted = begins_quoted || line.first() == Some(&b'"');
    if is_quoted && !begins_quoted {
        at = 1;
    }
    loop {
        while is_quoted {
            let Some(quote) = memchr(b'"', &line[at..]) else { return (Quotes::Open, commas) };
            at += quote + 1;
            match line.get(at) {
                Some(b'"') => at += 1,
                Some(byte) if *byte != b',' && begins_quoted && commas == 0 => return (Quotes::Broken, commas),
                _ => is_quoted = false,
            }
        }
        let Some(comma) = memchr(b',', &line[at..]) else { return (Quotes::Closed, commas) };
        (at, commas) = (at + comma + 1, commas + 1);
        is_quoted = line.get(at) == Some(&b'"');
        at += usize::from(is_quoted);
    }
}

/// How far the record reaches that begins with the first line of some bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Extent {
    /// The line stands alone: it is a record, or is refused for reasons other than its quotes.
    Line,
    /// The line begins a record of this many bytes.
    Lines(usize),
    /// The last field of the line has a quote that does not end properly.
    Unclosed,
}

/// Returns how far the record reaches that begins with `bytes`, which have at least `max` bytes or end with the file.
pub(super) fn extent(bytes: &[u8], width: usize, max: usize) -> Extent {
    let line = first_line(bytes);
    let (mut quotes, mut commas) = follow(without_end(line), false);
    if quotes == Quotes::Closed {
        return Extent::Line;
    }
    let mut len = line.len();
    while quotes == Quotes::Open && len < bytes.len().min(max) {
        let line = first_line(&bytes[len..]);
        let (then, more) = follow(without_end(line), true);
        (quotes, commas, len) = (then, commas + more, len + line.len());
    }
    let is_record = quotes == Quotes::Closed && commas + 1 == width && len <= max;
    if is_record { Extent::Lines(len) } else { Extent::Unclosed }
}

/// Returns whether a record that began before these lines may reach into them. `None` when more bytes are needed to
/// know.
pub(super) fn reaches_into(bytes: &[u8], max: usize) -> Option<bool> {
    let within = &bytes[..bytes.len().min(max)];
    // No quotes end on the lines before the first quote.
    let mut at = memchr(b'"', within).map_or(within.len(), |quote| open_line(&bytes[..quote]));
    while at < within.len() {
        let line = first_line(&bytes[at..]);
        let (quotes, commas) = follow(without_end(line), true);
        match quotes {
            Quotes::Broken => return Some(false),
            Quotes::Open if commas == 0 => at += line.len(),
            Quotes::Open | Quotes::Closed => return Some(true),
        }
    }
    (at >= max).then_some(false)
}

/// Returns the offset of the first record at or after `from`, given that a record begins at the start of `bytes`.
pub(super) fn next_record(bytes: &[u8], from: usize, width: usize, max: usize) -> usize {
    let mut at = 0;
    while at < from.min(bytes.len()) {
        at += match extent(&bytes[at..], width, max) {
            Extent::Lines(len) => len,
            Extent::Line | Extent::Unclosed => first_line(&bytes[at..]).len(),
        };
    }
    at
}

/// Splits a record into its fields, as the `csv` crate and Python's `csv` do. Fields that are not quoted are trimmed.
pub(super) fn split(record: &[u8], fields: &mut ByteRecord, unquoted: &mut Vec<u8>) {
    fields.clear();
    let mut at = 0;
    loop {
        let rest = &record[at..];
        let next = if rest.first() == Some(&b'"') {
            let len = unquote(rest, unquoted);
            fields.push_field(unquoted);
            len
        } else {
            let len = memchr(b',', rest).unwrap_or(rest.len());
            fields.push_field(rest[..len].trim_ascii());
            len
        };
        if next == rest.len() {
            return;
        }
        at += next + 1;
    }
}

/// Writes the text of the field that begins with a quote to `text`. Returns the number of bytes of the field.
fn unquote(field: &[u8], text: &mut Vec<u8>) -> usize {
    text.clear();
    let mut at = 1;
    loop {
        let len = memchr(b'"', &field[at..]).unwrap_or(field.len() - at);
        text.extend_from_slice(&field[at..at + len]);
        at = (at + len + 1).min(field.len());
        if field.get(at) != Some(&b'"') {
            break;
        }
        text.push(b'"');
        at += 1;
    }
    // Text between the last quote and the comma is part of the field.
    let rest = memchr(b',', &field[at..]).unwrap_or(field.len() - at);
    text.extend_from_slice(field[at..at + rest].trim_ascii_end());
    at + rest
}
