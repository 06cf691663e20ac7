"""What stands in the store and on the disk, as gauges: read every few seconds, kept nowhere."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import cast

from lexigram_ray.core.config import StatePaths, WorkersConfig
from lexigram_ray.core.telemetry import (
    COLLECTION_BYTES,
    COLLECTION_ROWS,
    DEAD_LETTERS,
    DISK_FREE_BYTES,
    HEALTH,
    JOBS,
    Metric,
    meter,
)
from lexigram_ray.jobs.store import Store
from lexigram_ray.maintenance.amounts import Sizes, free_bytes, open_letters, sizes_of

MOST_COLLECTIONS = 200
"""More of them would be more series than a Prometheus is to keep of us."""

COLLECTIONS_SECONDS = 60.0
"""Between two looks at the files of all collections; there may be thousands."""

HEALTH_SCHEDULE = "health_check"


class Gauges:
    """Sets all gauges at each look.

    Ray drops a gauge that was not set for two of its export intervals, which is 20 s: each look
    sets all of them. What is gone since the look before, such as a dropped collection, is set to 0
    once, so that no chart goes on with its last value.

    Args:
        clock: Seconds, monotonic.
    """

    def __init__(
        self,
        config: WorkersConfig,
        store: Store,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._paths = config.paths
        self._store = store
        self._clock = clock
        self._seen: dict[str, set[str]] = {}
        self._sizes = Sizes()
        self._sized_at = -math.inf

    def look(self) -> None:
        """Look once.

        Raises:
            WorkerError: The store cannot be read.
        """
        jobs = {status.value: number for status, number in self._store.counts().items()}
        self._set(JOBS, "status", jobs)
        self._set(DEAD_LETTERS, "category", open_letters(self._store))
        if self._clock() - self._sized_at >= COLLECTIONS_SECONDS:
            self._sizes = sizes_of(self._paths.lancedb, most=MOST_COLLECTIONS)
            self._sized_at = self._clock()
        self._set(COLLECTION_ROWS, "collection", self._sizes.rows)
        self._set(COLLECTION_BYTES, "collection", self._sizes.bytes)
        self._set(DISK_FREE_BYTES, "place", _free_bytes(self._paths))
        for check, passed in _health(self._store).items():
            meter().gauge(HEALTH, passed, check=check)

    def _set(self, metric: Metric, label: str, values: Mapping[str, float]) -> None:
        before = self._seen.get(metric.name, set())
        for name in before - values.keys():
            meter().gauge(metric, 0, **{label: name})
        for name, value in values.items():
            meter().gauge(metric, value, **{label: name})
        self._seen[metric.name] = set(values)


def _free_bytes(paths: StatePaths) -> dict[str, float]:
    places = {"state": paths.root, "data": paths.lancedb.parent, "scratch": paths.scratch}
    return {name: free_bytes(folder) for name, folder in places.items()}


def _health(store: Store) -> dict[str, float]:
    """Return the checks of the last health run that has ended: 0 for one that has failed."""
    run = store.schedules.last_completed(HEALTH_SCHEDULE)
    figures = cast("Mapping[str, object]", run.result.get("figures", {})) if run else {}
    checks = cast("Sequence[Mapping[str, object]]", figures.get("checks", ()))
    return {str(each["name"]): float(each["status"] != "fail") for each in checks}
