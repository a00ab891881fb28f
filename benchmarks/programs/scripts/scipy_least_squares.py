"""SciPy least_squares, 45 maps of 6 tasks, 1.6 ms each"""

import numpy as np
from scipy.integrate import solve_ivp
from scipy.optimize import least_squares

from benchmarks.programs.measure import measure

TIMES = np.linspace(0.0, 8.0, 40)


def prepare(turn):
    return concentrations([1.0, 0.5, 0.2, 1.0 + 0.1 * turn, 0.1, 0.05])


def concentrations(rates):
    def reaction(_time, state):
        a, b, c = state
        forward, back = rates[0] * a, rates[4] * c
        return [back - forward, forward - rates[1] * b - rates[5] * b * c, rates[1] * b - back]

    start = [rates[3], rates[2], 0.0]
    return solve_ivp(reaction, (0.0, 8.0), start, t_eval=TIMES, method="RK23").y.ravel()


def program(map_, seen):
    def residuals(rates):
        return concentrations(rates) - seen

    fits = []
    for start in (0.2, 0.3, 0.5, 0.7, 0.9):
        found = least_squares(residuals, [start] * 6, bounds=(0.01, 3.0), workers=map_)
        fits.append((np.round(found.x, 6).tolist(), found.nfev))
    return fits


if __name__ == "__main__":
    measure(prepare, program)
