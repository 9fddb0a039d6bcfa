"""What both jobs share: the source, the sink and the report. DATA and OUT are folders."""

import atexit
import json
import os
import pathlib
import time

from bytewax.connectors.files import DirSource
from bytewax.outputs import DynamicSink, StatelessSinkPartition

DATA, OUT = os.environ["DATA"], os.environ["OUT"]


class Part(StatelessSinkPartition):
    def __init__(self, worker):
        self.file = open(f"{OUT}/part-{worker}.jsonl", "a", buffering=1 << 16)

    def write_batch(self, items):
        self.file.write("".join(items))

    def close(self):
        self.file.close()


class Parts(DynamicSink):
    def build(self, step_id, worker_index, worker_count):
        return Part(worker_index)


def source(name):
    """The two parts of an input."""
    return DirSource(pathlib.Path(DATA), glob_pat=f"{name}.p?.jsonl", batch_size=1000)


def report_at_end(name):
    """Reports when the process ends. The time starts now, when the job has been described."""
    with open(f"{DATA}/{name}.jsonl", "rb") as file:
        records = sum(1 for _ in file)
    started = time.time()
    atexit.register(lambda: print(json.dumps({"records": records, "seconds": time.time() - started}), flush=True))
