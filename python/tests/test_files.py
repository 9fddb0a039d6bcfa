"""What is written: the files, their hashes, the order of their bytes, and what the engine reads of them."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import lightgbm
import numpy as np
import onnx
import pandas as pd
import pyarrow
import pytest
import xgboost
from conftest import feature, golden, payments, read, scores_of
from pyarrow import parquet
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler

import tidemill

NUMBERS = ["amount", "age", "visits", "known"]
COLUMNS = [*NUMBERS, "country", "channel"]
FILES = ["baseline.json", "features.json", "golden.jsonl", "model.json", "model.onnx"]


def mixed():
    numbers = make_pipeline(SimpleImputer(strategy="median", add_indicator=True), StandardScaler())
    codes = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    texts = ColumnTransformer(
        [("n", numbers, NUMBERS), ("o", codes, ["country"]), ("h", OneHotEncoder(handle_unknown="ignore"), ["channel"])]
    )
    return make_pipeline(texts, RandomForestClassifier(n_estimators=10, max_depth=5, random_state=0))


@pytest.mark.parametrize("kind", ["mixed", "xgboost", "lightgbm", "logistic"])
def test_the_same_call_writes_the_same_bytes(kind, data, export):
    def once():
        model, names = {
            "mixed": (mixed(), COLUMNS),
            "xgboost": (xgboost.XGBClassifier(n_estimators=10, n_jobs=1), NUMBERS),
            "lightgbm": (lightgbm.LGBMClassifier(n_estimators=10, n_jobs=1, verbose=-1), NUMBERS),
            "logistic": (make_pipeline(SimpleImputer(), StandardScaler(), LogisticRegression()), NUMBERS),
        }[kind]
        return export(model.fit(data[names], data["fraud"]), data, "fraud")

    first, second = once(), once()
    assert (first.version, second.version) == (1, 2)
    for exported in (first, second):
        assert sorted(file.name for file in exported.folder.iterdir()) == FILES
    for file in FILES[:3] + FILES[4:]:
        assert (first.folder / file).read_bytes() == (second.folder / file).read_bytes(), file
    left, right = read(first, "model.json"), read(second, "model.json")
    assert {key for key in left if left[key] != right[key]} <= {"created", "version"}


def test_other_processes_write_the_same_bytes(tmp_path):
    """Nothing depends on the order of a set. That of the sets of operators of a forest differs between these seeds."""
    code = """if True:
        import sys; sys.path.insert(0, sys.argv[1])
        import tidemill; from sklearn.ensemble import IsolationForest; from test_files import *
        data = payments(7)
        tidemill.export(mixed().fit(data[COLUMNS], data["fraud"]), data, "fraud", root=sys.argv[2], name="fraud")
        numbers = data[NUMBERS].fillna(0)
        forest = IsolationForest(n_estimators=5, random_state=0).fit(numbers)
        tidemill.export(forest, numbers, root=sys.argv[2], name="forest")
    """
    for seed in ("1", "5"):
        call = [sys.executable, "-c", code, str(Path(__file__).parent), str(tmp_path)]
        subprocess.run(call, env=os.environ | {"PYTHONHASHSEED": seed}, check=True)
    for name in ("fraud", "forest"):
        for file in FILES:
            if file != "model.json":
                first, second = (tmp_path / name / version / file for version in ("1", "2"))
                assert first.read_bytes() == second.read_bytes(), (name, file)


def test_hashes_and_metadata(data, export):
    exported = export(mixed().fit(data[COLUMNS], data["fraud"]), data, "fraud", about={"trained_on": "made-up payments"})
    manifest = read(exported, "model.json")
    assert (manifest["name"], manifest["version"], manifest["trained_on"]) == ("fraud", 1, "made-up payments")
    for file, stated in manifest["sha256s"].items():
        assert hashlib.sha256((exported.folder / file).read_bytes()).hexdigest() == stated
    assert sorted(manifest["sha256s"]) == [file for file in FILES if file != "model.json"]
    assert manifest["sha256"] == manifest["sha256s"]["model.onnx"] == exported.sha256
    assert manifest["score"] == {"output": "probabilities", "column": 1}
    assert manifest["metrics"]["roc_auc"] > 0.7
    assert manifest["parity"]["rows"] == len(data)

    model = onnx.load(exported.folder / "model.onnx")
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    assert metadata == {
        "model_name": "fraud",
        "feature_names": ",".join(tidemill.column_names(exported.spec)),
        "tidemill.features": manifest["sha256s"]["features.json"],
    }
    assert len(metadata["feature_names"].split(",")) == exported.spec["width"]
    (tensor,) = model.graph.input
    assert tensor.name == "features"
    assert tensor.type.tensor_type.elem_type == onnx.TensorProto.FLOAT
    rows, columns = tensor.type.tensor_type.shape.dim
    assert not rows.HasField("dim_value")
    assert columns.dim_value == exported.spec["width"]


def test_golden_rows_get_their_scores(data, export):
    exported = export(mixed().fit(data[COLUMNS], data["fraud"]), data)
    lines = golden(exported)
    assert len(lines) == 200
    assert all(sorted(line) == ["features", "score"] for line in lines)
    names = [one["name"] for one in exported.spec["features"]]
    assert all(list(line["features"]) == names for line in lines)
    assert any(None in line["features"].values() for line in lines)
    categories = set(feature(exported, "country")["vocabulary"])
    assert sum(line["features"]["country"] not in categories | {None} for line in lines) == 1
    tensor = tidemill.encode(exported.spec, [line["features"] for line in lines])
    np.testing.assert_allclose(scores_of(exported, tensor), [line["score"] for line in lines], atol=1e-6)


def test_golden_rows_of_numbers_are_what_the_engine_reads_today(data, export):
    """One number or null for each column of the tensor, by name."""
    exported = export(xgboost.XGBClassifier(n_estimators=5).fit(data[NUMBERS], data["fraud"]), data)
    for line in golden(exported):
        assert list(line["features"]) == NUMBERS
        assert all(value is None or type(value) in (int, float) for value in line["features"].values())


def test_golden_rows_have_gaps_where_the_data_has_none(export):
    data = payments(1, gaps=False)
    exported = export(mixed().fit(data[COLUMNS], data["fraud"]), data)
    assert any(line["features"]["amount"] is None for line in golden(exported))
    one_gap = data.copy()
    one_gap.loc[1234, "age"] = np.nan
    lines = golden(export(mixed().fit(one_gap[COLUMNS], data["fraud"]), one_gap))
    assert sum(line["features"]["age"] is None for line in lines) == 1
    assert len(lines) == 200


def test_baseline(data, export):
    data.loc[0, "amount"] = np.nan
    exported = export(mixed().fit(data[COLUMNS], data["fraud"]), data)
    baseline = read(exported, "baseline.json")
    assert (baseline["format"], baseline["model"], baseline["rows"]) == (1, "fraud", len(data))
    amount = baseline["features"]["amount"]
    assert amount["values"] == sorted(data["amount"].dropna())
    assert amount["count"] + amount["missing"] == len(data)
    assert amount["missing"] == data["amount"].isna().sum()
    assert "sampled" not in amount
    assert set(baseline["features"]["known"]["values"]) == {0, 1}
    country = baseline["features"]["country"]
    assert country["categories"] == data["country"].value_counts().to_dict()
    assert "values" not in country
    scores = scores_of(exported, tidemill.encode(exported.spec, data))
    np.testing.assert_allclose(baseline["scores"]["values"], np.sort(scores), atol=1e-6)


def test_baseline_of_many_rows_is_a_sample(export):
    data = payments(2, 20_000)
    data.loc[:9, "amount"] = np.inf
    data.loc[10:12, "amount"] = -np.inf
    model = lightgbm.LGBMClassifier(n_estimators=5, verbose=-1).fit(data[NUMBERS], data["fraud"])
    exported = export(model, data)
    amount = read(exported, "baseline.json")["features"]["amount"]
    assert amount["sampled"] is True
    assert amount["infinite"] == 13
    assert amount["count"] + amount["missing"] + amount["infinite"] == 20_000
    assert len(amount["values"]) == 16_384
    assert amount["values"] == sorted(amount["values"])
    assert set(amount["values"]) <= set(data["amount"])
    assert all(np.isfinite(line["features"]["amount"] or 0) for line in golden(exported))


def parts_add_up(baseline):
    columns = [("scores", [baseline["scores"]], [part["scores"] for part in baseline["chunks"]])]
    for name, column in baseline["features"].items():
        columns.append((name, [column], [part["features"][name] for part in baseline["chunks"]]))
    for name, whole, parts in columns:
        for key in ("count", "missing", "infinite"):
            assert sum(part[key] for part in parts) == whole[0][key], f"{name}, {key}"
    assert all(list(part) == ["rows", "features", "scores"] for part in baseline["chunks"])
    assert sum(part["rows"] for part in baseline["chunks"]) == baseline["rows"]


def test_chunks_are_parts_of_the_rows_in_order_of_time(data, export):
    model = mixed().fit(data[COLUMNS], data["fraud"])
    chunks = read(export(model, data), "baseline.json")["chunks"]
    assert [part["rows"] for part in chunks] == [300] * 10
    for at, part in enumerate(chunks):
        rows = data[at * 300 : at * 300 + 300]
        assert part["features"]["amount"]["values"] == sorted(rows["amount"].dropna())
        assert part["features"]["country"]["categories"] == rows["country"].value_counts().to_dict()
    # The same rows in another order are the same chunks, if their time is known; equal times stay in their order.
    for name in ("event_time", "ts"):
        timed = (
            data.assign(**{name: np.arange(len(data)) // 2}).sample(frac=1, random_state=1).sort_index(kind="stable", key=lambda at: at % 2)
        )
        timed = timed.reset_index(drop=True)
        baseline = read(export(model, timed), "baseline.json")
        assert baseline["chunks"] == chunks
        parts_add_up(baseline)


def test_chunks_may_be_others_or_none(data, export):
    model = xgboost.XGBClassifier(n_estimators=2).fit(data[NUMBERS], data["fraud"])
    baseline = read(export(model, data[:1001], chunks=4), "baseline.json")
    assert [part["rows"] for part in baseline["chunks"]] == [251, 250, 250, 250]
    parts_add_up(baseline)
    assert "chunks" not in read(export(model, data, chunks=0), "baseline.json")
    assert "chunks" not in read(export(model, data[:1]), "baseline.json")
    baseline = read(export(model, data[:3]), "baseline.json")
    assert [part["rows"] for part in baseline["chunks"]] == [1, 1, 1]
    parts_add_up(baseline)


def test_chunks_of_many_rows_are_samples(export):
    data = payments(2, 60_000)
    data.loc[:9, "amount"] = np.inf
    model = lightgbm.LGBMClassifier(n_estimators=2, verbose=-1).fit(data[NUMBERS], data["fraud"])
    learned = {"amount": {"drift": {"method": "kolmogorov_smirnov", "threshold": "learned"}}}
    exported = export(model, data, features=learned)
    assert feature(exported, "amount")["drift"] == learned["amount"]["drift"]
    baseline = read(exported, "baseline.json")
    parts_add_up(baseline)
    first = baseline["chunks"][0]["features"]["amount"]
    assert (first["sampled"], len(first["values"]), first["infinite"]) == (True, 4096, 10)
    assert set(first["values"]) <= set(data["amount"][:6000])


def test_further_rules(data, export):
    rules = {
        "amount": {
            "description": "in euros",
            "domain": {"min": 0.0, "max": 50.0, "disallow_inf": True},
            "on_out_of_range": "clip",
            "presence": {"min_fraction": 0.8},
            "max_age": "1h",
            "drift": {"method": "psi", "threshold": 0.1},
        },
        "age": {"domain": {"max": 80}, "on_out_of_range": "dead_letter"},
    }
    exported = export(mixed().fit(data[COLUMNS], data["fraud"]), data, features=rules)
    assert feature(exported, "amount").items() >= rules["amount"].items()
    refused = tidemill.dead_letters(exported.spec, data)
    assert sorted(refused) == np.flatnonzero(data["age"] > 80).tolist()
    assert exported.max_difference < 1e-5
    assert read(exported, "model.json")["parity"]["rows"] < len(data) - len(refused)
    assert all((line["features"]["age"] or 0) <= 80 for line in golden(exported))
    assert read(exported, "baseline.json")["scores"]["missing"] == len(refused)


def test_next_version_is_after_the_last(data, export, tmp_path):
    for folder in ("7", "03", ".ipynb_checkpoints"):
        (tmp_path / "fraud" / folder).mkdir(parents=True)
    exported = export(xgboost.XGBClassifier(n_estimators=2).fit(data[NUMBERS], data["fraud"]), data)
    assert exported.folder == tmp_path / "fraud" / "8"


LINES = [
    {"ts": 1, "features": {"amount": 3.5, "country": "DE", "speed": "Infinity"}, "label": 0},
    {"ts": 2, "features": {"amount": None, "country": None, "speed": 2.0}, "label": 1},
]


def test_training_set_of_json_lines(tmp_path):
    folder = tmp_path / "set"
    folder.mkdir()
    for part, line in enumerate(LINES):
        (folder / f"part-{part}.jsonl").write_text(json.dumps(line) + "\n\n")
    (folder / "schema.txt").write_text("no rows")
    expected = pd.DataFrame({"amount": [3.5, np.nan], "country": ["DE", np.nan], "speed": [np.inf, 2.0], "ts": [1, 2], "label": [0, 1]})
    pd.testing.assert_frame_equal(tidemill.load_training_set(folder), expected)
    (tmp_path / "set.jsonl").write_text("".join(json.dumps(line) + "\n" for line in LINES))
    pd.testing.assert_frame_equal(tidemill.load_training_set(tmp_path / "set.jsonl"), expected)


def test_training_set_of_parquet(tmp_path):
    flat = [{"ts": line["ts"], "amount": line["features"]["amount"], "country": line["features"]["country"]} for line in LINES]
    pd.DataFrame(flat).to_parquet(tmp_path / "flat.parquet")
    pd.DataFrame([{"ts": 1, "features": {"amount": 3.5}}, {"ts": 2, "features": {"amount": None}}]).to_parquet(tmp_path / "nested.parquet")
    expected = pd.DataFrame({"ts": [1, 2], "amount": [3.5, np.nan], "country": ["DE", np.nan]})
    pd.testing.assert_frame_equal(tidemill.load_training_set(tmp_path / "flat.parquet"), expected)
    pd.testing.assert_frame_equal(tidemill.load_training_set(tmp_path / "nested.parquet")[["ts", "amount"]], expected[["ts", "amount"]])


def test_training_set_of_parquet_as_an_engine_writes_it(tmp_path):
    """Fields of the row, the features in a struct, and the list of what the model gets, with its names in the metadata."""
    rows = {
        "tx_id": [7, 8, 9],
        "ts": [1767225602454, 1767225602999, 1767225603000],
        "is_fraud": pyarrow.array([0, 1, None], pyarrow.uint8()),
        "features": [{"amount": 3.5, "country": "DE"}, {"amount": float("nan"), "country": None}, {"amount": 2.0, "country": "FR"}],
        "after": pyarrow.array([[3.5, 0.0], [2.75, 1.0], None], pyarrow.list_(pyarrow.float32())),
    }
    written = pyarrow.table(rows).replace_schema_metadata({"tidemill.columns": "amount,amount.missing"})
    for part in range(2):
        parquet.write_table(written.slice(part * 2, 2), tmp_path / f"part-{part}.parquet", row_group_size=1)
    loaded = tidemill.load_training_set(tmp_path)
    assert sorted(loaded) == ["amount", "country", "is_fraud", "ts", "tx_id"]
    assert (str(loaded["ts"].dtype), loaded["is_fraud"].isna().tolist()) == ("int64", [False, False, True])
    assert loaded["amount"].isna().tolist() == [False, True, False]
    made = tidemill.load_training_set(tmp_path, after=True)
    assert made["after.amount"].tolist()[:2] == [3.5, 2.75]
    assert made["after.amount.missing"].isna().tolist() == [False, False, True]


def test_what_the_model_gets_is_left_out_of_json_lines(tmp_path):
    lines = [{"features": {"amount": None}, "after": [2.5], "label": 1}, {"features": {"amount": 1}, "after": None, "label": 0}]
    (tmp_path / "set.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert sorted(tidemill.load_training_set(tmp_path / "set.jsonl")) == ["amount", "label"]
    made = tidemill.load_training_set(tmp_path / "set.jsonl", after=True)
    assert made["after.0"].isna().tolist() == [False, True]


def test_a_column_may_be_empty_in_one_file_and_missing_in_another(tmp_path):
    for part, line in enumerate(['{"a": null, "b": null, "n": 1}', '{"a": 3, "c": null}', '{"a": null}']):
        (tmp_path / f"part-{part}.jsonl").write_text(line + "\n")
    loaded = tidemill.load_training_set(tmp_path)
    assert list(loaded) == ["a", "b", "n", "c"]
    np.testing.assert_array_equal(loaded["a"], [np.nan, 3, np.nan])
    np.testing.assert_array_equal(loaded["n"], [1, np.nan, np.nan])
    assert loaded[["b", "c"]].isna().all(axis=None)


def test_files_that_are_no_parquet(tmp_path):
    (tmp_path / "set.parquet").write_bytes(b"PAR1 and nothing else")
    with pytest.raises(tidemill.TidemillError, match=r'set.parquet" cannot be read as Parquet: '):
        tidemill.load_training_set(tmp_path)
    both = {"amount": [1.0], "features": [{"amount": 2.0}]}
    parquet.write_table(pyarrow.table(both), tmp_path / "set.parquet")
    with pytest.raises(tidemill.TidemillError, match="amount is a feature and a field beside"):
        tidemill.load_training_set(tmp_path)


def test_folders_that_are_no_training_set(tmp_path, monkeypatch):
    with pytest.raises(tidemill.TidemillError, match=r"has no files .jsonl or .parquet"):
        tidemill.load_training_set(tmp_path)
    for name in ("a.jsonl", "b.parquet"):
        (tmp_path / name).touch()
    with pytest.raises(tidemill.TidemillError, match=r"has both .jsonl and .parquet"):
        tidemill.load_training_set(tmp_path)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(tidemill.TidemillError, match="needs pyarrow: pip install"):
        tidemill.load_training_set(tmp_path / "b.parquet")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{"a": 1}\n{"a": ', "line 2 is no JSON"),
        ("[1]", "line 1 is no object"),
        ("", "has no rows"),
        ('{"a": 1, "features": {"a": 2}}', "line 1: a is a feature and a field beside"),
    ],
)
def test_training_sets_that_cannot_be_read(text, reason, tmp_path):
    (tmp_path / "set.jsonl").write_text(text)
    with pytest.raises(tidemill.TidemillError, match=reason):
        tidemill.load_training_set(tmp_path / "set.jsonl")
