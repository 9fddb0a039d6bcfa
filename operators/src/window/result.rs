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
    /// The window. The event time of the result is the last millisecond of the window; for windows of processing time
    /// it is the watermark.
    pub window: Window,
    /// The reason why the window emitted this result.
    pub firing: Firing,
    /// The result of the aggregate.
    pub value: T,
}

/// The context in which window logic runs.
pub(super) type WindowContext<'a, K, A> = Context<'a, K, Windowed<K, <A as Aggregate>::Out>, <A as Aggregate>::In>;

/// Emits the result of a window, at the last moment of the window; for windows of processing time, at the watermark.
pub(super) fn emit<K: Key + Data, T: Data, D>(
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
