"""emcee, 180 maps of 8 tasks, 1 ms each"""

from types import SimpleNamespace

import emcee
import numpy as np

from benchmarks.programs.measure import measure

STEPS, WALKERS = 90, 16
PHASES = np.linspace(0.0, 20.0, 2_000)


def prepare(turn):
    random = np.random.default_rng(turn)
    signal = 1.2 * np.sin(1.1 * PHASES + 0.4) + random.normal(0.0, 0.3, len(PHASES))
    return signal, np.array([1.2, 1.1, 0.4]) + 0.01 * random.normal(size=(WALKERS, 3))


def log_probability(theta, signal):
    amplitude, frequency, phase = theta
    if not (0.0 < amplitude < 5.0 and 0.0 < frequency < 3.0 and abs(phase) < 3.2):
        return -np.inf
    total = 0.0
    for harmonic in range(1, 25):
        part = amplitude / harmonic * np.sin(harmonic * (frequency * PHASES + phase))
        total -= 0.5 * float(((signal - part) ** 2).sum()) / harmonic
    return total


def program(map_, inputs):
    signal, start = inputs
    sampler = emcee.EnsembleSampler(
        WALKERS, 3, log_probability, args=(signal,), pool=SimpleNamespace(map=map_)
    )
    sampler.random_state = np.random.RandomState(7).get_state()
    sampler.run_mcmc(start, STEPS)
    return np.round(sampler.get_chain()[-1], 9).tolist()


if __name__ == "__main__":
    measure(prepare, program)
