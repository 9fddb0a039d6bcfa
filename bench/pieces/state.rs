//! Pieces of the state: keys, pending records, values, deltas.

use std::cell::RefCell;
use std::rc::Rc;

use compact_str::{CompactString, format_compact};
use serde::{Deserialize, Serialize};
use tidemill::prelude::JobError;
use tidemill_state::{
    DEFAULT_KEY_GROUPS, Delta, HashOf, KeyGroups, MemoryStore, OrderBuffer, StateName, StateSpec, ValueTable,
    WorkerState, WorkerStateConfig, hash_key, hash_value,
};

use crate::{Numbers, Round};

/// Number of records of a round.
pub const RECORDS: u64 = 4_000;
const OPERATOR: &str = "piece";

/// A transaction, as it waits for the watermark.
#[derive(Clone, Serialize, Deserialize)]
struct Transaction {
    tx_id: u64,
    card_id: CompactString,
    merchant_id: CompactString,
    amount: f64,
    ts: i64,
}

fn transactions() -> Vec<Transaction> {
    let mut numbers = Numbers(1);
    let transaction = |tx_id| Transaction {
        tx_id,
        card_id: format_compact!("c{:06}", numbers.next(1_000)),
        merchant_id: format_compact!("m{:04}", numbers.next(5_000)),
        amount: numbers.next(100_000) as f64 / 100.0,
        // A second of transactions, a tenth of it out of order.
        ts: (tx_id * 1_000 / RECORDS) as i64 - numbers.next(100) as i64,
    };
    (0..RECORDS).map(transaction).collect()
}

fn key_groups() -> KeyGroups {
    KeyGroups::new(DEFAULT_KEY_GROUPS)
}

fn spec(state: &str) -> StateSpec {
    let name = StateName { operator: OPERATOR.to_owned(), state: state.to_owned() };
    StateSpec { name, version: 1, ttl: None, parameters: None }
}

/// The state of a worker whose epochs are written to a store.
fn worker() -> Result<WorkerState, JobError> {
    let config = WorkerStateConfig {
        dir: None,
        key_groups: key_groups(),
        worker: 0,
        workers: 1,
        memory_limit_bytes: None,
        durable: true,
    };
    Ok(WorkerState::open(config, None)?)
}

/// Hashes the keys of records and finds the workers that own them.
pub fn keys() -> Result<Round, JobError> {
    let (transactions, groups) = (transactions(), key_groups());
    Ok(Box::new(move || {
        let workers = transactions.iter().map(|transaction| {
            let hash = hash_key(&transaction.card_id);
            groups.worker_of(groups.of_hash(hash), 2)
        });
        std::hint::black_box(workers.sum::<usize>());
        Ok(())
    }))
}

/// Puts records that come out of order into the order of their times.
pub fn pending() -> Result<Round, JobError> {
    let mut worker = worker()?;
    let hash_of: HashOf<Transaction> = Box::new(|transaction| hash_key(&transaction.card_id));
    let buffer: Rc<RefCell<OrderBuffer<Transaction>>> = worker.order_buffer(spec("pending"), hash_of)?;
    let (transactions, mut start) = (transactions(), 0);
    Ok(Box::new(move || {
        let _ = &worker;
        let mut buffer = buffer.borrow_mut();
        start += 1_000;
        // The watermark moves on with each batch of the size that timely dataflow exchanges.
        for batch in transactions.chunks(512) {
            for transaction in batch {
                buffer.push(start + transaction.ts, transaction.tx_id, transaction.clone());
            }
            let newest = batch.last().map_or(0, |transaction| transaction.ts);
            buffer.release_before(start + newest - 100);
            while let Some((time, hash, transaction)) = buffer.next_due() {
                std::hint::black_box((time, hash, transaction));
            }
        }
        Ok(())
    }))
}

/// Encodes values.
pub fn values() -> Result<Round, JobError> {
    let (transactions, mut bytes) = (transactions(), Vec::new());
    Ok(Box::new(move || {
        for transaction in &transactions {
            let hash = hash_value(transaction, &mut bytes).map_err(JobError::setup)?;
            std::hint::black_box(hash);
        }
        Ok(())
    }))
}

/// Changes values by key, seals the epoch, and writes its delta to a store in memory.
pub fn deltas() -> Result<Round, JobError> {
    let mut worker = worker()?;
    let table: Rc<RefCell<ValueTable<CompactString, Transaction>>> = worker.value_table(spec("value"))?;
    let mut states = worker.operator(OPERATOR);
    let (transactions, mut epoch) = (transactions(), 0);
    Ok(Box::new(move || {
        let _ = &worker;
        epoch += 1;
        for transaction in &transactions {
            let hash = hash_key(&transaction.card_id);
            let mut table = table.borrow_mut();
            table.get_or_insert_with(hash, &transaction.card_id, || transaction.clone())?.amount += 1.0;
        }
        let mut delta = Delta::new(epoch, 0);
        states.begin_seal(epoch, 0, 0)?;
        states.seal_on(usize::MAX, &mut delta)?;
        std::hint::black_box(delta.store(&MemoryStore::default(), 0)?);
        Ok(())
    }))
}
