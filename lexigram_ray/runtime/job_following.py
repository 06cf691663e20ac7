"""Following a job of a cluster to its end, through broken connections, until asked to let go."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable

import aiohttp

from lexigram_ray.core.errors import ClusterUnreachableError
from lexigram_ray.runtime.job_submission import ClusterJobs, SubmittedJob

STOP_LOOK_SECONDS = 0.2
QUIET_SECONDS = 15.0
"""After so long without a line the cluster is asked: a connection may be dead without a word."""

PATIENCE_SECONDS = 45.0
RETRY_SECONDS = 1.0


def follow(
    jobs: ClusterJobs, job_id: str, take: Callable[[str], None], stop: threading.Event
) -> SubmittedJob | None:
    """Take all that a job prints, in pieces, until it has ended.

    Args:
        take: Is given the next piece of text, of one line or several, or of a part of one.
        stop: Set to let go of the job, which goes on.

    Returns:
        How it ended; None where it was let go of.

    Raises:
        ClusterUnreachableError: The cluster has not answered for a while.
        UsageError: It does not know the job.
    """
    return asyncio.run(_Following(jobs, job_id, take, stop).to_the_end())


class _Following:
    def __init__(
        self,
        jobs: ClusterJobs,
        job_id: str,
        take: Callable[[str], None],
        stop: threading.Event,
    ) -> None:
        self._jobs = jobs
        self._job_id = job_id
        self._take = take
        self._stop = stop
        self._taken = 0

    async def to_the_end(self) -> SubmittedJob | None:
        while not self._stop.is_set():
            is_whole = await self._took_all()
            job = await asyncio.to_thread(self._look)
            if self._stop.is_set():
                break
            if job.is_final:
                if not is_whole:
                    text = await asyncio.to_thread(self._jobs.log, self._job_id)
                    self._take(text[self._taken :])
                return job
            await asyncio.sleep(RETRY_SECONDS)
        return None

    async def _took_all(self) -> bool:
        """Take what is printed; whether the cluster ended it, and not a broken connection."""
        # A new connection begins with the first line again.
        seen = 0
        try:
            async for piece in self._pieces():
                fresh = piece[max(0, self._taken - seen) :]
                seen += len(piece)
                if fresh:
                    self._taken = seen
                    self._take(fresh)
        except (aiohttp.ClientError, RuntimeError, OSError):
            return False
        return seen >= self._taken

    async def _pieces(self) -> AsyncIterator[str]:
        stream = self._jobs.tail(self._job_id)
        while not self._stop.is_set():
            following = asyncio.ensure_future(anext(stream, None))
            try:
                await self._wait_for(following)
            finally:
                following.cancel()
            if self._stop.is_set() or (piece := following.result()) is None:
                return
            yield piece

    async def _wait_for(self, following: asyncio.Future[str | None]) -> None:
        quiet_since = time.monotonic()
        while not following.done() and not self._stop.is_set():
            await asyncio.wait({following}, timeout=STOP_LOOK_SECONDS)
            if time.monotonic() - quiet_since > QUIET_SECONDS:
                await asyncio.to_thread(self._look)
                quiet_since = time.monotonic()

    def _look(self) -> SubmittedJob:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                return self._jobs.get(self._job_id)
            except ClusterUnreachableError as error:
                if time.monotonic() > deadline or self._stop.is_set():
                    raise ClusterUnreachableError(
                        f"{error.message}; the job {self._job_id} may go on there",
                        hint=f"lexigram-ray submit --attach {self._job_id} --address "
                        f"{self._jobs.url} follows it again",
                    ) from error
            time.sleep(RETRY_SECONDS)
