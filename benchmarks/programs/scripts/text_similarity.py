"""pure Python text, difflib on 300 pairs in a lambda, 5 ms each"""

import random
from difflib import SequenceMatcher
from itertools import pairwise

from benchmarks.programs.measure import measure

WORDS = ["the", "a", "of", "loop", "map", "task", "pool", "core", "time", "file", "line", "word"]


def prepare(turn):
    chance = random.Random(turn)
    texts = [" ".join(chance.choices(WORDS, k=200)) for _ in range(301)]
    return list(pairwise(texts))


def program(map_, pairs):
    return map_(lambda pair: SequenceMatcher(None, *pair).ratio(), pairs)


if __name__ == "__main__":
    measure(prepare, program)
