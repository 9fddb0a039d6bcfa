//! Window join: an aggregate over two connected streams.

use std::marker::PhantomData;

use tidemill_engine::Data;
use tidemill_engine::stream::Either;

use super::kind::{JoinKind, Joined};
use crate::window::Aggregate;

/// An aggregate that makes all pairs of a window. Made by [`pairs`].
pub struct Pairs<A, B> {
    kind: JoinKind,
    records: PhantomData<fn(&A, &B)>,
}

/// Returns an aggregate that pairs each left record of a window with each right one. `kind` says which records of a
/// window without any record of the other stream are emitted. Known limit: state holds all records of the window.
#[must_use]
pub const fn pairs<A, B>(kind: JoinKind) -> Pairs<A, B> {
    Pairs { kind, records: PhantomData }
}

impl<A: Data, B: Data> Aggregate for Pairs<A, B> {
    const GROWS: bool = true;
    type In = Either<A, B>;
    type Accumulator = (Vec<A>, Vec<B>);
    type Out = Vec<Joined<A, B>>;

    fn empty(&self) -> Self::Accumulator {
        (Vec::new(), Vec::new())
    }
    fn add(&self, (left, right): &mut Self::Accumulator, record: &Either<A, B>) {
        match record {
            Either::First(a) => left.push(a.clone()),
            Either::Second(b) => right.push(b.clone()),
        }
    }
    fn merge(&self, into: &mut Self::Accumulator, other: &Self::Accumulator) {
        into.0.extend_from_slice(&other.0);
        into.1.extend_from_slice(&other.1);
    }
    fn finish(&self, (left, right): &Self::Accumulator) -> Self::Out {
        if right.is_empty() && self.kind.keeps_left() {
            return left.iter().cloned().map(Joined::Left).collect();
        }
        if left.is_empty() && self.kind.keeps_right() {
            return right.iter().cloned().map(Joined::Right).collect();
        }
        left.iter().flat_map(|a| right.iter().map(|b| Joined::Both(a.clone(), b.clone()))).collect()
    }
}
