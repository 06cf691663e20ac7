"""What `status --watch` shows: the store looked at here, the cluster by a process of its own."""

from __future__ import annotations

import contextlib
import json
import pickle
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self

from lexigram_ray.core.config import WorkersConfig
from lexigram_ray.core.types import JobStatus
from lexigram_ray.jobs.records import Job
from lexigram_ray.jobs.store import Store
from lexigram_ray.jobs.watching import Watched
from lexigram_ray.maintenance.amounts import Sizes, open_letters, sizes_of

SILENT_SECONDS = 10.0
"""A cluster whose looker says nothing for so long does not answer."""

START_SECONDS = 30.0
"""The same of a looker that has said nothing yet: it has to import Ray."""

AGAIN_SECONDS = 0.5
SIZES_SECONDS = 10.0
MOST_SHOWN = 20
MOST_COLLECTIONS = 200
"""More of them are neither measured nor shown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemLook:
    """Everything at one moment.

    Attributes:
        is_known: Whether the cluster has been looked at yet.
        cluster: As in `status --json`; None where nothing is up.
        jobs: How many there are in each state.
        running: Newest first, each with the looks at it so far.
        pending: Newest first.
        ended: The ones that ended last, the last one first.
        letters: Open dead letters by category.
        at: Seconds on the looker's monotonic clock.
    """

    now: datetime
    at: float
    is_known: bool
    cluster: Mapping[str, Any] | None
    jobs: Mapping[JobStatus, int]
    running: tuple[Watched, ...]
    pending: tuple[Job, ...]
    ended: tuple[Job, ...]
    letters: Mapping[str, int]
    sizes: Sizes

    def to_dict(self, *, chunks_per_second: float) -> dict[str, object]:
        """Return the object of `status --watch --json`, but for the service."""
        return {
            "at": self.now.isoformat(),
            "cluster": self.cluster,
            "jobs": {state.value: self.jobs.get(state, 0) for state in JobStatus},
            "running": [each.job.to_dict() for each in self.running],
            "pending": [job.to_dict() for job in self.pending],
            "ended": [job.to_dict() for job in self.ended],
            "dead_letters": dict(self.letters),
            "collections": [
                {"name": name, "rows": rows, "bytes": self.sizes.bytes.get(name)}
                for name, rows in self.sizes.rows.items()
            ],
            "chunks_per_second": round(chunks_per_second, 2),
        }


class StoreLooker:
    """Looks at the store, and at the collections' files less often.

    Args:
        clock: Seconds, monotonic.
    """

    def __init__(
        self, config: WorkersConfig, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._config = config
        self._clock = clock
        self._store: Store | None = None
        self._watched: dict[str, Watched] = {}
        self._sizes, self._sized_at = Sizes(), float("-inf")

    def look(self, cluster: ClusterAnswer) -> SystemLook:
        """Look once; a store that is not there yet has no jobs.

        Raises:
            StoreUnreachableError: It does not answer.
        """
        # Made by whoever comes first with work, not by a look.
        self._store = self._store or Store.open_existing(self._config.paths.store_url)
        at = self._clock()
        if at - self._sized_at >= SIZES_SECONDS:
            self._sizes = sizes_of(self._config.paths.lancedb, most=MOST_COLLECTIONS)
            self._sized_at = at
        store = self._store
        return SystemLook(
            now=datetime.now(UTC),
            at=at,
            is_known=cluster.is_known,
            cluster=cluster.cluster,
            jobs=store.counts() if store else {},
            running=self._running(store, at) if store else (),
            pending=_pending(store) if store else (),
            ended=_ended(store) if store else (),
            letters=open_letters(store) if store else {},
            sizes=self._sizes,
        )

    def close(self) -> None:
        """Close the store."""
        if self._store is not None:
            self._store.close()

    def _running(self, store: Store, at: float) -> tuple[Watched, ...]:
        jobs, _ = store.list_jobs(status=JobStatus.RUNNING, limit=MOST_SHOWN)
        before = self._watched
        self._watched = {
            job.id: before[job.id].look(store, at) if job.id in before else Watched.begin(job, at)
            for job in jobs
        }
        return tuple(self._watched.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterAnswer:
    """What is known of the cluster.

    Attributes:
        is_known: Whether it was looked at yet.
        cluster: As in `status --json`; None where nothing is up.
    """

    is_known: bool = False
    cluster: Mapping[str, Any] | None = None


class ClusterLooker:
    """Keeps a process that looks at the cluster, and the last that it said."""

    def __init__(self, config: WorkersConfig) -> None:
        self._config = config
        self._answer = ClusterAnswer()
        self._heard_at = time.monotonic()
        self._child: subprocess.Popen[bytes] | None = None
        self._changing = threading.Lock()
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._listen, name="cluster", daemon=True)

    def __enter__(self) -> Self:
        self._start()
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._changing:
            self._ending.set()
        self._end_child()
        self._thread.join()

    @property
    def answer(self) -> ClusterAnswer:
        """The last one; that the cluster does not answer, where nothing has come for long."""
        silent = time.monotonic() - self._heard_at
        if silent < (SILENT_SECONDS if self._answer.is_known else START_SECONDS):
            return self._answer
        # It hangs with its cluster: the next one finds out what there is now.
        self._end_child()
        self._heard_at = time.monotonic()
        told = dict(self._answer.cluster or {})
        problem = f"nothing has been heard of it for {silent:.0f} s"
        self._answer = ClusterAnswer(is_known=True, cluster={**told, "problem": problem})
        return self._answer

    def _listen(self) -> None:
        while not self._ending.is_set():
            child = self._child
            if child is None or child.stdout is None:
                return
            for line in child.stdout:
                self._answer = ClusterAnswer(is_known=True, cluster=json.loads(line))
                self._heard_at = time.monotonic()
            child.wait()
            if not self._ending.wait(AGAIN_SECONDS):
                self._start()

    def _start(self) -> None:
        with self._changing:
            # Not one that nobody would end any more.
            if not self._ending.is_set():
                self._child = self._started()

    def _started(self) -> subprocess.Popen[bytes]:
        child = subprocess.Popen(
            [sys.executable, "-m", "lexigram_ray.runtime.status_child"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            # A Ctrl-C is for the watch.
            start_new_session=True,
        )
        if child.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                child.stdin.write(pickle.dumps(self._config))
                child.stdin.flush()
        return child

    def _end_child(self) -> None:
        if self._child is not None:
            self._child.kill()


def _pending(store: Store) -> tuple[Job, ...]:
    jobs, _ = store.list_jobs(status=JobStatus.PENDING, limit=MOST_SHOWN)
    return tuple(jobs)


def _ended(store: Store) -> tuple[Job, ...]:
    states = (JobStatus.COMPLETED, JobStatus.FAILED, JobStatus.CANCELLED)
    jobs = [job for state in states for job in store.list_jobs(status=state, limit=MOST_SHOWN)[0]]
    jobs.sort(key=lambda job: job.finished_at or job.created_at, reverse=True)
    return tuple(jobs[:MOST_SHOWN])
