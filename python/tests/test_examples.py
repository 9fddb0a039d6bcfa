"""The examples run on a training set of the shape that the program writes."""

import json
import runpy
from pathlib import Path

import numpy as np
import pytest

import tidemill

FRAUD = Path(__file__).parent.parent / "examples" / "fraud.py"
DAY = 86_400_000


def write(folder, days, count=4000):
    """As `fraud_velocity --features` does, in several files and not in order."""
    rng = np.random.default_rng(3)
    folder.mkdir()
    lines = []
    for at, time in enumerate(np.sort(rng.integers(0, days * DAY, count)).tolist()):
        amount = float(np.exp(rng.normal(3, 1)))
        features = {"amount": amount, "is_night": float(rng.random() < 0.2), "card_count_1d": float(rng.poisson(3))}
        lines.append({"tx_id": at, "ts": 1767225600000 + time, "is_fraud": int(amount > 60), "features": features})
    for part in range(3):
        text = "".join(json.dumps(line) + "\n" for line in lines[part::3])
        (folder / f"part-e000000000{part}-w000.jsonl").write_text(text)


def test_fraud(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "features", 80)
    runpy.run_path(str(FRAUD))
    assert "--models models --use-model fraud_velocity/1" in capsys.readouterr().out
    spec = tidemill.read_spec("models/fraud_velocity/1/features.json")
    assert [one["name"] for one in spec["features"]] == ["amount", "is_night", "card_count_1d"]
    assert [one["drift"]["threshold"] for one in spec["features"]] == ["learned", 0.1, "learned"]
    baseline = json.loads(Path("models/fraud_velocity/1/baseline.json").read_text())
    assert len(baseline["chunks"]) == 10


def test_fraud_with_too_few_days(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "features", 30, 400)
    with pytest.raises(SystemExit, match="30 days are too few"):
        runpy.run_path(str(FRAUD))
    assert not Path("models").exists()
