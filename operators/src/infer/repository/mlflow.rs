//! MLflow's model registry: a version is resolved by its REST API and fetched once, into a folder in the layout of a model
//! repository. From there it passes the same gates as any other.
//!
//! ```text
//! fraud@champion ─▶ /registered-models/alias ─▶ version 3, READY ─▶ /model-versions/get-download-uri ─▶ mlflow-artifacts:/…
//!   ─▶ list of files ─▶ model.onnx, golden.jsonl ─▶ SHA-256, compared with the version's tag ─▶ <cache>/fraud/3/, model.json last
//! ```

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use ureq::http::StatusCode;
use ureq::{Agent, Body};

use crate::infer::error::ModelError;
use crate::infer::file::hex;
use crate::infer::manifest::MANIFEST;
use crate::infer::wanted::{ModelRef, VersionChoice};

/// The variable of the environment with the token of the registry, as MLflow's own clients have it.
const TOKEN: &str = "MLFLOW_TRACKING_TOKEN";
/// The tag of a version with the SHA-256 of its model's file. The registry itself knows no hash.
const SHA256: &str = "sha256";
const MODEL: &str = "model.onnx";
/// What else is fetched if it is there.
const BESIDE: [&str; 3] = ["golden.jsonl", "features.json", "baseline.json"];
const CONNECT: Duration = Duration::from_secs(5);
/// Longest time for an answer that is no file, and for a file.
const ANSWER: Duration = Duration::from_secs(30);
const FETCH: Duration = Duration::from_secs(600);
/// Largest answer that is no file.
const MAX_ANSWER: u64 = 16 << 20;
/// Number of versions that a list has at most.
const VERSIONS: u32 = 1000;

/// A registry, and the folder that versions are fetched into.
#[derive(Clone, Debug)]
pub(super) struct Registry {
    base: String,
    /// The same without a password, to be shown.
    shown: String,
    cache: PathBuf,
    agent: Agent,
}

#[derive(Deserialize)]
struct One {
    model_version: Version,
}

#[derive(Deserialize)]
struct Many {
    #[serde(default)]
    model_versions: Vec<Version>,
}

#[derive(Clone, Debug, Deserialize)]
struct Version {
    name: String,
    version: String,
    status: String,
    #[serde(default)]
    tags: Vec<Tag>,
}

#[derive(Clone, Debug, Deserialize)]
struct Tag {
    key: String,
    value: String,
}

#[derive(Deserialize)]
struct Place {
    artifact_uri: String,
}

#[derive(Deserialize)]
struct Listed {
    #[serde(default)]
    files: Vec<Listing>,
}

#[derive(Deserialize)]
struct Listing {
    path: String,
    is_dir: bool,
    file_size: Option<u64>,
}

impl Registry {
    pub(super) fn new(url: &str, cache: PathBuf) -> Self {
        let config = Agent::config_builder().http_status_as_error(false).timeout_connect(Some(CONNECT)).build();
        let base = url.trim_end_matches('/').to_owned();
        let shown = match (base.split_once("://"), base.rsplit_once('@')) {
            (Some((scheme, _)), Some((_, host))) => format!("{scheme}://{host}"),
            _ => base.clone(),
        };
        Self { base, shown, cache, agent: config.into() }
    }

    /// Returns the folder that versions are fetched into.
    pub(super) fn cache(&self) -> &Path {
        &self.cache
    }

    /// Finds out which version is meant, and fetches it unless it was fetched before.
    pub(super) fn fetch(&self, wanted: &ModelRef) -> Result<u64, ModelError> {
        if let VersionChoice::Number(number) = wanted.version
            && self.folder(&wanted.name, number.get()).join(MANIFEST).exists()
        {
            // A number means the same for ever, so a start needs no registry for it.
            return Ok(number.get());
        }
        let found = self.resolve(wanted)?;
        let fails = |reason: String| self.unusable(wanted, reason);
        let number: u64 = found.version.parse().ok().filter(|number| *number > 0).ok_or_else(|| {
            fails(format!(
                "the registry says that its version is \"{}\", which is no whole number from 1",
                found.version
            ))
        })?;
        if found.name != wanted.name {
            return Err(fails(format!("the registry answers with a version of \"{}\"", found.name)));
        }
        if found.status != "READY" {
            return Err(fails(format!("its version {number} is {}, and not READY", found.status)));
        }
        let stated = found.tags.iter().find(|tag| tag.key == SHA256).map(|tag| tag.value.to_ascii_lowercase());
        let folder = self.folder(&wanted.name, number);
        if folder.join(MANIFEST).exists() {
            return self.compare(wanted, &folder, number, stated.as_deref()).map(|()| number);
        }
        self.download(wanted, &folder, number, stated.as_deref())?;
        Ok(number)
    }

    /// Returns the versions that are READY, in ascending order.
    pub(super) fn versions(&self, model: &str) -> Result<Vec<u64>, ModelError> {
        let wanted = ModelRef { name: model.to_owned(), version: VersionChoice::Latest };
        let found = self.search(&wanted)?;
        let mut versions: Vec<u64> = found.iter().filter_map(|version| version.version.parse().ok()).collect();
        versions.sort_unstable();
        Ok(versions)
    }

    fn folder(&self, name: &str, number: u64) -> PathBuf {
        self.cache.join(name).join(number.to_string())
    }

    fn resolve(&self, wanted: &ModelRef) -> Result<Version, ModelError> {
        let name = query(&wanted.name);
        match &wanted.version {
            VersionChoice::Alias(alias) => {
                let path = format!("api/2.0/mlflow/registered-models/alias?name={name}&alias={}", query(alias));
                self.get::<One>(wanted, &path).map(|one| one.model_version)
            }
            VersionChoice::Number(number) => {
                let path = format!("api/2.0/mlflow/model-versions/get?name={name}&version={number}");
                self.get::<One>(wanted, &path).map(|one| one.model_version)
            }
            VersionChoice::Latest => {
                let number = |version: &Version| version.version.parse::<u64>().unwrap_or(0);
                let latest = self.search(wanted)?.into_iter().max_by_key(number);
                latest
                    .ok_or_else(|| self.unusable(wanted, "the registry has no version of it that is READY".to_owned()))
            }
        }
    }

    fn search(&self, wanted: &ModelRef) -> Result<Vec<Version>, ModelError> {
        // A filter has no escapes: a name ends at the next quote of the kind that it began with.
        let Some(quote) = ['\'', '"'].into_iter().find(|quote| !wanted.name.contains(*quote)) else {
            return Err(self.unusable(
                wanted,
                "its name has both kinds of quotes, so the registry cannot be asked for its versions: ask for one, by its \
                 number or an alias"
                    .to_owned(),
            ));
        };
        let filter = query(&format!("name={quote}{}{quote}", wanted.name));
        let path = format!("api/2.0/mlflow/model-versions/search?filter={filter}&max_results={VERSIONS}");
        let found = self.get::<Many>(wanted, &path)?.model_versions;
        Ok(found.into_iter().filter(|version| version.status == "READY").collect())
    }

    /// Compares a version that was fetched before with what the registry says of it now.
    fn compare(&self, wanted: &ModelRef, folder: &Path, number: u64, stated: Option<&str>) -> Result<(), ModelError> {
        let path = folder.join(MANIFEST);
        let bytes = fs::read(&path).map_err(|source| ModelError::Read { path: path.clone(), source })?;
        let about: Value = serde_json::from_slice(&bytes).unwrap_or_default();
        match (stated, about[SHA256].as_str()) {
            (Some(stated), Some(fetched)) if !stated.eq_ignore_ascii_case(fetched) => Err(self.unusable(
                wanted,
                format!(
                    "its version {number} has the tag {SHA256}={stated}, and what was fetched into \"{}\" has {fetched}: the tag \
                     was changed, or another file was registered under the same number",
                    folder.display()
                ),
            )),
            _ => Ok(()),
        }
    }

    fn download(&self, wanted: &ModelRef, folder: &Path, number: u64, stated: Option<&str>) -> Result<(), ModelError> {
        let fails = |reason: String| self.unusable(wanted, reason);
        let name = query(&wanted.name);
        let path = format!("api/2.0/mlflow/model-versions/get-download-uri?name={name}&version={number}");
        let Place { artifact_uri } = self.get(wanted, &path)?;
        // The server may name itself: mlflow-artifacts://host:port/1/models/…
        let place = artifact_uri.strip_prefix("mlflow-artifacts:").map(|rest| match rest.strip_prefix("//") {
            Some(rest) => rest.split_once('/').map_or("", |(_, path)| path),
            None => rest.trim_start_matches('/'),
        });
        let Some(place) = place else {
            return Err(fails(format!(
                "its files are at \"{artifact_uri}\", which the registry does not serve itself: start it with --serve-artifacts"
            )));
        };
        let path = format!("api/2.0/mlflow-artifacts/artifacts?path={}", query(place));
        let Listed { files } = self.get(wanted, &path)?;
        let files: Vec<(&str, Option<u64>)> =
            files.iter().filter(|file| !file.is_dir).map(|file| (last(&file.path), file.file_size)).collect();
        let onnx: Vec<_> = files.iter().filter(|(file, _)| is_onnx(file)).collect();
        let model =
            files.iter().find(|(file, _)| *file == MODEL).or(if let [only] = onnx[..] { Some(only) } else { None });
        let Some((model, size)) = model else {
            let names: Vec<&str> = files.iter().map(|(file, _)| *file).collect();
            return Err(fails(format!("its version {number} has no {MODEL}; it has: {}", names.join(", "))));
        };
        let write = |source| ModelError::Read { path: folder.to_owned(), source };
        // Files of an attempt that did not come to its end are overwritten.
        fs::create_dir_all(folder).map_err(write)?;
        let sha256 = self.file(wanted, place, model, *size, &folder.join(MODEL))?;
        if let Some(stated) = stated.filter(|stated| *stated != sha256) {
            return Err(fails(format!(
                "the SHA-256 of its {model} is {sha256}, and its version {number} has the tag {SHA256}={stated}: it was changed \
                 after it was registered"
            )));
        }
        for (beside, size) in files.iter().filter(|(file, _)| BESIDE.contains(file)) {
            self.file(wanted, place, beside, *size, &folder.join(beside))?;
        }
        let about = json!({ "name": wanted.name, "version": number, SHA256: sha256, "source": artifact_uri, "registry": self.shown });
        let part = unique(&folder.join(MANIFEST));
        fs::write(&part, format!("{about:#}\n")).map_err(write)?;
        fs::rename(&part, folder.join(MANIFEST)).map_err(write)?;
        tracing::info!(model = %wanted, version = number, registry = self.shown, sha256, "a version was fetched");
        Ok(())
    }

    /// Fetches a file, and returns its SHA-256. It has its name only once it is complete.
    fn file(
        &self,
        wanted: &ModelRef,
        place: &str,
        name: &str,
        size: Option<u64>,
        to: &Path,
    ) -> Result<String, ModelError> {
        let url = format!("{}/api/2.0/mlflow-artifacts/artifacts/{}/{}", self.base, path(place), path(name));
        let mut answer = self.ask(wanted, &url, FETCH)?;
        let part = unique(to);
        let write = |source| ModelError::Read { path: part.clone(), source };
        let mut file = File::create(&part).map_err(write)?;
        let mut hashing = Hashing { file: &mut file, hash: Sha256::new() };
        let from = &mut answer.body_mut().with_config().limit(u64::MAX).reader();
        let copied = io::copy(from, &mut hashing);
        let hash = hashing.hash.finalize();
        let copied = copied.map_err(|e| self.unusable(wanted, format!("{name} could not be fetched: {e}")))?;
        if let Some(size) = size.filter(|size| *size != copied) {
            let reason = format!("{name} has {size} bytes, of which {copied} came: not all of it was served");
            return Err(self.unusable(wanted, reason));
        }
        file.sync_all().map_err(write)?;
        fs::rename(&part, to).map_err(write)?;
        Ok(hex(&hash))
    }

    fn get<T: DeserializeOwned>(&self, wanted: &ModelRef, path: &str) -> Result<T, ModelError> {
        let url = format!("{}/{path}", self.base);
        let mut answer = self.ask(wanted, &url, ANSWER)?;
        let body = answer.body_mut().with_config().limit(MAX_ANSWER).read_to_vec();
        let body = body.map_err(|e| self.unusable(wanted, format!("the registry does not answer: {e}")))?;
        serde_json::from_slice(&body)
            .map_err(|e| self.unusable(wanted, format!("the registry's answer to {path} is not understood: {e}")))
    }

    fn ask(&self, wanted: &ModelRef, url: &str, within: Duration) -> Result<ureq::http::Response<Body>, ModelError> {
        let request = self.agent.get(url).config().timeout_global(Some(within)).build();
        let request = match std::env::var(TOKEN) {
            Ok(token) if !token.is_empty() => request.header("Authorization", format!("Bearer {token}")),
            _ => request,
        };
        let answer = request.call();
        let mut answer = answer.map_err(|e| self.unusable(wanted, format!("the registry does not answer: {e}")))?;
        if answer.status() == StatusCode::OK {
            return Ok(answer);
        }
        let status = answer.status();
        let said = answer.body_mut().with_config().limit(MAX_ANSWER).read_to_string().unwrap_or_default();
        let said = serde_json::from_str::<Value>(&said)
            .ok()
            .and_then(|said| Some(said.get("message")?.as_str()?.to_owned()))
            .unwrap_or_else(|| said.chars().take(200).collect());
        let hint = match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => format!("; its token is taken from {TOKEN}"),
            _ => String::new(),
        };
        Err(self.unusable(wanted, format!("the registry answers {status}: {said}{hint}")))
    }

    fn unusable(&self, wanted: &ModelRef, reason: String) -> ModelError {
        ModelError::Unusable { model: format!("{wanted} of {}", self.shown), reason }
    }
}

/// Returns a name that no other fetch into the same folder uses.
fn unique(path: &Path) -> PathBuf {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let next = NEXT.fetch_add(1, Ordering::Relaxed);
    path.with_extension(format!("{}-{next}.part", std::process::id()))
}

/// Writes to a file, and hashes what it writes.
struct Hashing<'f> {
    file: &'f mut File,
    hash: Sha256,
}

impl Write for Hashing<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.hash.update(bytes.get(..written).unwrap_or_default());
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

fn last(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

fn is_onnx(file: &str) -> bool {
    Path::new(file).extension().is_some_and(|extension| extension == "onnx")
}

/// What stays as it is in a query and in a part of a path, by RFC 3986.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// Encodes a value of a query, or a part of a path.
fn query(text: &str) -> String {
    utf8_percent_encode(text, ESCAPED).to_string()
}

fn path(text: &str) -> String {
    text.split('/').map(query).collect::<Vec<_>>().join("/")
}
