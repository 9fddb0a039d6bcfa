//! A worker's checkpoints over many epochs, without a job: there are few files, and each epoch restores its state.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use proptest::prelude::*;
use tidemill_state::{
    Changes, CheckpointStore, KeyGroups, LocalStore, MemoryStore, OperatorStates, RestoreFrom, RestorePlan,
    RestoredWorker, Retention, StateName, StateSpec, ValueTable, WorkerState, WorkerStateConfig, blobs_of, hash_key,
    plan_restore,
};

use super::*;

use crate::threads;

const INCARNATION: u64 = 7;
const KEY_GROUPS: u16 = 8;

type State = BTreeMap<u64, u64>;
type Sums = std::rc::Rc<std::cell::RefCell<ValueTable<u64, u64>>>;

fn config(dir: Option<&Path>) -> WorkerStateConfig {
    WorkerStateConfig {
        dir: dir.map(Path::to_owned),
        key_groups: KeyGroups::new(KEY_GROUPS),
        worker: 0,
        workers: 1,
        memory_limit_bytes: None,
        durable: true,
    }
}

fn spec() -> StateSpec {
    let name = StateName { operator: "op".to_owned(), state: "sums".to_owned() };
    StateSpec { name, version: 1, ttl: None, parameters: None }
}

/// A worker with a state of sums, its checkpoint thread's work, and the leader's part of it.
struct Worker {
    store: Arc<dyn CheckpointStore>,
    worker_state: WorkerState,
    sums: Sums,
    states: OperatorStates,
    work: CheckpointWork,
    /// The chain of files, as the leader has it.
    chain: Chain,
    epoch: u64,
    /// The state at the end of each epoch.
    was: BTreeMap<u64, State>,
    _answers: Receiver<Answer>,
}

impl Worker {
    /// Makes a worker whose state is in `dir`, or in memory.
    fn new(store: Arc<dyn CheckpointStore>, dir: Option<&Path>, keep: usize, policy: BasePolicy) -> Self {
        let mut worker_state = WorkerState::open(config(dir), None).unwrap();
        let sums = worker_state.value_table::<u64, u64>(spec()).unwrap();
        let (answer, answers) = crossbeam_channel::unbounded();
        let retention = Retention { keep };
        let work = CheckpointWork {
            worker: 0,
            db: worker_state.db(),
            target: Some(Target { store: Arc::clone(&store), retention, incarnation: INCARNATION }),
            base_due: false,
            since_base: SinceBase::now(0),
            taking: None,
            policy,
            chain: Chain::default(),
            unpublished: VecDeque::new(),
            watch: Watch::default(),
            pruning: Some(Pruning::new(retention)),
            tracer: None,
            written: Written::default(),
            answer: Answers { answer, wake: std::thread::current() },
        };
        let (states, chain, was) = (worker_state.operator("op"), Chain::default(), BTreeMap::new());
        Self { store, worker_state, sums, states, work, chain, epoch: 0, was, _answers: answers }
    }

    /// Adds to sums, ends the epoch and commits it; `published` is the newest epoch whose output is known to be
    /// published.
    fn epoch(&mut self, adds: impl IntoIterator<Item = (u64, u64)>, published: u64) -> Manifest {
        self.epoch += 1;
        let mut state = self.was.get(&(self.epoch - 1)).cloned().unwrap_or_default();
        for (key, add) in adds {
            *self.sums.borrow_mut().get_or_insert_with(hash_key(&key), &key, || 0).unwrap() += add;
            *state.entry(key).or_default() += add;
        }
        self.was.insert(self.epoch, state);
        let mut delta = Delta::new(self.epoch, 0);
        delta.set_blob(format!("sink/out/{}", self.epoch), self.epoch.to_le_bytes().to_vec());
        self.states.begin_seal(self.epoch, 0, 0).unwrap();
        assert!(self.states.seal_on(usize::MAX, &mut delta).unwrap());
        let (committed, epochs) = (Epoch(self.epoch - 1), (published + 1..self.epoch).map(Epoch).collect());
        let unpublished = Unpublished { committed, epochs };
        let durable = self.work.write(Epoch(self.epoch), delta, Vec::new(), unpublished).unwrap();
        self.chain.extend(durable);
        let manifest = Manifest {
            format_version: Manifest::FORMAT_VERSION,
            job: "job".to_owned(),
            epoch: self.epoch,
            incarnation: INCARNATION,
            created_ms: 0,
            key_groups: KEY_GROUPS,
            states: self.worker_state.states(),
            workers: vec![self.chain.0.clone()],
            finished: false,
            control: Vec::new(),
        };
        self.work.commit(&manifest).unwrap();
        self.work.prune().unwrap();
        manifest
    }

    /// Waits until the base that is being taken is finished.
    fn settle(&self) {
        while self.work.taking.as_ref().is_some_and(|taking| !taking.is_finished()) {
            std::thread::yield_now();
        }
    }

    /// Checks that a start would restore the state as it was, and the output that may be unpublished.
    fn check_restore(&self, from: &RestoreFrom, published: u64, dir: Option<&Path>) {
        let store = self.store.as_ref();
        let RestorePlan::From(manifest) = plan_restore(store, from, "job", KEY_GROUPS).unwrap() else {
            panic!("nothing to restore")
        };
        let epoch = manifest.epoch;
        for unpublished in published + 1..=epoch {
            let delta = manifest.workers[0].deltas.iter().find(|delta| delta.epoch == unpublished).unwrap();
            let blobs = blobs_of(store, delta).unwrap();
            assert_eq!(blobs[&format!("sink/out/{unpublished}")], unpublished.to_le_bytes(), "at epoch {epoch}");
        }
        let (manifest, changes) = (Arc::new(*manifest), Changes::default());
        let restored = RestoredWorker { manifest, changes, store: Arc::clone(&self.store), restoring: 1 };
        let mut worker_state = WorkerState::open(config(dir), Some(restored)).unwrap();
        let sums = worker_state.value_table::<u64, u64>(spec()).unwrap();
        let mut sums = sums.borrow_mut();
        let keys = sums.stored_keys().unwrap();
        let found: State = keys.iter().map(|key| (*key, *sums.get(hash_key(key), key).unwrap().unwrap())).collect();
        assert_eq!(found, self.was[&epoch], "at epoch {epoch}");
    }
}

/// Returns a policy that, for states as small as in these tests, takes a base whenever there are this many deltas.
fn after_deltas(deltas: usize) -> BasePolicy {
    BasePolicy { deltas, ..BasePolicy::default() }
}

/// Epochs go on while bases are taken; whichever epoch is restored, its state is the same as before.
#[test]
fn a_base_beside_the_epochs_restores_each_of_them() {
    let scratch = tempfile::tempdir().unwrap();
    let store = Arc::new(LocalStore::open(&scratch.path().join("store")).unwrap());
    let always = BasePolicy { delta_bytes: 1, min_interval: Duration::ZERO, ..BasePolicy::default() };
    let mut worker = Worker::new(store, Some(&scratch.path().join("work")), 1000, always);
    let mut bases = Vec::new();
    for epoch in 1..=400 {
        let manifest = worker.epoch((0..20).map(|key| (key, epoch * key)), epoch - 1);
        bases.extend(manifest.workers[0].base.as_ref().map(|base| base.epoch));
        assert!(bases.last().is_none_or(|base| *base <= epoch));
    }
    bases.dedup();
    assert!(bases.len() >= 2, "only the bases {bases:?}");
    for epoch in (1..=400).step_by(37) {
        let dir = scratch.path().join(format!("restored-{epoch}"));
        worker.check_restore(&RestoreFrom::Epoch(epoch), epoch - 1, Some(&dir));
    }
}

#[test]
fn ten_keys_have_few_files_and_a_short_manifest_however_long_the_job_runs() {
    let store = Arc::new(MemoryStore::default());
    let keep = 5;
    let mut worker = Worker::new(Arc::clone(&store) as _, None, keep, BasePolicy::default());
    let (mut most_files, mut most_bytes) = (0, 0);
    for epoch in 1..=3000_u64 {
        let manifest = worker.epoch((0..10).map(|key| (key, epoch)), epoch - 1);
        assert!(manifest.workers[0].deltas.len() <= 67, "{} deltas", manifest.workers[0].deltas.len());
        worker.settle();
        let files: usize =
            ["manifests", "deltas", "bases"].map(|folder| store.list(folder).unwrap().len()).iter().sum();
        most_files = files.max(most_files);
        let json = store.get(&format!("manifests/{epoch:020}.json")).unwrap();
        most_bytes = json.len().max(most_bytes);
        if epoch % 97 == 0 {
            let kept = store.list("manifests").unwrap();
            assert_eq!(kept.len(), keep);
            for epoch in epoch + 1 - keep as u64..=epoch {
                worker.check_restore(&RestoreFrom::Epoch(epoch), epoch - 1, None);
            }
        }
    }
    assert!(most_files <= 80 && most_bytes <= 16 << 10, "{most_files} files, {most_bytes} bytes of manifest");
}

#[test]
fn a_large_state_takes_bases_no_more_often_than_the_interval() {
    let policy = BasePolicy { deltas: 4, small: 1000, delta_bytes: 5000, min_interval: Duration::from_secs(3600) };
    let since =
        |deltas, delta_bytes, base_bytes| SinceBase { deltas, delta_bytes, base_bytes, begun: Some(threads::now()) };
    assert!(!policy.asks_for_one(&since(3, 10, 0)), "there are few");
    assert!(policy.asks_for_one(&since(4, 10, 0)), "there are many, of a small state");
    assert!(!policy.asks_for_one(&since(4, 10, 991)), "there are many, of a large state, and it is soon");
    assert!(!policy.asks_for_one(&since(3, 9999, 0)), "they are large, and it is soon");
    assert!(policy.asks_for_one(&since(3, 20_000, 0)), "they are far too large");
    let policy = BasePolicy { min_interval: Duration::ZERO, ..policy };
    assert!(policy.asks_for_one(&since(4, 10, 991)) && policy.asks_for_one(&since(1, 5000, 0)));
    assert!(!policy.asks_for_one(&since(3, 4999, 1 << 40)));
}

/// A program that was built without RocksDB writes bases of maps; the next program may be built with RocksDB.
#[test]
fn a_base_of_maps_restores_into_rocksdb_and_none_of_rocksdbs_into_maps() {
    let scratch = tempfile::tempdir().unwrap();
    let with_base = |dir: Option<&Path>, folder: &str| {
        let store = Arc::new(LocalStore::open(&scratch.path().join(folder)).unwrap());
        let mut worker = Worker::new(store, dir, 3, after_deltas(3));
        loop {
            let manifest = worker.epoch([(worker.epoch % 4, 1), (9, worker.epoch)], worker.epoch);
            worker.settle();
            if manifest.workers[0].base.is_some() && manifest.epoch > 12 {
                return (worker, manifest);
            }
        }
    };
    let (worker, manifest) = with_base(None, "maps");
    worker.check_restore(&RestoreFrom::Auto, manifest.epoch - 1, Some(&scratch.path().join("restored")));
    let (worker, manifest) = with_base(Some(&scratch.path().join("work")), "rocksdb");
    let (manifest, store) = (Arc::new(manifest), Arc::clone(&worker.store));
    let restored = RestoredWorker { manifest, changes: Changes::default(), store, restoring: 1 };
    let error = WorkerState::open(config(None), Some(restored)).err().unwrap();
    assert!(error.to_string().contains("build it with the feature \"rocksdb\""), "{error}");
}

/// Damage that somebody does to the files of a running job.
#[derive(Clone, Debug)]
enum Harm {
    /// Removes one of the files that the newest manifest names.
    Remove(prop::sample::Index),
    /// Truncates one of them.
    Cut(prop::sample::Index),
    /// Removes a directory.
    Folder(&'static str),
}

fn harms() -> impl Strategy<Value = Harm> {
    prop_oneof![
        any::<prop::sample::Index>().prop_map(Harm::Remove),
        any::<prop::sample::Index>().prop_map(Harm::Cut),
        prop::sample::select(vec!["deltas", "bases", "manifests"]).prop_map(Harm::Folder),
    ]
}

fn files_of(manifest: &Manifest) -> Vec<String> {
    let files = &manifest.workers[0];
    let of_base =
        files.base.iter().flat_map(|base| base.files.iter().map(|file| format!("{}/{}", base.dir, file.name)));
    files.deltas.iter().map(|delta| delta.file.clone()).chain(of_base).collect()
}

/// Does the damage. Returns whether the newest checkpoint needed the lost files.
fn harm(store: &dyn CheckpointStore, manifest: &Manifest, harm: &Harm) -> bool {
    let files = files_of(manifest);
    match harm {
        Harm::Remove(which) => {
            let file: &String = which.get(&files);
            store.delete(file).unwrap();
            true
        }
        Harm::Cut(which) => {
            let file: &String = which.get(&files);
            let Some(len @ 1..) = store.len(file).unwrap() else { return false };
            let bytes = store.get(file).unwrap();
            store.put(file, &bytes[..len as usize / 2]).unwrap();
            true
        }
        Harm::Folder(folder) => {
            store.delete(folder).unwrap();
            *folder == "manifests" || files.iter().any(|file| file.starts_with(folder))
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn the_next_checkpoint_is_whole_whatever_was_removed_under_the_job(
        epochs in prop::collection::vec((prop::collection::vec((0..10_u64, 0..100_u64), 0..5), 0..20_u64, prop::option::weighted(0.15, harms())), 1..60),
        deltas in 2..12_usize, keep in 1..5_usize,
    ) {
        let store = Arc::new(MemoryStore::default());
        let mut worker = Worker::new(Arc::clone(&store) as _, None, keep, after_deltas(deltas));
        let (mut lost, mut published) = (false, 0);
        for (adds, behind, harmed) in epochs {
            published = published.max(worker.epoch.saturating_sub(behind));
            let before = worker.work.written.lost_files.load(Ordering::Relaxed);
            let manifest = worker.epoch(adds, published);
            worker.check_restore(&RestoreFrom::Auto, published, None);
            let noticed = worker.work.written.lost_files.load(Ordering::Relaxed) > before;
            prop_assert_eq!(noticed, lost, "at epoch {}", worker.epoch);
            lost = harmed.is_some_and(|harmed| harm(store.as_ref(), &manifest, &harmed));
        }
    }
}

#[test]
fn a_base_whose_files_are_gone_is_taken_anew_and_a_cut_one_is_reported() {
    let scratch = tempfile::tempdir().unwrap();
    let root = scratch.path().join("store");
    let store = Arc::new(LocalStore::open(&root).unwrap());
    let mut worker = Worker::new(store, Some(&scratch.path().join("work")), 3, after_deltas(3));
    let mut adds = (1..).map(|n| (n % 10, n));
    let mut go_on = |worker: &mut Worker| {
        let published = worker.epoch;
        let manifest = worker.epoch(adds.by_ref().take(5), published);
        worker.settle();
        manifest
    };
    let manifest = loop {
        let manifest = go_on(&mut worker);
        if manifest.workers[0].base.is_some() {
            break manifest;
        }
    };
    let sst = files_of(&manifest).into_iter().find(|file| file.ends_with(".sst")).unwrap();
    std::fs::remove_file(root.join(&sst)).unwrap();
    let epoch = go_on(&mut worker).epoch;
    worker.check_restore(&RestoreFrom::Auto, epoch - 1, Some(&scratch.path().join("restored-1")));
    let mut manifest = manifest;
    for folder in ["manifests", "deltas", "bases"] {
        std::fs::remove_dir_all(root.join(folder)).unwrap();
        manifest = go_on(&mut worker);
        let dir = scratch.path().join(format!("restored-{folder}"));
        worker.check_restore(&RestoreFrom::Auto, manifest.epoch - 1, Some(&dir));
    }
    assert!(worker.work.written.lost_files.load(Ordering::Relaxed) >= 3);
    // The same file is one of RocksDB's own (a hard link): as long as RocksDB needs it, no whole base can be taken.
    let sst = files_of(&manifest).into_iter().rfind(|file| file.ends_with(".sst")).unwrap();
    std::fs::OpenOptions::new().write(true).open(root.join(&sst)).unwrap().set_len(10).unwrap();
    match worker.work.write(
        Epoch(manifest.epoch + 1),
        Delta::new(manifest.epoch + 1, 0),
        Vec::new(),
        Unpublished::default(),
    ) {
        Err(error) => assert!(
            ["no base snapshot can be taken", "RocksDB in"].iter().any(|text| error.to_string().contains(text)),
            "{error}"
        ),
        Ok(durable) => {
            assert!(durable.base.is_some_and(|base| base.files.iter().all(|file| !sst.ends_with(&file.name))))
        }
    }
    // When the whole directory is gone, the error says so.
    std::fs::rename(&root, scratch.path().join("away")).unwrap();
    let error = worker
        .work
        .write(Epoch(manifest.epoch + 2), Delta::new(manifest.epoch + 2, 0), Vec::new(), Unpublished::default())
        .unwrap_err();
    assert!(error.to_string().contains("removed, replaced or unmounted"), "{error}");
}
