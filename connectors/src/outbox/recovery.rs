//! The recovery at a start, before the first record: it takes over from the last run, and publishes what the restored
//! checkpoint staged.
//!
//! ```text
//! per worker of this run and of the old one:
//!   take over the marker (fences the last run) ─▶ publish staged epochs above it, in order ─▶ marker at the restored epoch
//! ```
//! After this, every marker is at the restored epoch and names this incarnation. So a later start that has staged
//! output and finds no marker knows that the marker was lost.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tidemill_engine::sink::SinkContext;
use tidemill_engine::{ConnectorError, Epoch, ErrorKind, crash};

use super::deadline::within;
use super::marker::{Marked, Recovery, plan};
use super::publisher::Publisher;
use super::settings::LostMarker;
use super::target::{Outbox, Target};
use crate::began::began;
use crate::retry::{Failure, retried};

/// The staged epochs of each outbox of the last run, in order; also of those that staged nothing.
pub(crate) type Staged = BTreeMap<Outbox, Vec<(Epoch, Arc<Vec<u8>>)>>;

/// Takes over all outboxes, and publishes what was staged.
pub(crate) fn recover<T: Target>(
    target: &Arc<T>,
    context: &SinkContext,
    (patience, lost_marker): (Duration, LostMarker),
    staged: Staged,
) -> Result<(), ConnectorError> {
    let restored = context.restored_epoch;
    for (outbox, epochs) in staged {
        let worker = outbox.worker;
        let published = take_over(target, &outbox, context, (patience, lost_marker), !epochs.is_empty())?;
        crash::point("taken-over", restored, worker);
        let publisher = Publisher::new(Arc::clone(target), outbox, patience, context.failing.clone());
        for (epoch, rows) in epochs.into_iter().filter(|(epoch, _)| *epoch > published) {
            tracing::info!(%epoch, worker, "publishing to {target} what the checkpoint staged");
            publisher.publish(context.incarnation, epoch, &rows)?;
            crash::point("republished", restored, worker);
        }
        publisher.publish(context.incarnation, restored, &Arc::default())?;
    }
    Ok(())
}

/// Makes a marker this run's. Returns the epoch up to which its output is published.
fn take_over<T: Target>(
    target: &Arc<T>,
    outbox: &Outbox,
    context: &SinkContext,
    (patience, lost_marker): (Duration, LostMarker),
    is_staged: bool,
) -> Result<Epoch, ConnectorError> {
    let what = format!("take over from the last run in {target}");
    let (restored, incarnation) = (context.restored_epoch, context.incarnation);
    retried(patience, &what, &context.failing, |left| {
        let (target, outbox) = (Arc::clone(target), outbox.clone());
        let attempt = move || {
            let mut published = Epoch(0);
            let mut accept = |marked: Option<Marked>| {
                published = match plan(marked.as_ref(), is_staged, restored) {
                    Recovery::PublishAfter(epoch) => epoch,
                    Recovery::Ahead(epoch) => return Err(ahead(target.as_ref(), &outbox, epoch, restored)),
                    Recovery::Lost => lost(target.as_ref(), &outbox, lost_marker, restored)?,
                };
                Ok(published)
            };
            let mut connection = target.connect()?;
            target.take_over(&mut connection, &outbox, incarnation, &mut accept)?;
            Ok::<_, Failure>(published)
        };
        within(left, &what, &context.failing, attempt).map_err(Failure::Retry)?
    })
}

fn ahead(target: &impl Target, outbox: &Outbox, marked: Epoch, restored: Epoch) -> ConnectorError {
    let run = began(restored);
    let Outbox { name, worker } = outbox;
    let message = format!(
        "{target} has output of worker {worker} up to epoch {marked} by \"{name}\", and {run}: published output is not removed; restore that run's newest checkpoint, or, to have the output twice, give another name of the marker"
    );
    ConnectorError::new(ErrorKind::Invalid, message)
}

fn lost(target: &impl Target, outbox: &Outbox, policy: LostMarker, restored: Epoch) -> Result<Epoch, ConnectorError> {
    let Outbox { name, worker } = outbox;
    policy.published(restored, || {
        ConnectorError::new(
            ErrorKind::Data,
            format!(
                "the marker \"{name}\" of worker {worker}, which says what is published, is gone, and the checkpoint of epoch {restored} has output that may or may not be in {target}: look there, and set lost_marker to publish or to skip it"
            ),
        )
    })
}
