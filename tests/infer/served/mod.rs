//! Servers that answer NaN and infinity for some records of a batch, over all four protocols: each costs itself.

mod grpc;
mod rest;

use std::sync::OnceLock;
use std::time::Duration;

use proptest::prelude::*;
use tidemill::operators::infer::server::{Circuit, ServedModel, ServerCounts, ServerSettings};
use tidemill::operators::infer::{ElementType, TensorSpec};
use tidemill::prelude::*;

use crate::fake::{Act, run, settings, threads};
use crate::finite::{counts_are_right, good_and_bad, items};

/// The score of a row of `[id, act]`; it needs all digits of an f32.
pub fn score(row: &[f32]) -> f32 {
    Act::score(row[1], row[0] * 1.1 + 0.1)
}

/// The addresses of servers that run as long as the tests do. Those of REST write what is no number in many ways.
fn servers() -> &'static [String] {
    static SERVERS: OnceLock<Vec<String>> = OnceLock::new();
    SERVERS.get_or_init(|| {
        let of = |scheme: &str, port: u16| format!("{scheme}://127.0.0.1:{port}/m");
        let mut all = vec![of("oip+grpc", grpc::serve(grpc::oip)), of("tfs+grpc", grpc::serve(grpc::tfs))];
        for written in rest::WRITTEN {
            all.push(of("oip+http", rest::serve(move |path, body| rest::oip(path, body, written, -1))));
            all.push(of("tfs+http", rest::serve(move |path, body| rest::tfs(path, body, written))));
        }
        all
    })
}

fn connect(url: &str) -> ServedModel {
    let settings = ServerSettings { deadline: Duration::from_secs(20), ..ServerSettings::default() };
    let wish = TensorSpec::fixed("wish", ElementType::F32, [2]);
    ServedModel::connect(url, [wish], [TensorSpec::fixed("score", ElementType::F32, [])], &settings).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]
    #[test]
    fn a_served_nan_costs_its_record_and_the_circuit_stays_closed(
        items in items(200),
        batch in 1..80_usize,
        count in 1..3_usize,
        with_default in any::<bool>(),
        which in any::<prop::sample::Index>(),
    ) {
        let url = which.get(servers());
        let model = connect(url);
        let default_score = with_default.then_some(-1.0);
        let ran = run(items.clone(), 1, &model, &InferSettings { default_score, ..settings(batch, threads(count, true)) });
        let (good, bad) = good_and_bad(&items);
        prop_assert_eq!(ran.ids(Source::Model), good, "{}", url);
        let lost = if with_default { ran.ids(Source::Default) } else { ran.dead_ids() };
        prop_assert_eq!(&lost, &bad);
        for scored in ran.scored.iter().filter(|scored| scored.source == Source::Model) {
            let wish = &scored.record.wish;
            prop_assert_eq!(scored.score.to_bits(), score(&[wish.id as f32, wish.act as f32]).to_bits());
        }
        counts_are_right(&ran, &items, bad.len());
        prop_assert_eq!(model.circuit(), Circuit::Closed);
        let batches = ran.count("batches");
        prop_assert_eq!(model.counts(), ServerCounts { batches, calls: batches, ..ServerCounts::default() });
    }
}

#[test]
fn a_served_model_that_takes_four_rows_is_given_four() {
    let port = rest::serve(|path, body| rest::oip(path, body, rest::WRITTEN[0], 4));
    let model = connect(&format!("oip+http://127.0.0.1:{port}/m"));
    let items: Vec<_> = (0..50).map(|id| crate::fake::item(id, Act::Score)).collect();
    let ran = run(items, 1, &model, &settings(7, threads(1, true)));
    assert_eq!(ran.ids(Source::Model), (0..50).collect::<Vec<u64>>(), "{:?}", ran.dead);
    assert!(ran.scored.iter().all(|scored| scored.score == score(&[scored.record.id as f32, 0.0])));
}
