"""A run that is asked for on the command line: recorded, if somebody will work on it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lexigram_ray.cli.output import say
from lexigram_ray.core.errors import UsageError

if TYPE_CHECKING:
    from lexigram_ray.cli.invocation import Invocation
    from lexigram_ray.core.config import WorkersConfig
    from lexigram_ray.jobs.schedule_records import Run
    from lexigram_ray.jobs.store import Store


def begin_run(
    config: WorkersConfig,
    store: Store,
    name: str,
    options: dict[str, object],
    timeout_seconds: float | None,
) -> Run:
    """Record the run; what is wrong with it is found before, and what was left of others said.

    Raises:
        UsageError: There is no such schedule or option, or an earlier run has not ended.
    """
    from lexigram_ray.cli.job_next import is_up
    from lexigram_ray.maintenance import beginning

    run, ended = beginning.begin_run(
        config, store, name, options, timeout_seconds, is_up=is_up(config)
    )
    for job_id in ended:
        say(f"an earlier run was left unfinished, and is cancelled: {job_id}", label="note")
    return run


def refuse_without_workers(config: WorkersConfig, invocation: Invocation) -> None:
    """Refuse a run for which nobody is there.

    Raises:
        UsageError: Nothing works on maintenance here.
    """
    if not has_workers(config):
        raise UsageError(
            "--no-wait needs `lexigram-ray up`: nothing works on maintenance here yet",
            hint=f"{invocation.suggest('up')}, or leave --no-wait out",
        )


def has_workers(config: WorkersConfig) -> bool:
    """Whether `up` has started what works on maintenance here."""
    from lexigram_ray.cli.job_next import is_up

    return config.enable_maintenance and is_up(config)
