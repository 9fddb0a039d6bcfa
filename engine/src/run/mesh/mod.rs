//! The mesh: how the processes of a job find each other before timely connects their workers.
//!
//! ```text
//! process i ── Hello ──▶ process 0      who are you? ◀── Welcome { round } ── or Refused { why }
//! process i ── Hello { round } ──▶ process j, 0 < j < i            the same
//! process i ── Connected ──▶ 0          0 decides what is restored, and takes over (restore.rs)
//!           ◀── Start { agreement } ──  i looks for the same in its own checkpoint directory
//!           ── Ready, or Unable ──▶     ◀── Go, or Stop { why } ── from here on the sockets are timely's
//! ```
//! A client that sends anything else, or nothing, is a stranger: it is refused, logged and counted, and the mesh
//! forms without it (`door.rs`). The part of process 0 is in `leader.rs`, that of the others in `member.rs`, and
//! what they share in `forming.rs`. When a process is lost while the mesh forms, process 0 begins another round;
//! processes that belong to an earlier round, or to another start of process 0, are refused until they have joined
//! this one.
//!
//! Timely itself has no handshake: it takes any client that sends 8 bytes for a peer, and panics if they are not
//! an index.
//!
//! Known limit: nothing here proves the identity of a process. The fields for that (`nonce`, `proof`) exist but
//! are empty: any client that can reach the port, and knows the job's name and settings, can pose as a process of
//! the job while the mesh forms.

mod dial;
mod door;
mod form;
mod forming;
mod identity;
mod leader;
mod member;
mod peer;
mod refusals;
#[cfg(test)]
mod tests;
mod wire;

pub(crate) use form::form;
pub(crate) use forming::Mesh;
pub(crate) use identity::Identity;
pub(crate) use refusals::Refusals;
