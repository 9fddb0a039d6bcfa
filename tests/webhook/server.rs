//! An HTTP server of a test, which answers each request as the test says, also by half.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tests::crashes::wait;
use tests::until;

/// A request, as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The method and what follows it: `POST /path?query`.
    pub line: String,
    /// The headers, their names in lower case.
    pub headers: BTreeMap<String, String>,
    pub body: String,
}

impl Request {
    /// Returns the key without its quotation marks.
    pub fn key(&self) -> &str {
        self.headers["idempotency-key"].strip_prefix('"').unwrap().strip_suffix('"').unwrap()
    }
}

/// What the server does with a request.
#[derive(Clone, Debug)]
pub enum Reply {
    Status(u16),
    /// A status, with these lines of headers and this body.
    With(u16, &'static str, String),
    /// Bytes, after which the connection is closed.
    Raw(&'static str),
    /// A byte of a long answer every tenth of a second.
    Slowly,
    /// Nothing, ever; the connection stays open.
    Nothing,
    /// The connection is reset.
    Reset,
}

type Behaviour = dyn FnMut(&Request) -> Reply + Send;
type Wrap = dyn Fn(TcpStream) -> Option<Box<dyn ReadWrite>> + Send + Sync;

pub trait ReadWrite: Read + Write + Send {}
impl<T: Read + Write + Send> ReadWrite for T {}

struct Shared {
    seen: Mutex<Vec<Request>>,
    behaviour: Mutex<Box<Behaviour>>,
    connections: Mutex<Vec<TcpStream>>,
    stops: AtomicBool,
    wrap: Box<Wrap>,
}

/// A running server.
pub struct Server {
    pub address: SocketAddr,
    shared: Arc<Shared>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Server {
    pub fn start(behaviour: impl FnMut(&Request) -> Reply + Send + 'static) -> Self {
        Self::start_with(behaviour, |stream| Some(Box::new(stream)))
    }

    /// Starts a server that takes each request.
    pub fn taking() -> Self {
        Self::start(|_| Reply::Status(200))
    }

    /// Starts a server whose connections are wrapped in something else, such as TLS.
    pub fn start_with(
        behaviour: impl FnMut(&Request) -> Reply + Send + 'static,
        wrap: impl Fn(TcpStream) -> Option<Box<dyn ReadWrite>> + Send + Sync + 'static,
    ) -> Self {
        let shared = Shared {
            seen: Mutex::default(),
            behaviour: Mutex::new(Box::new(behaviour)),
            connections: Mutex::default(),
            stops: AtomicBool::new(false),
            wrap: Box::new(wrap),
        };
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = Self { address: listener.local_addr().unwrap(), shared: Arc::new(shared) };
        server.listen(listener);
        server
    }

    fn listen(&self, listener: TcpListener) {
        let shared = Arc::clone(&self.shared);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if shared.stops.load(Ordering::SeqCst) {
                    return;
                }
                locked(&shared.connections).push(stream.try_clone().unwrap());
                let shared = Arc::clone(&shared);
                std::thread::spawn(move || serve(&shared, stream));
            }
        });
    }

    /// Goes away: connections are closed, and new ones are refused.
    pub fn leave(&self) {
        self.shared.stops.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(self.address));
        for stream in locked(&self.shared.connections).drain(..) {
            drop(stream.shutdown(Shutdown::Both));
        }
        // The listener is gone when nobody is let in any more.
        while TcpStream::connect(self.address).is_ok() {
            wait(Duration::from_millis(1));
        }
    }

    /// Comes back at the same address.
    pub fn come_back(&self) {
        self.shared.stops.store(false, Ordering::SeqCst);
        let mut listener = None;
        // A client's connection may have the port for a moment.
        until("the port is free", || {
            listener = TcpListener::bind(self.address).ok();
            listener.is_some()
        });
        self.listen(listener.unwrap());
    }

    /// Answers otherwise from now on.
    pub fn answer(&self, behaviour: impl FnMut(&Request) -> Reply + Send + 'static) {
        *locked(&self.shared.behaviour) = Box::new(behaviour);
    }

    pub fn url(&self, rest: &str) -> String {
        format!("http://{}{rest}", self.address)
    }

    /// Returns the requests so far.
    pub fn requests(&self) -> Vec<Request> {
        locked(&self.shared.seen).clone()
    }

    /// Forgets them.
    pub fn forget(&self) {
        locked(&self.shared.seen).clear();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if !self.shared.stops.load(Ordering::SeqCst) {
            self.leave();
        }
    }
}

fn serve(shared: &Shared, stream: TcpStream) {
    let socket = stream.try_clone().unwrap();
    stream.set_nodelay(true).unwrap();
    let Some(stream) = (shared.wrap)(stream) else { return };
    let mut stream = BufReader::new(stream);
    while let Some(request) = read(&mut stream) {
        let reply = {
            let mut behaviour = locked(&shared.behaviour);
            locked(&shared.seen).push(request.clone());
            behaviour(&request)
        };
        if !write(stream.get_mut(), &socket, shared, reply) {
            return;
        }
    }
}

fn read(stream: &mut impl BufRead) -> Option<Request> {
    let line = |stream: &mut dyn BufRead| {
        let mut line = String::new();
        stream.read_line(&mut line).ok().filter(|len| *len > 0)?;
        Some(line.trim_end().to_owned())
    };
    let first = line(stream)?;
    let mut headers = BTreeMap::new();
    loop {
        let header = line(stream)?;
        if header.is_empty() {
            break;
        }
        let (name, value) = header.split_once(':').unwrap();
        let before = headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
        assert_eq!(before, None, "{name} is there twice");
    }
    let mut body = vec![0; headers["content-length"].parse().unwrap()];
    stream.read_exact(&mut body).ok()?;
    let line = first.strip_suffix(" HTTP/1.1").unwrap().to_owned();
    Some(Request { line, headers, body: String::from_utf8(body).unwrap() })
}

/// Answers a request. Returns whether the connection goes on.
fn write(stream: &mut dyn ReadWrite, socket: &TcpStream, shared: &Shared, reply: Reply) -> bool {
    let goes_on = || !shared.stops.load(Ordering::SeqCst);
    match reply {
        Reply::Status(status) => write(stream, socket, shared, Reply::With(status, "", String::new())),
        Reply::With(status, headers, body) => {
            let len = body.len();
            let text = format!("HTTP/1.1 {status} Said\r\n{headers}Content-Length: {len}\r\n\r\n{body}");
            stream.write_all(text.as_bytes()).is_ok() && goes_on()
        }
        Reply::Raw(text) => {
            drop(stream.write_all(text.as_bytes()));
            drop(stream.flush());
            drop(socket.shutdown(Shutdown::Both));
            false
        }
        Reply::Slowly => {
            let text = format!("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{}", "x".repeat(1000));
            for byte in text.bytes() {
                if stream.write_all(&[byte]).and_then(|()| stream.flush()).is_err() || !goes_on() {
                    return false;
                }
                wait(Duration::from_millis(100));
            }
            true
        }
        Reply::Nothing => {
            while goes_on() {
                wait(Duration::from_millis(50));
            }
            false
        }
        Reply::Reset => {
            rustix::net::sockopt::set_socket_linger(socket, Some(Duration::ZERO)).unwrap();
            // Both handles have to go; the other one is among the connections.
            let of = socket.peer_addr();
            locked(&shared.connections).retain(|other| other.peer_addr().ok() != of.as_ref().ok().copied());
            false
        }
    }
}
