//! Users, posts and what happens between them, simulated: each is a pure function of its number and the seed, so that
//! a restored run sees the same.
//!
//! Users and posts have places in one space of interests, near a few topics; these places are their embeddings. A user
//! who scrolls prefers one of the candidates: a post is more likely to be it the closer, better and newer it is. The
//! user clicks it or not. The quality of a post is hidden, and its popularity is a hint at it.

use std::f64::consts::TAU;
use std::sync::Arc;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use serde::{Deserialize, Serialize};
use tidemill::prelude::*;

/// Event time of the first scroll: 2026-01-01, in ms since the Unix epoch.
const START_MS: i64 = 1_767_225_600_000;
const HOUR_MS: i64 = 3_600_000;
/// Time between two scrolls, in milliseconds.
const STEP_MS: i64 = 500;
/// Time between two new posts, in milliseconds.
const POST_MS: i64 = 180_000;
/// Maximum age of a candidate, in milliseconds.
const MAX_AGE_MS: i64 = 48 * HOUR_MS;
const TOPICS: usize = 12;
/// Time from a scroll to its click, in milliseconds.
pub const CLICK_DELAY_MS: i64 = 20_000;
/// Number of candidate posts per scroll.
pub const CANDIDATES: usize = 20;

/// A unit vector in the space of interests.
pub type Embedding = [f64; 8];

pub fn dot(a: &Embedding, b: &Embedding) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn unit(mut place: Embedding) -> Embedding {
    let length = dot(&place, &place).sqrt().max(f64::MIN_POSITIVE);
    place.iter_mut().for_each(|x| *x /= length);
    place
}

/// A line of the input: a user scrolls.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scroll {
    pub scroll_id: u64,
    /// Event time, ms since the Unix epoch.
    pub ts: i64,
    pub user_id: u64,
    /// The post clicked, or 0. Known only 20 s later: used for clicks, never for ranking.
    pub clicked: u64,
}

impl Scroll {
    pub fn event_time(&self) -> EventTime {
        EventTime(self.ts)
    }
}

/// The click that becomes known 20 s after a scroll.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Click {
    pub scroll_id: u64,
    pub ts: i64,
    pub user_id: u64,
    /// The post that was clicked, or 0.
    pub post_id: u64,
}

impl From<Scroll> for Click {
    fn from(Scroll { scroll_id, ts, user_id, clicked }: Scroll) -> Self {
        Self { scroll_id, ts: ts.saturating_add(CLICK_DELAY_MS), user_id, post_id: clicked }
    }
}

/// A post.
pub struct Post {
    pub embedding: Embedding,
    pub popularity: f64,
    pub published_ms: i64,
    quality: f64,
}

/// All users and posts. It is cheap to clone.
#[derive(Clone)]
pub struct World {
    seed: u64,
    topics: Arc<[Embedding]>,
}

impl World {
    const USERS: u64 = 2_000;
    /// First random stream of the users. Each item has a stream of random numbers; those of scrolls begin at 0.
    const OF_USERS: u64 = 1 << 60;
    const OF_POSTS: u64 = 1 << 61;

    pub fn new(seed: u64) -> Self {
        let mut chance = ChaCha8Rng::seed_from_u64(seed);
        chance.set_stream(u64::MAX);
        let topics = (0..TOPICS).map(|_| unit(std::array::from_fn(|_| StandardNormal.sample(&mut chance))));
        Self { seed, topics: topics.collect() }
    }

    fn chance(&self, stream: u64) -> ChaCha8Rng {
        let mut chance = ChaCha8Rng::seed_from_u64(self.seed);
        chance.set_stream(stream);
        chance
    }

    /// Returns a random place near the mean of this number of topics.
    fn around(&self, chance: &mut ChaCha8Rng, topics: usize, spread: f64) -> Embedding {
        let centres: Vec<&Embedding> = (0..topics).map(|_| &self.topics[chance.random_range(0..TOPICS)]).collect();
        unit(std::array::from_fn(|axis| {
            let noise: f64 = StandardNormal.sample(chance);
            centres.iter().map(|centre| centre[axis]).sum::<f64>() + spread * noise
        }))
    }

    /// Returns the embedding of a user.
    pub fn user(&self, id: u64) -> Embedding {
        self.around(&mut self.chance(Self::OF_USERS + id), 2, 0.2)
    }

    /// Returns post `id`; ids begin at 1.
    pub fn post(&self, id: u64) -> Post {
        let mut chance = self.chance(Self::OF_POSTS + id);
        let embedding = self.around(&mut chance, 1, 0.25);
        let quality: f64 = StandardNormal.sample(&mut chance);
        let hint: f64 = StandardNormal.sample(&mut chance);
        let published_ms = START_MS - MAX_AGE_MS + id as i64 * POST_MS;
        Post { embedding, popularity: quality + 0.7 * hint, published_ms, quality }
    }

    /// Returns the posts that can be shown for a scroll, which in a real system the retrieval step before ranking
    /// finds.
    pub fn candidates(&self, scroll_id: u64, ts: i64) -> Vec<u64> {
        let mut chance = self.chance(scroll_id);
        let newest = ((ts - START_MS + MAX_AGE_MS).max(0) / POST_MS) as u64;
        let oldest = newest.saturating_sub((MAX_AGE_MS / POST_MS) as u64) + 1;
        let mut found = Vec::with_capacity(CANDIDATES);
        while found.len() < CANDIDATES.min((newest + 1).saturating_sub(oldest) as usize) {
            let post = chance.random_range(oldest..=newest);
            if !found.contains(&post) {
                found.push(post);
            }
        }
        found
    }

    /// Returns scroll `index`.
    pub fn scroll(&self, index: u64) -> Scroll {
        // The first half of the stream is for the candidates, the second half for what the user does.
        let mut chance = self.chance(index);
        chance.set_word_pos(1 << 32);
        let ts = START_MS + index as i64 * STEP_MS + chance.random_range(0..STEP_MS);
        let user_id = chance.random_range(0..Self::USERS);
        let user = self.user(user_id);
        let mut best = (0, f64::NEG_INFINITY, 0.0);
        for id in self.candidates(index, ts) {
            let post = self.post(id);
            let age_hours = (ts - post.published_ms) as f64 / HOUR_MS as f64;
            let liking = 4.0 * dot(&user, &post.embedding) + 0.8 * post.quality - 0.03 * age_hours;
            // With Gumbel noise, the choice is distributed as the softmax of the likings.
            let noisy = liking - (-chance.random::<f64>().max(1e-300).ln()).ln();
            if noisy > best.1 {
                best = (id, noisy, liking);
            }
        }
        let clicks = chance.random_bool(1.0 / (1.0 + (2.0 - best.2).exp()));
        Scroll { scroll_id: index, ts, user_id, clicked: if clicks { best.0 } else { 0 } }
    }
}

/// Returns the time of day as a number without a jump at midnight: 1 at 6 h, -1 at 18 h.
pub fn time_of_day(ts: i64) -> f64 {
    (TAU * ts.rem_euclid(24 * HOUR_MS) as f64 / (24 * HOUR_MS) as f64).sin()
}

/// Returns the age of a post in hours.
pub fn age_hours(ts: i64, post: &Post) -> f64 {
    (ts - post.published_ms) as f64 / HOUR_MS as f64
}
