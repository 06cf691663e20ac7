"""How much there is now of what goes up and down: jobs, dead letters, rows, bytes, free space."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from lexigram_ray.core.config import StatePaths
from lexigram_ray.core.errors import WorkerError
from lexigram_ray.core.types import JobStatus
from lexigram_ray.jobs.metrics_records import Metric, Sample
from lexigram_ray.jobs.store import Store
from lexigram_ray.maintenance.amounts import free_bytes, open_letters, sizes_of

logger = logging.getLogger("lexigram_ray")


def samples_now(store: Store, paths: StatePaths) -> Iterator[Sample]:
    """Yield all of them; what cannot be read is named in the log and left out.

    Raises:
        StoreUnreachableError: The store cannot be read.
    """
    yield from _jobs_and_letters(store)
    yield from _collections(paths.lancedb)
    yield from _caches(paths.cache)
    yield Sample(metric=Metric.DISK_FREE_BYTES, value=free_bytes(paths.root))


def _jobs_and_letters(store: Store) -> Iterator[Sample]:
    counts = store.counts()
    for status in (JobStatus.PENDING, JobStatus.RUNNING):
        labels = {"status": status.value}
        yield Sample(metric=Metric.UNFINISHED_JOBS, value=counts.get(status, 0), labels=labels)
    for category, number in open_letters(store).items():
        labels = {"category": category}
        yield Sample(metric=Metric.OPEN_DEAD_LETTERS, value=number, labels=labels)


def _collections(root: Path) -> Iterator[Sample]:
    sizes = sizes_of(root, level=logging.WARNING)
    for metric, of_each in (
        (Metric.COLLECTION_ROWS, sizes.rows),
        (Metric.COLLECTION_BYTES, sizes.bytes),
    ):
        for name, value in of_each.items():
            yield Sample(metric=metric, value=value, labels={"collection": name})


def _caches(root: Path) -> Iterator[Sample]:
    import lance

    from lexigram_ray.embedding.cache_contents import bytes_on_disk, cache_paths
    from lexigram_ray.embedding.cache_edge import cache_errors
    from lexigram_ray.embedding.cache_schema import model_in

    # A model that is cut to several dimensions has as many caches.
    rows_of, bytes_of = Counter[tuple[str, str]](), Counter[tuple[str, str]]()
    for path in cache_paths(root):
        try:
            with cache_errors(path):
                table = lance.dataset(str(path))
                spec, rows = model_in(table.schema_metadata), table.count_rows()
        except WorkerError as error:
            logger.warning("not measured: the embedding cache %s: %s", path, error)
            continue
        key = (spec.name, spec.precision) if spec is not None else ("", "")
        rows_of[key] += rows
        bytes_of[key] += bytes_on_disk(path)
    for key, rows in rows_of.items():
        labels = {"model": key[0], "precision": key[1]}
        yield Sample(metric=Metric.CACHE_ROWS, value=rows, labels=labels)
        yield Sample(metric=Metric.CACHE_BYTES, value=bytes_of[key], labels=labels)
