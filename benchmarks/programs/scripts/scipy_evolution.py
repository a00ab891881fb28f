"""SciPy differential_evolution, 20 maps of 60 tasks, 0.7 ms each"""

import numpy as np
from scipy.integrate import odeint
from scipy.optimize import differential_evolution

from benchmarks.programs.measure import measure

TIMES = np.linspace(0.0, 10.0, 60)


def prepare(turn):
    stiffness, damping = 2.0 + turn, 0.3
    return odeint(motion, [1.0, 0.0], TIMES, args=(stiffness, damping))[:, 0]


def motion(state, _time, stiffness, damping):
    place, speed = state
    return [speed, -stiffness * place - damping * speed]


def program(map_, seen):
    def misfit(guess):
        computed = odeint(motion, [1.0, 0.0], TIMES, args=tuple(guess))[:, 0]
        return float(((computed - seen) ** 2).sum())

    found = differential_evolution(
        misfit,
        [(0.5, 6.0), (0.0, 1.0)],
        popsize=30,
        maxiter=19,
        tol=0.0,
        polish=False,
        updating="deferred",
        workers=map_,
        rng=1,
    )
    return found.x.tolist(), found.fun


if __name__ == "__main__":
    measure(prepare, program)
