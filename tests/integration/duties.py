"""Duties called as a run of maintenance calls them: with a claim on a job of their own."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable

from lexigram_ray.core.config import WorkersConfig
from lexigram_ray.core.ids import new_job_id
from lexigram_ray.core.types import JobStatus
from lexigram_ray.jobs.records import Claim, Owner
from lexigram_ray.jobs.requests import MAINTENANCE
from lexigram_ray.jobs.schedule_records import Trigger
from lexigram_ray.jobs.store import Store
from lexigram_ray.maintenance.duty import Duty, DutyContext, DutyReport

LEASE_SECONDS = 60.0


def claimed_run(store: Store, task: str, trigger: Trigger = Trigger.MANUAL) -> Claim:
    """Make the job of one run, and claim it."""
    key, spec = new_job_id(), {"task": task, "trigger": trigger.value}
    job, _ = store.submit(kind=MAINTENANCE, collection="", spec=spec, spec_key=key)
    claim = store.claim(job.id, Owner.current(), LEASE_SECONDS)
    assert isinstance(claim, Claim)
    return claim


def context_of(
    config: WorkersConfig,
    store: Store,
    claim: Claim,
    *,
    now: Callable[[], dt.datetime] = lambda: dt.datetime.now(dt.UTC),
    **options: object,
) -> DutyContext:
    return DutyContext(
        config=config,
        store=store,
        options=options,
        now=now,
        tell=lambda _: None,
        should_stop=lambda: False,
        dry_run=bool(options.get("dry_run")),
        claim=claim,
    )


def run_duty(
    duty: Duty,
    config: WorkersConfig,
    store: Store,
    *,
    now: Callable[[], dt.datetime] = lambda: dt.datetime.now(dt.UTC),
    trigger: Trigger = Trigger.MANUAL,
    **options: object,
) -> DutyReport:
    """Run a duty to its end, as a job that completes and that somebody has asked for."""
    claim = claimed_run(store, duty.__module__.rpartition(".")[2], trigger)
    report = duty(context_of(config, store, claim, now=now, **options))
    store.finish(claim, JobStatus.COMPLETED, summary={})
    return report


def run_by_schedule(
    duty: Duty,
    config: WorkersConfig,
    store: Store,
    *,
    now: Callable[[], dt.datetime] = lambda: dt.datetime.now(dt.UTC),
    **options: object,
) -> DutyReport:
    """Run a duty as a job that a schedule has made."""
    return run_duty(duty, config, store, now=now, trigger=Trigger.SCHEDULE, **options)
