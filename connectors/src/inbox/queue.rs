//! The queue between the thread of a client and the reader on the worker, with the ledger of what is in it.

use std::collections::VecDeque;
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tidemill_engine::ConnectorError;
use tidemill_engine::source::Waker;

use super::ledger::{Delivery, Ledger};

/// What the thread of a client and the reader of a worker share of one session.
pub(crate) struct Inbox<I, M> {
    shared: Mutex<Shared<I, M>>,
    /// Maximum number of bytes of the messages in the queue. The client may exceed it by one message.
    max_bytes: usize,
    /// Wakes the reader.
    reader: Waker,
    /// Wakes the thread of the client: there is room, or something to acknowledge.
    client: Box<dyn Fn() + Send + Sync>,
}

struct Shared<I, M> {
    ledger: Ledger<I>,
    queue: VecDeque<(M, usize)>,
    bytes: usize,
    online: bool,
    /// Whether what waited at the server when the connection began has come, as far as that is known.
    settled: bool,
    failure: Option<ConnectorError>,
}

/// What [`Inbox::take`] returns.
pub(crate) enum Taken<M> {
    Message(M),
    /// Nothing is there. `nothing_waits`: as far as is known, neither at the server.
    Empty {
        nothing_waits: bool,
    },
}

impl<I: Copy + Eq + Hash, M> Inbox<I, M> {
    pub(crate) fn new(
        ledger: Ledger<I>,
        max_bytes: usize,
        reader: Waker,
        client: impl Fn() + Send + Sync + 'static,
    ) -> Self {
        let shared = Shared { ledger, queue: VecDeque::new(), bytes: 0, online: false, settled: false, failure: None };
        Self { shared: Mutex::new(shared), max_bytes, reader, client: Box::new(client) }
    }

    fn lock(&self) -> MutexGuard<'_, Shared<I, M>> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    // What the thread of the client calls.

    /// Calls a function on the ledger.
    pub(crate) fn with_ledger<R>(&self, act: impl FnOnce(&mut Ledger<I>) -> R) -> R {
        act(&mut self.lock().ledger)
    }

    /// Notes that a connection has begun.
    pub(crate) fn connected(&self, resumed: bool) {
        let mut shared = self.lock();
        shared.ledger.connected(resumed);
        (shared.online, shared.settled) = (true, false);
    }

    /// Notes that the server has answered to something that was asked after the connection had begun.
    pub(crate) fn settled(&self) {
        self.lock().settled = true;
    }

    /// Notes that the connection has ended.
    pub(crate) fn disconnected(&self) {
        let mut shared = self.lock();
        shared.ledger.disconnected();
        shared.online = false;
    }

    /// Puts a message of this size into the queue, unless it is known already. Returns whether it was put there.
    pub(crate) fn arrived(&self, delivery: Delivery<I>, message: M, size: usize) -> bool {
        let mut shared = self.lock();
        if !shared.ledger.arrived(delivery) {
            return false;
        }
        let was_empty = shared.queue.is_empty();
        shared.bytes += size;
        shared.queue.push_back((message, size));
        drop(shared);
        if was_empty {
            self.reader.wake();
        }
        true
    }

    /// Returns whether the client has to wait before it reads on.
    pub(crate) fn is_full(&self) -> bool {
        self.lock().bytes > self.max_bytes
    }

    /// Reports an error that stops the job, once what has arrived was read.
    pub(crate) fn fail(&self, error: ConnectorError) {
        self.lock().failure.get_or_insert(error);
        self.reader.wake();
    }

    // What the reader calls.

    /// Takes the next message, which counts as handed out.
    ///
    /// # Errors
    /// When the client has failed, and everything was taken.
    pub(crate) fn take(&self, limit: usize) -> Result<Taken<M>, ConnectorError> {
        let mut shared = self.lock();
        let Some((message, size)) = shared.queue.pop_front() else {
            if let Some(error) = shared.failure.take() {
                return Err(error);
            }
            let nothing_waits = shared.online && shared.settled && !shared.ledger.is_at(limit);
            return Ok(Taken::Empty { nothing_waits });
        };
        shared.ledger.hand_out();
        let was_full = shared.bytes > self.max_bytes;
        shared.bytes -= size;
        let is_full = shared.bytes > self.max_bytes;
        drop(shared);
        if was_full && !is_full {
            (self.client)();
        }
        Ok(Taken::Message(message))
    }

    /// Returns what a position needs: the number behind the last message that was handed out, and what of those is not known
    /// to be acknowledged.
    pub(crate) fn position(&self) -> (u64, Vec<(I, u64)>) {
        let shared = self.lock();
        (shared.ledger.handed_out(), shared.ledger.unacknowledged())
    }

    /// Has everything acknowledged that was handed out before number `end`.
    pub(crate) fn commit(&self, end: u64) {
        self.lock().ledger.commit(end);
        (self.client)();
    }

    /// Returns the number of messages in the queue.
    pub(crate) fn len(&self) -> usize {
        self.lock().queue.len()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tidemill_engine::ErrorKind;

    use super::*;

    #[test]
    fn the_client_waits_while_the_queue_has_too_many_bytes_and_is_woken_when_there_is_room() {
        let woken = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&woken);
        let wake = move || {
            count.fetch_add(1, Ordering::Relaxed);
        };
        let inbox: Inbox<u16, &str> = Inbox::new(Ledger::restored([]), 10, Waker::default(), wake);
        inbox.connected(false);
        for (id, text) in [(1, "one"), (2, "two"), (3, "three")] {
            assert!(inbox.arrived(Delivery { id: Some(id), fingerprint: id.into(), again: false }, text, 5));
            assert_eq!(inbox.is_full(), id == 3);
        }
        assert!(matches!(inbox.take(9), Ok(Taken::Message("one"))));
        assert!(!inbox.is_full() && woken.load(Ordering::Relaxed) == 1);
        inbox.fail(ConnectorError::new(ErrorKind::Unavailable, "gone"));
        assert!(matches!(inbox.take(9), Ok(Taken::Message("two"))), "what has arrived is read first");
        assert!(matches!(inbox.take(9), Ok(Taken::Message("three"))));
        assert!(inbox.take(9).is_err());
        assert_eq!(inbox.position(), (3, vec![(1, 1), (2, 2), (3, 3)]));
    }

    #[test]
    fn a_server_that_waits_for_acknowledgements_may_have_more() {
        let inbox: Inbox<u16, ()> = Inbox::new(Ledger::restored([]), 10, Waker::default(), || ());
        assert!(matches!(inbox.take(1), Ok(Taken::Empty { nothing_waits: false })), "not connected");
        inbox.connected(false);
        assert!(matches!(inbox.take(1), Ok(Taken::Empty { nothing_waits: false })), "something may be on its way");
        inbox.settled();
        assert!(matches!(inbox.take(1), Ok(Taken::Empty { nothing_waits: true })));
        assert!(inbox.arrived(Delivery { id: Some(1), fingerprint: 1, again: false }, (), 1));
        assert!(matches!(inbox.take(1), Ok(Taken::Message(()))));
        assert!(matches!(inbox.take(1), Ok(Taken::Empty { nothing_waits: false })));
        inbox.commit(1);
        assert_eq!(inbox.with_ledger(Ledger::take_acknowledgements), [1]);
        inbox.with_ledger(|ledger| ledger.written(1));
        assert!(matches!(inbox.take(1), Ok(Taken::Empty { nothing_waits: true })));
    }
}
