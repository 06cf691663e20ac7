"""Finding the texts that kill their worker, so that their neighbours are embedded all the same.

Ray Data repeats a batch whose worker died at most twice, and then gives up the whole run. What
was under way then is executed here: alone, on workers that are replaced when they die.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import ray
from ray.exceptions import RayError

from lexigram_ray.core.config import WorkersConfig
from lexigram_ray.core.errors import EmbedderDiedError, WorkerError
from lexigram_ray.core.ids import hash_text
from lexigram_ray.core.job_logging import JobTag
from lexigram_ray.core.types import Failure, FailureCategory
from lexigram_ray.jobs.pool import TIMED_OUT
from lexigram_ray.jobs.staged import StagedUnit, read_unit
from lexigram_ray.jobs.text_executor import RowsExecution, merged, plain_text
from lexigram_ray.jobs.text_places import POLL_SECONDS
from lexigram_ray.runtime.actor_names import embedder_label, one_of
from lexigram_ray.runtime.actors import EmbedderActor
from lexigram_ray.runtime.patience import (
    Silence,
    UnitTime,
    hear_last_word,
    patience_for,
    unit_limit,
)
from lexigram_ray.runtime.pickled_recipe import PickledRecipe
from lexigram_ray.runtime.pool_size import PoolSize
from lexigram_ray.runtime.transport import unpack

logger = logging.getLogger("lexigram_ray")

Execute = Callable[[pa.Table], RowsExecution]


class PlaceStopped(Exception):
    """The run was asked to end while something was waited for."""


def execute_carefully(staged: pa.Table, execute: Execute, *, budget: int) -> RowsExecution:
    """Execute rows, halving what dies until the rows that cause it stand alone.

    Args:
        staged: At least one row, with the columns of a staged table.
        execute: Raises EmbedderDiedError when its worker died; the next call has a fresh one.
        budget: Deaths of a row alone after which it is to blame.

    Raises:
        WorkerError: A worker dies of a harmless text too: no text is to blame.
    """
    try:
        return execute(staged)
    except EmbedderDiedError as death:
        if len(staged) == 1:
            return _execute_alone(staged, execute, budget=budget, death=death)
        logger.info("an embedder died with %d texts: they are halved", len(staged))
    half = len(staged) // 2
    parts = (staged.slice(0, half), staged.slice(half))
    return merged([execute_carefully(part, execute, budget=budget) for part in parts])


def _execute_alone(
    row: pa.Table, execute: Execute, *, budget: int, death: EmbedderDiedError
) -> RowsExecution:
    for _ in range(budget - 1):
        try:
            return execute(row)
        except EmbedderDiedError as again:
            death = again
    try:
        harmless = execute(_harmless(row))
    except EmbedderDiedError as error:
        raise WorkerError(
            f"embedders die whatever they are given, the last one with: {error}",
            hint="look at the memory of this machine, then run the same command again",
        ) from error
    return RowsExecution(
        rows=harmless.rows.slice(0, 0),
        failures={
            row.column("id")[0].as_py(): Failure(
                category=FailureCategory.INVALID_INPUT,
                code=TIMED_OUT if death.code == TIMED_OUT else "worker_died",
                reason=f"its worker died {budget} times while it was embedded alone: {death}",
            )
        },
    )


def _harmless(row: pa.Table) -> pa.Table:
    text = plain_text()
    changed = {"text": text, "content_hash": hash_text(text)}
    for name, value in changed.items():
        place = row.schema.get_field_index(name)
        row = row.set_column(place, row.schema.field(place), pa.array([value]))
    return row


class CarefulRun:
    """Executes units one at a time, on an actor of its own that is replaced when it dies.

    An actor that takes longer than `jobs.unit_seconds` for what it was given, once its model is
    loaded, is ended, which is a death like any other.

    Args:
        size: What the actor reserves; it has a node's cores for itself.
    """

    def __init__(
        self,
        config: WorkersConfig,
        recipe: PickledRecipe,
        size: PoolSize,
        *,
        job: JobTag,
    ) -> None:
        self._budget = config.jobs.crash_budget
        self._unit_seconds = unit_limit(config)
        self._job = job
        label = f"{embedder_label(job)}:careful"
        self._make = lambda: (
            ray.remote(EmbedderActor)
            .options(name=one_of(label), num_cpus=size.cpus, num_gpus=size.gpus)
            .remote(config, recipe, label, job=job)
        )
        self._actor: Any = None

    def run(
        self, path: Path, units: Sequence[StagedUnit], *, keep_on: Callable[[], bool]
    ) -> Iterator[tuple[StagedUnit, RowsExecution]]:
        """Yield each unit once.

        Raises:
            PlaceStopped: `keep_on` said no.
            WorkerError: The machine is at fault, or the actor does not answer.
        """
        execute = partial(self._execute, keep_on=keep_on)
        try:
            for unit in units:
                yield unit, execute_carefully(read_unit(path, unit), execute, budget=self._budget)
        finally:
            # What it reserves is needed by whoever comes next.
            self._actor = None

    def _execute(self, staged: pa.Table, *, keep_on: Callable[[], bool]) -> RowsExecution:
        try:
            actor = self._actor or self._begun(keep_on)
            task = actor.execute_table.options(name=embedder_label(self._job))
            reference = task.remote(staged, self._job)
            if math.isinf(self._unit_seconds):
                parcel = wait_for(reference, keep_on, _patience_for(len(staged)))
            else:
                parcel = self._in_time(reference, keep_on, self._unit_seconds)
        except RayError as error:
            self._actor = None
            raise EmbedderDiedError(first_line(error)) from error
        return unpack(parcel).execution

    def _begun(self, keep_on: Callable[[], bool]) -> Any:
        actor: Any = self._make()
        self._actor = actor
        # Until then it waits for a place in the cluster, which is no text's fault.
        wait_for(actor.__ray_ready__.remote(), keep_on, _patience_for(0))
        if not math.isinf(self._unit_seconds):
            # Nor is the loading of its model. A server has none to load, and questions cost.
            self._in_time(actor.load.remote(), keep_on, patience_for(0) + self._unit_seconds)
        return actor

    def _in_time(self, reference: Any, keep_on: Callable[[], bool], seconds: float) -> Any:
        try:
            return wait_for(reference, keep_on, UnitTime("an embedder", seconds))
        except EmbedderDiedError:
            self._end(reference)
            raise

    def _end(self, reference: Any) -> None:
        ray.kill(self._actor)
        self._actor = None
        hear_last_word(reference)


def wait_for(reference: Any, keep_on: Callable[[], bool], silence: Silence) -> Any:
    """Return what an actor answers.

    Args:
        reference: Of the task.
        keep_on: Asked while nothing comes.
        silence: Says when to wait no longer.

    Raises:
        PlaceStopped: `keep_on` said no.
        RayError: As of `ray.get`.
        WorkerError: The time is over.
    """
    while not ray.wait([reference], timeout=POLL_SECONDS)[0]:
        if not keep_on():
            raise PlaceStopped
        silence.goes_on()
    return ray.get(reference)


def _patience_for(rows: int) -> Silence:
    return Silence("an embedder", patience_for(rows))


def first_line(error: BaseException) -> str:
    """Return the first line of what Ray says of a death."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
