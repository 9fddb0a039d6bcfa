//! `postgres://user@host/database?table=…`: a table and how rows are written to it, in one text.

use std::fmt;
use std::str::FromStr;

use tidemill_engine::ErrorKind;

use super::database::Database;
use crate::host::host_and_port;

/// PostgreSQL's port.
const PORT: u16 = 5432;

/// A table of a database, and how rows are written to it: `postgres://[user@]host[:port]/database?table=NAME[&option=value…]`.
///
/// | option | |
/// |---|---|
/// | `table` | the table, if need be with its schema: `public.readings` |
/// | `mode` | `append` (default) or `upsert` |
/// | `key` | with `upsert`: the columns by which rows replace others, separated by commas |
/// | `password-file`, `password-env` | where the password is: a file, or an environment variable |
/// | `tls` | `on` (default, except for this machine) or `off` |
/// | `ca` | a file with the certificate of the authority that has signed the server's |
/// | `marker` | the name of the sink's markers; default: the table and the name of the sink |
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PostgresUrl {
    /// The database.
    pub database: Database,
    /// The table.
    pub table: String,
    /// The columns by which rows replace others; none if rows are appended.
    pub keys: Vec<String>,
    /// The name of the markers, if it is given.
    pub marker: Option<String>,
}

/// The error of a text that should be a [`PostgresUrl`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{place}\": {reason}; it should look like postgres://user@127.0.0.1:5432/database?table=readings")]
pub struct PostgresUrlError {
    /// The text without what may be secret.
    place: String,
    reason: String,
}

impl PostgresUrlError {
    /// Returns the kind of the error, which asks the user to correct the text.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        ErrorKind::Invalid
    }
}

const SCHEMES: [&str; 2] = ["postgres://", "postgresql://"];
const OPTIONS: [&str; 8] = ["table", "mode", "key", "password-file", "password-env", "tls", "ca", "marker"];

impl PostgresUrl {
    /// Returns whether a text is meant to be such a URL.
    #[must_use]
    pub fn looks_like(text: &str) -> bool {
        SCHEMES.iter().any(|scheme| text.starts_with(scheme))
    }
}

impl FromStr for PostgresUrl {
    type Err = PostgresUrlError;

    fn from_str(text: &str) -> Result<Self, PostgresUrlError> {
        parse(text).map_err(|reason| PostgresUrlError { place: without_secrets(text), reason })
    }
}

/// Returns the text without options, and without a password that should not be there, which may have any characters.
fn without_secrets(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else { return place_of(text).to_owned() };
    match rest.rsplit_once('@') {
        Some((user, host)) => {
            format!("{scheme}://{}@{}", user.split(':').next().unwrap_or_default(), place_of(host))
        }
        None => format!("{scheme}://{}", place_of(rest)),
    }
}

fn place_of(text: &str) -> &str {
    text.split('?').next().unwrap_or_default()
}

fn parse(text: &str) -> Result<PostgresUrl, String> {
    let rest =
        SCHEMES.iter().find_map(|scheme| text.strip_prefix(scheme)).ok_or("it does not begin with postgres://")?;
    if rest.rsplit_once('@').is_some_and(|(before, _)| before.contains(':')) {
        return Err("a password does not belong in a URL: use password-file=FILE or password-env=NAME".to_owned());
    }
    let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (authority, name) = place.split_once('/').unwrap_or((place, ""));
    let (user, host) = authority.rsplit_once('@').map_or((None, authority), |(user, host)| (Some(user), host));
    let (host, port) = host_and_port(host, PORT)?;
    if name.is_empty() {
        return Err("it names no database".to_owned());
    }
    let mut database = Database::new(host, name).port(port);
    if let Some(user) = user {
        database = database.user(user);
    }
    let (mut table, mut mode, mut keys, mut marker) = (None, "append", Vec::new(), None);
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (option, value) = pair.split_once('=').ok_or_else(|| format!("\"{pair}\" is not option=value"))?;
        if value.is_empty() {
            return Err(format!("option \"{option}\" has no value"));
        }
        match option {
            "table" => table = Some(value.to_owned()),
            "mode" => mode = value,
            "key" => keys = value.split(',').map(str::to_owned).collect(),
            "password-file" => database = database.password_file(value),
            "password-env" => database = database.password_variable(value),
            "ca" => database = database.certificate_authority(value),
            "marker" => marker = Some(value.to_owned()),
            "tls" => {
                database = database.tls(match value {
                    "on" => true,
                    "off" => false,
                    other => return Err(format!("tls is \"{other}\", and can be on or off")),
                });
            }
            other => return Err(format!("no option is called \"{other}\" (there are: {})", OPTIONS.join(", "))),
        }
    }
    match (mode, keys.is_empty()) {
        ("append", true) | ("upsert", false) => {}
        ("append", false) => return Err("key is for mode=upsert: rows that are appended replace none".to_owned()),
        ("upsert", true) => return Err("mode=upsert needs key=COLUMN[,COLUMN…]".to_owned()),
        (other, _) => return Err(format!("mode is \"{other}\", and can be append or upsert")),
    }
    let table = table.ok_or("it names no table: add ?table=NAME")?;
    Ok(PostgresUrl { database, table, keys, marker })
}

impl fmt::Display for PostgresUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "postgres://{}?table={}", self.database, self.table)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn place_table_and_options_are_distinguished() {
        let url: PostgresUrl =
            "postgres://me@[::1]:6000/data?table=public.t&mode=upsert&key=a,b&password-env=PW&tls=off&marker=m"
                .parse()
                .unwrap();
        let database = Database::new("::1", "data").port(6000).user("me").password_variable("PW").tls(false);
        assert_eq!((&url.database, url.table.as_str(), url.marker.as_deref()), (&database, "public.t", Some("m")));
        assert_eq!(url.keys, ["a", "b"]);
        assert_eq!(url.to_string(), "postgres://[::1]:6000/data?table=public.t");
        let url: PostgresUrl = "postgresql://db.example/data?table=t".parse().unwrap();
        assert_eq!((url.database, url.keys.len()), (Database::new("db.example", "data"), 0));
    }

    #[test]
    fn what_is_wrong_is_said_and_no_secret_with_it() {
        for (text, reason) in [
            ("mysql://h/d?table=t", "does not begin with postgres://"),
            ("postgres://h?table=t", "names no database"),
            ("postgres://h/d", "names no table"),
            ("postgres:///d?table=t", "not host:port"),
            ("postgres://h:x/d?table=t", "\"x\" is not a port"),
            ("postgres://h/d?table", "not option=value"),
            ("postgres://h/d?table=", "has no value"),
            ("postgres://h/d?table=t&sslmode=off", "no option is called \"sslmode\" (there are: table, mode, key,"),
            ("postgres://h/d?table=t&mode=merge", "can be append or upsert"),
            ("postgres://h/d?table=t&mode=upsert", "needs key="),
            ("postgres://h/d?table=t&key=a", "key is for mode=upsert"),
            ("postgres://h/d?table=t&tls=maybe", "can be on or off"),
            ("postgres://me:hunter2@h/d?table=t", "a password does not belong in a URL"),
            ("postgres://me:x/hunter2@h/d?table=t", "a password does not belong in a URL"),
            ("postgres://me:1?hunter2@h/d?table=t", "a password does not belong in a URL"),
            ("postgres://me:123/hunter2@h/d?table=t", "a password does not belong in a URL"),
        ] {
            let error = text.parse::<PostgresUrl>().unwrap_err().to_string();
            assert!(error.contains(reason) && !error.contains("hunter2"), "{error}");
        }
    }
}
