"""Writes sklearn.json: measures of scikit-learn on made-up scores, which `sklearn.rs` compares with those of a report.

Made with scikit-learn 1.5.2 and numpy 1.26 or later: python make_sklearn.py > sklearn.json
"""

import json

import numpy as np
import sklearn
from sklearn.metrics import average_precision_score, log_loss, precision_score, recall_score, roc_auc_score

cases = []
for seed, (count, share, digits) in enumerate([(500, 0.1, 7), (1500, 0.05, 7), (600, 0.5, 2), (300, 0.3, 1)]):
    random = np.random.Generator(np.random.PCG64(seed))
    truth = random.random(count) < share
    score = np.clip(random.normal(np.where(truth, 0.6, 0.35), 0.2), 0, 1).round(digits).astype(np.float32).astype(np.float64)
    case = {"truth": truth.astype(int).tolist(), "score": score.tolist()}
    case |= {
        "log_loss": log_loss(truth, score),
        "roc_auc": roc_auc_score(truth, score),
        "average_precision": average_precision_score(truth, score),
        "precision": precision_score(truth, score > 0.5),
        "recall": recall_score(truth, score > 0.5),
    }
    cases.append(case)
print(json.dumps({"sklearn": sklearn.__version__, "cases": cases}))
