//! Forming the mesh: what process 0 does, and what the others do.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::dial::{Call, Connection, Dialing, Reached, Troubles, dial};
use super::door::{Door, Refusal};
use super::refusals::Refusals;
use super::wire::{Frame, Hello, Identity, Reader, Round, encode};
use crate::checkpoint::restore::Agreement;
use crate::error::{JobError, with_causes};
use crate::threads;

/// How often it is looked whether anything has happened.
const LOOK: Duration = Duration::from_millis(5);
/// How long an answer may take to be sent.
const SEND: Duration = Duration::from_secs(10);
/// How long process 0 is listened to once another process is lost.
const LAST_WORD: Duration = Duration::from_millis(500);
/// What a process has to know to find the others.
pub(crate) struct Mesh {
    /// All processes, and which of them this one is.
    pub(crate) hosts: Vec<String>,
    pub(crate) me: usize,
    pub(crate) identity: Identity,
    /// A number that no other start has.
    pub(crate) run: u64,
    /// How long the others may take.
    pub(crate) timeout: Duration,
    /// A process with other settings may be left over from an earlier deployment: so long there is hope that the right one
    /// comes as well.
    pub(crate) hope: Duration,
    /// Set when the job is asked to stop.
    pub(crate) stop: Arc<AtomicBool>,
    pub(crate) refusals: Arc<Refusals>,
}

/// Connects the processes and has them agree on what they start from. `decide` is called once: in process 0 with nothing,
/// to say what that is; in the others with what process 0 said.
///
/// Returns the connections by process, none to this one, and what `decide` returned beside the agreement.
///
/// # Errors
/// When processes do not come in time, do not fit together, or `decide` fails in one of them: then it fails in all.
pub(crate) fn form<T>(
    mesh: &Mesh,
    decide: impl FnOnce(Option<&Agreement>) -> Result<(Agreement, T), JobError>,
) -> Result<(Vec<Option<TcpStream>>, T), JobError> {
    let forming = Forming { mesh, since: Instant::now(), troubles: Troubles::default() };
    let door = forming.open_door()?;
    let formed = if mesh.me == 0 { forming.lead(door, decide) } else { forming.join(door, decide) };
    let (peers, decided) = formed?;
    let sockets = peers.into_iter().map(|peer| peer.map(|peer| peer.into_socket()).transpose());
    let sockets = sockets.collect::<std::io::Result<Vec<_>>>();
    let sockets =
        sockets.map_err(|source| JobError::Io { what: "set up the mesh's connections".to_owned(), source })?;
    tracing::info!(processes = mesh.hosts.len(), "all processes of the job are connected");
    Ok((sockets, decided))
}

/// A connection that has said who it is.
struct Peer {
    stream: TcpStream,
    from: Option<SocketAddr>,
    reader: Reader,
    /// Process 0: whether it has connections to all others.
    connected: bool,
}

impl Peer {
    fn new(stream: TcpStream, from: Option<SocketAddr>) -> std::io::Result<Self> {
        stream.set_nonblocking(true)?;
        Ok(Self { stream, from, reader: Reader::default(), connected: false })
    }

    /// What it has said since the last call. An error: it is lost, and why.
    fn heard(&mut self) -> Result<Option<Frame>, String> {
        self.reader.read(&mut self.stream).map_err(|fault| fault.to_string())
    }

    /// Whether it is still there. What it has said already is for timely.
    fn is_there(&self) -> bool {
        match self.stream.peek(&mut [0]) {
            Ok(read) => read > 0,
            Err(error) => matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted),
        }
    }

    fn say(&mut self, frame: &Frame) -> Result<(), String> {
        let send = || -> std::io::Result<()> {
            self.stream.set_nonblocking(false)?;
            self.stream.set_write_timeout(Some(SEND))?;
            (&self.stream).write_all(&encode(frame))?;
            self.stream.set_nonblocking(true)
        };
        send().map_err(|error| error.to_string())
    }

    /// As timely wants it.
    fn into_socket(self) -> std::io::Result<TcpStream> {
        let Self { stream, .. } = self;
        stream.set_nonblocking(false)?;
        stream.set_read_timeout(None)?;
        stream.set_write_timeout(None)?;
        stream.set_nodelay(true)?;
        keep_alive(&stream)?;
        Ok(stream)
    }
}

/// A machine or a network that is gone without a word is noticed within half a minute. One that stands still is not.
fn keep_alive(stream: &TcpStream) -> std::io::Result<()> {
    use rustix::net::sockopt;
    sockopt::set_socket_keepalive(stream, true)?;
    sockopt::set_tcp_keepidle(stream, Duration::from_secs(15))?;
    sockopt::set_tcp_keepintvl(stream, Duration::from_secs(5))?;
    sockopt::set_tcp_keepcnt(stream, 3)?;
    Ok(())
}

type Peers = Vec<Option<Peer>>;

struct Forming<'a> {
    mesh: &'a Mesh,
    since: Instant,
    troubles: Troubles,
}

/// Why an attempt ended without a mesh.
enum Ended {
    /// Somebody is lost: once more.
    Again(String),
    Failed(JobError),
}

impl From<JobError> for Ended {
    fn from(error: JobError) -> Self {
        Self::Failed(error)
    }
}

fn failed<T>(text: String) -> Result<T, JobError> {
    Err(JobError::Cluster(text))
}

impl Forming<'_> {
    fn open_door(&self) -> Result<Door, JobError> {
        let address = self.address(self.mesh.me);
        let mut said = false;
        loop {
            match Door::open(&address, &self.mesh.refusals)? {
                Ok(door) => return Ok(door),
                Err(reason) => {
                    if !std::mem::replace(&mut said, true) {
                        tracing::info!(address, reason, "the name of this process is not known yet: waiting for it");
                    }
                    self.go_on_waiting(|| format!("the name of this process ({address}) is not known: {reason}"))?;
                }
            }
            threads::pause(Duration::from_millis(200));
        }
    }

    fn address(&self, process: usize) -> String {
        self.mesh.hosts.get(process).cloned().unwrap_or_default()
    }

    /// The process and its address, for messages.
    fn name(&self, process: usize) -> String {
        format!("process {process} ({})", self.address(process))
    }

    fn go_on_waiting(&self, missing: impl FnOnce() -> String) -> Result<(), JobError> {
        self.go_on_waiting_for(Duration::ZERO, missing)
    }

    /// Some time more than the others are given.
    fn go_on_waiting_for(&self, more: Duration, missing: impl FnOnce() -> String) -> Result<(), JobError> {
        if self.mesh.stop.load(Ordering::Relaxed) {
            return failed("the job was asked to stop before all of its processes were connected".to_owned());
        }
        let patience = self.mesh.timeout.saturating_add(more);
        if self.since.elapsed() < patience {
            return Ok(());
        }
        let waited = humantime::format_duration(patience);
        failed(format!("after {waited} (--mesh-timeout): {}", missing()))
    }

    fn hello(&self, to: usize, round: Option<Round>) -> Hello {
        let Mesh { me, identity, .. } = self.mesh;
        let (nonce, proof) = (String::new(), String::new());
        Hello { identity: identity.clone(), index: *me, to, round, nonce, proof }
    }

    /// What somebody is answered that may be a process of this job.
    fn judge(&self, hello: &Hello, round: Option<Round>, taken: &Peers) -> Result<Frame, Refusal> {
        let Mesh { me, identity, hosts, .. } = self.mesh;
        let refuse = |kind, again, reason| Err(Refusal { kind, reason, again });
        if let Err(Misfit { kind, reason }) = identity.fits(*me, &hello.identity, hello.index) {
            return refuse(kind, false, reason);
        }
        let (index, to) = (hello.index, hello.to);
        if to != *me {
            return refuse(
                "index",
                false,
                format!(
                    "it takes process {me} for process {to}: --hosts must name the processes in the same order everywhere"
                ),
            );
        }
        if index <= *me || index >= hosts.len() {
            return refuse(
                "index",
                false,
                format!("it says it is process {index}; process {me} waits for {} to {}", me + 1, hosts.len() - 1),
            );
        }
        let Some(round) = round else {
            return refuse("early", true, format!("process {me} has not reached process 0 yet"));
        };
        if *me > 0 && hello.round != Some(round) {
            return refuse(
                "round",
                true,
                format!(
                    "process {index} belongs to another start of the job, or to an earlier attempt of its processes to connect"
                ),
            );
        }
        if let Some(Some(peer)) = taken.get(index) {
            let by = peer.from.map_or_else(String::new, |from| format!(", at {from}"));
            return refuse(
                "taken",
                true,
                format!("process {index} is connected already{by}: are two processes started with --process {index}?"),
            );
        }
        Ok(Frame::Welcome { identity: identity.clone(), index: *me, round, nonce: String::new(), proof: String::new() })
    }

    /// Lets others in, and says which of those that are not have other settings.
    fn look(&self, door: &mut Door, round: Option<Round>, peers: &mut Peers) -> Vec<(usize, String)> {
        let mut misfits = Vec::new();
        let guests = door.look(&mut |hello, _| {
            let answer = self.judge(hello, round, peers);
            if let Err(Refusal { kind: "settings", reason, .. }) = &answer {
                misfits.push((hello.index, reason.clone()));
            }
            answer
        });
        for guest in guests {
            // Of two with one index in one look the first one has it.
            if let (Some(place @ None), Ok(peer)) =
                (peers.get_mut(guest.index), Peer::new(guest.stream, Some(guest.from)))
            {
                *place = Some(peer);
            }
        }
        misfits
    }

    fn nobody(&self) -> Peers {
        self.mesh.hosts.iter().map(|_| None).collect()
    }

    // Process 0.

    fn lead<T>(
        &self,
        mut door: Door,
        decide: impl FnOnce(Option<&Agreement>) -> Result<(Agreement, T), JobError>,
    ) -> Result<(Peers, T), JobError> {
        let mut misfits = BTreeMap::new();
        for number in 1.. {
            let mut peers = self.nobody();
            match self.gather(&mut door, Round { run: self.mesh.run, number }, &mut peers, &mut misfits) {
                Ok(()) => {
                    drop(door);
                    return self.agree(peers, decide);
                }
                Err(Ended::Again(reason)) => tracing::info!(reason, "a process is lost: the others connect once more"),
                Err(Ended::Failed(error)) => {
                    stop_all(&mut peers, &error);
                    return Err(error);
                }
            }
        }
        failed("too many attempts".to_owned())
    }

    /// Waits for all others to be connected, with each other too.
    fn gather(
        &self,
        door: &mut Door,
        round: Round,
        peers: &mut Peers,
        misfits: &mut BTreeMap<usize, (Instant, String)>,
    ) -> Result<(), Ended> {
        loop {
            for (index, reason) in self.look(door, Some(round), peers) {
                misfits.entry(index).or_insert_with(|| (Instant::now(), reason));
            }
            for (index, peer) in peers.iter_mut().enumerate() {
                let Some(peer) = peer else { continue };
                misfits.remove(&index);
                match peer.heard() {
                    Ok(None) => {}
                    Ok(Some(Frame::Connected)) => peer.connected = true,
                    Ok(Some(_)) => {
                        return Err(Ended::Again(format!("{} does not keep to the protocol", self.name(index))));
                    }
                    Err(reason) => return Err(Ended::Again(format!("{}: {reason}", self.name(index)))),
                }
            }
            let missing: Vec<usize> =
                (1..peers.len()).filter(|index| !matches!(peers.get(*index), Some(Some(_)))).collect();
            if missing.is_empty() && peers.iter().flatten().all(|peer| peer.connected) {
                return Ok(());
            }
            if let Some((_, reason)) = misfits.values().find(|(since, _)| since.elapsed() > self.mesh.hope) {
                return Err(Ended::Failed(JobError::Cluster(reason.clone())));
            }
            self.go_on_waiting(|| self.what_is_missing(&missing, peers, misfits))?;
            threads::pause(LOOK);
        }
    }

    fn what_is_missing(
        &self,
        missing: &[usize],
        peers: &Peers,
        misfits: &BTreeMap<usize, (Instant, String)>,
    ) -> String {
        if missing.is_empty() {
            let waiting =
                peers.iter().enumerate().filter(|(_, peer)| peer.as_ref().is_some_and(|peer| !peer.connected));
            let waiting: Vec<String> = waiting.map(|(index, _)| self.name(index)).collect();
            return format!("{} could not connect to all other processes: see there", waiting.join(", "));
        }
        let names: Vec<String> = missing.iter().map(|index| self.name(*index)).collect();
        let why = missing.iter().filter_map(|index| misfits.get(index)).map(|(_, reason)| format!("; {reason}"));
        format!(
            "{} did not connect: is it running, and can it reach {}?{}",
            names.join(", "),
            self.name(0),
            why.collect::<String>()
        )
    }

    fn agree<T>(
        &self,
        mut peers: Peers,
        decide: impl FnOnce(Option<&Agreement>) -> Result<(Agreement, T), JobError>,
    ) -> Result<(Peers, T), JobError> {
        let agreed = decide(None).and_then(|(agreement, decided)| {
            self.have_all_start(&mut peers, agreement)?;
            Ok(decided)
        });
        match agreed {
            Ok(decided) => Ok((peers, decided)),
            Err(error) => {
                stop_all(&mut peers, &error);
                Err(error)
            }
        }
    }

    fn have_all_start(&self, peers: &mut Peers, agreement: Agreement) -> Result<(), JobError> {
        let lost = |index, reason| JobError::Cluster(format!("{} is lost: {reason}", self.name(index)));
        let asked = Instant::now();
        for (index, peer) in present(peers) {
            peer.say(&Frame::Start(agreement.clone())).map_err(|reason| lost(index, reason))?;
        }
        let mut ready = vec![false; peers.len()];
        while present(peers).count() > ready.iter().filter(|ready| **ready).count() {
            let mut gone = None;
            for (index, peer) in present(peers) {
                match peer.heard() {
                    Ok(None) => {}
                    Ok(Some(Frame::Ready)) => ready.iter_mut().skip(index).take(1).for_each(|ready| *ready = true),
                    Ok(Some(Frame::Unable { reason })) => {
                        return failed(format!("{} cannot start: {reason}", self.name(index)));
                    }
                    Ok(Some(_)) => gone = Some(lost(index, "it does not keep to the protocol".to_owned())),
                    Err(reason) => gone = Some(lost(index, reason)),
                }
            }
            // Another one may have said why it is.
            if let Some(error) = gone {
                return Err(error);
            }
            if asked.elapsed() > self.mesh.timeout {
                let waiting = ready.iter().enumerate().skip(1).filter(|(_, ready)| !**ready);
                let waiting: Vec<String> = waiting.map(|(index, _)| self.name(index)).collect();
                return failed(format!("{} did not say in time that it is ready", waiting.join(", ")));
            }
            threads::pause(LOOK);
        }
        for (index, peer) in present(peers) {
            peer.say(&Frame::Go).map_err(|reason| lost(index, reason))?;
        }
        Ok(())
    }

    // The others.

    fn join<T>(
        &self,
        mut door: Door,
        decide: impl FnOnce(Option<&Agreement>) -> Result<(Agreement, T), JobError>,
    ) -> Result<(Peers, T), JobError> {
        loop {
            match self.connect(&mut door) {
                Ok((mut peers, agreement)) => {
                    drop(door);
                    return self.follow(&mut peers, &agreement, decide).map(|decided| (peers, decided));
                }
                Err(Ended::Again(reason)) => {
                    tracing::info!(reason, "a process is lost: connecting once more");
                    self.go_on_waiting(|| reason)?;
                    threads::pause(LOOK);
                }
                Err(Ended::Failed(error)) => return Err(error),
            }
        }
    }

    /// Connects to process 0, then to all others, and waits for what process 0 decides.
    fn connect(&self, door: &mut Door) -> Result<(Peers, Agreement), Ended> {
        let (tell, told) = crossbeam_channel::unbounded();
        let call = |to, round| {
            let call = Call { address: self.address(to), hello: self.hello(to, round) };
            dial(call, &self.troubles, tell.clone())
        };
        let mut calls: Vec<Dialing> = vec![call(0, None)?];
        let mut peers = self.nobody();
        let mut round = None;
        let mut told_connected = false;
        loop {
            for Reached { index, answer } in told.try_iter().collect::<Vec<_>>() {
                let Connection { stream, identity, round: theirs } = self.reached(index, answer)?;
                if let Err(Misfit { reason, .. }) = self.mesh.identity.fits(self.mesh.me, &identity, index) {
                    return Err(JobError::Cluster(reason).into());
                }
                let peer = Peer::new(stream, None).map_err(|error| Ended::Again(with_causes(&error)))?;
                if let Some(place) = peers.get_mut(index) {
                    *place = Some(peer);
                }
                if index == 0 {
                    round = Some(theirs);
                    for to in 1..self.mesh.me {
                        calls.push(call(to, round)?);
                    }
                }
            }
            self.look(door, round, &mut peers);
            let lost = peers.iter().position(|peer| peer.as_ref().is_some_and(|peer| !peer.is_there()));
            if let Some(lost) = lost.filter(|lost| *lost > 0) {
                return Err(self.after_a_loss(lost, &mut peers));
            }
            let missing: Vec<usize> = (0..peers.len())
                .filter(|index| *index != self.mesh.me && !matches!(peers.get(*index), Some(Some(_))))
                .collect();
            if let Some(Some(leader)) = peers.first_mut() {
                match leader.heard() {
                    Ok(Some(Frame::Start(agreement))) if missing.is_empty() => return Ok((peers, agreement)),
                    Ok(Some(Frame::Stop { reason })) => return Err(self.stopped(&reason).into()),
                    Ok(Some(_)) => return Err(Ended::Again("process 0 does not keep to the protocol".to_owned())),
                    Ok(None) => {}
                    Err(reason) => return Err(Ended::Again(format!("process 0: {reason}"))),
                }
                if missing.is_empty() && !std::mem::replace(&mut told_connected, true) {
                    leader.say(&Frame::Connected).map_err(Ended::Again)?;
                }
            }
            // It is for process 0 to say who is missing; it may have begun to wait later.
            let more = if round.is_some() { self.mesh.timeout } else { Duration::ZERO };
            self.go_on_waiting_for(more, || self.who_is_missing(&missing))?;
            threads::pause(LOOK);
        }
    }

    /// One that is lost may have been stopped by process 0, which then says so to this one, too.
    fn after_a_loss(&self, lost: usize, peers: &mut Peers) -> Ended {
        let until = Instant::now() + LAST_WORD;
        while let (Some(Some(leader)), true) = (peers.first_mut(), Instant::now() < until) {
            match leader.heard() {
                Ok(Some(Frame::Stop { reason })) => return self.stopped(&reason).into(),
                Ok(None | Some(Frame::Start(_))) => threads::pause(LOOK),
                Ok(Some(_)) | Err(_) => break,
            }
        }
        Ended::Again(format!("{} closed the connection", self.name(lost)))
    }

    fn reached(&self, index: usize, answer: Result<Connection, String>) -> Result<Connection, JobError> {
        answer.map_err(|reason| JobError::Cluster(format!("{} refuses this process: {reason}", self.name(index))))
    }

    fn who_is_missing(&self, missing: &[usize]) -> String {
        let one = |index: &usize| match self.troubles.of(*index) {
            Some(trouble) if *index < self.mesh.me => format!("{} could not be reached: {trouble}", self.name(*index)),
            _ if *index < self.mesh.me => format!("{} could not be reached", self.name(*index)),
            _ => format!("{} did not connect", self.name(*index)),
        };
        if missing.is_empty() {
            return format!("{} has not said that the job begins: it waits for other processes", self.name(0));
        }
        missing.iter().map(one).collect::<Vec<_>>().join("; ")
    }

    fn stopped(&self, reason: &str) -> JobError {
        JobError::Cluster(format!("{} has stopped the start: {reason}", self.name(0)))
    }

    fn follow<T>(
        &self,
        peers: &mut Peers,
        agreement: &Agreement,
        decide: impl FnOnce(Option<&Agreement>) -> Result<(Agreement, T), JobError>,
    ) -> Result<T, JobError> {
        let lost = |reason: String| JobError::Cluster(format!("{} is lost: {reason}", self.name(0)));
        let Some(Some(leader)) = peers.first_mut() else { return Err(lost("there is no connection".to_owned())) };
        let decided = match decide(Some(agreement)) {
            Ok((_, decided)) => decided,
            Err(error) => {
                drop(leader.say(&Frame::Unable { reason: error.report() }));
                return Err(error);
            }
        };
        leader.say(&Frame::Ready).map_err(lost)?;
        let asked = Instant::now();
        loop {
            match leader.heard().map_err(lost)? {
                Some(Frame::Go) => return Ok(decided),
                Some(Frame::Stop { reason }) => return Err(self.stopped(&reason)),
                Some(_) => return Err(lost("it does not keep to the protocol".to_owned())),
                None if asked.elapsed() < self.mesh.timeout => threads::pause(LOOK),
                None => return failed(self.who_is_missing(&[])),
            }
        }
    }
}

fn present(peers: &mut Peers) -> impl Iterator<Item = (usize, &mut Peer)> {
    peers.iter_mut().enumerate().filter_map(|(index, peer)| Some((index, peer.as_mut()?)))
}

/// Has the others stop with the same reason.
fn stop_all(peers: &mut Peers, error: &JobError) {
    let reason = error.report();
    for (_, peer) in present(peers) {
        // Whoever is lost has stopped.
        drop(peer.say(&Frame::Stop { reason: reason.clone() }));
    }
}

/// What does not fit, and the name it is counted under.
pub(super) struct Misfit {
    pub(super) kind: &'static str,
    pub(super) reason: String,
}

impl Identity {
    /// Whether a process can be one of this job: all that differs, with both sides.
    fn fits(&self, me: usize, other: &Self, index: usize) -> Result<(), Misfit> {
        if self.job != other.job {
            let reason = format!("it is a process of job \"{}\", this is \"{}\"", other.job, self.job);
            return Err(Misfit { kind: "other_job", reason });
        }
        let mut differences = Vec::new();
        let mut compare = |what: &str, theirs: &str, ours: &str| {
            if theirs != ours {
                differences.push(format!("process {index} has {what} {theirs}, process {me} has {ours}"));
            }
        };
        compare("--hosts with as many processes as", &other.processes.to_string(), &self.processes.to_string());
        // Whoever says nothing of it goes by process 0.
        if (me == 0 && other.restore != "auto") || (index == 0 && self.restore != "auto") {
            compare("--restore", &other.restore, &self.restore);
        }
        if ![&self.program, &other.program].contains(&&String::new()) {
            compare("another build of the program:", &other.program, &self.program);
        }
        for (what, ours) in &self.settings {
            let theirs = other.settings.iter().find(|(name, _)| name == what).map_or("none", |(_, value)| value);
            compare(what, theirs, ours);
        }
        match differences.is_empty() {
            true => Ok(()),
            false => Err(Misfit { kind: "settings", reason: differences.join("; ") }),
        }
    }
}
