//! The server as a target of the outbox: a script moves the marker and writes the rows.
//!
//! ```text
//! tidemill:marker:{name}:{worker}   hash: incarnation, epoch; of an epoch that is written in several batches also begun, rows
//! publish.lua                       per batch: the marker is this run's, and at this batch ─ the commands ─ the marker moves
//! ```

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use redis::Connection;
use tidemill_engine::{ConnectorError, Epoch, ErrorKind, crash};

use super::error::failure;
use super::key::MARKER;
use super::rows::{Batch, Rows};
use super::server::RedisServer;
use crate::outbox::{Marked, Outbox, Published, Target, damaged};
use crate::retry::Failure;

/// Time that an answer may take. After that the attempt is made again, on another connection.
pub(super) const ANSWER: Duration = Duration::from_secs(30);

const PUBLISH: &str = include_str!("publish.lua");
const TAKE_OVER: &str = include_str!("take_over.lua");

/// A server that rows are written to.
#[derive(Debug)]
pub(super) struct RedisTarget {
    pub(super) server: RedisServer,
    /// The type of the keys, as `TYPE` says it.
    pub(super) kind: String,
    /// Maximum number of bytes of a batch.
    pub(super) batch_bytes: usize,
    /// The epoch up to which the server has confirmed the output of an outbox, to this run or the last one, as far as it is
    /// known. The server may have forgotten it.
    pub(super) confirmed: Mutex<BTreeMap<Outbox, Epoch>>,
}

impl fmt::Display for RedisTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.server)
    }
}

/// The answer of the script.
enum Answer {
    Written,
    Before,
    /// So many rows of the epoch are written.
    At(usize),
}

fn marker(outbox: &Outbox) -> String {
    format!("{MARKER}{}:{}", outbox.name, outbox.worker)
}

impl RedisTarget {
    fn wrong(&self, outbox: &Outbox, kind: ErrorKind, what: &str) -> Failure {
        let Outbox { name, worker } = outbox;
        let message = format!("the marker \"{name}\" of worker {worker} in {self} {what}");
        Failure::Fatal(ConnectorError::new(kind, message))
    }

    fn confirmed(&self, outbox: &Outbox) -> Epoch {
        let confirmed = self.confirmed.lock().unwrap_or_else(PoisonError::into_inner);
        confirmed.get(outbox).copied().unwrap_or_default()
    }

    fn confirm(&self, outbox: &Outbox, epoch: Epoch) {
        let mut confirmed = self.confirmed.lock().unwrap_or_else(PoisonError::into_inner);
        let known = confirmed.entry(outbox.clone()).or_default();
        // An attempt that was given up may end after a later one.
        *known = epoch.max(*known);
    }

    /// Returns the error of a server that has confirmed output up to an epoch, and now says another one.
    fn behind(&self, outbox: &Outbox, marked: Epoch, confirmed: Epoch) -> Failure {
        let lost = format!(
            "is at epoch {marked}, and the server had confirmed epoch {confirmed}: it has lost the output in between, as it may without `appendfsync always` when it dies; set lost_marker to publish to go on without"
        );
        self.wrong(outbox, ErrorKind::Data, &lost)
    }

    fn marked(&self, connection: &mut Connection, outbox: &Outbox) -> Result<Option<Marked>, Failure> {
        let what = format!("read the marker \"{}\" in {self}", marker(outbox));
        let fields = ["incarnation", "epoch", "begun"];
        let stored: [Option<String>; 3] =
            redis::cmd("HMGET").arg(marker(outbox)).arg(&fields).query(connection).map_err(|e| failure(&what, e))?;
        let number = |text: &String| {
            let wrong = |_| self.wrong(outbox, ErrorKind::Data, &format!("has \"{text}\" where a number was"));
            text.parse::<u64>().map_err(wrong)
        };
        match &stored {
            [None, None, _] => Ok(None),
            [Some(incarnation), Some(epoch), begun] => {
                let begun = begun.as_ref().map(number).transpose()?.map(Epoch);
                let marked = Marked { epoch: Epoch(number(epoch)?), begun, incarnation: Some(number(incarnation)?) };
                // An epoch that was in part when the next one was published whole is over.
                Ok(Some(Marked { begun: begun.filter(|begun| *begun > marked.epoch), ..marked }))
            }
            _ => Err(self.wrong(outbox, ErrorKind::Data, "lacks its epoch or its incarnation")),
        }
    }

    fn write(
        &self,
        connection: &mut Connection,
        outbox: &Outbox,
        (incarnation, epoch): (u64, Epoch),
        from: usize,
        batch: &Batch<'_>,
    ) -> Result<Answer, Failure> {
        let confirmed = self.confirmed(outbox);
        let mut keys: Vec<&[u8]> = batch.commands.iter().filter_map(|command| command.get(1).copied()).collect();
        keys.sort_unstable();
        keys.dedup();
        let mut script = redis::cmd("EVAL");
        script.arg(PUBLISH).arg(1 + keys.len()).arg(marker(outbox)).arg(&keys);
        script.arg(incarnation).arg(epoch.0).arg(confirmed.0);
        script.arg(from).arg(from + batch.rows).arg(u8::from(batch.last)).arg(&self.kind);
        for command in &batch.commands {
            script.arg(command.len()).arg(command);
        }
        let what = format!("publish epoch {epoch} of worker {} to {self}", outbox.worker);
        let answer: Vec<Vec<u8>> = script.query(connection).map_err(|e| failure(&what, e))?;
        let answer: Vec<String> = answer.iter().map(|part| String::from_utf8_lossy(part).into_owned()).collect();
        let answer: Vec<&str> = answer.iter().map(String::as_str).collect();
        let number = |text: &str| text.parse::<u64>().unwrap_or_default();
        match answer.as_slice() {
            ["written"] => Ok(Answer::Written),
            ["before"] => Ok(Answer::Before),
            ["at", rows] => Ok(Answer::At(number(rows) as usize)),
            ["gone"] => Err(self.wrong(outbox, ErrorKind::Data, "was deleted or lost while the job ran")),
            ["another", at] => {
                let what = format!("was taken over by another run, at epoch {at}: this one stops");
                Err(self.wrong(outbox, ErrorKind::Fenced, &what))
            }
            ["behind", at] => Err(self.behind(outbox, Epoch(number(at)), confirmed)),
            ["type", key, is] => {
                let message = format!(
                    "could not {what}: the key \"{key}\" holds a {is}, and a {} is to be written (WRONGTYPE); nothing of this batch was written",
                    if *key == marker(outbox) { "hash" } else { &self.kind }
                );
                Err(Failure::Fatal(ConnectorError::new(ErrorKind::Invalid, message)))
            }
            ["full", key] => {
                let message =
                    format!("could not {what}: the stream \"{key}\" has the last id that there is, and takes no entry");
                Err(Failure::Fatal(ConnectorError::new(ErrorKind::Invalid, message)))
            }
            other => Err(self.wrong(outbox, ErrorKind::Data, &format!("cannot be read ({other:?})"))),
        }
    }
}

impl Target for RedisTarget {
    type Connection = Connection;

    fn connect(&self) -> Result<Connection, Failure> {
        self.server.connect(ANSWER)
    }

    fn take_over(
        &self,
        connection: &mut Connection,
        outbox: &Outbox,
        incarnation: u64,
        accept: &mut dyn FnMut(Option<Marked>) -> Result<Epoch, ConnectorError>,
    ) -> Result<(), Failure> {
        let what = format!("take over from the last run in {self}");
        let marked = self.marked(connection, outbox)?;
        let confirmed = self.confirmed(outbox);
        if let Some(marked) = marked.as_ref().filter(|marked| marked.epoch < confirmed) {
            return Err(self.behind(outbox, marked.epoch, confirmed));
        }
        let epoch = accept(marked.clone()).map_err(Failure::Fatal)?;
        let mut script = redis::cmd("EVAL");
        script.arg(TAKE_OVER).arg(1).arg(marker(outbox));
        match &marked {
            Some(Marked { epoch, incarnation: Some(was), .. }) => {
                script.arg(was).arg(epoch.0).arg(incarnation).arg(epoch.0)
            }
            _ => script.arg("").arg("").arg(incarnation).arg(epoch.0),
        };
        let answer: String = script.query(connection).map_err(|e| failure(&what, e))?;
        if answer == "taken" {
            return Ok(());
        }
        // The last run has published meanwhile, or another one starts: it is read again.
        let message = format!("could not {what}: the marker moved meanwhile");
        Err(Failure::Retry(ConnectorError::new(ErrorKind::Unavailable, message)))
    }

    fn publish(
        &self,
        connection: &mut Connection,
        outbox: &Outbox,
        incarnation: u64,
        epoch: Epoch,
        rows: &[u8],
    ) -> Result<Published, Failure> {
        let broken = || Failure::Fatal(damaged(epoch, "is cut off"));
        let (mut left, mut from) = (Rows::new(rows), 0);
        loop {
            let batch = left.batch(self.batch_bytes).ok_or_else(broken)?;
            match self.write(connection, outbox, (incarnation, epoch), from, &batch)? {
                Answer::Written if batch.last => {
                    self.confirm(outbox, epoch);
                    return Ok(Published::Now);
                }
                Answer::Written => {
                    crash::point("after-batch", epoch, outbox.worker);
                    from += batch.rows;
                }
                Answer::Before => {
                    self.confirm(outbox, epoch);
                    return Ok(Published::Before);
                }
                // An earlier attempt has written these; or, after a loss of the server, has not any more.
                Answer::At(rows_before) => {
                    (left, from) = (Rows::new(rows), rows_before);
                    left.skip(from).ok_or_else(broken)?;
                }
            }
        }
    }
}
