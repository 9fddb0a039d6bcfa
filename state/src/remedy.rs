//! Remedies for errors, as data: a program can act on them, a command line can name its flags for them.

/// A change in the settings of the job that can resolve an error. Most errors have none, some have several to choose
/// from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Remedy {
    /// Restore the checkpoint of this epoch, which is complete.
    RestoreEpoch(u64),
    /// Restore an earlier checkpoint.
    RestoreEarlier,
    /// Restore the newest checkpoint.
    RestoreNewest,
    /// Restore nothing: start over in the same checkpoint directory.
    RestoreNone,
    /// Start over in an empty checkpoint directory.
    StartOver,
    /// Declare which names differ between the program and the checkpoint.
    Rename,
    /// Discard everything in the checkpoint that belongs to this operator, source or sink, or this state
    /// (`operator/state`).
    DropState(String),
    /// Keep this operator, source, sink or state: remove it from the setting `drop_state`.
    KeepState(String),
    /// Run with this many key groups.
    KeyGroups(u16),
    /// Change the setting of the job whose field has this name.
    Setting(&'static str),
}
