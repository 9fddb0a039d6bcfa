//! The setup of a job: its settings and the preparation of its process.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::settings::JobSettings;
use crate::error::JobError;

/// The function that prepares the process, and returns the flag that asks the job to stop.
type Prepare = Arc<dyn Fn() -> Result<Arc<AtomicBool>, JobError> + Send + Sync>;

/// The settings of a job, and the preparation of its process. It is made from [`JobSettings`], without a
/// preparation, or from the flags of a command line ([`JobArgs`](crate::JobArgs)).
#[derive(Clone)]
pub struct JobSetup {
    pub(super) settings: JobSettings,
    prepare: Option<Prepare>,
}

impl JobSetup {
    /// Sets the function that is called once the settings are checked, before anything is started. Setting the
    /// flag that it returns asks the job to stop: it finishes the epoch and leaves a checkpoint.
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
