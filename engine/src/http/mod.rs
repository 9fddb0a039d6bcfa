//! The HTTP server of a process: the page for people, `/api/v1` and `/status` for programs, `/metrics` for Prometheus.
//!
//! ```text
//! server.rs   one thread: accepts, serves, ends     connections.rs  how many at once, and who has to go
//! stall.rs    clients that do not read              limits.rs       bodies: how long, and for how long
//! access.rs   who may ask for what                  headers.rs      what browsers are told
//! problem.rs  errors                                routes.rs       what is where
//! place.rs, answering.rs  what a connection does    prometheus.rs   the text of /metrics
//! assets.rs   the files of the page                 watched.rs      the job that is shown
//! ```
//! All of it runs on one thread of its own, which only reads what the workers publish: a slow client costs the job
//! nothing, and another client nothing but a connection.

mod access;
mod answering;
mod api;
mod assets;
mod cause;
mod connections;
mod counts;
mod headers;
mod layout;
mod limits;
mod place;
mod problem;
mod prometheus;
mod routes;
mod sampler;
mod server;
mod shown;
mod stall;
mod watched;

pub(crate) use server::{Server, serve};
pub(crate) use watched::Watched;
