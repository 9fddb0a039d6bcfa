//! Rows that are taken one after the other, while those of another checkpoint are taken, too.

use std::collections::VecDeque;

use super::rows::WorkerRows;
use crate::error::StateError;

/// A row as it is stored: its key and its value.
pub(super) type StoredRow = (Vec<u8>, Vec<u8>);

/// Number of bytes that are read ahead of one worker's rows. A row may be longer.
const AHEAD: usize = 1 << 20;

/// The rows of one state, over some workers, in the order of their keys.
pub(super) struct Cursor<'r> {
    workers: Vec<OfWorker<'r>>,
}

struct OfWorker<'r> {
    rows: &'r WorkerRows,
    state: &'r str,
    ahead: VecDeque<StoredRow>,
    /// The key from which the rows after those in `ahead` are read; `None` if there are none.
    from: Option<Vec<u8>>,
}

impl<'r> Cursor<'r> {
    pub(super) fn new(workers: &'r [WorkerRows], state: &'r str) -> Self {
        let of = |rows| OfWorker { rows, state, ahead: VecDeque::new(), from: Some(Vec::new()) };
        Self { workers: workers.iter().map(of).collect() }
    }

    /// Returns the key of the next row.
    pub(super) fn peek(&mut self) -> Result<Option<&[u8]>, StateError> {
        Ok(self.first()?.and_then(|at| self.workers.get(at)).and_then(OfWorker::key))
    }

    /// Takes the next row.
    pub(super) fn next(&mut self) -> Result<Option<StoredRow>, StateError> {
        Ok(self.first()?.and_then(|at| self.workers.get_mut(at)).and_then(|worker| worker.ahead.pop_front()))
    }

    /// Returns which worker has the next row.
    fn first(&mut self) -> Result<Option<usize>, StateError> {
        self.workers.iter_mut().try_for_each(OfWorker::fill)?;
        let heads = self.workers.iter().enumerate().filter_map(|(at, worker)| Some((worker.key()?, at)));
        Ok(heads.min().map(|(_, at)| at))
    }
}

impl OfWorker<'_> {
    fn key(&self) -> Option<&[u8]> {
        self.ahead.front().map(|(key, _)| key.as_slice())
    }

    /// Reads rows ahead, if none are left and there are more.
    fn fill(&mut self) -> Result<(), StateError> {
        if !self.ahead.is_empty() {
            return Ok(());
        }
        let Some(from) = self.from.take() else { return Ok(()) };
        let (ahead, mut bytes) = (&mut self.ahead, 0);
        self.rows.db.scan_from(self.state, &from, |key, value| {
            bytes += key.len() + value.len();
            ahead.push_back((key.to_vec(), value.to_vec()));
            Ok(bytes < AHEAD)
        })?;
        if bytes >= AHEAD {
            // The least key after the last one.
            self.from = self.ahead.back().map(|(key, _)| [key.as_slice(), &[0]].concat());
        }
        Ok(())
    }
}
