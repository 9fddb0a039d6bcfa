//! The simulation itself: a seed is a run, whatever the process; and a planted fault is found.

use std::collections::BTreeMap;

use super::{Simulated, Simulation};
use crate::EventTime;
use crate::record::Record;
use crate::shell::{Context, KeyedLogic, LogicError, Order, States, ValueState};

/// Counts the records of a key from its first one on, and tells how many after 50 ms.
struct Burst {
    count: ValueState<u8, u64>,
    due: ValueState<u8, EventTime>,
    /// The planted fault: when it is due, where a restore brings nothing back.
    forgetful: Option<BTreeMap<u8, EventTime>>,
}

impl Burst {
    const LENGTH_MS: i64 = 50;

    fn open(states: &mut States<'_, u8>, forgetful: bool) -> Result<Self, crate::JobError> {
        Ok(Self {
            count: states.value("count")?,
            due: states.value("due")?,
            forgetful: forgetful.then(BTreeMap::new),
        })
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
        let count = self.count.update(ctx, || 0, |count| {
            *count += 1;
            *count
        })?;
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

/// Random records, the program, and what a loop says of them.
fn bursts(sim: &mut Simulation, forgetful: bool) -> Simulated {
    sim.settings().reorder_ms = 30;
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
        keyed.process("bursts", Order::EventTime, move |states| Burst::open(states, forgetful))?.main.sink("out", &to)
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
    let mut told = sink.output();
    told.sort_unstable();
    if told != expected { eprintln!("DEBUG {simulated:?}"); }
    assert_eq!(told, expected);
    simulated
}

#[test]
fn a_program_in_any_world_gives_what_a_loop_gives() {
    let seen = std::cell::RefCell::new(Vec::new());
    Simulation::check(1000, |sim| seen.borrow_mut().push(bursts(sim, false)));
    let seen = seen.into_inner();
    let sum = |of: fn(&Simulated) -> u64| seen.iter().map(of).sum::<u64>();
    println!("{} runs, {} starts, {} crashes, {} stops, {} turns, {} ms simulated",
        seen.len(), sum(|s| u64::from(s.starts)), sum(|s| u64::from(s.crashes)), sum(|s| u64::from(s.stops)), sum(|s| s.turns), sum(|s| s.elapsed.as_millis() as u64));
}
