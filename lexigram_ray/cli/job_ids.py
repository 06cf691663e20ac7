"""Jobs as users name them: by the beginning of an id, as short as it can be."""

from __future__ import annotations

import itertools
import string
import uuid
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

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

SHORTEST_GIVEN = 6
SHOWN_LENGTHS = (13, 18, 23, 36)
"""Of an id: its millisecond, twelve random bits more, fourteen more, all of it."""

NAMED = 10
ALL_DIGITS = 32
HEX_DIGITS = frozenset(string.hexdigits)
GROUPS = (0, 8, 12, 16, 20, None)
"""Where an id's digits are cut by hyphens."""


def open_store(invocation: Invocation, config: WorkersConfig) -> Store:
    """Open the store that jobs are looked up in; none is made.

    Raises:
        UsageError: There is none yet.
    """
    from lexigram_ray.jobs.store import Store

    store = Store.open_existing(config.paths.store_url)
    if store is None:
        where = f" in {config.paths.root}" if config.store_url is None else ""
        raise UsageError(
            f"there are no jobs yet{where}",
            hint=invocation.suggest("ingest", "PATH", "--collection", "NAME"),
        )
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
    digits = given.strip().lower().replace("-", "")
    if not set(digits) <= HEX_DIGITS:
        raise _no_job(given)
    if len(digits) < SHORTEST_GIVEN:
        raise UsageError(
            f"{given!r} is too short to name a job",
            hint=f"give {SHORTEST_GIVEN} or more characters of an id that `jobs list` shows",
        )
    if len(digits) == ALL_DIGITS:
        job = store.get(str(uuid.UUID(digits)))
        candidates = [] if job is None else [job]
    else:
        candidates = store.beginning(_hyphenated(digits))
    if not candidates:
        raise _no_job(given)
    if len(candidates) > 1:
        shown = ", ".join(candidate.id for candidate in candidates[:NAMED])
        more = f" and {len(candidates) - NAMED:,} more" if len(candidates) > NAMED else ""
        raise UsageError(
            f"{given!r} begins the ids of {len(candidates):,} jobs: {shown}{more}",
            hint="give more of the one that you mean",
        )
    return candidates[0]


def short_ids(ids: Sequence[str]) -> list[str]:
    """Return the beginnings that tell these ids apart, all of the same length."""
    for length in SHOWN_LENGTHS:
        shown = [job_id[:length] for job_id in ids]
        if len(set(shown)) == len(set(ids)):
            return shown
    return list(ids)


def _no_job(given: str) -> UsageError:
    return UsageError(f"no job {given!r}", hint="`lexigram-ray jobs list` shows them")


def _hyphenated(digits: str) -> str:
    groups = (digits[start:end] for start, end in itertools.pairwise(GROUPS))
    return "-".join(group for group in groups if group)
