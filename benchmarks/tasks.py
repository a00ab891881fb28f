"""The functions that are mapped.  Worker processes find them by name."""

from __future__ import annotations

import time
from time import perf_counter

ARRAY = 2**20  # float64: 8 MB


def spin(count, seed):
    """Compute for *count* rounds: the same work for everyone, whatever the clock says."""
    x = seed
    for _ in range(count):
        x = (x * 1103515245 + 12345) & 0x7FFFFFFF
    return x


def spin_itself(count):
    """Compute for *count* rounds, from *count*."""
    return spin(count, count)


def spin_with(table, count, index):
    """Compute from an entry of *table*, which is what makes this function large."""
    return spin(count, int(table[index]))


def nap(seconds, value):
    """Wait."""
    time.sleep(seconds)
    return value


def sum_of_squares(array):
    """Take an array, give a number."""
    return float((array * array).sum())


def scaled(number):
    """Take a number, give an array."""
    import numpy as np

    return np.full(ARRAY, float(number)) * 0.5


def tidy(text):
    """Do what is cheap to a short string."""
    return text.strip().capitalize()


def rate() -> float:
    """Return how many rounds of `spin` this machine does in a second, undisturbed."""
    count, best = 100_000, float("inf")
    for _ in range(10):
        began = perf_counter()
        spin(count, 1)
        best = min(best, perf_counter() - began)
    return count / best
