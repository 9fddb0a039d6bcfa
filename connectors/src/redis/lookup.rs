//! Lookups: rows of Redis by their keys, for a lookup join.

use std::error::Error;
use std::time::Duration;

use redis::{Connection, Pipeline, RedisResult, Value};
use serde::de::DeserializeOwned;
use tidemill_engine::{ConnectorError, ErrorKind};

use super::error::failure;
use super::server::RedisServer;
use super::value;
use crate::retry::Failure;

/// Time that an answer may take. What runs the lookup has a deadline of its own, which is shorter.
const ANSWER: Duration = Duration::from_secs(10);

/// A connection that fetches rows: given keys, it returns a row for each, in their order, and `None` where the key is not
/// there.
pub type RedisRows<K, V> = Box<dyn FnMut(&[K]) -> Result<Vec<Option<V>>, ConnectorError> + Send>;

/// Returns what makes connections that fetch rows stored as JSON, for `lookup_join_async`. `key` makes the key of Redis.
///
/// A batch is one round trip. A connection that fails is made anew at the next one.
///
/// # Errors
/// A batch fails, with the key, when a value is not `V` as JSON, or the key holds another type than a string.
pub fn lookup_json<K: 'static, V: DeserializeOwned + 'static>(
    server: RedisServer,
    key: impl Fn(&K) -> String + Clone + Send + Sync + 'static,
) -> impl Fn() -> RedisRows<K, V> + Send + Sync + 'static {
    move || rows("GET", server.clone(), key.clone(), value::json)
}

/// Returns what makes connections that fetch rows stored as hashes, for `lookup_join_async`: `V` is a struct whose fields are
/// those of the hash, as `HSET` of a [`RedisSink`](super::RedisSink) writes them. `key` makes the key of Redis.
///
/// A batch is one round trip. A connection that fails is made anew at the next one.
///
/// # Errors
/// A batch fails, with the key, when a field does not fit `V`, or the key holds another type than a hash.
pub fn lookup_hashes<K: 'static, V: DeserializeOwned + 'static>(
    server: RedisServer,
    key: impl Fn(&K) -> String + Clone + Send + Sync + 'static,
) -> impl Fn() -> RedisRows<K, V> + Send + Sync + 'static {
    move || rows("HGETALL", server.clone(), key.clone(), value::hash)
}

fn rows<K: 'static, V: 'static>(
    command: &'static str,
    server: RedisServer,
    key: impl Fn(&K) -> String + Send + 'static,
    decode: fn(Value) -> Result<Option<V>, String>,
) -> RedisRows<K, V> {
    let mut kept: Option<Connection> = None;
    Box::new(move |keys: &[K]| {
        let what = format!("look up keys in {server}");
        let mut connection = kept.take().map_or_else(|| server.connect(ANSWER), Ok).map_err(said)?;
        let names: Vec<String> = keys.iter().map(&key).collect();
        // One command a key: MGET has no row where a key holds another type.
        let mut pipeline = Pipeline::with_capacity(names.len());
        for name in &names {
            pipeline.cmd(command).arg(name);
        }
        let answers: Vec<RedisResult<Value>> =
            pipeline.ignore_errors().query(&mut connection).map_err(|e| said(failure(&what, e)))?;
        // What follows fails by the rows, and the connection is as good as before.
        kept = Some(connection);
        let decoded = answers.into_iter().zip(&names).map(|(answer, name)| {
            let answer = answer.map_err(|e| said(failure(&format!("look up \"{name}\" in {server}"), e)))?;
            decode(answer).map_err(|reason| {
                let message = format!("the key \"{name}\" of {server} has another value: {reason}");
                ConnectorError::new(ErrorKind::Data, message)
            })
        });
        decoded.collect()
    })
}

/// Returns the error with its cause in the message: a dead letter has no more than that.
fn said(failure: Failure) -> ConnectorError {
    let error = failure.into_error();
    match error.source() {
        Some(cause) => ConnectorError::new(error.kind(), format!("{error}: {cause}")),
        None => error,
    }
}
