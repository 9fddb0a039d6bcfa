//! Streams grouped by key, and two of them under the same one.

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

/// A stream grouped by key. Only this has windows, rolling aggregates and state.
pub struct KeyedStream<'s, K: Key, D: Data> {
    pub(crate) stream: Stream<'s, D>,
    pub(crate) key_of: Rc<dyn Fn(&D) -> K>,
}

impl<'s, K: Key, D: Data> KeyedStream<'s, K, D> {
    /// Groups the same records by another key, which is made of the one they have.
    #[must_use]
    pub fn map_key<L: Key>(self, other: impl Fn(K) -> L + 'static) -> KeyedStream<'s, L, D> {
        let key_of = self.key_of;
        KeyedStream { stream: self.stream, key_of: Rc::new(move |data| other(key_of(data))) }
    }

    /// This keyed stream and another one under the same key, for logic with two inputs. The key's
    /// records of both meet in one state. Under `Order::EventTime` the logic orders records of the
    /// same event time by its `tie_break`.
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
    /// Of the stream that `connect` was called on.
    First(A),
    /// Of the other one.
    Second(B),
}
