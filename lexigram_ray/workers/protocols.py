"""Shapes of what the workers are given, and the small types that pass between.

Objects are matched by shape: whatever has the methods that are called will do. All of a shape's
methods are named here; the workers ask for a store's, queue's or provider's methods one by one, and
do with fewer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypedDict, runtime_checkable

from lexigram_ray.core.environment import ConfigIssue, Environment
from lexigram_ray.core.result import Err, Ok, Result
from lexigram_ray.workers._health import HealthCheckCategory, HealthCheckResult, HealthStatus

if TYPE_CHECKING:
    from lexigram_ray.workers._durable_queue import DurableTaskQueue

__all__ = [
    "ChunkProtocol",
    "ChunkerProtocol",
    "ChunkingConfigDict",
    "ConfigIssue",
    "ContainerRegistrarProtocol",
    "ContainerResolverProtocol",
    "DurableTaskQueue",
    "EmbeddingClientProtocol",
    "EmbeddingProvider",
    "Environment",
    "Err",
    "HealthCheckCategory",
    "HealthCheckResult",
    "HealthStatus",
    "JobProtocol",
    "Ok",
    "Result",
    "TaskQueueProtocol",
    "VectorStoreProtocol",
]


class ChunkingConfigDict(TypedDict, total=False):
    """How one document is cut; what is left out is as the configuration says.

    `chunk_size` and `chunk_overlap` (or `overlap`) are tokens or characters, as `strategy`
    (`tokens` or `characters`) says.
    """

    chunk_size: int
    chunk_overlap: int
    overlap: int
    strategy: str


@runtime_checkable
class ChunkProtocol(Protocol):
    """A passage of text and what is known of it."""

    @property
    def text(self) -> str:
        """What is embedded."""
        ...

    @property
    def metadata(self) -> dict[str, Any]:
        """What is stored beside it; JSON-ready."""
        ...

    @property
    def score(self) -> float | None:
        """How well it fits, where it was searched for."""
        ...


@runtime_checkable
class ChunkerProtocol(Protocol):
    """Cuts text into chunks."""

    def chunk(self, text: str, metadata: dict[str, Any] | None = None) -> list[Any]:
        """Return chunks that have a `text` and `metadata`, or plain texts."""
        ...


@runtime_checkable
class EmbeddingProvider(Protocol):
    """Turns texts into vectors."""

    async def embed_texts(self, texts: list[str]) -> list[list[float]]:
        """Return one vector for each text, in their order, all of one length."""
        ...


@runtime_checkable
class EmbeddingClientProtocol(Protocol):
    """Turns texts into vectors, under another name."""

    async def embed(self, texts: list[str]) -> list[list[float]]:
        """Return one vector for each text, in their order, all of one length."""
        ...

    async def health_check(self, timeout: float = 5.0) -> Any:
        """Return how it is, as `HealthCheckResult` does, within `timeout` seconds."""
        ...

    async def close(self) -> None:
        """Let go of its connections."""
        ...


@runtime_checkable
class JobProtocol(Protocol):
    """A job as a queue holds it: what is called, and with what."""

    id: str
    name: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    priority: int
    status: Any
    max_retries: int
    timeout: float | None
    correlation_id: str | None
    causation_id: str | None


@runtime_checkable
class TaskQueueProtocol(Protocol):
    """A queue of jobs. Its methods may be plain or async; plain ones are called in a thread.

    Called as if it were a class, it gives a queue of this process.
    """

    if not TYPE_CHECKING:  # Type checkers would ask it of every queue.

        def __new__(cls, *_: object, **__: object) -> Any:
            """Return a queue in memory; of a subclass, an object of that class."""
            if cls is not TaskQueueProtocol:
                return super().__new__(cls)
            from lexigram_ray.jobs.memory_queue import MemoryQueue

            return MemoryQueue()

    async def enqueue(self, task: Any) -> Any:
        """Add a task; return its id, or a result that holds it (`Ok(job_id)` or `Err(error)`)."""
        ...

    async def dequeue(self) -> Any | None:
        """Take the next task; None where there is none."""
        ...

    async def get_task_count(self) -> int:
        """Return how many tasks wait."""
        ...

    async def clear(self) -> None:
        """Drop all tasks that wait."""
        ...

    async def get_job(self, job_id: str) -> Any | None:
        """Return a task by its id; None where there is none."""
        ...

    async def delete_job(self, job_id: str) -> bool:
        """Drop a task; return whether there was one."""
        ...

    async def count(self, queue_name: str, status: Any | None = None) -> int:
        """Return how many tasks of a name, or of a name and state, there are."""
        ...

    async def ack(self, task_id: str) -> None:
        """Say that a task is done."""
        ...

    async def nack(self, task_id: str, requeue: bool = True) -> None:
        """Say that a task failed, and whether it is to be tried again."""
        ...

    async def close(self) -> None:
        """Let go of its connections."""
        ...


@runtime_checkable
class VectorStoreProtocol(Protocol):
    """A store of vectors, by collection."""

    async def connect(self) -> None:
        """Open it."""
        ...

    async def disconnect(self) -> None:
        """Close it."""
        ...

    async def health_check(self, timeout: float = 5.0) -> Any:
        """Return how it is, as `HealthCheckResult` does, within `timeout` seconds."""
        ...

    async def list_collections(self) -> Sequence[Any]:
        """Return its collections."""
        ...

    async def create_collection(self, config: Any) -> None:
        """Make a collection."""
        ...

    async def delete_collection(self, name: str) -> None:
        """Drop a collection and all that is in it."""
        ...

    async def collection_exists(self, name: str) -> bool:
        """Return whether there is a collection of that name."""
        ...

    async def get_collection(self, name: str) -> Any:
        """Return a collection, which has `upsert` and `delete`."""
        ...

    async def add_texts(
        self,
        texts: list[str],
        embeddings: list[list[float]] | None = None,
        metadatas: list[dict[str, Any]] | None = None,
        collection_name: str | None = None,
    ) -> Any:
        """Store texts with their vectors and metadata, all of one length."""
        ...


@runtime_checkable
class ContainerRegistrarProtocol(Protocol):
    """What services are told to when an application is put together."""

    def singleton(
        self,
        service_type: Any,
        instance: Any = None,
        *,
        name: str | None = None,
        factory: Any | None = None,
        validate: bool = True,
    ) -> None:
        """Register the one object of a type, or the function that makes it."""
        ...

    def has(self, service_type: Any) -> bool:
        """Return whether a type is registered."""
        ...


@runtime_checkable
class ContainerResolverProtocol(Protocol):
    """Where an application gets its services."""

    async def resolve(self, service_type: Any, *, bypass_visibility: bool = False) -> Any:
        """Return the object of a type."""
        ...

    def has(self, service_type: Any) -> bool:
        """Return whether a type is registered."""
        ...


def __getattr__(name: str) -> object:
    if name != "DurableTaskQueue":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from lexigram_ray.workers._durable_queue import DurableTaskQueue

    return DurableTaskQueue
