//! Pieces of the exchange by key. Copying a record, as each round sends the same ones, is part of what is measured.

use std::hint::black_box;

use tidemill::stream::{Arrival, Record};
use tidemill::testing::Exchange;
use tidemill::time::EventTime;

use crate::records::{Reading, readings};
use crate::{BATCH, Failure, RECORDS, Round};
use compact_str::CompactString;

const WORKERS: usize = 2;

type Received<'a> = &'a mut dyn FnMut(usize, Vec<Record<Reading>>);

/// Returns rounds that send readings by machine.
fn rounds(send: impl Fn(&mut Exchange<CompactString, Reading>, Vec<Record<Reading>>, Received<'_>) + 'static) -> Round {
    let record = |data: Reading| Record { event_time: EventTime(data.ts), arrival: Arrival(0), data };
    let records: Vec<Record<Reading>> = readings(RECORDS).into_iter().map(record).collect();
    let mut exchange = Exchange::new(WORKERS, |reading: &Reading| reading.machine_id.clone());
    Box::new(move || {
        for batch in records.chunks(BATCH) {
            send(&mut exchange, batch.to_vec(), &mut |worker, records| {
                black_box((worker, records));
            });
        }
        Ok(())
    })
}

/// Sends records between the workers of a process.
pub fn within_process() -> Result<Round, Failure> {
    Ok(rounds(Exchange::within_process))
}

/// Sends records between the workers of two processes, but for the socket.
pub fn between_processes() -> Result<Round, Failure> {
    Ok(rounds(Exchange::between_processes))
}
