"""Fit an epidemic to its daily cases: SciPy's differential evolution, with `map` and with pmap.

An outbreak follows the SEIR model, a small system of differential equations. How long people
incubate is known; the other three parameters are to be found from noisy daily counts.
`differential_evolution` asks for the misfit of a whole generation of guesses at once, and takes
any map as `workers=`. The loop and pmap must take the same way to the same minimum.

    pip install scipy
    python examples/fit_epidemic.py
"""

import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.integrate import solve_ivp
from scipy.optimize import differential_evolution

from parmap import pmap

PEOPLE = 1_000_000
DAYS = np.arange(0.0, 160.0)
INCUBATION = 5.2  # days
TRUTH = (0.42, 6.5, 40.0)
BOUNDS = {
    "contacts per day": (0.1, 1.0),
    "days of illness": (3.0, 14.0),
    "ill on day 0": (1.0, 200.0),
}


def spread(_day: float, state: NDArray[np.float64], *rates: float) -> list[float]:
    """Say how the numbers of susceptible, exposed and ill people change in a day."""
    susceptible, exposed, ill, _recovered = state
    contacts, illness = rates
    infected = contacts * susceptible * ill / PEOPLE
    sickened, healed = exposed / INCUBATION, ill / illness
    return [-infected, infected - sickened, sickened - healed, healed]


def daily_cases(guess: tuple[float, ...]) -> NDArray[np.float64]:
    """Compute how many people fall ill on each day."""
    *rates, first = guess
    start = [PEOPLE - first, 0.0, first, 0.0]
    course = solve_ivp(spread, (DAYS[0], DAYS[-1]), start, t_eval=DAYS, args=rates, rtol=1e-4)
    everyone_so_far: NDArray[np.float64] = course.y[2] + course.y[3]
    return np.diff(everyone_so_far)


def counted_cases() -> NDArray[np.float64]:
    """Make what the health office has counted: the truth, with Poisson noise."""
    cases = np.maximum(daily_cases(TRUTH), 0.0)
    return np.random.default_rng(20).poisson(cases).astype(float)


def fit(counted: NDArray[np.float64], workers: Callable[..., Any]) -> Any:
    """Find the parameters whose course comes nearest to the counts."""

    def misfit(guess: NDArray[np.float64]) -> float:
        difference = np.sqrt(np.maximum(daily_cases(tuple(guess)), 0.0)) - np.sqrt(counted)
        return float((difference**2).sum())

    return differential_evolution(
        misfit,
        list(BOUNDS.values()),
        popsize=12,
        maxiter=11,
        polish=False,
        rng=1,
        updating="deferred",  # a generation at once, which is what can be parallel
        workers=workers,
    )


def main() -> int:
    """Fit twice, print what was found, and return 1 if the two differ."""
    counted = counted_cases()
    print(f"{counted.sum():,.0f} cases in {len(counted)} days")

    start = time.perf_counter()
    expected = fit(counted, workers=map)
    serial = time.perf_counter() - start

    start = time.perf_counter()
    found = fit(counted, workers=pmap)
    parallel = time.perf_counter() - start

    print(f"\nafter {found.nfev} courses, misfit {found.fun:,.0f}")
    for name, value, truth in zip(BOUNDS, found.x, TRUTH, strict=True):
        print(f"{name:<20}{value:>8.2f}, in truth {truth:>6.2f}")

    identical = (found.x.tolist(), found.fun, found.nfev) == (
        expected.x.tolist(),
        expected.fun,
        expected.nfev,
    )
    print(f"\nserial {serial:.2f} s, pmap {parallel:.2f} s, ratio {serial / parallel:.2f}")
    print(f"identical results: {'yes' if identical else 'NO'}")
    return 0 if identical else 1


if __name__ == "__main__":
    sys.exit(main())
