//! The steps before and after ranking: the interests of the user, the best posts, and the clicks on them.

use serde::{Deserialize, Serialize};
use tidemill::features;
use tidemill::prelude::*;

use crate::world::{Click, Embedding, Scroll, World, age_hours, dot, time_of_day};

/// Time in milliseconds in which a shown post may be clicked. Then it becomes a training example.
pub const ATTRIBUTION_MS: i64 = 60_000;

features! {
    /// The features of a user and a post.
    pub struct RankFeatures {
        affinity, recent_affinity, recent_clicks, popularity, age_hours, time_of_day,
    }
}

/// A post that a user could be shown.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Candidate {
    pub scroll_id: u64,
    pub ts: i64,
    pub user_id: u64,
    pub post_id: u64,
    /// Number of candidates of this scroll.
    pub of: u32,
    pub features: RankFeatures,
}

/// A candidate with its score.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Ranked {
    pub candidate: Candidate,
    pub score: f32,
    /// Whether the score is not from the model server.
    pub fallback: bool,
}

/// The recent clicks of a user.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Interest {
    /// Exponentially weighted mean of the posts' embeddings.
    embedding: Embedding,
    clicks: u32,
}

/// Per user: turns a scroll into candidates with features.
pub struct Interests {
    world: World,
    interest: ValueState<u64, Interest>,
}

impl Interests {
    /// The weight of a click relative to all clicks before it.
    const FADING: f64 = 0.2;

    pub fn open(world: World, states: &mut States<'_, u64>) -> Result<Self, JobError> {
        Ok(Self { world, interest: states.value("interest")? })
    }
}

impl KeyedLogic for Interests {
    type Key = u64;
    type In = Either<Scroll, Click>;
    type Out = Candidate;
    type Side = ();

    fn on_record(
        &mut self,
        ctx: &mut Context<'_, u64, Candidate, ()>,
        record: Record<Self::In>,
    ) -> Result<(), LogicError> {
        match record.data {
            Either::Second(Click { post_id, .. }) => {
                let clicked = self.world.post(post_id).embedding;
                self.interest.update(ctx, Interest::default, |interest| {
                    for (mean, x) in interest.embedding.iter_mut().zip(clicked) {
                        *mean += Self::FADING * (x - *mean);
                    }
                    interest.clicks += 1;
                })?;
            }
            Either::First(Scroll { scroll_id, ts, user_id, .. }) => {
                let user = self.world.user(user_id);
                let interest = self.interest.get(ctx)?.unwrap_or_default();
                let posts = self.world.candidates(scroll_id, ts);
                let of = posts.len() as u32;
                for post_id in posts {
                    let post = self.world.post(post_id);
                    let features = RankFeatures {
                        affinity: dot(&user, &post.embedding),
                        recent_affinity: dot(&interest.embedding, &post.embedding),
                        recent_clicks: interest.clicks.into(),
                        popularity: post.popularity,
                        age_hours: age_hours(ts, &post),
                        time_of_day: time_of_day(ts),
                    };
                    ctx.emit(Candidate { scroll_id, ts, user_id, post_id, of, features });
                }
            }
        }
        Ok(())
    }

    /// A click at t counts for a scroll at t.
    fn tie_break(record: &Self::In) -> u64 {
        match record {
            Either::Second(_) => 0,
            Either::First(scroll) => scroll.scroll_id.saturating_add(1),
        }
    }
}

/// The posts that a user is shown: a line of the output.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Recommendation {
    pub scroll_id: u64,
    pub ts: i64,
    pub user_id: u64,
    /// The posts, the best first.
    pub posts: Vec<Shown>,
    /// Number of candidates that the model server did not score.
    pub fallbacks: u32,
}

/// A post and its score.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Shown {
    pub post_id: u64,
    pub score: f32,
}

/// A line for training: a post that was shown, and whether it was clicked.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Example {
    pub scroll_id: u64,
    pub ts: i64,
    pub user_id: u64,
    pub post_id: u64,
    pub clicked: u8,
    pub features: RankFeatures,
}

/// The result for a shown post, or a click on another one.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Outcome {
    /// A shown post whose time is over, clicked or not.
    Example(Example),
    /// A click on a post that no recommendation had shown: the user found it elsewhere.
    NotShown(Click),
}

/// A scroll whose candidates are still being ranked, or whose clicks may still arrive.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Impression {
    ranked: Vec<Ranked>,
    /// Whether the recommendation was emitted, so that only the shown posts are left.
    is_out: bool,
    clicked: u64,
}

/// Per user: emits the best candidates of each scroll when all are ranked. A minute later it emits them again as
/// training examples, with whether they were clicked.
pub struct TopN {
    n: usize,
    impressions: MapState<u64, u64, Impression>,
}

impl TopN {
    pub fn open(n: usize, states: &mut States<'_, u64>) -> Result<Self, JobError> {
        Ok(Self { n, impressions: states.map("impressions")? })
    }
}

impl Impression {
    /// Keeps the best `n`, with the newer post first where scores are equal.
    fn show(&mut self, n: usize) -> Option<Recommendation> {
        let fallbacks = self.ranked.iter().filter(|ranked| ranked.fallback).count() as u32;
        self.ranked.sort_by(|a, b| b.score.total_cmp(&a.score).then(b.candidate.post_id.cmp(&a.candidate.post_id)));
        self.ranked.truncate(n);
        self.is_out = true;
        let Candidate { scroll_id, ts, user_id, .. } = self.ranked.first()?.candidate;
        let posts = self.ranked.iter();
        let posts = posts.map(|ranked| Shown { post_id: ranked.candidate.post_id, score: ranked.score }).collect();
        Some(Recommendation { scroll_id, ts, user_id, posts, fallbacks })
    }

    fn examples(self) -> impl Iterator<Item = Example> {
        self.ranked.into_iter().map(move |Ranked { candidate, .. }| {
            let Candidate { scroll_id, ts, user_id, post_id, features, .. } = candidate;
            Example { scroll_id, ts, user_id, post_id, clicked: (post_id == self.clicked).into(), features }
        })
    }
}

impl KeyedLogic for TopN {
    type Key = u64;
    type In = Either<Ranked, Click>;
    type Out = Recommendation;
    type Side = Outcome;

    fn on_record(
        &mut self,
        ctx: &mut Context<'_, u64, Recommendation, Outcome>,
        record: Record<Self::In>,
    ) -> Result<(), LogicError> {
        let n = self.n;
        match record.data {
            Either::First(ranked) => {
                let Candidate { scroll_id, ts, of, .. } = ranked.candidate;
                // The timer is set even if some candidates never arrive because they are dead letters.
                ctx.set_timer(EventTime(ts.saturating_add(ATTRIBUTION_MS)));
                let ready = self.impressions.update(ctx, Default::default, |impressions| {
                    let impression = impressions.entry(scroll_id).or_default();
                    impression.ranked.push(ranked);
                    if impression.ranked.len() < of as usize { None } else { impression.show(n) }
                })?;
                ready.into_iter().for_each(|recommendation| ctx.emit(recommendation));
            }
            Either::Second(click) => {
                let was_shown = self.impressions.update(ctx, Default::default, |impressions| {
                    let impression = impressions.get_mut(&click.scroll_id)?;
                    let shown = impression.ranked.iter().any(|ranked| ranked.candidate.post_id == click.post_id);
                    (shown && impression.is_out).then(|| impression.clicked = click.post_id)
                })?;
                if was_shown.is_none() {
                    ctx.side(Outcome::NotShown(click));
                }
            }
        }
        Ok(())
    }

    fn on_timer(
        &mut self,
        ctx: &mut Context<'_, u64, Recommendation, Outcome>,
        at: EventTime,
    ) -> Result<(), LogicError> {
        let n = self.n;
        let (due, empty) = self.impressions.update(ctx, Default::default, |impressions| {
            let is_due = |_: &u64, impression: &mut Impression| {
                impression.ranked.first().is_none_or(|ranked| ranked.candidate.ts + ATTRIBUTION_MS <= at.0)
            };
            let due: Vec<Impression> = impressions.extract_if(.., is_due).map(|(_, impression)| impression).collect();
            (due, impressions.is_empty())
        })?;
        if empty {
            self.impressions.remove(ctx)?;
        }
        for mut impression in due {
            if !impression.is_out {
                impression.show(n).into_iter().for_each(|recommendation| ctx.emit(recommendation));
            }
            impression.examples().for_each(|example| ctx.side(Outcome::Example(example)));
        }
        Ok(())
    }

    /// A post shown at t can be clicked at t.
    fn tie_break(record: &Self::In) -> u64 {
        match record {
            Either::First(ranked) => ranked.candidate.post_id,
            Either::Second(click) => u64::MAX - click.scroll_id,
        }
    }
}
