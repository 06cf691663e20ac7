"""Jobs as a table, one line a job."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from lexigram_ray.cli.job_ids import short_ids
from lexigram_ray.cli.job_words import age, place_of, progress_in_short, seconds_taken, style_of
from lexigram_ray.cli.output import duration, print_table, shortened

if TYPE_CHECKING:
    from rich.text import Text

    from lexigram_ray.jobs.records import Job

HEADERS = ("ID", "KIND", "COLLECTION", "STATUS", "PROGRESS", "AGE", "TOOK", "ERROR")
SHOWN_OF_AN_ERROR = 60


def print_jobs(jobs: Sequence[Job], now: datetime) -> None:
    """Print jobs on stdout, in their order."""
    ids = short_ids([job.id for job in jobs])
    print_table(HEADERS, [_row(job, shown, now) for job, shown in zip(jobs, ids, strict=True)])


def error_in_short(error: str | None) -> str:
    """Return the beginning of an error's first line; empty where there is none."""
    first = (error or "").strip().partition("\n")[0]
    return shortened(first, SHOWN_OF_AN_ERROR)


def _row(job: Job, shown: str, now: datetime) -> tuple[str | Text, ...]:
    from rich.text import Text

    took = seconds_taken(job, now)
    return (
        shown,
        job.kind,
        place_of(job),
        Text(job.status.value, style=style_of(job)),
        progress_in_short(job),
        age(job.created_at, now),
        "-" if took is None else duration(took),
        error_in_short(job.error),
    )
