//! A TCP proxy in front of a server, which can delay answers, withhold them, or close connections.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

pub struct Proxy {
    /// Where to connect to.
    pub address: String,
    faults: Arc<Faults>,
}

#[derive(Default)]
struct Faults {
    /// The delay of each piece of an answer, in ms.
    delay_ms: AtomicU64,
    /// Whether answers are withheld while connections stay open.
    silent: AtomicBool,
    /// Whether all connections are closed, new ones at once.
    gone: AtomicBool,
    open: Mutex<Vec<TcpStream>>,
}

impl Proxy {
    pub fn to(server: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let faults = Arc::<Faults>::default();
        let (shared, server) = (Arc::clone(&faults), server.to_owned());
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                shared.connect(client, &server);
            }
        });
        Self { address, faults }
    }

    pub fn delay(&self, delay: Duration) {
        self.faults.delay_ms.store(delay.as_millis() as u64, Ordering::SeqCst);
    }

    pub fn silent(&self, silent: bool) {
        self.faults.silent.store(silent, Ordering::SeqCst);
    }

    pub fn gone(&self, gone: bool) {
        self.faults.gone.store(gone, Ordering::SeqCst);
        if gone {
            let mut open = self.faults.open.lock().unwrap_or_else(PoisonError::into_inner);
            open.drain(..).for_each(|stream| drop(stream.shutdown(Shutdown::Both)));
        }
    }
}

impl Faults {
    fn connect(self: &Arc<Self>, client: TcpStream, server: &str) {
        if self.gone.load(Ordering::SeqCst) {
            return;
        }
        let Ok(server) = TcpStream::connect(server) else { return };
        let (client2, server2) = (client.try_clone().unwrap(), server.try_clone().unwrap());
        [&client, &server].into_iter().for_each(|stream| stream.set_nodelay(true).unwrap());
        let kept = [&client, &server].map(|stream| stream.try_clone().unwrap());
        self.open.lock().unwrap_or_else(PoisonError::into_inner).extend(kept);
        let (there, back) = (Arc::clone(self), Arc::clone(self));
        std::thread::spawn(move || there.pass(client, server, false));
        std::thread::spawn(move || back.pass(server2, client2, true));
    }

    fn pass(&self, mut from: TcpStream, mut to: TcpStream, is_answer: bool) {
        let mut bytes = [0; 1 << 16];
        while let Ok(len @ 1..) = from.read(&mut bytes) {
            if is_answer {
                crate::job::wait(Duration::from_millis(self.delay_ms.load(Ordering::SeqCst)));
                while self.silent.load(Ordering::SeqCst) {
                    crate::job::wait(Duration::from_millis(20));
                }
            }
            if to.write_all(&bytes[..len]).is_err() {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Write);
    }
}
