//! Addresses of this machine for servers that a test starts.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};

/// Returns different addresses at which a server can listen. For the next minute the system gives them to nobody
/// who asks for any free port.
pub fn free_addresses<const N: usize>() -> io::Result<[SocketAddr; N]> {
    let mut addresses = [SocketAddr::from(([127, 0, 0, 1], 0)); N];
    for address in &mut addresses {
        let listener = TcpListener::bind(*address)?;
        *address = listener.local_addr()?;
        // The side that closes a connection first keeps its port in TIME_WAIT. Servers may still listen there, because
        // they set SO_REUSEADDR, but a search for a free port passes over it.
        let client = TcpStream::connect(*address)?;
        let (accepted, _) = listener.accept()?;
        drop(accepted);
        drop(client);
    }
    Ok(addresses)
}

/// Returns one of [`free_addresses`].
pub fn free_address() -> SocketAddr {
    let [address] = free_addresses().expect("a free port");
    address
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg_attr(not(target_os = "linux"), ignore = "how a port is kept was seen on Linux only")]
    fn an_address_is_given_once_and_a_server_can_have_it() {
        let address = free_address();
        // As many listeners as a search would need to come to each port that is free.
        for _ in 0..40_000 {
            assert_ne!(TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap(), address);
        }
        TcpListener::bind(address).unwrap();
    }
}
