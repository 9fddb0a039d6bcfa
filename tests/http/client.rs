//! A client that sends what it is told to send, byte by byte.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value as Json;

/// An answer, read to the end of its connection.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    /// Names are in lower case.
    pub headers: BTreeMap<String, String>,
    pub body: String,
}

impl Answer {
    pub fn json(&self) -> Json {
        serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }

    /// The detail of an answer that is a problem of this status.
    pub fn problem(&self, status: u16) -> String {
        assert_eq!((self.status, &*self.headers["content-type"]), (status, "application/problem+json"), "{self:?}");
        let problem = self.json();
        assert_eq!(problem["status"], status);
        assert!(problem["title"].is_string() && problem["type"] == "about:blank", "{problem}");
        problem["detail"].as_str().unwrap().to_owned()
    }
}

pub fn connect(address: SocketAddr) -> TcpStream {
    let socket = TcpStream::connect(address).unwrap();
    // Far longer than any answer takes: a test that hangs fails, and no test depends on the time.
    socket.set_read_timeout(Some(Duration::from_secs(120))).unwrap();
    socket
}

/// Sends `request` as it is, and reads until the server closes the connection.
pub fn send(address: SocketAddr, request: &str) -> Answer {
    let mut socket = connect(address);
    socket.write_all(request.as_bytes()).unwrap();
    let mut text = Vec::new();
    socket.read_to_end(&mut text).unwrap();
    parse(&String::from_utf8(text).unwrap())
}

fn parse(text: &str) -> Answer {
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {text:?}"));
    let mut lines = head.split("\r\n");
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let header = |line: &str| line.split_once(": ").map(|(name, value)| (name.to_lowercase(), value.to_owned()));
    let headers: BTreeMap<String, String> = lines.filter_map(header).collect();
    assert!(!headers.contains_key("transfer-encoding"), "{head}");
    Answer { status, headers, body: body.to_owned() }
}

/// Asks for `path` with these lines of headers besides `Host`.
pub fn ask(address: SocketAddr, method: &str, path: &str, headers: &[&str], body: &str) -> Answer {
    let headers: String = headers.iter().map(|line| format!("{line}\r\n")).collect();
    let length = if body.is_empty() { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
    let request =
        format!("{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{length}{headers}\r\n{body}");
    send(address, &request)
}

pub fn get(address: SocketAddr, path: &str) -> Answer {
    ask(address, "GET", path, &[], "")
}
