//! Aggregates: what a window keeps instead of its records, and the result that it computes from that.

use serde::{Serialize, de::DeserializeOwned};
use tidemill_engine::Data;

/// An incremental aggregate. Accumulators can be merged, in any grouping.
pub trait Aggregate: 'static {
    /// Whether an accumulator grows with its number of records. If it does, sliding windows keep no partial results.
    const GROWS: bool = false;
    /// The type of the records.
    type In;
    /// The type of the accumulator, which a window keeps in state.
    type Accumulator: Clone + Serialize + DeserializeOwned + 'static;
    /// The type of the result.
    type Out: Data;

    /// Describes in words what accumulators depend on besides the records, such as the number of records kept or the
    /// precision. A checkpoint keeps this text, and a program with a different text is refused. Default: empty.
    fn parameters(&self) -> String {
        String::new()
    }

    /// Reads an accumulator that a record will soon be added to, so that it is in the processor's caches by then: a few
    /// records ahead, so that the cache misses of different keys overlap. Results do not depend on it. Default: nothing.
    fn prefetch(_accumulator: &Self::Accumulator) {}
    /// Returns the accumulator of no records.
    fn empty(&self) -> Self::Accumulator;
    /// Adds a record to the accumulator.
    fn add(&self, accumulator: &mut Self::Accumulator, record: &Self::In);
    /// Adds the records of the accumulator `other` to `into`.
    fn merge(&self, into: &mut Self::Accumulator, other: &Self::Accumulator);
    /// Returns the result of the accumulator.
    fn finish(&self, accumulator: &Self::Accumulator) -> Self::Out;
}

/// Two aggregates of the same records, computed side by side.
impl<A: Aggregate, B: Aggregate<In = A::In>> Aggregate for (A, B) {
    const GROWS: bool = A::GROWS || B::GROWS;
    type In = A::In;
    type Accumulator = (A::Accumulator, B::Accumulator);
    type Out = (A::Out, B::Out);

    fn parameters(&self) -> String {
        let (first, second) = (self.0.parameters(), self.1.parameters());
        if first.is_empty() && second.is_empty() { String::new() } else { format!("({first} | {second})") }
    }
    fn prefetch((first, second): &Self::Accumulator) {
        A::prefetch(first);
        B::prefetch(second);
    }
    fn empty(&self) -> Self::Accumulator {
        (self.0.empty(), self.1.empty())
    }
    fn add(&self, accumulator: &mut Self::Accumulator, record: &Self::In) {
        self.0.add(&mut accumulator.0, record);
        self.1.add(&mut accumulator.1, record);
    }
    fn merge(&self, into: &mut Self::Accumulator, other: &Self::Accumulator) {
        self.0.merge(&mut into.0, &other.0);
        self.1.merge(&mut into.1, &other.1);
    }
    fn finish(&self, accumulator: &Self::Accumulator) -> Self::Out {
        (self.0.finish(&accumulator.0), self.1.finish(&accumulator.1))
    }
}
