//! Reference files in whole programs: what a table and a join see of them, through crashes at any point and with
//! other numbers of workers, and when such a job ends.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use proptest::prelude::*;
use serde::{Deserialize, Serialize};
use tidemill::prelude::*;
use tidemill::testing::{ProgramTest, Simulation, SimulationReport, TestSink};

use testkit::script::{cases, sorted};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Shop {
    pub id: u32,
    pub risk: u8,
}

pub type Rows = BTreeMap<u32, u8>;
pub type Emitted = Upsert<u32, Shop>;

/// Replaces the file at `path` by renaming a new one.
pub fn replace(path: &Path, rows: &Rows) {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let lines: String = rows.iter().map(|(id, risk)| format!("{id},{risk}\n")).collect();
    let next = path.with_extension(format!("next-{}", NEXT.fetch_add(1, Ordering::Relaxed)));
    fs::write(&next, format!("id,risk\n{lines}")).unwrap();
    fs::rename(&next, path).unwrap();
}

pub fn shops(path: &Path) -> ReferenceFile<u32, Shop> {
    ReferenceFile::new(path, |shop: &Shop| shop.id).min_share(0.0)
}

/// Returns the changes of the table that is made from the file.
fn table<'s>(flow: &Flow<'s>, file: &ReferenceFile<u32, Shop>) -> Result<Stream<'s, Emitted>, JobError> {
    let rows = flow.reference("shops", file)?;
    rows.table("shops-table", Changelog::new(|(key, row)| Upsert { key, row }))?.results.upserts("emitted")
}

fn scratch() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("shops.csv");
    (folder, path)
}

fn args(workers: usize) -> JobArgs {
    JobArgs {
        settings: JobSettings { workers, ..JobSettings::default() },
        log_level: "error".to_owned(),
        ..JobArgs::default()
    }
}

#[test]
fn a_job_ends_with_its_other_sources_and_not_before_the_first_version_is_there() {
    let (_folder, path) = scratch();
    let rows: Rows = (0..200).map(|id| (id, (id / 2) as u8)).collect();
    replace(&path, &rows);
    let (file, out, joined) = (shops(&path), CollectSink::default(), CollectSink::default());
    let (to, also) = (out.clone(), joined.clone());
    let sales = vec_source((0..100).map(|n| (EventTime(-500 + n), n as u32 * 2)).collect::<Vec<_>>());
    Job::new("sales", args(3))
        .run(move |flow| {
            table(flow, &file)?.sink("out", &to)?;
            let rows = flow.reference("shops-again", &file)?.key_by(|(id, _)| *id);
            let sales = flow.source("sales", &sales)?.key_by(|shop| *shop);
            let found = sales.temporal_join("join", rows, TemporalTable::new())?.results;
            found.map(|(shop, row)| (shop, row.and_then(|(_, row)| row))).sink("joined", &also)
        })
        .unwrap();
    assert_eq!(sorted(out.data()), rows.iter().map(|(id, risk)| put(*id, *risk)).collect::<Vec<_>>());
    let expected: Vec<_> =
        (0..100).map(|n: u8| (u32::from(n) * 2, Some(Shop { id: u32::from(n) * 2, risk: n }))).collect();
    assert_eq!(sorted(joined.data()), expected);
}

#[test]
fn a_job_of_a_reference_file_alone_reads_it_and_ends() {
    let (_folder, path) = scratch();
    replace(&path, &Rows::from([(1, 10), (2, 20)]));
    let (file, out) = (shops(&path), CollectSink::default());
    let to = out.clone();
    Job::new("shops", args(2)).run(move |flow| table(flow, &file)?.sink("out", &to)).unwrap();
    assert_eq!(sorted(out.data()), [put(1, 10), put(2, 20)]);
}

#[test]
fn a_file_that_is_no_version_stops_the_start() {
    let (_folder, path) = scratch();
    fs::write(&path, "id,risk\n1,10\n2,high\n").unwrap();
    let file = shops(&path);
    let job = Job::new("shops", args(2));
    let error = job.run(move |flow| table(flow, &file)?.sink("out", &NullSink::default())).unwrap_err().report();
    for part in ["\"shops\" stopped the job", "put a complete one there", "line 3 cannot be decoded: column \"risk\""] {
        assert!(error.contains(part), "{error}");
    }
}

fn put(id: u32, risk: u8) -> Emitted {
    Upsert::put(id, Shop { id, risk })
}

#[test]
fn events_find_the_version_of_their_time() {
    let (_folder, path) = scratch();
    replace(&path, &Rows::from([(1, 10), (2, 20)]));
    let mut test = ProgramTest::new();
    let (sales, out) = (test.source::<u32>(), test.sink());
    let (from, to, file) = (sales.clone(), out.clone(), shops(&path).reload_every(Duration::from_millis(10)));
    test.start(2, move |flow| {
        let rows = flow.reference("shops", &file)?.key_by(|(id, _)| *id);
        let versions = TemporalTable::new().deleted_by(|(_, row): &(u32, Option<Shop>)| row.is_none());
        let sales = flow.source("sales", &from)?.key_by(|shop| *shop);
        let found = sales.temporal_join("risk", rows, versions)?.results;
        found.map(|(shop, row)| (shop, row.and_then(|(_, row)| row).map(|row| row.risk))).sink("out", &to)
    });
    sales.push(-1000, 1);
    sales.push(5, 2);
    sales.watermark(6);
    assert_eq!(sorted(out.output()), [(1, Some(10)), (2, Some(20))]);
    replace(&path, &Rows::from([(1, 11), (3, 30)]));
    // The new file is noticed at 20, and read at 40 because it has not changed since.
    for clock in [20, 40] {
        test.clock(ProcessingTime(clock as i64));
        test.settle();
    }
    test.crash(3);
    sales.push(39, 1);
    sales.push(40, 1);
    sales.push(41, 2);
    sales.push(41, 3);
    test.finish();
    assert_eq!(sorted(out.output()), [(1, Some(10)), (1, Some(11)), (2, None), (3, Some(30))]);
}

/// Applies a change to the rows, and checks that it changes them.
fn add(emitted: &mut Rows, change: &Emitted) {
    let before = match change.row {
        Some(Shop { id, risk }) => {
            assert_eq!(id, change.key);
            emitted.insert(id, risk)
        }
        None => emitted.remove(&change.key),
    };
    assert_ne!(before, change.row.map(|row| row.risk), "no change: {change:?}");
}

/// Applies changes in the order of event time. After each time the rows equal one of the versions, except where a crash
/// interrupted a version: its remaining changes are then valid from a later time.
pub fn add_up(emitted: &mut Rows, changes: Vec<(i64, Emitted)>, versions: &[Rows], crashes: usize) {
    let mut interrupted = 0;
    for now in sorted(changes).chunk_by(|a, b| a.0 == b.0) {
        now.iter().for_each(|(_, change)| add(emitted, change));
        interrupted += usize::from(!versions.contains(emitted));
        assert!(interrupted <= crashes, "at {}: {emitted:?} is none of {versions:?}", now[0].0);
    }
}

fn timed(sink: &TestSink<Emitted>) -> Vec<(i64, Emitted)> {
    sink.records().into_iter().map(|record| (record.event_time.0, record.data)).collect()
}

/// Returns the shops of chains, which are so many that a version is sent in several batches.
pub fn chains(chains: Rows) -> Rows {
    let shops = |(chain, risk): (u32, u8)| (0..60).map(move |n| (chain * 60 + n, risk));
    chains.into_iter().flat_map(shops).collect()
}

fn versions() -> impl Strategy<Value = Vec<Rows>> {
    prop::collection::vec(prop::collection::btree_map(0..40_u32, 0..4_u8, 0..30).prop_map(chains), 1..5)
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 40, ..cases(6) })]

    /// On real threads, the changes of each version are emitted, whatever has crashed before.
    #[test]
    fn a_table_follows_its_file_through_crashes(
        versions in versions(),
        crashes in prop::collection::vec(prop::option::of(1..5_usize), 5),
    ) {
        let (_folder, path) = scratch();
        replace(&path, &versions[0]);
        let mut test = ProgramTest::new();
        let (ticks, out) = (test.source::<u8>(), test.sink());
        let (from, to) = (ticks.clone(), out.clone());
        let file = shops(&path).reload_every(Duration::from_millis(1));
        test.start(2, move |flow| {
            flow.source("ticks", &from)?.sink("ticks-out", &NullSink::default())?;
            table(flow, &file)?.sink("out", &to)
        });
        let (mut emitted, mut clock) = (Rows::new(), 0);
        for (version, crash) in versions.iter().zip(&crashes) {
            replace(&path, version);
            if let Some(workers) = crash {
                test.crash(*workers);
            }
            let mut looks = 0..200;
            let mut changes = Vec::new();
            let mut now = emitted.clone();
            while now != *version {
                prop_assert!(looks.next().is_some(), "emitted {:?}, the file has {:?}", now, version);
                clock += 10;
                test.clock(ProcessingTime(clock as i64));
                ticks.watermark(clock as i64);
                let new = timed(&out);
                sorted(new.clone()).iter().for_each(|(_, change)| add(&mut now, change));
                changes.extend(new);
            }
            add_up(&mut emitted, changes, &versions, 1);
        }
        test.finish();
        prop_assert_eq!(out.output(), []);
    }
}

/// The program itself replaces the file when one of its events says so, and does so again after a crash.
#[test]
fn tables_are_whole_versions_in_simulated_worlds() {
    let later = Arc::new(AtomicU64::new(0));
    let seen = Arc::clone(&later);
    Simulation::check(200, move |sim| {
        let (_folder, path) = scratch();
        let rows = |sim: &mut Simulation| -> Rows {
            chains((0..sim.draw(0..40_u8)).map(|_| (sim.draw(0..50_u32), sim.draw(0..4_u8))).collect())
        };
        let versions: Vec<Rows> = (0..sim.draw(2..6)).map(|_| rows(sim)).collect();
        replace(&path, &versions[0]);
        let (orders, out) = (sim.source::<usize>(), sim.sink());
        // The input may end while a version is being emitted.
        for time in 1..sim.draw(2..60) {
            orders.push(time, time as usize / 10 % versions.len());
            orders.watermark(time);
        }
        let file = shops(&path).reload_every(Duration::from_micros(sim.draw(1..500))).as_of(|_| EventTime::MIN);
        let (from, to, all) = (orders.clone(), out.clone(), versions.clone());
        let current = Arc::new(Mutex::new(0));
        let SimulationReport { starts, .. } = sim.run(move |flow| {
            let (path, all, current) = (path.clone(), all.clone(), Arc::clone(&current));
            let orders = flow.source("orders", &from)?.inspect(move |order| {
                let mut current = current.lock().unwrap();
                if *current != order.data {
                    *current = order.data;
                    replace(&path, &all[order.data]);
                }
            });
            orders.sink("orders-out", &NullSink::default())?;
            table(flow, &file)?.sink("out", &to)
        });
        let (changes, mut emitted) = (timed(&out), Rows::new());
        seen.fetch_add(u64::from(changes.iter().any(|(time, _)| *time > i64::MIN + 1)), Ordering::Relaxed);
        add_up(&mut emitted, changes, &versions, starts as usize - 1);
        assert!(versions.contains(&emitted), "{emitted:?}");
    });
    let later = later.load(Ordering::Relaxed);
    let alone = std::env::var_os("TIDEMILL_SEED").is_some();
    assert!(alone || later > 20, "a later version came in {later} worlds only");
}
