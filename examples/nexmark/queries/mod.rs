//! The queries, one per file, each with its SQL (`datetime` is the event time). The definitions are those of Flink's
//! Nexmark; where a query differs, its file says so.

mod closed;
mod highest;
mod q0;
mod q1;
mod q11;
mod q12;
mod q13;
mod q2;
mod q3;
mod q4;
mod q5;
mod q6;
mod q7;
mod q8;

pub use q0::q0;
pub use q1::q1;
pub use q2::q2;
pub use q3::q3;
pub use q4::q4;
pub use q5::q5;
pub use q6::q6;
pub use q7::q7;
pub use q8::q8;
pub use q11::q11;
pub use q12::q12;
pub use q13::q13;
