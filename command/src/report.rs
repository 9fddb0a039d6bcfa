//! How results are printed: tables for people, JSON for programs.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::process::ExitCode;
use std::time::{Duration, UNIX_EPOCH};

/// Writes to stdout. A reader that has gone away, as `head` does, is no failure.
pub fn print(text: &str) -> ExitCode {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            eprintln!("error: cannot write the result: {error}");
            ExitCode::from(3)
        }
        _ => ExitCode::SUCCESS,
    }
}

/// Returns a table whose columns are as wide as their longest cell.
pub fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.chain(head.get(column).map(|cell| cell.len())).max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let mut text = String::new();
    let head = head.iter().map(|cell| (*cell).to_owned()).collect();
    for row in std::iter::once(&head).chain(rows) {
        let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        // Writing into a String cannot fail.
        _ = writeln!(text, "{}", cells.join("  ").trim_end());
    }
    text
}

/// Returns a number of bytes as people read it.
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    let (mut number, mut unit) = (bytes as f64, None);
    for next in UNITS {
        if number < 1024.0 {
            break;
        }
        (number, unit) = (number / 1024.0, Some(next));
    }
    unit.map_or_else(|| format!("{bytes} B"), |unit| format!("{number:.1} {unit}"))
}

/// Returns a time, given in milliseconds since the Unix epoch.
pub fn time(ms: i64) -> String {
    let since = u64::try_from(ms).ok().map(Duration::from_millis);
    let at = since.and_then(|since| UNIX_EPOCH.checked_add(since));
    at.map_or_else(|| "unknown".to_owned(), |at| humantime::format_rfc3339_seconds(at).to_string())
}

/// Returns a document of JSON, as one text.
pub fn json(document: &impl serde::Serialize) -> Result<String, serde_json::Error> {
    serde_json::to_string_pretty(document).map(|text| text + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_tables_are_as_people_read_them() {
        assert_eq!([size(0), size(1023), size(1536), size(3 << 30)], ["0 B", "1023 B", "1.5 KiB", "3.0 GiB"]);
        let rows = [vec!["10".to_owned(), "x".to_owned()], vec!["9".to_owned(), String::new()]];
        assert_eq!(table(&["A", "BIG"], &rows), "A   BIG\n10  x\n9\n");
    }
}
