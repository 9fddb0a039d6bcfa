//! The mesh: how the processes of a job find each other before timely connects their workers.
//!
//! ```text
//! process i ── Hello ──▶ process 0      who are you? ◀── Welcome { round } ── or Refused { why }
//! process i ── Hello { round } ──▶ process j, 0 < j < i            the same
//! process i ── Connected ──▶ 0          0 decides what is restored, and takes over (restore.rs)
//!           ◀── Start { agreement } ──  i looks for the same in its own checkpoint directory
//!           ── Ready, or Unable ──▶     ◀── Go, or Stop { why } ── from here on the sockets are timely's
//! ```
//! Whoever says anything else, or nothing, is a stranger: it is refused, logged and counted, and the mesh forms without it
//! (`door.rs`). What process 0 does is in `leader.rs`, what the others do in `member.rs`, both in `forming.rs`. A process that is lost while the mesh forms makes process 0 begin another round; what belongs to an
//! earlier round, or to another start of process 0, is refused until it has joined this one.
//!
//! Timely itself has no handshake: it takes whoever sends 8 bytes for a peer, and panics where they are not an index.
//!
//! Known limit: nothing here proves who a process is. The fields for that are there (`nonce`, `proof`), empty: whoever
//! can reach the port, and knows the job's name and settings, can be a process of it while the mesh forms.

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
