"""The pool of ingestion workers on Ray: actors that parse and chunk, around one that embeds."""

from __future__ import annotations

import contextlib
import logging
import time
import uuid
from dataclasses import dataclass
from typing import Any

import ray
from ray.exceptions import RayError, RayTaskError

from lexigram_ray.core.config import WorkersConfig
from lexigram_ray.core.errors import EmbedderDiedError, WorkerError
from lexigram_ray.jobs.executor import Execution
from lexigram_ray.jobs.pool import Batch, Completed
from lexigram_ray.jobs.recipes import Recipe
from lexigram_ray.runtime.actors import EmbedderActor, IngestionActor
from lexigram_ray.runtime.patience import SAID_AFTER_SECONDS, free_resources
from lexigram_ray.runtime.pickled_recipe import PickledRecipe
from lexigram_ray.runtime.pool_size import GPU_SHARE

MOST_WORKERS = 8
CLOSE_SECONDS = 1.0

logger = logging.getLogger("lexigram_ray")


@dataclass(frozen=True, slots=True)
class _UnderWay:
    worker: int
    batch: Batch


class RayPool:
    """Executes batches on Ray actors; a worker that dies is replaced.

    Args:
        cpus: Of the cluster; shares of them are reserved so that everything can be scheduled.
    """

    def __init__(
        self, config: WorkersConfig, recipe: Recipe, *, collection: str, job_id: str, cpus: int
    ) -> None:
        self.slots = config.runtime.workers or min(MOST_WORKERS, cpus + 1)
        self._config = config
        self._recipe = recipe
        self._job_id = job_id
        self._label = f"{collection}:{job_id}"
        self._worker_cpus = round(0.4 * cpus / self.slots, 3)
        self._embedder = self._start_embedder(round(min(1.0, 0.5 * cpus), 3))
        self._workers = [self._start_worker(index) for index in range(self.slots)]
        self._under_way: dict[ray.ObjectRef[Execution], _UnderWay] = {}
        self._started = time.monotonic()
        self._is_working = False

    def submit(self, batch: Batch) -> None:
        """Start a batch on an idle worker."""
        busy = {item.worker for item in self._under_way.values()}
        worker = next(index for index in range(self.slots) if index not in busy)
        handle = self._workers[worker]
        reference = handle.execute.options(name=f"ingest:{self._label}").remote(batch.documents)
        self._under_way[reference] = _UnderWay(worker, batch)

    def wait(self, timeout: float) -> list[Completed]:
        """Return what has ended.

        Raises:
            WorkerError: The machine, not a document, is at fault.
        """
        under_way = list(self._under_way)
        if not ray.wait(under_way, timeout=timeout)[0]:
            self._say_what_is_missing()
            return []
        ready, _ = ray.wait(under_way, num_returns=len(under_way), timeout=0)
        self._is_working = True
        return [self._completed(reference) for reference in ready]

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
        # A fresh actor, not Ray's restart: a call to one that is restarting fails as well.
        ray.kill(self._workers[item.worker])
        self._workers[item.worker] = self._start_worker(item.worker)
        return Completed(item.batch, crash=crash)

    def _start_embedder(self, cpus: float) -> Any:
        label = f"embed:{self._label}"
        # An actor that reserves no GPU does not see the node's; one that reserves a whole one
        # never starts beside a warm embedder.
        wanted = self._config.runtime.embedder_gpus
        has_gpus = ray.cluster_resources().get("GPU", 0) >= 1
        gpus = (GPU_SHARE if wanted is None else wanted) if has_gpus else 0
        actor = ray.remote(EmbedderActor).options(
            name=f"{label}:{_tag()}",
            num_cpus=cpus,
            num_gpus=gpus,
            max_restarts=-1,
            max_task_retries=1,
        )
        return actor.remote(self._config, PickledRecipe.of(self._recipe), label)

    def _start_worker(self, index: int) -> Any:
        label = f"ingest:{self._label}:{index}"
        actor = ray.remote(IngestionActor).options(
            name=f"{label}:{_tag()}", num_cpus=self._worker_cpus
        )
        return actor.remote(self._config, self._recipe, self._embedder, self._job_id, label)


def _tag() -> str:
    # Names are unique in a cluster, and a dead actor's name is free only a moment later.
    return uuid.uuid4().hex[:6]
