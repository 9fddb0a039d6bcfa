"""The files beside a model: baseline.json, which drift is measured against, and golden.jsonl, which is scored at its start."""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from .encode import encode_all
from .errors import ExportError
from .rows import numbers_of, texts_of
from .spec import FORMAT, Feature, Spec

# As many values are kept exactly; of more rows a sample is. Of a chunk, fewer: there are ten of them.
EXACT_VALUES = 16_384
EXACT_VALUES_OF_CHUNK = 4_096
SEED = 20_261_130
# A column that says when a row was, by the names that Tidemill's programs write.
TIMES = ("event_time", "ts")
GOLDEN_ROWS = 200
# A text that is no category.
UNKNOWN = "(unknown)"


def baseline(spec: Spec, frame: pd.DataFrame, scores: np.ndarray, chunks: Sequence[np.ndarray]) -> bytes:
    """Returns baseline.json: for each feature, as the program gives it, what its values are.

    `chunks` are the rows of each chunk; from them the engine learns thresholds.
    """
    content = {"format": FORMAT, "model": spec["model"], **_of_rows(spec, frame, scores, EXACT_VALUES)}
    if chunks:
        content["chunks"] = [_of_rows(spec, frame.iloc[rows], scores[rows], EXACT_VALUES_OF_CHUNK) for rows in chunks]
    return (json.dumps(content, ensure_ascii=False, allow_nan=False) + "\n").encode()


def in_chunks(frame: pd.DataFrame, count: int) -> list[np.ndarray]:
    """Returns the places of the rows of each chunk: equal parts in the order of time, if the rows have one of its columns."""
    if count < 0 or count == 1:
        raise ExportError(f"chunks is {count}: a threshold is learned from at least 2, and 0 is none")
    count = min(count, len(frame))
    if count < 2:
        return []
    order = np.arange(len(frame))
    name = next((name for name in TIMES if name in frame), None)
    if name is not None:
        try:
            order = frame[name].reset_index(drop=True).sort_values(kind="stable").index.to_numpy()
        except TypeError as error:
            raise ExportError(
                f'the rows cannot be sorted by "{name}", which chunks are cut by: {error}; make times or numbers of it'
            ) from error
    return [np.sort(part) for part in np.array_split(order, count)]


def _of_rows(spec: Spec, frame: pd.DataFrame, scores: np.ndarray, exact_values: int) -> dict[str, Any]:
    return {
        "rows": len(frame),
        "features": {feature["name"]: _of_feature(feature, frame[feature["name"]], exact_values) for feature in spec["features"]},
        "scores": _of_numbers(scores.astype(np.float64), whole=False, exact_values=exact_values),
    }


def _of_feature(feature: Feature, column: pd.Series, exact_values: int) -> dict[str, Any]:
    if feature["dtype"] != "text":
        return _of_numbers(numbers_of(column), whole=feature["dtype"] in ("i64", "bool"), exact_values=exact_values)
    values = texts_of(column)
    given = [value for value in values if value is not None]
    categories: dict[str, int] = {}
    for value in sorted(given):
        categories[value] = categories.get(value, 0) + 1
    return {"count": len(given), "missing": len(values) - len(given), "infinite": 0, "categories": categories}


def _of_numbers(values: np.ndarray, whole: bool, exact_values: int) -> dict[str, Any]:
    """`count` is the number of finite values; with `missing` and `infinite` it adds up to the rows."""
    finite = values[np.isfinite(values)]
    about: dict[str, Any] = {
        "count": len(finite),
        "missing": int(np.isnan(values).sum()),
        "infinite": int(np.isinf(values).sum()),
    }
    if len(finite) > exact_values:
        finite = np.random.default_rng(SEED).choice(finite, exact_values, replace=False)
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
