"""Choose a model by cross-validation: every candidate on every fold, in a loop and with pmap.

Handwritten digits, which come with scikit-learn, are to be told apart by support vector machines.
Each of six settings is fitted on four fifths of the digits and tried on the last, five times
over. No `n_jobs` is set: it is the loop over settings and folds that is parallel. The loop and
pmap must give the same scores.

    pip install scikit-learn
    python examples/cross_validate.py
"""

import sys
import time
from itertools import product
from statistics import fmean

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from parmap import pmap

PENALTIES = (1.0, 3.0, 10.0)
WIDTHS = (0.003, 0.01)
Fold = tuple[NDArray[np.int64], NDArray[np.int64]]


def main() -> int:
    """Validate twice, print the best settings, and return 1 if the scores differ."""
    images, digits = load_digits(return_X_y=True)
    folds = list(StratifiedKFold(5, shuffle=True, random_state=0).split(images, digits))
    settings = list(product(PENALTIES, WIDTHS))
    print(f"{len(images)} digits, {len(settings)} settings, {len(folds)} folds")

    def score(task: tuple[tuple[float, float], Fold]) -> float:
        (penalty, width), (train, test) = task
        model = make_pipeline(StandardScaler(), SVC(C=penalty, gamma=width))
        model.fit(images[train], digits[train])  # the images travel once to each worker
        return float(model.score(images[test], digits[test]))

    tasks = list(product(settings, folds))

    start = time.perf_counter()
    expected = [score(task) for task in tasks]
    serial = time.perf_counter() - start

    start = time.perf_counter()
    scores = pmap(score, tasks)
    parallel = time.perf_counter() - start

    of_setting: dict[tuple[float, float], list[float]] = {}
    for (setting, _fold), value in zip(tasks, scores, strict=True):
        of_setting.setdefault(setting, []).append(value)
    print(f"\n{'penalty':>8}{'width':>8}{'accuracy':>10}{'worst fold':>12}")
    for setting in sorted(of_setting, key=lambda setting: -fmean(of_setting[setting])):
        values = of_setting[setting]
        print(f"{setting[0]:>8}{setting[1]:>8}{fmean(values):>10.4f}{min(values):>12.4f}")

    identical = scores == expected
    print(f"\nserial {serial:.2f} s, pmap {parallel:.2f} s, ratio {serial / parallel:.2f}")
    print(f"identical results: {'yes' if identical else 'NO'}")
    return 0 if identical else 1


if __name__ == "__main__":
    sys.exit(main())
