"""Writers that are stopped for longer than their lease, and who takes over from them."""

from __future__ import annotations

import contextlib
import sqlite3
import subprocess
import sys
import time
from collections.abc import Generator
from pathlib import Path

from lexigram_ray.jobs.owner import Owner
from lexigram_ray.jobs.records import Busy, Claim
from lexigram_ray.jobs.store import Store
from tests.chaos.stopped_child import JOB
from tests.command_line import REPOSITORY
from tests.integration.commit_data import Place

PATIENCE_SECONDS = 60.0
LOCK_SECONDS = 0.1


@contextlib.contextmanager
def stopping_child(place: Place, moment: str) -> Generator[subprocess.Popen[str]]:
    """Start `stopped_child`, which stops itself at that moment; it ends with the block."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.chaos.stopped_child", str(place.root), moment],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def take_over(store: Store) -> Claim:
    """Claim the job of `stopped_child` as soon as its lease is over.

    Raises:
        RuntimeError: It does not end.
    """
    (job,) = (each for each in store.list_jobs()[0] if each.spec == {"paths": [JOB]})
    deadline = time.monotonic() + PATIENCE_SECONDS
    while isinstance(claim := store.claim(job.id, Owner.current(), PATIENCE_SECONDS), Busy):
        if time.monotonic() > deadline:
            raise RuntimeError("the stopped writer's lease does not end")
        time.sleep(0.05)
    return claim


def is_free(database: Path) -> bool:
    """Whether nobody, and no stopped process either, holds a lock of this SQLite file."""
    opened = sqlite3.connect(database, timeout=LOCK_SECONDS, isolation_level=None)
    with contextlib.closing(opened):
        try:
            opened.execute("BEGIN EXCLUSIVE")
            opened.execute("ROLLBACK")
        except sqlite3.OperationalError:
            return False
        return True
