"""What a worker's health check answers: a pure function of what is known of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lexigram_ray.core.types import MaintenanceStatus
from lexigram_ray.workers.maintenance._records import Stuck
from lexigram_ray.workers.protocols import HealthStatus
from lexigram_ray.workers.types import MaintenanceResult

LATE_SECONDS = 10.0
"""A look that is later than this tells of handlers that hold up the event loop."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What is known.

    Attributes:
        was_started: Whether `start` was called, and `stop` was not since.
        is_running: Whether its loop looks what is due.
        seconds_since_look: Of that loop.
        check_interval: Most seconds between two looks.
        last_results: How the last run of each task has ended.
        stuck: Runs that go on although their time is over.
        obstacle: Why what the worker works on does not answer; empty where it does.
    """

    was_started: bool
    is_running: bool
    seconds_since_look: float
    check_interval: float
    last_results: Mapping[str, MaintenanceResult]
    stuck: Sequence[Stuck]
    obstacle: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """How a worker is, and what is wrong with it; `error` is None where nothing is."""

    status: HealthStatus
    message: str
    error: str | None = None


def verdict_of(facts: Facts) -> Verdict:
    """Return how a worker is."""
    if not facts.is_running:
        if not facts.was_started:
            return Verdict(status=HealthStatus.UNHEALTHY, message="not running")
        ended = "its event loop has ended, or its scheduler was cancelled, without stop()"
        return Verdict(status=HealthStatus.UNHEALTHY, message="not running", error=ended)
    wrong = [*_wrong(facts)]
    if not wrong:
        return Verdict(status=HealthStatus.HEALTHY, message="running, and all tasks are well")
    number = f"{len(wrong)} things are" if len(wrong) > 1 else "one thing is"
    return Verdict(
        status=HealthStatus.DEGRADED, message=f"running, but {number} wrong", error="; ".join(wrong)
    )


def failing_tasks(last_results: Mapping[str, MaintenanceResult]) -> dict[str, str]:
    """Return the tasks whose last run has failed or found faults, with what was said."""
    said: dict[str, str] = {}
    for name, result in last_results.items():
        if result.status is MaintenanceStatus.FAILED:
            said[name] = f"its last run failed: {result.error}"
        elif faults := result.metadata.get("faults"):
            said[name] = f"its last run found: {_faults(faults)}"
    return said


def _wrong(facts: Facts) -> list[str]:
    wrong = [f"task {name}: {said}" for name, said in failing_tasks(facts.last_results).items()]
    wrong += [
        f"task {each.task_name}: its run of {each.started_at.isoformat()} timed out and goes on"
        for each in facts.stuck
    ]
    if facts.seconds_since_look > facts.check_interval + LATE_SECONDS:
        wrong.append(
            f"it has not looked what is due for {facts.seconds_since_look:.0f} s: "
            "a handler holds up the event loop"
        )
    if facts.obstacle:
        wrong.append(facts.obstacle)
    return wrong


def _faults(faults: object) -> str:
    if not isinstance(faults, Sequence) or isinstance(faults, str):
        return str(faults)
    each_said: list[str] = []
    for each in faults:
        if isinstance(each, Mapping):
            each_said.append(f"{each.get('name', '')}: {each.get('detail', '')}")
        else:
            each_said.append(str(each))
    return ", ".join(each_said)
