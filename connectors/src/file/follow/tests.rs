//! Files that are rotated in every way, compared with the lines that a reader which follows them must return.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Duration;

use proptest::prelude::*;
use serde::{Deserialize, Serialize};
use tidemill_engine::source::{Batch, Next, Source, SourceContext, SourceReader};
use tidemill_engine::{Arrival, Clock, ConnectorError, EventTime};

use crate::file::source::{FileReader, FileSource};
use crate::file::{LostFile, handle};

mod promises;

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Line {
    id: u64,
    ts: i64,
    pad: String,
}

/// The files, which are written and rotated, and the readers that follow them.
struct World {
    folder: tempfile::TempDir,
    source: FileSource<Line>,
    csv: bool,
    now: Arrival,
    readers: Vec<FileReader<Line, Line>>,
    positions: Vec<Vec<u8>>,
    /// The id of the next line.
    next: u64,
    found: Vec<u64>,
}

const FILES: [&str; 2] = ["a", "b"];

impl World {
    fn new(csv: bool, configure: impl FnOnce(FileSource<Line>) -> FileSource<Line>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let extension = if csv { "csv" } else { "jsonl" };
        let paths = FILES.map(|name| folder.path().join(format!("{name}.{extension}")));
        let source = FileSource::new(paths, |line: &Line| EventTime(line.ts)).follow();
        let source = configure(source);
        let (now, next) = (Arrival(0), 0);
        let world =
            Self { folder, source, csv, now, readers: Vec::new(), positions: Vec::new(), next, found: Vec::new() };
        (0..FILES.len()).for_each(|file| world.create(file));
        world
    }

    fn path(&self, file: usize, suffix: &str) -> PathBuf {
        let extension = if self.csv { "csv" } else { "jsonl" };
        self.folder.path().join(format!("{}.{extension}{suffix}", FILES[file]))
    }

    /// Waits until the file system's clock, which has coarse ticks, gives new files a later time.
    fn tick(&self) {
        let probe = self.folder.path().join("tick");
        let time = || {
            fs::remove_file(&probe).ok();
            fs::write(&probe, "").unwrap();
            fs::metadata(&probe).unwrap().modified().unwrap()
        };
        let before = time();
        while time() == before {}
    }

    fn create(&self, file: usize) {
        self.tick();
        File::create_new(self.path(file, "")).unwrap();
        self.tick();
    }

    fn line(&mut self, pad: usize) -> String {
        let (id, pad) = (self.next, "x".repeat(pad));
        self.next += 1;
        match self.csv {
            true => format!("{id},{id},{pad}\n"),
            false => format!("{}\n", serde_json::to_string(&Line { id, ts: id as i64, pad }).unwrap()),
        }
    }

    fn write(&mut self, file: usize, suffix: &str, lines: &[usize]) {
        let mut to = OpenOptions::new().append(true).create(true).open(self.path(file, suffix)).unwrap();
        let mut text = String::new();
        if self.csv && to.metadata().unwrap().len() == 0 {
            text.push_str("id,ts,pad\n");
        }
        lines.iter().for_each(|pad| text.push_str(&self.line(*pad)));
        to.write_all(text.as_bytes()).unwrap();
    }

    /// Increases the numbers in the names of all rotated files by one.
    fn shift(&self, file: usize) {
        for n in (1..20).rev() {
            for compressed in ["", ".gz"] {
                let from = self.path(file, &format!(".{n}{compressed}"));
                if from.exists() {
                    fs::rename(from, self.path(file, &format!(".{}{compressed}", n + 1))).unwrap();
                }
            }
        }
    }

    fn rotate(&self, file: usize) {
        self.shift(file);
        if self.path(file, "").exists() {
            fs::rename(self.path(file, ""), self.path(file, ".1")).unwrap();
        }
        self.create(file);
    }

    fn copy_and_cut(&self, file: usize) {
        if !self.path(file, "").exists() {
            return;
        }
        self.tick();
        self.shift(file);
        fs::copy(self.path(file, ""), self.path(file, ".1")).unwrap();
        File::create(self.path(file, "")).unwrap();
        self.tick();
    }

    fn compress(&self, file: usize) {
        for n in 1..20 {
            let plain = self.path(file, &format!(".{n}"));
            let Ok(mut from) = File::open(&plain) else { continue };
            let modified = from.metadata().unwrap().modified().unwrap();
            let to = File::create(self.path(file, &format!(".{n}.gz"))).unwrap();
            let mut encoder = flate2::write::GzEncoder::new(to, flate2::Compression::fast());
            io::copy(&mut from, &mut encoder).unwrap();
            encoder.finish().unwrap().set_modified(modified).unwrap();
            fs::remove_file(plain).unwrap();
            return;
        }
    }

    fn start(&mut self, workers: usize) -> Result<(), ConnectorError> {
        let open = |worker| {
            let mut context = SourceContext::without_job("lines", worker, workers, Clock::manual(Arrival(0)));
            context.restored = self.positions.clone();
            self.source.open(context)
        };
        self.readers = (0..workers).map(open).collect::<Result<_, _>>()?;
        Ok(())
    }

    fn stop(&mut self) {
        if !self.readers.is_empty() {
            self.positions = self.readers.iter().map(|reader| reader.position().unwrap()).collect();
            self.readers.clear();
        }
    }

    /// Lets each worker read one batch. Returns whether any of them can read more immediately.
    fn look(&mut self) -> Result<bool, ConnectorError> {
        let mut more = false;
        for reader in &mut self.readers {
            let mut batch = Batch::new(self.now);
            more |= reader.read(&mut batch)? == Next::Now;
            assert!(batch.dead_letters().is_empty(), "{:?}", batch.dead_letters());
            self.found.extend(batch.records().iter().map(|record| record.data.id));
        }
        Ok(more)
    }

    fn read_all(&mut self) -> Result<(), ConnectorError> {
        while self.look()? {}
        Ok(())
    }

    /// Returns the lines that were not read exactly once, each with the number of times.
    fn wrong(&self) -> BTreeMap<u64, u64> {
        let mut times: BTreeMap<u64, u64> = (0..self.next).map(|id| (id, 0)).collect();
        self.found.iter().for_each(|id| *times.entry(*id).or_default() += 1);
        times.retain(|_, times| *times != 1);
        times
    }

    /// Reads to the end of all files, and checks that each line was read once.
    #[track_caller]
    fn expect_all(&mut self) {
        self.read_all().unwrap();
        assert_eq!(self.wrong(), BTreeMap::new(), "lines that did not come once");
    }
}

#[derive(Clone, Debug)]
enum Act {
    Write(usize, Vec<usize>),
    /// Writes half a line, lets the readers read this many times, and writes the rest.
    Halves(usize, usize),
    Rotate(usize),
    CopyAndCut(usize),
    Compress(usize),
    /// Writes to the file that was renamed.
    Straggle(usize),
    Delete(usize),
    Look(usize),
    ReadAll,
    CloseAll,
    Stop,
    Start(usize),
}

fn act() -> impl Strategy<Value = Act> {
    let file = 0..FILES.len();
    let pad = prop_oneof![8 => 0..60usize, 1 => 3000..9000usize, 1 => 60_000..140_000usize];
    prop_oneof![
        6 => (file.clone(), prop::collection::vec(pad, 1..6)).prop_map(|(file, lines)| Act::Write(file, lines)),
        1 => (file.clone(), 0..3usize).prop_map(|(file, looks)| Act::Halves(file, looks)),
        3 => file.clone().prop_map(Act::Rotate),
        2 => file.clone().prop_map(Act::CopyAndCut),
        1 => file.clone().prop_map(Act::Compress),
        1 => file.clone().prop_map(Act::Straggle),
        1 => file.prop_map(Act::Delete),
        4 => (1..4usize).prop_map(Act::Look),
        2 => Just(Act::ReadAll),
        1 => Just(Act::CloseAll),
        2 => Just(Act::Stop),
        3 => (1..4usize).prop_map(Act::Start),
    ]
}

/// Performs the acts, and then reads to the end after a restart. None of the acts makes a line unreadable.
fn play(world: &mut World, acts: &[Act]) -> Result<(), ConnectorError> {
    // Whether the file was renamed last, so that programs that have it open may still write to it.
    let mut renamed = [false; FILES.len()];
    let mut closed = false;
    // Whether the file was renamed while it was empty and written to afterwards. A reader has read nothing by which it
    // could recognize such a file.
    let mut unknown = [false; FILES.len()];
    for act in acts {
        match act {
            Act::Write(file, lines) => world.write(*file, "", lines),
            Act::Halves(file, looks) => {
                world.write(*file, "", &[]);
                let line = world.line(40);
                let (half, rest) = line.split_at(line.len() / 2);
                let mut to = OpenOptions::new().append(true).open(world.path(*file, "")).unwrap();
                to.write_all(half.as_bytes()).unwrap();
                for _ in 0..*looks {
                    world.look()?;
                }
                to.write_all(rest.as_bytes()).unwrap();
            }
            Act::Rotate(file) => {
                renamed[*file] = world.path(*file, "").exists();
                world.rotate(*file);
            }
            Act::CopyAndCut(file) => {
                world.copy_and_cut(*file);
                renamed[*file] = false;
            }
            // The file could not be recognized once it is compressed, so a later rotation does that instead.
            Act::Compress(file) if unknown[*file] && world.readers.is_empty() => {}
            Act::Compress(file) => {
                if std::mem::take(&mut unknown[*file]) {
                    world.read_all()?;
                }
                world.compress(*file);
                renamed[*file] = false;
            }
            Act::Straggle(file) if renamed[*file] && world.path(*file, ".1").exists() => {
                unknown[*file] |= fs::metadata(world.path(*file, ".1")).unwrap().len() == 0;
                world.write(*file, ".1", &[5]);
            }
            // Only a reader that has the file open can read it to its end.
            Act::Delete(file) if !closed && !world.readers.is_empty() && world.path(*file, "").exists() => {
                world.read_all()?;
                world.write(*file, "", &[7]);
                fs::remove_file(world.path(*file, "")).unwrap();
                renamed[*file] = false;
                world.look()?;
                world.read_all()?;
            }
            Act::Straggle(_) | Act::Delete(_) => {}
            Act::Look(times) => {
                for _ in 0..*times {
                    world.look()?;
                }
            }
            Act::ReadAll => world.read_all()?,
            Act::CloseAll => {
                handle::close_all_in(world.folder.path());
                closed = true;
            }
            Act::Stop => {
                world.stop();
                closed = false;
            }
            Act::Start(workers) => {
                world.stop();
                closed = false;
                world.start(*workers)?;
            }
        }
    }
    world.stop();
    world.start(2)?;
    world.read_all()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128 * testkit::times() as u32))]

    /// Files are appended to, renamed, copied and truncated, compressed, written to after being renamed, and deleted;
    /// readers stop and are restored with other numbers of workers.
    #[test]
    fn every_line_comes_once_however_files_are_rotated(csv: bool, acts in prop::collection::vec(act(), 1..24)) {
        let mut world = World::new(csv, |source| source);
        world.start(1).unwrap();
        play(&mut world, &acts).map_err(|e| TestCaseError::fail(e.to_string()))?;
        prop_assert_eq!(world.wrong(), BTreeMap::new(), "lines that did not come once");
    }

    /// In addition, files are truncated without a copy, removed and replaced at any time: every line is read once, or
    /// there is an error.
    #[test]
    fn no_line_is_lost_silently_whatever_happens_to_files(
        acts in prop::collection::vec(prop_oneof![4 => act().prop_map(Ok), 1 => (harm(), any::<bool>()).prop_map(Err)], 1..24),
    ) {
        let mut world = World::new(false, |source| source);
        world.start(1).unwrap();
        let mut result = Ok(());
        for act in acts {
            // The readers read between two harms; otherwise they could not notice the first one.
            result = match act {
                Ok(act) => play(&mut world, &[act]),
                Err((harm, is_running)) => {
                    world.harm(harm);
                    if is_running { world.read_all() } else { play(&mut world, &[]) }
                }
            };
            if result.is_err() { break; }
        }
        let wrong = world.wrong();
        match result {
            Ok(()) => prop_assert_eq!(wrong, BTreeMap::new(), "lines that did not come once"),
            Err(error) => {
                let error = error.to_string();
                prop_assert!(error.contains("lost, if there were any") && error.contains("LostFile::ReadOn"), "{}", error);
                prop_assert!(wrong.values().all(|times| *times == 0), "twice: {:?}", wrong);
            }
        }
    }
}

/// A change by which lines that have not been read may be lost.
#[derive(Clone, Copy, Debug)]
enum Harm {
    Cut(usize),
    Remove(usize),
    Replace(usize),
}

fn harm() -> impl Strategy<Value = Harm> {
    let file = 0..FILES.len();
    prop_oneof![file.clone().prop_map(Harm::Cut), file.clone().prop_map(Harm::Remove), file.prop_map(Harm::Replace)]
}

impl World {
    fn harm(&mut self, harm: Harm) {
        self.tick();
        match harm {
            Harm::Cut(file) => drop(File::create(self.path(file, "")).unwrap()),
            Harm::Remove(file) => drop(fs::remove_file(self.path(file, ""))),
            Harm::Replace(file) => {
                File::create(self.path(file, ".tmp")).unwrap();
                self.write(file, ".tmp", &[9, 9]);
                fs::rename(self.path(file, ".tmp"), self.path(file, "")).unwrap();
            }
        }
        self.tick();
    }
}

#[test]
fn a_copy_that_is_cut_and_grows_past_where_it_was_read_is_read_from_its_beginning() {
    let mut world = World::new(false, |source| source);
    world.start(1).unwrap();
    world.write(0, "", &[10; 10]);
    world.expect_all();
    world.copy_and_cut(0);
    world.write(0, "", &[10; 5]);
    world.expect_all();
    world.write(0, "", &[10; 15]);
    world.expect_all();
    // Between two reads, the copy gets more lines than were read, and the file gets more than the copy has.
    world.write(0, "", &[10; 3]);
    world.copy_and_cut(0);
    world.write(0, "", &[10; 60]);
    world.expect_all();
    // The same happens while no reader is running.
    world.stop();
    world.write(0, "", &[10; 3]);
    world.copy_and_cut(0);
    world.compress(0);
    world.write(0, "", &[10; 80]);
    world.start(3).unwrap();
    world.expect_all();
}

#[test]
fn a_file_that_is_cut_without_a_copy_stops_the_job_or_is_counted() {
    for lost in [LostFile::Stop, LostFile::ReadOn] {
        let mut world = World::new(false, |source| source.lost_file(lost));
        world.start(1).unwrap();
        world.write(0, "", &[10; 10]);
        world.expect_all();
        world.stop();
        world.start(1).unwrap();
        File::create(world.path(0, "")).unwrap();
        world.write(0, "", &[10; 20]);
        match lost {
            LostFile::Stop => {
                let error = world.read_all().unwrap_err().to_string();
                assert!(error.contains("a.jsonl\": it was read up to byte 3") && error.contains("inode"), "{error}");
                // A restart gives the same error, until the user decides what to do.
                assert_eq!(world.start(2).unwrap_err().to_string(), error);
            }
            LostFile::ReadOn => world.expect_all(),
        }
    }
}

#[test]
fn a_file_replaced_while_no_job_ran_is_read_to_its_end_if_it_still_exists() {
    let mut world = World::new(true, |source| source);
    world.start(2).unwrap();
    world.write(0, "", &[10; 10]);
    world.expect_all();
    world.stop();
    world.write(0, "", &[10; 3]);
    world.rotate(0);
    world.write(0, "", &[10; 40]);
    world.start(1).unwrap();
    world.expect_all();
    // Now the file is removed, so lines that were appended to it may be lost.
    world.stop();
    fs::remove_file(world.path(0, "")).unwrap();
    world.create(0);
    world.write(0, "", &[10; 40]);
    let error = world.start(1).unwrap_err().to_string();
    assert!(error.contains("not there any more") && error.contains("put it back"), "{error}");
}

#[test]
fn a_line_without_a_line_end_is_read_when_its_file_is_finished() {
    let mut world = World::new(false, |source| source.idle_after(Duration::from_secs(5)));
    world.start(1).unwrap();
    let line = world.line(3);
    OpenOptions::new().append(true).open(world.path(0, "")).unwrap().write_all(line.trim_end().as_bytes()).unwrap();
    world.read_all().unwrap();
    assert!(world.found.is_empty(), "it may go on");
    world.rotate(0);
    world.write(0, "", &[10; 2]);
    world.read_all().unwrap();
    assert_eq!(world.found, [1, 2], "whoever has it open may still write its rest");
    world.now = Arrival(6_000_000);
    world.expect_all();
}

#[test]
fn an_incomplete_header_is_awaited() {
    let mut world = World::new(true, |source| source);
    world.start(1).unwrap();
    fs::write(world.path(0, ""), "id,t").unwrap();
    world.read_all().unwrap();
    fs::write(world.path(0, ""), "id,ts,pad\n").unwrap();
    world.write(0, "", &[1, 2]);
    world.expect_all();
}

/// Where clocks have coarse ticks, or files of a minute are packed at once, the order of two files is not known. Neither
/// may be taken for the earlier one of the other, again and again.
#[test]
fn compressed_files_of_the_same_time_are_each_read_once() {
    let mut world = World::new(false, |source| source);
    world.start(1).unwrap();
    world.write(0, "", &[1]);
    world.expect_all();
    for _ in 0..3 {
        world.rotate(0);
        world.write(0, "", &[2, 3]);
    }
    world.compress(0);
    world.compress(0);
    let [one, two] = [".1.gz", ".2.gz"].map(|suffix| File::options().write(true).open(world.path(0, suffix)).unwrap());
    one.set_modified(two.metadata().unwrap().modified().unwrap()).unwrap();
    world.expect_all();
}

/// The next file is not forgotten if the file before it gets another line at the moment at which the reader would move
/// on.
#[test]
fn the_next_file_is_read_even_if_the_one_before_grows_at_that_moment() {
    let mut world = World::new(false, |source| source);
    world.start(1).unwrap();
    let acts = [
        Act::Rotate(0),
        Act::Start(1),
        Act::CopyAndCut(0),
        Act::Rotate(0),
        Act::ReadAll,
        Act::Straggle(0),
        Act::Write(0, vec![0]),
        Act::Rotate(0),
    ];
    play(&mut world, &acts).unwrap();
    world.expect_all();
}
