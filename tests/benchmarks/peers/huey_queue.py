"""huey with SqliteHuey: `python huey_queue.py --folder FOLDER ...`, one JSON line as its answer.

It has no way to hand over several tasks at once, and keeps nothing of a task that was taken.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import sys
from pathlib import Path

from huey import SqliteHuey
from queue_timing import blocks, claims_per_second, payload, per_second, timed


def main() -> None:
    options = _options()
    options.folder.mkdir(parents=True, exist_ok=True)
    # Its own default journal, and a sync of every commit.
    huey = SqliteHuey(filename=str(options.folder / "huey.db"), fsync=True)

    @huey.task()
    def ingest(**_: object) -> None:
        """Never run here."""

    def submit(jobs: int) -> None:
        for _ in range(jobs):
            ingest(**payload())

    submit(20)
    rounds = [timed(lambda: submit(options.submissions)) for _ in range(options.rounds)]
    claims = [timed(huey.dequeue) for block in blocks(options.claims) for _ in block]
    journal, synchronous = (
        huey.storage.sql(f"pragma {name}", results=True)[0][0]
        for name in ("journal_mode", "synchronous")
    )
    answer = {
        "single": per_second(options.submissions, rounds),
        "batches": {},
        "claims": {"0": claims_per_second(claims)},
        "settings": f"journal_mode={journal} synchronous={synchronous}",
        "versions": {"huey": importlib.metadata.version("huey")},
    }
    sys.stdout.write(json.dumps(answer) + "\n")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--submissions", type=int, required=True, help="a round")
    parser.add_argument("--rounds", type=int, required=True)
    parser.add_argument("--claims", type=int, required=True, help="at most as many as submissions")
    return parser.parse_args()


if __name__ == "__main__":
    main()
