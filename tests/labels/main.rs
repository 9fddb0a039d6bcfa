//! Labels that come later: the join and the reports of quality against plain computations, and scikit-learn.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod late;
mod sklearn;
mod worlds;
