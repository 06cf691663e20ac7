"""How a container's workers are made, and of what."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any

from lexigram_ray.jobs.awaiting import resolved
from lexigram_ray.jobs.memory_queue import MemoryQueue
from lexigram_ray.workers._durable_queue import BATCH_EMBED, INGEST_DOCUMENT, DurableTaskQueue
from lexigram_ray.workers.batch_embedding.worker import BatchEmbeddingWorker
from lexigram_ray.workers.config import WorkersConfig
from lexigram_ray.workers.di._bases import contract
from lexigram_ray.workers.di._containers import bound
from lexigram_ray.workers.di._sharing import SharedQueue
from lexigram_ray.workers.dlq.worker import DeadLetterQueueWorker
from lexigram_ray.workers.document_ingestion.worker import DocumentIngestionWorker
from lexigram_ray.workers.maintenance.worker import MaintenanceWorker
from lexigram_ray.workers.protocols import (
    EmbeddingClientProtocol,
    EmbeddingProvider,
    TaskQueueProtocol,
    VectorStoreProtocol,
)

__all__ = ["WORKERS", "Given", "WorkerMaker"]

WORKERS: tuple[type, ...] = (
    BatchEmbeddingWorker,
    DocumentIngestionWorker,
    MaintenanceWorker,
    DeadLetterQueueWorker,
)
"""In the order in which they start."""

DRAIN_SECONDS = 25.0
"""Less than what the provider gives a worker to stop: giving jobs back takes time as well."""


@dataclass(frozen=True, slots=True)
class Given:
    """What the workers use; None for their own."""

    vector_store: Any = None
    embedding_provider: Any = None
    queue: Any = None


class WorkerMaker:
    """Makes the workers of one container.

    Args:
        config: Of all of them.
        given: Used whatever is bound in the container.
        container: Asked for the rest by a container that calls factories without itself.
    """

    def __init__(self, config: WorkersConfig, given: Given, container: object) -> None:
        self._config = config
        self._given = given
        self._container = container
        self._finding = asyncio.Lock()
        self._found: Given | None = None
        self._shared: SharedQueue | None = None

    def factory_of(self, kind: type) -> Callable[..., Awaitable[Any]]:
        """Return what a container calls for a worker, with itself or with nothing."""

        async def make(resolver: Any = None) -> Any:
            asked = self._container if resolver is None else resolver
            async with self._finding:
                if self._found is None:
                    self._found = await self._find(asked)
            return await self._make(kind, self._found, asked)

        return make

    async def close(self) -> None:
        """Give back to a queue what no worker has taken; the workers have stopped."""
        if self._shared is not None:
            await self._shared.give_back()

    async def _make(self, kind: type, found: Given, resolver: Any) -> Any:
        config = self._config
        if kind is MaintenanceWorker:
            return MaintenanceWorker(
                vector_store=found.vector_store, config=config, drain_seconds=DRAIN_SECONDS
            )
        if kind is DeadLetterQueueWorker:
            return DeadLetterQueueWorker(
                main_queue=found.queue,
                check_interval=config.dlq_check_interval,
                config=config,
                drain_seconds=DRAIN_SECONDS,
            )
        common: dict[str, Any] = {
            "vector_store": found.vector_store,
            "embedding_provider": found.embedding_provider,
            "config": config,
            "on_failure": await self._letters(found, resolver),
            "drain_seconds": DRAIN_SECONDS,
        }
        if kind is BatchEmbeddingWorker:
            return BatchEmbeddingWorker(
                queue=self._share(found.queue, BATCH_EMBED),
                concurrency=config.batch_embedding_concurrency,
                **common,
            )
        return DocumentIngestionWorker(
            queue=self._share(found.queue, INGEST_DOCUMENT),
            concurrency=config.document_ingestion_concurrency,
            **common,
        )

    def _share(self, queue: Any, name: str) -> Any:
        """Return the queue as one worker sees it; the durable one tells tasks apart itself."""
        if queue is None or isinstance(queue, DurableTaskQueue):
            return queue
        if self._shared is None:
            self._shared = SharedQueue(queue)
        return self._shared.share_of(name)

    async def _letters(self, found: Given, resolver: Any) -> Any:
        """Return who takes failures of a queue in this process; those of the store are in it."""
        if found.queue is None or isinstance(found.queue, DurableTaskQueue):
            return None
        return await resolved(resolver.resolve(DeadLetterQueueWorker))

    async def _find(self, resolver: Any) -> Given:
        given = self._given
        found = Given(
            vector_store=await _one(
                given.vector_store, resolver, VectorStoreProtocol, contract("VectorStoreProtocol")
            ),
            embedding_provider=await _one(
                given.embedding_provider,
                resolver,
                EmbeddingClientProtocol,
                contract("EmbeddingClientProtocol"),
                EmbeddingProvider,
            ),
            queue=await _one(
                given.queue, resolver, TaskQueueProtocol, contract("TaskQueueProtocol")
            ),
        )
        if found != Given() and found.queue is None:
            # Jobs on objects of this process cannot outlive it: their queue, and the dead letters
            # of their failures, are of this process too.
            return replace(found, queue=MemoryQueue())
        return found


async def _one(given: Any, resolver: Any, *keys: type | None) -> Any:
    """Return what was given, else what is bound to the first key that has something; else None."""
    if given is not None:
        return given
    for key in keys:
        found = await bound(resolver, key)
        if found is not None:
            return found
    return None
