"""Writes two versions of a model with a features.json each, and the scores that rows get by the Python package.

Called with this folder, in an environment with `python/`; what it writes is in the repository.
"""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pandas as pd
import tidemill
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder

ROWS = 400


def rows_of(chance, countries):
    return pd.DataFrame(
        {
            "amount": np.round(chance.gamma(2.0, 20.0, ROWS), 2),
            "age": np.where(chance.random(ROWS) < 0.2, np.nan, chance.integers(18, 90, ROWS).astype(float)),
            "country": chance.choice(countries, ROWS),
            "channel": chance.choice(["shop", "web"], ROWS),
        }
    )


def train(root, seed, countries):
    """Each version has its own median, vocabulary and width."""
    chance = np.random.default_rng(seed)
    rows = rows_of(chance, countries)
    labels = (rows["amount"] > 40) ^ (rows["country"] == "IT") ^ (chance.random(ROWS) < 0.1)
    columns = ColumnTransformer(
        [
            ("numbers", SimpleImputer(strategy="median", add_indicator=True), ["amount", "age"]),
            ("country", OneHotEncoder(handle_unknown="ignore", sparse_output=False), ["country"]),
            ("channel", OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1), ["channel"]),
        ]
    )
    model = make_pipeline(columns, RandomForestClassifier(5, max_depth=4, random_state=0)).fit(rows, labels)
    rules = {
        "amount": {"domain": {"min": 0.0, "max": 500.0, "disallow_inf": True}, "on_out_of_range": "clip"},
        "age": {"max_age": "1h"},
    }
    return tidemill.export(model, rows, labels.astype(int), root=root, name="payments", features=rules)


def scores(exported, rows):
    session = onnxruntime.InferenceSession(exported.folder / "model.onnx", providers=["CPUExecutionProvider"])
    found = session.run(["probabilities"], {"features": tidemill.encode(exported.spec, rows)})[0]
    return found[:, 1].astype(float)


root = Path(sys.argv[1])
shutil.rmtree(root / "payments", ignore_errors=True)
versions = [train(root, 20261130, ["DE", "FR", "IT"]), train(root, 20261131, ["DE", "ES", "IT", "PT"])]
odd = pd.DataFrame(
    {
        "amount": [12.5, np.nan, -3.0, 1e6, np.inf, 0.1],
        "age": [30.0, np.nan, 40.5, np.nan, 18.0, 1e-40],
        "country": ["DE", "XX", None, "IT", "FR", ""],
        "channel": ["web", "shop", "fax", None, "web", "shop"],
    }
)
some = pd.concat([rows_of(np.random.default_rng(3), ["DE", "FR", "IT", "ES"]).iloc[:100], odd], ignore_index=True)
both = [scores(version, some) for version in versions]
with open(root / "rows.jsonl", "w") as file:
    for at, row in some.iterrows():
        given = {key: None if pd.isna(value) else value for key, value in row.items()}
        if given["amount"] == np.inf:
            given["amount"] = "Infinity"
        file.write(json.dumps({"features": given, "scores": [found[at] for found in both]}) + "\n")
