"""What a duty is given, and what it reports."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from lexigram_ray.core.config import WorkersConfig
    from lexigram_ray.jobs.records import Claim
    from lexigram_ray.jobs.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """Something is wrong that a person should know of: the command ends with exit code 3.

    Attributes:
        name: What it is about, such as `collection docs` or `disk`.
        detail: What is wrong with it.
        fix: The way out; empty where there is none to name.
    """

    name: str
    detail: str
    fix: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DutyReport:
    """What a run of a task has done and found.

    Attributes:
        figures: JSON, with units in the names: `{"bytes_freed": 1, "collections": {...}}`.
        lines: What a person reads, one fact a line.
        faults: What a person should see to.
    """

    figures: Mapping[str, object]
    lines: Sequence[str] = ()
    faults: Sequence[Fault] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DutyContext:
    """What a task is given.

    Attributes:
        options: Of the schedule, and over them those of the run.
        now: The time, UTC.
        tell: Is given one line of progress: what is done now.
        should_stop: Asked between steps: the claim is lost, or a stop was asked for.
        dry_run: Whether only to report what would be done.
        claim: On the run's own job: what a duty writes to a ledger is fenced by it.
    """

    config: WorkersConfig
    store: Store
    options: Mapping[str, object]
    now: Callable[[], datetime]
    tell: Callable[[str], None]
    should_stop: Callable[[], bool]
    dry_run: bool
    claim: Claim | None = None


class Duty(Protocol):
    """A built-in task: the function `run` of a module of this package."""

    def __call__(self, context: DutyContext) -> DutyReport:
        """Do the duty, and report what was done and found."""
        ...
