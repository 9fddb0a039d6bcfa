//! What the connectors to services of AWS share: signed requests, and the credentials that they are signed with.
//!
//! ```text
//! client ── POST, JSON 1.1 ─▶ service       answers sorted: refused (with its code), or none
//!   ├─ sign         Signature Version 4
//!   └─ credentials  environment, web identity, profile, container, instance; renewed before they expire
//! leaves: time, http
//! ```

mod client;
mod credentials;
mod http;
mod sign;
mod time;

pub(crate) use client::{CallError, Client, Endpoint, Service};
