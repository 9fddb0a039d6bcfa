"""The files beside a model: baseline.json, which drift is measured against, and golden.jsonl, which is scored at its start."""

import json
from typing import Any

import numpy as np
import pandas as pd

from .encode import encode_all
from .rows import numbers_of, texts_of
from .spec import FORMAT, Feature, Spec

# As many values are kept exactly; of more rows a sample is.
EXACT_VALUES = 16_384
SEED = 20_261_130
GOLDEN_ROWS = 200
# A text that is no category.
UNKNOWN = "(unknown)"


def baseline(spec: Spec, frame: pd.DataFrame, scores: np.ndarray) -> bytes:
    """Returns baseline.json: for each feature, as the program gives it, what its values are."""
    features = {feature["name"]: _of_feature(feature, frame[feature["name"]]) for feature in spec["features"]}
    content = {
        "format": FORMAT,
        "model": spec["model"],
        "rows": len(frame),
        "features": features,
        "scores": _of_numbers(scores.astype(np.float64), whole=False),
    }
    return (json.dumps(content, ensure_ascii=False, allow_nan=False) + "\n").encode()


def _of_feature(feature: Feature, column: pd.Series) -> dict[str, Any]:
    if feature["dtype"] != "text":
        return _of_numbers(numbers_of(column), whole=feature["dtype"] in ("i64", "bool"))
    values = texts_of(column)
    given = [value for value in values if value is not None]
    categories: dict[str, int] = {}
    for value in sorted(given):
        categories[value] = categories.get(value, 0) + 1
    return {"count": len(given), "missing": len(values) - len(given), "infinite": 0, "categories": categories}


def _of_numbers(values: np.ndarray, whole: bool) -> dict[str, Any]:
    """`count` is the number of finite values; with `missing` and `infinite` it adds up to the rows."""
    finite = values[np.isfinite(values)]
    about: dict[str, Any] = {
        "count": len(finite),
        "missing": int(np.isnan(values).sum()),
        "infinite": int(np.isinf(values).sum()),
    }
    if len(finite) > EXACT_VALUES:
        finite = np.random.default_rng(SEED).choice(finite, EXACT_VALUES, replace=False)
        about["sampled"] = True
    # A zero is written one way, whatever its sign.
    ordered = np.sort(finite) + 0.0
    about["values"] = [int(value) for value in ordered] if whole else ordered.tolist()
    return about


def golden_rows(spec: Spec, frame: pd.DataFrame, scorable: np.ndarray) -> list[dict[str, Any]]:
    """Returns rows from all over the data, some with missing values, and one with unknown categories.

    `scorable` tells which rows may be taken: those with finite values and a score.
    """
    names = [feature["name"] for feature in spec["features"]]
    usable = np.flatnonzero(scorable)
    chosen = usable[np.linspace(0, len(usable) - 1, num=min(len(usable), GOLDEN_ROWS), dtype=int)]
    gaps = frame[names].isna().any(axis=1).to_numpy()
    if not gaps[chosen].any():
        # All are in other places: the last rows make room for up to ten of them.
        extra = usable[gaps[usable]][:10]
        chosen = np.concatenate([chosen[: max(GOLDEN_ROWS - len(extra), 1)], extra])
    rows = [{feature["name"]: _plain(feature, frame[feature["name"]][at]) for feature in spec["features"]} for at in chosen]
    made = [_with_gaps(spec, rows[0])] if not gaps[usable].any() else []
    made.append(_with_unknown(spec, rows[-1]))
    made = [row for row in made if row is not None and not encode_all(spec, [row])[1]]
    return rows[: GOLDEN_ROWS - len(made)] + made


def _with_gaps(spec: Spec, row: dict[str, Any]) -> dict[str, Any] | None:
    gaps = {feature["name"]: None for feature in spec["features"] if "impute" in feature}
    return row | gaps if gaps else None


def _with_unknown(spec: Spec, row: dict[str, Any]) -> dict[str, Any] | None:
    unknown = {feature["name"]: UNKNOWN for feature in spec["features"] if feature.get("unknown") in ("code", "missing")}
    return row | unknown if unknown else None


def golden(rows: list[dict[str, Any]], scores: np.ndarray) -> bytes:
    """Returns golden.jsonl, for the rows that have a score."""
    lines = [
        json.dumps({"features": row, "score": float(score)}, ensure_ascii=False, allow_nan=False)
        for row, score in zip(rows, scores, strict=True)
        if np.isfinite(score)
    ]
    return ("\n".join(lines) + "\n").encode() if lines else b""


def _plain(feature: Feature, value: Any) -> Any:
    """Returns a value as JSON has it. A bool is 0 or 1: golden.jsonl has numbers and texts."""
    if pd.isna(value):
        return None
    if feature["dtype"] == "text":
        return value
    return int(value) if feature["dtype"] in ("i64", "bool") else float(value)
