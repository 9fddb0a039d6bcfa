//! The result of a window, and how it is emitted.

use serde::{Deserialize, Serialize};
use tidemill_engine::Data;
use tidemill_engine::shell::Context;
use tidemill_state::Key;

use super::aggregate::Aggregate;
use super::span::Window;
use super::spec::{Firing, TimeDomain};

/// The result of one window of one key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Windowed<K, T> {
    /// The key.
    pub key: K,
    /// The window. Its result has the event time of its last millisecond; by processing time, that of the watermark.
    pub window: Window,
    /// Why it was told.
    pub firing: Firing,
    /// The aggregate.
    pub value: T,
}

/// What window logic sees of the world.
pub(super) type WindowContext<'a, K, A> = Context<'a, K, Windowed<K, <A as Aggregate>::Out>, <A as Aggregate>::In>;

/// Emits the result of a window, at its last moment; by processing time, at the watermark.
pub(super) fn tell<K: Key + Data, T: Data, D>(
    ctx: &mut Context<'_, K, Windowed<K, T>, D>,
    clock: TimeDomain,
    window: Window,
    firing: Firing,
    value: T,
) {
    let at = match clock {
        TimeDomain::Event => window.end.plus_ms(-1),
        TimeDomain::Processing => ctx.watermark(),
    };
    let key = ctx.key().clone();
    ctx.emit_at(at, Windowed { key, window, firing, value });
}
