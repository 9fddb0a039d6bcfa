//! The bodies of an epoch's requests, as a writer makes them of records.

use std::num::TryFromIntError;

use super::requests;
use super::settings::Format;

/// The requests of an epoch, the last of which may take more records.
#[derive(Debug)]
pub(super) struct Batcher {
    format: Format,
    max_bytes: usize,
    body: Vec<u8>,
    records: usize,
    requests: Vec<u8>,
}

impl Batcher {
    pub(super) fn new(format: Format, max_bytes: usize) -> Self {
        Self { format, max_bytes, body: Vec::new(), records: 0, requests: Vec::new() }
    }

    /// Adds a record, as JSON. One that is larger than a body may be is a request of its own.
    pub(super) fn push(&mut self, json: &[u8]) -> Result<(), TryFromIntError> {
        // A bracket, a comma or a line break for each, and a bracket at the end.
        if self.records > 0 && self.body.len() + json.len() + 2 > self.max_bytes {
            self.close()?;
        }
        match (self.format, self.records) {
            (Format::Array(_), 0) => self.body.push(b'['),
            (Format::Array(_), _) => self.body.push(b','),
            _ => {}
        }
        self.body.extend(json);
        if matches!(self.format, Format::Lines(_)) {
            self.body.push(b'\n');
        }
        self.records += 1;
        if self.records == self.format.max_records() { self.close() } else { Ok(()) }
    }

    fn close(&mut self) -> Result<(), TryFromIntError> {
        if self.records == 0 {
            return Ok(());
        }
        if matches!(self.format, Format::Array(_)) {
            self.body.push(b']');
        }
        requests::push(self.records, &self.body, &mut self.requests)?;
        self.body.clear();
        self.records = 0;
        Ok(())
    }

    /// Returns all requests, and has none any more.
    pub(super) fn take(&mut self) -> Result<Vec<u8>, TryFromIntError> {
        self.close()?;
        Ok(std::mem::take(&mut self.requests))
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;

    use super::*;

    fn bodies(format: Format, max_bytes: usize, records: &[&str]) -> Vec<(usize, String)> {
        let mut batcher = Batcher::new(format, max_bytes);
        records.iter().for_each(|record| batcher.push(record.as_bytes()).unwrap());
        let bytes = batcher.take().unwrap();
        assert_eq!(batcher.take().unwrap(), b"");
        let body = |r: requests::Request| (r.records, String::from_utf8(bytes[r.body].to_vec()).unwrap());
        requests::all(&bytes).unwrap().into_iter().map(body).collect()
    }

    #[test]
    fn records_fill_bodies_up_to_both_limits() {
        let two = NonZeroUsize::new(2).unwrap();
        let of = |pairs: &[(usize, &str)]| pairs.iter().map(|(n, body)| (*n, (*body).to_owned())).collect::<Vec<_>>();
        let records = ["1", "22", "333"];
        assert_eq!(bodies(Format::One, 1, &records), of(&[(1, "1"), (1, "22"), (1, "333")]));
        assert_eq!(bodies(Format::Array(two), 99, &records), of(&[(2, "[1,22]"), (1, "[333]")]));
        assert_eq!(bodies(Format::Lines(two), 99, &records), of(&[(2, "1\n22\n"), (1, "333\n")]));
        let many = NonZeroUsize::new(100).unwrap();
        assert_eq!(bodies(Format::Array(many), 6, &records), of(&[(2, "[1,22]"), (1, "[333]")]));
        assert_eq!(bodies(Format::Array(many), 5, &records), of(&[(1, "[1]"), (1, "[22]"), (1, "[333]")]));
        assert_eq!(bodies(Format::Array(many), 1, &["55555"]), of(&[(1, "[55555]")]));
        assert_eq!(bodies(Format::Array(many), 99, &[]), []);
    }
}
