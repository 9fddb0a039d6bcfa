"""features.json: what a program's features are, and how the engine makes the model's columns of them.

Format 1. A key that is not known is an error, here and in the engine. A key that is absent means that there is no rule.
"""

import hashlib
import json
import math
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from .errors import SpecError

FORMAT = 1
TENSOR = "features"

Spec = dict[str, Any]
Feature = dict[str, Any]

DTYPES = ("f32", "f64", "i64", "bool", "text")
OUT_OF_RANGE = ("pass", "clip", "missing", "dead_letter")
ENCODINGS = ("ordinal", "one_hot")
UNKNOWN = ("code", "missing", "dead_letter")
STRATEGIES = ("constant", "mean", "median", "most_frequent")
DRIFT_METHODS = ("psi", "kolmogorov_smirnov", "jensen_shannon", "wasserstein", "hellinger", "kullback_leibler", "chi_square", "z")
# Their p-values allow for the number of values already, so no threshold is learned for them.
NOT_LEARNED = ("chi_square", "z")
LEARNED = "learned"

# In this order they are written.
KEYS = (
    *("name", "dtype", "description", "input", "position", "domain", "on_out_of_range"),
    *("vocabulary", "encode", "unknown", "unknown_code", "impute", "indicator"),
    *("presence", "max_age", "drift", "labels_only"),
)
TEXT_ONLY = {"vocabulary", "encode", "unknown", "unknown_code"}
DURATION = re.compile(r"\d+(ms|s|m|h|d)")


def read_spec(path: str | Path) -> Spec:
    """Reads a features.json and checks it."""
    try:
        spec = json.loads(Path(path).read_text(encoding="utf-8"))
    except ValueError as error:
        raise SpecError(f'"{path}" is no JSON: {error}') from error
    check(spec)
    return spec


def to_bytes(spec: Spec) -> bytes:
    """Returns the bytes of the file: the same spec gives the same bytes."""
    features = [{key: feature[key] for key in KEYS if key in feature} for feature in spec["features"]]
    ordered = {"format": spec["format"], "model": spec["model"], "features": features, "width": spec["width"]}
    return (json.dumps(ordered, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def columns_of(feature: Feature) -> list[int]:
    """Returns the columns of the tensor that a feature fills, without its indicator. One of labels has none."""
    if feature.get("labels_only", False):
        return []
    count = len(feature["vocabulary"]) if feature.get("encode") == "one_hot" else 1
    return list(range(feature["position"], feature["position"] + count))


def column_names(spec: Spec) -> list[str]:
    """Returns a name for each column of the tensor: `amount`, `country=DE`, `amount:missing` for an indicator.

    A comma in a category becomes `%2C`, since the names are a list with commas in the model's metadata.
    """
    names = [""] * spec["width"]
    for feature in spec["features"]:
        name = feature["name"]
        columns = columns_of(feature)
        if feature.get("encode") == "one_hot":
            for column, category in zip(columns, feature["vocabulary"], strict=True):
                names[column] = f"{name}={category.replace('%', '%25').replace(',', '%2C')}".rstrip()
        elif columns:
            names[columns[0]] = name
        if "indicator" in feature:
            names[feature["indicator"]] = f"{name}:missing"
    return names


def check(spec: Mapping[str, Any]) -> None:
    """Checks that a spec is of the format. The error names the first fault and where it is."""
    _keys(spec, {"format", "model", "features", "width"}, {"format", "model", "features", "width"}, "features.json")
    if spec["format"] != FORMAT:
        raise SpecError(f"features.json is of format {spec['format']}, this package reads {FORMAT}")
    names: set[str] = set()
    taken: dict[int, str] = {}
    for feature in spec["features"]:
        _feature(feature)
        name = feature["name"]
        if name in names:
            raise SpecError(f'feature "{name}" is there twice')
        names.add(name)
        extra = [feature["indicator"]] if "indicator" in feature else []
        for column in columns_of(feature) + extra:
            if column in taken:
                raise SpecError(f'column {column} is of "{taken[column]}" and of "{name}"')
            taken[column] = name
    if sorted(taken) != list(range(spec["width"])):
        raise SpecError(f"the features fill the columns {sorted(taken)}, and width is {spec['width']}")


def _feature(feature: Mapping[str, Any]) -> None:
    where = f'feature "{feature.get("name", "?")}"'
    labels_only = feature.get("labels_only", False)
    _keys(feature, set(KEYS), {"name", "dtype"} if labels_only else {"name", "dtype", "input", "position"}, where)
    _text(feature, "name", where)
    _one_of(feature, "dtype", DTYPES, where)
    _one_of(feature, "on_out_of_range", OUT_OF_RANGE, where)
    if feature.get("input", TENSOR) != TENSOR:
        raise SpecError(f'{where}: input is "{feature["input"]}", a model of this package has the one input "{TENSOR}"')
    for key in ("position", "indicator"):
        if key in feature and not (_is_whole(feature[key]) and feature[key] >= 0):
            raise SpecError(f"{where}: {key} is {feature[key]!r}, not a column, which is a whole number from 0")
    _domain(feature, where)
    if feature["dtype"] == "text":
        if not labels_only:
            _vocabulary(feature, where)
    elif found := TEXT_ONLY & feature.keys():
        raise SpecError(f"{where}: {', '.join(sorted(found))} is for text only, and dtype is {feature['dtype']}")
    for key in ("description", "max_age"):
        if key in feature:
            _text(feature, key, where)
    if "max_age" in feature and not DURATION.fullmatch(feature["max_age"]):
        raise SpecError(f'{where}: max_age is "{feature["max_age"]}"; write it like 90s, 5m, 1h, 7d')
    if not isinstance(labels_only, bool):
        raise SpecError(f"{where}: labels_only is {labels_only!r}, not true or false")
    if "impute" in feature:
        rule = _keys(feature["impute"], {"strategy", "value"}, {"strategy", "value"}, f"{where}, impute")
        _one_of(rule, "strategy", STRATEGIES, f"{where}, impute")
        _number(rule, "value", f"{where}, impute")
    if "presence" in feature:
        rule = _keys(feature["presence"], {"min_fraction"}, {"min_fraction"}, f"{where}, presence")
        if not 0 <= _number(rule, "min_fraction", f"{where}, presence") <= 1:
            raise SpecError(f"{where}: presence.min_fraction is {rule['min_fraction']}, not in 0..=1")
    if "drift" in feature:
        rule = _keys(feature["drift"], {"method", "threshold"}, {"method", "threshold"}, f"{where}, drift")
        _one_of(rule, "method", DRIFT_METHODS, f"{where}, drift")
        if rule["threshold"] != LEARNED:
            _number(rule, "threshold", f"{where}, drift", f' or "{LEARNED}"')
        elif rule["method"] in NOT_LEARNED:
            raise SpecError(
                f"{where}, drift: {rule['method']} gives a p-value, which allows for the number of values already, so no threshold "
                "is learned for it; take a distance, as psi, jensen_shannon or kolmogorov_smirnov"
            )


def _domain(feature: Mapping[str, Any], where: str) -> None:
    if "domain" not in feature:
        return
    where = f"{where}, domain"
    known = {"disallow_nan"} if feature["dtype"] == "text" else {"min", "max", "disallow_nan", "disallow_inf"}
    domain = _keys(feature["domain"], known, set(), where)
    for key in known & domain.keys():
        if key in ("min", "max"):
            _number(domain, key, where)
        elif not isinstance(domain[key], bool):
            raise SpecError(f"{where}: {key} is {domain[key]!r}, not true or false")
    if domain.get("min", -math.inf) > domain.get("max", math.inf):
        raise SpecError(f"{where}: min {domain['min']} is above max {domain['max']}")


def _vocabulary(feature: Mapping[str, Any], where: str) -> None:
    for key in ("vocabulary", "encode", "unknown"):
        if key not in feature:
            raise SpecError(f"{where} is text and lacks {key}")
    vocabulary = feature["vocabulary"]
    if not isinstance(vocabulary, list) or not vocabulary or not all(isinstance(word, str) for word in vocabulary):
        raise SpecError(f"{where}: vocabulary has to be a list of texts, with at least one")
    if len(set(vocabulary)) != len(vocabulary):
        raise SpecError(f"{where}: a category is in the vocabulary twice")
    _one_of(feature, "encode", ENCODINGS, where)
    _one_of(feature, "unknown", UNKNOWN, where)
    wants_code = feature["encode"] == "ordinal" and feature["unknown"] == "code"
    if wants_code:
        _number(feature, "unknown_code", where)
    elif "unknown_code" in feature:
        raise SpecError(f"{where}: unknown_code is for encode ordinal and unknown code only")


def _keys(value: Any, known: set[str], required: set[str], where: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise SpecError(f"{where}: {value!r} is not an object")
    if other := sorted(value.keys() - known):
        raise SpecError(f"{where}: the key {other[0]} is not known; there are: {_listed(known)}")
    if lacks := sorted(required - value.keys()):
        raise SpecError(f"{where} lacks the key {lacks[0]}")
    return value


def _one_of(value: Mapping[str, Any], key: str, known: Iterable[str], where: str) -> None:
    if key in value and value[key] not in known:
        raise SpecError(f"{where}: {key} is {value[key]!r}, not one of {_listed(known)}")


def _text(value: Mapping[str, Any], key: str, where: str) -> None:
    if not isinstance(value[key], str) or not value[key]:
        raise SpecError(f"{where}: {key} is {value[key]!r}, not a text")


def _number(value: Mapping[str, Any], key: str, where: str, other: str = "") -> float:
    found = value.get(key)
    if isinstance(found, bool) or not isinstance(found, int | float) or not math.isfinite(found):
        raise SpecError(f"{where}: {key} is {found!r}, not a finite number{other}")
    return found


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _listed(known: Iterable[str]) -> str:
    return ", ".join(sorted(known) if isinstance(known, set) else known)
