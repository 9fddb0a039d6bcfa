//! The connecting side: one thread for each process to connect to, which tries until it succeeds or has to stop.

use std::collections::BTreeMap;
use std::io::Write;
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use crossbeam_channel::Sender;

use super::identity::Identity;
use super::wire::{Fault, Frame, Hello, Reader, Round, encode};
use crate::error::{JobError, with_causes};
use crate::locks::lock;
use crate::threads;

/// How long an address may take to accept a connection, and then to answer the `Hello`.
const PATIENCE: Duration = Duration::from_secs(5);
const SHORTEST_WAIT: Duration = Duration::from_millis(20);
const LONGEST_WAIT: Duration = Duration::from_secs(1);
/// How often it is logged that a process cannot be reached.
const LOG_EVERY: Duration = Duration::from_secs(10);

/// A process to connect to: its address, and the `Hello` to send.
pub(super) struct Call {
    pub(super) address: String,
    pub(super) hello: Hello,
}

/// The outcome of a call: a connection, or the reason why there will be none.
pub(super) struct Reached {
    pub(super) index: usize,
    pub(super) answer: Result<Contact, Rejection>,
}

/// The reason why a process does not take this one, and the names of the settings that may be wrong.
pub(super) struct Rejection {
    pub(super) reason: String,
    pub(super) settings: Vec<String>,
}

pub(super) struct Contact {
    pub(super) stream: TcpStream,
    pub(super) identity: Identity,
    pub(super) round: Round,
}

/// The last reason why each process could not be reached, for the error at the end.
#[derive(Clone, Default)]
pub(super) struct Troubles(Arc<Mutex<BTreeMap<usize, String>>>);

impl Troubles {
    fn note(&self, index: usize, trouble: String) {
        lock(&self.0).insert(index, trouble);
    }

    pub(super) fn of(&self, index: usize) -> Option<String> {
        lock(&self.0).get(&index).cloned()
    }
}

/// A guard of a call: dropping it ends the attempts.
pub(super) struct Dialing(Arc<AtomicBool>);

impl Drop for Dialing {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Starts the thread that makes the call; it sends the outcome to `reached`.
pub(super) fn dial(call: Call, troubles: &Troubles, reached: Sender<Reached>) -> Result<Dialing, JobError> {
    let over = Arc::new(AtomicBool::new(false));
    let (is_over, troubles) = (Arc::clone(&over), troubles.clone());
    let name = format!("mesh-{}", call.hello.to);
    let work = move || {
        if let Some(answer) = call_until_reached(&call, &troubles, &is_over) {
            drop(reached.send(Reached { index: call.hello.to, answer }));
        }
    };
    threads::spawn(name, work)
        .map_err(|source| JobError::Io { what: "start a thread of the mesh".to_owned(), source })?;
    Ok(Dialing(over))
}

fn call_until_reached(call: &Call, troubles: &Troubles, over: &AtomicBool) -> Option<Result<Contact, Rejection>> {
    let waits = ExponentialBuilder::default().with_min_delay(SHORTEST_WAIT).with_max_delay(LONGEST_WAIT);
    let waits = waits.with_jitter().without_max_times().build().chain(std::iter::repeat(LONGEST_WAIT));
    let (to, address) = (call.hello.to, &call.address);
    let mut said = threads::now();
    for wait in waits {
        if over.load(Ordering::Relaxed) {
            return None;
        }
        match try_once(call) {
            Ok(connection) => return Some(Ok(connection)),
            Err(Missed::ForGood(rejection)) => return Some(Err(rejection)),
            Err(Missed::ForNow(trouble)) => {
                if threads::since(said) > LOG_EVERY {
                    said = threads::now();
                    tracing::info!(process = to, address, trouble, "waiting for another process of the job");
                }
                troubles.note(to, trouble);
            }
        }
        threads::pause(wait);
    }
    None
}

enum Missed {
    ForNow(String),
    ForGood(Rejection),
}

fn try_once(call: &Call) -> Result<Contact, Missed> {
    let for_now = |error: std::io::Error| Missed::ForNow(with_causes(&error));
    let mut stream = connect(&call.address)?;
    stream.set_nodelay(true).map_err(for_now)?;
    stream.set_read_timeout(Some(Duration::from_millis(100))).map_err(for_now)?;
    stream.set_write_timeout(Some(PATIENCE)).map_err(for_now)?;
    stream.write_all(&encode(&Frame::Hello(Box::new(call.hello.clone())))).map_err(for_now)?;
    let (mut reader, asked) = (Reader::default(), threads::now());
    let answer = loop {
        match reader.read(&mut stream) {
            Ok(Some(frame)) => break frame,
            Ok(None) if threads::since(asked) < PATIENCE => {}
            Ok(None) => return Err(Missed::ForNow("it accepts the connection, but does not answer".to_owned())),
            Err(version @ Fault::Version(_)) => {
                return Err(Missed::ForGood(Rejection { reason: version.to_string(), settings: Vec::new() }));
            }
            Err(fault) => return Err(Missed::ForNow(fault.to_string())),
        }
    };
    match answer {
        Frame::Welcome { identity, index, round, .. } if index == call.hello.to => {
            Ok(Contact { stream, identity, round })
        }
        Frame::Welcome { index, .. } => Err(Missed::ForGood(Rejection {
            reason: format!("it is process {index}: hosts must name the processes in the same order everywhere"),
            settings: vec!["hosts".to_owned()],
        })),
        Frame::Refused { reason, again: true, .. } => Err(Missed::ForNow(reason)),
        Frame::Refused { reason, again: false, settings } => Err(Missed::ForGood(Rejection { reason, settings })),
        _ => Err(Missed::ForNow("it does not answer as a process of a job does".to_owned())),
    }
}

fn connect(address: &str) -> Result<TcpStream, Missed> {
    let resolved = address.to_socket_addrs().map_err(|e| Missed::ForNow(format!("its name is not known: {e}")))?;
    let mut trouble = "its name has no address".to_owned();
    for one in resolved {
        match TcpStream::connect_timeout(&one, PATIENCE) {
            Ok(stream) => return Ok(stream),
            Err(error) => trouble = error.to_string(),
        }
    }
    Err(Missed::ForNow(trouble))
}
