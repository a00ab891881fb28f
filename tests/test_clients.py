"""Libraries that take a pool, a map or an executor get `Pool`, and give what they give without.

Each library is driven twice, by its own loop and by the pool, with the same seed.
"""

import importlib
import random

import numpy as np
import pytest

from parmap import Pool

# What these libraries warn of is theirs.
pytestmark = [pytest.mark.clients, pytest.mark.filterwarnings("ignore")]

PLACES = [{}, {"executor": "processes"}, {"executor": "threads"}]


@pytest.fixture(params=PLACES, ids=lambda options: options.get("executor", "auto"))
def pool(request):
    with Pool(2, **request.param) as made:
        yield made


def rosenbrock(x):
    return float(sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2))


def gaussian(x):
    return float(-0.5 * np.sum(np.asarray(x) ** 2))


def test_scipy(pool):
    """`workers=` of SciPy takes the pool's map: the same minimum, found in the same steps."""
    optimize = importlib.import_module("scipy.optimize")

    def minimum(**workers):
        bounds = [(-2, 2)] * 3
        return optimize.differential_evolution(
            rosenbrock, bounds, seed=1, maxiter=8, updating="deferred", **workers
        )

    alone, found = minimum(), minimum(workers=pool.map)

    assert found.nfev == alone.nfev
    assert found.x.tolist() == alone.x.tolist()


def test_scipy_brute(pool):
    """`brute` maps over all points of a grid, with a wrapper of its own around the function."""
    optimize = importlib.import_module("scipy.optimize")

    def minimum(**workers):
        return optimize.brute(rosenbrock, [(-2, 2)] * 2, Ns=12, finish=None, **workers)

    assert minimum(workers=pool.map).tolist() == minimum().tolist()


def test_emcee(pool):
    """`pool=` of emcee: the chain is the same, step by step."""
    emcee = importlib.import_module("emcee")

    def chain(**given):
        np.random.seed(3)
        start = np.random.randn(8, 2)
        sampler = emcee.EnsembleSampler(8, 2, gaussian, **given)
        sampler.random_state = np.random.RandomState(4).get_state()
        sampler.run_mcmc(start, 20)
        return sampler.get_chain().tolist()

    assert chain(pool=pool) == chain()


def unit_cube(u):
    return 10.0 * u - 5.0


def test_dynesty(pool):
    """`pool=` of dynesty, which asks for its size: the same evidence with the same queue."""
    dynesty = importlib.import_module("dynesty")

    def evidence(given):
        sampler = dynesty.NestedSampler(
            gaussian,
            unit_cube,
            2,
            nlive=30,
            rstate=np.random.default_rng(5),
            pool=given,
            queue_size=2,
        )
        sampler.run_nested(maxiter=60, print_progress=False)
        return sampler.results.logz.tolist()

    with Pool(executor="serial") as alone:
        assert evidence(pool) == evidence(alone)


def test_deap(pool):
    """`toolbox.register("map", ...)` of DEAP: the same population after some generations."""
    base = importlib.import_module("deap.base")
    algorithms = importlib.import_module("deap.algorithms")
    creator = importlib.import_module("deap.creator")
    tools = importlib.import_module("deap.tools")
    for name in ("Fitness", "Individual"):
        if hasattr(creator, name):
            delattr(creator, name)
    creator.create("Fitness", base.Fitness, weights=(1.0,))
    creator.create("Individual", list, fitness=creator.Fitness)

    def population(map_):
        random.seed(6)
        toolbox = base.Toolbox()
        toolbox.register("bit", random.randint, 0, 1)
        toolbox.register("individual", tools.initRepeat, creator.Individual, toolbox.bit, n=20)
        toolbox.register("population", tools.initRepeat, list, toolbox.individual)
        toolbox.register("evaluate", lambda individual: (sum(individual),))
        toolbox.register("mate", tools.cxTwoPoint)
        toolbox.register("mutate", tools.mutFlipBit, indpb=0.05)
        toolbox.register("select", tools.selTournament, tournsize=3)
        toolbox.register("map", map_)
        start = toolbox.population(n=20)
        found, _ = algorithms.eaSimple(start, toolbox, 0.5, 0.2, 5, verbose=False)
        return found, [individual.fitness.values for individual in found]

    assert population(pool.map) == population(map)


def test_nevergrad(pool):
    """`executor=` of nevergrad, which submits and polls futures: the same recommendation."""
    # It tells its optimizer of results as they end.  What a random search asks for next depends on
    # none of them, nor does the best of all on their order.
    nevergrad = importlib.import_module("nevergrad")

    def recommendation(**given):
        optimizer = nevergrad.optimizers.RandomSearch(parametrization=2, budget=20, num_workers=2)
        optimizer.parametrization.random_state = np.random.RandomState(7)
        return optimizer.minimize(rosenbrock, **given).value.tolist()

    assert recommendation(executor=pool) == recommendation()


def line(params, x, y):
    return params["a"] * x + params["b"] - y


def test_lmfit(pool):
    """`workers=` of lmfit, which sends a Minimizer that holds the pool: the same fit."""
    lmfit = importlib.import_module("lmfit")
    x = np.linspace(0, 1, 20)

    def fit(**workers):
        params = lmfit.create_params(
            a={"value": 1, "min": 0, "max": 4, "brute_step": 0.5},
            b={"value": 0, "min": -1, "max": 1, "brute_step": 0.5},
        )
        minimizer = lmfit.Minimizer(line, params, fcn_args=(x, 2 * x + 0.5))
        found = minimizer.minimize(method="brute", **workers)
        return found.params.valuesdict()

    assert fit(workers=pool.map) == fit()


def test_asyncio(pool):
    """`run_in_executor` takes the pool as it is."""
    import asyncio

    async def main():
        loop = asyncio.get_running_loop()
        tasks = [loop.run_in_executor(pool, gaussian, [x]) for x in range(5)]
        return await asyncio.gather(*tasks)

    assert asyncio.run(main()) == [gaussian([x]) for x in range(5)]
