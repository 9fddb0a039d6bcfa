//! Clients that say nothing, half of something, or never read: they cost themselves their connection, and nobody else
//! anything.

use std::io::{Read, Write};
use std::net::TcpStream;

use rustix::process::{Resource, getrlimit, setrlimit};

use super::client::{connect, get};
use super::job;

const CROWD: usize = 1000;

/// Both ends of all connections are in this process.
fn may_open_many_files() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).unwrap();
}

/// The metrics are answered, whole.
fn metrics_answer(job: &job::Served) {
    let metrics = get(job.address, "/metrics");
    assert_eq!(metrics.status, 200);
    assert_eq!(metrics.headers["content-length"], metrics.body.len().to_string());
}

#[test]
fn a_thousand_silent_clients_do_not_keep_the_metrics_from_answering() {
    may_open_many_files();
    let job = job::start();
    let mut crowd: Vec<TcpStream> = (0..CROWD).map(|_| connect(job.address)).collect();
    metrics_answer(&job);
    // The first ones had to go for the last ones.
    assert_eq!(crowd[0].read(&mut [0]).unwrap_or(0), 0);
    metrics_answer(&job);
}

#[test]
fn a_thousand_clients_with_half_a_request_do_not_keep_the_metrics_from_answering() {
    may_open_many_files();
    let job = job::start();
    let head = "GET /metrics HTTP/1.1\r\nHost: local";
    let token = job.token();
    let body = format!("POST /api/v1/stop HTTP/1.1\r\nHost: localhost\r\n{token}\r\nContent-Length: 100\r\n\r\n{{");
    let half = |at: usize| {
        let mut socket = connect(job.address);
        // It may have had to go already.
        drop(socket.write_all(if at.is_multiple_of(2) { head } else { &body }.as_bytes()));
        socket
    };
    let crowd: Vec<TcpStream> = (0..CROWD).map(half).collect();
    metrics_answer(&job);
    drop(crowd);
    metrics_answer(&job);
}

#[test]
fn clients_that_do_not_read_do_not_keep_the_metrics_from_answering() {
    may_open_many_files();
    let job = job::start();
    // Many requests one after the other fill all buffers between the server and a client that reads no answer.
    let many = format!("GET /api/v1/operators HTTP/1.1\r\nHost: {}\r\n\r\n", job.address).repeat(200);
    let ask = |_| {
        let mut socket = connect(job.address);
        socket.set_nonblocking(true).unwrap();
        drop(socket.write(many.as_bytes()));
        socket
    };
    let crowd: Vec<TcpStream> = (0..300).map(ask).collect();
    metrics_answer(&job);
    drop(crowd);
}

/// Pages that listen and do not read have places of their own, and not all of them.
#[test]
fn pages_that_do_not_read_do_not_keep_the_metrics_from_answering() {
    may_open_many_files();
    let job = job::start();
    let listen = |_| {
        let mut socket = connect(job.address);
        drop(write!(socket, "GET /api/v1/events?tail=counts HTTP/1.1\r\nHost: localhost\r\n\r\n"));
        socket
    };
    let crowd: Vec<TcpStream> = (0..300).map(listen).collect();
    metrics_answer(&job);
    let refused = crowd.iter().rev().find_map(|mut socket| {
        let mut status = [0; 12];
        socket.read_exact(&mut status).is_ok().then_some(status)
    });
    assert_eq!(refused.as_ref().map(|status| &status[9..]), Some(&b"503"[..]), "some have no place");
    drop(crowd);
}

/// A silent client is closed by itself, without anybody who needs its place.
#[test]
fn a_silent_client_is_closed() {
    let job = job::start();
    let mut silent = connect(job.address);
    silent.write_all(b"GET /met").unwrap();
    let mut answer = Vec::new();
    silent.read_to_end(&mut answer).unwrap();
    assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 408"), "{answer:?}");
}
