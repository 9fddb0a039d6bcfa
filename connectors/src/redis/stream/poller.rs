//! The thread that reads the streams of one worker, ahead of the reader.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::time::Duration;

use redis::Connection;
use tidemill_engine::metrics::Counter;
use tidemill_engine::source::Waker;
use tidemill_engine::{ConnectorError, ErrorKind, threads};

use super::ask::{self, Answer};
use super::entry::Entry;
use super::progress::{Gap, Place};
use super::settings::{LostEntries, Settings};
use crate::retry::{Failure, retried_unless};

/// Number of pages that wait for the reader.
const PAGES: usize = 4;
/// About how many bytes of entries a page has; one entry may have more.
const PAGE_BYTES: usize = 1 << 20;
/// How many entries a page has at most.
const PAGE_ENTRIES: usize = 1024;
/// How many entries the first page of a stream has, since nothing is known yet of their size.
const FIRST_PAGE: usize = 64;
/// Time for which the server is asked to wait for an entry, and so for which the thread may outlive its reader.
const WAIT: Duration = Duration::from_millis(500);
/// Pause after a wait that was cut off.
const CUT_OFF: Duration = Duration::from_millis(100);
/// Time that an answer may take.
const ANSWER: Duration = Duration::from_secs(10);

/// Entries of one stream, and the place behind them.
pub(super) struct Page {
    /// Index of the stream among those of the worker.
    pub(super) stream: usize,
    pub(super) entries: Vec<Entry>,
    pub(super) place: Place,
}

/// What the thread and the reader both know of a stream.
#[derive(Debug, Default)]
pub(super) struct Ahead {
    /// Number of entries that the server has behind the last page, as far as it has said.
    pub(super) at_server: AtomicU64,
    /// Number of entries in pages that the reader has not taken.
    pub(super) in_pages: AtomicU64,
    /// Whether the server has answered, and is there.
    pub(super) is_online: AtomicBool,
}

impl Ahead {
    pub(super) fn waiting(&self) -> u64 {
        self.at_server.load(Ordering::Acquire) + self.in_pages.load(Ordering::Acquire)
    }
}

/// A stream as the thread reads it.
struct Lane {
    key: String,
    place: Place,
    /// About how many bytes an entry has, by the last page.
    entry_bytes: Option<usize>,
    ahead: Arc<Ahead>,
}

impl Lane {
    /// Returns how many entries the next page has at most.
    fn page(&self) -> usize {
        self.entry_bytes.map_or(FIRST_PAGE, |bytes| (PAGE_BYTES / bytes.max(1)).clamp(1, PAGE_ENTRIES))
    }
}

/// The thread as its reader sees it. It ends soon after this is dropped.
pub(super) struct Poller {
    pages: Receiver<Result<Page, ConnectorError>>,
    stopped: Arc<AtomicBool>,
}

impl Poller {
    /// Starts the thread for these streams, each at its place.
    pub(super) fn start(
        settings: &Settings,
        streams: Vec<(String, Place, Arc<Ahead>)>,
        waker: Waker,
        lost: Counter,
    ) -> Result<Self, ConnectorError> {
        let (to, pages) = mpsc::sync_channel(PAGES);
        let stopped = Arc::new(AtomicBool::new(false));
        let lanes = streams.into_iter().map(|(key, place, ahead)| Lane { key, place, entry_bytes: None, ahead });
        let reading = Reading {
            settings: settings.clone(),
            lanes: lanes.collect(),
            connection: None,
            to,
            waker,
            lost,
            stopped: Arc::clone(&stopped),
        };
        threads::spawn(format!("redis {}", settings.server), move || reading.run())
            .map_err(|e| ConnectorError::caused(ErrorKind::Unavailable, "could not start a thread for Redis", e))?;
        Ok(Self { pages, stopped })
    }

    /// Returns the next page, if there is one.
    ///
    /// # Errors
    /// When the thread has stopped, and everything was taken.
    pub(super) fn take(&self) -> Result<Option<Page>, ConnectorError> {
        match self.pages.try_recv() {
            Ok(page) => page.map(Some),
            Err(mpsc::TryRecvError::Empty) => Ok(None),
            Err(mpsc::TryRecvError::Disconnected) => Err(ConnectorError::new(
                ErrorKind::Internal,
                "the thread that reads from Redis has ended without a reason",
            )),
        }
    }
}

impl Drop for Poller {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::Release);
    }
}

/// The state of the thread.
struct Reading {
    settings: Settings,
    lanes: Vec<Lane>,
    connection: Option<Connection>,
    to: SyncSender<Result<Page, ConnectorError>>,
    waker: Waker,
    lost: Counter,
    stopped: Arc<AtomicBool>,
}

impl Reading {
    fn run(mut self) {
        while !self.stopped.load(Ordering::Acquire) {
            match self.round() {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) => {
                    drop(self.to.send(Err(error)));
                    self.waker.wake();
                    return;
                }
            }
        }
    }

    /// Reads a page of each stream, and waits for entries if there is none. Returns false once nobody takes pages any more.
    fn round(&mut self) -> Result<bool, ConnectorError> {
        let mut is_empty = true;
        for stream in 0..self.lanes.len() {
            let lane = &self.lanes[stream];
            let (key, last, asked) = (lane.key.clone(), lane.place.last, lane.page());
            let answer = self.patiently(|connection| ask::read(connection, &key, last, asked))?;
            is_empty &= answer.entries.is_empty();
            if !self.hand_over(stream, answer, asked)? {
                return Ok(false);
            }
        }
        if is_empty {
            self.wait()?;
        }
        Ok(true)
    }

    /// Waits for an entry of any stream. Whether the server is there, only the next page shows: a wait that is cut off must not
    /// count as an attempt that has failed, or many restarts while nothing is added would wear patience out.
    fn wait(&mut self) -> Result<(), ConnectorError> {
        let Some(mut connection) = self.connection.take() else { return Ok(()) };
        let places = self.lanes.iter().map(|lane| (lane.key.clone(), lane.place.last));
        match ask::wait(&mut connection, places, WAIT) {
            Ok(()) => self.connection = Some(connection),
            Err(Failure::Fatal(error)) => return Err(error),
            // The next page is asked for by another connection.
            Err(_) => threads::pause(CUT_OFF),
        }
        Ok(())
    }

    /// Asks until there is an answer. The connection is made anew after each failure.
    fn patiently<R>(
        &mut self,
        mut ask: impl FnMut(&mut Connection) -> Result<R, Failure>,
    ) -> Result<R, ConnectorError> {
        let Self { settings, connection, lanes, stopped, .. } = self;
        let what = format!("read streams of {}", settings.server);
        let stopped = || stopped.load(Ordering::Acquire);
        let online = |is: bool| lanes.iter().for_each(|lane| lane.ahead.is_online.store(is, Ordering::Release));
        retried_unless(stopped, settings.patience, &what, |left| {
            let answer = match connection.take() {
                Some(open) => Ok(open),
                None => settings.server.connect(left.min(ANSWER)),
            };
            let answer = answer.and_then(|mut open| {
                let answer = ask(&mut open)?;
                *connection = Some(open);
                Ok(answer)
            });
            online(answer.is_ok());
            answer
        })
    }

    /// Gives entries to the reader, if nothing is missing before them, or what is missing is accepted.
    fn hand_over(&mut self, stream: usize, answer: Answer, asked: usize) -> Result<bool, ConnectorError> {
        let Answer { known, entries } = answer;
        let lane = &mut self.lanes[stream];
        let last = entries.last().map(|entry| entry.id);
        let (place, gap) = lane.place.moved(known.as_ref(), entries.len(), asked, last);
        if let Some(gap) = gap {
            judge(&lane.key, lane.place, gap, self.settings.lost_entries, &self.lost)?;
        }
        if !entries.is_empty() {
            lane.entry_bytes = Some(entries.iter().map(Entry::size).sum::<usize>() / entries.len());
        }
        let behind = match (place.passed, known) {
            (Some(passed), Some(known)) => known.added.saturating_sub(passed),
            (None, Some(known)) => known.length.min(1),
            (_, None) => 0,
        };
        lane.ahead.in_pages.fetch_add(entries.len() as u64, Ordering::AcqRel);
        lane.ahead.at_server.store(behind, Ordering::Release);
        // Also a place that has moved without entries is told, so that what was accepted is not missed again by a restart.
        if place == lane.place {
            return Ok(true);
        }
        lane.place = place;
        let is_taken = self.to.send(Ok(Page { stream, entries, place })).is_ok();
        self.waker.wake();
        Ok(is_taken)
    }
}

/// Decides what becomes of a gap.
///
/// # Errors
/// When it is not accepted.
pub(super) fn judge(
    key: &str,
    place: Place,
    gap: Gap,
    policy: LostEntries,
    lost: &Counter,
) -> Result<(), ConnectorError> {
    let last = place.last;
    let what = match gap {
        Gap::Unread(count) => {
            format!(
                "{count} of its entries were trimmed or deleted before they were read, after {last} or between later ones"
            )
        }
        Gap::Older(newest) => format!(
            "its newest entry is {newest}, and {last} was read from it: the server has lost entries, or the stream was \
             deleted and made again"
        ),
        Gap::Fewer { added, before } => format!(
            "{added} entries were ever added to it, as the server says, which counted {before} before: it has lost \
             entries, or the stream was deleted and made again"
        ),
        Gap::Gone => format!("it is not there any more, and {last} was read from it"),
    };
    match policy {
        LostEntries::Refuse => {
            let message = format!(
                "the stream \"{key}\" lacks entries: {what}; accept that (lost_entries), restore another checkpoint, or start anew in \
                 an empty checkpoint directory"
            );
            Err(ConnectorError::new(ErrorKind::Data, message))
        }
        LostEntries::Accept => {
            lost.add(if let Gap::Unread(count) = gap { count } else { 1 });
            tracing::warn!(stream = key, "entries are lost, which is accepted: {what}");
            Ok(())
        }
    }
}
