"""pure Python text, 100,000 lines of JSON, 6 us each"""

import json

from benchmarks.programs.measure import measure


def prepare(turn):
    return [
        json.dumps(
            {"user": i % 97, "at": i + turn, "tags": ["a", "b", str(i % 5)], "size": i * 1.5}
        )
        for i in range(100_000)
    ]


def tidy(line):
    row = json.loads(line)
    row["tags"] = sorted(set(row["tags"]))
    return json.dumps(row, sort_keys=True)


def program(map_, lines):
    return map_(tidy, lines)


if __name__ == "__main__":
    measure(prepare, program)
