"""How far a job is, in records: read from what it has saved, or from its report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from lexigram_ray.jobs.records import Job

REPORTED = (("documents", "found"), ("texts", "read"))
"""Where reports have their counts, and what the total is called there."""

ENDED = ("ingested", "unchanged", "skipped", "embedded", "cached", "failed")
"""Counts of a report that together are its total."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """A job's progress in records: documents, or texts.

    Attributes:
        total: 0 while unknown.
        done: Whatever ended, failures among it.
    """

    total: int
    done: int
    failed: int

    @classmethod
    def of(cls, job: Job) -> Counts:
        """Read the job's report where there is one, else what its owner has saved last."""
        for section, found in REPORTED:
            reported = job.summary.get(section)
            if isinstance(reported, dict):
                numbers = _numbers(cast("dict[str, object]", reported))
                done = sum(numbers.get(name, 0) for name in ENDED)
                return cls(total=numbers.get(found, 0), done=done, failed=numbers.get("failed", 0))
        saved = _numbers(job.progress)
        total, done, failed = (saved.get(name, 0) for name in ("total", "done", "failed"))
        return cls(total=total, done=done, failed=failed)

    @property
    def fraction(self) -> float | None:
        """Of the total that is done, from 0 to 1; None while the total is unknown."""
        return min(1.0, self.done / self.total) if self.total else None


def _numbers(counted: Mapping[str, object]) -> dict[str, int]:
    return {name: number for name, number in counted.items() if isinstance(number, int)}
