//! A row as JSON, by the kind of its state.
//!
//! The layout of rows is that of `codec.rs`, `hot/timers.rs` and `hot/pending.rs`.

use serde_json::{Map, Value, json};

use super::json::{decode, hex};
use super::layout::Type;
use crate::codec::{self, DecodeError};
use crate::evolve::shape::{Layout, Shape};
use crate::evolve::spec::StateEntry;
use crate::packed::{self, Packed};

/// How the rows of a state are read.
pub(super) struct RowReader {
    kind: String,
    version: u8,
    expires: bool,
    key: Type,
    value: Type,
    header: Type,
}

impl RowReader {
    pub(super) fn of(state: &StateEntry) -> Self {
        let layout = state.layout.clone().unwrap_or_default();
        let of = |shape: &Option<Shape>| shape.as_ref().map_or(Type::Unknown, |shape| Type::of(&shape.to_string()));
        let Layout { key, value, header, ttl } = &layout;
        Self {
            kind: state.kind.clone(),
            version: state.version,
            expires: ttl.is_some(),
            key: of(key),
            value: of(value),
            header: of(header),
        }
    }

    /// Visits the rows of a list that is packed into this row, or the row itself.
    pub(super) fn unpacked<E>(
        &self,
        row: &[u8],
        value: &[u8],
        mut visit: impl FnMut(&[u8], &[u8]) -> Result<bool, E>,
    ) -> Result<bool, E> {
        let packed = self.kind == "log" && codec::split_row_key(row).is_ok_and(|(.., suffix)| suffix == packed::SUFFIX);
        let parts = value.split_at_checked(if self.expires { 9 } else { 1 }).filter(|_| packed);
        match parts.map(|(before, body)| (before, Packed::read(body))) {
            Some((before, Ok(list))) => list.unpack(row, before, visit),
            _ => visit(row, value),
        }
    }

    /// Returns a row as JSON. What cannot be decoded is there as hexadecimal digits, with the reason.
    pub(super) fn read(&self, row: &[u8], value: &[u8]) -> Value {
        let mut out = Map::new();
        if let Err(DecodeError(reason)) = self.fill(row, value, &mut out) {
            out.insert("undecoded".to_owned(), json!({ "reason": reason, "row": hex(row), "value": hex(value) }));
        }
        Value::Object(out)
    }

    fn fill(&self, row: &[u8], value: &[u8], out: &mut Map<String, Value>) -> Result<(), DecodeError> {
        let mut put = |name: &str, value: Value| _ = out.insert(name.to_owned(), value);
        match self.kind.as_str() {
            "timers" => {
                let (time, key) = timed(row)?;
                put("time_ms", time.into());
                put("key", decode(&self.key, key)?);
            }
            "pending" => {
                let (time, sequence) = timed(row)?;
                put("time_ms", time.into());
                let sequence = sequence.try_into().map(u64::from_be_bytes).map_err(|_| short())?;
                put("sequence", sequence.into());
                let pair = Type::Tuple(vec![Type::Plain("u64".to_owned()), self.value.clone()]);
                let both = decode(&pair, self.body(value, false)?.1)?;
                put("value", both.get(1).cloned().unwrap_or_default());
            }
            _ => {
                let (_, key, suffix) = codec::split_row_key(row)?;
                put("key", decode(&self.key, key)?);
                let (expiry, body) = self.body(value, self.expires)?;
                expiry.into_iter().for_each(|expiry| put("expires_ms", expiry.into()));
                match (self.kind.as_str(), <[u8; 8]>::try_from(suffix)) {
                    ("log", Ok(sequence)) => {
                        put("sequence", u64::from_be_bytes(sequence).into());
                        put("value", decode(&self.value, body)?);
                    }
                    ("log", Err(_)) if !suffix.is_empty() => {
                        return Err(DecodeError("its packed list is cut".to_owned()));
                    }
                    ("log", Err(_)) => put("header", decode(&self.header, body)?),
                    _ => put("value", decode(&self.value, body)?),
                }
            }
        }
        Ok(())
    }

    /// Splits a value into its expiry, if it has one, and what comes after that.
    fn body<'v>(&self, value: &'v [u8], expires: bool) -> Result<(Option<i64>, &'v [u8]), DecodeError> {
        let (version, rest) = value.split_first().ok_or_else(short)?;
        if *version != self.version {
            let reason = format!("it is of version {version}, and only the shape of version {} is known", self.version);
            return Err(DecodeError(reason));
        }
        if !expires {
            return Ok((None, rest));
        }
        let (expiry, rest) = rest.split_first_chunk::<8>().ok_or_else(short)?;
        Ok((Some(i64::from_le_bytes(*expiry)), rest))
    }
}

fn short() -> DecodeError {
    DecodeError("it is too short".to_owned())
}

/// Splits the row of a timer or of a pending record into its time and what comes after that.
fn timed(row: &[u8]) -> Result<(i64, &[u8]), DecodeError> {
    let (_, rest) = row.split_first_chunk::<2>().ok_or_else(short)?;
    let (time, rest) = rest.split_first_chunk::<8>().ok_or_else(short)?;
    Ok((codec::time_of(*time), rest))
}
