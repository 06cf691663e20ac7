"""Where a dead-letter worker keeps what has failed: in the store, or in this process."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lexigram_ray.core.errors import UsageError
from lexigram_ray.workers.constants import (
    DEFAULT_BASE_BACKOFF,
    DEFAULT_CHECK_INTERVAL,
    DEFAULT_MAX_RETRIES,
    MAX_BACKOFF_SECONDS,
)
from lexigram_ray.workers.types import DLQStats

if TYPE_CHECKING:
    from lexigram_ray.core.config import DeadLetterSettings, WorkersConfig
    from lexigram_ray.workers.dlq._durable import DurableLetters
    from lexigram_ray.workers.dlq._foreign import ForeignLetters

    Book = DurableLetters | ForeignLetters

__all__ = ["BookMaker", "config_of", "is_of_store", "sum_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class BookMaker:
    """What a worker was made with.

    Attributes:
        config: Holds what the worker was left at the defaults of; None for the defaults.

    Raises:
        UsageError: A number is out of range.
    """

    worker_id: str
    dlq_queue: object | None
    check_interval: float
    max_retries: int
    base_backoff: float
    config: WorkersConfig | None

    def __post_init__(self) -> None:
        for name, value, least in (
            ("check_interval", self.check_interval, 0.001),
            ("max_retries", self.max_retries, 0),
            ("base_backoff", self.base_backoff, 0.001),
        ):
            if value < least:
                raise UsageError(
                    f"{name}={value!r} of a dead-letter worker is out of range",
                    hint="give seconds above 0, and 0 retries or more",
                )

    @property
    def name(self) -> str:
        """What the worker is called in the log."""
        return f"dead-letter worker {self.worker_id}"

    def of_queue(self, queue: object) -> ForeignLetters:
        """Return what keeps the failed jobs of a queue.

        Args:
            queue: Where they came from, and go again.
        """
        from lexigram_ray.jobs.retry_policy import RetryPolicy
        from lexigram_ray.workers.dlq._foreign import ForeignLetters

        return ForeignLetters(
            queue,
            self.dlq_queue,
            name=self.name,
            check_interval=self.check_interval,
            policy=RetryPolicy.of_settings(self._settings()),
        )

    def of_store(self) -> DurableLetters:
        """Return what sees to the dead letters of a store.

        Raises:
            ConfigError: A setting is unknown or wrong.
        """
        from lexigram_ray.core.call_settings import settings_of
        from lexigram_ray.workers.dlq._durable import DurableLetters

        config = settings_of(self.config, None)

        changed: dict[str, Any] = {"dead_letters": self._settings()}
        if self.check_interval != DEFAULT_CHECK_INTERVAL:
            changed["dlq_check_interval"] = self.check_interval
        return DurableLetters(
            config.model_copy(update=changed),
            worker_id=self.worker_id,
            name=self.name,
            dlq_queue=self.dlq_queue,
        )

    def _settings(self) -> DeadLetterSettings:
        from lexigram_ray.core.config import DeadLetterSettings

        changed: dict[str, Any] = {}
        if self.config is None or self.max_retries != DEFAULT_MAX_RETRIES:
            changed["max_retries"] = self.max_retries
        if self.config is None or self.base_backoff != DEFAULT_BASE_BACKOFF:
            changed["base_backoff_seconds"] = float(self.base_backoff)
        if self.config is None:
            return DeadLetterSettings(**changed, max_backoff_seconds=float(MAX_BACKOFF_SECONDS))
        return self.config.dead_letters.model_copy(update=changed)


def is_of_store(main_queue: object) -> bool:
    """Whether failed jobs are those of the store: no queue of another's was given."""
    from lexigram_ray.workers._durable_queue import DurableTaskQueue

    return main_queue is None or isinstance(main_queue, DurableTaskQueue)


def config_of(
    main_queue: object, config: WorkersConfig | Path | str | None, state: Path | str | None
) -> WorkersConfig | None:
    """Return the configuration; None where a queue of another's was given, and nothing else.

    Raises:
        ConfigError: A setting is unknown or wrong.
    """
    from lexigram_ray.core.call_settings import settings_of
    from lexigram_ray.workers._durable_queue import DurableTaskQueue

    if config is state is None and isinstance(main_queue, DurableTaskQueue):
        return main_queue.config
    if config is state is None and not is_of_store(main_queue):
        return None
    return settings_of(config, state)


def sum_of(all_stats: Iterable[DLQStats]) -> DLQStats:
    """Return the statistics of several books as one."""
    total, by_category = DLQStats(), Counter[str]()
    for stats in all_stats:
        by_category.update(stats.by_category)
        total.total_items += stats.total_items
        total.retried_count += stats.retried_count
        total.archived_count += stats.archived_count
        total.deleted_count += stats.deleted_count
        total.permanent_failures += stats.permanent_failures
    total.by_category = dict(by_category)
    return total
