//! The riskiest terminals: a table of what is known of each, and a view that keeps the ten with the most frauds.
//!
//! ```text
//! charge-backs of frauds ─▶ by terminal: known in the last 30 days ─▶ table ─▶ top ten ─▶ the list, each time it changes
//! ```

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tidemill::prelude::*;

use crate::features::ChargeBack;

/// Number of listed terminals.
const LISTED: usize = 10;
/// Time for which a fraud counts, from the moment it is known.
const COUNTED: Duration = days(30);

/// A terminal with frauds.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Risky {
    pub terminal_id: u64,
    /// Number of frauds that became known in the last 30 days.
    pub frauds: u64,
    /// Time when the last fraud became known, ms since the Unix epoch.
    pub last_known_at: i64,
}

/// A line of the output: the list as it is from then on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Riskiest {
    pub terminals: Vec<Risky>,
}

/// Returns the list after each of its changes.
pub fn riskiest<'s>(charge_backs: Stream<'s, ChargeBack>) -> Result<Stream<'s, Riskiest>, JobError> {
    let frauds = charge_backs
        .filter(|charge_back| charge_back.is_fraud != 0)
        .key_by(|charge_back| charge_back.terminal_id)
        .process("terminal-frauds", Order::EventTime, Frauds::open)?;
    let terminals = frauds.results.table("terminals", Changelog::new(|upsert| upsert))?.results;
    let list = terminals.map(|_, terminal| ((), terminal)).top_n(LISTED, |terminal| terminal.frauds);
    Ok(list.upserts("top-terminals")?.map(|list| Riskiest { terminals: list.row.unwrap_or_default() }))
}

/// Counts the known frauds of each terminal, until they are too old.
struct Frauds {
    known: Rolling<u64>,
}

impl Frauds {
    fn open(states: &mut States<'_, u64>) -> Result<Self, JobError> {
        Ok(Self { known: Rolling::open(states, "known", &[COUNTED])? })
    }
}

type Ctx<'a> = Context<'a, u64, Upsert<u64, Risky>, ()>;

impl KeyedLogic for Frauds {
    type Key = u64;
    type In = ChargeBack;
    type Out = Upsert<u64, Risky>;
    type Side = ();

    fn on_record(&mut self, ctx: &mut Ctx<'_>, record: Record<ChargeBack>) -> Result<(), LogicError> {
        let EventTime(last_known_at) = record.event_time;
        let frauds = self.known.add(ctx, 1.0, |rolled| rolled.windows[0].count)?;
        let terminal_id = *ctx.key();
        ctx.emit(Upsert::put(terminal_id, Risky { terminal_id, frauds, last_known_at }));
        ctx.set_timer(record.event_time + COUNTED);
        Ok(())
    }

    fn on_timer(&mut self, ctx: &mut Ctx<'_>, _: EventTime) -> Result<(), LogicError> {
        let (frauds, last) = self.known.read(ctx, |rolled| (rolled.windows[0].count, rolled.previous))?;
        let terminal_id = *ctx.key();
        let last_known_at = last.map_or(0, |last| last.0);
        ctx.emit(if frauds == 0 {
            Upsert::delete(terminal_id)
        } else {
            Upsert::put(terminal_id, Risky { terminal_id, frauds, last_known_at })
        });
        Ok(())
    }
}
