"""A job as server-sent events: what happened, how far it is, and its end; resumable by its ids.

Events have the numbers of the durable log as their ids, whichever replica sends them. Progress has
none: it is what is true now, and nothing that could be missed. A stream owns nothing of the job.
"""

from __future__ import annotations

import logging
import re
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing

from fastapi.sse import EventSourceResponse, format_sse_event
from starlette.concurrency import run_in_threadpool
from starlette.types import Receive, Scope, Send

from lexigram_ray.core.errors import WorkerError
from lexigram_ray.jobs.following import Seen, look
from lexigram_ray.jobs.job_events import JobEvent
from lexigram_ray.jobs.store import Store
from lexigram_ray.service.answers import json_bytes
from lexigram_ray.service.job_watches import JobWatches, Watch

RETRY_MILLISECONDS = 2000
"""What a client whose connection was cut is told to wait."""

PROGRESS, END = "progress", "end"

LAST_ID_PATTERN = r"^[0-9]{1,9}(-end)?$"
"""Ids of events: the last one of a job says so, and whoever has it needs no other."""

_HEADERS = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
_LINE_ENDS = re.compile(r"[\r\n]+")

logger = logging.getLogger("lexigram_ray.service")


class JobStream(EventSourceResponse):
    """The events of one job, sent until it has ended, or the service ends: clients come again then.

    Args:
        store: Where it is.
        watches: Say when it has changed.
        job_id: Of the job, which is there.
        after: The last `seq` that the client knows already.
        heartbeat_seconds: The longest silence.
    """

    def __init__(
        self,
        store: Store,
        watches: JobWatches,
        job_id: str,
        *,
        after: int,
        heartbeat_seconds: float,
    ) -> None:
        super().__init__(iter(()), headers=_HEADERS)
        self._store = store
        self._watches = watches
        self._job_id = job_id
        self._after = after
        self._heartbeat_seconds = heartbeat_seconds
        self._told_last: object = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it.

        Raises:
            Refusal: As many wait already as may; nothing has been sent.
        """
        async with (
            self._watches.watching(self._job_id) as watch,
            aclosing(self._pieces(watch)) as self.body_iterator,
        ):
            await super().__call__(scope, receive, send)

    async def _pieces(self, watch: Watch) -> AsyncGenerator[bytes]:
        yield format_sse_event(retry=RETRY_MILLISECONDS)
        try:
            while not watch.is_closing:
                seen = watch.changes
                found = await run_in_threadpool(look, self._store, self._job_id, self._after)
                for piece in self._told(found):
                    yield piece
                if found.is_over:
                    return
                if found.is_part:
                    continue
                while await watch.changed(seen, self._heartbeat_seconds) == seen:
                    if watch.is_closing:
                        return
                    yield format_sse_event(comment="ping")
        except WorkerError as error:
            # The client comes again, and is told then.
            logger.warning("the events of job %s are cut off: %s", self._job_id, error)

    def _told(self, found: Seen) -> Iterator[bytes]:
        for event in found.events:
            yield _piece(event)
            self._after = event.seq
        if found.job is None or found.is_part:
            return
        shown = found.job.to_dict()
        standing = (shown["status"], shown["progress"])
        if standing != self._told_last:
            self._told_last = standing
            yield format_sse_event(event=PROGRESS, data_str=_text(shown))
        if found.is_over:
            last = max(self._after, 0)
            yield format_sse_event(event=END, data_str=_text(shown), id=f"{last}-end")


def is_end(last_id: str) -> bool:
    """Whether an id is that of the last event of a job."""
    return last_id.endswith("-end")


def seq_of(last_id: str) -> int:
    """Return the number in the log of the event that has this id."""
    return int(last_id.removesuffix("-end"))


def _piece(event: JobEvent) -> bytes:
    # A worker may call its events as it likes; a line of its own would be read as another field.
    name = _LINE_ENDS.sub(" ", event.type)
    return format_sse_event(event=name, data_str=_text(event.to_dict()), id=str(event.seq))


def _text(shown: dict[str, object]) -> str:
    return json_bytes(shown).decode("ascii")
