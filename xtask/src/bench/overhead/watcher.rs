//! What watches a job: a page, scrapes, and clients that say nothing.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::Result;
use ureq::Agent;

/// Who watches.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Watch {
    /// A page with a tail, and a scrape each second.
    Page,
    /// A scrape each 100 ms.
    Scrapes,
    /// So many clients that connect and say nothing, and a scrape each 100 ms. Those that are closed come again.
    Crowd(usize),
}

/// What was seen.
#[derive(Default)]
pub struct Watched {
    /// How long the answers of `/metrics` took, in ms.
    pub scrapes_ms: Vec<f64>,
    /// Number of events that the page received.
    pub events: usize,
}

/// The threads that watch.
pub struct Watching {
    over: Arc<AtomicBool>,
    page: Option<JoinHandle<usize>>,
    scrapes: JoinHandle<Vec<f64>>,
    crowd: Option<JoinHandle<()>>,
}

/// Starts to watch the job at `port`, once it answers.
pub fn start(port: u16, watch: Watch) -> Result<Watching> {
    let over = Arc::new(AtomicBool::new(false));
    let spawn_page = |over: Arc<AtomicBool>| std::thread::spawn(move || page(port, &over));
    let page = (watch == Watch::Page).then(|| spawn_page(Arc::clone(&over)));
    let crowd = match watch {
        Watch::Crowd(clients) => {
            let over = Arc::clone(&over);
            Some(std::thread::spawn(move || crowd(port, clients, &over)))
        }
        _ => None,
    };
    let every = Duration::from_millis(if watch == Watch::Page { 1000 } else { 100 });
    let until = Arc::clone(&over);
    let scrapes = std::thread::spawn(move || scrapes(port, every, &until));
    Ok(Watching { over, page, scrapes, crowd })
}

impl Watching {
    /// Ends the watching. The job has ended.
    pub fn end(self) -> Watched {
        self.over.store(true, Ordering::Relaxed);
        self.crowd.into_iter().for_each(|crowd| drop(crowd.join()));
        Watched {
            scrapes_ms: self.scrapes.join().unwrap_or_default(),
            events: self.page.and_then(|page| page.join().ok()).unwrap_or_default(),
        }
    }
}

fn scrapes(port: u16, every: Duration, over: &AtomicBool) -> Vec<f64> {
    // A connection for each, so that one that waits for its turn to be accepted shows.
    let config = Agent::config_builder().timeout_global(Some(Duration::from_secs(20))).max_idle_connections(0);
    let (agent, mut took) = (Agent::from(config.build()), Vec::new());
    while !over.load(Ordering::Relaxed) {
        let asked = Instant::now();
        let answer = agent.get(format!("http://127.0.0.1:{port}/metrics")).call();
        if let Ok(mut answer) = answer
            && answer.body_mut().read_to_vec().is_ok()
        {
            took.push(asked.elapsed().as_secs_f64() * 1e3);
            rest(every.saturating_sub(asked.elapsed()));
        } else {
            rest(Duration::from_millis(20));
        }
    }
    took
}

/// Reads the news that the page shows, with a tail. Returns the number of events.
fn page(port: u16, over: &AtomicBool) -> usize {
    let mut events = 0;
    while !over.load(Ordering::Relaxed) {
        if let Ok(mut socket) = TcpStream::connect(("127.0.0.1", port)) {
            // A job that has not built its graph has no such stream yet. Its answer ends the connection.
            let ask = "GET /api/v1/events?tail=score HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
            drop(socket.set_read_timeout(Some(Duration::from_millis(200))));
            drop(socket.write_all(ask.as_bytes()));
            events += read_events(&mut socket, over);
        }
        rest(Duration::from_millis(20));
    }
    events
}

fn read_events(socket: &mut TcpStream, over: &AtomicBool) -> usize {
    let (mut events, mut buffer) = (0, vec![0; 64 << 10]);
    loop {
        match socket.read(&mut buffer) {
            Ok(0) => return events,
            Ok(read) => events += buffer.iter().take(read).collect::<Vec<_>>().windows(6).filter(is_event).count(),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                if over.load(Ordering::Relaxed) {
                    return events;
                }
            }
            Err(_) => return events,
        }
    }
}

fn is_event(window: &&[&u8]) -> bool {
    window.iter().copied().eq(b"event:")
}

/// Keeps so many connections open and says nothing. Each second, those that the job has closed are opened again.
fn crowd(port: u16, clients: usize, over: &AtomicBool) {
    let mut open: Vec<TcpStream> = Vec::new();
    while !over.load(Ordering::Relaxed) {
        open.retain_mut(|client| matches!(client.read(&mut [0]), Err(error) if error.kind() == ErrorKind::WouldBlock));
        while open.len() < clients {
            let Ok(client) = TcpStream::connect(("127.0.0.1", port)) else { break };
            drop(client.set_nonblocking(true));
            open.push(client);
        }
        rest(Duration::from_secs(1));
    }
}

#[expect(clippy::disallowed_methods, reason = "no worker waits here")]
fn rest(time: Duration) {
    std::thread::sleep(time);
}
