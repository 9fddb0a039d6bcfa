"""The job `iot`: three signals of a machine in tumbling windows of 10 s."""

import math
import os
import sys
from datetime import datetime, timedelta, timezone

import bytewax.operators as op
import bytewax.operators.windowing as win
import orjson
from bytewax.dataflow import Dataflow

sys.path.insert(0, os.path.dirname(__file__))
import common

START = datetime(2023, 11, 14, tzinfo=timezone.utc)
START_MS = int(START.timestamp() * 1000)
SIGNALS = ("temperature", "vibration", "pressure")


def parse(line):
    r = orjson.loads(line)
    return r["machine_id"], (r["ts"], r["temperature"], r["vibration"], r["pressure"])


def new():
    """Count, then sum, sum of squares, maximum, minimum of each signal."""
    return [0] + [0.0, 0.0, -math.inf, math.inf] * 3


def add(totals, reading):
    totals[0] += 1
    for i, value in ((1, reading[1]), (5, reading[2]), (9, reading[3])):
        totals[i] += value
        totals[i + 1] += value * value
        if value > totals[i + 2]:
            totals[i + 2] = value
        if value < totals[i + 3]:
            totals[i + 3] = value
    return totals


def line(result):
    machine, (window, totals) = result
    n = totals[0]
    out = {"machine_id": machine, "window_start": START_MS + window * 10_000, "n": n}
    for i, name in zip((1, 5, 9), SIGNALS):
        mean = totals[i] / n
        out[f"{name}_mean"] = mean
        out[f"{name}_std"] = math.sqrt(max(0.0, totals[i + 1] / n - mean * mean))
        out[f"{name}_max"], out[f"{name}_min"] = totals[i + 2], totals[i + 3]
    return orjson.dumps(out).decode() + "\n"


def event_time(reading):
    return datetime.fromtimestamp(reading[0] / 1000, timezone.utc)


# The clock stands still: otherwise the watermark follows it, and a replay that is slower than real time loses readings.
clock = win.EventClock(event_time, wait_for_system_duration=timedelta(seconds=1), now_getter=lambda: START)
windower = win.TumblingWindower(length=timedelta(seconds=10), align_to=START)
flow = Dataflow("iot")
readings = op.map("parse", op.input("in", flow, common.source("iot")), parse)
windows = win.fold_window("window", readings, clock, windower, new, add, lambda a, b: a, ordered=False)
op.output("out", op.map("line", windows.down, line), common.Parts())
common.report_at_end("iot")
