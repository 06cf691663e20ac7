"""Texts of many requests in few calls: a lone request goes at once, what comes meanwhile together.

There is no timer. While fewer calls than allowed are under way, whatever waits goes out; the texts
that come during a call are the next call's batch. One event loop owns a batcher: nothing here
blocks, and nothing is locked.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from lexigram_ray.core.errors import (
    EmbedderDiedError,
    EmbeddingError,
    UnreachableError,
    WorkerError,
)
from lexigram_ray.embedding.encoding import EncodedTexts
from lexigram_ray.service.batch_queue import BatchLimits, BatchQueue, Part, Request
from lexigram_ray.service.context import TextVectors

MOST_ATTEMPTS = 3
"""Calls in which an embedder may die with a request's texts in hand: one, and two again."""

LOOK_AGAIN_SECONDS = 30.0
ANSWER_SECONDS = 600.0

logger = logging.getLogger("lexigram_ray.service")


class Place(Protocol):
    """An embedder as the batcher sees it."""

    async def prepare(self) -> None:
        """Return once it can be called, also after it has died.

        Raises:
            EmbedderDiedError: It is gone for good.
            WorkerError: The model cannot be loaded.
        """
        ...

    async def encode(self, texts: Sequence[str], *, as_query: bool) -> EncodedTexts:
        """Embed texts in one call.

        Raises:
            EmbedderDiedError: It died, and whose text it was is not known.
            WorkerError: The model failed.
        """
        ...


@dataclass(slots=True, eq=False)
class _Desk:
    """A place, and what is under way there."""

    place: Place
    is_up: bool = False
    is_reserved: bool = False
    calls: int = 0


class Batcher:
    """Embeds the texts of requests at the least busy places.

    Where an embedder dies, each of its texts is asked again, a request at a time and with nothing
    beside it: one that kills embedders fails alone.

    Args:
        find: Returns all places, the same objects for those that are still there.
    """

    def __init__(
        self, find: Callable[[], Awaitable[Sequence[Place]]], *, limits: BatchLimits
    ) -> None:
        self._find = find
        self._limits = limits
        self._queue = BatchQueue(limits)
        self._desks: list[_Desk] = []
        self._deaths = 0
        self._looked = 0.0
        self._looking = False
        self._tasks: set[asyncio.Task[None]] = set()

    async def embed(self, texts: Sequence[str], *, as_query: bool) -> TextVectors:
        """Embed texts, in order. What has not been handed out is dropped if this is cancelled.

        Raises:
            Saturated: Too many texts wait already.
            TextsRefusedError: Some texts have no vector.
            EmbedderDiedError: Embedders died of these texts, or cannot be kept alive at all.
            WorkerError: The model failed, or cannot be loaded.
        """
        loop = asyncio.get_running_loop()
        request = Request(texts, as_query, loop.create_future())
        self._queue.add(request)
        if not self._desks or loop.time() - self._looked > LOOK_AGAIN_SECONDS:
            self._look()
        self._hand_out()
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                return await request.answer
        except TimeoutError as error:
            raise UnreachableError(
                f"no embedder has answered within {ANSWER_SECONDS:.0f} s",
                hint="`lexigram-ray status` tells whether the cluster has room for one",
            ) from error
        finally:
            self._queue.drop(request)

    async def close(self) -> None:
        """Fail whatever waits, and let go of the places."""
        self._queue.fail(_stopping())
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._desks.clear()

    def _hand_out(self) -> None:
        """Start as many calls as there is work and room for."""
        while (desk := self._free_desk()) is not None:
            suspect = self._queue.next_suspect()
            parts = self._queue.next_call() if suspect is None else [suspect]
            if not parts:
                return
            desk.calls += 1
            desk.is_reserved = suspect is not None
            self._start(self._call(desk, parts))

    def _free_desk(self) -> _Desk | None:
        # While suspects wait, no place that one could have for itself gets anything else.
        most = 1 if self._queue.has_suspects else self._limits.calls
        free = [
            desk
            for desk in self._desks
            if desk.is_up and not desk.is_reserved and desk.calls < most
        ]
        return min(free, key=lambda desk: desk.calls, default=None)

    async def _call(self, desk: _Desk, parts: Sequence[Part]) -> None:
        texts = parts[0].texts if len(parts) == 1 else [t for part in parts for t in part.texts]
        try:
            encoded = await desk.place.encode(texts, as_query=parts[0].request.as_query)
        except EmbedderDiedError as error:
            self._bring_back(desk, error)
            self._ask_again(parts, error)
        except EmbeddingError as error:
            # It may be the fault of one of them.
            if len(parts) > 1:
                self._ask_again(parts, error)
            else:
                _fail(parts, error)
        except asyncio.CancelledError:
            _fail(parts, _stopping())
            raise
        except Exception as error:  # noqa: BLE001 - whoever waits must hear of it, whatever it is
            _fail(parts, error)
        else:
            first = 0
            for part in parts:
                part.request.take(part, encoded, first)
                first += part.count
        finally:
            desk.calls -= 1
            desk.is_reserved = False
        self._hand_out()

    def _ask_again(self, parts: Iterable[Part], error: WorkerError) -> None:
        for part in parts:
            part.attempts += 1
            if part.attempts < MOST_ATTEMPTS:
                self._queue.suspect(part)
            else:
                part.request.fail(error)

    def _bring_back(self, desk: _Desk, error: WorkerError) -> None:
        if desk.is_up:
            desk.is_up = False
            logger.warning("an embedder died at work: %s", error)
            self._start(self._prepare(desk))

    def _look(self) -> None:
        if not self._looking:
            self._looking = True
            self._start(self._look_for_places())

    async def _look_for_places(self) -> None:
        try:
            places = await self._find()
        except Exception as error:  # noqa: BLE001 - whoever waits must hear of it, whatever it is
            if not self._desks:
                self._queue.fail(error)
            return
        finally:
            self._looking = False
            self._looked = asyncio.get_running_loop().time()
        known = {id(desk.place): desk for desk in self._desks}
        self._desks = [known.get(id(place)) or _Desk(place) for place in places]
        for desk in self._desks:
            if id(desk.place) not in known:
                self._start(self._prepare(desk))
        if not places:
            self._queue.fail(UnreachableError("no node of the cluster has an embedder"))

    async def _prepare(self, desk: _Desk) -> None:
        try:
            await desk.place.prepare()
        except Exception as error:  # noqa: BLE001 - whoever waits must hear of it, whatever it is
            self._give_up(desk, error)
        else:
            self._deaths = 0
            desk.is_up = True
            self._hand_out()

    def _give_up(self, desk: _Desk, error: Exception) -> None:
        if desk in self._desks:
            self._desks.remove(desk)
        if isinstance(error, EmbedderDiedError):
            self._deaths += 1
            if self._deaths < MOST_ATTEMPTS:
                self._look()
                return
        if not self._desks:
            self._deaths = 0
            self._queue.fail(error)

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _fail(parts: Iterable[Part], error: Exception) -> None:
    for part in parts:
        part.request.fail(error)


def _stopping() -> UnreachableError:
    return UnreachableError("the service is stopping", hint="ask again")
