//! Files of lines are read as Python's `csv` reads them, with random text, quoting, line ends, chunk sizes, numbers of
//! workers, compressions and restores; and followed files, while they grow in pieces.

use std::fs::OpenOptions;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Mutex;

use proptest::prelude::*;

use super::*;
use crate::file::quotes::{Quotes, follow, split};
use crate::splits::{Splits, SplitsPosition};

/// A process that reads texts with Python's `csv`.
struct Python {
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    /// The process, which ends when its input is closed.
    _process: Child,
}

static PYTHON: Mutex<Option<Python>> = Mutex::new(None);

const SCRIPT: &str = "
import sys, csv, io, json
while size := sys.stdin.buffer.readline():
    text = sys.stdin.buffer.read(int(size)).decode()
    print(json.dumps(list(csv.reader(io.StringIO(text, newline='')))), flush=True)
";

/// Returns the rows that Python's `csv` reads.
fn python(text: &str) -> Vec<Vec<String>> {
    let mut python = PYTHON.lock().unwrap();
    let Python { input, output, .. } = python.get_or_insert_with(|| {
        let mut child = Command::new("python3")
            .args(["-c", SCRIPT])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("tests need python3");
        let (input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        Python { input, output: BufReader::new(output), _process: child }
    });
    write!(input, "{}\n{text}", text.len()).unwrap();
    input.flush().unwrap();
    let mut rows = String::new();
    output.read_line(&mut rows).unwrap();
    serde_json::from_str(&rows).unwrap()
}

type Pair = (String, String);

/// The records of a file, and the numbers of the lines that are not records.
#[derive(Clone, Debug, Default, PartialEq)]
struct Found {
    pairs: Vec<Pair>,
    bad: Vec<u64>,
}

fn open(
    sizes: Sizes,
    path: &Path,
    format: (Format, Compression),
    follow: bool,
    next: u64,
    partials: Partials,
) -> LineFile {
    let handle = Handle::open(path).unwrap();
    LineFile::open_in::<Pair>(sizes, path, handle, format, follow, next, partials).unwrap()
}

/// Reads a file. Each of `runs` has a number of workers, and a number of reads of each worker before the next run.
fn read_all(path: &Path, compression: Compression, sizes: Sizes, runs: &[(usize, usize)]) -> Found {
    let mut pieces: Vec<(u64, Vec<Pair>)> = Vec::new();
    let (mut bad, mut done): (_, Vec<SplitsPosition>) = (Vec::new(), Vec::new());
    for (workers, turns) in runs.iter().copied().chain([(2, usize::MAX)]) {
        let mut next_done = Vec::new();
        for worker in 0..workers {
            let mut splits = Splits::new(worker, workers, &done);
            let format = (Format::Csv, compression);
            let mut file = open(sizes, path, format, false, splits.next(), Vec::new());
            for _ in 0..turns {
                let mut pairs = Vec::new();
                let read = file.read::<Pair>(splits.next(), |line| match line {
                    Ok(pair) => pairs.push(pair),
                    Err(line) => bad.push(line.number),
                });
                pieces.push((splits.next(), pairs));
                if read.unwrap() == Read::Nothing {
                    break;
                }
                splits.advance();
                file.begin(splits.next());
            }
            next_done.push(splits.position());
        }
        done = next_done;
    }
    pieces.sort();
    bad.sort_unstable();
    Found { pairs: pieces.into_iter().flat_map(|(_, pairs)| pairs).collect(), bad }
}

fn write_file(text: &str, compression: Compression) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    match compression {
        Compression::None => file.write_all(text.as_bytes()).unwrap(),
        Compression::Gzip => {
            let mut encoder = flate2::write::GzEncoder::new(file.as_file(), flate2::Compression::fast());
            encoder.write_all(text.as_bytes()).unwrap();
            encoder.finish().unwrap();
        }
        Compression::Zstd => zstd::stream::copy_encode(text.as_bytes(), file.as_file(), 1).unwrap(),
    }
    file
}

fn compression() -> impl Strategy<Value = Compression> {
    prop::sample::select(vec![Compression::None, Compression::Gzip, Compression::Zstd])
}

fn line_ends() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["\n", "\r\n", "\r"])
}

fn runs() -> impl Strategy<Value = Vec<(usize, usize)>> {
    prop::collection::vec((1..5_usize, 0..6_usize), 0..3)
}

/// Generates a field and its text in the file, which is quoted where that is needed, and sometimes where it is not.
fn field() -> impl Strategy<Value = (String, String)> {
    let text = prop_oneof![6 => "[a-c1 ]{0,9}", 2 => "[ab,\"]{0,6}", 2 => "[ab,\"\n\r]{0,12}"];
    (text, any::<bool>()).prop_map(|(text, quoted): (String, bool)| {
        let must = text.contains([',', '"', '\n', '\r']) || text != text.trim();
        let written = if quoted || must { format!("\"{}\"", text.replace('"', "\"\"")) } else { text.clone() };
        (text, written)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600 * testkit::times() as u32, failure_persistence: None, ..ProptestConfig::default() })]

    /// Valid records are read as Python reads them, or refused if a line within them could be a record by itself.
    #[test]
    fn records_are_those_of_python(
        rows in prop::collection::vec((field(), field(), line_ends()), 0..40),
        mark: bool,
        cut_end: bool,
        chunk in 1..300_u64,
        compression in compression(),
        runs in runs(),
    ) {
        let mut text = format!("{}a,b\n", if mark { "\u{feff}" } else { "" });
        // An empty line that ends with `\n` after a line that ends with `\r` is part of that line's end, also for
        // Python.
        let mut lines = Vec::new();
        for ((first, first_written), (second, second_written), end) in &rows {
            let line = format!("{first_written},{second_written}");
            lines.push(((first.clone(), second.clone()), line.contains(['\n', '\r'])));
            text += &format!("{line}{end}");
        }
        if cut_end && !rows.is_empty() {
            text.truncate(text.trim_end_matches(['\n', '\r']).len());
        }
        let read: Vec<Pair> = python(&text)[1..].iter().map(|row| (row[0].clone(), row[1].clone())).collect();
        prop_assert!(read.iter().eq(lines.iter().map(|(pair, _)| pair)), "this is no CSV to Python: {:?}", text);

        let file = write_file(&text, compression);
        let found = read_all(file.path(), compression, Sizes { chunk, line: 4096, record: 4096 }, &runs);
        let mut pairs = found.pairs.iter().peekable();
        let mut refused = 0;
        for (pair, has_newlines) in &lines {
            if pairs.next_if_eq(&pair).is_none() {
                prop_assert!(*has_newlines, "{:?} is lost: {:?}", pair, found);
                refused += 1;
            }
        }
        prop_assert_eq!(pairs.next(), None, "of {:?}", text);
        prop_assert!(found.bad.len() >= 2 * refused && (refused > 0 || found.bad.is_empty()), "{:?}", found);
    }

    /// For any text, the result does not depend on chunks, workers, restores and compression.
    #[test]
    fn results_do_not_depend_on_chunks(
        text in "([a,1\"]{0,5}(\n|\r\n|\r|,|,\"|\",|\"\n|x,y\n|\n\"\"){1,2}){0,40}",
        chunk in 1..60_u64,
        record in 1..80_usize,
        compression in compression(),
        runs in runs(),
    ) {
        let text = format!("a,b\n{text}");
        let file = write_file(&text, compression);
        let found = read_all(file.path(), compression, Sizes { chunk, line: 4096, record }, &runs);
        let whole = read_all(file.path(), compression, Sizes { chunk: 1 << 16, line: 4096, record }, &[]);
        prop_assert_eq!(&found, &whole, "of {:?}", text);
    }

    /// A line whose quotes are closed has the same fields as in Python.
    #[test]
    fn fields_are_those_of_python(line in "[ab,\"]{1,14}") {
        let (quotes, commas) = follow(line.as_bytes(), false);
        if quotes == Quotes::Closed {
            let (mut fields, mut buffer) = (csv::ByteRecord::new(), Vec::new());
            split(line.as_bytes(), &mut fields, &mut buffer);
            let fields: Vec<String> = fields.iter().map(|field| String::from_utf8(field.to_vec()).unwrap()).collect();
            prop_assert_eq!(commas + 1, fields.len());
            prop_assert_eq!(&[fields][..], &python(&line)[..]);
        } else {
            // For Python, too, the record does not end with this line.
            let more = format!("{line}\nx");
            prop_assert_eq!(python(&more).len(), 1);
        }
    }

    /// In a followed file that grows in pieces, each line is read by itself and once, whatever the pieces and chunks
    /// are.
    #[test]
    fn a_followed_file_may_grow_in_any_pieces(
        text in "([a,1]{0,5}(\n|\r\n|\r|,\"|\",|\"\n|x,y\n|x,y\r\n){1,2}){0,20}",
        mark: bool,
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
        chunk in 1..60_u64,
    ) {
        let text = format!("{}a,b\r\n{text}\n", if mark { "\u{feff}" } else { "" });
        let file = tempfile::NamedTempFile::new().unwrap();
        let sizes = Sizes { chunk, line: 4096, record: 32 };
        let open_at = |sizes, next, partials| {
            open(sizes, file.path(), (Format::Csv, Compression::None), true, next, partials)
        };
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(text.len())).chain([text.len()]).collect();
        cuts.sort_unstable();
        let (mut found, mut written, mut next, mut partials) = (Found::default(), 0, 0, Vec::new());
        for cut in cuts {
            OpenOptions::new().append(true).open(file.path()).unwrap().write_all(&text.as_bytes()[written..cut]).unwrap();
            written = cut;
            let mut reader = open_at(sizes, next, partials);
            read_on(&mut reader, &mut next, &mut found);
            partials = reader.partials(next);
        }
        let (mut whole, mut reader) = (Found::default(), open_at(Sizes { chunk: 1 << 16, ..sizes }, 0, Vec::new()));
        read_on(&mut reader, &mut 0, &mut whole);
        found.bad.sort_unstable();
        prop_assert_eq!(&found, &whole, "of {:?}", text);
        // Every line of two fields without quotes is read.
        let body = text.trim_start_matches('\u{feff}');
        let plain = |line: &&str| !line.contains('"') && line.matches(',').count() == 1 && line.trim() == *line;
        for line in body.split(['\n', '\r']).skip(1).filter(plain) {
            let (first, second) = line.split_once(',').unwrap();
            prop_assert!(found.pairs.contains(&(first.to_owned(), second.to_owned())), "{:?} of {:?}", line, text);
        }
    }
}

/// Reads to the current end of the file.
fn read_on(reader: &mut LineFile, next: &mut u64, found: &mut Found) {
    loop {
        let read = reader.read::<Pair>(*next, |line| match line {
            Ok(pair) => found.pairs.push(pair),
            Err(line) => found.bad.push(line.number),
        });
        match read.unwrap() {
            Read::Whole { .. } => {
                *next += 1;
                reader.begin(*next);
            }
            Read::Part => {}
            Read::Nothing => return,
        }
    }
}

#[test]
fn lines_that_are_too_long_are_counted_and_skipped() {
    let long = "x".repeat(5000);
    let text = format!("a,b\n1,2\n{long},1\n3,4\n5,\"{long}\n6,7\n{long}");
    for compression in [Compression::None, Compression::Gzip, Compression::Zstd] {
        let file = write_file(&text, compression);
        let found = read_all(file.path(), compression, Sizes { chunk: 64, line: 4096, record: 64 }, &[(3, 2)]);
        let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        assert_eq!(found.pairs, [pair("1", "2"), pair("3", "4"), pair("6", "7")]);
        assert_eq!(found.bad, [3, 5, 7]);
    }
}
