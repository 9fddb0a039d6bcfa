//! What a server must be, so that its marker means what it says: the checks before anything is written.

use std::collections::HashMap;

use redis::Connection;
use tidemill_engine::{ConnectorError, ErrorKind};

use super::error::failure;
use super::server::RedisServer;
use crate::retry::Failure;

/// The first version whose scripts replicate what they have done, not what they are, and that has streams.
const FIRST_VERSION: u32 = 5;

/// What a server says of itself.
struct Info(HashMap<String, String>);

impl Info {
    fn parse(text: &str) -> Self {
        let pairs = text.lines().filter_map(|line| line.split_once(':'));
        Self(pairs.map(|(name, value)| (name.to_owned(), value.trim().to_owned())).collect())
    }

    fn get(&self, name: &str) -> &str {
        self.0.get(name).map_or("", String::as_str)
    }
}

/// Refuses a server that could lose the marker and keep the rows, or that cannot be written to in one script.
pub(super) fn check(server: &RedisServer, connection: &mut Connection) -> Result<(), Failure> {
    let what = format!("read what {server} is");
    let text: String = redis::cmd("INFO").query(connection).map_err(|e| failure(&what, e))?;
    verdict(server, &Info::parse(&text))
}

fn verdict(server: &RedisServer, info: &Info) -> Result<(), Failure> {
    let refused = |reason: String| Err(Failure::Fatal(ConnectorError::new(ErrorKind::Invalid, reason)));
    if info.get("redis_mode") == "sentinel" {
        return refused(format!("{server} is a Sentinel, which stores no keys: give the address of the master"));
    }
    if info.get("cluster_enabled") == "1" {
        return refused(format!(
            "{server} is a node of a cluster (cluster_enabled:1), and the marker and the rows of an epoch are written by one script: in a cluster their keys are in different slots (CROSSSLOT), so only a server of its own is written to"
        ));
    }
    let policy = info.get("maxmemory_policy");
    if policy.starts_with("allkeys-") {
        return refused(format!(
            "{server} has maxmemory-policy {policy}, by which it may evict the marker that says what is published: set noeviction or a volatile-* policy, which evict no key without a TTL"
        ));
    }
    let version = info.get("redis_version");
    match version.split('.').next().unwrap_or_default().parse::<u32>() {
        Ok(major) if major < FIRST_VERSION => {
            return refused(format!("{server} is Redis {version}, and at least {FIRST_VERSION}.0 is needed"));
        }
        _ => {}
    }
    if info.get("role") == "slave" {
        let reason = format!("{server} is a replica of {}:{}", info.get("master_host"), info.get("master_port"));
        // In a failover it may be about to become the master.
        return Err(Failure::Retry(ConnectorError::new(ErrorKind::Unavailable, reason)));
    }
    Ok(())
}

/// Warns if what the server has confirmed may be lost when its machine or its process dies.
pub(super) fn warn_of_loss(server: &RedisServer, connection: &mut Connection) -> Result<(), Failure> {
    let what = format!("read how {server} persists");
    let text: String = redis::cmd("INFO").arg("persistence").query(connection).map_err(|e| failure(&what, e))?;
    if Info::parse(&text).get("aof_enabled") != "1" {
        tracing::warn!(
            "{server} has no append-only file (appendonly no): when it dies, published output is lost together with its marker"
        );
        return Ok(());
    }
    // Not every user, or provider, allows it; then it is not known.
    let setting: Vec<String> = redis::cmd("CONFIG").arg("GET").arg("appendfsync").query(connection).unwrap_or_default();
    match setting.get(1).map(String::as_str) {
        Some("always") | None => {}
        Some(setting) => tracing::warn!(
            "{server} has appendfsync {setting}: when its machine dies, the last published output is lost together with its marker (everysec: up to a second or two of it)"
        ),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_could_lose_the_marker_alone_is_refused_with_both_sides() {
        let server = RedisServer::new("cache");
        let of = |lines: &str| verdict(&server, &Info::parse(lines));
        let fine = "# Server\r\nredis_version:7.0.15\r\nredis_mode:standalone\r\nmaxmemory_policy:volatile-lru\r\nrole:master\r\ncluster_enabled:0\r\n";
        assert!(of(fine).is_ok());
        for (was, is, says) in [
            ("volatile-lru", "allkeys-lfu", "cache:6379/0 has maxmemory-policy allkeys-lfu"),
            ("cluster_enabled:0", "cluster_enabled:1", "CROSSSLOT"),
            ("7.0.15", "4.0.9", "is Redis 4.0.9, and at least 5.0 is needed"),
            ("standalone", "sentinel", "is a Sentinel"),
        ] {
            let Err(Failure::Fatal(error)) = of(&fine.replace(was, is)) else { panic!("{is}") };
            assert!(error.to_string().contains(says), "{error}");
        }
        let replica = fine.replace("role:master", "role:slave\r\nmaster_host:m\r\nmaster_port:1");
        let Err(Failure::Retry(error)) = of(&replica) else { panic!("a replica") };
        assert_eq!(error.to_string(), "cache:6379/0 is a replica of m:1");
    }
}
