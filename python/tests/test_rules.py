"""The rules of features.json: by hand, and on random rows against a second, row by row implementation."""

import math

import numpy as np
import pandas as pd
import pytest

import tidemill


def spec(*features):
    width = 0
    for one in features:
        one.setdefault("input", "features")
        one.setdefault("position", width)
        width = one["position"] + (len(one["vocabulary"]) if one.get("encode") == "one_hot" else 1)
        width = max(width, one.get("indicator", -1) + 1)
    return {"format": 1, "model": "m", "features": list(features), "width": width}


def one(values, **rules):
    made = spec({"name": "x", "dtype": "f64", **rules})
    rows = [{"x": value} for value in values]
    return tidemill.encode(made, rows).tolist()


NAN = pytest.approx(math.nan, nan_ok=True)
DOMAIN = {"min": 0.0, "max": 10.0}
VALUES = [5.0, -1.0, 11.0, None, math.inf, -math.inf]


def test_out_of_range():
    inf = math.inf
    assert one(VALUES, domain=DOMAIN) == [[5], [-1], [11], [NAN], [inf], [-inf]]
    assert one(VALUES, domain=DOMAIN, on_out_of_range="clip") == [[5], [0], [10], [NAN], [10], [0]]
    assert one(VALUES, domain=DOMAIN, on_out_of_range="missing") == [[5], [NAN], [NAN], [NAN], [NAN], [NAN]]
    no_inf = {"min": 0.0, "disallow_inf": True}
    assert one(VALUES, domain=no_inf, on_out_of_range="clip") == [[5], [0], [11], [NAN], [NAN], [0]]
    assert one([5.0, -1.0], domain=DOMAIN, on_out_of_range="missing", impute={"strategy": "mean", "value": 99.0}) == [[5], [99]]
    made = spec({"name": "x", "dtype": "f64", "domain": DOMAIN | {"disallow_nan": True}, "on_out_of_range": "dead_letter"})
    assert list(tidemill.dead_letters(made, [{"x": value} for value in VALUES])) == [1, 2, 3, 4, 5]


def test_numbers_of_all_dtypes():
    made = spec({"name": "a", "dtype": "f32"}, {"name": "b", "dtype": "i64"}, {"name": "c", "dtype": "bool"})
    frame = pd.DataFrame({"a": [0.1, None], "b": pd.array([7, None], "Int64"), "c": pd.array([True, None], "boolean")})
    np.testing.assert_array_equal(tidemill.encode(made, frame), np.array([[0.1, 7, 1], [np.nan] * 3], np.float32))
    assert tidemill.dead_letters(made, [{"a": 1e39, "b": 1, "c": True}]) == {0: "a is 1e+39, beyond what an f32 holds (3.402823e+38)"}
    assert tidemill.dead_letters(made, [{"a": 1.0, "b": "7", "c": True}]) == {0: "b is '7', which is no number"}
    with pytest.raises(tidemill.TidemillError, match='lack the feature "b"'):
        tidemill.encode(made, [{"a": 1.0}])


WORDS = {"dtype": "text", "vocabulary": ["DE", "FR"]}


def test_texts():
    values = ["FR", "??", None]
    assert one(values, **WORDS, encode="ordinal", unknown="code", unknown_code=-1) == [[1], [-1], [NAN]]
    assert one(values, **WORDS, encode="ordinal", unknown="missing", impute={"strategy": "median", "value": 0.5}) == [[1], [0.5], [0.5]]
    assert one(values, **WORDS, encode="one_hot", unknown="code") == [[0, 1], [0, 0], [NAN, NAN]]
    assert one(values, **WORDS, encode="one_hot", unknown="code", impute={"strategy": "constant", "value": -1})[2] == [0, 0]
    imputed = one(values, **WORDS, encode="one_hot", unknown="missing", impute={"strategy": "most_frequent", "value": 0}, indicator=2)
    assert imputed == [[0, 1, 0], [1, 0, 1], [1, 0, 1]]
    made = spec({"name": "x", **WORDS, "encode": "ordinal", "unknown": "dead_letter"})
    assert tidemill.dead_letters(made, [{"x": "??"}, {"x": 5}, {"x": "DE"}]) == {
        0: 'x is "??", which is not in the vocabulary',
        1: "x is 5, which is no text",
    }


def test_labels_have_no_column():
    made = spec({"name": "x", "dtype": "f64"})
    made["features"].append({"name": "y", "dtype": "i64", "labels_only": True})
    assert tidemill.encode(made, [{"x": 1.0}]).tolist() == [[1.0]]
    assert tidemill.column_names(made) == ["x"]


def by_hand(features, row, width):
    """The rules once more, for one row: a list of cells, or None for a dead letter."""
    cells = [None] * width
    for rule in features:
        value, at, missing = row[rule["name"]], rule["position"], False
        if rule["dtype"] == "text":
            words = rule["vocabulary"]
            if value is not None and value not in words:
                if rule["unknown"] == "dead_letter":
                    return None
                if rule["unknown"] == "missing":
                    value = None
            missing = value is None
            if missing:
                code = rule["impute"]["value"] if "impute" in rule else math.nan
            else:
                code = words.index(value) if value in words else rule.get("unknown_code", -1)
            if rule["encode"] == "ordinal":
                cells[at] = code
            else:
                for place in range(len(words)):
                    cells[at + place] = math.nan if code != code else float(place == code)
        else:
            domain, action = rule.get("domain", {}), rule.get("on_out_of_range", "pass")
            value = math.nan if value is None else float(value)
            low, high = domain.get("min", -math.inf), domain.get("max", math.inf)
            out = value < low or value > high
            out = out or (math.isinf(value) and domain.get("disallow_inf", False))
            out = out or (math.isnan(value) and domain.get("disallow_nan", False))
            if out and action == "dead_letter":
                return None
            if out and action == "missing":
                value = math.nan
            if out and action == "clip" and not math.isnan(value):
                value = min(max(value, low), high)
                if math.isinf(value) and domain.get("disallow_inf", False):
                    value = math.nan
            missing = math.isnan(value)
            if missing and "impute" in rule:
                value = rule["impute"]["value"]
            if math.isfinite(value) and abs(value) > 3.4028235677973362e38:
                return None
            cells[at] = value
        if "indicator" in rule:
            cells[rule["indicator"]] = float(missing)
    return cells


def random_spec(rng):
    """Any combination of rules, the columns in any order."""

    def maybe(chance=0.5):
        return rng.random() < chance

    features, blocks = [], []
    for at in range(rng.integers(1, 6)):
        rule = {"name": f"x{at}", "input": "features"}
        if maybe(0.4):
            words = ["a", "b", "c", "d"][: rng.integers(1, 5)]
            rule |= {"dtype": "text", "vocabulary": words, "encode": str(rng.choice(["ordinal", "one_hot"]))}
            rule["unknown"] = str(rng.choice(["code", "missing", "dead_letter"]))
            if rule["encode"] == "ordinal" and rule["unknown"] == "code":
                rule["unknown_code"] = int(rng.integers(-3, 9))
            if maybe():
                rule["impute"] = {"strategy": "constant", "value": int(rng.integers(-1, len(words)))}
        else:
            rule["dtype"] = str(rng.choice(["f64", "i64", "bool"]))
            if maybe():
                low = float(rng.normal())
                domain = {"min": low, "max": low + 2, "disallow_nan": maybe(0.2), "disallow_inf": maybe()}
                rule["domain"] = {key: value for key, value in domain.items() if maybe(0.7)}
            if maybe(0.7):
                rule["on_out_of_range"] = str(rng.choice(["pass", "clip", "missing", "dead_letter"], p=[0.3, 0.3, 0.3, 0.1]))
            if maybe():
                rule["impute"] = {"strategy": "mean", "value": float(rng.normal())}
        features.append(rule)
        blocks.append((rule, "position", len(rule["vocabulary"]) if rule.get("encode") == "one_hot" else 1))
        if maybe(0.4):
            blocks.append((rule, "indicator", 1))
    width = 0
    for index in rng.permutation(len(blocks)):
        rule, key, count = blocks[index]
        rule[key] = width
        width += count
    return {"format": 1, "model": "m", "features": features, "width": width}


def random_value(rng, dtype):
    if rng.random() < 0.2:
        return None
    if dtype == "text":
        return str(rng.choice(["a", "b", "c", "d", "e"]))
    if dtype == "i64":
        return int(rng.integers(-3, 4))
    if dtype == "bool":
        return bool(rng.integers(2))
    return float(rng.choice([rng.normal(), math.inf, -math.inf, 1e39, 0.1], p=[0.8, 0.05, 0.05, 0.02, 0.08]))


@pytest.mark.parametrize("seed", range(150))
def test_random_rules_on_random_rows(seed):
    rng = np.random.default_rng(seed)
    made = random_spec(rng)
    rows = [{rule["name"]: random_value(rng, rule["dtype"]) for rule in made["features"]} for _ in range(40)]
    expected = [by_hand(made["features"], row, made["width"]) for row in rows]
    refused = tidemill.dead_letters(made, rows)
    assert sorted(refused) == [at for at, cells in enumerate(expected) if cells is None]
    kept = [at for at in range(len(rows)) if at not in refused]
    if kept:
        found = tidemill.encode(made, [rows[at] for at in kept])
        np.testing.assert_array_equal(found, np.array([expected[at] for at in kept], np.float64).astype(np.float32))


GOOD = {"name": "x", "dtype": "f64", "input": "features", "position": 0}
TEXT = GOOD | WORDS | {"encode": "ordinal", "unknown": "code", "unknown_code": -1}


@pytest.mark.parametrize(
    ("feature", "reason"),
    [
        (GOOD | {"ttl": 1}, "the key ttl is not known"),
        ({"name": "x", "dtype": "f64"}, "lacks the key input"),
        (GOOD | {"dtype": "f16"}, "dtype is 'f16', not one of f32, f64"),
        (GOOD | {"input": "other"}, 'input is "other"'),
        (GOOD | {"position": -1}, "position is -1"),
        (GOOD | {"position": 1}, r"fill the columns \[1\], and width is 1"),
        (GOOD | {"indicator": 0}, 'column 0 is of "x" and of "x"'),
        (GOOD | {"vocabulary": ["a"]}, "vocabulary is for text only"),
        (GOOD | {"domain": {"min": 2, "max": 1}}, "min 2 is above max 1"),
        (GOOD | {"domain": {"minimum": 2}}, "domain: the key minimum is not known"),
        (GOOD | {"domain": {"min": "2"}}, "min is '2', not a finite number"),
        (GOOD | {"domain": {"disallow_nan": 1}}, "disallow_nan is 1, not true or false"),
        (GOOD | {"on_out_of_range": "drop"}, "on_out_of_range is 'drop'"),
        (GOOD | {"impute": {"strategy": "knn", "value": 1}}, "strategy is 'knn'"),
        (GOOD | {"impute": {"strategy": "mean", "value": math.nan}}, "value is nan, not a finite number"),
        (GOOD | {"presence": {"min_fraction": 2}}, "not in 0..=1"),
        (GOOD | {"max_age": "soon"}, "write it like 90s"),
        (GOOD | {"drift": {"method": "kl", "threshold": 1}}, "method is 'kl'"),
        (GOOD | {"drift": {"method": "psi", "threshold": "learnt"}}, "threshold is 'learnt', not a finite number or \"learned\""),
        (GOOD | {"drift": {"method": "z", "threshold": "learned"}}, "drift: z gives a p-value"),
        (GOOD | {"description": ""}, "description is '', not a text"),
        (GOOD | {"labels_only": 1}, "labels_only is 1"),
        (GOOD | {"dtype": "text"}, "is text and lacks vocabulary"),
        (TEXT | {"vocabulary": ["a", "a"]}, "in the vocabulary twice"),
        (TEXT | {"vocabulary": []}, "at least one"),
        (TEXT | {"unknown": "missing"}, "unknown_code is for encode ordinal and unknown code only"),
        (TEXT | {"domain": {"min": 1}}, "domain: the key min is not known"),
        ({key: value for key, value in TEXT.items() if key != "unknown_code"}, "unknown_code is None"),
    ],
)
def test_specs_that_are_none(feature, reason):
    with pytest.raises(tidemill.SpecError, match=reason):
        tidemill.check({"format": 1, "model": "m", "features": [feature], "width": 1})


def test_other_formats_and_files(tmp_path):
    with pytest.raises(tidemill.SpecError, match="is of format 2, this package reads 1"):
        tidemill.check({"format": 2, "model": "m", "features": [GOOD], "width": 1})
    with pytest.raises(tidemill.SpecError, match='feature "x" is there twice'):
        tidemill.check({"format": 1, "model": "m", "features": [GOOD, GOOD | {"position": 1}], "width": 2})
    (tmp_path / "features.json").write_text("{")
    with pytest.raises(tidemill.SpecError, match="is no JSON"):
        tidemill.read_spec(tmp_path / "features.json")
