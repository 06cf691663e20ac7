"""One job in full, as the command line's `--json` and HTTP answer it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import cast

from lexigram_ray.jobs.records import Attempt, Job
from lexigram_ray.jobs.redaction import HIDDEN, redacted
from lexigram_ray.jobs.report import problems_of
from lexigram_ray.jobs.watching import pace_since_start


def page_object(job: Job, attempts: Sequence[Attempt], now: datetime) -> dict[str, object]:
    """Return the object of `jobs show --json`.

    Args:
        job: As the store has it.
        attempts: All attempts at it, first to last.
        now: Aware; how long it still takes depends on it.
    """
    return job.to_dict() | {
        "error_code": job.error_code,
        "seconds_remaining": pace_since_start(job, now).seconds_remaining,
        "run_after": job.run_after.isoformat() if job.run_after else None,
        "deadline": job.deadline.isoformat() if job.deadline else None,
        "attempts": [attempt.to_dict() for attempt in attempts],
        "spec": _without_secrets(job.spec),
        "problems": problems_of(job),
    }


def _without_secrets(value: object, name: str = "") -> object:
    """Return JSON without passwords and keys, be it by their looks or by the name they have."""
    if isinstance(value, Mapping):
        inner = cast("Mapping[str, object]", value)
        return {key: _without_secrets(each, key) for key, each in inner.items()}
    if isinstance(value, list):
        return [_without_secrets(each, name) for each in cast("list[object]", value)]
    if isinstance(value, str):
        named = f"{name}=x"
        return HIDDEN if value and redacted(named) != named else redacted(value)
    return value
