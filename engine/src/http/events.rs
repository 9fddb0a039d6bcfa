//! `/api/v1/events`: everything that a page shows, as one stream of events. A page that reads too slowly misses some,
//! and is told how many.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use axum::response::sse::{Event, KeepAlive};
use axum::response::{IntoResponse, Response, Sse};
use serde::Deserialize;
use serde_json::json;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{OwnedSemaphorePermit, broadcast, mpsc};
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;

use super::news::News;
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

pub(super) fn events(shown: Arc<Shown>, Wanted { tail, filter }: Wanted) -> Result<Response, Problem> {
    let permit = Arc::clone(&shown.listeners).try_acquire_owned().map_err(|_| {
        let detail = "too many pages listen to this job: close some";
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail)
    })?;
    let watch = (!tail.is_empty()).then(|| Watch::of(&shown, tail, filter)).transpose()?;
    let (events, waiting) = mpsc::channel(WAITING);
    // It ends with the connection, or with the job.
    tokio::spawn(async move { _ = feed(&shown, watch, &Page { events, _permit: permit }).await });
    let event = |(name, data): Waiting| Ok::<_, Infallible>(Event::default().event(name).data(data));
    let events = ReceiverStream::new(waiting).map(event);
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(ALIVE)).into_response())
}

/// An event that waits for its page: its name and its data.
type Waiting = (&'static str, String);

/// A page that listens.
struct Page {
    events: mpsc::Sender<Waiting>,
    _permit: OwnedSemaphorePermit,
}

/// The page has gone.
struct Gone;

impl Page {
    /// Sends an event, and waits while too many wait already.
    async fn send(&self, name: &'static str, data: String) -> Result<(), Gone> {
        self.events.send((name, data)).await.map_err(|_| Gone)
    }
}

async fn feed(shown: &Shown, watch: Option<Watch>, page: &Page) -> Result<(), Gone> {
    let news = shown.news.subscribe();
    // What it would else see in a second.
    let now = serde_json::to_string(&stats(shown, &shown.snapshot())).unwrap_or_default();
    page.send("stats", now).await?;
    follow(news, watch, page).await
}

/// Sends what is new until the job ends or the page goes.
async fn follow(mut news: broadcast::Receiver<Arc<News>>, mut watch: Option<Watch>, page: &Page) -> Result<(), Gone> {
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

#[cfg(test)]
mod tests {
    use tokio::sync::Semaphore;

    use super::*;

    #[test]
    fn a_page_that_was_too_slow_is_told_how_many_it_has_missed() {
        let news = broadcast::Sender::new(2);
        let heard = news.subscribe();
        for second in 0..5 {
            let events = vec![("stats", second.to_string())];
            news.send(Arc::new(News { events, last: second == 4 })).unwrap();
        }
        let (events, mut waiting) = mpsc::channel(WAITING);
        let permit = Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap();
        let page = Page { events, _permit: permit };
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let ended = runtime.block_on(follow(heard, None, &page));
        assert!(ended.is_ok(), "the job has ended, the page is there");
        let sent: Vec<Waiting> = std::iter::from_fn(|| waiting.try_recv().ok()).collect();
        let expected = [("dropped", "{\"dropped\":3}"), ("stats", "3"), ("stats", "4")];
        assert_eq!(sent, expected.map(|(name, data)| (name, data.to_owned())));
    }
}
