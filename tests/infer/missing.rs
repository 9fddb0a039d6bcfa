//! Features that are missing: absent, null or NaN. Also checks that the output of a job reads back as its input.

use std::path::Path;

use serde::{Deserialize, Serialize};
use tidemill::prelude::*;

use crate::fake::{args, settings};
use crate::onnx::file;

features! {
    /// The features of a model that was trained with missing values.
    pub struct Seen { a or NaN, b }
}

features! {
    /// The features of a model that was trained without missing values.
    pub struct Given { a or 1.0, b }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Event<F> {
    id: u64,
    ts: i64,
    features: F,
}

/// Scores the lines of a file. Returns the ids with their scores, and the dead letters.
fn score<F>(path: &Path, out: &Path) -> (Vec<(u64, f32)>, Vec<DeadLetter>)
where
    F: Features + Clone + std::fmt::Debug + PartialEq + Serialize + for<'de> Deserialize<'de> + Send + Sync + 'static,
{
    let _others_may_run = crate::ALONE.read().unwrap_or_else(std::sync::PoisonError::into_inner);
    let source = FileSource::new([path], |event: &Event<F>| EventTime(event.ts));
    let model = Model::load::<F>(&file("tree.onnx"), "score", 0).unwrap();
    let (scored, dead) = (CollectSink::<Scored<Event<F>>>::default(), CollectSink::<DeadLetter>::default());
    let (scored_sink, dead_sink, out) = (scored.clone(), dead.clone(), out.to_owned());
    let job = JobArgs {
        settings: JobSettings { checkpoint_dir: Some(out.join("checkpoints")), ..args(1).settings },
        ..args(1)
    };
    Job::new("missing", job)
        .run(move |flow| {
            let scored =
                flow.source("events", &source)?
                    .infer("score", &model, &settings(64, None), |event: &Event<F>| &event.features)?;
            scored.clone().map(|scored| scored.record).sink("out", &FileSink::json_lines(out.join("out")))?;
            scored.sink("scored", &scored_sink)?;
            flow.dead_letters().sink("dead", &dead_sink)
        })
        .unwrap();
    let mut scored: Vec<_> = scored.data().into_iter().map(|s| (s.record.id, s.score)).collect();
    scored.sort_by_key(|(id, _)| *id);
    (scored, dead.data())
}

/// Returns the file that the job wrote.
fn written(out: &Path) -> std::path::PathBuf {
    let parts = std::fs::read_dir(out.join("out")).unwrap().map(|part| part.unwrap().path());
    let mut parts: Vec<_> = parts.filter(|path| path.to_string_lossy().contains("part-")).collect();
    assert_eq!(parts.len(), 1, "{parts:?}");
    parts.remove(0)
}

const LINES: &str = r#"{"id":0,"ts":0,"features":{"a":null,"b":0.1}}
{"id":1,"ts":1,"features":{"b":0.1}}
{"id":2,"ts":2,"features":{"a":0,"b":0.1}}
{"id":3,"ts":3,"features":{"a":1,"b":null}}
{"id":4,"ts":4,"features":{"a":1}}
{"id":5,"ts":5,"features":{"a":"Infinity","b":1e300}}
{"id":6,"ts":6,"features":{"a":"-Infinity","b":1}}
"#;

#[test]
fn missing_values_are_replaced_as_declared_and_read_back_from_the_output() {
    let folder = tempfile::tempdir().unwrap();
    let first = folder.path().join("events.jsonl");
    std::fs::write(&first, LINES).unwrap();
    // A missing `a` takes the branch x0 < 0.5, as the tree was trained; no node of the tree reads `b`.
    let seen = vec![(0, 0.25), (1, 0.25), (2, 0.25), (3, 0.75), (6, 0.25)];
    let given = vec![(0, 0.75), (1, 0.75), (2, 0.25), (3, 0.75), (6, 0.25)];
    for (which, wanted) in [seen, given].into_iter().enumerate() {
        let run = |path: &Path, out: &Path| match which {
            0 => score::<Seen>(path, out),
            _ => score::<Given>(path, out),
        };
        let out = folder.path().join(format!("first-{which}"));
        let (scored, dead) = run(&first, &out);
        assert_eq!(scored, wanted);
        // One line has no `b`, and one has a `b` that is out of the range of an f32.
        let reasons: Vec<&str> = dead.iter().map(|letter| letter.reason.as_str()).collect();
        assert_eq!(reasons.len(), 2, "{reasons:?}");
        assert!(reasons.iter().any(|reason| reason.contains("missing field `b`")), "{reasons:?}");
        assert!(reasons.iter().any(|reason| reason.contains("feature b is 1e300")), "{reasons:?}");
        // The output of the job is read as its input.
        assert_eq!(run(&written(&out), &folder.path().join(format!("again-{which}"))), (wanted, vec![]));
    }
}

/// The cells are read with `csv`, as the file source reads them.
#[test]
fn an_empty_cell_is_missing_if_the_feature_may_be() {
    let read =
        |text: &str| csv::Reader::from_reader(text.as_bytes()).into_deserialize().collect::<Vec<Result<Seen, _>>>();
    let rows = read("a,b\n,0.1\n1,2\n NaN ,3\n-inf, 4\n5,\n");
    let rows: Vec<Option<Seen>> = rows.into_iter().map(Result::ok).collect();
    let [Some(none), Some(there), Some(nan), Some(below), None] = rows[..] else { panic!("{rows:?}") };
    assert_eq!((none, there), (Seen { a: None, b: 0.1 }, Seen { a: Some(1.0), b: 2.0 }));
    assert!(nan.a.is_some_and(f64::is_nan) && below == Seen { a: Some(f64::NEG_INFINITY), b: 4.0 });
    // The whole column `a` is missing.
    assert_eq!(read("b\n7\n")[0].as_ref().ok(), Some(&Seen { a: None, b: 7.0 }));
    assert!(read("a\n7\n")[0].is_err());
}
