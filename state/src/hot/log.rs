//! Log state: a queue per key, which grows at its end and is cut at its front.
//!
//! ```text
//! [row key]                            the header: one small value beside the queue, e.g. its totals
//! [row key][sequence number u64 BE]    an element each
//! ```
//! So an epoch writes the appended elements, the range that was cut, and the header if it changed, but never the whole
//! queue. Only where entries are evicted, short queues are packed into one row (`packed.rs`).

use std::collections::VecDeque;
use std::ops::{Deref, DerefMut};

use crate::checkpoint::delta::Ops;
use crate::codec::{self, DecodeError};
use crate::error::StateError;
use crate::hot::entry::{Entry, Header};
use crate::hot::table::HotTable;
use crate::key::{Key, Value};
use crate::lengths::{push_number, push_with};
use crate::packed::{self, Packed};

/// A queue per key, with a header.
pub type LogTable<K, V, H = ()> = HotTable<K, Log<V, H>>;

/// The entry of one key in log state: a queue, and the header beside it.
pub struct Log<V, H = ()> {
    header: H,
    header_changed: bool,
    /// Whether deltas have a row of the header by itself.
    header_stored: bool,
    /// Whether deltas have the queue as one row, and no elements by themselves.
    packed: bool,
    queue: Queue<V>,
}

/// A queue of elements with consecutive sequence numbers, which never change.
pub struct Queue<V> {
    elements: VecDeque<V>,
    /// Sequence number of the front element.
    head: u64,
    /// The elements that deltas have are those from `stored_head` up to, and without, `stored_tail`.
    stored_head: u64,
    stored_tail: u64,
}

impl<V, H: Default> Default for Log<V, H> {
    fn default() -> Self {
        let queue = Queue { elements: VecDeque::new(), head: 0, stored_head: 0, stored_tail: 0 };
        Self { header: H::default(), header_changed: false, header_stored: false, packed: false, queue }
    }
}

impl<V, H> Log<V, H> {
    /// Returns the header, which is written with the next seal, and the queue.
    pub fn parts(&mut self) -> (&mut H, &mut Queue<V>) {
        self.header_changed = true;
        (&mut self.header, &mut self.queue)
    }

    /// Returns the header.
    #[must_use]
    pub fn header(&self) -> &H {
        &self.header
    }
}

impl<V, H> Deref for Log<V, H> {
    type Target = Queue<V>;

    fn deref(&self) -> &Queue<V> {
        &self.queue
    }
}

impl<V, H> DerefMut for Log<V, H> {
    fn deref_mut(&mut self) -> &mut Queue<V> {
        &mut self.queue
    }
}

impl<V> Queue<V> {
    /// Appends an element at the end.
    pub fn push_back(&mut self, value: V) {
        self.elements.push_back(value);
    }

    /// Removes and returns the front element.
    pub fn pop_front(&mut self) -> Option<V> {
        let value = self.elements.pop_front();
        self.head += u64::from(value.is_some());
        value
    }

    /// Returns the front element.
    #[must_use]
    pub fn front(&self) -> Option<&V> {
        self.elements.front()
    }

    /// Returns the element with this sequence number.
    #[must_use]
    pub fn get(&self, sequence: u64) -> Option<&V> {
        let index = sequence.checked_sub(self.head)?;
        self.elements.get(usize::try_from(index).ok()?)
    }

    /// Returns the sequence number of the front element.
    #[must_use]
    pub fn head(&self) -> u64 {
        self.head
    }

    /// Returns the sequence number after that of the last element.
    #[must_use]
    pub fn tail(&self) -> u64 {
        self.head + self.elements.len() as u64
    }

    /// Returns the elements in order, the front first.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &V> {
        self.elements.iter()
    }

    /// Returns the number of elements.
    #[must_use]
    pub fn len(&self) -> usize {
        self.elements.len()
    }

    /// Returns whether the queue has no elements.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.elements.is_empty()
    }
}

impl<V: Value, H: Value + Default> Entry for Log<V, H> {
    const KIND: &'static str = "log";
    const WHOLE: &'static [u8] = packed::SUFFIX;
    const SINGLE_ROW: bool = false;

    fn seal(&mut self, row: &mut Vec<u8>, header: Header, whole: bool, ops: &mut Ops) -> Result<(), DecodeError> {
        if whole && self.seal_packed(row, header, ops)? {
            return Ok(());
        }
        if std::mem::take(&mut self.packed) {
            codec::with_suffix(row, packed::SUFFIX, |row| ops.delete(row));
            self.header_changed = true;
        }
        if std::mem::take(&mut self.header_changed) {
            ops.put_with(row, |out| {
                header.push(out);
                codec::encode(&self.header, out)
            })?;
            self.header_stored = true;
        }
        let Queue { elements, head, stored_head, stored_tail } = &mut self.queue;
        let tail = *head + elements.len() as u64;
        let cut = (*head).min(*stored_tail);
        if cut > *stored_head {
            ops.delete_elements(row, *stored_head, cut);
        }
        let first_new = (*stored_tail).max(*head);
        let skip = (first_new - *head) as usize;
        if first_new < tail {
            ops.put_elements(row, first_new, elements.range(skip..), |value, out| {
                header.push(out);
                codec::encode(value, out)
            })?;
        }
        (*stored_head, *stored_tail) = (*head, tail);
        Ok(())
    }

    fn heap_bytes(&self, _encoded: usize) -> usize {
        self.queue.elements.capacity() * size_of::<V>()
    }

    fn seal_removed(row: &mut Vec<u8>, ops: &mut Ops) {
        ops.delete(row);
        let first = codec::with_sequence(row, 0, <[u8]>::to_vec);
        codec::with_sequence(row, u64::MAX, |end| ops.delete_range(&first, end));
    }

    fn absorb(entry: &mut Option<Self>, suffix: &[u8], value: &[u8]) -> Result<(), DecodeError> {
        if suffix == packed::SUFFIX {
            return Self::absorb_packed(entry, value);
        }
        let log = entry.get_or_insert_with(Self::default);
        if suffix.is_empty() {
            log.header = codec::decode(value)?;
            log.header_stored = true;
            return Ok(());
        }
        let log = &mut log.queue;
        let sequence = suffix.try_into().map(u64::from_be_bytes);
        let sequence = sequence.map_err(|_| DecodeError("its row has no sequence number".to_owned()))?;
        if log.elements.is_empty() {
            (log.head, log.stored_head, log.stored_tail) = (sequence, sequence, sequence);
        }
        if sequence != log.stored_tail {
            return Err(DecodeError(format!("element {} is missing", log.stored_tail)));
        }
        log.elements.push_back(codec::decode(value)?);
        log.stored_tail += 1;
        Ok(())
    }
}

impl<V: Value, H: Value + Default> Log<V, H> {
    /// Writes the log as one row instead of those that it has, if it is short. Returns whether it is.
    fn seal_packed(&mut self, row: &mut Vec<u8>, before: Header, ops: &mut Ops) -> Result<bool, DecodeError> {
        let Self { header, queue: Queue { elements, head, stored_head, stored_tail }, .. } = self;
        if elements.is_empty() || elements.len() > packed::MOST_ELEMENTS {
            return Ok(false);
        }
        let most = if self.packed { 2 * packed::MOST_BYTES } else { packed::MOST_BYTES };
        let mut short = true;
        let written = codec::with_suffix(row, packed::SUFFIX, |row| {
            ops.put_with(row, |out| {
                let start = out.len();
                before.push(out);
                push_number(out, *head);
                push_with(out, |out| codec::encode(header, out))?;
                for element in &*elements {
                    push_with(out, |out| codec::encode(element, out))?;
                    if out.len() - start > most {
                        short = false;
                        return Err(DecodeError("it is not short".to_owned()));
                    }
                }
                Ok(())
            })
        });
        if !short {
            return Ok(false);
        }
        written?;
        if std::mem::take(&mut self.header_stored) {
            ops.delete(row);
        }
        if *stored_head < *stored_tail {
            ops.delete_elements(row, *stored_head, *stored_tail);
        }
        // From now on, no element has a row by itself.
        (*stored_head, *stored_tail) = (*head, *head);
        (self.packed, self.header_changed) = (true, false);
        Ok(true)
    }

    fn absorb_packed(entry: &mut Option<Self>, value: &[u8]) -> Result<(), DecodeError> {
        if entry.is_some() {
            return Err(DecodeError("its list is stored both packed and by element".to_owned()));
        }
        let packed = Packed::read(value)?;
        let (header, head) = (codec::decode(packed.header)?, packed.head());
        let mut elements = VecDeque::with_capacity(packed.elements().count());
        for (_, element) in packed.elements() {
            elements.push_back(codec::decode(element)?);
        }
        let queue = Queue { elements, head, stored_head: head, stored_tail: head };
        *entry = Some(Self { header, header_changed: false, header_stored: false, packed: true, queue });
        Ok(())
    }
}

impl<K: Key, V: Value, H: Value + Default> LogTable<K, V, H> {
    /// Returns the log of `key`, to be read and changed. Creates an empty one if there is none.
    ///
    /// # Errors
    /// When the stored rows cannot be read.
    pub fn log(&mut self, hash: u64, key: &K) -> Result<&mut Log<V, H>, StateError> {
        self.entry_or_insert(hash, key, Log::default)
    }

    /// Returns the log of `key`, to be read, if there is one.
    ///
    /// # Errors
    /// When the stored rows cannot be read.
    pub fn get(&mut self, hash: u64, key: &K) -> Result<Option<&Log<V, H>>, StateError> {
        Ok(self.entry(hash, key)?.map(|log| &*log))
    }

    /// Removes the log of `key`.
    ///
    /// # Errors
    /// When the stored rows cannot be read.
    pub fn remove(&mut self, hash: u64, key: &K) -> Result<(), StateError> {
        self.take(hash, key)?;
        Ok(())
    }
}
