//! Programs whose types differ from those of the program that wrote the checkpoint. An allowed change continues; any
//! other stops the job with a message that shows both sides and says what to do.

use std::fs;
use std::marker::PhantomData;
use std::path::Path;

use serde::{Deserialize, Serialize};
use tidemill::error::ErrorKind;
use tidemill::prelude::*;
use tidemill::state::TtlClock;
use tidemill::testing::{LogicTest, ProgramTest, TestSink, TestSource};
use tidemill::window::{WindowLogic, WindowSpec};

use crate::names::{Ends, ends, first_run};

/// The state of a key.
pub trait Kept: Value {
    fn add(&mut self, n: i64);
    fn values(&self) -> (i64, i64);
}

#[derive(Clone, Default, Serialize, Deserialize)]
pub struct Old {
    pub sum: i64,
}

#[derive(Clone, Default, Serialize, Deserialize)]
pub struct New {
    pub sum: i64,
    pub best: i64,
}

/// A type with the same encoding as `New`, but with its fields swapped.
#[derive(Default, Serialize, Deserialize)]
struct Swapped {
    best: i64,
    sum: i64,
}

impl Kept for Old {
    fn add(&mut self, n: i64) {
        self.sum += n;
    }
    fn values(&self) -> (i64, i64) {
        (self.sum, 0)
    }
}

impl Kept for New {
    fn add(&mut self, n: i64) {
        self.sum += n;
        self.best = self.best.max(n);
    }
    fn values(&self) -> (i64, i64) {
        (self.sum, self.best)
    }
}

impl Kept for Swapped {
    fn add(&mut self, n: i64) {
        self.sum += n;
        self.best = self.best.max(n);
    }
    fn values(&self) -> (i64, i64) {
        (self.sum, self.best)
    }
}

pub type Input = (u8, i64);
/// Key, sum, and greatest value.
pub type Output = (u8, i64, i64);

/// Emits the state of the key at each record, and once more by a timer after it.
pub struct Tally<V>(pub ValueState<u8, V>);

impl<V: Kept + Default> KeyedLogic for Tally<V> {
    type Key = u8;
    type In = Input;
    type Out = Output;
    type Side = ();

    fn on_record(&mut self, ctx: &mut Context<'_, u8, Output, ()>, record: Record<Input>) -> Result<(), LogicError> {
        let (sum, best) = self.0.update(ctx, V::default, |kept| {
            kept.add(record.data.1);
            kept.values()
        })?;
        ctx.set_timer(record.event_time.plus_ms(100));
        ctx.emit((record.data.0, sum, best));
        Ok(())
    }

    fn on_timer(&mut self, ctx: &mut Context<'_, u8, Output, ()>, _: EventTime) -> Result<(), LogicError> {
        let (sum, best) = self.0.read(ctx, |kept| kept.map_or((0, 0), Kept::values))?;
        ctx.emit((*ctx.key(), sum, best));
        Ok(())
    }
}

pub type Open<V> = fn(&mut States<'_, u8>) -> Result<Tally<V>, JobError>;

pub fn plain<V: Kept + Default>(states: &mut States<'_, u8>) -> Result<Tally<V>, JobError> {
    Ok(Tally(states.value("kept")?))
}

pub fn with_best(old: Old) -> New {
    New { sum: old.sum, best: -1 }
}

pub fn second(states: &mut States<'_, u8>) -> Result<Tally<New>, JobError> {
    Ok(Tally(states.evolving("kept", &Versions::first().then(with_best))?))
}

fn third(states: &mut States<'_, u8>) -> Result<Tally<Old>, JobError> {
    let versions = Versions::first().then(with_best).then(|new| Old { sum: new.sum });
    Ok(Tally(states.evolving("kept", &versions)?))
}

fn logic_test<V: Kept + Default>(order: Order, open: Open<V>) -> LogicTest<Tally<V>> {
    let mut test = LogicTest::new(order, |input: &Input| input.0, open);
    test.push(0, (1, 5));
    test.checkpoint();
    test
}

/// Returns the message with which an upgrade from one logic to another is refused.
fn refusal<V: Kept + Default, W: Kept + Default>(from: Open<V>, to: Open<W>) -> String {
    let refused = logic_test(Order::Arrival, from).upgrade(2, to).err().unwrap();
    assert_eq!(refused.kind(), ErrorKind::Data);
    refused.report()
}

pub fn says(error: &str, parts: &[&str]) {
    println!("{error}");
    parts.iter().for_each(|part| assert!(error.contains(part), "not in it: {part}\n{error}"));
}

#[test]
fn a_field_is_added_with_a_new_version() {
    let mut test = logic_test(Order::Arrival, plain::<Old>).upgrade(2, second).unwrap();
    test.push(1, (1, 2));
    assert_eq!(test.output(), [(1, 5, 0), (1, 7, 2)]);
    let mut test = test.upgrade(1, third).unwrap();
    test.push(2, (1, 1));
    assert_eq!(test.output(), [(1, 8, 0)]);
}

#[test]
fn a_type_that_changed_without_a_new_version_stops_with_both_shapes() {
    let advice = "give the changed type a new version";
    let kept = "state \"logic/kept\"";
    says(&refusal(plain::<Old>, plain::<New>), &[kept, "{sum: i64}", "{sum: i64, best: i64}", "version 1", advice]);
    says(&refusal(plain::<New>, plain::<Old>), &[kept, "{sum: i64}", "{sum: i64, best: i64}", advice]);
    says(&refusal(plain::<New>, plain::<Swapped>), &["{sum: i64, best: i64}", "{best: i64, sum: i64}", advice]);
    // The same happens if the program has a new version, but declares the old version with another type than it had.
    says(&refusal(plain::<New>, second), &["version 1 with values {sum: i64, best: i64}", "values {sum: i64}", advice]);
}

#[test]
fn a_version_that_is_not_read_stops_with_both_versions() {
    let newer = ["the checkpoint has a value state of version 2", "has a value state of version 1", "newer program"];
    says(&refusal(second, plain::<Old>), &newer);
    let only_third: Open<Old> =
        |states| Ok(Tally(states.evolving("kept", &Versions::since(2).then(|new: New| Old { sum: new.sum }))?));
    let older =
        ["the checkpoint has a value state of version 1", "version 3 (and reads 2 on)", "still reads the old version"];
    says(&refusal(plain::<Old>, only_third), &older);
}

#[test]
fn an_upgrade_that_refuses_a_value_stops_the_start() {
    let picky: Open<New> = |states| {
        let refuse = |old: Old| if old.sum == 5 { Err("a sum of 5".to_owned()) } else { Ok(with_best(old)) };
        Ok(Tally(states.evolving("kept", &Versions::first().try_then(refuse))?))
    };
    says(&refusal(plain::<Old>, picky), &["state \"logic/kept\", key group", "to become version 2: a sum of 5"]);
}

#[test]
fn a_ttl_that_comes_or_goes_stops() {
    let mortal: Open<Old> =
        |states| Ok(Tally(states.value_with_ttl("kept", Ttl { after: millis(10), clock: TtlClock::EventTime })?));
    let by_the_wall: Open<Old> =
        |states| Ok(Tally(states.value_with_ttl("kept", Ttl { after: millis(10), clock: TtlClock::ProcessingTime })?));
    says(&refusal(plain::<Old>, mortal), &["with no TTL", "with a TTL by event time"]);
    says(&refusal(mortal, by_the_wall), &["with a TTL by event time", "with a TTL by processing time"]);
}

#[test]
fn invalid_lists_and_versions_are_refused() {
    struct List(#[expect(dead_code, reason = "opened only")] ListState<u8, New, Old>);
    impl KeyedLogic for List {
        type Key = u8;
        type In = Input;
        type Out = Output;
        type Side = ();
        fn on_record(&mut self, _: &mut Context<'_, u8, Output, ()>, _: Record<Input>) -> Result<(), LogicError> {
            Ok(())
        }
    }
    let unequal = logic_test(Order::Arrival, plain::<Old>).upgrade(1, |states| {
        let elements = Versions::first().then(with_best);
        Ok(List(states.evolving_list_with_header("list", &elements, &Versions::first())?))
    });
    says(&unequal.err().unwrap().report(), &["elements are of version 2", "header is of version 1", "`unchanged`"]);
    let beyond: Open<Old> = |states| Ok(Tally(states.evolving("kept", &Versions::since(255).unchanged())?));
    let error = logic_test(Order::Arrival, plain::<Old>).upgrade(1, beyond).err().unwrap();
    says(&error.report(), &["its version is 256", "1 to 255"]);
}

/// Counts records of any type by keys of any type.
struct Count<K, I>(ValueState<K, u64>, PhantomData<I>);

impl<K: Key + Sync + Send, I: Data> KeyedLogic for Count<K, I> {
    type Key = K;
    type In = I;
    type Out = u64;
    type Side = ();

    fn on_record(&mut self, ctx: &mut Context<'_, K, u64, ()>, _: Record<I>) -> Result<(), LogicError> {
        let count = self.0.update(
            ctx,
            || 0,
            |count| {
                *count += 1;
                *count
            },
        )?;
        ctx.emit(count);
        Ok(())
    }
}

/// Returns a program that converts the inputs with `change` and counts them by `key`.
fn count<K: Key + Sync + Send, I: Data>(
    source: &TestSource<Input>,
    sink: &TestSink<u64>,
    change: fn(Input) -> I,
    key: fn(&I) -> K,
) -> impl for<'s> Fn(&Flow<'s>) -> Result<(), JobError> + Send + Sync + 'static {
    let (source, sink) = (source.clone(), sink.clone());
    move |flow| {
        let inputs = flow.source("in", &source)?.map(change).key_by(key);
        let counts =
            inputs.process("count", Order::EventTime, |states| Ok(Count(states.value("count")?, PhantomData)))?;
        counts.results.sink("out", &sink)
    }
}

#[test]
fn keys_and_pending_records_keep_their_types() {
    let mut test = ProgramTest::new();
    let (source, sink) = (test.source::<Input>(), test.sink::<u64>());
    test.start(2, count(&source, &sink, |input| input, |input| input.0));
    source.push(0, (1, 1));
    source.push(100, (1, 1));
    source.watermark(50);
    assert_eq!(sink.output(), [1]);
    let with_more = || count(&source, &sink, |(key, n)| (key, n, true), |input: &(u8, i64, bool)| input.0);
    let error = test.refused(1, with_more()).report();
    says(&error, &["state \"count/pending\"", "data: (u8, i64)}", "data: (u8, i64, bool)}", "while there are any"]);
    // Once no record is pending, the type of records may change; that of keys may not.
    test.crash(2);
    source.watermark(101);
    assert_eq!(sink.output(), [2]);
    let by_more = || count(&source, &sink, |(key, n)| (u16::from(key), n), |input: &(u16, i64)| input.0);
    let error = test.refused(1, by_more()).report();
    says(&error, &["state \"count/count\"", "with keys u8", "with keys u16", "the type of a key cannot change"]);
    test.upgrade(1, with_more());
    source.push(200, (1, 1));
    test.finish();
    assert_eq!(sink.output(), [3]);
}

#[test]
fn timers_keep_the_type_of_their_key() {
    let mut test = ProgramTest::new();
    let ends = ends(&test);
    first_run(&mut test, &ends, 1);
    let Ends { source, .. } = &ends;
    let counts = test.sink::<u64>();
    let (from, to) = (source.clone(), counts.clone());
    let error = test.refused(1, move |flow| {
        let inputs = flow.source("in", &from)?.key_by(|input| u64::from(input.0));
        let open = |states: &mut States<'_, u64>| Ok(Count(states.value("kept")?, PhantomData));
        inputs.process("tally", Order::EventTime, open)?.results.sink("out", &to)
    });
    says(&error.report(), &["state \"tally/timers\"", "with keys u8", "with keys u64"]);
}

#[test]
fn types_within_the_librarys_operators_are_guarded_too() {
    #[derive(Clone)]
    struct Sum<V>(PhantomData<V>);
    impl<V: Kept + Default + Clone> Aggregate for Sum<V> {
        type In = Input;
        type Accumulator = V;
        type Out = i64;
        fn empty(&self) -> V {
            V::default()
        }
        fn add(&self, accumulator: &mut V, record: &Input) {
            accumulator.add(record.1);
        }
        fn merge(&self, into: &mut V, other: &V) {
            into.add(other.values().0);
        }
        fn finish(&self, accumulator: &V) -> i64 {
            accumulator.values().0
        }
    }
    fn open<V: Kept + Default + Clone>(states: &mut States<'_, u8>) -> Result<WindowLogic<u8, Sum<V>>, JobError> {
        WindowLogic::open(states, WindowSpec::new(Assigner::tumbling(millis(100))), Sum(PhantomData))
    }
    let mut test = LogicTest::new(Order::Arrival, |input: &Input| input.0, open::<Old>);
    test.push(0, (1, 5));
    test.checkpoint();
    says(
        &test.upgrade(1, open::<New>).err().unwrap().report(),
        &["state \"logic/", "{sum: i64}", "{sum: i64, best: i64}"],
    );
}

#[test]
fn an_enum_may_get_variants_at_its_end() {
    #[derive(Serialize, Deserialize)]
    enum OneWay {
        Sum(i64),
    }
    #[derive(Serialize, Deserialize)]
    enum TwoWays {
        Sum(i64),
        Best { sum: i64, best: i64 },
    }
    impl Default for OneWay {
        fn default() -> Self {
            Self::Sum(0)
        }
    }
    impl Default for TwoWays {
        fn default() -> Self {
            Self::Sum(0)
        }
    }
    impl Kept for OneWay {
        fn add(&mut self, n: i64) {
            let Self::Sum(sum) = self;
            *sum += n;
        }
        fn values(&self) -> (i64, i64) {
            let Self::Sum(sum) = self;
            (*sum, 0)
        }
    }
    impl Kept for TwoWays {
        fn add(&mut self, n: i64) {
            let (sum, best) = self.values();
            *self = Self::Best { sum: sum + n, best: best.max(n) };
        }
        fn values(&self) -> (i64, i64) {
            match self {
                Self::Sum(sum) => (*sum, 0),
                Self::Best { sum, best } => (*sum, *best),
            }
        }
    }
    let mut test = logic_test(Order::Arrival, plain::<OneWay>).upgrade(2, plain::<TwoWays>).unwrap();
    test.push(1, (1, 2));
    assert_eq!(test.output(), [(1, 5, 0), (1, 7, 2)]);
    says(&refusal(plain::<TwoWays>, plain::<OneWay>), &["<Sum(i64) | Best{sum: i64, best: i64}>", "<Sum(i64)>"]);
}

pub fn args(folder: &Path) -> JobArgs {
    let checkpoint_interval = std::time::Duration::from_millis(20);
    JobArgs {
        settings: JobSettings {
            checkpoint_dir: Some(folder.to_owned()),
            checkpoint_interval,
            ..JobSettings::default()
        },
        log_level: "error".into(),
        ..JobArgs::default()
    }
}

/// Removes the layouts of rows from all manifests, as in manifests of versions that did not record them.
fn forget_layouts(folder: &Path) {
    for entry in fs::read_dir(folder.join("manifests")).unwrap() {
        let path = entry.unwrap().path();
        let mut manifest: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        let states = manifest["states"].as_array_mut().unwrap();
        let kept = states.iter().find(|state| state["name"] == "tally/kept").unwrap();
        assert_eq!(kept["layout"], serde_json::json!({ "key": "u8", "value": "{sum: i64}" }));
        states.iter_mut().for_each(|state| drop(state.as_object_mut().unwrap().remove("layout").unwrap()));
        fs::write(&path, serde_json::to_vec(&manifest).unwrap()).unwrap();
    }
}

#[test]
fn a_manifest_that_says_nothing_of_shapes_is_read() {
    fn run<V: Kept + Default>(folder: &Path, open: Open<V>) -> Result<(), JobError> {
        let inputs = vec![(EventTime(1), (1_u8, 5_i64))];
        let program = move |flow: &Flow<'_>| {
            let inputs = flow.source("in", &vec_source(inputs.clone()))?.key_by(|input| input.0);
            inputs.process("tally", Order::EventTime, open)?.results.sink("out", &NullSink::default())
        };
        Job::new("job", args(folder)).run(program).map(drop)
    }
    let folder = tempfile::tempdir().unwrap();
    run(folder.path(), plain::<Old>).unwrap();
    says(&run(folder.path(), plain::<New>).unwrap_err().report(), &["{sum: i64}", "{sum: i64, best: i64}"]);
    forget_layouts(folder.path());
    run(folder.path(), plain::<Old>).unwrap();
    run(folder.path(), second).unwrap();
    // Without the layout, bincode itself still notices that there are too few bytes.
    says(&run(folder.path(), plain::<New>).unwrap_err().report(), &["state \"tally/kept\"", "cannot be decoded"]);
}
