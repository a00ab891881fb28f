"""Will the savings last? A Monte Carlo simulation that gives the same answer in every run.

A couple retires with savings in shares and bonds, spends a fixed sum each year, adjusted to prices,
and lives as long as chance has it. Each task simulates some thousand of such lives. With `seed=`
each task has random numbers of its own, `parmap.rng()`, whatever worker it runs on. They are those
that NumPy gives to whoever spawns generators by hand, which is what the loop does here: the two
must agree to the last digit.

    pip install numpy
    python examples/simulate_savings.py
"""

import sys
import time
from typing import NamedTuple

import numpy as np

from parmap import pmap, rng

SEED, TASKS, LIVES = 2026, 160, 4_000
SAVINGS, SPENDING, YEARS = 25.0, 1.0, 45
SHARES = 0.6
MEANS = (0.05, 0.01)  # of the yearly returns of shares and bonds, after inflation
SPREAD = np.linalg.cholesky([[0.18**2, 0.2 * 0.18 * 0.06], [0.2 * 0.18 * 0.06, 0.06**2]])


class Lives(NamedTuple):
    """What became of the lives of one task."""

    ruined: int
    years_without: float
    left: float


def simulate(random: np.random.Generator) -> Lives:
    """Simulate retirements, year by year, with the numbers of *random*."""
    savings = np.full(LIVES, SAVINGS)
    age_at_death = 65 + random.gamma(9.0, 2.5, LIVES)
    years_without = np.zeros(LIVES)
    for year in range(YEARS):
        alive = age_at_death > 65 + year
        savings = np.where(alive, np.maximum(savings - SPENDING, 0.0), savings)
        years_without += alive & (savings == 0.0)
        shares, bonds = SPREAD @ random.standard_normal((2, LIVES))
        growth = SHARES * np.exp(MEANS[0] + shares) + (1 - SHARES) * np.exp(MEANS[1] + bonds)
        savings = np.where(alive, savings * growth, savings)
    ruined = years_without > 0
    return Lives(int(ruined.sum()), float(years_without.sum()), float(np.median(savings)))


def main() -> int:
    """Simulate twice, print the risk, and return 1 if the two simulations differ."""
    print(f"{TASKS * LIVES:,} lives, at most {YEARS} years")

    start = time.perf_counter()
    streams = np.random.SeedSequence(SEED).spawn(TASKS)
    expected = [simulate(np.random.default_rng(stream)) for stream in streams]
    serial = time.perf_counter() - start

    start = time.perf_counter()
    lives = pmap(lambda _: simulate(rng()), range(TASKS), seed=SEED)
    parallel = time.perf_counter() - start

    ruined = sum(task.ruined for task in lives)
    risk = ruined / (TASKS * LIVES)
    error = (risk * (1 - risk) / (TASKS * LIVES)) ** 0.5
    print(f"\nthe savings end before the life in {risk:.2%} +- {error:.2%} of all lives,")
    without = sum(task.years_without for task in lives) / ruined
    print(f"then {without:.1f} years before it, on average;")
    left = float(np.median([task.left for task in lives]))
    print(f"half of all heirs get what {left:.1f} years would have cost, or more")

    identical = lives == expected
    print(f"\nserial {serial:.2f} s, pmap {parallel:.2f} s, ratio {serial / parallel:.2f}")
    print(f"identical results: {'yes' if identical else 'NO'}")
    return 0 if identical else 1


if __name__ == "__main__":
    sys.exit(main())
