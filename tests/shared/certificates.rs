//! Keys and certificates that are made for a test.

use std::path::Path;
use std::process::Command;

/// Makes a key and a certificate that is its own authority, for 127.0.0.1. Returns their files. Without `openssl`, it prints that
/// the test did not run, and fails in CI.
pub fn certificate(folder: &Path, name: &str) -> Option<(String, String)> {
    let [key, certificate] =
        ["key", "cert"].map(|kind| folder.join(format!("{name}-{kind}.pem")).display().to_string());
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", &format!("/CN={name}")])
        .args(["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", &key, "-out", &certificate])
        .output();
    if made.is_ok_and(|output| output.status.success()) {
        return Some((key, certificate));
    }
    assert!(std::env::var_os("CI").is_none(), "CI must have openssl");
    eprintln!("NOT RUN: no openssl: `cargo xtask test` installs it");
    None
}
