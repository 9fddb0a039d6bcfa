//! Windows, rolling aggregates and inference, as plain logic above the engine's shell.

pub mod infer;
pub mod rolling;
pub mod window;
