"""NannyML 0.13.1's formulas (performance_estimation/confidence_based/metrics.py) and scikit-learn's isotonic regression."""

import json, numpy as np, sklearn
from sklearn.isotonic import IsotonicRegression


class Rng:
    def __init__(s, seed):
        s.x = seed

    def u(s):
        s.x = (s.x * 6364136223846793005 + 1442695040888963407) % 2**64
        return (s.x >> 11) / 2**53


r = Rng(3)
fit = []
for i in range(3000):
    s = r.u()
    s = round(s, 2) if i % 2 else s
    fit.append((s, r.u() < 0.1 + 0.7 * s * s))
iso = IsotonicRegression(out_of_bounds="clip", increasing=True).fit([s for s, _ in fit], [float(y) for _, y in fit])
sc = np.array([r.u() * 1.2 - 0.1 for _ in range(5000)])
sc = np.clip(sc, 0, 1)
p = iso.predict(sc)
yhat = (sc >= 0.5).astype(float)
tp = p[yhat == 1].sum()
fp = (1 - p[yhat == 1]).sum()
fn = p[yhat == 0].sum()
o = np.argsort(sc)[::-1]
ps = p[o]
tps = np.r_[0, np.cumsum(ps)]
fps = np.r_[0, 1 + np.arange(len(ps)) - np.cumsum(ps)]
auc = np.trapezoid(tps / tps[-1], fps / fps[-1])
json.dump(
    {
        "sklearn": sklearn.__version__,
        "probabilities": [float(v) for v in p[:300]],
        "accuracy": float((1 - np.abs(yhat - p)).mean()),
        "precision": float(tp / (tp + fp)),
        "recall": float(tp / (tp + fn)),
        "roc_auc": float(auc),
    },
    open(__import__("os").path.dirname(__import__("os").path.abspath(__file__)) + "/estimates.json", "w"),
)
print(open(__import__("os").path.dirname(__import__("os").path.abspath(__file__)) + "/estimates.json").read()[-150:])
