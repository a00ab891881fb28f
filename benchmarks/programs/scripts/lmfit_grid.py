"""lmfit Minimizer.brute, one map of 2,401 tasks, 0.3 ms each"""

import lmfit
import numpy as np

from benchmarks.programs.measure import measure

XS = np.linspace(0.0, 10.0, 18_000)


def prepare(turn):
    return 3.0 * np.exp(-((XS - 4.0 - turn) ** 2) / 2.0) + 0.5 * np.sin(XS)


def residual(params, seen):
    found = params.valuesdict()
    peak = found["height"] * np.exp(-((XS - found["centre"]) ** 2) / (2.0 * found["width"] ** 2))
    return peak + found["wave"] * np.sin(XS) - seen


def program(map_, seen):
    params = lmfit.Parameters()
    params.add("height", value=2.0, min=1.0, max=5.0)
    params.add("centre", value=3.0, min=2.0, max=7.0)
    params.add("width", value=0.8, min=0.5, max=2.0)
    params.add("wave", value=0.2, min=0.0, max=1.0)
    fit = lmfit.Minimizer(residual, params, fcn_args=(seen,))
    best = fit.minimize(method="brute", Ns=7, workers=map_)
    return [float(value) for value in best.brute_x0], float(best.brute_fval)


if __name__ == "__main__":
    measure(prepare, program)
