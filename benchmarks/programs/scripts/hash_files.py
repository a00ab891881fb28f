"""SHA-256 of 12,000 small files, 40 us each"""

import random
from hashlib import sha256
from pathlib import Path

from benchmarks.programs.measure import measure


def prepare(turn):
    folder = Path(f"files-{turn}")
    folder.mkdir()
    text = random.Random(turn).randbytes(80_000)
    for number in range(12_000):
        (folder / f"{number:05}").write_bytes(text[number : number + 2_000 + 5 * number])
    return sorted(folder.iterdir())


def digest(path):
    return path.name, sha256(path.read_bytes()).hexdigest()


def program(map_, paths):
    return map_(digest, paths)


if __name__ == "__main__":
    measure(prepare, program)
