//! A record becomes a row: the commands that write it.

use std::num::NonZeroU64;
use std::time::Duration;

use serde::Serialize;
use tidemill_engine::{Data, EventTime};

use super::feast::View;
use super::key::KeyTemplate;
use super::rows::{self, Arguments};
use super::text::{Field, fields};
use crate::fields::{Kind, fields_of};

/// Maximum number of bytes of a record's commands, which is Redis' limit of one value.
const MAX_BYTES: usize = 512 << 20;
/// Maximum number of arguments of a command: Lua passes no more than 8,000.
const MAX_ARGUMENTS: usize = 7_000;
/// Maximum length of a TTL, so that the time at which a key expires is one.
const MAX_TTL: Duration = Duration::from_secs(100 * 366 * 86_400);

/// What is written for each record. All of it sets absolute values, so that it can be repeated, or appends to a stream, which
/// the marker guards.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RedisWrite {
    /// `SET`: the key's value is the record as JSON, or one field of it. A field that is null removes the key.
    Set {
        /// The field, if it is not the whole record.
        field: Option<String>,
        /// Length of time after which the key expires.
        ttl: Option<Duration>,
    },
    /// `HSET`: the key is a hash of the record's fields. A field that is null is removed from it; fields of the hash that the
    /// record does not have stay.
    Hset {
        /// Length of time after which the key expires.
        ttl: Option<Duration>,
    },
    /// `ZADD`: the key is a sorted set, in which a field of the record has the score of another one. A score that is null
    /// removes the member.
    Zadd {
        /// The field that is the member.
        member: String,
        /// The field that is its score.
        score: String,
    },
    /// The layout of Feast's online store: the key's value are the features of a view, of the entities that the template of the key
    /// names (`{driver_id}`). What has an older event time than is there is left out, as Feast does it; of equal times the last
    /// one stays. It is read by Feast 0.67 with `entity_key_serialization_version: 3`.
    Feast {
        /// The project.
        project: String,
        /// The feature view. Its features are the fields of the record that are no entities.
        view: String,
        /// Length of time after which the key expires: `key_ttl_seconds`.
        ttl: Option<Duration>,
    },
    /// `XADD`: an entry of a stream has the record's fields, without those that are null.
    Xadd {
        /// About how many entries the stream keeps at most (`MAXLEN ~`).
        max_len: Option<NonZeroU64>,
    },
}

impl RedisWrite {
    /// Returns the type that keys have, as `TYPE` says it.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Set { .. } => "string",
            Self::Hset { .. } | Self::Feast { .. } => "hash",
            Self::Zadd { .. } => "zset",
            Self::Xadd { .. } => "stream",
        }
    }

    fn ttl(&self) -> Option<Duration> {
        match self {
            Self::Set { ttl, .. } | Self::Hset { ttl } | Self::Feast { ttl, .. } => *ttl,
            Self::Zadd { .. } | Self::Xadd { .. } => None,
        }
    }

    /// Returns the fields that it names.
    fn named(&self) -> Vec<&str> {
        match self {
            Self::Set { field, .. } => field.iter().map(String::as_str).collect(),
            Self::Zadd { member, score } => vec![member, score],
            Self::Hset { .. } | Self::Feast { .. } | Self::Xadd { .. } => Vec::new(),
        }
    }
}

/// Writes records as rows.
#[derive(Clone, Debug)]
pub(super) struct RowEncoder {
    key: KeyTemplate,
    write: RedisWrite,
    /// The view of Feast, if that is what is written.
    view: Option<View>,
}

impl RowEncoder {
    /// Returns the encoder of records of type `T`, unless they do not fit.
    pub(super) fn new<T: Data>(key: &str, write: &RedisWrite) -> Result<Self, String> {
        let (key, write) = (KeyTemplate::parse(key)?, write.clone());
        let fields = fields_of::<T>().filter(|fields| !fields.is_empty()).ok_or_else(|| {
            let name = std::any::type_name::<T>();
            format!("records of type {name} cannot be written to Redis: a record must be a struct with named fields, without `serde(flatten)`")
        })?;
        for name in key.fields().chain(write.named()) {
            if fields.iter().all(|field| field.name != name) {
                let has: Vec<&str> = fields.iter().map(|field| field.name).collect();
                return Err(format!("there is no field \"{name}\" (the record has: {})", has.join(", ")));
            }
        }
        if let RedisWrite::Zadd { score, .. } = &write {
            let kind = fields.iter().find(|field| field.name == score).and_then(|field| field.kind);
            if let Some(kind @ (Kind::Bool | Kind::Bytes | Kind::Nested)) = kind {
                return Err(format!("the score \"{score}\" is of type {kind}, and must be a number"));
            }
        }
        let view = match &write {
            RedisWrite::Feast { project, view, ttl } => {
                Some(View::new(&key, &fields, (project, view), ttl.map(in_ms))?)
            }
            _ => None,
        };
        if let Some(ttl) = write.ttl().filter(|ttl| ttl.as_millis() == 0 || *ttl > MAX_TTL) {
            return Err(format!("the ttl is {ttl:?}, and must be from 1 ms to 100 years"));
        }
        Ok(Self { key, write, view })
    }

    /// Appends a record's row, and returns the key of what it replaces, if it replaces anything. Nothing is appended if the
    /// record is refused.
    pub(super) fn write(
        &self,
        record: &impl Serialize,
        time: EventTime,
        rows: &mut Vec<u8>,
    ) -> Result<Option<Vec<u8>>, String> {
        let (commands, replaced) = match &self.view {
            // The newest by event time stays, and not the last one: each is a row.
            Some(view) => (vec![view.command(record, time)?], None),
            None => self.fields_as_text(record)?,
        };
        let arguments = || commands.iter().flatten();
        let bytes: usize = arguments().map(Vec::len).sum();
        if bytes > MAX_BYTES {
            return Err(format!("it has {bytes} bytes, and Redis takes 512 MiB"));
        }
        if let Some(command) = commands.iter().find(|command| command.len() > MAX_ARGUMENTS) {
            return Err(format!("it needs a command of {} arguments, and {MAX_ARGUMENTS} are possible", command.len()));
        }
        rows::write(&commands, rows).map_err(|e| e.to_string())?;
        Ok(replaced)
    }

    fn fields_as_text(&self, record: &impl Serialize) -> Result<(Vec<Arguments>, Option<Vec<u8>>), String> {
        let all = matches!(self.write, RedisWrite::Hset { .. } | RedisWrite::Xadd { .. });
        let named = self.write.named();
        let wanted = |name: &str| all || named.contains(&name) || self.key.fields().any(|field| field == name);
        let fields = fields(record, wanted).map_err(|refused| refused.0)?;
        let key = self.key.key(&fields)?;
        self.commands(record, &fields, key)
    }

    fn commands(
        &self,
        record: &impl Serialize,
        fields: &[Field],
        key: Vec<u8>,
    ) -> Result<(Vec<Arguments>, Option<Vec<u8>>), String> {
        let ttl = self.write.ttl().map(in_ms);
        let value = |name: &str| fields.iter().find(|field| field.name == name).and_then(|field| field.value.clone());
        let command = |name: &str| vec![name.as_bytes().to_vec(), key.clone()];
        let commands = match &self.write {
            RedisWrite::Set { field, .. } => {
                let value = match field {
                    Some(name) => value(name),
                    None => Some(serde_json::to_vec(record).map_err(|e| e.to_string())?),
                };
                vec![match (value, ttl) {
                    (None, _) => command("DEL"),
                    (Some(value), None) => [command("SET"), vec![value]].concat(),
                    (Some(value), Some(ttl)) => [command("SET"), vec![value, b"PX".to_vec(), ttl]].concat(),
                }]
            }
            RedisWrite::Hset { .. } => {
                let (mut set, mut removed) = (command("HSET"), command("HDEL"));
                for Field { name, value } in fields {
                    match value {
                        Some(value) => set.extend([name.as_bytes().to_vec(), value.clone()]),
                        None => removed.push(name.as_bytes().to_vec()),
                    }
                }
                let expires = ttl.map(|ttl| [command("PEXPIRE"), vec![ttl]].concat());
                let of_fields = [set, removed].into_iter().filter(|command| command.len() > 2);
                of_fields.chain(expires).collect()
            }
            RedisWrite::Zadd { member, score } => {
                let null = || format!("field \"{member}\" is null, and is the member of a sorted set");
                let of = value(member).ok_or_else(null)?;
                let added = match value(score) {
                    None => [command("ZREM"), vec![of.clone()]].concat(),
                    Some(number) => {
                        check_score(&number).map_err(|reason| format!("field \"{score}\" {reason}"))?;
                        [command("ZADD"), vec![number, of.clone()]].concat()
                    }
                };
                let replaced = [&(key.len() as u64).to_le_bytes()[..], &key, &of].concat();
                return Ok((vec![added], Some(replaced)));
            }
            RedisWrite::Xadd { max_len } => {
                let mut entry = command("XADD");
                if let Some(max_len) = max_len {
                    entry.extend([b"MAXLEN".to_vec(), b"~".to_vec(), max_len.to_string().into_bytes()]);
                }
                entry.push(b"*".to_vec());
                let before = entry.len();
                for Field { name, value } in fields {
                    entry.extend(value.iter().flat_map(|value| [name.as_bytes().to_vec(), value.clone()]));
                }
                if entry.len() == before {
                    return Err("all of its fields are null, and an entry of a stream has at least one".to_owned());
                }
                return Ok((vec![entry], None));
            }
            // Its view has the command.
            RedisWrite::Feast { .. } => Vec::new(),
        };
        Ok((commands, Some(key)))
    }
}

fn in_ms(time: Duration) -> Vec<u8> {
    time.as_millis().to_string().into_bytes()
}

/// Checks that Redis reads a text as the number that it is.
fn check_score(text: &[u8]) -> Result<(), String> {
    let text = String::from_utf8_lossy(text);
    let Ok(number) = text.parse::<f64>() else { return Err(format!("is \"{text}\", which is no number")) };
    if number.is_nan() {
        return Err("is NaN, which is no score".to_owned());
    }
    // Beyond 2^53 an integer may be none of the floats.
    match text.parse::<i128>() {
        Ok(integer) if number as i128 != integer => Err(format!("is {integer}, which a score cannot be exactly")),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::super::rows::Rows;
    use super::*;

    #[derive(Clone, Debug, Serialize, Deserialize)]
    struct Card {
        id: Option<u32>,
        score: Option<f64>,
        tags: Vec<String>,
        count: u64,
    }

    fn card() -> Card {
        Card { id: Some(7), score: Some(0.5), tags: vec!["a".to_owned()], count: 3 }
    }

    fn written(key: &str, write: &RedisWrite, card: &Card) -> Result<Vec<String>, String> {
        let mut rows = Vec::new();
        let encoder = RowEncoder::new::<Card>(key, write)?;
        let wrote = encoder.write(card, EventTime(1_764_547_200_500), &mut rows);
        assert!(wrote.is_ok() || rows.is_empty());
        wrote?;
        let batch = Rows::new(&rows).batch(1 << 20).unwrap();
        let text = |command: &Vec<&[u8]>| String::from_utf8(command.join(&b' ')).unwrap();
        Ok(batch.commands.iter().map(text).collect())
    }

    #[test]
    fn each_way_of_writing_has_its_commands() {
        let ttl = Some(Duration::from_secs(60));
        let (set, hset) = (RedisWrite::Set { field: None, ttl }, RedisWrite::Hset { ttl });
        let json = r#"SET card:7 {"id":7,"score":0.5,"tags":["a"],"count":3} PX 60000"#;
        assert_eq!(written("card:{id}", &set, &card()).unwrap(), [json]);
        let hash = ["HSET card:7 id 7 score 0.5 tags [\"a\"] count 3", "PEXPIRE card:7 60000"];
        assert_eq!(written("card:{id}", &hset, &card()).unwrap(), hash);
        let unknown = Card { score: None, ..card() };
        let hash = ["HSET c id 7 tags [\"a\"] count 3", "HDEL c score"];
        assert_eq!(written("c", &RedisWrite::Hset { ttl: None }, &unknown).unwrap(), hash);
        let score = RedisWrite::Set { field: Some("score".to_owned()), ttl: None };
        assert_eq!(written("c:{id}", &score, &card()).unwrap(), ["SET c:7 0.5"]);
        assert_eq!(written("c:{id}", &score, &unknown).unwrap(), ["DEL c:7"]);
        let sorted = RedisWrite::Zadd { member: "id".to_owned(), score: "score".to_owned() };
        assert_eq!(written("top", &sorted, &card()).unwrap(), ["ZADD top 0.5 7"]);
        assert_eq!(written("top", &sorted, &unknown).unwrap(), ["ZREM top 7"]);
        let stream = RedisWrite::Xadd { max_len: NonZeroU64::new(1000) };
        let entry = ["XADD s MAXLEN ~ 1000 * id 7 tags [\"a\"] count 3"];
        assert_eq!(written("s", &stream, &unknown).unwrap(), entry);
    }

    #[test]
    fn what_does_not_fit_is_refused_with_the_field() {
        let (zadd, hset) = (
            |score: &str| RedisWrite::Zadd { member: "id".into(), score: score.into() },
            RedisWrite::Hset { ttl: None },
        );
        let ttl = |ttl| RedisWrite::Hset { ttl: Some(ttl) };
        for (result, says) in [
            (written("{day}", &hset, &card()), "there is no field \"day\" (the record has: id, score, tags, count)"),
            (written("x", &zadd("rank"), &card()), "there is no field \"rank\""),
            (written("x", &zadd("tags"), &card()), "the score \"tags\" is of type list"),
            (written("x", &ttl(Duration::ZERO), &card()), "must be from 1 ms"),
            (written("x", &ttl(Duration::MAX), &card()), "to 100 years"),
            (written("x:{id}", &hset, &Card { id: None, ..card() }), "field \"id\" is null"),
            (written("x", &zadd("count"), &Card { id: None, ..card() }), "is the member of a sorted set"),
            (written("x", &zadd("score"), &Card { score: Some(f64::NAN), ..card() }), "\"score\" is NaN"),
            (written("x", &zadd("count"), &Card { count: (1 << 53) + 1, ..card() }), "cannot be exactly"),
        ] {
            let error = result.unwrap_err();
            assert!(error.contains(says), "{error}");
        }
        assert!(RowEncoder::new::<u32>("x", &hset).unwrap_err().contains("must be a struct"));
        for score in ["inf", "-inf", "12", "1e300", "9007199254740992"] {
            check_score(score.as_bytes()).unwrap();
        }
    }
}
