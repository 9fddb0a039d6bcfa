//! The results of joins of two streams: pairs, and records without a partner.

use serde::{Deserialize, Serialize};

/// The kind of a join, which says which records without a partner are emitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum JoinKind {
    /// Records without a partner are not emitted.
    Inner,
    /// Records of the left stream without a partner are emitted.
    Left,
    /// Records of the right stream without a partner are emitted.
    Right,
    /// Records of both streams without a partner are emitted.
    Full,
}

impl JoinKind {
    /// Describes the kind in manifests and messages.
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

/// A result of a join: a pair, or a record without a partner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Joined<A, B> {
    /// A pair of a left and a right record.
    Both(A, B),
    /// A record of the left stream without a partner.
    Left(A),
    /// A record of the right stream without a partner.
    Right(B),
}
