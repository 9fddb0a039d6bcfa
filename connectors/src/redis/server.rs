//! A server and how to connect to it.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use redis::io::tcp::TcpSettings;
use redis::{
    Client, Connection, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, RedisConnectionInfo, TlsCertificates,
};
use tidemill_engine::{ConnectorError, ErrorKind};

use super::error::failure;
use crate::password::Password;
use crate::retry::Failure;

/// Time that a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(10);
/// Time after which data that are not acknowledged end a connection.
const UNACKNOWLEDGED: Duration = Duration::from_secs(30);

/// A Redis server: where it is, who connects, and how.
///
/// A password is never part of it: it is read from a file or an environment variable whenever a connection is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedisServer {
    host: String,
    port: u16,
    database: u32,
    user: Option<String>,
    password: Password,
    tls: bool,
    ca: Option<PathBuf>,
}

impl RedisServer {
    /// Returns the server on `host`, at the default port 6379, without TLS, user or password, and its database 0.
    pub fn new(host: impl Into<String>) -> Self {
        let host = host.into();
        Self { host, port: 6379, database: 0, user: None, password: Password::None, tls: false, ca: None }
    }

    /// Sets the port.
    #[must_use]
    pub fn port(mut self, port: u16) -> Self {
        self.port = port;
        self
    }

    /// Sets the number of the database.
    #[must_use]
    pub fn database(mut self, number: u32) -> Self {
        self.database = number;
        self
    }

    /// Sets the user, who needs a password. Default: the server's default user.
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

    /// Has the connection encrypted, and the server's certificate verified by the system's authorities.
    #[must_use]
    pub fn tls(mut self) -> Self {
        self.tls = true;
        self
    }

    /// Has the connection encrypted, and the server's certificate verified also by the authority whose certificate, in PEM,
    /// is in this file.
    #[must_use]
    pub fn tls_with_ca(mut self, path: impl Into<PathBuf>) -> Self {
        (self.tls, self.ca) = (true, Some(path.into()));
        self
    }

    fn client(&self) -> Result<Client, ConnectorError> {
        let wrong = |e: redis::RedisError| {
            ConnectorError::caused(ErrorKind::Invalid, format!("could not prepare the connection to {self}"), e)
        };
        let address = if self.tls {
            let (host, port) = (self.host.clone(), self.port);
            ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None }
        } else {
            ConnectionAddr::Tcp(self.host.clone(), self.port)
        };
        let tcp = TcpSettings::default().set_nodelay(true).set_user_timeout(UNACKNOWLEDGED);
        // Who connects is said afterwards: the client would report every refusal of a password as the same error.
        let redis = RedisConnectionInfo::default().set_skip_set_lib_name();
        let info: ConnectionInfo = address.into_connection_info().map_err(wrong)?;
        let info = info.set_tcp_settings(tcp).set_redis_settings(redis);
        let Some(path) = &self.ca else { return Client::open(info).map_err(wrong) };
        let unusable = |e: Box<dyn std::error::Error + Send + Sync>| {
            let message = format!("could not use the certificate \"{}\"", path.display());
            ConnectorError::caused(ErrorKind::Invalid, message, e)
        };
        let root_cert = Some(std::fs::read(path).map_err(|e| unusable(e.into()))?);
        let certificates = TlsCertificates { client_tls: None, root_cert };
        Client::build_with_tls(info, certificates).map_err(|e| unusable(e.into()))
    }

    /// Connects, without trying again. An answer may take as long as `answer`.
    pub(super) fn connect(&self, answer: Duration) -> Result<Connection, Failure> {
        let what = format!("connect to {self}");
        let failed = |e| failure(&what, e);
        let mut connection =
            self.client().map_err(Failure::Fatal)?.get_connection_with_timeout(CONNECT).map_err(failed)?;
        connection.set_read_timeout(Some(answer)).map_err(failed)?;
        connection.set_write_timeout(Some(answer)).map_err(failed)?;
        match (&self.user, self.password.read().map_err(Failure::Fatal)?) {
            (user, Some(password)) => {
                let mut auth = redis::cmd("AUTH");
                user.iter().for_each(|user| {
                    auth.arg(user);
                });
                auth.arg(password).exec(&mut connection).map_err(failed)?;
            }
            (None, None) => {}
            (Some(user), None) => {
                let message = format!("{self}: the user \"{user}\" needs a password, from a file or a variable");
                return Err(Failure::Fatal(ConnectorError::new(ErrorKind::Invalid, message)));
            }
        }
        if self.database > 0 {
            redis::cmd("SELECT").arg(self.database).exec(&mut connection).map_err(failed)?;
        }
        Ok(connection)
    }
}

impl fmt::Display for RedisServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bare = |host: &str| if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
        write!(f, "{}:{}/{}", bare(&self.host), self.port, self.database)
    }
}
