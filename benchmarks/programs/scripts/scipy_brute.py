"""SciPy brute, one map of 10,000 tasks, 0.05 ms each"""

import numpy as np
from scipy.optimize import brute

from benchmarks.programs.measure import measure


def prepare(turn):
    return np.linspace(-3.0, 3.0, 2_000) + turn


def potential(point, grid):
    x, y = point
    waves = np.exp(-((grid - x) ** 2)) * np.cos(3.0 * grid + y)
    return float(np.abs(np.fft.rfft(waves)).sum() + 0.1 * (x * x + y * y))


def program(map_, grid):
    ranges = [slice(-2.0, 2.0, 0.04), slice(-2.0, 2.0, 0.04)]
    best, value, _, _ = brute(
        potential, ranges, args=(grid,), full_output=True, finish=None, workers=map_
    )
    return best.tolist(), value


if __name__ == "__main__":
    measure(prepare, program)
