//! The routes as a worker knows them.

use std::sync::Arc;

use tidemill_engine::Epoch;

use super::Live;
use super::route::Route;
use crate::infer::models::Models;

/// Which version scores which record, as this worker knows it.
pub(in crate::infer) struct Router {
    /// Versions that change while the job runs, if there are any.
    pub(in crate::infer) live: Option<Arc<Live>>,
    generation: u64,
    /// The route from each epoch on, in ascending order of epochs.
    routes: Vec<(u64, Arc<Route>)>,
}

impl Router {
    pub(in crate::infer) fn new(models: &Models, live: Option<Arc<Live>>) -> Self {
        match live {
            None => Self { live: None, generation: 0, routes: vec![(0, Arc::new(Route::of(models)))] },
            Some(live) => Self { generation: live.generation(), routes: live.routes(), live: Some(live) },
        }
    }

    /// Returns the route of the records of an epoch.
    pub(in crate::infer) fn at(&mut self, epoch: Epoch) -> Option<Arc<Route>> {
        if let Some(live) = &self.live {
            let generation = live.generation();
            if generation != self.generation {
                (self.generation, self.routes) = (generation, live.routes());
            }
        }
        let route = self.routes.iter().rev().find(|(from, _)| *from <= epoch.0).or(self.routes.first());
        route.map(|(_, route)| Arc::clone(route))
    }
}
