"""Telling hooks of durable jobs, from the store's events: at least once, also after kills.

What was told of a job stands in `<state>/hooks/<worker id>.json`, written after the subscribers
were called. Its entries have owners: whoever comes after a dead one goes on with its jobs.
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, cast

from lexigram_ray.core.hooks import WorkerHook, WorkerJobCompletedHook, WorkerJobStartedHook, fire
from lexigram_ray.embedding.json_file import read_object, write_object
from lexigram_ray.embedding.locks import exclusive_lock
from lexigram_ray.jobs.job_events import CANCELLED, CLAIMED, COMPLETED, FAILED, JobEvent
from lexigram_ray.jobs.owner import Owner
from lexigram_ray.jobs.records import Job
from lexigram_ray.jobs.store import Store

logger = logging.getLogger("lexigram_ray")

MOST_WATCHED = 10_000
MOST_TOLD = 50_000
"""Events of which it is known that this process has told them."""
LOCK_SECONDS = 10.0
LOOKS_AT_ONCE = 20
_ENDS = {COMPLETED, FAILED, CANCELLED}


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What was told of a job.

    Attributes:
        seq: Of its last event that was looked at.
        started: Whether its start was told.
    """

    seq: int = -1
    started: bool = False


class HookTeller:
    """Looks at the events of jobs, and calls subscribers. Safe to use from several threads.

    Args:
        store: Where the events are.
        file: Where it is kept what was told.
        job_type: As hooks name these jobs.
        tell: Calls the subscribers.
    """

    def __init__(
        self,
        store: Store,
        file: Path,
        *,
        job_type: str,
        tell: Callable[[WorkerHook], None] = fire,
    ) -> None:
        self._store = store
        self._file = file
        self._job_type = job_type
        self._tell = partial(_tell_once, store.store_id, tell)
        self._me = Owner.current()
        self._use = threading.RLock()
        self._telling = threading.Lock()
        self._kept: dict[str, Told] = {}
        self._watched: dict[str, Told] = {}

    def take_over(self) -> None:
        """Go on with the jobs of which a dead process of this worker has not told the end."""
        with self._use, self._entries() as entries:
            for job_id, entry in entries.items():
                if _owner_of(entry).is_gone():
                    self._kept[job_id] = _told_of(entry)
                    entries[job_id] = self._entry(self._kept[job_id])

    def watch(self, job_id: str) -> None:
        """Tell of a job whoever works on it, as long as this process lives."""
        with self._use:
            if job_id in self._kept:
                return
            self._watched.setdefault(job_id, Told())
            while len(self._watched) > MOST_WATCHED:
                self._watched.pop(next(iter(self._watched)))

    def keep(self, job_id: str) -> None:
        """Tell of a job that this process is about to work on, also if it dies at that."""
        with self._use:
            told = self._watched.pop(job_id, Told())
            if job_id in self._kept:
                return
            self._kept[job_id] = told
            self._write(job_id, told)

    def look(self) -> None:
        """Tell what is new of the jobs worked on here, and of some of those that are watched."""
        for job_id in list(self._kept):
            self.tell(job_id)
        for job_id in list(self._watched)[:LOOKS_AT_ONCE]:
            self.tell(job_id)
            with self._use:  # The next look is at others.
                if job_id in self._watched:
                    self._watched[job_id] = self._watched.pop(job_id)

    def tell(self, job_id: str) -> None:
        """Tell what is new of one job."""
        # Of one at a time, and without the lock that submitters want: subscribers may submit.
        with self._telling:
            told = self._of(job_id)
            if told is None:
                return
            for event in self._store.events.of_job(job_id, after=told.seq):
                told = self._told(event, told)
                with self._use:
                    if event.type in _ENDS:
                        self._forget(job_id)
                        return
                    self._note(job_id, told, is_start=event.type == CLAIMED)

    def _of(self, job_id: str) -> Told | None:
        with self._use:
            return self._kept.get(job_id) or self._watched.get(job_id)

    def _note(self, job_id: str, told: Told, *, is_start: bool) -> None:
        if job_id in self._kept:
            self._kept[job_id] = told
            if is_start:
                self._write(job_id, told)
        elif job_id in self._watched:
            self._watched[job_id] = told

    def _told(self, event: JobEvent, told: Told) -> Told:
        named = {"job_type": self._job_type, "job_id": event.job_id}
        if event.type == CLAIMED and not told.started:
            self._tell(WorkerJobStartedHook(**named, event_id=f"{event.job_id}:started"))
            told = replace(told, started=True)
        if event.type in _ENDS:
            job = self._store.get(event.job_id)
            self._tell(
                WorkerJobCompletedHook(
                    **named,
                    event_id=f"{event.job_id}:{event.type}",
                    duration_seconds=0.0 if job is None else _seconds(job),
                    outcome=event.type,
                )
            )
        return replace(told, seq=event.seq)

    def _forget(self, job_id: str) -> None:
        self._watched.pop(job_id, None)
        if self._kept.pop(job_id, None) is not None:
            with self._entries() as entries:
                entries.pop(job_id, None)

    def _write(self, job_id: str, told: Told) -> None:
        with self._entries() as entries:
            entries[job_id] = self._entry(told)

    def _entry(self, told: Told) -> dict[str, object]:
        return {**asdict(told), "owner": self._me.to_json()}

    @contextmanager
    def _entries(self) -> Generator[dict[str, Any]]:
        """Read the file, and write what has become of it; other processes wait meanwhile."""
        self._file.parent.mkdir(parents=True, exist_ok=True)
        with exclusive_lock(self._file.with_suffix(".lock"), patience=LOCK_SECONDS):
            before = read_object(self._file)
            entries = cast("dict[str, Any]", dict(before))
            yield entries
            if entries != before:
                write_object(self._file, entries)


class _ToldHere:
    """What this process has told: several workers of it may look at one job."""

    def __init__(self) -> None:
        self._use = threading.Lock()
        self._events: OrderedDict[tuple[str, str], None] = OrderedDict()

    def is_new(self, store_id: str, event_id: str) -> bool:
        """Note an event, and return whether it was not noted before."""
        with self._use:
            if (store_id, event_id) in self._events:
                return False
            self._events[store_id, event_id] = None
            while len(self._events) > MOST_TOLD:
                self._events.popitem(last=False)
            return True


_told_here = _ToldHere()


def _tell_once(store_id: str, tell: Callable[[WorkerHook], None], hook: WorkerHook) -> None:
    if _told_here.is_new(store_id, hook.event_id):
        tell(hook)


def _owner_of(entry: dict[str, Any]) -> Owner:
    return Owner.from_json(str(entry["owner"]))


def _told_of(entry: dict[str, Any]) -> Told:
    return Told(seq=int(entry["seq"]), started=bool(entry["started"]))


def _seconds(job: Job) -> float:
    if job.finished_at is None:
        return 0.0
    return max(0.0, (job.finished_at - (job.started_at or job.created_at)).total_seconds())
