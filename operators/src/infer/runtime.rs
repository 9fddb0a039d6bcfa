//! Where ONNX Runtime's library is looked for, and how it is loaded.

use std::env::consts::{DLL_PREFIX, DLL_SUFFIX};
use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use ort::environment::{Environment, EnvironmentBuilder};

use super::error::ModelError;
use super::onnx_log;

/// Returns ONNX Runtime, which is loaded once: it allows one environment per process.
pub(super) fn environment() -> Result<&'static Environment, ModelError> {
    static ENVIRONMENT: OnceLock<Result<Environment, String>> = OnceLock::new();
    let chosen = || std::env::var_os("ORT_DYLIB_PATH").filter(|path| !path.is_empty()).map(PathBuf::from);
    let program = || std::env::current_exe().ok();
    let loaded = ENVIRONMENT.get_or_init(|| load(&candidates(chosen(), program().as_deref())));
    loaded.as_ref().map_err(|tried| ModelError::NoRuntime { tried: tried.clone() })
}

/// Returns the paths at which the library is tried, in order: the one that the user chose, and no other; else the ones
/// beside the program, and the names that the system's loader looks up.
fn candidates(chosen: Option<PathBuf>, program: Option<&Path>) -> Vec<PathBuf> {
    if let Some(chosen) = chosen {
        return vec![chosen];
    }
    let file = format!("{DLL_PREFIX}onnxruntime{DLL_SUFFIX}");
    let folder = program.and_then(Path::parent);
    let beside = folder.into_iter().flat_map(|folder| [folder.join(&file), folder.join("lib").join(&file)]);
    // Debian's packages have the name without a version only in their development package.
    let names = [PathBuf::from(&file), PathBuf::from(format!("{file}.1"))];
    beside.filter(|path| path.exists()).chain(names).collect()
}

/// Loads the first library that can be loaded, or returns each path with the reason why it cannot.
fn load(candidates: &[PathBuf]) -> Result<Environment, String> {
    let mut tried = Vec::new();
    for path in candidates {
        let environment = ort::init_from(path).map_err(|error| reason(&error));
        let build = |builder: EnvironmentBuilder| builder.with_logger(onnx_log::logger()).build();
        match environment.and_then(|builder| build(builder).map_err(|error| error.to_string())) {
            Ok(environment) => {
                environment.set_log_level(onnx_log::level());
                return Ok(environment);
            }
            Err(reason) => tried.push(format!("\"{}\" ({reason})", path.display())),
        }
    }
    Err(tried.join(", "))
}

/// Returns why the library cannot be loaded. The error's own text leaves out what the system's loader said.
fn reason(error: &ort::LoadDynamicError) -> String {
    match error {
        ort::LoadDynamicError::Dlopen { error, .. } => error.source().unwrap_or(error).to_string(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use super::{candidates, load};

    #[test]
    fn a_chosen_library_is_the_only_one_that_is_tried() {
        assert_eq!(candidates(Some("/x/ort.so".into()), Some(Path::new("/bin/sh"))), [PathBuf::from("/x/ort.so")]);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn libraries_beside_the_program_come_before_those_of_the_system() {
        let folder = tempfile::tempdir().unwrap();
        let system = [PathBuf::from("libonnxruntime.so"), PathBuf::from("libonnxruntime.so.1")];
        let program = folder.path().join("program");
        assert_eq!(candidates(None, Some(&program)), system);
        assert_eq!(candidates(None, None), system);
        std::fs::create_dir(folder.path().join("lib")).unwrap();
        let beside = ["libonnxruntime.so", "lib/libonnxruntime.so"].map(|name| folder.path().join(name));
        beside.iter().for_each(|path| std::fs::write(path, "no library").unwrap());
        assert_eq!(candidates(None, Some(&program)), [&beside[..], &system[..]].concat());
    }

    #[test]
    fn the_error_has_each_path_with_its_reason() {
        let folder = tempfile::tempdir().unwrap();
        let (broken, absent) = (folder.path().join("broken.so"), folder.path().join("absent.so"));
        std::fs::write(&broken, "no library").unwrap();
        let tried = load(&[broken.clone(), absent.clone()]).err().unwrap();
        assert!(tried.contains(&format!("\"{}\" (", broken.display())), "{tried}");
        assert!(tried.contains(&format!("\"{}\" (", absent.display())), "{tried}");
        assert!(tried.contains("too short") && tried.contains("cannot open"), "{tried}");
    }
}
