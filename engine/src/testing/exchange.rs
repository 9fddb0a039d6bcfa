//! The exchange of records between workers, without workers: what a benchmark measures.

use std::rc::Rc;

use tidemill_state::{DEFAULT_KEY_GROUPS, Key, KeyGroups};
use timely::bytes::arc::BytesMut;
use timely::dataflow::channels::ContainerBytes;

use super::must::must;
use crate::error::JobError;
use crate::keyed::ByKey;
use crate::packet::Packet;
use crate::record::{Data, Record};

/// The two ends of an exchange by key.
pub struct Exchange<K, D>(ByKey<K, D>);

impl<K: Key, D: Data> Exchange<K, D> {
    const NAME: &'static str = "exchange";

    /// Makes an exchange between this many workers.
    pub fn new(workers: usize, key: impl Fn(&D) -> K + 'static) -> Self {
        Self(ByKey::new(Rc::new(key), KeyGroups::new(DEFAULT_KEY_GROUPS), workers))
    }

    /// Calls `receive` with the records for each worker, as workers of one process get them.
    ///
    /// # Panics
    /// Never: the records are of the type that was sent.
    pub fn within_process(&mut self, records: Vec<Record<D>>, receive: &mut dyn FnMut(usize, Vec<Record<D>>)) {
        self.0.split(records, &mut |worker, packet| receive(worker, must(packet.open(Self::NAME))));
    }

    /// Calls `receive` with the records for each worker, as workers of other processes get them: encoded, copied to
    /// and from what a socket carries, and decoded.
    ///
    /// # Panics
    /// When the type of the records refuses to be serialised, or serialises to what it does not accept.
    pub fn between_processes(&mut self, records: Vec<Record<D>>, receive: &mut dyn FnMut(usize, Vec<Record<D>>)) {
        self.0.split(records, &mut |worker, mut packet| {
            must(packet.encode().map_err(JobError::setup));
            let mut bytes = Vec::with_capacity(packet.length_in_bytes());
            packet.into_bytes(&mut bytes);
            let length = bytes.len();
            let received = Packet::from_bytes(BytesMut::from(bytes).extract_to(length));
            receive(worker, must(received.open(Self::NAME)));
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Arrival;
    use crate::time::EventTime;

    #[test]
    fn each_record_comes_to_one_worker_that_has_all_of_its_key_whichever_way() {
        let record = |data: u64| Record { event_time: EventTime(1), arrival: Arrival(2), data };
        let records: Vec<Record<u64>> = (0..1_000).map(record).collect();
        let mut exchange = Exchange::new(3, |data: &u64| data % 10);
        let mut here: Vec<Vec<Record<u64>>> = vec![Vec::new(); 3];
        exchange.within_process(records.clone(), &mut |worker, records| here[worker].extend(records));
        let mut there: Vec<Vec<Record<u64>>> = vec![Vec::new(); 3];
        exchange.between_processes(records.clone(), &mut |worker, records| there[worker].extend(records));
        assert_eq!(here, there);
        for key in 0..10 {
            let of_key = |records: &Vec<Record<u64>>| records.iter().filter(|record| record.data % 10 == key).count();
            let counts: Vec<usize> = here.iter().map(of_key).filter(|count| *count > 0).collect();
            assert_eq!(counts, [100], "key {key}");
        }
    }
}
