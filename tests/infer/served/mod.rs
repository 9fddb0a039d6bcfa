//! Servers that answer NaN or infinity for some records of a batch, over all four protocols: only these records are
//! affected.

mod grpc;
mod rest;
mod traced;

use std::sync::OnceLock;
use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Value, json};
use tidemill::infer::server::{Circuit, ServedModel, ServerCounts, ServerSettings};
use tidemill::infer::{ElementType, InputRow, OutputRow, TensorSpec};
use tidemill::prelude::*;

use crate::fake::{Act, run, settings, threads};
use crate::finite::{counts_are_right, good_and_bad, items};

/// Returns the score of a row `[id, act]`. Writing it exactly takes all digits of an f32.
pub fn score(row: &[f32]) -> f32 {
    Act::score(row[1], row[0] * 1.1 + 0.1)
}

/// Returns the addresses of servers that run as long as the tests do. The REST servers write scores that are not
/// finite in different ways.
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
        prop_assert_eq!(ran.ids(ScoreOrigin::Model), good, "{}", url);
        let lost = if with_default { ran.ids(ScoreOrigin::Default) } else { ran.dead_ids() };
        prop_assert_eq!(&lost, &bad);
        for scored in ran.scored.iter().filter(|scored| scored.origin == ScoreOrigin::Model) {
            let wish = &scored.record.wish;
            prop_assert_eq!(scored.score.to_bits(), score(&[wish.id as f32, wish.act as f32]).to_bits());
        }
        counts_are_right(&ran, &items, bad.len());
        prop_assert_eq!(model.circuit(), Circuit::Closed);
        let batches = ran.count("batches");
        prop_assert_eq!(model.counts(), ServerCounts { batches, calls: batches, ..ServerCounts::default() });
    }
}

/// Keeps a bug that the property above found: if the only score of a batch is written as nothing, the list is empty,
/// and that was taken for the answer of a failing server.
#[test]
fn a_nan_that_is_alone_in_its_batch_costs_itself_on_every_server() {
    let acts =
        [Act::NotANumber, Act::Score, Act::Infinite, Act::NotANumber, Act::Below, Act::NotANumber, Act::NotANumber];
    let acts = acts.into_iter().chain([Act::NotANumber, Act::NotANumber, Act::Score]);
    let items: Vec<_> = (0..).zip(acts).map(|(id, act)| crate::fake::item(id, act)).collect();
    for url in servers() {
        let model = connect(url);
        let ran = run(items.clone(), 1, &model, &settings(1, threads(1, true)));
        assert_eq!((ran.ids(ScoreOrigin::Model), ran.dead_ids().len()), (vec![1, 9], 8), "{url}: {:?}", ran.dead);
        counts_are_right(&ran, &items, 8);
        assert_eq!(model.circuit(), Circuit::Closed, "{url}");
    }
}

#[test]
fn a_served_model_that_takes_four_rows_is_given_four() {
    let port = rest::serve(|path, body| rest::oip(path, body, rest::WRITTEN[0], 4));
    let model = connect(&format!("oip+http://127.0.0.1:{port}/m"));
    let items: Vec<_> = (0..50).map(|id| crate::fake::item(id, Act::Score)).collect();
    let ran = run(items, 1, &model, &settings(7, threads(1, true)));
    assert_eq!(ran.ids(ScoreOrigin::Model), (0..50).collect::<Vec<u64>>(), "{:?}", ran.dead);
    assert!(ran.scored.iter().all(|scored| scored.score == score(&[scored.record.id as f32, 0.0])));
}

#[test]
fn small_types_go_to_a_server_and_come_back() {
    let port = rest::serve(|path, body| {
        if path.ends_with("/ready") {
            return Some(String::new());
        }
        let tensor = |name: &str, datatype: &str| json!({ "name": name, "datatype": datatype, "shape": [-1] });
        if !path.ends_with("/infer") {
            let (inputs, outputs) = ([tensor("x", "INT32")], [tensor("half", "FP16"), tensor("code", "UINT8")]);
            return Some(json!({ "name": "m", "versions": ["1"], "inputs": inputs, "outputs": outputs }).to_string());
        }
        let request: Value = serde_json::from_slice(body).unwrap();
        let input = &request["inputs"][0];
        assert_eq!(input["datatype"], "INT32");
        let numbers: Vec<i64> = input["data"].as_array().unwrap().iter().map(|n| n.as_i64().unwrap()).collect();
        let of = |name: &str, datatype: &str, data: Vec<Value>| json!({ "name": name, "datatype": datatype, "shape": [data.len()], "data": data });
        // 70000 is beyond a 16-bit float, and the code of 7 is not known.
        let halves = numbers.iter().map(|n| json!(if *n == 5 { 70_000.0 } else { *n as f64 / 2.0 })).collect();
        let codes = numbers.iter().map(|n| if *n == 7 { Value::Null } else { json!(n % 3) }).collect();
        Some(json!({ "outputs": [of("half", "FP16", halves), of("code", "UINT8", codes)] }).to_string())
    });
    let spec = |name: &str, element| TensorSpec::fixed(name, element, []);
    let url = format!("oip+http://127.0.0.1:{port}/m");
    let settings = ServerSettings { deadline: Duration::from_secs(20), ..ServerSettings::default() };
    let connect = |input, half, code| {
        ServedModel::connect(&url, [spec("x", input)], [spec("half", half), spec("code", code)], &settings)
    };
    // An output may be declared with its own type or with one that can represent all its values, and an input only with
    // its own type.
    assert!(connect(ElementType::I64, ElementType::F16, ElementType::U8).is_err());
    assert!(connect(ElementType::I32, ElementType::F16, ElementType::I8).is_err());
    assert!(connect(ElementType::I32, ElementType::F32, ElementType::I64).is_ok());
    let model = connect(ElementType::I32, ElementType::F16, ElementType::U8).unwrap();
    let _others_may_run = crate::ALONE.read().unwrap_or_else(std::sync::PoisonError::into_inner);
    let source = vec_source((0..20).map(|n| (EventTime(n), n)).collect());
    let (out, dead) = (CollectSink::<Scored<i64, (f32, u8)>>::default(), CollectSink::<DeadLetter>::default());
    let (out_sink, dead_sink, served) = (out.clone(), dead.clone(), model.clone());
    Job::new("small", crate::fake::args(1))
        .run(move |flow| {
            let encode = |n: &i64, row: &mut InputRow<'_>| row.i32(0, &[*n as i32]);
            let decode = |row: &OutputRow<'_>| match (row.f16(0), row.u8(1)) {
                ([half], [code]) => Ok((half.to_f32(), *code)),
                _ => Err("not one of each".to_owned()),
            };
            flow.source("numbers", &source)?
                .infer_tensors("small", &served, &crate::fake::settings(20, None), encode, decode, None)?
                .sink("out", &out_sink)?;
            flow.dead_letters().sink("dead", &dead_sink)
        })
        .unwrap();
    let mut found: Vec<_> = out.data().into_iter().map(|scored| (scored.record, scored.score)).collect();
    found.sort_by_key(|(n, _)| *n);
    let good = (0..20).filter(|n| ![5, 7].contains(n)).map(|n| (n, (n as f32 / 2.0, (n % 3) as u8)));
    assert_eq!(found, good.collect::<Vec<_>>());
    let mut reasons: Vec<String> = dead.data().into_iter().map(|letter| letter.reason).collect();
    reasons.sort();
    assert_eq!(
        reasons,
        ["the answer's \"code\" has a null or a NaN, which no u8 is", "the model gave inf in \"half\""]
    );
    assert_eq!(model.circuit(), Circuit::Closed);
}
