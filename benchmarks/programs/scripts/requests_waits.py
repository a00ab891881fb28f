"""60 requests to a slow server (sleep, then JSON), 20 ms each"""

import json
import time

from benchmarks.programs.measure import measure


def prepare(turn):
    return [f"https://example.org/items/{60 * turn + number}" for number in range(60)]


def fetch(address):
    number = int(address.rpartition("/")[2])
    time.sleep(0.015 + 0.001 * (number % 11))
    reply = json.dumps({"id": number, "prices": [number * i for i in range(200)]})
    return sum(json.loads(reply)["prices"])


def program(map_, addresses):
    return map_(fetch, addresses)


if __name__ == "__main__":
    measure(prepare, program)
