//! The mesh forms despite strangers of every kind, with two to four processes on loopback.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use proptest::prelude::*;

use super::door::MOST_STRANGERS;
use super::form::form;
use super::forming::Mesh;
use super::identity::Identity;
use super::wire::{Fault, Frame, Hello, Reader, Round, VERSION, encode};
use super::{Refusals, wire};
use crate::checkpoint::restore::Agreement;
use crate::error::{JobError, Remedy};
use crate::threads;

fn identity(processes: usize) -> Identity {
    Identity {
        job: "job".to_owned(),
        processes,
        restore: "auto".to_owned(),
        program: "1 bytes".to_owned(),
        settings: vec![("workers".to_owned(), "2".to_owned())],
    }
}

fn hosts(processes: usize) -> Vec<String> {
    (0..processes).map(|_| testkit::free_address().to_string()).collect()
}

fn mesh(hosts: &[String], me: usize) -> Mesh {
    Mesh {
        hosts: hosts.to_vec(),
        me,
        identity: identity(hosts.len()),
        run: 70 + me as u64,
        timeout: Duration::from_secs(60),
        hope: Duration::from_secs(60),
        stop: Arc::default(),
        refusals: Arc::default(),
    }
}

type Sockets = Vec<Option<TcpStream>>;

/// Forms the mesh for one process. Returns its connections and what it was received about the start.
fn run(mesh: &Mesh) -> Result<(Sockets, Agreement), JobError> {
    let own = Agreement { run: mesh.run, first_epoch: 7, found: None, stands_alone: false };
    form(mesh, |received| {
        let agreement = received.cloned().unwrap_or(own);
        Ok((agreement.clone(), agreement))
    })
}

/// Checks that each process can send to each other one, and that the right one receives it.
fn check_connected(mut formed: Vec<Sockets>) {
    for (from, sockets) in formed.iter_mut().enumerate() {
        for (to, socket) in sockets.iter_mut().enumerate() {
            assert_eq!(socket.is_none(), from == to);
            if let Some(socket) = socket {
                socket.write_all(&[from as u8, to as u8]).unwrap();
            }
        }
    }
    for (to, sockets) in formed.iter_mut().enumerate() {
        for (from, socket) in sockets.iter_mut().enumerate() {
            if let Some(socket) = socket {
                let mut heard = [9; 2];
                socket.read_exact(&mut heard).unwrap();
                assert_eq!(heard, [from as u8, to as u8], "nothing that was said before is left over");
            }
        }
    }
}

/// A client that connects and is not a process of this mesh.
#[derive(Clone, Debug)]
enum Stranger {
    Closes,
    Says(Vec<u8>),
    Http,
    Silent,
    HalfAHello(usize),
    Index(usize),
    OtherJob,
    OtherRound,
    OtherSettings,
    OtherVersion,
}

fn stranger() -> impl Strategy<Value = Stranger> {
    prop_oneof![
        Just(Stranger::Closes),
        prop::collection::vec(any::<u8>(), 1..200).prop_map(Stranger::Says),
        Just(Stranger::Http),
        Just(Stranger::Silent),
        (1..300_usize).prop_map(Stranger::HalfAHello),
        prop_oneof![Just(0), 4..9_usize, Just(usize::MAX)].prop_map(Stranger::Index),
        Just(Stranger::OtherJob),
        Just(Stranger::OtherRound),
        Just(Stranger::OtherSettings),
        Just(Stranger::OtherVersion),
    ]
}

fn hello(processes: usize, index: usize, to: usize) -> Hello {
    let (nonce, proof) = (String::new(), String::new());
    Hello { identity: identity(processes), index, to, round: None, nonce, proof }
}

impl Stranger {
    /// Connects and sends its bytes. Returns the connection, if the stranger keeps it open.
    fn knock(&self, processes: usize, at: usize, address: &str) -> Option<TcpStream> {
        let mut stream = TcpStream::connect(address).ok()?;
        let mut say = |bytes: &[u8]| drop(stream.write_all(bytes));
        let greet = |hello: Hello| encode(&Frame::Hello(Box::new(hello)));
        let last = hello(processes, processes - 1, at);
        match self {
            Self::Closes => return None,
            Self::Silent => {}
            Self::Says(bytes) => say(bytes),
            Self::Http => say(b"GET / HTTP/1.1\r\nHost: mesh\r\n\r\n"),
            Self::HalfAHello(len) => say(greet(last).get(..*len).unwrap_or(b"TD")),
            Self::Index(index) => say(&greet(Hello { index: *index, ..last })),
            Self::OtherJob => {
                say(&greet(Hello { identity: Identity { job: "other".to_owned(), ..identity(processes) }, ..last }));
            }
            // Process 0 ignores the round; for the others it is the round of another start.
            Self::OtherRound if at == 0 => {}
            Self::OtherRound => say(&greet(Hello { round: Some(Round { run: 1, number: 1 }), ..last })),
            Self::OtherSettings => {
                let settings = vec![("workers".to_owned(), "3".to_owned())];
                say(&greet(Hello { identity: Identity { settings, ..identity(processes) }, ..last }));
            }
            Self::OtherVersion => {
                let mut bytes = greet(last);
                bytes[4..6].copy_from_slice(&(VERSION + 1).to_be_bytes());
                say(&bytes);
            }
        }
        Some(stream)
    }
}

/// Has strangers connect to all processes, again and again, until the mesh is formed.
fn disturb(hosts: &[String], strangers: &[Stranger], over: &AtomicBool, knocks: &AtomicU64) {
    let mut open = Vec::new();
    while !over.load(Ordering::Relaxed) {
        for stranger in strangers {
            for (at, address) in hosts.iter().enumerate() {
                let stayed = stranger.knock(hosts.len(), at, address);
                knocks.fetch_add(1, Ordering::Relaxed);
                open.extend(stayed);
            }
        }
        if open.len() > 200 {
            open.drain(..100);
        }
        // Each leaves a port that cannot be used for a minute, and a machine has some 28,000.
        threads::pause(Duration::from_millis(5));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn a_mesh_forms_among_strangers(
        processes in 2..=4_usize,
        strangers in prop::collection::vec(stranger(), 1..6),
        order in any::<u64>(),
    ) {
        let hosts = hosts(processes);
        let (over, knocks) = (AtomicBool::new(false), AtomicU64::new(0));
        let formed = std::thread::scope(|scope| {
            scope.spawn(|| disturb(&hosts, &strangers, &over, &knocks));
            let started: Vec<_> = (0..processes).map(|me| {
                let mesh = mesh(&hosts, me);
                scope.spawn(move || {
                    threads::pause(Duration::from_millis(order >> (8 * me) & 31));
                    run(&mesh)
                })
            }).collect();
            let formed: Vec<_> = started.into_iter().map(|process| process.join().unwrap()).collect();
            over.store(true, Ordering::Relaxed);
            formed
        });
        let formed: Result<Vec<_>, _> = formed.into_iter().collect();
        let (sockets, received): (Vec<Sockets>, Vec<Agreement>) = formed.map_err(|e| TestCaseError::fail(e.report()))?.into_iter().unzip();
        prop_assert!(received.iter().all(|agreement| *agreement == received[0] && agreement.run == 70), "{received:?}");
        check_connected(sockets);
    }

    #[test]
    fn any_bytes_are_a_frame_or_an_error(
        bytes in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..400),
            (prop::collection::vec(any::<u8>(), 0..200), any::<u32>()).prop_map(|(body, len)| {
                let mut bytes = b"TDML\0\x01".to_vec();
                bytes.extend(len.to_be_bytes());
                bytes.extend(body);
                bytes
            }),
            (0..400_usize, any::<u8>()).prop_map(|(at, byte)| {
                let mut bytes = encode(&Frame::Hello(Box::new(hello(3, 1, 0))));
                let at = at % bytes.len();
                bytes[at] = byte;
                bytes
            }),
        ],
        piece in 1..64_usize,
    ) {
        // The result is the same whether the bytes come in pieces or at once.
        let whole = Reader::default().read(&mut Pieces { bytes: &bytes, piece: bytes.len().max(1) });
        let pieces = Reader::default().read(&mut Pieces { bytes: &bytes, piece });
        prop_assert_eq!(format!("{whole:?}").split('(').next().map(str::to_owned), format!("{pieces:?}").split('(').next().map(str::to_owned));
        if let Ok(Some(frame)) = whole {
            let mut again = encode(&frame);
            let read = Reader::default().read(&mut Pieces { bytes: &again, piece });
            prop_assert_eq!(read.unwrap(), Some(frame));
            again.truncate(again.len() - 1);
            let cut = matches!(Reader::default().read(&mut Pieces { bytes: &again, piece }), Err(Fault::Closed(_)));
            prop_assert!(cut);
        }
    }
}

/// A reader whose bytes come a few at a time.
struct Pieces<'a> {
    bytes: &'a [u8],
    piece: usize,
}

impl Read for Pieces<'_> {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        let len = self.piece.min(into.len()).min(self.bytes.len());
        into[..len].copy_from_slice(&self.bytes[..len]);
        self.bytes = &self.bytes[len..];
        Ok(len)
    }
}

#[test]
fn a_reader_takes_no_byte_of_what_comes_after() {
    let mut bytes = encode(&Frame::Go);
    bytes.extend(b"timely's");
    let mut from = Pieces { bytes: &bytes, piece: 1000 };
    assert_eq!(Reader::default().read(&mut from).unwrap(), Some(Frame::Go));
    assert_eq!(from.bytes, b"timely's");
    let long = Frame::Stop { reason: "x".repeat(100_000) };
    let read = Reader::default().read(&mut Pieces { bytes: &encode(&long), piece: 5000 }).unwrap();
    assert!(matches!(read, Some(Frame::Stop { .. })), "{read:?}");
}

/// The real process is admitted among 1,000 clients that send nothing.
#[test]
fn silent_clients_do_not_keep_a_process_out() {
    let hosts = hosts(2);
    let (leader, member) = (mesh(&hosts, 0), mesh(&hosts, 1));
    let refusals = Arc::clone(&leader.refusals);
    std::thread::scope(|scope| {
        let leads = scope.spawn(|| run(&leader));
        let mut silent = Vec::new();
        while silent.len() < 1000 {
            silent.extend(TcpStream::connect(&hosts[0]));
        }
        let (joined, _) = run(&member).unwrap();
        let (led, _) = leads.join().unwrap().unwrap();
        check_connected(vec![led, joined]);
    });
    let counts = refusals.counts();
    assert!(counts["crowd"] >= 1000 - 2 * MOST_STRANGERS as u64, "{counts:?}");
}

/// A process is killed and started again while the others wait for the last one.
#[test]
fn a_process_that_comes_again_while_the_mesh_forms_is_taken_in() {
    let hosts = hosts(3);
    std::thread::scope(|scope| {
        let leader = mesh(&hosts, 0);
        let leads = scope.spawn(move || run(&leader));
        let killed = mesh(&hosts, 1);
        let stop = Arc::clone(&killed.stop);
        let first = scope.spawn(move || run(&killed));
        threads::pause(Duration::from_millis(200));
        stop.store(true, Ordering::Relaxed);
        assert!(first.join().unwrap().unwrap_err().to_string().contains("asked to stop"));
        let [second, last] = [mesh(&hosts, 1), mesh(&hosts, 2)];
        let second = scope.spawn(move || run(&second));
        let last = scope.spawn(move || run(&last));
        let formed = [leads, second, last].map(|process| process.join().unwrap().unwrap().0);
        check_connected(formed.into());
    });
}

#[test]
fn a_second_process_of_one_index_is_refused_and_the_first_stays() {
    let hosts = hosts(3);
    std::thread::scope(|scope| {
        let leader = mesh(&hosts, 0);
        let refusals = Arc::clone(&leader.refusals);
        let leads = scope.spawn(move || run(&leader));
        let first = mesh(&hosts, 1);
        let first = scope.spawn(move || run(&first));
        threads::pause(Duration::from_millis(300));
        // The address at which it would listen is taken; it connects nonetheless.
        let mut second = TcpStream::connect(&hosts[0]).unwrap();
        second.write_all(&encode(&Frame::Hello(Box::new(hello(3, 1, 0))))).unwrap();
        let answer = Reader::default().read(&mut second).unwrap();
        assert!(
            matches!(&answer, Some(Frame::Refused { reason, again: true, .. }) if reason.contains("process 1")),
            "{answer:?}"
        );
        assert_eq!(refusals.counts()["taken"], 1);
        let last = mesh(&hosts, 2);
        let last = scope.spawn(move || run(&last));
        check_connected([leads, first, last].map(|process| process.join().unwrap().unwrap().0).into());
    });
}

#[test]
fn what_differs_is_said_with_both_sides_and_all_stop() {
    let hosts = hosts(2);
    let leader = Mesh { hope: Duration::from_millis(100), ..mesh(&hosts, 0) };
    let mut other = mesh(&hosts, 1);
    other.identity.settings = vec![("workers".to_owned(), "3".to_owned())];
    other.identity.restore = "5".to_owned();
    std::thread::scope(|scope| {
        let leads = scope.spawn(|| run(&leader));
        for error in [run(&other).unwrap_err(), leads.join().unwrap().unwrap_err()] {
            assert_eq!(error.remedies(), ["restore", "workers"].map(Remedy::Setting), "{error}");
            let error = error.to_string();
            assert!(error.contains("process 1 has workers 3, process 0 has 2"), "{error}");
            assert!(error.contains("process 1 has restore 5, process 0 has auto"), "{error}");
        }
    });
}

#[test]
fn a_process_that_cannot_start_stops_all_of_them() {
    let broken = || JobError::Invalid("the checkpoint is of another job".to_owned());
    for cannot in [0, 1, 2] {
        let hosts = hosts(3);
        let errors = std::thread::scope(|scope| {
            let started: Vec<_> = (0..3)
                .map(|me| {
                    let mesh = mesh(&hosts, me);
                    scope.spawn(move || {
                        let agreement = Agreement { run: 1, first_epoch: 1, found: None, stands_alone: false };
                        form(&mesh, |_| if me == cannot { Err(broken()) } else { Ok((agreement, ())) }).unwrap_err()
                    })
                })
                .collect();
            started.into_iter().map(|process| process.join().unwrap().to_string()).collect::<Vec<_>>()
        });
        assert!(errors.iter().all(|error| error.contains("of another job")), "{cannot}: {errors:?}");
    }
}

#[test]
fn missing_processes_are_named_after_the_timeout() {
    let hosts = hosts(3);
    let short = |me| Mesh { timeout: Duration::from_millis(700), ..mesh(&hosts, me) };
    let (leader, member) = (short(0), short(1));
    std::thread::scope(|scope| {
        let leads = scope.spawn(|| run(&leader));
        let error = run(&member).unwrap_err().to_string();
        assert!(error.contains(&format!("process 2 ({})", hosts[2])), "{error}");
        let error = leads.join().unwrap().unwrap_err();
        assert_eq!(error.remedies(), ["hosts", "mesh_timeout"].map(Remedy::Setting), "{error}");
        let error = error.to_string();
        assert!(error.contains(&format!("process 2 ({}) did not connect", hosts[2])), "{error}");
        assert!(error.contains("mesh_timeout") && !error.contains("process 1"), "{error}");
    });
    let error = run(&short(1)).unwrap_err().to_string();
    assert!(error.contains("process 0") && error.contains("could not be reached: "), "{error}");
}

#[test]
fn a_port_that_is_taken_and_a_name_without_one_are_said() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut hosts = hosts(2);
    hosts[0] = taken.local_addr().unwrap().to_string();
    let error = run(&mesh(&hosts, 0)).unwrap_err().report();
    assert!(error.contains(&hosts[0]) && error.contains("started as the same one"), "{error}");
    hosts[0] = "localhost".to_owned();
    let error = run(&mesh(&hosts, 0)).unwrap_err().to_string();
    assert!(error.contains("\"localhost\" is not HOST:PORT"), "{error}");
}

#[test]
fn a_host_name_that_is_not_known_yet_is_awaited() {
    let mut hosts = hosts(2);
    hosts[0] = "no-such-host.invalid:2101".to_owned();
    let mesh = |me| Mesh { timeout: Duration::from_millis(500), ..mesh(&hosts, me) };
    let began = threads::now();
    let error = run(&mesh(0)).unwrap_err().to_string();
    assert!(
        error.contains("no-such-host.invalid:2101") && threads::since(began) >= Duration::from_millis(500),
        "{error}"
    );
    let error = run(&mesh(1)).unwrap_err().to_string();
    assert!(error.contains("its host name cannot be resolved"), "{error}");
}

#[test]
fn refusals_are_distinguished() {
    let from: SocketAddr = "127.0.0.1:1".parse().unwrap();
    let refusals = Refusals::default();
    refusals.note(from, "silent", "it says nothing");
    refusals.note(from, "silent", "it says nothing");
    refusals.note(from, wire::Fault::Version(9).kind(), "it speaks version 9");
    assert_eq!(refusals.counts(), [("silent".to_owned(), 2), ("version".to_owned(), 1)].into());
}
