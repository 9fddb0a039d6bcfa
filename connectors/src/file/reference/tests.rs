//! The reader and its logic, compared with a map, for random good and bad versions of a file, with crashes at any
//! point.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use proptest::prelude::*;
use serde::{Deserialize, Serialize};
use tempfile::TempDir;
use tidemill_engine::testing::LogicTest;
use tidemill_engine::{Arrival, Clock, ErrorKind};

use super::ReferenceFile;
use super::reader::{ReferenceReader, VersionSource};
use super::rows::{Bucket, Row, RowsLogic, differences};
use tidemill_engine::shell::Order;
use tidemill_engine::source::{Batch, Next, Source, SourceContext, SourceReader};
use tidemill_engine::{ConnectorError, DeadLetter, EventTime, Record};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Shop {
    id: u32,
    city: String,
    risk: f64,
}

/// Chains, each with the value that its shops have.
type Rows = BTreeMap<u8, u8>;

/// Number of shops of a chain: enough that a version is sent in several batches and a bucket has several rows.
const SHOPS: u32 = 100;

fn shops_of(rows: &Rows) -> Vec<Shop> {
    let of_chain = |chain: u8, value| (0..SHOPS).map(move |n| shop(u32::from(chain) * SHOPS + n, value));
    rows.iter().flat_map(|(chain, value)| of_chain(*chain, *value)).collect()
}

fn shop(id: u32, value: u8) -> Shop {
    Shop { id, city: format!("city, {value}"), risk: f64::from(value) / 3.0 }
}

/// A change of the file.
#[derive(Clone, Debug)]
enum Written {
    Good(Rows),
    /// The first part of the text of these rows; its size is given in thousandths.
    Cut(Rows, usize),
    Malformed(Rows),
    TwoRowsOfAKey(Rows),
    Missing,
}

fn text(shops: &[Shop]) -> String {
    let lines = shops.iter().map(|Shop { id, city, risk }| format!("{id},\"{city}\",{risk}\n"));
    format!("id,city,risk\n{}", lines.collect::<String>())
}

impl Written {
    /// Returns the text, if the file exists, and the rows, if the text is a version.
    fn content(&self) -> (Option<String>, Option<Shops>) {
        match self {
            Self::Good(rows) => (Some(text(&shops_of(rows))), Some(by_id(shops_of(rows)))),
            Self::Cut(rows, share) => {
                let whole = text(&shops_of(rows));
                let cut = &whole[..whole.len() * share / 1000];
                // A file that is cut between two lines is a version with fewer rows.
                let kept =
                    cut.ends_with('\n').then(|| shops_of(rows).into_iter().take(cut.lines().count() - 1).collect());
                (Some(cut.to_owned()), kept.map(by_id))
            }
            Self::Malformed(rows) => (Some(text(&shops_of(rows)) + "-1,x,1\n"), None),
            Self::TwoRowsOfAKey(rows) => (Some(text(&shops_of(rows)) + "7,here,1\n7,there,1\n"), None),
            Self::Missing => (None, None),
        }
    }
}

type Shops = BTreeMap<u32, Shop>;

fn by_id(shops: Vec<Shop>) -> Shops {
    shops.into_iter().map(|shop| (shop.id, shop)).collect()
}

#[derive(Clone, Debug)]
enum Step {
    /// Writes in place if the flag is set, otherwise by renaming another file.
    Write(Written, bool),
    Turns(usize),
    Tick,
    Checkpoint,
    Crash(usize),
    Settle,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let rows = || prop::collection::btree_map(0..30_u8, 0..4_u8, 0..25);
    let written = prop_oneof![
        6 => rows().prop_map(Written::Good),
        1 => (rows(), 0..1000_usize).prop_map(|(rows, share)| Written::Cut(rows, share)),
        1 => rows().prop_map(Written::Malformed),
        1 => rows().prop_map(Written::TwoRowsOfAKey),
        1 => Just(Written::Missing),
    ];
    // A version that is being sent at a checkpoint, followed by a crash.
    let cut = (rows(), 1..8_usize, written.clone(), 1..5_usize).prop_map(|(rows, turns, then, workers)| {
        use Step::{Checkpoint, Crash, Tick, Turns, Write};
        let write = Write(Written::Good(rows), false);
        vec![write, Tick, Turns(8), Tick, Turns(turns), Checkpoint, Write(then, false), Crash(workers)]
    });
    let step = prop_oneof![
        4 => (written, any::<bool>()).prop_map(|(written, in_place)| Step::Write(written, in_place)),
        4 => (1..8_usize).prop_map(Step::Turns),
        4 => Just(Step::Tick),
        2 => Just(Step::Checkpoint),
        2 => (1..5_usize).prop_map(Step::Crash),
        2 => Just(Step::Settle),
    ];
    let part = prop_oneof![12 => step.prop_map(|step| vec![step]), 1 => cut];
    prop::collection::vec(part, 1..40).prop_map(|parts| parts.concat())
}

const EVERY: Duration = Duration::from_secs(5);

/// A job of this source alone. The logic gets the records of an epoch when the epoch ends.
struct World {
    folder: TempDir,
    path: PathBuf,
    file: ReferenceFile<u32, Shop>,
    clock: Clock,
    writes: u64,
    reader: ReferenceReader<u32, Shop, Shop>,
    epoch: Vec<Record<Bucket<u32, Shop>>>,
    positions: Vec<Vec<u8>>,
    logic: LogicTest<RowsLogic<u32, Shop>>,
    letters: Vec<DeadLetter>,
    /// The table that results from the changes emitted so far.
    emitted: Shops,
    /// The time of the last change.
    last: EventTime,
}

fn open(file: &ReferenceFile<u32, Shop>, clock: &Clock, restored: &[Vec<u8>]) -> ReferenceReader<u32, Shop, Shop> {
    let mut context = SourceContext::without_job("shops", 0, 1, clock.clone());
    context.restored = restored.to_vec();
    VersionSource(file.clone()).open(context).unwrap()
}

impl World {
    fn new(name: &str, tune: impl Fn(ReferenceFile<u32, Shop>) -> ReferenceFile<u32, Shop>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (path, clock) = (folder.path().join(name), Clock::manual(Arrival(1_000_000)));
        let file = tune(ReferenceFile::new(&path, |shop: &Shop| shop.id).reload_every(EVERY));
        Self {
            folder,
            path,
            reader: open(&file, &clock, &[]),
            file,
            clock,
            writes: 0,
            epoch: Vec::new(),
            positions: Vec::new(),
            logic: LogicTest::new(Order::Arrival, |bucket: &Bucket<u32, Shop>| bucket.bucket, RowsLogic::open),
            letters: Vec::new(),
            emitted: BTreeMap::new(),
            last: EventTime::MIN,
        }
    }

    fn write(&mut self, content: Option<&str>, in_place: bool) {
        self.writes += 1;
        let Some(content) = content else { return drop(fs::remove_file(&self.path)) };
        let to = if in_place { self.path.clone() } else { self.folder.path().join("next") };
        fs::write(&to, content).unwrap();
        // Two writes within a tick of the file system's clock are no later than each other.
        let modified = SystemTime::UNIX_EPOCH + Duration::from_secs(self.writes);
        File::options().write(true).open(&to).unwrap().set_modified(modified).unwrap();
        fs::rename(&to, &self.path).unwrap();
    }

    fn turn(&mut self) -> Result<Next, ConnectorError> {
        let mut batch = Batch::new(self.clock.now());
        let next = self.reader.read(&mut batch)?;
        self.letters.extend(batch.dead_letters().iter().cloned());
        self.epoch.extend(batch.records().iter().cloned());
        Ok(next)
    }

    fn tick(&mut self) {
        self.clock.set(Arrival(self.clock.now().0 + EVERY.as_micros() as u64));
    }

    /// Runs the reader often enough that every change is seen and read.
    fn settle(&mut self) -> Result<(), ConnectorError> {
        for _ in 0..4 {
            self.tick();
            while self.turn()? == Next::Now {}
        }
        Ok(())
    }

    /// Ends the epoch. Each change that it emits must change the table.
    fn checkpoint(&mut self) -> Result<(), TestCaseError> {
        for Record { event_time, data, .. } in self.epoch.drain(..) {
            self.logic.push(event_time.0, data);
        }
        let mut changes = self.logic.records();
        // Changes from several workers are in no particular order.
        changes.sort_by_key(|change| change.event_time);
        for Record { event_time, data: (key, row), .. } in changes {
            prop_assert!(event_time >= self.last, "emitted at {event_time:?}, after {:?}", self.last);
            self.last = event_time;
            let before = match row.clone() {
                Some(row) => self.emitted.insert(key, row),
                None => self.emitted.remove(&key),
            };
            prop_assert_ne!(before, row, "no change of {}", key);
        }
        // A worker that does not read has an empty position.
        self.positions =
            vec![br#"{"version":2,"emitted":null,"begun":null}"#.to_vec(), self.reader.position().unwrap()];
        Ok(())
    }

    fn crash(&mut self, workers: usize) {
        self.epoch.clear();
        self.logic.crash(workers);
        self.reader = open(&self.file, &self.clock, &self.positions);
    }
}

/// Runs a script. The table must be a version that was in the file since the table was last known.
fn play(steps: &[Step]) -> Result<(), TestCaseError> {
    let mut world = World::new("shops.csv", |file| file.min_share(0.0));
    // The rows in the file, if it is a version.
    let mut in_file: Option<Shops> = None;
    // The versions that the table may be.
    let mut possible: Vec<Shops> = Vec::new();
    for step in steps.iter().chain([&Step::Settle]) {
        let stopped = match step {
            Step::Write(written, in_place) => {
                let (content, rows) = written.content();
                world.write(content.as_deref(), *in_place);
                possible.extend(rows.clone());
                in_file = rows;
                Ok(())
            }
            Step::Turns(turns) => (0..*turns).try_for_each(|_| world.turn().map(drop)),
            Step::Tick => {
                world.tick();
                Ok(())
            }
            Step::Checkpoint => {
                world.checkpoint()?;
                Ok(())
            }
            Step::Crash(workers) => {
                world.crash(*workers);
                Ok(())
            }
            Step::Settle => world.settle(),
        };
        if let Err(error) = stopped {
            // The job may stop only if neither the table nor the file is a whole version. The file is then repaired.
            prop_assert!(in_file.is_none(), "{:?}", error);
            let said = error.to_string();
            prop_assert!(said.contains("start the job again"), "{}", said);
            let whole = by_id(vec![shop(1, 1)]);
            world.write(Some(&text(&[shop(1, 1)])), false);
            possible.push(whole.clone());
            in_file = Some(whole);
            world.crash(2);
            prop_assert!(world.settle().is_ok());
        }
        if matches!(step, Step::Settle) {
            world.checkpoint()?;
            if let Some(rows) = &in_file {
                possible = vec![rows.clone()];
            }
            let emitted = &world.emitted;
            prop_assert!(possible.contains(emitted), "emitted {:?}, possible {:?}", emitted, possible);
            possible.retain(|version| version == emitted);
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100 * testkit::times() as u32, max_shrink_iters: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_table_is_a_whole_version_and_each_change_is_emitted_once(steps in steps()) {
        play(&steps)?;
    }
}

proptest! {
    /// Checks `differences` alone, on the rows of one bucket.
    #[test]
    fn differences_make_the_rows_of_what_was_emitted(
        emitted in prop::collection::btree_map(0..30_u8, 0..3_u64, 0..20),
        rows in prop::collection::btree_map(0..30_u8, 0..3_u64, 0..20),
    ) {
        let before: Vec<(u8, u64)> = emitted.iter().map(|(key, hash)| (*key, *hash)).collect();
        let now = rows.iter().map(|(key, hash)| Row { key: *key, row: *hash, hash: *hash }).collect();
        let mut found = emitted;
        for (key, row) in differences(&before, now) {
            let before = match row {
                Some(row) => found.insert(key, row),
                None => found.remove(&key),
            };
            prop_assert_ne!(before, row);
        }
        prop_assert_eq!(found, rows);
    }
}

/// Returns a world whose file has these rows, which are all emitted.
fn settled(name: &str, content: &str) -> World {
    let mut world = World::new(name, |file| file);
    world.write(Some(content), false);
    world.settle().unwrap();
    world.checkpoint().unwrap();
    world
}

const THREE: &str = "id,city,risk\n1,Graz,0.5\n2,Wien,0.5\n3,Linz,0.5\n";

#[test]
fn a_version_that_is_refused_says_where_and_why_once_and_the_one_before_stays() {
    for (content, origin, reason) in [
        (
            "id,city,risk\n1,Graz,0.5\nx,Wien,0.5\n3,Linz,0.5\n",
            "shops.csv:3",
            "line 3 cannot be decoded: column \"id\"",
        ),
        ("id,city,risk\n1,Graz,0.5\n2\n3\n", "shops.csv:3", "and 1 more"),
        ("id,city,risk\n1,Graz,0.5\n2,Wien,0.5\n3,Lin", "shops.csv", "does not end with a newline"),
        ("id,city,risk\n1,Graz,0.5\n2,Wien,0.5\n1,Linz,0.5\n", "shops.csv", "the key 1 has two rows"),
        ("id,city,risk\n1,Graz,0.5\n2,\"Wien,0.5\n3,Linz,0.5\n", "shops.csv:3", "does not end on its line"),
        // By its quotes this is one row with a newline in it, and row 2 is missing.
        ("id,city,risk\n1,\"Graz,0.5\n2,Wien\",0.5\n3,Linz,0.5\n", "shops.csv:2", "part of a record of 2 lines"),
        ("id,city,risk\n1,Graz,0.5\n2,\"Wien,0.5\n", "shops.csv:3", "does not end on its line"),
        ("id,city,risk\n1,Graz,0.5\n", "shops.csv", "it has 1 rows, the version before had 3"),
        ("id,city,risk\n", "shops.csv", "it has 0 rows"),
        ("", "shops.csv", "it has no header line"),
        ("id,city", "shops.csv", "its header line does not end"),
        ("id,city\n1,Graz\n2,Wien\n", "shops.csv", "missing field `risk`"),
    ] {
        let mut world = settled("shops.csv", THREE);
        let before = world.emitted.clone();
        assert_eq!(before.len(), 3);
        world.write(Some(content), false);
        world.settle().unwrap();
        world.settle().unwrap();
        world.crash(3);
        world.checkpoint().unwrap();
        assert_eq!(world.emitted, before);
        let [letter] = &world.letters[..] else { panic!("{content}: {:?}", world.letters) };
        assert!(letter.origin.ends_with(origin), "{letter:?}");
        assert!(letter.reason.contains(reason), "{letter:?}");
        // A restored job continues with the previous version, too.
        world.settle().unwrap();
        world.checkpoint().unwrap();
        assert_eq!((world.emitted, world.letters.len()), (before, 2));
    }
}

#[test]
fn any_line_ends_and_newlines_in_quotes_are_read_as_by_the_file_source() {
    let mut world = settled("shops.csv", &THREE.replace('\n', "\r"));
    assert_eq!(world.emitted.len(), 3);
    world.write(Some("id,city,risk\r\n1,\"Graz\r\nWest\",0.5\r\n2,Wien,0.5\r\n3, Linz ,0.5\r\n"), false);
    world.settle().unwrap();
    world.checkpoint().unwrap();
    assert_eq!((world.emitted.len(), world.letters.len()), (3, 0), "{:?}", world.letters);
    assert_eq!((world.emitted[&1].city.as_str(), world.emitted[&3].city.as_str()), ("Graz\r\nWest", "Linz"));
}

#[test]
fn a_file_that_is_not_there_for_a_while_is_emitted_once_each_time() {
    let mut world = settled("shops.csv", THREE);
    for times in 1..3 {
        let aside = world.folder.path().join("aside");
        fs::rename(&world.path, &aside).unwrap();
        world.settle().unwrap();
        fs::rename(&aside, &world.path).unwrap();
        world.settle().unwrap();
        assert_eq!(world.letters.len(), times, "{:?}", world.letters);
        assert!(world.letters[times - 1].reason.contains("cannot read"));
    }
    world.checkpoint().unwrap();
    assert_eq!(world.emitted.len(), 3);
}

#[test]
fn the_first_version_has_to_be_a_good_one() {
    for (content, what) in
        [(None, "No such file"), (Some("id,city,risk\n1,Graz,0.5\n2,Wi\n"), "line 3 cannot be decoded: 2 fields")]
    {
        let mut world = World::new("shops.csv", |file| file);
        world.write(content, false);
        let error = world.settle().unwrap_err();
        let text =
            format!("{error}: {}", std::error::Error::source(&error).map_or(String::new(), |e| format!("{e:?}")));
        assert!(text.contains(what) && text.contains("shops.csv") && text.contains("start the job again"), "{text}");
    }
}

#[test]
fn a_file_is_read_once_it_is_still() {
    let mut world = settled("shops.csv", THREE);
    let before = world.emitted.clone();
    let mut content = THREE.to_owned();
    for id in 4..8 {
        // Each version has whole lines, but is not the last one.
        content += &format!("{id},Graz,0.5\n");
        world.write(Some(&content), true);
        world.tick();
        while world.turn().unwrap() == Next::Now {}
        world.checkpoint().unwrap();
        assert_eq!(world.emitted, before);
    }
    world.settle().unwrap();
    world.checkpoint().unwrap();
    assert_eq!((world.emitted.len(), world.letters.len()), (7, 0));
}

#[test]
fn what_is_written_while_it_is_read_is_read_again() {
    let mut world = settled("shops.csv", THREE);
    world.write(Some(&THREE.replace("Graz", "Salzburg")), true);
    world.tick();
    assert!(matches!(world.turn().unwrap(), Next::Accompany(_)));
    world.tick();
    assert_eq!(world.turn().unwrap(), Next::Now, "it is read");
    world.write(Some(&THREE.replace("Wien", "Bregenz")), true);
    while world.turn().unwrap() == Next::Now {}
    world.checkpoint().unwrap();
    assert_eq!(world.emitted[&1].city, "Graz", "nothing of either");
    world.settle().unwrap();
    world.checkpoint().unwrap();
    assert_eq!((world.emitted[&1].city.as_str(), world.emitted[&2].city.as_str()), ("Graz", "Bregenz"));
}

#[test]
fn json_lines_and_compressed_files_are_read_as_by_the_file_source() {
    let lines = "{\"id\":1,\"city\":\"Graz\",\"risk\":0.5}\n{\"id\":2,\"city\":\"Wien\",\"risk\":0.5}";
    let mut world = settled("shops.jsonl", lines);
    assert_eq!(world.emitted.len(), 2);
    world.write(Some(&lines[..lines.len() - 1]), false);
    world.settle().unwrap();
    assert!(world.letters[0].reason.contains("line 2 cannot be decoded"), "{:?}", world.letters);

    let mut world = World::new("shops.csv.zst", |file| file);
    let packed = zstd::stream::encode_all(THREE.as_bytes(), 1).unwrap();
    fs::write(&world.path, &packed).unwrap();
    world.settle().unwrap();
    fs::write(&world.path, &packed[..packed.len() - 3]).unwrap();
    world.settle().unwrap();
    world.checkpoint().unwrap();
    assert_eq!((world.emitted.len(), world.letters.len()), (3, 1), "{:?}", world.letters);
    assert!(world.letters[0].reason.contains("incomplete frame"), "{:?}", world.letters);
}

#[test]
fn invalid_settings_are_refused_with_file_and_value() {
    let file = || ReferenceFile::<u32, Shop>::new("shops.csv", |shop: &Shop| shop.id);
    for (file, why) in [
        (file().reload_every(Duration::ZERO), "reload_every is 0 s"),
        (file().min_share(1.5), "min_share is 1.5"),
        (file().min_share(-0.1), "min_share is -0.1"),
        (file().min_share(f64::NAN), "min_share is NaN"),
    ] {
        let context = SourceContext::without_job("shops", 0, 1, Clock::manual(Arrival(0)));
        let error = VersionSource(file).open(context).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.to_string().contains("shops.csv") && error.to_string().contains(why), "{error}");
    }
}

#[test]
fn another_extension_and_another_position_are_refused() {
    let file = ReferenceFile::<u32, Shop>::new("shops.txt", |shop: &Shop| shop.id);
    let context = |restored: &[u8]| {
        let mut context = SourceContext::without_job("shops", 0, 1, Clock::manual(Arrival(0)));
        context.restored = vec![restored.to_vec()];
        context
    };
    let of = |file: &ReferenceFile<u32, Shop>, restored: &[u8]| {
        VersionSource(file.clone()).open(context(restored)).err().unwrap().to_string()
    };
    assert!(of(&file, b"").contains("does not say which format it has"));
    let file = ReferenceFile { path: Path::new("shops.csv").to_owned(), ..file };
    assert!(of(&file, b"{}").contains("not a reference file's"));
    assert!(of(&file, br#"{"version":9,"emitted":null,"begun":null}"#).contains("version 9"));
}
