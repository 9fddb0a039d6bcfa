"""Exports fitted models into a model repository of Tidemill, the stream processor.

```text
fitted pipeline ─▶ split ─┬─▶ rules of each feature ─▶ features.json ─┐
                          └─▶ the steps after them ─▶ model.onnx ◀────┘ has the hash of features.json
rows ─▶ encode by the rules ─▶ score by ONNX Runtime ─▶ compared with the pipeline ─▶ golden.jsonl, baseline.json
```
"""

from .encode import dead_letters, encode
from .errors import DeadLetterError, ExportError, SpecError, TidemillError
from .export import Exported, export
from .rows import load_training_set
from .spec import check, column_names, read_spec

__all__ = [
    "DeadLetterError",
    "ExportError",
    "Exported",
    "SpecError",
    "TidemillError",
    "check",
    "column_names",
    "dead_letters",
    "encode",
    "export",
    "load_training_set",
    "read_spec",
]
