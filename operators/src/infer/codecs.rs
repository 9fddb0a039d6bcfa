//! The codecs of the operator's methods: features by name, functions of the program, and keys beside either.

use std::fmt::Display;

use super::codec::{Codec, InputRow, OutputRow};
use super::features::Features;
use super::live::bucket;

/// A codec for one f32 input of named columns, and one score.
pub(super) struct FeatureCodec<W> {
    pub(super) features: W,
    pub(super) column: usize,
}

impl<D, F: Features, W: Fn(&D) -> &F + 'static> Codec<D> for FeatureCodec<W> {
    type Score = f32;

    fn encode(&self, record: &D, row: &mut InputRow<'_>) {
        let features = (self.features)(record);
        let written = match row.rules {
            None => features.try_write(row.zeros(0, F::NAMES.len())),
            Some(rules) => {
                let (to, odd) = row.zeros_and_odd(0, rules.columns().len());
                rules.write(features, to, odd)
            }
        };
        if let Err(reason) = written {
            row.refuse(reason);
        }
    }

    fn decode(&self, row: &OutputRow<'_>) -> Result<f32, String> {
        // A row of an output `[n]` has no dimensions and one value.
        let values = row.f32(0);
        values.get(self.column).copied().ok_or_else(|| {
            format!("the model gave {} scores a row; column {} was asked for", values.len(), self.column)
        })
    }

    fn number(&self, score: &f32) -> Option<f64> {
        Some(f64::from(*score))
    }

    fn columns(&self) -> &'static [&'static str] {
        F::NAMES
    }
}

/// A codec that knows the keys of records.
pub(super) struct KeyedCodec<C, K> {
    pub(super) codec: C,
    pub(super) key: K,
}

impl<D, T: Display, C: Codec<D>, K: Fn(&D) -> T + 'static> Codec<D> for KeyedCodec<C, K> {
    type Score = C::Score;

    fn encode(&self, record: &D, row: &mut InputRow<'_>) {
        self.codec.encode(record, row);
    }

    fn decode(&self, row: &OutputRow<'_>) -> Result<Self::Score, String> {
        self.codec.decode(row)
    }

    fn number(&self, score: &Self::Score) -> Option<f64> {
        self.codec.number(score)
    }

    fn bucket(&self, record: &D, seed: &str) -> u32 {
        bucket::bucket(seed, (self.key)(record))
    }

    fn key_hash(&self, record: &D) -> Option<u32> {
        Some(bucket::hash((self.key)(record)))
    }

    fn columns(&self) -> &'static [&'static str] {
        self.codec.columns()
    }
}

/// A codec that calls the functions of the program.
pub(super) struct TensorCodec<E, O> {
    pub(super) encode: E,
    pub(super) decode: O,
}

impl<D, S, E, O> Codec<D> for TensorCodec<E, O>
where
    E: Fn(&D, &mut InputRow<'_>) + 'static,
    O: Fn(&OutputRow<'_>) -> Result<S, String> + 'static,
{
    type Score = S;

    fn encode(&self, record: &D, row: &mut InputRow<'_>) {
        (self.encode)(record, row);
    }

    fn decode(&self, row: &OutputRow<'_>) -> Result<S, String> {
        (self.decode)(row)
    }
}
