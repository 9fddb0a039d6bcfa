//! The choice of the client for the protocol of an address.

use super::protocol::{Protocol, Target};
use super::settings::Spoken;
use super::{oip_grpc, oip_rest, tfs_grpc, tfs_rest};

impl Target {
    pub(super) fn open(&self) -> Result<Box<dyn Protocol>, String> {
        let target = self.clone();
        Ok(match self.url.spoken {
            Spoken::OpenInferenceGrpc => Box::new(oip_grpc::Client::new(target)?),
            Spoken::OpenInferenceRest => Box::new(oip_rest::Client::new(target)),
            Spoken::TensorFlowGrpc => Box::new(tfs_grpc::Client::new(target)?),
            Spoken::TensorFlowRest => Box::new(tfs_rest::Client::new(target)),
        })
    }
}
