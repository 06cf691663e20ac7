"""The built-in handlers: the duties' own code in a thread of this process, or a foreign store's."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import logging
import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, TypeVar, cast

from lexigram_ray.core.config import WorkersConfig
from lexigram_ray.core.errors import MaintenanceError, WorkerError
from lexigram_ray.jobs.awaiting import call
from lexigram_ray.jobs.foreign_queue import unwrapped
from lexigram_ray.maintenance.duties import DUTIES
from lexigram_ray.maintenance.duty import DutyContext, DutyReport
from lexigram_ray.workers.maintenance._answers import DELETED, METADATA, PROCESSED, metadata_of
from lexigram_ray.workers.maintenance._task_checks import InvalidTaskError
from lexigram_ray.workers.protocols import VectorStoreProtocol

STORE_METHODS = ("optimize_indexes", "optimize", "create_index")
"""Of a foreign vector store: the first that it has, and that can be called without arguments."""

T = TypeVar("T")

logger = logging.getLogger("lexigram_ray")


class CannotOptimizeError(MaintenanceError, ValueError):
    """A vector store offers nothing that would optimise its indexes."""


class BuiltInHandlers:
    """The built-in handlers as methods, to be registered as tasks or awaited.

    Args:
        vector_store: Whose indexes are looked after; None, or one of ours, is all our collections.
        config: Says where our state is, and what each duty may do.
    """

    def __init__(self, vector_store: VectorStoreProtocol | None, config: WorkersConfig) -> None:
        self.vector_store = vector_store
        self._config = config

    async def optimize_vector_indexes(self) -> dict[str, Any]:
        """Keep vector indexes quick.

        Without a foreign vector store: all collections of the state directory are compacted, their
        indexes built, kept up and measured, as the duty `index_optimization` does it. Of a foreign
        one, `optimize_indexes`, `optimize` or `create_index` is called, the first that it has.

        Returns:
            `items_processed` (collections, or what the store says) and `metadata`: figures.

        Raises:
            MaintenanceError: The store has no such method; it is a ValueError too.
            WorkerError: The duty failed.
        """
        if is_foreign_store(self.vector_store):
            return await optimize_foreign_store(self.vector_store)
        return await optimize_our_indexes(self._config)

    async def cleanup_old_embeddings_cache(self, max_age_days: int = 30) -> dict[str, Any]:
        """Remove cached vectors that nobody has used for long.

        What else the duty `cache_cleanup` removes goes as configured.

        Args:
            max_age_days: Vectors that were not used for so many days go.

        Returns:
            `items_processed` (vectors looked at), `items_deleted`, and `metadata`: figures.

        Raises:
            MaintenanceError: `max_age_days` is no number of days; it is a ValueError too.
            EmbeddingError: Another process cleans or clears the cache at this moment.
        """
        if isinstance(max_age_days, bool) or max_age_days < 0:
            raise InvalidTaskError(f"max_age_days must be days, 0 or more, got {max_age_days!r}")
        return await clean_our_cache(self._config, max_age_days)

    async def aggregate_metrics(self) -> dict[str, Any]:
        """Add what has ended to the figures of `lexigram-ray stats`.

        Returns:
            `items_processed` (jobs added), and `metadata`: figures.

        Raises:
            WorkerError: The duty `metrics_rollup` failed.
        """
        return await roll_up_our_metrics(self._config)


def is_foreign_store(store: object) -> bool:
    """Whether a vector store is of other code; None is not."""
    if store is None:
        return False
    from lexigram_ray.jobs.foreign_store import is_foreign

    return is_foreign(store)


async def optimize_our_indexes(config: WorkersConfig) -> dict[str, Any]:
    """Look after the indexes of all our collections; return figures, the collections counted."""
    report = await run_duty(config, "index_optimization", {})
    collections = report.figures.get("collections")
    number = (
        len(cast("Mapping[str, object]", collections)) if isinstance(collections, Mapping) else 0
    )
    return {PROCESSED: number, METADATA: metadata_of(report)}


async def optimize_foreign_store(store: object) -> dict[str, Any]:
    """Have a foreign vector store optimise its indexes, and return what it says of that.

    Raises:
        CannotOptimizeError: It has no method for that.
        Exception: Whatever the store raised.
    """
    for name in STORE_METHODS:
        method = getattr(store, name, None)
        if callable(method) and _takes_nothing(method):
            said = await call(method)
            _raise_refusal(said)
            figures = dict(cast("Mapping[str, Any]", said)) if isinstance(said, Mapping) else {}
            number = figures.get(PROCESSED, 0)
            return {PROCESSED: number if isinstance(number, int) else 0, METADATA: figures}
    raise CannotOptimizeError(
        f"the vector store {type(store).__name__} cannot optimise its indexes: it has none of "
        f"{', '.join(STORE_METHODS)} that takes no arguments",
        hint="register a handler of your own for it",
    )


async def clean_our_cache(config: WorkersConfig, max_age_days: int) -> dict[str, Any]:
    """Remove the cached vectors that nobody has used for so many days; return figures.

    What else the duty `cache_cleanup` does is done as configured.
    """
    report = await run_duty(config, "cache_cleanup", {"unused_for_days": max_age_days})
    before, after = _figure(report, "rows_before"), _figure(report, "rows_after")
    return {
        PROCESSED: before,
        DELETED: before - after,
        METADATA: {"max_age_days": max_age_days} | metadata_of(report),
    }


async def roll_up_our_metrics(config: WorkersConfig) -> dict[str, Any]:
    """Add what has ended to the figures by minute, hour and day; return the jobs counted."""
    report = await run_duty(config, "metrics_rollup", {})
    return {
        PROCESSED: _figure(report, "jobs_rolled_up"),
        METADATA: {"aggregation_type": "minute, hour, day"} | metadata_of(report),
    }


async def run_duty(config: WorkersConfig, name: str, options: Mapping[str, object]) -> DutyReport:
    """Run a built-in duty in a thread, and return its report.

    A caller that is cancelled asks the duty to stop, and waits until it has: at its next step.

    Raises:
        UsageError: An option is wrong.
        WorkerError: The duty failed.
    """
    stopping = threading.Event()
    return await _until_it_ends(
        lambda: _run_duty(config, name, options, stopping.is_set), stopping.set
    )


def _run_duty(
    config: WorkersConfig,
    name: str,
    options: Mapping[str, object],
    should_stop: Callable[[], bool],
) -> DutyReport:
    from lexigram_ray.jobs.store import Store

    with Store.open(config.paths.store_url) as store:
        context = DutyContext(
            config=config,
            store=store,
            options=options,
            now=lambda: datetime.now(UTC),
            tell=lambda line: logger.debug("%s: %s", name, line),
            should_stop=should_stop,
            dry_run=False,
        )
        return DUTIES[name].load()(context)


async def _until_it_ends(function: Callable[[], T], ask_to_stop: Callable[[], None]) -> T:
    work = asyncio.ensure_future(call(function))
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        ask_to_stop()
        # Whoever cancels once more does not wait.
        await asyncio.wait({work})
        with contextlib.suppress(Exception):
            work.result()
        raise


def _figure(report: DutyReport, name: str) -> int:
    value = report.figures.get(name)
    return value if isinstance(value, int) else 0


def _raise_refusal(answer: object) -> None:
    """Raise the error that a `Result` holds; anything else is none."""
    try:
        unwrapped(answer, "the vector store")
    except WorkerError as refusal:
        raise MaintenanceError(refusal.message) from refusal.__cause__


def _takes_nothing(method: Callable[..., Any]) -> bool:
    try:
        inspect.signature(method).bind()
    except TypeError:
        return False
    except ValueError:
        return True  # One of C, which says nothing of itself.
    return True
