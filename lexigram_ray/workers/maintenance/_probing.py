"""Whether what a worker works on answers: its vector store, else the store of this state."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from lexigram_ray.core.config import WorkersConfig
from lexigram_ray.jobs.awaiting import call
from lexigram_ray.workers.maintenance._answers import words_of
from lexigram_ray.workers.maintenance._builtin_handlers import is_foreign_store
from lexigram_ray.workers.protocols import HealthStatus

ILL = (HealthStatus.UNHEALTHY, HealthStatus.DEGRADED)


class Probe:
    """Asks, one question at a time: one that gets no answer is not asked again and again."""

    def __init__(self, vector_store: object, config: WorkersConfig) -> None:
        self._vector_store = vector_store
        self._config = config
        self._asking: asyncio.Task[str] | None = None

    async def obstacle(self, timeout_seconds: float) -> str:
        """Return why it does not answer within a time; empty where it does, and is well."""
        asking = self._asking
        if asking is None or asking.done() or asking.get_loop() is not asyncio.get_running_loop():
            self._asking = asking = asyncio.ensure_future(self._ask())
        await asyncio.wait({asking}, timeout=max(0.0, timeout_seconds))
        if not asking.done():
            what = "the job store" if self._vector_store is None else "the vector store"
            return f"{what} does not answer within {timeout_seconds:g} s"
        return "" if asking.cancelled() else asking.result()

    async def _ask(self) -> str:
        what = "the job store"
        try:
            # In a thread: what has to be imported first may take longer than there is time.
            if not await call(is_foreign_store, self._vector_store):
                await call(_count_jobs, self._config.paths.store_url)
                return ""
            what = "the vector store"
            method: Callable[[], Any] | None = getattr(self._vector_store, "health_check", None)
            said = _said_ill(await call(method)) if callable(method) else ""
        except Exception as error:  # noqa: BLE001 - it is what was asked for
            said = words_of(error)
        return f"{what}: {said}" if said else ""


def _count_jobs(url: str) -> None:
    from lexigram_ray.jobs.store import Store

    store = Store.open_existing(url)
    if store is not None:
        # Where there is none yet, nothing is wrong with it.
        with store:
            store.counts()


def _said_ill(answer: object) -> str:
    """Return what a store's own health check says is wrong; what cannot be read is no fault."""
    if answer is False:
        return "it says that it is not well"
    status = getattr(answer, "status", None)
    if not isinstance(status, str) or status not in ILL:
        return ""
    error = getattr(answer, "error", None) or getattr(answer, "message", None)
    return f"{status}: {error}" if isinstance(error, str) else str(status)
