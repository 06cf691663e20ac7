"""The bulk place: units through a Ray Data pipeline, streamed back one by one.

A dataset of units, one row each, goes through a pool of embedders. What comes back is again one
row a unit, its rows inside as an Arrow stream: a unit is then never cut or glued by Ray Data, and
the driver holds no more than the one it works on.
"""

from __future__ import annotations

import contextlib
import logging
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

import pyarrow as pa
import ray
import ray.data
from ray.util.annotations import RayDeprecationWarning

from lexigram_ray.core.config import WorkersConfig
from lexigram_ray.core.errors import WorkerError
from lexigram_ray.core.job_logging import JobTag
from lexigram_ray.core.tracing import traceparent
from lexigram_ray.jobs.pool import TIMED_OUT
from lexigram_ray.jobs.recipes import Recipe
from lexigram_ray.jobs.staged import StagedUnit
from lexigram_ray.jobs.text_executor import RowsExecution
from lexigram_ray.runtime.actor_names import embedder_label
from lexigram_ray.runtime.actors import WorkerEmbedder
from lexigram_ray.runtime.careful import CarefulRun, PlaceStopped
from lexigram_ray.runtime.data_stream import (
    DataStream,
    PipelineDiedError,
    PipelineStalledError,
)
from lexigram_ray.runtime.patience import patience_for, unit_limit
from lexigram_ray.runtime.pickled_recipe import PickledRecipe
from lexigram_ray.runtime.pool_size import PoolSize, pool_size
from lexigram_ray.runtime.ray_process import begin_ray_process
from lexigram_ray.runtime.transport import Parcel

UNITS_AT_ONCE = 2
"""So that one unit is looked up, tokenised and packed while the other is on the device."""

UNITS_PER_EMBEDDER = 4
"""Under way or waiting there, so that an embedder need not wait for Ray Data to hand one out."""

DATA_RETRIES = 2
MOST_STALLS = 1
CLOSE_SECONDS = 2.0

logger = logging.getLogger("lexigram_ray")


class EmbedUnits:
    """What the pool's actors do: the row that names a unit in, the row with its result out.

    Args:
        near_the_end: Index of the unit from which on each may be the last of its worker.
    """

    def __init__(  # noqa: PLR0917 - Ray Data passes them by position
        self,
        config: WorkersConfig,
        recipe: PickledRecipe,
        per_node: int,
        path: str,
        job: JobTag,
        near_the_end: int,
    ) -> None:
        begin_ray_process(config, job)
        self._embedder = WorkerEmbedder(config, recipe, per_node)
        self._path = path
        self._job = job
        self._near_the_end = near_the_end

    def __call__(self, batch: pa.Table) -> pa.Table:
        """Embed the unit that the one row of `batch` names."""
        unit = StagedUnit(**batch.to_pylist()[0])
        return self._embedder.execute_unit(
            self._path, unit, self._job.job_id, others_follow=unit.index < self._near_the_end
        )


class RayDataPlace:
    """Embeds units with a Ray Data pipeline; a unit whose worker dies is found and sorted out.

    Ray must be running.

    Args:
        collection: For the pipeline's name in the dashboard.
    """

    name = "Ray Data"

    def __init__(
        self, config: WorkersConfig, recipe: Recipe, *, job_id: str, collection: str
    ) -> None:
        self._config = config
        self._recipe = PickledRecipe.of(recipe)
        self._job = JobTag(job_id=job_id, collection=collection, trace=traceparent())
        self._streams: list[DataStream] = []

    def run(
        self, path: Path, units: Sequence[StagedUnit], *, keep_on: Callable[[], bool]
    ) -> Iterator[tuple[StagedUnit, RowsExecution]]:
        """Yield each unit once; see `TextPlace.run`.

        Raises:
            WorkerError: The machine is at fault, embedders cannot be placed, or nothing moves.
        """
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        size = pool_size(nodes, self._config.runtime, len(units))
        left = {unit.index: unit for unit in units}
        stalls = 0
        with contextlib.suppress(PlaceStopped):
            while left:
                before = len(left)
                try:
                    for parcel in self._through_data(path, list(left.values()), size, keep_on):
                        yield left.pop(parcel.unit), parcel.execution
                except PipelineDiedError as death:
                    logger.info("the pipeline ended with: %s", death)
                    stalls += isinstance(death, PipelineStalledError)
                    if stalls > MOST_STALLS:
                        raise _no_progress(death) from death
                # Ray Data hands units out in order: what was under way is among the first.
                suspects = list(left.values())[: size.embedders * UNITS_PER_EMBEDDER]
                for unit, execution in self._carefully(path, suspects, size, keep_on):
                    del left[unit.index]
                    if _has_what_hangs(execution):
                        # The pipeline stood still because of it, not for want of a place.
                        stalls = 0
                    yield unit, execution
                if len(left) == before:
                    raise _no_result(path, before)

    def close(self) -> None:
        """End what still runs; Ray ends the actors once nobody holds them."""
        # Not `ray.kill`: of each task under way it would tell the terminal that it failed.
        for stream in self._streams:
            stream.stop()
        deadline = time.monotonic() + CLOSE_SECONDS
        for stream in self._streams:
            stream.join(max(0.0, deadline - time.monotonic()))
        self._streams.clear()

    def _through_data(
        self,
        path: Path,
        units: Sequence[StagedUnit],
        size: PoolSize,
        keep_on: Callable[[], bool],
    ) -> Iterator[Parcel]:
        stream = DataStream(self._dataset(path, units, size))
        self._streams.append(stream)
        try:
            yield from stream.parcels(keep_on)
        finally:
            stream.stop()

    def _carefully(
        self,
        path: Path,
        units: Sequence[StagedUnit],
        size: PoolSize,
        keep_on: Callable[[], bool],
    ) -> Iterator[tuple[StagedUnit, RowsExecution]]:
        careful = CarefulRun(self._config, self._recipe, size, job=self._job)
        return careful.run(path, units, keep_on=keep_on)

    def _dataset(self, path: Path, units: Sequence[StagedUnit], size: PoolSize) -> ray.data.Dataset:
        manifest = ray.data.from_items(
            [asdict(unit) for unit in units], override_num_blocks=len(units)
        )
        with warnings.catch_warnings():
            # Ray 2.60 has no other way to bound the retries, and pins say that it is 2.60.
            warnings.simplefilter("ignore", RayDeprecationWarning)
            pipeline = manifest.map_batches(
                _named_for(self._job),
                fn_constructor_args=(
                    self._config,
                    self._recipe,
                    size.per_node,
                    str(path),
                    self._job,
                    # Units are handed out in order: from here on each may be its worker's last.
                    units[-1].index - UNITS_PER_EMBEDDER * size.embedders,
                ),
                batch_size=1,
                batch_format="pyarrow",
                compute=ray.data.ActorPoolStrategy(
                    min_size=1,
                    max_size=size.embedders,
                    initial_size=size.embedders,
                    max_tasks_in_flight_per_actor=UNITS_PER_EMBEDDER,
                    max_concurrent_calls_per_actor=UNITS_AT_ONCE,
                    enable_true_multi_threading=True,
                ),
                num_cpus=size.cpus,
                num_gpus=size.gpus or None,
                scheduling_strategy="SPREAD",
                max_restarts=-1,
                max_task_retries=DATA_RETRIES,
            )
        pipeline.set_name(embedder_label(self._job))
        context = pipeline.context
        context.enable_progress_bars = False
        context.print_on_execution_start = False
        # The user's own may drop units that fail, or have them tried again.
        context.max_errored_blocks = 0
        context.actor_task_retry_on_errors = False
        context.execution_no_progress_timeout_s = patience_for(
            max(unit.rows for unit in units), unit_limit(self._config)
        )
        return pipeline


def _named_for(job: JobTag) -> type[EmbedUnits]:
    """Return the class of the pool's actors under a name that the Ray dashboard shows of each."""
    return type(f"EmbedUnits:{job.collection}:{job.job_id}", (EmbedUnits,), {})


def _has_what_hangs(execution: RowsExecution) -> bool:
    return any(failure.code == TIMED_OUT for failure in execution.failures.values())


def _no_progress(stall: PipelineDiedError) -> WorkerError:
    return WorkerError(
        f"Ray Data made no progress, and not after a new start either: {stall}",
        hint="`ray status` shows what waits for what; raise jobs.unit_seconds if texts just take "
        "long; the same command goes on",
    )


def _no_result(path: Path, units: int) -> WorkerError:
    return WorkerError(
        f"Ray Data gave no result for {units} units of {path}",
        hint="look into logs/ray-data of Ray's session for what it dropped; then run the same "
        "command again",
    )
