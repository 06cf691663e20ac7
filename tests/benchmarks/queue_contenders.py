"""The job store and its peers, one process each: who is measured, on what, and how."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tests.benchmarks.children import ChildFailed, run_child
from tests.benchmarks.environments import PEERS, NotInstalled, python_of
from tests.benchmarks.queue_rates import QueueRate

LONGEST_SECONDS = 900
STORES = ("submitted", "few", "many")
OURS = "lexigram-ray"

FreshDatabase = Callable[[], str]
"""Returns the URL of an empty database on a running PostgreSQL."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueSizes:
    """How much of everything.

    Attributes:
        submissions: Handed over one by one in a round.
        batched: Handed over in batches in a round.
        claims: Jobs that wait to be claimed, and are.
        finished: Jobs that have ended, where many have.
    """

    submissions: int
    batched: int
    rounds: int
    claims: int
    finished: int

    def options(self, *names: str) -> list[str]:
        """Return these as options of a script; all of them unless named."""
        return [f"--{name}={getattr(self, name)}" for name in names or self.__slots__]


def measure_queues(
    folder: Path, sizes: QueueSizes, fresh: FreshDatabase | None, *, with_peers: bool
) -> Iterator[QueueRate]:
    """Yield how fast each queue is; one that cannot be measured says why.

    Args:
        folder: On the disk that is measured; environments and databases are put here.
        fresh: None where there is no PostgreSQL.
    """
    databases = folder / "queues"
    shutil.rmtree(databases, ignore_errors=True)
    databases.mkdir(parents=True)
    try:
        if with_peers:
            yield _measured(QueueRate(name="huey", database="sqlite"), _huey(folder, sizes))
        urls = [f"sqlite:///{databases / name}.db" for name in STORES]
        yield _measured(QueueRate(name=f"{OURS}, SQLite", database="sqlite"), _ours(urls, sizes))
        if fresh is None:
            return
        if with_peers:
            base = QueueRate(name="procrastinate", database="postgresql")
            yield _measured(base, _procrastinate(folder, sizes, fresh))
        base = QueueRate(name=f"{OURS}, PostgreSQL", database="postgresql")
        yield _measured(base, _ours([fresh() for _ in STORES], sizes))
    finally:
        shutil.rmtree(databases, ignore_errors=True)


Command = Callable[[], Sequence[str | Path]]


def _measured(base: QueueRate, command: Command) -> QueueRate:
    try:
        answer = run_child(command(), timeout=LONGEST_SECONDS).answer
    except NotInstalled as error:
        return replace(base, note=f"not installed: {error}")
    except ChildFailed as error:
        return replace(base, note=f"failed: {error}")
    return replace(
        base,
        single=answer["single"],
        batches=answer["batches"],
        claims=answer["claims"],
        looks=answer.get("looks", {}),
        settings=answer["settings"],
        versions=", ".join(f"{name} {of}" for name, of in answer["versions"].items()),
    )


def _ours(urls: Sequence[str], sizes: QueueSizes) -> Command:
    module = "tests.benchmarks.store_child"
    return lambda: [sys.executable, "-m", module, *urls, *sizes.options()]


def _huey(folder: Path, sizes: QueueSizes) -> Command:
    def command() -> list[str | Path]:
        python = python_of("huey", folder)
        options = sizes.options("submissions", "rounds", "claims")
        place = folder / "queues" / "huey"
        return [python, PEERS / "huey_queue.py", "--folder", place, *options]

    return command


def _procrastinate(folder: Path, sizes: QueueSizes, fresh: FreshDatabase) -> Command:
    def command() -> list[str | Path]:
        python = python_of("procrastinate", folder)
        urls = [fresh() for _ in STORES]
        return [python, PEERS / "procrastinate_queue.py", *urls, *sizes.options()]

    return command
