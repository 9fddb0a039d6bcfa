//! Tests of the file source through its public API: formats, compressions, positions, and lines that cannot be
//! decoded.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "files/ahead.rs"]
mod ahead;
#[path = "files/followed.rs"]
mod followed;
#[path = "files/times.rs"]
mod times;

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parquet::arrow::ArrowWriter;
use parquet::file::properties::WriterProperties;
use proptest::prelude::*;
use serde::{Deserialize, Serialize};
use serde_arrow::schema::{SchemaLike, SerdeArrowSchema, TracingOptions};
use tidemill::prelude::*;
use tidemill::source::{Batch, Next, Source, SourceContext, SourceReader};
use tidemill::testing::ProgramTest;
use tidemill::{
    error::ConnectorError,
    stream::{Arrival, DeadLetter},
};

#[path = "files/lines.rs"]
mod lines;

#[derive(Clone, Debug, PartialEq, PartialOrd, Serialize, Deserialize)]
struct Sale {
    id: u64,
    ts: i64,
    shop: String,
    amount: Option<f64>,
}

fn sale(id: u64) -> Sale {
    let shop = ["plain", "with, comma", "with \"quotes\"", "größer"][id as usize % 4].to_owned();
    Sale { id, ts: 1_000_000 + id as i64 * 10, shop, amount: (!id.is_multiple_of(7)).then_some(id as f64 / 3.0) }
}

const KINDS: [&str; 7] = ["csv", "csv.gz", "csv.zst", "jsonl", "jsonl.gz", "ndjson.zst", "parquet"];

/// Writes sales `0..count` in the format that the extension names.
fn write(folder: &Path, extension: &str, count: u64) -> PathBuf {
    let path = folder.join(format!("sales.{extension}"));
    let sales: Vec<Sale> = (0..count).map(sale).collect();
    let mut text = Vec::new();
    if extension == "parquet" {
        write_parquet(&path, &sales);
        return path;
    } else if extension.starts_with("csv") {
        let mut writer = csv::Writer::from_writer(&mut text);
        writer.write_record(["id", "ts", "shop", "amount"]).unwrap();
        sales.iter().for_each(|sale| writer.serialize((sale.id, sale.ts, &sale.shop, sale.amount)).unwrap());
        writer.flush().unwrap();
        drop(writer);
    } else {
        for sale in &sales {
            serde_json::to_writer(&mut text, sale).unwrap();
            text.push(b'\n');
        }
    }
    let mut file = File::create(&path).unwrap();
    match extension.rsplit('.').next() {
        Some("gz") => {
            let mut encoder = flate2::write::GzEncoder::new(file, flate2::Compression::fast());
            encoder.write_all(&text).unwrap();
            encoder.finish().unwrap();
        }
        Some("zst") => zstd::stream::copy_encode(&text[..], file, 1).unwrap(),
        _ => file.write_all(&text).unwrap(),
    }
    path
}

/// Writes rows as Parquet. The size of row groups has nothing in common with the other sizes in these tests.
fn write_parquet<R: Serialize + for<'de> Deserialize<'de>>(path: &Path, rows: &[R]) {
    let schema = SerdeArrowSchema::from_type::<R>(TracingOptions::default()).unwrap();
    let fields: Vec<_> = (&schema).try_into().unwrap();
    let batch = serde_arrow::to_record_batch(&fields, &rows).unwrap();
    let properties = WriterProperties::builder().set_max_row_group_row_count(Some(1500)).build();
    let mut writer = ArrowWriter::try_new(File::create(path).unwrap(), batch.schema(), Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}

fn source(path: &Path) -> FileSource<Sale> {
    FileSource::new([path], |sale: &Sale| EventTime(sale.ts))
}

fn open<S: Source>(
    source: &S,
    worker: usize,
    workers: usize,
    restored: &[Vec<u8>],
) -> Result<S::Reader, ConnectorError> {
    let mut context = SourceContext::without_job("sales", worker, workers, Clock::manual(Arrival(0)));
    context.restored = restored.to_vec();
    source.open(context)
}

/// Reads one batch. Returns whether there may be more.
fn read(reader: &mut impl SourceReader<Item = Sale>, into: &mut Vec<Sale>) -> bool {
    let mut batch = Batch::new(Arrival(0));
    let next = reader.read(&mut batch).unwrap();
    assert!(batch.dead_letters().is_empty(), "{:?}", batch.dead_letters());
    into.extend(batch.records().iter().map(|record| record.data.clone()));
    next != Next::Done
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// Several runs with changing numbers of workers, each of which reads a little, together read every record once.
    #[test]
    fn every_record_comes_once_across_restores(
        kind in prop::sample::select(&KINDS[..]),
        count in 0..9000u64,
        runs in prop::collection::vec(prop::collection::vec(0..3usize, 1..4), 0..4),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let source = source(&write(folder.path(), kind, count));
        let (mut positions, mut found) = (Vec::new(), Vec::new());
        for turns in runs.iter().chain([&vec![usize::MAX; 2]]) {
            let mut readers: Vec<_> = (0..turns.len()).map(|w| open(&source, w, turns.len(), &positions).unwrap()).collect();
            for (reader, turns) in readers.iter_mut().zip(turns) {
                for _ in 0..*turns {
                    if !read(reader, &mut found) { break; }
                }
            }
            positions = readers.iter().map(|reader| reader.position().unwrap()).collect();
        }
        found.sort_by_key(|sale| sale.id);
        prop_assert_eq!(found.len() as u64, count);
        prop_assert!(found.iter().eq(&(0..count).map(sale).collect::<Vec<_>>()));
    }
}

/// Runs a job over the file. Returns its records and dead letters.
fn run(source: FileSource<Sale>) -> Result<(Vec<Sale>, Vec<DeadLetter>), JobError> {
    let (sales, letters) = (CollectSink::default(), CollectSink::default());
    let (source, to_sales, to_letters) = (Arc::new(source), sales.clone(), letters.clone());
    let args = JobArgs {
        settings: JobSettings { workers: 2, ..JobSettings::default() },
        log_level: "error".to_owned(),
        ..JobArgs::default()
    };
    Job::new("files", args).run(move |flow| {
        flow.source("sales", &*source)?.sink("sales-out", &to_sales)?;
        flow.dead_letters().sink("letters", &to_letters)
    })?;
    let mut sales = sales.data();
    sales.sort_by_key(|sale: &Sale| sale.id);
    Ok((sales, letters.data()))
}

#[test]
fn malformed_lines_are_dead_letters_with_their_number() {
    for (name, header, bad) in [
        ("bad.csv", "id,ts,shop,amount\n", ["x,1,a,1.5", "7,8", "3,,a,1"]),
        ("bad.jsonl", "", ["{\"id\":", "{\"id\":1,\"ts\":2}", "[1,2]"]),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        let good = |id: u64| match header {
            "" => serde_json::to_string(&sale(id)).unwrap(),
            _ => format!("{id},{},plain,", sale(id).ts),
        };
        let mut text = header.to_owned();
        // The bad lines are far enough apart to be in chunks of different workers.
        let mut expected = Vec::new();
        for (part, bad) in bad.iter().enumerate() {
            (0..5000).for_each(|n| text.push_str(&format!("{}\n", good(part as u64 * 5000 + n))));
            expected.push((text.lines().count() + 1, (*bad).to_owned()));
            text.push_str(&format!("{bad}\n"));
        }
        fs::write(&path, &text).unwrap();

        let (sales, letters) = run(source(&path)).unwrap();
        assert_eq!(sales.len(), 15_000, "{name}");
        let mut found: Vec<(usize, String)> = letters
            .iter()
            .map(|letter| {
                let (file, line) = letter.origin.rsplit_once(':').unwrap();
                assert_eq!((file, &*letter.operator), (&*path.display().to_string(), "sales"));
                assert!(!letter.reason.is_empty());
                (line.parse().unwrap(), letter.content.clone())
            })
            .collect();
        found.sort();
        assert_eq!(found, expected, "{name}");

        let error = run(source(&path).max_malformed(MaxMalformed::total(0))).unwrap_err().report();
        assert!(error.contains("more than 0 lines could not be decoded") && error.contains(name), "{error}");
    }
}

#[test]
fn rows_of_another_type_are_dead_letters() {
    #[derive(Serialize, Deserialize)]
    struct Odd {
        id: i64,
        ts: i64,
        shop: Option<String>,
        amount: f32,
        unused: bool,
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("odd.parquet");
    let odd = |id: i64| Odd {
        id: if id == 1500 { -1 } else { id },
        ts: id,
        shop: (id != 7).then(|| "plain".to_owned()),
        amount: 3.0,
        unused: true,
    };
    let rows: Vec<Odd> = (0..2000).map(odd).collect();
    write_parquet(&path, &rows);

    let (sales, letters) = run(source(&path)).unwrap();
    assert_eq!((sales.len(), sales[0].amount), (1998, Some(3.0)), "{letters:?}");
    let mut origins: Vec<&str> = letters.iter().map(|letter| letter.origin.rsplit(':').next().unwrap()).collect();
    origins.sort_unstable();
    assert_eq!(origins, ["1501", "8"]);
    assert!(letters.iter().all(|letter| letter.content.contains("\"ts\":")), "{letters:?}");
}

#[derive(Serialize, Deserialize)]
struct Shopless {
    id: u64,
    ts: i64,
}

#[derive(Serialize, Deserialize)]
struct OtherTypes {
    id: u64,
    ts: i64,
    shop: u8,
    amount: u64,
}

#[test]
fn what_cannot_be_read_is_said_before_the_job_starts() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    };
    let whole = fs::read(write(folder.path(), "parquet", 3000)).unwrap();
    let parquet = write(folder.path(), "parquet", 10);
    let shopless = folder.path().join("shopless.parquet");
    write_parquet(&shopless, &[Shopless { id: 1, ts: 2 }]);
    let typed = folder.path().join("typed.parquet");
    write_parquet(&typed, &[OtherTypes { id: 1, ts: 2, shop: 3, amount: 4 }]);

    for (source, wanted) in [
        (source(&folder.path().join("none.csv")), "cannot read"),
        (source(&at("sales.txt", b"1")), "its name does not say which format it has"),
        (source(&at("few.csv", b"id,ts\n1,2\n")), "missing field `shop`"),
        (source(&at("cut.parquet", &whole[..whole.len() - 100])), "is it cut off or damaged?"),
        (source(&shopless), "missing field"),
        (source(&typed), "$.shop"),
        (source(&parquet).follow(), "can be followed"),
    ] {
        let error = run(source).unwrap_err().report();
        assert!(error.contains(wanted), "wanted \"{wanted}\": {error}");
    }
    // Damage in the middle of a file is found only while reading.
    let mut text = Vec::new();
    let mut encoder = flate2::write::GzEncoder::new(&mut text, flate2::Compression::fast());
    (0..50_000).for_each(|id| writeln!(encoder, "{}", serde_json::to_string(&sale(id)).unwrap()).unwrap());
    encoder.finish().unwrap();
    let error = run(source(&at("cut.jsonl.gz", &text[..text.len() / 2]))).unwrap_err().report();
    assert!(error.contains("cut.jsonl.gz") && error.contains("is it cut off or damaged?"), "{error}");
}

/// There are more files than the process may open at a time. Each covers a time that many others overlap.
#[test]
fn more_files_are_read_than_may_be_open() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: Some(1024), ..limit }).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let paths: Vec<PathBuf> = (0..1500u64)
        .map(|n| {
            let path = folder.path().join(format!("{n:04}.jsonl"));
            let ids = [n / 2, n / 2 + 700].map(|time| n + time * 10_000);
            let lines =
                ids.map(|id| serde_json::to_string(&Sale { ts: (id / 10_000) as i64, ..sale(id) }).unwrap() + "\n");
            fs::write(&path, lines.concat()).unwrap();
            path
        })
        .collect();
    let source = || FileSource::new(&paths, |sale: &Sale| EventTime(sale.ts));
    let (sales, letters) = run(source()).unwrap();
    assert_eq!((sales.len(), letters.len()), (3000, 0));

    // A single reader returns the records in the order of their times, also after a restore with another number of
    // readers.
    let mut reader = open(&source(), 0, 1, &[]).unwrap();
    let mut found = Vec::new();
    while found.len() < 1200 {
        assert!(read(&mut reader, &mut found));
    }
    let position = reader.position().unwrap();
    drop(reader);
    for worker in 0..2 {
        let mut reader = open(&source(), worker, 2, std::slice::from_ref(&position)).unwrap();
        while read(&mut reader, &mut found) {}
    }
    found.sort_by_key(|sale| sale.id);
    assert!(found.iter().eq(&sales), "each once");
    // The limit also holds when all files are followed.
    let mut reader = open(&source().follow(), 0, 1, &[]).unwrap();
    let mut found = Vec::new();
    while found.len() < 3000 {
        assert!(read(&mut reader, &mut found));
    }
    drop(reader);
    setrlimit(Resource::Nofile, limit).unwrap();
}

#[test]
fn files_are_merged_by_the_time_they_begin_with() {
    let folder = tempfile::tempdir().unwrap();
    // The first file by name is the last one in time.
    let paths: Vec<PathBuf> = (0..50u64)
        .map(|n| {
            let path = folder.path().join(format!("{n:02}.jsonl"));
            let lines = (0..20).map(|i| serde_json::to_string(&sale((49 - n) * 20 + i)).unwrap() + "\n");
            fs::write(&path, lines.collect::<String>()).unwrap();
            path
        })
        .collect();
    let source = FileSource::new(&paths, |sale: &Sale| EventTime(sale.ts));
    let mut reader = open(&source, 0, 1, &[]).unwrap();
    let (mut found, mut watermark) = (Vec::new(), EventTime::MIN);
    let mut batch = Batch::new(Arrival(0));
    while reader.read(&mut batch).unwrap() != Next::Done {
        assert!(batch.records().iter().all(|record| record.event_time >= watermark), "late");
        found.extend(batch.records().iter().map(|record| record.data.id));
        watermark = batch.watermark().unwrap();
        batch.reset(Arrival(0));
    }
    found.extend(batch.records().iter().map(|record| record.data.id));
    assert_eq!(found, (0..1000).collect::<Vec<_>>());
}

#[test]
fn another_file_of_the_same_name_is_not_read_on() {
    for kind in KINDS {
        let folder = tempfile::tempdir().unwrap();
        let path = write(folder.path(), kind, 5000);
        let source = source(&path);
        let mut reader = open(&source, 0, 2, &[]).unwrap();
        let mut found = Vec::new();
        read(&mut reader, &mut found);
        let position = reader.position().unwrap();
        drop(reader);
        let bytes = fs::read(&path).unwrap();
        // A file with the same content is accepted, as after a copy or a restored backup.
        fs::remove_file(&path).unwrap();
        fs::write(&path, &bytes).unwrap();
        open(&source, 1, 3, std::slice::from_ref(&position)).unwrap();
        let other = write(folder.path(), kind, 5001);
        assert_eq!(other, path);
        let error = open(&source, 1, 3, std::slice::from_ref(&position)).err().unwrap().to_string();
        let both = error.contains(&format!("that had {} bytes", bytes.len()));
        assert!(both && error.contains("not the file that was read before"), "{kind}: {error}");
        // A file that is truncated while it is read is refused as well.
        let mut reader = open(&source, 0, 1, &[]).unwrap();
        if kind == "jsonl" || kind == "csv" {
            OpenOptions::new().write(true).open(&path).unwrap().set_len(100).unwrap();
            let mut batch = Batch::new(Arrival(0));
            let error = loop {
                match reader.read(&mut batch) {
                    Ok(next) => assert_ne!(next, Next::Done),
                    Err(error) => break error.to_string(),
                }
            };
            assert!(error.contains("it was cut while it was read"), "{error}");
        }
    }
}

#[test]
fn a_followed_file_is_read_as_it_grows() {
    let folder = tempfile::tempdir().unwrap();
    let path = write(folder.path(), "jsonl", 100);
    let follower = source(&path).follow();
    let mut reader = open(&follower, 0, 1, &[]).unwrap();
    let mut found = Vec::new();
    while found.len() < 100 {
        assert!(read(&mut reader, &mut found));
    }
    let mut file = OpenOptions::new().append(true).open(&path).unwrap();
    let line = serde_json::to_string(&sale(100)).unwrap();
    let (half, rest) = line.split_at(line.len() / 2);
    write!(file, "{half}").unwrap();
    assert!(read(&mut reader, &mut found) && found.len() == 100, "half a line is no line");
    let position = reader.position().unwrap();
    writeln!(file, "{rest}").unwrap();
    writeln!(file, "{}", serde_json::to_string(&sale(101)).unwrap()).unwrap();
    // A reader that is restored to the position reads the same two lines.
    for mut reader in [reader, open(&follower, 0, 1, &[position]).unwrap()] {
        let mut more = Vec::new();
        let mut batch = Batch::new(Arrival(0));
        let deadline = std::time::Instant::now() + Duration::from_secs(10);
        while more.len() < 2 && std::time::Instant::now() < deadline {
            batch.reset(Arrival(0));
            assert_ne!(reader.read(&mut batch).unwrap(), Next::Done);
            more.extend(batch.records().iter().map(|record| record.data.clone()));
        }
        assert_eq!(more, [sale(100), sale(101)]);
    }
}

#[test]
fn a_reference_file_may_be_parquet_and_a_damaged_one_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("shops.parquet");
    let replace = |rows: &[(u64, &str)], cut: usize| {
        let next = folder.path().join("next.parquet");
        write_parquet(
            &next,
            &rows.iter().map(|(id, shop)| Shop { id: *id, shop: (*shop).to_owned() }).collect::<Vec<_>>(),
        );
        let whole = fs::read(&next).unwrap();
        fs::write(&next, &whole[..whole.len() - cut]).unwrap();
        fs::rename(&next, &path).unwrap();
    };
    replace(&[(1, "Graz"), (2, "Wien"), (3, "Linz")], 0);
    let mut test = ProgramTest::new();
    let (emitted, letters) = (test.sink(), test.sink());
    let (to, to_letters) = (emitted.clone(), letters.clone());
    let file = ReferenceFile::new(&path, |shop: &Shop| shop.id).reload_every(Duration::from_millis(10));
    let ticks = test.source::<u8>();
    test.start(2, move |flow| {
        flow.source("ticks", &ticks)?.sink("ticks-out", &NullSink::default())?;
        flow.reference("shops", &file)?.map(|(id, row)| (id, row.map(|row| row.shop))).sink("emitted", &to)?;
        flow.dead_letters().map(|letter| letter.reason).sink("letters", &to_letters)
    });
    let look = |at: u64| {
        for clock in [at, at + 10] {
            test.clock(ProcessingTime(clock as i64));
            test.settle();
        }
        let mut emitted = emitted.output();
        emitted.sort();
        emitted
    };
    let shop = |name: &str| Some(name.to_owned());
    assert_eq!(look(20), [(1, shop("Graz")), (2, shop("Wien")), (3, shop("Linz"))]);
    replace(&[(1, "Graz"), (3, "Steyr"), (4, "Wels")], 0);
    assert_eq!(look(40), [(2, None), (3, shop("Steyr")), (4, shop("Wels"))]);
    replace(&[(1, "Enns")], 100);
    assert_eq!(look(60), []);
    let letters = letters.output();
    assert!(matches!(&letters[..], [letter] if letter.contains("is it cut off or damaged?")), "{letters:?}");
    replace(&[(1, "Graz"), (3, "Steyr"), (4, "Enns")], 0);
    assert_eq!(look(80), [(4, shop("Enns"))]);
    test.finish();
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
struct Shop {
    id: u64,
    shop: String,
}
