//! Addresses of this machine for servers that a test starts.

use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;

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
        close(listener)?;
    }
    Ok(addresses)
}

/// Ends a listener. A process that another thread is starting has it, too, until it runs its program: if this one were only
/// dropped, connections would still be accepted for a moment, and a server that is waited for would seem to be ready.
fn close(listener: TcpListener) -> io::Result<()> {
    TcpStream::from(OwnedFd::from(listener)).shutdown(Shutdown::Both)
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
    fn a_listener_that_another_process_has_too_is_closed_for_all() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let (address, theirs) = (listener.local_addr().unwrap(), listener.try_clone().unwrap());
        close(listener).unwrap();
        assert!(TcpStream::connect(address).is_err());
        // Its port can be had, though that one is still there.
        TcpListener::bind(address).unwrap();
        drop(theirs);
    }

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
