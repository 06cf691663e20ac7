"""A process that takes from a shared budget. Usage: rate_limit_child.py URL PER_MINUTE TAKES."""

from __future__ import annotations

import random
import sys
import time

from lexigram_ray.jobs.rate_limits import StoreRateLimit

LARGEST = 40


def take(url: str, per_minute: float, takes: int) -> None:
    """Take as fast as it goes, wait for nothing, and say when each amount may be used."""
    limit = StoreRateLimit(url, "server", per_minute)
    print("ready", flush=True)
    seed = int(sys.stdin.readline())
    drawn = random.Random(seed)
    for _ in range(takes):
        amount = drawn.randint(1, LARGEST)
        wait = limit.reserve(amount)
        print(time.time() + wait, amount, flush=True)


if __name__ == "__main__":
    take(sys.argv[1], float(sys.argv[2]), int(sys.argv[3]))
