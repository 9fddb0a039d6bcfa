//! The HTTP server of a process: the page for people, `/api/v1` and `/status` for programs, `/metrics` for Prometheus.
//!
//! ```text
//! clients   server.rs  one thread: accepts, looks, ends     connections.rs, seat.rs, answering.rs  who may stay
//!           stall.rs  who does not read     limits.rs  bodies     access.rs, token.rs  who may what
//!           headers.rs  what browsers are told     problem.rs  errors     routes.rs  what is where
//! answers   assets.rs  the page     api/  the resources     events.rs  news, as they come
//!           tail.rs  records     actions.rs  what a request has the job do     openapi.json  what the API is
//!           savepoints.rs, take.rs  savepoints, as they are taken     cluster/  all processes as one
//! the job   watched.rs  the job that is shown     shown.rs  what was seen of it     publisher.rs, news.rs  once a second
//!           sampler.rs, counts.rs  rates and history     cause.rs  the bottleneck     layout.rs  the graph
//! ```
//! All of it runs on one thread of its own, which only reads what the workers publish: a slow client costs the job
//! nothing, and another client nothing but a connection.

mod access;
mod actions;
mod answering;
mod api;
mod assets;
mod cause;
mod cluster;
mod connections;
mod counts;
mod events;
mod headers;
mod layout;
mod limits;
mod news;
mod problem;
mod publisher;
mod routes;
mod sampler;
mod savepoints;
mod seat;
mod server;
mod shown;
mod stall;
mod tail;
mod take;
mod token;
mod triton;
mod watched;

pub(crate) use server::{Server, serve};
pub(crate) use watched::Watched;
