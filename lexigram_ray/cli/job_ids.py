"""Jobs as users name them: by the beginning of an id, as short as it can be."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from lexigram_ray.cli.id_prefixes import find_by_id
from lexigram_ray.core.errors import UsageError

if TYPE_CHECKING:
    from lexigram_ray.cli.invocation import Invocation
    from lexigram_ray.core.config import WorkersConfig
    from lexigram_ray.jobs.records import Job
    from lexigram_ray.jobs.store import Store

IdArgument = Annotated[
    str, typer.Argument(metavar="ID", help="A job's id, or its beginning.", show_default=False)
]
IdsArgument = Annotated[
    list[str],
    typer.Argument(metavar="ID", help="Jobs' ids, or their beginnings.", show_default=False),
]

SHOWN_LENGTHS = (13, 18, 23, 36)
"""Of an id: its millisecond, twelve random bits more, fourteen more, all of it."""


def open_store(invocation: Invocation, config: WorkersConfig) -> Store:
    """Open the store that jobs are looked up in; see `existing_store`."""
    return existing_store(config, hint=invocation.suggest("ingest", "PATH", "--collection", "NAME"))


def existing_store(config: WorkersConfig, *, hint: str) -> Store:
    """Open the store of a configuration; none is made.

    Raises:
        UsageError: There is none yet.
    """
    from lexigram_ray.jobs.store import Store

    store = Store.open_existing(config.paths.store_url)
    if store is None:
        where = f" in {config.paths.root}" if config.store_url is None else ""
        raise UsageError(f"there are no jobs yet{where}", hint=hint)
    return store


def find_jobs(store: Store, given: Sequence[str]) -> list[Job]:
    """Return the jobs of these ids or their beginnings, each once, in their order.

    Raises:
        UsageError: One is too short, names no job, or more than one.
    """
    found = [find_job(store, each) for each in given]
    return list({job.id: job for job in found}.values())


def find_job(store: Store, given: str) -> Job:
    """Return the one job whose id begins so.

    Raises:
        UsageError: It is too short, names no job, or more than one.
    """
    return find_by_id(
        given, noun="job", listed_by="jobs list", get=store.get, beginning=store.beginning
    )


def short_ids(ids: Sequence[str]) -> list[str]:
    """Return the beginnings that tell these ids apart, all of the same length."""
    for length in SHOWN_LENGTHS:
        shown = [job_id[:length] for job_id in ids]
        if len(set(shown)) == len(set(ids)):
            return shown
    return list(ids)
