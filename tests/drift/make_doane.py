"""Distances with bins that the reference alone decides (NannyML 0.13.1's rule, by numpy and scipy) for tests/reference.rs."""

import csv
import gzip
import json
import math
from pathlib import Path

import numpy as np
from scipy.spatial import distance
from scipy.stats import entropy

HERE = Path(__file__).parent


def col(f, name):
    v = [float(r[name]) for r in csv.DictReader(gzip.open(HERE / "reference" / (f + ".gz"), "rt")) if r[name] != ""]
    return np.array([x for x in v if math.isfinite(x)])


def fill(p):
    p = p.copy()
    m = p[p > 0].min()
    p[p == 0] = m / 1e6 if m <= 1e-4 else 1e-4
    return p


out = {}
for size in ("small", "large"):
    for kind in ("none", "drift"):
        for c in ["amount", "score", "steady", "since_last", "hour", "items", "tail", "zeros", "constant", "level"]:
            r, w = col(f"{size}_reference.csv", c), col(f"{size}_{kind}.csv", c)
            if len(np.unique(r)) > 20:
                e = np.histogram_bin_edges(r, "doane")
                p = np.histogram(r, e)[0]
                q = np.histogram(w, e)[0]
            else:
                keys = np.unique(r)
                p = np.array([(r == k).sum() for k in keys])
                q = np.array([(w == k).sum() for k in keys])
            if q.sum() < len(w):
                p = np.append(p, 0)
                q = np.append(q, len(w) - q.sum())
            p = p / len(r)
            q = q / len(w)
            P, Q = fill(p), fill(q)
            out[f"{size}_{kind}/{c}"] = {
                "bins": len(p),
                "jensen_shannon": float(distance.jensenshannon(p, q)),
                "hellinger": float(np.sqrt(max(0, 1 - np.sqrt(p * q).sum()))),
                "psi": float(((P - Q) * np.log(P / Q)).sum()),
                "kullback_leibler": float(entropy(P, Q)),
            }
(HERE / "doane.json").write_text(json.dumps(out, indent=0))
print(len(out), sum(v["bins"] for v in out.values()))
