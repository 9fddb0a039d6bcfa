//! The online layout of Feast's Redis store, so that its servers, and the models behind them, read what a job computes.
//!
//! ```text
//! key     number of entities u32 · of each, by name: 2 u32, length u32, name · of each: type u32, length u32, value · project
//! hash    murmur3("view:feature") u32 ─▶ feast.types.Value, empty if it is null
//!         "_ts:view" ─▶ google.protobuf.Timestamp, the event time
//! ```
//! Numbers are little-endian. It is that of Feast 0.67 with `entity_key_serialization_version: 3`
//! (`sdk/python/feast/infra/key_encoding_utils.py`, `infra/online_stores/redis.py`). Integers are INT64, as Feast has them unless
//! it is told otherwise.

use prost::encoding;
use serde::Serialize;
use tidemill_engine::EventTime;

use super::feast_value::{NESTED, OneValue, Value};
use super::key::KeyTemplate;
use super::rows::Arguments;
use crate::each_field::{EachField, Refused, each_field};
use crate::fields::{Field as FieldType, Kind};

/// The name by which the script knows that what follows is a row of a view.
const COMMAND: &[u8] = b"FEAST";

/// The view whose features are written.
#[derive(Clone, Debug)]
pub(super) struct View {
    project: String,
    name: String,
    /// The fields that are entities, in the order of their names.
    entities: Vec<String>,
    /// When the key expires, in milliseconds.
    ttl: Option<Vec<u8>>,
}

impl View {
    /// Returns the view of which a record with these fields is the features, unless it cannot be. The key names the entities.
    pub(super) fn new(
        key: &KeyTemplate,
        fields: &[FieldType],
        (project, name): (&str, &str),
        ttl: Option<Vec<u8>>,
    ) -> Result<Self, String> {
        if project.is_empty() || name.is_empty() {
            return Err("the project or the view of Feast has no name".to_owned());
        }
        if !key.is_fields_only() {
            return Err("with Feast the key names the entities and nothing else, as {driver_id} does".to_owned());
        }
        let mut entities: Vec<String> = key.fields().map(str::to_owned).collect();
        entities.sort_unstable();
        let is_entity = |field: &FieldType| entities.iter().any(|name| name == field.name);
        if fields.iter().all(is_entity) {
            return Err("all fields of the record are entities, and none is a feature".to_owned());
        }
        for field in fields {
            match field.kind {
                Some(Kind::Nested) => return Err(format!("field \"{}\" {NESTED}", field.name)),
                Some(Kind::Bool | Kind::Float) if is_entity(field) => return Err(no_entity(field.name)),
                _ => {}
            }
        }
        Ok(Self { project: project.to_owned(), name: name.to_owned(), entities, ttl })
    }

    /// Returns the command that writes a record, if the view has nothing newer of these entities.
    pub(super) fn command(&self, record: &impl Serialize, time: EventTime) -> Result<Arguments, String> {
        let mut fields = Fields(Vec::new());
        each_field(record, &mut fields).map_err(|refused| refused.0)?;
        let (seconds, nanos) = (time.0.div_euclid(1000), time.0.rem_euclid(1000) * 1_000_000);
        if seconds < 0 {
            return Err(format!("its event time is {} ms, and Feast has none before 1970", time.0));
        }
        let mut command = vec![COMMAND.to_vec(), self.key(&fields.0)?, format!("_ts:{}", self.name).into_bytes()];
        command.extend([timestamp(seconds, nanos), seconds.to_string().into_bytes(), nanos.to_string().into_bytes()]);
        command.push(self.ttl.clone().unwrap_or_default());
        for (name, value) in fields.0.iter().filter(|(name, _)| self.entities.iter().all(|entity| entity != name)) {
            let hash = murmur3::murmur3_32(&mut format!("{}:{name}", self.name).as_bytes(), 0);
            command.extend([hash.map_err(|e| e.to_string())?.to_le_bytes().to_vec(), value.encoded()]);
        }
        Ok(command)
    }

    fn key(&self, fields: &[(&'static str, Value)]) -> Result<Vec<u8>, String> {
        let number = |count: usize| u32::try_from(count).map(u32::to_le_bytes).map_err(|e| e.to_string());
        let mut key = number(self.entities.len())?.to_vec();
        for name in &self.entities {
            key.extend([&STRING.to_le_bytes()[..], &number(name.len())?, name.as_bytes()].concat());
        }
        for name in &self.entities {
            let value = fields.iter().find(|(field, _)| field == name).map(|(_, value)| value);
            let (kind, bytes) = match value {
                Some(Value::Text(text)) => (STRING, text.as_bytes().to_vec()),
                Some(Value::Bytes(bytes)) => (BYTES, bytes.clone()),
                Some(Value::Integer(number)) => (INT64, number.to_le_bytes().to_vec()),
                Some(Value::Null) | None => return Err(format!("field \"{name}\" is null, and is an entity")),
                Some(_) => return Err(no_entity(name)),
            };
            key.extend([&kind.to_le_bytes()[..], &number(bytes.len())?, &bytes].concat());
        }
        key.extend(self.project.bytes());
        Ok(key)
    }
}

fn no_entity(name: &str) -> String {
    format!("field \"{name}\" is neither a text nor an integer, and is an entity")
}

/// Types of values, as of `feast.types.ValueType`.
const BYTES: u32 = 1;
const STRING: u32 = 2;
const INT64: u32 = 4;

fn timestamp(seconds: i64, nanos: i64) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (tag, value) in [(1, seconds), (2, nanos)] {
        if value != 0 {
            encoding::int64::encode(tag, &value, &mut bytes);
        }
    }
    bytes
}

struct Fields(Vec<(&'static str, Value)>);

impl EachField for Fields {
    fn field<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) -> Result<(), Refused> {
        let value = value.serialize(OneValue).map_err(|reason| Refused(format!("field \"{name}\" {reason}")))?;
        self.0.push((name, value));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Serialize)]
    struct Stats {
        driver_id: Option<u32>,
        city: &'static str,
        conv: f32,
        acc: f64,
        trips: i16,
        name: Option<String>,
        ok: bool,
    }

    fn stats() -> Stats {
        let name = Some("ä".to_owned());
        Stats { driver_id: Some(7), city: "Köln", conv: 0.5, acc: 0.1, trips: -3, name, ok: true }
    }

    /// 2026-11-27 23:00:00.500.
    const TIME: EventTime = EventTime(1_795_820_400_500);

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn view(name: &str, entities: &[&str]) -> View {
        let entities = entities.iter().map(|name| (*name).to_owned()).collect();
        View { project: "demo".to_owned(), name: name.to_owned(), entities, ttl: Some(b"60000".to_vec()) }
    }

    /// What `write_to_online_store` of Feast 0.67.0 (mmh3 5.3.1) left in Redis for the same rows, read with HGETALL.
    #[test]
    fn the_bytes_are_those_that_feast_writes() {
        let of_both = view("stats_by_city", &["city", "driver_id"]).command(&stats(), TIME).unwrap();
        let found: Vec<String> = of_both.iter().map(|part| hex(part)).collect();
        let key = "0200000002000000040000006369747902000000090000006472697665725f696402000000050000004bc3b66c6e0400000008000000070000000000000064656d6f";
        let time = "5f74733a73746174735f62795f63697479";
        assert_eq!(found[..4], [&hex(COMMAND), key, time, "08f096a8d8061080cab5ee01"]);
        assert_eq!(of_both[4..7], [b"1795820400".to_vec(), b"500000000".to_vec(), b"60000".to_vec()]);
        assert_eq!(
            found[7..],
            [
                "ba850ef5",
                "350000003f",
                "063d9034",
                "299a9999999999b93f",
                "a2f86ff7",
                "20fdffffffffffffffff01",
                "a66c720b",
                "1202c3a4",
                "bc379e4b",
                "3801"
            ]
        );
        let unknown = Stats { driver_id: Some(8), name: None, ..stats() };
        let of_one = view("stats", &["driver_id"]).command(&unknown, TIME).unwrap();
        let key = "0100000002000000090000006472697665725f69640400000008000000080000000000000064656d6f";
        assert_eq!((hex(&of_one[1]), hex(&of_one[2])), (key.to_owned(), "5f74733a7374617473".to_owned()));
        let name = of_one[7..].chunks(2).find(|pair| hex(&pair[0]) == "4a5d62a3").expect("the name");
        assert_eq!(name[1], b"", "null is the empty message");
    }

    #[test]
    fn times_are_seconds_and_nanoseconds() {
        let time =
            |ms: i64| view("stats", &["driver_id"]).command(&stats(), EventTime(ms)).map(|command| hex(&command[3]));
        assert_eq!(time(0).unwrap(), "");
        assert_eq!(time(1000).unwrap(), "0801");
        assert_eq!(time(999).unwrap(), "10c08faedc03");
        assert!(time(-1).unwrap_err().contains("before 1970"));
    }

    #[test]
    fn what_is_no_entity_is_refused_with_the_field() {
        let refused = |stats: Stats, entities: &[&str]| view("stats", entities).command(&stats, TIME).unwrap_err();
        assert!(refused(Stats { driver_id: None, ..stats() }, &["driver_id"]).contains("\"driver_id\" is null"));
        assert!(refused(stats(), &["acc"]).contains("\"acc\" is neither a text nor an integer"));
    }
}
