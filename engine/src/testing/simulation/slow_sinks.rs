//! Simulations of jobs with a target that does not answer for a while: nothing else waits for it, and nothing is lost or
//! there twice.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::Simulation;
use crate::clock::Clock;
use crate::error::ConnectorError;
use crate::locks::lock;
use crate::record::{Arrival, Record};
use crate::sink::{Sink, SinkContext, SinkWriter, Staged, StagedToken};
use crate::testing::sink::{TestSink, TestWriter};
use crate::threads;
use crate::time::Epoch;

/// What a sink did.
#[derive(Debug, Default)]
struct Log {
    /// When it published the epochs of each worker, in the order in which it did.
    published: BTreeMap<usize, Vec<(Epoch, Arrival)>>,
    /// Number of epochs that it had to recover, at each start.
    recovered: Vec<usize>,
    /// The largest number of epochs that were staged and not published.
    behind: usize,
}

/// A sink that publishes each epoch after a while.
#[derive(Clone)]
struct Delayed {
    sink: TestSink<u64>,
    clock: Clock,
    /// How long the first epoch of each worker takes, and each further one.
    takes: (Duration, Duration),
    /// Number of bytes that are added to each token.
    padding: usize,
    log: Arc<Mutex<Log>>,
}

impl Delayed {
    fn new(sim: &Simulation, takes: (Duration, Duration)) -> Self {
        Self { sink: sim.sink(), clock: sim.clock(), takes, padding: 0, log: Arc::default() }
    }
}

impl Sink for Delayed {
    type Item = u64;
    type Writer = DelayedWriter;

    fn open(&self, context: SinkContext) -> Result<DelayedWriter, ConnectorError> {
        let worker = context.worker;
        Ok(DelayedWriter {
            writer: self.sink.open(context)?,
            worker,
            sink: self.clone(),
            staged: 0,
            done: Arc::default(),
        })
    }

    fn recover(&self, context: &SinkContext, mut tokens: Vec<StagedToken>) -> Result<(), ConnectorError> {
        tokens.iter_mut().for_each(|staged| staged.token.truncate(size_of::<u64>()));
        let epochs: BTreeSet<Epoch> = tokens.iter().map(|staged| staged.epoch).collect();
        lock(&self.log).recovered.push(epochs.len());
        self.sink.recover(context, tokens)
    }
}

struct DelayedWriter {
    writer: TestWriter<u64>,
    worker: usize,
    sink: Delayed,
    staged: usize,
    done: Arc<Mutex<usize>>,
}

impl SinkWriter for DelayedWriter {
    type Item = u64;

    fn write(&mut self, record: &Record<u64>) -> Result<(), ConnectorError> {
        self.writer.write(record)
    }

    fn stage(&mut self, epoch: Epoch) -> Result<Option<Staged>, ConnectorError> {
        let Some(Staged { mut token, flush, publish }) = self.writer.stage(epoch)? else { return Ok(None) };
        token.extend(std::iter::repeat_n(0, self.sink.padding));
        let (Delayed { takes, clock, log, .. }, worker) = (self.sink.clone(), self.worker);
        let takes = if self.staged == 0 { takes.0 } else { takes.1 };
        self.staged += 1;
        let behind = self.staged - *lock(&self.done);
        let done = Arc::clone(&self.done);
        let most = lock(&log).behind.max(behind);
        lock(&log).behind = most;
        let publish = Box::new(move || {
            threads::pause(takes);
            publish()?;
            *lock(&done) += 1;
            lock(&log).published.entry(worker).or_default().push((epoch, clock.now()));
            Ok(())
        });
        Ok(Some(Staged { token, flush, publish }))
    }
}

/// Runs a job that writes each number to both sinks, and checks that each has each number once.
fn run(sim: &mut Simulation, numbers: u64, sinks: [&Delayed; 2]) {
    let source = sim.source();
    (0..numbers).for_each(|n| source.push_to(n as usize % 3, n as i64, n));
    let [a, b] = sinks.map(Clone::clone);
    let report = sim.run(move |flow| {
        let numbers = flow.source("numbers", &source)?;
        numbers.clone().sink("a", &a)?;
        numbers.sink("b", &b)
    });
    for sink in sinks {
        let mut output = sink.sink.output();
        output.sort_unstable();
        assert!(output.iter().copied().eq(0..numbers), "{output:?}, {report:?}");
        if report.starts == 1 {
            let log = lock(&sink.log);
            assert!(
                log.published.values().all(|of| of.is_sorted_by(|(a, at), (b, later)| a < b && at <= later)),
                "{log:?}"
            );
        }
    }
}

const SECOND: Duration = Duration::from_secs(1);

/// Input comes for about two seconds, in bursts of up to three records.
fn slowly(sim: &mut Simulation) {
    sim.settings().burst = 3;
    sim.settings().gap = Duration::from_millis(10)..=Duration::from_millis(40);
}

#[test]
fn a_target_that_does_not_answer_for_a_minute_holds_up_neither_commits_nor_another_sink() {
    Simulation::check(30, |sim| {
        slowly(sim);
        (sim.settings().crashes, sim.settings().stops, sim.settings().stalls) = (0, 0, 0.0);
        let hangs = Delayed::new(sim, (60 * SECOND, Duration::ZERO));
        let fast = Delayed::new(sim, (Duration::ZERO, Duration::ZERO));
        run(sim, 300, [&hangs, &fast]);
        let (fast, hangs) = (lock(&fast.log), lock(&hangs.log));
        let shown: Vec<Arrival> = fast.published.values().flatten().map(|(_, at)| *at).collect();
        let first = hangs.published.values().flatten().map(|(_, at)| *at).min().unwrap();
        assert!(shown.len() > 8 && shown.iter().all(|at| *at < first), "{fast:?}\n{hangs:?}");
        assert!(shown.iter().all(|at| at.0 < 20_000_000), "{fast:?}");
    });
}

#[test]
fn a_crash_while_a_sink_is_behind_loses_nothing_and_publishes_nothing_twice() {
    let (most, fast_most, crashes) = (Mutex::new(0), Mutex::new(0), Mutex::new(0));
    Simulation::check(150, |sim| {
        slowly(sim);
        let first = Duration::from_millis(sim.draw(0..5000));
        let next = Duration::from_millis(sim.draw(0..300));
        let slow = Delayed::new(sim, (first, next));
        let fast = Delayed::new(sim, (Duration::ZERO, Duration::ZERO));
        run(sim, 200, [&slow, &fast]);
        let recovered = |sink: &Delayed| lock(&sink.log).recovered.iter().copied().max().unwrap_or(0);
        let mut most = lock(&most);
        *most = (*most).max(recovered(&slow));
        let mut fast_most = lock(&fast_most);
        *fast_most = (*fast_most).max(recovered(&fast));
        *lock(&crashes) += lock(&slow.log).recovered.len() - 1;
    });
    let (most, fast_most, crashes) = (*lock(&most), *lock(&fast_most), *lock(&crashes));
    println!("{crashes} restarts, up to {most} epochs to recover, {fast_most} of the fast sink");
    let alone = std::env::var_os("TIDEMILL_SEED").is_some();
    assert!(alone || (crashes > 50 && most > 8), "a test in which no sink is behind proves nothing");
    // It is given what it may not have published, and not what the other one is behind with.
    assert!(alone || most > 2 * fast_most, "{fast_most} of {most}");
}

#[test]
fn what_waits_for_a_target_has_a_bound() {
    Simulation::check(3, |sim| {
        slowly(sim);
        (sim.settings().crashes, sim.settings().stops, sim.settings().workers) = (0, 0, 1..=1);
        let mut hangs = Delayed::new(sim, (4 * SECOND, Duration::ZERO));
        hangs.padding = 22 << 20;
        let fast = Delayed::new(sim, (Duration::ZERO, Duration::ZERO));
        run(sim, 200, [&hangs, &fast]);
        // One that is being published, three that fill the backlog, and the epochs that are open.
        let log = lock(&hangs.log);
        let (behind, all) = (log.behind, log.published[&0].len());
        assert!((4..=9).contains(&behind) && all > behind, "{behind} of {all}");
    });
}
