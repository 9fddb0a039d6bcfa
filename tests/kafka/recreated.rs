//! A topic that is deleted and created again with more records, while the job is stopped and while it runs: an offset
//! of the old topic is never used for the new one.
//!
//! For the stopped job, two mock clusters stand for the old and the new topic: the topics have the same name and
//! different ids.

use std::path::Path;
use std::time::Duration;

use proptest::prelude::*;
use rdkafka::mocking::MockCluster;
use tidemill::kafka::{self, Connection, Delivery, RecreatedTopic, Topics};
use tidemill::prelude::*;
use tidemill::source::{Batch, Next, Source, SourceContext, SourceReader};

use crate::cluster::{Cluster, alone, cluster};
use crate::job::wait;
use tests::until;

type Numbers = CollectSink<u64>;

fn source(address: &str, topics: Topics, policy: RecreatedTopic) -> KafkaSource<u64> {
    // Metadata is refreshed often, so that the test need not wait half a minute.
    let connection = Connection::new(address).property("topic.metadata.refresh.interval.ms", "500");
    KafkaSource::new(connection, topics, kafka::json(), |n: &u64| EventTime(*n as i64))
        .recreated_topic(policy)
        .max_out_of_orderness(Duration::from_secs(3600))
}

fn args(checkpoints: &Path) -> JobArgs {
    let checkpoint_dir = Some(checkpoints.to_owned());
    let checkpoint_interval = Duration::from_millis(50);
    JobArgs {
        settings: JobSettings { checkpoint_dir, checkpoint_interval, workers: 2, ..JobSettings::default() },
        log_level: "warn".to_owned(),
        ..JobArgs::default()
    }
}

/// Runs the job from its checkpoint. Returns what it read, sorted, or its error.
fn run(source: KafkaSource<u64>, checkpoints: &Path) -> Result<Vec<u64>, String> {
    let collected = Numbers::default();
    let sink = collected.clone();
    let result = Job::new("recreated", args(checkpoints))
        .run(move |flow| flow.source("numbers", &source)?.sink("collected", &sink));
    result.map_err(|error| error.report())?;
    let mut numbers = collected.data();
    numbers.sort_unstable();
    Ok(numbers)
}

/// Reads to the end of the topics from these positions, with one reader per worker. Returns the numbers, sorted, and
/// the new positions.
fn read(source: &KafkaSource<u64>, restored: &[Vec<u8>]) -> Result<(Vec<u64>, Vec<Vec<u8>>), String> {
    let (mut numbers, mut positions) = (Vec::new(), Vec::new());
    let (workers, clock) = (2, Clock::system());
    for worker in 0..workers {
        let mut context = SourceContext::without_job("numbers", worker, workers, clock.clone());
        context.restored = restored.to_vec();
        let mut reader = source.open(context).map_err(|error| error.to_string())?;
        let mut batch = Batch::new(clock.now());
        loop {
            batch.reset(clock.now());
            let next = reader.read(&mut batch).map_err(|error| error.to_string())?;
            numbers.extend(batch.records().iter().map(|record| record.data));
            match next {
                Next::Done => break,
                Next::After(_) => wait(Duration::from_millis(2)),
                _ => {}
            }
        }
        positions.push(reader.position().unwrap());
    }
    numbers.sort_unstable();
    Ok((numbers, positions))
}

/// Returns the numbers `from..to` of each partition. They differ between partitions.
fn numbers(partitions: i32, from: u64, to: u64) -> Vec<(i32, String, String)> {
    let of = |partition| (from..to).map(move |n| (partition, n.to_string(), number(partition, n).to_string()));
    (0..partitions).flat_map(of).collect()
}

fn number(partition: i32, n: u64) -> u64 {
    partition as u64 * 1_000_000 + n
}

fn all(partitions: i32, from: u64, to: u64) -> Vec<u64> {
    (0..partitions).flat_map(|partition| (from..to).map(move |n| number(partition, n))).collect()
}

fn mock(partitions: i32) -> (MockCluster<'static, rdkafka::producer::DefaultProducerContext>, Cluster) {
    let mock = MockCluster::new(1).unwrap();
    mock.create_topic("numbers", partitions, 1).unwrap();
    let cluster = Cluster { address: mock.bootstrap_servers() };
    (mock, cluster)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, max_shrink_iters: 0, ..ProptestConfig::default() })]

    /// The second run reads exactly what it should, or is refused: the rest of the same topic, or what the policy says
    /// about a new one.
    #[test]
    fn a_restore_reads_the_right_records_or_is_refused(
        partitions in 1..4i32, before in 1..30u64, more in 0..30u64, is_new: bool, by_pattern: bool,
        policy in prop::sample::select(vec![RecreatedTopic::Refuse, RecreatedTopic::FromFirst, RecreatedTopic::SameOffsets]),
    ) {
        let _alone = alone();
        let topics = if by_pattern { Topics::pattern("numb.*").unwrap() } else { Topics::named("numbers") };
        let (_old, old) = mock(partitions);
        old.produce("numbers", numbers(partitions, 0, before));
        let (first, positions) = read(&source(&old.address, topics.clone(), policy).until_end(), &[]).unwrap();
        prop_assert_eq!(first, all(partitions, 0, before));

        let total = before + more;
        let (_new, new) = if is_new { mock(partitions) } else { (MockCluster::new(1).unwrap(), old) };
        new.produce("numbers", numbers(partitions, if is_new { 0 } else { before }, total));
        let second = read(&source(&new.address, topics.clone(), policy).until_end(), &positions);
        let positions = match (is_new, policy) {
            (true, RecreatedTopic::Refuse) => {
                let error = second.unwrap_err();
                prop_assert!(error.contains("topic \"numbers\" was deleted and created again since the checkpoint"), "{}", error);
                return Ok(());
            }
            (true, RecreatedTopic::FromFirst) => {
                let (second, positions) = second.unwrap();
                prop_assert_eq!(second, all(partitions, 0, total));
                positions
            }
            _ => {
                let (second, positions) = second.unwrap();
                prop_assert_eq!(second, all(partitions, before, total));
                positions
            }
        };
        // From then on, the new topic is the one of the checkpoint.
        let (third, _) = read(&source(&new.address, topics, RecreatedTopic::Refuse).until_end(), &positions).unwrap();
        prop_assert!(third.is_empty());
    }
}

/// A new topic with fewer partitions is refused because it is new, and read if the policy allows that.
#[test]
fn a_topic_recreated_with_fewer_partitions() {
    let _alone = alone();
    let ((_old, old), (_new, new)) = (mock(3), mock(2));
    old.produce("numbers", numbers(3, 0, 10));
    new.produce("numbers", numbers(2, 0, 10));
    let read = |cluster: &Cluster, policy, positions: &[Vec<u8>]| {
        read(&source(&cluster.address, Topics::named("numbers"), policy).until_end(), positions)
    };
    let (_, positions) = read(&old, RecreatedTopic::Refuse, &[]).unwrap();
    assert!(read(&new, RecreatedTopic::Refuse, &positions).unwrap_err().contains("created again since the checkpoint"));
    assert!(read(&new, RecreatedTopic::SameOffsets, &positions).unwrap_err().contains("it is not there any more"));
    assert_eq!(read(&new, RecreatedTopic::FromFirst, &positions).unwrap().0, all(2, 0, 10));
}

#[test]
fn a_topic_recreated_while_the_job_is_stopped_or_runs_is_not_read_from_the_old_offset() {
    let _alone = alone();
    let Some(cluster) = cluster() else { return };
    let (topic, checkpoints) = (cluster.topic("numbers", 2), tempfile::tempdir().unwrap());
    let with = |policy| source(&cluster.address, Topics::named(&topic.name), policy);
    topic.produce(numbers(2, 0, 20));

    let (live, collected) = (with(RecreatedTopic::FromFirst), Numbers::default());
    let (sink, at) = (collected.clone(), args(checkpoints.path()));
    let job = std::thread::spawn(move || {
        let build = move |flow: &Flow<'_>| flow.source("numbers", &live)?.sink("collected", &sink);
        Job::new("recreated", at).run(build).unwrap_err().report()
    });
    until("all is read", || collected.data().len() == 40);
    topic.recreate(2);
    topic.produce(numbers(2, 1000, 1100));
    until("the job stops", || job.is_finished());
    let error = job.join().unwrap();
    assert!(error.contains("was deleted and created again while the job reads it"), "{error}");
    assert!(
        collected.data().iter().all(|n| n % 1_000_000 < 1000),
        "nothing of the new topic is taken for the old one's"
    );

    let refused = run(with(RecreatedTopic::Refuse).until_end(), checkpoints.path()).unwrap_err();
    assert!(refused.contains("was deleted and created again since the checkpoint"), "{refused}");
    let read = run(with(RecreatedTopic::FromFirst).until_end(), checkpoints.path()).unwrap();
    assert_eq!(read, all(2, 1000, 1100));
}

#[test]
fn an_output_topic_recreated_under_a_running_job_stops_it() {
    let _alone = alone();
    let Some(cluster) = cluster() else { return };
    for delivery in [Delivery::AtLeastOnce, Delivery::ExactlyOnce] {
        let (input, output) = (cluster.topic("numbers", 1), cluster.topic("out", 1));
        let checkpoints = tempfile::tempdir().unwrap();
        input.produce(numbers(1, 0, 20));
        let live = source(&cluster.address, Topics::named(&input.name), RecreatedTopic::Refuse);
        let connection = Connection::new(&cluster.address).property("topic.metadata.refresh.interval.ms", "500");
        let sink = KafkaSink::json(connection, &output.name, delivery, |n: &u64| n.to_string().into_bytes());
        let at = args(checkpoints.path());
        let job = std::thread::spawn(move || {
            let build = move |flow: &Flow<'_>| flow.source("numbers", &live)?.sink("out", &sink);
            Job::new("written", at).run(build).unwrap_err().report()
        });
        until("it writes", || output.committed().len() == 20);
        output.recreate(1);
        input.produce(numbers(1, 20, 40));
        until("the job stops", || job.is_finished());
        let error = job.join().unwrap();
        assert!(error.contains("was deleted and created again while the job writes to it"), "{delivery:?}: {error}");
    }
}
