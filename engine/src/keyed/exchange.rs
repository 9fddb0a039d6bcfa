//! The exchange of records between workers: each goes to the worker that owns its key group, in batches.
//!
//! The unit on the wire is a [`Routed`] batch, not a record: timely counts and moves one item per
//! (batch, receiver), and the receiver learns the sender, which flow control needs.

use std::rc::Rc;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tidemill_state::{Key, hash_key};
use timely::dataflow::Stream as TimelyStream;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::progress::operate::FrontierInterest;

use crate::graph::Stream;
use crate::metrics::OperatorMetrics;
use crate::record::{Data, Record};
use crate::time::Moment;

/// A batch of records on the way from one worker to another.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Routed<D> {
    pub(crate) target: u32,
    pub(crate) from: u32,
    pub(crate) records: Vec<Record<D>>,
}

/// Sends each record towards the worker that owns the key group of its key. The time this takes is counted as busy
/// time of the operator that receives the records, whose `metrics` these are.
pub(crate) fn route<'s, K: Key, D: Data>(
    input: Stream<'s, D>,
    key_of: &Rc<dyn Fn(&D) -> K>,
    metrics: Arc<OperatorMetrics>,
) -> TimelyStream<'s, Moment, Vec<Routed<D>>> {
    let Stream { flow, inner } = input;
    let context = Rc::clone(flow.context());
    let key_groups = context.worker_state.borrow().key_groups();
    let key_of = Rc::clone(key_of);
    let (workers, from) = (context.workers, context.worker as u32);

    let mut builder = OperatorBuilder::new("route".to_owned(), flow.scope());
    let mut input = builder.new_input(inner, Pipeline);
    builder.set_notify_for(0, FrontierInterest::Never);
    let (mut output, stream) = builder.new_output::<Vec<Routed<D>>>();
    builder.build(move |_| {
        let mut targets: Vec<Vec<Record<D>>> = (0..workers).map(|_| Vec::new()).collect();
        let mut routed = Vec::new();
        move |_| {
            let _busy = metrics.busy();
            let mut session = output.activate();
            input.for_each(|capability, records| {
                context.process.budget.charge(records.len());
                if workers == 1 {
                    routed.push(Routed { target: 0, from, records: std::mem::take(records) });
                } else {
                    for record in records.drain(..) {
                        let group = key_groups.of_hash(hash_key(&key_of(&record.data)));
                        targets[key_groups.worker_of(group, workers)].push(record);
                    }
                    let full = targets.iter_mut().enumerate().filter(|(_, records)| !records.is_empty());
                    routed.extend(full.map(|(target, records)| {
                        // The next batch is likely as large: the new vector is allocated once.
                        let next = Vec::with_capacity(records.len());
                        Routed { target: target as u32, from, records: std::mem::replace(records, next) }
                    }));
                }
                session.give(&capability, &mut routed);
                routed.clear();
            });
        }
    });
    stream
}
