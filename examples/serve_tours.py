"""Serve heavy requests with FastAPI: an endpoint that computes on all cores, and stays awake.

A depot posts the stops of its vans and gets a short tour for each. Computed in a loop, the tours
keep the whole server from answering; with `await aio.pmap(...)` other requests are answered
meanwhile. Both endpoints are asked here, in this process and without a port, while a health check
is asked again and again. Their answers must be the same.

    pip install fastapi httpx
    python examples/serve_tours.py
"""

import asyncio
import math
import random
import sys
import time

import httpx
from fastapi import FastAPI
from pydantic import BaseModel

from parmap import aio

VANS, STOPS = 60, 150
Stop = tuple[float, float]

app = FastAPI()


class Vans(BaseModel):
    """What the depot posts: for each van, where it has to stop."""

    vans: list[list[Stop]]


def short_tour(stops: list[Stop]) -> list[int]:
    """Return an order of the stops from which no exchange of two ways makes a shorter one."""
    far = [[math.dist(one, other) for other in stops] for one in stops]
    tour = list(range(len(stops)))
    better = True
    while better:
        better = False
        for i in range(1, len(tour) - 1):
            for j in range(i + 1, len(tour)):
                a, b, c, d = tour[i - 1], tour[i], tour[j], tour[(j + 1) % len(tour)]
                if far[a][c] + far[b][d] < far[a][b] + far[c][d] - 1e-9:
                    tour[i : j + 1] = tour[i : j + 1][::-1]
                    better = True
    return tour


@app.post("/tours")
async def tours(request: Vans) -> list[list[int]]:
    """Compute the tours on all cores, while the server goes on serving."""
    return await aio.pmap(short_tour, request.vans)


@app.post("/tours-in-a-loop")
async def tours_in_a_loop(request: Vans) -> list[list[int]]:
    """Compute the tours one after the other, and keep everybody waiting."""
    return [short_tour(stops) for stops in request.vans]


@app.get("/health")
async def health() -> str:
    """Say that the server is awake."""
    return "awake"


async def ask(client: httpx.AsyncClient, path: str, data: object) -> tuple[object, float, int]:
    """Post *data*; return the answer, the seconds, and how many health checks went through."""
    start = time.perf_counter()
    request = asyncio.create_task(client.post(path, json=data))
    checks = 0
    while not request.done():
        checks += (await client.get("/health")).json() == "awake"
        await asyncio.sleep(0.02)
    answer = (await request).raise_for_status().json()
    return answer, time.perf_counter() - start, checks


async def main() -> int:
    """Ask both endpoints, and return 1 if their answers differ."""
    chance = random.Random(4)
    vans = [[(chance.random(), chance.random()) for _ in range(STOPS)] for _ in range(VANS)]
    print(f"{VANS} vans, {STOPS} stops each")

    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(
        transport=transport, base_url="http://depot", timeout=60
    ) as client:
        expected, serial, blocked = await ask(client, "/tours-in-a-loop", {"vans": vans})
        found, parallel, awake = await ask(client, "/tours", {"vans": vans})
    print(f"health checks answered meanwhile: {blocked} beside the loop, {awake} beside aio.pmap")

    identical = found == expected
    print(f"\nserial {serial:.2f} s, pmap {parallel:.2f} s, ratio {serial / parallel:.2f}")
    print(f"identical results: {'yes' if identical else 'NO'}")
    return 0 if identical else 1


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
