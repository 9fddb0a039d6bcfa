//! The exchange of records between workers: each goes to the worker that owns its key group, in batches.
//!
//! The unit on the wire is a packet, not a record: timely counts and moves one item per (batch, receiver), and the
//! receiver learns the sender, which flow control needs.

use std::rc::Rc;

use tidemill_state::{Key, KeyGroups, hash_key};

use crate::error::{ErrorKind, JobError};
use crate::graph::Split;
use crate::metrics::Gauge;
use crate::packet::Packet;
use crate::record::{Data, Record};
use crate::worker::Shared;

/// Returns the function that sends each record to the worker that owns the key group of its key, where `operator`
/// receives it. Records that stay in this process are in its `queue` from then on.
pub(super) fn by_key<K: Key, D: Data>(
    operator: &str,
    key_of: &Rc<dyn Fn(&D) -> K>,
    context: &Shared,
    queue: Gauge,
) -> Split {
    let key_groups = context.worker_state.borrow().key_groups();
    let mut by_key = ByKey::new(Rc::clone(key_of), key_groups, context.workers);
    let (operator, context) = (operator.to_owned(), Rc::clone(context));
    deliver(
        operator.clone(),
        Rc::clone(&context),
        queue,
        Box::new(move |packet, send| {
            if let Some(records) = context.guard(packet.open::<D>(&operator)) {
                by_key.split(records, send);
            }
        }),
    )
}

/// Splits batches by the workers that own the key groups of their records' keys.
pub(crate) struct ByKey<K, D> {
    key_of: Rc<dyn Fn(&D) -> K>,
    key_groups: KeyGroups,
    /// The records of the batch for each worker.
    targets: Vec<Vec<Record<D>>>,
}

impl<K: Key, D: Data> ByKey<K, D> {
    pub(crate) fn new(key_of: Rc<dyn Fn(&D) -> K>, key_groups: KeyGroups, workers: usize) -> Self {
        Self { key_of, key_groups, targets: (0..workers).map(|_| Vec::new()).collect() }
    }

    /// Passes on a packet for each worker, which may be empty.
    pub(crate) fn split(&mut self, records: Vec<Record<D>>, send: &mut dyn FnMut(usize, Packet)) {
        let workers = self.targets.len();
        for record in records {
            let group = self.key_groups.of_hash(hash_key(&(self.key_of)(&record.data)));
            self.targets[self.key_groups.worker_of(group, workers)].push(record);
        }
        for (worker, records) in self.targets.iter_mut().enumerate() {
            // The next batch is likely as large: the new vector is allocated once.
            let next = Vec::with_capacity(records.len());
            send(worker, Packet::of(std::mem::replace(records, next)));
        }
    }
}

/// Wraps `split`, whose parts are charged to the budget and encoded if they leave the process.
fn deliver(operator: String, context: Shared, queue: Gauge, mut split: Split) -> Split {
    Box::new(move |packet, send| {
        split(packet, &mut |worker, mut part| {
            if part.len() == 0 {
                return;
            }
            part.from = context.worker as u32;
            context.process.budget.charge(part.len());
            if context.is_of_this_process(worker) {
                queue.add(part.len() as i64);
            } else if let Err(reason) = part.encode() {
                let reason = format!("records cannot be sent to another process: {reason}");
                context.guard::<()>(Err(JobError::operator(&operator, ErrorKind::Invalid, reason)));
                return;
            }
            send(worker, part);
        });
    })
}
