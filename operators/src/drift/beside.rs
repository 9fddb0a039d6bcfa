//! Baselines that lie beside the models of a repository.

use std::fs;
use std::path::Path;

use serde::Deserialize;

use super::baseline::Baseline;
use super::compare::DriftCheck;
use super::method::Method;
use super::operator::Baselines;
use super::threshold::Threshold;
use crate::infer::{ModelInfo, ModelRef, ModelRepository};

/// The part of a `features.json` that says how features are compared.
#[derive(Deserialize)]
struct Spec {
    features: Vec<Feature>,
}

#[derive(Deserialize)]
struct Feature {
    name: String,
    drift: Option<Rule>,
    presence: Option<Presence>,
}

#[derive(Deserialize)]
struct Presence {
    min_fraction: Option<f64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rule {
    method: Method,
    #[serde(default)]
    threshold: Threshold,
}

impl Baselines {
    /// Compares each version with the `baseline.json` beside it, as its `features.json` says.
    #[must_use]
    pub fn of_repository(repository: &ModelRepository) -> Self {
        let repository = repository.clone();
        Self::found_by(move |info| beside(&repository, info))
    }
}

fn beside(repository: &ModelRepository, info: &ModelInfo) -> Result<Baseline, String> {
    let version = info.version.ok_or_else(|| format!("{info} is of no repository, so it has no baseline"))?;
    let wanted: ModelRef = format!("{}/{version}", info.name).parse()?;
    let found = repository.find(&wanted).map_err(|error| error.to_string())?;
    let read = |path: &Path| fs::read(path).map_err(|error| format!("\"{}\": {error}", path.display()));
    let path = found.folder().join("baseline.json");
    let mut baseline = Baseline::read(&read(&path)?).map_err(|reason| format!("\"{}\": {reason}", path.display()))?;
    let path = found.folder().join("features.json");
    if path.exists() {
        let spec: Spec = serde_json::from_slice(&read(&path)?)
            .map_err(|error| format!("\"{}\": it cannot be read: {error}", path.display()))?;
        let present = |feature: &Feature| Some((feature.name.clone(), feature.presence.as_ref()?.min_fraction?));
        baseline.presence.extend(spec.features.iter().filter_map(present));
        let checks = spec.features.into_iter().filter_map(|feature| Some((feature.name, feature.drift?)));
        baseline.checks.extend(checks.map(|(name, Rule { method, threshold })| {
            (name, DriftCheck { method: Some(method), threshold, ..DriftCheck::default() })
        }));
    }
    Ok(baseline)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_baseline_is_beside_its_version_with_the_checks_of_its_features() {
        let scratch = tempfile::tempdir().unwrap();
        let folder = scratch.path().join("fraud/3");
        fs::create_dir_all(&folder).unwrap();
        let sha256 = "0".repeat(64);
        fs::write(folder.join("model.json"), format!(r#"{{"name": "fraud", "version": 3, "sha256": "{sha256}"}}"#))
            .unwrap();
        let repository = ModelRepository::folder(scratch.path());
        let of = |version: Option<u64>| beside(&repository, &ModelInfo { version, ..ModelInfo::new("fraud", "0") });
        assert!(of(None).unwrap_err().contains("is of no repository"));
        assert!(of(Some(4)).unwrap_err().contains("version 4 is not there"));
        assert!(of(Some(3)).unwrap_err().contains("baseline.json"));
        let baseline = r#"{"format": 1, "model": "fraud", "rows": 1, "features": {"a": {"count": 1, "missing": 0, "values": [1]}}}"#;
        fs::write(folder.join("baseline.json"), baseline).unwrap();
        assert!(of(Some(3)).unwrap().checks.is_empty());
        let spec = r#"{"features": [{"name": "a", "dtype": "f64", "drift": {"method": "psi", "threshold": 0.3}},
            {"name": "b", "presence": {"min_fraction": 0.9}}]}"#;
        fs::write(folder.join("features.json"), spec).unwrap();
        assert_eq!(of(Some(3)).unwrap().presence, [("b".to_owned(), 0.9)].into());
        let check = of(Some(3)).unwrap().checks["a"];
        assert_eq!((check.method, check.threshold), (Some(Method::Psi), Threshold::At(0.3)));
        fs::write(folder.join("features.json"), spec.replace("0.3", "\"learned\"")).unwrap();
        assert_eq!(of(Some(3)).unwrap().checks["a"].threshold, Threshold::Learned);
        fs::write(folder.join("features.json"), spec.replace(", \"threshold\": 0.3", "")).unwrap();
        assert_eq!(of(Some(3)).unwrap().checks["a"].threshold, Threshold::Default);
        fs::write(folder.join("features.json"), spec.replace("psi", "guess")).unwrap();
        assert!(of(Some(3)).unwrap_err().contains("unknown variant `guess`"));
    }
}
