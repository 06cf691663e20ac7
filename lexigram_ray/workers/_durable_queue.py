"""The queue that workers use where they are given none: jobs of the store."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from lexigram_ray.core.call_settings import settings_of
from lexigram_ray.core.config import WorkersConfig
from lexigram_ray.core.errors import UsageError, WorkerError
from lexigram_ray.core.result import Err, Ok
from lexigram_ray.core.types import JobStatus
from lexigram_ray.jobs.awaiting import call
from lexigram_ray.jobs.foreign_queue import field_of
from lexigram_ray.jobs.recorded_config import mapping

if TYPE_CHECKING:
    from lexigram_ray.jobs.records import Job
    from lexigram_ray.jobs.store import Store

__all__ = ["BATCH_EMBED", "INGEST_DOCUMENT", "DurableTask", "DurableTaskQueue"]

T = TypeVar("T")

BATCH_EMBED = "batch_embed"
INGEST_DOCUMENT = "ingest_document"

_NAMES = {"embed": BATCH_EMBED, "ingest": INGEST_DOCUMENT}
_KINDS = {name: kind for kind, name in _NAMES.items()}


@dataclass(slots=True, kw_only=True)
class DurableTask:
    """A job of the store in the shape of the reference's `JobProtocol`.

    Attributes:
        id: The job's.
        name: `batch_embed` or `ingest_document`; the kind of any other job.
        kwargs: Its collection, and what it has recorded of what was asked; texts are not in it.
        max_retries: Attempts that it gets after the first one, before it has failed.
        timeout: None: a job has a deadline, if anything.
        causation_id: The job that this one repeats.
        error: Why it failed; None where it did not.
    """

    id: str
    name: str
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = field(default_factory=dict[str, Any])
    priority: int = 0
    status: str = JobStatus.PENDING.value
    max_retries: int = 0
    timeout: float | None = None
    correlation_id: str | None = None
    causation_id: str | None = None
    error: str | None = None

    @classmethod
    def of(cls, job: Job, *, max_attempts: int) -> DurableTask:
        """Return a job as a task.

        Args:
            job: As the store has it.
            max_attempts: So many errors in a row, and a job fails.
        """
        asked = dict(mapping(job.spec.get("request")))
        asked.pop("config", None)
        return cls(
            id=job.id,
            name=_NAMES.get(job.kind, job.kind),
            kwargs={"collection_name": job.collection, **asked},
            priority=job.priority,
            status=job.status.value,
            max_retries=max(0, max_attempts - 1),
            causation_id=job.retry_of,
            error=job.error,
        )


class DurableTaskQueue:
    """A `TaskQueueProtocol` whose tasks are jobs of the store: whoever claims one works on it.

    Tasks outlive this process. They are worked on by `lexigram-ray up`, and by workers that were
    started in any process; nothing is taken out of here by `dequeue`.

    Args:
        config: The configuration, or its file instead of ./application.yaml.
        state: Where all state is kept, instead of where the configuration says.

    Raises:
        ConfigError: A setting is unknown or wrong.
    """

    def __init__(
        self,
        *,
        config: WorkersConfig | Path | str | None = None,
        state: Path | str | None = None,
    ) -> None:
        self.config = settings_of(config, state)
        self._methods: dict[str, Callable[..., Awaitable[str]]] = {}

    async def enqueue(self, task: Any) -> Ok[str, Any] | Err[Any, WorkerError]:
        """Record a job, durable when this returns.

        Args:
            task: A mapping, or an object with these attributes: `name` (`batch_embed` or
                `ingest_document`), `kwargs` (those of `embed_batch` or `ingest_document`), and
                `priority`.

        Returns:
            `Ok` with the job's id; `Err` where it cannot be done, and nothing was recorded. The
            unfinished job that asks for the same is found, rather than another one made.
        """
        try:
            return Ok(await self._submit(task))
        except WorkerError as error:
            return Err(error)

    async def dequeue(self) -> None:
        """Return None: jobs of the store are claimed, not handed out."""
        return

    async def get_task_count(self) -> int:
        """Return how many jobs wait."""
        return await self.count("", JobStatus.PENDING)

    async def count(self, queue_name: str = "", status: Any | None = None) -> int:
        """Return how many jobs there are.

        Args:
            queue_name: `batch_embed` or `ingest_document`, or a kind; empty for all.
            status: Only those in this state; None for those that have not ended.
        """
        wanted = JobStatus(str(getattr(status, "value", status))) if status is not None else None
        kind = _KINDS.get(queue_name, queue_name) or None
        counts = await self._with_store(lambda store: store.counts(kind=kind))
        if wanted is not None:
            return counts[wanted]
        return sum(counted for each, counted in counts.items() if not each.is_final)

    async def get_job(self, job_id: str) -> DurableTask | None:
        """Return a job as it is now; None where there is none."""
        job = await self._with_store(lambda store: store.get(str(job_id)))
        most = self.config.jobs.max_attempts
        return None if job is None else DurableTask.of(job, max_attempts=most)

    async def delete_job(self, job_id: str) -> bool:
        """Cancel a job that has not ended; return whether there was one."""

        def cancel(store: Store) -> bool:
            job = store.get(str(job_id))
            return job is not None and not job.status.is_final and self._cancel(store, job.id)

        return await self._with_store(cancel)

    async def clear(self) -> None:
        """Cancel all jobs that wait; those that run go on."""

        def cancel_all(store: Store) -> None:
            while True:
                waiting, _ = store.list_jobs(status=JobStatus.PENDING, limit=500)
                if not [job for job in waiting if self._cancel(store, job.id)]:
                    return

        await self._with_store(cancel_all)

    async def ack(self, task_id: str) -> None:
        """Do nothing: whoever has claimed a job says in the store how it ended."""

    async def nack(self, task_id: str, requeue: bool = True) -> None:
        """Do nothing: as for `ack`."""

    async def close(self) -> None:
        """Do nothing: the store is open only while it is asked."""

    async def _submit(self, task: Any) -> str:
        name, kwargs = field_of(task, "name"), field_of(task, "kwargs")
        priority = field_of(task, "priority")
        if not (isinstance(name, str) and name in _KINDS and isinstance(kwargs, Mapping)):
            raise UsageError(
                f"the durable queue cannot do a task {name!r}",
                hint=f"it does {BATCH_EMBED} and {INGEST_DOCUMENT}; give the workers a queue of "
                "your own for others",
            )
        asked = {str(key): value for key, value in cast("Mapping[object, Any]", kwargs).items()}
        if isinstance(priority, int):
            asked.setdefault("priority", priority)
        if name == INGEST_DOCUMENT:
            asked = _of_document(asked)
        method = self._method_of(name)
        _check_known(method, name, asked)
        return await method(**asked)

    def _method_of(self, name: str) -> Callable[..., Awaitable[str]]:
        # Kept: each looks into the store once it was asked.
        if name not in self._methods:
            if name == BATCH_EMBED:
                from lexigram_ray.workers.batch_embedding.worker import BatchEmbeddingWorker

                self._methods[name] = BatchEmbeddingWorker(config=self.config).embed_batch
            else:
                from lexigram_ray.workers.document_ingestion.worker import DocumentIngestionWorker

                self._methods[name] = DocumentIngestionWorker(config=self.config).ingest_document
        return self._methods[name]

    def _cancel(self, store: Store, job_id: str) -> bool:
        from lexigram_ray.jobs.owner import Owner

        try:
            store.cancel(job_id, Owner.current(), turn_seconds=self.config.jobs.lease_seconds)
        except UsageError:
            # It has ended meanwhile.
            return False
        return True

    async def _with_store(self, ask: Callable[[Store], T]) -> T:
        return await call(self._ask, ask)

    def _ask(self, ask: Callable[[Store], T]) -> T:
        from lexigram_ray.jobs.store import Store

        with Store.open(self.config.paths.store_url) as store:
            return ask(store)


def _of_document(asked: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments of `ingest_document` that a message means.

    Raises:
        UsageError: It names a parser, which is an object of another program.
    """
    asked = dict(asked)
    parser = asked.pop("parser_name", None)
    if parser is not None or "parser_key" in asked:
        raise UsageError(
            f"the durable queue has no parser {parser!r}",
            hint="leave it out, or give each worker of a queue of your own a document_parser",
        )
    if isinstance(asked.get("file_path"), str):
        asked["file_path"] = Path(asked["file_path"])
    return asked


def _check_known(method: Callable[..., object], name: str, asked: Mapping[str, object]) -> None:
    try:
        inspect.signature(method).bind(**asked)
    except TypeError as error:
        raise UsageError(
            f"the kwargs of a task {name} do not fit: {error}",
            hint=f"give those of {method.__name__}",
        ) from error
