//! The ids of traces and spans, and the span that the calling thread is in.

use std::cell::Cell;
use std::fmt;

/// A span of a trace, as W3C Trace Context names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Context {
    pub(crate) trace: u128,
    pub(crate) span: u64,
}

impl Context {
    /// Returns the root of the trace of an epoch. It is the same in all processes of a run.
    pub(crate) fn of_epoch(run: u64, epoch: u64) -> Self {
        let part = |part: u64| mixed(mixed(run).wrapping_add(epoch.wrapping_mul(4)).wrapping_add(part));
        let [high, low, span] = [1, 2, 3].map(part);
        Self { trace: u128::from(high) << 64 | u128::from(low.max(1)), span: span.max(1) }
    }

    /// Returns another span of the same trace. `number` is one that no other span of the process has, and `seed` is one
    /// that no other process has.
    pub(crate) fn child(self, seed: u64, number: u64) -> Self {
        // The seed of the process that leads is the run: its children must not be the roots of epochs.
        Self { span: mixed(mixed(!seed).wrapping_add(number)).max(1), ..self }
    }

    /// Returns whether the trace is among the share of all traces that are recorded, as OpenTelemetry's
    /// `TraceIdRatioBased` decides it.
    pub(crate) fn is_within(self, share: f64) -> bool {
        let low = (self.trace as u64) >> 1;
        share >= 1.0 || (low as f64) < share * (1_u64 << 63) as f64
    }
}

/// The header `traceparent`.
impl fmt::Display for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{:032x}-{:016x}-01", self.trace, self.span)
    }
}

/// Spreads the bits of `n` over all 64: the finalizer of SplitMix64 (Steele, Lea, Flood 2014).
fn mixed(n: u64) -> u64 {
    let n = n.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let n = (n ^ (n >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let n = (n ^ (n >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    n ^ (n >> 31)
}

thread_local! {
    static CURRENT: Cell<Option<Context>> = const { Cell::new(None) };
}

/// Returns the call that the calling thread makes, if it is recorded.
pub(crate) fn current() -> Option<Context> {
    CURRENT.get()
}

/// Sets the call that the calling thread makes. Returns the one before.
pub(crate) fn set_current(context: Option<Context>) -> Option<Context> {
    CURRENT.replace(context)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn ids_are_the_same_everywhere_and_differ_from_each_other() {
        assert_eq!(Context::of_epoch(7, 3), Context::of_epoch(7, 3));
        let roots = (0..50).flat_map(|run| (0..50).map(move |epoch| Context::of_epoch(run, epoch)));
        let (traces, spans): (BTreeSet<u128>, BTreeSet<u64>) = roots.map(|root| (root.trace, root.span)).unzip();
        assert_eq!((traces.len(), spans.len()), (2500, 2500));
        let root = Context::of_epoch(1, 1);
        let children: BTreeSet<u64> =
            (0..50).flat_map(|seed| (0..50).map(move |n| root.child(seed, n).span)).chain([root.span]).collect();
        assert_eq!(children.len(), 2501);
    }

    #[test]
    fn the_header_has_the_form_of_w3c() {
        let header = Context { trace: 0xabc, span: 0x1f }.to_string();
        assert_eq!(header, "00-00000000000000000000000000000abc-000000000000001f-01");
    }

    #[test]
    fn a_share_of_the_traces_is_within() {
        let within = |share: f64| (0..1000).filter(|epoch| Context::of_epoch(9, *epoch).is_within(share)).count();
        assert_eq!((within(0.0), within(1.0)), (0, 1000));
        assert!((200..300).contains(&within(0.25)), "{}", within(0.25));
    }
}
