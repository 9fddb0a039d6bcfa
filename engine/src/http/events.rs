//! `/api/v1/events`: everything that a page shows, as one stream of events. A page that reads too slowly misses some,
//! and is told how many.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use axum::response::Sse;
use axum::response::sse::{Event, KeepAlive};
use serde::Deserialize;
use serde_json::json;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio_stream::wrappers::ReceiverStream;

use super::problem::Problem;
use super::publisher::stats;
use super::shown::Shown;
use super::tail::Watch;

/// Number of events that wait for a page.
const WAITING: usize = 16;
/// Time after which a page without news is told that the connection is alive.
const ALIVE: Duration = Duration::from_secs(15);

/// What a page wants besides what all get.
#[derive(Deserialize)]
pub(super) struct Wanted {
    /// A stream whose tail it shows.
    #[serde(default)]
    tail: String,
    #[serde(default)]
    filter: String,
}

pub(super) type Events = Sse<axum::response::sse::KeepAliveStream<ReceiverStream<Result<Event, Infallible>>>>;

pub(super) fn events(shown: Arc<Shown>, Wanted { tail, filter }: Wanted) -> Result<Events, Problem> {
    let permit = Arc::clone(&shown.listeners).try_acquire_owned().map_err(|_| {
        let detail = "too many pages listen to this job: close some";
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail)
    })?;
    let watch = (!tail.is_empty()).then(|| Watch::of(&shown, tail, filter)).transpose()?;
    let (events, waiting) = mpsc::channel(WAITING);
    // It ends with the connection, or with the job.
    tokio::spawn(async move { _ = feed(&shown, watch, &Page { events, _permit: permit }).await });
    Ok(Sse::new(ReceiverStream::new(waiting)).keep_alive(KeepAlive::new().interval(ALIVE)))
}

/// A page that listens.
struct Page {
    events: mpsc::Sender<Result<Event, Infallible>>,
    _permit: OwnedSemaphorePermit,
}

/// The page has gone.
struct Gone;

impl Page {
    /// Sends an event, and waits while too many wait already.
    async fn send(&self, name: &str, data: String) -> Result<(), Gone> {
        self.events.send(Ok(Event::default().event(name).data(data))).await.map_err(|_| Gone)
    }
}

async fn feed(shown: &Shown, mut watch: Option<Watch>, page: &Page) -> Result<(), Gone> {
    let mut news = shown.news.subscribe();
    // What it would else see in a second.
    let now = serde_json::to_string(&stats(shown, &shown.snapshot())).unwrap_or_default();
    page.send("stats", now).await?;
    loop {
        if let Some(tail) = watch.as_mut().map(Watch::look).filter(|tail| !tail.is_empty()) {
            page.send("tail", serde_json::to_string(&tail).unwrap_or_default()).await?;
        }
        match news.recv().await {
            Ok(news) => {
                for (name, data) in &news.events {
                    page.send(name, data.clone()).await?;
                }
                if news.last {
                    return Ok(());
                }
            }
            Err(RecvError::Lagged(missed)) => page.send("dropped", json!({ "dropped": missed }).to_string()).await?,
            Err(RecvError::Closed) => return Ok(()),
        }
    }
}
