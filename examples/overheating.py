"""Trains overheating.onnx, the model of infer.rs: will a machine overheat soon, by its last ten seconds?

    pip install scikit-learn==1.5.2 skl2onnx==1.18.0
    python examples/overheating.py
"""

import pathlib

import numpy as np
from skl2onnx import to_onnx
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

FEATURES = ["mean", "min", "max"]

# Simulated windows: the hotter a machine is, and the faster it gets hotter, the more often it overheats soon.
chance = np.random.default_rng(7)
mean, rise = chance.uniform(40, 110, 20_000), chance.exponential(4, 20_000)
rows = np.column_stack([mean, mean - rise / 2, mean + rise / 2]).astype(np.float32)
overheats = mean + 2 * rise + chance.normal(0, 5, 20_000) > 100

model = make_pipeline(StandardScaler(), LogisticRegression()).fit(rows, overheats)
# Without ZipMap the probabilities are a tensor of two columns. A batch has any number of rows.
exported = to_onnx(model, rows[:1], options={"zipmap": False}, target_opset={"": 15, "ai.onnx.ml": 3})
names = exported.metadata_props.add()
names.key, names.value = "feature_names", ",".join(FEATURES)
pathlib.Path(__file__).with_suffix(".onnx").write_bytes(exported.SerializeToString(deterministic=True))
print(f"accuracy {model.score(rows, overheats):.3f}")
