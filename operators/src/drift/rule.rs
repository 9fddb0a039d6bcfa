//! What a `features.json` says of how a feature is compared.

use serde::Deserialize;

use super::method::Method;

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct DriftRule {
    pub(crate) method: Method,
    pub(crate) threshold: Option<f64>,
}
