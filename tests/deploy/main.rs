//! The alerts and dashboards of `deploy/`.
