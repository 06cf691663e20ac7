"""`lexigram-ray status --watch`: looks again and again, until Ctrl-C. It owns nothing."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections import deque
from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

from lexigram_ray.cli.displays import MILESTONES
from lexigram_ray.cli.exit_codes import EXIT_DONE
from lexigram_ray.cli.interrupts import Interrupts
from lexigram_ray.cli.job_words import pace_in_words, progress_in_words
from lexigram_ray.cli.output import (
    count,
    duration,
    is_terminal,
    restore_terminal,
    write_json_line,
    write_line,
)
from lexigram_ray.core.types import JobStatus

if TYPE_CHECKING:
    from lexigram_ray.cli.invocation import Invocation
    from lexigram_ray.core.config import WorkersConfig
    from lexigram_ray.jobs.records import Job
    from lexigram_ray.jobs.watching import Watched
    from lexigram_ray.runtime.status_looks import SystemLook
    from lexigram_ray.service.service_state import ServiceState

WINDOW_SECONDS = 60.0
"""A throughput is the mean over the last such time."""

SERVICE_SECONDS = 5.0
"""Between two questions to the service."""

MOST_NAMED = 3


class View(Protocol):
    """Shows looks."""

    def show(
        self, look: SystemLook, chunks_per_second: float, service: ServiceState | None
    ) -> None:
        """Show a later one."""
        ...

    def end(self) -> None:
        """Leave the terminal as it was, with the last look on it."""
        ...


def watch_status(config: WorkersConfig, invocation: Invocation, every_seconds: float) -> int:
    """Show how everything stands until Ctrl-C.

    Args:
        every_seconds: Between two looks at the store.

    Raises:
        StoreUnreachableError: The store does not answer any more.
    """
    from lexigram_ray.runtime.status_looks import ClusterLooker, StoreLooker
    from lexigram_ray.service.service_state import service_watched

    stop = threading.Event()
    view, rates, store = _view(json=invocation.json), ChunkRates(), StoreLooker(config)
    try:
        with (
            Interrupts(stop=stop, on_first=_say_nothing, on_exit=restore_terminal),
            ClusterLooker(config) as cluster,
            service_watched(config, SERVICE_SECONDS) as service,
        ):
            while True:
                look = store.look(cluster.answer)
                view.show(look, rates.per_second(look.running, look.at), service())
                if stop.wait(every_seconds):
                    break
    finally:
        view.end()
        store.close()
    invocation.answered = True
    return EXIT_DONE


class ChunkRates:
    """How many chunks a second all running jobs add, over the last minute."""

    def __init__(self) -> None:
        self._seen: dict[str, deque[tuple[float, int]]] = {}

    def per_second(self, running: tuple[Watched, ...], at: float) -> float:
        """Take in a look, and return the rate.

        Owners save their progress every few seconds: a rate is known once two savings were seen.
        """
        jobs = {each.job.id: each for each in running}
        self._seen = {job_id: seen for job_id, seen in self._seen.items() if job_id in jobs}
        return sum(self._of(each, at) for each in jobs.values())

    def _of(self, watched: Watched, at: float) -> float:
        seen = self._seen.setdefault(watched.job.id, deque())
        if watched.last.is_change:
            seen.append((at, chunks_of(watched.job)))
        while len(seen) > 1 and at - seen[0][0] > WINDOW_SECONDS:
            seen.popleft()
        if len(seen) < 2:
            return 0.0
        (began, first), (ended, last) = seen[0], seen[-1]
        return max(0.0, (last - first) / (ended - began))


def chunks_of(job: Job) -> int:
    """Return the chunks that a running job has made; of a table, a row is one."""
    made = job.progress.get("chunks", job.progress.get("done", 0))
    return made if isinstance(made, int) else 0


def in_one_line(
    look: SystemLook,
    chunks_per_second: float,
    seconds: float,
    service: ServiceState | None = None,
) -> str:
    """Return a look, `seconds` after the start, as one line of a log."""
    parts = [cluster_in_short(look), jobs_in_words(look.jobs)]
    if service is not None:
        parts.insert(1, f"the service {service.in_words}")
    for each in look.running[:MOST_NAMED]:
        pace = ", ".join(pace_in_words(each.pace(look.now)))
        said = f"{each.job.kind} into {each.job.collection} {progress_in_words(each.job)}"
        parts.append(f"{said}, {pace}" if pace else said)
    if len(look.running) > MOST_NAMED:
        parts.append(f"and {len(look.running) - MOST_NAMED} more")
    if chunks_per_second:
        parts.append(f"{chunks_per_second:,.1f} chunks/s")
    if letters := sum(look.letters.values()):
        parts.append(count(letters, "open dead letter"))
    return f"[{duration(seconds)}] {'; '.join(parts)}"


def cluster_in_short(look: SystemLook) -> str:
    """Return in one or two words whether something is up."""
    if not look.is_known:
        return "looking for the cluster"
    if look.cluster is None:
        return "nothing is up"
    return "does not answer" if look.cluster.get("problem") else "up"


def jobs_in_words(jobs: Mapping[JobStatus, int]) -> str:
    """Return `2 pending, 1 running`; `no jobs` where there are none."""
    told = [f"{jobs[status]:,} {status.value}" for status in JobStatus if jobs.get(status)]
    return ", ".join(told) or "no jobs"


class Lines:
    """For logs: a line when a job begins or ends, and every few seconds."""

    def __init__(self) -> None:
        self._began = self._last = time.monotonic()
        self._shown: object = None

    def show(
        self, look: SystemLook, chunks_per_second: float, service: ServiceState | None
    ) -> None:
        """Print the look, if it is time for a line."""
        now = time.monotonic()
        state = (cluster_in_short(look), service, dict(look.jobs), dict(look.letters))
        every = next(every for until, every in MILESTONES if now - self._began < until)
        if state != self._shown or now - self._last >= every:
            self._shown, self._last = state, now
            line = in_one_line(look, chunks_per_second, now - self._began, service)
            write_line(sys.stdout, line)

    def end(self) -> None:
        """Nothing to do."""


class JsonLines:
    """One object a look, on stdout."""

    def show(
        self, look: SystemLook, chunks_per_second: float, service: ServiceState | None
    ) -> None:
        """Print the look."""
        shown = None if service is None else service.to_dict()
        found = look.to_dict(chunks_per_second=chunks_per_second)
        write_json_line({**found, "service": shown}, sys.stdout)

    def end(self) -> None:
        """Nothing to do."""


def _view(*, json: bool) -> View:
    if json:
        return JsonLines()
    if is_terminal(sys.stdout) and os.environ.get("TERM") != "dumb":
        from lexigram_ray.cli.status_live import LiveStatus

        return LiveStatus()
    return Lines()


def _say_nothing() -> None:
    """A watch that ends leaves nothing behind that is to be explained."""
