//! Files of lines as real systems write them: quotes that are never closed, newlines within quotes, other line ends,
//! byte order marks, lines that are too long, padding. Each record is read as Python's `csv` reads it, or becomes a
//! dead letter.

use super::*;

/// Reads to the end with this number of workers. If `crash_after` is set, another number of workers begins, makes that
/// many reads each and stops; the rest is read from their positions. Returns the sales, and the dead letters with their
/// line numbers, both sorted.
fn read_with(
    source: &FileSource<Sale>,
    workers: usize,
    crash_after: Option<usize>,
) -> (Vec<Sale>, Vec<(u64, DeadLetter)>) {
    let (mut sales, mut letters, mut positions) = (Vec::new(), Vec::new(), Vec::new());
    let runs = crash_after.map(|turns| (workers % 3 + 1, turns)).into_iter().chain([(workers, usize::MAX)]);
    for (workers, turns) in runs {
        let mut readers: Vec<_> = (0..workers).map(|w| open(source, w, workers, &positions).unwrap()).collect();
        for reader in &mut readers {
            for _ in 0..turns {
                let mut batch = Batch::new(Arrival(0));
                let next = reader.read(&mut batch).unwrap();
                sales.extend(batch.records().iter().map(|record| record.data.clone()));
                letters.extend(batch.dead_letters().iter().cloned());
                if next == Next::Done {
                    break;
                }
            }
        }
        positions = readers.iter().map(|reader| reader.position().unwrap()).collect();
    }
    sales.sort_by_key(|sale| sale.id);
    let number = |letter: DeadLetter| (letter.origin.rsplit(':').next().unwrap().parse().unwrap(), letter);
    let mut letters: Vec<(u64, DeadLetter)> = letters.into_iter().map(number).collect();
    letters.sort_by_key(|(number, _)| *number);
    (sales, letters)
}

/// Checks the file with one to four workers, without and with a restore in between.
fn read_all_ways(path: &Path, mut check: impl FnMut(&[Sale], &[(u64, DeadLetter)])) {
    for workers in 1..=4 {
        for crash_after in [None, Some(1), Some(2)] {
            let (sales, letters) = read_with(&source(path), workers, crash_after);
            check(&sales, &letters);
        }
    }
}

/// Writes a file whose extension says how it is compressed.
fn file(folder: &Path, name: &str, text: &[u8]) -> PathBuf {
    let path = folder.join(name);
    match name.rsplit('.').next() {
        Some("gz") => {
            let mut encoder = flate2::write::GzEncoder::new(File::create(&path).unwrap(), flate2::Compression::fast());
            encoder.write_all(text).unwrap();
            encoder.finish().unwrap();
        }
        Some("zst") => zstd::stream::copy_encode(text, File::create(&path).unwrap(), 1).unwrap(),
        _ => fs::write(&path, text).unwrap(),
    }
    path
}

const NAMES: [&str; 3] = ["q.csv", "q.csv.gz", "q.csv.zst"];
const HEADER: &str = "id,ts,shop,amount\n";

fn numbers(letters: &[(u64, DeadLetter)]) -> Vec<u64> {
    letters.iter().map(|(number, _)| *number).collect()
}

fn plain_line(id: u64) -> String {
    format!("{id},{},plain,{id}.5\n", 1_000_000 + id * 10)
}

#[test]
fn an_unclosed_quote_costs_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let count = 9000_u64;
    // The bad quote is before a number, before a text or at the beginning of the line; the bad lines are the first one,
    // the last one, and some at the ends of chunks.
    for bad in [vec![100], vec![0], vec![count - 1], vec![7, 8, 9], (0..count).step_by(150).collect()] {
        for (form, name) in
            [("#,7,plain,\"20.0", NAMES[0]), ("#,7,\"the 5 inch screen,3", NAMES[1]), ("\"#,7,plain,3", NAMES[2])]
        {
            let line = |id: u64| match bad.contains(&id) {
                true => format!("{}\n", form.replace('#', &id.to_string())),
                false => plain_line(id),
            };
            let text = HEADER.to_owned() + &(0..count).map(line).collect::<String>();
            let path = file(folder.path(), name, text.as_bytes());
            read_all_ways(&path, |sales, letters| {
                let ids: Vec<u64> = sales.iter().map(|sale| sale.id).collect();
                assert!(
                    ids.iter().copied().eq((0..count).filter(|id| !bad.contains(id))),
                    "{name}: {} came",
                    ids.len()
                );
                assert_eq!(numbers(letters), bad.iter().map(|id| id + 2).collect::<Vec<_>>(), "{name}");
                assert!(
                    letters.iter().all(|(_, letter)| letter.reason.contains("does not end on its line")),
                    "{letters:?}"
                );
            });
        }
    }
}

#[test]
fn newlines_within_quotes_are_right_wherever_a_chunk_ends() {
    let folder = tempfile::tempdir().unwrap();
    for (ends, name) in [("\n", NAMES[0]), ("\r\n", NAMES[1]), ("\r", NAMES[2]), ("\n", NAMES[2])] {
        let shop = |id: u64| match id % 5 {
            0 => "one line".to_owned(),
            1 => "two\nlines, \"quoted\"".to_owned(),
            2 => format!("\n\n{}\r\nlast\n", "x".repeat((id % 997) as usize)),
            3 => "\"\n\"".to_owned(),
            _ => "a\rb".to_owned(),
        };
        let line = |id: u64| format!("{id},{},\"{}\",{id}.5{ends}", 7 + id, shop(id).replace('"', "\"\""));
        let text = format!("id,ts,shop,amount{ends}") + &(0..6000).map(line).collect::<String>();
        let path = file(folder.path(), name, text.as_bytes());
        read_all_ways(&path, |sales, letters| {
            assert_eq!((sales.len(), letters.len()), (6000, 0), "{name}: {:?}", letters.first());
            assert!(sales.iter().zip(0..).all(|(sale, id)| sale.id == id && sale.shop == shop(id)));
        });
    }
}

#[test]
fn with_doubtful_quotes_nothing_is_read_as_data() {
    let folder = tempfile::tempdir().unwrap();
    // A line within the quotes could be a record by itself. Since both readings are possible, all lines are refused.
    for lines in ["1,1,\"a\n2,2,b\",2\n", "1,1,\"a\n2,2,b,2\nc\",2\n"] {
        let text = format!("{HEADER}0,0,a,0\n{lines}3,3,c,3\n");
        let path = file(folder.path(), "q.csv", text.as_bytes());
        read_all_ways(&path, |sales, letters| {
            assert_eq!(sales.iter().map(|sale| sale.id).collect::<Vec<_>>(), [0, 3]);
            assert_eq!(letters.len(), lines.lines().count());
            assert!(letters.iter().all(|(_, letter)| letter.reason.contains("part of a record of")), "{letters:?}");
        });
    }
}

#[test]
fn any_line_end_ends_a_line() {
    let folder = tempfile::tempdir().unwrap();
    for ends in [&["\r"][..], &["\r\n"], &["\r", "\n", "\r\n"]] {
        let mut text = format!("id,ts,shop,amount{}", ends[0]);
        for id in 0..9000 {
            let line = if id % 1000 == 999 { "bad,line".to_owned() } else { plain_line(id) };
            text += line.trim_end();
            text += ends[id as usize % ends.len()];
        }
        for (name, text) in [("q.csv", text.as_str()), ("q.csv.gz", text.trim_end())] {
            read_all_ways(&file(folder.path(), name, text.as_bytes()), |sales, letters| {
                assert_eq!(sales.len(), 8991);
                assert_eq!(numbers(letters), (1..=9).map(|n| n * 1000 + 1).collect::<Vec<_>>(), "{ends:?}");
                assert!(letters.iter().all(|(_, letter)| letter.content == "bad,line"), "{letters:?}");
            });
        }
    }
}

#[test]
fn fields_are_trimmed_as_headers_are() {
    let folder = tempfile::tempdir().unwrap();
    let text = " id , ts,shop , amount \n 7 ,\t8 ,  x ,  \n8,9, \tx y,1.5 \n   \n9,10,\"  x \" , 2\r\n";
    read_all_ways(&file(folder.path(), "q.csv", text.as_bytes()), |sales, letters| {
        let shops: Vec<_> = sales.iter().map(|sale| (sale.id, &*sale.shop, sale.amount)).collect();
        assert_eq!(shops, [(7, "x", None), (8, "x y", Some(1.5)), (9, "  x ", Some(2.0))], "{letters:?}");
        assert_eq!(letters.len(), 0);
    });
}

#[test]
fn a_byte_order_mark_is_no_part_of_the_first_line() {
    let folder = tempfile::tempdir().unwrap();
    let json: String = (0..10).map(|id| serde_json::to_string(&sale(id)).unwrap() + "\n").collect();
    let csv: String = HEADER.to_owned() + &(0..10).map(plain_line).collect::<String>();
    for (name, text) in [("b.jsonl", &json), ("b.jsonl.gz", &json), ("b.csv", &csv), ("b.csv.zst", &csv)] {
        let path = file(folder.path(), name, format!("\u{feff}{text}").as_bytes());
        read_all_ways(&path, |sales, letters| assert_eq!((sales.len(), letters.len()), (10, 0), "{name}"));
    }
    for (name, bytes, wanted) in [
        ("u.jsonl", &b"\xff\xfe{\0}\0\n\0"[..], "UTF-16"),
        ("u.csv", b"\xfe\xff\0i\0d\0\n", "UTF-16"),
        ("u.csv", b"\x1f\x8b\x08\0\0", ".gz"),
        ("u.jsonl", b"\x28\xb5\x2f\xfd\0\0", ".zst"),
        ("u.csv", b"id,ts,shop,id\n1,2,3,4\n", "\"id\" twice"),
        ("u.csv", b"id,ts,shop,\"amount\n1,2,3,4\n", "header"),
    ] {
        let error = run(source(&file(folder.path(), name, bytes))).unwrap_err().report();
        assert!(error.contains(wanted) && error.contains(name), "wanted \"{wanted}\": {error}");
    }
}

#[test]
fn a_line_that_is_too_long_is_a_dead_letter_with_its_number() {
    let folder = tempfile::tempdir().unwrap();
    let (long, mut json, mut csv) = ("x".repeat(17 << 20), String::new(), HEADER.to_owned());
    for id in 0..2000 {
        json += &(serde_json::to_string(&sale(id)).unwrap() + "\n");
        csv += &plain_line(id);
        if id == 999 || id == 1999 {
            json += &format!("{{\"id\":1,\"note\":\"{long}\"}}\n");
            csv += &format!("7,7,{long},1\n");
        }
    }
    for (name, text, wanted) in
        [("l.jsonl", &json, [1001, 2002]), ("l.jsonl.gz", &json, [1001, 2002]), ("l.csv", &csv, [1002, 2003])]
    {
        let path = file(folder.path(), name, text.trim_end().as_bytes());
        for (workers, crash_after) in [(1, None), (2, Some(2)), (3, None)] {
            let (sales, letters) = read_with(&source(&path), workers, crash_after);
            assert_eq!((sales.len(), numbers(&letters)), (2000, wanted.to_vec()), "{name}");
            for (_, letter) in &letters {
                assert!(
                    letter.reason.contains("more than 16777216 bytes") && letter.content.len() == 4096,
                    "{letter:?}"
                );
            }
        }
    }
}

#[test]
fn gzip_may_be_padded_and_may_not_have_garbage_behind() {
    let folder = tempfile::tempdir().unwrap();
    let text: String = HEADER.to_owned() + &(0..9000).map(plain_line).collect::<String>();
    let path = file(folder.path(), "p.csv.gz", text.as_bytes());
    let packed = fs::read(&path).unwrap();
    let more = fs::read(file(folder.path(), "more.gz", plain_line(9000).as_bytes())).unwrap();
    for (behind, count) in
        [(vec![0; 1], 9000), (vec![0; 100_000], 9000), (more.clone(), 9001), ([vec![0; 512], more].concat(), 9001)]
    {
        fs::write(&path, [&packed[..], &behind].concat()).unwrap();
        read_all_ways(&path, |sales, letters| assert_eq!((sales.len(), letters.len()), (count, 0)));
    }
    fs::write(&path, [&packed[..], b"garbage"].concat()).unwrap();
    let error = run(source(&path)).unwrap_err().report();
    assert!(error.contains("p.csv.gz") && error.contains("not gzip"), "{error}");
}
