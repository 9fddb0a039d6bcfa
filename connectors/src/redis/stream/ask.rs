//! What is asked of the server, and its answers taken apart.

use std::time::Duration;

use redis::{Connection, RedisError, RedisResult, Value, cmd};
use tidemill_engine::{ConnectorError, ErrorKind};

use super::super::error::failure;
use super::entry::{Entry, EntryId};
use super::progress::Known;
use crate::retry::Failure;

/// The entries behind a place, and what the server knew of the stream at that moment.
pub(super) struct Answer {
    /// `None` if there is no such stream.
    pub(super) known: Option<Known>,
    pub(super) entries: Vec<Entry>,
}

/// Asks what the server knows of a stream, and whether it may be read; `None` if there is no such key.
pub(super) fn known(connection: &mut Connection, key: &str) -> Result<Option<Known>, Failure> {
    // In a transaction the server would not say why it refuses a command.
    cmd("XREAD").arg("STREAMS").arg(key).arg("$").query::<Value>(connection).map_err(|e| failed(key, e))?;
    known_of(key, cmd("XINFO").arg("STREAM").arg(key).query(connection))
}

/// Asks for at most `count` entries behind `last`, and at the same moment for what the server knows of the stream.
pub(super) fn read(connection: &mut Connection, key: &str, last: EntryId, count: usize) -> Result<Answer, Failure> {
    let mut both = redis::pipe();
    both.atomic().ignore_errors();
    both.cmd("XINFO").arg("STREAM").arg(key);
    both.cmd("XREAD").arg("COUNT").arg(count).arg("STREAMS").arg(key).arg(last.to_string());
    let answers: Vec<RedisResult<Value>> = match both.query(connection) {
        Ok(answers) => answers,
        Err(error) if error.code() == Some("EXECABORT") => return Err(why_aborted(connection, key, error)),
        Err(error) => return Err(failed(key, error)),
    };
    let mut answers = answers.into_iter();
    let (Some(known), Some(entries)) = (answers.next(), answers.next()) else {
        return Err(odd(key, "it has fewer answers than there were questions"));
    };
    let known = known_of(key, known)?;
    let entries = entries_of(entries.map_err(|e| failed(key, e))?);
    Ok(Answer { known, entries: entries.ok_or_else(|| odd(key, "its entries are not as XREAD has them"))? })
}

/// Returns why the server has refused a transaction, of which its answer has no code: it is still loading its data, say.
fn why_aborted(connection: &mut Connection, key: &str, error: RedisError) -> Failure {
    match known(connection, key) {
        Err(failure) => failure,
        // The reason has passed.
        Ok(_) => {
            let message = format!("could not read the stream \"{key}\"");
            Failure::Retry(ConnectorError::caused(ErrorKind::Unavailable, message, error))
        }
    }
}

/// Waits until an entry comes to one of the streams, for `time` at most.
pub(super) fn wait(
    connection: &mut Connection,
    places: impl Iterator<Item = (String, EntryId)>,
    time: Duration,
) -> Result<(), Failure> {
    let (keys, lasts): (Vec<String>, Vec<String>) = places.map(|(key, last)| (key, last.to_string())).unzip();
    let mut command = cmd("XREAD");
    command.arg("COUNT").arg(1).arg("BLOCK").arg(time.as_millis() as u64).arg("STREAMS").arg(&keys).arg(&lasts);
    command.query::<Value>(connection).map_err(|e| failed(&keys.join(", "), e)).map(drop)
}

fn failed(key: &str, error: RedisError) -> Failure {
    failure(&format!("read the stream \"{key}\""), error)
}

fn odd(key: &str, why: &str) -> Failure {
    let message = format!("could not understand what the server says of the stream \"{key}\": {why}");
    Failure::Fatal(ConnectorError::new(ErrorKind::Invalid, message))
}

fn known_of(key: &str, answer: RedisResult<Value>) -> Result<Option<Known>, Failure> {
    let answer = match answer {
        Ok(answer) => answer,
        Err(error) if error.detail() == Some("no such key") => return Ok(None),
        Err(error) => return Err(failed(key, error)),
    };
    let Value::Array(pairs) = &answer else { return Err(odd(key, "XINFO STREAM is no list")) };
    let (pairs, _) = pairs.as_chunks::<2>();
    let find = |name: &str| {
        let pair = pairs.iter().find(|[known, _]| text(known).as_deref() == Some(name));
        pair.map(|[_, value]| value)
    };
    let number = |name: &str| match find(name) {
        Some(Value::Int(number)) => u64::try_from(*number).ok(),
        _ => None,
    };
    let Some(added) = number("entries-added") else {
        let message = format!(
            "the server of the stream \"{key}\" does not count the entries that are added (Redis does since 7.0): it would \
             not be noticed that entries are gone before they are read"
        );
        return Err(Failure::Fatal(ConnectorError::new(ErrorKind::Invalid, message)));
    };
    let id = |value: &Value| text(value).and_then(|text| text.parse::<EntryId>().ok());
    let first = match find("first-entry") {
        Some(Value::Array(entry)) => entry.first().and_then(id),
        _ => None,
    };
    match (number("length"), find("last-generated-id").and_then(id)) {
        (Some(length), Some(newest)) => Ok(Some(Known { length, added, newest, first })),
        _ => Err(odd(key, "XINFO STREAM lacks length or last-generated-id")),
    }
}

/// Returns the entries of an answer to `XREAD` of one stream.
fn entries_of(answer: Value) -> Option<Vec<Entry>> {
    let streams = match answer {
        Value::Nil => return Some(Vec::new()),
        Value::Array(streams) => streams,
        _ => return None,
    };
    let Some(Value::Array(stream)) = streams.into_iter().next() else { return Some(Vec::new()) };
    let Some(Value::Array(entries)) = stream.into_iter().nth(1) else { return None };
    entries.into_iter().map(entry_of).collect()
}

fn entry_of(answer: Value) -> Option<Entry> {
    let Value::Array(parts) = answer else { return None };
    let mut parts = parts.into_iter();
    let id = text(&parts.next()?)?.parse().ok()?;
    let Value::Array(texts) = parts.next()? else { return None };
    let mut texts = texts.into_iter();
    let mut fields = Vec::with_capacity(texts.len() / 2);
    while let Some(name) = texts.next() {
        fields.push((bytes(name)?, bytes(texts.next()?)?));
    }
    Some(Entry { id, fields })
}

fn bytes(value: Value) -> Option<Vec<u8>> {
    match value {
        Value::BulkString(bytes) => Some(bytes),
        Value::SimpleString(text) => Some(text.into_bytes()),
        _ => None,
    }
}

fn text(value: &Value) -> Option<String> {
    bytes(value.clone()).and_then(|bytes| String::from_utf8(bytes).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(resp: &str) -> Value {
        redis::parse_redis_value(resp.replace('\n', "\r\n").as_bytes()).unwrap()
    }

    #[test]
    fn a_server_that_does_not_count_is_refused_and_one_without_the_key_knows_nothing() {
        let old = answer("*4\n$6\nlength\n:1\n$17\nlast-generated-id\n$3\n5-0\n");
        let Err(Failure::Fatal(error)) = known_of("s", Ok(old)) else { panic!("it counts nothing") };
        assert!(error.to_string().contains("Redis does since 7.0"), "{error}");
        let none = answer("-ERR no such key\n").extract_error();
        assert_eq!(known_of("s", none).ok().flatten(), None);
        let other = answer("-WRONGTYPE Operation against a key\n").extract_error();
        assert!(matches!(known_of("s", other), Err(Failure::Fatal(_))));
    }

    #[test]
    fn what_is_known_is_taken_from_the_names_whatever_their_order() {
        let now = "*10\n$13\nentries-added\n:9\n$6\nlength\n:2\n$4\nmore\n:7\n$11\nfirst-entry\n*2\n$3\n4-1\n*2\n$1\na\n$1\nb\n\
                   $17\nlast-generated-id\n$3\n5-0\n";
        let known = known_of("s", Ok(answer(now))).ok().flatten().unwrap();
        let id = |text: &str| text.parse::<EntryId>().unwrap();
        assert_eq!(known, Known { length: 2, added: 9, newest: id("5-0"), first: Some(id("4-1")) });
    }

    #[test]
    fn entries_keep_their_fields_and_an_odd_answer_is_none() {
        let one = "*1\n*2\n$1\ns\n*1\n*2\n$3\n5-0\n*4\n$1\na\n$1\n1\n$1\na\n$0\n\n";
        let entries = entries_of(answer(one)).unwrap();
        let fields = vec![(b"a".to_vec(), b"1".to_vec()), (b"a".to_vec(), Vec::new())];
        assert_eq!(entries, [Entry { id: "5-0".parse().unwrap(), fields }]);
        assert_eq!(entries_of(Value::Nil), Some(Vec::new()));
        for odd in [":1\n", "*1\n*2\n$1\ns\n*1\n*2\n$3\n5-0\n*1\n$1\na\n", "*1\n*2\n$1\ns\n*1\n*2\n$1\nx\n*0\n"] {
            assert_eq!(entries_of(answer(odd)), None, "{odd}");
        }
    }
}
