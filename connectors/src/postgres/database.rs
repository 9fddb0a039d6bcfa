//! A database and how to connect to it.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use native_tls::{Certificate, TlsConnector};
use postgres::{Client, Config, NoTls};
use postgres_native_tls::MakeTlsConnector;
use tidemill_engine::{ConnectorError, ErrorKind};

use super::error::failure;
use crate::password::Password;
use crate::retry::Failure;

/// Time that a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(10);
/// Time after which a connection is given up on which data are not acknowledged.
const UNACKNOWLEDGED: Duration = Duration::from_secs(30);
const KEEPALIVE: Duration = Duration::from_secs(10);

/// What a session needs. A committed transaction survives a crash of the server; one that a stopped process or a lost
/// machine has left open ends, so that its successor can go on; times are written as Tidemill writes them.
const SESSION: &str = "set synchronous_commit = on; set idle_in_transaction_session_timeout = '60s'; \
    set tcp_keepalives_idle = 10; set tcp_keepalives_interval = 10; set tcp_keepalives_count = 3; \
    set timezone = 'UTC'; set datestyle = 'ISO, YMD'";

/// A PostgreSQL database: where it is, who connects, and how.
///
/// A password is never part of it: it is read from a file or an environment variable whenever a connection is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Database {
    host: String,
    port: u16,
    name: String,
    user: Option<String>,
    password: Password,
    tls: Option<bool>,
    ca: Option<PathBuf>,
}

impl Database {
    /// Returns the database `name` on `host`, at the default port 5432, without user or password. The connection is
    /// encrypted, and the server's certificate verified, unless the host is this machine.
    pub fn new(host: impl Into<String>, name: impl Into<String>) -> Self {
        let (host, name) = (host.into(), name.into());
        Self { host, port: 5432, name, user: None, password: Password::None, tls: None, ca: None }
    }

    /// Sets the port.
    #[must_use]
    pub fn port(mut self, port: u16) -> Self {
        self.port = port;
        self
    }

    /// Sets the user. Default: the one whom the process runs as.
    #[must_use]
    pub fn user(mut self, user: impl Into<String>) -> Self {
        self.user = Some(user.into());
        self
    }

    /// Sets the file that has the password, which ends at the first line break.
    #[must_use]
    pub fn password_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.password = Password::File(path.into());
        self
    }

    /// Sets the environment variable that has the password.
    #[must_use]
    pub fn password_variable(mut self, name: impl Into<String>) -> Self {
        self.password = Password::Variable(name.into());
        self
    }

    /// Sets whether the connection is encrypted, and the server's certificate verified. Default: unless the host is this
    /// machine.
    #[must_use]
    pub fn tls(mut self, tls: bool) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Sets the file with the certificate, in PEM, of the authority that has signed the server's.
    #[must_use]
    pub fn certificate_authority(mut self, path: impl Into<PathBuf>) -> Self {
        self.ca = Some(path.into());
        self
    }

    fn is_encrypted(&self) -> bool {
        let here = matches!(self.host.as_str(), "localhost" | "127.0.0.1" | "::1") || self.host.starts_with('/');
        self.tls.unwrap_or(!here)
    }

    fn authority(&self) -> Result<TlsConnector, ConnectorError> {
        let wrong = |what: String| {
            move |e: Box<dyn std::error::Error + Send + Sync>| ConnectorError::caused(ErrorKind::Invalid, what, e)
        };
        let mut builder = TlsConnector::builder();
        if let Some(path) = &self.ca {
            let what = format!("could not use the certificate \"{}\"", path.display());
            let pem = std::fs::read(path).map_err(|e| wrong(what.clone())(e.into()))?;
            builder.add_root_certificate(Certificate::from_pem(&pem).map_err(|e| wrong(what)(e.into()))?);
        }
        builder.build().map_err(|e| wrong("could not prepare TLS".to_owned())(e.into()))
    }

    /// Connects, without trying again.
    pub(super) fn connect(&self) -> Result<Client, Failure> {
        let mut config = Config::new();
        config.host(&self.host).port(self.port).dbname(&self.name).application_name("tidemill");
        config.connect_timeout(CONNECT).keepalives_idle(KEEPALIVE).tcp_user_timeout(UNACKNOWLEDGED);
        if let Some(user) = &self.user {
            config.user(user);
        }
        if let Some(password) = self.password.read().map_err(Failure::Fatal)? {
            config.password(password);
        }
        let what = format!("connect to {self}");
        let connected = if self.is_encrypted() {
            config.ssl_mode(postgres::config::SslMode::Require);
            config.connect(MakeTlsConnector::new(self.authority().map_err(Failure::Fatal)?))
        } else {
            config.connect(NoTls)
        };
        let mut client = connected.map_err(|e| failure(&what, e))?;
        client.batch_execute(SESSION).map_err(|e| failure(&what, e))?;
        Ok(client)
    }
}

impl fmt::Display for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bare = |host: &str| if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
        write!(f, "{}:{}/{}", bare(&self.host), self.port, self.name)
    }
}
