"""Jobs, owners, entries and other processes for the tests of the store."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from lexigram_ray.core.types import FileStamp
from lexigram_ray.jobs.owner import Owner
from lexigram_ray.jobs.records import Claim, Job, LedgerEntry, LedgerState, UnitResult, UnitState
from lexigram_ray.jobs.store import Store

CHILD = Path(__file__).with_name("store_child.py")
NOW = datetime.fromtimestamp(1_800_000_000, UTC)
"""When the tests' clock begins."""
STAMP = FileStamp(size=10, mtime_ns=20, ctime_ns=30, inode=40)


class Clock:
    """A clock that only tests move."""

    def __init__(self) -> None:
        self.seconds = NOW.timestamp()

    def __call__(self) -> float:
        return self.seconds

    def advance(self, seconds: float) -> None:
        self.seconds += seconds


def elsewhere(pid: int = 1) -> Owner:
    """A process of another machine: nobody here can know that it is gone."""
    return Owner(host="elsewhere", pid=pid, process_started=1, boot_id="another")


def gone() -> Owner:
    """This process's pid as an earlier process had it."""
    current = Owner.current()
    return replace(current, process_started=current.process_started - 1)


def submit(store: Store, key: str = "key", **changes: object) -> Job:
    given = {"kind": "ingest", "collection": "docs", "spec": {"paths": ["/a"]}, "spec_key": key}
    return store.submit(**(given | changes))[0]  # pyright: ignore[reportArgumentType]


def found(store: Store, job_id: str) -> Job:
    job = store.get(job_id)
    assert job is not None
    return job


def claimed(store: Store, key: str = "key", owner: Owner | None = None) -> Claim:
    claim = store.claim(submit(store, key).id, owner or elsewhere(), 60)
    assert isinstance(claim, Claim)
    return claim


def entry(number: int = 1, **changes: object) -> LedgerEntry:
    plain = LedgerEntry(
        collection="docs",
        document_id=f"{number:032x}",
        source=f"/folder/{number}.txt",
        state=LedgerState.DONE,
        stamp=STAMP,
        checked_at_ns=50,
        content_hash=f"content-{number}",
        chunker="tokens:254:0",
        model="minilm@1",
        parser="kreuzberg@4",
        chunks=3,
        chunks_digest=f"digest-{number}",
    )
    return replace(plain, **changes)


def result(number: int = 1, **changes: object) -> UnitResult:
    plain = UnitResult(
        unit_id=f"{number:032x}",
        source=f"/folder/{number}.txt",
        state=UnitState.DONE,
        content_hash=f"content-{number}",
        chunks=3,
        computed=2,
        cached=1,
        seconds=0.5,
    )
    return replace(plain, **changes)


def written(store: Store, claim: Claim, *entries: LedgerEntry) -> None:
    """Bring entries to `done`, as an ingestion does."""
    store.record_intent(claim, entries)
    store.mark_done(claim, entries, [])


@contextmanager
def child(*arguments: object, script: Path = CHILD) -> Generator[subprocess.Popen[str]]:
    """Run `store_child.py`, or another script, beside the test; it ends with the block."""
    process = subprocess.Popen(
        [sys.executable, str(script), *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def line_from(process: subprocess.Popen[str]) -> str:
    """Return the child's next line; empty once it has ended."""
    assert process.stdout is not None
    return process.stdout.readline().strip()


def wait_until_stopped(process: subprocess.Popen[str]) -> None:
    while Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0] != "T":
        time.sleep(0.01)
