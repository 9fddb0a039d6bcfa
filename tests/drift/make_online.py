"""Rows at which river 0.26.1 fires, for tests/river.rs. Inputs come from a generator that both sides can compute exactly."""

import json
from river import drift


class Rng:
    def __init__(s, seed):
        s.x = seed

    def u(s):
        s.x = (s.x * 6364136223846793005 + 1442695040888963407) % 2**64
        return (s.x >> 11) / 2**53


def stream(seed, n, kind):
    r = Rng(seed)
    out = []
    level = 0.3
    for i in range(n):
        if i % 700 == 699:
            level = r.u()
        u = r.u()
        out.append(u + level if kind == "real" else float(u < level))
    return out


res = []


def run(name, params, mk, kind, seeds, n=6000):
    for seed in seeds:
        d = mk()
        hits = []
        warns = []
        for i, v in enumerate(stream(seed, n, kind)):
            d.update(v)
            if d.drift_detected:
                hits.append(i)
            elif getattr(d, "warning_detected", False):
                warns.append(i)
        res.append(
            {
                "detector": name,
                "params": params,
                "kind": kind,
                "seed": seed,
                "n": n,
                "drifts": hits,
                "warnings": [len(warns), sum(warns), warns[0] if warns else 0, warns[-1] if warns else 0],
            }
        )


S = range(1, 6)
for p in (
    {},
    {"delta": 0.05, "clock": 1, "max_buckets": 3, "min_window_length": 10, "grace_period": 50},
    {"delta": 0.3, "clock": 7, "max_buckets": 8, "min_window_length": 1, "grace_period": 0},
):
    for k in ("real", "bits"):
        run("adwin", p, lambda: drift.ADWIN(**p), k, S)
for p in (
    {},
    {"threshold": 5.0},
    {"threshold": 10.0, "mode": "up", "delta": 0.05, "alpha": 0.999},
    {"threshold": 8.0, "mode": "down", "min_instances": 100},
):
    for k in ("real", "bits"):
        run("page_hinkley", p, lambda: drift.PageHinkley(**p), k, S)
for p in ({}, {"warm_start": 100, "warning_threshold": 1.0, "drift_threshold": 4.0}):
    run("ddm", p, lambda: drift.binary.DDM(**p), "bits", S)
# DDM on the errors of a real stream: more seeds, since warnings are many
json.dump(
    {"river": "0.26.1", "runs": res},
    open(__import__("os").path.dirname(__import__("os").path.abspath(__file__)) + "/river_0_26_1.json", "w"),
)
for r in res:
    print(r["detector"], r["params"], r["kind"], r["seed"], len(r["drifts"]), r["warnings"][0])
