//! The exchange of records between workers: each goes to the worker that owns its key group, in batches.
//!
//! The unit on the wire is a packet, not a record: timely counts and moves one item per (batch, receiver), and the
//! receiver learns the sender, which flow control needs.

use std::rc::Rc;

use tidemill_state::{Key, hash_key};

use crate::error::{ErrorKind, JobError};
use crate::graph::Split;
use crate::packet::Packet;
use crate::record::{Data, Record};
use crate::worker::Shared;

/// Returns the function that sends each record to the worker that owns the key group of its key, where `operator`
/// receives it.
pub(super) fn by_key<K: Key, D: Data>(operator: &str, key_of: &Rc<dyn Fn(&D) -> K>, context: &Shared) -> Split {
    let key_groups = context.worker_state.borrow().key_groups();
    let (operator, key_of, context) = (operator.to_owned(), Rc::clone(key_of), Rc::clone(context));
    let workers = context.workers;
    let mut targets: Vec<Vec<Record<D>>> = (0..workers).map(|_| Vec::new()).collect();
    deliver(
        operator.clone(),
        Rc::clone(&context),
        Box::new(move |packet, send| {
            let Some(records) = context.guard(packet.open::<D>(&operator)) else { return };
            for record in records {
                let group = key_groups.of_hash(hash_key(&key_of(&record.data)));
                targets[key_groups.worker_of(group, workers)].push(record);
            }
            for (worker, records) in targets.iter_mut().enumerate() {
                // The next batch is likely as large: the new vector is allocated once.
                let next = Vec::with_capacity(records.len());
                send(worker, Packet::of(std::mem::replace(records, next)));
            }
        }),
    )
}

/// Wraps `split`, whose parts are charged to the budget and encoded if they leave the process.
fn deliver(operator: String, context: Shared, mut split: Split) -> Split {
    Box::new(move |packet, send| {
        split(packet, &mut |worker, mut part| {
            if part.len() == 0 {
                return;
            }
            part.from = context.worker as u32;
            context.process.budget.charge(part.len());
            if context.process_of(worker) != context.process_of(context.worker)
                && let Err(reason) = part.encode()
            {
                let reason = format!("records cannot be sent to another process: {reason}");
                context.guard::<()>(Err(JobError::operator(&operator, ErrorKind::Invalid, reason)));
                return;
            }
            send(worker, part);
        });
    })
}
