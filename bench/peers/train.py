"""Trains `model.onnx`, the model of the job `fraud-score`, on made-up labels. The file is part of the repository, so that
all machines compare the same model; it is trained again, in an environment of models/requirements.txt, by

    oracle.py DATA && train.py DATA model.onnx

where DATA has the input of `cargo xtask bench peers` (`.cache/peers/small`).
"""

import argparse

import numpy as np
import onnx
import onnxruntime
import xgboost
from onnxmltools import convert_xgboost
from onnxmltools.convert.common.data_types import FloatTensorType


def labels(rows, random):
    """Frauds are amounts far above the card's mean in a burst, with noise."""
    amount, count_5m, since, ratio = rows[:, 0], rows[:, 1], rows[:, 5], rows[:, 7]
    odds = -5.0 + 1.1 * np.minimum(ratio, 12) * (count_5m >= 2) + 0.4 * np.log1p(amount)
    odds += -0.15 * np.clip(since, 0, 60) / 10 + 0.5 * random.standard_normal(len(rows))
    return random.random(len(rows)) < 1 / (1 + np.exp(-odds))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("model")
    arguments = parser.parse_args()
    rows = np.fromfile(f"{arguments.data}/features.f32", "<f4").reshape(-1, 8)
    fraud = labels(rows, np.random.default_rng(3))
    settings = {"n_estimators": 100, "max_depth": 6, "learning_rate": 0.1, "tree_method": "hist", "base_score": 0.5}
    classifier = xgboost.XGBClassifier(**settings, random_state=0, n_jobs=1).fit(rows, fraud)
    model = convert_xgboost(classifier, initial_types=[("features", FloatTensorType([None, 8]))], target_opset=15)
    model.doc_string = ""
    onnx.checker.check_model(model)
    with open(arguments.model, "wb") as file:
        file.write(model.SerializeToString(deterministic=True))
    session = onnxruntime.InferenceSession(arguments.model, providers=["CPUExecutionProvider"])
    scores = session.run(["probabilities"], {"features": rows})[0][:, 1]
    gap = np.abs(scores - classifier.predict_proba(rows)[:, 1]).max()
    print(f"{len(rows)} rows, {fraud.mean():.2%} frauds, {(scores > 0.85).sum()} above 0.85, ONNX Runtime differs by {gap:.1e}")
    assert gap < 1e-5


if __name__ == "__main__":
    main()
