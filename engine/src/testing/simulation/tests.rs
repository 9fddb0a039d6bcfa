//! Tests of the simulation itself: a seed leads to the same run in every process, and a planted fault is found.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use std::time::Duration;

use super::{Simulation, SimulationReport};
use crate::EventTime;
use crate::keyed::{Context, KeyedLogic, LogicError, Order, States, ValueState};
use crate::record::Record;

/// Logic that counts the records of a key from its first one on, and emits their number after 50 ms.
struct Burst {
    count: ValueState<u8, u64>,
    due: ValueState<u8, EventTime>,
    /// The planted fault: the due times are kept where they are not restored.
    forgetful: Option<BTreeMap<u8, EventTime>>,
}

impl Burst {
    const LENGTH_MS: i64 = 50;

    fn open(states: &mut States<'_, u8>, forgetful: bool) -> Result<Self, crate::JobError> {
        Ok(Self { count: states.value("count")?, due: states.value("due")?, forgetful: forgetful.then(BTreeMap::new) })
    }
}

impl KeyedLogic for Burst {
    type Key = u8;
    type In = (u8, u64);
    type Out = (u8, i64, u64);
    type Side = ();

    fn on_record(
        &mut self,
        ctx: &mut Context<'_, u8, Self::Out, ()>,
        record: Record<Self::In>,
    ) -> Result<(), LogicError> {
        let count = self.count.update(
            ctx,
            || 0,
            |count| {
                *count += 1;
                *count
            },
        )?;
        if count == 1 {
            let due = record.event_time.plus_ms(Self::LENGTH_MS);
            ctx.set_timer(due);
            match &mut self.forgetful {
                Some(kept) => drop(kept.insert(*ctx.key(), due)),
                None => self.due.put(ctx, due)?,
            }
        }
        Ok(())
    }

    fn on_timer(&mut self, ctx: &mut Context<'_, u8, Self::Out, ()>, at: EventTime) -> Result<(), LogicError> {
        let due = match &self.forgetful {
            Some(kept) => kept.get(ctx.key()).copied(),
            None => self.due.get(ctx)?,
        };
        if due == Some(at) {
            let count = self.count.get(ctx)?.unwrap_or(0);
            self.count.remove(ctx)?;
            ctx.emit((*ctx.key(), at.0, count));
        }
        Ok(())
    }
}

/// Runs the program on random records, and compares its output with that of a plain loop.
fn bursts(sim: &mut Simulation, forgetful: bool) -> SimulationReport {
    sim.settings().reorder = Duration::from_millis(30);
    let (source, sink) = (sim.source(), sim.sink());
    let mut records = Vec::new();
    let mut time = 0;
    for id in 0..sim.draw(20..200_u64) {
        time += sim.draw(0..8_i64);
        let key = sim.draw(0..5_u8);
        records.push((time, key));
        source.push_to(usize::from(sim.draw(0..3_u8)), time, (key, id));
        if sim.draw(0..10) == 0 {
            (0..3).for_each(|partition| source.watermark_of(partition, time - 20));
        }
    }
    let (from, to) = (source.clone(), sink.clone());
    let simulated = sim.run(move |flow| {
        let keyed = flow.source("records", &from)?.key_by(|record| record.0);
        keyed
            .process("bursts", Order::EventTime, move |states| Burst::open(states, forgetful))?
            .results
            .sink("out", &to)
    });
    let mut expected = Vec::new();
    let mut open: BTreeMap<u8, (i64, u64)> = BTreeMap::new();
    for (time, key) in records {
        if let Some((due, count)) = open.get(&key).copied().filter(|(due, _)| *due <= time) {
            expected.push((key, due, count));
            open.remove(&key);
        }
        open.entry(key).or_insert((time + Burst::LENGTH_MS, 0)).1 += 1;
    }
    expected.extend(open.into_iter().map(|(key, (due, count))| (key, due, count)));
    expected.sort_unstable();
    let mut emitted = sink.output();
    emitted.sort_unstable();
    assert_eq!(emitted, expected);
    simulated
}

#[test]
fn a_program_in_any_world_gives_what_a_loop_gives() {
    let mut all = SimulationReport::default();
    let seen = RefCell::new(&mut all);
    Simulation::check(200, |sim| {
        let one = bursts(sim, false);
        let mut all = seen.borrow_mut();
        all.starts += one.starts;
        all.crashes += one.crashes;
        all.stops += one.stops;
        all.turns += one.turns;
        all.elapsed += one.elapsed;
    });
    println!("{all:?}");
    // A test in which nothing happened would prove nothing.
    let alone = std::env::var_os("TIDEMILL_SEED").is_some();
    assert!(alone || (all.crashes > 40 && all.stops > 10 && all.turns > 20_000), "{all:?}");
}

/// The purpose of this module: it finds an operator that forgets a timer on restore.
#[test]
fn a_planted_fault_is_found_and_its_seed_finds_it_again() {
    let forgetful = |sim: &mut Simulation| _ = bursts(sim, true);
    let found = Simulation::find(0..1000, forgetful).expect("a seed with a crash in the wrong place");
    println!("found with seed {} after {} that passed", found.seed, found.passed);
    assert!(found.passed < 100, "it takes {} seeds to find it", found.passed);
    for _ in 0..3 {
        let again = Simulation::find([found.seed], forgetful);
        assert_eq!(again.map(|again| again.message), Some(found.message.clone()));
    }
    assert_eq!(
        Simulation::find(0..=found.seed, |sim| _ = bursts(sim, false)),
        None,
        "the right one passes these seeds"
    );
}

#[test]
fn a_failing_check_names_its_seed() {
    if std::env::var_os("TIDEMILL_SEED").is_some() {
        return;
    }
    let failed = std::panic::catch_unwind(|| Simulation::check(1000, |sim| assert!(sim.draw(0..10) < 8, "too much")));
    let message = *failed.unwrap_err().downcast::<String>().unwrap();
    let seed = message.split("TIDEMILL_SEED=").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
    assert!(message.contains("too much"), "{message}");
    assert!(Simulation::new(seed).draw(0..10) >= 8);
}

/// Prints the reports of some seeds, for the test below and for people.
#[test]
fn digests() {
    for seed in 0..20 {
        println!("digest of {seed}: {:?}", bursts(&mut Simulation::new(seed), false));
    }
}

#[test]
fn a_seed_is_the_same_run_in_every_process() {
    let lines = |text: &str| -> Vec<String> {
        // The first of them comes after the name of the test, on the same line.
        text.lines().filter_map(|line| line.find("digest of").map(|at| line[at..].to_owned())).collect()
    };
    let run = || {
        let mut command = Command::new(std::env::current_exe().unwrap());
        let output = command.args(["--exact", "testing::simulation::tests::digests", "--nocapture"]).output().unwrap();
        assert!(output.status.success());
        lines(&String::from_utf8(output.stdout).unwrap())
    };
    let here: Vec<String> =
        (0..20).map(|seed| format!("digest of {seed}: {:?}", bursts(&mut Simulation::new(seed), false))).collect();
    assert_eq!(run(), here);
    assert_eq!(run(), here);
    let digests: BTreeSet<&str> = here.iter().filter_map(|line| line.split("digest: ").nth(1)).collect();
    assert_eq!(digests.len(), here.len(), "each seed is a run of its own");
}

/// A job that waits for something that never comes is reported, and the test process goes on.
#[test]
fn a_job_that_does_not_come_to_its_end_is_an_error() {
    let found = Simulation::find([3], |sim| {
        sim.settings().max_turns = 30;
        bursts(sim, false);
    });
    let message = found.expect("30 turns are too few").message;
    assert!(message.contains("stuck after 30 turns") && message.contains("worker 0: "), "{message}");
}

#[test]
fn an_error_of_the_job_is_an_error_of_the_test() {
    let two_of_a_name = |sim: &mut Simulation| {
        sim.settings().workers = 2..=4;
        let (source, sink) = (sim.source::<u8>(), sim.sink::<u8>());
        sim.run(move |flow| {
            flow.source("numbers", &source)?.sink("out", &sink)?;
            flow.source("numbers", &source)?.sink("too", &sink)
        });
    };
    let message = Simulation::find([1], two_of_a_name).map(|found| found.message);
    assert!(message.as_ref().is_some_and(|text| text.contains("\"numbers\" is used twice")), "{message:?}");
    let panics = |sim: &mut Simulation| {
        let (source, sink) = (sim.source::<u8>(), sim.sink::<u8>());
        (0..20).for_each(|n| source.push(0, n));
        sim.run(move |flow| flow.source("numbers", &source)?.map(|n| 10 / (10 - n.min(10))).sink("out", &sink));
    };
    let message = Simulation::find(0..50, panics).map(|found| found.message);
    assert!(message.as_ref().is_some_and(|text| text.contains("panicked")), "{message:?}");
}
