//! Card transactions that look like those of the Fraud Detection Handbook: transaction `i` is a pure
//! function of `i`, so that a restored run makes the same ones.
//!
//! Cards have a place, a mean amount and a frequency; they pay at terminals near them, mostly by day.
//! Three kinds of fraud: an amount above 220; a terminal compromised for 28 days; a card compromised
//! for 14 days, a third of whose amounts are five times what they would be.

use std::f64::consts::TAU;
use std::sync::Arc;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Normal};

use crate::features::Transaction;

const DAY_MS: i64 = 86_400_000;
/// 2026-01-01, a Thursday.
const START_MS: i64 = 1_767_225_600_000;
/// Number of rows and of columns of the grid on which terminals stand.
const GRID: i64 = 100;
/// How far from its place, in grid steps, a card pays.
const REACH: i64 = 5;
/// Share of terminals compromised at any time: two more every day, for 28 days, of 10,000.
const COMPROMISED_TERMINALS: f64 = 2.0 * 28.0 / 10_000.0;
/// Share of cards compromised at any time: three more every day, for 14 days, of 5,000.
const COMPROMISED_CARDS: f64 = 3.0 * 14.0 / 5_000.0;

/// A city's cards and terminals. It is cheap to clone.
#[derive(Clone)]
pub struct City {
    seed: u64,
    chance: ChaCha8Rng,
    cards: Arc<[Card]>,
}

/// The properties of a card.
struct Card {
    place: (i64, i64),
    mean_amount: f64,
    /// Probability that the card pays when it is drawn.
    frequency: f64,
}

impl City {
    pub const CARDS: u64 = 5_000;
    /// Number of transactions per day.
    const PER_DAY: f64 = 10_000.0;

    pub fn new(seed: u64) -> Self {
        let mut chance = ChaCha8Rng::seed_from_u64(seed);
        chance.set_stream(u64::MAX);
        let cards = (0..Self::CARDS).map(|_| Card {
            place: (chance.random_range(0..GRID), chance.random_range(0..GRID)),
            mean_amount: chance.random_range(5.0..100.0),
            frequency: chance.random(),
        });
        Self { seed, cards: cards.collect(), chance: ChaCha8Rng::seed_from_u64(seed) }
    }

    /// Returns whether `id` is compromised on `day`. At any time, `share` of all ids are, each for `days` days.
    fn compromised(&self, salt: u64, id: u64, day: i64, days: u64, share: f64) -> bool {
        let offset = mix(self.seed ^ salt ^ id) % days;
        let period = (day as u64 + offset) / days;
        let drawn = mix(self.seed ^ salt ^ mix(id ^ period << 32));
        (drawn as f64) < share * u64::MAX as f64
    }

    /// Returns the time of transaction `index`. Transactions are in order, with more by day than by night.
    fn time(index: u64, jitter: f64) -> i64 {
        let days = (index as f64 + jitter) / Self::PER_DAY;
        let (day, share) = (days.floor(), days.fract());
        let hour = share + 0.8 * (TAU * share).sin() / TAU;
        START_MS + day as i64 * DAY_MS + (hour * DAY_MS as f64) as i64
    }

    /// Returns transaction `index`.
    pub fn transaction(&self, index: u64) -> Transaction {
        let mut chance = self.chance.clone();
        chance.set_stream(index);
        let ts = Self::time(index, chance.random());
        let day = (ts - START_MS) / DAY_MS;
        let (card_id, card) = loop {
            let id = chance.random_range(0..Self::CARDS);
            let card = &self.cards[id as usize];
            if chance.random_bool(card.frequency) {
                break (id, card);
            }
        };
        let mut near = |place: i64| (place + chance.random_range(-REACH..=REACH)).clamp(0, GRID - 1);
        let terminal_id = (near(card.place.0) * GRID + near(card.place.1)) as u64;
        let usual =
            Normal::new(card.mean_amount, card.mean_amount / 2.0).map_or(card.mean_amount, |n| n.sample(&mut chance));
        let mut amount = if usual < 0.0 { chance.random_range(0.0..2.0 * card.mean_amount) } else { usual };
        let mut is_fraud = self.compromised(1 << 40, terminal_id, day, 28, COMPROMISED_TERMINALS);
        if self.compromised(1 << 41, card_id, day, 14, COMPROMISED_CARDS) && chance.random_bool(1.0 / 3.0) {
            amount *= 5.0;
            is_fraud = true;
        }
        amount = (amount * 100.0).round() / 100.0;
        is_fraud |= amount > 220.0;
        Transaction { tx_id: index, ts, card_id, terminal_id, amount, is_fraud: is_fraud.into() }
    }
}

/// Returns a random number that depends on `number` only: the finaliser of SplitMix64 (Steele, Lea, Flood 2014).
fn mix(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
