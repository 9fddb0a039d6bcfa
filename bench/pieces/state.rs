//! Pieces of the state: keys, pending records, values, deltas.

use std::cell::RefCell;
use std::hint::black_box;
use std::rc::Rc;

use tidemill_state::{
    DEFAULT_KEY_GROUPS, Delta, HashOf, KeyGroups, MemoryStore, OrderBuffer, StateName, StateSpec, ValueTable,
    WorkerState, WorkerStateConfig, hash_key, hash_value,
};

use crate::records::{Transaction, readings, transactions};
use crate::{BATCH, Failure, Numbers, RECORDS, Round};

const OPERATOR: &str = "piece";
/// Event time of a round, in ms, and how far records are out of order.
const ROUND: i64 = 1_000;
const DISORDER: u64 = 100;

fn key_groups() -> KeyGroups {
    KeyGroups::new(DEFAULT_KEY_GROUPS)
}

fn spec(state: &str) -> StateSpec {
    let name = StateName { operator: OPERATOR.to_owned(), state: state.to_owned() };
    StateSpec { name, version: 1, ttl: None, parameters: None }
}

/// The state of a worker whose epochs are written to a store.
fn worker() -> Result<WorkerState, Failure> {
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
pub fn keys() -> Result<Round, Failure> {
    let (readings, groups) = (readings(RECORDS), key_groups());
    Ok(Box::new(move || {
        let workers = readings.iter().map(|reading| {
            let hash = hash_key(&reading.machine_id);
            groups.worker_of(groups.of_hash(hash), 2)
        });
        black_box(workers.sum::<usize>());
        Ok(())
    }))
}

/// Puts records that come out of order into the order of their times.
pub fn pending() -> Result<Round, Failure> {
    let mut worker = worker()?;
    let hash_of: HashOf<Transaction> = Box::new(|transaction| hash_key(&transaction.card_id));
    let buffer: Rc<RefCell<OrderBuffer<Transaction>>> = worker.order_buffer(spec("pending"), hash_of)?;
    let (mut transactions, mut numbers, mut start) = (transactions(RECORDS), Numbers(1), 0);
    for transaction in &mut transactions {
        let due = transaction.tx_id as i64 * ROUND / RECORDS as i64;
        transaction.ts = due - numbers.next(DISORDER) as i64;
    }
    Ok(Box::new(move || {
        let _ = &worker;
        let mut buffer = buffer.borrow_mut();
        start += ROUND;
        // The watermark moves on with each batch.
        for batch in transactions.chunks(BATCH) {
            for transaction in batch {
                buffer.push(start + transaction.ts, transaction.tx_id, transaction.clone());
            }
            let newest = batch.last().map_or(0, |transaction| transaction.ts);
            buffer.release_before(start + newest - DISORDER as i64);
            while let Some((time, hash, transaction)) = buffer.next_due() {
                black_box((time, hash, transaction));
            }
        }
        Ok(())
    }))
}

/// Encodes records as values are stored.
pub fn encode() -> Result<Round, Failure> {
    let (transactions, mut bytes) = (transactions(RECORDS), Vec::new());
    Ok(Box::new(move || {
        for transaction in &transactions {
            black_box(hash_value(transaction, &mut bytes)?);
        }
        Ok(())
    }))
}

/// Changes values by key, seals the epoch, and writes its delta to a store in memory.
pub fn deltas() -> Result<Round, Failure> {
    let mut worker = worker()?;
    let table: Rc<RefCell<ValueTable<u64, Transaction>>> = worker.value_table(spec("value"))?;
    let mut states = worker.operator(OPERATOR);
    let (transactions, mut epoch) = (transactions(RECORDS), 0);
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
        black_box(delta.store(&MemoryStore::default(), 0)?);
        Ok(())
    }))
}
