//! Sets up what the project needs on the machine besides Rust, a C compiler and Python.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use crate::debian::{install, works};
use crate::{browser, cache, check, kinesalite, postgres, prometheus, rocksdb, root};

/// The Python packages: ONNX Runtime, and NumPy, which is used with it in Python (for the reference scores of tests).
pub const PACKAGES: [&str; 2] = ["onnxruntime==1.31.1", "numpy==1.26.4"];
/// The Debian packages of libclang.
pub const CLANG: [&str; 3] = ["clang", "libclang-dev", "cmake"];
/// The Debian packages that librdkafka is built with.
pub const OPENSSL: [&str; 4] = ["libssl-dev", "zlib1g-dev", "pkg-config", "make"];

/// The Debian packages of the MQTT broker that tests start.
const MOSQUITTO: [&str; 2] = ["mosquitto", "mosquitto-clients"];

/// The Debian packages of the Redis server that tests start, and of the program that makes its certificate.
const REDIS: [&str; 2] = ["redis-server", "openssl"];

/// Sets up what programs are built with and run with.
pub fn run() -> Result<()> {
    clang()?;
    openssl()?;
    rocksdb::set_up()?;
    python()?;
    onnx_runtime()
}

/// Sets up all of that, and what only tests need. Whoever looks at the demo is not made to install a browser.
pub fn for_tests() -> Result<()> {
    run()?;
    prometheus::set_up()?;
    mosquitto()?;
    postgres::set_up()?;
    redis()?;
    kinesalite::set_up()?;
    browser::set_up()
}

/// Installs a C++ compiler and libclang if they are missing: RocksDB is compiled, and libclang generates its bindings.
fn clang() -> Result<()> {
    if std::env::var_os("CXX").is_none() && !works(Command::new("c++").arg("--version")) {
        println!("setup: there is no C++ compiler; installing one");
        install(&["g++"])?;
    }
    if has_libclang() {
        return Ok(());
    }
    println!("setup: libclang is not here; installing clang");
    install(&CLANG)
}

/// Installs make and OpenSSL if they are missing: librdkafka is built with make and uses OpenSSL for TLS.
fn openssl() -> Result<()> {
    if works(Command::new("pkg-config").args(["--exists", "openssl", "zlib"])) && works(Command::new("make").arg("-v"))
    {
        return Ok(());
    }
    println!("setup: make or OpenSSL's headers are not here; installing them");
    install(&OPENSSL)
}

/// Installs the MQTT broker and its clients if they are missing. Debian would start the broker as a service; tests start their
/// own.
pub fn mosquitto() -> Result<()> {
    if ["mosquitto", "mosquitto_pub", "mosquitto_sub"].into_iter().all(exists) {
        return Ok(());
    }
    println!("setup: mosquitto is not here; installing it");
    install(&MOSQUITTO)
}

/// Installs the Redis server if it is missing. Debian would start it as a service; tests start their own.
fn redis() -> Result<()> {
    if testkit::redis::is_here() && works(Command::new("openssl").arg("version")) {
        return Ok(());
    }
    println!("setup: redis-server is not here; installing it");
    install(&REDIS)
}

/// Returns whether a program is there: mosquitto's fail when they show their help.
fn exists(name: &str) -> bool {
    Command::new(testkit::mosquitto::program(name))
        .arg("-h")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok()
}

fn has_libclang() -> bool {
    if std::env::var_os("LIBCLANG_PATH").is_some() {
        return true;
    }
    let holds = |folder: &Path| {
        fs::read_dir(folder)
            .is_ok_and(|entries| entries.flatten().any(|entry| is_libclang(&entry.file_name().to_string_lossy())))
    };
    let llvm = fs::read_dir("/usr/lib").into_iter().flatten().flatten().map(|entry| entry.path().join("lib"));
    let plain = ["/usr/lib", "/usr/lib64", "/usr/local/lib", "/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu"];
    plain.iter().map(PathBuf::from).chain(llvm).any(|folder| holds(&folder))
}

/// Returns whether this is the file of libclang: `libclang.so`, `libclang-14.so.1`, …. `libclang-cpp.so.14` is another
/// library, which bindgen cannot use.
fn is_libclang(file: &str) -> bool {
    let rest = file.strip_prefix("libclang").unwrap_or_default();
    (rest.starts_with(".so") || rest.starts_with('-') && rest.contains(".so")) && !rest.starts_with("-cpp")
}

/// Returns the Python of the project's own virtual environment.
pub fn python() -> Result<PathBuf> {
    let python = cache("venv").join("bin/python");
    if !python.exists() {
        println!("setup: a virtual environment in .cache/venv");
        check(Command::new("python3").args(["-m", "venv"]).arg(cache("venv")))
            .context("Python 3 with its venv module is needed (Debian: python3-venv)")?;
    }
    Ok(python)
}

fn onnx_runtime() -> Result<()> {
    let library = cache("onnxruntime").join("libonnxruntime.so");
    let python = python()?;
    let importable = Command::new(&python).args(["-c", "import onnxruntime, numpy"]).stderr(Stdio::null()).status();
    if !importable.is_ok_and(|status| status.success()) {
        println!("setup: {}", PACKAGES.join(", "));
        check(Command::new(&python).args(["-m", "pip", "install", "--quiet"]).args(PACKAGES))?;
    }
    if !library.exists() {
        let answer = Command::new(&python)
            .args(["-c", "import onnxruntime, os; print(os.path.dirname(onnxruntime.__file__))"])
            .output()
            .context("cannot ask Python where ONNX Runtime is")?;
        let folder = PathBuf::from(String::from_utf8(answer.stdout)?.trim()).join("capi");
        let entries = fs::read_dir(&folder).with_context(|| format!("cannot list {}", folder.display()))?;
        let found = entries
            .flatten()
            .map(|entry| entry.path())
            .find(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("libonnxruntime.so")))
            .with_context(|| format!("no libonnxruntime.so in {}", folder.display()))?;
        fs::create_dir_all(cache("onnxruntime"))?;
        fs::copy(found, &library)?;
        println!("setup: {}", library.strip_prefix(root()).unwrap_or(&library).display());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::is_libclang;

    #[test]
    fn libclang_is_distinguished_from_files_with_similar_names() {
        assert!(
            ["libclang.so", "libclang.so.1", "libclang-14.so", "libclang-14.so.14.0.6"]
                .map(is_libclang)
                .iter()
                .all(|is| *is)
        );
        let others = ["libclang-cpp.so.14", "libclang-cpp.so", "libclangAST.a", "libclang_rt.asan.so", "libclc.so"];
        assert!(others.map(is_libclang).iter().all(|is| !*is));
    }
}
