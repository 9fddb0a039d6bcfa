//! The error of the parsers of plain text.

use std::fmt;

use serde::de;

/// The text is not plain, or is not what the type accepts. There is no reason in it, because another parser finds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refused;

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not plain text")
    }
}

impl std::error::Error for Refused {}

impl de::Error for Refused {
    /// Does not format the message: that would cost more than the other parser.
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self
    }
}

/// Defines methods of a `Deserializer` that refuse what a type asks for, and note it by `noted`.
macro_rules! refuse {
    ($($method:ident ($($type:ty),*))*) => {
        $(
            #[cold]
            fn $method<V: serde::de::Visitor<'de>>(mut self, $(_: $type,)* _: V) -> Result<V::Value, Refused> {
                self.noted(Err(Refused))
            }
        )*
    };
}
pub(super) use refuse;
