"""The jobs `fraud` and `fraud-score`: velocity of a card in event-time order, then a rule, or the model named by MODEL.

Bytewax has no watermark of a stream: that of a card is its own newest time less 2 s, and what still waits leaves at the
end of the input. The order within a card, and so each feature, is the same.
"""

import atexit
import copy
import heapq
import json
import os
import sys
import threading
from collections import deque

import bytewax.operators as op
import numpy as np
import orjson
from bytewax.dataflow import Dataflow

sys.path.insert(0, os.path.dirname(__file__))
import common

FIVE_MINUTES, HOUR, BOUND = 300_000, 3_600_000, 2_000
END_OF_TIME = 1 << 62
MODEL = os.environ.get("MODEL")


def parse(line):
    t = orjson.loads(line)
    return t["card_id"], (t["ts"], t["tx_id"], t["amount"], t["card_id"], t["merchant_id"])


class Velocity(op.StatefulBatchLogic):
    def __init__(self, state):
        empty = ([], 0, None, deque(), deque(), 0.0, 0.0)
        self.heap, self.newest, self.last, self.few, self.many, self.sum_5m, self.sum_1h = state or empty

    def release(self, until):
        out = []
        few, many = self.few, self.many
        while self.heap and self.heap[0][0] <= until:
            ts, tx_id, amount, card, _ = heapq.heappop(self.heap)
            since = -1.0 if self.last is None else (ts - self.last) / 1000.0
            self.last = ts
            few.append((ts, amount))
            many.append((ts, amount))
            self.sum_5m += amount
            self.sum_1h += amount
            while few[0][0] <= ts - FIVE_MINUTES:
                self.sum_5m -= few.popleft()[1]
            while many[0][0] <= ts - HOUR:
                self.sum_1h -= many.popleft()[1]
            n, hour = len(few), ts // HOUR % 24
            features = (amount, n, self.sum_5m, len(many), self.sum_1h, since, hour, amount / (self.sum_5m / n))
            out.append((tx_id, card, features))
        return out

    def on_batch(self, values):
        for transaction in values:
            heapq.heappush(self.heap, transaction)
            if transaction[0] > self.newest:
                self.newest = transaction[0]
        return self.release(self.newest - BOUND), op.StatefulBatchLogic.RETAIN

    def on_eof(self):
        return self.release(END_OF_TIME), op.StatefulBatchLogic.RETAIN

    def snapshot(self):
        return copy.deepcopy((self.heap, self.newest, self.last, self.few, self.many, self.sum_5m, self.sum_1h))


class Worker:
    """A worker's model and sums. Workers are found by thread; a `threading.local` would be empty each time that Bytewax
    comes back into Python."""

    all = {}

    def __init__(self):
        self.records, self.alerts, self.sums = 0, 0, np.zeros(16)
        if MODEL:
            import onnxruntime

            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = options.inter_op_num_threads = 1
            self.session = onnxruntime.InferenceSession(MODEL, options)

    def scores(self, rows):
        batches = (rows[i : i + 64].astype(np.float32) for i in range(0, len(rows), 64))
        return np.concatenate([self.session.run(["probabilities"], {"features": batch})[0][:, 1] for batch in batches])


def decide(items):
    worker = Worker.all.get(threading.get_ident()) or Worker()
    Worker.all[threading.get_ident()] = worker
    transactions = [transaction for _, transaction in items]
    rows = np.array([features for _, _, features in transactions])
    weights = np.array([tx_id % 101 + 1 for tx_id, _, _ in transactions], float)
    worker.records += len(rows)
    worker.sums[:8] += rows.sum(axis=0)
    worker.sums[8:] += weights @ rows
    if MODEL:
        scores = worker.scores(rows)
        hits = scores > 0.85
    else:
        scores = rows[:, 7]
        hits = (rows[:, 1] >= 3) & (scores > 3.0)
    out = []
    for i in np.flatnonzero(hits):
        tx_id, card, _ = transactions[i]
        out.append(f'{{"tx_id":{tx_id},"card_id":"{card}","score":{scores[i]}}}\n')
    worker.alerts += len(out)
    return out


def write_sums():
    for i, worker in enumerate(Worker.all.values()):
        with open(f"{common.OUT}/sums-{i}.json", "w") as file:
            json.dump({"records": worker.records, "alerts": worker.alerts, "sums": worker.sums.tolist()}, file)


flow = Dataflow("fraud")
transactions = op.map("parse", op.input("in", flow, common.source("tx")), parse)
featured = op.stateful_batch("velocity", transactions, Velocity)
op.output("out", op.flat_map_batch("decide", featured, decide), common.Parts())
common.report_at_end("tx")
atexit.register(write_sums)
