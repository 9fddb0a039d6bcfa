//! The publishing of one worker, without a job: its sinks are tasks.

use std::sync::Mutex;

use super::*;
use crate::epoch::Backlog;
use crate::locks::lock;
use crate::metrics::Metrics;

/// A worker's publishing, what its sinks have published, and a target that does not answer until it is let go.
struct Worker {
    publishing: Publishing,
    published: Arc<Mutex<Vec<(String, u64)>>>,
    hang: (Sender<()>, Receiver<()>),
    backlogs: BTreeMap<&'static str, Arc<Backlog>>,
}

impl Worker {
    fn new() -> Self {
        let metrics = Metrics::default();
        let backlog = |sink| (sink, Arc::new(Backlog::new(&metrics.operator(sink, "sink", 0))));
        Self {
            publishing: Publishing::new(0, Epoch(10), History::default()),
            published: Arc::default(),
            hang: crossbeam_channel::unbounded(),
            backlogs: ["fast", "hangs", "fails", "panics"].map(backlog).into(),
        }
    }

    fn output(&self, sink: &'static str, epoch: u64) -> StagedOutput {
        let (published, hang) = (Arc::clone(&self.published), self.hang.1.clone());
        let task = Box::new(move || {
            match sink {
                "hangs" => drop(hang.recv()),
                "fails" => return Err(ConnectorError::new(ErrorKind::Unavailable, "the power is out")),
                "panics" => panic!("out of paper"),
                _ => {}
            }
            lock(&published).push((sink.to_owned(), epoch));
            Ok(())
        });
        StagedOutput { sink: sink.to_owned(), task, bytes: 1, backlog: Arc::clone(&self.backlogs[sink]) }
    }

    fn commit(&mut self, epoch: u64, sinks: &[&'static str]) {
        let staged = sinks.iter().map(|sink| self.output(sink, epoch)).collect();
        self.publishing.publish(Epoch(epoch), staged).unwrap();
    }

    /// Waits until all sinks have published up to `epoch`, or one has failed.
    fn wait_for(&mut self, done: impl Fn(&Publishing) -> bool) -> Result<(), JobError> {
        while !done(&self.publishing) {
            self.publishing.take_answers()?;
            threads::pause(Duration::from_millis(1));
        }
        Ok(())
    }

    fn published_by(&self, sink: &str) -> Vec<u64> {
        lock(&self.published).iter().filter(|(of, _)| of == sink).map(|(_, epoch)| *epoch).collect()
    }
}

#[test]
fn a_sink_that_hangs_keeps_its_epochs_and_holds_up_no_other() {
    let mut worker = Worker::new();
    assert_eq!((worker.publishing.published(), worker.publishing.unpublished().has(Epoch(11))), (Epoch(10), true));
    worker.commit(11, &["fast"]);
    for epoch in 12..=20 {
        worker.commit(epoch, if epoch % 2 == 0 { &["fast", "hangs"] } else { &["fast"] });
    }
    let has_published = |publishing: &Publishing| publishing.ahead() == [("fast".to_owned(), Epoch(20))];
    worker.wait_for(has_published).unwrap();
    assert_eq!(worker.published_by("fast"), (11..=20).collect::<Vec<_>>());
    let unpublished = worker.publishing.unpublished();
    assert_eq!(worker.publishing.published(), Epoch(11), "the first one that hangs is of 12");
    assert_eq!(unpublished.epochs, [12, 14, 16, 18, 20].map(Epoch).into());
    assert!(!unpublished.has(Epoch(13)) && unpublished.has(Epoch(14)) && unpublished.has(Epoch(21)));
    (0..5).for_each(|_| worker.hang.0.send(()).unwrap());
    worker.wait_for(|publishing| publishing.published() == Epoch(20)).unwrap();
    assert_eq!(worker.published_by("hangs"), [12, 14, 16, 18, 20]);
    assert_eq!(worker.publishing.unpublished(), Unpublished { committed: Epoch(20), epochs: [].into() });
}

#[test]
fn a_sink_that_fails_or_panics_ends_the_job_and_publishes_nothing_later() {
    for (sink, says) in [("fails", "the power is out"), ("panics", "out of paper")] {
        let mut worker = Worker::new();
        worker.commit(11, &[sink]);
        worker.commit(12, &[sink]);
        let error = worker.wait_for(|publishing| publishing.published() == Epoch(12)).unwrap_err().report();
        assert!(error.contains(sink) && error.contains(says), "{error}");
        assert_eq!(worker.publishing.published(), Epoch(10));
    }
}

#[test]
fn what_waits_when_the_job_ends_is_left_to_the_next_start() {
    let mut worker = Worker::new();
    (11..=15).for_each(|epoch| worker.commit(epoch, &["hangs"]));
    let (let_go, published) = (worker.hang.0.clone(), Arc::clone(&worker.published));
    std::thread::scope(|scope| {
        scope.spawn(move || {
            threads::pause(Duration::from_millis(50));
            (11..=15).for_each(|_| let_go.send(()).unwrap());
        });
        drop(worker.publishing);
    });
    assert!(lock(&published).len() <= 1, "only what had begun: {published:?}");
}
