//! The code that the tests of servers share: running servers, batches of rows, and the scores expected for these.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tempfile::TempDir;
use tidemill::features;
use tidemill::infer::server::ServerSettings;
use tidemill::infer::{Backend, ElementType, Elements, Model, ModelSource, Tensor, TensorSpec};

use testkit::model_server::{Kind, ModelServer};
use testkit::project;

features! {
    /// The features of the example `content_recommendation`.
    pub struct RankFeatures { affinity, recent_affinity, recent_clicks, popularity, age_hours, time_of_day }
}

/// Number of features.
pub const WIDTH: usize = 6;

pub fn model_file() -> PathBuf {
    project().join("models/content_recommendation.onnx")
}

/// A running server and its folder.
pub struct Running<S = ModelServer> {
    pub server: S,
    // Tests that start servers run one at a time, because machines may have only two cores.
    _alone: MutexGuard<'static, ()>,
    _folder: TempDir,
}

/// Starts a model server. Where none is installed, returns `None` after a message, and fails in CI.
pub fn server(kind: Kind) -> Option<Running> {
    started(kind.name(), |venvs, folder| ModelServer::start(kind, &project(), venvs, folder, &model_file()))
}

/// Starts a server, given the folder of virtual environments and one to write to. Where it is not installed, returns
/// `None` after a message, and fails in CI.
pub fn started<S>(name: &str, start: impl FnOnce(&Path, &Path) -> io::Result<S>) -> Option<Running<S>> {
    static ALONE: Mutex<()> = Mutex::new(());
    let Some(venvs) = std::env::var_os("TIDEMILL_SERVERS").map(PathBuf::from) else {
        assert!(std::env::var_os("CI").is_none(), "CI must have servers (TIDEMILL_SERVERS)");
        eprintln!("NOT RUN: {name} is not here; `cargo xtask test` and `cargo xtask soak` set servers up");
        return None;
    };
    if !venvs.join(name).join("installed.txt").exists() {
        assert!(std::env::var_os("CI").is_none(), "CI must have {name}");
        eprintln!("NOT RUN: {name} could not be set up");
        return None;
    }
    let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = tempfile::tempdir().unwrap();
    let server = start(&venvs, folder.path()).unwrap_or_else(|error| panic!("{error}"));
    Some(Running { server, _alone: alone, _folder: folder })
}

/// Returns settings with long deadlines, since these tests compare results on a machine that may be busy.
pub fn patient() -> ServerSettings {
    ServerSettings { deadline: Duration::from_secs(20), ..ServerSettings::default() }
}

pub fn features_spec(width: usize) -> TensorSpec {
    TensorSpec::fixed("features", ElementType::F32, [width])
}

pub fn probabilities() -> TensorSpec {
    TensorSpec::fixed("probabilities", ElementType::F32, [2])
}

/// Returns random rows with features in the ranges of the example.
pub fn rows(count: usize, seed: u64) -> Vec<f32> {
    let mut chance = ChaCha8Rng::seed_from_u64(seed);
    let ranges = [-1.0..1.0, -1.0..1.0, 0.0..9.0, -3.0..3.0, 0.0..48.0, -1.0..1.0_f32];
    (0..count * WIDTH).map(|at| chance.random_range(ranges[at % WIDTH].clone())).collect()
}

pub fn tensor(rows: &[f32]) -> Tensor {
    Tensor { shape: vec![WIDTH], elements: Elements::F32(rows.to_vec()) }
}

/// Returns the probability of a click for each row, computed by ONNX Runtime in this process.
pub fn expected(rows: &[f32]) -> Vec<f32> {
    let model = Model::load::<RankFeatures>(&model_file(), "probabilities", 1).unwrap();
    let mut backend = model.open().unwrap();
    score(&mut *backend, rows, model.outputs()).unwrap()
}

/// Returns the scores of a backend that takes features and returns probabilities.
pub fn score(
    backend: &mut dyn Backend,
    rows: &[f32],
    outputs: &[TensorSpec],
) -> Result<Vec<f32>, tidemill::infer::RunError> {
    let mut found: Vec<Tensor> = outputs.iter().map(Tensor::empty).collect();
    backend.run(rows.len() / WIDTH, &[tensor(rows)], &mut found)?;
    Ok(column(&found[0], 1))
}

pub fn column(tensor: &Tensor, column: usize) -> Vec<f32> {
    let Elements::F32(values) = &tensor.elements else { panic!("{tensor:?}") };
    values.iter().skip(column).step_by(tensor.row_len().max(1)).copied().collect()
}

/// Asserts that the scores agree within the tolerance.
pub fn same(found: &[f32], expected: &[f32], tolerance: f32, where_: &str) {
    assert_eq!(found.len(), expected.len(), "{where_}");
    for (row, (found, expected)) in found.iter().zip(expected).enumerate() {
        assert!((found - expected).abs() <= tolerance, "{where_}: row {row} is {found}, and {expected} here");
    }
}
