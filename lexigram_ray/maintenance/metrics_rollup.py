"""The duty that adds what has ended to the figures, looks how much there is, and forgets the old.

`lexigram-ray stats` rolls up too: without this duty the figures of jobs are as right, but minutes
are kept for ever, and nobody knows how large collections were yesterday.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from lexigram_ray.core.maintenance_settings import MetricsRollupSettings
from lexigram_ray.jobs.metrics_records import Resolution
from lexigram_ray.jobs.metrics_store import Metrics
from lexigram_ray.maintenance.asked_runs import CLOCK_NOT_TRUSTED, may_remove_by_age
from lexigram_ray.maintenance.duty import DutyContext, DutyReport
from lexigram_ray.maintenance.metrics_samples import samples_now
from lexigram_ray.maintenance.options import settings_of


def run(context: DutyContext) -> DutyReport:
    """Roll up, sample and prune.

    Raises:
        UsageError: An option is wrong.
        StoreUnreachableError, DiskFullError: The store cannot be used.
    """
    settings = settings_of(context, context.config.maintenance.metrics_rollup)
    metrics = context.store.metrics
    if context.dry_run:
        pending = metrics.pending()
        line = f"{pending:,} ended jobs would be added to the figures"
        return DutyReport(figures={"jobs_pending": pending}, lines=[line])
    context.tell("adding ended jobs to the figures")
    jobs = metrics.roll_up(keep_on=lambda: not context.should_stop())
    context.tell("looking how much there is")
    samples = list(samples_now(context.store, context.config.paths))
    now = context.now()
    metrics.sample(samples, now)
    is_in_time = may_remove_by_age(context)
    goes_on = is_in_time and not context.should_stop()
    pruned = _prune(metrics, settings, now) if goes_on else {}
    figures = {
        "jobs_rolled_up": jobs,
        "samples": len(samples),
        "records_pruned": {resolution.value: number for resolution, number in pruned.items()},
    }
    lines = _lines(jobs, len(samples), sum(pruned.values()))
    return DutyReport(figures=figures, lines=lines if is_in_time else [*lines, CLOCK_NOT_TRUSTED])


def oldest_kept(
    settings: MetricsRollupSettings, now: datetime
) -> dict[Resolution, datetime | None]:
    """Return from when on minutes, hours and days are kept; None for ever."""
    days = None if settings.keep_days is None else now - timedelta(days=settings.keep_days)
    return {
        Resolution.MINUTE: now - timedelta(hours=settings.keep_minutes_hours),
        Resolution.HOUR: now - timedelta(days=settings.keep_hours_days),
        Resolution.DAY: days,
    }


def _prune(
    metrics: Metrics, settings: MetricsRollupSettings, now: datetime
) -> dict[Resolution, int]:
    return {
        resolution: metrics.prune(resolution, before)
        for resolution, before in oldest_kept(settings, now).items()
        if before is not None
    }


def _lines(jobs: int, samples: int, pruned: int) -> list[str]:
    lines = [f"{jobs:,} ended jobs added to the figures, {samples:,} samples taken"]
    if pruned:
        lines.append(f"{pruned:,} old records removed")
    return lines
