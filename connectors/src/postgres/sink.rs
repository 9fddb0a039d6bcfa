//! The PostgreSQL sink: the checks before anything is written, and the rows of an epoch.

use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tidemill_engine::sink::{Failing, LeaderIncarnation, Sink, SinkContext, SinkWriter, Staged, StagedToken};
use tidemill_engine::{ConnectorError, Data, Epoch, ErrorKind, Record, Remedy};

use super::database::Database;
use super::encode::RowEncoder;
use super::table::{self, Column};
use super::target::TableTarget;
use super::url::PostgresUrl;
use crate::fields::fields_of;
use crate::outbox::{self, EpochRows, LostMarker, Outbox, Publisher, within};
use crate::retry::{Failure, retried};

/// The table of markers, unless another one is set.
const MARKER_TABLE: &str = "tidemill_marker";

/// A sink that writes records as rows to a table of PostgreSQL.
///
/// * Shapes: a record is a struct; each of its fields is written to the column of its name. Columns without a field get
///   their default.
/// * Order: rows of one worker are written in order. An upsert keeps the last row of each key.
/// * Guarantee: exactly once, given a checkpoint directory. The rows of an epoch appear in one transaction per worker, when
///   the epoch is committed; the same transaction moves a marker, a row of the table `tidemill_marker`, by which a restart
///   knows what is written.
/// * Errors: a table that does not fit the record is refused at the start, with both sides. A value that its column cannot
///   take, or a row that the database refuses, stops the job, with the column and the reason.
#[derive(Debug)]
pub struct PostgresSink<T> {
    settings: Settings,
    record: PhantomData<fn(T)>,
}

#[derive(Clone, Debug)]
struct Settings {
    database: Database,
    table: String,
    keys: Vec<String>,
    marker: Option<String>,
    marker_table: String,
    patience: Duration,
    lost_marker: LostMarker,
}

/// The identity of the output in a token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct TokenHead {
    table: String,
    marker: String,
    worker: usize,
    /// Number of workers of the run, each of which has a marker.
    workers: usize,
    columns: Vec<Column>,
    keys: Vec<String>,
}

impl<T: Data> PostgresSink<T> {
    /// Returns a sink that appends a row for each record to `table` (`readings`, `public.readings`).
    pub fn append(database: Database, table: impl Into<String>) -> Self {
        Self::upsert(database, table, [""; 0])
    }

    /// Returns a sink that writes a row for each record to `table`, in place of the one with the same `keys`, if there is
    /// one. The table has a primary key, or a unique index, of exactly these columns. Records of one key must come from one
    /// worker, as they do from a keyed stream with that key: of those of two workers, any may be the last.
    pub fn upsert(
        database: Database,
        table: impl Into<String>,
        keys: impl IntoIterator<Item = impl Into<String>>,
    ) -> Self {
        let settings = Settings {
            database,
            table: table.into(),
            keys: keys.into_iter().map(Into::into).collect(),
            marker: None,
            marker_table: MARKER_TABLE.to_owned(),
            patience: Duration::from_mins(5),
            lost_marker: LostMarker::Refuse,
        };
        Self { settings, record: PhantomData }
    }

    /// Returns the sink that a URL describes.
    #[must_use]
    pub fn from_url(url: &PostgresUrl) -> Self {
        let PostgresUrl { database, table, keys, marker } = url.clone();
        let mut sink = Self::upsert(database, table, keys);
        sink.settings.marker = marker;
        sink
    }

    /// Sets the name of the sink's markers. It must be the same at every start of the job, and no other job may use it in
    /// this database. Default: the table and the name of the sink, `readings.out`.
    #[must_use]
    pub fn marker(mut self, name: impl Into<String>) -> Self {
        self.settings.marker = Some(name.into());
        self
    }

    /// Sets the table of markers, which the sink creates if it is not there. Default: `tidemill_marker`.
    #[must_use]
    pub fn marker_table(mut self, table: impl Into<String>) -> Self {
        self.settings.marker_table = table.into();
        self
    }

    /// Sets how long the database may be unreachable, or give no answer, before the job stops. Nothing is lost when it
    /// stops. Default: 5 min.
    #[must_use]
    pub fn patience(mut self, patience: Duration) -> Self {
        self.settings.patience = patience;
        self
    }

    /// Sets what a restart does when it finds staged output without its marker. Default: it stops.
    #[must_use]
    pub fn lost_marker(mut self, lost_marker: LostMarker) -> Self {
        self.settings.lost_marker = lost_marker;
        self
    }
}

impl Settings {
    fn marker(&self, sink: &str) -> String {
        self.marker.clone().unwrap_or_else(|| format!("{}.{sink}", self.table))
    }

    fn target(&self, columns: Vec<Column>, keys: Vec<String>) -> Arc<TableTarget> {
        let Self { database, table, marker_table, .. } = self.clone();
        Arc::new(TableTarget { database, table, marker_table, columns, keys })
    }

    /// Reads the table's columns for records of this type.
    fn columns<T: Data>(&self, failing: &Failing) -> Result<Vec<Column>, ConnectorError> {
        let fields = fields_of::<T>().filter(|fields| !fields.is_empty()).ok_or_else(|| {
            let message = format!(
                "records of type {} cannot be rows of table \"{}\": a record must be a struct with named fields, without `serde(flatten)`",
                std::any::type_name::<T>(),
                self.table
            );
            ConnectorError::new(ErrorKind::Invalid, message)
        })?;
        let what = format!("read the columns of table \"{}\" of {}", self.table, self.database);
        retried(self.patience, &what, failing, |left| {
            let (database, table, keys) = (self.database.clone(), self.table.clone(), self.keys.clone());
            let fields = fields.clone();
            let read = move || table::columns(&mut database.connect()?, &table, &fields, &keys);
            within(left, &what, failing, read).map_err(Failure::Retry)?
        })
    }

    /// Without checkpoints a job starts anew each time, and its rows would be there twice.
    fn check(&self, context: &SinkContext) -> Result<(), ConnectorError> {
        if context.checkpoint_interval.is_some() {
            return Ok(());
        }
        let message = format!("rows of table \"{}\" are written exactly once only with checkpoint_dir", self.table);
        Err(ConnectorError::new(ErrorKind::Invalid, message).remedy(Remedy::Setting("checkpoint_dir")))
    }
}

impl<T: Data> Sink for PostgresSink<T> {
    type Item = T;
    type Writer = PostgresWriter<T>;

    fn open(&self, context: SinkContext) -> Result<PostgresWriter<T>, ConnectorError> {
        let settings = &self.settings;
        settings.check(&context)?;
        let columns = settings.columns::<T>(&context.failing)?;
        let SinkContext { worker, workers, leader, failing, .. } = context;
        let (table, marker, keys) = (settings.table.clone(), settings.marker(&context.name), settings.keys.clone());
        let number = |key: &String| columns.iter().position(|column| column.name == *key);
        let key_columns = keys.iter().filter_map(number).collect();
        let target = settings.target(columns.clone(), keys.clone());
        let outbox = Outbox { name: marker.clone(), worker };
        Ok(PostgresWriter {
            encoder: RowEncoder::new(columns.clone()),
            key_columns,
            rows: EpochRows::default(),
            head: TokenHead { table, marker, worker, workers, columns, keys },
            publisher: Arc::new(Publisher::new(target, outbox, settings.patience, failing)),
            leader,
            record: PhantomData,
        })
    }

    fn recover(&self, context: &SinkContext, tokens: Vec<StagedToken>) -> Result<(), ConnectorError> {
        let settings = &self.settings;
        settings.check(context)?;
        // A table that does not fit is refused before anything is changed.
        settings.columns::<T>(&context.failing)?;
        let mut staged = outbox::Staged::new();
        let mut written: Option<TokenHead> = None;
        let name = settings.marker(&context.name);
        staged.extend((0..context.workers).map(|worker| (Outbox { name: name.clone(), worker }, Vec::new())));
        for StagedToken { epoch, token } in tokens {
            let (head, rows) = outbox::decode::<TokenHead>("PostgreSQL", epoch, &token)?;
            check_table(&head, epoch, settings)?;
            // Each of the old workers has a marker, by which it is fenced.
            for worker in 0..head.workers {
                staged.entry(Outbox { name: head.marker.clone(), worker }).or_default();
            }
            let outbox = Outbox { name: head.marker.clone(), worker: head.worker };
            staged.entry(outbox).or_default().push((epoch, Arc::new(rows.to_vec())));
            written = Some(head);
        }
        // What was staged is written as the program that staged it had it. All of it is of one run.
        let target = match written {
            Some(TokenHead { columns, keys, .. }) => settings.target(columns, keys),
            None => settings.target(Vec::new(), Vec::new()),
        };
        outbox::recover(&target, context, (settings.patience, settings.lost_marker), staged)
    }
}

fn check_table(head: &TokenHead, epoch: Epoch, settings: &Settings) -> Result<(), ConnectorError> {
    let (was, is) = (&head.table, &settings.table);
    if was == is {
        return Ok(());
    }
    let message = format!(
        "the checkpoint has rows of epoch {epoch} for table \"{was}\" that may not be published, and this run writes to \"{is}\": run it once with the old table"
    );
    Err(ConnectorError::new(ErrorKind::Invalid, message))
}

/// The writer of one worker of a [`PostgresSink`].
pub struct PostgresWriter<T> {
    encoder: RowEncoder,
    key_columns: Vec<usize>,
    rows: EpochRows,
    head: TokenHead,
    publisher: Arc<Publisher<TableTarget>>,
    leader: LeaderIncarnation,
    record: PhantomData<fn(T)>,
}

impl<T: Data> SinkWriter for PostgresWriter<T> {
    type Item = T;

    fn write(&mut self, record: &Record<T>) -> Result<(), ConnectorError> {
        let mut row = Vec::new();
        let rows = if self.key_columns.is_empty() { self.rows.appended() } else { &mut row };
        self.encoder.write(&record.data, rows).map_err(|reason| {
            let message =
                format!("a record cannot be a row of table \"{}\": {reason}: {:?}", self.head.table, record.data);
            ConnectorError::new(ErrorKind::Data, message)
        })?;
        if !self.key_columns.is_empty() {
            self.rows.replace(self.encoder.key(&self.key_columns), row);
        }
        Ok(())
    }

    fn stage(&mut self, epoch: Epoch) -> Result<Option<Staged>, ConnectorError> {
        let rows = self.rows.take();
        if rows.is_empty() {
            return Ok(None);
        }
        let token = outbox::encode(&self.head, &[&rows])?;
        let (publisher, leader, rows) = (Arc::clone(&self.publisher), self.leader.clone(), Arc::new(rows));
        let publish = move || {
            let unknown =
                || ConnectorError::new(ErrorKind::Internal, "an epoch is committed before the first one has begun");
            publisher.publish(leader.get().ok_or_else(unknown)?, epoch, &rows)
        };
        // The token contains the rows, which are therefore durable when the delta is.
        Ok(Some(Staged { token, flush: Box::new(|| Ok(())), publish: Box::new(publish) }))
    }
}
