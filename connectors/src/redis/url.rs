//! `redis://host/0?key=card:{id}&command=hset…`: keys and how records are written to them, in one text.

use std::fmt;
use std::num::{NonZeroU64, NonZeroUsize};
use std::str::FromStr;
use tidemill_engine::ErrorKind;

use super::address::{Address, CONNECTION, without_secrets};
use super::encode::RedisWrite;
use super::server::RedisServer;
use crate::url_options::Options;

/// Keys of a server, and how records are written to them: `redis://[user@]host[:port][/database]?key=KEY[&option=value…]`, or
/// `rediss://` for TLS. What `?`, `&`, `@` or `%` would be in a value is written as `%3F`,
/// `%26`, `%40`, `%25`.
///
/// | option | |
/// |---|---|
/// | `key` | the template of the key: `card:{id}` |
/// | `command` | `set` (default), `hset`, `zadd`, `xadd` or `feast` |
/// | `field` | with `set`: the field that is the value; default: the record as JSON |
/// | `ttl` | with `set`, `hset` and `feast`: when the key expires, `1h` |
/// | `member`, `score` | with `zadd`: the fields that are the member and its score |
/// | `max-len` | with `xadd`: about how many entries the stream keeps |
/// | `project`, `view` | with `feast`: the project and the feature view; `key` names the entities |
/// | `password-file`, `password-env` | where the password is: a file, or an environment variable |
/// | `ca` | with `rediss://`: a file with the certificate of the authority that has signed the server's |
/// | `marker` | the name of the sink's markers; default: the key (with `feast` the project and view) and the name of the sink |
/// | `batch-bytes` | how many bytes of rows a script writes at most; default: 1048576 |
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedisUrl {
    /// The server.
    pub server: RedisServer,
    /// The template of the key.
    pub key: String,
    /// What is written to the key.
    pub write: RedisWrite,
    /// The name of the markers, if it is given.
    pub marker: Option<String>,
    /// Maximum number of bytes of a batch, if it is given.
    pub batch_bytes: Option<NonZeroUsize>,
}

/// The error of a text that should be a [`RedisUrl`], or a [`RedisStreamUrl`](super::RedisStreamUrl).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{place}\": {reason}; it should look like {example}")]
pub struct RedisUrlError {
    /// The text without what may be secret.
    place: String,
    reason: String,
    example: &'static str,
}

impl RedisUrlError {
    pub(super) fn new(place: String, reason: String, example: &'static str) -> Self {
        Self { place, reason, example }
    }

    /// Returns the kind of the error, which asks the user to correct the text.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        ErrorKind::Invalid
    }
}

const EXAMPLE: &str = "redis://127.0.0.1:6379/0?key=card:{id}&command=hset";
const OPTIONS: [&str; 11] =
    ["key", "command", "field", "ttl", "member", "score", "max-len", "project", "view", "marker", "batch-bytes"];

impl RedisUrl {
    /// Returns whether a text is meant to be such a URL.
    #[must_use]
    pub fn looks_like(text: &str) -> bool {
        text.starts_with("redis://") || text.starts_with("rediss://")
    }
}

impl FromStr for RedisUrl {
    type Err = RedisUrlError;

    fn from_str(text: &str) -> Result<Self, RedisUrlError> {
        parse(text).map_err(|reason| RedisUrlError::new(without_secrets(text), reason, EXAMPLE))
    }
}

fn parse(text: &str) -> Result<RedisUrl, String> {
    let address = Address::parse(text)?;
    let options = Options::parse(address.query, &[&OPTIONS[..], &CONNECTION].concat(), &[])?;
    let server = address.server(&options)?;
    let key = options.get("key").ok_or("it names no key: add ?key=NAME")?.to_owned();
    let write = write(&options)?;
    let batch_bytes = options.number("batch-bytes")?;
    Ok(RedisUrl { server, key, write, marker: options.get("marker").map(str::to_owned), batch_bytes })
}

/// Returns what the options say is written.
fn write(options: &Options) -> Result<RedisWrite, String> {
    let command = options.get("command").unwrap_or("set");
    let of_command: &[&str] = match command {
        "set" => &["field", "ttl"],
        "hset" => &["ttl"],
        "zadd" => &["member", "score"],
        "xadd" => &["max-len"],
        "feast" => &["project", "view", "ttl"],
        other => return Err(format!("command is \"{other}\", and can be set, hset, zadd, xadd or feast")),
    };
    let of_others = ["field", "ttl", "member", "score", "max-len", "project", "view"]
        .into_iter()
        .filter(|name| !of_command.contains(name));
    if let Some(name) = of_others.into_iter().find(|name| options.get(name).is_some()) {
        return Err(format!("{name}= is not for command={command}"));
    }
    let needed =
        |name: &str| options.get(name).map(str::to_owned).ok_or_else(|| format!("command={command} needs {name}=NAME"));
    Ok(match command {
        "hset" => RedisWrite::Hset { ttl: options.duration("ttl")? },
        "zadd" => RedisWrite::Zadd { member: needed("member")?, score: needed("score")? },
        "xadd" => RedisWrite::Xadd { max_len: options.number::<NonZeroU64>("max-len")? },
        "feast" => {
            RedisWrite::Feast { project: needed("project")?, view: needed("view")?, ttl: options.duration("ttl")? }
        }
        _ => RedisWrite::Set { field: options.get("field").map(str::to_owned), ttl: options.duration("ttl")? },
    })
}

impl fmt::Display for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "redis://{}?key={}", self.server, self.key)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn server_key_and_options_are_distinguished() {
        let url: RedisUrl =
            "redis://me@[::1]:7000/2?key=card:{id}&command=hset&ttl=1h&password-env=P%26W&marker=m&batch-bytes=9"
                .parse()
                .unwrap();
        let server = RedisServer::new("::1").port(7000).database(2).user("me").password_variable("P&W");
        assert_eq!((&url.server, url.key.as_str(), url.marker.as_deref()), (&server, "card:{id}", Some("m")));
        assert_eq!(url.write, RedisWrite::Hset { ttl: Some(Duration::from_secs(3600)) });
        assert_eq!(
            (url.batch_bytes.map(NonZeroUsize::get), url.to_string().as_str()),
            (Some(9), "redis://[::1]:7000/2?key=card:{id}")
        );
        let url: RedisUrl = "rediss://cache?key=a%3Fb&ca=/ca.pem".parse().unwrap();
        assert_eq!((url.server, url.key.as_str()), (RedisServer::new("cache").tls_with_ca("/ca.pem"), "a?b"));
        assert_eq!(url.write, RedisWrite::Set { field: None, ttl: None });
        let url: RedisUrl = "redis://h/?key=top&command=zadd&member=id&score=rank".parse().unwrap();
        assert_eq!(url.write, RedisWrite::Zadd { member: "id".to_owned(), score: "rank".to_owned() });
        let url: RedisUrl = "redis://h?key=s&command=xadd&max-len=10".parse().unwrap();
        assert_eq!(url.write, RedisWrite::Xadd { max_len: NonZeroU64::new(10) });
    }

    #[test]
    fn what_is_wrong_is_said_and_no_secret_with_it() {
        for (text, reason) in [
            ("http://h?key=a", "does not begin with redis://"),
            ("redis://h", "names no key"),
            ("redis://h/x?key=a", "\"x\" is not the number of a database"),
            ("redis://?key=a", "not host:port"),
            ("redis://h:x?key=a", "\"x\" is not a port"),
            ("redis://h?key", "not name=value"),
            ("redis://h?key=", "has no value"),
            ("redis://h?key=a&key=b", "\"key\" is there twice"),
            ("redis://h?key=a&expire=1h", "no option is called \"expire\" (there are: key, command,"),
            ("redis://h?key=a&command=incr", "can be set, hset, zadd, xadd or feast"),
            ("redis://h?key=a&command=zadd&member=m", "needs score="),
            ("redis://h?key=a&command=xadd&ttl=1h", "ttl= is not for command=xadd"),
            ("redis://h?key=a&max-len=5", "max-len= is not for command=set"),
            ("redis://h?key=a&command=xadd&max-len=0", "a number from 1 on"),
            ("redis://h?key=a&batch-bytes=0", "a number from 1 on"),
            ("redis://h?key=a&ttl=soon", "it should be a time as 1h"),
            ("redis://h?key=a&ca=x", "ca= is for rediss"),
            ("redis://h?key=a&password-file=x&password-env=y", "exclude each other"),
            ("redis://h?key=%FF", "not UTF-8"),
            ("redis://me:hunter2@h?key=a", "a password does not belong in a URL"),
            ("redis://:hunter2@h/0?key=a", "a password does not belong in a URL"),
            ("redis://me:x/hunter2@h/0?key=a", "a password does not belong in a URL"),
            ("redis://me:1?hunter2@h/0?key=a", "a password does not belong in a URL"),
            ("redis://h?key=a&password=hunter2", "no option is called \"password\""),
        ] {
            let error = text.parse::<RedisUrl>().unwrap_err().to_string();
            assert!(error.contains(reason) && !error.contains("hunter2"), "{error}");
        }
    }
}
