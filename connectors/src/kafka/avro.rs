//! The decoding of Avro payloads.

use serde::de::DeserializeOwned;

use super::decode::{Decode, Incoming, NotDecoded};
use super::frame::framed;
use super::payload::payload;
use super::registry::SchemaRegistry;

/// Returns a decoder of Avro payloads in Confluent's wire format: a zero, the id of the writer's schema in `registry`,
/// the record.
pub fn avro<T: DeserializeOwned + 'static>(registry: SchemaRegistry) -> impl Decode<T> {
    move |message: Incoming<'_>| decode_avro(&registry, payload(message)?)
}

pub(super) fn decode_avro<T: DeserializeOwned>(registry: &SchemaRegistry, payload: &[u8]) -> Result<T, NotDecoded> {
    let (id, mut rest) = framed(payload)?;
    let schema = registry.avro(id)?;
    let value = apache_avro::from_avro_datum(&schema, &mut rest, None).map_err(NotDecoded::poison)?;
    apache_avro::from_value(&value).map_err(NotDecoded::poison)
}
