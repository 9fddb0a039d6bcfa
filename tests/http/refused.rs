//! What is answered to whom, and in which form something is refused.

use std::io::{Read, Write};

use super::client::{ask, connect, get, send};
use super::job;

#[test]
fn the_pages_are_where_they_were_and_a_query_is_no_part_of_a_path() {
    let job = job::start();
    let page = get(job.address, "/");
    assert_eq!((page.status, &*page.headers["content-type"]), (200, "text/html; charset=utf-8"));
    assert!(page.body.starts_with("<!doctype html>"), "{}", page.body);
    for path in
        ["/status", "/status?x=1", "/metrics", "/metrics?name[]=tidemill_epoch", "/api/v1/job?", "/api/v1/graph"]
    {
        assert_eq!(get(job.address, path).status, 200, "{path}");
    }
    assert!(get(job.address, "/metrics").body.contains("tidemill_epoch "));
    assert_eq!(get(job.address, "/status").json()["job"], "numbers");
}

#[test]
fn head_has_the_headers_of_get_and_no_body() {
    let job = job::start();
    for path in ["/", "/status", "/api/v1/graph"] {
        let (head, get) = (ask(job.address, "HEAD", path, &[], ""), get(job.address, path));
        assert_eq!((head.status, &*head.body), (200, ""), "{path}");
        assert_eq!(head.headers["content-type"], get.headers["content-type"], "{path}");
    }
}

#[test]
fn each_answer_tells_browsers_what_the_page_may_do() {
    let job = job::start();
    for path in ["/", "/status", "/metrics", "/api/v1/job", "/no/such/page"] {
        let headers = get(job.address, path).headers;
        assert!(headers["content-security-policy"].starts_with("default-src 'self';"), "{path}: {headers:?}");
        assert_eq!(headers["x-content-type-options"], "nosniff", "{path}");
        let stored = if path == "/" { "no-cache" } else { "no-store" };
        assert_eq!(headers["cache-control"], stored, "{path}");
    }
    let tag = get(job.address, "/").headers["etag"].clone();
    let again = ask(job.address, "GET", "/", &[&format!("If-None-Match: {tag}")], "");
    assert_eq!((again.status, &*again.body), (304, ""));
}

#[test]
fn what_does_not_exist_is_a_problem() {
    let job = job::start();
    for path in ["/no/such/page", "/api/v1/no-such-thing", "/status/", "/%2e%2e/etc/passwd", "/app/../Cargo.toml"] {
        assert!(get(job.address, path).problem(404).contains("there is no "), "{path}");
    }
    let token: &[&str] = &[&job.token()];
    let answer = ask(job.address, "POST", "/status", token, "{}");
    assert!(answer.headers["allow"].contains("GET"), "{answer:?}");
    assert!(answer.problem(405).contains("POST"));
    ask(job.address, "DELETE", "/api/v1/job", token, "").problem(405);
    assert!(get(job.address, "/api/v1/history?since=yesterday").problem(400).contains("since"));
}

/// A site whose name was made to point to this machine has a browser send its own name as the host.
#[test]
fn another_name_than_ours_is_refused() {
    let job = job::start();
    let asked = |host: &str| send(job.address, &format!("GET /status HTTP/1.1\r\n{host}Connection: close\r\n\r\n"));
    assert!(asked("Host: evil.example\r\n").problem(421).contains("evil.example"));
    assert!(asked("Host: localhost.evil.example:80\r\n").problem(421).contains("evil"));
    asked("").problem(400);
    asked("Host: localhost\r\nHost: evil.example\r\n").problem(400);
    for host in ["localhost", "localhost:1", "127.0.0.1", "[::1]:9", "10.0.0.7"] {
        assert_eq!(asked(&format!("Host: {host}\r\n")).status, 200, "{host}");
    }
    let whole =
        format!("GET http://evil.example/status HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", job.address);
    send(job.address, &whole).problem(421);
}

#[test]
fn a_page_of_another_site_changes_nothing() {
    let job = job::start();
    for origin in ["http://evil.example", "null", "http://localhost:1"] {
        let answer = ask(job.address, "POST", "/api/v1/stop", &[&format!("Origin: {origin}")], "{}");
        assert!(answer.problem(403).contains("page"), "{origin}");
    }
}

#[test]
fn a_long_body_and_a_long_head_are_refused() {
    let job = job::start();
    let request = |headers: &str| {
        let (address, token) = (job.address, job.token());
        format!("POST /api/v1/stop HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{token}\r\n{headers}\r\n")
    };
    // Without the body: what its head says is enough.
    send(job.address, &request("Content-Length: 100000\r\n")).problem(413);
    let chunk = format!("{:x}\r\n{}\r\n", 70_000, "x".repeat(70_000));
    send(job.address, &format!("{}{chunk}0\r\n\r\n", request("Transfer-Encoding: chunked\r\n"))).problem(413);
    // The server closes the connection before it has read all of it, so the answer may be lost.
    let mut socket = connect(job.address);
    let long = request(&format!("X-Long: {}\r\n", "x".repeat(4 << 20)));
    let (written, mut answer) = (socket.write_all(long.as_bytes()), Vec::new());
    _ = socket.read_to_end(&mut answer);
    assert!(answer.starts_with(b"HTTP/1.1 431") || answer.is_empty() && written.is_err(), "{answer:?}");
    assert_eq!(get(job.address, "/status").json()["state"], "running");
}

#[test]
fn what_is_no_http_is_answered_with_400() {
    let job = job::start();
    for nonsense in ["nonsense\r\n\r\n", "GET / HTTP/9.9\r\n\r\n", "\0\u{1}\u{2}\r\n\r\n"] {
        assert_eq!(send(job.address, nonsense).status, 400, "{nonsense:?}");
    }
    assert_eq!(get(job.address, "/status").status, 200);
}
