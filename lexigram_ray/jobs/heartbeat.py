"""Keeping a claim alive while its run works."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from types import TracebackType

from lexigram_ray.core.errors import LeaseLostError, WorkerError
from lexigram_ray.core.job_logging import in_this_context
from lexigram_ray.jobs.records import Claim
from lexigram_ray.jobs.store import Store

logger = logging.getLogger("lexigram_ray")


class Heartbeat:
    """Renews a lease from a thread of its own, so that a long commit or a slow page cannot lose it.

    Args:
        progress: Returns what is to be saved with each beat.
    """

    def __init__(
        self,
        store: Store,
        claim: Claim,
        *,
        every_seconds: float,
        lease_seconds: float,
        progress: Callable[[], dict[str, object]],
    ) -> None:
        self._store = store
        self._claim = claim
        self._every = every_seconds
        self._lease = lease_seconds
        self._progress = progress
        self._stop = threading.Event()
        self._lost: LeaseLostError | None = None
        run = in_this_context(self._run)
        self._thread = threading.Thread(target=run, name="heartbeat", daemon=True)

    def check(self) -> None:
        """Raise what a beat has found.

        Raises:
            LeaseLostError: Another process owns the job now.
        """
        if self._lost is not None:
            raise self._lost

    def __enter__(self) -> Heartbeat:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join(timeout=self._every + 1)
        if kind is None:
            # A short job has had no beat: what is shown of it afterwards would be nothing.
            self._store.save_progress(self._claim, self._progress())

    def _run(self) -> None:
        while not self._stop.wait(self._every):
            try:
                self._store.beat(self._claim, self._lease)
                self._store.save_progress(self._claim, self._progress())
            except LeaseLostError as error:
                self._lost = error
                return
            except WorkerError as error:
                # A full disk or a locked database may pass before the lease does.
                logger.warning("the lease was not renewed: %s", error)
            except Exception:
                # Without its thread the claim would be lost, and its work done twice.
                logger.exception("a beat failed; the next one follows")
