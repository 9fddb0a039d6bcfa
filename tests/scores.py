"""Compares the scores in a folder of predictions with ONNX Runtime's own on the same features."""

import glob
import json
import sys

import numpy as np
import onnxruntime

folder, model, output, column = sys.argv[1:]
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
names = session.get_modelmeta().custom_metadata_map["feature_names"].split(",")
rows, found = [], []
for part in glob.glob(f"{folder}/part-*.jsonl"):
    with open(part) as file:
        for line in file:
            prediction = json.loads(line)
            rows.append(np.array([prediction["features"][name] for name in names], dtype=np.float32))
            found.append(prediction["score"])
assert rows, f"no predictions in {folder}"
rows, found, worst = np.stack(rows), np.array(found), 0.0
for start in range(0, len(rows), 4096):
    batch = rows[start : start + 4096]
    scores = session.run([output], {session.get_inputs()[0].name: batch})[0].reshape(len(batch), -1)[:, int(column)]
    worst = max(worst, np.abs(scores - found[start : start + 4096]).max())
print(f"{len(rows)} scores of {model}: the largest difference is {worst:.1e}")
sys.exit(0 if worst <= 1e-6 else 1)
