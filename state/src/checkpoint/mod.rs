//! What a checkpoint consists of, where it is kept, for how long, and who goes on from it.

pub(crate) mod delta;
pub(crate) mod manifest;
pub(crate) mod store;
pub(crate) mod take_over;
pub(crate) mod work_dir;
