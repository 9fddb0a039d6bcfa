//! What can be done about an error, as data: a program acts on it, a command line names its flags.

/// What can be done about an error in the settings of the job. Most errors have none, some have several to choose from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Remedy {
    /// Restore the checkpoint of this epoch, which is whole.
    RestoreEpoch(u64),
    /// Restore an earlier checkpoint.
    RestoreEarlier,
    /// Restore the newest checkpoint.
    RestoreNewest,
    /// Restore nothing: start over where the checkpoints are.
    RestoreNone,
    /// Start over in an empty checkpoint directory.
    StartOver,
    /// Say what has another name in the program than in the checkpoint.
    Rename,
    /// Discard what the checkpoint has of this operator, source or sink, or of this state (`operator/state`).
    DropState(String),
    /// Do not ask for this to be discarded.
    KeepState(String),
    /// Run with this many key groups.
    KeyGroups(u16),
    /// Change this setting of the job, by the name of its field.
    Setting(&'static str),
}
