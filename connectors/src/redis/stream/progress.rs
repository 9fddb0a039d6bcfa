//! How far a stream was read, and whether what the server says of it fits. There is no I/O here.
//!
//! The server counts the entries that were ever added (`entries-added`, since Redis 7.0), and so does the source those that it
//! has passed. So it notices when an entry was trimmed or deleted before it was read, and how many were.

use serde::{Deserialize, Serialize};

use super::entry::EntryId;

/// How far a stream was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Place {
    /// The last entry that was read, or a later one that was not there any more.
    pub(super) last: EntryId,
    /// Number of entries that were ever added up to that one. It is not known after a start in the middle of a stream, until
    /// its end is reached.
    pub(super) passed: Option<u64>,
}

/// What the server says of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Known {
    /// Number of entries in it.
    pub(super) length: u64,
    /// Number of entries that were ever added.
    pub(super) added: u64,
    /// The id of the entry that was added last, also if it is not there any more.
    pub(super) newest: EntryId,
    /// The id of the first entry that is there.
    pub(super) first: Option<EntryId>,
}

/// What does not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gap {
    /// So many entries are gone that were not read.
    Unread(u64),
    /// The newest entry that the server knows of is older than what was read: it has lost entries, or the stream was made
    /// again.
    Older(EntryId),
    /// The server counts fewer entries than had been added when it was asked before, for the same reasons.
    Fewer { added: u64, before: u64 },
    /// The stream is not there any more.
    Gone,
}

impl Place {
    /// Returns the place of one who has read everything.
    pub(super) fn at_end(known: Option<&Known>) -> Self {
        known.map_or_else(Self::default, |known| Self { last: known.newest, passed: Some(known.added) })
    }

    /// Returns the place after `read` more entries, the last of which is `last`, and what is missing before or among them. The
    /// server was asked for `asked` entries behind this place and, at the same moment, for what it knows.
    pub(super) fn moved(
        &self,
        known: Option<&Known>,
        read: usize,
        asked: usize,
        last: Option<EntryId>,
    ) -> (Self, Option<Gap>) {
        let Some(known) = known else {
            let was_read = self.last > EntryId::default();
            return (Self { last: EntryId::default(), passed: Some(0) }, was_read.then_some(Gap::Gone));
        };
        if known.newest < self.last {
            return (Self::at_end(Some(known)), Some(Gap::Older(known.newest)));
        }
        if let Some(before) = self.passed.filter(|passed| known.added < *passed) {
            // What is behind the place is there, and is read on from.
            let behind = Self { last: self.last, passed: None }.moved(Some(known), read, asked, last).0;
            return (behind, Some(Gap::Fewer { added: known.added, before }));
        }
        let mut gap = 0;
        let mut passed = self.passed;
        // Entries are trimmed from the beginning, so none is missing there while an entry is left that was read.
        if known.first.is_none_or(|first| first > self.last) {
            let gone = known.added.saturating_sub(known.length);
            gap = passed.map_or(0, |passed| gone.saturating_sub(passed));
            passed = Some(gone);
        }
        passed = passed.map(|passed| passed + read as u64);
        let mut last = last.unwrap_or(self.last);
        // At the end nothing is left, so what is missing now was deleted in the middle.
        if read < asked {
            gap += passed.map_or(0, |passed| known.added.saturating_sub(passed));
            (last, passed) = (known.newest, Some(known.added));
        }
        (Self { last, passed }, (gap > 0).then_some(Gap::Unread(gap)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn id(ms: u64) -> EntryId {
        EntryId { ms, seq: 0 }
    }

    fn place(last: u64, passed: u64) -> Place {
        Place { last: id(last), passed: Some(passed) }
    }

    #[test]
    fn a_stream_that_is_gone_or_older_than_what_was_read_is_noticed() {
        assert_eq!(Place::default().moved(None, 0, 10, None), (place(0, 0), None));
        assert_eq!(place(7, 3).moved(None, 0, 10, None), (place(0, 0), Some(Gap::Gone)));
        let known = Known { length: 2, added: 2, newest: id(5), first: Some(id(4)) };
        assert_eq!(place(7, 3).moved(Some(&known), 0, 10, None), (place(5, 2), Some(Gap::Older(id(5)))));
    }

    /// A server that confirms before it writes to its disk loses entries by a restart, and some of them may not have been read.
    #[test]
    fn a_server_that_counts_fewer_entries_than_before_is_noticed_although_newer_ones_were_added() {
        let known = Known { length: 4, added: 4, newest: id(9), first: Some(id(1)) };
        let gap = Some(Gap::Fewer { added: 4, before: 5 });
        assert_eq!(place(7, 5).moved(Some(&known), 1, 10, Some(id(9))), (place(9, 4), gap));
        let again = Known { length: 2, added: 2, newest: id(9), first: Some(id(8)) };
        let gap = Some(Gap::Fewer { added: 2, before: 5 });
        assert_eq!(place(7, 5).moved(Some(&again), 1, 1, Some(id(8))), (place(8, 1), gap));
    }

    #[test]
    fn from_the_middle_of_a_stream_the_number_is_known_at_its_end() {
        let start = Place { last: id(2), passed: None };
        let known = Known { length: 5, added: 9, newest: id(9), first: Some(id(1)) };
        let (next, gap) = start.moved(Some(&known), 2, 2, Some(id(4)));
        assert_eq!((next, gap), (Place { last: id(4), passed: None }, None));
        assert_eq!(next.moved(Some(&known), 1, 2, Some(id(9))), (place(9, 9), None));
    }

    #[derive(Clone, Debug)]
    enum Act {
        Add(u8),
        Trim(u8),
        Delete(u8),
        Read(u8),
    }

    fn act() -> impl Strategy<Value = Act> {
        prop_oneof![
            (1..6_u8).prop_map(Act::Add),
            (0..9_u8).prop_map(Act::Trim),
            any::<u8>().prop_map(Act::Delete),
            (1..5_u8).prop_map(Act::Read),
        ]
    }

    proptest! {
        /// The gaps that are noticed until the end is reached have, together, each entry that was removed unread.
        #[test]
        fn each_entry_is_read_or_noticed_as_missing(acts in prop::collection::vec(act(), 0..40)) {
            let (mut stream, mut added, mut place, mut read, mut missing) = (Vec::new(), 0, place(0, 0), 0, 0);
            for act in acts.into_iter().chain([Act::Read(u8::MAX)]) {
                match act {
                    Act::Add(count) => (0..count).for_each(|_| {
                        added += 1;
                        stream.push(added);
                    }),
                    Act::Trim(keep) => drop(stream.drain(..stream.len().saturating_sub(keep.into()))),
                    Act::Delete(at) if !stream.is_empty() => {
                        stream.remove(usize::from(at) % stream.len());
                    }
                    Act::Delete(_) => {}
                    Act::Read(asked) => {
                        let behind: Vec<u64> =
                            stream.iter().copied().filter(|at| id(*at) > place.last).take(asked.into()).collect();
                        // The server forgets no stream that is empty.
                        let known = (added > 0).then(|| Known {
                            length: stream.len() as u64,
                            added,
                            newest: id(added),
                            first: stream.first().map(|first| id(*first)),
                        });
                        let last = behind.last().map(|last| id(*last));
                        let (next, gap) = place.moved(known.as_ref(), behind.len(), asked.into(), last);
                        read += behind.len() as u64;
                        match gap {
                            Some(Gap::Unread(count)) => missing += count,
                            other => prop_assert_eq!(other, None),
                        }
                        place = next;
                    }
                }
            }
            prop_assert_eq!(read + missing, added);
            prop_assert_eq!(place.passed, Some(added));
        }
    }
}
