"""24 gzip'd logs decompressed and counted, 45 ms each"""

import gzip
import random
from collections import Counter
from pathlib import Path

from benchmarks.programs.measure import measure


def prepare(turn):
    folder = Path(f"logs-{turn}")
    folder.mkdir()
    chance = random.Random(turn)
    lines = [
        f"10.0.{chance.randrange(256)}.{chance.randrange(256)} - - [{second}] "
        f'"GET /shop/{chance.randrange(500)}?q={chance.randrange(10**9)} HTTP/1.1" '
        f"{chance.choice((200, 200, 200, 304, 404, 500))} {chance.randrange(90_000)}\n"
        for second in range(40_000)
    ]
    for number in range(24):
        text = "".join(lines[number * 900 : number * 900 + 40_000 - 24 * 900])
        (folder / f"{number:02}.log.gz").write_bytes(gzip.compress(text.encode(), 6))
    return sorted(folder.iterdir())


def count(path):
    codes, sizes = Counter(), Counter()
    with gzip.open(path, "rt") as lines:
        for line in lines:
            request, _, rest = line.partition('" ')
            code, size = rest.split()
            page = request.split()[-2].partition("?")[0]
            codes[code] += 1
            sizes[page] += int(size)
    return dict(codes), sizes.most_common(3)


def program(map_, paths):
    return map_(count, paths)


if __name__ == "__main__":
    measure(prepare, program)
