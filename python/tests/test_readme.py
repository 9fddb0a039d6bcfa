"""The README's Python runs as it is written."""

import json
import re
from pathlib import Path

import numpy as np
from conftest import payments

README = Path(__file__).parent.parent / "README.md"


def test_readme(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("training").mkdir()
    with open("training/part-0.jsonl", "w") as file:
        for at, row in enumerate(payments(4, 1000).to_dict("records")):
            features = {name: None if row[name] is np.nan or row[name] != row[name] else row[name] for name in ("amount", "age", "country")}
            file.write(json.dumps({"ts": 1767225602454 + at, "fraud": row["fraud"], "features": features}) + "\n")
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    assert len(blocks) == 2
    names = {}
    for block in blocks:
        exec(block, names)
    assert names["tensor"].shape == (1000, 3)
    assert "models/fraud/1" in capsys.readouterr().out
    assert names["exported"].max_difference < 1e-6
