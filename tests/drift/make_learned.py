"""Prints the learned thresholds of `operators/src/drift/compare.rs`: python make_learned.py (numpy 1.26.4, scipy 1.14.1).

Ten chunks of 40 numbers that slowly rise, and of 40 categories, each against all 400; mean and three standard deviations of
the statistic, as NannyML's StandardDeviationThreshold has them.
"""

import numpy as np
from scipy.spatial.distance import jensenshannon
from scipy.stats import ks_2samp

rows = np.arange(400)
numbers = (rows * 7919 % 1009) / 1009 + rows // 40 * 0.01
categories = rows * 7919 % 1009 * (rows // 40 + 20) // 4000


def filled(shares):
    """Evidently has something instead of nothing."""
    least = shares[shares > 0].min()
    return np.where(shares == 0, least / 1e6 if least <= 1e-4 else 1e-4, shares)


def psi(p, q):
    p, q = filled(p), filled(q)
    return np.sum((p - q) * np.log(p / q))


def kullback_leibler(p, q):
    p, q = (side / side.sum() for side in (filled(p), filled(q)))
    return np.sum(p * np.log(p / q))


def hellinger(p, q):
    return np.sqrt(max(0.0, 1 - np.sum(np.sqrt(p * q))))


def wasserstein(reference, chunk):
    """Its unit is the standard deviation of the reference."""
    points = np.unique(np.concatenate([reference, chunk]))
    of = [np.searchsorted(np.sort(side), points[:-1], side="right") / len(side) for side in (reference, chunk)]
    return np.sum(np.abs(of[0] - of[1]) * np.diff(points)) / max(np.std(reference), 0.001)


def learned(statistic, values, shares=None):
    parts = [values, *np.split(values, 10)]
    whole, *chunks = parts if shares is None else [shares(part) for part in parts]
    found = np.array([statistic(whole, chunk) for chunk in chunks])
    return np.mean(found) + 3 * np.std(found)


edges = np.histogram_bin_edges(numbers, bins="doane")
by_bin = lambda part: np.histogram(part, bins=edges)[0] / len(part)  # noqa: E731
by_name = lambda part: np.bincount(part, minlength=categories.max() + 1) / len(part)  # noqa: E731
of_shares = {"Psi": psi, "JensenShannon": jensenshannon, "KullbackLeibler": kullback_leibler, "Hellinger": hellinger}
for name, statistic in of_shares.items():
    print(f"numbers ({name}, {learned(statistic, numbers, by_bin)!r})")
print(f"numbers (Wasserstein, {learned(wasserstein, numbers)!r})")
print(f"numbers (KolmogorovSmirnov, {learned(lambda whole, chunk: ks_2samp(whole, chunk).statistic, numbers)!r})")
for name, statistic in of_shares.items():
    print(f"categories ({name}, {learned(statistic, categories, by_name)!r})")
