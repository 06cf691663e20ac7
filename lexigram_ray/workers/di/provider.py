"""`WorkersProvider`: brings the four workers into a container, starts them, and stops them."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import Any, Self

from lexigram_ray.core.config import CONFIG_SECTION
from lexigram_ray.jobs.awaiting import resolved
from lexigram_ray.workers.batch_embedding.worker import BatchEmbeddingWorker
from lexigram_ray.workers.config import WorkersConfig
from lexigram_ray.workers.di._bases import Provider, ProviderPriority
from lexigram_ray.workers.di._configuring import application_config
from lexigram_ray.workers.di._health import health_of, health_of_idle
from lexigram_ray.workers.di._making import WORKERS, Given, WorkerMaker
from lexigram_ray.workers.dlq.worker import DeadLetterQueueWorker
from lexigram_ray.workers.document_ingestion.worker import DocumentIngestionWorker
from lexigram_ray.workers.maintenance.worker import MaintenanceWorker
from lexigram_ray.workers.protocols import (
    ContainerRegistrarProtocol,
    ContainerResolverProtocol,
    HealthCheckResult,
)

__all__ = ["WorkersProvider"]

logger = logging.getLogger("lexigram_ray")

START_SECONDS = 5.0
"""How long `boot` waits for workers to have started; longer ones go on starting behind it."""
STOP_SECONDS = 30.0
"""A worker's time to drain and stop."""

_OF_CONTEXT = (
    "enable_scheduler",
    *Given.__slots__,
    "name",
    "priority",
    "dependencies",
    "optional_dependencies",
    "boot_timeout",
    "required",
)


@dataclass(frozen=True, slots=True)
class _Started:
    """A worker, and the task that runs its `start`."""

    worker: Any
    starting: asyncio.Task[Any]

    @property
    def name(self) -> str:
        return type(self.worker).__name__

    @property
    def error(self) -> BaseException | None:
        """Why it could not be started."""
        done = self.starting.done() and not self.starting.cancelled()
        return self.starting.exception() if done else None


class WorkersProvider(Provider):
    """Registers the workers with an application's container, and runs them.

    Life: `register` tells the container how each worker is made; `boot` gets them from it and
    starts them; `shutdown` stops them in reverse order, each with 30 seconds to drain.

    A vector store, an embedding client and a task queue that are bound in the container are used;
    where there is none, its place is taken by Lance, the configured model and the durable queue.

    Args:
        config: The configuration; else the application's section `ai_workers`, or that of
            application.yaml and the environment.
        enable_scheduler: Whether maintenance and dead-letter sweeps are started.
        kwargs: `vector_store`, `embedding_provider`, `queue`: objects to use instead of what is
            bound in the container; and what every provider takes: `name`, `priority`,
            `dependencies`, `optional_dependencies`, `boot_timeout`, `required`.
    """

    name: str = "workers"
    priority: ProviderPriority = ProviderPriority.INFRASTRUCTURE
    config_key: str | None = CONFIG_SECTION
    config_model: type[Any] | None = WorkersConfig

    def __init__(
        self,
        config: WorkersConfig | None = None,
        enable_scheduler: bool = True,
        **kwargs: Any,
    ) -> None:
        given = {name: kwargs.pop(name, None) for name in Given.__slots__}
        super().__init__(**kwargs)
        self._config = config
        # So the framework leaves it alone: it would check the section by rules of its own classes.
        self._config_from_factory = True
        self._enable_scheduler = enable_scheduler
        self._given = Given(**given)
        self._maker: WorkerMaker | None = None
        self._started: list[_Started] = []
        self._is_up = False

    @classmethod
    def from_config(cls, config: WorkersConfig, **context: Any) -> Self:
        """Return a provider with this configuration.

        Args:
            config: The configuration.
            context: What the constructor takes; what else a caller knows is left alone.
        """
        known = {name: context[name] for name in _OF_CONTEXT if name in context}
        return cls(config, **known)

    async def register(self, container: ContainerRegistrarProtocol) -> None:
        """Tell the container the configuration and how each worker is made.

        Nothing is made yet. Where the configuration says `enabled: false`, there are no workers.

        Raises:
            ConfigError: The configuration cannot be read.
        """
        config = self._config = self._config or await application_config(container)
        container.singleton(WorkersConfig, config)
        if not config.enabled:
            logger.info("the workers are disabled (enabled: false)")
            return
        self._maker = WorkerMaker(config, self._given, container)
        for kind in WORKERS:
            container.singleton(kind, factory=self._maker.factory_of(kind))

    async def boot(self, container: ContainerResolverProtocol) -> None:
        """Get the workers from the container and start them, all at once.

        Raises:
            Exception: One of them cannot be made or started; the others were stopped.
        """
        config = self._config = self._config or await application_config(container)
        if not config.enabled or self._is_up:
            return
        try:
            for kind in self._kinds(config):
                self._begin(await resolved(container.resolve(kind)))
            await self._all_started()
        except BaseException:
            await self._stop_all()
            raise
        self._is_up = True
        logger.info("%d workers have started", len(self._started))

    async def shutdown(self) -> None:
        """Stop every worker, those that were started last first; what they do is drained.

        They drain side by side, so that each has its whole time within an application's limit. What
        one of them fails with is logged, and the others are stopped all the same.
        """
        self._is_up = False
        await self._stop_all()

    async def health_check(self, timeout: float = 5.0) -> HealthCheckResult:
        """Ask all workers at once, and answer as the worst of them is, within `timeout` seconds."""
        if not self._is_up:
            enabled = self._config is None or bool(self._config.enabled)
            return health_of_idle(enabled=enabled)
        asked = [(each.worker, each.error) for each in self._started]
        return await health_of(asked, timeout)

    # -- Starting ----------------------------------------------------------------------------------

    def _kinds(self, config: WorkersConfig) -> list[type]:
        kinds: list[type] = [BatchEmbeddingWorker, DocumentIngestionWorker]
        if self._enable_scheduler and config.enable_maintenance:
            kinds.append(MaintenanceWorker)
        if self._enable_scheduler:
            kinds.append(DeadLetterQueueWorker)
        return kinds

    def _begin(self, worker: Any) -> None:
        name = type(worker).__name__
        starting = asyncio.create_task(resolved(worker.start()), name=f"worker.{name}")
        starting.add_done_callback(_log_failure)
        self._started.append(_Started(worker, starting))

    async def _all_started(self) -> None:
        """Wait a while for all of them; one that has failed by then fails the boot."""
        tasks = [each.starting for each in self._started]
        await asyncio.wait(tasks, timeout=START_SECONDS, return_when=asyncio.FIRST_EXCEPTION)
        for each in self._started:
            if each.error is not None:
                raise each.error

    # -- Stopping ----------------------------------------------------------------------------------

    async def _stop_all(self) -> None:
        started, self._started = self._started, []
        stopping: list[asyncio.Task[None]] = []
        for each in reversed(started):
            stopping.append(asyncio.create_task(_stop(each), name=f"stop.{each.name}"))
            # Each is asked before the one after it.
            await asyncio.sleep(0)
        try:
            if stopping:
                await asyncio.wait(stopping)
        finally:
            for task in [*stopping, *(each.starting for each in started)]:
                task.cancel()
        if self._maker is not None:
            await self._maker.close()


async def _stop(started: _Started) -> None:
    """Stop a worker, and its `start` where that still goes on; whatever fails is logged."""
    try:
        async with asyncio.timeout(STOP_SECONDS):
            await resolved(started.worker.stop())
            if not started.starting.done():
                await asyncio.wait([started.starting])
    except TimeoutError:
        logger.error("%s has not stopped within %.0f s", started.name, STOP_SECONDS)  # noqa: TRY400
    except Exception:
        logger.exception("%s could not be stopped in good order", started.name)


def _log_failure(starting: asyncio.Task[Any]) -> None:
    if not starting.cancelled() and (error := starting.exception()) is not None:
        logger.error("%s has failed", starting.get_name(), exc_info=error)
