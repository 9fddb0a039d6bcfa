//! Recommends posts as users scroll: tracks the interests of users, calls a ranking model in batches, emits the best
//! posts, and emits training examples that say which of them were clicked.
//!
//! ```text
//! scrolls ─▶ by user: interests ─▶ candidates ─▶ rank ─▶ by user: best n ─┬─▶ predictions (what is shown)
//! clicks, 20 s later ─┴─────────────────────────────────────┘             └─▶ examples (clicked or not)
//! ```

mod rank;
mod world;

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use tidemill::infer::server::{ServedModel, ServerSettings};
use tidemill::prelude::*;

use common::{CommonArgs, Input, Place, exit, shipped_model, write, write_dead_letters};
use rank::{Candidate, Interests, Outcome, RankFeatures, Ranked, Recommendation, TopN};
use world::{Click, Scroll, World};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Recommends posts as users scroll: a ranking model, in process or on a model server.
#[derive(Clone, Debug, Parser)]
struct Args {
    /// Scrolls to read: .csv or .jsonl, also .gz or .zst, or .parquet; or kafka://host:port/topic of JSON.
    /// Without it they are simulated. Users and posts are always simulated, from --seed.
    #[arg(long, value_name = "FILE|KAFKA", num_args = 1..)]
    input: Vec<Place>,
    /// Number of scrolls that are simulated.
    #[arg(long, default_value_t = 20_000, value_name = "N")]
    count: u64,
    /// Number of posts that are recommended at a time.
    #[arg(long, default_value = "5", value_name = "N")]
    top: NonZeroUsize,
    /// The model.
    #[arg(
        long,
        default_value_os_t = shipped_model("content_recommendation.onnx"),
        value_name = "FILE"
    )]
    model: PathBuf,
    /// The same model on a model server, as in oip+grpc://127.0.0.1:8501/ranking (`cargo xtask servers` runs some).
    /// Posts that it does not score in time are scored by --model in this process.
    #[arg(long, value_name = "URL")]
    server: Option<String>,
    /// Maximum time for a batch on the model server, including retries.
    #[arg(long, default_value = "250ms", value_parser = humantime::parse_duration, value_name = "DURATION")]
    deadline: Duration,
    /// Maximum time to wait for the model server at the start.
    #[arg(long, default_value = "30s", value_parser = humantime::parse_duration, value_name = "DURATION")]
    start_timeout: Duration,
    /// Posts ranked at a time, at most; auto:N to have the best number up to N measured.
    #[arg(long, default_value = "128", value_name = "N|auto:N")]
    max_batch_size: BatchSize,
    /// Where posts that were shown go a minute later, with whether they were clicked.
    #[arg(long, value_name = "DIR|KAFKA")]
    examples: Option<Place>,
    /// Where clicks go on posts that were not shown.
    #[arg(long, value_name = "DIR|KAFKA")]
    not_shown: Option<Place>,
    /// Prints this many recommendations of each worker.
    #[arg(long, default_value_t = 5, value_name = "N")]
    print: u64,
    #[command(flatten)]
    common: CommonArgs,
}

fn main() -> ExitCode {
    exit(run(Args::parse()))
}

fn run(args: Args) -> Result<(), JobError> {
    let models = models(&args)?;
    let (common, world) = (args.common.clone(), World::new(args.common.seed));
    let scrolls = (0..args.count).map(|index| world.scroll(index));
    let input = Input::of(&args.input)?;
    let user = |scroll: &Scroll| scroll.user_id.to_string();
    common.run("content_recommendation", &input, scrolls, user, move |flow| {
        build(flow, &args, &Input::of(&args.input)?, models.as_ref())
    })
}

/// Loads and checks the models before anything starts; none when posts are ranked by chance.
fn models(args: &Args) -> Result<Option<Models>, JobError> {
    let Some(model) = args.common.load_model::<RankFeatures>(&args.model, "probabilities", 1)? else {
        return Ok(None);
    };
    let Some(url) = &args.server else { return Ok(Some(Models::of(model))) };
    let (deadline, start_timeout) = (args.deadline, args.start_timeout);
    let settings = ServerSettings { deadline, start_timeout, ..ServerSettings::default() };
    let served = ServedModel::scoring::<RankFeatures>(url, "features", ("probabilities", 2, 1), &settings);
    Ok(Some(Models::of(served?).or(model)))
}

fn build(flow: &Flow<'_>, args: &Args, input: &Input, models: Option<&Models>) -> Result<(), JobError> {
    let (order, common, world) = (args.common.order(input), &args.common, World::new(args.common.seed));
    let (scrolls, clicks) = sources(flow, args, input, &world)?;
    let clicks = clicks.filter(|click| click.post_id > 0);
    let candidates = scrolls
        .key_by(|scroll| scroll.user_id)
        .connect(clicks.clone().key_by(|click| click.user_id))
        .process("interests", order, move |states| Interests::open(world.clone(), states))?
        .results;
    let ranked = match models {
        // The first model is trained on clicks on posts that were chosen by chance.
        None => candidates.map(by_chance),
        Some(models) => {
            let settings = common.infer_settings(args.max_batch_size);
            let scored = candidates.infer("rank", models, &settings, |candidate: &Candidate| &candidate.features)?;
            scored.map(|Scored { record: candidate, score, origin, .. }| Ranked {
                candidate,
                score,
                fallback: origin != ScoreOrigin::Model,
            })
        }
    };
    let n = args.top.get();
    let shown = ranked
        .key_by(|ranked| ranked.candidate.user_id)
        .connect(clicks.key_by(|click| click.user_id))
        .process("top-n", order, move |states| TopN::open(n, states))?;

    let user = |recommendation: &Recommendation| recommendation.user_id.to_string();
    let mut left = args.print;
    let recommendations = shown.results.inspect(move |record| {
        if left > 0 {
            left -= 1;
            let Recommendation { user_id, posts, .. } = &record.data;
            let posts: Vec<String> = posts.iter().map(|post| format!("{} ({:.3})", post.post_id, post.score)).collect();
            println!("{} user {user_id}: posts {}", record.event_time, posts.join(", "));
        }
    });
    common.write_predictions(recommendations, user)?;
    let examples = shown.side.clone().flat_map(|outcome| match outcome {
        Outcome::Example(example) => Some(example),
        Outcome::NotShown(_) => None,
    });
    let not_shown = shown.side.flat_map(|outcome| match outcome {
        Outcome::Example(_) => None,
        Outcome::NotShown(click) => Some(click),
    });
    let place = common.features.as_ref().or(args.examples.as_ref());
    common.write_features(examples, "examples", place, &[], |example| example.user_id.to_string())?;
    write(not_shown, "not-shown", args.not_shown.as_ref(), |click| click.user_id.to_string())?;
    write_dead_letters(flow.dead_letters(), common.dead_letters.as_ref())
}

/// Returns a score without meaning, which is the same in every run.
fn by_chance(candidate: Candidate) -> Ranked {
    let mixed = (candidate.scroll_id << 20 ^ candidate.post_id).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    Ranked { candidate, score: (mixed >> 40) as f32 / (1_u64 << 24) as f32, fallback: false }
}

type Sources<'s> = (Stream<'s, Scroll>, Stream<'s, Click>);

/// Returns the scrolls, and their clicks, which are known 20 s later: the same events twice, at two times.
fn sources<'s>(flow: &Flow<'s>, args: &Args, input: &Input, world: &World) -> Result<Sources<'s>, JobError> {
    let known_at = |click: &Click| EventTime(click.ts);
    let common = &args.common;
    match input {
        Input::Simulated => {
            let (world, same_world) = (world.clone(), world.clone());
            let scrolls = Generator::new(args.count, move |index| {
                let scroll = world.scroll(index);
                (scroll.event_time(), scroll)
            });
            let clicks = Generator::new(args.count, move |index| {
                let click = Click::from(same_world.scroll(index));
                (known_at(&click), click)
            });
            let scrolls = scrolls.rate(common.rate);
            Ok((flow.source("scrolls", &scrolls)?, flow.source("clicks", &clicks)?))
        }
        Input::Files(paths) => {
            let scrolls = FileSource::new(paths, Scroll::event_time);
            let clicks = FileSource::converted(paths, |line: Scroll| Click::from(line), known_at);
            Ok((flow.source("scrolls", &common.configure(scrolls))?, flow.source("clicks", &common.configure(clicks))?))
        }
        Input::Live(live) => {
            let live = live.read_twice()?;
            let delay = Duration::from_millis(world::CLICK_DELAY_MS.unsigned_abs());
            let clicks = |line: Scroll| Click::from(line);
            Ok((
                live.source(flow, "scrolls", common, Duration::ZERO, |line: Scroll| line, Scroll::event_time)?,
                live.source(flow, "clicks", common, delay, clicks, known_at)?,
            ))
        }
    }
}
