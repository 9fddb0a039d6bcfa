//! Asks another process of the job for a resource of its API.

use std::fmt;
use std::future::pending;
use std::net::{IpAddr, SocketAddr};

use axum::body::{Body, Bytes, to_bytes};
use axum::http::header::{AUTHORIZATION, HOST};
use axum::http::{HeaderValue, Request};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tokio::net::TcpStream;

/// Longest answer, in bytes.
const LONGEST: usize = 16 << 20;

/// Another process.
#[derive(Clone)]
pub(super) struct Peer {
    /// Name or address of its machine.
    host: String,
    port: u16,
    /// The token of the request that is being answered.
    token: Option<HeaderValue>,
}

impl Peer {
    /// A process that serves at `address`. One that serves at all addresses of its machine is reached where the other
    /// processes reach it: at the host of `mesh`, which is `host:port`.
    pub(super) fn new(address: SocketAddr, mesh: &str, token: Option<HeaderValue>) -> Self {
        let of_mesh = || mesh.rsplit_once(':').map_or(mesh, |(host, _)| host).trim_matches(['[', ']']).to_owned();
        let everywhere = address.ip().is_unspecified();
        let host = if everywhere { of_mesh() } else { address.ip().to_string() };
        Self { host, port: address.port(), token }
    }

    /// Asks for a resource. The error says what went wrong.
    pub(super) async fn ask<T: DeserializeOwned>(&self, path: &str) -> Result<T, String> {
        serde_json::from_slice(&self.get(path).await?).map_err(|error| format!("its answer cannot be read: {error}"))
    }

    async fn get(&self, path: &str) -> Result<Bytes, String> {
        let text = |error: &dyn std::fmt::Display| error.to_string();
        let socket = TcpStream::connect((self.host.as_str(), self.port)).await.map_err(|e| text(&e))?;
        // Its name may not be one that it is asked by; its address always is.
        let host = socket.peer_addr().map_err(|e| text(&e))?;
        let mut request = Request::get(path).header(HOST, host_of(host));
        if let Some(token) = &self.token {
            request = request.header(AUTHORIZATION, token);
        }
        let request = request.body(Body::empty()).map_err(|e| text(&e))?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(socket)).await.map_err(|e| text(&e))?;
        let answer = async {
            let answer = sender.send_request(request).await.map_err(|e| text(&e))?;
            if !answer.status().is_success() {
                return Err(format!("it answered {}", answer.status()));
            }
            to_bytes(Body::new(answer.into_body()), LONGEST).await.map_err(|e| text(&e))
        };
        // It has to be polled for the answer to come. An answer that is given up takes its connection with it.
        let connection = async {
            drop(connection.await);
            pending().await
        };
        tokio::select! {
            answer = answer => answer,
            never = connection => never,
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

fn host_of(address: SocketAddr) -> String {
    match address.ip().to_canonical() {
        IpAddr::V4(ip) => format!("{ip}:{}", address.port()),
        IpAddr::V6(ip) => format!("[{ip}]:{}", address.port()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_asked_where_it_serves_or_where_the_others_reach_it() {
        for (address, mesh, host) in [
            ("127.0.0.1:9090", "a:2101", "127.0.0.1"),
            ("0.0.0.0:9090", "a.internal:2101", "a.internal"),
            ("[::]:9090", "[fd00::1]:2101", "fd00::1"),
            ("[::1]:9090", "a:2101", "::1"),
        ] {
            let peer = Peer::new(address.parse().unwrap(), mesh, None);
            assert_eq!((&*peer.host, peer.port), (host, 9090), "{address}");
        }
    }
}
