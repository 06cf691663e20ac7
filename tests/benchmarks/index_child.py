"""Looks after one collection in a process of its own, as a maintenance run does; prints JSON.

Arguments: the folder of the collections, the collection, and how many hours later it is.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from contextlib import nullcontext
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

from lexigram_ray.embedding.devices import available_cpus
from lexigram_ray.vectors.collections import Collections
from lexigram_ray.vectors.upkeep import Surroundings, UpkeepRules, keep_up

ONE_MB_IN_KB = 1024


def main() -> None:
    """Look after it, and print what was done."""
    root, name, hours = Path(sys.argv[1]), sys.argv[2], float(sys.argv[3])
    steps: list[tuple[float, str]] = []
    began = time.monotonic()

    def tell(line: str) -> None:
        steps.append((time.monotonic() - began, line))
        print(f"{steps[-1][0]:7.1f} s  {line}", file=sys.stderr, flush=True)

    around = Surroundings(
        turn=nullcontext,
        now=lambda: datetime.now(UTC) + timedelta(hours=hours),
        rng=np.random.default_rng(8),
        cores=available_cpus(),
        tell=tell,
        should_stop=lambda: False,
    )
    done = keep_up(Collections(root).open(name), UpkeepRules(), around)
    vector = done.vector
    answer = {
        "seconds": time.monotonic() - began,
        "steps": steps,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / ONE_MB_IN_KB,
        "before": asdict(done.before),
        "after": asdict(done.after),
        "versions_removed": done.cleaned.versions,
        "bytes_freed": done.cleaned.bytes,
        "measured_before": asdict(vector.before) if vector and vector.before else None,
        "measured_after": asdict(vector.after) if vector and vector.after else None,
        "effort": asdict(vector.tuning.effort) if vector and vector.tuning else None,
        "put_off": done.put_off,
        "failed": [f"{what}: {error.message}" for what, error in done.failed],
    }
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
