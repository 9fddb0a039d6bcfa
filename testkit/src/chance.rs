//! The number of cases that tests run, and the seed that chooses them.

#[cfg(feature = "programs")]
use rand::SeedableRng;
#[cfg(feature = "programs")]
use rand_chacha::ChaCha8Rng;

/// Returns the factor for the number of cases of a quick run: `TIDEMILL_SOAK`, which `cargo xtask soak` sets, or 1.
pub fn times() -> usize {
    std::env::var("TIDEMILL_SOAK").ok().and_then(|text| text.parse().ok()).unwrap_or(1)
}

/// Returns `quick` of the items, drawn anew each time but in their order. A soak run takes more of them, or all.
#[cfg(feature = "programs")]
pub fn some<T>(of: impl IntoIterator<Item = T>, quick: usize) -> Vec<T> {
    let mut chance = ChaCha8Rng::seed_from_u64(seed());
    let all: Vec<T> = of.into_iter().collect();
    let mut taken = rand::seq::index::sample(&mut chance, all.len(), (quick * times()).min(all.len())).into_vec();
    taken.sort_unstable();
    all.into_iter().enumerate().filter(|(at, _)| taken.binary_search(at).is_ok()).map(|(_, one)| one).collect()
}

/// Returns a seed: the one in `TIDEMILL_SEED`, to repeat a run, or a new one. It is printed, so every failure shows it.
#[cfg(feature = "programs")]
pub fn seed() -> u64 {
    let seed = std::env::var("TIDEMILL_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or_else(rand::random);
    println!("TIDEMILL_SEED={seed}");
    seed
}
