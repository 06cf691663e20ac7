"""Notes for the audit log that come at once are written at once: one commit for all of them."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from anyio import CapacityLimiter, to_thread

from lexigram_ray.jobs.audit_log import AuditLog, Change


@dataclass(frozen=True, slots=True)
class _Note:
    change: Change | str
    status: int
    noted: asyncio.Future[str]


class AuditWriter:
    """Writes notes; those that come while others are written wait, and are the next to be.

    For one event loop.

    Args:
        log: Where they are written.
    """

    def __init__(self, log: AuditLog) -> None:
        self._log = log
        # Not one of the threads that requests may all have taken.
        self._thread = CapacityLimiter(1)
        self._waiting: list[_Note] = []
        self._writing: asyncio.Task[None] | None = None

    async def begin(self, change: Change) -> str:
        """Return the id of a change's entry once that is durable.

        Raises:
            DiskFullError, StoreUnreachableError: It is not noted.
        """
        return await self._note(change)

    async def end(self, entry_id: str, status: int) -> None:
        """Return once it is durable how a change was answered.

        Raises:
            DiskFullError, StoreUnreachableError: It is not noted.
        """
        await self._note(entry_id, status)

    async def _note(self, change: Change | str, status: int = 0) -> str:
        note = _Note(change, status, asyncio.get_running_loop().create_future())
        self._waiting.append(note)
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._write())
        return await note.noted

    async def _write(self) -> None:
        while self._waiting:
            notes, self._waiting = self._waiting, []
            try:
                ids = await to_thread.run_sync(self._record, notes, limiter=self._thread)
            except Exception as error:  # noqa: BLE001 - those who wait raise it
                for note in notes:
                    if not note.noted.done():
                        note.noted.set_exception(error)
                continue
            for note, entry_id in zip(notes, ids, strict=True):
                # Whoever was broken off waits no more.
                if not note.noted.done():
                    note.noted.set_result(entry_id)

    def _record(self, notes: list[_Note]) -> list[str]:
        begun = [note.change for note in notes if isinstance(note.change, Change)]
        ended = {note.change: note.status for note in notes if isinstance(note.change, str)}
        new = iter(self._log.record(begun, ended))
        return [note.change if isinstance(note.change, str) else next(new) for note in notes]
