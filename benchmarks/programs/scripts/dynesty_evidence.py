"""dynesty, 160 maps of 4 tasks, 1.4 ms each"""

from types import SimpleNamespace

import dynesty
import numpy as np

from benchmarks.programs.measure import measure

SIZE = 3


def prepare(turn):
    return np.random.default_rng(turn).normal(size=(50, SIZE))


def to_prior(cube):
    return 6.0 * cube - 3.0


def program(map_, sample):
    def log_likelihood(theta):
        total = 0.0
        for row in sample:
            total += float(np.log1p(((row - theta) ** 2).sum()))
        return -0.5 * total

    sampler = dynesty.NestedSampler(
        log_likelihood,
        to_prior,
        SIZE,
        nlive=50,
        pool=SimpleNamespace(map=map_),
        queue_size=4,
        sample="unif",
        rstate=np.random.default_rng(3),
    )
    sampler.run_nested(maxiter=600, print_progress=False, add_live=False)
    return round(float(sampler.results.logz[-1]), 9), sampler.results.niter


if __name__ == "__main__":
    measure(prepare, program)
