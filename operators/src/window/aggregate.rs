//! What a window keeps instead of its records, and what it makes of that.

use serde::{Serialize, de::DeserializeOwned};
use tidemill_engine::Data;

/// An incremental aggregate. Accumulators can be merged, in any grouping.
pub trait Aggregate: 'static {
    /// Whether an accumulator grows with its records. Sliding windows then keep no partial results.
    const GROWS: bool = false;
    /// What is aggregated.
    type In;
    /// What is kept.
    type Accumulator: Clone + Serialize + DeserializeOwned + 'static;
    /// What comes out.
    type Out: Data;

    /// What accumulators depend on beside the records, in words: how many are kept, how exact they are. A checkpoint keeps it,
    /// and a program that says something else is refused. Nothing by default.
    fn parameters(&self) -> String {
        String::new()
    }

    /// The accumulator of nothing.
    fn empty(&self) -> Self::Accumulator;
    /// Takes a record in.
    fn add(&self, accumulator: &mut Self::Accumulator, record: &Self::In);
    /// Takes another accumulator in.
    fn merge(&self, into: &mut Self::Accumulator, other: &Self::Accumulator);
    /// The result.
    fn finish(&self, accumulator: &Self::Accumulator) -> Self::Out;
}

/// Two aggregates of the same records side by side.
impl<A: Aggregate, B: Aggregate<In = A::In>> Aggregate for (A, B) {
    const GROWS: bool = A::GROWS || B::GROWS;
    type In = A::In;
    type Accumulator = (A::Accumulator, B::Accumulator);
    type Out = (A::Out, B::Out);

    fn parameters(&self) -> String {
        let (first, second) = (self.0.parameters(), self.1.parameters());
        if first.is_empty() && second.is_empty() { String::new() } else { format!("({first} | {second})") }
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
