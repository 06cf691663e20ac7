"""Rolls up from another process. Usage: metrics_child.py COMMAND URL"""

from __future__ import annotations

import sys
import time

from lexigram_ray.jobs.store import Store


def roll_up(url: str) -> None:
    """Add what has ended to the figures, one job a transaction, at the starting signal."""
    with Store.open(url) as store:
        say("ready")
        sys.stdin.readline()
        say(str(store.metrics.roll_up(limit=1)))


def roll_up_for_ever(url: str) -> None:
    """Do the same again and again, until somebody ends this process."""
    with Store.open(url) as store:
        say("ready")
        while True:
            store.metrics.roll_up(limit=3)
            time.sleep(0.001)


def say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    {each.__name__: each for each in (roll_up, roll_up_for_ever)}[sys.argv[1]](sys.argv[2])
