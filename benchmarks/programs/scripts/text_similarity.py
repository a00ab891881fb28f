"""pure Python text, difflib on 600 pairs in a lambda, 1 ms each"""

import random
from difflib import SequenceMatcher
from itertools import pairwise

from benchmarks.programs.measure import measure

WORDS = ["the", "a", "of", "loop", "map", "task", "pool", "core", "time", "file", "line", "word"]


def prepare(turn):
    chance = random.Random(turn)
    texts = [chance.choices(WORDS, k=150) for _ in range(601)]
    return list(pairwise(texts))


def program(map_, pairs):
    return map_(lambda pair: SequenceMatcher(None, *pair).ratio(), pairs)


if __name__ == "__main__":
    measure(prepare, program)
