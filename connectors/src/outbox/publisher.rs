//! The publishing of one worker's output.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tidemill_engine::sink::Failing;
use tidemill_engine::{ConnectorError, Epoch, crash};

use super::deadline::within;
use super::target::{Outbox, Published, Target};
use crate::retry::{Failure, retried};

/// The publisher of one worker.
pub(crate) struct Publisher<T: Target> {
    target: Arc<T>,
    outbox: Outbox,
    patience: Duration,
    failing: Failing,
    /// The connection of the last attempt, if it still works.
    connection: Mutex<Option<T::Connection>>,
}

impl<T: Target> Publisher<T> {
    pub(crate) fn new(target: Arc<T>, outbox: Outbox, patience: Duration, failing: Failing) -> Self {
        Self { target, outbox, patience, failing, connection: Mutex::new(None) }
    }

    /// Publishes the rows of an epoch, unless they are published already.
    pub(crate) fn publish(&self, incarnation: u64, epoch: Epoch, rows: &Arc<Vec<u8>>) -> Result<(), ConnectorError> {
        let what = format!("publish epoch {epoch} to {}", self.target);
        let worker = self.outbox.worker;
        let published = retried(self.patience, &what, &self.failing, |left| {
            let kept = self.connection().take();
            let (target, outbox, rows) = (Arc::clone(&self.target), self.outbox.clone(), Arc::clone(rows));
            let attempt = move || {
                let mut connection = kept.map_or_else(|| target.connect(), Ok)?;
                crash::point("before-marker", epoch, worker);
                let published = target.publish(&mut connection, &outbox, incarnation, epoch, &rows)?;
                crash::point("after-commit", epoch, worker);
                Ok((connection, published))
            };
            let (connection, published) = within(left, &what, &self.failing, attempt).map_err(Failure::Retry)??;
            *self.connection() = Some(connection);
            Ok(published)
        })?;
        if published == Published::Before && !rows.is_empty() {
            tracing::info!(%epoch, worker, "an attempt whose answer did not arrive had published the epoch");
        }
        Ok(())
    }

    fn connection(&self) -> std::sync::MutexGuard<'_, Option<T::Connection>> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
