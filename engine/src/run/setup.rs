//! What a job is started with.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::settings::JobSettings;
use crate::error::JobError;

/// Prepares the process, and says by which flag a job is asked to stop.
type Prepare = Arc<dyn Fn() -> Result<Arc<AtomicBool>, JobError> + Send + Sync>;

/// The settings of a job, and what is to be done in its process before it starts. Made of [`JobSettings`], with which nothing
/// is, or of the flags of a command line ([`JobArgs`](crate::JobArgs)).
#[derive(Clone)]
pub struct JobSetup {
    pub(super) settings: JobSettings,
    prepare: Option<Prepare>,
}

impl JobSetup {
    /// Has `prepare` called once the settings are checked, before anything is started. Setting the flag that it returns asks the
    /// job to stop: the epoch is finished and a checkpoint left behind.
    #[must_use]
    pub fn prepared_by(self, prepare: impl Fn() -> Result<Arc<AtomicBool>, JobError> + Send + Sync + 'static) -> Self {
        Self { prepare: Some(Arc::new(prepare)), ..self }
    }

    pub(super) fn prepare(&self) -> Result<Arc<AtomicBool>, JobError> {
        self.prepare.as_ref().map_or_else(|| Ok(Arc::default()), |prepare| prepare())
    }
}

impl From<JobSettings> for JobSetup {
    fn from(settings: JobSettings) -> Self {
        Self { settings, prepare: None }
    }
}

impl fmt::Debug for JobSetup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.settings.fmt(f)
    }
}
