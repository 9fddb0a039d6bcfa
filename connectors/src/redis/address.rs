//! The part of a URL of Redis that says which server is meant: `redis://[user@]host[:port][/database]`, with the options of
//! the connection.

use super::server::RedisServer;
use crate::host::host_and_port;
use crate::url_options::Options;

/// Redis' port.
const PORT: u16 = 6379;
/// The options that say how to connect.
pub(super) const CONNECTION: [&str; 3] = ["password-file", "password-env", "ca"];

/// A URL that was taken apart, and is not understood yet.
pub(super) struct Address<'a> {
    tls: bool,
    user: Option<&'a str>,
    host: &'a str,
    port: u16,
    database: u32,
    /// What is behind `?`.
    pub(super) query: &'a str,
}

impl<'a> Address<'a> {
    pub(super) fn parse(text: &'a str) -> Result<Self, String> {
        let (tls, rest) = match text.split_once("://") {
            Some(("redis", rest)) => (false, rest),
            Some(("rediss", rest)) => (true, rest),
            _ => return Err("it does not begin with redis:// or rediss://".to_owned()),
        };
        if rest.rsplit_once('@').is_some_and(|(before, _)| before.contains(':')) {
            return Err(
                "a password does not belong in a URL: use password-file=FILE or password-env=NAME (an @ in a value is %40)"
                    .to_owned(),
            );
        }
        let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, database) = place.split_once('/').unwrap_or((place, ""));
        let (user, host) = authority.rsplit_once('@').map_or((None, authority), |(user, host)| (Some(user), host));
        let (host, port) = host_and_port(host, PORT)?;
        let database = match database {
            "" => 0,
            number => number.parse().map_err(|_| format!("\"{number}\" is not the number of a database"))?,
        };
        Ok(Self { tls, user, host, port, database, query })
    }

    /// Returns the server, to which these options of [`CONNECTION`] belong.
    pub(super) fn server(&self, options: &Options) -> Result<RedisServer, String> {
        options.exclusive("password-file", "password-env")?;
        let mut server = RedisServer::new(self.host).port(self.port).database(self.database);
        if self.tls {
            server = server.tls();
        }
        if let Some(user) = self.user {
            server = server.user(user);
        }
        if let Some(path) = options.get("password-file") {
            server = server.password_file(path);
        }
        if let Some(name) = options.get("password-env") {
            server = server.password_variable(name);
        }
        match options.get("ca") {
            Some(path) if self.tls => Ok(server.tls_with_ca(path)),
            Some(_) => Err("ca= is for rediss://".to_owned()),
            None => Ok(server),
        }
    }
}

/// Returns the text without options, and without a password that should not be there, which may have any characters.
pub(super) fn without_secrets(text: &str) -> String {
    let place = |text: &str| text.split('?').next().unwrap_or_default().to_owned();
    let Some((scheme, rest)) = text.split_once("://") else { return place(text) };
    match rest.rsplit_once('@') {
        Some((user, host)) => format!("{scheme}://{}@{}", user.split(':').next().unwrap_or_default(), place(host)),
        None => format!("{scheme}://{}", place(rest)),
    }
}
