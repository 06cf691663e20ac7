"""The pool of ingestion workers on Ray: actors that parse and chunk, around one that embeds."""

from __future__ import annotations

import contextlib
import logging
import math
import time
from dataclasses import dataclass
from typing import Any

import ray
from ray.exceptions import RayError, RayTaskError

from lexigram_ray.core.config import WorkersConfig
from lexigram_ray.core.errors import EmbedderDiedError, WorkerError
from lexigram_ray.core.job_logging import JobTag
from lexigram_ray.core.tracing import traceparent
from lexigram_ray.jobs.executor import Execution
from lexigram_ray.jobs.pool import Batch, Completed, time_limit
from lexigram_ray.jobs.recipes import Recipe
from lexigram_ray.runtime.actor_names import embedder_label, ingest_task, one_of, worker_label
from lexigram_ray.runtime.actors import EmbedderActor, IngestionActor
from lexigram_ray.runtime.patience import (
    SAID_AFTER_SECONDS,
    free_resources,
    hear_last_word,
    took_longer_than,
    unit_limit,
)
from lexigram_ray.runtime.pickled_recipe import PickledRecipe
from lexigram_ray.runtime.pool_size import GPU_SHARE

MOST_WORKERS = 8
CLOSE_SECONDS = 1.0

ASKED = "asked"
"""A thread of the embedder for questions, so that it answers also while it embeds."""

EMBEDDER = -1
"""Its place among the workers' numbers."""

logger = logging.getLogger("lexigram_ray")


@dataclass(frozen=True, slots=True)
class _UnderWay:
    worker: int
    batch: Batch
    since: float


class RayPool:
    """Executes batches on Ray actors; a worker that dies is replaced.

    One whose batch is under way for longer than its documents may take is ended, and so is the
    embedder, which Ray starts anew: it may be what hangs. Of the others' work that costs nothing,
    as their calls to it are made again.

    Args:
        cpus: Of the cluster; shares of them are reserved so that everything can be scheduled.
    """

    def __init__(
        self, config: WorkersConfig, recipe: Recipe, *, collection: str, job_id: str, cpus: int
    ) -> None:
        self.slots = config.runtime.workers or min(MOST_WORKERS, cpus + 1)
        self._config = config
        self._recipe = recipe
        self._job = JobTag(job_id=job_id, collection=collection, trace=traceparent())
        self._unit_seconds = unit_limit(config)
        self._up = _Uptimes()
        self._worker_cpus = round(0.4 * cpus / self.slots, 3)
        self._embedder = self._start_embedder(round(min(1.0, 0.5 * cpus), 3))
        self._watch_embedder()
        self._workers = [self._start_worker(index) for index in range(self.slots)]
        self._under_way: dict[ray.ObjectRef[Execution], _UnderWay] = {}
        self._started = time.monotonic()
        self._is_working = False

    def submit(self, batch: Batch) -> None:
        """Start a batch on an idle worker."""
        busy = {item.worker for item in self._under_way.values()}
        worker = next(index for index in range(self.slots) if index not in busy)
        handle = self._workers[worker]
        reference = handle.execute.options(name=ingest_task(self._job)).remote(batch.documents)
        self._under_way[reference] = _UnderWay(worker, batch, time.monotonic())

    def wait(self, timeout: float) -> list[Completed]:
        """Return what has ended.

        Raises:
            WorkerError: The machine, not a document, is at fault.
        """
        under_way = list(self._under_way)
        if not ray.wait(under_way, timeout=timeout)[0]:
            self._say_what_is_missing()
            return self._end_late()
        ready, _ = ray.wait(under_way, num_returns=len(under_way), timeout=0)
        self._is_working = True
        return [*map(self._completed, ready), *self._end_late()]

    def close(self) -> None:
        """Let the cache write what it holds, and let go of the actors: Ray ends them."""
        with contextlib.suppress(RayError):
            ray.get(self._embedder.close.remote(), timeout=CLOSE_SECONDS)
        # Not `ray.kill`: of each task under way it would tell the terminal that it failed.
        self._under_way.clear()
        self._workers.clear()
        del self._embedder

    def _say_what_is_missing(self) -> None:
        if self._is_working or time.monotonic() - self._started < SAID_AFTER_SECONDS:
            return
        self._is_working = True
        logger.warning(
            "no worker has answered for %d seconds; the cluster has %s: "
            "`ray status` shows what waits",
            SAID_AFTER_SECONDS,
            free_resources(),
        )

    def _completed(self, reference: ray.ObjectRef[Execution]) -> Completed:
        item = self._under_way.pop(reference)
        try:
            return Completed(item.batch, ray.get(reference))
        except RayTaskError as error:
            cause = error.cause
            if isinstance(cause, WorkerError) and not isinstance(cause, EmbedderDiedError):
                raise cause from error
            crash = f"{type(cause).__name__}: {cause}"
        except RayError as error:
            crash = str(error).strip().splitlines()[0]
        self._up.look()
        had_begun = self._up.has_answered(item.worker)
        self._replace(item.worker)
        return Completed(item.batch, crash=crash, had_begun=had_begun)

    def _end_late(self) -> list[Completed]:
        self._up.look()
        now = time.monotonic()
        late = [
            reference
            for reference, item in self._under_way.items()
            if now - self._began(item) > time_limit(item.batch, self._unit_seconds)
        ]
        if not late:
            return []
        ended = [self._ended(reference) for reference in late]
        ray.kill(self._embedder, no_restart=False)
        self._watch_embedder()
        return ended

    def _began(self, item: _UnderWay) -> float:
        """Return when a batch's time began: not while one of its actors waited for its place."""
        return max(item.since, self._up.since(item.worker), self._up.since(EMBEDDER))

    def _ended(self, reference: ray.ObjectRef[Execution]) -> Completed:
        item = self._under_way.pop(reference)
        self._replace(item.worker)
        hear_last_word(reference)
        limit = time_limit(item.batch, self._unit_seconds)
        return Completed(item.batch, crash=took_longer_than(limit), is_late=True)

    def _replace(self, worker: int) -> None:
        # A fresh actor, not Ray's restart: a call to one that is restarting fails as well.
        ray.kill(self._workers[worker])
        self._workers[worker] = self._start_worker(worker)

    def _start_embedder(self, cpus: float) -> Any:
        label = embedder_label(self._job)
        # An actor that reserves no GPU does not see the node's; one that reserves a whole one
        # never starts beside a warm embedder.
        wanted = self._config.runtime.embedder_gpus
        has_gpus = ray.cluster_resources().get("GPU", 0) >= 1
        gpus = (GPU_SHARE if wanted is None else wanted) if has_gpus else 0
        # Not in Ray's type stubs.
        grouped: Any = ray.remote
        actor = grouped(concurrency_groups={ASKED: 1})(EmbedderActor).options(
            name=one_of(label),
            num_cpus=cpus,
            num_gpus=gpus,
            max_restarts=-1,
            max_task_retries=1,
        )
        return actor.remote(self._config, PickledRecipe.of(self._recipe), label, job=self._job)

    def _start_worker(self, index: int) -> Any:
        label = worker_label(self._job, index)
        actor = ray.remote(IngestionActor).options(name=one_of(label), num_cpus=self._worker_cpus)
        worker: Any = actor.remote(self._config, self._recipe, self._embedder, self._job, label)
        self._up.watch(index, worker.__ray_ready__.remote())
        return worker

    def _watch_embedder(self) -> None:
        asked = self._embedder.__ray_ready__.options(concurrency_group=ASKED)
        self._up.watch(EMBEDDER, asked.remote())


class _Uptimes:
    """Since when actors are up."""

    def __init__(self) -> None:
        self._asked: dict[int, ray.ObjectRef[bool]] = {}
        self._since: dict[int, float] = {}
        self._answered: set[int] = set()

    def watch(self, actor: int, answer: ray.ObjectRef[bool]) -> None:
        """Take an actor for one that starts, until it has answered."""
        self._since.pop(actor, None)
        self._answered.discard(actor)
        self._asked[actor] = answer

    def look(self) -> None:
        """See who has answered by now."""
        for actor, answer in list(self._asked.items()):
            if ray.wait([answer], timeout=0)[0]:
                # One that died while it started is found by what it was given.
                with contextlib.suppress(RayError):
                    ray.get(self._asked.pop(actor))
                    self._answered.add(actor)
                self._since[actor] = time.monotonic()

    def has_answered(self, actor: int) -> bool:
        """Return whether it was seen up."""
        return actor in self._answered

    def since(self, actor: int) -> float:
        """Return the moment on the monotonic clock; infinity while the actor starts."""
        return self._since.get(actor, math.inf)
