//! Finds out whether a broker that does not answer as one of MQTT 5 is one of MQTT 3.1.1: the client library cannot read the
//! shorter answer that such brokers give, and reports a lost connection.

use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use super::broker::Broker;

/// CONNECT of MQTT 5 with an empty client id: the broker would give it one.
const CONNECT: [u8; 15] = [0x10, 13, 0, 4, b'M', b'Q', b'T', b'T', 5, 0b10, 0, 10, 0, 0, 0];
/// CONNACK of MQTT 3.1.1, code 1: unacceptable protocol version.
const REFUSED: [u8; 4] = [0x20, 2, 0, 1];

/// Returns whether the broker answers a client of MQTT 5 that the version is not acceptable. Without TLS only.
pub(super) fn is_older(broker: &Broker, within: Duration) -> bool {
    let ask = || {
        let address = (broker.host.trim_matches(['[', ']']), broker.port).to_socket_addrs()?.next();
        let address = address.ok_or(std::io::ErrorKind::NotFound)?;
        let mut stream = TcpStream::connect_timeout(&address, within)?;
        stream.set_read_timeout(Some(within))?;
        stream.set_write_timeout(Some(within))?;
        stream.write_all(&CONNECT)?;
        let mut answer = [0; 4];
        stream.read_exact(&mut answer)?;
        std::io::Result::Ok(answer)
    };
    !broker.tls && ask().is_ok_and(|answer| answer == REFUSED)
}
