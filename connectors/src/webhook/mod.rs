//! The webhook sink: records are sent to an HTTP server, at least once, each request under a key by which the server can tell
//! that it has it already.
//!
//! ```text
//! writer ─ batch (bodies of requests) ─▶ requests (their form in a token) ─▶ delta ─▶ committed
//! committed, or a start ─▶ courier: key ─ client (POST; signature, headers) ─▶ answer (what it means)
//!                            └─ again, after a pause · refused ─▶ dead_letters (a file) · stop
//! url: a sink in one text      settings · address (what is shown of a URL) · header: leaves
//! ```
//! Invariant: two requests under the same key have the same body. What is in a token is sent as it is, by whichever run; what
//! is not committed has never been sent. `docs/connectors/webhook.md` has the guarantees.

mod address;
mod answer;
mod batch;
mod client;
mod courier;
mod dead_letters;
mod header;
mod key;
mod requests;
mod settings;
mod sink;
mod url;
mod writer;

pub use sink::WebhookSink;
pub use url::{WebhookUrl, WebhookUrlError};
pub use writer::WebhookWriter;
