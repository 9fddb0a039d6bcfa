//! Pairs, and what becomes of records without a partner.

use serde::{Deserialize, Serialize};

/// What comes out for records without a partner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum JoinKind {
    /// Nothing.
    Inner,
    /// Those of the left stream.
    Left,
    /// Those of the right stream.
    Right,
    /// Those of both.
    Full,
}

impl JoinKind {
    /// For manifests and messages.
    pub(super) fn describe(self) -> &'static str {
        match self {
            Self::Inner => "an inner join",
            Self::Left => "a left join",
            Self::Right => "a right join",
            Self::Full => "a full join",
        }
    }

    pub(super) fn keeps_left(self) -> bool {
        matches!(self, Self::Left | Self::Full)
    }

    pub(super) fn keeps_right(self) -> bool {
        matches!(self, Self::Right | Self::Full)
    }
}

/// A pair, or a record without a partner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Joined<A, B> {
    /// A pair.
    Both(A, B),
    /// One of the left stream that found none.
    Left(A),
    /// One of the right stream that found none.
    Right(B),
}
