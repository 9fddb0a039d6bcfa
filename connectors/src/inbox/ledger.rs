//! Which messages of a session were read, handed out, committed and acknowledged; and so which of those that the server
//! sends again are known already. There is no I/O here.
//!
//! ```text
//! arrived ─▶ handed out ─▶ committed ─▶ acknowledgement requested ─▶ written ─▶ answered: forgotten
//! ```
//! A server sends a message again on a new connection, under the same id, until it has our acknowledgement. Then it may use
//! the id for another message. So a message that comes again is known if id and fingerprint (of what it contains) are those
//! of an entry. Where we have acknowledged that entry, or do not know whether we have, it must also be marked as sent again:
//! an equal message under the same id, sent for the first time, is a new one.
//!
//! An acknowledgement has no answer of its own. It has arrived when the server answers a ping that was sent after it.
//!
//! Invariants: an entry is acknowledged at most once per delivery, on the connection of that delivery, and only after the
//! commit of its epoch: an acknowledgement on a later connection, before the server has sent the message again, would be
//! taken for that of another message.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::hash::Hash;

/// One message as it arrives.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Delivery<I> {
    /// The id under which it is acknowledged; none if it needs no acknowledgement.
    pub(crate) id: Option<I>,
    /// A hash of what it contains.
    pub(crate) fingerprint: u64,
    /// Whether the server says that it has sent it before.
    pub(crate) again: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Acknowledgement {
    /// Not sent.
    No,
    /// Handed to the client, which has not written it yet.
    Requested,
    /// Written to this connection, as the n-th.
    Written(u64),
    /// Written to an earlier connection, or by an earlier run: it may have arrived or not.
    Unknown,
}

#[derive(Clone, Debug)]
struct Entry<I> {
    id: I,
    fingerprint: u64,
    /// The connection on which it came last, if that is known.
    delivered: Option<u64>,
    acknowledgement: Acknowledgement,
}

/// The messages of one session that are not known to be acknowledged, numbered in the order in which they arrived.
#[derive(Debug)]
pub(crate) struct Ledger<I> {
    entries: BTreeMap<u64, Entry<I>>,
    of_id: HashMap<I, u64>,
    /// The number of the next message that arrives.
    next: u64,
    /// Messages before this number were handed out.
    handed_out: u64,
    /// Messages before this number are committed.
    committed: u64,
    connection: u64,
    online: bool,
    to_acknowledge: VecDeque<u64>,
    written: u64,
    /// How many acknowledgements were written before each ping that is not answered yet.
    pinged: VecDeque<u64>,
    /// How many pings in a row were answered on this connection while nothing came again.
    quiet_pings: u32,
}

impl<I: Copy + Eq + Hash> Ledger<I> {
    /// Makes the ledger of a session of which a checkpoint has these messages: they are committed, and may or may not have
    /// been acknowledged.
    pub(crate) fn restored(messages: impl IntoIterator<Item = (I, u64)>) -> Self {
        let mut ledger = Self {
            entries: BTreeMap::new(),
            of_id: HashMap::new(),
            next: 0,
            handed_out: 0,
            committed: 0,
            connection: 0,
            online: false,
            to_acknowledge: VecDeque::new(),
            written: 0,
            pinged: VecDeque::new(),
            quiet_pings: 0,
        };
        for (id, fingerprint) in messages {
            ledger.insert(Entry { id, fingerprint, delivered: None, acknowledgement: Acknowledgement::Unknown });
        }
        (ledger.handed_out, ledger.committed) = (ledger.next, ledger.next);
        ledger
    }

    fn insert(&mut self, entry: Entry<I>) {
        self.of_id.insert(entry.id, self.next);
        self.entries.insert(self.next, entry);
        self.next += 1;
    }

    /// Begins a connection. Unless the server has `resumed` the session, it has forgotten all ids: those of the entries
    /// are free for other messages.
    pub(crate) fn connected(&mut self, resumed: bool) {
        self.disconnected();
        self.connection += 1;
        self.online = true;
        if !resumed {
            self.entries.clear();
            self.of_id.clear();
        }
    }

    /// Ends the connection. What was requested and not written will not be.
    pub(crate) fn disconnected(&mut self) {
        (self.online, self.quiet_pings) = (false, 0);
        self.pinged.clear();
        self.to_acknowledge.clear();
        for entry in self.entries.values_mut() {
            entry.acknowledgement = match entry.acknowledgement {
                Acknowledgement::No | Acknowledgement::Requested => Acknowledgement::No,
                Acknowledgement::Written(_) | Acknowledgement::Unknown => Acknowledgement::Unknown,
            };
        }
    }

    /// Notes a message that has arrived. Returns whether it is new: one that is not must not be handed out.
    pub(crate) fn arrived(&mut self, delivery: Delivery<I>) -> bool {
        let Some(id) = delivery.id else {
            self.next += 1;
            return true;
        };
        let here = self.online.then_some(self.connection);
        if let Some(number) = self.of_id.get(&id).copied() {
            if let Some(entry) = self.entries.get_mut(&number)
                && entry.fingerprint == delivery.fingerprint
                && (delivery.again || entry.is_unacknowledged())
            {
                self.quiet_pings = 0;
                if here.is_some() && entry.delivered != here {
                    (entry.delivered, entry.acknowledgement) = (here, Acknowledgement::No);
                    if number < self.committed {
                        self.to_acknowledge.push_back(number);
                    }
                }
                return false;
            }
            // The server uses the id for another message, so it has the acknowledgement.
            self.entries.remove(&number);
        }
        let acknowledgement = Acknowledgement::No;
        self.insert(Entry { id, fingerprint: delivery.fingerprint, delivered: here, acknowledgement });
        true
    }

    /// Notes that the next message was handed out.
    pub(crate) fn hand_out(&mut self) {
        self.handed_out += 1;
    }

    /// Returns the number behind the last message that was handed out, for [`commit`](Self::commit).
    pub(crate) fn handed_out(&self) -> u64 {
        self.handed_out
    }

    /// Returns the messages that were handed out and are not known to be acknowledged.
    pub(crate) fn unacknowledged(&self) -> Vec<(I, u64)> {
        self.entries.range(..self.handed_out).map(|(_, entry)| (entry.id, entry.fingerprint)).collect()
    }

    /// Notes that the messages before number `end` are committed: they may be acknowledged, in the order in which they came.
    pub(crate) fn commit(&mut self, end: u64) {
        let from = self.committed;
        if end <= from {
            return;
        }
        self.committed = end;
        if self.online {
            let here = |entry: &Entry<I>| {
                entry.delivered == Some(self.connection) && entry.acknowledgement == Acknowledgement::No
            };
            let due = self.entries.range(from..end).filter(|(_, entry)| here(entry)).map(|(number, _)| *number);
            self.to_acknowledge.extend(due);
        }
    }

    /// Takes the ids that are to be acknowledged now, on this connection, in this order.
    pub(crate) fn take_acknowledgements(&mut self) -> Vec<I> {
        let numbers = std::mem::take(&mut self.to_acknowledge);
        let mut ids = Vec::with_capacity(numbers.len());
        for number in numbers {
            if let Some(entry) = self.entries.get_mut(&number) {
                entry.acknowledgement = Acknowledgement::Requested;
                ids.push(entry.id);
            }
        }
        ids
    }

    /// Notes that an acknowledgement was written, or was about to be when the connection was lost.
    pub(crate) fn written(&mut self, id: I) {
        self.written += 1;
        let entry = self.of_id.get(&id).and_then(|number| self.entries.get_mut(number));
        if let Some(entry) = entry {
            let on_this = self.online && entry.acknowledgement == Acknowledgement::Requested;
            entry.acknowledgement =
                if on_this { Acknowledgement::Written(self.written) } else { Acknowledgement::Unknown };
        }
    }

    /// Notes that a ping was sent.
    pub(crate) fn pinged(&mut self) {
        self.pinged.push_back(self.written);
    }

    /// Notes that the server has answered the first open ping: it has all acknowledgements that were written before. `limit` is how
    /// many unacknowledged messages it sends at most.
    pub(crate) fn answered(&mut self, limit: usize) {
        let Some(before) = self.pinged.pop_front() else { return };
        self.quiet_pings += 1;
        let here = Some(self.connection);
        let open = |entry: &Entry<I>| entry.is_unacknowledged() && entry.delivered == here;
        // A server that has resumed a session first sends again what it has. After two answers nothing more of that comes,
        // unless it waits for acknowledgements before it may go on.
        let is_complete = self.quiet_pings >= 2 && self.entries.values().filter(|entry| open(entry)).count() < limit;
        let handed_out = self.handed_out;
        let of_id = &mut self.of_id;
        self.entries.retain(|number, entry| {
            let has_it = matches!(entry.acknowledgement, Acknowledgement::Written(n) if n <= before);
            let is_gone = is_complete && *number < handed_out && entry.delivered != here;
            if has_it || is_gone {
                of_id.remove(&entry.id);
            }
            !(has_it || is_gone)
        });
    }

    /// Returns whether the server has sent as many unacknowledged messages as it may.
    pub(crate) fn is_at(&self, limit: usize) -> bool {
        self.entries.len() >= limit && self.entries.values().filter(|entry| entry.is_unacknowledged()).count() >= limit
    }
}

impl<I> Entry<I> {
    /// Returns whether the server cannot have our acknowledgement.
    fn is_unacknowledged(&self) -> bool {
        matches!(self.acknowledgement, Acknowledgement::No | Acknowledgement::Requested)
    }
}

#[cfg(test)]
mod tests;
