//! Systems to which programs write, as a URL names them.

use std::fmt;

#[cfg(feature = "postgres")]
use tidemill::postgres::PostgresUrl;
use tidemill::prelude::*;
#[cfg(feature = "redis")]
use tidemill::redis::RedisUrl;
#[cfg(feature = "webhook")]
use tidemill::webhook::WebhookUrl;

#[cfg(any(feature = "postgres", feature = "redis", feature = "webhook"))]
use super::parsed;

/// A system to which records are written.
#[derive(Clone, Debug)]
pub enum Written {
    /// A table.
    #[cfg(feature = "postgres")]
    Postgres(PostgresUrl),
    /// Keys of Redis.
    #[cfg(feature = "redis")]
    Redis(RedisUrl),
    /// An HTTP server.
    #[cfg(feature = "webhook")]
    Webhook(WebhookUrl),
}

impl Written {
    /// Returns what a URL names, if it is of such a system.
    pub fn parse(text: &str) -> Option<Result<Self, String>> {
        #[cfg(feature = "postgres")]
        if PostgresUrl::looks_like(text) {
            return Some(parsed(text, Self::Postgres));
        }
        #[cfg(feature = "redis")]
        if RedisUrl::looks_like(text) {
            return Some(parsed(text, Self::Redis));
        }
        #[cfg(feature = "webhook")]
        if WebhookUrl::looks_like(text) {
            return Some(parsed(text, Self::Webhook));
        }
        let _ = text;
        None
    }

    /// Writes a stream to it.
    pub fn sink<D: Data>(&self, stream: Stream<'_, D>, name: &str) -> Result<(), JobError> {
        let _ = (&stream, name);
        match *self {
            #[cfg(feature = "postgres")]
            Self::Postgres(ref url) => stream.sink(name, &PostgresSink::from_url(url)),
            #[cfg(feature = "redis")]
            Self::Redis(ref url) => stream.sink(name, &RedisSink::from_url(url)),
            #[cfg(feature = "webhook")]
            Self::Webhook(ref url) => stream.sink(name, &WebhookSink::from_url(url)),
        }
    }
}

impl fmt::Display for Written {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let _ = &f;
        match *self {
            #[cfg(feature = "postgres")]
            Self::Postgres(ref url) => url.fmt(f),
            #[cfg(feature = "redis")]
            Self::Redis(ref url) => url.fmt(f),
            #[cfg(feature = "webhook")]
            Self::Webhook(ref url) => url.fmt(f),
        }
    }
}
