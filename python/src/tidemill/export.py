"""Writes a fitted model as the next version of a model repository."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import is_classifier
from sklearn.exceptions import NotFittedError
from sklearn.metrics import average_precision_score, mean_absolute_error, roc_auc_score, root_mean_squared_error
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from .beside import baseline, golden, golden_rows, in_chunks
from .convert import Scorer, is_lightgbm, is_xgboost, own_scores, to_onnx, usual_output
from .encode import encode_all
from .errors import ExportError
from .rows import Rows, dtype_of, numbers_of, to_frame
from .spec import DTYPES, LEARNED, Spec, check, column_names, sha256, to_bytes
from .split import lay_out, rest, split

# What a caller may add to a feature; the rest follows from the pipeline.
OPTIONS = ("dtype", "description", "domain", "on_out_of_range", "presence", "max_age", "drift")
RESERVED = ("name", "version", "sha256", "created", "rows", "score", "metrics", "parity", "sha256s", "made_with", "file", "files")
PACKAGES = ("numpy", "scikit-learn", "xgboost", "lightgbm", "onnx", "onnxmltools", "skl2onnx", "onnxruntime")


@dataclass(frozen=True)
class Exported:
    """What was written."""

    folder: Path
    name: str
    version: int
    sha256: str
    spec: Spec
    # Largest difference between the scores of the ONNX file and those of the model itself, on the rows, and how many
    # rows differ by more than the tolerance. None where `output` is one that the model itself does not compute.
    max_difference: float | None
    differing_rows: int | None


def export(
    model: Any,
    rows: Rows,
    labels: Sequence[Any] | np.ndarray | pd.Series | str | None = None,
    *,
    root: str | Path,
    name: str,
    names: Sequence[str] | None = None,
    target: Any = None,
    output: str | None = None,
    column: int | None = None,
    features: Mapping[str, Mapping[str, Any]] | None = None,
    chunks: int = 10,
    about: Mapping[str, Any] | None = None,
    tolerance: float = 1e-5,
    max_differing: float = 0.001,
) -> Exported:
    """Writes a fitted model as the next version of `<root>/<name>`: model.onnx, features.json, baseline.json,
    golden.jsonl, and model.json last. The same call writes the same bytes, but for `created` and the version.

    * `model`: a fitted scikit-learn pipeline or estimator, XGBoost or LightGBM.
    * `rows`: the rows it was trained on, as the program gives them (`names` are those of an array's columns). Columns
      that the model does not take are left out.
    * `labels`: what the rows are, or the name of their column; metrics are computed of them.
    * `target`: the class whose probability is the score; of two classes it is the second. Or `output` and `column` of
      the ONNX file, by default `probabilities`, `variable` (regressors) or `scores` (outlier detectors).
    * `features`: further rules by feature: dtype, description, domain, on_out_of_range, presence, max_age, drift.
    * `chunks`: as many parts of the rows, in the order of time, are in baseline.json, for `"threshold": "learned"` of drift.
      The rows are sorted by their column `event_time` or `ts`; without one they are taken as they come. 0 is none.
    * `about`: further entries of model.json, as `{"trained_on": "May to July"}`.
    * `tolerance`, `max_differing`: the ONNX file has to give the model's own scores, within `tolerance` of the larger of 1
      and the score, for all but this share of the rows.

    Raises `ExportError` with what is wrong, where, and what to do. Nothing is written then.
    """
    model = getattr(model, "best_estimator_", model)
    _check_name(name)
    frame = to_frame(rows, names)
    if not len(frame):
        raise ExportError("there are no rows: pass those that the model was trained on")
    label = labels if isinstance(labels, str) else None
    labels = _labels(frame, labels)
    _check_fitted(model)
    inputs = _inputs(model, frame, label)
    options = _options(features or {}, inputs, frame)
    dtypes = [options.get(one, {}).get("dtype") or _dtype_or_none(frame[one]) for one in inputs]
    plan, estimator = split(model, inputs, [dtype == "text" for dtype in dtypes])
    if not hasattr(estimator, "predict"):
        raise ExportError(f"{type(estimator).__name__} does not predict: the last step of the pipeline has to be a model")
    usual = usual_output(estimator)
    if usual == "probabilities" and output is None and not hasattr(estimator, "predict_proba"):
        raise ExportError(
            f"{type(estimator).__name__} has no probabilities, and the score is one; wrap it in CalibratedClassifierCV, or pass output="
        )
    for feature in sorted({column.feature for column in plan.columns}):
        if inputs[feature] == label:
            raise ExportError(f'the model takes "{label}", which labels says is what it is to find out; fit it without')
        dtypes[feature] = dtypes[feature] or dtype_of(frame[inputs[feature]])
    tensor = lay_out(plan, name, inputs, dtypes)
    plain = tensor.spec
    spec = _with_options(plain, options)
    check(spec)
    parts = in_chunks(frame, chunks)
    learned = [feature["name"] for feature in spec["features"] if feature.get("drift", {}).get("threshold") == LEARNED]
    if learned and not parts:
        raise ExportError(f'the threshold of drift of "{learned[0]}" is learned, which takes chunks: pass chunks=10, and at least 2 rows')

    spec_bytes = to_bytes(spec)
    onnx = to_onnx(rest(plan, estimator, tensor), spec["width"], name, column_names(spec), sha256(spec_bytes))
    output, column = output or usual, _column(estimator, usual, target, output, column)
    score = Scorer(onnx, output, column)

    encoded, refused = encode_all(spec, frame)
    kept = np.ones(len(frame), dtype=bool)
    kept[list(refused)] = False
    if not kept.any():
        row, reason = min(refused.items())
        raise ExportError(f"all rows would be dead letters, by the rules; row {row}: {reason}")
    scores = np.full(len(frame), np.nan, dtype=np.float32)
    scores[kept] = score(encoded[kept])

    parity = None
    if output == usual:
        # Rules of the caller change what the model gets; there the model itself has other scores.
        same = kept & _same(encoded, encode_all(plain, frame)[0]) if options else kept
        parity = _parity(model, estimator, frame[inputs], scores, same, column, tolerance, max_differing)

    scorable = kept & np.isfinite(scores)
    for feature in spec["features"]:
        if feature["dtype"] != "text":
            scorable &= ~np.isinf(numbers_of(frame[feature["name"]]))
    if not scorable.any():
        raise ExportError(
            "no row has a score that is a number: the model gives NaN where a value is missing; put a SimpleImputer before it, "
            "or take a model that takes NaN"
        )
    chosen = golden_rows(spec, frame, scorable)
    files = {
        "model.onnx": onnx,
        "features.json": spec_bytes,
        "baseline.json": baseline(spec, frame, scores, parts),
        "golden.jsonl": golden(chosen, score(encode_all(spec, chosen)[0])),
    }
    manifest = {
        "rows": len(frame),
        "score": {"output": output, "column": column},
        "metrics": _metrics(estimator, labels, scores, target, column) if labels is not None else {},
        "parity": parity,
    }
    manifest = {key: value for key, value in manifest.items() if value} | _about(about)
    folder, number = _publish(Path(root) / name, name, files, manifest)
    difference, differing = (parity["max_difference"], parity["differing_rows"]) if parity else (None, None)
    return Exported(folder, name, number, sha256(onnx), spec, difference, differing)


def _dtype_or_none(column: pd.Series) -> str | None:
    """A column that is no feature is an error only where a step takes it."""
    try:
        return dtype_of(column)
    except ExportError:
        return None


def _check_name(name: str) -> None:
    if not name or name.strip() != name or any(sign in name for sign in '/\\@,"') or name.startswith("."):
        raise ExportError(f'"{name}" is no name of a model: it is a folder, so no / \\ @ , and no dot at its beginning')


def _check_fitted(model: Any) -> None:
    try:
        check_is_fitted(model.steps[-1][1] if isinstance(model, Pipeline) else model)
    except NotFittedError as error:
        raise ExportError(f"{type(model).__name__} is not fitted: call fit before export") from error
    except TypeError as error:
        raise ExportError(
            f"{type(model).__name__} is no estimator of scikit-learn: pass a fitted pipeline, XGBClassifier, LGBMClassifier …"
        ) from error


def _labels(frame: pd.DataFrame, labels: Any) -> np.ndarray | None:
    if labels is None:
        return None
    if isinstance(labels, str):
        if labels not in frame:
            raise ExportError(f'the rows have no column "{labels}" of labels; they have: {", ".join(frame.columns)}')
        return frame[labels].to_numpy()
    if len(labels) != len(frame):
        raise ExportError(f"there are {len(frame)} rows and {len(labels)} labels")
    return np.asarray(labels)


def _inputs(model: Any, frame: pd.DataFrame, label: str | None) -> list[str]:
    """Returns the columns of the rows that the model takes, in its order."""
    first = model.steps[0][1] if isinstance(model, Pipeline) else model
    known = _names_of(model)
    count = getattr(model, "n_features_in_", None) or getattr(first, "n_features_in_", None)
    # A pipeline that was fitted on all columns, the label among them, and takes some, has the names of all.
    columns = [one for one in frame.columns if known is not None or one != label]
    if known is not None:
        if is_lightgbm(first):
            # It writes a_b for "a b".
            written = {one.replace(" ", "_"): one for one in columns}
            known = [written.get(one, one) for one in known]
        lacks = [one for one in known if one not in columns]
        if lacks:
            raise ExportError(f'the model takes "{lacks[0]}", which the rows lack; they have: {", ".join(columns)}')
        columns = known
    elif count is not None and count != len(columns):
        raise ExportError(
            f"the model was fitted without names and takes {count} features; the rows have {len(columns)}: "
            f"{', '.join(columns)}; pass rows with these columns only, in order"
        )
    for one in columns:
        if "," in one or one.strip() != one or not one:
            raise ExportError(f'the feature "{one}" has a comma or blanks at its ends; name it otherwise')
    return columns


def _names_of(model: Any) -> list[str] | None:
    first = model.steps[0][1] if isinstance(model, Pipeline) else model
    if is_lightgbm(first):
        names = list(first.feature_name_)
        return None if all(name == f"Column_{at}" for at, name in enumerate(names)) else names
    if is_xgboost(first):
        return first.get_booster().feature_names
    names = getattr(model, "feature_names_in_", None)
    return None if names is None else [str(name) for name in names]


def _options(features: Mapping[str, Mapping[str, Any]], inputs: list[str], frame: pd.DataFrame) -> dict[str, dict[str, Any]]:
    for feature, rules in features.items():
        if feature not in inputs:
            raise ExportError(f'features has "{feature}", which the model does not take; it takes: {", ".join(inputs)}')
        if other := [key for key in rules if key not in OPTIONS]:
            raise ExportError(
                f'features, "{feature}": {other[0]} cannot be set here; what can is: {", ".join(OPTIONS)}. '
                "The rest follows from the pipeline"
            )
        dtype = rules.get("dtype", dtype_of(frame[feature]))
        if dtype not in DTYPES or (dtype == "text") != (dtype_of(frame[feature]) == "text"):
            raise ExportError(f'features, "{feature}": dtype is {dtype!r}, and the rows have {dtype_of(frame[feature])}')
    return {feature: dict(rules) for feature, rules in features.items()}


def _with_options(spec: Spec, options: dict[str, dict[str, Any]]) -> Spec:
    used = {feature["name"] for feature in spec["features"]}
    if unused := [one for one in options if one not in used]:
        raise ExportError(f'features has "{unused[0]}", which no step of the pipeline keeps')
    return spec | {"features": [feature | options.get(feature["name"], {}) for feature in spec["features"]]}


def _column(estimator: Any, usual: str, target: Any, output: str | None, column: int | None) -> int:
    if target is not None:
        if column is not None:
            raise ExportError("target and column say the same thing: pass one of them")
        classes = list(getattr(estimator, "classes_", []))
        if target not in classes:
            raise ExportError(f"target is {target!r}, and the classes of the model are: {', '.join(map(repr, classes))}")
        return classes.index(target)
    if column is not None:
        return column
    if usual != "probabilities" or output not in (None, usual):
        return 0
    classes = list(getattr(estimator, "classes_", [0, 1]))
    if len(classes) != 2:
        raise ExportError(f"the model has {len(classes)} classes: pass target=, one of {', '.join(map(repr, classes))}")
    return 1


def _same(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    return np.all((left == right) | (np.isnan(left) & np.isnan(right)), axis=1)


def _parity(
    model: Any,
    estimator: Any,
    rows: pd.DataFrame,
    scores: np.ndarray,
    same: np.ndarray,
    column: int,
    tolerance: float,
    max_differing: float,
) -> dict[str, Any] | None:
    """Compares with the model's own scores. A NaN on our side alone is no difference: the engine does not score it."""
    if not same.any():
        return None
    taken = rows[same]
    try:
        own = own_scores(model, estimator, taken if _names_of(model) is not None else taken.to_numpy(), column)
    except Exception as error:
        reason = str(error).strip().splitlines()
        raise ExportError(
            f"the model itself fails on the rows: {reason[0] if reason else type(error).__name__}; pass rows like those that it "
            "was fitted on, or put a SimpleImputer before it"
        ) from error
    if own is None:
        return None
    found = scores[same].astype(np.float64)
    difference = np.abs(found - own) / np.maximum(1.0, np.abs(own))
    difference[np.isnan(found) & np.isnan(own)] = 0.0
    difference[np.isnan(difference)] = np.inf
    differing = int((difference > tolerance).sum())
    if differing > max_differing * len(own):
        worst = int(np.argmax(difference))
        row = int(np.flatnonzero(same)[worst])
        raise ExportError(
            f"{differing} of {len(own)} rows have other scores as ONNX than by the model itself; the worst is row {row}: "
            f"{found[worst]} against {own[worst]}. Values are rounded to f32 for the engine: trees split between values that "
            "are equal then (leave scalers before trees out, use differences instead of large numbers), or a None is in the "
            "rows where the pipeline takes NaN for missing. tolerance and max_differing say what is allowed"
        )
    finite = difference[np.isfinite(difference)]
    return {"rows": len(own), "max_difference": float(finite.max(initial=0.0)), "differing_rows": differing, "tolerance": tolerance}


def _metrics(estimator: Any, labels: np.ndarray, scores: np.ndarray, target: Any, column: int) -> dict[str, float]:
    """Metrics on the rows, which are those of the training: for people, not for choosing a model."""
    scored = np.isfinite(scores)
    labels, scores = labels[scored], scores[scored].astype(np.float64)
    if is_classifier(estimator):
        positive = labels == (target if target is not None else estimator.classes_[column])
        if positive.all() or not positive.any():
            return {}
        return {
            "roc_auc": float(roc_auc_score(positive, scores)),
            "average_precision": float(average_precision_score(positive, scores)),
        }
    if not hasattr(estimator, "score_samples"):
        return {
            "mean_absolute_error": float(mean_absolute_error(labels, scores)),
            "root_mean_squared_error": float(root_mean_squared_error(labels, scores)),
        }
    return {}


def _about(about: Mapping[str, Any] | None) -> dict[str, Any]:
    if found := [key for key in about or {} if key in RESERVED]:
        raise ExportError(f"about has {found[0]}, which export writes itself; name it otherwise")
    return dict(about or {})


def _publish(versions: Path, name: str, files: dict[str, bytes], manifest: dict[str, Any]) -> tuple[Path, int]:
    """Writes the next version. model.json comes last: a version with it is complete."""
    versions.mkdir(parents=True, exist_ok=True)
    while True:
        number = max((int(entry.name) for entry in versions.iterdir() if entry.name.isdecimal()), default=0) + 1
        folder = versions / str(number)
        try:
            folder.mkdir()
            break
        except FileExistsError:
            continue  # Another export took the number.
    for file, data in files.items():
        (folder / file).write_bytes(data)
    hashes = {file: sha256(data) for file, data in files.items()}
    content = {
        "name": name,
        "version": number,
        "sha256": hashes["model.onnx"],
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        **manifest,
        "sha256s": hashes,
        "made_with": {package: found for package in PACKAGES if (found := _version(package))},
    }
    part = folder / "model.json.part"
    part.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    os.replace(part, folder / "model.json")
    return folder, number


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
