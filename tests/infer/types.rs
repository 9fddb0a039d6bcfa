//! Inputs and outputs of the small number types: every bit is preserved.

use proptest::prelude::*;
use serde::{Deserialize, Serialize};
use tidemill::infer::{ElementType, InputRow, OutputRow, SessionSettings, TensorSpec, bf16, f16};
use tidemill::prelude::*;

use crate::fake::{args, settings};
use crate::onnx::file;

/// Two values of each type. 16-bit floats are given by their bits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Small {
    halves: [u16; 2],
    i8: [i8; 2],
    i16: [i16; 2],
    i32: [i32; 2],
    u8: [u8; 2],
    u16: [u16; 2],
    u32: [u32; 2],
    u64: [u64; 2],
}

const TYPES: [(ElementType, &str); 9] = [
    (ElementType::F16, "f16"),
    (ElementType::BF16, "bf16"),
    (ElementType::I8, "i8"),
    (ElementType::I16, "i16"),
    (ElementType::I32, "i32"),
    (ElementType::U8, "u8"),
    (ElementType::U16, "u16"),
    (ElementType::U32, "u32"),
    (ElementType::U64, "u64"),
];

fn encode(small: &Small, row: &mut InputRow<'_>) {
    row.f16(0, &small.halves.map(f16::from_bits));
    row.bf16(1, &small.halves.map(bf16::from_bits));
    row.i8(2, &small.i8);
    row.i16(3, &small.i16);
    row.i32(4, &small.i32);
    row.u8(5, &small.u8);
    row.u16(6, &small.u16);
    row.u32(7, &small.u32);
    row.u64(8, &small.u64);
}

fn decode(row: &OutputRow<'_>) -> Result<Small, String> {
    fn two<T: Copy>(values: &[T]) -> Result<[T; 2], String> {
        values.try_into().map_err(|_| "not two of them".to_owned())
    }
    let halves = two(row.f16(0))?.map(f16::to_bits);
    if two(row.bf16(1))?.map(bf16::to_bits) != halves {
        return Err("other bits".to_owned());
    }
    Ok(Small {
        halves,
        i8: two(row.i8(2))?,
        i16: two(row.i16(3))?,
        i32: two(row.i32(4))?,
        u8: two(row.u8(5))?,
        u16: two(row.u16(6))?,
        u32: two(row.u32(7))?,
        u64: two(row.u64(8))?,
    })
}

fn small() -> impl Strategy<Value = Small> {
    (any::<[u16; 2]>(), any::<[i8; 2]>(), any::<[i16; 2]>(), any::<[i32; 2]>(), any::<[u32; 2]>(), any::<[u64; 2]>())
        .prop_map(|(halves, i8, i16, i32, u32, u64)| {
            let (u8, u16) = (u32.map(|n| n as u8), u64.map(|n| n as u16));
            Small { halves, i8, i16, i32, u8, u16, u32, u64 }
        })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]
    #[test]
    fn small_types_go_in_and_come_out(rows in proptest::collection::vec(small(), 1..50), batch in 1..20_usize) {
        let _others_may_run = crate::ALONE.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        let specs = |suffix: &str| -> Vec<TensorSpec> {
            TYPES.map(|(element, name)| TensorSpec::fixed(format!("{name}{suffix}"), element, [2])).to_vec()
        };
        let model = Model::load_tensors(&file("types.onnx"), specs(""), specs("_out"), &SessionSettings::default()).unwrap();
        // All bit patterns of 16-bit floats must be preserved, including those of NaN.
        let settings = InferSettings { finite_scores: false, ..settings(batch, None) };
        let source = vec_source(rows.iter().enumerate().map(|(at, row)| (EventTime(at as i64), row.clone())).collect());
        let out = CollectSink::<Scored<Small, Small>>::default();
        let sink = out.clone();
        Job::new("types", args(1))
            .run(move |flow| {
                flow.source("rows", &source)?
                    .infer_tensors("same", &model, &settings, encode, decode, None)?
                    .sink("out", &sink)
            })
            .unwrap();
        let out = out.data();
        prop_assert_eq!(out.len(), rows.len());
        prop_assert!(out.iter().all(|scored| scored.record == scored.score));
    }
}

#[test]
fn a_program_of_another_type_is_refused_with_both_sides() {
    let mut inputs: Vec<TensorSpec> = TYPES.map(|(element, name)| TensorSpec::fixed(name, element, [2])).to_vec();
    inputs[4].element = ElementType::I64;
    let outputs = vec![TensorSpec::fixed("u8_out", ElementType::U8, [2])];
    let error = Model::load_tensors(&file("types.onnx"), inputs, outputs, &SessionSettings::default()).unwrap_err();
    let error = error.to_string();
    assert!(error.contains("\"i32\" i32 [n, 2]") && error.contains("\"i32\" i64 [n, 2]"), "{error}");
}
