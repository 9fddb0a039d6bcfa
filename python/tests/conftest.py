"""Made-up payments: numbers with gaps, texts with gaps, and a label that depends on them."""

import json
import os

# Threads of tree libraries wait for each other where cores are busy; before the first of them is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import onnxruntime
import pandas as pd
import pytest

import tidemill

COUNTRIES = ["AT", "DE", "FR", "US"]
CHANNELS = ["app", "shop, till", "web"]


def payments(seed, count=3000, gaps=True):
    """Numbers `amount` (heavy tail), `age`, `visits` (whole), `known` (bool), texts `country` and `channel`, label `fraud`."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "amount": np.exp(rng.normal(3, 1.5, count)),
            "age": rng.integers(18, 90, count).astype(float),
            "visits": rng.poisson(4, count),
            "known": rng.random(count) < 0.3,
            "country": rng.choice(COUNTRIES, count).astype(object),
            "channel": rng.choice(CHANNELS, count).astype(object),
        }
    )
    chance = frame["amount"] / 60 + (frame["country"] == "FR") - frame["known"] * 2.0 - frame["age"] / 90
    frame["fraud"] = (chance + rng.logistic(0, 0.5, count) > 0.5).astype(int)
    if gaps:
        for name, share in (("amount", 0.1), ("age", 0.3), ("country", 0.05), ("channel", 0.2)):
            frame.loc[rng.random(count) < share, name] = np.nan
    return frame


@pytest.fixture
def data():
    return payments(7)


@pytest.fixture
def export(tmp_path):
    """Exports a model named `fraud` into an empty repository."""

    def run(model, rows, labels=None, **options):
        return tidemill.export(model, rows, labels, root=tmp_path, name="fraud", **options)

    return run


def scores_of(exported, tensor, output="probabilities", column=1):
    """Runs the file as the engine does: batches of 64."""
    session = onnxruntime.InferenceSession(exported.folder / "model.onnx", providers=["CPUExecutionProvider"])
    parts = [session.run([output], {"features": tensor[at : at + 64]})[0] for at in range(0, len(tensor), 64)]
    return np.concatenate([part.reshape(len(part), -1)[:, column] for part in parts])


def read(exported, file):
    return json.loads((exported.folder / file).read_text())


def golden(exported):
    return [json.loads(line) for line in (exported.folder / "golden.jsonl").read_text().splitlines()]


def feature(exported, name):
    return next(one for one in exported.spec["features"] if one["name"] == name)
