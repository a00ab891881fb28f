"""Weigh a planet: sample the posterior of an orbit with emcee, in a loop and with a parmap.Pool.

The speed of a star towards us was measured some thousand times; a planet on an eccentric orbit
moves it. For each guess of the orbit Kepler's equation is solved for every measurement. emcee asks
its pool for the likelihoods of half of its walkers at a time. With the same seed, both chains must
be the same, number by number.

    pip install emcee
    python examples/sample_posterior.py
"""

import sys
import time
from typing import Any

import emcee
import numpy as np
from numpy.typing import NDArray

from parmap import Pool

Numbers = NDArray[np.float64]

NAMES = ("period [d]", "half amplitude [m/s]", "eccentricity", "argument [rad]", "phase [rad]")
TRUTH = np.array([117.3, 41.0, 0.35, 0.8, 2.1])
LOWEST = np.array([100.0, 0.0, 0.0, -np.pi, 0.0])
HIGHEST = np.array([140.0, 200.0, 0.9, np.pi, 2 * np.pi])
NOISE = 4.0  # m/s
WALKERS, STEPS = 32, 80


def speed(orbit: Numbers, days: Numbers) -> Numbers:
    """Compute the speed of the star on each day, in m/s."""
    period, amplitude, eccentricity, argument, phase = orbit
    mean = (2 * np.pi * days / period + phase) % (2 * np.pi)
    anomaly = mean + eccentricity * np.sin(mean)
    for _ in range(8):  # Newton's method for Kepler's equation
        wrong = anomaly - eccentricity * np.sin(anomaly) - mean
        anomaly -= wrong / (1 - eccentricity * np.cos(anomaly))
    shape = np.sqrt((1 + eccentricity) / (1 - eccentricity))
    true = 2 * np.arctan(shape * np.tan(anomaly / 2))
    towards_us: Numbers = amplitude * (np.cos(true + argument) + eccentricity * np.cos(argument))
    return towards_us


def log_posterior(orbit: Numbers, days: Numbers, measured: Numbers) -> float:
    """Return the logarithm of how well *orbit* explains what was measured."""
    if not ((orbit > LOWEST) & (orbit < HIGHEST)).all():
        return -np.inf
    return float(-0.5 * (((speed(orbit, days) - measured) / NOISE) ** 2).sum())


def measurements(number: int) -> tuple[Numbers, Numbers]:
    """Make the nights of two years, and what was measured."""
    random = np.random.default_rng(7)
    days = np.sort(random.uniform(0.0, 730.0, number))
    return days, speed(TRUTH, days) + random.normal(0.0, NOISE, number)


def sample(data: tuple[Numbers, Numbers], pool: Any = None) -> Numbers:
    """Let the walkers walk, and return the last half of where they were."""
    np.random.seed(3)  # emcee draws from NumPy's global generator
    start = TRUTH * (1 + 0.001 * np.random.standard_normal((WALKERS, len(TRUTH))))
    sampler = emcee.EnsembleSampler(WALKERS, len(TRUTH), log_posterior, args=data, pool=pool)
    sampler.run_mcmc(start, STEPS)
    chain: Numbers = sampler.get_chain(discard=STEPS // 2, flat=True)
    return chain


def main() -> int:
    """Sample twice, print the orbit, and return 1 if the two chains differ."""
    data = measurements(3_000)
    print(f"{len(data[0])} measurements, {WALKERS} walkers, {STEPS} steps")

    start = time.perf_counter()
    expected = sample(data)
    serial = time.perf_counter() - start

    start = time.perf_counter()
    with Pool() as pool:
        chain = sample(data, pool)
    parallel = time.perf_counter() - start

    print()
    for name, column, truth in zip(NAMES, chain.T, TRUTH, strict=True):
        print(f"{name:<22}{column.mean():>8.3f} +- {column.std():.3f}, in truth {truth:.3f}")

    identical = np.array_equal(chain, expected)
    print(f"\nserial {serial:.2f} s, pmap {parallel:.2f} s, ratio {serial / parallel:.2f}")
    print(f"identical results: {'yes' if identical else 'NO'}")
    return 0 if identical else 1


if __name__ == "__main__":
    sys.exit(main())
