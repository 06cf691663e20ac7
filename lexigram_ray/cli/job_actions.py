"""`lexigram-ray jobs cancel` and `retry`: what changes jobs, and what is said of it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from lexigram_ray.cli.exit_codes import EXIT_DONE
from lexigram_ray.cli.invocation import (
    ConfigOption,
    DebugOption,
    Invocation,
    JsonOption,
    StateOption,
    env,
)
from lexigram_ray.cli.job_ids import IdsArgument, find_jobs, open_store
from lexigram_ray.cli.output import count, paint, printable, say, write_line
from lexigram_ray.core.errors import UsageError
from lexigram_ray.core.types import JobStatus

if TYPE_CHECKING:
    from lexigram_ray.jobs.records import Job
    from lexigram_ray.jobs.retrying import Retry


def cancel_jobs(
    ctx: typer.Context,
    job_ids: IdsArgument,
    *,
    state: StateOption = None,
    config: ConfigOption = None,
    json: JsonOption = False,
    debug: DebugOption = False,
) -> int:
    """Cancel jobs, wherever they run. What they have written stays; nothing is written any more.

    Examples:
      lexigram-ray jobs cancel 0193579e-1c2d
      lexigram-ray jobs cancel 0193579e-1c2d 0193579e-2f00 --json

    With --json one job is one object, and several are {"items": [...]}.
    """
    from lexigram_ray.cli.job_next import line_again
    from lexigram_ray.cli.job_words import object_of
    from lexigram_ray.jobs.owner import Owner

    invocation = Invocation.of(ctx, state, config, json=json, debug=debug)
    settings = invocation.load_config()
    seconds = settings.jobs.lease_seconds
    with open_store(invocation, settings) as store:
        found = find_jobs(store, job_ids)
        _check_cancellable(found)
        ended = [store.cancel(job.id, Owner.current(), turn_seconds=seconds) for job in found]
        if invocation.json:
            invocation.answer(object_of(ended))
            return EXIT_DONE
        rows = [store.unit_totals(job.id).chunks for job in ended]
    for job, written in zip(ended, rows, strict=True):
        _print_cancelled(job, written)
    if len(ended) == 1:
        line = line_again(ended[0], invocation)
        say(line, label="do it again with", style="cyan")
    return EXIT_DONE


def retry_jobs(
    ctx: typer.Context,
    job_ids: IdsArgument,
    *,
    failed: Annotated[
        bool,
        typer.Option("--failed", envvar=env("failed"), help="Only the documents that failed."),
    ] = False,
    state: StateOption = None,
    config: ConfigOption = None,
    json: JsonOption = False,
    debug: DebugOption = False,
) -> int:
    """Do jobs that have ended again, each as a new job, which `lexigram-ray up` works on.

    Examples:
      lexigram-ray jobs retry 0193579e-1c2d
      lexigram-ray jobs retry 0193579e-1c2d --failed

    Unchanged documents are not read again, and rows that stand are not embedded again. With --json
    one job is one object, and several are {"items": [...]}.
    """
    from lexigram_ray.cli.job_next import say_what_is_missing
    from lexigram_ray.cli.job_words import object_of
    from lexigram_ray.jobs.retrying import retry

    invocation = Invocation.of(ctx, state, config, json=json, debug=debug)
    settings = invocation.load_config()
    with open_store(invocation, settings) as store:
        found = find_jobs(store, job_ids)
        retries = retry(store, found, failed_only=failed, staged=settings.paths.staged)
    if invocation.json:
        invocation.answer(object_of([each.job for each in retries]))
        return EXIT_DONE
    for job, each in zip(found, retries, strict=True):
        _print_retry(job, each)
    say_what_is_missing("recorded jobs", settings, invocation)
    line = invocation.suggest("jobs", "watch", *(each.job.id for each in retries))
    say(line, label="watch with", style="cyan")
    return EXIT_DONE


def _check_cancellable(found: Sequence[Job]) -> None:
    """Refuse before any is cancelled."""
    for job in found:
        if job.status in (JobStatus.COMPLETED, JobStatus.FAILED):
            raise UsageError(
                f"job {job.id} cannot be cancelled: it has {job.status.value} already"
                + ("; none was cancelled" if len(found) > 1 else ""),
                hint=f"`lexigram-ray jobs show {job.id}` tells how it ended",
            )


def _print_cancelled(job: Job, rows: int) -> None:
    from lexigram_ray.cli.job_words import title_of

    stays = f"{count(rows, 'row')} that it had written stay" if rows else "it had written nothing"
    word = paint("cancelled", "yellow", sys.stdout)
    write_line(sys.stdout, f"{word}: {printable(title_of(job))}, job {job.id}: {stays}")


def _print_retry(job: Job, recorded: Retry) -> None:
    """Print the new job's id on stdout, for scripts, and on stderr what it is."""
    write_line(sys.stdout, recorded.job.id)
    if recorded.created:
        where = f"{job.kind} into collection {printable(job.collection)}"
        say(f"{where}, once more as job {recorded.job.id}", label="submitted", style="green")
    else:
        status = recorded.job.status.value
        say(f"job {recorded.job.id} asks for the same already, and is {status}", label="note")
    for note in recorded.notes:
        say(printable(note), label="note")
