"""The events of a job as they come: for whoever looks again and again until the job has ended."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from lexigram_ray.jobs.job_events import JobEvent
from lexigram_ray.jobs.records import Job
from lexigram_ray.jobs.store import Store
from lexigram_ray.jobs.watching import LOOK_EVERY_SECONDS

EVENTS_AT_ONCE = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A job at one moment, with what happened to it since an event.

    Attributes:
        job: None where it is gone.
        events: The next ones, in order; `EVENTS_AT_ONCE` at most.
    """

    job: Job | None
    events: tuple[JobEvent, ...]

    @property
    def is_part(self) -> bool:
        """Whether more may have happened than was read."""
        return len(self.events) == EVENTS_AT_ONCE

    @property
    def is_over(self) -> bool:
        """Whether no other event can come."""
        has_ended = self.job is None or self.job.status.is_final
        return has_ended and not self.is_part


def look(store: Store, job_id: str, after: int) -> Seen:
    """Return how a job stands.

    Args:
        store: Where it is.
        job_id: Of the job.
        after: The last `seq` that is known already.
    """
    # Asked before its events: an end that is seen here is among them.
    job = store.get(job_id)
    return Seen(job=job, events=tuple(store.events.of_job(job_id, after, EVENTS_AT_ONCE)))


def followed(
    store: Store,
    job_id: str,
    after: int,
    show: Callable[[JobEvent], None],
    stop: threading.Event,
    *,
    every_seconds: float = LOOK_EVERY_SECONDS,
) -> None:
    """Show the events of a job as they come, until it has ended or `stop` is set.

    Args:
        store: Where it is.
        job_id: Of the job.
        after: The last `seq` that is known already.
        show: Is given each event once, in order.
        stop: Ends it, once what has happened until then is shown.
        every_seconds: How often the store is asked.
    """
    while True:
        seen = look(store, job_id, after)
        for event in seen.events:
            show(event)
            after = event.seq
        if seen.is_part:
            continue
        if seen.is_over or stop.wait(every_seconds):
            return


def events_page(
    store: Store, job_id: str, after: int, limit: int
) -> tuple[list[JobEvent], int | None]:
    """Return some events of a job, and the last `seq` of them if more follow."""
    # One more than asked for shows whether there are more.
    events = store.events.of_job(job_id, after, limit + 1)
    page = events[:limit]
    return page, page[-1].seq if len(events) > limit else None


def events_object(
    job_id: str, page: Sequence[JobEvent], following: int | None
) -> dict[str, object]:
    """Return the object of `jobs events --json`."""
    return {"job_id": job_id, "items": [each.to_dict() for each in page], "next": following}
