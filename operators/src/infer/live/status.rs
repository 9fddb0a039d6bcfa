//! What is in effect, for the page and the API.

use serde_json::{Value, json};

use super::bucket;
use super::state::{State, shown};
use crate::infer::backend::ModelInfo;

impl State {
    /// Returns what is in effect; `compared` is what came out of the comparison with the shadow.
    pub(super) fn status(&self, compared: Value) -> Value {
        let Some((epoch, route)) = self.routes.last() else { return Value::Null };
        let named = |info: &ModelInfo| json!({ "name": info.name, "version": info.version, "hash": info.hash });
        let primaries: Vec<Value> = route
            .primaries()
            .map(|(from, placed)| {
                let mut shown = named(&placed.info);
                if let Some(from) = from {
                    shown["from_event_time"] = from.readable().into();
                }
                shown
            })
            .collect();
        let share = |buckets: u32| f64::from(buckets) / f64::from(bucket::BUCKETS);
        let canary = route.canary.as_ref().map(|canary| {
            let mut shown = named(&canary.version.info);
            shown["share"] = share(canary.buckets).into();
            shown["seed"] = (&*canary.seed).into();
            shown
        });
        let shadow = route.shadow.as_ref().map(|shadow| {
            let mut shown = named(&shadow.version.info);
            shown["sample"] = share(shadow.buckets).into();
            shown
        });
        let versions = self.versions.iter().flatten().filter_map(|version| version.source.as_ref()).map(|source| {
            let mut shown = named(source.info());
            shown["engine"] = source.engine().into();
            shown["odd_features"] = source.rules().map(|rules| rules.status()).into();
            shown
        });
        json!({
            "epoch": epoch,
            "primary": primaries,
            "canary": canary,
            "shadow": shadow,
            "versions": versions.collect::<Vec<_>>(),
            "roles": self.tally[0].status(|version| self.shown(version)),
            "roles_of_step": self.tally[1].status(|version| self.shown(version)),
            "compared": compared,
            "rollout": self.rollout.as_ref().map(|running| json!({
                "id": running.id,
                "model": self.which(running.version).map(|which| shown(&which)),
                "step": route.canary.as_ref().and_then(|canary| running.settings.step_of(canary.buckets)),
                "settings": running.settings,
                "suspended": running.suspended,
                "checks": running.windows.checked,
                "said": running.windows.said,
            })),
        })
    }
}
