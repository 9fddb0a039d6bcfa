"""Trains the model on made-up machines and writes machines.onnx: pip install -r requirements.txt, then run this.

What the program needs of a model: one input of f32 rows, whose columns are the features in their order, and an output
of probabilities as a tensor (zipmap off). The names in `feature_names` are compared with the program's when it starts.
"""

import numpy as np
from skl2onnx import to_onnx
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

FEATURES = ["celsius_mean", "celsius_max", "vibration_mean", "vibration_std"]

random = np.random.default_rng(7)
failing = random.random(5000) < 0.2
celsius = np.where(failing, random.normal(92, 4, 5000), random.normal(60, 6, 5000))
vibration = np.where(failing, random.normal(4, 0.7, 5000), random.normal(1.5, 0.4, 5000))
rows = np.column_stack([celsius, celsius + random.exponential(2, 5000), vibration, random.exponential(0.5, 5000)])
rows = rows.astype(np.float32)

model = make_pipeline(StandardScaler(), LogisticRegression()).fit(rows, failing.astype(int))
onnx = to_onnx(model, rows[:1], options={"zipmap": False}, target_opset=15)
entry = onnx.metadata_props.add()
entry.key, entry.value = "feature_names", ",".join(FEATURES)
with open("machines.onnx", "wb") as file:
    file.write(onnx.SerializeToString(deterministic=True))
print("machines.onnx, accuracy on its own training data:", model.score(rows, failing.astype(int)))
