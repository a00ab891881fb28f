"""Count the words of gzipped logs, in a loop and with pimap.

Each file is unpacked and read line by line. The counts are added up as they come: `pimap` with
`ordered=False` gives each result as soon as it is there, so that a few of them are in memory at any
time, however many files there are. The loop and pimap must count the same.

    python examples/count_words.py
"""

import gzip
import random
import re
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from parmap import pimap

FILES, LINES = 24, 20_000
WORD = re.compile(r"[a-z]+")
SERVICES = ("billing", "cart", "login", "search", "shipping")
EVENTS = (
    "accepted the order {0} of user {1}",
    "timeout after {0} ms, will retry in {1} s",
    "cannot connect to database replica {1}: connection refused",
    "cache miss for key user-{0}, loaded from database",
    "finished job {0} with {1} warnings",
)


def write_logs(folder: Path) -> list[Path]:
    """Write the logs, one for each hour of a day."""
    chance = random.Random(8)
    texts = [
        f"{chance.choice(SERVICES)} {event.format(chance.randrange(90_000), chance.randrange(16))}"
        for event in chance.choices(EVENTS, weights=(9, 3, 1, 6, 4), k=5_000)
    ]
    for hour in range(FILES):
        lines = [
            f"{hour:02}:{60 * line // LINES:02} {text}\n"
            for line, text in enumerate(chance.choices(texts, k=LINES))
        ]
        packed = gzip.compress("".join(lines).encode(), compresslevel=1, mtime=0)
        (folder / f"{hour:02}.log.gz").write_bytes(packed)
    return sorted(folder.iterdir())


def count(path: Path) -> Counter[str]:
    """Count the words of one file."""
    words: Counter[str] = Counter()
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            words.update(WORD.findall(line))
    return words


def main() -> int:
    """Count twice, print the most frequent words, and return 1 if the counts differ."""
    with tempfile.TemporaryDirectory() as temporary:
        paths = write_logs(Path(temporary))
        print(
            f"{len(paths)} logs, {sum(path.stat().st_size for path in paths) / 1e6:.1f} MB packed"
        )

        start = time.perf_counter()
        expected: Counter[str] = Counter()
        for path in paths:
            expected.update(count(path))
        serial = time.perf_counter() - start

        start = time.perf_counter()
        words: Counter[str] = Counter()
        for counts in pimap(count, paths, ordered=False):
            words.update(counts)
        parallel = time.perf_counter() - start

    print(f"{words.total():,} words, {len(words)} different ones, the most frequent:")
    for word, times in words.most_common(5):
        print(f"  {word:<12}{times:>9,}")

    identical = words == expected
    print(f"\nserial {serial:.2f} s, pmap {parallel:.2f} s, ratio {serial / parallel:.2f}")
    print(f"identical results: {'yes' if identical else 'NO'}")
    return 0 if identical else 1


if __name__ == "__main__":
    sys.exit(main())
