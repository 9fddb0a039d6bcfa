//! What an error of the server or of the connection means: try again, or stop with all that the server says.

use redis::{ErrorKind as Kind, RedisError};
use tidemill_engine::{ConnectorError, ErrorKind};

use crate::retry::Failure;

/// The codes after which the same may succeed later: a server that starts, is or becomes a replica, has no memory left, cannot
/// write to its disk, lacks replicas, or runs another script.
const LATER: [&str; 9] =
    ["LOADING", "MASTERDOWN", "CLUSTERDOWN", "READONLY", "TRYAGAIN", "OOM", "MISCONF", "NOREPLICAS", "BUSY"];

/// Sorts an error. `what` is what was tried.
pub(super) fn failure(what: &str, error: RedisError) -> Failure {
    let message = format!("could not {what}");
    let later = match error.code() {
        Some(code) => LATER.contains(&code) || is_full(&error),
        // Of the connection; a name that is not resolved is among the errors of the client's configuration.
        None => matches!(error.kind(), Kind::Io | Kind::Parse | Kind::InvalidClientConfig),
    };
    if later {
        return Failure::Retry(ConnectorError::caused(ErrorKind::Unavailable, message, error));
    }
    let said = said(&error);
    Failure::Fatal(ConnectorError::new(ErrorKind::Invalid, format!("{message}: {said}")))
}

fn is_full(error: &RedisError) -> bool {
    error.detail().is_some_and(|detail| detail.contains("max number of clients"))
}

/// Returns what the server says, and what it means where that is not plain.
fn said(error: &RedisError) -> String {
    let code = error.code().unwrap_or_default();
    let said = match error.detail() {
        Some(detail) => format!("{code} {detail}"),
        None => error.to_string(),
    };
    let hint = match code {
        "NOAUTH" => " (no password was given)",
        "WRONGPASS" => " (the user or the password is not right)",
        "NOPERM" => " (the user lacks a right: the page of the connector lists what it needs)",
        "MOVED" | "ASK" | "CROSSSLOT" => " (the keys of a cluster are on several nodes, and are not written to)",
        _ => "",
    };
    said.trim_start().to_owned() + hint
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(line: &str) -> Failure {
        let answer = redis::parse_redis_value(format!("-{line}\r\n").as_bytes()).unwrap();
        failure("count", answer.extract_error().unwrap_err())
    }

    #[test]
    fn what_may_pass_is_tried_again_and_the_rest_says_what_to_do() {
        for line in [
            "LOADING Redis is loading the dataset in memory",
            "READONLY You can't write against a read only replica.",
            "OOM command not allowed when used memory > 'maxmemory'.",
            "MISCONF Redis is configured to save RDB snapshots",
            "MASTERDOWN Link with MASTER is down",
            "CLUSTERDOWN The cluster is down",
            "BUSY Redis is busy running a script.",
            "ERR max number of clients reached",
        ] {
            assert!(matches!(of(line), Failure::Retry(_)), "{line}");
        }
        for (line, says) in [
            ("NOAUTH Authentication required.", "no password was given"),
            ("WRONGPASS invalid username-password pair or user is disabled.", "is not right"),
            ("NOPERM this user has no permissions to run the 'eval' command", "lacks a right"),
            ("WRONGTYPE Operation against a key", "WRONGTYPE Operation against a key"),
            ("ERR unknown command", "ERR unknown command"),
        ] {
            let Failure::Fatal(error) = of(line) else { panic!("{line}") };
            assert!(error.to_string().starts_with("could not count: ") && error.to_string().contains(says), "{error}");
        }
    }
}
