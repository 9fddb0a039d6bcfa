"""What the jobs of the comparison have to write, computed with NumPy from their definitions in docs/measured.md.

Shares no code with any program that is measured. Reads `iot.jsonl` and `tx.jsonl` in the folder that it is given, and the
model, and writes beside them, for `cargo xtask bench peers` to compare with:

    windows.f64    a row for each window: machine, start, n, then mean, std, max, min of each of the three signals
    expected.json  number of transactions, sums of the features plain and weighted by the transaction's number, the
                   transactions that the rule hits and those whose ratio is at its limit, those that the model hits
    features.f32   the features, a row for each transaction, for training
"""

import argparse
import json

import numpy as np
import onnxruntime

SIGNALS = ("temperature", "vibration", "pressure")
WINDOW, FIVE_MINUTES, HOUR = 10_000, 300_000, 3_600_000


def columns(path, fields):
    """Reads these fields of a file of JSON lines; `fields` maps each name to a function of its value."""
    found = {name: [] for name in fields}
    with open(path, "rb") as file:
        for line in file:
            record = json.loads(line)
            for name, convert in fields.items():
                found[name].append(convert(record[name]))
    return [np.array(values) for values in found.values()]


def number(text):
    """The number of an identifier such as `m00042`."""
    return int(text[1:])


def windows(data):
    fields = {"machine_id": number, "ts": int} | dict.fromkeys(SIGNALS, float)
    machine, ts, *signals = columns(f"{data}/iot.jsonl", fields)
    start = ts - ts % WINDOW
    order = np.lexsort((start, machine))
    machine, start = machine[order], start[order]
    first = np.flatnonzero(np.r_[True, (np.diff(machine) != 0) | (np.diff(start) != 0)])
    n = np.diff(np.r_[first, len(machine)])
    table = [machine[first], start[first], n]
    for values in signals:
        values = values[order]
        mean = np.add.reduceat(values, first) / n
        # Of the differences from the mean, in a second pass.
        std = np.sqrt(np.add.reduceat((values - np.repeat(mean, n)) ** 2, first) / n)
        table += [mean, std, np.maximum.reduceat(values, first), np.minimum.reduceat(values, first)]
    return np.column_stack(table).astype("<f8")


def features(data):
    """The numbers of all transactions and their features, by card, time and number."""
    fields = {"tx_id": int, "card_id": number, "amount": float, "ts": int}
    tx_id, card, amount, ts = columns(f"{data}/tx.jsonl", fields)
    order = np.lexsort((tx_id, ts, card))
    tx_id, card, amount, ts = tx_id[order], card[order], amount[order], ts[order]
    # All windows by binary search in one sorted key, and their sums by prefix sums of cents, which are exact.
    key = card * 10**11 + (ts - ts.min())
    first, at = np.searchsorted(card, card, "left"), np.arange(len(card))
    cents = np.r_[0, np.cumsum(np.round(amount * 100).astype(np.int64))]

    def window(length):
        low = np.maximum(np.searchsorted(key, key - length, "right"), first)
        return at + 1 - low, (cents[at + 1] - cents[low]) / 100.0

    (count_5m, sum_5m), (count_1h, sum_1h) = window(FIVE_MINUTES), window(HOUR)
    since = np.where(at == first, -1.0, (ts - np.r_[ts[0], ts[:-1]]) / 1000.0)
    ratio = amount / (sum_5m / count_5m)
    rows = np.column_stack([amount, count_5m, sum_5m, count_1h, sum_1h, since, ts // HOUR % 24, ratio])
    return tx_id, rows.astype(np.float64)


def scores(model, rows):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    name, pieces = session.get_inputs()[0].name, max(1, len(rows) // 65_536)
    return np.concatenate([session.run(["probabilities"], {name: piece})[0][:, 1] for piece in np.array_split(rows, pieces)])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", help="folder with the input")
    parser.add_argument("--model", help="the .onnx file; without it only the features are written")
    arguments = parser.parse_args()
    data = arguments.data
    tx_id, rows = features(data)
    rows.astype("<f4").tofile(f"{data}/features.f32")
    if arguments.model is None:
        return
    windows(data).tofile(f"{data}/windows.f64")
    weight = (tx_id % 101 + 1).astype(np.float64)
    often, ratio = rows[:, 1] >= 3, rows[:, 7]
    expected = {
        "records": len(rows),
        "sums": rows.sum(axis=0).tolist() + (rows * weight[:, None]).sum(axis=0).tolist(),
        "rule": np.sort(tx_id[often & (ratio > 3.0)]).tolist(),
        "at_the_limit": np.sort(tx_id[often & (np.abs(ratio - 3.0) < 1e-9)]).tolist(),
        "model": np.sort(tx_id[scores(arguments.model, rows.astype(np.float32)) > np.float32(0.85)]).tolist(),
    }
    with open(f"{data}/expected.json", "w") as file:
        json.dump(expected, file)


if __name__ == "__main__":
    main()
