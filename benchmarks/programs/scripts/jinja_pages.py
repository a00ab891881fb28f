"""jinja2, 100 pages by an importable function, 10 ms each"""

from hashlib import sha256

import pages

from benchmarks.programs.measure import measure


def prepare(turn):
    return [
        {
            "title": f"page {number} of {turn}",
            "rows": [
                {"name": f"thing <{number}-{i}>", "price": i * 1.1, "count": (i + turn) % 9}
                for i in range(600)
            ],
        }
        for number in range(100)
    ]


def program(map_, found):
    return [sha256(text.encode()).hexdigest() for text in map_(pages.render, found)]


if __name__ == "__main__":
    measure(prepare, program)
