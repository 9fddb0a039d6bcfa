//! Plain JSON: everything but lone surrogates, deep nesting and numbers of more than 19 digits that are not floats.
//! `serde_json` reads what is refused; a value that is taken went through the same calls of the type's visitors.
//!
//! Known limit: keys that are not text (`HashMap<u64, _>`) are refused.

mod access;
mod deserializer;
mod escapes;
mod reader;

use serde::de::DeserializeOwned;

use super::refused::Refused;
use reader::Reader;

/// Returns the value in the line that begins at an offset, and the offset after its line end.
#[inline]
pub(crate) fn line<T: DeserializeOwned>(text: &str, at: usize, scratch: &mut String) -> Result<(T, usize), Refused> {
    let mut reader = Reader::new(text, at, false, scratch);
    // A line may be empty, which is not for the type to say.
    if reader.token() <= b' ' {
        return Err(Refused);
    }
    let value = T::deserialize(&mut reader)?;
    Ok((value, reader.line_end()?))
}

/// Returns the value that a text is.
#[inline]
pub(crate) fn whole<T: DeserializeOwned>(text: &str, scratch: &mut String) -> Result<T, Refused> {
    let mut reader = Reader::new(text, 0, true, scratch);
    let value = T::deserialize(&mut reader)?;
    reader.end()?;
    Ok(value)
}
