//! The last step of the job `fraud`: a rule or a model decides, and alerts are written.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::PathBuf;

use anyhow::Result;

use crate::args::Output;
use crate::cards::{Features, Transaction};
use crate::lines::Key;
use crate::model::Model;

const THRESHOLD: f32 = 0.85;

/// Writes alerts, and adds up all features for the check of the output.
pub struct Alerts {
    out: BufWriter<File>,
    sums_path: PathBuf,
    model: Option<Model>,
    /// The transactions whose features wait in the model.
    waiting: Vec<(u64, Key)>,
    records: u64,
    alerts: u64,
    /// Sums of the features, and after them sums weighted by the transaction's number, which show features that were
    /// given to another transaction.
    sums: [f64; 16],
}

impl Alerts {
    /// Opens the output of a worker.
    ///
    /// # Errors
    /// When the file cannot be created.
    pub fn open(output: &Output, worker: usize, model: Option<Model>) -> Result<Self> {
        let (out, sums_path) = (output.create(worker)?, output.folder.join(format!("sums-{worker}.json")));
        let (waiting, sums) = (Vec::new(), [0.0; 16]);
        Ok(Self { out, sums_path, model, waiting, records: 0, alerts: 0, sums })
    }

    /// Decides about a transaction, at once or with those of its batch.
    ///
    /// # Errors
    /// When the model fails or the alert cannot be written.
    pub fn add(&mut self, transaction: &Transaction, features: &Features) -> Result<()> {
        let Transaction { id, card, .. } = *transaction;
        self.records += 1;
        let weight = (id % 101 + 1) as f64;
        for (at, value) in features.iter().enumerate() {
            self.sums[at] += value;
            self.sums[8 + at] += value * weight;
        }
        let Some(model) = &mut self.model else {
            let is_hit = features[1] >= 3.0 && features[7] > 3.0;
            return if is_hit { self.alert(id, card, features[7]) } else { Ok(()) };
        };
        model.push(features);
        self.waiting.push((id, card));
        if model.is_full() { self.flush() } else { Ok(()) }
    }

    fn alert(&mut self, id: u64, card: Key, score: f64) -> Result<()> {
        self.alerts += 1;
        let mut text = [0; 8];
        let card = card.text(&mut text);
        Ok(writeln!(self.out, "{{\"tx_id\":{id},\"card_id\":\"{card}\",\"score\":{score}}}")?)
    }

    fn flush(&mut self) -> Result<()> {
        let Some(model) = self.model.as_mut().filter(|_| !self.waiting.is_empty()) else { return Ok(()) };
        let scores = model.run()?;
        let waiting = std::mem::take(&mut self.waiting);
        for ((id, card), score) in waiting.iter().zip(scores) {
            if score > THRESHOLD {
                self.alert(*id, *card, f64::from(score))?;
            }
        }
        self.waiting = waiting;
        self.waiting.clear();
        Ok(())
    }

    /// Ends the output. Returns the number of transactions.
    ///
    /// # Errors
    /// When the model fails or the files cannot be written.
    pub fn finish(&mut self) -> Result<u64> {
        self.flush()?;
        self.out.flush()?;
        let sums = serde_json::json!({ "records": self.records, "alerts": self.alerts, "sums": self.sums });
        std::fs::write(&self.sums_path, sums.to_string())?;
        Ok(self.records)
    }
}
