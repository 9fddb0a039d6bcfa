//! The recovery at a start, before the first record: it publishes the output that the restored checkpoint staged, and
//! takes over from the last run.
//!
//! ```text
//! per worker of this run and of the old one, side by side:
//!   fence the old producers ─▶ read its marker ─▶ publish staged epochs above it, in order ─▶ put our name there
//! ```
//! After this, every marker is at the restored epoch and names this incarnation. So a later start that has staged
//! output and finds no marker knows that the marker was lost, and an old process that reads the marker knows that it
//! has been replaced.

use std::collections::BTreeMap;

use tidemill_engine::sink::{SinkContext, StagedToken};
use tidemill_engine::{ConnectorError, Epoch, ErrorKind, crash};

use super::client::failed;
use super::session::{Identity, Published, Session, is_fenced};
use super::settings::{Delivery, SinkSettings};
use super::token::{self, Token};
use crate::began::began;
use crate::outbox::{LostMarker, Recovery, plan};

/// The staged epochs of each transactional id.
type StagedOutput = BTreeMap<(String, usize), Vec<(Epoch, Token)>>;

pub(super) fn recover(
    settings: &SinkSettings,
    context: &SinkContext,
    tokens: Vec<StagedToken>,
) -> Result<(), ConnectorError> {
    let prefix = settings.prefix(&context.name);
    let mut staged = StagedOutput::new();
    if settings.delivery == Delivery::ExactlyOnce {
        staged.extend((0..context.workers).map(|worker| ((prefix.clone(), worker), Vec::new())));
    }
    // The token of an at-least-once epoch is empty.
    for StagedToken { epoch, token } in tokens.into_iter().filter(|staged| !staged.token.is_empty()) {
        let token = token::decode(epoch, &token)?;
        check_topic(settings, epoch, &token)?;
        let (prefix, worker) = (token.head.prefix.clone(), token.head.worker);
        // Each of the old workers may have left an open transaction, for which readers would wait.
        for worker in 0..token.head.workers {
            staged.entry((prefix.clone(), worker)).or_default();
        }
        staged.entry((prefix, worker)).or_default().push((epoch, token));
    }
    // There is a thread for each, because each may have to wait until an old transaction is aborted.
    let results: Vec<Result<(), ConnectorError>> = std::thread::scope(|scope| {
        let takeovers: Vec<_> = staged
            .into_iter()
            .map(|((prefix, worker), epochs)| {
                let identity = settings.identity(context, &prefix, worker);
                scope.spawn(move || take_over(settings, &identity, context.restored_epoch, &epochs))
            })
            .collect();
        takeovers.into_iter().map(|thread| thread.join().unwrap_or_else(|_| Err(panicked()))).collect()
    });
    results.into_iter().collect()
}

fn panicked() -> ConnectorError {
    ConnectorError::new(ErrorKind::Internal, "a thread that recovers Kafka output panicked")
}

fn check_topic(settings: &SinkSettings, epoch: Epoch, token: &Token) -> Result<(), ConnectorError> {
    let (was, is) = (&token.head.topic, &settings.topic);
    if was == is {
        return Ok(());
    }
    Err(ConnectorError::new(
        ErrorKind::Invalid,
        format!(
            "the checkpoint has output of epoch {epoch} for topic \"{was}\" that may not be published, and this run writes to \"{is}\": run it once with the old topic"
        ),
    ))
}

/// Takes over the output of one worker of the last run.
fn take_over(
    settings: &SinkSettings,
    identity: &Identity,
    restored: Epoch,
    staged: &[(Epoch, Token)],
) -> Result<(), ConnectorError> {
    // The producers of both transactions are fenced before the marker is read, because each could still move it.
    let [session, other] = identity.turns().map(|turn| Session::open(&turn));
    drop(other?);
    let mut session = session?;
    crash::point("taken-over", restored, identity.worker);
    let marked = session.read_marker()?;
    let published = match plan(marked.as_ref(), !staged.is_empty(), restored) {
        Recovery::PublishAfter(epoch) => epoch,
        Recovery::Ahead(epoch) => return Err(ahead(identity, epoch, restored)),
        Recovery::Lost => lost(settings.lost_marker, identity, restored)?,
    };
    for (epoch, token) in staged.iter().filter(|(epoch, _)| *epoch > published) {
        tracing::info!(%epoch, id = identity.id(), "publishing to Kafka what the checkpoint staged");
        session = publish(session, *epoch, &[&token.messages])?;
        crash::point("republished", restored, identity.worker);
    }
    publish(session, restored, &[]).map(drop)
}

/// Publishes an epoch, if it is not yet published. If an answer does not arrive, the marker shows the outcome.
fn publish(mut session: Session, epoch: Epoch, messages: &[&[u8]]) -> Result<Session, ConnectorError> {
    let mut tries = 0;
    loop {
        let error = match session.publish(epoch, messages.iter().copied()) {
            Published::Yes => return Ok(session),
            Published::No(error) | Published::Unknown(error) => error,
        };
        tries += 1;
        if is_fenced(&error) || tries == 5 {
            return Err(failed(format!("publish what the checkpoint staged in epoch {epoch}"), error));
        }
        tracing::warn!(%epoch, %error, "publishing to Kafka failed and is tried again");
        session = session.retake()?;
        if !messages.is_empty() && session.read_marker()?.is_some_and(|marked| marked.epoch >= epoch) {
            return Ok(session);
        }
    }
}

fn ahead(identity: &Identity, marked: Epoch, restored: Epoch) -> ConnectorError {
    let id = identity.group();
    let run = began(restored);
    ConnectorError::new(
        ErrorKind::Invalid,
        format!(
            "topic \"{}\" has output up to epoch {marked} by \"{id}\", and {run}: published output is not removed; restore that run's newest checkpoint, or, to have the output twice, give another transactional prefix",
            identity.topic
        ),
    )
}

fn lost(policy: LostMarker, identity: &Identity, restored: Epoch) -> Result<Epoch, ConnectorError> {
    policy.published(restored, || {
        ConnectorError::new(
            ErrorKind::Data,
            format!(
                "group \"{}\", the marker of what was published, is gone (brokers forget groups after offsets.retention.minutes, and markers with the topic when that is deleted, also if it is created again), and the checkpoint has output that may or may not be in topic \"{}\": check the topic, and set lost_marker to publish or to skip it",
                identity.group(),
                identity.topic
            ),
        )
    })
}
