//! Logic of one's own, with state and timers: which machines have fallen silent, and which are back.
//!
//! Every machine reports once in ten seconds, and thirty seconds after each report a timer fires. State and timers are
//! part of every checkpoint. How to test such logic without a job: `docs/operators/testing.md`.
//!
//! ```text
//! $ cargo run --release --no-default-features --example process
//! at 80 s: pump is silent, its last report was at 50 s
//! at 120 s: pump is back, its last report was at 50 s
//! at 190 s: press is silent, its last report was at 160 s
//! at 230 s: pump is silent, its last report was at 200 s
//! ```
//! The last line is due to the end of the input: event time ends with it, so all timers fire.

use serde::{Deserialize, Serialize};
use tidemill::prelude::*;

const PATIENCE: std::time::Duration = secs(30);

/// The state of one machine.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Machine {
    last_report: EventTime,
    silent: bool,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct News {
    machine: String,
    silent: bool,
    since: EventTime,
}

struct Watch(ValueState<String, Machine>);

type Ctx<'a> = Context<'a, String, News, ()>;

impl KeyedLogic for Watch {
    type Key = String;
    type In = String; // a report is the name of the machine
    type Out = News;
    type Side = ();

    fn on_record(&mut self, ctx: &mut Ctx<'_>, report: Record<String>) -> Result<(), LogicError> {
        if let Some(Machine { last_report: since, silent: true }) = self.0.get(ctx)? {
            ctx.emit(News { machine: report.data, silent: false, since });
        }
        self.0.put(ctx, Machine { last_report: report.event_time, silent: false })?;
        ctx.set_timer(report.event_time + PATIENCE);
        Ok(())
    }

    fn on_timer(&mut self, ctx: &mut Ctx<'_>, at: EventTime) -> Result<(), LogicError> {
        let Some(Machine { last_report, .. }) = self.0.get(ctx)? else { return Ok(()) };
        // The timers of earlier reports fire, too; the machine has reported since.
        if last_report + PATIENCE == at {
            self.0.put(ctx, Machine { last_report, silent: true })?;
            ctx.emit(News { machine: ctx.key().clone(), silent: true, since: last_report });
        }
        Ok(())
    }
}

fn main() -> Result<(), JobError> {
    let press = (0..=160).step_by(10).map(|second| (secs(second), "press"));
    let pump = (0..=50).step_by(10).chain((120..=200).step_by(10)).map(|second| (secs(second), "pump"));
    let mut reports: Vec<_> = press.chain(pump).map(|(at, name)| (EventTime(0) + at, name.to_owned())).collect();
    reports.sort();
    let reports = vec_source(reports);
    Job::new("watch", JobSettings::default()).run(move |flow| {
        let machines = flow.source("reports", &reports)?.key_by(|machine| machine.clone());
        let news = machines.process("watch", Order::EventTime, |states| Ok(Watch(states.value("machines")?)))?.results;
        news.for_each("print", |record| {
            let (at, News { machine, silent, since }) = (record.event_time.0 / 1_000, &record.data);
            let now = if *silent { "silent" } else { "back" };
            println!("at {at} s: {machine} is {now}, its last report was at {} s", since.0 / 1_000);
        })
    })?;
    Ok(())
}
