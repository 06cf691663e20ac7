"""Retries dead letters by a clock of its own. Usage: letter_clock_child.py STATE SHIFT SEED"""

from __future__ import annotations

import random
import sys
import time
from pathlib import Path

from lexigram_ray.core.config import WorkersConfig
from lexigram_ray.jobs.letter_sweep import Sweeper
from lexigram_ray.jobs.store import Store
from tests.chaos.faults.children import ready
from tests.chaos.faults.clock_child import clock_of
from tests.chaos.faults.two_jobs_child import stop_file

LOOK_SECONDS = 0.02


def main(state: Path, shift: str, chance: random.Random) -> None:
    """Look for what is due until the file `stop` is in the state directory."""
    config = WorkersConfig(state_dir=state)
    clock = clock_of(shift, chance)
    with Store.open(config.paths.store_url, clock=clock) as store:
        sweeper = Sweeper(config, store, clock, chance.random)
        ready()
        while not stop_file(state).exists():
            sweeper.look_for_due()
            time.sleep(LOOK_SECONDS)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], random.Random(sys.argv[3]))
