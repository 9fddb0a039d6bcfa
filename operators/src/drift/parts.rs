//! What each worker counts of a version: windows of rows that it scored itself.
//!
//! A part gives its window at the end of it. If rows of the window still come after a restore, to a part that has given
//! it already, that part gives what they add: all parts are added up anyway.

use std::collections::BTreeMap;
use std::sync::Arc;

use tidemill_engine::shell::{Context, KeyedLogic, LogicError, MapState, States};
use tidemill_engine::{EventTime, JobError, Record};

use super::collect::{Rows, Seen};
use crate::window::{Cut, Window};

/// A version, and the number of the part.
pub(super) type Part = (String, u32);

pub(super) struct PartLogic {
    cut: Cut,
    open: MapState<Part, Window, Seen>,
}

impl PartLogic {
    pub(super) fn open(states: &mut States<'_, Part>, cut: Cut, features: &[&str]) -> Result<Self, JobError> {
        let parameters = format!("{} of features {}", cut.parameters(), features.join(", "));
        Ok(Self { cut, open: states.with_parameters(parameters).map("windows")? })
    }
}

impl KeyedLogic for PartLogic {
    type Key = Part;
    type In = Rows;
    type Out = (String, Arc<Seen>);
    type Side = ();
    /// After a restore, records may go to another part than before. The worker of that part may have been ahead of the
    /// one that did not count them yet: they are late only if they are late for all.
    const COMES_AGAIN: bool = true;

    fn on_record(
        &mut self,
        ctx: &mut Context<'_, Part, (String, Arc<Seen>), ()>,
        rows: Record<Rows>,
    ) -> Result<(), LogicError> {
        let window = window_of(self.cut, rows.event_time);
        if window.end <= ctx.watermark() {
            return Ok(());
        }
        let opens = self.open.update(ctx, BTreeMap::new, |open| {
            let opens = !open.contains_key(&window);
            open.entry(window).or_default().add(&rows.data);
            opens
        })?;
        if opens {
            ctx.set_timer(window.end);
        }
        Ok(())
    }

    fn on_timer(
        &mut self,
        ctx: &mut Context<'_, Part, (String, Arc<Seen>), ()>,
        at: EventTime,
    ) -> Result<(), LogicError> {
        let (over, is_last) = self.open.update(ctx, BTreeMap::new, |open| {
            let mut over = Vec::new();
            while let Some(first) = open.first_entry().filter(|first| first.key().end <= at) {
                over.push(first.remove_entry());
            }
            (over, open.is_empty())
        })?;
        if is_last {
            self.open.remove(ctx)?;
        }
        for (window, mut seen) in over {
            seen.settle();
            ctx.emit_at(window.end.plus_ms(-1), (ctx.key().0.clone(), Arc::new(seen)));
        }
        Ok(())
    }
}

/// Returns the window of a time.
pub(super) fn window_of(cut: Cut, time: EventTime) -> Window {
    let mut window = Window::ALL;
    cut.assign(time, |found| window = found);
    window
}
