"""The rules of features.json in Python: the reference for what the engine does with a record before the batch.

```text
value ─▶ domain (pass, clip, missing, dead letter) ─▶ code or one-hot of a text ─▶ missing: impute, indicator ─▶ f32
```

* A null, a NaN and an absent value are missing. With `disallow_nan` a missing value is out of range, too.
* Out of range is a value below `min` or above `max`, and with `disallow_inf` an infinity. `clip` takes the nearest
  bound; where there is none, the value is missing.
* The domain is compared in f64 (for dtype f32 after rounding to it), and an imputed value is not compared.
* For a missing text, `impute.value` is what the model gets with `ordinal`; with `one_hot` it is the index in the
  vocabulary of the column with 1.0, and -1 for none. Without `impute` each column of the feature gets a NaN.
* A finite value beyond what an f32 holds is a dead letter.
"""

from typing import Any

import numpy as np
import pandas as pd

from .errors import DeadLetterError, TidemillError
from .rows import Rows, is_missing, texts_of, to_frame
from .spec import Feature, Spec, check

Reasons = dict[int, str]

LARGEST = float(np.finfo(np.float32).max)


def encode(spec: Spec, rows: Rows) -> np.ndarray:
    """Returns the model's tensor `[rows, width]` of f32 for rows of the program's features.

    A column that the rows lack is an error; further ones are ignored. An array has the features in the order of the spec.

    Raises `DeadLetterError` when a row is one that the engine would not score: `dead_letters` tells which.
    """
    tensor, reasons = encode_all(spec, rows)
    if reasons:
        row, reason = min(reasons.items())
        raise DeadLetterError(
            f"{len(reasons)} of {len(tensor)} rows would be dead letters; row {row}: {reason}. "
            "tidemill.dead_letters returns the reason of each: leave these rows out, or change the rule"
        )
    return tensor


def dead_letters(spec: Spec, rows: Rows) -> Reasons:
    """Returns the rows that the engine would not score, by their number from 0, with the reason."""
    return encode_all(spec, rows)[1]


def encode_all(spec: Spec, rows: Rows) -> tuple[np.ndarray, Reasons]:
    """Returns the tensor and the reasons of dead letters, whose rows in the tensor have no meaning."""
    check(spec)
    features = [feature for feature in spec["features"] if not feature.get("labels_only", False)]
    frame = to_frame(rows, [feature["name"] for feature in features] if isinstance(rows, np.ndarray) else None)
    tensor = np.full((len(frame), spec["width"]), np.nan, dtype=np.float32)
    reasons: Reasons = {}
    for feature in features:
        if feature["name"] not in frame:
            raise TidemillError(f'the rows lack the feature "{feature["name"]}"; they have: {", ".join(frame.columns)}')
        column, found = frame[feature["name"]], {}
        if feature["dtype"] == "text":
            cells, missing = _text(feature, column, found)
        else:
            cells, missing = _number(feature, column, found)
        tensor[:, feature["position"] : feature["position"] + cells.shape[1]] = cells
        if "indicator" in feature:
            tensor[:, feature["indicator"]] = missing
        for row, reason in found.items():
            reasons.setdefault(row, f"{feature['name']} {reason}")
    return tensor, reasons


def _number(feature: Feature, column: pd.Series, reasons: Reasons) -> tuple[np.ndarray, np.ndarray]:
    values = _numbers(column, reasons)
    if feature["dtype"] == "f32":
        with np.errstate(over="ignore"):
            narrow = values.astype(np.float32).astype(np.float64)
        # What does not fit stays as it is, and is a dead letter below.
        values = np.where(np.isinf(narrow), values, narrow)
    domain, rule = feature.get("domain", {}), feature.get("on_out_of_range", "pass")
    low, high = domain.get("min", -np.inf), domain.get("max", np.inf)
    outside = (values < low) | (values > high)
    if domain.get("disallow_inf", False):
        outside |= np.isinf(values)
    if domain.get("disallow_nan", False):
        outside |= np.isnan(values)
    if rule == "dead_letter":
        for row in np.flatnonzero(outside):
            reasons.setdefault(int(row), f"is {values[row]}, which is out of range")
    elif rule == "missing":
        values[outside] = np.nan
    elif rule == "clip":
        values[outside] = np.clip(values[outside], low, high)
        if domain.get("disallow_inf", False):
            values[np.isinf(values)] = np.nan
    missing = np.isnan(values)
    if "impute" in feature:
        values[missing] = feature["impute"]["value"]
    with np.errstate(over="ignore"):
        cells = values.astype(np.float32)
    for row in np.flatnonzero(np.isinf(cells) & np.isfinite(values)):
        reasons.setdefault(int(row), f"is {values[row]}, beyond what an f32 holds ({LARGEST:e})")
    return cells[:, None], missing


def _numbers(column: pd.Series, reasons: Reasons) -> np.ndarray:
    if not isinstance(column.dtype, pd.CategoricalDtype) and column.dtype != object and not _is_text(column):
        return column.to_numpy(dtype=np.float64, na_value=np.nan, copy=True)
    values = np.full(len(column), np.nan)
    for row, value in enumerate(column.astype(object)):
        if isinstance(value, int | float | bool | np.number | np.bool_):
            values[row] = float(value)
        elif not is_missing(value):
            reasons.setdefault(row, f"is {value!r}, which is no number")
    return values


def _is_text(column: pd.Series) -> bool:
    return pd.api.types.is_string_dtype(column.dtype)


def _text(feature: Feature, column: pd.Series, reasons: Reasons) -> tuple[np.ndarray, np.ndarray]:
    codes = {category: code for code, category in enumerate(feature["vocabulary"])}
    one_hot, unknown = feature["encode"] == "one_hot", feature["unknown"]
    unknown_code = -1 if one_hot else feature.get("unknown_code", -1)
    values = texts_of(column)
    found = np.full(len(values), np.nan)
    missing = np.zeros(len(values), dtype=bool)
    refuses_missing = feature.get("domain", {}).get("disallow_nan") and feature.get("on_out_of_range") == "dead_letter"
    for row, value in enumerate(values):
        if value is None:
            missing[row] = True
            if refuses_missing:
                reasons.setdefault(row, "is missing, which is out of range")
        elif not isinstance(value, str):
            reasons.setdefault(row, f"is {value!r}, which is no text")
        elif value in codes:
            found[row] = codes[value]
        elif unknown == "code":
            found[row] = unknown_code
        elif unknown == "missing":
            missing[row] = True
            if refuses_missing:
                reasons.setdefault(row, f'is "{value}", which is not in the vocabulary, so it is missing, which is out of range')
        else:
            reasons.setdefault(row, f'is "{value}", which is not in the vocabulary')
    found[missing] = _imputed(feature)
    if not one_hot:
        return found.astype(np.float32)[:, None], missing
    hot = (found[:, None] == np.arange(len(codes))).astype(np.float32)
    hot[np.isnan(found)] = np.nan
    return hot, missing


def _imputed(feature: Feature) -> Any:
    return feature["impute"]["value"] if "impute" in feature else np.nan
