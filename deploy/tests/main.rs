//! The alerts and dashboards of `deploy/`: each metric that they ask for is served by a running job, each alert has its
//! part of the page of alerts, and alerts fire in a real Prometheus by real causes.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

mod causes;
mod fire;
mod list;
mod prometheus;
mod running;
