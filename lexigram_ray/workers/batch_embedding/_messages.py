"""One message of a queue: read, embedded, written, and told how far it is."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, cast

from lexigram_ray.core.errors import UsageError, WorkerError
from lexigram_ray.jobs.awaiting import call
from lexigram_ray.jobs.foreign_embedder import ForeignEmbedder
from lexigram_ray.jobs.foreign_embedding import EmbeddedTexts, embed_into
from lexigram_ray.jobs.foreign_queue import Message
from lexigram_ray.jobs.foreign_store import ForeignStore
from lexigram_ray.jobs.redaction import error_text
from lexigram_ray.workers.batch_embedding._job_progress import STAGES
from lexigram_ray.workers.batch_embedding._settings import embedding_settings
from lexigram_ray.workers.batch_embedding.cache import EmbeddingCache, ProviderCache
from lexigram_ray.workers.batch_embedding.progress import ProgressTracker
from lexigram_ray.workers.batch_embedding.types import (
    DEFAULT_MODEL_NAME,
    BatchEmbeddingJob,
    EmbeddingStatus,
)

if TYPE_CHECKING:
    from lexigram_ray.core.config import WorkersConfig
    from lexigram_ray.core.protocols import EmbeddingProvider
    from lexigram_ray.jobs.embed_report import EmbedProgress, EmbedReport

__all__ = ["EmbeddingMessages"]

logger = logging.getLogger("lexigram_ray")

MOST_REMEMBERED = 10_000


class EmbeddingMessages:
    """Does what a message asks for.

    Args:
        store: Of other code; None for the collections of this package, by a job of the Store.
        provider: Makes the vectors; None for the configured model.
        settings: Returns the configuration; asked where something of ours is used.
        cache: Where vectors are looked up.
        progress: Is told how far each message is.
        batch_size: Most texts in one call of the provider, where a message does not say.
    """

    def __init__(
        self,
        store: ForeignStore | None,
        provider: object | None,
        *,
        settings: Callable[[], WorkersConfig],
        cache: EmbeddingCache,
        progress: ProgressTracker,
        batch_size: int,
    ) -> None:
        self._store = store
        self._provider = provider
        self._settings = settings
        self._cache = cache
        self._progress = progress
        self._batch_size = batch_size
        self._embedders: dict[str, ForeignEmbedder] = {}
        self._jobs: OrderedDict[str, str] = OrderedDict()
        self._loading = threading.Lock()
        self._models: dict[str, EmbeddingProvider] = {}

    @property
    def waiting_seconds(self) -> float:
        """How long a provider has been asked for without an answer; of several, the longest."""
        waits = [each.waiting_since for each in self._embedders.values()]
        since = min((wait for wait in waits if wait is not None), default=None)
        return 0.0 if since is None else time.monotonic() - since

    async def embed(self, message: Message) -> None:
        """Do what a message asks for; done again, it writes nothing twice.

        Raises:
            UsageError: It does not say what is to be embedded, or where to.
            Exception: Whatever provider or store raised.
        """
        job = _job_of(message, self._batch_size)
        self._progress.begin_try(message.id, len(job.chunks))
        self._enter(message.id, "processing")
        stop = threading.Event()
        try:
            if self._store is None:
                failed, error = await self._into_ours(message, job, stop)
            else:
                failed, error = await self._into_theirs(self._store, message, job, stop)
        except asyncio.CancelledError:
            self._progress.note(message.id, status=EmbeddingStatus.PENDING)
            raise
        finally:
            # Whoever still waits for a provider in a thread goes.
            stop.set()
            self._embedders.pop(message.id, None)
        self._progress.note(
            message.id, status=EmbeddingStatus.COMPLETED, failed_texts=failed, error=error
        )

    async def _into_theirs(
        self, store: ForeignStore, message: Message, job: BatchEmbeddingJob, stop: threading.Event
    ) -> tuple[int, str | None]:
        provider = self._provider
        if provider is None:
            provider = await call(self._our_provider, job)
        embedder = ForeignEmbedder(
            provider,
            asyncio.get_running_loop(),
            model_name=job.model_name or DEFAULT_MODEL_NAME,
            is_asked=job.model_name not in (None, DEFAULT_MODEL_NAME),
            batch_size=job.batch_size,
            cache=ProviderCache(self._cache, provider) if job.use_cache else None,
            enter=lambda stage: self._enter(message.id, stage),
            stop=stop,
        )
        self._embedders[message.id] = embedder
        done = await embed_into(
            store,
            job.collection_name,
            job.chunks,
            embedder,
            job_id=message.id,
            batch_size=job.batch_size,
            enter=lambda stage: self._enter(message.id, stage),
            tell=lambda now: self._told(message.id, now),
        )
        if not done.failed or done.first_failure is None:
            return 0, None
        return done.failed, (
            f"{done.failed} of {done.total} texts failed: {done.first_failure.reason}"
        )

    async def _into_ours(
        self, message: Message, job: BatchEmbeddingJob, stop: threading.Event
    ) -> tuple[int, str | None]:
        from lexigram_ray.jobs.foreign_jobs import ProviderOnLoop, embed_here

        given = None
        if self._provider is not None:
            given = ProviderOnLoop(
                self._provider,
                asyncio.get_running_loop(),
                batch_size=job.batch_size,
                stop=stop,
                model_name=None if job.model_name == DEFAULT_MODEL_NAME else job.model_name,
            )

        def run() -> EmbedReport:
            return embed_here(
                self._settings_of(job),
                job.collection_name,
                job.chunks,
                message_id=message.id,
                priority=message.priority,
                provider=None if given is None else given.as_provider(),
                on_progress=lambda now: self._run_told(message.id, now),
                stop=stop,
            )

        report = await call(run)
        texts = report.texts
        self._progress.note(
            message.id,
            total_texts=texts.read,
            texts_processed=texts.read,
            cache_hits=texts.cached,
            cache_misses=texts.embedded,
        )
        if report.error is not None:
            raise WorkerError(f"job {report.job_id} has {report.status.value}: {report.error}")
        if not texts.failed:
            return 0, None
        first = report.problems[0].reason if report.problems else ""
        return texts.failed, f"{texts.failed} of {texts.read} texts failed: {first}"

    def _our_provider(self, job: BatchEmbeddingJob) -> EmbeddingProvider:
        from lexigram_ray.jobs.recipes import load_model, read_text_recipe

        settings = self._settings_of(job)
        with self._loading:
            name = settings.embedding.model
            if name not in self._models:
                recipe = read_text_recipe(settings, None)
                self._models[name] = load_model(settings, recipe, None)
            return self._models[name]

    def _settings_of(self, job: BatchEmbeddingJob) -> WorkersConfig:
        return embedding_settings(
            self._settings(),
            model_name=None if self._provider is not None else job.model_name,
            batch_size=job.batch_size,
            use_cache=job.use_cache,
        )

    # -- Telling -----------------------------------------------------------------------------------

    def _enter(self, job_id: str, stage: str) -> None:
        self._progress.note(job_id, status=EmbeddingStatus(stage))

    def _told(self, job_id: str, now: EmbeddedTexts) -> None:
        self._progress.note(
            job_id,
            total_texts=now.total,
            texts_processed=now.processed,
            cache_hits=now.cached,
            cache_misses=now.computed,
            failed_texts=now.failed,
        )

    def _run_told(self, job_id: str, now: EmbedProgress) -> None:
        if now.job_id:
            self._jobs[job_id] = now.job_id
            while len(self._jobs) > MOST_REMEMBERED:
                self._jobs.popitem(last=False)
        self._progress.note(
            job_id,
            status=STAGES.get(now.phase, EmbeddingStatus.PROCESSING),
            total_texts=now.texts_total or None,
            texts_processed=now.texts_done,
            cache_hits=now.cached,
            cache_misses=max(0, now.texts_done - now.cached - now.failed),
            failed_texts=now.failed,
        )

    def again(self, message: Message, error: BaseException) -> None:
        """Tell that a message will be delivered again."""
        self._progress.note(message.id, status=EmbeddingStatus.PENDING, error=error_text(error))

    async def failed(self, message: Message, error: BaseException) -> None:
        """Tell that a message has failed for good."""
        self._progress.begin(message.id, 0, anew=False)
        self._progress.note(message.id, status=EmbeddingStatus.FAILED, error=error_text(error))
        recorded = self._jobs.pop(message.id, None)
        if recorded is not None:
            try:
                await call(_give_up, self._settings().paths.store_url, recorded, error)
            except WorkerError as refused:
                # The failure itself is told all the same.
                logger.warning("job %s is left unfinished: %s", recorded, refused)


def _job_of(message: Message, batch_size: int) -> BatchEmbeddingJob:
    """Return the job that a message asks for.

    Raises:
        UsageError: It does not say what is to be embedded, or where to.
    """
    kwargs = message.kwargs
    chunks, collection = kwargs.get("chunks"), kwargs.get("collection_name")
    if not isinstance(chunks, (list, tuple)) or not isinstance(collection, str):
        raise UsageError(
            f"the task {message.id} does not say its chunks and its collection_name",
            hint="enqueue both as kwargs of the task",
        )
    model, size = kwargs.get("model_name"), kwargs.get("batch_size")
    return BatchEmbeddingJob(
        chunks=list(cast("Sequence[Any]", chunks)),
        collection_name=collection,
        model_name=model if isinstance(model, str) else None,
        batch_size=size if isinstance(size, int) and size > 0 else batch_size,
        use_cache=kwargs.get("use_cache") is not False,
    )


def _give_up(store_url: str, job_id: str, error: BaseException) -> None:
    """End the Store's job of a message that is delivered no more."""
    from lexigram_ray.jobs.store import Store

    with Store.open(store_url) as store:
        job = store.get(job_id)
        if job is not None and not job.status.is_final:
            code = error.code if isinstance(error, WorkerError) else "unexpected"
            store.give_up(job.id, job.fence, error=error_text(error), error_code=code)
