"""NumPy, singular values of 1,200 matrices, 0.8 ms each, on one BLAS thread"""

import os

os.environ["OMP_NUM_THREADS"] = "1"  # what those who parallelise NumPy code are told to do

import numpy as np

from benchmarks.programs.measure import measure


def prepare(turn):
    random = np.random.default_rng(turn)
    return [random.normal(size=(80, 60)) for _ in range(1_200)]


def condition(matrix):
    left, values, right = np.linalg.svd(matrix, full_matrices=False)
    error = np.abs((left * values) @ right - matrix).max()
    return round(float(values[0] / values[-1]), 6), bool(error < 1e-9)


def program(map_, matrices):
    return map_(condition, matrices)


if __name__ == "__main__":
    measure(prepare, program)
