//! What a state is called and looks like, whether what a checkpoint has of it can be read, and how an older one becomes it.

pub(crate) mod changes;
pub(crate) mod fit;
mod node;
pub(crate) mod parameters;
mod probe;
pub(crate) mod shape;
pub(crate) mod spec;
pub(crate) mod versions;
