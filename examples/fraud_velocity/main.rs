//! Scores card transactions as they happen, from velocity of the card and risk of the terminal, with an XGBoost model.
//!
//! ```text
//! transactions ─▶ by card: velocity ─▶ by terminal: risk ─▶ score ─┬─▶ predictions
//! charge-backs, later        ─────────────────┘                    └─▶ alerts
//!        └─▶ table: frauds by terminal ─▶ the riskiest ten ─▶ --riskiest, if asked for
//! ```

mod drift;
mod features;
mod labels;
mod rescore;
#[cfg(feature = "tables")]
mod riskiest;
mod simulate;
mod versions;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use serde::{Deserialize, Serialize};
use tidemill::control::{ChangeEvent, ChangeRequest};
use tidemill::infer::ModelRole;
use tidemill::prelude::*;

#[cfg(feature = "kafka")]
use common::topic_source;
use common::{CommonArgs, Input, Place, exit, write, write_dead_letters};
use drift::DriftArgs;
use features::{CardVelocity, ChargeBack, ChargeBackLine, Featured, FraudFeatures, TerminalRisk, Transaction};
use labels::LabelArgs;
use rescore::RescoreArgs;
use simulate::City;
use versions::{ModelArgs, Wanted};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Scores card transactions: velocity of the card, risk of the terminal, an XGBoost model.
#[derive(Clone, Debug, Parser)]
struct Args {
    /// Transactions to read: .csv or .jsonl, also .gz or .zst, or .parquet; or kafka://host:port/topic of JSON.
    /// Without it they are simulated.
    #[arg(long, value_name = "FILE|KAFKA", num_args = 1..)]
    input: Vec<Place>,
    /// How many transactions are simulated.
    #[arg(long, default_value_t = 2_000_000, value_name = "N")]
    count: u64,
    #[command(flatten)]
    model: ModelArgs,
    /// Requests to change models while the job runs, as JSON lines or messages; with --models.
    #[arg(long, requires = "models", value_name = "FILE|KAFKA")]
    control: Option<Place>,
    /// A version that is rolled out step by step, from the start on, with its settings in a file of JSON; with --models.
    #[arg(long, requires = "models", value_name = "NAME[=FILE]")]
    rollout: Option<Wanted>,
    /// Where it is written what becomes of each change of a model; it is written nowhere by default.
    #[arg(long, requires = "models", value_name = "DIR|KAFKA")]
    model_events: Option<Place>,
    /// Transactions scored at a time, at most; auto:N to have the best number up to N measured.
    #[arg(long, default_value = "96", value_name = "N|auto:N")]
    max_batch_size: BatchSize,
    /// A score above this is an alert.
    #[arg(long, default_value_t = 0.85)]
    threshold: f32,
    /// Where the ten terminals with the most frauds go, whenever they change; they are not listed by default.
    #[cfg(feature = "tables")]
    #[arg(long, value_name = "DIR|KAFKA")]
    riskiest: Option<Place>,
    #[command(flatten)]
    drift: DriftArgs,
    #[command(flatten)]
    labels: LabelArgs,
    #[command(flatten)]
    rescore: RescoreArgs,
    #[command(flatten)]
    common: CommonArgs,
}

/// A line of the output.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Prediction {
    tx_id: u64,
    ts: i64,
    card_id: u64,
    score: f32,
    /// Name, version and hash of the model; shared, because every prediction contains it.
    model: Arc<str>,
    /// The part that the model has in scoring: primary, canary or baseline.
    role: ModelRole,
    features: FraudFeatures,
}

/// The name of the last model as a text, because nearly all predictions are of the same model.
#[derive(Default)]
struct Label {
    of: Option<Arc<ModelInfo>>,
    text: Arc<str>,
}

impl Label {
    fn of(&mut self, model: Option<Arc<ModelInfo>>) -> Arc<str> {
        if self.of.as_ref().map(Arc::as_ptr) != model.as_ref().map(Arc::as_ptr) {
            self.text = model.as_ref().map(ToString::to_string).unwrap_or_default().into();
            self.of = model;
        }
        Arc::clone(&self.text)
    }
}

/// A line for training.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Example {
    tx_id: u64,
    ts: i64,
    /// Null if nothing is known.
    is_fraud: Option<u8>,
    features: FraudFeatures,
    /// What the model with --models takes for them; null if there is none, or it would not score them.
    after: Option<Vec<f32>>,
}

fn main() -> ExitCode {
    exit(run(Args::parse()))
}

fn run(args: Args) -> Result<(), JobError> {
    let models = if args.common.features.is_none() { Some(args.model.load()?) } else { None };
    let (common, city) = (args.common.clone(), City::new(args.common.seed));
    let transactions = (0..args.count).map(|index| city.transaction(index));
    let input = Input::of(&args.input)?;
    let card = |transaction: &Transaction| transaction.card_id.to_string();
    common.run("fraud_velocity", &input, transactions, card, move |flow| {
        build(flow, &args, &Input::of(&args.input)?, models.as_ref())
    })
}

fn build(flow: &Flow<'_>, args: &Args, input: &Input, models: Option<&Models>) -> Result<(), JobError> {
    let (order, common) = (args.common.order(input), &args.common);
    let (transactions, charge_backs) = sources(flow, args, input)?;
    #[cfg(feature = "tables")]
    if args.riskiest.is_some() {
        let list = riskiest::riskiest(charge_backs.clone())?;
        write(list, "riskiest", args.riskiest.as_ref(), |_| "riskiest".to_owned())?;
    }
    // Nothing of the event time of a switch is scored before that is decided: each run switches at the same transaction.
    let known = charge_backs.clone();
    let asked = [
        args.control.as_ref().map(|control| requests(flow, args, control)).transpose()?,
        args.rollout.as_ref().map(|wanted| flow.source("rollout", &wanted.request()?)).transpose()?,
    ];
    let known = match asked.into_iter().flatten().reduce(Stream::union) {
        Some(asked) => asked.change_operators_before("changes", known)?,
        None => known,
    };
    let featured = transactions
        .key_by(|transaction| transaction.card_id)
        .process("card-velocity", order, CardVelocity::open)?
        .results
        .key_by(|featured| featured.transaction.terminal_id)
        .connect(known.key_by(|charge_back| charge_back.terminal_id))
        .process("terminal-risk", order, TerminalRisk::open)?
        .results;

    if args.model_events.is_some() {
        let events = flow.change_events("model-events")?;
        write(events, "events", args.model_events.as_ref(), |event: &ChangeEvent| event.operator.clone())?;
    }
    if let Some(models) = models {
        let settings = common.infer_settings(args.max_batch_size);
        if args.rescore.is_asked() {
            args.rescore.build(flow, featured, models, &settings)?;
            return write_dead_letters(flow.dead_letters(), common.dead_letters.as_ref());
        }
        let mut label = Label::default();
        let scored = featured.infer_by_key(
            "score",
            models,
            &settings,
            |featured| featured.transaction.card_id,
            |featured| &featured.features,
        )?;
        let scored = args.drift.watch(scored, args.model.baselines()?.as_ref())?;
        let scored = args.labels.judge(scored, charge_backs, args.threshold, args.model.can_change())?;
        let predictions = scored.map(move |scored| {
            let Featured { transaction: Transaction { tx_id, ts, card_id, .. }, features } = *scored.record;
            let (score, role) = (scored.score, scored.role);
            Prediction { tx_id, ts, card_id, score, model: label.of(scored.model), role, features }
        });
        // Predictions come from the workers of their terminals, and a topic needs those of a card in order.
        let is_topic = |place: &Place| !matches!(place, Place::Path(_));
        let predictions = if common.predictions.iter().chain(&common.alerts).any(is_topic) {
            predictions.key_by(|p| p.card_id).process("by-card", order, |_| Ok(InOrder))?.results
        } else {
            predictions
        };
        let threshold = args.threshold;
        let card = |prediction: &Prediction| prediction.card_id.to_string();
        write(predictions.clone().filter(move |p| p.score > threshold), "alerts", common.alerts.as_ref(), card)?;
        common.write_predictions(predictions, card)?;
    } else {
        let rules = args.model.rules()?;
        let columns = rules.as_ref().map(|rules| rules.columns().to_vec()).unwrap_or_default();
        let examples = args.labels.label(featured, charge_backs)?.map(move |labelled| {
            let Featured { transaction: Transaction { tx_id, ts, .. }, features } = *labelled.record;
            let is_fraud = labelled.label.map(|label| label.is_fraud);
            let after = rules.as_ref().and_then(|rules| rules.encode(&features).ok());
            Example { tx_id, ts, is_fraud, features, after }
        });
        common.write_features(examples, "features", common.features.as_ref(), &columns, |example| {
            example.tx_id.to_string()
        })?;
    }
    write_dead_letters(flow.dead_letters(), common.dead_letters.as_ref())
}

/// Passes predictions on, those of each card on one worker, in order.
struct InOrder;

impl KeyedLogic for InOrder {
    type Key = u64;
    type In = Prediction;
    type Out = Prediction;
    type Side = ();

    fn on_record(
        &mut self,
        ctx: &mut Context<'_, u64, Prediction, ()>,
        record: Record<Prediction>,
    ) -> Result<(), LogicError> {
        ctx.emit(record.data);
        Ok(())
    }

    fn tie_break(prediction: &Prediction) -> u64 {
        prediction.tx_id
    }
}

/// Opens the source of requests. As long as it has not been read, nothing is released, whatever the time of a request.
fn requests<'s>(flow: &Flow<'s>, args: &Args, control: &Place) -> Result<Stream<'s, ChangeRequest>, JobError> {
    let common = &args.common;
    match control {
        Place::Path(path) => {
            let file = FileSource::new([path], |_| EventTime::MIN).idle_after(Duration::from_millis(50));
            flow.source("control", &if common.follow { file.follow() } else { file })
        }
        #[cfg(feature = "kafka")]
        Place::Kafka(url) => {
            let topic = topic_source(url, |request: ChangeRequest| request, |_| EventTime::MIN)?;
            flow.source("control", &common.configure_topic(topic))
        }
        other => Err(JobError::Invalid(format!("--control: give a file or kafka://host:port/topic, and not {other}"))),
    }
}

type Sources<'s> = (Stream<'s, Transaction>, Stream<'s, ChargeBack>);

/// Opens the sources of transactions and of their charge-backs, which become known later: the same events, read at two
/// times.
fn sources<'s>(flow: &Flow<'s>, args: &Args, input: &Input) -> Result<Sources<'s>, JobError> {
    let known_at = |charge_back: &ChargeBack| EventTime(charge_back.known_at);
    let (common, delay) = (&args.common, args.labels.label_delay);
    match input {
        Input::Simulated => {
            let city = City::new(common.seed);
            let same_city = city.clone();
            let transactions = Generator::new(args.count, move |index| {
                let transaction = city.transaction(index);
                (transaction.event_time(), transaction)
            });
            let charge_backs = Generator::new(args.count, move |index| {
                let charge_back = ChargeBackLine::from(same_city.transaction(index)).known_after(delay);
                (known_at(&charge_back), charge_back)
            });
            let transactions = transactions.rate(common.rate);
            Ok((flow.source("transactions", &transactions)?, flow.source("charge-backs", &charge_backs)?))
        }
        Input::Files(paths) => {
            let transactions = FileSource::new(paths, Transaction::event_time);
            let charge_backs =
                FileSource::converted(paths, move |line: ChargeBackLine| line.known_after(delay), known_at);
            Ok((
                flow.source("transactions", &common.configure(transactions))?,
                flow.source("charge-backs", &common.configure(charge_backs))?,
            ))
        }
        Input::Live(live) => {
            let live = live.read_twice()?;
            let lines = |line: Transaction| line;
            let known_after = move |line: ChargeBackLine| line.known_after(delay);
            Ok((
                live.source(flow, "transactions", common, Duration::ZERO, lines, Transaction::event_time)?,
                live.source(flow, "charge-backs", common, delay, known_after, known_at)?,
            ))
        }
    }
}
