//! Streams grouped by key, and the connection of two streams under one key.

use std::rc::Rc;

use serde::{Deserialize, Serialize};
use tidemill_state::Key;

use super::stream::Stream;
use crate::record::Data;

impl<'s, D: Data> Stream<'s, D> {
    /// Groups the stream by a key: all records of a key meet on the worker that owns its key group.
    pub fn key_by<K: Key>(self, key: impl Fn(&D) -> K + 'static) -> KeyedStream<'s, K, D> {
        KeyedStream { stream: self, key_of: Rc::new(key) }
    }
}

/// A stream grouped by key. Windows, rolling aggregates and state exist only on keyed streams.
pub struct KeyedStream<'s, K: Key, D: Data> {
    pub(crate) stream: Stream<'s, D>,
    pub(crate) key_of: Rc<dyn Fn(&D) -> K>,
}

impl<'s, K: Key, D: Data> KeyedStream<'s, K, D> {
    /// Groups the same records by another key, which `other` computes from their present key.
    #[must_use]
    pub fn map_key<L: Key>(self, other: impl Fn(K) -> L + 'static) -> KeyedStream<'s, L, D> {
        let key_of = self.key_of;
        KeyedStream { stream: self.stream, key_of: Rc::new(move |data| other(key_of(data))) }
    }

    /// Connects this keyed stream with another one under the same key, for logic with two inputs. The
    /// records of a key meet in one state, whichever stream they come from. Under `Order::EventTime`
    /// the logic orders records of the same event time by its `tie_break`.
    #[must_use]
    pub fn connect<E: Data>(self, other: KeyedStream<'s, K, E>) -> KeyedStream<'s, K, Either<D, E>> {
        let (first, second) = (self.key_of, other.key_of);
        KeyedStream {
            stream: self.stream.map(Either::First).union(other.stream.map(Either::Second)),
            key_of: Rc::new(move |either| match either {
                Either::First(data) => first(data),
                Either::Second(data) => second(data),
            }),
        }
    }
}

/// A record of one of two connected streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Either<A, B> {
    /// A record of the stream that `connect` was called on.
    First(A),
    /// A record of the stream that was passed to `connect`.
    Second(B),
}
