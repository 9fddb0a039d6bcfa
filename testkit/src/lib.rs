//! Helpers that tests share with each other and with `cargo xtask`: real servers, programs and their output, random
//! scripts.
//!
//! ```text
//! broker, model_server     use the standard library only, because xtask starts them, too
//! mlflow                   MLflow's server, whose registry versions of models come from
//! kinesalite               an emulator of Amazon Kinesis, from npm
//! mosquitto                the MQTT broker of Debian, and its clients
//! postgres                 PostgreSQL, from Debian's package
//! redis                    Redis, from Debian's package
//! server_process           the process of a server: its log, the wait until it answers, its end
//! ports                    addresses for them
//! browser                  the browser of the tests of the page, and where its checks are
//! prometheus               Prometheus' programs, which read metrics, rules and dashboards
//! page                     the tables of a page of `docs`, which tests hold against the code
//! chance                   the number of cases, and their seed
//! collector                feature `programs`: a collector of OpenTelemetry
//! program, parts           feature `programs`: examples as processes, and the parts that they published
//! script, exact            feature `scripts`: scripts that property tests play, and an oracle of sums
//! ```

#![allow(missing_docs, reason = "it is not published, and read beside the tests that use it")]
#![allow(clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

pub mod broker;
pub mod browser;
mod chance;
#[cfg(feature = "programs")]
pub mod collector;
#[cfg(feature = "scripts")]
pub mod exact;
pub mod kinesalite;
pub mod mlflow;
pub mod model_server;
pub mod mosquitto;
pub mod page;
#[cfg(feature = "programs")]
mod parts;
mod ports;
pub mod postgres;
#[cfg(feature = "programs")]
mod program;
pub mod prometheus;
pub mod redis;
mod repository;
#[cfg(feature = "scripts")]
pub mod script;
mod server_process;

pub use chance::times;
#[cfg(feature = "programs")]
pub use chance::{seed, some};
#[cfg(feature = "programs")]
pub use parts::{agree, lines, objects, rows, same_lines};
pub use ports::{free_address, free_addresses};
#[cfg(feature = "programs")]
pub use program::{Killed, data, example, fail, fail_with, finish, is_error, project, small_example};
pub use repository::publish_version;
