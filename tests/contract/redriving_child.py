"""What tests of redriving run in other processes. Usage: redriving_child.py COMMAND URL FOLDER."""

from __future__ import annotations

import random
import sys
import time
from pathlib import Path

from lexigram_ray.core.config import load_config
from lexigram_ray.jobs.letter_records import LetterFilter, LetterStatus
from lexigram_ray.jobs.letter_sweep import Sweeper
from lexigram_ray.jobs.redriving import redrive
from lexigram_ray.jobs.store import Store

OPEN = LetterFilter(statuses=(LetterStatus.OPEN,))


def redrive_all(url: str, folder: str) -> None:
    """Retry all that is open, at the starting signal."""
    with Store.open(url) as store:
        wait_for_signal()
        done = redrive(store, OPEN, staged=Path(folder))
        say(str(done.retried))


def schedule_all(url: str, folder: str, per_minute: str) -> None:
    """Have all that is open retried at a rate, from the starting signal on."""
    with Store.open(url) as store:
        wait_for_signal()
        done = redrive(store, OPEN, staged=Path(folder), per_minute=float(per_minute))
        say(str(done.scheduled))


def sweep(url: str, folder: str) -> None:
    """Sweep from the starting signal on, until killed."""
    config = load_config(state_dir=Path(folder))
    with Store.open(url) as store:
        sweeper = Sweeper(config, store, time.time, random.random)
        wait_for_signal()
        while True:
            sweeper.look_for_due()
            time.sleep(0.05)


def wait_for_signal() -> None:
    say("ready")
    sys.stdin.readline()


def say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    commands = (redrive_all, schedule_all, sweep)
    {command.__name__: command for command in commands}[sys.argv[1]](*sys.argv[2:])
