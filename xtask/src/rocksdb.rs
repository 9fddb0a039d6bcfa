//! RocksDB, built once for this machine as a static library.
//!
//! The crate `librocksdb-sys` compiles RocksDB's 342 files one by one, and most of that time goes into the same headers
//! again and again. Here files of the same folders are compiled together, as RocksDB's own `make unity.a` does, from
//! the sources that Cargo has fetched: that takes a quarter of the processor time. `librocksdb-sys` links the library
//! where `ROCKSDB_LIB_DIR` points to it, so no change of a feature or profile compiles RocksDB again, either.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};

use crate::cache;
use crate::tools::{is_rocksdb_ours, packages, rocksdb_folder};

/// The version of `librocksdb-sys` whose `build.rs` the flags below are taken from.
const FLAGS_OF: &str = "0.19.0+11.8.1";
/// Number of files that the compiler gets. More files would be compiled faster side by side where there are more
/// cores, and take more processor time in all.
const UNITS: usize = 16;
/// Memory of one compiler, from `/usr/bin/time`: 1.2 GiB.
const BYTES_OF_A_COMPILER: u64 = 3 << 29;
const DEFINES: [&str; 11] = [
    "LZ4=1",
    "NDEBUG=1",
    "HAVE_ALIGNED_NEW",
    "HAVE_UINT128_EXTENSION",
    "OS_LINUX",
    "ROCKSDB_PLATFORM_POSIX",
    "ROCKSDB_LIB_IO_POSIX",
    "ROCKSDB_SCHED_GETCPU_PRESENT",
    "ROCKSDB_AUXV_GETAUXVAL_PRESENT",
    "ROCKSDB_FALLOCATE_PRESENT",
    "ROCKSDB_RANGESYNC_PRESENT",
];

/// Builds RocksDB unless it is there, and prints how another project uses it.
pub fn run() -> Result<()> {
    let Some(folder) = library()? else {
        bail!("RocksDB is only built ahead on Linux, and not where ROCKSDB_LIB_DIR names another library");
    };
    println!("A project of your own skips RocksDB's compilation with these lines in its .cargo/config.toml:");
    println!("{}", config(&folder));
    Ok(())
}

/// Builds RocksDB unless it is there, and has every cargo in this folder use it.
pub fn set_up() -> Result<()> {
    let Some(folder) = library()? else { return Ok(()) };
    // `.cargo/config.toml` includes this file if it is there.
    let (path, text) = (cache("cargo.toml"), config(&folder));
    if fs::read_to_string(&path).ok().as_deref() != Some(&text) {
        fs::create_dir_all(cache(""))?;
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

/// Returns the lines of a `.cargo/config.toml` that have Cargo link the library in `folder`.
pub fn config(folder: &Path) -> String {
    format!("[env]\n{}\n", variables(folder).join("\n"))
}

/// Returns the variables of the environment that have Cargo link the library in `folder`, as TOML.
pub fn variables(folder: &Path) -> [String; 2] {
    // A debug format of a string is a TOML string as well, for any path that is text.
    [format!("ROCKSDB_LIB_DIR = {:?}", folder.display().to_string()), "ROCKSDB_STATIC = \"1\"".to_owned()]
}

/// Returns the folder of the library, which is built if it is not there; `None` where cargo compiles RocksDB itself.
pub fn library() -> Result<Option<PathBuf>> {
    let Some(home) = rocksdb_folder() else { return Ok(None) };
    if !cfg!(target_os = "linux") || (std::env::var_os("ROCKSDB_LIB_DIR").is_some() && !is_rocksdb_ours()) {
        return Ok(None);
    }
    let sources = Sources::find()?;
    if sources.version != FLAGS_OF {
        println!(
            "setup: librocksdb-sys is {}, and the flags in xtask/src/rocksdb.rs are those of {FLAGS_OF}: cargo \
             compiles RocksDB by itself, which takes a quarter of an hour on two cores",
            sources.version
        );
        return Ok(None);
    }
    let folder = home.join(format!("{FLAGS_OF}-{}", std::env::consts::ARCH));
    if !folder.join("librocksdb.a").exists() {
        sources.build(&folder)?;
    }
    Ok(Some(folder))
}

/// The sources, as Cargo has fetched them.
struct Sources {
    version: String,
    /// The folder of `librocksdb-sys`, and that of LZ4's headers.
    rocksdb: PathBuf,
    lz4: PathBuf,
}

impl Sources {
    fn find() -> Result<Self> {
        let packages = packages(&["--locked"])?;
        let find = |name: &str| -> Result<(String, PathBuf)> {
            let package = packages.iter().find(|package| package["name"] == name);
            let package = package.with_context(|| format!("cargo metadata does not list {name}"))?;
            let manifest = Path::new(package["manifest_path"].as_str().context("a manifest has a path")?);
            let version = package["version"].as_str().context("a package has a version")?;
            Ok((version.to_owned(), manifest.parent().context("a manifest lies in a folder")?.to_owned()))
        };
        let ((version, rocksdb), (_, lz4)) = (find("librocksdb-sys")?, find("lz4-sys")?);
        Ok(Self { version, rocksdb, lz4: lz4.join("liblz4/lib") })
    }

    fn build(&self, folder: &Path) -> Result<()> {
        let begun = Instant::now();
        // Another build at the same time has another folder, and the one that ends last wins.
        let work = folder.with_extension(std::process::id().to_string());
        fs::create_dir_all(&work).with_context(|| format!("cannot create {}", work.display()))?;
        let result = self.compile(&work).and_then(|units| {
            let library = work.join("librocksdb.a");
            run_quietly(Command::new("ar").arg("crs").arg(&library).args(units.iter().map(|unit| unit.object(&work))))?;
            fs::create_dir_all(folder)?;
            fs::rename(&library, folder.join("librocksdb.a")).context("cannot move librocksdb.a into its place")
        });
        fs::remove_dir_all(&work)?;
        result?;
        println!("setup: RocksDB is in {} ({:.0} s)", folder.display(), begun.elapsed().as_secs_f64());
        Ok(())
    }

    /// Compiles all units, as many at a time as there are cores and memory for. Returns the units.
    fn compile(&self, work: &Path) -> Result<Vec<Unit>> {
        let units = self.units()?;
        let jobs = jobs();
        println!(
            "setup: compiling RocksDB in {} parts, {jobs} at a time: some 4 minutes on two idle cores",
            units.len()
        );
        let (total, begun) = (units.iter().map(|unit| unit.bytes).sum::<u64>(), Instant::now());
        let (next, done) = (AtomicUsize::new(0), Mutex::new((0, 0)));
        let lane = || -> Result<()> {
            while let Some(unit) = units.get(next.fetch_add(1, Ordering::Relaxed)) {
                self.compile_unit(unit, work).inspect_err(|_| next.store(units.len(), Ordering::Relaxed))?;
                let mut done = crate::lock(&done);
                *done = (done.0 + 1, done.1 + unit.bytes);
                let took = begun.elapsed().as_secs_f64();
                let left = took * (total - done.1) as f64 / done.1 as f64;
                println!(
                    "setup: RocksDB: {} of {} parts after {took:.0} s, about {left:.0} s left",
                    done.0,
                    units.len()
                );
            }
            Ok(())
        };
        std::thread::scope(|scope| {
            let lanes: Vec<_> = (0..jobs).map(|_| scope.spawn(lane)).collect();
            lanes
                .into_iter()
                .try_for_each(|lane| lane.join().unwrap_or_else(|_| bail!("a panic while RocksDB was built")))
        })?;
        Ok(units)
    }

    /// Returns the units, the largest first, so that no core is left with a large one at the end.
    fn units(&self) -> Result<Vec<Unit>> {
        let list = fs::read_to_string(self.rocksdb.join("rocksdb_lib_sources.txt"))?;
        // The crate has a generated one beside its own sources.
        let files = list.lines().map(str::trim).filter(|file| !file.is_empty() && *file != "util/build_version.cc");
        let files = files.map(|file| self.rocksdb.join("rocksdb").join(file));
        let files: Vec<PathBuf> = files.chain([self.rocksdb.join("build_version.cc")]).collect();
        let sizes = files.iter().map(|file| Ok(fs::metadata(file)?.len())).collect::<Result<Vec<_>>>()?;
        let target = sizes.iter().sum::<u64>() / UNITS as u64;
        let mut units = vec![Unit::default()];
        for (file, bytes) in files.iter().zip(sizes) {
            if units.last().is_some_and(|unit| unit.bytes >= target) {
                let number = units.len();
                units.push(Unit { number, ..Unit::default() });
            }
            if let Some(unit) = units.last_mut() {
                unit.bytes += bytes;
                unit.text += &format!("#include \"{}\"\n", file.display());
            }
        }
        units.sort_by_key(|unit| std::cmp::Reverse(unit.bytes));
        Ok(units)
    }

    fn compile_unit(&self, unit: &Unit, work: &Path) -> Result<()> {
        let source = work.join(format!("{}.cc", unit.number));
        fs::write(&source, &unit.text)?;
        let rocksdb = self.rocksdb.join("rocksdb");
        let mut compiler = Command::new(std::env::var_os("CXX").unwrap_or_else(|| "c++".into()));
        compiler.args(["-c", "-O3", "-ffunction-sections", "-fdata-sections", "-fPIC", "-w", "-std=c++20"]);
        compiler.args(["-include", "cstdint"]);
        for folder in [&rocksdb.join("include"), &rocksdb, &self.lz4, &self.rocksdb] {
            compiler.arg("-I").arg(folder);
        }
        compiler.args(DEFINES.map(|define| format!("-D{define}")));
        run_quietly(compiler.arg(&source).arg("-o").arg(unit.object(work)))
    }
}

/// Sources that are compiled as one.
#[derive(Default)]
struct Unit {
    number: usize,
    bytes: u64,
    text: String,
}

impl Unit {
    /// Returns the path of the unit's object file in the folder where it is compiled.
    fn object(&self, work: &Path) -> PathBuf {
        work.join(format!("{}.o", self.number))
    }
}

fn jobs() -> usize {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let memory = fs::read_to_string("/proc/meminfo").ok().and_then(|text| available_bytes(&text));
    memory.map_or(cores, |bytes| cores.min((bytes / BYTES_OF_A_COMPILER) as usize)).max(1)
}

/// Returns the available memory, from the text of `/proc/meminfo`.
fn available_bytes(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    Some(line.trim().strip_suffix(" kB")?.parse::<u64>().ok()? << 10)
}

/// Runs a command; its output is shown only if it fails.
fn run_quietly(command: &mut Command) -> Result<()> {
    let output = command.output().with_context(|| format!("cannot start {}", command.get_program().display()))?;
    ensure!(output.status.success(), "{command:?} failed:\n{}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{FLAGS_OF, Sources, available_bytes, config};
    use std::path::Path;

    #[test]
    fn the_flags_are_those_of_the_version_in_use() {
        // If this fails, compare DEFINES and the flags with the new version's build.rs.
        assert_eq!(Sources::find().unwrap().version, FLAGS_OF);
    }

    #[test]
    fn each_source_is_in_one_unit() {
        let units = Sources::find().unwrap().units().unwrap();
        let mut files: Vec<&str> = units.iter().flat_map(|unit| unit.text.lines()).collect();
        let all = files.len();
        files.sort_unstable();
        files.dedup();
        assert_eq!((files.len(), all), (all, 343));
        assert!(units.windows(2).all(|pair| pair[0].bytes >= pair[1].bytes));
    }

    #[test]
    fn memory_is_read_and_a_path_is_quoted() {
        assert_eq!(available_bytes("MemTotal: 3 kB\nMemAvailable:    2048 kB\n"), Some(2 << 20));
        assert_eq!(available_bytes(""), None);
        let text = config(Path::new("/a \"b\"/c"));
        assert_eq!(text.lines().nth(1), Some("ROCKSDB_LIB_DIR = \"/a \\\"b\\\"/c\""));
    }
}
