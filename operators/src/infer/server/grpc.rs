//! Blocking gRPC calls: one connection and one call at a time, with messages as bytes.

use std::time::{Duration, Instant};

use bytes::{Buf, BufMut, Bytes};
use tidemill_engine::call_span::traceparent;
use tidemill_engine::threads;
use tidemill_engine::with_causes;
use tokio::runtime::{Builder, Runtime};
use tonic::client::Grpc;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};
use ureq::http::uri::PathAndQuery; // the http crate, which tonic shares with ureq

use super::call::CallError;

/// Maximum size of an answer.
const MAX_ANSWER: usize = 256 << 20;

pub(super) struct GrpcClient {
    /// Runs only during a call: what the server sends between two calls is read during the next one.
    runtime: Runtime,
    endpoint: Endpoint,
    channel: Option<Channel>,
}

impl GrpcClient {
    pub(super) fn new(authority: &str, connect_timeout: Duration) -> Result<Self, String> {
        let endpoint = Endpoint::from_shared(format!("http://{authority}")).map_err(|e| e.to_string())?;
        let endpoint = endpoint.connect_timeout(connect_timeout).tcp_nodelay(true);
        let runtime = Builder::new_current_thread().enable_all().build().map_err(|e| e.to_string())?;
        Ok(Self { runtime, endpoint, channel: None })
    }

    /// Makes one call, which is given up at `deadline`.
    pub(super) fn unary(&mut self, path: &'static str, request: Bytes, deadline: Instant) -> Result<Bytes, CallError> {
        let left = deadline.saturating_duration_since(threads::now());
        if left.is_zero() {
            return Err(CallError::late());
        }
        let mut request = Request::new(request);
        // The deadline is sent to the server as well, so that it need not finish a call for which nobody waits.
        request.set_timeout(left);
        if let Some(parent) = traceparent().and_then(|parent| parent.parse().ok()) {
            request.metadata_mut().insert("traceparent", parent);
        }
        let endpoint = &self.endpoint;
        let channel = &mut self.channel;
        let answer = self.runtime.block_on(async {
            let channel = channel.get_or_insert_with(|| endpoint.connect_lazy()).clone();
            let call = async {
                let mut grpc = Grpc::new(channel).max_decoding_message_size(MAX_ANSWER);
                grpc.ready().await.map_err(|e| Status::unavailable(with_causes(&e)))?;
                grpc.unary(request, PathAndQuery::from_static(path), BytesCodec).await
            };
            tokio::time::timeout(left, call).await
        });
        match answer {
            Ok(Ok(response)) => Ok(response.into_inner()),
            Ok(Err(status)) => Err(sort(&status)),
            Err(_) => {
                // A connection without an answer may be dead: the next call opens a new one.
                self.channel = None;
                Err(CallError::late())
            }
        }
    }
}

fn source_of(status: &Status) -> Option<&(dyn std::error::Error + 'static)> {
    std::error::Error::source(status)
}

/// Classifies a status: whether the server or the batch is at fault.
fn sort(status: &Status) -> CallError {
    let source = source_of(status).map(with_causes);
    let text =
        format!("{:?}: {}{}", status.code(), status.message(), source.map(|s| format!(" ({s})")).unwrap_or_default());
    match status.code() {
        // A status that the server sent has no source; one with a source was made here, because the connection broke.
        _ if source_of(status).is_some() => CallError::Unavailable(text),
        Code::InvalidArgument | Code::OutOfRange => CallError::Refused(text),
        Code::Internal | Code::Unknown | Code::DataLoss => CallError::Failed(text),
        Code::Unimplemented => CallError::Unimplemented(text),
        _ => CallError::Unavailable(text),
    }
}

/// A codec that passes messages on as bytes, since `wire.rs` writes and reads them.
struct BytesCodec;

impl Codec for BytesCodec {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for BytesCodec {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, message: Bytes, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        to.reserve(message.len());
        to.put(message);
        Ok(())
    }
}

impl Decoder for BytesCodec {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(from.copy_to_bytes(from.remaining())))
    }
}
