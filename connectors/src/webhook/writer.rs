//! The writer of one worker: records become requests, which are staged when their epoch ends.

use std::marker::PhantomData;
use std::num::TryFromIntError;
use std::sync::Arc;

use tidemill_engine::sink::{LeaderIncarnation, SinkContext, SinkWriter, Staged};
use tidemill_engine::{ConnectorError, Data, Epoch, ErrorKind, Record};

use super::batch::Batcher;
use super::courier::{Courier, TokenHead};
use super::key;
use super::settings::Settings;
use crate::outbox;

/// The writer of one worker of a [`WebhookSink`](super::WebhookSink).
pub struct WebhookWriter<T> {
    batcher: Batcher,
    json: Vec<u8>,
    sink: String,
    worker: usize,
    content_type: String,
    leader: LeaderIncarnation,
    courier: Arc<Courier>,
    record: PhantomData<fn(T)>,
}

impl<T: Data> WebhookWriter<T> {
    pub(super) fn new(settings: &Settings, context: SinkContext, courier: Arc<Courier>) -> Self {
        Self {
            batcher: Batcher::new(settings.format, settings.max_bytes.get()),
            json: Vec::new(),
            sink: context.name,
            worker: context.worker,
            content_type: settings.format.content_type().to_owned(),
            leader: context.leader,
            courier,
            record: PhantomData,
        }
    }
}

fn too_large(error: TryFromIntError) -> ConnectorError {
    ConnectorError::caused(ErrorKind::Data, "a request has more than 4 GiB", error)
}

impl<T: Data> SinkWriter for WebhookWriter<T> {
    type Item = T;

    fn write(&mut self, record: &Record<T>) -> Result<(), ConnectorError> {
        self.json.clear();
        serde_json::to_writer(&mut self.json, &record.data).map_err(|e| {
            ConnectorError::caused(ErrorKind::Data, format!("a record cannot be JSON: {:?}", record.data), e)
        })?;
        self.batcher.push(&self.json).map_err(too_large)
    }

    fn stage(&mut self, epoch: Epoch) -> Result<Option<Staged>, ConnectorError> {
        let requests = self.batcher.take().map_err(too_large)?;
        if requests.is_empty() {
            return Ok(None);
        }
        let unknown = || ConnectorError::new(ErrorKind::Internal, "an epoch ends before the first one has begun");
        let head = TokenHead {
            start: key::of_start(self.leader.get().ok_or_else(unknown)?, &self.sink),
            worker: self.worker,
            content_type: self.content_type.clone(),
        };
        let token = outbox::encode(&head, &[&requests])?;
        let (courier, requests) = (Arc::clone(&self.courier), Arc::new(requests));
        let publish = move || courier.deliver(&head, epoch, &requests);
        // The token contains the requests, which are therefore durable when the delta is.
        Ok(Some(Staged { token, flush: Box::new(|| Ok(())), publish: Box::new(publish) }))
    }
}
