"""One run in this process: the task is found and called, and the job ended with its report."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import cast

from lexigram_ray.core.config import WorkersConfig
from lexigram_ray.core.errors import LeaseLostError, MaintenanceError
from lexigram_ray.core.types import JobStatus
from lexigram_ray.jobs.failures import failure_of
from lexigram_ray.jobs.records import Claim, Job
from lexigram_ray.jobs.redaction import traceback_text
from lexigram_ray.jobs.store import Store
from lexigram_ray.maintenance.duties import DUTIES
from lexigram_ray.maintenance.duty import Duty, DutyContext, DutyReport
from lexigram_ray.maintenance.options import DRY_RUN
from lexigram_ray.maintenance.user_tasks import Function, as_duty, load_function

logger = logging.getLogger("lexigram_ray")


def run_claimed(
    context: DutyContext, job: Job, claim: Claim, *, function: Function | None = None
) -> None:
    """Run the task of a claimed job, and end the job as completed or failed.

    A task that returns because it was asked to stop has not ended: its job is left as it is.

    Args:
        context: See `context_of`; the task is given it with the claim.
        job: What to run.
        claim: On the job.
        function: The task itself, where the job's task is no import path.

    Raises:
        LeaseLostError: Somebody else has ended the job, or has it now.
    """
    try:
        report = _task_of(job, function)(replace(context, claim=claim))
    except LeaseLostError:
        raise
    except (Exception, SystemExit) as error:  # noqa: BLE001 - the job's own record tells it
        if not context.should_stop():
            _fail(context.store, claim, error)
        return
    if not context.should_stop():
        context.store.finish(claim, JobStatus.COMPLETED, summary=summary_of(report))


def context_of(
    config: WorkersConfig,
    store: Store,
    job: Job,
    *,
    tell: Callable[[str], None],
    should_stop: Callable[[], bool],
) -> DutyContext:
    """Return what the task of a job is given."""
    options = cast("Mapping[str, object]", job.spec.get("options") or {})
    return DutyContext(
        config=config,
        store=store,
        options=options,
        now=lambda: datetime.now(UTC),
        tell=tell,
        should_stop=should_stop,
        dry_run=bool(options.get(DRY_RUN)),
    )


def summary_of(report: DutyReport) -> dict[str, object]:
    """Return a report as the store keeps it."""
    return {
        "figures": dict(report.figures),
        "faults": [asdict(fault) for fault in report.faults],
        "lines": list(report.lines),
    }


def _task_of(job: Job, function: Function | None) -> Duty:
    if function is not None:
        return as_duty(function)
    name = str(job.spec["task"])
    return DUTIES[name].load() if name in DUTIES else as_duty(load_function(name))


def _fail(store: Store, claim: Claim, error: BaseException) -> None:
    logger.warning("job %s has failed: %s", claim.job_id, traceback_text(error))
    said: BaseException = error
    if isinstance(error, SystemExit):
        said = MaintenanceError(f"the task ended its process (exit code {error.code})")
    failure = failure_of(said)
    store.finish(
        claim,
        JobStatus.FAILED,
        error=failure.reason,
        error_code=failure.code,
        summary={},
        category=failure.category,
        traceback=traceback_text(error),
    )
